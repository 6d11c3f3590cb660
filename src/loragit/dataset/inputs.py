"""Files that go on record as they are: read whole, within bounds, and parsed."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from loragit import parse
from loragit.dataset import not_there
from loragit.dataset.not_there import NotThere
from loragit.errors import LoragitError, shell_word

MAX_INPUT = 1 << 28
"""Most bytes of a file that goes on record as it is: a longer one could not be read back in one
piece either."""


class EncodingProblem(NamedTuple):
    """Why a text cannot be read as it is."""

    what: str
    """What it does or is: "is UTF-16 text, not UTF-8"."""
    hint: str


class CannotReadInput(LoragitError):
    """A file that the run needs is missing, unreadable or does not parse."""


def read_input(path: Path, what: str) -> bytes:
    """Return the exact bytes of ``path``. Raises :class:`CannotReadInput`, which calls it ``what``.

    A cloned dataset may name any path: an endless device is not read, and a pipe is not waited for.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_INPUT:
                data = file.read(MAX_INPUT)
                if len(data) < not_there.MAX_POINTER:
                    _require_content(path, not_there.pointer(path, data), what)
                return data
    except OSError as error:
        _require_content(path, not_there.why_not_there(path), what)
        hint = "check that it is there and that you may read it"
        raise CannotReadInput(
            f"the {what} {path} cannot be read: {error.strerror or error}", hint=hint
        ) from error
    except ValueError as error:  # a path that no file can have
        raise CannotReadInput(f"the {what} {str(path)!r} cannot be read: {error}") from error
    raise CannotReadInput(
        f"the {what} {path} cannot be read: it is not a plain file of at most "
        f"{MAX_INPUT >> 20} MiB",
        hint="name a file that can be on record",
    )


def _require_content(path: Path, why: NotThere | None, what: str) -> None:
    if why is not None:
        raise CannotReadInput(f"the {what} {path} is {why.what}", hint=why.hint)


def read_text(path: Path, data: bytes, what: str) -> str:
    """Decode ``data`` as the trainers do, which take plain UTF-8 alone. Raises
    :class:`CannotReadInput`, which says what else it is."""
    problem = encoding_problem(data, shell_word(path))
    if problem is not None:
        raise CannotReadInput(f"the {what} {path} {problem.what}", hint=problem.hint)
    return data.decode()


def encoding_problem(data: bytes, file: str) -> EncodingProblem | None:
    """Return why ``data`` is not plain UTF-8; ``file`` is its name, for a shell."""
    if data.startswith(codecs.BOM_UTF8):
        return EncodingProblem(
            "begins with a byte order mark (BOM), as Windows writes it",
            f"save it as UTF-8 without BOM, or: sed -i '1s/^\\xEF\\xBB\\xBF//' {file}",
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return EncodingProblem(
            "is UTF-16 text, not UTF-8",
            f"save it as UTF-8: iconv -f UTF-16 -t UTF-8 {file}",
        )
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return EncodingProblem(
            f"is not UTF-8 text: byte 0x{data[error.start]:02x} in line {line}",
            f"save it as UTF-8, as from GBK: iconv -f GBK -t UTF-8 {file}",
        )
    return None


def parse_input(path: Path, data: bytes, what: str) -> Mapping[str, object]:
    """Parse ``data`` as sd-scripts does: as JSON if ``path`` ends in ``.json``, else as TOML.

    Raises :class:`CannotReadInput`, which names line and reason.
    """
    read = parse.read_json if path.suffix.lower() == ".json" else parse.read_toml
    return _parsed(read, path, data, what)


def parse_toml(
    path: Path, data: bytes, what: str, floats: Callable[[str], object] = float
) -> Mapping[str, object]:
    """Parse ``data`` as TOML, whatever the file is called; ``floats`` as in
    :func:`loragit.parse.read_toml`. Raises :class:`CannotReadInput`."""
    return _parsed(partial(parse.read_toml, floats=floats), path, data, what)


def parse_json(path: Path, data: bytes, what: str) -> Mapping[str, object]:
    """Parse ``data`` as JSON, whatever the file is called. Raises :class:`CannotReadInput`."""
    return _parsed(parse.read_json, path, data, what)


def _parsed(
    read: Callable[[str], object], path: Path, data: bytes, what: str
) -> Mapping[str, object]:
    try:
        table = read(read_text(path, data, what))
    except ValueError as error:
        raise CannotReadInput(
            f"the {what} {path} does not parse: {error}", hint="correct it and start again"
        ) from error
    if not isinstance(table, dict):
        raise CannotReadInput(f"the {what} {path} holds no table")
    return table
