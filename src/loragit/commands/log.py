"""``loragit log``: a line a run."""

from __future__ import annotations

from pathlib import Path

from loragit import console, text
from loragit.history import REVERTED, History, RecordedRun


def log(folder: Path, *, limit: int | None = None, as_json: bool = False) -> None:
    """Print the runs of the repository around ``folder``, newest first. Raises :class:`LoragitError`."""
    history = History.of(folder)
    listed = history.runs if limit is None else history.newest(limit)
    if as_json:
        import json

        console.write(json.dumps([table(run) for run in listed], indent=2) + "\n")
    elif not listed:
        console.say("no runs on record here yet; the first: loragit train NAME")
    else:
        console.columns((run.name, _minute(run), run.state, _came_out(run) or run.subject) for run in listed)


def _minute(run: RecordedRun) -> str:
    return run.opened.strftime("%Y-%m-%d %H:%M")


def _came_out(run: RecordedRun) -> str:
    if run.outcome:
        return run.outcome.subject
    if run.state != REVERTED or run.revert is None:
        return ""
    status = "" if run.revert.exit_status is None else f"exit status {run.revert.exit_status}, "
    return f"{status}made nothing"


def table(run: RecordedRun) -> dict[str, str | int | None]:
    """One run for a machine."""
    return {
        "run": run.name,
        "commit": run.commit,
        "dataset": run.dataset,
        "opened": _minute(run),
        "state": run.state,
        "subject": run.subject,
        "outcome": _came_out(run),
        "reverted_by": run.revert.commit if run.revert else None,
        "exit_status": run.revert.exit_status if run.revert else None,
    }


def heading(run: RecordedRun) -> str:
    """``noob-gren-v2s512: sealed, opened 2026-11-23 17:20``."""
    return text.shown(f"{run.name}: {run.state}, opened {_minute(run)} as {run.commit[:8]}")
