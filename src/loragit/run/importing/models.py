"""Model files, each read once: within a process, and their hashes also from one process to the
next."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock

from loragit.dataset.hashes import MARGIN_NS, HashCache, file_stamp
from loragit.trainers.safetensors import Hashes, Header, hash_file, read_header

_PLACE = "\0models"
"""Where the cache keeps them; no folder can be called so."""


class Models:
    """Headers and hashes of model files, by path. May be asked by several threads at once."""

    def __init__(self, cache: HashCache) -> None:
        self._cache = cache
        self._known = cache.load(_PLACE)
        self._fresh: dict[str, tuple[str, str]] = {}
        self._headers: dict[Path, Header] = {}
        self._lock = Lock()

    def header(self, path: Path) -> Header:
        """As :func:`loragit.trainers.safetensors.read_header`."""
        if path not in self._headers:
            self._headers[path] = read_header(path)
        return self._headers[path]

    def hashes(self, path: Path) -> Hashes:
        """As :func:`loragit.trainers.safetensors.hash_file`; a file is read again only where it may
        have changed."""
        trusted_ns = time.time_ns() - MARGIN_NS
        before = path.stat()
        place = str(path.absolute())
        key, digests = self._known.get(place, ("", ""))
        if key == file_stamp(before):
            sha256, _, payload = digests.partition(" ")
            return Hashes(sha256, payload or None, before.st_size)
        found = hash_file(path)
        if (
            file_stamp(path.stat()) == file_stamp(before)
            and max(before.st_mtime_ns, before.st_ctime_ns) < trusted_ns
        ):
            with self._lock:
                self._fresh[place] = (
                    file_stamp(before),
                    f"{found.sha256} {found.payload_sha256 or ''}",
                )
        return found

    def keep(self) -> None:
        """Write down what was learnt, for the next process; files that are gone are forgotten."""
        if self._fresh:
            still = {place: entry for place, entry in self._known.items() if os.path.lexists(place)}
            self._cache.store(_PLACE, still | self._fresh)
