"""Commits between two states of a repository of code, as far as that repository is at hand. Reads
only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.git import catfile

MOST = 50
"""Commits of a side that are listed."""

FORWARD, REVERSED, DIVERGED, MISSING = "forward", "reversed", "diverged", "missing"
RELATIONS = (FORWARD, REVERSED, DIVERGED, MISSING)
"""The later run has the later commit; it has an earlier one; each has commits that the other lacks;
one of them is not there."""

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class Commit(NamedTuple):
    """A commit in a line."""

    id: str
    subject: str


class CommitsBetween(NamedTuple):
    """What lies between two commits."""

    repository: Path
    """Where it was looked up."""
    relation: str
    """One of :data:`RELATIONS`."""
    added: tuple[Commit, ...] = ()
    """Commits that only the later run has, the newest first; at most :data:`MOST`."""
    removed: tuple[Commit, ...] = ()
    """Commits that only the earlier run has."""
    added_count: int = 0
    removed_count: int = 0
    missing: tuple[str, ...] = ()
    """Those of the two commits that the repository does not hold."""


def is_commit(text: str | None) -> bool:
    """Whether ``text`` is a commit's id in full: what is recorded of a release is a version."""
    return text is not None and _COMMIT.fullmatch(text) is not None


def commits_between(repository: Path, old: str, new: str) -> CommitsBetween | None:
    """What lies between the commits ``old`` and ``new``; ``None`` where ``repository`` is none that
    can be read."""
    try:
        missing = _missing_commits(repository, (old, new))
        if missing:
            return CommitsBetween(repository, MISSING, missing=missing)
        added, added_count = _commits_only_in(repository, new, old)
        removed, removed_count = _commits_only_in(repository, old, new)
    except LoragitError:
        return None
    relation = DIVERGED if added_count and removed_count else REVERSED if removed_count else FORWARD
    return CommitsBetween(repository, relation, added, removed, added_count, removed_count)


def _missing_commits(repository: Path, commits: tuple[str, str]) -> tuple[str, ...]:
    with catfile.Reader(repository) as reader:
        found = list(reader.read_all(commits))
    return tuple(
        each
        for each, item in zip(commits, found, strict=True)
        if item is None or item.kind != "commit"
    )


def _commits_only_in(repository: Path, commit: str, other: str) -> tuple[tuple[Commit, ...], int]:
    """Commits that ``commit`` leads to and ``other`` does not: the newest of them, and their
    number."""
    asked = (
        "log",
        "-z",
        f"-n{MOST}",
        "--encoding=UTF-8",
        "--format=%H %s",
        commit,
        f"^{other}",
        "--",
    )
    rows = [
        row.decode("utf-8", "replace").partition(" ")
        for row in catfile.rows(*asked, cwd=repository)
    ]
    found = tuple(Commit(identity, subject) for identity, _, subject in rows)
    if len(found) < MOST:
        return found, len(found)
    (number,) = catfile.rows("rev-list", "--count", commit, f"^{other}", "--", cwd=repository)
    return found, int(number)
