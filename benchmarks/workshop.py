"""What the benchmarks work on: a home of their own with datasets, a trainer that only writes a
file, and many runs."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

LORAGIT = Path(sys.executable).with_name("loragit")
"""The installed entry point, beside the Python that runs the benchmarks."""

FILE_BYTES = 50_000
"""Of each image. Their content is random, so that nothing gains by compressing or by sharing it."""

SETTLED = 3.0
"""Seconds after which loragit trusts a file's time stamps, with some to spare."""

TRAINER = b"""\
import os
import sys

words = sys.argv[1:]
given = dict(zip(words, words[1:]))
end = given.get("--end", "")
if "--fail" in words or end == "failed":
    sys.exit(1)
if end == "nothing":
    sys.exit(0)
if end == "killed":
    os.kill(os.getpid(), 9)
size = int(given.get("--product_bytes", "1024"))
head = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
os.makedirs(given["--output_dir"], exist_ok=True)
with open(os.path.join(given["--output_dir"], given["--output_name"] + ".safetensors"), "wb") as file:
    file.write(len(head).to_bytes(8, "little") + head)
    file.truncate(file.tell() + size)
if end == "failed late":
    sys.exit(1)
"""  # noqa: E501
"""A trainer that writes one whole model of zeros, and takes as long as Python takes to start;
``--end`` says how it ends otherwise."""

CONFIG = """\
[general]
caption_extension = ".txt"

[[datasets]]
resolution = 512
batch_size = 1

  [[datasets.subsets]]
  image_dir = {images}
  num_repeats = 1
"""

SETTINGS = """\
[trainer]
repo = {trainer}
script = "train_network.py"
python = {python}

[trainer.args]
network_module = "networks.lora"
network_dim = 4

[paths]
output = {output}
"""


class ChildFailed(Exception):
    """A command that a benchmark needs did not do what it should: its time would mean nothing."""


@dataclass(frozen=True, slots=True)
class Child:
    """A command that ran to its end."""

    seconds: float
    """From before it was started until it was reaped."""
    peak: float
    """Largest resident set of it or of any child it waited for, MiB. The kernel counts what the
    benchmark itself held when it forked, so that nothing below about 20 MiB can be seen."""


@dataclass(slots=True)
class Scene:
    """A dataset's repository ``gren`` and the trainer's, both committed and clean."""

    dataset: Path
    trainer: Path
    output: Path
    environ: dict[str, str] = field(repr=False)
    used: int = 0
    """Number of the last run, bare or on record."""

    @property
    def images(self) -> Path:
        return self.dataset / "img"

    def next_name(self) -> str:
        self.used += 1
        return f"noob-gren-v{self.used}s4"

    def run(self, *argv: str | Path, status: int = 0) -> Child:
        """Run a command in the dataset's folder. Raises :class:`ChildFailed` for another exit
        status."""
        return run(argv, self.dataset, self.environ, status)

    def bare(self, *extra: str, status: int = 0) -> Child:
        """The trainer alone, with the arguments that loragit would give it."""
        name = self.next_name()
        output = self.output / f"bare-{name}"
        config, prompts = self.dataset / "config.toml", self.dataset / "sample-prompts.txt"
        argv: list[str | Path] = [sys.executable, self.trainer / "train_network.py"]
        argv += ["--output_dir", output, "--output_name", name]
        argv += ["--dataset_config", config, "--sample_prompts", prompts, "--max_train_steps", "4"]
        argv += ["--network_module", "networks.lora", "--network_dim", "4", *extra]
        return run(argv, self.trainer, self.environ, status)

    def train(self, *extra: str, status: int = 0) -> Child:
        """The same on record, under a new name."""
        return self.run(
            LORAGIT, "train", self.next_name(), *(("--", *extra) if extra else ()), status=status
        )

    def git(self, *args: str) -> str:
        return git(self.dataset, self.environ, *args)

    def forget(self) -> None:
        """Empty loragit's caches: the next run is the first."""
        shutil.rmtree(self.environ["XDG_CACHE_HOME"], ignore_errors=True)


def run(
    argv: Sequence[str | Path], folder: Path, environ: dict[str, str], status: int = 0
) -> Child:
    """Run ``argv`` and wait for it, its output thrown away. Raises :class:`ChildFailed`."""
    quiet = subprocess.DEVNULL
    begun = time.perf_counter()
    child = subprocess.Popen(argv, cwd=folder, env=environ, stdin=quiet, stdout=quiet, stderr=quiet)
    _, code, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode != status:
        again = subprocess.run(
            argv, cwd=folder, env=environ, stdin=quiet, capture_output=True, text=True, check=False
        )
        words = " ".join(map(str, argv))
        raise ChildFailed(
            f"{words}: exit status {child.returncode}, not {status}; once more it "
            f"said:\n{again.stderr}"
        )
    return Child(seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))


def git(folder: Path, environ: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ChildFailed(f"git {' '.join(args)}: {done.stderr}")
    return done.stdout


class Workshop:
    """Scenes in one temporary folder, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._scenes: dict[str, Scene] = {}
        home = folder / "home"
        home.mkdir()
        (home / ".gitconfig").write_text(
            "[user]\n\tname = Bench\n\temail = bench@loragit.invalid\n"
        )
        self._home = home

    def environ(self, scene: str) -> dict[str, str]:
        """Nothing of the user's but PATH; a cache for each scene."""
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "TMPDIR", "TZ")}
        own = {
            "HOME": str(self._home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "NO_COLOR": "1",
        }
        own |= {
            "XDG_CACHE_HOME": str(self.folder / "caches" / scene),
            "XDG_CONFIG_HOME": str(self._home / ".config"),
        }
        return kept | own

    def scene(self, label: str, files: int) -> Scene:
        """A clean dataset of ``files`` images, under a ``label`` that keeps it apart from others of
        that size."""
        key = f"{label}-{files}"
        if key not in self._scenes:
            self._scenes[key] = self._make(key, files)
        return self._scenes[key]

    def _make(self, key: str, files: int) -> Scene:
        root = self.folder / key
        scene = Scene(
            root / "datasets/gren", root / "sd-scripts", root / "output", self.environ(key)
        )
        scene.images.mkdir(parents=True)
        rng = random.Random(files)
        for number in range(files):
            (scene.images / f"{number:05d}.png").write_bytes(rng.randbytes(FILE_BYTES))
        values = {
            "trainer": str(scene.trainer),
            "python": sys.executable,
            "output": str(scene.output),
        }
        settings = SETTINGS.format(**{name: json.dumps(value) for name, value in values.items()})
        (scene.dataset / "loragit.toml").write_text(settings)
        (scene.dataset / "config.toml").write_text(
            CONFIG.format(images=json.dumps(str(scene.images)))
        )
        (scene.dataset / "sample-prompts.txt").write_text("zqx, a round thing --w 64 --h 64\n")
        scene.trainer.mkdir()
        (scene.trainer / "train_network.py").write_bytes(TRAINER)
        for folder in (scene.trainer, scene.dataset):
            git(folder, scene.environ, "init", "--quiet", "--initial-branch=main")
            commit(folder, scene.environ)
        return scene


def commit(folder: Path, environ: dict[str, str]) -> None:
    """Commit everything in ``folder``, then wait until nothing in it is too young to be trusted."""
    # Straight into one pack, uncompressed: quick, and no thousands of loose objects that git would
    # soon repack.
    quick = ("-c", "core.bigFileThreshold=1", "-c", "core.compression=0")
    git(folder, environ, *quick, "add", "--all")
    git(folder, environ, "commit", "--quiet", "--message", "files")
    time.sleep(SETTLED)
    git(folder, environ, "status", "--short")


def add_captions(scene: Scene) -> None:
    """A caption beside each image, each another; committed."""
    for number, image in enumerate(sorted(scene.images.glob("*.png"))):
        image.with_suffix(".txt").write_text(f"zqx, a round thing, number {number}\n")
    commit(scene.dataset, scene.environ)


def add_runs(scene: Scene, total: int) -> None:
    """Bring the scene to ``total`` runs on record, every tenth of them reverted.

    The first two are real: one that made a model, one that failed. The others are what ``git
    fast-import`` makes of those two commits, of the tag and of the revert: the same messages and
    trees, but for name and ``run.toml``.
    """
    if not scene.used:
        scene.train()
        scene.train("--fail", status=1)
    _Import(scene).runs(range(scene.used + 1, total + 1))
    scene.used = total
    listed = subprocess.run(
        [LORAGIT, "log"],
        cwd=scene.dataset,
        env=scene.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    states = [
        sum(f" {state} " in line for line in listed.stdout.splitlines())
        for state in ("sealed", "reverted")
    ]
    reverted = 1 + sum(number % 10 == 0 for number in range(3, total + 1))
    if states != [total - reverted, reverted]:
        raise ChildFailed(
            f"loragit log lists {states} runs, sealed and reverted, of "
            f"{[total - reverted, reverted]}"
        )


class _Import:
    """One ``git fast-import`` that multiplies the first two runs of a scene."""

    MADE, FAILED = "noob-gren-v1s4", "noob-gren-v2s4"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        revert = scene.git(
            "log", "-1", "--format=%H", f"--grep=^Run: {self.FAILED}", "runs"
        ).strip()
        self._failed = scene.git(
            "log", "-1", "--format=%(trailers:key=Reverts,valueonly)", revert
        ).strip()
        self._texts = {
            "made": self._text("log", "-1", "--format=%B", self.MADE),
            "tag": self._text("for-each-ref", "--format=%(contents)", f"refs/tags/{self.MADE}"),
            "failed": self._text("log", "-1", "--format=%B", self._failed),
            "revert": self._text("log", "-1", "--format=%B", revert),
            "run.toml": scene.git("show", f"{self.MADE}:run.toml"),
        }
        self._time = int(time.time())
        self._marks = 0

    def _text(self, *args: str) -> str:
        """A message as it is stored; git prints an empty line after it."""
        return self._scene.git(*args).rstrip("\n") + "\n"

    def runs(self, numbers: range) -> None:
        """Write the runs with these ``numbers``; every tenth fails."""
        environ, folder = self._scene.environ, self._scene.dataset
        pipe = subprocess.PIPE
        argv = ["git", "fast-import", "--quiet", "--done"]
        tip, keep = self._scene.git("rev-parse", "runs", "HEAD").split()
        with subprocess.Popen(
            argv, cwd=folder, env=environ, stdin=pipe, stdout=pipe
        ) as self._child:
            for number in numbers:
                tip = (
                    self._failure(tip, number)
                    if number % 10 == 0
                    else self._success(tip, number, keep)
                )
            self._say("done\n")
        if self._child.returncode != 0:
            raise ChildFailed("git fast-import failed")

    def _success(self, tip: str, number: int, keep: str) -> str:
        name = f"noob-gren-v{number}s4"
        commit = self._commit(tip, self._texts["made"].replace(self.MADE, name), self._toml(name))
        tag = self._texts["tag"].replace(self.MADE, name)
        self._say(f"tag {name}\nfrom {commit}\ntagger {self._who()}\n{_data(tag)}")
        self._say(f"reset refs/loragit/keep/{name}\nfrom {keep}\n")
        return commit

    def _failure(self, tip: str, number: int) -> str:
        name = f"noob-gren-v{number}s4"
        commit = self._commit(
            tip, self._texts["failed"].replace(self.FAILED, name), self._toml(name)
        )
        message = (
            self._texts["revert"].replace(self.FAILED, name).replace(self._failed, self._id(commit))
        )
        return self._commit(commit, message, "")

    def _toml(self, name: str) -> str:
        return (
            f"M 100644 inline run.toml\n{_data(self._texts['run.toml'].replace(self.MADE, name))}"
        )

    def _commit(self, parent: str, message: str, changes: str) -> str:
        """Append to ``runs``; returns the commit's mark."""
        self._time += 1
        self._marks += 1
        head = (
            f"commit refs/heads/runs\nmark :{self._marks}\nauthor {self._who()}\ncommitter "
            f"{self._who()}\n"
        )
        self._say(f"{head}{_data(message)}from {parent}\n{changes}")
        return f":{self._marks}"

    def _id(self, mark: str) -> str:
        self._say(f"get-mark {mark}\n")
        assert self._child.stdin and self._child.stdout
        self._child.stdin.flush()
        return self._child.stdout.readline().decode().strip()

    def _who(self) -> str:
        return f"Bench <bench@loragit.invalid> {self._time} +0000"

    def _say(self, text: str) -> None:
        assert self._child.stdin
        self._child.stdin.write(text.encode())


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"
