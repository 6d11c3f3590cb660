"""Whether a run may have its name, and whether ``runs`` may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.git.refs import RefUpdate
from loragit.git.repository import discover
from loragit.record.name import RUNS, RunName
from loragit.store.free_name import NameState, NameStates, name_state, names_taken
from tests.support.made_up_runs import NAME, open_store, sealed
from tests.support.processes import git

OURS = "x\n\nLoragit-Format: 1\n"


def state(dataset: Path, name: str = NAME) -> NameState:
    found = name_state(discover(dataset), RunName.parse(name))
    # Asked for many names, it is the same.
    assert NameStates(discover(dataset)).of(RunName.parse(name)) == found
    return found


def commit(dataset: Path, message: str, *parents: str) -> str:
    above = [word for parent in parents for word in ("-p", parent)]
    return git(dataset, "commit-tree", "HEAD^{tree}", *above, "-F", "-", text_input=message)


def test_in_a_fresh_repository_every_name_is_free(dataset: Path) -> None:
    assert state(dataset)._replace(unblock="") == NameState(None, None, None, None, "", None)
    assert names_taken(discover(dataset)) == frozenset()


def test_a_name_is_taken_by_a_tag_a_branch_and_what_lies_below_them(dataset: Path) -> None:
    git(dataset, "tag", NAME)
    assert state(dataset).taken == f"there is a tag {NAME} already"
    sealed(open_store(dataset), "noob-gren-v2s4")
    assert state(dataset).taken == f"run {NAME} already exists"
    git(dataset, "branch", "noob-gren-v3s4")
    assert "a branch called noob-gren-v3s4" in str(state(dataset, "noob-gren-v3s4").taken)
    git(dataset, "branch", "noob-gren-v4s4/x")
    below = "git cannot have noob-gren-v4s4 beside refs/heads/noob-gren-v4s4/x"
    assert state(dataset, "noob-gren-v4s4").taken == below
    # What only begins alike is another name.
    assert state(dataset, "noob-gren-v4s44").taken is None
    assert state(dataset, "noob-gren-v4s").taken is None
    assert names_taken(discover(dataset)) == {NAME, "noob-gren-v2s4"}


@pytest.mark.parametrize("made", ["by hand", "loragit", "a merge"])
def test_runs_is_written_only_if_its_tip_is_loragits(dataset: Path, made: str) -> None:
    first = commit(dataset, OURS)
    tip = {
        "by hand": commit(dataset, "mine", first),
        "loragit": first,
        "a merge": commit(dataset, "Merge branch 'runs' of elsewhere", first, "HEAD"),
    }[made]
    git(dataset, "update-ref", RUNS, tip)
    found = state(dataset)
    assert found.runs == tip
    if made == "by hand":
        assert found.blocked == "there is a branch runs that loragit did not make"
        assert found.unblock == "rename it: git branch -m runs my-runs"
    else:
        assert found.blocked is None


def test_the_history_of_origin_is_gone_on_from_only_without_one_of_ones_own(
    dataset: Path, tmp_path: Path
) -> None:
    theirs = sealed(open_store(dataset), NAME)
    git(tmp_path, "clone", "-q", str(dataset), "clone")
    clone = tmp_path / "clone"
    found = state(clone, "noob-gren-v2s4")
    assert (found.runs, found.origin) == (None, theirs.commit)
    own = sealed(open_store(clone), "noob-gren-v2s4")
    found = state(clone, "noob-gren-v3s4")
    assert (found.runs, found.origin) == (own.commit, None)


def test_what_an_interrupted_run_kept_is_known(dataset: Path) -> None:
    git(dataset, "update-ref", f"refs/loragit/keep/{NAME}", "HEAD")
    assert state(dataset).keep == git(dataset, "rev-parse", "HEAD")


def test_many_names_are_told_as_the_refs_were_read_or_moved_since(dataset: Path) -> None:
    repository = discover(dataset)
    states, name = NameStates(repository), RunName.parse(NAME)
    head = git(dataset, "rev-parse", "HEAD")
    made = commit(dataset, OURS)
    assert states.of(name).taken is None
    states.apply([RefUpdate(RUNS, made, None), RefUpdate(name.tag, made, None)])
    found = states.of(name)
    assert (found.runs, found.taken) == (made, f"run {NAME} already exists")
    assert states.of(RunName.parse("noob-gren-v2s4")).blocked is None
    git(dataset, "update-ref", RUNS, head)
    assert states.of(name).runs == made
    states.refresh()
    found = states.of(name)
    assert (found.runs, found.taken) == (head, None)
    assert found.blocked == "there is a branch runs that loragit did not make"
