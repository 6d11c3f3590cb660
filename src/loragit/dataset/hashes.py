"""sha256 of many files, each read once for as long as it stays the same; digests in sha256sum's
format.

Names are plain ``str`` as :mod:`os` gives them, so that a name of any bytes goes through
(surrogateescape).
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.text import listed

MARGIN_NS = 2_000_000_000
"""A time stamp is trusted once it is this old: two writes within one tick of the file system's
clock (2 s on FAT, the coarsest in use) leave the same stamp, and the second could otherwise go
unseen (git's "racily clean")."""

_BUFFER = 1 << 20
"""Bytes read at once. Fits the caches near a core; larger ones were no faster."""

_WORTH_A_THREAD = 1 << 20
"""Bytes that take longer to hash than a thread takes to start."""

_MAX_THREADS = 16
"""Above this, threads wait for the interpreter more than they hash."""

_BIG_BITS = 24
"""Files of 2**24 bytes and more are begun first, so that no thread starts the longest one last."""

_NAMED = 10
"""Files that an error names; the rest are counted."""

_HEADER = b"loragit-hashes 1 "


class Fingerprint(NamedTuple):
    """A file's content, named by its hash."""

    name: str
    """As it was asked for: relative to the folder."""
    size: int
    """Bytes that were hashed."""
    sha256: str
    """64 hex digits."""


class CannotRead(LoragitError):
    """Files or a folder that vanished, may not be read, or are something else than a file."""

    def __init__(self, folder: str, reasons: Sequence[tuple[str, str]]) -> None:
        """``reasons`` holds, for each file, its name relative to ``folder`` ("" for the folder
        itself) and why."""
        where = [
            (_shown(str(Path(folder, name)) if len(reasons) == 1 else name), why)
            for name, why in reasons
        ]
        named = listed([f"{name} ({why})" for name, why in where], _NAMED)
        many = f"{len(where)} files of {_shown(folder)}: " if len(where) > 1 else ""
        super().__init__(
            f"cannot read {many}{named}",
            hint="see that they are still there and that you may read them",
        )


class Cache:
    """Hashes that were computed before, on disk, one file for each folder that was hashed.

    It only saves time: where its folder cannot be made, read or written, or its content is damaged,
    everything is hashed again and nothing is said. Several processes may use it at once; the last
    one to write wins.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is made, with its parents, when there is first something to write."""
        self._folder = folder

    def load(self, folder: str) -> dict[str, tuple[str, str]]:
        """File name to identity (see :func:`identity`) and sha256, for what is known of
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
        # NUL is the one byte that no file name holds.
        body = os.fsencode(
            "\0".join(f"{name}\0{key}\0{digest}" for name, (key, digest) in entries.items())
        )
        path = self._path(folder)
        unfinished = path.with_suffix(f".{os.urandom(8).hex()}")
        try:
            # Names of files can be private.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.write_bytes(_HEADER + _hex(body) + b"\n" + body)
            unfinished.replace(path)
        except OSError:
            _remove(unfinished)

    def _path(self, folder: str) -> Path:
        return self._folder / os.fsdecode(_hex(os.fsencode(folder)))


def list_files(folder: Path) -> list[str]:
    """Names of the files directly in ``folder``, sorted by their bytes; a link to a file is one
    too.

    Raises :class:`CannotRead` where the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return _sorted(
                [e.name for e in entries if e.is_file(follow_symlinks=False) or _is_file(e)]
            )
    except OSError as error:
        raise CannotRead(str(folder), [("", _why(error))]) from error


def _sorted(names: list[str]) -> list[str]:
    """By their bytes. Text sorts as its UTF-8 does, unless it stands for bytes that are none
    (surrogates)."""
    return sorted(names) if "".join(names).isascii() else sorted(names, key=os.fsencode)


def read_many(folder: Path, names: Iterable[str]) -> list[bytes]:
    """Whole content of each file, in the order of ``names`` (relative to ``folder``); for small
    files.

    Raises :class:`CannotRead`, naming all that cannot be read.
    """
    contents: list[bytes] = []
    failures: list[tuple[str, str]] = []
    directory = _open_folder(folder)
    try:
        for name in names:
            try:
                contents.append(_read_whole(name, directory))
            except (OSError, ValueError) as error:
                failures.append((name, _why(error)))
    finally:
        os.close(directory)
    if failures:
        raise CannotRead(str(folder), failures)
    return contents


def fingerprint(folder: Path, names: Sequence[str], cache: Cache) -> tuple[Fingerprint, ...]:
    """Hash the files ``names``, relative to ``folder``, in that order; links are followed.

    A file is read only where size, time of modification and of change, inode or device differ from
    what the cache knows, or where its times are too young to be told apart from a later write. A
    file that changes while it is read is read once more and not cached. Raises :class:`CannotRead`,
    naming all that cannot be read.
    """
    return seen(folder, names, cache)[0]


def seen(
    folder: Path, names: Sequence[str], cache: Cache
) -> tuple[tuple[Fingerprint, ...], tuple[str, ...]]:
    """As :func:`fingerprint`, and each file's :func:`identity` when it was hashed."""
    place = str(folder.absolute())
    known = cache.load(place)
    directory = _open_folder(folder)
    try:
        hashing = _Hashing(directory, names)
        hashing.look(known)
        hashing.run()
    finally:
        os.close(directory)
    if hashing.failures:
        order = {name: number for number, name in enumerate(names)}
        raise CannotRead(
            str(folder), sorted(hashing.failures, key=lambda failure: order[failure[0]])
        )
    if hashing.fresh:
        asked = frozenset(names)
        others = {
            name: entry
            for name, entry in known.items()
            if name in asked or os.path.lexists(f"{place}/{name}")
        }
        cache.store(place, others | hashing.fresh)
    every = range(len(names))
    return tuple(map(hashing.found.__getitem__, every)), tuple(
        map(hashing.identities.__getitem__, every)
    )


def fingerprint_file(path: Path, cache: Cache) -> Fingerprint:
    """Hash one file, such as a base model of many GB; ``name`` of the result is its file name.

    As :func:`fingerprint`; all such files share one file of the cache.
    """
    absolute = path.absolute()
    found = fingerprint(Path(absolute.anchor), [str(absolute.relative_to(absolute.anchor))], cache)[
        0
    ]
    return Fingerprint(path.name, found.size, found.sha256)


class _Hashing:
    """One call of :func:`fingerprint`: a queue of files, worked off by several threads at once.

    hashlib and the system calls let go of the interpreter's lock, so that threads reach what as
    many processes would; each has one buffer of its own, so that memory does not grow with the size
    of a file.
    """

    def __init__(self, directory: int, names: Sequence[str]) -> None:
        self.found: dict[int, Fingerprint] = {}
        """By position in ``names``."""
        self.identities: dict[int, str] = {}
        self.fresh: dict[str, tuple[str, str]] = {}
        """What the cache may learn."""
        self.failures: list[tuple[str, str]] = []
        self._directory = directory
        self._names = names
        # Before the first look at any file: whatever is written later has a stamp that is not
        # older.
        self._trusted_ns = time.time_ns() - MARGIN_NS
        self._queue: deque[tuple[int, os.stat_result]] = deque()
        self._stopped = False

    def look(self, known: Mapping[str, tuple[str, str]]) -> None:
        """Take from ``known`` what is still true and queue the rest."""
        waiting = []
        for number, name in enumerate(self._names):
            try:
                state = os.stat(name, dir_fd=self._directory)
            except (OSError, ValueError) as error:
                self.failures.append((name, _why(error)))
                continue
            key, digest = known.get(name, ("", ""))
            if key == identity(state):
                self.found[number], self.identities[number] = (
                    Fingerprint(name, state.st_size, digest),
                    key,
                )
            elif stat.S_ISREG(state.st_mode):
                waiting.append((number, state))
            else:
                # Opening a pipe would wait for its other end for ever.
                self.failures.append((name, "not a file"))
        waiting.sort(key=lambda job: -(job[1].st_size >> _BIG_BITS))
        self._queue.extend(waiting)

    def run(self) -> None:
        """Work off the queue. Returns when every thread has ended, also where it is interrupted."""
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
            # Only an interruption finds one still at work, on a folder that is about to be closed.
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
                self.failures.append((self._names[number], _why(error)))

    def _hash(self, number: int, before: os.stat_result, buffer: bytearray) -> None:
        name = self._names[number]
        key = identity(before)
        digest, size, after = self._read(name, before.st_size, buffer)
        if identity(after) != key:
            digest, size, after = self._read(name, after.st_size, buffer)
        elif max(before.st_mtime_ns, before.st_ctime_ns) < self._trusted_ns:
            self.fresh[name] = (key, digest)
        self.found[number], self.identities[number] = (
            Fingerprint(name, size, digest),
            identity(after),
        )

    def _read(self, name: str, expected: int, buffer: bytearray) -> tuple[str, int, os.stat_result]:
        """Hash, size and, taken afterwards, state of the file. ``expected`` bytes spare a look for
        its end."""
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


def identity(state: os.stat_result) -> str:
    """What changes whenever a file's content does, as far as its file system tells."""
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino} {state.st_dev}"


def _processors() -> int:
    """Threads worth having: the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    return min(os.cpu_count() or 1, _MAX_THREADS)


def _open_folder(folder: Path) -> int:
    try:
        # O_PATH: a folder that may be passed through, though not listed, is enough.
        return os.open(folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    except OSError as error:
        raise CannotRead(str(folder), [("", _why(error))]) from error


def _read_whole(name: str, directory: int) -> bytes:
    handle = os.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        parts = []
        while part := os.read(handle, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself, or through a folder that may not be entered
        return False


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # Whatever Python makes of a NUL: its words differ.
    return str(error) if isinstance(error, UnicodeError) else "embedded null byte"


def _shown(name: str) -> str:
    """``name`` as one line that any terminal can show."""
    return name if name.isprintable() else ascii(name)


def _remove(path: Path) -> None:
    from contextlib import suppress

    with suppress(OSError):
        path.unlink()


def _hex(data: bytes) -> bytes:
    from hashlib import sha256

    return sha256(data).hexdigest().encode()
