"""The quick reader says what the slow one says, of whatever text."""

from __future__ import annotations

import tomllib

import pytest
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loragit.history import plain_toml
from loragit.record import run_toml
from loragit.record.values import Weights
from tests.support.fuzz_targets import THOROUGH
from tests.support.made_up_runs import a_run

pytestmark = pytest.mark.every_python


def outcome(source: str, read: object) -> object:
    try:
        return repr(read(source))  # type: ignore[operator]  # not a number equals nothing
    except ValueError:
        return "refused"


def test_what_loragit_writes_is_read_the_quick_way() -> None:
    run = a_run(
        weights=(Weights("Base-Model", "x", "a" * 64), Weights("VAE", "y", None)), dataset_dirty=3
    )
    source = run_toml.run_toml(run).data.decode()
    assert plain_toml._parse_plain(source) == tomllib.loads(source)


ODD = (
    *(
        "a = 1\na = 2",
        "[a]\n[a]",
        "[[a]]\n[a]",
        "a = 1\n[a.b]",
        "[a]\nb = 1\n[a.b]",
        "a = [\n    1,",
        "a = [\n1,\n]",
    ),
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
    *(
        "a = []\n[[a]]",
        "a = true\nb = false",
        '[a."b c"]\nd = []',
        "# a comment",
        "[a]\r\nb = 1",
        "a = 9" + "9" * 30,
    ),
    *(
        "[a.b]\nc = 1\n[a]\nd = 2",
        "[a.b]\n[a.c]",
        "[[a]]\n[[a]]\nb = 1",
        "[a]\n[[a]]",
        "a = 1\n[[a]]",
        "[a.b.c]",
    ),
    *("a = [\n    [],\n]", "[[a]]\n[a.b]\nc = 1"),
)


@pytest.mark.parametrize("source", ODD)
def test_odd_documents_are_read_or_refused_as_by_the_library(source: str) -> None:
    assert outcome(source, plain_toml.parse_document) == outcome(source, tomllib.loads)


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
    assert outcome(source, plain_toml.parse_document) == outcome(source, tomllib.loads)


# What the quick reader looks at stands between other letters more often than chance would have it,
# and all is short: three hundred documents take less time than twenty long ones did.
TEXTS = st.text(st.sampled_from('ab"\\\n\t\x1f\x7f\u2028[]=.#é ,') | st.characters(), max_size=4)
LEAVES = (
    TEXTS
    | st.integers()
    | st.booleans()
    | st.floats()
    | st.lists(TEXTS | st.integers(), max_size=3)
)
TABLES = st.dictionaries(TEXTS, LEAVES, max_size=3)
VALUES = (
    LEAVES
    | TABLES
    | st.lists(TABLES, max_size=3)
    | st.dictionaries(TEXTS, LEAVES | TABLES, max_size=3)
)


@settings(max_examples=20_000 if THOROUGH else 300, derandomize=not THOROUGH, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@example({"a": {"b" * 70: ["x" * 300] * 40}, "c": [{"d": 2**64}, {"d": -1}]})
def test_any_document_is_read_as_by_the_library(document: dict[str, object]) -> None:
    source = tomli_w.dumps(document)
    assert outcome(source, plain_toml.parse_document) == outcome(source, tomllib.loads)
