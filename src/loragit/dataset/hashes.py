"""SHA-256 of many files, each of which is read once for as long as it stays the same.

Names are plain ``str`` as :mod:`os` gives them (surrogateescape), so that any bytes will do.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit.dataset.files import CannotRead, failure_reason, open_folder

MARGIN_NS = 2_000_000_000
"""A file's times are trusted once they are this old. Two writes within one tick of the file
system's clock (2 s on FAT, the coarsest in use) leave the same times, and the second could
otherwise go unnoticed (git's "racily clean")."""

_BUFFER = 1 << 20
"""Bytes read at once. They fit a core's own cache; larger buffers were no faster."""

_WORTH_A_THREAD = 1 << 20
"""Bytes that take longer to hash than a thread takes to start."""

_MAX_THREADS = 16
"""Above this, threads wait for the interpreter more than they hash."""

_BIG_BITS = 24
"""Files of 2**24 bytes and more come first, so that no thread starts with the longest one last."""


_HEADER = b"loragit-hashes 1 "


class HashedFile(NamedTuple):
    """A file's content, named by its hash."""

    name: str
    """As the caller gave it: relative to the folder."""
    size: int
    """Bytes that were hashed."""
    sha256: str
    """64 hex digits."""


class HashCache:
    """Hashes that were computed before, on disk: one file for each folder that was hashed.

    It only saves time. If its folder cannot be made, read or written, or its content is damaged,
    everything is hashed again without a message. Several processes may use it at once; the last one
    to write wins.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is made, with its parents, when there is something to write for the first
        time."""
        self._folder = folder

    def load(self, folder: str) -> dict[str, tuple[str, str]]:
        """Return stamp (see :func:`file_stamp`) and SHA-256 by file name, for all that is known of
        ``folder``."""
        try:
            data = self._path(folder).read_bytes()
        except OSError:
            return {}
        head, _, body = data.partition(b"\n")
        fields = os.fsdecode(body).split("\0")
        if head != _HEADER + _hex(body) or len(fields) % 3:
            return {}
        return dict(zip(fields[0::3], zip(fields[1::3], fields[2::3], strict=True), strict=True))

    def store(self, folder: str, entries: Mapping[str, tuple[str, str]]) -> None:
        """Replace all that is known of ``folder``."""
        # NUL is the only byte that no file name holds.
        body = os.fsencode(
            "\0".join(f"{name}\0{key}\0{digest}" for name, (key, digest) in entries.items())
        )
        path = self._path(folder)
        unfinished = path.with_suffix(f".{os.urandom(8).hex()}")
        try:
            # Names of files may be private.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.write_bytes(_HEADER + _hex(body) + b"\n" + body)
            unfinished.replace(path)
        except OSError:
            _remove(unfinished)

    def _path(self, folder: str) -> Path:
        return self._folder / os.fsdecode(_hex(os.fsencode(folder)))


def hash_files(folder: Path, names: Sequence[str], cache: HashCache) -> tuple[HashedFile, ...]:
    """Hash the files ``names``, relative to ``folder``, in that order; links are followed.

    A file is read only if its stamp differs from what the cache knows, or if its times are so
    recent that a later write could leave the same ones. A file that changes while it is read is
    read once more and not cached. Raises :class:`CannotRead`, naming all that cannot be read.
    """
    return hash_and_stamp(folder, names, cache)[0]


def hash_and_stamp(
    folder: Path, names: Sequence[str], cache: HashCache
) -> tuple[tuple[HashedFile, ...], tuple[str, ...]]:
    """Do as :func:`hash_files`; return each file's :func:`file_stamp` as well, as it was hashed."""
    place = str(folder.absolute())
    known = cache.load(place)
    directory = open_folder(folder)
    try:
        queue = _HashQueue(directory, names)
        queue.take_known(known)
        queue.work_off()
    finally:
        os.close(directory)
    if queue.failures:
        order = {name: number for number, name in enumerate(names)}
        raise CannotRead(str(folder), sorted(queue.failures, key=lambda failure: order[failure[0]]))
    if queue.fresh:
        wanted = frozenset(names)
        others = {
            name: entry
            for name, entry in known.items()
            if name in wanted or os.path.lexists(f"{place}/{name}")
        }
        cache.store(place, others | queue.fresh)
    every = range(len(names))
    return tuple(map(queue.hashed.__getitem__, every)), tuple(map(queue.stamps.__getitem__, every))


def hash_file(path: Path, cache: HashCache) -> HashedFile:
    """Hash one file, such as a base model of many GB; ``name`` of the result is its file name.

    Works as :func:`hash_files`; all such files share one file of the cache.
    """
    absolute = path.absolute()
    found = hash_files(Path(absolute.anchor), [str(absolute.relative_to(absolute.anchor))], cache)[
        0
    ]
    return HashedFile(path.name, found.size, found.sha256)


class _HashQueue:
    """One call of :func:`hash_files`: a queue of files, worked off by several threads at once.

    hashlib and the system calls release the interpreter's lock, so threads are as fast as processes
    would be. Each has one buffer of its own, so memory does not grow with the size of a file.
    """

    def __init__(self, directory: int, names: Sequence[str]) -> None:
        self.hashed: dict[int, HashedFile] = {}
        """By position in ``names``."""
        self.stamps: dict[int, str] = {}
        self.fresh: dict[str, tuple[str, str]] = {}
        """What the cache can be given: stamp and SHA-256 by name."""
        self.failures: list[tuple[str, str]] = []
        self._directory = directory
        self._names = names
        # Taken before the first stat(2): whatever is written later has times that are not older.
        self._trusted_ns = time.time_ns() - MARGIN_NS
        self._queue: deque[tuple[int, os.stat_result]] = deque()
        self._stopped = False

    def take_known(self, known: Mapping[str, tuple[str, str]]) -> None:
        """Take from ``known`` what still holds, and queue the rest."""
        waiting = []
        for number, name in enumerate(self._names):
            try:
                state = os.stat(name, dir_fd=self._directory)
            except (OSError, ValueError) as error:
                self.failures.append((name, failure_reason(error)))
                continue
            key, digest = known.get(name, ("", ""))
            if key == file_stamp(state):
                self.hashed[number], self.stamps[number] = (
                    HashedFile(name, state.st_size, digest),
                    key,
                )
            elif stat.S_ISREG(state.st_mode):
                waiting.append((number, state))
            else:
                # Opening a pipe would wait for its other end forever.
                self.failures.append((name, "not a file"))
        waiting.sort(key=lambda job: -(job[1].st_size >> _BIG_BITS))
        self._queue.extend(waiting)

    def work_off(self) -> None:
        """Hash all that is queued. Return once every thread has ended, even if interrupted."""
        from threading import Thread

        size = sum(state.st_size for _, state in self._queue)
        wanted = min(_processors(), len(self._queue), size // _WORTH_A_THREAD)
        helpers = [Thread(target=self._work) for _ in range(wanted - 1)]
        started = []
        try:
            for helper in helpers:
                helper.start()
                started.append(helper)
            self._work()
            for helper in started:
                helper.join()
        finally:
            # Only after an interruption is one still at work; its folder is about to be closed.
            self._stopped = True
            for helper in started:
                helper.join()

    def _work(self) -> None:
        buffer = bytearray(_BUFFER)
        while not self._stopped:
            try:
                number, state = self._queue.popleft()
            except IndexError:
                return
            try:
                self._hash(number, state, buffer)
            except OSError as error:
                self.failures.append((self._names[number], failure_reason(error)))

    def _hash(self, number: int, before: os.stat_result, buffer: bytearray) -> None:
        name = self._names[number]
        key = file_stamp(before)
        digest, size, after = self._hash_content(name, before.st_size, buffer)
        if file_stamp(after) != key:
            digest, size, after = self._hash_content(name, after.st_size, buffer)
        elif max(before.st_mtime_ns, before.st_ctime_ns) < self._trusted_ns:
            self.fresh[name] = (key, digest)
        self.hashed[number], self.stamps[number] = (
            HashedFile(name, size, digest),
            file_stamp(after),
        )

    def _hash_content(
        self, name: str, expected: int, buffer: bytearray
    ) -> tuple[str, int, os.stat_result]:
        """Return hash, size and, taken afterwards, status of the file.

        At ``expected`` bytes reading stops, which saves a read(2) to find the end.
        """
        from hashlib import sha256

        handle = os.open(name, os.O_RDONLY, dir_fd=self._directory)
        try:
            view, target = memoryview(buffer), [buffer]
            size = os.readv(handle, target)
            hashed = sha256(view[:size])
            while size != expected and not self._stopped:
                count = os.readv(handle, target)
                if count == 0:
                    break
                hashed.update(view[:count])
                size += count
            return hashed.hexdigest(), size, os.fstat(handle)
        finally:
            os.close(handle)


def file_stamp(state: os.stat_result) -> str:
    """Return what changes whenever a file's content does, as far as its file system says."""
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino} {state.st_dev}"


def _processors() -> int:
    """Return how many threads are worth starting: the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    return min(os.cpu_count() or 1, _MAX_THREADS)


def _remove(path: Path) -> None:
    from contextlib import suppress

    with suppress(OSError):
        path.unlink()


def _hex(data: bytes) -> bytes:
    from hashlib import sha256

    return sha256(data).hexdigest().encode()
