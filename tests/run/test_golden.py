"""Records, to the byte: what whole commands write and print, with clock, identity and machine
fixed.

A scenario has a file in fixtures/golden, which holds every command with what it printed, every ref,
commit, tag, tree and small file that came of it, and what the trainer was given. Nothing of loragit
is imported. Where a change of the record is meant, write the files again, and read the difference:
``LORAGIT_GOLDEN=write pytest tests/run/test_golden.py``.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import helpers_folder, trainer_files
from tests.support.paths import FIXTURES
from tests.support.processes import LORAGIT, Result, commit_all, git
from tests.support.user_home import HERE, Scene, write_dataset

WRITE = os.environ.get("LORAGIT_GOLDEN") == "write"
FOLDER = FIXTURES / "golden"
BEGIN = 1_760_000_000
"""The scene's clock when it begins: 2025-10-09T08:53:20Z."""
SET_BY_SHELL = {"PWD", "OLDPWD", "SHLVL", "_"}
ONE, TWO = "noob-gren-v1s4", "noob-gren-v2s4"
TOKEN = "hf_" + "a1B2" * 9
KEY = "0123456789abcdef" * 2 + "01234567"
SMALL = 20_000
AFTER_THE_END = "END_IN_ENTRY"
BEFORE_THE_TRAINER = "REFS_MOVED"
"""Two of the places at which killed_at_step.py kills."""


@dataclass
class Stage:
    """A scene whose clock is the file ``clock``; and all that happened in it, as text."""

    scene: Scene
    parts: list[str] = field(default_factory=list)
    commands: int = 0

    @property
    def clock(self) -> Path:
        return self.scene.home / "clock"

    def say(self, title: str, *texts: str) -> None:
        self.parts.append(
            "\n".join((f"==== {title}", *(text.rstrip("\n") for text in texts if text)))
        )

    def loragit(
        self, *args: str, status: int = 0, cwd: Path | None = None, **environ: str
    ) -> Result:
        done = self.run((*LORAGIT, *args), cwd, environ)
        assert done.status == status, done.out + done.err
        title = self.plain(f"loragit {shlex.join(args)}")
        self.say(title, f"status {done.status}", self.plain(done.out), self.plain(done.err))
        return done

    def run(self, argv: tuple[str, ...], cwd: Path | None, environ: dict[str, str]) -> Result:
        """An hour after the command before."""
        self.commands += 1
        self.clock.write_text(str(BEGIN + 3600 * self.commands))
        return self.scene.run(argv, cwd or self.scene.dataset, environ)

    def killed(self, step: str, *args: str, **environ: str) -> None:
        """``loragit ARGS``, which kills itself at the first ``step``."""
        driver = (
            sys.executable,
            str(HERE / "killed_at_step.py"),
            str(self.scene.home / "steps"),
            step,
        )
        done = self.run((*driver, *args), None, environ)
        assert done.status == -signal.SIGKILL, done.err
        self.say(
            f"loragit {shlex.join(args)}, killed at {step}",
            self.plain(done.out),
            self.plain(done.err),
        )

    def plain(self, text: str) -> str:
        """Without what differs from machine to machine."""
        for path in {str(self.scene.home.resolve()), str(self.scene.home)}:
            text = text.replace(path, "~")
        return re.sub(r"\bprocess \d+", "process NUMBER", text).replace("\r", "\\r")

    def shown(self, data: bytes) -> str:
        """Text as it is; of all else the hash."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if len(data) > SMALL or re.search(r"[\0-\x08]", text):
            return f"{len(data)} bytes sha256:{hashlib.sha256(data).hexdigest()}"
        return "".join(f"    {line}\n" for line in self.plain(text).split("\n")).removesuffix("\n")

    def history(self, folder: Path | None = None) -> None:
        """Every ref, reflog, commit, tag and blob."""
        top = folder or self.scene.dataset
        self.say(
            "refs", git(top, "for-each-ref", "--format=%(objecttype) %(objectname) %(refname)")
        )
        for ref in ("HEAD", "refs/heads/runs", "refs/notes/commits"):
            self.say(
                f"reflog of {ref}", git(top, "log", "-g", "--format=%H %gs", ref, "--", check=False)
            )
        blobs: dict[str, str] = {}
        for commit in git(top, "rev-list", "--all", "--topo-order", "--reverse").splitlines():
            tree = git(top, "ls-tree", "-r", commit)
            self.say(f"commit {commit}", git(top, "cat-file", "-p", commit), "--", tree)
            for line in tree.splitlines():
                entry, path = line.split("\t")
                blobs.setdefault(entry.split()[2], path)
        for blob, path in blobs.items():
            self.say(f"blob {blob} {path}", self.shown(blob_data(top, blob)))
        for tag in git(
            top, "for-each-ref", "--format=%(objecttype) %(refname)", "refs/tags"
        ).splitlines():
            kind, name = tag.split(" ")
            if kind == "tag":
                self.say(f"tag {name}", git(top, "cat-file", "-p", name))
        self.say("git fsck", git(top, "fsck", "--strict", "--no-dangling"))

    def files(self, *folders: Path) -> None:
        for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
            mode = f"{stat.S_IMODE(path.stat().st_mode):04o} {self.plain(str(path))}"
            self.say(f"file {mode}", self.shown(path.read_bytes())) if path.is_file() else self.say(
                f"folder {mode}"
            )

    def trainings(self) -> None:
        """What each training saw: its command, and the variables that loragit changed."""
        given = {**os.environ, **self.scene.environ}
        for path in sorted((self.scene.home / "seen").iterdir()):
            seen = json.loads(path.read_text())
            changed = {
                name: seen["environ"].get(name)
                for name in sorted({*given, *seen["environ"]} - SET_BY_SHELL)
                if not name.startswith(("COV", "GOLDEN", "PYTEST"))
                and given.get(name) != seen["environ"].get(name)
            }
            told = json.dumps(
                {"argv": seen["argv"], "cwd": seen["cwd"], "environ": changed}, indent=1
            )
            self.say(f"training {path.stem}", self.plain(told.replace(given["PATH"], "$PATH")))

    def end(self, *questions: str) -> None:
        """All that is left, and what loragit tells of it."""
        for question in questions:
            self.loragit(*shlex.split(question))
        self.history()
        logs = self.scene.dataset / ".git/loragit/logs"
        self.files(self.scene.output, *([logs] if logs.exists() else []))
        if (self.scene.home / "seen").exists():
            self.trainings()

    def check(self, name: str) -> None:
        """Compare it all with the file of that name."""
        text = "\n\n".join(self.parts) + "\n"
        file = FOLDER / f"{name}.txt"
        if WRITE:
            FOLDER.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        wanted = file.read_text(encoding="utf-8")
        assert "==== " in wanted
        if text != wanted:
            lines = difflib.unified_diff(
                wanted.splitlines(), text.splitlines(), file.name, "now", lineterm="", n=2
            )
            pytest.fail("\n".join(lines), pytrace=False)


def blob_data(folder: Path, blob: str) -> bytes:
    return subprocess.run(
        ["git", "cat-file", "blob", blob], cwd=folder, capture_output=True, check=True
    ).stdout


def repository(folder: Path, files: dict[str, str], branch: str, url: str) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", branch)
    commit_all(folder, "code")
    git(folder, "remote", "add", "origin", url)
    git(folder, "update-ref", f"refs/remotes/origin/{branch}", "HEAD")
    return folder


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def drawings(folder: Path) -> Path:
    """A dataset whose config names no folder of this machine."""
    write_dataset(folder)
    config = folder / "config.toml"
    config.write_text(
        config.read_text().replace(json.dumps(str(folder / "img")), f'"{relative_images(folder)}"')
    )
    return folder


def relative_images(folder: Path) -> str:
    """From the folder that the trainer runs in."""
    return os.path.relpath(folder / "img", folder.parents[1] / "source/repos/sd-scripts")


def dated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What git itself commits here is of one moment."""
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, f"{BEGIN - 86400} +0530")


@pytest.fixture
def stage(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A dataset, sd-scripts, LyCORIS and one more repository; a Python for the trainer, and a
    graphics card."""
    before = os.umask(0o022)
    # No zone of a list that a machine may lack, and no summer time.
    monkeypatch.setenv("TZ", "GOLD-5:30")
    with (home / ".gitconfig").open("a") as config:
        config.write("[init]\n\tdefaultObjectFormat = sha1\n\tdefaultRefFormat = files\n")
    dataset = drawings(home / "datasets" / "gren")
    (dataset / "loragit.toml").write_text(SETTINGS)
    code = home / "source" / "repos"
    with monkeypatch.context() as within:
        dated(within)
        git(dataset, "init", "-q")
        commit_all(dataset, "four drawings")
        trainer = repository(
            code / "sd-scripts", TRAINER, "sd3", "https://me:pw@example.org/sd-scripts"
        )
        repository(code / "LyCORIS", LYCORIS, "dev", "git@example.org:l.git")
        repository(
            home / "losses", {"loss.py": "weight = 1\n"}, "main", "https://example.org/losses"
        )
    script(home / "bin/nvidia-smi", '#!/bin/sh\necho "NVIDIA GeForce RTX 4090, 550.54.14"\n')
    words = shlex.join((sys.executable, str(HERE / "golden_python.py")))
    script(home / "env/bin/python", f'#!/bin/sh\nexec {words} "$@"\n')
    (home / "models").mkdir()
    (home / "models" / "base.safetensors").write_bytes(
        trainer_files.safetensors({"unet": b"\1\2\3\4"})
    )
    (home / "clocks").mkdir()
    shutil.copy(HERE / "golden_clock.py", home / "clocks" / "sitecustomize.py")
    environ = {
        "PYTHONPATH": str(home / "clocks"),
        "GOLDEN_CLOCK": str(home / "clock"),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "LORAGIT_TRAINER_ENV": str(home / "env/bin/python"),
        "HF_TOKEN": TOKEN,
    }
    yield Stage(Scene(home, dataset, trainer, environ))
    os.umask(before)


SETTINGS = """[trainer.args]
pretrained_model_name_or_path = "~/models/base.safetensors"
network_dim = 16
learning_rate = 1e-4
gradient_checkpointing = true
optimizer_args = ["weight_decay=0.1", "betas=0.9,0.99"]
"""
TRAINER = {
    "sdxl_train_network.py": "# what runs is another file\n",
    "train_network.py": "",
    "library/train_util.py": "",
    "library/__init__.py": "",
    ".gitignore": "__pycache__\n",
}
LYCORIS = {"lycoris/__init__.py": "", "lycoris/kohya.py": ""}
FULL = "models+samples+events"


def full_arguments(stage: Stage, rate: str) -> tuple[str, ...]:
    """Further inputs, LyCORIS, events, an argument with a secret, and a file with one."""
    more, preset = stage.scene.home / "more.toml", stage.scene.home / "preset.toml"
    more.write_text(f'max_grad_norm = 1.0\nhuggingface_token = "{TOKEN}"\nseed = 42\n')
    preset.write_text('enable_conv = true\nunet_target_module = ["Transformer2DModel"]\n')
    return (
        *("--allow-secrets", "--repo", str(stage.scene.home / "losses"), "--"),
        *("--config_file", str(more), "--learning_rate", rate, "--network_module", "lycoris.kohya"),
        *("--network_args", "algo=lokr", f"preset={preset}", "--wandb_api_key", KEY),
        *("--logging_dir", str(stage.scene.home / "logs"), "--log_prefix", "gren-"),
    )


def test_a_run_that_made_something_and_one_more_with_another_rate(stage: Stage) -> None:
    stage.loragit("train", ONE, *full_arguments(stage, "2e-4"), GOLDEN=FULL)
    stage.loragit("train", ONE, "--bump", *full_arguments(stage, "3e-4"), GOLDEN=FULL)
    stage.loragit("note", ONE, "-m", "the eyes are off", "--rating", "2")
    stage.loragit(
        "note", TWO, "-m", "better", "--star", "--best", f"{TWO}-step00000002.safetensors"
    )
    renamed = stage.scene.home / "mine.safetensors"
    shutil.copy(stage.scene.output / ONE / f"{ONE}.safetensors", renamed)
    stage.loragit("whence", "--json", str(renamed), str(stage.scene.output / TWO / "sample"))
    stage.end(
        "log --json",
        f"show --json {ONE}",
        f"show {TWO}",
        f"diff --json {ONE} {TWO}",
        "verify --json",
        "log",
    )
    stage.check("run")


def test_runs_that_made_nothing(stage: Stage) -> None:
    stage.loragit("train", ONE, status=1)
    stage.loragit("train", TWO, "--on-empty", "delete-tag", status=1)
    stage.loragit("train", "noob-gren-v3s4", "--on-empty", "keep", status=1)
    stage.end("log --json", "log --failed", "verify --json", f"show {ONE}")
    stage.check("nothing")


def test_imports(stage: Stage) -> None:
    folder = helpers_folder.leave(
        stage.scene.output, "noob-gren-v1s400", Path("/home/ada/datasets/gren")
    )
    lone = helpers_folder.write_model(
        stage.scene.home / "old" / "noob-gren-v2s100.safetensors",
        helpers_folder.header("noob-gren-v2s100", 8),
    )
    moment = helpers_folder.STARTED.timestamp()
    for path in (
        lone,
        lone.parent,
        *(stage.scene.output / "logs").rglob("*"),
        stage.scene.output / "logs",
    ):
        os.utime(path, (moment, moment))
    stage.loragit("import", "--json", str(folder))
    stage.loragit("import", str(lone))
    stage.end(
        "log --json",
        "show --json noob-gren-v1s400",
        "show noob-gren-v2s100",
        "verify --json",
        "log",
    )
    stage.check("import")


def test_recoveries_seal_and_take_back(stage: Stage) -> None:
    stage.killed(AFTER_THE_END, "train", ONE, GOLDEN="models+samples")
    stage.loragit("status")
    stage.loragit("recover")
    stage.killed(AFTER_THE_END, "train", TWO)
    stage.loragit("recover")
    stage.killed(BEFORE_THE_TRAINER, "train", "noob-gren-v3s4")
    stage.loragit("recover", "--dry-run")
    stage.loragit("recover")
    stage.end("log --json", f"show --json {ONE}", "verify --json")
    stage.check("recovery")


def test_code_and_a_dataset_that_are_not_committed(stage: Stage) -> None:
    (stage.scene.trainer / "train_network.py").write_text("rate = 2\n")
    (stage.scene.trainer / "fresh.py").write_text("new = True\n")
    (stage.scene.dataset / "img" / "00.txt").write_text("zqx, another thing")
    stage.loragit("train", ONE, status=1, GOLDEN="models")
    stage.loragit("train", ONE, "--allow-dirty", GOLDEN="models")
    stage.end("log --json", f"show --json {ONE}", "verify --json")
    stage.check("dirty")


def test_two_datasets_in_one_repository(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    top = stage.scene.home / "datasets"
    shutil.rmtree(stage.scene.dataset / ".git")
    drawings(top / "blau")
    with monkeypatch.context() as within:
        dated(within)
        git(top, "init", "-q")
        commit_all(top, "two datasets")
    stage.loragit("train", ONE, GOLDEN="models")
    stage.loragit("train", "noob-blau-v1s4", cwd=top / "blau", GOLDEN="models")
    stage.loragit("train", TWO, status=1)
    stage.end(
        "log --json", "log --json --all", f"diff --json {ONE} blau:noob-blau-v1s4", "verify --json"
    )
    stage.check("datasets")
