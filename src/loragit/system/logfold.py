r"""Turns terminal output into the lines a terminal would show: redraws folded, escape sequences
removed. Opens nothing::

    what a program prints                 lines
    ------------------------------------  ------------------------------------------------
    epoch 1\n                             epoch 1
    steps:  10%\rsteps:  20%\r            (the cursor is still in the row)
    steps: 100%\n                         steps: 100%
    outer 1/2\n  inner 1/9\x1b[A          outer 1/2
    \router 2/2\n  inner 9/9\n            outer 2/2
                                          (it has moved up: the last row is held)
    \x1b[32mloss\x1b[0m 0.1\x07\n           inner 9/9
    the end                               loss 0.1^G

The model is a terminal of unlimited width that keeps its last :data:`WINDOW` rows. A row becomes a
line when the cursor leaves it downwards at the bottom. For programs that draw above the bottom
(nested progress bars move up with ``ESC[A``), the rows they return to are held until they are done
with them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence

from loragit.text import CONTROL, letter_width

LIMIT = 65_536
"""Columns of the longest line; longer ones are split."""

WINDOW = 64
"""Rows above the bottom to which the cursor can return."""

_FARTHEST = 1_000
"""Highest column that the cursor can move to beyond the end of a line. It bounds the cost of a
short sequence."""

_CALM = 8
"""Line ends without a move upwards after which no row is held any longer."""

_COMBINED = 32
"""Characters in one column: a base and its combining marks."""

_PARAMETERS_KEPT = 64
"""Characters of a control sequence's parameters that are kept."""

_TEXT = re.compile(f"[^{CONTROL}]+")
# Half the limit, so no such line can exceed it however wide its characters are. No character fits
# in two places, so a line matches in only one way. The repeat count bounds the memory used.
_WHOLE_LINES = re.compile(f"(?:[^{CONTROL}]{{0,{LIMIT // 2}}}\r*\n){{1,1000}}")
# Not text: carriage returns, and colours, which need not go through the states.
_RETURNS = re.compile("\r+")
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_PARAMETERS = re.compile("[\x20-\x3f]+")
_INTERMEDIATES = re.compile("[\x20-\x2f]+")
_NUMBER = re.compile(r"(\d{0,5})(?:;\d*)*", re.ASCII)


class _Row:
    """One row of the terminal."""

    __slots__ = ("_cells", "_redrawn", "_told")

    def __init__(self, told: str | None = None) -> None:
        self._cells: list[str] | None = None if told is not None else []
        self._told = told
        # Whether anything on it was overwritten or erased; blanks at its end are then not text.
        self._redrawn = False

    @property
    def fresh(self) -> bool:
        """Whether nothing was ever written to it."""
        return self._cells == [] and self._told is None and not self._redrawn

    @property
    def cells(self) -> list[str]:
        """One character per column; a wide character is followed by an empty cell."""
        if self._cells is None:
            self._cells = _cells(self._told or "", [])
        return self._cells

    @property
    def text(self) -> str:
        if self._cells is None:
            return self._told or ""
        text = "".join(self._cells)
        return text.rstrip(" ") if self._redrawn else text

    def put(self, column: int, new: Sequence[str]) -> None:
        """Overwrite from ``column`` on. A wide character cut in half becomes a blank."""
        cells = self.cells
        if column > len(cells):
            cells.extend(" " * (column - len(cells)))
        end = column + len(new)
        if column < len(cells):
            self._redrawn = True
            self._split(column)
            self._split(end)
        cells[column:end] = new

    def erase(self, start: int = 0, end: int | None = None) -> None:
        """Blank the columns from ``start`` up to but not including ``end``, by default the row's
        own end."""
        cells = self.cells
        if end is not None and end < len(cells):
            self.put(start, " " * (end - start))
        elif start < len(cells):
            self._redrawn = True
            self._split(start)
            del cells[start:]

    def new_line(self) -> str | None:
        """Return the line to emit now that the cursor leaves the row; ``None`` if it was emitted
        before or a bar was erased."""
        text, before, redrawn = self.text, self._told, self._redrawn
        self._cells, self._told, self._redrawn = None, text, False
        if text == before or (not text and (redrawn or before is not None)):
            return None
        return text

    def _split(self, column: int) -> None:
        cells = self.cells
        if 0 < column < len(cells) and cells[column] == "":
            cells[column - 1] = cells[column] = " "


class Folder:
    """Turns one stream of terminal output into lines. The same bytes give the same lines, however
    they are split.

    Lines contain no control characters: any that is not a redraw, a colour or a line end is shown
    (``^G``, ``<U+009B>``); tabs become blanks. Bytes that are not UTF-8 become U+FFFD. Time is
    linear in the bytes, memory is bounded.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._state: Callable[[str, int], int] = self._ground
        self._parameters = ""
        self._lines: list[str] = []
        self._rows = [_Row()]
        self._at = 0  # the cursor's row
        self._column = 0
        self._untold = 0  # rows before this one were emitted and have not changed since
        self._reach = 0  # how far above the bottom the program draws
        self._calm = 0  # line ends at the bottom since it last moved up

    @property
    def current(self) -> str:
        """The unfinished line as it stands."""
        return self._rows[self._at].text

    def feed(self, data: bytes) -> list[str]:
        """Feed the next bytes; return the lines they completed, without line ends."""
        return self._take(self._decoder.decode(data))

    def close(self) -> list[str]:
        """Return the rest: held rows and the unfinished line. Nothing may be fed afterwards."""
        lines = self._take(self._decoder.decode(b"", final=True))
        self._add_lines(len(self._rows) - 1)
        if self._rows[-1].text:
            self._add_lines(len(self._rows))
        return lines

    def _take(self, text: str) -> list[str]:
        self._lines = []
        at = 0
        while at < len(text):
            at = self._state(text, at)
        return self._lines

    # States of the parser. Each consumes characters from ``at`` on and returns where it stopped; a
    # state that consumes none has handed over to another one.

    def _ground(self, text: str, at: int) -> int:
        quiet = (
            self._column == 0
            and self._reach == 0
            and self._untold == self._at == len(self._rows) - 1
        )
        if quiet and self._rows[-1].fresh and (match := _WHOLE_LINES.match(text, at)):
            self._whole_lines(match.group())
        elif match := _TEXT.match(text, at):
            self._write(match.group())
        elif match := _RETURNS.match(text, at):
            self._column = 0
        elif not (match := _COLOUR.match(text, at)):
            self._control(text[at])
            return at + 1
        return match.end()

    def _escape(self, text: str, at: int) -> int:
        """After ESC: single-character sequences are ignored."""
        if match := _INTERMEDIATES.match(text, at):
            return match.end()
        self._state = self._ground
        char = text[at]
        if char == "[":
            self._state, self._parameters = self._csi, ""
        elif char in "]PX^_":
            self._state = self._string
        elif not "0" <= char <= "~":
            return at
        return at + 1

    def _csi(self, text: str, at: int) -> int:
        """After ``ESC[``: parameters, then one final character. Any other character ends the
        sequence."""
        if match := _PARAMETERS.match(text, at):
            self._parameters = (self._parameters + match.group())[:_PARAMETERS_KEPT]
            return match.end()
        self._state = self._ground
        if not "@" <= text[at] <= "~":
            return at
        if match := _NUMBER.fullmatch(self._parameters):
            self._obey(text[at], int(match[1] or 0))
        return at + 1

    def _string(self, text: str, at: int) -> int:
        """Titles, hyperlinks, images: up to BEL or ``ESC\\``. A line end ends them, so that
        none hides the log."""
        if match := _TEXT.match(text, at):
            return match.end()
        if text[at] == "\x1b":
            self._state = self._string_end
            return at + 1
        self._state = self._ground
        return at + 1 if text[at] in "\x07\x9c" else at

    def _string_end(self, text: str, at: int) -> int:
        self._state = self._ground if text[at] == "\\" else self._escape
        return at + 1 if text[at] == "\\" else at

    # Effects of the characters.

    def _whole_lines(self, block: str) -> None:
        """Add lines without control characters below everything else: most of any log, so the short
        path."""
        lines = block.split("\n")
        lines.pop()
        if "\r" in block:
            lines = [line.rstrip("\r") for line in lines]
        self._lines += lines
        kept = self._rows[:-1] + [_Row(line) for line in lines[-WINDOW:]]
        self._rows = [*kept[-WINDOW:], _Row()]
        self._at = self._untold = len(self._rows) - 1

    def _control(self, char: str) -> None:
        if char == "\n":
            self._line_feed()
        elif char == "\x1b":
            self._state = self._escape
        elif char == "\b":
            self._go_to(self._column - 1)
        elif char == "\t":
            self._tab()
        elif char <= "\x1f":
            self._write("^" + chr(ord(char) + 64))
        else:
            self._write("^?" if char == "\x7f" else f"<U+{ord(char):04X}>")

    def _write(self, text: str) -> None:
        cells: Sequence[str] = text if text.isascii() else self._measured(text)
        while cells:
            if self._column >= LIMIT:
                self._line_feed()
            room = LIMIT - self._column
            if room < len(cells) and cells[room] == "":
                room += 1
            piece, cells = cells[:room], cells[room:]
            self._rows[self._at].put(self._column, piece)
            self._column += len(piece)

    def _measured(self, text: str) -> list[str]:
        """Split ``text`` into cells. Marks at its beginning go to the character before the
        cursor."""
        row = self._rows[self._at].cells
        before = row[max(0, self._column - 2) : self._column] if self._column <= len(row) else []
        cells = _cells(text, before.copy())
        row[self._column - len(before) : self._column] = cells[: len(before)]
        return cells[len(before) :]

    def _tab(self) -> None:
        blanks = 8 - self._column % 8
        if self._column < len(self._rows[self._at].cells):
            self._go_to(self._column + blanks)
        else:
            self._write(" " * blanks)

    def _line_feed(self) -> None:
        self._column = 0
        self._at += 1
        if self._at < len(self._rows):
            return
        self._rows.append(_Row())
        self._calm += 1
        if self._calm > _CALM + self._reach:
            self._reach = 0
        self._add_lines(self._at - self._reach)
        if self._at > WINDOW:
            del self._rows[0]
            self._at -= 1
            self._untold -= 1

    def _add_lines(self, end: int) -> None:
        """Emit the rows before ``end``."""
        for row in self._rows[self._untold : end]:
            line = row.new_line()
            if line is not None:
                self._lines.append(line)
        self._untold = max(self._untold, end)

    def _go_to(self, column: int) -> None:
        end = len(self._rows[self._at].cells)
        self._column = max(0, min(column, max(end, _FARTHEST)))

    def _move(self, rows: int) -> None:
        """Move up or, if ``rows`` is positive, down, within the existing rows."""
        bottom = len(self._rows) - 1
        self._at = max(0, min(self._at + rows, bottom))
        if rows < 0:
            self._reach = max(self._reach, bottom - self._at)
            self._untold = min(self._untold, self._at)
            self._calm = 0

    def _obey(self, final: str, number: int) -> None:
        """Obey control sequences that move or erase (ECMA-48, 8.3); all others only set colours and
        modes."""
        count = max(1, number)
        if final in "ABEF":
            self._move(-count if final in "AF" else count)
            if final in "EF":
                self._column = 0
        elif final in "CDG":
            base = 0 if final == "G" else self._column
            self._go_to(base + {"C": count, "D": -count, "G": count - 1}[final])
        elif final == "K":
            self._erase_line(number)
        elif final == "J" and number == 0:
            self._erase_line(0)
            for row in self._rows[self._at + 1 :]:
                row.erase()
        elif final in "Hf" or (final == "J" and number in (2, 3)):
            self._new_page()

    def _erase_line(self, mode: int) -> None:
        row = self._rows[self._at]
        if mode == 0:
            row.erase(self._column)
        elif mode == 2:
            row.erase()
        elif mode == 1 and self._column < _FARTHEST:
            row.erase(0, self._column + 1)
        self._go_to(self._column)

    def _new_page(self) -> None:
        """Continue below what was there: an addressed or cleared screen has no place in a log."""
        self._at = len(self._rows) - 1
        if self._rows[-1].text:
            self._line_feed()
        self._column = 0


def _cells(text: str, cells: list[str]) -> list[str]:
    """Append ``text`` to ``cells``, one character per column, and return them."""
    for char in text:
        width = letter_width(char)
        base = len(cells) - 1
        if width == 0 and base > 0 and cells[base] == "":
            base -= 1
        if width == 0 and base >= 0 and len(cells[base]) < _COMBINED:
            cells[base] += char
        else:
            cells.append(char)
            if width == 2:
                cells.append("")
    return cells
