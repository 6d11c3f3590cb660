"""The user's git as a child: asked, fed, and shown.

git judges what is dirty and moves refs because the libraries were measured to be wrong or to lose
data there (docs/design.md, "Who does what"). Every child is started from an argument list, with
git's own optional locks off, so that looking at a repository never writes to it.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError

LOCAL_VARIABLES = (
    *(
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
    ),
    *("GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE"),
    *("GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH"),
    *("GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE"),
)
"""What git sets for the children of a hook to name *that* repository (of ``git rev-parse
--local-env-vars``).

Configuration from the environment stays: people put ``safe.directory`` there.
"""

_OWN_TERMS = (
    "--no-optional-locks",
    # A cloned dataset may name a folder, or carry a bare repository, whose configuration would run
    # a program.
    "-c",
    "safe.bareRepository=explicit",
    "-c",
    "core.fsmonitor=false",
)
DURABLE = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")
"""Terms with which git waits for the disk whatever it is told elsewhere; before 2.36 it does not
know them."""
_NOWHERE = "GIT_DIR=/dev/null"
"""What keeps git from taking the folder that it is started in for a repository. Git before 2.38
knows no ``safe.bareRepository``."""
_DAMAGED = re.compile(
    "missing object|bad (?:tree )?object|nonexistent object|corrupt|could not parse|unable to "
    "unpack|inflate"
)
"""What git's message holds where an object is lost or damaged."""


class GitMissing(LoragitError):
    """There is no git on PATH."""


class GitFailed(LoragitError):
    """git answered with an error."""


class GitKilled(GitFailed):
    """git was ended by a signal: it may have left locks, and done half of its work."""


class NotARepository(LoragitError):
    """The folder is in no git repository, or in one that has no commit where one is needed."""


class Reply(NamedTuple):
    status: int
    out: bytes
    err: bytes


Child = subprocess.Popen[bytes]
"""A git under way."""


class Question:
    """A git command under way. Several may run at the same time; each is answered once."""

    def __init__(
        self, args: tuple[str, ...], cwd: Path, data: bytes | None, variables: tuple[str, ...]
    ) -> None:
        self.args = args
        self._data = data
        self._child = child(args, cwd, fed=data is not None, heard=True, variables=variables)

    @property
    def pid(self) -> int:
        """Its process. It waits for what it is fed until it is asked for the reply."""
        return self._child.pid

    def reply(self) -> Reply:
        """Wait for the end, whatever the exit status."""
        out, err = self._child.communicate(self._data)
        return Reply(self._child.returncode, out, err)

    def beginning(self, most: int) -> bytes:
        """The first ``most`` bytes of what it prints, in place of :meth:`reply`; what comes after
        them is not read."""
        assert self._child.stdout
        out = self._child.stdout.read(most)
        self._child.kill()
        self._child.communicate()
        return out

    def cancel(self) -> None:
        """End it before it is fed: it has done nothing."""
        self._child.kill()
        self._child.communicate()

    def text(self) -> str:
        """Standard output without its last newline. Raises :class:`GitFailed`."""
        reply = self.reply()
        if reply.status != 0:
            asked = self.args[len(DURABLE) :] if self.args[: len(DURABLE)] == DURABLE else self.args
            raise failed(" ".join(asked), reply)
        return reply.out.decode("utf-8", "surrogateescape").removesuffix("\n")


def failed(asked: str, reply: Reply) -> GitFailed:
    """What to raise where git could not do what it was ``asked``."""
    words = last_words(reply)
    hint = (
        "git fsck tells more; fetch what is lost from a clone" if _DAMAGED.search(words) else None
    )
    if "reference broken" in words:
        hint = "loragit recover tells how to mend it"
    kind = GitKilled if reply.status < 0 else GitFailed
    return kind(f"git {asked} failed: {words}", hint=hint)


def child(
    args: tuple[str, ...], cwd: Path, *, fed: bool, heard: bool, variables: tuple[str, ...] = ()
) -> Child:
    """A git of its own, its standard output a pipe; standard input is one where it is ``fed``, and
    standard error where its complaints are ``heard``. Raises :class:`NotARepository`,
    :class:`GitMissing`."""
    if is_bare(cwd):
        variables = (*variables, _NOWHERE)
    try:
        return subprocess.Popen(
            [*(("env", *variables) if variables else ()), "git", *_OWN_TERMS, *args],
            cwd=cwd,
            # Its words are read here, not shown as they are.
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if heard else subprocess.DEVNULL,
        )
    except OSError as error:
        if not cwd.is_dir():
            raise NotARepository(f"there is no folder {cwd}") from error
        if isinstance(error, PermissionError):
            raise NotARepository(f"{cwd} may not be entered") from error
        if not isinstance(error, FileNotFoundError):
            raise GitFailed(f"git cannot be started: {error.strerror}") from error
        raise GitMissing("git was not found on PATH", hint="install git 2.30 or newer") from error


def start(
    *args: str, cwd: Path, data: bytes | None = None, variables: tuple[str, ...] = ()
) -> Question:
    """Start ``git ARGS`` in ``cwd`` and return at once; ``variables`` (``NAME=value``) are added to
    its environment.

    Raises :class:`GitMissing`.
    """
    return Question(args, cwd, data, variables)


def run(*args: str, cwd: Path, data: bytes | None = None, variables: tuple[str, ...] = ()) -> str:
    """Standard output of ``git ARGS``, without its last newline. Raises :class:`GitFailed`."""
    return start(*args, cwd=cwd, data=data, variables=variables).text()


def call(*args: str, cwd: Path) -> Reply:
    """Whatever ``git ARGS`` answers; never raises for its exit status."""
    return start(*args, cwd=cwd).reply()


def show(*args: str, cwd: Path, variables: tuple[str, ...] = ()) -> int:
    """Run ``git ARGS`` before the user's eyes, in the user's pager where it goes to a terminal;
    git's exit status.

    Raises :class:`GitMissing`.
    """
    import signal

    own = (*variables, _NOWHERE) if is_bare(cwd) else variables
    words = ["env", f"GIT_PAGER={pager()}", *own, "git", *_OWN_TERMS, *args]
    shown = subprocess.Popen(words, cwd=cwd, stdin=subprocess.DEVNULL)
    # Ctrl-C is for git and its pager.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return shown.wait()
    finally:
        signal.signal(signal.SIGINT, before)


@cache
def is_bare(folder: Path) -> bool:
    """Whether git would take ``folder`` or one above it for a repository though no ``.git`` is
    there.

    Such a folder can be committed and cloned, unlike a ``.git``. git runs what its ``config`` and
    its ``hooks`` name, and settings that lead to it come with the clone as well: so it is nothing
    to ask git about. Looked at once in a process, since git is asked a dozen times in the same few
    folders.
    """
    here = Path(os.path.realpath(folder))
    for each in (here, *here.parents):
        if os.path.lexists(each / ".git"):
            return False
        # As git's own is_git_directory: with commondir the other two may lie elsewhere.
        if os.path.lexists(each / "HEAD") and (
            os.path.lexists(each / "commondir")
            or (os.path.isdir(each / "objects") and os.path.isdir(each / "refs"))
        ):
            return True
    return False


def last_words(reply: Reply) -> str:
    """What git complained of, in a line."""
    lines = reply.err.decode("utf-8", "replace").strip().splitlines()
    told = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    return told[-1] if told else f"exit status {reply.status}"


def pager() -> str:
    """The user's pager for a shell, as git finds it: ``GIT_PAGER``, ``core.pager``, ``PAGER``, else
    ``less``.

    A repository's own configuration is not asked: somebody else may have written it.
    """
    reply = call("var", "GIT_PAGER", cwd=Path("/"))
    return reply.out.decode("utf-8", "surrogateescape").strip()
