"""The variables and scripts that activate an environment, by the rules of ``conda activate`` and of
``venv``.

Files are read; nothing is started or sourced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.trainers.environment.conda import conda_root

_UNSET = "***unset***"
"""Value that conda writes for a package's variable that the user does not want."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%,: ()")
"""Characters with no special meaning to a shell, at least in quotes."""


class ActivationPlan(NamedTuple):
    """The steps of an activation, in this order."""

    changes: Mapping[str, str | None]
    """Variables to set, or to unset if the value is ``None``."""
    folder: Path | None
    """Folder of programs that must be on PATH."""
    before: tuple[Path, ...] = ()
    """Scripts to source in the old environment."""
    after: tuple[Path, ...] = ()
    """Scripts to source in the new one."""

    def changed(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return ``environ`` with :attr:`changes` applied and no script sourced."""
        kept = {name: value for name, value in environ.items() if name not in self.changes}
        return kept | {name: value for name, value in self.changes.items() if value is not None}

    @property
    def scripts(self) -> tuple[Path, ...]:
        return self.before + self.after

    def without(self, script: int | None) -> ActivationPlan:
        """Return the plan without one of :attr:`scripts`, by its index; without any if that is
        ``None``."""
        if script is None:
            return self._replace(before=(), after=())
        at = script - len(self.before)
        if at < 0:
            return self._replace(before=self.before[:script] + self.before[script + 1 :])
        return self._replace(after=self.after[:at] + self.after[at + 1 :])


def conda(prefix: Path, environ: Mapping[str, str]) -> tuple[ActivationPlan, tuple[str, ...]]:
    """Return the plan of ``conda activate`` in the caller's shell, and which of conda's files are
    damaged.

    There is one difference. conda puts the new environment in the old one's place on PATH. Here it
    always comes first: entries before the old one, such as ``~/.local/bin``, must not hide the
    environment's own launcher.
    """
    level, active = _level(environ), environ.get("CONDA_PREFIX")
    old = Path(active) if active and level else None
    root = conda_root(prefix, environ)
    called = _name_of_environment(prefix, root)
    path, changes = _without_virtual(environ)
    if old is not None:
        path = less(path, str(old / "bin"))
    elif (
        root is not None
        and (root / "condabin").is_dir()
        and not any(each.endswith("condabin") for each in path)
    ):
        path = [str(root / "condabin"), *path]
    changes["PATH"] = os.pathsep.join((str(prefix / "bin"), *path))
    changes["CONDA_PROMPT_MODIFIER"] = f"({called}) "
    if root is not None and "CONDA_EXE" not in environ and (root / "bin/conda").is_file():
        changes |= {
            "CONDA_EXE": str(root / "bin/conda"),
            "CONDA_PYTHON_EXE": str(root / "bin/python"),
        }
    damaged: tuple[str, ...] = ()
    if old != prefix:
        changes |= {
            "CONDA_PREFIX": str(prefix),
            "CONDA_SHLVL": str(level + 1),
            "CONDA_DEFAULT_ENV": called,
        }
        variables, damaged = _variables(prefix)
        hidden = {name: environ[name] for name in variables if name in environ}
        changes |= variables | {
            f"__CONDA_SHLVL_{level}_{name}": value for name, value in hidden.items()
        }
        if level:
            changes[f"CONDA_PREFIX_{level}"] = active
    before = sorted(_scripts(old, "deactivate.d"), reverse=True) if old is not None else []
    return ActivationPlan(
        changes, prefix / "bin", tuple(before), tuple(sorted(_scripts(prefix, "activate.d")))
    ), damaged


def _name_of_environment(prefix: Path, root: Path | None) -> str:
    """Return conda's name for the environment; ``root`` is conda's own installation."""
    if root == prefix:
        return "base"
    return prefix.name if prefix.parent.name == "envs" else str(prefix)


def virtual(folder: Path, environ: Mapping[str, str]) -> ActivationPlan:
    """Return the plan of ``source bin/activate`` in a shell with no other virtual environment
    active."""
    path, changes = _without_virtual(environ)
    script = folder / "bin/activate"
    changes |= {"PATH": os.pathsep.join(path), "VIRTUAL_ENV": str(folder), "PYTHONHOME": None}
    return ActivationPlan(
        changes,
        folder / "bin",
        after=(script,) if script.is_file() and not _as_made(script, folder) else (),
    )


def _as_made(script: Path, folder: Path) -> bool:
    """Whether ``bin/activate`` is the script that Python's own ``venv`` writes for ``folder``: its
    effect is computed here."""
    try:
        written = script.read_text("utf-8")
        pieces = _template(folder / "pyvenv.cfg").read_text("utf-8").split("__VENV_")
    except (OSError, ValueError):
        return False
    if not written.startswith(pieces[0]):
        return False
    at = len(pieces[0])
    for piece in pieces[1:]:
        what, _, following = piece.partition("__")
        end = written.find(following, at)
        filled = written[at:end].strip("'\"")
        if end < 0 or not _PLAIN.issuperset(filled) or (what == "DIR" and filled != str(folder)):
            return False
        at = end + len(following)
    return at == len(written)


def _template(config: Path) -> Path:
    """Return the template of ``bin/activate`` in the Python that made a virtual environment.

    Raises :class:`OSError` and :class:`ValueError`.
    """
    lines = (line.partition("=") for line in config.read_text("utf-8").splitlines())
    given = {key.strip(): value.strip() for key, _, value in lines}
    version = ".".join(given.get("version", "").split(".")[:2])
    return Path(given.get("home", ""), f"../lib/python{version}/venv/scripts/common/activate")


def _without_virtual(environ: Mapping[str, str]) -> tuple[list[str], dict[str, str | None]]:
    """Return PATH without the active virtual environment, and the changes that deactivate it."""
    active, path = environ.get("VIRTUAL_ENV"), entries(environ)
    if not active:
        return path, {}
    return less(path, f"{active}/bin"), {"VIRTUAL_ENV": None, "VIRTUAL_ENV_PROMPT": None}


def _level(environ: Mapping[str, str]) -> int:
    """Return how many conda environments are active, stacked on each other."""
    try:
        return max(0, int(environ.get("CONDA_SHLVL", "")))
    except ValueError:
        return 0


def _variables(prefix: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables set by the environment's packages and by ``conda env config vars set``,
    and which of conda's files are damaged.

    Names are in capitals, which is how conda exports them by default. PATH may not be set this way.
    """
    found: dict[str, object] = {}
    damaged = []
    for file in (*sorted(_listed(prefix / "etc/conda/env_vars.d")), prefix / "conda-meta/state"):
        try:
            content = _json(file)
        except (OSError, ValueError) as error:
            damaged.append(
                f"{file} cannot be read, and its variables are not set: {text.shown(str(error))}"
            )
            continue
        variables = content.get("env_vars", {}) if file.name == "state" else content
        if isinstance(variables, dict):
            found |= variables
    wanted = {
        name.upper(): value
        for name, value in found.items()
        if name.isascii()
        and name.isidentifier()
        and isinstance(value, str)
        and "\0" not in value
        and value != _UNSET
    }
    wanted.pop("PATH", None)
    return wanted, tuple(damaged)


def _json(file: Path) -> dict[str, object]:
    """Return a file's JSON object; empty if there is no file. Raises :class:`OSError` and
    :class:`ValueError`."""
    if not file.is_file():
        return {}
    import json

    content = json.loads(file.read_bytes())
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content


def _scripts(prefix: Path, folder: str) -> Iterator[Path]:
    return (each for each in _listed(prefix / "etc/conda" / folder) if each.name.endswith(".sh"))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def entries(environ: Mapping[str, str]) -> list[str]:
    return environ.get("PATH", os.defpath).split(os.pathsep)


def less(path: list[str], entry: str) -> list[str]:
    """Return ``path`` without the first ``entry``; a second one was put there by somebody else."""
    at = next((at for at, each in enumerate(path) if each.rstrip("/") == entry), None)
    return path if at is None else path[:at] + path[at + 1 :]
