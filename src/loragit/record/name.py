"""The name of a run: what it says, and the refs and the folder that it becomes.

``noob-gren-lokr-v2s512`` is read as::

    noob - gren-lokr - v2 s512
    |      |           |  |
    |      |           |  steps
    |      |           version
    |      dataset, or dataset and variant
    model
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from loragit.errors import UsageError

RUNS = "refs/heads/runs"
"""The orphan branch that holds every run."""

CONVENTION = "{model}-{dataset}[-{variant}]-v{version}s{steps}, for example noob-gren-v2s512"

MAX_BYTES = 150
"""Most UTF-8 bytes of a name. File systems allow 255 for one name, and trainers append up to about
60 (sd-scripts' samples: ``_e000000_00_20261123164834_4294967295.png``)."""

_PUNCTUATION = frozenset("._-+=@")
_RESERVED = frozenset(
    {"stash", "HEAD", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"}
)
_VERSIONED = re.compile(r"(?P<head>.+)-v(?P<version>[0-9]{1,9})s(?P<steps>[0-9]{1,9})")
_TRAILING_STEPS = re.compile(r"(?P<head>.+)-[^-]*?(?P<steps>[0-9]{1,9})")


class InvalidName(UsageError):
    """The text cannot be a run's name: no valid tag, no plain folder name, or ambiguous to git."""


class RunName(NamedTuple):
    """A name that is a valid tag and a plain folder name, with what the convention reads from it.

    A part that the text does not have is ``None``; whether that matters depends on the settings.
    """

    text: str
    model: str | None
    """The first part of a name of at least two parts before its version."""
    version: int | None
    steps: int | None
    """Training steps."""
    stem: str | None
    """Everything before the last ``-``; the zsh helpers took it as the dataset's folder."""

    @classmethod
    def parse(cls, text: str) -> RunName:
        """Read ``text``. Raises :class:`InvalidName`, with the convention as the hint."""
        _refuse_invalid(text)
        match = _VERSIONED.fullmatch(text) or _TRAILING_STEPS.fullmatch(text)
        if match is None:
            return cls(text, None, None, None, None)
        groups = match.groupdict()
        head = groups["head"]
        model, dash, rest = head.partition("-")
        version = groups.get("version")
        return cls(
            text=text,
            model=model if dash and model and rest else None,
            version=None if version is None else int(version),
            steps=int(groups["steps"]),
            stem=head,
        )

    def dataset_candidates(self) -> tuple[str, ...]:
        """Return the folder names that the name may mean: the helpers' reading, then the
        convention's, longest first.

        ``noob-gren-lokr-v2s512`` gives ``noob-gren-lokr``, ``gren-lokr``, ``gren``.
        """
        if self.stem is None:
            return ()
        parts = self.stem.split("-")
        readings = [self.stem] + ["-".join(parts[1:end]) for end in range(len(parts), 1, -1)]
        return tuple(dict.fromkeys(reading for reading in readings if reading.strip(".-")))

    def bumped(self, taken: frozenset[str]) -> RunName:
        """Return this name with the next free version: one above the highest in ``taken`` with the
        same stem.

        ``taken`` has the names of tags and output folders. The name itself is returned if its
        version is above all of those. Raises :class:`InvalidName` if the name has no version.
        """
        if self.version is None or self.stem is None:
            raise InvalidName(
                f"{self.text} has no version to bump", hint=f"a name with one: {CONVENTION}"
            )
        highest = -1
        for other in taken:
            match = _VERSIONED.fullmatch(other)
            if match is not None and match["head"] == self.stem:
                highest = max(highest, int(match["version"]))
        version = max(self.version, highest + 1)
        if version == self.version:
            return self
        return RunName.parse(f"{self.stem}-v{version}s{self.steps}")

    @property
    def tag(self) -> str:
        """Full name of the run's tag."""
        return f"refs/tags/{self.text}"

    @property
    def keep_ref(self) -> str:
        """Full name of the ref that keeps the run's dataset commit."""
        return f"refs/loragit/keep/{self.text}"

    def __str__(self) -> str:
        return self.text


def is_valid(text: str) -> bool:
    """Whether a run can be called ``text``. If so, a shell too takes it as a plain word."""
    return _problem(text) is None


def _refuse_invalid(text: str) -> None:
    """Raise :class:`InvalidName` for what is no tag (git-check-ref-format) or no plain folder name,
    or means something else to git."""
    problem = _problem(text)
    if problem is not None:
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise InvalidName(
            f"{shown!r} cannot name a run: {problem}", hint=f"a name reads {CONVENTION}"
        )


def _problem(text: str) -> str | None:
    """Return why ``text`` cannot name a run; ``None`` if it can."""
    if not text:
        return "it is empty"
    bad = next((c for c in text if not (c.isalnum() or c in _PUNCTUATION)), None)
    if bad is not None:
        return f"it holds {bad!r}; letters, digits and . _ - + = @ may be used"
    if unicodedata.normalize("NFC", text) != text:
        return (
            "its letters are not in the composed form (NFC), which file systems and git tell apart"
        )
    if len(text.encode()) > MAX_BYTES:
        return f"it is longer than {MAX_BYTES} bytes"
    if text[0] in "-.":
        return f"it begins with {text[0]!r}"
    if text.endswith((".", ".lock")):
        return "it ends with '.' or '.lock'"
    if ".." in text or text == "@":
        return "git does not take it as a tag"
    if text in _RESERVED or text == "runs" or text.startswith("refs"):
        return "it means something else to git"
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        return "git would read it as a commit's id"
    return None
