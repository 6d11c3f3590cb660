"""The runs branch of a dataset's repository: open a run, seal it, revert it, read what is there.

pygit2 writes the objects, git moves the refs, always by compare-and-swap (docs/design.md, "Who does what").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import git, lock, notes, signing, text, trailers
from loragit.errors import LoragitError
from loragit.git import Ref, RefUpdate, Repository
from loragit.names import RUNS, RunName
from loragit.record import Identity, Outcome, Run
from loragit.repo import Objects
from loragit.signing import CannotSign

_ATTEMPTS = 40
"""How often a lost race is tried again. Each loss means that somebody else's update went through."""

_LASTING = (
    "Permission denied",
    "Read-only file system",
    "No space left on device",
    "Disk quota exceeded",
    "aborted by hook",
    "cannot create",
)
"""What git's message holds where trying again is no use (strerror(3) in the C locale)."""


class RunExists(LoragitError):
    """The name is taken."""


class RunsUnusable(LoragitError):
    """``runs`` cannot be appended to."""


class SealFailed(LoragitError):
    """The outcome could not be written; the run stays open on record."""


class Opened(NamedTuple):
    """A run on record whose outcome is still to come."""

    run: Run
    commit: str
    """The run's commit on ``runs``."""


class Place(NamedTuple):
    """What the repository holds where a run of this name would go."""

    runs: str | None
    """Commit of ``runs``; ``None`` before the first run."""
    origin: str | None
    """Commit of ``origin``'s ``runs`` in a clone that has no ``runs`` of its own yet: the history to go on from."""
    taken: str | None
    """Why the name cannot be used, or ``None``."""
    blocked: str | None
    """Why ``runs`` cannot be appended to, or ``None``."""
    unblock: str
    """What to do about that."""
    keep: str | None
    """What the name's keep ref holds, left over from somebody's interrupted run; ``None`` where there is none."""


class PlaceQuestion:
    """Whether a run could be opened now, under way from the start. Writes nothing."""

    def __init__(self, repository: Repository, name: RunName) -> None:
        self._name = name
        self._refs = git.RefsQuestion(*_concerned(name), cwd=repository.top)
        self._message = git.start("log", "-1", "--format=%P%n%B", RUNS, "--", cwd=repository.top)

    def answer(self) -> Place:
        found = self._refs.answer()
        parents, _, message = self._message.reply().out.decode("utf-8", "replace").partition("\n")
        # A tip of ours is a run, a revert, or a merge of two such branches.
        return _place(self._name, found, ours=" " in parents or _FORMAT in message)


def look(repository: Repository, name: RunName) -> Place:
    """Whether a run ``name`` could be opened now. Writes nothing."""
    return PlaceQuestion(repository, name).answer()


_FORMAT = "\nLoragit-Format: "
_ORIGIN = "refs/remotes/origin/runs"


def _concerned(name: RunName) -> tuple[str, ...]:
    """Refs that decide whether ``name`` is free, and what it is built on."""
    return (RUNS, _ORIGIN, name.tag, f"refs/heads/{name}", name.keep)


def _place(name: RunName, found: Mapping[str, Ref], *, ours: bool) -> Place:
    branch = f"refs/heads/{name}"
    runs = found.get(RUNS)
    blocked = None
    unblock = "check out another branch there (or git worktree prune, if it is gone): runs is loragit's to write"
    if runs is not None and runs.worktree:
        blocked = f"the branch runs is checked out in {runs.worktree}"
    elif below := next((ref for ref in found if ref.startswith(RUNS + "/")), None):
        blocked = f"git cannot have a branch runs beside {below}"
        unblock = f"rename it: git branch -m {below.removeprefix('refs/heads/')} OTHER-NAME"
    elif runs is not None and not ours:
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
    keep = found[name.keep].object if name.keep in found else None
    origin = found[_ORIGIN].commit if runs is None and _ORIGIN in found else None
    return Place(runs.commit if runs else None, origin, taken, blocked, unblock, keep)


def names_taken(repository: Repository) -> frozenset[str]:
    """Short names of every tag."""
    return frozenset(ref.removeprefix("refs/tags/") for ref in git.refs("refs/tags", cwd=repository.top))


class Store:
    """The record in one repository. Objects are written through pygit2, opened on first use."""

    def __init__(self, repository: Repository, author: Identity, committer: Identity) -> None:
        self.repository = repository
        self._author = author
        self._committer = committer
        self._opened: Objects | None = None

    @property
    def _objects(self) -> Objects:
        if self._opened is None:
            self._opened = Objects(self.repository.git_dir)
        return self._opened

    def open(self, run: Run) -> Opened:
        """One commit on ``runs``, one tag on it, one ref that keeps the dataset's commit: all three or none.

        Raises :class:`RunExists`, :class:`RunsUnusable`, :class:`loragit.git.GitFailed`.
        """
        name = RunName.parse(run.name)
        message = text.message(run)
        entries = (*run.entries, text.run_toml(run))

        def attempt() -> tuple[str, list[RefUpdate]]:
            place = self._free_place(name)
            tip = place.runs or self._ours(place.origin)
            like = self._objects.subtree(tip, run.prefix) if tip else None
            tree = self._objects.graft(self._tree(tip), run.prefix, self._objects.tree(entries, run.kept, like))
            commit = self._objects.commit(tree, [tip] if tip else [], message, *self._now())
            steps = [RefUpdate(RUNS, commit, place.runs), RefUpdate(name.tag, commit, None)]
            if run.dataset_commit:
                steps.append(RefUpdate(name.keep, run.dataset_commit, place.keep))
            return commit, steps

        return Opened(run, self._move(attempt, f"loragit: open {name}", lambda: None))

    def _ours(self, commit: str | None) -> str | None:
        """``commit`` if loragit wrote it."""
        return commit if commit and _FORMAT in self._objects.read_commit(commit).message else None

    def _free_place(self, name: RunName) -> Place:
        """Raises :class:`RunExists`, :class:`RunsUnusable`."""
        place = look(self.repository, name)
        if place.taken:
            raise RunExists(place.taken, hint=f"see it with: loragit show {name}; take the next with --bump")
        if place.blocked:
            raise RunsUnusable(place.blocked, hint=place.unblock)
        return place

    def seal(self, opened: Opened, outcome: Outcome, *, sign: bool = False) -> CannotSign | None:
        """Replace the run's tag by an annotated one that carries ``outcome``, signed with the user's key if ``sign``.

        An outcome is worth more than a signature: where the tag cannot be signed it is written without one, and why is
        returned. Raises :class:`SealFailed`.
        """
        name = RunName.parse(opened.run.name)
        _, tagger = self._now()
        message = text.outcome_message(name.text, outcome)
        tag, unsigned = "", None
        if sign:
            try:
                tag = signing.signed_tag(self.repository, name.text, opened.commit, message, tagger)
            except CannotSign as error:
                unsigned = error
        tag = tag or self._objects.tag(name.text, opened.commit, message, tagger)
        steps = [RefUpdate(name.tag, tag, opened.commit)]
        self._move(lambda: (tag, steps), f"loragit: seal {name}", lambda: self._still_open(opened))
        return unsigned

    def revert(self, opened: Opened, exit_status: int, reason: str, log_tail: tuple[str, ...]) -> str:
        """Take back a run that made nothing: a commit says why, the tag is deleted, the name is free.

        The commit's tree is that of the newest standing run of the same dataset. Returns the commit. Raises
        :class:`SealFailed`.
        """
        run = opened.run
        message = text.revert_message(run, opened.commit, exit_status, reason, log_tail)

        def attempt() -> tuple[str, list[RefUpdate]]:
            tip = self._ref(RUNS)
            standing = self._standing_tree(tip or opened.commit, run.prefix, opened.commit)
            tree = self._objects.graft(self._tree(tip), run.prefix, standing)
            commit = self._objects.commit(tree, [tip] if tip else [], message, *self._now())
            return commit, [RefUpdate(RUNS, commit, tip), *self._frees(opened)]

        return self._move(attempt, f"loragit: revert {run.name}", lambda: self._still_open(opened))

    def delete_tag(self, opened: Opened) -> None:
        """Free the name and leave the commit on ``runs`` as it is (``on_empty = "delete-tag"``).

        Raises :class:`SealFailed`.
        """
        self._move(
            lambda: ("", self._frees(opened)),
            f"loragit: delete tag {opened.run.name}",
            lambda: self._still_open(opened),
        )

    def note(self, commit: str, lines: tuple[str, ...]) -> None:
        """Append ``lines`` to the note on ``commit``; what is there is kept. Raises :class:`loragit.git.GitFailed`.

        Not by ``git notes``, which loses notes that others write at the same time: it moves the ref without looking.
        """

        def attempt() -> tuple[str, list[RefUpdate]]:
            tip = self._ref(notes.REF)
            tree = self._tree(tip)
            data = notes.appended(self._objects.note(tree, commit), lines)
            message = "Notes added by loragit\n"
            made = self._objects.commit(
                self._objects.with_note(tree, commit, data), [tip] if tip else [], message, *self._now()
            )
            return made, [RefUpdate(notes.REF, made, tip)]

        self._move(attempt, f"loragit: note on {commit[:8]}", lambda: None)

    def _frees(self, opened: Opened) -> list[RefUpdate]:
        name = RunName.parse(opened.run.name)
        keep = self._ref(name.keep)
        steps = [RefUpdate(name.tag, None, opened.commit)]
        return steps + ([RefUpdate(name.keep, None, keep)] if keep else [])

    def _still_open(self, opened: Opened) -> None:
        """Raises :class:`SealFailed` where somebody else moved or deleted the run's tag meanwhile."""
        tag = RunName.parse(opened.run.name).tag
        if self._ref(tag) != opened.commit:
            raise SealFailed(
                f"the run's tag was moved or deleted while it ran; its commit is {opened.commit[:8]}",
                hint=f"see what moved it: git reflog show {tag}",
            )

    def _move(
        self, attempt: Callable[[], tuple[str, list[RefUpdate]]], reason: str, still_wanted: Callable[[], None]
    ) -> str:
        """Move refs as ``attempt`` says; after a lost race, or while another holds a lock, again from what is then.

        Returns what ``attempt`` named beside its last steps. ``still_wanted`` raises where trying again is no use.
        """
        with lock.hold(self._lock):
            for number in range(1, _ATTEMPTS + 1):
                result, steps = attempt()
                try:
                    git.update_refs(steps, reason=reason, cwd=self.repository.top)
                except git.GitFailed as error:
                    # git may have been ended after it had done its work.
                    if all(self._ref(step.name) == step.new for step in steps):
                        return result
                    still_wanted()
                    if number == _ATTEMPTS or any(lasting in error.message for lasting in _LASTING):
                        raise
                    # Longer after each loss, at most 0.5 s: about 15 s in all.
                    time.sleep(min(0.005 * 2**number, 0.5))
                else:
                    return result
        raise AssertionError("the last attempt raises")

    def _standing_tree(self, tip: str, prefix: str, but: str) -> str | None:
        """Tree, at ``prefix``, of the newest run of that dataset whose tag stands, other than ``but``."""
        place = text.dataset_path(prefix)
        for commit in self._objects.history(tip):
            if commit.id == but:
                continue
            found = trailers.parse(commit.message)
            name = found.get("Run", ("",))[0]
            if not name or "Reverts" in found or found.get("Dataset-Path", ("",))[0] != place:
                continue
            if self._objects.tag_commit(f"refs/tags/{name}") == commit.id:
                return self._objects.subtree(commit.id, prefix)
        return None

    @property
    def _lock(self) -> Path:
        return self.repository.private / "lock"

    def _tree(self, tip: str | None) -> str | None:
        return self._objects.read_commit(tip).tree if tip else None

    def _ref(self, name: str) -> str | None:
        found = git.refs(name, cwd=self.repository.top).get(name)
        return found.object if found else None

    def _now(self) -> tuple[Identity, Identity]:
        """Author and committer at this moment; a training took hours since they were asked for."""
        now = int(time.time())
        return self._author.at(now), self._committer.at(now)
