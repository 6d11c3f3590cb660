"""The branch ``runs`` and its tags: only what belongs there, nothing taken back, every outcome at
its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from loragit.errors import LoragitError, shell_word
from loragit.git import catfile
from loragit.history.branch import Tag
from loragit.history.history import History, RecordedRun
from loragit.history.record_parser import parse_trailers, without_signature
from loragit.history.record_reader import tag_message
from loragit.history.verify.verdict import BRANCH, TAG, Verdict, note, wrong
from loragit.record.name import RUNS
from loragit.record.trailers import first
from loragit.store import fetched as elsewhere


class BranchCommits(NamedTuple):
    """Every commit that ``runs`` leads to."""

    commits: frozenset[str]
    foreign: tuple[tuple[str, str], ...]
    """Commits that are no run, no revert and no merge, with their subjects."""
    whole: bool
    """Whether all of it could be read, and is there: not in a shallow clone."""


def read_branch(history: History) -> BranchCommits:
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
    return BranchCommits(frozenset(commits), tuple(foreign), whole)


def check_branch(history: History, line: BranchCommits) -> Iterator[Verdict]:
    """What became of the branch."""
    for commit, subject in line.foreign:
        told = f"{commit[:8]} ({subject}) is on runs, and is no run, no revert and no merge"
        yield wrong(BRANCH, told, f"see it: git show {commit[:8]}; loragit alone writes to runs")
    if history.shallow:
        told = "this is a shallow clone: older runs are not here, and were not looked at"
        yield note(BRANCH, told, "bring them with: git fetch --unshallow")


def check_tags(
    history: History, line: BranchCommits, wanted: frozenset[str] | None
) -> Iterator[Verdict]:
    """Whether every tag that tells an outcome is where it belongs; of ``wanted`` names only,
    ``None`` for all."""
    runs = {run.commit: run for run in history.runs}
    names = {run.name for run in history.runs if run.state != "reverted"}
    refs = tuple(history.refs.tags())
    loose = {
        name: tag.commit
        for name, tag in refs
        if tag.commit not in line.commits and name not in names
    }
    fetched = elsewhere.fetched(history.repository, loose)
    sealing: dict[str, list[str]] = {}
    with catfile.Reader(history.repository.top) as reader:
        for name, tag in refs:
            if name in fetched or (wanted is not None and name not in wanted):
                continue
            # A tag that is damaged leads to no commit, and looks like a lightweight one.
            found = (
                read_tag_object(reader, tag.object)
                if tag.annotated or tag.commit not in runs
                else TagObject("", "", {})
            )
            if found is None and name in names:
                told = f"the tag {name} cannot be read: what came out of the run is not known"
                yield wrong(TAG, told, "fetch it from a clone that has it")._replace(run=name)
            elif found is not None and found.tells_outcome:
                sealing.setdefault(tag.commit, []).append(name)
                yield from _check_sealed_tag(name, tag, found, runs, line)
            elif found is not None and name in names:
                yield from _check_other_tag(name, tag, runs)
    for commit, several in sealing.items():
        if len(several) > 1:
            told = f"{', '.join(several)} are outcomes of one run, {commit[:8]}"
            yield wrong(TAG, told, "keep the one that the run is called by")._replace(commit=commit)


class TagObject(NamedTuple):
    """What a tag object says."""

    name: str
    """As the tag object has it."""
    object: str
    """What it is on."""
    trailers: Mapping[str, tuple[str, ...]]

    @property
    def tells_outcome(self) -> bool:
        """Whether it tells an outcome as loragit does."""
        return "Run" in self.trailers and "Samples" in self.trailers


def read_tag_object(reader: catfile.Reader, tag: str) -> TagObject | None:
    """The tag object of that id; ``None`` where it cannot be read."""
    try:
        found = reader.read(tag, 1 << 26)
    except LoragitError:
        return None
    if found is None or found.data is None:
        return None
    head = found.data.partition(b"\n\n")[0].decode("utf-8", "replace")
    said = dict(row.partition(" ")[::2] for row in reversed(head.split("\n")))
    return TagObject(
        said.get("tag", ""),
        said.get("object", ""),
        parse_trailers(without_signature(tag_message(found.data))),
    )


def _check_sealed_tag(
    name: str, tag: Tag, seal: TagObject, runs: Mapping[str, RecordedRun], line: BranchCommits
) -> Iterator[Verdict]:
    """What is wrong with the outcome that ``name`` tells."""
    said = {seal.name, *seal.trailers["Run"]} - {name}
    see = f"see it: git cat-file tag {tag.object[:12]}"
    if said:
        told = (
            f"the tag {name} holds the outcome of {', '.join(sorted(said))}: it was copied, "
            "renamed or edited"
        )
        yield wrong(TAG, told, see)._replace(run=name)
    run = runs.get(tag.commit)
    if run is not None and run.name != name:
        told = f"the tag {name} is on the run {run.name} ({tag.commit[:8]}): it was moved"
        yield wrong(TAG, told, see)._replace(run=name, commit=tag.commit)
    elif tag.commit in line.commits:
        if run is None or run.state == "reverted":
            told = (
                f"the tag {name} is on {tag.commit[:8]}, which is no run that stands: it was moved"
            )
            yield wrong(TAG, told, see)._replace(run=name)
    elif line.whole:
        told = (
            f"the tag {name} is on {tag.commit[:8]}, which is not in the history of runs: "
            "the history was rewritten, or the tag was moved"
        )
        yield wrong(TAG, told, see)._replace(run=name)


def _check_other_tag(name: str, tag: Tag, runs: Mapping[str, RecordedRun]) -> Iterator[Verdict]:
    """A tag that is called like a run and tells no outcome: that of an open run, or none of
    loragit's."""
    run = runs.get(tag.commit)
    at_home = run is not None and run.name == name
    if not at_home:
        word = shell_word(name)
        told = f"the tag {name} is not on a run of that name, but on {tag.commit[:8]}: it was moved"
        yield wrong(TAG, told, f"see: git show {word}; git log --grep {word} runs")._replace(
            run=name
        )
    elif tag.annotated:
        told = f"the tag {name} tells no outcome as loragit does: it was edited, or made by hand"
        yield wrong(TAG, told, f"see it: git cat-file tag {tag.object[:12]}")._replace(
            run=name, commit=tag.commit
        )
