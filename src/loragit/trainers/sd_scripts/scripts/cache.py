"""The options of a script, kept on disk for as long as no file changes that they were read from."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from loragit.dataset.hashes import MARGIN_NS
from loragit.trainers.sd_scripts.scripts.parser import Option, ScriptOptions, read_options

_VERSION = 1
"""Of the file's form, and of what is read from a source: another version reads anew."""


def script_options(script: Path, repo: Path, folder: Path | None) -> ScriptOptions | None:
    """Return what :func:`~loragit.trainers.sd_scripts.scripts.parser.read_options` does, from a
    file in ``folder`` where that still holds. The cache only saves time: no error of it counts."""
    if folder is None:
        return read_options(script, repo)
    name = hashlib.sha256(os.fsencode(f"{repo}\0{script}")).hexdigest()[:32]
    file = folder / f"{name}.json"
    known = _load(file)
    if known is not None:
        return known
    found = read_options(script, repo)
    if found is not None:
        _store(file, found)
    return found


def _load(file: Path) -> ScriptOptions | None:
    try:
        table = json.loads(file.read_bytes())
        if table["version"] != _VERSION or _stamps(table["files"]) != table["stamps"]:
            return None
        options = tuple(
            Option(name, kind, values, tuple(choices), default, required)
            for name, kind, values, choices, default, required in table["options"]
        )
        aliases = tuple((alias, name) for alias, name in table["aliases"])
        return ScriptOptions(options, aliases, table["complete"] is True, tuple(table["files"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _store(file: Path, found: ScriptOptions) -> None:
    stamps = _stamps(found.files)
    newest = max((changed for _, changed in stamps), default=0)
    if newest > time.time_ns() - MARGIN_NS:
        return  # a later write could leave the same times
    table = {
        "version": _VERSION,
        "files": found.files,
        "stamps": stamps,
        "complete": found.complete,
        "options": found.options,
        "aliases": found.aliases,
    }
    draft = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(table), encoding="ascii")
        draft.replace(file)


def _stamps(files: tuple[str, ...]) -> list[list[int]]:
    """Size and time of each file. Raises ``OSError``."""
    found = (Path(each).stat() for each in files)
    return [[status.st_size, status.st_mtime_ns] for status in found]
