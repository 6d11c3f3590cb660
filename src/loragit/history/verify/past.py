"""Compares the record with what it once was: reflogs, remotes, and the log of exceptions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.git import catfile
from loragit.git.reflog import MOST, ReflogLine, read_reflog
from loragit.history.history import History
from loragit.history.verify.branch import BranchCommits
from loragit.history.verify.verdict import BRANCH, TAG, Since, Verdict, note, utc_timestamp, wrong
from loragit.record.name import RUNS
from loragit.record.trailers import first
from loragit.text import count

KEEP = "refs/loragit/keep/"
_TAGS = "refs/tags/"
_PUSHED = "update by push"
"""git's reason in the reflog of a remote's branch after a push from here."""


_NO_REASON = "no reason given"


class Override(NamedTuple):
    """An exception: a change of refs for which a user gave the hook a reason."""

    time: str
    """UTC, as in ``2026-11-23T17:20:30Z``."""
    ref: str
    old: str
    new: str
    """Zeros if the ref was deleted."""
    reason: str


def moves_of(history: History, ref: str) -> list[ReflogLine]:
    """Return the moves of ``ref`` that left it somewhere, oldest first."""
    lines = read_reflog(history.repository.common_dir, ref)
    return [line for line in lines if line.new.strip("0")]


def read_overrides(history: History) -> list[Override]:
    """Return the exceptions that the reference-transaction hook logged, oldest first."""
    rows = (
        row.split("\t", 4)
        for row in _text(history.repository.private / "overrides.log").splitlines()
    )
    return [Override(*row) for row in rows if len(row) == 5]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST).decode("utf-8", "replace")
    except OSError:
        return ""


def note_overrides(history: History, wanted: Collection[str] | None) -> Iterator[Verdict]:
    """Yield a note for every exception; only for tags of ``wanted`` runs, ``None`` for all."""
    for each in read_overrides(history):
        name = each.ref.removeprefix(_TAGS).removeprefix(KEEP)
        run = name if name != each.ref else None
        if wanted is None or run in wanted:
            done = (
                f"moved from {each.old[:8]} to {each.new[:8]}"
                if each.new.strip("0")
                else f"deleted at {each.old[:8]}"
            )
            message = f"{each.ref} was {done} on {each.time}, for a reason: {each.reason}"
            yield note(BRANCH if run is None else TAG, message)._replace(run=run)


def check_past(history: History, branch: BranchCommits) -> Iterator[Verdict]:
    """Yield what the branch lost, as far as anything here still shows it.

    First the branch's own reflog is asked, then those of the remotes' branches and where they are
    now. What an exception explains, and what was reported once, is not reported again.
    """
    if history.refs.runs is None:
        yield from _check_missing_branch(history)
        return
    known = {each.old for each in read_overrides(history) if each.ref == RUNS}
    message = [
        verdict
        for verdict in _lost_tips(history, RUNS, branch.commits)
        if verdict.commit not in known
    ]
    yield from (verdict._replace(commit=None) for verdict in message)
    for ref, tip in ref_targets(history, "refs/remotes/*/runs"):
        yield from _check_remote(history, branch, ref, tip, quiet=bool(message), known=known)


def _check_missing_branch(history: History) -> Iterator[Verdict]:
    """Yield the traces that a missing branch ``runs`` left."""
    remotes = list(ref_targets(history, "refs/remotes/*/runs"))
    here = [ref for ref, _ in ref_targets(history, KEEP)]
    pushed = [
        ref for ref, _ in remotes if any(move.why == _PUSHED for move in moves_of(history, ref))
    ]
    where = [ref.removeprefix("refs/remotes/") for ref in (pushed or [ref for ref, _ in remotes])]
    if where:
        fix = f"restore it: git branch runs {where[0]}"
        if here or pushed:
            yield wrong(
                BRANCH,
                f"there is no branch runs any more, and {where[0]} has it: it was deleted here",
                fix,
            )
        else:
            yield note(
                BRANCH,
                f"there is no branch runs here; {where[0]} has it, and was not looked at",
                fix,
            )
    elif sealed := _sealing_tags(history):
        message = (
            f"the branch runs is gone, and {count(len(sealed), 'tag')} of its runs left: it "
            "was deleted"
        )
        data = "".join(f"{each}\n" for each in sealed).encode()
        # In this order a child comes before its parents.
        tip = git.run(
            "rev-list", "--topo-order", "-n1", "--stdin", cwd=history.repository.top, data=data
        )
        yield wrong(
            BRANCH, message, f"restore it up to the newest of them: git branch runs {tip[:12]}"
        )


def _sealing_tags(history: History) -> list[str]:
    """Return every tag object that holds an outcome, whatever it is on."""
    form = "%(objectname)%00%(contents:body)%00%01"
    reply = git.call("for-each-ref", f"--format={form}", _TAGS, cwd=history.repository.top)
    found = []
    for row in reply.out.decode("utf-8", "surrogateescape").split("\0\x01\n"):
        target, _, body = row.partition("\0")
        if re.search(r"^Run: ", body, re.M) and re.search(r"^Samples: ", body, re.M):
            found.append(target)
    return found


def _lost_tips(history: History, ref: str, commits: Collection[str]) -> Iterator[Verdict]:
    """Yield what ``ref`` pointed at once and does not lead to now; ``commits`` are those that it
    leads to.

    Of several lost tips in a row the last one leads to the others, and is named alone::

        reflog   A  A-B  A-B-C  A-D        C is lost; B is, too, and C leads to it

    The verdicts have the tip as their commit.
    """
    moves = moves_of(history, ref)
    for before, after in pairwise(moves):
        if before.new not in commits and (after.new in commits or after.old != before.new):
            yield _lost_tip(
                history, ref, before, utc_timestamp(after.time), after.why or _NO_REASON
            )
    if moves and moves[-1].new not in commits:
        yield _lost_tip(history, ref, moves[-1], None, "past the reflog")


def _lost_tip(
    history: History, ref: str, before: ReflogLine, latest: str | None, why: str
) -> Verdict:
    name = _short_ref(ref)
    when = f" until {latest}" if latest else ""
    lost = _how_many_lost(history, before.new, ref)
    message = f"{name} was at {before.new[:8]}{when}, which is not in its history{lost}"
    since = Since(utc_timestamp(before.time), latest)
    verdict = wrong(
        BRANCH, f"{message}: it was rewound or rewritten ({why})", _keep_command(name, before.new)
    )
    return verdict._replace(since=since, commit=before.new)


def _keep_command(name: str, commit: str) -> str:
    return f"keep what was lost: git branch {name.replace('/', '-')}-before {commit[:8]}"


def _short_ref(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/remotes/").removeprefix("refs/")


def _how_many_lost(history: History, commit: str, ref: str) -> str:
    """Return how many commits ``commit`` leads to and ``ref`` does not, as part of a sentence."""
    reply = git.call("rev-list", "--count", commit, f"^{ref}", "--", cwd=history.repository.top)
    number = reply.out.decode("ascii", "replace").strip()
    return f", {count(int(number), 'commit')} of it" if number.isdigit() else ""


def _check_remote(
    history: History,
    branch: BranchCommits,
    ref: str,
    tip: str,
    *,
    quiet: bool,
    known: Collection[str],
) -> Iterator[Verdict]:
    """Yield what the branch of a remote shows; ``quiet`` if the reflog of ``runs`` already showed a
    loss."""
    name = _short_ref(ref)
    reply = git.call("rev-list", tip, "--", cwd=history.repository.top)
    if reply.status != 0:
        yield wrong(
            BRANCH, f"{name} cannot be compared with runs: {git.last_words(reply)}", "run: git fsck"
        )
        return
    there = set(reply.out.decode("ascii", "replace").split())
    for verdict in _lost_tips(history, ref, there):
        if verdict.commit in branch.commits:
            fix = f"bring it back there: git push {name.partition('/')[0]} runs"
            yield note(BRANCH, f"{verdict.message}; it is still here", fix)._replace(
                since=verdict.since
            )
        elif verdict.commit not in known:
            yield verdict._replace(commit=None)
    last = _last_lost_push(history, branch, ref)
    if last is not None and last.new not in known and not quiet:
        message = (
            f"runs was pushed to {name} at {last.new[:8]} on {utc_timestamp(last.time)}, and does "
            f"not lead there any more{_how_many_lost(history, last.new, RUNS)}: it was rewound or "
            "rewritten"
        )
        yield wrong(BRANCH, message, _keep_command("runs", last.new))
    elif tip not in branch.commits:
        yield from _check_divergence(history, branch, name, tip, there)


def _last_lost_push(history: History, branch: BranchCommits, ref: str) -> ReflogLine | None:
    """Return the last push to ``ref`` of a commit that ``runs`` does not lead to any more."""
    pushed = [move for move in moves_of(history, ref) if move.why == _PUSHED]
    return next((move for move in reversed(pushed) if move.new not in branch.commits), None)


def _check_divergence(
    history: History, branch: BranchCommits, name: str, tip: str, there: Collection[str]
) -> Iterator[Verdict]:
    """Yield what it means if both have commits that the other lacks.

    Two machines trained: then no run is in both. Or one of them rewrote its history: then a run is
    in both, by the same author and of the same time, as different commits.
    """
    here, others = len(branch.commits - set(there)), len(set(there) - branch.commits)
    if not here:
        return
    theirs = _commits_by_authorship(history, f"{RUNS}..{tip}")
    ours = _commits_by_authorship(history, f"{tip}..{RUNS}")
    same = [who for who in ours if who in theirs]
    if same:
        who = same[-1]  # the oldest
        message = (
            f"{count(len(same), 'commit')} of runs {'is' if len(same) == 1 else 'are'} not what "
            f"{name} has: "
            f"the history was rewritten "
            f"({who.name} is {ours[who][:8]} here, and {theirs[who][:8]} there)"
        )
        yield wrong(
            BRANCH, message, f"see what differs: git diff {theirs[who][:8]} {ours[who][:8]}"
        )
        return
    message = (
        f"runs and {name} have diverged: {count(here, 'commit')} here, "
        f"{count(others, 'commit')} there"
    )
    yield note(BRANCH, message, "force neither: nothing is lost as long as both are there")


class _Authorship(NamedTuple):
    """The run of a commit, and who wrote it when: this stays when a commit is rewritten."""

    name: str
    reverts: bool
    author: str


def _commits_by_authorship(history: History, revisions: str) -> dict[_Authorship, str]:
    found: dict[_Authorship, str] = {}
    args = ("log", "-z", "--encoding=UTF-8", "--format=%H%x1f%ae %at%x1f%B", revisions, "--")
    for row in catfile.rows(*args, cwd=history.repository.top):
        commit, author, message = row.decode("utf-8", "replace").split("\x1f", 2)
        if name := first(message, "Run"):
            found[_Authorship(name, bool(first(message, "Reverts")), author)] = commit
    return found


def ref_targets(history: History, pattern: str) -> Iterator[tuple[str, str]]:
    """Yield refs with the id that each holds; the object itself may be missing."""
    reply = git.call(
        "for-each-ref", "--format=%(refname)%00%(objectname)", pattern, cwd=history.repository.top
    )
    for row in reply.out.decode("utf-8", "surrogateescape").split("\n"):
        name, nul, target = row.partition("\0")
        if nul:
            yield name, target
