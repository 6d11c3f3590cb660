"""Children that are ready at once: one process imports everything, and forks a child for each call.

A ``loragit`` of its own costs a third of a second before it does anything; such a child costs
milliseconds, and may lose a right, a file system or a limit without anybody else's noticing.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.paths import ROOT
from tests.support.processes import Result

READY_MADE = (
    "loragit.cli",
    *(f"loragit.commands.{verb}" for verb in ("train", "log", "show", "status", "verify")),
    "loragit.run.results",
    "loragit.trainers.sd_scripts.trainer",
    "pygit2",
    "tests.support.made_up_runs",
)


class Child:
    """One call under way."""

    def __init__(self, fork_server: ForkServer, pid: int, folder: Path) -> None:
        self.pid = pid
        self._server = fork_server
        self._folder = folder

    def wait(self) -> Result:
        """Its end; the status is as a shell has it, 70 where it raised."""
        status = int(str(self._server.ask(("wait", self.pid))))
        out, err = ((self._folder / name).read_text(errors="replace") for name in ("out", "err"))
        return Result(status, out, err)


class ForkServer:
    """Starts module-level functions of the tests as processes. To be used as a context."""

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory(prefix="forked-")
        self._errors = Path(self._scratch.name, "errors")
        with self._errors.open("wb") as errors:
            self._root = subprocess.Popen(
                [sys.executable, "-c", "from tests.support.forked import serve; serve()"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                process_group=0,
            )
        self._count = 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # A test that was broken off may have left some of them waiting for what never comes.
        with contextlib.suppress(ProcessLookupError):  # it has ended before
            os.killpg(self._root.pid, signal.SIGKILL)
        self._root.communicate()
        self._scratch.cleanup()

    def start(
        self, function: Callable[..., object], *args: object, cwd: Path = ROOT, **environ: str
    ) -> Child:
        """``function(*args)`` in a process of its own, with this process's environment and
        ``environ``.

        What it returns is the exit status, if that is a number.
        """
        self._count += 1
        folder = Path(self._scratch.name, str(self._count))
        folder.mkdir()
        call = (
            function.__module__,
            function.__qualname__,
            args,
            str(cwd),
            {**os.environ, **environ},
            str(folder),
        )
        return Child(self, int(str(self.ask(("fork", *call)))), folder)

    def run(
        self, function: Callable[..., object], *args: object, cwd: Path = ROOT, **environ: str
    ) -> Result:
        return self.start(function, *args, cwd=cwd, **environ).wait()

    def ask(self, request: tuple[object, ...]) -> object:
        """Its answer. Says why if it has ended: a test that only starts a child is not to blame."""
        assert self._root.stdin is not None
        assert self._root.stdout is not None
        try:
            pickle.dump(request, self._root.stdin)
            self._root.stdin.flush()
            return pickle.load(self._root.stdout)
        except (BrokenPipeError, EOFError) as error:
            status, errors = self._root.wait(), self._errors.read_text(errors="replace")
            raise RuntimeError(f"the fork server ended with {status}:\n{errors}") from error


def loragit(*words: str) -> int:
    """``loragit WORDS``, in this process."""
    from loragit.__main__ import main

    sys.argv = ["loragit", *words]
    return main()


def serve() -> None:
    """Fork and wait as standard input asks, until it ends."""
    for name in READY_MADE:
        importlib.import_module(name)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    while True:
        try:
            kind, *rest = pickle.load(requests)
        except EOFError:
            return
        if kind == "wait":
            pickle.dump(_status(os.waitpid(rest[0], 0)[1]), answers)
        else:
            module, name, *call = rest
            function = getattr(importlib.import_module(module), name)
            pid = os.fork()
            if pid == 0:
                requests.close()
                _child(function, *call)
            pickle.dump(pid, answers)
        answers.flush()


def _status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _child(
    function: Callable[..., object],
    args: tuple[object, ...],
    cwd: str,
    environ: dict[str, str],
    folder: str,
) -> None:
    """Never returns."""
    status = 70
    try:
        for number, name in ((1, "out"), (2, "err")):
            handle = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(handle, number)
            os.close(handle)
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(cwd)
        returned = function(*args)
        status = returned if isinstance(returned, int) else 0
    except BaseException:  # noqa: BLE001 - whoever waits reads it
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
