"""Git LFS pointers: the few lines that stand in a work tree for a file that was never downloaded.

For example::

    version https://git-lfs.github.com/spec/v1
    oid sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
    size 5
"""

from __future__ import annotations

from typing import NamedTuple

VERSION_LINE = b"version https://git-lfs.github.com/spec/v1"
"""How every pointer begins (git-lfs, docs/spec.md)."""

MAX_BYTES = 1024
"""A pointer is shorter than this (git-lfs, docs/spec.md), so this much of a file is enough."""

_HEX = frozenset("0123456789abcdef")


class LfsPointer(NamedTuple):
    """What a pointer says of the file that it stands for."""

    oid: str
    """SHA-256 of the whole file, 64 hex digits."""
    size: int
    """Bytes."""


def is_pointer_prefix(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (42 bytes are enough) may be a pointer; a quick
    test."""
    return head.startswith(VERSION_LINE)


def parse_pointer(data: bytes) -> LfsPointer | None:
    """Return the pointer that ``data`` is; ``None`` if it is anything else.

    ``data`` is a whole file, or at least its first :data:`MAX_BYTES` bytes.
    """
    if len(data) >= MAX_BYTES or not is_pointer_prefix(data):
        return None
    # Importing dulwich takes longer than testing ten thousand files, and hardly any file gets here.
    from dulwich.lfs import LFSPointer

    found = LFSPointer.from_bytes(data)
    # dulwich accepts any text as an oid, and its own check lets `0x` and underscores pass.
    if found is None or len(found.oid) != 64 or not _HEX.issuperset(found.oid):
        return None
    return LfsPointer(found.oid, found.size)
