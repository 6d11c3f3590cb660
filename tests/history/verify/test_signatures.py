"""Signatures of sealed tags, made with real keys and judged by git."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragit.history.history import History
from loragit.history.verify.signatures import is_signed
from loragit.history.verify.verify import VerifyOptions, verify
from loragit.store.store import Store
from tests.support.made_up_runs import sealed
from tests.support.processes import git
from tests.support.verdicts import ONE, TWO, retagged

pytestmark = pytest.mark.skipif(
    (shutil.which("ssh-keygen") is None or shutil.which("gpg") is None)
    and not os.environ.get("CI"),
    reason="ssh-keygen and gpg make the keys",
)


@pytest.fixture
def store(store: Store) -> Store:
    sealed(store, TWO)
    return store


@pytest.fixture
def ssh(home: Path) -> Path:
    """git set up to sign with an ssh key and to trust it; the list of those trusted."""
    key = home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    allowed = home / "allowed"
    allowed.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    for name, value in (
        ("gpg.format", "ssh"),
        ("gpg.ssh.allowedSignersFile", str(allowed)),
        ("user.signingKey", str(key)),
    ):
        git(home, "config", "--global", name, value)
    return allowed


@pytest.fixture
def gpg(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """git set up to sign with a key that was good for a day in 2020; that program."""
    folder = home / "g"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(folder))
    program = home / "gpg-of-2020"
    program.write_text('#!/bin/sh\nexec gpg -q --batch --faked-system-time 20200101T120000 "$@"\n')
    program.chmod(0o755)
    words = ["--passphrase", "", "--quick-gen-key", "ada@example.org", "ed25519", "sign", "1d"]
    subprocess.run([program, *words], check=True, capture_output=True)
    git(home, "config", "--global", "user.signingKey", "ada@example.org")
    yield program
    subprocess.run(["gpgconf", "--kill", "all"], check=False)


def sign(record: Path, *options: str, name: str = ONE) -> None:
    """The tag anew, with what it said, signed."""
    body = git(record, "cat-file", "tag", name).partition("\n\n")[2]
    commit = git(record, "rev-parse", f"{name}^{{commit}}")
    git(record, *options, "tag", "-f", "-s", "-m", body, name, commit)


def told(record: Path, *, sign: bool | None = None) -> list[tuple[str, str, str]]:
    """(status, run, message) of each verdict on a signature."""
    history = History.of(record)
    try:
        found = verify(history, VerifyOptions((), Path("/nowhere"), sign=sign)).verdicts
    finally:
        history.close()
    return [
        (each.status, each.run or "", each.message) for each in found if each.check == "signature"
    ]


UNSIGNED = "its tag is not signed"
UNKNOWN = "its tag is signed with a key that is not known here"


def test_without_a_signature_a_tag_is_noted_only_where_one_is_wanted(record: Path) -> None:
    assert told(record) == []
    assert told(record, sign=True) == [("note", TWO, UNSIGNED), ("note", ONE, UNSIGNED)]
    git(record, "config", "tag.gpgSign", "true")
    assert len(told(record)) == 2
    assert told(record, sign=False) == []


@pytest.mark.usefixtures("ssh")
def test_a_good_signature_is_no_verdict(record: Path) -> None:
    sign(record)
    assert "BEGIN SSH SIGNATURE" in git(record, "cat-file", "tag", ONE)
    assert told(record) == []
    assert told(record, sign=True) == [("note", TWO, UNSIGNED)]
    sign(record, name=TWO)
    assert told(record, sign=True) == []


def test_signatures_by_keys_that_are_not_known_and_of_a_text_that_was_edited(
    record: Path, ssh: Path
) -> None:
    sign(record)
    sign(record, name=TWO)
    retagged(record, "Exit-Status: 0", "Exit-Status: 7")
    bad = "the signature of its tag is bad: the tag was edited after it was signed"
    assert told(record) == [("wrong", ONE, bad)]
    ssh.write_text("")
    assert ("note", TWO, UNKNOWN) in told(record)


def test_the_users_own_program_judges_and_not_the_repositorys(
    record: Path, ssh: Path, home: Path, tmp_path: Path
) -> None:
    sign(record)
    for name in ("mine", "theirs"):
        (tmp_path / name).write_text(f'#!/bin/sh\ntouch {home}/{name}\nexec ssh-keygen "$@"\n')
        (tmp_path / name).chmod(0o755)
    git(home, "config", "--global", "gpg.program", str(tmp_path / "nowhere"))
    git(home, "config", "--global", "gpg.ssh.program", str(tmp_path / "mine"))
    git(record, "config", "gpg.ssh.program", str(tmp_path / "theirs"))
    assert told(record) == []
    assert (home / "mine").exists() and not (home / "theirs").exists()
    git(home, "config", "--global", "gpg.ssh.program", str(tmp_path / "nowhere"))
    ((status, run, message),) = told(record)
    assert (status, run) == ("note", ONE)
    assert message.startswith("the signature of its tag cannot be judged: ")


def test_a_key_that_has_expired_and_one_that_nobody_has(
    record: Path, gpg: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(record, "-c", f"gpg.program={gpg}")
    assert "BEGIN PGP SIGNATURE" in git(record, "cat-file", "tag", ONE)
    expired = "the signature of its tag is of a key that has expired"
    assert told(record) == [("note", ONE, expired)]
    (home / "empty").mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home / "empty"))
    assert told(record) == [("note", ONE, UNKNOWN)]


def test_what_counts_as_signed() -> None:
    assert not is_signed("a\n\nRun: a\n")
    assert not is_signed("")
    assert is_signed("a\n\nRun: a\n-----BEGIN SSH SIGNATURE-----\nx\n-----END SSH SIGNATURE-----\n")
