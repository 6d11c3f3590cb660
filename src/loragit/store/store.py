"""The runs branch of a dataset's repository: open a run, seal it, revert it, read what is there.

pygit2 writes the objects, git moves the refs, always by compare-and-swap (docs/design.md, "Who does
what").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.crash_points import Step, reached
from loragit.errors import LoragitError
from loragit.git import hook_trace, signing
from loragit.git.objects import Objects
from loragit.git.refs import NotDurable, RefUpdate
from loragit.git.repository import Repository
from loragit.git.signing import CannotSign
from loragit.record import imported, notes, run_toml, trailers
from loragit.record.message import (
    dataset_path,
    outcome_message,
    revert_message,
    run_message,
    run_subject,
)
from loragit.record.name import RUNS, RunName
from loragit.record.values import Entry, Identity, Imported, Opened, Outcome, Run
from loragit.store import lock, ref_moves
from loragit.store.free_name import FORMAT, Place, Places, look
from loragit.store.patience import ENDING, OPENING, Patience, Tell, lasting, next_step
from loragit.system import signals


class RunExists(LoragitError):
    """The name is taken."""


class RunsUnusable(LoragitError):
    """``runs`` cannot be appended to."""


class SealFailed(LoragitError):
    """The outcome could not be written; the run stays open on record."""


class BroughtIn(NamedTuple):
    """An imported run, and how that went."""

    run: Imported
    commit: str | None
    failure: LoragitError | None
    """Why it is not on record."""


class Store:
    """The record in one repository. Objects are written through pygit2, opened on first use."""

    def __init__(
        self,
        repository: Repository,
        author: Identity,
        committer: Identity,
        *,
        tell: Tell = lambda _: None,
    ) -> None:
        """``tell`` hears of a wait that is longer than a moment, and for what."""
        self.repository = repository
        self._tell = tell
        self._author = author
        self._committer = committer
        self._opened: Objects | None = None
        self.unsettled: NotDurable | None = None
        """Why the last of the refs that were moved may not outlast a power cut."""

    @property
    def _objects(self) -> Objects:
        if self._opened is None:
            self._opened = Objects(self.repository.git_dir)
        return self._opened

    def open(self, run: Run, about_to: Callable[[str], None] = lambda _: None) -> Opened:
        """One commit on ``runs``, one tag on it, one ref that keeps the dataset's commit: all three
        or none.

        ``about_to`` is told the commit before any ref moves, and again where another is made after
        a lost race. On return they are on the disk. Raises :class:`RunExists`,
        :class:`RunsUnusable`, :class:`loragit.git.GitFailed`, :class:`loragit.git.NotDurable`.
        """
        name = run.name
        message = run_message(run)
        entries = (*run.entries, run_toml.run_toml(run))

        def attempt() -> tuple[str, list[RefUpdate]]:
            place = self._free_place(name)
            commit = self._appended(place, run.prefix, entries, run.kept, message, self._now())
            about_to(commit)
            steps = [RefUpdate(RUNS, commit, place.runs), RefUpdate(name.tag, commit, None)]
            if run.dataset_commit:
                steps.append(RefUpdate(name.keep, run.dataset_commit, place.keep))
            return commit, steps

        commit = self._move(attempt, f"loragit: open {name}", lambda: None)
        opened = Opened(run.name, run_subject(run), run.dataset, run.prefix, commit)
        if self.unsettled:
            failure = self.unsettled
            with suppress(LoragitError):
                self.revert(opened, 127, f"The trainer was not started: {failure.message}.", ())
            raise failure
        return opened

    def _appended(
        self,
        place: Place,
        prefix: str,
        entries: tuple[Entry, ...],
        kept: tuple[tuple[str, str], ...],
        message: str,
        who: tuple[Identity, Identity],
    ) -> str:
        """A commit of a run on top of what ``place`` holds; no ref names it yet."""
        tip = place.runs or self._ours(place.origin)
        like = self._objects.subtree(tip, prefix) if tip else None
        tree = self._objects.graft(self._tree(tip), prefix, self._objects.tree(entries, kept, like))
        return self._objects.commit(tree, [tip] if tip else [], message, *who)

    def _ours(self, commit: str | None) -> str | None:
        """``commit`` if loragit wrote it."""
        return commit if commit and FORMAT in self._objects.read_commit(commit).message else None

    def _free_place(self, name: RunName) -> Place:
        """Raises :class:`RunExists`, :class:`RunsUnusable`."""
        return self._free(name, look(self.repository, name))

    def _free(self, name: RunName, place: Place) -> Place:
        """``place``, where the run may go. Raises as :meth:`_free_place`."""
        if place.taken:
            raise RunExists(
                place.taken, hint=f"see it with: loragit show {name}; take the next with --bump"
            )
        return _writable(place)

    def bring_in(self, runs: Iterable[Imported], moment: datetime) -> tuple[BroughtIn, ...]:
        """Put ``runs`` on record in their order, each as a commit on ``runs`` and its sealed tag:
        both or none.

        They are dated as they happened; ``moment`` is told as that of the import. One that fails
        stops no other.
        """
        done = []
        with lock.hold(self._lock, self._tell):
            self._settle()
            places = Places(self.repository)
            for run in runs:
                # A signal may end this between two of them.
                with signals.postponed():
                    try:
                        done.append(BroughtIn(run, self._bring_in(run, moment, places), None))
                    except LoragitError as error:
                        done.append(BroughtIn(run, None, error))
        return tuple(done)

    def _bring_in(self, run: Imported, moment: datetime, places: Places) -> str:
        """The commit of one of them. ``places`` may be out of date: the refs themselves decide."""
        name = run.name
        message = imported.message(run, moment)
        entries = (*run.entries, imported.run_toml(run))
        steps: list[RefUpdate] = []

        def attempt() -> tuple[str, list[RefUpdate]]:
            if steps:
                places.read()
            place = self._free(name, places.of(name))
            started, finished = run.outcome.started, run.outcome.finished
            who = _then(self._author, started), _then(self._committer, started)
            commit = self._appended(place, run.prefix, entries, (), message, who)
            tag_message = outcome_message(name.text, run.outcome)
            tag = self._objects.tag(
                name.text, commit, tag_message, _then(self._committer, finished)
            )
            steps[:] = [RefUpdate(RUNS, commit, place.runs), RefUpdate(name.tag, tag, None)]
            return commit, steps

        commit = self._moved(attempt, f"loragit: import {name}", lambda: None)
        places.moved(steps)
        return commit

    def seal(self, opened: Opened, outcome: Outcome, *, sign: bool = False) -> CannotSign | None:
        """Replace the run's tag by an annotated one that carries ``outcome``, signed with the
        user's key if ``sign``.

        An outcome is worth more than a signature: where the tag cannot be signed it is written
        without one, and why is returned. Raises :class:`SealFailed`.
        """
        name = opened.name
        _, tagger = self._now()
        message = outcome_message(name.text, outcome)
        signed, unsigned = "", None
        if sign:
            try:
                signed = signing.signed_tag(
                    self.repository, name.text, opened.commit, message, tagger
                )
            except CannotSign as error:
                unsigned = error

        def attempt() -> tuple[str, list[RefUpdate]]:
            # Each time anew: who waits for a lock may wait for a garbage collection, which takes
            # what no ref names.
            tag = signed or self._objects.tag(name.text, opened.commit, message, tagger)
            return tag, [RefUpdate(name.tag, tag, opened.commit)]

        self._move(attempt, f"loragit: seal {name}", lambda: self._still_open(opened), ENDING)
        return unsigned

    def revert(
        self, opened: Opened, exit_status: int | None, reason: str, log_tail: tuple[str, ...]
    ) -> str:
        """Take back a run that made nothing: a commit says why, the tag is deleted, the name is
        free.

        The commit's tree is that of the newest standing run of the same dataset. Returns the
        commit. Raises :class:`SealFailed`, :class:`RunsUnusable`.
        """
        name = opened.name
        message = revert_message(opened, exit_status, reason, log_tail)

        def attempt() -> tuple[str, list[RefUpdate]]:
            place = _writable(look(self.repository, name))
            tip = (
                place.runs or opened.commit
            )  # where somebody deleted `runs`, this brings it back as it was
            self._leads_to(tip, opened.commit)
            standing = self._standing_tree(tip, opened.prefix, opened.commit)
            tree = self._objects.graft(self._tree(tip), opened.prefix, standing)
            commit = self._objects.commit(tree, [tip], message, *self._now())
            return commit, [RefUpdate(RUNS, commit, place.runs), *self._frees(opened)]

        return self._move(
            attempt, f"loragit: revert {opened.name}", lambda: self._still_open(opened), ENDING
        )

    def _leads_to(self, tip: str, commit: str) -> None:
        """Raises :class:`SealFailed` where ``runs``, at ``tip``, was taken back since ``commit``
        was put on it."""
        args = ("merge-base", "--is-ancestor", commit, tip)
        if tip != commit and git.call(*args, cwd=self.repository.top).status == 1:
            raise SealFailed(
                f"runs does not lead to the run's commit {commit[:8]} any more",
                hint="see what became of runs: git reflog show runs",
            )

    def delete_tag(self, opened: Opened) -> None:
        """Free the name and leave the commit on ``runs`` as it is (``on_empty = "delete-tag"``).

        Raises :class:`SealFailed`.
        """
        self._move(
            lambda: ("", self._frees(opened)),
            f"loragit: delete tag {opened.name}",
            lambda: self._still_open(opened),
            ENDING,
        )

    def release(self, opened: Opened) -> None:
        """Delete the keep ref of a run whose tag is gone, which may be left where deleting both was
        cut short."""
        name = opened.name

        def attempt() -> tuple[str, list[RefUpdate]]:
            keep = self._ref(name.keep)
            return "", [RefUpdate(name.keep, None, keep)] if keep and self._ref(
                name.tag
            ) is None else []

        self._move(attempt, f"loragit: release {name}", lambda: None)

    def note(self, commit: str, lines: tuple[str, ...]) -> None:
        """Append ``lines`` to the note on ``commit``; what is there is kept. Raises
        :class:`loragit.git.GitFailed`.

        Not by ``git notes``, which loses notes that others write at the same time: it moves the ref
        without looking.
        """

        def attempt() -> tuple[str, list[RefUpdate]]:
            tip = self._ref(notes.REF)
            tree = self._tree(tip)
            data = notes.appended(self._objects.note(tree, commit), lines)
            message = "Notes added by loragit\n"
            made = self._objects.commit(
                self._objects.with_note(tree, commit, data),
                [tip] if tip else [],
                message,
                *self._now(),
            )
            return made, [RefUpdate(notes.REF, made, tip)]

        self._move(attempt, f"loragit: note on {commit[:8]}", lambda: None)

    def _frees(self, opened: Opened) -> list[RefUpdate]:
        name = opened.name
        keep = self._ref(name.keep)
        steps = [RefUpdate(name.tag, None, opened.commit)]
        return steps + ([RefUpdate(name.keep, None, keep)] if keep else [])

    def _still_open(self, opened: Opened) -> None:
        """Raises :class:`SealFailed` where somebody else moved or deleted the run's tag
        meanwhile."""
        name = opened.name
        now = self._ref(name.tag)
        if now == opened.commit:
            return
        # A deleted ref has no reflog any more.
        again = f"have it again: git tag {name} {opened.commit[:12]}"
        seen = f"see what moved it: git reflog show {name.tag}"
        what, hint = ("deleted", again) if now is None else ("moved", seen)
        raise SealFailed(
            f"the run's tag was {what} while it ran; its commit is {opened.commit[:8]}", hint=hint
        )

    def holds(self, name: str, commit: str) -> bool:
        """Whether the run ``name`` is open on record as ``commit``. Raises
        :class:`loragit.git.GitFailed`."""
        return self._ref(RunName.parse(name).tag) == commit

    def settle(self) -> tuple[str, ...]:
        """Make whole what a git that is gone had begun (:func:`loragit.store.ref_moves.settle`);
        what was done, a line each."""
        with lock.hold(self._lock, self._tell):
            return ref_moves.settle(self.repository)

    def _settle(self) -> None:
        """As :meth:`settle`; what cannot be made whole is told, and keeps nothing else from the
        record."""
        try:
            ref_moves.settle(self.repository)
        except LoragitError as error:
            self._tell(f"{error.message}; see: loragit recover")

    def lengthen(self, commit: str, tip: str | None) -> None:
        """Have ``runs`` lead to ``commit``, which descends from its tip ``tip`` or is the first.

        Raises :class:`RunsUnusable` where that is its tip no more, and as :meth:`note`.
        """

        def still_there() -> None:
            if self._ref(RUNS) != tip:
                raise RunsUnusable("runs went on meanwhile", hint="look again: loragit recover")

        self._move(
            lambda: (commit, [RefUpdate(RUNS, commit, tip)]),
            f"loragit: recover {commit[:8]}",
            still_there,
        )

    def _move(
        self,
        attempt: Callable[[], tuple[str, list[RefUpdate]]],
        reason: str,
        still_wanted: Callable[[], None],
        seconds: float = OPENING,
    ) -> str:
        """Move refs as ``attempt`` says; after a lost race, or while another holds a lock, again
        from what is then.

        Returns what ``attempt`` named beside its last steps. ``still_wanted`` raises where trying
        again is no use. ``seconds`` is how long a lock is waited for.
        """
        with lock.hold(self._lock, self._tell):
            self._settle()
            return self._moved(attempt, reason, still_wanted, seconds)

    def _moved(
        self,
        attempt: Callable[[], tuple[str, list[RefUpdate]]],
        reason: str,
        still_wanted: Callable[[], None],
        seconds: float = OPENING,
    ) -> str:
        """As :meth:`_move`, for whoever holds the lock already."""
        patience = Patience(seconds, self._tell)
        while True:
            result, steps = attempt()
            reached(Step.OBJECTS_WRITTEN)
            if not steps:
                return result
            durable = partial(self._objects.settle, [step.new for step in steps if step.new])
            with hook_trace.watch(wanted=patience.tried) as watch:
                try:
                    made = ref_moves.make(self.repository, steps, reason, durable, watch.variables)
                    self.unsettled = made or self.unsettled
                    return result
                except git.GitFailed as error:
                    still_wanted()
                    hook = watch.refusing_hook()
                    if hook or lasting(error.message):
                        hint = (
                            next_step(error.message, self.repository.common_dir, hook) or error.hint
                        )
                        raise git.GitFailed(error.message, hint=hint) from error
                    patience.after(error)
            with suppress(LoragitError):  # what a killed git has left may be known as such by now
                ref_moves.settle(self.repository)

    def _standing_tree(self, tip: str, prefix: str, but: str) -> str | None:
        """Tree, at ``prefix``, of the newest run of that dataset whose tag stands, other than
        ``but``."""
        place = dataset_path(prefix)
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
        found = git.read_refs(name, cwd=self.repository.top).get(name)
        return found.object if found else None

    def _now(self) -> tuple[Identity, Identity]:
        """Author and committer at this moment; a training took hours since they were asked for."""
        now = int(time.time())
        return self._author.at(now), self._committer.at(now)


def _writable(place: Place) -> Place:
    """``place``, where ``runs`` may be appended to. Raises :class:`RunsUnusable`."""
    if place.blocked:
        raise RunsUnusable(place.blocked, hint=place.unblock)
    return place


def _then(who: Identity, moment: datetime) -> Identity:
    """``who`` at a moment of the past, in the zone that this machine has at that time of the year,
    as git has it."""
    seconds = int(moment.timestamp())
    return who._replace(time=seconds, offset=time.localtime(seconds).tm_gmtoff // 60)
