"""A training of three steps, by sd-scripts itself: what is on record is what it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.trainers import safetensors
from tests.support.processes import commit_all, git
from tests.support.trainer_files import png
from tests.support.user_home import Scene

NAME = "noob-gren-v1s3"


@pytest.fixture
def scene(home: Path, sd_scripts: Path, torch_python: Path, tiny_model: Path) -> Scene:
    folder = home / "datasets" / "gren"
    (folder / "img").mkdir(parents=True)
    for number in range(3):
        (folder / "img" / f"{number}.png").write_bytes(png(64, 64, (number * 80, 20, 200)))
        (folder / "img" / f"{number}.txt").write_text(f"zqx, thing {number}\n")
    (folder / "config.toml").write_text(
        '[general]\ncaption_extension = ".txt"\n[[datasets]]\nresolution = 64\n'
        'min_bucket_reso = 64\n  [[datasets.subsets]]\n  image_dir = "img"\n'
    )
    (folder / "sample-prompts.txt").write_text("a round thing --w 64 --h 64 --d 1 --s 2\n")
    (folder / "loragit.toml").write_text(
        f'[trainer]\nrepo = "{sd_scripts}"\nscript = "train_network.py"\n'
        f'python = "{torch_python}"\nlauncher = []\nworkdir = "dataset"\n[trainer.args]\n'
        f'pretrained_model_name_or_path = "{tiny_model}/model"\n'
        f'tokenizer_cache_dir = "{tiny_model}/tokenizers"\nnetwork_module = "networks.lora"\n'
        "network_dim = 2\nnetwork_train_unet_only = true\nlearning_rate = 1e-3\nseed = 3\n"
        'logging_dir = "logs"\nmax_data_loader_n_workers = 0\nsave_every_n_steps = 2\n'
        "sample_every_n_steps = 2\n"
    )
    (folder / ".gitignore").write_text("/logs/\n")
    git(folder, "init", "-q")
    commit_all(folder, "dataset")
    return Scene(home, folder, sd_scripts)


def test_a_run_of_the_real_trainer_is_recorded_sealed_and_verified(scene: Scene) -> None:
    trained = scene.train(NAME)
    assert trained.status == 0, trained.err
    output = scene.output / NAME
    models = sorted(path.name for path in output.glob("*.safetensors"))
    assert models == [f"{NAME}-step00000002.safetensors", f"{NAME}.safetensors"]
    commit = scene.git("rev-parse", f"{NAME}^{{commit}}")
    for model in models:
        header = safetensors.read_header(output / model)
        assert header.metadata["ss_training_comment"] == f"loragit: {NAME} {commit}"
    outcome = scene.outcome(NAME)
    assert (outcome["Exit-Status"], outcome["Samples"]) == ("0", "1")
    assert 0 < float(outcome["Final-Loss"]) < 10
    assert "images = 3\ncaptions = 3\n" in scene.git("show", f"{NAME}:run.toml")
    assert scene.git("fsck", "--strict") == ""
    assert scene.loragit("verify").status == 0
    named = scene.loragit("whence", str(output / models[0]))
    assert named.status == 0 and NAME in named.out


def test_folders_of_a_gui_file_are_trained_on_and_on_record(scene: Scene) -> None:
    (scene.dataset / "config.toml").unlink()
    (scene.dataset / "train").mkdir()
    (scene.dataset / "img").rename(scene.dataset / "train" / "2_zqx thing")
    (scene.dataset / "gui.toml").write_text(
        'caption_extension = ".txt"\nepoch = 1\nnetwork_dim = 4\noutput_dir = "/nowhere"\n'
        'output_name = "mine"\nresolution = "64,64"\nmax_train_steps = 1600\n'
        f'train_data_dir = "{scene.dataset}/train"\n'
    )
    commit_all(scene.dataset, "as the GUI has it")
    trained = scene.train(NAME, "--", "--config_file", "gui.toml")
    assert trained.status == 0, trained.err
    assert "1 key in the config file is not an option of train_network.py" in trained.err
    header = safetensors.read_header(scene.output / NAME / "mine.safetensors")
    # The file's rank, not that of the settings; the run's steps, not those of the file.
    assert header.metadata["ss_network_dim"] == "4"
    assert header.metadata["ss_steps"] == "3"
    record = scene.git("show", f"{NAME}:run.toml")
    assert "images = 3\ncaptions = 3\n" in record
    assert 'network_dim = "4"' in record
    assert scene.loragit("verify").status == 0


def test_another_script_of_the_trainer_runs_too(scene: Scene) -> None:
    settings = (scene.dataset / "loragit.toml").read_text()
    left_out = ("network_", "sample_every")
    lines = [line for line in settings.splitlines() if not line.startswith(left_out)]
    text = "\n".join(lines).replace("train_network.py", "train_textual_inversion.py")
    (scene.dataset / "loragit.toml").write_text(
        text + '\ntoken_string = "zqx"\ninit_word = "thing"\n'
    )
    commit_all(scene.dataset, "textual inversion")
    trained = scene.train(NAME)
    assert trained.status == 0, trained.err
    assert "takes no --training_comment" in trained.err
    assert (scene.output / NAME / f"{NAME}.pt").exists()
    assert scene.outcome(NAME)["Model"].startswith(f"{NAME}.pt ")


def test_what_the_trainer_would_refuse_is_refused_before_it_starts(scene: Scene) -> None:
    refused = scene.train(NAME, "--", "--learing_rate", "1", "--network_dim", "big")
    assert refused.status == 1
    assert "is --learning_rate meant?" in refused.err
    assert "--network_dim 'big' is no whole number" in refused.err
    assert scene.tags() == []
