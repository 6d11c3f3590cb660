"""The command line of the hooks: ``loragit hook``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from loragit import cli_help, console

app = typer.Typer(
    cls=cli_help.WithExamples,
    help="Install git hooks that protect commits and the record.",
    no_args_is_help=True,
)

_Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[pre-commit|reference-transaction|update]...", show_default=False),
]


@app.command("install")
def hook_install(
    names: _Names = None,
    secrets: Annotated[
        bool | None,
        typer.Option("--secrets/--no-secrets", help="Also refuse secrets in what is staged."),
    ] = None,
) -> None:
    """Install hooks in this repository, beside those already there.

    Without a name, the pre-commit hook.
    """
    from loragit.commands import hook

    _lines(hook.install_lines(Path.cwd(), own_command(), names or (), secrets=secrets))


@app.command("uninstall")
def hook_uninstall(names: _Names = None) -> None:
    """Remove hooks, and put back those that were there before.

    Without a name, all of loragit's.
    """
    from loragit.commands import hook

    _lines(hook.uninstall_lines(Path.cwd(), names or ()))


@app.command("status")
def hook_status(names: _Names = None) -> None:
    """Show where the hooks are, and whether they find loragit."""
    from loragit.commands import hook

    _lines(hook.status_lines(Path.cwd(), names or ()))


@app.command("show")
def hook_show(name: str) -> None:
    """Print a hook, to be copied to a machine without loragit."""
    from loragit.commands import hook

    console.write(hook.hook_text(name))


@app.command("run")
def hook_run(name: str, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Run a hook, as an installed one does.

    hook run secrets [FILE]... searches files, or what is staged, for secrets.
    """
    from loragit.commands import hook

    raise typer.Exit(hook.run_hook(name, arguments or [], os.environ, Path.cwd()))


def own_command() -> str:
    """Words for a shell that start this very loragit, for a hook that does not find it on PATH.

    A hook runs in the dataset, where a module may be called as one of ours.
    """
    return shlex.join([sys.executable, "-P", "-m", "loragit"])


def _lines(lines: Iterable[str]) -> None:
    for line in lines:
        console.out(line)
