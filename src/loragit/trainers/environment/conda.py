"""Conda environments found by name: in the folders where installers put conda and its relatives, in
``environments.txt``, and in the folders that ``.condarc`` lists.

Nothing is started, and no symbolic link is resolved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_ROOTS = (
    "miniconda3",
    "anaconda3",
    "miniforge3",
    "mambaforge",
    "miniconda",
    "anaconda",
    "micromamba",
    ".local/share/mamba",  # micromamba 2
    "opt/miniconda3",  # the graphical installers on macOS
    "opt/anaconda3",
    ".conda",  # environments of a conda in a folder that its users cannot write
)
"""Folders where installers put conda and its relatives, relative to the home folder."""

_SHARED_ROOTS = (
    "/opt/conda",
    "/opt/miniconda3",
    "/opt/anaconda3",
    "/opt/miniforge3",
    "/opt/homebrew/Caskroom/miniconda/base",
    "/opt/homebrew/Caskroom/miniforge/base",
    "/opt/homebrew/anaconda3",
)
"""Folders of installations for all users."""

_CONDARCS = (".condarc", ".conda/.condarc", ".config/conda/.condarc", ".mambarc")
"""Settings files of conda and mamba, relative to the home folder."""


class CondaEnvironment(NamedTuple):
    """A conda environment, with or without a Python."""

    name: str
    """``base`` for the installation's own; its absolute folder if conda has no name for it.
    ``conda:`` followed by this is a ``trainer.env``."""
    prefix: Path
    """Its folder, absolute."""


def conda_environments(environ: Mapping[str, str], home: Path) -> tuple[CondaEnvironment, ...]:
    """Return all conda environments that can be found, of any conda, miniforge, mamba or
    micromamba, sorted by name.

    If a name occurs more than once, it means the first one. Only folders and conda's text files are
    read.
    """
    return tuple(sorted(every_environment(environ, home), key=lambda each: each.name))


def conda_root(folder: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the installation that activates the conda environment ``folder``; ``None`` if
    unknown."""
    if conda := environ.get("CONDA_EXE"):
        return Path(conda).parent.parent
    if str(folder) == environ.get("MAMBA_ROOT_PREFIX"):
        return folder
    if folder.parent.name == "envs":
        return folder.parent.parent
    return folder if is_folder(folder / "condabin") else None


def every_environment(environ: Mapping[str, str], home: Path) -> list[CondaEnvironment]:
    """Return the environments in the order in which a name is looked up: ``$CONDA_ENVS_PATH``,
    ``envs_dirs``, beside ``$CONDA_EXE`` and ``$MAMBA_EXE``, under ``$MAMBA_ROOT_PREFIX``, in the
    installers' folders, and in conda's own list."""
    listed = _listed_environments(home)
    roots = _roots(environ, home, listed)
    settings = [home / each for each in _CONDARCS] + [root / ".condarc" for root in roots]
    if file := environ.get("CONDARC"):
        settings.insert(0, Path(file))
    folders = [
        Path(entry)
        for variable in ("CONDA_ENVS_DIRS", "CONDA_ENVS_PATH")
        for entry in environ.get(variable, "").split(os.pathsep)
        if entry.startswith("/")
    ]
    for each in settings:
        folders += _envs_dirs(each, environ, home)
    found = [CondaEnvironment(each.name, each) for folder in folders for each in entries(folder)]
    for root in roots:
        found.append(CondaEnvironment("base", root))
        found += [CondaEnvironment(each.name, each) for each in entries(root / "envs")]
    known = {each.prefix for each in found}
    others = (each for each in listed if each not in known)
    found += [
        CondaEnvironment(each.name if each.parent.name == "envs" else str(each), each)
        for each in others
    ]
    return _each_once(found)


def _each_once(found: Sequence[CondaEnvironment]) -> list[CondaEnvironment]:
    """Drop folders that are not environments, and all but the first of each folder, however many
    paths lead to it."""
    real: dict[tuple[int, int], CondaEnvironment] = {}
    for each in found:
        if is_folder(each.prefix / "conda-meta"):
            status = each.prefix.stat()
            real.setdefault((status.st_dev, status.st_ino), each)
    return list(real.values())


def _roots(environ: Mapping[str, str], home: Path, listed: Sequence[Path]) -> list[Path]:
    """Return the folders that may hold an installation of conda, mamba or micromamba; absolute,
    each once."""
    programs = (environ.get(variable) for variable in ("CONDA_EXE", "MAMBA_EXE"))
    roots = [Path(each).parent.parent for each in programs if each]
    roots += [Path(each) for each in (environ.get("MAMBA_ROOT_PREFIX"),) if each]
    if active := environ.get("CONDA_PREFIX"):
        roots += [Path(active).parent.parent] if Path(active).parent.name == "envs" else []
    roots += [home / folder for folder in _ROOTS] + [Path(folder) for folder in _SHARED_ROOTS]
    roots += [each for each in listed if is_folder(each / "condabin")]
    return list(dict.fromkeys(root for root in roots if root.is_absolute()))


def _listed_environments(home: Path) -> list[Path]:
    """Return the environments in conda's own list, which has one absolute path per line."""
    lines = _lines(home / ".conda/environments.txt")
    return [Path(line.strip()) for line in lines if line.startswith("/")]


def _envs_dirs(file: Path, environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the folders in ``envs_dirs`` of a ``.condarc``, one plain path per line. No other YAML
    is understood."""
    inside = False
    for line in _lines(file):
        item = line.strip()
        if not item or item.startswith("#"):
            continue
        if not line.startswith((" ", "-")):
            inside = item.partition("#")[0].rstrip() in ("envs_dirs:", "envs_path:")
        elif inside and item.startswith("- "):
            text = item.removeprefix("- ").partition(" #")[0].strip()
            if text[:1] == text[-1:] and text[:1] in ("'", '"'):
                text = text[1:-1]
            folder = _expanded(text, environ, home)
            if folder is not None:
                yield folder


def _expanded(text: str, environ: Mapping[str, str], home: Path) -> Path | None:
    """Expand a path of a ``.condarc``, which may begin with ``~/`` or ``$VARIABLE/``."""
    if text.startswith("~/"):
        return home / text[2:]
    if text.startswith("$"):
        variable, _, rest = text[1:].partition("/")
        text = os.path.join(environ.get(variable.strip("{}"), ""), rest)  # noqa: PTH118 - Path() makes "" the current folder
    return Path(text) if text.startswith("/") else None


def _lines(file: Path) -> list[str]:
    """Return the lines of a text file; empty if it cannot be read."""
    if not is_file(file):
        return []
    try:
        return file.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []


def entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
