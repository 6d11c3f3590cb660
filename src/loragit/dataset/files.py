"""The files of a folder: listed and read, whatever bytes their names are made of.

Names are plain ``str`` as :mod:`os` gives them (surrogateescape).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from loragit.errors import LoragitError
from loragit.text import listed

_NAMED = 10
"""Files that an error names; the rest are counted."""


class CannotRead(LoragitError):
    """Files or a folder that are gone, may not be read, or are of another kind."""

    def __init__(self, folder: str, reasons: Sequence[tuple[str, str]]) -> None:
        """``reasons`` has the name of each file, relative to ``folder`` ("" for the folder itself),
        and why it cannot be read."""
        where = [
            (_printable(str(Path(folder, name)) if len(reasons) == 1 else name), why)
            for name, why in reasons
        ]
        named = listed([f"{name} ({why})" for name, why in where], _NAMED)
        many = f"{len(where)} files of {_printable(folder)}: " if len(where) > 1 else ""
        super().__init__(
            f"cannot read {many}{named}",
            hint="check that they are still there and that you may read them",
        )


def list_files(folder: Path) -> list[str]:
    """Return the names of the files directly in ``folder``, sorted by their bytes.

    A link to a file counts as a file. Raises :class:`CannotRead` if the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return _sorted(
                [e.name for e in entries if e.is_file(follow_symlinks=False) or _is_file(e)]
            )
    except OSError as error:
        raise CannotRead(str(folder), [("", failure_reason(error))]) from error


def _sorted(names: list[str]) -> list[str]:
    """Sort by bytes, as text does that holds no surrogates in the place of other bytes."""
    return sorted(names) if "".join(names).isascii() else sorted(names, key=os.fsencode)


def read_files(folder: Path, names: Iterable[str]) -> list[bytes]:
    """Return the content of each file, in the order of ``names`` (relative to ``folder``).

    Meant for small files. Raises :class:`CannotRead`, naming all that cannot be read.
    """
    contents: list[bytes] = []
    failures: list[tuple[str, str]] = []
    directory = open_folder(folder)
    try:
        for name in names:
            try:
                contents.append(_read_whole(name, directory))
            except (OSError, ValueError) as error:
                failures.append((name, failure_reason(error)))
    finally:
        os.close(directory)
    if failures:
        raise CannotRead(str(folder), failures)
    return contents


def open_folder(folder: Path) -> int:
    try:
        # O_PATH: the right to pass through the folder is enough, without that to list it.
        return os.open(folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    except OSError as error:
        raise CannotRead(str(folder), [("", failure_reason(error))]) from error


def _read_whole(name: str, directory: int) -> bytes:
    handle = os.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        parts = []
        while part := os.read(handle, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself, or through a folder that may not be entered
        return False


def failure_reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # A NUL in the name: Python's words for it differ from version to version.
    return str(error) if isinstance(error, UnicodeError) else "embedded null byte"


def _printable(name: str) -> str:
    """Return ``name`` as one line that any terminal can show."""
    return name if name.isprintable() else ascii(name)
