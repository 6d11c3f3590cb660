"""What is said of files that were edited while a run trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from loragit.dataset import snapshot
from loragit.dataset.hashes import HashCache
from loragit.dataset.snapshot import RecordedDataset, WatchedFolder
from loragit.dataset.used_files import UsedFiles, UsedFolder
from loragit.record.values import Entry
from loragit.run import edited
from loragit.run.preflight.inputs import Inputs
from loragit.trainers.sd_scripts.trainer import SdScripts
from tests.support.growth import seconds_in_turn

AS_IT_WAS = "on record is what it was at the start"


@pytest.fixture
def read(tmp_path: Path) -> Inputs:
    """A dataset of twelve files in two folders, with its config and prompts."""
    folders = []
    for place in ("img", "reg"):
        folder = tmp_path / "gren" / place
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"{number}.png").write_bytes(b"\x89PNG" + bytes([number]) * 2000)
            (folder / f"{number}.txt").write_text(f"caption {number}")
        os.utime(
            folder, ns=(1, 1)
        )  # what comes into it later comes at another time, whatever the clock's ticks
        folders.append(used(folder))
    return look(tmp_path / "gren", folders)


def used(folder: Path) -> UsedFolder:
    names = sorted(os.listdir(folder))
    images = tuple(name for name in names if name.endswith(".png"))
    return UsedFolder(folder, images, tuple(name for name in names if name.endswith(".txt")))


def look(root: Path, folders: list[UsedFolder]) -> Inputs:
    entries = (Entry("config.toml", b"config"), Entry("sample-prompts.txt", b"prompts"))
    for entry in entries:
        (root / entry.path).write_bytes(entry.data)
    files = UsedFiles(None, tuple(folders), {})
    nothing = RecordedDataset(None, None, frozenset())
    dataset = snapshot.read_dataset(
        files, SdScripts(), nothing, root, HashCache(root.parent / "cache")
    )
    sources = {entry.path: root / entry.path for entry in entries}
    return Inputs(entries[0], entries[1], (), dataset, files, (), sources)


def touched(path: Path, data: str | None = None) -> None:
    """Written again, at another time than before whatever the clock's ticks."""
    path.write_text(path.read_text() if data is None else data)
    os.utime(path, ns=(1, 1))


def test_of_files_that_nobody_touched_nothing_is_said(read: Inputs, tmp_path: Path) -> None:
    assert list(edited.edits(read)) == []
    # Nor where the bytes are the same, nor of what the trainer puts beside the images.
    touched(tmp_path / "gren" / "img" / "1.txt")
    (tmp_path / "gren" / "img" / "1_0064x0064_sdxl.npz").write_bytes(b"latents")
    (tmp_path / "gren" / "img" / "metadata_cache.json").write_text("{}")
    assert list(edited.edits(read)) == []


Edit = Callable[[Path], object]


def one_gone_and_one_longer(root: Path) -> None:
    (root / "img/0.png").unlink()
    touched(root / "reg/2.txt", "longer than it was before")


def a_pipe_in_its_place(root: Path) -> None:
    (root / "img/1.txt").unlink()
    os.mkfifo(root / "img/1.txt")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        pytest.param(
            lambda root: touched(root / "img/1.txt", "CAPTION 1"),
            "1 file of the dataset was changed or removed while it trained (img/1.txt): "
            f"{AS_IT_WAS}",
            id="same size",
        ),
        pytest.param(
            one_gone_and_one_longer,
            "2 files of the dataset were changed or removed while it trained (img/0.png, "
            f"reg/2.txt): {AS_IT_WAS}",
            id="removed",
        ),
        pytest.param(
            lambda root: [path.unlink() for path in (root / "reg").glob("*.*")],
            "6 files of the dataset were changed or removed while it trained "
            f"(reg/0.png, reg/0.txt, reg/1.png and 3 more): {AS_IT_WAS}",
            id="many",
        ),
        pytest.param(
            lambda root: (root / "img/9.png").write_bytes(b"new"),
            f"1 image came into the dataset while it trained (img/9.png): {AS_IT_WAS}",
            id="new",
        ),
        pytest.param(
            a_pipe_in_its_place,
            "1 file of the dataset was changed or removed while it trained (img/1.txt): "
            f"{AS_IT_WAS}",
            id="a pipe in its place",
        ),
        pytest.param(
            lambda root: (root / "reg").rename(root / "elsewhere"),
            f"{{root}}/reg cannot be read any more (No such file or directory): {AS_IT_WAS}",
            id="folder gone",
        ),
        pytest.param(
            lambda root: (root / "config.toml").write_bytes(b"CONFIG"),
            f"{{root}}/config.toml was edited while it trained: {AS_IT_WAS}",
            id="config",
        ),
        pytest.param(
            lambda root: (root / "sample-prompts.txt").unlink(),
            f"{{root}}/sample-prompts.txt cannot be read any more (No such file or directory): "
            f"{AS_IT_WAS}",
            id="prompts gone",
        ),
    ],
)
def test_each_kind_of_edit_is_said_with_what_is_on_record(
    read: Inputs, tmp_path: Path, edit: Edit, said: str
) -> None:
    root = tmp_path / "gren"
    edit(root)
    assert list(edited.edits(read)) == [said.format(root=root)]


def test_what_is_too_large_to_be_read_again_is_said_not_to_have_been_compared(
    read: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edited, "MAX_HASHED", 10)
    for name in ("img/1.txt", "img/2.txt"):
        touched(tmp_path / "gren" / name)
    assert list(edited.edits(read)) == [
        (
            "1 file of the dataset was written again, maybe with other bytes, while it trained "
            f"(img/2.txt): {AS_IT_WAS}"
        )
    ]


def test_a_file_that_cannot_be_read_any_more_counts_as_changed(tmp_path: Path) -> None:
    folder = tmp_path / "img"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"image")
    (folder / "0.txt").touch()
    os.utime(folder / "0.txt", ns=(1, 1))  # another time than that of what comes in its place
    read = look(tmp_path, [used(folder)])
    (folder / "0.txt").unlink()
    (folder / "0.txt").symlink_to(
        "/proc/self/mem"
    )  # empty for stat(2), and no page of it can be read at the start
    assert "(img/0.txt)" in next(iter(edited.edits(read)))


def test_ten_thousand_files_cost_little_more_than_to_look_at_each(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    (root / "img").mkdir(parents=True)
    for number in range(2500):
        (root / "img" / f"{number}.png").touch()
        (root / "img" / f"{number}.txt").touch()
    read = look(root, [used(root / "img")])

    names = [str(root / "img" / each.name) for each in read.dataset.watched[0].files]
    bare, took = seconds_in_turn(
        lambda: [os.stat(name) for name in names], lambda: list(edited.edits(read)), times=8
    )
    assert took < 3 * bare


def test_a_disk_that_was_mounted_anew_is_not_read_again(
    read: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have another number, which is part of what a file is known by."""

    def elsewhere(watched: WatchedFolder) -> WatchedFolder:
        return watched._replace(stamps=tuple(f"{each}9" for each in watched.stamps))

    monkeypatch.setattr(edited, "MAX_HASHED", 0)
    before = read.dataset._replace(watched=tuple(map(elsewhere, read.dataset.watched)))
    assert list(edited.edits(read._replace(dataset=before))) == []
