"""Finds what differs between two runs: takes two records, returns a list of changes.

Values are compared by what they mean to the trainer: ``1e-4`` equals ``0.0001``, and it makes no
difference where a run writes its output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from loragit.history.compare.arguments import argument_texts
from loragit.history.record_parser import (
    Record,
    RecordedEnvironment,
    RecordedRepo,
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

IMPORTANT = (
    "torch",
    "lycoris-lora",
    "diffusers",
    "transformers",
    "accelerate",
    "xformers",
    "bitsandbytes",
)
"""Packages that are named in one line; others are counted."""

GAPS = (
    ("command", "arguments", (ARGUMENT,)),
    ("trainer commit", "the trainer's commit", (TRAINER,)),
    ("LyCORIS commit", "the commit of LyCORIS", (LYCORIS,)),
    ("config.toml", "the dataset config", (CONFIG,)),
    ("sample-prompts", "sample prompts", (PROMPTS,)),
    ("captions", "captions", (CAPTION,)),
    ("dataset.sha256", "images", (IMAGE,)),
    ("environment.txt", "environment and packages", (ENVIRONMENT, PACKAGE)),
)
"""What a record may lack: its name in the trailer ``Missing``, its name for people, and the kinds
of changes that are then not compared."""
METADATA = "metadata.toml"
"""File of an imported record; most of what it says is compared as arguments."""
_TEXTS = (".txt", ".caption", ".json", ".toml", ".md", ".yaml", ".yml", ".csv")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class Lacks(NamedTuple):
    """What one record lacks, so that nobody knows how it was."""

    names: Mapping[str, str] = MappingProxyType({})
    """What to call it, by its name in :data:`GAPS`."""
    kinds: frozenset[str] = frozenset()
    """Kinds of changes of which nothing is on record."""
    partly: frozenset[str] = frozenset()
    """Kinds of which something is; what is not may have been there."""
    imported: bool = False
    """Whether it is the record of an imported run."""
    unlisted: str | None = None
    """The argument that names a file with further ones, in a record that does not list them."""


class Side(NamedTuple):
    """One of the two runs. What both sides are known to share may be left out of both."""

    record: Record
    tree: Mapping[str, str]
    """Identifier of the content of each file of the record (such as its object id), by path."""
    dataset: Mapping[str, str]
    """sha256 of each file of the dataset, by path."""
    environment: RecordedEnvironment
    lacks: Lacks = Lacks()
    arguments_file: str | None = None
    """Path in the record of a file that holds nothing but arguments which the record lists."""


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
    gaps: tuple[str, ...] = ()
    """What is not on record of one run or the other, and so not compared; for people."""

    def of(self, *kinds: str) -> tuple[Change, ...]:
        """Return the changes of these kinds."""
        return tuple(change for change in self.changes if change.kind in kinds)

    def phrases(self) -> tuple[str, ...]:
        """Return the changes in a few words each: ``unet_lr 1e-4 → 5e-5``, ``2 captions``,
        ``torch 2.6 → 2.7``; at the end what is not on record."""
        from loragit.history.compare import phrases

        return tuple(phrases.phrases(self))


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
    unsure = [f"the hash of {role}" for role in unsure_weights(old.weights, new.weights)]
    return Comparison(
        tuple(
            change
            for change in sorted(changes, key=lambda change: KINDS.index(change.kind))
            if not _is_gap(change, before, after)
        ),
        (*_gaps(before.lacks, after.lacks), *unsure),
    )


def _gaps(before: Lacks, after: Lacks) -> Iterator[str]:
    """Yield what is not compared: what one side lacks, and what an imported run lacks."""
    imported = before.imported or after.imported
    for missing, *_ in GAPS:
        names = [each.names[missing] for each in (before, after) if missing in each.names]
        if len(names) == 1 or (names and imported):
            yield names[0]
    yield from unlisted_arguments(before, after)


def unlisted_arguments(before: Lacks, after: Lacks) -> tuple[str, ...]:
    """Return what to call the arguments that one side alone does not list, if it is so."""
    if (before.unlisted is None) == (after.unlisted is None):
        return ()
    return (f"what --{before.unlisted or after.unlisted} gave",)


def _is_gap(change: Change, before: Side, after: Side) -> bool:
    """Whether the change may be one of the records alone."""
    missing = [
        side.lacks
        for side, value in ((before, change.before), (after, change.after))
        if value is None
    ]
    return (
        change.kind in before.lacks.kinds | after.lacks.kinds
        or any(change.kind in lacks.partly for lacks in missing)
        or (
            change.kind == ARGUMENT
            and any(lacks.unlisted for lacks in missing)
            and bool(unlisted_arguments(before.lacks, after.lacks))
        )
        # Only imported runs have a record of what a model's header says.
        or (change.key == METADATA and bool(missing))
        or _is_default(change, before, after)
    )


def _is_default(change: Change, before: Side, after: Side) -> bool:
    """Whether a header says of one run that the default counted, and of the other nobody gave
    another value."""
    if change.kind != ARGUMENT or before.lacks.imported == after.lacks.imported:
        return False
    one, other = (before, after) if before.lacks.imported else (after, before)
    said, given = (change.before, change.after) if one is before else (change.after, change.before)
    known = kinds.trainer_of(other.record.trainer_kind).defaults
    default = " ".join(other.record.defaults.get(change.key, (known.get(change.key, ""),)))
    return given is None and said is not None and same_value(said, default)


def same_value(one: str, other: str) -> bool:
    """Whether two values mean the same to a trainer: equal text, or equal numbers."""
    if one == other:
        return True
    if not (_NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)):
        return False
    first, second = finite_number(one), finite_number(other)
    return first is not None and first == second


def _compare_arguments(old: Record, new: Record) -> list[Change]:
    changes = _compare_mappings(ARGUMENT, *argument_texts(old, new))
    telling = kinds.trainer_of(new.trainer_kind).telling
    rank = {name: number for number, name in enumerate(telling)}
    return sorted(changes, key=lambda change: (rank.get(change.key, len(rank)), change.key))


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
        if _is_unsure(one, other):
            continue
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


def unsure_weights(old: Iterable[Weights], new: Iterable[Weights]) -> Iterator[str]:
    """Yield roles whose weights have the same name on both sides, and a hash on only one."""
    before, after = dict(_numbered_roles(old)), dict(_numbered_roles(new))
    yield from (role for role in before if _is_unsure(before[role], after.get(role)))


def _is_unsure(one: Weights | None, other: Weights | None) -> bool:
    return (
        one is not None
        and other is not None
        and one.name == other.name
        and (one.identity is None) != (other.identity is None)
    )


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
    commit = code.commit or code.version
    facts = {"commit": commit} if commit else {}
    return {**facts, **({"uncommitted": ", ".join(code.dirty)} if code.dirty else {})}


def _compare_script(old: Record, new: Record) -> list[Change]:
    one, other = old.trainer_script, new.trainer_script
    return [] if one == other else [Change(TRAINER, "script", one, other)]


def _compare_dataset(before: Side, after: Side) -> list[Change]:
    if IMAGE in before.lacks.kinds | after.lacks.kinds:
        return []
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
    listed = not (before.lacks.unlisted or after.lacks.unlisted)
    left_out = {*_NOT_COMPARED, *((before.arguments_file, after.arguments_file) if listed else ())}
    for change in _compare_mappings(FILE, before.tree, after.tree):
        if change.key in left_out:
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
    rank = {name: number for number, name in enumerate(IMPORTANT)}
    return sorted(changes, key=lambda change: rank.get(change.key, len(rank)))
