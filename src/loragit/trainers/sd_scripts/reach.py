"""Which of sd-scripts' arguments make it load code, read files of anybody's choice, write
elsewhere, or send things.

The rest are numbers, switches and plain words, and can do no more than train badly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from loragit.trainers.arguments import Value
from loragit.trainers.sd_scripts.arguments import INPUTS, MANAGED
from loragit.trainers.sd_scripts.weights import WEIGHTS

_REACHING = (
    *INPUTS,
    *(name for name in MANAGED if name != "training_comment"),
    *WEIGHTS,
    "network_module",
    "dataset_class",
    "train_data_dir",
    "reg_data_dir",
    "logging_dir",
    "log_with",
    "console_log_file",
    "tokenizer_cache_dir",
    "huggingface_repo_id",
    "huggingface_path_in_repo",
    "wandb_api_key",
)
"""Arguments whose values are such, whatever they look like. argparse takes any unique beginning of
each."""

_WORDS = ("metadata_", "caption_", "training_comment", "wandb_run_name", "log_tracker_name")
"""How arguments begin that hold words for people, which may look like anything."""

_KNOWN = {
    "network_module": re.compile(r"(?:networks|lycoris)\.\w+"),
    "log_with": re.compile(r"tensorboard"),
    **dict.fromkeys(WEIGHTS, re.compile(r".*\.safetensors", re.DOTALL)),
}
"""Values that everybody has: modules that come with the trainer or LyCORIS, and weights that can
hold no code."""

_NUMBERS = re.compile(r"[\d.,eE+\-\s()\[\]]*")


def reaches(name: str, value: Value) -> bool:
    """Whether ``--name value`` could do more than change how well a training goes.

    ``name`` is without its dashes; texts count where they could be a path or a module's name.
    """
    texts = [
        item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, str)
    ]
    if any(each.startswith(name) for each in _REACHING):
        known = _KNOWN.get(name)
        return any(known is None or known.fullmatch(text) is None for text in texts)
    return not name.startswith(_WORDS) and any(map(_could_be_a_place, _values(texts)))


def _values(texts: Iterable[str]) -> Iterable[str]:
    """Of ``key=value`` the value."""
    return (text.partition("=")[2] or text for text in texts)


def _could_be_a_place(text: str) -> bool:
    return ".." in text or (
        _NUMBERS.fullmatch(text) is None and any(sign in text for sign in "/\\~.")
    )
