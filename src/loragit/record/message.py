"""The messages of a run's commit, of its sealed tag and of its revert (docs/record-format.md).

All are pure functions of their values: no clock, no locale, no dict order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from loragit.record import trailers
from loragit.record.name import RunName
from loragit.record.values import (
    FORMAT,
    LyCORIS,
    ModelFile,
    Opened,
    Outcome,
    RepoState,
    Run,
    Weights,
)
from loragit.text import count, duration, sha1, shown, timestamp

_PROMPTS = 200
"""Most lines of edited prompts that the message of a sealed tag quotes."""
_MODEL = re.compile(
    r"(?P<path>.+) (?P<size>[0-9]{1,19}) bytes sha256:(?P<sha256>[0-9a-f]{64})"
    r"(?: payload:(?P<payload>[0-9a-f]{64}))?(?: step:(?P<step>[0-9]{1,19}))?(?: "
    r"epoch:(?P<epoch>[0-9]{1,19}))?"
)


def run_subject(run: Run) -> str:
    """Return what the run is: ``noob-gren-v2s512: noob on gren, version 2, 512 steps``."""
    length = f"{shown(run.epochs)} epochs" if run.epochs else f"{run.steps} steps"
    return subject_line(run.name, run.dataset, length)


def subject_line(name: RunName, dataset: str, length: str | None) -> str:
    """Return a subject line of what is known: ``…: noob on gren, version 2, 512 steps``."""
    parts = [shown(f"{name.model} on {dataset}" if name.model else dataset)]
    parts += [] if name.version is None else [f"version {name.version}"]
    return f"{name}: {', '.join(parts + ([length] if length else []))}"


def run_message(run: Run) -> str:
    """Return the commit's message: subject, a body for people, trailers for programs."""
    place = (
        f"dataset at {run.dataset_commit[:8]}"
        if run.dataset_commit
        else "dataset not committed yet"
    )
    body = [
        repository_line(run.trainer) + (f" of {run.trainer.url}" if run.trainer.url else ""),
        lycoris_line(run.lycoris),
        *(
            repository_line(state) + (f" of {state.url}" if state.url else "")
            for state in run.repositories
        ),
        f"{count(run.images, 'image')}, {count(run.captions, 'caption')}; {place}",
    ]
    pairs = [("Run", run.name.text), ("Dataset", run.dataset)]
    if run.prefix:
        pairs.append(("Dataset-Path", run.prefix))
    pairs += _trainer_trailers(run.trainer) + _lycoris_trailers(run.lycoris)
    pairs += [
        ("Repository", f"{s.label} {s.commit} ({_branch_and_changes(s)})") for s in run.repositories
    ]
    pairs += _dataset_trailers(run)
    pairs += _input_trailers(run)
    pairs += [(weights.role, weights_line(weights)) for weights in run.weights]
    pairs += [("Redacted", path) for path in run.redacted]
    for each in run.ancestors:
        key = "Resumed-From" if each.resumed else "Derived-From"
        pairs.append((key, f"{each.run} {each.commit} {each.product}"))
    pairs.append(("Loragit-Format", str(FORMAT)))
    head = run_subject(run) + "\n\n" + "\n".join(shown(line) for line in body)
    return trailers.append(head, [(key, shown(value)) for key, value in pairs])


def weights_line(weights: Weights) -> str:
    """Return the value of the trailer that names ``weights``: ``noob.safetensors sha256:…``."""
    if weights.sha256:
        return f"{weights.name} sha256:{weights.sha256}"
    if weights.files_sha256:
        return f"{weights.name} files-sha256:{weights.files_sha256}"
    return f"{weights.name} revision:{weights.revision}" if weights.revision else weights.name


def dataset_path(prefix: str) -> str:
    """Return the value of ``Dataset-Path`` for a dataset's folder: one line without blanks around
    it, as in every trailer."""
    return shown(prefix).strip()


def repository_line(state: RepoState) -> str:
    """Return ``sd-scripts 48d368fa (sd3)``."""
    return f"{state.label} {state.commit[:8]} ({_branch_and_changes(state)})"


def _branch_and_changes(state: RepoState) -> str:
    notes = [state.branch or "detached"]
    if state.dirty:
        notes.append(f"{count(len(state.dirty), 'file')} changed")
    return ", ".join(notes)


def lycoris_line(lycoris: LyCORIS) -> str:
    """Return ``LyCORIS f49d30d3 (dev, editable)``."""
    if not lycoris.installed:
        return "LyCORIS not installed"
    if lycoris.commit is None:
        return (
            f"LyCORIS {lycoris.version} "
            f"({'editable, of no commit' if lycoris.editable else 'release'})"
        )
    notes = [_branch_and_changes(lycoris.repo)] if lycoris.repo else []
    notes += ["editable"] if lycoris.editable else []
    return f"LyCORIS {lycoris.commit[:8]}" + (f" ({', '.join(notes)})" if notes else "")


def _trainer_trailers(state: RepoState) -> list[tuple[str, str]]:
    pairs = [("Trainer-Commit", state.commit)]
    if state.branch:
        pairs.append(("Trainer-Branch", state.branch))
    if state.url:
        pairs.append(("Trainer-URL", state.url))
    if state.dirty:
        pairs.append(("Trainer-Dirty", count(len(state.dirty), "file")))
    return pairs


def _lycoris_trailers(lycoris: LyCORIS) -> list[tuple[str, str]]:
    if not lycoris.installed:
        return [("LyCORIS", "not installed")]
    if lycoris.commit is None:
        return [("LyCORIS-Version", lycoris.version or "unknown")]
    pairs = [("LyCORIS-Commit", lycoris.commit)]
    url = lycoris.repo.url if lycoris.repo else lycoris.url
    if url:
        pairs.append(("LyCORIS-URL", url))
    if lycoris.repo and lycoris.repo.dirty:
        pairs.append(("LyCORIS-Dirty", count(len(lycoris.repo.dirty), "file")))
    return pairs


def _dataset_trailers(run: Run) -> list[tuple[str, str]]:
    pairs = [("Dataset-Commit", run.dataset_commit)] if run.dataset_commit else []
    if run.dataset_dirty:
        pairs.append(("Dataset-Dirty", count(run.dataset_dirty, "file")))
    return pairs


def _input_trailers(run: Run) -> list[tuple[str, str]]:
    pairs = []
    for key, path in (
        ("Config-SHA1", run.config),
        ("Prompts-SHA1", run.prompts),
        ("Script-SHA1", run.script),
    ):
        entry = run.entry(path) if path else None
        if entry is not None:
            pairs.append((key, sha1(entry.data)))
    return pairs


def outcome_subject(outcome: Outcome) -> str:
    """Return ``3 models, 12 samples, 42 min``, followed by an exit status other than 0, or by what
    is said in its place."""
    parts = (
        [count(len(outcome.models), "model")]
        if outcome.models or not outcome.made_something
        else []
    )
    parts += [count(len(outcome.states), "state")] if outcome.states else []
    parts += [f"{len(outcome.truncated)} cut short"] if outcome.truncated else []
    parts += [f"{len(outcome.unreadable)} unreadable"] if outcome.unreadable else []
    if outcome.others and not outcome.models:
        parts.append(count(outcome.others, "other file"))
    parts += [count(outcome.samples, "sample"), duration(outcome.seconds)]
    if outcome.exit_status is None:
        parts.append("interrupted" if outcome.recovered else "imported")
    elif outcome.exit_status:
        parts.append(f"exit status {outcome.exit_status}")
    return ", ".join(parts)


def outcome_message(name: str, outcome: Outcome) -> str:
    """Return the message of the sealed tag."""
    pairs = [("Run", name)]
    if outcome.exit_status is not None:
        pairs.append(("Exit-Status", str(outcome.exit_status)))
    pairs += [
        ("Started", timestamp(outcome.started)),
        ("Finished", timestamp(outcome.finished)),
        ("Duration", str(outcome.seconds)),
    ]
    if outcome.interrupted_by:
        pairs.append(("Interrupted-By", outcome.interrupted_by))
    if outcome.recovered:
        pairs.append(("Recovered", timestamp(outcome.recovered)))
    pairs += [("Model", model_line(model)) for model in outcome.models]
    pairs += [("Truncated", path) for path in outcome.truncated]
    pairs += [("Unreadable", path) for path in outcome.unreadable]
    pairs += [("State", path) for path in outcome.states]
    pairs += [("State-Weights", model_line(weights)) for weights in outcome.state_weights]
    pairs.append(("Samples", str(outcome.samples)))
    if outcome.others:
        pairs.append(("Other-Files", str(outcome.others)))
    if outcome.final_loss is not None:
        pairs.append(("Final-Loss", f"{outcome.final_loss:.6g}"))
    pairs += [(weights.role, weights_line(weights)) for weights in outcome.weights]
    pairs.append(("Output", outcome.output))
    if outcome.session:
        pairs.append(("Session", outcome.session))
    pairs += [
        ("Sample", f"{sample.path} sha256:{sample.sha256}") for sample in outcome.sample_files
    ]
    head = f"{name}: {outcome_subject(outcome)}"
    if outcome.prompts:
        pairs.append(("Edited-Prompts-SHA1", sha1(outcome.prompts.data)))
        lines = outcome.prompts.data.decode("utf-8", "replace").splitlines()[:_PROMPTS]
        quoted = "\n".join(f"    {shown(line)}".rstrip() for line in lines)
        head += (
            "\n\nThe sample prompts were edited while it trained. At the end they "
            f"were:\n\n{quoted}"
        )
    return trailers.append(head, [(key, shown(value)) for key, value in pairs])


def model_line(model: ModelFile) -> str:
    """Return ``NAME SIZE bytes sha256:… payload:… step:… epoch:…``, the last three if known."""
    line = f"{model.path} {model.size} bytes sha256:{model.sha256}"
    line += f" payload:{model.payload_sha256}" if model.payload_sha256 else ""
    line += f" step:{model.step}" if model.step is not None else ""
    return line + (f" epoch:{model.epoch}" if model.epoch is not None else "")


def parse_model_line(line: str) -> ModelFile | None:
    """Read back what :func:`model_line` returned; ``None`` for anything else."""
    match = _MODEL.fullmatch(line)
    if match is None:
        return None
    step, epoch = match["step"], match["epoch"]
    return ModelFile(
        path=match["path"],
        size=int(match["size"]),
        sha256=match["sha256"],
        payload_sha256=match["payload"],
        step=None if step is None else int(step),
        epoch=None if epoch is None else int(epoch),
    )


def parse_model_lines(lines: Iterable[str]) -> tuple[ModelFile, ...]:
    """Read back several, without those that cannot be read."""
    return tuple(model for line in lines if (model := parse_model_line(line)) is not None)


def revert_message(
    run: Opened, exit_status: int | None, reason: str, log_tail: tuple[str, ...]
) -> str:
    """Return the message of the commit that reverts a run that made nothing.

    ``log_tail`` is redacted already; ``exit_status`` is ``None`` if no loragit saw the trainer end.
    """
    parts = [f'Revert "{run.subject}"', f"This reverts commit {run.commit}.", shown(reason)]
    if log_tail:
        parts.append(
            "The last lines of its log:\n\n" + "\n".join(f"    {shown(line)}" for line in log_tail)
        )
    pairs = [("Run", run.name.text), ("Dataset", run.dataset)]
    if run.prefix:
        pairs.append(("Dataset-Path", run.prefix))
    if exit_status is not None:
        pairs.append(("Exit-Status", str(exit_status)))
    pairs += [("Reverts", run.commit), ("Loragit-Format", str(FORMAT))]
    return trailers.append("\n\n".join(parts), [(key, shown(value)) for key, value in pairs])


def without_signature(message: str) -> str:
    """Return a tag's message without the signature that ``git tag -s`` appends."""
    for start in (
        "-----BEGIN PGP SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----",
        "-----BEGIN SIGNED MESSAGE-----",
    ):
        message = message.partition(start)[0]
    return message.rstrip("\n")
