#!/usr/bin/env python3
"""A small trainer that behaves like sd-scripts' ``train_network.py``. Plain Python, no packages.

It teaches a network (``networks/lora.py``) to draw the images of a dataset from their captions.
Arguments, file names, header metadata, samples, TensorBoard events, progress bar and exit statuses
are those of kohya-ss/sd-scripts.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import math
import os
import random
import socket
import struct
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from library import train_util

# Taken as sd-scripts takes them; they change nothing here.
VALUES = (
    "vae tokenizer_cache_dir text_encoder_lr optimizer_args lr_warmup_steps sample_sampler "
    "clip_skip save_precision"
)
VALUES += " max_data_loader_n_workers log_with log_tracker_name wandb_api_key huggingface_token"
FLAGS = (
    "sdpa xformers gradient_checkpointing cache_latents network_train_unet_only no_half_vae lowram"
)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description="Train a low-rank adapter.")
    for name in (
        "pretrained_model_name_or_path",
        "dataset_config",
        "config_file",
        "output_dir",
        "output_name",
    ):
        p.add_argument(f"--{name}")
    for name in (
        "sample_prompts",
        "logging_dir",
        "log_prefix",
        "training_comment",
        "network_module",
    ):
        p.add_argument(f"--{name}")
    for name in (
        "sample_every_n_steps",
        "sample_every_n_epochs",
        "save_every_n_steps",
        "save_every_n_epochs",
    ):
        p.add_argument(f"--{name}", type=int)
    p.add_argument("--max_train_steps", type=int, default=1600)
    p.add_argument("--max_train_epochs", type=int)
    p.add_argument("--learning_rate", type=float, default=2.0e-6)
    p.add_argument("--unet_lr", type=float)
    p.add_argument("--network_dim", type=int)
    p.add_argument("--network_alpha", type=float, default=1.0)
    p.add_argument("--network_args", nargs="*")
    p.add_argument("--seed", type=int)
    p.add_argument("--save_model_as", choices=("safetensors",), default="safetensors")
    p.add_argument("--optimizer_type", choices=("", "AdamW", "AdamW8bit"), default="")
    p.add_argument("--lr_scheduler", choices=("constant", "linear", "cosine"), default="constant")
    p.add_argument("--mixed_precision", choices=("no", "fp16", "bf16"), default="no")
    p.add_argument("--no_metadata", action="store_true")
    add_ignored(p)
    return p


def add_ignored(p: argparse.ArgumentParser) -> None:
    """Add the arguments that change nothing here."""
    for name in VALUES.split():
        p.add_argument(f"--{name}", nargs="*" if name.endswith("_args") else None)
    for name in FLAGS.split():
        p.add_argument(f"--{name}", action="store_true")


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line over ``--config_file`` (its sections are flattened). Exits with 2 on a bad
    argument."""
    p = parser()
    args = p.parse_args(argv)
    if args.config_file:
        name = (
            args.config_file if args.config_file.endswith(".toml") else f"{args.config_file}.toml"
        )
        table = tomllib.loads(Path(name).read_text(encoding="utf-8"))
        flat: dict[str, Any] = {}
        for key, value in table.items():
            flat.update(value if isinstance(value, dict) else {key: value})
        args = p.parse_args(argv, namespace=argparse.Namespace(**flat))
    for name in ("pretrained_model_name_or_path", "dataset_config", "output_dir"):
        if not getattr(args, name):
            p.error(f"the following arguments are required: --{name}")
    return args


class Events:
    """One TensorBoard event file: framed protobuf records with masked CRC-32C."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.table = []
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ 0x82F63B78 * (n & 1)
            self.table.append(n)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.0"
        self.file = (folder / name).open("wb")
        source = b"\x0a\x2ctensorboard.summary.writer.event_file_writer"
        self.write(b"\x1a\x0dbrain.Event:2" + b"\x52" + bytes([len(source)]) + source)

    def checksum(self, data: bytes) -> bytes:
        """CRC-32C, masked as TFRecord masks it."""
        crc = 0xFFFFFFFF
        for byte in data:
            crc = crc >> 8 ^ self.table[(crc ^ byte) & 255]
        crc ^= 0xFFFFFFFF
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    def write(self, fields: bytes) -> None:
        event = b"\x09" + struct.pack("<d", time.time()) + fields
        length = struct.pack("<Q", len(event))
        self.file.write(length + self.checksum(length) + event + self.checksum(event))
        self.file.flush()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One number; ``tag`` has at most 100 bytes."""
        text = tag.encode()
        inner = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", value)
        summary = b"\x0a" + bytes([len(inner)]) + inner
        number = b""
        while step > 127:
            number += bytes([step & 127 | 128])
            step >>= 7
        self.write(b"\x10" + number + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary)


class Bar:
    """A progress bar as tqdm draws it: redrawn with a carriage return, ten times a second at
    most."""

    def __init__(self, total: int) -> None:
        self.total, self.n, self.note = total, 0, ""
        self.started = time.monotonic()
        self.drawn = 0.0
        self.draw()

    def draw(self) -> None:
        self.drawn = time.monotonic()
        elapsed = self.drawn - self.started
        eighths = self.n * 80 // self.total
        part = " ▏▎▍▌▋▊▉"[eighths % 8] if eighths < 80 else ""
        rate = self.n / elapsed if self.n and elapsed else 0.0
        left = clock((self.total - self.n) / rate) if rate else "?"
        speed = "?it/s" if not rate else f"{rate:5.2f}it/s" if rate >= 1 else f"{1 / rate:5.2f}s/it"
        bar = f"{'█' * (eighths // 8) + part:<10}"
        counted = f"{100 * self.n // self.total:3d}%|{bar}| {self.n}/{self.total}"
        print(
            f"\rsteps: {counted} [{clock(elapsed)}<{left}, {speed}{self.note}]",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def step(self, note: str) -> None:
        self.n += 1
        self.note = note
        if self.n == self.total or time.monotonic() - self.drawn >= 0.1:
            self.draw()

    def close(self) -> None:
        print(file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def learning_rate(args: argparse.Namespace, step: int) -> float:
    """The rate of ``step``, counted from 0."""
    done: float = step / args.max_train_steps
    factors = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return factors[args.lr_scheduler] * float(
        args.learning_rate if args.unet_lr is None else args.unet_lr
    )


class Training:
    """One run: what is fitted to what, and what is written on the way."""

    def __init__(self, args: argparse.Namespace, datasets: list[Any], network: Any) -> None:
        self.args, self.datasets, self.network = args, datasets, network
        self.shuffle = random.Random(args.seed).shuffle  # noqa: S311 - the seed makes a run repeatable
        self.batches = len(self.epoch())
        if args.max_train_epochs:
            args.max_train_steps = args.max_train_epochs * self.batches
        self.metadata = train_util.metadata_of(args, datasets, time.time(), self.batches)
        self.losses: collections.deque[float] = collections.deque(maxlen=self.batches)
        self.events: Events | None = None
        if args.logging_dir:
            stamp = time.strftime("%Y%m%d%H%M%S")
            self.events = Events(
                Path(args.logging_dir) / f"{args.log_prefix or ''}{stamp}" / "network_train"
            )

    def epoch(self) -> list[list[Any]]:
        """The batches of one epoch, in a new order."""
        batches = []
        for dataset in self.datasets:
            images = dataset.images()
            self.shuffle(images)
            batches += [
                images[i : i + dataset.batch_size]
                for i in range(0, len(images), dataset.batch_size)
            ]
        self.shuffle(batches)
        return batches

    def save(self, suffix: str, unnamed: str, step: int, epoch: int) -> None:
        """Write a model; ``unnamed`` is its name where the run has none."""
        file = (
            Path(self.args.output_dir) / f"{self.args.output_name or unnamed}{suffix}.safetensors"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        train_util.log(f"\nsaving checkpoint: {file}")
        times = {
            "ss_training_finished_at": str(time.time()),
            "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%S"),
        }
        metadata = self.metadata | times | {"ss_steps": str(step), "ss_epoch": str(epoch)}
        if self.args.no_metadata:
            metadata = {k: v for k, v in metadata.items() if k.startswith("modelspec.")}
        self.network.save_weights(file, metadata)

    def scalars(self, step: int, **values: float) -> None:
        for name, value in values.items():
            if self.events is not None:
                self.events.scalar(name.replace("_", "/", 1), value, step)

    def learn(self, batch: list[Any], step: int) -> float:
        """Step ``step``, counted from 1. Returns the mean loss of the last epoch's worth of
        steps."""
        rate = learning_rate(self.args, step - 1)
        loss = self.network.learn(batch, rate)
        self.losses.append(loss)
        average = sum(self.losses) / len(self.losses)
        self.scalars(step, loss_current=loss, loss_average=average, lr_unet=rate)
        return average

    def run(self) -> None:
        steps, every = self.args.max_train_steps, self.args.save_every_n_epochs
        epochs, step = math.ceil(steps / self.batches), 0
        bar = Bar(steps)
        for epoch in range(epochs):
            train_util.log(f"\nepoch {epoch + 1}/{epochs}\n")
            for batch in self.epoch()[: steps - step]:
                step += 1
                bar.step(f", avr_loss={self.learn(batch, step):.3g}")
                train_util.sample_images(self.args, self.network, None, step)
                if self.args.save_every_n_steps and step % self.args.save_every_n_steps == 0:
                    self.save(f"-step{step:08d}", "at", step, epoch)
            self.scalars(epoch + 1, loss_epoch_average=sum(self.losses) / len(self.losses))
            if every and (epoch + 1) % every == 0 and epoch + 1 < epochs:
                self.save(f"-{epoch + 1:06d}", "epoch", step, epoch + 1)
            train_util.sample_images(self.args, self.network, epoch + 1, step)
        self.save("", "last", step, epochs)
        train_util.log("INFO     model saved.")
        bar.close()
        if self.events is not None:
            self.events.file.close()


def main(argv: list[str]) -> None:
    args = arguments(argv)
    train_util.log(f"INFO     Loading dataset config from {args.dataset_config}")
    datasets = train_util.load_datasets(Path(args.dataset_config))
    if not datasets:
        # As sd-scripts does: exit status 0, and nothing is written.
        train_util.log(
            "ERROR    No data found. Please verify the dataset config: image_dir must hold images"
        )
        return
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(2**32)
    train_util.log(f"import network module: {args.network_module}")
    module = importlib.import_module(args.network_module)
    model = Path(args.pretrained_model_name_or_path)
    network = module.create_network(model, args.network_dim, args.network_alpha, args.seed)
    training = Training(args, datasets, network)
    train_util.log("running training")
    train_util.log(f"  num train images * repeats: {sum(len(d.images()) for d in datasets)}")
    train_util.log(f"  num batches per epoch: {training.batches}")
    train_util.log(f"  total optimization steps: {args.max_train_steps}")
    training.run()


if __name__ == "__main__":
    main(sys.argv[1:])
