"""``loragit train``: prepare a run, then train on record; or show what would be recorded."""

from __future__ import annotations

import contextlib
from functools import partial

from loragit import console, text
from loragit.commands import interrupted, trust
from loragit.errors import LoragitError
from loragit.record import message, run_toml
from loragit.run import train as on_record
from loragit.run.preflight import prepare
from loragit.run.preflight.phases import Ready, Request
from loragit.system import child
from loragit.trainers.environment import pythons


def train(request: Request, *, trusted: bool = False) -> int:
    """Train, on record. Return the trainer's exit status, or 1 where that is 0 and nothing was
    made. ``trusted`` is ``--trust``: the user's consent to what the dataset's own files start.

    Raises :class:`LoragitError` where the run was not opened; then nothing was written.
    """
    ready = _prepared(request, trusted=trusted)
    trust.remember_settings(ready.settings)
    interrupted.warn_if_interrupted(ready.repository)
    status = on_record.train(ready, console)
    with contextlib.suppress(LoragitError):
        child.spawn_quietly(
            ["git", "maintenance", "run", "--auto", "--quiet"], cwd=ready.repository.top
        )
    return status


def dry_run(request: Request, *, trusted: bool = False) -> None:
    """Show the run as it would be recorded and started; write nothing. Raises
    :class:`LoragitError`."""
    ready = _prepared(request, trusted=trusted)
    for line in message.run_message(ready.run).splitlines():
        console.out(line)
    console.out()
    for entry in sorted((*ready.run.entries, run_toml.run_toml(ready.run)), key=lambda e: e.path):
        if not entry.path.startswith("captions/"):
            console.out(f"{len(entry.data):>9} bytes  {entry.path}")
    console.out(f"{text.count(ready.run.captions, 'file')} in captions/")
    console.out()
    script = ready.run.entry(ready.run.script)
    for line in script.data.decode("utf-8", "replace").splitlines() if script else ():
        console.out(line)
    python = pythons.find_python(ready.settings.trainer, request.environ)
    environment = pythons.environment_prefix(python) or "no environment"
    console.info(f"the trainer's Python is {python}, in {environment}")
    console.info(f"dry run: {ready.run.name} could start; nothing was written")


def _prepared(request: Request, *, trusted: bool) -> Ready:
    """The run, ready to start; its warnings are printed."""
    confirm = partial(console.confirm, default=False) if console.can_ask() else None
    asking = request._replace(agree=trust.agreement(trusted=trusted), confirm=confirm)
    ready = prepare.prepare(asking)
    for warning in ready.warnings:
        console.warn(warning.problem)
    return ready
