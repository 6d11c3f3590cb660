"""What ``loragit.toml`` and the environment may say: keys, types, and errors that name where and
what instead.

Values come out checked but not yet resolved: paths are the text as written, because what they are
relative to depends on where they were written (:mod:`loragit.settings.load`).
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import parse
from loragit.errors import UsageError

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
"""Variables that loragit, its hooks and its shell functions are told things with; they set
nothing."""

MAX_BYTES = 256 * 1024
"""Largest ``loragit.toml``. A cloned dataset may hold anything; a parser's time grows faster than
the file."""

MOST_REPOS = 30
"""Repositories that one file names: git is asked about all of them at the same time."""

MOST_MODELS = 100
"""Tables ``[models.<model>]`` of one file: the hook settles everything for each of them."""

ArgValue = str | int | float | bool | tuple[str | int | float, ...]
"""One value of ``[trainer.args]``; a list of the file is a tuple here."""
Value = ArgValue
"""One checked value of any key."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCHEME = re.compile(r"[A-Za-z][\w.+-]*:")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})
_ESCAPES = {
    ord(char): f"\\{short}" for char, short in zip('\b\t\n\f\r"\\', 'btnfr"\\', strict=True)
}
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters that count as printable and show nothing: they could make two commands look the same."""


class UnknownSetting(UsageError):
    """A key, a table or a ``LORAGIT_*`` variable that loragit does not have."""


class WrongSetting(UsageError):
    """A known key with a value that it cannot have."""


class UnreadableSettings(UsageError):
    """A settings file that cannot be read, or is not TOML."""


class Key(NamedTuple):
    """One key of ``loragit.toml``."""

    expected: str
    """What a value has to be, as the error says it."""
    read: Callable[[object], Value | None]
    """A TOML value, checked and in its final type; ``None`` where it is wrong."""
    default: Value
    variable: Callable[[str], object] | None = str
    """The text of an environment variable as a TOML value; ``None`` where the key has no
    variable."""


class Document(NamedTuple):
    """The checked content of one settings file; empty where there is no file."""

    path: Path
    values: Mapping[str, Value]
    """By dotted key: ``trainer.repo``, ``trainer.args.learning_rate``; in the file's order."""
    models: Mapping[str, Mapping[str, Value]]
    """``[models.<model>]`` by model; keys as in ``values``, with ``trainer`` for
    ``models.<model>``."""

    def __repr__(self) -> str:
        """The path alone, for a traceback must not show a secret."""
        return f"Document({str(self.path)!r})"


def truth(text: str) -> bool | None:
    """``1 true yes on`` and ``0 false no off`` or nothing, in any case; ``None`` for any other
    text."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _line(value: object) -> str | None:
    # No path, argument or environment can hold a NUL; the system calls would raise far from here.
    return value if isinstance(value, str) and "\0" not in value else None


def _filled(value: object) -> str | None:
    return _line(value) or None


def _choice(options: tuple[str, ...]) -> Callable[[object], Value | None]:
    return lambda value: value if isinstance(value, str) and value in options else None


def _flag(value: object) -> bool | None:
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
    return text if text == "git" else truth(text)


def _environment(value: object) -> str | None:
    text = _line(value)
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
    texts = tuple(item for item in value if _line(item) is not None)
    return texts if len(texts) == len(value) else None


def _files(value: object) -> tuple[str, ...] | None:
    texts = _texts(value)
    return None if texts is None or "" in texts else texts


def _repositories(value: object) -> tuple[str, ...] | None:
    texts = _files(value)
    return None if texts is None or len(texts) > MOST_REPOS else texts


_ARGUMENT_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)


def _argument(value: object) -> ArgValue | None:
    if isinstance(value, list):
        items = [
            item
            for item in value
            if not isinstance(item, bool | list) and _argument(item) is not None
        ]
        return tuple(items) if len(items) == len(value) else None
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    return _line(value)


_PATH = "the path of a file or folder"
SCHEMA: Mapping[str, Key] = {
    "trainer.kind": Key(f"one of {', '.join(KINDS)}", _choice(KINDS), KINDS[0]),
    "trainer.repo": Key(_PATH, _filled, "~/source/repos/sd-scripts"),
    "trainer.script": Key("a path relative to trainer.repo", _filled, "sdxl_train_network.py"),
    "trainer.python": Key('a command or the path of a Python, or ""', _line, ""),
    "trainer.env": Key('"conda:NAME", "venv:PATH", the path of a Python, or ""', _environment, ""),
    "trainer.launcher": Key("a command line (its quotes closed) or a list of texts", _command, ()),
    "trainer.workdir": Key(f"one of {', '.join(WORKDIRS)}", _choice(WORKDIRS), WORKDIRS[0]),
    "trainer.lycoris_repo": Key('the path of a folder, or ""', _line, ""),
    "trainer.stop_timeout": Key("a number of seconds, 0 or more", _seconds, 30.0, _seconds_text),
    "paths.datasets": Key(_PATH, _filled, "~/datasets"),
    "paths.output": Key(_PATH, _filled, "~/output_dir"),
    "paths.config": Key(_PATH, _filled, "config.toml"),
    "paths.prompts": Key('the path of a file, or "" for none', _line, "sample-prompts.txt"),
    "record.on_empty": Key(f"one of {', '.join(ON_EMPTY)}", _choice(ON_EMPTY), ON_EMPTY[0]),
    "record.allow_dirty": Key("true or false", _flag, False, truth),
    "record.sign": Key('true, false or "git"', _signing, "git", _signing_text),
    "record.allow_secrets": Key("true or false", _flag, False, truth),
    "record.inputs": Key("a list of paths", _files, (), None),
    "record.repos": Key(f"a list of at most {MOST_REPOS} paths", _repositories, (), None),
}
"""Every key, in the order in which it is shown. ``""`` as a value of a key that takes it means:
none."""

VARIABLES: Mapping[str, str] = {
    PREFIX + key.replace(".", "_").upper(): key
    for key, spec in SCHEMA.items()
    if spec.variable is not None
}
"""``LORAGIT_TRAINER_REPO`` and its like, with the key that each sets."""

_TABLES = ("trainer", "paths", "record")
_EVERY_NAME = (*SCHEMA, *_TABLES, "trainer.args", "models")


def read_file(path: Path) -> Document:
    """Read and check one settings file; an empty document where ``path`` does not exist.

    Raises :class:`UnreadableSettings`, :class:`UnknownSetting` or :class:`WrongSetting`.
    """
    tree = _parse(path)
    values: dict[str, Value] = {}
    models: dict[str, Mapping[str, Value]] = {}
    for name, content in tree.items():
        if name == "models":
            if len(tables := _table(content, name, path)) > MOST_MODELS:
                raise WrongSetting(f"{path} holds more than {MOST_MODELS} tables under models")
            for model, keys in tables.items():
                models[model] = _read_table(keys, "trainer", dotted("models", model), path)
        elif name in _TABLES:
            values |= _read_table(content, name, name, path)
        else:
            raise _unknown(_quoted_key(name), _EVERY_NAME, path)
    return Document(path, values, models)


def _parse(path: Path) -> Mapping[str, object]:
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
        return parse.read_toml(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableSettings(f"{path} is not UTF-8 text (at line {line})") from error
    except ValueError as error:
        raise UnreadableSettings(
            f"{path} is not valid TOML: {error}",
            hint="texts need quotes; see https://toml.io for the syntax",
        ) from error


def _read_table(content: object, table: str, shown: str, path: Path) -> dict[str, Value]:
    """Values of one table by their key in :data:`SCHEMA`; ``shown`` is what the file calls the
    table."""
    values: dict[str, Value] = {}
    for name, value in _table(content, shown, path).items():
        key = f"{table}.{name}"
        if key + "." == ARGS:
            for arg, item in _table(value, dotted(shown, name), path).items():
                values[ARGS + arg] = _checked_argument(arg, item, dotted(shown, name, arg), path)
        elif key in SCHEMA:
            values[key] = checked(key, value, f"{dotted(shown, name)} in {path}")
        else:
            known = [
                shown + each.removeprefix(table)
                for each in _EVERY_NAME
                if each.startswith(f"{table}.")
            ]
            raise _unknown(dotted(shown, name), known if shown != table else _EVERY_NAME, path)
    return values


def _table(content: object, shown: str, path: Path) -> Mapping[str, object]:
    if not isinstance(content, dict):
        raise WrongSetting(f"{shown} in {path} must be a table; it is {_described(content)}")
    return content


def checked(key: str, value: object, source: str, written: object | None = None) -> Value:
    """``value`` in the final type of ``key``. The error says it with ``source`` and shows
    ``written`` instead."""
    result = SCHEMA[key].read(value)
    if result is None:
        shown = _described(value if written is None else written)
        raise WrongSetting(f"{source} must be {SCHEMA[key].expected}; it is {shown}")
    return result


def _checked_argument(name: str, value: object, shown: str, path: Path) -> ArgValue:
    if not _ARGUMENT_NAME.fullmatch(name):
        raise WrongSetting(
            f"{shown} in {path} is no name of an argument: write it without --, as in network_dim "
            "= 16"
        )
    checked = _argument(value)
    if isinstance(checked, tuple) and any(
        isinstance(item, str) and item.startswith("--") for item in checked
    ):
        # argparse would take it for an option of its own, and what it says would have been looked
        # at by nobody.
        raise WrongSetting(
            f"{shown} in {path} holds a value that begins with --, which the trainer takes for "
            "another argument",
            hint="give that argument a line of its own",
        )
    if checked is None:
        # The value is not shown: it may be a key to somebody's account.
        expected = "a text, a number, true, false, or a list of texts and numbers"
        raise WrongSetting(f"{shown} in {path} must be {expected}")
    return checked


def read_variables(environ: Mapping[str, str]) -> dict[str, tuple[Value, str]]:
    """Keys that ``LORAGIT_*`` variables set, each with the variable's name.

    An empty variable counts as not set, except where an empty text is a value of its key (``""``
    for none).
    """
    found: dict[str, tuple[Value, str]] = {}
    for variable in sorted(
        name for name in environ if name.startswith(PREFIX) and name not in MARKS
    ):
        key = VARIABLES.get(variable)
        if key is None:
            known = nearest(variable, VARIABLES)
            raise UnknownSetting(
                f"unknown variable {variable} in the environment; did you mean {known}?",
                hint=f"take it away with: unset {variable}",
            )
        reader, text = SCHEMA[key].variable, environ[variable]
        if reader is not None and (text or SCHEMA[key].read("") is not None):
            found[key] = (
                checked(key, reader(text), f"{variable} in the environment", text),
                variable,
            )
    return found


def _unknown(key: str, known: Iterable[str], path: Path) -> UnknownSetting:
    return UnknownSetting(f"unknown key {key} in {path}; did you mean {nearest(key, known)}?")


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of ``known`` (at least one) most like ``word``, as a whole or in its last part."""
    from difflib import SequenceMatcher

    def alike(one: str, other: str) -> float:
        return SequenceMatcher(None, one, other).ratio()

    word = word[:100]
    leaf = word.rpartition(".")[2]
    return max(known, key=lambda each: max(alike(word, each), alike(leaf, each.rpartition(".")[2])))


def dotted(*parts: str) -> str:
    """A TOML key: the first part as it is (it may be dotted itself), the others quoted where TOML
    asks for it."""
    return ".".join((parts[0], *map(_quoted_key, parts[1:])))


def _quoted_key(part: str) -> str:
    return part if _BARE.fullmatch(part) else literal(part)


def literal(value: Value) -> str:
    """``value`` as TOML, in one line. What is no Unicode (bytes of the environment can be that)
    reads ``?``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(literal(item) for item in value)}]"
    if isinstance(value, str):
        return f'"{_visible(value.encode("utf-8", "replace").decode().translate(_ESCAPES))}"'
    return repr(value)


def _visible(written: str) -> str:
    """With escapes, as TOML has them, for all that a terminal obeys or shows nothing of."""
    if written.isprintable() and not _BLANK.search(written):
        return written
    return "".join(
        char if char.isprintable() and not _BLANK.match(char) else _escaped(ord(char))
        for char in written
    )


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _described(value: object) -> str:
    if isinstance(value, str):
        return literal(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, bool | int | float):
        # Python refuses to write out numbers of more than 4,300 digits, and TOML can hold them in
        # hexadecimal.
        return (
            literal(value)
            if not isinstance(value, int) or abs(value) < 2**64
            else "a very large number"
        )
    return (
        "a list"
        if isinstance(value, list)
        else "a table"
        if isinstance(value, dict)
        else "a date or time"
    )
