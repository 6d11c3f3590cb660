"""Signed seals: made with real keys, judged by ``git tag -v``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from loragit.git import signing
from loragit.git.repository import discover
from loragit.record.values import Identity
from tests.support.made_up_runs import NAME, a_run, an_outcome, open_store, sealed
from tests.support.processes import git
from tests.support.signing_keys import ssh_key
from tests.support.user_home import Scene, make_scene

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None and not os.environ.get("CI"),
    reason="ssh-keygen makes the keys",
)


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def test_with_gpgsign_a_sealed_tag_is_signed_and_git_accepts_it(scene: Scene) -> None:
    ssh_key(scene)
    git(scene.dataset, "config", "tag.gpgSign", "true")
    done = scene.train()
    assert done.status == 0, done.err
    verified = scene.run(("git", "tag", "-v", "noob-gren-v1s4"), scene.dataset, {})
    assert verified.status == 0
    assert 'Good "git" signature for ada@example.org' in verified.err
    outcome = scene.outcome("noob-gren-v1s4")
    assert (outcome["Run"], outcome["Exit-Status"]) == ("noob-gren-v1s4", "0")
    assert "2 models  3 samples" in scene.loragit("log").out
    assert "SIGNATURE" not in scene.loragit("show", "noob-gren-v1s4").out
    scene.git("fsck", "--strict", "--full")
    assert scene.tags() == ["noob-gren-v1s4"]
    assert scene.git("status", "--porcelain") == ""


def test_a_setting_signs_without_gits_and_overrules_it(scene: Scene) -> None:
    ssh_key(scene)
    assert scene.train("noob-gren-v1s4", LORAGIT_RECORD_SIGN="true").status == 0
    git(scene.dataset, "config", "tag.gpgSign", "true")
    assert scene.train("noob-gren-v2s4", LORAGIT_RECORD_SIGN="no").status == 0
    assert scene.train("noob-gren-v3s4", LORAGIT_RECORD_SIGN="git").status == 0
    verified = [
        scene.run(("git", "tag", "-v", f"noob-gren-v{n}s4"), scene.dataset, {}).status
        for n in (1, 2, 3)
    ]
    assert verified == [0, 1, 0]


@pytest.mark.skipif(
    shutil.which("gpg") is None and not os.environ.get("CI"), reason="gpg makes the key"
)
def test_a_gpg_key_signs_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    # A socket's path has little room: the agent's must not lie deep.
    folder = Path(tempfile.mkdtemp(prefix="loragit-gpg-", dir="/tmp"))
    monkeypatch.setenv("GNUPGHOME", str(folder))
    try:
        made = [
            "gpg",
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-generate-key",
            "Ada Trainer <ada@example.org>",
        ]
        subprocess.run(made, check=True, capture_output=True)
        done = scene.train(LORAGIT_RECORD_SIGN="true")
        assert "no signature" not in done.err
        verified = scene.run(("git", "tag", "-v", NAME), scene.dataset, {})
        assert verified.status == 0
        assert "Good signature from" in verified.err
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)  # the agent removes its sockets at the same time


def test_the_object_is_what_an_unsigned_one_would_be_but_for_the_signature(scene: Scene) -> None:
    ssh_key(scene)
    repository = discover(scene.dataset)
    head = scene.git("rev-parse", "HEAD")
    message = "a subject\n\n# no comment\n   indented   \n\nRun: x\n"
    tag = signing.signed_tag(
        repository, "v1", head, message, Identity("Ada Ö", "ada@example.org", 86400, -90)
    )
    raw = subprocess.run(
        ["git", "cat-file", "tag", tag], cwd=scene.dataset, capture_output=True, check=True
    ).stdout
    payload, begin, _ = raw.decode().partition("-----BEGIN SSH SIGNATURE-----")
    assert begin
    assert payload == (
        f"object {head}\ntype commit\ntag v1\ntagger Ada Ö <ada@example.org> 86400 "
        f"-0130\n\n{message}"
    )
    assert scene.tags() == []


def test_in_a_linked_work_tree_its_own_configuration_holds(scene: Scene, tmp_path: Path) -> None:
    key = ssh_key(scene)
    git(scene.dataset, "config", "--unset", "user.signingKey")
    git(scene.dataset, "config", "extensions.worktreeConfig", "true")
    other = tmp_path / 'an "other"'
    git(scene.dataset, "worktree", "add", "-q", "--detach", str(other))
    git(other, "config", "--worktree", "user.signingKey", str(key))
    store = open_store(other)
    opened = store.open(a_run())
    assert store.seal(opened, an_outcome(), sign=True) is None
    git(scene.dataset, "verify-tag", NAME)


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_a_run_is_sealed_all_the_same_where_it_cannot_be_signed(
    scene: Scene, passphrase: str
) -> None:
    key = ssh_key(scene, passphrase)
    if not passphrase:
        key.unlink()
    done = scene.train(LORAGIT_RECORD_SIGN="true")
    assert done.status == 0, done.err
    assert f"sealed {NAME}: 2 models" in done.err
    assert f"warning: {NAME} has no signature: the tag could not be signed: " in done.err
    assert scene.git("cat-file", "-t", NAME) == "tag"
    assert scene.outcome(NAME)["Exit-Status"] == "0"


def test_a_signer_that_waits_for_ever_is_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh_key(scene)
    waits = scene.home / "waits"
    waits.write_text("#!/bin/sh\nexec sleep 600\n")
    waits.chmod(0o755)
    git(scene.dataset, "config", "gpg.ssh.program", str(waits))
    monkeypatch.setattr(signing, "TIMEOUT", 0.2)
    store = open_store(scene.dataset)
    opened = store.open(a_run())
    unsigned = store.seal(opened, an_outcome(), sign=True)
    assert unsigned is not None
    assert unsigned.message == "signing the tag took longer than 0.2 s"
    assert "ssh-add" in str(unsigned.hint)
    assert scene.git("cat-file", "-t", NAME) == "tag"


def test_without_a_folder_for_temporary_files_a_run_is_sealed_unsigned(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(scene.dataset)
    opened = store.open(a_run())
    monkeypatch.setattr(tempfile, "tempdir", str(scene.home / "nowhere"))
    unsigned = store.seal(opened, an_outcome(), sign=True)
    assert unsigned is not None
    assert unsigned.message.endswith("in a folder for temporary files: No such file or directory")
    assert scene.git("cat-file", "-t", NAME) == "tag"


def test_nothing_is_signed_that_nobody_asked_for(scene: Scene) -> None:
    ssh_key(scene)
    store = open_store(scene.dataset)
    sealed(store, NAME)
    assert not signing.wanted(None, store.repository)
    assert signing.wanted(True, store.repository)
    assert scene.run(("git", "tag", "-v", NAME), scene.dataset, {}).status == 1
