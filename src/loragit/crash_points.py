"""The crash points: the places between two steps of a run at which loragit may be killed.

Nothing happens at them but in the tests, which kill loragit at each and look at what is left
(tests/failure/test_crashes.py). A step that is added here and that no test reaches fails them.

In the order of a run that is sealed, with what is on disk and what ``loragit recover`` does then:

    step            new on disk                           recover
    --------------  ------------------------------------  ------------------------------------
    NOTED           .git/loragit/open/NAME.PID.toml       removes the entry: never opened
    FOLDER_MADE     the output folder                     removes folder and entry
    COPY_WRITTEN    config, prompts, train.sh … in it     the same
    OBJECTS_WRITTEN blobs, trees, a commit                the same; git collects the objects
    COMMIT_NOTED    the entry names that commit           the same
    MOVE_NOTED      .git/loragit/moves/HOST.PID.toml      the same, and removes git's locks
    REFS_MOVED      runs, tag, keep ref                   makes the move whole, then reverts
    MOVE_FORGOTTEN  (the note of the move is gone)        reverts: the trainer never began
    TRAINER_STARTED the log                               leaves it, until the trainer has ended
    TRAINER_NOTED   the entry names the trainer           the same
    TRAINER_ENDED   models, states, samples               seals, exit status unknown
    END_NOTED       the entry says how it ended           seals, with exit status
    COLLECTED       -                                     the same
    REFS_MOVED      the tag is annotated                  removes the entry
    FORGOTTEN       (the entry is gone)                   nothing

A run that is reverted goes through LOG_KEPT (before the refs move), FILE_REMOVED and FOLDER_REMOVED
(after it); at each, the recovery does what is left of that.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Step(Enum):
    """What has just been done."""

    NOTED = "the journal entry says that a run is about to be opened"
    FOLDER_MADE = "the output folder is there, and empty"
    COPY_WRITTEN = "one of the trainer's copies is in the output folder"
    OBJECTS_WRITTEN = "the objects are there, and no ref leads to them"
    COMMIT_NOTED = "the journal entry says which commit is about to be opened"
    MOVE_NOTED = "the move of refs is noted, and git waits for it"
    REFS_MOVED = "git has moved the refs"
    MOVE_FORGOTTEN = "the note of the move is gone"
    TRAINER_STARTED = "the trainer runs, and the journal entry does not say so"
    TRAINER_NOTED = "the journal entry says which process is the trainer"
    TRAINER_ENDED = "the trainer has ended, and the journal entry does not say how"
    END_NOTED = "the journal entry says how the trainer ended"
    COLLECTED = "what came out has been found and hashed"
    LOG_KEPT = "the log has a copy that outlives the output folder"
    FILE_REMOVED = "one file of the output folder is removed"
    FOLDER_REMOVED = "the output folder is removed"
    FORGOTTEN = "the journal entry of the run is gone"
    LOCK_REMOVED = "a lock that a killed git left is removed"


listener: Callable[[Step], None] | None = None
"""Told of every step; the tests' only."""


def reached(step: Step) -> None:
    """Say that ``step`` has been done."""
    if listener is not None:
        listener(step)
