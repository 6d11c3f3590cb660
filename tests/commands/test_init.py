"""``loragit init``: what is found, what is written, what is asked at a terminal, and that a run
works afterwards."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from loragit.commands.hook import files
from loragit.commands.init import discover, first_files, image_folders
from loragit.record.name import RunName
from loragit.settings import document
from loragit.trainers.arguments import Arguments
from loragit.trainers.sd_scripts.datasets import reading
from loragit.trainers.sd_scripts.trainer import FILES as IMAGE_FILES
from loragit.trainers.trainer import DatasetPlace
from tests.support.processes import LORAGIT, Result, commit_all, git
from tests.support.user_home import Scene, make_trainer, write_dataset

FILES = ("config.toml", "loragit.toml", "sample-prompts.txt")


@pytest.fixture
def scene(home: Path) -> Scene:
    """Images with captions, in no repository and without any file; a trainer with an environment; a
    base model."""
    dataset = write_dataset(home / "datasets" / "gren")
    for name in ("config.toml", "sample-prompts.txt"):
        (dataset / name).unlink()
    trainer = make_trainer(home / "source" / "repos" / "sd-scripts")
    environment(trainer / "venv")
    (home / "models").mkdir()
    (home / "models" / "noobaiXL.safetensors").write_bytes(b"weights")
    return Scene(home, dataset, trainer)


def environment(folder: Path) -> None:
    """A virtual environment as its ``bin`` shows it."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\n")


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def values(scene: Scene) -> dict[str, object]:
    return dict(document.read_settings_file(scene.dataset / "loragit.toml").values)


class Terminal:
    """Somebody at a terminal, who answers each question when it is asked."""

    def __init__(self, scene: Scene, *args: str) -> None:
        self.screen, terminal = pty.openpty()
        self.shown = ""
        # A session of its own with this terminal, so that Ctrl-C reaches it.
        take = (
            "import os, fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.child = subprocess.Popen(
            [sys.executable, "-c", take, *LORAGIT, "init", *args],
            cwd=scene.dataset,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def wait_for(self, words: str) -> None:
        while words not in self.shown:
            before = len(self.shown)
            self._read()
            assert len(self.shown) > before, f"never asked {words!r}:\n{self.shown}"
        self.shown = self.shown.partition(words)[2]

    def _read(self) -> None:
        assert select.select([self.screen], [], [], 60)[0], self.shown
        with suppress(OSError):  # Linux ends a terminal that nobody has open with EIO
            self.shown += os.read(self.screen, 65536).decode(errors="replace")

    def answer(self, words: str, answer: str) -> None:
        self.wait_for(words)
        self.wait_for("] ")
        os.write(self.screen, answer.encode())

    def end(self, again: str = "") -> int:
        """Its exit status. ``again`` is typed once more for as long as nothing comes of it."""
        told = None
        while told != self.shown:
            told = self.shown
            while again and not select.select([self.screen], [], [], 5)[0]:
                os.write(self.screen, again.encode())
            self._read()
        os.close(self.screen)
        return self.child.wait()


# ---- the whole way ----


def test_what_init_writes_is_enough_for_a_training(scene: Scene) -> None:
    done = scene.loragit("init", "--yes")
    assert done.status == 0, done.err
    assert done.out == "loragit train noobaiXL-gren-v1s1000 --dry-run\n"
    assert "warning" not in done.err
    for command in (done.out.split()[1:], ["train", "noobaiXL-gren-v1s1000"]):
        assert (run := scene.loragit(*command)).status == 0, run.err
    assert scene.tags() == ["noobaiXL-gren-v1s1000"]
    assert scene.trailers("noobaiXL-gren-v1s1000")["Dataset-Commit"] == scene.git(
        "rev-parse", "HEAD"
    )
    assert scene.outcome("noobaiXL-gren-v1s1000")["Samples"] == "4"
    again = scene.loragit("init")
    assert (again.status, again.out) == (0, "loragit train noobaiXL-gren-v2s1000 --dry-run\n")
    assert "everything is there; nothing was written" in again.err


def test_exactly_the_files_of_the_dataset_are_committed_and_the_hook_is_put_in(
    scene: Scene,
) -> None:
    (scene.dataset / "notes.psd").write_bytes(b"mine")
    (scene.dataset / "img" / "00_1024x1024_sdxl.npz").write_bytes(b"latents")
    assert scene.loragit("init", "--yes").status == 0
    captions = [f"img/0{number}.txt" for number in range(4)]
    assert scene.git("ls-files").splitlines() == [".gitignore", *FILES[:1], *captions, *FILES[1:]]
    assert scene.git("log", "--format=%s") == "gren: settings of the dataset"
    assert scene.git("status", "--short") == "?? notes.psd"
    assert files.status(scene.dataset).installed


def test_a_second_time_changes_nothing(scene: Scene) -> None:
    assert scene.loragit("init", "--yes").status == 0
    before = listing(scene.dataset)
    again = scene.loragit("init", "--yes")
    assert again.status == 0
    assert "everything is there; nothing was written" in again.err
    assert listing(scene.dataset) == before


def test_without_a_terminal_it_tells_what_it_would_do_and_writes_nothing(scene: Scene) -> None:
    before = listing(scene.dataset)
    done = scene.loragit("init")
    assert done.status == 1
    assert done.err.endswith(
        "error: nothing was written: there is no terminal to ask on\nhint: loragit init --yes "
        "does all this\n"
    )
    for told in (
        *(f"would write {name}" for name in FILES),
        "would add to .gitignore",
        "would commit 8 files",
    ):
        assert told in done.err
    dry = scene.loragit("init", "--dry-run")
    assert dry.status == 0
    assert dry.out.startswith(done.out)
    assert dry.out.endswith("loragit train noobaiXL-gren-v1s1000 --dry-run\n")
    assert 'env = "venv:~/source/repos/sd-scripts/venv"' in dry.out
    assert listing(scene.dataset) == before


@pytest.mark.parametrize(
    ("folder", "problem"),
    [
        ("nowhere", "there is no folder {}/nowhere"),
        ("~", "{} is not the folder of a dataset"),
        ("source/repos/sd-scripts", "is a"),
    ],
)
def test_a_folder_that_can_be_no_dataset_is_refused(
    scene: Scene, folder: str, problem: str
) -> None:
    before = listing(scene.home)
    done = scene.loragit("init", folder, "--yes", cwd=scene.home)
    assert done.status == 2
    assert done.err.startswith("error: ")
    assert problem.format(scene.home) in done.err
    assert "hint: " in done.err
    assert listing(scene.home) == before


# ---- what is there already ----


def test_no_file_is_written_over_and_what_differs_is_told(scene: Scene) -> None:
    (scene.dataset / "loragit.toml").write_text('[trainer]\nenv = "venv:elsewhere"\n')
    (scene.dataset / "sample-prompts.txt").write_text("mine\n")
    (scene.dataset / ".gitignore").write_text("b\na")
    done = scene.loragit("init", "--yes")
    assert done.status == 0
    own = scene.dataset / "loragit.toml"
    wanted = '"venv:~/source/repos/sd-scripts/venv"'
    assert (
        f'{own} is left as it is: trainer.env is "venv:{scene.dataset}/elsewhere" there, and '
        f"{wanted} was found" in done.err
    )
    assert "pretrained_model_name_or_path is not set there" in done.err
    assert own.read_text() == '[trainer]\nenv = "venv:elsewhere"\n'
    assert (scene.dataset / "sample-prompts.txt").read_text() == "mine\n"
    assert (scene.dataset / ".gitignore").read_text().startswith("b\na\n\n# what sd-scripts caches")
    # Those settings let the trainer run in its own folder.
    config = tomllib.loads((scene.dataset / "config.toml").read_text())
    assert config["datasets"][0]["subsets"][0]["image_dir"] == str(scene.dataset / "img")


def test_a_dataset_in_a_repository_gets_no_other_and_no_commit(scene: Scene) -> None:
    datasets = scene.dataset.parent
    (datasets / "README").write_text("many")
    git(datasets, "init", "-q")
    head = commit_all(datasets, "many datasets")
    done = scene.loragit("init", "--yes")
    assert done.status == 0
    assert not (scene.dataset / ".git").exists()
    assert git(datasets, "rev-parse", "HEAD") == head
    assert (
        scene.dataset / ".gitignore"
    ).read_text() == "# what sd-scripts caches beside the images\n*.npz\n"
    assert (
        "commit what was written: git add config.toml loragit.toml sample-prompts.txt .gitignore"
        in done.err
    )
    assert not files.status(datasets).installed
    assert "everything is there" in scene.loragit("init", "--yes").err


def test_what_else_is_staged_stays_staged(scene: Scene) -> None:
    git(scene.dataset, "init", "-q")
    (scene.dataset / "mine.txt").write_text("mine")
    git(scene.dataset, "add", "mine.txt")
    assert scene.loragit("init", "--yes").status == 0
    assert "mine.txt" not in scene.git("ls-tree", "--name-only", "HEAD")
    assert scene.git("status", "--short") == "A  mine.txt"


def test_who_has_no_name_gets_the_files_and_is_told(scene: Scene) -> None:
    (scene.home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    done = scene.loragit("init", "--yes")
    assert done.status == 1
    assert (
        "error: the files are written, but not committed: git does not know who you are" in done.err
    )
    assert "hint: git config --global user.name" in done.err
    assert set(FILES) <= {path.name for path in scene.dataset.iterdir()}
    assert scene.git("rev-parse", "--verify", "--quiet", "HEAD", check=False) == ""
    git(scene.dataset, "config", "user.name", "Ada")
    git(scene.dataset, "config", "user.email", "ada@example.org")
    assert scene.loragit("init", "--yes").status == 0
    assert scene.git("status", "--short") == ""


def test_a_commit_that_git_refuses_is_told(scene: Scene) -> None:
    git(scene.dataset, "init", "-q")
    (scene.dataset / ".git" / "index.lock").touch()
    done = scene.loragit("init", "--yes")
    assert done.status == 1
    assert "error: the files are written, but not committed: git add" in done.err
    assert "hint: see: git status; then: loragit init" in done.err


def test_a_file_with_a_secret_is_not_committed(scene: Scene) -> None:
    (scene.dataset / "sample-prompts.txt").write_text(
        "token hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567\n"
    )
    done = scene.loragit("init", "--yes")
    assert done.status == 0
    assert (
        "sample-prompts.txt is left out of the commit: it holds what looks like a secret"
        in done.err
    )
    assert scene.git("status", "--short") == "?? sample-prompts.txt"


# ---- questions ----


def test_every_question_is_asked_before_the_first_write(scene: Scene) -> None:
    before = listing(scene.dataset)
    at = Terminal(scene)
    at.answer("Write", "\n")
    at.answer("Write", "yes\n")
    at.answer("Write", "maybe\n")
    at.answer("Write", "y\n")
    at.answer("git repository?", "\n")
    at.answer("What should git do with the images?", "both\n")
    at.answer("What should git do with the images?", "kept\n")
    at.answer("first commit?", "\n")
    at.wait_for("Install the hook")
    at.wait_for("] ")
    assert listing(scene.dataset) == before
    os.write(at.screen, b"n\n")
    assert at.end() == 0
    assert "img/00.png" in scene.git("ls-files")
    assert (
        scene.dataset / ".gitignore"
    ).read_text() == "# what sd-scripts caches beside the images\n*.npz\n"
    assert not files.status(scene.dataset).installed
    assert scene.git("status", "--short") == ""


@pytest.mark.parametrize("own", [True, False])
def test_a_repository_that_is_there_by_chance_is_asked_about(scene: Scene, own: bool) -> None:
    git(scene.home, "init", "-q")
    at = Terminal(scene)
    at.answer("which holds your home folder. Make the dataset a repository of its own?", "ny"[own])
    os.write(at.screen, b"\n")
    for _ in FILES:
        at.answer("Write", "\n")
    at.answer("What should git do with the images?", "\n")
    at.answer("first commit?", "n\n")
    at.answer("Install the hook", "n\n")
    assert at.end() == 0
    assert (scene.dataset / ".git").exists() is own
    assert ("record.enclosing" in values(scene)) is not own
    done = scene.train("noob-gren-v1s4")
    assert done.status == 0, done.err


@pytest.mark.parametrize(("key", "status"), [("\x03", 130), ("\x04", 1)])
def test_ctrl_c_and_the_end_of_input_leave_nothing_half_done(
    scene: Scene, key: str, status: int
) -> None:
    before = listing(scene.dataset)
    at = Terminal(scene)
    for _ in FILES:
        at.answer("Write", "\n")
    at.answer("git repository?", key)
    # A signal that comes just before Python waits for a line is handled only after it.
    assert at.end(again=key) == status
    assert ("the input ended before everything was answered; nothing was written" in at.shown) == (
        status == 1
    )
    assert listing(scene.dataset) == before


def test_who_wants_nothing_gets_nothing(scene: Scene) -> None:
    before = listing(scene.dataset)
    at = Terminal(scene)
    for words in ("Write", "Write", "Write", "git repository?"):
        at.answer(words, "n\n")
    assert at.end() == 0
    assert "nothing was written" in at.shown
    assert "everything is there" not in at.shown
    assert "runs are recorded in a git repository, and there is none yet: git init" in at.shown
    assert listing(scene.dataset) == before


def test_a_file_that_settings_call_otherwise_is_not_made_under_the_usual_name(scene: Scene) -> None:
    (scene.dataset / "loragit.toml").write_text(
        '[paths]\nprompts = "mine.txt"\nconfig = "mine.toml"\n'
    )
    assert scene.loragit("init", "--yes").status == 0
    assert not {"config.toml", "sample-prompts.txt"} & set(os.listdir(scene.dataset))


def test_a_model_may_be_left_for_later(scene: Scene) -> None:
    shutil.rmtree(scene.home / "models")
    at = Terminal(scene)
    at.answer("Which base model (its path, or later)?", "\n")
    for words in ("Write", "Write", "Write"):
        at.answer(words, "\n")
    at.answer("git repository?", "n\n")
    assert at.end() == 0
    assert "fill in pretrained_model_name_or_path in loragit.toml" in at.shown
    assert "trainer.args.pretrained_model_name_or_path" not in values(scene)


def test_without_prompts_the_settings_say_so(scene: Scene) -> None:
    at = Terminal(scene)
    for answer in ("y", "y", "n"):
        at.answer("Write", f"{answer}\n")
    at.answer("git repository?", "n\n")
    assert at.end() == 0
    assert values(scene)["paths.prompts"] == ""
    assert not (scene.dataset / "sample-prompts.txt").exists()
    assert not (scene.dataset / ".gitignore").exists()


def test_of_several_base_models_the_user_says_which(scene: Scene) -> None:
    (scene.home / "models" / "ponyXL.safetensors").write_bytes(b"weights")
    (scene.home / "models" / "some_lora.safetensors").write_bytes(b"weights")
    unsure = scene.loragit("init", "--dry-run")
    assert "no base model was found: fill in pretrained_model_name_or_path" in unsure.err
    assert '# also found: "~/models/ponyXL.safetensors"' in unsure.out
    assert "some_lora" not in unsure.out
    for answer, written in (
        ("2", "~/models/ponyXL.safetensors"),
        ("~/models/noobaiXL.safetensors", "~/models/noobaiXL.safetensors"),
        ("stabilityai/sd-xl-base-1.0", "stabilityai/sd-xl-base-1.0"),
    ):
        at = Terminal(scene)
        at.answer("Which base model", "~/nowhere.safetensors\n")
        at.wait_for("there is no file")
        at.answer("Which base model", "~nobody-of-that-name/x\n")
        at.wait_for("there is no home folder")
        at.answer("Which base model", f"{answer}\n")
        for words in ("Write", "Write", "Write"):
            at.answer(words, "\n")
        at.answer("git repository?", "n\n")
        assert at.end() == 0
        assert values(scene)["trainer.args.pretrained_model_name_or_path"] == written
        for name in FILES:
            (scene.dataset / name).unlink()


def test_git_lfs_takes_the_images_where_it_is_installed(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "git-lfs").write_text('#!/bin/sh\necho "$@" >> "$HOME/lfs.log"\n')
    (tmp_path / "git-lfs").chmod(0o755)
    os.environ["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    try:
        at = Terminal(scene)
        for _ in FILES:
            at.answer("Write", "\n")
        at.answer("git repository?", "\n")
        at.answer("What should git do with the images?", "lfs\n")
        at.answer("first commit?", "\n")
        at.answer("Install the hook", "\n")
        assert at.end() == 0
    finally:
        os.environ["PATH"] = os.environ["PATH"].partition(os.pathsep)[2]
    assert "install --local" in (scene.home / "lfs.log").read_text()
    assert (
        "*.png filter=lfs diff=lfs merge=lfs -text"
        in (scene.dataset / ".gitattributes").read_text()
    )
    assert {".gitattributes", "img/00.png"} <= set(scene.git("ls-files").splitlines())


# ---- what is found ----


def test_trainers_are_known_by_what_they_hold_and_a_repository_is_taken_first(scene: Scene) -> None:
    scene.trainer.rename(scene.home / "source" / "repos" / "sd-scripts-zip")
    shutil.rmtree(scene.home / "source" / "repos" / "sd-scripts-zip" / ".git")
    make_trainer(scene.home / "ai" / "sd-scripts-dev")
    (scene.home / "sd-scripts-empty").mkdir()
    done = scene.loragit("init", "--dry-run")
    assert '\nrepo = "~/ai/sd-scripts-dev"\n' in done.out
    other = (
        '# also found: "~/source/repos/sd-scripts-zip" (in no git repository: no commit '
        "would tell what ran)\n"
    )
    assert other in done.out
    assert "sd-scripts-empty" not in done.out


def test_outside_the_home_folder_paths_are_relative(scene: Scene, tmp_path: Path) -> None:
    dataset = tmp_path / "sets" / "gren"
    dataset.parent.mkdir()
    shutil.move(scene.dataset, dataset)
    shutil.rmtree(scene.trainer)
    trainer = make_trainer(tmp_path / "sd-scripts")
    environment(trainer / ".venv")
    assert scene.loragit("init", "--yes", cwd=dataset).status == 0
    text = (dataset / "loragit.toml").read_text()
    assert '\nrepo = "../../sd-scripts"\n' in text
    assert '\nenv = "venv:../../sd-scripts/.venv"\n' in text
    assert scene.loragit("train", "noobaiXL-gren-v1s4", cwd=dataset).status == 0


def test_without_trainer_model_and_images_it_is_told_what_to_do(scene: Scene) -> None:
    shutil.rmtree(scene.trainer)
    shutil.rmtree(scene.home / "models")
    shutil.rmtree(scene.dataset / "img")
    done = scene.loragit("init", "--yes")
    assert done.status == 0
    assert "warning: there are no images: put a folder of them here, then: loragit init" in done.err
    assert "warning: sd-scripts was not found; get it: git clone" in done.err
    assert "warning: no base model was found" in done.err
    assert (
        '# repo = "~/source/repos/sd-scripts"  # where'
        in (scene.dataset / "loragit.toml").read_text()
    )
    assert not (scene.dataset / "config.toml").exists()
    assert done.out == "loragit train base-gren-v1s1000 --dry-run\n"


def test_conda_environments_are_guessed_by_their_names(scene: Scene) -> None:
    shutil.rmtree(scene.trainer / "venv")
    for name in ("aaa", "kohya_ss", "sdscripts"):
        environment(scene.home / "miniconda3" / "envs" / name)
        (scene.home / "miniconda3" / "envs" / name / "conda-meta").mkdir()
    done = scene.loragit("init", "--dry-run")
    assert (
        '\nenv = "conda:sdscripts"\n# also found: "conda:kohya_ss"\n# also found: "conda:aaa"\n'
        in done.out
    )
    shutil.rmtree(scene.home / "miniconda3" / "envs" / "sdscripts")
    assert '\nenv = "conda:kohya_ss"\n' in scene.loragit("init", "--dry-run").out
    shutil.rmtree(scene.home / "miniconda3" / "envs" / "kohya_ss")
    done = scene.loragit("init", "--dry-run")
    assert '\n# env = "conda:sdscripts"' in done.out
    assert '\n# also found: "conda:aaa"\n' in done.out


def sibling(scene: Scene, name: str, text: str, age: float) -> Path:
    folder = scene.dataset.parent / name
    folder.mkdir()
    (folder / "loragit.toml").write_text(text)
    os.utime(folder / "loragit.toml", (1e9 - age, 1e9 - age))
    return folder


def test_what_siblings_use_is_used_the_most_recent_first(scene: Scene) -> None:
    for name in ("flux1-dev.safetensors", "ae.safetensors"):
        (scene.home / "models" / name).write_bytes(b"weights")
    (scene.trainer / "flux_train_network.py").write_text("")
    flux = """[trainer]
script = "flux_train_network.py"
launcher = "accelerate launch"
[trainer.args]
pretrained_model_name_or_path = "~/models/flux1-dev.safetensors"
ae = "~/models/ae.safetensors"
"""
    sibling(scene, "new", flux, 0)
    sibling(
        scene,
        "old",
        '[trainer.args]\npretrained_model_name_or_path = "~/models/noobaiXL.safetensors"\n',
        9,
    )
    sibling(scene, "broken", "[trainer", -9)
    assert scene.loragit("init", "--yes").status == 0
    written = values(scene)
    assert written["trainer.script"] == "flux_train_network.py"
    assert written["trainer.launcher"] == ("accelerate", "launch")
    assert written["trainer.args.pretrained_model_name_or_path"] == "~/models/flux1-dev.safetensors"
    assert written["trainer.args.ae"] == "~/models/ae.safetensors"
    assert written["trainer.args.network_module"] == "networks.lora_flux"


def test_a_relative_model_of_a_sibling_is_found_where_its_trainer_runs(scene: Scene) -> None:
    (scene.trainer / "net.safetensors").write_bytes(b"weights")
    repo = (
        '[trainer]\nrepo = "../../source/repos/sd-scripts"\n[trainer.args]\nnetwork_module = '
        '"lycoris.kohya"\n'
    )
    sibling(scene, "other", f'{repo}pretrained_model_name_or_path = "net.safetensors"\n', 0)
    (scene.trainer.parent / "LyCORIS" / "lycoris").mkdir(parents=True)
    (scene.trainer.parent / "LyCORIS" / "lycoris" / "kohya.py").touch()
    done = scene.loragit("init", "--dry-run")
    assert 'pretrained_model_name_or_path = "~/source/repos/sd-scripts/net.safetensors"' in done.out
    assert 'network_module = "lycoris.kohya"' in done.out
    assert '# lycoris_repo = "~/source/repos/LyCORIS"' in done.out


def test_a_launcher_with_a_secret_is_not_taken_over(scene: Scene) -> None:
    secret = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
    sibling(scene, "other", f'[trainer]\nlauncher = "env HF_TOKEN={secret} accelerate launch"\n', 0)
    assert secret not in scene.loragit("init", "--dry-run").out


def test_names_of_siblings_runs_tell_what_the_model_is_called(scene: Scene) -> None:
    other = sibling(
        scene,
        "other",
        '[trainer.args]\npretrained_model_name_or_path = "~/models/noobaiXL.safetensors"\n',
        0,
    )
    git(other, "init", "-q")
    commit_all(other, "other")
    git(other, "tag", "other-v1")
    write = (
        "--allow-empty",
        "-m",
        "noob-other-v1s4: a run\n\nRun: noob-other-v1s4\nLoragit-Format: 1",
    )
    git(other, "checkout", "-q", "--orphan", "runs")
    git(other, "commit", "-q", *write)
    git(other, "tag", "noob-other-v1s4")
    assert scene.loragit("init", "--dry-run").out.endswith(
        "loragit train noob-gren-v1s1000 --dry-run\n"
    )


def test_what_the_user_settings_say_is_not_repeated(scene: Scene) -> None:
    own = scene.home / ".config" / "loragit" / "loragit.toml"
    own.parent.mkdir(parents=True)
    own.write_text(f'[trainer]\nrepo = "{scene.trainer}"\n[trainer.args]\nnetwork_dim = 4\n')
    assert scene.loragit("init", "--yes").status == 0
    text = (scene.dataset / "loragit.toml").read_text()
    assert '# repo: "~/.config/loragit/loragit.toml" says it\n' in text
    assert "network_dim" not in text
    assert "trainer.repo" not in values(scene)
    assert scene.loragit("train", "noobaiXL-gren-v1s4").status == 0


def test_the_script_and_the_resolution_are_those_of_the_base_model(scene: Scene) -> None:
    header = json.dumps(
        {"cond_stage_model.transformer.x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    ).encode()
    model = scene.home / "models" / "noobaiXL.safetensors"
    model.write_bytes(len(header).to_bytes(8, "little") + header)
    assert scene.loragit("init", "--yes").status == 0
    assert values(scene)["trainer.script"] == "train_network.py"
    assert "resolution = 512" in (scene.dataset / "config.toml").read_text()
    assert "--w 512 --h 512" in (scene.dataset / "sample-prompts.txt").read_text()


def test_configs_and_prompts_of_other_names_are_found(scene: Scene) -> None:
    (scene.dataset / "dataset.toml").write_text(
        '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "img"\n'
    )
    (scene.dataset / "prompts.txt").write_text("zqx\n")
    assert scene.loragit("init", "--yes").status == 0
    assert (values(scene)["paths.config"], values(scene)["paths.prompts"]) == (
        "dataset.toml",
        "prompts.txt",
    )
    assert not (scene.dataset / "config.toml").exists()
    assert scene.loragit("train", "noobaiXL-gren-v1s4").status == 0


def test_a_config_whose_folders_lie_in_the_trainers_folder_is_understood(scene: Scene) -> None:
    (scene.dataset / "img").rename(scene.trainer / "gren")
    (scene.trainer / ".gitignore").write_text("__pycache__\ngren\nvenv\n")
    commit_all(scene.trainer, "ignore")
    (scene.dataset / "config.toml").write_text(
        '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "gren"\n'
    )
    assert scene.loragit("init", "--yes").status == 0
    assert values(scene)["trainer.workdir"] == "trainer"
    assert scene.loragit("train", "noobaiXL-gren-v1s4").status == 0


# ---- image folders ----


def test_image_folders_are_read_as_they_were_laid_out(tmp_path: Path) -> None:
    files = (
        "img/10_gren girl/a.png img/10_gren girl/a.caption img/10_gren girl/b.PNG "
        "img/3_other/a.webp img/3_other/a.txt "
        "reg/1_girl/a.png sample/a.png .hidden/a.png img/deep/er/a.png root.jpg img/0_x/a.png"
    )
    for name in re.findall(r"\S[^.]*\.\w+(?:/\S+)?", files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name} caption")
    found = {each.place: each for each in image_folders.find_image_folders(tmp_path, IMAGE_FILES)}
    assert list(found) == [".", "img/0_x", "img/10_gren girl", "img/3_other", "reg/1_girl"]
    assert found["img/10_gren girl"].images == ("a.png", "b.PNG")
    assert found["img/10_gren girl"][2:6] == (("a.caption",), ".caption", 10, "gren girl")
    assert found["reg/1_girl"].regularisation
    config = tomllib.loads(first_files.config_text(found.values(), base=None, side=512))
    assert config["general"]["caption_extension"] == ".txt"
    subsets = {each.pop("image_dir"): each for each in config["datasets"][0]["subsets"]}
    assert subsets == {
        ".": {"num_repeats": 1},
        "img/0_x": {"num_repeats": 1, "class_tokens": "x"},
        "img/10_gren girl": {"num_repeats": 10, "caption_extension": ".caption"},
        "img/3_other": {"num_repeats": 3},
        "reg/1_girl": {"num_repeats": 1, "class_tokens": "girl", "is_reg": True},
    }
    assert first_files.image_patterns(found.values(), IMAGE_FILES)[-1] == "*.PNG"


def test_captions_that_the_trainer_would_misread_become_no_prompts(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for number, caption in enumerate(
        (b"# no", b"a --w 3", b"\xff", b"", b"good\n one", b"good one", b"a\x1bb", b"zqx")
    ):
        (tmp_path / "img" / f"{number}.png").touch()
        (tmp_path / "img" / f"{number}.txt").write_bytes(caption)
    assert image_folders.first_captions(
        tmp_path, image_folders.find_image_folders(tmp_path, IMAGE_FILES), 9
    ) == (
        "good one",
        "zqx",
    )


NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & {0, 47} and name not in (b".", b"..")
)
TEXTS = st.text(min_size=1, max_size=12).filter(
    lambda n: not set(n) & {"\0", "/"} and n not in (".", "..")
)


@examples(max_examples=60, deadline=None)
@given(
    dataset=NAMES | TEXTS.map(lambda name: name.encode(errors="replace")),
    images=NAMES | TEXTS.map(lambda name: name.encode(errors="replace")),
)
def test_whatever_folders_are_called_the_files_read_back_and_mean_them(
    dataset: bytes, images: bytes
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch, "home")
        folder = home / "datasets" / os.fsdecode(dataset)
        place = folder / os.fsdecode(images)
        place.mkdir(parents=True)
        (place / "a.png").write_bytes(b"png")
        (place / "a.txt").write_text("zqx")
        trainer = home / os.fsdecode(b"sd-scripts" + images)
        (trainer / "library").mkdir(parents=True)
        for name in ("train_network.py", "library/train_util.py"):
            (trainer / name).touch()
        environ = {"HOME": str(home)}
        seen = discover.surroundings(folder, environ)
        (folder / "loragit.toml").write_text(first_files.settings_text(seen, prompts=True))
        written = dict(document.read_settings_file(folder / "loragit.toml").values)
        assert written["trainer.workdir"] == "dataset"
        unicode = image_folders.is_unicode(os.fsdecode(images))
        if unicode:
            assert discover.surroundings(folder, environ).chosen.trainer.repo == trainer
        else:
            assert "trainer.repo" not in written
        folders = tuple(each for each in seen.images if each.nameable)
        if folders:
            (folder / "config.toml").write_text(
                first_files.config_text(folders, base=None, side=1024)
            )
            config = reading.read_config(folder / "config.toml")
            here = DatasetPlace(folder, folder, None, lambda module: False)
            used = reading.used_files(config, Arguments({}), here)
            assert [each.path for each in used.folders] == [place]
        else:
            assert (
                not unicode
                or images.startswith(b".")
                or os.fsdecode(images).lower() in ("log", "venv", "model")
            )
        words = shlex.split(first_files.first_run(seen, folder))
        assert RunName.parse(words[2])
        assert words[4:] in ([], ["--dataset", "."])


def test_a_folder_that_toml_cannot_name_is_left_out_and_told(scene: Scene) -> None:
    odd = os.fsdecode(os.fsencode(scene.dataset) + b"/\xff")
    os.mkdir(odd)
    shutil.copy(scene.dataset / "img" / "00.png", odd)
    done = scene.loragit("init", "--yes")
    assert done.status == 0, done.err
    assert (
        "warning: \\xff is left out of config.toml: its name is not UTF-8, and must be; rename it"
        in done.err
    )
    assert scene.loragit("train", "noobaiXL-gren-v1s4").status == 0


def test_a_name_that_means_another_dataset_is_told_with_the_folder(scene: Scene) -> None:
    (scene.home / "datasets" / "noobaiXL-gren").mkdir()
    done = scene.loragit("init", "--dry-run")
    assert done.out.endswith("loragit train noobaiXL-gren-v1s1000 --dry-run --dataset .\n")
    done = scene.loragit("init", "--dry-run", "datasets/gren", cwd=scene.home)
    assert done.out.endswith(
        f"loragit train noobaiXL-gren-v1s1000 --dry-run --dataset {scene.dataset}\n"
    )


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ("sd_xl_base_1.0.safetensors", "sdxl"),
        ("owner/flux1-dev", "flux1"),
        ("__.ckpt", "base"),
        ("a b-cde", "abcde"),
    ],
)
def test_a_model_is_called_by_the_first_word_of_its_name(model: str, word: str) -> None:
    assert first_files._model_word(model) == word


def test_a_symbolic_gitignore_is_left_alone(scene: Scene) -> None:
    (scene.home / "ignores").write_text("mine\n")
    (scene.dataset / ".gitignore").symlink_to(scene.home / "ignores")
    done: Result = scene.loragit("init", "--yes")
    assert ".gitignore is a symbolic link and is left as it is" in done.err
    assert (scene.home / "ignores").read_text() == "mine\n"
