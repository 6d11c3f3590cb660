"""What kind of model a file of weights is, by the names of its tensors, and which scripts are for
it: the names that the loaders of sd-scripts' ``library`` look for."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import NamedTuple

from loragit.trainers import safetensors
from loragit.trainers.safetensors import NotSafetensors
from loragit.trainers.trainer import ModelFamily


class _Family(NamedTuple):
    """A kind of base model."""

    name: str
    begins: tuple[str, ...]
    """How the names of tensors begin that no other kind has; the first family that fits counts."""
    scripts: str
    """How the names of the scripts for it begin."""
    side: int
    """Pixels that it was made for."""


_FAMILIES = (
    _Family("SDXL", ("conditioner.embedders.1.",), "sdxl_", 1024),
    _Family("SD 1", ("cond_stage_model.transformer.",), "", 512),
    _Family("SD 2", ("cond_stage_model.model.",), "", 512),
    _Family("HunyuanImage", ("byt5_in.", "model.diffusion_model.byt5_in."), "hunyuan_image_", 1024),
    _Family("FLUX", ("double_blocks.", "model.diffusion_model.double_blocks."), "flux_", 1024),
    _Family("SD3", ("joint_blocks.", "model.diffusion_model.joint_blocks."), "sd3_", 1024),
    _Family(
        "Lumina", ("context_refiner.", "model.diffusion_model.context_refiner."), "lumina_", 1024
    ),
)
_PREFIXES = ("sdxl_", "flux_", "sd3_", "lumina_", "hunyuan_image_", "anima_")
"""How the scripts begin that are for one family alone; all others are for SD 1 and 2."""


def family_of(file: Path) -> ModelFamily | None:
    """Return the family of a file of weights; ``None`` where nothing tells."""
    if file.suffix != ".safetensors":
        return None
    try:
        names = safetensors.read_header(file).tensors
    except (OSError, NotSafetensors):
        return None
    for family in _FAMILIES:
        if any(name.startswith(family.begins) for name in names):
            return ModelFamily(family.name, f"{family.scripts}train_network.py", family.side)
    return None


def fits(script: str, family: ModelFamily) -> bool:
    """Whether a script of sd-scripts trains such a model."""
    return family.script == f"{family_prefix(script)}train_network.py"


def family_prefix(script: str) -> str:
    """How the name of a script begins if it is for one family alone; empty for SD 1 and 2."""
    name = PurePath(script).name
    return next((each for each in _PREFIXES if name.startswith(each)), "")
