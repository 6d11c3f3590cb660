"""What a run starts: script, program, working folder, and the arguments of settings and command line together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from loragit import process, snapshot, text
from loragit.errors import Findings
from loragit.settings import Settings
from loragit.trainers import arguments, sd_scripts


def find_script(chosen: Settings, findings: Findings) -> Path:
    """The trainer's script; where it is missing, ``findings`` tell."""
    script = plain(chosen.trainer.repo / chosen.trainer.script)
    if not os.path.isfile(script):
        findings.add(
            f"there is no trainer script {script}",
            "set trainer.repo and trainer.script in loragit.toml (or SD_REPO and SD_SCRIPT)",
        )
    return script


def find_workdir(chosen: Settings, script: Path) -> Path:
    """Where the trainer runs: the dataset's folder, or the trainer's repository."""
    if chosen.trainer.workdir == "dataset":
        return chosen.dataset_dir
    trainer = plain(chosen.trainer.repo)
    return trainer if script.is_relative_to(trainer) else script.parent


def program(chosen: Settings, python: Path, script: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What starts the trainer's script: the launcher, found on the trainer's PATH, or the Python itself."""
    import shutil

    launcher = chosen.trainer.launcher
    if not launcher:
        return (str(python), str(script))
    found = shutil.which(launcher[0], path=environ.get("PATH"))
    if found is None:
        raise process.ProgramMissing(
            f"the launcher {launcher[0]} is not in {python.parent} and not on PATH",
            hint="install it in the trainer's environment, or mend trainer.launcher",
        )
    return (found, *launcher[1:], str(script))


def plan(
    name: str, chosen: Settings, extra: tuple[str, ...], workdir: Path, home: str, *, own_script: bool
) -> sd_scripts.Plan:
    """What the arguments of settings, ``--config_file`` and command line (``extra``) say together.

    ``own_script``: the user named the trainer's script, which gets ``extra`` alone. Raises
    :class:`~loragit.trainers.arguments.BadArgument`, :class:`~loragit.snapshot.CannotReadInput`.
    """
    given = arguments.from_words(extra)
    if not own_script:
        arguments.refuse_leading(given)
        given = _settings_arguments(chosen, home).updated(given)
    filed = arguments.Arguments({})
    path = sd_scripts.config_file(given, workdir)
    if path is not None:
        data = snapshot.read_bytes(path, "config file")
        filed = sd_scripts.flatten(snapshot.read_table(path, data, "config file"))
    paths = chosen.paths
    return sd_scripts.plan(given, filed, sd_scripts.Defaults(name, paths.config, paths.prompts, workdir))


def _settings_arguments(chosen: Settings, home: str) -> arguments.Arguments:
    given = arguments.from_settings(chosen.trainer.args, home)
    for key, hint in (
        ("output_dir", "set paths.output: the run's folder is made in it"),
        ("output_name", "leave it out: the run's name is used"),
        ("max_train_steps", "leave it out: the run's name or --steps tells"),
    ):
        if key in given.options:
            raise arguments.BadArgument(f"trainer.args.{key} would be the same for every run", hint=hint)
    return given


def plain(path: Path) -> Path:
    """Without ``..``: through the links that it really goes through, and only where it must be."""
    return path.parent.resolve() / path.name if ".." in path.parts else path


def relative(path: Path, top: Path, home: str) -> str:
    """``path`` below ``top``, or as it is with the home folder ``home`` as ``~``."""
    resolved = path.resolve()
    if resolved.is_relative_to(top):
        return resolved.relative_to(top).as_posix()
    return text.home_as_tilde(str(path), home)
