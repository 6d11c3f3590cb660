"""Which keys a dataset config may hold, read from the trainer's own source: ``ConfigSanitizer`` in
``library/config_util.py`` refuses all others."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import NamedTuple

from loragit.errors import Area, Finding
from loragit.trainers.sd_scripts.datasets.subsets import Method, method_of, tables

_SOURCE = "library/config_util.py"
_MAX_BYTES = 4 << 20
_KINDS: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
_DROPOUT = "DO_SUBSET_ASCENDABLE_SCHEMA"
_COMMON = ("SUBSET_ASCENDABLE_SCHEMA", _DROPOUT)
_ASCENDABLE = {
    Method.DREAMBOOTH: ("DB_SUBSET_ASCENDABLE_SCHEMA",),
    Method.FINE_TUNING: (),
    Method.CONTROLNET: ("CN_SUBSET_ASCENDABLE_SCHEMA",),
}
_DISTINCT = {
    Method.DREAMBOOTH: "DB_SUBSET_DISTINCT_SCHEMA",
    Method.FINE_TUNING: "FT_SUBSET_DISTINCT_SCHEMA",
    Method.CONTROLNET: "CN_SUBSET_DISTINCT_SCHEMA",
}

_Keys = Mapping[str, str]
"""Name of each key's type; empty where that is no plain one."""


class Schema(NamedTuple):
    """The keys of each kind of table."""

    parts: Mapping[str, _Keys]
    """By the names that the source has for them."""

    def general(self) -> _Keys:
        """Of ``[general]``."""
        of_methods = (name for names in _ASCENDABLE.values() for name in names)
        return self._of("DATASET_ASCENDABLE_SCHEMA", *_COMMON, *of_methods)

    def dataset(self, method: Method) -> _Keys:
        """Of ``[[datasets]]``."""
        keys = self._of("DATASET_ASCENDABLE_SCHEMA", *_COMMON, *_ASCENDABLE[method])
        return {**keys, "subsets": ""}

    def subset(self, method: Method) -> _Keys:
        """Of ``[[datasets.subsets]]``."""
        return self._of(*_COMMON, *_ASCENDABLE[method], _DISTINCT[method])

    def _of(self, *names: str) -> _Keys:
        return {key: kind for name in names for key, kind in self.parts.get(name, {}).items()}


def read_schema(repo: Path) -> Schema | None:
    """Return the schema of the trainer in ``repo``; ``None`` where it is not in its usual form."""
    try:
        data = (repo / _SOURCE).read_bytes()
        if len(data) > _MAX_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = ast.walk(ast.parse(data))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    parts = {
        node.targets[0].id: _keys(node.value)
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Dict)
    }
    wanted = {"DATASET_ASCENDABLE_SCHEMA", *_COMMON, *_DISTINCT.values()}
    return Schema(parts) if wanted <= parts.keys() else None


def _keys(table: ast.Dict) -> _Keys:
    found = {}
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Call) and key.args:  # Required("image_dir")
            key = key.args[0]
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found[key.value] = value.id if isinstance(value, ast.Name) else ""
    return found


def of_script(script: str, *, masked_loss: bool) -> frozenset[Method]:
    """Return the methods that a script takes (its ``ConfigSanitizer``)."""
    name = PurePath(script).name
    if "control_net" in name or "controlnet" in name:
        return frozenset({Method.CONTROLNET})
    found = {Method.DREAMBOOTH, Method.FINE_TUNING}
    if name == "fine_tune.py":
        found = {Method.FINE_TUNING}
    elif name == "train_db.py":
        found = {Method.DREAMBOOTH}
    return frozenset(found | ({Method.CONTROLNET} if masked_loss else set()))


def wrong_method(script: str, method: Method, takes: frozenset[Method]) -> Finding | None:
    """Return a finding where a dataset is read in a way that the script does not take."""
    if method in takes:
        return None
    name = PurePath(script).name
    if takes == {Method.CONTROLNET}:
        hint = "every subset needs image_dir and conditioning_data_dir"
    elif method is Method.CONTROLNET:
        hint = "take conditioning_data_dir out, or train with --masked_loss"
    elif method is Method.FINE_TUNING:
        hint = "name folders of images by image_dir alone, without metadata_file"
    else:
        hint = "every subset needs metadata_file (as an argument: --in_json)"
    problem = f"{name} takes no dataset in the form of {method.value}"
    return Finding(problem, hint, Area.DATASET)


def findings(table: Mapping[str, object], schema: Schema) -> Iterator[Finding]:
    """Yield what the trainer would refuse of a dataset config."""
    yield from _of_table(table, {"general": "", "datasets": ""}, "the dataset config")
    general = table.get("general")
    if isinstance(general, dict):
        yield from _of_table(general, schema.general(), "[general]")
    for dataset in tables(table.get("datasets")):
        subsets = tuple(tables(dataset.get("subsets")))
        method = method_of(subsets)
        if method is None:
            continue
        yield from _of_table(dataset, schema.dataset(method), "[[datasets]]")
        for subset in subsets:
            yield from _of_table(subset, schema.subset(method), "[[datasets.subsets]]")


def _of_table(table: Mapping[str, object], keys: _Keys, where: str) -> Iterator[Finding]:
    for key, value in table.items():
        if key not in keys:
            near = get_close_matches(key, keys, 1, 0.75)
            hint = f"is {near[0]} meant?" if near else "take it out, or move it where it belongs"
            yield Finding(f"{key} is no key of {where}: the trainer refuses it", hint, Area.DATASET)
        elif keys[key] in _KINDS and not isinstance(value, _KINDS[keys[key]]):
            kind = {"bool": "true or false", "int": "a whole number", "str": "text"}
            wanted = kind.get(keys[key], "a number with a point, as 0.5")
            yield Finding(
                f"{key} in {where} must be {wanted}, not {value!r}: the trainer refuses it",
                "correct it in the dataset config",
                Area.DATASET,
            )
