"""The first records of format 1, which have no ``.gitattributes``: they are read as all others."""

from __future__ import annotations

from pathlib import Path

from loragit import History
from loragit.history.compare.runs import compare_runs
from loragit.history.verify.verify import VerifyOptions, verify
from tests.support import made_up_runs
from tests.support.made_up_runs import an_outcome, open_store
from tests.support.processes import git

FIRST, SECOND = "noob-gren-v1s4", "noob-gren-v2s4"


def without_attributes(dataset: Path, name: str) -> str:
    """Make the open run ``name`` what the first loragit wrote; its commit."""
    rows = git(dataset, "ls-tree", name).splitlines()
    kept = [row for row in rows if not row.endswith("\t.gitattributes")]
    assert len(kept) == len(rows) - 1
    tree = git(dataset, "mktree", text_input="".join(f"{row}\n" for row in kept))
    message = git(dataset, "log", "-1", "--format=%B", name)
    commit = git(dataset, "commit-tree", tree, text_input=message)
    for ref in ("refs/heads/runs", f"refs/tags/{name}"):
        git(dataset, "update-ref", ref, commit)
    return commit


def test_they_are_verified_compared_and_reverted_to(dataset: Path) -> None:
    store = open_store(dataset)
    run = made_up_runs.a_run(name=FIRST)
    store.open(run)
    opened = made_up_runs.opened(run, without_attributes(dataset, FIRST))
    store.seal(opened, an_outcome())
    other = store.open(made_up_runs.a_run(name=SECOND))
    store.seal(other, an_outcome())
    history = History.of(dataset)
    later, first = history.runs
    assert ".gitattributes" in later.files
    assert ".gitattributes" not in first.files
    assert compare_runs(first, later).changes == ()
    verdicts = verify(history, VerifyOptions((), Path("/"), quick=False)).verdicts
    assert [each.message for each in verdicts if each.check == "record"] == []
    third = store.open(made_up_runs.a_run(name="noob-gren-v3s4"))
    store.revert(third, 1, "why", ())
    assert git(dataset, "rev-parse", "runs^{tree}") == git(
        dataset, "rev-parse", f"{SECOND}^{{tree}}"
    )
    history.close()
