"""What an interrupted write may have left and no journal entry knows of: named, or mended where
that only adds something."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.errors import LoragitError
from loragit.git import catfile
from loragit.git.reflog import read_reflog
from loragit.git.repository import Repository
from loragit.history.history import INTERRUPTED, REVERTED, History, RecordedRun
from loragit.record.name import RunName
from loragit.record.trailers import first
from loragit.store import fetched, journal, ref_moves
from loragit.store.free_name import FORMAT
from loragit.system import alive

_FRESH = re.compile(r".+\.(\d{1,9})\.new")
"""A journal entry that was being written: :func:`loragit.system.durable.write`."""


class Leftover(NamedTuple):
    """Something that the user has to look at."""

    problem: str
    hint: str


def loose_tags(
    repository: Repository, runs: Mapping[str, RecordedRun]
) -> Iterator[tuple[str, str]]:
    """Tags of runs, by short name, whose commit ``runs`` does not lead to, with that commit.

    Those of another machine's runs, which were fetched or lie beyond the end of a shallow clone,
    are none.
    """
    history = History(repository)
    candidates = {name: tag.commit for name, tag in history.refs.tags() if tag.commit not in runs}
    if history.shallow:
        strange = frozenset(candidates) - fetched.made_here(repository, candidates)
    else:
        strange = fetched.fetched(repository, candidates)
    with catfile.Reader(repository.top) as reader:
        for name, commit in candidates.items():
            if name in strange:
                continue
            with suppress(LoragitError):
                found = reader.read(commit)
                if found is None or found.kind != "commit" or found.data is None:
                    continue
                message = found.data.decode("utf-8", "replace").partition("\n\n")[2]
                if (
                    FORMAT in message
                    and first(message, "Run") == name
                    and not first(message, "Reverts")
                ):
                    yield name, commit


def leads_to(repository: Repository, tip: str | None, commit: str) -> bool:
    """Whether ``runs``, whose tip is ``tip``, leads to ``commit``."""
    return tip is not None and git.is_ancestor(commit, tip, repository) is True


def continues(repository: Repository, tip: str | None, commit: str) -> bool:
    """Whether ``runs``, whose tip is ``tip``, can simply grow to ``commit``: it is its first, or
    descends from the tip in one line of ours."""
    if tip is None:
        args: tuple[str, ...] = (commit,)
    elif not git.is_ancestor(tip, commit, repository):
        return False
    else:
        args = (commit, f"^{tip}")
    rows = catfile.rows("log", "-z", "--format=%P%n%B", *args, "--", cwd=repository.top)
    try:
        return all(FORMAT.encode() in row and b" " not in row.partition(b"\n")[0] for row in rows)
    except git.GitFailed:
        return False


def runs_without_entry(
    repository: Repository, runs: Mapping[str, RecordedRun]
) -> Iterator[RecordedRun]:
    """Runs that are open on record and have no journal entry here that says who runs them."""
    noted = tuple(journal.read(repository.private))
    commits = {note.commit for note in noted}
    names = {note.run for note in noted if not note.commit}
    for run in runs.values():
        if run.state == INTERRUPTED and run.commit not in commits and run.name not in names:
            yield run


def emptied_ref(repository: Repository, ref: str) -> Leftover | None:
    """What is left where the file of ``ref`` (full name) is empty, as a power cut leaves it under a
    git before 2.36; git takes it for a ref that is there, and moves it no more."""
    path = repository.common_dir / ref
    try:
        if path.read_bytes().strip(b"\0\n"):
            return None
    except OSError:
        return None
    moves = read_reflog(repository.common_dir, ref)
    held = moves[-1].new if moves else ""
    put = f" && git update-ref {ref} {held}" if held.strip("0") else ""
    return Leftover(
        f"{path} is empty, as a power cut may leave it", f"rm {path}{put}; then: loragit recover"
    )


def damaged_entries(repository: Repository) -> Iterator[Leftover]:
    """Journal entries that cannot be read."""
    for path in journal.damaged(repository.private):
        yield Leftover(
            f"the note {path} cannot be read: whose run it was is not known",
            f"look at it, then: rm {path}",
        )


def stale_tags(repository: Repository, runs: Mapping[str, RecordedRun]) -> Iterator[Leftover]:
    """Tags of runs that were reverted: a plain ``git fetch`` brings them again where they were
    pushed too early."""
    held = History(repository).refs.objects
    for run in runs.values():
        if run.state == REVERTED and held.get(run.name) == run.commit:
            yield Leftover(
                f"the tag {run.name} stands, though its run was taken back: it keeps the name "
                "from use",
                f"delete it: git tag -d {run.name}; and where it was pushed to: git push REMOTE "
                f":refs/tags/{run.name}",
            )


def moves_of_other_hosts(repository: Repository) -> Iterator[Leftover]:
    """Moves of refs that only another machine can finish."""
    for noted in ref_moves.noted_moves(repository):
        if noted.host != journal.host():
            yield Leftover(
                f"a move of refs ({noted.reason}) was begun on {noted.host}, and its note is "
                "still there",
                f"run loragit recover there; or, if that machine is gone for good: rm {noted.path}",
            )


def unrecorded_folders(
    repository: Repository, outputs: Path, dataset: str, runs: Mapping[str, RecordedRun]
) -> Iterator[Leftover]:
    """Output folders of this dataset that no run on record has made."""
    known = {run.name for run in runs.values()} | {
        note.run for note in journal.read(repository.private)
    }
    try:
        names = sorted(folder.name for folder in outputs.iterdir())
    except OSError:
        return
    for name in names:
        if name in known or not (outputs / name / "repos.git").is_file():
            continue
        with suppress(LoragitError):
            stem = RunName.parse(name).stem or ""
            if stem == dataset or stem.endswith(f"-{dataset}"):
                yield Leftover(
                    f"no run on record has made the output folder {outputs / name}",
                    f"put it on record: loragit import {outputs / name}; or move it away",
                )


def remove_half_written_entries(repository: Repository) -> None:
    """Remove half-written journal entries of processes that are gone."""
    for folder in ("open", "moves"):
        for path in (repository.private / folder).glob("*.new"):
            match = _FRESH.fullmatch(path.name)
            if match and not alive.exists(int(match[1])):
                path.unlink(missing_ok=True)
