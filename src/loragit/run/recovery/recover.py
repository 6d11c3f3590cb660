"""Runs whose loragit is gone: finished from their journal entries as it would have done, or left to
the user with the next step.

A live run is never touched, and everything can be done again: whoever is killed in the middle of a
recovery is followed by the next. What is found, and what is done about it:

    journal entry   on record             what becomes of the run
    --------------  --------------------  ------------------------------------------------------
    no commit       nothing               never opened: output folder and entry are removed
    commit          nothing               the same
    commit          tag, runs leads to    the trainer may have run: outcome collected, then sealed
                    it                    or reverted, as its loragit would have done
    commit          tag, runs does not    left to the user: runs was moved back
    commit          annotated tag         sealed already: the entry is removed
    commit          revert on runs        reverted already: output folder and entry are removed
    commit          commit, no tag        reverted the same way; left to the user where it made
                                          something
    any             its process lives     left alone
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.git.repository import Repository
from loragit.history.history import (
    INTERRUPTED,
    REVERTED,
    RUNNING,
    SEALED,
    UNTAGGED,
    History,
    RecordedRun,
)
from loragit.record.name import RunName
from loragit.record.values import Identity, Opened
from loragit.run import ending
from loragit.run.ending import LogCopy, OpenRun
from loragit.run.recovery import evidence, leftovers, still_running
from loragit.run.recovery.leftovers import Leftover
from loragit.run.recovery.still_running import Busy
from loragit.run.report import Report
from loragit.secrets import find, redact
from loragit.store import journal, lock, ref_moves
from loragit.store.journal import JournalEntry
from loragit.store.store import Store

_IN_TURN = 3600.0
"""Seconds for which one recovery waits for another, which may have many gigabytes to hash."""


class RecoverOptions(NamedTuple):
    """What is to be recovered, and how."""

    names: tuple[str, ...]
    """Runs; empty for all."""
    gone: bool
    """Whether the user says that the processes of ``names`` are gone, where that cannot be told
    from here."""
    dry_run: bool
    environ: Mapping[str, str]
    """Whose secrets must not reach the record."""

    def said_to_be_gone(self, run: str) -> bool:
        return self.gone and run in self.names


class Recovery:
    """One pass over the runs in progress of a repository."""

    def __init__(
        self,
        repository: Repository,
        who: tuple[Identity, Identity],
        options: RecoverOptions,
        report: Report,
    ) -> None:
        self.repository = repository
        self.options = options
        self.report = report
        self.store = Store(repository, *who, warn=report.warn)
        self.left = 0
        """How many things need the user."""
        self.done = 0
        self._redact = redact.Redactor(find.trainer_secrets((), (), options.environ))
        self._runs: dict[str, RecordedRun] = {}
        self._entries: tuple[JournalEntry, ...] = ()

    def run(self) -> None:
        """Finish what can be finished, one after the other; two recoveries at the same time take
        turns."""
        if self.options.dry_run:
            self.refresh()
            for entry in self._selected():
                self._announce(entry)
            return
        with lock.locked(self.repository.private / "recover.lock", self.report.warn, _IN_TURN):
            try:
                for line in self.store.finish_moves():
                    self.report_done(line)
            except LoragitError as error:
                self.leave_to_user(error.message, error.hint)
            self.refresh()
            for entry in self._selected():
                try:
                    self._recover(entry)
                except (LoragitError, OSError) as error:
                    self.leave_to_user(f"{entry.run} could not be finished")
                    self.report.error(ending.as_loragit_error(error))
            self.refresh()

    def finish_without_entry(self, entry: JournalEntry) -> None:
        """Finish a run that the user says runs nowhere; ``entry`` is made up from its record."""
        if self.options.dry_run:
            self._announce(entry)
            return
        with lock.locked(self.repository.private / "recover.lock", self.report.warn, _IN_TURN):
            if busy := self._busy(entry):
                self._leave_alone(busy)
            else:
                self._finish(entry)
            self.refresh()

    def refresh(self) -> None:
        """Read journal and record as they are now."""
        self._entries = tuple(journal.read(self.repository.private))
        self._runs = {run.commit: run for run in History(self.repository).runs}

    def _selected(self) -> Iterable[JournalEntry]:
        names = self.options.names
        return [entry for entry in self._entries if not names or entry.run in names]

    @property
    def runs(self) -> Mapping[str, RecordedRun]:
        """Every run on record, by its commit."""
        return self._runs

    def report_done(self, line: str) -> None:
        """Something was recovered."""
        self.done += 1
        self.report.info(line)

    def leave_to_user(self, line: str, hint: str | None = None) -> None:
        """Something needs the user."""
        self.left += 1
        self.report.warn(line)
        if hint:
            self.report.hint(hint)

    def _announce(self, entry: JournalEntry) -> None:
        """Say what would be done."""
        if busy := self._busy(entry):
            self.report.info(busy.why)
        else:
            self.done += 1
            self.report.info(
                f"{entry.run} would be finished: process {entry.pid}, since {entry.started}, "
                "is gone"
            )

    def _busy(self, entry: JournalEntry) -> Busy | None:
        gone = self.options.said_to_be_gone(entry.run)
        return still_running.busy(entry, said_to_be_gone=gone)

    def _leave_alone(self, busy: Busy) -> None:
        if busy.hint:
            self.leave_to_user(busy.why, busy.hint)
        else:
            self.report.info(busy.why)

    def _recover(self, entry: JournalEntry) -> None:
        """Finish a run whose entry was read a while ago: others may have taken hours meanwhile."""
        if busy := self._busy(entry):
            self._leave_alone(busy)
            return
        # Its loragit is gone, and nobody writes the entry any more.
        self.refresh()
        key = (entry.run, entry.pid)
        now = next((each for each in self._entries if (each.run, each.pid) == key), None)
        if now == entry:
            self._finish(entry)
        elif now is not None:
            self._recover(now)

    def _finish(self, entry: JournalEntry) -> None:
        run = self._run_of(entry)
        if why := self._unclear(entry, run):
            self.leave_to_user(why.problem, why.hint)
        elif run is None:
            self._never_opened(entry)
        elif run.state in (INTERRUPTED, RUNNING):
            ending.seal_or_revert(self._open_run(entry, run), self.report)
            self.done += 1
        else:
            self._ended_already(entry, run)

    def _unclear(self, entry: JournalEntry, run: RecordedRun | None) -> Leftover | None:
        """Why nobody can tell how the run stands, so that nothing of it may be taken back."""
        tag = RunName.parse(entry.run).tag
        if run is None and self.store.holds(entry.run, entry.commit):
            return Leftover(
                f"{entry.run} is open, and runs does not lead to its commit {entry.commit[:8]}",
                "as soon as it does, finish it with: loragit recover",
            )
        if run is not None and run.state == UNTAGGED:
            moved = (
                step for noted in ref_moves.noted_moves(self.repository) for step in noted.steps
            )
            if any((step.name, step.new) == (tag, run.commit) for step in moved):
                return Leftover(
                    f"{entry.run} was being opened, and its tag could not be made yet",
                    "as soon as nothing is in the way, finish it with: loragit recover",
                )
            return leftovers.emptied_ref(self.repository, tag)
        return None

    def _run_of(self, entry: JournalEntry) -> RecordedRun | None:
        if entry.commit:
            return self._runs.get(entry.commit)
        if entry.work is not None:
            return None  # the commit is noted before any ref leads to it
        named = (run for run in self._runs.values() if run.name == entry.run)
        return next((run for run in named if run.state in (INTERRUPTED, RUNNING)), None)

    def _never_opened(self, entry: JournalEntry) -> None:
        """Nothing is on record, and nothing was trained: take back the output folder."""
        if entry.trainer is not None or entry.end is not None:
            hint = (
                f"see it: git show {entry.commit[:12]}; bring it back: git branch runs-before "
                f"{entry.commit[:12]}"
            )
            self.leave_to_user(
                f"{entry.run} was trained, and runs does not lead to its commit any more", hint
            )
            return
        folder = evidence.output_folder(entry, entry.work) if entry.work else None
        if (
            folder is not None
            and os.path.lexists(folder.path)
            and not self._folder_in_use(entry)
            and (foreign := folder.remove())
        ):
            self.report.warn(folder.why_it_stays(foreign))
        journal.remove(self.repository.private, entry)
        self.report_done(f"{entry.run} was never opened: nothing was trained, its name is free")

    def _ended_already(self, entry: JournalEntry, run: RecordedRun) -> None:
        """The outcome is on record already; an output folder and the entry may be left."""
        open_run = self._open_run(entry, run)
        if (
            run.state == UNTAGGED
            and not open_run.without_output
            and self._made_something(entry, open_run)
        ):
            # loragit deletes the tag of a run that made nothing, and of no other.
            self.leave_to_user(
                f"{entry.run} made something, and somebody deleted or moved its tag before that "
                "was on record",
                f"restore the tag: git tag -f {entry.run} {run.commit[:12]}; then recover "
                f"again; or, if the run is not worth it: loragit recover --gone {entry.run}",
            )
            return
        there = os.path.lexists(open_run.folder.path)
        if run.state != SEALED and not self._folder_in_use(entry) and there:
            log = LogCopy(None, original_may_go=False)
            if open_run.work.files:
                log = ending.copy_log(open_run, self.report)
            ending.remove_output(open_run, log, self.report)
        if run.state != SEALED:
            self.store.release(open_run.opened)
        ending.remove_entry(self.store, entry)
        stands = {SEALED: "was sealed already", REVERTED: "was reverted already"}
        self.report_done(f"{entry.run} {stands.get(run.state, 'has no tag any more')}")

    def _made_something(self, entry: JournalEntry, run: OpenRun) -> bool:
        """Whether what the run made is in the folder that it made, and nobody else writes into that
        by now."""
        with suppress(OSError):
            return (
                not self._folder_in_use(entry)
                and run.folder.replaced() is None
                and ending.outcome_of(run).made_something
            )
        return False

    def _folder_in_use(self, entry: JournalEntry) -> bool:
        """Whether another run writes into the same folder by now.

        A run is noted before its folder is made: to be asked once it is known which folder is
        there.
        """
        return any(
            each.output == entry.output and (each.run, each.pid) != (entry.run, entry.pid)
            for each in journal.read(self.repository.private)
        )

    def _open_run(self, entry: JournalEntry, run: RecordedRun) -> OpenRun:
        work = entry.work or evidence.work(run, self.options.environ.get("HOME", ""))
        name, subject = RunName.parse(run.name), run.message.partition("\n")[0]
        return OpenRun(
            store=self.store,
            opened=Opened(name, subject, run.dataset, run.path, run.commit),
            entry=entry._replace(work=work, end=evidence.end(entry)),
            folder=evidence.output_folder(entry, work),
            redact=self._redact,
            log_tail=evidence.log_tail(entry, self._redact),
            recovered=datetime.now(UTC),
            without_output=self.options.said_to_be_gone(run.name),
        )
