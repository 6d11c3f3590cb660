"""Packs and loose objects as files: writing many blobs as one pack, and detecting a truncated loose
object.

A pack is two files to sync to the disk instead of ten thousand loose objects, and takes a hundredth
of their space. Formats: gitformat-pack(5), packs of version 2 without deltas, indexes of version 2.
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
"""Most bytes of all blobs together: offsets have 31 bits here."""
_BLOB = 3


class _PackedBlob(NamedTuple):
    id: bytes
    crc: int
    offset: int


def write(objects: Path, blobs: Sequence[bytes], *, promised: bool = False) -> None:
    """Add a pack of ``blobs`` (at most :data:`LARGEST` bytes) to the object store ``objects``; it
    is durable on return.

    In a partial clone a remote may have ``promised`` some of them: ``git gc`` then takes them away,
    unless their pack is marked as git marks those that it fetched (partial-clone.txt).

    The pack gets its final name before the index, which is what makes git read the pack. Raises
    OSError.
    """
    folder = objects / "pack"
    folder.mkdir(exist_ok=True)
    data, items = _pack(blobs)
    checksum = data[-20:]
    # git prune removes the tmp_ files that a crash leaves behind.
    files = [("pack", data), ("idx", _index(items, checksum))]
    if promised:
        files.insert(1, ("promisor", bytearray()))
    for suffix, content in files:
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
    """Encode type and size: seven bits of the size per byte, four in the first."""
    out = bytearray()
    byte, size = _BLOB << 4 | size & 15, size >> 4
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)


def _deflated(blob: bytes) -> bytes:
    """Compress a blob. Captions are short: setting up zlib's usual 32 KiB window takes ten times as
    long as filling it."""
    if len(blob) > 1 << 10:
        return zlib.compress(blob)
    small = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, 10, 1)
    return small.compress(blob) + small.flush()


def _index(items: list[_PackedBlob], checksum: bytes | bytearray) -> bytearray:
    """Return the index of ``items``, which are sorted by id."""
    counts = [0] * 256
    for item in items:
        counts[item.id[0]] += 1
    total, fan_out = 0, []
    for count in counts:
        total += count
        fan_out.append(total)
    data = bytearray(b"\xfftOc") + pack(">I256I", 2, *fan_out) + b"".join(item.id for item in items)
    data += (
        pack(f">{2 * total}I", *(item.crc for item in items), *(item.offset for item in items))
        + checksum
    )
    return data + sha1(data, usedforsecurity=False).digest()


_PIECE = 1 << 16
"""Bytes of an object that are decompressed at once."""


def cut_short(path: Path) -> bool:
    """Whether a loose object's file ends too early. libgit2 1.9 hangs forever when it reads one."""
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
