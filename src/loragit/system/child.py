"""Children: those that are asked something, those that nobody waits for, and the trainer. Linux and
macOS."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError, shell_word
from loragit.system.supervise import (
    ENDED,
    PROC,
    Signals,
    Watch,
    has_proc,
    members,
    proc_stat,
    signal_group,
)
from loragit.system.terminal import Output, own_streams

_TOOLS = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
"""Environment in which the system's own tools are found and speak the same everywhere."""


class CannotStart(LoragitError):
    """The program could not be started; nothing ran."""


class ProgramMissing(CannotStart):
    """There is no such program, or it cannot be executed."""


class TimedOut(LoragitError):
    """A question was not answered in time; whoever was asked is gone. ``out`` is what it had said
    by then."""

    out = b""


class Command(NamedTuple):
    """A program to run: arguments (the first is the program), working folder, whole environment."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]


class Answer(NamedTuple):
    """What a child said."""

    status: int
    """As a shell reports it: 128 + n where signal n ended the child."""
    out: bytes
    err: bytes


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


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without ``GIT_*``, which would show a trainer another repository as its own."""
    return {name: value for name, value in environ.items() if not name.startswith("GIT_")}


class Question:
    """A child that was asked something and works on it. One that nobody waits for is ended."""

    def __init__(self, child: subprocess.Popen[bytes], left: bytes, name: str) -> None:
        self._child = child
        self._left = left
        self._name = name
        self._answer: Answer | None = None

    def answer(self, timeout: float | None = None) -> Answer:
        """Wait for the answer, at most ``timeout`` seconds: then everything that was started is
        killed.

        Raises :class:`TimedOut`. The answer is whole when the child and whoever has its output have
        closed it.
        """
        if self._answer is None:
            try:
                out, err = self._child.communicate(self._left or None, timeout)
            except subprocess.TimeoutExpired as error:
                self.cancel()
                late = TimedOut(
                    f"{self._name} did not answer within {timeout:g} s",
                    hint="run it by hand to see what it waits for",
                )
                late.out = error.output or b""
                raise late from None
            except BaseException:
                self.cancel()
                raise
            self._answer = Answer(_status(self._child.returncode), out, err or b"")
        return self._answer

    def cancel(self) -> None:
        """End it and all that it started; the answer no longer matters."""
        if self._child.returncode is None:
            signal_group(self._child.pid, signal.SIGKILL)
            self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def __del__(self) -> None:
        self.cancel()


def ask(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes = b"",  # noqa: A002  subprocess's own word for it
    stderr: int = subprocess.PIPE,
    detached: bool = False,
) -> Question:
    """Start a child that answers on its stdout, in a process group of its own; many can be at work
    at the same time.

    It reads ``input`` or nothing, never the terminal; ``detached`` it has no terminal at all, not
    even one to open. Where ``stderr`` is given, a descriptor, that is its standard error and no
    part of the answer. Raises :class:`ProgramMissing` and :class:`CannotStart`.
    """
    stdin = subprocess.PIPE if input else subprocess.DEVNULL
    streams = (stdin, subprocess.PIPE, stderr)
    # A new session has a group of its own too, and a process that leads one cannot be given
    # another.
    child = _start(
        argv, cwd, env, streams, start_new_session=detached, process_group=None if detached else 0
    )
    if child.stdin is not None:
        # What the pipe holds goes at once, so that the child need not wait until its answer is
        # wanted.
        os.set_blocking(child.stdin.fileno(), False)
        try:
            input = input[os.write(child.stdin.fileno(), input) :]  # noqa: A001
        except BrokenPipeError:  # it never reads
            input = b""  # noqa: A001
        if not input:
            child.stdin.close()
            child.stdin = None
    return Question(child, input, argv[0])


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> int:
    """Run a child on our own terminal, a pager or an editor; returns its status as a shell reports
    it."""
    child = _start(argv, cwd, env, (None, None, None))
    while True:
        try:
            return _status(child.wait())
        except (
            KeyboardInterrupt
        ):  # the terminal told the child as well, and what follows is the child's decision
            continue


def spawn_quietly(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Start a child that nobody waits for, without any terminal. A program that is missing does
    nothing."""
    nothing = (subprocess.DEVNULL, subprocess.DEVNULL, subprocess.DEVNULL)
    # The shell is gone at once and leaves the child to init: it never becomes a zombie of ours.
    _start(
        ["/bin/sh", "-c", '"$@" &', "sh", *argv], cwd, env, nothing, start_new_session=True
    ).wait()


def exists(pid: int) -> bool:
    """Whether a process has this number. One that has ended and only waits to be reaped does not
    count."""
    try:
        if pid <= 0:
            return False
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    stat = proc_stat(pid)
    return stat is None or stat[0] not in ENDED


def start_time(pid: int) -> str | None:
    """When process ``pid`` began, to be compared for equality only; ``None`` where there is no such
    process.

    With :func:`boot_id` it tells a process from a later one of the same number.
    """
    if has_proc():
        stat = proc_stat(pid)
        return (
            None if stat is None else stat[19]
        )  # field 22 of proc_pid_stat(5): clock ticks since boot
    return _said(["ps", "-o", "lstart=", "-p", str(pid)])


def lives(pid: int, started: str, boot: str, host: str, space: str = "") -> bool | None:
    """Whether the process that was ``pid`` of ``host``, begun at ``started`` in ``boot``, is still
    there; ``None`` where that cannot be told from here: on another machine, or in a container that
    counts its processes apart.

    ``started``, ``boot`` and ``space`` are as :func:`start_time`, :func:`boot_id` and
    :func:`pid_space` tell them, empty where they could not.
    """
    if _elsewhere(boot, host, space):
        return None
    if over(boot) or not exists(pid):
        return False
    now = start_time(pid)
    if now and started:
        return now == started
    # One that the system shows to its owner alone (hidepid of /proc) may be a later one of the same
    # number.
    return None if exists(pid) else False


def over(boot: str) -> bool:
    """Whether the machine was started again since ``boot``, as far as can be told."""
    now = boot_id()
    return bool(boot and now and boot != now)


def _elsewhere(boot: str, host: str, space: str) -> bool:
    """Whether the numbers of processes there are none of those here."""
    ours = pid_space()
    if boot and space and ours and boot == boot_id():
        return space != ours  # the same machine, whatever it is called by now
    return host != os.uname().nodename


def pid_space() -> str:
    """Which processes are counted together with this one (pid_namespaces(7)); empty where the
    system does not tell."""
    try:
        return str(PROC.joinpath("self", "ns", "pid").readlink())
    except OSError:
        return ""


def group_left(leader: int, started: str) -> tuple[int, ...]:
    """Processes that are left of the group that the process ``leader``, begun at ``started``, led.

    Where the number is another process's by now, nothing is left: a number in use as a group's is
    given to nobody.
    """
    now = start_time(leader)
    return members(leader) if now is None or now == started else ()


def told(variable: str, value: str) -> tuple[int, ...]:
    """Processes of ours that were started with ``variable=value`` in their environment; none where
    the system does not tell (macOS)."""
    wanted = os.fsencode(f"{variable}={value}")
    found = []
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            if wanted in folder.joinpath("environ").read_bytes().split(b"\0") and exists(
                int(folder.name)
            ):
                found.append(int(folder.name))
    return tuple(sorted(found))


def boot_id() -> str | None:
    """Another text after every start of the machine; ``None`` where the system tells none."""
    try:
        return PROC.joinpath("sys", "kernel", "random", "boot_id").read_text("ascii").strip()
    except OSError:
        return _said(["sysctl", "-n", "kern.bootsessionuuid"])


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

    Raises :class:`ProgramMissing`, :class:`CannotStart` and
    :class:`~loragit.system.terminal.CannotLog`, all of them before anything has run. To be called
    from the main thread, with nothing left in the buffers of our own streams.
    """
    sinks = own_streams()
    with Signals() as signals:
        output = Output(log, redact, tail, sinks, goes_on)
        try:
            begun, since = datetime.now(UTC), time.monotonic()
            ends = (subprocess.DEVNULL, output.stdout, output.stderr)
            child = _start(command.argv, command.cwd, command.env, ends, start_new_session=True)
        except LoragitError:
            output.discard()
            raise
        watch = Watch(child, output, signals, grace, once)
        try:
            output.started()
            watch.tell(started)
            watch.run()
        finally:
            watch.release()
            output.close()
    return Ended(
        exit_status=_status(child.returncode),
        signal=-child.returncode if child.returncode < 0 else None,
        interrupted_by=watch.interrupted_by or signals.late,
        started=begun,
        finished=begun + timedelta(seconds=time.monotonic() - since),
        log_tail=output.transcript.tail,
        trouble=output.trouble,
    )


def _start(
    argv: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    streams: tuple[int | None, int | None, int | None],
    *,
    start_new_session: bool = False,
    process_group: int | None = None,
) -> subprocess.Popen[bytes]:
    stdin, stdout, stderr = streams
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=start_new_session,
            process_group=process_group,
        )
    except OSError as error:
        raise _cannot_start(error, argv[0], cwd) from error


def _cannot_start(error: OSError, program: str, cwd: Path | None) -> CannotStart:
    if cwd is not None and str(error.filename) == str(cwd):
        return CannotStart(
            f"{program} cannot run in {cwd}: {error.strerror}",
            hint="see which setting names that folder",
        )
    if error.errno == errno.EACCES:
        return ProgramMissing(
            f"{program} may not be executed", hint=f"allow it with: chmod +x {shell_word(program)}"
        )
    if error.errno == errno.ENOEXEC:
        hint = "a script needs a first line such as #!/bin/sh"
        return ProgramMissing(f"{program} is not a program that this system runs", hint=hint)
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return CannotStart(f"{program} could not be started: {error.strerror}")
    if "/" not in program:
        return ProgramMissing(
            f"program {program} was not found on PATH", hint="install it, or name it with its path"
        )
    if (cwd or Path()).joinpath(program).exists():
        hint = "its environment was moved or removed: install it again"
        return ProgramMissing(
            f"{program} names an interpreter in its first line that does not exist", hint=hint
        )
    return ProgramMissing(f"program {program} does not exist", hint="see which setting names it")


def _status(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


def _said(argv: Sequence[str]) -> str | None:
    """What a small tool of the system prints; ``None`` where it has nothing to say."""
    try:
        answer = ask(argv, env=_TOOLS).answer()
    except ProgramMissing:
        return None
    return answer.out.decode().strip() or None


class Pager:
    """What shows a long output a page at a time, fed through the standard output of this
    process."""

    def __init__(self, command: str) -> None:
        """Start ``command`` in a shell, as git does, and put it in the place of standard output.
        Raises OSError."""
        # As git has it: quit if one screen is enough, show colours, leave the text on the screen.
        environ = {"LESS": "FRX", "LV": "-c"} | dict(os.environ)
        self._child = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, env=environ)
        assert self._child.stdin
        self._screen = os.dup(1)
        os.dup2(self._child.stdin.fileno(), 1)
        self._child.stdin.close()
        # Ctrl-C is for the pager, which stops reading or moves on.
        self._before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait(self) -> None:
        """Say that nothing more comes, and wait until the reader has finished."""
        os.dup2(self._screen, 1)
        os.close(self._screen)
        self._child.wait()
        signal.signal(signal.SIGINT, self._before)
