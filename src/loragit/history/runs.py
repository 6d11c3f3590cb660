"""The values of a history: a run as it stands on record, with what is read of it when it is asked
for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import cache
from time import gmtime, strftime
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.record.trailers import first

if TYPE_CHECKING:
    from loragit.git.repository import TreeItem
    from loragit.history.record_parser import (
        Record,
        RecordedEnvironment,
        RecordedOutcome,
        Revert,
        Values,
    )
    from loragit.history.record_reader import RecordReader
    from loragit.record.values import DatasetFile

RUNNING = "running"
INTERRUPTED = "interrupted"
SEALED = "sealed"
REVERTED = "reverted"
UNTAGGED = "untagged"
STATES = (RUNNING, INTERRUPTED, SEALED, REVERTED, UNTAGGED)
"""``interrupted``: open on record, but its loragit is gone. ``untagged``: only its tag was deleted
(``on_empty = "delete-tag"``)."""


class NoSuchRun(LoragitError):
    """The record holds no run that is meant by a text, or several."""


class SeveralRuns(NoSuchRun):
    """A text means more than one run."""


class NoSuchFile(LoragitError):
    """The record of a run holds no file of that path."""


class RecordedRun(NamedTuple):
    """One run on record.

    The fields are what the list of runs tells; the properties that need more read it from the
    repository when they are first asked for, and raise :class:`~loragit.errors.LoragitError` where
    it cannot be read. Two reads of one run give the same answers; only ``state`` and ``notes`` may
    change between two histories.
    """

    name: str
    commit: str
    """The run's commit on ``runs``, 40 hex digits."""
    dataset: str
    """Name of the dataset."""
    path: str
    """The dataset's folder in its repository, as the trailer ``Dataset-Path`` has it; empty at the
    top."""
    time: int
    """When it was opened: seconds since 1970, UTC."""
    offset: int
    """Minutes east of UTC in the time zone in which that was."""
    state: str
    """One of :data:`STATES`."""
    trainer_commit: str
    """Commit of the trainer's repository; empty where none is known."""
    message: str
    """Of its commit."""
    tag: str | None
    """Id of the tag object that seals it; ``None`` for any other state than ``sealed``."""
    reverted_by: tuple[str, str] | None
    """Commit that takes it back, and that one's message, where it was reverted."""
    reader: RecordReader
    """Where the rest is read from."""

    @property
    def opened(self) -> datetime:
        """When it was opened, in the time zone in which it was."""
        return datetime.fromtimestamp(self.time, timezone(timedelta(minutes=self.offset)))

    @property
    def minute(self) -> str:
        """The same to the minute: ``2026-11-23 17:20``."""
        day, second = divmod(self.time + self.offset * 60, 86400)
        return f"{_date_of_day(day)} {second // 3600:02}:{second // 60 % 60:02}"

    @property
    def subject(self) -> str:
        """What the run is: ``noob on gren, version 2, 512 steps``."""
        return self.message.partition("\n")[0].removeprefix(f"{self.name}: ")

    @property
    def trailers(self) -> Values:
        """The trailers of its commit: a value or several by key."""
        from loragit.history.record_parser import parse_trailers

        return parse_trailers(self.message)

    def trailer(self, key: str) -> str | None:
        """The first value of the trailer ``key`` of its commit."""
        return first(self.message, key) or None

    @property
    def format(self) -> int:
        """``Loragit-Format`` of its commit; 0 where there is none."""
        from loragit.history.record_parser import whole_number

        return whole_number(self.trailer("Loragit-Format")) or 0

    @property
    def imported(self) -> bool:
        """Whether it was trained before loragit, and recorded afterwards."""
        # Of ten thousand runs most are not, and reading their trailers would take longer than all
        # the rest.
        return "\nImported: " in self.message and "Imported" in self.trailers

    @property
    def resumed_from(self) -> tuple[str, ...]:
        """What the trailers ``Resumed-From`` say: the run whose training state it went on from."""
        return self.trailers.get("Resumed-From", ())

    @property
    def derived_from(self) -> tuple[str, ...]:
        """What the trailers ``Derived-From`` say: the runs whose weights it started from."""
        return self.trailers.get("Derived-From", ())

    @property
    def outcome(self) -> RecordedOutcome | None:
        """What came out; ``None`` unless it is sealed."""
        return None if self.tag is None else self.reader.outcome(self.tag, self.name)

    @property
    def revert(self) -> Revert | None:
        """What took it back; ``None`` unless it was reverted."""
        from loragit.history.record_parser import parse_revert

        return None if self.reverted_by is None else parse_revert(*self.reverted_by)

    @property
    def notes(self) -> tuple[str, ...]:
        """The lines of its note (``git notes``), observations that were made later."""
        return self.reader.notes(self.commit)

    @property
    def record(self) -> Record:
        """``run.toml``. Raises :class:`~loragit.history.CannotReadRecord`, also for a newer
        format."""
        return self.reader.record(self)

    @property
    def files(self) -> tuple[str, ...]:
        """Path of each file of its record, relative to the dataset's folder."""
        return tuple(path for path, item in self.tree.items() if not item.folder)

    @property
    def tree(self) -> Mapping[str, TreeItem]:
        """Files and folders of its record by path, each with the id of its blob or tree."""
        return MappingProxyType(self.reader.tree(self))

    def read(self, path: str) -> bytes:
        """The file at ``path`` of its record, byte for byte. Raises :class:`NoSuchFile`."""
        return self.reader.read(self, path)

    @property
    def environment(self) -> RecordedEnvironment:
        """``environment.txt``: the trainer's Python, its packages, the machine."""
        from loragit.history.record_parser import parse_environment

        return parse_environment(self.read("environment.txt"))

    @property
    def packages(self) -> Mapping[str, str]:
        """Version of each package of the trainer's Python, by name."""
        return self.environment.packages

    @property
    def dataset_files(self) -> tuple[DatasetFile, ...]:
        """``dataset.sha256``: every file of the dataset with its hash, in order of paths."""
        return self.reader.dataset_files(self)

    @property
    def captions(self) -> Mapping[str, str]:
        """Id of the blob of each caption, by its path below ``captions/``; :meth:`read` gives the
        words."""
        start = "captions/"
        files = {
            path: item.id
            for path, item in self.tree.items()
            if not item.folder and path.startswith(start)
        }
        return MappingProxyType({path.removeprefix(start): blob for path, blob in files.items()})

    def __repr__(self) -> str:
        return f"<{self.state} run {self.name}, commit {self.commit[:8]}>"


@cache
def _date_of_day(day: int) -> str:
    """The date of a day since 1970. A log asks for each of a few days very often."""
    return strftime("%Y-%m-%d", gmtime(day * 86400))
