"""Root without its rights over files, for tests of what may not be read: whoever runs them, modes
count."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of capget(2): two words a set."""
_OVER_MODES = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS = 27, 28
_NO_ROOT = 1
"""SECBIT_NOROOT: what root executes gets no rights from that."""


class CannotGiveUp(Exception):
    """The system does not let root give up rights."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Within, files and folders of mode 0 are closed to this thread and to what it starts, even if
    it is root's. Raises :class:`CannotGiveUp`."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        raise CannotGiveUp("root gives up rights on Linux alone")
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION, 0), (_Sets * 2)()

    def checked(result: int) -> int:
        if result < 0:
            raise CannotGiveUp(os.strerror(ctypes.get_errno()))
        return result

    bits = checked(libc.prctl(_PR_GET_SECUREBITS, 0, 0, 0, 0))
    checked(libc.capget(ctypes.byref(header), sets))
    all_of_them = sets[0].effective
    checked(libc.prctl(_PR_SET_SECUREBITS, bits | _NO_ROOT, 0, 0, 0))
    try:
        sets[0].effective = all_of_them & ~_OVER_MODES
        checked(libc.capset(ctypes.byref(header), sets))
        yield
    finally:
        sets[0].effective = all_of_them
        checked(libc.capset(ctypes.byref(header), sets))
        checked(libc.prctl(_PR_SET_SECUREBITS, bits, 0, 0, 0))
