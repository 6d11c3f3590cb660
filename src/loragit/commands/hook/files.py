"""loragit's hooks as files of a repository: where git looks for them, whose they are, how they are
installed and removed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.commands.hook import staged
from loragit.errors import LoragitError

PRE_COMMIT = "pre-commit"
"""Calls loragit, which checks the trainer's code and what is staged."""
GUARDS = ("reference-transaction", "update")
"""Keep the record from being rewritten: in this repository, and in one that several push to. They
need no loragit."""
NAMES = (PRE_COMMIT, *GUARDS)


class HookInTheWay(LoragitError):
    """There is a hook that is not loragit's, and another one was kept before."""


class HookEdited(LoragitError):
    """The file is loragit's hook, edited by somebody."""


class HooksUnusable(LoragitError):
    """The folder of hooks is no folder, or cannot be written."""


class HookMissing(LoragitError):
    """This installation of loragit lacks its hooks."""


class State(Enum):
    """What the repository has in the hook's place."""

    ABSENT = "absent"
    CURRENT = "current"
    """loragit's, as this version ships it."""
    OTHER_VERSION = "other version"
    """loragit's, as another version shipped it."""
    EDITED = "edited"
    """loragit's, edited by somebody."""
    FOREIGN = "foreign"


class Status(NamedTuple):
    """A hook of a repository, as git would find it."""

    name: str
    """One of :data:`NAMES`."""
    path: Path
    """The hook, or its place if there is none."""
    state: State
    executable: bool
    """git ignores a hook that is not executable."""
    chained: Path | None
    """The hook that was there before, which runs first."""
    shared: bool
    """Whether the user's or the machine's ``core.hooksPath`` sets the folder, so that it serves
    all repositories."""
    command: str | None
    """How to start loragit if it is not on PATH: words for a shell."""
    startable: bool
    """Whether loragit is on PATH or where ``command`` says."""
    top: Path
    """Of the work tree, or of the bare repository."""
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
    """Where a hook that is not loragit's was moved to."""


class Uninstalled(NamedTuple):
    """What :func:`uninstall` did."""

    name: str
    path: Path
    removed: bool
    restored: bool
    """Whether the hook that was there before is back."""
    shared: bool


def mark(name: str) -> bytes:
    """How the second line of the hook begins: by it loragit recognises its own hook, and by the
    digest that follows whether somebody edited it."""
    return f"# loragit {name} hook, sha256 of the lines below: ".encode()


def hook_source(name: str = PRE_COMMIT) -> Path:
    """The hook as this version ships it: inside the package, or beside ``src`` in a checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package, package.parents[1]):
        source = folder / "hooks" / name
        if source.is_file():
            return source
    raise HookMissing(
        "this installation of loragit has no hook", hint="install it again: pipx reinstall loragit"
    )


def status(cwd: Path, name: str = PRE_COMMIT) -> Status:
    """The hook ``name`` of the repository around ``cwd``.

    Raises :class:`~loragit.git.NotARepository` or :class:`HooksUnusable`.
    """
    import shutil

    top, here = _repository(cwd, name)
    questions = (
        git.start(*here, "rev-parse", "--git-path", "hooks", cwd=top),
        git.start(*here, "config", "--show-scope", "--get", "core.hooksPath", cwd=top),
        git.start(*here, "config", "--get", "loragit.command", cwd=top),
        git.start(*here, "config", "--bool", "--get", staged.SETTING, cwd=top),
    )
    folder = top / questions[0].text()
    scope = questions[1].reply().out.decode().partition("\t")[0]
    secrets = staged.is_wanted(questions[3])
    command = questions[2].reply().out.decode("utf-8", "surrogateescape").removesuffix("\n") or None
    if folder.exists() and not folder.is_dir():
        raise HooksUnusable(
            f"git runs no hooks in {top}: core.hooksPath is {folder}, which is not a folder",
            hint=f"let it run hooks again: git config --{scope} --unset core.hooksPath",
        )
    # ``pre-commit install``, the tool's, moves a hook aside to the second and runs it.
    states = {place: _state_of(place, name) for place in (folder / name, folder / f"{name}.legacy")}
    path = next(
        (p for p, s in states.items() if s not in (State.ABSENT, State.FOREIGN)), folder / name
    )
    chained = folder / f"{name}.chained"
    return Status(
        name=name,
        path=path,
        state=states[path],
        executable=os.access(path, os.X_OK),
        chained=chained if os.path.lexists(chained) else None,
        shared=scope in ("global", "system"),
        command=command,
        startable=name in GUARDS
        or any(shutil.which(word) for word in ("loragit", *shlex.split(command or "")[:1])),
        top=top,
        secrets=secrets and name == PRE_COMMIT,
    )


def is_itself_bare(folder: Path) -> bool:
    """Whether ``folder`` itself is a bare repository, not whether it lies in one."""
    return (
        all((folder / part).is_dir() for part in ("objects", "refs"))
        and (folder / "HEAD").is_file()
    )


def _repository(cwd: Path, name: str) -> tuple[Path, tuple[str, ...]]:
    """The folder to ask git in, and git's options. Only the guards may be in a bare repository:
    nothing is committed there, but it is pushed to."""
    if name in GUARDS and is_itself_bare(cwd):
        return cwd, (f"--git-dir={cwd}",)
    return git.discover(cwd).top, ()


def _state_of(path: Path, name: str) -> State:
    if not os.path.lexists(path):
        return State.ABSENT
    try:
        data = path.read_bytes()
    except OSError:
        return State.FOREIGN
    _, _, rest = data.partition(b"\n")
    second, _, body = rest.partition(b"\n")
    if not second.startswith(mark(name)):
        return State.FOREIGN
    if data == hook_source(name).read_bytes():
        return State.CURRENT
    import hashlib

    untouched = (
        second.removeprefix(mark(name)).decode("ascii", "replace")
        == hashlib.sha256(body).hexdigest()
    )
    return State.OTHER_VERSION if untouched else State.EDITED


def install_command(name: str) -> str:
    """The command that installs it."""
    return "loragit hook install" if name == PRE_COMMIT else f"loragit hook install {name}"


def install(
    cwd: Path, command: str, name: str = PRE_COMMIT, *, secrets: bool | None = None
) -> Installed:
    """Install the hook ``name`` in the repository around ``cwd``. A hook that is not loragit's is
    kept, and runs first.

    ``secrets`` turns the search of staged files for secrets on or off in this repository; ``None``
    leaves it as it is. ``command`` starts loragit if it is not on PATH: words quoted for a shell.

    Raises :class:`HookEdited`, :class:`HookInTheWay`, :class:`HooksUnusable`,
    :class:`~loragit.git.NotARepository`.
    """
    now = status(cwd, name)
    kept = None
    if now.state is State.EDITED:
        raise _hook_edited(now)
    if now.state is State.FOREIGN:
        if now.chained is not None:
            raise HookInTheWay(
                f"{now.path} is not loragit's, and a hook was kept before as {now.chained}",
                hint=f"merge them, or remove one; then: {install_command(name)}; "
                f"compare: diff {_both_paths(now)}",
            )
        kept = now.path.with_name(f"{name}.chained")
    changed = now.state is not State.CURRENT or not now.executable
    if name == PRE_COMMIT:
        git.run("config", "--local", "loragit.command", command, cwd=now.top)
    if name == PRE_COMMIT and secrets is not None:
        git.run("config", "--local", staged.SETTING, str(secrets).lower(), cwd=now.top)
    if changed:
        with _writing(now.path.parent):
            _write_hook(now.path, hook_source(name).read_bytes(), kept)
    return Installed(status(cwd, name), now.state, changed, kept)


def uninstall(cwd: Path, name: str = PRE_COMMIT) -> Uninstalled:
    """Remove loragit's hook. The one that it kept is put back, byte for byte.

    Raises :class:`HookEdited`, :class:`HooksUnusable`, :class:`~loragit.git.NotARepository`.
    """
    now = status(cwd, name)
    if now.state is State.EDITED:
        raise _hook_edited(now)
    for key in ("loragit.command", staged.SETTING) if name == PRE_COMMIT else ():
        git.call("config", "--local", "--unset", key, cwd=now.top)
    if now.state is State.FOREIGN or (now.state is State.ABSENT and now.chained is None):
        return Uninstalled(name, now.path, removed=False, restored=False, shared=now.shared)
    with _writing(now.path.parent):
        if now.chained is None:
            now.path.unlink()
        else:
            now.chained.replace(now.path)
            if now.path.name != name and _same_bytes(now.path, now.path.with_name(name)):
                # What was kept is the tool that moved ours aside: it is in place already, and would
                # call itself.
                now.path.unlink()
    removed, restored = now.state is not State.ABSENT, now.chained is not None
    return Uninstalled(name, now.path, removed, restored, now.shared)


def _same_bytes(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _write_hook(path: Path, data: bytes, kept: Path | None) -> None:
    """Write the hook whole or not at all. A symbolic link itself is renamed or replaced, never its
    target."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
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
            f"the hooks in {folder} cannot be changed: {error.strerror}",
            hint=f"see who may: ls -ld {folder}",
        ) from error


def _hook_edited(now: Status) -> HookEdited:
    path = now.path
    aside = f"mv {shlex.quote(str(path))} {shlex.quote(str(path.with_name(now.name + '.edited')))}"
    return HookEdited(
        f"{path} is loragit's hook, and somebody edited it",
        hint=f"keep it under another name: {aside}",
    )


def _both_paths(now: Status) -> str:
    return " ".join(shlex.quote(str(path)) for path in (now.path, now.chained))
