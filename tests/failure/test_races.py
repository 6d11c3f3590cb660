"""Many processes at one repository: loragit with itself, with plain git, and with locks that others
hold."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from loragit.errors import LoragitError
from loragit.record.values import Opened
from loragit.store import lock, retry, store
from loragit.store.retry import StillLocked
from loragit.store.store import Store
from tests.support import made_up_runs
from tests.support.forked import ForkServer
from tests.support.made_up_runs import NAME, a_run, an_outcome
from tests.support.processes import git

WORKERS = 16
RUNS = 3
"""Of each worker: one is sealed, one reverted, and of one only the tag is deleted."""


def store_of(folder: Path, tell: lock.Warn) -> Store:
    plain = made_up_runs.open_store(folder)
    return Store(plain.repository, plain._author, plain._committer, warn=tell)


# ---- all at once ----


def trains(folder: Path, worker: int, main: str) -> None:
    """A process that opens runs and ends each in another way."""
    kept = made_up_runs.open_store(folder)
    for number in range(RUNS):
        opened = kept.open(a_run(name=f"noob-gren{worker}-v{number}s4", dataset_commit=main))
        kept.note(main, (f"{worker} {number}",))
        if number == 0:
            kept.seal(opened, an_outcome())
        elif number == 1:
            kept.revert(opened, 1, "why", ("last words",))
        else:
            kept.delete_tag(opened)


def writes_refs(folder: Path, stop: Path) -> int:
    """Somebody at work with plain git, until ``stop`` is there; returns how often, at most 99
    times."""
    turn = 0
    while turn < 99 and not (stop.exists() and turn):
        turn += 1
        for words in (
            ("tag", f"mine-{turn}", "main"),
            ("branch", f"topic-{turn}", "main"),
            ("notes", "--ref=mine", "append", "-m", f"turn {turn}", "main"),
            ("tag", "-f", "moving", f"topic-{turn}"),
            ("tag", f"passing-{turn}", "main"),
            ("tag", "-d", f"passing-{turn}"),
        ):
            # Only a lock that another git holds is a reason to fail, and a person would try again.
            while subprocess.run(
                ["git", *words], cwd=folder, capture_output=True, check=False
            ).returncode:
                pass
    return turn


def keeps_house(folder: Path, stop: Path) -> None:
    """Packs refs and collects garbage until ``stop`` is there."""
    turn = 0
    while not (stop.exists() and turn):
        words = ("gc", "--quiet") if turn % 4 == 0 else ("pack-refs", "--all")
        subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False)
        turn += 1


def test_sixteen_processes_beside_plain_git_lose_nothing(
    dataset: Path, tmp_path: Path, fork_server: ForkServer
) -> None:
    main = git(dataset, "rev-parse", "main")
    stop = tmp_path / "stop"
    # The branch is unborn: its first commit is the one that races are lost on.
    workers = [fork_server.start(trains, dataset, number, main) for number in range(WORKERS)]
    theirs, house = (
        fork_server.start(writes_refs, dataset, stop),
        fork_server.start(keeps_house, dataset, stop),
    )
    done = [worker.wait() for worker in workers]
    stop.touch()
    turns, house_done = theirs.wait().status, house.wait()
    assert [each.err for each in done if each.status] == []
    assert (house_done.status, turns > 0) == (0, True)

    # Every run is on record exactly once, each end as well, in one line of commits.
    rows = [
        row.split("\t") for row in git(dataset, "log", "--format=%P%x09%s", "runs").splitlines()
    ]
    assert [row[0] for row in rows].count("") == 1
    assert not any(" " in row[0] for row in rows)
    names = [row[1].split(":")[0] for row in rows]
    runs = [f"noob-gren{worker}-v{number}s4" for worker in range(WORKERS) for number in range(RUNS)]
    reverts = [f'Revert "{name}' for name in runs if "-v1s4" in name]
    assert sorted(names) == sorted(runs + reverts)
    tags = dict(
        line.split()
        for line in git(dataset, "tag", "--format=%(refname:short) %(objecttype)").splitlines()
    )
    sealed = {name: "tag" for name in runs if "-v0s4" in name}
    assert tags == sealed | {f"mine-{turn}": "commit" for turn in range(1, turns + 1)} | {
        "moving": "commit"
    }
    kept = git(
        dataset, "for-each-ref", "--format=%(refname:lstrip=3) %(objectname)", "refs/loragit/keep"
    ).splitlines()
    assert sorted(kept) == sorted(f"{name} {main}" for name in sealed)

    # So is what others wrote.
    branches = git(dataset, "branch", "--format=%(refname:short) %(objectname)").splitlines()
    runs_tip = git(dataset, "rev-parse", "runs")
    topics = [f"topic-{turn} {main}" for turn in range(1, turns + 1)]
    assert sorted(branches) == sorted([f"main {main}", f"runs {runs_tip}", *topics])
    told = git(dataset, "notes", "--ref=mine", "show", "main").split("\n\n")
    assert told == [f"turn {turn}" for turn in range(1, turns + 1)]
    noted = git(dataset, "notes", "show", "main").splitlines()
    assert sorted(noted) == sorted(
        f"{worker} {number}" for worker in range(WORKERS) for number in range(RUNS)
    )

    git(dataset, "fsck", "--strict", "--full")
    assert list((dataset / ".git").rglob("*.lock")) == []
    assert (git(dataset, "status", "--porcelain"), git(dataset, "symbolic-ref", "HEAD")) == (
        "",
        "refs/heads/main",
    )


# ---- locks that others hold ----

End = Callable[[Store, Opened], object]


def seal(kept: Store, opened: Opened) -> None:
    kept.seal(opened, an_outcome())


def revert(kept: Store, opened: Opened) -> None:
    kept.revert(opened, 1, "why", ())


def free(kept: Store, opened: Opened) -> None:
    kept.delete_tag(opened)


LOCKS = [
    pytest.param(seal, f"refs/tags/{NAME}.lock", id="seal, the tag's"),
    pytest.param(revert, "refs/heads/runs.lock", id="revert, the branch's"),
    pytest.param(revert, "packed-refs.lock", id="revert, packed refs'"),
    pytest.param(free, "packed-refs.lock", id="delete tag, packed refs'"),
]


@pytest.fixture
def told_soon(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dataset, with a user who is told after a moment."""
    for module in (retry, lock):
        monkeypatch.setattr(module, "WARNED_AFTER", 0.05)
    git(dataset, "config", "core.packedRefsTimeout", "10")
    git(dataset, "config", "core.filesRefLockTimeout", "10")
    return dataset


@pytest.fixture
def impatient(told_soon: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dataset, with a user who gives up soon as well."""
    monkeypatch.setattr(store, "ENDING", 0.4)
    monkeypatch.setattr(lock, "BOUND", 0.4)
    return told_soon


@pytest.mark.parametrize(("end", "name"), LOCKS)
def test_an_end_waits_for_the_lock_of_another_and_says_once_for_which(
    told_soon: Path, end: End, name: str
) -> None:
    held = told_soon / ".git" / name
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        held.unlink()

    kept = store_of(told_soon, tell)
    opened = kept.open(a_run())
    held.touch()
    end(kept, opened)
    assert len(said) == 1
    assert said[0].startswith(f"waiting for {held}, at most 120 s: another program holds it")
    assert "if no git is at work there, remove it" in said[0]
    git(told_soon, "fsck", "--strict")


@pytest.mark.parametrize(("end", "name"), LOCKS)
def test_where_a_lock_stays_the_run_stays_open_and_can_be_ended_later(
    impatient: Path, end: End, name: str
) -> None:
    held = impatient / ".git" / name
    kept = made_up_runs.open_store(impatient)
    opened = kept.open(a_run())
    held.touch()
    with pytest.raises(StillLocked, match="another program holds it, or left it behind") as caught:
        end(kept, opened)
    assert str(held) in caught.value.message
    assert caught.value.hint == f"when no git is at work there, remove it: rm {held}"
    assert git(impatient, "rev-parse", NAME, "runs").split() == [opened.commit] * 2
    held.unlink()
    end(kept, opened)
    git(impatient, "fsck", "--strict")


def test_the_end_of_a_run_waits_longer_than_its_opening() -> None:
    assert retry.ENDING >= 60
    assert retry.OPENING <= retry.ENDING / 4


def test_an_opening_that_finds_a_lock_leaves_nothing(
    impatient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = impatient / ".git" / "refs" / "heads" / "runs.lock"
    held.touch()
    monkeypatch.setattr(Store._move, "__defaults__", (0.2,))
    with pytest.raises(StillLocked, match=r"runs\.lock has been there"):
        made_up_runs.open_store(impatient).open(a_run())
    assert git(impatient, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_race_that_is_lost_for_ever_is_told_with_what_git_says(
    impatient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_RACES", 0.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    refusal = LoragitError("cannot lock ref 'x': is at 1 but expected 2")
    waits = retry.Retries(9.0, pytest.fail)
    for _ in range(retry._FEWEST - 1):
        waits.wait(refusal)
    with pytest.raises(LoragitError, match="is at 1 but expected 2"):
        waits.wait(refusal)


def held_by_another(path: Path) -> int:
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)  # of another open file, it is another's
    return handle


def test_another_loragit_is_waited_for_in_line_and_that_is_said(impatient: Path) -> None:
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        os.close(handle)

    kept = store_of(impatient, tell)
    opened = kept.open(a_run())
    path = impatient / ".git" / "loragit" / "lock"
    handle = held_by_another(path)
    seal(kept, opened)
    assert said == [
        f"waiting for another loragit, which holds {path}; going on without it after 0.4 s"
    ]
    os.close(held_by_another(path))  # it is free again


def test_a_loragit_that_was_stopped_while_it_held_the_lock_keeps_no_run_from_its_end(
    impatient: Path,
) -> None:
    kept = made_up_runs.open_store(impatient)
    opened = kept.open(a_run())
    path = impatient / ".git" / "loragit" / "lock"
    handle = held_by_another(path)
    seal(kept, opened)
    assert git(impatient, "cat-file", "-t", NAME) == "tag"
    # Whoever went on without it does not stand in line for it any more.
    os.close(handle)
    os.close(held_by_another(path))


def test_a_file_system_without_locks_is_no_error(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(handle: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    seal(store_of(dataset, pytest.fail), made_up_runs.open_store(dataset).open(a_run()))
    assert git(dataset, "cat-file", "-t", NAME) == "tag"
