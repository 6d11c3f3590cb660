"""Model files: reading a safetensors header, and the hashes that identify a file and its weights.

The files are not trusted. A header is believed only as far as the file's own size supports it:
nothing is allocated because a header claims it. A safetensors file consists of 8 bytes with the
header's length (unsigned, little-endian), the header (a JSON object in UTF-8), and the tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.parse import check_values

if TYPE_CHECKING:
    from hashlib import _Hash

HEADER_LIMIT = 100_000_000
"""Longest header that the format allows, in bytes (``MAX_HEADER_SIZE`` of the safetensors
crate)."""

_METADATA = "__metadata__"
_PREFIX = 8
_BLANKS = b" \t\r\n"
"""What JSON allows before its first word. The format does not, but the crate loads it."""
_OFFSET_LIMIT = 2**63 - 1
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""What lies outside is no date of a training but a clock that was never set."""
# Larger blocks were no faster; with 1 MiB the cost of starting the second thread showed.
_BLOCK = 4 << 20


class NotSafetensors(LoragitError):
    """The file does not begin with a valid safetensors header, or is cut short within it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path.name} is not a sound safetensors file: {problem}",
            hint="it may have been cut short while it was saved or copied; check its size against "
            "another copy",
        )


class Header(NamedTuple):
    """The header of a safetensors file."""

    metadata: Mapping[str, str]
    """``__metadata__``; empty if there is none."""
    header_length: int
    """Bytes of JSON, not counting the 8 bytes before it."""
    data_length: int
    """Bytes of tensors that the header describes: the highest end in any ``data_offsets``."""
    whole: bool
    """Whether the file is exactly as long as its header says."""
    tensors: tuple[str, ...] = ()
    """Their names."""


class Hashes(NamedTuple):
    """Hashes of a file's content, all computed in one pass."""

    sha256: str
    """Of the whole file, 64 hex digits."""
    payload_sha256: str | None
    """Of everything after the safetensors header, 64 hex digits (``sshs_model_hash`` of sd-scripts'
    ``networks.*``); ``None`` if the file does not begin like one that contains its whole header."""
    size: int
    """Number of bytes read."""


def read_header(path: Path) -> Header:
    """Read and check the header of ``path``.

    What the safetensors crate loads is sound here, too: blanks around the header, ``null`` in place
    of the metadata, any order of the tensors, tensors without bytes, types that are new. Of a key
    that occurs twice the last counts, as there.

    Raises :class:`NotSafetensors` if the header is cut short, is longer than :data:`HEADER_LIMIT`,
    is not a JSON object in UTF-8, has metadata twice, is nested too deep, has more values than any
    model has, or has metadata or offsets of the wrong kind. Raises ``OSError`` if the file cannot
    be read or is not a regular file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(_PREFIX), "little")
        if size < _PREFIX or length > size - _PREFIX:
            raise NotSafetensors(path, f"it ends within its header, after {size} bytes")
        if length > HEADER_LIMIT:
            raise NotSafetensors(path, f"its header is longer than {HEADER_LIMIT} bytes")
        raw = file.read(length)
    try:
        entries = _parse(raw)
        metadata = _metadata(entries.pop(_METADATA, None))
        data_length = max(map(_end, entries.values()), default=0)
    except RecursionError:
        raise NotSafetensors(path, "its header is nested too deep") from None
    except ValueError as error:
        raise NotSafetensors(path, f"its header does not parse ({error})") from error
    whole = _PREFIX + length + data_length == size
    return Header(metadata, length, data_length, whole, tuple(entries))


def hash_file(path: Path) -> Hashes:
    """Read ``path`` once and hash it; memory use does not grow with the file. Works for files of
    any format.

    Raises ``OSError`` if the file cannot be read or is not a regular file.
    """
    with open_regular(path) as file:
        start = _payload_start(file)
        whole, payload = hashlib.sha256(), hashlib.sha256()
        size = 0
        block = memoryview(bytearray(min(_BLOCK, max(1, os.fstat(file.fileno()).st_size))))
        while count := file.readinto(block):
            if start is None:
                whole.update(block[:count])
            else:
                _update_both(whole, block[:count], payload, block[max(0, start - size) : count])
            size += count
    return Hashes(whole.hexdigest(), None if start is None else payload.hexdigest(), size)


def open_regular(path: Path) -> FileIO:
    """Open ``path`` for reading, unbuffered, following symbolic links.

    Raises ``OSError``, also if it is not a regular file: opening a pipe would wait forever.
    """
    file = FileIO(path, "r", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path.name} is not a regular file")
    return file


def _update_both(first: _Hash, block: memoryview, second: _Hash, part: memoryview) -> None:
    """Feed two hashers at once.

    hashlib releases the interpreter lock while it hashes, so a second thread speeds up one large
    file from about 800 to 1,400 MB/s on two cores, and does not slow down several files hashed at
    once.
    """
    helper = Thread(target=second.update, args=(part,))
    helper.start()
    first.update(block)
    helper.join()


def _payload_start(file: FileIO) -> int | None:
    """Return where the tensors begin, if the file begins like safetensors; the file's position is
    unchanged.

    Decided by content, since a renamed file is the same model. A zip archive or a pickle
    (``.ckpt``, ``.pt``) never passes: its first bytes, read as a length, are far beyond the limit.
    """
    descriptor = file.fileno()
    beginning = os.pread(descriptor, _PREFIX + 64, 0)
    start = _PREFIX + int.from_bytes(beginning[:_PREFIX], "little")
    size = os.fstat(descriptor).st_size
    fits = start <= min(size, _PREFIX + HEADER_LIMIT)
    header = beginning[_PREFIX:start].lstrip(_BLANKS)
    return start if fits and header.startswith(b"{") else None


def _parse(raw: bytes) -> dict[str, object]:
    """Parse the header's JSON. Raises ``ValueError`` or ``RecursionError``."""
    if not raw.lstrip(_BLANKS).startswith(b"{"):
        raise ValueError("it is not an object")
    check_values(raw)  # a hundred megabytes of "[]," would become gigabytes
    entries = json.loads(
        raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant
    )
    assert isinstance(entries, dict)
    return entries


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Reject metadata that stands there twice, as the crate does."""
    entries = dict(pairs)
    if len(entries) != len(pairs) and [key for key, _ in pairs].count(_METADATA) > 1:
        raise ValueError(f"{_METADATA} occurs twice")
    return entries


def _no_constant(name: str) -> object:
    """Reject ``NaN`` and ``Infinity``, which Python would accept though JSON does not have them."""
    raise ValueError(f"{name} is not JSON")


def _metadata(entry: object) -> Mapping[str, str]:
    if entry is None:
        return MappingProxyType({})
    if not isinstance(entry, dict):
        raise ValueError("__metadata__ is not an object")
    for key, value in entry.items():
        if not isinstance(value, str):
            raise ValueError("__metadata__ holds a value that is not text")
        # Half of a surrogate pair parses but could never be written into a record; UnicodeError is
        # a ValueError.
        f"{key}{value}".encode()
    return MappingProxyType(entry)


def _end(tensor: object) -> int:
    """Return where a tensor ends, in bytes from the end of the header."""
    offsets = tensor.get("data_offsets") if isinstance(tensor, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise ValueError("a tensor has no data_offsets")
    begin, end = offsets
    # bool is an int in Python, so the exact type is checked.
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end <= _OFFSET_LIMIT:
        raise ValueError("a tensor's data_offsets are not two ascending offsets")
    return end


def plausible(moment: datetime) -> datetime | None:
    """``moment``, if somebody can have trained then."""
    return moment if _EARLIEST <= moment < _LATEST else None


def modelspec_date(metadata: Mapping[str, str]) -> datetime | None:
    """When a model was saved, by the rules of ModelSpec, which several trainers follow. UTC; a
    date without a zone is this machine's, as they write it."""
    written = metadata.get("modelspec.date", "")
    try:
        return plausible(datetime.fromisoformat(written).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def modelspec_parents(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Titles of the models that a model was merged from, by the rules of ModelSpec; a title with
    a comma in it is not told from two."""
    titles = metadata.get("modelspec.merged_from", "").split(", ")
    return tuple(dict.fromkeys(title for title in titles if title and title != "None"))
