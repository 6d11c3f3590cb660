"""The files a run is made of, read once: config, prompts, further inputs, the dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import parse
from loragit.dataset import inputs, snapshot
from loragit.dataset.hashes import HashCache
from loragit.dataset.inputs import CannotReadInput
from loragit.dataset.snapshot import Dataset, DatasetConfig, RecordedDataset, Subset
from loragit.errors import Area, Findings
from loragit.record.values import Entry
from loragit.run.preflight import trust
from loragit.settings.values import Settings
from loragit.trainers import kinds
from loragit.trainers.trainer import Plan

_MAX_INPUTS = 1 << 29
"""Bytes of all further inputs together: they are held in memory, and a cloned dataset may name any
number."""


class Inputs(NamedTuple):
    """What was read."""

    config: Entry
    prompts: Entry | None
    further: tuple[tuple[Path, Entry], ...]
    """(file, its place in the record)."""
    dataset: Dataset
    warnings: tuple[str, ...]
    sources: Mapping[str, Path]
    """The file that it was read from, by path in the record; for captions see ``dataset``."""
    named: tuple[Path, ...] = ()
    """Further files that the dataset config names."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The files of the record that were read, but for the dataset's."""
        return (
            self.config,
            *([self.prompts] if self.prompts else []),
            *(entry for _, entry in self.further),
        )

    def outside(self, plan: Plan, folder: Path) -> trust.Subject:
        """What lies outside of the dataset's repository and was read because its own files say so;
        often nothing."""
        if trust.foreign_origin(folder) is None:
            return trust.Subject(folder, ())
        folders = [real for _, real in self.dataset.folders]
        return trust.subject_of_inputs(
            folder, plan.config, self.named, folders, self.sources.values()
        )


def read_inputs(
    plan: Plan,
    chosen: Settings,
    workdir: Path,
    recorded: RecordedDataset,
    cache: HashCache,
    findings: Findings,
) -> Inputs | None:
    """Everything, or ``None`` where ``findings`` tell what is missing, unreadable or does not
    parse."""
    ask, root = findings.ask, chosen.dataset_dir
    config = ask(lambda: _read_config(plan, chosen, workdir), Area.DATASET)
    prompts = _read_prompts_if_any(plan.prompts, findings)
    further = _read_further(
        (*(p for _, p in plan.inputs), *(config.files if config else ()), *chosen.record.inputs),
        findings,
    )
    if config is None:
        return None
    listed = _list_subsets(config.folders, root, findings)
    dataset = ask(lambda: snapshot.read_dataset(listed, recorded, root, cache), Area.DATASET)
    if dataset is None:
        return None
    warnings = tuple(
        filter(None, (snapshot.caption_warning(folder, names) for folder, names in listed))
    )
    place = f"config{config.suffix}"
    sources = {place: plan.config} | {entry.path: path for path, entry in further}
    if prompts and plan.prompts:
        sources[prompts.path] = plan.prompts
    return Inputs(
        Entry(place, config.data),
        prompts,
        further,
        dataset,
        warnings,
        sources,
        config.files,
    )


def _list_subsets(
    subsets: Iterable[Subset], root: Path, findings: Findings
) -> list[tuple[Subset, tuple[str, ...]]]:
    """Return each subset whose folder can be read, and the names of the files in it."""
    listed: list[tuple[Subset, tuple[str, ...]]] = []
    for subset in subsets:
        names = findings.ask(
            lambda subset=subset: snapshot.subset_files(subset, root),  # type: ignore[misc]
            Area.DATASET,
        )
        if names is not None:
            listed.append((subset, names))
    return listed


def _read_config(plan: Plan, chosen: Settings, workdir: Path) -> DatasetConfig:
    path = plan.config
    trainer = kinds.trainer_of(chosen.trainer.kind)
    if not os.path.exists(path):
        raise CannotReadInput(
            f"there is no dataset config {path}",
            hint=f"write one there, or name another: -- {trainer.names_config}",
        )
    return trainer.dataset(path, workdir, plan.effective)


def _read_prompts_if_any(path: Path | None, findings: Findings) -> Entry | None:
    return None if path is None else findings.ask(lambda: _read_prompts(path), Area.DATASET)


def _read_prompts(path: Path) -> Entry:
    if not os.path.exists(path):
        raise CannotReadInput(
            f"there are no sample prompts {path}",
            hint='write them there, or set paths.prompts = "" to train without samples',
        )
    data = inputs.read_input(path, "sample prompts")
    suffix = path.suffix.lower()
    if suffix == ".toml":
        inputs.parse_input(path, data, "sample prompts")
    elif suffix == ".json":
        try:
            parse.read_json(data)
        except ValueError as error:
            raise CannotReadInput(f"the sample prompts {path} do not parse: {error}") from error
    else:
        suffix = ".txt"
    return Entry("sample-prompts" + suffix, data)


def _read_further(paths: Iterable[Path], findings: Findings) -> tuple[tuple[Path, Entry], ...]:
    """Each file once, at ``inputs/<file name>``."""
    files: dict[Path, Entry] = {}
    taken: set[str] = set()
    left = _MAX_INPUTS
    for path in dict.fromkeys(paths):
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
