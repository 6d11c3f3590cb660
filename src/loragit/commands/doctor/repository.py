"""Checks of the dataset's repository: its hook, the branch ``runs``, what interruptions left, and
what was never pushed."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from loragit import git
from loragit.commands import hook
from loragit.commands.doctor.check import INSTALLATION, RECORD, Check, Checks
from loragit.commands.hook import files
from loragit.errors import LoragitError
from loragit.git.repository import Repository
from loragit.history import history
from loragit.record.name import RUNS, RunName
from loragit.store import journal
from loragit.store.free_name import NameQuestion
from loragit.text import count

STALE = 10 * 60
"""Seconds after which a lock counts as left by a killed git. A large commit takes less."""

_ORIGIN = "refs/remotes/origin/runs"
_LOCKED = ("packed-refs", "HEAD", "index", "config", "shallow")
"""Files of a git folder that git locks as ``NAME.lock``."""


def repository_checks(repository: Repository, free: RunName) -> tuple[Check, ...]:
    """The checks of the record. ``free`` is any name that no run has. Writes nothing.

    Raises :class:`~loragit.git.GitFailed`.
    """
    found = Checks(RECORD)
    _check_branch(found, repository, free)
    _check_interrupted(found, repository)
    _check_locks(found, repository)
    _check_origin(found, repository)
    return found.all()


def _check_branch(found: Checks, repository: Repository, free: RunName) -> None:
    place = NameQuestion(repository, free).answer()
    if place.blocked:
        found.fail("runs", place.blocked, place.unblock)
    elif place.runs is None:
        found.ok("runs", f"no run on record yet in {repository.top}")
    else:
        number = git.run("rev-list", "--count", "--first-parent", RUNS, "--", cwd=repository.top)
        found.ok(
            "runs",
            f"runs is at {place.runs[:8]}, {count(int(number), 'commit')}, in {repository.top}",
        )


def _check_interrupted(found: Checks, repository: Repository) -> None:
    gone = [note for note in journal.read(repository.private) if not history.may_be_alive(note)]
    for note in gone:
        found.warn(
            "interrupted runs",
            f"{note.run} was interrupted: its loragit, process {note.pid} since {note.started}, "
            "is gone",
            "finish it with: loragit recover",
        )
    if not gone:
        found.ok("interrupted runs", "no run was interrupted")


def _check_locks(found: Checks, repository: Repository) -> None:
    """Warn of locks of git that are too old to be in use."""
    stale = [(lock, age) for lock, age in _locks_with_age(repository) if age > STALE]
    for lock, age in stale:
        found.warn(
            "locks",
            f"{lock} is {round(age / 60)} minutes old: a git that was killed left it, and it "
            "blocks others",
            f"if no git is at work there: rm {shlex.quote(str(lock))}",
        )
    if not stale:
        found.ok("locks", "no lock of a killed git is left")


def _locks_with_age(repository: Repository) -> Iterator[tuple[Path, float]]:
    """Every lock with its age in seconds."""
    now = time.time()
    for lock in _lock_files(repository):
        try:
            yield lock, now - lock.stat().st_mtime
        except OSError:  # gone: it was in use
            continue


def _lock_files(repository: Repository) -> Iterator[Path]:
    for folder in dict.fromkeys((repository.git_dir, repository.common_dir)):
        yield from (folder / f"{name}.lock" for name in _LOCKED)
    # This keeps git from deleting refs, lock or no lock.
    yield repository.common_dir / "packed-refs.new"
    for place, _, names in os.walk(repository.common_dir / "refs"):
        yield from (Path(place, name) for name in sorted(names) if name.endswith(".lock"))


def _check_origin(found: Checks, repository: Repository) -> None:
    """Whether ``origin`` has the same ``runs``, as of the last fetch or push."""
    top = repository.top
    refs = git.read_refs(RUNS, _ORIGIN, cwd=top)
    if RUNS not in refs or git.call("config", "--get", "remote.origin.url", cwd=top).status != 0:
        return
    push = "share it: git push --follow-tags origin runs"
    if _ORIGIN not in refs:
        found.warn("origin", "runs was never pushed to origin", push)
        return
    numbers = git.run(
        "rev-list", "--left-right", "--count", f"{RUNS}...{_ORIGIN}", "--", cwd=top
    ).split()
    ahead, behind = (int(number) for number in numbers)
    if ahead and behind:
        apart = (
            f"runs and origin/runs have diverged: {count(ahead, 'commit')} here, "
            f"{count(behind, 'commit')} there"
        )
        found.warn(
            "origin",
            apart,
            "keep both, and force neither: nothing is lost as long as both are there",
        )
    elif behind:
        found.warn(
            "origin",
            f"origin/runs has {count(behind, 'commit')} more",
            "git fetch origin runs:runs",
        )
    elif ahead:
        found.warn("origin", f"{count(ahead, 'commit')} of runs not pushed to origin", push)
    else:
        found.ok("origin", "runs is at origin as it is here")


def hook_checks(folder: Path) -> tuple[Check, ...]:
    found = Checks(INSTALLATION)
    try:
        now = files.status(folder)
    except LoragitError as error:
        found.warn("hook", error.message, error.hint)
        return found.all()
    first, *rest = hook.lines(now)
    if now.installed and now.startable and now.state is files.State.CURRENT:
        found.ok("hook", f"the pre-commit hook is {first}")
    else:
        here, aside = (
            shlex.quote(str(path))
            for path in (now.path, now.path.with_name(f"{files.PRE_COMMIT}.edited"))
        )
        kept = f"mv {here} {aside} && " if now.state is files.State.EDITED else ""
        found.warn(
            "hook",
            "; ".join((f"the pre-commit hook is {first}", *rest)),
            f"{kept}loragit hook install",
        )
    return found.all()
