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
IS_PRIVATE = re.compile(r"_(?!_|(asdict|fields|make|replace)$)")
"""Names with one underscore; four are the interface of named tuples."""
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


def private_names(path: Path) -> Iterator[str]:
    """Names with an underscore that the module at ``path`` takes from another of ours."""
    modules = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("loragit"):
            modules |= {each.asname or each.name for each in node.names}
            yield from (each.name for each in node.names if IS_PRIVATE.match(each.name))
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Attribute)
            and IS_PRIVATE.match(node.attr)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
        ):
            yield f"{node.value.id}.{node.attr}"


def test_no_module_uses_the_private_names_of_another() -> None:
    users = {named(path): list(private_names(path)) for path in MODULES}
    assert {path: names for path, names in users.items() if names} == {}


def test_a_private_name_is_noticed(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "from loragit.git import refs\nfrom loragit.git.refs import _ZERO, Ref, __doc__\n"
        "import ctypes\nrefs._events, refs.__name__, ctypes._dlopen, Ref._make\n"
    )
    assert list(private_names(module)) == ["_ZERO", "refs._events"]


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
