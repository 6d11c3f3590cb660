"""kohya-ss/sd-scripts: what its arguments mean to a record, and the command that starts it.

Argument names are those of sd-scripts' ``library/train_util.py`` and ``train_network.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from loragit.secrets.find import SecretArgument
from loragit.trainers.arguments import Arguments, BadArgument, option, refuse_short_forms
from loragit.trainers.losses import LogFolders
from loragit.trainers.sd_scripts.sources import (
    Given,
    config_file,
    is_gui_preset,
    name_dataset,
)
from loragit.trainers.sd_scripts.weights import WEIGHTS, named_weights
from loragit.trainers.trainer import Defaults, Job, Plan

MANAGED = (
    "dataset_config",
    "sample_prompts",
    "output_dir",
    "output_name",
    "max_train_steps",
    "training_comment",
)
"""Options that loragit writes itself; what the user gives for them is understood, not passed on."""

SCRIPTS = (
    "sdxl_train_network.py",
    "train_network.py",
    "flux_train_network.py",
    "sd3_train_network.py",
    "lumina_train_network.py",
    "hunyuan_image_train_network.py",
    "anima_train_network.py",
)
"""Those that train adapters."""

INPUTS = ("config_file", "log_tracker_config", "in_json")
"""Options that name files whose bytes belong to the record."""

PER_RUN = frozenset(
    {
        "dataset_config",
        "sample_prompts",
        "output_dir",
        "output_name",
        "training_comment",
        "log_prefix",
    }
)

SECRET = (
    SecretArgument("wandb_api_key", "wandb_a"),
    SecretArgument("huggingface_token", "huggingface_t"),
)
"""Those that ``library/train_util.py`` itself calls sensitive. argparse accepts any unambiguous
beginning of an argument."""

NOT_IN_SETTINGS = {
    "output_dir": "set paths.output: the run's folder is made in it",
    "output_name": "leave it out: the run's name is used",
    "max_train_steps": "leave it out: the run's name or --steps tells",
}

TELLING = (
    # the network, and the pairs of network_args
    "network_module",
    "network_dim",
    "network_alpha",
    "dim",
    "alpha",
    "conv_dim",
    "conv_alpha",
    "algo",
    "preset",
    # how fast it learns
    "learning_rate",
    "unet_lr",
    "text_encoder_lr",
    "text_encoder_lr1",
    "text_encoder_lr2",
    "loraplus_lr_ratio",
    # how long
    "max_train_steps",
    "max_train_epochs",
    "train_batch_size",
    "gradient_accumulation_steps",
    # and in which way
    "optimizer_type",
    "optimizer_args",
    "lr_scheduler",
    "lr_warmup_steps",
    "seed",
)


DEFAULTS = {
    "caption_dropout_every_n_epochs": "0",
    "caption_dropout_rate": "0",
    "caption_tag_dropout_rate": "0",
    "gradient_accumulation_steps": "1",
    "huber_c": "0.1",
    "huber_scale": "1",
    "huber_schedule": "snr",
    "keep_tokens": "0",
    "learning_rate": "2e-6",
    "loss_type": "l2",
    "lr_scheduler": "constant",
    "lr_warmup_steps": "0",
    "max_bucket_reso": "1024",
    "max_grad_norm": "1",
    "min_bucket_reso": "256",
    "mixed_precision": "no",
    "multires_noise_discount": "0.3",
    "network_alpha": "1",
    "optimizer_type": "AdamW",
    "prior_loss_weight": "1",
    "train_batch_size": "1",
    "validation_split": "0",
}
"""What the header of a model says of arguments that nobody gave: defaults of
``library/train_util.py`` and ``train_network.py``."""


def plan(given: Given, defaults: Defaults) -> Plan:
    """Read the user's arguments. Raises :class:`~loragit.trainers.arguments.BadArgument`."""
    refuse_short_forms(given.passed, (*MANAGED, *INPUTS, *WEIGHTS))
    if "output_config" in given.passed.options:
        raise BadArgument(
            "--output_config makes the trainer write its arguments to a file and end: no run",
            hint="leave it out",
        )
    named = name_dataset(given, defaults)
    known = given.effective.without(*named.ignored)
    if known.one("max_train_epochs"):  # the trainer then reckons the steps itself
        known = known.without("max_train_steps")
    workdir = defaults.workdir
    output_name = known.one("output_name") or defaults.name
    if "/" in output_name:
        raise BadArgument(
            f"--output_name {output_name!r} holds a '/'", hint="--output names the run's folder"
        )
    logging_dir, steps = known.one("logging_dir"), _steps(given.passed.one("max_train_steps"))
    return Plan(
        arguments=given.passed.without(*MANAGED, *named.ignored),
        output_name=output_name,
        config=named.config,
        effective=known,
        prompts=_path(workdir, known.one("sample_prompts")) or defaults.prompts,
        output=_path(workdir, given.passed.one("output_dir")),
        steps=steps,
        epochs=known.one("max_train_epochs"),
        network_module=known.one("network_module"),
        # Two runs that log to one folder at the same time are told apart by the prefix.
        logs=LogFolders(workdir / logging_dir, known.one("log_prefix") or f"{defaults.name}_")
        if logging_dir
        else None,
        weights=tuple(named_weights(known, defaults.script)),
        inputs=tuple(_inputs(known, defaults)),
        warnings=(*named.warnings, *_warnings(given)),
        written=given.written,
    )


def _warnings(given: Given) -> Iterator[str]:
    if "no_metadata" in given.effective.options:
        yield "--no_metadata: the models will not name their run"
    if given.left_out:
        yield (
            f"{', '.join(given.left_out)} of the preset: not used; the run's name tells the steps, "
            "and sample prompts are a file"
        )
    for name, instead in _NOT_FROM_FILE.items():
        if name in given.filed.options and name not in given.passed.options:
            yield f"{name} in the config file is not used: {instead}"


_NOT_FROM_FILE = {
    "output_dir": "the run's folder is loragit's",
    "max_train_steps": "the run's name or --steps tells",
}
"""Arguments that loragit gives itself on the command line, which is stronger than any file."""


def _path(workdir: Path, written: str | None) -> Path | None:
    return workdir / written if written else None


def _steps(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise BadArgument(
            f"--max_train_steps {text!r} is no number of steps",
            hint="for example --max_train_steps 512",
        )
    return int(text)


def _inputs(known: Arguments, defaults: Defaults) -> Iterable[tuple[str, Path]]:
    workdir = defaults.workdir
    if is_gui_preset(defaults.preset):
        yield "config", defaults.preset
    for name in INPUTS:
        path = (
            config_file(known, workdir)
            if name == "config_file"
            else _path(workdir, known.one(name))
        )
        if path is not None:
            yield name, path
    for pair in known.options.get("network_args", ()):
        key, _, value = pair.partition("=")
        # LyCORIS takes the name of a built-in preset here, or a TOML file (lycoris/kohya.py).
        if key == "preset" and value.endswith(".toml"):
            yield "network_args", workdir / value


def words(plan: Plan, workdir: Path, job: Job) -> tuple[str, ...]:
    """Arguments for the trainer's script: the user's, then loragit's."""
    copies = job.copies
    passed = dict(plan.arguments.options)
    for name, path in plan.inputs:
        copy = copies.inputs[path]
        if name == "network_args":
            passed[name] = tuple(
                f"preset={copy}"
                if word.startswith("preset=") and workdir / word[7:] == path
                else word
                for word in passed.get(name, plan.effective.options[name])
            )
        elif name in INPUTS:  # also one that only a --config_file names
            passed[name] = (copy,)
    ours = (
        word
        for name, value in _ours(plan, job)
        if value is not None and (plan.takes is None or name in plan.takes)
        for word in option(name, value)
    )
    return (*Arguments(passed, plan.arguments.leading).words(), *ours)


def _ours(plan: Plan, job: Job) -> Iterator[tuple[str, str | None]]:
    """Yield the arguments that loragit adds; ``None`` for one that this run has not."""
    copies = job.copies
    yield "dataset_config", copies.config
    yield "output_dir", copies.output
    yield "output_name", plan.output_name
    yield "sample_prompts", copies.prompts
    if plan.logs is not None and "log_prefix" not in plan.arguments.options:
        yield "log_prefix", plan.logs.prefix
    yield "max_train_steps", str(job.steps) if plan.epochs is None else None
    comment = plan.effective.one("training_comment")
    yield "training_comment", job.stamp if comment is None else f"{comment} ({job.stamp})"
