"""What the demo trains on: twelve drawings with captions, a base model, and the settings that name
them.

Makes bytes; writes nothing. Every part is the same on every machine, but for the path of the
trainer's Python.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from loragit.record.values import Entry

SIDE = 32
"""Pixels along each side of a drawing."""

FEATURES = 32
"""Columns of the base model's matrix: values of a caption, as ``lora.py`` hashes it."""

BASE_TENSOR = "unet.mid.weight"

Colour = tuple[int, int, int]
Inside = Callable[[float, float], bool]
"""Whether a point, -1..1 from the middle to the right and down, belongs to a shape."""

PAPER: Colour = (244, 239, 226)
COLOURS: dict[str, Colour] = {
    "red": (200, 60, 50),
    "green": (60, 150, 80),
    "blue": (50, 90, 190),
    "yellow": (230, 180, 40),
}
SHAPES: dict[str, Inside] = {
    "circle": lambda x, y: x * x + y * y < 0.5,
    "square": lambda x, y: max(abs(x), abs(y)) < 0.6,
    "triangle": lambda x, y: -0.7 < y < 0.6 and abs(x) < (y + 0.7) / 1.6,
}

CONFIG = """\
[general]
caption_extension = ".txt"
shuffle_caption = true
keep_tokens = 1

[[datasets]]
resolution = 32
batch_size = 2

  [[datasets.subsets]]
  image_dir = "img"
  num_repeats = 5
"""

PROMPTS = """\
# one line a picture; --w and --h are its size, --d is its seed
gren, circle, red --w 64 --h 64 --d 1
gren, triangle, blue --w 64 --h 64 --d 2
gren, square, green, large --w 64 --h 64
"""

SETTINGS = """\
# What `loragit train` uses for this dataset. Paths are relative to this folder.

[trainer]
repo = "../../sd-scripts"
script = "train_network.py"
python = {python}
# The folder the trainer runs in: its arguments and the folders in config.toml are relative to it.
workdir = "dataset"

[trainer.args]
pretrained_model_name_or_path = "../../models/noob.safetensors"
network_module = "networks.lora"
network_dim = 4
network_alpha = 2
learning_rate = 0.02
lr_scheduler = "cosine"
optimizer_type = "AdamW"
mixed_precision = "no"
save_model_as = "safetensors"
save_every_n_steps = 20
sample_every_n_steps = 20
seed = 42
logging_dir = "../../logs"

[paths]
output = "../../output_dir"
"""


@dataclass(frozen=True, slots=True)
class Drawing:
    """An image and the tags that its caption gives."""

    name: str
    """File name without its suffix."""
    tags: tuple[str, ...]
    png: bytes


def drawings() -> tuple[Drawing, ...]:
    """Every shape in every colour, every other one large."""
    made: list[Drawing] = []
    for shape, inside in SHAPES.items():
        for colour, paint in COLOURS.items():
            large = len(made) % 2 == 0
            tags = ("gren", shape, colour, *(("large",) if large else ()))
            made.append(
                Drawing(f"{len(made):02d}", tags, _draw(inside, paint, 1.0 if large else 0.7))
            )
    return tuple(made)


def _draw(inside: Inside, paint: Colour, size: float) -> bytes:
    middle = (SIDE - 1) / 2
    scale = middle * size
    rows = []
    for y in range(SIDE):
        line = [
            paint if inside((x - middle) / scale, (y - middle) / scale) else PAPER
            for x in range(SIDE)
        ]
        rows.append(bytes(value for colour in line for value in colour))
    return png(rows)


def png(rows: list[bytes]) -> bytes:
    """An 8-bit RGB image from its lines, three bytes a pixel."""
    header = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def base_model() -> bytes:
    """A safetensors file with the frozen matrix, [SIDE * SIDE * 3, FEATURES] float32: it draws
    faint noise."""
    rows = SIDE * SIDE * 3
    rng = random.Random(2023)  # noqa: S311 - the same model on every machine
    payload = struct.pack(
        f"<{rows * FEATURES}f", *(rng.uniform(-0.05, 0.05) for _ in range(rows * FEATURES))
    )
    tensor = {"dtype": "F32", "shape": [rows, FEATURES], "data_offsets": [0, len(payload)]}
    text = json.dumps(
        {"__metadata__": {"format": "pt"}, BASE_TENSOR: tensor}, separators=(",", ":")
    ).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + payload


def dataset_files(python: str) -> tuple[Entry, ...]:
    """The dataset's folder; ``python`` is the path of the Python that the trainer runs in."""
    # A JSON string is a TOML string as long as nothing is escaped as a surrogate pair.
    settings = SETTINGS.format(python=json.dumps(python, ensure_ascii=False))
    entries = [
        Entry("config.toml", CONFIG.encode()),
        Entry("loragit.toml", settings.encode("utf-8", "surrogateescape")),
        Entry("sample-prompts.txt", PROMPTS.encode()),
    ]
    for drawing in drawings():
        entries.append(Entry(f"img/{drawing.name}.png", drawing.png))
        entries.append(Entry(f"img/{drawing.name}.txt", f"{', '.join(drawing.tags)}\n".encode()))
    return tuple(entries)


TRAINER_README = """\
# A small trainer

It behaves as the `train_network.py` of [sd-scripts](https://github.com/kohya-ss/sd-scripts) does: the same arguments,
file names, header metadata and exit statuses, but plain Python, and pictures of 32 x 32 pixels. It fits a low-rank
adapter to a frozen matrix, on the CPU, in about a second.

- `train_network.py`: arguments, the training loop, models, TensorBoard events
- `networks/lora.py`: the network, what `--network_module networks.lora` names
- `library/train_util.py`: dataset config, images, metadata, samples
"""  # noqa: E501

TRAINER_IGNORES = "logs\n__pycache__\nwd14_tagger_model\nvenv\n*.egg-info\nbuild\n.vscode\nwandb\n"
"""sd-scripts' own .gitignore, in part."""


def trainer_files() -> tuple[Entry, ...]:
    """The trainer's repository: this package's scripts under the names that sd-scripts gives
    theirs."""
    from importlib.resources import files

    package = files("loragit.commands.demo")
    return (
        Entry(".gitignore", TRAINER_IGNORES.encode()),
        Entry("README.md", TRAINER_README.encode()),
        Entry("library/__init__.py", b""),
        Entry("library/train_util.py", package.joinpath("train_util.py").read_bytes()),
        Entry("networks/__init__.py", b""),
        Entry("networks/lora.py", package.joinpath("lora.py").read_bytes()),
        Entry("train_network.py", package.joinpath("trainer.py").read_bytes(), executable=True),
    )
