"""What goes wrong around a run: disks, rights, mounts, clocks, terminals, and the user's own hands.

Each fault is said with a next step, a training that runs is not harmed, nothing is lost, and git finds the repository
sound. ``FAULTS`` is the table; what cannot be struck by a process in the middle of a run stands below it.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from loragit import preflight
from tests import mounts
from tests.nursery import Nursery, loragit
from tests.scene import Scene, git, make_scene

NAME = "noob-gren-v1s4"
Step = Callable[[Scene], object]


def nothing(scene: Scene) -> None:
    """No step."""


class Fault(NamedTuple):
    """Something that goes wrong in or before a run of the stub trainer, which saves a model before and after it."""

    said: tuple[str, ...]
    """On standard error."""
    status: int
    before: Step = nothing
    """Before the run."""
    strike: Step | None = None
    """While it trains, between the two models; ``None``: the run never begins."""
    mended: Step = nothing
    """After the run, so that all can be looked at."""
    state: str = "sealed"
    """``sealed``, ``open`` or ``absent``."""
    mounts: bool = False
    """Whether it needs a file system of its own."""
    look: Step = nothing


# ---- steps ----


def small_repository(scene: Scene) -> None:
    mounts.small_disk(scene.dataset / ".git", "4m")


def full_repository(scene: Scene) -> None:
    mounts.fill(scene.dataset / ".git")


def room_again(scene: Scene) -> None:
    (scene.dataset / ".git" / "filler").unlink()


def small_output(scene: Scene) -> None:
    scene.output.mkdir()
    mounts.small_disk(scene.output, "1m")


def full_output(scene: Scene) -> None:
    mounts.fill(scene.output)


def in_turn(*steps: Step) -> Step:
    def all_of_them(scene: Scene) -> None:
        for step in steps:
            step(scene)

    return all_of_them


def read_only_repository(scene: Scene) -> None:
    mounts.read_only(scene.dataset / ".git")


def writable_repository(scene: Scene) -> None:
    mounts.unmount(scene.dataset / ".git")


def read_only_output(scene: Scene) -> None:
    scene.output.mkdir(exist_ok=True)
    mounts.read_only(scene.output)


def as_anybody(scene: Scene) -> None:
    mounts.as_anybody()


def permit(mode: int, *names: str) -> Step:
    def change(scene: Scene) -> None:
        for name in names:
            path = scene.home / name
            path.mkdir(exist_ok=True)
            for folder in (path, *(each for each in path.rglob("*") if each.is_dir())):
                folder.chmod(mode)

    return change


def vanish(scene: Scene) -> None:
    mounts.unmount(scene.output)


def rename_output(scene: Scene) -> None:
    (scene.output / NAME).rename(scene.output / "moved")


def copy_output(scene: Scene) -> None:
    rename_output(scene)
    shutil.copytree(scene.output / "moved", scene.output / NAME)


def a_disk_on_a_plain_folder(scene: Scene) -> None:
    """As a disk is mounted: below it is an empty folder that nobody may write."""
    permit(0o555, OUTPUT)(scene)
    mounts.small_disk(scene.output, "1m")
    permit(0o755, OUTPUT)(scene)
    mounts.as_anybody()


def remove_output(scene: Scene) -> None:
    shutil.rmtree(scene.output / NAME)
    (scene.output / NAME).write_text("in the way")


def edit_dataset(scene: Scene) -> None:
    (scene.dataset / "img" / "01.txt").write_text("other words")
    (scene.dataset / "img" / "02.txt").unlink()
    (scene.dataset / "config.toml").write_text("# nothing left\n")


def recorded_as_it_was(scene: Scene) -> None:
    assert scene.git("show", f"{NAME}:captions/img/01.txt") == "zqx, a round thing, colour 1"
    assert scene.git("show", f"{NAME}:captions/img/02.txt") == "zqx, a round thing, colour 2"
    assert "image_dir" in scene.git("show", f"{NAME}:config.toml")


def collect_garbage(scene: Scene) -> None:
    scene.git("commit", "-q", "--amend", "--allow-empty", "-m", "another first commit")
    scene.git("reflog", "expire", "--expire=now", "--all")
    scene.git("repack", "-a", "-d", "-q")
    scene.git("gc", "-q", "--prune=now")


def dataset_commit_is_there(scene: Scene) -> None:
    commit = scene.trailers(NAME)["Dataset-Commit"]
    assert commit != scene.git("rev-parse", "main")
    assert scene.git("show", f"{commit}:img/00.txt") == "zqx, a round thing, colour 0"


def check_out_runs(scene: Scene) -> None:
    scene.git("worktree", "add", "-q", str(scene.home / "tree"), "runs")


def runs_stays_checked_out(scene: Scene) -> None:
    assert git(scene.home / "tree", "status", "--porcelain") == ""


def a_clock_that_can_go_back(scene: Scene) -> None:
    real = time.time
    time.time = lambda: real() - (86400 if (scene.home / "yesterday").exists() else 0)


def set_the_clock_back(scene: Scene) -> None:
    (scene.home / "yesterday").touch()


def no_time_is_negative(scene: Scene) -> None:
    opened, ended = (
        int(scene.git("log", "-1", "--format=%ct", NAME)),
        scene.git("for-each-ref", "--format=%(taggerdate:unix)", f"refs/tags/{NAME}"),
    )
    assert int(ended) < opened
    assert 0 <= int(scene.outcome(NAME)["Duration"]) < 60


def two_models(scene: Scene) -> None:
    assert {path.name for path in (scene.output / NAME).glob("*.safetensors")} == {
        f"{NAME}-step00000002.safetensors",
        f"{NAME}.safetensors",
    }


def the_first_model(scene: Scene) -> None:
    assert (scene.output / NAME / f"{NAME}-step00000002.safetensors").exists()


def the_moved_folder_is_whole(scene: Scene) -> None:
    moved = {path.name for path in (scene.output / "moved").iterdir()}
    assert {f"{NAME}-step00000002.safetensors", "sdscripts.log", "train.sh"} <= moved
    assert "saving checkpoint" in (scene.output / "moved" / "sdscripts.log").read_text()


STAYS = f"{NAME} stays open on record; what the trainer wrote is in "
GIT, OUTPUT = "datasets/gren/.git", "output_dir"

FAULTS = {
    "the repository's disk is full at the start": Fault(
        said=("cannot be written: No space left on device", "check the repository's disk"),
        status=1,
        before=in_turn(small_repository, full_repository),
        mended=room_again,
        state="absent",
        mounts=True,
    ),
    "the repository's disk is full at the end": Fault(
        said=("No space left on device", "see that there is room", STAYS),
        status=1,
        before=small_repository,
        strike=full_repository,
        mended=room_again,
        state="open",
        mounts=True,
        look=two_models,
    ),
    "the disk of the outputs is full at the start": Fault(
        said=("cannot be written: No space left on device", "choose another folder with --output"),
        status=1,
        before=in_turn(small_output, full_output),
        state="absent",
        mounts=True,
    ),
    "the disk of the outputs is full in mid-training": Fault(
        said=("No space left on device", "sealed"),
        status=1,
        before=small_output,
        strike=full_output,
        mounts=True,
        look=the_first_model,
    ),
    "the repository is read-only at the start": Fault(
        said=(f"{GIT} cannot be written, and the record must be",),
        status=1,
        before=read_only_repository,
        mended=writable_repository,
        state="absent",
        mounts=True,
    ),
    "the repository is read-only at the end": Fault(
        said=("Read-only file system", "you may write", STAYS),
        status=1,
        strike=read_only_repository,
        mended=writable_repository,
        state="open",
        mounts=True,
        look=two_models,
    ),
    "the outputs are read-only at the start": Fault(
        said=("output_dir cannot be written, and the models must be", "choose another with --output"),
        status=1,
        before=read_only_output,
        state="absent",
        mounts=True,
    ),
    "the outputs become read-only": Fault(
        said=("sealed",), status=1, strike=read_only_output, mounts=True, look=the_first_model
    ),
    "the repository may not be written at the start": Fault(
        said=(f"{GIT} cannot be written, and the record must be", "see whom it belongs to"),
        status=1,
        before=in_turn(as_anybody, permit(0o555, GIT)),
        mended=permit(0o755, GIT),
        state="absent",
    ),
    "the repository may not be written at the end": Fault(
        said=("ermission denied", "you may write", STAYS),
        status=1,
        before=as_anybody,
        strike=permit(0o555, GIT),
        mended=permit(0o755, GIT),
        state="open",
        look=two_models,
    ),
    "the outputs may not be written": Fault(
        said=("output_dir cannot be written, and the models must be", "choose another with --output"),
        status=1,
        before=in_turn(as_anybody, permit(0o555, OUTPUT)),
        mended=permit(0o755, OUTPUT),
        state="absent",
    ),
    "the disk of the outputs vanishes": Fault(
        said=("is gone (No such file or directory): nobody can tell", "mount its disk again", STAYS),
        status=1,
        before=a_disk_on_a_plain_folder,
        strike=vanish,
        mended=permit(0o755, OUTPUT),
        state="open",
        mounts=True,
    ),
    "the output folder is renamed": Fault(
        said=("is gone (No such file or directory): nobody can tell", "move the folder back", STAYS),
        status=1,
        strike=rename_output,
        state="open",
        look=the_moved_folder_is_whole,
    ),
    "the output folder is taken by another": Fault(
        said=("is not the folder any more that this run made", "sealed"),
        status=0,
        strike=copy_output,
        look=two_models,
    ),
    "something else is in the output folder's place": Fault(
        said=("is gone (something else is in its place): nobody can tell", STAYS),
        status=1,
        strike=remove_output,
        state="open",
    ),
    "the dataset is edited": Fault(
        said=(
            "2 files of the dataset were changed or removed while it trained (img/01.txt, img/02.txt): on record is",
            "gren/config.toml was edited while it trained: on record is what it was at the start",
        ),
        status=0,
        strike=edit_dataset,
        look=in_turn(two_models, recorded_as_it_was),
    ),
    "the dataset's repository is repacked and collected": Fault(
        said=("sealed",), status=0, strike=collect_garbage, look=in_turn(two_models, dataset_commit_is_there)
    ),
    "runs is checked out": Fault(
        said=("sealed",), status=0, strike=check_out_runs, look=in_turn(two_models, runs_stays_checked_out)
    ),
    "the clock goes back": Fault(
        said=("sealed",),
        status=0,
        before=a_clock_that_can_go_back,
        strike=set_the_clock_back,
        look=in_turn(two_models, no_time_is_negative),
    ),
}


# ---- the table, struck ----


def struck(name: str, home: Path, fifo: Path) -> int:
    """A run of loragit that ``FAULTS[name]`` happens to, and what is left of it; in a process of its own."""
    fault = FAULTS[name]
    scene = Scene(home, home / "datasets" / "gren", home / "source" / "repos" / "sd-scripts")
    before = scene.git("for-each-ref", "--format=%(refname) %(objectname)")
    if fault.mounts:
        mounts.own_mounts()
    preflight.MIN_FREE = preflight.MIN_FREE_RECORD = 0
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    striker = strike_in_the_middle(scene, fault.strike, reader) if fault.strike else None
    try:
        fault.before(scene)
        status = loragit("train", NAME)
    finally:
        os.write(reader, b"no trainer")
    assert striker is None or os.waitpid(striker, 0)[1] == 0
    fault.mended(scene)
    check_record(scene, fault.state, before)
    fault.look(scene)
    return status


def strike_in_the_middle(scene: Scene, strike: Step, reader: int) -> int:
    """A process beside this one that waits for the trainer, strikes, and lets it go on."""
    # What the run's process mounts is seen by this one too: they are in one namespace.
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        trainer = int(os.read(reader, 64))
        strike(scene)
        os.kill(trainer, signal.SIGUSR1)
        status = 0
    except BaseException:  # noqa: BLE001 - whoever waits reads it
        traceback.print_exc()
    finally:
        os._exit(status)


def check_record(scene: Scene, state: str, before: str) -> None:
    """Whether the run is on record as ``state`` says, git finds all sound, and what was there is there."""
    scene.git("fsck", "--strict", "--full")
    refs = scene.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    kept = [line for line in before.splitlines() if not line.startswith("refs/heads/main ")]
    assert set(kept) <= set(refs)
    assert list((scene.dataset / ".git").rglob("*.lock")) == []
    if state == "absent":
        assert refs == before.splitlines()
        assert list((scene.dataset / ".git").glob("loragit/open/*")) == []
        assert not (scene.output / NAME).exists()
    else:
        assert scene.git("cat-file", "-t", NAME) == {"sealed": "tag", "open": "commit"}[state]
        assert scene.git("rev-parse", f"{NAME}^{{commit}}") == scene.git("rev-parse", "runs")


def can_mount() -> int:
    try:
        mounts.own_mounts()
    except OSError:
        return 1
    return 0


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_said_and_nothing_is_lost(name: str, home: Path, tmp_path: Path, nursery: Nursery) -> None:
    fault = FAULTS[name]
    if fault.mounts and nursery.run(can_mount).status:
        pytest.skip("file systems may not be mounted here")
    scene = make_scene(home)
    fifo = tmp_path / "ready"
    done = nursery.run(struck, name, home, fifo, cwd=scene.dataset, STUB="wait", STUB_READY=str(fifo))
    assert done.status == fault.status, done.err
    for each in fault.said:
        assert each in done.err, done.err
