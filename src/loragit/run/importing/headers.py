"""What the header of a model tells of the training that made it (``ss_…`` of sd-scripts,
``modelspec.…``).

A header is what anybody wrote into a file. Values are taken as claims: only those of the right form
count, and what is kept of the rest is bounded in size and number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from loragit import parse, text
from loragit.record import run_toml
from loragit.record.values import Entry, Weights

MAX_VALUE = 64 * 1024
"""Characters of a value that are kept."""
MAX_TAGS = 5000
"""Tags of ``ss_tag_frequency`` that are kept, the most frequent first; a caption holds some
twenty."""
MAX_KEYS = 500
"""sd-scripts writes about a hundred."""
_MAX_JSON = 16 * 1024 * 1024
_MAX_DEPTH = 12
_MAX_NETWORK = 200

_KEY = re.compile(r"(?:ss|sshs)_[A-Za-z0-9_.-]{1,100}|modelspec\.[A-Za-z0-9_.-]{1,100}")
_SECONDS = re.compile(r"[0-9]{9,10}(?:\.[0-9]{1,12})?")
_COMMENT = re.compile(
    r"(?:.*\()?loragit: (?P<name>\S+) (?P<commit>[0-9a-f]{40}|[0-9a-f]{64})\)?", re.DOTALL
)
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""What lies outside is no date of a training but a clock that was never set."""


class TrainingHeader(NamedTuple):
    """What a header tells; ``None`` where it does not, or not in a form that can be believed."""

    output_name: str | None
    session: str | None
    """``ss_session_id``: digits."""
    started: datetime | None
    """UTC."""
    finished: datetime | None
    """UTC: when this file was saved."""
    commit: str | None
    """Of sd-scripts, 40 hex digits."""
    steps: int | None
    """``--max_train_steps``."""
    network: str | None
    weights: tuple[Weights, ...]
    made_by: str | None
    """The commit of the run, where loragit's own comment names one."""


def training_header(metadata: Mapping[str, str]) -> TrainingHeader:
    """Read what there is."""
    told = metadata.get
    comment = _COMMENT.fullmatch(told("ss_training_comment", ""))
    steps = told("ss_max_train_steps", "")
    return TrainingHeader(
        output_name=_known(told("ss_output_name")),
        session=_of_form(told("ss_session_id"), r"[0-9]{1,20}"),
        started=_moment(told("ss_training_started_at")),
        finished=_moment(told("ss_training_finished_at")) or _local(told("modelspec.date")),
        commit=_of_form(told("ss_sd_scripts_commit_hash"), r"[0-9a-f]{40}")
        or _of_form(
            told("modelspec.implementation_version", "").removeprefix("sd-scripts/"),
            r"[0-9a-f]{40}",
        ),
        steps=int(steps) if re.fullmatch(r"[1-9][0-9]{0,8}", steps) else None,
        network=_network(metadata),
        weights=tuple(_weights(metadata)),
        made_by=comment["commit"] if comment else None,
    )


def _known(value: str | None) -> str | None:
    """``value``, but for what sd-scripts writes where it has none."""
    return value if value and value != "None" else None


def _of_form(value: str | None, pattern: str) -> str | None:
    return value if value is not None and re.fullmatch(pattern, value) else None


def _moment(seconds: str | None) -> datetime | None:
    """Seconds since 1970."""
    if seconds is None or not _SECONDS.fullmatch(seconds):
        return None
    return _plausible(datetime.fromtimestamp(float(seconds), UTC))


def _local(written: str | None) -> datetime | None:
    """A date as modelspec has it; without a zone it is this machine's, as the trainer wrote it."""
    try:
        return _plausible(datetime.fromisoformat(written or "").astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _plausible(moment: datetime) -> datetime | None:
    return moment if _EARLIEST <= moment < _LATEST else None


def _network(metadata: Mapping[str, str]) -> str | None:
    """``lycoris.kohya dim=4 alpha=2.0``."""
    module = _known(metadata.get("ss_network_module"))
    if module is None:
        return None
    sizes = ((name, _known(metadata.get(f"ss_network_{name}"))) for name in ("dim", "alpha"))
    told = " ".join([module, *(f"{name}={value}" for name, value in sizes if value)])
    return told if len(told) <= _MAX_NETWORK else told[: _MAX_NETWORK - 1] + "…"


def _weights(metadata: Mapping[str, str]) -> list[Weights]:
    """Base model and VAE where they have a name; the short hash that sd-scripts also writes is none
    of a file."""
    found = []
    for role, name_key, hash_key in (
        ("Base-Model", "ss_sd_model_name", "ss_new_sd_model_hash"),
        ("VAE", "ss_vae_name", "ss_new_vae_hash"),
    ):
        name = _known(metadata.get(name_key))
        if name is not None and len(name) <= MAX_NAME:
            found.append(Weights(role, name, _of_form(metadata.get(hash_key), r"[0-9a-f]{64}")))
    return found


MAX_NAME = 255
"""Characters of the longest file name."""


class MetadataFile(NamedTuple):
    """``metadata.toml``, and what of the header is not in it."""

    entry: Entry
    cut: tuple[str, ...]


def metadata_toml(metadata: Mapping[str, str], file_name: str) -> MetadataFile | None:
    """The header's values, one a line and sorted, JSON among them expanded; ``None`` where there
    are none.

    Keys that are neither ``ss_…`` nor ``sshs_…`` nor ``modelspec.…`` are left out.
    """
    keys = sorted(key for key in metadata if _KEY.fullmatch(key))
    if not keys:
        return None
    cut: list[str] = [f"{len(keys) - MAX_KEYS} keys"] if len(keys) > MAX_KEYS else []
    plain: dict[str, object] = {}
    tables: dict[str, object] = {}
    for key in keys[:MAX_KEYS]:
        value, left_out = _value(key, metadata[key])
        if left_out:
            cut.append(f"{key}: {left_out}")
        (tables if isinstance(value, dict | list) else plain)[key] = value
    # Tables come last: in TOML, what follows one's heading belongs to it.
    table = {"file": text.shown(file_name), "cut": cut, "metadata": {**plain, **tables}}
    return MetadataFile(Entry("metadata.toml", run_toml.toml(table)), tuple(cut))


def _value(key: str, raw: str) -> tuple[object, str | None]:
    """A value as TOML can hold it, and what was left out of it."""
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
    """What ``raw`` holds; ``None`` where it is no JSON, or none that TOML can express."""
    try:
        return _expressible(parse.read_json(raw), _MAX_DEPTH)
    except ValueError:
        return None


def _expressible(tree: object, depth: int) -> object:
    """``tree`` without its nulls in objects, which TOML has not. Raises ``ValueError``."""
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
    """(folder, tag, how often), the most frequent first; empty where the value has not sd-scripts'
    form."""
    if not isinstance(tree, dict) or not all(isinstance(tags, dict) for tags in tree.values()):
        return []
    rows = [(folder, tag, often) for folder, tags in tree.items() for tag, often in tags.items()]
    if not all(type(often) is int for _, _, often in rows):
        return []
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))


def _frequent(rows: list[tuple[str, str, int]]) -> tuple[object, str | None]:
    """As many of the tags as there is room for, by folder; of the rest only the number."""
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
