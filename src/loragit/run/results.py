"""What a training left: models, states and samples, found by the trainer's naming rules, checked
and hashed.

Files decide, not the exit status: a trainer exits 0 without a product and non-zero after a good
checkpoint. Nothing here writes, and no file that vanishes, is damaged or may not be read stops the
rest from being found.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

from loragit.record.values import Artifact, DatasetFile, Outcome
from loragit.system import durable
from loragit.trainers.safetensors import (
    Hashes,
    Header,
    NotSafetensors,
    hash_file,
    open_regular,
    read_header,
)
from loragit.trainers.tensorboard import final_loss
from loragit.trainers.trainer import Naming, matched

SESSION = re.compile(r"[0-9]{1,20} [0-9]{1,20}(?:\.[0-9]{1,20})?")
"""A random number and seconds since 1970, as sd-scripts' ``ss_session_id`` and
``ss_training_started_at``."""


class Logs(NamedTuple):
    """Where the trainer logs for TensorBoard, and what lay there before it ran."""

    folder: Path
    prefix: str
    before: frozenset[str]
    """What :func:`log_folders` returned before the training."""


def log_folders(logging_dir: Path, prefix: str, naming: Naming) -> frozenset[str]:
    """Names of the log folders with that prefix in ``logging_dir``; empty where there is no such
    folder."""
    return frozenset(
        entry.name
        for entry in _entries(logging_dir)
        if matched(naming.log, entry.name, prefix) and stat.S_ISDIR(_mode(entry))
    )


def collect(
    output: Path,
    output_name: str | None,
    naming: Naming,
    *,
    exit_status: int | None,
    started: datetime,
    finished: datetime,
    shown_output: str,
    logs: Logs | None,
) -> Outcome:
    """Find, check and hash what the training called ``output_name`` (any, where that is ``None``)
    left in ``output``.

    ``shown_output`` is how the record writes the output folder. Models are looked for in ``output``
    itself only, since state folders hold a ``model.safetensors`` of their own. A symbolic link
    counts as what it points at. ``truncated`` lists every model that is cut short or damaged,
    ``unreadable`` those that could not be looked into. An output folder that is missing or cannot
    be listed gives an outcome without products.
    """
    named = {
        e.name: output_name for e in _entries(output) if matched(naming.model, e.name, output_name)
    }
    return Outcome(
        exit_status=exit_status,
        started=started,
        finished=finished,
        output=shown_output,
        **checked_models(output, named, naming)._asdict(),
        states=states(output, output_name, naming),
        samples=len(pictures := sample_names(output, output_name, naming)),
        pictures=hashed_files(output / naming.sample_dir, naming.sample_dir, pictures),
        final_loss=None if logs is None else logged_loss(logs, naming),
    )


def sync_products(output: Path, found: Outcome, *further: str) -> str | None:
    """Wait until the models, states and samples of ``found``, and the files ``further``, are on the
    disk.

    All names are relative to ``output``. Trainers do not wait, and the record must not outlive what
    it tells of. Returns what to say where that failed.
    """
    names = (
        *(model.path for model in found.models),
        *(picture.path for picture in found.pictures),
        *further,
    )
    paths = [output / name for name in names]
    for state in found.states:
        for folder, _, files in os.walk(output / state):
            paths += [Path(folder), *(Path(folder, file) for file in files)]
    try:
        durable.sync_all((*paths, *(path.parent for path in paths), output, output.parent))
    except OSError as error:
        return (
            f"{error.filename} may not outlast a power cut: the disk did not take it "
            f"({error.strerror})"
        )
    return None


class ModelReader(NamedTuple):
    """How a model's file is looked into."""

    header: Callable[[Path], Header]
    hashes: Callable[[Path], Hashes]


class CheckedModels(NamedTuple):
    """Files named like models, each kind in order of saving, the final one last; named as in
    :class:`Outcome`."""

    models: tuple[Artifact, ...]
    truncated: tuple[str, ...]
    unreadable: tuple[str, ...]
    session: str | None


def checked_models(
    folder: Path,
    named: Mapping[str, str | None],
    naming: Naming,
    reading: ModelReader | None = None,
) -> CheckedModels:
    """Check and hash the files of ``folder`` that ``named`` holds, with the output name of each."""
    found = _models(folder, named, naming, reading or ModelReader(read_header, hash_file))
    return CheckedModels(
        models=tuple(model.artifact for model in found if model.artifact is not None),
        truncated=tuple(
            model.name for model in found if model.artifact is None and not model.unreadable
        ),
        unreadable=tuple(model.name for model in found if model.unreadable),
        session=next((model.session for model in reversed(found) if model.session), None),
    )


class _SavePoint(NamedTuple):
    """Where in a training something was saved, as far as is known. Sorts in order of saving, the
    final one last."""

    step: int | None
    epoch: int | None
    """Counted from 1: the epoch that was running (a step file) or that was complete (an epoch file,
    the final one)."""
    final: bool

    @classmethod
    def of_name(cls, match: re.Match[str] | None) -> _SavePoint:
        """``match`` is ``None`` for a file that was renamed, and is taken for the final model."""
        if match is None:
            return cls(None, None, final=True)
        step, epoch = _number(match["step"]), _number(match["epoch"])
        return cls(step, epoch, final=step is None and epoch is None)

    def refined(self, header: Header) -> _SavePoint:
        """With what the header tells; it knows the step of an epoch file, and a name says only one
        of the two."""
        step = _number(header.metadata.get("ss_steps"))
        epoch = _number(header.metadata.get("ss_epoch"))
        # sd-scripts writes the index of the running epoch into step files, the number of complete
        # ones into others.
        if epoch is not None and self.step is not None:
            epoch += 1
        return _SavePoint(
            self.step if step is None else step,
            self.epoch if epoch is None else epoch,
            final=self.final,
        )

    @property
    def order(self) -> tuple[bool, int, int]:
        return (self.final, self.step or 0, self.epoch or 0)


class _Candidate(NamedTuple):
    """A file named like a model. Sorts in order of saving."""

    name: str
    place: _SavePoint
    artifact: Artifact | None = None
    """``None`` where it was not shown to be whole."""
    unreadable: bool = False
    session: str | None = None
    """As in :class:`Outcome`."""

    @property
    def order(self) -> tuple[tuple[bool, int, int], str]:
        return (self.place.order, self.name)


def _models(
    folder: Path, named: Mapping[str, str | None], naming: Naming, reading: ModelReader
) -> list[_Candidate]:
    """Every file of ``named``, judged; several at the same time."""
    candidates = [
        _Candidate(name, _SavePoint.of_name(matched(naming.model, name, output_name)))
        for name, output_name in named.items()
    ]
    if len(candidates) < 2:
        found = [_checked(folder, candidate, reading) for candidate in candidates]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(candidates), os.cpu_count() or 1)) as pool:
            found = list(
                pool.map(lambda candidate: _checked(folder, candidate, reading), candidates)
            )
    return sorted((each for each in found if each is not None), key=lambda each: each.order)


def _checked(output: Path, candidate: _Candidate, reading: ModelReader) -> _Candidate | None:
    """The candidate, with its artifact if it is whole; ``None`` if it is no file, or has vanished
    since."""
    path = output / candidate.name
    place = candidate.place
    session = None
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        if path.suffix == ".safetensors":
            header = reading.header(path)
            whole, place = header.whole, place.refined(header)
            session = _session(header)
        else:
            whole = _whole_pickle(path)
        if not whole:
            return _Candidate(candidate.name, place)
        hashes = reading.hashes(path)
    except FileNotFoundError:
        return None
    except NotSafetensors:
        return candidate
    except OSError:
        return candidate._replace(unreadable=True)
    return _Candidate(
        candidate.name,
        place,
        Artifact(
            path=candidate.name,
            size=hashes.size,
            sha256=hashes.sha256,
            payload_sha256=hashes.payload_sha256,
            step=place.step,
            epoch=place.epoch,
        ),
        session=session,
    )


def _session(header: Header) -> str | None:
    """What tells a training from every other one, where the header has it in the form that
    sd-scripts writes."""
    told = f"{header.metadata.get('ss_session_id')} {header.metadata.get('ss_training_started_at')}"
    return told if SESSION.fullmatch(told) else None


def _whole_pickle(path: Path) -> bool:
    """Whether a ``.ckpt`` or ``.pt`` is whole, as far as can be told without running what it holds.

    Since version 1.6 torch writes a zip archive, whose directory comes last: a save that was cut
    short lacks it. The older format has no length and no end mark after its tensors; of it, every
    file that is not empty passes.
    """
    with open_regular(path) as file:
        beginning = file.read(2)
        if beginning != b"PK":
            return bool(beginning)
        from zipfile import is_zipfile

        return is_zipfile(file)


def states(output: Path, output_name: str | None, naming: Naming) -> tuple[str, ...]:
    """Names of state folders in order of saving. An empty one is a save that was cut short, and
    does not count."""
    found = [
        _Candidate(entry.name, _SavePoint.of_name(match))
        for entry in _entries(output)
        if (match := matched(naming.state, entry.name, output_name)) and _holds_something(entry)
    ]
    return tuple(state.name for state in sorted(found, key=lambda state: state.order))


def sample_names(output: Path, output_name: str | None, naming: Naming) -> tuple[str, ...]:
    """Names of the sample images, sorted."""
    entries = _entries(output / naming.sample_dir)
    return tuple(
        sorted(
            e.name
            for e in entries
            if _is_sample(e.name, output_name, naming) and stat.S_ISREG(_mode(e))
        )
    )


def _is_sample(file_name: str, output_name: str | None, naming: Naming) -> bool:
    if matched(naming.sample, file_name, output_name):
        return True
    # A training without an output name writes nothing before the epoch or the step.
    return output_name is None and naming.sample.fullmatch(f"_{file_name}") is not None


def hashed_files(folder: Path, place: str, names: Iterable[str]) -> tuple[DatasetFile, ...]:
    """sha256 of each file of ``folder``, which the record calls ``place``; those that cannot be
    read are left out."""
    from concurrent.futures import ThreadPoolExecutor

    def file(name: str) -> DatasetFile | None:
        try:
            with open_regular(folder / name) as opened:
                return DatasetFile(f"{place}/{name}", file_digest(opened, "sha256").hexdigest())
        except OSError:
            return None

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return tuple(found for found in pool.map(file, names) if found is not None)


def logged_loss(logs: Logs, naming: Naming) -> float | None:
    """What :func:`~loragit.trainers.tensorboard.final_loss` says of the log folders that are
    new."""
    return final_loss(_event_files(logs, naming))


def _event_files(logs: Logs, naming: Naming) -> list[Path]:
    """The event files of the log folders that are new, in order of folder and name; links are not
    followed."""
    found = []
    for name in sorted(log_folders(logs.folder, logs.prefix, naming) - logs.before):
        for root, folders, files in os.walk(logs.folder / name):
            folders.sort()
            found += [
                Path(root, file)
                for file in sorted(files)
                if file.startswith("events.out.tfevents.")
            ]
    # A pipe of that name would be waited on for ever.
    return [path for path in found if stat.S_ISREG(_mode(path))]


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Entries of ``folder``; none where it is missing or cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return


def _mode(entry: os.DirEntry[str] | Path) -> int:
    """File type and permissions of what ``entry`` leads to; 0 where that cannot be told."""
    try:
        return entry.stat().st_mode
    except OSError:
        return 0


def _holds_something(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder that is not empty; one that may not be listed gets the benefit of
    the doubt."""
    if not stat.S_ISDIR(_mode(entry)):
        return False
    try:
        with os.scandir(entry.path) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _number(text: str | None) -> int | None:
    """A header is free-form text, so what is no plain number of a plausible size is no number."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None
