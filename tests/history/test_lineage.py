"""Which run continued which, as a tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit import History, RecordedRun
from loragit.history.lineage import DERIVED, RESUMED, lineage_tree, parents
from tests.support.made_up_runs import open_store, sealed


@pytest.fixture
def root(dataset: Path) -> RecordedRun:
    sealed(open_store(dataset), "root")
    return History.of(dataset).run("root")


def child(root: RecordedRun, name: str, number: int, *trailers: str) -> RecordedRun:
    """A run that was opened ``number`` seconds after ``root``."""
    message = root.message + "".join(f"{each}\n" for each in trailers)
    return root._replace(
        name=name, commit=f"{number:040x}", time=root.time + number, message=message
    )


def test_runs_lie_below_the_one_that_they_continue(root: RecordedRun) -> None:
    a = child(root, "a", 1, f"Resumed-From: root ({root.commit[:12]})")
    b = child(root, "b", 2, "Derived-From: root.safetensors, root")
    c = child(root, "c", 3, "Resumed-From: a", "Derived-From: root")
    d = child(root, "d", 4, "Derived-From: nobody")
    runs = [d, c, b, a, root]
    assert parents(runs) == {
        a.commit: (root, RESUMED),
        b.commit: (root, DERIVED),
        c.commit: (a, RESUMED),
    }
    assert [(twig.drawn + twig.run.name, twig.how) for twig in lineage_tree(runs)] == [
        ("d", ""),
        ("root", ""),
        ("├─ b", "from its weights"),
        ("└─ a", "resumed"),
        ("   └─ c", "resumed"),
    ]


def test_of_runs_of_one_name_the_commit_decides_else_the_newest_before(root: RecordedRun) -> None:
    early, late = child(root, "root", 5), child(root, "root", 9)
    last = child(root, "last", 7, "Resumed-From: root")
    runs = [late, last, early, root]
    assert parents(runs)[last.commit][0] == early
    named = child(root, "last", 7, f"Resumed-From: root ({late.commit})")
    assert parents([late, named, early, root])[named.commit][0] == late
    short = child(root, "last", 7, f"Resumed-From: root ({root.commit[:6]})")
    assert parents([late, short, early, root])[short.commit][0] == early


def test_a_run_of_the_same_second_is_before_and_a_run_is_not_its_own(root: RecordedRun) -> None:
    twin = child(root, "twin", 0, "Derived-From: twin", "Derived-From: root")
    assert parents([twin, root]) == {twin.commit: (root, DERIVED)}


def test_runs_in_a_circle_are_listed_last(root: RecordedRun) -> None:
    one = child(root, "one", 1, "Resumed-From: two")
    two = one._replace(name="two", commit="2" * 40, message=root.message + "Resumed-From: one\n")
    assert [twig.run.name for twig in lineage_tree([two, one, root])] == ["root", "two", "one"]
