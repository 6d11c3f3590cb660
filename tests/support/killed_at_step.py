"""loragit, killed at a step: ``python killed_at_step.py RECORD NUMBER ARGUMENTS…``.

Each step that is reached is a line in the file RECORD; at the NUMBER-th, from 1 on, the process
kills itself. NUMBER may be the name of a step instead: its first time.
"""

import os
import signal
import sys

from loragit import crash_points
from loragit.__main__ import main

record, number = sys.argv[1:3]
sys.argv = ["loragit", *sys.argv[3:]]
reached = 0


def listen(step: crash_points.CrashPoint) -> None:
    global reached
    with open(record, "a") as file:
        file.write(step.name + "\n")
    reached += 1
    if number in (str(reached), step.name):
        os.kill(os.getpid(), signal.SIGKILL)


crash_points.listener = listen
sys.exit(main())
