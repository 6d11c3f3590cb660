"""What of the dataset goes into a run: the captions, byte for byte, and every digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from loragit.dataset import digests, hashes
from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.files import read_files
from loragit.dataset.hashes import HashCache, HashedFile
from loragit.dataset.inputs import MAX_INPUT, CannotReadInput
from loragit.dataset.not_there import MAX_POINTER, missing_target, pointer
from loragit.dataset.used_files import CaptionProblem, UsedFiles, UsedFolder
from loragit.errors import Area, Finding
from loragit.record.values import DatasetFile, Entry
from loragit.text import count, listed

_NAMED = 5
"""Files that a message names; the rest are counted."""


class DatasetReader(Protocol):
    """What is asked of a trainer about the files that it reads."""

    @property
    def files(self) -> FileKinds: ...

    def caption_problem(self, data: bytes) -> CaptionProblem | None:
        """What is wrong with the caption file ``data``, if it would stop the trainer or go into
        the training with it."""
        ...


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
    findings: tuple[Finding, ...] = ()
    """Files that are not really there, and captions that would stop the trainer."""
    warnings: tuple[str, ...] = ()


class WatchedFolder(NamedTuple):
    """A folder of the dataset, as it was when it was read."""

    folder: Path
    kinds: FileKinds | None
    """How new images are recognised; ``None`` where the trainer would not read them."""
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


def read_dataset(
    used: UsedFiles, trainer: DatasetReader, recorded: RecordedDataset, root: Path, cache: HashCache
) -> Dataset:
    """Hash every file that ``trainer`` uses of the dataset in the folder ``root``, and read its
    captions unless ``recorded`` has the same ones.

    Raises :class:`~loragit.dataset.files.CannotRead`, and :class:`CannotReadInput` for captions of
    absurd length.
    """
    places = _CaptionFolders(root, [folder.path for folder in used.folders])
    folders = [
        _hash_folder(folder, trainer.files, root, cache, places.assign(folder.path))
        for folder in used.folders
    ]
    digest = digests.digest_lines([file for folder in folders for file in folder.digests()])
    paths = [path for folder in folders for path in folder.caption_paths()]
    captions_tree = recorded.captions if recorded.has_captions(digest, paths) else None
    captions = [[] if captions_tree else _read_captions(each) for each in folders]
    problems = [
        problem
        for folder, entries in zip(folders, captions, strict=True)
        for problem in _caption_problems(folder.watched.folder, entries, trainer)
    ]
    missing = [_not_there(folder) for folder in folders]
    missing += [_empty_images(f, u) for f, u in zip(folders, used.folders, strict=True)]
    return Dataset(
        digest=digest,
        images=used.images,
        captions=len(paths) + used.captions_inside,
        entries=tuple(entry for entries in captions for entry in entries),
        captions_tree=captions_tree,
        folders=tuple((folder.place, folder.watched.folder) for folder in folders),
        watched=tuple(folder.watched for folder in folders),
        findings=(
            *filter(None, missing),
            *(finding for stops, finding in problems if stops),
        ),
        warnings=tuple(finding.problem for stops, finding in problems if not stops),
    )


class _HashedFolder(NamedTuple):
    """A folder with its files hashed and its captions still to be read."""

    watched: WatchedFolder
    captions: tuple[str, ...]
    """File names."""
    place: str
    """Its folder of captions in the record."""
    dangling: tuple[str, ...]
    """Names of links to nothing."""

    def digests(self) -> list[DatasetFile]:
        """Return its lines of ``dataset.sha256``."""
        prefix = self.watched.prefix
        return [DatasetFile(prefix + file.name, file.sha256) for file in self.watched.files]

    def caption_paths(self) -> list[str]:
        """Return the paths of its captions in the record."""
        return [f"{self.place}/{name}" for name in self.captions]


def _hash_folder(
    folder: UsedFolder, kinds: FileKinds, root: Path, cache: HashCache, place: str
) -> _HashedFolder:
    """Hash the files of ``folder`` that are there. Raises as :func:`read_dataset`."""
    every = {*folder.images, *folder.captions, *folder.further}
    names = sorted(every - folder.dangling, key=os.fsencode)
    prefix = _relative_path(root, folder.path)
    changed_ns = _folder_changed_ns(folder.path)
    files, stamps = hashes.hash_and_stamp(folder.path, names, cache)
    captions = tuple(name for name in folder.captions if name not in folder.dangling)
    if captions:
        sizes = {file.name: file.size for file in files}
        _refuse_long_captions(folder.path, sum(map(sizes.__getitem__, captions)))
    prefix = "" if prefix == "." else f"{prefix}/"
    watching = kinds if folder.every_image else None
    watched = WatchedFolder(folder.path, watching, prefix, changed_ns, files, stamps)
    return _HashedFolder(watched, captions, place, tuple(sorted(folder.dangling)))


def _not_there(folder: _HashedFolder) -> Finding | None:
    """Return a finding for links to nothing, and for files that git-lfs or git-annex has not
    fetched."""
    path = folder.watched.folder
    small = [file.name for file in folder.watched.files if file.size < MAX_POINTER]
    contents = zip(small, read_files(path, small), strict=True)
    asked = [(name, missing_target(path / name)) for name in folder.dangling]
    asked += [(name, pointer(path / name, data)) for name, data in contents]
    missing = [(name, why) for name, why in asked if why is not None]
    if not missing:
        return None
    name, why = missing[0]
    if len(missing) == 1:
        problem = f"{path / name} is not really there: it is {why.what}"
        return Finding(problem, why.hint, Area.DATASET)
    fetch = (
        f"fetch them: {why.fetch_all}" if why.fetch_all else "mend them, or copy the files there"
    )
    return Finding(
        f"{len(missing)} files of {path} are not really there: {name} is {why.what}",
        fetch,
        Area.DATASET,
    )


def _empty_images(folder: _HashedFolder, used: UsedFolder) -> Finding | None:
    images = frozenset(used.images)
    names = [each.name for each in folder.watched.files if not each.size and each.name in images]
    if not names:
        return None
    are = "is" if len(names) == 1 else "are"
    problem = f"{count(len(names), 'image')} in {used.path} {are} empty: {listed(names, _NAMED)}"
    return Finding(problem, "copy them again, or take them out", Area.DATASET)


def _refuse_long_captions(folder: Path, size: int) -> None:
    """Raise :class:`CannotReadInput` for more captions than anybody has: they are held in
    memory."""
    if size > MAX_INPUT:
        raise CannotReadInput(
            f"the captions in {folder} are {size >> 20} MiB together, more than can be on record",
            hint="find the longest with: ls -lS",
        )


def _folder_changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:  # reading its files will report it
        return 0


def _read_captions(folder: _HashedFolder) -> list[Entry]:
    contents = read_files(folder.watched.folder, folder.captions)
    return [Entry(path, data) for path, data in zip(folder.caption_paths(), contents, strict=True)]


def _caption_problems(
    folder: Path, captions: Iterable[Entry], trainer: DatasetReader
) -> Iterator[tuple[bool, Finding]]:
    """Yield each problem that captions in ``folder`` have, with whether it stops the trainer."""
    named: dict[CaptionProblem, list[str]] = {}
    for entry in captions:
        problem = trainer.caption_problem(entry.data)
        if problem is not None:
            named.setdefault(problem, []).append(entry.path.rpartition("/")[2])
    for problem, names in named.items():
        what = problem.what if len(names) == 1 else problem.what_many
        summary = f"{count(len(names), 'caption')} in {folder} {what}: {listed(names, _NAMED)}"
        yield problem.stops, Finding(summary, problem.hint, Area.DATASET)


def _relative_path(root: Path, folder: Path) -> str:
    """Return the path from the dataset's folder to another, as a program in ``root`` would write
    it."""
    if folder.is_relative_to(root):
        return folder.relative_to(root).as_posix()
    return os.path.relpath(folder.resolve(), root.resolve())


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
