"""What a run is, what it was made of and what came out, as values. No file is opened here.

Their text forms are in :mod:`loragit.record.message` and :mod:`loragit.record.run_toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from loragit.record.name import RunName

FORMAT = 1
"""Version of the record's format (``Loragit-Format``)."""


class Identity(NamedTuple):
    """Who writes, and when, as git puts it into a commit."""

    name: str
    email: str
    time: int
    """Seconds since 1970, UTC."""
    offset: int
    """Minutes east of UTC."""

    def at(self, time: int) -> Identity:
        """Return the same person at another moment."""
        return self._replace(time=time)


class HiddenChange(NamedTuple):
    """A change that ``git status`` does not show."""

    path: str
    """Relative to the repository; a folder's ends with ``/``."""
    why: str
    """Why it is not shown, or counts all the same, in a few words."""


class RepoState(NamedTuple):
    """A repository of code (the trainer, LyCORIS, a further one) as it was when git was asked."""

    label: str
    """What people call it: ``sd-scripts``, ``LyCORIS``, or the name of its folder."""
    path: Path
    """Its top-level folder, absolute."""
    commit: str
    """HEAD, as 40 (or 64) hex digits."""
    branch: str | None
    """Name of the branch; ``None`` if HEAD is detached."""
    url: str | None
    """Of the branch's remote, else ``origin``, else the first; without credentials. ``None``
    without a remote."""
    dirty: tuple[str, ...] = ()
    """Paths, relative to ``path``, that differ from HEAD, or that are untracked but importable by a
    trainer."""
    on_remote: bool = True
    """Whether any remote-tracking branch contains ``commit``."""
    hidden: tuple[HiddenChange, ...] = ()
    """Those of ``dirty`` that ``git status`` does not show."""


class LyCORIS(NamedTuple):
    """LyCORIS as the trainer's own Python finds it. All ``None`` if it is not installed."""

    repo: RepoState | None = None
    """The repository that tracks the package, if there is one."""
    commit: str | None = None
    """From the repository, or from the distribution's ``direct_url.json``."""
    url: str | None = None
    version: str | None = None
    editable: bool = False

    @property
    def installed(self) -> bool:
        return self.repo is not None or self.commit is not None or self.version is not None


class Environment(NamedTuple):
    """The trainer's Python and the machine."""

    python: str
    """Version, as in ``3.11.7``."""
    executable: str
    packages: tuple[str, ...]
    """``name==version`` or ``name @ commit``, sorted."""
    platform: str
    gpus: tuple[str, ...]
    """Names of the graphics cards; empty if none was found."""
    driver: str | None
    """Version of the NVIDIA driver."""


class Weights(NamedTuple):
    """Weights that a run starts from."""

    role: str
    """The trailer that names it: ``Base-Model``, ``VAE``, ``Network-Weights``, …"""
    name: str
    """Name of the file or folder, or id on a hub."""
    sha256: str | None
    """Of the whole file, 64 hex digits; ``None`` for a folder or an id on a hub."""
    files_sha256: str | None = None
    """Of a folder, or of a file in several parts: SHA-256 of what ``sha256sum`` prints of its
    files."""
    revision: str | None = None
    """Of an id on a hub: the commit that its cache held, 40 hex digits."""

    @property
    def identity(self) -> str | None:
        """What tells them from others of the same name, where it is known."""
        return self.sha256 or self.files_sha256 or self.revision


class Ancestor(NamedTuple):
    """A run that another one continues or starts from."""

    run: str
    commit: str
    product: str
    """Its product that the other one starts with, as the trainer called it: a state's folder, or a
    model."""
    resumed: bool
    """Whether its training continues, from a state; else only its weights are used."""


class Entry(NamedTuple):
    """One file of a record's tree."""

    path: str
    """Relative to the record's root, ``/`` between parts: ``config.toml``,
    ``captions/img/00.txt``."""
    data: bytes
    executable: bool = False


class DatasetFile(NamedTuple):
    """A file of the dataset that goes into a run, or a sample image that came out of it."""

    path: str
    """Relative to the dataset's folder (may begin with ``../``) or to the output folder, ``/``
    between parts."""
    sha256: str
    """64 hex digits."""


class Run(NamedTuple):
    """All that is known of a run when it is opened."""

    name: RunName
    dataset: str
    """Name of the dataset: its folder's."""
    prefix: str
    """The dataset's folder relative to its repository, ``/`` between parts; empty at the top."""
    steps: int
    epochs: str | None
    """Given if ``--max_train_epochs`` decides the length instead of ``steps``."""
    trainer: RepoState
    trainer_kind: str
    trainer_script: str
    """Relative to the trainer's repository if it lies in it, else absolute."""
    lycoris: LyCORIS
    dataset_commit: str | None
    """HEAD of the dataset's repository; ``None`` before its first commit."""
    dataset_dirty: int
    """Files below the dataset's folder that differ from ``dataset_commit``."""
    images: int
    captions: int
    argv: tuple[str, ...]
    """The command as it is recorded: secrets ``***``, the home folder ``~``."""
    workdir: str
    weights: tuple[Weights, ...]
    config: str | None
    """Path of the dataset config in the record; ``None`` where arguments name the dataset."""
    prompts: str | None
    """Path of the sample prompts in the record."""
    script: str
    """Path of the script in the record."""
    entries: tuple[Entry, ...]
    """Every file of the record except ``run.toml`` and those in ``reused_trees``."""
    repositories: tuple[RepoState, ...] = ()
    """Further repositories that the user wants on record."""
    redacted: tuple[str, ...] = ()
    """Paths of the entries with ``***`` in the place of a secret that the trainer's copy has,
    sorted."""
    ancestors: tuple[Ancestor, ...] = ()
    """Runs that this one continues or starts from."""
    reused_trees: tuple[tuple[str, str], ...] = ()
    """(path, id of a tree): folders that are on ``runs`` already, with the same bytes."""
    arguments: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """The trainer's arguments that counted, wherever they came from, by name; a flag has no value.
    Without those that differ from run to run. Empty where the user's own script ran."""
    defaults: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """The trainer's own values of arguments that were not given, as far as they are known."""

    def entry(self, path: str) -> Entry | None:
        """Return the file at ``path`` in the record; ``None`` if there is none."""
        return next((entry for entry in self.entries if entry.path == path), None)


class ModelFile(NamedTuple):
    """One whole model that the trainer wrote."""

    path: str
    """Relative to the output folder."""
    size: int
    """Bytes."""
    sha256: str
    """Of the whole file, 64 hex digits."""
    payload_sha256: str | None
    """Of everything after the safetensors header; ``None`` for other formats."""
    step: int | None
    """Training step at which it was saved, if its header or its name says so."""
    epoch: int | None


class Opened(NamedTuple):
    """A run on record whose outcome is still to come."""

    name: RunName
    subject: str
    """Of its commit."""
    dataset: str
    """Name of the dataset."""
    prefix: str
    """The dataset's folder in its repository; empty at the top."""
    commit: str
    """The run's commit on ``runs``."""


class Outcome(NamedTuple):
    """What a run left when the trainer had ended."""

    exit_status: int | None
    """As a shell reports it: 128 + n if signal n ended the trainer. ``None`` if nobody knows: for
    an imported run, and if loragit was gone before the trainer ended."""
    started: datetime
    """UTC."""
    finished: datetime
    """UTC."""
    output: str
    """The output folder; the home folder written ``~``."""
    models: tuple[ModelFile, ...] = ()
    """Whole models, in order of step, the final one last."""
    truncated: tuple[str, ...] = ()
    """Models that were cut short, relative to the output folder."""
    unreadable: tuple[str, ...] = ()
    """Models that could not be read, so that nobody knows whether they are whole."""
    states: tuple[str, ...] = ()
    """Folders of training state, relative to the output folder."""
    state_weights: tuple[ModelFile, ...] = ()
    """Whole files of weights in them."""
    samples: int = 0
    """Sample images and videos."""
    others: int | None = None
    """Files in the output folder that are none of these and that loragit did not put there: of a
    run of the user's own script, any of them may be what it was for. ``None`` for other runs."""
    sample_files: tuple[DatasetFile, ...] = ()
    """The sample images that could be read, relative to the output folder."""
    prompts: Entry | None = None
    """The sample prompts at the end, redacted, if somebody edited the trainer's copy while it
    trained."""
    session: str | None = None
    """What the models say of their training: ``<ss_session_id> <ss_training_started_at>``."""
    interrupted_by: str | None = None
    """Name of the signal that loragit was sent while the trainer ran, as in ``SIGINT``; ``crash``
    if loragit was gone."""
    recovered: datetime | None = None
    """When ``loragit recover`` finished it, UTC; ``None`` if the loragit that opened it did."""
    final_loss: float | None = None
    """Last ``loss/average`` of the TensorBoard events, else last ``loss/current``, else that of the
    trainer's last progress bar."""

    weights: tuple[Weights, ...] = ()
    """Those from a hub, at the revision that its cache held at the end."""

    @property
    def made_something(self) -> bool:
        """Whether there is, or may be, a product: a whole model, a state or a sample; of the user's
        own script, any file."""
        products = self.models or self.states or self.samples or self.unreadable
        return bool(products or self.others or (self.others is not None and self.truncated))

    @property
    def seconds(self) -> int:
        """Duration in whole seconds; 0 if the clock went back meanwhile."""
        return max(0, round((self.finished - self.started).total_seconds()))


class ImportedCode(NamedTuple):
    """A repository of code, as far as what an old training left says."""

    label: str
    """The folder's name."""
    commit: str
    """40 (or 64) hex digits."""
    branch: str | None


class Imported(NamedTuple):
    """A run that loragit did not start, put together from what it left; nothing is made up."""

    name: RunName
    dataset: str
    prefix: str
    """As in :class:`Run`."""
    steps: int | None
    """From the name, else the number that the training was given, as the header of a model says."""
    kind: str
    """The trainer's, as in ``trainer.kind``."""
    trainer: ImportedCode | None
    lycoris: ImportedCode | None
    others: tuple[ImportedCode, ...]
    """Further repositories."""
    weights: tuple[Weights, ...]
    network: str | None
    """``lycoris.kohya dim=4 alpha=2.0``."""
    sessions: tuple[str, ...]
    """``ss_session_id`` of its models: a random number that sd-scripts gives each training."""
    sha1s: tuple[tuple[str, str], ...]
    """(trailer, SHA-1) of config, prompts and script, as they are in the record or as the old
    record says."""
    entries: tuple[Entry, ...]
    """Every file of the record except ``run.toml``."""
    source: str
    """Where it lay; the home folder written ``~``."""
    missing: tuple[str, ...]
    """What a full record would have and this one lacks."""
    redacted: tuple[str, ...]
    """Files of the record that were redacted."""
    outcome: Outcome
    arguments: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """The trainer's, as far as the header of a model tells them; a flag has no value."""
