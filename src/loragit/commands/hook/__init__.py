"""``loragit hook``: install, remove, show and run loragit's git hooks."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from loragit import console, git
from loragit.commands.hook import files, staged, trainer_clean
from loragit.commands.hook.files import (
    GUARDS,
    NAMES,
    PRE_COMMIT,
    Installed,
    State,
    Status,
    Uninstalled,
)
from loragit.errors import LoragitError, UsageError

SECRETS = "secrets"
"""The half of the pre-commit hook that can run alone: ``loragit hook run secrets [FILE]...``."""

REFUSED = 3
"""Exit status of a hook that refuses. The installed script takes any other failure for a broken
loragit."""


def known_names(names: Sequence[str]) -> tuple[str, ...]:
    """``names``, each once. Raises :class:`~loragit.errors.UsageError` if loragit has no such
    hook."""
    for name in names:
        if name not in NAMES:
            raise UsageError(
                f"loragit has no {name} hook to install",
                hint=f"the hooks it has: {', '.join(NAMES)}",
            )
    return tuple(dict.fromkeys(names))


def install_lines(
    cwd: Path, command: str, names: Sequence[str], *, secrets: bool | None
) -> Iterator[str]:
    """Install each of ``names``, or without names the pre-commit hook; yields what to print.
    Raises what
    :func:`~loragit.commands.hook.files.install`."""
    wanted = known_names(names) or (PRE_COMMIT,)
    if secrets is not None and PRE_COMMIT not in wanted:
        raise UsageError(
            "only the pre-commit hook looks for secrets", hint="loragit hook install --secrets"
        )
    for name in wanted:
        yield from lines(files.install(cwd, command, name, secrets=secrets))


def uninstall_lines(cwd: Path, names: Sequence[str]) -> Iterator[str]:
    """Remove each of ``names``, or without names all of loragit's hooks; yields what to print.
    Raises what
    :func:`~loragit.commands.hook.files.uninstall`."""
    for name in known_names(names) or _default_names(cwd):
        done = files.uninstall(cwd, name)
        if names or name == PRE_COMMIT or done.removed or done.restored:
            yield from lines(done)


def status_lines(cwd: Path, names: Sequence[str]) -> Iterator[str]:
    """The state of each of ``names``, or without names of every hook."""
    for name in known_names(names) or _default_names(cwd):
        yield from lines(files.status(cwd, name))


def hook_text(name: str) -> str:
    """The hook as this version ships it. Raises :class:`~loragit.errors.UsageError` if loragit has
    no such hook."""
    (wanted,) = known_names((name,))
    return files.hook_source(wanted).read_text("utf-8")


def _default_names(cwd: Path) -> tuple[str, ...]:
    return GUARDS if files.is_itself_bare(cwd) else NAMES


def exec_guard(name: str, args: Sequence[str]) -> NoReturn:
    """Replace this process by the shell that runs one of :data:`GUARDS`, in the environment that
    git set."""
    os.execv("/bin/sh", ["sh", str(files.hook_source(name)), *args])  # noqa: S606 - there is nothing left to do here


def run_hook(
    name: str, args: Sequence[str], environ: Mapping[str, str], cwd: Path, index: str | None = None
) -> int:
    """Run the hook ``name``, called by git with ``args`` in ``cwd``. Returns :data:`REFUSED`, its
    reasons on stderr, or 0.

    :data:`SECRETS` searches the files ``args``, or without any what is staged. ``index`` is the
    file of git's index, if git named one to the hook. For one of :data:`GUARDS` this does not
    return.

    The process's own environment must not hold :data:`loragit.git.LOCAL_VARIABLES`. git sets them
    for hooks, and with them any repository that loragit asks about would be the one that is
    committed to.
    """
    if name in GUARDS:
        exec_guard(name, args)
    try:
        verdict = _verdict(name, args, environ, cwd, index)
    except LoragitError as error:
        verdict = trainer_clean.CommitCheck((error,))
    for note in verdict.notes:
        console.warn(note)
    for refusal in verdict.refusals:
        console.error(refusal)
    if verdict.refusals:
        console.info("to commit anyway, this once: git commit --no-verify")
    return REFUSED if verdict.refusals else 0


def _verdict(
    name: str, args: Sequence[str], environ: Mapping[str, str], cwd: Path, index: str | None
) -> trainer_clean.CommitCheck:
    if name == SECRETS:
        files = args[1:] if args[:1] == ["--"] else args
        return (
            staged.check_files(files, cwd, environ) if files else staged.check(cwd, environ, index)
        )
    if name != PRE_COMMIT:
        raise UsageError(
            f"loragit has no {name} hook", hint=f"the hooks it has: {', '.join((*NAMES, SECRETS))}"
        )
    if args:
        raise UsageError(f"the {PRE_COMMIT} hook takes no arguments")
    setting = git.start("config", "--bool", "--get", staged.SETTING, cwd=cwd)
    verdict = trainer_clean.check(cwd, environ)
    if not staged.is_wanted(setting):
        return verdict
    found = staged.check(cwd, environ, index)
    return trainer_clean.CommitCheck(
        (*verdict.refusals, *found.refusals), (*verdict.notes, *found.notes)
    )


def lines(result: Status | Installed | Uninstalled) -> tuple[str, ...]:
    """``result`` for people, line by line."""
    if isinstance(result, Uninstalled):
        return tuple(_uninstalled_lines(result))
    if isinstance(result, Installed):
        return tuple(_installed_lines(result))
    return tuple(_status_lines(result))


def _uninstalled_lines(done: Uninstalled) -> Iterator[str]:
    yield (f"removed {done.path}" if done.removed else f"there was no loragit hook at {done.path}")
    if done.restored:
        yield "the hook that was there before is back"
    if done.removed and done.shared:
        yield "core.hooksPath sets that folder for every repository, so it is gone from all of them"


def _installed_lines(done: Installed) -> Iterator[str]:
    if not done.changed:
        yield f"{done.status.path} is installed already"
    elif done.before is State.OTHER_VERSION:
        yield f"updated {done.status.path}"
    else:
        yield f"installed {done.status.path}"
    if done.status.secrets:
        yield _SEARCHES
    yield from _context_lines(done.status)


_STATES = {
    State.ABSENT: "not installed: there is no {}",
    State.FOREIGN: "not installed: {} is another hook; {} keeps it and runs it first",
    State.CURRENT: "installed: {}",
    State.OTHER_VERSION: "installed by another version of loragit: {}; update it with: {}",
    State.EDITED: "installed, and edited since: {}",
}


_UNTOUCHED = {
    PRE_COMMIT: "those without a loragit.toml or runs are left alone",
    "reference-transaction": "those without runs of loragit's are left alone",
    "update": "in each of them a branch runs takes nothing but runs",
}
_SEARCHES = "it also refuses secrets in what is staged"


def _status_lines(now: Status) -> Iterator[str]:
    yield _STATES[now.state].format(now.path, files.install_command(now.name))
    if now.state is not State.ABSENT and not now.executable:
        yield (
            "git ignores it, for it is not executable; make it so with: chmod +x "
            f"{shlex.quote(str(now.path))}"
        )
    if now.state not in (State.ABSENT, State.FOREIGN) and not now.startable:
        yield (
            "it will not find loragit, neither on PATH nor where it was; mend that with: "
            "loragit hook install"
        )
    if now.state not in (State.ABSENT, State.FOREIGN) and now.name == PRE_COMMIT:
        yield (
            _SEARCHES
            if now.secrets
            else "it does not look for secrets; let it: loragit hook install --secrets"
        )
    yield from _context_lines(now)


def _context_lines(now: Status) -> Iterator[str]:
    if now.chained is not None:
        runs = now.state not in (State.ABSENT, State.FOREIGN)
        yield f"{now.chained} was " + (
            "there before, and runs first" if runs else "kept by an earlier install"
        )
    if now.shared:
        yield "core.hooksPath sets that folder for every repository; " + _UNTOUCHED[now.name]
