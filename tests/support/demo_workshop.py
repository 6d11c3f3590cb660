"""A dataset and the demo's trainer side by side, and readers of what it writes with code of the
tests' own."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragit.commands.demo import dataset
from tests.support.paths import SD_SCRIPTS

REAL = SD_SCRIPTS
NAME = "noob-gren-v1s6"


@dataclass(frozen=True)
class Workshop:
    """A dataset and a trainer side by side, as the demo lays them out."""

    root: Path

    @classmethod
    def made(cls, root: Path) -> Workshop:
        """All files of the demo; each of the twelve images is shown once an epoch, two a step: six
        steps."""
        shop = cls(root)
        for folder, entries in (
            (shop.dataset, dataset.dataset_files("python3")),
            (shop.trainer, dataset.trainer_files()),
        ):
            for entry in entries:
                file = folder / entry.path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(entry.data)
        (root / "noob.safetensors").write_bytes(dataset.base_model())
        shop.repeat(1)
        return shop

    def repeat(self, times: int) -> None:
        """Show every image ``times`` times an epoch."""
        assert "num_repeats = 5\n" in dataset.CONFIG
        config = dataset.CONFIG.replace("num_repeats = 5\n", f"num_repeats = {times}\n")
        (self.dataset / "config.toml").write_text(config)

    @property
    def dataset(self) -> Path:
        return self.root / "gren"

    @property
    def trainer(self) -> Path:
        return self.root / "sd-scripts"

    @property
    def output(self) -> Path:
        return self.root / "out"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def argv(self, **options: object) -> list[str]:
        """Arguments of a run of six steps; an option of ``None`` is left out, ``True`` is a flag, a
        list several."""
        usual: dict[str, object] = {
            "pretrained_model_name_or_path": self.root / "noob.safetensors",
            "dataset_config": "config.toml",
            "sample_prompts": "sample-prompts.txt",
            "output_dir": self.output,
            "output_name": NAME,
            "network_module": "networks.lora",
            "network_dim": 2,
            "max_train_steps": 6,
            "learning_rate": 0.02,
            "seed": 42,
        }
        words: list[str] = []
        for key, value in (usual | options).items():
            if value is not None:
                values = [] if value is True else value if isinstance(value, list) else [value]
                words += [f"--{key}", *map(str, values)]
        return words

    def command(self, **options: object) -> list[str]:
        return [sys.executable, str(self.trainer / "train_network.py"), *self.argv(**options)]

    def train(self, **options: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(**options), cwd=self.dataset, capture_output=True, check=False
        )
        # Decoded here: text mode would make a line's end of every redraw.
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def files(self) -> list[str]:
        """What lies in the output folder; the time in a sample's name is written T."""
        paths = (
            p.relative_to(self.output).as_posix() for p in self.output.rglob("*") if p.is_file()
        )
        return sorted(re.sub(r"_\d{14}", "_T", p) for p in paths)


def header_of(file: Path) -> tuple[dict[str, Any], dict[str, str], bytes]:
    """Tensors, metadata and payload of a safetensors file, which must be whole."""
    data = file.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = json.loads(data[8 : 8 + length])
    metadata = tensors.pop("__metadata__")
    payload = data[8 + length :]
    assert length % 8 == 0
    assert len(payload) == max(t["data_offsets"][1] for t in tensors.values())
    return tensors, metadata, payload


def floats(tensors: dict[str, Any], payload: bytes, name: str) -> list[float]:
    start, end = tensors[name]["data_offsets"]
    return list(struct.unpack(f"<{(end - start) // 4}f", payload[start:end]))


def picture_of(file: Path) -> tuple[int, int, bytes]:
    """Width, height and RGB bytes of a PNG without line filters."""
    data, at, packed = file.read_bytes(), 8, b""
    width, height, *rest = struct.unpack_from(">IIBBBBB", data, 16)
    assert rest == [8, 2, 0, 0, 0]
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, stride = zlib.decompress(packed), width * 3 + 1
    assert {raw[y * stride] for y in range(height)} == {0}
    return width, height, b"".join(raw[y * stride + 1 : (y + 1) * stride] for y in range(height))


def masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records_of(file: Path) -> list[bytes]:
    """The events of a TensorBoard file, their checksums checked."""
    data, at, records = file.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 8) == (masked_crc32c(data[at : at + 8]),)
        assert struct.unpack_from("<I", data, at + 12 + length) == (masked_crc32c(event),)
        records.append(event)
        at += 16 + length
    return records


def scalars_of(file: Path) -> dict[str, dict[int, float]]:
    """tag -> step -> value, of events whose step takes one or two bytes."""
    found: dict[str, dict[int, float]] = {}
    for event in records_of(file)[1:]:
        match = re.fullmatch(
            rb"\x09.{8}\x10(.[\x01-\x7f]?)\x2a.\x0a.\x0a.([a-z0-9_/]+)\x15(.{4})", event, re.DOTALL
        )
        assert match is not None, event
        step = sum((byte & 127) << 7 * i for i, byte in enumerate(match[1]))
        (value,) = struct.unpack("<f", match[3])
        found.setdefault(match[2].decode(), {})[step] = value
    return found


def event_file(shop: Workshop, prefix: str = "") -> Path:
    (file,) = shop.logs.rglob("events.*")
    assert re.fullmatch(
        re.escape(prefix) + r"\d{14}/network_train/events\.out\.tfevents\.\d{10}\.[^/]+\.\d+\.0",
        file.relative_to(shop.logs).as_posix(),
    )
    return file
