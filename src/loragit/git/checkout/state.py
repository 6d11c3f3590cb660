"""The state of a checkout: its commit, how it differs from that commit, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loragit import text
from loragit.errors import Area, Finding, shell_word
from loragit.git import command
from loragit.git.checkout.status import parse_status
from loragit.git.repository import not_found
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
        report = parse_status(status.out)
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
