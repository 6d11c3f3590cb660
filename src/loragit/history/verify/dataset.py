"""Compares what a run was trained on with what the dataset holds now. A dataset may change, so this
yields only notes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest
from pathlib import Path

from loragit import text
from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.files import list_files
from loragit.errors import LoragitError
from loragit.history.history import RecordedRun
from loragit.history.verify.verdict import DATASET, Verdict, note
from loragit.record.values import DatasetFile
from loragit.trainers import kinds
from loragit.trainers.safetensors import open_regular

_NAMED = 3
"""Files that a note names at most."""
_NO_HASH = ""
"""Stands for the hash of a file that is gone or unreadable."""


class DatasetCheck:
    """Compares runs with the datasets of a repository as they are now. Each file is read once,
    however many runs used it."""

    def __init__(self, top: Path, *, quick: bool) -> None:
        """``top`` is that of the repository. With ``quick``, files must only exist."""
        self._top = top
        self._quick = quick
        self._hashes: dict[Path, str] = {}
        self._listed: dict[Path, frozenset[str]] = {}
        self._verdicts: dict[tuple[str, str], Verdict | None] = {}

    def check(self, run: RecordedRun) -> Verdict | None:
        """Return what has changed since ``run`` was opened; ``None`` if nothing has, or it is
        unknown."""
        item = run.reader.top_entries(run).get("dataset.sha256")
        if item is None:
            return None
        key = (run.path, item.id)
        if key not in self._verdicts:
            self._verdicts[key] = self._compare(run)
        verdict = self._verdicts[key]
        return verdict.about(run) if verdict else None

    def _compare(self, run: RecordedRun) -> Verdict | None:
        try:
            files = run.dataset_files
        except LoragitError:  # reported with the record
            return None
        folder = Path(run.reader.revision(run).partition(":")[2])
        dataset = self._top / folder
        if not dataset.is_dir():
            return note(DATASET, f"the dataset's folder {dataset} is gone")
        self._hash_new(dataset / file.path for file in files)
        gone = [file.path for file in files if self._hashes[dataset / file.path] == _NO_HASH]
        changed = [
            file.path
            for file in files
            if self._hashes[dataset / file.path] not in (_NO_HASH, file.sha256)
        ]
        parts = (
            (changed if not self._quick else [], "changed"),
            (gone, "gone"),
            (
                self._new_files(dataset, files, kinds.trainer_of(run.record.trainer_kind).files),
                "new",
            ),
        )
        changes = [
            f"{text.count(len(names), 'file')} {how} ({_name_some(names)})"
            for names, how in parts
            if names
        ]
        return (
            note(DATASET, f"the dataset has gone on since: {', '.join(changes)}")
            if changes
            else None
        )

    def _hash_new(self, paths: Iterable[Path]) -> None:
        fresh = [path for path in dict.fromkeys(paths) if path not in self._hashes]
        if self._quick:
            self._hashes |= {path: "there" if path.is_file() else _NO_HASH for path in fresh}
            return
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self._hashes |= dict(zip(fresh, pool.map(_sha256, fresh), strict=True))

    def _new_files(
        self, dataset: Path, files: Iterable[DatasetFile], file_kinds: FileKinds
    ) -> list[str]:
        """Return the images that are new in folders of which the run used files, and new captions
        of its images."""
        known = {file.path for file in files}
        folders = {os.path.dirname(path) for path in known}  # noqa: PTH120 - a path in the record, not on the disk
        there = [
            f"{folder}/{name}".lstrip("/")
            for folder in sorted(folders)
            for name in self._files_in(dataset / folder)
        ]
        images = {p for p in (*known, *there) if file_kinds.is_image(p.rpartition("/")[2])}
        stems = {path.removesuffix(_suffix(path)) for path in images}
        ends = {_suffix(path) for path in known - images} - {""}

        def is_caption(path: str) -> bool:
            end = _suffix(path)
            return end in ends and path.removesuffix(end) in stems

        return [
            path
            for path in there
            if path not in known
            and not file_kinds.is_cache(path.rpartition("/")[2])
            and (path in images or is_caption(path))
        ]

    def _files_in(self, folder: Path) -> list[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(list_files(folder))
            except LoragitError:
                self._listed[folder] = frozenset()
        return sorted(self._listed[folder])


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1]  # noqa: PTH122 - a path in the record


def _sha256(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return _NO_HASH


def _name_some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
