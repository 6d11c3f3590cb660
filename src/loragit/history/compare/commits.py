"""Lists the commits between two states of a repository of code, if that is on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.git import catfile

MOST = 50
"""Commits that are listed of each side at most."""

FORWARD, REVERSED, DIVERGED, MISSING = "forward", "reversed", "diverged", "missing"
RELATIONS = (FORWARD, REVERSED, DIVERGED, MISSING)
"""The later run has a descendant of the earlier run's commit; an ancestor; neither; or one of the
two commits is not there."""

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class NamedCommit(NamedTuple):
    """Id and first line of a commit."""

    id: str
    subject: str


class CommitsBetween(NamedTuple):
    """What lies between two commits."""

    repository: Path
    """The repository that was asked."""
    relation: str
    """One of :data:`RELATIONS`."""
    added: tuple[NamedCommit, ...] = ()
    """Commits that only the later run has, the newest first; at most :data:`MOST`."""
    removed: tuple[NamedCommit, ...] = ()
    """Commits that only the earlier run has."""
    added_count: int = 0
    removed_count: int = 0
    missing: tuple[str, ...] = ()
    """Which of the two commits the repository lacks."""


def is_commit(text: str | None) -> bool:
    """Whether ``text`` is a full commit id; for a release a version is recorded instead."""
    return text is not None and _COMMIT.fullmatch(text) is not None


def commits_between(repository: Path, old: str, new: str) -> CommitsBetween | None:
    """Return what lies between the commits ``old`` and ``new``; ``None`` if ``repository`` cannot
    be read."""
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


def _commits_only_in(
    repository: Path, commit: str, other: str
) -> tuple[tuple[NamedCommit, ...], int]:
    """Return the newest commits that ``commit`` leads to and ``other`` does not, and their
    number."""
    question = (
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
        for row in catfile.rows(*question, cwd=repository)
    ]
    found = tuple(NamedCommit(identity, subject) for identity, _, subject in rows)
    if len(found) < MOST:
        return found, len(found)
    (number,) = catfile.rows("rev-list", "--count", commit, f"^{other}", "--", cwd=repository)
    return found, int(number)
