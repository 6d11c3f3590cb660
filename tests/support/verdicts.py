"""What ``verify`` says of a record in a test, and damage done to one."""

from __future__ import annotations

import re
from pathlib import Path

from loragit.history.history import History
from loragit.history.verify.verify import VerifyOptions, verify
from tests.support.processes import git

ONE, TWO, THREE = "noob-gren-v1s4", "noob-gren-v2s4", "noob-gren-v3s4"


def told(folder: Path, *names: str, quick: bool = False) -> list[tuple[str, str, str]]:
    """(status, check, message) of each finding; commits and moments are not shown, missing outputs
    left out."""
    history = History.of(folder)
    try:
        report = verify(history, VerifyOptions(names, Path("/nowhere"), quick=quick))
    finally:
        history.close()
    short = [
        (v.status, v.check, re.sub(r"\b[0-9a-f]{8}\b", "ID", v.message)) for v in report.verdicts
    ]
    return [(s, c, re.sub(r"\d{4}-\S+Z", "T", m)) for s, c, m in short if c != "output"]


def retagged(record: Path, old: str, new: str, *, text: str = ONE, name: str = ONE) -> str:
    """The tag ``name`` as another object: what ``text`` has, edited. Its reflog is taken away."""
    before = git(record, "cat-file", "tag", text)
    assert re.search(old, before)
    words = ("hash-object", "-w", "-t", "tag", "--literally", "--stdin")
    made = git(record, *words, text_input=re.sub(old, new, before, count=1) + "\n")
    git(record, "update-ref", f"refs/tags/{name}", made)
    (record / ".git/logs/refs/tags" / name).unlink(missing_ok=True)
    return made


def loose(record: Path, identity: str) -> Path:
    return record / ".git/objects" / identity[:2] / identity[2:]


def damage(record: Path, revision: str) -> None:
    path = loose(record, git(record, "rev-parse", revision))
    path.chmod(0o644)
    path.write_bytes(b"no object")
