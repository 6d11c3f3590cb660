"""A report that keeps its lines."""

from __future__ import annotations

from loragit.errors import LoragitError


class Lines:
    """A report that keeps its lines."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, line: str, /) -> None:
        self.said.append(line)

    warn = hint = info

    def error(self, failure: LoragitError, /) -> None:
        self.said.append(failure.message)
