"""A lock file of ours: one writer of the record at a time, on one machine. Frees itself when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loragit.errors import LoragitError


class CannotLock(LoragitError):
    """The lock file cannot be made or opened."""


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock at ``path`` (created, with its folder, where missing). Waits for whoever holds it.

    The lock only keeps our own processes from losing races again and again: correctness comes from git's
    compare-and-swap, so a file system without locks is no error. Raises :class:`CannotLock`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise CannotLock(
            f"{path} cannot be opened: {error.strerror}", hint="see whom it belongs to, and that you may write it"
        ) from error
    try:
        with suppress(OSError):  # a network file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
