"""``loragit show``: one run in full."""

from __future__ import annotations

from pathlib import Path

from loragit import console, git, history, trailers
from loragit.commands.log import heading, table
from loragit.history import Shown


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
        "files": list(shown.files),
    }


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
