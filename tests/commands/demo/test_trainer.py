"""The demo's trainer, run as a child as loragit runs it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from loragit.commands.demo import lora
from tests.support.demo_workshop import (
    NAME,
    REAL,
    Workshop,
    event_file,
    floats,
    header_of,
    picture_of,
    records_of,
    scalars_of,
)


def git(folder: Path, *args: str) -> str:
    return subprocess.run(
        ["git", *args], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.made(tmp_path)


def test_a_run_writes_the_files_that_sd_scripts_would(workshop: Workshop) -> None:
    done = workshop.train(save_every_n_steps=3, sample_every_n_steps=6)
    assert done.returncode == 0, done.stderr
    assert workshop.files() == [
        f"{NAME}-step00000003.safetensors",
        f"{NAME}-step00000006.safetensors",
        f"{NAME}.safetensors",
        f"sample/{NAME}_000006_00_T_1.png",
        f"sample/{NAME}_000006_01_T_2.png",
        f"sample/{NAME}_000006_02_T.png",
    ]


def test_epochs_name_models_and_samples_and_the_last_epoch_is_the_final_model(
    workshop: Workshop,
) -> None:
    workshop.train(
        max_train_steps=None, max_train_epochs=3, save_every_n_epochs=1, sample_every_n_epochs=2
    )
    models = [f"{NAME}-000001.safetensors", f"{NAME}-000002.safetensors", f"{NAME}.safetensors"]
    assert workshop.files()[:3] == models
    assert [f for f in workshop.files() if "_00_" in f] == [f"sample/{NAME}_e000002_00_T_1.png"]
    headers = [header_of(workshop.output / model)[1] for model in models]
    assert [(m["ss_steps"], m["ss_epoch"]) for m in headers] == [
        ("6", "1"),
        ("12", "2"),
        ("18", "3"),
    ]
    assert headers[0]["ss_max_train_steps"] == "18"


def test_a_run_without_a_name_uses_the_default_names(workshop: Workshop) -> None:
    workshop.train(
        output_name=None,
        max_train_steps=12,
        save_every_n_steps=12,
        save_every_n_epochs=1,
        sample_every_n_steps=12,
    )
    assert workshop.files() == [
        "at-step00000012.safetensors",
        "epoch-000001.safetensors",
        "last.safetensors",
        "sample/000012_00_T_1.png",
        "sample/000012_01_T_2.png",
        "sample/000012_02_T.png",
    ]


def test_the_header_says_what_a_real_one_says(workshop: Workshop) -> None:
    git(workshop.trainer, "init", "--quiet")
    git(workshop.trainer, "add", "--all")
    git(workshop.trainer, "commit", "--quiet", "-m", "trainer")
    workshop.train(
        save_every_n_steps=2,
        network_alpha=1.5,
        training_comment="by hand",
        network_args=["a=1", "b=x=y"],
    )
    _, metadata, payload = header_of(workshop.output / f"{NAME}.safetensors")
    _, real, _ = header_of(REAL / "output_dir/tiny_lora/tiny_lora.safetensors")
    assert set(real) - set(metadata) == set()
    commit = git(workshop.trainer, "rev-parse", "HEAD")
    expected = {
        "ss_output_name": NAME,
        "ss_training_comment": "by hand",
        "ss_sd_scripts_commit_hash": commit,
        "ss_steps": "6",
        "ss_epoch": "1",
        "ss_seed": "42",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "2",
        "ss_network_alpha": "1.5",
        "ss_network_args": '{"a": "1", "b": "x=y"}',
        "ss_learning_rate": "0.02",
        "ss_num_train_images": "12",
        "ss_dataset_dirs": '{"img": {"n_repeats": 1, "img_count": 12}}',
        "ss_sd_model_name": "noob.safetensors",
        "ss_new_sd_model_hash": hashlib.sha256(
            (workshop.root / "noob.safetensors").read_bytes()
        ).hexdigest(),
        "sshs_model_hash": hashlib.sha256(payload).hexdigest(),
        "modelspec.implementation_version": f"sd-scripts/{commit}",
    }
    assert {key: metadata[key] for key in expected} == expected
    assert json.loads(metadata["ss_tag_frequency"])["img"] == {
        "gren": 12, "large": 6, "red": 3, "green": 3, "blue": 3, "yellow": 3, "circle": 4, "square": 4, "triangle": 4  # noqa: E501
    }  # fmt: skip
    (described,) = json.loads(metadata["ss_datasets"])
    (real_described,) = json.loads(real["ss_datasets"])
    assert set(described) == set(real_described)
    assert float(metadata["ss_training_started_at"]) <= float(metadata["ss_training_finished_at"])
    _, step, _ = header_of(workshop.output / f"{NAME}-step00000002.safetensors")
    assert (step["ss_steps"], step["ss_epoch"]) == ("2", "0")
    assert step["ss_session_id"] == metadata["ss_session_id"]


def test_repeated_images_make_longer_epochs(workshop: Workshop) -> None:
    workshop.repeat(3)
    workshop.train(max_train_steps=20)
    _, metadata, _ = header_of(workshop.output / f"{NAME}.safetensors")
    keys = (
        "ss_num_train_images",
        "ss_num_batches_per_epoch",
        "ss_num_epochs",
        "ss_epoch",
        "ss_steps",
    )
    assert [metadata[key] for key in keys] == ["36", "18", "2", "2", "20"]
    assert json.loads(metadata["ss_dataset_dirs"]) == {"img": {"n_repeats": 3, "img_count": 12}}


def test_no_metadata_drops_all_but_modelspec(workshop: Workshop) -> None:
    workshop.train(no_metadata=True, training_comment="gone")
    _, metadata, _ = header_of(workshop.output / f"{NAME}.safetensors")
    assert {key.split(".")[0] for key in metadata} == {
        "modelspec",
        "sshs_model_hash",
        "sshs_legacy_hash",
    }


def test_outside_a_repository_the_commit_is_unknown(workshop: Workshop) -> None:
    workshop.train()
    assert (
        header_of(workshop.output / f"{NAME}.safetensors")[1]["ss_sd_scripts_commit_hash"]
        == "(unknown)"
    )


def test_the_adapter_in_the_file_draws_the_sample(workshop: Workshop) -> None:
    """base + alpha / dim * up @ down, on the features of the prompt's tags, gives the sample's
    pixels."""
    prompts = workshop.dataset / "sample-prompts.txt"
    prompts.write_text("# none of this\n\n gren, circle, red --w 32 --h 68 --n ugly\n")
    workshop.train(sample_every_n_steps=6, save_every_n_steps=6, network_alpha=3)
    # Sampled before the step's model is saved: both hold the weights after the sixth step.
    tensors, _, payload = header_of(workshop.output / f"{NAME}-step00000006.safetensors")
    assert {name.removeprefix(lora.MODULE): t["shape"] for name, t in tensors.items()} == {
        ".alpha": [],
        ".lora_down.weight": [2, 32],
        ".lora_up.weight": [3072, 2],
    }
    down, up = (
        floats(tensors, payload, f"{lora.MODULE}.lora_{part}.weight") for part in ("down", "up")
    )
    assert floats(tensors, payload, f"{lora.MODULE}.alpha") == [3.0]
    model = (workshop.root / "noob.safetensors").read_bytes()
    base = struct.unpack(f"<{3072 * 32}f", model[-3072 * 32 * 4 :])
    digests = [hashlib.sha256(tag.encode()).digest() for tag in ("gren", "circle", "red")]
    features = [sum((d[i] - 127.5) / 127.5 for d in digests) for i in range(32)]
    hidden = [sum(down[k * 32 + i] * features[i] for i in range(32)) * 3 / 2 for k in range(2)]
    drawn = [
        sum(base[o * 32 + i] * features[i] for i in range(32))
        + up[o * 2] * hidden[0]
        + up[o * 2 + 1] * hidden[1]
        for o in range(3072)
    ]
    (sample,) = (workshop.output / "sample").iterdir()
    width, height, rgb = picture_of(sample)
    assert (width, height) == (64, 64)  # 64 at least, and a multiple of 8
    for y in range(32):
        for x in range(32):
            for channel in range(3):
                shown = rgb[(2 * y * 64 + 2 * x) * 3 + channel]
                wanted = min(255.0, max(0.0, (drawn[(y * 32 + x) * 3 + channel] + 1) * 127.5))
                assert abs(shown - wanted) <= 0.51


def test_sixty_steps_bring_the_loss_down_and_a_higher_rank_further(workshop: Workshop) -> None:
    usual = {"max_train_steps": 60, "lr_scheduler": "cosine", "logging_dir": workshop.logs}
    workshop.train(**usual, network_dim=4, network_alpha=2)
    low = scalars_of(event_file(workshop))["loss/average"]
    shutil.rmtree(workshop.logs)
    workshop.train(**usual, network_dim=8, network_alpha=4, learning_rate=0.05)
    high = scalars_of(event_file(workshop))["loss/average"]
    assert low[1] > 0.4
    assert low[60] < 0.15
    assert high[60] < low[60] / 2


def test_the_event_file_holds_what_accelerate_logs(workshop: Workshop) -> None:
    workshop.train(
        max_train_steps=130,
        network_dim=1,
        lr_scheduler="linear",
        logging_dir="../logs",
        log_prefix="a_",
    )
    file = event_file(workshop, "a_")
    real = next(REAL.glob("logs/tiny_lora_*/network_train/events.*"))
    assert len(file.read_bytes()) > 88
    # But for the time, the first record is the one that a real run wrote.
    assert records_of(file)[0][9:] == records_of(real)[0][9:]
    scalars = scalars_of(file)
    assert set(scalars) == {"loss/current", "loss/average", "loss/epoch_average", "lr/unet"}
    assert set(scalars) < set(scalars_of(real)) | {"lr/unet"}
    assert list(scalars["loss/current"]) == list(range(1, 131))
    assert list(scalars["loss/epoch_average"]) == list(range(1, 23))
    assert scalars["loss/epoch_average"][22] == scalars["loss/average"][130]
    current = scalars["loss/current"]
    assert scalars["loss/average"][3] == pytest.approx((current[1] + current[2] + current[3]) / 3)
    assert scalars["loss/average"][9] == pytest.approx(sum(current[i] for i in range(4, 10)) / 6)
    assert scalars["lr/unet"][1] == pytest.approx(0.02)
    assert scalars["lr/unet"][66] == pytest.approx(0.01)


def test_the_same_seed_gives_the_same_tensors_and_another_seed_others(workshop: Workshop) -> None:
    payloads = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        workshop.train(output_name=name, seed=seed)
        payloads.append(header_of(workshop.output / f"{name}.safetensors")[2])
    first, again, other = payloads
    assert first == again
    assert first != other
    assert (workshop.output / "a.safetensors").read_bytes() != (
        workshop.output / "b.safetensors"
    ).read_bytes()


def test_a_run_without_a_seed_draws_one_and_says_which(workshop: Workshop) -> None:
    workshop.train(seed=None)
    _, metadata, payload = header_of(workshop.output / f"{NAME}.safetensors")
    workshop.train(seed=metadata["ss_seed"], output_name="again")
    assert header_of(workshop.output / "again.safetensors")[2] == payload


def test_unet_lr_stands_above_learning_rate(workshop: Workshop) -> None:
    workshop.train(logging_dir="../logs", learning_rate=1.0, unet_lr=0.25)
    assert set(scalars_of(event_file(workshop))["lr/unet"].values()) == {0.25}


def leave_no_images(shop: Workshop) -> None:
    for image in (shop.dataset / "img").glob("*.png"):
        image.unlink()


def leave_no_folder(shop: Workshop) -> None:
    shutil.rmtree(shop.dataset / "img")


@pytest.mark.parametrize("spoil", [leave_no_images, leave_no_folder])
def test_no_data_ends_with_0_and_writes_nothing(
    workshop: Workshop, spoil: Callable[[Workshop], None]
) -> None:
    spoil(workshop)
    done = workshop.train(logging_dir=workshop.logs)
    assert done.returncode == 0
    assert "No data found" in done.stdout
    assert not workshop.output.exists()
    assert not workshop.logs.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"network_module": "networks.lroa"},
            "ModuleNotFoundError: No module named 'networks.lroa'",
        ),
        ({"pretrained_model_name_or_path": "../nothing.safetensors"}, "FileNotFoundError"),
        ({"dataset_config": "nothing.toml"}, "FileNotFoundError"),
        ({"config_file": "nothing"}, "FileNotFoundError"),
    ],
)
def test_what_fails_before_the_training_leaves_nothing(
    workshop: Workshop, options: dict[str, object], told: str
) -> None:
    done = workshop.train(**options, logging_dir=workshop.logs)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert told in done.stderr.splitlines()[-1]
    assert not workshop.output.exists()
    assert not workshop.logs.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"max_train_stepz": "6"},
        {"max_train_steps": "many"},
        {"lr_scheduler": "sideways"},
        {"output_dir": None},
        {"dataset_config": None},
    ],
)
def test_a_bad_argument_ends_with_2_and_leaves_nothing(
    workshop: Workshop, options: dict[str, object]
) -> None:
    done = workshop.train(**options)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert not workshop.output.exists()


@pytest.mark.parametrize(
    "line",
    [
        "[general]\nshuffle_captions = true",
        "[[datasets]]\nsize = 3",
        "[nonsense]",
        "[[datasets]]\n[[datasets.subsets]]\nx = 1",
    ],
)
def test_an_unknown_key_in_the_dataset_config_ends_with_1(workshop: Workshop, line: str) -> None:
    (workshop.dataset / "config.toml").write_text(f"{line}\n")
    done = workshop.train()
    assert done.returncode == 1
    assert "extra keys not allowed" in done.stderr


def test_a_signal_ends_it_and_leaves_the_first_event_only(workshop: Workshop) -> None:
    with subprocess.Popen(
        workshop.command(max_train_steps=100_000, logging_dir=workshop.logs),
        cwd=workshop.dataset,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        while not child.stdout.readline().startswith("epoch 1/"):
            pass
        child.send_signal(signal.SIGTERM)
        child.stdout.read()
    assert child.returncode == -signal.SIGTERM
    assert not workshop.output.exists()
    assert event_file(workshop).read_bytes()[12:21][:1] == b"\x09"


def test_a_config_file_gives_arguments_and_the_command_line_overrides_it(
    workshop: Workshop,
) -> None:
    (workshop.dataset / "train.toml").write_text(
        'seed = 5\n[network]\nnetwork_module = "networks.lora"\nnetwork_dim = '
        "3\n[x]\nmax_train_steps = 2\n"
    )
    done = workshop.train(
        config_file="train", network_module=None, network_dim=None, seed=None, max_train_steps=4
    )
    assert done.returncode == 0, done.stderr
    _, metadata, _ = header_of(workshop.output / f"{NAME}.safetensors")
    assert [metadata[f"ss_{key}"] for key in ("network_dim", "seed", "steps")] == ["3", "5", "4"]


def test_the_progress_bar_redraws_its_line(workshop: Workshop) -> None:
    done = workshop.train(max_train_steps=40)
    start, *redraws = done.stderr.split("\rsteps: ")[1:]
    assert start == "  0%|          | 0/40 [00:00<?, ?it/s]"
    assert re.fullmatch(
        r"100%\|█{10}\| 40/40 \[00:\d\d<00:00, +[\d.]+(it/s|s/it), avr_loss=[\d.]+\]\n", redraws[-1]
    )
    for redraw in redraws[:-1]:
        assert re.fullmatch(
            r" +\d+%\|.{10}\| \d+/40 \[00:\d\d<\d\d:\d\d, +[\d.]+(it/s|s/it), avr_loss=[\d.]+\]",
            redraw,
        )


def test_missing_prompts_are_said_and_cost_only_the_samples(workshop: Workshop) -> None:
    done = workshop.train(sample_prompts="nothing.txt", sample_every_n_steps=3)
    assert done.returncode == 0
    assert "No prompt file: nothing.txt" in done.stdout
    assert workshop.files() == [f"{NAME}.safetensors"]


def test_images_and_captions_of_a_real_dataset_are_read(workshop: Workshop) -> None:
    shutil.rmtree(workshop.dataset)
    shutil.copytree(REAL / "dataset", workshop.dataset)
    done = workshop.train()
    assert done.returncode == 0, done.stderr
    _, metadata, _ = header_of(workshop.output / f"{NAME}.safetensors")
    _, real, _ = header_of(REAL / "output_dir/tiny_lora/tiny_lora.safetensors")
    for key in (
        "ss_tag_frequency",
        "ss_dataset_dirs",
        "ss_num_train_images",
        "ss_num_batches_per_epoch",
    ):
        assert metadata[key] == real[key]
