"""Checks the objects of the repository with ``git fsck``, and which complaints concern runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from loragit import git
from loragit.git.repository import Repository
from loragit.history.verify.verdict import OBJECTS, Verdict, note, wrong
from loragit.record.name import RUNS
from loragit.text import count

_SHOWN = 20
"""Complaints that are shown at most; the rest are counted."""
_VARIABLES = ("GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none", "GIT_NO_REPLACE_OBJECTS=1")
"""A partial clone fetches nothing that it lacks, and no object stands for another."""
_REPLACE = "refs/replace/"
_IDS = re.compile(r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b")
_LOOSE = re.compile(r"\bobjects/([0-9a-f]{2})/([0-9a-f]{38,62})\b")
_CHATTER = ("Checking ", "dangling ", "unreachable ", "notice: ", "root ", "hint: ")


def check_objects(repository: Repository, refs: Sequence[str], *, quick: bool) -> Iterator[Verdict]:
    """Yield what ``git fsck`` says of the objects that ``refs`` (full names) lead to, and as notes
    what it says of others. With ``quick`` objects must only exist."""
    args = (
        "--strict",
        "--full",
        "--no-dangling",
        "--no-progress",
        *(("--connectivity-only",) if quick else ()),
    )
    reply = git.start("fsck", *args, *refs, cwd=repository.top, variables=_VARIABLES).reply()
    said = [
        line for line in _complaint_lines(reply.out + reply.err) if not line.startswith(_CHATTER)
    ]
    if not said:
        if reply.status != 0:
            yield wrong(
                OBJECTS,
                f"git fsck ended with exit status {reply.status}, and said nothing",
                "run: git fsck",
            )
        return
    held = _reachable_ids(repository, refs)
    verdicts = list(dict.fromkeys(_verdicts(said, held)))
    verdicts.sort(key=lambda verdict: verdict.status, reverse=True)  # what is wrong first
    yield from verdicts[:_SHOWN]
    for status in dict.fromkeys(verdict.status for verdict in verdicts[_SHOWN:]):
        number = sum(verdict.status == status for verdict in verdicts[_SHOWN:])
        yield Verdict(
            status,
            OBJECTS,
            f"git fsck has {count(number, 'further complaint')}",
            "see all: git fsck",
        )


def _complaint_lines(output: bytes) -> list[str]:
    """Return a complaint for each line; git breaks some in two, and indents the second."""
    whole = re.sub(r"\n\s+", " ", output.decode("utf-8", "replace"))
    return [line for line in whole.split("\n") if line.strip()]


def _reachable_ids(repository: Repository, refs: Sequence[str]) -> set[str] | None:
    """Return the ids of all objects that ``refs`` lead to; ``None`` if git cannot tell."""
    args = ("rev-list", "--objects", "--no-object-names", "--missing=print", *refs, "--")
    reply = git.start(*args, cwd=repository.top, variables=_VARIABLES).reply()
    return (
        {line.lstrip("?") for line in reply.out.decode("ascii").split("\n")}
        if reply.status == 0
        else None
    )


def check_replaced(repository: Repository, refs: Sequence[str]) -> Iterator[Verdict]:
    """Yield the objects that ``refs`` lead to and ``git replace`` shows as others."""
    args = ("for-each-ref", "--format=%(refname) %(objectname)", _REPLACE)
    rows = (
        git.start(*args, cwd=repository.top, variables=_VARIABLES)
        .reply()
        .out.decode("ascii", "replace")
        .splitlines()
    )
    held = _reachable_ids(repository, refs) if rows else None
    for row in rows:
        name, _, other = row.removeprefix(_REPLACE).partition(" ")
        if held is None or name in held:
            message = (
                f"git shows {other[:8]} in the place of {name[:8]}, which runs holds: it was "
                "replaced"
            )
            yield wrong(OBJECTS, message, f"see what is on record: git replace -d {name}")


def missing_objects(repository: Repository) -> frozenset[str]:
    """Return the ids of the objects that ``runs`` leads to and a partial clone lacks by design."""
    args = ("rev-list", "--objects", "--no-object-names", "--missing=print", RUNS, "--")
    reply = git.start(*args, cwd=repository.top, variables=_VARIABLES).reply()
    return frozenset(
        line[1:] for line in reply.out.decode("ascii").split("\n") if line.startswith("?")
    )


def _verdicts(said: Sequence[str], held: set[str] | None) -> Iterator[Verdict]:
    """Yield a verdict for each line, the last one first.

    Why an object cannot be read stands before the line that names it, so a line without an id is
    about the ids of the one below it::

        error: inflate: data stream error (incorrect header check)
        error: unable to unpack header of .git/objects/12/34...
    """
    ids: set[str] = set()
    for line in reversed(said):
        ids = {*_IDS.findall(line), *(first + rest for first, rest in _LOOSE.findall(line))} or ids
        yield _verdict(line, ids, held)


def _verdict(line: str, ids: set[str], held: set[str] | None) -> Verdict:
    if held is not None and ids and held.isdisjoint(ids):
        return note(OBJECTS, f"git fsck, of something that no run holds: {line}")
    if line.startswith("warning"):
        return note(OBJECTS, f"git fsck: {line}")
    return wrong(
        OBJECTS,
        f"git fsck: {line}",
        "fetch it from a clone that has it, or from a backup of the repository",
    )
