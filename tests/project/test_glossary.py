"""docs/glossary.md: sorted, linked, short, and true of the code."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
HALF_A_PAGE = 25
"""Lines."""


def sections() -> dict[str, str]:
    """The explanation of each term, in the page's order."""
    parts = re.split(r"^## (.+)$", GLOSSARY.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def modules(explanation: str) -> list[str]:
    """Those that the last line of a term's explanation names."""
    last = explanation.strip().splitlines()[-1]
    assert re.fullmatch(r"In the code: `[\w.]+`(, `[\w.]+`)*", last), last
    return re.findall(r"`([\w.]+)`", last)


def test_the_terms_are_sorted_and_each_is_explained_once() -> None:
    terms = re.findall(r"^## (.+)$", GLOSSARY.read_text(), re.MULTILINE)
    assert len(terms) > 40
    assert terms == sorted(set(terms))


@pytest.mark.parametrize("term", sections())
def test_a_term_is_explained_in_half_a_page_at_most(term: str) -> None:
    text = sections()[term].strip()
    assert len(text.splitlines()) <= HALF_A_PAGE
    assert text.count(". ") + text.count(".\n") <= 7


@pytest.mark.parametrize("term", sections())
def test_a_term_names_modules_that_exist(term: str) -> None:
    for module in modules(sections()[term]):
        assert find_spec(module) is not None, module


def test_another_page_links_to_the_glossary() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [page.name for page in pages if "glossary.md)" in page.read_text()]
    assert "design.md" in links
