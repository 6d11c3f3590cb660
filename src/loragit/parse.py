"""TOML and JSON that somebody else wrote, read within bounds. Opens nothing.

A cloned dataset may hold any document, and some take a parser time or memory out of all proportion:
a key of a hundred thousand parts takes :mod:`tomllib` minutes, and code that walks the deepest
nesting that still parses runs out of stack. What is refused here is far beyond what any training
has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_TOML = 4 << 20
"""Most characters of a TOML document: a megabyte takes about a second."""
MAX_PARTS = 100
"""Most parts of a TOML key (``a.b.c`` has three): its time grows with their square."""
MAX_VALUES = 4_000_000
"""Most commas and opening brackets of a JSON document: two of its bytes can become a hundred in
memory."""
MAX_DEPTH = 100
"""Most lists and tables inside each other."""
MAX_BITS = 1000
"""Most bits of an integer: Python does not write one of more than 4,300 digits, nor make a float
of one of 1,024 bits."""

_OPENING = r"""\"{3}|'{3}|["'#]"""
"""What begins a string or a comment."""
_CLOSING = {
    '"""': r'\\.|(?P<end>"{3,5})',
    "'''": r"(?P<end>'{3,5})",
    '"': r'\\[^\n]|(?P<end>"|(?=\n))',
    "'": r"(?P<end>'|(?=\n))",
    "#": r"(?P<end>(?=\n))",
}
"""What ends each of them, or is skipped before the end. One that has no end goes to the end of its
line, or of the document, so that time stays linear."""
_PART = re.compile(r"[\w-]+")


class BeyondBounds(ValueError):
    """The document exceeds one of the bounds of this module."""


def read_toml(source: str, floats: Callable[[str], object] = float) -> dict[str, object]:
    """Read as :func:`tomllib.loads` does; ``floats`` makes values of numbers with a point or an
    exponent, as they are written. Raises ``ValueError`` for what is not TOML, and
    :class:`BeyondBounds`, which is one."""
    import tomllib

    if len(source) > MAX_TOML:
        raise BeyondBounds(f"it is longer than {MAX_TOML >> 20} MiB")
    if _has_long_key(source):
        raise BeyondBounds(f"a key has more than {MAX_PARTS} parts")
    try:
        table = tomllib.loads(source, parse_float=floats)
    except RecursionError:
        raise BeyondBounds("it is nested too deep") from None
    _check_bounds((table,))
    return table


def read_json(source: str | bytes) -> object:
    """Read as :func:`json.loads` does. Raises ``ValueError`` for what is not JSON, and
    :class:`BeyondBounds`, which is one."""
    import json

    check_values(source)
    try:
        tree: object = json.loads(source)
    except RecursionError:
        raise BeyondBounds("it is nested too deep") from None
    _check_bounds((tree,))
    return tree


def check_values(source: str | bytes) -> None:
    """Raise :class:`BeyondBounds` if a JSON document may hold more than :data:`MAX_VALUES`
    values."""
    if isinstance(source, str):
        number = source.count(",") + source.count("[") + source.count("{")
    else:
        number = source.count(b",") + source.count(b"[") + source.count(b"{")
    if number > MAX_VALUES:
        raise BeyondBounds(f"it holds more than {MAX_VALUES:,} values")


def _has_long_key(source: str) -> bool:
    if source.count(".") < MAX_PARTS or all(
        line.count(".") < MAX_PARTS for line in source.split("\n")
    ):
        return False
    # Dots in a string or a comment do not count; a string may itself be a part of a key.
    return any(
        _dots_in_a_row(line) >= MAX_PARTS for line in _without_strings(source, "s").split("\n")
    )


def _without_strings(source: str, instead: str) -> str:
    """Return ``source`` with ``instead`` in the place of every string and comment."""
    opening, parts, at = re.compile(_OPENING), [], 0
    closings = {begin: re.compile(pattern, re.DOTALL) for begin, pattern in _CLOSING.items()}
    while begin := opening.search(source, at):
        parts += [source[at : begin.start()], instead]
        closing, end = closings[begin[0]], begin
        while (found := closing.search(source, end.end())) and found["end"] is None:
            end = found
        at = found.end() if found else len(source)
    return "".join((*parts, source[at:]))


def _dots_in_a_row(line: str) -> int:
    """Return the most dots of ``line`` in a row, with only a part of a key, and blanks, between
    them."""
    most = dots = 0
    for before in line.split(".")[:-1]:
        part = before.strip(" \t")
        if _PART.fullmatch(part):
            dots += 1
        else:  # the end of something else may be the start of a key
            dots = 1 if _PART.fullmatch(part[-1:]) else 0
        most = max(most, dots)
    return most


def _check_bounds(level: Iterable[object]) -> None:
    """Check depth and integers of a document, level by level."""
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, int) and value.bit_length() > MAX_BITS:
                raise BeyondBounds("an integer is too large")
        if not below:
            return
        level = below
    raise BeyondBounds(f"it is nested deeper than {MAX_DEPTH}")
