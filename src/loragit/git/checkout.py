"""The state of a checkout: its commit, how it differs from that commit, and where it came from.

git itself decides this, because the libraries report clean repositories as dirty (docs/design.md,
"Who does what").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.errors import Area, Finding, shell_word
from loragit.git import command
from loragit.git.repository import Repository, not_found
from loragit.record.values import RepoState

_SHOWN_DIRTY = 5
"""Files of a dirty repository that are named; the rest are counted."""


def dirty(state: RepoState, area: Area) -> Finding:
    """Return the finding for a code repository that is dirty but should not be."""
    return Finding(
        f"{state.label} at {state.path} is dirty: {text.listed(state.dirty, _SHOWN_DIRTY)}",
        f"commit or stash there (git -C {shell_word(state.path)} stash --include-untracked), "
        "or record it: --allow-dirty",
        area,
    )


class StateQuestion:
    """The queries that make up a :class:`RepoState`, all running at once."""

    def __init__(self, folder: Path, label: str) -> None:
        self.folder = folder
        self.label = label
        self._top = command.start("rev-parse", "--show-toplevel", cwd=folder)
        self._status = command.start(
            "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", cwd=folder
        )
        self._lost = command.start("rev-list", "-1", "HEAD", "--not", "--remotes", cwd=folder)
        self._urls = command.start("config", "-z", "--get-regexp", r"^remote\..*\.url$", cwd=folder)

    def answer(self) -> RepoState:
        """Return the state. Raises :class:`~loragit.git.NotARepository`, also if there is no commit
        yet, and :class:`~loragit.git.GitFailed`."""
        top, status, lost, urls = (
            q.reply() for q in (self._top, self._status, self._lost, self._urls)
        )
        if top.status != 0:
            raise not_found(self.folder, top)
        if status.status != 0:
            raise command.failure("status", status)
        folder = Path(top.out.decode("utf-8", "surrogateescape").removesuffix("\n"))
        report = _parse_status(status.out)
        if report.commit is None:
            raise command.NotARepository(
                f"the repository {folder} has no commit yet", hint="commit its files first"
            )
        return RepoState(
            label=self.label,
            path=folder,
            commit=report.commit,
            branch=report.branch,
            url=_remote_url(_parse_urls(urls.out), report.upstream),
            dirty=report.changed + tuple(p for p in report.untracked if _importable(folder / p)),
            on_remote=not lost.out.strip(),
        )


def repo_state(folder: Path, label: str) -> RepoState:
    """Return the state of the repository that contains ``folder``. Raises
    :class:`~loragit.git.NotARepository`."""
    return StateQuestion(folder, label).answer()


class StatusReport(NamedTuple):
    """The output of ``git status --porcelain=v2 --branch -z``."""

    commit: str | None
    """``None`` before the first commit."""
    branch: str | None
    upstream: str | None
    changed: tuple[str, ...]
    """Tracked paths that differ from HEAD, staged or not."""
    untracked: tuple[str, ...]
    """A folder's path ends with ``/``."""


def _parse_status(out: bytes) -> StatusReport:
    commit = branch = upstream = None
    changed: list[str] = []
    untracked: list[str] = []
    fields = iter(out.decode("utf-8", "surrogateescape").split("\0"))
    for field in fields:
        kind, _, rest = field.partition(" ")
        match kind:
            case "#":
                key, _, value = rest.partition(" ")
                if key == "branch.oid" and value != "(initial)":
                    commit = value
                elif key == "branch.head" and value != "(detached)":
                    branch = value
                elif key == "branch.upstream":
                    upstream = value
            case "1":
                changed.append(rest.split(" ", 7)[7])
            case "2":
                changed.append(rest.split(" ", 8)[8])
                next(fields)  # where it was renamed from
            case "u":
                changed.append(rest.split(" ", 9)[9])
            case "?":
                untracked.append(rest)
    return StatusReport(commit, branch, upstream, tuple(changed), tuple(untracked))


def start_dirty(repository: Repository) -> command.Question:
    """Start listing what differs from HEAD below the repository's folder; :func:`read_dirty` reads
    the reply."""
    return command.start(
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=normal",
        "--",
        ".",
        cwd=repository.folder,
    )


def read_dirty(question: command.Question) -> StatusReport:
    """Read the reply to :func:`start_dirty`. Raises :class:`~loragit.git.GitFailed`."""
    reply = question.reply()
    if reply.status != 0:
        raise command.failure("status", reply)
    return _parse_status(reply.out)


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


def _parse_urls(out: bytes) -> dict[str, str]:
    urls: dict[str, str] = {}
    for item in out.decode("utf-8", "surrogateescape").split("\0"):
        key, newline, url = item.partition("\n")
        if newline:
            urls.setdefault(key.removeprefix("remote.").removesuffix(".url"), url)
    return urls


def _remote_url(urls: Mapping[str, str], upstream: str | None) -> str | None:
    """Return the URL of the upstream's remote, else of ``origin``, else of the first, without
    credentials; ``None`` if there is no remote."""
    if not urls:
        return None
    of_branch = next(
        (r for r in urls if upstream is not None and upstream.startswith(r + "/")), None
    )
    url = urls[of_branch or ("origin" if "origin" in urls else next(iter(urls)))]
    return text.without_credentials(url)


def patch_path(state: RepoState) -> str:
    """Return the path of a repository's patch in a record."""
    return f"patches/{state.label}.patch"


def patch(state: RepoState) -> bytes:
    """What makes ``state.commit`` the work tree as it stands: ``git apply`` takes it. Includes
    untracked ``dirty``.

    Neither the repository's index nor its objects are written: both are replaced by temporary ones.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="loragit-") as scratch:
        objects = command.run("rev-parse", "--git-path", "objects", cwd=state.path)
        own = (
            f"GIT_INDEX_FILE={scratch}/index",
            f"GIT_OBJECT_DIRECTORY={scratch}",
            f"GIT_ALTERNATE_OBJECT_DIRECTORIES={_c_quoted(state.path / objects)}",
            "GIT_LITERAL_PATHSPECS=1",
        )
        command.run("read-tree", "HEAD", cwd=state.path, variables=own)
        command.run("add", "--update", cwd=state.path, variables=own)
        there = [path for path in state.dirty if (state.path / path).exists()]
        # A file may have been staged though it is ignored; what an untracked folder ignores is no
        # part of it.
        folders = [path for path in there if path.endswith("/")]
        files = [path for path in there if not path.endswith("/")]
        for paths, force in ((files, ("--force",)), (folders, ())):
            if paths:
                data = "\0".join(paths).encode("utf-8", "surrogateescape")
                add = ("add", *force, "--pathspec-from-file=-", "--pathspec-file-nul")
                command.run(*add, cwd=state.path, data=data, variables=own)
        # diff-index, unlike diff, obeys no diff.* setting of the user's.
        args = (
            "diff-index",
            "--cached",
            "--patch",
            "--binary",
            "--full-index",
            "--no-renames",
            "--no-ext-diff",
        )
        diff = command.start(
            *args, "--no-textconv", "--no-color", "HEAD", cwd=state.path, variables=own
        )
        reply = diff.reply()
        if reply.status != 0:
            raise command.GitFailed(f"git diff failed in {state.path}: {command.last_words(reply)}")
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


def tracking(file: Path) -> Path | None:
    """Return the top of the repository that *tracks* ``file`` (resolved), or ``None``.

    Raises :class:`~loragit.git.NotARepository` if git does not trust the repository.
    """
    if not file.parent.is_dir():
        return None
    reply = command.call(
        "--literal-pathspecs", "ls-files", "--error-unmatch", "--", file.name, cwd=file.parent
    )
    if b"dubious ownership" in reply.err:
        raise not_found(file.parent, reply)
    if reply.status != 0:
        return None
    return Path(command.run("rev-parse", "--show-toplevel", cwd=file.parent))
