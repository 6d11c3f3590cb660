"""loragit's own lock file: one writer of the record at a time, on one machine. It is free again
when its holder ends, however that happens."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loragit.errors import LoragitError

WARNED_AFTER = 1.0
"""Seconds after which the user is told what is waited for."""

Warn = Callable[[str], None]
"""Shows the user a line."""

BOUND = 15.0
"""Seconds after which the work goes on without the lock: its holder may be stopped (Ctrl-Z), or
import ten thousand runs."""


class CannotLock(LoragitError):
    """The lock file cannot be made or opened."""


@contextmanager
def locked(path: Path, warn: Warn, bound: float | None = None) -> Iterator[None]:
    """Hold the lock at ``path`` (made if missing, with its folder in a repository). Whoever waits
    for it gets it in turn.

    The lock only keeps our own processes from losing races again and again: correctness comes from
    git's compare-and-swap. So a file system without locks is no error, and after ``bound`` seconds
    (:data:`BOUND`) the work is done without it. ``warn`` hears of a wait that is longer than a
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
            hint="see who owns it, and that you may write it",
        ) from error
    try:
        _take(handle, path, warn, BOUND if bound is None else bound)
        yield
    finally:
        # If the work was done without the lock, this also ends our wait for it.
        os.close(handle)


def _take(handle: int, path: Path, warn: Warn, bound: float) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _queue(handle, path, warn, bound)
    except OSError:  # a network file system without locks
        pass


def _queue(handle: int, path: Path, warn: Warn, bound: float) -> None:
    """Wait in turn. flock(2) has no time limit, and whoever only asks again and again is passed by
    those who wait."""
    from threading import Thread

    waiting = Thread(target=_wait, args=(handle,), daemon=True)
    waiting.start()
    waiting.join(WARNED_AFTER)
    if waiting.is_alive():
        warn(
            f"waiting for another loragit, which holds {path}; going on without it after "
            f"{bound:g} s"
        )
        waiting.join(bound - WARNED_AFTER)


def _wait(handle: int) -> None:
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
