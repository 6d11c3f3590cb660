"""Objects that loragit writes, with git as the witness: its ids, its order, its rules."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loragit.git import checkout, command, packs, repository, trees
from loragit.git import objects as repo
from loragit.git.objects import CannotOpen, CannotWriteObjects, Objects
from loragit.git.trees import CannotRecord
from loragit.record.values import Entry, Identity
from tests.support.processes import commit_all, git

ADA = Identity("Ada Trainer", "ada@example.org", 1_763_918_430, 780)
few = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    return tmp_path


@pytest.fixture
def objects(folder: Path) -> Objects:
    return Objects(folder / ".git")


def listed(folder: Path, tree: str) -> dict[str, tuple[str, str]]:
    """Mode and blob by path, as git reads the tree."""
    out = subprocess.run(
        ["git", "ls-tree", "-r", "-z", tree], cwd=folder, capture_output=True, check=True
    ).stdout
    rows = (row.partition(b"\t") for row in out.split(b"\0") if row)
    return {os.fsdecode(path): (about.decode()[:6], about.decode()[12:]) for about, _, path in rows}


def written_by_git(folder: Path, tree: str) -> str:
    """The id that git gives a tree of the same files."""
    own = {**os.environ, "GIT_INDEX_FILE": str(folder / ".git" / "scratch-index")}
    subprocess.run(["git", "read-tree", tree], cwd=folder, env=own, check=True)
    done = subprocess.run(
        ["git", "write-tree"], cwd=folder, env=own, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def count(folder: Path) -> int:
    return int(git(folder, "count-objects").split()[0])


# ---- trees ----

PART = (
    st.sampled_from(["a", "a.b", "a-b", "a0", "b", "été"])
    | (st.text(min_size=1, max_size=4) | st.binary(min_size=1, max_size=4).map(os.fsdecode))
).filter(
    lambda p: (
        "/" not in p
        and "\0" not in p
        and p.strip(".")
        and ".git" not in p.lower()
        and "git~" not in p
    )
)


@few
@given(
    st.lists(
        st.tuples(st.lists(PART, min_size=1, max_size=3), st.binary(max_size=4), st.booleans()),
        max_size=8,
    )
)
@example(
    [
        (["a.b"], b"1", False),
        (["a", "x"], b"2", True),
        (["a-b"], b"", False),
        (["a0"], b"\r\n", False),
    ]
)
def test_a_tree_is_what_git_itself_would_write(
    folder: Path, objects: Objects, files: list[tuple[list[str], bytes, bool]]
) -> None:
    entries: dict[str, Entry] = {}
    folders: set[str] = set()
    for parts, data, executable in files:
        path = "/".join(parts)
        above = {"/".join(parts[:n]) for n in range(1, len(parts))}
        if path not in folders and not above & set(entries):
            entries[path] = Entry(path, data, executable)
            folders |= above
    tree = trees.write(objects, entries.values())
    assert listed(folder, tree).keys() == entries.keys()
    for path, (mode, _) in listed(folder, tree).items():
        assert mode == ("100755" if entries[path].executable else "100644")
    assert written_by_git(folder, tree) == tree
    assert trees.write(objects, reversed(entries.values())) == tree
    assert trees.write(objects, entries.values(), like=tree) == tree


def test_bytes_are_written_as_they_are(folder: Path, objects: Objects) -> None:
    git(folder, "config", "core.autocrlf", "true")
    tree = trees.write(objects, [Entry("a.txt", b"a\r\nb\n\0")])
    blob = listed(folder, tree)["a.txt"][1]
    done = subprocess.run(
        ["git", "cat-file", "blob", blob], cwd=folder, capture_output=True, check=True
    )
    assert done.stdout == b"a\r\nb\n\0"


def test_what_is_there_already_is_not_written_again(folder: Path, objects: Objects) -> None:
    captions = [Entry(f"captions/img/{n:02d}.txt", b"caption %d" % n) for n in range(20)]
    first = trees.write(objects, [Entry("run.toml", b"1"), *captions])
    before = count(folder)
    second = trees.write(objects, [Entry("run.toml", b"2"), *captions], like=first)
    assert count(folder) == before + 2  # run.toml and the tree at the top
    kept = listed(folder, second)["captions/img/00.txt"]
    assert kept == listed(folder, first)["captions/img/00.txt"]
    captions_tree = git(folder, "rev-parse", f"{first}:captions")
    assert (
        trees.write(objects, [Entry("run.toml", b"2")], kept=[("captions", captions_tree)])
        == second
    )


def test_a_file_where_a_folder_was_and_the_other_way_round(folder: Path, objects: Objects) -> None:
    first = trees.write(objects, [Entry("a", b"1"), Entry("b/c", b"2"), Entry("d", b"3")])
    second = trees.write(
        objects,
        [Entry("a/x", b"1"), Entry("b", b"2"), Entry("d", b"3", executable=True)],
        like=first,
    )
    assert {path: mode for path, (mode, _) in listed(folder, second).items()} == {
        "a/x": "100644",
        "b": "100644",
        "d": "100755",
    }


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".", "..", ""])
def test_names_that_git_refuses_are_refused(objects: Objects, name: str) -> None:
    with pytest.raises(CannotRecord, match="git takes no folder") as refused:
        trees.write(objects, [Entry(f"captions/{name}/00.txt", b"")])
    assert refused.value.hint


# ---- several datasets in one tree ----

PLACES = ("", "gren", "gren/inner", "mark", "deep/er/dataset")


@few
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.none() | st.integers(0, 3)), max_size=8))
@example([("gren/inner", 1), ("gren", 2), ("", 0), ("gren", None), ("", None)])
def test_each_dataset_keeps_its_record_whatever_happens_to_the_others(
    folder: Path, objects: Objects, steps: list[tuple[str, int | None]]
) -> None:
    tree: str | None = None
    expected: dict[str, int] = {}
    for place, version in steps:
        record = None
        if version is None:
            expected.pop(place, None)
        else:
            expected[place] = version
            record = trees.write(
                objects, [Entry("run.toml", b"%d" % version), Entry("captions/img/a.txt", b"x")]
            )
        tree = trees.graft(objects, tree, place, record)
    found = listed(folder, tree) if tree else {}
    names = {
        f"{place}/{name}".lstrip("/")
        for place in expected
        for name in ("run.toml", "captions/img/a.txt")
    }
    assert found.keys() == names
    for place, version in expected.items():
        path = f"{place}/run.toml".lstrip("/")
        assert git(folder, "cat-file", "blob", found[path][1]) == str(version)


def test_what_a_dataset_leaves_empty_goes(folder: Path, objects: Objects) -> None:
    record = trees.write(objects, [Entry("run.toml", b"1")])
    both = trees.graft(objects, trees.graft(objects, None, "a/b", record), "c", record)
    assert trees.graft(objects, both, "a/b", None) == trees.graft(objects, None, "c", record)
    assert listed(folder, trees.graft(objects, None, "a", None)) == {}
    assert trees.graft(objects, None, "", record) == record


def test_a_file_in_the_way_of_a_dataset_is_replaced(folder: Path, objects: Objects) -> None:
    record = trees.write(objects, [Entry("run.toml", b"1")])
    base = trees.write(objects, [Entry("a", b"a file"), Entry("z", b"kept")])
    assert listed(folder, trees.graft(objects, base, "a/b", record)).keys() == {"a/b/run.toml", "z"}


# ---- commits and tags ----


def test_commits_and_tags_are_those_that_git_writes(folder: Path, objects: Objects) -> None:
    tree = trees.write(objects, [Entry("a", b"1")])
    first = objects.commit(tree, [], "été\n\nbody\n", ADA, ADA.at(5))
    second = objects.commit(tree, [first], "second\n", ADA, ADA._replace(offset=-210))
    tag = objects.tag("v1", second, "outcome\n\nRun: v1\n", ADA._replace(offset=-210))
    git(folder, "update-ref", "refs/tags/v1", tag)
    git(folder, "fsck", "--strict", "--full")
    assert git(folder, "log", "--format=%an|%ae|%ad|%cd|%s", "--date=raw", "v1").splitlines() == [
        "Ada Trainer|ada@example.org|1763918430 +1300|1763918430 -0330|second",
        "Ada Trainer|ada@example.org|1763918430 +1300|5 +1300|été",
    ]
    assert git(folder, "cat-file", "tag", "v1").splitlines()[:4] == [
        f"object {second}",
        "type commit",
        "tag v1",
        "tagger Ada Trainer <ada@example.org> 1763918430 -0330",
    ]
    assert [(c.id, c.parents) for c in objects.history(second)] == [(second, (first,)), (first, ())]
    read = objects.read_commit(first)
    assert (read.id, read.tree, read.message, read.parents) == (first, tree, "été\n\nbody\n", ())
    git(folder, "tag", "light", first)
    assert (objects.tag_commit("refs/tags/v1"), objects.tag_commit("refs/tags/light")) == (
        second,
        first,
    )
    assert objects.tag_commit("refs/tags/nothing") is None
    assert objects.tag_commit("refs/tags/not a name") is None
    with pytest.raises(KeyError):
        objects.read_commit("0" * 40)


def test_a_part_of_a_tree_is_found_by_its_path(folder: Path, objects: Objects) -> None:
    (folder / "a b" / "été").mkdir(parents=True)
    (folder / "a b" / "été" / "x").write_text("1")
    commit = commit_all(folder, "first")
    assert trees.subtree(objects, commit, "") == git(folder, "rev-parse", "HEAD^{tree}")
    assert trees.subtree(objects, commit, "a b/été") == git(folder, "rev-parse", "HEAD:a b/été")
    assert trees.subtree(objects, commit, "a b/été/x") is None, "a file is no folder"
    assert trees.subtree(objects, commit, "nothing/here") is None


# ---- what cannot be ----


def test_what_libgit2_does_not_open_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="cannot be opened") as refused:
        Objects(tmp_path)
    assert "git init" in str(refused.value.hint)


def test_a_repository_with_other_hashes_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256")
    with pytest.raises(CannotOpen):
        Objects(tmp_path / ".git")


@pytest.fixture
def full(folder: Path, objects: Objects) -> str:
    """No object can be written any more. The tree that was written last."""
    tree = trees.write(objects, [Entry("a", b"0")])
    ids = git(folder, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    git(folder, "pack-objects", "-q", ".git/objects/pack/pack", text_input=ids + "\n")
    git(folder, "prune-packed")
    for number in range(256):  # a file where each folder would be
        (folder / ".git" / "objects" / f"{number:02x}").write_text("")
    return tree


def test_objects_that_cannot_be_written_are_an_error_with_a_next_step(
    folder: Path, objects: Objects, full: str
) -> None:
    attempts: tuple[Callable[[], str], ...] = (
        lambda: trees.write(objects, [Entry("a", b"1")]),
        lambda: trees.graft(objects, None, "a", full),
        lambda: objects.tag("v1", "0" * 40, "m", ADA),
    )
    for write in attempts:
        with pytest.raises(CannotWriteObjects, match="the record cannot be written") as failed:
            write()
        assert str(folder) in str(failed.value.hint)


def test_a_commit_that_cannot_be_written_is_an_error_too(objects: Objects, full: str) -> None:
    with pytest.raises(CannotWriteObjects, match="the record cannot be written"):
        objects.commit(full, [], "m", ADA, ADA)


def test_importing_early_is_all_that_loading_does() -> None:
    assert repo.load() is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 1_000_000, bytes(range(256)) * 1000])
def test_an_object_that_is_cut_short_is_told_from_a_whole_one(dataset: Path, data: bytes) -> None:
    (dataset / "b").write_bytes(data)
    name = git(dataset, "hash-object", "-w", "b")
    path = dataset / ".git" / "objects" / name[:2] / name[2:]
    whole = path.read_bytes()
    assert not packs.cut_short(path)
    assert not packs.cut_short(path.with_name("nothing"))
    path.chmod(0o644)
    for length in {0, 1, len(whole) // 2, len(whole) - 4, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert packs.cut_short(path), length
    path.write_bytes(b"no object at all")
    assert not packs.cut_short(path)


@pytest.mark.parametrize("what", ["HEAD", "HEAD^{tree}"])
def test_a_dataset_whose_commit_is_lost_is_told_with_a_next_step(dataset: Path, what: str) -> None:
    name = git(dataset, "rev-parse", what)
    (dataset / ".git" / "objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(command.GitFailed, match="git status failed") as caught:
        checkout.read_dirty(checkout.start_dirty(repository.discover(dataset)))
    assert str(caught.value.hint).startswith("git fsck tells more")
