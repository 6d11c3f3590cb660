"""Signals to a training script: whoever tells it to end ends the training, at once, and the record
is whole."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from loragit.system import alive
from tests.support.shell_scripts import (
    HEAD,
    NAME,
    SCRIPT,
    SHELLS,
    SOURCE,
    Waiting,
    ended_by,
    need,
    run,
    write,
)
from tests.support.user_home import Scene, gone, make_scene, sound

BARE = (
    HEAD
    + SOURCE
    + 'setup_training_vars "$NAME"\nrun_training_script "$SD_REPO/$SD_SCRIPT"\necho went on\n'
)
"""A script without a trap."""


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    need(name)
    return name


def sealed(scene: Scene, number: signal.Signals) -> None:
    """The run is on record with its checkpoint and the signal that ended it, which reached it
    once."""
    outcome = scene.outcome(NAME)
    assert outcome["Interrupted-By"] == number.name
    assert outcome["Exit-Status"] == str(128 + number)
    assert outcome["Model"].startswith(f"{NAME}-step00000002.safetensors ")
    assert list((scene.dataset / ".git" / "loragit" / "open").iterdir()) == []
    sound(scene)


@pytest.mark.parametrize("script", [SCRIPT, BARE], ids=["trap", "no trap"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("whom", ["shell", "group"])
def test_a_signal_ends_the_training_and_the_script(
    scene: Scene, shell: str, tmp_path: Path, script: str, number: signal.Signals, whom: str
) -> None:
    waiting = Waiting(scene, write(scene, shell, script), tmp_path)
    (waiting.tell if whom == "shell" else waiting.tell_all)(number)
    done = waiting.end()
    assert done.status in ended_by(number), done.err
    assert "went on" not in done.out
    assert "after:" not in done.out
    sealed(scene, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_made_nothing_is_reverted(
    scene: Scene, shell: str, tmp_path: Path, number: signal.Signals
) -> None:
    waiting = Waiting(scene, write(scene, shell), tmp_path, how="wait-empty")
    waiting.tell_all(number)
    assert waiting.end().status in ended_by(number)
    gone(scene, 128 + number, "made nothing")


def test_the_scripts_own_trap_runs_when_the_training_has_ended(
    scene: Scene, shell: str, tmp_path: Path
) -> None:
    own = "trap 'echo mine; exit 3' TERM\ntrap 'echo left' EXIT\n"
    waiting = Waiting(scene, write(scene, shell, BARE.replace(SOURCE, SOURCE + own)), tmp_path)
    waiting.tell(signal.SIGTERM)
    done = waiting.end()
    assert (done.status, done.out.splitlines()[-2:]) == (3, ["mine", "left"])
    sealed(scene, signal.SIGTERM)


def test_a_trap_that_goes_on_is_told_the_status(scene: Scene, shell: str, tmp_path: Path) -> None:
    own = "trap 'echo mine' INT\n"
    body = BARE.replace(SOURCE, SOURCE + own).replace(
        '_SCRIPT"\n', '_SCRIPT" || echo "status $?"\n'
    )
    waiting = Waiting(scene, write(scene, shell, body), tmp_path)
    waiting.tell_all(signal.SIGINT)
    done = waiting.end()
    assert (done.status, done.out.splitlines()[-3:]) == (0, ["mine", "status 130", "went on"])
    sealed(scene, signal.SIGINT)


def test_traps_are_as_before_afterwards(scene: Scene, shell: str) -> None:
    own = "trap 'echo \"it is\" mine' TERM\n"
    after = 'kill -s TERM "$$"\ntrap - TERM\nkill -s HUP "$$"\necho survived\n'
    done = run(scene, str(write(scene, shell, BARE.replace(SOURCE, SOURCE + own) + after)))
    assert done.out.splitlines()[-2:] == ["went on", "it is mine"]
    assert done.status in (-signal.SIGHUP, 1)  # zsh ends with 1 at SIGHUP


@pytest.mark.parametrize("how", ["nohup", "trap"])
def test_a_signal_that_is_ignored_stays_ignored(
    scene: Scene, shell: str, tmp_path: Path, how: str
) -> None:
    body = BARE.replace(SOURCE, SOURCE + "trap '' HUP\n") if how == "trap" else BARE
    prefix = ("nohup",) if how == "nohup" else ()
    waiting = Waiting(scene, write(scene, shell, body), tmp_path, prefix=prefix)
    waiting.tell_all(signal.SIGHUP)
    waiting.tell_all(signal.SIGCONT)  # comes after the other: once it is heard, the other was
    assert alive.exists(waiting.trainer)
    os.kill(waiting.trainer, signal.SIGUSR1)  # ends the wait
    done = waiting.end()
    assert done.status == 0, done.err
    assert done.out.endswith("went on\n")
    assert "Interrupted-By" not in scene.outcome(NAME)


def test_cleaning_up_ends_a_training_that_still_runs(
    scene: Scene, shell: str, tmp_path: Path
) -> None:
    own = "trap 'exit 4' USR1\nDEBUG=1\n"
    waiting = Waiting(scene, write(scene, shell, SCRIPT.replace(SOURCE, SOURCE + own)), tmp_path)
    waiting.tell(signal.SIGUSR1)
    done = waiting.end()
    assert done.status == 4, done.err
    assert "cleanup: the training still runs, and is ended" in done.err
    sealed(scene, signal.SIGTERM)


def test_a_signal_that_concerns_nobody_does_not_end_the_wait(
    scene: Scene, shell: str, tmp_path: Path
) -> None:
    own = "trap 'echo poked' USR1\n"
    waiting = Waiting(
        scene, write(scene, shell, SCRIPT.replace(SOURCE, SOURCE + own), place="a b/c.sh"), tmp_path
    )
    waiting.tell(signal.SIGUSR1)
    waiting.tell(signal.SIGUSR1)
    while waiting.child.stdout is not None and waiting.child.stdout.readline() != "poked\n":
        pass
    os.kill(waiting.trainer, signal.SIGUSR1)
    done = waiting.end()
    assert (done.status, done.out.splitlines()[-1]) == (0, "after: 0"), done.err
    assert "2 models" in done.err


def test_a_training_in_a_subshell_is_ended_with_it(
    scene: Scene, shell: str, tmp_path: Path
) -> None:
    body = BARE.replace(
        'run_training_script "$SD_REPO/$SD_SCRIPT"',
        '(run_training_script "$SD_REPO/$SD_SCRIPT") | cat',
    )
    waiting = Waiting(scene, write(scene, shell, body), tmp_path)
    waiting.tell_all(signal.SIGTERM)
    assert waiting.end().status != 0
    sealed(scene, signal.SIGTERM)


def test_a_script_that_loragit_runs_is_ended_with_its_trainer(
    scene: Scene, shell: str, tmp_path: Path
) -> None:
    script = write(scene, shell)
    prefix = (str(scene.home / "shims" / "loragit"), "train", NAME, "--script")
    waiting = Waiting(scene, script, tmp_path, prefix=prefix)
    waiting.tell(signal.SIGINT)
    waiting.end()
    assert scene.outcome(NAME)["Interrupted-By"] == "SIGINT"
