"""Keys and values of settings as people write them: in TOML, on one line, safe to show."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BARE = re.compile(r"[A-Za-z0-9_-]+")

_ESCAPES = {
    ord(char): f"\\{short}" for char, short in zip('\b\t\n\f\r"\\', 'btnfr"\\', strict=True)
}

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters that count as printable and show nothing: they could make two commands look the same."""


def closest(word: str, known: Iterable[str]) -> str:
    """Return the one of ``known`` that is most like ``word``, as a whole or in its last part.

    ``known`` must not be empty.
    """
    from difflib import SequenceMatcher

    def alike(one: str, other: str) -> float:
        return SequenceMatcher(None, one, other).ratio()

    word = word[:100]
    leaf = word.rpartition(".")[2]
    return max(known, key=lambda each: max(alike(word, each), alike(leaf, each.rpartition(".")[2])))


def dotted_key(*parts: str) -> str:
    """Return a TOML key: the first part as it is (it may hold dots), the others quoted where TOML
    requires it."""
    return ".".join((parts[0], *map(quoted_key, parts[1:])))


def quoted_key(part: str) -> str:
    """Return one part of a TOML key, quoted if TOML requires it."""
    return part if _BARE.fullmatch(part) else toml_literal(part)


def toml_literal(value: Value) -> str:
    """Return ``value`` as TOML on one line. Bytes that are not UTF-8, which the environment can
    hold, read ``?``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(toml_literal(item) for item in value)}]"
    if isinstance(value, str):
        return f'"{_with_escapes(value.encode("utf-8", "replace").decode().translate(_ESCAPES))}"'
    return repr(value)


def _with_escapes(written: str) -> str:
    """Return ``written`` with TOML's escapes for all that a terminal would obey, or show as
    nothing."""
    if written.isprintable() and not _BLANK.search(written):
        return written
    return "".join(
        char if char.isprintable() and not _BLANK.match(char) else _escaped(ord(char))
        for char in written
    )


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def described(value: object) -> str:
    """Return what ``value`` is, in the words of an error message."""
    if isinstance(value, str):
        return toml_literal(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, bool | int | float):
        # Python refuses to write out numbers of more than 4,300 digits, and TOML can hold them in
        # hexadecimal.
        return (
            toml_literal(value)
            if not isinstance(value, int) or abs(value) < 2**64
            else "a very large number"
        )
    return (
        "a list"
        if isinstance(value, list)
        else "a table"
        if isinstance(value, dict)
        else "a date or time"
    )


ArgValue = str | int | float | bool | tuple[str | int | float, ...]
"""One value of ``[trainer.args]``; a list of the file is a tuple here."""


Value = ArgValue
"""One checked value of any key."""
