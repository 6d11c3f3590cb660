"""Every line that people see. Data goes to stdout, narration to stderr; control characters are
shown, not obeyed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from loragit import text
from loragit.errors import LoragitError

if TYPE_CHECKING:
    from loragit.system.pager import Pager

_styles = {"error": "\x1b[1;31m", "warning": "\x1b[33m", "hint": "\x1b[36m"}
_colored = False
_terminal: int | None = None
_plain = False
_pager: Pager | None = None

_ASCII = str.maketrans({"…": "...", "→": "->", "├": "|", "└": "`", "│": "|", "─": "-", "·": "-"})
"""What replaces the characters that loragit draws with if the encoding lacks them."""


class CannotWrite(LoragitError):
    """Standard output cannot be written: its disk is full."""


class NoAnswer(LoragitError):
    """The input ended before a question was answered."""


def begin(*, color: bool, columns: str = "") -> None:
    """``color``: whether narration may be coloured, if it goes to a terminal.

    ``columns`` is the terminal's width if known, else the terminal is asked. From now on a
    character that the locale's encoding lacks is shown as its code, on stdout as on stderr.
    """
    global _colored, _terminal, _plain
    _colored = color and sys.stderr is not None and sys.stderr.isatty()
    _terminal = _width_of_stdout(columns)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
        _plain = "utf" not in sys.stdout.encoding.lower()


def _width_of_stdout(columns: str) -> int | None:
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    if columns.isascii() and columns.isdigit() and int(columns):
        return int(columns)
    with suppress(OSError):
        return os.get_terminal_size(sys.stdout.fileno()).columns or _DEFAULT_WIDTH
    return _DEFAULT_WIDTH


_DEFAULT_WIDTH = 80
"""Columns of a terminal that does not report its width."""


def width() -> int | None:
    """Columns of the terminal that data goes to; ``None`` for a file or a pipe, for which nothing
    is cut."""
    return _terminal


def plain() -> bool:
    """Whether drawings are limited to ASCII."""
    return _plain


def start_pager(command: str) -> None:
    """Show all further data in the pager ``command``, if it goes to a terminal.

    An empty command or ``cat`` means no pager, and so does one that cannot be started.
    """
    global _pager
    if _terminal is None or _pager is not None or command in ("", "cat"):
        return
    from loragit.system.pager import Pager

    with suppress(OSError):
        _pager = Pager(command)


def out(line: str = "") -> None:
    """A line of data."""
    write(_in_charset(text.shown(line)) + "\n")


def write(block: str) -> None:
    """Lines of data that loragit made itself (JSON, a script for a shell), written as they are.

    They silently go nowhere once nobody reads any more (``| head``), or if stdout was closed from
    the start. Raises :class:`CannotWrite`.
    """
    _to_stdout(lambda stdout: stdout.write(block))


def raw(data: bytes) -> None:
    """A file, byte for byte; on a terminal as lines, with control characters shown. Raises
    :class:`CannotWrite`."""
    if _terminal is not None:
        for line in (
            data.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n") if data else ()
        ):
            out(line.removesuffix("\r").expandtabs())
        return
    _to_stdout(lambda stdout: _write_bytes(stdout, data))


def _write_bytes(stdout: TextIO, data: bytes) -> None:
    stdout.flush()
    stdout.buffer.write(data)
    stdout.buffer.flush()


def info(line: str) -> None:
    """A line of narration. A terminal that is gone stops nothing."""
    _to_stderr(f"loragit: {text.shown(line)}")


def warn(line: str) -> None:
    _labelled("warning", line)


def hint(line: str) -> None:
    """A next step."""
    _labelled("hint", line)


def error(failure: LoragitError) -> None:
    """The fact, the findings and the next step."""
    _labelled("error", failure.message)
    for one in failure.findings:
        finding(one.problem, one.hint)
    if failure.hint:
        hint(failure.hint)


def finding(problem: str, hint: str | None) -> None:
    """One of several reasons, below its heading."""
    _to_stderr(f"  - {text.shown(problem)}")
    if hint:
        _to_stderr(f"    {text.shown(hint)}")


def can_ask() -> bool:
    """Whether there is a terminal at which a user can answer."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def ask(question: str, default: str) -> str:
    """The line that the user types, or ``default`` for an empty one. Raises :class:`NoAnswer`."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text.shown(question)} [{text.shown(default)}] ")
        sys.stderr.flush()
    line = sys.stdin.buffer.readline()
    if not line:
        raise NoAnswer("the input ended before everything was answered; nothing was written")
    return line.decode("utf-8", "surrogateescape").strip() or default


def confirm(question: str, *, default: bool) -> bool:
    """Yes or no; asks again until it is one of them. Raises :class:`NoAnswer`."""
    while True:
        answer = ask(question, "Y/n" if default else "y/N").lower()
        if answer in ("y/n", "y", "yes", "n", "no"):
            return default if answer == "y/n" else answer.startswith("y")


def choose(question: str, options: Mapping[str, str], *, default: str) -> str:
    """One of the keys of ``options``, whose values say what each means. Raises
    :class:`NoAnswer`."""
    for key, about in options.items():
        _to_stderr(f"  {text.shown(key)}: {text.shown(about)}")
    while True:
        answer = ask(f"{question} ({'/'.join(options)})", default)
        if answer in options:
            return answer


def columns(rows: Iterable[tuple[str, ...]], limit: int | None = None) -> None:
    """Rows of data in aligned columns, two spaces apart; the last column is not padded.

    ``limit`` is a terminal's width: the last column is cut to what remains of it.
    """
    # Column by column: for ten thousand rows of plain letters that is a few calls a column.
    table = [_Column(cells) for cells in zip(*rows, strict=True)]
    if not table:
        return
    *padded, last = table
    cells = last.cells
    if limit is not None:
        left = max(limit - sum(column.width + 2 for column in padded), 1)
        cells = [_in_charset(text.cut(cell, left)) for cell in cells]
    lines = map("  ".join, zip(*(column.padded() for column in padded), cells, strict=True))
    write("\n".join(map(str.rstrip, lines)) + "\n")


class _Column:
    """The cells of one column, as they may be shown."""

    def __init__(self, cells: tuple[str, ...]) -> None:
        together = "".join(cells)
        self._ascii = together.isascii()
        plain = together.isprintable() and (self._ascii or not _plain)
        self.cells = list(cells) if plain else [_in_charset(text.shown(cell)) for cell in cells]
        # Control characters are shown in ASCII.

    @property
    def width(self) -> int:
        """Columns of a terminal that the widest cell takes."""
        return max(map(len if self._ascii else text.width, self.cells))

    def padded(self) -> list[str]:
        width = self.width
        if self._ascii:
            return [cell.ljust(width) for cell in self.cells]
        return [cell + " " * (width - text.width(cell)) for cell in self.cells]


def _in_charset(cell: str) -> str:
    return cell.translate(_ASCII) if _plain and not cell.isascii() else cell


def finish() -> None:
    """Flush stdout, and wait for the pager. Raises :class:`CannotWrite`."""
    global _pager
    try:
        _to_stdout(lambda stdout: stdout.flush())
    finally:
        if _pager is not None:
            _pager.wait()
            _pager = None


def _to_stdout(action: Callable[[TextIO], object]) -> None:
    if sys.stdout is None:
        return
    try:
        action(sys.stdout)
    except OSError as error:
        # What is still buffered, and all that follows, goes nowhere: it would raise again and
        # again otherwise.
        _redirect_to_null(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise CannotWrite(f"the output cannot be written: {error.strerror}") from error


def drop_stderr() -> None:
    """Drop what stderr holds and cannot write: Python would exit with a status of its own for it,
    120."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.flush()
    except OSError:
        _redirect_to_null(sys.stderr)


def _redirect_to_null(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _labelled(label: str, line: str) -> None:
    start, end = (_styles[label], "\x1b[0m") if _colored else ("", "")
    _to_stderr(f"{start}{label}:{end} {text.shown(line)}")


def _to_stderr(line: str) -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
