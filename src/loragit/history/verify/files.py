"""Compares what a run left on the disk with what its sealed tag lists. Hashes are computed anew: a
cache would only repeat what it was told."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.errors import shell_word
from loragit.history.history import RecordedRun
from loragit.history.record_parser import RecordedOutcome
from loragit.history.verify.verdict import (
    MODEL,
    OUTPUT,
    SAMPLE,
    STATE,
    Since,
    Verdict,
    note,
    utc_timestamp,
    wrong,
)
from loragit.record.message import parse_model_line
from loragit.trainers.safetensors import NotSafetensors, hash_file, open_regular, read_header


class RecordedFile(NamedTuple):
    """A model or a sample image that a run left."""

    run: RecordedRun
    check: str
    """:data:`~loragit.history.verify.verdict.MODEL`, ``STATE`` or ``SAMPLE``."""
    name: str
    """As recorded, relative to the output folder."""
    path: Path
    size: int | None
    """Bytes; ``None`` if the record does not say."""
    sha256: str
    payload_sha256: str | None
    finished: str | None
    """When the training ended: then it was as recorded. UTC."""


def products_to_check(
    run: RecordedRun, outcome: RecordedOutcome, home: Path
) -> tuple[list[RecordedFile], list[Verdict]]:
    """Return the products of ``run`` to check, and what is wrong even before that. ``home`` is what
    ``~`` stands for."""
    verdicts = [each.about(run) for each in _check_lines(outcome)]
    if not (outcome.models or outcome.trailers.get("Sample") or outcome.states):
        return [], verdicts
    folder = _output_folder(outcome, home)
    if folder is None:
        return [], [*verdicts, note(OUTPUT, "its output folder is not on record").about(run)]
    problem = _folder_problem(folder)
    if problem:
        several = text.count(len(outcome.models), "model")
        verdicts.append(
            problem._replace(
                message=f"{problem.message}: {several} not looked at", path=str(folder)
            ).about(run)
        )
        return [], verdicts
    finished = text.timestamp(outcome.finished) if outcome.finished else None
    found = []
    for check, name, size, sha256, payload in _listed_products(outcome):
        path = _path_inside(folder, name)
        if check == STATE and path is not None and not path.parent.is_dir():
            continue  # the state is gone as a whole
        if path is None:
            message = (
                f"{name} is listed, and lies outside of the output folder: it was not looked at"
            )
            verdicts.append(
                wrong(check, message, f"see: git show -s {shell_word(run.name)}").about(run)
            )
        else:
            found.append(RecordedFile(run, check, name, path, size, sha256, payload, finished))
    verdicts += [each.about(run) for each in _check_states(outcome, folder)]
    return found, verdicts


def _listed_products(
    outcome: RecordedOutcome,
) -> Iterator[tuple[str, str, int | None, str, str | None]]:
    for check, files in ((MODEL, outcome.models), (STATE, outcome.state_weights)):
        for file in files:
            yield check, file.path, file.size, file.sha256, file.payload_sha256
    for value in outcome.trailers.get("Sample", ()):
        name, _, sha256 = value.rpartition(" sha256:")
        if name:
            yield SAMPLE, name, None, sha256, None


def _check_lines(outcome: RecordedOutcome) -> Iterator[Verdict]:
    """Yield the lines of the outcome that cannot be parsed."""
    files = (line for key in ("Model", "State-Weights") for line in outcome.trailers.get(key, ()))
    broken = [line for line in files if parse_model_line(line) is None]
    broken += [line for line in outcome.trailers.get("Sample", ()) if " sha256:" not in line]
    for line in broken:
        yield wrong(
            MODEL, f"its outcome has a line that cannot be read: {line[:200]}", "the tag was edited"
        )


def _output_folder(outcome: RecordedOutcome, home: Path) -> Path | None:
    written = outcome.output or ""
    path = home / written[2:] if written.startswith("~/") else Path(written)
    return path if path.is_absolute() and "\0" not in written else None


def _folder_problem(folder: Path) -> Verdict | None:
    """Return why nothing in the folder can be checked; ``None`` if it can be read.

    A folder that is gone may have been moved, deleted or not mounted, which is only a note.
    """
    try:
        with os.scandir(folder):
            return None
    except (FileNotFoundError, NotADirectoryError):
        return note(OUTPUT, f"its output folder {folder} is gone")
    except OSError as error:
        hint = "see that it is mounted, and that you may read it"
        return wrong(
            OUTPUT, f"its output folder {folder} cannot be read ({error.strerror or error})", hint
        )


def _path_inside(folder: Path, name: str) -> Path | None:
    """Return the file that the record calls ``name``; ``None`` if it would lie outside ``folder``.

    ``../x``, ``/x`` and a name with NUL are outside.
    """
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or "\0" in name or not parts:
        return None
    path = folder / name
    if "\\x" in name and not os.path.lexists(path):
        # The record shows control characters as ``\\x1b``; the name of the file has them.
        with suppress(OSError):
            path = next(
                (each for each in path.parent.iterdir() if text.shown(each.name) == path.name), path
            )
    return path


def _check_states(outcome: RecordedOutcome, folder: Path) -> Iterator[Verdict]:
    for name in outcome.states:
        path = _path_inside(folder, name)
        if path is not None and not path.is_dir():
            yield note(STATE, f"the training state {name} is gone")._replace(path=str(path))


def check_products(found: Sequence[RecordedFile], *, quick: bool) -> Iterator[Verdict]:
    """Yield a verdict for each of ``found`` that is not as recorded; several are read in parallel.

    With ``quick`` none is read whole: each must only exist, with the recorded length.
    """
    check: Callable[[RecordedFile], Verdict | None] = _check_size if quick else _check_hash
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for product, verdict in zip(found, pool.map(check, found), strict=True):
            if verdict is not None:
                yield verdict.about(product.run)._replace(path=str(product.path))


def _check_size(product: RecordedFile) -> Verdict | None:
    try:
        state = product.path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise OSError(f"{product.path.name} is not a regular file")
        if product.size in (None, state.st_size):
            return None
        return _if_truncated(product, state) or _was_changed(
            product, state, f"{state.st_size} bytes instead of {product.size}"
        )
    except OSError as error:
        return _not_readable(product, error)


def _check_hash(product: RecordedFile) -> Verdict | None:
    try:
        if product.check == SAMPLE:
            with open_regular(product.path) as file:
                sha256, payload = file_digest(file, "sha256").hexdigest(), None
        else:
            hashes = hash_file(product.path)
            sha256, payload = hashes.sha256, hashes.payload_sha256
        if sha256 == product.sha256:
            return None
        state = product.path.stat()
        if payload is not None and payload == product.payload_sha256:
            return _wrong_since_change(
                product, state, "its header was edited; its weights are those on record"
            )
        return _if_truncated(product, state) or _was_changed(
            product, state, f"sha256 {sha256[:12]} instead of {product.sha256[:12]}"
        )
    except OSError as error:
        return _not_readable(product, error)


def _if_truncated(product: RecordedFile, state: os.stat_result) -> Verdict | None:
    """Return a verdict if a model is shorter than its own header says. Raises ``OSError``."""
    if product.path.suffix.lower() != ".safetensors":
        return None
    try:
        header = read_header(product.path)
    except NotSafetensors as error:
        return _wrong_since_change(
            product, state, f"it is damaged ({error.message.partition(': ')[2]})"
        )
    promised = 8 + header.header_length + header.data_length
    if state.st_size >= promised:
        return None
    return _wrong_since_change(
        product, state, f"it is truncated: {state.st_size} bytes of {promised}"
    )


def _was_changed(product: RecordedFile, state: os.stat_result, how: str) -> Verdict:
    return _wrong_since_change(product, state, f"it was changed: {how}")


def _wrong_since_change(product: RecordedFile, state: os.stat_result, what: str) -> Verdict:
    """Return that ``what`` happened to the product, and since when.

    It was as recorded when the training ended, and is not since the file was last modified. That
    time can be set to anything; if it makes no sense, the last change of the inode counts, which
    nobody can set::

        finished 18:02   modified 19:30   inode changed 21:00     between 18:02 and 19:30
        finished 18:02   modified 09:00   inode changed 21:00     between 18:02 and 21:00
    """
    changed, modified = utc_timestamp(state.st_ctime), utc_timestamp(state.st_mtime)
    within = product.finished is None or product.finished <= modified <= changed
    latest = modified if within else changed
    return _with_since(product, wrong(product.check, f"{product.name}: {what}", _FIX), latest)


def _with_since(product: RecordedFile, verdict: Verdict, latest: str | None) -> Verdict:
    since = Since(product.finished, latest)
    message = f"{verdict.message} ({since})" if str(since) else verdict.message
    return verdict._replace(message=message, since=since)


_FIX = "look for another copy; loragit whence says which run a file is from"


def _not_readable(product: RecordedFile, error: OSError) -> Verdict:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        message = f"{product.name}: it cannot be read ({error.strerror or error})"
        return wrong(product.check, message, "see that it is a file, and that you may read it")
    try:
        # Removing a file modifies its folder.
        latest = utc_timestamp(product.path.parent.stat().st_mtime)
    except OSError:
        latest = None
    return _with_since(product, wrong(product.check, f"{product.name}: it is gone", _FIX), latest)
