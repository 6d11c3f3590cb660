"""What lies between two commits of the code that trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.history.compare import commits as between
from loragit.history.compare.commits import (
    CommitsBetween,
    NamedCommit,
    commits_between,
    is_commit,
)
from tests.support.processes import git


@pytest.fixture
def commits(dataset: Path) -> dict[str, str]:
    """``a`` below ``b`` below ``c``; ``d`` beside ``b``."""
    tree = git(dataset, "rev-parse", "main^{tree}")
    found: dict[str, str] = {}
    for name, above in (("a", ""), ("b", "a"), ("c", "b"), ("d", "a")):
        args = ["-p", found[above]] if above else []
        found[name] = git(dataset, "commit-tree", *args, "-m", f"{name} it", tree)
    return found


def named(commits: dict[str, str], *names: str) -> tuple[NamedCommit, ...]:
    return tuple(NamedCommit(commits[name], f"{name} it") for name in names)


def test_forward_back_and_apart(dataset: Path, commits: dict[str, str]) -> None:
    a, b, c, d = (commits[name] for name in "abcd")
    forward = CommitsBetween(dataset, "forward", named(commits, "c", "b"), (), 2, 0)
    assert commits_between(dataset, a, c) == forward
    back = CommitsBetween(dataset, "reversed", (), named(commits, "c", "b"), 0, 2)
    assert commits_between(dataset, c, a) == back
    apart = CommitsBetween(dataset, "diverged", named(commits, "d"), named(commits, "b"), 1, 1)
    assert commits_between(dataset, b, d) == apart
    same = commits_between(dataset, d, d)
    assert same is not None and (same.relation, same.added_count) == ("forward", 0)


def test_what_is_no_commit_there_is_missing(dataset: Path, commits: dict[str, str]) -> None:
    tree = git(dataset, "rev-parse", "main^{tree}")
    found = commits_between(dataset, commits["a"], "e" * 40)
    assert found == CommitsBetween(dataset, "missing", missing=("e" * 40,))
    found = commits_between(dataset, tree, commits["a"])
    assert found is not None and found.missing == (tree,)


def test_a_repository_that_cannot_be_read(tmp_path: Path, commits: dict[str, str]) -> None:
    assert commits_between(tmp_path, commits["a"], commits["b"]) is None


def test_many_commits_are_counted_and_the_newest_named(
    dataset: Path, commits: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for most, listed in ((1, ("c",)), (2, ("c", "b")), (3, ("c", "b"))):
        monkeypatch.setattr(between, "MOST", most)
        found = commits_between(dataset, commits["a"], commits["c"])
        assert found is not None
        assert (found.added, found.added_count) == (named(commits, *listed), 2)


@pytest.mark.parametrize("length", [40, 64])
def test_a_commit_is_a_whole_id(length: int) -> None:
    assert is_commit("a" * length)
    assert not is_commit("a" * (length - 1))
    assert not is_commit("g" * length)
    assert not is_commit(None)
