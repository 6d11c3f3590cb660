"""Many short runs in a row that end as runs end: does the last cost what the first did? ``soak.py
[--runs N]``.

Each run is trained for real, with the trainer of bench.py, and ends as a fixed seed says. Before
each, the same trainer runs alone: the two differ by what loragit adds. docs/benchmarks.md says what
is measured.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import DOCUMENT, fill, machine
from workshop import LORAGIT, Child, ChildFailed, Scene, Workshop

BEGIN, END = "<!-- soak: written by soak.py --markdown -->", "<!-- end of soak -->"

SEED = 5

ENDS = {
    "": (0, 0, 50),
    "nothing": (0, 1, 15),
    "failed": (1, 1, 15),
    "failed late": (1, 1, 10),
    "killed": (-9, 137, 10),
}
"""How a run ends: exit status of the bare trainer, of loragit, and its share in %. ``""`` is
well."""

STANDS = ("", "failed late")
"""Those that made something: sealed. The others are reverted."""

HOUSEKEEPING = 60.0
"""Seconds that git's own housekeeping, which loragit starts after a run, may take."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run, bare and on record."""

    end: str
    bare: Child
    ours: Child

    @property
    def added(self) -> float:
        """Seconds that loragit takes over the trainer."""
        return self.ours.seconds - self.bare.seconds


@dataclass(frozen=True, slots=True)
class Repository:
    """What the dataset's ``.git`` holds after some number of runs."""

    runs: int
    total: int
    """Bytes of its files, as they lie on disk, loragit's own folder left out."""
    private: int
    """Bytes of ``.git/loragit``: logs of the runs that were reverted, and its files for runs in
    progress."""
    private_files: int
    cloned: int
    """Bytes of a fresh mirror of it: everything packed once, and nothing that no ref reaches."""
    loose: int
    packs: int
    loose_refs: int


def main() -> int:
    options = _options()
    about = machine()
    print("\n".join(f"{key}: {value}" for key, value in about.items()) + "\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="loragit-soak-", ignore_cleanup_errors=True) as folder:
        try:
            scene = Workshop(Path(folder)).scene("soak", 100)
            found, states = soak(scene, options.runs, options.window)
            table = report(scene, found, states, options.window)
        except ChildFailed as failure:
            print(f"error: {failure}", file=sys.stderr)
            return 1
    print(table)
    if options.markdown:
        rows = ["| " + " | ".join(about) + " |", "| " + " | ".join("---" for _ in about) + " |"]
        fill(
            DOCUMENT,
            "\n".join([*rows, "| " + " | ".join(about.values()) + " |", "", table]),
            BEGIN,
            END,
        )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train many short runs in a row, and compare the last with the first."
    )
    parser.add_argument(
        "--runs", type=int, default=2_000, metavar="N", help="how many; default, 2,000"
    )
    parser.add_argument(
        "--window", type=int, default=100, metavar="N", help="first and last N are compared"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="replace the table in docs/benchmarks.md"
    )
    options = parser.parse_args()
    if options.window < 1 or options.runs < 2 * options.window:
        parser.error("there must be at least two windows of runs")
    return options


def soak(scene: Scene, runs: int, window: int) -> tuple[list[Run], list[Repository]]:
    """Train ``runs`` runs; the repository is looked at before them, after each window, and told
    after the last."""
    rng = random.Random(SEED)
    shares = [share for _, _, share in ENDS.values()]
    _one(scene, "")  # the first hashes everything, and does not count
    states = [look(scene, 0)]
    found: list[Run] = []
    for number in range(1, runs + 1):
        (end,) = rng.choices(list(ENDS), shares)
        found.append(_one(scene, end))
        if number % window == 0 or number == runs:
            states.append(look(scene, number))
            print(progress(found[-window:], states[-1]), flush=True)
    _check(scene, found)
    return found, states


def _one(scene: Scene, end: str) -> Run:
    extra = ("--end", end) if end else ()
    bare, ours, _ = ENDS[end]
    return Run(end, scene.bare(*extra, status=bare), scene.train(*extra, status=ours))


def _check(scene: Scene, found: Sequence[Run]) -> None:
    """Every run is on record as it ended; the repository is sound. Raises :class:`ChildFailed`."""
    scene.git("fsck", "--strict", "--full")
    standing = 1 + sum(run.end in STANDS for run in found)
    for what, counted, wanted in (
        ("tags", len(scene.git("tag", "--list").split()), standing),
        (
            "commits",
            int(scene.git("rev-list", "--count", "runs")),
            1 + len(found) + (1 + len(found) - standing),
        ),
    ):
        if counted != wanted:
            raise ChildFailed(f"{counted} {what} after {len(found)} runs, not {wanted}")


def look(scene: Scene, runs: int) -> Repository:
    """Wait for git's housekeeping to end, then measure."""
    folder = scene.dataset / ".git"
    until = time.monotonic() + HOUSEKEEPING
    while any((folder / name).exists() for name in ("gc.pid", "objects/maintenance.lock")):
        if time.monotonic() > until:
            raise ChildFailed("git's housekeeping does not end")
        time.sleep(0.1)
    counts = dict(line.split(": ") for line in scene.git("count-objects", "-v").splitlines())
    with tempfile.TemporaryDirectory(dir=scene.output.parent) as copy:
        scene.git("clone", "--quiet", "--mirror", "--no-local", ".", copy)
        cloned = sum(path.stat().st_size for path in Path(copy).rglob("*") if path.is_file())
    private = sizes(folder / "loragit")
    return Repository(
        runs,
        sum(sizes(folder)) - sum(private),
        sum(private),
        len(private),
        cloned,
        int(counts["count"]),
        int(counts["packs"]),
        len(sizes(folder / "refs")),
    )


def sizes(folder: Path) -> list[int]:
    """Bytes on disk of each file below ``folder``."""
    return [path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()]


def progress(window: Sequence[Run], state: Repository) -> str:
    added, peak = median(run.added for run in window), max(run.ours.peak for run in window)
    return (
        f"{state.runs} runs: +{added:.3f} s a run, {peak:.0f} MiB; .git {state.total / 2**20:.1f} "
        "MiB "
        f"({state.cloned / 2**20:.2f} in a clone), {state.loose} loose objects, {state.packs} "
        "packs, "
        f"{state.loose_refs} loose refs, {state.private_files} files of loragit's own"
    )


def report(scene: Scene, found: Sequence[Run], states: Sequence[Repository], window: int) -> str:
    """The comparison of the first window with the last, as a table."""
    first, last, total = found[:window], found[-window:], len(found)
    rows = [
        f"| {total:,} runs | 1 to {window:,} | {total - window + 1:,} to {total:,} |",
        "| --- | --- | --- |",
    ]

    def row(what: str, early: str, late: str) -> None:
        rows.append(f"| {what} | {early} | {late} |")

    for what, ends in (
        ("a run that made a model", STANDS),
        ("a run that is reverted", _others(STANDS)),
    ):
        early, late = (
            median(run.added for run in part if run.end in ends) for part in (first, last)
        )
        row(f"{what}, over the bare trainer", f"+{early:.3f} s", f"+{late:.3f} s")
    early, late = (median(run.bare.seconds for run in part) for part in (first, last))
    row("the bare trainer", f"{early:.3f} s", f"{late:.3f} s")
    early, late = (max(run.ours.peak for run in part) for part in (first, last))
    row("peak memory", f"{early:.0f} MiB", f"{late:.0f} MiB")
    (before, begun), (so_far, done) = states[:2], states[-2:]
    early, late = (
        (begun.cloned - before.cloned) / window,
        (done.cloned - so_far.cloned) / (done.runs - so_far.runs),
    )
    row("a fresh clone, bytes more a run", f"{early:,.0f}", f"{late:,.0f}")
    row(
        "`.git` without loragit's own folder",
        *(f"{state.total / 2**20:.1f} MiB" for state in (begun, done)),
    )
    row(
        "loose objects; most of them seen",
        f"{begun.loose:,}",
        f"{done.loose:,}; {max(s.loose for s in states):,}",
    )
    row("packs", str(begun.packs), str(done.packs))
    row("refs with a file of their own", f"{begun.loose_refs:,}", f"{done.loose_refs:,}")
    row("files in `.git/loragit`", f"{begun.private_files:,}", f"{done.private_files:,}")
    took = scene.run(LORAGIT, "log", "-n", "50").seconds, scene.run(LORAGIT, "log").seconds
    rows.append(
        f"\nAfterwards `loragit log -n 50` took {took[0]:.3f} s and the first whole `loragit log` "
        f"{took[1]:.3f} s."
    )
    return "\n".join(rows)


def _others(ends: Sequence[str]) -> tuple[str, ...]:
    return tuple(end for end in ENDS if end not in ends)


if __name__ == "__main__":
    sys.exit(main())
