"""``loragit show``: one run in full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loragit import console, git, history, text, trailers
from loragit.commands.log import heading, table
from loragit.history import Shown
from loragit.record import Artifact


def show(folder: Path, name: str, *, as_json: bool = False) -> None:
    """Print the newest run called ``name``, standing or reverted. Raises :class:`LoragitError`."""
    shown = history.show(git.discover(folder), name)
    if as_json:
        import json

        console.write(json.dumps(_document(shown), indent=2) + "\n")
    else:
        _print(shown)


def _document(shown: Shown) -> dict[str, object]:
    return {
        **table(shown.listed),
        "record": trailers.parse(shown.message),
        "outcome_record": trailers.parse(shown.tag_message) if shown.tag_message else {},
        "models": [model._asdict() for model in _models(shown)],
        "files": list(shown.files),
    }


def _models(shown: Shown) -> Iterator[Artifact]:
    for line in trailers.parse(shown.tag_message).get("Model", ()) if shown.tag_message else ():
        model = text.parse_model_line(line)
        if model is not None:
            yield model


def _print(shown: Shown) -> None:
    console.out(heading(shown.listed))
    for block in (shown.message, shown.tag_message, shown.revert_message):
        if block:
            console.out()
            for line in block.splitlines():
                console.out(line)
    console.out()
    captions = [path for path in shown.files if path.startswith("captions/")]
    for path in shown.files:
        if not path.startswith("captions/"):
            console.out(f"  {path}")
    if captions:
        console.out(f"  captions/ ({len(captions)})")
    standing = shown.listed.state not in (history.REVERTED, history.UNTAGGED)
    revision = shown.listed.name if standing else shown.listed.commit[:8]
    console.say(f"a file of it, from the dataset's folder: git show {revision}:./run.toml")
