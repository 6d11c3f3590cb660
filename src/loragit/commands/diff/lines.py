"""What differs between two runs, line by line, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from loragit import text
from loragit.commands.diff.titles import CODE, TITLES, trainer_label
from loragit.history.as_json import CodeChange
from loragit.history.compare import changes
from loragit.history.compare.captions import CaptionChange
from loragit.history.compare.changes import Change
from loragit.history.compare.commits import (
    DIVERGED,
    MISSING,
    REVERSED,
    CommitsBetween,
    NamedCommit,
    is_commit,
)
from loragit.history.compare.details import ADDED, CHANGED, REMOVED, Difference, DocumentChange
from loragit.history.history import RecordedRun

_HASHED = (changes.IMAGE, changes.FILE, changes.PATCH)
"""Kinds whose values are hashes."""
_NARROW = 40
"""Columns in which names are aligned; a longer name pushes its value to the right."""

BeforeAndAfter = tuple[str, str | None, str | None]
"""A name, its value before and after."""


def difference_lines(
    difference: Difference, codes: Sequence[CodeChange], width: int | None, *, brief: bool
) -> Iterator[str]:
    """Yield everything line by line; with ``brief`` only what belongs to no kind."""
    fit = _cut_to(width)
    if difference.same:
        both = " and ".join(map(_name_and_commit, (difference.before, difference.after)))
        yield f"the same inputs: {both}"
    elif not brief:
        several = (difference.before.dataset, difference.before.reader) != (
            difference.after.dataset,
            difference.after.reader,
        )
        yield from (
            fit(f"{sign} {_heading(run, several)}")
            for sign, run in (("-", difference.before), ("+", difference.after))
        )
        for kind, title in TITLES.items():
            lines = list(_section(kind, difference, codes, width))
            yield from ("", title, *(fit(f"  {line}") for line in lines)) if lines else ()
    written = [document.path for document in difference.documents if not document.changes_meaning]
    if written:
        yield from ("", "Only written otherwise", *(fit(f"  {path}") for path in written))
    if difference.not_compared:
        yield from ("", "Not compared", *(fit(f"  {line}") for line in difference.not_compared))


def _cut_to(width: int | None) -> Callable[[str], str]:
    """Return a function that cuts a line to a terminal's width."""
    return lambda line: (
        text.shown(line).rstrip() if width is None else text.cut(text.shown(line).rstrip(), width)
    )


def _name_and_commit(run: RecordedRun) -> str:
    return f"{run.name} ({run.commit[:8]})"


def _heading(run: RecordedRun, several: bool) -> str:
    where = f"  in {run.reader.repository.top / run.path}" if several else ""
    return (
        f"{run.name}  {run.commit[:8]}  {run.minute}  "
        f"{run.state}{', imported' if run.imported else ''}{where}"
    )


def _section(
    kind: str, difference: Difference, codes: Sequence[CodeChange], width: int | None
) -> Iterator[str]:
    if kind == "code":
        yield from _code_lines(difference, codes, width)
    elif kind == changes.CAPTION:
        yield from _caption_lines(difference)
    else:
        for document in difference.documents:
            if document.kind == kind and document.changes_meaning:
                yield from _document_lines(document, width)
        yield from _pair_lines([_before_and_after(change) for change in difference.of(kind)], width)


def _before_and_after(change: Change) -> BeforeAndAfter:
    before, after = change.before, change.after
    if change.kind in _HASHED:
        # A hash is only needed to distinguish two files of one name.
        short = before is not None and after is not None
        before, after = (
            None if each is None else each[:10] if short else "" for each in (before, after)
        )
    if change.kind == changes.ARGUMENT and (before is None or after is None):  # a flag
        before, after = ("" if each == "true" else each for each in (before, after))
    return change.key, before, after


def _pair_lines(pairs: Sequence[BeforeAndAfter], width: int | None) -> Iterator[str]:
    """Yield a line for each, names aligned. Two values that are too long for one line of a terminal
    get a line each."""
    column = min(max((text.width(name) for name, _, _ in pairs), default=0), _NARROW)
    for name, before, after in pairs:
        padded = name + " " * (column - text.width(name))
        if before is None:
            yield f"+ {padded}  {after}"
        elif after is None:
            yield f"- {padded}  {before}"
        else:
            line = f"  {padded}  {before} → {after}"
            if width is None or text.width(text.shown(line)) + 2 <= width:
                yield line
            else:
                yield from (f"  {name}", f"  - {before}", f"  + {after}")


def _document_lines(document: DocumentChange, width: int | None) -> Iterator[str]:
    sign = {ADDED: "+ ", REMOVED: "- ", CHANGED: "  "}[document.status]
    if document.status != CHANGED:
        number = len(document.values), len(document.lines)
        size = text.count(number[0], "value") if number[0] else text.count(number[1], "line")
        yield f"{sign}{document.path}  {size}"
        return
    yield f"{sign}{document.path}"
    yield from (
        f"  {line}" for line in _pair_lines(document.values, None if width is None else width - 2)
    )
    yield from (f"  {line.sign} {line.text}" for line in document.lines)


def _caption_lines(difference: Difference) -> Iterator[str]:
    for total in difference.tags:
        if total.removed:
            yield f"- tag `{total.tag}` removed from {text.count(total.removed, 'caption')}"
        if total.added:
            yield f"+ tag `{total.tag}` added to {text.count(total.added, 'caption')}"
    column = min(
        max((text.width(caption.path) for caption in difference.captions), default=0), _NARROW
    )
    for caption in difference.captions:
        sign = "+" if caption.before is None else "-" if caption.after is None else " "
        padding = " " * (column - text.width(caption.path))
        yield f"{sign} {caption.path}{padding}  {_caption_text(caption)}"


def _caption_text(caption: CaptionChange) -> str:
    if caption.before is None or caption.after is None:
        return ", ".join(caption.before or caption.after or ())
    if caption.reordered:
        return f"another order: {', '.join(caption.after)}"
    parts = [
        f"{sign} {', '.join(some)}"
        for sign, some in (("-", caption.removed), ("+", caption.added))
        if some
    ]
    return "  ".join(parts) or "other blanks or line ends"


def _code_lines(
    difference: Difference, codes: Sequence[CodeChange], width: int | None
) -> Iterator[str]:
    by_label = {(code.kind, code.label): code for code in codes}
    for change in difference.of(*CODE):
        label, _, what = change.key.rpartition(".")
        label = {changes.TRAINER: trainer_label(difference), changes.LYCORIS: "LyCORIS"}.get(
            change.kind, label
        )
        yield from _pair_lines(
            [(f"{label} {what}", _short_commit(change.before), _short_commit(change.after))], width
        )
        code = by_label.get((change.kind, label)) if what == "commit" else None
        if code is not None and code.between is not None:
            yield from (f"    {line}" for line in _between_lines(code.between))


def _short_commit(value: str | None) -> str | None:
    return value[:8] if value is not None and is_commit(value) else value


def _between_lines(between: CommitsBetween) -> Iterator[str]:
    if between.relation == MISSING:
        yield f"{' and '.join(each[:8] for each in between.missing)} not in {between.repository}"
    elif between.relation == REVERSED:
        yield (
            f"back by {text.count(between.removed_count, 'commit')}: the later run has the "
            "earlier code"
        )
    elif between.relation == DIVERGED:
        counts = (
            text.count(number, "commit") for number in (between.removed_count, between.added_count)
        )
        yield "the history diverged: {} gone, {} new".format(*counts)
    else:
        yield text.count(between.added_count, "commit")
    yield from _commit_lines("-", between.removed, between.removed_count)
    yield from _commit_lines("+", between.added, between.added_count)


def _commit_lines(sign: str, commits: Sequence[NamedCommit], count: int) -> Iterator[str]:
    yield from (f"{sign} {commit.id[:8]} {commit.subject}" for commit in commits)
    if rest := text.more(count, len(commits)):
        yield f"{sign} {rest}"
