"""The command line of the hook: ``loragit hook``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from loragit import console

app = typer.Typer(help="The pre-commit hook: no dirty trainer repository, no secrets.", no_args_is_help=True)


@app.command("install")
def hook_install(
    secrets: Annotated[
        bool | None, typer.Option("--secrets/--no-secrets", help="Also refuse secrets in what is staged.")
    ] = None,
) -> None:
    """Put the hook into this repository, beside one that is there."""
    from loragit.commands import hook

    _lines(hook.lines(hook.install(Path.cwd(), own_command(), secrets=secrets)))


@app.command("uninstall")
def hook_uninstall() -> None:
    """Take the hook out, and put back the one that was there before."""
    from loragit.commands import hook

    _lines(hook.lines(hook.uninstall(Path.cwd())))


@app.command("status")
def hook_status() -> None:
    """Where the hook is, and whether it can find loragit."""
    from loragit.commands import hook

    _lines(hook.lines(hook.status(Path.cwd())))


@app.command("run")
def hook_run(name: str, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """What the installed hook calls; secrets [FILE]... looks for secrets in files, or in what is staged."""
    from loragit.commands import hook

    raise typer.Exit(hook.run_hook(name, arguments or [], os.environ, Path.cwd()))


def own_command() -> str:
    """Words for a shell that start this very loragit, for a hook that does not find it on PATH."""
    return shlex.join([sys.executable, "-m", "loragit"])


def _lines(lines: Iterable[str]) -> None:
    for line in lines:
        console.out(line)
