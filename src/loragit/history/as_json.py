"""Runs, and two runs compared, as JSON: docs/json.md and docs/schema/ describe these documents,
which must stay as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.history.runs import REVERTED, RecordedRun

if TYPE_CHECKING:
    from loragit.history.compare.cached import OutcomeCounts
    from loragit.history.compare.commits import CommitsBetween
    from loragit.history.compare.details import Difference
    from loragit.history.record_parser import Record, RecordedRepo
    from loragit.record.values import Weights

Document = dict[str, object]


def outcome_line(run: RecordedRun) -> str:
    """Return the outcome in a line, from the sealed tag or the revert; empty while it is open."""
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


def listed_run(
    run: RecordedRun,
    counts: OutcomeCounts | None,
    base: RecordedRun | None,
    changed: tuple[str, ...] | None,
) -> Document:
    """Return a run as ``loragit log --json`` lists it; ``changed`` is what did since ``base``."""
    revert = run.revert
    status = counts.exit_status if counts else revert.exit_status if revert else None
    return {
        **_identity(run),
        "opened": run.minute,
        "opened_at": run.opened.isoformat(),
        "state": run.state,
        "subject": run.subject,
        "outcome": outcome_line(run),
        "reverted_by": revert.commit if revert else None,
        "exit_status": status,
        "reason": revert.reason if revert else None,
        "seconds": counts.seconds if counts else None,
        "model_count": counts.models if counts else None,
        "truncated_count": counts.truncated if counts else None,
        "unreadable_count": counts.unreadable if counts else None,
        "state_count": counts.states if counts else None,
        "sample_count": counts.samples if counts else None,
        "other_file_count": counts.other_files if counts else None,
        "final_loss": _finite(counts.final_loss) if counts else None,
        "trainer_commit": run.trainer_commit or None,
        "changed_since": base.name if base and changed is not None else None,
        "changed": None if changed is None else list(changed),
        "imported": run.imported,
        "resumed_from": list(run.resumed_from),
        "derived_from": list(run.derived_from),
        "format": run.format,
    }


def _identity(run: RecordedRun) -> Document:
    """Return which run it is, and where it is on record."""
    return {
        "run": run.name,
        "commit": run.commit,
        "dataset": run.dataset,
        "path": run.path,
        "repository": str(run.reader.repository.top),
    }


def _finite(value: float | None) -> float | None:
    """Return ``value`` if JSON can write it: it has no word for infinity."""
    return value if value is not None and math.isfinite(value) else None


def whole_run(run: RecordedRun, listed: Document, others: Sequence[RecordedRun]) -> Document:
    """Return a run as ``loragit show --json`` prints it: ``listed`` and all else on record."""
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
        "state_weights": [each._asdict() for each in outcome.state_weights] if outcome else [],
        "output": outcome.output if outcome else None,
        "log_tail": list(run.revert.log_tail) if run.revert else [],
        "notes": list(run.notes),
        "files": list(run.files),
        "unreadable_record": unreadable,
        **({} if record is None else _record_as_json(record)),
        "packages": _packages(run),
        "others": [
            {"commit": other.commit, "state": other.state, "opened": other.minute}
            for other in others
        ],
    }


def _record_as_json(record: Record) -> Document:
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
        "defaults": {name: list(values) for name, values in record.defaults.items()},
        "argv": list(record.argv),
        "workdir": record.workdir,
        "script": record.trainer_script,
        "repositories": [
            _repo_as_json(code)
            for code in (record.trainer, record.lycoris, *record.repositories)
            if code
        ],
        "weights": [_weights_as_json(weights) for weights in record.weights],
    }


def _repo_as_json(code: RecordedRepo) -> Document:
    return {**code._asdict(), "dirty": list(code.dirty)}


def _weights_as_json(weights: Weights) -> Document:
    return weights._asdict()


def _packages(run: RecordedRun) -> dict[str, str]:
    try:
        return dict(run.packages)
    except LoragitError:
        return {}


class CodeChange(NamedTuple):
    """A repository of code of which the two runs had different commits."""

    kind: str
    """``trainer``, ``lycoris`` or ``repository``."""
    label: str
    before: str
    after: str
    between: CommitsBetween | None
    """``None`` if the repository is not on this machine, or one side is no commit."""


def compared_runs(difference: Difference, codes: Sequence[CodeChange]) -> Document:
    """Return two runs as ``loragit diff --json`` compares them."""
    return {
        "before": _compared_run(difference.before),
        "after": _compared_run(difference.after),
        "same": difference.same,
        "not_compared": list(difference.not_compared),
        "changes": [change._asdict() for change in difference.changes],
        "documents": [
            {
                "kind": document.kind,
                "path": document.path,
                "status": document.status,
                "values": [value._asdict() for value in document.values],
                "lines": [line._asdict() for line in document.lines],
            }
            for document in difference.documents
        ],
        "captions": [
            {
                "path": caption.path,
                "before": None if caption.before is None else list(caption.before),
                "after": None if caption.after is None else list(caption.after),
                "removed": list(caption.removed),
                "added": list(caption.added),
            }
            for caption in difference.captions
        ],
        "tags": [total._asdict() for total in difference.tags],
        "code": [
            {
                "kind": code.kind,
                "label": code.label,
                "before": code.before,
                "after": code.after,
                **_commits_between(code.between),
            }
            for code in codes
        ],
    }


def _compared_run(run: RecordedRun) -> Document:
    return {
        **_identity(run),
        "opened_at": run.opened.isoformat(),
        "state": run.state,
        "imported": run.imported,
    }


def _commits_between(between: CommitsBetween | None) -> Document:
    return {
        "repository": None if between is None else str(between.repository),
        "relation": None if between is None else between.relation,
        "missing": [] if between is None else list(between.missing),
        "removed": [] if between is None else [commit._asdict() for commit in between.removed],
        "added": [] if between is None else [commit._asdict() for commit in between.added],
        "removed_count": 0 if between is None else between.removed_count,
        "added_count": 0 if between is None else between.added_count,
    }
