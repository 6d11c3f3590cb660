"""Both hooks that this repository offers to users of pre-commit, under the real tool."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

CI = os.environ.get("CI", "") == "true"
WHAT_PIP_READS = {
    name: value
    for name, value in os.environ.items()
    if name.startswith("PIP_")
    or name.lower().endswith("_proxy")
    or name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
}
"""Where packages come from on this machine: every test has an environment of its own."""
PIP_FILES = [Path.home() / place for place in (".config/pip/pip.conf", ".pip/pip.conf")]
NO_NETWORK = "connection|network|timed out|name resolution|no matching distribution"
PARTS = ("src", "hooks", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
"""What the package is built of."""


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def repository(folder: Path) -> str:
    """Commit all of ``folder``; the commit."""
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def this_repository(folder: Path) -> str:
    """This project as it lies there, committed or not, in a repository of its own; its commit."""
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / part, folder / part)
    return repository(folder)


def pre_commit(folder: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pre_commit", *args]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env={**os.environ, **environ}
    )


@pytest.mark.timeout(
    900
)  # pip installs the package, with what it needs, into an environment of the tool's
def test_both_hooks_work_under_pre_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "tool"))
    for name, value in WHAT_PIP_READS.items():
        monkeypatch.setenv(name, value)
    if "PIP_CONFIG_FILE" not in WHAT_PIP_READS and (
        mine := next(filter(Path.is_file, PIP_FILES), None)
    ):
        monkeypatch.setenv("PIP_CONFIG_FILE", str(mine))
    commit = this_repository(tmp_path / "loragit")
    trainer = tmp_path / "sd-scripts"
    trainer.mkdir()
    (trainer / "train.py").write_text("print()\n")
    repository(trainer)
    dataset = tmp_path / "gren"
    dataset.mkdir()
    (dataset / "loragit.toml").write_text(f'[trainer]\nrepo = "{trainer}"\n')
    (dataset / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {tmp_path / 'loragit'}\n  rev: {commit}\n"
        "  hooks:\n  - id: loragit-trainer-clean\n  - id: loragit-secrets\n"
    )
    repository(dataset)
    installed = pre_commit(dataset, "install", "--install-hooks")
    if (
        installed.returncode != 0
        and not CI
        and re.search(NO_NETWORK, installed.stdout + installed.stderr, re.IGNORECASE)
    ):
        pytest.skip("pip reaches no package index")
    assert installed.returncode == 0, installed.stdout + installed.stderr

    def staged(name: str, content: str) -> subprocess.CompletedProcess[str]:
        (dataset / name).write_text(content)
        git(dataset, "add", name)
        return subprocess.run(
            ["git", "commit", "-m", "more"], cwd=dataset, capture_output=True, text=True
        )

    done = staged("caption.txt", "1girl, holding key")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Passed") == 2

    done = staged("a b.env", f"HF_TOKEN=hf_{'aB3dE6gH9j' * 4}\n")
    assert done.returncode == 1
    assert "a b.env, line 1: Hugging Face token" in done.stderr
    assert "Passed" in done.stderr
    (dataset / "a b.env").write_text("staged is not what lies here")
    assert "line 1" in pre_commit(dataset, "run", "loragit-secrets").stdout
    git(dataset, "rm", "-qf", "--cached", "a b.env")

    (trainer / "train.py").write_text("changed\n")
    done = staged("caption.txt", "1girl")
    assert done.returncode == 1
    assert "sd-scripts has an uncommitted change" in done.stderr
    git(trainer, "checkout", "-q", "train.py")
    assert staged("caption.txt", "1girl").returncode == 0
