"""Finding a Python: on PATH, in a virtual environment, in a conda environment by its name.

Nothing is started, and no symbolic link is resolved: a virtual environment's ``python`` is a link
out of it, and only the link makes Python find the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError, shell_word
from loragit.settings import paths
from loragit.settings.values import TrainerSettings
from loragit.text import listed

CONDA, VENV = "conda", "venv"

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
    ".conda",  # environments of a conda whose own folder its users cannot write
)
"""Where the installers put conda and its kin, relative to the home folder."""

_SHARED_ROOTS = (
    "/opt/conda",
    "/opt/miniconda3",
    "/opt/anaconda3",
    "/opt/miniforge3",
    "/opt/homebrew/Caskroom/miniconda/base",
    "/opt/homebrew/Caskroom/miniforge/base",
    "/opt/homebrew/anaconda3",
)
"""Where they put it for everybody."""

_CONDARCS = (".condarc", ".conda/.condarc", ".config/conda/.condarc", ".mambarc")
"""Settings of conda and mamba, relative to the home folder."""

_VENVS = ("venv", ".venv", "env")
"""What a virtual environment in a repository is called."""

_SHOWN = 12
"""Environments that an error lists."""


class PythonMissing(LoragitError):
    """The Python that the settings name does not exist or cannot be run."""


class CondaEnvironment(NamedTuple):
    """A conda environment, with or without a Python."""

    name: str
    """``base`` for an installation's own; its folder, absolute, where conda has no name for it.
    ``conda:`` and this is a ``trainer.env``."""
    prefix: Path
    """Its folder, absolute."""


class Prefix(NamedTuple):
    """The environment that a Python is in."""

    kind: str
    """:data:`CONDA` or :data:`VENV`."""
    folder: Path

    def __str__(self) -> str:
        return f"the {'conda' if self.kind == CONDA else 'virtual'} environment {self.folder}"


def on_path(command: str | None, environ: Mapping[str, str]) -> Path:
    """``command`` on PATH, absolute; ``python3``, else ``python``, where it is ``None``."""
    commands = ("python3", "python") if command is None else (command,)
    for each in commands:
        found = program(each, environ)
        if found is not None:
            return found
    raise PythonMissing(
        f"there is no {' or '.join(commands)} on PATH",
        hint='name the trainer\'s Python in loragit.toml: [trainer] env = "conda:NAME" or '
        '"venv:PATH"',
    )


def program(name: str, environ: Mapping[str, str]) -> Path | None:
    """The program ``name`` on PATH, absolute."""
    # An empty entry means the current folder to a shell; a dataset's folder is no place to take
    # programs from.
    folders = (entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry)
    return next(
        (found for folder in folders if _runs(found := Path(folder, name).absolute())), None
    )


def at(path: Path) -> Path:
    """``path`` itself, which must be an executable file."""
    if _runs(path):
        return path
    if os.path.lexists(path / "bin/python"):
        kind = CONDA if _is_folder(path / "conda-meta") else VENV
        raise PythonMissing(
            f"{path} is no Python but an environment", hint=f'write it as env = "{kind}:{path}"'
        )
    _refuse_broken(path, "", "mend the link, or name another Python")
    raise PythonMissing(
        f"{path} is no Python that can be run",
        hint='trainer.env takes "conda:NAME", "venv:PATH" or the path of a Python',
    )


def of_folder(folder: Path, repository: Path | None = None) -> Path:
    """The Python of the virtual environment in ``folder``.

    Where there is none, those beside it and in the trainer's ``repository`` are named.
    """
    python = folder / "bin/python"
    if _runs(python):
        return python
    what = f"the environment {folder}"
    if _is_folder(folder):
        hint = 'make it anew, or install that Python again; or name another: env = "venv:PATH"'
        _refuse_broken(python, f"{what} is broken: ", hint)
        if _is_file(folder / "pyvenv.cfg"):
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


def of_conda(name: str, environ: Mapping[str, str], home: Path) -> Path:
    """The Python of the conda environment called ``name``, or in the folder ``name`` where that is
    a path.

    Of several of one name, the first one with a Python is taken, in the order of
    :func:`_conda_environments`.
    """
    if "/" in name:
        return _of_prefix(CondaEnvironment(name, Path(name)), environ, home)
    found = [each for each in _conda_environments(environ, home) if each.name == name]
    whole = [each for each in found if _runs(each.prefix / "bin/python")]
    return _of_prefix((whole or found or [CondaEnvironment(name, Path())])[0], environ, home)


def environments(environ: Mapping[str, str], home: Path) -> tuple[CondaEnvironment, ...]:
    """All conda environments that can be found, of any conda, miniforge, mamba or micromamba;
    sorted by name.

    A name may come more than once: then the first is the one that it means. Only folders and
    conda's text files are read.
    """
    return tuple(sorted(_conda_environments(environ, home), key=lambda each: each.name))


def prefix(python: Path) -> Prefix | None:
    """The environment that ``python`` belongs to by where it lies."""
    folder = python.parent.parent
    if python.parent.name != "bin":
        return None
    if _is_file(folder / "pyvenv.cfg"):
        return Prefix(VENV, folder)
    return Prefix(CONDA, folder) if _is_folder(folder / "conda-meta") else None


def conda_root(folder: Path, environ: Mapping[str, str]) -> Path | None:
    """The installation that activates the conda environment ``folder``; ``None`` where none is
    known."""
    if conda := environ.get("CONDA_EXE"):
        return Path(conda).parent.parent
    if str(folder) == environ.get("MAMBA_ROOT_PREFIX"):
        return folder
    if folder.parent.name == "envs":
        return folder.parent.parent
    return folder if _is_folder(folder / "condabin") else None


def _of_prefix(environment: CondaEnvironment, environ: Mapping[str, str], home: Path) -> Path:
    """Raises :class:`PythonMissing` where it has none, or does not exist."""
    name, folder = environment
    python = folder / "bin/python"
    if _runs(python):
        return python
    what = f"the conda environment {folder}"
    if folder.is_absolute() and _is_folder(folder):
        where = f"--prefix {shell_word(folder)}" if "/" in name else f"--name {shell_word(name)}"
        _refuse_broken(
            python,
            f"{what} is broken: ",
            f"mend it with: conda install {where} --force-reinstall python",
        )
        raise PythonMissing(
            f"{what} has no Python", hint=f"put one into it with: conda install {where} python"
        )
    others = environments(environ, home)
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
    """Raises :class:`PythonMissing` where something is at ``python`` that cannot be run."""
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
    """Virtual environments with a Python beside ``folder`` and in ``repository``, each once."""
    places = _entries(folder.parent)
    if repository is not None:
        places += [repository / name for name in _VENVS if repository / name not in places]
    return (
        place for place in places if _is_file(place / "pyvenv.cfg") and _runs(place / "bin/python")
    )


def _conda_environments(environ: Mapping[str, str], home: Path) -> list[CondaEnvironment]:
    """In the order in which a name is looked for: ``$CONDA_ENVS_PATH``, ``envs_dirs``, beside
    ``$CONDA_EXE`` and ``$MAMBA_EXE``, under ``$MAMBA_ROOT_PREFIX``, where the installers put them,
    and in conda's own list."""
    listed = _listed(home)
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
    found = [CondaEnvironment(each.name, each) for folder in folders for each in _entries(folder)]
    for root in roots:
        found.append(CondaEnvironment("base", root))
        found += [CondaEnvironment(each.name, each) for each in _entries(root / "envs")]
    known = {each.prefix for each in found}
    others = (each for each in listed if each not in known)
    found += [
        CondaEnvironment(each.name if each.parent.name == "envs" else str(each), each)
        for each in others
    ]
    return _real(found)


def _real(found: Sequence[CondaEnvironment]) -> list[CondaEnvironment]:
    """Without folders that are no environments, and each folder once, however many ways lead to
    it."""
    real: dict[tuple[int, int], CondaEnvironment] = {}
    for each in found:
        if _is_folder(each.prefix / "conda-meta"):
            status = each.prefix.stat()
            real.setdefault((status.st_dev, status.st_ino), each)
    return list(real.values())


def _roots(environ: Mapping[str, str], home: Path, listed: Sequence[Path]) -> list[Path]:
    """Folders that an installation of conda, mamba or micromamba may be in; absolute, each once."""
    programs = (environ.get(variable) for variable in ("CONDA_EXE", "MAMBA_EXE"))
    roots = [Path(each).parent.parent for each in programs if each]
    roots += [Path(each) for each in (environ.get("MAMBA_ROOT_PREFIX"),) if each]
    if active := environ.get("CONDA_PREFIX"):
        roots += [Path(active).parent.parent] if Path(active).parent.name == "envs" else []
    roots += [home / folder for folder in _ROOTS] + [Path(folder) for folder in _SHARED_ROOTS]
    roots += [each for each in listed if _is_folder(each / "condabin")]
    return list(dict.fromkeys(root for root in roots if root.is_absolute()))


def _listed(home: Path) -> list[Path]:
    """Environments in conda's own list, one absolute path a line."""
    lines = _lines(home / ".conda/environments.txt")
    return [Path(line.strip()) for line in lines if line.startswith("/")]


def _envs_dirs(file: Path, environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Folders that ``envs_dirs`` in a ``.condarc`` lists, a plain path a line. Of YAML, nothing
    else is understood."""
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
    """A path of a ``.condarc``, in which ``~/`` and ``$VARIABLE/`` may stand at the beginning."""
    if text.startswith("~/"):
        return home / text[2:]
    if text.startswith("$"):
        variable, _, rest = text[1:].partition("/")
        text = os.path.join(environ.get(variable.strip("{}"), ""), rest)  # noqa: PTH118 - Path() makes "" the current folder
    return Path(text) if text.startswith("/") else None


def _lines(file: Path) -> list[str]:
    """Of a text file; none where it cannot be read."""
    if not _is_file(file):
        return []
    try:
        return file.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _runs(path: Path) -> bool:
    return _is_file(path) and os.access(path, os.X_OK)


def find_python(trainer: TrainerSettings, environ: Mapping[str, str]) -> Path:
    """The Python that ``trainer`` runs in: absolute, executable, its symbolic links kept.

    Raises :class:`PythonMissing`.
    """
    if trainer.env is None:
        if trainer.python is not None and "/" in trainer.python:
            return at(Path(trainer.python))
        return on_path(trainer.python, environ)
    scheme, _, place = trainer.env.partition(":")
    if scheme == "conda":
        return of_conda(place, environ, paths.home_of(environ))
    if scheme == "venv":
        return of_folder(Path(place), trainer.repo)
    return at(Path(trainer.env))
