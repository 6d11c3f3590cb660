"""The runs on record in a repository, read through git.

Start with ``History.of(folder)``; its ``runs`` are :class:`RecordedRun` objects, newest first.
docs/python.md shows how it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loragit import git
from loragit.errors import LoragitError
from loragit.git.repository import Repository
from loragit.history import branch
from loragit.history.branch import is_alive, may_be_alive
from loragit.history.record_reader import RecordReader, absolute_folder
from loragit.history.runs import (
    INTERRUPTED,
    REVERTED,
    RUNNING,
    SEALED,
    STATES,
    UNTAGGED,
    NoSuchFile,
    NoSuchRun,
    RecordedRun,
    SeveralRuns,
)
from loragit.text import listed

if TYPE_CHECKING:
    from loragit.history.compare.changes import Comparison

__all__ = [
    "INTERRUPTED",
    "REVERTED",
    "RUNNING",
    "SEALED",
    "STATES",
    "UNTAGGED",
    "History",
    "NoSuchFile",
    "NoSuchRun",
    "RecordedRun",
    "SeveralRuns",
    "is_alive",
    "is_interrupted",
    "may_be_alive",
    "standing_names",
]

_NAMED = 5
"""Runs named in an error message at most."""


class History:
    """The runs of one repository, as they stood when they were first read."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._reader = RecordReader(repository)
        self._refs: branch.Refs | None = None
        self._runs: tuple[RecordedRun, ...] | None = None

    @classmethod
    def of(cls, folder: Path | str) -> History:
        """Return the history of the repository around ``folder``. Raises
        :class:`~loragit.git.NotARepository`."""
        return cls(git.discover(absolute_folder(folder)))

    @classmethod
    def all(cls, datasets: Path | str) -> tuple[History, ...]:
        """Return a history for each repository in the folder ``datasets``: the one that it lies
        in, then those of its subfolders, by folder name.

        Each repository is listed once; one that git does not trust is left out. Raises
        :class:`~loragit.git.NotARepository` if there is no such folder.
        """
        return tuple(
            cls(repository) for repository in branch.repositories_under(absolute_folder(datasets))
        )

    @property
    def runs(self) -> tuple[RecordedRun, ...]:
        """Every run on record, newest first."""
        if self._runs is None:
            question = None if self._refs else branch.start_refs(self.repository)
            cache = self._reader.cache  # read while git lists the refs
            if question is not None:
                self._refs = branch.finish_refs(self.repository, question)
            self._runs = tuple(branch.read_runs(self._reader, self.refs))
            cache.save()
        return self._runs

    def reread(self) -> LoragitError | None:
        """Read :attr:`runs` from git again without the cache, to verify the record.

        If git cannot read all of it, ``runs`` holds what can still be reached, and git's error is
        returned.
        """
        found, problem = branch.read_runs_uncached(self._reader, self.refs)
        self._runs = tuple(found)
        return problem

    def newest(self, limit: int) -> tuple[RecordedRun, ...]:
        """Return the newest ``limit`` runs."""
        return self.runs[:limit]

    @property
    def refs(self) -> branch.Refs:
        """The branch and the tags from which the runs are read."""
        if self._refs is None:
            self._refs = branch.current_refs(self.repository)
        return self._refs

    @property
    def shallow(self) -> bool:
        """Whether this is a shallow clone, which may lack older runs and cannot tell which."""
        return (self.repository.common_dir / "shallow").exists()

    def find(self, text: str) -> tuple[RecordedRun, ...]:
        """Return the runs that ``text`` names, newest first. It is a run's name, or the beginning
        of exactly one name or commit id.

        Several runs may have had the same name: a revert frees it. Raises :class:`NoSuchRun` if no
        run, or more than one name, fits.
        """
        if named := tuple(run for run in self.runs if run.name == text):
            return named
        if branch.may_be_commit_id(text) and (
            found := tuple(run for run in self.runs if run.commit.startswith(text.lower()))
        ):
            if len(found) > 1:
                raise _several_runs(text, [run.commit[:12] for run in found])
            return found
        begun = (
            dict.fromkeys(run.name for run in self.runs if run.name.startswith(text))
            if text
            else {}
        )
        if len(begun) == 1:
            return tuple(run for run in self.runs if run.name in begun)
        if begun:
            raise _several_runs(text, list(begun))
        raise self._no_such_run(text)

    def run(self, text: str) -> RecordedRun:
        """Return the newest run that ``text`` names (see :meth:`find`). Raises
        :class:`NoSuchRun`."""
        return self.find(text)[0]

    def _no_such_run(self, text: str) -> NoSuchRun:
        import difflib

        known = dict.fromkeys(run.name for run in self.runs)
        close = difflib.get_close_matches(text, known, n=3)
        where = " (a shallow clone: git fetch --unshallow brings the rest)" if self.shallow else ""
        return NoSuchRun(
            f"there is no run {text} on record in {self.repository.top}{where}",
            hint=f"did you mean {' or '.join(close)}?" if close else "see all with: loragit log",
        )

    def previous(self, run: RecordedRun) -> RecordedRun | None:
        """Return the newest sealed run of the same dataset that is older than ``run``, which is the
        run to compare it with."""
        return self.bases().get(run.commit)

    def bases(self) -> dict[str, RecordedRun]:
        """:meth:`previous` of every run that has one, by its commit."""
        return branch.bases(self.runs)

    def compare(self, before: RecordedRun, after: RecordedRun) -> Comparison:
        """Return what differs between ``before`` and ``after``, which may be of two histories.

        Raises :class:`~loragit.history.CannotReadRecord` and
        :class:`~loragit.git.GitFailed`.
        """
        from loragit.history.compare.runs import compare_runs

        return compare_runs(before, after)

    def close(self) -> None:
        """End the git child that reads objects; a later read starts another."""
        self._reader.close()


def _several_runs(text: str, found: list[str]) -> SeveralRuns:
    return SeveralRuns(
        f"{text} means several runs: {listed(found, _NAMED)}", hint="write more of it"
    )


def is_interrupted(repository: Repository, name: str) -> bool:
    """Whether a run called ``name`` was opened here and no process that might work on it is
    left."""
    from loragit.store import journal

    entries = [entry for entry in journal.read(repository.private) if entry.run == name]
    return bool(entries) and not any(map(may_be_alive, entries))


def standing_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the standing runs of the repository around ``folder``, for a shell's
    completion. Never raises."""
    try:
        return tuple(sorted(branch.current_refs(git.discover(folder)).objects))
    except LoragitError:
        return ()
