"""``loragit log``: a line a run."""

from __future__ import annotations

from pathlib import Path

from loragit import console, git, history, text
from loragit.history import Listed


def log(folder: Path, *, limit: int | None = None, as_json: bool = False) -> None:
    """Print the runs of the repository around ``folder``, newest first. Raises :class:`LoragitError`."""
    listed = history.runs(git.discover(folder), limit)
    if as_json:
        import json

        console.write(json.dumps([table(run) for run in listed], indent=2) + "\n")
    elif not listed:
        console.say("no runs on record here yet; the first: loragit train NAME")
    else:
        console.columns((run.name, run.opened, run.state, run.outcome or run.subject) for run in listed)


def table(run: Listed) -> dict[str, str | int | None]:
    """One run for a machine: every value of :class:`Listed` under its own name."""
    return {
        "run": run.name,
        "commit": run.commit,
        "dataset": run.dataset,
        "opened": run.opened,
        "state": run.state,
        "subject": run.subject,
        "outcome": run.outcome,
        "reverted_by": run.reverted_by,
        "exit_status": run.exit_status,
    }


def heading(run: Listed) -> str:
    """``noob-gren-v2s512: sealed, opened 2026-11-23 17:20``."""
    return text.shown(f"{run.name}: {run.state}, opened {run.opened} as {run.commit[:8]}")
