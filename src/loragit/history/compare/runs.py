"""Runs on record compared: of their contents only what is not the same object is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.git.repository import TreeItem
from loragit.history.compare.changes import Comparison, Side
from loragit.history.compare.changes import compare_sides as compared
from loragit.history.record_parser import Record, RecordedEnvironment, parse_environment

if TYPE_CHECKING:
    from loragit.git.repository import TreeItem
    from loragit.history.runs import RecordedRun

_NO_ENVIRONMENT = RecordedEnvironment({}, {})
_HELD = 64
"""Runs that are held while many are compared: each is compared with its neighbours."""


def compare_runs(before: RecordedRun, after: RecordedRun) -> Comparison:
    """What ``after`` does otherwise than ``before``. Raises
    :class:`~loragit.errors.LoragitError`."""
    return compared(*sides(before, after))


def sides(before: RecordedRun, after: RecordedRun) -> tuple[Side, Side]:
    """Both sides of the comparison, as far as they are not the same objects. Raises what
    :func:`compare` raises."""
    return _differing_sides(
        *(_TopOfRecord(run, run.record, run.reader.top_entries(run)) for run in (before, after))
    )


def compare_many(pairs: Sequence[tuple[RecordedRun, RecordedRun]]) -> Iterator[Comparison | None]:
    """The comparison of each (before, after), in their order; ``None`` where a record cannot be
    read."""
    held: dict[str, _TopOfRecord | None] = {}
    for pair in pairs:
        for run in pair:
            if run.commit not in held:
                held[run.commit] = _top_of_record(run)
        before, after = (held[run.commit] for run in pair)
        try:
            yield None if before is None or after is None else _compare_tops(before, after)
        except LoragitError:
            yield None
        while len(held) > _HELD:
            del held[next(iter(held))]


class _TopOfRecord(NamedTuple):
    run: RecordedRun
    record: Record
    tops: dict[str, TreeItem]
    """What lies directly in its record."""


def _top_of_record(run: RecordedRun) -> _TopOfRecord | None:
    try:
        return _TopOfRecord(run, run.reader.read_record(run), run.reader.top_entries(run))
    except LoragitError:
        return None


def _compare_tops(before: _TopOfRecord, after: _TopOfRecord) -> Comparison:
    return compared(*_differing_sides(before, after))


def _differing_sides(before: _TopOfRecord, after: _TopOfRecord) -> tuple[Side, Side]:
    same = before.tops.items() & after.tops.items()
    return _side(before, same), _side(after, same)


def _side(half: _TopOfRecord, same: AbstractSet[tuple[str, TreeItem]]) -> Side:
    """One side of a comparison, without what is the same object in the other."""
    run = half.run
    differing = run.reader.with_subfolders(run, dict(half.tops.items() - same))
    files = {path: item.id for path, item in differing.items() if not item.folder}
    hashes = run.dataset_files if "dataset.sha256" in files else ()
    around = (
        parse_environment(run.read("environment.txt"))
        if "environment.txt" in files
        else _NO_ENVIRONMENT
    )
    return Side(half.record, files, {file.path: file.sha256 for file in hashes}, around)
