from __future__ import annotations

import os
from pathlib import Path

import pytest

from loragit import crash_points
from loragit.crash_points import CrashPoint
from loragit.record.values import Entry
from loragit.run import output
from loragit.run.output import CannotWriteOutput, OutputExists, OutputFolder

ENTRIES = (
    Entry("config.toml", b"a = 1\n"),
    Entry("train.sh", b"#!/bin/sh\n", executable=True),
    Entry("inputs/preset.toml", b"x = 2\n"),
)


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    return output.make(tmp_path / "out" / "run", ENTRIES, "sdscripts.log")


def test_the_folder_holds_the_exact_bytes_and_an_executable_script(folder: OutputFolder) -> None:
    assert {e.path: (folder.path / e.path).read_bytes() for e in ENTRIES} == {
        e.path: e.data for e in ENTRIES
    }
    assert os.access(folder.path / "train.sh", os.X_OK)
    assert not os.access(folder.path / "config.toml", os.X_OK)


def test_a_folder_that_holds_only_ours_and_the_log_is_removed(folder: OutputFolder) -> None:
    (folder.path / "sdscripts.log").write_text("one\n")
    (folder.path / "sample").mkdir()
    assert folder.remove() == ()
    assert not folder.path.exists()
    assert folder.path.parent.is_dir()


def test_one_foreign_file_keeps_everything(folder: OutputFolder) -> None:
    (folder.path / "sample").mkdir()
    (folder.path / "sample" / "x.png").write_bytes(b"x")
    before = sorted(p.relative_to(folder.path) for p in folder.path.rglob("*"))
    assert folder.remove() == ("sample/x.png",)
    assert sorted(p.relative_to(folder.path) for p in folder.path.rglob("*")) == before


def test_a_file_of_ours_that_was_edited_is_the_users_now(folder: OutputFolder) -> None:
    (folder.path / "config.toml").write_text("a = 2\n")
    assert folder.remove() == ("config.toml",)
    assert (folder.path / "config.toml").read_text() == "a = 2\n"


def test_a_copy_that_a_kill_left_empty_does_not_keep_the_folder(folder: OutputFolder) -> None:
    (folder.path / "config.toml").write_bytes(b"")
    assert folder.remove() == ()
    assert not folder.path.exists()


def test_a_link_in_the_place_of_a_file_of_ours_is_not_ours(
    folder: OutputFolder, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "mine.toml"
    elsewhere.write_bytes(b"a = 1\n")
    (folder.path / "config.toml").unlink()
    (folder.path / "config.toml").symlink_to(elsewhere)
    assert folder.remove() == ("config.toml",)
    assert elsewhere.exists()


def test_a_link_to_a_folder_is_foreign_and_not_followed(
    folder: OutputFolder, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "config.toml").write_bytes(b"a = 1\n")
    (folder.path / "sample").symlink_to(precious)
    assert folder.remove() == ("sample",)
    assert (precious / "config.toml").exists()


def test_a_link_that_comes_in_place_of_a_folder_while_it_is_removed_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders, for one of them is still full when the first file goes, whichever that is."""
    names = ("inputs/a", "more/b")
    made = output.make(tmp_path / "run", [Entry(name, b"x") for name in names], "sdscripts.log")
    elsewhere = tmp_path / "elsewhere"
    for name in names:
        (elsewhere / name).parent.mkdir(parents=True)
        (elsewhere / name).write_bytes(b"x")

    def swap(step: CrashPoint) -> None:
        for name in names if step is CrashPoint.FILE_REMOVED else ():
            folder = (made.path / name).parent
            if (made.path / name).exists() and not folder.is_symlink():
                folder.rename(tmp_path / f"{folder.name}-away")
                folder.symlink_to(elsewhere / folder.name)

    monkeypatch.setattr(crash_points, "listener", swap)
    made.remove()
    assert all((elsewhere / name).read_bytes() == b"x" for name in names)


def test_another_folder_in_its_place_is_never_touched(folder: OutputFolder, tmp_path: Path) -> None:
    folder.path.rename(tmp_path / "moved")
    folder.path.mkdir()
    (folder.path / "config.toml").write_bytes(b"a = 1\n")
    assert folder.remove() == (".",)
    assert (folder.path / "config.toml").exists()


def test_a_link_in_place_of_the_folder_is_never_followed(
    folder: OutputFolder, tmp_path: Path
) -> None:
    folder.path.rename(tmp_path / "moved")
    folder.path.symlink_to(tmp_path / "moved")
    assert folder.remove() == (".",)
    assert (tmp_path / "moved" / "config.toml").exists()


def test_a_folder_that_is_gone_is_said_and_no_error(folder: OutputFolder, tmp_path: Path) -> None:
    folder.path.rename(tmp_path / "moved")
    assert folder.remove() == (". (No such file or directory)",)


def test_an_existing_folder_is_refused_with_the_next_step(folder: OutputFolder) -> None:
    with pytest.raises(OutputExists, match="exists already") as caught:
        output.make(folder.path, ENTRIES, "log")
    assert "--bump" in str(caught.value.hint)


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises((CannotWriteOutput, OutputExists)):
        output.make(tmp_path / "file" / "run", ENTRIES, "log")


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    # A file name of 300 bytes is refused by every file system, after the first file was written.
    entries = (*ENTRIES, Entry("x" * 300, b""))
    with pytest.raises(CannotWriteOutput, match="cannot be written") as caught:
        output.make(tmp_path / "run", entries, "log")
    assert "--output" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("modes_count")
def test_a_folder_that_cannot_be_made_is_refused_with_the_next_step(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWriteOutput, match="cannot be made: Permission denied") as caught:
        output.make(tmp_path / "run", ENTRIES, "sdscripts.log")
    assert caught.value.hint == "choose another with --output"
    tmp_path.chmod(0o700)
