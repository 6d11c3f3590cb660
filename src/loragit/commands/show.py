"""``loragit show``: one run in full."""

from __future__ import annotations

from pathlib import Path

from loragit import console, history
from loragit.commands.log import heading
from loragit.history import History, RecordedRun
from loragit.history.documents import summary, whole


def show(folder: Path, name: str, *, as_json: bool = False) -> None:
    """Print the newest run called ``name``, standing or reverted. Raises :class:`LoragitError`."""
    run = History.of(folder).run(name)
    if as_json:
        import json

        console.write(json.dumps(_document(run), indent=2) + "\n")
    else:
        _print(run)


def _document(run: RecordedRun) -> dict[str, object]:
    return whole(run, summary(run, None, None, None), ())


def _print(run: RecordedRun) -> None:
    console.out(heading(run))
    messages = (run.message, run.outcome.message if run.outcome else "", run.revert.message if run.revert else "")
    for block in messages:
        if block:
            console.out()
            for line in block.rstrip("\n").splitlines():
                console.out(line)
    console.out()
    files = run.files
    captions = [path for path in files if path.startswith("captions/")]
    for path in files:
        if not path.startswith("captions/"):
            console.out(f"  {path}")
    if captions:
        console.out(f"  captions/ ({len(captions)})")
    standing = run.state not in (history.REVERTED, history.UNTAGGED)
    revision = run.name if standing else run.commit[:8]
    console.say(f"a file of it, from the dataset's folder: git show {revision}:./run.toml")
