"""Finds what trainings left: output folders with a record of the helpers or of loragit, and models
without one."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit.errors import Area, Findings

RECORDS = frozenset({"repos.git", "sdscripts.log"})
"""File names, each of which alone marks the output folder of a run."""
MAX_FOLDERS = 10_000
"""Most folders searched, so that naming ``/`` by mistake still gets an answer."""

_DEPTH = 2
_CONFIGS = frozenset({"config.toml", "config.json"})
_MODELS = (".safetensors", ".ckpt", ".pt")
_SCRIPTS = (".sh", ".zsh")


class Source(NamedTuple):
    """The files of one training, or models that came from a number of trainings not yet known."""

    folder: Path
    models: tuple[str, ...] | None
    """Models without a record; ``None`` if the folder is a run's own."""
    beside: tuple[str, ...] = ()
    """Further models in the folder, which were not named: some may be of the same training."""

    def beside_of(self, files: Container[str]) -> tuple[str, ...]:
        """Further models in the folder that are not among ``files``."""
        return tuple(name for name in self.beside if name not in files)


def find_sources(paths: Iterable[Path], findings: Findings) -> tuple[Source, ...]:
    """Return every source under ``paths``, each once; folders are searched two levels deep.

    Each of ``paths`` that has nothing to do with a training gets a finding.
    """
    looking = _Search()
    for path in paths:
        if path.is_dir():
            if not looking.walk(path, _DEPTH):
                findings.add(
                    f"{path} is not the folder of a training: it holds no repos.git, "
                    "sdscripts.log or model",
                    "name the folder that the models were written to",
                    Area.OUTPUT,
                )
        elif path.is_file() and path.suffix == ".safetensors":
            looking.add_file(path)
        elif path.exists():
            findings.add(
                f"{path} is neither a folder nor a .safetensors file",
                "name an output folder, or a model",
                Area.OUTPUT,
            )
        else:
            findings.add(
                f"there is no {path}",
                "name a run's output folder, a folder of such folders, or a model",
                Area.OUTPUT,
            )
    if looking.cut:
        findings.add(
            f"only {MAX_FOLDERS} folders were looked into", "name fewer at once", Area.OUTPUT
        )
    return tuple(looking.places.values())


def model_bytes(places: Iterable[Source]) -> int:
    """Return the size in bytes of the models at ``places``, as far as it can be determined: roughly
    how much there is to read."""
    total = 0
    for place in places:
        with suppress(OSError):
            names = _listed(place.folder)[0] if place.models is None else place.models
            total += sum(
                (place.folder / name).stat().st_size for name in names if name.endswith(_MODELS)
            )
    return total


class _Search:
    def __init__(self) -> None:
        self.places: dict[Path, Source] = {}
        self.seen: dict[tuple[int, int], int] = {}
        """How deep each folder was searched, by device and inode: links may lead to a folder
        twice."""
        self.cut = False

    def walk(self, folder: Path, depth: int) -> bool:
        """Whether ``folder`` has anything; assumed to be true of a folder searched before."""
        try:
            status = folder.stat()
            files, folders = _listed(folder)
        except OSError:
            return False
        inode = (status.st_dev, status.st_ino)
        if self.seen.get(inode, -1) >= depth:
            return True
        if len(self.seen) >= MAX_FOLDERS:
            self.cut = True
            return True
        self.seen[inode] = depth
        if _is_record(files):
            self.places[folder] = Source(folder, None)
            return True
        models = tuple(name for name in files if name.endswith(".safetensors"))
        if models:
            self._add(folder, models)
        below = [self.walk(folder / name, depth - 1) for name in (folders if depth else ())]
        return bool(models) or any(below)

    def add_file(self, path: Path) -> None:
        """Add a single model; if its record lies beside it, add that instead."""
        files: list[str] = []
        with suppress(OSError):  # a folder may be entered though it may not be listed
            files, _ = _listed(path.parent)
        if _is_record(files):
            self.places[path.parent] = Source(path.parent, None)
        else:
            beside = tuple(name for name in files if name.endswith(".safetensors"))
            self._add(path.parent, (path.name,), beside)

    def _add(self, folder: Path, models: tuple[str, ...], beside: tuple[str, ...] = ()) -> None:
        known = self.places.get(folder)
        before = known.models or () if known else ()
        named = tuple(dict.fromkeys((*before, *models)))
        self.places[folder] = Source(
            folder, named, tuple(name for name in beside if name not in named)
        )


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of files and of folders that may hold a training, sorted. Raises
    ``OSError``."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError:
                continue
            if not is_folder:
                files.append(entry.name)
            elif (
                not entry.name.startswith(".")
                and entry.name != "sample"
                and not entry.name.endswith("-state")
            ):
                folders.append(entry.name)
    return sorted(files), sorted(folders)


def _is_record(files: Iterable[str]) -> bool:
    """Whether these are the files of one run's output folder."""
    names = frozenset(files)
    beside = any(name.endswith((*_MODELS, *_SCRIPTS)) for name in names)
    return bool(names & RECORDS) or (beside and bool(names & _CONFIGS))
