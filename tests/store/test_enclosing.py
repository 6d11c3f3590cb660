"""Whether a repository that a dataset lies in is meant to hold its record."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.git.repository import discover
from loragit.store.enclosing import EnclosingQuestion, not_meant
from tests.support.made_up_runs import NAME, open_store, sealed
from tests.support.processes import git


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a repository, with an odd name."""
    folder = tmp_path / "all" / ":(top) sets" / "gren"
    folder.mkdir(parents=True)
    git(tmp_path / "all", "init", "-q")
    return folder


def reason(folder: Path, home: Path, *trainers: Path) -> str:
    told = EnclosingQuestion(discover(folder)).answer(home, trainers)
    return "" if told is None else told.rpartition(", ")[2]


def test_each_reason_is_named(folder: Path, tmp_path: Path) -> None:
    top, elsewhere = tmp_path / "all", tmp_path / "home"
    elsewhere.mkdir()
    assert reason(folder, elsewhere) == ""
    assert reason(folder, elsewhere, elsewhere, top) == "which holds the trainer"
    assert reason(folder, top) == "which holds your home folder"
    assert reason(folder, folder) == "which holds your home folder"
    (top / ".gitignore").write_text("gren\n")
    assert reason(folder, elsewhere) == "which ignores it"
    (tmp_path / "link").symlink_to(top)
    assert reason(folder, tmp_path / "link") == "which holds your home folder"


def test_nothing_speaks_against_a_repository_of_its_own(folder: Path, tmp_path: Path) -> None:
    git(folder, "init", "-q")
    assert reason(folder, folder, folder) == ""


def test_a_record_that_is_there_is_meant(folder: Path, tmp_path: Path) -> None:
    store = open_store(folder)
    assert reason(folder, tmp_path / "all") != ""
    sealed(store, "noob-other-v1s4", prefix="other")
    assert reason(folder, tmp_path / "all") != "", (
        "that of another dataset says nothing of this one"
    )
    sealed(store, NAME, prefix=store.repository.prefix)
    assert reason(folder, tmp_path / "all") == ""


def test_the_finding_says_what_to_do(folder: Path) -> None:
    finding = not_meant("why", folder)
    assert f"git init '{folder}'" in str(finding.hint)
    assert "record.enclosing = true" in str(finding.hint)
