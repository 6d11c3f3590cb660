"""File systems and rights of one process's own (Linux): what it mounts or gives up, nobody else
sees."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_RDONLY, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 0x20, 0x1000, 0x4000, 0x40000
_DETACH = 2
_CAPBSET_DROP = 24
_OVERRIDES = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root's right to go past permissions."""


def _called(name: str, *args: object) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*args) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def own_mounts() -> None:
    """From now on, mounts are this process's and its children's. Raises OSError where the system
    does not allow it."""
    user, group = os.getuid(), os.getgid()
    _called("unshare", _NEW_MOUNTS if user == 0 else _NEW_MOUNTS | _NEW_USER)
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _called("mount", b"none", b"/", None, _REC | _PRIVATE, None)


def small_disk(path: Path, size: str) -> None:
    """Put a file system of ``size`` (as tmpfs takes it) in the place of ``path``, with what is
    there."""
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(path, aside, symlinks=True, dirs_exist_ok=True)
        _called("mount", b"none", os.fsencode(path), b"tmpfs", 0, f"size={size}".encode())
        shutil.copytree(aside, path, symlinks=True, dirs_exist_ok=True)


def fill(path: Path) -> Path:
    """Leave no room on the disk of ``path``; the file that takes it all."""
    filler = path / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass
    return filler


def read_only(path: Path) -> None:
    """What is opened through ``path`` from now on cannot be written."""
    place = os.fsencode(path)
    _called("mount", place, place, None, _BIND, None)
    _called("mount", b"none", place, None, _REMOUNT | _BIND | _RDONLY, None)


def unmount(path: Path) -> None:
    """Take away what was mounted there, also while it is in use."""
    _called("umount2", os.fsencode(path), _DETACH)


def as_anybody() -> None:
    """Give up root's right to go past permissions, for this process and its children; others have
    none."""
    if os.getuid() != 0:
        return
    for capability in _OVERRIDES:
        _called("prctl", _CAPBSET_DROP, capability, 0, 0, 0)
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _called("capget", header, data)
    for at in range(3):  # effective, permitted, inheritable, of the first 32
        data[at] &= ~sum(1 << capability for capability in _OVERRIDES)
    _called("capset", header, data)
