"""The graphics cards of this machine, and their driver."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.system import child

SMI_TIMEOUT = 5.0
"""Seconds that nvidia-smi has after the Python is done. It hangs when the driver does."""


class Host(NamedTuple):
    """The paths that describe a machine."""

    proc: Path = Path("/proc")
    wsl: Path = Path("/usr/lib/wsl/lib")
    """Path of ``nvidia-smi`` under WSL, which has no NVIDIA driver of its own."""


THIS_HOST = Host()


class GraphicsQuestion:
    """Queries the names of the NVIDIA cards and the driver's version: from the driver's own files,
    else from nvidia-smi."""

    def __init__(self, host: Host, cwd: Path, env: Mapping[str, str]) -> None:
        driver = host.proc / "driver/nvidia"
        version = re.search(r"Module\b.*?\s(\d+(?:\.\d+)+)", _text_of(driver / "version"))
        self._driver = version[1] if version else None
        found = (
            re.search(r"^Model:\s*(.*\S)", _text_of(f), re.M)
            for f in sorted(driver.glob("gpus/*/information"))
        )
        self._models = tuple(model[1] for model in found if model)
        self._smi = None if self._models else _start_nvidia_smi(host, cwd, env)

    def cancel(self) -> None:
        """Stop the query; its answer is no longer needed."""
        if self._smi is not None:
            self._smi.cancel()

    def answer(self) -> tuple[tuple[str, ...], str | None]:
        """Return the cards' names in bus order, and the driver's version; empty and ``None`` if
        there is none."""
        if self._smi is not None:
            try:
                answer = self._smi.answer(SMI_TIMEOUT)
            except child.TimedOut:
                return self._models, self._driver
            if answer.status == 0:
                rows = [
                    line.rpartition(", ")
                    for line in answer.out.decode("utf-8", "replace").splitlines()
                ]
                models = tuple(name for name, comma, _ in rows if comma)
                return models, next((driver for _, comma, driver in rows if comma), self._driver)
        return self._models, self._driver


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _start_nvidia_smi(host: Host, cwd: Path, env: Mapping[str, str]) -> child.ChildQuestion | None:
    folders = [Path(folder) for folder in env.get("PATH", "").split(os.pathsep) if folder]
    for program in (folder / "nvidia-smi" for folder in (*folders, host.wsl)):
        if os.access(program, os.X_OK) and program.is_file():
            query = ("--query-gpu=name,driver_version", "--format=csv,noheader")
            try:
                return child.ask([str(program), *query], cwd=cwd, env=env)
            except child.CannotStart:
                return None
    return None
