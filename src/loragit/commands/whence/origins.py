"""Which runs a file leads to, and by what evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.commands.whence.relations import MERGED, PRODUCT, UNKNOWN, Relation, relation_of
from loragit.record.values import ModelFile
from loragit.store import products
from loragit.store.products import Records, Sealed
from loragit.trainers import kinds, safetensors
from loragit.trainers import products as trainer_products
from loragit.trainers.trainer import SavedAt

STAMP, WEIGHTS, FILE, SAMPLE, SESSION = "stamp", "weights", "file", "sample", "session"
MERGED_FROM = "merged_from"
STRENGTH = {
    FILE: "the file is byte for byte the one on record",
    WEIGHTS: "the weights are those on record (payload sha256)",
    SAMPLE: "the image is byte for byte the one on record",
    STAMP: "its training comment names the run and its commit",
    SESSION: "its training session is the one on record",
    MERGED_FROM: "its header names a model of that title among those it was merged from",
}
"""Kinds of evidence, the strongest first. A hash cannot be mistaken; a header is text that anybody
can edit."""

_TITLES = 50
"""Titles of merged models that are looked up."""


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
    relation: Relation


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
    finder = _OriginFinder(path, header, records)
    finder.by_content(hashes.sha256, hashes.payload_sha256)
    finder.by_header()
    warnings = [broken] if broken else []
    warnings += [*finder.warnings, *_disagreements(finder)]
    if not broken:
        warnings += finder.doubts()
    return Origin(
        path, hashes.sha256, hashes.payload_sha256, finder.ordered(), tuple(warnings), header
    )


class _OriginFinder:
    """The runs that one file leads to, as they are found."""

    def __init__(self, path: Path, header: Mapping[str, str], records: Records) -> None:
        self._path = path
        self._metadata = header
        self._records = records
        self._header = kinds.training_header(header)
        self.matches: dict[str, Match] = {}
        """Keyed by the run's commit."""
        self.certain: tuple[str, ...] = ()
        """Those that are known by a hash."""
        self.stamped = tuple(products.stamps(self._header.stamp))
        """Runs, each with its commit, that the training comment names."""
        self.warnings: list[str] = []

    def by_content(self, sha256: str, payload: str | None) -> None:
        """Add the runs whose outcome lists the file or its weights."""
        for sealed, kind in _runs_listing(sha256, payload, self._records):
            product = _recorded_name(sealed, sha256, payload)
            files = (*sealed.models, *sealed.state_weights)
            step = next((each.step for each in files if each.path == product), None)
            self._add(_match(sealed, kind, Relation(PRODUCT, step), product))
        self.certain = tuple(self.matches)

    def by_header(self) -> None:
        """Add the runs that the header names. Where the file is on record, only a stamp counts."""
        for run, commit in self.stamped:
            self._add_stamped(run, commit)
        if self.certain:
            return
        identity = self._header.identity
        if identity is not None:
            for sealed in self._records.holding(f"\nSession: {identity}\n"):
                self._add(_match(sealed, SESSION, self._relation(sealed.run, sealed)))
        for title in self._header.merged_from[:_TITLES]:
            self._add_merged(title)
        if rest := len(self._header.merged_from[_TITLES:]):
            self.warnings.append(f"it was merged from {rest} more models; --json lists them")

    def _relation(self, run: str, sealed: Sealed | None) -> Relation:
        """What the file is to a run that its header names."""
        if self.certain:
            return Relation(UNKNOWN)
        trainer = kinds.trainer_of(self._header.kind)
        name = trainer_products.match_product(trainer.naming.model, self._path.name, None)
        named = SavedAt(*(trainer_products.number(name, group) for group in ("step", "epoch")))
        saved = trainer.saved_at(self._metadata, named)
        # Which epoch a header means depends on what the file was, which only its name says.
        return relation_of(run, sealed, self._header, saved if saved.step is not None else named)

    def _add(self, match: Match) -> None:
        known = self.matches.get(match.commit)
        if known is not None:
            evidence = sorted({*known.evidence, *match.evidence}, key=list(STRENGTH).index)
            match = known._replace(evidence=tuple(evidence))
        self.matches[match.commit] = match

    def _add_stamped(self, run: str, commit: str) -> None:
        """Add the run that a training comment names, or a warning."""
        listed = self._records.holding(f"\0{commit}\0")
        sealed = next((each for each in listed if each.run == run), None)
        if sealed is not None:
            self._add(_match(sealed, STAMP, self._relation(run, sealed)))
            return
        repository = self._records.repository_of(run, commit)
        if repository is not None:
            relation = self._relation(run, None)
            self._add(Match(run, commit, repository, (STAMP,), None, "", relation))
        else:
            self.warnings.append(
                f"its training comment names the run {run} ({commit[:8]}), which no dataset here "
                "has on record"
            )

    def _add_merged(self, title: str) -> None:
        """Add the runs with a model of that title, or a warning."""
        found = runs_of_title(title, self._records)
        for sealed in found:
            self._add(_match(sealed, MERGED_FROM, Relation(MERGED)))
        what = f"it was merged from a model with the title {title}"
        if not found:
            self.warnings.append(f"{what}, which no run on record here has")
        elif len(found) > 1:
            self.warnings.append(f"{what}: {len(found)} runs have one, and nothing says which")

    def doubts(self) -> list[str]:
        """Why the relations to the runs are to be doubted."""
        found = (match.relation.warning for match in self.matches.values())
        return [warning for warning in found if warning]

    def ordered(self) -> tuple[Match, ...]:
        """The matches, the best first."""
        rank = list(STRENGTH).index
        return tuple(sorted(self.matches.values(), key=lambda m: min(map(rank, m.evidence))))


def runs_of_title(title: str, records: Records) -> tuple[Sealed, ...]:
    """Return the runs that have a model of that title: that of the run, unless the user gave
    another, or the name of the file where a model has no title."""
    found = {
        sealed.commit: sealed
        for needle in (f"\nRun: {title}\n", f"\nModel: {title}")
        for sealed in records.holding(needle)
        if sealed.run == title or any(title in _titles(model.path) for model in sealed.models)
    }
    return tuple(found.values())


def _titles(path: str) -> tuple[str, ...]:
    """What a model without a title of its own may be called."""
    names = [
        match["name"]
        for trainer in kinds.all_trainers()
        if (match := trainer_products.match_product(trainer.naming.model, path, None))
    ]
    return (*names, path.rpartition(".")[0])


def _match(sealed: Sealed, kind: str, relation: Relation, product: str | None = None) -> Match:
    return Match(
        sealed.run, sealed.commit, sealed.repository, (kind,), product, sealed.output, relation
    )


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
        files = (*sealed.models, *sealed.state_weights)
        yield sealed, FILE if any(file.sha256 == sha256 for file in files) else SAMPLE
    if payload is not None:
        yield from ((sealed, WEIGHTS) for sealed in records.holding(f"payload:{payload}"))


def _recorded_name(sealed: Sealed, sha256: str, payload: str | None) -> str | None:
    def fits(model: ModelFile) -> bool:
        return model.sha256 == sha256 or (payload is not None and model.payload_sha256 == payload)

    # The last step and the final model have the same weights: an equal file goes first.
    files = (*sealed.models, *sealed.state_weights)
    models = sorted(files, key=lambda model: model.sha256 != sha256)
    samples = (
        value.removesuffix(f" sha256:{sha256}")
        for value in sealed.values("Sample")
        if sha256 in value
    )
    return next((model.path for model in models if fits(model)), None) or next(samples, None)


def _disagreements(finder: _OriginFinder) -> Iterator[str]:
    """Yield where the header and the content of a file lead to different runs, or more than one
    run has it."""
    certain = [finder.matches[commit] for commit in finder.certain]
    stamped = {run for run, _ in finder.stamped}
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
    if len({match.run for match in certain}) > 1:
        yield "several runs left the same weights: the same command and seed give the same bytes"
