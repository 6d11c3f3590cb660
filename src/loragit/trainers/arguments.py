"""A trainer's arguments: read from settings and from the command line, merged, and written out
again.

The trainers' parsers are Python's argparse with long options only: an option's values run up to the
next word that begins with ``--``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from loragit.errors import UsageError

Value = str | int | float | bool | tuple[str | int | float, ...]
"""Type of a setting under ``[trainer.args]``."""


class BadArgument(UsageError):
    """An argument that loragit needs to understand cannot be understood."""


class Arguments(NamedTuple):
    """Options in the order in which they were first given, each with its values; flags have
    none."""

    options: Mapping[str, tuple[str, ...]]
    """Keyed by name, without ``--``."""
    leading: tuple[str, ...] = ()
    """Words before the first option."""

    def one(self, name: str) -> str | None:
        """Return the value of ``name``, the last if there are several; ``None`` if it is absent or
        a flag."""
        values = self.options.get(name, ())
        return values[-1] if values else None

    def without(self, *names: str) -> Arguments:
        return Arguments({k: v for k, v in self.options.items() if k not in names}, self.leading)

    def updated(self, other: Arguments) -> Arguments:
        """Return these with every option in ``other`` replaced by that one: nothing is given
        twice."""
        return Arguments({**self.options, **other.options}, self.leading + other.leading)

    def words(self) -> tuple[str, ...]:
        """Return the words to pass to the trainer."""
        words = list(self.leading)
        for name, values in self.options.items():
            words += option(name, *values)
        return tuple(words)


def option(name: str, *values: str) -> tuple[str, ...]:
    """Return ``--name value …``, or ``--name=value`` if the value itself begins with a dash."""
    if len(values) == 1 and values[0].startswith("-"):
        return (f"--{name}={values[0]}",)
    return (f"--{name}", *values)


def from_settings(table: Iterable[tuple[str, Value]], home: str) -> Arguments:
    """Convert settings: strings and numbers to one value, ``true`` to a flag, ``false`` to nothing,
    lists to several values.

    ``~/`` at the start of a string is the home folder: no shell will expand it.
    """
    options: dict[str, tuple[str, ...]] = {}
    for name, value in table:
        if isinstance(value, bool):
            if value:
                options[name] = ()
        elif isinstance(value, tuple):
            options[name] = tuple(_expanded(item, home) for item in value)
        else:
            options[name] = (_expanded(value, home),)
    return Arguments(options)


def _expanded(value: str | float, home: str) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return home + text[1:] if home and text.startswith("~/") else text


def from_words(words: Iterable[str]) -> Arguments:
    """Parse a command line. If an option is given twice, the last one counts, as in argparse."""
    options: dict[str, tuple[str, ...]] = {}
    leading: list[str] = []
    current: str | None = None
    for word in words:
        if word.startswith("--") and len(word) > 2:
            current, equals, value = word[2:].partition("=")
            options.pop(current, None)
            options[current] = (value,) if equals else ()
        elif current is None:
            leading.append(word)
        else:
            options[current] = (*options[current], word)
    return Arguments(options, tuple(leading))


def refuse_short_forms(arguments: Arguments, names: Iterable[str]) -> None:
    """Reject abbreviated options: argparse accepts any unique prefix of an option, and loragit must
    not miss one that it manages.

    Raises :class:`BadArgument` for a prefix of one of ``names``.
    """
    for given in arguments.options:
        full = next(
            (name for name in names if name != given and len(given) > 4 and name.startswith(given)),
            None,
        )
        if full is not None and given not in names:
            raise BadArgument(f"--{given} is short for --{full}", hint=f"write --{full} out")


def refuse_leading(arguments: Arguments) -> None:
    """Raise :class:`BadArgument` for words before the first option: sd-scripts takes only
    options."""
    if arguments.leading:
        raise BadArgument(
            f"{arguments.leading[0]!r} is not an option of the trainer",
            hint="its options come after --, as in -- --seed 7",
        )


_GROUPS = ("network_args", "optimizer_args")
"""Arguments that take ``key=value`` pairs."""


def is_group(name: str, values: tuple[str, ...]) -> bool:
    """Whether all values of the argument are ``key=value`` pairs that count by their own names."""
    return name in _GROUPS and bool(values) and all("=" in value for value in values)


def key_value_pairs(args: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the ``key=value`` pairs in ``network_args`` and ``optimizer_args`` under their own
    names.

    One with the name of an argument gets the group in front, as in ``network_args.seed``.
    """
    found = {}
    for group in _GROUPS:
        if is_group(group, args.get(group, ())):
            for pair in args[group]:
                key, _, value = pair.partition("=")
                found[f"{group}.{key}" if key in args else key] = value
    return found
