"""Runs whose loragit is gone: finished from their notes, as it would have done, or told of where
that cannot be.

Nothing here decides by a process's number alone, a live run is never touched, and everything can be
done again: whoever is killed in the middle of a recovery is followed by the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from loragit import console, text
from loragit.errors import LoragitError
from loragit.git.repository import Repository
from loragit.history import history
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
from loragit.run.ending import Kept, Unended
from loragit.run.output import OutputFolder
from loragit.run.recovery import leftovers
from loragit.run.recovery.leftovers import Leftover
from loragit.secrets import find
from loragit.store import journal, lock, ref_moves
from loragit.store.journal import End, Open, Work
from loragit.store.store import Store
from loragit.system import alive

CRASH = "crash"
"""Stands for the signal where nobody was there to hear of one."""
_IN_TURN = 3600.0
"""Seconds for which one recovery waits for another, which may have many gigabytes to hash."""
_LOG_END = 1 << 16
"""Bytes at the end of a log in which its last lines are looked for."""


class Asked(NamedTuple):
    """What is to be recovered, and by whom."""

    names: tuple[str, ...]
    """Runs; empty for all."""
    gone: bool
    """Whether the user says that the processes of ``names`` are gone, where that cannot be told
    from here."""
    dry_run: bool
    environ: Mapping[str, str]
    """Whose secrets must not reach the record."""


class Recovery:
    """One look at the runs in progress of a repository."""

    def __init__(
        self, repository: Repository, who: tuple[Identity, Identity], asked: Asked
    ) -> None:
        self.repository = repository
        self.asked = asked
        self.store = Store(repository, *who, report=console.warn)
        self.left = 0
        """What needs the user."""
        self.done = 0
        self._hide = find.Redactor(find.secret_values((), asked.environ))
        self._runs: dict[str, RecordedRun] = {}
        self._notes: tuple[Open, ...] = ()

    def run(self) -> None:
        """Finish what can be finished, one after the other; two of these at the same time do it in
        turn."""
        private = self.repository.private
        if self.asked.dry_run:
            self.look()
            for note in self._chosen():
                self._tell(note)
            return
        with lock.locked(private / "recover.lock", console.warn, _IN_TURN):
            try:
                for line in self.store.finish_moves():
                    self.did(line)
            except LoragitError as error:
                self.leave(error.message, error.hint)
            self.look()
            for note in self._chosen():
                try:
                    self._recover(note)
                except (LoragitError, OSError) as error:
                    self.leave(f"{note.run} could not be finished")
                    console.error(ending.told(error))
            self.look()

    def finish_unnoted(self, note: Open) -> None:
        """Finish a run of which the user says that it runs nowhere; ``note`` is made up of its
        record."""
        if self.asked.dry_run:
            self._tell(note)
            return
        with lock.locked(self.repository.private / "recover.lock", console.warn, _IN_TURN):
            if held := self._held(note):
                self._leave_to(held)
            else:
                self._finish(note)
            self.look()

    def look(self) -> None:
        """Read notes and record as they are now."""
        self._notes = tuple(journal.read(self.repository.private))
        self._runs = {run.commit: run for run in History(self.repository).runs}

    def _chosen(self) -> Iterable[Open]:
        names = self.asked.names
        return [note for note in self._notes if not names or note.run in names]

    @property
    def runs(self) -> Mapping[str, RecordedRun]:
        """Every run on record, by its commit."""
        return self._runs

    def did(self, line: str) -> None:
        """Something was recovered."""
        self.done += 1
        console.say(line)

    def leave(self, line: str, hint: str | None = None) -> None:
        """Something needs the user."""
        self.left += 1
        console.warn(line)
        if hint:
            console.hint(hint)

    def _tell(self, note: Open) -> None:
        """What would be done."""
        if held := self._held(note):
            console.say(held.why)
        else:
            self.done += 1
            console.say(
                f"{note.run} would be finished: process {note.pid}, since {note.started}, is gone"
            )

    def _held(self, note: Open) -> _Held | None:
        """Why the run is not ours to finish; ``None`` where it is."""
        lives = history.lives(note)
        if lives:
            return _Held(f"{note.run} runs, process {note.pid} since {note.started}")
        if lives is None:
            return None if self.asked.gone and note.run in self.asked.names else _out_of_sight(note)
        if left := trainers_left(note):
            return _Held(
                f"{note.run} still trains, process {left[0]}, though its loragit is gone",
                f"wait until it has ended, or end it with: kill -- -{alive.group_of(left[0])}; "
                "then recover again",
            )
        return None

    def _recover(self, note: Open) -> None:
        """Finish a run whose note was read a while ago: others may have taken hours meanwhile."""
        if held := self._held(note):
            self._leave_to(held)
            return
        # Its loragit is gone, and nobody writes the note any more.
        self.look()
        now = next(
            (each for each in self._notes if (each.run, each.pid) == (note.run, note.pid)), None
        )
        if now == note:
            self._finish(note)
        elif now is not None:
            self._recover(now)

    def _leave_to(self, held: _Held) -> None:
        if held.hint:
            self.leave(held.why, held.hint)
        else:
            console.say(held.why)

    def _finish(self, note: Open) -> None:
        run = self._run_of(note)
        if why := self._unclear(note, run):
            self.leave(why.problem, why.hint)
        elif run is None:
            self._never_opened(note)
        elif run.state in (INTERRUPTED, RUNNING):
            ending.end(self._unended(note, run), self._end(note), self._tail(note))
            self.done += 1
        else:
            self._after(note, run)

    def _unclear(self, note: Open, run: RecordedRun | None) -> Leftover | None:
        """What keeps anybody from telling how the run stands, so that nothing of it may be taken
        back."""
        tag = RunName.parse(note.run).tag
        if run is None and note.commit and self.store.holds(note.run, note.commit):
            return Leftover(
                f"{note.run} is open, and runs does not lead to its commit {note.commit[:8]}",
                "as soon as it does, finish it with: loragit recover",
            )
        if run is not None and run.state == UNTAGGED:
            moved = (
                step for noted in ref_moves.noted_moves(self.repository) for step in noted.steps
            )
            if any((step.name, step.new) == (tag, run.commit) for step in moved):
                return Leftover(
                    f"{note.run} was being opened, and its tag could not be made yet",
                    "as soon as nothing is in the way, finish it with: loragit recover",
                )
            return leftovers.broken(self.repository, tag)
        return None

    def _run_of(self, note: Open) -> RecordedRun | None:
        if note.commit:
            return self._runs.get(note.commit)
        if note.work is not None:
            return None  # the commit is noted before any ref leads to it
        named = (run for run in self._runs.values() if run.name == note.run)
        return next((run for run in named if run.state in (INTERRUPTED, RUNNING)), None)

    def _never_opened(self, note: Open) -> None:
        """Nothing is on record, and nothing was trained: take back the output folder."""
        if note.trainer is not None or note.end is not None:
            hint = (
                f"see it: git show {note.commit[:12]}; bring it back: git branch runs-before "
                f"{note.commit[:12]}"
            )
            self.leave(
                f"{note.run} was trained, and runs does not lead to its commit any more", hint
            )
            return
        folder = self._folder(note, note.work) if note.work else None
        removable = folder is not None and os.path.lexists(folder.path) and not self._used(note)
        if folder is not None and removable and (foreign := folder.remove()):
            console.warn(folder.why_it_stays(foreign))
        journal.remove(self.repository.private, note)
        self.did(f"{note.run} was never opened: nothing was trained, its name is free")

    def _after(self, note: Open, run: RecordedRun) -> None:
        """The outcome is on record already; what may be left are an output folder and the note."""
        unended = self._unended(note, run)
        if (
            run.state == UNTAGGED
            and not unended.without_output
            and self._made_something(note, unended)
        ):
            # loragit takes the tag away of a run that made nothing, and of no other.
            self.leave(
                f"{note.run} made something, and somebody deleted or moved its tag before that "
                "was on record",
                f"have the tag again: git tag -f {note.run} {run.commit[:12]}; then recover again; "
                f"or, if the run is not worth it: loragit recover --gone {note.run}",
            )
            return
        if run.state != SEALED and not self._used(note) and os.path.lexists(unended.folder.path):
            kept = ending.keep_log(unended) if unended.work.files else Kept(None, may_go=False)
            ending.clear(unended, kept)
        if run.state != SEALED:
            self.store.release(unended.opened)
        ending.forget(self.store, note)
        told = {SEALED: "was sealed already", REVERTED: "was reverted already"}.get(
            run.state, "has no tag any more"
        )
        self.did(f"{note.run} {told}")

    def _made_something(self, note: Open, unended: Unended) -> bool:
        """Whether in the folder that the run made, and nobody else writes into by now, there is
        what it made."""
        with suppress(OSError):
            return (
                not self._used(note)
                and unended.folder.replaced() is None
                and ending.collect(unended, self._end(note)).made_something
            )
        return False

    def _used(self, note: Open) -> bool:
        """Whether another run writes into the same folder by now. A run is noted before its folder
        is made: to be asked when it is known which folder is there."""
        noted = journal.read(self.repository.private)
        return any(
            each.output == note.output and (each.run, each.pid) != (note.run, note.pid)
            for each in noted
        )

    def _unended(self, note: Open, run: RecordedRun) -> Unended:
        work = note.work or work_of(run, self.asked.environ.get("HOME", ""))
        opened = Opened(run.name, run.message.partition("\n")[0], run.dataset, run.path, run.commit)
        now = datetime.now(UTC)
        gone = self.asked.gone and run.name in self.asked.names
        return Unended(
            self.store, opened, note, work, self._folder(note, work), self._hide, now, gone
        )

    def _folder(self, note: Open, work: Work) -> OutputFolder:
        """The output folder as it was made; where nobody noted which it was, the one that is
        there."""
        path = Path(note.output)
        device, inode = note.inode
        with suppress(OSError):
            status = path.lstat()
            # After another boot the same disk may have another number.
            if not inode or alive.rebooted_since(note.boot):
                device, inode = status.st_dev, inode or status.st_ino
        return OutputFolder(path, (device, inode), dict(work.files), ending.LOG)

    def _end(self, note: Open) -> End:
        """As it was noted; else as far as files tell: the last that was written shows a sign of
        life."""
        if note.end is not None:
            return note.end
        if (
            note.trainer is None
            and note.work is not None
            and not os.path.lexists(Path(note.output, ending.LOG))
        ):
            return End(
                note.started,
                note.started,
                None,
                CRASH,
                "loragit was ended before the trainer began",
            )
        started = datetime.fromisoformat(note.started)
        # A file system may hold times that no calendar has.
        last = min(max(_times(Path(note.output)), default=0.0), time.time())
        finished = max(started, datetime.fromtimestamp(max(0.0, last), UTC))
        return End(note.started, finished.isoformat(), None, CRASH)

    def _tail(self, note: Open) -> tuple[str, ...]:
        """The last lines of the log, which is redacted as it is written."""
        try:
            with Path(note.output, ending.LOG).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_END))
                lines = file.read(_LOG_END).decode("utf-8", "replace").splitlines()
        except OSError:
            return ()
        return tuple(self._hide(line) for line in lines[-ending.LOG_TAIL :])


class _Held(NamedTuple):
    """Why a run is left to somebody else."""

    why: str
    hint: str = ""
    """What the user may do; empty where all is well."""


def _out_of_sight(note: Open) -> _Held:
    """Whether its process is there cannot be told from here."""
    if note.host != journal.host():
        return _Held(
            f"{note.run} runs on {text.shown(note.host)}, process {note.pid}",
            "recover it there; or, if that machine is gone for good: loragit recover --gone "
            f"{note.run}",
        )
    return _Held(
        f"{note.run} may run in another container, or as another user: process {note.pid} cannot "
        "be seen from here",
        f"recover it there; or, if it runs nowhere any more: loragit recover --gone {note.run}",
    )


def trainers_left(note: Open) -> tuple[int, ...]:
    """Processes of a training of this machine that goes on though its loragit may be gone."""
    if alive.rebooted_since(note.boot):
        return ()
    trainer = note.trainer
    if trainer is not None and (left := alive.group_left(trainer.pid, trainer.pid_started)):
        return left
    # Killed before it could note the trainer: the trainer's environment names the run's folder.
    return alive.started_with("LORAGIT_RUN_OUTPUT", note.output)


def _times(folder: Path) -> Iterable[float]:
    """When the files in the output folder, and the samples below it, were last written."""
    for place in (folder, folder / "sample"):
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_file(follow_symlinks=False):
                        yield entry.stat(follow_symlinks=False).st_mtime


def work_of(run: RecordedRun, home: str) -> Work:
    """What the record itself tells of a run that has no note here, or one of an older loragit.
    Raises :class:`~loragit.history.record.CannotReadRecord`."""
    args = run.record.args
    name = args.get("output_name", ("",))
    prompts = args.get("sample_prompts", ("",))
    return Work(
        files=(),
        output_name=name[0] if name else "",
        prompts=Path(prompts[0]).name if prompts else "",
        log_folder="",
        log_prefix="",
        log_before=(),
        on_empty="revert",
        sign=None,
        home=home,
    )
