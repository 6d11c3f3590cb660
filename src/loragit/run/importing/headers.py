"""Metadata from the header of a model about the training that made it, whichever trainer wrote it:
``ss_…``, ``modelspec.…``, ``ot_config``, ``lora_adapter_metadata``, ``training_info``.

Anybody can write anything into a header, so its values are only claims. All are kept, within bounds
of size and number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from loragit import parse, text
from loragit.record import run_toml
from loragit.record.values import Entry

MAX_VALUE = 64 * 1024
"""Most characters kept of a value."""
MAX_TAGS = 5000
"""Most tags kept of ``ss_tag_frequency``, the most frequent first; a caption has about twenty."""
MAX_KEYS = 500
"""sd-scripts writes about a hundred."""
MAX_KEY = 200
"""Characters of the longest key that is kept."""
_MAX_JSON = 16 * 1024 * 1024
_MAX_DEPTH = 12


class MetadataFile(NamedTuple):
    """``metadata.toml``, and what was left out of it."""

    entry: Entry
    cut: tuple[str, ...]


def metadata_toml(metadata: Mapping[str, str], file_name: str) -> MetadataFile | None:
    """Return the header's values, one per line and sorted, with JSON expanded; ``None`` if there
    are none."""
    if not metadata:
        return None
    # Of too many keys, those that people ask for are kept.
    keys = sorted((key for key in metadata if len(key) <= MAX_KEY), key=_rank)
    left_out_keys = len(metadata) - min(len(keys), MAX_KEYS)
    cut: list[str] = [text.count(left_out_keys, "key")] if left_out_keys else []
    plain: dict[str, object] = {}
    tables: dict[str, object] = {}
    for key in sorted(keys[:MAX_KEYS]):
        value, left_out = _value(key, metadata[key])
        if left_out:
            cut.append(f"{text.shown(key)}: {left_out}")
        (tables if isinstance(value, dict | list) else plain)[key] = value
    # Tables come last: in TOML, everything after a table's heading belongs to it.
    table = {"file": text.shown(file_name), "cut": cut, "metadata": {**plain, **tables}}
    return MetadataFile(Entry("metadata.toml", run_toml.to_toml(table)), tuple(cut))


def _rank(key: str) -> tuple[bool, str]:
    return (not key.startswith(("ss_", "sshs_", "modelspec.")), key)


def _value(key: str, raw: str) -> tuple[object, str | None]:
    """Return a value in a form TOML can hold, and a description of what was left out of it."""
    if raw[:1] in ("{", "[") and len(raw) <= _MAX_JSON:
        tree = _json(raw)
        if tree is not None:
            if key == "ss_tag_frequency" and (rows := _tags(tree)):
                return _frequent(rows)
            if len(raw) <= MAX_VALUE:
                return tree, None
    if len(raw) <= MAX_VALUE:
        return raw, None
    if key == "modelspec.thumbnail":
        return "", f"{len(raw)} characters"
    return raw[:MAX_VALUE], f"{len(raw) - MAX_VALUE} of {len(raw)} characters"


def _json(raw: str) -> object | None:
    """Parse ``raw``; ``None`` if it is not JSON, or JSON that TOML cannot express."""
    try:
        return _expressible(parse.read_json(raw), _MAX_DEPTH)
    except ValueError:
        return None


def _expressible(tree: object, depth: int) -> object:
    """Return ``tree`` without the nulls in its objects, since TOML has no null. Raises
    ``ValueError``."""
    if depth == 0 or tree is None:
        raise ValueError("no TOML expresses this")
    if isinstance(tree, str):
        tree.encode()  # half of a surrogate pair parses; UnicodeError is a ValueError
    if isinstance(tree, dict):
        "".join(tree).encode()
        return {
            key: _expressible(value, depth - 1) for key, value in tree.items() if value is not None
        }
    if isinstance(tree, list):
        return [_expressible(value, depth - 1) for value in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        raise ValueError("no number")
    if isinstance(tree, int) and not isinstance(tree, bool) and not -(2**63) <= tree < 2**63:
        raise ValueError("TOML's integers have 64 bits")
    return tree


def _tags(tree: object) -> list[tuple[str, str, int]]:
    """Return (folder, tag, count) for each tag, the most frequent first; empty if the value is not
    in sd-scripts' format."""
    if not isinstance(tree, dict) or not all(isinstance(tags, dict) for tags in tree.values()):
        return []
    rows = [(folder, tag, often) for folder, tags in tree.items() for tag, often in tags.items()]
    if not all(type(often) is int for _, _, often in rows):
        return []
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))


def _frequent(rows: list[tuple[str, str, int]]) -> tuple[object, str | None]:
    """Return as many of the tags as there is room for, by folder; the rest are only counted."""
    kept: dict[str, dict[str, int]] = {}
    room = MAX_TAGS * 50
    number = 0
    for folder, tag, often in rows[:MAX_TAGS]:
        room -= len(tag) + (0 if folder in kept else len(folder))
        if room < 0:
            break
        kept.setdefault(folder, {})[tag] = often
        number += 1
    left_out = len(rows) - number
    return kept, f"{left_out} of {len(rows)} tags, the rarest" if left_out else None
