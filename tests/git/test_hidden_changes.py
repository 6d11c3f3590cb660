"""What a checkout's state tells although ``git status`` is told not to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loragit.errors import Area
from loragit.git import checkout
from loragit.record.values import RepoState
from tests.support.processes import commit_all, git


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    folder = tmp_path / "sd-scripts"
    for name in ("train_network.py", "library/__init__.py", "library/train_util.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    (folder / ".gitignore").write_text("venv\nbuild\n*.so\n__pycache__\n")
    git(folder, "init", "-q")
    commit_all(folder, "trainer")
    return folder


def state(folder: Path) -> RepoState:
    return checkout.repo_state(folder, "sd-scripts")


def edit(folder: Path) -> Path:
    file = folder / "library/train_util.py"
    file.write_text("# patched loss\n")
    return file


def clone(folder: Path, to: Path) -> Path:
    git(to.parent, "-c", "protocol.file.allow=always", "clone", "-q", str(folder), str(to))
    return to


def is_patched(folder: Path, copy: Path) -> bool:
    """Whether the patch makes ``copy``, which is clean, what ``folder`` is."""
    (copy.parent / "a.patch").write_bytes(checkout.patch(state(folder)))
    git(copy, "apply", "--binary", str(copy.parent / "a.patch"))
    return state(copy)._replace(path=folder, url=None, on_remote=True, hidden=()) == state(
        folder
    )._replace(url=None, on_remote=True, hidden=())


FLAGS = ["assume-unchanged", "skip-worktree"]


@pytest.mark.parametrize("flag", FLAGS)
def test_a_change_that_git_is_told_not_to_look_at_is_dirt(
    trainer: Path, tmp_path: Path, flag: str
) -> None:
    copy = clone(trainer, tmp_path / "copy")
    git(trainer, "update-index", f"--{flag}", "library/train_util.py")
    assert state(trainer).dirty == (), "a flag alone is no change"
    edit(trainer)
    assert git(trainer, "status", "--porcelain") == ""
    index = (trainer / ".git/index").read_bytes()
    found = state(trainer)
    assert found.dirty == ("library/train_util.py",)
    assert [(each.path, each.why) for each in found.hidden] == [(found.dirty[0], flag)]
    problem, hint, _ = checkout.dirty(found, Area.TRAINER)
    assert f"library/train_util.py ({flag})" in problem
    assert "--no-assume-unchanged --no-skip-worktree -- library/train_util.py" in str(hint)
    assert is_patched(trainer, copy)
    assert (trainer / ".git/index").read_bytes() == index
    git(trainer, *(f"update-index --no-{flag} library/train_util.py".split()))
    assert state(trainer).hidden == ()


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flagged_file_that_is_gone_is_dirt(trainer: Path, flag: str) -> None:
    git(trainer, "update-index", f"--{flag}", "library/train_util.py")
    (trainer / "library/train_util.py").unlink()
    assert state(trainer).dirty == ("library/train_util.py",)


@pytest.mark.parametrize(
    "setting", ["core.splitIndex", "core.ignoreStat", "core.untrackedCache", "core.autocrlf"]
)
def test_settings_of_the_index_hide_nothing_and_invent_nothing(trainer: Path, setting: str) -> None:
    git(trainer, "config", setting, "true")
    git(trainer, "checkout", "-q", "HEAD~0", "--", ".")
    git(trainer, "update-index", "--assume-unchanged", "library/train_util.py")
    files = sorted(path.name for path in (trainer / ".git").iterdir())
    assert state(trainer).dirty == ()
    edit(trainer)
    assert state(trainer).dirty == ("library/train_util.py",)
    assert sorted(path.name for path in (trainer / ".git").iterdir()) == files


def test_what_a_sparse_checkout_leaves_out_is_no_dirt(trainer: Path, tmp_path: Path) -> None:
    (trainer / "docs").mkdir()
    (trainer / "docs/a.py").write_text("")
    commit_all(trainer, "docs")
    git(trainer, "sparse-checkout", "set", "library")
    assert not (trainer / "docs").exists()
    assert state(trainer).dirty == ()
    copy = clone(trainer, tmp_path / "copy")
    edit(trainer)
    assert state(trainer).dirty == ("library/train_util.py",)
    assert is_patched(trainer, copy)
    assert (copy / "docs/a.py").exists()


def test_a_link_and_a_mode_are_compared_as_git_does(trainer: Path) -> None:
    (trainer / "link.py").symlink_to("train_network.py")
    commit_all(trainer, "link")
    git(trainer, "update-index", "--skip-worktree", "link.py", "train_network.py")
    assert state(trainer).dirty == ()
    (trainer / "link.py").unlink()
    (trainer / "link.py").symlink_to("library/train_util.py")
    (trainer / "train_network.py").chmod(0o755)
    assert state(trainer).dirty == ("link.py", "train_network.py")


# ---- submodules ----


@pytest.fixture
def outer(trainer: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "kohya"
    folder.mkdir()
    git(folder, "init", "-q")
    local = ("-c", "protocol.file.allow=always")
    git(folder, *local, "submodule", "--quiet", "add", str(trainer), "sub")
    commit_all(folder, "a submodule")
    return folder


def test_changes_in_a_submodule_are_named_file_by_file(outer: Path, tmp_path: Path) -> None:
    copy = clone(outer, tmp_path / "copy")
    git(copy, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    assert state(outer).dirty == ()
    edit(outer / "sub")
    (outer / "sub/mine.py").write_text("")
    (outer / "sub/notes.md").write_text("")
    assert state(outer).dirty == ("sub/library/train_util.py", "sub/mine.py")
    assert is_patched(outer, copy)
    assert (copy / "sub/library/train_util.py").read_text() == "# patched loss\n"


def test_notes_in_a_submodule_are_no_dirt(outer: Path) -> None:
    (outer / "sub/notes.md").write_text("")
    assert "sub" in git(outer, "status", "--porcelain")
    assert state(outer).dirty == ()


@pytest.mark.parametrize("ignore", ["all", "dirty"])
def test_a_submodule_that_git_is_told_to_ignore_is_looked_at(outer: Path, ignore: str) -> None:
    git(outer, "config", "submodule.sub.ignore", ignore)
    git(outer, "config", "diff.ignoreSubmodules", ignore)
    edit(outer / "sub")
    git(outer / "sub", "update-index", "--assume-unchanged", "library/train_util.py")
    found = state(outer)
    assert found.dirty == ("sub/library/train_util.py",)
    assert [each.path for each in found.hidden] == ["sub/library/train_util.py"]
    git(outer / "sub", "commit", "-q", "--allow-empty", "-m", "another commit")
    assert state(outer).dirty == ("sub", "sub/library/train_util.py")


def test_a_submodule_that_is_not_checked_out_is_no_dirt(outer: Path, tmp_path: Path) -> None:
    assert state(clone(outer, tmp_path / "copy")).dirty == ()


# ---- what is imported in place of a tracked file ----


def as_package(folder: Path) -> None:
    (folder / "library/train_util").mkdir()
    (folder / "library/train_util/__init__.py").write_text("")


def as_compiled(folder: Path) -> None:
    (folder / "library/train_util.cpython-311-x86_64-linux-gnu.so").write_bytes(b"\0")


@pytest.mark.parametrize("make", [as_package, as_compiled])
def test_what_python_imports_instead_is_dirt(
    trainer: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    copy = clone(trainer, tmp_path / "copy")
    (trainer / ".git/info/exclude").write_text("library/train_util*\n")
    make(trainer)
    assert git(trainer, "status", "--porcelain") == ""
    (found,) = state(trainer).hidden
    assert found.why == "imported in place of train_util.py"
    (copy / ".git/info/exclude").write_text("library/train_util*\n")
    assert is_patched(trainer, copy)


def test_what_python_does_not_import_instead_is_none(trainer: Path) -> None:
    (trainer / "library/train_util").mkdir()  # a folder of caches: a file comes before it
    (trainer / "library/train_util/x.bin").write_bytes(b"")
    (trainer / "library/other.so").write_bytes(b"")
    (trainer / "venv/library").mkdir(parents=True)
    (trainer / "venv/library/train_util.so").write_bytes(b"")
    assert state(trainer).dirty == ()
