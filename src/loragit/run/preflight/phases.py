"""The values that go from phase to phase of :mod:`loragit.run.preflight.prepare`.

command line -> Request -> ask -> Launch -> read -> Material -> judge -> Startable
                                                             -> assemble -> Ready -> run.train
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.errors import Finding, LoragitError, UsageError
from loragit.git.repository import Repository
from loragit.record.name import RunName
from loragit.record.values import Entry, Identity, Run
from loragit.run.preflight import launch
from loragit.run.preflight.inputs import Inputs
from loragit.run.preflight.questions import Answers, Questions
from loragit.run.preflight.trust import Agree
from loragit.run.preflight.weights.identify import Identified
from loragit.settings import paths
from loragit.settings.values import Flags, Settings
from loragit.store.journal import HubRef
from loragit.trainers.start import Start
from loragit.trainers.trainer import Plan


class OptionsConflict(UsageError):
    """Two options each say what is to run."""


class InsideRun(LoragitError):
    """loragit was started by a run of its own."""


class PreflightFailed(LoragitError):
    """There are reasons not to start. All of them are reported at once."""

    def __init__(self, name: RunName, findings: tuple[Finding, ...]) -> None:
        problems = text.count(len(findings), "problem")
        super().__init__(
            f"{name} was not started, nothing was written: {problems} found", findings=findings
        )


class Request(NamedTuple):
    """What the command line asks of ``train``."""

    name: RunName
    flags: Flags
    environ: Mapping[str, str]
    cwd: Path
    extra: tuple[str, ...] = ()
    """Arguments after ``--``, for the trainer."""
    bump: bool = False
    script: str | None = None
    """The user's own script, which runs in place of the trainer's; relative to ``cwd``."""
    from_script: str | None = None
    """The user's own script that started this run, to be recorded in place of ``train.sh``."""
    agree: Agree | None = None
    """Asks the user to agree to what the dataset's own files start and read; ``None`` where there
    is nobody to ask."""
    confirm: Callable[[str], bool] | None = None
    """Asks the user a question; ``None`` where there is nobody to ask."""
    config: str | None = None
    """A file of the trainer's arguments; relative to ``cwd``."""
    dataset_folders: tuple[str, ...] | None = None
    """Folders that are the dataset of the user's own script, relative to ``cwd``; empty where
    nothing of it is to be recorded, ``None`` where a dataset config names them."""

    @classmethod
    def parse(
        cls,
        name: str,
        flags: Flags,
        environ: Mapping[str, str],
        cwd: Path,
        extra: tuple[str, ...] = (),
        *,
        bump: bool = False,
        script: str | None = None,
        from_script: str | None = None,
        config: str | None = None,
        dataset_folders: tuple[str, ...] = (),
        no_dataset_config: bool = False,
    ) -> Request:
        """Raises :class:`OptionsConflict`, :class:`InsideRun`,
        :class:`~loragit.record.name.InvalidName`."""
        folders = dataset_folders if dataset_folders or no_dataset_config else None
        recorded = from_script if flags.trainer_script is None else flags.trainer_script
        if script is None:
            _refuse_dataset_folders(folders)
        else:
            other = "--from-script" if flags.trainer_script is None else "--trainer-script"
            _refuse_beside_script((other, recorded), ("--config", config))
        if running := environ.get("LORAGIT_RUN"):
            raise InsideRun(
                f"this is started by the run {text.shown(running)}, and would record it twice",
                hint="let the script start the trainer itself, or start the script without loragit "
                "train --script",
            )
        run = RunName.parse(name)
        # fmt: off
        return cls(
            run, flags, environ, cwd, extra, bump, script, from_script, config=config,
            dataset_folders=folders,
        )
        # fmt: on

    @property
    def home(self) -> str:
        """The home folder, which a record shows as ``~``."""
        return self.environ.get("HOME", "")

    @property
    def preset(self) -> Path | None:
        """The file of the trainer's arguments; ``None`` without one."""
        if self.config is None:
            return None
        return launch.without_dots(paths.expand_path(self.config, self.cwd, self.environ))

    @property
    def named_folders(self) -> tuple[Path, ...] | None:
        """``dataset_folders``, absolute."""
        if self.dataset_folders is None:
            return None
        return tuple(
            launch.without_dots(paths.expand_path(each, self.cwd, self.environ))
            for each in dict.fromkeys(self.dataset_folders)
        )

    @property
    def own_script(self) -> Path | None:
        """The user's own script, which runs or is only recorded; ``None`` without one."""
        written = self.script if self.script is not None else self.from_script
        if written is None:
            return None
        return launch.without_dots(paths.expand_path(written, self.cwd, self.environ))


def _refuse_beside_script(*options: tuple[str, str | None]) -> None:
    """Raise :class:`OptionsConflict` for options that say what runs, as ``--script`` does."""
    for option, given in options:
        if given is not None:
            raise OptionsConflict(
                f"--script and {option} cannot both be given", hint="--script says all of what runs"
            )


def _refuse_dataset_folders(folders: tuple[str, ...] | None) -> None:
    """Raise :class:`OptionsConflict` for a dataset named beside the trainer's own arguments."""
    if folders is not None:
        raise OptionsConflict(
            f"{'--dataset-folder' if folders else '--no-dataset-config'} is only for --script",
            hint="the trainer's own arguments say what it trains on: -- --train_data_dir DIR",
        )


class Launch(NamedTuple):
    """What is to be started, as far as the settings say, and the questions about it, which are
    under way."""

    request: Request
    settings: Settings
    own_script: Entry | None
    """As it will be recorded."""
    script: Path
    """The trainer's."""
    workdir: Path
    python: Path | None
    """The trainer's; ``None`` where it is missing, or where nobody agreed to start it."""
    questions: Questions


class Material(NamedTuple):
    """What was read and answered; ``None`` where a finding says why not."""

    environ: Mapping[str, str]
    """The trainer's environment."""
    plan: Plan | None
    output: Path
    """The run's output folder."""
    program: tuple[str, ...] | None
    """Launcher or Python, and the trainer's script; or the user's own script."""
    secrets: tuple[str, ...]
    """Those of the arguments and of the environment."""
    inputs: Inputs | None
    weights: Identified
    answers: Answers


class Startable(NamedTuple):
    """Nothing speaks against the run, but for secrets that its record may give away."""

    launch: Launch
    environ: Mapping[str, str]
    plan: Plan
    output: Path
    program: tuple[str, ...]
    secrets: tuple[str, ...]
    inputs: Inputs
    weights: Identified
    answers: Answers
    warnings: tuple[Finding, ...]


class Ready(NamedTuple):
    """A run that may start."""

    run: Run
    """As it will be recorded."""
    start: Start
    settings: Settings
    repository: Repository
    author: Identity
    committer: Identity
    environ: Mapping[str, str]
    """The trainer's environment."""
    warnings: tuple[Finding, ...]
    secrets: tuple[str, ...]
    """What must not reach the log or the record."""
    copies: tuple[Entry, ...]
    """What loragit itself puts into the output folder: the bytes that the trainer gets, where the
    record has ``***`` for a secret."""
    inputs: Inputs
    """The user's files as they were read."""
    hub_refs: tuple[HubRef, ...]

    def __repr__(self) -> str:
        """The name alone, for a traceback must not show a secret."""
        return f"Ready({str(self.run.name)!r})"

    @property
    def output(self) -> Path:
        return self.start.output
