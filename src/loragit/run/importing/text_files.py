"""The text files beside a training's models: config, prompts, script, ``repos.git``. Redacted, and
limited in size."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from loragit import parse, text
from loragit.record.values import Entry
from loragit.run.importing import gui_files, zsh_helpers
from loragit.run.importing.zsh_helpers import ReposGit
from loragit.secrets import find, redact, tables

MAX_BYTES = 4 * 1024 * 1024
"""Most bytes of one such file."""
MAX_INPUTS = 100

_CONFIGS = ("config.toml", "config.json")
_PROMPTS = ("sample-prompts.txt", "sample-prompts.toml", "sample-prompts.json")
_SCRIPTS = (".sh", ".zsh")


class TextFiles(NamedTuple):
    """The files, ready for a record."""

    entries: tuple[Entry, ...] = ()
    """Secrets in them are redacted."""
    sha1s: tuple[tuple[str, str], ...] = ()
    """(trailer, SHA-1): of the file that ran if ``repos.git`` lists it, else of the file as it is
    now."""
    repos: ReposGit = ReposGit()
    script: bytes = b""
    """The script as it is; may contain secrets."""
    redacted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Prompts are not included: a training may have had none."""
    has_prompts: bool = False


def read_text_files(folder: Path) -> TextFiles:
    """Read the text files directly in ``folder``. Links are not followed: their target is today's,
    not the run's."""
    names = _regular_files(folder)
    raw = _read(folder, "repos.git") if "repos.git" in names else None
    repos = zsh_helpers.parse_repos_git(raw or b"")
    config = next((name for name in _CONFIGS if name in names), None)
    prompts = next((name for name in _PROMPTS if name in names), None)
    scripts = _scripts(names, repos, folder.name)
    wanted = {name: name for name in (config, prompts, *scripts[:1]) if name}
    wanted |= {f"inputs/{name}": name for name in scripts[1:]}
    inputs = _inner_files(folder, "inputs")
    wanted |= {f"inputs/{name}": f"inputs/{name}" for name in inputs[:MAX_INPUTS]}
    found = _Collector(folder)
    for place, name in wanted.items():
        found.add(place, name)
    named = (("Config-SHA1", config, _CONFIGS), ("Prompts-SHA1", prompts, _PROMPTS))
    others = tuple(file.name for file in repos.files if file.name not in (*_CONFIGS, *_PROMPTS))
    ran = scripts[0] if scripts else None
    for trailer, file_name, names_told in (*named, ("Script-SHA1", ran, others)):
        found.hash(trailer, file_name, names_told, repos)
    missing = [
        *([] if config else ["config.toml"]),
        *([] if scripts else ["script"]),
        *found.missing,
    ]
    if repos.unread:
        missing.append(f"{text.count(repos.unread, 'line')} of repos.git that cannot be read")
    return TextFiles(
        entries=tuple(found.entries),
        sha1s=tuple(found.sha1s),
        repos=repos,
        script=found.raw.get(scripts[0], b"") if scripts else b"",
        redacted=tuple(found.redacted),
        missing=tuple(missing),
        has_prompts=prompts is not None,
    )


def read_gui_files(folder: Path, output_name: str, started: datetime | None) -> TextFiles:
    """Read the files that the GUI of sd-scripts wrote for the training ``output_name``, as inputs.
    Links are not followed."""

    def named_in(config: str) -> str | None:
        with suppress(ValueError):
            name = parse.read_toml((_read(folder, config) or b"").decode()).get("output_name")
            return name if isinstance(name, str) else None
        return None

    chosen = gui_files.gui_files(_regular_files(folder), output_name, started, named_in)
    found = _Collector(folder)
    for name in (chosen.config, chosen.fields):
        if name is not None:
            found.add(f"inputs/{name}", name)
    inner, _, prompts = gui_files.PROMPTS.partition("/")
    has_prompts = chosen.latest and prompts in _inner_files(folder, inner)
    if has_prompts:
        found.add("sample-prompts.txt", gui_files.PROMPTS)
        found.hash("Prompts-SHA1", gui_files.PROMPTS, (), ReposGit())
    return TextFiles(
        entries=tuple(found.entries),
        sha1s=tuple(found.sha1s),
        redacted=tuple(found.redacted),
        missing=tuple(found.missing),
        has_prompts=has_prompts,
    )


def redacted_entry(entry: Entry) -> tuple[Entry | None, bool]:
    """Return ``entry`` without its secrets, and whether it had any; ``None`` if they cannot be
    removed."""
    data = redact.redact_all(tables.redact_table(entry.data))
    if find.find_secrets(data) or any(True for _ in tables.find_table_secrets(data)):
        return None, True
    return entry._replace(data=data), data != entry.data


class _Collector:
    """Collects files one by one."""

    def __init__(self, folder: Path) -> None:
        self.entries: list[Entry] = []
        self.raw: dict[str, bytes] = {}
        self.sha1s: list[tuple[str, str]] = []
        self.redacted: list[str] = []
        self.missing: list[str] = []
        self._folder = folder

    def add(self, place: str, name: str) -> None:
        """Add the file ``name`` at path ``place`` in the record."""
        path = self._folder / name
        data = _read(self._folder, name)
        if data is None:
            self.missing.append(
                f"{place} (it cannot be read, or is larger than {MAX_BYTES >> 20} MiB)"
            )
            return
        self.raw[name] = data
        executable = bool(path.lstat().st_mode & stat.S_IXUSR)
        entry, had_secrets = redacted_entry(Entry(place, data, executable))
        if entry is None:
            self.missing.append(f"{place} (it holds what looks like a secret)")
            return
        self.entries.append(entry)
        self.redacted += [place] if had_secrets else []

    def hash(self, trailer: str, name: str | None, names: Iterable[str], repos: ReposGit) -> None:
        """Add the trailer of a file, and note whether the file still matches the SHA-1 in
        ``repos.git``."""
        then = next((sha1 for each in (name, *names) if each and (sha1 := repos.sha1(each))), None)
        now = text.sha1(self.raw[name]) if name in self.raw else None
        if then or now:
            self.sha1s.append((trailer, then or now or ""))
        if then and now and then != now:
            self.missing.append(
                f"{name} as it was when the run began (repos.git tells another SHA-1)"
            )


def _scripts(names: Iterable[str], repos: ReposGit, run: str) -> list[str]:
    """Return the shell scripts, the one that ran first: known from ``repos.git`` or by its name."""
    listed = [file.name for file in repos.files if file.name not in (*_CONFIGS, *_PROMPTS)]
    first = [*listed, "train.sh", f"{run}.sh", f"{run}.zsh"]
    scripts = [name for name in names if name.endswith(_SCRIPTS) or name in listed]
    return sorted(
        scripts, key=lambda name: (first.index(name) if name in first else len(first), name)
    )


def _inner_files(folder: Path, name: str) -> list[str]:
    """Return the names of the regular files in the folder ``name`` of ``folder``; none if that is a
    link."""
    inner = folder / name
    return [] if inner.is_symlink() else _regular_files(inner)


def _regular_files(folder: Path) -> list[str]:
    """Return the file names, sorted; empty if there is no such folder."""
    names = []
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    return sorted(names)


def _read(folder: Path, name: str) -> bytes | None:
    """Return the bytes of a regular file of at most :data:`MAX_BYTES`; ``None`` for anything
    else."""
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return None
        try:
            return file.read(MAX_BYTES)
        except OSError:
            return None
