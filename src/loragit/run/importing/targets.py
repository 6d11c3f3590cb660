"""The repositories that receive runs, and which trainings each of them records already, by any
identifying mark: hash, session, commit or folder.

Records are read through two git child processes, however many runs there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.errors import LoragitError
from loragit.git import catfile
from loragit.git.identity import IdentityQuestion
from loragit.git.repository import Repository
from loragit.record.message import parse_model_line
from loragit.record.name import RunName
from loragit.record.values import Identity
from loragit.run.importing.training import PastTraining
from loragit.settings.values import Settings
from loragit.store.enclosing import EnclosingQuestion, not_meant
from loragit.store.free_name import NameStates
from loragit.trainers import kinds

_EVERYWHERE = ("--glob=refs/heads/run[s]", "--glob=refs/remotes/*/run[s]")
"""``runs`` and its fetched copies: a run recorded elsewhere is not recorded a second time. These
are patterns because a pattern may match nothing, while a plain name must exist."""
_TAG_FIELDS = "%(refname)%00%(*objectname)%00%(objectname)%00%(contents)%00"


class NotMeant(LoragitError):
    """The repository around a dataset is not meant to hold its record."""


Confirm = Callable[[str], bool]
"""Asks the user a question; whether the answer is yes."""


class Target(NamedTuple):
    """A repository that receives runs."""

    repository: Repository
    author: Identity
    committer: Identity
    recorded: RecordedTrainings
    names: NameStates


class Targets:
    """The repositories of datasets. Each is read once, and the user is asked about each once."""

    def __init__(self, home: Path, confirm: Confirm | None) -> None:
        """``confirm`` is ``None`` where there is nobody to ask."""
        self._home = home
        self._confirm = confirm
        self._of: dict[Path, Target | LoragitError] = {}
        """Keyed by the dataset's folder."""
        self._read: dict[Path, tuple[RecordedTrainings, NameStates]] = {}
        """Keyed by the common git folder."""

    def of(self, chosen: Settings) -> Target:
        """Return the repository of the dataset of ``chosen``.

        Raises :class:`NotMeant`, :class:`~loragit.git.identity.IdentityMissing`, and whatever keeps
        a repository from being found or read.
        """
        folder = chosen.dataset_dir
        if folder not in self._of:
            try:
                self._of[folder] = self._target(chosen)
            except LoragitError as error:
                self._of[folder] = error
        target = self._of[folder]
        if isinstance(target, LoragitError):
            raise target
        return target

    def _target(self, chosen: Settings) -> Target:
        author, committer = IdentityQuestion(chosen.dataset_dir).answer()
        repository = git.discover(chosen.dataset_dir)
        top = repository.common_dir
        if repository.prefix and not chosen.record.enclosing:
            self._refuse_enclosing(repository, chosen)
        if top not in self._read:
            self._read[top] = RecordedTrainings(repository), NameStates(repository)
        return Target(repository, author, committer, *self._read[top])

    def _refuse_enclosing(self, repository: Repository, chosen: Settings) -> None:
        """Raises :class:`NotMeant` unless the record goes where the user means it to go."""
        question = EnclosingQuestion(repository)
        reason = question.answer(self._home, _trainer_tops(repository, chosen))
        if reason is None:
            return
        if self._confirm is None or not self._confirm(f"{reason}. Record its runs there?"):
            finding = not_meant(reason, chosen.dataset_dir)
            raise NotMeant(finding.problem, hint=finding.hint)


def _trainer_tops(repository: Repository, chosen: Settings) -> Iterator[Path]:
    """Yield the tops of repositories that hold a trainer: ``repository``, if it is a trainer's, and
    that of the trainer in the settings."""
    if any(each.checkout.recognises(repository.top) for each in kinds.all_trainers()):
        yield repository.top
    if chosen.trainer.repo.is_dir():
        try:
            yield git.discover(chosen.trainer.repo).top
        except LoragitError:
            return


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
