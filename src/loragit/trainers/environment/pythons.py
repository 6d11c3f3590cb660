"""Finds a Python: on PATH, in a virtual environment, or in a conda environment by name.

Nothing is started, and no symbolic link is resolved: a virtual environment's ``python`` is a link
out of it, and only through the link does Python find the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError, shell_word
from loragit.settings import paths
from loragit.settings.values import TrainerSettings
from loragit.text import listed
from loragit.trainers.environment.conda import (
    CondaEnvironment,
    conda_environments,
    entries,
    every_environment,
    is_file,
    is_folder,
)

CONDA, VENV = "conda", "venv"


_VENVS = ("venv", ".venv", "env")
"""Usual folder names of a virtual environment in a repository."""

_SHOWN = 12
"""Environments listed in an error."""


class PythonMissing(LoragitError):
    """The Python that the settings name does not exist or cannot be run."""


class Prefix(NamedTuple):
    """The environment that a Python is in."""

    kind: str
    """:data:`CONDA` or :data:`VENV`."""
    folder: Path

    def __str__(self) -> str:
        return f"the {'conda' if self.kind == CONDA else 'virtual'} environment {self.folder}"


def python_on_path(command: str | None, environ: Mapping[str, str]) -> Path:
    """Return the absolute path of ``command`` on PATH; if it is ``None``, of ``python3``, else
    ``python``."""
    commands = ("python3", "python") if command is None else (command,)
    for each in commands:
        found = find_program(each, environ)
        if found is not None:
            return found
    raise PythonMissing(
        f"there is no {' or '.join(commands)} on PATH",
        hint='name the trainer\'s Python in loragit.toml: [trainer] env = "conda:NAME" or '
        '"venv:PATH"',
    )


def find_program(name: str, environ: Mapping[str, str]) -> Path | None:
    """Return the absolute path of the program ``name`` on PATH."""
    # To a shell an empty entry means the current folder; programs must not be taken from a
    # dataset's folder.
    folders = (entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry)
    return next(
        (found for folder in folders if _runs(found := Path(folder, name).absolute())), None
    )


def runnable_python(path: Path) -> Path:
    """Return ``path`` itself, which must be an executable file."""
    if _runs(path):
        return path
    if os.path.lexists(path / "bin/python"):
        kind = CONDA if is_folder(path / "conda-meta") else VENV
        raise PythonMissing(
            f"{path} is an environment, not a Python", hint=f'write it as env = "{kind}:{path}"'
        )
    _refuse_broken(path, "", "mend the link, or name another Python")
    raise PythonMissing(
        f"{path} is not a Python that can be run",
        hint='trainer.env takes "conda:NAME", "venv:PATH" or the path of a Python',
    )


def python_of_folder(folder: Path, repository: Path | None = None) -> Path:
    """Return the Python of the virtual environment in ``folder``.

    If there is none, the error names those beside it and in the trainer's ``repository``.
    """
    python = folder / "bin/python"
    if _runs(python):
        return python
    what = f"the environment {folder}"
    if is_folder(folder):
        hint = 'make it anew, or install that Python again; or name another: env = "venv:PATH"'
        _refuse_broken(python, f"{what} is broken: ", hint)
        if is_file(folder / "pyvenv.cfg"):
            raise PythonMissing(f"{what} has no Python: {python} is not there", hint="make it anew")
    found = [str(each) for each in _venvs(folder, repository)]
    there_are = f"; there are: {', '.join(found[:_SHOWN])}" if found else ""
    raise PythonMissing(
        f"there is no environment with a Python in {folder}{there_are}",
        hint=(
            f'write it as env = "venv:{found[0]}", or ' if found else f"{python} would have to be; "
        )
        + f"make it with: python3 -m venv {shell_word(folder)}",
    )


def python_of_conda(name: str, environ: Mapping[str, str], home: Path) -> Path:
    """Return the Python of the conda environment called ``name``, or in the folder ``name`` if that
    is a path.

    Among several with the same name, the first with a Python is taken, in the order of
    :func:`~loragit.trainers.environment.conda.every_environment`.
    """
    if "/" in name:
        return _of_prefix(CondaEnvironment(name, Path(name)), environ, home)
    found = [each for each in every_environment(environ, home) if each.name == name]
    whole = [each for each in found if _runs(each.prefix / "bin/python")]
    return _of_prefix((whole or found or [CondaEnvironment(name, Path())])[0], environ, home)


def environment_prefix(python: Path) -> Prefix | None:
    """Return the environment that ``python`` belongs to, judging by its path."""
    folder = python.parent.parent
    if python.parent.name != "bin":
        return None
    if is_file(folder / "pyvenv.cfg"):
        return Prefix(VENV, folder)
    return Prefix(CONDA, folder) if is_folder(folder / "conda-meta") else None


def _of_prefix(environment: CondaEnvironment, environ: Mapping[str, str], home: Path) -> Path:
    """Return the environment's Python. Raises :class:`PythonMissing` if it has none or does not
    exist."""
    name, folder = environment
    python = folder / "bin/python"
    if _runs(python):
        return python
    what = f"the conda environment {folder}"
    if folder.is_absolute() and is_folder(folder):
        where = f"--prefix {shell_word(folder)}" if "/" in name else f"--name {shell_word(name)}"
        _refuse_broken(
            python,
            f"{what} is broken: ",
            f"mend it with: conda install {where} --force-reinstall python",
        )
        raise PythonMissing(
            f"{what} has no Python", hint=f"put one into it with: conda install {where} python"
        )
    others = conda_environments(environ, home)
    names = [each.name for each in others]
    shown = [f"{n} ({p})" if names.count(n) > 1 else n for n, p in others]
    there_are = (
        f"there are: {listed(shown, _SHOWN)}" if others else "no conda environment was found at all"
    )
    if "/" in name:
        message, hint = (
            f"there is no conda environment in {folder}",
            f"make it with: conda create -p {shell_word(folder)} python",
        )
    else:
        message, hint = (
            f"no conda environment is called {name}",
            f"make it with: conda create -n {shell_word(name)} python",
        )
    raise PythonMissing(
        f"{message}; {there_are}",
        hint=f'{hint}, or name another: env = "conda:NAME" or "conda:/PATH"',
    )


def _refuse_broken(python: Path, what: str, hint: str) -> None:
    """Raise :class:`PythonMissing` if there is something at ``python`` that cannot be run."""
    try:
        if python.is_symlink() and not python.exists():
            target = python.parent / python.readlink()
            raise PythonMissing(f"{what}{python} leads to {target}, which is gone", hint=hint)
        if python.is_file():
            raise PythonMissing(
                f"{what}{python} may not be executed",
                hint=f"allow it with: chmod +x {shell_word(python)}",
            )
    except (OSError, ValueError):  # a link to itself, a name that is too long
        return


def _venvs(folder: Path, repository: Path | None) -> Iterator[Path]:
    """Yield the virtual environments with a Python beside ``folder`` and in ``repository``, each
    once."""
    places = entries(folder.parent)
    if repository is not None:
        places += [repository / name for name in _VENVS if repository / name not in places]
    return (
        place for place in places if is_file(place / "pyvenv.cfg") and _runs(place / "bin/python")
    )


def _runs(path: Path) -> bool:
    return is_file(path) and os.access(path, os.X_OK)


def find_python(trainer: TrainerSettings, environ: Mapping[str, str]) -> Path:
    """Return the Python that ``trainer`` runs in: absolute, executable, symbolic links kept.

    Raises :class:`PythonMissing`.
    """
    if trainer.env is None:
        if trainer.python is not None and "/" in trainer.python:
            return runnable_python(Path(trainer.python))
        return python_on_path(trainer.python, environ)
    scheme, _, place = trainer.env.partition(":")
    if scheme == "conda":
        return python_of_conda(place, environ, paths.home_of(environ))
    if scheme == "venv":
        return python_of_folder(Path(place), trainer.repo)
    return runnable_python(Path(trainer.env))
