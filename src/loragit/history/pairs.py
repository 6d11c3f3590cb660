"""Two runs compared, as JSON: docs/json.md and docs/schema/diff.json describe this document, and
keep it stable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from loragit.history.as_json import Document
from loragit.history.compare.commits import Between
from loragit.history.compare.details import Difference
from loragit.history.runs import RecordedRun


class CodeChange(NamedTuple):
    """A repository of code that is at another commit."""

    kind: str
    """``trainer``, ``lycoris`` or ``repository``."""
    label: str
    before: str
    after: str
    between: Between | None
    """``None`` where the repository is not at hand, or a side is no commit."""


def difference(found: Difference, codes: Sequence[CodeChange]) -> Document:
    """Two runs as ``loragit diff --json`` compares them."""
    return {
        "before": _side(found.before),
        "after": _side(found.after),
        "same": found.same,
        "not_compared": list(found.not_compared),
        "changes": [change._asdict() for change in found.changes],
        "documents": [
            {
                "kind": document.kind,
                "path": document.path,
                "status": document.status,
                "values": [value._asdict() for value in document.values],
                "lines": [line._asdict() for line in document.lines],
            }
            for document in found.documents
        ],
        "captions": [
            {
                "path": caption.path,
                "before": None if caption.before is None else list(caption.before),
                "after": None if caption.after is None else list(caption.after),
                "removed": list(caption.removed),
                "added": list(caption.added),
            }
            for caption in found.captions
        ],
        "tags": [total._asdict() for total in found.tags],
        "code": [
            {
                "kind": code.kind,
                "label": code.label,
                "before": code.before,
                "after": code.after,
                **_lying(code.between),
            }
            for code in codes
        ],
    }


def _side(run: RecordedRun) -> Document:
    return {
        "run": run.name,
        "commit": run.commit,
        "dataset": run.dataset,
        "path": run.path,
        "repository": str(run.contents.repository.top),
        "opened_at": run.opened.isoformat(),
        "state": run.state,
        "imported": run.imported,
    }


def _lying(between: Between | None) -> Document:
    return {
        "repository": None if between is None else str(between.repository),
        "relation": None if between is None else between.relation,
        "missing": [] if between is None else list(between.missing),
        "removed": [] if between is None else [commit._asdict() for commit in between.removed],
        "added": [] if between is None else [commit._asdict() for commit in between.added],
        "removed_count": 0 if between is None else between.removed_count,
        "added_count": 0 if between is None else between.added_count,
    }
