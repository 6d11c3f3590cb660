"""The loss of a run step by step, if its TensorBoard folder is still on this machine."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.history.record_parser import Values
from loragit.history.runs import RecordedRun
from loragit.trainers import kinds
from loragit.trainers.losses import LossSource, Scalar

_MOST_BYTES = 1 << 26
"""Of all event files together: a training of 100,000 steps writes a tenth of that, and reading this
much takes seconds."""
_MOST_FILES = 32
_MOST_FOLDERS = 256
_CLOCK_MARGIN = 120
"""Seconds that an event may lie before the start or after the end: clocks and rounding differ."""

_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.-:=+*#"


class Curve(NamedTuple):
    """Values of a loss in order of steps."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


def read_curve(run: RecordedRun, home: str) -> Curve | None:
    """Return the average loss of ``run``, else its current loss; ``None`` if no events are found.

    ``home`` is what ``~`` in the record stands for.
    """
    try:
        args = {**run.record.command_args, **run.record.args}
        workdir = run.record.workdir
        outcome = run.outcome
    except LoragitError:
        return None
    if outcome is None or outcome.started is None or outcome.finished is None:
        return None
    source = kinds.trainer_of(run.record.trainer_kind).losses
    paths = _paths(run.name, args, workdir or "", outcome.output or "", source, home)
    span = (
        outcome.started.timestamp() - _CLOCK_MARGIN,
        outcome.finished.timestamp() + _CLOCK_MARGIN,
    )
    found: dict[str, dict[int, float]] = {tag: {} for tag in source.tags}
    for scalar in _read_losses(islice(paths, _MOST_FILES), source):
        if span[0] <= scalar.wall_time <= span[1]:
            found[scalar.tag][scalar.step] = scalar.value
    best = next((found[tag] for tag in source.tags if found[tag]), None)
    if best is None:
        return None
    return Curve(tuple(sorted(best)), tuple(best[step] for step in sorted(best)))


def _paths(
    name: str, args: Values, workdir: str, output: str, source: LossSource, home: str
) -> Iterator[Path]:
    """The files that may hold losses of the run called ``name``."""
    if source.folder is None:
        yield from _files_in(Path(_expand_home(output, home)), source) if output else ()
        return
    written = args.get("logging_dir", ())
    if written:
        prefix = (args.get("log_prefix") or (f"{name}_",))[-1]
        yield from loss_files(
            Path(_expand_home(workdir, home), _expand_home(written[-1], home)), prefix, source
        )


def _expand_home(path: str, home: str) -> str:
    return home + path[1:] if path == "~" or path.startswith("~/") else path


def loss_files(folder: Path, prefix: str, source: LossSource) -> Iterator[Path]:
    """Yield files of losses in folders whose names begin with ``prefix``; links to folders are not
    followed.

    It goes no deeper than a trainer writes, and into a limited number of folders: a foreign record
    may name the root of the disk.
    """
    try:
        names = sorted(each.name for each in folder.iterdir() if each.name.startswith(prefix))
    except (OSError, ValueError):
        return
    for name in names[:_MOST_FOLDERS]:
        yield from _files_in(folder / name, source)


def _files_in(folder: Path, source: LossSource) -> Iterator[Path]:
    """In ``folder`` and in the folders directly in it."""
    for place in (folder, *_subfolders(folder)):
        with suppress(OSError):
            yield from sorted(each for each in place.iterdir() if source.file.fullmatch(each.name))


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders directly in ``folder``."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [folder / name for name in found[:_MOST_FOLDERS]]


def _read_losses(paths: Iterable[Path], source: LossSource) -> Iterator[Scalar]:
    """The losses in ``paths``; of a file that cannot be read, none more."""
    left = _MOST_BYTES
    for path in paths:
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= left:
                left -= status.st_size
                yield from source.scalars(path, source.tags)


def chart(found: Curve, columns: int, *, plain: bool) -> str:
    """Draw the curve in at most ``columns`` characters, each the mean of its share of the values:
    ``█▆▅▃▃▂▁▁``."""
    letters = _ASCII if plain else _BLOCKS
    values = [value for value in found.values if math.isfinite(value)]
    if not values:
        return ""
    count = min(columns, len(values))
    edges = [number * len(values) // count for number in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(letters) - 1) / (high - low) if high > low else 0.0
    return "".join(letters[round((mean - low) * scale)] for mean in means)
