"""Which runs a new run continues: known runs whose products are among its starting weights and
states."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.record.values import Ancestor, Weights
from loragit.settings import paths
from loragit.store import products
from loragit.store.products import Records, Sealed
from loragit.trainers import kinds, safetensors
from loragit.trainers.products import entries
from loragit.trainers.trainer import NamedWeights

RESUME = "Resume"
DERIVED = ("Network-Weights", "Base-Weights", "Embedding-Weights")
"""Roles (as in a trainer's ``weights``) of weights that a training continues from."""


class StartingWeights(NamedTuple):
    """Weights, or a folder of training state, that a run starts from."""

    role: str
    path: Path
    sha256: str | None
    """Hash of the file; ``None`` for a folder."""


def starting_weights(
    given: Iterable[NamedWeights], weights: Iterable[Weights], workdir: Path
) -> tuple[StartingWeights, ...]:
    """Return those of ``given`` that a run continues from; ``weights`` are the same, in the same
    order."""
    return tuple(
        StartingWeights(named.role, workdir / named.value, known.sha256)
        for named, known in zip(given, weights, strict=True)
        if named.role in (RESUME, *DERIVED)
    )


def ancestors(
    found: Iterable[StartingWeights], datasets: Path, here: Path, environ: Mapping[str, str]
) -> tuple[Ancestor, ...]:
    """Return the run behind each of ``found``, among the runs of the datasets under ``datasets``
    and of ``here``; each once.

    Weights are identified by their hash, else by the run named in their header; a state by its
    location, else by the hash of the weights in it. Anything that belongs to no known run is
    skipped.
    """
    wanted = tuple(found)
    if not wanted:
        return ()
    records = Records(products.datasets(datasets, here))
    listed = (ancestor for each in wanted for ancestor in _ancestor_of(each, records, environ))
    return tuple(dict.fromkeys(listed))


def _ancestor_of(
    start: StartingWeights, records: Records, environ: Mapping[str, str]
) -> Iterator[Ancestor]:
    if start.role == RESUME:
        located = [
            (sealed, state)
            for sealed in records.holding(f"{start.path.name}\n")
            if (state := _state_name(start.path, sealed, environ)) is not None
        ]
        for sealed, state in located or _states_with_weights_of(start.path, records):
            yield Ancestor(sealed.run, sealed.commit, state, resumed=True)
    elif start.sha256 is not None:
        known = [
            (sealed, _model_name(sealed, start.sha256))
            for sealed in records.holding(f"sha256:{start.sha256}")
        ]
        if not known:
            known = list(_runs_in_header(start.path, records))
        yield from (
            Ancestor(sealed.run, sealed.commit, name, resumed=False) for sealed, name in known[:1]
        )


def _states_with_weights_of(folder: Path, records: Records) -> list[tuple[Sealed, str]]:
    """Return the run, with its state on record, whose weights are those in ``folder``: a state that
    was moved or copied. A state of the same name goes first."""
    patterns = [each.naming.state_weights for each in kinds.all_trainers()]
    for entry in sorted(entries(folder), key=lambda entry: entry.name):
        if not any(each is not None and each.fullmatch(entry.name) for each in patterns):
            continue
        try:
            sha256 = safetensors.hash_file(Path(entry.path)).sha256
        except OSError:
            continue
        found = [
            (sealed, weights.path.rpartition("/")[0])
            for sealed in records.holding(f"sha256:{sha256}")
            for weights in sealed.state_weights
            if weights.sha256 == sha256
        ]
        if found:
            return sorted(found, key=lambda each: each[1] != folder.name)[:1]
    return []


def _model_name(sealed: Sealed, sha256: str) -> str:
    """Return the model's path in the run's record."""
    files = (*sealed.models, *sealed.state_weights)
    return next((file.path for file in files if file.sha256 == sha256), "")


def _runs_in_header(path: Path, records: Records) -> Iterator[tuple[Sealed, str]]:
    """Yield the runs named in a model's header, for a model that was edited, resized or merged
    since."""
    try:
        stamp = kinds.training_header(safetensors.read_header(path).metadata).stamp
    except (safetensors.NotSafetensors, OSError):
        return
    for run, commit in products.stamps(stamp):
        yield from (
            (sealed, path.name) for sealed in records.holding(f"\0{commit}\0") if sealed.run == run
        )


def _state_name(folder: Path, sealed: Sealed, environ: Mapping[str, str]) -> str | None:
    """Return the path of the state ``folder`` in the run's record; ``None`` if the run does not
    list it."""
    try:
        output = paths.expand_path(sealed.output, folder.parent, environ) if sealed.output else None
    except paths.NoSuchPath:  # depends on who wrote that record
        return None
    if output is None:
        return None
    real, states = os.path.realpath(folder), sealed.values("State")
    return next((state for state in states if os.path.realpath(output / state) == real), None)
