"""Conditions on recorded values, as in ``args.network_dim>=16``, and the values themselves."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from loragit.errors import LoragitError, UsageError
from loragit.history.record_parser import Record, finite_number
from loragit.history.runs import RecordedRun
from loragit.trainers.arguments import key_value_pairs

Value = str | int | float | bool
RecordedValues = Mapping[str, tuple[Value, ...]]
"""What is recorded of a run: one or more values by dotted key, those of ``run.toml`` first."""

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~")
_FORM = re.compile(r"\s*([^\s=!<>~]+)\s*(!=|<=|>=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_LEFT_OUT = ("command", "arguments", "defaults", "files")
"""Tables of ``run.toml`` without keys of their own here: the trainer's arguments are ``args``."""


class BadCondition(UsageError):
    """The text is not a condition, or its key is one that no run has."""


class Condition(NamedTuple):
    """One condition. A run without the value meets only ``!=``."""

    key: str
    """Of a recorded value; an argument goes by its mere name, too, where nothing else has it:
    ``network_dim`` for ``args.network_dim``."""
    operator: str
    """One of :data:`OPERATORS`; ``~`` searches for a regular expression."""
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse ``KEY OPERATOR VALUE``; blanks around them do not count. Raises
        :class:`BadCondition`."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise BadCondition(
                f"{text!r} is not a condition",
                hint=f"a key, one of {' '.join(OPERATORS)}, and a value, as in "
                "args.network_dim>=16",
            )
        key, operator, value = match[1], match[2], match[3]
        if operator == "~":
            try:
                re.compile(value)
            except (re.error, OverflowError, RecursionError) as error:
                raise BadCondition(
                    f"{value!r} is no regular expression: {error}", hint="as in name~^noob"
                ) from error
        return cls(key, "=" if operator == "==" else operator, value)

    def meets(self, values: RecordedValues) -> bool:
        """Whether the condition holds for any of the values with its key; ``!=`` for all of them.

        Two numbers are compared as numbers (``1e-4`` equals ``0.0001``), two words by letters; a
        number is neither less nor greater than a word.
        """
        found = values.get(key_among(self.key, values), ())
        if self.operator == "!=":
            return not any(_equal(as_written(value), self.value) for value in found)
        return any(self._holds(as_written(value)) for value in found)

    def _holds(self, value: str) -> bool:
        if self.operator == "=":
            return _equal(value, self.value)
        if self.operator == "~":
            return re.search(self.value, value) is not None
        one, other = finite_number(value), finite_number(self.value)
        if one is not None and other is not None:
            return _order_holds(self.operator, (one > other) - (one < other))
        if one is not None or other is not None:
            return False
        return _order_holds(self.operator, (value > self.value) - (value < self.value))


def key_among(key: str, keys: Container[str]) -> str:
    """Return the one of ``keys`` that ``key`` means: itself, else the argument of that name."""
    return f"args.{key}" if key not in keys and f"args.{key}" in keys else key


def _order_holds(operator: str, sign: int) -> bool:
    return {"<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[operator]


def _equal(one: str, other: str) -> bool:
    if one == other:
        return True
    number = finite_number(one)
    return number is not None and number == finite_number(other)


def as_written(value: Value) -> str:
    """Return ``value`` as a condition writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def recorded_values(run: RecordedRun) -> RecordedValues:
    """Return everything that is recorded of ``run``, as far as it can be read."""
    found: dict[str, tuple[Value, ...]] = {}
    try:
        record = run.reader.read_record(run)
    except LoragitError:
        pass
    else:
        found |= dict(_values_of_record(record))
    found |= dict(_values_of_outcome(run))
    about = {
        "name": run.name,
        "commit": run.commit,
        "state": run.state,
        "opened": run.opened.isoformat(),
    }
    return found | {key: (value,) for key, value in about.items()} | {"imported": (run.imported,)}


def _values_of_record(record: Record) -> Iterator[tuple[str, tuple[Value, ...]]]:
    yield from _flatten(
        {key: value for key, value in record.table.items() if key not in _LEFT_OUT}, ""
    )
    for name, values in {**record.defaults, **record.args}.items():
        yield f"args.{name}", values or (True,)
    for name, value in key_value_pairs(record.args).items():
        yield f"args.{name}", (value,)
    for weights in record.weights:
        yield (
            f"weights.{weights.role}",
            tuple(each for each in (weights.name, weights.identity) if each),
        )


def _flatten(table: Mapping[str, object], before: str) -> Iterator[tuple[str, tuple[Value, ...]]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{before}{key}.")
        elif isinstance(value, list):
            plain = tuple(each for each in value if isinstance(each, str | int | float))
            if plain or not value:
                yield before + key, plain
        elif isinstance(value, str | int | float):
            yield before + key, (value,)


def _values_of_outcome(run: RecordedRun) -> Iterator[tuple[str, tuple[Value, ...]]]:
    values: dict[str, Value | None] = {}
    try:
        outcome = run.outcome
    except LoragitError:
        outcome = None
    if outcome is not None:
        values = {
            "exit_status": outcome.exit_status,
            "seconds": outcome.seconds,
            "models": len(outcome.models),
            "truncated": len(outcome.truncated),
            "unreadable": len(outcome.unreadable),
            "states": len(outcome.states),
            "samples": outcome.samples,
            "final_loss": outcome.final_loss,
            "interrupted_by": outcome.interrupted_by,
            "output": outcome.output,
        }
    elif run.revert is not None:
        values = {"exit_status": run.revert.exit_status, "models": 0, "samples": 0}
    for key, value in values.items():
        if value is not None:
            yield f"outcome.{key}", (value,)


def runs_meeting(
    runs: Iterable[RecordedRun], conditions: tuple[Condition, ...]
) -> list[RecordedRun]:
    """Return those of ``runs`` that meet every condition.

    Raises :class:`BadCondition` if no run at all has a value with that key; its hint lists the
    keys.
    """
    if not conditions:
        return list(runs)
    keys: set[str] = set()
    found = []
    looked = 0
    for run in runs:
        values = recorded_values(run)
        keys |= values.keys()
        looked += 1
        if all(condition.meets(values) for condition in conditions):
            found.append(run)
    for condition in conditions:
        if looked and key_among(condition.key, keys) not in keys:
            raise unknown_key(condition.key, keys)
    return found


def unknown_key(key: str, keys: set[str]) -> BadCondition:
    """Return the error for a ``key`` that no run has."""
    import difflib

    close = difflib.get_close_matches(key, keys, n=1) or [
        each for each in sorted(keys) if each.endswith(f".{key}")
    ]
    meant = f"did you mean {close[0]}? " if close else ""
    return BadCondition(
        f"no run has a value {key}", hint=f"{meant}there are: {', '.join(sorted(keys))}"
    )
