"""Folders that the user names, in place of those of a dataset config."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loragit.dataset.used_files import UsedFiles
from loragit.dataset.whole_folders import used_files
from loragit.trainers.sd_scripts.trainer import FILES

pytestmark = pytest.mark.every_python


def lay(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def names_in(used: UsedFiles, top: Path) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {
        os.path.relpath(each.path, top): (each.images, each.captions, each.further)
        for each in used.folders
    }


def test_every_file_counts_but_what_trainers_cache(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "01.png",
        "01.txt",
        "02.mp4",
        "02.caption",
        "metadata.jsonl",
        "notes.txt",
        "01.npz",
        "01_0960x0544_wan.safetensors",
        "._01.png",
        ".git/config",
        "_latent_cache/01.safetensors",
        "cache/wan/01.bin",
        "5_fox/03.jpg",
        "5_fox/03.txt",
    )
    used = used_files([tmp_path], FILES)
    assert names_in(used, tmp_path) == {
        ".": (
            ("01.png", "02.mp4"),
            ("01.txt", "02.caption"),
            ("metadata.jsonl", "notes.txt"),
        ),
        "5_fox": (("03.jpg",), ("03.txt",), ()),
    }
    assert (used.images, used.config, used.findings) == (3, None, ())


def test_links_are_followed_and_no_folder_counts_twice(tmp_path: Path) -> None:
    lay(tmp_path / "real", "01.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").symlink_to("../real")
    (tmp_path / "set" / "b").symlink_to("../real")
    (tmp_path / "set" / "round").symlink_to(".")
    (tmp_path / "set" / "02.png").symlink_to("nowhere")
    (tmp_path / "set" / "itself").symlink_to("itself")
    os.mkfifo(tmp_path / "set" / "pipe.txt")
    used = used_files([tmp_path / "set", tmp_path / "set"], FILES)
    assert names_in(used, tmp_path) == {
        "set": (("02.png",), (), ("itself",)),
        "set/a": (("01.png",), (), ()),
    }
    assert used.folders[0].dangling == {"02.png", "itself"}


def test_a_folder_without_files_and_one_that_is_not_there_are_findings(tmp_path: Path) -> None:
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    used = used_files([tmp_path / "empty", tmp_path / "none"], FILES)
    assert used.folders == ()
    first, second = used.findings
    assert first.problem == f"{tmp_path}/empty holds no files"
    assert f"cannot read {tmp_path}/none (No such file" in second.problem
    assert {each.hint for each in used.findings} == {"mend --dataset-folder"}
