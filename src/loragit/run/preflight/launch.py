"""What a run starts: script, program, working folder, and the combined arguments of settings and
command line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from loragit import text
from loragit.errors import Area, Finding, Findings, LoragitError, shell_word
from loragit.git import checkout
from loragit.record.values import Entry, RepoState
from loragit.settings.paths import cache_folder
from loragit.settings.values import Settings
from loragit.system import child, durable
from loragit.trainers import arguments, kinds
from loragit.trainers.environment import pythons
from loragit.trainers.trainer import Defaults, Plan, Trainer


class UnusableScript(LoragitError):
    """The user's own script is missing, unreadable or not a program."""


_OF_THE_RECORD = re.compile(
    r"config\.(?:toml|json|ya?ml)|sample-prompts\.(?:txt|toml|json)|run\.toml|environment\.txt|dataset\.sha256"
    r"|captions|inputs|patches|repos\.git|sdscripts\.log|sample|\.?git.*",
    re.IGNORECASE,
)
"""Names that the record and the output folder use themselves, and names that git does not allow in
a tree."""


def read_script(path: Path) -> Entry:
    """Return the user's own script as it is: its bytes, its mode, and its path in the record, which
    is its file name.

    Symbolic links are followed. Raises :class:`UnusableScript`.
    """
    if not os.path.isfile(path):
        raise UnusableScript(f"there is no script {path}", hint="mend its path")
    try:
        data = path.read_bytes()
        executable = bool(path.stat().st_mode & 0o111)
    except OSError as error:
        raise UnusableScript(
            f"the script {path} cannot be read: {error.strerror}", hint="see whose it is"
        ) from error
    name = "".join(letter if letter.isprintable() else "_" for letter in path.resolve().name)
    return Entry(f"script-{name}" if _OF_THE_RECORD.fullmatch(name) else name, data, executable)


def check_program(path: Path, data: bytes, environ: Mapping[str, str]) -> None:
    """Check that the system can execute the file ``path``, whose bytes are ``data``. Raises
    :class:`UnusableScript`."""
    if not os.access(path, os.X_OK):
        raise UnusableScript(
            f"the script {path} is not executable", hint=f"make it so: chmod +x {shell_word(path)}"
        )
    if data.startswith((b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")):
        return
    if not data.startswith(b"#!"):
        raise UnusableScript(
            f"the script {path} does not say what runs it",
            hint="give it a first line such as #!/usr/bin/env bash",
        )
    line = data[2:].split(b"\n", 1)[0].decode("utf-8", "surrogateescape")
    if line.endswith("\r"):
        raise UnusableScript(
            f"the first line of {path} has a Windows line ending, and names a program that is "
            "not there",
            hint=f"convert its line endings: sed -i 's/\\r$//' {shell_word(path)}",
        )
    words = line.split()
    if not words or _missing(words, environ):
        shown = " ".join(words) or "nothing"
        raise UnusableScript(
            f"the first line of {path} names what is not there: {shown}",
            hint="install that, or name another",
        )


def _missing(words: list[str], environ: Mapping[str, str]) -> bool:
    """Whether the interpreter of a ``#!`` line is missing; ``env`` searches PATH."""
    import shutil

    if not os.access(words[0], os.X_OK):
        return True
    program = next(
        (word for word in words[1:] if not word.startswith("-") and "=" not in word), None
    )
    return os.path.basename(words[0]) == "env" and (  # noqa: PTH119 - a text, not a file
        program is None or shutil.which(program, path=environ.get("PATH")) is None
    )


def own_variables(
    name: str, chosen: Settings, output: Path, lycoris: Path | None
) -> dict[str, str]:
    """Return the environment variables for the user's own script, except those that depend on the
    inputs or the commit."""
    found = {
        "NAME": name,
        "STEPS": str(chosen.steps),
        "DATASET_NAME": chosen.dataset,
        "TRAINING_DIR": str(chosen.dataset_dir),
        "OUTPUT_DIR": str(output),
        "SD_REPO": str(without_dots(chosen.trainer.repo)),
    }
    known = lycoris or chosen.trainer.lycoris_repo
    return found if known is None else {**found, "LYCORIS_REPO": str(known)}


def find_repo(chosen: Settings, findings: Findings) -> Path:
    """Return a path in the trainer's repository, for a run that starts none of its scripts; a
    missing repository is a finding."""
    folder = without_dots(chosen.trainer.repo)
    if not os.path.isdir(folder):
        findings.add(
            f"there is no trainer repository {folder}",
            "set trainer.repo in loragit.toml (or SD_REPO)",
            Area.TRAINER,
        )
    return folder / os.path.basename(chosen.trainer.script)  # noqa: PTH119 - a text, not a file


def find_script(chosen: Settings, findings: Findings) -> Path:
    """Return the path of the trainer's script; a missing script is a finding."""
    script = without_dots(chosen.trainer.repo / chosen.trainer.script)
    if not os.path.isfile(script):
        hint = missing_script_hint(chosen, script)
        findings.add(f"there is no trainer script {script}", hint, Area.TRAINER)
    return script


def missing_script_hint(chosen: Settings, missing: Path) -> str:
    """What to do where the trainer's script ``missing`` is not there."""
    from difflib import get_close_matches

    if chosen.trainer.script.startswith("/"):
        return "mend its path"
    there = sorted(path.name for path in missing.parent.glob("*.py"))
    near = next(iter(get_close_matches(missing.name, there, 1, 0.8)), None)
    hint = "set trainer.repo and trainer.script in loragit.toml (or SD_REPO and SD_SCRIPT)"
    return f"is {near} meant? {hint}" if near else hint


def find_workdir(chosen: Settings, script: Path) -> Path:
    """Return the trainer's working folder: the dataset's folder or the trainer's repository."""
    if chosen.trainer.workdir == "dataset" and not kinds.trainer_of(chosen.trainer.kind).own_folder:
        return chosen.dataset_dir
    trainer = without_dots(chosen.trainer.repo)
    return trainer if script.is_relative_to(trainer) else script.parent


def program_words(
    chosen: Settings, python: Path, script: Path, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the command that starts the trainer's script: the launcher, found on the trainer's
    PATH, or the Python itself."""
    launcher = chosen.trainer.launcher
    if not launcher:
        return (str(python), str(script))
    found = pythons.find_program(launcher[0], environ)
    if found is None:
        raise child.ProgramMissing(
            f"the launcher {launcher[0]} is not in {python.parent} and not on PATH",
            hint="install it in the trainer's environment, or mend trainer.launcher",
        )
    return (str(found), *launcher[1:], str(script))


def check_room(path: Path, least: int, what: str, findings: Findings) -> None:
    """Add a finding if the file system that will hold ``path`` is full or cannot be written."""
    existing = path
    while not os.path.exists(existing) and existing != existing.parent:
        existing = existing.parent
    if not os.path.isdir(existing) or not os.access(existing, os.W_OK | os.X_OK):
        hint = "choose another with --output" if what == "models" else "see who owns it"
        findings.add(f"{existing} cannot be written, and the {what} must be", hint, Area.DISK)
        return
    free = durable.free_space(existing)
    if free < least:
        findings.add(
            f"{existing} has {free // 2**20} MiB free, too little for the {what} "
            f"({least // 2**20} MiB at least)",
            "make room, or choose another disk with --output or paths.output",
            Area.DISK,
        )


def code_warnings(
    state: RepoState, area: Area, findings: Findings, *, allow_dirty: bool
) -> list[Finding]:
    """Return the warnings about a code repository; a dirty one that is not allowed is a finding."""
    if state.dirty and not allow_dirty:
        findings.add(*checkout.dirty(state, area))
    if state.on_remote or not state.url:
        return []
    problem = (
        f"{state.label} commit {state.commit[:8]} is on no remote: nobody else can fetch it until "
        "it is pushed"
    )
    return [Finding(problem, None, area)]


def trainer_plan(
    name: str,
    chosen: Settings,
    extra: tuple[str, ...],
    workdir: Path,
    home: str,
    *,
    own_script: bool,
    whole_script: bool = False,
    preset: Path | None = None,
) -> Plan:
    """Return the combined arguments of settings and command line (``extra``), and of the files
    that they name.

    ``own_script``: the user named the trainer's script, which gets only ``extra``;
    ``whole_script``: a script of theirs runs in its place; ``preset``: a file of arguments for this
    run. Raises :class:`~loragit.trainers.arguments.BadArgument`,
    :class:`~loragit.dataset.inputs.CannotReadInput`.
    """
    command = arguments.from_words(extra)
    trainer = kinds.trainer_of(chosen.trainer.kind)
    settings = arguments.Arguments({})
    if not own_script:
        settings = _settings_arguments(chosen, trainer, home)
    paths = chosen.paths
    defaults = Defaults(
        name,
        paths.config,
        chosen.is_set("paths.config"),
        paths.prompts,
        workdir,
        preset,
        chosen.trainer.script,
        None if whole_script else without_dots(chosen.trainer.repo),
        cache_folder() / "options",
    )
    return trainer.plan(settings, command, defaults, own_script=own_script)


def _settings_arguments(chosen: Settings, trainer: Trainer, home: str) -> arguments.Arguments:
    given = arguments.from_settings(chosen.trainer.args, home)
    for key, hint in trainer.not_in_settings.items():
        if key in given.options:
            raise arguments.BadArgument(
                f"trainer.args.{key} would be the same for every run", hint=hint
            )
    return given


def without_dots(path: Path) -> Path:
    """Return ``path`` without ``..``. Links are resolved, as the system does, but only if there is
    a ``..``."""
    return path.parent.resolve() / path.name if ".." in path.parts else path


def path_in_record(path: Path, top: Path, home: str) -> str:
    """Return ``path`` relative to ``top``; if it lies elsewhere, in full with the home folder
    ``home`` as ``~``."""
    resolved = path.resolve()
    if resolved.is_relative_to(top):
        return resolved.relative_to(top).as_posix()
    return text.home_as_tilde(str(path), home)
