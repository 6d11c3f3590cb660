"""What loragit asks of a trainer, and the values that cross this border.

A trainer is a frozen value that answers :class:`Trainer`; :mod:`loragit.trainers.kinds` finds it by
the ``trainer.kind`` of the settings. docs/trainers.md tells how one is written, and how each of the
trainers that people use fits.

There is no "exits 0 when it is interrupted" here, though several do: loragit knows which signals it
passed on, and believes no exit status. There is no "takes up an old output folder" either: an
output folder that exists already is refused, whatever the trainer would make of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from loragit.errors import Finding
from loragit.record.values import Weights
from loragit.secrets.find import SecretArgument
from loragit.trainers.arguments import Arguments, Value
from loragit.trainers.disk_need import Need, PastRun
from loragit.trainers.losses import LogFolders, LossSource
from loragit.trainers.products import Naming

if TYPE_CHECKING:
    from loragit.dataset.file_kinds import FileKinds
    from loragit.dataset.used_files import CaptionProblem, UsedFiles


_STAMP = re.compile(
    r"(?:.*\()?loragit: (?P<name>\S+) (?P<commit>[0-9a-f]{40}|[0-9a-f]{64})\)?", re.DOTALL
)


class CheckoutSigns(NamedTuple):
    """How a checkout of a trainer is recognised, and where to look for one."""

    landmarks: tuple[str, ...]
    """Files that every checkout holds, and no other folder all of them."""
    names: tuple[str, ...]
    """How the names of its folders begin; the first is the usual one."""
    folders: tuple[str, ...]
    """Where else it lies, relative to the home folder."""
    environments: tuple[str, ...]
    """What people call the conda environment that they make for it, in lower case, the most
    probable first."""
    environment_names: tuple[str, ...]
    """How such names begin otherwise, the most probable first."""
    url: str
    """Where to clone it from."""

    def recognises(self, folder: Path) -> bool:
        """Whether ``folder`` holds a checkout."""
        return all(os.path.isfile(folder / each) for each in self.landmarks)


class Defaults(NamedTuple):
    """Where a run's inputs lie unless an argument says otherwise."""

    name: str
    """The run's."""
    config: Path
    """Where the settings say that the config is, or where it usually is."""
    config_set: bool
    """Whether any setting says so."""
    prompts: Path | None
    workdir: Path
    """What relative paths in arguments are relative to."""
    preset: Path | None = None
    """A file of arguments that was named for this run alone."""
    script: str = ""
    """The trainer's script, as the settings have it; empty where it does not matter."""
    repo: Path | None = None
    """The trainer's repository; ``None`` where the script need not be looked into."""
    cache: Path | None = None
    """A folder for what need not be read twice."""


def with_every_plugin(module: str) -> bool:
    """Take the trainer's Python to have ``module``: nobody asked it."""
    return bool(module)


class DatasetPlace(NamedTuple):
    """What :meth:`Trainer.dataset` needs to know of the run beside its plan."""

    workdir: Path
    """What relative paths are relative to."""
    root: Path
    """The dataset's folder."""
    repo: Path | None = None
    """The trainer's repository; ``None`` where it need not be looked into."""
    can_import: Callable[[str], bool] = with_every_plugin
    """Whether the trainer's Python finds a module, of those of :attr:`Trainer.plugins`."""
    script: str = ""
    """The trainer's script, as the settings have it."""
    folders: tuple[Path, ...] | None = None
    """What the user names in place of all that arguments and dataset config would, for a script of
    their own; absolute."""


class HubName(NamedTuple):
    """A model's name on a hub (Hugging Face)."""

    id: str
    """``owner/name``."""
    revision: str = "main"
    """A branch, a tag or a commit."""
    kind: str = "model"
    """``model``, ``dataset`` or ``space``."""
    downloads: bool = True
    """Whether the trainer downloads what the hub's cache lacks."""


class NamedWeights(NamedTuple):
    """Weights that an argument names, and what they may be for the trainer to load them."""

    argument: str
    """Without dashes."""
    role: str
    """The trailer that names them: ``Base-Model``."""
    value: str
    """As given."""
    file: bool = True
    """Whether they may be a file."""
    folder: tuple[str, ...] = ()
    """Files of which a folder must hold one, ``.`` where any folder will do; empty where it cannot
    be a folder."""
    hub: HubName | None = None
    """What the value names where there is no such path."""
    shards: tuple[str, ...] = ()
    """The files that a file of that name stands for, where it is one of several."""
    reads_link: bool = False
    """Whether the trainer reads the target of a link, and takes it as relative to the folder that
    it runs in, where the system takes it as relative to the link."""


class Plan(NamedTuple):
    """What the user asked of the trainer, with the paths resolved that loragit answers for."""

    arguments: Arguments
    """What is passed on as it is."""
    effective: Arguments
    """What the trainer will go by: with the arguments that it reads from a file."""
    output_name: str
    """How the models' names begin."""
    config: Path | None
    """The file that names the dataset; for some trainers it holds all other settings as well.
    ``None`` where arguments name the dataset."""
    prompts: Path | None
    output: Path | None
    """The run's output folder, where an argument names it."""
    steps: int | None
    """Where an argument names them."""
    epochs: str | None
    """Where they decide the length, whatever the steps are."""
    network_module: str | None
    """The Python module of the network that is trained, where the trainer imports one by name."""
    logs: LogFolders | None
    weights: tuple[NamedWeights, ...]
    """In the order in which they go on record."""
    inputs: tuple[tuple[str, Path], ...]
    """Further files whose bytes belong to the record, each with the argument that names it."""
    warnings: tuple[str, ...]
    written: Mapping[Path, bytes] = MappingProxyType({})
    """Those of ``inputs`` that are made for the trainer and that no disk holds yet."""
    findings: tuple[Finding, ...] = ()
    """What the trainer's script would refuse."""
    takes: frozenset[str] | None = None
    """Options that the script takes; ``None`` where that is not known."""
    defaults: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """The script's own values of telling arguments that nobody gave, where they are known."""


class Copies(NamedTuple):
    """The recorded copies that the trainer is pointed at."""

    config: str | None
    prompts: str | None
    output: str
    inputs: Mapping[Path, str]
    """Copy of each input, by the file it was made of."""


class Job(NamedTuple):
    """What a run adds to the user's plan."""

    copies: Copies
    steps: int
    stamp: str
    """What the models are to carry of their run: ``loragit: NAME COMMIT``, or without the commit in
    what is itself on record."""


class TrainingHeader(NamedTuple):
    """What a model's header tells of the training that made it; ``None`` where it does not, or not
    in a form that can be believed."""

    output_name: str | None
    session: str | None
    """What the trainer tells its trainings apart by."""
    identity: str | None
    """What tells this training from every other one, for the record: ``Session:`` of an outcome."""
    started: datetime | None
    """UTC."""
    finished: datetime | None
    """UTC: when this file was saved."""
    commit: str | None
    """The trainer's, 40 hex digits."""
    steps: int | None
    """How many the training was to have."""
    network: str | None
    weights: tuple[Weights, ...]
    stamp: str
    """The text in which loragit's own stamp would stand; empty for none."""
    changes: tuple[str, ...] = ()
    """What tools of the trainer say they did to the model since, the last change first."""
    merged_from: tuple[str, ...] = ()
    """Titles of the models that it was merged from."""
    arguments: Arguments = Arguments({})
    """Those that it tells of, with the values that counted."""
    kind: str | None = None
    """The trainer that knows the header for its own; :mod:`loragit.trainers.kinds` fills it in."""

    @property
    def made_by(self) -> str | None:
        """The commit of the run, where loragit's own stamp names one."""
        match = _STAMP.fullmatch(self.stamp)
        return match["commit"] if match else None


UNKNOWN = TrainingHeader(None, None, None, None, None, None, None, None, (), "")
"""What a header tells that no trainer knows for its own."""


class ModelFamily(NamedTuple):
    """A kind of base model."""

    name: str
    """What people call it: ``SDXL``."""
    script: str
    """The script that trains adapters for it."""
    side: int
    """Pixels that it was made for."""


class SavedAt(NamedTuple):
    """When in a training a model was saved, as far as is known."""

    step: int | None
    epoch: int | None
    """Counted from 1: the epoch that was running (a step file) or that was complete (others)."""


class Trainer(Protocol):
    """A trainer: what it reads, how it is started, what it writes, and what its words mean.

    Nothing here writes, and only :meth:`plan` and :meth:`dataset` read files of the user's.
    """

    kind: str
    """As in ``trainer.kind``, and as people call it."""
    scripts: tuple[str, ...]
    """Its scripts that train, relative to its repository, the one that is meant most often
    first."""
    checkout: CheckoutSigns
    importable: bool
    """Whether ``loragit import`` can take up its trainings of before loragit: their models lie in
    the output folder itself, and their headers tell name, time and session."""
    takes_first_files: bool
    """Whether the dataset config, prompts and arguments that ``loragit init`` can write are in a
    form that it takes; for any other trainer, init writes none."""
    needs: tuple[str, ...]
    """Packages without which it does not begin."""
    own_folder: bool
    """Whether it must be started in its own repository, whatever ``trainer.workdir`` says."""
    names_config: str
    """How a command line names the config (:attr:`Plan.config`): ``--dataset_config PATH``."""
    weights: Mapping[str, str]
    """Arguments that name weights a run starts from, and the role of each."""
    arguments_file: str | None
    """The argument that names a file with further arguments."""
    per_run: frozenset[str]
    """Arguments that loragit makes of the run's name and folder: no two runs share them."""
    secret_arguments: tuple[SecretArgument, ...]
    """Arguments that hold a secret. :func:`~loragit.secrets.rules.is_secret_name` must know each by
    its name as well, since settings and other files are searched by that alone."""
    not_in_settings: Mapping[str, str]
    """Those that settings must not hold, since they would be the same for every run, each with what
    to do instead."""
    telling: tuple[str, ...]
    """Arguments that people look for first."""
    defaults: Mapping[str, str] = MappingProxyType({})
    """What a header says of arguments that nobody gave, by name."""
    header_keys: tuple[tuple[str, str], ...]
    """(what to call it, key) of what a model's header tells people."""
    naming: Naming
    files: FileKinds
    """Which files of a dataset it reads, and which it caches there."""
    losses: LossSource

    plugins: tuple[str, ...]
    """Modules on which it depends which files it takes for images."""

    def plan(
        self, settings: Arguments, command: Arguments, defaults: Defaults, *, own_script: bool
    ) -> Plan:
        """Read the user's arguments, and the files that hold further ones: those of ``settings``,
        and the stronger ones of the ``command`` line, with the files that each names.

        ``own_script``: the user named another script, which may take words that this trainer does
        not know. Raises :class:`~loragit.trainers.arguments.BadArgument`,
        :class:`~loragit.dataset.snapshot.CannotReadInput`.
        """
        ...

    def dataset(self, plan: Plan, place: DatasetPlace) -> UsedFiles:
        """Return the files of the dataset that it will read. Raises
        :class:`~loragit.dataset.inputs.CannotReadInput`."""
        ...

    def caption_problem(self, data: bytes) -> CaptionProblem | None:
        """What is wrong with the caption file ``data``; ``None`` for nothing."""
        ...

    def prompts_problem(self, suffix: str, content: object) -> str | None:
        """Why it would stop at sample prompts in TOML or JSON (``suffix``), whose parsed content is
        given; what they "are" or "have"."""
        ...

    def modules(self, effective: Arguments) -> tuple[str, ...]:
        """Python modules, dotted, that it imports because an argument names them, or what is in
        them: what they hold is code that no commit of the trainer's tells."""
        ...

    def missing_modules(
        self,
        effective: Arguments,
        missing: tuple[str, ...],
        folder: Path,
        packages: Iterable[str],
    ) -> tuple[Finding, ...]:
        """What to say of those of :meth:`modules` that its Python does not find. ``folder`` is that
        of its script; ``packages`` are lines of ``environment.txt``."""
        ...

    def family(self, base_model: Path) -> ModelFamily | None:
        """What kind of base model a file is; ``None`` where nothing tells."""
        ...

    def words(self, plan: Plan, workdir: Path, job: Job) -> tuple[str, ...]:
        """Arguments for the trainer's script: the user's, pointed at the copies, then loragit's."""
        ...

    def config_copy(self, plan: Plan, data: bytes, job: Job) -> bytes:
        """What the trainer gets in place of ``data``, the bytes of ``plan.config``: with the run's
        name, folder and copies at the keys that say so, where no argument can."""
        ...

    def reaches(self, name: str, value: Value) -> bool:
        """Whether the argument could do more than change how well a training goes: load code, read
        or write files of anybody's choice, send things. ``name`` is as settings have it."""
        ...

    def training_header(self, metadata: Mapping[str, str]) -> TrainingHeader | None:
        """What the header of a model tells; ``None`` where another trainer wrote it."""
        ...

    def saved_at(self, metadata: Mapping[str, str], named: SavedAt) -> SavedAt:
        """When a model was saved, by its header and by its file's name (``named``)."""
        ...

    def steps_per_epoch(self, dataset: UsedFiles, given: Arguments) -> int | None:
        """Steps of an epoch; ``None`` where it cannot be told."""
        ...

    def steps(self, given: Arguments, steps: int, per_epoch: int | None) -> int:
        """Steps of a run that is to have ``steps``, unless the arguments say epochs."""
        ...

    def need(
        self,
        given: Arguments,
        script: str,
        steps: int,
        per_epoch: int | None,
        past: tuple[PastRun, ...],
    ) -> Need:
        """What the models and states of a run of ``steps`` steps will need on the disk, at most;
        ``past``: earlier runs, newest first."""
        ...
