"""``dataset.sha256``: a digest and a path a line, in the format of ``sha256sum``.

An ordinary name stands as it is. A backslash, a line feed or a carriage return in it is escaped,
and a backslash before the digest says so::

    2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  img/00.png
    \\2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  img/a\\nb.png
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from loragit.errors import LoragitError
from loragit.record.values import DatasetFile


class BadDigests(LoragitError):
    """A text that sha256sum did not write."""


def digest_lines(files: Iterable[DatasetFile]) -> bytes:
    """Return the lines that ``sha256sum`` prints for ``files``, sorted by the bytes of their paths.

    A name with a backslash, a line feed or a carriage return is escaped, and its line then begins
    with a backslash (coreutils, "md5sum invocation"). ``sha256sum -c`` reads them back.
    """
    # The quick way, if all is ASCII and nothing has to be escaped: then text sorts as its bytes do.
    ordered = sorted(files)
    if _PLAIN_PATHS.fullmatch("\0".join([path for path, _ in ordered])):
        return "".join([f"{digest}  {path}\n" for path, digest in ordered]).encode()
    rows = sorted((os.fsencode(path), digest) for path, digest in ordered)
    return b"".join([_digest_line(path, digest) for path, digest in rows])


def parse_digest_lines(data: bytes) -> tuple[DatasetFile, ...]:
    """Read back what :func:`digest_lines`, or sha256sum itself, wrote; the order stays.

    Raises :class:`BadDigests`, which names the first line that neither wrote.
    """
    files = []
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else (), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadDigests(
                f"line {number} of the list of hashes is not in sha256sum's format",
                hint="each line is 64 hex digits, two spaces and a file's path",
            )
        escaped, digest, path = match.groups()
        if escaped:
            path = _ESCAPE.sub(lambda escape: _UNESCAPED[escape[0]], path)
        files.append(DatasetFile(os.fsdecode(path), digest.decode()))
    return tuple(files)


_PLAIN_PATHS = re.compile(r"[\0-\x09\x0b\x0c\x0e-\x5b\x5d-\x7f]*")

_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)

_ESCAPE = re.compile(rb"\\[\\nr]")

_UNESCAPED = {rb"\\": b"\\", rb"\n": b"\n", rb"\r": b"\r"}


def _digest_line(path: bytes, digest: str) -> bytes:
    escaped = path.replace(b"\\", rb"\\").replace(b"\n", rb"\n").replace(b"\r", rb"\r")
    mark = b"\\" if escaped != path else b""
    return mark + digest.encode() + b"  " + escaped + b"\n"
