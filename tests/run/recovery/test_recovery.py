"""Which runs a recovery may take back, without the command around it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from loragit.errors import LoragitError
from loragit.git import identity
from loragit.run.recovery import still_running
from loragit.run.recovery.recover import RecoverOptions, Recovery
from loragit.store import lock
from loragit.system import alive
from tests.commands.test_recover import NAME, Crashed
from tests.support.processes import git


class Lines:
    """A report that keeps its lines."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, line: str, /) -> None:
        self.said.append(line)

    warn = hint = info

    def error(self, failure: LoragitError, /) -> None:
        self.said.append(failure.message)


def recovery(run: Crashed, report: Lines, *names: str, gone: bool = False) -> Recovery:
    who = identity.IdentityQuestion(run.dataset).answer()
    options = RecoverOptions(names, gone, dry_run=False, environ=dict(os.environ))
    return Recovery(run.store.repository, who, options, report)


def elsewhere(dataset: Path) -> Crashed:
    run = Crashed(dataset, host="elsewhere").folder_made()
    run.opened()
    return run


@pytest.mark.parametrize("names", [(), (NAME,)])
def test_a_run_of_another_host_is_left_alone_until_the_user_says_that_it_is_gone(
    dataset: Path, names: tuple[str, ...]
) -> None:
    run, report = elsewhere(dataset), Lines()
    recovery(run, report, *names).run()
    assert git(dataset, "tag", "--list") == NAME
    assert run.folder.is_dir()
    assert "runs on elsewhere" in report.said[0]
    recovery(run, report, NAME, gone=True).run()
    assert git(dataset, "tag", "--list") == ""


def test_the_users_word_counts_for_the_runs_that_are_named_alone(dataset: Path) -> None:
    run, report = elsewhere(dataset), Lines()
    recovery(run, report, "noob-gren-v9s4", gone=True).run()
    assert RecoverOptions((), True, False, {}).said_to_be_gone(NAME) is False
    assert git(dataset, "tag", "--list") == NAME


def test_the_users_word_does_not_count_against_a_process_that_is_seen_to_live(
    dataset: Path,
) -> None:
    me = os.getpid()
    entry = Crashed(dataset, pid=me, pid_started=alive.start_time(me) or "").note
    busy = still_running.busy(entry, said_to_be_gone=True)
    assert busy is not None
    assert busy.why.startswith(f"{NAME} runs, process {me} since")


def test_a_recovery_waits_for_the_one_before_it(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, report = Crashed(dataset).folder_made(), Lines()
    run.opened()
    monkeypatch.setattr(lock, "WARNED_AFTER", 0.05)
    second = threading.Thread(target=recovery(run, report).run)
    with lock.locked(run.private / "recover.lock", report.warn):
        second.start()
        while second.is_alive() and not report.said:
            time.sleep(0.01)
        assert "waiting for another loragit" in report.said[0]
        assert git(dataset, "tag", "--list") == NAME
        assert run.folder.is_dir()
    second.join()
    assert git(dataset, "tag", "--list") == ""
    assert not run.folder.exists()
