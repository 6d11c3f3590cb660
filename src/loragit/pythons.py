"""Finding a Python: on PATH, in a virtual environment, in a conda environment by its name.

Nothing is started, and no symbolic link is resolved: a virtual environment's ``python`` is a link out of it, and
only the link makes Python find the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError

_CONDA_ROOTS = (
    "miniconda3",
    "anaconda3",
    "miniforge3",
    "mambaforge",
    "micromamba",
    ".local/share/mamba",  # micromamba 2
    ".conda",  # environments of a conda whose own folder its users cannot write
)
"""Where the installers put conda and its kin, relative to the home folder."""


class PythonMissing(LoragitError):
    """The Python that the settings name does not exist or cannot be run."""


def on_path(command: str | None, environ: Mapping[str, str]) -> Path:
    """``command`` on PATH, absolute; ``python3``, else ``python``, where it is ``None``."""
    commands = ("python3", "python") if command is None else (command,)
    # An empty entry means the current folder to a shell; a dataset's folder is no place to take programs from.
    folders = [entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    for each in commands:
        for folder in folders:
            found = Path(folder, each).absolute()
            if _runs(found):
                return found
    raise PythonMissing(
        f"there is no {' or '.join(commands)} on PATH",
        hint='name the trainer\'s Python in loragit.toml: [trainer] env = "conda:NAME" or "venv:PATH"',
    )


def at(path: Path) -> Path:
    """``path`` itself, which must be an executable file."""
    if _runs(path):
        return path
    if _runs(path / "bin/python"):
        raise PythonMissing(f"{path} is no Python but an environment", hint=f'write it as env = "venv:{path}"')
    raise PythonMissing(
        f"{path} is no Python that can be run",
        hint='trainer.env takes "conda:NAME", "venv:PATH" or the path of a Python',
    )


class Environment(NamedTuple):
    """A conda environment."""

    name: str
    prefix: Path


def of_folder(folder: Path, near: Iterable[Path] = ()) -> Path:
    """The Python of the virtual or conda environment in ``folder``.

    Where there is none the error lists the virtual environments in ``near`` folders. Raises :class:`PythonMissing`.
    """
    python = folder / "bin/python"
    if _runs(python):
        return python
    if python.is_symlink() and not python.exists():
        problem = f"the environment {folder} is broken: its Python was {python.readlink()}, which is gone"
        raise PythonMissing(problem, hint=f"make it again, with the same packages: python3 -m venv --clear {folder}")
    if python.is_file():
        raise PythonMissing(f"{python} may not be executed", hint=f"allow it: chmod +x {python}")
    there = sorted({str(each) for place in near for each in _virtual_environments(place)})
    known = f"; there are: {', '.join(there)}" if there else ""
    raise PythonMissing(
        f"there is no environment with a Python in {folder}{known}",
        hint=f"name another with trainer.env, or make it: python3 -m venv {folder}",
    )


def _virtual_environments(folder: Path) -> Iterator[Path]:
    yield from (each for each in _entries(folder) if (each / "pyvenv.cfg").is_file() and _runs(each / "bin/python"))


def of_conda(name: str, environ: Mapping[str, str], home: Path) -> Path:
    """The Python of the conda environment ``name``, of any conda, miniforge, mamba or micromamba found.

    ``base`` is an installation's own environment; the first of several of one name is taken. Raises
    :class:`PythonMissing`, which lists those that exist.
    """
    found = dict(reversed(list(_usable(environ, home))))
    if name in found:
        return found[name] / "bin/python"
    broken = next((prefix for each, prefix in _conda_prefixes(environ, home) if each == name and prefix.is_dir()), None)
    there_are = f"there are: {', '.join(sorted(found))}" if found else "no conda environment was found at all"
    what = (
        f"the conda environment {broken} has no Python"
        if broken
        else f"no conda environment with a Python is called {name}"
    )
    hint = f"install one: conda install -n {name} python" if broken else f"make it: conda create -n {name} python=3.11"
    raise PythonMissing(f"{what}; {there_are}", hint=f'{hint}; or name its folder: env = "conda:/PATH"')


def environments(environ: Mapping[str, str], home: Path) -> tuple[Environment, ...]:
    """The conda environments that have a Python, sorted by name; a name may come more than once."""
    return tuple(Environment(name, prefix) for name, prefix in sorted(set(_usable(environ, home))))


def _usable(environ: Mapping[str, str], home: Path) -> Iterator[tuple[str, Path]]:
    yield from ((name, prefix) for name, prefix in _conda_prefixes(environ, home) if _runs(prefix / "bin/python"))


def _conda_prefixes(environ: Mapping[str, str], home: Path) -> Iterator[tuple[str, Path]]:
    """Names and folders of conda environments; a name may come more than once, a folder may lack a Python.

    Looked for beside ``$CONDA_EXE``, in ``$MAMBA_ROOT_PREFIX``, where the installers put them under ``home``, in the
    folders that ``$CONDA_ENVS_PATH``, ``$CONDA_ENVS_DIRS`` and ``~/.condarc`` name, and in conda's own list.
    """
    roots, listed = [home / folder for folder in _CONDA_ROOTS], _listed(home)
    if mamba := environ.get("MAMBA_ROOT_PREFIX"):
        roots.insert(0, Path(mamba))
    if conda := environ.get("CONDA_EXE"):
        roots.insert(0, Path(conda).parent.parent)
    roots += [prefix for prefix in listed if _entries(prefix / "condabin")]
    folders = [root / "envs" for root in roots] + _envs_dirs(environ, home)
    for root in roots:
        if root.is_absolute():
            yield "base", root
    for folder in folders:
        if folder.is_absolute():
            yield from ((prefix.name, prefix) for prefix in _entries(folder))
    yield from ((prefix.name, prefix) for prefix in listed if prefix.parent.name == "envs")


def _envs_dirs(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Folders of environments that the user's own configuration of conda names."""
    named = [environ.get(name, "") for name in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS")]
    texts = [text for value in named for text in re.split("[:,]", value) if text]
    with suppress(OSError):
        condarc = (home / ".condarc").read_text("utf-8", "surrogateescape")
        # A plain list, as conda itself writes it; other forms of YAML are left to conda's list of environments.
        if block := re.search(r"^envs_(?:dirs|path):\s*\n((?:[ \t]*-[ \t]+\S.*\n?)+)", condarc, re.M):
            texts += [line.strip().removeprefix("-").strip().strip("'\"") for line in block[1].splitlines()]
    return [home / text[2:] if text.startswith("~/") else Path(text) for text in texts]


def _listed(home: Path) -> list[Path]:
    """Environments in conda's own list, one absolute path a line."""
    try:
        text = (home / ".conda/environments.txt").read_text("utf-8", "surrogateescape")
    except OSError:
        return []
    return [Path(line.strip()) for line in text.splitlines() if line.startswith("/")]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []


def _runs(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False
