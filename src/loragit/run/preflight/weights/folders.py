"""A folder of weights: which of its files count, and the one hash of all of them.

A folder in diffusers' form is what its ``model_index.json`` names: that file, and all files of the
folders of its parts. Of any other folder, all files count. Files whose name, or a folder's on the
way, begins with a dot never do, nor do texts about the model (``.md``) and pictures.

The hash is the SHA-256 of what ``sha256sum`` prints of these files, sorted by the bytes of their
paths, which are relative to the folder (docs/record-format.md shows the command).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from loragit import parse
from loragit.dataset import digests, not_there
from loragit.dataset.hashes import HashCache, hash_files
from loragit.dataset.not_there import NotThere
from loragit.errors import LoragitError
from loragit.record.values import DatasetFile

INDEX = "model_index.json"

_NO_WEIGHTS = (".md", ".png", ".jpg", ".jpeg", ".webp", ".gif")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".onnx")
_PART = re.compile(
    r"(?P<before>.*-)[0-9]{5}(?P<after>-of-(?P<count>[0-9]{5})\.safetensors)", re.DOTALL
)
_MAX_FILES = 10_000
_MAX_INDEX = 1 << 20


class NoModelFolder(LoragitError):
    """A folder that cannot be one model, or that lacks files of it."""


def files_hash(folder: Path, names: Iterable[str], cache: HashCache) -> str:
    """Return the one hash of the files ``names``, relative to ``folder``, 64 hex digits. Raises
    :class:`~loragit.dataset.files.CannotRead`."""
    from hashlib import sha256

    hashed = hash_files(folder, sorted(names), cache)
    lines = digests.digest_lines(DatasetFile(each.name, each.sha256) for each in hashed)
    return sha256(lines).hexdigest()


def model_files(folder: Path) -> list[str]:
    """Return the files of the model in ``folder`` that count, relative to it.

    Weights that are not really there are left out where others lie beside them: people fetch one
    of several formats. Raises :class:`NoModelFolder` for anything else that is not there, and for a
    folder of more than 10,000 files.
    """
    names = _listed_files(folder)
    missing = _missing_files(folder, names)
    present = [name for name in names if name not in missing]
    beside = {name.rpartition("/")[0] for name in present if name.endswith(_WEIGHTS)}
    needed = [
        name
        for name in missing
        if not (name.endswith(_WEIGHTS) and name.rpartition("/")[0] in beside)
    ]
    if needed:
        raise _not_fetched(folder, needed, missing)
    _require_all_parts(folder, present)
    return present


def _require_all_parts(folder: Path, names: Sequence[str]) -> None:
    """Raise :class:`NoModelFolder` where one of several files of the same weights is missing."""
    present, parts = set(names), map(_PART.fullmatch, names)
    every = {(part["before"], part["after"]): int(part["count"]) for part in parts if part}
    for (before, after), count in every.items():
        others = (f"{before}{number:05d}{after}" for number in range(1, count + 1))
        if lost := next((name for name in others if name not in present), None):
            raise NoModelFolder(
                f"there is no file {folder / lost}, and {count} such files belong together",
                hint="put all of them into the folder",
            )


def _not_fetched(
    folder: Path, needed: Sequence[str], missing: Mapping[str, NotThere]
) -> NoModelFolder:
    why = missing[needed[0]]
    more = f" ({len(needed)} such files)" if len(needed) > 1 else ""
    hint = why.hint
    if len(needed) > 1 and why.fetch_all:
        hint = f"fetch them: {why.fetch_all}"
    return NoModelFolder(f"{folder / needed[0]} is {why.what}{more}", hint=hint)


def _listed_files(folder: Path) -> list[str]:
    parts = _parts(folder)
    if parts is None:
        return list(_walk(folder, ""))
    return [INDEX, *(name for part in parts for name in _walk(folder, part))]


def _parts(folder: Path) -> list[str] | None:
    """The folders that ``model_index.json`` names, sorted; ``None`` without such a file.

    A part is ``[library, class]``; ``[null, null]`` stands for one that was left out.
    """
    try:
        with (folder / INDEX).open("rb") as file:
            table = parse.read_json(file.read(_MAX_INDEX))
    except (OSError, ValueError):
        return None
    if not isinstance(table, dict):
        return None
    named = [
        key
        for key, value in table.items()
        if isinstance(value, list) and value and value[0] is not None and "/" not in key
    ]
    return sorted(name for name in named if name[:1] != "." and os.path.isdir(folder / name))


def _walk(folder: Path, part: str) -> list[str]:
    """The files below ``part`` of ``folder``, sorted; links are followed."""
    found: list[str] = []
    top = os.fspath(folder / part)
    # Links may lead in circles, so folders are counted as well.
    for number, (here, folders, files) in enumerate(os.walk(top, followlinks=True)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        before = os.path.relpath(here, folder)
        found += [
            name if before == "." else f"{before}/{name}"
            for name in sorted(files)
            if not name.startswith(".") and not name.lower().endswith(_NO_WEIGHTS)
        ]
        if len(found) + number > _MAX_FILES:
            raise NoModelFolder(
                f"{folder} holds more than {_MAX_FILES:,} files and folders",
                hint="name the folder of the model itself",
            )
    return found


def _missing_files(folder: Path, names: Iterable[str]) -> dict[str, NotThere]:
    """Those of ``names`` that are not really there, and why."""
    missing = {}
    for name in names:
        path = folder / name
        try:
            status = path.stat()
        except OSError:
            why = not_there.missing_target(path)
        else:
            if not stat.S_ISREG(status.st_mode):
                why = NotThere("not a file", None, None)
            elif status.st_size < not_there.MAX_POINTER:
                why = not_there.why_not_there(path)
            else:
                continue
        if why is not None:
            missing[name] = why
    return missing
