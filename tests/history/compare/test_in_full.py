"""Two runs on record compared in full: documents, captions, and what could not be compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from loragit import History
from loragit.history.compare.captions import CaptionChange
from loragit.history.compare.details import Difference, compare_in_full
from loragit.history.compare.lines import LineChange
from loragit.history.compare.tables import ValueChange
from loragit.record.values import Entry, Weights
from loragit.store.store import Store
from tests.support.made_up_runs import a_run, open_store, sealed
from tests.support.processes import git

ONE, TWO = "noob-gren-v1s4", "noob-gren-v2s4"


@pytest.fixture
def store(dataset: Path) -> Store:
    return open_store(dataset)


def files(**changed: bytes | None) -> tuple[Entry, ...]:
    """The files of a run; ``__`` in a name stands for a slash, ``_`` for a dot."""
    every: dict[str, bytes | None] = {
        "config_toml": b"a = 1\nb = 2\n",
        "train_sh": b"#!/bin/sh\n",
        "captions__img__00_txt": b"zqx, solo",
    }
    named = {
        name.replace("__", "/").replace("_", "."): data
        for name, data in {**every, **changed}.items()
    }
    return tuple(Entry(name, data) for name, data in sorted(named.items()) if data is not None)


def difference(
    store: Store, *, first: Mapping[str, object], then: Mapping[str, object]
) -> Difference:
    sealed(store, ONE, **first)
    sealed(store, TWO, **then)
    runs = {run.name: run for run in History.of(store.repository.top).runs}
    return compare_in_full(runs[ONE], runs[TWO])


def compared(store: Store, **changed: bytes | None) -> Difference:
    """A run with all files, and one of which some are ``changed``; all but ``config`` are there."""
    return difference(store, first={"entries": files()}, then={"entries": files(**changed)})


def test_two_runs_of_the_same_files_are_the_same(store: Store) -> None:
    found = compared(store)
    assert found.same
    assert (found.changes, found.documents, found.captions, found.tags) == ((), (), (), ())
    assert found.not_compared == (
        "images: not on record of noob-gren-v1s4 and noob-gren-v2s4",
        "environment and packages: not on record of noob-gren-v1s4 and noob-gren-v2s4",
    )


def test_a_document_is_compared_value_by_value(store: Store) -> None:
    found = compared(store, config_toml=b"b = 3\na = 1\n")
    (document,) = found.documents
    assert (document.kind, document.path, document.status) == ("config", "config.toml", "changed")
    assert document.values == (ValueChange("b", "2", "3"),)
    assert (document.lines, document.changes_meaning, found.same) == ((), True, False)
    assert found.changes == ()


def test_comments_and_the_order_of_keys_mean_nothing(store: Store) -> None:
    found = compared(store, config_toml=b"# more\nb = 2\na = 1.0\n")
    (document,) = found.documents
    assert (document.values, document.changes_meaning, found.same) == ((), False, True)


def test_text_is_compared_by_line_and_so_is_what_is_damaged(store: Store) -> None:
    found = compared(store, config_toml=b"a = 1\nb = \n", notes_md=b"x\n")
    notes, config = sorted(found.documents, key=lambda each: each.path, reverse=True)
    assert config.lines == (LineChange("-", "b = 2"), LineChange("+", "b = "))
    assert (notes.kind, notes.path, notes.status) == ("file", "notes.md", "added")
    assert notes.lines == (LineChange("+", "x"),)
    assert not found.same


def test_a_file_that_came_or_went_has_all_its_values(store: Store) -> None:
    first = {"entries": files(inputs__a_json=b'{"x": [1]}', inputs__b_json=b"[2]")}
    found = difference(store, first=first, then={"entries": files(inputs__c_json=b"3")})
    rows = [(each.path, each.status, each.values) for each in found.documents]
    assert sorted(rows) == [
        ("inputs/a.json", "removed", (ValueChange("x", "[1]", None),)),
        ("inputs/b.json", "removed", (ValueChange('""', "[2]", None),)),
        ("inputs/c.json", "added", (ValueChange('""', None, "3"),)),
    ]


def test_a_patch_is_a_change_and_no_document(store: Store) -> None:
    found = compared(store, patches__code_patch=b"x\n")
    assert [(each.kind, each.key) for each in found.changes] == [("patch", "patches/code.patch")]
    assert found.documents == ()


def test_an_empty_file_that_came_means_something(store: Store) -> None:
    (document,) = compared(store, inputs__x_toml=b"").documents
    assert (document.values, document.lines, document.changes_meaning) == ((), (), True)


def test_a_config_of_another_form_is_one_changed_file(store: Store) -> None:
    found = difference(
        store,
        first={"entries": files()},
        then={
            "entries": files(config_toml=None, config_json=b'{"a": 1, "b": 4}'),
            "config": "config.json",
        },
    )
    (document,) = found.documents
    assert (document.path, document.status) == ("config.json", "changed")
    assert document.values == (ValueChange("b", "2", "4"),)


def test_captions_are_compared_by_tag(store: Store) -> None:
    found = compared(
        store,
        captions__img__00_txt=b"hat, zqx",
        captions__img__02_txt=b"solo",
        captions__img__01_txt=b"\xff",
    )
    assert found.captions == (
        CaptionChange("img/00.txt", ("zqx", "solo"), ("hat", "zqx")),
        CaptionChange("img/01.txt", None, ("\\xff",)),
        CaptionChange("img/02.txt", None, ("solo",)),
    )
    assert [(each.tag, each.removed, each.added) for each in found.tags] == [
        ("hat", 0, 1),
        ("solo", 1, 0),
    ]
    assert (found.changes, found.same) == ((), False)


def test_arguments_are_changes_of_their_own(store: Store) -> None:
    argv = ("python", "sdxl_train_network.py", "--seed", "7")
    found = difference(store, first={}, then={"argv": argv})
    assert [(each.kind, each.key, each.after) for each in found.changes] == [
        ("argument", "seed", "7")
    ]
    assert found.of("argument") == found.changes
    assert (found.of("weights"), found.same) == ((), False)


def test_weights_of_one_name_need_both_hashes(store: Store) -> None:
    both = (Weights("VAE", "a.pt", "a" * 64), Weights("Base-Model", "b", None))
    then = (Weights("VAE", "a.pt", None), Weights("Base-Model", "c", "c" * 64))
    found = difference(store, first={"weights": both}, then={"weights": then})
    assert found.not_compared[-1] == "VAE: its hash is not on record of both"
    assert [each.key for each in found.changes] == ["Base-Model"]


def test_of_several_weights_of_a_role_each_needs_both_hashes(store: Store) -> None:
    first = (Weights("VAE", "a.pt", "a" * 64), Weights("VAE", "b.pt", None))
    then = (Weights("VAE", "a.pt", "a" * 64), Weights("VAE", "b.pt", "b" * 64))
    found = difference(store, first={"weights": first}, then={"weights": then})
    assert found.changes == ()
    assert found.not_compared[-1] == "VAE 2: its hash is not on record of both"


def listing(*rows: tuple[str, str]) -> bytes:
    return "".join(f"{digit * 64}  {name}\n" for digit, name in rows).encode()


def test_images_and_files_that_have_only_a_hash_are_changes(store: Store) -> None:
    first = files(dataset_sha256=listing(("a", "0.png"), ("b", "notes.txt")))
    then = files(dataset_sha256=listing(("c", "0.png"), ("d", "notes.txt")))
    found = difference(store, first={"entries": first}, then={"entries": then})
    assert [(each.kind, each.key) for each in found.changes] == [
        ("image", "0.png"),
        ("file", "notes.txt"),
    ]
    assert found.documents == ()
    assert found.not_compared == (
        "environment and packages: not on record of noob-gren-v1s4 and noob-gren-v2s4",
    )


def test_where_one_has_no_hashes_no_image_and_no_such_file_is_compared(store: Store) -> None:
    then = files(dataset_sha256=listing(("c", "0.png"), ("d", "notes.txt")), notes_md=b"x\n")
    found = difference(store, first={"entries": files()}, then={"entries": then})
    assert found.changes == ()
    assert [each.path for each in found.documents] == ["notes.md"]
    assert found.not_compared[0] == "images: not on record of noob-gren-v1s4"


def test_what_an_import_could_not_learn_is_not_compared(store: Store) -> None:
    sealed(store, ONE)
    argv = ("python", "sdxl_train_network.py", "--seed", "7")
    sealed(store, TWO, argv=argv, entries=files(metadata_toml=b"x = 1\n", config_toml=b"a = 2\n"))
    top = store.repository.top
    message = git(top, "log", "-1", "--format=%B", "runs").strip()
    tree = git(top, "rev-parse", "runs^{tree}")
    edited = f"{message}\nMissing: command\nMissing: trainer commit\nMissing: captions\n"
    commit = git(top, "commit-tree", "-p", "runs~1", tree, text_input=edited)
    git(top, "update-ref", "refs/heads/runs", commit)
    runs = {run.name: run for run in History.of(top).runs}
    found = compare_in_full(runs[ONE], runs[TWO])
    assert (found.changes, found.captions) == ((), ())
    assert [each.path for each in found.documents] == ["config.toml"]
    assert found.not_compared[:3] == (
        "arguments: not on record of noob-gren-v2s4",
        "the trainer's commit: not on record of noob-gren-v2s4",
        "captions: not on record of noob-gren-v2s4",
    )


def test_a_run_without_a_command_has_no_arguments_to_compare(store: Store) -> None:
    argv = ("python", "sdxl_train_network.py", "--seed", "7")
    found = difference(store, first={"argv": argv}, then={"argv": ()})
    assert found.changes == ()
    assert found.not_compared[0] == "arguments: not on record of noob-gren-v2s4"


def test_a_trainer_of_a_known_version_has_no_gap(store: Store) -> None:
    sealed(store, ONE)
    (run,) = History.of(store.repository.top).runs
    released = run.record.trainer._replace(commit=None, version="1.0")
    unknown = released._replace(version=None)
    for trainer, lacks in ((released, False), (unknown, True), (run.record.trainer, False)):
        run.reader._records[run.commit] = run.record._replace(trainer=trainer)
        gaps = compare_in_full(run, run).not_compared
        assert any("the trainer's commit" in each for each in gaps) == lacks
        run.reader._records.clear()


def test_a_run_is_compared_with_itself(store: Store) -> None:
    store.open(a_run(name=ONE))
    (run,) = History.of(store.repository.top).runs
    found = compare_in_full(run, run)
    assert found.same
    assert found.not_compared[0] == "images: not on record of noob-gren-v1s4"


def test_what_a_file_gave_one_of_the_runs_alone_is_not_compared(store: Store) -> None:
    command = ("python", "sdxl_train_network.py", "--config_file", "/out/inputs/gui.toml")
    entries = files(inputs__gui_toml=b"seed = 7\n"), files(inputs__gui_toml=b"seed = 8\n")
    found = difference(
        store,
        first={"argv": command, "entries": entries[0]},
        then={"argv": command, "entries": entries[1], "arguments": {"seed": ("8",)}},
    )
    assert found.changes == ()
    assert found.not_compared[-1] == "what --config_file gave: not on record of noob-gren-v1s4"
    (document,) = found.documents
    assert document.values == (ValueChange("seed", "7", "8"),)


def test_a_file_of_arguments_that_are_listed_is_no_document(store: Store) -> None:
    command = ("python", "sdxl_train_network.py", "--config_file")
    found = difference(
        store,
        first={
            "argv": (*command, "/out/one/inputs/gui.toml"),
            "entries": files(inputs__gui_toml=b"seed = 7\n"),
            "arguments": {"seed": ("7",)},
        },
        then={
            "argv": (*command, "/out/two/inputs/gui.toml"),
            "entries": files(inputs__gui_toml=b"seed = 8\n"),
            "arguments": {"seed": ("8",)},
        },
    )
    assert found.documents == ()
    assert [change[1:] for change in found.changes] == [("seed", "7", "8")]
