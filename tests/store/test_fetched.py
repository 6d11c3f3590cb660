"""Tags of another machine's runs, told from those of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.git.repository import discover
from loragit.store.fetched import fetched, made_here
from tests.support.made_up_runs import NAME, a_run, open_store, sealed
from tests.support.processes import git

THEIRS = "noob-gren-v2s4"


@pytest.fixture
def clone(dataset: Path, tmp_path: Path) -> Path:
    """With a run of its own, and the fetched tag of another."""
    sealed(open_store(dataset), "noob-gren-v9s4")
    git(tmp_path, "clone", "-q", str(dataset), "clone")
    head = git(dataset, "rev-parse", "HEAD")
    open_store(tmp_path / "clone").open(a_run(name=NAME, dataset_commit=head))
    sealed(open_store(dataset), THEIRS)
    git(tmp_path / "clone", "fetch", "-q")
    return tmp_path / "clone"


def commits(folder: Path, *names: str) -> dict[str, str]:
    return {name: git(folder, "rev-parse", f"{name}^{{commit}}") for name in names}


def test_a_tag_that_a_remotes_runs_leads_to_was_fetched(clone: Path) -> None:
    loose = commits(clone, NAME, THEIRS)
    assert fetched(discover(clone), loose) == {THEIRS}
    assert fetched(discover(clone), {}) == frozenset()
    git(clone, "update-ref", "-d", "refs/remotes/origin/runs")
    assert fetched(discover(clone), loose) == frozenset()


def test_a_tag_that_runs_leads_to_by_now_is_not_another_machines(clone: Path) -> None:
    git(clone, "update-ref", "refs/heads/runs", "refs/remotes/origin/runs")
    assert fetched(discover(clone), commits(clone, THEIRS)) == frozenset()


def test_a_run_that_was_made_here_is_ones_own_wherever_it_went(clone: Path) -> None:
    mine = commits(clone, NAME)
    git(clone, "update-ref", "refs/remotes/theirs/runs", mine[NAME])
    git(clone, "update-ref", "-d", "refs/heads/runs")
    assert fetched(discover(clone), mine | commits(clone, THEIRS)) == {THEIRS}


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("logged", [True, False])
def test_a_keep_ref_or_a_reflog_of_loragits_shows_what_was_made_here(
    clone: Path, kept: bool, logged: bool
) -> None:
    if not kept:
        git(clone, "update-ref", "-d", f"refs/loragit/keep/{NAME}")
    log = clone / ".git" / "logs" / "refs" / "tags" / NAME
    assert "\tloragit: open" in log.read_text()
    if not logged:
        log.write_text(log.read_text().replace("\tloragit: ", "\tby hand: "))
    found = made_here(discover(clone), [NAME, THEIRS])
    assert found == ({NAME} if kept or logged else frozenset())
