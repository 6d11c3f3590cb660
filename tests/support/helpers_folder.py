"""Output folders as the zsh helpers left them: a builder for tests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tests.support import trainer_files

COMMIT = "1f" * 20
LYCORIS = "2e" * 20
BASE = "3d" * 32
STARTED = datetime(2024, 3, 9, 18, 30, tzinfo=UTC)


def header(
    name: str, session: int = 7, started: datetime = STARTED, /, **changes: str | None
) -> dict[str, str]:
    """What sd-scripts writes of a training of 100 steps in 10 minutes; ``None`` takes a key
    away."""
    seconds = started.timestamp()
    told: dict[str, str | None] = {
        "ss_output_name": name,
        "ss_session_id": str(session),
        "ss_training_started_at": str(seconds),
        "ss_training_finished_at": str(seconds + 600.25),
        "ss_sd_scripts_commit_hash": COMMIT,
        "ss_sd_model_name": "noobaiXL.safetensors",
        "ss_new_sd_model_hash": BASE,
        "ss_network_module": "lycoris.kohya",
        "ss_network_dim": "4",
        "ss_network_alpha": "2.0",
        "ss_network_args": '{"algo": "lokr", "factor": "4", "dropout": null}',
        "ss_max_train_steps": "100",
        "ss_steps": "100",
        "ss_epoch": "1",
        "ss_tag_frequency": '{"img": {"zqx": 4, "a round thing": 2}}',
        "ss_learning_rate": "0.001",
        "modelspec.title": name,
    }
    return {key: value for key, value in {**told, **changes}.items() if value is not None}


def write_model(
    path: Path, metadata: Mapping[str, str] | None = None, weights: bytes = b""
) -> Path:
    """A whole model. Its weights are those of its name, unless said otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = weights or hashlib.sha256(path.stem.encode()).digest() * 4
    trainer_files.write_safetensors(path, {"lora.weight": data}, metadata or {})
    return path


def sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def leave(
    output_dir: Path,
    name: str,
    dataset: Path,
    *,
    started: datetime = STARTED,
    session: int = 7,
    script: str = "train_lokr.zsh",
    models: bool = True,
    samples: int = 2,
    loss: float | None = 0.125,
) -> Path:
    """``<output_dir>/<name>`` as the helpers left it after a training of 100 steps."""
    folder = output_dir / name
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "img"\n')
    (folder / "sample-prompts.txt").write_text("zqx, a round thing --d 1\n")
    text = (
        f'#!/usr/bin/env zsh\nTRAINING_DIR="{dataset}"\npython sdxl_train_network.py '
        "--network_dim 4\n"
    )
    (folder / script).write_text(text)
    (folder / script).chmod(0o755)
    (folder / "repos.git").write_text(
        f"/home/ada/source/repos/sd-scripts: (sd3) {COMMIT}\n"
        f"/home/ada/source/repos/LyCORIS: (dev) {LYCORIS}\n"
        f"/home/ada/scripts/{script}: {sha1(folder / script)}\n"
        f"{dataset}/config.toml: {sha1(folder / 'config.toml')}\n"
        f"{dataset}/sample-prompts.txt: {sha1(folder / 'sample-prompts.txt')}\n"
    )
    (folder / "sdscripts.log").write_text("steps: 100%\n")
    if models:
        write_model(
            folder / f"{name}-step00000050.safetensors",
            header(name, session, started, ss_steps="50"),
        )
        write_model(folder / f"{name}.safetensors", header(name, session, started))
    for number in range(samples):
        (folder / "sample").mkdir(exist_ok=True)
        (folder / "sample" / f"{name}_000100_{number:02d}_20240309184000.png").write_bytes(b"png")
    stamp = started.strftime("%Y%m%d%H%M%S")
    if loss is not None:
        events = (
            output_dir
            / "logs"
            / f"{name}-{stamp}"
            / "network_train"
            / "events.out.tfevents.1.host.1.0"
        )
        trainer_files.write_events(events, [(100, "loss/average", loss, started.timestamp())])
    for path in folder.rglob("*"):
        os.utime(path, (started.timestamp(), started.timestamp()))
    return folder
