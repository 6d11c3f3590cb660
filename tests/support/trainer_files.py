"""Writers of the files that sd-scripts writes: models, TensorBoard events, pictures.

Plain Python with no import from this project, so that a stub trainer can be given a copy of this
file and import it.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path


def payload_sha256(tensors: Mapping[str, bytes]) -> str:
    """What ``networks.lora`` writes as ``sshs_model_hash`` of these tensors: the hash of the bytes
    after the header."""
    return hashlib.sha256(b"".join(tensors.values())).hexdigest()


def safetensors(tensors: Mapping[str, bytes], metadata: Mapping[str, str] | None = None) -> bytes:
    """A whole file; each tensor is a row of bytes (dtype U8)."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def write_safetensors(
    path: str | Path, tensors: Mapping[str, bytes], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a model as sd-scripts does: in place, so that a kill leaves it cut short."""
    with open(path, "wb") as file:
        file.write(safetensors(tensors, metadata))


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A TFRecord of any data."""
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def event_record(
    step: int, tag: str, value: float, wall_time: float, *, as_tensor: bool = False
) -> bytes:
    """A TFRecord that logs one number; ``as_tensor`` as TensorFlow 2 logs it, else as torch
    does."""
    if as_tensor:
        tensor = b"\x08\x01\x12\x00" + _nested(5, struct.pack("<f", value))
        number = _nested(8, tensor)
    else:
        number = b"\x15" + struct.pack("<f", value)
    summary = _nested(1, _nested(1, tag.encode()) + number)
    moment = b"\x09" + struct.pack("<d", wall_time)
    # As every protocol buffer writer does: a step of 0 is not written at all.
    count = b"\x10" + varint(step) if step else b""
    return record(moment + count + _nested(5, summary))


def first_record(wall_time: float) -> bytes:
    """The record that every event file of torch begins with, 88 bytes long."""
    writer = _nested(1, b"tensorboard.summary.writer.event_file_writer")
    return record(
        b"\x09" + struct.pack("<d", wall_time) + _nested(3, b"brain.Event:2") + _nested(10, writer)
    )


def write_events(path: str | Path, scalars: Iterable[tuple[int, str, float, float]]) -> None:
    """Write an event file of (step, tag, value, wall time in seconds since 1970), creating its
    folder."""
    scalars = list(scalars)
    started = scalars[0][3] if scalars else 0.0
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(first_record(started) + b"".join(event_record(*scalar) for scalar in scalars))


def png(width: int, height: int, rgb: tuple[int, int, int]) -> bytes:
    """A picture of one colour."""
    rows = (b"\0" + bytes(rgb) * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def varint(number: int) -> bytes:
    """A protocol buffer's integer; a negative one is written as 64 bits."""
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes(encoded) + bytes([number])


def _nested(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def edited(
    source: Path,
    target: Path,
    change: Callable[[dict[str, str]], object],
    payload: bytes | None = None,
) -> Path:
    """A copy of a model with another header, and maybe with other weights of the same length."""
    data = source.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    change(header["__metadata__"])
    text = json.dumps(header).encode()
    target.write_bytes(
        struct.pack("<Q", len(text)) + text + (data[8 + length :] if payload is None else payload)
    )
    return target
