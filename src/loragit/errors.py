"""What loragit says when it cannot go on: a fact, the next step, and an exit status."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Finding(NamedTuple):
    """One of several facts, and its next step."""

    problem: str
    hint: str | None


class LoragitError(Exception):
    """A refusal or a failure, told to the user without a traceback.

    ``message`` states the fact, ``hint`` the next step; where there are several facts, ``findings``
    holds them below the message. ``exit_status`` is what the process returns.
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
    """``value``, a path or a name, as a shell reads it: hints are there to be typed, and a dataset
    of somebody else's may have chosen it."""
    import shlex  # only where something failed

    return shlex.quote(str(value))


class UsageError(LoragitError):
    """The command line, a setting or a name is not one that loragit understands."""

    exit_status = 2


class Findings:
    """Collects what speaks against going on, so that all of it can be told at once."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}

    def add(self, problem: str, hint: str | None = None) -> None:
        self._found.setdefault(Finding(problem, hint))

    def ask(self, question: Callable[[], T]) -> T | None:
        """Its answer, or ``None`` where it raised a :class:`LoragitError`, which becomes a
        finding."""
        try:
            return question()
        except LoragitError as error:
            self.add(error.message, error.hint)
            return None

    def all(self) -> tuple[Finding, ...]:
        """In the order in which they were found, each once."""
        return tuple(self._found)
