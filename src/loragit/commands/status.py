"""``loragit status``: runs in progress, and the state of the repositories of code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from loragit import console, git, text
from loragit.commands import interrupted
from loragit.errors import LoragitError
from loragit.git import checkout
from loragit.history import history
from loragit.record import message
from loragit.record.values import RepoState
from loragit.settings.values import Settings
from loragit.store import journal
from loragit.trainers import kinds


def status(chosen: Settings, *, as_json: bool = False) -> None:
    """Print the status of the current dataset. Raises :class:`LoragitError` if it is in no
    repository."""
    repository = git.discover(chosen.dataset_dir)
    notes = [(note, history.may_be_alive(note)) for note in journal.read(repository.private)]
    trainer = chosen.trainer.repo
    places = [(kinds.repository_label(chosen.trainer.kind, trainer), trainer)]
    if chosen.trainer.lycoris_repo:
        places.append(("LyCORIS", chosen.trainer.lycoris_repo))
    places += [(folder.name, folder) for folder in chosen.record.repos]
    states = [(label, _repo_state(label, folder)) for label, folder in places]
    if as_json:
        import json

        document = {
            "runs": [
                {"run": n.run, "started": n.started, "pid": n.pid, "alive": a, "output": n.output}
                for n, a in notes
            ],
            "repositories": [_repo_as_json(label, state) for label, state in states],
        }
        console.write(json.dumps(document, indent=2) + "\n")
        return
    _print_runs(
        (f"{n.run}: since {n.started}, process {n.pid}, writes {text.shown(n.output)}", a)
        for n, a in notes
    )
    interrupted.warn_if_interrupted(repository)
    for label, state in states:
        console.out(_repo_line(label, state))


def _repo_state(label: str, folder: Path) -> RepoState | LoragitError:
    try:
        return checkout.repo_state(folder, label)
    except LoragitError as error:
        return error


def _print_runs(lines: Iterable[tuple[str, bool]]) -> None:
    rows = list(lines)
    if not rows:
        console.out("no run in progress")
    for line, alive in rows:
        console.out(f"{'running' if alive else 'interrupted'}  {line}")


def _repo_line(label: str, state: RepoState | LoragitError) -> str:
    if isinstance(state, LoragitError):
        return f"{label}: {state.message}"
    if not state.dirty:
        return f"{message.repository_line(state)}, clean, at {state.path}"
    return f"{message.repository_line(state)} at {state.path}: {', '.join(state.dirty[:5])}"


def _repo_as_json(label: str, state: RepoState | LoragitError) -> dict[str, object]:
    if isinstance(state, LoragitError):
        return {"label": label, "error": state.message}
    return {
        "label": label,
        "path": str(state.path),
        "commit": state.commit,
        "branch": state.branch,
        "url": state.url,
        "dirty": list(state.dirty),
        "on_remote": state.on_remote,
    }
