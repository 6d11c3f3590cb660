"""The disk: files and folders that must outlast a power cut, and the room that is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_AT_ONCE = 8
"""Files that are waited for at the same time, at most: a disk takes many requests together for
little more than one."""


def write(
    path: Path, data: bytes | bytearray, *, fresh: str | None = None, mode: int = 0o666
) -> None:
    """Replace whatever is at ``path`` by ``data``: after a power cut the old or the new is there,
    and whole. Raises OSError.

    The new file is written beside it as ``fresh`` (by default a name of this process's own), which
    a crash may leave behind.
    """
    beside = path.with_name(fresh or f"{path.name}.{os.getpid()}.new")
    if mode & 0o200 == 0:
        with suppress(FileNotFoundError):
            beside.unlink()
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            _flush(handle)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
    sync(path.parent)


def free_space(path: Path) -> int:
    """Bytes that we may still write on the file system of ``path``, which exists. Raises
    OSError."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def make_folder(path: Path, top: Path | None = None) -> None:
    """Make ``path`` and the missing folders above it, and wait until they are on the disk. Raises
    OSError.

    ``top`` is not made: if it was moved away, or its disk is gone, nothing may take its place.
    """
    if path.is_dir():
        return
    if path == top:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    make_folder(path.parent, top)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Write a file's bytes, or a folder's list of names, through to the disk. Raises OSError.

    Some file systems cannot do it for folders (EINVAL on some network ones), and do it in their own
    way.
    """
    # Without O_NONBLOCK a pipe of that name would be waited on for ever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _flush(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(handle)


def sync_all(paths: Iterable[Path]) -> None:
    """:func:`sync` each of ``paths``, several at a time; missing ones are skipped.

    Raises the first OSError, when all have been tried.
    """
    from threading import Lock, Thread

    several = list(dict.fromkeys(paths))
    waiting = iter(several)
    lock = Lock()
    failures: list[OSError] = []

    def work() -> None:
        while True:
            with lock:
                path = next(waiting, None)
            if path is None:
                return
            try:
                sync(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                failures.append(error)

    # A thread takes as long to start as a quick disk to answer.
    helpers = [Thread(target=work) for _ in range(min(_AT_ONCE - 1, len(several) // 4))]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]


def _flush(handle: int) -> None:
    """fsync(2); on macOS F_FULLFSYNC, because its fsync leaves the bytes in the drive's cache."""
    import fcntl

    thorough = getattr(fcntl, "F_FULLFSYNC", None)
    if thorough is not None:
        with suppress(OSError):  # a file system without it
            fcntl.fcntl(handle, thorough)
            return
    os.fsync(handle)
