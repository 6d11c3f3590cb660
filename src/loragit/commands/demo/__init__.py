"""``loragit demo``: a dataset, a trainer and three runs to look at, in a throwaway folder."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import console, git
from loragit.commands.demo import dataset
from loragit.errors import LoragitError
from loragit.record.values import Entry
from loragit.system import child

DROPPED = ("OUTPUT_DIR", "STEPS", "SD_REPO", "SD_SCRIPT", "LYCORIS_REPO", "NO_CLEAN")
"""The user's variables, beside ``LORAGIT_*``, that would lead the demo's runs elsewhere."""

NAME, EMAIL = "loragit demo", "demo@loragit.invalid"
"""Who commits the scratch files, and the runs too if git does not know who the user is."""


class FolderTaken(LoragitError):
    """The demo's folder holds something already, or is no folder."""


class DemoFailed(LoragitError):
    """A run of the demo did not end as it is meant to."""


class Demo(NamedTuple):
    """The paths of a demo, all absolute."""

    folder: Path
    dataset: Path
    """The dataset's repository, with its ``loragit.toml``."""
    trainer: Path
    """The trainer's repository."""
    output: Path
    """Holds the runs' output folders; made by the first run."""


class DemoRun(NamedTuple):
    """One training of the demo."""

    name: str
    about: str
    """What it shows, in a sentence."""
    extra: tuple[str, ...] = ()
    """Further arguments of the trainer."""
    fails: bool = False
    """Whether it is meant to end with exit status 1 and to make nothing."""

    @property
    def command(self) -> tuple[str, ...]:
        """What follows ``loragit``."""
        return ("train", self.name, *(("--", *self.extra) if self.extra else ()))


RUNS = (
    DemoRun("noob-gren-v1s60", "The settings of the dataset as they are: an adapter of rank 4."),
    DemoRun(
        "noob-gren-v2s60",
        "Twice the rank, and a higher learning rate.",
        ("--network_dim", "8", "--network_alpha", "4", "--learning_rate", "0.05"),
    ),
    DemoRun(
        "noob-gren-v3s60",
        "A slip of the pen: a rank of 0. It fails, makes nothing, and is reverted.",
        ("--network_dim", "0"),
        fails=True,
    ),
)


def prepare(folder: Path) -> Demo:
    """Make the dataset, the trainer and the base model in ``folder``, which must be empty or not
    exist.

    Both repositories are committed and clean; no run has happened. Raises :class:`FolderTaken`.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = next(folder.iterdir(), None) is not None
    except OSError as error:
        raise FolderTaken(
            f"{folder} cannot be used: {error.strerror}", hint="name a folder to make"
        ) from error
    if taken:
        raise FolderTaken(
            f"{folder} is not empty", hint="name a folder that does not exist, or an empty one"
        )
    demo = Demo(folder, folder / "datasets/gren", folder / "sd-scripts", folder / "output_dir")
    _write(folder / "models", (Entry("noob.safetensors", dataset.base_model()),))
    _write(demo.trainer, dataset.trainer_files())
    _commit(demo.trainer, "A small trainer that behaves as sd-scripts does")
    _write(demo.dataset, dataset.dataset_files(sys.executable))
    _commit(demo.dataset, "dataset: twelve drawings")
    _set_identity(demo)
    return demo


def _write(folder: Path, entries: Iterable[Entry]) -> None:
    for entry in entries:
        file = folder / entry.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(entry.data)
        if entry.executable:
            file.chmod(0o755)


def _commit(folder: Path, message: str) -> None:
    """Make ``folder`` a repository and commit all that it holds, whatever the user's hooks, ignores
    and signing say."""
    own = {
        "user.name": NAME,
        "user.email": EMAIL,
        "commit.gpgSign": "false",
        "core.hooksPath": os.devnull,
    }
    own |= {"core.autocrlf": "false", "core.safecrlf": "false"}
    options = [word for key, value in own.items() for word in ("-c", f"{key}={value}")]
    git.run("init", "--quiet", "--initial-branch=main", cwd=folder)
    git.run(*options, "add", "--force", "--all", cwd=folder)
    git.run(*options, "commit", "--quiet", "--message", message, cwd=folder)


def child_environment(demo: Demo, environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for the demo's runs: with their dataset, and without what the user has set for
    other runs."""
    kept = {
        key: value
        for key, value in environ.items()
        if key not in DROPPED and not key.startswith("LORAGIT_")
    }
    # The user's own loragit.toml may hold arguments that only their trainer knows.
    return kept | {
        "TRAINING_DIR": str(demo.dataset),
        "XDG_CONFIG_HOME": str(demo.folder / "config"),
    }


def _set_identity(demo: Demo) -> None:
    """Configure who the user is in the scratch repositories, if git would not know it in the runs'
    environment."""
    hidden = (f"XDG_CONFIG_HOME={demo.folder / 'config'}",)
    for repository in (demo.dataset, demo.trainer):
        for key, fallback in (("user.name", NAME), ("user.email", EMAIL)):
            if git.start("config", key, cwd=repository, variables=hidden).reply().status != 0:
                known = (
                    git.call("config", key, cwd=repository)
                    .out.decode("utf-8", "surrogateescape")
                    .strip()
                )
                git.run("config", key, known or fallback, cwd=repository)


def demo(folder: Path | None, environ: Mapping[str, str] = os.environ) -> int:
    """Prepare, train :data:`RUNS` at the terminal, and show what git has of it. Returns 0, or 1 if
    a run went wrong.

    Without ``folder`` a new temporary folder is used; it is kept. Raises :class:`FolderTaken`.
    """
    if folder is None:
        import tempfile

        folder = Path(tempfile.mkdtemp(prefix="loragit-demo-"))
    made = prepare(folder)
    _print(f"Made a dataset, a trainer and a base model in {made.folder}")
    problems: list[str] = []
    for number, run in enumerate(RUNS, 1):
        _print(
            "", f"Run {number} of {len(RUNS)}. {run.about}", f"$ loragit {shlex.join(run.command)}"
        )
        argv = [sys.executable, "-m", "loragit", *run.command]
        status = child.run(argv, cwd=made.dataset, env=child_environment(made, environ))
        problems += problems_after(made, run, status)
    _print("", "What git has of it now:", "$ git log runs")
    history = git.call("--no-pager", "log", "--decorate=short", "runs", cwd=made.dataset)
    _print(*history.out.decode("utf-8", "surrogateescape").splitlines(), "")
    if problems:
        console.error(
            DemoFailed(
                "the demo did not go as it should have", hint=f"look around in {made.folder}"
            )
        )
        for problem in problems:
            console.finding(problem, None)
        return 1
    _print(*_next_steps(made, environ))
    return 0


def _print(*lines: str) -> None:
    for line in lines:
        console.out(line)
    # The children write to the same terminal, past our buffer.
    console.finish()


def problems_after(demo: Demo, run: DemoRun, status: int) -> list[str]:
    """What is wrong after ``run`` ended with ``status``, a sentence each."""
    model = demo.output / run.name / f"{run.name}.safetensors"
    tagged = (
        git.call(
            "rev-parse", "--verify", "--quiet", f"refs/tags/{run.name}", cwd=demo.dataset
        ).status
        == 0
    )
    expected = 1 if run.fails else 0
    problems = []
    if status != expected:
        problems.append(
            f"{run.name} ended with exit status {status}; it should have been {expected}"
        )
    if run.fails and model.parent.exists():
        problems.append(f"{run.name} should have made nothing, but left {model.parent}")
    if not run.fails and not model.is_file():
        problems.append(f"{run.name} should have made {model}")
    if tagged == run.fails:
        problems.append(f"{run.name} should have {'no' if run.fails else 'a'} tag")
    return problems


def loragit_command(environ: Mapping[str, str]) -> str:
    """What starts this loragit in the user's shell."""
    import shutil

    if shutil.which("loragit", path=environ.get("PATH")):
        return "loragit"
    beside = Path(sys.executable).with_name("loragit")
    return (
        shlex.quote(str(beside))
        if beside.is_file()
        else shlex.join([sys.executable, "-m", "loragit"])
    )


def _next_steps(demo: Demo, environ: Mapping[str, str]) -> list[str]:
    loragit = loragit_command(environ)
    first, second, failed = (run.name for run in RUNS)
    steps = (
        (f"cd {shlex.quote(str(demo.dataset))}", "the dataset's repository"),
        ("git log runs", "every run, and why one was reverted"),
        (f"git show {second}", "one run: outcome, record, and all that went into it"),
        (f"git diff {first} {second} -- run.toml", "what was set differently"),
        (f"{loragit} log", "a line a run"),
        (f"{loragit} show {second}", "one run, for people"),
        (f"{loragit} train {failed}", "the name of the failed run is free again"),
    )
    lines = [line for command, what in steps for line in (f"  {command}", f"      {what}")]
    samples = demo.output / second / "sample"
    return [
        "Try next:",
        *lines,
        f"The pictures that the second adapter drew while it learned: {samples}",
        f"Everything is in {demo.folder}, which you may delete.",
    ]
