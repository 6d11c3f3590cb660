"""What was read of a history before, kept in the user's cache folder: it saves time, and git is
always right.

Each entry is keyed by the id of the objects that it was computed from, and so can never be out of
date::

    rows      tip of runs                    every run and revert that it leads to
    outcomes  tag object                     what the sealed tag says, in numbers
    changes   "commit commit"                what changed from the first run to the second

The state of a run depends on refs and processes, which have no such id: it is never cached. The
file holds the texts one after another, separated by NUL::

    loragit-history 3 VERSION CHECKSUM \\n
    common dir, tip, number of rows, number of outcomes, rows..., outcomes..., changes...
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path

from loragit.settings.paths import cache_folder
from loragit.version import __version__

_VERSIONS = f"loragit-history 3 {__version__} ".encode()
"""Of this format and of loragit: another version may compose a row, or the words of a change, in
another way."""
_SPARE_ENTRIES = 1000
"""Unused entries that are kept, beside as many as are in use, before all of them are dropped."""


class HistoryCache:
    """The cache of one repository, one file. It is empty if the file is damaged, unreadable or of
    another version.

    Several processes may use it at once; the last one to write wins, and the others only lose time.
    """

    def __init__(self, common_dir: Path) -> None:
        self._common_dir = common_dir
        self.tip = ""
        """The commit whose history :attr:`rows` is; empty if nothing is cached."""
        self.rows: list[str] = []
        """A row for each run and revert, newest first, without NUL: see
        :mod:`loragit.history.branch`."""
        self.outcomes: dict[str, str] = {}
        """Packed outcome by tag object: see :mod:`loragit.history.compare.cached`."""
        self.changes: dict[str, str] = {}
        """Phrases by two commits: see :mod:`loragit.history.compare.cached`."""
        self._saved_sizes = self._sizes()
        self._load()

    def set_rows(self, tip: str, rows: list[str]) -> None:
        """Cache ``rows`` as the history of ``tip``."""
        self.tip, self.rows = tip, rows

    def _sizes(self) -> tuple[str, int, int]:
        return self.tip, len(self.outcomes), len(self.changes)

    def _path(self) -> Path:
        name = zlib.crc32(os.fsencode(self._common_dir))
        return Path(cache_folder(), "history", f"{name:08x}-{len(str(self._common_dir))}")

    def _load(self) -> None:
        try:
            data = self._path().read_bytes()
        except OSError:
            return
        head, _, body = data.partition(b"\n")
        if head != _header(body):
            return
        whose, *rest = body.decode("utf-8", "surrogateescape").split("\0")
        # Two repositories may share a file name; the last one that was read has it.
        if whose != str(self._common_dir) or len(rest) < 3:
            return
        self.tip, *rest = rest
        runs, outcomes = int(rest[0]), int(rest[1])
        self.rows = rest[2 : 2 + runs]
        self.outcomes = dict(_split_pairs(rest[2 + runs : 2 + runs + outcomes]))
        self.changes = dict(_split_pairs(rest[2 + runs + outcomes :]))
        self._saved_sizes = self._sizes()

    @property
    def is_unsaved(self) -> bool:
        """Whether there is anything that is not in the file yet."""
        return self._sizes() != self._saved_sizes

    def save(self) -> None:
        """Write the file if anything is new. Failure is ignored: only time is lost."""
        if not self.is_unsaved:
            return
        head = [str(self._common_dir), self.tip, str(len(self.rows)), str(len(self.outcomes))]
        pairs = [
            f"{key}\x1f{value}"
            for known in (self.outcomes, self.changes)
            for key, value in known.items()
        ]
        body = "\0".join([*head, *self.rows, *pairs]).encode("utf-8", "surrogateescape")
        path = self._path()
        unfinished = path.with_suffix(f".{os.urandom(8).hex()}")
        try:
            # What somebody trained on may be private.
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.write_bytes(_header(body) + b"\n" + body)
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
        self._saved_sizes = self._sizes()

    def drop_unused(self, tags: set[str], pairs: set[str]) -> None:
        """Drop all but the entries of the tag objects ``tags`` and the ``pairs`` of commits, once
        the others are most of them."""
        for known, used in ((self.outcomes, tags), (self.changes, pairs)):
            if len(known) > 2 * len(used) + _SPARE_ENTRIES:
                for key in known.keys() - used:
                    del known[key]


def _header(body: bytes) -> bytes:
    return _VERSIONS + f"{zlib.adler32(body):08x}".encode()


def _split_pairs(rows: list[str]) -> list[list[str]]:
    return [row.split("\x1f", 1) for row in rows if "\x1f" in row]
