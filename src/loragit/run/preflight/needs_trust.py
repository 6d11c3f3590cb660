"""What of a dataset's ``loragit.toml`` starts a program, loads code, or reaches out of the
dataset's folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from loragit import git
from loragit.errors import LoragitError
from loragit.git import catfile
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
    "record.enclosing": "runs are recorded in the repository around the dataset",
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
    """One value that the user has to agree to."""

    key: str
    """As the file has it, with the table of a model: ``models.noob.launcher``."""
    setting: str
    """The key that it sets, as in the schema."""
    value: str
    """As TOML, in one line."""
    effect: str
    """What it does: ``is started``."""

    @property
    def to_show(self) -> str:
        """``key = value`` for the question to the user: without secrets, but with everything that a
        shell would run."""
        return self._without(redact_plain_words)

    @property
    def redacted(self) -> str:
        """As :attr:`to_show`, without anything that looks like a secret: to be written down."""
        return self._without(redact_all)

    def _without(self, redact: Callable[[bytes], bytes]) -> str:
        if self.setting.startswith(ARGS) and rules.is_secret_name(self.setting.removeprefix(ARGS)):
            return f"{self.key} = {toml_literal(rules.MASK)}"
        return f"{self.key} = {redact(self.value.encode()).decode('utf-8', 'replace')}"


def risky_values(document: SettingsDocument) -> tuple[RiskyValue, ...]:
    """The values of a dataset's settings that need consent, those of single models included, in
    the file's order."""
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


_MAX_HASHED = 64 * 1024 * 1024
"""Bytes of a program in the dataset that are hashed, so that another program there is another
question."""


_MAX_ROWS = 500_000
"""Files of a repository that are told apart; in a larger one every commit is another question."""


_LINK = b"120000 "
"""How ``git ls-tree`` begins a line about a symbolic link."""


# fmt: off
_DATA = (
    b".png", b".jpg", b".jpeg", b".webp", b".bmp", b".avif", b".jxl", b".gif",
    b".txt", b".caption", b".npz", b".md", b".toml", b".json", b".jsonl", b".safetensors",
    b".sha256", b".gitignore", b".gitattributes",
)
# fmt: on
"""How files end that are no code, wherever they lie. What an argument names counts whatever it is
called."""


def named_contents(
    folder: Path,
    top: Path,
    document: SettingsDocument,
    found: Iterable[RiskyValue],
    trainer: Path | None,
) -> Iterator[tuple[str, str]]:
    """(path as written, hash) of what the dataset's work tree ``top`` holds of what is named: after
    a pull that changes a program there, the user is asked again."""
    tables = (document.values, *document.models.values())
    repos = dict.fromkeys(str(table["trainer.repo"]) for table in tables if "trainer.repo" in table)
    bases = [Path(os.path.realpath(folder)), *(_expanded(folder, repo) for repo in repos)]
    bases += [trainer] if trainer is not None and trainer not in bases else []
    for written in dict.fromkeys(each for value in found for each in _possible_paths(value)):
        for base in bases:
            place = Path(os.path.normpath(_expanded(base, written)))
            real = Path(os.path.realpath(place))
            # A link that is led elsewhere is another program as well.
            if (place.is_relative_to(top) or real.is_relative_to(top)) and real.exists():
                yield written, f"{os.path.relpath(real, top)} {_content_id(real, top)}"


def _expanded(base: Path, written: str) -> Path:
    return base / os.path.expanduser(written)  # noqa: PTH111 - Path raises for a user who is not there


def _possible_paths(risky: RiskyValue) -> Iterator[str]:
    """The words of a value that could be paths."""
    import tomllib

    value = tomllib.loads(f"value = {risky.value}")["value"]
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, str) and item and "\0" not in item:
            plain = re.sub(r"^(?:venv|conda):|^[\w-]+=", "", item)
            # sd-scripts adds the suffix to a --config_file that has none.
            yield from (plain, f"{plain}.toml")
            if "/" not in plain:  # a module
                yield from (f"{plain.partition('.')[0]}{suffix}" for suffix in ("", ".py"))


def _content_id(place: Path, top: Path) -> str:
    """A file by its hash, a folder by what HEAD holds of it; empty for what is neither, or lies
    elsewhere."""
    if not place.is_relative_to(top):
        return ""
    with suppress(OSError, LoragitError):
        if place.is_file():
            with place.open("rb") as file:
                digest = hashlib.sha256(file.read(_MAX_HASHED)).hexdigest()
                status = os.fstat(file.fileno())
            return (
                digest
                if status.st_size <= _MAX_HASHED
                else f"{digest} {status.st_size} {status.st_mtime_ns}"
            )
        if place == top:
            return _code_digest(top)
        if place.is_dir():
            return _tree_id(place.relative_to(top), top)
    return ""


def _tree_id(folder: Path, top: Path) -> str:
    """A folder by its tree in HEAD, or by the commit of the submodule that it is or lies in; empty
    for neither.

    A tree holds links by where they lead, and what lies there may change: then all code of the
    repository counts.
    """
    for each in (folder, *folder.parents[:-1]):
        found = _object_id(f"HEAD:{each}", top)
        if not found:
            continue
        if git.call("cat-file", "-t", found.strip(), cwd=top).out.strip() != b"tree":
            return found
        if each != folder:
            break
        return (
            found + _code_digest(top)
            if any(row.startswith(_LINK) for row in _tree_rows(found.strip(), top))
            else found
        )
    return ""


def _object_id(revision: str, top: Path) -> str:
    """Its id and a line end, or nothing."""
    return git.call("rev-parse", "--quiet", "--verify", revision, cwd=top).out.decode()


def _code_digest(top: Path) -> str:
    """All that HEAD holds, but for what cannot be code: another caption is no other program."""
    digest = hashlib.sha256()
    for number, row in enumerate(_tree_rows("HEAD", top)):
        about, _, path = row.partition(b"\t")
        if number == _MAX_ROWS:
            return _object_id("HEAD^{tree}", top)
        if path.lower().endswith(_DATA):
            continue
        digest.update(row + b"\0")
        if about.startswith(_LINK) and os.path.isfile(at := top / os.fsdecode(path)):
            digest.update(_content_id(Path(os.path.realpath(at)), top).encode())
    return digest.hexdigest()


def _tree_rows(tree: str, top: Path) -> Iterator[bytes]:
    return catfile.rows("ls-tree", "-r", "-z", tree, cwd=top)
