"""What is on record, read: runs, their records and outcomes, what changed, and whether it is true.

Nothing here writes, but for a cache. Writing the record is ``store``. The names that docs/python.md
promises are handed on; each is imported when it is first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As :mod:`typing` has it. A hook starts in milliseconds, and importing that takes some of them."""

if TYPE_CHECKING:
    from loragit.history.compare.changes import Comparison
    from loragit.history.compare.details import Difference, compare_in_full
    from loragit.history.history import History
    from loragit.history.record_parser import CannotReadRecord
    from loragit.history.runs import NoSuchFile, NoSuchRun, RecordedRun, SeveralRuns

__all__ = [
    "CannotReadRecord",
    "Comparison",
    "Difference",
    "History",
    "NoSuchFile",
    "NoSuchRun",
    "RecordedRun",
    "SeveralRuns",
    "compare_in_full",
]

_MODULES = {
    "CannotReadRecord": "record_parser",
    "Comparison": "compare.changes",
    "Difference": "compare.details",
    "History": "history",
    "NoSuchFile": "runs",
    "NoSuchRun": "runs",
    "RecordedRun": "runs",
    "SeveralRuns": "runs",
    "compare_in_full": "compare.details",
}
"""The module of this room that each name comes from."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
