"""Finding secrets in what would be committed or shown. :mod:`loragit.secrets.redact` hides them.

Two signs give a secret away: a shape that nothing else has (``hf_…``, a private key, a password in
a URL), or a name that asks for one and is given a literal value (``wandb_api_key = "…"``,
``--huggingface_token …``). Hashes, commits, captions and prompts have neither. A search takes time
in proportion to the text, whatever the text is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from loragit.secrets import rules
from loragit.secrets.rules import MIN_LENGTH, UTF8, FoundSecret, is_secret_name


class SecretArgument(NamedTuple):
    """An argument of a trainer that holds a secret."""

    name: str
    """In full, without dashes: ``wandb_api_key``."""
    shortest: str
    """The shortest beginning that its trainer takes for it, as argparse takes ``wandb_a``; the name
    itself if it takes none."""

    def is_meant_by(self, word: str) -> bool:
        """Whether the trainer takes ``word``, with its dashes, for this argument."""
        return word.startswith(f"--{self.shortest}") and f"--{self.name}".startswith(word)


class Span(NamedTuple):
    """A secret's place in a text."""

    start: int
    """Offset of its first byte."""
    end: int
    """Offset of the byte after its last."""
    kind: str
    """As in :class:`FoundSecret`."""


def find_secrets(data: bytes) -> tuple[FoundSecret, ...]:
    """Return the secrets in a text, in order, at most one of each kind per line.

    Lines that are marked as holding none are skipped.
    """
    line, counted, found = 1, 0, []
    for span in unmarked_spans(data):
        line += data.count(b"\n", counted, span.start)
        counted = span.start
        found.append(FoundSecret(line, span.kind))
    return tuple(dict.fromkeys(found))


def secret_texts(data: bytes) -> tuple[str, ...]:
    """Return the secrets themselves that :func:`find_secrets` finds; bytes that are not UTF-8 are
    replaced."""
    return tuple(
        dict.fromkeys(
            data[span.start : span.end].decode("utf-8", "replace") for span in unmarked_spans(data)
        )
    )


def find_known_secrets(data: bytes, values: Iterable[str]) -> tuple[FoundSecret, ...]:
    """Return where each of ``values`` first occurs, however it is quoted.

    Values that are plain words or numbers are not looked for.
    """
    found = []
    for value in distinctive(values):
        at = min((at for at in map(data.find, encoded_forms(value)) if at >= 0), default=None)
        if at is not None:
            found.append(
                FoundSecret(
                    data.count(b"\n", 0, at) + 1,
                    "the value of a variable or an argument that holds one",
                )
            )
    return tuple(dict.fromkeys(found))


def distinctive(values: Iterable[str]) -> tuple[str, ...]:
    """Return ``values`` without plain words and numbers, which occur in texts by chance."""
    return tuple(
        v
        for v in values
        if len(v) >= 16 or (len(v) >= MIN_LENGTH and not v.isalpha() and not v.isdigit())
    )


def trainer_secrets(
    argv: Sequence[str], names: Iterable[SecretArgument], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the secrets that a trainer is given: in its arguments, of which ``names`` hold
    secrets, and in variables such as ``HF_TOKEN``."""
    values = list(secret_arguments(argv, names).values())
    values += [value for name, value in environ.items() if is_secret_name(name)]
    for argument in argv:
        data = argument.encode(*UTF8)
        values += [data[span.start : span.end].decode(*UTF8) for span in spans(data)]
    return tuple(dict.fromkeys(value for value in values if len(value) >= MIN_LENGTH))


def secret_arguments(argv: Sequence[str], names: Iterable[SecretArgument]) -> dict[int, str]:
    """Return the value of each secret argument, by the index of the word that is or ends with it.

    An argument is secret if it is one of ``names``, or its name asks for a secret whatever the
    trainer: ``["--seed", "1", "--hf_token", "x"]`` and ``["--seed", "1", "-q", "--hf_token=x"]``
    both give ``{3: "x"}``.
    """
    names = tuple(names)
    values = {}
    follows = False  # whether the word before asks for a secret
    for number, argument in enumerate(argv):
        name, sign, value = argument.partition("=")
        asks = any(each.is_meant_by(name) for each in names) or (
            name.startswith("--") and is_secret_name(name)
        )
        if asks and sign:
            values[number] = value
        elif follows and not argument.startswith("--"):
            values[number] = argument
        follows = asks and not sign
    return {number: value for number, value in values.items() if value}


def secret_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the name of the variable that holds each secret, by the secret.

    Where several variables hold the same secret, the first by name counts.
    """
    names = {
        value: name for name, value in sorted(environ.items(), reverse=True) if is_secret_name(name)
    }
    return {value: name for value, name in names.items() if len(value) >= MIN_LENGTH}


def spans(data: bytes) -> list[Span]:
    """Return where the secrets are, in order; overlapping ones are merged into one."""
    merged: list[Span] = []
    for span in sorted([*_shaped_spans(data), *_assigned_spans(data)], key=lambda span: span.start):
        # Where two begin at the same place, the one found by its shape comes first and its kind
        # counts.
        if merged and span.start < merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(span.end, merged[-1].end))
        else:
            merged.append(span)
    return merged


def _shaped_spans(data: bytes) -> Iterator[Span]:
    """Yield values whose shape alone gives them away."""
    for kind, beginning, pattern in rules.SHAPES:
        at = data.find(beginning)
        while at >= 0:
            match = rules.compiled(pattern).match(data, at)
            if match is not None:
                yield Span(*match.span(match.lastindex or 0), kind)
            at = data.find(beginning, at + len(beginning) if match is None else match.end())


def _assigned_spans(data: bytes) -> Iterator[Span]:
    """Yield literal values that are given to the name of a secret."""
    low = data.lower()
    for word in rules.NAME_ENDS:
        at = low.find(word)
        while at >= 0:
            span = _assigned_span(data, at, at + len(word))
            if span is not None:
                yield span
            at = low.find(word, at + len(word) if span is None else span.end)


def _assigned_span(data: bytes, start: int, end: int) -> Span | None:
    """Return the secret that is given to the name whose last word is ``data[start:end]``."""
    to_value = rules.compiled(rules.TO_VALUE).match(data, end)
    before = data[max(0, start - 64) : start]
    if to_value is None or (to_value["gap"] and not _value_may_follow(before, data[start:end])):
        return None
    quoted = rules.compiled(rules.QUOTED).match(data, to_value.end())
    value = quoted or rules.compiled(rules.BARE).match(data, to_value.end())
    if value is None:
        return None
    first, last = value.span(value.lastindex or 0)
    name = data[start - len(before) + len(before.rstrip(rules.NAME_LETTERS)) : end].decode()
    if b"wandb.login(" in before:
        name = "wandb_" + name
    if before.endswith((b"?", b"&")):
        last = first + len(data[first:last].partition(b"&")[0])  # the next parameter of an address
    how = (to_value["sign"] or b" ").decode()
    if not rules.is_secret_value(name, how, data[first:last], quoted is not None):
        return None
    address = data[max(0, start - 256) : start].split()
    return Span(first, last, rules.kind_of_secret(name, address[-1] if address else b""))


def _value_may_follow(before: bytes, word: bytes) -> bool:
    """Whether a value may follow a name that ends in ``word`` with only blanks between them."""
    return (
        b"--" in before or word.lower() == b"bearer" or (word.isupper() and before.endswith(b"_"))
    )


def encoded_forms(value: str) -> tuple[bytes, ...]:
    """Return the written forms of a value as bytes, without those that are too short."""
    return tuple(
        form.encode(*UTF8) for form in rules.written_forms(value) if len(form) >= MIN_LENGTH
    )


def unmarked_spans(data: bytes) -> list[Span]:
    """Return where the secrets are, without those in lines that somebody marked."""
    found = spans(data)
    if not found or rules.NO_SECRET not in data:
        return found
    return [span for span in found if not rules.is_marked(_line_at(data, span.start))]


def _line_at(data: bytes, at: int) -> bytes:
    """Return the line that holds the byte at offset ``at``."""
    end = data.find(b"\n", at)
    return data[data.rfind(b"\n", 0, at) + 1 : len(data) if end < 0 else end]
