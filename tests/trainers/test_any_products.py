"""What a script of the user's own left, whichever trainer it started."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.trainers.products import AnyProducts, find_any_products, saved_when
from loragit.trainers.sd_scripts.trainer import SdScripts

pytestmark = pytest.mark.every_python


def lay(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def found(folder: Path, *ours: str) -> AnyProducts:
    return find_any_products(folder, SdScripts.naming, ours)


def test_sd_scripts(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "my style.safetensors",
        "my style-000002.ckpt",
        "my style-step00000012-state/model.safetensors",
        "my style-step00000012-state/random_states_0.pkl",
        "sample/my style_e000001_00_20261123164834.png",
    )
    (tmp_path / "my style-000002-state").mkdir()
    assert found(tmp_path) == AnyProducts(
        ("my style-000002.ckpt", "my style.safetensors"),
        ("my style-step00000012-state",),
        ("sample/my style_e000001_00_20261123164834.png",),
        (),
    )


def test_musubi_tuner_with_its_caches_beside_its_models(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "gren.safetensors",
        "cache/00_0960x0544_wan.safetensors",
        "01_0960x0544_hv.safetensors",
        "01_hv_te.safetensors",
        "sample/gren_000004_00_20261123164834_000.mp4",
    )
    left = found(tmp_path)
    assert left.models == ("gren.safetensors",)
    assert left.samples == ("sample/gren_000004_00_20261123164834_000.mp4",)
    assert len(left.others) == 3


def test_ai_toolkit_keeps_its_optimizer_beside_its_models(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "gren/config.yaml",
        "gren/gren_000000500.safetensors",
        "gren/gren.safetensors",
        "gren/optimizer.pt",
        "gren/loss_log.db",
        "gren/samples/1795454429__000000500_0.jpg",
        "_latent_cache/00.safetensors",
    )
    left = found(tmp_path)
    assert left.models == ("gren/gren.safetensors", "gren/gren_000000500.safetensors")
    assert left.states == ()
    assert left.samples == ("gren/samples/1795454429__000000500_0.jpg",)
    assert "gren/optimizer.pt" in left.others


def test_one_trainer(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "gren.safetensors",
        "config/gren-2026-11-23_17-20-30.json",
        "save/gren-2026-11-23_17-20-30-save-250-2-50.safetensors",
        "backup/2026-11-23_17-20-30-backup-250-2-50/lora/lora.safetensors",
        "backup/2026-11-23_17-20-30-backup-250-2-50/optimizer/optimizer.pt",
        "samples/0 - a fox/2026-11-23_17-20-30-training-sample-250-2-50.webp",
        "tensorboard/gren/events.out.tfevents.1.h",
    )
    save = "save/gren-2026-11-23_17-20-30-save-250-2-50.safetensors"
    assert found(tmp_path) == AnyProducts(
        ("gren.safetensors", save),
        ("backup/2026-11-23_17-20-30-backup-250-2-50",),
        ("samples/0 - a fox/2026-11-23_17-20-30-training-sample-250-2-50.webp",),
        ("config/gren-2026-11-23_17-20-30.json", "tensorboard/gren/events.out.tfevents.1.h"),
    )
    match = saved_when(save)
    assert match is not None
    assert match.group("step", "epoch") == ("250", "2")


@pytest.mark.parametrize(
    "model",
    ["pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin", "adapter_model.safetensors"],
)
def test_checkpoint_folders_hold_a_model_and_a_state(tmp_path: Path, model: str) -> None:
    lay(
        tmp_path,
        model,
        f"checkpoint-500/{model}",
        "checkpoint-500/optimizer.bin",
        "checkpoint-500/scheduler.pt",
        "checkpoint-500/random_states_0.pkl",
        "checkpoint-500/training_args.bin",
        "checkpoint-500/tokenizer.json",
        "checkpoint-500/rng_state.pt",
        "validation_images/step_500_fox_0_1024x1024.png",
        "README.md",
        "training_loss.png",
    )
    left = found(tmp_path)
    assert left.models == tuple(sorted((f"checkpoint-500/{model}", model)))
    assert left.states == ("checkpoint-500",)
    assert left.samples == ("validation_images/step_500_fox_0_1024x1024.png",)
    assert {"README.md", "training_loss.png", "checkpoint-500/training_args.bin"} <= set(
        left.others
    )


def test_diffusion_pipe_makes_a_folder_of_its_own(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "20261123_17-20-30/epoch3/adapter_model.safetensors",
        "20261123_17-20-30/epoch4/tmp/adapter_model.safetensors",
        "20261123_17-20-30/global_step12/mp_rank_00_model_states.pt",
        "20261123_17-20-30/latest",
    )
    left = found(tmp_path)
    assert left.models == ("20261123_17-20-30/epoch3/adapter_model.safetensors",)
    assert left.states == ("20261123_17-20-30/global_step12",)
    assert left.others == (
        "20261123_17-20-30/epoch4/tmp/adapter_model.safetensors",
        "20261123_17-20-30/latest",
    )


@pytest.mark.parametrize(
    ("path", "step", "epoch"),
    [
        ("foo.safetensors", None, None),
        ("foo-000010.safetensors", None, "000010"),
        ("a/foo-step00000012.ckpt", "00000012", None),
        ("foo-step00000012-state", "00000012", None),
        ("foo_000000500.safetensors", "000000500", None),
        ("foo_2026.safetensors", None, None),
        ("checkpoint-500/adapter_model.safetensors", "500", None),
        ("checkpoint-500-rolling/a/b.safetensors", "500", None),
        ("run/checkpoint-500", "500", None),
        ("run/step20/adapter_model.safetensors", "20", None),
        ("run/epoch3/adapter_model.safetensors", None, "3"),
        ("run/global_step12", "12", None),
        ("stepwise/foo.safetensors", None, None),
    ],
)
def test_a_path_says_when_its_model_was_saved(
    path: str, step: str | None, epoch: str | None
) -> None:
    match = saved_when(path)
    told = {} if match is None else match.groupdict()
    assert (told.get("step"), told.get("epoch")) == (step, epoch)


def test_what_is_ours_is_left_out_and_everything_else_is_not(tmp_path: Path) -> None:
    lay(tmp_path, "config.toml", "inputs/preset.toml", "sdscripts.log", ".hidden/a.safetensors")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "elsewhere").symlink_to("/")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert found(tmp_path, "config.toml", "inputs/preset.toml", "sdscripts.log") == AnyProducts(
        (), (), (), (".hidden/a.safetensors", "dangling", "elsewhere", "pipe")
    )
    assert found(tmp_path / "none") == AnyProducts((), (), (), ())


@pytest.mark.usefixtures("modes_count")
def test_a_state_that_may_not_be_listed_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "foo-state"
    folder.mkdir(mode=0)
    try:
        assert found(tmp_path).states == ("foo-state",)
    finally:
        folder.chmod(0o700)


PART = st.sampled_from(
    (
        "a",
        "sample",
        "x-state",
        "backup",
        "cache",
        "tmp",
        "step2",
        "checkpoint-2",
        ".git",
        "new\nline",
    )
)
FILE = st.sampled_from(
    (
        "a.safetensors",
        "optimizer.bin",
        "optimizer.pt",
        "a.png",
        "b_te.safetensors",
        "notes",
        "\udcff",
    )
)


@given(st.sets(st.tuples(st.lists(PART, max_size=3), FILE).map(lambda t: "/".join((*t[0], t[1])))))
def test_every_file_is_counted_once_or_part_of_a_state(paths: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lay(Path(folder), *paths)
        left = found(Path(folder), "notes")
    inside = tuple(
        f"{state}/" for state in left.states if re.search(r"-state$|^backup/|/backup/", state)
    )
    counted = [*left.models, *left.samples, *left.others]
    assert len(counted) == len(set(counted))
    assert set(counted) == {p for p in paths if p != "notes" and not p.startswith(inside)}
