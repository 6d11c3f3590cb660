"""The user's pager, started the way git starts it."""

from __future__ import annotations

import os
import signal

from loragit.system import child


class Pager:
    """A running pager, fed through the standard output of this process."""

    def __init__(self, command: str) -> None:
        """Start ``command`` in a shell, as git does, and redirect standard output to it. Raises
        OSError."""
        # Same as git: quit if one screen is enough, show colours, leave the text on the screen.
        environ = {"LESS": "FRX", "LV": "-c"} | dict(os.environ)
        self._child = child.spawn(
            ["sh", "-c", command], child.ChildSetup(env=environ, stdin=child.PIPE)
        )
        assert self._child.stdin
        self._screen = os.dup(1)
        os.dup2(self._child.stdin.fileno(), 1)
        self._child.stdin.close()
        # Ctrl-C goes to the pager, which stops reading or moves on.
        self._before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait(self) -> None:
        """Close its input and wait until the user quits it."""
        os.dup2(self._screen, 1)
        os.close(self._screen)
        self._child.wait()
        signal.signal(signal.SIGINT, self._before)
