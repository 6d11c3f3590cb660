"""How long a move of refs is tried again while others are at work, and what the user sees of it.

::

    refused by a hook, or the disk is full ──► fails at once
    another's update came first            ──► again from what is there now, for 15 s
    somebody holds a lock of git's         ──► again, for 15 s; for 120 s at the end of a run
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.crash_points import CrashPoint, reached
from loragit.errors import LoragitError
from loragit.git import refs
from loragit.git.refs import NotDurable, RefUpdate
from loragit.git.repository import Repository
from loragit.store import ref_moves
from loragit.store.lock import WARNED_AFTER, Warn

OPENING = 15.0
"""Seconds for which the opening of a run waits for a lock: somebody sits there, and nothing is lost
yet."""
ENDING = 120.0
"""Seconds for which the end of a run waits for a lock: hours of training are worth them."""

_RACES = 15.0
"""Seconds for which a lost race is run again. Each loss means that another's update succeeded."""
_FEWEST = 10
"""Attempts that are made in any case: on a busy machine one may take a second."""
_LOCKED = re.compile(r"Unable to create '(.+\.lock)': File exists")
"""git's message (2.30 to 2.51, in the C locale) if a lock file is there."""
_UNWRITABLE = (
    "Permission denied",
    "Read-only file system",
    "No space left on device",
    "Disk quota exceeded",
    "couldn't write",
)
"""Found in git's message if the disk takes nothing (strerror(3) in the C locale). git 2.39 does not
say why it cannot fill a lock that it has made."""
_LASTING = (*_UNWRITABLE, "cannot create")
"""Found in git's message if trying again is no use."""


class StillLocked(LoragitError):
    """A lock file of git's was there the whole time."""


class Attempt(NamedTuple):
    """One attempt at a move."""

    result: str
    """What is returned if it succeeds."""
    updates: list[RefUpdate]
    """None if there is nothing to move."""


class Moved(NamedTuple):
    """A move that succeeded."""

    result: str
    not_durable: NotDurable | None
    """Why it may not outlast a power cut."""


class Move(NamedTuple):
    """A move of refs that is tried until it succeeds or its time is over."""

    attempt: Callable[[], Attempt]
    """Called before each try: prepares it from what is there now."""
    reason: str
    """For the reflog."""
    check_wanted: Callable[[], None] = lambda: None
    """Called after each failure: raises if trying again is no use."""
    seconds: float = OPENING
    """How long a lock is waited for."""

    def make(self, repository: Repository, sync: Callable[[list[str]], None], warn: Warn) -> Moved:
        """Make it. ``sync`` returns when the objects that it is given are on the disk; ``warn``
        shows the user what is waited for.

        For whoever holds loragit's lock. Raises :class:`StillLocked` and as
        :func:`~loragit.store.ref_moves.move_refs`.
        """
        retries = Retries(self.seconds, warn)
        while True:
            result, updates = self.attempt()
            reached(CrashPoint.OBJECTS_WRITTEN)
            if not updates:
                return Moved(result, None)
            first = partial(sync, [update.new for update in updates if update.new])
            with refs.watch_hooks(wanted=retries.begun) as watch:
                try:
                    not_durable = ref_moves.move_refs(
                        repository, updates, self.reason, first, watch.variables
                    )
                    return Moved(result, not_durable)
                except git.GitFailed as error:
                    self.check_wanted()
                    hook = watch.refusing_hook()
                    if hook or is_lasting(error.message):
                        hint = next_step(error.message, repository.common_dir, hook) or error.hint
                        raise git.GitFailed(error.message, hint=hint) from error
                    retries.wait(error)
            with suppress(LoragitError):  # locks of a killed git may be known as such by now
                ref_moves.finish_moves(repository)


class Retries:
    """How often one move was tried, and how long."""

    def __init__(self, seconds: float, warn: Warn) -> None:
        """``seconds`` is how long a lock is waited for; ``warn`` hears of it once."""
        self._seconds = seconds
        self._warn = warn
        self._since = time.monotonic()
        self._warned = False
        self._failures = 0

    @property
    def begun(self) -> bool:
        """Whether an attempt has failed."""
        return self._failures > 0

    def wait(self, refusal: LoragitError) -> None:
        """Wait a little before the next attempt. Raises :class:`StillLocked` or ``refusal`` if
        there is to be none."""
        self._failures += 1
        waited = time.monotonic() - self._since
        lock = held_lock(refusal.message)
        if lock is None:
            if waited >= _RACES and self._failures >= _FEWEST:
                raise refusal
        elif waited >= self._seconds:
            raise StillLocked(
                f"{lock} has been there for {waited:.0f} s: another program holds it, or left it "
                "behind",
                hint=f"when no git is at work there, remove it: rm {lock}",
            ) from refusal
        elif waited >= WARNED_AFTER and not self._warned:
            self._warned = True
            self._warn(
                f"waiting for {lock}, at most {self._seconds:g} s: another program holds it; "
                "if no git is at work there, remove it"
            )
        # Longer after each failure.
        time.sleep(min(0.005 * 2**self._failures, 0.5))


def held_lock(message: str) -> Path | None:
    """The lock file that git found, if that is what ``message`` complains of."""
    found = _LOCKED.search(message)
    return Path(found[1]) if found else None


def is_lasting(message: str) -> bool:
    """Whether git's refusal ``message`` will be the same the next time."""
    return any(each in message for each in _LASTING)


def next_step(message: str, folder: Path, hook: str | None) -> str | None:
    """What to do about a lasting refusal, or one by the ``hook`` called so; ``folder`` is the
    repository's."""
    if any(each in message for each in _UNWRITABLE):
        return f"see that there is room, and that you may write {folder}"
    return f"see what the repository's hook {hook} asks for" if hook else None
