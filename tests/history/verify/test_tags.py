"""``verify`` on tags that were moved, copied, edited or damaged, and on what is no run's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loragit.history.verify import branch
from loragit.store.store import Store
from tests.support.made_up_runs import open_store, reverted, sealed, untagged
from tests.support.processes import git
from tests.support.verdicts import ONE, THREE, TWO, loose, retagged, told


def of_tags(record: Path, *names: str) -> list[str]:
    return [message for _, check, message in told(record, *names) if check == "tag"]


def test_a_tag_that_holds_another_outcome_concerns_that_run_alone(record: Path) -> None:
    sealed(open_store(record), TWO)
    retagged(record, f"\nRun: {ONE}", "\nRun: x")
    message = f"the tag {ONE} holds the outcome of x: it was copied, renamed or edited"
    assert told(record) == told(record, ONE) == [("wrong", "tag", message)]
    assert told(record, TWO) == []


def test_an_outcome_that_was_copied_onto_a_reverted_run_of_that_name(store: Store) -> None:
    reverted(store, TWO)
    store.note(git(store.repository.top, "rev-parse", "runs~1"), ("2026-11-24T08:00:00Z pale",))
    top = store.repository.top
    commit = git(top, "rev-parse", "runs~1")
    tagged = git(top, "cat-file", "tag", ONE).replace(ONE, TWO)
    edited = re.sub(r"object \w+", f"object {commit}", tagged)
    words = ("hash-object", "-w", "-t", "tag", "--literally", "--stdin")
    git(top, "update-ref", f"refs/tags/{TWO}", git(top, *words, text_input=edited + "\n"))
    assert of_tags(top) == [f"the tag {TWO} is on ID, which is no run that stands: it was moved"]


def test_an_outcome_that_has_a_second_name(record: Path) -> None:
    git(record, "update-ref", "refs/tags/best", ONE)
    assert of_tags(record) == [
        f"the tag best holds the outcome of {ONE}: it was copied, renamed or edited",
        f"the tag best is on the run {ONE} (ID): it was moved",
        f"best, {ONE} are outcomes of one run, ID",
    ]


@pytest.mark.parametrize("trailer", ["Run", "Samples"])
def test_a_tag_that_tells_only_half_of_an_outcome(record: Path, trailer: str) -> None:
    retagged(record, rf"\n{trailer}: .*", "")
    message = f"the tag {ONE} does not hold an outcome as loragit writes it: "
    message += "it was edited, or made by hand"
    assert message in of_tags(record)


def test_a_plain_tag_on_another_run_and_beside_the_runs(record: Path) -> None:
    sealed(open_store(record), TWO)
    moved = f"the tag {ONE} is not on a run of that name, but on ID: it was moved"
    for where in ("runs", "main"):
        git(record, "update-ref", "--no-deref", f"refs/tags/{ONE}", git(record, "rev-parse", where))
        assert moved in of_tags(record)
    # It is not the tag that loragit wrote either, and no run's name is on it any more.
    assert of_tags(record, TWO) == []


def test_an_open_run_has_a_plain_tag(record: Path) -> None:
    untagged(open_store(record), TWO)
    git(record, "tag", TWO, "runs")
    assert of_tags(record) == []


@pytest.mark.parametrize("content", [None, b"no object"], ids=["missing", "damaged"])
def test_a_tag_of_the_users_own_that_cannot_be_read(record: Path, content: bytes | None) -> None:
    git(record, "tag", "-a", "-m", "mine", "mine", "main")
    path = loose(record, git(record, "rev-parse", "mine"))
    path.chmod(0o644)
    path.unlink() if content is None else path.write_bytes(content)
    assert of_tags(record) == []


def test_a_tag_that_is_longer_than_any_that_loragit_writes(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch, "MOST", 100)
    message = f"the tag {ONE} cannot be read: what came out of the run is not known"
    assert of_tags(record) == [message]


def test_where_git_cannot_read_to_the_end_tags_beyond_it_are_not_called_moved(
    record: Path,
) -> None:
    for name in (TWO, THREE):
        sealed(open_store(record), name)
    loose(record, git(record, "rev-parse", "runs~1")).unlink()
    assert of_tags(record) == []
    cannot = "the history of runs cannot be read to its end: what can still be reached was"
    assert ("wrong", "runs", f"{cannot} checked") in told(record)


def test_a_stranger_on_runs_is_shown_by_its_subject(record: Path) -> None:
    commit = git(record, "commit-tree", "-p", "runs", "runs^{tree}", text_input="mine\x1f\n\nx\n")
    git(record, "update-ref", "refs/heads/runs", commit)
    message = "ID (mine\x1f) is on runs, and is no run, no revert and no merge"
    assert told(record) == [("wrong", "runs", message)]


# ---- tags that are gone ----


def kept(store: Store, name: str) -> None:
    """A sealed run with a ref that keeps the dataset's commit."""
    sealed(store, name, dataset_commit=git(store.repository.top, "rev-parse", "main"))


def gone(name: str) -> str:
    return f"the tag {name} is gone, and with it what came out of the run: it was deleted by hand"


def test_a_tag_that_is_gone_is_told_once(store: Store) -> None:
    top = store.repository.top
    kept(store, TWO)
    assert told(top) == []
    git(top, "tag", "-d", TWO)
    assert told(top) == [("wrong", "tag", gone(TWO))]
    # Without its object, the ref that is left shows it.
    git(top, "prune", "--expire=now")
    assert told(top) == told(top, TWO) == [("note", "tag", gone(TWO))]
    assert told(top, ONE) == []


def test_a_tag_that_was_deleted_for_a_reason_is_not_told_again(store: Store) -> None:
    top = store.repository.top
    kept(store, TWO)
    tag = git(top, "rev-parse", TWO)
    git(top, "tag", "-d", TWO)
    (top / ".git/loragit").mkdir(exist_ok=True)
    row = ("2026-11-24T08:00:00Z", f"refs/tags/{TWO}", tag, "0" * 40, "burnt,\tand pale")
    (top / ".git/loragit/overrides.log").write_text("\t".join(row) + "\n")
    message = f"refs/tags/{TWO} was deleted at ID on T, for a reason: burnt,\tand pale"
    assert told(top) == told(top, TWO) == [("note", "tag", message)]
    assert told(top, ONE) == []


@pytest.mark.parametrize("outcome", [False, True])
def test_what_is_left_of_another_tag_is_not_the_outcome(record: Path, outcome: bool) -> None:
    untagged(open_store(record), TWO)
    if outcome:  # that says to be TWO's, and is on ONE
        retagged(record, "Exit-Status: 0", "Exit-Status: 0", name="old")
        text = git(record, "cat-file", "tag", ONE).replace(ONE, TWO)
        words = ("hash-object", "-w", "-t", "tag", "--literally", "--stdin")
        git(record, *words, text_input=text + "\n")
        git(record, "update-ref", "-d", "refs/tags/old")
    else:
        git(record, "tag", "-a", "-m", "mine", TWO, "runs")
        git(record, "tag", "-d", TWO)
    assert of_tags(record) == []


def test_a_damaged_object_that_nothing_leads_to_does_not_end_the_search(store: Store) -> None:
    top = store.repository.top
    sealed(store, TWO)
    git(top, "tag", "-a", "-m", "mine", "mine", "main")
    tag = git(top, "rev-parse", "mine")
    git(top, "tag", "-d", "mine")
    git(top, "tag", "-d", TWO)
    path = loose(top, tag)
    path.chmod(0o644)
    path.write_bytes(b"no object")
    assert gone(TWO) in of_tags(top)


def test_a_tag_that_somebody_deleted_and_put_elsewhere_is_not_gone(store: Store) -> None:
    top = store.repository.top
    sealed(store, TWO)
    git(top, "tag", "-f", TWO, "main")
    assert gone(TWO) not in of_tags(top)


@pytest.mark.parametrize("later", [False, True])
def test_when_a_tag_was_replaced(record: Path, later: bool) -> None:
    """Until the last line of its reflog, if that leads to what it is now."""
    from loragit.history.history import History
    from loragit.history.verify.verify import VerifyOptions, verify

    body = git(record, "cat-file", "tag", ONE).partition("\n\n")[2]
    git(record, "tag", "-f", "-a", "-m", body.replace("Status: 0", "Status: 1"), ONE, f"{ONE}^{{}}")
    if later:
        git(record, "tag", "other", ONE)
        log = (record / ".git/logs/refs/tags" / ONE).read_bytes()
        retagged(record, "Status: 1", "Status: 2")
        (record / ".git/logs/refs/tags" / ONE).write_bytes(log)
        git(record, "tag", "-d", "other")
    history = History.of(record)
    found = verify(history, VerifyOptions((ONE,), Path("/nowhere"))).verdicts
    history.close()
    (verdict,) = [each for each in found if "was replaced" in each.message]
    assert verdict.since is not None and verdict.since.earliest is not None
    assert (verdict.since.latest is None) == later


# ---- notes ----


def test_a_note_of_one_line_that_was_edited(store: Store) -> None:
    top = store.repository.top
    tip = git(top, "rev-parse", "runs")
    store.note(tip, ("2026-11-24T08:00:00Z burnt",))
    git(top, "notes", "add", "-f", "-m", "lovely", tip)
    assert told(top) == [("note", "notes", "1 line of the notes on it changed or taken out")]


def test_notes_on_what_is_no_run_are_let_be(store: Store) -> None:
    top = store.repository.top
    store.note(git(top, "rev-parse", "runs"), ("2026-11-24T08:00:00Z burnt",))
    for text in ("mine", "and other"):
        git(top, "notes", "add", "-f", "-m", text, "main")
    assert told(top) == []


def test_notes_that_git_does_not_have_any_more(store: Store) -> None:
    top = store.repository.top
    tip = git(top, "rev-parse", "runs")
    store.note(tip, ("2026-11-24T08:00:00Z burnt",))
    git(top, "notes", "add", "-f", "-m", "lovely", tip)
    blob = git(top, "rev-parse", f"refs/notes/commits~1:{tip}")
    loose(top, blob).unlink()
    assert ("wrong", "objects", f"git fsck: missing blob {blob}") in told(top)
    assert [row for row in told(top) if row[1] == "notes"] == []
