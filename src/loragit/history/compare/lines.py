"""Compares texts line by line."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

_MOST = 2000
"""Lines of a side up to which their order counts: finding it in more would take long."""
_MOST_PAIRS = 40_000
"""Pairs of equal lines up to which their order counts: the same line a thousand times would take
minutes."""


class LineChange(NamedTuple):
    """A line that only one side has."""

    sign: str
    """``-`` before, ``+`` after."""
    text: str


def compare_lines(before: str, after: str) -> tuple[LineChange, ...]:
    """Return the lines that are gone or new, in their order. Line ends do not count."""
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > _MOST:
        return _compare_unordered(old, new)
    times = Counter(new)
    if sum(number * times[line] for line, number in Counter(old).items()) > _MOST_PAIRS:
        return _compare_unordered(old, new)
    import difflib

    found = []
    for tag, start, end, other, until in difflib.SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if tag != "equal":
            found += [LineChange("-", line) for line in old[start:end]]
            found += [LineChange("+", line) for line in new[other:until]]
    return tuple(found)


def _compare_unordered(old: list[str], new: list[str]) -> tuple[LineChange, ...]:
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    return (
        *(LineChange("-", line) for line in gone.elements()),
        *(LineChange("+", line) for line in come.elements()),
    )
