"""Signals that must wait: between opening a run and its end, no signal may leave the record half-written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a person or a system sends to end a program."""


@contextmanager
def held() -> Iterator[list[int]]:
    """Within, a signal that would end this process is only noted, in the order of arrival.

    Outside the main thread, where Python delivers no signals, nothing is held.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal.signal's protocol
        noted.append(number)

    before = {number: signal.signal(number, note) for number in ENDING}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
