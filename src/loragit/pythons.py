"""Finding a Python: on PATH, in a virtual environment, in a conda environment by its name.

Nothing is started, and no symbolic link is resolved: a virtual environment's ``python`` is a link out of it, and
only the link makes Python find the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

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


def of_folder(folder: Path) -> Path:
    """The Python of the virtual or conda environment in ``folder``."""
    python = folder / "bin/python"
    if not _runs(python):
        raise PythonMissing(
            f"there is no environment with a Python in {folder}",
            hint=f"{python} would have to be; make it with: python3 -m venv {folder}",
        )
    return python


def of_conda(name: str, environ: Mapping[str, str], home: Path) -> Path:
    """The Python of the conda environment ``name``, of any conda, miniforge, mamba or micromamba found.

    Looked for beside ``$CONDA_EXE``, under ``$MAMBA_ROOT_PREFIX``, where the installers put them under ``home``,
    and in conda's own list. ``base`` is a root's own environment; the first of several of one name is taken.
    """
    found: dict[str, Path] = {}
    for each, prefix in _conda_prefixes(environ, home):
        if _runs(prefix / "bin/python"):
            found.setdefault(each, prefix / "bin/python")
    if name in found:
        return found[name]
    there_are = f"there are: {', '.join(sorted(found))}" if found else "no conda environment was found at all"
    raise PythonMissing(
        f"no conda environment with a Python is called {name}; {there_are}",
        hint=f'make it with: conda create -n {name} python, or name its folder: env = "conda:/PATH"',
    )


def _conda_prefixes(environ: Mapping[str, str], home: Path) -> Iterator[tuple[str, Path]]:
    """Names and folders of conda environments; a name may come more than once, a folder may lack a Python."""
    roots, listed = [home / folder for folder in _CONDA_ROOTS], _listed(home)
    if mamba := environ.get("MAMBA_ROOT_PREFIX"):
        roots.insert(0, Path(mamba))
    if conda := environ.get("CONDA_EXE"):
        roots.insert(0, Path(conda).parent.parent)
    roots += [prefix for prefix in listed if _entries(prefix / "condabin")]
    for root in roots:
        if root.is_absolute():
            yield "base", root
            for folder in _entries(root / "envs"):
                yield folder.name, folder
    yield from ((prefix.name, prefix) for prefix in listed if prefix.parent.name == "envs")


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
