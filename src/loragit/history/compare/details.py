"""Compares two runs in full, down to tags, values and lines, and lists what could not be
compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from loragit import parse
from loragit.history.compare import lines, tables
from loragit.history.compare.captions import (
    CaptionChange,
    TagTotal,
    caption_change,
    tag_totals,
)
from loragit.history.compare.changes import (
    CAPTION,
    CONFIG,
    FILE,
    GAPS,
    INPUT,
    PROMPTS,
    Change,
    Side,
    compare_sides,
    unlisted_arguments,
    unsure_weights,
)
from loragit.history.compare.lines import LineChange
from loragit.history.compare.runs import sides
from loragit.history.compare.tables import ValueChange
from loragit.history.runs import RecordedRun

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
STATUSES = (ADDED, REMOVED, CHANGED)

_DOCUMENTS = (CONFIG, INPUT, PROMPTS, FILE)
"""Kinds of files whose contents are compared."""
_MOST = 1 << 24
"""Bytes of such a file; of a larger one only the change is reported."""


class DocumentChange(NamedTuple):
    """A file of the record that changed."""

    kind: str
    """``config``, ``input``, ``prompts`` or ``file``."""
    path: str
    """In the later run, if that has the file."""
    status: str
    """One of :data:`STATUSES`."""
    values: tuple[ValueChange, ...] = ()
    """If all sides that there are are TOML or JSON."""
    lines: tuple[LineChange, ...] = ()
    """For any other text."""

    @property
    def changes_meaning(self) -> bool:
        """Whether more differs than comments, blanks, line ends or the order of keys."""
        return bool(self.values or self.lines) or self.status != CHANGED


class Difference(NamedTuple):
    """All that differs between two runs."""

    before: RecordedRun
    after: RecordedRun
    changes: tuple[Change, ...]
    """All changes but those of captions and documents, which follow."""
    documents: tuple[DocumentChange, ...]
    captions: tuple[CaptionChange, ...]
    """Sorted by path."""
    tags: tuple[TagTotal, ...]
    """The most frequent first."""
    not_compared: tuple[str, ...]
    """A sentence for each thing that one of the records lacks."""

    @property
    def same(self) -> bool:
        """Whether nothing differs as far as the records tell."""
        return not (
            self.changes
            or self.captions
            or any(document.changes_meaning for document in self.documents)
        )

    def of(self, *kinds: str) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.kind in kinds)


def compare_in_full(before: RecordedRun, after: RecordedRun) -> Difference:
    """Return all that differs between the runs, which may be of two repositories.

    Raises :class:`~loragit.errors.LoragitError` if a record cannot be read.
    """
    both = sides(before, after)
    changes = compare_sides(*both).changes
    captions = _caption_changes(
        before, after, [change for change in changes if change.kind == CAPTION]
    )
    files = [change for change in changes if change.kind in _DOCUMENTS and _on_record(change, both)]
    return Difference(
        before,
        after,
        tuple(change for change in changes if change.kind != CAPTION and change not in files),
        tuple(_document_changes(before, after, files)),
        captions,
        tag_totals(captions),
        (
            *_gaps(before.name, after.name, both),
            *(
                f"{role}: its hash is not on record of both"
                for role in unsure_weights(*(side.record.weights for side in both))
            ),
        ),
    )


def _on_record(change: Change, both: tuple[Side, Side]) -> bool:
    """Whether a record holds the file that changed, not only its hash."""
    return any(change.key in half.tree for half in both)


def _gaps(before: str, after: str, both: tuple[Side, Side]) -> Iterator[str]:
    """Yield a sentence for each thing that one of the runs, called ``before`` and ``after``,
    lacks."""
    for missing, *_ in GAPS:
        lacking = {
            name: side.lacks.names[missing]
            for name, side in zip((before, after), both, strict=True)
            if missing in side.lacks.names
        }
        if lacking:
            what = next(iter(lacking.values()))
            yield f"{what}: not on record of {' and '.join(lacking)}"
    for what in unlisted_arguments(*(side.lacks for side in both)):
        yield f"{what}: not on record of {before if both[0].lacks.unlisted else after}"


def _caption_changes(
    before: RecordedRun, after: RecordedRun, changes: Sequence[Change]
) -> tuple[CaptionChange, ...]:
    old = _blob_texts(before, [change.before for change in changes])
    new = _blob_texts(after, [change.after for change in changes])
    found = [
        caption_change(change.key, one, other)
        for change, one, other in zip(changes, old, new, strict=True)
    ]
    return tuple(sorted(found))


def _blob_texts(run: RecordedRun, ids: Sequence[str | None]) -> Iterator[str | None]:
    """Return the text of each blob, ``None`` for none; a missing or huge one counts as empty."""
    found = run.reader.read_blobs([each for each in ids if each is not None], _MOST)
    return iter([None if each is None else _decoded(next(found) or b"") for each in ids])


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _document_changes(
    before: RecordedRun, after: RecordedRun, changes: Sequence[Change]
) -> Iterator[DocumentChange]:
    paired = _pair_configs(changes)
    old = _blob_texts(before, [change.before for _, change in paired])
    new = _blob_texts(after, [change.after for _, change in paired])
    for (earlier, change), one, other in zip(paired, old, new, strict=True):
        status = ADDED if one is None else REMOVED if other is None else CHANGED
        values = _value_changes(_parse_document(earlier, one), _parse_document(change.key, other))
        changed_lines = lines.compare_lines(one or "", other or "") if values is None else ()
        yield DocumentChange(change.kind, change.key, status, values or (), changed_lines)


def _pair_configs(changes: Sequence[Change]) -> list[tuple[str, Change]]:
    """Return each change with the path of its earlier side: ``config.toml`` that became
    ``config.json`` is one changed file."""
    gone = [change for change in changes if change.kind == CONFIG and change.after is None]
    come = [change for change in changes if change.kind == CONFIG and change.before is None]
    if len(gone) == len(come) == 1:
        both = come[0]._replace(before=gone[0].before)
        return [
            (gone[0].key, both),
            *((each.key, each) for each in changes if each not in (gone[0], come[0])),
        ]
    return [(change.key, change) for change in changes]


def _parse_document(path: str, written: str | None) -> dict[str, object] | None:
    """Return the document as a table, an empty one without a file; ``None`` if the file is neither
    TOML nor JSON."""
    if not path.endswith((".toml", ".json")):
        return None
    if written is None:
        return {}
    try:
        found: object = (
            parse.read_json(written) if path.endswith(".json") else parse.read_toml(written)
        )
    except ValueError:
        return None
    return found if isinstance(found, dict) else {"": found}


def _value_changes(
    old: dict[str, object] | None, new: dict[str, object] | None
) -> tuple[ValueChange, ...] | None:
    if old is None or new is None:
        return None
    return tables.compare_tables(old, new)
