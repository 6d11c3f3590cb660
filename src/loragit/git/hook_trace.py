"""Which hook made git refuse to move refs, by git's own account of what it started (trace2,
api-trace2.txt).

git's words for such a refusal are not the same in every version, and a hook prints what it likes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_ASKED = ("preparing", "prepared")
"""Phases of a transaction at whose beginning a hook may refuse it: the first is git 2.5x's. Later
ones only tell it."""


class Watch(NamedTuple):
    """A git that is told to write down what it starts; or is not, where that would not be worth
    it."""

    account: Path | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """For its environment, as ``NAME=value``."""
        return (f"GIT_TRACE2_EVENT={self.account}",) if self.account else ()

    def refusing_hook(self) -> str | None:
        """The hook that refused what git, which has ended, was to do; ``None`` where none did, or
        nobody watched."""
        try:
            return _refusing(self.account.read_bytes()) if self.account else None
        except OSError:
            return None


@contextmanager
def watch(*, wanted: bool) -> Iterator[Watch]:
    """A :class:`Watch` for one git, which costs it a millisecond; one that does nothing where it is
    not ``wanted``, or no file can be made for it."""
    if not wanted:
        yield Watch()
        return
    import tempfile

    try:
        handle, name = tempfile.mkstemp(prefix="loragit-", suffix=".trace2")
    except OSError:
        yield Watch()
        return
    os.close(handle)
    try:
        yield Watch(Path(name))
    finally:
        Path(name).unlink(missing_ok=True)


def _refusing(account: bytes) -> str | None:
    """git's first child that was a hook, was asked, and did not answer with 0."""
    asked: dict[object, str] = {}
    for event in _events(account):
        child, words = event.get("child_id"), event.get("argv")
        if event.get("event") == "child_start" and event.get("child_class") == "hook":
            if isinstance(words, list) and any(phase in words for phase in _ASKED):
                asked[child] = str(event.get("hook_name"))
        elif event.get("event") == "child_exit" and child in asked and event.get("code") != 0:
            return asked[child]
    return None


def _events(account: bytes) -> Iterator[dict[str, object]]:
    """What the first git in ``account`` tells. Others, which its hooks started, write there as
    well."""
    import json

    first = None
    for line in account.split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:  # cut short
            continue
        if isinstance(event, dict):
            first = first or event.get("sid")
            if event.get("sid") == first:
                yield event
