"""``loragit import``: trainings of the past become runs on record."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from loragit import console, text
from loragit.errors import Area, Finding, LoragitError
from loragit.run.importing import plan as intake
from loragit.run.importing.plan import ImportItem, ImportPlan, ImportRequest
from loragit.store.store import BroughtIn, Store
from loragit.system import child


class NotAllImported(LoragitError):
    """Some trainings were left out because of a problem. The others are on record."""

    def __init__(self, problems: tuple[Finding, ...]) -> None:
        super().__init__(
            f"not everything was imported: {text.count(len(problems), 'problem')} found",
            findings=problems,
        )


def import_(request: ImportRequest, *, dry_run: bool = False, as_json: bool = False) -> None:
    """Look at everything, show what there is, and write the new runs, the oldest first.

    Raises :class:`NotAllImported` in the end where a problem kept something out.
    """
    confirm = partial(console.confirm, default=False) if console.can_ask() else None
    plan = intake.plan_import(request._replace(confirm=confirm), console.info)
    for line in plan.warnings:
        console.warn(line)
    if not as_json:
        console.columns(map(_row, plan.items))
    done = [] if dry_run else _write(plan)
    if as_json:
        _print_json(plan, done)
    _print_summary(plan, done, dry_run=dry_run)
    failed = tuple(
        Finding(f"{run.source}: {why.message}", why.hint, Area.OUTPUT)
        for run, _, why in done
        if why is not None
    )
    if plan.problems or failed:
        raise NotAllImported(plan.problems + failed)


def _row(item: ImportItem) -> tuple[str, ...]:
    when = text.timestamp(item.started)[:16].replace("T", " ") if item.started else "?"
    return (item.name, when, item.dataset or "?", item.state, item.note)


def _write(plan: ImportPlan) -> list[BroughtIn]:
    """The new runs, repository by repository."""
    moment = datetime.now(UTC)
    new: dict[Path, list[ImportItem]] = {}
    for item in plan.items:
        if item.target is not None:
            new.setdefault(item.target.repository.common_dir, []).append(item)
    done: list[BroughtIn] = []
    for items in new.values():
        target = items[0].target
        assert target is not None
        store = Store(target.repository, target.author, target.committer, warn=console.warn)
        done += store.bring_in([item.run for item in items if item.run is not None], moment)
        with suppress(LoragitError):
            child.spawn_quietly(
                ["git", "maintenance", "run", "--auto", "--quiet"], cwd=target.repository.top
            )
    return done


def _print_summary(plan: ImportPlan, done: list[BroughtIn], *, dry_run: bool) -> None:
    states = [item.state for item in plan.items]
    parts = [
        f"{count} {state}"
        for state in intake.STATES
        if state != intake.NEW and (count := states.count(state))
    ]
    if dry_run:
        summary = f"dry run: {text.count(states.count(intake.NEW), 'run')} would be imported"
    else:
        summary = f"imported {text.count(sum(each.commit is not None for each in done), 'run')}"
    console.info("; ".join([summary, *parts]) + ("; nothing was written" if dry_run else ""))


def _print_json(plan: ImportPlan, done: list[BroughtIn]) -> None:
    import json

    commits = {(each.run.source, each.run.name.text): each.commit for each in done}
    document = [
        {
            "run": item.name,
            "source": item.source,
            "dataset": item.dataset,
            "started": text.timestamp(item.started) if item.started else None,
            "state": item.state,
            "note": item.note,
            "missing": list(item.run.missing) if item.run else [],
            "commit": commits.get((item.source, item.name)),
        }
        for item in plan.items
    ]
    console.write(json.dumps(document, indent=2) + "\n")
