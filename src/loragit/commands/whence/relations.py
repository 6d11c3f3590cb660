"""How a file relates to a run that it leads to.

Only a product on record is known by its hash. Of any other file the header alone says what it is:
which training saved it, at which step, and what the trainer's tools did to it afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

from loragit.store.products import Sealed
from loragit.trainers.trainer import SavedAt, TrainingHeader

PRODUCT = "product"
RESIZED = "resized"
MERGED = "merged"
UNRECORDED = "unrecorded"
CHANGED = "changed"
UNKNOWN = "unknown"
RELATIONS = (PRODUCT, RESIZED, MERGED, UNRECORDED, CHANGED, UNKNOWN)
"""``product``: the run has it on record. ``resized``: a tool of the trainer made it from a model of
the run, and says so. ``merged``: it was merged from a model of that title, and others.
``unrecorded``: the run saved it at a step of which no model is on record. ``changed``: of its step
the run has other weights on record."""


class Relation(NamedTuple):
    """What a file is to a run."""

    kind: str
    """One of :data:`RELATIONS`."""
    step: int | None = None
    """Training step at which the model was saved, as its header says."""
    sentence: str | None = None
    """What that means, for people."""
    warning: str | None = None
    """Why it is to be doubted."""


def relation_of(
    run: str, sealed: Sealed | None, header: TrainingHeader, saved: SavedAt
) -> Relation:
    """Return what a model, none of whose hashes is on record, is to the run that its header names.

    ``sealed`` is ``None`` for a run without an outcome.
    """
    if sealed is None:
        return Relation(
            UNKNOWN, saved.step, "its weights are not on record: the run is open, or was reverted"
        )
    sessions = sealed.values("Session")
    if header.identity and sessions and header.identity not in sessions:
        return Relation(
            UNKNOWN,
            saved.step,
            warning=f"its training session is not the one that {run} has on record",
        )
    when, known = _save_point(sealed, saved)
    missing = when is not None and not known
    if header.changes:
        source = f"the model of {when}" if known else "a model of it"
        source = f"a model of {when} that is not on record" if missing else source
        return Relation(
            RESIZED, saved.step, f"made from {source} by a tool: {'; '.join(header.changes)}"
        )
    if missing:
        return Relation(
            UNRECORDED,
            saved.step,
            f"a model of {when} that is not on record: when the run ended it was no longer there "
            "(rotated away, moved), or not whole",
        )
    return _doubted(run, saved, when)


def _doubted(run: str, saved: SavedAt, when: str | None) -> Relation:
    changed = "they were changed afterwards (resized, merged, converted)"
    if when is None:
        return Relation(
            UNKNOWN,
            warning=f"its weights are not among those that {run} left: {changed}, or it is of a "
            "step that is not on record; its header does not say of which",
        )
    warning = f"its weights are not those that {run} left at {when}: {changed}"
    return Relation(CHANGED, saved.step, warning=warning)


def _save_point(sealed: Sealed, saved: SavedAt) -> tuple[str | None, bool]:
    """Return when the model was saved, for people, and whether the run has a model of then on
    record; ``None`` where the header does not say when."""
    if saved.step is not None:
        return f"step {saved.step}", any(model.step == saved.step for model in sealed.models)
    if saved.epoch is not None:
        return f"epoch {saved.epoch}", any(model.epoch == saved.epoch for model in sealed.models)
    return None, False
