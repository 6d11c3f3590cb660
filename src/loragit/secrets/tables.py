"""Secrets in JSON, JSON Lines and TOML: the literal values of keys that ask for one, whatever the
values look like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from loragit import parse as parsing
from loragit.secrets import rules
from loragit.secrets.rules import MASK, UTF8, FoundSecret

_WORDS = (*rules.NAME_ENDS, b"credential")
_NO_VALUE = re.compile(r"(?:\*\*\*|\$\w+|\$\{\w+\})?")
_OF_SERVICE = frozenset({"api", "auth", "login", "credential", "credentials"})
"""Names of a key in the table of a service: ``[wandb] login = "…"``."""
_MIN_UNNAMED = 16
"""Characters of the shortest secret in a table of secrets under a name that asks for none:
``[tokens] mine = "…"``."""

# Strings of JSON and TOML, and comments, in which a quote begins no string.
_LITERALS = rb'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*'  # one match a literal, in order  # noqa: E501


class _SecretValue(NamedTuple):
    """The value of a key that asks for a secret."""

    value: str
    kind: str
    line: int | None
    """From 1; ``None`` if unknown."""


def find_table_secrets(data: bytes) -> Iterator[FoundSecret]:
    """Yield where the secrets of a table are, except in lines that are marked as holding none."""
    for secret in _secret_values(data):
        yield FoundSecret(secret.line, secret.kind)


def table_secrets(data: bytes) -> tuple[str, ...]:
    """Return the values themselves that :func:`find_table_secrets` finds."""
    return tuple(dict.fromkeys(secret.value for secret in _secret_values(data)))


def redact_table(data: bytes) -> bytes:
    """Return ``data`` with ``***`` for each string that is one of :func:`table_secrets`; the rest
    stays as it is, byte for byte."""
    hidden = frozenset(table_secrets(data))
    if not hidden:
        return data

    def masked(match: re.Match[bytes]) -> bytes:
        literal = match[0]
        quote = literal[:3] if literal[:3] in (b'"""', b"'''") else literal[:1]
        if quote == b"#" or re.match(rb"\s*[:=.]", data[match.end() : match.end() + 64]):
            return literal  # a comment, or a key
        return quote + MASK.encode() + quote if _parsed_string(literal) in hidden else literal

    return re.compile(_LITERALS, re.DOTALL).sub(masked, data)


def _parsed_string(literal: bytes) -> object:
    """Return what a string of JSON or TOML says; ``None`` if it is neither."""
    import json
    import tomllib

    with suppress(ValueError):
        return json.loads(literal)
    with suppress(ValueError):
        return tomllib.loads(f"x = {literal.decode()}")["x"]
    return None


def _secret_values(data: bytes) -> Iterator[_SecretValue]:
    low = data.lower()
    if not any(word in low for word in _WORDS):
        return
    lines = _Lines(data.split(b"\n"))
    for tree, number in _documents(data):
        for path, value in _strings(tree):
            kind = _kind_of_value(path, value)
            if kind is not None and not _NO_VALUE.fullmatch(value):
                line = number or lines.find(path[-1], value)
                if line is None or not rules.is_marked(lines[line]):
                    yield _SecretValue(value, kind, line)


def _documents(data: bytes) -> Iterator[tuple[object, int | None]]:
    """Yield the document that a text is; or, for JSON Lines, each line's with the line's number.

    Nothing is yielded for any other text.
    """
    for parse in (parsing.read_json, parsing.read_toml):
        with suppress(ValueError):
            yield parse(data.decode("utf-8-sig")), None
            return
    if data.lstrip()[:1] == b"{":
        for number, line in enumerate(data.split(b"\n"), 1):
            if any(word in line.lower() for word in _WORDS):
                with suppress(ValueError):
                    yield parsing.read_json(line), number


def _strings(tree: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every string below a key, with the keys that lead to it."""
    waiting: list[tuple[tuple[str, ...], object]] = [((), tree)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, str) and path:
            yield path, node
        elif isinstance(node, dict):
            waiting += [((*path, str(key)), value) for key, value in reversed(node.items())]
        elif isinstance(node, list):
            waiting += [(path, value) for value in reversed(node)]


def _kind_of_value(path: tuple[str, ...], value: str) -> str | None:
    """Return what kind of secret ``value`` is, judged by the keys that lead to it; ``None`` if it
    is none."""
    *above, key = path
    # The keys of a dataset's metadata are paths of its images.
    if "/" in key:
        return None
    if rules.is_secret_name(key):
        return rules.kind_of_secret(
            ".".join(path[-2:]), b".".join(part.encode(*UTF8) for part in path)
        )
    holder = above[-1] if above else ""
    looks = rules.randomness(value.encode(*UTF8))
    service = rules.is_service(holder)
    if service and (key.lower() in _OF_SERVICE or rules.is_secret_name(f"{holder}.{key}")):
        return (
            rules.kind_of_secret(f"{holder}.token", holder.encode(*UTF8))
            if looks >= rules.LETTERS
            else None
        )
    if rules.is_table_of_secrets(holder) or (rules.is_secret_name(holder) and "/" not in holder):
        enough = (
            looks >= rules.LETTERS
            if rules.is_service(key)
            else looks >= rules.MIXED and len(value) >= _MIN_UNNAMED
        )
        return rules.kind_of_secret(f"{key}_token", key.encode(*UTF8)) if enough else None
    return None


_MAX_LINES = 300_000
"""Most lines that are searched for the places of one text's values; each value costs its own."""


class _Lines:
    """The lines of a text, numbered from 1."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self._named: dict[str, list[int]] = {}
        self._left = _MAX_LINES

    def __getitem__(self, number: int) -> bytes:
        return self._lines[number - 1]

    def find(self, key: str, value: str) -> int | None:
        """Return the line that gives ``value`` to ``key``; ``None`` if there is none, or too many
        lines were searched before."""
        if key not in self._named:
            if not self._spend(len(self._lines)):
                return None
            name = re.compile(rb"(?<![\w-])" + re.escape(key.encode(*UTF8)) + rb"[\"']?[ \t]*[:=]")
            self._named[key] = [
                number for number, line in enumerate(self._lines, 1) if name.search(line)
            ]
        named = self._named[key]
        if not self._spend(len(named)):
            return None
        forms = [form.encode(*UTF8) for form in rules.written_forms(value)]
        exact = (number for number in named if any(form in self[number] for form in forms))
        return next(exact, named[0] if named else None)

    def _spend(self, lines: int) -> bool:
        self._left -= lines
        return self._left >= 0
