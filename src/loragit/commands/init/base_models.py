"""Base models that lie where people keep them, or that siblings of a dataset use."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from loragit.commands.init.image_folders import entries
from loragit.commands.init.siblings import BASE_MODEL, Sibling
from loragit.settings.schema import ARGS

MODEL_SUFFIXES = (".safetensors", ".ckpt")
_MODELS = (
    "models",
    "models/checkpoints",
    "ComfyUI/models/checkpoints",
    "stable-diffusion-webui/models/Stable-diffusion",
    "stable-diffusion-webui-forge/models/Stable-diffusion",
)
"""Where base models are, relative to the home folder."""
_MOST_MODELS = 20


def find_models(siblings: Iterable[Sibling], home: Path) -> tuple[tuple[str, ...], bool]:
    """Base models, and whether the first is certain: siblings use it, or it is the only one."""
    used = [text for each in siblings if (text := each.text(ARGS + BASE_MODEL)) and _exists(text)]
    lying = [
        str(home / folder / each.name)
        for folder in _MODELS
        for each in entries(home / folder)
        if _is_model(each)
    ]
    every = tuple(dict.fromkeys((*used, *lying)))[:_MOST_MODELS]
    return every, bool(used) or len(every) == 1


def _exists(model: str) -> bool:
    return not model.startswith("/") or os.path.exists(model)


def _is_model(entry: os.DirEntry[str]) -> bool:
    name = entry.name.lower()
    return name.endswith(MODEL_SUFFIXES) and not any(
        word in name for word in ("lora", "lycoris", "vae")
    )
