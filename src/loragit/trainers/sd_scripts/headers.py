"""What the header of a model tells of a training by sd-scripts (``ss_…``, ``modelspec.…``).

A header is what anybody wrote into a file: only values of the right form count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from loragit import parse
from loragit.record.values import Weights
from loragit.trainers.arguments import Arguments
from loragit.trainers.safetensors import modelspec_date, modelspec_parents, plausible
from loragit.trainers.trainer import SavedAt, TrainingHeader

MAX_NAME = 255
"""Characters of the longest file name."""
_MAX_NETWORK = 200
_IDENTITY = re.compile(r"[0-9]{1,20} [0-9]{1,20}(?:\.[0-9]{1,20})?")
"""A random number and seconds since 1970: ``ss_session_id``, ``ss_training_started_at``."""
_SECONDS = re.compile(r"[0-9]{9,10}(?:\.[0-9]{1,12})?")
_CHANGE = re.compile(
    r"(dimension is resized from [^;]{1,80}|Dynamic resize with [^;]{1,80}"
    r"|split from DyLoRA, rank [^;]{1,80}); "
)
"""What ``networks/resize_lora.py`` and ``extract_lora_from_dylora.py`` put before a training
comment."""
_VERSION = "modelspec.implementation_version"


# fmt: off
_SAME_NAME = (
    "network_module", "network_dim", "network_alpha", "network_dropout", "learning_rate",
    "unet_lr", "text_encoder_lr", "lr_scheduler", "lr_warmup_steps", "max_train_steps",
    "seed", "gradient_checkpointing", "gradient_accumulation_steps", "mixed_precision",
    "full_fp16", "fp8_base", "fp8_base_unet", "v2", "clip_skip", "max_token_length",
    "cache_latents", "lowram", "noise_offset", "noise_offset_random_strength",
    "multires_noise_iterations", "multires_noise_discount", "adaptive_noise_scale",
    "zero_terminal_snr", "max_grad_norm", "caption_dropout_rate",
    "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "face_crop_aug_range",
    "prior_loss_weight", "min_snr_gamma", "scale_weight_norms", "ip_noise_gamma",
    "ip_noise_gamma_random_strength", "loss_type", "huber_schedule", "huber_scale", "huber_c",
    "validation_seed", "validation_split", "max_validation_steps", "validate_every_n_epochs",
    "validate_every_n_steps", "resize_interpolation", "resolution", "color_aug", "flip_aug",
    "random_crop", "shuffle_caption", "enable_bucket", "bucket_no_upscale", "min_bucket_reso",
    "max_bucket_reso", "keep_tokens", "apply_t5_attn_mask", "apply_lg_attn_mask",
    "weighting_scheme", "logit_mean", "logit_std", "mode_scale", "guidance_scale",
    "timestep_sampling", "sigmoid_scale", "model_prediction_type", "discrete_flow_shift",
)
# fmt: on
"""Arguments whose values ``train_network.py`` and its kin write as ``ss_…`` of the same name."""
_OTHER_NAME = {
    "ss_batch_size_per_device": "train_batch_size",
    "ss_debiased_estimation": "debiased_estimation_loss",
}
_NO_VALUE = ("", "None", "False", "Dynamic")
"""What is written of an argument that was not given, of a flag that was not, and of the rank of a
model whose layers were resized each to its own."""
_RESIZED = ("network_dim", "network_alpha")
"""What tools that resize or merge models write anew: it is not what was trained."""
_MAX_ARGUMENT = 200
_MAX_PAIRS = 64
_OPTIMIZERS = ("torch", "bitsandbytes", "transformers", "dadaptation", "lion_pytorch", "prodigyopt")
"""Packages whose optimizers are named by their class alone (``library/train_util.py``)."""


def training_header(metadata: Mapping[str, str]) -> TrainingHeader | None:
    """What the header tells; ``None`` where nothing in it is sd-scripts' own.

    Other trainers write ``modelspec.…``, too. Of those keys, only the version names sd-scripts
    (``sd-scripts/<commit>``, ``library/sai_model_spec.py``); ``modelspec.implementation`` names the
    code that the model is for.
    """
    if not any(key.startswith(("ss_", "sshs_")) for key in metadata) and not _names_sd_scripts(
        metadata
    ):
        return None
    value = metadata.get
    steps = value("ss_max_train_steps", "")
    changes, comment = _split_comment(value("ss_training_comment", ""))
    identity = f"{value('ss_session_id')} {value('ss_training_started_at')}"
    return TrainingHeader(
        output_name=_written(value("ss_output_name")),
        session=_of_form(value("ss_session_id"), r"[0-9]{1,20}"),
        identity=identity if _IDENTITY.fullmatch(identity) else None,
        started=_moment(value("ss_training_started_at")),
        finished=_moment(value("ss_training_finished_at")) or modelspec_date(metadata),
        commit=_of_form(value("ss_sd_scripts_commit_hash"), r"[0-9a-f]{40}")
        or _of_form(
            value(_VERSION, "").removeprefix("sd-scripts/"),
            r"[0-9a-f]{40}",
        ),
        steps=int(steps) if re.fullmatch(r"[1-9][0-9]{0,8}", steps) else None,
        network=_network(metadata),
        weights=tuple(_weights(metadata)),
        stamp=comment,
        changes=changes,
        merged_from=modelspec_parents(metadata),
        arguments=_arguments(metadata, derived=bool(changes or modelspec_parents(metadata))),
    )


def _arguments(metadata: Mapping[str, str], *, derived: bool) -> Arguments:
    """The arguments that the header tells of, with the values that counted: some of them are the
    trainer's defaults."""
    keys = {f"ss_{name}": name for name in _SAME_NAME} | _OTHER_NAME
    options: dict[str, tuple[str, ...]] = {}
    for key, name in keys.items():
        value = metadata.get(key, "")
        if value == "True":
            options[name] = ()
        elif value not in _NO_VALUE and not (derived and name in _RESIZED) and _items(value):
            options[name] = _items(value)
    options["network_args"] = () if derived else _network_args(metadata)
    kind, _, rest = metadata.get("ss_optimizer", "").partition("(")
    if kind and kind != "None":
        package, _, name = kind.partition(".")[0], "", kind.rpartition(".")[2]
        options["optimizer_type"] = (name if package in _OPTIMIZERS else kind,)
        options["optimizer_args"] = _optimizer_args(rest.removesuffix(")"))
    lists = ("network_args", "optimizer_args")
    return Arguments(
        {
            name: values
            for name, values in options.items()
            if (values or name not in lists)
            and all(len(each) <= _MAX_ARGUMENT and each.isprintable() for each in values)
        }
    )


def _items(value: str) -> tuple[str, ...]:
    """A value as a command line has it: ``[1e-05, 5e-06]`` is two words, ``(512, 512)`` is
    ``512,512``."""
    if value[0] == "[" and value[-1] == "]":
        return tuple(each.strip() for each in value[1:-1].split(",") if each.strip())
    if value[0] == "(" and value[-1] == ")":
        return (value[1:-1].replace(" ", ""),)
    return (value,)


def _network_args(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """``algo=lokr``, ``factor=4``: without ``dropout``, where it only repeats the argument."""
    try:
        table = parse.read_json(metadata.get("ss_network_args", "")[: _MAX_PAIRS * _MAX_ARGUMENT])
    except ValueError:
        return ()
    repeated = ("dropout", metadata.get("ss_network_dropout"))
    pairs = table.items() if isinstance(table, dict) else ()
    return tuple(
        f"{key}={value}"
        for key, value in list(pairs)[:_MAX_PAIRS]
        if isinstance(value, str | int | float) and (key, str(value)) != repeated
    )


def _optimizer_args(written: str) -> tuple[str, ...]:
    """``weight_decay=0.1,betas=(0.9, 0.99)`` is ``weight_decay=0.1``, ``betas=0.9,0.99``."""
    pairs = re.findall(r"(\w+)=(\([^()]*\)|\[[^][]*\]|[^,]*)", written)[:_MAX_PAIRS]
    return tuple(f"{key}={value.strip('()').replace(' ', '')}" for key, value in pairs)


def _split_comment(comment: str) -> tuple[tuple[str, ...], str]:
    """Return what tools put before a training comment, the last change first, and the comment."""
    changes = []
    at = 0
    while match := _CHANGE.match(comment, at):
        changes.append(match[1])
        at = match.end()
    return tuple(changes), comment[at:]


def _names_sd_scripts(metadata: Mapping[str, str]) -> bool:
    return "sd-scripts" in f"{metadata.get(_VERSION)} {metadata.get('modelspec.implementation')}"


def saved_at(metadata: Mapping[str, str], named: SavedAt) -> SavedAt:
    """With what the header tells; it knows the step of an epoch file, and a name says only one of
    the two."""
    step, epoch = _number(metadata.get("ss_steps")), _number(metadata.get("ss_epoch"))
    # The index of the running epoch is written into step files, the number of complete ones into
    # others.
    if epoch is not None and named.step is not None:
        epoch += 1
    return SavedAt(
        named.step if step is None else step,
        named.epoch if epoch is None else epoch,
    )


def _number(text: str | None) -> int | None:
    """A header is free-form text, so what is no plain number of a plausible size is no number."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None


def _written(value: str | None) -> str | None:
    """``value``, but for what sd-scripts writes where it has none."""
    return value if value and value != "None" else None


def _of_form(value: str | None, pattern: str) -> str | None:
    return value if value is not None and re.fullmatch(pattern, value) else None


def _moment(seconds: str | None) -> datetime | None:
    """Seconds since 1970."""
    if seconds is None or not _SECONDS.fullmatch(seconds):
        return None
    return plausible(datetime.fromtimestamp(float(seconds), UTC))


def _network(metadata: Mapping[str, str]) -> str | None:
    """``lycoris.kohya dim=4 alpha=2.0``."""
    module = _written(metadata.get("ss_network_module"))
    if module is None:
        return None
    sizes = ((name, _written(metadata.get(f"ss_network_{name}"))) for name in ("dim", "alpha"))
    network = " ".join([module, *(f"{name}={value}" for name, value in sizes if value)])
    return network if len(network) <= _MAX_NETWORK else network[: _MAX_NETWORK - 1] + "…"


def _weights(metadata: Mapping[str, str]) -> list[Weights]:
    """Base model and VAE where they have a name; the short hash that sd-scripts also writes is none
    of a file."""
    found = []
    for role, name_key, hash_key in (
        ("Base-Model", "ss_sd_model_name", "ss_new_sd_model_hash"),
        ("VAE", "ss_vae_name", "ss_new_vae_hash"),
    ):
        name = _written(metadata.get(name_key))
        if name is not None and len(name) <= MAX_NAME:
            found.append(Weights(role, name, _of_form(metadata.get(hash_key), r"[0-9a-f]{64}")))
    return found
