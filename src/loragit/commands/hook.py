"""The pre-commit hook in a repository: put in, taken out, looked at, and run when git calls it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from loragit import console, git
from loragit.commands import precommit, staged
from loragit.errors import LoragitError, UsageError

NAME = "pre-commit"
"""The one hook that loragit ships."""

SECRETS = "secrets"
"""The half of it that can be run alone: ``loragit hook run secrets [FILE]...``."""

REFUSED = 3
"""Exit status of a hook that refuses. The installed script takes any other failure for a loragit that is broken."""

MARK = b"# loragit pre-commit hook, sha256 of the lines below: "
"""Begins the second line of the hook, so that loragit knows its own, and knows whether somebody edited it."""

_CHAINED = f"{NAME}.chained"
_PLACES = (NAME, f"{NAME}.legacy")
"""Where loragit's hook may lie. ``pre-commit install``, the tool's, moves a hook aside to the second and runs it."""


class HookInTheWay(LoragitError):
    """There is a hook of another kind, and another one was kept before."""


class HookEdited(LoragitError):
    """The file is loragit's hook with changes that somebody made."""


class HooksUnusable(LoragitError):
    """The folder of hooks is none, or cannot be written."""


class HookMissing(LoragitError):
    """This installation of loragit is without its hook."""


def run_hook(name: str, args: Sequence[str], environ: Mapping[str, str], cwd: Path, index: str | None = None) -> int:
    """Be the hook ``name``, called by git with ``args`` in ``cwd``; :data:`REFUSED` or 0. Tells why on stderr.

    :data:`SECRETS` searches the files ``args``, or without any what is staged. ``index`` is the file of git's index,
    where git named one to the hook.

    The process's own environment must be without :data:`loragit.git.LOCAL_VARIABLES`: git sets them for hooks, and
    with them every repository that is asked would answer for the one that is committed to.
    """
    try:
        verdict = _verdict(name, args, environ, cwd, index)
    except LoragitError as error:
        verdict = precommit.Verdict((error,))
    for note in verdict.notes:
        console.warn(note)
    for refusal in verdict.refusals:
        console.error(refusal)
    if verdict.refusals:
        console.say("to commit here all the same, this once: git commit --no-verify")
    return REFUSED if verdict.refusals else 0


def _verdict(
    name: str, args: Sequence[str], environ: Mapping[str, str], cwd: Path, index: str | None
) -> precommit.Verdict:
    if name == SECRETS:
        files = args[1:] if args[:1] == ["--"] else args
        return staged.check_files(files, cwd, environ) if files else staged.check(cwd, environ, index)
    if name != NAME:
        raise UsageError(f"loragit has no {name} hook", hint=f"the hooks it has: {NAME}, {SECRETS}")
    if args:
        raise UsageError(f"the {NAME} hook takes no arguments")
    setting = git.start("config", "--bool", "--get", staged.SETTING, cwd=cwd)
    verdict = precommit.check(cwd, environ)
    if not staged.wanted(setting):
        return verdict
    found = staged.check(cwd, environ, index)
    return precommit.Verdict((*verdict.refusals, *found.refusals), (*verdict.notes, *found.notes))


class State(Enum):
    """What lies where the hook belongs."""

    ABSENT = "absent"
    CURRENT = "current"
    """loragit's, as this version ships it."""
    OTHER_VERSION = "other version"
    """loragit's, as another version shipped it."""
    EDITED = "edited"
    """loragit's, with changes by somebody else."""
    FOREIGN = "foreign"


class Status(NamedTuple):
    """The hook of a repository, as git would find it."""

    path: Path
    """The hook, or where it would be."""
    state: State
    executable: bool
    """git ignores a hook that is not."""
    chained: Path | None
    """The hook that was there before, which runs first."""
    shared: bool
    """Whether ``core.hooksPath`` of the user or the machine sets the folder, so that it serves all repositories."""
    command: str | None
    """How to start loragit where it is not on PATH: words for a shell."""
    startable: bool
    """Whether loragit is found on PATH or where ``command`` says."""
    top: Path
    """Of the work tree that was asked about."""
    secrets: bool
    """Whether it searches what is staged for secrets."""

    @property
    def installed(self) -> bool:
        """Whether git runs loragit's hook."""
        return self.state not in (State.ABSENT, State.FOREIGN) and self.executable


class Installed(NamedTuple):
    """What :func:`install` did."""

    status: Status
    """Afterwards."""
    before: State
    changed: bool
    kept: Path | None
    """Where a hook of another kind lies now."""


class Uninstalled(NamedTuple):
    """What :func:`uninstall` did."""

    path: Path
    removed: bool
    restored: bool
    """Whether the hook that was there before is back."""
    shared: bool


def hook_source() -> Path:
    """The hook as this version ships it: inside the package, or beside ``src`` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parents[1]):
        source = folder / "hooks" / NAME
        if source.is_file():
            return source
    raise HookMissing("this installation of loragit has no hook", hint="install it again: pipx reinstall loragit")


def status(cwd: Path) -> Status:
    """The hook of the repository around ``cwd``.

    Raises :class:`~loragit.git.NotARepository` or :class:`HooksUnusable`.
    """
    import shutil

    top = git.discover(cwd).top
    asked = (
        git.start("rev-parse", "--git-path", "hooks", cwd=top),
        git.start("config", "--show-scope", "--get", "core.hooksPath", cwd=top),
        git.start("config", "--get", "loragit.command", cwd=top),
        git.start("config", "--bool", "--get", staged.SETTING, cwd=top),
    )
    folder = top / asked[0].text()
    scope = asked[1].reply().out.decode().partition("\t")[0]
    secrets = staged.wanted(asked[3])
    command = asked[2].reply().out.decode("utf-8", "surrogateescape").removesuffix("\n") or None
    if folder.exists() and not folder.is_dir():
        raise HooksUnusable(
            f"git runs no hooks in {top}: core.hooksPath is {folder}, which is no folder",
            hint=f"let it run hooks again: git config --{scope} --unset core.hooksPath",
        )
    states = {folder / place: _state(folder / place) for place in _PLACES}
    path = next((p for p, s in states.items() if s not in (State.ABSENT, State.FOREIGN)), folder / NAME)
    chained = folder / _CHAINED
    return Status(
        path=path,
        state=states[path],
        executable=os.access(path, os.X_OK),
        chained=chained if os.path.lexists(chained) else None,
        shared=scope in ("global", "system"),
        command=command,
        startable=any(shutil.which(word) for word in ("loragit", *shlex.split(command or "")[:1])),
        top=top,
        secrets=secrets,
    )


def _state(path: Path) -> State:
    if not os.path.lexists(path):
        return State.ABSENT
    try:
        data = path.read_bytes()
    except OSError:
        return State.FOREIGN
    _, _, rest = data.partition(b"\n")
    mark, _, body = rest.partition(b"\n")
    if not mark.startswith(MARK):
        return State.FOREIGN
    if data == hook_source().read_bytes():
        return State.CURRENT
    import hashlib

    untouched = mark.removeprefix(MARK).decode("ascii", "replace") == hashlib.sha256(body).hexdigest()
    return State.OTHER_VERSION if untouched else State.EDITED


def install(cwd: Path, command: str, *, secrets: bool | None = None) -> Installed:
    """Put the hook into the repository around ``cwd``; a hook of another kind is kept, and runs first.

    ``secrets`` turns the search for secrets in what is staged on or off, for this repository; ``None`` leaves that.

    ``command`` starts loragit where it is not on PATH: words for a shell, quoted as a shell needs them. Raises
    :class:`HookEdited`, :class:`HookInTheWay`, :class:`HooksUnusable`, :class:`~loragit.git.NotARepository`.
    """
    now = status(cwd)
    kept = None
    if now.state is State.EDITED:
        raise _edited(now.path)
    if now.state is State.FOREIGN:
        if now.chained is not None:
            raise HookInTheWay(
                f"{now.path} is not loragit's, and a hook was kept before as {now.chained}",
                hint=f"make them one, or take one away; then: loragit hook install; compare: diff {_pair(now)}",
            )
        kept = now.path.with_name(_CHAINED)
    changed = now.state is not State.CURRENT or not now.executable
    git.run("config", "--local", "loragit.command", command, cwd=now.top)
    if secrets is not None:
        git.run("config", "--local", staged.SETTING, str(secrets).lower(), cwd=now.top)
    if changed:
        with _writing(now.path.parent):
            _place(now.path, hook_source().read_bytes(), kept)
    return Installed(status(cwd), now.state, changed, kept)


def uninstall(cwd: Path) -> Uninstalled:
    """Take loragit's hook out; the one that it kept is what it was again, byte for byte.

    Raises :class:`HookEdited`, :class:`HooksUnusable`, :class:`~loragit.git.NotARepository`.
    """
    now = status(cwd)
    if now.state is State.EDITED:
        raise _edited(now.path)
    for key in ("loragit.command", staged.SETTING):
        git.call("config", "--local", "--unset", key, cwd=now.top)
    if now.state is State.FOREIGN or (now.state is State.ABSENT and now.chained is None):
        return Uninstalled(now.path, removed=False, restored=False, shared=now.shared)
    with _writing(now.path.parent):
        if now.chained is None:
            now.path.unlink()
        else:
            now.chained.replace(now.path)
            if now.path.name != NAME and _alike(now.path, now.path.with_name(NAME)):
                # What was kept is the tool that moved ours aside: it is in place already, and would call itself.
                now.path.unlink()
    return Uninstalled(
        now.path, removed=now.state is not State.ABSENT, restored=now.chained is not None, shared=now.shared
    )


def _alike(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _place(path: Path, data: bytes, kept: Path | None) -> None:
    """Write the hook whole or not at all; a symbolic link is renamed or replaced itself, never followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{NAME}.{os.getpid()}.new")
    try:
        new.touch(mode=0o777, exist_ok=False)
        new.write_bytes(data)
        if kept is not None:
            path.rename(kept)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HooksUnusable(
            f"the hooks in {folder} cannot be changed: {error.strerror}", hint=f"see who may: ls -ld {folder}"
        ) from error


def _edited(path: Path) -> HookEdited:
    aside = f"mv {shlex.quote(str(path))} {shlex.quote(str(path.with_name(NAME + '.edited')))}"
    return HookEdited(f"{path} is loragit's hook, and somebody edited it", hint=f"keep it under another name: {aside}")


def _pair(now: Status) -> str:
    return " ".join(shlex.quote(str(path)) for path in (now.path, now.chained))


def lines(result: Status | Installed | Uninstalled) -> tuple[str, ...]:
    """``result`` for a person, a line each."""
    if isinstance(result, Uninstalled):
        return tuple(_uninstalled_lines(result))
    if isinstance(result, Installed):
        return tuple(_installed_lines(result))
    return tuple(_status_lines(result))


def _uninstalled_lines(done: Uninstalled) -> Iterator[str]:
    yield f"removed {done.path}" if done.removed else f"there was no hook of loragit's at {done.path}"
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
    yield from _about(done.status)


_TOLD = {
    State.ABSENT: "not installed: there is no {}",
    State.FOREIGN: "not installed: {} is another hook; loragit hook install keeps it and runs it first",
    State.CURRENT: "installed: {}",
    State.OTHER_VERSION: "installed by another version of loragit: {}; update it with: loragit hook install",
    State.EDITED: "installed, and edited since: {}",
}


_SEARCHES = "it also refuses secrets in what is staged"


def _status_lines(now: Status) -> Iterator[str]:
    yield _TOLD[now.state].format(now.path)
    if now.state is not State.ABSENT and not now.executable:
        yield f"git ignores it, for it is not executable; make it so with: chmod +x {shlex.quote(str(now.path))}"
    if now.state not in (State.ABSENT, State.FOREIGN) and not now.startable:
        yield "it will not find loragit, neither on PATH nor where it was; mend that with: loragit hook install"
    if now.state not in (State.ABSENT, State.FOREIGN):
        yield _SEARCHES if now.secrets else "it does not look for secrets; let it: loragit hook install --secrets"
    yield from _about(now)


def _about(now: Status) -> Iterator[str]:
    if now.chained is not None:
        runs = now.state not in (State.ABSENT, State.FOREIGN)
        yield f"{now.chained} was " + ("there before, and runs first" if runs else "kept by an earlier install")
    if now.shared:
        yield "core.hooksPath sets that folder for every repository; those without a loragit.toml or runs are let be"
