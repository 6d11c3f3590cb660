"""Which runs a file leads to, and by what evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.record.values import ModelFile
from loragit.store import products
from loragit.store.products import Records, Sealed
from loragit.trainers import kinds, safetensors

STAMP, WEIGHTS, FILE, SAMPLE, SESSION = "stamp", "weights", "file", "sample", "session"
STRENGTH = {
    FILE: "the file is byte for byte the one on record",
    WEIGHTS: "the weights are those on record (payload sha256)",
    SAMPLE: "the image is byte for byte the one on record",
    STAMP: "its training comment names the run and its commit",
    SESSION: "its training session is the one on record",
}
"""Kinds of evidence, the strongest first. A hash cannot be mistaken; a header is text that anybody
can edit."""


class Match(NamedTuple):
    """A run that may have made a file."""

    run: str
    commit: str
    repository: Path
    evidence: tuple[str, ...]
    """Of :data:`STRENGTH`, the strongest first."""
    product: str | None
    """The file's name in the record; ``None`` if only the header names the run."""
    output: str
    """The run's output folder, as it is recorded."""


class Origin(NamedTuple):
    """What is known about one file."""

    path: Path
    sha256: str
    payload_sha256: str | None
    matches: tuple[Match, ...]
    """The best first."""
    warnings: tuple[str, ...]
    header: Mapping[str, str]
    """``__metadata__`` of a model; empty for other files."""


class Unreadable(NamedTuple):
    """A file that cannot be read."""

    path: Path
    problem: str


def origin_of(path: Path, records: Records) -> Origin | Unreadable:
    """Return what is known about the file, and the runs among ``records`` that may have made it."""
    try:
        header, broken = _header(path)
        hashes = safetensors.hash_file(path)
    except OSError as error:
        return Unreadable(path, f"{path.name} cannot be read: {error.strerror or error}")
    matches: dict[str, Match] = {}
    warnings = [broken] if broken else []
    payload = hashes.payload_sha256
    for sealed, kind in _runs_listing(hashes.sha256, payload, records):
        product = _recorded_name(sealed, hashes.sha256, payload)
        _add_match(
            matches,
            sealed.commit,
            Match(sealed.run, sealed.commit, sealed.repository, (kind,), product, sealed.output),
        )
    by_content = set(matches)
    for run, commit in products.stamps(_stamp(header)):
        _match_stamp(run, commit, records, matches, warnings)
    if not matches:
        _match_session(header, records, matches)
    warnings += _warnings(
        matches,
        by_content,
        {run for run, _ in products.stamps(_stamp(header))},
    )
    ordered = sorted(
        matches.values(), key=lambda match: min(map(list(STRENGTH).index, match.evidence))
    )
    return Origin(path, hashes.sha256, payload, tuple(ordered), tuple(warnings), header)


def _header(path: Path) -> tuple[Mapping[str, str], str | None]:
    """Return the metadata in a model's header, and what is wrong with the file. Raises
    ``OSError``."""
    if path.suffix.lower() != ".safetensors":
        return {}, None
    try:
        header = safetensors.read_header(path)
    except safetensors.NotSafetensors as error:
        return {}, error.message
    whole = (
        None if header.whole else f"{path.name} is cut short: it is not as long as its header says"
    )
    return header.metadata, whole


def _runs_listing(
    sha256: str, payload: str | None, records: Records
) -> Iterator[tuple[Sealed, str]]:
    """Yield the runs whose outcome lists the file, each with the kind of evidence."""
    for sealed in records.holding(f"sha256:{sha256}"):
        yield sealed, FILE if any(model.sha256 == sha256 for model in sealed.models) else SAMPLE
    if payload is not None:
        yield from ((sealed, WEIGHTS) for sealed in records.holding(f"payload:{payload}"))


def _recorded_name(sealed: Sealed, sha256: str, payload: str | None) -> str | None:
    def fits(model: ModelFile) -> bool:
        return model.sha256 == sha256 or (payload is not None and model.payload_sha256 == payload)

    # The last step and the final model have the same weights: an equal file goes first.
    models = sorted(sealed.models, key=lambda model: model.sha256 != sha256)
    samples = (
        value.removesuffix(f" sha256:{sha256}")
        for value in sealed.values("Sample")
        if sha256 in value
    )
    return next((model.path for model in models if fits(model)), None) or next(samples, None)


def _add_match(matches: dict[str, Match], commit: str, match: Match) -> None:
    known = matches.get(commit)
    if known is None:
        matches[commit] = match
    else:
        evidence = sorted({*known.evidence, *match.evidence}, key=list(STRENGTH).index)
        matches[commit] = known._replace(
            evidence=tuple(evidence), product=known.product or match.product
        )


def _match_stamp(
    run: str, commit: str, records: Records, matches: dict[str, Match], warnings: list[str]
) -> None:
    """Add the run that a training comment names to ``matches``, or a warning."""
    sealed = next((each for each in records.holding(f"\0{commit}\0") if each.run == run), None)
    if sealed is not None:
        _add_match(
            matches, commit, Match(run, commit, sealed.repository, (STAMP,), None, sealed.output)
        )
        return
    repository = records.repository_of(run, commit)
    if repository is not None:
        _add_match(matches, commit, Match(run, commit, repository, (STAMP,), None, ""))
    else:
        warnings.append(
            f"its training comment names the run {run} ({commit[:8]}), which no dataset here has "
            "on record"
        )


def _stamp(header: Mapping[str, str]) -> str:
    """The text in which a stamp of loragit's would stand."""
    return kinds.training_header(header).stamp


def _match_session(header: Mapping[str, str], records: Records, matches: dict[str, Match]) -> None:
    identity = kinds.training_header(header).identity
    if identity is not None:
        for sealed in records.holding(f"\nSession: {identity}\n"):
            match = Match(
                sealed.run, sealed.commit, sealed.repository, (SESSION,), None, sealed.output
            )
            _add_match(matches, sealed.commit, match)


def _warnings(
    matches: Mapping[str, Match], by_content: set[str], stamped: set[str]
) -> Iterator[str]:
    """Yield where the evidence disagrees, or shows that the file was changed after the training."""
    certain = [matches[commit] for commit in by_content]
    if certain and stamped and not any(match.run in stamped for match in certain):
        names = ", ".join(sorted(stamped))
        yield (
            f"its training comment names {names}, but the weights are {certain[0].run}'s: the "
            "header was edited"
        )
    elif certain and all(
        FILE not in match.evidence and SAMPLE not in match.evidence for match in certain
    ):
        yield "its header is not the one on record: it was edited, or rewritten by a site or a tool"
    if not certain and matches:
        yield (
            "its weights are not among those that the run left: they were changed afterwards "
            "(resized, merged, converted), or the file was not whole when the run was sealed"
        )
    if len({match.run for match in certain}) > 1:
        yield "several runs left the same weights: the same command and seed give the same bytes"
