"""Where the repository's own files are, for tests that read them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
SD_SCRIPTS = FIXTURES / "sd-scripts"
"""Files that a real run of sd-scripts wrote."""
