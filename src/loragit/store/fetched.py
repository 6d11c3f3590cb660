"""Tags of runs from another machine: fetched, and not merged into ``runs`` yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loragit import git
from loragit.git.repository import Repository
from loragit.record.name import RUNS

_KEEP = "refs/loragit/keep/"


def fetched(repository: Repository, loose: Mapping[str, str]) -> frozenset[str]:
    """Those of ``loose`` (short names of tags, with their commits) to which a remote's branch
    ``runs`` leads.

    git fetches such tags with that branch. The tag of a run that was made here is not among them:
    ``runs`` had it.
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
    """Those of ``names`` whose run was put on record in this repository, as far as its keep refs
    and reflogs tell."""
    kept = git.read_refs(_KEEP, cwd=repository.top)
    return frozenset(
        name for name in names if _KEEP + name in kept or _written_here(repository, name)
    )


def _written_here(repository: Repository, name: str) -> bool:
    """Whether the tag has a reflog of loragit's; a fetch writes none for tags."""
    try:
        return (
            b"\tloragit: " in (repository.common_dir / "logs" / "refs" / "tags" / name).read_bytes()
        )
    except OSError:
        return False
