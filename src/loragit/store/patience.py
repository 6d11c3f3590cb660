"""How long a change of the record is tried again while others are at work, and what the user is
told meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from loragit.errors import LoragitError

OPENING = 15.0
"""Seconds for which a run that is to be opened waits: somebody sits there, and nothing is lost
yet."""
ENDING = 120.0
"""Seconds for which the end of a run waits: hours of training are worth them."""
TOLD_AFTER = 1.0
"""Seconds after which the user is told what is waited for."""

_RACES = 15.0
"""Seconds for which lost races are run again. Each loss means that somebody else's update went
through."""
_FEWEST = 10
"""Attempts that there are in any case: on a busy machine one may take a second."""
_LOCKED = re.compile(r"Unable to create '(.+\.lock)': File exists")
"""What git (2.30 to 2.51, in the C locale) says of a lock file that is there."""
_UNWRITABLE = (
    "Permission denied",
    "Read-only file system",
    "No space left on device",
    "Disk quota exceeded",
    "couldn't write",
)
"""What git's message holds where the disk takes nothing (strerror(3) in the C locale). Of a lock
that it has made and cannot fill git 2.39 does not say why."""
_LASTING = (*_UNWRITABLE, "cannot create")
"""What git's message holds where trying again is no use."""

Tell = Callable[[str], None]
"""Shows the user a line."""


class StillLocked(LoragitError):
    """A lock file of git's was there the whole time."""


class Patience:
    """One change of refs, tried until it succeeds or its time is over."""

    def __init__(self, seconds: float, tell: Tell) -> None:
        """``seconds`` is how long a lock is waited for; ``tell`` hears of it once."""
        self._seconds = seconds
        self._tell = tell
        self._begun = time.monotonic()
        self._told = False
        self._attempts = 0

    @property
    def tried(self) -> bool:
        """Whether an attempt has failed."""
        return self._attempts > 0

    def after(self, refusal: LoragitError) -> None:
        """Wait a little before the next attempt. Raises :class:`StillLocked` or ``refusal`` where
        there is none."""
        self._attempts += 1
        waited = time.monotonic() - self._begun
        lock = held_lock(refusal.message)
        if lock is None:
            if waited >= _RACES and self._attempts >= _FEWEST:
                raise refusal
        elif waited >= self._seconds:
            raise StillLocked(
                f"{lock} has been there for {waited:.0f} s: another program holds it, or left it "
                "behind",
                hint=f"when no git is at work there, remove it: rm {lock}",
            ) from refusal
        elif waited >= TOLD_AFTER and not self._told:
            self._told = True
            self._tell(
                f"waiting for {lock}, at most {self._seconds:g} s: another program holds it; "
                "if no git is at work there, remove it"
            )
        # Longer after each loss.
        time.sleep(min(0.005 * 2**self._attempts, 0.5))


def held_lock(message: str) -> Path | None:
    """The lock file that git found there, if that is what ``message`` complains of."""
    found = _LOCKED.search(message)
    return Path(found[1]) if found else None


def lasting(message: str) -> bool:
    """Whether git's refusal ``message`` will be the same the next time."""
    return any(each in message for each in _LASTING)


def next_step(message: str, folder: Path, hook: str | None) -> str | None:
    """What to do about such a one, or one of the ``hook`` called so; ``folder`` is the
    repository's."""
    if any(each in message for each in _UNWRITABLE):
        return f"see that there is room, and that you may write {folder}"
    return f"see what the repository's hook {hook} asks for" if hook else None
