"""Further repositories on record: ``--repo`` and ``record.repos``."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.made_up_runs import NAME
from tests.support.processes import commit_all, git
from tests.support.user_home import Scene, make_scene, make_trainer, refused, sound


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def make_repository(folder: Path, branch: str = "main") -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", branch)
    (folder / "loss.py").write_text("weight = 1\n")
    commit_all(folder, "a loss")
    return folder


def repositories(scene: Scene, revision: str = NAME) -> list[str]:
    """The values of the Repository trailers, as git reads them."""
    wanted = "--format=%(trailers:key=Repository,valueonly)"
    return [line for line in scene.git("log", "-1", wanted, revision).splitlines() if line]


def test_repositories_that_are_named_are_on_record(scene: Scene) -> None:
    mine, other = (
        make_repository(scene.home / "my losses", "topic"),
        make_repository(scene.home / "other"),
    )
    git(other, "checkout", "-q", "--detach")
    git(mine, "remote", "add", "origin", "https://me:secret@example.org/losses")
    scene.settings('[record]\nrepos = ["~/my losses"]\n')
    commit_all(scene.dataset, "settings")
    (mine / "sub").mkdir()
    done = scene.train(NAME, "--repo", "../../other", "--repo", str(mine / "sub"))
    assert done.status == 0, done.err
    first, second = git(mine, "rev-parse", "HEAD"), git(other, "rev-parse", "HEAD")
    assert repositories(scene) == [f"my losses {first} (topic)", f"other {second} (detached)"]
    table = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["repositories"]
    assert table == {
        "my losses": {
            "commit": first,
            "branch": "topic",
            "url": "https://example.org/losses",
            "dirty": [],
        },
        "other": {"commit": second, "dirty": []},
    }
    lines = (scene.output / NAME / "repos.git").read_text().splitlines()
    assert lines[1:3] == [f"{mine}: (topic) {first}", f"{other}: (detached) {second}"]
    assert f"\nmy losses {first[:8]} (topic) of https://example.org/losses\n" in scene.git(
        "log", "-1", "--format=%B", NAME
    )
    assert "my losses commit" in done.err
    assert "is on no remote" in done.err
    sound(scene)


def test_what_is_on_record_already_is_not_recorded_twice(scene: Scene) -> None:
    done = scene.train(NAME, "--repo", str(scene.trainer), "--repo", str(scene.dataset))
    assert done.status == 0, done.err
    assert repositories(scene) == []
    assert "repositories" not in tomllib.loads(scene.git("show", f"{NAME}:run.toml"))


def test_repositories_of_one_name_are_told_apart(scene: Scene) -> None:
    folders = [
        make_repository(scene.home / place)
        for place in ("a/mine", "b/Mine", "c/sd-scripts", "d/lycoris")
    ]
    assert (
        scene.train(NAME, *(word for each in folders for word in ("--repo", str(each)))).status == 0
    )
    names = [line.rsplit(" ", 2)[0] for line in repositories(scene)]
    assert names == ["mine", "Mine-2", "sd-scripts-2", "lycoris-2"]


def test_linked_worktrees_and_submodules_are_repositories(scene: Scene) -> None:
    mine = make_repository(scene.home / "mine")
    linked = scene.home / "linked"
    git(mine, "worktree", "add", "-q", str(linked))
    outer = make_repository(scene.home / "outer")
    git(
        outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(mine), "inner"
    )
    commit_all(outer, "inner")
    done = scene.train(NAME, "--repo", str(linked), "--repo", str(outer / "inner"))
    assert done.status == 0, done.err
    assert [line.split()[0] for line in repositories(scene)] == ["linked", "inner"]


def test_a_repository_that_is_dirty_is_refused_or_its_changes_recorded(
    scene: Scene, tmp_path: Path
) -> None:
    mine = make_repository(scene.home / "mine")
    (mine / "loss.py").write_text("weight = 2\n")
    refused(scene, f"mine at {mine} is dirty: loss.py", "--allow-dirty", args=("--repo", str(mine)))
    assert scene.train(NAME, "--repo", str(mine), "--allow-dirty").status == 0
    assert repositories(scene)[0].endswith(" (main, 1 file changed)")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(mine), str(clone))
    patch = subprocess.run(
        ["git", "show", f"{NAME}:patches/mine.patch"],
        cwd=scene.dataset,
        capture_output=True,
        check=True,
    )
    subprocess.run(["git", "apply"], cwd=clone, input=patch.stdout, check=True)
    assert (clone / "loss.py").read_text() == "weight = 2\n"


def test_what_is_no_repository_is_refused_with_all_other_problems(scene: Scene) -> None:
    (scene.home / "plain").mkdir()
    (scene.home / "young").mkdir()
    git(scene.home / "young", "init", "-q")
    args = (
        "--repo",
        str(scene.home / "plain"),
        "--repo",
        "/nowhere",
        "--repo",
        str(scene.home / "young"),
    )
    refused(
        scene,
        "3 problems found",
        f"{scene.home}/plain is in no git repository",
        "make it one: git init",
        "there is no folder /nowhere",
        "has no commit yet",
        args=args,
    )
    refused(scene, "--repo is empty", "give it a value", args=("--repo", ""))


def test_settings_tell_where_the_list_came_from(scene: Scene) -> None:
    scene.settings('[record]\nrepos = ["losses"]\n')
    listed = scene.loragit("settings").out
    assert f'record.repos = ["{scene.dataset}/losses"]' in listed
    scene.settings("[record]\nrepos = [7]\n")
    refused(scene, "record.repos", "must be a list of at most 30 paths")


def test_status_and_the_hook_ask_them_too(scene: Scene) -> None:
    mine = make_repository(scene.home / "mine")
    scene.settings('[record]\nrepos = ["~/mine"]\n')
    assert (
        f"mine {git(mine, 'rev-parse', '--short=8', 'HEAD')} (main), clean"
        in scene.loragit("status").out
    )
    assert scene.loragit("hook", "run", "pre-commit").status == 0
    (mine / "loss.py").write_text("weight = 2\n")
    done = scene.loragit("hook", "run", "pre-commit")
    assert done.status == 3
    assert f"mine has an uncommitted change in {mine}" in done.err
    assert "stash push --include-untracked -- loss.py" in done.err


def test_a_trainer_elsewhere_can_be_a_further_repository(scene: Scene) -> None:
    mine = make_trainer(scene.home / "fork") / "sdxl_train_network.py"
    done = scene.train(NAME, "--trainer-script", str(mine), "--repo", str(scene.trainer))
    assert done.status == 0, done.err
    assert [line.split()[0] for line in repositories(scene)] == ["sd-scripts-2"]


# ---- code that arguments name ----


def test_an_ignored_module_that_an_argument_names_is_refused_or_recorded(scene: Scene) -> None:
    (scene.trainer / "networks").mkdir()
    (scene.trainer / "networks/mine.py").write_text("rank = 4\n")
    (scene.trainer / ".git/info/exclude").write_text("networks\n")
    words = ("--", "--network_module", "networks.mine")
    why = "networks/mine.py (ignored, networks.mine is imported from it)"
    refused(scene, f"is dirty: {why}", "--allow-dirty", args=words)
    assert scene.train(NAME, "--allow-dirty", *words).status == 0
    table = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["trainer"]
    assert table["dirty"] == ["networks/mine.py"]
    assert "+rank = 4" in scene.git("show", f"{NAME}:patches/sd-scripts.patch")


def test_a_network_of_another_repository_is_on_record(scene: Scene) -> None:
    mine = make_repository(scene.home / "mine")
    (mine / "fastnet").mkdir()
    (mine / "fastnet/__init__.py").write_text("beta = 1\n")
    commit_all(mine, "a network")
    words = ("--", "--network_module", "fastnet")
    done = scene.train(NAME, *words, PYTHONPATH=str(mine))
    assert done.status == 0, done.err
    head = git(mine, "rev-parse", "HEAD")
    assert repositories(scene) == [f"mine {head} (main)"]
    (mine / "fastnet/__init__.py").write_text("beta = 2\n")
    second = "noob-gren-v2s4"
    done = scene.train(second, *words, PYTHONPATH=str(mine))
    assert done.status == 1
    assert f"mine at {mine} is dirty: fastnet/__init__.py" in done.err
    assert scene.train(second, "--allow-dirty", *words, PYTHONPATH=str(mine)).status == 0
    assert "+beta = 2" in scene.git("show", f"{second}:patches/mine.patch")


def test_code_that_no_repository_holds_is_refused_or_told_of(scene: Scene) -> None:
    (scene.home / "hacks").mkdir()
    (scene.home / "hacks/fastnet.py").write_text("")
    words = ("--", "--network_module", "fastnet")
    where = {"PYTHONPATH": str(scene.home / "hacks")}
    done = scene.train(NAME, *words, **where)
    told = f"fastnet is imported from {scene.home}/hacks/fastnet.py, which no repository holds"
    assert (done.status, told in done.err) == (1, True), done.err
    done = scene.train(NAME, "--allow-dirty", *words, **where)
    assert (done.status, told in done.err) == (0, True), done.err
