"""Moves of refs that were cut short are made whole, or never were; locks of others are left
alone."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loragit import crash_points
from loragit import git as ours
from loragit.crash_points import CrashPoint
from loragit.git.command import GitFailed
from loragit.git.refs import RefUpdate
from loragit.record.values import Opened
from loragit.store import journal, ref_moves
from loragit.store.ref_moves import MoveStuck, Noted
from loragit.store.store import Store
from loragit.system import alive, durable
from tests.support.forked import ForkServer
from tests.support.made_up_runs import a_run, an_outcome, open_store, sealed
from tests.support.processes import git

NAME = "noob-gren-v2s4"


class Killed(BaseException):
    """Stands for a SIGKILL at a step."""


@pytest.fixture(autouse=True)
def no_listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    crash_points.listener = None


def killed_at(step: CrashPoint) -> None:
    def listen(reached: CrashPoint) -> None:
        if reached is step:
            crash_points.listener = None
            raise Killed

    crash_points.listener = listen


def cut_short(store: Store, work: Callable[[], object]) -> Noted:
    """Have ``work`` killed when its move is noted and git, which is gone then, has done nothing."""
    killed_at(CrashPoint.MOVE_WRITTEN)
    with pytest.raises(Killed):
        work()
    (noted,) = ref_moves.noted_moves(store.repository)
    return noted


def apply(folder: Path, step: RefUpdate) -> None:
    if step.new is None:
        git(folder, "update-ref", "-d", step.name)
    else:
        git(folder, "update-ref", "--create-reflog", step.name, step.new)


def lock_of(folder: Path, name: str) -> Path:
    path = folder / ".git" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def refs(folder: Path) -> str:
    return git(folder, "for-each-ref", "--format=%(objectname) %(refname)")


def opened(store: Store, name: str) -> Opened:
    return store.open(
        a_run(name=name, dataset_commit=git(store.repository.top, "rev-parse", "HEAD"))
    )


KINDS: dict[str, Callable[[Store], Callable[[], object]]] = {
    "open": lambda store: lambda: opened(store, NAME),
    "seal": lambda store: (lambda run: lambda: store.seal(run, an_outcome()))(opened(store, NAME)),
    "revert": lambda store: (lambda run: lambda: store.revert(run, 1, "Nothing.", ()))(
        opened(store, NAME)
    ),
    "delete-tag": lambda store: (lambda run: lambda: store.delete_tag(run))(opened(store, NAME)),
    "note": lambda store: (lambda run: lambda: store.note(run.commit, ("good",)))(
        sealed(store, "noob-gren-v3s4")
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_move_that_was_cut_short_anywhere_is_made_whole(dataset: Path, kind: str) -> None:
    store = open_store(dataset)
    sealed(store, "noob-gren-v1s4")
    git(dataset, "tag", "mine")
    work = KINDS[kind](store)
    before = refs(dataset)
    noted = cut_short(store, work)
    number = len(noted.steps)
    for step in noted.steps:
        apply(dataset, step)
    after = refs(dataset)
    done = []
    for moved in range(number + 1):
        for step in noted.steps:
            apply(dataset, RefUpdate(step.name, step.old, step.new))
        assert refs(dataset) == before
        for step in noted.steps[:moved]:
            apply(dataset, step)
        begun = ref_moves._note(noted.path, noted.steps, noted.reason, noted.pid).time + 1
        for step in noted.steps[moved:]:
            lock_of(dataset, step.name).write_text(f"{step.new}\n" if step.new else "")
            os.utime(lock_of(dataset, step.name), (begun, begun))
        noted.path.write_text(noted.path.read_text().replace(noted.boot, "another boot"))
        store.finish_moves()
        done.append(refs(dataset) == after)
        assert refs(dataset) in (before, after), moved
        assert [*(dataset / ".git" / "refs").rglob("*.lock")] == []
        assert list(ref_moves.noted_moves(store.repository)) == []
        assert git(dataset, "fsck", "--strict", "--no-dangling") == ""
    # Whatever was begun is finished; a move of which nothing was made has not happened.
    assert done == [False, *[True] * number]


def test_a_move_that_is_under_way_is_left_to_its_git(dataset: Path) -> None:
    store = open_store(dataset)
    noted = cut_short(store, lambda: opened(store, NAME))
    mine = lock_of(dataset, noted.steps[0].name)
    mine.write_text(f"{noted.steps[0].new}\n")
    ref_moves._note(noted.path, noted.steps, noted.reason, os.getpid())
    assert store.finish_moves() == ()
    assert mine.exists() and noted.path.exists()
    # The number of a process says nothing without the time at which it began.
    text = noted.path.read_text()
    noted.path.write_text(
        text.replace(next(ref_moves.noted_moves(store.repository)).pid_started, "once")
    )
    assert store.finish_moves() == (f"removed {mine}, which a git that is gone had left",)
    assert not noted.path.exists()


def test_one_of_another_machine_is_left_to_it(dataset: Path) -> None:
    store = open_store(dataset)
    noted = cut_short(store, lambda: opened(store, NAME))
    noted.path.write_text(noted.path.read_text().replace(journal.host(), "elsewhere"))
    assert store.finish_moves() == ()
    assert noted.path.exists()
    assert store.open(a_run(name=NAME)).commit == git(dataset, "rev-parse", "runs")


@pytest.mark.parametrize(
    ("content", "age", "goes"),
    [
        ("new", 0, True),
        ("other", 20, False),
        ("", 1, False),
        ("", 20, True),
        ("", 31.5, False),
        ("", 1000, False),
    ],
)
def test_only_a_lock_that_this_very_git_can_have_made_is_removed(
    dataset: Path, content: str, age: float, goes: bool
) -> None:
    store = open_store(dataset)
    noted = cut_short(store, lambda: opened(store, NAME))
    ref_moves._note(noted.path, noted.steps, noted.reason, 2**22 + 1)
    began = time.time() - 30
    noted.path.write_text(re.sub(r"(?m)^time = .*$", f"time = {began}", noted.path.read_text()))
    lock = lock_of(dataset, noted.steps[0].name)
    lock.write_text(
        f"{noted.steps[0].new}\n" if content == "new" else f"{'1' * 40}\n" if content else ""
    )
    os.utime(lock, (time.time() - age, time.time() - age))
    store.finish_moves()
    assert lock.exists() is not goes
    # Where only time will tell, the note stays until then.
    assert noted.path.exists() is (content == "" and age == 1)


def test_a_list_of_refs_that_a_killed_git_was_writing_is_in_nobodys_way(dataset: Path) -> None:
    store = open_store(dataset)
    run = opened(store, NAME)
    git(dataset, "pack-refs", "--all")
    fresh, lock = (dataset / ".git" / f"packed-refs.{suffix}" for suffix in ("new", "lock"))
    noted = cut_short(store, lambda: store.delete_tag(run))
    ref_moves._note(noted.path, noted.steps, noted.reason, 2**22 + 1)
    fresh.write_text("half of")
    lock.touch()  # of a git that may live
    assert store.finish_moves() == ()
    assert fresh.exists() and lock.exists() and noted.path.exists()
    os.utime(lock, (time.time() - 20, time.time() - 20))
    noted.path.write_text(
        re.sub(r"(?m)^time = .*$", f"time = {time.time() - 20}", noted.path.read_text())
    )
    assert store.finish_moves() == (f"removed {lock}, which a git that is gone had left",)
    assert not fresh.exists() and not lock.exists()
    # The same of a git of somebody else's.
    fresh.write_text("half of")
    store.delete_tag(run)
    assert not fresh.exists() and git(dataset, "tag", "--list") == ""


def test_a_lock_that_is_waited_for_may_turn_out_to_be_nobodys(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(dataset)
    run = opened(store, NAME)
    noted = cut_short(store, lambda: store.seal(run, an_outcome()))
    ref_moves._note(noted.path, noted.steps, noted.reason, 2**22 + 1)
    lock_of(dataset, noted.steps[0].name).touch()
    monkeypatch.setattr(ref_moves, "QUIET", 0.3)
    store.seal(run, an_outcome())
    assert git(dataset, "cat-file", "-t", NAME) == "tag"
    assert list(ref_moves.noted_moves(store.repository)) == []


def test_what_somebody_moved_since_is_not_moved_over(dataset: Path) -> None:
    store = open_store(dataset)
    noted = cut_short(store, lambda: opened(store, NAME))
    apply(dataset, noted.steps[0])
    git(dataset, "tag", NAME, "main")
    with pytest.raises(
        MoveStuck, match=f"open {NAME} was made in part: refs/tags/{NAME} is at"
    ) as stuck:
        store.finish_moves()
    assert stuck.value.hint is not None and str(noted.path) in stuck.value.hint
    assert git(dataset, "rev-parse", NAME) == git(dataset, "rev-parse", "main")


def test_a_move_that_is_stuck_keeps_no_other_run_from_its_end(dataset: Path) -> None:
    other = opened(open_store(dataset), "noob-gren-v1s4")
    noted = cut_short(open_store(dataset), lambda: opened(open_store(dataset), NAME))
    apply(dataset, noted.steps[0])
    git(dataset, "tag", NAME, "main")
    said: list[str] = []
    store = open_store(dataset)
    store = Store(store.repository, store._author, store._committer, warn=said.append)
    store.seal(other, an_outcome())
    assert git(dataset, "cat-file", "-t", other.name.text) == "tag"
    assert (
        len(said) == 1
        and "was made in part" in said[0]
        and said[0].endswith("see: loragit recover")
    )


def test_a_move_that_is_stuck_keeps_no_other_move_from_being_made_whole(dataset: Path) -> None:
    store = open_store(dataset)
    noted = cut_short(store, lambda: opened(store, NAME))
    apply(dataset, noted.steps[0])
    git(dataset, "tag", NAME, "main")
    stuck = noted.path.rename(noted.path.with_name("a.toml"))
    later = noted.path.with_name("b.toml")
    tag = RefUpdate("refs/tags/noob-gren-v9s4", noted.steps[0].new, None)
    ref_moves._note(later, (noted.steps[0], tag), "loragit: open noob-gren-v9s4", 2**22 + 1)
    with pytest.raises(MoveStuck, match=f"open {NAME} was made in part"):
        store.finish_moves()
    assert git(dataset, "rev-parse", tag.name) == tag.new
    assert stuck.exists() and not later.exists()


def test_a_keep_ref_that_was_there_already_is_no_sign_that_a_move_was_begun(dataset: Path) -> None:
    store = open_store(dataset)
    sealed(store, "noob-gren-v1s4")
    git(dataset, "update-ref", f"refs/loragit/keep/{NAME}", "main")
    noted = cut_short(store, lambda: opened(store, NAME))
    assert noted.steps[-1].new == noted.steps[-1].old
    before = refs(dataset)
    assert store.finish_moves() == ()
    assert refs(dataset) == before and not noted.path.exists()
    # The same in a race that is lost: it is run again on the new tip, and nothing is stuck.

    def overtaken(reached: CrashPoint) -> None:
        if reached is CrashPoint.MOVE_WRITTEN:
            crash_points.listener = None
            tip = git(dataset, "rev-parse", "runs")
            theirs = git(
                dataset,
                "commit-tree",
                f"{tip}^{{tree}}",
                "-p",
                tip,
                "-m",
                "theirs\n\nLoragit-Format: 1",
            )
            git(dataset, "update-ref", "refs/heads/runs", theirs)

    crash_points.listener = overtaken
    run = opened(store, NAME)
    assert git(dataset, "rev-list", "--count", "runs") == "3"
    assert git(dataset, "rev-parse", NAME) == run.commit


def test_a_git_that_is_killed_leaves_no_lock_in_the_way_of_finishing_its_work(
    dataset: Path,
) -> None:
    store = open_store(dataset)

    def listen(reached: CrashPoint) -> None:
        if reached is CrashPoint.MOVE_WRITTEN:
            crash_points.listener = None
            (noted,) = ref_moves.noted_moves(store.repository)
            apply(dataset, noted.steps[0])
            lock_of(dataset, noted.steps[1].name).write_text(f"{noted.steps[1].new}\n")

    crash_points.listener = listen
    run = opened(store, NAME)
    assert git(dataset, "rev-parse", NAME, "runs").split() == [run.commit, run.commit]
    assert [*(dataset / ".git" / "refs").rglob("*.lock")] == []


@pytest.mark.parametrize("moved", [0, 1])
def test_the_locks_of_a_git_that_is_killed_are_known_while_its_loragit_lives(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    store = open_store(dataset)
    run = opened(store, NAME)
    monkeypatch.setattr(ref_moves, "QUIET", 0.3)

    def listen(reached: CrashPoint) -> None:
        """What git does until it deletes, and its end."""
        if reached is CrashPoint.MOVE_WRITTEN:
            crash_points.listener = None
            (noted,) = ref_moves.noted_moves(store.repository)
            for step in noted.steps[:moved]:
                apply(dataset, step)
            for step in noted.steps[1:]:
                lock_of(dataset, step.name).touch()
            (dataset / ".git" / "packed-refs.lock").touch()
            os.kill(noted.pid, signal.SIGKILL)

    crash_points.listener = listen
    store.revert(run, 1, "Nothing.", ())
    assert git(dataset, "rev-list", "--count", "runs") == "2"
    assert git(dataset, "for-each-ref", "refs/tags", "refs/loragit") == ""
    assert [*(dataset / ".git").rglob("*.lock")] == []


def test_runs_that_went_on_counts_as_moved(dataset: Path) -> None:
    store = open_store(dataset)
    noted = cut_short(store, lambda: opened(store, NAME))
    apply(dataset, noted.steps[0])
    text = noted.path.read_text()
    noted.path.unlink()
    later = sealed(store, "noob-gren-v3s4")
    noted.path.write_text(text)
    assert store.finish_moves() == (
        f"finished what a git that is gone had begun: loragit: open {NAME}",
    )
    assert git(dataset, "rev-parse", "runs") == later.commit
    assert git(dataset, "rev-parse", NAME) == noted.steps[0].new


def test_a_git_that_is_killed_between_two_refs_has_its_work_finished_at_once(dataset: Path) -> None:
    store = open_store(dataset)
    private = store.repository.private

    def listen(reached: CrashPoint) -> None:
        """Do the first part of git's work, and have it refuse the rest."""
        if reached is CrashPoint.MOVE_WRITTEN:
            crash_points.listener = None
            (noted,) = ref_moves.noted_moves(store.repository)
            apply(dataset, noted.steps[0])

    crash_points.listener = listen
    run = opened(store, NAME)
    assert git(dataset, "rev-parse", NAME, "runs").split() == [run.commit, run.commit]
    assert git(dataset, "rev-list", "--count", "runs") == "1"
    assert list((private / "moves").iterdir()) == []


def test_a_note_that_cannot_be_written_moves_nothing(dataset: Path) -> None:
    store = open_store(dataset)
    sealed(store, "noob-gren-v1s4")
    (dataset / ".git" / "loragit" / "moves").rmdir()
    (dataset / ".git" / "loragit" / "moves").write_text("in the way")
    before = refs(dataset)
    with pytest.raises(ref_moves.MoveFailed, match="cannot be written"):
        opened(store, NAME)
    assert refs(dataset) == before


def noted_on_a_full_disk(folder: Path) -> int:
    store = open_store(folder)
    step = RefUpdate("refs/tags/noob-gren-v1s4", git(folder, "rev-parse", "HEAD"), None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    try:
        ref_moves.move_refs(store.repository, [step], "a tag")
    except ref_moves.MoveFailed:
        return 0
    return 1


def test_half_a_note_is_not_left(dataset: Path, fork_server: ForkServer) -> None:
    assert fork_server.run(noted_on_a_full_disk, dataset).status == 0
    assert list((dataset / ".git" / "loragit" / "moves").iterdir()) == []
    assert git(dataset, "tag") == ""


def two_tags(dataset: Path, names: str = "ab") -> tuple[RefUpdate, ...]:
    head = git(dataset, "rev-parse", "HEAD")
    return tuple(RefUpdate(f"refs/tags/{name}", head, None) for name in names)


def noted(dataset: Path, name: str, steps: tuple[RefUpdate, ...], reason: str) -> Path:
    """A note of a git that is gone."""
    path = dataset / ".git" / "loragit" / "moves" / f"{name}.1.toml"
    ref_moves._note(path, steps, reason, 2**22 + 1)
    return path


def test_a_move_passes_the_points_at_which_it_may_be_killed(dataset: Path) -> None:
    passed: list[CrashPoint] = []
    store = open_store(dataset)
    crash_points.listener = passed.append
    run = opened(store, NAME)
    assert passed == [
        CrashPoint.OBJECTS_WRITTEN,
        CrashPoint.MOVE_WRITTEN,
        CrashPoint.REFS_MOVED,
        CrashPoint.MOVE_REMOVED,
    ]
    passed.clear()
    path = noted(dataset, "x", (RefUpdate(run.name.tag, "1" * 40, run.commit),), "a move")
    lock_of(dataset, run.name.tag).write_text("1" * 40 + "\n")
    store.finish_moves()
    assert passed == [CrashPoint.LOCK_REMOVED]
    assert not path.exists()


def test_a_second_note_of_one_process_gets_another_name(dataset: Path) -> None:
    repository = open_store(dataset).repository
    (repository.private / "moves").mkdir(parents=True)
    for end in ("", ".1", ".2"):
        path = ref_moves._free_name(repository)
        assert path == repository.private / "moves" / f"{journal.host()}.{os.getpid()}{end}.toml"
        path.touch()


def test_objects_are_on_the_disk_before_a_ref_moves(dataset: Path) -> None:
    """And if they cannot get there, none moves."""
    repository = open_store(dataset).repository

    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        ref_moves.move_refs(repository, two_tags(dataset), "two tags", full)
    assert git(dataset, "tag") == ""
    assert list(ref_moves.noted_moves(repository)) == []


def test_a_move_that_git_refuses_leaves_no_note(dataset: Path) -> None:
    repository = open_store(dataset).repository
    git(dataset, "tag", "b", git(dataset, "hash-object", "-w", "a.txt"))
    with pytest.raises(GitFailed, match="refs/tags/b"):
        ref_moves.move_refs(repository, two_tags(dataset), "two tags")
    assert list((repository.private / "moves").iterdir()) == []
    assert git(dataset, "tag") == "b"


def test_a_git_that_cannot_be_started_moves_nothing(dataset: Path) -> None:
    repository = open_store(dataset).repository
    with pytest.raises(GitFailed, match="git cannot be started: Argument list too long"):
        ref_moves.move_refs(repository, two_tags(dataset), "x", variables=(f"X={'x' * (1 << 22)}",))
    assert git(dataset, "tag") == ""


@pytest.mark.parametrize("refused", [True, False])
def test_a_note_that_the_user_removed_meanwhile_is_not_missed(dataset: Path, refused: bool) -> None:
    store = open_store(dataset)

    def listen(reached: CrashPoint) -> None:
        if reached is CrashPoint.MOVE_WRITTEN:
            (each,) = ref_moves.noted_moves(store.repository)
            each.path.unlink()
            if refused:
                git(dataset, "tag", "b", git(dataset, "hash-object", "-w", "a.txt"))

    crash_points.listener = listen
    if refused:
        with pytest.raises(GitFailed, match="refs/tags/b"):
            ref_moves.move_refs(store.repository, two_tags(dataset), "two tags")
    else:
        assert ref_moves.move_refs(store.repository, two_tags(dataset), "two tags") is None
    assert git(dataset, "tag").split() == (["b"] if refused else ["a", "b"])


def test_a_note_that_the_user_removes_while_it_is_finished_is_not_missed(dataset: Path) -> None:
    store = open_store(dataset)
    steps = two_tags(dataset)
    path = noted(dataset, "x", steps, "two tags")
    held = lock_of(dataset, steps[0].name)
    held.write_text(f"{steps[0].new}\n")
    crash_points.listener = lambda reached: path.unlink(missing_ok=True)
    assert store.finish_moves() == (f"removed {held}, which a git that is gone had left",)


def test_where_no_lock_is_in_doubt_nothing_is_waited_for(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = open_store(dataset).repository
    noted(dataset, "x", two_tags(dataset), "two tags")
    (each,) = ref_moves.noted_moves(repository)
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    ref_moves._free(repository, each, patient=True)
    assert waited == []
    lock_of(dataset, each.steps[0].name).touch()
    ref_moves._free(repository, each, patient=False)
    assert waited == []

    def gone_meanwhile(seconds: float) -> None:
        waited.append(seconds)
        lock_of(dataset, each.steps[0].name).unlink()

    monkeypatch.setattr("time.sleep", gone_meanwhile)
    ref_moves._free(repository, each, patient=True)
    assert waited == [ref_moves._PAUSE]


def test_only_what_moves_several_refs_waits_for_its_note(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write = durable.write

    def wait(path: Path, data: bytes) -> None:
        written.append(path)
        write(path, data)

    monkeypatch.setattr(durable, "write", wait)
    one = noted(dataset, "one", two_tags(dataset, "a"), "one")
    two = noted(dataset, "two", two_tags(dataset, "ab"), "two")
    assert written == [two]
    repository = open_store(dataset).repository
    assert [each.path for each in ref_moves.noted_moves(repository)] == [one, two]


def test_a_system_that_tells_neither_boot_nor_start_has_notes_too(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "boot_id", lambda: None)
    noted(dataset, "x", two_tags(dataset), "two tags")
    (each,) = ref_moves.noted_moves(open_store(dataset).repository)
    assert (each.boot, each.pid_started, each.reason) == ("", "", "two tags")


def test_nothing_is_noted_where_a_repository_was(dataset: Path) -> None:
    steps = two_tags(dataset)
    (dataset / ".git").rename(dataset / "moved")
    with pytest.raises(ref_moves.MoveFailed, match="No such file or directory"):
        noted(dataset, "x", steps, "two tags")
    assert not (dataset / ".git").exists()


def test_a_note_that_was_written_in_part_is_taken_away(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(ref_moves.MoveFailed, match="No space left on device"):
        noted(dataset, "x", two_tags(dataset, "a"), "a tag")
    assert list((dataset / ".git" / "loragit" / "moves").iterdir()) == []


def test_of_several_moves_that_are_stuck_the_first_is_told(dataset: Path) -> None:
    store = open_store(dataset)
    git(dataset, "tag", "a")
    blob = git(dataset, "hash-object", "-w", "a.txt")
    for name in "bc":
        git(dataset, "tag", name, blob)
        noted(dataset, name, two_tags(dataset, f"a{name}"), f"move of {name}")
    with pytest.raises(MoveStuck, match="move of b was made in part: refs/tags/b"):
        store.finish_moves()
    assert len(list(ref_moves.noted_moves(store.repository))) == 2


def put_git(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """A git of ours for ``update-ref``; ``real`` is git."""
    program = folder / "bin" / "git"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f'#!/bin/sh\nreal() {{ {shutil.which("git")} "$@"; }}\n'
        f'case " $* " in *" update-ref -m "*) {script};; esac\nreal "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_ref_is_deleted_only_once_it_is_gone(dataset: Path) -> None:
    repository = open_store(dataset).repository
    deletion = RefUpdate("refs/heads/main", None, git(dataset, "rev-parse", "main"))
    assert ref_moves._made(repository, deletion) is False
    git(dataset, "update-ref", "-d", "refs/heads/main")
    assert ref_moves._made(repository, deletion) is True


def test_a_rest_that_git_cannot_make_is_stuck_and_stays_noted(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(dataset)
    path = noted(dataset, "x", two_tags(dataset), "two tags")
    git(dataset, "tag", "a")
    with monkeypatch.context() as patched:
        put_git(patched, tmp_path, "echo fatal: no room >&2; exit 128")
        with pytest.raises(MoveStuck) as stuck:
            store.finish_moves()
    assert stuck.value.message.startswith(
        "two tags was made in part, and git cannot make the rest: git "
    )
    assert stuck.value.message.endswith("no room")
    assert stuck.value.hint == (
        "make room, or take away what stands in the way; then: loragit recover"
    )
    assert path.exists()
    # As where another loragit does the same meanwhile.
    put_git(monkeypatch, tmp_path, 'real "$@"; exit 1')
    assert store.finish_moves() == ("finished what a git that is gone had begun: two tags",)
    assert git(dataset, "tag").split() == ["a", "b"]
    assert not path.exists()


def test_refs_that_are_made_whole_are_on_the_disk_as_well(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[list[str]] = []
    monkeypatch.setattr(ours, "sync_refs", lambda names, repository: synced.append(list(names)))
    store = open_store(dataset)
    assert ref_moves.move_refs(store.repository, two_tags(dataset, "cd"), "two tags") is None
    noted(dataset, "x", two_tags(dataset), "two tags")
    git(dataset, "tag", "a")
    store.finish_moves()
    assert synced == [["refs/tags/c", "refs/tags/d"], ["refs/tags/a", "refs/tags/b"]]


def test_a_lock_that_holds_something_else_is_anothers(dataset: Path) -> None:
    store = open_store(dataset)
    run = opened(store, NAME)
    each = cut_short(store, lambda: store.delete_tag(run))
    ref_moves._note(each.path, each.steps, each.reason, 2**22 + 1)
    began = time.time() - 30
    each.path.write_text(re.sub(r"(?m)^time = .*$", f"time = {began}", each.path.read_text()))
    tag, packed = lock_of(dataset, each.steps[0].name), lock_of(dataset, "packed-refs")
    for path in (tag, packed):
        path.write_text("1" * 40 + "\n")
        os.utime(path, (began + 15, began + 15))
    # Of the list of packed refs nobody knows what git will write.
    store.finish_moves()
    assert tag.exists() and not packed.exists()
    each.path.parent.mkdir(exist_ok=True)
    ref_moves._note(each.path, each.steps, each.reason, 2**22 + 1)
    packed.write_text("half of")
    store.finish_moves()
    assert packed.exists(), "its git may live"


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"pid = 1", b"steps = 3", b"steps = [1]", b"[[steps]]\nname = 1"]
)
def test_a_damaged_note_is_passed_over(dataset: Path, data: bytes) -> None:
    store = open_store(dataset)
    folder = dataset / ".git" / "loragit" / "moves"
    folder.mkdir(parents=True)
    (folder / "x.1.toml").write_bytes(data)
    assert list(ref_moves.noted_moves(store.repository)) == []
    assert store.finish_moves() == ()
