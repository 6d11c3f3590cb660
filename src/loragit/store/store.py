"""The record of a dataset's repository: open a run, seal it, revert it, import runs, note on them.

pygit2 writes the objects, git moves the refs, always by compare-and-swap (docs/design.md, "Who does
what").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.errors import LoragitError
from loragit.git import signing
from loragit.git.objects import Objects
from loragit.git.refs import NotDurable, RefUpdate
from loragit.git.repository import Repository
from loragit.git.signing import CannotSign
from loragit.record import imported, notes, run_toml
from loragit.record.attributes import ATTRIBUTES
from loragit.record.message import (
    outcome_message,
    revert_message,
    run_message,
    run_subject,
)
from loragit.record.name import RUNS, RunName
from loragit.record.values import Identity, Imported, Opened, Outcome, Run
from loragit.store import lock, ref_moves
from loragit.store.commits import note_commit, revert_commit, run_commit
from loragit.store.free_name import NameState, NameStates, name_state
from loragit.store.lock import Warn
from loragit.store.retry import ENDING, Attempt, Move
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
        warn: Warn = lambda _: None,
    ) -> None:
        """``warn`` hears of a wait that is longer than a moment, and for what."""
        self.repository = repository
        self._warn = warn
        self._author = author
        self._committer = committer
        self._opened: Objects | None = None
        self.not_durable: NotDurable | None = None
        """Why the refs that were moved last may not outlast a power cut; ``None`` if they do."""

    @property
    def _objects(self) -> Objects:
        if self._opened is None:
            self._opened = Objects(self.repository.git_dir)
        return self._opened

    def open(self, run: Run, about_to: Callable[[str], None] = lambda _: None) -> Opened:
        """One commit on ``runs``, one tag on it, one ref that keeps the dataset's commit: all three
        or none.

        ``about_to`` is called with the commit before any ref moves, and again if another is made
        after a lost race. On return they are on the disk. Raises :class:`RunExists`,
        :class:`RunsUnusable`, :class:`loragit.git.GitFailed`, :class:`loragit.git.NotDurable`.
        """
        name = run.name
        message = run_message(run)
        entries = (*run.entries, run_toml.run_toml(run), ATTRIBUTES)

        def attempt() -> Attempt:
            state = self._free_state(name)
            commit = run_commit(
                self._objects, state, run.prefix, entries, run.reused_trees, message, self._now()
            )
            about_to(commit)
            updates = [RefUpdate(RUNS, commit, state.runs), RefUpdate(name.tag, commit, None)]
            if run.dataset_commit:
                updates.append(RefUpdate(name.keep_ref, run.dataset_commit, state.keep))
            return Attempt(commit, updates)

        commit = self._move(Move(attempt, f"loragit: open {name}"))
        opened = Opened(run.name, run_subject(run), run.dataset, run.prefix, commit)
        if self.not_durable:
            failure = self.not_durable
            with suppress(LoragitError):
                self.revert(opened, 127, f"The trainer was not started: {failure.message}.", ())
            raise failure
        return opened

    def _free_state(self, name: RunName) -> NameState:
        """Raises :class:`RunExists`, :class:`RunsUnusable`."""
        return self._checked(name, name_state(self.repository, name))

    def _checked(self, name: RunName, state: NameState) -> NameState:
        """``state``, if the run may go there. Raises as :meth:`_free_state`."""
        if state.taken:
            raise RunExists(
                state.taken, hint=f"see it with: loragit show {name}; take the next with --bump"
            )
        return _checked_runs(state)

    def bring_in(self, runs: Iterable[Imported], moment: datetime) -> tuple[BroughtIn, ...]:
        """Put ``runs`` on record in their order, each as a commit on ``runs`` and its sealed tag:
        both or none.

        They are dated as they happened; ``moment`` is recorded as that of the import. One that
        fails stops no other.
        """
        done = []
        with lock.locked(self._lock, self._warn):
            self._try_to_finish_moves()
            states = NameStates(self.repository)
            for run in runs:
                # A signal may end this between two of them.
                with signals.postponed():
                    try:
                        done.append(BroughtIn(run, self._bring_in(run, moment, states), None))
                    except LoragitError as error:
                        done.append(BroughtIn(run, None, error))
        return tuple(done)

    def _bring_in(self, run: Imported, moment: datetime, states: NameStates) -> str:
        """The commit of one of them. ``states`` may be out of date: the refs themselves decide."""
        name = run.name
        message = imported.imported_message(run, moment)
        entries = (*run.entries, imported.imported_run_toml(run), ATTRIBUTES)
        updates: list[RefUpdate] = []

        def attempt() -> Attempt:
            if updates:  # the first attempt failed
                states.refresh()
            state = self._checked(name, states.of(name))
            started, finished = run.outcome.started, run.outcome.finished
            who = _then(self._author, started), _then(self._committer, started)
            commit = run_commit(self._objects, state, run.prefix, entries, (), message, who)
            tag_message = outcome_message(name.text, run.outcome)
            tag = self._objects.tag(
                name.text, commit, tag_message, _then(self._committer, finished)
            )
            updates[:] = [RefUpdate(RUNS, commit, state.runs), RefUpdate(name.tag, tag, None)]
            return Attempt(commit, updates)

        commit = self._move_locked(Move(attempt, f"loragit: import {name}"))
        states.apply(updates)
        return commit

    def seal(self, opened: Opened, outcome: Outcome, *, sign: bool = False) -> CannotSign | None:
        """Replace the run's tag by an annotated one that carries ``outcome``, signed with the
        user's key if ``sign``.

        An outcome is worth more than a signature: if the tag cannot be signed, it is written
        without one, and the reason is returned. Raises :class:`SealFailed`.
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

        def attempt() -> Attempt:
            # Written anew each time: a lock may be held by a garbage collection, which removes what
            # no ref names.
            tag = signed or self._objects.tag(name.text, opened.commit, message, tagger)
            return Attempt(tag, [RefUpdate(name.tag, tag, opened.commit)])

        self._end(opened, attempt, "seal")
        return unsigned

    def revert(
        self, opened: Opened, exit_status: int | None, reason: str, log_tail: tuple[str, ...]
    ) -> str:
        """Take back a run that made nothing: a commit says why, the tag is deleted, the name is
        free.

        The commit's tree is that of the newest run of the same dataset that stands. Returns the
        commit. Raises :class:`SealFailed`, :class:`RunsUnusable`.
        """
        name = opened.name
        message = revert_message(opened, exit_status, reason, log_tail)

        def attempt() -> Attempt:
            state = _checked_runs(name_state(self.repository, name))
            # If somebody deleted `runs`, this brings it back as it was.
            tip = state.runs or opened.commit
            self._check_leads_to(tip, opened.commit)
            commit = revert_commit(self._objects, tip, opened, message, self._now())
            updates = [RefUpdate(RUNS, commit, state.runs), *self._freeing(opened)]
            return Attempt(commit, updates)

        return self._end(opened, attempt, "revert")

    def _check_leads_to(self, tip: str, commit: str) -> None:
        """Raises :class:`SealFailed` if ``runs``, at ``tip``, no longer leads to ``commit``."""
        if git.is_ancestor(commit, tip, self.repository) is False:
            raise SealFailed(
                f"runs does not lead to the run's commit {commit[:8]} any more",
                hint="see what became of runs: git reflog show runs",
            )

    def delete_tag(self, opened: Opened) -> None:
        """Free the name and leave the commit on ``runs`` as it is (``on_empty = "delete-tag"``).

        Raises :class:`SealFailed`.
        """
        self._end(opened, lambda: Attempt("", self._freeing(opened)), "delete tag")

    def release(self, opened: Opened) -> None:
        """Delete the keep ref of a run whose tag is gone: it is left if deleting both was cut
        short."""
        name = opened.name

        def attempt() -> Attempt:
            keep = self._ref(name.keep_ref)
            if keep is None or self._ref(name.tag) is not None:
                return Attempt("", [])
            return Attempt("", [RefUpdate(name.keep_ref, None, keep)])

        self._move(Move(attempt, f"loragit: release {name}"))

    def note(self, commit: str, lines: tuple[str, ...]) -> None:
        """Append ``lines`` to the note on ``commit``; what is there is kept. Raises
        :class:`loragit.git.GitFailed`.

        Not by ``git notes``: it moves the ref whatever it holds by then, and so loses notes that
        others write at the same time.
        """

        def attempt() -> Attempt:
            tip = self._ref(notes.REF)
            made = note_commit(self._objects, tip, commit, lines, self._now())
            return Attempt(made, [RefUpdate(notes.REF, made, tip)])

        self._move(Move(attempt, f"loragit: note on {commit[:8]}"))

    def _end(self, opened: Opened, attempt: Callable[[], Attempt], verb: str) -> str:
        """End the run: patiently, and only as long as its tag is where it was put."""
        return self._move(
            Move(
                attempt,
                f"loragit: {verb} {opened.name}",
                lambda: self._check_open(opened),
                ENDING,
            )
        )

    def _freeing(self, opened: Opened) -> list[RefUpdate]:
        """What frees the run's name: its tag goes, and the ref that keeps the dataset's commit."""
        name = opened.name
        keep = self._ref(name.keep_ref)
        updates = [RefUpdate(name.tag, None, opened.commit)]
        return updates + ([RefUpdate(name.keep_ref, None, keep)] if keep else [])

    def _check_open(self, opened: Opened) -> None:
        """Raises :class:`SealFailed` if somebody else moved or deleted the run's tag."""
        name = opened.name
        now = self._ref(name.tag)
        if now == opened.commit:
            return
        # A deleted ref has no reflog any more.
        again = f"restore it: git tag {name} {opened.commit[:12]}"
        seen = f"see what moved it: git reflog show {name.tag}"
        what, hint = ("deleted", again) if now is None else ("moved", seen)
        raise SealFailed(
            f"the run's tag was {what} while it ran; its commit is {opened.commit[:8]}", hint=hint
        )

    def holds(self, name: str, commit: str) -> bool:
        """Whether the run ``name`` is open on record as ``commit``. Raises
        :class:`loragit.git.GitFailed`."""
        return self._ref(RunName.parse(name).tag) == commit

    def finish_moves(self) -> tuple[str, ...]:
        """Finish what a git that is gone had begun (:func:`loragit.store.ref_moves.finish_moves`);
        what was done, a line each."""
        with lock.locked(self._lock, self._warn):
            return ref_moves.finish_moves(self.repository)

    def _try_to_finish_moves(self) -> None:
        """As :meth:`finish_moves`; a failure is reported, and keeps nothing else from the
        record."""
        try:
            ref_moves.finish_moves(self.repository)
        except LoragitError as error:
            self._warn(f"{error.message}; see: loragit recover")

    def lengthen(self, commit: str, tip: str | None) -> None:
        """Have ``runs`` lead to ``commit``, which descends from its tip ``tip`` or is the first.

        Raises :class:`RunsUnusable` if its tip is another by now, and as :meth:`note`.
        """

        def check_tip() -> None:
            if self._ref(RUNS) != tip:
                raise RunsUnusable("runs went on meanwhile", hint="look again: loragit recover")

        attempt = Attempt(commit, [RefUpdate(RUNS, commit, tip)])
        self._move(Move(lambda: attempt, f"loragit: recover {commit[:8]}", check_tip))

    def _move(self, move: Move) -> str:
        """Make ``move`` and return what its last attempt did."""
        with lock.locked(self._lock, self._warn):
            self._try_to_finish_moves()
            return self._move_locked(move)

    def _move_locked(self, move: Move) -> str:
        """As :meth:`_move`, for whoever holds the lock already."""
        moved = move.make(self.repository, lambda ids: self._objects.sync(ids), self._warn)
        self.not_durable = moved.not_durable or self.not_durable
        return moved.result

    @property
    def _lock(self) -> Path:
        return self.repository.private / "lock"

    def _ref(self, name: str) -> str | None:
        found = git.read_ref(name, self.repository.top)
        return found.object if found else None

    def _now(self) -> tuple[Identity, Identity]:
        """Author and committer at this moment; the training took hours since git named them."""
        now = int(time.time())
        return self._author.at(now), self._committer.at(now)


def _checked_runs(state: NameState) -> NameState:
    """``state``, if ``runs`` can be appended to. Raises :class:`RunsUnusable`."""
    if state.blocked:
        raise RunsUnusable(state.blocked, hint=state.unblock)
    return state


def _then(who: Identity, moment: datetime) -> Identity:
    """``who`` at a moment of the past, in this machine's time zone at that time of the year, as git
    does it."""
    seconds = int(moment.timestamp())
    return who._replace(time=seconds, offset=time.localtime(seconds).tm_gmtoff // 60)
