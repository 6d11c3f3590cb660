"""Where a trainer logs its losses, and the losses that a training logged."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit.trainers.products import entries

_LOG_END = 1 << 20
"""Bytes at the end of a log in which the last progress bar is looked for: after it come the names
of the last files, or the traceback of a failure."""


class Scalar(NamedTuple):
    """One logged value."""

    wall_time: float
    """Seconds since 1970, UTC."""
    step: int
    """What the trainer logged it against: the training step, or for ``loss/epoch_average`` the
    epoch."""
    tag: str
    value: float
    """As logged; may be infinite or not a number."""


class LossSource(NamedTuple):
    """Where a trainer's losses can be read."""

    file: re.Pattern[str]
    """All of the name of such a file."""
    folder: re.Pattern[str] | None
    """What follows the prefix in the name of a log folder, for a trainer that logs where its other
    trainings log as well (:class:`LogFolders`); ``None`` where the files lie in the output
    folder."""
    tags: tuple[str, ...]
    """Of a loss, the best one first."""
    scalars: Callable[[Path, Container[str]], Iterator[Scalar]]
    """The values of those tags in a file, in its order. Raises ``OSError``; stops where the file is
    damaged."""
    bar: re.Pattern[str] | None = None
    """The beginning of a line of the trainer's output that is its progress bar and tells a loss, as
    the group ``loss``; ``None`` for a trainer whose bar tells none."""


class LogFolders(NamedTuple):
    """Where the trainer makes a log folder for each training, and how those of a run begin."""

    folder: Path
    prefix: str


def log_folders(logs: LogFolders, source: LossSource) -> frozenset[str]:
    """Names of the log folders with that prefix; empty where there is no such folder."""
    if source.folder is None:
        return frozenset()
    return frozenset(
        entry.name
        for entry in entries(logs.folder)
        if entry.name.startswith(logs.prefix)
        and source.folder.fullmatch(entry.name, len(logs.prefix))
        and _is_folder(entry)
    )


def loss_files(folder: Path, source: LossSource) -> list[Path]:
    """The files that hold losses in ``folder`` and below, in order of folder and name; links to
    folders are not followed."""
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(root, name) for name in sorted(names) if source.file.fullmatch(name)]
    # A pipe of that name would be waited on for ever.
    return [path for path in found if _is_file(path)]


def final_loss(paths: Iterable[Path], source: LossSource) -> float | None:
    """The last value of the best tag that any of the files has; ``None`` without one.

    Last is by time, then step, then place in the file. A loss that is infinite or not a number is
    returned as it is: that a training went off the rails is worth knowing. A file that cannot be
    read is passed over.
    """
    last: dict[str, Scalar] = {}
    for path in paths:
        try:
            for scalar in source.scalars(path, source.tags):
                if scalar.tag not in last or _when(scalar) >= _when(last[scalar.tag]):
                    last[scalar.tag] = scalar
        except OSError:
            continue
    return next((last[tag].value for tag in source.tags if tag in last), None)


def bar_loss(log: Path, source: LossSource) -> float | None:
    """The loss in the last progress bar of ``log``, the trainer's output with redraws folded.

    ``None`` where its end has none. As with :func:`final_loss`, it may be infinite or not a number.
    """
    if source.bar is None:
        return None
    for line in reversed(_last_lines(log)):
        if found := source.bar.match(line):
            with suppress(ValueError):  # 1.2.3
                return float(found["loss"])
    return None


def _last_lines(path: Path) -> list[str]:
    """The lines at the end of a file, the first of them perhaps cut; none if it cannot be read."""
    from loragit.trainers.safetensors import open_regular

    try:
        with open_regular(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_END))
            return file.read(_LOG_END).decode("utf-8", "replace").split("\n")
    except OSError:
        return []


def _when(scalar: Scalar) -> tuple[float, int]:
    # A time that is not a number would compare as neither before nor after, and win or lose by
    # chance.
    known = scalar.wall_time == scalar.wall_time
    return (scalar.wall_time if known else float("-inf"), scalar.step)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
