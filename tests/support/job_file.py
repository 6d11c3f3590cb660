"""A job file: a small part of YAML, read and rewritten by key path.

Mappings by indentation, lists of mappings, plain or quoted scalars on one line. Plain Python with
no import from this project, so that a trainer in a test can be given a copy of this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]
"""As ``("datasets", 0, "folder")``."""


def _lines(text: str) -> Iterator[tuple[int, Path, str]]:
    """(number of the line, key path, value as written) of every key."""
    stack: list[tuple[int, str | int]] = []
    counts: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines()):
        body = line.strip()
        if not body or body.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        while stack and stack[-1][0] >= indent:
            stack.pop()
        if body.startswith("- "):
            parent = tuple(key for _, key in stack)
            counts[parent] = counts.get(parent, -1) + 1
            stack.append((indent, counts[parent]))
            indent, body = indent + 2, body[2:]
        key, _, value = body.partition(":")
        yield number, (*(each for _, each in stack), key), value.strip()
        if not value.strip():
            stack.append((indent, key))


def read(text: str) -> dict[Path, str]:
    """Every scalar, by its key path. Raises ``ValueError`` for a line that is no key."""
    for number, path, _ in _lines(text):
        if not str(path[-1]).isidentifier():
            raise ValueError(f"line {number + 1} is no key")
    return {path: _scalar(value) for _, path, value in _lines(text) if value}


def _scalar(written: str) -> str:
    return str(json.loads(written)) if written.startswith('"') else written


def rewritten(text: str, values: Mapping[Path, str]) -> str:
    """``text`` with other values at some key paths, every other line as it was; a key of the file
    itself is added where it is missing."""
    lines, left = text.splitlines(), dict(values)
    for number, path, _ in _lines(text):
        if path in left:
            lines[number] = f"{lines[number].partition(':')[0]}: {json.dumps(left.pop(path))}"
    lines += [f"{path[0]}: {json.dumps(value)}" for path, value in left.items()]
    return "\n".join(lines) + "\n"
