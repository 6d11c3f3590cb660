"""TOML and JSON that somebody else wrote, read within bounds. Opens nothing.

A cloned dataset may hold any document, and to some a parser answers with time or memory out of all
proportion: a key of a hundred thousand parts takes :mod:`tomllib` minutes, and whoever walks a
document that is nested as deep as it parses runs out of stack. What is refused here is far beyond
anything that a training has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOML = 4 << 20
"""Characters of a TOML document: a megabyte takes about a second."""
MAX_PARTS = 100
"""Parts of a TOML key, as ``a.b.c`` has three: the time that a key takes grows with their
square."""
MAX_VALUES = 4_000_000
"""Commas and opening brackets of a JSON document: two bytes of it can become a hundred of
memory."""
MAX_DEPTH = 100
"""Lists and tables within each other."""
MAX_BITS = 1000
"""Of an integer: Python writes out none of more than 4,300 digits, and makes no float of one of
1,024 bits."""

_OPENING = r"""\"{3}|'{3}|["'#]"""
"""What begins a string or a comment."""
_CLOSING = {
    '"""': r'\\.|(?P<end>"{3,5})',
    "'''": r"(?P<end>'{3,5})",
    '"': r'\\[^\n]|(?P<end>"|(?=\n))',
    "'": r"(?P<end>'|(?=\n))",
    "#": r"(?P<end>(?=\n))",
}
"""What ends each of them, or is passed over before. One without an end goes to the end of its line,
or of the document, so that time stays linear."""
_PART = re.compile(r"[\w-]+")


class BeyondBounds(ValueError):
    """The document goes beyond one of the bounds of this module."""


def read_toml(source: str) -> dict[str, object]:
    """As :func:`tomllib.loads`. Raises ``ValueError`` for what is no TOML, and for what is too much
    of it."""
    import tomllib

    if len(source) > MAX_TOML:
        raise BeyondBounds(f"it is longer than {MAX_TOML >> 20} MiB")
    if _has_long_key(source):
        raise BeyondBounds(f"a key has more than {MAX_PARTS} parts")
    try:
        table = tomllib.loads(source)
    except RecursionError:
        raise BeyondBounds("it is nested too deep") from None
    _check_bounds((table,))
    return table


def read_json(source: str | bytes) -> object:
    """As :func:`json.loads`. Raises ``ValueError`` for what is no JSON, and for what is too much of
    it."""
    import json

    check_values(source)
    try:
        tree: object = json.loads(source)
    except RecursionError:
        raise BeyondBounds("it is nested too deep") from None
    _check_bounds((tree,))
    return tree


def check_values(source: str | bytes) -> None:
    """Raises :class:`TooMuch` where a JSON document could hold more than :data:`MAX_VALUES`
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
    # In a text or a comment dots are nothing; what stands for a string is a part of a key.
    return any(
        _dots_in_a_row(line) >= MAX_PARTS for line in _without_strings(source, "s").split("\n")
    )


def _without_strings(source: str, instead: str) -> str:
    """``source`` with ``instead`` for every string and comment."""
    opening, kept, at = re.compile(_OPENING), [], 0
    closings = {begin: re.compile(pattern, re.DOTALL) for begin, pattern in _CLOSING.items()}
    while begin := opening.search(source, at):
        kept += [source[at : begin.start()], instead]
        closing, end = closings[begin[0]], begin
        while (found := closing.search(source, end.end())) and found["end"] is None:
            end = found
        at = found.end() if found else len(source)
    return "".join((*kept, source[at:]))


def _dots_in_a_row(line: str) -> int:
    """The most dots in ``line`` with nothing but a part of a key, and blanks, between one and the
    next."""
    most = dots = 0
    for before in line.split(".")[:-1]:
        part = before.strip(" \t")
        if _PART.fullmatch(part):
            dots += 1
        else:  # the end of something else may begin a key
            dots = 1 if _PART.fullmatch(part[-1:]) else 0
        most = max(most, dots)
    return most


def _check_bounds(level: Iterable[object]) -> None:
    """Depth and integers of a document."""
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
