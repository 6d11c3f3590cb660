"""What ``git status`` says of a work tree."""

from __future__ import annotations

from typing import NamedTuple

from loragit.git import command
from loragit.git.repository import Repository


class StatusReport(NamedTuple):
    """The output of ``git status --porcelain=v2 --branch -z``."""

    commit: str | None
    """``None`` before the first commit."""
    branch: str | None
    upstream: str | None
    changed: tuple[str, ...]
    """Tracked paths that differ from HEAD, staged or not."""
    untracked: tuple[str, ...]
    """A folder's path ends with ``/``."""
    inside: frozenset[str] = frozenset()
    """Those of ``changed`` that are submodules at the recorded commit, with changes in them."""


def parse_status(out: bytes) -> StatusReport:
    """Read the output of ``git status --porcelain=v2 --branch -z``."""
    commit = branch = upstream = None
    changed: list[str] = []
    inside: list[str] = []
    untracked: list[str] = []
    fields = iter(out.decode("utf-8", "surrogateescape").split("\0"))
    for field in fields:
        kind, _, rest = field.partition(" ")
        match kind:
            case "#":
                key, _, value = rest.partition(" ")
                if key == "branch.oid" and value != "(initial)":
                    commit = value
                elif key == "branch.head" and value != "(detached)":
                    branch = value
                elif key == "branch.upstream":
                    upstream = value
            case "1":
                changed.append(rest.split(" ", 7)[7])
                # Nothing is staged, and the submodule's commit is the recorded one.
                inside += changed[-1:] if rest[0] == "." and rest[3:5] == "S." else []
            case "2":
                changed.append(rest.split(" ", 8)[8])
                next(fields)  # where it was renamed from
            case "u":
                changed.append(rest.split(" ", 9)[9])
            case "?":
                untracked.append(rest)
    return StatusReport(
        commit, branch, upstream, tuple(changed), tuple(untracked), frozenset(inside)
    )


def start_dirty(repository: Repository) -> command.Question:
    """Start listing what differs from HEAD below the repository's folder; :func:`read_dirty` reads
    the reply."""
    return command.start(
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=normal",
        "--",
        ".",
        cwd=repository.folder,
    )


def read_dirty(question: command.Question) -> StatusReport:
    """Read the reply to :func:`start_dirty`. Raises :class:`~loragit.git.GitFailed`."""
    reply = question.reply()
    if reply.status != 0:
        raise command.failure("status", reply)
    return parse_status(reply.out)
