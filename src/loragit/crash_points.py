"""The crash points: the places between two steps of a run at which loragit may be killed.

Nothing happens at them but in the tests, which kill loragit at each and look at what is left
(tests/failure/test_crashes.py). A crash point that no test reaches fails them.

In the order of a run that is sealed, with what is on disk and what ``loragit recover`` does then:

    step             new on disk                           recover
    ---------------- ------------------------------------  ------------------------------------
    ENTRY_WRITTEN    .git/loragit/open/NAME.PID.toml       removes the entry: never opened
    FOLDER_MADE      the output folder                     removes folder and entry
    COPY_WRITTEN     config, prompts, train.sh … in it     the same
    OBJECTS_WRITTEN  blobs, trees, a commit                the same; git collects the objects
    COMMIT_IN_ENTRY  the entry names that commit           the same
    MOVE_WRITTEN     .git/loragit/moves/HOST.PID.toml      the same, and removes git's locks
    REFS_MOVED       runs, tag, keep ref                   makes the move whole, then reverts
    MOVE_REMOVED     (the move's file is gone)             reverts: the trainer never began
    TRAINER_STARTED  the log                               leaves it, until the trainer has ended
    TRAINER_IN_ENTRY the entry names the trainer           the same
    TRAINER_ENDED    models, states, samples               seals, exit status unknown
    END_IN_ENTRY     the entry says how it ended           seals, with exit status
    COLLECTED        -                                     the same
    REFS_MOVED       the tag is annotated                  removes the entry
    ENTRY_REMOVED    (the entry is gone)                   nothing

A run that is reverted goes through LOG_COPIED (before the refs move), FILE_REMOVED and
FOLDER_REMOVED (after it); at each, recovery does what is left of that.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class CrashPoint(Enum):
    """What has just been done."""

    ENTRY_WRITTEN = "the journal entry says that a run is about to be opened"
    FOLDER_MADE = "the output folder is there, and empty"
    COPY_WRITTEN = "one of the trainer's copies is in the output folder"
    OBJECTS_WRITTEN = "the objects are there, and no ref leads to them"
    COMMIT_IN_ENTRY = "the journal entry says which commit is about to be opened"
    MOVE_WRITTEN = "the move of refs is written down, and git waits for it"
    REFS_MOVED = "git has moved the refs"
    MOVE_REMOVED = "the file on the move of refs is gone"
    TRAINER_STARTED = "the trainer runs, and the journal entry does not say so"
    TRAINER_IN_ENTRY = "the journal entry says which process is the trainer"
    TRAINER_ENDED = "the trainer has ended, and the journal entry does not say how"
    END_IN_ENTRY = "the journal entry says how the trainer ended"
    COLLECTED = "what came out has been found and hashed"
    LOG_COPIED = "the log has a copy that outlives the output folder"
    FILE_REMOVED = "one file of the output folder is removed"
    FOLDER_REMOVED = "the output folder is removed"
    ENTRY_REMOVED = "the journal entry of the run is gone"
    LOCK_REMOVED = "a lock that a killed git left is removed"


listener: Callable[[CrashPoint], None] | None = None
"""Called at every crash point; only tests set it."""


def reached(point: CrashPoint) -> None:
    """Call the listener, if there is one."""
    if listener is not None:
        listener(point)
