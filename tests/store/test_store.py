"""The runs branch, with git as the witness."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from loragit import crash_points
from loragit import git as ours_git
from loragit.crash_points import CrashPoint
from loragit.git import command as ours
from loragit.git import refs, repository, trees
from loragit.git.objects import CannotReadObjects, CannotWriteObjects, Objects
from loragit.record.name import RunName
from loragit.record.values import Entry, Imported, Outcome, Run
from loragit.store import ref_moves
from loragit.store.free_name import name_state
from loragit.store.store import RunExists, RunsUnusable, SealFailed
from tests.support import made_up_runs
from tests.support.made_up_runs import open_store
from tests.support.processes import commit_all, git
from tests.support.user_home import parsed_trailers


def a_run(name: str = made_up_runs.NAME, prefix: str = "", caption: bytes = b"zqx") -> Run:
    entries = (
        Entry("config.toml", b"a = 1\r\n"),
        Entry("train.sh", b"#!/bin/sh\n", executable=True),
        Entry("captions/img/00.txt", caption),
    )
    return made_up_runs.a_run(name=name, prefix=prefix, entries=entries)


AN_OUTCOME = Outcome(0, made_up_runs.MOMENT, made_up_runs.MOMENT, "~/out", samples=1)


def check(folder: Path) -> None:
    git(folder, "fsck", "--strict", "--full")
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_an_open_run_is_one_commit_and_one_tag_on_an_orphan_branch(dataset: Path) -> None:
    opened = open_store(dataset).open(a_run())
    assert git(dataset, "rev-list", "runs") == opened.commit
    assert git(dataset, "rev-parse", "noob-gren-v1s4") == opened.commit
    assert git(dataset, "log", "-1", "--format=%s|%an|%ae", "runs") == (
        "noob-gren-v1s4: noob on gren, version 1, 4 steps|Ada Trainer|ada@example.org"
    )
    check(dataset)


def test_the_bytes_of_the_record_are_exact_and_modes_are_kept(dataset: Path) -> None:
    git(dataset, "config", "core.autocrlf", "true")
    open_store(dataset).open(a_run())
    rows = git(dataset, "ls-tree", "-r", "runs").splitlines()
    assert {row.split("\t")[1]: row[:6] for row in rows} == {
        ".gitattributes": "100644",
        "captions/img/00.txt": "100644",
        "config.toml": "100644",
        "run.toml": "100644",
        "train.sh": "100755",
    }
    assert git(dataset, "cat-file", "-s", "runs:config.toml") == str(len(b"a = 1\r\n"))


HOSTILE_ATTRIBUTES = (
    "* text=auto eol=crlf ident filter=shout export-subst\n"
    "*.toml working-tree-encoding=UTF-16 crlf\n"
    "captions export-ignore\n"
    "*.sh text eol=crlf\n"
)
"""What a user's own attributes may say; in the dataset they come with the same strength."""


@pytest.mark.parametrize("prefix", ["", "sets/gren"])
def test_a_work_tree_and_an_archive_of_a_record_hold_the_recorded_bytes(
    dataset: Path, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "attributes").write_text(HOSTILE_ATTRIBUTES)
    for key, value in (
        ("core.attributesFile", str(tmp_path / "attributes")),
        ("core.autocrlf", "true"),
        ("core.eol", "crlf"),
        ("filter.shout.clean", "tr A-Z a-z"),
        ("filter.shout.smudge", "tr a-z A-Z"),
    ):
        git(dataset, "config", key, value)
    (dataset / ".gitattributes").write_text(HOSTILE_ATTRIBUTES)
    commit_all(dataset, "attributes")
    given = {
        "config.toml": b"a = 1\n# $Format:%H$ $Id$ caf\xc3\xa9\n",
        "train.sh": b"#!/bin/sh\r\necho $Id$\n",
        "captions/img/00.txt": b"zqx\nred\r\n\xff",
    }
    entries = tuple(Entry(path, data) for path, data in given.items())
    run = made_up_runs.a_run(prefix=prefix, entries=entries)
    open_store(dataset).open(run)
    again, packed, unpacked = (tmp_path / name for name in ("again", "packed.tar", "unpacked"))
    git(dataset, "worktree", "add", "--detach", str(again), run.name.text)
    git(dataset, "archive", "--output", str(packed), run.name.text)
    shutil.unpack_archive(packed, unpacked)
    for top in (again, unpacked):
        found = {path: (top / prefix / path).read_bytes() for path in given}
        assert found == given, top
    assert git(again, "status", "--porcelain") == ""
    (again / prefix / "config.toml").write_bytes(b"a = 2\n")
    assert "-a = 1" in git(again, "diff").replace("\0", "")


def test_no_path_of_a_run_becomes_attributes_of_its_record(dataset: Path) -> None:
    run = made_up_runs.a_run(entries=(Entry("captions/img/.gitattributes", b"* text eol=crlf"),))
    with pytest.raises(trees.CannotRecord, match=r"captions/img/\.gitattributes would be read"):
        open_store(dataset).open(run)
    assert git(dataset, "for-each-ref", "refs/heads/runs", "refs/tags") == ""


def test_the_same_inputs_give_the_same_tree(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    for folder in (dataset, other):
        open_store(folder).open(a_run())
    assert git(dataset, "rev-parse", "runs^{tree}") == git(other, "rev-parse", "runs^{tree}")


def test_a_sealed_tag_is_annotated_and_carries_the_outcome(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run())
    kept.seal(
        opened, AN_OUTCOME._replace(exit_status=130, interrupted_by="SIGINT", final_loss=0.25)
    )
    assert git(dataset, "cat-file", "-t", "noob-gren-v1s4") == "tag"
    assert git(dataset, "rev-parse", "noob-gren-v1s4^{commit}") == opened.commit
    message = git(dataset, "for-each-ref", "--format=%(contents)", "refs/tags/noob-gren-v1s4")
    assert parsed_trailers(dataset, message) == {
        "Run": "noob-gren-v1s4",
        "Exit-Status": "130",
        "Started": "2026-11-23T17:20:30Z",
        "Finished": "2026-11-23T17:20:30Z",
        "Duration": "0",
        "Interrupted-By": "SIGINT",
        "Samples": "1",
        "Final-Loss": "0.25",
        "Output": "~/out",
    }
    check(dataset)


def test_a_revert_says_why_and_frees_the_name(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run())
    kept.revert(
        opened,
        1,
        "The trainer ended with exit status 1 and made nothing.",
        ("Traceback", "Error: \x1b[31m"),
    )
    message = git(dataset, "log", "-1", "--format=%B", "runs")
    assert message.startswith(
        'Revert "noob-gren-v1s4: noob on gren, version 1, 4 steps"\n\n'
        f"This reverts commit {opened.commit}.\n\n"
        "The trainer ended with exit status 1 and made nothing.\n"
    )
    assert "    Error: \\x1b[31m" in message
    assert parsed_trailers(dataset, message)["Reverts"] == opened.commit
    assert git(dataset, "tag", "--list") == ""
    assert git(dataset, "rev-parse", "runs^{tree}") == git(
        dataset, "hash-object", "-t", "tree", "/dev/null"
    )
    check(dataset)
    assert kept.open(a_run()).commit == git(dataset, "rev-parse", "noob-gren-v1s4")


def test_a_revert_brings_back_the_tree_of_the_newest_standing_run(dataset: Path) -> None:
    kept = open_store(dataset)
    standing = kept.open(a_run("noob-gren-v1s4", caption=b"one"))
    kept.seal(standing, AN_OUTCOME)
    deleted = kept.open(a_run("noob-gren-v2s4", caption=b"two"))
    kept.delete_tag(deleted)
    failed = kept.open(a_run("noob-gren-v3s4", caption=b"three"))
    kept.revert(failed, 1, "why", ())
    assert git(dataset, "rev-parse", "runs^{tree}") == git(
        dataset, "rev-parse", f"{standing.commit}^{{tree}}"
    )
    assert git(dataset, "rev-list", "--count", "runs") == "4"


def test_deleting_only_the_tag_leaves_the_commit(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run()._replace(dataset_commit=git(dataset, "rev-parse", "HEAD")))
    kept.delete_tag(opened)
    assert git(dataset, "for-each-ref", "--format=%(refname)") == "refs/heads/main\nrefs/heads/runs"
    assert git(dataset, "rev-parse", "runs") == opened.commit


def test_the_datasets_commit_is_kept_from_gc_as_long_as_the_run_stands(dataset: Path) -> None:
    kept = open_store(dataset)
    (dataset / "b.txt").write_text("b")
    lost = commit_all(dataset, "to be rebased away")
    opened = kept.open(a_run()._replace(dataset_commit=lost))
    kept.seal(opened, AN_OUTCOME)
    git(dataset, "reset", "-q", "--hard", "HEAD~1")
    git(dataset, "reflog", "expire", "--expire=now", "--all")
    git(dataset, "gc", "-q", "--prune=now")
    assert git(dataset, "cat-file", "-t", lost) == "commit"
    assert git(dataset, "rev-parse", "refs/loragit/keep/noob-gren-v1s4") == lost


def test_datasets_of_one_repository_keep_their_places(dataset: Path) -> None:
    kept = open_store(dataset)
    kept.open(a_run("noob-gren-v1s4", prefix="sets/gren"))
    other = kept.open(a_run("noob-rose-v1s4", prefix="rose"))
    names = git(dataset, "ls-tree", "-r", "--name-only", "runs").splitlines()
    assert names == [
        f"{folder}/{name}"
        for folder in ("rose", "sets/gren")
        for name in (
            ".gitattributes",
            "captions/img/00.txt",
            "config.toml",
            "run.toml",
            "train.sh",
        )
    ]
    kept.revert(other, 1, "why", ())
    assert git(dataset, "ls-tree", "--name-only", "runs") == "sets"
    assert git(dataset, "log", "--format=%s", "runs", "--", "sets/gren/") == (
        "noob-gren-v1s4: noob on gren, version 1, 4 steps"
    )
    git(dataset, "fsck", "--strict")


def test_a_taken_name_is_refused_with_the_next_step(dataset: Path) -> None:
    kept = open_store(dataset)
    kept.open(a_run())
    with pytest.raises(RunExists, match="run noob-gren-v1s4 already exists") as caught:
        kept.open(a_run())
    assert (
        caught.value.hint == "see it with: loragit show noob-gren-v1s4; take the next with --bump"
    )
    assert git(dataset, "rev-list", "--count", "runs") == "1"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("tag", "noob-gren-v1s4"), "there is a tag noob-gren-v1s4 already"),
        (("branch", "noob-gren-v1s4"), "there is a branch called noob-gren-v1s4"),
        (
            ("tag", "noob-gren-v1s4/x"),
            "git cannot have noob-gren-v1s4 beside refs/tags/noob-gren-v1s4/x",
        ),
    ],
)
def test_names_that_git_would_confuse_are_taken(
    dataset: Path, command: tuple[str, ...], told: str
) -> None:
    git(dataset, *command)
    place = name_state(repository.discover(dataset), RunName.parse("noob-gren-v1s4"))
    assert place.taken is not None
    assert told in place.taken


def test_a_branch_runs_that_is_checked_out_is_not_written(dataset: Path, tmp_path: Path) -> None:
    kept = open_store(dataset)
    kept.open(a_run())
    git(dataset, "worktree", "add", "-q", str(tmp_path / "tree"), "runs")
    with pytest.raises(RunsUnusable, match="checked out in") as caught:
        kept.open(a_run("noob-gren-v2s4"))
    assert "check out another branch" in str(caught.value.hint)


def test_a_branch_runs_of_somebody_elses_is_not_written(dataset: Path) -> None:
    git(dataset, "branch", "runs")
    before = git(dataset, "rev-parse", "runs")
    with pytest.raises(RunsUnusable, match="loragit did not make") as caught:
        open_store(dataset).open(a_run())
    assert caught.value.hint == "rename it: git branch -m runs my-runs"
    assert git(dataset, "rev-parse", "runs") == before


def test_a_tag_that_was_moved_meanwhile_is_not_overwritten(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run())
    git(dataset, "tag", "-f", "noob-gren-v1s4", "main")
    with pytest.raises(SealFailed, match="was moved while it ran"):
        kept.seal(opened, AN_OUTCOME)
    assert git(dataset, "rev-parse", "noob-gren-v1s4") == git(dataset, "rev-parse", "main")


def test_packed_refs_are_read_and_moved(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run())
    git(dataset, "pack-refs", "--all")
    kept.seal(opened, AN_OUTCOME)
    git(dataset, "pack-refs", "--all")
    second = kept.open(a_run("noob-gren-v2s4"))
    kept.revert(second, 1, "why", ())
    assert git(dataset, "tag", "--list") == "noob-gren-v1s4"
    check(dataset)


def with_git_that(
    monkeypatch: pytest.MonkeyPatch, folder: Path, does: str, after: str = "", **environ: str
) -> None:
    """Put a git first on PATH that, around an update of refs by loragit, runs two lines of sh;
    ``real`` is git."""
    wrapper = folder / "bin" / "git"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(
        f'#!/bin/sh\nreal() {{ {shutil.which("git")} "$@"; }}\n'
        f'case " $* " in *" update-ref -m "*) {does}\nreal "$@"; status=$?\n{after}\nexit '
        '$status;; esac\nreal "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def test_a_race_that_plain_git_wins_is_tried_again_on_the_new_tip(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_store(dataset)
    kept.open(a_run())
    tree = git(dataset, "rev-parse", "runs^{tree}")
    # Between the reading of runs and its update somebody else moves it.
    once = 'if [ ! -e "$RACED" ]; then : >"$RACED"; real update-ref refs/heads/runs "$THEIRS"; fi'
    theirs = git(dataset, "commit-tree", "-p", "runs", "-m", "theirs\n\nLoragit-Format: 1", tree)
    with_git_that(monkeypatch, tmp_path, once, RACED=str(tmp_path / "raced"), THEIRS=theirs)
    opened = kept.open(a_run("noob-gren-v2s4"))
    assert (tmp_path / "raced").exists()
    assert git(dataset, "rev-list", "--first-parent", "-2", "runs").split() == [
        opened.commit,
        theirs,
    ]


def test_a_repository_that_cannot_be_written_is_said_at_once(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run())
    objects = dataset / ".git" / "objects"
    objects.rename(dataset / ".git" / "elsewhere")
    objects.write_text("no folder")
    try:
        with pytest.raises(CannotWriteObjects, match="the record cannot be written") as caught:
            kept.seal(opened, AN_OUTCOME)
    finally:
        objects.unlink()
        (dataset / ".git" / "elsewhere").rename(objects)
    assert "see that there is room" in str(caught.value.hint)
    kept.seal(opened, AN_OUTCOME)
    check(dataset)


def test_git_that_is_ended_after_its_work_has_done_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Ctrl-C does, which a terminal sends to every process.
    with_git_that(monkeypatch, tmp_path, ":", after="kill -TERM $$")
    kept = open_store(dataset)
    sealed = kept.open(a_run())
    kept.seal(sealed, AN_OUTCOME)
    reverted = kept.open(a_run("noob-gren-v2s4"))
    kept.revert(reverted, 1, "why", ())
    assert git(dataset, "rev-list", "--count", "runs") == "3"
    assert git(dataset, "tag", "--list") == "noob-gren-v1s4"
    check(dataset)


NEWER_WORDS = (
    f"""real() {{ {shutil.which("git")} "$@" 2>"$SAID"; set -- $?; """
    """sed "s/ref updates aborted by hook/in 'prepared' phase, update aborted by the reference-transaction hook/" """  # noqa: E501
    """"$SAID" >&2; return $1; }"""
)
"""git 2.55's, of whatever git there is."""


def put_hook(dataset: Path, script: str) -> None:
    hook = dataset / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


@pytest.mark.parametrize("words", ["its own", "newer"])
def test_what_a_hook_refuses_is_tried_once_more_to_see_who_refused(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    if words == "newer":
        with_git_that(monkeypatch, tmp_path, NEWER_WORDS, SAID=str(tmp_path / "said"))
    put_hook(
        dataset, 'echo "$1" >>.git/asked\necho "is at 1 but expected 2" >&2\n[ "$1" != prepared ]'
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    expected = "aborted by the reference-transaction hook" if words == "newer" else "aborted by"
    with pytest.raises(ours.GitFailed, match=expected) as caught:
        open_store(dataset).open(a_run())
    assert caught.value.hint == "see what the repository's hook reference-transaction asks for"
    assert (dataset / ".git" / "asked").read_text().split().count("prepared") == 2
    assert list(tmp_path.glob("loragit-*")) == []
    assert git(dataset, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_race_that_is_lost_twice_beside_a_hook_is_tried_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_store(dataset)
    kept.open(a_run())
    theirs = [git(dataset, "rev-parse", "runs")]
    for number in (1, 2):
        message = f"theirs {number}\n\nLoragit-Format: 1"
        theirs.append(git(dataset, "commit-tree", "-p", theirs[-1], "-m", message, "runs^{tree}"))
    twice = (
        'case $(cat "$RACED") in "") real update-ref refs/heads/runs "$ONE";; '
        'x) real update-ref refs/heads/runs "$TWO";; esac; printf x >>"$RACED"'
    )
    (tmp_path / "raced").touch()
    with_git_that(
        monkeypatch, tmp_path, twice, RACED=str(tmp_path / "raced"), ONE=theirs[1], TWO=theirs[2]
    )
    put_hook(dataset, '[ "$1" = prepared ]')
    opened = kept.open(a_run("noob-gren-v2s4"))
    assert (tmp_path / "raced").read_text() == "xxx"
    assert git(dataset, "rev-list", "--first-parent", "-3", "runs").split() == [
        opened.commit,
        *theirs[:0:-1],
    ]


def test_where_no_account_can_be_written_nothing_is_blamed_on_a_hook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with refs.watch_hooks(wanted=True) as watch:
        assert watch.variables == ()
        assert watch.refusing_hook() is None
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with refs.watch_hooks(wanted=True) as watch:
        for account in tmp_path.iterdir():
            account.unlink()
        assert watch.refusing_hook() is None


def test_a_branch_below_runs_is_told_before_anything_is_written(dataset: Path) -> None:
    git(dataset, "branch", "runs/mine")
    with pytest.raises(RunsUnusable, match="beside refs/heads/runs/mine") as caught:
        open_store(dataset).open(a_run())
    assert caught.value.hint == "rename it: git branch -m runs/mine OTHER-NAME"


def test_a_clone_goes_on_from_the_history_of_its_origin(dataset: Path, tmp_path: Path) -> None:
    kept = open_store(dataset)
    first = kept.open(a_run())
    kept.seal(first, AN_OUTCOME)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(dataset), str(clone))
    second = open_store(clone).open(a_run("noob-gren-v2s4"))
    assert git(clone, "rev-list", "runs").split() == [second.commit, first.commit]


def test_the_record_of_a_dataset_below_another_is_carried_forward(dataset: Path) -> None:
    kept = open_store(dataset)
    for name, prefix in (
        ("noob-a-v1s4", "a"),
        ("noob-b-v1s4", "a/b"),
        ("noob-c-v1s4", ""),
        ("noob-a-v2s4", "a"),
    ):
        kept.open(a_run(name, prefix=prefix))
    held = git(dataset, "ls-tree", "-r", "--name-only", "runs").splitlines()
    assert [name for name in held if name.endswith("run.toml")] == [
        "a/b/run.toml",
        "a/run.toml",
        "run.toml",
    ]
    kept.revert(kept.open(a_run("noob-a-v3s4", prefix="a")), 1, "why", ())
    assert git(dataset, "ls-tree", "-r", "--name-only", "runs").splitlines() == held


def test_a_run_whose_tag_the_user_deleted_is_not_undone_again(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run())
    git(dataset, "tag", "-d", "noob-gren-v1s4")
    with pytest.raises(SealFailed, match="was deleted while it ran") as caught:
        kept.revert(opened, 1, "why", ())
    assert caught.value.hint == f"restore it: git tag noob-gren-v1s4 {opened.commit[:12]}"
    assert git(dataset, "rev-parse", "runs") == opened.commit
    check(dataset)


def test_a_revert_brings_a_deleted_branch_back_as_it_was(dataset: Path) -> None:
    kept = open_store(dataset)
    kept.seal(kept.open(a_run()), AN_OUTCOME)
    opened = kept.open(a_run("noob-gren-v2s4"))
    git(dataset, "branch", "-D", "runs")
    commit = kept.revert(opened, 1, "why", ())
    assert git(dataset, "rev-list", "--count", "runs") == "3"
    assert git(dataset, "rev-parse", "runs", "runs^").split() == [commit, opened.commit]
    check(dataset)


def test_a_revert_writes_on_no_branch_that_is_not_loragits_any_more(
    dataset: Path, tmp_path: Path
) -> None:
    kept = open_store(dataset)
    kept.seal(kept.open(a_run()), AN_OUTCOME)
    opened = kept.open(a_run("noob-gren-v2s4"))
    git(dataset, "branch", "-f", "runs", "main")
    with pytest.raises(RunsUnusable, match="loragit did not make"):
        kept.revert(opened, 1, "why", ())
    git(dataset, "branch", "-f", "runs", f"{opened.commit}^")
    with pytest.raises(SealFailed, match="does not lead to the run's commit") as caught:
        kept.revert(opened, 1, "why", ())
    assert caught.value.hint == "see what became of runs: git reflog show runs"
    git(dataset, "branch", "-f", "runs", opened.commit)
    git(dataset, "worktree", "add", "-q", str(tmp_path / "tree"), "runs")
    with pytest.raises(RunsUnusable, match="checked out in") as blocked:
        kept.revert(opened, 1, "why", ())
    assert "check out another branch" in str(blocked.value.hint)
    assert git(tmp_path / "tree", "status", "--porcelain") == ""
    git(tmp_path / "tree", "switch", "-q", "--detach")
    kept.revert(opened, 1, "why", ())
    check(dataset)


def test_an_object_that_is_missing_is_told_and_nothing_moves(dataset: Path) -> None:
    kept = open_store(dataset)
    kept.seal(kept.open(a_run()), AN_OUTCOME)
    failed = kept.open(a_run("noob-gren-v2s4", caption=b"two"))
    tree = git(dataset, "rev-parse", "runs^{tree}")
    (dataset / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(CannotReadObjects, match="lacks the object"):
        open_store(dataset).open(a_run("noob-gren-v3s4", prefix="other"))
    with pytest.raises(CannotReadObjects, match="lacks the object") as caught:
        trees.subtree(Objects(dataset / ".git"), "0" * 40, "")
    assert str(caught.value.hint).startswith("git fsck")
    assert git(dataset, "rev-parse", "runs") == failed.commit


# ---- several at once ----


def an_imported_run(name: str) -> Imported:
    return Imported(
        name=RunName.parse(name),
        dataset="gren",
        prefix="",
        steps=4,
        kind="sd-scripts",
        trainer=None,
        lycoris=None,
        others=(),
        weights=(),
        network=None,
        sessions=(),
        sha1s=(),
        entries=(Entry("config.toml", b"a = 1\n"),),
        source=f"~/out/{name}",
        missing=("Captions",),
        redacted=(),
        outcome=AN_OUTCOME,
    )


def test_ctrl_c_ends_an_import_between_two_runs(dataset: Path) -> None:
    """It comes when the first run's move is noted, and git waits for its orders."""

    def listen(reached: CrashPoint) -> None:
        if reached is CrashPoint.MOVE_WRITTEN:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    runs = [an_imported_run("noob-gren-v1s4"), an_imported_run("noob-gren-v1s8")]
    crash_points.listener = listen
    try:
        with pytest.raises(KeyboardInterrupt):
            open_store(dataset).bring_in(runs, made_up_runs.MOMENT)
    finally:
        crash_points.listener = None
    assert git(dataset, "tag") == "noob-gren-v1s4"
    assert git(dataset, "rev-parse", "runs") == git(dataset, "rev-parse", "noob-gren-v1s4^{commit}")
    assert list((dataset / ".git" / "loragit" / "moves").iterdir()) == []
    check(dataset)


def test_runs_are_imported_one_after_the_other_and_one_that_fails_stops_no_other(
    dataset: Path,
) -> None:
    passed: list[CrashPoint] = []
    crash_points.listener = passed.append
    names = ("noob-gren-v1s4", "noob-gren-v1s4", "noob-gren-v1s8")
    runs = [an_imported_run(name) for name in names]
    try:
        first, again, last = open_store(dataset).bring_in(runs, made_up_runs.MOMENT)
    finally:
        crash_points.listener = None
    assert (first.run, first.failure) == (runs[0], None)
    assert (again.run, again.commit, type(again.failure)) == (runs[1], None, RunExists)
    assert last.failure is None
    assert git(dataset, "rev-list", "runs").split() == [last.commit, first.commit]
    # What was moved is known: no race with oneself.
    assert passed.count(CrashPoint.OBJECTS_WRITTEN) == 2
    check(dataset)


def test_an_import_is_dated_as_the_run_happened_in_the_users_time_zone_of_then(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        open_store(dataset).bring_in([an_imported_run("noob-gren-v1s4")], made_up_runs.MOMENT)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    moment = "2026-11-23T23:05:30+05:45"
    assert git(dataset, "log", "-1", "--format=%aI %cI", "runs") == f"{moment} {moment}"
    assert git(dataset, "tag", "--format=%(taggerdate:iso-strict)") == moment


def test_an_import_that_loses_a_race_goes_on_from_what_is_there_now(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_store(dataset)
    kept.open(a_run())
    theirs = git(
        dataset, "commit-tree", "-p", "runs", "-m", "theirs\n\nLoragit-Format: 1", "runs^{tree}"
    )
    once = 'if [ ! -e "$RACED" ]; then : >"$RACED"; real update-ref refs/heads/runs "$THEIRS"; fi'
    with_git_that(monkeypatch, tmp_path, once, RACED=str(tmp_path / "raced"), THEIRS=theirs)
    (done,) = kept.bring_in([an_imported_run("noob-gren-v1s8")], made_up_runs.MOMENT)
    assert git(dataset, "rev-list", "-2", "runs").split() == [done.commit, theirs]


def test_an_import_finishes_first_what_was_begun(dataset: Path) -> None:
    kept = open_store(dataset)
    head = git(dataset, "rev-parse", "HEAD")
    steps = tuple(refs.RefUpdate(f"refs/tags/{name}", head, None) for name in "ab")
    note = dataset / ".git" / "loragit" / "moves" / "x.1.toml"
    ref_moves._note(note, steps, "two tags", 2**22 + 1)
    git(dataset, "tag", "a")
    kept.bring_in([], made_up_runs.MOMENT)
    assert git(dataset, "rev-parse", "b") == head


# ---- what belongs to a run's beginning and end ----


def test_the_commit_is_told_before_any_ref_leads_to_it(dataset: Path) -> None:
    seen: list[tuple[str, str]] = []
    opened = open_store(dataset).open(
        a_run(), lambda commit: seen.append((commit, git(dataset, "for-each-ref", "refs/tags")))
    )
    assert seen == [(opened.commit, "")]


def unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes nothing more."""

    def fails(names: object, repository: object) -> None:
        raise refs.NotDurable("x cannot be written through to the disk", hint="check the disk")

    monkeypatch.setattr(ours_git, "sync_refs", fails)


def test_a_run_whose_opening_may_not_outlast_a_power_cut_is_taken_back(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure(monkeypatch)
    with pytest.raises(refs.NotDurable, match="cannot be written through"):
        open_store(dataset).open(a_run())
    assert git(dataset, "tag") == ""
    message = git(dataset, "log", "-1", "--format=%B", "runs")
    assert "The trainer was not started: x cannot be written through to the disk." in message
    assert parsed_trailers(dataset, message)["Exit-Status"] == "127"


def test_an_end_that_may_not_outlast_a_power_cut_is_known_as_such(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run())
    with monkeypatch.context() as patched:
        unsure(patched)
        kept.seal(opened, AN_OUTCOME)
    assert kept.not_durable is not None
    assert git(dataset, "cat-file", "-t", "noob-gren-v1s4") == "tag"
    # A later move that is on the disk says nothing of the earlier one.
    kept.note(opened.commit, ("good",))
    assert kept.not_durable is not None


def test_a_tag_is_signed_or_says_why_not(dataset: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    git(dataset, "config", "gpg.format", "ssh")
    git(dataset, "config", "user.signingKey", str(key))
    kept = open_store(dataset)
    assert kept.seal(kept.open(a_run()), AN_OUTCOME, sign=True) is None
    assert "BEGIN SSH SIGNATURE" in git(dataset, "cat-file", "tag", "noob-gren-v1s4")
    key.unlink()
    unsigned = kept.seal(kept.open(a_run("noob-gren-v2s4")), AN_OUTCOME, sign=True)
    assert unsigned is not None
    assert "SIGNATURE" not in git(dataset, "cat-file", "tag", "noob-gren-v2s4")


def test_a_run_is_taken_back_though_others_were_opened_since(dataset: Path) -> None:
    kept = open_store(dataset)
    first = kept.open(a_run(caption=b"one"))
    second = kept.open(a_run("noob-gren-v2s4", caption=b"two"))
    commit = kept.revert(first, 1, "why", ())
    assert git(dataset, "rev-list", "runs").split() == [commit, second.commit, first.commit]
    # The newest run that stands is the record at the tip.
    assert git(dataset, "rev-parse", f"{commit}^{{tree}}") == git(
        dataset, "rev-parse", f"{second.commit}^{{tree}}"
    )


def test_a_revert_brings_back_the_datasets_own_record_and_no_others(dataset: Path) -> None:
    kept = open_store(dataset)
    kept.seal(kept.open(a_run("noob-a-v1s4", prefix="a", caption=b"one")), AN_OUTCOME)
    failed = kept.open(a_run("noob-a-v2s4", prefix="a", caption=b"two"))
    kept.seal(kept.open(a_run("noob-b-v1s4", prefix="b", caption=b"b")), AN_OUTCOME)
    kept.revert(failed, 1, "why", ())
    assert git(dataset, "show", "runs:a/captions/img/00.txt") == "one"
    assert git(dataset, "show", "runs:b/captions/img/00.txt") == "b"


def test_the_tree_of_a_revert_stands_for_no_run_wherever_its_tag_is(dataset: Path) -> None:
    kept = open_store(dataset)
    first = kept.open(a_run(caption=b"one"))
    second = kept.open(a_run("noob-gren-v2s4", caption=b"two"))
    git(dataset, "tag", "-f", "noob-gren-v2s4", kept.revert(second, 1, "why", ()))
    kept.revert(first, 1, "why", ())
    assert git(dataset, "ls-tree", "runs") == ""


def test_a_clone_does_not_go_on_from_a_branch_that_is_not_loragits(
    dataset: Path, tmp_path: Path
) -> None:
    git(dataset, "branch", "runs")
    git(tmp_path, "clone", "-q", str(dataset), "clone")
    opened = open_store(tmp_path / "clone").open(a_run())
    assert git(tmp_path / "clone", "rev-list", "runs") == opened.commit


def test_notes_are_appended_in_a_history_of_their_own(dataset: Path) -> None:
    kept = open_store(dataset)
    commit = kept.open(a_run()).commit
    kept.note(commit, ("good",))
    assert git(dataset, "rev-list", "--count", "refs/notes/commits") == "1"
    kept.note(commit, ("better", "best"))
    assert git(dataset, "notes", "show", commit).split() == ["good", "better", "best"]
    assert (
        git(dataset, "log", "--format=%s", "refs/notes/commits").splitlines()
        == ["Notes added by loragit"] * 2
    )
    assert "loragit: note on" in git(dataset, "reflog", "show", "refs/notes/commits")


def test_a_run_is_open_as_long_as_its_tag_is_on_its_commit(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run())
    assert kept.holds("noob-gren-v1s4", opened.commit) is True
    assert kept.holds("noob-gren-v1s4", "1" * 40) is False
    assert kept.holds("noob-gren-v2s4", opened.commit) is False
    kept.seal(opened, AN_OUTCOME)
    assert kept.holds("noob-gren-v1s4", opened.commit) is False


def test_what_a_run_kept_is_released_once_its_tag_is_gone(dataset: Path) -> None:
    kept = open_store(dataset)
    opened = kept.open(a_run()._replace(dataset_commit=git(dataset, "rev-parse", "HEAD")))
    keep = "refs/loragit/keep/noob-gren-v1s4"
    kept.release(opened)
    assert git(dataset, "for-each-ref", "--format=%(refname)", "refs/loragit") == keep
    git(dataset, "tag", "-d", "noob-gren-v1s4")
    for _ in range(2):
        kept.release(opened)
        assert git(dataset, "for-each-ref", "refs/loragit") == ""


def test_runs_is_lengthened_only_from_the_tip_that_was_seen(dataset: Path) -> None:
    kept = open_store(dataset)
    first = kept.open(a_run())
    second = kept.open(a_run("noob-gren-v2s4"))
    git(dataset, "update-ref", "refs/heads/runs", first.commit)
    kept.lengthen(second.commit, first.commit)
    assert git(dataset, "rev-parse", "runs") == second.commit
    git(dataset, "update-ref", "-d", "refs/heads/runs")
    kept.lengthen(first.commit, None)
    assert git(dataset, "rev-parse", "runs") == first.commit
    with pytest.raises(RunsUnusable, match="runs went on meanwhile") as failed:
        kept.lengthen(second.commit, second.commit)
    assert failed.value.hint == "look again: loragit recover"
    assert git(dataset, "rev-parse", "runs") == first.commit
    # A lock that is in the way for a while does not make it another tip.
    lock = dataset / ".git" / "refs" / "heads" / "runs.lock"
    lock.touch()
    freed = threading.Timer(0.3, lock.unlink)
    freed.start()
    kept.lengthen(second.commit, first.commit)
    freed.join()
    assert git(dataset, "rev-parse", "runs") == second.commit
