"""Run the user's git: for its output, with input, or on the user's terminal.

git judges what is dirty and moves refs, because the libraries were measured to be wrong or to lose
data there (docs/design.md, "Who does what"). It never takes its optional locks, so that reading a
repository does not write to it.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.system import child
from loragit.system.child import Child

LOCAL_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
"""Variables by which git names its repository to a hook's children (from ``git rev-parse
--local-env-vars``).

Those that hold configuration are left out: people put ``safe.directory`` there.
"""

_OPTIONS = (
    "--no-optional-locks",
    # A dataset of somebody else's may hold a bare repository, or name a file system monitor: git
    # would run the programs that their configuration names.
    "-c",
    "safe.bareRepository=explicit",
    "-c",
    "core.fsmonitor=false",
)
DURABLE = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")
"""Options with which git waits for the disk whatever its configuration says; git before 2.36
ignores them."""
_NO_REPOSITORY = "GIT_DIR=/dev/null"
"""Keeps git from taking the folder that it is started in for a repository. Git before 2.38 has no
``safe.bareRepository``."""
ALONE = ("GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none")
"""Variables with which git fetches nothing that a partial clone lacks. Older git knows only the
second."""
PARTIAL_CLONE = "this is a partial clone; git fetch --refetch --no-filter brings all"
"""The hint where an object is missing by design."""
_UNSIGNED = (
    "commits are signed there (commit.gpgSign), and signing failed: see that git commit -S works, "
    "or leave it: git config commit.gpgSign false"
)
_CAUSES = (
    (re.compile(r"promisor remote|could not fetch [0-9a-f]{40}"), PARTIAL_CLONE),
    (
        re.compile(r"git-lfs\b|filter '?(?:git-)?lfs\b"),
        "git-lfs filters files there, and does not work: install it, then: git lfs install",
    ),
    (
        re.compile(r"(?:clean|smudge|external) filter .* failed"),
        "the program of that filter does not work: see git config --get-regexp '^filter[.]'",
    ),
    (
        re.compile(
            r"(?is)(?:sign|ssh-keygen|load key|public key).*failed to write commit object"
            r"|user\.signingkey"
        ),
        _UNSIGNED,
    ),
)
"""What git's messages tell of, and the next step. The cause is rarely in the last line."""
_DAMAGED = re.compile(
    "missing object|bad (?:tree )?object|nonexistent object|corrupt|could not parse|unable to "
    "unpack|inflate"
)
"""Found in git's message if an object is lost or damaged."""


class GitMissing(LoragitError):
    """There is no git on PATH."""


class GitFailed(LoragitError):
    """git answered with an error."""


class GitKilled(GitFailed):
    """git was killed by a signal: it may have left locks, and half of its work undone."""


class NotARepository(LoragitError):
    """The folder is in no git repository, or in one that has no commit where one is needed."""


class Reply(NamedTuple):
    """What git printed, and how it ended."""

    status: int
    """Negative if a signal ended it: -9 for SIGKILL."""
    out: bytes
    err: bytes


class Question:
    """A git command under way. Several may run at once; each is asked for one reply."""

    def __init__(
        self, args: tuple[str, ...], cwd: Path, data: bytes | None, variables: tuple[str, ...]
    ) -> None:
        self.args = args
        self._data = data
        self._child = start_child(args, cwd, fed=data is not None, errors=True, variables=variables)

    @property
    def pid(self) -> int:
        """Its process, which waits for its input until somebody asks for the reply."""
        return self._child.pid

    def reply(self) -> Reply:
        """Wait for the end, whatever the exit status."""
        out, err = self._child.communicate(self._data)
        return Reply(self._child.returncode, out, err)

    def beginning(self, most: int) -> bytes:
        """The first ``most`` bytes that it prints, in place of :meth:`reply`; the rest is not
        read."""
        assert self._child.stdout
        out = self._child.stdout.read(most)
        self._child.kill()
        self._child.communicate()
        return out

    def cancel(self) -> None:
        """Kill it before it gets its input: it has done nothing."""
        self._child.kill()
        self._child.communicate()

    def text(self) -> str:
        """Standard output without its last newline. Raises :class:`GitFailed`."""
        reply = self.reply()
        if reply.status != 0:
            words = self.args[len(DURABLE) :] if self.args[: len(DURABLE)] == DURABLE else self.args
            raise failure(" ".join(words), reply)
        return reply.out.decode("utf-8", "surrogateescape").removesuffix("\n")


def failure(command: str, reply: Reply) -> GitFailed:
    """The error to raise if ``git COMMAND`` failed with ``reply``."""
    words, said = last_words(reply), reply.err.decode("utf-8", "replace")
    hint = (
        "git fsck tells more; fetch what is lost from a clone" if _DAMAGED.search(words) else None
    )
    hint = next((step for cause, step in _CAUSES if cause.search(said)), hint)
    if "reference broken" in words:
        hint = "loragit recover tells how to mend it"
    kind = GitKilled if reply.status < 0 else GitFailed
    return kind(f"git {command} failed: {words}", hint=hint)


def start_child(
    args: tuple[str, ...], cwd: Path, *, fed: bool, errors: bool, variables: tuple[str, ...] = ()
) -> Child:
    """Start ``git ARGS`` with a pipe as its standard output; as its standard input too if it is
    ``fed``, and as its standard error if its ``errors`` are read.

    Raises :class:`NotARepository`, :class:`GitMissing`.
    """
    if is_bare(cwd):
        variables = (*variables, _NO_REPOSITORY)
    setup = child.ChildSetup(
        cwd=cwd,
        # Its messages are read here, not shown as they are.
        env=_environ("LC_ALL=C", *variables),
        stdin=child.PIPE if fed else child.NOTHING,
        stdout=child.PIPE,
        stderr=child.PIPE if errors else child.NOTHING,
    )
    try:
        return child.spawn(["git", *_OPTIONS, *args], setup)
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
    """Run ``git ARGS``, whatever its exit status."""
    return start(*args, cwd=cwd).reply()


def show(*args: str, cwd: Path, variables: tuple[str, ...] = ()) -> int:
    """Run ``git ARGS`` with our own standard output and error, and the user's pager if that is a
    terminal. Returns git's exit status.
    """
    import signal

    own = (*variables, _NO_REPOSITORY) if is_bare(cwd) else variables
    setup = child.ChildSetup(cwd, _environ(f"GIT_PAGER={pager()}", *own), stdin=child.NOTHING)
    shown = child.spawn(["git", *_OPTIONS, *args], setup)
    # Ctrl-C is for git and its pager.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return shown.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _environ(*variables: str) -> dict[str, str]:
    """Our own environment with ``variables``, each ``NAME=VALUE``."""
    return {**os.environ, **dict(each.split("=", 1) for each in variables)}


@cache
def is_bare(folder: Path) -> bool:
    """Whether git would take ``folder``, or one above it, for a repository without a ``.git``::

        dataset/.git/                          the repository that is meant
        dataset/evil/HEAD, objects/, refs/     a bare one, which came with the clone

    Unlike a ``.git``, such a folder can be committed and cloned. git would run the programs that
    its ``config`` and ``hooks`` name, so it is never asked about one. Each folder is examined once
    in a process, because git is asked about the same few a dozen times.
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
    """git's last error message, in one line."""
    lines = reply.err.decode("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    return errors[-1] if errors else f"exit status {reply.status}"


def pager() -> str:
    """The user's pager, as a command for a shell and as git finds it: ``GIT_PAGER``,
    ``core.pager``, ``PAGER``, else ``less``.

    A repository's own configuration does not count: somebody else may have written it.
    """
    reply = call("var", "GIT_PAGER", cwd=Path("/"))
    return reply.out.decode("utf-8", "surrogateescape").strip()
