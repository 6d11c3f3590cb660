"""Everything that ``doctor`` looks at: the checks of the other modules, in their order, and what
the preflight of a run finds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit import git, text
from loragit.commands.doctor import disk, installation, repository
from loragit.commands.doctor import trainer as trainer_checks
from loragit.commands.doctor.check import (
    DATASET,
    FAILED,
    INSTALLATION,
    RECORD,
    TRAINER,
    WARNING,
    Check,
    Checks,
    each_once,
)
from loragit.commands.doctor.dataset import dataset_checks, list_folders
from loragit.commands.doctor.repository import hook_checks
from loragit.commands.doctor.trainer import python_or_error
from loragit.dataset.hashes import HashCache
from loragit.dataset.used_files import UsedFiles
from loragit.errors import Area, Finding, Findings, LoragitError
from loragit.git.repository import Repository
from loragit.record.name import RunName
from loragit.run.preflight import launch, prepare, trust
from loragit.run.preflight.phases import Request
from loragit.settings import document, load, paths
from loragit.settings.paths import cache_folder
from loragit.settings.schema import FILE
from loragit.settings.values import Flags, Settings
from loragit.store import free_name
from loragit.trainers import kinds
from loragit.trainers.arguments import Arguments
from loragit.trainers.disk_need import PastRun
from loragit.trainers.environment.activation import activate
from loragit.trainers.trainer import DatasetPlace, Plan

STEPS = 1000
"""Steps for which there must be room if neither a name nor an earlier run tells how many."""


_AREAS = {Area.TRAINER: TRAINER, Area.ENVIRONMENT: TRAINER, Area.RECORD: RECORD}


class DoctorOptions(NamedTuple):
    """What the command line asks of ``doctor``."""

    name: str | None
    dataset: str | None
    environ: Mapping[str, str]
    cwd: Path


def examine(options: DoctorOptions) -> tuple[tuple[Check, ...], str | None]:
    """Every check in its order, and a line on those that were left out.

    Writes nothing but caches. What is wrong is among the checks, never raised.
    """
    left_out: str | None = None
    try:
        run = RunName.parse(options.name) if options.name else None
        flags = Flags(dataset=options.dataset)
        chosen: Settings | None = load.load_settings(
            name=run, flags=flags, environ=options.environ, cwd=options.cwd
        )
    except LoragitError as error:
        chosen, broken = (
            None,
            Check(INSTALLATION, "settings", FAILED, error.message, error.hint or "mend it there"),
        )
    folder = chosen.dataset_dir if chosen else paths.root_above(options.cwd, FILE) or options.cwd
    found = list(installation.installation_checks(options.environ, folder, cache_folder()))
    if chosen is None:
        found.append(broken)
        left_out = "the rest was not checked: it depends on that"
    elif not _names_dataset(options, chosen):
        found += _Examination(options, chosen).without_dataset()
        left_out = (
            f"{folder} is not a dataset: only the installation was checked; name a dataset with "
            "--dataset"
        )
    else:
        found += _Examination(options, chosen).with_dataset()
    return each_once(tuple(found)), left_out


def _names_dataset(options: DoctorOptions, chosen: Settings) -> bool:
    """Whether the options name a dataset, or the folder holds one of the files that make it one."""
    named = options.name or options.dataset or options.environ.get("TRAINING_DIR")
    return (
        bool(named)
        or os.path.exists(chosen.dataset_dir / FILE)
        or os.path.exists(chosen.paths.config)
    )


class _Examination:
    """The checks of a dataset and of all that trains it."""

    def __init__(self, options: DoctorOptions, chosen: Settings) -> None:
        self._options = options
        self._chosen = chosen
        self._caches = cache_folder()
        self._past: tuple[PastRun, ...] = ()
        self._used: UsedFiles | None = None
        """What a run would read of the dataset, where one could start."""
        self._repository: Repository | None = None
        try:
            self._repository = git.discover(chosen.dataset_dir)
            self._past = disk.past_runs(self._repository)
        except LoragitError:
            pass  # the preflight says why a run would be refused

    def without_dataset(self) -> tuple[Check, ...]:
        """What can be checked without a dataset: the trainer, and room for what it will write."""
        found = Checks(INSTALLATION)
        place, free = installation.free_space(self._chosen.paths.output)
        summary = f"{place} has {text.size(free)} free"
        if free < prepare.MIN_FREE:
            found.fail("disk", summary, "make room, or set paths.output")
        else:
            found.ok("disk", summary)
        return (*found.all(), *self._trainer_question(self._chosen).answer())

    def with_dataset(self) -> tuple[Check, ...]:
        """Everything. The trainer's Python is asked here and by the preflight at the same time: it
        may hang."""
        from concurrent.futures import ThreadPoolExecutor

        free = self._free_name()
        name, flags = self._options.name, Flags(dataset=self._options.dataset)
        if name is None:
            name, flags = free.text, Flags(dataset=str(self._chosen.dataset_dir))
        try:
            run = RunName.parse(name)
            chosen = load.load_settings(
                name=run, flags=flags, environ=self._options.environ, cwd=self._options.cwd
            )
        except LoragitError as error:
            return (
                Check(
                    INSTALLATION, "settings", FAILED, error.message, error.hint or "mend it there"
                ),
            )
        question = self._trainer_question(chosen)
        with ThreadPoolExecutor(1) as pool:
            trainer = pool.submit(question.answer)
            of_run = self._preflight_checks(name, flags)
            found = [
                *self._settings_checks(),
                *trainer.result(),
                *self._repository_checks(free),
                *of_run,
            ]
        plan = self._plan(chosen)
        found += self._dataset_checks(chosen, plan) if plan else ()
        return tuple(found)

    def _settings_checks(self) -> tuple[Check, ...]:
        found = Checks(INSTALLATION)
        path = self._chosen.dataset_dir / FILE
        there = os.path.exists(path)
        found.ok(
            "settings",
            f"the dataset's settings: {path}"
            if there
            else f"no settings of the dataset's in {path}",
        )
        return found.all()

    def _trainer_question(self, chosen: Settings) -> trainer_checks.TrainerQuestion:
        python = python_or_error(chosen, self._options.environ)
        refused = Findings()
        if not trust.require_consent(trust.subject_of_settings(chosen), None, refused):
            (why,) = refused.all()
            python = trust.Untrusted(why.problem, hint=why.hint)
        env = activate(
            chosen.trainer, python if isinstance(python, Path) else None, self._options.environ
        ).environ()
        cache = self._caches / "environments"
        return trainer_checks.TrainerQuestion(
            chosen, python, workdir=_workdir(chosen), env=env, cache=cache
        )

    def _preflight_checks(self, name: str, flags: Flags) -> tuple[Check, ...]:
        """What ``train`` would refuse or warn of, in its own words."""
        found: list[Check] = []
        try:
            ready = prepare.prepare(
                Request.parse(name, flags, self._options.environ, self._options.cwd)
            )
        except LoragitError as error:
            for each in error.findings or (Finding(error.message, error.hint, Area.SETTINGS),):
                fix = each.hint or "mend it and look again"
                found.append(Check(_shown_area(each), "run", FAILED, each.problem, fix))
        else:
            self._used = ready.inputs.used
            found += [
                Check(_shown_area(each), "run", WARNING, each.problem) for each in ready.warnings
            ]
            made = (
                f"{text.count(ready.run.images, 'image')}, "
                f"{text.count(ready.run.captions, 'caption')}"
            )
            weights = "".join(f", {each.name}" for each in ready.run.weights)
            checks = Checks(DATASET)
            checks.ok("run", f"{self._options.name or 'a run'} could start: {made}{weights}")
            found += checks.all()
        return (
            tuple(found)
            if self._options.name
            else tuple(_for_any_run(name, check) for check in found)
        )

    def _free_name(self) -> RunName:
        """A name that nothing has. What holds for any run is checked with it; it is never shown."""
        chosen = self._chosen
        steps = next((run.steps for run in self._run_names() if run.steps), STEPS)
        models = [run.model for run in self._run_names() if run.model]
        models += document.read_settings_file(chosen.dataset_dir / FILE).models
        models += document.read_settings_file(load.user_file()).models
        name = next(
            filter(None, (_name_of_model(model, steps) for model in models)), None
        ) or _name_of_model("model", steps)
        assert name is not None
        try:
            folders = {folder.name for folder in chosen.paths.output.iterdir()}
        except OSError:
            folders = set()
        try:
            tags = free_name.names_taken(self._repository) if self._repository else frozenset()
        except LoragitError:
            tags = frozenset()
        return name.bumped(tags | folders)

    def _run_names(self) -> list[RunName]:
        """Of this dataset's sealed runs, newest first. Tags of other names are passed over."""
        found = []
        for run in self._past:
            with suppress(LoragitError):
                found.append(RunName.parse(run.name))
        return found

    def _repository_checks(self, free: RunName) -> tuple[Check, ...]:
        if self._repository is None:
            return ()
        try:
            return (
                *hook_checks(self._chosen.dataset_dir),
                *repository.repository_checks(self._repository, free),
            )
        except LoragitError as error:
            return (
                Check(
                    RECORD,
                    "repository",
                    FAILED,
                    error.message,
                    error.hint or "see what git says of it",
                ),
            )

    def _plan(self, chosen: Settings) -> Plan | None:
        """What settings ask of the trainer; ``None`` where the preflight tells why not."""
        home = self._options.environ.get("HOME", "")
        try:
            return launch.trainer_plan("", chosen, (), _workdir(chosen), home, own_script=False)
        except LoragitError:
            return None

    def _dataset_checks(self, chosen: Settings, plan: Plan) -> tuple[Check, ...]:
        trainer = kinds.trainer_of(chosen.trainer.kind)
        place = DatasetPlace(_workdir(chosen), chosen.dataset_dir)
        try:
            used = self._used or trainer.dataset(plan, place)
        except LoragitError:  # reported by the preflight
            return ()
        apart = frozenset(each for each in (chosen.paths.prompts, plan.config) if each)
        listings = list_folders(used.folders, trainer.files, apart)
        found = dataset_checks(listings, trainer.files, HashCache(self._caches / "hashes"))
        return (*found, *self._room_check(chosen, plan.effective, used))

    def _room_check(self, chosen: Settings, given: Arguments, used: UsedFiles) -> tuple[Check, ...]:
        """Whether there is room for the models that the settings will write."""
        trainer = kinds.trainer_of(chosen.trainer.kind)
        per_epoch = trainer.steps_per_epoch(used, given)
        steps = trainer.steps(given, chosen.steps or STEPS, per_epoch)
        need = trainer.need(given, chosen.trainer.script, steps, per_epoch, self._past)
        place, free = installation.free_space(chosen.output_dir or chosen.paths.output)
        summary = (
            f"{text.count(steps, 'step')} will write {need.line}; {place} has "
            f"{text.size(free)} free"
        )
        fix = (
            "make room, save less often (save_every_n_steps, save_last_n_steps), or set "
            "paths.output"
        )
        found = Checks(DATASET)
        if need.total <= free:
            found.ok("disk", summary)
        elif need.estimated:
            found.warn("disk", summary, fix)
        else:
            found.fail("disk", summary, fix)
        return found.all()


def _name_of_model(model: str, steps: int) -> RunName | None:
    """A run's name with that model; ``None`` if there can be none."""
    try:
        name = RunName.parse(f"{model}-dataset-v1s{steps}")
    except LoragitError:
        return None
    return name if name.model == model else None


def _for_any_run(name: str, check: Check) -> Check:
    """The check with ``NAME`` in place of a made-up name."""
    fix = check.fix.replace(name, "NAME") if check.fix else None
    return check._replace(message=check.message.replace(name, "NAME"), fix=fix)


def _shown_area(finding: Finding) -> str:
    """The area in which a finding of the preflight is shown."""
    return _AREAS.get(finding.area, DATASET)


def _workdir(chosen: Settings) -> Path:
    return launch.find_workdir(
        chosen, launch.without_dots(chosen.trainer.repo / chosen.trainer.script)
    )
