"""Run a training: pass on its output and its signals, give it time to end, leave no process of it
behind. Linux and macOS.

::

    SIGINT ──► all of the training ── grace ──► SIGTERM ── grace ──► SIGKILL   (sooner at a second)
    the trainer ended by itself ── EXTRA ──► SIGTERM ── grace ──► SIGKILL   to what it left behind
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.system.alive import any_left
from loragit.system.child import NOTHING, Child, ChildSetup, Command, shell_status, start
from loragit.system.signals import ENDING, Signals, signal_group
from loragit.system.terminal import Output, own_streams

EXTRA = 0.2
"""Seconds that a training's other processes get to end by themselves once the trainer has."""

_LAST = 1.0
"""Seconds after SIGKILL in which the kernel should have ended everything."""


class Ended(NamedTuple):
    """How a training ended."""

    exit_status: int
    """The trainer's, as a shell reports it: 128 + n where signal n ended it."""
    signal: int | None
    """The signal that ended the trainer."""
    interrupted_by: int | None
    """The first signal that asked us to end it."""
    started: datetime
    """UTC."""
    finished: datetime
    """UTC; when the last process of the training was gone. Unaffected by changes of the clock."""
    log_tail: tuple[str, ...]
    """The last lines of the log, redacted."""
    trouble: tuple[str, ...]
    """What failed on our side while the training went on."""


def train(
    command: Command,
    *,
    log: Path,
    redact: Callable[[str], str],
    goes_on: Callable[[str], bool] = lambda _: False,
    grace: float,
    tail: int = 20,
    started: Callable[[int], None] | None = None,
    once: float = 0.0,
) -> Ended:
    """Run a training to its end, and leave no process of it behind.

    Its output goes to our stdout and stderr as it comes and, redraws folded and every line through
    ``redact``, into ``log``, which must not exist; the last ``tail`` lines are returned. Lines for
    which ``goes_on`` holds are redacted together with the next. It is in a session of its own, so
    that the terminal tells us alone: SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to all of
    it, followed by SIGTERM after ``grace`` seconds and SIGKILL after as many again, and sooner at a
    second signal. Ctrl-Z stops it with us. ``started`` is called with the trainer's process id.
    Within ``once`` seconds the same signal counts once: a shell that waits for us may pass on what
    a terminal has told both.

    Raises :class:`~loragit.system.child.CannotStart` and
    :class:`~loragit.system.terminal.CannotLog`, both before anything has run. To be called
    from the main thread, with nothing left in the buffers of our own streams.
    """
    sinks = own_streams()
    with Signals() as signals:
        output = Output(log, redact, tail, sinks, goes_on)
        try:
            begun, since = datetime.now(UTC), time.monotonic()
            child = _start_in_session(command, output)
        except LoragitError:
            output.discard()
            raise
        watch = Watch(child, output, signals, grace, once)
        try:
            output.started()
            watch.report_start(started)
            watch.run()
        finally:
            watch.release()
            output.close()
    return Ended(
        exit_status=shell_status(child.returncode),
        signal=-child.returncode if child.returncode < 0 else None,
        interrupted_by=watch.interrupted_by or signals.late,
        started=begun,
        finished=begun + timedelta(seconds=time.monotonic() - since),
        log_tail=output.transcript.tail,
        trouble=output.trouble,
    )


def _start_in_session(command: Command, output: Output) -> Child:
    """Start the trainer in a session of its own, with nothing on its stdin."""
    setup = ChildSetup(
        cwd=command.cwd,
        env=command.env,
        stdin=NOTHING,
        stdout=output.stdout,
        stderr=output.stderr,
        session=True,
    )
    return start(command.argv, setup)


class Watch:
    """One training under way. :meth:`run` returns when all of it is gone."""

    def __init__(
        self, child: Child, output: Output, signals: Signals, grace: float, once: float
    ) -> None:
        self._child = child
        self._once = once
        self._came: dict[int, float] = {}
        self._output = output
        self._signals = signals
        self._grace = grace
        self._steps: list[int] = []  # signals still to be sent, each harder
        self._deadline: float | None = None  # when the next one is due
        self._tick = 0.005
        self._gone = False
        self.interrupted_by: int | None = None

    def report_start(self, started: Callable[[int], None] | None) -> None:
        """Call ``started`` with the trainer's process id."""
        try:
            if started is not None:
                started(self._child.pid)
        except Exception as error:  # noqa: BLE001  whatever it is, it is no reason to end a training
            self._output.note(f"the start was not noted: {type(error).__name__}: {error}")

    def run(self) -> None:
        while not self._gone:
            self._turn(self._timeout())
            self._advance()
        while self._output.drain():
            self._turn(None)

    def release(self) -> None:
        """Kill the training if a defect of ours has ended :meth:`run`: nobody watches it any
        more."""
        if self._child.returncode is None:
            signal_group(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def _turn(self, timeout: float | None) -> None:
        readers = [self._signals.reader, *self._output.readers()]
        readable, writable, _ = select.select(readers, self._output.writers(), [], timeout)
        for number in self._signals.read():
            self._obey(number)
        self._output.relay([*readable, *writable])

    def _timeout(self) -> float | None:
        """Seconds until something is to be done; ``None`` to wait for an event. A process that is
        no child of ours ends without one, so it is polled for."""
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if left is None or self._child.returncode is None:
            return left
        self._tick = min(2 * self._tick, 0.25)
        return min(self._tick, left)

    def _advance(self) -> None:
        """Find out who is left, and do what is due."""
        status = self._child.poll()
        if status is not None and not any_left(self._child.pid):
            self._gone = True
        elif status is not None and self._deadline is None:
            self._steps = [signal.SIGTERM, signal.SIGKILL]
            self._deadline = time.monotonic() + (EXTRA if status >= 0 else 0)
        elif self._deadline is not None and time.monotonic() >= self._deadline:
            if self._steps:
                self._harder()
            elif status is None:
                self._deadline = None  # there is nothing harder: the kernel ends it when it can
            else:
                self._output.note("processes of the training are left that not even SIGKILL ended")
                self._gone = True

    def _obey(self, number: int) -> None:
        if number in ENDING and self._repeats(number):
            return
        if number in ENDING:
            self._end(number)
        elif number == signal.SIGWINCH:
            self._output.resize()
            self._send(
                number
            )  # no session has the pseudo-terminal, so the system sends it to nobody
        elif number == signal.SIGTSTP:
            self._suspend()
        elif number == signal.SIGCONT:
            self._send(number)

    def _repeats(self, number: int) -> bool:
        """Whether this signal also came a moment ago: somebody else who received it has passed it
        on."""
        now = time.monotonic()
        if now - self._came.get(number, -self._once) < self._once:
            return True
        self._came[number] = now
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
        self._output.resize()  # no SIGWINCH told us: meanwhile the terminal was another program's
        self._send(signal.SIGCONT)
        if self._deadline is not None:
            self._deadline += time.monotonic() - since

    def _send(self, number: int) -> None:
        if self._gone:  # the number of the group may be another's by now
            return
        signal_group(self._child.pid, number)
        if number in ENDING:
            signal_group(self._child.pid, signal.SIGCONT)  # what is stopped cannot end
