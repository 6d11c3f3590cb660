"""Notes about runs in progress: written whole, read back, and no harm where they are damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit.history import history
from loragit.store import journal
from loragit.store.journal import End, HubRef, JournalFailed, TrainerProcess, Work
from loragit.store.lock import CannotLock
from tests.support.journal_entries import NOTE, note
from tests.support.made_up_runs import a_run, an_outcome, open_store


def test_what_was_written_is_read_until_it_is_removed(tmp_path: Path) -> None:
    assert list(journal.read(tmp_path)) == []
    other = note(run="noob-画-v2s4", output='/out/"画"\n')
    for each in (other, NOTE, NOTE):
        journal.write(tmp_path, each)
    assert list(journal.read(tmp_path)) == [NOTE, other]
    assert len(list((tmp_path / "open").iterdir())) == 2
    journal.remove(tmp_path, NOTE)
    journal.remove(tmp_path, NOTE)
    assert list(journal.read(tmp_path)) == [other]


def test_of_two_that_race_for_a_name_each_has_its_own_note(tmp_path: Path) -> None:
    loser = note(pid=1)
    journal.write(tmp_path, NOTE)
    journal.write(tmp_path, loser)
    journal.remove(tmp_path, loser)
    assert list(journal.read(tmp_path)) == [NOTE]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"run = ",
        b'run = "x"\n',
        (
            b'run = "x"\nstarted = ""\npid = "1"\npid_started = ""\nboot = ""\nhost = ""\noutput = '
            b'""\n'
        ),
        b'run = 7\nstarted = ""\npid = 1\npid_started = ""\nboot = ""\nhost = ""\noutput = ""\n',
        (
            b'run = "x"\nstarted = ""\npid = 1\npid_started = ""\nboot = ""\nhost = ""\noutput = '
            b'""\nmore = 1\n'
        ),
    ],
)
def test_a_damaged_note_hides_no_other(tmp_path: Path, data: bytes) -> None:
    journal.write(tmp_path, NOTE)
    for name in ("a.toml", "z.toml"):
        (tmp_path / "open" / name).write_bytes(data)
    (tmp_path / "open" / "b.toml").mkdir()
    (tmp_path / "open" / "c.toml").symlink_to("nowhere")
    assert list(journal.read(tmp_path)) == [NOTE]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=60))
def test_no_bytes_at_all_are_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "open").mkdir(exist_ok=True)
    (tmp_path / "open" / "x.toml").write_bytes(data)
    list(journal.read(tmp_path))


def test_a_note_that_cannot_be_written_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("a file where the folder should be")
    with pytest.raises(JournalFailed, match="cannot be written") as failed:
        journal.write(tmp_path, NOTE)
    assert failed.value.hint
    assert list(journal.read(tmp_path)) == []


def test_nothing_is_written_where_a_repository_was(dataset: Path) -> None:
    store = open_store(dataset)
    opened = store.open(a_run())
    dataset.rename(dataset.with_name("moved"))
    with pytest.raises(JournalFailed, match="No such file or directory"):
        journal.write(store.repository.private, NOTE)
    with pytest.raises(CannotLock, match=r"the repository .*\.git is not there any more") as failed:
        store.seal(opened, an_outcome())
    assert failed.value.hint == "move it back, or go where it is now, then: loragit recover"
    assert not dataset.exists()


def test_a_run_lives_as_long_as_its_very_process() -> None:
    assert history.may_be_alive(NOTE)
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    assert not history.may_be_alive(note(pid=ended.pid))
    assert not history.may_be_alive(note(pid_started="another time")), (
        "the number was given to another process"
    )
    assert not history.may_be_alive(note(boot="another start of the machine"))
    assert history.may_be_alive(note(boot="")), "a system that tells no start"


def test_of_another_machine_nobody_can_tell() -> None:
    assert history.may_be_alive(note(host="elsewhere", pid=2**22 + 1))


WORK = Work(
    files=(("config.toml", "a" * 64), ("sample/é.txt", "b" * 64)),
    output_name="noob",
    prompts="prompts.txt",
    log_folder="/logs",
    log_prefix="noob_",
    log_before=("noob_20261123172030",),
    on_empty="keep",
    sign=True,
    home="/home/ada",
    trainer_kind="sd-scripts",
    hub_refs=(HubRef("VAE", "owner/vae", "/cache/refs/main"),),
)
END = End("2026-11-23T17:20:30+00:00", "2026-11-23T18:20:30+00:00", 0, "SIGINT", "no python")


@pytest.mark.parametrize(
    "changes",
    [
        {"commit": "1" * 40, "inode": (64769, 2), "space": "pid:[1]"},
        {"work": WORK},
        {"work": WORK._replace(files=(), log_before=(), sign=False, trainer_kind="", hub_refs=())},
        {"work": WORK._replace(sign=None)},
        {"trainer": TrainerProcess(1, "99")},
        {"end": END},
        {"end": END._replace(exit_status=None, interrupted_by="", not_started="")},
        {"work": WORK, "trainer": TrainerProcess(1, ""), "end": END},
    ],
)
def test_all_that_a_note_says_is_read_again(tmp_path: Path, changes: dict[str, object]) -> None:
    journal.write(tmp_path, note(**changes))
    assert list(journal.read(tmp_path)) == [note(**changes)]
    assert journal.damaged(tmp_path) == ()


FULL = note(
    pid=4711,
    pid_started="77",
    boot="6f1c",
    commit="1" * 40,
    inode=(1, 2),
    work=WORK,
    trainer=TrainerProcess(1, "99"),
    end=END,
)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ('run = "noob-gren-v1s4"', "run = 1"),
        ('started = "2026-11-23T17:20:30Z"', 'started = "yesterday"'),
        ("pid = 4711", 'pid = "1"'),
        ('pid_started = "77"', "pid_started = 77"),
        ('boot = "6f1c"', "boot = 1"),
        ('commit = "1111', "commit = 1 #"),
        ('output = "/out', "output = 1 #"),
        ('space = ""', "space = 1"),
        ("    1,\n    2,\n", "    1,\n"),
        ("    1,\n    2,\n", "    1,\n    2,\n    3,\n"),
        ("    1,\n    2,\n", '    1,\n    "2",\n'),
        ("inode = [\n    1,\n    2,\n]", 'inode = "12"'),
        ("inode = [\n    1,\n    2,\n]", "inode = 12"),
        ('output_name = "noob"', "output_name = 1"),
        ('on_empty = "keep"\n', ""),
        ("sign = true", 'sign = "true"'),
        ('trainer_kind = "sd-scripts"', "trainer_kind = 1"),
        ('pid_started = "99"', "pid_started = 99"),
        ("exit_status = 0", 'exit_status = "0"'),
        ('finished = "2026-11-23T18:20:30+00:00"', 'finished = "later"'),
    ],
)
def test_a_note_with_a_value_of_another_kind_is_damaged(
    tmp_path: Path, line: str, instead: str
) -> None:
    journal.write(tmp_path, FULL)
    (path,) = journal.paths(tmp_path)
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, instead, 1))
    assert list(journal.read(tmp_path)) == []
    assert journal.damaged(tmp_path) == (path,)


@pytest.mark.usefixtures("modes_count")
def test_where_nobody_may_look_there_are_no_notes(tmp_path: Path) -> None:
    private = tmp_path / "closed" / "loragit"
    private.mkdir(parents=True)
    journal.write(private, NOTE)
    private.parent.chmod(0)
    try:
        assert journal.paths(private) == []
    finally:
        private.parent.chmod(0o755)


def test_what_an_older_loragit_did_not_write_is_not_missed(tmp_path: Path) -> None:
    journal.write(tmp_path, FULL)
    (path,) = journal.paths(tmp_path)
    text = path.read_text()
    for line in ('trainer_kind = "sd-scripts"\n', "inode = [\n    1,\n    2,\n]\n", 'space = ""\n'):
        assert line in text
        text = text.replace(line, "", 1)
    path.write_text(text)
    assert list(journal.read(tmp_path)) == [
        FULL._replace(inode=(0, 0), work=WORK._replace(trainer_kind=""))
    ]
    path.write_text("\n".join(text.split("\n")[: text[: text.index("[work]")].count("\n")]))
    assert [each.work for each in journal.read(tmp_path)] == [None]
