"""The subsets of a training, each with all values that hold for it.

As ``BlueprintGenerator`` of sd-scripts' ``library/config_util.py``: a subset's own value counts,
else its dataset's, else the general one, else the argument's, else the default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from loragit.dataset.inputs import CannotReadInput, parse_input
from loragit.dataset.used_files import ConfigFile
from loragit.trainers.arguments import Arguments

DEFAULT_CAPTION_SUFFIX = ".caption"
"""Where nothing names a ``caption_extension``."""
METADATA_KEYS = ("metadata_file", "in_json")
"""What a subset of its kind, and an argument, calls the file of captions."""

_Table = Mapping[str, object]


class Method(Enum):
    """How a dataset is read."""

    DREAMBOOTH = "DreamBooth"
    """Every image in a folder, each with a caption file or ``class_tokens``."""
    FINE_TUNING = "fine tuning"
    """The images that a metadata file names, with the captions in it."""
    CONTROLNET = "ControlNet"
    """As DreamBooth, and a conditioning image for each."""


class Subset(NamedTuple):
    """One subset."""

    image_dir: str | None
    """As it is written; relative to the trainer's working folder."""
    repeats: int
    caption_suffix: str
    """With its dot."""
    dot_added: bool
    """Whether the dot was missing where it is written."""
    class_tokens: str | None
    is_reg: bool
    cache_info: bool
    metadata_file: str | None
    conditioning_dir: str | None


class TrainingSet(NamedTuple):
    """Subsets whose images go into the same batches: a ``[[datasets]]`` table."""

    method: Method
    subsets: tuple[Subset, ...]
    batch_size: int
    validation_split: float
    """Share of the images that is kept for validation, from 0 to 1."""
    has_resolution: bool


def of_config(config: ConfigFile, given: Arguments) -> tuple[TrainingSet, ...]:
    """Read a dataset config. Raises :class:`CannotReadInput` where the trainer would not accept
    it."""
    table = parse_input(config.path, config.data, "dataset config")
    general = _table(table.get("general"))
    found = tuple(
        _training_set(dataset, general, given, config.path)
        for dataset in tables(table.get("datasets"))
    )
    every = [subset for each in found for subset in each.subsets]
    if not every or any(each.image_dir is None and each.metadata_file is None for each in every):
        raise CannotReadInput(
            f"the dataset config {config.path} names no image folder",
            hint='add image_dir = "…" to a [[datasets.subsets]] table',
        )
    return found


def of_arguments(given: Arguments, folders: Sequence[Subset]) -> tuple[TrainingSet, ...]:
    """Return the one dataset that arguments name. ``folders`` are those of ``train_data_dir`` and
    ``reg_data_dir``."""
    subsets: list[_Table]
    if (conditions := given.one("conditioning_data_dir")) is not None:
        image_dir = given.one("train_data_dir")
        subsets = [{"image_dir": image_dir, "conditioning_data_dir": conditions, "num_repeats": 1}]
    elif (metadata := given.one("in_json")) is not None:
        subsets = [{"image_dir": given.one("train_data_dir"), "metadata_file": metadata}]
    else:
        plain = _training_set({"subsets": []}, {}, given, None)
        return (plain._replace(method=Method.DREAMBOOTH, subsets=tuple(folders)),)
    return (_training_set({"subsets": subsets}, {}, given, None),)


def folder_subset(folder: str, given: Arguments, *, is_reg: bool) -> Subset | None:
    """Return the subset that a sub-folder of ``train_data_dir`` or ``reg_data_dir`` is, by its
    name ``REPEATS_WORDS``; ``None`` for one that sd-scripts passes over."""
    number, _, words = os.path.basename(folder).partition("_")  # noqa: PTH119 - as it is written
    try:
        repeats = int(number)
    except ValueError:
        return None
    table = {"image_dir": folder, "num_repeats": repeats, "is_reg": is_reg, "class_tokens": words}
    return _subset(table, (_given_table(given),)) if repeats >= 1 else None


def absolute(workdir: Path, written: str) -> Path:
    """Return the path that the trainer opens for ``written`` when it is started in ``workdir``.
    Raises :class:`CannotReadInput` for what no path can be."""
    try:
        if b"\0" in os.fsencode(written):
            raise ValueError("a NUL in it")
    except ValueError as error:
        raise CannotReadInput(
            f"{written!r} in the dataset config is no path: {error}", hint="mend it there"
        ) from error
    path = workdir / written
    # Behind a link ".." goes up from where the link leads, not from where it lies.
    return path.resolve() if ".." in path.parts else Path(os.path.normpath(path))


def _training_set(
    dataset: _Table, general: _Table, given: Arguments, config: Path | None
) -> TrainingSet:
    subsets = tuple(tables(dataset.get("subsets")))
    weaker = (dataset, general, _given_table(given))
    method = _method(subsets, config)
    return TrainingSet(
        method,
        tuple(_subset(table, weaker) for table in subsets),
        max(1, _whole(_value("batch_size", weaker), 1)),
        _share(_value("validation_split", weaker)),
        _value("resolution", weaker) is not None,
    )


def _method(subsets: Sequence[_Table], config: Path | None) -> Method:
    found = method_of(subsets)
    if found is None:
        raise CannotReadInput(
            f"the dataset config {config} has subsets with and without metadata_file in one "
            "dataset, which the trainer refuses",
            hint="put them into two [[datasets]] tables",
        )
    return found


def method_of(subsets: Sequence[_Table]) -> Method | None:
    """Return how a dataset of these subsets is read; ``None`` where they do not go together."""
    if subsets and all("conditioning_data_dir" in each for each in subsets):
        return Method.CONTROLNET
    named = ["metadata_file" in each for each in subsets]
    if any(named) and not all(named):
        return None
    return Method.FINE_TUNING if named and all(named) else Method.DREAMBOOTH


def _subset(table: _Table, weaker: Sequence[_Table]) -> Subset:
    tables = (table, *weaker)
    suffix = _text(_value("caption_extension", tables))
    if suffix is None:
        suffix = DEFAULT_CAPTION_SUFFIX
    dotted = suffix == "" or suffix.startswith(".")
    return Subset(
        image_dir=_text(_value("image_dir", tables)),
        repeats=_whole(_value("num_repeats", tables), 1),
        caption_suffix=suffix if dotted else f".{suffix}",
        dot_added=not dotted,
        class_tokens=_text(_value("class_tokens", tables)),
        is_reg=bool(_value("is_reg", tables)),
        cache_info=bool(_value("cache_info", tables)),
        metadata_file=_text(table.get("metadata_file")),
        conditioning_dir=_text(table.get("conditioning_data_dir")),
    )


def _value(key: str, tables: Sequence[_Table]) -> object:
    return next((table[key] for table in tables if table.get(key) is not None), None)


_RENAMED = {"train_batch_size": "batch_size", "dataset_repeats": "num_repeats"}
"""Arguments that dataset configs call otherwise (``ARGPARSE_OPTNAME_TO_CONFIG_OPTNAME``)."""
_ALIASES = {"caption_extention": "caption_extension"}
"""Older spellings; where one is given, it wins."""


def _given_table(given: Arguments) -> _Table:
    """The arguments as the weakest table of all: any key in a ``--config_file`` counts, one that is
    no argument of the trainer's too."""
    table: dict[str, object] = {}
    for name, values in given.options.items():
        table[name] = values[-1] if values else True
    for to in _RENAMED.values():  # the default of the argument stands in its way
        table.pop(to, None)
    for renamed in (_RENAMED, _ALIASES):
        table |= {to: table[name] for name, to in renamed.items() if name in table}
    return table


def _table(value: object) -> _Table:
    return value if isinstance(value, dict) else {}


def tables(value: object) -> Iterator[_Table]:
    """Yield the tables of a list; what else it holds is left out."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _text(value: object) -> str | None:
    return None if value is None or isinstance(value, (dict, list)) else str(value)


def _whole(value: object, otherwise: int) -> int:
    """A whole number of a table, or the word of an argument."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?[0-9]{1,9}", value) else otherwise
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _share(value: object) -> float:
    """A number from 0 to 1; 0 for anything else, as the trainer passes over it."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) else 0.0
    except ValueError:
        return 0.0
    return number if 0 < number <= 1 else 0.0
