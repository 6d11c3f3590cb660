"""How long something takes, or how much it holds, and how that grows."""

from __future__ import annotations

import sys


def slack() -> float:
    """What a bound of processor time is to be multiplied with: Python is slower where its coverage
    is measured."""
    return 5.0 if sys.gettrace() else 1.0
