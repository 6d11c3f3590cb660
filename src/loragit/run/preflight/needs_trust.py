"""What of a dataset's ``loragit.toml`` starts a program, loads code, or reaches out of the
dataset's folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from loragit.secrets import rules
from loragit.secrets.redact import redact_all, redact_plain_words
from loragit.settings.document import SettingsDocument
from loragit.settings.schema import ARGS, SCHEMA
from loragit.settings.toml_text import Value, dotted_key, toml_literal
from loragit.trainers import kinds

_EFFECTS = {
    "trainer.repo": "the code that runs, and is asked by git",
    "trainer.script": "is run",
    "trainer.python": "is started",
    "trainer.env": "its Python is started, its scripts are sourced",
    "trainer.launcher": "is started",
    "trainer.workdir": "where the trainer runs",
    "trainer.lycoris_repo": "is asked by git",
    "record.repos": "goes on record",
    "record.allow_dirty": "changes that nobody committed go on record",
    "record.allow_secrets": "files with secrets are taken",
    "record.sign": "outcomes are not signed",
}
"""Keys that count wherever they say something else than the default."""

_EFFECTS_OUTSIDE = {
    "paths.output": "is written to",
    "paths.config": "goes on record",
    "paths.prompts": "goes on record",
    "record.inputs": "goes on record",
}
"""Keys that count where they lead out of the dataset's folder."""

_SCRIPT = re.compile(r"(?:\w+_)?train(?:_\w+)?\.py")
"""What sd-scripts calls the scripts that train. They are in the trainer's repository, which counts
for itself."""


class RiskyValue(NamedTuple):
    """One value that somebody has to agree to."""

    key: str
    """As the file has it, with the table of a model: ``models.noob.launcher``."""
    setting: str
    """The key that it sets, as in the schema."""
    value: str
    """As TOML, in one line."""
    about: str
    """What it does."""

    @property
    def shown(self) -> str:
        """``key = value``, to be asked about: without secrets, but with everything that a shell
        would run."""
        return self._without(redact_plain_words)

    @property
    def redacted(self) -> str:
        """As :attr:`shown`, without anything that looks like a secret: to be written down."""
        return self._without(redact_all)

    def _without(self, redact: Callable[[bytes], bytes]) -> str:
        if self.setting.startswith(ARGS) and rules.is_secret_name(self.setting.removeprefix(ARGS)):
            return f"{self.key} = {toml_literal(rules.MASK)}"
        return f"{self.key} = {redact(self.value.encode()).decode('utf-8', 'replace')}"


def risky_values(document: SettingsDocument) -> tuple[RiskyValue, ...]:
    """Of every table of a dataset's settings, those of single models included, in the file's
    order."""
    found = [*_risky_values_of_table(document.values, None)]
    for model, values in document.models.items():
        found += _risky_values_of_table(values, model)
    return tuple(found)


def _risky_values_of_table(values: Mapping[str, Value], model: str | None) -> Iterator[RiskyValue]:
    for setting, value in values.items():
        about = _effect(setting, value)
        if about is not None:
            yield RiskyValue(_key(setting, model), setting, toml_literal(value), about)


def _key(setting: str, model: str | None) -> str:
    argument = setting.removeprefix(ARGS) if setting.startswith(ARGS) else None
    if model is None:
        return setting if argument is None else dotted_key("trainer.args", argument)
    table = dotted_key("models", model)
    return (
        dotted_key(f"{table}.args", argument)
        if argument is not None
        else f"{table}.{setting.removeprefix('trainer.')}"
    )


def _effect(setting: str, value: Value) -> str | None:
    """What the value does; ``None`` where it can do no harm."""
    if setting.startswith(ARGS):
        name = setting.removeprefix(ARGS)
        # The user's own settings may say which trainer it is: what reaches in any of them counts.
        reaches = any(trainer.reaches(name, value) for trainer in kinds.all_trainers())
        return "is passed to the trainer" if reaches else None
    if value == SCHEMA[setting].default or (setting == "record.sign" and value is True):
        return None
    if setting == "trainer.script" and _SCRIPT.fullmatch(str(value)):
        return None
    if setting in _EFFECTS_OUTSIDE:
        texts = value if isinstance(value, tuple) else (value,)
        return _EFFECTS_OUTSIDE[setting] if any(map(_leaves_folder, map(str, texts))) else None
    return _EFFECTS.get(setting)


def _leaves_folder(text: str) -> bool:
    """Whether a path, relative to the dataset's folder, leads out of it."""
    return text.startswith(("/", "~")) or ".." in PurePosixPath(text).parts
