"""The branch ``runs`` and its tags: only what belongs there, nothing taken back, every outcome at its run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from loragit import catfile, git
from loragit.errors import LoragitError
from loragit.history import History, RecordedRun
from loragit.history.branch import Tag
from loragit.history.contents import tag_message
from loragit.names import RUNS
from loragit.recorded import read_trailers, without_signature
from loragit.text import count
from loragit.trailers import first
from loragit.verification.verdicts import LINE, TAG, Since, Verdict, moment, note, wrong


class Line(NamedTuple):
    """Every commit that ``runs`` leads to."""

    commits: frozenset[str]
    foreign: tuple[tuple[str, str], ...]
    """Commits that are no run, no revert and no merge, with their subjects."""
    whole: bool
    """Whether all of it could be read, and is there: not in a shallow clone."""


def read(history: History) -> Line:
    """Reads git's answer to its end; what it cannot read is missing."""
    commits: list[str] = []
    foreign: list[tuple[str, str]] = []
    whole = not history.shallow
    args = ("log", "-z", "--encoding=UTF-8", "--format=%H%x1f%P%x1f%B", RUNS, "--")
    try:
        for row in catfile.rows(*args, cwd=history.repository.top) if history.refs.runs else ():
            commit, above, message = (*row.decode("utf-8", "replace").split("\x1f", 2), "", "")[:3]
            commits.append(commit)
            if not (first(message, "Run") or first(message, "Reverts") or " " in above):
                foreign.append((commit, message.partition("\n")[0]))
    except LoragitError:  # told by who read the runs
        whole = False
    return Line(frozenset(commits), tuple(foreign), whole)


def look(history: History, line: Line) -> Iterator[Verdict]:
    """What became of the branch."""
    for commit, subject in line.foreign:
        told = f"{commit[:8]} ({subject}) is on runs, and is no run, no revert and no merge"
        yield wrong(LINE, told, f"see it: git show {commit[:8]}; loragit alone writes to runs")
    if history.shallow:
        told = "this is a shallow clone: older runs are not here, and were not looked at"
        yield note(LINE, told, "bring them with: git fetch --unshallow")
    elif line.whole:
        yield from _lost_tips(history, line)
        yield from _remotes(history, line)


class _Move(NamedTuple):
    """A line of a reflog."""

    old: str
    new: str
    time: int
    why: str


def _lost_tips(history: History, line: Line) -> Iterator[Verdict]:
    """What ``runs`` pointed at once and does not lead to any more."""
    moves = _reflog(history)
    for before, after in pairwise(moves):
        # Of a row of lost tips the last one leads to the others.
        if before.new not in line.commits and (after.new in line.commits or after.old != before.new):
            yield _lost(history, before, moment(after.time), after.why)
    if moves and moves[-1].new not in line.commits:
        yield _lost(history, moves[-1], None, "past the reflog")


def _lost(history: History, before: _Move, latest: str | None, why: str) -> Verdict:
    top = history.repository.top
    reply = git.call("rev-list", "--count", before.new, f"^{RUNS}", "--", cwd=top)
    number = reply.out.decode("ascii", "replace").strip()
    lost = f", {count(int(number), 'commit')} of it" if reply.status == 0 and number.isdigit() else ""
    when = f" until {latest}" if latest else ""
    told = f"runs was at {before.new[:8]}{when}, which is not in its history{lost}: it was rewound or rewritten ({why})"
    fix = f"keep what was lost: git branch runs-before {before.new[:8]}"
    return wrong(LINE, told, fix)._replace(since=Since(moment(before.time), latest))


def _reflog(history: History) -> list[_Move]:
    """The moves of ``runs``, oldest first; none where no reflog is kept."""
    try:
        data = (history.repository.common_dir / "logs" / RUNS).read_bytes()
    except OSError:
        return []
    moves = []
    for row in data.decode("utf-8", "replace").splitlines():
        match = re.match(r"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) .*> (\d{1,12}) [+-]\d{4}(?:\t(.*))?$", row)
        if match and match[2].strip("0"):
            moves.append(_Move(match[1], match[2], int(match[3]), match[4] or "no reason given"))
    return moves


def _remotes(history: History, line: Line) -> Iterator[Verdict]:
    top = history.repository.top
    for ref, tip in _targets(history, "refs/remotes/*/runs"):
        if tip in line.commits or history.refs.runs is None:
            continue
        name = ref.removeprefix("refs/remotes/")
        reply = git.call("rev-list", "--left-right", "--count", f"{RUNS}...{tip}", "--", cwd=top)
        numbers = reply.out.decode("ascii", "replace").split()
        if reply.status != 0 or len(numbers) != 2:
            yield wrong(LINE, f"{name} cannot be compared with runs: {git.last_words(reply)}", "run: git fsck")
        elif numbers[0] != "0":
            here, there = (count(int(number), "commit") for number in numbers)
            told = f"runs and {name} went apart: {here} here, {there} there"
            yield note(LINE, told, "force neither: nothing is lost as long as both are there")


def _targets(history: History, pattern: str) -> Iterator[tuple[str, str]]:
    """Refs with what they hold, which may not be there: nothing is peeled."""
    reply = git.call("for-each-ref", "--format=%(refname)%00%(objectname)", pattern, cwd=history.repository.top)
    for row in reply.out.decode("utf-8", "surrogateescape").split("\n"):
        name, nul, target = row.partition("\0")
        if nul:
            yield name, target


def tags(history: History, line: Line, wanted: frozenset[str] | None) -> Iterator[Verdict]:
    """Whether every tag that tells an outcome is where it belongs; of ``wanted`` names only, ``None`` for all."""
    runs = {run.commit: run for run in history.runs}
    names = {run.name for run in history.runs if run.state != "reverted"}
    sealing: dict[str, list[str]] = {}
    with catfile.Reader(history.repository.top) as reader:
        for name, tag in history.refs.tags():
            if wanted is not None and name not in wanted:
                continue
            # A tag that is damaged leads to no commit, and looks like a lightweight one.
            found = _read(reader, tag) if tag.annotated or tag.commit not in runs else _Seal("", {})
            if found is None and name in names:
                told = f"the tag {name} cannot be read: what came out of the run is not known"
                yield wrong(TAG, told, "fetch it from a clone that has it")._replace(run=name)
            elif found is not None and found.ours:
                sealing.setdefault(tag.commit, []).append(name)
                yield from _sealed(name, tag, found, runs, line)
            elif found is not None and name in names:
                yield from _other(name, tag, runs)
    for commit, several in sealing.items():
        if len(several) > 1:
            told = f"{', '.join(several)} are outcomes of one run, {commit[:8]}"
            yield wrong(TAG, told, "keep the one that the run is called by")._replace(commit=commit)
    yield from _kept(history, wanted)


class _Seal(NamedTuple):
    name: str
    """As the tag object has it."""
    trailers: Mapping[str, tuple[str, ...]]

    @property
    def ours(self) -> bool:
        """Whether it tells an outcome as loragit does."""
        return "Run" in self.trailers and "Samples" in self.trailers


def _read(reader: catfile.Reader, tag: Tag) -> _Seal | None:
    try:
        found = reader.read(tag.object, 1 << 26)
    except LoragitError:
        return None
    if found is None or found.data is None:
        return None
    head = found.data.partition(b"\n\n")[0].decode("utf-8", "replace")
    name = next((row.removeprefix("tag ") for row in head.split("\n") if row.startswith("tag ")), "")
    return _Seal(name, read_trailers(without_signature(tag_message(found.data))))


def _sealed(name: str, tag: Tag, seal: _Seal, runs: Mapping[str, RecordedRun], line: Line) -> Iterator[Verdict]:
    """What is wrong with the outcome that ``name`` tells."""
    said = {seal.name, *seal.trailers["Run"]} - {name}
    see = f"see it: git cat-file tag {tag.object[:12]}"
    if said:
        told = f"the tag {name} holds the outcome of {', '.join(sorted(said))}: it was copied, renamed or edited"
        yield wrong(TAG, told, see)._replace(run=name)
    run = runs.get(tag.commit)
    if run is not None and run.name != name:
        told = f"the tag {name} is on the run {run.name} ({tag.commit[:8]}): it was moved"
        yield wrong(TAG, told, see)._replace(run=name, commit=tag.commit)
    elif tag.commit in line.commits:
        if run is None or run.state == "reverted":
            told = f"the tag {name} is on {tag.commit[:8]}, which is no run that stands: it was moved"
            yield wrong(TAG, told, see)._replace(run=name)
    elif line.whole:
        told = (
            f"the tag {name} is on {tag.commit[:8]}, which is not in the history of runs: "
            "the history was rewritten, or the tag was moved"
        )
        yield wrong(TAG, told, see)._replace(run=name)


def _other(name: str, tag: Tag, runs: Mapping[str, RecordedRun]) -> Iterator[Verdict]:
    """A tag that is called like a run and tells no outcome: that of an open run, or none of loragit's."""
    run = runs.get(tag.commit)
    at_home = run is not None and run.name == name
    if not at_home:
        told = f"the tag {name} is not on a run of that name, but on {tag.commit[:8]}: it was moved"
        yield wrong(TAG, told, f"see: git show {name}; git log --grep {name} runs")._replace(run=name)
    elif tag.annotated:
        told = f"the tag {name} tells no outcome as loragit does: it was edited, or made by hand"
        yield wrong(TAG, told, f"see it: git cat-file tag {tag.object[:12]}")._replace(run=name, commit=tag.commit)


def _kept(history: History, wanted: frozenset[str] | None) -> Iterator[Verdict]:
    """Runs whose tag is gone, while what loragit deletes with it is there: somebody else deleted the tag."""
    start = "refs/loragit/keep/"
    for ref, _ in _targets(history, start):
        name = ref.removeprefix(start)
        if name not in history.refs.objects and (wanted is None or name in wanted):
            told = f"the tag {name} is gone, and with it what came out of the run: it was deleted by hand"
            yield note(TAG, told, "a clone or a remote may still have it")._replace(run=name)
