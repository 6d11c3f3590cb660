"""Children are measured as coverage itself would measure them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from coverage import CoverageData

from tests.support import child_coverage
from tests.support.paths import ROOT

PROGRAM = """\
import sys, threading
from loragit.record import name as names, trailers

thread = threading.Thread(target=names.RunName.parse, args=sys.argv[1:])
thread.start()
thread.join()
trailers.parse("what it was\\n\\nRun: noob\\n")
"""
CONFIG = ROOT / "pyproject.toml"


def arcs(data: Path) -> dict[str, set[tuple[int, int]]]:
    seen = CoverageData(str(data))
    seen.read()
    found = {name: set(seen.arcs(name) or ()) for name in seen.measured_files()}
    return {
        name: pairs for name, pairs in found.items() if pairs
    }  # without those of which nothing ran


def test_a_child_leaves_what_coverage_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "left"
    program.write_text(PROGRAM)
    folder.mkdir()
    monkeypatch.setenv(child_coverage.OWN_WAY, "as in a measured session")
    value = child_coverage.start(folder)
    monkeypatch.delenv(child_coverage.OWN_WAY)
    if value is None:
        pytest.skip("this Python is measured in coverage's own way")
    plain = {name: text for name, text in os.environ.items() if name != child_coverage.VARIABLE}
    words = [str(program), "noob-gren-v2s512"]
    subprocess.run(
        [sys.executable, *words], env=plain | {child_coverage.VARIABLE: value}, check=True
    )
    own = [
        sys.executable,
        "-m",
        "coverage",
        "run",
        "--rcfile",
        str(CONFIG),
        "--data-file",
        str(tmp_path / "own"),
    ]
    subprocess.run([*own, *words], env=plain, cwd=tmp_path, check=True)
    (data,) = tmp_path.glob("own.*")
    wanted = arcs(data)
    assert len(wanted) > 3
    assert {name: set(pairs) for name, pairs in child_coverage.read(folder).items()} == wanted


def test_no_child_is_measured_in_a_session_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(child_coverage.OWN_WAY, raising=False)
    assert child_coverage.start(tmp_path) is None
