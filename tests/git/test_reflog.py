"""What a reflog says, and what is made of a line that says nothing."""

from __future__ import annotations

from pathlib import Path

from loragit.git.reflog import ReflogLine, read_reflog
from tests.support.processes import git


def test_a_reflog_is_read_as_git_shows_it(dataset: Path) -> None:
    first = git(dataset, "rev-parse", "HEAD")
    git(dataset, "commit", "-q", "--allow-empty", "-m", "a second\twith a tab")
    second = git(dataset, "rev-parse", "HEAD")
    git(dataset, "update-ref", "HEAD", first)
    lines = read_reflog(dataset / ".git", "HEAD")
    shown = git(dataset, "log", "-g", "--format=%H", "HEAD").splitlines()
    assert [line.new for line in reversed(lines)] == shown
    assert [line.old for line in lines[-2:]] == [first, second]
    assert [line.why for line in lines[-2:]] == ["commit: a second with a tab", ""]
    times = git(dataset, "reflog", "--date=unix", "--format=%gd", "HEAD").splitlines()
    assert [f"HEAD@{{{line.time}}}" for line in reversed(lines)] == times


def test_a_line_that_cannot_be_read_is_there_all_the_same(dataset: Path) -> None:
    path = dataset / ".git" / "logs" / "HEAD"
    path.write_text("nonsense\n" + path.read_text())
    lines = read_reflog(dataset / ".git", "HEAD")
    assert lines[0] == ReflogLine("", "", 0, "")
    assert lines[1].new == git(dataset, "rev-parse", "HEAD")


def test_a_ref_without_a_reflog_has_no_lines(dataset: Path) -> None:
    assert read_reflog(dataset / ".git", "refs/heads/nothing") == []
