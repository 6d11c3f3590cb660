"""Records in a clone that lacks objects by design: what a new one names is in the clone itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loragit.errors import LoragitError
from loragit.git.command import PARTIAL_CLONE
from loragit.git.objects import CannotReadObjects
from loragit.history.history import History
from loragit.record.values import Entry
from loragit.store.store import Store
from tests.support import made_up_runs
from tests.support.made_up_runs import NAME, open_store, sealed
from tests.support.processes import git

ENTRIES = (
    Entry("config.toml", b"a = 1\n"),
    Entry("train.sh", b"#!/bin/sh\n", executable=True),
    *(Entry(f"captions/img/{number}.txt", b"zqx %d" % number) for number in range(100)),
)
SECOND = "noob-gren-v2s4"


def cloned(dataset: Path, folder: Path, what: str) -> Store:
    """A partial clone of ``dataset`` with a branch ``runs``, whose remote is gone."""
    remote = folder / "remote.git"
    git(folder, "clone", "-q", "--bare", str(dataset), str(remote))
    git(remote, "config", "uploadpack.allowFilter", "true")
    clone = folder / "clone"
    args = ("clone", "-q", "--no-checkout", f"--filter={what}", f"file://{remote}", str(clone))
    git(folder, *args)
    git(clone, "branch", "-q", "runs", "origin/runs")
    shutil.move(remote, folder / "away")
    return open_store(clone)


def bytes_of(folder: Path, name: str) -> dict[str, str]:
    """All files of a record; fails if one is not here."""
    rows = git(folder, "ls-tree", "-r", name).splitlines()
    return {
        path: git(folder, "cat-file", "blob", about.split()[2])
        for about, _, path in (row.partition("\t") for row in rows)
    }


@pytest.mark.parametrize("prefix", ["", "sets/gren"])
def test_all_that_a_new_record_names_is_in_the_clone(
    dataset: Path, tmp_path: Path, prefix: str
) -> None:
    sealed(open_store(dataset), NAME, entries=ENTRIES, prefix=prefix)
    store = cloned(dataset, tmp_path, "blob:none")
    clone = store.repository.top
    sealed(store, SECOND, entries=ENTRIES, prefix=prefix)
    for _ in range(2):
        found = bytes_of(clone, SECOND)
        for entry in ENTRIES:
            assert found[f"{prefix}/{entry.path}".lstrip("/")] == entry.data.decode().strip()
        # What a remote has promised is nothing that housekeeping keeps by itself.
        git(clone, "gc", "-q", "--prune=now")
    git(clone, "fsck")


def test_what_the_clone_holds_already_is_not_written_again(dataset: Path, tmp_path: Path) -> None:
    sealed(open_store(dataset), NAME, entries=ENTRIES)
    store = cloned(dataset, tmp_path, "blob:none")
    packs = store.repository.common_dir / "objects/pack"
    sealed(store, SECOND, entries=ENTRIES)
    before = sorted(packs.iterdir())
    changed = Entry("config.toml", b"a = 2\n")
    sealed(store, "noob-gren-v3s4", entries=(changed, *ENTRIES[1:]))
    (new,) = [path for path in packs.iterdir() if path not in before and path.suffix == ".idx"]
    rows = git(tmp_path, "verify-pack", "-v", str(new)).splitlines()
    assert sum(" blob " in row for row in rows) == 2  # config.toml and run.toml


def test_without_the_trees_nothing_is_recorded_and_the_refusal_tells_why(
    dataset: Path, tmp_path: Path
) -> None:
    sealed(open_store(dataset), NAME, entries=ENTRIES)
    store = cloned(dataset, tmp_path, "tree:0")
    refs = git(store.repository.top, "for-each-ref")
    with pytest.raises(CannotReadObjects) as caught:
        store.open(made_up_runs.a_run(name=SECOND, entries=ENTRIES))
    assert caught.value.hint == PARTIAL_CLONE
    assert git(store.repository.top, "for-each-ref") == refs


def test_what_is_not_here_is_told_alike(dataset: Path, tmp_path: Path) -> None:
    sealed(open_store(dataset), NAME, entries=ENTRIES)
    store = cloned(dataset, tmp_path, "blob:none")
    history = History.of(store.repository.top)
    (run,) = history.runs
    for missing in (lambda: run.record, lambda: run.read("config.toml")):
        with pytest.raises(LoragitError, match="is not here") as caught:
            missing()
        assert caught.value.hint == PARTIAL_CLONE
    with pytest.raises(LoragitError, match="holds no file other") as caught:
        run.read("other")
    assert caught.value.hint != PARTIAL_CLONE
    history.close()


def test_what_is_here_is_read_in_a_partial_clone_as_well(dataset: Path, tmp_path: Path) -> None:
    sealed(open_store(dataset), NAME, entries=ENTRIES)
    store = cloned(dataset, tmp_path, "blob:none")
    sealed(store, SECOND, entries=ENTRIES)
    history = History.of(store.repository.top)
    assert history.run(SECOND).read("config.toml") == b"a = 1\n"
    history.close()
