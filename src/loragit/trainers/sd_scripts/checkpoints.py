"""How many models and states a run of sd-scripts has on the disk at most, and how large each is.

Options and what they keep are those of sd-scripts (``library/train_util.py``, ``get_remove_…``;
``train_network.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from loragit.dataset.used_files import EpochShare
from loragit.trainers.arguments import Arguments
from loragit.trainers.disk_need import Need, PastRun, Saves

_PER_RANK = {"sdxl": 7.1e6, "flux": 9.5e6, "sd3": 5e6, "sd": 1.2e6}
"""Bytes of an adapter of rank 1 with two bytes a value, on transformer or U-Net and text encoders,
by the beginning of the script's name. Of the size that ``networks.lora`` and its kin write; LoKr
and IA3 are mostly smaller."""

_WHOLE = {"sdxl": 6.9e9, "flux": 23.8e9, "sd3": 5.1e9, "lumina": 5.2e9, "anima": 4e9, "sd": 2.1e9}
"""Bytes of a whole model with two bytes a value, likewise."""
_WHOLE_SCRIPT = re.compile(r"fine_tune\.py|train_db\.py|(?:sdxl|flux|sd3|lumina|anima)_train\.py")
_CONTROL_NET = re.compile(r"(?:sdxl_|flux_)?train_control_?net\.py")
"""Scripts whose models are no adapters. A ControlNet is a third of the base model, or a little
more."""

_DEFAULT_RANK = 4
"""Of ``networks.lora`` where no ``network_dim`` is given."""

_STATE = 3
"""A state folder, in float32 models: the weights, and two moments of the optimizer."""

_SHORT = ("fp16", "bf16")
"""``save_precision`` of two bytes a value. Without one, what is trained is saved: float32."""


def disk_need(
    given: Arguments, script: str, steps: int, per_epoch: int | None, past: tuple[PastRun, ...]
) -> Need:
    """What a run of ``steps`` steps with the arguments ``given`` will write; ``past``: earlier
    runs, newest first."""
    like = next((run for run in past if run.largest and _is_same_size(run, given, script)), None)
    whole = _WHOLE_SCRIPT.fullmatch(PurePath(script).name)
    trained_short = whole and any(f"full_{each}" in given.options for each in _SHORT)
    saved = given.one("save_precision")
    short = saved in _SHORT or (saved is None and bool(trained_short))
    if like is not None:
        size, source = like.largest, f"as in {like.name}"
    else:
        size, source = _estimate(given, script)
        size = size if short else 2 * size
        source += "" if short else " in float32"
    state = _STATE * size * (2 if short else 1)
    return Need(saves_at_once(given, steps, per_epoch), size, state, source, estimated=like is None)


def _estimate(given: Arguments, script: str) -> tuple[int, str]:
    """Bytes of a model with two bytes a value, and what that is taken from."""
    name = PurePath(script).name
    if _WHOLE_SCRIPT.fullmatch(name):
        kind = _base_model_kind(script, _WHOLE)
        return round(_WHOLE[kind]), f"an estimate for a whole model of {kind}"
    if _CONTROL_NET.fullmatch(name):
        kind = _base_model_kind(script, _WHOLE)
        return round(_WHOLE[kind] * 0.36), f"an estimate for a ControlNet of {kind}"
    rank, kind = _number(given, "network_dim") or _DEFAULT_RANK, _base_model_kind(script)
    return round(_PER_RANK[kind] * rank), f"an estimate from network_dim {rank} on {kind}"


def saves_at_once(given: Arguments, steps: int, per_epoch: int | None) -> Saves:
    """What a run of ``steps`` steps leaves or has on the way, at most.

    ``per_epoch`` are the steps of an epoch; without them, what is saved after epochs is not
    counted. A rotation first saves and then removes, so that it has one more than it keeps; in the
    end that one is the final model.
    """
    models = 1 + sum(_saves_kept(given, steps, per_epoch, ""))
    if "save_state" in given.options:
        return Saves(models, 1 + sum(_saves_kept(given, steps, per_epoch, "_state")))
    return Saves(models, 1 if "save_state_on_train_end" in given.options else 0)


def _saves_kept(given: Arguments, steps: int, per_epoch: int | None, what: str) -> Iterator[int]:
    """What is kept of the saves after steps, and of those after epochs; ``what`` is ``_state`` for
    states."""
    every = _number(given, "save_every_n_steps")
    if every:
        last = _last(given, "save_last_n_steps", what)
        number = steps // every
        yield number if last is None else min(number, last // every + 1)
    epochs = -(-steps // per_epoch) if per_epoch else 0
    every = _number(given, "save_every_n_epochs")
    if ratio := _number(given, "save_n_epoch_ratio"):
        every = epochs // ratio or 1
    if every and epochs:
        last = _last(given, "save_last_n_epochs", what)
        number = (epochs - 1) // every  # after the last one comes the final model
        yield number if last is None else min(number, last)


def _last(given: Arguments, option: str, what: str) -> int | None:
    # For states, 0 counts as not given.
    return (_number(given, option + what) if what else None) or _number(given, option)


def _number(given: Arguments, option: str) -> int | None:
    """A whole number, 0 or more; ``None`` where the option is not given or no such number."""
    value = given.one(option) or ""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _is_same_size(run: PastRun, given: Arguments, script: str) -> bool:
    """Whether the network is of the same size, as far as the arguments tell."""
    names = ("network_module", "network_dim", "network_args", "save_precision")
    same = all(run.arguments.options.get(name) == given.options.get(name) for name in names)
    return same and _product_kind(run.script) == _product_kind(script)


def _product_kind(script: str) -> tuple[str, bool]:
    name = PurePath(script).name
    if _WHOLE_SCRIPT.fullmatch(name) or _CONTROL_NET.fullmatch(name):
        return name, True
    return _base_model_kind(script), False


def _base_model_kind(script: str, kinds: Iterable[str] = _PER_RANK) -> str:
    """What kind of base model a script of sd-scripts trains, as in ``kinds``."""
    name = PurePath(script).name
    return next((kind for kind in kinds if name.startswith(kind)), "sd")


def steps_of(given: Arguments, steps: int, per_epoch: int | None) -> int:
    """Steps of a run: those of ``max_train_epochs`` where it is given, which decides in
    sd-scripts."""
    epochs = _number(given, "max_train_epochs")
    return epochs * per_epoch if epochs and per_epoch else steps


def steps_per_epoch(epoch: Iterable[EpochShare], given: Arguments) -> int | None:
    """Steps of an epoch; buckets that no batch fills add some. ``None`` where it is not known."""
    batches = sum(-(-share.images // share.batch_size) for share in epoch)
    return -(-batches // (_number(given, "gradient_accumulation_steps") or 1)) or None
