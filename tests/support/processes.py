"""``git`` and ``loragit`` as child processes of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LORAGIT = (sys.executable, "-m", "loragit")


def git(folder: Path, *args: str, check: bool = True, text_input: str | None = None) -> str:
    """What ``git ARGS`` prints, without its last newline."""
    done = subprocess.run(
        ["git", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        input=text_input,
        errors="surrogateescape",
    )
    if check and done.returncode != 0:
        raise AssertionError(f"git {' '.join(args)}: {done.stderr}")
    return done.stdout.removesuffix("\n")


def read_all(stream: int) -> bytes:
    """To the end of a pipe, or of a pseudo-terminal that nobody has open any more."""
    data = b""
    # Linux ends a terminal with EIO. One reading may find less than what was written: the rest is
    # still on its way.
    with suppress(OSError):
        while piece := os.read(stream, 65536):
            data += piece
    return data


def commit_all(folder: Path, message: str) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str
