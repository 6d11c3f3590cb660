"""Git LFS pointers: the few lines that stand in a working tree for a file that was never
downloaded."""

from __future__ import annotations

from typing import NamedTuple

VERSION_LINE = b"version https://git-lfs.github.com/spec/v1"
"""How every pointer begins (git-lfs, docs/spec.md)."""

MAX_BYTES = 1024
"""A pointer is shorter than this (git-lfs, docs/spec.md); reading so much of a file is enough to
tell."""

_HEX = frozenset("0123456789abcdef")


class LfsPointer(NamedTuple):
    """What a pointer says about the file it stands for."""

    oid: str
    """sha256 of the whole file, 64 hex digits."""
    size: int
    """Bytes."""


def is_pointer_prefix(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (42 bytes are enough) may be a pointer. Costs
    nothing."""
    return head.startswith(VERSION_LINE)


def parse_pointer(data: bytes) -> LfsPointer | None:
    """The pointer that a file with the content ``data`` is; ``None`` where it is anything else.

    ``data`` is the whole file, or at least its first :data:`MAX_BYTES` bytes.
    """
    if len(data) >= MAX_BYTES or not is_pointer_prefix(data):
        return None
    # Importing dulwich costs more than looking at ten thousand files, and hardly a file gets here.
    from dulwich.lfs import LFSPointer

    found = LFSPointer.from_bytes(data)
    # dulwich takes any text as an oid, and its own check lets `0x` and underscores pass.
    if found is None or len(found.oid) != 64 or not _HEX.issuperset(found.oid):
        return None
    return LfsPointer(found.oid, found.size)
