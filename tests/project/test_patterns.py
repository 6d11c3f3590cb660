"""No regular expression has a possessive quantifier or an atomic group: Python 3.11.0 to 3.11.4
match those wrongly (https://github.com/python/cpython/issues/106052), and Debian 12's own Python is
one of them."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import loragit
from tests.support.paths import ROOT

pytestmark = pytest.mark.every_python


FOLDERS = ("src", "tests", "benchmarks", "fuzz", "hooks")
PROGRAMS = {"loragit.__main__", "loragit.commands.demo.trainer"}
REFUSED = {"POSSESSIVE_REPEAT", "ATOMIC_GROUP"}
FILLED = ("(?:x)", "1")
"""A group, and what can be a number or a name as well."""


def refused(pattern: str | bytes) -> bool:
    """Whether ``pattern`` is a regular expression that has one of :data:`REFUSED`."""
    text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    if re.search(r"[*+?}]\+|\(\?>", text) is None:  # neither can be written otherwise
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except (re.error, OverflowError, RecursionError):
        return False
    return not REFUSED.isdisjoint(operations(parsed))


def operations(parsed: object) -> Iterator[str]:
    """Names of all operations of a parsed pattern, at any depth."""
    if isinstance(parsed, re._parser.SubPattern):  # type: ignore[attr-defined]
        for operation, argument in parsed:
            yield str(operation)
            yield from operations(argument)
    elif isinstance(parsed, (tuple, list)):
        for each in parsed:
            yield from operations(each)


def patterns(source: str) -> Iterator[tuple[int, str | bytes]]:
    """Every text in ``source`` that may be a regular expression or a part of one, with its line:
    all but docstrings.

    Whatever an f-string is filled with, or ``+`` adds, counts as any of :data:`FILLED`.
    """
    tree = ast.parse(source)
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and id(node) not in told:
            for filled in FILLED:
                text = written(node, filled)
                if text:
                    yield node.lineno, text


def written(node: ast.expr, filled: str) -> str | bytes | None:
    """The text that ``node`` stands for; ``filled`` is what is not written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(each.value) if isinstance(each, ast.Constant) else filled for each in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = written(node.left, filled), written(node.right, filled)
        if isinstance(left, bytes) or isinstance(right, bytes):
            return b"".join(
                each if isinstance(each, bytes) else filled.encode() for each in (left, right)
            )
        if left is not None or right is not None:
            return "".join(filled if each is None else each for each in (left, right))
    return None


def test_no_file_has_a_pattern_that_an_old_python_matches_wrongly() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 200
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in files
        for line, text in patterns(path.read_text(encoding="utf-8"))
        if path != Path(__file__) and refused(text)
    ]
    assert found == []


def test_no_module_holds_such_a_pattern_that_was_put_together() -> None:
    names = {each.name for each in pkgutil.walk_packages(loragit.__path__, "loragit.")} - PROGRAMS
    modules = [importlib.import_module(name) for name in sorted(names)]
    held = [
        (module.__name__, name, value) for module in modules for name, value in vars(module).items()
    ]
    compiled = [
        (where, name, each.pattern) for where, name, each in held if isinstance(each, re.Pattern)
    ]
    assert len(compiled) > 50
    assert [(where, name) for where, name, pattern in compiled if refused(pattern)] == []


@pytest.mark.parametrize(
    "source",
    [
        r're.compile(r"a++")',
        r're.compile(rb"(?:a|b)*+c")',
        r're.search("(?:(?P<x>a?+)|b)", x)',
        r're.sub(r"a{1,3}+", "", x)',
        r'X = "(?>ab)"',
        r're.compile(f"[{X}]++")',
        r're.compile(rf"(?:[^{X}]{{0,{LIMIT}}}+\r*)+")',
        r're.compile(f"{X}++")',
        r're.compile(X + "++")',
        r're.compile("a+" + "+")',
        r're.compile("(?!a++)" "b")',
    ],
)
def test_such_a_pattern_is_found_however_it_is_written(source: str) -> None:
    assert any(refused(text) for _, text in patterns(source))


@pytest.mark.parametrize(
    "source", [r're.compile(r"a+\+[*+]+(?:a+)+a+?")', '"""a++"""', 'x = "a" + b', "x = f'{a}+b'"]
)
def test_no_other_text_is_taken_for_one(source: str) -> None:
    assert not any(refused(text) for _, text in patterns(source))
