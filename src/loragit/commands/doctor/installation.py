"""Checks of loragit itself: git, libraries, the command on PATH, caches, room on the disk."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from loragit import git
from loragit.commands.doctor.check import INSTALLATION, Check, Checks
from loragit.errors import LoragitError
from loragit.git import identity
from loragit.settings import document, load
from loragit.system import child, durable
from loragit.version import __version__

OLDEST_GIT = (2, 30)
"""Oldest git that has everything that loragit needs."""

ANSWER = 10.0
"""Seconds that the ``loragit`` on PATH has to print its version."""

_LIBRARIES = ("pygit2", "dulwich", "typer")
_REINSTALL = "install loragit again: pipx reinstall loragit"


def installation_checks(
    environ: Mapping[str, str], folder: Path, caches: Path
) -> tuple[Check, ...]:
    """``folder`` is where git is asked who the user is, ``caches`` the folder of loragit's caches,
    which need not exist."""
    found = Checks(INSTALLATION)
    _check_git(found, environ)
    _check_libraries(found)
    _check_command(found, environ)
    _check_identity(found, folder)
    _check_caches(found, caches)
    _check_user_settings(found)
    return found.all()


def _check_git(found: Checks, environ: Mapping[str, str]) -> None:
    import shutil

    try:
        said = git.run("version", cwd=Path("/"))
    except LoragitError as error:
        found.fail("git", error.message, error.hint)
        return
    where = shutil.which("git", path=environ.get("PATH"))
    numbers = re.search(r"(\d+)\.(\d+)[.\d]*", said)
    version = numbers[0].rstrip(".") if numbers else said
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST_GIT:
        oldest = ".".join(map(str, OLDEST_GIT))
        found.fail("git", f"git {version} at {where} is too old", f"install git {oldest} or newer")
    else:
        found.ok("git", f"git {version} at {where}")


def _check_libraries(found: Checks) -> None:
    """The Python and libraries that loragit itself runs with, and whether each can be imported."""
    from importlib import import_module, metadata

    versions = []
    for name in _LIBRARIES:
        try:
            below = getattr(import_module(name), "LIBGIT2_VERSION", None)
            versions.append(
                f"{name} {metadata.version(name)}" + (f" (libgit2 {below})" if below else "")
            )
        except ImportError as error:  # also where a library of the system's is missing, or metadata
            found.fail("libraries", f"{name} cannot be imported: {error}", _REINSTALL)
    version = sys.version.split()[0]
    found.ok("loragit", f"loragit {__version__}, Python {version} at {sys.executable}")
    if versions:
        found.ok("libraries", ", ".join(versions))


def _check_command(found: Checks, environ: Mapping[str, str]) -> None:
    """Whether scripts and hooks that call ``loragit`` get this one."""
    import shutil

    where = shutil.which("loragit", path=environ.get("PATH"))
    if where is None:
        found.warn(
            "command",
            "there is no loragit on PATH",
            "put it there: pipx ensurepath, then open a new terminal",
        )
        return
    python = _interpreter(Path(where))
    if python is None:
        other = None if (said := _version(where, environ)) == f"loragit {__version__}" else said
    else:
        other = None if python == Path(sys.executable) else f"of {python}"
    if other is None:
        found.ok("command", f"loragit on PATH is {where}")
    else:
        found.warn(
            "command",
            f"the loragit on PATH, {where}, is another one: {other}; this is loragit "
            f"{__version__} of {sys.executable}",
            "keep one of them; type -a loragit shows where they are",
        )


def _interpreter(script: Path) -> Path | None:
    """The Python that the first line of an installed ``loragit`` names; ``None`` if it names
    none."""
    try:
        with script.open("rb") as file:
            first = file.readline(4096)
    except OSError:
        return None
    words = os.fsdecode(first).removeprefix("#!").split()
    named = Path(words[0]) if first.startswith(b"#!") and words else None
    return named if named is not None and named.name.startswith("python") else None


def _version(program: str, environ: Mapping[str, str]) -> str:
    """The first line of ``PROGRAM --version``, or why there is none."""
    try:
        answer = child.ask([program, "--version"], cwd=Path("/"), env=environ).answer(ANSWER)
    except LoragitError as error:
        return error.message
    lines = answer.out.decode("utf-8", "replace").splitlines()
    return lines[0] if lines else f"exit status {answer.status}"


def _check_identity(found: Checks, folder: Path) -> None:
    try:
        author, _ = identity.IdentityQuestion(folder).answer()
    except LoragitError as error:
        found.fail("identity", error.message, error.hint)
    else:
        found.ok("identity", f"runs are committed by {author.name} <{author.email}>")


def _check_caches(found: Checks, caches: Path) -> None:
    existing = caches
    while not os.path.exists(existing):
        existing = existing.parent
    if os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK):
        found.ok("caches", f"caches are kept in {caches}")
    else:
        found.warn(
            "caches",
            f"{existing} cannot be written: without caches in {caches} every start reads all "
            "images again",
            f"see who owns it (ls -ld {shlex.quote(str(existing))}), or set XDG_CACHE_HOME",
        )


def _check_user_settings(found: Checks) -> None:
    """The user's own settings file, which need not exist."""
    path = load.user_file()
    try:
        document.read_settings_file(path)
    except LoragitError as error:
        found.fail("settings", error.message, error.hint or "mend that file")
    else:
        there = os.path.lexists(path)
        found.ok(
            "settings",
            f"your own settings: {path}" if there else f"no settings of your own in {path}",
        )


def free_space(place: Path) -> tuple[Path, int]:
    """``place`` or the nearest folder above it that exists, and the bytes that are free there."""
    existing = place
    while not os.path.isdir(existing) and existing != existing.parent:
        existing = existing.parent
    return existing, durable.free_space(existing)
