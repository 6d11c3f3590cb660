"""loragit is killed between any two steps of a run and at random times: git stays sound, recover
finishes the run."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loragit.crash_points import CrashPoint
from tests.support import forked
from tests.support.killed_at_step import loragit_until
from tests.support.processes import LORAGIT, Result
from tests.support.user_home import Scene, make_scene

END = 10_000
"""A number that no step has."""


@dataclass
class Victim:
    """A scene in which one run after the other is killed, each under a name of its own or one that
    was freed."""

    scene: Scene
    on_empty: str = "revert"
    stub: str = "ok"
    version: int = 1
    numbers: dict[CrashPoint, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"noob-gren-v{self.version}s4"

    @property
    def output(self) -> Path:
        return self.scene.output / self.name

    @property
    def private(self) -> Path:
        return self.scene.dataset / ".git" / "loragit"

    def loragit(self, number: int, *args: str) -> tuple[int, list[str]]:
        """Run it until the step of that number; its status as subprocess has it, and the steps that
        it reached."""
        record = self.scene.home / "steps"
        record.unlink(missing_ok=True)
        words = (str(record), str(number), *args)
        done = forked.shared().run(loragit_until, *words, cwd=self.scene.dataset, STUB=self.stub)
        self.said = done.err
        return done.status, record.read_text().split() if record.exists() else []

    def train(self, number: int = END) -> tuple[int, list[str]]:
        return self.loragit(number, "train", self.name, "--on-empty", self.on_empty)

    def train_until(self, step: CrashPoint) -> int:
        """Number of the first such step; asked once."""
        if step not in self.numbers:
            _, points = self.train()
            self.version += self.check(trained=None)
            self.numbers[step] = points.index(step.name) + 1
        return self.numbers[step]

    def recover(self) -> Result:
        """``loragit recover``; where the trainer outlived its loragit, after it has ended."""
        while True:
            done = self.scene.loragit("recover")
            left = re.search(r"still trains, process (\d+)", done.err)
            if left is None:
                return done
            ended(int(left[1]))

    def check(self, *, trained: bool | None) -> bool:
        """What holds once a run that was killed has been recovered; whether it is sealed.

        ``trained``: whether the trainer is known to have ended well (or not), ``None`` where that
        is not known.
        """
        git = self.scene.git
        assert git("fsck", "--strict", "--no-dangling") == ""
        assert git("rev-parse", "main", "mine") == self.before
        assert git("status", "--porcelain") == ""
        rest = [path for path in self.private.rglob("*") if path.suffix in (".toml", ".new")]
        assert rest == []
        # git's own housekeeping, which every run starts in the end, may still be looking for
        # something to do.
        locks = [
            path
            for path in (self.scene.dataset / ".git").rglob("*.lock")
            if path.name != "maintenance.lock"
        ]
        assert [path for path in locks if path.parent != self.private] == []
        runs = self.commits(f"{self.name}: ")
        reverts = self.commits(f'Revert "{self.name}: ')
        kind = git("for-each-ref", "--format=%(objecttype)", f"refs/tags/{self.name}")
        assert kind in ("", "tag"), "the run is still open"
        standing = len(runs) - len(reverts) if self.on_empty != "delete-tag" else int(kind == "tag")
        assert standing == int(kind == "tag")
        if kind == "tag":
            outcome = self.scene.outcome(self.name)
            assert outcome["Model"].startswith(self.name)
            assert (self.output / outcome["Model"].split(" ")[0]).exists()
            assert trained is not False
        else:
            assert not self.output.exists()
            assert git("for-each-ref", f"refs/loragit/keep/{self.name}") == ""
            assert trained is not True
        return kind == "tag"

    def commits(self, subject: str) -> list[str]:
        found = self.scene.git("log", "--format=%s", "runs", check=False).splitlines()
        return [line for line in found if line.startswith(subject)]

    @property
    def before(self) -> str:
        return (self.scene.home / "before").read_text()


def ended(pid: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([handle], [], [])
    os.close(handle)


@pytest.fixture
def victim(home: Path) -> Iterator[Victim]:
    scene = make_scene(home)
    scene.git("tag", "mine")
    (home / "before").write_text(scene.git("rev-parse", "main", "mine"))
    yield Victim(scene)


def matrix(
    victim: Victim, first: CrashPoint | None, trained: Callable[[list[str]], bool | None]
) -> int:
    """Kill a run at each of its steps, from the first ``first`` on; how many there were.

    ``trained`` tells from the steps that were reached whether the trainer is known to have made
    something.
    """
    _, points = victim.train()
    assert "ENTRY_REMOVED" in points, victim.said
    sealed = victim.check(trained=None)
    victim.version += sealed
    start = points.index(first.name) + 1 if first else 1
    for number in range(start, len(points) + 1):
        status, reached = victim.train(number)
        # A freed name can be used again: it was reached.
        assert (status, reached) == (-signal.SIGKILL, points[:number]), victim.said
        done = victim.recover()
        assert done.status == 0, done.err
        if victim.check(trained=trained(reached)):
            if number == len(points):
                status, reached = victim.train()
                assert (status, reached) == (1, []), "a name that is taken was taken again"
            victim.version += 1
    return len(points) + 1 - start


def made(reached: list[str]) -> bool | None:
    """Of a trainer that ends well unless it notices that nobody hears it any more."""
    return True if "TRAINER_ENDED" in reached else None if "TRAINER_STARTED" in reached else False


@pytest.mark.timeout(600)
def test_a_run_that_makes_something_is_killed_at_every_step(
    victim: Victim, record_property: Callable[[str, object], None]
) -> None:
    record_property("crash points", matrix(victim, None, made))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("on_empty", ["revert", "delete-tag"])
def test_a_run_that_makes_nothing_is_killed_at_every_step_of_its_end(
    victim: Victim, on_empty: str, record_property: Callable[[str, object], None]
) -> None:
    victim.stub, victim.on_empty = "fail", on_empty
    record_property("crash points", matrix(victim, CrashPoint.TRAINER_STARTED, lambda _: False))


def half_moved(victim: Victim) -> None:
    """A run whose git was killed when it had moved the first ref of three, and left the locks of
    the others."""
    # The git that waited for its orders ends without any, as its loragit is killed; so it is one
    # that is gone.
    _, reached = victim.train(victim.train_until(CrashPoint.MOVE_WRITTEN))
    assert reached[-1] == "MOVE_WRITTEN", victim.said
    folder = victim.scene.dataset / ".git"
    note = next((victim.private / "moves").glob("*.toml"))
    steps = tomllib.loads(note.read_text())["steps"]
    ended(tomllib.loads(note.read_text())["pid"])
    assert [step["name"].split("/")[1] for step in steps] == ["heads", "tags", "loragit"]
    victim.scene.git("update-ref", steps[0]["name"], steps[0]["new"], steps[0]["old"] or "0" * 40)
    for step in steps[1:]:
        lock = folder / f"{step['name']}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text(step["new"] + "\n")


def left(step: CrashPoint) -> Callable[[Victim], None]:
    """A run that was killed when ``step`` had been done."""

    def kill(victim: Victim) -> None:
        number = victim.train_until(step)
        status, reached = victim.train(number)
        assert (status, reached[-1]) == (-signal.SIGKILL, step.name), victim.said

    return kill


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("stub", "state", "trained"),
    [
        ("ok", left(CrashPoint.END_IN_ENTRY), True),
        ("fail", left(CrashPoint.END_IN_ENTRY), False),
        ("ok", half_moved, False),
    ],
    ids=["seals", "reverts", "completes"],
)
def test_a_recovery_is_killed_at_every_step(
    victim: Victim,
    stub: str,
    state: Callable[[Victim], None],
    trained: bool,
    record_property: Callable[[str, object], None],
) -> None:
    victim.stub = stub
    state(victim)
    status, points = victim.loragit(END, "recover")
    assert (status, points[-1:]) == (0, ["ENTRY_REMOVED"]), victim.said
    victim.version += victim.check(trained=trained)
    for number in range(1, len(points) + 1):
        state(victim)
        status, reached = victim.loragit(number, "recover")
        assert (status, reached) == (-signal.SIGKILL, points[:number]), victim.said
        done = victim.recover()
        assert done.status == 0, done.err
        assert victim.scene.loragit("recover").err == "loragit: nothing to recover\n"
        victim.version += victim.check(trained=trained)
    record_property("crash points", len(points))


def test_the_matrix_reaches_every_step_that_has_a_name(victim: Victim) -> None:
    reached = {*victim.train()[1]}
    victim.version += 1
    victim.stub = "fail"
    reached |= {*victim.train()[1]}
    half_moved(victim)
    reached |= {*victim.loragit(END, "recover")[1]}
    assert reached == {step.name for step in CrashPoint}


@pytest.mark.timeout(600)
def test_runs_are_killed_at_random_times_with_the_gits_that_work_for_them(victim: Victim) -> None:
    """A kill may hit git between two refs. The times differ from run to run; what holds afterwards
    does not."""
    draw = random.Random(5)
    for number in range(int(os.environ.get("PYTEST_KILLS", "10"))):
        victim.stub = draw.choice(["ok", "fail"])
        child = subprocess.Popen(
            [*LORAGIT, "train", victim.name],
            cwd=victim.scene.dataset,
            env={**os.environ, "STUB": victim.stub},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            child.wait(draw.uniform(0.1, 0.9))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        done = victim.recover()
        assert done.status == 0, f"{number}: {done.err}"
        victim.version += victim.check(trained=None)
