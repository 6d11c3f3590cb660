"""Parses TOML in the form that loragit writes, one value a line, ten times as fast as a full
parser.

A log compares thousands of records. The plain form is::

    format = 1
                                  blank lines
    [files."config.toml"]         tables at most two deep, lists of tables likewise
    sha1 = "..."                  strings without escapes, whole numbers, true, false, []
    argv = [                      a list has an item a line, four blanks, a comma
        "python",
    ]

Anything else goes to :mod:`loragit.parse`. Of what was parsed, values of another type than is asked
for count as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

_HEADER = re.compile(
    r'(\[\[?)([A-Za-z0-9_-]+)(?:\.(?:([A-Za-z0-9_-]+)|"([^"\\\x00-\x1f\x7f]*)"))?(\]\]?)'
)
_PAIR = re.compile(r"([A-Za-z0-9_-]+) = (.+)")
_STRING = re.compile(r'"([^"\\\x00-\x1f\x7f]*)"')
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_WORDS = {"true": True, "false": False}
_EMPTY_TABLE: Mapping[str, object] = MappingProxyType({})


class _NotPlain(Exception):
    """The text does not have the plain form."""


def parse_document(source: str) -> dict[str, object]:
    """Return the document, as :func:`loragit.parse.read_toml` does. Raises what that raises."""
    try:
        return _parse_plain(source)
    except _NotPlain:
        from loragit.parse import read_toml

        return read_toml(source)


def _parse_plain(source: str) -> dict[str, object]:
    root: dict[str, object] = {}
    table = root
    lines = iter(source.split("\n"))
    for line in lines:
        if line.startswith("["):
            table = _begin_table(root, line)
        elif line:
            match = _PAIR.fullmatch(line)
            if match is None or match[1] in table:
                raise _NotPlain
            table[match[1]] = _parse_list(lines) if match[2] == "[" else _parse_value(match[2])
    return root


def _begin_table(root: dict[str, object], line: str) -> dict[str, object]:
    """Return the new table that a header begins, which may lie in another table, or be the next of
    a list."""
    match = _HEADER.fullmatch(line)
    if match is None or len(match[1]) != len(match[5]):
        raise _NotPlain
    key, below = match[2], match[3] if match[3] is not None else match[4]
    new: dict[str, object] = {}
    if len(match[1]) == 2:
        rows = root.get(key)
        if rows is None and below is None:
            root[key] = [new]
        elif below is None and isinstance(rows, list) and rows and isinstance(rows[0], dict):
            rows.append(new)
        else:
            raise _NotPlain
        return new
    above = root
    if below is not None:
        found = root.setdefault(key, {})
        if not isinstance(found, dict):
            raise _NotPlain
        above, key = found, below
    if key in above:
        raise _NotPlain
    above[key] = new
    return new


def _parse_list(lines: Iterator[str]) -> list[object]:
    found: list[object] = []
    for line in lines:
        if line == "]":
            return found
        if not (line.startswith("    ") and line.endswith(",")):
            raise _NotPlain
        found.append(_parse_value(line[4:-1]))
    raise _NotPlain


def _parse_value(written: str) -> object:
    if match := _STRING.fullmatch(written):
        return match[1]
    if _WHOLE.fullmatch(written):
        return int(written)
    if written == "[]":
        return list[object]()
    if written in _WORDS:
        return _WORDS[written]
    raise _NotPlain


def table_at(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return the table at ``key``; an empty one if there is none."""
    found = table.get(key)
    return found if isinstance(found, dict) else _EMPTY_TABLE


def text_at(table: Mapping[str, object], key: str) -> str | None:
    """Return the text at ``key``; ``None`` if there is none."""
    found = table.get(key)
    return found if isinstance(found, str) else None


def texts_at(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Return the texts of the list at ``key``."""
    found = table.get(key)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()


def number_at(table: Mapping[str, object], key: str) -> int | None:
    """Return the whole number at ``key``; ``None`` if there is none."""
    found = table.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def tables_of_list(found: object) -> list[Mapping[str, object]]:
    """Return the tables of a list; none of anything else."""
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def arguments_at(table: Mapping[str, object], key: str) -> Mapping[str, tuple[str, ...]]:
    """Return the arguments in the table at ``key``: a text, several, or ``true`` for one without a
    value; those of another form are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in (inner := table_at(table, key)).items():
        if value is True:
            found[name] = ()
        elif isinstance(value, str):
            found[name] = (value,)
        elif isinstance(value, list) and value:
            found[name] = texts_at(inner, name)
    return MappingProxyType(found)
