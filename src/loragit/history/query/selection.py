"""Selects and sorts runs, as the options of ``loragit log`` say."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.errors import UsageError
from loragit.history.query.where import (
    Condition,
    key_among,
    recorded_values,
    runs_meeting,
    unknown_key,
)
from loragit.history.record_parser import finite_number
from loragit.history.runs import REVERTED, STATES, UNTAGGED, RecordedRun
from loragit.record.name import InvalidName, RunName

FAILED = (REVERTED, UNTAGGED)
"""States of runs that made nothing."""


class BadFilter(UsageError):
    """A state or a date that does not exist."""


class Selection(NamedTuple):
    """What a run must be to be listed; empty and ``None`` let every run pass."""

    names: tuple[str, ...] = ()
    """One must match: a pattern with ``*``, ``?`` or ``[…]`` the whole name, any other text a part
    of it."""
    path: str | None = None
    """The dataset's folder in its repository."""
    models: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    states: tuple[str, ...] = ()
    since: int | None = None
    """Seconds since 1970."""
    until: int | None = None
    conditions: tuple[Condition, ...] = ()
    """All must hold."""
    grep: str = ""
    """Must be in a message or a note; case does not count."""
    sort: str = ""
    """``opened``, empty, or a key as in a condition: ascending, runs without a value last."""
    reverse: bool = False
    limit: int | None = None

    def select(self, runs: Iterable[RecordedRun]) -> list[RecordedRun]:
        """Return those of ``runs`` (newest first) that fit. Raises
        :class:`~loragit.history.query.where.BadCondition`."""
        found = [run for run in runs if self._passes(run)]
        if self.grep:
            found = [run for run in found if self._mentions(run, self.grep.lower())]
        found = runs_meeting(found, self.conditions)
        if self.sort not in ("", "opened"):
            found = sorted_by_value(found, self.sort)
        if self.reverse:
            found.reverse()
        return found if self.limit is None else found[: self.limit]

    def _passes(self, run: RecordedRun) -> bool:
        """Whether the run passes every filter that needs only the list of runs."""
        if self.names and not any(name_matches(run.name, pattern) for pattern in self.names):
            return False
        if self.path is not None and run.path != self.path:
            return False
        if self.states and run.state not in self.states:
            return False
        if (self.since is not None and run.time < self.since) or (
            self.until is not None and run.time > self.until
        ):
            return False
        return not (self.models or self.versions) or self._has_model_and_version(run)

    def _has_model_and_version(self, run: RecordedRun) -> bool:
        try:
            name = RunName.parse(run.name)
        except InvalidName:
            return False
        return (not self.models or name.model in self.models) and (
            not self.versions or name.version in self.versions
        )

    def _mentions(self, run: RecordedRun, wanted: str) -> bool:
        texts = [run.message, *(run.reverted_by or ())[1:], *run.notes]
        if run.outcome is not None:
            texts.append(run.outcome.message)
        return any(wanted in each.lower() for each in texts)


def name_matches(name: str, pattern: str) -> bool:
    """Whether ``pattern`` is a part of ``name`` or, if it has wildcards, matches all of it."""
    return fnmatchcase(name, pattern) if re.search(r"[*?\[]", pattern) else pattern in name


def sorted_by_value(runs: list[RecordedRun], key: str) -> list[RecordedRun]:
    """Return ``runs`` sorted by a recorded value: numbers ascending, then words, then runs without
    it."""
    values = [recorded_values(run) for run in runs]
    keys = {each for one in values for each in one}
    key = key_among(key, keys)
    if runs and key not in keys:
        raise unknown_key(key, keys)
    places = {
        run.commit: _sort_key(each.get(key, ())) for run, each in zip(runs, values, strict=True)
    }
    return sorted(runs, key=lambda run: places[run.commit])


def _sort_key(values: tuple[object, ...]) -> tuple[int, float, str]:
    if not values:
        return (2, 0.0, "")
    number = finite_number(str(values[0]))
    return (1, 0.0, str(values[0])) if number is None else (0, number, "")


def parse_states(words: Iterable[str]) -> tuple[str, ...]:
    """Return the states in ``words``, each one state or several with commas. Raises
    :class:`BadFilter`."""
    found = tuple(state for word in words for state in word.split(",") if state)
    for state in found:
        if state not in STATES:
            raise BadFilter(f"there is no state {state}", hint=f"states are {', '.join(STATES)}")
    return found


def parse_date(words: str, repository: Path, *, end: bool = False) -> int:
    """Return a date as git in ``repository`` understands it (``2 weeks ago``, ``2026-11-23``), in
    seconds since 1970.

    A day alone is its first second, or with ``end`` its last. Raises :class:`BadFilter`.
    """
    if re.fullmatch(r"\d{4}-\d\d-\d\d", words.strip()):
        try:
            day = datetime.fromisoformat(words.strip()).astimezone()
        except ValueError as error:
            raise _no_date(words) from error
        return int((day + timedelta(days=1)).timestamp()) - 1 if end else int(day.timestamp())
    answer = git.run("rev-parse", f"--since={words}", cwd=repository)
    seconds = int(answer.removeprefix("--max-age="))
    # git takes what it does not understand for the current moment.
    if abs(seconds - time.time()) < 5 and words.strip().lower() not in ("now", "today"):
        raise _no_date(words)
    return seconds


def _no_date(words: str) -> BadFilter:
    return BadFilter(
        f"{words!r} is no date", hint="for example 2026-11-23, yesterday or '2 weeks ago'"
    )
