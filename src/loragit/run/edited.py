"""Detects edits of the user's files while a run trained. The record holds the files as they were at
the start."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from loragit import text
from loragit.dataset import hashes
from loragit.dataset.snapshot import WatchedFolder
from loragit.record.values import Weights
from loragit.run.preflight.inputs import Inputs
from loragit.run.preflight.weights import hub_cache
from loragit.store.journal import HubRef

MAX_HASHED = 1 << 30
"""Most bytes of files read again, which takes a second or two: sealing the run's outcome waits for
it."""

_NAMED = 3
_AS_IT_WAS = "on record is what it was at the start"


def edits(read: Inputs) -> Iterator[str]:
    """Yield a warning for each kind of edit since ``read`` was read. Raises nothing.

    Dataset files are compared by size and times, and only those that differ are read: ten thousand
    untouched files cost ten thousand calls of stat(2).
    """
    for entry in read.entries:
        path = read.sources.get(entry.path)
        if path is not None:
            yield from file_edits(path, entry.data)
    looks = [_FolderEdits(watched) for watched in read.dataset.watched]
    for look in looks:
        if look.unreadable:
            yield f"{look.unreadable}: {_AS_IT_WAS}"
    kinds = (
        (
            "file",
            "of the dataset {was} changed or removed",
            [name for look in looks for name in look.changed],
        ),
        ("image", "came into the dataset", [name for look in looks for name in look.new]),
        (
            "file",
            "of the dataset {was} written again, maybe with other bytes,",
            [n for look in looks for n in look.unread],
        ),
    )
    for noun, what, names in kinds:
        if names:
            yield _line(noun, what, names)


def _line(noun: str, what: str, names: list[str]) -> str:
    verb = what.format(was="was" if len(names) == 1 else "were")
    return (
        f"{text.count(len(names), noun)} {verb} while it trained "
        f"({text.listed(names, _NAMED)}): {_AS_IT_WAS}"
    )


def file_edits(path: Path, data: bytes, did: str = "trained") -> Iterator[str]:
    """Yield a warning if a file whose whole content was ``data`` has been edited; ``did`` says what
    the run did meanwhile."""
    try:
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return
    except OSError as error:
        yield f"{path} cannot be read any more ({error.strerror}): {_AS_IT_WAS}"
        return
    yield f"{path} was edited while it {did}: {_AS_IT_WAS}"


def fetched_anew(recorded: Iterable[Weights], refs: Iterable[HubRef]) -> Iterator[str]:
    """Yield a warning for each name on a hub whose revision, on record from the start, is no longer
    the one that the cache holds: the trainer fetched a newer one."""
    at_start = {(each.role, each.name): each.revision for each in recorded}
    for ref in refs:
        then, now = at_start.get((ref.role, ref.name)), hub_cache.commit_at(Path(ref.file))
        if then and now and then != now:
            yield (
                f"the hub's cache held {then[:10]} of {ref.name} at the start and {now[:10]} at "
                "the end: both are on record"
            )


class _FolderEdits:
    """Edits in a folder of the dataset. Names are those of ``dataset.sha256``."""

    def __init__(self, watched: WatchedFolder) -> None:
        self.changed: list[str] = []
        """Changed content, or gone."""
        self.new: list[str] = []
        """Images that are new; other new files may be the trainer's own."""
        self.unread: list[str] = []
        """Written since, but not read because of :data:`MAX_HASHED`."""
        self.unreadable = ""
        self._watched = watched
        self._left = MAX_HASHED
        try:
            self._compare()
        except OSError as error:
            self.unreadable = f"{watched.folder} cannot be read any more ({error.strerror})"

    def _compare(self) -> None:
        watched = self._watched
        if watched.folder.stat().st_mtime_ns != watched.changed_ns:
            known = {each.name for each in watched.files}
            names = [
                e.name
                for e in watched.folder.iterdir()
                if watched.kinds and watched.kinds.is_image(e.name) and e.name not in known
            ]
            self.new = [watched.prefix + name for name in sorted(names)]
        directory = os.open(watched.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for each, then in zip(watched.files, watched.stamps, strict=True):
                try:
                    now = os.stat(each.name, dir_fd=directory)
                except OSError:
                    self.changed.append(watched.prefix + each.name)
                    continue
                identity = hashes.file_stamp(now)
                if identity != then and _times(identity) != _times(then):
                    self._read(each, now, directory)
        finally:
            os.close(directory)

    def _read(self, each: hashes.HashedFile, now: os.stat_result, directory: int) -> None:
        """Compare the bytes of a file whose times differ."""
        name = self._watched.prefix + each.name
        if now.st_size != each.size or not stat.S_ISREG(now.st_mode):
            self.changed.append(name)
        elif now.st_size > self._left:
            self.unread.append(name)
        else:
            self._left -= now.st_size
            if _sha256(each.name, directory) != each.sha256:
                self.changed.append(name)


def _times(identity: str) -> list[str]:
    """Return only size and times: a disk that was remounted may have another device number."""
    return identity.split(" ")[:3]


def _sha256(name: str, directory: int) -> str | None:
    """Return the hash of a file; ``None`` if it can no longer be read."""
    try:
        with os.fdopen(
            os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory), "rb"
        ) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
