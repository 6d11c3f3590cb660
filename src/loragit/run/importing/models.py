"""Model files, each read once per process; their hashes are also cached between processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock

from loragit.dataset.hashes import MARGIN_NS, HashCache, file_stamp
from loragit.trainers.safetensors import Hashes, Header, hash_file, read_header

_PLACE = "\0models"
"""Key of the models in the cache; no folder can have this name."""


class Models:
    """Headers and hashes of model files, by path. Safe to use from several threads."""

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
        """As :func:`loragit.trainers.safetensors.hash_file`, but a file is read again only if it
        may have changed."""
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
        """Store the new hashes for the next process; drop files that no longer exist."""
        if self._fresh:
            still = {place: entry for place, entry in self._known.items() if os.path.lexists(place)}
            self._cache.store(_PLACE, still | self._fresh)
