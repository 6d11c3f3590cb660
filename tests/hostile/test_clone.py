"""A cloned dataset that is made of traps: none of its programs may run before somebody agreed to
it."""

from __future__ import annotations

import gc
import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loragit import __main__, cli_hook
from loragit.commands import trust
from loragit.git import command
from loragit.settings import schema
from tests.support.made_up_runs import open_store, sealed
from tests.support.processes import commit_all
from tests.support.processes import git as run_git
from tests.support.user_home import make_trainer, write_dataset

NAMES = ("noob-gren-v1s4", "noob-gren-v2s4")
NEXT = "noob-gren-v3s4"

_SETTINGS = """[trainer]
repo = "trainer/sub"
script = "train.py"
env = "venv:./venv"
launcher = "bin/launch"
lycoris_repo = "trainer"
workdir = "dataset"

[trainer.args]
network_module = "trap"

[record]
repos = ["trainer", "trainer/sub"]

[models.noob]
launcher = ["bin/launch", "--model"]
"""

_PROGRAMS = """[core]
\trepositoryformatversion = 0
\tbare = false
\tworktree = .
\tfsmonitor = {trap}
\tpager = {trap}
\teditor = {trap}
\tsshCommand = {trap}
\thooksPath = hooks
[diff]
\texternal = {trap}
[diff "trap"]
\tcommand = {trap}
\ttextconv = {trap}
[filter "trap"]
\tclean = {trap}
\tsmudge = {trap}
\tprocess = {trap}
[gpg]
\tprogram = {trap}
[sequence]
\teditor = {trap}
[credential]
\thelper = {trap}
"""

made: dict[str, Path] = {}
"""The dataset that is cloned, made once."""


def trap(path: Path, ran: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {path} >> {ran}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if made:
        return made["dataset"]
    dataset = write_dataset(tmp_path_factory.mktemp("upstream") / "gren", images=1)
    ran = dataset.parent / "ran"
    (dataset / "config.toml").write_text(
        (dataset / "config.toml").read_text().replace(str(dataset / "img"), "img")
    )
    run_git(dataset, "init", "-q", "--bare", "trainer")
    planted = dataset / "trainer"
    shutil.rmtree(planted / "hooks", ignore_errors=True)
    for empty in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (planted / empty / "kept").touch()
    program = trap(dataset / "bin" / "trap", ran)
    (planted / "config").write_text(_PROGRAMS.format(trap=program))
    for hook in (
        "pre-commit",
        "post-index-change",
        "reference-transaction",
        "post-checkout",
        "fsmonitor-watchman",
    ):
        trap(planted / "hooks" / hook, ran)
    (planted / "sub").mkdir()
    for place in (
        "trainer/sub/train.py",
        "trainer/sub/trap.py",
        "json.py",
        "__future__.py",
        "site.py",
        "loragit.py",
    ):
        (dataset / place).write_text(f"open({str(ran)!r}, 'a').write(__file__ + '\\n')\n")
    for place in (
        "bin/launch",
        "bin/python",
        "venv/bin/python",
        "venv/bin/python3",
        "venv/bin/activate",
    ):
        trap(dataset / place, ran)
    (dataset / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (dataset / ".gitattributes").write_text("* filter=trap diff=trap merge=trap\n")
    (dataset / schema.FILE).write_text(_SETTINGS)
    run_git(dataset, "init", "-q")
    commit_all(dataset, "drawings")
    store = open_store(dataset)
    for name in NAMES:
        sealed(store, name)
    made["dataset"] = dataset
    return dataset


@pytest.fixture
def clone(upstream: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What somebody has who cloned it and goes there."""
    (home / "datasets").mkdir()
    run_git(home / "datasets", "clone", "-q", str(upstream))
    clone = home / "datasets" / "gren"
    run_git(clone, "branch", "-q", "runs", "origin/runs")
    (home / "out").mkdir()
    (home / "out" / "some.safetensors").write_bytes(b"weights")
    monkeypatch.chdir(clone)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    command.is_bare.cache_clear()
    traps(upstream)
    return clone


def traps(upstream: Path) -> list[str]:
    """What ran since this was asked last."""
    ran = upstream.parent / "ran"
    lines = ran.read_text().splitlines() if ran.exists() else []
    ran.unlink(missing_ok=True)
    return lines


def loragit(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """``loragit WORDS``, in this process."""
    monkeypatch.setattr(sys, "argv", ["loragit", *words])
    try:
        return __main__.main()
    finally:
        gc.enable()


READING = (
    ("log",),
    ("log", "--graph", "--all"),
    ("show", NAMES[0]),
    ("show", f"{NAMES[0]}:run.toml"),
    ("diff", *NAMES),
    ("diff", *NAMES, "--git"),
    ("whence", "~/out/some.safetensors"),
    ("note", NAMES[0], "-m", "soft"),
    ("verify",),
    ("status",),
    ("settings", NEXT),
    ("import", "--dry-run", "~/out"),
    ("hook", "run", "pre-commit"),
    ("hook", "run", "secrets"),
    ("hook", "status"),
    ("init", "--dry-run"),
    ("zsh",),
    ("shell", "variables", NEXT),
)
STARTING = (
    ("train", NEXT),
    ("train", NEXT, "--dry-run"),
    ("train", "--bump", NAMES[0], "--", "--seed", "1"),
    ("doctor",),
    ("doctor", NEXT),
    ("trust",),
)


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_nothing_of_a_cloned_dataset_runs_where_it_is_only_read(
    clone: Path, upstream: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    status = loragit(monkeypatch, *(word.replace("~", str(home)) for word in words))
    assert traps(upstream) == []
    assert status == (1 if words[0] in ("whence", "import") else 0), "it did its work"


@pytest.mark.parametrize("words", STARTING, ids=" ".join)
def test_nothing_of_a_cloned_dataset_runs_before_somebody_agreed(
    clone: Path,
    upstream: Path,
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    home: Path,
) -> None:
    assert loragit(monkeypatch, *words) == 1
    assert traps(upstream) == []
    out, err = capsys.readouterr()
    assert 'trainer.launcher = ["bin/launch"]' in out + err
    assert "loragit trust" in out + err
    assert not (home / ".local" / "state").exists()
    assert run_git(clone, "tag", "--list").splitlines() == list(NAMES)


def test_the_traps_are_ones(clone: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "status"], cwd=clone / "trainer" / "sub", capture_output=True)
    assert traps(upstream), "git runs what the planted repository names"
    assert loragit(monkeypatch, "train", NEXT, "--trust") == 1
    assert {Path(line).name for line in traps(upstream)} == {"python", "activate"}


def test_a_child_is_no_more_gullible(clone: Path, upstream: Path) -> None:
    """As a hook starts it: modules that lie in the dataset are not loragit's."""
    words = [*shlex.split(cli_hook.own_command()), "status"]
    done = subprocess.run(words, cwd=clone, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert traps(upstream) == []


def test_the_trainers_python_is_not_asked_from_modules_in_the_dataset(
    clone: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """The user's own settings let the trainer run in the dataset's folder."""
    trainer = make_trainer(home / "sd-scripts")
    own = f'[trainer]\nrepo = "{trainer}"\nworkdir = "dataset"\npython = "{sys.executable}"\n'
    (clone / schema.FILE).write_text("")
    (home / ".config" / "loragit").mkdir(parents=True)
    (home / ".config" / "loragit" / schema.FILE).write_text(own)
    assert loragit(monkeypatch, "train", NEXT, "--dry-run") == 0
    assert traps(upstream) == []


def test_consent_is_asked_only_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trust.agreement(trusted=False) is None
    monkeypatch.setattr("loragit.console.can_ask", lambda: True)
    assert trust.agreement(trusted=False) is not None
