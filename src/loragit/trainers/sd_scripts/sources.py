"""Where sd-scripts' arguments come from, and which of them count.

From the weakest to the strongest: a ``--config_file`` of the settings, the settings, a file that is
named for this run alone, the command line. sd-scripts itself knows two only, its command line and
one file (``read_config_from_file`` of ``library/train_util.py``): of the settings' arguments, those
that a stronger file has are not passed on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeGuard

from loragit.dataset import inputs
from loragit.record.run_toml import to_toml
from loragit.trainers.arguments import Arguments, BadArgument
from loragit.trainers.sd_scripts import gui_preset
from loragit.trainers.trainer import Defaults

_FOLDERS = ("train_data_dir", "reg_data_dir", "in_json", "conditioning_data_dir")
"""Arguments that name the dataset where there is no dataset config."""
_BEATS = {
    "caption_extention": ("caption_extension",),
    "max_train_epochs": ("max_train_steps",),
    "dataset_config": _FOLDERS,
}
"""Arguments that win over others, wherever each was given."""


class Given(NamedTuple):
    """All arguments of a run."""

    passed: Arguments
    """Those that stand on the trainer's command line."""
    filed: Arguments
    """Those of the file that it reads."""
    effective: Arguments
    """What it will go by."""
    stronger: frozenset[str]
    """Names of those that were given for this run alone."""
    written: Mapping[Path, bytes] = MappingProxyType({})
    """Files that stand in for one that the trainer could not read, and that nobody has yet."""
    for_script: str | None = None
    """The script that a preset is for, where it says so."""
    left_out: tuple[str, ...] = ()
    """Keys of a preset that the run does not go by."""


class NamedDataset(NamedTuple):
    """How the dataset is named."""

    config: Path | None
    ignored: tuple[str, ...]
    """Arguments that also name one, and that the trainer would not read."""
    warnings: tuple[str, ...]


def all_given(settings: Arguments, command: Arguments, defaults: Defaults) -> Given:
    """Merge all arguments by their strength.

    Raises :class:`~loragit.trainers.arguments.BadArgument`,
    :class:`~loragit.dataset.inputs.CannotReadInput`.
    """
    preset, workdir = defaults.preset, defaults.workdir
    if preset is not None and "config_file" in command.options:
        raise BadArgument("--config and --config_file name two files", hint="name one of them")
    written: dict[Path, bytes] = {}
    for_script: str | None = None
    left_out: tuple[str, ...] = ()
    if is_gui_preset(preset):
        table = inputs.parse_json(preset, inputs.read_input(preset, "preset"), "preset")
        command = gui_preset.further_arguments(table).updated(command)
        for_script, left_out = gui_preset.script(table), gui_preset.left_out(table)
        preset = preset.with_suffix(".toml")
        written[preset] = to_toml(gui_preset.config_file(table))
    if preset is not None:
        command = Arguments({"config_file": (str(preset),), **command.options}, command.leading)
    named_now = config_file(command, workdir)
    filed, switched_off = _filed(named_now, written)
    strong = filed.updated(command)
    # Those of the command itself are replaced where they stand.
    stronger = (filed.options.keys() | switched_off) - command.options.keys()
    weaker = settings.without(*stronger, *_beaten(strong))
    if named_now is None:
        filed, _ = _filed(config_file(weaker, workdir), {})
        effective = filed.updated(weaker).updated(command)
    else:
        weaker = weaker.without("config_file")
        effective = weaker.updated(strong)
    # A blank folder would be the working folder to the trainer.
    blank = [n for n in _FOLDERS if weaker.updated(command).options.get(n) == ("",)]
    passed = weaker.updated(command).without(*blank)
    from_file = Arguments({name: filed.options[name] for name in blank if name in filed.options})
    effective = effective.without(*blank).updated(from_file)
    strong_names = frozenset(strong.options)
    return Given(passed, filed, effective, strong_names, written, for_script, left_out)


def is_gui_preset(path: Path | None) -> TypeGuard[Path]:
    """Whether a file of arguments is a preset of the kohya_ss GUI."""
    return path is not None and path.suffix.lower() == ".json"


def config_file(given: Arguments, workdir: Path) -> Path | None:
    """The file that ``--config_file`` names; sd-scripts adds ``.toml`` where it is missing."""
    written = given.one("config_file")
    if written is None:
        return None
    path = workdir / written
    return path if path.suffix == ".toml" else path.with_name(path.name + ".toml")


def name_dataset(given: Given, defaults: Defaults) -> NamedDataset:
    """Find what names the dataset: what was given for this run alone, else any argument, else the
    settings' ``paths.config`` or the file that is usual."""
    known = given.effective
    folders = tuple(name for name in _FOLDERS if known.one(name))
    written = known.one("dataset_config")
    stronger = [name for name in folders if name in given.stronger]
    if written and stronger and "dataset_config" not in given.stronger:
        # all_given drops it from the settings; a file of theirs is read by the trainer itself.
        raise BadArgument(
            f"dataset_config of the settings' config_file wins over --{stronger[0]}",
            hint="take it out there, or name another --config_file",
        )
    if written:
        return _with_config(defaults.workdir / written, folders)
    if not folders:
        return NamedDataset(defaults.config, (), ())
    if defaults.config_set and not stronger:
        return _with_config(defaults.config, folders)
    unused = (
        (f"{defaults.config} is not used: {_naming(folders)} names the dataset",)
        if os.path.exists(defaults.config)
        else ()
    )
    return NamedDataset(None, ("dataset_config",), unused)


def _naming(folders: tuple[str, ...]) -> str:
    return "in_json" if "in_json" in folders else folders[0]


def _with_config(config: Path, folders: Iterable[str]) -> NamedDataset:
    warnings = (f"{name} is not used: {config} names the dataset" for name in folders)
    return NamedDataset(config, tuple(folders), tuple(warnings))


def _beaten(strong: Arguments) -> tuple[str, ...]:
    """Return the arguments that would win over ``strong`` ones if the settings gave them."""
    return tuple(
        winner
        for winner, losers in _BEATS.items()
        if winner not in strong.options and any(name in strong.options for name in losers)
    )


def _filed(path: Path | None, written: Mapping[Path, bytes]) -> tuple[Arguments, frozenset[str]]:
    """Return the arguments of a file, and the names of flags that it switches off."""
    if path is None:
        return Arguments({}), frozenset()
    data = written[path] if path in written else inputs.read_input(path, "config file")
    # Numbers stay as they are written: people look for 1e-4 as 1e-4.
    table = inputs.parse_toml(path, data, "config file", floats=str)
    return flattened(table), frozenset(key for key, value in _pairs(table) if value is False)


def flattened(table: Mapping[str, object]) -> Arguments:
    """The file's values as arguments. Its sections only group them, and hold no sections."""
    options: dict[str, tuple[str, ...]] = {}
    for key, each in _pairs(table):
        options.pop(key, None)
        if isinstance(each, list):
            options[key] = tuple(str(item) for item in each)
        elif each is True:
            options[key] = ()
        elif each is not False and not isinstance(each, dict):
            options[key] = (str(each),)
    return Arguments(options)


def _pairs(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the keys of a file, those in its sections too."""
    for name, value in table.items():
        yield from value.items() if isinstance(value, dict) else ((name, value),)
