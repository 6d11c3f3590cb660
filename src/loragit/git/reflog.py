"""Reads reflogs: what a ref held before, and why it moved.

``git reflog`` leaves out the commit that a line moved from, and whatever is not in the repository
any more; what the branch lost is known from these alone. So this is the one place that reads the
files. gitrepository-layout(5) describes them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MOST = 1 << 26
"""Bytes of a reflog that are read at most."""
_LINE = re.compile(r"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) .*> (\d{1,12}) [+-]\d{1,4}(?:\t(.*))?$")


class ReflogLine(NamedTuple):
    """One move of a ref."""

    old: str
    """Zeros if the ref was made; empty if the line cannot be read."""
    new: str
    """Zeros if it was deleted; empty as well."""
    time: int
    """Seconds since 1970, UTC."""
    why: str
    """git's reason or the caller's; empty if none was given."""


def read_reflog(common_dir: Path, ref: str) -> list[ReflogLine]:
    """Return the lines of the reflog of ``ref`` (full name, or ``HEAD``), oldest first; none if no
    reflog is kept. git deletes it together with the ref.

    ``common_dir`` is the folder of git that all work trees share. A line is ``OLD NEW NAME <EMAIL>
    SECONDS ZONE\\tREASON``; of a line of another form only that it is there is known.
    """
    try:
        with (common_dir / "logs" / ref).open("rb") as file:
            rows = file.read(MOST).decode("utf-8", "replace").split("\n")
    except OSError:
        return []
    return [_line(row) for row in rows if row]


def _line(row: str) -> ReflogLine:
    match = _LINE.match(row)
    return ReflogLine(match[1], match[2], int(match[3]), match[4] or "") if match else _UNKNOWN


_UNKNOWN = ReflogLine("", "", 0, "")
