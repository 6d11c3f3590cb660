"""Compares the parts of a record with each other: message, ``run.toml`` and files."""

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
from loragit.history.record_parser import ListedFile, Record
from loragit.history.verify.verdict import RECORD, Verdict, note, wrong
from loragit.record import attributes
from loragit.record.message import weights_line
from loragit.record.values import FORMAT

_HASHED_FILES = {
    "Config-SHA1": ("config.",),
    "Prompts-SHA1": ("sample-prompts.",),
    "Script-SHA1": ("",),
}
"""How the name of the file begins that a trailer hashes. A script may have any name."""


class RecordCheck:
    """Checks one record after another; a file that many records share is read once."""

    def __init__(self, missing: frozenset[str], *, quick: bool) -> None:
        """``missing`` are ids of objects that a partial clone lacks by design. With ``quick`` only
        ``run.toml`` is read."""
        self._missing = missing
        self._quick = quick
        self._files_read: dict[str, ListedFile] = {}
        self._lists: dict[str, str] = {}

    def check(self, run: RecordedRun) -> Iterator[Verdict]:
        """Yield what is wrong with the record of ``run``. A record of a later format is only
        noted."""
        if run.format > FORMAT:
            message = (
                f"it is recorded in format {run.format}, and this loragit checks format {FORMAT}"
            )
            yield note(RECORD, message, "install a newer loragit").about(run)
            return
        try:
            tree = run.tree
            absent = "run.toml" in tree and tree["run.toml"].id in self._missing
            record = None if absent else run.reader.read_record(run)
        except LoragitError as error:
            # The error does not say which tree; git fsck reports damaged ones.
            absent = isinstance(error, GitFailed) and bool(self._missing)
            yield (
                _not_here(["its tree"]) if absent else wrong(RECORD, error.message, error.hint)
            ).about(run)
            return
        if record is None:
            yield _not_here(["run.toml"]).about(run)
            return
        for each in self._check_against_files(run, tree, record):
            yield each.about(run)

    def _check_against_files(
        self, run: RecordedRun, tree: Mapping[str, TreeItem], record: Record
    ) -> Iterator[Verdict]:
        yield from _check_message(run, record)
        files = {path: item for path, item in tree.items() if not item.folder}
        yield from _check_list(run, files, record)
        if not self._quick:
            yield from self._check_files(run, files, record)

    def _check_files(
        self, run: RecordedRun, files: Mapping[str, TreeItem], record: Record
    ) -> Iterator[Verdict]:
        """Read every file of the record, and compare it with ``run.toml`` and the message."""
        absent: list[str] = []
        for path in sorted(files):
            held = self._read_file(run, path, files[path].id)
            listed = record.files.get(path)
            if isinstance(held, str):
                yield wrong(RECORD, f"{path} cannot be read: {held}", _see_commit(run))._replace(
                    path=path
                )
            elif held is None:
                absent.append(path)
            elif listed is not None and held != listed:
                message = f"{path} is not what run.toml says of it: {_difference(listed, held)}"
                yield wrong(RECORD, message, _see_commit(run))._replace(path=path)
        if absent:
            yield _not_here(absent)
        elif not run.imported:  # hashes of an imported run are of what ran, which may be lost
            yield from self._check_hashes(run, files)
        yield from self._check_digests(run, files)

    def _read_file(self, run: RecordedRun, path: str, blob: str) -> ListedFile | str | None:
        """Return hash and size of a blob, or why it cannot be read, or ``None`` if it is missing by
        design."""
        if blob not in self._files_read:
            if blob in self._missing:
                return None
            try:
                data = run.read(path)
            except NoSuchFile:
                return f"git does not have it ({blob[:12]})"
            except LoragitError as error:
                return error.message
            self._files_read[blob] = ListedFile(
                sha1(data, usedforsecurity=False).hexdigest(), len(data)
            )
        return self._files_read[blob]

    def _check_hashes(self, run: RecordedRun, files: Mapping[str, TreeItem]) -> Iterator[Verdict]:
        """Check the hashes in the message. Every file of the record has been read before."""
        for key, begins in _HASHED_FILES.items():
            value = run.trailer(key)
            candidates = {
                path: self._files_read.get(files[path].id) for path in files if "/" not in path
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
                    _see_commit(run),
                )

    def _check_digests(self, run: RecordedRun, files: Mapping[str, TreeItem]) -> Iterator[Verdict]:
        item = files.get("dataset.sha256")
        if item is None or item.id not in self._files_read:
            return
        if item.id not in self._lists:
            try:
                parse_digest_lines(run.read("dataset.sha256"))
                self._lists[item.id] = ""
            except LoragitError as error:
                self._lists[item.id] = error.message
        if self._lists[item.id]:
            yield wrong(
                RECORD, f"dataset.sha256: {self._lists[item.id]}", _see_commit(run)
            )._replace(path="dataset.sha256")


def _check_list(
    run: RecordedRun, files: Mapping[str, TreeItem], record: Record
) -> Iterator[Verdict]:
    """Yield files that only the record has, or only the list in ``run.toml``."""
    for path in sorted(record.files.keys() - files.keys()):
        yield wrong(
            RECORD, f"{path} is in run.toml, and not in the record", _see_commit(run)
        )._replace(path=path)
    for path in sorted(files.keys() - record.files.keys() - {"run.toml", attributes.NAME}):
        if not path.startswith("captions/"):
            yield wrong(
                RECORD, f"{path} is in the record, and not in run.toml", _see_commit(run)
            )._replace(path=path)


class _TrailerValue(NamedTuple):
    key: str
    expected: str | None
    """What ``run.toml`` says."""


def _check_message(run: RecordedRun, record: Record) -> Iterator[Verdict]:
    """Yield where the message and ``run.toml`` disagree."""
    dataset = record.table.get("dataset")
    path = dataset.get("path") if isinstance(dataset, dict) else None
    pairs = (
        _TrailerValue("Run", record.name),
        _TrailerValue("Dataset", record.dataset),
        _TrailerValue("Dataset-Path", path if isinstance(path, str) and path != "." else None),
        _TrailerValue("Trainer-Commit", record.trainer.commit),
        _TrailerValue("LyCORIS-Commit", record.lycoris.commit if record.lycoris else None),
        _TrailerValue("Dataset-Commit", record.dataset_commit),
    )
    for key, expected in pairs:
        value = run.trailer(key)
        if value != (_as_trailer(expected) if expected else None):
            shown = f"{expected or 'nothing'} in run.toml, and {value or 'nothing'} in the message"
            yield wrong(RECORD, f"{key} is {shown}", _see_commit(run))._replace(path="run.toml")
    for weights in record.weights:
        if _as_trailer(weights_line(weights)) not in run.trailers.get(weights.role, ()):
            message = f"{weights.role} is {weights.name} in run.toml, and not in the message"
            yield wrong(RECORD, message, _see_commit(run))._replace(path="run.toml")


def _not_here(paths: list[str]) -> Verdict:
    message = (
        f"{text.count(len(paths), 'file')} of its record not here ({paths[0]}): this is a "
        "partial clone"
    )
    return note(RECORD, message, "git fetch --refetch --no-filter brings all")


def _as_trailer(value: str) -> str:
    """Return ``value`` as a trailer has it: on one line."""
    return " ".join(text.shown(value).splitlines()).strip()


def _difference(listed: ListedFile, held: ListedFile) -> str:
    if listed.size != held.size:
        return f"{held.size} bytes instead of {listed.size}"
    return f"sha1 {held.sha1[:12]} instead of {listed.sha1[:12] or 'none'}"


def _see_commit(run: RecordedRun) -> str:
    return f"see it: git show {run.commit[:8]}"
