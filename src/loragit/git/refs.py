"""Refs: read together, and moved by compare-and-swap in one transaction of git's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.git.command import DURABLE, start
from loragit.git.repository import Repository
from loragit.system import durable

_ZERO = "0" * 40


class NotDurable(LoragitError):
    """Something was written, but it cannot be told whether it outlasts a power cut."""


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


def read_refs(*patterns: str, cwd: Path) -> dict[str, Ref]:
    """Refs that match ``patterns``, by full name."""
    return RefsQuestion(*patterns, cwd=cwd).answer()


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


def sync_refs(names: Iterable[str], repository: Repository) -> None:
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
