"""Writing ``***`` in the place of secrets: in files that are committed, in commands, in a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from loragit.secrets import rules
from loragit.secrets.find import (
    SecretArgument,
    Span,
    distinctive,
    encoded_forms,
    secret_arguments,
    spans,
    unmarked_spans,
)
from loragit.secrets.rules import MASK, MIN_LENGTH, UTF8

_PLAIN = re.compile(rb"[A-Za-z0-9_.:/+=~@%-]+")
"""A value of characters that mean nothing to a shell."""


def redact_unmarked(data: bytes, known: Iterable[str] = ()) -> bytes:
    """Return ``data`` with :data:`MASK` in place of all that :func:`find_secrets` and, with
    ``known``, :func:`find_known_secrets` find."""
    for form in sorted(
        {form for value in distinctive(known) for form in encoded_forms(value)},
        key=lambda form: (-len(form), form),
    ):
        data = data.replace(form, MASK.encode())
    return _with_masks(data, unmarked_spans(data))


def redact_all(data: bytes) -> bytes:
    """Return ``data`` with :data:`MASK` in place of all that looks like a secret, even in marked
    lines."""
    return _with_masks(data, spans(data))


def redact_plain_words(data: bytes) -> bytes:
    """Do as :func:`redact_all`, but leave in place what a shell would not take as a plain word.

    Whoever is asked whether ``data`` may run must see every command in it.
    """
    return _with_masks(
        data, [span for span in spans(data) if _PLAIN.fullmatch(data, span.start, span.end)]
    )


def redact_argv(
    argv: Sequence[str], names: Iterable[SecretArgument], known: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return ``argv`` with :data:`MASK` for the values of secret arguments and for secrets inside
    other arguments.

    ``names`` are the trainers' own secret arguments, as in :func:`secret_arguments`.
    Both ``--wandb_api_key X`` and ``--wandb_api_key=X`` are understood, abbreviated or not. A value
    that is masked once is masked wherever else it occurs, and so are the values ``known``.
    """
    values = secret_arguments(argv, names)
    hide = Redactor([*values.values(), *known])
    return tuple(
        argument.removesuffix(values[number]) + MASK if number in values else hide(argument)
        for number, argument in enumerate(argv)
    )


class Redactor:
    """Puts :data:`MASK` in place of known secrets, however quoted, and of everything that looks
    like a secret."""

    def __init__(self, values: Iterable[str]) -> None:
        """Remember ``values``, except those of fewer than :data:`MIN_LENGTH` characters."""
        forms = {
            form
            for value in values
            for form in rules.written_forms(value)
            if len(form) >= MIN_LENGTH
        }
        # One value may be part of another, so the longer one has to be replaced first.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, self._forms)))

    def __call__(self, text: str) -> str:
        """Return ``text`` without its secrets, even where a known one is broken over lines."""
        if self._forms:
            text = self._known.sub(MASK, text)
            if self._known.search(_unbroken(text)):
                text = _broken_pattern(self._forms).sub(MASK, text)
        return _redacted(text)

    def may_go_on(self, text: str) -> bool:
        """Whether a known secret may begin at the end of ``text`` and go on in the next line.

        If so, the two lines have to be redacted together. Programs break lines at the width of
        their terminal, or at 80 columns: ``token: hf_a1B2`` + ``c3D4…`` in the next line.
        """
        joined = _unbroken(text)
        return any(
            joined.endswith(form[:length])
            for form in self._forms
            for length in range(1, min(len(form), len(joined) + 1, _LONGEST_BREAK))
        )


# What surrounds a line that was broken: the borders of a box, or the column in which rich names the
# place in the code. A token in rich's output:
#
#   │ token: hf_a1B2    main.py:12 │
#   │ c3D4e5F6                     │
_BORDER = " \t\r│|"

_CODE_PLACE = r"(?<=[ \t])[\w.-]+\.py(?::\d+)?"

_LONGEST_BREAK = 1024
"""Most characters of a known secret before a line break."""


def _unbroken(text: str) -> str:
    """Return ``text`` as it was before it was broken into lines."""
    return "".join(
        re.sub(f"{_CODE_PLACE}$", "", line.strip(_BORDER)).strip(_BORDER)
        for line in text.split("\n")
    )


def _broken_pattern(forms: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern for any of ``forms`` with line breaks, and their surroundings, anywhere in
    it. It is slow to compile."""
    between = rf"(?:[ \t│|]*(?:{_CODE_PLACE}[ \t│|]*)?\r?\n[ \t│|]*)?"
    return re.compile("|".join(between.join(map(re.escape, form)) for form in forms))


def _with_masks(data: bytes, spans: Iterable[Span]) -> bytes:
    parts, end = [], 0
    for span in spans:
        parts += [data[end : span.start], MASK.encode()]
        end = span.end
    return b"".join(parts) + data[end:]


def _redacted(text: str) -> str:
    return redact_all(text.encode(*UTF8)).decode(*UTF8)
