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
from loragit.settings.document import read_file
from loragit.settings.layers import Given, Layer
from loragit.settings.schema import ARGS, FILE, WrongSetting, checked, truth
from loragit.settings.toml_text import dotted, literal
from loragit.settings.values import AND_FLAG, Flags, Origin, Paths, Recording, Settings, Trainer

_STEPS = re.compile(r"[0-9]{1,9}")
_MOST_STEPS = 999_999_999
"""As many digits as a run's name may hold."""


class _Asked(NamedTuple):
    """What :func:`load` was asked."""

    name: RunName | None
    flags: Flags
    environ: Mapping[str, str]
    cwd: Path

    def path(self, source: str, text: str) -> Path:
        """A path that a flag or a variable gives."""
        if not text:
            raise WrongSetting(f"{source} is empty", hint="give it a value, or leave it away")
        try:
            return places.expanded(text, self.cwd, self.environ)
        except places.NoSuchPath as error:
            raise WrongSetting(f"{source}: {error.message}", hint=error.hint) from error


def load(*, name: RunName | None, flags: Flags, environ: Mapping[str, str], cwd: Path) -> Settings:
    """Settle everything for the run ``name``, or for the dataset at hand where that is ``None``.

    ``cwd`` is absolute. Reads the two settings files and looks which folders exist; the user's own
    file is looked for where platformdirs says for this process. Raises
    :class:`~loragit.errors.LoragitError` and nothing else.
    """
    asked = _Asked(name, flags, environ, cwd)
    model = None if name is None else name.model
    below = [layers.defaults(), *layers.of_file(read_file(user_file()), model, of_user=True)]
    above = [*layers.of_environment(environ, cwd), _flag_layer(asked)]
    steps = None if name is None else _steps(name, asked)
    # Without the dataset's own layer: it cannot say where it is to be found.
    outside = [*below, *above]
    dataset = _dataset(asked, outside[layers.last(outside, "paths.datasets")]["paths.datasets"])
    folder = Path(str(dataset.value))
    document = read_file(folder / FILE)
    own = layers.of_file(document, model)
    given = {
        key: layers.resolved(key, one, folder, environ)
        for key, one in layers.merged([*below, *own, *above]).items()
    }
    given["record.repos"] = _with_flagged_repos(given["record.repos"], asked)
    given["dataset_dir"] = dataset
    if name is not None and steps is not None:
        given["output_dir"] = _output(name, asked, given["paths.output"])
        given["steps"] = steps
    given["debug"] = _debug(asked)
    return _settings(given)._replace(written=document)


def user_file() -> Path:
    """The user's own settings file, whether it exists or not."""
    from platformdirs import user_config_dir

    return Path(user_config_dir("loragit"), FILE)


def _flag_layer(asked: _Asked) -> Layer:
    flags = asked.flags
    layer: dict[str, Given] = {}
    if flags.trainer_script is not None:
        script = asked.path("--trainer-script", flags.trainer_script)
        layer["trainer.script"] = Given(str(script), "--trainer-script")
    if flags.on_empty is not None:
        layer["record.on_empty"] = Given(
            checked("record.on_empty", flags.on_empty, "--on-empty"), "--on-empty"
        )
    if flags.allow_dirty:
        layer["record.allow_dirty"] = Given(True, "--allow-dirty")
    if flags.allow_secrets:
        layer["record.allow_secrets"] = Given(True, "--allow-secrets")
    return layer


def _with_flagged_repos(given: Given, asked: _Asked) -> Given:
    """``--repo`` adds to what the settings name: to record more takes nothing away."""
    flagged = [str(asked.path("--repo", each)) for each in asked.flags.repos]
    if not flagged:
        return given
    listed = given.value if isinstance(given.value, tuple) else ()
    return Given((*listed, *flagged), "--repo" if not listed else given.source + AND_FLAG)


def _debug(asked: _Asked) -> Given:
    if asked.flags.debug:
        return Given(True, "--debug")
    text = asked.environ.get("DEBUG", "")
    wanted = truth(text)
    # Other programs read DEBUG too ("app:*"), so what is no truth value is not meant for us.
    return Given(False, "default") if not text or wanted is None else Given(wanted, "DEBUG")


def _steps(name: RunName, asked: _Asked) -> Given:
    if asked.flags.steps is not None:
        if not 1 <= asked.flags.steps <= _MOST_STEPS:
            raise WrongSetting(f"--steps must be a number from 1 to {_MOST_STEPS}")
        return Given(asked.flags.steps, "--steps")
    text = asked.environ.get("STEPS")
    if text:
        if _STEPS.fullmatch(text) is None or int(text) < 1:
            raise WrongSetting(
                f"STEPS must be a number from 1 to {_MOST_STEPS}; it is {literal(text[:60])}"
            )
        return Given(int(text), "STEPS")
    if not name.steps:
        says = "no number of steps" if name.steps is None else "0 steps"
        raise InvalidName(f"{name} says {says}", hint=f"a name reads {CONVENTION}; or give --steps")
    return Given(name.steps, "name")


def _output(name: RunName, asked: _Asked, output: Given) -> Given:
    """The run's output folder: one that is given is used as it is, nothing is appended to it."""
    if asked.flags.output is not None:
        return Given(str(asked.path("--output", asked.flags.output)), "--output")
    if asked.environ.get("OUTPUT_DIR"):
        return Given(str(asked.path("OUTPUT_DIR", asked.environ["OUTPUT_DIR"])), "OUTPUT_DIR")
    return Given(str(Path(str(output.value), name.text)), output.source)


def _dataset(asked: _Asked, datasets: Given) -> Given:
    """The dataset's folder, which exists."""

    def below_datasets() -> Path:
        return Path(
            str(layers.resolved("paths.datasets", datasets, asked.cwd, asked.environ).value)
        )

    text, variable = asked.flags.dataset, asked.environ.get("TRAINING_DIR")
    if text is not None:
        looked = [asked.path("--dataset", text)]
        if "/" not in text and not text.startswith("~"):
            looked.append(below_datasets() / text)
        return Given(str(places.existing(looked, f"--dataset {text}")), "--dataset")
    if variable:
        return Given(
            str(places.existing([asked.path("TRAINING_DIR", variable)], "TRAINING_DIR")),
            "TRAINING_DIR",
        )
    marked = places.root_above(asked.cwd, FILE) or asked.cwd
    if asked.name is None:
        return Given(str(marked), "current folder")
    folder, here = places.by_name(asked.name, below_datasets(), (asked.cwd, marked))
    return Given(str(folder), "current folder" if here else "name")


def _settings(given: Mapping[str, Given]) -> Settings:
    folder = Path(_text(given, "dataset_dir"))
    return Settings(
        trainer=_trainer(given),
        paths=Paths(
            datasets=Path(_text(given, "paths.datasets")),
            output=Path(_text(given, "paths.output")),
            config=Path(_text(given, "paths.config")),
            prompts=_path(given, "paths.prompts"),
        ),
        record=Recording(
            on_empty=_text(given, "record.on_empty"),
            allow_dirty=given["record.allow_dirty"].value is True,
            allow_secrets=given["record.allow_secrets"].value is True,
            inputs=tuple(map(Path, _texts(given, "record.inputs"))),
            sign=sign if isinstance(sign := given["record.sign"].value, bool) else None,
            repos=tuple(map(Path, _texts(given, "record.repos"))),
        ),
        debug=given["debug"].value is True,
        origins=tuple(_origin(key, given[key]) for key in sorted(given, key=_shown_after)),
        dataset_dir=folder,
        dataset=folder.name,
        output_dir=_path(given, "output_dir") if "output_dir" in given else None,
        steps=int(_text(given, "steps")) if "steps" in given else None,
    )


def _trainer(given: Mapping[str, Given]) -> Trainer:
    return Trainer(
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


def _text(given: Mapping[str, Given], key: str) -> str:
    return str(given[key].value)


def _texts(given: Mapping[str, Given], key: str) -> tuple[str, ...]:
    value = given[key].value
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def _path(given: Mapping[str, Given], key: str) -> Path | None:
    return Path(_text(given, key)) if given[key].value else None


def _shown_after(key: str) -> int:
    """The trainer first, then its arguments, then the rest; within each the order is the given
    one."""
    return 1 if key.startswith(ARGS) else 0 if key.startswith("trainer.") else 2


def _origin(key: str, given: Given) -> Origin:
    if not key.startswith(ARGS):
        return Origin(key, literal(given.value), given.source)
    name = key.removeprefix(ARGS)
    value = literal("***" if is_secret_name(name) else given.value)
    return Origin(dotted("trainer.args", name), value, given.source)
