"""Keys to sign with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.processes import git
from tests.support.user_home import Scene


def ssh_key(scene: Scene, passphrase: str = "") -> Path:
    """git set up to sign with a new ssh key, and to trust it."""
    key = scene.home / "key with a space"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", key], check=True)
    (scene.home / "allowed").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    git(scene.dataset, "config", "--global", "gpg.format", "ssh")
    git(
        scene.dataset,
        "config",
        "--global",
        "gpg.ssh.allowedSignersFile",
        str(scene.home / "allowed"),
    )
    git(scene.dataset, "config", "user.signingKey", str(key))
    return key
