"""Every line a person sees: data on stdout, narration on stderr, control characters shown, colour
only on terminals."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragit import console
from loragit.errors import Area, Finding, LoragitError
from tests.support.processes import read_all

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def plain() -> None:
    console.begin(color=False)


def test_data_goes_to_stdout_and_narration_to_stderr(capsys: Capture) -> None:
    console.out("data")
    console.out()
    console.write("block\n")
    console.info("opened x")
    console.warn("look")
    told = capsys.readouterr()
    assert told.out == "data\n\nblock\n"
    assert told.err == "loragit: opened x\nwarning: look\n"


def test_an_error_is_told_as_fact_findings_and_next_step(capsys: Capture) -> None:
    findings = (Finding("one", "do this", Area.NAME), Finding("two", None, Area.DISK))
    console.error(LoragitError("not started", hint="try again", findings=findings))
    console.error(LoragitError("bare"))
    assert capsys.readouterr().err == (
        "error: not started\n  - one\n    do this\n  - two\nhint: try again\nerror: bare\n"
    )


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=12))
def test_no_line_holds_more_than_a_line(line: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        console.out(line)
        console.columns([(line, line), ("a", "b")])
        console.info(line)
        console.warn(line)
        console.error(
            LoragitError(
                line, hint=line or None, findings=(Finding(line, line or None, Area.DATASET),)
            )
        )
    for stream, lines in ((out, 3), (err, 4 + 2 * bool(line))):
        told = stream.getvalue()
        assert len(told.splitlines()) == told.count("\n") == lines
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in told.replace("\n", ""))


RAW = "from loragit import console; console.begin(color=False); console.raw({!r}); console.finish()"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            b"a\tb\r\n\x1b]0;owned\x07\xff\xe2\x80\xae\n",
            b"a       b\r\n\\x1b]0;owned\\x07\\xff\\x202e\r\n",
        ),
        (b"no end", b"no end\r\n"),
        (b"\n", b"\r\n"),
    ],
)
def test_a_file_on_a_terminal_is_shown_and_not_obeyed(data: bytes, told: bytes) -> None:
    screen, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", RAW.format(data)], stdout=terminal, check=True)
    os.close(terminal)
    assert read_all(screen) == told
    os.close(screen)


def test_a_file_that_goes_elsewhere_is_the_same_byte_for_byte() -> None:
    data = bytes(range(256)) + b"\r\n"
    assert (
        subprocess.run(
            [sys.executable, "-c", RAW.format(data)], stdout=subprocess.PIPE, check=True
        ).stdout
        == data
    )


def test_columns_are_aligned_and_the_last_one_is_not_padded(capsys: Capture) -> None:
    console.columns([("a", "bbb", "c"), ("aaa", "b", ""), ("\x1b", "", "c")])
    console.columns(iter(()))
    assert capsys.readouterr().out == "a     bbb  c\naaa   b\n\\x1b       c\n"


def test_who_does_not_listen_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    for stream in (Gone(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        console.info("anybody?")
        console.error(LoragitError("nobody", hint="go on"))
    monkeypatch.setattr(sys, "stdout", None)
    console.begin(color=True)
    console.out("data")
    console.finish()


COLOR = "from loragit import console; console.begin(color={}); console.warn('a'); console.info('b')"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (True, b"\x1b[33mwarning:\x1b[0m a\r\nloragit: b\r\n"),
        (False, b"warning: a\r\nloragit: b\r\n"),
    ],
)
def test_a_terminal_is_given_colour_where_it_is_wanted(wanted: bool, told: bytes) -> None:
    screen, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", COLOR.format(wanted)], stderr=terminal, check=True)
    os.close(terminal)
    assert read_all(screen) == told
    os.close(screen)


def test_a_file_is_given_no_colour() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLOR.format(True)], stderr=subprocess.PIPE, check=True
    )
    assert done.stderr == b"warning: a\nloragit: b\n"


def test_a_letter_that_the_locale_lacks_is_shown_as_its_code() -> None:
    code = (
        "from loragit import console; console.begin(color=False); console.out('é画'); "
        "console.finish()"
    )
    environ = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, check=True
    )
    assert done.stdout == b"\xe9\\u753b\n"


ASK = """
from loragit import console
console.begin(color=False)
print(console.can_ask())
print(repr(console.ask("which\\x1b?", "one")), console.confirm("sure?", default=False))
print(console.choose("what?", {"a": "first", "b": "second"}, default="b"))
try:
    console.ask("more?", "")
except console.NoAnswer as end:
    console.error(end)
"""


def test_questions_show_their_default_and_take_it_for_an_empty_line() -> None:
    screen, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=terminal, stderr=terminal, stdout=subprocess.PIPE
    )
    os.close(terminal)
    os.write(screen, b"two\nperhaps\nyes\nc\n\n\x04")
    out, _ = child.communicate(timeout=60)
    told = read_all(screen).decode()
    os.close(screen)
    assert out.decode().splitlines() == ["True", "'two' True", "b"]
    assert "which\\x1b? [one] " in told
    assert told.count("sure? [y/N] ") == 2
    assert "  a: first\r\n  b: second\r\n" in told
    assert told.count("what? (a/b) [b] ") == 2
    assert "error: the input ended before everything was answered; nothing was written\r\n" in told


def test_nobody_can_be_asked_without_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.stdout == b"False\n"
    assert b"NoAnswer" in done.stderr
