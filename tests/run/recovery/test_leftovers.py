"""What an interrupted write may have left, and whose it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loragit.git.repository import Repository, discover
from loragit.history.history import History, RecordedRun
from loragit.run.recovery import leftovers
from loragit.store import journal
from loragit.store.store import Store
from loragit.system import alive
from tests.support.crashed_run import GONE, Crashed
from tests.support.made_up_runs import NAME, open_store, reverted, sealed
from tests.support.processes import git


@pytest.fixture
def store(dataset: Path) -> Store:
    return open_store(dataset)


@pytest.fixture
def repository(store: Store) -> Repository:
    return store.repository


def runs(dataset: Path) -> dict[str, RecordedRun]:
    return {run.commit: run for run in History.of(dataset).runs}


def loose(folder: Path) -> dict[str, str]:
    return dict(leftovers.loose_tags(discover(folder), runs(folder)))


def commit(dataset: Path, message: str, *parents: str) -> str:
    above = [word for parent in parents for word in ("-p", parent)]
    return git(dataset, "commit-tree", "HEAD^{tree}", *above, "-F", "-", text_input=message)


# ---- tags that runs does not lead to ----


def test_a_tag_of_a_run_that_runs_lost_is_loose(dataset: Path, store: Store) -> None:
    first, second = sealed(store, "noob-gren-v1s4"), sealed(store, "noob-gren-v2s4")
    assert loose(dataset) == {}
    git(dataset, "update-ref", "refs/heads/runs", first.commit)
    assert loose(dataset) == {"noob-gren-v2s4": second.commit}
    # It is its own run's alone, and that of no other name.
    git(dataset, "tag", "another-name", second.commit)
    assert loose(dataset) == {"noob-gren-v2s4": second.commit}


def test_the_users_own_tags_are_no_runs(dataset: Path, store: Store) -> None:
    first = reverted(store, NAME)
    revert = git(dataset, "rev-parse", "runs")
    git(dataset, "update-ref", "refs/heads/runs", first.commit)
    # A revert names its run as well.
    git(dataset, "tag", NAME, revert)
    assert loose(dataset) == {}
    for message in ("mine\n\nRun: mine-v1s4\n", "x" * (1 << 21) + "\n\nLoragit-Format: 1\n"):
        git(dataset, "tag", "-f", "mine-v1s4", commit(dataset, message))
        assert loose(dataset) == {}
    git(dataset, "tag", "-f", "mine-v1s4", "HEAD:a.txt")
    assert loose(dataset) == {}
    text = "tree x\n\nwhat looks like a commit\n\nRun: mine-v1s4\nLoragit-Format: 1\n"
    blob = git(dataset, "hash-object", "-w", "--stdin", text_input=text)
    git(dataset, "tag", "-f", "mine-v1s4", blob)
    assert loose(dataset) == {}


def test_a_tag_whose_commit_is_lost_is_passed_over(dataset: Path, store: Store) -> None:
    first, *others = (sealed(store, f"noob-gren-v{version}s4") for version in (1, 2, 3))
    git(dataset, "update-ref", "refs/heads/runs", first.commit)
    lost = others[0].commit
    (dataset / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    git(dataset, "update-ref", "-d", "refs/tags/noob-gren-v2s4")
    (dataset / ".git" / "refs" / "tags" / "noob-gren-v2s4").write_text(f"{lost}\n")
    known = {first.commit: runs_of(dataset, first.commit)}
    found = dict(leftovers.loose_tags(discover(dataset), known))
    assert found == {"noob-gren-v3s4": others[1].commit}


def runs_of(dataset: Path, commit: str) -> RecordedRun:
    return next(run for run in History.of(dataset).newest(9) if run.commit == commit)


def test_tags_of_another_machines_runs_are_left_to_it(
    dataset: Path, tmp_path: Path, store: Store
) -> None:
    sealed(store, "noob-gren-v1s4")
    git(tmp_path, "clone", "-q", str(dataset), "clone")
    clone = tmp_path / "clone"
    mine = sealed(open_store(clone), "noob-rose-v1s4")
    theirs = sealed(store, "noob-gren-v2s4")
    git(clone, "fetch", "-q", "--tags")
    assert git(clone, "rev-parse", "noob-gren-v2s4^{commit}") == theirs.commit
    assert loose(clone) == {}
    # One that was made here is ours, whatever a remote has got of it.
    git(clone, "push", "-q", "origin", "runs:refs/heads/theirs/runs")
    git(clone, "update-ref", "refs/remotes/origin/theirs/runs", mine.commit)
    git(clone, "update-ref", "-d", "refs/heads/runs")
    assert loose(clone) == {"noob-rose-v1s4": mine.commit}


def test_in_a_shallow_clone_only_what_was_made_here_is_loose(
    dataset: Path, tmp_path: Path, store: Store
) -> None:
    for version in (1, 2, 3):
        sealed(store, f"noob-gren-v{version}s4")
    git(tmp_path, "clone", "-q", "--depth=1", "--no-single-branch", dataset.as_uri(), "clone")
    clone = tmp_path / "clone"
    git(clone, "fetch", "-q", "--depth=1", "origin", "refs/tags/*:refs/tags/*")
    git(clone, "remote", "remove", "origin")
    mine = sealed(open_store(clone), "noob-rose-v1s4")
    git(clone, "update-ref", "-d", "refs/heads/runs")
    assert len(git(clone, "tag").split()) == 4
    assert loose(clone) == {"noob-rose-v1s4": mine.commit}


# ---- whether runs can grow ----


def test_runs_leads_to_what_it_descends_from(dataset: Path, store: Store) -> None:
    first, second = sealed(store, "noob-gren-v1s4"), sealed(store, "noob-gren-v2s4")
    repository = store.repository
    assert leftovers.leads_to(repository, second.commit, first.commit)
    assert leftovers.leads_to(repository, first.commit, first.commit)
    assert leftovers.leads_to(repository, first.commit, second.commit) is False
    assert leftovers.leads_to(repository, None, first.commit) is False
    assert leftovers.leads_to(repository, first.commit, "0" * 39 + "1") is False


def test_runs_grows_along_one_line_of_loragits_own(dataset: Path, repository: Repository) -> None:
    store = open_store(dataset)
    first, second = sealed(store, "noob-gren-v1s4"), sealed(store, "noob-gren-v2s4")

    def continues(tip: str | None, commit: str) -> bool:
        return leftovers.continues(repository, tip, commit)

    assert continues(first.commit, second.commit) is True
    assert continues(None, second.commit) is True
    assert continues(second.commit, first.commit) is False
    ours = "x\n\nLoragit-Format: 1\n"
    foreign = commit(dataset, "somebody's own", second.commit)
    assert continues(first.commit, foreign) is False
    assert continues(first.commit, commit(dataset, ours, foreign)) is False
    assert continues(foreign, commit(dataset, ours, foreign)) is True
    merge = commit(dataset, ours, second.commit, commit(dataset, ours, first.commit))
    assert continues(first.commit, merge) is False
    assert continues(None, "0" * 39 + "1") is False


# ---- runs that nobody here notes ----


def unnoted(dataset: Path) -> list[str]:
    repository = discover(dataset)
    return [run.name for run in leftovers.runs_without_entry(repository, runs(dataset))]


def test_an_open_run_is_noted_by_its_commit_or_by_an_entry_that_has_none(dataset: Path) -> None:
    crashed = Crashed(dataset)
    opened = crashed.opened()
    sealed(crashed.store, "noob-gren-v2s4")
    assert unnoted(dataset) == []
    # An older loragit noted no commit.
    crashed.noted(commit="")
    assert unnoted(dataset) == []
    # An entry of an earlier run of that name says nothing of this one.
    crashed.noted(commit="1" * 40)
    assert unnoted(dataset) == [NAME]
    crashed.noted(commit=opened.commit)
    journal.write(crashed.private, crashed.note._replace(run="noob-gren-v9s4", commit=""))
    assert unnoted(dataset) == []


# ---- what a power cut emptied ----


@pytest.mark.parametrize(
    ("log", "held"),
    [
        ("{zero} {one} A <a> 1 +0\tmade\n{one} {two} A <a> 1 +0\tmoved\n", "2" * 40),
        ("{one} {zero} A <a> 1 +0\tdeleted\n", ""),
        ("{zero} HEAD A <a> 1 +0\tno reflog\n", ""),
        (f"{{zero}} {'3' * 64} A <a> 1 +0\tof SHA-256\n", "3" * 64),
        ("one\n", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_what_an_emptied_ref_held_is_told_as_far_as_its_reflog_does(
    dataset: Path, repository: Repository, log: str | None, held: str
) -> None:
    ref = dataset / ".git" / "refs" / "tags" / NAME
    assert leftovers.emptied_ref(repository, f"refs/tags/{NAME}") is None
    ref.write_bytes(b"\0\0\n")
    path = dataset / ".git" / "logs" / "refs" / "tags" / NAME
    path.parent.mkdir(parents=True)
    if log is not None:
        path.write_text(log.format(zero="0" * 40, one="1" * 40, two="2" * 40))
    left = leftovers.emptied_ref(repository, f"refs/tags/{NAME}")
    assert left is not None
    assert left.problem == f"{ref} is empty, as a power cut may leave it"
    put = f" && git update-ref refs/tags/{NAME} {held}" if held else ""
    assert left.hint == f"rm {ref}{put}; then: loragit recover"
    ref.write_text("1" * 40 + "\n")
    assert leftovers.emptied_ref(repository, f"refs/tags/{NAME}") is None


# ---- what is named ----


def test_only_a_tag_that_stands_on_a_reverted_run_keeps_its_name(
    dataset: Path, store: Store
) -> None:
    run = reverted(store, NAME)
    sealed(store, "noob-gren-v2s4")
    repository = store.repository

    def stale() -> list[leftovers.Leftover]:
        return list(leftovers.stale_tags(repository, runs(dataset)))

    assert stale() == []
    git(dataset, "tag", NAME, "main")
    assert stale() == []
    git(dataset, "tag", "-f", NAME, run.commit)
    (left,) = stale()
    assert left.problem.startswith(f"the tag {NAME} stands")


def test_an_output_folder_of_this_dataset_that_no_run_has_made_is_named(
    dataset: Path, store: Store, tmp_path: Path
) -> None:
    outputs = tmp_path / "out"
    repository = store.repository

    def unrecorded() -> list[str]:
        found = leftovers.unrecorded_folders(repository, outputs, "gren", runs(dataset))
        return [left.problem.rpartition("/")[2] for left in found]

    assert unrecorded() == []
    sealed(store, NAME)
    entry = Crashed(dataset, "noob-gren-v2s4").noted().note
    names = ("gren-v9s4", "noob-gren-v3s4", "noob-rose-v1s4", "pregren-v1s4", "a b")
    for name in (NAME, entry.run, *names):
        (outputs / name).mkdir(parents=True)
        (outputs / name / "repos.git").touch()
    (outputs / "noob-gren-v4s4").mkdir()  # nothing of it is a run's
    (outputs / "noob-gren-v5s4").touch()
    assert unrecorded() == ["gren-v9s4", "noob-gren-v3s4"]


def test_a_half_written_entry_goes_with_the_process_that_wrote_it(
    dataset: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        "x.1.toml": True,
        f"x.1.toml.{GONE}.new": False,
        f"x.1.toml.{os.getpid()}.new": True,
        "mine.new": True,
    }
    for folder in ("open", "moves"):
        (repository.private / folder).mkdir(parents=True)
        for name in names:
            (repository.private / folder / name).touch()
    leftovers.remove_half_written_entries(repository)
    for folder in ("open", "moves"):
        left = {path.name for path in (repository.private / folder).iterdir()}
        assert left == {name for name, stays in names.items() if stays}
    # Another recovery may do the same.
    fresh = repository.private / "open" / f"y.1.toml.{GONE}.new"
    fresh.touch()

    def vanishes(pid: int) -> bool:
        fresh.unlink(missing_ok=True)
        return pid != GONE

    monkeypatch.setattr(alive, "exists", vanishes)
    leftovers.remove_half_written_entries(repository)
    assert not fresh.exists()
