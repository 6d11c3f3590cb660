"""An entry of the journal of open runs."""

from __future__ import annotations

import os

from loragit.store import journal
from loragit.store.journal import JournalEntry
from loragit.system import alive

NOTE = JournalEntry(
    run="noob-gren-v1s4",
    started="2026-11-23T17:20:30Z",
    pid=os.getpid(),
    pid_started=alive.start_time(os.getpid()) or "",
    boot=alive.boot_id() or "",
    host=journal.host(),
    output="/out/noob-gren-v1s4",
)


def note(**changes: object) -> JournalEntry:
    return NOTE._replace(**changes)  # type: ignore[arg-type]
