"""One word, one meaning: names in the code, and bounds on lines, functions, modules and rooms."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "loragit"
MODULES = sorted(SOURCE.rglob("*.py"))

SAY_NOTHING = {
    *["told", "settle", "look", "found", "kept", "asked"],
    *["hold", "say", "said", "heard", "judge", "own", "held", "seen"],
}
"""Names of functions that say nothing of what is returned, or done to whom."""
STANDS_FOR_ITS_TRAINER = SOURCE / "commands" / "demo"
"""Its files play sd-scripts, whose classes they are named after."""

LONGEST_LINE = 100
LONGEST_FUNCTION = 40
LONGEST_MODULE = 400
LARGEST_ROOM = 10
"""Modules in it, its ``__init__.py`` aside."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def named(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def length(function: ast.FunctionDef) -> int:
    """Lines, the docstring's aside."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    ends = [(node.end_lineno or 0) - node.lineno + 1 for node in (function, docstring) if node]
    return ends[0] - sum(ends[1:])


def is_too_long(line: str) -> bool:
    """Whether it is, with its marks for linters set aside; one long word cannot be broken."""
    written = re.sub(r"  # (noqa|type: ignore|fmt: skip).*", "", line)
    return len(written) > LONGEST_LINE and " " in written.strip() and "# noqa: E501" not in line


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef))


def test_a_class_is_the_only_one_of_its_name() -> None:
    where = defaultdict(list)
    for path in MODULES:
        if STANDS_FOR_ITS_TRAINER not in path.parents:
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.ClassDef):
                    where[node.name.lstrip("_")].append(named(path))
    assert len(where) > 100
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def test_a_function_says_what_it_returns_or_does() -> None:
    assert [
        f"{named(path)}:{function.lineno} {function.name}"
        for path in MODULES
        for function in functions(path)
        if function.name.lstrip("_") in SAY_NOTHING
    ] == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_lines_functions_and_modules_are_short(path: Path) -> None:
    lines = path.read_text().splitlines()
    if STANDS_FOR_ITS_TRAINER not in path.parents:  # it holds texts that are written as they are
        assert [number for number, line in enumerate(lines, 1) if is_too_long(line)] == []
    assert len(lines) <= LONGEST_MODULE
    lengths = {function.name: length(function) for function in functions(path)}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_a_room_is_small_and_says_what_is_in_it() -> None:
    rooms = {path.parent for path in MODULES} - {SOURCE}
    assert len(rooms) > 10
    for room in rooms:
        modules = [path for path in room.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= LARGEST_ROOM or room == SOURCE / "commands", room
        assert re.search(r"\w+", ast.get_docstring(tree(room / "__init__.py")) or ""), room
