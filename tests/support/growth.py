"""How long something takes, and how that grows, on a machine that is busy with something else.

Processor time counts, never the clock. No garbage is collected meanwhile: that of all tests before
would count for whichever side of a comparison happens to set it off.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collected() -> Iterator[None]:
    """Collect none within."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def seconds(action: Callable[[], object], times: int = 1) -> float:
    """Processor time of this thread for ``action()``; the least of ``times``."""
    return min(_once(action) for _ in range(times))


def seconds_in_turn(
    one: Callable[[], object], other: Callable[[], object], times: int
) -> tuple[float, float]:
    """As :func:`seconds`, of each: done in turn, so that what else the machine does slows down
    both."""
    pairs = [(_once(one), _once(other)) for _ in range(times)]
    return min(first for first, _ in pairs), min(second for _, second in pairs)


def _once(action: Callable[[], object]) -> float:
    with no_garbage_collected():
        begun = time.thread_time()
        action()
        return time.thread_time() - begun


@contextmanager
def within(bound: float) -> Iterator[None]:
    """What is done within takes fewer seconds of processor time than ``bound``, its children
    included; five times as many where its coverage is measured."""
    with no_garbage_collected():
        begun = _processor_time()
        yield
        took = _processor_time() - begun
    assert took < bound * (5.0 if sys.gettrace() else 1.0)


def _processor_time() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system
