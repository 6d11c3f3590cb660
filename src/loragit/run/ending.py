"""How a run ends: sealed with what came out, or reverted because nothing did.

``loragit train`` ends its own run this way, and ``loragit recover`` one whose loragit is gone: all
that is needed is in the run's journal entry. Each step can be done again, so that whoever is killed
in the middle is followed by the next.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.crash_points import CrashPoint, reached
from loragit.errors import LoragitError
from loragit.git import signing
from loragit.record import message
from loragit.record.values import Entry, Opened, Outcome, Weights
from loragit.run.output import OutputFolder, sha256
from loragit.run.report import Report
from loragit.secrets.redact import Redactor
from loragit.store import journal
from loragit.store.journal import End, Work
from loragit.store.store import Store
from loragit.system import durable
from loragit.trainers.losses import LogFolders

LOG = "sdscripts.log"
"""The trainer's output, in the output folder; the name that the zsh helpers gave it."""
LOG_TAIL = 20
"""Lines of the log that a revert's message quotes."""
TAIL_WIDTH = 500
"""Characters of each such line, at most."""
MAX_PROMPTS = 1 << 20
"""Bytes of edited prompts that are looked at."""


class OpenRun(NamedTuple):
    """A run that is open on record, with all that is needed to end it."""

    store: Store
    opened: Opened
    entry: journal.JournalEntry
    """Its journal entry."""
    folder: OutputFolder
    redact: Redactor
    log_tail: tuple[str, ...] = ()
    """The last lines of the log, redacted."""
    recovered: datetime | None = None
    """Now, UTC, where this is not the loragit that opened it."""
    without_output: bool = False
    """Whether the user says that an output folder that is not there is gone for good."""

    @property
    def work(self) -> Work:
        assert self.entry.work is not None
        return self.entry.work

    @property
    def end(self) -> End:
        """How the trainer ended; asked only once it has."""
        assert self.entry.end is not None
        return self.entry.end

    def ended(self, end: End, log_tail: tuple[str, ...] = ()) -> OpenRun:
        """The same run once its trainer has ended."""
        return self._replace(entry=self.entry._replace(end=end), log_tail=log_tail)


def seal_or_revert(run: OpenRun, report: Report) -> bool:
    """Seal or revert a run whose trainer has ended, and remove its journal entry. Return whether
    the trainer made something.

    Raises :class:`~loragit.run.output.OutputGone`, another :class:`LoragitError`, OSError; the run
    is still open on record then, or all but cleared away.
    """
    from loragit.run import results

    found = outcome_of(run)
    _require_output(run, found, report)
    reached(CrashPoint.COLLECTED)
    if found.made_something or run.work.on_empty == "keep":
        if trouble := results.sync_products(run.folder.path, found, LOG):
            report.warn(trouble)
        sign = signing.wanted(run.work.sign, run.store.repository)
        unsigned = run.store.seal(run.opened, found, sign=sign)
        report.info(f"sealed {run.opened.name}: {message.outcome_subject(found)}")
        if unsigned:
            report.warn(f"{run.opened.name} has no signature: {unsigned.message}")
            if unsigned.hint:
                report.hint(unsigned.hint)
    else:
        _revert(run, found, report)
    if run.store.not_durable:
        report.warn(
            f"the end of {run.opened.name} may not outlast a power cut: "
            f"{run.store.not_durable.message}"
        )
    remove_entry(run.store, run.entry)
    return found.made_something


def _require_output(run: OpenRun, found: Outcome, report: Report) -> None:
    """A disk that is not mounted must not make a run one that made nothing. Raises
    :class:`~loragit.run.output.OutputGone`."""
    if found.made_something:
        if replaced := run.folder.replaced():
            report.warn(replaced)
    elif not run.without_output:
        run.folder.require(run.opened.name)


def remove_entry(store: Store, entry: journal.JournalEntry) -> None:
    """Remove the journal entry of a run that is ended: the last step."""
    journal.remove(store.repository.private, entry)
    reached(CrashPoint.ENTRY_REMOVED)


def outcome_of(run: OpenRun) -> Outcome:
    """What came out, found and hashed."""
    from loragit.run import results
    from loragit.run.preflight.weights import hub_cache
    from loragit.trainers import kinds

    work, end = run.work, run.end
    logs = None
    if work.log_folder:
        where = LogFolders(Path(work.log_folder), work.log_prefix)
        logs = results.Logs(where, frozenset(work.log_before))
    found = results.collect(
        run.folder.path,
        work.output_name or None,
        kinds.trainer_of(work.trainer_kind),
        exit_status=end.exit_status,
        started=datetime.fromisoformat(end.started),
        finished=datetime.fromisoformat(end.finished),
        shown_output=text.home_as_tilde(str(run.folder.path), work.home),
        logs=logs,
        log=run.folder.path / LOG,
        ours={*run.folder.files, LOG} if run.folder.files else None,
    )
    return found._replace(
        prompts=_edited_prompts(run),
        interrupted_by=end.interrupted_by or None,
        recovered=run.recovered,
        weights=tuple(
            Weights(ref.role, ref.name, None, revision=commit)
            for ref in work.hub_refs
            if (commit := hub_cache.commit_at(Path(ref.file)))
        ),
    )


def _edited_prompts(run: OpenRun) -> Entry | None:
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
    return Entry(run.work.prompts, run.redact(data.decode("utf-8", "replace")).encode())


def _revert(run: OpenRun, found: Outcome, report: Report) -> None:
    """Free the name of a run that made nothing, and say why."""
    reason = revert_reason(run.end, found)
    log = copy_log(run, report)
    name, home = run.opened.name, run.work.home
    if run.work.on_empty == "delete-tag":
        run.store.delete_tag(run.opened)
        report.info(f"deleted the tag {name}: {reason}")
    else:
        tail = tuple(text.home_as_tilde(line[:TAIL_WIDTH], home) for line in run.log_tail)
        commit = run.store.revert(
            run.opened, run.end.exit_status, text.home_as_tilde(reason, home), tail
        )
        report.info(f"reverted {name} as {commit[:8]}: {reason}")
    remove_output(run, log, report)


class LogCopy(NamedTuple):
    """What became of the log when it was copied."""

    path: Path | None
    """The copy; ``None`` where there is none."""
    original_may_go: bool
    """Whether nothing is lost with the log in the output folder."""


def remove_output(run: OpenRun, log: LogCopy, report: Report) -> None:
    """Remove the output folder of a run that made nothing, if it holds nothing but what loragit put
    there."""
    foreign = run.folder.remove() if log.original_may_go else (LOG,)
    if foreign:
        report.warn(
            f"{run.folder.why_it_stays(foreign)}; move it away before {run.opened.name} is used "
            "again"
        )
    if log.path is not None:
        report.info(f"the log is {log.path}")


def revert_reason(end: End, found: Outcome) -> str:
    """The sentence that says why a run is reverted."""
    if end.not_started:
        return f"The trainer was not started: {end.not_started}."
    ended = f"The trainer ended with exit status {end.exit_status}"
    if end.exit_status is None:
        ended = "The run was cut off with its loragit"
    if found.truncated:
        return f"{ended} and left nothing whole: {', '.join(found.truncated)} was cut short."
    return f"{ended} and made nothing."


def copy_log(run: OpenRun, report: Report) -> LogCopy:
    """Copy the log to where it outlives the output folder:
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
            return LogCopy(target if target.exists() else None, original_may_go=True)
        report.warn(f"the log {source} could not be copied to {target.parent}: {error.strerror}")
        return LogCopy(None, original_may_go=False)
    reached(CrashPoint.LOG_COPIED)
    return LogCopy(target, original_may_go=True)


def as_loragit_error(error: LoragitError | OSError) -> LoragitError:
    """``error``, or what the system refused in the form of loragit's own errors."""
    if isinstance(error, LoragitError):
        return error
    return LoragitError(
        f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    )
