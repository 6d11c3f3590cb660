"""Runs in progress: one small file a run under ``.git/loragit/open/``, written before anything else
of it.

It tells a later command whose run it was and whether that process still lives, also on another
machine that shares the repository, and all that ``loragit recover`` needs to finish the run in its
place. Each change of it is on the disk before work goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from loragit.errors import LoragitError
from loragit.system import durable

T = TypeVar("T")


class JournalFailed(LoragitError):
    """The note about a run in progress cannot be written."""


class TrainerProcess(NamedTuple):
    """The trainer's process, which leads a group of its own."""

    pid: int
    pid_started: str
    """As in :class:`Open`."""


class Work(NamedTuple):
    """What has to be known to finish a run."""

    files: tuple[tuple[str, str], ...]
    """What loragit puts into the output folder: path relative to it, and the bytes' sha256 in
    hex."""
    output_name: str
    """What the models are called; empty where any name counts."""
    prompts: str
    """Path in the output folder of the prompts that the trainer reads; empty for none."""
    log_folder: str
    """Where the trainer logs for TensorBoard, absolute; empty where it does not."""
    log_prefix: str
    log_before: tuple[str, ...]
    """Log folders with that prefix that were there before."""
    on_empty: str
    """``revert``, ``delete-tag`` or ``keep``."""
    sign: bool | None
    """Whether the sealed tag is to be signed; ``None`` for as git's ``tag.gpgSign`` says."""
    home: str
    """The home folder, which a record shows as ``~``."""
    trainer_kind: str = ""
    """Empty in the entry of an older loragit, which knew one trainer alone."""


class End(NamedTuple):
    """How the trainer ended, or why it never began."""

    started: str
    """UTC, as :meth:`datetime.isoformat` has it."""
    finished: str
    exit_status: int | None
    """As a shell reports it; ``None`` where nobody was there to hear it."""
    interrupted_by: str = ""
    """Name of the signal that ended it, as in ``SIGINT``; ``crash`` where nobody was there."""
    not_started: str = ""
    """Why the trainer was not started; empty where it was."""


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
    commit: str = ""
    """The run's commit, from before any ref leads to it; empty before that."""
    inode: tuple[int, int] = (0, 0)
    """Device and inode of the output folder; zeros before it is known."""
    work: Work | None = None
    """``None`` in the note of an older loragit."""
    trainer: TrainerProcess | None = None
    """``None`` before it was started."""
    end: End | None = None
    """``None`` before it ended."""
    space: str = ""
    """Which processes are counted together with it: those of a container are not with those of its
    host."""


def write(folder: Path, note: Open) -> None:
    """On return the note is on the disk. Raises :class:`JournalFailed`."""
    import tomli_w

    path = _place(folder, note)
    table = {key: value for key, value in note._asdict().items() if value is not None}
    for key in ("work", "trainer", "end"):
        if key in table:
            table[key] = {
                name: value for name, value in table[key]._asdict().items() if value is not None
            }
    try:
        # The repository may have been moved while the run trained: what looks like one must not
        # come in its place.
        durable.make_folder(path.parent, folder.parent)
        # A folder may have any bytes in its name.
        durable.write(path, tomli_w.dumps(table).encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise JournalFailed(
            f"{path} cannot be written: {error.strerror}", hint="check the repository's disk"
        ) from error


def remove(folder: Path, note: Open) -> None:
    """Forget ``note``; nothing where it is not there."""
    with suppress(OSError):
        _place(folder, note).unlink()


def read(folder: Path) -> Iterator[Open]:
    """Every note, in the order of names; damaged ones are passed over."""
    for path in paths(folder):
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            yield _read(path)


def damaged(folder: Path) -> tuple[Path, ...]:
    """Files that should be notes and cannot be read as such."""
    found = []
    for path in paths(folder):
        try:
            _read(path)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            found.append(path)
    return tuple(found)


def paths(folder: Path) -> list[Path]:
    """The files of the notes, in the order of names."""
    try:
        return sorted((folder / "open").glob("*.toml"))
    except OSError:
        return []


def _read(path: Path) -> Open:
    """Raises one of the errors that :func:`read` passes over."""
    import tomllib

    table = tomllib.loads(path.read_text("utf-8", "surrogateescape"))
    work, trainer, end = (table.pop(key, None) for key in ("work", "trainer", "end"))
    inode = table.pop("inode", [0, 0])
    if not (
        isinstance(inode, list)
        and len(inode) == 2
        and all(isinstance(number, int) for number in inode)
    ):
        raise ValueError("inode")
    note = Open(**table)
    if not isinstance(note.pid, int) or not all(
        isinstance(value, str) for value in (*note[:2], *note[3:8], note.space)
    ):
        raise ValueError("a value of another kind")
    datetime.fromisoformat(note.started)
    return note._replace(
        inode=(inode[0], inode[1]),
        work=_work(work) if work is not None else None,
        trainer=TrainerProcess(_of(trainer, "pid", int), _of(trainer, "pid_started", str))
        if trainer is not None
        else None,
        end=_end(end) if end is not None else None,
    )


def _work(table: Mapping[str, object]) -> Work:
    files, before = _of(table, "files", list), _of(table, "log_before", list)
    return Work(
        files=tuple((str(path), str(digest)) for path, digest in files),
        output_name=_of(table, "output_name", str),
        prompts=_of(table, "prompts", str),
        log_folder=_of(table, "log_folder", str),
        log_prefix=_of(table, "log_prefix", str),
        log_before=tuple(map(str, before)),
        on_empty=_of(table, "on_empty", str),
        sign=_of(table, "sign", bool) if "sign" in table else None,
        home=_of(table, "home", str),
        trainer_kind=_of(table, "trainer_kind", str) if "trainer_kind" in table else "",
    )


def _end(table: Mapping[str, object]) -> End:
    started, finished = _of(table, "started", str), _of(table, "finished", str)
    for moment in (started, finished):
        datetime.fromisoformat(moment)
    return End(
        started=started,
        finished=finished,
        exit_status=_of(table, "exit_status", int) if "exit_status" in table else None,
        interrupted_by=_of(table, "interrupted_by", str),
        not_started=_of(table, "not_started", str),
    )


def _of(table: Mapping[str, object], key: str, kind: type[T]) -> T:
    value = table[key]
    if not isinstance(value, kind):
        raise TypeError(key)
    return value


def _place(folder: Path, note: Open) -> Path:
    # Of two that race for a name, the loser must not take the winner's note with it.
    return folder / "open" / f"{note.run}.{note.pid}.toml"


def host() -> str:
    """Name of this machine."""
    return os.uname().nodename
