"""What ``--help`` shows: the verbs by group, the longer options, and examples of each command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, core

from loragit.history import history
from loragit.record.name import is_valid

GROUPS = {
    "Train": ("train", "status", "recover"),
    "Look": ("log", "show", "diff", "whence"),
    "Keep": ("note", "verify", "import"),
    "Set up": ("init", "doctor", "settings", "trust", "hook", "zsh", "bash", "demo"),
}
"""Every verb, in the order in which they are shown."""

EXAMPLES = {
    "": (
        "loragit init",
        "loragit train noob-gren-v2s512",
        "loragit log",
    ),
    "train": (
        "loragit train noob-gren-v2s512",
        "loragit train noob-gren-v2s512 --dry-run",
        "loragit train noob-gren-v2s512 --bump -- --learning_rate 5e-5",
    ),
    "status": (
        "loragit status",
        "loragit status --dataset gren",
    ),
    "recover": (
        "loragit recover --dry-run",
        "loragit recover noob-gren-v2s512 --gone",
    ),
    "log": (
        "loragit log -n 5",
        "loragit log --model noob --where 'args.network_dim>=16'",
        "loragit log --all --sort outcome.final_loss",
    ),
    "show": (
        "loragit show noob-gren-v2s512",
        "loragit show noob-gren-v2s512:config.toml",
    ),
    "diff": (
        "loragit diff noob-gren-v2s512",
        "loragit diff noob-gren-v1s512 noob-gren-v2s512 --stat",
    ),
    "whence": (
        "loragit whence favourite.safetensors",
        "loragit whence ~/ComfyUI/models/loras --json",
    ),
    "note": (
        "loragit note noob-gren-v2s512 -m 'hands are better' --rating 4",
        "loragit note noob-gren-v2s512 --star",
    ),
    "verify": (
        "loragit verify",
        "loragit verify noob-gren-v2s512 --quick",
    ),
    "import": (
        "loragit import ~/loras --dry-run",
        "loragit import ~/loras/old-run --name noob-gren-v1s512",
    ),
    "init": (
        "loragit init",
        "loragit init ~/datasets/gren --yes",
    ),
    "doctor": (
        "loragit doctor",
        "loragit doctor noob-gren-v2s512",
    ),
    "settings": (
        "loragit settings",
        "loragit settings noob-gren-v2s512 --json",
    ),
    "trust": (
        "loragit trust",
        "loragit trust --dataset gren --yes",
    ),
    "zsh": (
        "loragit zsh | less",
        "loragit zsh > helpers.zsh",
    ),
    "bash": (
        "loragit bash | less",
        "loragit bash > helpers.bash",
    ),
    "demo": (
        "loragit demo",
        "loragit demo ~/loragit-demo",
    ),
    "hook": (
        "loragit hook install",
        "loragit hook status",
    ),
    "hook install": (
        "loragit hook install --secrets",
        "loragit hook install reference-transaction",
    ),
    "hook uninstall": (
        "loragit hook uninstall",
        "loragit hook uninstall reference-transaction",
    ),
    "hook status": (
        "loragit hook status",
        "loragit hook status pre-commit",
    ),
    "hook show": (
        "loragit hook show update",
        "loragit hook show pre-commit > pre-commit",
    ),
    "hook run": (
        "loragit hook run pre-commit",
        "loragit hook run secrets captions.txt",
    ),
}
"""By the words of the command after ``loragit``."""


def run_names() -> list[str]:
    """What a shell is offered where a run is to be named."""
    # A clone may hold a tag x;reboot, and a shell puts what it is offered into the command line as
    # it is.
    return [name for name in history.standing_names(Path.cwd()) if is_valid(name)]


# ---- options and arguments; those of one line are where they are used ----

Json = Annotated[bool, Option("--json", help="For a machine to read.")]
Dataset = Annotated[
    str | None, Option(help="The dataset: a path, or a folder's name under paths.datasets.")
]
Extra = Annotated[list[str] | None, Argument(metavar="-- [ARGUMENTS]...", help="For the trainer.")]
TrainerScript = Annotated[
    str | None, Option(help="Run this script with the arguments after -- and no others.")
]
Config = Annotated[
    str | None,
    Option(help="A file of the trainer's arguments: TOML, or a preset (JSON) of the kohya_ss GUI."),
]
Script = Annotated[
    str | None,
    Option(help="Run your own script in place of the trainer's, with the arguments after --."),
]
DatasetFolder = Annotated[
    list[str] | None,
    Option(help="With --script: a folder to record in place of a dataset config's. Repeatable."),
]
NoDatasetConfig = Annotated[
    bool, Option("--no-dataset-config", help="With --script: there is no dataset config.")
]
FromScript = Annotated[
    str | None, Option(help="Record this script, which starts this run, in place of train.sh.")
]
ImportName = Annotated[str | None, Option(help="The run's name, if the folder's name is not one.")]
FurtherRepos = Annotated[
    list[str] | None,
    Option(help="A further repository to record; it must be committed. Repeatable."),
]
AllowDirty = Annotated[
    bool,
    Option("--allow-dirty", help="Record changes of dirty repositories instead of refusing."),
]
AllowSecrets = Annotated[
    bool, Option("--allow-secrets", help="Record *** for secrets instead of refusing.")
]
Trust = Annotated[
    bool, Option("--trust", help="Agree to the programs and files that the dataset names.")
]
OnEmpty = Annotated[
    str | None, Option(help="If the run makes nothing: revert, delete-tag or keep.")
]
DryRun = Annotated[bool, Option("--dry-run", help="Show what would be done; write nothing.")]
RunNames = Annotated[
    list[str] | None,
    Argument(metavar="[NAME]...", help="Runs; default, all.", autocompletion=run_names),
]
RunOrFile = Annotated[
    str,
    Argument(
        metavar="NAME[:FILE]",
        help="A run's name, or a commit; and a file of its record.",
        autocompletion=run_names,
    ),
]
TwoRuns = Annotated[
    list[str],
    Argument(
        metavar="A [B] [-- ARGUMENTS]",
        help="Two runs, NAME or DATASET:NAME; A alone is compared with the run before it. "
        "Arguments are for git diff.",
        autocompletion=run_names,
    ),
]
NamePatterns = Annotated[
    list[str] | None,
    Argument(metavar="[NAME]...", help="A part of the name, or a pattern with * for all of it."),
]
States = Annotated[
    list[str] | None, Option(help="running, interrupted, sealed, reverted, untagged.")
]
Conditions = Annotated[
    list[str] | None, Option(help="A recorded value: args.network_dim>=16; = != < <= > >= ~.")
]
Messages = Annotated[list[str] | None, Option("-m", "--message", help="What to note. Repeatable.")]
Star = Annotated[bool | None, Option("--star/--no-star", help="Mark the run, or remove the mark.")]
Quick = Annotated[
    bool, Option("--quick", help="Hash no file; check only that it is there, and its size.")
]
Verbose = Annotated[bool, Option("--verbose", "-v", help="List every run and every note.")]
PlainGit = Annotated[bool, Option("--git", "--tool", help="Plain git diff of the two records.")]
OpenRuns = Annotated[list[str] | None, Argument(metavar="[NAME]...", help="Runs; default, all.")]


class WithExamples(core.TyperGroup):
    """A group whose commands end their help with examples."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        own = "" if self.name == "loragit" else f"{self.name} "
        self.epilog = _examples(own.strip())
        for name, command in self.commands.items():
            command.epilog = _examples(own + name)


class Verbs(WithExamples):
    """All of loragit's verbs, shown in :data:`GROUPS`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class has it
        return [verb for verbs in GROUPS.values() for verb in verbs]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A section a group. The names are padded, so that all sections have their lines begin in
        one column."""
        width = max(map(len, self.list_commands(ctx)))
        for group, verbs in GROUPS.items():
            with formatter.section(group):
                helps = (self.commands[verb].get_short_help_str(formatter.width) for verb in verbs)
                names = (verb.ljust(width) for verb in verbs)
                formatter.write_dl(list(zip(names, helps, strict=True)))


def _examples(words: str) -> str:
    """The end of the help of ``loragit WORDS``; the backspace keeps its lines as they are."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in EXAMPLES[words])))
