"""Checks the signatures of sealed tags with the user's own git."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loragit import git
from loragit.git.repository import Repository
from loragit.history.history import RecordedRun
from loragit.history.verify.verdict import SIGNATURE, Verdict, note, wrong
from loragit.record.message import without_signature

_PROGRAMS = {
    "gpg.program": "gpg",
    "gpg.openpgp.program": "gpg",
    "gpg.x509.program": "gpgsm",
    "gpg.ssh.program": "ssh-keygen",
}
"""Settings of programs that git may start, with git's defaults."""

_BAD = re.compile(
    r"^\[GNUPG:\] BADSIG |incorrect signature|Could not verify signature", re.MULTILINE
)
_UNKNOWN = re.compile(
    r"^\[GNUPG:\] (?:NO_PUBKEY|ERRSIG) |No principal "
    r"matched|allowedSignersFile|TRUST_(?:UNDEFINED|NEVER)",
    re.MULTILINE,
)
_STALE = re.compile(r"^\[GNUPG:\] (EXPSIG|EXPKEYSIG|REVKEYSIG) ", re.MULTILINE)
_WORDS = {
    "EXPSIG": "has expired",
    "EXPKEYSIG": "is of a key that has expired",
    "REVKEYSIG": "is of a revoked key",
}


def check_signatures(
    repository: Repository, runs: Sequence[RecordedRun], messages: Sequence[str], *, wanted: bool
) -> list[Verdict]:
    """Check the sealed ``runs``; ``messages`` are those of their tags, signatures included.

    A tag without a signature is noted only if signatures are ``wanted``.
    """
    signed = [run for run, message in zip(runs, messages, strict=True) if is_signed(message)]
    found = [
        verdict.about(run) for run, verdict in _judge_all(repository, signed) if verdict is not None
    ]
    if wanted:
        having = {run.commit for run in signed}
        unsigned = [run for run in runs if run.commit not in having]
        found += [note(SIGNATURE, "its tag is not signed").about(run) for run in unsigned]
    return found


def is_signed(message: str) -> bool:
    return without_signature(message) != message.rstrip("\n")


def _judge_all(
    repository: Repository, signed: Sequence[RecordedRun]
) -> Iterator[tuple[RecordedRun, Verdict | None]]:
    if not signed:
        return
    terms = _own_programs(repository)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(
            lambda run: _judge_signature(repository.top, terms, run.tag or ""), signed
        )
        yield from zip(signed, answers, strict=True)


def _own_programs(repository: Repository) -> tuple[str, ...]:
    """Return the options with which git starts only the user's programs.

    A repository that somebody else made may name any program in its own configuration: only what
    the system, the user or the command line configures counts.
    """
    reply = git.call(
        "config", "--show-scope", "-z", "--get-regexp", r"^gpg\.(.*\.)?program$", cwd=repository.top
    )
    fields = reply.out.decode("utf-8", "surrogateescape").split("\0")
    programs = dict(_PROGRAMS)
    for scope, pair in zip(fields[::2], fields[1::2], strict=False):
        key, _, value = pair.partition("\n")
        if scope in ("system", "global", "command"):
            programs[key] = value
    return tuple(term for key, value in programs.items() for term in ("-c", f"{key}={value}"))


def _judge_signature(top: Path, terms: tuple[str, ...], tag: str) -> Verdict | None:
    """Return what is wrong with a signature; ``None`` if it is good."""
    reply = git.call(*terms, "verify-tag", "--raw", tag, cwd=top)
    said = (reply.err + reply.out).decode("utf-8", "replace")
    stale = _STALE.search(said)
    if _BAD.search(said):
        return wrong(
            SIGNATURE,
            "the signature of its tag is bad: the tag was edited after it was signed",
            _see_tag(tag),
        )
    if stale:
        return note(SIGNATURE, f"the signature of its tag {_WORDS[stale[1]]}", _see_tag(tag))
    if reply.status == 0:
        return None
    if _UNKNOWN.search(said):
        return note(SIGNATURE, "its tag is signed with a key that is not known here", _see_tag(tag))
    return note(
        SIGNATURE,
        f"the signature of its tag cannot be judged: {git.last_words(reply)}",
        _see_tag(tag),
    )


def _see_tag(tag: str) -> str:
    return f"see: git verify-tag {tag[:12]}"
