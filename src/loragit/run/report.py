"""How a run tells people what happens: lines that go wherever the caller leads them."""

from __future__ import annotations

from typing import Protocol

from loragit.errors import LoragitError


class Report(Protocol):
    """Gets each line as soon as it is known. :mod:`loragit.console` is one, and prints them."""

    def info(self, line: str, /) -> None:
        """Something was done, or is as it should be."""

    def warn(self, line: str, /) -> None:
        """Something is not as it should be, and nothing stops for it."""

    def hint(self, line: str, /) -> None:
        """The next step, after a warning or an error."""

    def error(self, failure: LoragitError, /) -> None:
        """A failure that ends no command at once."""
