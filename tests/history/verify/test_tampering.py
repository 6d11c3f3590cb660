"""``verify`` after plain git was used on the record: every way to take something back leaves a
trace that is told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from loragit.history.history import History
from loragit.history.verify.verify import VerifyOptions, verify
from loragit.run.recovery import leftovers
from loragit.store.store import Store
from tests.support.made_up_runs import open_store, sealed, untagged
from tests.support.paths import ROOT
from tests.support.processes import git
from tests.support.verdicts import ONE, THREE, TWO, told


@pytest.fixture
def store(store: Store) -> Store:
    sealed(store, TWO)
    return store


@pytest.fixture
def pushed(record: Path, tmp_path: Path) -> Path:
    """A bare repository that got everything from ``record``."""
    git(tmp_path, "init", "-q", "--bare", "shared.git")
    git(record, "remote", "add", "origin", str(tmp_path / "shared.git"))
    git(record, "push", "-q", "origin", "main", "runs", "--tags")
    return tmp_path / "shared.git"


def fixes(folder: Path) -> list[str]:
    history = History.of(folder)
    try:
        return [
            v.fix for v in verify(history, VerifyOptions((), Path("/nowhere"))).verdicts if v.fix
        ]
    finally:
        history.close()


def forget(folder: Path) -> None:
    """What somebody does who knows of reflogs."""
    shutil.rmtree(folder / ".git/logs")


def lost(name: str) -> tuple[str, str, str]:
    why = "the history was rewritten, or the tag was moved"
    return "wrong", "tag", f"the tag {name} is on ID, which is not in the history of runs: {why}"


TAG_LOST = lost(TWO)
WAS = "was at ID until T, which is not in its history, 1 commit of it: it was rewound or rewritten"


def shell(command: str, folder: Path) -> str:
    """What a fix does, typed as it is told."""
    done = subprocess.run(
        command.partition(": ")[2], shell=True, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_is_told_of_a_record_that_only_grew(store: Store, pushed: Path) -> None:
    untagged(store, THREE)
    store.note(git(store.repository.top, "rev-parse", "runs"), ("2026-11-24T08:00:00Z good",))
    store.note(git(store.repository.top, "rev-parse", "runs"), ("2026-11-24T09:00:00Z better",))
    assert told(store.repository.top) == []
    git(store.repository.top, "push", "-q", "origin", "runs")
    assert told(store.repository.top) == []


def test_runs_of_another_machine_that_were_only_fetched_are_no_rewritten_history(
    record: Path, pushed: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", str(pushed), "other")
    sealed(open_store(tmp_path / "other"), THREE)
    git(tmp_path / "other", "push", "-q", "origin", "runs", THREE)
    git(record, "fetch", "-q")
    assert THREE in git(record, "tag")
    assert told(record) == []
    sealed(open_store(record), "noob-gren-v4s4")
    apart = "runs and origin/runs have diverged: 1 commit here, 1 commit there"
    assert told(record) == [("note", "runs", apart)]
    history = History.of(record)
    assert (
        list(leftovers.loose_tags(history.repository, {run.commit: run for run in history.runs}))
        == []
    )
    # What was made here is not excused by a remote that has it.
    git(record, "push", "-q", "--force", "origin", "runs", "--tags")
    git(record, "branch", "-f", "runs", "runs~1")
    assert ("wrong", "tag", lost("noob-gren-v4s4")[2]) in told(record)


def test_in_a_shallow_clone_tags_beyond_its_end_are_not_loose(pushed: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", "--no-single-branch", f"file://{pushed}", "other")
    git(tmp_path / "other", "branch", "runs", "origin/runs")
    git(tmp_path / "other", "fetch", "-q", "--depth=1", "origin", "tag", ONE)
    history = History.of(tmp_path / "other")
    assert ONE in history.refs.objects and [run.name for run in history.runs] == [TWO]
    assert (
        list(leftovers.loose_tags(history.repository, {run.commit: run for run in history.runs}))
        == []
    )


# --- runs ---


@pytest.mark.parametrize("what", ["runs", f"{TWO}:config.toml"])
def test_an_object_that_git_shows_another_in_the_place_of(record: Path, what: str) -> None:
    name = git(record, "rev-parse", what)
    git(
        record,
        "replace",
        "-f",
        name,
        git(record, "rev-parse", "main" if what == "runs" else "main:a.txt"),
    )
    another = git(record, "commit-tree", "-m", "no run holds it", "main^{tree}")
    git(record, "replace", git(record, "rev-parse", "main"), another)
    (row,) = told(record)
    assert row == (
        "wrong",
        "objects",
        "git shows ID in the place of ID, which runs holds: it was replaced",
    )
    (fix,) = fixes(record)
    assert name in fix
    shell(fix, record)
    assert told(record) == []


def test_branch_f_and_reset(record: Path, pushed: Path) -> None:
    git(record, "branch", "-f", "runs", "runs~1")
    assert told(record) == [("wrong", "runs", f"runs {WAS} (branch: Reset to runs~1)"), TAG_LOST]
    # Somebody clears the reflog: the remote's tells what was pushed.
    (record / ".git/logs/refs/heads/runs").unlink()
    once = (
        "runs was pushed to origin/runs at ID on T, and does not lead there any more, 1 commit of "
        "it: "
        "it was rewound or rewritten"
    )
    assert told(record) == [("wrong", "runs", once), TAG_LOST]
    git(record, "checkout", "-q", "runs")
    git(record, "reset", "-q", "--hard", "origin/runs")
    git(record, "checkout", "-q", "main")
    assert told(record) == []


def test_amend_on_runs_with_and_without_reflogs(record: Path, pushed: Path) -> None:
    git(record, "checkout", "-q", "runs")
    (record / "config.toml").write_text("a = 2\n")
    git(record, "commit", "-q", "-a", "--amend", "--no-edit")
    git(record, "checkout", "-q", "-f", "main")
    name = f"{TWO} is ID here, and ID there"
    rewritten = f"1 commit of runs is not what origin/runs has: the history was rewritten ({name})"
    found = [
        message for status, check, message in told(record) if (status, check) == ("wrong", "runs")
    ]
    assert found == [
        f"runs {WAS} (commit (amend): {TWO}: noob on gren, version 2, 4 steps)",
        rewritten,
    ]
    forget(record)
    found = [
        message for status, check, message in told(record) if (status, check) == ("wrong", "runs")
    ]
    assert found == [rewritten]
    assert TAG_LOST in told(record)
    (diff,) = [fix for fix in fixes(record) if "git diff" in fix]
    assert "+a = 2" in shell(diff, record)


def test_a_history_that_was_filtered_from_its_root_on(
    record: Path, pushed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILTER_BRANCH_SQUELCH_WARNING", "1")
    git(record, "filter-branch", "-f", "--msg-filter", "sed 's/4 steps/9 steps/'", "--", "runs")
    forget(record)
    git(record, "update-ref", "-d", "refs/original/refs/heads/runs")
    rows = told(record)
    name = f"{ONE} is ID here, and ID there"
    rewritten = (
        f"2 commits of runs are not what origin/runs has: the history was rewritten ({name})"
    )
    assert [row for row in rows if row[1] == "runs"] == [("wrong", "runs", rewritten)]
    assert [row for row in rows if row[1] == "tag"] == [lost(ONE), lost(TWO)]
    # Without a remote, the tags are left to tell; and where they were moved along, their own
    # reflogs.
    git(record, "remote", "remove", "origin")
    assert [row for row in told(record) if row[1] != "record"] == [lost(ONE), lost(TWO)]


def test_tags_that_were_moved_along_with_a_filtered_history(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILTER_BRANCH_SQUELCH_WARNING", "1")
    words = ("--msg-filter", "sed 's/4 steps/9 steps/'", "--tag-name-filter", "cat", "--", "runs")
    git(record, "filter-branch", "-f", *words)
    (record / ".git/logs/refs/heads/runs").unlink()
    replaced = [
        f"the tag {name} is not the one that loragit wrote (ID): it was replaced"
        for name in (TWO, ONE)
    ]
    assert [
        message for status, check, message in told(record) if (status, check) == ("wrong", "tag")
    ] == replaced


@pytest.mark.parametrize("remote", [False, True])
def test_runs_that_was_deleted(
    record: Path, tmp_path: Path, remote: bool, request: pytest.FixtureRequest
) -> None:
    if remote:
        request.getfixturevalue("pushed")
    tip = git(record, "rev-parse", "runs")
    git(record, "branch", "-q", "-D", "runs")
    message = (
        "there is no branch runs any more, and origin/runs has it: it was deleted here"
        if remote
        else "the branch runs is gone, and 2 tags of its runs left: it was deleted"
    )
    assert told(record) == [("wrong", "runs", message)]
    (fix,) = fixes(record)
    shell(fix, record)
    assert git(record, "rev-parse", "runs") == tip


def test_a_clone_that_never_had_runs_is_told_where_they_are(pushed: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(pushed), "copy")
    where = "there is no branch runs here; origin/runs has it, and was not looked at"
    assert told(tmp_path / "copy") == [("note", "runs", where)]
    git(tmp_path / "copy", "branch", "-q", "runs", "origin/runs")
    assert told(tmp_path / "copy") == []


def test_another_branch_that_was_copied_over_runs(record: Path) -> None:
    """No hook of git's sees that, and the reflog is that of the other branch from then on."""
    git(record, "branch", "-C", "main", "runs")
    rows = told(record)
    assert [row for row in rows if row[1] == "tag"] == [
        (TAG_LOST[0], "tag", TAG_LOST[2].replace(TWO, name)) for name in (ONE, TWO)
    ]
    assert ("wrong", "runs", "ID (first) is on runs, and is no run, no revert and no merge") in rows


def test_a_remote_that_somebody_rewound(record: Path, pushed: Path, tmp_path: Path) -> None:
    git(pushed, "update-ref", "refs/heads/runs", "runs~1")
    git(record, "fetch", "-q")
    ((status, check, message),) = told(record)
    assert (status, check) == ("note", "runs")
    assert message == f"origin/runs {WAS} (fetch -q: forced-update); it is still here"
    (fix,) = fixes(record)
    shell(fix, record)
    assert git(pushed, "rev-parse", "runs") == git(record, "rev-parse", "runs")


def test_a_remote_that_somebody_rewound_before_it_was_taken_over_here(
    pushed: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", str(pushed), "copy")
    copy = tmp_path / "copy"
    git(copy, "fetch", "-q")
    git(pushed, "update-ref", "refs/heads/runs", "runs~1")
    git(copy, "fetch", "-q")
    git(copy, "branch", "-q", "runs", "origin/runs")
    rows = told(copy)
    assert TAG_LOST in rows


def test_a_remotes_branch_that_cannot_be_read(record: Path, pushed: Path) -> None:
    (record / ".git/refs/remotes/origin/runs").write_text(f"{'1' * 40}\n")
    ((status, check, message),) = told(record)
    assert (status, check) == ("wrong", "runs")
    assert message.startswith("origin/runs cannot be compared with runs: ")


# What reflogs show.


def reflog(record: Path, ref: str = "refs/heads/runs") -> Path:
    return record / ".git/logs" / ref


def rows_of_runs(record: Path) -> list[str]:
    return [message for _, check, message in told(record) if check == "runs"]


def test_of_several_lost_tips_the_last_one_is_named(record: Path) -> None:
    """It leads to the others."""
    store = open_store(record)
    git(record, "branch", "base", "runs~1")
    sealed(store, THREE)
    git(record, "branch", "-f", "runs", "base")
    sealed(store, "noob-gren-v4s4")
    (row,) = rows_of_runs(record)
    assert row == (
        "runs was at ID until T, which is not in its history, 2 commits of it: "
        "it was rewound or rewritten (branch: Reset to base)"
    )
    (fix,) = [fix for fix in fixes(record) if "keep what was lost" in fix]
    shell(fix, record)
    assert git(record, "log", "-1", "--format=%s", "runs-before").startswith(THREE)


def test_a_gap_in_the_reflog_hides_no_tip(record: Path) -> None:
    git(record, "branch", "-f", "runs", "runs~1")
    sealed(open_store(record), THREE)
    git(record, "branch", "-f", "runs", "runs~1")
    lines = reflog(record).read_text().splitlines(keepends=True)
    (first,) = [n for n, line in enumerate(lines) if "Reset" in line and n < len(lines) - 1]
    reflog(record).write_text("".join(lines[:first] + lines[first + 1 :]))
    assert len(rows_of_runs(record)) == 2


def test_a_tip_past_the_end_of_the_reflog(record: Path) -> None:
    lines = reflog(record).read_text()
    git(record, "branch", "-f", "runs", "runs~1")
    reflog(record).write_text(lines)
    (row,) = rows_of_runs(record)
    assert row == (
        "runs was at ID, which is not in its history, 1 commit of it: "
        "it was rewound or rewritten (past the reflog)"
    )
    (fix,) = [fix for fix in fixes(record) if "keep what was lost" in fix]
    shell(fix, record)
    assert git(record, "log", "-1", "--format=%s", "runs-before").startswith(TWO)


def test_lines_of_a_reflog_that_say_nothing(record: Path) -> None:
    """Of another form; of a ref that was deleted; without a reason."""
    git(record, "branch", "-f", "runs", "runs~1")
    lines = reflog(record).read_text().splitlines()
    lines[-1] = lines[-1].partition("\t")[0]
    tip = git(record, "rev-parse", "runs")
    deleted = f"{tip} {'0' * 40} Ada Trainer <ada@example.org> 1 +0000\tdeleted"
    reflog(record).write_text("\n".join([*lines, "who knows", deleted]) + "\n")
    assert rows_of_runs(record) == [f"runs {WAS} (no reason given)"]


def test_runs_that_was_deleted_where_it_was_only_fetched(pushed: Path, tmp_path: Path) -> None:
    """The keep ref of a run shows that the branch was here; what was pushed shows where it is."""
    git(tmp_path, "clone", "-q", str(pushed), "other")
    other = tmp_path / "other"
    git(other, "branch", "-q", "runs", "origin/runs")
    sealed(open_store(other), THREE, dataset_commit=git(other, "rev-parse", "HEAD"))
    git(other, "branch", "-q", "-D", "runs")
    deleted = "there is no branch runs any more, and origin/runs has it: it was deleted here"
    assert told(other) == [("wrong", "runs", deleted)]


def test_runs_that_was_deleted_is_where_it_was_pushed_to(
    record: Path, pushed: Path, tmp_path: Path
) -> None:
    git(record, "remote", "add", "another", str(pushed))
    git(record, "fetch", "-q", "another")
    git(record, "branch", "-q", "-D", "runs")
    deleted = "there is no branch runs any more, and origin/runs has it: it was deleted here"
    assert told(record) == [("wrong", "runs", deleted)]


def test_tags_without_a_whole_outcome_are_not_of_a_branch_that_is_gone(record: Path) -> None:
    git(record, "tag", "-a", "-m", "x\n\nRun: x", "mine", "main")
    git(record, "tag", "-a", "-m", "x\n\nSamples: 1", "other", "main")
    git(record, "branch", "-q", "-D", "runs")
    gone = "the branch runs is gone, and 2 tags of its runs left: it was deleted"
    assert told(record) == [("wrong", "runs", gone)]


def test_a_loss_for_a_reason_is_none_in_what_was_pushed_either(
    record: Path, pushed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "hooks/reference-transaction", record / ".git/hooks/")
    monkeypatch.setenv("LORAGIT_REASON", "trained on the wrong folder")
    git(record, "tag", "-d", TWO)
    git(record, "branch", "-f", "runs", "runs~1")
    monkeypatch.delenv("LORAGIT_REASON")
    (record / ".git/hooks/reference-transaction").unlink()
    assert {status for status, _, _ in told(record)} == {"note"}
    git(record, "push", "-q", "--force", "origin", "runs")
    assert {status for status, _, _ in told(record)} == {"note"}


# --- tags ---


def test_a_tag_that_was_replaced_on_its_run(record: Path) -> None:
    body = (
        git(record, "cat-file", "tag", ONE)
        .partition("\n\n")[2]
        .replace("Exit-Status: 0", "Exit-Status: 1")
    )
    git(record, "tag", "-f", "-a", "-m", body, ONE, f"{ONE}^{{}}")
    replaced = f"the tag {ONE} is not the one that loragit wrote (ID): it was replaced"
    assert told(record) == [("wrong", "tag", replaced)]
    assert told(record, TWO) == []
    assert told(record, ONE, quick=True) == [("wrong", "tag", replaced)]
    (fix,) = fixes(record)
    assert "Exit-Status: 0" in shell(fix, record)


def test_a_tag_that_was_deleted_can_be_had_back(record: Path) -> None:
    before = git(record, "rev-parse", TWO)
    git(record, "tag", "-d", TWO)
    gone = f"the tag {TWO} is gone, and with it what came out of the run: it was deleted by hand"
    assert told(record) == [("wrong", "tag", gone)]
    assert told(record, quick=True) == []
    assert told(record, ONE) == []
    (fix,) = fixes(record)
    shell(fix, record)
    assert git(record, "rev-parse", TWO) == before
    assert told(record) == []


def test_a_tag_that_is_not_the_runs_is_not_taken_for_its_outcome(store: Store) -> None:
    top = store.repository.top
    untagged(store, THREE)
    git(top, "tag", "-a", "-m", "mine", "mine", "runs")
    git(top, "tag", "-d", "mine")
    assert told(top) == []


# --- exceptions ---


def test_what_was_done_for_a_reason_is_told_with_it_and_not_as_wrong(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "hooks/reference-transaction", record / ".git/hooks/")
    monkeypatch.setenv("LORAGIT_REASON", "trained on the wrong folder")
    git(record, "tag", "-d", TWO)
    git(record, "branch", "-f", "runs", "runs~1")
    git(record, "tag", "-f", "-a", "-m", "x\n\nRun: x\nSamples: 0", ONE, f"{ONE}^{{}}")
    monkeypatch.delenv("LORAGIT_REASON")
    rows = told(record)
    reason = "for a reason: trained on the wrong folder"
    assert ("note", "tag", f"refs/tags/{TWO} was deleted at ID on T, {reason}") in rows
    assert ("note", "tag", f"refs/tags/{ONE} was moved from ID to ID on T, {reason}") in rows
    assert ("note", "runs", f"refs/heads/runs was moved from ID to ID on T, {reason}") in rows
    wrongs = [message for status, _, message in rows if status == "wrong"]
    assert wrongs == [f"the tag {ONE} holds the outcome of x: it was copied, renamed or edited"]
    assert len(told(record, ONE)) == 2


def test_a_log_of_exceptions_that_is_none_is_let_be(record: Path) -> None:
    (record / ".git/loragit").mkdir(exist_ok=True)
    (record / ".git/loragit/overrides.log").write_bytes(b"\xff\n\tx\n")
    assert told(record) == []


# --- notes ---


def test_notes_that_were_edited_or_taken_out(store: Store) -> None:
    top = store.repository.top
    tip = git(top, "rev-parse", "runs")
    store.note(tip, ("2026-11-24T08:00:00Z burnt",))
    store.note(tip, ("2026-11-24T09:00:00Z and pale",))
    git(top, "notes", "add", "-f", "-m", "lovely", tip)
    assert told(top) == [("note", "notes", "2 lines of the notes on it changed or taken out")]
    git(top, "notes", "remove", tip)
    assert told(top) == [("note", "notes", "3 lines of the notes on it changed or taken out")]


def test_notes_that_were_rewound(store: Store) -> None:
    top = store.repository.top
    tip = git(top, "rev-parse", "runs")
    store.note(tip, ("2026-11-24T08:00:00Z burnt",))
    store.note(tip, ("2026-11-24T09:00:00Z and pale",))
    git(top, "update-ref", "refs/notes/commits", "refs/notes/commits~1")
    lost = "the notes were at ID, which is not in their history: they were rewound or rewritten"
    assert told(top) == [("wrong", "notes", lost)]
    (fix,) = fixes(top)
    shell(fix, top)
    assert "and pale" in git(top, "notes", "show", tip)
    assert told(top) == []
