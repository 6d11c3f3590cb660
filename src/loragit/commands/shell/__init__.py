"""``loragit zsh`` and ``loragit bash``: functions for training scripts, and what those functions
ask of loragit.

The functions are in ``helpers.sh``, with ``begin.bash`` or ``begin.zsh`` before it. What can be
done in Python is done here, and not in two shells.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import console, text
from loragit.errors import LoragitError, UsageError
from loragit.git import checkout
from loragit.record import message
from loragit.record.name import RunName
from loragit.record.values import LyCORIS
from loragit.settings import load, paths
from loragit.settings.values import Flags
from loragit.trainers.environment import pythons

SHELLS = ("zsh", "bash")

_BESIDE = ("miniconda3", "anaconda3", "miniforge3", "mambaforge")
"""Folders under home that hold a conda, which may activate environments that are elsewhere."""


class OtherRun(LoragitError):
    """A script inside a run sets up another one."""


class OutputTaken(LoragitError):
    """The run's output folder exists already."""


class NoManager(LoragitError):
    """There is an environment, but nothing that could activate it."""


class NoRepository(LoragitError):
    """LyCORIS is not installed, or is not imported from a repository."""


def functions_source(shell: str) -> str:
    """The functions as code for ``shell``, which calls this very loragit by its absolute path."""
    folder = Path(__file__).resolve().parent
    parts = [(folder / name).read_text("utf-8") for name in (f"begin.{shell}", "helpers.sh")]
    head = (
        f"# loragit's functions for training scripts. Read them with: source <(loragit {shell})\n"
    )
    return "\n".join((f"{head}_loragit_words=({shlex.join(own_words())})", *parts))


def own_words() -> tuple[str, ...]:
    """The command of this loragit, wherever PATH leads: activating an environment changes it."""
    beside = Path(sys.executable).with_name("loragit")
    return (str(beside),) if beside.is_file() else (sys.executable, "-P", "-m", "loragit")


def print_answer(words: Sequence[str], environ: Mapping[str, str], cwd: Path) -> None:
    """Print what the functions ask for with ``words``. Raises :class:`LoragitError`."""
    match words:
        case ["variables", name]:
            found = training_variables(name, environ, cwd)
            console.write(_assignments(found) + _announcement({**environ, **found}))
        case ["conda", name]:
            console.write(_assignments(conda_activation(name, None, environ, cwd)))
        case ["conda", name, root]:
            console.write(_assignments(conda_activation(name, root, environ, cwd)))
        case ["lycoris"]:
            console.write(f"{lycoris_repo(environ, cwd)}\n")
        case ["repository", path]:
            console.out(repository_line(path))
        case ["default-repository", "SD_REPO" | "LYCORIS_REPO" as variable]:
            console.out(default_repository(variable, environ, cwd))
        case _:
            raise UsageError(
                "the shell functions take other arguments", hint="see docs/migrating.md"
            )


def _assignments(found: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in found.items())


def _announcement(values: Mapping[str, str]) -> str:
    """Code that prints the variables. Quoted: a dataset's own settings may have chosen the
    folder."""
    output = f"{values['OUTPUT_DIR']}/{values['NAME']}"
    line = (
        f"output_name: {values['NAME']}, steps: {values['STEPS']}, training_dir: "
        f"{values['TRAINING_DIR']}, "
    )
    return f"printf '%s\\n' {shlex.quote(text.shown(f'{line}output_dir: {output}'))}\n"


def training_variables(name: str, environ: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """What ``setup_training_vars NAME`` sets: NAME, and all that ``environ`` does not hold yet.

    Relative folders in ``environ`` become absolute, since the trainer will run in another folder.
    ``OUTPUT_DIR`` is the parent of the run's output folder, here and in ``environ``. Raises
    :class:`LoragitError`.
    """
    run = RunName.parse(name)
    found = {"NAME": run.text}
    given = {key: value for key, value in environ.items() if key != "OUTPUT_DIR"}
    dataset = None if environ.get("TRAINING_DIR") else environ.get("DATASET_NAME") or None
    inside = _folder_of_output(run, environ)
    base = inside or environ.get("OUTPUT_DIR")
    output = str(paths.expand_path(base, cwd, environ) / run.text) if base else None
    try:
        chosen = load.load_settings(
            name=run, flags=Flags(dataset=dataset, output=output), environ=given, cwd=cwd
        )
    except (paths.DatasetNotFound, paths.DatasetAmbiguous) as error:
        # A script has no --dataset.
        raise type(error)(
            error.message, hint="set TRAINING_DIR in the script: the dataset's folder"
        ) from error
    assert chosen.output_dir is not None
    if not inside and os.path.lexists(chosen.output_dir):
        raise OutputTaken(
            f"the output folder {chosen.output_dir} exists already",
            hint="give the run another version in its name, or move the folder away; see: "
            f"loragit show {run}",
        )
    found |= {
        "DATASET_NAME": chosen.dataset,
        "TRAINING_DIR": str(chosen.dataset_dir),
        "STEPS": str(chosen.steps),
        "OUTPUT_DIR": str(chosen.output_dir.parent),
    }
    kept = {"DATASET_NAME", "STEPS"} | {
        key for key in ("TRAINING_DIR", "OUTPUT_DIR") if environ.get(key, "")[:1] == "/"
    }
    if inside:
        kept.discard("OUTPUT_DIR")
    return {key: value for key, value in found.items() if key not in kept or not environ.get(key)}


def _folder_of_output(run: RunName, environ: Mapping[str, str]) -> str | None:
    """The parent of the output folder, if loragit itself started the script as the run ``run``;
    ``None`` outside of a run. Raises :class:`OtherRun`."""
    running = environ.get("LORAGIT_RUN")
    if not running:
        return None
    if running != run.text:
        raise OtherRun(
            f"this script is the run {text.shown(running)}, and sets up {run}",
            hint='take the name that it is given: setup_training_vars "$NAME"',
        )
    output = Path(environ.get("LORAGIT_RUN_OUTPUT", ""))
    if output.name != run.text:
        raise OtherRun(
            f"the output folder {output} is not called {run}, and $OUTPUT_DIR/$NAME cannot name it",
            hint="name one that is, with --output, or use $OUTPUT_DIR without the functions",
        )
    return str(output.parent)


def conda_activation(
    name: str, root: str | None, environ: Mapping[str, str], cwd: Path
) -> dict[str, str]:
    """The program that activates the environment ``name`` (a name, or a folder), of the conda in
    ``root`` if given.

    Raises :class:`NoManager`, and :class:`~loragit.trainers.environment.pythons.PythonMissing`,
    which lists the environments that exist.
    """
    home = paths.home_of(environ)
    looked = dict(environ)
    folder = None if not root else paths.expand_path(root, cwd, environ)
    if folder is not None:
        looked["CONDA_EXE"] = str(folder / "bin/conda")
    if "/" in name:
        prefix = pythons.python_of_folder(paths.expand_path(name, cwd, environ)).parent.parent
    else:
        prefix = pythons.python_of_conda(name, looked, home).parent.parent
    found = next(_managers(prefix, folder, environ, home), None)
    if found is None:
        raise NoManager(
            f"there is an environment {prefix}, but no conda, mamba or micromamba that could "
            "activate it",
            hint=f"give the folder that conda is in: setup_conda_env {shlex.quote(name)} PATH",
        )
    own = prefix in (found.root, found.root / "envs" / name)
    return {
        "_loragit_kind": found.kind,
        "_loragit_program": str(found.program),
        "_loragit_target": name if own else str(prefix),
        "_loragit_prefix": str(prefix),
    }


class _Manager(NamedTuple):
    kind: str
    program: Path
    root: Path
    """Holds the environments that the program knows by name."""


def _managers(
    prefix: Path, root: Path | None, environ: Mapping[str, str], home: Path
) -> Iterator[_Manager]:
    """Programs that could activate ``prefix``, the one that it belongs to first."""
    owner = prefix.parent.parent if prefix.parent.name == "envs" else prefix
    roots = [folder for folder in (root, owner) if folder is not None]
    named = [Path(environ[key]) for key in ("CONDA_EXE", "MAMBA_EXE") if environ.get(key)]
    folders = [
        Path(entry)
        for entry in environ.get("PATH", os.defpath).split(os.pathsep)
        if entry.startswith("/")
    ]
    for folder in roots:
        yield from _programs(folder / "bin", folder)
        yield from _programs(folder / "condabin", folder)
    for program in named:
        if os.access(program, os.X_OK):
            yield _Manager(program.name, program, _environments_root(program, environ, home))
    for folder in (
        *folders,
        *(home / each / "bin" for each in _BESIDE),
        home / ".local/bin",
        home / "bin",
    ):
        for found in _programs(folder, folder.parent):
            yield found._replace(root=_environments_root(found.program, environ, home))


def _programs(folder: Path, root: Path) -> Iterator[_Manager]:
    for kind in ("conda", "mamba", "micromamba"):
        program = folder / kind
        if program.is_file() and os.access(program, os.X_OK):
            yield _Manager(kind, program, root)


def _environments_root(program: Path, environ: Mapping[str, str], home: Path) -> Path:
    """Where a program keeps its environments: conda beside itself, micromamba where
    ``MAMBA_ROOT_PREFIX`` says."""
    if program.name == "micromamba":
        return Path(environ.get("MAMBA_ROOT_PREFIX") or home / "micromamba")
    return program.resolve().parent.parent


def lycoris_repo(environ: Mapping[str, str], cwd: Path) -> Path:
    """The repository from which the ``python`` (else ``python3``) on PATH would import LyCORIS.

    Raises :class:`NoRepository`, :class:`~loragit.trainers.environment.pythons.PythonMissing`,
    :class:`~loragit.trainers.environment.packages.ProbeFailed`.
    """
    python, found = _lycoris(environ, cwd)
    if found.repo is not None:
        return found.repo.path
    if not found.installed:
        raise _not_installed(python)
    raise NoRepository(
        f"{python} has LyCORIS {found.commit or found.version} as a package, from no repository",
        hint="leave get_lycoris_repo out: loragit records the version",
    )


def _lycoris(environ: Mapping[str, str], cwd: Path) -> tuple[Path, LyCORIS]:
    """The ``python`` (else ``python3``) on PATH, and LyCORIS as that finds it."""
    from loragit.system import child as process
    from loragit.trainers.environment.packages import EnvironmentQuestion

    try:
        python = pythons.python_on_path("python", environ)
    except pythons.PythonMissing:
        python = pythons.python_on_path("python3", environ)
    env = process.clean_environment(environ)
    cache = paths.cache_folder() / "environments"
    return python, EnvironmentQuestion(python, cwd=cwd, env=env, cache=cache).answer()[1]


def _not_installed(python: Path) -> NoRepository:
    return NoRepository(
        f"LyCORIS is not installed for {python}",
        hint="activate the trainer's environment before, or install it there: pip install "
        "lycoris-lora",
    )


def default_repository(variable: str, environ: Mapping[str, str], cwd: Path) -> str:
    """The line for the repository that is recorded where a script leaves ``SD_REPO`` or
    ``LYCORIS_REPO`` empty: by the settings, or as Python finds it.

    Raises :class:`NoRepository` and whatever is wrong with the settings.
    """
    name = RunName.parse(environ["NAME"]) if environ.get("NAME") else None
    given = {key: value for key, value in environ.items() if key != "OUTPUT_DIR"}
    chosen = load.load_settings(name=name, flags=Flags(), environ=given, cwd=cwd).trainer
    named = chosen.repo if variable == "SD_REPO" else chosen.lycoris_repo
    if named is not None:
        return repository_line(str(named))
    if chosen.env or chosen.python:
        # A dataset's own settings may have named it: nothing is started before somebody agreed.
        return f"LyCORIS: as {text.shown(chosen.env or chosen.python or '')} finds it"
    python, found = _lycoris(environ, cwd)
    if found.repo is not None:
        return repository_line(str(found.repo.path))
    if not found.installed:
        raise _not_installed(python)
    return f"LyCORIS: {found.commit or found.version}, a package of {python}"


def repository_line(path: str) -> str:
    """``sd-scripts: /path 48d368fa (sd3)``. Raises :class:`~loragit.git.NotARepository`."""
    if not path:
        raise UsageError(
            "a repository's path is empty",
            hint="see which variable is: store_commits_hashes takes paths",
        )
    state = checkout.repo_state(Path(path), "")
    name = state.path.name or str(state.path)
    standing = message.repository_line(state).partition(" ")[2]
    return f"{name}: {state.path} {standing}"
