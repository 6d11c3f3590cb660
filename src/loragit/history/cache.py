"""What was read of a history before, in the user's cache folder: it saves time and is never trusted
over git.

Commits are remembered by the tip that leads to them, what a sealed tag says by the tag object, and
what changed from one run to another by the two commits: each is what its id says for ever. How a
run stands is not remembered.
"""

from __future__ import annotations

import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path

from loragit.version import __version__

_VERSIONS = f"loragit-history 2 {__version__} ".encode()
"""Another loragit may put a row, or the words of a change, together otherwise."""
_SPARE_ENTRIES = 1000
"""Entries that may lie unused beside those in use before they are dropped."""


class HistoryCache:
    """One file for one repository. Damaged, unreadable or of another version, it is empty.

    Several processes may use it at once; the last one to write wins, and the others only lose time.
    """

    def __init__(self, common_dir: Path) -> None:
        self._common_dir = common_dir
        self.tip = ""
        """The commit whose history :attr:`rows` is; empty where nothing is known."""
        self.rows: list[str] = []
        """A row a run or revert, newest first, without NUL: see :mod:`loragit.history.branch`."""
        self.briefs: dict[str, str] = {}
        """By tag object: see :mod:`loragit.history.compare.cached`."""
        self.changes: dict[str, str] = {}
        """By two commits: see :mod:`loragit.history.compare.cached`."""
        self._saved_sizes = self._sizes()
        self._load()

    def set_rows(self, tip: str, rows: list[str]) -> None:
        """Remember ``rows`` as the history of ``tip``."""
        self.tip, self.rows = tip, rows

    def _sizes(self) -> tuple[str, int, int]:
        return self.tip, len(self.briefs), len(self.changes)

    def _path(self) -> Path:
        name = zlib.crc32(os.fsencode(self._common_dir))
        return Path(_cache_folder(), "history", f"{name:08x}-{len(str(self._common_dir))}")

    def _load(self) -> None:
        try:
            data = self._path().read_bytes()
        except OSError:
            return
        head, _, body = data.partition(b"\n")
        if head != _header(body):
            return
        whose, *rest = body.decode("utf-8", "surrogateescape").split("\0")
        # Two folders may share a file's name; the last one that was read has it.
        if whose != str(self._common_dir) or len(rest) < 3:
            return
        self.tip, *rest = rest
        runs, briefs = int(rest[0]), int(rest[1])
        self.rows = rest[2 : 2 + runs]
        self.briefs = dict(_split_pairs(rest[2 + runs : 2 + runs + briefs]))
        self.changes = dict(_split_pairs(rest[2 + runs + briefs :]))
        self._saved_sizes = self._sizes()

    @property
    def is_unsaved(self) -> bool:
        """Whether there is anything that is not written down."""
        return self._sizes() != self._saved_sizes

    def save(self) -> None:
        """Write down what is new; nothing where that cannot be done, or nothing is."""
        if not self.is_unsaved:
            return
        head = [str(self._common_dir), self.tip, str(len(self.rows)), str(len(self.briefs))]
        pairs = [
            f"{key}\x1f{value}"
            for known in (self.briefs, self.changes)
            for key, value in known.items()
        ]
        body = "\0".join([*head, *self.rows, *pairs]).encode("utf-8", "surrogateescape")
        path = self._path()
        unfinished = path.with_suffix(f".{os.urandom(8).hex()}")
        try:
            # What somebody trained on can be private.
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.write_bytes(_header(body) + b"\n" + body)
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
        self._saved_sizes = self._sizes()

    def drop_unused(self, tags: set[str], pairs: set[str]) -> None:
        """Drop what is not of the tag objects ``tags`` and the ``pairs`` of commits, once that is
        most of it."""
        for known, used in ((self.briefs, tags), (self.changes, pairs)):
            if len(known) > 2 * len(used) + _SPARE_ENTRIES:
                for key in known.keys() - used:
                    del known[key]


def _cache_folder() -> str:
    """The user's cache folder, as platformdirs has it; on Linux without the 10 ms that importing it
    takes."""
    if sys.platform == "linux" and (told := os.environ.get("XDG_CACHE_HOME", "")).startswith("/"):
        return f"{told}/loragit"
    if sys.platform == "linux" and not told and os.environ.get("HOME", "").startswith("/"):
        return f"{os.environ['HOME']}/.cache/loragit"
    import platformdirs

    return platformdirs.user_cache_dir("loragit")


def _header(body: bytes) -> bytes:
    return _VERSIONS + f"{zlib.adler32(body):08x}".encode()


def _split_pairs(rows: list[str]) -> list[list[str]]:
    return [row.split("\x1f", 1) for row in rows if "\x1f" in row]
