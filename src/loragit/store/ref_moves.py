"""Moves of refs that are noted before git makes them, and finished if git or loragit is killed
meanwhile.

git moves the refs of one transaction one after the other (files backend: all locks first, then a
rename each, deletions last), so a kill leaves some moved, some not, and locks that nobody removes.
The note, ``.git/loragit/moves/<host>.<pid>.toml``, is written while git waits for its orders: it
says what is to move where, and which git is to do it. A revert, step by step::

    on disk                                              if all is killed here, finish_moves
    ---------------------------------------------------  -----------------------------------
    git waits; no note, or half of one                   does nothing
    the note                                             removes the note: nothing was moved
    the note, runs.lock, v1.lock (the tag's)             removes the locks and the note
    the note, runs at the revert, v1.lock                removes the lock, deletes the tag
    the note, runs at the revert, no tag                 removes the note: all was moved
    runs at the revert, no tag                           does nothing
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.crash_points import CrashPoint, reached
from loragit.errors import LoragitError
from loragit.git.refs import NotDurable, RefUpdate
from loragit.git.repository import Repository
from loragit.system import alive, durable

QUIET = 10.0
"""Seconds after which an empty lock of a git that is gone counts as left behind; git holds a lock
for milliseconds."""
_PAUSE = 0.25
"""Seconds until such a lock is checked again."""
_LEFT = "removed {}, which a git that is gone had left"
_AT_ONCE = 60.0
"""Seconds within which git takes the locks that it needs."""


class MoveFailed(LoragitError):
    """A note of a move cannot be written."""


class MoveStuck(LoragitError):
    """Part of a move was made, and the rest cannot be: somebody else moved those refs since, or
    the disk is full.

    Its note stays, for :func:`finish_moves`.
    """


class Noted(NamedTuple):
    """A move that was begun."""

    path: Path
    """Of its note."""
    steps: tuple[RefUpdate, ...]
    reason: str
    pid: int
    """Of the git that was to make it."""
    pid_started: str
    boot: str
    host: str
    time: float
    """Seconds since 1970."""

    @property
    def under_way(self) -> bool:
        """Whether that git may still be at work: yes, if it runs on another machine."""
        return alive.lives(self.pid, self.pid_started, self.boot, self.host) is not False


def move_refs(
    repository: Repository,
    steps: Iterable[RefUpdate],
    reason: str,
    first: Callable[[], None] = lambda: None,
    variables: tuple[str, ...] = (),
) -> NotDurable | None:
    """Move refs, all of ``steps`` or none, as :func:`loragit.git.update_refs`; all of them if git
    is killed after it has begun.

    ``first`` is called while git starts; if it raises, no ref moves. ``variables`` are added to
    git's environment. Returns when the refs are on the disk, or why they may not outlast a power
    cut. Raises :class:`MoveStuck`, or :class:`loragit.git.GitFailed` and :class:`MoveFailed` if
    nothing was moved.
    """
    moves = tuple(steps)
    path = _free_name(repository)
    noted: list[Noted] = []

    def begun(pid: int) -> None:
        first()
        noted.append(_note(path, moves, reason, pid))
        reached(CrashPoint.MOVE_WRITTEN)

    try:
        git.update_refs(moves, reason=reason, cwd=repository.top, begun=begun, variables=variables)
    except git.GitFailed as error:
        if noted:
            _free(repository, noted[0], patient=isinstance(error, git.GitKilled))
        if not (noted and _completed(repository, noted[0])):
            path.unlink(missing_ok=True)
            raise
    reached(CrashPoint.REFS_MOVED)
    unsettled = None
    try:
        git.sync_refs((step.name for step in moves), repository)
    except NotDurable as error:
        unsettled = error
    path.unlink(missing_ok=True)
    reached(CrashPoint.MOVE_REMOVED)
    return unsettled


def _free_name(repository: Repository) -> Path:
    """A path for a note. In containers many processes have the same id, and the note of another may
    still be needed."""
    ends = chain(("",), (f".{number}" for number in count(1)))
    names = (f"{os.uname().nodename}.{os.getpid()}{end}.toml" for end in ends)
    paths = (_folder(repository) / name for name in names)
    return next(path for path in paths if not path.exists())


def _free(repository: Repository, noted: Noted, *, patient: bool) -> None:
    """Remove the locks that the git of ``noted``, which is gone, has left.

    Some may be another's: if ``patient``, wait until they are old enough to be nobody's.
    """
    _unlocked(repository, noted)
    end = time.monotonic() + QUIET + _PAUSE
    while patient and _in_doubt(repository, noted) and time.monotonic() < end:
        time.sleep(_PAUSE)
        _unlocked(repository, noted)


def _folder(repository: Repository) -> Path:
    return repository.private / "moves"


def _note(path: Path, steps: tuple[RefUpdate, ...], reason: str, pid: int) -> Noted:
    import tomli_w

    noted = Noted(
        path,
        steps,
        reason,
        pid,
        alive.start_time(pid) or "",
        alive.boot_id() or "",
        os.uname().nodename,
        time.time(),
    )
    table = {key: value for key, value in noted._asdict().items() if key not in ("path", "steps")}
    table["steps"] = [
        {"name": name, "new": new or "", "old": old or ""} for name, new, old in steps
    ]
    try:
        durable.make_folder(path.parent, path.parents[2])
        if len(steps) == 1:
            # One ref moves or does not, and the note only says whose lock it was: not worth a wait
            # for the disk.
            path.write_bytes(tomli_w.dumps(table).encode())
        else:
            durable.write(path, tomli_w.dumps(table).encode())
    except OSError as error:
        with suppress(OSError):
            path.unlink()  # half of it
        raise MoveFailed(
            f"{path} cannot be written: {error.strerror}", hint="check the repository's disk"
        ) from error
    return noted


def noted_moves(repository: Repository) -> Iterator[Noted]:
    """Every noted move. A damaged note was cut short before git got its orders: it is skipped."""
    import tomllib

    with suppress(OSError):
        for path in sorted(_folder(repository).glob("*.toml")):
            with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                table = tomllib.loads(path.read_text(encoding="utf-8"))
                steps = tuple(
                    RefUpdate(s["name"], s["new"] or None, s["old"] or None)
                    for s in table.pop("steps")
                )
                yield Noted(path=path, steps=steps, **table)


def finish_moves(repository: Repository) -> tuple[str, ...]:
    """Finish every move whose git is gone, and remove the locks that it left. Returns what was
    done, a line each.

    For whoever holds loragit's lock. Raises the first :class:`MoveStuck` or
    :class:`loragit.git.GitFailed` when all were tried.
    """
    done, failed = [_LEFT.format(path) for path in _unpacked(repository)], None
    for noted in noted_moves(repository):
        if noted.under_way:
            continue
        try:
            done += [_LEFT.format(path) for path in _unlocked(repository, noted)]
            if _completed(repository, noted):
                done.append(f"finished what a git that is gone had begun: {noted.reason}")
        except LoragitError as error:
            failed = failed or error
            continue
        if not _in_doubt(repository, noted):
            noted.path.unlink(missing_ok=True)
    if failed:
        raise failed
    return tuple(done)


def _completed(repository: Repository, noted: Noted) -> bool:
    """Finish the move if it was begun, and return whether it was. Raises :class:`MoveStuck`."""
    # A ref that was to stay as it was (a keep ref left by an interrupted run) tells nothing.
    steps = [step for step in noted.steps if step.new != step.old]
    made = [step for step in steps if _made(repository, step)]
    # git deletes last. A missing ref tells nothing while no other was moved: somebody else may have
    # deleted it, and git may have refused the move for that reason.
    if not made or (all(step.new is None for step in made) and any(step.new for step in steps)):
        return False
    left = [step for step in steps if step not in made]
    if not left:
        return True
    held = git.read_refs(*(step.name for step in left), cwd=repository.top)
    for step in left:
        now = held[step.name].object if step.name in held else None
        if now != step.old:
            raise MoveStuck(
                f"{noted.reason} was made in part: {step.name} is at {(now or 'nothing')[:8]}, "
                f"and should go from {(step.old or 'nothing')[:8]} to "
                f"{(step.new or 'nothing')[:8]}",
                hint=f"see who moved it: git reflog show {step.name}; then remove {noted.path}",
            )
    try:
        git.update_refs(left, reason=noted.reason, cwd=repository.top)
    except git.GitFailed as error:
        # Another loragit may have done the same meanwhile.
        if not all(_made(repository, step) for step in left):
            # Not GitFailed: whoever gets that tries again from the start, and would put the same
            # run on record twice.
            raise MoveStuck(
                f"{noted.reason} was made in part, and git cannot make the rest: {error.message}",
                hint="make room, or take away what stands in the way; then: loragit recover",
            ) from error
    with suppress(NotDurable):
        git.sync_refs((step.name for step in noted.steps), repository)
    return True


def _made(repository: Repository, step: RefUpdate) -> bool:
    """Whether the ref is where ``step`` was to move it, or has moved on from there."""
    held = git.read_ref(step.name, repository.top)
    if step.new is None or held is None:
        return step.new is None and held is None
    if step.new in (held.object, held.commit):  # a run's tag moves on when it is sealed
        return True
    return step.name.startswith("refs/heads/") and bool(
        git.is_ancestor(step.new, held.object, repository)
    )


def _locks(repository: Repository, noted: Noted) -> Iterator[tuple[Path, str | None]]:
    """The locks that git takes for a move, with what it writes into each; ``None`` if that is not
    known (the list of packed refs)."""
    for step in noted.steps:
        yield repository.common_dir / f"{step.name}.lock", step.new or ""
    yield repository.common_dir / "packed-refs.lock", None


def _unlocked(repository: Repository, noted: Noted) -> tuple[Path, ...]:
    """Remove the locks that the git of ``noted``, which is gone, has left, and no others."""
    removed = []
    for lock, content in _locks(repository, noted):
        with suppress(OSError):
            if _may_be_its(lock, content, noted) and _quiet(lock, content, noted):
                if lock.name == "packed-refs.lock":
                    lock.with_suffix(".new").unlink(missing_ok=True)
                lock.unlink()
                reached(CrashPoint.LOCK_REMOVED)
                removed.append(lock)
    return tuple(removed)


def _unpacked(repository: Repository) -> tuple[Path, ...]:
    """Remove the new list of refs that a killed git has left: it keeps every git from deleting or
    packing refs.

    Whoever holds packed-refs.lock writes it; without that lock it is nobody's.
    """
    path = repository.common_dir / "packed-refs.new"
    with suppress(OSError):
        then = path.stat()
        if os.path.lexists(path.with_suffix(".lock")):
            return ()
        now = path.stat()  # the same file, not one of a git that has begun since
        if (then.st_ino, then.st_mtime_ns) == (now.st_ino, now.st_mtime_ns):
            path.unlink()
            return (path,)
    return ()


def _in_doubt(repository: Repository, noted: Noted) -> bool:
    """Whether a lock is left that may be of the git of ``noted``; only time will tell."""
    for lock, content in _locks(repository, noted):
        with suppress(OSError):
            if _may_be_its(lock, content, noted):
                return True
    return False


def _may_be_its(lock: Path, content: str | None, noted: Noted) -> bool:
    """Whether the git of ``noted`` can have made ``lock``. Raises OSError if there is none.

    git writes the new value into a ref's lock before it moves any ref, and nobody else would move
    the ref to an object that no ref leads to.
    """
    status = lock.stat()
    if content is not None and status.st_size:
        return lock.read_bytes().strip() == content.encode()
    return noted.time - 1 <= status.st_mtime <= noted.time + _AT_ONCE


def _quiet(lock: Path, content: str | None, noted: Noted) -> bool:
    """Whether nobody can hold ``lock`` any more. Raises OSError if there is none."""
    status = lock.stat()
    names_its_value = content is not None and bool(status.st_size)
    return (
        names_its_value or alive.rebooted_since(noted.boot) or time.time() - status.st_mtime > QUIET
    )
