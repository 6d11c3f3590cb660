"""What an interrupted write may have left and no note tells of: named, or mended where that only adds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit import catfile, git, journal, moves, process
from loragit.errors import LoragitError
from loragit.git import Repository
from loragit.history import INTERRUPTED, History, RecordedRun
from loragit.names import RUNS, RunName
from loragit.place import FORMAT
from loragit.trailers import first

_FRESH = re.compile(r".+\.(\d{1,9})\.new")
"""A note that was being written: :func:`loragit.durable.write`."""


class Leftover(NamedTuple):
    """A thing that somebody has to look at."""

    problem: str
    hint: str


def loose_tags(repository: Repository, runs: Mapping[str, RecordedRun]) -> Iterator[tuple[str, str]]:
    """Tags of runs, by short name, whose commit ``runs`` does not lead to, with that commit."""
    refs = History(repository).refs
    candidates = [(name, tag.commit) for name, tag in refs.tags() if tag.commit not in runs]
    with catfile.Reader(repository.top) as reader:
        for name, commit in candidates:
            with suppress(LoragitError):
                found = reader.read(commit)
                if found is None or found.kind != "commit" or found.data is None:
                    continue
                message = found.data.decode("utf-8", "replace").partition("\n\n")[2]
                if FORMAT in message and first(message, "Run") == name and not first(message, "Reverts"):
                    yield name, commit


def continues(repository: Repository, commit: str) -> bool:
    """Whether ``runs`` can simply grow to ``commit``: it is its first, or descends from the tip in one line of ours."""
    tip = git.refs(RUNS, cwd=repository.top).get(RUNS)
    if tip is None:
        args: tuple[str, ...] = (commit,)
    elif git.call("merge-base", "--is-ancestor", tip.object, commit, cwd=repository.top).status != 0:
        return False
    else:
        args = (commit, f"^{tip.object}")
    rows = catfile.rows("log", "-z", "--format=%P%n%B", *args, "--", cwd=repository.top)
    try:
        return all(FORMAT.encode() in row and b" " not in row.partition(b"\n")[0] for row in rows if row)
    except git.GitFailed:
        return False


def unnoted(repository: Repository, runs: Mapping[str, RecordedRun]) -> Iterator[RecordedRun]:
    """Runs that are open on record and of which no note here tells who runs them."""
    noted = tuple(journal.read(repository.private))
    commits = {note.commit for note in noted}
    names = {note.run for note in noted if not note.commit}
    for run in runs.values():
        if run.state == INTERRUPTED and run.commit not in commits and run.name not in names:
            yield run


def damaged(repository: Repository) -> Iterator[Leftover]:
    """Notes that cannot be read."""
    for path in journal.damaged(repository.private):
        yield Leftover(f"the note {path} cannot be read: whose run it was is not known", f"look at it, then: rm {path}")


def waiting(repository: Repository) -> Iterator[Leftover]:
    """Moves of refs that only another machine can finish."""
    for noted in moves.read(repository):
        if noted.host != journal.host():
            yield Leftover(
                f"a move of refs ({noted.reason}) was begun on {noted.host}, and its note is still there",
                f"run loragit recover there; or, if that machine is gone for good: rm {noted.path}",
            )


def folders(repository: Repository, outputs: Path, dataset: str, runs: Mapping[str, RecordedRun]) -> Iterator[Leftover]:
    """Output folders of this dataset that no run on record has made."""
    known = {run.name for run in runs.values()} | {note.run for note in journal.read(repository.private)}
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


def sweep(repository: Repository) -> None:
    """Remove half-written notes of processes that are gone."""
    for folder in ("open", "moves"):
        for path in (repository.private / folder).glob("*.new"):
            match = _FRESH.fullmatch(path.name)
            if match and not process.exists(int(match[1])):
                path.unlink(missing_ok=True)
