"""What the zsh helpers wrote, read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.record import run_toml
from loragit.record.values import ImportedCode
from loragit.run.importing import zsh_helpers
from loragit.run.importing.zsh_helpers import ReposGit, RepositoryLine, Sha1Line
from tests.support import made_up_runs

pytestmark = pytest.mark.every_python

ID = "1f" * 20
LONG_ID = "1f" * 32

PATHS = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1, max_size=40
).map(lambda path: f"/{path}")
BRANCHES = st.from_regex(r"\A[A-Za-z0-9()/._-]{1,20}\Z").filter(
    lambda branch: branch not in ("detached", "HEAD")
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"/code/sd-scripts: (sd3) {ID}", RepositoryLine("/code/sd-scripts", ID, "sd3")),
        (
            f"/code/sd-scripts: (fix(ui)/x) {LONG_ID}",
            RepositoryLine("/code/sd-scripts", LONG_ID, "fix(ui)/x"),
        ),
        (f"/a: (b) c: (d) e/x y: (dev) {ID}", RepositoryLine("/a: (b) c: (d) e/x y", ID, "dev")),
        (f"/code/sd-scripts: (detached) {ID}", RepositoryLine("/code/sd-scripts", ID, None)),
        (f"/code/sd-scripts: (HEAD) {ID}", RepositoryLine("/code/sd-scripts", ID, None)),
        (
            f"/code/sd-scripts: {ID} (Failed to get branch)",
            RepositoryLine("/code/sd-scripts", ID, None),
        ),
        ("/code/LyCORIS: Git command failed", RepositoryLine("/code/LyCORIS", None, None)),
        ("/code/LyCORIS: Not a git repository", RepositoryLine("/code/LyCORIS", None, None)),
    ],
)
def test_a_repository_is_read_from_the_end_of_its_line(line: str, expected: RepositoryLine) -> None:
    for ends in ("\n", "\r\n", ""):
        assert zsh_helpers.parse_repos_git((line + ends).encode()) == ReposGit((expected,))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"/my scripts/go: (1).zsh: {ID}", Sha1Line("/my scripts/go: (1).zsh", ID)),
        (f"{ID}  train.sh", Sha1Line("train.sh", ID)),
        (f"{ID} *train.sh", Sha1Line("train.sh", ID)),
    ],
)
def test_a_file_is_read_in_the_helpers_form_and_in_sha1sums(line: str, expected: Sha1Line) -> None:
    read = zsh_helpers.parse_repos_git(line.encode())
    assert read == ReposGit(files=(expected,))
    assert read.sha1(expected.name) == ID
    assert read.sha1("other") is None


def test_what_loragit_itself_writes_is_read() -> None:
    read = zsh_helpers.parse_repos_git(run_toml.repos_git(made_up_runs.a_run()))
    assert read.repositories == (RepositoryLine("/code/sd-scripts", "a" * 40, "sd3"),)
    assert [file.path for file in read.files] == ["train.sh", "config.toml"]
    assert read.unread == 0


def test_damaged_lines_are_counted_and_the_others_read() -> None:
    data = (
        b"\xef\xbb\xbf/code/\xff: (sd3) "
        + ID.encode()
        + b"\n\x00\x01\n/code/x: (sd3) 1f1f\n\nsd-scripts\n"
    )
    read = zsh_helpers.parse_repos_git(data)
    assert read == ReposGit((RepositoryLine("/code/\udcff", ID, "sd3"),), unread=3)


@given(PATHS, BRANCHES, st.sampled_from([ID, LONG_ID]))
def test_any_path_and_branch_come_back(path: str, branch: str, commit: str) -> None:
    read = zsh_helpers.parse_repos_git(f"{path}: ({branch}) {commit}\n".encode())
    assert read.repositories == (RepositoryLine(path, commit, branch),)
    assert zsh_helpers.parse_repos_git(f"{path}: {ID}\n".encode()).files == (Sha1Line(path, ID),)


@given(st.binary(max_size=300))
def test_no_bytes_are_too_damaged(data: bytes) -> None:
    read = zsh_helpers.parse_repos_git(data)
    zsh_helpers.sorted_codes(read.repositories)
    list(zsh_helpers.dataset_folders(read, data, "/home/ada"))


def test_repositories_are_told_apart_by_name_then_by_what_they_hold(tmp_path: Path) -> None:
    trainer, lycoris = tmp_path / "kohya", tmp_path / "adapters"
    (lycoris / "lycoris").mkdir(parents=True)
    (lycoris / "lycoris" / "kohya.py").touch()
    trainer.mkdir()
    (trainer / "train_network.py").touch()
    named = [
        RepositoryLine(path, ID, None)
        for path in ("/x/LyCORIS-fork", "/x/sd-scripts-dev/", "/x/sd-scripts", "notes")
    ]
    assert zsh_helpers.sorted_codes(tuple(named)) == zsh_helpers.Codes(
        ImportedCode("sd-scripts-dev", ID, None),
        ImportedCode("LyCORIS-fork", ID, None),
        (ImportedCode("sd-scripts", ID, None), ImportedCode("notes", ID, None)),
    )
    held = tuple(RepositoryLine(str(path), ID, "dev") for path in (lycoris, trainer, tmp_path))
    assert zsh_helpers.sorted_codes(held) == zsh_helpers.Codes(
        ImportedCode("kohya", ID, "dev"),
        ImportedCode("adapters", ID, "dev"),
        (ImportedCode(tmp_path.name, ID, "dev"),),
    )
    assert (
        zsh_helpers.sorted_codes((RepositoryLine("/x/sd-scripts", None, None),))
        == zsh_helpers.Codes()
    )
    for name in ("a\0b", "a" * 5000):
        assert zsh_helpers.sorted_codes((RepositoryLine(f"/{name}", ID, None),)).others == (
            ImportedCode(name, ID, None),
        )


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("TRAINING_DIR=/data/gren\n", ["/data/gren"]),
        ('export TRAINING_DIR="$HOME/my data/gren" # here\n', ["/home/ada/my data/gren"]),
        ("  TRAINING_DIR=~/gren; x", ["/home/ada/gren"]),
        ("TRAINING_DIR='${HOME}/gren'\n", []),
        ("python x.py --dataset_config=${HOME}/gren/config.toml \\\n", ["/home/ada/gren"]),
        ('python x.py --dataset_config "/a b/config.toml"', ["/a b"]),
        ('python x.py --dataset_config "$TRAINING_DIR/config.toml"', []),
        ('TRAINING_DIR="${1:-/data}"\n', []),
        ("TRAINING_DIR=gren\n# TRAINING_DIR=/no\n", []),
        ("MY_TRAINING_DIR=/no\n", []),
    ],
)
def test_a_script_names_its_dataset_as_far_as_it_says_all_itself(
    script: str, expected: list[str]
) -> None:
    assert [
        str(path) for path in zsh_helpers.dataset_folders(ReposGit(), script.encode(), "/home/ada")
    ] == expected


def test_the_config_in_repos_git_names_the_dataset_after_the_script() -> None:
    paths = ("/d/gren/train.zsh", "/d/gren/config.toml", "config.json")
    told = ReposGit(files=tuple(Sha1Line(path, ID) for path in paths))
    found = zsh_helpers.dataset_folders(told, b"TRAINING_DIR=/d/other\n", "")
    assert [str(path) for path in found] == ["/d/other", "/d/gren"]
