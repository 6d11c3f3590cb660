"""Parses what a record holds: ``run.toml``, ``environment.txt`` and the messages of commit and tag.

It takes bytes and text, and opens no file. What a record does not say is ``None`` or empty: records
of later versions, or written by others, are read as far as possible. docs/record-format.md lists
every key. The values from which a record is written are in :mod:`loragit.record.values`; these
classes here also hold what only a damaged or foreign record has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from loragit.errors import LoragitError, shell_word
from loragit.history import plain_toml
from loragit.history.plain_toml import (
    arguments_at,
    number_at,
    table_at,
    tables_of_list,
    text_at,
    texts_at,
)
from loragit.record.message import parse_model_lines, without_signature
from loragit.record.trailers import first
from loragit.record.values import FORMAT, ModelFile, Weights
from loragit.trainers import arguments

Values = Mapping[str, tuple[str, ...]]
"""One or more values by key, in the order in which they stand."""


class CannotReadRecord(LoragitError):
    """``run.toml`` is missing, damaged, or of a format that this loragit does not know."""


class RecordedRepo(NamedTuple):
    """A repository of code as recorded: the trainer's, that of LyCORIS, or another one."""

    label: str
    """``sd-scripts``, ``lycoris``, …"""
    commit: str | None
    """40 hex digits; ``None`` if no commit is known."""
    branch: str | None
    url: str | None
    dirty: tuple[str, ...]
    """Paths with uncommitted changes."""
    version: str | None = None
    """Version of a release from a package index."""


class ListedFile(NamedTuple):
    """What ``run.toml`` lists of a file of the record."""

    sha1: str
    size: int
    """Bytes."""


class Record(NamedTuple):
    """A parsed ``run.toml``."""

    format: int
    name: str
    model: str | None
    version: int | None
    steps: int | None
    epochs: str | None
    dataset: str
    dataset_commit: str | None
    dataset_dirty: int | None
    images: int | None
    captions: int | None
    trainer_kind: str | None
    trainer_script: str | None
    trainer: RecordedRepo
    lycoris: RecordedRepo | None
    """``None`` if it was not installed."""
    repositories: tuple[RecordedRepo, ...]
    """All others."""
    files: Mapping[str, ListedFile]
    """By path: every file of the record except ``run.toml`` and the captions."""
    weights: tuple[Weights, ...]
    workdir: str | None
    argv: tuple[str, ...]
    """Program and arguments; secrets are ``***``."""
    table: Mapping[str, object]
    """The whole document, including keys of later formats."""

    @property
    def args(self) -> Values:
        """The trainer's arguments by name, without ``--``. A flag has no value.

        They are those of the table ``arguments``, if the record has it: what counted, without what
        differs from run to run. Else they are :attr:`command_args`.
        """
        return arguments_at(self.table, "arguments") or self.command_args

    @property
    def lists_arguments(self) -> bool:
        """Whether it has the table ``arguments``; the first records do not have it."""
        return bool(arguments_at(self.table, "arguments"))

    @property
    def defaults(self) -> Values:
        """The trainer's own values of arguments that were not given, as far as they are known."""
        return arguments_at(self.table, "defaults")

    @property
    def command_args(self) -> Values:
        """The arguments of the command itself; of a repeated one the last counts."""
        return script_arguments(self.argv, self.trainer_script)


def parse_record(data: bytes, run: str) -> Record:
    """Parse ``run.toml`` of the run called ``run``. Raises :class:`CannotReadRecord`."""
    try:
        table = plain_toml.parse_document(data.decode("utf-8"))
    except ValueError as error:
        raise CannotReadRecord(
            f"run.toml of {run} is damaged: {error}",
            hint=f"see it: git show {shell_word(run)}:./run.toml",
        ) from error
    number = number_at(table, "format") or 0
    if number > FORMAT:
        raise CannotReadRecord(
            f"{run} is recorded in format {number}, and this loragit reads format {FORMAT}",
            hint="install a newer loragit; plain git shows it too: git show "
            f"{shell_word(run)}:./run.toml",
        )
    return _record_of(table, number, run)


def _record_of(table: Mapping[str, object], number: int, run: str) -> Record:
    about, dataset = table_at(table, "run"), table_at(table, "dataset")
    trainer, lycoris = table_at(table, "trainer"), table_at(table, "lycoris")
    command, others = table_at(table, "command"), table_at(table, "repositories")
    return Record(
        format=number,
        name=text_at(about, "name") or run,
        model=text_at(about, "model"),
        version=number_at(about, "version"),
        steps=number_at(about, "steps"),
        epochs=text_at(about, "epochs"),
        dataset=text_at(dataset, "name") or "",
        dataset_commit=text_at(dataset, "commit"),
        dataset_dirty=number_at(dataset, "dirty"),
        images=number_at(dataset, "images"),
        captions=number_at(dataset, "captions"),
        trainer_kind=text_at(trainer, "kind"),
        trainer_script=text_at(trainer, "script"),
        trainer=_parse_repo(trainer, text_at(trainer, "kind") or "trainer"),
        lycoris=_parse_repo(lycoris, "LyCORIS") if lycoris.get("installed") is True else None,
        repositories=tuple(_parse_repo(table_at(others, label), label) for label in others),
        files=MappingProxyType(dict(_listed_files(table_at(table, "files")))),
        weights=tuple(_parse_weights(table.get("weights"))),
        workdir=text_at(command, "workdir"),
        argv=texts_at(command, "argv"),
        table=MappingProxyType(table),
    )


def script_arguments(argv: Sequence[str], script: str | None) -> Values:
    """Return the arguments in ``argv`` that follow ``script``; a launcher and its options may stand
    before it.

    ``accelerate launch --num_processes 1 train.py --seed 7`` gives ``{"seed": ("7",)}``.
    """
    name = (script or "").rpartition("/")[2]
    at = next((i for i, word in enumerate(argv) if name and word.rpartition("/")[2] == name), -1)
    return MappingProxyType(dict(arguments.from_words(argv[at + 1 :]).options))


def _parse_repo(table: Mapping[str, object], label: str) -> RecordedRepo:
    commit, branch, url = (text_at(table, key) for key in ("commit", "branch", "url"))
    label = text_at(table, "name") or label
    return RecordedRepo(
        label, commit, branch, url, texts_at(table, "dirty"), text_at(table, "version")
    )


def _listed_files(table: Mapping[str, object]) -> list[tuple[str, ListedFile]]:
    about = [(path, table_at(table, path)) for path in table]
    return [
        (path, ListedFile(text_at(file, "sha1") or "", number_at(file, "size") or 0))
        for path, file in about
    ]


def _parse_weights(found: object) -> Iterator[Weights]:
    for row in tables_of_list(found):
        role, name, *hashes = (text_at(row, key) for key in Weights._fields)
        yield Weights(role or "", name or "", *hashes)


class RecordedEnvironment(NamedTuple):
    """``environment.txt``: the trainer's Python and the machine."""

    about: Values
    """``Python``, ``Platform``, ``GPU``, ``Driver``; a value for each line."""
    packages: Mapping[str, str]
    """By name: ``2.6.0``, ``3.2.0 (editable)``, or ``@ <commit>``."""


def parse_environment(data: bytes) -> RecordedEnvironment:
    """Parse ``environment.txt``; other lines than its own are passed over."""
    head, _, body = data.decode("utf-8", "replace").partition("\n\n")
    about: dict[str, list[str]] = {}
    for line in head.splitlines():
        key, colon, value = line.partition(": ")
        if colon:
            about.setdefault(key, []).append(value)
    packages = {}
    for line in body.splitlines():
        match = re.fullmatch(r"(\S+?)(?:==| (?=@ ))(.+)", line)
        if match:
            packages[match[1]] = match[2]
    values = {key: tuple(each) for key, each in about.items()}
    return RecordedEnvironment(MappingProxyType(values), MappingProxyType(packages))


class RecordedOutcome(NamedTuple):
    """The outcome of a run, as its sealed tag has it. ``None`` stands for what the tag does not
    say."""

    exit_status: int | None
    """The trainer's, as a shell reports it."""
    started: datetime | None
    """UTC."""
    finished: datetime | None
    """UTC."""
    seconds: int | None
    """Duration, whole seconds."""
    models: tuple[ModelFile, ...]
    """Complete models, in the order in which they were saved, the final one last."""
    truncated: tuple[str, ...]
    """Models that are cut short. All paths are relative to the output folder."""
    unreadable: tuple[str, ...]
    states: tuple[str, ...]
    """Folders of training state."""
    state_weights: tuple[ModelFile, ...]
    """Whole files of weights in them."""
    samples: int
    """Number of sample images and videos."""
    other_files: int
    """Further files that a script of the user's own left."""
    final_loss: float | None
    """Infinite or not a number if the training diverged."""
    output: str | None
    """The output folder; the home folder is ``~``."""
    interrupted_by: str | None
    """Name of the signal, as in ``SIGINT``; ``crash`` where loragit was gone before the trainer."""
    recovered: datetime | None
    """When ``loragit recover`` sealed it, UTC."""
    subject: str
    """``3 models, 12 samples, 42 min``."""
    trailers: Values
    message: str
    """The tag's message, without a signature."""


def parse_outcome(message: str, run: str) -> RecordedOutcome:
    """Parse the message of a sealed tag. A value that cannot be parsed counts as missing."""
    plain = without_signature(message)
    found = parse_trailers(plain)
    return RecordedOutcome(
        exit_status=whole_number(_first_value(found, "Exit-Status")),
        started=_parse_time(_first_value(found, "Started")),
        finished=_parse_time(_first_value(found, "Finished")),
        seconds=whole_number(_first_value(found, "Duration")),
        models=parse_model_lines(found.get("Model", ())),
        truncated=found.get("Truncated", ()),
        unreadable=found.get("Unreadable", ()),
        states=found.get("State", ()),
        state_weights=parse_model_lines(found.get("State-Weights", ())),
        samples=whole_number(_first_value(found, "Samples")) or 0,
        other_files=whole_number(_first_value(found, "Other-Files")) or 0,
        final_loss=_any_number(_first_value(found, "Final-Loss")),
        output=_first_value(found, "Output"),
        interrupted_by=_first_value(found, "Interrupted-By"),
        recovered=_parse_time(_first_value(found, "Recovered")),
        subject=plain.partition("\n")[0].removeprefix(f"{run}: "),
        trailers=found,
        message=plain,
    )


class Revert(NamedTuple):
    """The commit that reverts a run because it made nothing."""

    commit: str
    """40 hex digits."""
    exit_status: int | None
    message: str

    @property
    def reason(self) -> str:
        """Why, in a sentence; empty if somebody reverted it by hand and gave no reason."""
        return next(
            (each for each in self.message.split("\n\n")[1:] if _is_prose(each)), ""
        ).replace("\n", " ")

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The last lines of the run's log, secrets redacted; empty if none are quoted."""
        lines = self.message.splitlines()
        return tuple(line[4:] for line in lines if line.startswith("    "))


def parse_revert(commit: str, message: str) -> Revert:
    """Parse the message of a revert."""
    return Revert(commit, whole_number(first(message, "Exit-Status")), message)


def _is_prose(paragraph: str) -> bool:
    """Whether a paragraph of a revert's message is the reason, not one of those that loragit writes
    around it."""
    begins = ("This reverts commit ", "The last lines of its log:", "    ")
    return not paragraph.startswith(begins) and not re.match(r"[A-Z][\w-]*: ", paragraph)


def parse_trailers(message: str) -> Values:
    """Return the trailers of a message that loragit wrote: the lines of its last paragraph.

    A line that begins with a blank continues the value above it::

        Run: noob-gren-v2s512
        Dataset: a name
          of two lines                       {"Run": (...), "Dataset": ("a name of two lines",)}

    ``git interpret-trailers`` reads the same, but starting it takes a hundredth of a second.
    """
    last = message.rstrip("\n").rpartition("\n\n")[2]
    found: dict[str, list[list[str]]] = {}
    # The value that the next line may continue; after a line that is no trailer, one of no key.
    pieces: list[str] = []
    for line in last.split("\n"):
        if line.startswith((" ", "\t")):
            pieces.append(line.strip())
            continue
        key, colon, value = line.partition(":")
        pieces = [value.strip()]
        if colon and _KEY.fullmatch(key):
            found.setdefault(key, []).append(pieces)
    return MappingProxyType({key: tuple(map(" ".join, values)) for key, values in found.items()})


_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


def _first_value(found: Values, key: str) -> str | None:
    """Return the first value of ``key``; ``None`` without one."""
    return found[key][0] if key in found else None


def whole_number(written: str | None) -> int | None:
    """Return ``written`` as a whole number of at most 18 digits, else ``None``."""
    return (
        int(written)
        if written and len(written) <= 18 and written.isascii() and written.isdigit()
        else None
    )


def finite_number(written: str | None) -> float | None:
    """Return ``written`` as a finite number, else ``None``."""
    value = _any_number(written)
    return value if value is not None and value - value == 0 else None


def _any_number(written: str | None) -> float | None:
    try:
        return float(written or "")
    except ValueError:
        return None


def _parse_time(written: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(written or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
