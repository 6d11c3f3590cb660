"""Secrets in whole files, by every rule: looks, names in a text, keys of a table, known values.

A file that says it is UTF-16 is read as such.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from contextlib import suppress

from loragit.secrets import find, redact, tables
from loragit.secrets.rules import MIN_LENGTH, FoundSecret


def secrets_in(data: bytes, known: Iterable[str] = ()) -> tuple[FoundSecret, ...]:
    """The secrets in a file, in order, at most one a line: by their looks, by the key that they are
    given to, or because they are among ``known``."""
    plain = as_utf8(data)
    found = [
        *find.find_secrets(plain),
        *tables.find_table_secrets(plain),
        *find.find_known_secrets(plain, known),
    ]
    by_line = {each.line: each for each in reversed(found)}
    return tuple(sorted(by_line.values(), key=lambda each: each.line or 0))


def secrets_of_files(files: Iterable[bytes]) -> tuple[str, ...]:
    """The secrets themselves that are in ``files``, each once."""
    texts = list(map(as_utf8, files))
    found = (
        value for data in texts for value in (*tables.table_secrets(data), *find.secret_texts(data))
    )
    return tuple(dict.fromkeys(value for value in found if len(value) >= MIN_LENGTH))


def redacted(data: bytes, known: Iterable[str] = ()) -> bytes:
    """``data`` with ``***`` for what :func:`secrets_in` finds; all else stays byte for byte."""
    plain = as_utf8(data)
    hidden = redact.redact_unmarked(tables.redact_table(plain), known)
    if plain is data:
        return hidden
    return data[:2] + hidden.decode().encode(
        "utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    )


def as_utf8(data: bytes) -> bytes:
    """A text that says it is UTF-16 as UTF-8; ``data`` itself where it is anything else."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        with suppress(UnicodeError):
            return data.decode("utf-16").encode()
    return data
