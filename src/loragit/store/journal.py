"""The journal of runs in progress: one small file per run under ``.git/loragit/open/``, written
before anything else of the run.

An entry tells a later command, also on another machine that shares the repository, which process
owns the run and whether it is still alive. It holds everything ``loragit recover`` needs to finish
the run in its place. Every change of an entry is on the disk before work goes on.
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
    """The journal entry of a run in progress cannot be written."""


class TrainerProcess(NamedTuple):
    """The trainer's process, which leads its own process group."""

    pid: int
    pid_started: str
    """As in :class:`Open`."""


class HubRef(NamedTuple):
    """Weights that the trainer takes from a hub, at a revision that it may fetch anew."""

    role: str
    """The trailer that names them: ``Base-Model``."""
    name: str
    """As it is recorded."""
    file: str
    """The file of the hub's cache that holds the revision's commit, absolute."""


class Work(NamedTuple):
    """What is needed to finish a run."""

    files: tuple[tuple[str, str], ...]
    """Files that loragit writes into the output folder: path relative to the folder, and the sha256
    of the bytes in hex."""
    output_name: str
    """Output name of the models; empty if any name counts."""
    prompts: str
    """Path in the output folder of the prompts that the trainer reads; empty if there are none."""
    log_folder: str
    """The trainer's TensorBoard log folder, absolute; empty if it does not log."""
    log_prefix: str
    log_before: tuple[str, ...]
    """Log folders with that prefix that existed before."""
    on_empty: str
    """``revert``, ``delete-tag`` or ``keep``."""
    sign: bool | None
    """Whether to sign the sealed tag; ``None`` to follow git's ``tag.gpgSign``."""
    home: str
    """The home folder, written as ``~`` in a record."""
    trainer_kind: str = ""
    """Empty in an entry of an older loragit, which knew only one trainer."""
    hub_refs: tuple[HubRef, ...] = ()


class End(NamedTuple):
    """How the trainer ended, or why it never began."""

    started: str
    """UTC, in the format of :meth:`datetime.isoformat`."""
    finished: str
    exit_status: int | None
    """Exit status as a shell reports it; ``None`` if nobody was there to see it."""
    interrupted_by: str = ""
    """Name of the signal that ended it, such as ``SIGINT``; ``crash`` if nobody was there."""
    not_started: str = ""
    """Why the trainer was not started; empty if it was."""


class JournalEntry(NamedTuple):
    """A run that some process has opened or was about to open."""

    run: str
    started: str
    """UTC, such as ``2026-11-23T17:20:30Z``."""
    pid: int
    """Process ID of the loragit that trains."""
    pid_started: str
    """When that process started, in the system's own count; empty if unknown."""
    boot: str
    """Which boot of the machine it was; empty if unknown."""
    host: str
    output: str
    """The output folder, absolute."""
    commit: str = ""
    """The run's commit, entered before any ref leads to it; empty until then."""
    inode: tuple[int, int] = (0, 0)
    """Device and inode of the output folder; zeros until they are known."""
    work: Work | None = None
    """``None`` in an entry of an older loragit."""
    trainer: TrainerProcess | None = None
    """``None`` until it is started."""
    end: End | None = None
    """``None`` until it ends."""
    space: str = ""
    """Which set of processes its process ID belongs to: a container counts its processes apart from
    those of its host."""


def write(folder: Path, note: JournalEntry) -> None:
    """Write ``note`` through to the disk. Raises :class:`JournalFailed`."""
    import tomli_w

    path = _entry_path(folder, note)
    table = {key: value for key, value in note._asdict().items() if value is not None}
    for key in ("work", "trainer", "end"):
        if key in table:
            table[key] = {
                name: value for name, value in table[key]._asdict().items() if value is not None
            }
    try:
        # The repository may have been moved while the run trained: nothing that looks like a
        # repository may be created in its place.
        durable.make_folder(path.parent, folder.parent)
        # A folder's name may contain any bytes.
        durable.write(path, tomli_w.dumps(table).encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise JournalFailed(
            f"{path} cannot be written: {error.strerror}", hint="check the repository's disk"
        ) from error


def remove(folder: Path, note: JournalEntry) -> None:
    """Remove the entry ``note``; do nothing if there is none."""
    with suppress(OSError):
        _entry_path(folder, note).unlink()


def read(folder: Path) -> Iterator[JournalEntry]:
    """Yield every entry, sorted by file name; damaged ones are skipped."""
    for path in paths(folder):
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            yield _read(path)


def damaged(folder: Path) -> tuple[Path, ...]:
    """Return the files that should be entries but cannot be read as such."""
    found = []
    for path in paths(folder):
        try:
            _read(path)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            found.append(path)
    return tuple(found)


def paths(folder: Path) -> list[Path]:
    """Return the entries' files, sorted by name."""
    try:
        return sorted((folder / "open").glob("*.toml"))
    except OSError:
        return []


def _read(path: Path) -> JournalEntry:
    """Read one entry. Raises one of the errors that :func:`read` skips."""
    import tomllib

    table = tomllib.loads(path.read_text("utf-8", "surrogateescape"))
    work, trainer, end = (table.pop(key, None) for key in ("work", "trainer", "end"))
    inode = table.pop("inode", [0, 0])
    if len(inode) != 2 or not all(isinstance(number, int) for number in inode):
        raise ValueError("inode")
    note = JournalEntry(**table)
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
        hub_refs=tuple(HubRef(*map(str, row)) for row in _of(table, "hub_refs", list))
        if "hub_refs" in table
        else (),
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


def _entry_path(folder: Path, note: JournalEntry) -> Path:
    # When two processes race for a name, the loser must not remove the winner's entry.
    return folder / "open" / f"{note.run}.{note.pid}.toml"


def host() -> str:
    """Return the name of this machine."""
    return os.uname().nodename
