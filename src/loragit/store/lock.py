"""A lock file of ours: one writer of the record at a time, on one machine. Frees itself when its
holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loragit.errors import LoragitError
from loragit.store.patience import TOLD_AFTER, Tell

BOUND = 15.0
"""Seconds after which the lock is done without: its holder may be stopped (Ctrl-Z), or bring in ten
thousand runs."""


class CannotLock(LoragitError):
    """The lock file cannot be made or opened."""


@contextmanager
def hold(path: Path, tell: Tell, bound: float | None = None) -> Iterator[None]:
    """Hold the lock at ``path`` (created, with its folder in a repository, where missing). Waits
    for whoever holds it, in line.

    The lock only keeps our own processes from losing races again and again: correctness comes from
    git's compare-and-swap, so a file system without locks is no error, and after ``bound`` seconds
    (:data:`BOUND`) the work is done without it. ``tell`` hears of a wait that is longer than a
    moment. Raises :class:`CannotLock`.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError as error:
        raise CannotLock(
            f"the repository {path.parent.parent} is not there any more",
            hint="move it back, or go where it is now, then: loragit recover",
        ) from error
    except OSError as error:
        raise CannotLock(
            f"{path} cannot be opened: {error.strerror}",
            hint="see whom it belongs to, and that you may write it",
        ) from error
    try:
        _take(handle, path, tell, BOUND if bound is None else bound)
        yield
    finally:
        # Where the lock was done without, this also takes us out of the line.
        os.close(handle)


def _take(handle: int, path: Path, tell: Tell, bound: float) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _queue(handle, path, tell, bound)
    except OSError:  # a network file system without locks
        pass


def _queue(handle: int, path: Path, tell: Tell, bound: float) -> None:
    """Wait in line. flock(2) has no time limit, and who asks again and again is passed by those who
    wait."""
    from threading import Thread

    waiting = Thread(target=_wait, args=(handle,), daemon=True)
    waiting.start()
    waiting.join(TOLD_AFTER)
    if waiting.is_alive():
        tell(
            f"waiting for another loragit, which holds {path}; going on without it after "
            f"{bound:g} s"
        )
        waiting.join(bound - TOLD_AFTER)


def _wait(handle: int) -> None:
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
