"""Runs on record compared: one whose record is damaged keeps no other from being compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit import History, RecordedRun
from loragit.history import CannotReadRecord
from loragit.history.cache import HistoryCache
from loragit.history.compare import cached
from loragit.history.compare.runs import compare_many, compare_runs
from tests.support.made_up_runs import open_store, sealed
from tests.support.processes import git

ONE, TWO, THREE, FOUR = (f"noob-gren-v{number}s4" for number in (1, 2, 3, 4))


@pytest.fixture
def runs(dataset: Path) -> dict[str, RecordedRun]:
    """Four sealed runs by name; ``run.toml`` of the second is damaged."""
    store = open_store(dataset)
    sealed(store, ONE)
    blob = git(dataset, "hash-object", "-w", "--stdin", text_input="= no toml")
    tree = git(dataset, "mktree", text_input=f"100644 blob {blob}\trun.toml\n")
    message = f"{TWO}: damaged\n\nRun: {TWO}\nDataset: gren\nLoragit-Format: 1\n"
    commit = git(dataset, "commit-tree", "-p", "runs", tree, text_input=message)
    git(dataset, "update-ref", "refs/heads/runs", commit)
    git(dataset, "tag", "-a", "-m", f"{TWO}: x\n\nRun: {TWO}\nSamples: 0\n", TWO, commit)
    sealed(store, THREE)
    sealed(store, FOUR, argv=("python", "sdxl_train_network.py", "--seed", "7"))
    return {run.name: run for run in History.of(dataset).runs}


def test_a_damaged_record_is_left_out_whichever_side_it_is_on(
    runs: dict[str, RecordedRun],
) -> None:
    pairs = [(runs[ONE], runs[TWO]), (runs[TWO], runs[THREE]), (runs[THREE], runs[FOUR])]
    found = [each and each.phrases() for each in compare_many(pairs)]
    assert found == [None, None, ("+seed 7",)]
    with pytest.raises(CannotReadRecord, match="is damaged"):
        compare_runs(runs[ONE], runs[TWO])


def test_a_log_tells_what_changed_of_every_other_run(runs: dict[str, RecordedRun]) -> None:
    every = list(runs.values())
    bases = {runs[b].commit: runs[a] for a, b in ((ONE, TWO), (TWO, THREE), (THREE, FOUR))}
    changed = cached.changes_in_brief(every, bases)
    assert changed == {runs[FOUR].commit: ("+seed 7",)}
    cached.save_cache(every, bases)
    stored = HistoryCache(runs[ONE].reader.repository.common_dir)
    assert list(stored.changes.values()) == ["+seed 7"]
    again = list(History.of(runs[ONE].reader.repository.top).runs)
    assert cached.changes_in_brief(again, bases) == changed


def test_outcomes_of_several_repositories_are_told_by_commit(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    for folder in (dataset, other):
        sealed(open_store(folder), ONE, dataset=folder.name)
    every = [*History.of(dataset).runs, *History.of(other).runs]
    found = cached.outcome_counts(every)
    assert {commit: counts.models for commit, counts in found.items()} == {
        run.commit: 1 for run in every
    }
    assert len(found) == 2
    # Each is kept in the cache of its own repository.
    assert [list(run.reader.cache.outcomes) for run in every] == [[run.tag] for run in every]
