"""The list of runs, where clocks were set back, commits are odd or git has lost some."""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random

import pytest

from loragit import History, RecordedRun
from loragit.history import branch
from loragit.record.values import Entry
from loragit.store import journal
from loragit.store.store import Store
from tests.support.journal_entries import note
from tests.support.made_up_runs import MOMENT, a_run, open_store, reverted, sealed, untagged
from tests.support.processes import git

ONE, TWO, THREE, FOUR = (f"noob-gren-v{number}s4" for number in (1, 2, 3, 4))


@pytest.fixture
def store(dataset: Path) -> Store:
    return open_store(dataset)


def forget(folder: Path, revision: str) -> None:
    """git loses an object."""
    name = git(folder, "rev-parse", revision)
    (folder / ".git/objects" / name[:2] / name[2:]).unlink()


def states(history: History) -> list[tuple[str, str]]:
    return [(run.name, run.state) for run in history.runs]


@pytest.mark.parametrize(
    ("clocks", "order"),
    [
        ("a10 b11 c8i d10", "dbac"),
        ("a10 b11 c12i d10", "cdba"),
        ("a10 b10 c10", "cba"),
        ("a5i b5 c4i", "bac"),
        ("a9 b3 c4 d10", "dcba"),
    ],
)
def test_a_run_is_not_older_than_those_below_it_unless_it_was_imported(
    store: Store, clocks: str, order: str
) -> None:
    """Oldest commit first; ``i`` for an imported one."""
    sealed(store, ONE)
    (run,) = History.of(store.repository.top).runs
    made = [
        run._replace(
            name=word[0],
            time=int(word[1:].rstrip("i")),
            message=f"{word}\n\n{'Imported: x' if word.endswith('i') else 'Run: x'}\n",
        )
        for word in clocks.split()
    ]
    assert "".join(each.name for each in branch._newest_first(made[::-1])) == order


def test_a_separator_in_a_message_separates_nothing(store: Store) -> None:
    top = store.repository.top
    sealed(store, ONE)
    tree = git(top, "rev-parse", "runs^{tree}")
    text = "a\x1fb\n\nc\x1fd\n\nRun: e\x1ff\nDataset: g\x1fh\nTrainer-Commit: i\n"
    commit = git(top, "commit-tree", "-p", "runs", tree, text_input=text)
    git(top, "update-ref", "refs/heads/runs", commit)
    run = next(run for run in History.of(top).runs if run.name != ONE)
    assert (run.name, run.dataset, run.trainer_commit) == ("e f", "g h", "i")
    assert run.message.strip() == text.strip()


def test_what_was_read_before_is_not_read_again(store: Store) -> None:
    """Even where git has lost it since."""
    top = store.repository.top
    sealed(store, ONE)
    sealed(store, TWO)
    assert len(History.of(top).runs) == 2
    first = git(top, "rev-parse", f"{ONE}^{{commit}}")
    reverted(store, THREE)
    forget(top, first)
    assert [run.name for run in History.of(top).runs] == [THREE, TWO, ONE]
    assert [run.name for run in History.of(top).runs] == [THREE, TWO, ONE]


def test_a_branch_that_was_moved_back_is_read_anew(store: Store) -> None:
    top = store.repository.top
    for name in (ONE, TWO):
        sealed(store, name)
    assert len(History.of(top).runs) == 2
    git(top, "update-ref", "refs/heads/runs", "runs~1")
    assert states(History.of(top)) == [(ONE, "sealed")]
    untagged(store, THREE)
    assert states(History.of(top)) == [(THREE, "untagged"), (ONE, "sealed")]


def test_where_the_commit_is_gone_that_was_read_last_all_is_read(store: Store) -> None:
    top = store.repository.top
    for name in (ONE, TWO):
        sealed(store, name)
    assert len(History.of(top).runs) == 2
    old = git(top, "rev-parse", "runs")
    git(top, "update-ref", "refs/heads/runs", "runs~1")
    git(top, "update-ref", "-d", f"refs/tags/{TWO}")
    forget(top, old)
    untagged(store, THREE)
    assert states(History.of(top)) == [(THREE, "untagged"), (ONE, "sealed")]


@pytest.fixture
def damaged(store: Store) -> tuple[list[RecordedRun], History]:
    """Runs as they were, and a history of which git has lost the oldest: a reverted run, a merge of
    two that stand, and tags on this and that."""
    top = store.repository.top
    sealed(store, ONE)
    base = git(top, "rev-parse", "runs")
    reverted(store, TWO)
    git(top, "tag", "mine", "runs~1")
    here = git(top, "rev-parse", "runs")
    sealed(store, THREE)
    there = git(top, "rev-parse", "runs")
    git(top, "update-ref", "refs/heads/runs", here)
    untagged(store, FOUR)
    tree = git(top, "rev-parse", "runs^{tree}")
    merge = git(top, "commit-tree", "-p", "runs", "-p", there, "-m", "a merge", tree)
    git(top, "update-ref", "refs/heads/runs", merge)
    for text in ("tree 0\nparent 1\n\nx\n\nRun: of-a-blob\n", "x"):
        blob = git(top, "hash-object", "-w", "--stdin", text_input=text)
        git(top, "update-ref", f"refs/tags/blob{len(text)}", blob)
    before = list(History.of(top).runs)
    forget(top, base)
    return before, History.of(top)


def test_past_what_git_has_lost_all_else_is_read(
    damaged: tuple[list[RecordedRun], History],
) -> None:
    before, history = damaged
    problem = history.reread()
    assert problem is not None
    expected = {run.name: (run.state, run.time, run.offset) for run in before if run.name != ONE}
    assert {run.name: (run.state, run.time, run.offset) for run in history.runs} == expected
    assert expected[TWO][0] == "reverted"
    assert len(history.runs) == 3


CUT = zlib.compress(b"commit 4000\0" + Random(0).randbytes(4000))[:600]


@pytest.mark.parametrize("damage", [b"no object", CUT], ids=["no object", "cut"])
def test_a_damaged_commit_is_passed_over_too(store: Store, damage: bytes) -> None:
    top = store.repository.top
    for name in (ONE, TWO, THREE):
        sealed(store, name)
    name = git(top, "rev-parse", f"{TWO}^{{commit}}")
    path = top / ".git/objects" / name[:2] / name[2:]
    path.chmod(0o644)
    path.write_bytes(damage)
    history = History.of(top)
    assert history.reread() is not None
    assert sorted(states(history)) == [(ONE, "sealed"), (THREE, "sealed")]


def test_a_sound_history_read_again_is_the_same(store: Store) -> None:
    sealed(store, ONE)
    history = History.of(store.repository.top)
    before = states(history)
    assert history.reread() is None
    assert states(history) == before == [(ONE, "sealed")]


def test_without_runs_there_is_nothing_to_read_again(dataset: Path) -> None:
    history = History.of(dataset)
    assert history.reread() is None
    assert (history.runs, history.refs.runs) == ((), None)


def test_a_broken_ref_hides_none_of_the_others(store: Store) -> None:
    top = store.repository.top
    sealed(store, ONE)
    store.open(a_run(name=TWO))
    git(top, "tag", "-a", "-m", "mine", "mine", "main")
    before = History.of(top).refs
    (top / ".git/refs/tags/broken").write_text(f"{'1' * 40}\n")
    after = History.of(top).refs
    assert after.runs == before.runs == git(top, "rev-parse", "runs")
    assert after.objects == {**before.objects, "broken": "1" * 40}
    assert after.commits == {**before.commits, "broken": "1" * 40}
    assert states(History.of(top)) == [(TWO, "interrupted"), (ONE, "sealed")]


@pytest.mark.parametrize("hosts", [("elsewhere",), ("", "elsewhere"), ("elsewhere", "")])
def test_a_run_is_running_where_nobody_here_can_tell(store: Store, hosts: tuple[str, ...]) -> None:
    """One of several notes is enough, whatever their order."""
    store.open(a_run())
    for number, host in enumerate(hosts):
        entry = note(host=host, pid=number + 1) if host else note(pid_started="x", pid=number + 1)
        journal.write(store.repository.private, entry)
    assert states(History.of(store.repository.top)) == [(ONE, "running")]


def test_the_minute_of_a_run_is_that_of_its_own_zone(store: Store) -> None:
    sealed(store, ONE)
    (run,) = History.of(store.repository.top).runs
    moment = int(MOMENT.timestamp())
    minutes = [run._replace(time=moment, offset=offset).minute for offset in (0, 90, -1080)]
    assert minutes == ["2026-11-23 17:20", "2026-11-23 18:50", "2026-11-22 23:20"]


def test_ids_of_commits_are_hex_digits() -> None:
    assert branch.may_be_commit_id("0123")
    assert branch.may_be_commit_id("ABCDEF")
    assert not branch.may_be_commit_id("012")
    assert not branch.may_be_commit_id("noob")


def test_a_dataset_is_compared_with_its_own_runs(store: Store) -> None:
    sealed(store, ONE)
    sealed(store, "noob-mark-v1s4", dataset="mark", prefix="mark")
    reverted(store, TWO)
    sealed(store, THREE, entries=(Entry("config.toml", b"a = 2\n"),))
    sealed(store, "noob-mark-v2s4", dataset="mark", prefix="mark")
    runs = {run.name: run for run in History.of(store.repository.top).runs}
    found = branch.bases(History.of(store.repository.top).runs)
    assert {commit: base.name for commit, base in found.items()} == {
        runs[TWO].commit: ONE,
        runs[THREE].commit: ONE,
        runs["noob-mark-v2s4"].commit: "noob-mark-v1s4",
    }
