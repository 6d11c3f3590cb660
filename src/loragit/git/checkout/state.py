"""The state of a checkout: its commit, how it differs from that commit, and where it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from loragit import text
from loragit.errors import Area, Finding, shell_word
from loragit.git import command
from loragit.git.checkout.changes import ASSUME_UNCHANGED, SKIP_WORKTREE, ChangesQuestion
from loragit.git.repository import not_found
from loragit.record.values import RepoState

FLAGS = (ASSUME_UNCHANGED, SKIP_WORKTREE)
UNFLAG = " ".join(f"--no-{flag}" for flag in FLAGS)
_SHOWN_DIRTY = 5
"""Files of a dirty repository that are named; the rest are counted."""


def dirty(state: RepoState, area: Area) -> Finding:
    """Return the finding for a code repository that is dirty but should not be."""
    return Finding(
        f"{state.label} at {state.path} is dirty: {text.listed(named(state), _SHOWN_DIRTY)}",
        f"{way_out(state)}, or record it: --allow-dirty",
        area,
    )


def named(state: RepoState) -> tuple[str, ...]:
    """The paths of ``state.dirty``, each with the reason why ``git status`` does not show it."""
    why = {each.path: f" ({each.why})" for each in state.hidden}
    return tuple(path + why.get(path, "") for path in state.dirty)


def way_out(state: RepoState) -> str:
    """What to do so that the repository is clean."""
    there = f"git -C {shell_word(state.path)}"
    flagged = [each.path for each in state.hidden if each.why in FLAGS]
    others = [each.path for each in state.hidden if each.why not in FLAGS]
    steps = []
    if flagged:
        steps.append(f"have git see it: {there} update-index {UNFLAG} -- {_words(flagged)}; then")
    if others:
        steps.append(f"move it away, or commit it: {there} add --force -- {_words(others)};")
    if flagged or len(others) < len(state.dirty):
        steps.append(f"commit or stash there ({there} stash --include-untracked)")
    return " ".join(steps).rstrip(";")


def _words(paths: Sequence[str]) -> str:
    more = " …" if len(paths) > _SHOWN_DIRTY else ""
    return " ".join(map(shell_word, paths[:_SHOWN_DIRTY])) + more


class StateQuestion:
    """The queries that make up a :class:`RepoState`, all running at once."""

    def __init__(self, folder: Path, label: str) -> None:
        self.folder = folder
        self.label = label
        self._tracked: frozenset[bytes] = frozenset()
        self._top = command.start("rev-parse", "--show-toplevel", cwd=folder)
        self._changes = ChangesQuestion(folder)
        self._lost = command.start("rev-list", "-1", "HEAD", "--not", "--remotes", cwd=folder)
        self._urls = command.start("config", "-z", "--get-regexp", r"^remote\..*\.url$", cwd=folder)

    def answer(self) -> RepoState:
        """Return the state. Raises :class:`~loragit.git.NotARepository`, also if there is no commit
        yet, and :class:`~loragit.git.GitFailed`."""
        top, lost, urls = (q.reply() for q in (self._top, self._lost, self._urls))
        if top.status != 0:
            self._changes.cancel()
            raise not_found(self.folder, top)
        folder = Path(top.out.decode("utf-8", "surrogateescape").removesuffix("\n"))
        changes = self._changes.answer(folder)
        report, self._tracked = changes.report, changes.tracked
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
            dirty=changes.dirty,
            on_remote=not lost.out.strip(),
            hidden=changes.hidden,
        )

    def tracks(self, path: str) -> bool:
        """Whether the repository, which has answered, tracks the file at ``path``, relative to its
        top."""
        return os.fsencode(path) in self._tracked


def repo_state(folder: Path, label: str) -> RepoState:
    """Return the state of the repository that contains ``folder``. Raises
    :class:`~loragit.git.NotARepository`."""
    return StateQuestion(folder, label).answer()


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
