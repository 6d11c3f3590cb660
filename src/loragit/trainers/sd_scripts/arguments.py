"""kohya-ss/sd-scripts: what its arguments mean to a record, and the command that starts it.

Argument names are those of sd-scripts' ``library/train_util.py`` and ``train_network.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from loragit.secrets.find import SecretArgument
from loragit.trainers.arguments import Arguments, BadArgument, option, refuse_short_forms
from loragit.trainers.sd_scripts.weights import WEIGHTS, named_weights
from loragit.trainers.trainer import Defaults, Job, LogFolders, Plan

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
)
"""Those that train adapters."""

INPUTS = ("config_file", "log_tracker_config", "in_json", "metadata_file")
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


def config_file(given: Arguments, workdir: Path) -> Path | None:
    """The file that ``--config_file`` names; sd-scripts adds ``.toml`` where it is missing."""
    written = given.one("config_file")
    if written is None:
        return None
    path = workdir / written
    return path if path.suffix == ".toml" else path.with_name(path.name + ".toml")


def flatten(table: Mapping[str, object]) -> Arguments:
    """A ``--config_file``'s values as arguments; its sections only group them."""
    options: dict[str, tuple[str, ...]] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            options.update(flatten(value).options)
        elif isinstance(value, bool):
            if value:
                options[key] = ()
        elif isinstance(value, list):
            options[key] = tuple(str(item) for item in value)
        else:
            options[key] = (str(value),)
    return Arguments(options)


def plan(given: Arguments, filed: Arguments, defaults: Defaults) -> Plan:
    """Read the user's arguments; ``filed`` are those of a ``--config_file``, which ``given``
    overrides.

    Raises :class:`loragit.trainers.arguments.BadArgument`.
    """
    refuse_short_forms(given, (*MANAGED, *INPUTS, *WEIGHTS))
    known = filed.updated(given)
    workdir = defaults.workdir
    prompts = known.one("sample_prompts")
    output = given.one("output_dir")
    output_name = known.one("output_name") or defaults.name
    if "/" in output_name:
        raise BadArgument(
            f"--output_name {output_name!r} holds a '/'", hint="--output names the run's folder"
        )
    logging_dir = known.one("logging_dir")
    return Plan(
        arguments=given.without(*MANAGED),
        output_name=output_name,
        config=_path(workdir, known.one("dataset_config")) or defaults.config,
        effective=known,
        prompts=_path(workdir, prompts) or defaults.prompts,
        output=_path(workdir, output),
        steps=_steps(given.one("max_train_steps")),
        epochs=known.one("max_train_epochs"),
        network_module=known.one("network_module"),
        # Two runs that log to one folder at the same time are told apart by the prefix.
        logs=LogFolders(workdir / logging_dir, known.one("log_prefix") or f"{defaults.name}_")
        if logging_dir
        else None,
        weights=tuple(named_weights(known, defaults.script)),
        inputs=tuple(_inputs(known, workdir)),
        warnings=("--no_metadata: the models will not name their run",)
        if "no_metadata" in given.options
        else (),
    )


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


def _inputs(known: Arguments, workdir: Path) -> Iterable[tuple[str, Path]]:
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
        if name != "network_args" and name in passed:
            passed[name] = (copy,)
        elif name in passed:
            passed[name] = tuple(
                f"preset={copy}"
                if word.startswith("preset=") and workdir / word[7:] == path
                else word
                for word in passed[name]
            )
    ours = [*option("dataset_config", copies.config), *option("output_dir", copies.output)]
    ours += option("output_name", plan.output_name)
    if copies.prompts is not None:
        ours += option("sample_prompts", copies.prompts)
    if plan.logs is not None and "log_prefix" not in plan.arguments.options:
        ours += option("log_prefix", plan.logs.prefix)
    if plan.epochs is None:
        ours += option("max_train_steps", str(job.steps))
    comment = plan.effective.one("training_comment")
    ours += option("training_comment", job.stamp if comment is None else f"{comment} ({job.stamp})")
    return Arguments(passed, plan.arguments.leading).words() + tuple(ours)
