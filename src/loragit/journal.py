"""Runs in progress: one small file a run under ``.git/loragit/open/``, written before the run is opened.

It tells a later command whose run it was and whether that process still lives, also on another machine that
shares the repository.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError


class JournalFailed(LoragitError):
    """The note about a run in progress cannot be written."""


class Open(NamedTuple):
    """A run that some process has opened, or was about to."""

    run: str
    started: str
    """UTC, as in ``2026-11-23T17:20:30Z``."""
    pid: int
    """Of the loragit that trains."""
    pid_started: str
    """When that process began, as the system counts; empty where it cannot be told."""
    boot: str
    """Which boot of the machine; empty where it cannot be told."""
    host: str
    output: str
    """The output folder, absolute."""


def write(folder: Path, note: Open) -> None:
    """Raises :class:`JournalFailed`."""
    import tomli_w

    path = _place(folder, note)
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(tomli_w.dumps(note._asdict()), encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise JournalFailed(
            f"{path} cannot be written: {error.strerror}", hint="check the repository's disk"
        ) from error


def remove(folder: Path, note: Open) -> None:
    """Forget ``note``; nothing where it is not there."""
    with suppress(OSError):
        _place(folder, note).unlink()


def read(folder: Path) -> Iterator[Open]:
    """Every note, in the order of names; damaged ones are passed over."""
    import tomllib

    with suppress(OSError):
        for path in sorted((folder / "open").glob("*.toml")):
            with suppress(OSError, ValueError, TypeError):
                note = Open(**tomllib.loads(path.read_text(encoding="utf-8")))
                if isinstance(note.pid, int) and all(isinstance(value, str) for value in note if value is not note.pid):
                    yield note


def _place(folder: Path, note: Open) -> Path:
    # Of two that race for a name, the loser must not take the winner's note with it.
    return folder / "open" / f"{note.run}.{note.pid}.toml"


def host() -> str:
    """Name of this machine."""
    return os.uname().nodename
