"""Objects read through one ``git cat-file``, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragit.git.catfile import Reader
from loragit.git.command import GitFailed
from tests.support.processes import git


@pytest.fixture
def reader(dataset: Path) -> Iterator[Reader]:
    with Reader(dataset) as reader:
        yield reader


def cut_short(dataset: Path, revision: str) -> str:
    """Cut the loose object in the middle, as a power cut or a full disk leaves it; its id."""
    found = git(dataset, "rev-parse", revision)
    path = dataset / ".git" / "objects" / found[:2] / found[2:]
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)
    return found


@pytest.mark.parametrize("revision", ["HEAD^{commit}", "HEAD^{tree}", "HEAD:a.txt", "v1"])
def test_an_object_that_is_cut_short_is_an_error_that_names_it(
    dataset: Path, reader: Reader, revision: str
) -> None:
    # git prints the size, which it finds in the first bytes, before it fails at the rest.
    (dataset / "a.txt").write_bytes(os.urandom(300_000))
    git(dataset, "commit", "-q", "-a", "-m", "\n".join(str(number) for number in range(400)))
    git(dataset, "tag", "-a", "v1", "-m", "\n".join(str(number) for number in range(400)))
    whole = reader.read(revision)
    assert whole is not None
    assert whole.data is not None
    assert whole.size == len(whole.data)
    damaged = cut_short(dataset, revision)
    reader.close()
    with pytest.raises(GitFailed, match=f"git cannot read {damaged}") as failed:
        reader.read(damaged)
    assert failed.value.hint == "git fsck tells more"
    # The git that gave up is gone, and the next question has another.
    (dataset / "b.txt").write_text("b")
    assert reader.read(git(dataset, "hash-object", "-w", "b.txt")) is not None


def test_what_follows_an_object_is_the_next_one(dataset: Path, reader: Reader) -> None:
    """An object may end in a line end, or hold nothing."""
    ids = [
        git(dataset, "hash-object", "-w", "--stdin", text_input=text)
        for text in ("", "\n", "one\n\n", "two")
    ]
    found = reader.read_all([*ids, "no-such-thing", ids[0]])
    assert [each and each.data for each in found] == [b"", b"\n", b"one\n\n", b"two", None, b""]
