"""``loragit diff --stat``: how much of each kind differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from loragit.commands.diff.titles import CODE, TITLES
from loragit.history.as_json import CodeChange
from loragit.history.compare import changes
from loragit.history.compare.commits import MISSING, CommitsBetween
from loragit.history.compare.details import ADDED, CHANGED, REMOVED, Difference


def stat_rows(difference: Difference, codes: Sequence[CodeChange]) -> Iterator[tuple[str, str]]:
    """Yield each kind with how much of it differs."""
    for kind, title in TITLES.items():
        statuses = Counter(_statuses(kind, difference))
        if not statuses:
            continue
        words = [f"{statuses[each]} {each}" for each in (CHANGED, ADDED, REMOVED) if statuses[each]]
        if kind == changes.CAPTION and difference.tags:
            tags = (
                sum(each.removed for each in difference.tags),
                sum(each.added for each in difference.tags),
            )
            words.append("tags: {} removed, {} added".format(*tags))
        if kind == "code":
            words += [
                f"{code.label}: {_commit_counts(code.between)}"
                for code in codes
                if code.between is not None
            ]
        yield title, "; ".join([", ".join(words[: len(statuses)]), *words[len(statuses) :]])


def _statuses(kind: str, difference: Difference) -> Iterator[str]:
    if kind == changes.CAPTION:
        yield from (_status(each.before, each.after) for each in difference.captions)
        return
    yield from (
        _status(each.before, each.after)
        for each in difference.of(*(CODE if kind == "code" else (kind,)))
    )
    for document in (
        each for each in difference.documents if each.kind == kind and each.changes_meaning
    ):
        values = [_status(each.before, each.after) for each in document.values]
        yield from values or [document.status]


def _status(before: object, after: object) -> str:
    return ADDED if before is None else REMOVED if after is None else CHANGED


def _commit_counts(between: CommitsBetween) -> str:
    if between.relation == MISSING:
        return "commits not at hand"
    counts = (("-", between.removed_count), ("+", between.added_count))
    noun = "commit" if between.removed_count + between.added_count == 1 else "commits"
    return " ".join([*(f"{sign}{number}" for sign, number in counts if number), noun])
