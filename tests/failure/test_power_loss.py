"""A power cut at any moment of a training: git finds the repository sound, and what was promised is
there."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from loragit import git as git_of_user
from loragit.store import ref_moves
from loragit.system import alive
from tests.support.power_loss import Call, Disk, State, replay, tracer, why_not, write_state
from tests.support.processes import LORAGIT, git
from tests.support.user_home import Scene, make_scene

NAME = "noob-gren-v1s4"
GIT_DIR = "datasets/gren/.git"
REFS = ("refs/heads/runs", f"refs/tags/{NAME}", f"refs/loragit/keep/{NAME}")
RANDOM_EVERY = 12
"""Steps between two random disks."""

Unheard = Callable[[Call], bool]


class Traced(NamedTuple):
    """A whole training that was traced, and how the disk was before."""

    scene: Scene
    trace: Path
    before: Disk
    place: Path
    """For a repository after a power cut."""

    def replay(self, disk: Disk, unheard: Unheard = lambda _: False) -> Iterator[Call]:
        return replay(self.trace, disk, cwd=self.scene.dataset, unheard=unheard)

    def at_the_start(self, unheard: Unheard) -> Disk:
        """The disk when the trainer is about to be executed."""
        disk = copy.deepcopy(self.before)
        for call in self.replay(disk, unheard):
            if (
                call.name == "execve"
                and "sdxl_train_network.py" in call.text
                and "--output_dir" in call.text
            ):
                return disk
        raise AssertionError("no trainer was started")

    def fsck(self, state: State) -> str:
        """What git says of the repository of ``state``; empty where all is well."""
        folder = write_state(state, self.place, GIT_DIR)
        words = ["git", f"--git-dir={folder}", "fsck", "--strict", "--no-dangling", "--no-progress"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def recovered(self, state: State) -> tuple[str, ...]:
        """What the run's refs hold, empty for none, once the moves are finished that ``state`` was
        left with."""
        boot = (alive.boot_id() or "").encode()
        restarted = {
            path: data.replace(boot, b"before the power cut") if data and boot else data
            for path, data in state.items()
        }
        write_state(restarted, self.place / ".git", GIT_DIR)
        ref_moves.finish_moves(git_of_user.discover(self.place))
        held = git_of_user.read_refs(cwd=self.place)
        return tuple(held[name].object if name in held else "" for name in REFS)

    def ref(self, name: str) -> str:
        """What the ref holds in the repository that was written last."""
        return git(
            self.place, f"--git-dir={self.place}", "rev-parse", "--verify", "-q", name, check=False
        )


def trace(home: Path, folder: Path, **environ: str) -> Traced:
    """Trace a training of the stub trainer."""
    if reason := why_not(folder):
        pytest.skip(reason)
    scene = make_scene(home)
    before = Disk(home)
    words = (*tracer(folder / "trace"), *LORAGIT, "train", NAME)
    result = scene.run(words, scene.dataset, {"PYTHONDONTWRITEBYTECODE": "1", **environ})
    assert result.status == ("STUB" in environ), result.err
    return Traced(scene, folder / "trace", before, folder / "after")


_DONE: list[Traced] = []


@pytest.fixture
def traced(home: Path, tmp_path: Path) -> Traced:
    """One training for all tests that run in this process; none of them writes to its scene."""
    if not _DONE:
        _DONE.append(trace(home, tmp_path))
    return _DONE[0]


@pytest.fixture
def traced_revert(home: Path, tmp_path: Path) -> Traced:
    """A training that made nothing, and was taken back."""
    return trace(home, tmp_path, STUB="fail")


def lost_at_the_start(traced: Traced, unheard: Unheard = lambda _: False) -> list[str]:
    """What of a run is not on the disk when the trainer starts; what is ``unheard`` of was not
    waited for."""
    disk = traced.at_the_start(unheard)
    state = disk.least()
    commit = traced.scene.git("rev-parse", "runs")
    expected = dict(zip(REFS, (commit, commit, traced.scene.git("rev-parse", "HEAD")), strict=True))
    lost = traced.fsck(state).splitlines()
    lost += [name for name, held in expected.items() if traced.ref(name) != held]
    notes = {
        path: data for path, data in state.items() if path.startswith(f"{GIT_DIR}/loragit/open/")
    }
    if not any(data and path.endswith(".toml") for path, data in notes.items()):
        lost.append("the journal's note")
    output = traced.scene.output / NAME
    lost += [
        str(path)
        for path in (output / "config.toml", output / "train.sh")
        if not disk.settled(path)
    ]
    return lost


def unheard_of(out: Callable[[Path], bool]) -> Unheard:
    return lambda call: any(map(out, call.paths))


def fan_out(path: Path) -> bool:
    return path.parent.name == "objects" and len(path.name) == 2


@pytest.mark.timeout(300)
def test_all_of_a_run_is_on_the_disk_before_its_trainer_starts_and_it_shows_where_one_wait_is_left_out(  # noqa: E501
    traced: Traced,
) -> None:
    assert lost_at_the_start(traced) == []
    left_out: dict[str, Callable[[Path], bool]] = {
        "everything": lambda path: True,
        "bytes of objects": lambda path: path.name.startswith("tmp_object"),
        "names of objects": fan_out,
        "new folders of objects": lambda path: path.name == "objects",
        "names of tags": lambda path: path.name == "tags",
        "the name of runs": lambda path: path.name == "heads" and path.parent.name == "refs",
        "new folders of refs": lambda path: path.name == "refs",
        "the note": lambda path: path.name == "open",
        "the output folder": lambda path: path.name == "output_dir",
    }
    silent = [
        what for what, out in left_out.items() if not lost_at_the_start(traced, unheard_of(out))
    ]
    assert silent == []


@pytest.mark.timeout(300)
def test_git_finds_the_repository_sound_after_a_power_cut_at_any_step_and_the_outcome_is_there_in_the_end(  # noqa: E501
    traced: Traced,
) -> None:
    disk, seen = copy.deepcopy(traced.before), set[frozenset[tuple[str, bytes | None]]]()
    unsound = []
    for number, call in enumerate(traced.replay(disk)):
        if not any(path.is_relative_to(traced.scene.dataset / ".git") for path in call.paths):
            continue
        states = [
            disk.least(),
            disk.names_only(),
            *([] if number % RANDOM_EVERY else [disk.some(number)]),
        ]
        for state in states:
            about = frozenset(
                (p, d)
                for p, d in state.items()
                if p.startswith(f"{GIT_DIR}/") and "/hooks/" not in p
            )
            if about not in seen:
                seen.add(about)
                if told := traced.fsck(dict(sorted(about))):
                    unsound.append(f"{call.name} {call.text[:200]}: {told}")
    assert unsound == []
    assert len(seen) > 60
    # The replay missed nothing that was written.
    assert disk.state() == Disk(traced.scene.home).state()
    # A sealed run, and its models.
    assert traced.fsck(disk.least()) == ""
    assert [traced.ref(name) for name in REFS] == [
        traced.scene.git("rev-parse", name) for name in REFS
    ]
    assert git(traced.place, f"--git-dir={traced.place}", "cat-file", "-t", NAME) == "tag"
    assert disk.settled(traced.scene.output / NAME)
    assert sum(path.endswith(".safetensors") for path in disk.least()) == 2


def test_half_an_object_under_its_name_and_a_ref_without_bytes_are_noticed(traced: Traced) -> None:
    disk = copy.deepcopy(traced.before)
    bare: dict[str, str] = {}
    for call in traced.replay(disk, lambda call: call.paths[0].name.startswith("tmp_object")):
        if call.name == "link":
            bare["object"] = traced.fsck(disk.names_only())
            break
    disk = copy.deepcopy(traced.before)
    for call in traced.replay(disk, lambda call: call.paths[0].name.endswith(".lock")):
        if call.name == "rename" and "refs" in os.fspath(call.paths[1]):
            bare["ref"] = traced.fsck(disk.names_only())
            break
    assert "corrupt" in bare["object"]
    assert "invalid sha1 pointer" in bare["ref"] or "bad" in bare["ref"]


# ---- what `recover` makes of it ----


def refs_after_any_power_cut(traced: Traced) -> set[tuple[str, ...]]:
    """What the run's refs may hold after a power cut at any step, and the end of the moves that it
    cut short."""
    disk, seen = copy.deepcopy(traced.before), set[frozenset[tuple[str, bytes | None]]]()
    found = set()
    for call in traced.replay(disk):
        moves = traced.scene.dataset / ".git" / "loragit" / "moves"
        refs = traced.scene.dataset / ".git" / "refs"
        if not any(path.is_relative_to(top) for path in call.paths for top in (moves, refs)):
            continue
        # No mixture of names: that a tag is gone and `runs` has not moved tells no recovery whether
        # git began or somebody deleted the tag, and file systems keep the order of renames.
        for state in (disk.least(), disk.names_only()):
            about = frozenset(
                (path, data)
                for path, data in state.items()
                if path.startswith(f"{GIT_DIR}/") and "/hooks/" not in path
            )
            if about not in seen:
                seen.add(about)
                found.add(traced.recovered(dict(sorted(about))))
    assert len(seen) > 20
    return found


@pytest.mark.timeout(300)
def test_after_a_power_cut_and_a_recovery_a_run_is_open_or_reverted_and_nothing_between(
    traced_revert: Traced,
) -> None:
    scene = traced_revert.scene
    revert, opened, head = scene.git("rev-parse", "runs", "runs^", "HEAD").split()
    assert refs_after_any_power_cut(traced_revert) == {
        ("", "", ""),
        (opened, opened, head),
        (revert, "", ""),
    }


@pytest.mark.timeout(300)
def test_after_a_power_cut_and_a_recovery_a_run_is_open_or_sealed_and_nothing_between(
    traced: Traced,
) -> None:
    scene = traced.scene
    opened, tag, head = scene.git("rev-parse", "runs", NAME, "HEAD").split()
    assert refs_after_any_power_cut(traced) == {
        ("", "", ""),
        (opened, opened, head),
        (opened, tag, head),
    }
