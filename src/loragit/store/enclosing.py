"""Whether the repository that a dataset lies in is meant to hold its record.

A folder of a repository of datasets is. A folder in the trainer's clone, or in the repository of a
home folder, lies there by chance: the record would go where nobody looks for it, and be pushed with
what it does not belong to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from loragit import git
from loragit.errors import Area, Finding, shell_word
from loragit.git.repository import Repository


class EnclosingQuestion:
    """Whether a repository ignores the dataset's folder, asked from the start."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._ignored: git.Question | None = None
        if repository.prefix:
            # What is tracked all the same is not ignored.
            args = ("check-ignore", "--quiet", "--", f"./{repository.prefix}")
            self._ignored = git.start(*args, cwd=repository.top)

    def answer(self, home: Path, trainers: Iterable[Path]) -> str | None:
        """Return why the repository may not be meant; ``None`` where nothing speaks against it, or
        where a run of the dataset is on record there.

        ``trainers`` are the tops of repositories that hold a trainer.
        """
        if self._ignored is None:
            return None
        ignored = self._ignored.reply().status == 0
        folder, top = self._repository.folder, self._repository.top
        if top in trainers:
            what = "which holds the trainer"
        elif Path(os.path.realpath(home)).is_relative_to(top):
            what = "which holds your home folder"
        elif ignored:
            what = "which ignores it"
        else:
            return None
        if _has_record(self._repository):
            return None
        return f"{folder} lies in the repository {top}, {what}"


def _has_record(repository: Repository) -> bool:
    """Whether a run of the dataset is on record there."""
    args = ("rev-parse", "--quiet", "--verify", f"refs/heads/runs:{repository.prefix}")
    return git.call(*args, cwd=repository.top).status == 0


def not_meant(reason: str, folder: Path) -> Finding:
    """Return the finding for a record that would go where nobody meant it to go."""
    return Finding(
        f"{reason}: the run would be recorded there",
        f"make the dataset a repository of its own: git init {shell_word(folder)}; or, if that is "
        "meant, set record.enclosing = true in loragit.toml",
        Area.REPOSITORY,
    )
