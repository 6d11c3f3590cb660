"""``verify``: recomputes what the record says, and reports where it is wrong. Writes nothing.

No cache is read: whether what it holds is still true is the question. The checks, in this order
(those with * only if no runs are named)::

      the branch       can git read the history to its end?             History.reread
    * the objects      git fsck, git replace                            objects
    * the branch       commits that do not belong there                 branch
    * its past         what reflogs and remotes show that it lost       past
      the tags         is every outcome on its own run?                 branch
      their past       tags that were replaced or deleted, exceptions   past_tags, past
    * the notes        lines that were removed                          past_tags
      products         models, samples and states on the disk           files
      records          message, run.toml and files with each other      records
      datasets         what changed since                               dataset
      signatures       of the tags                                      signatures

Each check uses what can be read, whatever an earlier one found: damage hides as little as possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.errors import LoragitError
from loragit.git import signing
from loragit.git.catfile import Reader
from loragit.history.history import History, RecordedRun
from loragit.history.record_parser import RecordedOutcome
from loragit.history.record_reader import NOTES, tag_message
from loragit.history.verify import branch, files, objects, past, past_tags, signatures
from loragit.history.verify.dataset import DatasetCheck
from loragit.history.verify.records import RecordCheck
from loragit.history.verify.verdict import BRANCH, NOTE, TAG, WRONG, Verdict, wrong
from loragit.record.name import RUNS

__all__ = ["NOTE", "WRONG", "Verdict", "VerifyOptions", "VerifyReport", "verify"]

_OPEN = ("running", "interrupted")


class VerifyOptions(NamedTuple):
    """What to verify."""

    names: tuple[str, ...]
    """Names of runs; empty for the repository and every run in it."""
    home: Path
    """What ``~`` in a record stands for."""
    quick: bool = False
    """Read no file whole, only check that it exists with the recorded length."""
    sign: bool | None = None
    """Whether tags should be signed; ``None`` if git's ``tag.gpgSign`` decides."""


class VerifyReport(NamedTuple):
    """What was checked, and what was found."""

    repository: Path
    runs: tuple[RecordedRun, ...]
    models: int
    """Models that were checked on the disk."""
    samples: int
    shallow: bool
    partial: bool
    """Whether objects may be missing by design."""
    verdicts: tuple[Verdict, ...]
    """First those of the repository, then those of each run, newest first."""

    def of(self, status: str) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.status == status]


def verify(history: History, options: VerifyOptions) -> VerifyReport:
    """Verify ``history``. Raises :class:`~loragit.history.NoSuchRun` for a name that no run has."""
    problem = history.reread()
    runs = _chosen_runs(history, options.names)
    partial = git.is_partial(history.repository.common_dir)
    found = list(_check_repository(history, options, problem))
    outcomes = dict(_readable_outcomes(runs, found))
    products = []
    for run, outcome in outcomes.items():
        listed, verdicts = files.products_to_check(run, outcome, options.home)
        products += listed
        found += verdicts
    found += files.check_products(products, quick=options.quick)
    found += _check_records(history, runs, options, partial=partial)
    found += _check_signatures(history, list(outcomes), options)
    return VerifyReport(
        repository=history.repository.top,
        runs=runs,
        models=sum(product.check == "model" for product in products),
        samples=sum(product.check == "sample" for product in products),
        shallow=history.shallow,
        partial=partial,
        verdicts=_in_order(found, runs),
    )


def _chosen_runs(history: History, names: Sequence[str]) -> tuple[RecordedRun, ...]:
    if not names:
        return history.runs
    chosen = {run.commit: run for name in names for run in history.find(name)}
    return tuple(chosen.values())


def _check_repository(
    history: History, options: VerifyOptions, problem: LoragitError | None
) -> Iterator[Verdict]:
    """Check the repository; if runs are named, only their tags."""
    if problem is not None:
        message = (
            "the history of runs cannot be read to its end: what can still be reached was checked"
        )
        yield wrong(BRANCH, message, "fetch what is missing from a clone that has it")
    known = branch.read_branch(history)
    if options.names:
        names = frozenset(run.name for run in _chosen_runs(history, options.names))
        yield from _check_tags(history, known, names, options)
        return
    tags = [
        f"refs/tags/{name}"
        for name in {run.name for run in history.runs} & history.refs.objects.keys()
    ]
    noted = (
        [NOTES]
        if git.call("show-ref", "--verify", "--quiet", NOTES, cwd=history.repository.top).status
        == 0
        else []
    )
    if history.refs.runs is not None:
        refs = [RUNS, *sorted(tags), *noted]
        yield from objects.check_objects(history.repository, refs, quick=options.quick)
        yield from objects.check_replaced(history.repository, refs)
    yield from branch.check_branch(history, known)
    if known.whole:
        yield from past.check_past(history, known)
    yield from _check_tags(history, known, None, options)
    yield from past_tags.check_notes(history)


def _check_tags(
    history: History,
    known: branch.BranchCommits,
    names: frozenset[str] | None,
    options: VerifyOptions,
) -> Iterator[Verdict]:
    """Check the tags of the runs ``names``, as they are and as they were; ``None`` for all."""
    if history.refs.runs is not None:
        yield from branch.check_tags(history, known, names)
    yield from past_tags.check_past_tags(history, names, quick=options.quick)
    yield from past.note_overrides(history, names)


def _readable_outcomes(
    runs: Sequence[RecordedRun], found: list[Verdict]
) -> Iterator[tuple[RecordedRun, RecordedOutcome]]:
    """Yield each sealed run with its outcome; append to ``found`` what cannot be read."""
    for run in runs:
        try:
            outcome = run.outcome
        except LoragitError as error:
            found.append(wrong(TAG, error.message, error.hint).about(run))
        else:
            if outcome is not None:
                yield run, outcome


def _check_records(
    history: History, runs: Sequence[RecordedRun], options: VerifyOptions, *, partial: bool
) -> Iterator[Verdict]:
    records = RecordCheck(
        objects.missing_objects(history.repository) if partial else frozenset(), quick=options.quick
    )
    present = DatasetCheck(history.repository.top, quick=options.quick)
    for run in runs:
        yield from records.check(run)
        if run.tag is not None or run.state in _OPEN:
            try:
                verdict = present.check(run)
            except LoragitError:  # an unreadable tree is reported with the record
                continue
            if verdict is not None:
                yield verdict


def _check_signatures(
    history: History, runs: list[RecordedRun], options: VerifyOptions
) -> list[Verdict]:
    messages = []
    readable = []
    with Reader(history.repository.top) as reader:
        for run in runs:
            found = reader.read(run.tag or "", branch.MOST)
            if found is not None and found.data is not None:
                readable.append(run)
                messages.append(tag_message(found.data))
    wanted = signing.wanted(options.sign, history.repository)
    return signatures.check_signatures(history.repository, readable, messages, wanted=wanted)


def _in_order(found: Sequence[Verdict], runs: Sequence[RecordedRun]) -> tuple[Verdict, ...]:
    """Return each verdict once, those of no run first."""
    places = {run.commit: number for number, run in enumerate(runs)}
    once = dict.fromkeys(found)
    return tuple(sorted(once, key=lambda verdict: places.get(verdict.commit or "", -1)))
