"""``loragit verify [NAME…]``: recomputes what the record says, and reports where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from loragit import console
from loragit.history.history import History
from loragit.history.verify.verify import NOTE, WRONG, Report, Verdict, VerifyOptions, verify
from loragit.text import count

_SHOWN = 5
"""Notes of one kind that are shown at most; the rest are counted."""


def verify_and_print(
    folder: Path, options: VerifyOptions, *, verbose: bool = False, as_json: bool = False
) -> int:
    """Verify the repository that ``folder`` lies in. Return 1 if anything is wrong, else 0.

    ``verbose`` also lists every run that is as recorded. Raises
    :class:`~loragit.git.NotARepository`, :class:`~loragit.history.NoSuchRun`.
    """
    history = History.of(folder)
    try:
        report = verify(history, options)
    finally:
        history.close()
    if as_json:
        import json

        console.write(json.dumps(_report_as_json(report, options), indent=2) + "\n")
    else:
        for row in _lines(report, verbose=verbose):
            console.out(row)
    return 1 if report.of(WRONG) else 0


def _lines(report: Report, *, verbose: bool) -> Iterator[str]:
    """Yield a line for each verdict, and at the end one that sums up."""
    shown: dict[str, int] = {}
    left: dict[str, int] = {}
    for verdict in report.verdicts:
        shown[verdict.check] = shown.get(verdict.check, 0) + (verdict.status == NOTE)
        if verdict.status == NOTE and shown[verdict.check] > _SHOWN and not verbose:
            left[verdict.check] = left.get(verdict.check, 0) + 1
            continue
        about = f"{verdict.run}: " if verdict.run else ""
        yield f"{verdict.status:5}  {about}{verdict.message}"
        if verdict.fix:
            yield f"       {verdict.fix}"
    if verbose:
        touched = {verdict.commit for verdict in report.verdicts}
        yield from (
            f"ok     {run.name} ({run.commit[:8]}), {run.state}"
            for run in report.runs
            if run.commit not in touched
        )
    for check, number in left.items():
        yield (
            f"note   {count(number, 'more note')} on the {check} of other runs (--verbose "
            "shows all)"
        )
    yield _summary(report)


def _summary(report: Report) -> str:
    if not (report.runs or report.verdicts):
        return f"no run on record in {report.repository}"
    wrong, notes = len(report.of(WRONG)), len(report.of(NOTE))
    result = f"{wrong} wrong" if wrong else "all as recorded"
    more = f", {count(notes, 'note')}" if notes else ""
    return f"{count(len(report.runs), 'run')}, {count(report.models, 'model')}: {result}{more}"


def _report_as_json(report: Report, options: VerifyOptions) -> dict[str, object]:
    """Return the report as docs/json.md describes it."""
    return {
        "repository": str(report.repository),
        "quick": options.quick,
        "shallow": report.shallow,
        "partial": report.partial,
        "model_count": report.models,
        "sample_count": report.samples,
        "wrong_count": len(report.of(WRONG)),
        "note_count": len(report.of(NOTE)),
        "runs": [
            {
                "run": run.name,
                "commit": run.commit,
                "state": run.state,
                "status": _worst_status(run.commit, report.verdicts),
            }
            for run in report.runs
        ],
        "findings": [_verdict_as_json(verdict) for verdict in report.verdicts],
    }


def _worst_status(commit: str, verdicts: Sequence[Verdict]) -> str:
    found = {verdict.status for verdict in verdicts if verdict.commit == commit}
    return WRONG if WRONG in found else NOTE if found else "ok"


def _verdict_as_json(verdict: Verdict) -> dict[str, object]:
    return {**verdict._asdict(), "since": verdict.since._asdict() if verdict.since else None}
