"""How long a move is tried again: by a clock that the tests set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from loragit import git
from loragit.errors import LoragitError
from loragit.git.repository import Repository, discover
from loragit.store import lock, retry
from loragit.store.retry import Attempt, Move, Retries, StillLocked

LOCKED = "cannot lock ref 'x': Unable to create '/a/x.lock': File exists.\n\nAnother git process"
NO_ROOM = "see that there is room, and that you may write /r"
RACE = "cannot lock ref 'x': is at 1 but expected 2"


class Clock:
    """Goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    ours = SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep)
    monkeypatch.setattr(retry, "time", ours)
    return clock


def test_the_wait_grows_from_failure_to_failure(clock: Clock) -> None:
    retries = Retries(60, pytest.fail)
    assert not retries.begun
    for _ in range(9):
        retries.wait(LoragitError(RACE))
        assert retries.begun
    assert clock.slept == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5]


def test_a_race_is_run_for_its_time_and_a_number_of_times(clock: Clock) -> None:
    refusal = LoragitError(RACE)
    retries = Retries(60, pytest.fail)
    with pytest.raises(LoragitError, match="is at 1 but expected 2"):
        while True:
            retries.wait(refusal)
    # As long as the sleeps say, but not much longer.
    assert 15 <= clock.now - 1000 <= 15.5
    slow = Retries(60, pytest.fail)
    for _ in range(9):
        clock.now += 20  # what an attempt takes on a busy machine
        slow.wait(refusal)
    with pytest.raises(LoragitError, match="is at 1 but expected 2"):
        slow.wait(refusal)


def test_a_lock_is_waited_for_as_long_as_is_asked_and_that_is_said_once(clock: Clock) -> None:
    said: list[str] = []
    retries = Retries(120, said.append)
    first = None
    with pytest.raises(StillLocked) as failed:
        while True:
            retries.wait(LoragitError(LOCKED))
            first = first or (clock.now if said else None)
    (line,) = said
    assert line == (
        "waiting for /a/x.lock, at most 120 s: another program holds it; if no git is at work "
        "there, remove it"
    )
    assert first is not None
    assert 1001 <= first <= 1002
    assert 120 <= clock.now - 1000 <= 120.5
    assert failed.value.message == (
        "/a/x.lock has been there for 120 s: another program holds it, or left it behind"
    )
    assert failed.value.hint == "when no git is at work there, remove it: rm /a/x.lock"


def test_a_lock_is_told_from_a_lost_race() -> None:
    assert retry.held_lock(LOCKED) == Path("/a/x.lock")
    assert retry.held_lock(RACE) is None


@pytest.mark.parametrize(
    ("message", "hook", "lasting", "step"),
    [
        (RACE, None, False, None),
        (LOCKED, None, False, None),
        ("x: Permission denied", None, True, NO_ROOM),
        ("x: No space left on device", "update", True, NO_ROOM),
        ("'a/b' exists; cannot create 'a'", None, True, None),
        (RACE, "update", False, "see what the repository's hook update asks for"),
    ],
)
def test_a_refusal_that_lasts_has_a_next_step(
    message: str, hook: str | None, lasting: bool, step: str | None
) -> None:
    assert retry.is_lasting(message) is lasting
    assert retry.next_step(message, Path("/r"), hook) == step


# ---- moves that git refuses ----


@pytest.fixture
def repository(dataset: Path) -> Repository:
    return discover(dataset)


def refused(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> git.GitFailed:
    """How a move fails whose git says ``words``; it is tried only once."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "fatal: {words}" >&2\nexit 128\n')
    program.chmod(0o755)
    attempts: list[int] = []

    def attempt() -> Attempt:
        attempts.append(1)
        return Attempt("x", [git.RefUpdate("refs/tags/x", "1" * 40, None)])

    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(git.GitFailed) as failed:
        Move(attempt, "a move").make(repository, lambda ids: None, pytest.fail)
    assert len(attempts) == 1
    return failed.value


def test_a_full_disk_is_said_at_once(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refused(repository, tmp_path, monkeypatch, "couldn't write x")
    assert error.hint == f"see that there is room, and that you may write {repository.common_dir}"


def test_what_git_has_to_say_of_a_lasting_refusal_is_kept(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refused(repository, tmp_path, monkeypatch, "cannot create x: reference broken")
    assert error.hint == "loragit recover tells how to mend it"


def test_where_there_is_nothing_to_move_nothing_is_moved(repository: Repository) -> None:
    moved = Move(lambda: Attempt("as it is", []), "none").make(
        repository, lambda ids: pytest.fail("nothing is written"), pytest.fail
    )
    assert moved == ("as it is", None)


def test_trying_again_ends_where_it_is_of_no_use(repository: Repository) -> None:
    def moot() -> None:
        raise LoragitError("nobody wants it any more")

    head = git.run("rev-parse", "HEAD", cwd=repository.top)
    update = git.RefUpdate("refs/tags/x", head, "1" * 40)
    with pytest.raises(LoragitError, match="nobody wants it any more"):
        Move(lambda: Attempt("x", [update]), "a move", moot).make(
            repository, lambda ids: None, pytest.fail
        )


def test_a_time_that_is_over_to_the_second_is_over(clock: Clock) -> None:
    said: list[str] = []
    waiting = Retries(120, said.append)
    clock.now = 1000 + lock.WARNED_AFTER
    waiting.wait(LoragitError(LOCKED))
    assert len(said) == 1
    clock.now = 1120
    with pytest.raises(StillLocked):
        waiting.wait(LoragitError(LOCKED))
    clock.now = 1000
    racing = Retries(120, pytest.fail)
    for _ in range(9):
        racing.wait(LoragitError(RACE))
    clock.now = 1015
    with pytest.raises(LoragitError, match="is at 1"):
        racing.wait(LoragitError(RACE))
