"""Two runs on record compared: of their contents only what is not the same object is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loragit.comparison import Comparison, Side
from loragit.comparison import compare as compared
from loragit.recorded import Surroundings, read_environment

if TYPE_CHECKING:
    from loragit.git import TreeItem
    from loragit.history.runs import RecordedRun

_NO_SURROUNDINGS = Surroundings({}, {})


def compare(before: RecordedRun, after: RecordedRun) -> Comparison:
    """What ``after`` does otherwise than ``before``. Raises :class:`~loragit.errors.LoragitError`."""
    trees = before.tree, after.tree
    differing = {path for path in trees[0].keys() | trees[1].keys() if trees[0].get(path) != trees[1].get(path)}
    sides = [_side(run, dict(tree), differing) for run, tree in zip((before, after), trees, strict=True)]
    return compared(*sides)


def _side(run: RecordedRun, tree: dict[str, TreeItem], differing: set[str]) -> Side:
    files = {path: tree[path].id for path in sorted(differing & tree.keys()) if not tree[path].folder}
    hashes = run.dataset_files if "dataset.sha256" in files else ()
    return Side(
        record=run.record,
        tree=files,
        dataset={file.path: file.sha256 for file in hashes},
        surroundings=read_environment(run.read("environment.txt")) if "environment.txt" in files else _NO_SURROUNDINGS,
    )
