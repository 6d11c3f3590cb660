"""What gives a secret away: the shape of a value, or the name that it is given to.

Here are only the rules. :mod:`loragit.secrets.find` applies them to texts,
:mod:`loragit.secrets.tables` to tables.

A name asks for a secret by its last word, whatever its case, ``-``, ``_`` or ``.``, and a number at
its end:

=====================  ======  =================================================
name                   secret  because
=====================  ======  =================================================
``password``           yes     the word alone is enough
``wandb_api_key``      yes     so are ``api_key``, ``secret_key`` and their like
``HF_TOKEN_2``         yes     a token, whatever its number
``civitai-key``        yes     ``key`` beside the name of a service
``cache_key``          no      ``key`` alone says nothing
``eos_token``          no      a piece of text, to a tokenizer
``tokens.hf``          no      a table's entry: see ``is_table_of_secrets``
=====================  ======  =================================================

How much like a machine's work the value must look (:func:`randomness`) depends on how it is given:

===========================  ================================================
``hf_token = "value"``       ``LETTERS``; for a password ``DIGITS``
``HF_TOKEN=value``           ``LETTERS``: an assignment of a shell
``hf_token=value``           ``MIXED``, 8 characters, no dot: it may be code
``--hf_token value``         ``MIXED``, 8 characters
``"HF_TOKEN", "value"``      ``MIXED``: a list, or ``setx``
===========================  ================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

MASK = "***"
"""What is written in the place of a secret."""

UTF8 = ("utf-8", "surrogatepass")

NO_SECRET = b"loragit: no secret"
"""A line that ends in a comment of these words is taken to hold no secret."""
_MARKED = rb"(?:#|//|;|--|%|/\*|<!--)[ \t]*loragit: no secret[ \t]*(?:\*/|-->)?\s*$"

MIN_LENGTH = 6
"""Characters of the shortest value that is looked for anywhere in a text: shorter ones are parts of
words."""


class FoundSecret(NamedTuple):
    """Where a secret is and what it is, without the secret."""

    line: int | None
    """From 1; ``None`` if unknown."""
    kind: str
    """In words: ``Hugging Face token``, ``password``."""


# A kind, how a secret of it begins, and a pattern for all of it; if the pattern has a group, the
# group is the secret. Beginnings are found with bytes.find, which is nearly all there is to do for
# ten thousand captions. No pattern may run over further beginnings and then fail, or a text of
# nothing but beginnings would take quadratic time: hence the look-behinds and the bounds.
_URL_PASSWORD = (
    rb"://([^\s/:@'\"<>{}\[$*]{0,256}:(?![$<{*%]|[Pp]ass(?:wor|w)?d?@)[^\s/@'\"]{1,512})@"
)
_PRIVATE_KEY = (
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:(?!-----|\\?[\"']).)*"
    rb"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
# A line of a netrc file: what `wandb login` writes to ~/.netrc.
_NETRC = (
    rb"machine\s{1,8}[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}(?::[0-9]{1,5})?"
    rb"(?:\s{1,64}(?:login|account)\s{1,8}\S{1,256}){0,2}\s{1,64}password\s{1,8}(?!\*{3}|[$<])(\S{4,512})"
)
# After a letter too, but then of the very length and with all kinds of letters: `echo hf_… >>
# caption.txt` joins it to a last line that has no end.
_JOINED = rb"(?=[a-z0-9]{0,40}[A-Z])(?=[A-Z0-9]{0,40}[a-z])[A-Za-z0-9]"
SHAPES = (
    (
        "Hugging Face token",
        b"hf_",
        rb"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,}|hf_" + _JOINED + rb"{34}(?![A-Za-z0-9])",
    ),
    ("Hugging Face token", b"api_org_", rb"(?<![A-Za-z0-9_])api_org_[A-Za-z0-9]{30,}"),
    ("W&B API key", b"wandb_v1_", rb"(?<!\w)wandb_v1_\w{20,}"),
    ("W&B API key", b"wandb login ", rb"wandb login (?:--relogin )?((?:local-)?[0-9a-f]{40})\b"),
    ("GitHub token", b"github_pat_", rb"(?<!\w)github_pat_\w{22,}"),
    (
        "GitHub token",
        b"gh",
        rb"(?<!\w)gh[opsur]_[A-Za-z0-9]{36,}|gh[opsur]_" + _JOINED + rb"{36}(?![A-Za-z0-9])",
    ),
    ("GitLab token", b"glpat-", rb"(?<![\w-])glpat-[\w-]{20,}"),
    (
        "API key",
        b"sk-",
        rb"(?<![\w-])sk-(?:[A-Za-z0-9]{20}|(?:proj|svcacct|admin|ant|or)-[\w-]{20})[\w-]*",
    ),
    ("API key", b"r8_", rb"(?<!\w)r8_[A-Za-z0-9]{37}"),
    ("API key", b"AIza", rb"(?<![\w-])AIza[\w-]{35}"),
    ("API key", b"rpa_", rb"(?<!\w)rpa_[A-Za-z0-9]{36,}"),
    ("API key", b"gsk_", rb"(?<!\w)gsk_[A-Za-z0-9]{40,}"),
    ("API key", b"nvapi-", rb"(?<![\w-])nvapi-[\w-]{40,}"),
    ("AWS access key", b"AKIA", rb"\bAKIA[A-Z0-9]{16}\b"),
    ("AWS access key", b"ASIA", rb"\bASIA[A-Z0-9]{16}\b"),
    ("Slack token", b"xox", rb"(?<![\w-])xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("web token", b"eyJ", rb"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    ("webhook", b"/api/webhooks/", rb"/api/webhooks/([0-9]{5,24}/[\w-]{30,})"),
    ("webhook", b"hooks.slack.com/", rb"hooks\.slack\.com/services/([A-Za-z0-9/]{20,})"),
    ("webhook", b"api.telegram.org/bot", rb"api\.telegram\.org/bot([0-9]{5,16}:[\w-]{30,})"),
    ("password in a URL", b"://", _URL_PASSWORD),
    ("token in a URL", b"://", rb"://(?=[A-Za-z_-]{0,256}[0-9])([\w-]{20,256})@"),
    ("password", b"uthorization: Basic ", rb"uthorization: Basic ([A-Za-z0-9+/]{8,1024}={0,2})"),
    ("password", b"machine", _NETRC),
    # As base64, `hf_` begins so.
    (
        "Hugging Face token",
        b"aGZf",
        rb"(?<![A-Za-z0-9+/=])aGZf[A-Za-z0-9+/]{40,64}={0,2}(?![A-Za-z0-9+/])",
    ),
    ("private key", b"-----BEGIN ", _PRIVATE_KEY),
)

_ASKS_FOR_ONE = (
    r"(?:secret|password|passwd|passphrase"
    r"|(?:api|access|secret|private|auth|account|signing|encryption)_?key)$"
)
_PART_OF_TEXT = (
    r"per|pad|[ebs]os|unk|mask|sep|cls|class|special|init|initial|initializer|placeholder|instance|trigger|image|img"
    r"|video|audio|text|prompt|caption|concept|subject|start|end|stop|max|min|num|keep|first|last|target|vision|new"
    r"|rare|unique|identifier|activation|modifier|person|query|empty|null|sot|eot|one|single|next|prev|each|by|of|tag|separator|style|character|negative|positive|input|output"
)
"""Before ``token``, these make a piece of text of it: ``num_vectors_per_token``,
``placeholder_token``, ``eos_token``."""

_HOLDER = r"(?:(?:api|auth|access|secret)_?)?(?:tokens|secrets|passwords|credentials|keys)"
_SERVICES = frozenset(
    {"wandb", "civitai", "huggingface", "hf", "openai", "github", "gitlab", "replicate", "runpod"}
)
"""``hf_key`` means the same as ``hf_api_key``."""

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
NAME_ENDS = (
    b"token",
    b"key",
    b"secret",
    b"password",
    b"passwd",
    b"passphrase",
    b"wandb",
    b"bearer",
)
NAME_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.("

# From the end of a name to the beginning of its value.
TO_VALUE = (
    rb"(?:_?[0-9]{1,2})?(?:"
    rb"\\?[\"']?\]?[ \t]{0,64}(?::[ \t]{0,8}(?:str|str \| None|Optional\[str\])[ \t]{0,8})?"
    rb"(?P<sign>:=|=>|=|:)[ \t]{0,64}"
    rb"|\\?[\"'][ \t]{0,8},\s{0,64}(?=\\?[\"'])"
    rb"|(?P<gap>[ \t]{1,64})(?=[^\s=:-]))"
)
QUOTED = (
    rb'[bfruBFRU]{0,2}(?:"""([^\n]{0,4096}?)"""|\'\'\'([^\n]{0,4096}?)\'\'\'|\\"([^\n]{0,4096}?)\\"'
    rb'|"((?:[^"\\\n]|\\.){0,4096})"|\'((?:[^\'\\\n]|\\.){0,4096})\')'
)
BARE = rb"[^\s\"'`,;)\]}]{1,256}[\x80-\xbf]{0,3}"  # no letter of several bytes is cut in two

_NO_SECRET = (
    rb"(?is)[$<{%~@#]|\.{0,2}/|[a-z]:[\\/]|.*(?:\s|://|\$\{)|--"  # a variable, a blank, a path, an address, prose  # noqa: E501
    rb"|(?:none|null|true|false|string|default|changeme|redacted|password|placeholder|[x*._-]+)$"
    rb"|(?:your|insert|enter|paste|put|replace|change|example)(?:$|[-_])|.*[-_]here$"
)
_WORDS = (
    rb"(?:[A-Za-z]{0,9}|[A-Za-z]{1,12}[0-9]{1,3}|[A-Z0-9]+(?:_[A-Z0-9]+)+|[A-Za-z]*(?:[-_.][A-Za-z]*)+[0-9]{0,3}"
    rb"|[A-Za-z][a-z]+(?:[A-Z][a-z]+)+)$"
)
_OTHER_KEYS = r"(?:GPG|PGP|PUBLIC|PUB|CACHE|PRIMARY|FOREIGN|SORT|HOST|IMAGE|STATE|METRIC)_KEY"
"""The value of such a name in capitals is a fingerprint or a name, no secret."""
_NO_WORD = rb"(?!/)(?=(?:[^0-9]*[0-9]){3})(?=(?:[^A-Z]*[A-Z]){2})(?=(?:[^a-z]*[a-z]){2})[A-Za-z0-9+/=]{20,}$"  # noqa: E501
NOTHING, DIGITS, WORD, LETTERS, MIXED = range(5)
"""How much a value looks as if a machine had made it, from least to most."""


def is_secret_name(name: str) -> bool:
    """Whether a value for ``name`` (an argument, a variable, a key; in any case) would be a
    secret."""
    lower = name.lower().rstrip("0123456789_")
    last = re.split(r"[.(]", lower)[-1].replace("-", "_")
    if last.endswith("token"):
        return (
            re.fullmatch(_PART_OF_TEXT, last.removesuffix("token").rstrip("_").rpartition("_")[2])
            is None
        )
    parts = re.split(r"[-_.(]", lower)
    return bool(re.search(_ASKS_FOR_ONE, last)) or (
        parts[-1] == "key" and not _SERVICES.isdisjoint(parts)
    )


def is_table_of_secrets(name: str) -> bool:
    """Whether a table called ``name`` holds secrets under names of any kind: ``[tokens]``."""
    return re.fullmatch(_HOLDER, name.lower().replace("-", "_")) is not None


def is_service(name: str) -> bool:
    """Whether ``name`` is a service that gives out keys: ``hf``."""
    return name.lower() in _SERVICES


def is_marked(line: bytes) -> bool:
    """Whether ``line`` ends in the comment that says :data:`NO_SECRET`."""
    return compiled(_MARKED).search(line[-128:]) is not None


@cache
def compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Return ``pattern`` compiled, once a text calls for it: to compile all takes as long as Python
    takes to start."""
    return re.compile(pattern)


def is_secret_value(name: str, how: str, value: bytes, quoted: bool) -> bool:
    """Whether ``value`` is a secret, judged by the name it is given to and by ``how``: with a sign
    (``=``, ``:``), or ``" "`` if it stands beside the name, as in a list.

    Code is full of names beside names (``token=args.hf_token``), and prose of words beside words.
    So the less its place says that it is a value, the more it has to look as if a machine had made
    it.
    """
    lower = name.lower()
    if lower.endswith("wandb"):
        return re.fullmatch(rb"(?:local-)?[0-9a-f]{40}", value) is not None
    if lower.endswith("bearer"):
        return how == " " and len(value) >= 16 and randomness(value) >= MIXED
    if not is_secret_name(name):
        if (
            name.isupper()
            and name.endswith("_KEY")
            and how == "="
            and not re.search(f"{_OTHER_KEYS}$", name)
        ):
            return len(value) >= 16 and randomness(value) >= MIXED
        return (how == "=" or (how == ":" and quoted)) and compiled(_NO_WORD).match(
            value
        ) is not None
    if re.search(rb"[()\[\]{}<>|\\]", value) and not (quoted and "pass" in lower):
        return False  # code
    looks = randomness(value)
    if how == " " and not name.startswith("--"):  # in a list, or `setx NAME value`
        return name.isupper() and looks >= MIXED and (quoted or ("_" in name and len(value) >= 20))
    if quoted or (name.isupper() and how == "="):
        return looks >= (DIGITS if "pass" in lower else LETTERS)
    return looks >= MIXED and len(value) >= 8 and (b"." not in value or name.startswith("--"))


def randomness(value: bytes) -> int:
    """Return how much ``value`` looks like a machine's work: from :data:`NOTHING` to
    :data:`MIXED`."""
    if len(value) < MIN_LENGTH or compiled(_NO_SECRET).match(value):
        return NOTHING
    if re.fullmatch(rb"[-+]?[0-9._-]+(?:[eE][-+]?[0-9]+)?", value):
        return DIGITS
    if compiled(_WORDS).match(value):
        return WORD
    return MIXED if re.search(rb"[0-9]", value) else LETTERS


def kind_of_secret(name: str, address: bytes) -> str:
    """Return what a secret is, in words, from its name and the address that it is part of."""
    if b"civitai" in address.lower():
        return "Civitai token"
    return next((kind for sign, kind in _KINDS if sign in name.lower()), "API key")


def written_forms(value: str) -> Iterator[str]:
    """Yield ``value`` as it may be written: unchanged, quoted by Python, JSON, a shell or a URL;
    and its long lines, one by one."""
    yield value
    if re.fullmatch(r"[\w.~-]+", value, re.ASCII):
        return
    from json import dumps
    from urllib.parse import quote

    yield from (repr(value)[1:-1], dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1])
    yield from (value.replace("'", other) for other in ("'\"'\"'", "'\\''", "\\'"))
    yield quote(value, safe="", errors="replace")
    yield from (line for line in value.splitlines() if len(line) >= 16)
