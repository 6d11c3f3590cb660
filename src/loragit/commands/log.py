"""``loragit log``: a line for each run, with what changed since the one before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import console, git, text
from loragit.commands import interrupted
from loragit.history.compare import cached
from loragit.history.compare.cached import OutcomeCounts
from loragit.history.history import REVERTED, History, RecordedRun
from loragit.record import message

_NOTHING = "-"
"""Stands in a column without a value, so that a script can count columns."""
_LEAST_CHANGED = 24
"""Columns of the terminal that the changes get at least; other columns are left out first."""


class LogOptions(NamedTuple):
    """The options of the command line."""

    words: tuple[str, ...] = ()
    """Patterns of names."""
    models: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    states: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    where: tuple[str, ...] = ()
    grep: str = ""
    sort: str = ""
    reverse: bool = False
    limit: int | None = None
    failed: bool = False
    """Only runs that made nothing, and why."""
    graph: bool = False
    """Draw which run continued which."""
    one_dataset: bool = False
    """Only runs of the named folder, if its repository holds several datasets."""
    as_json: bool = False


class _LoggedRuns(NamedTuple):
    """Runs with what the log shows of them."""

    runs: list[RecordedRun]
    bases: dict[str, RecordedRun]
    outcomes: dict[str, OutcomeCounts]
    changes: dict[str, tuple[str, ...]]

    def summary(self, run: RecordedRun) -> dict[str, object]:
        from loragit.history.as_json import listed_run

        return listed_run(
            run,
            self.outcomes.get(run.commit),
            self.bases.get(run.commit),
            self.changes.get(run.commit),
        )


def log(folder: Path, options: LogOptions) -> None:
    """Print the runs of the repository around ``folder``. Raises :class:`LoragitError`."""
    history = History.of(folder)
    _log(
        (history,),
        options,
        message.dataset_path(history.repository.prefix) if options.one_dataset else None,
    )


def log_all(datasets: Path, options: LogOptions) -> None:
    """Print the runs of every dataset in the folder ``datasets``. Raises
    :class:`LoragitError`."""
    _log(History.all(datasets), options, None)


def _log(histories: Sequence[History], options: LogOptions, path: str | None) -> None:
    for history in histories:
        if history.shallow:
            console.info(
                f"{history.repository.top} is a shallow clone: older runs are missing here"
            )
    known = [run for history in histories for run in history.runs]
    if len(histories) > 1:
        known.sort(key=lambda run: run.time, reverse=True)
    # Bases come from all runs, or a filter would change what a run is compared with.
    bases = {commit: base for history in histories for commit, base in history.bases().items()}
    runs = _selected_runs(known, options, path, histories)
    failed = options.failed and not options.as_json
    changed = {} if failed else cached.changes_in_brief(runs, bases)
    logged = _LoggedRuns(runs, bases, cached.outcome_counts(runs), changed)
    cached.save_cache(known, bases)
    for history in histories:
        interrupted.warn_if_interrupted(history.repository)
    if options.as_json:
        import json

        console.write(json.dumps([logged.summary(run) for run in runs], indent=2) + "\n")
    elif not known:
        console.info("no runs on record here yet; the first: loragit train NAME")
    elif not runs:
        console.info(f"none of {text.count(len(known), 'run')} on record matches")
    else:
        _print_runs(logged, options, several=len(histories) > 1)


def _selected_runs(
    known: list[RecordedRun], options: LogOptions, path: str | None, histories: Sequence[History]
) -> list[RecordedRun]:
    # A plain log is faster without importing what only filters need.
    if options._replace(limit=None, as_json=False, graph=False) == LogOptions(
        one_dataset=options.one_dataset
    ):
        runs = known if path is None else [run for run in known if run.path == path]
        return runs[: options.limit]
    from loragit.history.query import selection, where

    some = histories[0].repository.top if histories else Path("/")
    chosen = selection.Selection(
        names=options.words,
        path=path,
        models=options.models,
        versions=options.versions,
        states=selection.parse_states(options.states)
        + (selection.FAILED if options.failed else ()),
        since=selection.parse_date(options.since, some) if options.since else None,
        until=selection.parse_date(options.until, some, end=True) if options.until else None,
        conditions=tuple(map(where.Condition.parse, options.where)),
        grep=options.grep,
        sort=options.sort,
        reverse=options.reverse,
        limit=options.limit,
    )
    return chosen.select(known)


def _print_runs(logged: _LoggedRuns, options: LogOptions, *, several: bool) -> None:
    width = console.width()
    if width is not None:
        console.start_pager(git.pager())
    if options.failed:
        rows = [(run, _failed_row(run)) for run in logged.runs]
    elif options.graph:
        from loragit.history.lineage import lineage_tree

        names = [
            (twig.run, f"{twig.drawn}{twig.run.name}", twig.how)
            for twig in lineage_tree(logged.runs)
        ]
        rows = [
            (run, _row(run, logged, f"{name} ({how})" if how else name)) for run, name, how in names
        ]
    else:
        rows = [(run, _row(run, logged, run.name)) for run in logged.runs]
    lines = [(run.dataset or _NOTHING, *row) if several else row for run, row in rows]
    console.columns(lines if width is None or options.failed else _fit_columns(lines, width), width)


def _row(run: RecordedRun, logged: _LoggedRuns, name: str) -> tuple[str, ...]:
    counts = logged.outcomes.get(run.commit)
    changed = logged.changes.get(run.commit)
    return (
        name,
        run.minute,
        "imported" if run.imported else run.state,
        _duration(counts),
        _products(run, counts),
        _NOTHING if counts is None else text.count(counts.samples, "sample"),
        _NOTHING
        if counts is None or counts.final_loss is None
        else f"loss {counts.final_loss:.4g}",
        run.trainer_commit[:8] or _NOTHING,
        _NOTHING if changed is None else "; ".join(changed) or "as before",
    )


def _duration(counts: OutcomeCounts | None) -> str:
    return _NOTHING if counts is None or counts.seconds is None else text.duration(counts.seconds)


def _products(run: RecordedRun, counts: OutcomeCounts | None) -> str:
    """Return what came out, and what is wrong with it."""
    if counts is None:
        revert = run.revert if run.state == REVERTED else None
        return (
            f"exit status {revert.exit_status}"
            if revert and revert.exit_status is not None
            else _NOTHING
        )
    others = 0 if counts.models else counts.other_files
    parts = [] if others else [text.count(counts.models, "model")]
    parts += [text.count(counts.states, "state")] if counts.states else []
    parts += [text.count(others, "other file")] if others else []
    parts += [f"{counts.truncated} cut short"] if counts.truncated else []
    parts += [f"{counts.unreadable} unreadable"] if counts.unreadable else []
    parts += [f"exit status {counts.exit_status}"] if counts.exit_status else []
    return ", ".join(parts)


_DISPENSABLE = (-2, -4, -3, -6)
"""Columns that a narrow terminal leaves out, in this order: trainer, samples, loss, duration."""


def _fit_columns(rows: list[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    """Return ``rows`` without the columns for which there is no room beside the changes."""
    columns = list(zip(*rows, strict=True))
    widths = {
        number - len(columns): max(map(text.width, column)) + 2
        for number, column in enumerate(columns[:-1])
    }
    for number in _DISPENSABLE:
        if sum(widths.values()) + _LEAST_CHANGED > width:
            del widths[number]
    kept = [len(columns) + number for number in (*widths, -1)]
    return [tuple(row[number] for number in kept) for row in rows]


def _failed_row(run: RecordedRun) -> tuple[str, ...]:
    revert = run.revert
    if revert is None:
        return run.name, run.minute, run.state, _NOTHING, "its tag was deleted; nothing says why"
    status = _NOTHING if revert.exit_status is None else f"exit status {revert.exit_status}"
    return run.name, run.minute, run.state, status, telling_line(revert.log_tail) or revert.reason


def telling_line(lines: Sequence[str]) -> str:
    """Return the line of a log's end that says most: the last one that names an error, else the
    last that is not blank."""
    said = [line.strip() for line in lines if line.strip()]
    return next(
        (line for line in reversed(said) if _names_an_error(line)), said[-1] if said else ""
    )


def _names_an_error(line: str) -> bool:
    words = line.lower()
    return any(
        word in words
        for word in ("error", "exception", "out of memory", "killed", "fatal", "no data found")
    )


def heading(run: RecordedRun) -> str:
    """Return ``noob-gren-v2s512: sealed, opened 2026-11-23 17:20 as 0f1e2d3c``."""
    return text.shown(f"{run.name}: {run.state}, opened {run.minute} as {run.commit[:8]}")
