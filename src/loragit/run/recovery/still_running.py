"""Whether a run is still somebody's: its loragit or its trainer may live, here or elsewhere.

Nothing is decided by a process's number alone: numbers come again, and those of another host or
container say nothing here.
"""

from __future__ import annotations

from typing import NamedTuple

from loragit import text
from loragit.history import history
from loragit.store import journal
from loragit.store.journal import JournalEntry
from loragit.system import alive


class Busy(NamedTuple):
    """Why a run is left to somebody else."""

    why: str
    hint: str = ""
    """What the user may do; empty where all is well."""


def busy(entry: JournalEntry, *, said_to_be_gone: bool) -> Busy | None:
    """Why the run is not ours to finish; ``None`` where it is.

    ``said_to_be_gone`` is the user's word, and counts only where nothing can be seen from here:
    a process that is seen to live is never taken for gone.
    """
    lives = history.is_alive(entry)
    if lives:
        return Busy(f"{entry.run} runs, process {entry.pid} since {entry.started}")
    if lives is None:
        return None if said_to_be_gone else _out_of_sight(entry)
    if left := trainers_left(entry):
        return Busy(
            f"{entry.run} still trains, process {left[0]}, though its loragit is gone",
            f"wait until it has ended, or end it with: kill -- -{alive.group_of(left[0])}; "
            "then recover again",
        )
    return None


def _out_of_sight(entry: JournalEntry) -> Busy:
    """Whether its process lives cannot be told from here."""
    if entry.host != journal.host():
        return Busy(
            f"{entry.run} runs on {text.shown(entry.host)}, process {entry.pid}",
            "recover it there; or, if that machine is gone for good: loragit recover --gone "
            f"{entry.run}",
        )
    return Busy(
        f"{entry.run} may run in another container, or as another user: process {entry.pid} "
        "cannot be seen from here",
        f"recover it there; or, if it runs nowhere any more: loragit recover --gone {entry.run}",
    )


def trainers_left(entry: JournalEntry) -> tuple[int, ...]:
    """Processes of a training on this machine that goes on though its loragit may be gone."""
    if alive.rebooted_since(entry.boot):
        return ()
    trainer = entry.trainer
    if trainer is not None and (left := alive.group_left(trainer.pid, trainer.pid_started)):
        return left
    # Killed before it could note the trainer: the trainer's environment names the run's folder.
    return alive.started_with("LORAGIT_RUN_OUTPUT", entry.output)
