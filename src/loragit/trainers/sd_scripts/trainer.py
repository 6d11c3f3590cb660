"""kohya-ss/sd-scripts as a trainer: what :class:`~loragit.trainers.trainer.Trainer` asks of it."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from loragit.dataset.file_kinds import FileKinds
from loragit.errors import Finding
from loragit.trainers.arguments import Arguments, Value, refuse_leading
from loragit.trainers.disk_need import Need, PastRun
from loragit.trainers.losses import LossSource, Scalar
from loragit.trainers.sd_scripts import arguments, sources
from loragit.trainers.sd_scripts.datasets import images
from loragit.trainers.sd_scripts.naming import BAR, EVENTS, LOG_FOLDER, LOSSES, NAMING
from loragit.trainers.sd_scripts.weights import WEIGHTS
from loragit.trainers.trainer import (
    CheckoutSigns,
    DatasetPlace,
    Defaults,
    Job,
    ModelFamily,
    Plan,
    SavedAt,
    Trainer,
    TrainingHeader,
)

if TYPE_CHECKING:
    from loragit.dataset.used_files import CaptionProblem, UsedFiles

FILES = FileKinds(
    images=images.both_cases((*images.PLAIN, *images.PLUGINS)),
    caches=("*.npz",),
    # As library/strategy_*.py names them.
    of_image=re.compile(r"(?P<stem>.+)_[0-9]{4,}x[0-9]{4,}_\w+"),
    of_caption=re.compile(r"(?P<stem>.+)_(?:te_outputs|[A-Za-z0-9]+_te)"),
)


def _scalars(path: Path, tags: Container[str]) -> Iterator[Scalar]:
    from loragit.trainers import tensorboard

    return tensorboard.scalars(path, tags)


class SdScripts(Trainer):
    """kohya-ss/sd-scripts."""

    kind = "sd-scripts"
    scripts = arguments.SCRIPTS
    checkout = CheckoutSigns(
        landmarks=("train_network.py", "library/train_util.py"),
        names=("sd-scripts",),
        folders=("kohya_ss/sd-scripts",),
        environments=("sdscripts", "sd-scripts", "sd_scripts"),
        environment_names=("kohya", "lora"),
        url="https://github.com/kohya-ss/sd-scripts",
    )
    importable = True
    takes_first_files = True
    needs = ("torch", "accelerate")
    own_folder = False
    names_config = "--dataset_config PATH"
    weights = WEIGHTS
    arguments_file = "config_file"
    per_run = arguments.PER_RUN
    secret_arguments = arguments.SECRET
    not_in_settings = arguments.NOT_IN_SETTINGS
    telling = arguments.TELLING
    defaults = arguments.DEFAULTS
    header_keys = (
        ("output name", "ss_output_name"),
        ("base model", "ss_sd_model_name"),
        ("base model's version", "ss_base_model_version"),
        ("base model's hash", "ss_new_sd_model_hash"),
        ("network", "ss_network_module"),
        ("rank", "ss_network_dim"),
        ("alpha", "ss_network_alpha"),
        ("network's arguments", "ss_network_args"),
        ("steps", "ss_steps"),
        ("epoch", "ss_epoch"),
        ("learning rate", "ss_learning_rate"),
        ("U-Net's learning rate", "ss_unet_lr"),
        ("text encoder's learning rate", "ss_text_encoder_lr"),
        ("optimizer", "ss_optimizer"),
        ("seed", "ss_seed"),
        ("trainer's commit", "ss_sd_scripts_commit_hash"),
        ("started", "ss_training_started_at"),
        ("finished", "ss_training_finished_at"),
        ("comment", "ss_training_comment"),
        ("title", "modelspec.title"),
        ("date", "modelspec.date"),
        ("architecture", "modelspec.architecture"),
        ("written by", "modelspec.implementation"),
        ("merged from", "modelspec.merged_from"),
    )
    naming = NAMING
    files = FILES
    plugins = tuple(module for modules in images.PLUGINS.values() for module in modules)
    losses = LossSource(EVENTS, LOG_FOLDER, LOSSES, _scalars, BAR)

    def plan(
        self, settings: Arguments, command: Arguments, defaults: Defaults, *, own_script: bool
    ) -> Plan:
        if not own_script:
            refuse_leading(settings)
            refuse_leading(command)
        from loragit.trainers.sd_scripts.scripts import fitting

        given = sources.all_given(settings, command, defaults)
        plan = arguments.plan(given, defaults)
        return fitting.fit_plan(plan, given, defaults, arguments.TELLING)

    def dataset(self, plan: Plan, place: DatasetPlace) -> UsedFiles:
        from loragit.trainers.sd_scripts.datasets import reading

        config = reading.read_config(plan.config) if plan.config else None
        return reading.used_files(config, plan.effective, place)

    def caption_problem(self, data: bytes) -> CaptionProblem | None:
        from loragit.trainers.sd_scripts.datasets import captions

        return captions.caption_problem(data)

    def prompts_problem(self, suffix: str, content: object) -> str | None:
        from loragit.trainers.sd_scripts.scripts import prompts

        return prompts.prompts_problem(suffix, content)

    def modules(self, effective: Arguments) -> tuple[str, ...]:
        from loragit.trainers.sd_scripts import imports

        return tuple(imports.named_modules(effective))

    def missing_modules(
        self,
        effective: Arguments,
        missing: tuple[str, ...],
        folder: Path,
        packages: Iterable[str],
    ) -> tuple[Finding, ...]:
        from loragit.trainers.sd_scripts import imports

        return tuple(imports.missing_findings(effective, missing, folder, packages))

    def family(self, base_model: Path) -> ModelFamily | None:
        from loragit.trainers.sd_scripts.scripts import families

        return families.family_of(base_model)

    def words(self, plan: Plan, workdir: Path, job: Job) -> tuple[str, ...]:
        return arguments.words(plan, workdir, job)

    def config_copy(self, plan: Plan, data: bytes, job: Job) -> bytes:
        del plan, job  # arguments say all that is the run's own
        return data

    def reaches(self, name: str, value: Value) -> bool:
        from loragit.trainers.sd_scripts import reach

        return reach.reaches(name, value)

    def training_header(self, metadata: Mapping[str, str]) -> TrainingHeader | None:
        from loragit.trainers.sd_scripts import headers

        return headers.training_header(metadata)

    def saved_at(self, metadata: Mapping[str, str], named: SavedAt) -> SavedAt:
        from loragit.trainers.sd_scripts import headers

        return headers.saved_at(metadata, named)

    def steps_per_epoch(self, dataset: UsedFiles, given: Arguments) -> int | None:
        from loragit.trainers.sd_scripts import checkpoints

        return checkpoints.steps_per_epoch(dataset.epoch, given)

    def steps(self, given: Arguments, steps: int, per_epoch: int | None) -> int:
        from loragit.trainers.sd_scripts import checkpoints

        return checkpoints.steps_of(given, steps, per_epoch)

    def need(
        self,
        given: Arguments,
        script: str,
        steps: int,
        per_epoch: int | None,
        past: tuple[PastRun, ...],
    ) -> Need:
        from loragit.trainers.sd_scripts import checkpoints

        return checkpoints.disk_need(given, script, steps, per_epoch, past)
