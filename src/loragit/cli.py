"""The command line: options in, one verb called, exit status out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from loragit import cli_hook, console
from loragit.history import history
from loragit.record.name import CONVENTION, RunName, is_valid
from loragit.run.preflight import prepare
from loragit.settings import load
from loragit.settings import paths as places
from loragit.settings.load import Flags, Settings
from loragit.version import __version__

_app = typer.Typer(
    name="loragit",
    help="Every LoRA training run as a git commit in the dataset's own repository.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_app.add_typer(cli_hook.app, name="hook")

_USAGE = 2
"""Exit status of words that make no command."""

Json = Annotated[bool, typer.Option("--json", help="For a machine to read.")]
Dataset = Annotated[
    str | None, typer.Option(help="The dataset: a path, or a folder's name under paths.datasets.")
]


def app() -> int:
    """Read ``sys.argv`` and run the command. Returns the exit status; 2 where the words make no
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


def _run_names() -> list[str]:
    # A clone may hold a tag x;reboot, and a shell puts what it is offered into the command line as
    # it is.
    return [name for name in history.standing_names(Path.cwd()) if is_valid(name)]


def _version(wanted: bool) -> None:
    if wanted:
        console.out(f"loragit {__version__}")
        raise typer.Exit


@_app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Every LoRA training run as a git commit in the dataset's own repository."""


@_app.command()
def train(
    name: Annotated[str, typer.Argument(help=f"The run's name: {CONVENTION}.", show_default=False)],
    extra: Annotated[
        list[str] | None, typer.Argument(metavar="-- [ARGUMENTS]...", help="For the trainer.")
    ] = None,
    dataset: Dataset = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps; default, the name's.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="The run's output folder itself.")] = None,
    trainer_script: Annotated[
        str | None, typer.Option(help="Run this script with the arguments after -- and no others.")
    ] = None,
    script: Annotated[
        str | None,
        typer.Option(
            help="Run this script of yours in place of the trainer's, with the arguments after --."
        ),
    ] = None,
    from_script: Annotated[
        str | None,
        typer.Option(help="Record this script in place of train.sh: the one that starts this run."),
    ] = None,
    repo: Annotated[
        list[str] | None,
        typer.Option(help="A further repository to record; it must be committed. Repeatable."),
    ] = None,
    bump: Annotated[
        bool, typer.Option("--bump", help="Take the name's next free version.")
    ] = False,
    allow_dirty: Annotated[
        bool,
        typer.Option(
            "--allow-dirty", help="Record the changes of dirty repositories instead of refusing."
        ),
    ] = False,
    allow_secrets: Annotated[
        bool,
        typer.Option(
            "--allow-secrets", help="Record *** for secrets in files instead of refusing."
        ),
    ] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Agree to the programs and files that the dataset's own files name."
        ),
    ] = False,
    on_empty: Annotated[
        str | None, typer.Option(help="For a run that makes nothing: revert, delete-tag or keep.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show everything; write nothing.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tell more (also DEBUG=1).")] = False,
) -> None:
    """Train, on record. Arguments after -- go to the trainer."""
    from loragit.commands import train as command

    flags = Flags(
        dataset=dataset,
        steps=steps,
        output=output,
        allow_dirty=allow_dirty,
        allow_secrets=allow_secrets,
        trainer_script=trainer_script,
        on_empty=on_empty,
        debug=debug,
        repos=tuple(repo or ()),
    )
    request = prepare.Request(
        name,
        flags,
        dict(os.environ),
        Path.cwd(),
        tuple(extra or ()),
        bump,
        script,
        from_script,
        trust,
    )
    if dry_run:
        command.dry_run(request)
    else:
        raise typer.Exit(command.train(request))


@_app.command()
def log(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="A part of the name, or a pattern with * for all of it."
        ),
    ] = None,
    dataset: Dataset = None,
    model: Annotated[list[str] | None, typer.Option(help="The first part of the name.")] = None,
    version: Annotated[list[int] | None, typer.Option(help="As in -v2s512.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="running, interrupted, sealed, reverted, untagged.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="Opened since: 2026-11-23, yesterday, '2 weeks ago'.")
    ] = "",
    until: Annotated[str, typer.Option(help="Opened until.")] = "",
    where: Annotated[
        list[str] | None,
        typer.Option(help="A recorded value: args.network_dim>=16; = != < <= > >= ~."),
    ] = None,
    grep: Annotated[str, typer.Option(help="Text in messages and notes.")] = "",
    sort: Annotated[str, typer.Option(help="By a recorded value: outcome.final_loss.")] = "",
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    limit: Annotated[
        int | None, typer.Option("-n", "--limit", min=1, help="The first so many.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every dataset under paths.datasets.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Runs that made nothing, and why.")
    ] = False,
    graph: Annotated[bool, typer.Option("--graph", help="Which run went on from which.")] = False,
    as_json: Json = False,
) -> None:
    """A line a run, newest first, with what changed since the one before."""
    from loragit.commands import log as command

    wanted = command.LogOptions(
        words=tuple(words or ()),
        models=tuple(model or ()),
        versions=tuple(version or ()),
        states=tuple(state or ()),
        since=since,
        until=until,
        where=tuple(where or ()),
        grep=grep,
        sort=sort,
        reverse=reverse,
        limit=limit,
        failed=failed,
        graph=graph,
        one_dataset=dataset is not None,
        as_json=as_json,
    )
    if every:
        command.log_all(_settings(None).paths.datasets, wanted)
    else:
        command.log(_settings(dataset).dataset_dir if dataset else Path.cwd(), wanted)


@_app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME[:FILE]",
            help="A run's name, or a commit; and a file of its record.",
            autocompletion=_run_names,
        ),
    ],
    dataset: Dataset = None,
    as_json: Json = False,
) -> None:
    """One run in full, what it was made of and what came out; or one file of its record."""
    from loragit.commands import show as command

    folder = _settings(dataset).dataset_dir if dataset else Path.cwd()
    command.show(folder, name, str(places.home(os.environ)), as_json=as_json)


@_app.command()
def diff(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="A [B] [-- ARGUMENTS]",
            help="Two runs, NAME or DATASET:NAME; A alone with the run before it. Arguments are "
            "for git diff.",
            autocompletion=_run_names,
        ),
    ],
    dataset: Dataset = None,
    stat: Annotated[bool, typer.Option("--stat", help="A line a kind, with numbers.")] = False,
    as_json: Json = False,
    tool: Annotated[
        bool, typer.Option("--git", "--tool", help="Plain git diff of the two records.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where they differ.")
    ] = False,
) -> None:
    """What differs between two runs: arguments, config, captions by tag, images, code, packages."""
    from loragit.commands import diff as command

    chosen = _settings(dataset)
    extra = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    asked = command.DiffOptions(
        runs=tuple(words[: len(words) - len(extra)]),
        extra=tuple(extra),
        here=chosen.dataset_dir if dataset else Path.cwd(),
        cwd=Path.cwd(),
        stat=stat,
        as_json=as_json,
        plain_git=tool,
        exit_code=exit_code,
    )
    raise typer.Exit(command.diff(asked, chosen))


@_app.command()
def whence(
    files: Annotated[
        list[str], typer.Argument(help="Models or sample images, or folders of them.")
    ],
    dataset: Dataset = None,
    as_json: Json = False,
) -> None:
    """Which run made a model or a sample image, whatever it is called now."""
    from loragit.commands import whence as command

    chosen = _settings(dataset)
    raise typer.Exit(
        command.whence(
            [Path(f) for f in files], chosen.paths.datasets, chosen.dataset_dir, as_json=as_json
        )
    )


@_app.command()
def note(
    name: Annotated[str, typer.Argument(help="The run's name.", autocompletion=_run_names)],
    message: Annotated[
        list[str] | None, typer.Option("-m", "--message", help="What to note. Repeatable.")
    ] = None,
    star: Annotated[
        bool | None, typer.Option("--star/--no-star", help="Mark the run, or take the mark away.")
    ] = None,
    rating: Annotated[
        int | None, typer.Option(min=1, max=5, help="How good it is, from 1 to 5.")
    ] = None,
    best: Annotated[str | None, typer.Option(help="The model that was picked.")] = None,
    dataset: Dataset = None,
) -> None:
    """Note an observation on a run; in an editor where nothing is given."""
    from loragit.commands import note as command
    from loragit.record.notes import Mark

    folder = _settings(dataset).dataset_dir if dataset else Path.cwd()
    command.note(folder, name, message or [], Mark(star, rating, best))


@_app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Runs; default, the repository and every run in it.",
            autocompletion=_run_names,
        ),
    ] = None,
    dataset: Dataset = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Hash no file: only whether it is there, and how long it is."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List every run and every note.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recompute what the record says, and tell what is not so: history, records, models,
    signatures."""
    from loragit.commands import verify as command
    from loragit.history.verify.verify import VerifyOptions

    chosen = _settings(dataset)
    folder = chosen.dataset_dir if dataset else Path.cwd()
    asked = VerifyOptions(tuple(names or ()), places.home(os.environ), quick, chosen.record.sign)
    raise typer.Exit(command.verify_and_print(folder, asked, verbose=verbose, as_json=as_json))


@_app.command()
def status(dataset: Dataset = None, as_json: Json = False) -> None:
    """Runs in progress, and how the trainer's repositories stand."""
    from loragit.commands import status as command

    command.status(_settings(dataset), as_json=as_json)


@_app.command()
def recover(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Runs; default, all.")
    ] = None,
    dataset: Dataset = None,
    gone: Annotated[
        bool, typer.Option("--gone", help="The named runs run nowhere any more.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look and tell; write nothing.")
    ] = False,
) -> None:
    """Finish runs whose loragit is gone: seal what they made, take back what made nothing."""
    from loragit.commands import recover as command
    from loragit.run.recovery.recover import Asked

    asked = Asked(tuple(names or ()), gone, dry_run, dict(os.environ))
    raise typer.Exit(command.recover(_settings(dataset), asked))


@_app.command("import")
def import_(
    paths: Annotated[list[str], typer.Argument(help="Output folders, what holds them, or models.")],
    dataset: Dataset = None,
    name: Annotated[
        str | None, typer.Option(help="The run's name, where the folder has no fitting one.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look and tell; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put trainings of the past on record."""
    from loragit.commands import import_ as command
    from loragit.run.importing import plan as intake

    request = intake.Request(
        tuple(paths), dataset, name, dict(os.environ), Path.cwd(), prepare.caches() / "hashes"
    )
    command.import_(request, dry_run=dry_run, as_json=as_json)


@_app.command()
def doctor(
    name: Annotated[
        str | None, typer.Argument(help="Check what this run needs; default, what any run needs.")
    ] = None,
    dataset: Dataset = None,
    as_json: Json = False,
) -> None:
    """Look at all that a run needs, and tell what is wrong and how to mend it."""
    from loragit.commands import doctor as command

    asked = command.Asked(name, dataset, dict(os.environ), Path.cwd())
    raise typer.Exit(command.doctor(asked, as_json=as_json))


@_app.command("settings")
def settings_(
    name: Annotated[
        str | None, typer.Argument(help="Also apply what holds for a run of this name.")
    ] = None,
    dataset: Dataset = None,
    as_json: Json = False,
) -> None:
    """Every effective setting and where it came from."""
    from loragit.commands import settings as command

    command.show(_settings(dataset, name), os.environ, as_json=as_json)


@_app.command("trust")
def trust_(
    dataset: Dataset = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to all of it.")] = False,
) -> None:
    """See which programs and files a dataset's own files name, and agree to them."""
    from loragit.commands import trust as command

    raise typer.Exit(command.trust_(_settings(dataset), yes=yes))


@_app.command()
def init(
    folder: Annotated[str, typer.Argument(help="The dataset's folder.")] = ".",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing, take the defaults.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show everything; write nothing.")
    ] = False,
) -> None:
    """Set a dataset up: settings, config, prompts and repository, from what is found around it."""
    from loragit.commands import init as command

    request = command.Request(
        folder, Path.cwd(), dict(os.environ), cli_hook.own_command(), yes, dry_run
    )
    raise typer.Exit(command.init(request))


@_app.command()
def demo(
    folder: Annotated[
        str | None, typer.Argument(help="Keep everything here; default, a new scratch folder.")
    ] = None,
) -> None:
    """Three small trainings with a real little trainer, on record in a scratch repository."""
    from loragit.commands import demo as command

    raise typer.Exit(command.demo(Path(folder).absolute() if folder else None, os.environ))


@_app.command()
def zsh() -> None:
    """Functions for training scripts, to be read with: source <(loragit zsh)"""
    from loragit.commands import shell as command

    console.write(command.source("zsh"))


@_app.command()
def bash() -> None:
    """Functions for training scripts, to be read with: source <(loragit bash)"""
    from loragit.commands import shell as command

    console.write(command.source("bash"))


def _settings(dataset: str | None, name: str | None = None) -> Settings:
    run = RunName.parse(name) if name else None
    return load.load(name=run, flags=Flags(dataset=dataset), environ=os.environ, cwd=Path.cwd())
