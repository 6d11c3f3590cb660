"""Which run made a file, as the sealed tags of many repositories tell it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loragit.record.values import ModelFile
from loragit.store import products
from loragit.store.products import Records, Sealed
from tests.support.made_up_runs import a_run, an_outcome, open_store, reverted, sealed
from tests.support.processes import git

ONE, TWO = "noob-gren-v1s4", "noob-gren-v2s4"


def model(name: str, digit: str) -> ModelFile:
    return ModelFile(f"{name}.safetensors", 1024, digit * 64, None, 4, 1)


def made(folder: Path, name: str, *models: ModelFile, output: str = "~/out") -> str:
    """The commit of a sealed run that made ``models``."""
    store = open_store(folder)
    run = store.open(a_run(name=name))
    store.seal(run, an_outcome(models=models, output=output))
    return run.commit


def repository(parent: Path, name: str) -> Path:
    folder = parent / name
    git(parent, "init", "-q", name)
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def names(records: Records, needle: str) -> list[str]:
    return [found.run for found in records.holding(needle)]


def test_a_run_is_found_by_what_its_outcome_holds(dataset: Path) -> None:
    last, first = model("last", "b"), model("first", "a")
    commit = made(dataset, ONE, first, last, output="~/out/one")
    made(dataset, TWO, model("other", "c"))
    records = Records([dataset])
    (found,) = records.holding("a" * 64)
    assert (found.repository, found.run, found.commit) == (dataset, ONE, commit)
    assert found.models == (first, last)
    assert found.output == "~/out/one"
    assert found.values("Samples") == ("2",)
    assert found.values("Sample") == ()
    assert names(records, "c" * 64) == [TWO]
    assert names(records, "d" * 64) == []
    # Both, each once, though it holds it more than once.
    assert names(records, "sha256:") == [ONE, TWO]
    assert records.holding("b" * 64)[0].message.startswith(f"{ONE}: 2 models")


def test_the_first_and_the_last_bytes_are_found_as_well(dataset: Path) -> None:
    made(dataset, ONE, model("one", "a"))
    assert names(Records([dataset]), f"refs/tags/{ONE}") == [ONE]
    # A run that is sealed alike elsewhere is another one, and the same in a clone the same one.
    git(dataset.parent, "clone", "-q", str(dataset), "clone")
    records = Records([dataset, dataset.parent / "clone", dataset])
    assert names(records, "a" * 64) == [ONE]
    assert records.holding("a" * 64)[0].repository == dataset


def test_what_is_no_sealed_run_is_none(dataset: Path) -> None:
    commit = made(dataset, ONE, model("one", "a"))
    git(dataset, "tag", "light", commit)
    git(dataset, "tag", "-a", "mine", "-m", f"mine\n\nModel: {'a' * 64}\n", commit)
    message = git(dataset, "for-each-ref", "--format=%(contents)", f"refs/tags/{ONE}")
    git(dataset, "tag", "-a", "copied", "-m", message, commit)
    assert names(Records([dataset]), "a" * 64) == [ONE]
    open_store(dataset).open(a_run(name=TWO))
    assert names(Records([dataset]), TWO) == []


def test_without_models_or_a_place_there_are_none() -> None:
    none = Sealed(Path(), ONE, "1" * 40, f"{ONE}: nothing\n\nRun: {ONE}\nModel: what is that\n")
    assert (none.models, none.output) == ((), "")
    # What a body says is no trailer.
    quoted = Sealed(Path(), ONE, "1" * 40, "x\n\nOutput: ~/other\n\nRun: x\nOutput: ~/out\n\n")
    assert quoted.output == "~/out"


def test_many_repositories_are_asked_a_few_at_a_time(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_AT_ONCE", 2)
    others = [repository(tmp_path, f"set{number}") for number in range(5)]
    for number, folder in enumerate(others):
        made(folder, f"noob-set-v{number}s4", model("same", "a"))
    damaged = repository(tmp_path, "damaged")
    (damaged / ".git" / "HEAD").write_text("no head")
    folders = [tmp_path / "none", damaged, *others, others[0], dataset]
    records = Records(folders)
    assert len(records._asked) == 2
    assert names(records, "a" * 64) == [f"noob-set-v{number}s4" for number in range(5)]
    assert names(records, "a" * 64) == [f"noob-set-v{number}s4" for number in range(5)]


def test_a_run_is_known_by_its_commit_however_it_stands(dataset: Path, tmp_path: Path) -> None:
    store = open_store(dataset)
    runs = {
        ONE: sealed(store, ONE).commit,
        TWO: reverted(store, TWO).commit,
        "noob-gren-v3s4": store.open(a_run(name="noob-gren-v3s4")).commit,
    }
    other = repository(tmp_path, "other")
    records = Records([other, dataset])
    for name, commit in runs.items():
        assert records.repository_of(name, commit) == dataset
    assert records.repository_of(ONE, runs[TWO]) is None
    assert records.repository_of(ONE, "1" * 40) is None
    assert records.repository_of(ONE, git(other, "rev-parse", "HEAD")) is None


def test_datasets_are_looked_for_here_then_beside_each_other(tmp_path: Path) -> None:
    sets = tmp_path / "sets"
    sets.mkdir()
    for name in ("b", "a", ".hidden", "no-repository"):
        (sets / name).mkdir()
        if name != "no-repository":
            (sets / name / ".git").mkdir()
    (sets / "file").touch()
    here = tmp_path / "here"
    assert products.datasets(sets, here) == (here, sets / "a", sets / "b", sets)
    assert products.datasets(sets, sets / "a") == (sets / "a", sets / "b", sets)
    assert products.datasets(tmp_path / "none", here) == (here,)
    os.symlink("nowhere", sets / "c")
    assert products.datasets(sets, sets) == (sets, sets / "a", sets / "b")


def test_a_comment_may_hold_several_stamps() -> None:
    one, two = "1" * 40, "2" * 40
    comment = f"mine; loragit: {ONE} {one}, loragit: {TWO} {two}; loragit: x {one}0"
    assert list(products.stamps(comment)) == [(ONE, one), (TWO, two)]
    assert list(products.stamps("")) == []
