"""The message and the ``run.toml`` of an imported run.

They have the form of those of a run that loragit trained (:mod:`loragit.record.message`,
:mod:`loragit.record.run_toml`), leave out what nobody knows, and say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from loragit import text
from loragit.record import trailers
from loragit.record.message import subject_line, weights_line
from loragit.record.run_toml import (
    arguments_table,
    encodable,
    files_table,
    to_toml,
    weights_table,
    without_unknown,
)
from loragit.record.values import FORMAT, Entry, Imported, ImportedCode


def imported_subject(run: Imported) -> str:
    """Return ``noob-gren-v2s512: noob on gren, version 2, 512 steps``."""
    return subject_line(run.name, run.dataset, f"{run.steps} steps" if run.steps else None)


def imported_message(run: Imported, moment: datetime) -> str:
    """Return the message of the commit, for a run that is imported at ``moment``."""
    codes = [code for code in (run.trainer, run.lycoris, *run.others) if code is not None]
    body = [f"Imported from {run.source}; no full record: what is not there is told as Missing."]
    body += [
        f"{code.label} {code.commit[:8]}" + (f" ({code.branch})" if code.branch else "")
        for code in codes
    ]
    body += [run.network] if run.network else []
    pairs = [("Run", run.name.text), ("Dataset", run.dataset)]
    if run.prefix:
        pairs.append(("Dataset-Path", run.prefix))
    pairs += _code_trailers(run)
    pairs += run.sha1s
    pairs += [(weights.role, weights_line(weights)) for weights in run.weights]
    pairs += [("Network", run.network)] if run.network else []
    pairs += [("Session", session) for session in run.sessions]
    pairs.append(("Imported", f"{text.timestamp(moment)} from {run.source}"))
    pairs += [("Missing", what) for what in run.missing]
    pairs += [("Redacted", path) for path in run.redacted]
    pairs.append(("Loragit-Format", str(FORMAT)))
    head = imported_subject(run) + "\n\n" + "\n".join(text.shown(line) for line in body)
    return trailers.append(head, [(key, text.shown(value)) for key, value in pairs])


def _code_trailers(run: Imported) -> list[tuple[str, str]]:
    pairs = []
    if run.trainer:
        pairs.append(("Trainer-Commit", run.trainer.commit))
        pairs += [("Trainer-Branch", run.trainer.branch)] if run.trainer.branch else []
    if run.lycoris:
        pairs.append(("LyCORIS-Commit", run.lycoris.commit))
    for code in run.others:
        pairs.append(
            (
                "Repository",
                f"{code.label} {code.commit}" + (f" ({code.branch})" if code.branch else ""),
            )
        )
    return pairs


def imported_run_toml(run: Imported) -> Entry:
    """Return ``run.toml``: what is known, one value per line. Its table ``imported`` says what is
    missing."""
    table: dict[str, object] = {
        "format": FORMAT,
        "imported": {
            "from": encodable(run.source),
            "missing": [encodable(what) for what in run.missing],
            "redacted": [encodable(path) for path in run.redacted],
        },
        "run": without_unknown(
            {
                "name": run.name.text,
                "model": run.name.model,
                "version": run.name.version,
                "steps": run.steps,
            }
        ),
        "dataset": without_unknown({"name": run.dataset, "path": run.prefix or "."}),
    }
    if run.trainer:
        table["trainer"] = {"kind": run.kind, **_code_table(run.trainer)}
    if run.lycoris:
        table["lycoris"] = {"installed": True, **_code_table(run.lycoris)}
    if run.others:
        table["repositories"] = {label: _code_table(code) for label, code in _labelled(run.others)}
    if run.arguments:
        table["arguments"] = arguments_table(run.arguments)
    if run.entries:
        table["files"] = files_table(run.entries)
    if run.weights:
        table["weights"] = [weights_table(weights) for weights in run.weights]
    return Entry("run.toml", to_toml(table))


def _labelled(codes: Iterable[ImportedCode]) -> Iterator[tuple[str, ImportedCode]]:
    """Yield each with its label; a label that another has already gets a number."""
    seen: dict[str, int] = {}
    for code in codes:
        label = encodable(code.label)
        seen[label] = seen.get(label, 0) + 1
        yield label if seen[label] == 1 else f"{label}-{seen[label]}", code


def _code_table(code: ImportedCode) -> dict[str, object]:
    return without_unknown({"commit": code.commit, "branch": code.branch})
