"""Words for people: texts made safe to show, numbers with units, the width of a text in a terminal.

All are pure functions: no clock, no locale. Nothing here knows what a run is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

# Line separators, and Unicode's Bidi_Control characters, which show a text in another order than
# that in which it is read.
DIRECTING = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
# Two names must not look the same because they differ only in what no terminal shows. Joiners are
# left out: some scripts and emoji need them.
_UNSEEN = (
    "\u00ad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f"
)
# C0, DEL and C1, and what directs writing: the characters that a terminal may obey. For a character
# class of ``re``.
CONTROL = rf"\x00-\x1f\x7f-\x9f{DIRECTING}"
_MADE_VISIBLE = re.compile(f"[{CONTROL}{_UNSEEN}]")
_NO_BYTE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs, except those that stand for a byte that is not UTF-8; JSON can hold
them."""


def shown(text: str) -> str:
    """Return ``text`` with its control characters visible, so that it is one line and no terminal
    obeys it.

    ``"a\\x1b[2Jb\\n"`` becomes ``a\\x1b[2Jb\\x0a``. The result can be encoded, and showing it again
    changes nothing.
    """
    if text.isprintable():
        return text
    whole = _NO_BYTE.sub(lambda match: f"\\x{ord(match[0]):04x}", text)
    printable = whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _MADE_VISIBLE.sub(lambda match: f"\\x{ord(match[0]):02x}", printable)


def home_as_tilde(text: str, home: str) -> str:
    """Return ``text`` with ``~`` for the home folder wherever a path under it begins."""
    return home_folder(home).sub("~", text)


def home_folder(home: str) -> re.Pattern[str]:
    """Return a pattern for ``home`` wherever it, or a path under it, begins.

    It matches nothing if ``home`` is empty or ``/``.
    """
    if home in ("", "/"):
        return re.compile("(?!)")
    # Not in the middle of a path: /mnt/home/ada is not under /home/ada.
    return re.compile(r"(?:(?<=file://)|(?<![\w./~-]))" + re.escape(home.rstrip("/")) + r"(?=/|$)")


def without_credentials(url: str) -> str:
    """Return ``url`` without its password; over HTTP also without the user, which is often a
    token."""
    url = re.sub(r"^(https?://)[^/]*@", r"\1", url)
    return re.sub(r"^([\w+.-]+://[^/:@]*):[^/]*@", r"\1@", url)


def sha1(data: bytes) -> str:
    """Return the 40 hex digits that ``sha1sum`` prints, of the bytes alone."""
    import hashlib

    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def count(number: int, noun: str) -> str:
    """Return ``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def more(total: int, shown: int) -> str:
    """``and 4 more`` where ``shown`` of ``total`` are shown; empty where all are."""
    return f"and {total - shown} more" if total > shown else ""


def listed(items: Sequence[str], most: int) -> str:
    """``a, b, c and 4 more``: at most ``most`` of ``items``."""
    return " ".join(filter(None, (", ".join(items[:most]), more(len(items), most))))


def size(number: int) -> str:
    """Return bytes in the units that disks are sold in: ``1.4 GB``, ``218 MB``, ``0 MB``."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def duration(seconds: int) -> str:
    """Return ``45 s``, ``42 min``, ``3 h 5 min``."""
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def timestamp(moment: datetime) -> str:
    """Return UTC to the second: ``2026-11-23T17:20:30Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def width(text: str) -> int:
    """Columns of a terminal that ``text`` takes, as :func:`letter_width` counts them."""
    return len(text) if text.isascii() else sum(map(letter_width, text))


@lru_cache(maxsize=4096)
def letter_width(letter: str) -> int:
    """Columns of a terminal that a character takes: 2 for those of East Asia, 0 for what combines
    with the one before."""
    from unicodedata import category, east_asian_width

    if category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(letter) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """Return ``text``; if it is wider than ``columns``, with ``…`` in the place of its end."""
    if width(text) <= columns:
        return text
    room = columns - 1
    for number, letter in enumerate(text):
        room -= width(letter)
        if room < 0:
            return text[:number].rstrip() + "…" if columns > 0 else ""
    raise AssertionError("a text that is too wide has a letter that is")
