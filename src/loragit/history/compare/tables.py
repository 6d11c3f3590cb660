"""Compares TOML and JSON documents value by value.

Tables of a list are matched by what they are, wherever they stand: subsets by their ``image_dir``,
datasets by their subsets, others by what they have in common::

    before                             after
    [[datasets.subsets]]               [[datasets.subsets]]
    image_dir = "img"                  image_dir = "more"
    num_repeats = 2                    num_repeats = 1

    [[datasets.subsets]]               [[datasets.subsets]]
    image_dir = "more"                 image_dir = "img"
    num_repeats = 1                    num_repeats = 3

    datasets[0].subsets[img].num_repeats: 2, then 3
    datasets[0].subsets (order): img, more, then more, img
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

Table = Mapping[str, object]

_IDENTITIES = ("image_dir", "metadata_file", "in_json", "name", "prompt")
"""Keys whose value identifies a table of a list; the first one that a table has counts."""
_IDENTITY_WEIGHT = 100
"""How many other shared values an identity that two tables share outweighs."""
_MOST = 64
"""Tables up to which each is compared with each; more than that are matched in their order."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class ValueChange(NamedTuple):
    """A value that changed."""

    key: str
    """Where: ``datasets[0].subsets[img].num_repeats``; ``datasets (order)`` for tables that changed
    places."""
    before: str | None
    """As TOML writes it; ``None`` if it was not there."""
    after: str | None
    """``None`` if it is gone."""


def compare_tables(before: Table, after: Table) -> tuple[ValueChange, ...]:
    """Return what differs in meaning: ``1e-4`` equals ``0.0001``, and the order of keys does not
    count; strings must be equal."""
    return tuple(_compare_below(before, after, ""))


def as_toml(value: object) -> str:
    """Return ``value`` in one line, as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        inside = ", ".join(
            f"{_quote_key(str(key))} = {as_toml(each)}" for key, each in value.items()
        )
        return f"{{ {inside} }}" if inside else "{}"
    if value is None:
        return "null"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _compare_below(old: Table, new: Table, prefix: str) -> Iterator[ValueChange]:
    for key in (*old, *(key for key in new if key not in old)):
        place = _join_key(prefix, key)
        if key not in old:
            yield from (
                ValueChange(where, None, as_toml(value))
                for where, value in _leaves(new[key], place)
            )
        elif key not in new:
            yield from (
                ValueChange(where, as_toml(value), None)
                for where, value in _leaves(old[key], place)
            )
        else:
            yield from _compare_values(old[key], new[key], place)


def _compare_values(old: object, new: object, place: str) -> Iterator[ValueChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _compare_below(old, new, place)
    elif _is_list_of_tables(old) and _is_list_of_tables(new):
        yield from _compare_rows(_tables_in(old), _tables_in(new), place)
    elif _comparable(old) != _comparable(new):
        yield ValueChange(place, as_toml(old), as_toml(new))


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _tables_in(value: object) -> list[Table]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _compare_rows(old: Sequence[Table], new: Sequence[Table], place: str) -> Iterator[ValueChange]:
    pairs = sorted(match_tables(old, new))
    before, after = _labels(old), _labels(new)
    for one, other in pairs:
        yield from _compare_below(old[one], new[other], f"{place}[{after[other]}]")
    known, met = {one for one, _ in pairs}, {other for _, other in pairs}
    for number, table in enumerate(old):
        if number not in known:
            gone_or_new = _leaves(table, f"{place}[{before[number]}]")
            yield from (ValueChange(where, as_toml(value), None) for where, value in gone_or_new)
    for number, table in enumerate(new):
        if number not in met:
            gone_or_new = _leaves(table, f"{place}[{after[number]}]")
            yield from (ValueChange(where, None, as_toml(value)) for where, value in gone_or_new)
    others = [other for _, other in pairs]
    if others != sorted(others):
        names = [after[other] for other in others], [after[other] for other in sorted(others)]
        yield ValueChange(f"{place} (order)", ", ".join(names[0]), ", ".join(names[1]))


def match_tables(old: Sequence[Table], new: Sequence[Table]) -> list[tuple[int, int]]:
    """Return pairs of indexes of tables that stand for the same thing: equal ones, else those of
    the same identity, else those with most in common.

    With both sides exchanged the pairs are the same, exchanged.
    """
    pairs: list[tuple[int, int]] = []
    left, right = dict.fromkeys(range(len(old))), dict.fromkeys(range(len(new)))

    def take(found: Iterable[tuple[int, int]]) -> None:
        for one, other in found:
            del left[one], right[other]
            pairs.append((one, other))

    take(
        _equal_pairs(
            {one: _comparable(old[one]) for one in left},
            {other: _comparable(new[other]) for other in right},
        )
    )
    mine, theirs = _by_identity(old, left), _by_identity(new, right)
    for identity, ours in mine.items():
        if identity is not None:
            take(_closest_pairs(old, new, ours, theirs.get(identity, []), least=0))
    take(_closest_pairs(old, new, mine.get(None, []), theirs.get(None, []), least=1))
    if len(left) == len(right) == 1:  # whatever changed in it, it is the only one left
        take([(next(iter(left)), next(iter(right)))])
    return pairs


def _by_identity(rows: Sequence[Table], numbers: Iterable[int]) -> dict[str | None, list[int]]:
    """Return ``numbers`` of tables by their identity."""
    found: dict[str | None, list[int]] = {}
    for number in numbers:
        found.setdefault(_identity(rows[number]), []).append(number)
    return found


def _equal_pairs(ours: Mapping[int, object], theirs: Mapping[int, object]) -> list[tuple[int, int]]:
    """Return pairs of equal tables, in their order."""
    places: dict[object, deque[int]] = {}
    for other, meaning in theirs.items():
        places.setdefault(meaning, deque()).append(other)
    found = []
    for one, meaning in ours.items():
        if places.get(meaning):
            found.append((one, places[meaning].popleft()))
    return found


def _closest_pairs(
    old: Sequence[Table], new: Sequence[Table], ours: list[int], theirs: list[int], *, least: int
) -> list[tuple[int, int]]:
    """Return the pairs that share most, if they share at least ``least``."""
    if max(len(ours), len(theirs)) > _MOST:
        return list(zip(ours, theirs, strict=False))
    mine, others = (
        {one: _traits(old[one]) for one in ours},
        {other: _traits(new[other]) for other in theirs},
    )
    scores = {
        (one, other): _similarity(mine[one], others[other]) for one in ours for other in theirs
    }
    # Of equal pairs those that moved least: this order is the same from either side.
    ranked = sorted(scores, key=lambda pair: (-scores[pair], abs(pair[0] - pair[1]), sum(pair)))
    found: list[tuple[int, int]] = []
    for one, other in ranked:
        if scores[one, other] >= least and all(one != a and other != b for a, b in found):
            found.append((one, other))
    return found


Traits = Counter[tuple[str, object]]


def _traits(table: Table) -> Traits:
    """Return every value of a table with its key; indexes of lists are left out."""
    return Counter(
        (re.sub(r"\[\d+\]", "[]", key), _comparable(value))
        for key, value in _leaves_of_table(table, "", numbered=True)
    )


def _similarity(one: Traits, other: Traits) -> int:
    """Return how much two tables share; 0 if both hold identified tables, none of them in
    common."""
    shared = one & other
    telling = sum(number for (key, _), number in shared.items() if _is_identity(key))
    if not telling and all(any(_is_identity(key) for key, _ in each) for each in (one, other)):
        return 0
    return shared.total() + _IDENTITY_WEIGHT * telling


def _is_identity(key: str) -> bool:
    return key.rpartition(".")[2] in _IDENTITIES and "[]" in key


def _identity(table: Table) -> str | None:
    found = (table.get(key) for key in _IDENTITIES)
    return next((each for each in found if isinstance(each, str)), None)


def _labels(rows: Sequence[Table]) -> list[str]:
    """Return what each table is called in a key: its identity, with its index from 0 if others have
    the same, or its index alone."""
    identities = [_identity(row) for row in rows]
    often = Counter(identities)
    return [
        str(number) if each is None else each if often[each] == 1 else f"{each}, {number}"
        for number, each in enumerate(identities)
    ]


def _leaves(value: object, place: str) -> Iterator[tuple[str, object]]:
    """Yield every value at and below ``place``."""
    if isinstance(value, dict) and value:
        yield from _leaves_of_table(value, place)
    elif _is_list_of_tables(value):
        rows = _tables_in(value)
        for label, row in zip(_labels(rows), rows, strict=True):
            yield from _leaves(row, f"{place}[{label}]")
    else:
        yield place, value


def _leaves_of_table(
    table: Table, prefix: str, *, numbered: bool = False
) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        place = _join_key(prefix, key)
        if numbered and _is_list_of_tables(value):
            for number, row in enumerate(_tables_in(value)):
                yield from _leaves_of_table(row, f"{place}[{number}]", numbered=True)
        else:
            yield from _leaves(value, place)


def _join_key(prefix: str, key: str) -> str:
    return f"{prefix}.{_quote_key(key)}" if prefix else _quote_key(key)


def _quote_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _comparable(value: object) -> object:
    """Return something that is equal for values that mean the same to a trainer."""
    if isinstance(value, dict):
        return frozenset((key, _comparable(each)) for key, each in value.items())
    if isinstance(value, list):
        return tuple(map(_comparable, value))
    if isinstance(value, bool):  # equal to 1 or 0 in Python
        return str(value), bool
    if isinstance(value, float) and value != value:
        return str(value), float
    return value
