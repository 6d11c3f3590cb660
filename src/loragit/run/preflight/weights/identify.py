"""What each of the weights is that a run starts from: checked to be there, and hashed."""

from __future__ import annotations

import os
from pathlib import Path

from loragit.dataset.hashes import HashCache, hash_file
from loragit.errors import Area, Findings
from loragit.record.values import Weights
from loragit.trainers.trainer import Plan

_WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


def identify_weights(
    plan: Plan, workdir: Path, cache: HashCache, findings: Findings
) -> tuple[Weights, ...]:
    """Return what is known of each of ``plan.weights``, in their order; ``findings`` tell which are
    missing."""
    found = []
    for role, value in plan.weights:
        path = workdir / value
        if os.path.isfile(path):
            prints = findings.ask(lambda path=path: hash_file(path, cache), Area.SETTINGS)  # type: ignore[misc]
            found.append(Weights(role, path.name, prints.sha256 if prints else None))
        elif os.path.isdir(path):
            found.append(Weights(role, path.name, None))
        elif _is_file_path(value):
            findings.add(
                f"{role}: there is no file {path}",
                "mend the path in the settings or the arguments",
                Area.SETTINGS,
            )
        else:
            found.append(Weights(role, value, None))
    return tuple(found)


def _is_file_path(value: str) -> bool:
    """Whether a value can only be a path: a hub's id is ``owner/name``, without a suffix of
    weights."""
    return value.startswith(("/", "./", "../", "~")) or value.endswith(_WEIGHT_SUFFIXES)
