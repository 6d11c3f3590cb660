"""Processes that are ready at once: a server that has imported everything forks itself for each.

A ``python -m loragit`` of its own costs 0.1 s of imports before it does anything; such a child
costs a hundredth, and may lose a right, a file system or a limit without anybody else's noticing.

    test                     server                        child
      | -- call, 0, 1, 2 ----> |                             |
      |                        | -- fork ------------------> |  folder, environment, 0, 1, 2
      | <-- its process id --- |                             |  function(*args)
      | <----------------------------- what it writes ------ |
      | <-- its status ------- | <-- ends ------------------ |
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.support.paths import ROOT
from tests.support.processes import Result, read_all

PACKAGE = ROOT / "src" / "loragit"
CHILD_CONTEXTS = "PYTEST_CHILD_CONTEXTS"
"""A variable: where it is set, measured children say for which test they ran (tests/mutants.py)."""


class Call(NamedTuple):
    """What a child does."""

    module: str
    function: str
    args: tuple[object, ...]
    cwd: str
    environ: dict[str, str]
    umask: int


class Child:
    """One call under way."""

    def __init__(self, out: int, err: int, status: int) -> None:
        """Reading ends of what it writes, and of what the server says of it: ``PID STATUS``."""
        self._out, self._err, self._status = out, err, status
        # A child that is quick has ended by now, and its status is there as well.
        self._said = os.read(status, 64)
        if not self._said:
            raise EOFError
        self.pid = int(self._said.split()[0])

    def wait(self) -> Result:
        """Its end, and that of all that writes where it does; the status is as ``subprocess`` has
        it, 70 where it raised."""
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.append(read_all(self._err)))
        reader.start()
        out = read_all(self._out)
        reader.join()
        status = int((self._said + read_all(self._status)).split()[1])
        for handle in (self._out, self._err, self._status):
            os.close(handle)
        return Result(status, _text(out), _text(errors[0]))


class ForkServer:
    """Starts module-level functions of the tests as processes. To be used as a context."""

    def __init__(self, **environ: str) -> None:
        """``environ`` is the server's own: it starts with nothing else."""
        self._environ = environ
        self._paused = False

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair()
        self._of_start = _of_start(self._environ)
        self._server = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            # As children have them: Python's own stdout and stderr are made for what they find.
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            process_group=0,
        )
        theirs.close()
        self._turn = threading.Lock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # A test that was broken off may have left some of them waiting for what never comes.
        with contextlib.suppress(ProcessLookupError):  # it has ended before
            os.killpg(self._server.pid, signal.SIGKILL)
        self._control.close()
        self._server.communicate()

    def start(
        self, function: Callable[..., object], *args: object, cwd: Path = ROOT, **environ: str
    ) -> Child:
        """``function(*args)`` in a process of its own, with this process's environment and
        ``environ``.

        What it returns is the exit status, if that is a number. It reads nothing.
        """
        mask = os.umask(0)
        os.umask(mask)
        call = Call(
            function.__module__,
            function.__qualname__,
            args,
            str(cwd),
            {**os.environ, **environ},
            mask,
        )
        data = pickle.dumps(call)
        nothing = os.open(os.devnull, os.O_RDONLY)
        pipes = [os.pipe() for _ in ("out", "err", "status")]
        theirs = [nothing, *(write for _, write in pipes)]
        try:
            with self._turn:
                socket.send_fds(self._control, [len(data).to_bytes(4)], theirs)
                self._control.sendall(data)
            for handle in theirs:
                os.close(handle)
            return Child(*(read for read, _ in pipes))
        except (ConnectionError, EOFError) as error:
            # A test that only starts a child is not to blame.
            status, errors = self._server.wait(), self._server.stderr
            said = errors.read().decode(errors="replace") if errors else ""
            raise RuntimeError(f"the fork server ended with {status}:\n{said}") from error

    def can_have(self, environ: Mapping[str, str]) -> bool:
        """Whether a child may have that environment: Python looks at some of it but once, when it
        starts, and in the server it has."""
        return not self._paused and _of_start(environ) == self._of_start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within, a child may have no environment: what this process has given up, the server has
        still."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def run(
        self, function: Callable[..., object], *args: object, cwd: Path = ROOT, **environ: str
    ) -> Result:
        return self.start(function, *args, cwd=cwd, **environ).wait()


def _of_start(environ: Mapping[str, str]) -> dict[str, str]:
    prefixes = ("PYTHON", "LC_", "LANG", "LD_")
    return {name: value for name, value in environ.items() if name.startswith(prefixes)}


def _text(data: bytes) -> str:
    """As ``subprocess`` has it with ``text=True``."""
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


_shared: list[ForkServer] = []


@contextlib.contextmanager
def sharing(**environ: str) -> Iterator[ForkServer]:
    """While it lasts, :func:`shared` is a server that started with ``environ``."""
    with ForkServer(**environ) as server:
        _shared.append(server)
        yield server
        _shared.pop()


def shared() -> ForkServer:
    """The server of all tests of this session."""
    return _shared[-1]


def loragit(*words: str) -> int:
    """``loragit WORDS``, in this process."""
    from loragit.__main__ import main

    sys.argv = [str(PACKAGE / "__main__.py"), *words]
    try:
        return main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)


# ---- the server ----


def _import_everything() -> None:
    """What a child would import otherwise, each time."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] not in ("__main__", "probe") and "demo" not in parts:
            importlib.import_module(".".join(part for part in parts if part != "__init__"))
    for name in ("pygit2", "tests.support.made_up_runs"):
        importlib.import_module(name)


def serve(control_fd: int) -> None:
    """Fork as is asked for through the socket ``control_fd``, and say how children ended, until
    nobody is left to ask."""
    _import_everything()
    # What was imported is not every child's to write again; and no child is to look for garbage in
    # it, which would copy it.
    _save_coverage()
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=control_fd)
    os.set_inheritable(control_fd, False)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    statuses: dict[int, int] = {}
    while True:
        ready = select.select([control_fd, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _report(statuses)
        if control_fd in ready:
            size, handles, _, _ = socket.recv_fds(control, 4, 4)
            if not size:
                return
            call = Call(*pickle.loads(_exactly(control, int.from_bytes(size))))
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for handle in (control_fd, woken, wake, *statuses.values()):
                    os.close(handle)
                _child(call, handles)
            *theirs, status = handles
            for handle in theirs:
                os.close(handle)
            statuses[pid] = status
            os.write(status, b"%d " % pid)


def _exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += control.recv(size - len(data))
    return data


def _report(statuses: dict[int, int]) -> None:
    """Write the status of each child that has ended where it is waited for."""
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        handle = statuses.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(handle, b"%d" % os.waitstatus_to_exitcode(status))
        os.close(handle)


def _child(call: Call, handles: list[int]) -> None:
    """Never returns."""
    status = 70
    try:
        for number, handle in enumerate(handles[:3]):
            os.dup2(handle, number)
        for handle in handles:
            os.close(handle)
        os.environ.clear()
        os.environ.update(call.environ)
        time.tzset()
        os.umask(call.umask)
        os.chdir(call.cwd)
        _look_for_git_config_at_home()
        if call.function == loragit.__name__ and CHILD_CONTEXTS in call.environ:
            _measure_for(call.environ["PYTEST_CURRENT_TEST"])
        returned = getattr(importlib.import_module(call.module), call.function)(*call.args)
        status = returned if isinstance(returned, int) else 0
    except BaseException:  # noqa: BLE001 - whoever waits reads it
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        if call.function == loragit.__name__:
            _save_coverage(stop=True)
        os._exit(status)


def _look_for_git_config_at_home() -> None:
    """libgit2 asks for HOME once, when it is loaded: in the server."""
    import pygit2
    from pygit2.enums import ConfigLevel

    home = os.environ.get("HOME", "")
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    pygit2.settings.search_path[ConfigLevel.GLOBAL] = home
    pygit2.settings.search_path[ConfigLevel.XDG] = f"{config}/git"


def _measure_for(current: str) -> None:
    """Have what this process runs be told apart by test, as pytest-cov does it; ``current`` is
    pytest's ``tests/test_x.py::test_y (call)``."""
    test, _, phase = current.rpartition(" ")
    if "coverage" in sys.modules and (coverage := sys.modules["coverage"].Coverage.current()):
        coverage.switch_context(f"{test}|{'run' if phase == '(call)' else 'setup'}")


def _save_coverage(*, stop: bool = False) -> None:
    """Write what this process ran beside the session's own data, where the session is measured."""
    if "coverage" in sys.modules and (current := sys.modules["coverage"].Coverage.current()):
        if stop:
            current.stop()
        current.save()
