"""What loragit reports when it cannot go on: a fact, the next step, and an exit status."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Area(Enum):
    """What a finding is about."""

    NAME = "name"
    SETTINGS = "settings"
    """Settings and arguments, and the user's consent to those that came with the dataset."""
    TRAINER = "trainer"
    """Its repository, script and launcher."""
    ENVIRONMENT = "environment"
    """The trainer's Python and its packages."""
    CODE = "code"
    """The other repositories of code: LyCORIS, and those of ``record.repos``."""
    DATASET = "dataset"
    SECRETS = "secrets"
    REPOSITORY = "repository"
    """The dataset's: whether git can work in it, and who the user is."""
    RECORD = "record"
    """The branch ``runs``."""
    OUTPUT = "output"
    """Output folders, and what trainings left in them."""
    DISK = "disk"


class Finding(NamedTuple):
    """One thing that speaks against going on, or is worth a warning."""

    problem: str
    hint: str | None
    """The next step."""
    area: Area


class LoragitError(Exception):
    """A refusal or a failure, shown to the user without a traceback.

    ``message`` states the fact, ``hint`` the next step. Several facts are ``findings``, shown below
    the message. ``exit_status`` is what the process returns.
    """

    exit_status = 1

    def __init__(
        self, message: str, *, hint: str | None = None, findings: tuple[Finding, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.findings = findings


def shell_word(value: object) -> str:
    """``value``, a path or a name, quoted for a shell: hints are typed in, and somebody else's
    dataset may have chosen it."""
    import shlex  # only needed after a failure

    return shlex.quote(str(value))


class UsageError(LoragitError):
    """loragit does not understand the command line, a setting or a name."""

    exit_status = 2


class Findings:
    """Collects findings, so that all of them can be shown at once."""

    def __init__(self) -> None:
        self._findings: dict[tuple[str, str | None], Finding] = {}

    def add(self, problem: str, hint: str | None, area: Area) -> None:
        self._findings.setdefault((problem, hint), Finding(problem, hint, area))

    def ask(self, question: Callable[[], T], area: Area) -> T | None:
        """The answer to ``question``; ``None`` if it raises a :class:`LoragitError`, which becomes
        a finding."""
        try:
            return question()
        except LoragitError as error:
            self.add(error.message, error.hint, area)
            return None

    def all(self) -> tuple[Finding, ...]:
        """In the order in which they were added, each once."""
        return tuple(self._findings.values())
