"""Signals: held back while the record is written, and read from a pipe while a training runs.

Between opening a run and its end no signal may leave the record half-written::

    held() ─────────────────────────────────────────────────────────────┐
      │ open the run │ Signals(): let through, to the trainer │ seal it │ forgotten
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What a person or a system sends to end a program. A training gets them all."""

_CAUGHT = (*ENDING, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGCHLD)


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
def ending_signals_blocked() -> Iterator[None]:
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


class Signals:
    """Signals as bytes in a pipe, for as long as a training runs; what was ignored before stays
    ignored (nohup)."""

    late: int | None = None
    """A signal to end that came when there was nothing left to pass it on to."""

    def __enter__(self) -> Self:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before = {number: signal.getsignal(number) for number in _CAUGHT}
        for number, before in self._before.items():
            # Where SIGCHLD is ignored, the system keeps no exit status.
            if before is not signal.SIG_IGN or number == signal.SIGCHLD:
                signal.signal(number, _ignore)
        # Whoever opened the run holds them back; what came meanwhile is heard now.
        self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        return self

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        signal.set_wakeup_fd(self._wakeup)
        self.late = next((number for number in self.read() if number in ENDING), None)
        os.close(self.reader)
        os.close(self._writer)

    def read(self) -> bytes:
        """The numbers of the signals that came since."""
        try:
            return os.read(self.reader, 4096)
        except BlockingIOError:
            return b""

    def stop_ourselves(self) -> None:
        """As Ctrl-Z does it; returns when somebody continues us, at once where nobody could (an
        orphaned group)."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _ignore)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Nothing more: the pipe has the number."""


def signal_group(group: int, number: int) -> None:
    """Send a signal to all processes of a group; none may be left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone; macOS: only zombies left
        return
