"""loragit: every LoRA training run as a git commit in the dataset's own repository.

``from loragit import History`` reads what is on record (docs/python.md).
"""

from __future__ import annotations

from loragit.version import __version__

TYPE_CHECKING = False
"""As :mod:`typing` has it, which takes longer to import than Python itself."""

if TYPE_CHECKING:
    from loragit.errors import LoragitError
    from loragit.history.history import History, RecordedRun

__all__ = ["History", "LoragitError", "RecordedRun", "__version__"]

_DOORS = {"History": "history.history", "RecordedRun": "history.history", "LoragitError": "errors"}
"""Where each name comes from; imported when it is asked for, so that ``import loragit`` costs
nothing."""


def __getattr__(name: str) -> object:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
