"""The changes between two runs, in a few words each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from loragit import text
from loragit.history.compare.changes import (
    ARGUMENT,
    CAPTION,
    CONFIG,
    ENVIRONMENT,
    FILE,
    IMAGE,
    IMPORTANT,
    INPUT,
    LYCORIS,
    METADATA,
    PACKAGE,
    PATCH,
    PROMPTS,
    REPOSITORY,
    TRAINER,
    WEIGHTS,
    Change,
    Comparison,
)


def phrases(found: Comparison) -> Iterator[str]:
    """Yield the changes in their order, a few words each, and then what is not on record."""
    for change in found.of(ARGUMENT, WEIGHTS):
        yield _phrase(change.key, change.before, change.after)
    for kind, label in ((TRAINER, "trainer"), (LYCORIS, "LyCORIS")):
        for change in found.of(kind):
            yield _repo_phrase(label, change)
    for change in found.of(REPOSITORY):
        label, _, what = change.key.rpartition(".")
        yield _repo_phrase(label, change._replace(key=what))
    yield from _file_phrases(found)
    for change in found.of(ENVIRONMENT):
        yield _phrase(change.key, change.before, change.after)
    yield from _package_phrases(found.of(PACKAGE))
    if found.gaps:
        yield f"not on record: {', '.join(found.gaps)}"


def _file_phrases(found: Comparison) -> Iterator[str]:
    yield from _count_phrases(found.of(IMAGE), "image")
    for kind, noun in (
        (CAPTION, "caption"),
        (FILE, "other file"),
        (INPUT, "input"),
        (PATCH, "patch"),
    ):
        if changed := [change for change in found.of(kind) if change.key != METADATA]:
            yield text.count(len(changed), noun)
    yield from (kind for kind in (PROMPTS, CONFIG) if found.of(kind))


def _package_phrases(changes: tuple[Change, ...]) -> Iterator[str]:
    named = [change for change in changes if change.key in IMPORTANT]
    for change in named:
        yield _phrase(change.key, change.before, change.after)
    if others := len(changes) - len(named):
        yield (
            text.count(others, "package") if not named else f"{text.count(others, 'other package')}"
        )


def _phrase(key: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"+{key}" if after == "true" else f"+{key} {after}"
    if after is None:
        return f"-{key}" if before == "true" else f"-{key} {before}"
    return f"{key} {before} → {after}"


def _repo_phrase(label: str, change: Change) -> str:
    if change.key == "uncommitted":
        return f"{label} uncommitted changes" if change.after else f"{label} clean"
    if change.key == "commit":
        before, after = (
            None if each is None else _short_commit(each) for each in (change.before, change.after)
        )
        return _phrase(label, before, after)
    return _phrase(f"{label} {change.key}", change.before, change.after)


def _short_commit(commit: str) -> str:
    return commit[:8] if re.fullmatch(r"[0-9a-f]{40,}", commit) else commit


def _count_phrases(images: tuple[Change, ...], noun: str) -> Iterator[str]:
    added = sum(change.before is None for change in images)
    gone = sum(change.after is None for change in images)
    if added:
        yield f"+{text.count(added, noun)}"
    if gone:
        yield f"-{text.count(gone, noun)}"
    if other := len(images) - added - gone:
        yield f"{text.count(other, noun)} changed"
