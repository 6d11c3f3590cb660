"""Files that go on record as they are: read whole, within bounds, and parsed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from loragit import parse
from loragit.errors import LoragitError

MAX_INPUT = 1 << 28
"""Most bytes of a file that goes on record as it is: a longer one could not be read back in one
piece either."""


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
                return file.read(MAX_INPUT)
    except OSError as error:
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


def parse_input(path: Path, data: bytes, what: str) -> Mapping[str, object]:
    """Parse ``data`` as sd-scripts does: as JSON if ``path`` ends in ``.json``, else as TOML.

    Raises :class:`CannotReadInput`, which names line and reason.
    """
    try:
        table = (
            parse.read_json(data)
            if path.suffix.lower() == ".json"
            else parse.read_toml(data.decode())
        )
    except ValueError as error:
        raise CannotReadInput(
            f"the {what} {path} does not parse: {error}", hint="correct it and start again"
        ) from error
    if not isinstance(table, dict):
        raise CannotReadInput(f"the {what} {path} holds no table")
    return table
