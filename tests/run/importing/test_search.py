"""Where trainings left something."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.errors import Findings
from loragit.run.importing import search
from loragit.run.importing.search import Source


def make(top: Path, *files: str) -> None:
    for file in files:
        path = top / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")


def places(*paths: Path) -> tuple[list[Source], list[str]]:
    findings = Findings()
    found = search.find_sources(paths, findings)
    return list(found), [finding.problem for finding in findings.all()]


@pytest.mark.parametrize(
    "files",
    [
        ("repos.git",),
        ("sdscripts.log",),
        ("config.toml", "go.zsh"),
        ("config.json", "a.safetensors"),
        ("config.toml", "a.ckpt"),
    ],
)
def test_a_runs_own_folder_is_told_by_what_lies_in_it(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    make(tmp_path, *files, "sample/repos.git", "a-state/model.safetensors")
    assert places(tmp_path) == ([Source(tmp_path, None)], [])


def test_folders_are_looked_into_two_levels_deep(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a/repos.git",
        "b/c/repos.git",
        "b/c/d/repos.git",
        "e/f/g/repos.git",
        ".hidden/repos.git",
        "h/i.txt",
    )
    assert places(tmp_path) == (
        [Source(tmp_path / "a", None), Source(tmp_path / "b" / "c", None)],
        [],
    )


def test_models_without_a_record_are_listed(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a.safetensors",
        "b.safetensors",
        "c.ckpt",
        "more/d.safetensors",
        "a-state/model.safetensors",
    )
    expected = [
        Source(tmp_path, ("a.safetensors", "b.safetensors")),
        Source(tmp_path / "more", ("d.safetensors",)),
    ]
    assert places(tmp_path) == (expected, [])
    assert search.model_bytes(expected) == 15
    assert search.model_bytes([Source(tmp_path, None)]) == 15, "a ckpt among them"
    assert search.model_bytes([Source(tmp_path / "gone", None)]) == 0


def test_what_is_named_twice_is_found_once(tmp_path: Path) -> None:
    make(tmp_path, "a/x.safetensors", "a/y.safetensors", "b/repos.git", "b/z.safetensors")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    named = (
        tmp_path / "a" / "y.safetensors",
        tmp_path / "a" / "x.safetensors",
        tmp_path / "b" / "z.safetensors",
    )
    found, problems = places(*named, tmp_path / "b", tmp_path)
    assert found == [
        Source(tmp_path / "a", ("y.safetensors", "x.safetensors")),
        Source(tmp_path / "b", None),
    ]
    assert problems == []


def test_a_folder_that_was_only_passed_is_looked_into_when_it_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a/b/c/repos.git")
    assert places(tmp_path, tmp_path / "a" / "b")[0] == [Source(tmp_path / "a" / "b" / "c", None)]


def test_each_path_that_has_nothing_is_told(tmp_path: Path) -> None:
    make(tmp_path, "empty/notes.txt", "c.ckpt")
    found, problems = places(tmp_path / "empty", tmp_path / "c.ckpt", tmp_path / "gone")
    assert found == []
    assert [problem.removeprefix(str(tmp_path)) for problem in problems] == [
        ("/empty is not the folder of a training: it holds no repos.git, sdscripts.log or model"),
        "/c.ckpt is neither a folder nor a .safetensors file",
        f"there is no {tmp_path}/gone",
    ]


def test_a_loop_of_links_and_too_many_folders_come_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/repos.git", "b/repos.git", "c/repos.git")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert len(places(tmp_path)[0]) == 3
    monkeypatch.setattr(search, "MAX_FOLDERS", 2)
    found, problems = places(tmp_path)
    assert found == [Source(tmp_path / "a", None)]
    assert problems == ["only 2 folders were looked into"]


def test_a_folder_that_has_vanished_holds_nothing(tmp_path: Path) -> None:
    assert not search._Search().walk(tmp_path / "gone", 2)


@pytest.mark.usefixtures("modes_count")
def test_a_folder_that_may_not_be_listed_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a/repos.git", "b/x.safetensors")
    (tmp_path / "a").chmod(0o000)
    (tmp_path / "b").chmod(0o100)
    assert places(tmp_path)[0] == []
    assert places(tmp_path / "b" / "x.safetensors")[0] == [
        Source(tmp_path / "b", ("x.safetensors",))
    ]
    (tmp_path / "a").chmod(0o700)
    (tmp_path / "b").chmod(0o700)
