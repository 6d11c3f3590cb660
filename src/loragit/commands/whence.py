"""``loragit whence FILE…``: which run made a model or sample image, whatever its name is now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import console, text
from loragit.errors import UsageError
from loragit.record.values import ModelFile
from loragit.store import products
from loragit.store.products import Records, Sealed
from loragit.trainers import kinds, safetensors

MODELS = (".safetensors", ".ckpt", ".pt")
IMAGES = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of the files for which folders are searched."""

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

_MATCHES = 10
"""Runs that are shown for one file at most."""
_KEYS = 30
"""Keys of other trainers that are shown of a header."""
_WIDTH = 200
"""Characters of a header's value that are shown."""


class NothingToLookAt(UsageError):
    """There is no such file, or the folder holds no model and no image."""


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


def whence(paths: Sequence[Path], datasets: Path, here: Path, *, as_json: bool = False) -> int:
    """Print which run made each file. Return 0, or 1 if the origin of any is not on record.

    ``datasets`` is the folder of all datasets, ``here`` the current one. Raises
    :class:`NothingToLookAt`.
    """
    files = tuple(_files_named(paths))
    records = Records(products.datasets(datasets, here))
    found = [_origin_of(path, records) for path in files]
    if as_json:
        import json

        console.write(json.dumps([_origin_as_json(origin) for origin in found], indent=2) + "\n")
    else:
        for number, origin in enumerate(found):
            if number:
                console.out()
            _print_origin(origin)
    return 0 if all(isinstance(origin, Origin) and origin.matches for origin in found) else 1


def _files_named(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            below = sorted(_models_and_images(path))
            if not below:
                raise NothingToLookAt(
                    f"{path} holds no model and no image", hint="name a .safetensors file"
                )
            yield from below
        elif path.exists():
            yield path
        else:
            raise NothingToLookAt(
                f"there is no file {path}", hint="name a .safetensors file, or a folder of them"
            )


def _models_and_images(folder: Path) -> Iterator[Path]:
    """Yield models and images in ``folder``, at any depth; not those in linked or hidden
    folders."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in names if name.lower().endswith(MODELS + IMAGES))


class Unreadable(NamedTuple):
    """A file that cannot be read."""

    path: Path
    problem: str


def _origin_of(path: Path, records: Records) -> Origin | Unreadable:
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


def _header_lines(header: Mapping[str, str]) -> Iterator[str]:
    """Yield what the header of an unknown model says: the values that its trainer is known for by
    their names, and those that no trainer here writes by their keys."""
    known = {label: key for each in kinds.all_trainers() for label, key in each.header_keys}
    foreign = {
        key: key
        for key in sorted(header)
        if key not in known.values() and not key.startswith(("ss_", "sshs_", "modelspec."))
    }
    listed = dict(list(foreign.items())[:_KEYS])
    for label, key in {**known, **listed}.items():
        value = header.get(key)
        if value and value != "None":
            yield f"{label}: {value if len(value) <= _WIDTH else value[:_WIDTH] + '…'}"
    rest = len(header.keys() - known.values() - listed.keys())
    if rest:
        yield f"{text.count(rest, 'other value')} of its header: --json lists them"


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


def _print_origin(origin: Origin | Unreadable) -> None:
    console.out(str(origin.path))
    if isinstance(origin, Unreadable):
        console.warn(origin.problem)
        return
    for match in origin.matches[:_MATCHES]:
        console.out(f"  {match.run} ({match.commit[:8]}) in {match.repository}")
        if match.product:
            where = f"{match.output}/{match.product}" if match.output else match.product
            console.out(f"    as {where}")
        for kind in match.evidence:
            console.out(f"    {STRENGTH[kind]}")
    if rest := text.more(len(origin.matches), _MATCHES):
        console.out(f"  {rest} runs; --json lists them")
    if not origin.matches:
        console.out("  no run on record made it")
        for line in _header_lines(origin.header):
            console.out(f"    {line}")
    for warning in origin.warnings:
        console.warn(f"{origin.path.name}: {warning}")


def _origin_as_json(origin: Origin | Unreadable) -> dict[str, object]:
    if isinstance(origin, Unreadable):
        return {"path": str(origin.path), "error": origin.problem}
    return {
        "path": str(origin.path),
        "sha256": origin.sha256,
        "payload_sha256": origin.payload_sha256,
        "matches": [
            {
                **match._asdict(),
                "repository": str(match.repository),
                "evidence": list(match.evidence),
            }
            for match in origin.matches
        ],
        "warnings": list(origin.warnings),
        "header": dict(origin.header),
    }
