"""git's output, read as it comes: rows of a long answer, and objects by their names.

Only for reading. Whatever a repository's configuration says or lacks, nothing is fetched and no
program that it names is run; and nothing longer than the caller asked for is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

from loragit.git import command
from loragit.git.command import ALONE, GitFailed
from loragit.git.repository import discover, is_partial
from loragit.system.child import Child

MOST = 1 << 20
"""Bytes of a row or an object that are read unless the caller wants more; what loragit writes has a
hundredth of that."""

_QUIETLY = (
    # A log that shows signatures runs gpg.program of the repository's configuration.
    *("-c", "log.showSignature=false"),
    # An object means what its id says: the cache of the history is keyed by that.
    "--no-replace-objects",
)
_PIECE = 1 << 16
_LOT = 4096
"""Bytes of questions that are written before the answers are read: more could fill both pipes
(PIPE_BUF)."""


def rows(*args: str, cwd: Path, most: int = MOST) -> Iterator[bytes]:
    """What ``git ARGS`` prints, split at NUL, as it comes; rows are cut after ``most`` bytes.

    Closing the iterator early kills git. Raises :class:`loragit.git.GitFailed` at the end if git
    failed.
    """
    yield from answer(ask(*args, cwd=cwd), args[0], cwd, most)


def ask(*args: str, cwd: Path) -> Child:
    """Start ``git ARGS`` and return at once; :func:`answer` reads its rows."""
    return command.start_child((*_QUIETLY, *args), cwd, fed=False, errors=False, variables=ALONE)


def answer(child: Child, verb: str, cwd: Path, most: int = MOST) -> Iterator[bytes]:
    """The rows of a git that was started in ``cwd`` for ``verb``, as :func:`rows` gives them."""
    assert child.stdout
    finished = False
    try:
        yield from _split(child.stdout, most)
        finished = True
    finally:
        child.stdout.close()
        if not finished:
            child.kill()
        status = child.wait()
    if status != 0:
        raise GitFailed(
            f"git {verb} failed in {cwd}", hint=f"see what it says: git -C {cwd} {verb} runs"
        )


def _split(stream: IO[bytes], most: int) -> Iterator[bytes]:
    rest = b""
    while piece := stream.read(_PIECE):
        first, *others = piece.split(b"\0")
        rest = rest + first if len(rest) < most else rest
        for other in others:
            yield rest[:most]
            rest = other
    if rest:
        yield rest[:most]


class Object(NamedTuple):
    """An object as git holds it."""

    id: str
    kind: str
    """``blob``, ``tree``, ``commit`` or ``tag``."""
    size: int
    """Bytes."""
    data: bytes | None
    """``None`` if it is longer than the caller wanted."""


class Reader:
    """One ``git cat-file`` for many questions, started with the first.

    Use it as a context manager, or :meth:`close` it.
    """

    def __init__(self, cwd: Path) -> None:
        self._cwd = cwd
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill git; the next question starts it again."""
        child, self._child = self._child, None
        if child is not None:
            assert child.stdin and child.stdout
            with suppress(OSError):
                child.stdin.close()
            child.stdout.close()
            child.kill()
            child.wait()

    def read(self, name: str, most: int = MOST) -> Object | None:
        """The object that ``name`` means (an id, or ``COMMIT:PATH``); ``None`` where there is
        none."""
        (found,) = self.read_all((name,), most)
        return found

    def read_all(self, names: Iterable[str], most: int = MOST) -> Iterator[Object | None]:
        """An answer for each of ``names``, in their order, as :meth:`read` gives it."""
        lot: list[bytes] = []
        for name in names:
            lot.append(_question(name))
            if sum(map(len, lot)) >= _LOT // 2:
                yield from self._answers(lot, most)
                lot = []
        yield from self._answers(lot, most)

    def _answers(self, lot: list[bytes], most: int) -> Iterator[Object | None]:
        done = 0
        while done < len(lot):
            child = self._started()
            assert child.stdin and child.stdout
            try:
                child.stdin.write(b"".join(lot[done:]))
                child.stdin.flush()
            except OSError as error:
                self.close()
                raise GitFailed("git cat-file ended too early", hint="see: git fsck") from error
            whole = False
            try:
                for question in lot[done:]:
                    found, ended = self._answer(child.stdout, question, most)
                    done += 1
                    whole = not ended and (found is None or found.data is not None)
                    yield found
                    if not whole:
                        break
            finally:
                # The rest of what is too long, or of what nobody waits for, is not read.
                if not whole or done < len(lot):
                    self.close()

    def _answer(self, stream: IO[bytes], question: bytes, most: int) -> tuple[Object | None, bool]:
        """The answer, and whether git ended with it: git before 2.44 does where a partial clone
        lacks the object."""
        try:
            return _answer(stream, question, most), False
        except _CutOff:
            if not self._partial:
                raise
            return None, True

    @cached_property
    def _partial(self) -> bool:
        return is_partial(discover(self._cwd).common_dir)

    def _started(self) -> Child:
        if self._child is None:
            args = (*_QUIETLY, "cat-file", "--batch")
            self._child = command.start_child(
                args, self._cwd, fed=True, errors=False, variables=ALONE
            )
        return self._child


class _CutOff(GitFailed):
    """git ended before it answered."""


def _question(name: str) -> bytes:
    """``name`` as one line; what cannot be one is asked for as a name that no object has."""
    line = name.encode("utf-8", "surrogateescape")
    # A path that begins so counts from the current folder, and above the top git gives up.
    relative = line.partition(b":")[2].startswith((b"./", b"../"))
    return (b"-" if b"\n" in line or relative or not line else line) + b"\n"


def _answer(stream: IO[bytes], question: bytes, most: int) -> Object | None:
    head = stream.readline()
    if not head:
        raise _cannot_read(question, _CutOff)
    # Of a commit of another repository newer git says "submodule".
    if head.endswith((b" missing\n", b" ambiguous\n", b" submodule\n")):
        return None
    about = head.split()
    if not head.endswith(b"\n") or len(about) != 3 or not (head.isascii() and about[2].isdigit()):
        raise _cannot_read(question)
    identity, kind, size = about[0].decode(), about[1].decode(), int(about[2])
    if size > most:
        return Object(identity, kind, size, None)
    # The size is in an object's first bytes: git promises it before it finds the rest damaged.
    data = stream.read(size + 1)
    if len(data) != size + 1:
        raise _cannot_read(question)
    return Object(identity, kind, size, data[:-1])


def _cannot_read(question: bytes, kind: type[GitFailed] = GitFailed) -> GitFailed:
    return kind(
        f"git cannot read {question.decode(errors='replace').strip()}", hint="git fsck tells more"
    )
