"""Runs of a script that trains whole models: it takes no ``--training_comment``, and saves folders
in diffusers' form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import commit_all
from tests.support.user_home import Scene, make_scene, refused

FINE_TUNE = """
import argparse, json, os
import library.train_util as train_util
from trainer_files import write_safetensors

def setup_parser():
    parser = argparse.ArgumentParser()
    train_util.add_training_arguments(parser)
    parser.add_argument("--learning_rate", type=float, default=2e-6)
    return parser

if __name__ == "__main__":
    args = setup_parser().parse_args()
    for name in (f"{args.output_name}-000001", args.output_name):
        folder = os.path.join(args.output_dir, name)
        os.makedirs(os.path.join(folder, "unet"))
        with open(os.path.join(folder, "model_index.json"), "w") as file:
            json.dump({"_class_name": "StableDiffusionPipeline"}, file)
        write_safetensors(
            os.path.join(folder, "unet", "diffusion_pytorch_model.safetensors"),
            {"conv.weight": name.encode() * 8},
        )
    raise SystemExit(3)
"""
TRAIN_UTIL = """
def add_training_arguments(parser):
    for_files = parser.add_argument_group("files")
    for_files.add_argument("--dataset_config", type=str)
    for_files.add_argument("--output_dir", type=str)
    for_files.add_argument("--output_name", type=str)
    for_files.add_argument("--sample_prompts", type=str)
    parser.add_argument("--max_train_steps", type=int, default=1600)
    parser.add_argument("--save_model_as", choices=[None, "safetensors", "diffusers"])
"""


@pytest.fixture
def scene(home: Path) -> Scene:
    made = make_scene(home)
    (made.trainer / "fine_tune.py").write_text(FINE_TUNE)
    (made.trainer / "library" / "train_util.py").write_text(TRAIN_UTIL)
    commit_all(made.trainer, "a script for whole models")
    return made


def test_a_model_that_is_a_folder_is_a_product_though_the_trainer_failed(scene: Scene) -> None:
    done = scene.train(
        "noob-gren-v1s4", "--", "--save_model_as", "diffusers", SD_SCRIPT="fine_tune.py"
    )
    assert done.status == 3, done.err
    assert "fine_tune.py takes no --training_comment: its models will not name" in done.err
    outcome = scene.git("for-each-ref", "--format=%(contents)", "refs/tags/noob-gren-v1s4")
    models = [line.split()[1] for line in outcome.splitlines() if line.startswith("Model: ")]
    assert models == [
        "noob-gren-v1s4-000001/unet/diffusion_pytorch_model.safetensors",
        "noob-gren-v1s4/unet/diffusion_pytorch_model.safetensors",
    ]
    model = scene.output / "noob-gren-v1s4" / models[-1]
    assert "noob-gren-v1s4" in scene.loragit("whence", str(model)).out
    assert scene.loragit("verify").status == 0


def test_what_the_script_does_not_take_is_refused_before_it_starts(scene: Scene) -> None:
    refused(
        scene,
        "fine_tune.py takes no --learing_rate",
        "is --learning_rate meant?",
        "--max_train_epochs",
        "--save_model_as 'difusers' is none of its values",
        args=(
            *("--", "--learing_rate", "1e-4", "--max_train_epochs", "2"),
            *("--save_model_as", "difusers"),
        ),
        SD_SCRIPT="fine_tune.py",
    )
