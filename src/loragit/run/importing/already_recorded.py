"""Which trainings a repository already records, by any identifying mark: hash, session, commit or
folder.

Read through two git child processes, however many runs there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from loragit.git import catfile
from loragit.git.repository import Repository
from loragit.record.message import parse_model_line
from loragit.record.name import RunName
from loragit.run.importing.training import PastTraining

_EVERYWHERE = ("--glob=refs/heads/run[s]", "--glob=refs/remotes/*/run[s]")
"""``runs`` and its fetched copies: a run recorded elsewhere is not recorded a second time. These
are patterns because a pattern may match nothing, while a plain name must exist."""
_TAG_FIELDS = "%(refname)%00%(*objectname)%00%(objectname)%00%(contents)%00"


class TrainingMarks(NamedTuple):
    """The marks that identify a training."""

    name: str
    source: str
    """Its location, with the home folder written as ``~``."""
    commits: frozenset[str]
    """Commits of runs that its models' comments name."""
    sessions: frozenset[str]
    files: frozenset[str]
    """sha256 of each whole model."""
    payloads: frozenset[str]
    """sha256 of the bytes after each model's header."""

    def same(self, other: TrainingMarks) -> bool:
        """Whether the models of both claim to be from one training."""
        stripped = not self.sessions or not other.sessions
        return bool(
            self.commits & other.commits
            or self.sessions & other.sessions
            or self.files & other.files
            or (stripped and self.payloads & other.payloads)
        )


def marks_of(left: PastTraining, name: RunName, source: str) -> TrainingMarks:
    """Return the marks of ``left``, which would be recorded as ``name``."""
    whole = left.judged.models
    return TrainingMarks(
        name=name.text,
        source=source,
        commits=frozenset(each.made_by for each in left.trainings if each.made_by),
        sessions=frozenset(left.sessions),
        files=frozenset(model.sha256 for model in whole),
        payloads=frozenset(model.payload_sha256 for model in whole if model.payload_sha256),
    )


class RecordedAs(NamedTuple):
    """The recorded run that matches a certain training."""

    name: str
    has_tag: bool
    """Whether it has its tag."""


class _RunOnRecord(NamedTuple):
    name: str
    sessions: frozenset[str]
    source: str | None
    """Where the run was imported from; ``None`` if it was not imported."""


class _SealedTag(NamedTuple):
    commit: str
    hashes: frozenset[str]
    """Hashes of models, both of whole files and of the bytes after their headers."""
    output: str | None


class RecordedTrainings:
    """The recorded runs of one repository."""

    def __init__(self, repository: Repository) -> None:
        log = catfile.ask("log", "-z", "--format=%H%n%B", *_EVERYWHERE, "--", cwd=repository.top)
        tags = catfile.ask(
            "for-each-ref", f"--format={_TAG_FIELDS}", "refs/tags", cwd=repository.top
        )
        self._runs = dict(_runs(_decoded(catfile.answer(log, "log", repository.top))))
        """Keyed by commit, newest first."""
        self._tags = dict(_tags(_decoded(catfile.answer(tags, "for-each-ref", repository.top))))
        """Keyed by name."""
        self._by_hash = {each: name for name, tag in self._tags.items() for each in tag.hashes}
        self._by_session = {
            each: commit for commit, run in reversed(self._runs.items()) for each in run.sessions
        }

    def find(self, marks: TrainingMarks) -> RecordedAs | None:
        """Return the run that ``marks`` belong to; ``None`` if there is none.

        Weights alone prove nothing: the same settings give the same weights. They decide only for a
        model without a session, whose header somebody removed.
        """
        for commit in sorted(marks.commits & self._runs.keys()):
            return self._known(commit)
        for digest in sorted(marks.files | (frozenset() if marks.sessions else marks.payloads)):
            if digest in self._by_hash:
                return RecordedAs(self._by_hash[digest], has_tag=True)
        for session in sorted(marks.sessions & self._by_session.keys()):
            return self._known(self._by_session[session])
        return next(
            (
                self._known(commit)
                for commit, run in self._runs.items()
                if self._same(commit, run, marks)
            ),
            None,
        )

    def _known(self, commit: str) -> RecordedAs:
        name = self._runs[commit].name
        return RecordedAs(name, has_tag=name in self._tags and self._tags[name].commit == commit)

    def _same(self, commit: str, run: _RunOnRecord, marks: TrainingMarks) -> bool:
        """Whether name and location match and nothing contradicts it."""
        tag = self._tags.get(run.name)
        standing = tag is not None and tag.commit == commit
        places = {run.source, tag.output if tag and standing else None}
        if (run.sessions and marks.sessions) or (tag and standing and tag.hashes and marks.files):
            return False  # models that can be told apart, and differ
        if marks.source in places:
            return standing or run.source is not None
        return (
            run.name == marks.name
            and run.source is not None
            and not run.sessions
            and not marks.files
        )


def _decoded(rows: Iterable[bytes]) -> Iterator[str]:
    return (row.decode("utf-8", "replace") for row in rows)


def _runs(rows: Iterable[str]) -> Iterator[tuple[str, _RunOnRecord]]:
    for row in rows:
        commit, _, message = row.partition("\n")
        found = _trailers(message)
        name = next((value for key, value in found if key == "Run"), None)
        if name is not None and all(key != "Reverts" for key, _ in found):
            imported = next((value for key, value in found if key == "Imported"), None)
            source = None if imported is None else imported.partition(" from ")[2]
            yield (
                commit,
                _RunOnRecord(
                    name, frozenset(value for key, value in found if key == "Session"), source
                ),
            )


def _tags(fields: Iterator[str]) -> Iterator[tuple[str, _SealedTag]]:
    for name, peeled, target, contents in zip(fields, fields, fields, fields, strict=False):
        lines = [line.partition(": ") for line in contents.splitlines()]
        models = [parse_model_line(value) for key, _, value in lines if key == "Model"]
        hashes = [
            each
            for model in models
            if model
            for each in (model.sha256, model.payload_sha256)
            if each
        ]
        output = next((value for key, _, value in lines if key == "Output"), None)
        if name:
            yield (
                name.lstrip("\n").removeprefix("refs/tags/"),
                _SealedTag(peeled or target, frozenset(hashes), output),
            )


def _trailers(message: str) -> list[tuple[str, str]]:
    """Return the trailers of a message that loragit wrote: the lines of its last paragraph."""
    lines = message.rstrip("\n").rpartition("\n\n")[2].split("\n")
    return [(key, value) for key, colon, value in (line.partition(": ") for line in lines) if colon]
