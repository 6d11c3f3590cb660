"""Which runs a recovery may take back, without the command around it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from loragit.git import identity
from loragit.git.refs import RefUpdate
from loragit.run import ending
from loragit.run.recovery import still_running
from loragit.run.recovery.recover import RecoverOptions, Recovery
from loragit.store import journal, lock, ref_moves
from loragit.store.journal import End, TrainerProcess
from loragit.system import alive
from tests.support.crashed_run import GONE, Crashed
from tests.support.made_up_runs import NAME, an_outcome
from tests.support.processes import git
from tests.support.reports import Lines


def recovery(
    run: Crashed, report: Lines, *names: str, gone: bool = False, dry_run: bool = False
) -> Recovery:
    who = identity.IdentityQuestion(run.dataset).answer()
    options = RecoverOptions(names, gone, dry_run, environ=dict(os.environ))
    return Recovery(run.store.repository, who, options, report)


def recovered(run: Crashed) -> tuple[list[str], int, int]:
    """What a recovery reports, and how many things it did and left to the user."""
    report = Lines()
    work = recovery(run, report)
    work.run()
    return report.said, work.done, work.left


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


# ---- what is reported, and counted ----


def test_each_run_that_is_finished_counts_once(dataset: Path) -> None:
    sealed, taken_back = (
        Crashed(dataset, f"noob-gren-v{version}s4").folder_made() for version in (1, 2)
    )
    for each in (sealed, taken_back):
        each.opened()
    sealed.model()
    Crashed(dataset, "noob-gren-v3s4").noted()
    said, done, left = recovered(sealed)
    assert (done, left) == (3, 0)
    assert [line.split(":")[0].split(" as ")[0] for line in said] == [
        "sealed noob-gren-v1s4",
        "reverted noob-gren-v2s4",
        "noob-gren-v3s4 was never opened",
    ]
    subject = git(dataset, "log", "-1", "--format=%s", "runs")
    assert subject.startswith('Revert "noob-gren-v2s4: ')
    assert "\n" not in subject


def test_a_dry_run_says_what_would_be_done_and_does_nothing(dataset: Path) -> None:
    me = os.getpid()
    gone, living = Crashed(dataset).folder_made(), Crashed(dataset, "noob-gren-v2s4", pid=me)
    living.noted(pid_started=alive.start_time(me) or "").opened()
    gone.opened()
    before, report = git(dataset, "for-each-ref"), Lines()
    work = recovery(gone, report, dry_run=True)
    work.run()
    work.finish_without_entry(gone.note)
    would = f"{NAME} would be finished: process {GONE}, since 2026-11-23T17:20:30Z, is gone"
    lives = f"noob-gren-v2s4 runs, process {me} since 2026-11-23T17:20:30Z"
    assert report.said == [would, lives, would]
    assert (work.done, work.left) == (2, 0)
    assert git(dataset, "for-each-ref") == before
    assert gone.folder.exists()


def test_moves_that_were_cut_short_are_finished_first_and_reported(dataset: Path) -> None:
    run = Crashed(dataset)
    head = git(dataset, "rev-parse", "HEAD")
    steps = (RefUpdate("refs/tags/a", head, None), RefUpdate("refs/tags/b", head, None))
    ref_moves._note(run.private / "moves" / "x.1.toml", steps, "two tags", GONE)
    git(dataset, "tag", "a")
    said, done, left = recovered(run)
    assert said == ["finished what a git that is gone had begun: two tags"]
    assert (done, left) == (1, 0)
    assert git(dataset, "rev-parse", "b") == head


def test_a_move_that_is_stuck_is_left_to_the_user_and_runs_are_finished_all_the_same(
    dataset: Path,
) -> None:
    run = Crashed(dataset).folder_made()
    run.opened()
    head = git(dataset, "rev-parse", "HEAD")
    steps = (RefUpdate("refs/tags/a", head, None), RefUpdate("refs/tags/b", head, None))
    ref_moves._note(run.private / "moves" / "x.1.toml", steps, "two tags", GONE)
    git(dataset, "tag", "a")
    git(dataset, "tag", "b", "runs")
    other = git(dataset, "rev-parse", "b")
    said, done, left = recovered(run)
    assert said[0].startswith("two tags was made in part: refs/tags/b is at")
    assert said[1].startswith("see who moved it: ")
    assert any(line.startswith(f"reverted {NAME} as ") for line in said)
    assert (done, left) == (1, 1)
    assert git(dataset, "rev-parse", "b") == other, "nobody's tag is moved back"


# ---- runs without an entry ----


def test_a_run_without_an_entry_is_not_finished_while_something_of_it_lives(
    dataset: Path,
) -> None:
    run, report = Crashed(dataset).folder_made(), Lines()
    run.opened()
    work = recovery(run, report, NAME, gone=True)
    work.refresh()
    variables = {**os.environ, "LORAGIT_RUN_OUTPUT": str(run.folder)}
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=variables) as trainer:
        while still_running.trainers_left(run.note) != (trainer.pid,):  # until it is the program
            time.sleep(0.01)
        work.finish_without_entry(run.note)
        assert report.said[0].startswith(f"{NAME} still trains, process {trainer.pid}")
        assert (work.done, work.left) == (0, 1)
        assert git(dataset, "tag", "--list") == NAME
        assert trainer.stdin is not None
        trainer.stdin.close()
    me = os.getpid()
    work.finish_without_entry(run.note._replace(pid=me, pid_started=alive.start_time(me) or ""))
    assert (work.done, work.left) == (0, 1)
    assert report.said[-1].startswith(f"{NAME} runs, process {me}")
    assert git(dataset, "tag", "--list") == NAME
    work.finish_without_entry(run.note)
    assert (work.done, work.left) == (1, 1)
    assert [each.state for each in work.runs.values()] == ["reverted"]


# ---- runs of which nobody can tell how they stand ----


def test_a_noted_move_of_another_machine_keeps_no_open_run_from_its_end(dataset: Path) -> None:
    run = Crashed(dataset).folder_made()
    opened = run.opened()
    note = run.private / "moves" / "elsewhere.1.toml"
    steps = (RefUpdate(opened.name.tag, opened.commit, None),)
    ref_moves._note(note, steps, f"loragit: open {NAME}", GONE)
    note.write_text(note.read_text().replace(journal.host(), "elsewhere"))
    said, done, left = recovered(run)
    assert said[0].startswith(f"reverted {NAME} as ")
    assert (done, left) == (1, 0)


@pytest.mark.parametrize("its", [True, False])
def test_a_run_without_a_tag_is_left_where_a_move_that_makes_its_tag_is_noted(
    dataset: Path, its: bool
) -> None:
    run = Crashed(dataset).folder_made()
    opened = run.opened()
    git(dataset, "tag", "-d", NAME)
    note = run.private / "moves" / "elsewhere.1.toml"
    steps: tuple[RefUpdate, ...] = (RefUpdate("refs/heads/runs", opened.commit, None),)
    if its:
        steps += (RefUpdate(opened.name.tag, opened.commit, None),)
    ref_moves._note(note, steps, f"loragit: open {NAME}", GONE)
    note.write_text(note.read_text().replace(journal.host(), "elsewhere"))
    said, done, left = recovered(run)
    if its:
        assert said[0] == f"{NAME} was being opened, and its tag could not be made yet"
    else:
        assert said[-1] == f"{NAME} has no tag any more"
    assert (done, left) == ((0, 1) if its else (1, 0))
    assert run.folder.exists() is its


@pytest.mark.parametrize("trained", ["trainer", "end"])
def test_a_run_whose_commit_runs_lost_is_not_forgotten_if_it_was_trained_or_ended(
    dataset: Path, trained: str
) -> None:
    run = Crashed(dataset).folder_made()
    run.opened()
    moment = "2026-11-23T17:20:31+00:00"
    changes = {"trainer": TrainerProcess(GONE, "1"), "end": End(moment, moment, 0)}
    run.noted(**{trained: changes[trained]})
    git(dataset, "tag", "-d", NAME)
    git(dataset, "update-ref", "-d", "refs/heads/runs")
    said, done, left = recovered(run)
    assert said[0] == f"{NAME} was trained, and runs does not lead to its commit any more"
    assert (done, left) == (0, 1)
    assert list(journal.read(run.private)) == [run.note]
    assert run.folder.exists()


# ---- runs that were never opened, or have ended already ----


def test_a_run_that_never_got_a_folder_leaves_only_its_entry(dataset: Path) -> None:
    for older in (False, True):
        run = Crashed(dataset, work=None).folder_made() if older else Crashed(dataset)
        run.noted()
        said, done, left = recovered(run)
        assert said == [f"{NAME} was never opened: nothing was trained, its name is free"]
        assert (done, left) == (1, 0)
        assert list(journal.read(run.private)) == []
    # What of a folder is loragit's an entry of an older loragit does not tell.
    assert run.folder.exists()


def test_the_folder_of_a_sealed_run_stays_though_it_made_nothing(dataset: Path) -> None:
    run = Crashed(dataset).folder_made()
    opened = run.opened()
    run.store.seal(opened, an_outcome(models=(), samples=0))
    said, done, left = recovered(run)
    assert said == [f"{NAME} was sealed already"]
    assert (done, left) == (1, 0)
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "config.toml",
        "repos.git",
        "sample-prompts.txt",
    ]
    assert git(dataset, "for-each-ref", "refs/loragit") != ""


def test_of_a_reverted_run_only_a_folder_that_is_there_and_its_own_is_removed(
    dataset: Path,
) -> None:
    run = Crashed(dataset).folder_made()
    run.store.revert(run.opened(), 1, "Nothing.", ())
    me = os.getpid()
    other = run.note._replace(
        run="noob-gren-v9s4", pid=me, pid_started=alive.start_time(me) or "", commit=""
    )
    journal.write(run.private, other)
    said, done, _ = recovered(run)
    assert f"{NAME} was reverted already" in said
    assert done == 1
    assert run.folder.exists(), "another run writes into it by now"
    journal.remove(run.private, other)
    run.noted()
    run.folder.rename(run.folder.with_name("away"))
    assert recovered(run) == ([f"{NAME} was reverted already"], 1, 0)


def test_the_log_of_a_run_stays_where_nobody_knows_what_of_its_folder_is_loragits(
    dataset: Path,
) -> None:
    run = Crashed(dataset, work=None)
    run.folder.mkdir(parents=True)
    run.log("it failed")
    opened = run.opened()
    run.store.revert(opened, 1, "Nothing.", ())
    said, done, _ = recovered(run)
    assert said[0].startswith(f"{run.folder} stays: it holds {ending.LOG}")
    assert done == 1
    assert (run.folder / ending.LOG).read_text() == "it failed\n"


@pytest.mark.parametrize("now", ["another folder", "another run's", "none"])
def test_a_run_without_a_tag_is_forgotten_where_the_folder_is_not_its_own_any_more(
    dataset: Path, now: str
) -> None:
    run = Crashed(dataset).folder_made()
    run.opened()
    git(dataset, "tag", "-d", NAME)
    away = run.folder.with_name("away")
    if now == "another run's":
        me = os.getpid()
        other = run.note._replace(
            run="noob-gren-v9s4", pid=me, pid_started=alive.start_time(me) or "", commit=""
        )
        journal.write(run.private, other)
        run.model()
    else:
        run.folder.rename(away)
        if now == "another folder":
            run.folder.mkdir()
            run.model()
    said, done, left = recovered(run)
    assert f"{NAME} has no tag any more" in said
    assert (done, left) == (1, 0)
    assert run.folder.exists() is (now != "none")


@pytest.mark.parametrize("known", [True, False])
def test_a_script_of_ones_own_that_was_cut_off_keeps_what_files_it_left(
    dataset: Path, known: bool
) -> None:
    run = Crashed(dataset)
    assert run.note.work is not None
    work = run.note.work._replace(output_name="")
    # Without the files that loragit put there, nobody knows which are the script's.
    run.noted(work=work if known else work._replace(files=()))
    run.folder_made().opened()
    (run.folder / "metrics").mkdir()
    (run.folder / "metrics" / "loss.csv").write_text("1,2\n")
    said, done, left = recovered(run)
    assert (done, left) == (1, 0)
    subject = git(dataset, "for-each-ref", "--format=%(contents:subject)", f"refs/tags/{NAME}")
    if known:
        assert subject.startswith(f"{NAME}: 1 other file, 0 samples, ")
    else:
        assert subject == ""
        assert "stays: it holds " in said[1]
    assert (run.folder / "metrics" / "loss.csv").is_file()
