"""Files that the zsh helpers wrote beside a training's models: ``repos.git``, and scripts that name
their dataset.

Nothing here opens a file. Text is read line by line; lines that make no sense are counted, never
guessed at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from loragit.record.values import ImportedCode
from loragit.trainers import kinds

# A line is parsed from its end: a path may contain blanks, colons and parentheses; a branch
# contains neither blanks nor colons (git-check-ref-format).
_ID = r"(?P<commit>[0-9a-f]{40}|[0-9a-f]{64})"
_ON_BRANCH = re.compile(rf"(?P<path>.+): \((?P<branch>[^\s:]+)\) {_ID}")
_NO_BRANCH = re.compile(rf"(?P<path>.+): {_ID} \(Failed to get branch\)")
_FAILED = re.compile(r"(?P<path>.+): (?:Git command failed|Not a git repository)")
_HASHED = re.compile(r"(?P<path>.+): (?P<sha1>[0-9a-f]{40})")
_SUMMED = re.compile(r"(?P<sha1>[0-9a-f]{40}) [ *](?P<path>.+)")
_DETACHED = ("detached", "HEAD")
"""Written in place of a branch if there was none: loragit's own word, and git's."""

_ASSIGNED = re.compile(
    r"""(?m)^[ \t]*(?:export[ \t]+|local[ \t]+)?TRAINING_DIR=(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s;&|]+)"""  # noqa: E501
)
_OPTION = re.compile(r"""--dataset_config(?:=|[ \t]+)(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s;&|)]+)""")


class RepositoryLine(NamedTuple):
    """A code repository, as listed in a line of ``repos.git``."""

    path: str
    commit: str | None
    """``None`` if git had failed or the folder was no repository."""
    branch: str | None

    @property
    def name(self) -> str:
        """Name of the folder."""
        return PurePosixPath(self.path).name or self.path


class Sha1Line(NamedTuple):
    """The hash of a file at the start of the training."""

    path: str
    sha1: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


class ReposGit(NamedTuple):
    """The contents of a ``repos.git``, in order."""

    repositories: tuple[RepositoryLine, ...] = ()
    files: tuple[Sha1Line, ...] = ()
    unread: int = 0
    """Number of lines that are neither."""

    def sha1(self, name: str) -> str | None:
        """Return the SHA-1 of the file called ``name``; ``None`` if it is not listed."""
        return next((file.sha1 for file in self.files if file.name == name), None)


class Codes(NamedTuple):
    """The repositories of a training, by role."""

    trainer: ImportedCode | None = None
    lycoris: ImportedCode | None = None
    others: tuple[ImportedCode, ...] = ()


def parse_repos_git(data: bytes) -> ReposGit:
    """Parse the helpers' format and loragit's own, with any line ends, however damaged."""
    repositories: list[RepositoryLine] = []
    files: list[Sha1Line] = []
    unread = 0
    for line in data.decode("utf-8-sig", "surrogateescape").split("\n"):
        found = _line(line.rstrip("\r"))
        if isinstance(found, RepositoryLine):
            repositories.append(found)
        elif found is not None:
            files.append(found)
        elif line.strip():
            unread += 1
    return ReposGit(tuple(dict.fromkeys(repositories)), tuple(dict.fromkeys(files)), unread)


def _line(line: str) -> RepositoryLine | Sha1Line | None:
    if match := _ON_BRANCH.fullmatch(line):
        branch = match["branch"]
        return RepositoryLine(
            match["path"], match["commit"], None if branch in _DETACHED else branch
        )
    if match := _NO_BRANCH.fullmatch(line):
        return RepositoryLine(match["path"], match["commit"], None)
    if match := _FAILED.fullmatch(line):
        return RepositoryLine(match["path"], None, None)
    if match := _SUMMED.fullmatch(line) or _HASHED.fullmatch(line):
        return Sha1Line(match["path"], match["sha1"])
    return None


def sorted_codes(found: tuple[RepositoryLine, ...]) -> Codes:
    """Tell trainer, LyCORIS and the rest apart by their names, else by what their folders contain
    today.

    A repository whose commit is unknown has nothing that a record could hold.
    """
    trainer: ImportedCode | None = None
    lycoris: ImportedCode | None = None
    others: list[ImportedCode] = []
    for repository in found:
        if repository.commit is None:
            continue
        code = ImportedCode(repository.name, repository.commit, repository.branch)
        kind = _kind(repository)
        if kind == "trainer" and trainer is None:
            trainer = code
        elif kind == "lycoris" and lycoris is None:
            lycoris = code
        else:
            others.append(code)
    return Codes(trainer, lycoris, tuple(others))


def _kind(repository: RepositoryLine) -> str | None:
    name = repository.name.lower()
    signs = [each.checkout for each in kinds.all_trainers() if each.importable]
    if any(name.startswith(each.names) for each in signs):
        return "trainer"
    if name.startswith("lycoris"):
        return "lycoris"
    folder = Path(repository.path)
    if not folder.is_absolute():
        return None
    if any(os.path.isfile(folder / each.landmarks[0]) for each in signs):
        return "trainer"
    return "lycoris" if os.path.isfile(folder / "lycoris" / "kohya.py") else None


def dataset_folders(repos: ReposGit, script: bytes, home: str) -> Iterator[Path]:
    """Yield folders that the script and ``repos.git`` name as the dataset's, the most certain
    first; absolute, but may no longer exist."""
    text = script.decode("utf-8", "surrogateescape")
    written = [(match["value"], False) for match in _ASSIGNED.finditer(text)]
    written += [(match["value"], True) for match in _OPTION.finditer(text)]
    written += [
        (file.path, True) for file in repos.files if file.name in ("config.toml", "config.json")
    ]
    for value, is_file in written:
        place = _literal_path(value, home)
        if place is not None:
            yield place.parent if is_file else place


def _literal_path(written: str, home: str) -> Path | None:
    """Return a path as a shell would read it; ``None`` if a shell would need more than the text and
    the home folder."""
    plain = written
    if written[:1] in ("'", '"') and written[-1:] == written[:1]:
        plain = written[1:-1]
    if not written.startswith("'") and home:
        plain = re.sub(r"^(?:~|\$HOME|\$\{HOME\})(?=/|$)", lambda _: home, plain)
    return Path(plain) if plain.startswith("/") and "$" not in plain and "\0" not in plain else None
