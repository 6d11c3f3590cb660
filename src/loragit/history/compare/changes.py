"""Finds what differs between two runs: takes two records, returns a list of changes.

Values are compared by what they mean to the trainer: ``1e-4`` equals ``0.0001``, and it makes no
difference where a run writes its output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from loragit import text
from loragit.history.record_parser import (
    Record,
    RecordedEnvironment,
    RecordedRepo,
    Values,
    finite_number,
)
from loragit.record import attributes
from loragit.record.values import Weights
from loragit.trainers import kinds

ARGUMENT, WEIGHTS = "argument", "weights"
TRAINER, LYCORIS, REPOSITORY = "trainer", "lycoris", "repository"
IMAGE, FILE, CAPTION = "image", "file", "caption"
PROMPTS, CONFIG, INPUT = "prompts", "config", "input"
ENVIRONMENT, PACKAGE, PATCH = "environment", "package", "patch"
# fmt: off
KINDS = (
    ARGUMENT, WEIGHTS, TRAINER, LYCORIS, REPOSITORY,
    IMAGE, FILE, CAPTION, PROMPTS, CONFIG, INPUT,
    ENVIRONMENT, PACKAGE, PATCH,
)
# fmt: on
"""Kinds of changes, in the order in which a comparison lists them. ``image``: a file of the dataset
that is no text; ``file``: one that is text, but no caption; ``repository``: one of other code, with
the key ``LABEL.commit``; ``caption``: a file in the record's ``captions/``."""

_IMPORTANT = (
    "torch",
    "lycoris-lora",
    "diffusers",
    "transformers",
    "accelerate",
    "xformers",
    "bitsandbytes",
)
"""Packages that are named in one line; others are counted."""

_TEXTS = (".txt", ".caption", ".json", ".toml", ".md", ".yaml", ".yml", ".csv")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class Side(NamedTuple):
    """One of the two runs. What both sides are known to share may be left out of both."""

    record: Record
    tree: Mapping[str, str]
    """Identifier of the content of each file of the record (such as its object id), by path."""
    dataset: Mapping[str, str]
    """sha256 of each file of the dataset, by path."""
    environment: RecordedEnvironment


class Change(NamedTuple):
    """One thing that differs."""

    kind: str
    """One of :data:`KINDS`."""
    key: str
    """An argument's name, a role of weights, a path, a package; the pairs in ``network_args`` have
    their own names."""
    before: str | None
    """``None`` if it was not there. For files it identifies the content; for a flag it is
    ``true``."""
    after: str | None
    """``None`` if it is gone."""


class Comparison(NamedTuple):
    """All that differs between two runs, in the order of :data:`KINDS`, in each kind the most
    important first."""

    changes: tuple[Change, ...]

    def of(self, *kinds: str) -> tuple[Change, ...]:
        """Return the changes of these kinds."""
        return tuple(change for change in self.changes if change.kind in kinds)

    def phrases(self) -> tuple[str, ...]:
        """Return the changes in a few words each: ``unet_lr 1e-4 → 5e-5``, ``2 captions``,
        ``torch 2.6 → 2.7``."""
        return tuple(_phrases(self))


def compare_sides(before: Side, after: Side) -> Comparison:
    """Return what differs between ``before`` and ``after``."""
    old, new = before.record, after.record
    changes = [
        *_compare_arguments(old, new),
        *_compare_weights(old.weights, new.weights),
        *_compare_repo(TRAINER, old.trainer, new.trainer),
        *_compare_repo(LYCORIS, old.lycoris, new.lycoris),
        *_compare_script(old, new),
        *_compare_repos(old.repositories, new.repositories),
        *_compare_dataset(before, after),
        *_compare_files(before, after),
        *_compare_mappings(
            ENVIRONMENT,
            _joined_values(before.environment.about),
            _joined_values(after.environment.about),
        ),
        *_compare_packages(before.environment.packages, after.environment.packages),
    ]
    return Comparison(tuple(sorted(changes, key=lambda change: KINDS.index(change.kind))))


def same_value(one: str, other: str) -> bool:
    """Whether two values mean the same to a trainer: equal text, or equal numbers."""
    if one == other:
        return True
    if not (_NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)):
        return False
    first, second = finite_number(one), finite_number(other)
    return first is not None and first == second


def _compare_arguments(old: Record, new: Record) -> list[Change]:
    changes = _compare_mappings(ARGUMENT, _argument_texts(old), _argument_texts(new))
    telling = kinds.trainer_of(new.trainer_kind).telling
    rank = {name: number for number, name in enumerate(telling)}
    return sorted(changes, key=lambda change: (rank.get(change.key, len(rank)), change.key))


def _argument_texts(record: Record) -> dict[str, str]:
    """Return each argument as one text, pairs under their own names. Weights are left out: they are
    compared by content.

    ``--seed 7 --network_args conv_dim=4 algo=lokr`` gives
    ``{"seed": "7", "conv_dim": "4", "algo": "lokr"}``.
    """
    roles = {weights.role for weights in record.weights}
    trainer = kinds.trainer_of(record.trainer_kind)
    left_out = trainer.per_run | {name for name, role in trainer.weights.items() if role in roles}
    args = {name: values for name, values in record.args.items() if name not in left_out}
    found = {name: " ".join(values) if values else "true" for name, values in args.items()}
    pairs = key_value_pairs(args)
    return {
        name: value
        for name, value in found.items()
        if name not in _GROUPS or not _are_pairs(args[name])
    } | pairs


_GROUPS = ("network_args", "optimizer_args")


def key_value_pairs(args: Values) -> dict[str, str]:
    """Return the ``key=value`` pairs in ``network_args`` and ``optimizer_args`` under their own
    names.

    One with the name of an argument gets the group in front, as in ``network_args.seed``.
    """
    found = {}
    for group in _GROUPS:
        if _are_pairs(args.get(group, ())):
            for pair in args[group]:
                key, _, value = pair.partition("=")
                found[f"{group}.{key}" if key in args else key] = value
    return found


def _are_pairs(values: tuple[str, ...]) -> bool:
    return bool(values) and all("=" in value for value in values)


def _compare_mappings(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    keys = [*old, *(key for key in new if key not in old)]
    pairs = [(key, old.get(key), new.get(key)) for key in keys]
    return [Change(kind, *each) for each in pairs if not _same(each[1], each[2])]


def _same(one: str | None, other: str | None) -> bool:
    return one == other if one is None or other is None else same_value(one, other)


def _compare_weights(old: Iterable[Weights], new: Iterable[Weights]) -> list[Change]:
    """Compare weights by role; several of one role are numbered. The hash decides, else the
    name."""
    before, after = dict(_numbered_roles(old)), dict(_numbered_roles(new))
    changes = []
    for role in [*before, *(role for role in after if role not in before)]:
        one, other = before.get(role), after.get(role)
        if (
            one is None
            or other is None
            or (one.identity or one.name) != (other.identity or other.name)
        ):
            names = (None if one is None else one.name), (None if other is None else other.name)
            if names[0] == names[1]:
                names = _name_with_hash(one), _name_with_hash(other)
            changes.append(Change(WEIGHTS, role, *names))
    return changes


def _numbered_roles(weights: Iterable[Weights]) -> Iterator[tuple[str, Weights]]:
    seen: dict[str, int] = {}
    for each in weights:
        seen[each.role] = seen.get(each.role, 0) + 1
        yield each.role if seen[each.role] == 1 else f"{each.role} {seen[each.role]}", each


def _name_with_hash(weights: Weights | None) -> str | None:
    return None if weights is None else f"{weights.name} ({(weights.identity or 'unknown')[:10]})"


def _compare_repo(kind: str, old: RecordedRepo | None, new: RecordedRepo | None) -> list[Change]:
    """Compare the commit (for a release its version) and uncommitted paths.

    The branch does not count: it only names the commit.
    """
    before, after = ({} if code is None else _repo_values(code) for code in (old, new))
    return _compare_mappings(kind, before, after)


def _compare_repos(old: Iterable[RecordedRepo], new: Iterable[RecordedRepo]) -> list[Change]:
    before, after = ({code.label: code for code in codes} for codes in (old, new))
    return [
        change._replace(key=f"{label}.{change.key}")
        for label in (*before, *(label for label in after if label not in before))
        for change in _compare_repo(REPOSITORY, before.get(label), after.get(label))
    ]


def _repo_values(code: RecordedRepo) -> dict[str, str]:
    facts = {"commit": code.commit or code.version or "unknown"}
    return {**facts, **({"uncommitted": ", ".join(code.dirty)} if code.dirty else {})}


def _compare_script(old: Record, new: Record) -> list[Change]:
    one, other = old.trainer_script, new.trainer_script
    return [] if one == other else [Change(TRAINER, "script", one, other)]


def _compare_dataset(before: Side, after: Side) -> list[Change]:
    changes = _compare_mappings(IMAGE, before.dataset, after.dataset)
    # A caption is compared as a file of the record.
    return [
        change._replace(kind=FILE) if change.key.lower().endswith(_TEXTS) else change
        for change in changes
        if not any(_caption_in_record(change.key) in side.tree for side in (before, after))
    ]


def _caption_in_record(path: str) -> str:
    """Return where the record holds the caption at ``path`` of the dataset."""
    return (
        f"captions/outside/{'/'.join(path.split('/')[-2:])}"
        if path.startswith("../")
        else f"captions/{path}"
    )


_KIND_OF = (
    ("captions/", CAPTION),
    ("sample-prompts.", PROMPTS),
    ("config.", CONFIG),
    ("inputs/", INPUT),
)
_NOT_COMPARED = ("run.toml", "train.sh", "environment.txt", "dataset.sha256", attributes.NAME)
"""Files whose values are compared one by one, and what loragit itself adds to a record."""


def _compare_files(before: Side, after: Side) -> list[Change]:
    changes = []
    for change in _compare_mappings(FILE, before.tree, after.tree):
        if change.key in _NOT_COMPARED:
            continue
        kind = next((kind for start, kind in _KIND_OF if change.key.startswith(start)), None)
        kind = kind or (PATCH if change.key.startswith("patches/") else FILE)
        changes.append(change._replace(kind=kind, key=change.key.removeprefix("captions/")))
    return changes


def _joined_values(values: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {key: ", ".join(each) for key, each in values.items()}


def _compare_packages(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    changes = [
        Change(PACKAGE, name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    rank = {name: number for number, name in enumerate(_IMPORTANT)}
    return sorted(changes, key=lambda change: rank.get(change.key, len(rank)))


def _phrases(found: Comparison) -> Iterator[str]:
    for change in found.of(ARGUMENT, WEIGHTS):
        yield _phrase(change.key, change.before, change.after)
    for kind, label in ((TRAINER, "trainer"), (LYCORIS, "LyCORIS")):
        for change in found.of(kind):
            yield _repo_phrase(label, change)
    for change in found.of(REPOSITORY):
        label, _, what = change.key.rpartition(".")
        yield _repo_phrase(label, change._replace(key=what))
    yield from _count_phrases(found.of(IMAGE), "image")
    for kind, noun in (
        (CAPTION, "caption"),
        (FILE, "other file"),
        (INPUT, "input"),
        (PATCH, "patch"),
    ):
        if changed := found.of(kind):
            yield text.count(len(changed), noun)
    yield from (kind for kind in (PROMPTS, CONFIG) if found.of(kind))
    for change in found.of(ENVIRONMENT):
        yield _phrase(change.key, change.before, change.after)
    named = [change for change in found.of(PACKAGE) if change.key in _IMPORTANT]
    for change in named:
        yield _phrase(change.key, change.before, change.after)
    if others := len(found.of(PACKAGE)) - len(named):
        yield (
            text.count(others, "package") if not named else f"{text.count(others, 'other package')}"
        )


def _phrase(key: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"+{key}" if after == "true" else f"+{key} {after}"
    if after is None:
        return f"-{key}" if before == "true" else f"-{key} {before}"
    return f"{key} {before} → {after}"


def _repo_phrase(label: str, change: Change) -> str:
    if change.key == "uncommitted":
        return f"{label} uncommitted changes" if change.after else f"{label} clean"
    if change.key == "commit":
        before, after = (
            None if each is None else _short_commit(each) for each in (change.before, change.after)
        )
        return _phrase(label, before, after)
    return _phrase(f"{label} {change.key}", change.before, change.after)


def _short_commit(commit: str) -> str:
    return commit[:8] if re.fullmatch(r"[0-9a-f]{40,}", commit) else commit


def _count_phrases(images: tuple[Change, ...], noun: str) -> Iterator[str]:
    added = sum(change.before is None for change in images)
    gone = sum(change.after is None for change in images)
    if added:
        yield f"+{text.count(added, noun)}"
    if gone:
        yield f"-{text.count(gone, noun)}"
    if other := len(images) - added - gone:
        yield f"{text.count(other, noun)} changed"
