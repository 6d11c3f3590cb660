"""The record of a run against itself: what the message and ``run.toml`` say of the files, and the
files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha1
from typing import NamedTuple

from loragit import text
from loragit.dataset.digests import parse_digest_lines
from loragit.errors import LoragitError
from loragit.git.command import GitFailed
from loragit.git.repository import TreeItem
from loragit.history.history import NoSuchFile, RecordedRun
from loragit.history.record import Kept, Record
from loragit.history.verify.verdict import RECORD, Verdict, note, wrong
from loragit.record.values import FORMAT

_NAMES = {
    "Config-SHA1": ("config.toml", "config.json"),
    "Prompts-SHA1": ("sample-prompts.",),
    "Script-SHA1": ("",),
}
"""How the file begins that a trailer hashes. A script may have any name."""


class Records:
    """Checks one record after another; a file that many runs share is read once."""

    def __init__(self, missing: frozenset[str], *, quick: bool) -> None:
        """``missing``: ids of objects that are not here by design. ``quick`` reads no file but
        ``run.toml``."""
        self._missing = missing
        self._quick = quick
        self._known: dict[str, Kept] = {}
        self._lists: dict[str, str] = {}

    def look(self, run: RecordedRun) -> Iterator[Verdict]:
        """What is wrong with the record of ``run``; a record of a later format is told and let
        be."""
        if run.format > FORMAT:
            told = f"it is recorded in format {run.format}, and this loragit checks format {FORMAT}"
            yield note(RECORD, told, "install a newer loragit").about(run)
            return
        try:
            tree = run.tree
            absent = "run.toml" in tree and tree["run.toml"].id in self._missing
            record = None if absent else run.contents.read_record(run)
        except LoragitError as error:
            # Which tree it was is not told; git fsck tells of those that are damaged.
            absent = isinstance(error, GitFailed) and bool(self._missing)
            yield (
                _absent(["its tree"]) if absent else wrong(RECORD, error.message, error.hint)
            ).about(run)
            return
        if record is None:
            yield _absent(["run.toml"]).about(run)
            return
        for each in self._found(run, tree, record):
            yield each.about(run)

    def _found(
        self, run: RecordedRun, tree: Mapping[str, TreeItem], record: Record
    ) -> Iterator[Verdict]:
        yield from _said(run, record)
        files = {path: item for path, item in tree.items() if not item.folder}
        yield from _unlisted(run, files, record)
        if not self._quick:
            yield from self._contents(run, files, record)

    def _contents(
        self, run: RecordedRun, files: Mapping[str, TreeItem], record: Record
    ) -> Iterator[Verdict]:
        """Every file of the record, read."""
        absent: list[str] = []
        for path in sorted(files):
            held = self._held(run, path, files[path].id)
            listed = record.files.get(path, held)
            if isinstance(held, str):
                yield wrong(RECORD, f"{path} cannot be read: {held}", _see(run))._replace(path=path)
            elif held is None:
                absent.append(path)
            elif held != listed and isinstance(listed, Kept):
                told = f"{path} is not what run.toml says of it: {_difference(listed, held)}"
                yield wrong(RECORD, told, _see(run))._replace(path=path)
        if absent:
            yield _absent(absent)
        elif not run.imported:  # its hashes are of what ran, which may lie nowhere any more
            yield from self._hashes(run, files)
        yield from self._digests(run, files)

    def _held(self, run: RecordedRun, path: str, blob: str) -> Kept | str | None:
        """Hash and size of a blob; why it cannot be read; ``None`` where it is missing by
        design."""
        if blob not in self._known:
            if blob in self._missing:
                return None
            try:
                data = run.read(path)
            except NoSuchFile:
                return f"git does not have it ({blob[:12]})"
            except LoragitError as error:
                return error.message
            self._known[blob] = Kept(sha1(data, usedforsecurity=False).hexdigest(), len(data))
        return self._known[blob]

    def _hashes(self, run: RecordedRun, files: Mapping[str, TreeItem]) -> Iterator[Verdict]:
        """The hashes of the message. Every file of the record was read by now."""
        for key, begins in _NAMES.items():
            value = run.trailer(key)
            candidates = {
                path: self._known.get(files[path].id) for path in files if "/" not in path
            }
            fitting = {path: held for path, held in candidates.items() if path.startswith(begins)}
            if value and not any(
                held is not None and held.sha1 == value for held in fitting.values()
            ):
                which = (
                    next(iter(fitting), "no such file")
                    if key != "Script-SHA1"
                    else "no file of the record"
                )
                yield wrong(
                    RECORD,
                    f"{key} of the message is {value[:12]}, and {which} has another",
                    _see(run),
                )

    def _digests(self, run: RecordedRun, files: Mapping[str, TreeItem]) -> Iterator[Verdict]:
        item = files.get("dataset.sha256")
        if item is None or item.id not in self._known:
            return
        if item.id not in self._lists:
            try:
                parse_digest_lines(run.read("dataset.sha256"))
                self._lists[item.id] = ""
            except LoragitError as error:
                self._lists[item.id] = error.message
        if self._lists[item.id]:
            yield wrong(RECORD, f"dataset.sha256: {self._lists[item.id]}", _see(run))._replace(
                path="dataset.sha256"
            )


def _unlisted(run: RecordedRun, files: Mapping[str, TreeItem], record: Record) -> Iterator[Verdict]:
    """Files that only the record has, or only its list."""
    for path in sorted(record.files.keys() - files.keys()):
        yield wrong(RECORD, f"{path} is in run.toml, and not in the record", _see(run))._replace(
            path=path
        )
    for path in sorted(files.keys() - record.files.keys() - {"run.toml"}):
        if not path.startswith("captions/"):
            yield wrong(
                RECORD, f"{path} is in the record, and not in run.toml", _see(run)
            )._replace(path=path)


class _Pair(NamedTuple):
    key: str
    told: str | None
    """By ``run.toml``."""


def _said(run: RecordedRun, record: Record) -> Iterator[Verdict]:
    """Where the message and ``run.toml`` disagree."""
    dataset = record.table.get("dataset")
    path = dataset.get("path") if isinstance(dataset, dict) else None
    pairs = (
        _Pair("Run", record.name),
        _Pair("Dataset", record.dataset),
        _Pair("Dataset-Path", path if isinstance(path, str) and path != "." else None),
        _Pair("Trainer-Commit", record.trainer.commit),
        _Pair("LyCORIS-Commit", record.lycoris.commit if record.lycoris else None),
        _Pair("Dataset-Commit", record.dataset_commit),
    )
    for key, told in pairs:
        value = run.trailer(key)
        if value != (_line(told) if told else None):
            shown = f"{told or 'nothing'} in run.toml, and {value or 'nothing'} in the message"
            yield wrong(RECORD, f"{key} is {shown}", _see(run))._replace(path="run.toml")
    for weights in record.weights:
        line = _line(f"{weights.name} sha256:{weights.sha256}" if weights.sha256 else weights.name)
        if line not in run.trailers.get(weights.role, ()):
            told = f"{weights.role} is {weights.name} in run.toml, and not in the message"
            yield wrong(RECORD, told, _see(run))._replace(path="run.toml")


def _absent(paths: list[str]) -> Verdict:
    told = (
        f"{text.count(len(paths), 'file')} of its record not here ({paths[0]}): this is a "
        "partial clone"
    )
    return note(RECORD, told, "git fetch --refetch --no-filter brings all")


def _line(value: str) -> str:
    """As a trailer has it."""
    return " ".join(text.shown(value).splitlines()).strip()


def _difference(listed: Kept, held: Kept) -> str:
    if listed.size != held.size:
        return f"{held.size} bytes instead of {listed.size}"
    return f"sha1 {held.sha1[:12]} instead of {listed.sha1[:12] or 'none'}"


def _see(run: RecordedRun) -> str:
    return f"see it: git show {run.commit[:8]}"
