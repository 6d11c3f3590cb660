"""Which keys ``loragit.toml`` has: the type of each, its default, and its environment variable."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from loragit.errors import UsageError
from loragit.settings.toml_text import ArgValue, Value, closest, described

FILE = "loragit.toml"
KINDS = ("sd-scripts",)
"""Trainers that loragit knows."""
ON_EMPTY = ("revert", "delete-tag", "keep")
WORKDIRS = ("trainer", "dataset")

ARGS = "trainer.args."
"""What the keys of ``[trainer.args]`` begin with in a flat mapping; the rest is the argument as
written."""

PREFIX = "LORAGIT_"
MARKS = frozenset({"LORAGIT_REASON", "LORAGIT_RUN", "LORAGIT_RUN_OUTPUT", "LORAGIT_SHELL"})
"""Variables by which loragit, its hooks and its shell functions tell each other things; they set
nothing."""


MOST_REPOS = 30
"""Most repositories that one file may name: git is asked about all of them at once."""


_SCHEME = re.compile(r"[A-Za-z][\w.+-]*:")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


class UnknownSetting(UsageError):
    """A key, a table or a ``LORAGIT_*`` variable that loragit does not have."""


class WrongSetting(UsageError):
    """A known key with a value that it cannot have."""


class SettingKey(NamedTuple):
    """One key of ``loragit.toml``."""

    expected: str
    """What a value has to be, in the words of the error message."""
    read: Callable[[object], Value | None]
    """Return a TOML value, checked, in its final type; ``None`` if it is wrong."""
    default: Value
    variable: Callable[[str], object] | None = str
    """Make a TOML value of the text of an environment variable; ``None`` if the key has no
    variable."""


def parse_bool(text: str) -> bool | None:
    """Read ``1 true yes on``, and ``0 false no off`` or nothing, in any case; ``None`` for any
    other text."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _text(value: object) -> str | None:
    # No path, argument or variable can hold a NUL; the system calls would raise far from here.
    return value if isinstance(value, str) and "\0" not in value else None


def _filled_text(value: object) -> str | None:
    return _text(value) or None


def _choice(options: tuple[str, ...]) -> Callable[[object], Value | None]:
    return lambda value: value if isinstance(value, str) and value in options else None


def _bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1e9 else None


def _seconds_text(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _signing(value: object) -> Value | None:
    return value if isinstance(value, bool) or value == "git" else None


def _signing_text(text: str) -> object:
    return text if text == "git" else parse_bool(text)


def _environment(value: object) -> str | None:
    text = _text(value)
    if text is None or text in ("conda:", "venv:"):
        return None
    known = text.startswith(("conda:", "venv:")) or _SCHEME.match(text) is None
    return text if known else None


def _command(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        import shlex

        try:
            value = shlex.split(value)
        except ValueError:
            return None
    words = _texts(value)
    return None if words is None or words[:1] == ("",) else words


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    texts = tuple(item for item in value if _text(item) is not None)
    return texts if len(texts) == len(value) else None


def _files(value: object) -> tuple[str, ...] | None:
    texts = _texts(value)
    return None if texts is None or "" in texts else texts


def _repositories(value: object) -> tuple[str, ...] | None:
    texts = _files(value)
    return None if texts is None or len(texts) > MOST_REPOS else texts


def argument_value(value: object) -> ArgValue | None:
    if isinstance(value, list):
        items = [
            item
            for item in value
            if not isinstance(item, bool | list) and argument_value(item) is not None
        ]
        return tuple(items) if len(items) == len(value) else None
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    return _text(value)


_PATH = "the path of a file or folder"
SCHEMA: Mapping[str, SettingKey] = {
    "trainer.kind": SettingKey(f"one of {', '.join(KINDS)}", _choice(KINDS), KINDS[0]),
    "trainer.repo": SettingKey(_PATH, _filled_text, "~/source/repos/sd-scripts"),
    "trainer.script": SettingKey(
        "a path relative to trainer.repo", _filled_text, "sdxl_train_network.py"
    ),
    "trainer.python": SettingKey('a command or the path of a Python, or ""', _text, ""),
    "trainer.env": SettingKey(
        '"conda:NAME", "venv:PATH", the path of a Python, or ""', _environment, ""
    ),
    "trainer.launcher": SettingKey(
        "a command line (its quotes closed) or a list of texts", _command, ()
    ),
    "trainer.workdir": SettingKey(f"one of {', '.join(WORKDIRS)}", _choice(WORKDIRS), WORKDIRS[0]),
    "trainer.lycoris_repo": SettingKey('the path of a folder, or ""', _text, ""),
    "trainer.stop_timeout": SettingKey(
        "a number of seconds, 0 or more", _seconds, 30.0, _seconds_text
    ),
    "paths.datasets": SettingKey(_PATH, _filled_text, "~/datasets"),
    "paths.output": SettingKey(_PATH, _filled_text, "~/output_dir"),
    "paths.config": SettingKey(_PATH, _filled_text, "config.toml"),
    "paths.prompts": SettingKey('the path of a file, or "" for none', _text, "sample-prompts.txt"),
    "record.on_empty": SettingKey(f"one of {', '.join(ON_EMPTY)}", _choice(ON_EMPTY), ON_EMPTY[0]),
    "record.allow_dirty": SettingKey("true or false", _bool, False, parse_bool),
    "record.sign": SettingKey('true, false or "git"', _signing, "git", _signing_text),
    "record.allow_secrets": SettingKey("true or false", _bool, False, parse_bool),
    "record.enclosing": SettingKey("true or false", _bool, False, parse_bool),
    "record.inputs": SettingKey("a list of paths", _files, (), None),
    "record.repos": SettingKey(f"a list of at most {MOST_REPOS} paths", _repositories, (), None),
}
"""Every key, in the order in which they are shown. Where a key takes ``""``, that means none."""

VARIABLES: Mapping[str, str] = {
    PREFIX + key.replace(".", "_").upper(): key
    for key, spec in SCHEMA.items()
    if spec.variable is not None
}
"""The key that each variable sets: ``LORAGIT_TRAINER_REPO`` sets ``trainer.repo``."""


def check_value(key: str, value: object, source: str, written: object | None = None) -> Value:
    """Return ``value`` in the final type of ``key``.

    Raises :class:`WrongSetting`, which names ``source`` and shows ``written`` if given, else
    ``value``.
    """
    result = SCHEMA[key].read(value)
    if result is None:
        shown = described(value if written is None else written)
        raise WrongSetting(f"{source} must be {SCHEMA[key].expected}; it is {shown}")
    return result


def read_environment(environ: Mapping[str, str]) -> dict[str, tuple[Value, str]]:
    """Return the value of each key that a ``LORAGIT_*`` variable sets, with the variable's name.

    An empty variable counts as not set, unless its key takes ``""``.
    """
    found: dict[str, tuple[Value, str]] = {}
    for variable in sorted(
        name for name in environ if name.startswith(PREFIX) and name not in MARKS
    ):
        key = VARIABLES.get(variable)
        if key is None:
            known = closest(variable, VARIABLES)
            raise UnknownSetting(
                f"unknown variable {variable} in the environment; did you mean {known}?",
                hint=f"remove it with: unset {variable}",
            )
        reader, text = SCHEMA[key].variable, environ[variable]
        if reader is not None and (text or SCHEMA[key].read("") is not None):
            found[key] = (
                check_value(key, reader(text), f"{variable} in the environment", text),
                variable,
            )
    return found
