"""A network module of the small trainer, as ``networks/lora.py`` is one of sd-scripts. Plain
Python, no packages.

The frozen matrix of the base model maps the features of a caption to a picture of 32 x 32 pixels;
``alpha / dim * up @ down`` is learned on top of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import struct
from operator import mul
from pathlib import Path

SIDE = 32
"""Pixels along each side of what is learned and drawn."""
OUTPUTS = SIDE * SIDE * 3
"""Values of a picture: RGB by lines, each in -1..1."""
FEATURES = 32
"""Values of a caption: as many as a SHA-256 has bytes."""
BASE = "unet.mid.weight"
"""Tensor of the base model, float32, [OUTPUTS, FEATURES]."""
MODULE = "lora_unet_mid"


def create_network(base_model: Path, dim: int | None, alpha: float | None, seed: int) -> Network:
    """A network that adds nothing yet. Raises ``OSError``, or ``KeyError`` where the model has no
    such tensor."""
    data = base_model.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    start, end = json.loads(data[8 : 8 + length])[BASE]["data_offsets"]
    base = [v for (v,) in struct.iter_unpack("<f", data[8 + length + start : 8 + length + end])]
    rng = random.Random(seed)  # noqa: S311 - the seed makes a run repeatable
    return Network(base, 4 if dim is None else dim, 1.0 if alpha is None else alpha, rng)


def features_of(tags: tuple[str, ...]) -> list[float]:
    """The sum of the tags' hashes, FEATURES values."""
    total = [0.0] * FEATURES
    for tag in tags:
        digest = hashlib.sha256(tag.encode()).digest()
        total = [t + (b - 127.5) / 127.5 for t, b in zip(total, digest, strict=True)]
    return total


class Network:
    """``(base + alpha / dim * up @ down) @ features``, and the optimizer that fits ``up`` and
    ``down``."""

    def __init__(self, base: list[float], dim: int, alpha: float, rng: random.Random) -> None:
        self.base = [base[i : i + FEATURES] for i in range(0, OUTPUTS * FEATURES, FEATURES)]
        self.dim, self.alpha, self.scale = dim, alpha, alpha / dim
        bound = 1 / math.sqrt(FEATURES)
        self.down = [[rng.uniform(-bound, bound) for _ in range(FEATURES)] for _ in range(dim)]
        # Kept by columns, [dim][OUTPUTS]: a step then is a few passes over long rows, which Python
        # is fast at.
        self.up = [[0.0] * OUTPUTS for _ in range(dim)]
        self.optimizer = AdamW(self.down + self.up)
        self.seen: dict[tuple[str, ...], tuple[list[float], list[float]]] = {}

    def caption(self, tags: tuple[str, ...]) -> tuple[list[float], list[float]]:
        """Features of ``tags``, and what the base model draws for them. The base never changes:
        asked once."""
        if tags not in self.seen:
            features = features_of(tags)
            self.seen[tags] = features, [sum(map(mul, row, features)) for row in self.base]
        return self.seen[tags]

    def forward(self, tags: tuple[str, ...]) -> tuple[list[float], list[float]]:
        """OUTPUTS values, and the ``dim`` hidden values that they were drawn from."""
        features, drawn = self.caption(tags)
        hidden = [self.scale * sum(map(mul, row, features)) for row in self.down]
        for h, column in zip(hidden, self.up, strict=True):
            drawn = [d + h * c for d, c in zip(drawn, column, strict=True)]
        return drawn, hidden

    def draw(self, tags: tuple[str, ...]) -> list[float]:
        return self.forward(tags)[0]

    def learn(self, batch: list[tuple[tuple[str, ...], list[float]]], rate: float) -> float:
        """One step on tags and pictures. Returns the mean squared error before it."""
        downs = [[0.0] * FEATURES for _ in range(self.dim)]
        ups = [[0.0] * OUTPUTS for _ in range(self.dim)]
        loss = 0.0
        for tags, target in batch:
            features, _ = self.caption(tags)
            drawn, hidden = self.forward(tags)
            error = [d - t for d, t in zip(drawn, target, strict=True)]
            loss += sum(map(mul, error, error)) / OUTPUTS / len(batch)
            for k, h in enumerate(hidden):
                back = self.scale * sum(map(mul, self.up[k], error))
                downs[k] = [g + back * f for g, f in zip(downs[k], features, strict=True)]
                ups[k] = [g + h * e for g, e in zip(ups[k], error, strict=True)]
        self.optimizer.step(downs + ups, rate)
        return loss

    def save_weights(self, file: Path, metadata: dict[str, str]) -> None:
        """Write a safetensors file; ``metadata`` gets the hash of the payload, as AUTOMATIC1111's
        web UI takes it."""
        tensors = {
            f"{MODULE}.alpha": ([], [self.alpha]),
            f"{MODULE}.lora_down.weight": (
                [self.dim, FEATURES],
                [v for row in self.down for v in row],
            ),
            f"{MODULE}.lora_up.weight": (
                [OUTPUTS, self.dim],
                [v for row in zip(*self.up, strict=True) for v in row],
            ),
        }
        header: dict[str, object] = {}
        payload = b""
        for name, (shape, values) in tensors.items():
            start = len(payload)
            payload += struct.pack(f"<{len(values)}f", *values)
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(payload)]}
        full = hashlib.sha256(payload).hexdigest()
        legacy = hashlib.sha256(payload[0x100000:0x110000]).hexdigest()[:8]
        hashes = {"sshs_model_hash": full, "sshs_legacy_hash": legacy}
        header = {"__metadata__": metadata | hashes, **header}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        with file.open("wb") as out:
            out.write(struct.pack("<Q", len(text)) + text + payload)


class AdamW:
    """Adam over rows of numbers, in place; betas 0.9 and 0.999, no decay."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = rows
        self.first = [[0.0] * len(row) for row in rows]
        self.second = [[0.0] * len(row) for row in rows]
        self.steps = 0

    def step(self, gradients: list[list[float]], rate: float) -> None:
        self.steps += 1
        rate *= math.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        for i, gradient in enumerate(gradients):
            first = [0.9 * m + 0.1 * g for m, g in zip(self.first[i], gradient, strict=True)]
            second = [
                0.999 * v + 0.001 * g * g for v, g in zip(self.second[i], gradient, strict=True)
            ]
            moments = zip(self.rows[i], first, second, strict=True)
            self.rows[i][:] = [w - rate * m / (v**0.5 + 1e-8) for w, m, v in moments]
            self.first[i], self.second[i] = first, second
