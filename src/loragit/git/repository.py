"""Where a repository is, what a revision of it holds, and which commit comes before another."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from loragit.errors import shell_word
from loragit.git.command import (
    ALONE,
    NotARepository,
    Question,
    Reply,
    call,
    is_bare,
    last_words,
    run,
    start,
)

_PROMISOR = re.compile(rb"promisor|partialclone", re.IGNORECASE)
_MOST_TREE = 1 << 25
"""Bytes of a list of files that are read: a few trees that hold one another can stand for more
files than fit into memory."""


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
        words = " ".join(reply.err.decode("utf-8", "replace").split())
        return NotARepository(
            f"git cannot read the repository of {folder}: {words}", hint="use the git that made it"
        )
    return NotARepository(
        f"{folder} is in no git repository ({words})", hint=f"make it one: git init {word}"
    )


def is_partial(common_dir: Path) -> bool:
    """Whether a repository may lack objects by design, because a remote has promised them.

    git writes this into the configuration of the repository itself when it clones with a filter.
    """
    try:
        return _PROMISOR.search((common_dir / "config").read_bytes()) is not None
    except OSError:
        return False


def is_ancestor(older: str, newer: str, repository: Repository) -> bool | None:
    """Whether ``newer`` is, or descends from, the commit ``older``; ``None`` if git lacks one of
    them."""
    args = ("merge-base", "--is-ancestor", older, newer)
    return {0: True, 1: False}.get(call(*args, cwd=repository.top).status)


def start_tree(revision: str, repository: Repository) -> Question:
    """Ask what ``revision`` holds at the place of the repository's folder; :func:`read_tree` reads
    the reply."""
    return start("ls-tree", "-r", "-t", "-z", f"{revision}:{repository.prefix}", cwd=repository.top)


def start_file(revision: str, path: str, repository: Repository) -> Question:
    """Ask for the bytes that ``revision`` has at ``path``, relative to the repository's folder;
    a partial clone fetches nothing for this."""
    return start(
        "cat-file",
        "blob",
        f"{revision}:{f'{repository.prefix}/{path}'.lstrip('/')}",
        cwd=repository.top,
        variables=ALONE,
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
