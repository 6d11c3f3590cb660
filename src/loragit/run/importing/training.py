"""A past training, read and checked completely: text files, models, samples, events and times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.errors import Area, Findings
from loragit.record.values import DatasetFile, ModelFile
from loragit.run import results
from loragit.run.importing import headers as metadata
from loragit.run.importing import names, text_files
from loragit.run.importing.models import Models
from loragit.run.importing.search import Source
from loragit.run.importing.text_files import TextFiles
from loragit.run.results import CheckedModels, Logs, ModelReader
from loragit.trainers import kinds, losses, products
from loragit.trainers.losses import LogFolders
from loragit.trainers.safetensors import NotSafetensors
from loragit.trainers.trainer import Trainer, TrainingHeader

_STAMP = "%Y%m%d%H%M%S"
_APART = timedelta(hours=36)
"""Largest distance of a log folder's timestamp from the training: it is a local time of an unknown
zone."""


class TrainingTimes(NamedTuple):
    """Start and end of a training."""

    started: datetime
    """UTC."""
    finished: datetime
    guessed: tuple[str, ...]
    """``start``, ``end``: derived only from file times, which a copy does not preserve."""


class PastTraining(NamedTuple):
    """A past training, reconstructed from the files it left."""

    folder: Path
    name: str
    """Name of the folder or, for models without a record, the output name: the run's name unless
    another is given."""
    source: Path
    """The folder, or the file if there is only one."""
    text_files: TextFiles
    recorded: bool
    """Whether the folder is a run's own."""
    judged: CheckedModels
    trainer: Trainer
    """The one that made it, as the headers of its models say; otherwise the first of all."""
    trainings: tuple[TrainingHeader, ...]
    """Headers of the whole models that can be read, in order of saving."""
    header: Mapping[str, str]
    """Header of the last whole model; empty if there is none."""
    states: tuple[str, ...]
    state_weights: tuple[ModelFile, ...]
    samples: int
    sample_files: tuple[DatasetFile, ...]
    """The readable sample images."""
    final_loss: float | None
    span: TrainingTimes | None
    """``None`` if unknown; for models without a record, only their headers can give it."""
    others: tuple[str, ...]
    """Models in the same folder that another training made."""

    @property
    def made_something(self) -> bool:
        return bool(self.judged.models or self.judged.unreadable or self.states or self.samples)

    @property
    def sessions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.session for each in self.trainings if each.session))


def past_trainings(place: Source, models: Models, findings: Findings) -> tuple[PastTraining, ...]:
    """Return the trainings whose files lie at ``place``. Files that cannot be told apart or read
    become findings."""
    if place.models is None:
        return (_training_of_folder(place.folder, models),)
    found = []
    groups = _models_by_training(place, models, findings)
    for name, files, trainer in groups:
        starts = [each.started for each in _headers(place.folder, files, models) if each.started]
        alone = len(groups) == 1 and not place.beside_of(files)
        unnamed = alone and _is_unnamed(place.folder, files, trainer, models)
        output_name = None if unnamed else name
        remains = _TrainingReader(place.folder, name, trainer, models, output_name).remains(
            files,
            text_files.read_gui_files(place.folder, name, min(starts, default=None)),
            recorded=False,
        )
        source = place.folder / next(iter(files)) if len(files) == 1 else place.folder
        found.append(remains._replace(source=source, name=names.training_name(name, place.folder)))
    return tuple(found)


class _TrainingModels(NamedTuple):
    """The models that one training made."""

    name: str
    files: dict[str, str]
    """Output name, by file."""
    trainer: Trainer


def _training_of_folder(folder: Path, models: Models) -> PastTraining:
    """Read a run's own folder: its models are those with the folder's name, else those with the
    most common name."""
    trainings = {name: _header_of(folder / name, models) for name in _model_names(folder)}
    called = {name: _output_name(name, training) for name, training in trainings.items()}
    counts = sorted(
        set(called.values()), key=lambda each: (-list(called.values()).count(each), each)
    )
    own = folder.name if folder.name in counts else next(iter(counts), folder.name)
    sessions = {
        training.session for name, training in trainings.items() if training and called[name] == own
    }
    ours = {
        name: output_name
        for name, output_name in called.items()
        if output_name == own
        or ((training := trainings[name]) and training.session and training.session in sessions)
    }
    trainer = _trainer_of(trainings[name] for name in ours)
    remains = _TrainingReader(folder, own, trainer, models, own).remains(
        ours, text_files.read_text_files(folder), recorded=True
    )
    return remains._replace(name=folder.name, others=tuple(sorted(called.keys() - ours.keys())))


def _models_by_training(place: Source, models: Models, findings: Findings) -> list[_TrainingModels]:
    """Group models by training: those of one session belong together whatever their names; without
    a session, those of one output name, or of none. A model that was named stands for its whole
    training."""
    groups: dict[str, dict[str, str]] = {}
    for name in place.models or ():
        try:
            training = kinds.training_header(models.header(place.folder / name).metadata)
        except NotSafetensors as error:
            findings.add(error.message, error.hint, Area.OUTPUT)
            continue
        except OSError as error:
            findings.add(
                f"{place.folder / name} cannot be read: {error.strerror or error}",
                "see who owns it",
                Area.OUTPUT,
            )
            continue
        key, output_name = _group(name, training)
        groups.setdefault(key, {})[name] = output_name
    for name in place.beside:
        training_beside = _header_of(place.folder / name, models)
        if training_beside is not None:
            key, output_name = _group(name, training_beside)
            if key in groups:
                groups[key][name] = output_name
    found = []
    for files in groups.values():
        # If a training's files were renamed, use the name the training itself gave them.
        trainings = _headers(place.folder, files, models)
        named = next((each.output_name for each in trainings if each.output_name), None)
        named = named or next(iter(files.values()))
        found.append(_TrainingModels(named, files, _trainer_of(trainings)))
    return found


def _group(name: str, training: TrainingHeader) -> tuple[str, str]:
    """Return what tells the training of the model ``name`` from others, and its output name."""
    output_name = _output_name(name, training)
    unnamed = output_name in _trainer_of([training]).naming.default_names
    named = "" if unnamed and not training.output_name else output_name
    return (f"session {training.session}" if training.session else f"name {named}", output_name)


def _is_unnamed(folder: Path, files: Mapping[str, str], trainer: Trainer, models: Models) -> bool:
    """Whether the trainer was given no name for ``files``."""
    named = any(each.output_name for each in _headers(folder, files, models))
    return not named and set(files.values()) <= {*trainer.naming.default_names}


def _headers(folder: Path, files: Iterable[str], models: Models) -> list[TrainingHeader]:
    found = (_header_of(folder / name, models) for name in files)
    return [each for each in found if each is not None]


def _header_of(path: Path, models: Models) -> TrainingHeader | None:
    try:
        return (
            kinds.training_header(models.header(path).metadata)
            if path.suffix == ".safetensors"
            else None
        )
    except (NotSafetensors, OSError):
        return None


def _trainer_of(trainings: Iterable[TrainingHeader | None]) -> Trainer:
    return kinds.trainer_of(next((each.kind for each in trainings if each and each.kind), None))


def _output_name(file_name: str, training: TrainingHeader | None) -> str:
    """Return the output name of the training that wrote ``file_name``: the header's if the file is
    named after it."""
    name = training.output_name if training else None
    naming = _trainer_of([training]).naming
    if name and products.match_product(naming.model, file_name, name):
        return name
    match = products.match_product(naming.model, file_name, None)
    return match["name"] if match else file_name


def _model_names(folder: Path) -> tuple[str, ...]:
    """Return the names of files named like models, sorted."""
    namings = [each.naming.model for each in kinds.all_trainers() if each.importable]
    with suppress(OSError):
        names = sorted(path.name for path in folder.iterdir())
        return tuple(
            name
            for name in names
            if any(products.match_product(each, name, None) is not None for each in namings)
        )
    return ()


class _TrainingReader:
    """Reads the rest of a training: what it called its files, if the trainer was given a name."""

    def __init__(
        self,
        folder: Path,
        name: str,
        trainer: Trainer,
        models: Models,
        output_name: str | None,
    ) -> None:
        self._folder = folder
        self._name = name
        self._output_name = output_name
        self._trainer = trainer
        self._models = models

    def remains(
        self, files: Mapping[str, str], found: TextFiles, *, recorded: bool
    ) -> PastTraining:
        folder = self._folder
        reading = ModelReader(self._models.header, self._models.hashes)
        naming = self._trainer.naming.model
        named = {file: products.match_product(naming, file, name) for file, name in files.items()}
        judged = results.checked_models(folder, named, self._trainer, reading)
        readable = [model.path for model in judged.models if model.path.endswith(".safetensors")]
        headers = [self._models.header(folder / path).metadata for path in readable]
        trainings = tuple(map(kinds.training_header, headers))
        states = results.states(folder, self._output_name, self._trainer.naming)
        samples = results.sample_paths(folder, self._output_name, self._trainer.naming)
        span = self._span(
            trainings, [*files, *states], recorded=recorded, told=any(map(_tells, headers))
        )
        return PastTraining(
            folder=folder,
            name=self._name,
            source=folder,
            text_files=found,
            recorded=recorded,
            judged=judged,
            trainer=self._trainer,
            trainings=trainings,
            header=headers[-1] if headers else {},
            states=states,
            state_weights=results.state_weights(folder, states, self._trainer, reading),
            samples=len(samples),
            sample_files=results.hashed_files(folder, samples),
            final_loss=self._final_loss(span),
            span=span,
            others=(),
        )

    def _span(
        self,
        trainings: Iterable[TrainingHeader],
        products: list[str],
        *,
        recorded: bool,
        told: bool,
    ) -> TrainingTimes | None:
        """Headers are the best source; among files, the oldest written before the training, and the
        newest product. Of models without a record the files' times count where a header tells
        anything at all (``told``): several trainers write no date into it."""
        starts = [training.started for training in trainings if training.started]
        ends = [training.finished for training in trainings if training.finished]
        guessed = (*(() if starts else ("start",)), *(() if ends else ("end",)))
        if not recorded:
            known = [*starts, *ends] or (self._times(products) if told else [])
            return TrainingTimes(min(known), max(known), guessed) if known else None
        ends = (
            ends
            or self._times([*products, *self._trainer.naming.sample.folders, "sdscripts.log"])
            or self._times(["."])
        )
        if not ends:
            return None
        finished = max([*ends, *starts])
        starts = (
            starts
            or self._times(["repos.git"])
            or self._times(["config.toml", "config.json", "sdscripts.log"])
        )
        started = min([*starts, finished])
        return TrainingTimes(started, finished, guessed)

    def _times(self, names: Iterable[str]) -> list[datetime]:
        """Return the modification time of each of ``names``."""
        times = []
        for name in names:
            with suppress(OSError, OverflowError):
                times.append(datetime.fromtimestamp((self._folder / name).stat().st_mtime, UTC))
        return times

    def _final_loss(self, span: TrainingTimes | None) -> float | None:
        """Return the final loss from log folders with the training's name and time, in a ``logs``
        folder near its output folder."""
        if span is None:
            return None
        near = (self._folder.parent, self._folder, self._folder.parent.parent)
        for parent in (folder / "logs" for folder in near):
            for name in dict.fromkeys((self._folder.name, self._name)):
                for prefix in (f"{name}-", f"{name}_"):
                    where = LogFolders(parent, prefix)
                    there = losses.log_folders(where, self._trainer.losses)
                    others = frozenset(
                        each for each in there if not _of_time(each.removeprefix(prefix), span)
                    )
                    loss = (
                        results.logged_loss(self._folder, Logs(where, others), self._trainer.losses)
                        if there - others
                        else None
                    )
                    if loss is not None:
                        return loss
        return None


def _tells(header: Mapping[str, str]) -> bool:
    """Whether a header says more than the format of its tensors."""
    return any(key != "format" for key in header)


def _of_time(stamp: str, span: TrainingTimes) -> bool:
    try:
        moment = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return False
    return span.started - _APART <= moment <= span.finished + _APART


def metadata_file(remains: PastTraining) -> metadata.MetadataFile | None:
    """Return ``metadata.toml`` of the last whole model, and what was cut from it."""
    last = next(
        (
            model.path
            for model in reversed(remains.judged.models)
            if model.path.endswith(".safetensors")
        ),
        "",
    )
    return metadata.metadata_toml(remains.header, last) if remains.header else None


def missing(remains: PastTraining) -> tuple[str, ...]:
    """Return the parts of a full record that cannot be recovered, in the order of
    docs/record-format.md."""
    found = remains.text_files
    known = remains.trainings
    repositories = {name for name, _ in found.sha1s}
    lost = [*found.missing] if remains.recorded else ["config.toml", "script"]
    if not found.has_prompts and (remains.samples or "Prompts-SHA1" in repositories):
        lost.append("sample-prompts")
    lost += (
        [f"{what} (told by the times of the files)" for what in remains.span.guessed]
        if remains.span
        else []
    )
    if not any(weights.sha256 for training in known for weights in training.weights):
        lost.append("weights")
    always = (
        "command",
        "captions",
        "dataset.sha256",
        "dataset commit",
        "environment.txt",
        "exit status",
    )
    return tuple(text.shown(what) for what in (*lost, *always))
