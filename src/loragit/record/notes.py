"""Observations on runs, as lines of a git note: plain ``git log runs`` shows them, and ``git notes
merge`` joins them.

Each line is an observation and begins with its moment, so that the lines of two machines can be
joined and sorted (``notes.mergeStrategy = cat_sort_uniq``) and still read in their order::

    2026-11-24T19:30:00.000Z Rating: 4
    2026-11-24T19:30:00.001Z hands are off before step 300
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from loragit.text import shown

REF = "refs/notes/commits"
"""git's own default, which ``git log`` shows."""
RATINGS = range(1, 6)


class Mark(NamedTuple):
    """What is to be noted besides texts; ``None`` for nothing."""

    starred: bool | None = None
    rating: int | None = None
    best: str | None = None

    def lines(self) -> tuple[str, ...]:
        """Return the lines of a note, without their moment."""
        pairs = (
            ("Starred", None if self.starred is None else "yes" if self.starred else "no"),
            ("Rating", None if self.rating is None else str(self.rating)),
            ("Best", self.best),
        )
        return tuple(f"{key}: {value}" for key, value in pairs if value is not None)


def stamp_lines(lines: Iterable[str], moment: datetime) -> tuple[str, ...]:
    """Return ``lines`` with moments a millisecond apart, so that sorting them keeps their order."""
    moments = (moment.astimezone(UTC) + timedelta(milliseconds=number) for number in range(10**6))
    return tuple(
        f"{at.strftime('%Y-%m-%dT%H:%M:%S')}.{at.microsecond // 1000:03}Z {shown(line).strip()}"
        for at, line in zip(moments, (line for line in lines if line.strip()), strict=False)
    )


def append_lines(note: bytes, lines: Iterable[str]) -> bytes:
    """Return ``note`` with ``lines`` at its end; what is there stays, byte for byte."""
    between = b"" if not note or note.endswith(b"\n") else b"\n"
    return (
        note + between + "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    )


def note_paths(commit: str) -> Iterator[str]:
    """Yield the paths at which git looks for the note on ``commit``: ``abcd…``, ``ab/cd…`` and so
    on, as deep as the folders go."""
    for depth in range(4):
        folders = [commit[2 * level : 2 * level + 2] for level in range(depth)]
        yield "/".join((*folders, commit[2 * depth :]))
