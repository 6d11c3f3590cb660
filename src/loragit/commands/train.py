"""``loragit train``: open a run on record, train, seal it with what came out or revert it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loragit import (
    console,
    edits,
    journal,
    output,
    preflight,
    process,
    pythons,
    secrets,
    settings,
    signals,
    signing,
    text,
)
from loragit.errors import LoragitError
from loragit.journal import Open
from loragit.output import OutputFolder
from loragit.preflight import Ready, Request
from loragit.record import Entry, Outcome
from loragit.store import Opened, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loragit.outcome import Logs

LOG = "sdscripts.log"
"""The trainer's output, in the output folder; the name that the zsh helpers gave it."""
LOG_TAIL = 20
"""Lines of the log that a revert's message quotes."""
ONCE = 1.0
"""Seconds within which a signal counts once where the shell functions wait for us, and pass on what they are told."""
TAIL_WIDTH = 500
"""Characters of each such line, at most."""


MAX_PROMPTS = 1 << 20
"""Bytes of edited prompts that are looked at."""


class _Running(NamedTuple):
    """A run between its opening and its end."""

    ready: Ready
    store: Store
    opened: Opened
    folder: OutputFolder
    note: Open
    logs: Logs | None
    """Where TensorBoard events may appear, and which of them were there before."""

    @property
    def name(self) -> str:
        return self.ready.run.name


class _Ended(NamedTuple):
    """How the trainer ended, or why it never began."""

    exit_status: int
    started: datetime
    finished: datetime
    interrupted_by: int | None = None
    log_tail: tuple[str, ...] = ()
    not_started: str | None = None


def train(request: Request) -> int:
    """Train, on record. Returns the trainer's exit status, or 1 where that is 0 and nothing was made.

    Raises :class:`LoragitError` where the run was not opened; then nothing was written.
    """
    ready = preflight.prepare(request)
    for line in ready.warnings:
        console.warn(line)
    with signals.held():
        running = _open(ready)
        status = _finish(running, _run(running))
    with contextlib.suppress(LoragitError):
        process.spawn_quietly(["git", "maintenance", "run", "--auto", "--quiet"], cwd=ready.repository.top)
    return status


def dry_run(request: Request) -> None:
    """Show the run as it would be recorded and started; write nothing. Raises :class:`LoragitError`."""
    ready = preflight.prepare(request)
    for line in ready.warnings:
        console.warn(line)
    for line in text.message(ready.run).splitlines():
        console.out(line)
    console.out()
    for entry in sorted((*ready.run.entries, text.run_toml(ready.run)), key=lambda e: e.path):
        if not entry.path.startswith("captions/"):
            console.out(f"{len(entry.data):>9} bytes  {entry.path}")
    console.out(f"{text.count(ready.run.captions, 'file')} in captions/")
    console.out()
    script = ready.run.entry(ready.run.script)
    for line in script.data.decode("utf-8", "replace").splitlines() if script else ():
        console.out(line)
    python = settings.find_python(ready.settings.trainer, request.environ)
    console.say(f"the trainer's Python is {python}, in {pythons.prefix(python) or 'no environment'}")
    console.say(f"dry run: {ready.run.name} could start; nothing was written")


def _open(ready: Ready) -> _Running:
    """Write the trainer's copies, then the record. On failure both are taken back."""
    store = Store(ready.repository, ready.author, ready.committer, tell=console.warn)
    logs = _logs(ready)
    folder = output.make(ready.output, ready.output_files, LOG)
    private = ready.repository.private
    note = _note(ready)
    try:
        journal.write(private, note)
        opened = store.open(ready.run)
    except BaseException:
        journal.remove(private, note)
        folder.remove()
        raise
    console.say(f"opened {ready.run.name} as {opened.commit[:8]} on runs")
    return _Running(ready, store, opened, folder, note, logs)


def _logs(ready: Ready) -> Logs | None:
    from loragit import outcome
    from loragit.trainers.sd_scripts_files import NAMING

    plan = ready.start.plan
    if plan.logging_dir is None:
        return None
    before = outcome.log_folders(plan.logging_dir, plan.log_prefix, NAMING)
    return outcome.Logs(plan.logging_dir, plan.log_prefix, before)


def _note(ready: Ready) -> Open:
    import os

    pid = os.getpid()
    return Open(
        run=ready.run.name,
        started=text.timestamp(datetime.now(UTC)),
        pid=pid,
        pid_started=process.start_time(pid) or "",
        boot=process.boot_id() or "",
        host=journal.host(),
        output=text.shown(str(ready.output)),
    )


def _run(running: _Running) -> _Ended:
    """Let the trainer run to its end, whatever that is."""
    ready = running.ready
    now = datetime.now(UTC)
    if waiting := signals.waiting():
        return _Ended(128 + waiting[0], now, now, waiting[0], not_started="it was interrupted before the trainer began")
    commit = running.opened.commit
    environ = {**ready.environ, **ready.start.variables(commit)}
    command = process.Command(ready.start.words(commit), ready.start.workdir, environ)
    if ready.settings.debug:
        console.say(f"working directory: {command.cwd}")
        console.say("started " + " ".join(secrets.redact_argv(command.argv, ready.secret_values)))
    hide = secrets.Redactor(ready.secret_values)
    try:
        ended = process.train(
            command,
            log=ready.output / LOG,
            redact=hide,
            goes_on=hide.may_go_on,
            grace=ready.settings.trainer.stop_timeout,
            tail=LOG_TAIL,
            started=_get_ready_for_the_end,
            once=ONCE if "LORAGIT_SHELL" in ready.environ else 0.0,
        )
    except (LoragitError, OSError) as error:
        return _Ended(127, now, max(now, datetime.now(UTC)), not_started=_told(error).message)
    for line in (*ended.trouble, *_edited(ready), *edits.told(ready.read)):
        console.warn(line)
    return _Ended(ended.exit_status, ended.started, ended.finished, ended.interrupted_by, ended.log_tail)


def _edited(ready: Ready) -> Iterator[str]:
    """What to say where the user's own script is no longer what was recorded: shells read a script as they go."""
    recorded = ready.run.entry(ready.run.script)
    if ready.start.own is None or recorded is None:
        return
    path = Path(ready.start.program[0])
    try:
        if path.read_bytes() != recorded.data:
            yield f"{path} was edited while it ran: on record is what it was at the start"
    except OSError as error:
        yield f"{path} cannot be read any more ({error.strerror}): on record is what it was at the start"


def _get_ready_for_the_end(pid: int) -> None:  # noqa: ARG001 - process.train's protocol
    """While the trainer runs there is time to import what is needed afterwards, and to look for garbage again."""
    import gc

    import loragit.outcome
    import loragit.trainers.sd_scripts_files  # noqa: F401

    gc.enable()


def _finish(running: _Running, ended: _Ended) -> int:
    """Seal or revert. A failure of ours is told, leaves the run open on record, and hides no exit status."""
    try:
        found = _collect(running, ended)
        if not found.made_something:
            running.folder.require()
        elif replaced := running.folder.replaced():
            console.warn(replaced)
        if found.made_something or running.ready.settings.record.on_empty == "keep":
            sign = signing.wanted(running.ready.settings.record.sign, running.ready.repository)
            unsigned = running.store.seal(running.opened, found, sign=sign)
            console.say(f"sealed {running.name}: {text.outcome_subject(found)}")
            if unsigned:
                console.warn(f"{running.name} has no signature: {unsigned.message}")
        else:
            _undo(running, ended, found)
        journal.remove(running.ready.repository.private, running.note)
    except (LoragitError, OSError) as error:
        console.error(_told(error))
        console.warn(f"{running.name} stays open on record; what the trainer wrote is in {running.ready.output}")
        return ended.exit_status or 1
    return ended.exit_status if ended.exit_status or found.made_something else 1


def _told(error: LoragitError | OSError) -> LoragitError:
    """What the system refused, in the form in which loragit tells it."""
    if isinstance(error, LoragitError):
        return error
    return LoragitError(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))


def _collect(running: _Running, ended: _Ended) -> Outcome:
    import signal

    from loragit import outcome
    from loragit.trainers.sd_scripts_files import NAMING

    ready = running.ready
    found = outcome.collect(
        ready.output,
        ready.start.output_name,
        NAMING,
        exit_status=ended.exit_status,
        started=ended.started,
        finished=ended.finished,
        shown_output=text.home_as_tilde(str(ready.output), ready.start.home),
        logs=running.logs,
    )._replace(prompts=_edited_prompts(running))
    if ended.interrupted_by is None:
        return found
    return found._replace(interrupted_by=signal.Signals(ended.interrupted_by).name)


def _edited_prompts(running: _Running) -> Entry | None:
    """The trainer's copy of the sample prompts, which it reads at every sampling, if somebody edited it."""
    place = running.ready.start.prompts
    written = running.folder.files.get(place or "")
    if place is None or written is None:
        return None
    try:
        with (running.ready.output / place).open("rb") as file:
            data = file.read(MAX_PROMPTS)
    except OSError:
        return None
    if data == written[:MAX_PROMPTS]:
        return None
    hide = secrets.Redactor(running.ready.secret_values)
    return Entry(place, hide(data.decode("utf-8", "replace")).encode())


def _undo(running: _Running, ended: _Ended, found: Outcome) -> None:
    """Free the name of a run that made nothing, and say why."""
    reason = _reason(ended, found)
    log, kept = _keep_log(running)
    if running.ready.settings.record.on_empty == "delete-tag":
        running.store.delete_tag(running.opened)
        console.say(f"deleted the tag {running.name}: {reason}")
    else:
        home = running.ready.start.home
        tail = tuple(text.home_as_tilde(line[:TAIL_WIDTH], home) for line in ended.log_tail)
        told = text.home_as_tilde(reason, home)
        commit = running.store.revert(running.opened, ended.exit_status, told, tail)
        console.say(f"reverted {running.name} as {commit[:8]}: {reason}")
    # The only copy of a log is not thrown away.
    foreign = sorted(running.folder.remove()) if kept else [LOG]
    if foreign:
        console.warn(
            f"{running.ready.output} stays: it holds {', '.join(foreign[:3])}"
            + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
            + f"; move it away before {running.name} is used again"
        )
    if log is not None:
        console.say(f"the log is {log}")


def _reason(ended: _Ended, found: Outcome) -> str:
    if ended.not_started is not None:
        return f"The trainer was not started: {ended.not_started}."
    how = f"The trainer ended with exit status {ended.exit_status}"
    if found.truncated:
        return f"{how} and left nothing whole: {', '.join(found.truncated)} was cut short."
    return f"{how} and made nothing."


def _keep_log(running: _Running) -> tuple[Path | None, bool]:
    """A copy of the log that outlives the output folder: ``.git/loragit/logs/<name>-<commit>.log``.

    The copy, if there is one, and whether the log may go.
    """
    import shutil

    source = running.ready.output / LOG
    target = running.ready.repository.private / "logs" / f"{running.name}-{running.opened.commit[:8]}.log"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target, follow_symlinks=False)
    except OSError as error:
        if not source.exists():
            return None, True
        console.warn(f"the log {source} could not be copied to {target.parent}: {error.strerror}")
        return None, False
    return target, True
