"""Moves of refs that are noted before git makes them, and made whole if git or loragit is killed
meanwhile.

git moves the refs of one transaction one after the other (files backend: all locks first, then a
rename each, deletions last), so that a kill leaves some moved, some not, and locks that nobody
removes. The note, ``.git/loragit/moves/<host>.<pid>.toml``, is written while git waits for its
orders: it says what was to move where, and which process was to do it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.crash_points import Step, reached
from loragit.errors import LoragitError
from loragit.git.refs import NotDurable, RefUpdate
from loragit.git.repository import Repository
from loragit.system import alive, durable

QUIET = 10.0
"""Seconds after which an empty lock of a git that is gone counts as left behind. git holds one for
milliseconds."""
_PAUSE = 0.25
"""Seconds between two looks at such a lock."""
_LEFT = "removed {}, which a git that is gone had left"
_AT_ONCE = 60.0
"""Seconds within which git takes the locks that it was told to take."""


class MoveFailed(LoragitError):
    """A note of a move cannot be written."""


class MoveStuck(LoragitError):
    """A move was made in part, and the rest cannot be made: somebody else moved those refs since,
    or the disk is full.

    Its note stays, for :func:`settle`.
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
        """Whether that git may still be at work. On another machine that cannot be told: taken as
        yes."""
        return alive.lives(self.pid, self.pid_started, self.boot, self.host) is not False


def move_refs(
    repository: Repository,
    steps: Iterable[RefUpdate],
    reason: str,
    first: Callable[[], None] = lambda: None,
    variables: tuple[str, ...] = (),
) -> NotDurable | None:
    """Move refs, all of ``steps`` or none, as :func:`loragit.git.update_refs`; and all of them if
    git is killed after it has begun. ``first`` is done while git starts; where it raises, no ref
    moves. ``variables`` are added to git's environment. Returns when they are on the disk, or why
    they may not outlast a power cut.

    Raises :class:`loragit.git.GitFailed`, :class:`MoveFailed`: nothing was moved;
    :class:`MoveStuck`.
    """
    moves = tuple(steps)
    path = _free_name(repository)
    noted: list[Noted] = []

    def begun(pid: int) -> None:
        first()
        noted.append(_note(path, moves, reason, pid))
        reached(Step.MOVE_NOTED)

    try:
        git.update_refs(moves, reason=reason, cwd=repository.top, begun=begun, variables=variables)
    except git.GitFailed as error:
        if noted:
            _free(repository, noted[0], patient=isinstance(error, git.GitKilled))
        if not (noted and _completed(repository, noted[0])):
            path.unlink(missing_ok=True)
            raise
    reached(Step.REFS_MOVED)
    unsettled = None
    try:
        git.sync_refs((step.name for step in moves), repository)
    except NotDurable as error:
        unsettled = error
    path.unlink(missing_ok=True)
    reached(Step.MOVE_FORGOTTEN)
    return unsettled


def _free_name(repository: Repository) -> Path:
    """For a note. In a container many processes have one number, and an older note may still be
    needed."""
    names = (
        f"{os.uname().nodename}.{os.getpid()}{end}.toml"
        for end in ("", *(f".{n}" for n in range(1, 100)))
    )
    paths = [_folder(repository) / name for name in names]
    return next((path for path in paths if not path.exists()), paths[0])


def _free(repository: Repository, noted: Noted, *, patient: bool) -> None:
    """Remove the locks that the git of ``noted``, which is gone, has left.

    Where they may be another's, a ``patient`` one waits until time has told.
    """
    _unlocked(repository, noted)
    for _ in range(math.ceil(QUIET / _PAUSE) + 1 if patient else 0):
        if not _in_doubt(repository, noted):
            break
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
            # One ref moves or does not, and the note only tells whose its lock was: not worth
            # waiting for the disk.
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
    """Every move that is noted; a note that is damaged was cut short before git got its orders, and
    is passed over."""
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
    """Make whole every move whose git is gone, and remove the locks that it left; what was done, a
    line each.

    To be called by whoever holds loragit's lock. When all were tried, raises the first
    :class:`MoveStuck` or :class:`loragit.git.GitFailed`.
    """
    told, failed = [_LEFT.format(path) for path in _unpacked(repository)], None
    for noted in noted_moves(repository):
        if noted.under_way:
            continue
        try:
            told += [_LEFT.format(path) for path in _unlocked(repository, noted)]
            if _completed(repository, noted):
                told.append(f"finished what a git that is gone had begun: {noted.reason}")
        except LoragitError as error:
            failed = failed or error
            continue
        if not _in_doubt(repository, noted):
            noted.path.unlink(missing_ok=True)
    if failed:
        raise failed
    return tuple(told)


def _completed(repository: Repository, noted: Noted) -> bool:
    """Whether the move was begun; then all of it is made. Raises :class:`MoveStuck`."""
    # A ref that was to stay as it was, a keep ref that somebody's interrupted run left, tells
    # nothing either.
    steps = [step for step in noted.steps if step.new != step.old]
    made = [step for step in steps if _made(repository, step)]
    # git deletes last. That a ref is gone before another was moved tells nothing: somebody else may
    # have deleted it, and git have refused for that reason.
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
            # No GitFailed: who gets that tries again from the start, and puts the same run on
            # record twice.
            raise MoveStuck(
                f"{noted.reason} was made in part, and git cannot make the rest: {error.message}",
                hint="make room, or take away what stands in the way; then: loragit recover",
            ) from error
    with suppress(NotDurable):
        git.sync_refs((step.name for step in noted.steps), repository)
    return True


def _made(repository: Repository, step: RefUpdate) -> bool:
    """Whether the ref is where ``step`` was to bring it, or has gone on from there."""
    held = git.read_ref(step.name, repository.top)
    if step.new is None or held is None:
        return step.new is None and held is None
    if step.new in (held.object, held.commit):  # a run's tag goes on when it is sealed
        return True
    return step.name.startswith("refs/heads/") and bool(
        git.is_ancestor(step.new, held.object, repository)
    )


def _locks(repository: Repository, noted: Noted) -> Iterator[tuple[Path, str | None]]:
    """The locks that git takes for a move, with what it writes into each: of a list of refs that is
    not known."""
    for step in noted.steps:
        yield repository.common_dir / f"{step.name}.lock", step.new or ""
    yield repository.common_dir / "packed-refs.lock", None


def _unlocked(repository: Repository, noted: Noted) -> tuple[Path, ...]:
    """Remove the locks that the git of ``noted``, which is gone, has left: those alone that it can
    have made."""
    removed = []
    for lock, content in _locks(repository, noted):
        with suppress(OSError):
            if _may_be_its(lock, content, noted) and _quiet(lock, content, noted):
                if lock.name == "packed-refs.lock":
                    lock.with_suffix(".new").unlink(missing_ok=True)
                lock.unlink()
                reached(Step.LOCK_REMOVED)
                removed.append(lock)
    return tuple(removed)


def _unpacked(repository: Repository) -> tuple[Path, ...]:
    """Remove the new list of refs that a killed git has left, and that keeps every git from
    deleting or packing refs.

    It is written by whoever holds packed-refs.lock: without a lock it is nobody's.
    """
    path = repository.common_dir / "packed-refs.new"
    with suppress(OSError):
        then = path.stat()
        if os.path.lexists(path.with_suffix(".lock")):
            return ()
        now = path.stat()  # the very one, not that of a git that has begun since
        if (then.st_ino, then.st_mtime_ns) == (now.st_ino, now.st_mtime_ns):
            path.unlink()
            return (path,)
    return ()


def _in_doubt(repository: Repository, noted: Noted) -> bool:
    """Whether a lock is left that only time will tell to be of the git of ``noted``, or not."""
    for lock, content in _locks(repository, noted):
        with suppress(OSError):
            if _may_be_its(lock, content, noted):
                return True
    return False


def _may_be_its(lock: Path, content: str | None, noted: Noted) -> bool:
    """Whether ``lock`` can have been made by the git of ``noted``. Raises OSError where there is
    none.

    git writes the new value into the lock of a ref before it moves any, and nobody else wants to
    move the ref to an object that no ref leads to.
    """
    status = lock.stat()
    if content is not None and status.st_size:
        return lock.read_bytes().strip() == content.encode()
    return noted.time - 1 <= status.st_mtime <= noted.time + _AT_ONCE


def _quiet(lock: Path, content: str | None, noted: Noted) -> bool:
    """Whether nobody can hold ``lock`` any more. Raises OSError where there is none."""
    status = lock.stat()
    told = content is not None and status.st_size > 0
    return told or alive.rebooted_since(noted.boot) or time.time() - status.st_mtime > QUIET
