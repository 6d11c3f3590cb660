"""Signals that must wait: between opening a run and its end, no signal may leave the record
half-written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What a person or a system sends to end a program."""


@contextmanager
def postponed() -> Iterator[None]:
    """Within, signals that would end this process wait, also for threads that start there; then
    they come."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def held() -> Iterator[None]:
    """Within, signals that would end this process wait; at the end those that came are forgotten.

    They are blocked, not caught: git's processes inherit that, so that Ctrl-C, which a terminal
    sends to all of them, does not stop git between two refs. A training lets them through while it
    runs (:mod:`loragit.system.supervise`). Concerns the calling thread.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        for number in waiting():
            # A pending signal is discarded when it becomes ignored (sigaction(2)).
            handler = signal.signal(number, signal.SIG_IGN)
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def waiting() -> tuple[int, ...]:
    """Signals that came and are held; those that are ignored (nohup) do not count."""
    return tuple(
        n for n in ENDING if n in signal.sigpending() and signal.getsignal(n) is not signal.SIG_IGN
    )
