"""The products of a training: models, states and samples, found by the trainer's naming rules,
checked and hashed.

Files decide, not the exit status: a trainer may exit with 0 without a product, or non-zero after a
good checkpoint. Nothing here writes. A file that vanishes, is damaged or may not be read does not
keep the rest from being found.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

from loragit.record.values import DatasetFile, ModelFile, Outcome
from loragit.system import durable
from loragit.trainers import losses, products
from loragit.trainers.losses import LogFolders, LossSource
from loragit.trainers.products import Naming
from loragit.trainers.safetensors import (
    Hashes,
    Header,
    NotSafetensors,
    hash_file,
    open_regular,
    read_header,
)
from loragit.trainers.trainer import SavedAt, Trainer


class Logs(NamedTuple):
    """The trainer's TensorBoard log folder, and what was in it before the trainer ran."""

    where: LogFolders
    before: frozenset[str]
    """Result of :func:`loragit.trainers.losses.log_folders` before the training."""


def collect(
    output: Path,
    output_name: str | None,
    trainer: Trainer,
    *,
    exit_status: int | None,
    started: datetime,
    finished: datetime,
    shown_output: str,
    logs: Logs | None,
    log: Path,
    ours: Container[str] | None = None,
) -> Outcome:
    """Find, check and hash what the training called ``output_name`` left in ``output``; where that
    is ``None``, what any trainer may have left there.

    ``shown_output`` is the output folder as the record writes it, ``log`` the trainer's output; its
    progress bar tells the loss where no file does. ``ours``: what loragit put into the folder,
    ``None`` if nobody knows.
    Models of a known name are searched for only where the trainer writes them, since state folders
    hold a ``model.safetensors`` of their own. A symbolic link counts as its target. ``truncated``
    lists every model that is cut short or damaged, ``unreadable`` every model that could not be
    examined. If the output folder is missing or cannot be listed, the outcome has no products.
    """
    left = _named(output, output_name, trainer.naming) if output_name else None
    if left is None:
        left = _any(output, trainer.naming, ours)
    loss = logged_loss(output, logs, trainer.losses)
    if loss is None and output_name is None:
        loss = losses.final_loss(losses.loss_files(output, trainer.losses), trainer.losses)
    return Outcome(
        exit_status=exit_status,
        started=started,
        finished=finished,
        output=shown_output,
        **checked_models(output, left.models, trainer)._asdict(),
        states=left.states,
        state_weights=state_weights(output, left.states, trainer),
        samples=len(left.samples),
        sample_files=hashed_files(output, left.samples),
        others=left.others,
        final_loss=losses.bar_loss(log, trainer.losses) if loss is None else loss,
    )


class _Left(NamedTuple):
    """What a training left, by its names alone."""

    models: Mapping[str, re.Match[str] | None]
    """As :func:`checked_models` takes them."""
    states: tuple[str, ...]
    samples: tuple[str, ...]
    others: int | None
    """As in :class:`Outcome`."""


def _named(output: Path, output_name: str, naming: Naming) -> _Left:
    return _Left(
        {
            each.path: products.match_product(naming.model, each.path, output_name)
            for each in products.find_products(output, naming.model, output_name)
        },
        states(output, output_name, naming),
        sample_paths(output, output_name, naming),
        None,
    )


def _any(output: Path, naming: Naming, ours: Container[str] | None) -> _Left:
    found = products.find_any_products(output, naming, ours or ())
    saved = sorted(
        (_SavePoint.of_name(products.saved_when(path)).order, path) for path in found.states
    )
    return _Left(
        {path: products.saved_when(path) for path in found.models},
        tuple(path for _, path in saved),
        found.samples,
        None if ours is None else len(found.others),
    )


def sync_products(output: Path, found: Outcome, *further: str) -> str | None:
    """Wait until the models, states and samples of ``found`` and the files ``further`` are on the
    disk.

    All names are relative to ``output``. Trainers do not wait for the disk, and the record must not
    outlive the products that it names. Return a warning if that failed, else ``None``.
    """
    names = (
        *(model.path for model in found.models),
        *(sample.path for sample in found.sample_files),
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
    """How to read the header and the hashes of a model file."""

    header: Callable[[Path], Header]
    hashes: Callable[[Path], Hashes]


class CheckedModels(NamedTuple):
    """Files named like models, each kind in order of saving with the final one last; field names as
    in :class:`Outcome`."""

    models: tuple[ModelFile, ...]
    truncated: tuple[str, ...]
    unreadable: tuple[str, ...]
    session: str | None


def checked_models(
    folder: Path,
    named: Mapping[str, re.Match[str] | None],
    trainer: Trainer,
    reading: ModelReader | None = None,
) -> CheckedModels:
    """Check and hash the files of ``folder`` listed in ``named``, each with the match of its name
    that tells when it was saved."""
    candidates = [_Candidate(name, _SavePoint.of_name(match)) for name, match in named.items()]
    found = _checked_together(folder, candidates, trainer, reading)
    return CheckedModels(
        models=tuple(model.artifact for model in found if model.artifact is not None),
        truncated=tuple(
            model.name for model in found if model.artifact is None and not model.unreadable
        ),
        unreadable=tuple(model.name for model in found if model.unreadable),
        session=next((model.session for model in reversed(found) if model.session), None),
    )


class _SavePoint(NamedTuple):
    """When in a training something was saved, as far as known. Sorts in order of saving, the final
    one last."""

    step: int | None
    epoch: int | None
    """Counted from 1: the epoch that was running (for a step file) or was complete (for an epoch
    file or the final one)."""
    final: bool
    part: bool = False
    """Whether it is a part of a model, saved beside it; it sorts before that."""

    @classmethod
    def of_name(cls, match: re.Match[str] | None) -> _SavePoint:
        """Parse a file name's match. ``match`` is ``None`` for a renamed file, which is taken for
        the final model."""
        if match is None:
            return cls(None, None, final=True)
        step, epoch = products.number(match, "step"), products.number(match, "epoch")
        part = match.groupdict().get("part") is not None
        return cls(step, epoch, final=step is None and epoch is None, part=part)

    def refined(self, header: Header, trainer: Trainer) -> _SavePoint:
        """Return the save point with the details that the header adds."""
        known = trainer.saved_at(header.metadata, SavedAt(self.step, self.epoch))
        return self._replace(step=known.step, epoch=known.epoch)

    @property
    def order(self) -> tuple[bool, int, int, bool]:
        return (self.final, self.step or 0, self.epoch or 0, not self.part)


class _Candidate(NamedTuple):
    """A file named like a model. Sorts in order of saving."""

    name: str
    place: _SavePoint
    artifact: ModelFile | None = None
    """``None`` unless the file was shown to be whole."""
    unreadable: bool = False
    session: str | None = None
    """As in :class:`Outcome`."""

    @property
    def order(self) -> tuple[tuple[bool, int, int, bool], str]:
        return (self.place.order, self.name)


def _checked_together(
    folder: Path, candidates: Sequence[_Candidate], trainer: Trainer, reading: ModelReader | None
) -> list[_Candidate]:
    """Return the candidates that are files, checked, in order of saving; several are read in
    parallel."""
    reading = reading or ModelReader(read_header, hash_file)
    if len(candidates) < 2:
        found = [_checked(folder, candidate, trainer, reading) for candidate in candidates]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(candidates), os.cpu_count() or 1)) as pool:
            found = list(
                pool.map(
                    lambda candidate: _checked(folder, candidate, trainer, reading), candidates
                )
            )
    return sorted((each for each in found if each is not None), key=lambda each: each.order)


def _checked(
    output: Path, candidate: _Candidate, trainer: Trainer, reading: ModelReader
) -> _Candidate | None:
    """Return the candidate, with its artifact if it is whole; ``None`` if it is not a file or has
    vanished."""
    path = output / candidate.name
    place = candidate.place
    session = None
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        if path.suffix == ".safetensors":
            header = reading.header(path)
            whole, place = header.whole, place.refined(header, trainer)
            training = trainer.training_header(header.metadata)
            session = training.identity if training else None
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
        ModelFile(
            path=candidate.name,
            size=hashes.size,
            sha256=hashes.sha256,
            payload_sha256=hashes.payload_sha256,
            step=place.step,
            epoch=place.epoch,
        ),
        session=session,
    )


def _whole_pickle(path: Path) -> bool:
    """Whether a ``.ckpt`` or ``.pt`` is whole, as far as can be determined without executing its
    contents.

    Since version 1.6 torch writes a zip archive, whose directory comes last: a save that was cut
    short lacks it. The older format has no length and no end mark after its tensors, so any such
    file that is not empty passes.
    """
    with open_regular(path) as file:
        beginning = file.read(2)
        if beginning != b"PK":
            return bool(beginning)
        from zipfile import is_zipfile

        return is_zipfile(file)


def states(output: Path, output_name: str | None, naming: Naming) -> tuple[str, ...]:
    """Return the paths of state folders in order of saving. An empty one is a save that was cut
    short and does not count."""
    found = [
        _Candidate(
            each.path,
            _SavePoint.of_name(products.match_product(naming.state, each.path, output_name)),
        )
        for each in products.find_products(output, naming.state, output_name)
        if _holds_something(each.entry)
    ]
    return tuple(state.name for state in sorted(found, key=lambda state: state.order))


def state_weights(
    output: Path, folders: Sequence[str], trainer: Trainer, reading: ModelReader | None = None
) -> tuple[ModelFile, ...]:
    """Return the whole files of weights in the state folders ``folders``, hashed: they lead back to
    the run wherever they are copied, and have no header that does."""
    pattern = trainer.naming.state_weights
    whens = {
        folder: products.match_product(trainer.naming.state, folder, None)
        or products.saved_when(folder)
        for folder in folders
    }
    candidates = [
        _Candidate(f"{folder}/{entry.name}", _SavePoint.of_name(when))
        for folder, when in whens.items()
        for entry in products.entries(output / folder)
        if pattern is not None and pattern.fullmatch(entry.name)
    ]
    checked = _checked_together(output, candidates, trainer, reading)
    return tuple(each.artifact for each in checked if each.artifact is not None)


def sample_paths(output: Path, output_name: str | None, naming: Naming) -> tuple[str, ...]:
    """Return the paths of the sample images, sorted."""
    found = products.find_products(output, naming.sample, output_name)
    return tuple(sorted(each.path for each in found if stat.S_ISREG(_mode(each.entry))))


def hashed_files(folder: Path, paths: Iterable[str]) -> tuple[DatasetFile, ...]:
    """Return the sha256 of each file of ``folder``; files that cannot be read are left out."""
    from concurrent.futures import ThreadPoolExecutor

    def file(path: str) -> DatasetFile | None:
        try:
            with open_regular(folder / path) as opened:
                return DatasetFile(path, file_digest(opened, "sha256").hexdigest())
        except OSError:
            return None

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return tuple(found for found in pool.map(file, paths) if found is not None)


def logged_loss(output: Path, logs: Logs | None, source: LossSource) -> float | None:
    """Return the last loss in the new log folders, or in the files of the output folder."""
    if source.folder is None:
        return losses.final_loss(losses.loss_files(output, source), source)
    if logs is None:
        return None
    folders = sorted(losses.log_folders(logs.where, source) - logs.before)
    paths = (
        path for name in folders for path in losses.loss_files(logs.where.folder / name, source)
    )
    return losses.final_loss(paths, source)


def _mode(entry: os.DirEntry[str] | Path) -> int:
    """Return the file type and permissions of ``entry``'s target; 0 if unknown."""
    try:
        return entry.stat().st_mode
    except OSError:
        return 0


def _holds_something(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder that is not empty."""
    return stat.S_ISDIR(_mode(entry)) and products.holds_something(Path(entry.path))
