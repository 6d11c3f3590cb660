"""Whether a run's name is free, and whether ``runs`` can be appended to. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from loragit import git
from loragit.git.refs import Ref, RefUpdate
from loragit.git.repository import Repository
from loragit.record.name import RUNS, RunName

FORMAT = "\nLoragit-Format: "
"""Found in every commit message of loragit's."""
_ORIGIN = "refs/remotes/origin/runs"
_MOST = 1 << 20
"""Bytes of a message that are read; ours have a hundredth of that, and in a clone it may have any
length."""


class NameState(NamedTuple):
    """What the repository holds that a run of one name depends on."""

    runs: str | None
    """Commit of ``runs``; ``None`` before the first run."""
    origin: str | None
    """Commit of ``origin``'s ``runs`` in a clone without a ``runs`` of its own: the history to go
    on from."""
    taken: str | None
    """Why the name cannot be used, or ``None``."""
    blocked: str | None
    """Why ``runs`` cannot be appended to, or ``None``."""
    unblock: str
    """What to do about that."""
    keep: str | None
    """What the name's keep ref holds, left by an interrupted run; ``None`` if there is none."""


class NameQuestion:
    """Asks git what :class:`NameState` holds, for one name."""

    def __init__(self, repository: Repository, name: RunName) -> None:
        self._name = name
        self._refs = git.RefsQuestion(*_concerned(name), cwd=repository.top)
        self._tip = _start_tip(repository)

    def answer(self) -> NameState:
        return _name_state(self._name, self._refs.answer(), ours=_is_ours(self._tip))


def name_state(repository: Repository, name: RunName) -> NameState:
    """Whether a run ``name`` could be opened now."""
    return NameQuestion(repository, name).answer()


class NameStates:
    """The :class:`NameState` of any name, as the refs were when they were read last."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.refresh()

    def refresh(self) -> None:
        """Read the refs again."""
        top = self._repository.top
        tip = _start_tip(self._repository)
        self._refs = git.read_refs("refs/heads", "refs/tags", "refs/loragit/keep", _ORIGIN, cwd=top)
        self._ours = _is_ours(tip)

    def of(self, name: RunName) -> NameState:
        return _name_state(name, self._refs, ours=self._ours)

    def apply(self, updates: Iterable[RefUpdate]) -> None:
        """``updates``, which delete nothing, were made since."""
        self._refs |= {name: Ref(name, new, new, "") for name, new, _ in updates if new is not None}


def _start_tip(repository: Repository) -> git.Question:
    return git.start("log", "-1", "--format=%P%n%B", RUNS, "--", cwd=repository.top)


def _is_ours(tip: git.Question) -> bool:
    """Whether the tip that :func:`_start_tip` asked for is a run, a revert, or a merge of two
    branches ``runs``.

    One that cannot be read counts as ours: whoever builds on it finds out that it is damaged.
    """
    commit = tip.beginning(_MOST).decode("utf-8", "replace")
    parents, _, message = commit.partition("\n")
    return not commit or " " in parents or FORMAT in message


def _concerned(name: RunName) -> tuple[str, ...]:
    """Refs that :class:`NameState` is made of; git also matches those below them."""
    return (RUNS, _ORIGIN, name.tag, f"refs/heads/{name}", name.keep_ref)


def _name_state(name: RunName, found: Mapping[str, Ref], *, ours: bool) -> NameState:
    branch = f"refs/heads/{name}"
    runs = found.get(RUNS)
    blocked = None
    unblock = (
        "check out another branch there (or git worktree prune, if it is gone): runs is "
        "loragit's to write"
    )
    if runs is not None and runs.worktree:
        blocked = f"the branch runs is checked out in {runs.worktree}"
    elif below := next((ref for ref in found if ref.startswith(RUNS + "/")), None):
        blocked = f"git cannot have a branch runs beside {below}"
        unblock = f"rename it: git branch -m {below.removeprefix('refs/heads/')} OTHER-NAME"
    elif not ours:
        blocked = "there is a branch runs that loragit did not make"
        unblock = "rename it: git branch -m runs my-runs"
    taken = None
    if name.tag in found:
        taken = f"run {name} already exists" if runs else f"there is a tag {name} already"
    elif branch in found:
        taken = f"there is a branch called {name}: git would not know which one is meant"
    else:
        below = next((ref for ref in found if ref.startswith((name.tag + "/", branch + "/"))), None)
        taken = f"git cannot have {name} beside {below}" if below else None
    keep = found[name.keep_ref].object if name.keep_ref in found else None
    origin = found[_ORIGIN].commit if runs is None and _ORIGIN in found else None
    return NameState(runs.commit if runs else None, origin, taken, blocked, unblock, keep)


def names_taken(repository: Repository) -> frozenset[str]:
    """Short names of every tag."""
    return frozenset(
        ref.removeprefix("refs/tags/") for ref in git.read_refs("refs/tags", cwd=repository.top)
    )
