"""Which run continued which, as a tree that ``loragit log --graph`` draws::

base-v1s512
├─ base-v2s512 (resumed)
│  └─ base-v3s512 (from its weights)
└─ other-v1s512 (from its weights)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from loragit.history.runs import RecordedRun

RESUMED, DERIVED = "resumed", "from its weights"
_WORD = re.compile(r"[^\s:,;()]+")


class Twig(NamedTuple):
    """A run at its place in the tree."""

    run: RecordedRun
    drawn: str
    """Drawn before its name: ``│  └─ ``; empty for a root."""
    how: str
    """How it continues the run above: ``resumed``, ``from its weights``; empty for a root."""


def parents(runs: Sequence[RecordedRun]) -> dict[str, tuple[RecordedRun, str]]:
    """Return, for each of ``runs`` by commit, which of them it continues, and how."""
    by_name: dict[str, list[RecordedRun]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    found = {}
    for run in runs:
        for key, how in (("Resumed-From", RESUMED), ("Derived-From", DERIVED)):
            if f"\n{key}: " not in run.message:
                continue
            above = next(
                (
                    each
                    for value in run.trailers.get(key, ())
                    if (each := _run_named_in(value, run, by_name))
                ),
                None,
            )
            if above is not None:
                found[run.commit] = (above, how)
                break
    return found


def _run_named_in(
    value: str, run: RecordedRun, by_name: dict[str, list[RecordedRun]]
) -> RecordedRun | None:
    """Return the run that a trailer's value names.

    In ``noob-gren-v1s512 (0f1e2d3c)`` the commit decides between runs of the same name; without
    one it is the newest that is not newer than ``run``.
    """
    words = _WORD.findall(value)
    named = next((by_name[word] for word in words if word in by_name), [])
    others = [each for each in named if each.commit != run.commit]
    exact = [
        each
        for each in others
        if any(len(word) > 6 and each.commit.startswith(word) for word in words)
    ]
    older = [each for each in others if each.time <= run.time]
    return next(iter(exact or older), None)


def lineage_tree(runs: Sequence[RecordedRun]) -> list[Twig]:
    """Return ``runs`` with each below the one that it continues; siblings keep the given order."""
    above = parents(runs)
    below: dict[str, list[RecordedRun]] = {}
    for run in runs:
        if run.commit in above:
            below.setdefault(above[run.commit][0].commit, []).append(run)
    found: list[Twig] = []
    waiting = [Twig(run, "", "") for run in reversed(runs) if run.commit not in above]
    while waiting:
        twig = waiting.pop()
        found.append(twig)
        children = below.pop(twig.run.commit, [])
        margin = twig.drawn.replace("├─ ", "│  ").replace("└─ ", "   ")
        for child in reversed(children):
            last = child is children[-1]
            waiting.append(Twig(child, margin + ("└─ " if last else "├─ "), above[child.commit][1]))
    # Runs in a circle, as only a forged record can have, have no root.
    known = {twig.run.commit for twig in found}
    return found + [Twig(run, "", "") for run in runs if run.commit not in known]
