"""The hooks that keep a record as it is: plain git against a repository that has them, and what
they must let be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from loragit.store.store import Store
from tests.support.made_up_runs import a_run, open_store, reverted, sealed, untagged
from tests.support.paths import ROOT
from tests.support.processes import git

pytestmark = pytest.mark.measures_children

HOOKS = ROOT / "hooks"
ONE, TWO, THREE = "noob-gren-v1s4", "noob-gren-v2s4", "noob-gren-v3s4"
GUARDED = "refs/heads/runs", "refs/tags", "refs/loragit"


def put(hooks: Path, name: str) -> Path:
    hooks.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(HOOKS / name, hooks / name))


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def store(dataset: Path) -> Store:
    """Two runs that ended, and the hook."""
    put(dataset / ".git" / "hooks", "reference-transaction")
    made = open_store(dataset)
    commit = head(dataset)
    sealed(made, ONE, dataset_commit=commit)
    sealed(made, TWO)
    return made


@pytest.fixture
def record(store: Store) -> Path:
    return store.repository.top


def state(folder: Path) -> str:
    return git(folder, "for-each-ref", "--format=%(refname) %(objectname)", *GUARDED)


def attempt(folder: Path, *args: str, reason: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LORAGIT_REASON": reason, "GIT_EDITOR": "true"}
    return subprocess.run(
        ["git", *args], cwd=folder, capture_output=True, text=True, env=environment
    )


def refused(folder: Path, *args: str) -> str:
    """What was said; nothing of the record has changed."""
    before = state(folder)
    done = attempt(folder, *args)
    assert done.returncode != 0, args
    assert state(folder) == before, args
    assert (
        'hint: where it must be, say why, which goes on record: LORAGIT_REASON="why" git'
        in done.stderr
    )
    return done.stderr


def passes(folder: Path, *args: str) -> str:
    done = attempt(folder, *args)
    assert done.returncode == 0, (args, done.stderr)
    return done.stdout.strip()


# --- the record in this repository ---


@pytest.mark.parametrize("packed", [False, True])
def test_runs_is_neither_rewound_nor_deleted_by_any_command(record: Path, packed: bool) -> None:
    if packed:
        git(record, "pack-refs", "--all")
    told = refused(record, "branch", "-f", "runs", "runs~1")
    assert f"runs only grows: it is at {git(record, 'rev-parse', 'runs')}" in told
    tip, first = git(record, "rev-parse", "runs"), git(record, "rev-parse", "runs~1")
    refused(record, "update-ref", "refs/heads/runs", "main")
    refused(record, "update-ref", "refs/heads/runs", first, tip)
    git(record, "branch", "before", "runs~1")
    refused(record, "fetch", "-q", ".", "+before:runs")
    refused(record, "push", "-q", ".", "+runs~1:runs")
    for words in (
        ("branch", "-D", "runs"),
        ("update-ref", "-d", "refs/heads/runs", tip),
        ("branch", "-m", "runs", "x"),
    ):
        assert "error: runs holds every run on record, and would be deleted" in refused(
            record, *words
        )


@pytest.mark.parametrize("packed", [False, True])
def test_a_branch_that_was_to_be_renamed_is_still_there_with_its_reflog(
    record: Path, packed: bool
) -> None:
    """git takes steps of a rename, and does not take them back where a hook refuses the next
    one."""
    git(record, "branch", "mine")
    for branch in ("mine", "main"):
        if packed:
            git(record, "pack-refs", "--all")
        before = git(record, "reflog", "show", branch)
        commit = git(record, "rev-parse", branch)
        refused(record, "branch", "-M", branch, "runs")
        assert git(record, "rev-parse", branch) == commit
        assert git(record, "reflog", "show", branch) == before
    assert git(record, "symbolic-ref", "HEAD") == "refs/heads/main"
    before = git(record, "reflog", "show", "runs")
    refused(record, "branch", "-m", "runs", "other")
    assert git(record, "reflog", "show", "runs") == before
    git(record, "branch", "-D", "mine")
    refused(record, "branch", "-D", "runs")
    assert git(record, "branch", "--list", "mine") == ""


def test_runs_that_is_checked_out_is_not_rewritten_either(record: Path) -> None:
    git(record, "checkout", "-q", "runs")
    refused(record, "commit", "-q", "--amend", "-m", "another")
    refused(record, "reset", "-q", "--hard", "HEAD~1")
    git(record, "reset", "-q", "--hard")
    refused(record, "-c", "user.name=Somebody", "rebase", "-q", "--force-rebase", "--root")
    git(record, "checkout", "-q", "-f", "main")


def test_a_history_that_is_rewritten_in_one_go_stops_at_the_record(record: Path) -> None:
    environment = {**os.environ, "FILTER_BRANCH_SQUELCH_WARNING": "1"}
    words = ["git", "filter-branch", "-f", "--msg-filter", "sed s/noob/ours/", "--", "runs"]
    before = state(record)
    done = subprocess.run(words, cwd=record, capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    assert state(record) == before


@pytest.mark.parametrize("packed", [False, True])
def test_the_tag_of_an_ended_run_is_neither_moved_nor_deleted(record: Path, packed: bool) -> None:
    if packed:
        git(record, "pack-refs", "--all")
    told = refused(record, "tag", "-d", ONE)
    assert f"error: {ONE} tells what came out of a run, and would be deleted" in told
    assert f'LORAGIT_REASON="why" git tag -d {ONE}' in told
    assert f"error: {ONE} tells what came out of a run, and would be moved" in refused(
        record, "tag", "-f", ONE, TWO
    )
    refused(record, "tag", "-f", "-a", "-m", "another", ONE, f"{ONE}^{{}}")
    refused(record, "update-ref", f"refs/tags/{ONE}", f"{ONE}^{{}}")
    refused(record, "fetch", "-q", ".", f"+refs/tags/{TWO}:refs/tags/{ONE}")
    refused(record, "update-ref", "-d", f"refs/loragit/keep/{ONE}")
    refused(record, "update-ref", f"refs/loragit/keep/{ONE}", "runs")


def test_one_of_ours_among_many_stops_all_of_them(record: Path) -> None:
    main = head(record)
    lines = [f"create refs/heads/b{number} {main}" for number in range(150)]
    for place in (3, 130):
        some = [*lines[:place], f"delete refs/tags/{ONE}", *lines[place:]]
        done = subprocess.run(
            ["git", "update-ref", "--stdin"],
            cwd=record,
            input="\n".join(some) + "\n",
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        assert f"{ONE} tells what came out of a run" in done.stderr
        assert git(record, "branch", "--list", "b*") == ""


def test_with_a_reason_it_is_done_and_the_reason_is_kept(record: Path) -> None:
    tag = git(record, "rev-parse", ONE)
    tip, first = git(record, "rev-parse", "runs", "runs~1").split()
    assert attempt(record, "tag", "-d", ONE, reason="a test\tof mine\nthat failed").returncode == 0
    assert attempt(record, "branch", "-f", "runs", "runs~1", reason="wrong machine").returncode == 0
    assert git(record, "tag", "--list") == TWO
    rows = (record / ".git/loragit/overrides.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\t", row) for row in rows)
    assert [row.split("\t")[1:] for row in rows] == [
        [f"refs/tags/{ONE}", tag, "0" * 40, "a test of mine that failed"],
        ["refs/heads/runs", tip, first, "wrong machine"],
    ]


def test_a_reason_that_cannot_be_kept_is_none(record: Path) -> None:
    (record / ".git/loragit/overrides.log").mkdir(parents=True)
    assert attempt(record, "tag", "-d", ONE, reason="why").returncode != 0
    assert ONE in git(record, "tag", "--list")


# --- what passes ---


def test_loragits_own_steps_need_no_exception(store: Store) -> None:
    top = store.repository.top
    opened = store.open(a_run(name=THREE, dataset_commit=head(top)))
    store.note(opened.commit, ("2026-11-24T08:00:00Z good",))
    store.note(opened.commit, ("2026-11-24T09:00:00Z bad",))
    store.revert(opened, 1, "It made nothing.", ())
    reverted(store, "noob-gren-v4s4", "a line")
    untagged(store, "noob-gren-v5s4")
    sealed(store, THREE)
    assert git(top, "rev-list", "--count", "runs") == "8"
    assert git(top, "tag", "--list") == f"{ONE}\n{TWO}\n{THREE}"
    assert not (top / ".git/loragit/overrides.log").exists()


def test_what_is_the_users_own_stays_so(record: Path) -> None:
    (record / "b.txt").touch()
    passes(record, "add", "b.txt")
    passes(record, "commit", "-q", "-m", "second")
    passes(record, "commit", "-q", "--amend", "-m", "other")
    passes(record, "reset", "-q", "--hard", "HEAD~1")
    passes(record, "branch", "x", "HEAD")
    passes(record, "branch", "-M", "x", "y")
    passes(record, "branch", "-D", "y")
    for words in (
        ("v1",),
        ("-a", "-m", "Run: x\nSamples: many", "v2"),
        ("-a", "-m", "x", "noob-gren-v9s4"),
    ):
        passes(record, "tag", *words)
    for name in ("v1", "noob-gren-v9s4"):
        passes(record, "tag", "-f", name, "runs")
        passes(record, "tag", "-d", name)
    passes(record, "notes", "add", "-m", "x", "runs")
    passes(record, "update-ref", "-d", "refs/notes/commits")
    passes(record, "worktree", "add", "-q", "../other", "-b", "other")
    passes(record / "../other", "commit", "-q", "--allow-empty", "-m", "there")
    passes(record, "worktree", "remove", "../other")
    (record / "a.txt").write_text("changed\n")
    passes(record, "stash")
    passes(record, "stash", "pop")


def test_runs_may_grow_and_an_open_runs_tag_may_go(store: Store) -> None:
    top = store.repository.top
    store.open(a_run(name=THREE))
    passes(top, "tag", "-d", THREE)
    tree = git(top, "rev-parse", "runs^{tree}")
    other = git(top, "commit-tree", tree, "-p", "runs~1", "-m", "elsewhere")
    merge = git(top, "commit-tree", tree, "-p", "runs", "-p", other, "-m", "merge")
    passes(top, "fetch", "-q", ".", f"{merge}:refs/heads/runs")
    passes(top, "branch", "-f", "runs", "runs")


@pytest.mark.parametrize("linked", [False, True])
def test_refs_are_packed_and_objects_collected_as_ever(store: Store, linked: bool) -> None:
    top = store.repository.top
    where = top
    if linked:
        git(top, "worktree", "add", "-q", "../linked")
        where = top.parent / "linked"
    assert passes(where, "pack-refs", "--all") == ""
    assert not (top / ".git/refs/tags" / ONE).exists()
    sealed(store, THREE)
    assert passes(where, "pack-refs", "--all") == ""
    assert not (top / ".git/refs/heads/runs").exists()
    sealed(store, "noob-gren-v4s4")
    passes(where, "gc", "-q", "--prune=now")
    assert len(state(top).splitlines()) == 6
    passes(where, "reflog", "expire", "--expire=all", "--all")
    refused(where, "branch", "-D", "runs")
    git(top, "fsck", "--strict")


def test_a_clone_without_loragit_on_path_can_be_made_fetched_into_and_pushed(
    store: Store, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a folder of hooks for every repository, the hook is called from the very first ref of a
    clone on."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    git(store.repository.top, "config", "--global", "core.hooksPath", str(home / "hooks"))
    put(home / "hooks", "reference-transaction")
    origin = store.repository.top
    git(tmp_path, "clone", "-q", str(origin), "copy")
    copy = tmp_path / "copy"
    assert len(state(copy).splitlines()) == 2
    passes(copy, "fetch", "-q", "origin", "runs:runs")
    sealed(store, THREE)
    git(origin, "commit", "-q", "--allow-empty", "-m", "more")
    passes(copy, "fetch", "-q", "--tags", "origin", "runs:runs")
    passes(copy, "pull", "-q")
    refused(copy, "tag", "-d", THREE)
    passes(origin, "push", "-q", str(copy), "main:theirs")
    # In somebody else's repository a branch of that name is theirs.
    git(tmp_path, "init", "-q", "other")
    passes(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "x")
    passes(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "y")
    passes(tmp_path / "other", "branch", "runs")
    passes(tmp_path / "other", "branch", "-f", "runs", "HEAD~1")
    passes(tmp_path / "other", "branch", "-D", "runs")


def test_a_kept_hook_sees_everything_first_and_may_refuse(record: Path) -> None:
    chained = record / ".git/hooks/reference-transaction.chained"
    chained.write_text(
        '#!/bin/sh\necho "$1" >>seen.log\ncat >>seen.log\n! grep -q forbidden seen.log\n'
    )
    chained.chmod(0o755)
    passes(record, "branch", "fine")
    main = head(record)
    line = f"{'0' * 40} {main} refs/heads/fine"
    assert (record / "seen.log").read_text().splitlines() == ["prepared", line, "committed", line]
    assert attempt(record, "branch", "forbidden").returncode != 0
    (record / "seen.log").unlink()
    refused(record, "tag", "-d", ONE)


def test_the_shell_itself_does_all_where_no_ref_is_ours(record: Path, tmp_path: Path) -> None:
    """No program is started: there is none on PATH."""
    hook = record / ".git/hooks/reference-transaction"
    zeros, main = "0" * 40, head(record)
    rows = "".join(
        f"{zeros} {main} refs/{kind}/{kind}\n"
        for kind in ("heads", "remotes/origin", "stash", "bisect")
    )
    for state_ in ("preparing", "prepared", "committed", "aborted"):
        done = subprocess.run(
            ["/bin/sh", hook, state_],
            input=rows,
            text=True,
            capture_output=True,
            env={"PATH": str(tmp_path)},
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["reference-transaction", "update"])
@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_the_hooks_are_plain_sh(shell: str, name: str) -> None:
    words = (
        [shell, "sh"] if shell == "busybox" else [shell, "--posix"] if shell == "bash" else [shell]
    )
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    assert subprocess.run([*words, "-n", HOOKS / name], capture_output=True).stderr == b""


# --- a repository that several push to ---


@pytest.fixture
def mine(dataset: Path) -> Store:
    made = open_store(dataset)
    sealed(made, ONE)
    reverted(made, TWO, "a line")
    return made


@pytest.fixture
def shared(mine: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare repository with the hook and what is in ``mine``; on that machine there is no
    loragit."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    git(tmp_path, "init", "-q", "--bare", "shared.git")
    bare = tmp_path / "shared.git"
    put(bare / "hooks", "update")
    git(mine.repository.top, "remote", "add", "origin", str(bare))
    passes(mine.repository.top, "push", "-q", "origin", "main", "runs", ONE)
    return bare


def everything(folder: Path) -> str:
    return git(folder, "for-each-ref", "--format=%(refname) %(objectname)")


def rejected(mine: Store, shared: Path, *args: str) -> str:
    before = everything(shared)
    done = attempt(mine.repository.top, "push", "origin", *args)
    assert done.returncode != 0, args
    assert everything(shared) == before
    told = [
        line.removeprefix("remote: ").rstrip()
        for line in done.stderr.splitlines()
        if line.startswith("remote: ")
    ]
    assert [line.partition(":")[0] for line in told] == ["error", "hint", "error"], done.stderr
    return told[0].removeprefix("error: ")


def test_runs_sealed_later_are_pushed_as_ever(mine: Store, shared: Path) -> None:
    top = mine.repository.top
    sealed(mine, THREE)
    reverted(mine, TWO)
    mine.note(git(top, "rev-parse", "runs"), ("2026-11-24T08:00:00Z good",))
    passes(top, "push", "-q", "origin", "runs", "--tags")
    passes(top, "push", "-q", "origin", "refs/notes/commits", "refs/loragit/keep/*")
    assert git(shared, "rev-parse", "runs") == git(top, "rev-parse", "runs")
    assert git(shared, "tag", "--list") == f"{ONE}\n{THREE}"


def test_runs_of_two_machines_meet_in_a_merge(mine: Store, shared: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(shared), "theirs")
    theirs = open_store(tmp_path / "theirs")
    git(tmp_path / "theirs", "branch", "runs", "origin/runs")
    sealed(theirs, THREE)
    passes(tmp_path / "theirs", "push", "-q", "origin", "runs", THREE)
    sealed(mine, "noob-gren-v4s4")
    top = mine.repository.top
    assert "runs only grows, and this would take commits back" in rejected(mine, shared, "+runs")
    git(top, "fetch", "-q")
    tree = git(top, "rev-parse", "runs^{tree}")
    merge = git(
        top, "commit-tree", tree, "-p", "runs", "-p", "origin/runs", "-m", "Merge origin/runs"
    )
    git(top, "update-ref", "refs/heads/runs", merge)
    passes(top, "push", "-q", "origin", "runs", "--tags")


def test_nothing_of_the_record_is_taken_back_by_a_push(mine: Store, shared: Path) -> None:
    top = mine.repository.top
    assert (
        rejected(mine, shared, "+runs~1:runs")
        == "runs only grows, and this would take commits back"
    )
    assert rejected(mine, shared, ":runs") == "runs cannot be deleted"
    told = f"the tag {ONE} tells what came out of a run, and cannot be moved or deleted"
    assert rejected(mine, shared, f":refs/tags/{ONE}") == told
    git(top, "tag", "-f", "-a", "-m", "another", ONE, f"{ONE}^{{}}")
    assert rejected(mine, shared, f"+refs/tags/{ONE}") == told
    git(top, "update-ref", f"refs/loragit/keep/{ONE}", "main")
    passes(top, "push", "-q", "origin", "refs/loragit/keep/*")
    assert "keeps the dataset of a run" in rejected(mine, shared, f":refs/loragit/keep/{ONE}")
    mine.note(git(top, "rev-parse", "runs"), ("2026-11-24T08:00:00Z good",))
    passes(top, "push", "-q", "origin", "refs/notes/commits")
    git(top, "update-ref", "-d", "refs/notes/commits")
    mine.note(git(top, "rev-parse", "runs"), ("2026-11-24T09:00:00Z bad",))
    assert "notes on runs only grows" in rejected(mine, shared, "+refs/notes/commits")
    assert rejected(mine, shared, ":refs/notes/commits") == "notes on runs cannot be deleted"


def test_runs_takes_nothing_but_runs_reverts_and_merges(
    mine: Store, shared: Path, tmp_path: Path
) -> None:
    top = mine.repository.top
    tree = git(top, "rev-parse", "main^{tree}")
    made = git(top, "commit-tree", tree, "-p", "runs", "-m", "by hand")
    told = f"{made} is no run, no revert and no merge: it does not belong on runs"
    assert rejected(mine, shared, f"{made}:refs/heads/runs") == told
    merge = git(top, "commit-tree", tree, "-p", "runs", "-p", "main", "-m", "merge")
    assert f"{git(top, 'rev-parse', 'main')} is no run" in rejected(
        mine, shared, f"{merge}:refs/heads/runs"
    )
    git(tmp_path, "init", "-q", "--bare", "new.git")
    put(tmp_path / "new.git/hooks", "update")
    git(top, "remote", "set-url", "origin", str(tmp_path / "new.git"))
    assert "is no run" in rejected(mine, tmp_path / "new.git", "main:refs/heads/runs")
    passes(top, "push", "-q", "origin", "runs")


def test_the_tag_of_a_run_under_way_is_not_taken(mine: Store, shared: Path) -> None:
    top = mine.repository.top
    mine.open(a_run(name=THREE))
    assert (
        rejected(mine, shared, THREE)
        == f"the run {THREE} is under way: its tag changes when it ends"
    )
    passes(top, "push", "-q", "origin", "runs")
    passes(top, "push", "-q", "origin", f"{THREE}:refs/tags/mine")
    passes(top, "push", "-q", "origin", ":refs/tags/mine")


def test_other_branches_and_tags_of_a_shared_repository_are_free(mine: Store, shared: Path) -> None:
    top = mine.repository.top
    git(top, "commit", "-q", "--amend", "--allow-empty", "-m", "other")
    git(top, "tag", "-a", "-m", "x", "v1")
    passes(top, "push", "-q", "origin", "+main", "main:x", "v1")
    git(top, "tag", "-f", "v1", "runs")
    passes(top, "push", "-q", "origin", "+v1", ":x")
    passes(top, "push", "-q", "origin", ":refs/tags/v1")


def test_a_kept_update_hook_runs_first_and_may_refuse(mine: Store, shared: Path) -> None:
    chained = shared / "hooks/update.chained"
    chained.write_text("#!/bin/sh\necho $1 >&2\n[ $1 != refs/heads/x ]\n")
    chained.chmod(0o755)
    assert attempt(mine.repository.top, "push", "-q", "origin", "main:x").returncode != 0
    passes(mine.repository.top, "push", "-q", "origin", "main:y")
    assert attempt(mine.repository.top, "push", "-q", "origin", ":runs").returncode != 0


def test_both_hooks_may_be_in_one_repository(mine: Store, shared: Path) -> None:
    put(shared / "hooks", "reference-transaction")
    sealed(mine, THREE)
    passes(mine.repository.top, "push", "-q", "origin", "runs", "--tags")
    rejected(mine, shared, ":runs")
    refused(shared, "update-ref", "-d", f"refs/tags/{ONE}")
    passes(shared, "gc", "-q")


@pytest.mark.parametrize("phase", ["preparing", "committed", "aborted", ""])
def test_only_the_phase_that_holds_all_locks_is_judged(record: Path, phase: str) -> None:
    line = f"{git(record, 'rev-parse', 'runs')} {'0' * 40} refs/heads/runs\n"
    hook = record / ".git/hooks/reference-transaction"
    environ = {**os.environ, "GIT_DIR": ".git"}

    def ask(phase: str) -> int:
        return subprocess.run(
            [hook, phase], cwd=record, input=line, text=True, env=environ
        ).returncode

    assert (ask("prepared"), ask(phase)) == (1, 0)
