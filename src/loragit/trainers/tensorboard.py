"""Reads the scalars that a trainer logged from TensorBoard event files, without TensorBoard.

An event file is a sequence of TFRecords: length (8 bytes, little-endian), its masked CRC-32C (4),
the data, the data's masked CRC-32C (4). The data is an ``Event`` of TensorFlow's ``event.proto``,
of which only these fields are read::

    Event          wall_time = 1 (double), step = 2 (int64), summary = 5
    Summary        value = 1 (repeated)
    Summary.Value  tag = 1, simple_value = 2 (float), tensor = 8
    TensorProto    float_val = 5 (repeated float)

The checksum of each length is verified (8 bytes, and lengths repeat, so it is nearly free): it
keeps the records of a damaged file from being read at wrong offsets. That of the data is not
verified: in Python it would cost more than all the rest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator
from functools import cache, lru_cache
from pathlib import Path
from struct import unpack
from typing import BinaryIO

from loragit.trainers.losses import Scalar

# A record of scalars has about 40 bytes. Records longer than this contain images and are skipped.
_LONGEST_RECORD = 1 << 20


class _Corrupt(Exception):
    """The bytes are not the expected protocol buffer. Never leaves this module."""


def scalars(path: Path, tags: Container[str] | None = None) -> Iterator[Scalar]:
    """Yield the scalars of the event file ``path`` in file order; only those in ``tags``, if given.

    A file that ends within a record, as a killed trainer leaves it, silently ends there; so does
    one with a damaged length or event. Raises ``OSError`` if the file cannot be read or is not a
    regular one: opening a pipe would wait forever.
    """
    with open(path, "rb", opener=_opener) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path.name} is not a regular file")
        for record in _records(file):
            try:
                found = _event(record, tags)
            except _Corrupt:
                return
            yield from found


def _opener(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def _records(file: BinaryIO) -> Iterator[bytes]:
    """Yield the data of every record that is complete and short enough to contain scalars."""
    size = os.fstat(file.fileno()).st_size
    end = 0
    while len(head := file.read(12)) == 12:
        length = int.from_bytes(head[:8], "little")
        end += 12 + length + 4
        if end > size or _masked_crc(head[:8]) != int.from_bytes(head[8:], "little"):
            return
        if length > _LONGEST_RECORD:
            file.seek(end)
            continue
        data = file.read(length + 4)
        if len(data) < length + 4:
            return
        yield data[:length]


def _event(data: bytes, tags: Container[str] | None) -> list[Scalar]:
    """Parse an ``Event``. Raises :class:`_Corrupt`."""
    wall_time, step = 0.0, 0
    summaries: list[bytes] = []
    for field, value in _fields(data):
        if field == 1:
            wall_time = _float("<d", value)
        elif field == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >> 63 else value
        elif field == 5 and isinstance(value, bytes):
            summaries.append(value)
    return [
        Scalar(wall_time, step, tag, number)
        for summary in summaries
        for field, value in _fields(summary)
        if field == 1 and isinstance(value, bytes)
        for tag, number in _value(value)
        if tags is None or tag in tags
    ]


def _value(data: bytes) -> Iterator[tuple[str, float]]:
    """Yield the tag and the number of a ``Summary.Value``; nothing if it is not a scalar."""
    tag = ""
    number: float | None = None
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif field == 2:
            number = _float("<f", value)
        elif field == 8 and isinstance(value, bytes):
            number = _tensor(value)
    if number is not None:
        yield tag, number


def _tensor(data: bytes) -> float | None:
    """Return the number in a ``TensorProto`` of one float; packed or not, it is the same four
    bytes."""
    floats = [value for field, value in _fields(data) if field == 5]
    if len(floats) == 1 and isinstance(floats[0], bytes) and len(floats[0]) == 4:
        return _float("<f", floats[0])
    return None


def _float(layout: str, value: int | bytes) -> float:
    if isinstance(value, int) or len(value) != (8 if layout == "<d" else 4):
        raise _Corrupt
    number: float = unpack(layout, value)[0]
    return number


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of every field of a message: an unsigned integer, or bytes for all
    other types."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:  # groups, which no message here has ever used
            raise _Corrupt
        if at + length > len(data):
            raise _Corrupt
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at ``at``, at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            raise _Corrupt
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
    raise _Corrupt


@lru_cache(maxsize=256)
def _masked_crc(data: bytes) -> int:
    """Return the CRC-32C, rotated and shifted as TFRecord requires (a checksum of data that
    contains checksums is weak)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _crc_table()[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    """Return the table of the Castagnoli polynomial, bits reversed."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)
