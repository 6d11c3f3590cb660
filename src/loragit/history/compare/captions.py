"""Compares captions tag by tag, from their texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

_PARTS = re.compile(r"[,\n]")


class CaptionChange(NamedTuple):
    """A caption that changed."""

    path: str
    before: tuple[str, ...] | None
    """Its tags in their order; ``None`` if there was no such caption."""
    after: tuple[str, ...] | None
    """``None`` if it is gone."""

    @property
    def added(self) -> tuple[str, ...]:
        """New tags, in the order in which they stand; a repeated tag counts as often."""
        return _tags_beyond(self.after or (), self.before or ())

    @property
    def removed(self) -> tuple[str, ...]:
        """Tags that are gone."""
        return _tags_beyond(self.before or (), self.after or ())

    @property
    def reordered(self) -> bool:
        """Whether the same tags are in another order."""
        both = self.before is not None and self.after is not None
        return both and self.before != self.after and not self.added and not self.removed


class TagTotal(NamedTuple):
    """A tag in all captions together."""

    tag: str
    removed: int
    """Number of captions that lost it. Captions that only one side has do not count."""
    added: int
    """Number of captions that gained it."""


def tags_of(caption: str) -> tuple[str, ...]:
    """Return the tags of a caption: ``zqx,  a round thing`` has ``zqx`` and ``a round thing``."""
    return tuple(tag for tag in (part.strip() for part in _PARTS.split(caption)) if tag)


def caption_change(path: str, before: str | None, after: str | None) -> CaptionChange:
    """Return how the caption at ``path`` changed; each side is its text, or ``None``."""
    old, new = (None if each is None else tags_of(each) for each in (before, after))
    return CaptionChange(path, old, new)


def tag_totals(changes: Iterable[CaptionChange]) -> tuple[TagTotal, ...]:
    """Return the tags that captions lost or gained, the most frequent first."""
    removed, added = Counter[str](), Counter[str]()
    for each in changes:
        if each.before is not None and each.after is not None:
            removed.update(set(each.removed))
            added.update(set(each.added))
    found = [TagTotal(tag, removed[tag], added[tag]) for tag in removed.keys() | added.keys()]
    return tuple(sorted(found, key=lambda each: (-each.removed - each.added, each.tag)))


def _tags_beyond(tags: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``tags`` without those in ``others``, each removed as often as it is there."""
    left = Counter(others)
    found = []
    for tag in tags:
        if left[tag]:
            left[tag] -= 1
        else:
            found.append(tag)
    return tuple(found)
