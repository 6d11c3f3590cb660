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
    ref = ref_file(name, cache)
    commit = name.revision if ref is None else commit_at(ref)
    if commit is None or not _COMMIT.fullmatch(commit):
        return None
    snapshot = _folder(name, cache) / "snapshots" / commit
    return snapshot if os.path.isdir(snapshot) else None


def ref_file(name: HubName, cache: Path) -> Path | None:
    """Return the file that holds the commit of ``name``'s revision, and that a download rewrites;
    ``None`` where the revision is a commit itself, or can be none at all."""
    if _COMMIT.fullmatch(name.revision) or not _REVISION.fullmatch(name.revision):
        return None
    return _folder(name, cache) / "refs" / name.revision


def commit_at(ref: Path) -> str | None:
    """Return the commit (40 hex digits) in a file of :func:`ref_file`; ``None`` without one."""
    try:
        with ref.open("rb") as file:
            written = file.read(100).decode("ascii", "replace").strip()
    except OSError:
        return None
    return written if _COMMIT.fullmatch(written) else None


def _folder(name: HubName, cache: Path) -> Path:
    return cache / f"{name.kind}s--{name.id.replace('/', '--')}"
