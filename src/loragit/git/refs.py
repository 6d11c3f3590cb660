"""Refs: read together, moved by compare-and-swap in one transaction of git's; and which hook
refused that.

git words such a refusal differently from version to version, and a hook prints what it likes. So
git is told to log what it starts (trace2, api-trace2.txt), and the log names the hook.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.git.command import DURABLE, start
from loragit.git.repository import Repository
from loragit.system import durable

_ZERO = "0" * 40


class NotDurable(LoragitError):
    """Something was written, but may not outlast a power cut."""


class Ref(NamedTuple):
    """A ref as it was read."""

    name: str
    object: str
    """What it points at; for an annotated tag the tag object, 40 hex digits."""
    commit: str
    """``object``, peeled."""
    worktree: str
    """Work tree that has it checked out; empty for none."""


class RefsQuestion:
    """Asks git for the refs that match ``patterns`` (as ``git for-each-ref`` takes them)."""

    def __init__(self, *patterns: str, cwd: Path) -> None:
        line = "%(refname)%00%(objectname)%00%(*objectname)%00%(worktreepath)"
        self._question = start("for-each-ref", f"--format={line}", *patterns, cwd=cwd)

    def answer(self) -> dict[str, Ref]:
        """By full name."""
        found: dict[str, Ref] = {}
        for row in self._question.text().split("\n"):
            if row:
                name, target, peeled, worktree = row.split("\0")
                found[name] = Ref(name, target, peeled or target, worktree)
        return found


def read_refs(*patterns: str, cwd: Path) -> dict[str, Ref]:
    """Refs that match ``patterns``, by full name."""
    return RefsQuestion(*patterns, cwd=cwd).answer()


def read_ref(name: str, cwd: Path) -> Ref | None:
    """The ref called ``name``, in full; ``None`` if there is none."""
    return read_refs(name, cwd=cwd).get(name)


class RefUpdate(NamedTuple):
    """One step of a transaction, by compare-and-swap."""

    name: str
    new: str | None
    """``None`` deletes."""
    old: str | None
    """What it must point at now; ``None``: it must not exist."""


def update_refs(
    updates: Iterable[RefUpdate],
    *,
    reason: str,
    cwd: Path,
    begun: Callable[[int], None] | None = None,
    variables: tuple[str, ...] = (),
) -> None:
    """Make all of ``updates`` or none. Raises :class:`GitFailed` if a ref is not what it must be,
    or is locked.

    ``begun`` is called with git's process id before git gets its orders. What a ref points at is on
    the disk before the ref gets its name (from git 2.36 on); :func:`sync_refs` does the rest.
    """
    lines = [
        f"delete {name}\0{old or _ZERO}\0"
        if new is None
        else f"update {name}\0{new}\0{old or _ZERO}\0"
        for name, new, old in updates
    ]
    args = (*DURABLE, "update-ref", "-m", reason, "--create-reflog", "--stdin", "-z")
    question = start(*args, cwd=cwd, data="".join(lines).encode(), variables=variables)
    if begun is not None:
        try:
            begun(question.pid)
        except BaseException:
            question.cancel()
            raise
    question.text()


def sync_refs(names: Iterable[str], repository: Repository) -> None:
    """Return when the refs ``names`` (full) and their reflogs are on the disk; a deleted ref counts
    when its absence is.

    git does not wait for names in folders, and never for reflogs. Raises :class:`NotDurable`.
    """
    top = repository.common_dir
    paths = [top / "packed-refs"]
    for name in names:
        for path in (top / name, top / "logs" / name):
            # From the file to the top; git takes folders away that it leaves empty.
            paths += [path, *(folder for folder in path.parents if folder.is_relative_to(top))]
    try:
        durable.sync_all(paths)
    except OSError as error:
        raise NotDurable(
            f"{error.filename} cannot be written through to the disk: {error.strerror}",
            hint="check the disk",
        ) from error


_REFUSABLE = ("preparing", "prepared")
"""Phases of a transaction in which a hook may refuse it; the first exists from git 2.5x on. In
later phases a hook is only informed."""


class HookWatch(NamedTuple):
    """The log of what one git starts; none if that is not wanted."""

    log: Path | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """For its environment, as ``NAME=value``."""
        return (f"GIT_TRACE2_EVENT={self.log}",) if self.log else ()

    def refusing_hook(self) -> str | None:
        """The hook that refused what git was to do, now that git has ended; ``None`` if none did,
        or there is no log."""
        try:
            return _first_refusal(self.log.read_bytes()) if self.log else None
        except OSError:
            return None


@contextmanager
def watch_hooks(*, wanted: bool) -> Iterator[HookWatch]:
    """A :class:`HookWatch` for one git, which costs it a millisecond; one without a log if it is
    not ``wanted``, or no file can be made for it."""
    if not wanted:
        yield HookWatch()
        return
    import tempfile

    try:
        handle, name = tempfile.mkstemp(prefix="loragit-", suffix=".trace2")
    except OSError:
        yield HookWatch()
        return
    os.close(handle)
    try:
        yield HookWatch(Path(name))
    finally:
        Path(name).unlink(missing_ok=True)


def _first_refusal(log: bytes) -> str | None:
    """The first hook that could refuse, and did not exit with 0."""
    hooks: dict[object, str] = {}
    for event in _events(log):
        child, words = event.get("child_id"), event.get("argv")
        if event.get("event") == "child_start" and event.get("child_class") == "hook":
            if isinstance(words, list) and any(phase in words for phase in _REFUSABLE):
                hooks[child] = str(event.get("hook_name"))
        elif event.get("event") == "child_exit" and child in hooks and event.get("code") != 0:
            return hooks[child]
    return None


def _events(log: bytes) -> Iterator[dict[str, object]]:
    """Events of the first git in ``log``. Others, which its hooks start, write there too."""
    import json

    first = None
    for line in log.split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:  # cut short
            continue
        if isinstance(event, dict):
            first = first or event.get("sid")
            if event.get("sid") == first:
                yield event
