"""The patch that makes a commit the work tree as it stands."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from loragit.git import command
from loragit.record.values import RepoState


def patch_path(state: RepoState) -> str:
    """Return the path of a repository's patch in a record."""
    return f"patches/{state.label}.patch"


def patch(state: RepoState) -> bytes:
    """What makes ``state.commit`` the work tree as it stands: ``git apply`` takes it. Includes
    untracked ``dirty``, and changes within submodules.

    Neither a repository's index nor its objects are written: both are replaced by temporary ones.
    """
    hidden = frozenset(each.path for each in state.hidden)
    return b"".join(_patches(state.path, state.dirty, hidden, ""))


def _patches(
    top: Path, dirty: Sequence[str], hidden: frozenset[str], prefix: str
) -> Iterator[bytes]:
    """The patch of the repository at ``top``, and those of its submodules that have changes.

    Paths in ``dirty`` are relative to ``top``, and ``prefix`` goes before them in the patch;
    ``hidden`` ones are in it whatever git ignores.
    """
    listed = command.run("ls-files", "-s", "-z", cwd=top)
    rows = (row.partition("\t") for row in listed.split("\0") if row.startswith("160000 "))
    inner = {path: [each for each in dirty if each.startswith(f"{path}/")] for _, _, path in rows}
    within = {each for paths in inner.values() for each in paths}
    yield _own_patch(top, [path for path in dirty if path not in within], hidden, prefix)
    for path, paths in inner.items():
        if paths:
            below = [each.removeprefix(f"{path}/") for each in paths]
            hides = frozenset(each.removeprefix(f"{path}/") for each in hidden.intersection(paths))
            yield from _patches(top / path, below, hides, f"{prefix}{path}/")


def _own_patch(top: Path, dirty: Iterable[str], hidden: frozenset[str], prefix: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="loragit-") as scratch:
        objects = command.run("rev-parse", "--git-path", "objects", cwd=top)
        own = (
            f"GIT_INDEX_FILE={scratch}/index",
            f"GIT_OBJECT_DIRECTORY={scratch}",
            f"GIT_ALTERNATE_OBJECT_DIRECTORIES={_c_quoted(top / objects)}",
            "GIT_LITERAL_PATHSPECS=1",
        )
        # A new index has none of the flags that keep git from looking at a file.
        command.run("read-tree", "HEAD", cwd=top, variables=own)
        command.run("add", "--update", cwd=top, variables=own)
        there = [path for path in dirty if (top / path).exists()]
        # A file may have been staged though it is ignored; what an untracked folder ignores is no
        # part of it.
        folders = [path for path in there if path.endswith("/") and path not in hidden]
        named = [path for path in there if path not in folders]
        for paths, force in ((named, ("--force",)), (folders, ())):
            if paths:
                data = "\0".join(paths).encode("utf-8", "surrogateescape")
                add = ("add", *force, "--pathspec-from-file=-", "--pathspec-file-nul")
                command.run(*add, cwd=top, data=data, variables=own)
        # diff-index, unlike diff, obeys no diff.* setting of the user's.
        args = ("diff-index", "--cached", "--patch", "--binary", "--full-index", "--no-renames")
        plain = ("--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=none")
        before = (f"--src-prefix=a/{prefix}", f"--dst-prefix=b/{prefix}")
        reply = command.start(*args, *plain, *before, "HEAD", cwd=top, variables=own).reply()
        if reply.status != 0:
            raise command.GitFailed(f"git diff failed in {top}: {command.last_words(reply)}")
        return reply.out


def patched_line(data: bytes, line: int) -> tuple[str | None, int | None]:
    """Return the file (relative to the repository's top) and the line in it that line ``line``
    (from 1) of a patch refers to.

    The file is ``None`` above the first file's name. The line is ``None`` if the patch removes it
    or if it belongs to no text.
    """
    path: str | None = None
    there, old, new = 0, 0, 0
    shown: int | None = None
    for row in data.split(b"\n")[:line]:
        shown = None
        if old > 0 or new > 0:  # within a hunk
            sign = row[:1]
            old, new, there = old - (sign in b" -"), new - (sign in b" +"), there + (sign in b" +")
            shown = there if sign in b" +" else None
        elif hunk := _HUNK.match(row):
            old, new, there = int(hunk[1] or 1), int(hunk[3] or 1), int(hunk[2]) - 1
        elif row.startswith((b"--- ", b"+++ ")) and row[4:] != b"/dev/null":
            path = row[4:].strip(b'"\t')[2:].decode("utf-8", "surrogateescape")
        elif row.startswith(b"diff --git "):
            path = None
    return path, shown


_HUNK = re.compile(rb"@@ -\d{1,18}(?:,(\d{1,18}))? \+(\d{1,18})(?:,(\d{1,18}))? @@")


def _c_quoted(path: Path) -> str:
    """Quote ``path`` as an item of a list that git splits at ``:``."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
