"""Moments in verdicts."""

from __future__ import annotations

import pytest

from loragit.history.verify.verdict import Since, utc_timestamp

EARLY, LATE = "2026-11-23T17:20:30Z", "2026-11-24T08:00:00Z"


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (Since(EARLY, LATE), f"between {EARLY} and {LATE}"),
        (Since(EARLY, None), f"after {EARLY}"),
        (Since(None, LATE), f"by {LATE}"),
        (Since(None, None), ""),
    ],
)
def test_as_much_is_said_as_is_known(since: Since, words: str) -> None:
    assert str(since) == words


def test_moments_that_no_record_can_write_become_the_nearest_one() -> None:
    assert utc_timestamp(-1e12) == utc_timestamp(0) == "1970-01-01T00:00:00Z"
    assert utc_timestamp(1e15) == "9999-12-31T23:59:59Z"
