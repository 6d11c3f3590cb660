"""The command line: options in, one verb called, exit status out.

:mod:`loragit.cli_help` has what ``--help`` shows besides: groups, longer options, examples.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from loragit import cli_help, cli_hook, console
from loragit.record.name import CONVENTION, RunName
from loragit.settings import load
from loragit.settings import paths as settings_paths
from loragit.settings.values import Flags, Settings
from loragit.version import __version__

_app = typer.Typer(
    name="loragit",
    cls=cli_help.Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_app.add_typer(cli_hook.app, name="hook")

_USAGE = 2
"""Exit status of words that make no command."""


def app() -> int:
    """Run the command that ``sys.argv`` gives. Returns the exit status; 2 if there is no such
    command."""
    try:
        _app(prog_name="loragit")
    except SystemExit as ended:
        if ended.code == _USAGE and sys.argv[1:2] == ["train"] and "--" not in sys.argv:
            console.hint(
                "the trainer's own arguments follow --, as in: loragit train NAME -- "
                "--network_dim 8"
            )
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        console.out(f"loragit {__version__}")
        raise typer.Exit


@_app.callback()
def _main(
    version: Annotated[
        bool, Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Every LoRA training run as a git commit in the dataset's own repository."""


@_app.command()
def train(
    name: Annotated[str, Argument(help=f"The run's name: {CONVENTION}.", show_default=False)],
    extra: cli_help.Extra = None,
    config: cli_help.Config = None,
    dataset: cli_help.Dataset = None,
    steps: Annotated[int | None, Option(min=1, help="Training steps; default, the name's.")] = None,
    output: Annotated[str | None, Option(help="The run's output folder itself.")] = None,
    trainer_script: cli_help.TrainerScript = None,
    script: cli_help.Script = None,
    dataset_folder: cli_help.DatasetFolder = None,
    no_dataset_config: cli_help.NoDatasetConfig = False,
    from_script: cli_help.FromScript = None,
    repo: cli_help.FurtherRepos = None,
    bump: Annotated[bool, Option("--bump", help="Take the name's next free version.")] = False,
    allow_dirty: cli_help.AllowDirty = False,
    allow_secrets: cli_help.AllowSecrets = False,
    trust: cli_help.Trust = False,
    on_empty: cli_help.OnEmpty = None,
    dry_run: cli_help.DryRun = False,
    debug: Annotated[bool, Option("--debug", help="Print more (also DEBUG=1).")] = False,
) -> None:
    """Train, on record; arguments after -- go to the trainer."""
    from loragit.commands import train as command
    from loragit.run.preflight.phases import Request

    # fmt: off
    flags = Flags(
        dataset=dataset, steps=steps, output=output, trainer_script=trainer_script, debug=debug,
        allow_dirty=allow_dirty, allow_secrets=allow_secrets, on_empty=on_empty,
        repos=tuple(repo or ()),
    )
    request = Request.parse(
        name, flags, dict(os.environ), Path.cwd(), tuple(extra or ()), bump=bump, script=script,
        from_script=from_script, config=config, dataset_folders=tuple(dataset_folder or ()),
        no_dataset_config=no_dataset_config,
    )
    # fmt: on
    if dry_run:
        command.dry_run(request, trusted=trust)
    else:
        raise typer.Exit(command.train(request, trusted=trust))


@_app.command()
def status(dataset: cli_help.Dataset = None, as_json: cli_help.Json = False) -> None:
    """Show runs in progress and the state of the trainer's code."""
    from loragit.commands import status as command

    command.status(_settings(dataset), as_json=as_json)


@_app.command()
def recover(
    names: cli_help.OpenRuns = None,
    dataset: cli_help.Dataset = None,
    gone: Annotated[bool, Option("--gone", help="The named runs no longer run anywhere.")] = False,
    dry_run: cli_help.DryRun = False,
) -> None:
    """Finish runs whose loragit is gone.

    What they made is sealed; those that made nothing are reverted.
    """
    from loragit.commands import recover as command
    from loragit.run.recovery.recover import RecoverOptions

    options = RecoverOptions(tuple(names or ()), gone, dry_run, dict(os.environ))
    raise typer.Exit(command.recover(_settings(dataset), options))


@_app.command()
def log(
    words: cli_help.NamePatterns = None,
    dataset: cli_help.Dataset = None,
    model: Annotated[list[str] | None, Option(help="The first part of the name.")] = None,
    version: Annotated[list[int] | None, Option(help="As in -v2s512.")] = None,
    state: cli_help.States = None,
    since: Annotated[str, Option(help="Opened since: 2026-11-23, yesterday, '2 weeks ago'.")] = "",
    until: Annotated[str, Option(help="Opened until.")] = "",
    where: cli_help.Conditions = None,
    grep: Annotated[str, Option(help="Text in messages and notes.")] = "",
    sort: Annotated[str, Option(help="By a recorded value: outcome.final_loss.")] = "",
    reverse: Annotated[bool, Option("--reverse", help="In reverse order.")] = False,
    limit: Annotated[int | None, Option("-n", "--limit", min=1, help="At most this many.")] = None,
    every: Annotated[bool, Option("--all", help="Every dataset under paths.datasets.")] = False,
    failed: Annotated[bool, Option("--failed", help="Runs that made nothing, and why.")] = False,
    graph: Annotated[bool, Option("--graph", help="Which run continued which.")] = False,
    as_json: cli_help.Json = False,
) -> None:
    """List runs, newest first, with what changed since the last."""
    from loragit.commands import log as command

    # fmt: off
    wanted = command.LogOptions(
        words=tuple(words or ()), models=tuple(model or ()), versions=tuple(version or ()),
        states=tuple(state or ()), since=since, until=until, where=tuple(where or ()), grep=grep,
        sort=sort, reverse=reverse, limit=limit, failed=failed, graph=graph,
        one_dataset=dataset is not None, as_json=as_json,
    )
    # fmt: on
    if every:
        command.log_all(_settings(None).paths.datasets, wanted)
    else:
        command.log(_folder(dataset), wanted)


@_app.command()
def show(
    name: cli_help.RunOrFile,
    dataset: cli_help.Dataset = None,
    as_json: cli_help.Json = False,
) -> None:
    """Show one run in full, or one file of its record."""
    from loragit.commands import show as command

    home = settings_paths.home_of(os.environ)
    command.show(_folder(dataset), name, str(home), as_json=as_json)


@_app.command()
def diff(
    words: cli_help.TwoRuns,
    dataset: cli_help.Dataset = None,
    stat: Annotated[bool, Option("--stat", help="A line for each kind, with counts.")] = False,
    as_json: cli_help.Json = False,
    tool: cli_help.PlainGit = False,
    exit_code: Annotated[bool, Option("--exit-code", help="Exit with 1 if they differ.")] = False,
) -> None:
    """Compare two runs by meaning.

    Arguments, config, captions by tag, images, code and packages are compared.
    """
    from loragit.commands import diff as command

    chosen = _settings(dataset)
    extra = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    # fmt: off
    options = command.DiffOptions(
        runs=tuple(words[: len(words) - len(extra)]), extra=tuple(extra),
        here=chosen.dataset_dir if dataset else Path.cwd(), cwd=Path.cwd(),
        stat=stat, as_json=as_json, plain_git=tool, exit_code=exit_code,
    )
    # fmt: on
    raise typer.Exit(command.diff(options, chosen))


@_app.command()
def whence(
    files: Annotated[list[str], Argument(help="Models or sample images, or folders of them.")],
    dataset: cli_help.Dataset = None,
    as_json: cli_help.Json = False,
) -> None:
    """Find the run that made a model or a sample image.

    Files are found by their contents, whatever they are called now.
    """
    from loragit.commands import whence as command

    chosen = _settings(dataset)
    paths = [Path(file) for file in files]
    raise typer.Exit(
        command.whence(paths, chosen.paths.datasets, chosen.dataset_dir, as_json=as_json)
    )


@_app.command()
def note(
    name: Annotated[str, Argument(help="The run's name.", autocompletion=cli_help.run_names)],
    message: cli_help.Messages = None,
    star: cli_help.Star = None,
    rating: Annotated[int | None, Option(min=1, max=5, help="How good it is, from 1 to 5.")] = None,
    best: Annotated[str | None, Option(help="The model that was picked.")] = None,
    dataset: cli_help.Dataset = None,
) -> None:
    """Note an observation on a run.

    Without options, an editor opens.
    """
    from loragit.commands import note as command
    from loragit.record.notes import Mark

    command.note(_folder(dataset), name, message or [], Mark(star, rating, best))


@_app.command()
def verify(
    names: cli_help.RunNames = None,
    dataset: cli_help.Dataset = None,
    quick: cli_help.Quick = False,
    verbose: cli_help.Verbose = False,
    as_json: cli_help.Json = False,
) -> None:
    """Check that everything is still as recorded.

    History, records, models and signatures are computed anew and compared.
    """
    from loragit.commands import verify as command
    from loragit.history.verify.verify import VerifyOptions

    chosen = _settings(dataset)
    folder = chosen.dataset_dir if dataset else Path.cwd()
    options = VerifyOptions(
        tuple(names or ()), settings_paths.home_of(os.environ), quick, chosen.record.sign
    )
    raise typer.Exit(command.verify_and_print(folder, options, verbose=verbose, as_json=as_json))


@_app.command("import")
def import_(
    paths: Annotated[list[str], Argument(help="Output folders, folders of those, or models.")],
    dataset: cli_help.Dataset = None,
    name: cli_help.ImportName = None,
    dry_run: cli_help.DryRun = False,
    as_json: cli_help.Json = False,
) -> None:
    """Put earlier trainings on record."""
    from loragit.commands import import_ as command
    from loragit.run.importing import plan as intake
    from loragit.settings.paths import cache_folder

    request = intake.ImportRequest(
        tuple(paths), dataset, name, dict(os.environ), Path.cwd(), cache_folder() / "hashes"
    )
    command.import_(request, dry_run=dry_run, as_json=as_json)


@_app.command()
def init(
    folder: Annotated[str, Argument(help="The dataset's folder.")] = ".",
    yes: Annotated[bool, Option("--yes", "-y", help="Ask nothing, take the defaults.")] = False,
    dry_run: cli_help.DryRun = False,
) -> None:
    """Set a dataset up: settings, config, prompts, repository.

    They are made from what is found around it.
    """
    from loragit.commands import init as command

    options = command.InitOptions(
        folder, Path.cwd(), dict(os.environ), cli_hook.own_command(), yes, dry_run
    )
    raise typer.Exit(command.init(options))


@_app.command()
def doctor(
    name: Annotated[
        str | None, Argument(help="Check what this run needs; default, what any run needs.")
    ] = None,
    dataset: cli_help.Dataset = None,
    as_json: cli_help.Json = False,
) -> None:
    """Check all that a run needs, and say how to fix it."""
    from loragit.commands import doctor as command
    from loragit.commands.doctor.examination import DoctorOptions

    options = DoctorOptions(name, dataset, dict(os.environ), Path.cwd())
    raise typer.Exit(command.doctor(options, as_json=as_json))


@_app.command("settings")
def settings_(
    name: Annotated[
        str | None, Argument(help="Also apply what is set for a run of this name.")
    ] = None,
    dataset: cli_help.Dataset = None,
    as_json: cli_help.Json = False,
) -> None:
    """Show every setting and where it came from."""
    from loragit.commands import settings as command

    command.show(_settings(dataset, name), os.environ, as_json=as_json)


@_app.command("trust")
def trust_(
    dataset: cli_help.Dataset = None,
    yes: Annotated[bool, Option("--yes", "-y", help="Agree to all of it.")] = False,
) -> None:
    """Agree to the programs and files that a dataset names."""
    from loragit.commands import trust as command

    raise typer.Exit(
        command.trust_(_settings(dataset), str(settings_paths.home_of(os.environ)), yes=yes)
    )


@_app.command()
def zsh() -> None:
    """Print functions for training scripts in zsh.

    A script reads them with: source <(loragit zsh)
    """
    from loragit.commands import shell as command

    console.write(command.functions_source("zsh"))


@_app.command()
def bash() -> None:
    """Print functions for training scripts in bash.

    A script reads them with: source <(loragit bash)
    """
    from loragit.commands import shell as command

    console.write(command.functions_source("bash"))


@_app.command()
def demo(
    folder: Annotated[
        str | None, Argument(help="Keep everything here; default, a new scratch folder.")
    ] = None,
) -> None:
    """Record three small trainings in a scratch repository.

    A small trainer of loragit's own really runs; it needs no graphics card.
    """
    from loragit.commands import demo as command

    raise typer.Exit(command.demo(Path(folder).absolute() if folder else None, os.environ))


def _settings(dataset: str | None, name: str | None = None) -> Settings:
    run = RunName.parse(name) if name else None
    return load.load_settings(
        name=run, flags=Flags(dataset=dataset), environ=os.environ, cwd=Path.cwd()
    )


def _folder(dataset: str | None) -> Path:
    """The dataset's folder, or without one the current folder."""
    return _settings(dataset).dataset_dir if dataset else Path.cwd()
