"""Secrets in what would be committed or shown: finding them, and putting ``***`` in their place.

Two signs give a secret away: a shape that nothing else has (``hf_…``, a private key, a password in a URL), or a name
that asks for one and is given a literal value (``wandb_api_key = "…"``, ``--huggingface_token …``). Hashes, commits,
captions and prompts have neither. A search takes time in proportion to the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple

MASK = "***"
"""What stands where a secret stood."""

SECRET_ARGUMENTS = frozenset({"wandb_api_key", "huggingface_token"})
"""The arguments that sd-scripts itself calls sensitive (``library/train_util.py``)."""

_UTF8 = ("utf-8", "surrogatepass")

MIN_LENGTH = 6
"""Characters of the shortest value that is looked for wherever it may stand: shorter ones are parts of words."""


class Found(NamedTuple):
    """Where a secret is and what it is, without the secret."""

    line: int | None
    """From 1; ``None`` where it cannot be told."""
    kind: str
    """In words: ``Hugging Face token``, ``password``."""


class _Span(NamedTuple):
    start: int
    end: int  # exclusive
    kind: str


# A kind, how it begins, and the whole of it; where there is a group, that is the secret. Beginnings are found by
# bytes.find, which on ten thousand captions is nearly all there is to do. No pattern may pass over beginnings of its
# own and then fail, or a text of nothing else would take time in the square of its length: hence the look-behinds
# and the bounds.
_URL_PASSWORD = rb"://([^\s/:@'\"<>{}\[$*]{0,256}:(?![$<{*%]|[Pp]ass(?:wor|w)?d?@)[^\s/@'\"]{1,512})@"
_PRIVATE_KEY = (
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:(?!-----|\\?[\"']).)*"
    rb"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_SHAPES = (
    ("Hugging Face token", b"hf_", rb"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,}"),
    ("Hugging Face token", b"api_org_", rb"(?<![A-Za-z0-9_])api_org_[A-Za-z0-9]{30,}"),
    ("W&B API key", b"wandb_v1_", rb"(?<!\w)wandb_v1_\w{20,}"),
    ("W&B API key", b"wandb login ", rb"wandb login (?:--relogin )?((?:local-)?[0-9a-f]{40})\b"),
    ("GitHub token", b"github_pat_", rb"(?<!\w)github_pat_\w{22,}"),
    ("GitHub token", b"gh", rb"(?<!\w)gh[opsur]_[A-Za-z0-9]{36,}"),
    ("GitLab token", b"glpat-", rb"(?<![\w-])glpat-[\w-]{20,}"),
    ("API key", b"sk-", rb"(?<![\w-])sk-(?:[A-Za-z0-9]{20}|(?:proj|svcacct|admin|ant|or)-[\w-]{20})[\w-]*"),
    ("API key", b"r8_", rb"(?<!\w)r8_[A-Za-z0-9]{37}"),
    ("API key", b"AIza", rb"(?<![\w-])AIza[\w-]{35}"),
    ("AWS access key", b"AKIA", rb"\bAKIA[A-Z0-9]{16}\b"),
    ("AWS access key", b"ASIA", rb"\bASIA[A-Z0-9]{16}\b"),
    ("Slack token", b"xox", rb"(?<![\w-])xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("web token", b"eyJ", rb"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    ("webhook", b"/api/webhooks/", rb"/api/webhooks/([0-9]{5,24}/[\w-]{30,})"),
    ("webhook", b"hooks.slack.com/", rb"hooks\.slack\.com/services/([A-Za-z0-9/]{20,})"),
    ("webhook", b"api.telegram.org/bot", rb"api\.telegram\.org/bot([0-9]{5,16}:[\w-]{30,})"),
    ("password in a URL", b"://", _URL_PASSWORD),
    ("private key", b"-----BEGIN ", _PRIVATE_KEY),
)

_ASKS_FOR_ONE = (
    r"(?:secret|password|passwd|passphrase"
    r"|(?:api|access|secret|private|auth|account|signing|encryption)_?key)$"
)
_PART_OF_TEXT = (
    r"per|pad|[ebs]os|unk|mask|sep|cls|class|special|init|initial|initializer|placeholder|instance|trigger|image|img"
    r"|video|audio|text|prompt|caption|concept|subject|start|end|stop|max|min|num|keep|first|last|target|vision|new"
    r"|rare|one|single|next|prev|each|by|of|tag|separator|style|character|negative|positive|input|output"
)
"""``<such>_token`` is no secret: ``num_vectors_per_token``, ``placeholder_token``, ``eos_token``."""

_SERVICES = frozenset({"wandb", "civitai", "huggingface", "hf", "openai"})
"""``<such>_key`` is as good as ``<such>_api_key``."""

_ABBREVIATIONS = ("--wandb_a", "--huggingface_t")
"""argparse takes a beginning that no other argument has; these are the shortest, among sd-scripts' arguments."""

_KINDS = (
    ("civitai", "Civitai token"),
    ("wandb", "W&B API key"),
    ("hugging", "Hugging Face token"),
    ("hf_", "Hugging Face token"),
    ("pass", "password"),
    ("secret", "secret"),
    ("token", "token"),
    ("bearer", "token"),
)
_NAME_ENDS = (b"token", b"key", b"secret", b"password", b"passwd", b"passphrase", b"wandb", b"bearer")
_NAME_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.("

# From the end of a name to the beginning of its value.
_TO_VALUE = (
    rb"(?:_?[0-9]{1,2})?(?:"
    rb"\\?[\"']?\]?[ \t]{0,64}(?::[ \t]{0,8}(?:str|str \| None|Optional\[str\])[ \t]{0,8})?"
    rb"(?P<sign>:=|=>|=|:)[ \t]{0,64}"
    rb"|\\?[\"'][ \t]{0,8},\s{0,64}(?=\\?[\"'])"
    rb"|(?P<gap>[ \t]{1,64})(?=[^\s=:-]))"
)
_QUOTED = (
    rb'[bfruBFRU]{0,2}(?:"""([^\n]{0,4096}?)"""|\'\'\'([^\n]{0,4096}?)\'\'\'|\\"([^\n]{0,4096}?)\\"'
    rb'|"((?:[^"\\\n]|\\.){0,4096})"|\'((?:[^\'\\\n]|\\.){0,4096})\')'
)
_BARE = rb"[^\s\"'`,;)\]}]{1,256}[\x80-\xbf]{0,3}"  # no letter of several bytes is cut in two

_NO_SECRET = (
    rb"(?is)[$<{%~@#]|\.{0,2}/|[a-z]:[\\/]|.*(?:\s|://|\$\{)|--"  # a variable, a blank, a path, an address, prose
    rb"|(?:none|null|true|false|string|default|changeme|redacted|password|placeholder|[x*._-]+)$"
    rb"|(?:your|insert|enter|paste|put|replace|change|example)(?:$|[-_])|.*[-_]here$"
)
_WORDS = (
    rb"(?:[A-Za-z]{0,9}|[A-Za-z]{1,12}[0-9]{1,3}|[A-Z0-9]+(?:_[A-Z0-9]+)+|[A-Za-z]*(?:[-_.][A-Za-z]*)+[0-9]{0,3}"
    rb"|[A-Za-z][a-z]+(?:[A-Z][a-z]+)+)$"
)
_NO_WORD = rb"(?!/)(?=(?:[^0-9]*[0-9]){3})(?=(?:[^A-Z]*[A-Z]){2})(?=(?:[^a-z]*[a-z]){2})[A-Za-z0-9+/=]{20,}$"
_NOTHING, _DIGITS, _WORD, _LETTERS, _MIXED = range(5)
"""How much a value looks like one that a machine made up."""


def is_secret_name(name: str) -> bool:
    """Whether a value for ``name`` (an argument, a variable, a key; in any case) would be a secret."""
    lower = name.lower().rstrip("0123456789_")
    last = re.split(r"[.(]", lower)[-1].replace("-", "_")
    if last.endswith("token"):
        return re.fullmatch(_PART_OF_TEXT, last.removesuffix("token").rstrip("_").rpartition("_")[2]) is None
    parts = re.split(r"[-_.(]", lower)
    return bool(re.search(_ASKS_FOR_ONE, last)) or (parts[-1] == "key" and not _SERVICES.isdisjoint(parts))


def find(data: bytes) -> tuple[Found, ...]:
    """The secrets in a text, in order; one of a kind a line."""
    line, counted, found = 1, 0, []
    for span in _spans(data):
        line += data.count(b"\n", counted, span.start)
        counted = span.start
        found.append(Found(line, span.kind))
    return tuple(dict.fromkeys(found))


def find_known(data: bytes, values: Iterable[str]) -> tuple[Found, ...]:
    """Where each of ``values`` stands first, however quoted; but for those that are plain words or numbers."""
    found = []
    for value in values:
        if len(value) >= 16 or (len(value) >= MIN_LENGTH and not value.isalpha() and not value.isdigit()):
            forms = (form.encode(*_UTF8) for form in _forms(value) if len(form) >= MIN_LENGTH)
            at = min((at for at in map(data.find, forms) if at >= 0), default=None)
            if at is not None:
                found.append(Found(data.count(b"\n", 0, at) + 1, "a value that the trainer is given as one"))
    return tuple(dict.fromkeys(found))


def find_values(data: bytes) -> Iterator[Found]:
    """The literal values of secret names in a JSON or TOML text, however they look; nothing in any other text."""
    if any(end in data.lower() for end in _NAME_ENDS):
        for key, value in _given_by(_tree(data)):
            yield Found(_line(data, key, value), _kind(key, b""))


def redact(data: bytes) -> bytes:
    """``data`` with :data:`MASK` in place of all that :func:`find` finds."""
    parts, end = [], 0
    for span in _spans(data):
        parts += [data[end : span.start], MASK.encode()]
        end = span.end
    return b"".join(parts) + data[end:]


def redact_argv(argv: Sequence[str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """``argv`` with :data:`MASK` for the values of secret arguments and for secrets inside the others.

    Both ``--wandb_api_key X`` and ``--wandb_api_key=X`` are understood, abbreviated or not. A value that was masked
    once is masked wherever else it stands, and so are those of ``known``.
    """
    values = argument_values(argv)
    hide = Redactor([*values.values(), *known])
    return tuple(
        argument.removesuffix(values[number]) + MASK if number in values else hide(argument)
        for number, argument in enumerate(argv)
    )


def secret_values(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets that a trainer is given: in its arguments, and in variables such as ``HF_TOKEN``."""
    values = list(argument_values(argv).values())
    values += [value for name, value in environ.items() if is_secret_name(name)]
    for argument in argv:
        data = argument.encode(*_UTF8)
        values += [data[span.start : span.end].decode(*_UTF8) for span in _spans(data)]
    return tuple(dict.fromkeys(value for value in values if len(value) >= MIN_LENGTH))


def argument_values(argv: Sequence[str]) -> dict[int, str]:
    """The value of each secret argument, by the place of the argument that holds or ends with it."""
    values = {}
    follows = False
    for number, argument in enumerate(argv):
        name, sign, value = argument.partition("=")
        short = name.startswith(_ABBREVIATIONS) and any(f"--{full}".startswith(name) for full in SECRET_ARGUMENTS)
        asks = short or (name.startswith("--") and is_secret_name(name))
        if asks and sign:
            values[number] = value
        elif follows and not argument.startswith("--"):
            values[number] = argument
        follows = asks and not sign
    return {number: value for number, value in values.items() if value}


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variable that holds a secret, by the secret; the first by name where several hold it."""
    held = {value: name for name, value in sorted(environ.items(), reverse=True) if is_secret_name(name)}
    return {value: name for value, name in held.items() if len(value) >= MIN_LENGTH}


class Redactor:
    """Puts :data:`MASK` in place of known secrets, however quoted, and of everything that looks like a secret."""

    def __init__(self, values: Iterable[str]) -> None:
        """``values`` shorter than :data:`MIN_LENGTH` characters are not looked for."""
        forms = {form for value in values for form in _forms(value) if len(form) >= MIN_LENGTH}
        # A value may be a part of another: the longer one has to go first.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, self._forms)))

    def __call__(self, text: str) -> str:
        """``text`` without its secrets; also where a terminal broke a known one into lines."""
        if self._forms:
            text = self._known.sub(MASK, text)
            if self._known.search("".join(line.strip(" \t\r│|") for line in text.split("\n"))):
                text = _broken(self._forms).sub(MASK, text)
        return _hidden(text)


@cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Patterns are compiled when a text first calls for them: all of them take as long as Python's own start."""
    return re.compile(pattern)


def _spans(data: bytes) -> list[_Span]:
    """Where the secrets are, in order; those that overlap are one."""
    merged: list[_Span] = []
    for span in sorted([*_shapes(data), *_assigned(data)], key=lambda span: span.start):
        if merged and span.start < merged[-1].end:  # of two that begin together, the shape came first
            merged[-1] = merged[-1]._replace(end=max(span.end, merged[-1].end))
        else:
            merged.append(span)
    return merged


def _shapes(data: bytes) -> Iterator[_Span]:
    for kind, beginning, pattern in _SHAPES:
        at = data.find(beginning)
        while at >= 0:
            match = _compiled(pattern).match(data, at)
            if match is not None:
                yield _Span(*match.span(match.lastindex or 0), kind)
            at = data.find(beginning, at + len(beginning) if match is None else match.end())


def _assigned(data: bytes) -> Iterator[_Span]:
    """Literal values that are given to a secret's name."""
    low = data.lower()
    for word in _NAME_ENDS:
        at = low.find(word)
        while at >= 0:
            span = _assignment(data, at, at + len(word))
            if span is not None:
                yield span
            at = low.find(word, at + len(word) if span is None else span.end)


def _assignment(data: bytes, start: int, end: int) -> _Span | None:
    """The secret that is given to the name whose last word is at ``start``, up to ``end``."""
    to_value = _compiled(_TO_VALUE).match(data, end)
    before = data[max(0, start - 64) : start]
    if to_value is None or (to_value["gap"] and b"--" not in before and data[start:end].lower() != b"bearer"):
        return None
    quoted = _compiled(_QUOTED).match(data, to_value.end())
    value = quoted or _compiled(_BARE).match(data, to_value.end())
    if value is None:
        return None
    first, last = value.span(value.lastindex or 0)
    name = data[start - len(before) + len(before.rstrip(_NAME_LETTERS)) : end].decode()
    if b"wandb.login(" in before:
        name = "wandb_" + name
    if before.endswith((b"?", b"&")):
        last = first + len(data[first:last].partition(b"&")[0])  # the next parameter of an address
    how = (to_value["sign"] or b" ").decode()
    if not _given(name, how, data[first:last], quoted is not None):
        return None
    return _Span(first, last, _kind(name, before))


def _given(name: str, how: str, value: bytes, quoted: bool) -> bool:
    """Whether ``value`` is a secret, from the name it is given to and how: by a sign, or " " (beside it, in a list).

    Code is full of names beside names (``token=args.hf_token``) and prose of words beside words: the less the place
    says that this is a value, the more the value must look like what a machine made up.
    """
    lower = name.lower()
    if lower.endswith("wandb"):
        return re.fullmatch(rb"(?:local-)?[0-9a-f]{40}", value) is not None
    if lower.endswith("bearer"):
        return how == " " and len(value) >= 16 and _look(value) >= _MIXED
    if not is_secret_name(name):
        return (how == "=" or (how == ":" and quoted)) and _compiled(_NO_WORD).match(value) is not None
    if re.search(rb"[()\[\]{}<>|\\]", value) and not (quoted and "pass" in lower):
        return False  # code
    look = _look(value)
    if how == " " and not name.startswith("--"):
        return quoted and name.isupper() and look >= _MIXED
    if quoted or (name.isupper() and how == "="):
        return look >= (_DIGITS if "pass" in lower else _LETTERS)
    return look >= _MIXED and len(value) >= 8 and (b"." not in value or name.startswith("--"))


def _look(value: bytes) -> int:
    if len(value) < MIN_LENGTH or _compiled(_NO_SECRET).match(value):
        return _NOTHING
    if re.fullmatch(rb"[-+]?[0-9._-]+(?:[eE][-+]?[0-9]+)?", value):
        return _DIGITS
    if _compiled(_WORDS).match(value):
        return _WORD
    return _MIXED if re.search(rb"[0-9]", value) else _LETTERS


def _kind(name: str, before: bytes) -> str:
    if b"civitai" in before:
        return "Civitai token"
    return next((kind for sign, kind in _KINDS if sign in name.lower()), "API key")


def _forms(value: str) -> Iterator[str]:
    """A secret as it may be written: as it is, quoted by Python, JSON, a shell or an address; a line of it."""
    yield value
    if re.fullmatch(r"[\w.~-]+", value, re.ASCII):
        return
    from json import dumps
    from urllib.parse import quote

    yield from (repr(value)[1:-1], dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1])
    yield from (value.replace("'", other) for other in ("'\"'\"'", "'\\''", "\\'"))
    yield quote(value, safe="", errors="replace")
    yield from (line for line in value.splitlines() if len(line) >= 16)


def _broken(forms: Sequence[str]) -> re.Pattern[str]:
    """Matches any of ``forms`` with line breaks, and a box's borders beside them, anywhere in it. Slow to compile."""
    between = r"(?:[ \t│|]*\r?\n[ \t│|]*)?"
    return re.compile("|".join(between.join(map(re.escape, form)) for form in forms))


def _tree(data: bytes) -> object:
    """What a JSON or TOML text holds; ``None`` for any other."""
    import json
    import tomllib

    for parse in (json.loads, tomllib.loads):
        with suppress(ValueError, RecursionError):
            return parse(data.decode("utf-8-sig"))
    return None


def _given_by(tree: object) -> Iterator[tuple[str, str]]:
    """(key, value) of every string that a secret's name is given, at any depth."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        waiting += reversed(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
        for key, value in node.items() if isinstance(node, dict) else ():
            # The keys of a dataset's metadata are paths of its images.
            if is_secret_name(key) and "/" not in key:
                texts = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
                yield from ((key, one) for one in texts if not re.fullmatch(r"(?:\*\*\*|\$\w+|\$\{\w+\})?", one))


def _line(data: bytes, key: str, value: str) -> int | None:
    """Of the line that gives ``value`` to ``key``, as far as the text tells."""
    name = re.compile(rb"(?<![\w-])" + re.escape(key.encode(*_UTF8)) + rb"[\"']?[ \t]*[:=]")
    forms = [form.encode(*_UTF8) for form in _forms(value)]
    named = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if name.search(line)]
    exact = [number for number, line in named if any(form in line for form in forms)]
    return next(iter([*exact, *(number for number, _ in named)]), None)


def _hidden(text: str) -> str:
    return redact(text.encode(*_UTF8)).decode(*_UTF8)
