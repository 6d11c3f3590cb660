"""loragit, killed at a step of a run: in a forked process, or as ``python killed_at_step.py RECORD
NUMBER ARGUMENTS…``."""

from __future__ import annotations

import os
import signal
import sys

from loragit import crash_points
from loragit.__main__ import main


def loragit_until(record: str, number: str, *words: str) -> int:
    """``loragit WORDS`` in this process.

    Each step that is reached is a line in the file ``record``; at the ``number``-th, from 1 on, the
    process kills itself. ``number`` may be the name of a step instead: its first time.
    """
    reached = 0

    def listen(step: crash_points.CrashPoint) -> None:
        nonlocal reached
        with open(record, "a") as file:
            file.write(step.name + "\n")
        reached += 1
        if number in (str(reached), step.name):
            os.kill(os.getpid(), signal.SIGKILL)

    crash_points.listener = listen
    sys.argv = ["loragit", *words]
    return main()


if __name__ == "__main__":
    sys.exit(loragit_until(*sys.argv[1:]))
