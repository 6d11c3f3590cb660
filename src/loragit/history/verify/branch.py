"""Checks that the branch ``runs`` holds only what belongs there, and that every outcome is on its
own run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from loragit.errors import LoragitError, shell_word
from loragit.git import catfile
from loragit.history.branch import Tag
from loragit.history.history import History, RecordedRun
from loragit.history.record_parser import parse_trailers
from loragit.history.record_reader import tag_message
from loragit.history.verify.verdict import BRANCH, TAG, Verdict, note, wrong
from loragit.record.message import without_signature
from loragit.record.name import RUNS
from loragit.record.trailers import first
from loragit.store.fetched import fetched as fetched_tags

MOST = 1 << 26
"""Bytes of a tag that are read at most."""


class BranchCommits(NamedTuple):
    """The commits that ``runs`` leads to."""

    commits: frozenset[str]
    foreign: tuple[tuple[str, str], ...]
    """Commits that are no run, no revert and no merge, each with its subject."""
    whole: bool
    """Whether that is all of them: git could read to the end, and this is no shallow clone."""


def read_branch(history: History) -> BranchCommits:
    """Return the commits of ``runs``; those that git cannot read are missing."""
    commits: list[str] = []
    foreign: list[tuple[str, str]] = []
    whole = not history.shallow
    args = ("log", "-z", "--encoding=UTF-8", "--format=%H%x1f%P%x1f%B", RUNS, "--")
    try:
        for row in catfile.rows(*args, cwd=history.repository.top) if history.refs.runs else ():
            commit, above, message = row.decode("utf-8", "replace").split("\x1f", 2)
            commits.append(commit)
            if not (first(message, "Run") or " " in above):
                foreign.append((commit, message.partition("\n")[0]))
    except LoragitError:  # reported by verify(), which reads the runs
        whole = False
    return BranchCommits(frozenset(commits), tuple(foreign), whole)


def check_branch(history: History, known: BranchCommits) -> Iterator[Verdict]:
    """Yield what does not belong on the branch."""
    for commit, subject in known.foreign:
        message = f"{commit[:8]} ({subject}) is on runs, and is no run, no revert and no merge"
        yield wrong(BRANCH, message, f"see it: git show {commit[:8]}; loragit alone writes to runs")
    if history.shallow:
        message = "this is a shallow clone: older runs are not here, and were not looked at"
        yield note(BRANCH, message, "bring them with: git fetch --unshallow")


def check_tags(
    history: History, known: BranchCommits, wanted: frozenset[str] | None
) -> Iterator[Verdict]:
    """Check that every tag with an outcome is on its own run; only tags called ``wanted``, ``None``
    for all."""
    runs = {run.commit: run for run in history.runs}
    names = {run.name for run in history.runs if run.state != "reverted"}
    refs = tuple(history.refs.tags())
    loose = {
        name: tag.commit
        for name, tag in refs
        if tag.commit not in known.commits and name not in names
    }
    fetched = fetched_tags(history.repository, loose)
    sealing: dict[str, list[str]] = {}
    with catfile.Reader(history.repository.top) as reader:
        for name, tag in refs:
            if name in fetched or (wanted is not None and name not in wanted):
                continue
            # A damaged tag leads to no commit, and looks like a lightweight one.
            found = (
                read_tag_object(reader, tag.object)
                if tag.annotated or tag.commit not in runs
                else TagObject("", "", {})
            )
            if found is None:
                if name in names:
                    message = (
                        f"the tag {name} cannot be read: what came out of the run is not known"
                    )
                    fix = "fetch it from a clone that has it"
                    yield wrong(TAG, message, fix)._replace(run=name)
            elif found.tells_outcome:
                sealing.setdefault(tag.commit, []).append(name)
                yield from _check_sealed_tag(name, tag, found, runs, known)
            elif name in names:
                yield from _check_other_tag(name, tag, runs)
    yield from _check_single(sealing)


def _check_single(sealing: Mapping[str, Sequence[str]]) -> Iterator[Verdict]:
    """Yield the commits on which more than one tag has an outcome."""
    for commit, several in sealing.items():
        if len(several) > 1:
            message = f"{', '.join(several)} are outcomes of one run, {commit[:8]}"
            fix = "keep the one that the run is called by"
            yield wrong(TAG, message, fix)._replace(commit=commit)


class TagObject(NamedTuple):
    """What a tag object holds."""

    name: str
    """Name of the tag inside the object: a copied or renamed tag keeps the old one."""
    object: str
    """Id of the object that it is on."""
    trailers: Mapping[str, tuple[str, ...]]

    @property
    def tells_outcome(self) -> bool:
        """Whether it holds an outcome as loragit writes it."""
        return "Run" in self.trailers and "Samples" in self.trailers


def read_tag_object(reader: catfile.Reader, tag: str) -> TagObject | None:
    """Return the tag object with the id ``tag``; ``None`` if it cannot be read."""
    try:
        found = reader.read(tag, MOST)
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
    name: str, tag: Tag, seal: TagObject, runs: Mapping[str, RecordedRun], known: BranchCommits
) -> Iterator[Verdict]:
    """Yield what is wrong with the outcome in the tag ``name``.

    It must say its own name, be on the run of that name, and that run must stand::

        tag b2 says "b", on R2 "Run: b"    copied, renamed or edited
        tag b  says "b", on R3 "Run: c"    moved: it is on another run
        tag b  says "b", on a revert       moved: no run that stands
        tag b  says "b", not below runs    the history was rewritten, or the tag moved
    """
    said = {seal.name, *seal.trailers["Run"]} - {name}
    see = f"see it: git cat-file tag {tag.object[:12]}"
    if said:
        message = (
            f"the tag {name} holds the outcome of {', '.join(sorted(said))}: it was copied, "
            "renamed or edited"
        )
        yield wrong(TAG, message, see)._replace(run=name)
    run = runs.get(tag.commit)
    if run is not None and run.name != name:
        message = f"the tag {name} is on the run {run.name} ({tag.commit[:8]}): it was moved"
        yield wrong(TAG, message, see)._replace(run=name, commit=tag.commit)
    elif tag.commit in known.commits:
        if run is None or run.state == "reverted":
            message = (
                f"the tag {name} is on {tag.commit[:8]}, which is no run that stands: it was moved"
            )
            yield wrong(TAG, message, see)._replace(run=name)
    elif known.whole:
        message = (
            f"the tag {name} is on {tag.commit[:8]}, which is not in the history of runs: "
            "the history was rewritten, or the tag was moved"
        )
        yield wrong(TAG, message, see)._replace(run=name)


def _check_other_tag(name: str, tag: Tag, runs: Mapping[str, RecordedRun]) -> Iterator[Verdict]:
    """Yield what is wrong with a tag that has a run's name and no outcome: it is that of an open
    run, or not loragit's."""
    run = runs.get(tag.commit)
    at_home = run is not None and run.name == name
    if not at_home:
        word = shell_word(name)
        message = (
            f"the tag {name} is not on a run of that name, but on {tag.commit[:8]}: it was moved"
        )
        yield wrong(TAG, message, f"see: git show {word}; git log --grep {word} runs")._replace(
            run=name
        )
    elif tag.annotated:
        message = (
            f"the tag {name} does not hold an outcome as loragit writes it: it was edited, or made "
            "by hand"
        )
        yield wrong(TAG, message, f"see it: git cat-file tag {tag.object[:12]}")._replace(
            run=name, commit=tag.commit
        )
