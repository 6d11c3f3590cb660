"""One training under way: its signals, its time to end, and that in the end all of it is gone.
Linux and macOS."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Protocol, Self

from loragit.system.terminal import Output

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a training. They go to all of it."""

SETTLE = 0.2
"""Seconds that a training's other processes get to go by themselves once the trainer has ended."""

_LAST = 1.0
"""Seconds after SIGKILL in which the kernel should have ended everything."""

ENDED = "ZX"
"""States of proc_pid_stat(5) in which a process only waits to be reaped."""

PROC = Path("/proc")

_HEEDED = (*PASSED_ON, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGCHLD)


class Child(Protocol):
    """The trainer, as ``subprocess`` sees it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


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
        self._before = {number: signal.getsignal(number) for number in _HEEDED}
        for number, before in self._before.items():
            # Where SIGCHLD is ignored, the system keeps no exit status.
            if before is not signal.SIG_IGN or number == signal.SIGCHLD:
                signal.signal(number, _heard)
        # Whoever opened the run holds them back; what came meanwhile is heard now.
        self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return self

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        signal.set_wakeup_fd(self._wakeup)
        self.late = next((number for number in self.read() if number in PASSED_ON), None)
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
        signal.signal(signal.SIGTSTP, _heard)


class Watch:
    """One training under way: its output, its signals, and that in the end all of it is gone."""

    def __init__(
        self, child: Child, output: Output, signals: Signals, grace: float, once: float
    ) -> None:
        self._child = child
        self._once = once
        self._heard: dict[int, float] = {}
        self._output = output
        self._signals = signals
        self._grace = grace
        self._steps: list[int] = []  # signals still to be sent, each harder
        self._deadline: float | None = None  # when the next one is due
        self._tick = 0.005
        self._gone = False
        self.interrupted_by: int | None = None

    def tell(self, started: Callable[[int], None] | None) -> None:
        try:
            if started is not None:
                started(self._child.pid)
        except Exception as error:  # noqa: BLE001  whatever it is, it is no reason to end a training
            self._output.note(f"the start was not noted: {type(error).__name__}: {error}")

    def run(self) -> None:
        while not self._gone:
            self._turn(self._timeout())
            self._look()
        while self._output.drain():
            self._turn(None)

    def release(self) -> None:
        """Should a defect of ours have ended :meth:`run`, nothing is left without anyone who
        watches it."""
        if self._child.returncode is None:
            signal_group(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def _turn(self, timeout: float | None) -> None:
        readers = [self._signals.reader, *self._output.readers()]
        readable, writable, _ = select.select(readers, self._output.writers(), [], timeout)
        for number in self._signals.read():
            self._heed(number)
        self._output.relay([*readable, *writable])

    def _timeout(self) -> float | None:
        """Seconds until something is to be done. That a process has ended that is no child of ours
        no event tells."""
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if left is None or self._child.returncode is None:
            return left
        self._tick = min(2 * self._tick, 0.25)
        return min(self._tick, left)

    def _look(self) -> None:
        """See who is left, and do what is due."""
        status = self._child.poll()
        if status is not None and not any_left(self._child.pid):
            self._gone = True
        elif status is not None and self._deadline is None:
            self._steps = [signal.SIGTERM, signal.SIGKILL]
            self._deadline = time.monotonic() + (SETTLE if status >= 0 else 0)
        elif self._deadline is not None and time.monotonic() >= self._deadline:
            if self._steps:
                self._harder()
            elif status is None:
                self._deadline = None  # there is nothing harder: the kernel ends it when it can
            else:
                self._output.note("processes of the training are left that not even SIGKILL ended")
                self._gone = True

    def _heed(self, number: int) -> None:
        if number in PASSED_ON and self._repeats(number):
            return
        if number in PASSED_ON:
            self._end(number)
        elif number == signal.SIGWINCH:
            self._output.resize()
            self._send(number)  # the system tells nobody: the pseudo-terminal controls no session
        elif number == signal.SIGTSTP:
            self._suspend()
        elif number == signal.SIGCONT:
            self._send(number)

    def _repeats(self, number: int) -> bool:
        """Whether this is the signal of a moment ago: somebody who was told it too has passed it
        on."""
        now = time.monotonic()
        if now - self._heard.get(number, -self._once) < self._once:
            return True
        self._heard[number] = now
        return False

    def _end(self, number: int) -> None:
        first, self.interrupted_by = self.interrupted_by is None, self.interrupted_by or number
        if self._gone:
            self._output.abandon()
        elif first and self._child.returncode is None:
            self._send(number)
            self._steps = (
                [signal.SIGKILL] if number == signal.SIGTERM else [signal.SIGTERM, signal.SIGKILL]
            )
            self._deadline = time.monotonic() + self._grace
        elif self._steps:
            self._harder()

    def _harder(self) -> None:
        self._send(self._steps.pop(0))
        self._deadline = time.monotonic() + (self._grace if self._steps else _LAST)

    def _suspend(self) -> None:
        since = time.monotonic()
        self._send(signal.SIGSTOP)  # SIGTSTP is not for sessions without a terminal
        self._signals.stop_ourselves()
        self._send(signal.SIGCONT)
        self._output.resize()
        if self._deadline is not None:
            self._deadline += time.monotonic() - since

    def _send(self, number: int) -> None:
        if self._gone:  # the number of the group may be another's by now
            return
        signal_group(self._child.pid, number)
        if number in PASSED_ON:
            signal_group(self._child.pid, signal.SIGCONT)  # what is stopped cannot hear


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Nothing more: the pipe has the number."""


def signal_group(group: int, number: int) -> None:
    """Send a signal to all processes of a group; none may be left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone; macOS: only zombies left
        return


def group_of(pid: int) -> int:
    """The group that process ``pid`` is in; its own number where it has just ended."""
    try:
        return os.getpgid(pid)
    except OSError:
        return pid


def any_left(group: int) -> bool:
    """Whether a process of ``group`` runs. Zombies do not count: somebody else may never reap
    them."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # as in signal_group
        return False
    return not has_proc() or bool(members(group))  # macOS finds no zombies


def members(group: int) -> tuple[int, ...]:
    """Processes of ``group`` that run, whoever's they are; where the system lists none (macOS), the
    group's number."""
    if not has_proc():
        return (group,) if any_left(group) else ()
    stats = {
        int(entry.name): proc_stat(int(entry.name))
        for entry in PROC.iterdir()
        if entry.name.isdecimal()
    }
    return tuple(
        pid
        for pid, stat in stats.items()
        if stat and int(stat[2]) == group and stat[0] not in ENDED
    )


def has_proc() -> bool:
    """Whether the system tells about processes in proc_pid_stat(5), as Linux does."""
    return PROC.joinpath("self", "stat").exists()


def proc_stat(pid: int) -> list[str] | None:
    """Fields of proc_pid_stat(5) from the third, the state, on; ``None`` where there is none."""
    try:
        text = PROC.joinpath(str(pid), "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text[text.rindex(")") + 1 :].split()
