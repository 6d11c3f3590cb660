"""Runs as the documents that ``--json`` prints."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from loragit import History, RecordedRun
from loragit.history import as_json
from loragit.history.compare.cached import outcome_counts
from loragit.history.compare.commits import CommitsBetween, NamedCommit
from loragit.history.compare.details import compare_in_full
from loragit.record.values import Entry, LyCORIS, Weights
from loragit.store.store import Store
from tests.support.made_up_runs import (
    CODE,
    a_run,
    an_outcome,
    open_store,
    reverted,
    sealed,
    untagged,
)
from tests.support.processes import git

ONE, TWO, THREE, FOUR = (f"noob-gren-v{number}s4" for number in (1, 2, 3, 4))


@pytest.fixture
def store(dataset: Path) -> Store:
    return open_store(dataset)


def runs_of(store: Store) -> dict[str, RecordedRun]:
    return {run.name: run for run in History.of(store.repository.top).runs}


def printed(document: as_json.Document) -> Any:
    return json.loads(json.dumps(document, allow_nan=False))


def listed(run: RecordedRun) -> as_json.Document:
    return as_json.listed_run(run, outcome_counts([run]).get(run.commit), None, None)


def whole(run: RecordedRun, *others: RecordedRun) -> Any:
    return printed(as_json.whole_run(run, listed(run), others))


def test_the_line_of_an_outcome(store: Store) -> None:
    sealed(store, ONE)
    reverted(store, TWO)
    untagged(store, THREE)
    store.open(a_run(name=FOUR))
    runs = runs_of(store)
    lines = {name: as_json.outcome_line(run) for name, run in runs.items()}
    assert lines == {
        ONE: "1 model, 2 samples, 42 min",
        TWO: "exit status 1, made nothing",
        THREE: "",
        FOUR: "",
    }
    by_hand = (runs[TWO].commit, "Revert it\n\nReverts: x\n")
    assert as_json.outcome_line(runs[TWO]._replace(reverted_by=by_hand)) == "made nothing"
    tag = git(store.repository.top, "rev-parse", ONE)
    (store.repository.top / ".git/objects" / tag[:2] / tag[2:]).unlink()
    assert as_json.outcome_line(runs_of(store)[ONE]) == ""


def test_a_listed_run_has_its_outcome_in_numbers(store: Store) -> None:
    opened = store.open(a_run(name=ONE))
    store.seal(
        opened,
        an_outcome(
            exit_status=3,
            final_loss=math.inf,
            truncated=("a",),
            unreadable=("b", "c"),
            states=("d", "e", "f"),
        ),
    )
    run = runs_of(store)[ONE]
    found = listed(run)
    json.dumps(found, allow_nan=False)
    numbers = ("exit_status", "seconds", "model_count", "truncated_count", "unreadable_count")
    assert [found[key] for key in numbers] == [3, 2520, 1, 1, 2]
    assert (found["state_count"], found["sample_count"], found["final_loss"]) == (3, 2, None)
    assert (found["run"], found["state"], found["imported"]) == (ONE, "sealed", False)
    assert (found["trainer_commit"], found["format"]) == ("a" * 40, 1)
    assert (found["changed_since"], found["changed"], found["reverted_by"]) == (None, None, None)
    counts = outcome_counts([run])[run.commit]._replace(final_loss=0.5)
    again = as_json.listed_run(run, counts, run, ("a", "b"))
    assert (again["final_loss"], again["changed_since"]) == (0.5, ONE)
    assert again["changed"] == ["a", "b"]
    assert as_json.listed_run(run, counts, run, None)["changed_since"] is None


def test_a_listed_run_that_was_reverted_or_is_open(store: Store) -> None:
    reverted(store, ONE)
    store.open(a_run(name=TWO))
    runs = runs_of(store)
    found = listed(runs[ONE])
    assert (found["exit_status"], found["model_count"], found["final_loss"]) == (1, None, None)
    assert found["reverted_by"] == git(store.repository.top, "rev-parse", "runs~1")
    assert found["reason"] == "The trainer ended with exit status 1 and made nothing."
    found = listed(runs[TWO]._replace(trainer_commit=""))
    assert (found["exit_status"], found["reason"], found["trainer_commit"]) == (None, None, None)


def test_a_whole_run_has_all_that_is_on_record(store: Store) -> None:
    opened = store.open(
        a_run(
            name=ONE,
            lycoris=LyCORIS(version="3"),
            repositories=(CODE._replace(label="code", dirty=("x.py",)),),
            weights=(Weights("VAE", "a.pt", "a" * 64),),
            argv=("python", "sdxl_train_network.py", "--seed", "7"),
            entries=(*a_run().entries, Entry("environment.txt", b"Python: 3\n\ntorch==2\n")),
        )
    )
    store.seal(opened, an_outcome(truncated=("b",), unreadable=("c",), states=("d",)))
    store.note(opened.commit, ("2026-11-24T08:00:00Z pale",))
    run = runs_of(store)[ONE]
    found = whole(run, run._replace(commit="e" * 40, state="reverted"))
    assert found["record"]["Run"] == [ONE]
    assert found["outcome_record"]["Samples"] == ["2"]
    (model,) = found["models"]
    assert (model["path"], model["size"]) == (f"{ONE}.safetensors", 1024)
    assert (found["truncated"], found["unreadable"], found["states"]) == (["b"], ["c"], ["d"])
    assert (found["output"], found["log_tail"]) == (f"~/output_dir/{ONE}", [])
    assert found["notes"] == ["2026-11-24T08:00:00Z pale"]
    assert "run.toml" in found["files"]
    assert (found["unreadable_record"], found["packages"]) == (None, {"torch": "2"})
    assert found["others"] == [{"commit": "e" * 40, "state": "reverted", "opened": run.minute}]
    assert (found["model"], found["version"], found["steps"]) == ("noob", 1, 4)
    assert found["args"] == {"seed": ["7"]}
    assert [code["label"] for code in found["repositories"]] == [
        "sd-scripts",
        "LyCORIS",
        "code",
    ]
    assert found["repositories"][2]["dirty"] == ["x.py"]
    unknown = {"files_sha256": None, "revision": None}
    assert found["weights"] == [{"role": "VAE", "name": "a.pt", "sha256": "a" * 64, **unknown}]
    assert found["run"] == ONE


def test_a_whole_run_without_an_outcome_and_without_a_record(store: Store) -> None:
    reverted(store, ONE, "Error: no memory")
    untagged(store, TWO)
    top = store.repository.top
    runs = runs_of(store)
    found = whole(runs[ONE])
    assert (found["outcome_record"], found["models"], found["output"]) == ({}, [], None)
    assert (found["log_tail"], found["packages"]) == (["Error: no memory"], {})
    blob = git(top, "rev-parse", f"{runs[TWO].commit}:run.toml")
    (top / ".git/objects" / blob[:2] / blob[2:]).unlink()
    found = whole(runs_of(store)[TWO])
    assert found["unreadable_record"] == f"run.toml of {TWO} is missing"
    assert "steps" not in found
    assert (found["log_tail"], found["states"], found["truncated"]) == ([], [], [])


def test_two_runs_compared(store: Store) -> None:
    sealed(store, ONE)
    entries = tuple(
        each._replace(data=b"zqx, hat") if each.path.startswith("captions/") else each
        for each in a_run().entries
    )
    entries = tuple(
        each._replace(data=b"a = 2\n") if each.path == "config.toml" else each for each in entries
    )
    more = (Entry("notes.md", b"x\n"), Entry("captions/b.txt", b"hat"))
    sealed(
        store,
        TWO,
        entries=(*entries, *more),
        argv=("python", "sdxl_train_network.py", "--seed", "7"),
    )
    runs = runs_of(store)
    commit = NamedCommit("e" * 40, "a")
    between = CommitsBetween(Path("/x"), "diverged", (commit,), (), 1, 0, ("f",))
    codes = (
        as_json.CodeChange("trainer", "sd-scripts", "a", "b", between),
        as_json.CodeChange("repository", "code", "c", "d", None),
    )
    found = printed(as_json.compared_runs(compare_in_full(runs[ONE], runs[TWO]), codes))
    assert (found["before"]["run"], found["after"]["run"]) == (ONE, TWO)
    assert (found["same"], len(found["not_compared"])) == (False, 2)
    assert found["changes"] == [
        {"kind": "argument", "key": "seed", "before": None, "after": "7"},
    ]
    documents = {each["path"]: each for each in found["documents"]}
    assert documents["config.toml"]["values"] == [{"key": "a", "before": "1", "after": "2"}]
    assert documents["notes.md"]["lines"] == [{"sign": "+", "text": "x"}]
    captions = {each["path"]: each for each in found["captions"]}
    assert captions["b.txt"]["before"] is None
    assert captions["b.txt"]["after"] == captions["b.txt"]["added"] == ["hat"]
    assert (captions["img/00.txt"]["before"], captions["img/00.txt"]["removed"]) == (["zqx"], [])
    assert found["tags"] == [{"tag": "hat", "removed": 0, "added": 1}]
    trainer, code = found["code"]
    assert (trainer["repository"], trainer["relation"]) == ("/x", "diverged")
    assert (trainer["missing"], trainer["added_count"], trainer["removed"]) == (["f"], 1, [])
    assert trainer["added"] == [{"id": "e" * 40, "subject": "a"}]
    assert (code["repository"], code["relation"], code["missing"]) == (None, None, [])
    assert (code["added"], code["removed"], code["added_count"]) == ([], [], 0)
    assert (code["removed_count"], code["kind"], code["label"]) == (0, "repository", "code")
