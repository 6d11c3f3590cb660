"""Secrets in what would be committed or shown: finding them, and putting ``***`` in their place.

Two signs give a secret away: a shape that nothing else has (``hf_…``, a private key, a password in a URL), or a name
that asks for one and is given a literal value (``wandb_api_key = "…"``, ``--huggingface_token …``). Hashes, commits,
captions and prompts have neither. A search takes time in proportion to the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MASK = "***"
"""What stands where a secret stood."""

SECRET_ARGUMENTS = frozenset({"wandb_api_key", "huggingface_token"})
"""The arguments that sd-scripts itself calls sensitive (``library/train_util.py``)."""

MIN_LENGTH = 6
"""Characters of the shortest value that is looked for wherever it may stand: shorter ones are parts of words."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a secret is and what it is, without the secret."""

    line: int
    """From 1."""
    kind: str
    """In words: ``Hugging Face token``, ``password``."""


class _Span(NamedTuple):
    """A secret's place in the bytes searched, end exclusive."""

    start: int
    end: int
    kind: str


# ---- Shapes ----------------------------------------------------------------------------------------------------
# To keep the search linear, no alternative may begin again within what a failed one has already passed over: each
# has a look-behind for its own letters, or letters that its beginning does not consist of, or a bound.

_SHAPES = {
    "Hugging Face token": rb"(?<![A-Za-z0-9_])(?:hf_|api_org_)[A-Za-z0-9]{30,}",
    "W&B API key": (
        rb"(?<![A-Za-z0-9_])wandb_v1_[A-Za-z0-9_]{20,}"
        rb"|(?:(?<=wandb login )|(?<=--relogin ))(?:local-)?[0-9a-f]{40}\b"
    ),
    "GitHub token": rb"(?<![A-Za-z0-9_])(?:gh[opsur]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "GitLab token": rb"(?<![A-Za-z0-9_-])glpat-[A-Za-z0-9_-]{20,}",
    "API key": (
        rb"(?<![A-Za-z0-9_-])sk-(?:(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{20,})"
        rb"|(?<![A-Za-z0-9_])r8_[A-Za-z0-9]{37}"
        rb"|(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{35}"
    ),
    "AWS access key": rb"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])",
    "Slack token": rb"(?<![A-Za-z0-9_-])xox[abeoprs]-[A-Za-z0-9-]{10,}",
    "web token": rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "webhook": (
        rb"(?<=/api/webhooks/)[0-9]{5,24}/[A-Za-z0-9_-]{30,}"
        rb"|(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}"
        rb"|(?<=api\.telegram\.org/bot)[0-9]{5,16}:[A-Za-z0-9_-]{30,}"
    ),
    "password in a URL": rb"(?<=://)[^\s/:@'\"<>{}$*]{0,256}:(?![$<{*%])[^\s/@'\"]{1,512}(?=@)",
    "private key": (
        rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        rb"(?:(?!-----)[^\"'])*(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
    ),
}
_KINDS = tuple(_SHAPES)
_SHAPE = re.compile(b"|".join(b"(%s)" % shape for shape in _SHAPES.values()))

# Without one of these there is no shape; with captions by the thousand, this look is nearly all there is to do.
_SHAPE_HINTS = (b"hf_", b"sk-", b"://", b"_pat_", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"glpat-", b"r8_")
_SHAPE_HINTS += (b"PRIVATE KEY", b"AKIA", b"ASIA", b"AIza", b"eyJ", b"xox", b"api_org_", b"wandb", b"--relogin")

# ---- Names -----------------------------------------------------------------------------------------------------

_SECRET_ENDS = ("token", "secret", "password", "passwd", "passphrase", "apikey")
_SECRET_ENDS += tuple(
    f"{kind}_key" for kind in ("api", "access", "secret", "private", "auth", "account", "signing", "encryption")
)
_SERVICES = frozenset({"wandb", "civitai", "huggingface", "hf", "openai"})
_ABBREVIATIONS = ("wandb_a", "huggingface_t")
"""argparse takes a beginning that only one argument has: the shortest, among sd-scripts' arguments."""

_VOCABULARY = frozenset(
    "per pad eos bos unk mask sep cls class special init initial initializer placeholder instance trigger image img "
    "video audio text prompt caption concept subject start end stop max min num keep first last target vision new "
    "rare one single next prev each by of tag separator style character negative positive".split()
)
"""``<word>_token`` that is a part of a text: ``num_vectors_per_token``, ``placeholder_token``, ``eos_token``."""

_NAME_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789_-.("
_NAME_LENGTH = 64

# Searched in lower-case text, from the name's last word on: a repeat before it would be tried at every letter. What
# stands before is looked at afterwards.
_ASSIGNED = re.compile(
    rb"(?P<word>(?:token|key|secret|password|passwd|passphrase|wandb)(?:_?[0-9]{1,2})?)"
    rb"(?:"
    rb"\\?[\"']?\]?[ \t]{0,64}(?::[ \t]{0,8}(?:str|str \| none|optional\[str\])[ \t]{0,8})?"
    rb"(?P<sign>:=|=>|=|:)[ \t]{0,64}"
    rb"|\\?[\"'][ \t]{0,8},\s{0,64}(?=\\?[\"'])"
    rb"|(?P<gap>[ \t]{1,64})(?=[^\s=:-])"
    rb")"
    rb"|(?P<bearer>bearer) {1,8}"
)
_ASSIGNED_HINTS = (b"token", b"key", b"secret", b"passw", b"passphrase", b"bearer", b"wandb")

# ---- Values ----------------------------------------------------------------------------------------------------

_QUOTED = re.compile(
    rb'[bfruBFRU]{0,2}(?:"""(?P<a>[^\n]{0,4096}?)"""|\'\'\'(?P<b>[^\n]{0,4096}?)\'\'\''
    rb'|\\"(?P<c>[^\n]{0,4096}?)\\"|"(?P<d>(?:[^"\\\n]|\\.){0,4096})"|\'(?P<e>(?:[^\'\\\n]|\\.){0,4096})\')'
)
_BARE = re.compile(rb"[^\s\"'`,;)\]}]{1,512}")

_NO_SECRET = re.compile(
    rb"[$<{%~@]|\.{0,2}/|[a-z]:[\\/]|.*(?:\s|://|\$\{)|--"  # a variable, a blank, a path, an address, prose
    rb"|(?:none|null|true|false|string|default|changeme|redacted|password|placeholder|[x*._-]+)$"
    rb"|(?:your|insert|enter|paste|put|replace|change|example)(?:$|[-_])|.*[-_]here$",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(rb"[-+]?[0-9._-]+(?:e[-+]?[0-9]+)?", re.IGNORECASE)
_WORDS = re.compile(rb"[A-Za-z]{0,9}|[A-Za-z]{1,12}[0-9]{1,3}|[A-Za-z]*(?:[-_.][A-Za-z]*)+[0-9]{0,3}")
_WANDB_KEY = re.compile(rb"(?:local-)?[0-9a-f]{40}")

_NOTHING, _DIGITS, _WORD, _LETTERS, _MIXED, _RANDOM = range(6)
"""How much a value looks like one that a machine made up."""


def is_secret_name(name: str) -> bool:
    """Whether a value for ``name`` (an argument, a variable, a key; in any case) would be a secret."""
    lower = name.lower()
    last = re.sub(r"_?[0-9]{1,2}$", "", re.split(r"[.(]", lower)[-1].strip("-").replace("-", "_"))
    if last.endswith("token"):
        return last.removesuffix("token").rstrip("_").rpartition("_")[2] not in _VOCABULARY
    if last.endswith(_SECRET_ENDS):
        return True
    return last.endswith("key") and not _SERVICES.isdisjoint(re.split(r"[-_.(]", lower))


def find(data: bytes) -> tuple[Found, ...]:
    """The secrets in a text, in order; one of a kind a line."""
    found = {}
    line, counted = 1, 0
    for span in _spans(data):
        line += data.count(b"\n", counted, span.start)
        counted = span.start
        found[Found(line, span.kind)] = None
    return tuple(found)


def redact(data: bytes) -> bytes:
    """``data`` with :data:`MASK` in place of all that :func:`find` finds."""
    parts, end = [], 0
    for span in _spans(data):
        parts += [data[end : span.start], MASK.encode()]
        end = span.end
    return b"".join(parts) + data[end:]


def redact_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """``argv`` with :data:`MASK` for the values of secret arguments and for secrets inside the others.

    Both ``--wandb_api_key X`` and ``--wandb_api_key=X`` are understood, abbreviated or not. A value that was masked
    once is masked wherever else it stands.
    """
    values = _argument_values(argv)
    hide = Redactor(values.values())
    return tuple(
        argument.removesuffix(values[number]) + MASK if number in values else hide(argument)
        for number, argument in enumerate(argv)
    )


def secret_values(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets that a trainer is given: in its arguments, and in variables such as ``HF_TOKEN``."""
    values = list(_argument_values(argv).values())
    values += [value for name, value in environ.items() if is_secret_name(name)]
    for argument in argv:
        data = _encoded(argument)
        values += [_decoded(data[span.start : span.end]) for span in _spans(data)]
    return tuple(dict.fromkeys(value for value in values if len(value) >= MIN_LENGTH))


class Redactor:
    """Puts :data:`MASK` in place of known secrets, however quoted, and of everything that looks like a secret."""

    def __init__(self, values: Iterable[str]) -> None:
        """``values`` shorter than :data:`MIN_LENGTH` characters are not looked for."""
        forms = {form for value in values for form in _forms(value) if len(form) >= MIN_LENGTH}
        # A value may be a part of another: the longer one has to go first.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._whole: re.Pattern[str] | None = None
        self._broken: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        """``text`` without its secrets; also where a terminal broke a known one into lines."""
        if self._forms and "\n" in text:
            self._broken = self._broken or re.compile("|".join(map(_with_breaks, self._forms)))
            text = self._broken.sub(MASK, text)
        elif self._forms:
            self._whole = self._whole or re.compile("|".join(map(re.escape, self._forms)))
            text = self._whole.sub(MASK, text)
        return _decoded(redact(_encoded(text)))


def redact_toml(data: bytes) -> bytes:
    """A TOML file with :data:`MASK` for secrets and for every value of a secret key. What parsed still parses.

    Layout and comments stay, but for a file whose secrets stand where lines cannot tell.
    """
    if not _hinted(data, _SHAPE_HINTS) and not _hinted(data.lower(), _ASSIGNED_HINTS):
        return data
    import tomllib

    candidate = redact(_TOML_VALUE.sub(_mask_toml_value, data))
    for text in (candidate, data):
        try:
            tree = tomllib.loads(text.decode())
        except ValueError:  # no TOML, or no UTF-8
            continue
        masked = {key: _masked(value, is_secret_name(key)) for key, value in tree.items()}
        if text is candidate and masked == tree:
            return candidate
        import tomli_w

        return redact(tomli_w.dumps(masked).encode())
    return candidate


# ---- Inside ----------------------------------------------------------------------------------------------------

_TOML_VALUE = re.compile(
    rb"(?<![\w.\"'-])(?P<key>[\w.\"'-]+)(?P<sign>[ \t]*=[ \t]*)"
    rb"(?P<value>\"\"\".*?\"\"\"|'''.*?'''|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s#,}\]\"']+)",
    re.DOTALL,
)


def _spans(data: bytes) -> list[_Span]:
    """Where the secrets are, in order; those that overlap are one."""
    spans: list[_Span] = []
    if _hinted(data, _SHAPE_HINTS):
        spans += _shapes(data)
    low = data.lower()
    if _hinted(low, _ASSIGNED_HINTS):
        spans += _assigned(data, low)
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda span: span.start):  # stable: of two that begin together, the shape
        if merged and span.start < merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(span.end, merged[-1].end))
        else:
            merged.append(span)
    return merged


def _hinted(data: bytes, hints: tuple[bytes, ...]) -> bool:
    for hint in hints:  # noqa: SIM110 - any() with a generator takes three times as long
        if hint in data:
            return True
    return False


def _shapes(data: bytes) -> Iterator[_Span]:
    for match in _SHAPE.finditer(data):
        assert match.lastindex is not None
        yield _Span(match.start(), match.end(), _KINDS[match.lastindex - 1])


def _assigned(data: bytes, low: bytes) -> Iterator[_Span]:
    """Literal values that are given to a secret's name. ``low`` is ``data`` in lower case."""
    position = 0
    while match := _ASSIGNED.search(low, position):
        position = match.end()
        quoted = _QUOTED.match(data, position)
        value = quoted or _BARE.match(data, position)
        if value is None:
            continue
        start, end = value.span(value.lastgroup or 0)
        before = low[max(0, match.start() - _NAME_LENGTH) : match.start()]
        length = len(before) - len(before.rstrip(_NAME_LETTERS))
        name = data[match.start() - length : match.end("word")].decode()
        if before.endswith((b"?", b"&")):
            end = start + len(data[start:end].partition(b"&")[0])  # the next parameter of an address
        if _given(match, name, data[start:end], quoted is not None):
            yield _Span(start, end, _kind(name, before))
            position = end


def _given(match: re.Match[bytes], name: str, value: bytes, quoted: bool) -> bool:
    """Whether ``value`` is a secret, from what it was assigned to and how.

    Code is full of names beside names (``token=args.hf_token``) and prose of words beside words: the less the place
    says that this is a value, the more the value must look like what a machine made up.
    """
    if not quoted and (b"(" in value or b"[" in value):
        return False
    look, sign = _look(value), match["sign"]
    if match["bearer"]:
        return look >= _MIXED and len(value) >= 16
    if name.lower().endswith("wandb"):
        return sign is not None and _WANDB_KEY.fullmatch(value) is not None
    if not is_secret_name(name):
        return look == _RANDOM and (sign == b"=" or (sign is not None and quoted))
    if sign is None and not name.startswith("--"):
        return quoted and not match["gap"] and look >= _MIXED
    if quoted or name.isupper():
        return look >= (_DIGITS if "PASS" in name.upper() else _LETTERS)
    return look >= _MIXED and len(value) >= (12 if sign == b":" and name.isalpha() else 8)


def _look(value: bytes) -> int:
    if len(value) < MIN_LENGTH or _NO_SECRET.match(value):
        return _NOTHING
    if _NUMBER.fullmatch(value):
        return _DIGITS
    if _WORDS.fullmatch(value):
        return _WORD
    digits, upper, lower, rest = _census(value)
    if not digits:
        return _LETTERS
    if len(value) >= 20 and digits >= 3 and upper >= 2 and lower >= 2 and not rest:
        return _RANDOM
    return _MIXED


def _census(value: bytes) -> tuple[int, int, int, int]:
    """Digits, upper-case letters, lower-case letters, and what base64 does not have."""
    without_digits = value.translate(None, b"0123456789")
    without_upper = without_digits.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    rest = without_upper.translate(None, b"abcdefghijklmnopqrstuvwxyz")
    return (
        len(value) - len(without_digits),
        len(without_digits) - len(without_upper),
        len(without_upper) - len(rest),
        len(rest.translate(None, b"+/=")),
    )


def _kind(name: str, before: bytes) -> str:
    lower = name.lower()
    if "wandb" in lower:
        return "W&B API key"
    if "civitai" in lower or b"civitai" in before:
        return "Civitai token"
    if "hugging" in lower or "hf_" in lower:
        return "Hugging Face token"
    if "pass" in lower:
        return "password"
    return next((kind for kind in ("secret", "token") if kind in lower), "API key")


def _argument_values(argv: Sequence[str]) -> dict[int, str]:
    """The value of each secret argument, by the place of the argument that holds or ends with it."""
    values = {}
    follows = False
    for number, argument in enumerate(argv):
        name, sign, value = argument.partition("=")
        secret = name.startswith("--") and (
            is_secret_name(name) or name.removeprefix("--").replace("-", "_").startswith(_ABBREVIATIONS)
        )
        if follows and not argument.startswith("--"):
            name, value, secret = "", argument, False
            values[number] = argument
        elif secret and value:
            values[number] = value
        follows = secret and not sign
    return {number: value for number, value in values.items() if value}


def _forms(value: str) -> Iterator[str]:
    """A secret as it may be written: as it is, quoted by Python, JSON, a shell or an address, a line of it."""
    yield value
    if re.fullmatch(r"[\w.~-]+", value, re.ASCII):
        return
    from json import dumps
    from urllib.parse import quote

    yield from (repr(value)[1:-1], dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1])
    yield from (value.replace("'", "'\"'\"'"), value.replace("'", "\\'"), value.replace('"', '\\"'))
    yield quote(value, safe="", errors="replace")
    if "\n" in value:
        yield from (line for line in value.splitlines() if len(line) >= 16)


def _with_breaks(form: str) -> str:
    """A pattern for ``form`` that a terminal, or a box around the text, may have broken into lines anywhere."""
    if len(form) > 512:
        return re.escape(form)
    return r"(?:[ \t│|]*\r?\n[ \t│|]*)?".join(map(re.escape, form))


def _mask_toml_value(match: re.Match[bytes]) -> bytes:
    key = match["key"].decode(errors="replace").replace('"', "").replace("'", "")
    if not is_secret_name(key) or match["value"].strip(b"\"'") in (b"", b"true", b"false"):
        return match[0]
    return match["key"] + match["sign"] + b'"%s"' % MASK.encode()


def _masked(value: object, secret: bool) -> object:
    if isinstance(value, dict):
        return {key: _masked(item, secret or is_secret_name(key)) for key, item in value.items()}
    if isinstance(value, list):
        if not secret and all(isinstance(item, str) for item in value):
            return list(redact_argv(value))
        return [_masked(item, secret) for item in value]
    if secret and not isinstance(value, bool) and value != "":
        return MASK
    return _decoded(redact(_encoded(value))) if isinstance(value, str) else value


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
