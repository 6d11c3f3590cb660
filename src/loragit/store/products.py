"""Which run made a file: the products listed in the sealed tags of many datasets, looked up by what
identifies the file.

Refs and messages are read through git alone, with two child processes per repository however many
runs it has. Nothing is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit.git import catfile
from loragit.git.command import GitFailed
from loragit.record import trailers
from loragit.record.message import parse_model_lines
from loragit.record.values import ModelFile
from loragit.system.child import Child

STAMP = re.compile(r"loragit: (?P<run>\S{1,150}) (?P<commit>[0-9a-f]{40})(?![0-9a-f])")
"""Stamp that ``loragit train`` passes to the trainer as ``--training_comment``, or appends to the
user's own comment."""

_FORMAT = "%(refname)%00%(*objectname)%00%(contents:subject)%0a%0a%(contents:body)%00%01"
_AT_ONCE = 16
"""Repositories that are queried at the same time."""


class Sealed(NamedTuple):
    """A sealed run, as its tag describes it."""

    repository: Path
    """A folder in the dataset's repository."""
    run: str
    commit: str
    message: str
    """The outcome, without its signature."""

    def values(self, key: str) -> tuple[str, ...]:
        """Return the values of the trailers called ``key``."""
        # With ten thousand runs of the same weights, every one of them is parsed here; git's own
        # parser would take seconds.
        start = f"{key}: "
        last = self.message.rstrip("\n").rpartition("\n\n")[2].split("\n")
        return tuple(line.removeprefix(start) for line in last if line.startswith(start))

    @property
    def models(self) -> tuple[ModelFile, ...]:
        """The whole models that the run left."""
        return parse_model_lines(self.values("Model"))

    @property
    def state_weights(self) -> tuple[ModelFile, ...]:
        """The weights of training states that the run left."""
        return parse_model_lines(self.values("State-Weights"))

    @property
    def output(self) -> str:
        """The output folder as recorded; empty if it is not recorded."""
        return next(iter(self.values("Output")), "")


class Records:
    """Every sealed run of some repositories. git reads while the caller hashes."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Start reading the repositories of ``folders``. A folder may lie in no repository, and
        several may lie in the same one."""
        self._waiting = list(dict.fromkeys(folders))
        self._asked: list[tuple[Path, Child]] = []
        self._replies: list[tuple[Path, str]] | None = None
        self._ask()

    def _ask(self) -> None:
        while self._waiting and len(self._asked) < _AT_ONCE:
            folder = self._waiting.pop(0)
            if folder.is_dir():
                listing = ("for-each-ref", f"--format={_FORMAT}", "refs/tags")
                question = catfile.ask(*listing, cwd=folder)
                self._asked.append((folder, question))

    def _texts(self) -> list[tuple[Path, str]]:
        if self._replies is None:
            self._replies = []
            while self._asked:
                folder, child = self._asked.pop(0)
                with suppress(GitFailed):
                    # A message longer than any of ours may be cut: its beginning is enough.
                    rows = b"\0".join(catfile.answer(child, "for-each-ref", folder))
                    self._replies.append((folder, rows.decode("utf-8", "replace")))
                self._ask()
        return self._replies

    def holding(self, needle: str) -> tuple[Sealed, ...]:
        """Return the sealed runs whose outcome contains ``needle``, such as a hash; each once."""
        found: dict[str, Sealed] = {}
        for folder, replies in self._texts():
            at = replies.find(needle)
            while at >= 0:
                begin, end = replies.rfind("\1", 0, at) + 1, replies.find("\1", at)
                sealed = _sealed(folder, replies[begin:end])
                if sealed is not None:
                    found.setdefault(sealed.commit, sealed)
                at = replies.find(needle, max(end, at + 1))
        return tuple(found.values())

    def repository_of(self, run: str, commit: str) -> Path | None:
        """Return the repository that records ``commit`` as the run ``run`` (sealed, open or
        reverted), or ``None``."""
        for folder, _ in self._texts():
            with suppress(GitFailed):
                said = b"".join(
                    catfile.rows("log", "-1", "-z", "--format=%B", commit, "--", cwd=folder)
                )
                if trailers.parse(said.decode("utf-8", "replace")).get("Run") == (run,):
                    return folder
        return None


def _sealed(folder: Path, row: str) -> Sealed | None:
    """Parse one row; ``None`` for a lightweight tag and for a tag that is not loragit's."""
    name, commit, message = (*row.lstrip("\n").split("\0"), "", "")[:3]
    name = name.removeprefix("refs/tags/")
    return (
        Sealed(folder, name, commit, message) if commit and f"\nRun: {name}\n" in message else None
    )


def datasets(folder: Path, here: Path) -> tuple[Path, ...]:
    """Return the folders to search for runs: ``here``, the repositories in ``folder``, and
    ``folder`` itself, which may lie in a repository."""
    try:
        children = sorted(
            Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith(".")
        )
    except OSError:
        children = []
    repositories = [child for child in children if (child / ".git").exists()]
    return tuple(dict.fromkeys((here, *repositories, *([folder] if folder.is_dir() else []))))


def stamps(comment: str) -> Iterator[tuple[str, str]]:
    """Yield (run, commit) for each stamp in a model's ``ss_training_comment``."""
    for match in STAMP.finditer(comment):
        yield match["run"], match["commit"]
