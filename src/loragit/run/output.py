"""The output folder of a run: created for this run only, and removed only if it contains nothing
but our own files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.crash_points import CrashPoint, reached
from loragit.errors import LoragitError
from loragit.record.name import RunName
from loragit.record.values import Entry
from loragit.system import durable


class OutputExists(LoragitError):
    """The output folder exists already."""


class CannotWriteOutput(LoragitError):
    """The output folder or a file in it cannot be written."""


class OutputGone(LoragitError):
    """The output folder no longer exists: nobody can tell whether it had anything in it."""


class OutputFolder(NamedTuple):
    """An output folder that this very run created."""

    path: Path
    inode: tuple[int, int]
    """Device and inode, so that another folder of the same name is not mistaken for it."""
    files: Mapping[str, str]
    """Files that loragit put there: sha256 of the bytes in hex, by path relative to the folder."""
    log: str
    """Name of the log, whose bytes grow while the trainer runs."""

    def replaced(self) -> str | None:
        """Return a warning if another folder, or something else, has taken its place; else
        ``None``."""
        if self._identity() == self.inode:
            return None
        return (
            f"{self.path} is not the folder any more that this run made: what it wrote before "
            "is not there"
        )

    def require(self, run: RunName) -> None:
        """Raise :class:`OutputGone` if the folder no longer exists: ``run`` may have made something
        in it."""
        try:
            gone = "something else is in its place" if self._identity() != self.inode else None
        except OSError as error:
            gone = str(error.strerror)
        if gone:
            raise OutputGone(
                f"the output folder {self.path} is gone ({gone}): nobody can tell whether the run "
                "made something",
                hint="mount its disk again, or move the folder back, then: loragit recover; "
                f"if it is gone for good: loragit recover --gone {run}",
            )

    def foreign(self) -> tuple[str, ...]:
        """Return the paths in the folder that are not ours or no longer as we wrote them; empty if
        the folder may be removed."""
        try:
            if self._identity() != self.inode:
                return (".",)
            return tuple(self._foreign_below(self.path, ""))
        except OSError as error:
            return (f". ({error.strerror})",)

    def why_it_stays(self, foreign: Sequence[str]) -> str:
        """Return a sentence that says what keeps the folder from being removed."""
        if foreign == (".",):
            return f"{self.path} stays: it is not the folder that this run made"
        return f"{self.path} stays: it holds {text.listed(sorted(foreign), 3)}"

    def remove(self) -> tuple[str, ...]:
        """Remove the folder if it contains nothing but our files; else return the foreign paths and
        touch nothing.

        Never follows a symbolic link: folders are opened by descriptor and must be those we made.
        """
        foreign = self.foreign()
        if foreign:
            return foreign
        with suppress(OSError):
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                self._empty(handle, "")
            finally:
                os.close(handle)
            self.path.rmdir()
        reached(CrashPoint.FOLDER_REMOVED)
        return ()

    def _identity(self) -> tuple[int, int]:
        status = self.path.lstat()
        return (status.st_dev, status.st_ino)

    def _foreign_below(self, folder: Path, prefix: str) -> Iterable[str]:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from self._foreign_below(Path(entry.path), path + "/")
                elif not self._is_ours(entry, path):
                    yield path

    def _is_ours(self, entry: os.DirEntry[str], path: str) -> bool:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return False
        if path == self.log:
            return True
        digest = self.files.get(path)
        if digest is None:
            return False
        # A kill between making a copy and filling it leaves it empty, and nothing is lost with it.
        return status.st_size == 0 or sha256(Path(entry.path).read_bytes()) == digest

    def _empty(self, handle: int, prefix: str) -> None:
        for name in os.listdir(handle):
            path = prefix + name
            if path in self.files or path == self.log:
                os.unlink(name, dir_fd=handle)
                reached(CrashPoint.FILE_REMOVED)
                continue
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            try:
                self._empty(below, path + "/")
            finally:
                os.close(below)
            # Fails, leaving everything in place, if something came into the folder meanwhile.
            os.rmdir(name, dir_fd=handle)


def digests(entries: Iterable[Entry]) -> dict[str, str]:
    """Return the sha256 of each entry's bytes, by its path."""
    return {entry.path: sha256(entry.data) for entry in entries}


def sha256(data: bytes) -> str:
    """Return the sha256 of ``data`` in hex."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def make(path: Path, entries: Iterable[Entry], log: str) -> OutputFolder:
    """Create the folder and write ``entries`` into it, through to the disk; on any failure leave
    nothing behind.

    Raises :class:`OutputExists`, :class:`CannotWriteOutput`.
    """
    files = {entry.path: entry for entry in entries}
    try:
        durable.make_folder(path.parent)
        path.mkdir()
    except FileExistsError as error:
        raise OutputExists(
            f"the output folder {path} exists already",
            hint="take another version (--bump takes the next)",
        ) from error
    except OSError as error:
        raise CannotWriteOutput(
            f"the output folder {path} cannot be made: {error.strerror}",
            hint="choose another with --output",
        ) from error
    status = path.lstat()
    folder = OutputFolder(path, (status.st_dev, status.st_ino), digests(files.values()), log)
    reached(CrashPoint.FOLDER_MADE)
    try:
        for entry in files.values():
            _write(path / entry.path, entry)
            reached(CrashPoint.COPY_WRITTEN)
        # A copy emptied by a power cut would no longer be recognized as ours, and would block the
        # name of the run.
        durable.sync_all((*_with_folders(path, files), path.parent))
    except OSError as error:
        _discard(path, files)
        raise CannotWriteOutput(
            f"{path} cannot be written: {error.strerror}",
            hint="make room, or choose another folder with --output",
        ) from error
    return folder


def _with_folders(top: Path, names: Iterable[str]) -> Iterable[Path]:
    """Yield the files ``names`` below ``top``, the folders that contain them, and ``top``."""
    for name in names:
        yield from (top / name, (top / name).parent)
    yield top


def _write(path: Path, entry: Entry) -> None:
    path.parent.mkdir(exist_ok=True)
    handle = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if entry.executable else 0o666
    )
    with os.fdopen(handle, "wb") as file:
        file.write(entry.data)


def _discard(path: Path, files: Iterable[str]) -> None:
    """Remove a half-written folder: only paths that we were about to write ourselves."""
    for name in files:
        with suppress(OSError):
            (path / name).unlink()
    for made in (*{(path / name).parent for name in files if "/" in name}, path):
        with suppress(OSError):
            made.rmdir()
