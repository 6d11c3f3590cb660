"""How a run ends: sealed with what came out, or taken back because nothing did.

``loragit train`` ends its own run this way, and ``loragit recover`` one whose loragit is gone: all
that is needed is in the note of the run. Each step can be done again, so that one who is killed in
the middle is followed by another.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from loragit import console, text
from loragit.crash_points import Step, reached
from loragit.errors import LoragitError
from loragit.git import signing
from loragit.record import message
from loragit.record.values import Entry, Opened, Outcome
from loragit.run.output import OutputFolder, sha256
from loragit.store import journal
from loragit.store.journal import End, Work
from loragit.store.store import Store
from loragit.system import durable

LOG = "sdscripts.log"
"""The trainer's output, in the output folder; the name that the zsh helpers gave it."""
LOG_TAIL = 20
"""Lines of the log that a revert's message quotes."""
TAIL_WIDTH = 500
"""Characters of each such line, at most."""
MAX_PROMPTS = 1 << 20
"""Bytes of edited prompts that are looked at."""


class Unended(NamedTuple):
    """A run on record whose trainer has ended, or never began."""

    store: Store
    opened: Opened
    note: journal.Open
    work: Work
    folder: OutputFolder
    hide: Callable[[str], str]
    """Masks secrets in a text."""
    recovered: datetime | None = None
    """Now, UTC, where this is not the loragit that opened it."""
    without_output: bool = False
    """Whether the user says that an output folder that is not there is gone for good."""


def end(run: Unended, how: End, log_tail: tuple[str, ...]) -> bool:
    """Seal or revert, and forget the note. Whether the trainer made something.

    Raises :class:`~loragit.run.output.OutputGone`, another :class:`LoragitError`, OSError; the run
    is still open on record then, or all but cleared away.
    """
    from loragit.run import results as outcome

    found = collect(run, how)
    _check_output(run, found)
    reached(Step.COLLECTED)
    if found.made_something or run.work.on_empty == "keep":
        if trouble := outcome.settle(run.folder.path, found, LOG):
            console.warn(trouble)
        sign = signing.wanted(run.work.sign, run.store.repository)
        unsigned = run.store.seal(run.opened, found, sign=sign)
        console.say(f"sealed {run.opened.name}: {message.outcome_subject(found)}")
        if unsigned:
            console.warn(f"{run.opened.name} has no signature: {unsigned.message}")
    else:
        _undo(run, how, found, log_tail)
    if run.store.not_durable:
        console.warn(
            f"the end of {run.opened.name} may not outlast a power cut: "
            f"{run.store.not_durable.message}"
        )
    forget(run.store, run.note)
    return found.made_something


def _check_output(run: Unended, found: Outcome) -> None:
    """A disk that is not mounted must not make a run one that made nothing. Raises
    :class:`~loragit.run.output.OutputGone`."""
    if found.made_something:
        if replaced := run.folder.replaced():
            console.warn(replaced)
    elif not run.without_output:
        run.folder.require(run.opened.name)


def forget(store: Store, note: journal.Open) -> None:
    """The run needs nothing more."""
    journal.remove(store.repository.private, note)
    reached(Step.FORGOTTEN)


def collect(run: Unended, how: End) -> Outcome:
    """What came out, found and hashed."""
    from loragit.run import results as outcome
    from loragit.trainers.sd_scripts.naming import NAMING

    work = run.work
    logs = None
    if work.log_folder:
        logs = outcome.Logs(Path(work.log_folder), work.log_prefix, frozenset(work.log_before))
    found = outcome.collect(
        run.folder.path,
        work.output_name or None,
        NAMING,
        exit_status=how.exit_status,
        started=datetime.fromisoformat(how.started),
        finished=datetime.fromisoformat(how.finished),
        shown_output=text.home_as_tilde(str(run.folder.path), work.home),
        logs=logs,
    )
    return found._replace(
        prompts=_edited_prompts(run),
        interrupted_by=how.interrupted_by or None,
        recovered=run.recovered,
    )


def _edited_prompts(run: Unended) -> Entry | None:
    """The trainer's copy of the sample prompts, which it reads at every sampling, if somebody
    edited it."""
    written = run.folder.files.get(run.work.prompts)
    if written is None:
        return None
    try:
        with (run.folder.path / run.work.prompts).open("rb") as file:
            data = file.read(MAX_PROMPTS)
            whole = not file.read(1)
    except OSError:
        return None
    if whole and sha256(data) == written:
        return None
    return Entry(run.work.prompts, run.hide(data.decode("utf-8", "replace")).encode())


def _undo(run: Unended, how: End, found: Outcome, log_tail: tuple[str, ...]) -> None:
    """Free the name of a run that made nothing, and say why."""
    reason = _reason(how, found)
    kept = keep_log(run)
    name, home = run.opened.name, run.work.home
    if run.work.on_empty == "delete-tag":
        run.store.delete_tag(run.opened)
        console.say(f"deleted the tag {name}: {reason}")
    else:
        tail = tuple(text.home_as_tilde(line[:TAIL_WIDTH], home) for line in log_tail)
        commit = run.store.revert(
            run.opened, how.exit_status, text.home_as_tilde(reason, home), tail
        )
        console.say(f"reverted {name} as {commit[:8]}: {reason}")
    clear(run, kept)


class Kept(NamedTuple):
    """What became of the log."""

    copy: Path | None
    may_go: bool
    """Whether the one in the output folder is not the only one."""


def clear(run: Unended, kept: Kept) -> None:
    """Remove the output folder of a run that made nothing, if it holds nothing but what loragit put
    there."""
    foreign = run.folder.remove() if kept.may_go else (LOG,)
    if foreign:
        console.warn(
            f"{run.folder.why_it_stays(foreign)}; move it away before {run.opened.name} is used "
            "again"
        )
    if kept.copy is not None:
        console.say(f"the log is {kept.copy}")


def _reason(how: End, found: Outcome) -> str:
    if how.not_started:
        return f"The trainer was not started: {how.not_started}."
    ended = f"The trainer ended with exit status {how.exit_status}"
    if how.exit_status is None:
        ended = "The run was cut off with its loragit"
    if found.truncated:
        return f"{ended} and left nothing whole: {', '.join(found.truncated)} was cut short."
    return f"{ended} and made nothing."


def keep_log(run: Unended) -> Kept:
    """A copy of the log that outlives the output folder:
    ``.git/loragit/logs/<name>-<commit>.log``."""
    import shutil

    source = run.folder.path / LOG
    target = (
        run.store.repository.private / "logs" / f"{run.opened.name}-{run.opened.commit[:8]}.log"
    )
    try:
        durable.make_folder(target.parent, run.store.repository.common_dir)
        shutil.copyfile(source, target, follow_symlinks=False)
        # It may soon be the only one.
        durable.sync(target)
        for folder in (target.parent, run.store.repository.private):
            durable.sync(folder)
    except OSError as error:
        if not source.exists():
            return Kept(target if target.exists() else None, may_go=True)
        console.warn(f"the log {source} could not be copied to {target.parent}: {error.strerror}")
        return Kept(None, may_go=False)
    reached(Step.LOG_KEPT)
    return Kept(target, may_go=True)


def told(error: LoragitError | OSError) -> LoragitError:
    """What the system refused, in the form in which loragit tells it."""
    if isinstance(error, LoragitError):
        return error
    return LoragitError(
        f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    )
