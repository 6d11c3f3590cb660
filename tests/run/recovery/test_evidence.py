"""What is still known of a run whose loragit is gone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loragit.history.history import History, RecordedRun
from loragit.run import ending
from loragit.run.recovery import evidence
from loragit.store.journal import End, TrainerProcess
from tests.support.crashed_run import GONE, Crashed
from tests.support.made_up_runs import NAME, a_run, open_store

STARTED = datetime(2026, 11, 23, 17, 20, 30, tzinfo=UTC)


@pytest.fixture
def crashed(dataset: Path) -> Crashed:
    return Crashed(dataset).folder_made()


def recorded(dataset: Path, *argv: str) -> RecordedRun:
    open_store(dataset).open(a_run(argv=("python", "train.py", *argv)))
    return History.of(dataset).run(NAME)


def age(folder: Path, seconds: float) -> None:
    """Have every file in it written ``seconds`` after the start."""
    for path in folder.iterdir():
        os.utime(path, (STARTED.timestamp() + seconds,) * 2, follow_symlinks=False)


def test_a_disk_may_have_another_number_after_another_boot_and_only_then(crashed: Crashed) -> None:
    device, inode = crashed.note.inode
    work = crashed.note.work
    assert work is not None
    other = crashed.note._replace(inode=(device + 1, inode))
    assert evidence.output_folder(other, work).inode == (device + 1, inode)
    rebooted = other._replace(boot="another")
    assert evidence.output_folder(rebooted, work).inode == (device, inode)
    assert evidence.output_folder(rebooted, work).replaced() is None
    # The folder is known by its inode all the same.
    replaced = rebooted._replace(inode=(device, inode + 1))
    assert evidence.output_folder(replaced, work).inode == (device, inode + 1)


def test_a_folder_that_the_entry_does_not_know_is_the_one_that_is_there(crashed: Crashed) -> None:
    unknown, work = crashed.note._replace(inode=(0, 0)), crashed.note.work
    assert work is not None
    assert evidence.output_folder(unknown, work).inode == crashed.note.inode
    crashed.folder.rename(crashed.folder.with_name("away"))
    assert evidence.output_folder(unknown, work).inode == (0, 0)


def test_the_end_that_the_entry_has_is_the_end(crashed: Crashed) -> None:
    end = End("2026-11-23T17:20:31+00:00", "2026-11-23T17:20:32+00:00", 3)
    assert evidence.end(crashed.note._replace(end=end)) == end


def test_a_trainer_was_not_started_where_neither_entry_nor_log_tells_of_one(
    crashed: Crashed,
) -> None:
    never = evidence.end(crashed.note)
    assert never.not_started == "loragit was ended before the trainer began"
    assert (never.started, never.finished) == (crashed.note.started, crashed.note.started)
    assert (never.exit_status, never.interrupted_by) == (None, "crash")
    trained = [
        crashed.note._replace(trainer=TrainerProcess(GONE, "1")),
        # An older loragit noted no trainer.
        crashed.note._replace(work=None),
    ]
    assert [evidence.end(entry).not_started for entry in trained] == ["", ""]
    crashed.log("it began")
    assert evidence.end(crashed.note).not_started == ""


def test_the_file_that_was_written_last_is_the_last_sign_of_life(crashed: Crashed) -> None:
    crashed.log("it began")
    age(crashed.folder, 60)
    assert evidence.end(crashed.note).finished == "2026-11-23T17:21:30+00:00"
    samples = crashed.folder / "sample"
    samples.mkdir()
    (samples / "x.png").write_bytes(b"x")
    age(samples, 90)
    assert evidence.end(crashed.note).finished == "2026-11-23T17:22:00+00:00"
    # What a link leads to may be anybody's, and a folder's time says when somebody tidied up.
    later = crashed.folder.parent / "later.safetensors"
    later.write_bytes(b"x")
    (crashed.folder / "link.safetensors").symlink_to(later)
    os.utime(crashed.folder / "link.safetensors", (2e9, 2e9), follow_symlinks=False)
    assert evidence.end(crashed.note).finished == "2026-11-23T17:22:00+00:00"


def test_a_run_ends_no_sooner_than_it_starts(crashed: Crashed) -> None:
    crashed.log("it began")
    age(crashed.folder, -60)
    assert evidence.end(crashed.note).finished == STARTED.isoformat()


def test_the_last_lines_of_a_log_are_found_however_long_it_is(crashed: Crashed) -> None:
    crashed.log(*(f"step {number} of a training that is long" for number in range(5000)))
    tail = evidence.log_tail(crashed.note, str.upper)
    assert tail == tuple(
        f"STEP {number} OF A TRAINING THAT IS LONG"
        for number in range(5000 - ending.LOG_TAIL, 5000)
    )
    crashed.log("one", "two")
    assert evidence.log_tail(crashed.note, str.upper) == ("ONE", "TWO")
    crashed.log("x" * ((1 << 16) - 1))
    assert evidence.log_tail(crashed.note, str) == ("x" * ((1 << 16) - 1),)
    (crashed.folder / ending.LOG).unlink()
    assert evidence.log_tail(crashed.note, str.upper) == ()


def test_without_an_entry_the_record_names_models_and_prompts(dataset: Path) -> None:
    run = recorded(dataset, "--output_name", "mine", "--sample_prompts", "/x/prompts.txt")
    work = evidence.work(run, "/home/ada")
    assert (work.output_name, work.prompts, work.home) == ("mine", "prompts.txt", "/home/ada")
    assert (work.files, work.on_empty, work.sign) == ((), "revert", None)


@pytest.mark.parametrize("argv", [(), ("--output_name", "--sample_prompts")])
def test_without_an_entry_a_record_that_names_none_lets_any_model_count(
    dataset: Path, argv: tuple[str, ...]
) -> None:
    work = evidence.work(recorded(dataset, *argv), "")
    assert (work.output_name, work.prompts) == ("", "")
