"""Where the record goes if the dataset lies in a repository that is not meant to hold it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from loragit.run.importing.plan import ImportRequest, plan_import
from tests.support.helpers_folder import leave
from tests.support.processes import commit_all, git
from tests.support.user_home import Scene, make_scene, make_trainer, write_dataset

NAME = "noob-gren-v1s4"


def make_enclosed(home: Path, top: Path, folder: Path) -> Scene:
    """A dataset in ``folder``, which is in the repository at ``top``."""
    trainer = home / "source/repos/sd-scripts"
    make_trainer(trainer)
    top.mkdir(exist_ok=True)
    if not (top / ".git").exists():
        git(top, "init", "-q")
        git(top, "commit", "-q", "--allow-empty", "-m", "all")
    write_dataset(folder)
    return Scene(home, folder, trainer, {"TRAINING_DIR": str(folder)})


def in_trainer(home: Path) -> Scene:
    top = home / "source/repos/sd-scripts"
    return make_enclosed(home, top, top / "train_data/gren")


def in_home(home: Path) -> Scene:
    return make_enclosed(home, home, home / "datasets/gren")


def ignored(home: Path) -> Scene:
    top = home / "work"
    top.mkdir()
    (top / ".gitignore").write_text("data\n")
    return make_enclosed(home, top, top / "data/gren")


def vendored(home: Path) -> Scene:
    """The trainer is plain files of a repository, which holds datasets as well."""
    scene = make_enclosed(home, home / "source", home / "source/train/gren")
    shutil.rmtree(scene.trainer / ".git")
    git(home / "source", "add", "repos")
    git(home / "source", "commit", "-q", "-m", "a trainer")
    return scene


REASONS = {
    in_trainer: "which holds the trainer",
    in_home: "which holds your home folder",
    ignored: "which ignores it",
    vendored: "which holds the trainer",
}


@pytest.mark.parametrize("make", REASONS, ids=lambda make: make.__name__)
def test_the_record_goes_nowhere_in_silence(home: Path, make: object) -> None:
    scene = make(home)  # type: ignore[operator]
    top = Path(git(scene.dataset, "rev-parse", "--show-toplevel"))
    before = git(top, "for-each-ref")
    done = scene.train(NAME)
    assert done.status == 1
    assert f"{scene.dataset} lies in the repository {top}, {REASONS[make]}" in done.err  # type: ignore[index]
    assert f"git init {scene.dataset}" in done.err
    assert git(top, "for-each-ref") == before
    # What the refusal says to do is enough: either of both.
    done = scene.train(NAME, LORAGIT_RECORD_ENCLOSING="true")
    assert done.status == 0, done.err
    assert git(top, "for-each-ref", "refs/heads/runs") != ""
    done = scene.train("noob-gren-v2s4")
    assert done.status == 0, "a record that is there is meant"
    git(scene.dataset, "init", "-q")
    commit_all(scene.dataset, "mine")
    done = scene.train("noob-gren-v3s4")
    assert done.status == 0, done.err
    assert scene.tags() == ["noob-gren-v3s4"]


@pytest.mark.parametrize("make", REASONS, ids=lambda make: make.__name__)
def test_an_import_goes_nowhere_in_silence_either(home: Path, make: object) -> None:
    scene = make(home)  # type: ignore[operator]
    scene.settings(f'[trainer]\nrepo = "{scene.trainer}"\n')
    top = Path(git(scene.dataset, "rev-parse", "--show-toplevel"))
    for number in (1, 2):
        leave(scene.output, f"noob-gren-v{number}s400", scene.dataset, session=number)
    before = git(top, "for-each-ref")
    done = scene.loragit("import", str(scene.output))
    assert done.status == 1
    assert f"{scene.dataset} lies in the repository {top}, {REASONS[make]}" in done.err  # type: ignore[index]
    assert f"git init {scene.dataset}" in done.err
    assert "imported 0 runs; 2 left out" in done.err
    assert git(top, "for-each-ref") == before
    done = scene.loragit("import", str(scene.output), LORAGIT_RECORD_ENCLOSING="true")
    assert done.status == 0, done.err
    assert git(top, "for-each-ref", "refs/heads/runs") != ""
    leave(scene.output, "noob-gren-v3s400", scene.dataset, session=3)
    done = scene.loragit("import", str(scene.output))
    assert done.status == 0, "a record that is there is meant"


@pytest.mark.parametrize(("agreed", "asked"), [(True, 1), (False, 1), (None, 0)])
def test_whoever_can_be_asked_is_asked_once(home: Path, agreed: bool | None, asked: int) -> None:
    scene = ignored(home)
    for number in (1, 2):
        leave(scene.output, f"noob-gren-v{number}s400", scene.dataset, session=number)
    questions: list[str] = []

    def confirm(question: str) -> bool:
        questions.append(question)
        return agreed is True

    request = ImportRequest(
        (str(scene.output),),
        str(scene.dataset),
        None,
        {**scene.environ, "HOME": str(home)},
        scene.dataset,
        home / "cache",
        None if agreed is None else confirm,
    )
    plan = plan_import(request, lambda line: None)
    assert [item.state for item in plan.items] == ["new" if agreed else "left out"] * 2
    reason = f"{scene.dataset} lies in the repository {home / 'work'}, which ignores it"
    assert questions == [f"{reason}. Record its runs there?"] * asked


def test_a_trainer_in_no_repository_is_in_none_that_a_dataset_lies_in(home: Path) -> None:
    scene = make_enclosed(home, home / "datasets", home / "datasets/gren")
    shutil.rmtree(scene.trainer / ".git")
    leave(scene.output, "noob-gren-v1s400", scene.dataset)
    done = scene.loragit("import", str(scene.output))
    assert done.status == 0, done.err
    assert git(home / "datasets", "ls-tree", "--name-only", "runs") == "gren"


def test_a_repository_of_datasets_is_meant(home: Path) -> None:
    scene = make_enclosed(home, home / "datasets", home / "datasets/gren")
    done = scene.train(NAME)
    assert done.status == 0, done.err
    assert git(home / "datasets", "ls-tree", "--name-only", "runs") == "gren"


def test_what_is_tracked_all_the_same_is_not_ignored(home: Path) -> None:
    scene = ignored(home)
    git(scene.dataset, "add", "--force", "config.toml")
    git(scene.dataset, "commit", "-q", "-m", "a dataset")
    assert scene.train(NAME).status == 0


def test_a_dataset_of_its_own_is_not_asked_about(home: Path) -> None:
    scene = make_scene(home)
    git(home, "init", "-q")
    (home / ".gitignore").write_text("*\n")
    assert scene.train(NAME).status == 0


def test_init_gives_the_dataset_a_repository_of_its_own(home: Path) -> None:
    scene = in_trainer(home)
    before = git(scene.trainer, "for-each-ref")
    done = scene.loragit("init", "--dry-run")
    assert "would make the folder a git repository" in done.err
    assert not os.path.lexists(scene.dataset / ".git")
    done = scene.loragit("init", "--yes")
    assert done.status == 0, done.err
    assert "which holds the trainer: the dataset gets a repository of its own" in done.err
    assert Path(git(scene.dataset, "rev-parse", "--show-toplevel")) == scene.dataset
    assert git(scene.trainer, "for-each-ref") == before
    assert scene.train(NAME, "--dry-run").status == 0
    assert scene.train(NAME).status == 0
    assert "lies in the repository" not in scene.loragit("init", "--yes").err
