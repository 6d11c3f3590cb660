"""Written through to the disk, or told that it was not: files, folders, objects and refs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loragit.errors import LoragitError
from loragit.git import packs
from loragit.git.objects import Objects
from loragit.system import durable
from tests.support.made_up_runs import NAME, a_run, open_store
from tests.support.paths import ROOT
from tests.support.power_loss import why_not
from tests.support.processes import LORAGIT, git
from tests.support.user_home import Scene, make_scene


def broken(path: Path) -> tuple[str, ...]:
    """Words that, before a command, make waiting for the disk fail at ``path`` as on a disk that
    dies."""
    if reason := why_not(Path(os.environ["HOME"])):
        pytest.skip(reason)
    return (
        "strace",
        "-f",
        "-qq",
        "-o",
        os.devnull,
        "-P",
        str(path),
        "-e",
        "inject=fsync:error=EIO",
    )


def test_what_is_not_there_is_passed_over_and_what_cannot_be_opened_is_told_in_the_end(
    tmp_path: Path,
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("a")
    os.mkfifo(tmp_path / "pipe")
    durable.sync_all(
        [
            tmp_path / "none",
            tmp_path / "file" / "below",
            tmp_path / "file",
            tmp_path,
            tmp_path / "pipe",
        ]
    )
    with pytest.raises(OSError, match="loop"):
        durable.sync_all(
            [
                tmp_path / "loop",
                *(tmp_path / f"none{number}" for number in range(40)),
                tmp_path / "file",
            ]
        )


def test_folders_are_made_down_to_the_last(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a" / "b" / "c")
    durable.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_folder_that_is_gone_is_not_made_again_for_what_would_be_in_it(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a" / "b", tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        durable.make_folder(tmp_path / "gone" / "a" / "b", tmp_path / "gone")
    assert caught.value.filename == str(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_many_blobs_are_a_pack_that_git_reads(dataset: Path) -> None:
    blobs = [
        b"",
        b"x" * 15,
        b"x" * 16,
        b"x" * 3000,
        os.urandom(5000),
        *(b"caption %d" % n for n in range(300)),
    ]
    for _ in range(2):  # the second time there is one of that name
        packs.write(dataset / ".git" / "objects", blobs)
    assert sorted(path.suffix for path in (dataset / ".git" / "objects" / "pack").iterdir()) == [
        ".idx",
        ".pack",
    ]
    names = git(dataset, "hash-object", "--stdin", text_input="caption 299").split()
    assert git(dataset, "cat-file", "blob", names[0]) == "caption 299"
    index = next((dataset / ".git" / "objects" / "pack").glob("*.idx"))
    assert "non delta: 305 objects" in git(dataset, "verify-pack", "-v", str(index))
    assert "error" not in git(dataset, "fsck", "--strict", "--full")


def test_many_new_captions_are_one_pack_and_few_are_not(dataset: Path) -> None:
    from loragit.record.values import Entry

    store = open_store(dataset)
    captions = tuple(
        Entry(f"captions/img/{number:03d}.txt", b"zqx %d" % number) for number in range(100)
    )
    store.open(a_run(entries=(*a_run().entries, *captions)))
    changed = tuple(entry._replace(data=entry.data + b"!") for entry in captions[:3])
    store.open(a_run(name="noob-gren-v2s4", entries=(*a_run().entries, *changed, *captions[3:])))
    assert len(list((dataset / ".git" / "objects" / "pack").glob("*.pack"))) == 1
    assert git(dataset, "show", f"{NAME}:captions/img/002.txt") == "zqx 2"
    assert git(dataset, "show", "noob-gren-v2s4:captions/img/002.txt") == "zqx 2!"
    assert git(dataset, "fsck", "--strict", "--full") == ""


def test_a_linked_work_tree_knows_where_its_objects_are(dataset: Path, tmp_path: Path) -> None:
    git(dataset, "worktree", "add", "-q", str(tmp_path / "other"))
    objects = Objects(dataset / ".git" / "worktrees" / "other")
    name = git(dataset, "rev-parse", "HEAD")
    place = dataset / ".git" / "objects" / name[:2] / name[2:]
    place.unlink()
    place.symlink_to(place.name)
    with pytest.raises(LoragitError, match="the record cannot be written"):
        objects.sync([name])


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def test_a_run_whose_refs_do_not_reach_the_disk_is_taken_back_before_its_trainer_starts(
    scene: Scene,
) -> None:
    heads = scene.dataset / ".git" / "refs" / "heads"
    result = scene.run((*broken(heads), *LORAGIT, "train", NAME), scene.dataset, {})
    assert result.status == 1
    assert (
        f"error: {heads} cannot be written through to the disk: Input/output error\nhint: check"
        in result.err
    )
    assert "prepare images" not in result.out
    assert scene.tags() == []
    assert "The trainer was not started: " in scene.git("log", "-1", "--format=%B", "runs")
    assert not (scene.output / NAME).exists()
    assert list((scene.dataset / ".git" / "loragit" / "open").iterdir()) == []
    assert scene.train(NAME).status == 0


def test_a_run_that_cannot_be_taken_back_either_is_finished_later(scene: Scene) -> None:
    hook = scene.dataset / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n! grep -q ' {'0' * 40} refs/tags/'\n")  # no tag is deleted
    hook.chmod(0o755)
    heads = scene.dataset / ".git" / "refs" / "heads"
    result = scene.run((*broken(heads), *LORAGIT, "train", NAME), scene.dataset, {})
    assert result.status == 1
    assert (
        f"warning: {NAME} may still be open on record; finish it with: loragit recover"
        in result.err
    )
    assert f"error: {heads} cannot be written through to the disk" in result.err
    assert scene.tags() == [NAME]
    hook.unlink()
    assert scene.loragit("recover").status == 0
    assert scene.tags() == []
    assert not (scene.output / NAME).exists()
    assert scene.loragit("recover").err == "loragit: nothing to recover\n"


def test_a_model_that_does_not_reach_the_disk_is_told_and_sealed(scene: Scene) -> None:
    model = scene.output / NAME / f"{NAME}.safetensors"
    result = scene.run((*broken(model), *LORAGIT, "train", NAME), scene.dataset, {})
    assert result.status == 0
    assert (
        f"{model} may not outlast a power cut: the disk did not take it (Input/output error)"
        in result.err
    )
    assert scene.outcome(NAME)["Exit-Status"] == "0"


def test_an_outcome_whose_ref_does_not_reach_the_disk_is_told_and_there(dataset: Path) -> None:
    store = open_store(dataset)
    opened = store.open(a_run())
    seal = (
        "import sys; from pathlib import Path\n"
        "from tests.support.made_up_runs import a_run, an_outcome, open_store, opened\n"
        "store = open_store(Path.cwd()); store.seal(opened(a_run(), sys.argv[1]), an_outcome())\n"
        "print(store.not_durable.message)"
    )
    words = (*broken(dataset / ".git" / "refs" / "tags"), sys.executable, "-c", seal, opened.commit)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=dataset, env=environ, capture_output=True, text=True, check=False
    )
    assert "refs/tags cannot be written through to the disk" in done.stdout, done.stderr
    assert git(dataset, "cat-file", "-t", NAME) == "tag"


def test_an_object_that_does_not_reach_the_disk_moves_no_ref(scene: Scene) -> None:
    result = scene.run(
        (*broken(scene.dataset / ".git" / "objects"), *LORAGIT, "train", NAME), scene.dataset, {}
    )
    assert result.status == 1
    assert "error: the record cannot be written" in result.err
    assert "hint: see that there is room" in result.err
    assert scene.tags() == []
    assert scene.git("branch", "--list", "runs") == ""
    assert not (scene.output / NAME).exists()
