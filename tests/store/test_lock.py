"""loragit's own lock: who waits for whom, and for how long."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loragit.store import lock
from loragit.store.lock import CannotLock, locked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "repository").mkdir()
    return tmp_path / "repository" / "loragit" / "lock"


@contextmanager
def held(path: Path) -> Iterator[int]:
    """By another open file: it is another's."""
    path.parent.mkdir(exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield handle
    finally:
        os.close(handle)


def is_free(path: Path) -> bool:
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def test_the_lock_is_held_within_and_free_again_afterwards(path: Path) -> None:
    for _ in range(2):
        with locked(path, pytest.fail):
            assert not is_free(path)
        assert is_free(path)
    with pytest.raises(ZeroDivisionError), locked(path, pytest.fail):
        raise ZeroDivisionError
    assert is_free(path)


def test_whoever_shares_the_repository_may_open_the_lock(path: Path) -> None:
    before = os.umask(0o002)
    try:
        with locked(path, pytest.fail):
            assert stat.S_IMODE(path.stat().st_mode) == 0o664
    finally:
        os.umask(before)


def test_one_that_is_held_is_waited_for_and_that_is_said_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WARNED_AFTER", 0.05)
    said: list[str] = []
    with held(path) as handle:

        def tell(line: str) -> None:
            said.append(line)
            fcntl.flock(handle, fcntl.LOCK_UN)

        with locked(path, tell, 60):
            assert not is_free(path)
    (line,) = said
    assert line.startswith(f"waiting for another loragit, which holds {path}; going on without it")
    assert line.endswith("after 60 s")


def test_a_short_wait_is_not_worth_a_word(path: Path) -> None:
    with held(path) as handle:
        freed = threading.Timer(0.1, fcntl.flock, (handle, fcntl.LOCK_UN))
        freed.start()
        with locked(path, pytest.fail):
            assert not is_free(path)
        freed.join()


@pytest.mark.parametrize("bound", [0.4, None])
def test_after_its_bound_the_work_is_done_without_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, bound: float | None
) -> None:
    monkeypatch.setattr(lock, "WARNED_AFTER", 0.1)
    monkeypatch.setattr(lock, "BOUND", 9.0 if bound else 0.4)
    said: list[str] = []
    before = {*threading.enumerate()}
    with held(path):
        began = time.monotonic()
        with locked(path, said.append, bound):
            # Nor does whoever still waits keep the process from its end.
            assert all(thread.daemon for thread in {*threading.enumerate()} - before)
            assert 0.3 < time.monotonic() - began < 5
    assert said[0].endswith("going on without it after 0.4 s")
    # Whoever went on without it does not stand in line for it any more.
    assert is_free(path)


def test_a_lock_that_cannot_be_opened_is_an_error_with_a_next_step(path: Path) -> None:
    path.mkdir(parents=True)
    with (
        pytest.raises(CannotLock, match="lock cannot be opened: Is a directory") as failed,
        locked(path, pytest.fail),
    ):
        pytest.fail("it was entered")
    assert failed.value.hint == "see who owns it, and that you may write it"
    gone = path.parents[1] / "none" / "loragit" / "lock"
    with (
        pytest.raises(CannotLock, match="is not there any more") as failed,
        locked(gone, pytest.fail),
    ):
        pytest.fail("it was entered")
    assert failed.value.hint == "move it back, or go where it is now, then: loragit recover"
    assert not gone.parent.parent.exists()
