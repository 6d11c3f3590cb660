"""What goes into a run: the exact bytes of config, prompts and captions, and the fingerprint of
every image."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import parse
from loragit.dataset import digests, hashes, lfs
from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.hashes import Cache, Fingerprint
from loragit.errors import LoragitError, shell_word
from loragit.record.values import DatasetFile, Entry

MAX_POINTER = 1024
"""Bytes. git-lfs pointers are smaller (specification v1)."""
MAX_INPUT = 1 << 28
"""Bytes of a file that goes on record as it is; a longer one could not be read from there at once
either."""


class CannotReadInput(LoragitError):
    """A file that the run needs is missing, unreadable or does not parse."""


class NothingToTrainOn(LoragitError):
    """A folder that the dataset config names is missing or holds no images."""


class Subset(NamedTuple):
    """A folder that the dataset config names."""

    written: str
    """As the config has it."""
    path: Path
    """Absolute."""
    caption_suffixes: tuple[str, ...]
    """With their dots; several where several subsets read the same folder."""
    files: FileKinds
    """As the trainer tells them apart."""
    captioned: bool = True
    """Whether captions belong in it: regularisation and conditioning images need none, nor do
    ``class_tokens``."""


class DatasetConfig(NamedTuple):
    """A dataset config: its bytes, and what it names."""

    path: Path
    suffix: str
    """By which its copy is called, of whatever case the file's own is: ``.toml``."""
    data: bytes
    folders: tuple[Subset, ...]
    files: tuple[Path, ...]
    """Further inputs it names, absolute: ``metadata_file`` and the like."""


class Dataset(NamedTuple):
    """The files of every folder that a dataset config names, as they stand."""

    digest: bytes
    """``dataset.sha256``: a line a file."""
    images: int
    captions: int
    entries: tuple[Entry, ...]
    """The captions; empty where ``kept`` stands for them."""
    kept: str | None
    """Tree of the same captions that is on ``runs`` already."""
    folders: tuple[tuple[str, Path], ...] = ()
    """(folder of captions in the record, the folder that they are in)."""
    watched: tuple[WatchedFolder, ...] = ()


class WatchedFolder(NamedTuple):
    """A folder of the dataset as it was when it was read."""

    folder: Path
    files: FileKinds
    prefix: str
    """What stands before its files' names in ``dataset.sha256``; empty or with its ``/``."""
    changed_ns: int
    """When files last came into the folder or left it."""
    prints: tuple[Fingerprint, ...]
    identities: tuple[str, ...]
    """Of each of ``prints``: :func:`loragit.dataset.hashes.identity`."""


class Recorded(NamedTuple):
    """What the newest commit on ``runs`` holds for this dataset, as git's object ids."""

    digest: str | None
    """Of ``dataset.sha256``."""
    captions: str | None
    """Of the folder of captions."""
    names: frozenset[str]
    """Paths of all captions in the record."""

    def same(self, digest: bytes, names: Iterable[str]) -> bool:
        """Whether it was made of the same files, and has captions of the same ones: then they are
        the same bytes."""
        return (
            self.captions is not None
            and self.digest == _blob(digest)
            and self.names == frozenset(names)
        )


def _blob(data: bytes) -> str:
    """The id of a blob of ``data`` (gitformat-loose: SHA-1 of a header and the bytes)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def read_bytes(path: Path, what: str) -> bytes:
    """The exact bytes of ``path``. Raises :class:`CannotReadInput`, which calls it ``what``.

    A cloned dataset may name any path: a device without an end is not read, and no pipe is waited
    for.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_INPUT:
                return file.read(MAX_INPUT)
    except OSError as error:
        hint = "see that it is there and that you may read it"
        raise CannotReadInput(
            f"the {what} {path} cannot be read: {error.strerror or error}", hint=hint
        ) from error
    except ValueError as error:  # a path that no file can have
        raise CannotReadInput(f"the {what} {str(path)!r} cannot be read: {error}") from error
    raise CannotReadInput(
        f"the {what} {path} cannot be read: it is no plain file of at most {MAX_INPUT >> 20} MiB",
        hint="name a file that can be on record",
    )


def read_table(path: Path, data: bytes, what: str) -> Mapping[str, object]:
    """``data`` parsed by the suffix of ``path`` as sd-scripts does: JSON where it is ``.json``,
    else TOML.

    Raises :class:`CannotReadInput`, naming line and reason.
    """
    try:
        table = (
            parse.read_json(data)
            if path.suffix.lower() == ".json"
            else parse.read_toml(data.decode())
        )
    except ValueError as error:
        raise CannotReadInput(
            f"the {what} {path} does not parse: {error}", hint="mend it and start again"
        ) from error
    if not isinstance(table, dict):
        raise CannotReadInput(f"the {what} {path} holds no table")
    return table


def check_folder(folder: Subset, dataset: Path) -> tuple[str, ...]:
    """Names of the files in ``folder``, sorted. Raises :class:`NothingToTrainOn` where there is no
    image."""
    try:
        names = tuple(hashes.list_files(folder.path))
    except hashes.CannotRead as error:
        beside = dataset / folder.written
        hint = f"mend {folder.files.folder_key} in the dataset config"
        if os.path.isdir(beside):
            hint = (
                f'write {beside} in the dataset config, or set trainer.workdir = "dataset" in '
                "loragit.toml"
            )
        raise NothingToTrainOn(
            f"the image folder {folder.written!r}: {error.message}", hint=hint
        ) from error
    if not any(map(folder.files.is_image, names)):
        raise NothingToTrainOn(
            f"the image folder {folder.written!r} ({folder.path}) holds no images",
            hint="the trainer would say 'No data found' and stop",
        )
    return names


def _is_caption(name: str, end: str, stems: Container[str]) -> bool:
    """Whether a file called ``name`` captions one of the images of these ``stems``, with ``end``
    for its suffix."""
    return name.endswith(end) and name.removesuffix(end) in stems


def read_dataset(
    listed: Sequence[tuple[Subset, tuple[str, ...]]], recorded: Recorded, root: Path, cache: Cache
) -> Dataset:
    """Fingerprint every file of ``listed`` (folder, names) and read its captions, if ``recorded``
    has not the same.

    Caches of the trainer's own are left out: they are made from what is here, and their presence
    would make the second run with the same inputs differ from the first. ``root`` is the dataset's
    folder. Raises :class:`loragit.dataset.hashes.CannotRead`, :class:`CannotReadInput` for captions
    of no sensible length, :class:`NothingToTrainOn` for images that are LFS pointers.
    """
    files: list[DatasetFile] = []
    watched: list[WatchedFolder] = []
    written: list[tuple[Path, list[str], str]] = []
    images = 0
    places = _CaptionPlaces(root, [folder.path for folder, _ in listed])
    for folder, names in listed:
        used = [name for name in names if not folder.files.is_cache(name)]
        pictures = {name for name in used if folder.files.is_image(name)}
        prefix = _from(root, folder.path)
        prefix = "" if prefix == "." else f"{prefix}/"
        changed_ns = _changed_ns(folder.path)
        prints, identities = hashes.seen(folder.path, used, cache)
        watched.append(
            WatchedFolder(folder.path, folder.files, prefix, changed_ns, prints, identities)
        )
        refuse_pointers(
            folder, [p.name for p in prints if p.size < MAX_POINTER and p.name in pictures]
        )
        files += [DatasetFile(prefix + p.name, p.sha256) for p in prints]
        images += len(pictures)
        stems = {name.rpartition(".")[0] for name in pictures}
        ends = folder.caption_suffixes
        texts = [
            n for n in used if n.endswith(ends) and any(_is_caption(n, end, stems) for end in ends)
        ]
        written.append((folder.path, texts, places.of(folder.path)))
        if texts:
            sizes = {p.name: p.size for p in prints}
            _refuse_long(folder, sum(map(sizes.__getitem__, texts)))
    digest = digests.digest_lines(files)
    kept = recorded.captions if recorded.same(digest, _caption_paths(written)) else None
    entries = () if kept else tuple(_read_captions(written))
    captions = sum(len(names) for _, names, _ in written)
    folders = tuple((place, folder) for folder, _, place in written)
    return Dataset(digest, images, captions, entries, kept, folders, tuple(watched))


def _refuse_long(folder: Subset, size: int) -> None:
    """Captions are held in memory. Raises :class:`CannotReadInput` for more of them than anybody
    has."""
    if size > MAX_INPUT:
        raise CannotReadInput(
            f"the captions in {folder.path} are {size >> 20} MiB together, more than can be on "
            "record",
            hint="see which are so long: ls -lS",
        )


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:  # whoever reads its files will say so
        return 0


def _caption_paths(written: Iterable[tuple[Path, list[str], str]]) -> Iterator[str]:
    for _, names, place in written:
        yield from (f"{place}/{name}" for name in names)


def _read_captions(written: Iterable[tuple[Path, list[str], str]]) -> Iterator[Entry]:
    for folder, names, place in written:
        for name, data in zip(names, hashes.read_many(folder, names), strict=True):
            yield Entry(f"{place}/{name}", data)


def uncaptioned(folder: Subset, names: Collection[str]) -> str | None:
    """What to warn of where the trainer will find no caption in ``folder`` though there are text
    files."""
    ends = folder.caption_suffixes
    captions = [name for name in names if name.endswith((*ends, ".txt"))]
    if not captions:
        return None
    stems = {name.rpartition(".")[0] for name in names if folder.files.is_image(name)}
    if any(_is_caption(name, end, stems) for name in captions for end in ends):
        return None
    texts = sum(_is_caption(name, ".txt", stems) for name in captions)
    if not texts:
        return None
    return (
        f"{folder.path} has {texts} .txt files, but the trainer will look for "
        f"{' and '.join(folder.caption_suffixes)} "
        f'and train without captions: set {folder.files.caption_key} = ".txt" in the dataset config'
    )


def _from(root: Path, folder: Path) -> str:
    """The way from the dataset's folder to another, as a program in ``root`` would go it."""
    if folder.is_relative_to(root):
        return folder.relative_to(root).as_posix()
    return os.path.relpath(folder.resolve(), root.resolve())


def refuse_pointers(folder: Subset, small: list[str]) -> None:
    """An image that git-lfs has not fetched is a text file of three lines; the trainer would fail
    on it.

    ``small`` names images of fewer than :data:`MAX_POINTER` bytes. Raises
    :class:`NothingToTrainOn`.
    """
    pointers = [
        name
        for name, data in zip(small, hashes.read_many(folder.path, small), strict=True)
        if lfs.is_pointer_prefix(data) and lfs.pointer(data)
    ]
    if pointers:
        raise NothingToTrainOn(
            f"{len(pointers)} images of {folder.path} are git-lfs pointers, as {pointers[0]}",
            hint=f"fetch them: git -C {shell_word(folder.path)} lfs pull",
        )


class _CaptionPlaces:
    """Where captions go in the record: ``captions/<folder>``, and below ``outside`` for folders
    elsewhere."""

    def __init__(self, root: Path, folders: Iterable[Path]) -> None:
        self._root = root
        self._taken = {place for place in map(self._inside, folders) if place}

    def of(self, folder: Path) -> str:
        inside = self._inside(folder)
        if inside is not None:
            return inside
        place, number = f"captions/outside/{folder.name}", 1
        while place in self._taken:
            number += 1
            place = f"captions/outside/{folder.name}-{number}"
        self._taken.add(place)
        return place

    def _inside(self, folder: Path) -> str | None:
        way = _from(self._root, folder)
        if way.split("/")[0] == "..":
            return None
        return "captions" if way == "." else f"captions/{way}"
