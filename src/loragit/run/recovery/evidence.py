"""What is still known of a run whose loragit is gone: from its journal entry, its record and its
files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from loragit.history.history import RecordedRun
from loragit.run import ending
from loragit.run.output import OutputFolder
from loragit.store.journal import End, JournalEntry, Work
from loragit.system import alive

CRASH = "crash"
"""Stands for the signal where nobody was there to hear of one."""
_LOG_END = 1 << 16
"""Bytes at the end of a log in which its last lines are looked for."""


def output_folder(entry: JournalEntry, work: Work) -> OutputFolder:
    """The output folder as it was made; where the entry does not say which it was, the one that is
    there."""
    path = Path(entry.output)
    device, inode = entry.inode
    with suppress(OSError):
        status = path.lstat()
        # After another boot the same disk may have another number.
        if not inode or alive.rebooted_since(entry.boot):
            device, inode = status.st_dev, inode or status.st_ino
    return OutputFolder(path, (device, inode), dict(work.files), ending.LOG)


def end(entry: JournalEntry) -> End:
    """How the trainer ended, by the entry; else as far as files tell: the file that was written
    last is the last sign of life."""
    if entry.end is not None:
        return entry.end
    if (
        entry.trainer is None
        and entry.work is not None
        and not os.path.lexists(Path(entry.output, ending.LOG))
    ):
        why = "loragit was ended before the trainer began"
        return End(entry.started, entry.started, None, CRASH, why)
    started = datetime.fromisoformat(entry.started)
    # A file system may hold times that no calendar has.
    last = min(max(_times(Path(entry.output)), default=0.0), time.time())
    finished = max(started, datetime.fromtimestamp(max(0.0, last), UTC))
    return End(entry.started, finished.isoformat(), None, CRASH)


def _times(folder: Path) -> Iterator[float]:
    """When each file in the output folder, and each sample below it, was last written."""
    for place in (folder, folder / "sample"):
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_file(follow_symlinks=False):
                        yield entry.stat().st_mtime


def log_tail(entry: JournalEntry, redact: Callable[[str], str]) -> tuple[str, ...]:
    """The last lines of the log, which is redacted as it is written."""
    try:
        with Path(entry.output, ending.LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_END))
            lines = file.read(_LOG_END).decode("utf-8", "replace").splitlines()
    except OSError:
        return ()
    return tuple(redact(line) for line in lines[-ending.LOG_TAIL :])


def work(run: RecordedRun, home: str) -> Work:
    """What the record itself tells of a run that has no journal entry here, or one of an older
    loragit. Raises :class:`~loragit.history.CannotReadRecord`."""
    args = run.record.command_args
    name = args.get("output_name", ("",))
    prompts = args.get("sample_prompts", ("",))
    return Work(
        files=(),
        output_name=name[0] if name else "",
        prompts=Path(prompts[0]).name if prompts else "",
        log_folder="",
        log_prefix="",
        log_before=(),
        on_empty="revert",
        sign=None,
        home=home,
    )
