"""Telling an LFS pointer from the file it stands for."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loragit.dataset.lfs import (
    MAX_BYTES,
    VERSION_LINE,
    LfsPointer,
    is_pointer_prefix,
    parse_pointer,
)

OID = hashlib.sha256(b"an image").hexdigest()
CONTENT = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % OID.encode()


def test_a_pointer_tells_the_hash_and_the_size_of_its_file() -> None:
    assert parse_pointer(CONTENT) == LfsPointer(OID, 12345)


def test_a_pointer_with_an_extension_is_still_a_pointer() -> None:
    version, rest = CONTENT.split(b"\n", 1)
    assert parse_pointer(version + b"\next-0-foo sha256:" + b"0" * 64 + b"\n" + rest) == LfsPointer(
        OID, 12345
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        VERSION_LINE,
        VERSION_LINE + b"\n",
        b" " + CONTENT,
        CONTENT.replace(b"oid sha256:", b"oid md5:"),
        CONTENT.replace(OID.encode(), b"abc"),
        CONTENT.replace(OID.encode(), b"0x" + OID[2:].encode()),
        CONTENT.replace(OID.encode(), OID.upper().encode()),
        CONTENT.replace(b"size 12345", b"size many"),
        CONTENT.replace(b"size 12345\n", b""),
        CONTENT.replace(b"\noid", b"\n\xff\xfe\noid"),
        CONTENT + b"x" * MAX_BYTES,
    ],
)
def test_what_is_no_whole_pointer_is_none(data: bytes) -> None:
    assert parse_pointer(data) is None


def test_the_first_bytes_tell_whether_a_file_may_be_a_pointer() -> None:
    assert is_pointer_prefix(CONTENT[:64])
    assert not is_pointer_prefix(CONTENT[:20])
    assert not is_pointer_prefix(b"\x89PNG" + CONTENT)


@settings(max_examples=50)
@given(st.binary(max_size=200))
@example(b"\noid sha256:\nsize ")
def test_any_bytes_after_the_first_line_are_a_pointer_or_none(rest: bytes) -> None:
    found = parse_pointer(VERSION_LINE + rest)
    assert found is None or (len(found.oid) == 64 and found.size >= 0)


def test_looking_at_an_image_does_not_load_dulwich() -> None:
    script = (
        "import sys; from loragit.dataset.lfs import parse_pointer; "
        "assert parse_pointer(bytes(500)) is None; "
        "sys.exit(any(name.startswith('dulwich') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
