"""``loragit demo``: what it makes, and what it shows, with real children and real git."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from loragit.commands import demo as command
from loragit.commands.demo import EMAIL, NAME, RUNS, Demo, DemoRun, FolderTaken, dataset
from loragit.record.name import RunName
from loragit.settings import load
from loragit.settings.values import Flags


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def local(folder: Path, key: str) -> str | None:
    """A value of the repository's own configuration."""
    done = subprocess.run(
        ["git", "config", "--local", key], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


# What is made.


def test_the_dataset_and_the_trainer_are_committed_and_clean(tmp_path: Path) -> None:
    demo = command.prepare(tmp_path / "new" / "demo")
    for folder, subject in (
        (demo.dataset, "dataset: twelve drawings"),
        (demo.trainer, "A small trainer that behaves as sd-scripts does"),
    ):
        assert git(folder, "log", "--format=%s %an", "--all") == f"{subject} {NAME}"
        assert git(folder, "status", "--porcelain", "--ignored") == ""
        assert git(folder, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(demo.dataset, "ls-files").splitlines() == [
        "config.toml",
        *sorted(f"img/{n:02d}.{suffix}" for n in range(12) for suffix in ("png", "txt")),
        "loragit.toml",
        "sample-prompts.txt",
    ]
    assert git(demo.trainer, "ls-files").splitlines() == [
        ".gitignore",
        "README.md",
        "library/__init__.py",
        "library/train_util.py",
        "networks/__init__.py",
        "networks/lora.py",
        "train_network.py",
    ]
    assert os.access(demo.trainer / "train_network.py", os.X_OK)
    assert not demo.output.exists()


def test_the_settings_name_the_demos_own_folders(tmp_path: Path) -> None:
    demo = command.prepare(tmp_path / "demo")
    environ = command.child_environment(demo, os.environ)
    for run in RUNS:
        settled = load.load_settings(
            name=RunName.parse(run.name), flags=Flags(), environ=environ, cwd=demo.dataset
        )
        assert settled.dataset_dir == demo.dataset
        assert Path(os.path.normpath(settled.trainer.repo)) == demo.trainer
        assert settled.trainer.python == sys.executable
        assert settled.trainer.workdir == "dataset"
        assert settled.output_dir is not None
        assert Path(os.path.normpath(settled.output_dir)) == demo.output / run.name
        assert settled.steps == 60
        model = dict(settled.trainer.args)["pretrained_model_name_or_path"]
        assert (demo.dataset / str(model)).is_file()


def test_a_python_with_an_odd_path_is_written_as_toml_takes_it() -> None:
    odd = '/home/ada/a "b" \\ \u00e9\U0001f600/python'
    (text,) = (e.data for e in dataset.dataset_files(odd) if e.path == "loragit.toml")
    assert tomllib.loads(text.decode())["trainer"]["python"] == odd


def test_the_drawings_are_twelve_and_no_two_are_alike() -> None:
    made = dataset.drawings()
    assert len({d.png for d in made}) == len({d.tags for d in made}) == len(made) == 12
    assert dataset.drawings() == made
    assert dataset.base_model() == dataset.base_model()


def test_an_empty_folder_is_taken_and_one_with_spaces_too(tmp_path: Path) -> None:
    folder = tmp_path / "it's a demo; really"
    folder.mkdir()
    assert git(command.prepare(folder).dataset, "status", "--porcelain") == ""


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FolderTaken, match="is not empty") as refusal:
        command.demo(tmp_path)
    assert refusal.value.hint == "name a folder that does not exist, or an empty one"
    with pytest.raises(FolderTaken, match="cannot be used: File exists"):
        command.demo(tmp_path / "mine")
    with pytest.raises(FolderTaken, match="cannot be used: Not a directory"):
        command.demo(tmp_path / "mine" / "below")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "mine"


def test_the_users_hooks_ignores_and_signing_do_not_stand_in_the_way(
    tmp_path: Path, home: Path
) -> None:
    hooks = home / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "prepare-commit-msg", "commit-msg"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    (home / "ignore").write_text("*\n")
    for key, value in (
        ("core.hooksPath", str(hooks)),
        ("core.excludesFile", str(home / "ignore")),
        ("commit.gpgSign", "true"),
        ("gpg.program", "/bin/false"),
        ("core.autocrlf", "input"),
        ("core.safecrlf", "true"),
        ("init.defaultBranch", "trunk"),
    ):
        git(home, "config", "--global", key, value)
    demo = command.prepare(tmp_path / "demo")
    assert len(git(demo.dataset, "ls-files").splitlines()) == 27
    assert git(demo.dataset, "symbolic-ref", "HEAD") == "refs/heads/main"


# Who the runs are by.


def test_an_identity_that_git_knows_is_not_repeated(tmp_path: Path) -> None:
    demo = command.prepare(tmp_path / "demo")
    assert [local(demo.dataset, key) for key in ("user.name", "user.email")] == [None, None]
    assert git(demo.dataset, "config", "user.name") == "Ada Trainer"


def test_without_an_identity_the_scratch_repositories_get_one(tmp_path: Path, home: Path) -> None:
    (home / ".gitconfig").unlink()
    demo = command.prepare(tmp_path / "demo")
    for repository in (demo.dataset, demo.trainer):
        assert [local(repository, key) for key in ("user.name", "user.email")] == [NAME, EMAIL]
    assert not (home / ".gitconfig").exists()


def test_an_identity_that_the_runs_would_not_see_is_repeated(tmp_path: Path, home: Path) -> None:
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".gitconfig").rename(home / ".config" / "git" / "config")
    demo = command.prepare(tmp_path / "demo")
    assert [local(demo.dataset, key) for key in ("user.name", "user.email")] == [
        "Ada Trainer",
        "ada@example.org",
    ]


def test_what_the_user_has_set_for_other_trainings_is_kept_from_the_runs(tmp_path: Path) -> None:
    demo = Demo(tmp_path, tmp_path / "gren", tmp_path / "sd-scripts", tmp_path / "out")
    theirs = dict.fromkeys(
        ("TRAINING_DIR", "XDG_CONFIG_HOME", "LORAGIT_TRAINER_REPO"), "/elsewhere"
    )
    theirs |= dict.fromkeys(
        ("OUTPUT_DIR", "STEPS", "SD_REPO", "SD_SCRIPT", "LYCORIS_REPO", "NO_CLEAN"), "/elsewhere"
    )
    assert command.child_environment(demo, theirs | {"PATH": "/bin", "DEBUG": "1"}) == {
        "PATH": "/bin",
        "DEBUG": "1",
        "TRAINING_DIR": str(tmp_path / "gren"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


# Whether it went as it should.


GOOD = DemoRun("a-b-v1s2", "x")
BAD = DemoRun("a-b-v1s2", "x", fails=True)


@pytest.mark.parametrize(
    ("run", "status", "makes", "tagged", "problems"),
    [
        (GOOD, 0, True, True, []),
        (BAD, 1, False, False, []),
        (GOOD, 2, True, True, ["a-b-v1s2 ended with exit status 2; it should have been 0"]),
        (BAD, 0, False, False, ["a-b-v1s2 ended with exit status 0; it should have been 1"]),
        (GOOD, 0, False, True, ["a-b-v1s2 should have made {out}/a-b-v1s2/a-b-v1s2.safetensors"]),
        (BAD, 1, True, False, ["a-b-v1s2 should have made nothing, but left {out}/a-b-v1s2"]),
        (GOOD, 0, True, False, ["a-b-v1s2 should have a tag"]),
        (BAD, 1, False, True, ["a-b-v1s2 should have no tag"]),
    ],
)
def test_a_run_is_judged_by_status_files_and_tag(
    tmp_path: Path, run: DemoRun, status: int, makes: bool, tagged: bool, problems: list[str]
) -> None:
    demo = Demo(tmp_path, tmp_path / "gren", tmp_path / "sd-scripts", tmp_path / "out")
    demo.dataset.mkdir()
    git(demo.dataset, "init", "--quiet")
    git(demo.dataset, "commit", "--quiet", "--allow-empty", "-m", "x")
    if makes:
        (demo.output / run.name).mkdir(parents=True)
        (demo.output / run.name / f"{run.name}.safetensors").touch()
    if tagged:
        git(demo.dataset, "tag", run.name)
    assert command.problems_after(demo, run, status) == [
        p.format(out=demo.output) for p in problems
    ]


# All of it.


def test_the_demo_makes_two_models_and_a_revert_and_its_next_steps_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "the demo"
    status = command.demo(folder)
    told = capfd.readouterr()
    assert status == 0, told.err
    made, output = folder / "datasets/gren", folder / "output_dir"
    first, second, failed = (run.name for run in RUNS)
    assert sorted(p.name for p in output.iterdir()) == [first, second]
    for name in (first, second):
        assert len(list((output / name).glob("*.safetensors"))) == 4
        assert len(list((output / name / "sample").glob("*.png"))) == 9
    assert git(made, "tag", "--list").splitlines() == [first, second]
    subjects = git(made, "log", "--format=%s", "runs").splitlines()
    assert subjects[0].startswith(f'Revert "{failed}')
    assert [s.partition(":")[0] for s in subjects[1:]] == [failed, second, first]
    assert git(made, "status", "--porcelain") == ""
    git(made, "fsck", "--strict")
    # The log is shown in full, after the runs.
    shown = told.out.partition("$ git log runs\n")[2]
    for line in git(made, "log", "--format=%H%n    %s", "runs").splitlines():
        assert line in shown
    # What is proposed can be copied to a shell.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    steps = re.findall(r"^  (\S.*)$", told.out.partition("Try next:\n")[2], re.MULTILINE)
    assert steps[0] == f"cd {shlex.quote(str(made))}"
    for step in steps:
        done = subprocess.run(
            ["sh", "-c", f"{steps[0]} && {step}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (step, done.stderr)
        assert step == steps[0] or done.stdout + done.stderr
    assert git(made, "tag", "--list").splitlines() == [first, second, failed]


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (("bin/loragit", "py/loragit"), "loragit"),
        (("py/loragit",), "{py}/loragit"),
        ((), "{py}/python -m loragit"),
    ],
)
def test_the_commands_to_copy_start_this_loragit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: tuple[str, ...], shown: str
) -> None:
    for folder in ("bin", "py"):
        (tmp_path / folder).mkdir()
    for name in found:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "py" / "python"))
    assert command.loragit_command({"PATH": str(tmp_path / "bin")}) == shown.format(
        py=tmp_path / "py"
    )


def test_without_a_folder_the_demo_keeps_a_new_one_and_says_where(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "loragit", "demo"]
    environ = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "STEPS": "3",
        "SD_REPO": "/nowhere",
        "LORAGIT_RECORD_ON_EMPTY": "keep",
    }
    done = subprocess.run(
        argv, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("loragit-demo-*")
    assert f"Everything is in {folder}, which you may delete." in done.stdout
    # In the order in which it happened, also where nobody looks at a terminal.
    assert (
        done.stdout.index("Run 1 of 3.")
        < done.stdout.index("Run 3 of 3.")
        < done.stdout.index("$ git log runs")
    )


def test_a_demo_that_goes_wrong_says_what_did(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        command,
        "RUNS",
        (DemoRun("noob-gren-v9s2", "No such network.", ("--network_module", "nothing")),),
    )
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert command.demo(None) == 1
    (folder,) = tmp_path.iterdir()
    told = capfd.readouterr().err.splitlines()
    at = told.index("error: the demo did not go as it should have")
    assert told[at + 1 :] == [
        f"hint: look around in {folder}",
        "  - noob-gren-v9s2 ended with exit status 1; it should have been 0",
        (
            "  - noob-gren-v9s2 should have made "
            f"{folder}/output_dir/noob-gren-v9s2/noob-gren-v9s2.safetensors"
        ),
        "  - noob-gren-v9s2 should have a tag",
    ]
