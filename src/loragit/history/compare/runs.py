"""Compares runs on record. Objects that both records hold are the same, and are not read.

What a record lacks is no difference from a record that has it: nobody knows how it was. An imported
run has only what was left of its training; whatever its record does not hold may have been there or
not.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.history.compare.arguments import arguments_file
from loragit.history.compare.changes import (
    ARGUMENT,
    GAPS,
    KINDS,
    Comparison,
    Lacks,
    Side,
    compare_sides,
)
from loragit.history.record_parser import Record, RecordedEnvironment, parse_environment
from loragit.trainers.kinds import trainer_of

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
    missing_from = lacks(top.record, missing, top.tops)
    return Side(top.record, files, dataset, environment, missing_from, arguments_file(top.record))


def lacks(record: Record, missing: Container[str], files: Container[str]) -> Lacks:
    """Return what ``record`` lacks.

    ``missing`` are the values of its trailer ``Missing``, ``files`` those at the top of its tree.
    """
    found = list(_gaps(record, missing, files))
    imported = "imported" in record.table
    partly = frozenset(KINDS) if imported else frozenset[str]()
    kinds = {kind for _, _, kinds in found for kind in kinds}
    names = {missing: name for missing, name, _ in found}
    if ARGUMENT in kinds and record.args and "arguments" in record.table:
        kinds.remove(ARGUMENT)
        partly |= {ARGUMENT}
        names["command"] = "other arguments"
    file = trainer_of(record.trainer_kind).arguments_file
    listed = record.lists_arguments or file not in record.command_args
    return Lacks(names, frozenset(kinds), partly, imported, None if listed else file)


def _gaps(
    record: Record, missing: Container[str], files: Container[str]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for gap in GAPS:
        name = gap[0]
        if (
            name in missing
            or (name == "command" and not record.argv)
            or (name == "trainer commit" and not (record.trainer.commit or record.trainer.version))
            or (name in ("dataset.sha256", "environment.txt") and name not in files)
        ):
            yield gap
