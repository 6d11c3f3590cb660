"""What of the dataset goes into a run: the captions, byte for byte, and every digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit.dataset import digests, hashes, lfs
from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.files import CannotRead, list_files, read_files
from loragit.dataset.hashes import HashCache, HashedFile
from loragit.dataset.inputs import MAX_INPUT, CannotReadInput
from loragit.errors import LoragitError, shell_word
from loragit.record.values import DatasetFile, Entry

MAX_POINTER = 1024
"""git-lfs pointers have fewer bytes (specification v1)."""


class NothingToTrainOn(LoragitError):
    """A folder that the dataset config names is missing, or holds no image that can be read."""


class Subset(NamedTuple):
    """A folder that the dataset config names."""

    written: str
    """As the config has it."""
    path: Path
    """Absolute."""
    caption_suffixes: tuple[str, ...]
    """With their dots; several if several subsets of the config name the same folder."""
    files: FileKinds
    """Which of its files are what, to the trainer."""
    captioned: bool = True
    """Whether captions belong in it: regularisation and conditioning images need none, nor do
    ``class_tokens``."""


class DatasetConfig(NamedTuple):
    """A dataset config: its bytes, and what it names."""

    path: Path
    suffix: str
    """Of its copy's name, in lower case whatever the file's own is: ``.toml``."""
    data: bytes
    folders: tuple[Subset, ...]
    files: tuple[Path, ...]
    """Further inputs it names, absolute: ``metadata_file`` and the like."""


class Dataset(NamedTuple):
    """The files of every folder that a dataset config names, as they are now."""

    digest: bytes
    """``dataset.sha256``: one line for each file."""
    images: int
    captions: int
    entries: tuple[Entry, ...]
    """The captions; empty if ``captions_tree`` is given."""
    captions_tree: str | None
    """The tree on ``runs`` that holds the same captions already."""
    folders: tuple[tuple[str, Path], ...] = ()
    """(a folder of captions in the record, the folder that they were read from)."""
    watched: tuple[WatchedFolder, ...] = ()


class WatchedFolder(NamedTuple):
    """A folder of the dataset, as it was when it was read."""

    folder: Path
    kinds: FileKinds
    prefix: str
    """What comes before its files' names in ``dataset.sha256``: empty, or ending in ``/``."""
    changed_ns: int
    """When a file was last added to the folder or removed from it; 0 if unknown."""
    files: tuple[HashedFile, ...]
    stamps: tuple[str, ...]
    """The :func:`~loragit.dataset.hashes.file_stamp` of each of ``files``."""


class RecordedDataset(NamedTuple):
    """What the newest commit on ``runs`` has for this dataset, as ids of git's objects."""

    digest: str | None
    """Of ``dataset.sha256``."""
    captions: str | None
    """Of the folder of captions."""
    names: frozenset[str]
    """Paths of all captions in the record."""

    def has_captions(self, digest: bytes, names: Iterable[str]) -> bool:
        """Whether its captions are those of a dataset with this ``dataset.sha256`` and these
        captions: same files, same names, so the same bytes."""
        return (
            self.captions is not None
            and self.digest == _blob_id(digest)
            and self.names == frozenset(names)
        )


def _blob_id(data: bytes) -> str:
    """Return the id of a blob of ``data`` (gitformat-loose: SHA-1 of a header and the bytes)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def subset_files(folder: Subset, dataset: Path) -> tuple[str, ...]:
    """Return the names of the files in ``folder``, sorted. Raises :class:`NothingToTrainOn` if none
    is an image."""
    try:
        names = tuple(list_files(folder.path))
    except CannotRead as error:
        beside = dataset / folder.written
        hint = f"correct {folder.files.folder_key} in the dataset config"
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
    """Whether a file called ``name`` is a caption, with the suffix ``end``, of an image with one of
    these ``stems``."""
    return name.endswith(end) and name.removesuffix(end) in stems


def read_dataset(
    listed: Sequence[tuple[Subset, tuple[str, ...]]],
    recorded: RecordedDataset,
    root: Path,
    cache: HashCache,
) -> Dataset:
    """Hash every file of ``listed`` (folder, names), and read its captions unless ``recorded`` has
    the same ones.

    The trainer's own caches are left out: they are made from the files that are here, and with them
    the second run of the same inputs would differ from the first. ``root`` is the dataset's folder.
    Raises :class:`~loragit.dataset.files.CannotRead`, :class:`CannotReadInput` for captions of
    absurd length, and :class:`NothingToTrainOn` for images that are git-lfs pointers.
    """
    places = _CaptionFolders(root, [subset.path for subset, _ in listed])
    subsets = [
        _read_subset(subset, names, root, cache, places.assign(subset.path))
        for subset, names in listed
    ]
    digest = digests.digest_lines([file for subset in subsets for file in subset.digests()])
    paths = [path for subset in subsets for path in subset.caption_paths()]
    captions_tree = recorded.captions if recorded.has_captions(digest, paths) else None
    return Dataset(
        digest=digest,
        images=sum(subset.images for subset in subsets),
        captions=len(paths),
        entries=() if captions_tree else tuple(_read_captions(subsets)),
        captions_tree=captions_tree,
        folders=tuple((subset.place, subset.watched.folder) for subset in subsets),
        watched=tuple(subset.watched for subset in subsets),
    )


class _ReadSubset(NamedTuple):
    """One subset, with its files hashed and its captions still to be read."""

    watched: WatchedFolder
    images: int
    captions: tuple[str, ...]
    """File names."""
    place: str
    """Its folder of captions in the record."""

    def digests(self) -> list[DatasetFile]:
        """Return its lines of ``dataset.sha256``."""
        prefix = self.watched.prefix
        return [DatasetFile(prefix + file.name, file.sha256) for file in self.watched.files]

    def caption_paths(self) -> list[str]:
        """Return the paths of its captions in the record."""
        return [f"{self.place}/{name}" for name in self.captions]


def _read_subset(
    subset: Subset, names: Sequence[str], root: Path, cache: HashCache, place: str
) -> _ReadSubset:
    """Hash the files ``names`` of ``subset`` and pick its captions. Raises as
    :func:`read_dataset`."""
    used = [name for name in names if not subset.files.is_cache(name)]
    images = {name for name in used if subset.files.is_image(name)}
    prefix = _relative_path(root, subset.path)
    changed_ns = _folder_changed_ns(subset.path)
    files, stamps = hashes.hash_and_stamp(subset.path, used, cache)
    refuse_pointers(subset, [f.name for f in files if f.size < MAX_POINTER and f.name in images])
    stems = {name.rpartition(".")[0] for name in images}
    ends = subset.caption_suffixes
    captions = tuple(
        n for n in used if n.endswith(ends) and any(_is_caption(n, end, stems) for end in ends)
    )
    if captions:
        sizes = {file.name: file.size for file in files}
        _refuse_long_captions(subset, sum(map(sizes.__getitem__, captions)))
    prefix = "" if prefix == "." else f"{prefix}/"
    watched = WatchedFolder(subset.path, subset.files, prefix, changed_ns, files, stamps)
    return _ReadSubset(watched, len(images), captions, place)


def _refuse_long_captions(folder: Subset, size: int) -> None:
    """Raise :class:`CannotReadInput` for more captions than anybody has: they are held in
    memory."""
    if size > MAX_INPUT:
        raise CannotReadInput(
            f"the captions in {folder.path} are {size >> 20} MiB together, more than can be on "
            "record",
            hint="find the longest with: ls -lS",
        )


def _folder_changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:  # reading its files will report it
        return 0


def _read_captions(subsets: Iterable[_ReadSubset]) -> Iterator[Entry]:
    for subset in subsets:
        contents = read_files(subset.watched.folder, subset.captions)
        for path, data in zip(subset.caption_paths(), contents, strict=True):
            yield Entry(path, data)


def caption_warning(folder: Subset, names: Collection[str]) -> str | None:
    """Return a warning if the trainer will find no caption in ``folder`` although there are text
    files; else ``None``."""
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


def _relative_path(root: Path, folder: Path) -> str:
    """Return the path from the dataset's folder to another, as a program in ``root`` would write
    it."""
    if folder.is_relative_to(root):
        return folder.relative_to(root).as_posix()
    return os.path.relpath(folder.resolve(), root.resolve())


def refuse_pointers(folder: Subset, small: list[str]) -> None:
    """Raise :class:`NothingToTrainOn` for images that git-lfs has not fetched.

    Such an image is a text file of three lines, and the trainer would fail on it. ``small`` names
    the images of fewer than :data:`MAX_POINTER` bytes.
    """
    pointers = [
        name
        for name, data in zip(small, read_files(folder.path, small), strict=True)
        if lfs.is_pointer_prefix(data) and lfs.parse_pointer(data)
    ]
    if pointers:
        raise NothingToTrainOn(
            f"{len(pointers)} images of {folder.path} are git-lfs pointers, as {pointers[0]}",
            hint=f"fetch them: git -C {shell_word(folder.path)} lfs pull",
        )


class _CaptionFolders:
    """Where captions go in the record: ``captions/<folder>``, or ``captions/outside/<name>`` for
    folders outside the dataset."""

    def __init__(self, root: Path, folders: Iterable[Path]) -> None:
        self._root = root
        self._taken = {place for place in map(self._inside, folders) if place}

    def assign(self, folder: Path) -> str:
        """Return a folder of the record for the captions in ``folder``, and no other's."""
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
        way = _relative_path(self._root, folder)
        if way.split("/")[0] == "..":
            return None
        return "captions" if way == "." else f"captions/{way}"
