"""Tags of runs from another machine that were fetched but are not merged into ``runs`` yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loragit import git
from loragit.git.reflog import read_reflog
from loragit.git.repository import Repository
from loragit.record.name import RUNS

_KEEP = "refs/loragit/keep/"


def fetched(repository: Repository, loose: Mapping[str, str]) -> frozenset[str]:
    """Return the tags in ``loose`` (short tag names with their commits) that a remote's ``runs``
    branch leads to.

    git fetches such tags along with that branch. The tag of a run made here is not included:
    ``runs`` contained it.
    """
    if not loose:
        return frozenset()
    ours = git.read_refs(RUNS, cwd=repository.top)
    args = ("rev-list", "--remotes=*/runs", *(f"^{ref}" for ref in ours), "--")
    reply = git.call(*args, cwd=repository.top)
    there = frozenset(reply.out.decode("ascii", "replace").split())
    names = [name for name, commit in loose.items() if commit in there]
    return frozenset(names) - made_here(repository, names)


def made_here(repository: Repository, names: Iterable[str]) -> frozenset[str]:
    """Return the ``names`` whose run was recorded in this repository, as far as its keep refs and
    reflogs show."""
    kept = git.read_refs(_KEEP, cwd=repository.top)
    return frozenset(
        name for name in names if _KEEP + name in kept or _written_here(repository, name)
    )


def _written_here(repository: Repository, name: str) -> bool:
    """Whether the tag has a reflog written by loragit; a fetch writes none for tags."""
    moves = read_reflog(repository.common_dir, f"refs/tags/{name}")
    return any(move.why.startswith("loragit: ") for move in moves)
