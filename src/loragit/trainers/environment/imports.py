"""Which files the trainer's Python will import, as :mod:`loragit.trainers.environment.probe` finds
them: those of modules that arguments name, and those that hide others of their name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_FIELDS = 3


class ImportedFile(NamedTuple):
    """A file, and what it is imported as."""

    module: str
    file: Path
    """Absolute; symbolic links are kept."""


class Imports(NamedTuple):
    """What the trainer's Python would import."""

    named: tuple[ImportedFile, ...] = ()
    """Modules that arguments name, and the packages that hold them."""
    over: tuple[ImportedFile, ...] = ()
    """Modules in the folder of the trainer's script that hide another one."""
    under: tuple[ImportedFile, ...] = ()
    """Modules that hide one in the folder of the trainer's script."""


def parse_imports(said: bytes) -> Imports:
    """Read the rows of the probe; those that are no rows are left out."""
    fields = [os.fsdecode(field) for field in said.split(b"\0")]
    kinds: dict[str, list[ImportedFile]] = {"named": [], "over": [], "under": []}
    for at in range(0, len(fields) - _FIELDS, _FIELDS):
        kind, module, file = fields[at : at + _FIELDS]
        if kind in kinds and file:
            kinds[kind].append(ImportedFile(module, Path(file)))
    return Imports(*(tuple(kinds[kind]) for kind in ("named", "over", "under")))


def module_lines(names: Iterable[str]) -> bytes:
    """Write ``names`` for the probe; what no module can be called is left out."""
    plain = [name for name in names if all(part.isidentifier() for part in name.split("."))]
    return "".join(f"{name}\n" for name in dict.fromkeys(plain)).encode("utf-8", "surrogateescape")


def is_installed(file: Path) -> bool:
    """Whether ``file`` (resolved) belongs to an installation, whose packages ``environment.txt``
    lists."""
    return not {"site-packages", "dist-packages", "__pypackages__"}.isdisjoint(file.parts)
