"""Fixes what a record takes from the machine: copied as ``sitecustomize.py``, it is read by each
Python of a scene.

The clock stands still at the second that the file ``$GOLDEN_CLOCK`` names. Waiting still ends, a
thousand times later, for ``monotonic`` runs on, slowly. A graphics card's driver is not to be seen.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Callable

_real_monotonic = time.monotonic


def _seconds() -> int:
    with open(os.environ["GOLDEN_CLOCK"], encoding="ascii") as file:
        return int(file.read())


def _at(convert: Callable[[float], object]) -> Callable[..., object]:
    return lambda seconds=None: convert(_seconds() if seconds is None else seconds)


class _Moment(datetime.datetime):
    """``datetime``, with this clock's ``now``."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _Moment:
        return cls.fromtimestamp(_seconds(), tz)


def _hide_driver(event: str, args: tuple[object, ...]) -> None:
    if event in ("open", "os.scandir", "os.listdir") and str(args[0]).startswith(
        "/proc/driver/nvidia"
    ):
        raise PermissionError(args[0])


if "GOLDEN_CLOCK" in os.environ:
    time.time = lambda: float(_seconds())
    time.time_ns = lambda: _seconds() * 10**9
    time.monotonic = lambda: _seconds() + _real_monotonic() / 1000
    for _name in ("gmtime", "localtime"):
        setattr(time, _name, _at(getattr(time, _name)))
    datetime.datetime = _Moment  # type: ignore[misc]
    sys.addaudithook(_hide_driver)
