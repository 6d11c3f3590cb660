"""Runs as they are read back, for states that take more than a training to come about."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.git import repository
from loragit.history import history
from loragit.history.history import INTERRUPTED, RUNNING, SEALED, UNTAGGED, History, NoSuchRun
from loragit.record.values import Entry
from loragit.store import journal
from tests.support.journal_entries import note
from tests.support.made_up_runs import NAME, a_run, open_store, reverted, sealed, untagged
from tests.support.processes import git


def states(folder: Path, limit: int | None = None) -> list[tuple[str, str]]:
    return [
        (run.name, run.state)
        for run in (History.of(folder).runs if limit is None else History.of(folder).newest(limit))
    ]


def test_an_open_run_is_running_as_long_as_one_of_its_notes_is_alive(dataset: Path) -> None:
    open_store(dataset).open(a_run())
    private = repository.discover(dataset).private
    assert states(dataset) == [(NAME, INTERRUPTED)], "nobody noted it"
    journal.write(private, note(boot="before", pid=2**22 + 1))
    assert states(dataset) == [(NAME, INTERRUPTED)]
    journal.write(private, note())
    assert states(dataset) == [(NAME, RUNNING)]
    journal.remove(private, note())
    assert states(dataset) == [(NAME, INTERRUPTED)]


def test_a_sealed_run_is_sealed_whatever_notes_are_left(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    journal.write(repository.discover(dataset).private, note())
    assert states(dataset) == [(NAME, SEALED)]


def test_a_tag_that_was_moved_by_hand_is_not_the_runs(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    git(dataset, "tag", "-f", "-a", "-m", "mine", NAME, "main")
    assert states(dataset) == [(NAME, UNTAGGED)]


def test_tags_of_the_users_own_change_nothing(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    git(dataset, "tag", "plain")
    git(dataset, "tag", "-a", "-m", "odd\x0bsubject\x1fof\u2028mine\n\nRun: other", "annotated")
    git(dataset, "tag", "-a", "-m", "", "été")
    git(dataset, "update-ref", "refs/tags/of-a-tree", git(dataset, "rev-parse", "HEAD^{tree}"))
    assert states(dataset) == [(NAME, SEALED)]
    assert history.standing_names(dataset) == tuple(
        sorted(("annotated", NAME, "of-a-tree", "plain", "été"))
    )


def test_the_newest_so_many_runs_count_runs_and_not_reverts(dataset: Path) -> None:
    store = open_store(dataset)
    sealed(store, NAME)
    reverted(store, "noob-gren-v2s4")
    untagged(store, "noob-gren-v3s4")
    assert [name for name, _ in states(dataset, 2)] == ["noob-gren-v3s4", "noob-gren-v2s4"]
    assert [name for name, _ in states(dataset)] == ["noob-gren-v3s4", "noob-gren-v2s4", NAME]


def test_a_merge_of_two_machines_runs_is_read_through(dataset: Path) -> None:
    store = open_store(dataset)
    sealed(store, NAME)
    base = git(dataset, "rev-parse", "runs")
    reverted(store, "noob-gren-v2s4")
    here = git(dataset, "rev-parse", "runs")
    git(dataset, "update-ref", "refs/heads/runs", base)
    untagged(store, "noob-gren-v3s4")
    tree = git(dataset, "rev-parse", "runs^{tree}")
    merge = git(
        dataset,
        "commit-tree",
        "-p",
        "runs",
        "-p",
        here,
        "-m",
        "a merge\n\nNot a trailer: at all",
        tree,
    )
    git(dataset, "update-ref", "refs/heads/runs", merge)
    assert sorted(states(dataset)) == [
        (NAME, "sealed"),
        ("noob-gren-v2s4", "reverted"),
        ("noob-gren-v3s4", "untagged"),
    ]


@pytest.mark.parametrize("status", ["1", "-9", "", "many"])
def test_a_revert_of_somebody_elses_is_read_as_far_as_it_goes(dataset: Path, status: str) -> None:
    opened = untagged(open_store(dataset), NAME)
    message = f"Revert by hand\n\nReverts: {opened.commit}\nExit-Status: {status}\n"
    tree = git(dataset, "rev-parse", "runs^{tree}")
    git(
        dataset,
        "update-ref",
        "refs/heads/runs",
        git(dataset, "commit-tree", "-p", "runs", "-m", message, tree),
    )
    (run,) = History.of(dataset).runs
    assert run.state == "reverted"
    assert run.revert is not None
    assert run.revert.exit_status == (1 if status == "1" else None)
    assert run.revert.message.startswith("Revert by hand")
    assert (run.revert.reason, run.revert.log_tail) == ("", ())


def test_a_run_is_shown_with_its_own_files_wherever_it_is_asked_for(dataset: Path) -> None:
    store = open_store(dataset)
    sealed(
        store,
        "noob-mark-v1s4",
        prefix="mark",
        dataset="mark",
        entries=(Entry("config.toml", b"mark"),),
    )
    sealed(store, NAME, prefix="two  spaces/gren")
    for folder in (".", "mark", "two  spaces", "two  spaces/gren"):
        (dataset / folder).mkdir(exist_ok=True)
        run = History.of(dataset / folder).run("noob-mark-v1s4")
        assert run.files == (".gitattributes", "config.toml", "run.toml"), folder
    run = History.of(dataset / "two  spaces" / "gren").run(NAME)
    assert run.files == (
        ".gitattributes",
        "captions/img/00.txt",
        "config.toml",
        "run.toml",
        "train.sh",
    )


def test_a_run_that_is_not_there_is_no_run(dataset: Path) -> None:
    with pytest.raises(NoSuchRun, match="there is no run nope"):
        History.of(dataset).run("nope")


def test_names_for_completion_never_raise(dataset: Path, tmp_path: Path) -> None:
    assert history.standing_names(dataset) == ()
    assert history.standing_names(tmp_path) == ()
    assert history.standing_names(tmp_path / "nowhere") == ()
    (tmp_path / "file").write_text("")
    assert history.standing_names(tmp_path / "file") == ()


def test_a_run_whose_process_may_live_is_not_interrupted(dataset: Path) -> None:
    folder = open_store(dataset).repository
    assert not history.is_interrupted(folder, NAME), "no entry: it was opened elsewhere"
    for entry, interrupted in ((note(run=NAME), False), (note(run=NAME, pid_started="x"), True)):
        journal.write(folder.private, entry)
        assert history.is_interrupted(folder, NAME) is interrupted
        assert not history.is_interrupted(folder, "another")
        journal.remove(folder.private, entry)
