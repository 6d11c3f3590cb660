"""What goes into a run: the exact bytes of config, prompts and captions, and the fingerprint of every image.

Folders and extensions are those that sd-scripts reads (``library/train_util.py`` and ``config_util.py``).
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import fingerprint, lfs
from loragit.errors import LoragitError
from loragit.fingerprint import Cache
from loragit.record import DatasetFile, Entry

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".jxl", ".gif"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".webm", ".mkv", ".avi"})
_PICTURES = tuple(IMAGE_SUFFIXES | VIDEO_SUFFIXES)
DEFAULT_CAPTION_SUFFIX = ".caption"
"""Where a dataset config names no ``caption_extension``; sd-scripts then reads ``.txt`` too."""
MAX_POINTER = 1024
"""Bytes. git-lfs pointers are smaller (specification v1)."""

_FOLDER_KEYS = ("image_dir", "conditioning_data_dir", "video_directory", "image_directory", "control_directory")
_FILE_KEYS = ("metadata_file", "in_json", "image_jsonl_file")


class CannotReadInput(LoragitError):
    """A file that the run needs is missing, unreadable or does not parse."""


class NothingToTrainOn(LoragitError):
    """A folder that the dataset config names is missing or holds no images."""


class Folder(NamedTuple):
    """A folder that the dataset config names."""

    written: str
    """As the config has it."""
    path: Path
    """Absolute."""
    caption_suffix: str | None
    """With its dot; ``None`` where the config leaves it to the trainer."""


class Config(NamedTuple):
    """A dataset config: its bytes, and what it names."""

    path: Path
    data: bytes
    folders: tuple[Folder, ...]
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


class Recorded(NamedTuple):
    """What the newest commit on ``runs`` holds for this dataset, as git's object ids."""

    config: str | None
    digest: str | None
    captions: str | None

    def same(self, config: bytes, digest: bytes) -> bool:
        """Whether it was made of the same config and the same files, and so of the same captions."""
        return self.captions is not None and (self.config, self.digest) == (_blob(config), _blob(digest))


def _blob(data: bytes) -> str:
    """The id of a blob of ``data`` (gitformat-loose: SHA-1 of a header and the bytes)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def read_bytes(path: Path, what: str) -> bytes:
    """The exact bytes of ``path``. Raises :class:`CannotReadInput`, which calls it ``what``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotReadInput(f"the {what} {path} cannot be read: {error.strerror}") from error


def read_table(path: Path, data: bytes, what: str) -> Mapping[str, object]:
    """``data`` parsed by the suffix of ``path`` as sd-scripts does: JSON where it is ``.json``, else TOML.

    Raises :class:`CannotReadInput`, naming line and reason.
    """
    try:
        table = json.loads(data) if path.suffix.lower() == ".json" else tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise CannotReadInput(f"the {what} {path} does not parse: {error}", hint="mend it and start again") from error
    if not isinstance(table, dict):
        raise CannotReadInput(f"the {what} {path} holds no table")
    return table


def read_config(path: Path, workdir: Path) -> Config:
    """Read a dataset config; relative paths in it are taken from ``workdir``, as the trainer does.

    Raises :class:`CannotReadInput`.
    """
    data = read_bytes(path, "dataset config")
    table = read_table(path, data, "dataset config")
    folders: dict[Path, Folder] = {}
    files: dict[Path, None] = {}
    for subset, suffix in _subsets(table):
        for key in _FOLDER_KEYS:
            value = subset.get(key)
            if isinstance(value, str) and value:
                folder = Folder(value, _absolute(workdir, value), suffix)
                folders.setdefault(folder.path, folder)
        for key in _FILE_KEYS:
            value = subset.get(key)
            if isinstance(value, str) and value:
                files.setdefault(_absolute(workdir, value))
    if not folders and not files:
        raise CannotReadInput(
            f"the dataset config {path} names no image folder",
            hint='add image_dir = "…" to a [[datasets.subsets]] table',
        )
    return Config(path, data, tuple(folders.values()), tuple(files))


def _subsets(table: Mapping[str, object]) -> Iterator[tuple[Mapping[str, object], str | None]]:
    """Every subset with the caption suffix that holds for it: its own, its dataset's, the general one."""
    general = _suffix(table.get("general"), None)
    for dataset in _tables(table.get("datasets")):
        of_dataset = _suffix(dataset, general)
        yield dataset, of_dataset  # musubi-tuner names folders here
        for subset in _tables(dataset.get("subsets")):
            yield subset, _suffix(subset, of_dataset)


def _tables(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _suffix(table: object, default: str | None) -> str | None:
    value = table.get("caption_extension") if isinstance(table, dict) else None
    return value if isinstance(value, str) and value else default


def _absolute(workdir: Path, written: str) -> Path:
    return Path(os.path.normpath(workdir / written))


def check_folder(folder: Folder, dataset: Path) -> tuple[str, ...]:
    """Names of the files in ``folder``, sorted. Raises :class:`NothingToTrainOn` where there is no image."""
    try:
        names = tuple(fingerprint.list_files(folder.path))
    except fingerprint.CannotRead as error:
        beside = dataset / folder.written
        hint = "mend image_dir in the dataset config"
        if beside.is_dir():
            hint = f'write {beside} in the dataset config, or set trainer.workdir = "dataset" in loragit.toml'
        raise NothingToTrainOn(f"the image folder {folder.written!r}: {error.message}", hint=hint) from error
    if not any(_is_picture(name) for name in names):
        raise NothingToTrainOn(
            f"the image folder {folder.written!r} ({folder.path}) holds no images",
            hint="the trainer would say 'No data found' and stop",
        )
    return names


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_PICTURES)


def is_cache(name: str) -> bool:
    """Whether ``name`` is a cache that the trainer itself writes next to the images (latents, text encoder)."""
    return name.endswith(".npz")


def read_dataset(
    listed: Iterable[tuple[Folder, tuple[str, ...]]], config: Config, recorded: Recorded, root: Path, cache: Cache
) -> Dataset:
    """Fingerprint every file of ``listed`` (folder, names) and read its captions, if ``recorded`` has not the same.

    Caches of the trainer's own are left out: they are made from what is here, and their presence would make
    the second run with the same inputs differ from the first. ``root`` is the dataset's folder.
    Raises :class:`loragit.fingerprint.CannotRead`, :class:`NothingToTrainOn` for images that are LFS pointers.
    """
    files: list[DatasetFile] = []
    written: list[tuple[Path, list[str], str]] = []
    images = 0
    places = _CaptionPlaces(root)
    for folder, names in listed:
        used = [name for name in names if not is_cache(name)]
        pictures = {name for name in used if _is_picture(name)}
        prefix = os.path.relpath(folder.path, root)
        prints = fingerprint.fingerprint(folder.path, used, cache)
        _refuse_pointers(folder, [p.name for p in prints if p.size < MAX_POINTER and p.name in pictures])
        files += [DatasetFile(p.name if prefix == "." else f"{prefix}/{p.name}", p.sha256) for p in prints]
        images += len(pictures)
        captions = [n for n in used if n not in pictures and _is_caption(n, folder.caption_suffix)]
        written.append((folder.path, captions, places.of(folder.path)))
    digest = fingerprint.digest_lines(files)
    kept = recorded.captions if recorded.same(config.data, digest) else None
    entries = () if kept else tuple(_read_captions(written))
    return Dataset(digest, images, sum(len(names) for _, names, _ in written), entries, kept)


def _read_captions(written: Iterable[tuple[Path, list[str], str]]) -> Iterator[Entry]:
    for folder, names, place in written:
        for name, data in zip(names, fingerprint.read_many(folder, names), strict=True):
            yield Entry(f"{place}/{name}", data)


def _is_caption(name: str, suffix: str | None) -> bool:
    if suffix is None:
        return name.endswith((DEFAULT_CAPTION_SUFFIX, ".txt"))
    return name.endswith(suffix)


def _refuse_pointers(folder: Folder, small: list[str]) -> None:
    """An image that git-lfs has not fetched is a text file of three lines; the trainer would fail on it."""
    pointers = [
        name
        for name, data in zip(small, fingerprint.read_many(folder.path, small), strict=True)
        if lfs.is_pointer_prefix(data) and lfs.pointer(data)
    ]
    if pointers:
        raise NothingToTrainOn(
            f"{len(pointers)} images of {folder.path} are git-lfs pointers, as {pointers[0]}",
            hint=f"fetch them: git -C {folder.path} lfs pull",
        )


class _CaptionPlaces:
    """Where captions go in the record: ``captions/<folder>``, and below ``outside`` for folders elsewhere."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._taken: set[str] = set()

    def of(self, folder: Path) -> str:
        if folder.is_relative_to(self._root):
            inside = folder.relative_to(self._root).as_posix()
            return "captions" if inside == "." else f"captions/{inside}"
        place, number = f"captions/outside/{folder.name}", 1
        while place in self._taken:
            number += 1
            place = f"captions/outside/{folder.name}-{number}"
        self._taken.add(place)
        return place
