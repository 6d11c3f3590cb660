"""The files a run is made of, read once: config, prompts, further inputs, the dataset."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import parse
from loragit.dataset import inputs, snapshot, whole_folders
from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.hashes import HashCache
from loragit.dataset.inputs import CannotReadInput
from loragit.dataset.snapshot import Dataset, DatasetReader, RecordedDataset
from loragit.dataset.used_files import CaptionProblem, UsedFiles
from loragit.errors import Area, Findings
from loragit.record.values import Entry
from loragit.run.preflight import trust
from loragit.settings.values import Settings
from loragit.trainers import kinds
from loragit.trainers.trainer import DatasetPlace, Plan, Trainer

_MAX_INPUTS = 1 << 29
"""Bytes of all further inputs together: they are held in memory, and a cloned dataset may name any
number."""

_NOTHING_RECORDED = (
    "with --no-dataset-config, nothing of the dataset is on record but what record.inputs names"
)


class Inputs(NamedTuple):
    """What was read."""

    config: Entry | None
    prompts: Entry | None
    further: tuple[tuple[Path, Entry], ...]
    """(file, its place in the record)."""
    dataset: Dataset
    used: UsedFiles
    warnings: tuple[str, ...]
    sources: Mapping[str, Path]
    """The file that it was read from, by path in the record; for captions see ``dataset``."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The files of the record that were read, but for the dataset's."""
        return (
            *([self.config] if self.config else []),
            *([self.prompts] if self.prompts else []),
            *(entry for _, entry in self.further),
        )

    def outside(self, plan: Plan, folder: Path) -> trust.Subject:
        """What lies outside of the dataset's repository and was read because its own files say so;
        often nothing."""
        naming = plan.config or next(iter(self.used.files), None)
        if naming is None or trust.foreign_origin(folder) is None:
            return trust.Subject(folder, ())
        folders = [real for _, real in self.dataset.folders]
        return trust.subject_of_inputs(
            folder, naming, self.used.files, folders, self.sources.values()
        )


def read_inputs(
    plan: Plan,
    chosen: Settings,
    place: DatasetPlace,
    recorded: RecordedDataset,
    cache: HashCache,
    findings: Findings,
) -> Inputs | None:
    """Everything, or ``None`` where ``findings`` tell what is missing, unreadable or does not
    parse."""
    ask = findings.ask
    trainer = kinds.trainer_of(chosen.trainer.kind)
    used = ask(lambda: _used_files(plan, trainer, place), Area.DATASET)
    prompts = _read_prompts_if_any(plan, trainer, findings)
    further = _read_further(
        (*(p for _, p in plan.inputs), *(used.files if used else ()), *chosen.record.inputs),
        {**plan.written, **(used.files if used else {})},
        findings,
    )
    if used is None:
        return None
    reader = _reader(trainer, place)
    dataset = ask(
        lambda: snapshot.read_dataset(used, reader, recorded, place.root, cache), Area.DATASET
    )
    for finding in (*used.findings, *(dataset.findings if dataset else ())):
        findings.add(*finding)
    if dataset is None:
        return None
    config = Entry(f"config{used.config.suffix}", used.config.data) if used.config else None
    sources = [(entry, path) for path, entry in further if path not in plan.written]
    sources += [(config, used.config.path)] if config and used.config else []
    sources += [(prompts, plan.prompts)] if prompts and plan.prompts else []
    return Inputs(
        config,
        prompts,
        further,
        dataset,
        used,
        (*used.warnings, *dataset.warnings, *_prompts_warnings(plan.prompts, prompts)),
        {entry.path: path for entry, path in sources},
    )


def _reader(trainer: Trainer, place: DatasetPlace) -> DatasetReader:
    return trainer if place.folders is None else _UnknownTrainer(trainer)


class _UnknownTrainer(NamedTuple):
    """A trainer that a script of the user's own starts: what stops the configured one may be right
    for that."""

    configured: Trainer

    @property
    def files(self) -> FileKinds:
        return self.configured.files

    def caption_problem(self, data: bytes) -> CaptionProblem | None:
        problem = self.configured.caption_problem(data)
        return problem and problem._replace(stops=False)


def _used_files(plan: Plan, trainer: Trainer, place: DatasetPlace) -> UsedFiles:
    if place.folders is not None:
        used = whole_folders.used_files(place.folders, trainer.files)
        return used if place.folders else used._replace(warnings=(_NOTHING_RECORDED,))
    if plan.config is not None and not os.path.lexists(plan.config):
        raise CannotReadInput(
            f"there is no dataset config {plan.config}",
            hint=f"write one there, or name another: -- {trainer.names_config}",
        )
    return trainer.dataset(plan, place)


def _read_prompts_if_any(plan: Plan, trainer: Trainer, findings: Findings) -> Entry | None:
    path = plan.prompts
    # A script that nobody understands may read them in its own way.
    known = trainer if plan.takes is not None else None
    return None if path is None else findings.ask(lambda: _read_prompts(path, known), Area.DATASET)


def _read_prompts(path: Path, trainer: Trainer | None) -> Entry:
    if not os.path.lexists(path):
        raise CannotReadInput(
            f"there are no sample prompts {path}",
            hint='write them there, or set paths.prompts = "" to train without samples',
        )
    data = inputs.read_input(path, "sample prompts")
    suffix = path.suffix.lower()
    if suffix in (".toml", ".json"):
        content = _parsed_prompts(path, data, suffix)
        problem = trainer.prompts_problem(suffix, content) if trainer else None
        if problem is not None:
            raise CannotReadInput(
                f"the sample prompts {path} {problem}",
                hint="the trainer would stop at its first sample; correct them",
            )
    else:
        suffix = ".txt"
        if not data.startswith(codecs.BOM_UTF8):
            inputs.read_text(path, data, "sample prompts")
    return Entry("sample-prompts" + suffix, data)


def _parsed_prompts(path: Path, data: bytes, suffix: str) -> object:
    if suffix == ".toml":
        return inputs.parse_input(path, data, "sample prompts")
    try:
        return parse.read_json(inputs.read_text(path, data, "sample prompts"))
    except ValueError as error:
        raise CannotReadInput(f"the sample prompts {path} do not parse: {error}") from error


def _prompts_warnings(path: Path | None, prompts: Entry | None) -> Iterator[str]:
    if prompts is not None and prompts.data.startswith(codecs.BOM_UTF8):
        yield (
            f"the sample prompts {path} begin with a byte order mark (BOM), which becomes part of "
            "the first prompt"
        )


def _read_further(
    paths: Iterable[Path], known: Mapping[Path, bytes], findings: Findings
) -> tuple[tuple[Path, Entry], ...]:
    """Each file once, at ``inputs/<file name>``. The bytes of ``known`` are not read again."""
    files: dict[Path, Entry] = {}
    taken: set[str] = set()
    left = _MAX_INPUTS
    for path in dict.fromkeys(paths):
        data = known.get(path)
        if data is None:
            data = findings.ask(lambda path=path: inputs.read_input(path, "input"), Area.SETTINGS)  # type: ignore[misc]
        if data is None:
            continue
        left -= len(data)
        if left < 0:
            findings.add(
                f"the inputs up to {path} are more than {_MAX_INPUTS >> 20} MiB together",
                "name fewer",
                Area.SETTINGS,
            )
            break
        files[path] = Entry(_free_place(path.name, taken), data)
        taken.add(files[path].path)
    return tuple(files.items())


def _free_place(name: str, taken: set[str]) -> str:
    plain = "".join(c if c.isalnum() or c in "._-+=@" else "_" for c in name).lstrip(".") or "input"
    place, number = f"inputs/{plain}", 1
    while place in taken:
        number += 1
        place = f"inputs/{number}-{plain}"
    return place
