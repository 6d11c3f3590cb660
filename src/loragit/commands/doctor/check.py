"""The result of one check of ``doctor``, and how results are collected."""

from __future__ import annotations

from typing import NamedTuple

OK = "ok"
WARNING = "warning"
"""A run can start, but something deserves a look."""
FAILED = "failed"
"""A run cannot start, or would not end well."""
STATUSES = (OK, WARNING, FAILED)
"""From good to bad."""

INSTALLATION = "installation"
TRAINER = "trainer"
DATASET = "dataset"
RECORD = "record"
AREAS = (INSTALLATION, TRAINER, DATASET, RECORD)
"""In the order in which they are shown."""


class Check(NamedTuple):
    """One thing that was checked."""

    area: str
    """One of :data:`AREAS`."""
    check: str
    """What was checked, in a word or two; the same whatever the result."""
    status: str
    """One of :data:`STATUSES`."""
    message: str
    """The fact, in one line."""
    fix: str | None = None
    """The next step of a warning or a failure."""


class Checks:
    """Collects the checks of one area, in order."""

    def __init__(self, area: str) -> None:
        self._area = area
        self._all: list[Check] = []

    def ok(self, check: str, message: str) -> None:
        self._all.append(Check(self._area, check, OK, message))

    def warn(self, check: str, message: str, fix: str | None) -> None:
        self._all.append(Check(self._area, check, WARNING, message, fix))

    def fail(self, check: str, message: str, fix: str | None) -> None:
        self._all.append(Check(self._area, check, FAILED, message, fix))

    def all(self) -> tuple[Check, ...]:
        return tuple(self._all)


def each_once(found: tuple[Check, ...]) -> tuple[Check, ...]:
    """In the order of :data:`AREAS`, each message once, with the worst status that it was given."""
    first: dict[str, Check] = {}
    for one in found:
        known = first.get(one.message)
        if known is None or STATUSES.index(one.status) > STATUSES.index(known.status):
            first[one.message] = (
                one if known is None else one._replace(area=known.area, check=known.check)
            )
    return tuple(sorted(first.values(), key=lambda one: AREAS.index(one.area)))
