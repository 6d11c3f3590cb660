"""Finds the run that a user means by ``NAME`` or ``DATASET:NAME``, in this dataset or any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loragit.errors import LoragitError
from loragit.git.command import NotARepository
from loragit.history.history import History, NoSuchRun, RecordedRun, SeveralRuns
from loragit.settings import paths


class RunFinder:
    """Looks for runs in the dataset ``here`` first, then in those in the folder ``datasets``.

    Relative paths count from ``cwd``.
    """

    def __init__(self, here: Path, datasets: Path, cwd: Path) -> None:
        self._here = here
        self._datasets = datasets
        self._cwd = cwd
        self._known: dict[Path, History] = {}

    def find(self, text: str) -> tuple[History, RecordedRun]:
        """Return the newest run that ``text`` names, and its history.

        Raises :class:`NoSuchRun`, also if runs of several datasets fit, and
        :class:`~loragit.settings.paths.DatasetNotFound`.
        """
        dataset, colon, name = text.rpartition(":")
        if colon:
            looked = [self._cwd / dataset, *([] if "/" in dataset else [self._datasets / dataset])]
            history = self._shared(History.of(paths.first_folder(looked, f"the dataset of {text}")))
            return history, history.run(name)
        here: History | None = None
        try:
            here = self._shared(History.of(self._here))
            return here, here.run(text)
        except SeveralRuns:
            raise
        except (NoSuchRun, NotARepository) as error:
            return self._find_in_other_datasets(text, here, error)

    def _find_in_other_datasets(
        self, text: str, here: History | None, nowhere: LoragitError
    ) -> tuple[History, RecordedRun]:
        found: list[tuple[History, RecordedRun]] = []
        for history in self._other_histories():
            if history is not here:
                try:
                    found.append((history, history.run(text)))
                except SeveralRuns as error:
                    nowhere = error
                except NoSuchRun:
                    pass
        # A full name means that run, whatever other names begin with it.
        named = [(history, run) for history, run in found if run.name == text] or found
        if len(named) > 1:
            places = ", ".join(
                f"{run.name} in {history.repository.top}" for history, run in named[:5]
            )
            raise SeveralRuns(
                f"{text} means runs of several datasets: {places}",
                hint="say which: DATASET:NAME, or --dataset",
            )
        if not named or (isinstance(nowhere, SeveralRuns) and named[0][1].name != text):
            raise nowhere
        return named[0]

    def _other_histories(self) -> Iterator[History]:
        try:
            found = History.all(self._datasets)
        except LoragitError:  # there is no such folder
            return
        yield from map(self._shared, found)

    def _shared(self, history: History) -> History:
        """Return the one history of its repository, so that each is read only once."""
        return self._known.setdefault(history.repository.common_dir, history)
