"""Two runs compared in full: what differs, down to tags, values and lines, and what could not be
compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from loragit import parse
from loragit.history.compare import captions as tags
from loragit.history.compare import lines, tables
from loragit.history.compare.captions import CaptionChange, TagTotal
from loragit.history.compare.changes import (
    ARGUMENT,
    CAPTION,
    CONFIG,
    ENVIRONMENT,
    FILE,
    IMAGE,
    INPUT,
    LYCORIS,
    PACKAGE,
    PROMPTS,
    TRAINER,
    WEIGHTS,
    Change,
    Side,
)
from loragit.history.compare.changes import compare_sides as compared
from loragit.history.compare.lines import LineChange
from loragit.history.compare.runs import sides
from loragit.history.compare.tables import ValueChange
from loragit.history.runs import RecordedRun
from loragit.record.values import Weights

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
STATUSES = (ADDED, REMOVED, CHANGED)

_DOCUMENTS = (CONFIG, INPUT, PROMPTS, FILE)
"""Kinds of files that are compared by what is in them."""
_MOST = 1 << 24
"""Bytes of such a file; of a larger one only that it changed is told."""

_METADATA = "metadata.toml"

_GAPS = (
    ("command", "arguments", (ARGUMENT,)),
    ("trainer commit", "the trainer's commit", (TRAINER,)),
    ("LyCORIS commit", "the commit of LyCORIS", (LYCORIS,)),
    ("config.toml", "the dataset config", (CONFIG,)),
    ("sample-prompts", "sample prompts", (PROMPTS,)),
    ("captions", "captions", (CAPTION,)),
    ("dataset.sha256", "images", (IMAGE,)),
    ("environment.txt", "environment and packages", (ENVIRONMENT, PACKAGE)),
)
"""What a record may lack, as the trailer ``Missing`` calls it; what people call it; kinds that are
then not compared."""


class DocumentChange(NamedTuple):
    """A file of the record that is not what it was."""

    kind: str
    """``config``, ``input``, ``prompts`` or ``file``."""
    path: str
    """Of the later run, where it has one."""
    status: str
    """One of :data:`STATUSES`."""
    values: tuple[ValueChange, ...] = ()
    """Where both sides are TOML or JSON, or the only one is."""
    lines: tuple[LineChange, ...] = ()
    """For any other text."""

    @property
    def changes_meaning(self) -> bool:
        """Whether more differs than how it is written: comments, blanks, the order of keys, line
        ends."""
        return bool(self.values or self.lines) or self.status != CHANGED


class Difference(NamedTuple):
    """All that differs between two runs."""

    before: RecordedRun
    after: RecordedRun
    changes: tuple[Change, ...]
    """What is told by a value on each side; captions and documents are below."""
    documents: tuple[DocumentChange, ...]
    captions: tuple[CaptionChange, ...]
    """In order of paths."""
    tags: tuple[TagTotal, ...]
    """The most frequent first."""
    not_compared: tuple[str, ...]
    """A sentence for each thing that one of the records does not tell."""

    @property
    def same(self) -> bool:
        """Whether nothing differs, as far as the records tell."""
        return not (
            self.changes
            or self.captions
            or any(document.changes_meaning for document in self.documents)
        )

    def of(self, *kinds: str) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.kind in kinds)


def compare_in_full(before: RecordedRun, after: RecordedRun) -> Difference:
    """What ``after`` does otherwise than ``before``; they may be of two repositories.

    Raises :class:`~loragit.errors.LoragitError` where a record cannot be read.
    """
    halves = sides(before, after)
    gaps = [(what, kinds, told) for what, kinds, told in _not_compared(before, after)]
    left_out = {kind for _, kinds, _ in gaps for kind in kinds}
    unsure = list(_unknown_weights(*halves))
    changes = [
        change
        for change in compared(*halves).changes
        if change.kind not in left_out
        and not (change.kind == WEIGHTS and change.key in unsure)
        # What a model's header says is on record of imported runs alone.
        and not (change.key == _METADATA and None in (change.before, change.after))
        and not (IMAGE in left_out and change.kind == FILE and not _on_record(change, halves))
    ]
    captions = _caption_changes(
        before, after, [change for change in changes if change.kind == CAPTION]
    )
    files = [
        change for change in changes if change.kind in _DOCUMENTS and _on_record(change, halves)
    ]
    return Difference(
        before,
        after,
        tuple(change for change in changes if change.kind != CAPTION and change not in files),
        tuple(_document_changes(before, after, files)),
        captions,
        tags.tag_totals(captions),
        (
            *(told for _, _, told in gaps),
            *(f"{role}: its hash is not on record of both" for role in unsure),
        ),
    )


def _on_record(change: Change, halves: tuple[Side, Side]) -> bool:
    """Whether the change is one of a file that the record holds, not one whose hash alone is
    known."""
    return any(change.key in half.tree for half in halves)


def _not_compared(
    before: RecordedRun, after: RecordedRun
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for missing, what, kinds in _GAPS:
        lacking = [run.name for run in (before, after) if _record_lacks(run, missing)]
        if lacking:
            yield what, kinds, f"{what}: not on record of {' and '.join(dict.fromkeys(lacking))}"


def _record_lacks(run: RecordedRun, what: str) -> bool:
    if what in run.trailers.get("Missing", ()):
        return True
    if what == "command":
        return not run.record.argv
    if what == "trainer commit":
        return run.record.trainer.commit is None and run.record.trainer.version is None
    return what in ("dataset.sha256", "environment.txt") and what not in run.reader.top_entries(run)


def _unknown_weights(before: Side, after: Side) -> Iterator[str]:
    """Roles of weights of one name, of which only one side has the hash."""
    old, new = _by_role(before.record.weights), _by_role(after.record.weights)
    for role in old.keys() & new.keys():
        one, other = old[role], new[role]
        if one.name == other.name and (one.sha256 is None) != (other.sha256 is None):
            yield role


def _by_role(weights: Sequence[Weights]) -> dict[str, Weights]:
    """The first of each role, as :mod:`loragit.history.compare.changes` calls it by its role
    alone."""
    return {each.role: each for each in reversed(weights)}


def _caption_changes(
    before: RecordedRun, after: RecordedRun, changes: Sequence[Change]
) -> tuple[CaptionChange, ...]:
    old = _blob_texts(before, [change.before for change in changes])
    new = _blob_texts(after, [change.after for change in changes])
    found = [
        tags.caption_change(change.key, one, other)
        for change, one, other in zip(changes, old, new, strict=True)
    ]
    return tuple(sorted(found))


def _blob_texts(run: RecordedRun, ids: Sequence[str | None]) -> Iterator[str | None]:
    """The text of each blob, ``None`` for none; one that is missing or huge counts as empty."""
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
        told = lines.compare_lines(one or "", other or "") if values is None else ()
        yield DocumentChange(change.kind, change.key, status, values or (), told)


def _pair_configs(changes: Sequence[Change]) -> list[tuple[str, Change]]:
    """Each change with the path that its earlier side has: a config stays one where it goes from
    TOML to JSON."""
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
    """The document as a table, an empty one where there is none; ``None`` where the file is no TOML
    and no JSON."""
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
