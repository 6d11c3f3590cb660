"""The one place that starts children: git, the trainer, its Python, a pager.

Whether a process is still there is asked of ``alive``; a training is watched by ``supervise``.
Linux and macOS.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError, shell_word

Child = subprocess.Popen[bytes]
"""A child under way."""

PIPE = subprocess.PIPE
"""For a stream of a child: what is written or read here."""
NOTHING = subprocess.DEVNULL
"""For a stream of a child: /dev/null."""


class CannotStart(LoragitError):
    """The program could not be started; nothing ran."""


class ProgramMissing(CannotStart):
    """There is no such program, or it cannot be executed."""


class TimedOut(LoragitError):
    """A child did not answer in time, and was killed."""

    out = b""
    """What it had printed by then."""


class Command(NamedTuple):
    """A program to run: arguments (the first is the program), working folder, whole environment."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]


class ChildSetup(NamedTuple):
    """What a child gets besides its arguments. A stream is a descriptor, :data:`PIPE`,
    :data:`NOTHING`, or ours (``None``)."""

    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    """All of its environment; ``None`` for ours."""
    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    session: bool = False
    """Whether it gets a session of its own."""
    group: int | None = None
    """The process group that it joins; 0 for a new one."""


class Answer(NamedTuple):
    """What a child printed, and how it ended."""

    status: int
    """As a shell reports it: 128 + n where signal n ended the child."""
    out: bytes
    err: bytes


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without ``GIT_*``, which would show a trainer another repository as its own."""
    return {name: value for name, value in environ.items() if not name.startswith("GIT_")}


class ChildQuestion:
    """A child that works on an answer. Once nothing refers to it any more, it is killed."""

    def __init__(self, child: Child, unread: bytes, name: str) -> None:
        """``unread`` is the input that did not fit into the pipe at once."""
        self._child = child
        self._unread = unread
        self._name = name
        self._answer: Answer | None = None

    def answer(self, timeout: float | None = None) -> Answer:
        """Wait for the answer; after ``timeout`` seconds kill the child and all that it started.

        The answer is complete when everybody who has the child's output has closed it. Raises
        :class:`TimedOut`.
        """
        if self._answer is None:
            try:
                out, err = self._child.communicate(self._unread or None, timeout)
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
            self._answer = Answer(shell_status(self._child.returncode), out, err or b"")
        return self._answer

    def send(self, data: bytes) -> None:
        """Give a child that was asked with ``later`` the rest of its input, which fits into a
        pipe."""
        pipe, self._child.stdin = self._child.stdin, None
        if pipe is not None:
            with suppress(BrokenPipeError), pipe:  # it never reads
                pipe.write(data)

    def cancel(self) -> None:
        """Kill it and all that it started; the answer no longer matters."""
        if self._child.returncode is None:
            from loragit.system.signals import signal_group  # git's children do without

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
    stderr: int = PIPE,
    detached: bool = False,
    later: bool = False,
) -> ChildQuestion:
    """Start a child that answers on its stdout, in a process group of its own; many can be at work
    at the same time.

    It reads ``input`` or nothing, never the terminal; if ``detached``, it has no terminal at all,
    not even one to open. A descriptor as ``stderr`` is its standard error, and no part of the
    answer. With ``later`` it gets its input from :meth:`ChildQuestion.send`, or none. Raises
    :class:`ProgramMissing` and :class:`CannotStart`.
    """
    setup = ChildSetup(
        cwd=cwd,
        env=env,
        stdin=PIPE if input or later else NOTHING,
        stdout=PIPE,
        stderr=stderr,
        session=detached,
        # A new session has a group of its own, and a process that leads one cannot be given
        # another.
        group=None if detached else 0,
    )
    child = start(argv, setup)
    if child.stdin is not None and not later:
        # As much as the pipe holds is written at once: the child need not wait until somebody
        # asks for its answer.
        os.set_blocking(child.stdin.fileno(), False)
        try:
            input = input[os.write(child.stdin.fileno(), input) :]  # noqa: A001
        except BrokenPipeError:  # it never reads
            input = b""  # noqa: A001
        if not input:
            child.stdin.close()
            child.stdin = None
    return ChildQuestion(child, input, argv[0])


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> int:
    """Run a child, such as an editor, on our own terminal. Returns its status as a shell reports
    it."""
    child = start(argv, ChildSetup(cwd, env))
    while True:
        try:
            return shell_status(child.wait())
        except KeyboardInterrupt:
            # The terminal sent it to the child too, and the child decides what follows.
            continue


def spawn_quietly(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Start a child that nobody waits for, without a terminal. A missing program is no error."""
    # The shell ends at once and leaves the child to init: it never becomes a zombie of ours.
    words = ["/bin/sh", "-c", '"$@" &', "sh", *argv]
    start(words, ChildSetup(cwd, env, NOTHING, NOTHING, NOTHING, session=True)).wait()


def start(argv: Sequence[str], setup: ChildSetup) -> Child:
    """As :func:`spawn`. Raises :class:`ProgramMissing` and :class:`CannotStart`."""
    try:
        return spawn(argv, setup)
    except OSError as error:
        raise _cannot_start(error, argv[0], setup.cwd) from error


def spawn(argv: Sequence[str], setup: ChildSetup) -> Child:
    """Start ``argv``. Raises OSError."""
    return subprocess.Popen(
        argv,
        cwd=setup.cwd,
        env=setup.env,
        stdin=setup.stdin,
        stdout=setup.stdout,
        stderr=setup.stderr,
        start_new_session=setup.session,
        process_group=setup.group,
    )


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


def shell_status(returncode: int) -> int:
    """``Popen.returncode`` as a shell reports it: 128 + n if signal n ended the child."""
    return 128 - returncode if returncode < 0 else returncode
