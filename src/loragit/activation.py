"""The environment that an activated shell would have, for a trainer that is started without one.

conda's rules are those of ``conda activate NAME`` in a shell where another environment may be active already: the old
one's ``deactivate.d`` scripts, variables and PATH go, the variables of the new one come (``conda env config vars`` and
its packages' own), then its ``activate.d`` scripts run in the order of their names. mamba and micromamba lay
environments out alike. Of a virtual environment it is what ``bin/activate`` does, with all that was added to it.

Scripts are run once, by a shell that then tells its environment and is gone: nothing stays between us and the trainer.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit import process
from loragit.errors import LoragitError

TIMEOUT = 30.0
"""Seconds that all scripts of an environment have together."""

_UNSET = "***unset***"
"""What ``conda env config vars unset`` leaves in place of a value."""
_TELL = r"import os; os.write(1, b''.join(b'%s=%s\0' % pair for pair in os.environb.items()))"
_OF_THE_SHELL = ("_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV", "ENV", "PS1")
"""What the shell that ran the scripts sets for itself."""


class Activated(NamedTuple):
    """An environment for the trainer."""

    environ: dict[str, str]
    trouble: tuple[str, ...]
    """What went wrong in the environment's own scripts; the trainer may do without."""


def activated(environ: Mapping[str, str], python: Path) -> Activated:
    """``environ`` as it is after the environment that ``python`` lies in was activated; its programs first on PATH.

    A Python in no environment only comes first on PATH.
    """
    prefix = python.parent.parent
    if (prefix / "conda-meta").is_dir():
        return _conda(dict(environ), prefix)
    if (prefix / "pyvenv.cfg").is_file():
        return _venv(dict(environ), prefix)
    return Activated({**environ, "PATH": _first(python.parent, environ.get("PATH"))}, ())


def _first(folder: Path, path: str | None) -> str:
    return f"{folder}{os.pathsep}{path or os.defpath}"


def _venv(environ: dict[str, str], prefix: Path) -> Activated:
    plain = {**environ, "VIRTUAL_ENV": str(prefix), "PATH": _first(prefix / "bin", environ.get("PATH"))}
    plain.pop("PYTHONHOME", None)
    script = prefix / "bin/activate"
    if not script.is_file():
        return Activated(plain, ())
    # An environment that was active before gave PATH an entry, which its own function would have taken away.
    found = _sourced(environ, _before([script]))
    if isinstance(found, _Failed):
        return Activated(plain, (found.told(script),))
    # A folder that was moved has an activate script that names the old place.
    result = {**found.environ, "VIRTUAL_ENV": str(prefix)}
    if result.get("PATH", "").split(os.pathsep)[0] != str(prefix / "bin"):
        result["PATH"] = _first(prefix / "bin", result.get("PATH"))
    return Activated(result, found.trouble)


def _conda(environ: dict[str, str], prefix: Path) -> Activated:
    old = environ.get("CONDA_PREFIX", "")
    level = int(environ["CONDA_SHLVL"]) if environ.get("CONDA_SHLVL", "").isdecimal() else 0
    if old and level and os.path.realpath(old) == os.path.realpath(prefix):
        # It is what the caller has activated already.
        return Activated({**environ, "PATH": _first(prefix / "bin", environ.get("PATH"))}, ())
    leaving = Path(old) if old and level else None
    variables = _conda_variables(prefix)
    new: dict[str, str | None] = {}
    if leaving is not None:
        new |= dict.fromkeys(_conda_variables(leaving))
        new[f"CONDA_PREFIX_{level}"] = old
    new |= variables
    # For ``conda deactivate``, should the trainer be a script that calls it.
    saved = {f"__CONDA_SHLVL_{level}_{name}": environ[name] for name in variables if level and name in environ}
    name = _conda_name(prefix)
    new |= saved | {
        "PATH": _conda_path(environ.get("PATH") or os.defpath, prefix, leaving),
        "CONDA_PREFIX": str(prefix),
        "CONDA_SHLVL": str(level + 1),
        "CONDA_DEFAULT_ENV": name,
        "CONDA_PROMPT_MODIFIER": f"({name}) ",
    }
    plain = {key: value for key, value in {**environ, **new}.items() if value is not None}
    after = _scripts(prefix, "activate.d")
    before = _scripts(leaving, "deactivate.d") if leaving else []
    if not (before or after):
        return Activated(plain, ())
    lines = [*_before(before), *(_assignment(key, value) for key, value in new.items()), *_before(after)]
    found = _sourced(environ, lines)
    if isinstance(found, _Failed):
        return Activated(plain, (found.told((after or before)[0].parent),))
    return Activated(found.environ, found.trouble)


def _conda_variables(prefix: Path) -> dict[str, str]:
    """What the environment's packages and its user (``conda env config vars set``) want set; the user's count more."""
    found: dict[str, str] = {}
    for file in sorted((prefix / "etc/conda/env_vars.d").glob("*.json")):
        found |= _texts(_json(file))
    state = _json(prefix / "conda-meta/state")
    own = _texts(state.get("env_vars") if isinstance(state, dict) else None)
    return {name: value for name, value in (found | own).items() if value != _UNSET}


def _json(file: Path) -> object:
    with suppress(OSError, ValueError, RecursionError):
        return json.loads(file.read_bytes())
    return None


def _texts(table: object) -> dict[str, str]:
    items = table.items() if isinstance(table, dict) else ()
    pairs = ((name, value) for name, value in items if isinstance(value, str) and "\0" not in value)
    return {name: value for name, value in pairs if name.isascii() and name.isidentifier()}


def _conda_name(prefix: Path) -> str:
    """As conda calls it: the folder's name, ``base`` for an installation's own, the path for one elsewhere."""
    if (prefix / "condabin").is_dir() or (prefix / "envs").is_dir():
        return "base"
    return prefix.name if prefix.parent.name == "envs" else str(prefix)


def _conda_path(path: str, prefix: Path, leaving: Path | None) -> str:
    """PATH with the environment's programs first, without those of the one that is left."""
    gone = {str(leaving / "bin")} if leaving else set()
    return os.pathsep.join([str(prefix / "bin"), *(entry for entry in path.split(os.pathsep) if entry not in gone)])


def _scripts(prefix: Path, folder: str) -> list[Path]:
    return sorted(file for file in (prefix / "etc/conda" / folder).glob("*.sh") if file.is_file())


def _before(scripts: Iterable[Path]) -> list[str]:
    """Shell code that runs ``scripts`` in the shell itself, and names the one that fails."""
    words = [shlex.quote(str(script)) for script in scripts]
    return [f". {word} || printf '%s\\n' {word} >&4" for word in words]


def _assignment(name: str, value: str | None) -> str:
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"


class _Failed(NamedTuple):
    """The shell that ran the scripts told no environment."""

    why: str

    def told(self, what: Path) -> str:
        return f"the environment was not activated by its own scripts, {what}: {self.why}"


def _sourced(environ: Mapping[str, str], lines: Iterable[str]) -> Activated | _Failed:
    """The environment after ``lines`` of shell code; what the scripts print is nobody's business."""
    shell = shutil.which("bash", path=environ.get("PATH")) or "/bin/sh"
    # Descriptor 3 gets the environment, 4 the names of scripts that failed; their own output goes nowhere.
    # env(1) of older systems knows no -0.
    tell = f"env -0 >&3 || {shlex.quote(sys.executable)} -I -S -c {shlex.quote(_TELL)} >&3"
    code = "\n".join(("exec 3>&1 4>&2 >/dev/null 2>&1", *lines, tell))
    options = ["--noprofile", "--norc"] if shell.endswith("bash") else []
    started = {name: value for name, value in environ.items() if name not in ("BASH_ENV", "ENV")}
    try:
        answer = process.ask([shell, *options, "-c", code], env=started, detached=True).answer(TIMEOUT)
    except process.TimedOut:
        return _Failed(f"they took longer than {TIMEOUT:g} s")
    except LoragitError as error:
        return _Failed(error.message)
    pairs = (row.partition("=") for row in os.fsdecode(answer.out).split("\0"))
    found = {name: value for name, sign, value in pairs if sign and name not in _OF_THE_SHELL}
    if not answer.out.endswith(b"\0") or "PATH" not in found:
        return _Failed(f"a script ended the shell with exit status {answer.status}")
    failed = os.fsdecode(answer.err).splitlines()
    trouble = tuple(f"{script}, which the trainer's environment runs when it is activated, failed" for script in failed)
    return Activated({**{name: environ[name] for name in _OF_THE_SHELL if name in environ}, **found}, trouble)
