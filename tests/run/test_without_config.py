"""Runs whose dataset no config names: folders of ``--train_data_dir``, ``--in_json``, and the files
that the kohya_ss GUI writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.made_up_runs import NAME
from tests.support.processes import commit_all
from tests.support.user_home import Scene, make_scene, refused, sound

SECOND = "noob-gren-v2s4"


@pytest.fixture
def scene(home: Path) -> Scene:
    """A dataset as the GUI lays it out, without a dataset config."""
    made = make_scene(home)
    (made.dataset / "config.toml").unlink()
    (made.dataset / "train").mkdir()
    (made.dataset / "img").rename(made.dataset / "train" / "10_zqx thing")
    reg = made.dataset / "reg" / "1_thing"
    reg.mkdir(parents=True)
    shutil.copy(made.dataset / "train" / "10_zqx thing" / "00.png", reg / "r.png")
    made.settings('[trainer]\nworkdir = "dataset"\n')
    commit_all(made.dataset, "folders")
    return made


def gui_file(scene: Scene, **more: object) -> Path:
    """What the GUI writes: flat keys."""
    values = {
        "caption_extension": ".txt",
        "network_dim": 4,
        "output_dir": "/elsewhere",
        "output_name": "my lora",
        "reg_data_dir": str(scene.dataset / "reg"),
        "resolution": "64,64",
        "train_data_dir": str(scene.dataset / "train"),
        **more,
    }
    path = scene.dataset / "config_lora-20261201-120000.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    commit_all(scene.dataset, "the GUI's file")
    return path


def record(scene: Scene, name: str = NAME) -> dict[str, Any]:
    return tomllib.loads(scene.git("show", f"{name}:run.toml"))


WORDS = ("--train_data_dir", "train", "--resolution", "64", "--caption_extension", ".txt")


def test_folders_that_an_argument_names_are_the_dataset(scene: Scene) -> None:
    done = scene.train(NAME, "--", *WORDS)
    assert done.status == 0, done.err
    sound(scene)
    files = scene.git("ls-tree", "-r", "--name-only", NAME).splitlines()
    assert "config.toml" not in files
    assert "captions/train/10_zqx thing/00.txt" in files
    dataset = record(scene)["dataset"]
    assert (dataset["images"], dataset["captions"]) == (4, 4)
    listed = scene.git("show", f"{NAME}:dataset.sha256").splitlines()
    assert len(listed) == 8
    assert all("  train/10_zqx thing/0" in line for line in listed)
    assert "Config-SHA1" not in scene.trailers("runs")
    assert not (scene.output / NAME / "config.toml").exists()
    script = (scene.output / NAME / "train.sh").read_text()
    assert "--dataset_config" not in script
    assert "--train_data_dir train" in script
    for command in (("show", NAME), ("log",), ("status",), ("verify",)):
        told = scene.loragit(*command)
        assert told.status == 0, told.err + told.out


def test_two_such_runs_are_compared(scene: Scene) -> None:
    assert scene.train(NAME, "--", *WORDS).status == 0
    assert scene.train(SECOND, "--", *WORDS, "--reg_data_dir", "reg").status == 0
    told = scene.loragit("diff", NAME, SECOND).out
    assert "reg_data_dir" in told
    assert "reg/1_thing/r.png" in told
    # And with a run that has a config.
    (scene.dataset / "config.toml").write_text(
        '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "train/10_zqx thing"\n'
        'caption_extension = ".txt"\n'
    )
    commit_all(scene.dataset, "a config")
    done = scene.train("noob-gren-v3s4")
    assert done.status == 0, done.err
    told = scene.loragit("diff", NAME, "noob-gren-v3s4").out
    assert "train_data_dir" in told
    assert "captions" not in told


def test_a_run_that_made_nothing_gives_way_to_the_one_before(scene: Scene) -> None:
    assert scene.train(NAME, "--", *WORDS).status == 0
    assert scene.train(SECOND, "--", *WORDS, STUB="nothing").status == 1
    assert scene.tags() == [NAME]
    assert scene.git("diff", "--name-only", "runs", NAME) == ""
    sound(scene)


def test_a_file_of_the_gui_is_enough(scene: Scene) -> None:
    path = gui_file(scene)
    done = scene.train(NAME, "--", "--config_file", path.name)
    assert done.status == 0, done.err
    assert "output_dir in the config file is not used" in done.err
    assert record(scene)["arguments"] == {
        "caption_extension": ".txt",
        "max_train_steps": "4",
        "network_dim": "4",
        "reg_data_dir": "~/datasets/gren/reg",
        "resolution": "64,64",
        "train_data_dir": "~/datasets/gren/train",
    }
    assert (scene.output / NAME / "my lora.safetensors").exists()
    assert "5 images, 4 captions" in scene.git("log", "-1", "--format=%B", "runs")
    copy = scene.output / NAME / "inputs" / path.name
    assert copy.read_bytes() == path.read_bytes()
    # The recorded script trains the same again.
    again = scene.home / "again"
    scene.git("worktree", "add", "-q", "--detach", str(again), NAME)
    environ = {**os.environ, "OUTPUT_DIR": str(again / "out")}
    ran = subprocess.run([again / "train.sh"], env=environ, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert (again / "out" / "my lora.safetensors").exists()


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_a_preset_is_taken_as_it_is(scene: Scene, kind: str) -> None:
    path = gui_file(scene, unet_lr=0.0001)
    if kind == "json":
        values = tomllib.loads(path.read_text())
        values["max_resolution"] = values.pop("resolution")
        path = path.with_suffix(".json")
        path.write_text(json.dumps({**values, "LoRA_type": "Standard", "sdxl": True}))
        commit_all(scene.dataset, "a preset")
    done = scene.train(NAME, "--config", path.name)
    assert done.status == 0, done.err
    arguments = record(scene)["arguments"]
    assert (arguments["network_dim"], arguments["unet_lr"]) == ("4", "0.0001")
    files = scene.git("ls-tree", "-r", "--name-only", NAME, "inputs/").splitlines()
    assert f"inputs/{path.name}" in files
    assert f"inputs/{path.stem}.toml" in files
    assert scene.loragit("verify").status == 0
    assert "was edited while it trained" not in done.err


def test_a_metadata_file_is_given_as_its_copy(scene: Scene) -> None:
    folder = scene.dataset / "train" / "10_zqx thing"
    rows = {f"{number:02d}.png": {"caption": f"zqx {number}"} for number in range(4)}
    (scene.dataset / "meta.json").write_text(json.dumps(rows))
    commit_all(scene.dataset, "metadata")
    words = ("--train_data_dir", str(folder), "--in_json", "meta.json", "--resolution", "64")
    done = scene.train(NAME, "--", *words)
    assert done.status == 0, done.err
    assert "4 images, 4 captions" in scene.git("log", "-1", "--format=%B", "runs")
    assert f"~/output_dir/{NAME}/inputs/meta.json" in record(scene)["command"]["argv"]


def test_folders_that_hold_nothing_to_train_on_are_refused(scene: Scene) -> None:
    (scene.dataset / "train" / "10_zqx thing").rename(scene.dataset / "train" / "zqx")
    words = ("--", *WORDS)
    refused(scene, "holds no folder to train on", "10_zqx", args=words)
    refused(scene, "there is no dataset config")
