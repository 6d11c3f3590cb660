"""Every argument of sd-scripts' training scripts that names weights, and what each may name.

Read in the scripts' own loaders: ``library/train_util.py`` and ``sdxl_train_util.py`` (SD 1, 2 and
SDXL: a file, a folder in diffusers' form, or a name on a hub), ``library/model_util.py`` (VAE),
``flux_utils.py``, ``sd3_utils.py``, ``lumina_util.py``, ``hunyuan_image_*.py`` and
``anima_utils.py`` (files, and for some a folder), ``train_network.py`` (adapters),
``train_textual_inversion.py`` and the scripts for ControlNet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import NamedTuple

from loragit.trainers.arguments import Arguments
from loragit.trainers.trainer import HubName, NamedWeights

SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin")
"""How files of weights end; no name on a hub ends so."""


class _Argument(NamedTuple):
    """What an argument may name."""

    role: str
    folder: tuple[str, ...] = ()
    """As in :class:`~loragit.trainers.trainer.NamedWeights`."""
    hub: bool = False
    """Whether a name on a hub will do."""
    downloads: bool = True
    """Whether the trainer then downloads what the cache lacks."""
    file: bool = True


_PIPELINE = (
    "model_index.json",
    "transformer/diffusion_pytorch_model-00001-of-00003.safetensors",  # flux_utils.py
)
_TOKENIZER = ("tokenizer.json", "spiece.model", "tokenizer_config.json")

_ARGUMENTS = {
    "pretrained_model_name_or_path": _Argument("Base-Model", folder=_PIPELINE, hub=True),
    "vae": _Argument("VAE", folder=("config.json", "vae/config.json"), hub=True),
    "ae": _Argument("VAE"),
    "network_weights": _Argument("Network-Weights"),
    "base_weights": _Argument("Base-Weights"),
    # Textual inversion: the embedding to go on from.
    "weights": _Argument("Embedding-Weights"),
    "clip_l": _Argument("CLIP-L"),
    "clip_g": _Argument("CLIP-G"),
    "t5xxl": _Argument("T5XXL"),
    "gemma2": _Argument("Gemma2"),
    "text_encoder": _Argument("Text-Encoder"),
    "byt5": _Argument("ByT5"),
    "qwen3": _Argument("Qwen3", folder=("config.json",)),
    "llm_adapter_path": _Argument("LLM-Adapter"),
    # `local_files_only`: a name is looked up in the cache alone.
    "t5_tokenizer_path": _Argument("T5-Tokenizer", folder=_TOKENIZER, hub=True, downloads=False),
    # Whatever its name says: nothing is fetched, and train_control_net.py would silently begin
    # from nothing.
    "controlnet_model_name_or_path": _Argument("ControlNet", folder=("config.json",)),
    "resume": _Argument("Resume", folder=(".",), file=False),
}

_FILES_ALONE = {
    "pretrained_model_name_or_path": _Argument("Base-Model"),
    "vae": _Argument("VAE"),
}
_OF_FAMILY = {
    "flux_": {"pretrained_model_name_or_path": _Argument("Base-Model", folder=_PIPELINE[1:])},
    "sd3_": _FILES_ALONE,
    "lumina_": _FILES_ALONE,
    "hunyuan_image_": _FILES_ALONE,
    "anima_": _FILES_ALONE,
}
"""What the scripts whose names begin so take otherwise: they open files, and ask no hub."""

WEIGHTS = MappingProxyType({name: argument.role for name, argument in _ARGUMENTS.items()})
"""Arguments that name weights a run starts from, and the trailer of each."""

_PART = r"[A-Za-z0-9_][\w.-]{0,95}"
_HUB_NAME = re.compile(rf"(?:{_PART}/)?{_PART}", re.ASCII)
"""As ``validate_repo_id`` of huggingface_hub has it."""

_FIRST_SHARD = re.compile(r"(?P<before>.*?)[0-9]+-of-(?P<count>[0-9]{1,5})\.safetensors", re.DOTALL)
_SHARDED = ("pretrained_model_name_or_path",)
_MAX_SHARDS = 1000


def named_weights(known: Arguments, script: str = "") -> Iterator[NamedWeights]:
    """Yield the weights that ``known`` names, in the order of :data:`WEIGHTS`, and what each may be
    for ``script``."""
    script = script.rpartition("/")[2]
    family = next((_OF_FAMILY[start] for start in _OF_FAMILY if script.startswith(start)), {})
    for name, argument in (_ARGUMENTS | family).items():
        for value in known.options.get(name, ()):
            if not value:
                continue
            if name == "resume" and "resume_from_huggingface" in known.options:
                yield NamedWeights(name, argument.role, value, file=False, hub=_state_on_hub(value))
                continue
            yield NamedWeights(
                name,
                argument.role,
                value,
                argument.file,
                argument.folder,
                _hub_name(value, downloads=argument.downloads) if argument.hub else None,
                _shards(value) if name in _SHARDED else (),
                # sdxl_train_util.py: `os.readlink`, where train_util.py has `os.path.realpath`.
                reads_link=name == "pretrained_model_name_or_path" and script.startswith("sdxl_"),
            )


def _hub_name(value: str, *, downloads: bool) -> HubName | None:
    """The hub's name that ``value`` can be; ``None`` where it can only be a path.

    Only a few old names have no owner; such a one is believed where the cache has it.
    """
    if _HUB_NAME.fullmatch(value) is None or value.endswith(SUFFIXES):
        return None
    return HubName(value, downloads=downloads and "/" in value)


def _state_on_hub(value: str) -> HubName | None:
    """``OWNER/NAME/PATH[:REVISION[:TYPE]]`` of ``--resume_from_huggingface``."""
    place, revision, kind = [*value.split(":"), "", ""][:3]
    name = "/".join(place.split("/")[:2])
    if _HUB_NAME.fullmatch(name) is None or "/" not in name:
        return None
    return HubName(name, revision or "main", kind or "model")


def _shards(value: str) -> tuple[str, ...]:
    """The files that ``NAME-00001-of-00003.safetensors`` stands for (``safetensors_utils.py``,
    ``flux_utils.py``); none for any other file."""
    folder, slash, name = value.rpartition("/")
    match = _FIRST_SHARD.fullmatch(name)
    if match is None or not 1 < int(match["count"]) <= _MAX_SHARDS:
        return ()
    count = int(match["count"])
    return tuple(
        f"{folder}{slash}{match['before']}{number:05d}-of-{count:05d}.safetensors"
        for number in range(1, count + 1)
    )
