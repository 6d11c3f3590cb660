"""What sd-scripts reads of a dataset, whichever way it is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from loragit.dataset.inputs import parse_input, read_input
from loragit.dataset.used_files import ConfigFile, UsedFiles
from loragit.text import count, listed
from loragit.trainers.arguments import Arguments
from loragit.trainers.sd_scripts.datasets import images, schema, subsets
from loragit.trainers.sd_scripts.datasets.collector import DatasetCollector
from loragit.trainers.sd_scripts.datasets.schema import Schema
from loragit.trainers.sd_scripts.datasets.subsets import Subset, absolute
from loragit.trainers.trainer import DatasetPlace, with_every_plugin

_NAMED = 5
"""Folders that a message names; the rest are counted."""
_FORM = "call it REPEATS_WORDS, as in 10_zqx: how often each image counts, and the words for it"


def read_config(path: Path) -> ConfigFile:
    """Read a dataset config. Raises :class:`~loragit.dataset.inputs.CannotReadInput`."""
    suffix = ".json" if path.suffix.lower() == ".json" else ".toml"
    return ConfigFile(path, suffix, read_input(path, "dataset config"))


def used_files(config: ConfigFile | None, given: Arguments, place: DatasetPlace) -> UsedFiles:
    """Return what the trainer reads of the dataset that ``config`` names, or without one, the
    effective arguments ``given``. Raises :class:`~loragit.dataset.inputs.CannotReadInput`."""
    collector = DatasetCollector(place)
    if (own_class := given.one("dataset_class")) is not None:
        collector.warn(f"dataset_class is {own_class}: what it reads is not on record")
        return collector.used_by_own_class(config)
    known = schema.read_schema(place.repo) if place.repo is not None else None
    if config is not None:
        if known is not None:
            _check_keys(collector, config, known)
        training_sets = subsets.of_config(config, given)
    else:
        training_sets = subsets.of_arguments(given, tuple(_folders(collector, given, place)))
    takes = schema.of_script(place.script, masked_loss="masked_loss" in given.options)
    for each in training_sets:
        wrong = schema.wrong_method(place.script, each.method, takes) if known is not None else None
        if wrong is not None:
            collector.refuse(wrong.problem, wrong.hint or "")
        else:
            collector.add(each)
    return collector.used(config)


def _check_keys(collector: DatasetCollector, config: ConfigFile, known: Schema) -> None:
    """Refuse keys that the trainer would refuse."""
    table = parse_input(config.path, config.data, "dataset config")
    for finding in schema.findings(table, known):
        collector.refuse(finding.problem, finding.hint or "")


def _folders(
    collector: DatasetCollector, given: Arguments, place: DatasetPlace
) -> Iterator[Subset]:
    """Yield the subsets that ``train_data_dir`` and ``reg_data_dir`` hold."""
    if "in_json" in given.options or "conditioning_data_dir" in given.options:
        return
    for name, is_reg in (("train_data_dir", False), ("reg_data_dir", True)):
        written = given.one(name)
        if written is None:
            continue
        top = absolute(place.workdir, written)
        if not top.is_dir() and is_reg:
            collector.warn(f"there is no folder {top} ({name}): the trainer goes on without it")
            continue
        if not top.is_dir():
            hint = "mend its path: it is relative to " + str(place.workdir)
            collector.refuse(f"there is no folder {top}, which {name} names", hint)
            continue
        try:
            below = sorted(entry.name for entry in os.scandir(top) if entry.is_dir())
        except OSError as error:
            problem = f"the folder {top} of {name} cannot be read: {error.strerror}"
            collector.refuse(problem, "see whose it is")
            continue
        found = [
            (each, subsets.folder_subset(str(Path(written, each)), given, is_reg=is_reg))
            for each in below
        ]
        yield from (subset for _, subset in found if subset is not None)
        _warn_of_unread(collector, top, name, [each for each, s in found if s is None])
        if all(subset is None for _, subset in found) and not is_reg:
            collector.refuse(
                f"{name} {top} holds no folder to train on", f"make one in it, and {_FORM}"
            )


def _warn_of_unread(collector: DatasetCollector, top: Path, name: str, folders: list[str]) -> None:
    """Warn of folders without a number of repeats, and of images beside them."""
    shown = [each for each in folders if not each.startswith((".", "__MACOSX"))]
    if shown:
        are = "is" if len(shown) == 1 else "are"
        collector.warn(
            f"{count(len(shown), 'folder')} in {name} {top} {are} not read: "
            f"{listed(shown, _NAMED)}; to read one, {_FORM}"
        )
    is_image = images.image_suffixes(with_every_plugin)
    beside = [entry for entry in images.list_folder(top).names if is_image(entry)]
    if beside:
        are = "is" if len(beside) == 1 else "are"
        collector.warn(
            f"{count(len(beside), 'image')} directly in {name} {top} {are} not read: only those "
            "in its folders are"
        )
