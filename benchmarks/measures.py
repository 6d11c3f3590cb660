"""The benchmarks: each compares loragit with something that needs no explaining, A B A B in one
run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from workshop import FILE_BYTES, LORAGIT, Child, Scene, Workshop, add_captions, add_runs

HASH = str(Path(__file__).with_name("hash_folder.py"))
SHA256SUM = 'find "$0" -type f -print0 | xargs -0 -P"$(nproc)" -n64 sha256sum'

DIFFERENCE, RATIO, SPEED, VALUE = "difference", "ratio", "speed", "value"


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark found: two series, in pairs, and the figure that is judged."""

    name: str
    what: str
    base: str
    """What loragit is compared with."""
    base_values: tuple[float, ...]
    values: tuple[float, ...]
    """Seconds, or MiB where ``unit`` says so."""
    reading: str
    """``difference``: loragit less the base, ``ratio``: loragit by the base, ``speed``: base by
    loragit, each the median over the pairs; ``value``: loragit's median by itself."""
    budget: float | None
    """Most (of a speed: least) that the figure may be."""
    unit: str = "s"
    ours: str = "loragit"
    """What the second series is of."""

    @property
    def figure(self) -> float:
        pairs = tuple(zip(self.base_values, self.values, strict=True))
        match self.reading:
            case "difference":
                return median(ours - base for base, ours in pairs)
            case "ratio":
                return median(ours / base for base, ours in pairs)
            case "speed":
                return median(base / ours for base, ours in pairs)
        return median(self.values)

    @property
    def within(self) -> bool | None:
        """``None`` without a budget."""
        if self.budget is None:
            return None
        return self.figure >= self.budget if self.reading == SPEED else self.figure <= self.budget


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    pairs: int
    few: int
    """Pairs of what takes seconds."""
    many: int
    """Files of the large dataset."""
    small_file: int
    large_file: int
    """Bytes of the files whose size must not show in memory."""
    most_runs: int


FULL = Size(pairs=21, few=7, many=10_000, small_file=2**26, large_file=2**30, most_runs=10_000)
QUICK = Size(pairs=5, few=3, many=500, small_file=2**24, large_file=2**27, most_runs=2_000)

Series = tuple[tuple[float, ...], tuple[float, ...]]


def alternate(
    base: Callable[[], Child], ours: Callable[[], Child], pairs: int, value: str = "seconds"
) -> Series:
    """Measure A B A B …, after one pair that does not count."""
    measured = [(getattr(base(), value), getattr(ours(), value)) for _ in range(pairs + 1)][1:]
    return tuple(a for a, _ in measured), tuple(b for _, b in measured)


def version(workshop: Workshop, size: Size) -> Iterator[Result]:
    scene = workshop.scene("small", 100)
    series = alternate(
        lambda: scene.run(sys.executable, "-c", "pass"),
        lambda: scene.run(LORAGIT, "--version"),
        size.pairs,
    )
    yield Result("version", "`loragit --version`", "`python -c pass`", *series, DIFFERENCE, 0.060)


def train(workshop: Workshop, size: Size) -> Iterator[Result]:
    small = workshop.scene("small", 100)
    yield _train("train-100", "one run, 100 files", small, size.pairs, 0.25)
    many = workshop.scene("large", size.many)
    what = f"one run, {size.many:,} files of {FILE_BYTES // 1000} KB"
    yield _train(f"train-{size.many}", what, many, size.pairs, 0.35)


def first(workshop: Workshop, size: Size) -> Iterator[Result]:
    scene = workshop.scene("large", size.many)

    def cold() -> Child:
        scene.forget()
        return scene.train()

    series = alternate(scene.bare, cold, size.few)
    what = f"the first run, nothing cached, {size.many:,} files"
    yield Result(f"first-{size.many}", what, "bare trainer", *series, DIFFERENCE, None)


def hashing(workshop: Workshop, size: Size) -> Iterator[Result]:
    if not (shutil.which("sha256sum") and shutil.which("nproc")):
        return
    scene = workshop.scene("large", size.many)
    cache = workshop.folder / "caches" / "hashing"

    def cold() -> Child:
        shutil.rmtree(cache, ignore_errors=True)
        return scene.run(sys.executable, HASH, scene.images, cache)

    series = alternate(lambda: scene.run("sh", "-c", SHA256SUM, scene.images), cold, size.few)
    what = f"hashing {size.many:,} files, start-up included"
    yield Result("hash", what, "`sha256sum` on all cores", *series, SPEED, 0.80)


def captions(workshop: Workshop, size: Size) -> Iterator[Result]:
    scene = workshop.scene("large", size.many)
    add_captions(scene)
    what = f"one run, {size.many:,} files of {FILE_BYTES // 1000} KB and a caption for each"
    yield _train(f"train-{size.many}-captions", what, scene, size.pairs, None)


def _train(name: str, what: str, scene: Scene, pairs: int, budget: float | None) -> Result:
    return Result(
        name, what, "bare trainer", *alternate(scene.bare, scene.train, pairs), DIFFERENCE, budget
    )


def memory(workshop: Workshop, size: Size) -> Iterator[Result]:
    scene = workshop.scene("memory", 4)
    commands = []
    for length in (size.small_file, size.large_file):
        base_model = workshop.folder / f"{length}.safetensors"
        with base_model.open("wb") as file:
            file.truncate(length)
        extra = ("--pretrained_model_name_or_path", str(base_model), "--product_bytes", str(length))
        commands.append(lambda extra=extra: _forgetful(scene, extra))
    series = alternate(commands[0], commands[1], 3, "peak")
    small, large = (
        f"files of {length >> 20:,} MiB" for length in (size.small_file, size.large_file)
    )
    what = f"peak memory of a run whose base model and product are {large}"
    yield Result(
        "memory", what, f"loragit, {small}", *series, RATIO, 1.10, "MiB", f"loragit, {large}"
    )


def _forgetful(scene: Scene, extra: tuple[str, ...]) -> Child:
    """A run that hashes everything, and whose product makes room for the next."""
    scene.forget()
    child = scene.train(*extra)
    shutil.rmtree(scene.output)
    return child


def log(workshop: Workshop, size: Size) -> Iterator[Result]:
    scene = workshop.scene("runs", 4)
    add_runs(scene, 1_000)
    yield _log(
        "log-1000",
        "`loragit log` of 1,000 runs, tags as they came",
        scene,
        size.pairs,
        ("log",),
        0.10,
    )
    scene.git("pack-refs", "--all")
    yield _log(
        "log-1000-packed",
        "`loragit log` of 1,000 runs, tags packed",
        scene,
        size.pairs,
        ("log",),
        0.10,
    )
    add_runs(scene, size.most_runs)
    scene.git("pack-refs", "--all")
    many, name = f"{size.most_runs:,} runs, tags packed", f"log-{size.most_runs}"
    few = ("log", "-n", "50")
    yield _log(f"{name}-n50", f"`loragit log -n 50` of {many}", scene, size.pairs, few, 0.30)
    yield _all(name, f"`loragit log` of {many}", scene, size)
    base = scene.run(LORAGIT, "log", "-n", "1")
    series = alternate(lambda: base, lambda: scene.run(LORAGIT, "log"), 3, "peak")
    what = f"peak memory of `loragit log` of {many}"
    yield Result(f"{name}-memory", what, "`loragit log -n 1`", *series, VALUE, 200, "MiB")

    scene.train("--product_bytes", "65536")  # weights that no other run has
    file = str(
        scene.output / f"noob-gren-v{scene.used}s4" / f"noob-gren-v{scene.used}s4.safetensors"
    )
    series = alternate(
        lambda: scene.run("sha256sum", file), lambda: scene.run(LORAGIT, "whence", file), size.pairs
    )
    what = f"`loragit whence` of a model among {many}"
    yield Result(f"whence-{size.most_runs}", what, "`sha256sum`", *series, DIFFERENCE, 0.50)

    def cold() -> Child:
        scene.forget()
        return scene.run(LORAGIT, "log")

    series = alternate(lambda: _messages(scene), cold, 3)
    what = f"the first `loragit log` of {many}, nothing cached"
    yield Result(f"{name}-first", what, "`git log --format=%B runs`", *series, VALUE, None)


def _messages(scene: Scene) -> Child:
    return scene.run("git", "log", "--format=%B", "runs")


def _all(name: str, what: str, scene: Scene, size: Size) -> Result:
    series = alternate(lambda: _messages(scene), lambda: scene.run(LORAGIT, "log"), size.pairs)
    return Result(name, what, "`git log --format=%B runs`", *series, RATIO, 3.0)


def _log(
    name: str, what: str, scene: Scene, pairs: int, words: tuple[str, ...], budget: float | None
) -> Result:
    series = alternate(
        lambda: scene.run("git", "log", "--format=%h %s", "runs"),
        lambda: scene.run(LORAGIT, *words),
        pairs,
    )
    return Result(name, what, "`git log runs`", *series, VALUE, budget)


BENCHMARKS: dict[str, Callable[[Workshop, Size], Iterator[Result]]] = {
    "version": version,
    "train": train,
    "first": first,
    "hash": hashing,
    "captions": captions,
    "memory": memory,
    "log": log,
}
"""In the order in which they run: ``captions`` adds to the dataset that ``train``, ``first`` and
``hash`` share."""


def measure(names: list[str], folder: Path, size: Size) -> Iterator[Result]:
    """The results of the benchmarks ``names``, each as soon as it is there."""
    workshop = Workshop(folder)
    for name, benchmark in BENCHMARKS.items():
        if name in names:
            yield from benchmark(workshop, size)
