"""Loose objects of git: an object, a file."""

from __future__ import annotations

import zlib
from pathlib import Path

_PIECE = 1 << 16
"""Bytes of an object that are unpacked at once."""


def cut_short(path: Path) -> bool:
    """Whether the file of a loose object ends too early. libgit2 1.9 never comes back from reading such a one."""
    try:
        data = path.read_bytes()
    except OSError:  # packed, in another repository's store, or missing
        return False
    unpacked = zlib.decompressobj()
    try:
        while not unpacked.eof:
            piece = unpacked.decompress(data, _PIECE)
            data = unpacked.unconsumed_tail
            if not piece and not data:
                break
    except zlib.error:  # damaged otherwise: libgit2 says so
        return False
    return not unpacked.eof
