"""Layers of settings: who gives a value, which one counts, and what a path in it is relative to.

From top to bottom; a value of a higher layer overrides those below it:

==================================  ===================================================
layer                               a relative path in it is relative to
==================================  ===================================================
flags                               the current folder
``LORAGIT_*``                       the current folder
``SD_REPO``, ``NO_CLEAN`` …         the current folder
dataset's ``[models.<model>]``      the dataset's folder
dataset's ``loragit.toml``          the dataset's folder
user's ``[models.<model>]``         that file's folder; ``paths.config``: the dataset's
user's ``loragit.toml``             that file's folder; ``paths.config``: the dataset's
defaults                            the dataset's folder
==================================  ===================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit.settings import paths
from loragit.settings.document import SettingsDocument
from loragit.settings.schema import SCHEMA, WrongSetting, check_value, parse_bool, read_environment
from loragit.settings.toml_text import Value, toml_literal

_HELPERS = {
    "SD_REPO": "trainer.repo",
    "SD_SCRIPT": "trainer.script",
    "LYCORIS_REPO": "trainer.lycoris_repo",
}
"""Variables of the zsh helpers, and the key that each sets. An empty one counts as not set, as it
did there."""

_IN_DATASET = frozenset({"paths.config", "paths.prompts"})
"""Files that every dataset has: the user's own file names them relative to the dataset, not to
itself."""

_PYTHONS = ("trainer.env", "trainer.python")
"""The two ways to name the trainer's Python."""

_PATHS = _IN_DATASET | {
    "trainer.repo",
    "trainer.lycoris_repo",
    "trainer.env",
    "paths.datasets",
    "paths.output",
    "record.inputs",
    "record.repos",
}
_COMMANDS = frozenset({"trainer.python", "trainer.launcher"})
"""Texts that are a path if they hold a ``/``, and otherwise a name to be looked up."""


class SourcedValue(NamedTuple):
    """A value as one layer gives it."""

    value: Value
    source: str
    """A flag, a variable, the path of a file, ``default`` and the like."""
    base: Path | None = None
    """The folder that a relative path in ``value`` starts from; ``None`` for the dataset's."""


Layer = Mapping[str, SourcedValue]
"""Values by key, in the order in which they were written."""


def default_layer() -> Layer:
    """Return the lowest layer, which has every key of the schema."""
    return {key: SourcedValue(spec.default, "default") for key, spec in SCHEMA.items()}


def file_layers(
    document: SettingsDocument, model: str | None, *, of_user: bool = False
) -> list[Layer]:
    """Return a layer of the file's own values, and one above it of ``[models.<model>]``."""
    folder, source = document.path.parent, str(document.path)
    tables = [document.values, {} if model is None else document.models.get(model, {})]
    return [
        {
            key: SourcedValue(value, source, None if of_user and key in _IN_DATASET else folder)
            for key, value in table.items()
        }
        for table in tables
    ]


def environment_layers(environ: Mapping[str, str], cwd: Path) -> list[Layer]:
    """Return a layer of the zsh helpers' variables, and one above it of ``LORAGIT_*``, which are
    more specific."""
    helpers = {
        key: SourcedValue(check_value(key, environ[variable], variable), variable, cwd)
        for variable, key in _HELPERS.items()
        if environ.get(variable)
    }
    no_clean = parse_bool(environ.get("NO_CLEAN", ""))
    if no_clean is None:
        raise WrongSetting(f"NO_CLEAN must be 1 or 0; it is {toml_literal(environ['NO_CLEAN'])}")
    if no_clean:
        helpers["record.on_empty"] = SourcedValue("keep", "NO_CLEAN")
    own = {
        key: SourcedValue(value, variable, cwd)
        for key, (value, variable) in read_environment(environ).items()
    }
    return [helpers, own]


def highest_layer(layers: Sequence[Layer], key: str) -> int:
    """Return the index of the highest layer that has ``key``. The lowest layer comes first and has
    every key."""
    return max(index for index, layer in enumerate(layers) if key in layer)


def merge_layers(layers: Sequence[Layer]) -> dict[str, SourcedValue]:
    """Return the highest layer's value of each key, in the order in which keys are first given.

    ``trainer.env`` and ``trainer.python`` are two ways to name one thing, so the higher one
    overrides the other. Raises :class:`WrongSetting` if a single layer has both.
    """
    result: dict[str, SourcedValue] = {}
    for layer in layers:
        result |= layer
    env, python = (result[key] for key in _PYTHONS)
    if env.value and python.value:
        loser, winner = sorted(_PYTHONS, key=lambda key: highest_layer(layers, key))
        if highest_layer(layers, loser) == highest_layer(layers, winner):
            raise WrongSetting(
                f"trainer.env ({env.source}) and trainer.python ({python.source}) are both given",
                hint="keep the one that names the trainer's Python",
            )
        result[loser] = SourcedValue("", result[winner].source)
    return result


def resolve_paths(
    key: str, given: SourcedValue, dataset_dir: Path, environ: Mapping[str, str]
) -> SourcedValue:
    """Return ``given`` with the paths in it made absolute. Raises :class:`WrongSetting`."""
    base = dataset_dir if given.base is None else given.base
    value = given.value
    try:
        if isinstance(value, tuple) and key == "trainer.launcher":
            words = [str(word) for word in value]
            value = (*(_resolve_path(key, word, base, environ) for word in words[:1]), *words[1:])
        elif isinstance(value, tuple) and key in ("record.inputs", "record.repos"):
            value = tuple(_resolve_path(key, str(text), base, environ) for text in value)
        elif isinstance(value, str) and key in SCHEMA:
            value = _resolve_path(key, value, base, environ)
    except paths.NoSuchPath as error:
        raise WrongSetting(f"{key} ({given.source}): {error.message}", hint=error.hint) from error
    return given._replace(value=value)


def _resolve_path(key: str, text: str, base: Path, environ: Mapping[str, str]) -> str:
    """Return ``text`` with the path in it made absolute; unchanged if it holds none."""
    scheme = ""
    if key == "trainer.env" and text.startswith(("conda:", "venv:")):
        scheme, _, text = text.partition(":")
    if key == "trainer.script":
        is_path = text.startswith("~")
    elif key in _COMMANDS or scheme == "conda":
        is_path = "/" in text
    else:
        is_path = key in _PATHS and text != ""
    place = str(paths.expand_path(text, base, environ)) if is_path else text
    return f"{scheme}:{place}" if scheme else place
