"""Compares runs on record. Objects that both records hold are the same, and are not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.history.compare import gaps
from loragit.history.compare.changes import Comparison, Side, compare_sides
from loragit.history.record_parser import Record, RecordedEnvironment, parse_environment

if TYPE_CHECKING:
    from loragit.git.repository import TreeItem
    from loragit.history.runs import RecordedRun

_NO_ENVIRONMENT = RecordedEnvironment({}, {})
_HELD = 64
"""Records that are kept in memory while many are compared, each with its neighbours."""


def compare_runs(before: RecordedRun, after: RecordedRun) -> Comparison:
    """Return what differs between the runs. Raises :class:`~loragit.errors.LoragitError`."""
    return compare_sides(*sides(before, after))


def sides(before: RecordedRun, after: RecordedRun) -> tuple[Side, Side]:
    """Return both sides of the comparison without the objects that they share. Raises what
    :func:`compare_runs` raises."""
    return _differing_sides(
        *(_TopOfRecord(run, run.record, run.reader.top_entries(run)) for run in (before, after))
    )


def compare_many(pairs: Sequence[tuple[RecordedRun, RecordedRun]]) -> Iterator[Comparison | None]:
    """Yield the comparison of each (before, after), in their order; ``None`` if a record cannot be
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
    """What lies directly in its record, by name."""


def _top_of_record(run: RecordedRun) -> _TopOfRecord | None:
    try:
        return _TopOfRecord(run, run.reader.read_record(run), run.reader.top_entries(run))
    except LoragitError:
        return None


def _compare_tops(before: _TopOfRecord, after: _TopOfRecord) -> Comparison:
    return compare_sides(*_differing_sides(before, after))


def _differing_sides(before: _TopOfRecord, after: _TopOfRecord) -> tuple[Side, Side]:
    same = before.tops.items() & after.tops.items()
    return _side(before, same), _side(after, same)


def _side(top: _TopOfRecord, same: AbstractSet[tuple[str, TreeItem]]) -> Side:
    """Return one side of a comparison, without the objects ``same`` that the other side has too."""
    run = top.run
    differing = run.reader.with_subfolders(run, dict(top.tops.items() - same))
    files = {path: item.id for path, item in differing.items() if not item.folder}
    hashes = run.dataset_files if "dataset.sha256" in files else ()
    environment = (
        parse_environment(run.read("environment.txt"))
        if "environment.txt" in files
        else _NO_ENVIRONMENT
    )
    dataset = {file.path: file.sha256 for file in hashes}
    missing = run.trailers.get("Missing", ()) if "\nMissing: " in run.message else ()
    return Side(top.record, files, dataset, environment, gaps.lacks(top.record, missing, top.tops))
