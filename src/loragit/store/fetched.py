"""Tags of runs that ``runs`` does not lead to because they are of another machine: fetched, and not
merged yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loragit import git
from loragit.git.repository import Repository
from loragit.record.name import RUNS

_KEEP = "refs/loragit/keep/"


def fetched(repository: Repository, loose: Mapping[str, str]) -> frozenset[str]:
    """Those of ``loose`` (short names of tags with their commits) that a branch ``runs`` of a
    remote leads to.

    git brings such a tag with every fetch of that branch. One of a run that was made here is none
    of them: ``runs`` had it.
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
    """Those of ``names`` whose run was put on record in this repository, as far as it still
    tells."""
    kept = git.read_refs(_KEEP, cwd=repository.top)
    return frozenset(
        name for name in names if _KEEP + name in kept or _written_here(repository, name)
    )


def _written_here(repository: Repository, name: str) -> bool:
    """Whether the tag's own reflog is loragit's. A fetch writes none for tags."""
    try:
        return (
            b"\tloragit: " in (repository.common_dir / "logs" / "refs" / "tags" / name).read_bytes()
        )
    except OSError:
        return False
