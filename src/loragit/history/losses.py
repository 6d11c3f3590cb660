"""The loss of a run, step by step, where its TensorBoard folder still exists on this machine."""

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
from loragit.history.runs import RecordedRun
from loragit.trainers.tensorboard import LOSSES, Scalar, scalars

_MOST_BYTES = 1 << 26
"""Of all event files together: a training of 100,000 steps writes a tenth of it, and this much
takes seconds."""
_MOST_FILES = 32
_MOST_FOLDERS = 256
_CLOCK_MARGIN = 120
"""Seconds that an event may lie before the start or after the end: two clocks, or two roundings."""

_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.-:=+*#"


class Curve(NamedTuple):
    """Values of a loss in order of steps."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


def read_curve(run: RecordedRun, home: str) -> Curve | None:
    """The average loss of ``run``, else the current one; ``None`` where no events of it are found.

    ``home`` is what ``~`` in the record stands for here.
    """
    try:
        args, workdir = run.record.args, run.record.workdir
        outcome = run.outcome
    except LoragitError:
        return None
    written = args.get("logging_dir", ())
    if not written or outcome is None or outcome.started is None or outcome.finished is None:
        return None
    folder = Path(_expand_home(workdir or "", home), _expand_home(written[-1], home))
    prefix = (args.get("log_prefix") or (f"{run.name}_",))[-1]
    span = (
        outcome.started.timestamp() - _CLOCK_MARGIN,
        outcome.finished.timestamp() + _CLOCK_MARGIN,
    )
    found: dict[str, dict[int, float]] = {tag: {} for tag in LOSSES}
    for scalar in _read_losses(islice(event_files(folder, prefix), _MOST_FILES)):
        if span[0] <= scalar.wall_time <= span[1]:
            found[scalar.tag][scalar.step] = scalar.value
    told = next((found[tag] for tag in LOSSES if found[tag]), None)
    return (
        None
        if told is None
        else Curve(tuple(sorted(told)), tuple(told[step] for step in sorted(told)))
    )


def _expand_home(path: str, home: str) -> str:
    return home + path[1:] if path == "~" or path.startswith("~/") else path


def event_files(folder: Path, prefix: str) -> Iterator[Path]:
    """Event files of folders that are called as the run's were; links to folders are not followed.

    No deeper than a trainer writes them, and in so many folders at most: a record that somebody
    else wrote may name the root of the disk.
    """
    try:
        names = sorted(each.name for each in folder.iterdir() if each.name.startswith(prefix))
    except (OSError, ValueError):
        return
    for name in names[:_MOST_FOLDERS]:
        for place in (folder / name, *_subfolders(folder / name)):
            with suppress(OSError):
                yield from sorted(
                    each for each in place.iterdir() if each.name.startswith("events.out.tfevents.")
                )


def _subfolders(place: Path) -> list[Path]:
    """Folders directly in ``place``."""
    try:
        with os.scandir(place) as entries:
            found = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [place / name for name in found[:_MOST_FOLDERS]]


def _read_losses(paths: Iterable[Path]) -> Iterator[Scalar]:
    """The losses in ``paths``; of a file that cannot be read, none more."""
    left = _MOST_BYTES
    for path in paths:
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= left:
                left -= status.st_size
                yield from scalars(path, LOSSES)


def chart(found: Curve, columns: int, *, plain: bool) -> str:
    """The curve as a row of at most ``columns`` letters, each the mean of its share of the
    values."""
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
