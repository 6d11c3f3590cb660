"""Lineage: a run that starts from what another one left names it, in the record that plain git
reads."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from tests.support.processes import commit_all, git
from tests.support.trainer_files import safetensors
from tests.support.user_home import Scene, make_scene, write_dataset

ONE, TWO = "noob-gren-v1s4", "noob-gren-v2s4"


@pytest.fixture
def scene(home: Path) -> Scene:
    made = make_scene(home)
    script = made.trainer / "sdxl_train_network.py"
    # A trainer that also saves its state, and takes one.
    text = script.read_text().replace("caption_extension", "caption_extension base_weights", 1)
    text = text.replace(
        "\n    return 0\n\n\nsys.exit", "\n    state(args)\n    return 0\n\n\nsys.exit"
    )
    state = (
        "def state(args):\n    folder = Path(args.output_dir) / "
        "f'{args.output_name}-state'\n    folder.mkdir()\n"
    )
    state += "    (folder / 'model.safetensors').write_bytes(b'state')\n\n\ndef main("
    script.write_text(text.replace("def main(", state))
    commit_all(made.trainer, "states")
    assert made.train(ONE).status == 0
    return made


def commit(scene: Scene, name: str = ONE) -> str:
    return scene.git("rev-parse", f"{name}^{{commit}}")


def test_a_run_that_resumes_a_known_runs_state_names_it(scene: Scene) -> None:
    state = scene.output / ONE / f"{ONE}-state"
    assert scene.outcome(ONE)["State"] == f"{ONE}-state"
    done = scene.train(TWO, "--", "--resume", str(state))
    assert done.status == 0, done.err
    assert scene.trailers(TWO)["Resumed-From"] == f"{ONE} {commit(scene)} {ONE}-state"
    shown = json.loads(scene.loragit("show", TWO, "--json").out)
    assert shown["resumed_from"] == [f"{ONE} {commit(scene)} {ONE}-state"]


def test_a_run_that_starts_from_a_known_runs_model_names_it_whatever_the_file_is_called(
    scene: Scene, tmp_path: Path
) -> None:
    copy = tmp_path / "start.safetensors"
    shutil.copy(scene.output / ONE / f"{ONE}.safetensors", copy)
    assert scene.train(TWO, "--", "--network_weights", str(copy)).status == 0
    assert scene.trailers(TWO)["Derived-From"] == f"{ONE} {commit(scene)} {ONE}.safetensors"
    graph = scene.loragit("log", "--graph").out.splitlines()
    assert [line.split()[:2] for line in graph] == [[ONE, graph[0].split()[1]], ["└─", TWO]]


def train_with_weights_in_its_state(scene: Scene) -> Path:
    """A state of :data:`TWO` that holds whole weights."""
    script = scene.trainer / "sdxl_train_network.py"
    weights = "trainer_files.safetensors({'w': b'state'}))"
    script.write_text(script.read_text().replace("b'state')", weights))
    commit_all(scene.trainer, "states hold weights")
    assert scene.train(TWO).status == 0
    return scene.output / TWO / f"{TWO}-state"


def test_a_run_that_resumes_a_state_that_was_moved_names_its_run(
    scene: Scene, tmp_path: Path
) -> None:
    state = train_with_weights_in_its_state(scene)
    shutil.move(state, tmp_path / "kept")
    assert scene.train("noob-gren-v3s4", "--", "--resume", str(tmp_path / "kept")).status == 0
    resumed = scene.trailers("noob-gren-v3s4")["Resumed-From"]
    assert resumed == f"{TWO} {commit(scene, TWO)} {TWO}-state"
    # Weights that were changed are nobody's.
    (tmp_path / "kept" / "model.safetensors").write_bytes(safetensors({"w": b"other"}))
    (tmp_path / "kept" / "model_1.safetensors").mkdir()
    assert scene.train("noob-gren-v4s4", "--", "--resume", str(tmp_path / "kept")).status == 0
    assert "Resumed-From" not in scene.trailers("noob-gren-v4s4")


def test_a_run_that_starts_from_the_weights_of_a_state_names_its_run(
    scene: Scene, tmp_path: Path
) -> None:
    train_with_weights_in_its_state(scene)
    copy = tmp_path / "start.safetensors"
    shutil.copy(scene.output / TWO / f"{TWO}-state" / "model.safetensors", copy)
    assert scene.train("noob-gren-v3s4", "--", "--network_weights", str(copy)).status == 0
    derived = scene.trailers("noob-gren-v3s4")["Derived-From"]
    assert derived == f"{TWO} {commit(scene, TWO)} {TWO}-state/model.safetensors"


def test_weights_whose_file_was_changed_are_known_by_the_run_that_their_header_names(
    scene: Scene, tmp_path: Path
) -> None:
    data = (scene.output / ONE / f"{ONE}.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    resized = tmp_path / "resized.safetensors"
    resized.write_bytes(safetensors({"w": b"other"}, metadata))
    assert scene.train(TWO, "--", "--base_weights", str(resized)).status == 0
    assert scene.trailers(TWO)["Derived-From"] == f"{ONE} {commit(scene)} resized.safetensors"


def test_a_run_of_another_dataset_is_named_too(scene: Scene, home: Path) -> None:
    other = write_dataset(home / "datasets" / "moss")
    git(other, "init", "-q")
    commit_all(other, "images")
    model = scene.output / ONE / f"{ONE}-step00000002.safetensors"
    done = scene.loragit(
        "train", "noob-moss-v1s4", "--", "--network_weights", str(model), cwd=other
    )
    assert done.status == 0, done.err
    assert f"\nDerived-From: {ONE} {commit(scene)} {model.name}\n" in git(
        other, "log", "-1", "--format=%B", "runs"
    )


def test_weights_and_states_of_nobody_name_no_run(scene: Scene, tmp_path: Path) -> None:
    unknown = tmp_path / "unknown.safetensors"
    unknown.write_bytes(
        safetensors({"w": b"1"}, {"ss_training_comment": f"loragit: {ONE} {'0' * 40}"})
    )
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no model")
    state = tmp_path / f"{ONE}-state"
    state.mkdir()
    arguments = (
        "--network_weights",
        str(unknown),
        "--base_weights",
        str(broken),
        "--resume",
        str(state),
    )
    assert scene.train(TWO, "--", *arguments).status == 0
    assert not {"Resumed-From", "Derived-From"} & scene.trailers(TWO).keys()


def test_the_same_start_gives_the_same_tree(scene: Scene) -> None:
    model = scene.output / ONE / f"{ONE}.safetensors"
    for name in (TWO, "noob-gren-v3s4"):
        assert scene.train(name, "--", "--network_weights", str(model)).status == 0
    assert scene.git("diff", "--name-only", TWO, "noob-gren-v3s4").split() == [
        "run.toml",
        "train.sh",
    ]
