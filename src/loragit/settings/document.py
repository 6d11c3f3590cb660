"""What ``loragit.toml`` and the ``LORAGIT_*`` variables say, checked; errors name the file and the
key.

Values come out checked but not yet resolved: a path is the text as written, because what it is
relative to depends on where it was written (:mod:`loragit.settings.layers`).
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import parse
from loragit.errors import UsageError
from loragit.settings.schema import (
    ARGS,
    SCHEMA,
    UnknownSetting,
    WrongSetting,
    argument_value,
    check_value,
)
from loragit.settings.toml_text import ArgValue, Value, closest, described, dotted_key, quoted_key

MAX_BYTES = 256 * 1024
"""Size of the largest ``loragit.toml`` that is read. A cloned dataset may hold anything, and a
parser's time grows faster than the file."""

MOST_MODELS = 100
"""Most tables ``[models.<model>]`` of one file: the hook loads the settings for each of them."""


class UnreadableSettings(UsageError):
    """A settings file that cannot be read, or is not TOML."""


class SettingsDocument(NamedTuple):
    """The checked content of one settings file; empty if there is no file."""

    path: Path
    values: Mapping[str, Value]
    """By dotted key: ``trainer.repo``, ``trainer.args.learning_rate``; in the file's order."""
    models: Mapping[str, Mapping[str, Value]]
    """``[models.<model>]`` by model. Keys are as in ``values``: ``trainer.script`` stands for
    ``script`` of ``[models.noob]``."""

    def __repr__(self) -> str:
        """Only the path: a traceback must not show a secret."""
        return f"Document({str(self.path)!r})"


_TABLES = ("trainer", "paths", "record")

_EVERY_NAME = (*SCHEMA, *_TABLES, "trainer.args", "models")


def read_settings_file(path: Path) -> SettingsDocument:
    """Read and check one settings file; return an empty document if ``path`` does not exist.

    Raises :class:`UnreadableSettings`, :class:`UnknownSetting` or :class:`WrongSetting`.
    """
    tree = _read_toml_file(path)
    values: dict[str, Value] = {}
    models: dict[str, Mapping[str, Value]] = {}
    for name, content in tree.items():
        if name == "models":
            if len(tables := _table(content, name, path)) > MOST_MODELS:
                raise WrongSetting(f"{path} holds more than {MOST_MODELS} tables under models")
            for model, keys in tables.items():
                models[model] = _read_table(keys, "trainer", dotted_key("models", model), path)
        elif name in _TABLES:
            values |= _read_table(content, name, name, path)
        else:
            raise _unknown_key(quoted_key(name), _EVERY_NAME, path)
    return SettingsDocument(path, values, models)


def _read_toml_file(path: Path) -> Mapping[str, object]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            raise UnreadableSettings(
                f"{path} is not a plain file of at most {MAX_BYTES // 1024} KiB"
            )
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UnreadableSettings(f"{path} cannot be read: {error.strerror}") from error
    try:
        # Windows' editors begin a file with a byte order mark.
        return parse.read_toml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableSettings(f"{path} is not UTF-8 text (at line {line})") from error
    except ValueError as error:
        raise UnreadableSettings(
            f"{path} is not valid TOML: {error}",
            hint="texts need quotes; see https://toml.io for the syntax",
        ) from error


def _read_table(content: object, table: str, shown: str, path: Path) -> dict[str, Value]:
    """Return the values of one table by their key in :data:`SCHEMA`. ``shown`` is the table's name
    in the file."""
    values: dict[str, Value] = {}
    for name, value in _table(content, shown, path).items():
        key = f"{table}.{name}"
        if key + "." == ARGS:
            for arg, item in _table(value, dotted_key(shown, name), path).items():
                values[ARGS + arg] = _check_argument(arg, item, dotted_key(shown, name, arg), path)
        elif key in SCHEMA:
            values[key] = check_value(key, value, f"{dotted_key(shown, name)} in {path}")
        else:
            known = [
                shown + each.removeprefix(table)
                for each in _EVERY_NAME
                if each.startswith(f"{table}.")
            ]
            raise _unknown_key(
                dotted_key(shown, name), known if shown != table else _EVERY_NAME, path
            )
    return values


def _table(content: object, shown: str, path: Path) -> Mapping[str, object]:
    if not isinstance(content, dict):
        raise WrongSetting(f"{shown} in {path} must be a table; it is {described(content)}")
    return content


def _check_argument(name: str, value: object, shown: str, path: Path) -> ArgValue:
    if not _ARGUMENT_NAME.fullmatch(name):
        raise WrongSetting(
            f"{shown} in {path} is not the name of an argument: write it without --, as in "
            "network_dim = 16"
        )
    checked = argument_value(value)
    if isinstance(checked, tuple) and any(
        isinstance(item, str) and item.startswith("--") for item in checked
    ):
        # argparse would take it for an option of its own, which nothing here has checked.
        raise WrongSetting(
            f"{shown} in {path} holds a value that begins with --, which the trainer takes for "
            "another argument",
            hint="give that argument a line of its own",
        )
    if checked is None:
        # The value is not shown: it may be somebody's secret.
        expected = "a text, a number, true, false, or a list of texts and numbers"
        raise WrongSetting(f"{shown} in {path} must be {expected}")
    return checked


def _unknown_key(key: str, known: Iterable[str], path: Path) -> UnknownSetting:
    return UnknownSetting(f"unknown key {key} in {path}; did you mean {closest(key, known)}?")


_ARGUMENT_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
