"""``verify`` on objects that are damaged, missing or replaced, with ``git fsck`` as the witness."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loragit.store.store import Store
from tests.support.made_up_runs import open_store, sealed
from tests.support.processes import git
from tests.support.verdicts import TWO, damage, loose, retagged, told


def of_objects(record: Path, *, quick: bool = False) -> list[tuple[str, str]]:
    rows = told(record, quick=quick)
    return [(status, message) for status, check, message in rows if check == "objects"]


def test_content_is_read_unless_it_is_to_be_quick(record: Path) -> None:
    damage(record, "runs:config.toml")
    assert {status for status, _ in of_objects(record)} == {"wrong"}
    assert of_objects(record, quick=True) == []


def test_a_git_that_is_killed_without_a_word(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does it where memory runs out."""
    real = shutil.which("git")
    (tmp_path / "git").write_text(
        f'#!/bin/sh\nfor word; do [ "$word" = fsck ] && kill -9 $$; done\nexec {real} "$@"\n'
    )
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    ((status, message),) = of_objects(record)
    assert status == "wrong"
    assert message.startswith("git fsck ended with exit status ")


def test_a_warning_is_a_note(record: Path) -> None:
    made = retagged(record, r"\ntagger .*", "")
    message = (
        f"git fsck: warning in tag {made}: missingTaggerEntry: invalid format - expected 'tagger' "
    )
    assert of_objects(record) == [("note", f"{message}line")]


def test_a_complaint_of_no_object_in_particular_is_wrong(record: Path) -> None:
    (record / ".git/objects/info").mkdir(exist_ok=True)
    (record / ".git/objects/info/alternates").write_text("/nowhere/objects\n")
    ((status, message),) = of_objects(record)
    assert status == "wrong"
    assert "/nowhere/objects" in message


def many(record: Path, number: int) -> list[str]:
    """Damaged objects that nothing leads to."""
    names = []
    for each in range(number):
        name = git(record, "hash-object", "-w", "--stdin", text_input=str(each))
        loose(record, name).chmod(0o644)
        loose(record, name).write_bytes(b"no object")
        names.append(name)
    return names


def test_of_many_complaints_what_is_wrong_comes_first(record: Path) -> None:
    many(record, 30)
    notes = of_objects(record)
    # One more word than is shown: the number of the others.
    assert len(notes) == 21 and {status for status, _ in notes} == {"note"}
    hidden = int(notes[-1][1].removeprefix("git fsck has ").partition(" ")[0])
    damage(record, "runs:config.toml")
    rows = of_objects(record)
    wrongs = [row for row in rows if row[0] == "wrong"]
    assert wrongs and rows[: len(wrongs)] == wrongs
    left = 20 - len(wrongs)
    assert len(rows) == 21
    assert rows[-1] == ("note", f"git fsck has {hidden + 20 - left} further complaints")


def test_where_git_cannot_tell_what_runs_holds_every_complaint_counts(record: Path) -> None:
    sealed(open_store(record), TWO)
    (name,) = many(record, 1)
    assert {status for status, _ in of_objects(record)} == {"note"}
    git(record, "replace", "main", git(record, "commit-tree", "-m", "x", "main^{tree}"))
    tree = git(record, "rev-parse", "runs^{tree}")
    loose(record, tree).chmod(0o644)
    loose(record, tree).write_bytes(b"no object")
    rows = of_objects(record)
    assert {status for status, _ in rows} == {"wrong"}
    assert any(name in message for _, message in rows)
    replaced = "git shows ID in the place of ID, which runs holds: it was replaced"
    assert ("wrong", replaced) in rows


def test_the_notes_are_of_the_record(store: Store) -> None:
    top = store.repository.top
    tip = git(top, "rev-parse", "runs")
    store.note(tip, ("2026-11-24T08:00:00Z burnt",))
    damage(top, f"refs/notes/commits:{tip}")
    assert {status for status, _ in of_objects(top)} == {"wrong"}


def test_a_tree_that_is_damaged_is_told_with_its_record(record: Path) -> None:
    sealed(open_store(record), TWO)
    damage(record, "runs^{tree}")
    rows = [(status, check) for status, check, _ in told(record) if check != "objects"]
    assert ("wrong", "record") in rows
    assert ("note", "record") not in rows
