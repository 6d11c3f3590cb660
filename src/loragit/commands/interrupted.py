"""The warning about interrupted runs, which every command that shows runs gives."""

from __future__ import annotations

from loragit import console
from loragit.git.repository import Repository
from loragit.store import journal
from loragit.text import listed


def warn_if_interrupted(repository: Repository) -> None:
    """Warn if runs of this repository were interrupted, with the next step."""
    noted = tuple(journal.read(repository.private))
    if not noted:
        return
    from loragit.history import history

    gone = sorted({note.run for note in noted if not history.may_be_alive(note)})
    if gone:
        were, it = ("were", "them") if len(gone) > 1 else ("was", "it")
        console.warn(f"{listed(gone, 3)} {were} interrupted: no loragit works on {it} any more")
        console.hint("finish it with: loragit recover")
