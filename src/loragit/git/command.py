"""The user's git as a child: where a repository is, what is dirty, which refs move.

git judges these because the libraries were measured to be wrong or to lose data there
(docs/design.md, "Who does what"). Every child is started from an argument list, with git's own
optional locks off, so that looking at a repository never writes to it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError, shell_word
from loragit.system import durable

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
_ZERO = "0" * 40
_MOST_TREE = 1 << 25
"""Bytes of a list of files: a few trees that hold each other can stand for more than there is room
for."""
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


class NotDurable(LoragitError):
    """Something was written, but it cannot be told whether it outlasts a power cut."""


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


class Repository(NamedTuple):
    """A repository with a work tree, and the folder in it that was asked about."""

    top: Path
    """Top of the work tree."""
    git_dir: Path
    """Of this work tree; in a linked worktree or a submodule not ``top/.git``."""
    common_dir: Path
    """What all work trees share: objects, refs, loragit's own files."""
    prefix: str
    """The folder asked about, relative to ``top`` with ``/`` between parts; empty at the top."""
    folder: Path
    """The folder asked about, absolute."""

    @property
    def private(self) -> Path:
        """loragit's own files in this repository: lock, journal, logs. No part of the history."""
        return self.common_dir / "loragit"


def discover(folder: Path) -> Repository:
    """The repository that ``folder`` lies in. Raises :class:`NotARepository`."""
    wanted = ("--show-toplevel", "--absolute-git-dir", "--git-common-dir", "--show-prefix")
    reply = call("rev-parse", *wanted, cwd=folder)
    if reply.status != 0:
        raise not_found(folder, reply)
    answers = reply.out.decode("utf-8", "surrogateescape").split("\n")
    if len(answers) != len(wanted) + 1:  # a folder's name may hold any character, newlines too
        answers = [*(run("rev-parse", each, cwd=folder) for each in wanted), ""]
    top, git_dir, common, prefix, _ = answers
    return Repository(
        top=Path(top),
        git_dir=Path(git_dir),
        # Relative to where git really is: ``folder`` may be a symbolic link.
        common_dir=Path(os.path.normpath(folder.resolve() / common)),
        prefix=prefix.rstrip("/"),
        folder=folder,
    )


def not_found(folder: Path, reply: Reply) -> NotARepository:
    """Why ``folder`` is in no repository that git would work in."""
    words, word = last_words(reply), shell_word(folder)
    if "dubious ownership" in reply.err.decode("utf-8", "replace"):
        return NotARepository(
            f"git does not trust {folder}: another user owns it",
            hint=f"if you do: git config --global --add safe.directory {word}",
        )
    if is_bare(folder) or "work tree" in words or "bare repository" in words:
        return NotARepository(
            f"{folder} is a repository without a work tree", hint="name a clone with one"
        )
    if "unknown repository extension" in words or "Expected git repo version" in words:
        told = " ".join(reply.err.decode("utf-8", "replace").split())
        return NotARepository(
            f"git cannot read the repository of {folder}: {told}", hint="use the git that made it"
        )
    return NotARepository(
        f"{folder} is in no git repository ({words})", hint=f"make it one: git init {word}"
    )


class Ref(NamedTuple):
    """A ref as it was read."""

    name: str
    object: str
    """What it holds: of an annotated tag the tag object, 40 hex digits."""
    commit: str
    """``object``, peeled."""
    worktree: str
    """Work tree that has it checked out; empty for none."""


class RefsQuestion:
    """Refs that match ``patterns`` (as ``git for-each-ref`` takes them), under way from the
    start."""

    def __init__(self, *patterns: str, cwd: Path) -> None:
        line = "%(refname)%00%(objectname)%00%(*objectname)%00%(worktreepath)"
        self._question = start("for-each-ref", f"--format={line}", *patterns, cwd=cwd)

    def answer(self) -> dict[str, Ref]:
        """By full name."""
        found: dict[str, Ref] = {}
        for row in self._question.text().split("\n"):
            if row:
                name, target, peeled, worktree = row.split("\0")
                found[name] = Ref(name, target, peeled or target, worktree)
        return found


def refs(*patterns: str, cwd: Path) -> dict[str, Ref]:
    """Refs that match ``patterns``, by full name."""
    return RefsQuestion(*patterns, cwd=cwd).answer()


def start_tree(revision: str, repository: Repository) -> Question:
    """Ask what ``revision`` holds at the place of the repository's folder; :func:`read_tree` reads
    the reply."""
    return start("ls-tree", "-r", "-t", "-z", f"{revision}:{repository.prefix}", cwd=repository.top)


def start_file(revision: str, path: str, repository: Repository) -> Question:
    """Ask for the bytes that ``revision`` has at ``path``, relative to the repository's folder."""
    return start(
        "cat-file",
        "blob",
        f"{revision}:{f'{repository.prefix}/{path}'.lstrip('/')}",
        cwd=repository.top,
    )


class TreeItem(NamedTuple):
    """A file or folder of a tree, at any depth."""

    folder: bool
    id: str


def read_tree(question: Question) -> dict[str, TreeItem]:
    """Items by path; empty where there is no such revision or folder, or more of them than a
    dataset has files."""
    out = question.beginning(_MOST_TREE)
    rows = out.decode("utf-8", "surrogateescape").split("\0") if len(out) < _MOST_TREE else ()
    split = (
        (about.split(" "), path) for about, _, path in (row.partition("\t") for row in rows) if path
    )
    return {path: TreeItem(about[1] == "tree", about[2]) for about, path in split}


class RefUpdate(NamedTuple):
    """One step of a transaction, by compare-and-swap."""

    name: str
    new: str | None
    """``None`` deletes."""
    old: str | None
    """What it must hold now; ``None``: it must not exist."""


def update_refs(
    updates: Iterable[RefUpdate],
    *,
    reason: str,
    cwd: Path,
    begun: Callable[[int], None] | None = None,
    variables: tuple[str, ...] = (),
) -> None:
    """All of ``updates`` or none. Raises :class:`GitFailed` where a ref is not what it must be, or
    is locked.

    ``begun`` is called with git's process id before git is told what to do. What a ref holds is on
    the disk before the ref gets its name (from git 2.36 on); :func:`settle_refs` does the rest.
    """
    lines = [
        f"delete {name}\0{old or _ZERO}\0"
        if new is None
        else f"update {name}\0{new}\0{old or _ZERO}\0"
        for name, new, old in updates
    ]
    args = (*DURABLE, "update-ref", "-m", reason, "--create-reflog", "--stdin", "-z")
    question = start(*args, cwd=cwd, data="".join(lines).encode(), variables=variables)
    if begun is not None:
        try:
            begun(question.pid)
        except BaseException:
            question.cancel()
            raise
    question.text()


def settle_refs(names: Iterable[str], repository: Repository) -> None:
    """Return when the refs ``names`` (full), or that they are gone, and their reflogs are on the
    disk.

    git does not do it for names in folders, and never for reflogs. Raises :class:`NotDurable`.
    """
    top = repository.common_dir
    paths = [top / "packed-refs"]
    for name in names:
        for path in (top / name, top / "logs" / name):
            # From the file to the top; git takes folders away that it leaves empty.
            paths += [path, *(folder for folder in path.parents if folder.is_relative_to(top))]
    try:
        durable.sync_all(paths)
    except OSError as error:
        raise NotDurable(
            f"{error.filename} cannot be written through to the disk: {error.strerror}",
            hint="check the disk",
        ) from error
