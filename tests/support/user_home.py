"""What tests of whole commands need: a dataset, a trainer's repository, and ``git`` and ``loragit``
as children."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import forked
from tests.support.paths import SD_SCRIPTS
from tests.support.processes import LORAGIT, Result, commit_all, git

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Scene:
    """A home with a dataset ``gren`` and a trainer, laid out as the defaults expect them."""

    home: Path
    dataset: Path
    trainer: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def output(self) -> Path:
        return self.home / "output_dir"

    def loragit(self, *args: str, cwd: Path | None = None, **environ: str) -> Result:
        """Run ``loragit ARGS`` as a child, in the dataset's folder."""
        return self.run((*LORAGIT, *args), cwd or self.dataset, environ)

    def run(self, argv: tuple[str, ...], cwd: Path, environ: dict[str, str]) -> Result:
        """Run any program as a user of this home would; a ``loragit`` is forked where it can be."""
        environ = {**self.environ, **environ}
        server = forked.shared()
        if argv[: len(LORAGIT)] == LORAGIT and server.can_have({**os.environ, **environ}):
            return server.run(forked.loragit, *argv[len(LORAGIT) :], cwd=cwd, **environ)
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def train(self, name: str = "noob-gren-v1s4", *args: str, **environ: str) -> Result:
        return self.run((*LORAGIT, "train", name, *args), self.dataset, environ)

    def git(self, *args: str, check: bool = True) -> str:
        return git(self.dataset, *args, check=check)

    def tags(self) -> list[str]:
        return self.git("tag", "--list").splitlines()

    def trailers(self, revision: str) -> dict[str, str]:
        """The trailers of a commit's message, as ``git interpret-trailers`` reads them."""
        message = self.git("log", "-1", "--format=%B", revision)
        return parsed_trailers(self.dataset, message)

    def outcome(self, name: str) -> dict[str, str]:
        """The trailers of a sealed tag's message, which a signature may follow."""
        message = self.git(
            "for-each-ref",
            "--format=%(contents:subject)%0a%0a%(contents:body)",
            f"refs/tags/{name}",
        )
        return parsed_trailers(self.dataset, message)

    def settings(self, text: str) -> None:
        """Put ``text`` into the dataset's loragit.toml."""
        (self.dataset / "loragit.toml").write_text(text)


def parsed_trailers(folder: Path, message: str) -> dict[str, str]:
    out = git(folder, "interpret-trailers", "--parse", text_input=message + "\n")
    return dict(line.split(": ", 1) for line in out.splitlines())


def make_trainer(folder: Path) -> Path:
    """A repository that holds the stub trainer under sd-scripts' names."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "sd3")
    shutil.copy(HERE / "stub_trainer.py", folder / "sdxl_train_network.py")
    shutil.copy(HERE / "trainer_files.py", folder / "trainer_files.py")
    # What makes a folder sd-scripts to those who look for it.
    (folder / "library").mkdir()
    for name in ("train_network.py", "library/train_util.py"):
        (folder / name).write_text('"""No part of the stub."""\n')
    (folder / ".gitignore").write_text("__pycache__\n")
    commit_all(folder, "a trainer")
    return folder


def write_dataset(folder: Path, images: int = 4) -> Path:
    """Images, captions, config and prompts; absolute ``image_dir``. No repository yet."""
    source = SD_SCRIPTS / "dataset"
    (folder / "img").mkdir(parents=True)
    for number in range(images):
        image = source / "img" / f"{number % 4:02d}.png"
        shutil.copy(image, folder / "img" / f"{number:02d}.png")
        (folder / "img" / f"{number:02d}.txt").write_text(f"zqx, a round thing, colour {number}")
    config = (source / "config.toml").read_text().replace('"img"', json.dumps(str(folder / "img")))
    (folder / "config.toml").write_text(config)
    shutil.copy(source / "sample-prompts.txt", folder / "sample-prompts.txt")
    return folder


@functools.cache
def _ready_made() -> Path:
    """A folder with a trainer's repository and an empty one, made once a process: to copy them
    costs a fifth of having git make them."""
    folder = Path(tempfile.mkdtemp(prefix="loragit-ready-made-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_trainer(folder / "trainer")
    git(folder, "init", "-q", "empty")
    return folder


def make_scene(home: Path) -> Scene:
    dataset = write_dataset(home / "datasets" / "gren")
    shutil.copytree(_ready_made() / "empty" / ".git", dataset / ".git")
    commit_all(dataset, "four drawings")
    trainer = home / "source" / "repos" / "sd-scripts"
    shutil.copytree(_ready_made() / "trainer", trainer)
    return Scene(home, dataset, trainer)


def sound(scene: Scene) -> None:
    """The repository is well-formed, and nothing of the user's was touched."""
    scene.git("fsck", "--strict", "--full")
    assert scene.git("status", "--porcelain") == ""
    assert scene.git("stash", "list") == ""


def sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def refused(scene: Scene, *told: str, args: tuple[str, ...] = (), **environ: str) -> str:
    """The run is refused, each of ``told`` is said, and nothing was written anywhere."""
    before = listed(scene.dataset)
    done = scene.train("noob-gren-v1s4", *args, **environ)
    assert done.status in (1, 2), done.err
    for text in told:
        assert text in done.err, done.err
    assert "Traceback" not in done.err
    assert listed(scene.dataset) == before
    assert not scene.output.exists() or list(scene.output.iterdir()) == []
    return done.err


def listed(dataset: Path) -> list[str]:
    """All that is there but git's index, and the lock of the housekeeping that an earlier run may
    have left at work."""
    return sorted(
        str(p) for p in dataset.rglob("*") if "index" not in p.name and p.name != "maintenance.lock"
    )


def gone(scene: Scene, status: int, reason: str) -> str:
    """The run was reverted, its name is free, and the message says ``reason``. Returns the
    message."""
    assert scene.tags() == []
    assert not (scene.output / "noob-gren-v1s4").exists()
    message = scene.git("log", "-1", "--format=%B", "runs")
    trailers = parsed_trailers(scene.dataset, message)
    assert trailers["Exit-Status"] == str(status)
    assert trailers["Reverts"] == scene.git("rev-parse", "runs~1")
    assert reason in message
    assert scene.git("for-each-ref", "--format=%(refname)", "refs/loragit") == ""
    sound(scene)
    return message
