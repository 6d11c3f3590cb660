"""How much room a text takes in a terminal."""

from __future__ import annotations


def width(text: str) -> int:
    """Columns of a terminal that ``text`` takes: letters of East Asia take two, what combines takes none."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        2 if east_asian_width(letter) in "WF" else 0 if category(letter) in ("Mn", "Me", "Cf") else 1 for letter in text
    )


def cut(text: str, columns: int) -> str:
    """``text``, with ``…`` for its end where it is wider than ``columns``."""
    if width(text) <= columns:
        return text
    room = columns - 1
    for number, letter in enumerate(text):
        room -= width(letter)
        if room < 0:
            return text[:number].rstrip() + "…" if columns > 0 else ""
    raise AssertionError("a text that is too wide has a letter that is")
