"""Runs as JSON: docs/json.md and docs/schema/ describe these documents, and keep them stable."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loragit.errors import LoragitError
from loragit.history.compare.cached import Brief
from loragit.history.record_parser import Code, Record
from loragit.history.runs import REVERTED, RecordedRun
from loragit.record.values import Weights

Document = dict[str, object]


def came_out(run: RecordedRun) -> str:
    """The outcome in a line: of the sealed tag, or of the revert; empty while it is open."""
    if run.tag is not None:
        try:
            outcome = run.outcome
        except LoragitError:
            return ""
        return outcome.subject if outcome else ""
    if run.state != REVERTED or run.revert is None:
        return ""
    status = "" if run.revert.exit_status is None else f"exit status {run.revert.exit_status}, "
    return f"{status}made nothing"


def summary(
    run: RecordedRun, brief: Brief | None, base: RecordedRun | None, changed: tuple[str, ...] | None
) -> Document:
    """A run as ``loragit log --json`` lists it."""
    revert = run.revert
    status = brief.exit_status if brief else revert.exit_status if revert else None
    return {
        "run": run.name,
        "commit": run.commit,
        "dataset": run.dataset,
        "path": run.path,
        "repository": str(run.contents.repository.top),
        "opened": run.minute,
        "opened_at": run.opened.isoformat(),
        "state": run.state,
        "subject": run.subject,
        "outcome": came_out(run),
        "reverted_by": revert.commit if revert else None,
        "exit_status": status,
        "reason": revert.reason if revert else None,
        "seconds": brief.seconds if brief else None,
        "model_count": brief.models if brief else None,
        "truncated_count": brief.truncated if brief else None,
        "unreadable_count": brief.unreadable if brief else None,
        "state_count": brief.states if brief else None,
        "sample_count": brief.samples if brief else None,
        "final_loss": _finite(brief.final_loss) if brief else None,
        "trainer_commit": run.trainer_commit or None,
        "changed_since": base.name if base and changed is not None else None,
        "changed": None if changed is None else list(changed),
        "imported": run.imported,
        "resumed_from": list(run.resumed_from),
        "derived_from": list(run.derived_from),
        "format": run.format,
    }


def _finite(value: float | None) -> float | None:
    """JSON has no word for what is not a number."""
    return value if value is not None and math.isfinite(value) else None


def whole(run: RecordedRun, listed: Document, others: Sequence[RecordedRun]) -> Document:
    """A run as ``loragit show --json`` tells it: ``listed`` with all that is on record."""
    outcome = run.outcome
    record: Record | None = None
    unreadable = None
    try:
        record = run.record
    except LoragitError as error:
        unreadable = error.message
    return {
        **listed,
        "record": {key: list(values) for key, values in run.trailers.items()},
        "outcome_record": {key: list(values) for key, values in outcome.trailers.items()}
        if outcome
        else {},
        "models": [model._asdict() for model in outcome.models] if outcome else [],
        "truncated": list(outcome.truncated) if outcome else [],
        "unreadable": list(outcome.unreadable) if outcome else [],
        "states": list(outcome.states) if outcome else [],
        "output": outcome.output if outcome else None,
        "log_tail": list(run.revert.log_tail) if run.revert else [],
        "notes": list(run.notes),
        "files": list(run.files),
        "unreadable_record": unreadable,
        **({} if record is None else _recorded(record)),
        "packages": _packages(run),
        "others": [
            {"commit": other.commit, "state": other.state, "opened": other.minute}
            for other in others
        ],
    }


def _recorded(record: Record) -> Document:
    return {
        "model": record.model,
        "version": record.version,
        "steps": record.steps,
        "epochs": record.epochs,
        "images": record.images,
        "captions": record.captions,
        "dataset_commit": record.dataset_commit,
        "dataset_dirty": record.dataset_dirty,
        "args": {name: list(values) for name, values in record.args.items()},
        "argv": list(record.argv),
        "workdir": record.workdir,
        "script": record.trainer_script,
        "repositories": [
            _code(code) for code in (record.trainer, record.lycoris, *record.repositories) if code
        ],
        "weights": [_weights(weights) for weights in record.weights],
    }


def _code(code: Code) -> Document:
    return {**code._asdict(), "dirty": list(code.dirty)}


def _weights(weights: Weights) -> Document:
    return weights._asdict()


def _packages(run: RecordedRun) -> dict[str, str]:
    try:
        return dict(run.packages)
    except LoragitError:
        return {}
