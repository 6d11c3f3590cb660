"""The quick reader says what the slow one says, of whatever text."""

from __future__ import annotations

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from loragit import plaintoml, text
from loragit.record import Weights
from tests.records import a_run


def outcome(source: str, read: object) -> object:
    try:
        return read(source)  # type: ignore[operator]
    except ValueError:
        return "refused"


def test_what_loragit_writes_is_read_the_quick_way() -> None:
    run = a_run(weights=(Weights("Base-Model", "x", "a" * 64), Weights("VAE", "y", None)), dataset_dirty=3)
    source = text.run_toml(run).data.decode()
    assert plaintoml._read(source) == tomllib.loads(source)


ODD = (
    *("a = 1\na = 2", "[a]\n[a]", "[[a]]\n[a]", "a = 1\n[a.b]", "[a]\nb = 1\n[a.b]", "a = [\n    1,", "a = [\n1,\n]"),
    *(
        "a = 01",
        "a = 1.5",
        "a = 'x'",
        'a = "\\n"',
        'a = "\\u0041"',
        "a.b = 1",
        "[a",
        "[[a]",
        "[[a.b]]",
        "a = [1]",
        "a=1",
    ),
    *("a = []\n[[a]]", "a = true\nb = false", '[a."b c"]\nd = []', "# a comment", "[a]\r\nb = 1", "a = 9" + "9" * 30),
    *("[a.b]\nc = 1\n[a]\nd = 2", "[a.b]\n[a.c]", "[[a]]\n[[a]]\nb = 1", "[a]\n[[a]]", "a = 1\n[[a]]", "[a.b.c]"),
    *("a = [\n    [],\n]", "[[a]]\n[a.b]\nc = 1"),
)


@pytest.mark.parametrize("source", ODD)
def test_odd_documents_are_read_or_refused_as_by_the_library(source: str) -> None:
    assert outcome(source, plaintoml.read) == outcome(source, tomllib.loads)


LINES = st.sampled_from(
    [
        "[a]",
        "[b.a]",
        '[a."c d"]',
        "[[c]]",
        "[[a]]",
        "[a.b]",
        'a = "x"',
        "a = 1",
        "b = []",
        "c = [",
        '    "y",',
        "    2,",
        "]",
        "",
    ]
)


@given(st.lists(LINES))
def test_any_order_of_lines_is_read_as_by_the_library(lines: list[str]) -> None:
    source = "\n".join(lines)
    assert outcome(source, plaintoml.read) == outcome(source, tomllib.loads)


VALUES = st.recursive(
    st.text() | st.integers() | st.booleans() | st.lists(st.text(), max_size=8),
    lambda inner: st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
"""Small ones. As large as they come by default, drawing a hundred took 12 s, and the reading of them a hundredth."""


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_any_document_is_read_as_by_the_library(document: dict[str, object]) -> None:
    source = tomli_w.dumps(document)
    assert outcome(source, plaintoml.read) == outcome(source, tomllib.loads)
