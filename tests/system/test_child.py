"""The trainer as a child: nothing of its output is lost, no signal, and no process of it stays
behind."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, ItemsView, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loragit.system import alive, supervise
from loragit.system.alive import boot_id, exists, group_left, lives, pid_space, start_time
from loragit.system.child import (
    CannotStart,
    Command,
    ProgramMissing,
    TimedOut,
    ask,
    clean_environment,
    run,
    spawn_quietly,
)
from loragit.system.supervise import Ended, train
from loragit.system.terminal import LEFT_OUT, CannotLog
from tests.support.processes import read_all

pytestmark = pytest.mark.every_python

LONG = 40.0
"""Seconds of grace that no test uses up, unless it fails."""

READ_ALL = 60.0
"""Seconds after which a test gives up waiting for something that should come at once."""


HEAD = """
import os, signal, subprocess, sys, time
us = os.getppid()
def rest():
    # Not signal.pause: a signal that comes just before it is handled only after it.
    while True:
        time.sleep(0.01)
def until_we_are_waited_for():
    # What interrupts whoever started us any earlier may still hit the start itself. Without /proc there is no telling.
    while os.path.exists("/proc") and open(f"/proc/{us}/stat").read().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.001)
"""  # noqa: E501


def python(code: str, *arguments: object) -> tuple[str, ...]:
    """Command line of a small trainer. ``us`` is loragit's number."""
    return (sys.executable, "-S", "-c", HEAD + code, *map(str, arguments))


Start = Callable[..., Ended]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Run a training in this very process."""

    def start(
        *argv: str, grace: float = LONG, redact: Callable[[str], str] = str, **more: object
    ) -> Ended:
        command = Command(argv, tmp_path, dict(os.environ))
        return train(command, log=tmp_path / "log", redact=redact, grace=grace, **more)  # type: ignore[arg-type]

    return start


class Driver:
    """A loragit of its own, whose terminal, signals and limits are the test's to choose."""

    CODE = """
import json, os, signal, sys
from pathlib import Path
from loragit.system.child import Command
from loragit.system.supervise import train
folder, setup, grace, *argv = sys.argv[1:]
redact = str
exec(setup)
ended = train(Command(tuple(argv), Path(folder), dict(os.environ)), log=Path(folder, "log"), redact=redact,
              grace=float(grace))
Path(folder, "ended.new").write_text(json.dumps([ended.exit_status, ended.interrupted_by, ended.trouble]))
Path(folder, "ended.new").rename(Path(folder, "ended"))
"""  # noqa: E501

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen[bytes]] = []

    def __call__(
        self,
        *argv: str,
        setup: str = "",
        grace: float = LONG,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        session: bool = False,
        shell: str = 'exec "$@"',
    ) -> subprocess.Popen[bytes]:
        driver = (sys.executable, "-c", self.CODE, str(self.folder), setup, str(grace), *argv)
        child = subprocess.Popen(
            ["sh", "-c", shell, "sh", *driver],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=session,
            process_group=None if session else 0,
        )
        self.children.append(child)
        return child

    def ended(self) -> tuple[int, int | None, list[str]]:
        """Exit status, the signal that interrupted it, trouble; after a good end of the driver."""
        assert self.children[-1].wait(READ_ALL) == 0
        status, interrupted_by, trouble = json.loads((self.folder / "ended").read_text())
        return status, interrupted_by, trouble

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path)
    yield driver
    for child in driver.children:
        child.kill()
        child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def number(path: Path) -> int:
    """What a process wrote there about itself, as soon as it is whole."""
    return int(path.read_text())


def read_line(stream: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(stream, 1)
    return line


# Questions


def test_a_question_has_an_answer() -> None:
    answer = ask(["sh", "-c", "echo yes; echo but >&2; exit 3"]).answer()
    assert (answer.status, answer.out, answer.err) == (3, b"yes\n", b"but\n")


def test_an_answer_can_be_read_again() -> None:
    question = ask(["echo", "yes"])
    assert question.answer() == question.answer()


def test_the_folder_and_the_environment_are_what_was_said(tmp_path: Path) -> None:
    answer = ask(["/bin/sh", "-c", 'pwd; echo "$A$HOME"'], cwd=tmp_path, env={"A": "b"}).answer()
    assert answer.out.decode().splitlines() == [str(tmp_path), "b"]


def test_a_killed_child_answers_as_a_shell_says_it() -> None:
    assert ask(["sh", "-c", "kill -9 $$"]).answer().status == 128 + 9


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_large_inputs_and_outputs_pass(size: int) -> None:
    question = ask(["sh", "-c", "tee /dev/stderr"], input=b"x" * size)
    answer = question.answer(READ_ALL)
    assert (len(answer.out), len(answer.err)) == (size, size)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_who_does_not_read_what_it_is_told_answers_all_the_same(size: int) -> None:
    assert ask(["echo", "yes"], input=b"x" * size).answer(READ_ALL).out == b"yes\n"


def test_questions_are_worked_on_at_the_same_time(tmp_path: Path, fifo: Path) -> None:
    """The first can only answer when the second has been heard."""
    first = ask(["cat", str(fifo)], input=b"")
    second = ask(["sh", "-c", f'cat > "{fifo}"'], input=b"hello")
    assert first.answer(READ_ALL).out == b"hello"
    assert second.answer(READ_ALL).status == 0


def test_a_question_never_reads_the_terminal() -> None:
    assert ask(["cat"]).answer(READ_ALL).out == b""


def test_what_takes_too_long_is_killed_with_all_that_it_started(fifo: Path) -> None:
    sleeper = f'exec 9>"{fifo}"; echo $$ >&9; exec sleep 600'
    question = ask(["sh", "-c", f"sh -c '{sleeper}' & {sleeper}"])
    with fifo.open() as held:
        pids = [int(held.readline()), int(held.readline())]
        with pytest.raises(TimedOut, match=r"sh did not answer within 0\.1 s") as raised:
            question.answer(0.1)
        assert held.read() == ""  # nobody holds it any more
    assert raised.value.hint
    while any(map(exists, pids)):  # what it held is closed a moment before a process is gone
        os.sched_yield()


def test_who_is_interrupted_while_waiting_leaves_nobody_behind(tmp_path: Path) -> None:
    code = "until_we_are_waited_for(); os.kill(us, signal.SIGINT); rest()"
    with pytest.raises(KeyboardInterrupt):
        ask(
            python(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); {code}")
        ).answer()
    assert not exists(number(tmp_path / "pid"))


def test_a_question_that_nobody_waits_for_is_ended(fifo: Path) -> None:
    question = ask(["sh", "-c", f"exec sleep 600 9>{fifo}"])
    with fifo.open("rb") as held:
        del question
        assert held.read() == b""


def test_a_missing_program_is_named() -> None:
    with pytest.raises(
        ProgramMissing, match="program no-such-program was not found on PATH"
    ) as raised:
        ask(["no-such-program", "--version"])
    assert raised.value.hint == "install it, or name it with its path"


# What cannot be started


def make(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    def refusal(program: object, cwd: Path = tmp_path) -> str:
        with pytest.raises(CannotStart) as raised:
            run([str(program)], cwd=cwd)
        return raised.value.message

    plain = make(tmp_path / "plain", "#!/bin/sh\n", 0o644)
    stale = make(tmp_path / "stale", "#!/gone/bin/python\n")
    empty = make(tmp_path / "nothing", "\x00\x01")
    assert refusal(plain) == f"{plain} may not be executed"
    assert refusal(stale) == f"{stale} names an interpreter in its first line that does not exist"
    assert (
        refusal("./stale") == "./stale names an interpreter in its first line that does not exist"
    )
    assert refusal(empty) == f"{empty} is not a program that this system runs"
    assert refusal(tmp_path / "none") == f"program {tmp_path / 'none'} does not exist"
    assert refusal(plain / "none") == f"program {plain / 'none'} does not exist"
    assert (
        refusal("true", tmp_path / "none")
        == f"true cannot run in {tmp_path / 'none'}: No such file or directory"
    )


def test_too_many_arguments_are_no_missing_program(tmp_path: Path) -> None:
    with pytest.raises(
        CannotStart, match="true could not be started: Argument list too long"
    ) as raised:
        run(["true", "x" * 10_000_000], cwd=tmp_path)
    assert not isinstance(raised.value, ProgramMissing)


# Other children


def test_git_variables_are_not_for_the_trainer() -> None:
    environ = {"GIT_DIR": "/x", "GIT_CONFIG_COUNT": "1", "PATH": "/bin", "LEGIT_DIR": "y"}
    assert clean_environment(environ) == {"PATH": "/bin", "LEGIT_DIR": "y"}


def test_run_returns_the_status_of_a_shell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["sh", "-c", "pwd; exit 4"], cwd=tmp_path) == 4
    assert run(["sh", "-c", "kill -TERM $$"], cwd=tmp_path) == 143
    assert capfd.readouterr().out == f"{tmp_path}\n"


def test_ctrl_c_is_the_affair_of_the_child_that_runs_on_our_terminal(tmp_path: Path) -> None:
    assert (
        run(
            python("until_we_are_waited_for(); os.kill(us, signal.SIGINT); sys.exit(7)"),
            cwd=tmp_path,
        )
        == 7
    )


SPAWNS = """
import os, sys
from pathlib import Path
from loragit.system.child import spawn_quietly
spawn_quietly(sys.argv[1:], cwd=Path.cwd())
print(os.getsid(0), open(sys.argv[-1]).read())
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("childless")
"""


def test_a_child_that_nobody_waits_for_is_no_child_of_ours(tmp_path: Path, fifo: Path) -> None:
    code = "open(sys.argv[1], 'w').write(f'{os.getsid(0)} {sys.stdin.read()!r} {os.getcwd()}')"
    # In a process of its own: this one may have children that other tests need.
    words = [sys.executable, "-c", SPAWNS, *python(code, fifo)]
    told = subprocess.run(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout
    ours, session, stdin, cwd, childless = told.split()
    assert int(session) != int(ours)
    assert (stdin, cwd, childless) == ("''", str(tmp_path), "childless")
    spawn_quietly(["no-such-program"], cwd=tmp_path)


# Who is there


def test_a_process_is_told_from_one_that_is_gone() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert exists(child.pid)
    began = start_time(child.pid)
    assert began == start_time(child.pid)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not exists(child.pid)  # ended, though nobody has reaped it
    child.wait()
    assert not exists(child.pid)
    assert start_time(child.pid) is None
    assert began is not None
    assert exists(1)


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1, 2**70])
def test_numbers_that_are_nobody(pid: int) -> None:
    assert not exists(pid)


def test_somebody_elses_process_is_there() -> None:
    root = os.getuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        with pytest.raises(PermissionError):
            os.kill(1, 0)
        assert exists(1)
    finally:
        if root:
            os.setresuid(0, 0, 0)


def test_a_process_that_cannot_be_seen_from_here_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, host, space, boot = os.getpid(), os.uname().nodename, pid_space(), boot_id() or ""
    began = start_time(me) or ""
    if not (space and boot):
        pytest.skip("the system tells less")
    assert lives(me, began, boot, host, space) is lives(me, began, boot, host) is True
    # A machine may get another name; a container may have that of its host, or that of one before
    # it.
    assert lives(me, began, boot, "renamed", space) is True
    assert lives(me, "1", boot, "renamed", space) is False
    assert lives(me, began, boot, host, "pid:[1]") is lives(me, began, boot, "renamed") is None
    assert lives(me, began, "another", host, "pid:[1]") is False
    assert lives(me, began, "another", "renamed", space) is None
    # /proc shows nothing, as with hidepid and of somebody else, or is not there.
    assert lives(me, "", boot, host, space) is None
    monkeypatch.setattr(alive, "_TOOLS", {"PATH": str(tmp_path)})
    monkeypatch.setattr(alive, "PROC", tmp_path)
    assert lives(me, began, boot, host, space) is None
    assert lives(2**22 + 1, began, boot, host, space) is False


def test_what_is_left_of_somebody_elses_group_is_there() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as child:
        os.setresuid(65534, 65534, 0)
        try:
            assert group_left(child.pid, start_time(child.pid) or "") == (child.pid,)
            assert group_left(child.pid, "1") == ()
        finally:
            os.setresuid(0, 0, 0)
    assert group_left(child.pid, "1") == ()
    assert alive.group_of(2**22 + 1) == 2**22 + 1


def test_a_start_of_the_machine_has_a_name() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id() or "") >= 16


def test_without_proc_ps_tells_when_a_process_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS."""
    monkeypatch.setattr(alive, "PROC", tmp_path)
    began = start_time(os.getpid())
    assert began is not None
    assert re.fullmatch(r"\w{3} \w{3} +\d+ [\d:]+ \d{4}", began)
    assert start_time(2**22 + 1) is None
    assert exists(os.getpid())
    assert boot_id() is None or sys.platform == "darwin"
    monkeypatch.setattr(alive, "_TOOLS", {"PATH": str(tmp_path)})
    assert start_time(os.getpid()) is None


# The trainer


def test_a_training_that_ends_well_is_told_in_full(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = datetime.now(UTC)
    pids: list[int] = []
    ended = start("sh", "-c", "echo $$; echo to stderr >&2; printf unfinished", started=pids.append)
    assert capfd.readouterr() == (f"{pids[0]}\nunfinished", "to stderr\n")
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(
        [str(pids[0]), "to stderr", "unfinished"]
    )
    assert sorted(ended.log_tail) == sorted([str(pids[0]), "to stderr", "unfinished"])
    assert (ended.exit_status, ended.signal, ended.interrupted_by, ended.trouble) == (
        0,
        None,
        None,
        (),
    )
    assert before <= ended.started <= ended.finished
    assert ended.finished.tzinfo is UTC


@pytest.mark.parametrize(
    ("code", "status", "signal_"), [("exit 7", 7, None), ("kill -SEGV $$", 139, 11)]
)
def test_the_exit_status_is_the_trainers(
    start: Start, code: str, status: int, signal_: int | None
) -> None:
    ended = start("sh", "-c", code)
    assert (ended.exit_status, ended.signal, ended.interrupted_by) == (status, signal_, None)


def test_the_trainer_has_a_session_of_its_own_and_nothing_to_read(
    start: Start, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    start(
        *python(
            "print(os.getsid(0) == os.getpgid(0) == os.getpid(), sys.stdin.read(), os.getcwd())"
        )
    )
    assert capfd.readouterr().out == f"True  {tmp_path}\n"


def test_the_log_holds_the_last_state_of_a_bar_and_the_last_lines_are_remembered(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bar = "\r".join(f"steps: {i}" for i in range(2000))
    ended = start(*python(f"print({bar!r}); [print('line', i) for i in range(50)]"), tail=3)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["steps: 1999", *(f"line {i}" for i in range(50))]
    assert ended.log_tail == ("line 47", "line 48", "line 49")
    assert capfd.readouterr().out.startswith(bar + "\n")


def test_the_log_is_readable_as_the_umask_says(start: Start, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        start("true")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o640


def test_a_log_that_is_there_is_kept_and_nothing_is_started(start: Start, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("older")
    with pytest.raises(CannotLog, match=r"the log .*/log cannot be made: File exists") as raised:
        start("touch", "started")
    assert raised.value.hint == "an earlier run left it: move it away"
    assert (tmp_path / "log").read_text() == "older"
    assert not (tmp_path / "started").exists()


def test_a_program_that_is_missing_leaves_no_log(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing, match="accelerate-that-is-not-there"):
        start("accelerate-that-is-not-there", "launch")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    command = Command(("true",), tmp_path / "gone", {})
    with pytest.raises(CannotStart, match=r"cannot run in .*/gone"):
        train(command, log=tmp_path / "log", redact=str, grace=1)
    assert not (tmp_path / "log").exists()


def test_lines_are_redacted_in_the_log_and_at_its_end(start: Start, tmp_path: Path) -> None:
    ended = start(
        "sh", "-c", "echo key=secret; echo other", redact=lambda line: line.replace("secret", "***")
    )
    assert (tmp_path / "log").read_text() == "key=***\nother\n"
    assert ended.log_tail == ("key=***", "other")


# A failure of ours


def test_lines_that_go_on_are_redacted_together_each_stream_its_own(
    start: Start, tmp_path: Path
) -> None:
    script = "echo 'x sec'; echo other >&2; sleep 0.1; echo 'ret y'; echo sec"
    ended = start(
        "sh",
        "-c",
        script,
        redact=lambda text: text.replace("sec\nret", "***"),
        goes_on=lambda t: t[-3:] == "sec",
    )
    assert sorted(ended.log_tail) == ["other", "sec", "x *** y"]
    assert ended.log_tail[-1] == "sec"


def test_no_line_waits_for_ever(start: Start) -> None:
    ended = start(
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do echo $i; done",
        goes_on=bool,
    )
    assert ended.log_tail == tuple(str(number) for number in range(1, 18))


def test_no_defect_makes_a_line_wait(start: Start) -> None:
    def goes_on(text: str) -> bool:
        return bool(1 // (text != "one"))

    ended = start("sh", "-c", "echo one; echo two", goes_on=goes_on)
    assert ended.log_tail == ("one", "two")
    assert ended.trouble == (
        (
            "a line was redacted without the next: ZeroDivisionError: integer division or modulo "
            "by "
            "zero"
        ),
    )


def test_a_line_that_cannot_be_redacted_is_left_out_and_the_rest_goes_on(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def redact(line: str) -> str:
        return str(1 // ("secret" not in line)) + line

    ended = start("sh", "-c", "echo one; echo secret; echo secret; echo two", redact=redact)
    assert (tmp_path / "log").read_text() == f"1one\n{LEFT_OUT}\n{LEFT_OUT}\n1two\n"
    assert ended.trouble == (
        "a line could not be redacted: ZeroDivisionError: integer division or modulo by zero",
    )
    assert (ended.exit_status, capfd.readouterr().out) == (0, "one\nsecret\nsecret\ntwo\n")


def test_a_start_that_cannot_be_noted_ends_no_training(start: Start) -> None:
    def started(_pid: int) -> None:
        raise OSError("disk full")

    ended = start("sh", "-c", "exit 5", started=started)
    assert (ended.exit_status, ended.trouble) == (
        5,
        ("the start was not noted: OSError: disk full",),
    )


def test_should_we_be_ended_ourselves_the_training_is_not_left_alone(start: Start) -> None:
    pids: list[int] = []

    def started(pid: int) -> None:
        pids.append(pid)
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        start("sleep", "600", started=started)
    assert not exists(pids[0])


def test_a_reader_that_has_gone_ends_no_training(drive: Driver) -> None:
    child = drive("sh", "-c", "seq 1 100000; exit 3")
    assert child.stdout is not None
    child.stdout.close()
    status, _, trouble = drive.ended()
    assert (status, trouble) == (3, ["output was not shown to its end: Broken pipe"])
    assert drive.log == "".join(f"{i}\n" for i in range(1, 100_001))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_to_a_full_disk_ends_no_training(drive: Driver) -> None:
    with open("/dev/full", "wb") as full:
        drive("seq", "1", "10", stdout=full.fileno())
    status, _, trouble = drive.ended()
    assert (status, trouble) == (0, ["output was not shown to its end: No space left on device"])
    assert drive.log.split() == [str(i) for i in range(1, 11)]


def test_streams_that_are_closed_from_the_start_do_not_swallow_the_log(drive: Driver) -> None:
    drive("sh", "-c", "echo out; echo err >&2; exit 3", shell='exec "$@" <&- >&- 2>&-')
    status, _, trouble = drive.ended()
    assert status == 3
    assert [line.split()[0] for line in trouble] == ["stdout", "stderr"]
    assert sorted(drive.log.splitlines()) == ["err", "out"]


def test_a_log_that_cannot_grow_ends_no_training_and_goes_on_when_it_can(
    drive: Driver, fifo: Path
) -> None:
    setup = """
import resource
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1003, hard))
def redact(line):
    if line == "free again":
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return line
"""
    child = drive("sh", "-c", 'seq 1000 2000; cat "$0"', str(fifo), setup=setup)
    assert child.stdout is not None
    shown = child.stdout.read(5005)
    fifo.write_text("free again\nlast\n")
    shown += child.stdout.read()
    status, _, trouble = drive.ended()
    assert (status, trouble) == (0, ["the log is not complete: File too large"])
    assert shown.decode().split() == [*map(str, range(1000, 2001)), "free", "again", "last"]
    lines = drive.log.splitlines()
    assert lines[-2:] == ["free again", "last"]
    assert lines[:-2] == [*map(str, range(1000, 1200)), "120"]  # the last one is torn


def test_without_a_pipe_to_be_had_nothing_is_started(drive: Driver, tmp_path: Path) -> None:
    setup = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7))  # three streams, two for signals, the log, one
"""
    child = drive("touch", str(tmp_path / "started"), setup=setup)
    _, err = child.communicate()
    assert child.returncode == 1
    assert b"CannotLog: no pipe for the trainer's output: Too many open files" in err
    assert list(tmp_path.iterdir()) == []


# Terminals and pipes

WHAT_IT_SEES = """
import os, sys
for stream in (1, 2):
    size = tuple(os.get_terminal_size(stream)) if os.isatty(stream) else None
    os.write(stream, f"{stream} {size}\\n".encode())
try:
    os.open("/dev/tty", os.O_RDWR)
except OSError as error:
    print("no controlling terminal")
"""


def set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends: the screen's and the programs'."""
    screen, programs = pty.openpty()
    set_size(screen, 33, 77)
    yield screen, programs
    os.close(screen)


def test_on_a_terminal_the_trainer_has_one_of_the_same_size(
    drive: Driver, terminal: tuple[int, int]
) -> None:
    screen, programs = terminal
    drive(sys.executable, "-c", WHAT_IT_SEES, stdout=programs, stderr=programs)
    os.close(programs)
    assert read_all(screen) == b"1 (77, 33)\r\n2 (77, 33)\r\nno controlling terminal\r\n"
    assert drive.ended() == (0, None, [])
    assert drive.log == "1 (77, 33)\n2 (77, 33)\nno controlling terminal\n"


def test_without_a_terminal_the_streams_stay_plain_and_apart(drive: Driver) -> None:
    out, err = drive(sys.executable, "-c", WHAT_IT_SEES).communicate()
    assert (out, err) == (b"1 None\nno controlling terminal\n", b"2 None\n")
    assert drive.ended() == (0, None, [])


def test_a_stream_that_is_redirected_stays_plain_beside_a_terminal(
    drive: Driver, terminal: tuple[int, int]
) -> None:
    screen, programs = terminal
    _, err = drive(sys.executable, "-c", WHAT_IT_SEES, stdout=programs).communicate()
    os.close(programs)
    assert err == b"2 None\n"
    assert read_all(screen) == b"1 (77, 33)\r\nno controlling terminal\r\n"


def test_redraws_reach_the_terminal_as_they_are_and_cost_no_lines(
    drive: Driver, terminal: tuple[int, int]
) -> None:
    screen, programs = terminal
    bars = b"".join(b"\r\x1b[32m%3d%%\x1b[0m" % i for i in range(101))
    drive(*python(f"os.write(2, {bars!r}); print()"), stdout=programs, stderr=programs)
    os.close(programs)
    assert read_all(screen) == bars + b"\r\n"
    drive.ended()
    assert drive.log == "100%\n"


def test_what_the_trainer_says_is_there_at_once(
    drive: Driver, terminal: tuple[int, int], fifo: Path
) -> None:
    """It waits for the test to have seen, on the terminal and in the log, what it said before."""
    screen, programs = terminal
    drive("sh", "-c", 'printf "first\nsec"; cat "$0"', str(fifo), stdout=programs, stderr=programs)
    os.close(programs)
    assert read_line(screen) == b"first\r\n"
    assert os.read(screen, 10) == b"sec"
    assert drive.log == "first\n"
    fifo.write_text("ond\n")
    assert read_all(screen) == b"ond\r\n"
    drive.ended()
    assert drive.log == "first\nsecond\n"


def test_a_new_size_of_the_terminal_is_passed_on(drive: Driver, terminal: tuple[int, int]) -> None:
    screen, programs = terminal
    code = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
print("ready", flush=True)
signal.sigwait([signal.SIGWINCH])
print(*os.get_terminal_size())
"""
    child = drive(*python(code), stdout=programs, stderr=programs)
    os.close(programs)
    assert read_line(screen) == b"ready\r\n"
    set_size(screen, 50, 120)
    child.send_signal(signal.SIGWINCH)
    assert read_line(screen) == b"120 50\r\n"
    drive.ended()


def test_a_new_size_that_came_while_we_were_stopped_is_there_when_the_trainer_goes_on(
    drive: Driver, terminal: tuple[int, int], fifo: Path
) -> None:
    screen, programs = terminal
    code = f"""
print("ready", flush=True)
open({str(fifo)!r}).read()
print(*os.get_terminal_size())
"""
    child = drive(*python(code), stdout=programs, stderr=programs)
    os.close(programs)
    assert read_line(screen) == b"ready\r\n"
    child.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    set_size(screen, 50, 120)  # of which nobody tells a program that is not in the foreground
    child.send_signal(signal.SIGCONT)
    fifo.write_text("")
    assert read_line(screen) == b"120 50\r\n"
    assert drive.ended() == (0, None, [])


def test_a_terminal_that_is_closed_ends_no_training(
    drive: Driver, terminal: tuple[int, int], fifo: Path
) -> None:
    screen, programs = terminal
    child = drive(
        "sh", "-c", 'echo ready; cat "$0"; exit 3', str(fifo), stdout=programs, stderr=programs
    )
    os.close(programs)
    read_line(screen)
    copy = os.dup(screen)
    os.close(screen)
    os.close(copy)
    child.send_signal(signal.SIGWINCH)
    fifo.write_text("more\n")
    status, _, trouble = drive.ended()
    assert (status, trouble) == (3, ["output was not shown to its end: Input/output error"])
    assert drive.log == "ready\nmore\n"
    os.dup2(os.open("/dev/null", os.O_RDONLY), screen)  # for the fixture to close


def test_where_no_pseudo_terminal_is_to_be_had_pipes_do(
    drive: Driver, terminal: tuple[int, int]
) -> None:
    screen, programs = terminal
    setup = (
        "import errno\ndef none(): raise OSError(errno.ENOSPC, 'No space left on "
        "device')\nos.openpty = none"
    )
    drive(sys.executable, "-c", WHAT_IT_SEES, setup=setup, stdout=programs, stderr=programs)
    os.close(programs)
    assert sorted(read_all(screen).splitlines()) == [
        b"1 None",
        b"2 None",
        b"no controlling terminal",
    ]
    assert drive.ended()[2] == ["no pseudo-terminal for the trainer: No space left on device"]


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_to_us_ends_the_trainer(start: Start, number: signal.Signals) -> None:
    ended = start("sh", "-c", f"ulimit -c 0; kill -{int(number)} $PPID; exec sleep 600")
    assert (ended.exit_status, ended.signal, ended.interrupted_by) == (128 + number, number, number)


def test_a_trainer_that_saves_and_leaves_at_a_signal_is_given_the_time(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    code = """
def leave(*_):
    print("saved")
    sys.exit(0)
signal.signal(signal.SIGINT, leave)
os.kill(us, signal.SIGINT)
rest()
"""
    ended = start(*python(code))
    assert (ended.exit_status, ended.signal, ended.interrupted_by) == (0, None, signal.SIGINT)
    assert capfd.readouterr().out == "saved\n"


@pytest.mark.parametrize(
    ("first", "ignored", "last"),
    [
        (signal.SIGINT, [signal.SIGINT], signal.SIGTERM),
        (signal.SIGINT, [signal.SIGINT, signal.SIGTERM], signal.SIGKILL),
        (signal.SIGTERM, [signal.SIGTERM], signal.SIGKILL),
    ],
)
def test_who_does_not_go_is_told_harder_after_the_grace_time(
    start: Start, first: int, ignored: list[int], last: int
) -> None:
    code = (
        f"for n in {[int(n) for n in ignored]}: signal.signal(n, signal.SIG_IGN)\nos.kill(us, "
        f"{int(first)})\n"
    )
    ended = start(*python(code + "rest()"), grace=0.05)
    assert (ended.exit_status, ended.signal, ended.interrupted_by) == (128 + last, last, first)


def test_a_second_signal_is_harder_at_once(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    code = """
def again(number, _):
    os.write(1, b"%d " % number)
    os.kill(us, signal.SIGINT)
signal.signal(signal.SIGINT, again)
signal.signal(signal.SIGTERM, again)
os.kill(us, signal.SIGINT)
rest()
"""
    ended = start(*python(code), grace=LONG)
    assert (ended.signal, ended.interrupted_by) == (signal.SIGKILL, signal.SIGINT)
    assert capfd.readouterr().out == "2 15 "


def test_a_signal_that_somebody_passes_on_counts_once(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    code = """
def again(number, _):
    os.write(1, b"%d " % number)
    os.kill(us, signal.SIGINT)
    os.kill(us, signal.SIGHUP)
signal.signal(signal.SIGINT, again)
os.kill(us, signal.SIGINT)
rest()
"""
    # The second SIGINT is the first one again, SIGHUP is another request: it is answered by the
    # next harder signal.
    ended = start(*python(code), grace=LONG, once=LONG)
    assert (ended.signal, ended.interrupted_by) == (signal.SIGTERM, signal.SIGINT)
    assert capfd.readouterr().out == "2 "


def test_a_signal_that_comes_before_the_trainer_reaches_it(tmp_path: Path) -> None:
    class Environ(dict[str, str]):
        """Sends the signal when ``subprocess`` looks at it, before there is a child."""

        def items(self) -> ItemsView[str, str]:  # type: ignore[override]
            os.kill(os.getpid(), signal.SIGTERM)
            return super().items()

    command = Command(("sleep", "600"), tmp_path, Environ(os.environ))
    ended = train(command, log=tmp_path / "log", redact=str, grace=LONG)
    assert (ended.exit_status, ended.interrupted_by) == (143, signal.SIGTERM)


def test_a_signal_that_comes_when_all_is_over_is_told(start: Start) -> None:
    def redact(line: str) -> str:
        os.kill(os.getpid(), signal.SIGTERM)  # the unfinished line is the last thing of all
        return line

    ended = start("printf", "unfinished", redact=redact)
    assert (ended.exit_status, ended.interrupted_by) == (0, signal.SIGTERM)


def test_what_was_ignored_stays_ignored(start: Start) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ended = start("sh", "-c", "kill -HUP $PPID; kill -HUP $$; exit 5")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (ended.exit_status, ended.interrupted_by) == (5, None)


def test_where_children_are_ignored_the_exit_status_is_known_all_the_same(start: Start) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert start("sh", "-c", "exit 5").exit_status == 5
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_signals_are_handled_afterwards_as_they_were(start: Start, tmp_path: Path) -> None:
    def handler(*_: object) -> None: ...

    numbers = [
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGTSTP,
        signal.SIGCONT,
        signal.SIGCHLD,
    ]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        start("true")
        (tmp_path / "log").unlink()
        with pytest.raises(ProgramMissing):
            start("no-such-program")
        assert {signal.getsignal(number) for number in numbers} == {handler}
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_reader_that_rests_keeps_no_signal_from_the_trainer(drive: Driver, fifo: Path) -> None:
    child = drive("sh", "-c", 'exec 9>"$0"; yes', str(fifo))
    with fifo.open("rb") as held:
        assert child.stdout is not None
        child.stdout.read(1)  # and no more: soon everything is full
        child.send_signal(signal.SIGTERM)
        assert held.read() == b""  # the trainer is gone
    rest = child.stdout.read()
    assert rest.startswith(b"\ny\ny\n")
    assert drive.ended() == (143, signal.SIGTERM, [])


def test_a_reader_that_never_wakes_up_can_be_left(drive: Driver) -> None:
    child = drive("yes", setup="signal.signal(signal.SIGTERM, lambda *_: None)")
    assert child.stdout is not None
    full = 0
    while full < 60_000:  # of 65,536
        full = struct.unpack("i", fcntl.ioctl(child.stdout, termios.FIONREAD, b"1234"))[0]
    child.send_signal(signal.SIGTERM)
    while not (drive.folder / "ended").exists():
        child.send_signal(signal.SIGTERM)
        os.sched_yield()
    assert json.loads((drive.folder / "ended").read_text()) == [143, signal.SIGTERM, []]


# Ctrl-Z


def state(pid: int) -> str:
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at the trainer through /proc"
)
def test_ctrl_z_stops_the_training_with_us_and_fg_continues_both(drive: Driver, fifo: Path) -> None:
    child = drive("sh", "-c", 'echo $$; read line < "$0"; echo "$line"', str(fifo))
    assert child.stdout is not None
    trainer = int(read_line(child.stdout.fileno()))
    child.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    while (
        state(trainer) != "T"
    ):  # it was told before we stopped; there is nothing to wait for it by
        os.sched_yield()
    child.send_signal(signal.SIGCONT)
    fifo.write_text("going on\n")
    assert child.stdout.read() == b"going on\n"
    assert drive.ended() == (0, None, [])


def test_ctrl_z_where_nobody_could_continue_us_stops_nothing(drive: Driver) -> None:
    """As in a container, where loragit leads the session."""
    child = drive(
        *python("os.kill(us, signal.SIGTSTP); os.kill(us, signal.SIGCONT); print('going on')"),
        session=True,
    )
    assert child.communicate()[0] == b"going on\n"
    assert drive.ended() == (0, None, [])


def test_time_spent_stopped_is_no_grace_time(drive: Driver) -> None:
    """Both are stopped in the middle of it for longer than it lasts; then the trainer leaves by
    itself."""
    code = """
signal.signal(signal.SIGINT, lambda *_: os.kill(us, signal.SIGTSTP))
os.kill(us, signal.SIGINT)
while not os.path.exists("an hour later"):
    time.sleep(0.01)
time.sleep(0.1)
"""
    setup = """
import time
clock = time.monotonic
time.monotonic = lambda: clock() + 3600 * os.path.exists(f"{folder}/an hour later")
"""
    child = drive(*python(code), setup=setup)
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    (drive.folder / "an hour later").touch()
    child.send_signal(signal.SIGCONT)
    assert drive.ended() == (0, signal.SIGINT, [])


# Nothing stays behind

LAUNCHER = """
trainer = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1], str(us)])
sys.exit(trainer.wait())
"""
"""As ``accelerate launch``: it starts the trainer, waits, and handles no signal."""

TRAINER = HEAD + "us = int(sys.argv[1]); print(os.getpid(), flush=True)\n"


@pytest.mark.parametrize(
    ("code", "status", "interrupted_by"),
    [
        ("os.kill(us, signal.SIGINT); rest()", 130, 2),
        ("os.kill(us, signal.SIGTERM); rest()", 143, 15),
        ("os.kill(os.getppid(), signal.SIGKILL); rest()", 137, None),
        ("os.kill(os.getppid(), signal.SIGTERM); rest()", 143, None),
    ],
    ids=["SIGINT to us", "SIGTERM to us", "SIGKILL to the launcher", "SIGTERM to the launcher"],
)
def test_a_trainer_is_not_orphaned_by_its_launcher(
    start: Start,
    capfd: pytest.CaptureFixture[str],
    code: str,
    status: int,
    interrupted_by: int | None,
) -> None:
    ended = start(*python(LAUNCHER, TRAINER + code))
    assert not exists(int(capfd.readouterr().out))
    assert (ended.exit_status, ended.interrupted_by, ended.trouble) == (status, interrupted_by, ())


def test_the_stub_launcher_alone_would_orphan_its_trainer() -> None:
    """So the tests here can fail."""
    launcher = subprocess.Popen(python(LAUNCHER, TRAINER + "rest()"), stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    with launcher.stdout:
        trainer = int(launcher.stdout.readline())
    launcher.terminate()
    launcher.wait()
    assert exists(trainer)
    os.kill(trainer, signal.SIGKILL)


def test_a_trainer_that_saves_outlives_its_launcher_for_the_grace_time(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    code = """
def save(*_):
    while os.getppid() == launcher: pass
    print("saved", flush=True)
    os._exit(0)
launcher = os.getppid()
signal.signal(signal.SIGINT, save)
os.kill(us, signal.SIGINT)
rest()
"""
    ended = start(*python(LAUNCHER, TRAINER + code))
    assert capfd.readouterr().out.splitlines()[1:] == ["saved"]
    assert (ended.exit_status, ended.interrupted_by) == (130, signal.SIGINT)


@pytest.mark.parametrize("ignored", ["", "15"])
def test_what_a_training_leaves_behind_is_ended(
    start: Start, capfd: pytest.CaptureFixture[str], ignored: str
) -> None:
    """First with SIGTERM; the trainer itself has long gone."""
    script = (
        f"trap '' {ignored}; sleep 600 & echo $!; exit 3"
        if ignored
        else "sleep 600 & echo $!; exit 3"
    )
    ended = start("sh", "-c", script, grace=0.1 if ignored else LONG)
    assert not exists(int(capfd.readouterr().out))
    assert (ended.exit_status, ended.trouble) == (3, ())


def test_a_signal_ends_at_once_what_a_training_left_behind(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    """It ignores SIGTERM, and asks us to end when its launcher is gone."""
    code = """
launcher = os.getppid()
signal.signal(signal.SIGTERM, lambda *_: os.kill(us, signal.SIGINT))
os.kill(launcher, signal.SIGKILL)
rest()
"""
    ended = start(*python(LAUNCHER, TRAINER + code))
    assert not exists(int(capfd.readouterr().out))
    assert (ended.exit_status, ended.interrupted_by) == (137, signal.SIGINT)


def test_what_follows_the_trainer_by_itself_is_let_go(
    start: Start, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the ``tee`` of a script that ends before it."""
    monkeypatch.setattr(supervise, "EXTRA", LONG)
    start("bash", "-c", 'exec > >(while read line; do echo "<$line>"; done); echo one; echo two')
    assert capfd.readouterr().out == "<one>\n<two>\n"


def test_who_is_stopped_hears_that_it_shall_end(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    """A trainer that its launcher has seen stopped cannot handle SIGTERM unless it is continued."""
    code = """
trainer = os.fork()
if trainer == 0:
    signal.signal(signal.SIGTERM, lambda *_: [os.write(1, b"heard"), os._exit(0)])
    os.kill(os.getpid(), signal.SIGSTOP)
    rest()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.waitpid(trainer, 0)[1]))
os.waitpid(trainer, os.WUNTRACED)
os.kill(us, signal.SIGTERM)
rest()
"""
    assert start(*python(code)).exit_status == 0
    assert capfd.readouterr().out == "heard"


@pytest.mark.parametrize("says", ["", "print('noise', flush=True)"])
def test_who_left_the_training_and_holds_its_output_does_not_hold_us(
    start: Start, capfd: pytest.CaptureFixture[str], says: str
) -> None:
    code = f"""
ready, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.write(told, str(os.getpid()).encode())
    while {bool(says)}: {says or "pass"}
    rest()
print(os.read(ready, 20).decode(), flush=True)
"""
    ended = start(*python(code))
    daemon = next(int(line) for line in capfd.readouterr().out.split() if line.isdecimal())
    assert ended.exit_status == 0
    if not says:
        assert exists(daemon)
        os.kill(daemon, signal.SIGKILL)


def test_a_zombie_that_nobody_reaps_does_not_hold_us(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its parent has left the training and sleeps."""
    code = """
ready, told = os.pipe()
if os.fork() == 0:
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.setsid()
    os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)
    os.write(told, f"{os.getpid()} {dead}".encode())
    rest()
print(os.read(ready, 40).decode())
"""
    ended = start(*python(code))
    parent, dead = map(int, capfd.readouterr().out.split())
    os.kill(dead, 0)
    os.kill(parent, signal.SIGKILL)
    assert (ended.exit_status, ended.trouble) == (0, ())


def test_without_proc_the_group_alone_tells_who_is_left(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As on macOS. What is left has a parent outside the training, which reaps it."""
    code = """
ready, told = os.pipe()
if os.fork() == 0:
    left = os.fork()
    if left == 0:
        rest()
    os.setsid()
    os.write(told, str(left).encode())
    os.waitpid(left, 0)
    os._exit(0)
print(os.read(ready, 20).decode())
"""
    monkeypatch.setattr(alive, "PROC", tmp_path)
    assert start(*python(code)).trouble == ()
    with pytest.raises(ProcessLookupError):
        os.kill(int(capfd.readouterr().out), 0)


# A process that the kernel cannot end, as one that waits for a graphics card: here no signal
# reaches it


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that were sent, and that nobody got."""
    numbers: list[int] = []
    monkeypatch.setattr(supervise, "signal_group", lambda _group, number: numbers.append(number))
    monkeypatch.setattr(supervise, "EXTRA", 0.01)
    monkeypatch.setattr(supervise, "_LAST", 0.01)
    return numbers


def test_what_cannot_be_ended_is_told_and_does_not_hold_us(
    start: Start, sent: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    ended = start("sh", "-c", "sleep 600 & echo $!", grace=0.01)
    os.kill(int(capfd.readouterr().out), signal.SIGKILL)
    assert ended.trouble == ("processes of the training are left that not even SIGKILL ended",)
    assert sent == [signal.SIGTERM, signal.SIGCONT, signal.SIGKILL]


def test_a_trainer_that_cannot_be_ended_is_waited_for(
    start: Start, sent: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_got(_group: int, number: int) -> None:
        sent.append(number)
        if number == signal.SIGKILL:
            (tmp_path / "nothing is left to try").touch()

    monkeypatch.setattr(supervise, "signal_group", nobody_got)
    code = """
os.kill(us, signal.SIGINT)
while not os.path.exists("nothing is left to try"):
    time.sleep(0.01)
time.sleep(0.1)
sys.exit(6)
"""
    ended = start(*python(code), grace=0.01)
    assert (ended.exit_status, ended.interrupted_by) == (6, signal.SIGINT)
    assert sent == [signal.SIGINT, signal.SIGCONT, signal.SIGTERM, signal.SIGCONT, signal.SIGKILL]
