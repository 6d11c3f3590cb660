"""A hub's cache on this machine: which revision of a model it holds.

Its form is huggingface_hub's ("Understand caching"): ``models--OWNER--NAME/refs/main`` holds a
commit's id, and ``snapshots/COMMIT/`` the files. Where it lies, variables of the trainer's
environment say (``huggingface_hub/constants.py``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from loragit.settings import paths
from loragit.trainers.trainer import HubName

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def cache_folder(environ: Mapping[str, str], workdir: Path) -> Path:
    """Return the cache of a program that runs in ``workdir`` with ``environ``; it need not
    exist."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return paths.expand_path(environ[name], workdir, environ)
    if environ.get("HF_HOME"):
        return paths.expand_path(environ["HF_HOME"], workdir, environ) / "hub"
    user = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return paths.expand_path(user, workdir, environ) / "huggingface" / "hub"


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether nothing is downloaded: what the cache lacks is then missing."""
    switches = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(environ.get(name, "").upper() in _TRUE for name in switches)


def cached_snapshot(name: HubName, cache: Path) -> Path | None:
    """Return the folder that holds ``name`` at its revision, itself called after its commit (40 hex
    digits); ``None`` where ``cache`` has no such revision."""
    folder = cache / f"{name.kind}s--{name.id.replace('/', '--')}"
    if _COMMIT.fullmatch(name.revision):
        commit = name.revision
    elif _REVISION.fullmatch(name.revision):
        try:
            with (folder / "refs" / name.revision).open("rb") as file:
                commit = file.read(100).decode("ascii", "replace").strip()
        except OSError:
            return None
    else:
        return None
    snapshot = folder / "snapshots" / commit
    return snapshot if _COMMIT.fullmatch(commit) and os.path.isdir(snapshot) else None
