"""Packs and loose objects as files: many blobs written as one pack, and a loose object that was cut
short.

A pack is two files to write through to the disk where ten thousand loose objects would be ten
thousand, and takes a hundredth of their room. Formats: gitformat-pack(5), packs of version 2
without deltas, indexes of version 2.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from struct import pack
from typing import NamedTuple

from loragit.system import durable

LARGEST = 1 << 30
"""Bytes of all blobs together, at most: offsets have 31 bits here."""
_BLOB = 3


class _PackedBlob(NamedTuple):
    id: bytes
    crc: int
    offset: int


def write(objects: Path, blobs: Sequence[bytes]) -> None:
    """Add a pack of ``blobs`` (:data:`LARGEST` bytes at most) to the object store ``objects``; on
    return it is durable.

    The pack gets its name before the index that makes git look into it. Raises OSError.
    """
    folder = objects / "pack"
    folder.mkdir(exist_ok=True)
    data, items = _pack(blobs)
    checksum = data[-20:]
    # What a crash leaves under tmp_ is removed by git prune.
    for suffix, content in (("pack", data), ("idx", _index(items, checksum))):
        durable.write(
            folder / f"pack-{checksum.hex()}.{suffix}",
            content,
            fresh=f"tmp_{suffix}_loragit_{os.getpid()}",
            mode=0o444,
        )
    durable.sync(objects)


def _pack(blobs: Sequence[bytes]) -> tuple[bytearray, list[_PackedBlob]]:
    data = bytearray(pack(">4sII", b"PACK", 2, len(blobs)))
    items = []
    for blob in blobs:
        entry = _header(len(blob)) + _deflated(blob)
        name = sha1(b"blob %d\0" % len(blob) + blob, usedforsecurity=False).digest()
        items.append(_PackedBlob(name, zlib.crc32(entry), len(data)))
        data += entry
    data += sha1(data, usedforsecurity=False).digest()
    return data, sorted(items)


def _header(size: int) -> bytes:
    """Kind and size, seven bits a byte, the first one four."""
    out = bytearray()
    byte, size = _BLOB << 4 | size & 15, size >> 4
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)


def _deflated(blob: bytes) -> bytes:
    """A caption is short: to set up zlib's usual window of 32 KiB takes ten times as long as to
    fill it."""
    if len(blob) > 1 << 10:
        return zlib.compress(blob)
    small = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, 10, 1)
    return small.compress(blob) + small.flush()


def _index(items: list[_PackedBlob], checksum: bytes | bytearray) -> bytes:
    """``items`` in order of their ids."""
    counts = [0] * 256
    for item in items:
        counts[item.id[0]] += 1
    total, fan_out = 0, []
    for count in counts:
        total += count
        fan_out.append(total)
    data = b"\xfftOc" + pack(">I256I", 2, *fan_out) + b"".join(item.id for item in items)
    data += (
        pack(f">{2 * total}I", *(item.crc for item in items), *(item.offset for item in items))
        + checksum
    )
    return data + sha1(data, usedforsecurity=False).digest()


_PIECE = 1 << 16
"""Bytes of an object that are unpacked at once."""


def cut_short(path: Path) -> bool:
    """Whether the file of a loose object ends too early. libgit2 1.9 never comes back from reading
    such a one."""
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
