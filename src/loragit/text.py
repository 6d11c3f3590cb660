"""Text forms of a run: the commit's message, ``run.toml``, ``repos.git``, the outcome, the revert.

docs/record-format.md describes each. All are pure functions of their values: no clock, no locale, no dict order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from loragit import trailers
from loragit.record import FORMAT, Artifact, Entry, LyCORIS, Opened, Outcome, RepoState, Run, Weights

# Separators split lines elsewhere; what directs writing (Unicode's Bidi_Control) shows a text in another order than it
# is read in.
_DIRECTED = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
# Two names must not look the same because of what no terminal shows. Joiners belong to some scripts and to emoji.
_UNSEEN = "\u00ad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f"
_CONTROL = re.compile(rf"[\x00-\x1f\x7f-\x9f{_DIRECTED}{_UNSEEN}]")
_UNESCAPED = re.compile(rf"[\x80-\x9f{_DIRECTED}]")
_NO_BYTE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs, but for those that stand for a byte that is not UTF-8; JSON can hold them."""
_PROMPTS = 200
"""Most lines of edited prompts that a sealed tag quotes."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MODEL = re.compile(
    r"(?P<path>.+) (?P<size>[0-9]{1,19}) bytes sha256:(?P<sha256>[0-9a-f]{64})"
    r"(?: payload:(?P<payload>[0-9a-f]{64}))?(?: step:(?P<step>[0-9]{1,19}))?(?: epoch:(?P<epoch>[0-9]{1,19}))?"
)


def shown(text: str) -> str:
    """``text`` with control characters made visible, so that it stays one line and no terminal obeys it.

    Those that direct writing are among them; what comes out can be encoded, and shown again is the same.
    """
    if text.isprintable():
        return text
    whole = _NO_BYTE.sub(lambda match: f"\\x{ord(match[0]):04x}", text)
    printable = whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", printable)


def home_as_tilde(text: str, home: str) -> str:
    """``text`` with the home folder written ``~``, wherever a path under it begins."""
    return home_folder(home).sub("~", text)


def home_folder(home: str) -> re.Pattern[str]:
    """Matches ``home`` wherever it, or a path under it, begins; nothing where ``home`` is no folder of one's own."""
    if home in ("", "/"):
        return re.compile("(?!)")
    # Not in the middle of a path: /mnt/home/ada is not under /home/ada.
    return re.compile(r"(?:(?<=file://)|(?<![\w./~-]))" + re.escape(home.rstrip("/")) + r"(?=/|$)")


def without_credentials(url: str) -> str:
    """``url`` without a password, and over HTTP without a user, which there is a token as often as not."""
    url = re.sub(r"^(https?://)[^/]*@", r"\1", url)
    return re.sub(r"^([\w+.-]+://[^/:@]*):[^/]*@", r"\1@", url)


def subject(run: Run) -> str:
    """What the run is, in a line: ``noob-gren-v2s512: noob on gren, version 2, 512 steps``."""
    length = f"{shown(run.epochs)} epochs" if run.epochs else f"{run.steps} steps"
    return headline(run.name, run.model, run.dataset, run.version, length)


def headline(name: str, model: str | None, dataset: str, version: int | None, length: str | None) -> str:
    """A subject of what is known: ``noob-gren-v2s512: noob on gren, version 2, 512 steps``."""
    parts = [shown(f"{model} on {dataset}" if model else dataset)]
    parts += [] if version is None else [f"version {version}"]
    return f"{name}: {', '.join(parts + ([length] if length else []))}"


def message(run: Run) -> str:
    """The commit's message: subject, a body for people, trailers for programs."""
    place = f"dataset at {run.dataset_commit[:8]}" if run.dataset_commit else "dataset not committed yet"
    body = [
        repository_line(run.trainer) + (f" of {run.trainer.url}" if run.trainer.url else ""),
        lycoris_line(run.lycoris),
        *(repository_line(state) + (f" of {state.url}" if state.url else "") for state in run.repositories),
        f"{count(run.images, 'image')}, {count(run.captions, 'caption')}; {place}",
    ]
    pairs = [("Run", run.name), ("Dataset", run.dataset)]
    if run.prefix:
        pairs.append(("Dataset-Path", run.prefix))
    pairs += _trainer_trailers(run.trainer) + _lycoris_trailers(run.lycoris)
    pairs += [("Repository", f"{s.label} {s.commit} ({_standing(s)})") for s in run.repositories]
    pairs += _dataset_trailers(run)
    pairs += _input_trailers(run)
    pairs += [(w.role, f"{w.name} sha256:{w.sha256}" if w.sha256 else w.name) for w in run.weights]
    pairs += [("Redacted", path) for path in run.redacted]
    for each in run.ancestors:
        key = "Resumed-From" if each.resumed else "Derived-From"
        pairs.append((key, f"{each.run} {each.commit} {each.product}"))
    pairs.append(("Loragit-Format", str(FORMAT)))
    head = subject(run) + "\n\n" + "\n".join(shown(line) for line in body)
    return trailers.append(head, [(key, shown(value)) for key, value in pairs])


def dataset_path(prefix: str) -> str:
    """The value of ``Dataset-Path`` for a dataset's folder: as every trailer's, a line without blanks around it."""
    return shown(prefix).strip()


def repository_line(state: RepoState) -> str:
    """``sd-scripts 48d368fa (sd3)``."""
    return f"{state.label} {state.commit[:8]} ({_standing(state)})"


def _standing(state: RepoState) -> str:
    notes = [state.branch or "detached"]
    if state.dirty:
        notes.append(f"{count(len(state.dirty), 'file')} changed")
    return ", ".join(notes)


def lycoris_line(lycoris: LyCORIS) -> str:
    """``LyCORIS f49d30d3 (dev, editable)``."""
    if not lycoris.installed:
        return "LyCORIS not installed"
    if lycoris.commit is None:
        return f"LyCORIS {lycoris.version} ({'editable, of no commit' if lycoris.editable else 'release'})"
    notes = [_standing(lycoris.repo)] if lycoris.repo else []
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
    for key, path in (("Config-SHA1", run.config), ("Prompts-SHA1", run.prompts), ("Script-SHA1", run.script)):
        entry = run.entry(path) if path else None
        if entry is not None:
            pairs.append((key, sha1(entry.data)))
    return pairs


def sha1(data: bytes) -> str:
    """As ``sha1sum`` prints it: 40 hex digits of the bytes alone."""
    import hashlib

    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def count(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size(number: int) -> str:
    """Bytes for people, as disks are sold: ``1.4 GB``, ``218 MB``, ``0 MB``."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def run_toml(run: Run) -> Entry:
    """``run.toml``: the whole record, one value a line, the command one argument a line."""
    return Entry("run.toml", toml(_run_table(run)))


def toml(table: Mapping[str, object]) -> bytes:
    """``table`` as TOML in UTF-8, in its own order."""
    import tomli_w

    # TOML may hold these as they are, but a terminal or an editor could obey them.
    return _UNESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", tomli_w.dumps(table)).encode()


def _run_table(run: Run) -> dict[str, object]:
    return {
        "format": FORMAT,
        "run": told(
            {
                "name": run.name,
                "model": run.model,
                "version": run.version,
                "steps": run.steps,
                "epochs": run.epochs,
                "redacted": [held(path) for path in run.redacted] or None,
            }
        ),
        "dataset": told(
            {
                "name": run.dataset,
                "path": run.prefix or ".",
                "commit": run.dataset_commit,
                "dirty": run.dataset_dirty,
                "images": run.images,
                "captions": run.captions,
            }
        ),
        "trainer": {"kind": run.trainer_kind, "script": held(run.trainer_script), **_repository_table(run.trainer)},
        "lycoris": _lycoris_table(run.lycoris),
        **(
            {"repositories": {held(s.label): _repository_table(s) for s in run.repositories}}
            if run.repositories
            else {}
        ),
        "files": files_table(run.entries),
        **({"weights": [weights_table(w) for w in run.weights]} if run.weights else {}),
        "command": {"workdir": held(run.workdir), "argv": [held(word) for word in run.argv]},
    }


def files_table(entries: Iterable[Entry]) -> dict[str, object]:
    """Hash and size of each of ``entries`` but the captions, by its path."""
    return {
        held(entry.path): {"sha1": sha1(entry.data), "size": len(entry.data)}
        for entry in sorted(entries, key=lambda entry: entry.path.encode("utf-8", "surrogateescape"))
        if not entry.path.startswith("captions/")
    }


def weights_table(weights: Weights) -> dict[str, object]:
    """What is known of a file of weights."""
    return told({"role": weights.role, "name": weights.name, "sha256": weights.sha256})


def _repository_table(state: RepoState) -> dict[str, object]:
    table = {"commit": state.commit, "branch": state.branch, "url": state.url}
    return told({**table, "dirty": [held(path) for path in state.dirty]})


def _lycoris_table(lycoris: LyCORIS) -> dict[str, object]:
    table: dict[str, object] = {"installed": lycoris.installed}
    if lycoris.installed:
        table["editable"] = lycoris.editable
    repository = _repository_table(lycoris.repo) if lycoris.repo else {"commit": lycoris.commit, "url": lycoris.url}
    return told({**table, "version": lycoris.version, **repository})


def told(table: Mapping[str, object]) -> dict[str, object]:
    """What is known of ``table``."""
    return {k: held(v) if isinstance(v, str) else v for k, v in table.items() if v is not None}


def held(text: str) -> str:
    """``text`` as TOML can hold it: a byte that is not UTF-8, which branches and paths may have, as ``\\xff``."""
    return _SURROGATE.sub(lambda match: ascii(match[0])[1:-1].replace("\\udc", "\\x"), text)


def repos_git(run: Run) -> bytes:
    """``repos.git`` of the output folder, as the zsh helpers wrote it.

    A line a repository, ``path: (branch) commit``, then the SHA-1 of script, config and prompts.
    """
    states = [run.trainer] + ([run.lycoris.repo] if run.lycoris.repo else []) + list(run.repositories)
    lines = [shown(f"{state.path}: ({state.branch or 'detached'}) {state.commit}") for state in states]
    for path in (run.script, run.config, run.prompts):
        entry = run.entry(path) if path else None
        if entry is not None:
            lines.append(f"{sha1(entry.data)}  {entry.path}")
    return ("\n".join(lines) + "\n").encode()


def duration(seconds: int) -> str:
    """``45 s``, ``42 min``, ``3 h 5 min``."""
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def outcome_subject(outcome: Outcome) -> str:
    """``3 models, 12 samples, 42 min``; with the exit status where it is not 0, or that the run was imported."""
    parts = [count(len(outcome.models), "model")] if outcome.models or not outcome.made_something else []
    parts += [count(len(outcome.states), "state")] if outcome.states else []
    parts += [f"{len(outcome.truncated)} cut short"] if outcome.truncated else []
    parts += [f"{len(outcome.unreadable)} unreadable"] if outcome.unreadable else []
    parts += [count(outcome.samples, "sample"), duration(outcome.seconds)]
    if outcome.exit_status is None:
        parts.append("interrupted" if outcome.recovered else "imported")
    elif outcome.exit_status:
        parts.append(f"exit status {outcome.exit_status}")
    return ", ".join(parts)


def outcome_message(name: str, outcome: Outcome) -> str:
    """The sealed tag's message."""
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
    pairs.append(("Samples", str(outcome.samples)))
    if outcome.final_loss is not None:
        pairs.append(("Final-Loss", f"{outcome.final_loss:.6g}"))
    pairs.append(("Output", outcome.output))
    if outcome.session:
        pairs.append(("Session", outcome.session))
    pairs += [("Sample", f"{picture.path} sha256:{picture.sha256}") for picture in outcome.pictures]
    head = f"{name}: {outcome_subject(outcome)}"
    if outcome.prompts:
        pairs.append(("Edited-Prompts-SHA1", sha1(outcome.prompts.data)))
        lines = outcome.prompts.data.decode("utf-8", "replace").splitlines()[:_PROMPTS]
        quoted = "\n".join(f"    {shown(line)}".rstrip() for line in lines)
        head += f"\n\nThe sample prompts were edited while it trained. At the end they were:\n\n{quoted}"
    return trailers.append(head, [(key, shown(value)) for key, value in pairs])


def model_line(model: Artifact) -> str:
    """``NAME SIZE bytes sha256:… payload:… step:… epoch:…``, the last three where known."""
    line = f"{model.path} {model.size} bytes sha256:{model.sha256}"
    line += f" payload:{model.payload_sha256}" if model.payload_sha256 else ""
    line += f" step:{model.step}" if model.step is not None else ""
    return line + (f" epoch:{model.epoch}" if model.epoch is not None else "")


def parse_model_line(line: str) -> Artifact | None:
    """The inverse of :func:`model_line`; ``None`` for anything else."""
    match = _MODEL.fullmatch(line)
    if match is None:
        return None
    step, epoch = match["step"], match["epoch"]
    return Artifact(
        path=match["path"],
        size=int(match["size"]),
        sha256=match["sha256"],
        payload_sha256=match["payload"],
        step=None if step is None else int(step),
        epoch=None if epoch is None else int(epoch),
    )


def timestamp(moment: datetime) -> str:
    """UTC to the second: ``2026-11-23T17:20:30Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def revert_message(run: Opened, exit_status: int | None, reason: str, log_tail: tuple[str, ...]) -> str:
    """The message of the commit that takes back a run that made nothing. ``log_tail`` is redacted already.

    ``exit_status`` is ``None`` where nobody was there to hear it.
    """
    parts = [f'Revert "{run.subject}"', f"This reverts commit {run.commit}.", shown(reason)]
    if log_tail:
        parts.append("The last lines of its log:\n\n" + "\n".join(f"    {shown(line)}" for line in log_tail))
    pairs = [("Run", run.name), ("Dataset", run.dataset)]
    if run.prefix:
        pairs.append(("Dataset-Path", run.prefix))
    if exit_status is not None:
        pairs.append(("Exit-Status", str(exit_status)))
    pairs += [("Reverts", run.commit), ("Loragit-Format", str(FORMAT))]
    return trailers.append("\n\n".join(parts), [(key, shown(value)) for key, value in pairs])
