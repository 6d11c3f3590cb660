"""A run that is ready: opened on record, trained, then sealed with what came out or reverted.

What is on disk after each step, so that whoever kills loragit leaves something that
``loragit recover`` can finish:

    step                        journal entry       output folder   on record
    --------------------------  ------------------  --------------  --------------------------
    journal entry written       run, process        -               -
    output folder made          (same)              our copies      -
    commit noted                + commit, folder    our copies      a commit that no ref names
    refs moved                  (same)              our copies      runs, tag, keep ref: open
    trainer started             + trainer's process + log, models   open
    end noted                   + how it ended      log, models     open
    sealed (something made)     (same)              log, models     open tag became annotated
    or reverted (nothing made)  (same)              gone            revert on runs, no tag
    journal entry removed       -                   as it is        as it is

What ``loragit recover`` does at each is in :mod:`loragit.run.recovery.recover`; the crash points
between them are in :mod:`loragit.crash_points`.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from loragit import text
from loragit.crash_points import CrashPoint, reached
from loragit.errors import LoragitError
from loragit.run import edited, ending, output
from loragit.run.ending import OpenRun
from loragit.run.output import OutputFolder
from loragit.run.preflight.phases import Ready
from loragit.run.report import Report
from loragit.secrets import redact
from loragit.store import journal
from loragit.store.journal import End, JournalEntry, TrainerProcess, Work
from loragit.store.ref_moves import MoveStuck
from loragit.store.store import Store
from loragit.system import alive, child, signals, supervise
from loragit.trainers import kinds, losses

ONCE = 1.0
"""Seconds within which a signal counts once while a shell function waits for us: it passes on the
signals that it gets itself."""


def train(ready: Ready, report: Report) -> int:
    """Train, on record. Return the trainer's exit status, or 1 where that is 0 and nothing was
    made.

    Raises :class:`LoragitError` where the run was not opened; then nothing was written.
    """
    with signals.ending_signals_blocked():
        run = _open(ready, report)
        return _seal_or_revert(_trained(run, ready, report), ready, report)


def _open(ready: Ready, report: Report) -> OpenRun:
    """Write the journal entry, then the trainer's copies, then the record. On failure all of it is
    taken back, unless a part of the record is there already."""
    store = Store(ready.repository, ready.author, ready.committer, warn=report.warn)
    private = ready.repository.private
    entry = _journal_entry(ready)
    folder: OutputFolder | None = None
    journal.write(private, entry)
    reached(CrashPoint.ENTRY_WRITTEN)
    try:
        folder = output.make(ready.output, ready.copies, ending.LOG)
        entry = entry._replace(inode=folder.inode)

        def about_to(commit: str) -> None:
            nonlocal entry
            entry = entry._replace(commit=commit)
            journal.write(private, entry)
            reached(CrashPoint.COMMIT_IN_ENTRY)

        opened = store.open(ready.run, about_to)
    except MoveStuck:
        # It may be on record: as after a crash, `loragit recover` takes it back, and needs journal
        # entry and folder for that.
        raise
    except BaseException:
        if _may_be_open(store, entry):
            report.warn(f"{entry.run} may still be open on record; finish it with: loragit recover")
            raise
        if folder is not None:
            folder.remove()
        journal.remove(private, entry)
        raise
    report.info(f"opened {ready.run.name} as {opened.commit[:8]} on runs")
    return OpenRun(store, opened, entry, folder, redact.Redactor(ready.secrets))


def _may_be_open(store: Store, entry: JournalEntry) -> bool:
    """Whether a run that could not be opened is open on record all the same: a disk that fails
    takes nothing back."""
    try:
        return bool(entry.commit) and store.holds(entry.run, entry.commit)
    except LoragitError:
        return True


def _journal_entry(ready: Ready) -> JournalEntry:
    pid = os.getpid()
    return JournalEntry(
        run=ready.run.name.text,
        started=text.timestamp(datetime.now(UTC)),
        pid=pid,
        pid_started=alive.start_time(pid) or "",
        boot=alive.boot_id() or "",
        host=journal.host(),
        output=str(ready.output),
        work=_work(ready),
        space=alive.pid_space(),
    )


def _work(ready: Ready) -> Work:
    """What whoever ends the run has to know."""
    start = ready.start
    logs, trainer = start.plan.logs, start.trainer
    return Work(
        files=tuple(output.digests(ready.copies).items()),
        output_name=start.output_name or "",
        prompts=start.prompts or "",
        log_folder=str(logs.folder.absolute()) if logs else "",
        log_prefix=logs.prefix if logs else "",
        log_before=tuple(sorted(losses.log_folders(logs, trainer.losses))) if logs else (),
        on_empty=ready.settings.record.on_empty,
        sign=ready.settings.record.sign,
        home=start.home,
        trainer_kind=trainer.kind,
        hub_refs=ready.hub_refs,
    )


def _trained(run: OpenRun, ready: Ready, report: Report) -> OpenRun:
    """Let the trainer run to its end, whatever that is; return ``run`` with how it ended."""
    now = datetime.now(UTC)
    if waiting := signals.waiting():
        signal = waiting[0]
        return _not_started(
            run, now, "it was interrupted before the trainer began", 128 + signal, signal
        )
    commit = run.opened.commit
    environ = {**ready.environ, **ready.start.variables(commit)}
    command = child.Command(ready.start.words(commit), ready.start.workdir, environ)
    if ready.settings.debug:
        report.info(f"working directory: {command.cwd}")
        words = redact.redact_argv(command.argv, kinds.secret_arguments(), ready.secrets)
        report.info("started " + " ".join(words))
    try:
        ended = supervise.train(
            command,
            log=ready.output / ending.LOG,
            redact=run.redact,
            goes_on=run.redact.may_go_on,
            grace=ready.settings.trainer.stop_timeout,
            tail=ending.LOG_TAIL,
            started=lambda pid: _note_trainer(run, pid),
            once=ONCE if "LORAGIT_SHELL" in ready.environ else 0.0,
        )
    except (LoragitError, OSError) as error:
        return _not_started(run, now, ending.as_loragit_error(error).message, 127)
    gc.disable()
    reached(CrashPoint.TRAINER_ENDED)
    for line in (
        *ended.trouble,
        *_script_edits(ready),
        *edited.edits(ready.inputs),
        *edited.fetched_anew(ready.run.weights, ready.hub_refs),
    ):
        report.warn(line)
    signal_name = _signal_name(ended.interrupted_by)
    end = End(ended.started.isoformat(), ended.finished.isoformat(), ended.exit_status, signal_name)
    return run.ended(end, ended.log_tail)


def _not_started(
    run: OpenRun, now: datetime, why: str, exit_status: int, signal: int | None = None
) -> OpenRun:
    finished = max(now, datetime.now(UTC))  # the clock may be set back
    signal_name = _signal_name(signal)
    return run.ended(End(now.isoformat(), finished.isoformat(), exit_status, signal_name, why))


def _signal_name(number: int | None) -> str:
    """As in ``SIGINT``; empty for ``None``."""
    import signal

    return "" if number is None else signal.Signals(number).name


def _script_edits(ready: Ready) -> Iterator[str]:
    """A warning where the user's own script is no longer what was recorded: shells read a script
    as they run it."""
    recorded = ready.run.entry(ready.run.script)
    if ready.start.own is not None and recorded is not None:
        yield from edited.file_edits(Path(ready.start.program[0]), recorded.data, "ran")


def _note_trainer(run: OpenRun, pid: int) -> None:
    """Write the trainer's process into the journal entry.

    While it runs there is time to import what is needed afterwards, and to look for garbage again,
    but among new objects alone: the files of the dataset stay known until the end.
    """
    reached(CrashPoint.TRAINER_STARTED)
    trainer = TrainerProcess(pid, alive.start_time(pid) or "")
    journal.write(run.store.repository.private, run.entry._replace(trainer=trainer))
    reached(CrashPoint.TRAINER_IN_ENTRY)
    import loragit.run.results  # noqa: F401

    gc.freeze()
    gc.enable()


def _seal_or_revert(run: OpenRun, ready: Ready, report: Report) -> int:
    """End the run; return the exit status of the command.

    A failure of loragit's own is reported, leaves the run open on record, and hides no exit status
    of the trainer.
    """
    exit_status = run.end.exit_status or 0
    try:
        # A full disk is reported where it does harm.
        with contextlib.suppress(LoragitError):
            journal.write(ready.repository.private, run.entry)
            reached(CrashPoint.END_IN_ENTRY)
        made_something = ending.seal_or_revert(run, report)
    except (LoragitError, OSError) as error:
        report.error(ending.as_loragit_error(error))
        report.warn(
            f"{ready.run.name} stays open on record; what the trainer wrote is in {ready.output}"
        )
        if not isinstance(error, output.OutputGone):
            report.hint("once that is mended, finish it with: loragit recover")
        return exit_status or 1
    return exit_status if exit_status or made_something else 1
