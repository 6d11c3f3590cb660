"""A verdict: one thing that is wrong, or worth knowing, and since when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from loragit import text
from loragit.history.history import RecordedRun

WRONG = "wrong"
"""What is there is not what was recorded, or cannot be read."""
NOTE = "note"
"""Something was not checked, or changed as it may."""

OBJECTS, BRANCH, TAG, RECORD, MODEL, SAMPLE, STATE, DATASET, SIGNATURE, NOTES = (
    "objects",
    "runs",
    "tag",
    "record",
    "model",
    "sample",
    "state",
    "dataset",
    "signature",
    "notes",
)
OUTPUT = "output"
"""The whole output folder of a run."""


class Since(NamedTuple):
    """Two moments between which something happened, as far as is known."""

    earliest: str | None
    """UTC, as in ``2026-11-23T17:20:30Z``: when it was still as recorded."""
    latest: str | None
    """UTC: when it had happened."""

    def __str__(self) -> str:
        if self.earliest and self.latest:
            return f"between {self.earliest} and {self.latest}"
        return (
            f"after {self.earliest}"
            if self.earliest
            else f"by {self.latest}"
            if self.latest
            else ""
        )


class Verdict(NamedTuple):
    """One thing that verify says."""

    status: str
    """:data:`WRONG` or :data:`NOTE`."""
    check: str
    """What was checked: one of the words above."""
    message: str
    """The fact, in one line."""
    fix: str | None = None
    """The next step."""
    run: str | None = None
    """Name of the run that it concerns."""
    commit: str | None = None
    """That run's commit."""
    path: str | None = None
    """The file that it concerns, in the record or on the disk."""
    since: Since | None = None

    def about(self, run: RecordedRun) -> Verdict:
        return self._replace(run=run.name, commit=run.commit)


def wrong(check: str, message: str, fix: str | None = None) -> Verdict:
    return Verdict(WRONG, check, message, fix)


def note(check: str, message: str, fix: str | None = None) -> Verdict:
    return Verdict(NOTE, check, message, fix)


def utc_timestamp(seconds: float) -> str:
    """Return ``seconds`` since 1970 as the record writes a moment; one before 1970 or after 9999
    becomes the nearest possible."""
    return text.timestamp(datetime.fromtimestamp(min(max(seconds, 0), 253402300799), UTC))
