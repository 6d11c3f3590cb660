"""A run as it is on record. What the list of runs does not tell is read when it is first needed."""

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
"""``interrupted``: open on record, but its loragit is gone. ``untagged``: it made nothing, and only
its tag was deleted (``on_empty = "delete-tag"``)."""


class NoSuchRun(LoragitError):
    """No run, or more than one, fits the text that was given."""


class SeveralRuns(NoSuchRun):
    """More than one run fits the text that was given."""


class NoSuchFile(LoragitError):
    """The record of the run holds no file of that path."""


class RecordedRun(NamedTuple):
    """One run on record.

    The fields are what the list of runs tells. Properties that need more read it from the
    repository, and raise :class:`~loragit.errors.LoragitError` if that fails. A run never changes;
    only ``state`` and ``notes`` may differ in a later history.
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
    """Minutes east of UTC of the time zone in which that was."""
    state: str
    """One of :data:`STATES`."""
    trainer_commit: str
    """Commit of the trainer's repository; empty if none is known."""
    message: str
    """Of its commit."""
    tag: str | None
    """Id of the tag object that seals it; ``None`` in any other state than ``sealed``."""
    reverted_by: tuple[str, str] | None
    """Commit that reverts it, and the message of that commit; ``None`` if it was not reverted."""
    reader: RecordReader
    """Reads the rest."""

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
        """First line of the message without the name: ``noob on gren, version 2, 512 steps``."""
        return self.message.partition("\n")[0].removeprefix(f"{self.name}: ")

    @property
    def trailers(self) -> Values:
        """The trailers of its commit: one or more values by key."""
        from loragit.history.record_parser import parse_trailers

        return parse_trailers(self.message)

    def trailer(self, key: str) -> str | None:
        """The first value of the trailer ``key`` of its commit."""
        return first(self.message, key) or None

    @property
    def format(self) -> int:
        """``Loragit-Format`` of its commit; 0 without one."""
        from loragit.history.record_parser import whole_number

        return whole_number(self.trailer("Loragit-Format")) or 0

    @property
    def imported(self) -> bool:
        """Whether it was trained without loragit and recorded afterwards."""
        # Most of ten thousand runs are not, and parsing their trailers would take longer than all
        # the rest.
        return "\nImported: " in self.message and "Imported" in self.trailers

    @property
    def resumed_from(self) -> tuple[str, ...]:
        """The trailers ``Resumed-From``: the run from whose training state it continued."""
        return self.trailers.get("Resumed-From", ())

    @property
    def derived_from(self) -> tuple[str, ...]:
        """The trailers ``Derived-From``: the runs from whose weights it started."""
        return self.trailers.get("Derived-From", ())

    @property
    def outcome(self) -> RecordedOutcome | None:
        """The outcome; ``None`` unless it is sealed."""
        return None if self.tag is None else self.reader.outcome(self.tag, self.name)

    @property
    def revert(self) -> Revert | None:
        """The revert; ``None`` unless it was reverted."""
        from loragit.history.record_parser import parse_revert

        return None if self.reverted_by is None else parse_revert(*self.reverted_by)

    @property
    def notes(self) -> tuple[str, ...]:
        """The lines of its note (``git notes``): observations that were made later."""
        return self.reader.notes(self.commit)

    @property
    def record(self) -> Record:
        """Its parsed ``run.toml``. Raises :class:`~loragit.history.CannotReadRecord`, also for a
        newer format."""
        return self.reader.record(self)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files of its record, relative to the dataset's folder."""
        return tuple(path for path, item in self.tree.items() if not item.folder)

    @property
    def tree(self) -> Mapping[str, TreeItem]:
        """Files and folders of its record by path, with the id of each blob or tree."""
        return MappingProxyType(self.reader.tree(self))

    def read(self, path: str) -> bytes:
        """Return the bytes of the file at ``path`` of its record. Raises :class:`NoSuchFile`."""
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
        """``dataset.sha256``: every file of the dataset with its hash, sorted by path."""
        return self.reader.dataset_files(self)

    @property
    def captions(self) -> Mapping[str, str]:
        """Blob id of each caption by its path in ``captions/``; :meth:`read` returns its text."""
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
    """Return the date of a day since 1970. A log asks for the same few days very often."""
    return strftime("%Y-%m-%d", gmtime(day * 86400))
