"""sd-scripts' dataset configs (``library/config_util.py``): which folders and files one names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from loragit.dataset.inputs import CannotReadInput, parse_input, read_input
from loragit.dataset.snapshot import DatasetConfig, Subset
from loragit.trainers.sd_scripts.trainer import FILES

DEFAULT_CAPTION_SUFFIX = ".caption"
"""Where neither the dataset config nor an argument names a ``caption_extension``."""

_FOLDER_KEYS = ("image_dir", "conditioning_data_dir")
_FILE_KEYS = ("metadata_file", "in_json")


def read_config(
    path: Path, workdir: Path, caption_suffix: str = DEFAULT_CAPTION_SUFFIX
) -> DatasetConfig:
    """Read a dataset config; relative paths in it are taken from ``workdir``, as the trainer does.

    ``caption_suffix`` holds where the config names none. Raises :class:`CannotReadInput`.
    """
    data = read_input(path, "dataset config")
    table = parse_input(path, data, "dataset config")
    folders: dict[Path, Subset] = {}
    files: dict[Path, None] = {}
    for subset, suffix in _subsets(table, caption_suffix):
        for key in _FOLDER_KEYS:
            value = subset.get(key)
            if isinstance(value, str) and value:
                place = _absolute(workdir, value)
                folder = folders.get(place) or Subset(value, place, (), FILES, captioned=False)
                suffixes = dict.fromkeys((*folder.caption_suffixes, suffix))
                captioned = (
                    key == _FOLDER_KEYS[0]
                    and not subset.get("is_reg")
                    and not subset.get("class_tokens")
                )
                folders[place] = folder._replace(
                    caption_suffixes=tuple(suffixes), captioned=folder.captioned or captioned
                )
        for key in _FILE_KEYS:
            value = subset.get(key)
            if isinstance(value, str) and value:
                files.setdefault(_absolute(workdir, value))
    if not folders and not files:
        raise CannotReadInput(
            f"the dataset config {path} names no image folder",
            hint='add image_dir = "…" to a [[datasets.subsets]] table',
        )
    suffix = ".json" if path.suffix.lower() == ".json" else ".toml"
    return DatasetConfig(path, suffix, data, tuple(folders.values()), tuple(files))


def _subsets(
    table: Mapping[str, object], default: str
) -> Iterator[tuple[Mapping[str, object], str]]:
    """Every subset with the caption suffix that holds for it: its own, its dataset's, the general
    one."""
    general = _suffix(table.get("general"), default)
    for dataset in _tables(table.get("datasets")):
        of_dataset = _suffix(dataset, general)
        for subset in _tables(dataset.get("subsets")):
            yield subset, _suffix(subset, of_dataset)


def _tables(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _suffix(table: object, default: str) -> str:
    value = table.get("caption_extension") if isinstance(table, dict) else None
    return value if isinstance(value, str) and value else default


def _absolute(workdir: Path, written: str) -> Path:
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
