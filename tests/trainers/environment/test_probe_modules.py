"""The probe's search for modules, in this process, where it can be watched."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragit.trainers.environment import imports, probe
from loragit.trainers.environment.imports import ImportedFile


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty ``sys.path``."""
    path: list[str] = []
    monkeypatch.setattr(sys, "path", path)
    return path


@pytest.fixture
def standard_input() -> Iterator[int]:
    """The writing end of a pipe that is standard input."""
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(kept, 0)
    os.close(kept)


def touch(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    importlib.invalidate_caches()
    return file


def test_a_module_is_found_with_the_packages_that_hold_it(path: list[str], tmp_path: Path) -> None:
    init = touch(tmp_path / "one/__init__.py")
    touch(tmp_path / "one/two/deep.py")
    path.append(str(tmp_path))
    deep = str(tmp_path / "one/two/deep.py")
    found = [("one", str(init)), ("one.two", ""), ("one.two.deep", deep)]
    assert probe.named("one.two.deep") == found
    assert probe.named("one.two.deep.er") == found
    assert probe.named("one.gone.deep") == found[:1]
    assert probe.named("gone") == []


def test_what_the_site_imported_is_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PRELOADED", frozenset({"pytest"}))
    assert probe.named("pytest") == [("pytest", pytest.__file__)]


def test_the_modules_of_a_folder_are_what_python_could_import(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "b.so",
        "c.cpython-311-x86_64-linux-gnu.so",
        "d/__init__.py",
        "e/any.py",
        "f/image.png",
        "venv/pyvenv.cfg",
        "venv/x.py",
        "no-name.py",
        "notes.txt",
        "g.also",
    ):
        touch(tmp_path / name)
    assert probe.modules_in(str(tmp_path)) == ["a", "b", "c", "d", "e"]
    assert probe.modules_in(str(tmp_path / "gone")) == []
    assert not probe.holds_python(str(tmp_path / "gone"))


def test_modules_that_hide_others_are_told(path: list[str], tmp_path: Path) -> None:
    script, site, before = (tmp_path / name for name in ("script", "site", "before"))
    own = {name: touch(script / f"{name}.py") for name in ("hides", "alone", "hidden")}
    touch(script / "space/x.py")
    for name in ("hides", "space"):
        touch(site / name / "__init__.py")
    other = touch(before / "hidden.py")
    path += [str(script), str(site)]
    assert probe.beside(str(script)) == [
        ("over", "hides", str(own["hides"])),
        ("under", "space", str(site / "space/__init__.py")),
    ]
    assert path == [str(script), str(site)]
    path.insert(0, str(before))
    assert ("under", "hidden", str(other)) in probe.beside(str(script))


def test_the_answer_is_read_as_it_was_written(
    path: list[str],
    tmp_path: Path,
    standard_input: int,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    mine = touch(tmp_path / "script/mine.py")
    os.write(standard_input, imports.module_lines(["mine", "mine", "no name", "gone"]))
    os.close(standard_input)
    probe.main(str(tmp_path / "script"), "", "modules")
    *_, said, end = capfdbinary.readouterr().out.split(probe.MARKER)
    assert imports.parse_imports(said).named == (ImportedFile("mine", mine),)
    assert end == b""


@pytest.mark.parametrize("said", [b"", b"named\0x\0", b"other\0x\0/y\0", b"named\0x\0\0"])
def test_what_is_no_row_is_left_out(said: bytes) -> None:
    assert imports.parse_imports(said) == imports.Imports()
