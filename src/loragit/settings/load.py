"""What a run is made with: flags, environment, ``loragit.toml`` and defaults, merged once and
checked.

Precedence, highest first: flags, environment, the dataset's ``loragit.toml``, the user's own,
defaults. Within one file ``[models.<model>]`` stands above ``[trainer]``. Which values there are:
:mod:`loragit.settings.schema`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.record.name import CONVENTION, InvalidName, RunName
from loragit.secrets.rules import is_secret_name
from loragit.settings import layers
from loragit.settings import paths as places
from loragit.settings.document import read_settings_file
from loragit.settings.layers import Layer, SourcedValue
from loragit.settings.schema import ARGS, FILE, WrongSetting, check_value, parse_bool
from loragit.settings.toml_text import dotted_key, toml_literal
from loragit.settings.values import (
    AND_FLAG,
    Flags,
    PathSettings,
    RecordSettings,
    SettingOrigin,
    Settings,
    TrainerSettings,
)

_STEPS = re.compile(r"[0-9]{1,9}")
_MOST_STEPS = 999_999_999
"""The largest number of as many digits as a run's name may hold."""


class _Invocation(NamedTuple):
    """What :func:`load_settings` is called with."""

    name: RunName | None
    flags: Flags
    environ: Mapping[str, str]
    cwd: Path

    def path(self, source: str, text: str) -> Path:
        """Return the path that a flag or a variable gives."""
        if not text:
            raise WrongSetting(f"{source} is empty", hint="give it a value, or leave it out")
        try:
            return places.expand_path(text, self.cwd, self.environ)
        except places.NoSuchPath as error:
            raise WrongSetting(f"{source}: {error.message}", hint=error.hint) from error


def load_settings(
    *, name: RunName | None, flags: Flags, environ: Mapping[str, str], cwd: Path
) -> Settings:
    """Merge all settings for the run ``name``, or for the dataset at hand if that is ``None``.

    ``cwd`` is absolute. Reads the two settings files and checks which folders exist. The user's own
    file is where platformdirs puts it for this process. Raises
    :class:`~loragit.errors.LoragitError` and nothing else.
    """
    invocation = _Invocation(name, flags, environ, cwd)
    model = None if name is None else name.model
    below = [
        layers.default_layer(),
        *layers.file_layers(read_settings_file(user_file()), model, of_user=True),
    ]
    above = [*layers.environment_layers(environ, cwd), _flag_layer(invocation)]
    steps = None if name is None else _steps_value(name, invocation)
    # Without the dataset's own layer, which is not found yet.
    outside = [*below, *above]
    dataset = _dataset_value(
        invocation, outside[layers.highest_layer(outside, "paths.datasets")]["paths.datasets"]
    )
    folder = Path(str(dataset.value))
    document = read_settings_file(folder / FILE)
    own = layers.file_layers(document, model)
    given = {
        key: layers.resolve_paths(key, one, folder, environ)
        for key, one in layers.merge_layers([*below, *own, *above]).items()
    }
    given["record.repos"] = _with_flagged_repos(given["record.repos"], invocation)
    given["dataset_dir"] = dataset
    if name is not None and steps is not None:
        given["output_dir"] = _output_value(name, invocation, given["paths.output"])
        given["steps"] = steps
    given["debug"] = _debug_value(invocation)
    return _settings(given)._replace(written=document)


def user_file() -> Path:
    """Return the path of the user's own settings file, whether it exists or not."""
    from platformdirs import user_config_dir

    return Path(user_config_dir("loragit"), FILE)


def _flag_layer(invocation: _Invocation) -> Layer:
    flags = invocation.flags
    layer: dict[str, SourcedValue] = {}
    if flags.trainer_script is not None:
        script = invocation.path("--trainer-script", flags.trainer_script)
        layer["trainer.script"] = SourcedValue(str(script), "--trainer-script")
    if flags.on_empty is not None:
        layer["record.on_empty"] = SourcedValue(
            check_value("record.on_empty", flags.on_empty, "--on-empty"), "--on-empty"
        )
    if flags.allow_dirty:
        layer["record.allow_dirty"] = SourcedValue(True, "--allow-dirty")
    if flags.allow_secrets:
        layer["record.allow_secrets"] = SourcedValue(True, "--allow-secrets")
    return layer


def _with_flagged_repos(given: SourcedValue, invocation: _Invocation) -> SourcedValue:
    """Return ``record.repos`` with ``--repo``, which adds to what the files name and replaces
    nothing."""
    flagged = [str(invocation.path("--repo", each)) for each in invocation.flags.repos]
    if not flagged:
        return given
    listed = given.value if isinstance(given.value, tuple) else ()
    return SourcedValue((*listed, *flagged), "--repo" if not listed else given.source + AND_FLAG)


def _debug_value(invocation: _Invocation) -> SourcedValue:
    if invocation.flags.debug:
        return SourcedValue(True, "--debug")
    text = invocation.environ.get("DEBUG", "")
    wanted = parse_bool(text)
    # Other programs read DEBUG too ("app:*"): what is no truth value is not meant for us.
    return (
        SourcedValue(False, "default")
        if not text or wanted is None
        else SourcedValue(wanted, "DEBUG")
    )


def _steps_value(name: RunName, invocation: _Invocation) -> SourcedValue:
    if invocation.flags.steps is not None:
        if not 1 <= invocation.flags.steps <= _MOST_STEPS:
            raise WrongSetting(f"--steps must be a number from 1 to {_MOST_STEPS}")
        return SourcedValue(invocation.flags.steps, "--steps")
    text = invocation.environ.get("STEPS")
    if text:
        if _STEPS.fullmatch(text) is None or int(text) < 1:
            raise WrongSetting(
                f"STEPS must be a number from 1 to {_MOST_STEPS}; it is {toml_literal(text[:60])}"
            )
        return SourcedValue(int(text), "STEPS")
    if not name.steps:
        says = "no number of steps" if name.steps is None else "0 steps"
        raise InvalidName(f"{name} has {says}", hint=f"a name reads {CONVENTION}; or give --steps")
    return SourcedValue(name.steps, "name")


def _output_value(name: RunName, invocation: _Invocation, output: SourcedValue) -> SourcedValue:
    """Return the run's output folder. One that is given is used as it is, with no name appended."""
    if invocation.flags.output is not None:
        return SourcedValue(str(invocation.path("--output", invocation.flags.output)), "--output")
    if invocation.environ.get("OUTPUT_DIR"):
        return SourcedValue(
            str(invocation.path("OUTPUT_DIR", invocation.environ["OUTPUT_DIR"])), "OUTPUT_DIR"
        )
    return SourcedValue(str(Path(str(output.value), name.text)), output.source)


def _dataset_value(invocation: _Invocation, datasets: SourcedValue) -> SourcedValue:
    """Return the dataset's folder, which exists."""

    def below_datasets() -> Path:
        return Path(
            str(
                layers.resolve_paths(
                    "paths.datasets", datasets, invocation.cwd, invocation.environ
                ).value
            )
        )

    text, variable = invocation.flags.dataset, invocation.environ.get("TRAINING_DIR")
    if text is not None:
        candidates = [invocation.path("--dataset", text)]
        if "/" not in text and not text.startswith("~"):
            candidates.append(below_datasets() / text)
        return SourcedValue(str(places.first_folder(candidates, f"--dataset {text}")), "--dataset")
    if variable:
        return SourcedValue(
            str(places.first_folder([invocation.path("TRAINING_DIR", variable)], "TRAINING_DIR")),
            "TRAINING_DIR",
        )
    marked = places.root_above(invocation.cwd, FILE) or invocation.cwd
    if invocation.name is None:
        return SourcedValue(str(marked), "current folder")
    folder, here = places.dataset_folder_of(
        invocation.name, below_datasets(), (invocation.cwd, marked)
    )
    return SourcedValue(str(folder), "current folder" if here else "name")


def _settings(given: Mapping[str, SourcedValue]) -> Settings:
    folder = Path(_text(given, "dataset_dir"))
    return Settings(
        trainer=_trainer(given),
        paths=PathSettings(
            datasets=Path(_text(given, "paths.datasets")),
            output=Path(_text(given, "paths.output")),
            config=Path(_text(given, "paths.config")),
            prompts=_path(given, "paths.prompts"),
        ),
        record=RecordSettings(
            on_empty=_text(given, "record.on_empty"),
            allow_dirty=given["record.allow_dirty"].value is True,
            allow_secrets=given["record.allow_secrets"].value is True,
            inputs=tuple(map(Path, _texts(given, "record.inputs"))),
            sign=sign if isinstance(sign := given["record.sign"].value, bool) else None,
            repos=tuple(map(Path, _texts(given, "record.repos"))),
            enclosing=given["record.enclosing"].value is True,
        ),
        debug=given["debug"].value is True,
        origins=tuple(_origin(key, given[key]) for key in sorted(given, key=_group_of_key)),
        dataset_dir=folder,
        dataset=folder.name,
        output_dir=_path(given, "output_dir") if "output_dir" in given else None,
        steps=int(_text(given, "steps")) if "steps" in given else None,
    )


def _trainer(given: Mapping[str, SourcedValue]) -> TrainerSettings:
    return TrainerSettings(
        kind=_text(given, "trainer.kind"),
        repo=Path(_text(given, "trainer.repo")),
        script=_text(given, "trainer.script"),
        python=_text(given, "trainer.python") or None,
        env=_text(given, "trainer.env") or None,
        launcher=_texts(given, "trainer.launcher"),
        workdir=_text(given, "trainer.workdir"),
        lycoris_repo=_path(given, "trainer.lycoris_repo"),
        stop_timeout=float(_text(given, "trainer.stop_timeout")),
        args=tuple(
            (key.removeprefix(ARGS), given[key].value) for key in given if key.startswith(ARGS)
        ),
    )


def _text(given: Mapping[str, SourcedValue], key: str) -> str:
    return str(given[key].value)


def _texts(given: Mapping[str, SourcedValue], key: str) -> tuple[str, ...]:
    value = given[key].value
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def _path(given: Mapping[str, SourcedValue], key: str) -> Path | None:
    return Path(_text(given, key)) if given[key].value else None


def _group_of_key(key: str) -> int:
    """Sort the trainer first, then its arguments, then the rest, each in the order given."""
    return 1 if key.startswith(ARGS) else 0 if key.startswith("trainer.") else 2


def _origin(key: str, given: SourcedValue) -> SettingOrigin:
    if not key.startswith(ARGS):
        return SettingOrigin(key, toml_literal(given.value), given.source)
    name = key.removeprefix(ARGS)
    value = toml_literal("***" if is_secret_name(name) else given.value)
    return SettingOrigin(dotted_key("trainer.args", name), value, given.source)
