"""``loragit train``: open a run on record, train, seal it with what came out or revert it."""

from __future__ import annotations

import contextlib
import gc
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loragit import console, text
from loragit.commands import interrupted, trust
from loragit.crash_points import Step, reached
from loragit.errors import LoragitError
from loragit.record import message, run_toml
from loragit.record.values import Opened
from loragit.run import edited, ending, output
from loragit.run.output import OutputFolder
from loragit.run.preflight import prepare
from loragit.run.preflight.prepare import Ready, Request
from loragit.secrets import find
from loragit.store import journal
from loragit.store.journal import End, Open, Trainer, Work
from loragit.store.ref_moves import MoveStuck
from loragit.store.store import Store
from loragit.system import alive, child, signals, supervise
from loragit.trainers.environment import pythons

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loragit.run.results import Logs

ONCE = 1.0
"""Seconds within which a signal counts once where the shell functions wait for us, and pass on what
they are told."""


class _Running(NamedTuple):
    """A run between its opening and its end."""

    ready: Ready
    store: Store
    opened: Opened
    folder: OutputFolder
    note: Open
    hide: find.Redactor

    @property
    def name(self) -> str:
        return self.ready.run.name


class _Ended(NamedTuple):
    """How the trainer ended, or why it never began."""

    exit_status: int
    end: End
    log_tail: tuple[str, ...] = ()


def train(request: Request) -> int:
    """Train, on record. Returns the trainer's exit status, or 1 where that is 0 and nothing was
    made.

    Raises :class:`LoragitError` where the run was not opened; then nothing was written.
    """
    ready = prepare.prepare(trust.asking(request))
    trust.ran(ready.settings)
    for line in ready.warnings:
        console.warn(line)
    interrupted.notice(ready.repository)
    with signals.held():
        running = _open(ready)
        status = _finish(running, _run(running))
    with contextlib.suppress(LoragitError):
        child.spawn_quietly(
            ["git", "maintenance", "run", "--auto", "--quiet"], cwd=ready.repository.top
        )
    return status


def dry_run(request: Request) -> None:
    """Show the run as it would be recorded and started; write nothing. Raises
    :class:`LoragitError`."""
    ready = prepare.prepare(trust.asking(request))
    for line in ready.warnings:
        console.warn(line)
    for line in message.run_message(ready.run).splitlines():
        console.out(line)
    console.out()
    for entry in sorted((*ready.run.entries, run_toml.run_toml(ready.run)), key=lambda e: e.path):
        if not entry.path.startswith("captions/"):
            console.out(f"{len(entry.data):>9} bytes  {entry.path}")
    console.out(f"{text.count(ready.run.captions, 'file')} in captions/")
    console.out()
    script = ready.run.entry(ready.run.script)
    for line in script.data.decode("utf-8", "replace").splitlines() if script else ():
        console.out(line)
    python = pythons.find_python(ready.settings.trainer, request.environ)
    console.say(
        f"the trainer's Python is {python}, in {pythons.prefix(python) or 'no environment'}"
    )
    console.say(f"dry run: {ready.run.name} could start; nothing was written")


def _open(ready: Ready) -> _Running:
    """Note the run, write the trainer's copies, then the record. On failure all of it is taken
    back, unless a part of the record is there already."""
    store = Store(ready.repository, ready.author, ready.committer, report=console.warn)
    private = ready.repository.private
    note = _note(ready)
    folder: OutputFolder | None = None
    journal.write(private, note)
    reached(Step.NOTED)
    try:
        folder = output.make(ready.output, ready.output_files, ending.LOG)
        note = note._replace(inode=folder.inode)

        def about_to(commit: str) -> None:
            nonlocal note
            note = note._replace(commit=commit)
            journal.write(private, note)
            reached(Step.COMMIT_NOTED)

        opened = store.open(ready.run, about_to)
    except MoveStuck:
        # It may be on record: as after a crash, `loragit recover` takes it back, and needs note and
        # folder for that.
        raise
    except BaseException:
        if _may_stand(store, note):
            console.warn(f"{note.run} may still be open on record; finish it with: loragit recover")
            raise
        if folder is not None:
            folder.remove()
        journal.remove(private, note)
        raise
    console.say(f"opened {ready.run.name} as {opened.commit[:8]} on runs")
    return _Running(ready, store, opened, folder, note, find.Redactor(ready.secret_values))


def _may_stand(store: Store, note: Open) -> bool:
    """Whether a run that could not be opened is open on record all the same: a disk that fails
    takes nothing back."""
    try:
        return bool(note.commit) and store.holds(note.run, note.commit)
    except LoragitError:
        return True


def _note(ready: Ready) -> Open:
    import os

    pid = os.getpid()
    return Open(
        run=ready.run.name,
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
    logs = _logs(ready)
    return Work(
        files=tuple(output.digests(ready.output_files).items()),
        output_name=start.output_name or "",
        prompts=start.prompts or "",
        log_folder=str(logs.folder.absolute()) if logs else "",
        log_prefix=logs.prefix if logs else "",
        log_before=tuple(sorted(logs.before)) if logs else (),
        on_empty=ready.settings.record.on_empty,
        sign=ready.settings.record.sign,
        home=start.home,
    )


def _logs(ready: Ready) -> Logs | None:
    plan = ready.start.plan
    if plan.logging_dir is None:
        return None
    from loragit.run import results as outcome
    from loragit.trainers.sd_scripts.naming import NAMING

    before = outcome.log_folders(plan.logging_dir, plan.log_prefix, NAMING)
    return outcome.Logs(plan.logging_dir, plan.log_prefix, before)


def _run(running: _Running) -> _Ended:
    """Let the trainer run to its end, whatever that is."""
    ready = running.ready
    now = datetime.now(UTC)
    if waiting := signals.waiting():
        return _not_begun(
            now, "it was interrupted before the trainer began", 128 + waiting[0], waiting[0]
        )
    commit = running.opened.commit
    environ = {**ready.environ, **ready.start.variables(commit)}
    command = child.Command(ready.start.words(commit), ready.start.workdir, environ)
    if ready.settings.debug:
        console.say(f"working directory: {command.cwd}")
        console.say("started " + " ".join(find.redact_argv(command.argv, ready.secret_values)))
    try:
        ended = supervise.train(
            command,
            log=ready.output / ending.LOG,
            redact=running.hide,
            goes_on=running.hide.may_go_on,
            grace=ready.settings.trainer.stop_timeout,
            tail=ending.LOG_TAIL,
            started=lambda pid: _began(running, pid),
            once=ONCE if "LORAGIT_SHELL" in ready.environ else 0.0,
        )
    except (LoragitError, OSError) as error:
        return _not_begun(now, ending.told(error).message, 127)
    gc.disable()
    reached(Step.TRAINER_ENDED)
    for line in (*ended.trouble, *_script_edited(ready), *edited.told(ready.read)):
        console.warn(line)
    end = End(
        ended.started.isoformat(),
        ended.finished.isoformat(),
        ended.exit_status,
        _named(ended.interrupted_by),
    )
    return _Ended(ended.exit_status, end, ended.log_tail)


def _not_begun(now: datetime, why: str, exit_status: int, signal: int | None = None) -> _Ended:
    finished = max(now, datetime.now(UTC))  # the clock may be set back
    return _Ended(
        exit_status, End(now.isoformat(), finished.isoformat(), exit_status, _named(signal), why)
    )


def _named(number: int | None) -> str:
    """A signal's name; empty for none."""
    import signal

    return "" if number is None else signal.Signals(number).name


def _script_edited(ready: Ready) -> Iterator[str]:
    """What to say where the user's own script is no longer what was recorded: shells read a script
    as they go."""
    recorded = ready.run.entry(ready.run.script)
    if ready.start.own is not None and recorded is not None:
        yield from edited.of_file(Path(ready.start.program[0]), recorded.data, "ran")


def _began(running: _Running, pid: int) -> None:
    """Note the trainer's process. While it runs there is time to import what is needed afterwards,
    and to look for garbage again, but among what is new alone: the files of the dataset stay known
    until the end."""
    reached(Step.TRAINER_STARTED)
    trainer = Trainer(pid, alive.start_time(pid) or "")
    journal.write(running.ready.repository.private, running.note._replace(trainer=trainer))
    reached(Step.TRAINER_NOTED)
    import loragit.run.results
    import loragit.trainers.sd_scripts.naming  # noqa: F401

    gc.freeze()
    gc.enable()


def _finish(running: _Running, ended: _Ended) -> int:
    """Seal or revert. A failure of ours is told, leaves the run open on record, and hides no exit
    status."""
    ready = running.ready
    note = running.note._replace(end=ended.end)
    assert note.work is not None
    run = ending.Unended(
        running.store, running.opened, note, note.work, running.folder, running.hide
    )
    try:
        with contextlib.suppress(
            LoragitError
        ):  # a disk that is full will be told of where it does harm
            journal.write(ready.repository.private, note)
            reached(Step.END_NOTED)
        made_something = ending.end(run, ended.end, ended.log_tail)
    except (LoragitError, OSError) as error:
        console.error(ending.told(error))
        console.warn(
            f"{running.name} stays open on record; what the trainer wrote is in {ready.output}"
        )
        if not isinstance(error, output.OutputGone):
            console.hint("once that is mended, finish it with: loragit recover")
        return ended.exit_status or 1
    return ended.exit_status if ended.exit_status or made_something else 1
