"""What ``loragit log`` shows of many runs: outcomes in numbers, and changes since the run before.

Both are computed once and cached (:mod:`loragit.history.cache`): the outcome by its tag object, the
changes by the two commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from loragit import text
from loragit.errors import LoragitError
from loragit.history.runs import RecordedRun

if TYPE_CHECKING:
    from loragit.history.record_reader import RecordReader

_LONGEST = 120
"""Characters of one change: a value may be of any length."""
_MOST_CHANGES = 40
"""Changes of a run that are cached at most."""


class OutcomeCounts(NamedTuple):
    """The outcome of a sealed run in numbers; ``None`` for what its tag does not say."""

    exit_status: int | None
    seconds: int | None
    models: int
    truncated: int
    unreadable: int
    states: int
    samples: int
    other_files: int
    final_loss: float | None


def outcome_counts(runs: Sequence[RecordedRun]) -> dict[str, OutcomeCounts]:
    """Return the outcome of each sealed one of ``runs`` by its commit. Unreadable tags are left
    out."""
    found = {}
    for reader, group in _by_repository(runs):
        known = reader.cache.outcomes
        missing = [run for run in group if run.tag and run.tag not in known]
        reader.tags = tuple(run.tag for run in missing if run.tag)
        for run in missing:
            with suppress(LoragitError):
                known[run.tag or ""] = _pack_counts(run)
        for run in group:
            if run.tag in known:
                found[run.commit] = _unpack_counts(known[run.tag])
    return found


def _pack_counts(run: RecordedRun) -> str:
    outcome = run.outcome
    assert outcome is not None
    counts = (outcome.models, outcome.truncated, outcome.unreadable, outcome.states)
    values = (
        outcome.exit_status,
        outcome.seconds,
        *map(len, counts),
        outcome.samples,
        outcome.other_files,
        outcome.final_loss,
    )
    return " ".join("-" if value is None else repr(value) for value in values)


def _unpack_counts(packed: str) -> OutcomeCounts:
    exit_status, seconds, *counts, loss = packed.split(" ")
    models, truncated, unreadable, states, samples, other_files = map(int, counts)
    return OutcomeCounts(
        None if exit_status == "-" else int(exit_status),
        None if seconds == "-" else int(seconds),
        models,
        truncated,
        unreadable,
        states,
        samples,
        other_files,
        None if loss == "-" else float(loss),
    )


def changes_in_brief(
    runs: Sequence[RecordedRun], bases: Mapping[str, RecordedRun]
) -> dict[str, tuple[str, ...]]:
    """Return what changed from its base to each of ``runs``, a few words for each change, by
    commit.

    A run without a base is left out, and one of which either record cannot be read.
    """
    found: dict[str, tuple[str, ...]] = {}
    for reader, group in _by_repository(runs):
        known = reader.cache.changes
        missing = []
        for run in group:
            base = bases.get(run.commit)
            packed = None if base is None else known.get(_pair_key(base, run))
            if packed is not None:
                found[run.commit] = _split_phrases(packed)
            elif base is not None:
                missing.append((base, run))
        if missing:
            from loragit.history.compare.runs import compare_many

            for (base, run), comparison in zip(missing, compare_many(missing), strict=True):
                if comparison is not None:
                    joined = "\x1f".join(
                        _cut_phrase(phrase) for phrase in comparison.phrases()[:_MOST_CHANGES]
                    )
                    known[_pair_key(base, run)] = joined
                    found[run.commit] = _split_phrases(joined)
    return found


def _split_phrases(packed: str) -> tuple[str, ...]:
    return tuple(packed.split("\x1f")) if packed else ()


def _pair_key(base: RecordedRun, run: RecordedRun) -> str:
    return f"{base.commit} {run.commit}"


def _cut_phrase(phrase: str) -> str:
    return text.cut(text.shown(phrase), _LONGEST)


def save_cache(runs: Sequence[RecordedRun], bases: Mapping[str, RecordedRun]) -> None:
    """Save what was computed. ``runs`` are all runs of their repositories, ``bases`` their
    bases."""
    for reader, group in _by_repository(runs):
        if not reader.cache.is_unsaved:
            continue
        pairs = {_pair_key(bases[run.commit], run) for run in group if run.commit in bases}
        reader.cache.drop_unused({run.tag for run in group if run.tag}, pairs)
        reader.cache.save()


def _by_repository(runs: Sequence[RecordedRun]) -> list[tuple[RecordReader, list[RecordedRun]]]:
    several = {id(run.reader): run.reader for run in runs}
    if len(several) == 1:  # nearly always: no need to walk ten thousand runs once more
        return [(runs[0].reader, list(runs))]
    return [(reader, [run for run in runs if run.reader is reader]) for reader in several.values()]
