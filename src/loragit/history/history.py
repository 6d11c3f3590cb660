"""Runs as they stand on record, read through git alone, whatever their number.

``History.of(folder)`` is the door: a list of :class:`RecordedRun`, newest first. docs/python.md
shows how it is used.
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
"""Runs that a refusal names."""


class History:
    """The runs of one repository, as they stood when they were first asked for."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._reader = RecordReader(repository)
        self._refs: branch.Refs | None = None
        self._runs: tuple[RecordedRun, ...] | None = None

    @classmethod
    def of(cls, folder: Path | str) -> History:
        """The history of the repository that ``folder`` lies in. Raises
        :class:`~loragit.git.NotARepository`."""
        return cls(git.discover(absolute_folder(folder)))

    @classmethod
    def all(cls, datasets: Path | str) -> tuple[History, ...]:
        """A history for each repository of the folder ``datasets``: its own, and those of the
        folders in it.

        They are in order of their folders' names; a repository counts once, and one that git does
        not trust is left out. Raises :class:`~loragit.git.NotARepository` where there is no such
        folder.
        """
        return tuple(
            cls(repository) for repository in branch.repositories_under(absolute_folder(datasets))
        )

    @property
    def runs(self) -> tuple[RecordedRun, ...]:
        """Every run on record, newest first."""
        if self._runs is None:
            asked = None if self._refs else branch.start_refs(self.repository)
            cache = self._reader.cache  # read while git looks
            if asked is not None:
                self._refs = branch.finish_refs(self.repository, asked)
            self._runs = tuple(branch.read_runs(self._reader, self.refs))
            cache.save()
        return self._runs

    def reread(self) -> LoragitError | None:
        """Read :attr:`runs` from git alone, and nothing of what is remembered of them: for a check
        of the record.

        Where git cannot read all of it, ``runs`` holds what can still be reached, and what git said
        is returned.
        """
        found, problem = branch.read_runs_uncached(self._reader, self.refs)
        self._runs = tuple(found)
        return problem

    def newest(self, limit: int) -> tuple[RecordedRun, ...]:
        """The newest ``limit`` runs."""
        return self.runs[:limit]

    @property
    def refs(self) -> branch.Refs:
        """The branch and the tags that the runs are read from."""
        if self._refs is None:
            self._refs = branch.current_refs(self.repository)
        return self._refs

    @property
    def shallow(self) -> bool:
        """Whether this is a shallow clone: it may lack older runs, and does not know which."""
        return (self.repository.common_dir / "shallow").exists()

    def find(self, text: str) -> tuple[RecordedRun, ...]:
        """The runs that ``text`` means, newest first: a run's name, the beginning of one name or of
        a commit's id.

        Several runs may have had one name. Raises :class:`NoSuchRun`, where no run or more than one
        name is meant.
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
        """The newest run that ``text`` means (see :meth:`find`). Raises :class:`NoSuchRun`."""
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
        """The newest sealed run of the same dataset that is older than ``run``: what people compare
        it with."""
        return self.bases().get(run.commit)

    def bases(self) -> dict[str, RecordedRun]:
        """:meth:`previous` of every run that has one, by its commit."""
        return branch.bases(self.runs)

    def compare(self, before: RecordedRun, after: RecordedRun) -> Comparison:
        """What ``after`` does otherwise than ``before``, which may be of another history.

        Raises :class:`~loragit.history.CannotReadRecord` and
        :class:`~loragit.git.GitFailed`.
        """
        from loragit.history.compare.runs import compare_runs

        return compare_runs(before, after)

    def close(self) -> None:
        """End the git that reads contents; a later question starts another."""
        self._reader.close()


def _several_runs(text: str, found: list[str]) -> SeveralRuns:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return SeveralRuns(
        f"{text} means several runs: {', '.join(found[:_NAMED])}{more}", hint="write more of it"
    )


def is_interrupted(repository: Repository, name: str) -> bool:
    """Whether a run of that name was opened here, and no process that may be at work on it is
    left."""
    from loragit.store import journal

    notes = [note for note in journal.read(repository.private) if note.run == name]
    return bool(notes) and not any(may_be_alive(note) for note in notes)


def standing_names(folder: Path) -> tuple[str, ...]:
    """Names of the standing runs of the repository around ``folder``, for a shell's completion;
    never raises."""
    try:
        return tuple(sorted(branch.current_refs(git.discover(folder)).objects))
    except LoragitError:
        return ()
