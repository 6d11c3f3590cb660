"""Runs on record compared: of their contents only what is not the same object is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.git.repository import TreeItem
from loragit.history.compare.changes import Comparison, Side
from loragit.history.compare.changes import compare as compared
from loragit.history.record_parser import Record, Surroundings, read_environment

if TYPE_CHECKING:
    from loragit.git.repository import TreeItem
    from loragit.history.runs import RecordedRun

_NO_SURROUNDINGS = Surroundings({}, {})
_HELD = 64
"""Runs that are held while many are compared: each is compared with its neighbours."""


def compare(before: RecordedRun, after: RecordedRun) -> Comparison:
    """What ``after`` does otherwise than ``before``. Raises
    :class:`~loragit.errors.LoragitError`."""
    return compared(*sides(before, after))


def sides(before: RecordedRun, after: RecordedRun) -> tuple[Side, Side]:
    """Both sides of the comparison, as far as they are not the same objects. Raises what
    :func:`compare` raises."""
    return _sides(*(_Half(run, run.record, run.contents.tops(run)) for run in (before, after)))


def compare_many(pairs: Sequence[tuple[RecordedRun, RecordedRun]]) -> Iterator[Comparison | None]:
    """The comparison of each (before, after), in their order; ``None`` where a record cannot be
    read."""
    held: dict[str, _Half | None] = {}
    for pair in pairs:
        for run in pair:
            if run.commit not in held:
                held[run.commit] = _half(run)
        before, after = (held[run.commit] for run in pair)
        try:
            yield None if before is None or after is None else _compare(before, after)
        except LoragitError:
            yield None
        while len(held) > _HELD:
            del held[next(iter(held))]


class _Half(NamedTuple):
    run: RecordedRun
    record: Record
    tops: dict[str, TreeItem]
    """What lies directly in its record."""


def _half(run: RecordedRun) -> _Half | None:
    try:
        return _Half(run, run.contents.read_record(run), run.contents.tops(run))
    except LoragitError:
        return None


def _compare(before: _Half, after: _Half) -> Comparison:
    return compared(*_sides(before, after))


def _sides(before: _Half, after: _Half) -> tuple[Side, Side]:
    same = before.tops.items() & after.tops.items()
    return _side(before, same), _side(after, same)


def _side(half: _Half, same: AbstractSet[tuple[str, TreeItem]]) -> Side:
    """One side of a comparison, without what is the same object in the other."""
    run = half.run
    differing = run.contents.below(run, dict(half.tops.items() - same))
    files = {path: item.id for path, item in differing.items() if not item.folder}
    hashes = run.dataset_files if "dataset.sha256" in files else ()
    around = (
        read_environment(run.read("environment.txt"))
        if "environment.txt" in files
        else _NO_SURROUNDINGS
    )
    return Side(half.record, files, {file.path: file.sha256 for file in hashes}, around)
