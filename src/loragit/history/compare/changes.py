"""What differs between two runs: two records in, a list of changes out. Opens no file, asks nobody.

Values are compared by what they mean to the trainer: ``1e-4`` is ``0.0001``, and where a run writes
its output is no difference between two runs.
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
from loragit.record.values import Weights
from loragit.trainers.sd_scripts import arguments

ARGUMENT, WEIGHTS, TRAINER, LYCORIS, REPOSITORY = (
    "argument",
    "weights",
    "trainer",
    "lycoris",
    "repository",
)
IMAGE, FILE, CAPTION, PROMPTS, CONFIG, INPUT = (
    "image",
    "file",
    "caption",
    "prompts",
    "config",
    "input",
)
ENVIRONMENT, PACKAGE, PATCH = "environment", "package", "patch"
KINDS = (
    *(ARGUMENT, WEIGHTS, TRAINER, LYCORIS, REPOSITORY),
    *(IMAGE, FILE, CAPTION, PROMPTS, CONFIG, INPUT),
    *(ENVIRONMENT, PACKAGE, PATCH),
)
"""Kinds of changes, in the order in which a comparison lists them. ``image``: a file of the dataset
that is no caption and no other text; ``file``: one that is; ``repository``: a further one, told as
``LABEL.commit``; ``caption``: what the record holds under ``captions/``."""

RUN_ARGUMENTS = frozenset(
    {
        "dataset_config",
        "sample_prompts",
        "output_dir",
        "output_name",
        "training_comment",
        "log_prefix",
    }
)
"""Arguments that loragit makes of the run's name and folder: no two runs share them."""

_FIRST = (
    *(
        "network_module",
        "network_dim",
        "network_alpha",
        "dim",
        "alpha",
        "conv_dim",
        "conv_alpha",
        "algo",
        "preset",
    ),
    *(
        "learning_rate",
        "unet_lr",
        "text_encoder_lr",
        "text_encoder_lr1",
        "text_encoder_lr2",
        "loraplus_lr_ratio",
    ),
    *("max_train_steps", "max_train_epochs", "train_batch_size", "gradient_accumulation_steps"),
    *("optimizer_type", "optimizer_args", "lr_scheduler", "lr_warmup_steps", "seed"),
)
"""Arguments that people look for first; the others follow by name."""
_RANK = {name: number for number, name in enumerate(_FIRST)}

_IMPORTANT = (
    "torch",
    "lycoris-lora",
    "diffusers",
    "transformers",
    "accelerate",
    "xformers",
    "bitsandbytes",
)
"""Packages that are named in a line; of the others the number."""

_TEXTS = (".txt", ".caption", ".json", ".toml", ".md", ".yaml", ".yml", ".csv")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class Side(NamedTuple):
    """One of the two runs. What is known to be the same on both sides may be left out of both."""

    record: Record
    tree: Mapping[str, str]
    """Content of each file of the record, by path; any name of the content will do (an object's
    id)."""
    dataset: Mapping[str, str]
    """sha256 of each file of the dataset, by path."""
    environment: RecordedEnvironment


class Change(NamedTuple):
    """One thing that differs."""

    kind: str
    """One of :data:`KINDS`."""
    key: str
    """What: an argument's name, a role of weights, a path, a package; ``network_args`` go by their
    own names."""
    before: str | None
    """``None``: it was not there. For files, their content's name. A flag that is given is
    ``true``."""
    after: str | None
    """``None``: it is not there any more."""


class Comparison(NamedTuple):
    """All that differs between two runs, in the order of :data:`KINDS`, the most telling first in
    each."""

    changes: tuple[Change, ...]

    def of(self, *kinds: str) -> tuple[Change, ...]:
        """Changes of these kinds alone."""
        return tuple(change for change in self.changes if change.kind in kinds)

    def phrases(self) -> tuple[str, ...]:
        """The same in a few words each, for a line: ``unet_lr 1e-4 → 5e-5``, ``2 captions``,
        ``torch 2.6 → 2.7``."""
        return tuple(_phrases(self))


def compare_sides(before: Side, after: Side) -> Comparison:
    """What a run (``after``) does otherwise than another (``before``)."""
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
    """Whether two values mean the same to a trainer: the same text, or the same number."""
    if one == other:
        return True
    if not (_NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)):
        return False
    first, second = finite_number(one), finite_number(other)
    return first is not None and first == second


def _compare_arguments(old: Record, new: Record) -> list[Change]:
    changes = _compare_mappings(ARGUMENT, _argument_texts(old), _argument_texts(new))
    return sorted(changes, key=lambda change: (_RANK.get(change.key, len(_RANK)), change.key))


def _argument_texts(record: Record) -> dict[str, str]:
    """Each argument as one text, pairs under their own names. Files of weights are compared by
    content, not here."""
    roles = {weights.role for weights in record.weights}
    told = RUN_ARGUMENTS | {name for name, role in arguments.WEIGHTS.items() if role in roles}
    args = {name: values for name, values in record.args.items() if name not in told}
    found = {name: " ".join(values) if values else "true" for name, values in args.items()}
    pairs = key_value_pairs(args)
    return {
        name: value
        for name, value in found.items()
        if name not in _GROUPS or not _are_pairs(args[name])
    } | pairs


_GROUPS = ("network_args", "optimizer_args")


def key_value_pairs(args: Values) -> dict[str, str]:
    """The ``key=value`` pairs of arguments that hold some, under their own names.

    One that is called like an argument is given with what it belongs to, as in
    ``network_args.seed``.
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
    """Weights by role; several of one role are told by number. Of one name, the content decides."""
    before, after = dict(_numbered_roles(old)), dict(_numbered_roles(new))
    changes = []
    for role in [*before, *(role for role in after if role not in before)]:
        one, other = before.get(role), after.get(role)
        if one is None or other is None or (one.sha256 or one.name) != (other.sha256 or other.name):
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
    return None if weights is None else f"{weights.name} ({(weights.sha256 or 'unknown')[:10]})"


def _compare_repo(kind: str, old: RecordedRepo | None, new: RecordedRepo | None) -> list[Change]:
    """The commit (of a release its version), and what was not committed.

    The branch is no difference: it names a commit, and that is compared.
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
    # A caption is on record as a file of the tree, and is told there.
    return [
        change._replace(kind=FILE) if change.key.lower().endswith(_TEXTS) else change
        for change in changes
        if not any(_caption_in_record(change.key) in side.tree for side in (before, after))
    ]


def _caption_in_record(path: str) -> str:
    """Where the record holds a file of the dataset, if that is a caption."""
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
_COMPARED_BY_VALUE = ("run.toml", "train.sh", "environment.txt", "dataset.sha256")
"""Files that hold what is compared value by value."""


def _compare_files(before: Side, after: Side) -> list[Change]:
    changes = []
    for change in _compare_mappings(FILE, before.tree, after.tree):
        if change.key in _COMPARED_BY_VALUE:
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
