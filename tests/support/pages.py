"""What the pages of the documentation say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

FORMAT = ROOT / "docs" / "record-format.md"


def documented(page: Path, column: int = 0) -> set[str]:
    """What stands in code type in one column of a page's tables."""
    rows = [
        line.strip("|").split("|") for line in page.read_text().splitlines() if line.startswith("|")
    ]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row[column])}


def dotted(table: dict[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict) and prefix != "files.":
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key
