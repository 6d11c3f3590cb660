"""The places between two steps of a run at which it may be killed, by name.

Nothing happens at them but in the tests, which kill loragit at each and look at what is left
(tests/test_crashes.py). A step that is added here, and that no test reaches, fails them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Step(Enum):
    """What has just been done."""

    NOTED = "the note says that a run is about to be opened"
    FOLDER_MADE = "the output folder is there, and empty"
    COPY_WRITTEN = "one of the trainer's copies is in the output folder"
    OBJECTS_WRITTEN = "the objects are there, and no ref leads to them"
    COMMIT_NOTED = "the note says which commit is about to be opened"
    MOVE_NOTED = "the move of refs is noted, and git waits for it"
    REFS_MOVED = "git has moved the refs"
    MOVE_FORGOTTEN = "the note of the move is gone"
    TRAINER_STARTED = "the trainer runs, and the note does not say so"
    TRAINER_NOTED = "the note says which process is the trainer"
    TRAINER_ENDED = "the trainer has ended, and the note does not say how"
    END_NOTED = "the note says how the trainer ended"
    COLLECTED = "what came out has been found and hashed"
    LOG_KEPT = "the log has a copy that outlives the output folder"
    FILE_REMOVED = "one file of the output folder is removed"
    FOLDER_REMOVED = "the output folder is removed"
    FORGOTTEN = "the note of the run is gone"
    LOCK_REMOVED = "a lock that a killed git left is removed"


listener: Callable[[Step], None] | None = None
"""Told of every step; the tests' only."""


def reached(step: Step) -> None:
    """Say that ``step`` has been done."""
    if listener is not None:
        listener(step)
