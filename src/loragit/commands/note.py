"""``loragit note NAME``: an observation on a run, a star, a rating, the best checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from loragit import History, console, git, text
from loragit.errors import LoragitError, UsageError
from loragit.git.identity import IdentityQuestion
from loragit.git.repository import Repository
from loragit.history.history import RecordedRun
from loragit.record import notes
from loragit.record.notes import Mark
from loragit.store.store import Store
from loragit.system import child

_DRAFT = "NOTE_EDITMSG"
"""In ``.git/loragit/``, for the editor; it stays there if the note could not be written."""
_HELP = (
    "# What is to be remembered of this run? A line is an observation; lines that begin with "
    "# are left out."
)


class NothingNoted(LoragitError):
    """There was nothing to write down."""


class NoSuchProduct(UsageError):
    """The run left no model of that name."""


def note(folder: Path, name: str, messages: Sequence[str], mark: Mark) -> None:
    """Append to the note on the newest run called ``name``, standing or reverted; open the editor
    if there is nothing to append.

    Raises :class:`LoragitError`; then nothing was written.
    """
    history = History.of(folder)
    repository, run = history.repository, history.run(name)
    if mark.best is not None:
        mark = mark._replace(best=_product_named(run, mark.best))
    if mark.rating is not None and mark.rating not in notes.RATINGS:
        raise UsageError(f"a rating is a number from 1 to 5; it is {mark.rating}")
    lines = [line for message in messages for line in message.splitlines()] + list(mark.lines())
    draft = repository.private / _DRAFT
    if not lines:
        lines = _edit_note(repository, run, draft)
    stamped = notes.stamp_lines(lines, datetime.now(UTC))
    if not stamped:
        raise NothingNoted(
            "nothing was noted: there is no text", hint="write some, or give it with -m TEXT"
        )
    author, committer = IdentityQuestion(repository.top).answer()
    Store(repository, author, committer, warn=console.warn).note(run.commit, stamped)
    draft.unlink(missing_ok=True)
    console.info(f"noted {text.count(len(stamped), 'line')} on {run.name}")


def _product_named(run: RecordedRun, wanted: str) -> str:
    """Return the run's model that ``wanted`` names, with or without folder and suffix. Raises
    :class:`NoSuchProduct`."""
    models = [model.path for model in run.outcome.models] if run.outcome else []
    name = Path(wanted).name
    fitting = [path for path in models if name in (path, Path(path).stem)]
    if fitting:
        return fitting[0]
    raise NoSuchProduct(
        f"{run.name} left no model {name}",
        hint=f"it left: {', '.join(models)}" if models else "it left no model at all",
    )


def _edit_note(repository: Repository, run: RecordedRun, draft: Path) -> list[str]:
    """Return the lines that the user writes in the editor that git would use. Raises
    :class:`NothingNoted`."""
    if not sys.stdin.isatty():
        raise NothingNoted(
            "nothing was noted: there is no terminal for an editor",
            hint="give the text with -m TEXT",
        )
    editor = git.run("var", "GIT_EDITOR", cwd=repository.top)
    draft.parent.mkdir(parents=True, exist_ok=True)
    shown = (run.name, run.subject, *((run.outcome.subject,) if run.outcome else ()))
    about = "\n".join(f"# {text.shown(line)}" for line in shown)
    draft.write_text(f"\n{_HELP}\n#\n{about}\n", encoding="utf-8")
    # The editor may be several words with quotes, for a shell.
    status = child.run(
        ["/bin/sh", "-c", f'{editor} "$@"', "editor", str(draft)], cwd=repository.top
    )
    if status != 0:
        raise NothingNoted(
            f"nothing was noted: the editor ended with exit status {status}",
            hint=f"it was: {editor}",
        )
    written = draft.read_text(encoding="utf-8", errors="replace")
    return [line for line in written.splitlines() if not line.startswith("#")]
