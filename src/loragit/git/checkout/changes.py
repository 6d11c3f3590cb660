"""How a work tree differs from its commit, also where ``git status`` is told not to look.

Files may be assumed to be unchanged, lie in submodules, or be imported in place of a file that is
committed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit.git import command
from loragit.git.checkout.status import StatusReport, parse_status
from loragit.record.values import HiddenChange

_STATUS = (
    # The commit is what its id says, and a file that keeps its size and mtime has a new ctime.
    "--no-replace-objects",
    *("-c", "core.untrackedCache=false"),
    *("-c", "core.trustctime=true", "-c", "core.checkStat=default"),
    *("status", "--porcelain=v2", "--branch", "-z"),
    *("--untracked-files=normal", "--ignore-submodules=none"),
)
ASSUME_UNCHANGED, SKIP_WORKTREE = "assume-unchanged", "skip-worktree"
"""Flags of the index, as git update-index calls them."""
_GITLINK = b"160000"
_ASSUMED, _SKIPPED = (b"h", b"m"), (b"S", b"s")
_FLAGGED = (*_ASSUMED, *_SKIPPED)
_MODULE_ENDS = (".py", ".so")


class WorkTreeChanges(NamedTuple):
    """How a work tree differs from its commit."""

    report: StatusReport
    dirty: tuple[str, ...]
    """Paths that differ from HEAD, or that are untracked but importable. A folder's ends with
    ``/``."""
    hidden: tuple[HiddenChange, ...]
    """Those of ``dirty`` that ``git status`` does not show."""
    tracked: frozenset[bytes]
    """Paths of all tracked files, those of submodules included."""


class ChangesQuestion:
    """The queries about the work tree that ``folder`` lies in, under way from the start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._status = command.start(*_STATUS, cwd=folder)
        listed = ("ls-files", "-v", "-s", "-z", "--full-name", "--", ":/")
        self._index = command.start(*listed, cwd=folder)

    def cancel(self) -> None:
        """Let the answers go."""
        self._status.cancel()
        self._index.cancel()

    def answer(self, top: Path) -> WorkTreeChanges:
        """Return the changes; ``top`` is the top of the work tree. Raises
        :class:`~loragit.git.GitFailed`."""
        status, index = self._status.reply(), self._index.reply()
        for name, reply in (("status", status), ("ls-files", index)):
            if reply.status != 0:
                raise command.failure(name, reply)
        report = parse_status(status.out)
        rows = [_row(each) for each in index.out.split(b"\0") if each]
        inner = _submodules(top, rows)
        asked = {path for path, _ in inner}
        # What changed within a submodule is named file by file.
        dirty = [path for path in report.changed if path not in report.inside & asked]
        dirty += [path for path in report.untracked if _importable(top / path)]
        hidden = [*_flagged_changes(top, rows), *_replacements(top, rows, dirty)]
        tracked = {row.path for row in rows}
        for path, changes in inner:
            dirty += [f"{path}/{each}" for each in changes.dirty]
            hidden += [each._replace(path=f"{path}/{each.path}") for each in changes.hidden]
            tracked |= {os.fsencode(path) + b"/" + each for each in changes.tracked}
        dirty += [each.path for each in hidden]
        return WorkTreeChanges(
            report, tuple(dict.fromkeys(dirty)), tuple(hidden), frozenset(tracked)
        )


class _IndexFile(NamedTuple):
    """A file of the index."""

    tag: bytes
    """A letter: small if it is assumed to be unchanged, ``S`` or ``s`` to skip the work tree."""
    entry: bytes
    """Mode, id and stage."""
    path: bytes


def _row(line: bytes) -> _IndexFile:
    about, _, path = line.partition(b"\t")
    return _IndexFile(about[:1], about[2:], path)


def _submodules(top: Path, rows: Iterable[_IndexFile]) -> list[tuple[str, WorkTreeChanges]]:
    """The changes of each submodule that is checked out; one that git cannot look at is left to
    the status of the outer repository."""
    paths = [os.fsdecode(row.path) for row in rows if row.entry.startswith(_GITLINK)]
    asked = [
        (path, ChangesQuestion(top / path))
        for path in paths
        if os.path.lexists(top / path / ".git")
    ]
    found = []
    for path, question in asked:
        try:
            found.append((path, question.answer(top / path)))
        except command.GitFailed:
            continue
    return found


def _flagged_changes(top: Path, rows: Iterable[_IndexFile]) -> Iterator[HiddenChange]:
    """Files that differ from the index although it says that they need not be looked at."""
    flagged = {row.path: row for row in rows if row.tag in _FLAGGED}
    absent = {path for path in flagged if not os.path.lexists(os.fsencode(top) + b"/" + path)}
    skipped = {path for path in absent if flagged[path].tag in _SKIPPED}
    if skipped and _is_sparse(top):
        # That they are not here is what a sparse checkout is for.
        flagged = {path: row for path, row in flagged.items() if path not in skipped}
    for path in _changed(top, list(flagged.values())):
        skips = flagged[path].tag in _SKIPPED
        yield HiddenChange(os.fsdecode(path), SKIP_WORKTREE if skips else ASSUME_UNCHANGED)


def _is_sparse(top: Path) -> bool:
    reply = command.call("config", "--type=bool", "--get", "core.sparseCheckout", cwd=top)
    return reply.out.strip() == b"true"


def _changed(top: Path, rows: Sequence[_IndexFile]) -> Iterator[bytes]:
    """Those of ``rows`` whose files differ, as git judges it: by an index of its own, without
    flags."""
    if not rows:
        return
    with tempfile.TemporaryDirectory(prefix="loragit-") as scratch:
        own = (f"GIT_INDEX_FILE={scratch}/index",)
        entries = b"".join(b"%s\t%s\0" % (row.entry, row.path) for row in rows)
        plain = ("-c", "core.splitIndex=false", "-c", "core.ignoreStat=false")
        feed = (*plain, "update-index", "-z", "--index-info")
        command.run(*feed, cwd=top, data=entries, variables=own)
        refresh = (*plain, "update-index", "-q", "--refresh")
        command.start(*refresh, cwd=top, variables=own).reply()
        names = ("diff-files", "--name-only", "--no-renames", "--ignore-submodules=none", "-z")
        listed = command.run(*plain, *names, cwd=top, variables=own)
    yield from (os.fsencode(path) for path in listed.split("\0") if path)


def _replacements(
    top: Path, rows: Iterable[_IndexFile], known: Iterable[str]
) -> Iterator[HiddenChange]:
    """What Python imports in place of a tracked module that lies beside it, for it takes a package
    before a file, and a compiled file before its source."""
    tracked, seen = {row.path for row in rows}, set(known)
    for folder in sorted({path.rpartition(b"/")[0] for path in tracked if path.endswith(b".py")}):
        before = folder + b"/" if folder else b""
        try:
            with os.scandir(os.fsencode(top) + b"/" + folder) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError:  # it is not here
            continue
        for name in names:
            path, module = before + name, name.partition(b".")[0] + b".py"
            if before + module not in tracked or path in tracked:
                continue
            shown = os.fsdecode(path)
            if b"." not in name:
                shown += "/"
                instead = path + b"/__init__.py" not in tracked and _is_package(top / shown)
            else:
                instead = name.endswith(b".so")
            if instead and shown not in seen:
                yield HiddenChange(shown, f"imported in place of {os.fsdecode(module)}")


def _is_package(folder: Path) -> bool:
    """Whether ``import`` takes ``folder`` for a regular package."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith("__init__.")]
    except OSError:  # a file, or nothing that can be read
        return False
    return any(name.endswith(_MODULE_ENDS) for name in names)


def _importable(path: Path) -> bool:
    """Whether Python could import an untracked path: a ``.py`` file, or a folder that directly
    contains one.

    Configs, logs and models that users keep in the trainer's folder do not change what runs.
    """
    if path.suffix == ".py":
        return True
    if not path.is_dir() or (path / "pyvenv.cfg").exists() or (path / ".git").exists():
        return False
    try:
        return any(entry.suffix == ".py" for entry in path.iterdir())
    except OSError:  # what cannot be read cannot be imported
        return False
