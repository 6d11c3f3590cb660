"""The tree of rooms in docs/design.md, and the paths that pages name: all of it exists, and all
that exists is there.

``LORAGIT_DOCS=write pytest -n 0 --no-cov tests/project/test_house.py`` writes the modules of each
room into the tree anew. What a room is for, only a person can write.
"""

from __future__ import annotations

import os
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from tests.support.paths import ROOT

WRITE = os.environ.get("LORAGIT_DOCS") == "write"
PACKAGE = ROOT / "src" / "loragit"
DESIGN = ROOT / "docs" / "design.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- tree -->\n```\n", "```\n<!-- end of tree -->"
INDENT = "    "
TOP = "src/loragit/"


def tree() -> str:
    return DESIGN.read_text().partition(BEGIN)[2].partition(END)[0]


def rooms() -> dict[str, str]:
    """What the tree says of each room, by its path, in the tree's order."""
    lines = [line for line in tree().splitlines() if line and not line.startswith(INDENT)]
    return {path: says.strip() for path, _, says in (line.partition(" ") for line in lines)}


def members(room: str) -> list[str]:
    """Modules and other files of a room, sorted; ``__init__`` is every room's."""
    folder = PACKAGE if room == TOP else PACKAGE / room
    names = (path.name for path in folder.iterdir() if path.is_file() and path.name != "py.typed")
    return sorted(name.removesuffix(".py") for name in names if name != "__init__.py")


def folders() -> set[str]:
    inner = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    return {TOP} | {f"{path}/" for path in inner - {"."}}


def rendered() -> str:
    """The tree as it should be, with every room that it has by now."""
    text = ""
    for room, says in rooms().items():
        text += f"{room:23} {says}\n"
        if room in folders():
            wrapped = textwrap.fill(
                "  ".join(members(room)),
                100,
                initial_indent=INDENT,
                subsequent_indent=INDENT,
                break_on_hyphens=False,
            )
            text += f"{wrapped}\n"
    return text


def test_every_room_is_in_the_tree_and_every_room_of_the_tree_exists() -> None:
    undescribed, gone = folders() - rooms().keys(), rooms().keys() - folders()
    assert undescribed == set(), "add a line to the tree of docs/design.md that says what these are"
    assert gone == set(), "take these out of the tree of docs/design.md"


def test_every_module_is_in_the_tree_and_every_module_of_the_tree_exists() -> None:
    if WRITE:
        DESIGN.write_text(DESIGN.read_text().replace(tree(), rendered()))
    assert tree() == rendered(), (
        "docs/design.md: write the modules anew with LORAGIT_DOCS=write pytest -n 0 --no-cov "
        "tests/project/test_house.py"
    )


def test_the_floors_of_the_page_are_those_that_are_checked() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(
        each["layers"] for each in linter["contracts"] if each.get("containers") == ["loragit"]
    )
    floors = DESIGN.read_text().partition("There are eight floors:\n\n```\n")[2].partition("```")[0]
    assert floors.splitlines() == [re.sub(r" [|:] ", "  ", layer) for layer in layers]


@pytest.mark.parametrize("page", [DESIGN, CONTRIBUTING], ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    words = set(re.findall(r"`([^`<\s]+)`", page.read_text()))
    roots = {path.name for path in ROOT.iterdir() if path.is_dir()} - {".git"}
    inner = {path.name for path in PACKAGE.iterdir() if path.is_dir()} | {
        path.name for path in PACKAGE.glob("*.py")
    }
    named = {
        word: [base / word for base in (ROOT, PACKAGE)]
        for word in words
        if word.partition("/")[0] in roots | inner and ("/" in word or word.endswith(".py"))
    }
    assert len(named) > 15
    assert {word for word, paths in named.items() if not any(map(Path.exists, paths))} == set()


def test_every_target_that_the_pages_name_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    rules = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    phony = re.findall(r"^\.PHONY: ([a-z -]+)$", makefile, re.MULTILINE)[0].split()
    named = re.findall(r"`make ([a-z-]+)", CONTRIBUTING.read_text())
    assert {"mutants", "bench", "test-python"} <= set(named) <= rules
    assert set(phony) == rules


def test_the_doors_of_the_page_are_those_that_ruff_leaves_open() -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    opened = {
        path.removeprefix("src/loragit/")
        for path, rules in ruff["per-file-ignores"].items()
        if path.startswith("src/") and {"TID251", "T20"} & set(rules)
    }
    section = DESIGN.read_text().partition("**Doors.**")[2].partition("\n\nValues")[0]
    # The demo's trainer is copied and run as a program of its own.
    assert {*re.findall(r"`([\w/]+\.py)`", section)} == opened - {"commands/demo/trainer.py"}


def test_no_test_module_imports_another() -> None:
    """What two of them need is in ``tests/support``."""
    importing = re.compile(r"^\s*(?:from|import) +(tests(?:\.\w+)*\.test_\w+)", re.MULTILINE)
    found = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in (ROOT / "tests").rglob("*.py")
        for module in importing.findall(path.read_text())
    }
    assert found == set()
