"""Whether a script takes the arguments that it is given, as its parser would judge them: told
before the trainer has imported anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from loragit.errors import Area, Finding
from loragit.text import count, listed
from loragit.trainers.arguments import Arguments
from loragit.trainers.sd_scripts.scripts.parser import Option, ScriptOptions

_NAMED = 5
"""Keys that a warning names; the rest are counted."""
_TOOLS = ("networks", "tools", "finetune", "library")
"""Folders of scripts that train nothing. ``tools/cache_latents.py`` takes the options of a training
all the same, but for those of models."""
_OF_DATASETS = frozenset(
    {"class_tokens", "is_reg", "num_repeats", "batch_size", "image_dir", "validation_split"}
)
"""Keys of a dataset config that count in a ``--config_file`` too, though no option is called so."""

OptionsOf = Callable[[], Iterator[tuple[str, ScriptOptions]]]
"""The other scripts of the repository, each with its options."""


def trains_nothing(script: str, takes: ScriptOptions | None) -> Finding | None:
    """Return a finding where ``script`` (relative to the trainer's repository) is one of its
    tools."""
    saves = takes is not None and "save_model_as" in takes.by_name()
    by_place = Path(script).parts[0] in _TOOLS and not saves
    lacks = takes is not None and takes.complete and not _trains(takes)
    if not by_place and not lacks:
        return None
    what = (
        "a module of the trainer" if script.startswith("library/") else "one of the trainer's tools"
    )
    return Finding(
        f"{script} trains nothing: it is {what}",
        "name a script that trains as trainer.script; start a tool yourself, or with --script",
        Area.TRAINER,
    )


def _trains(takes: ScriptOptions) -> bool:
    return {"output_dir", "max_train_steps"} <= takes.by_name().keys()


def findings(
    script: str, passed: Arguments, takes: ScriptOptions, others: OptionsOf
) -> Iterator[Finding]:
    """Yield what the script's parser would refuse of the arguments ``passed`` on its command
    line."""
    known = takes.by_name()
    for name, values in passed.options.items():
        option = known.get(name) or _abbreviated(name, known)
        if option is not None:
            yield from _value_findings(option, values)
        elif takes.complete:
            yield _unknown(script, name, known, others)
    for option in takes.options:
        if option.required and not any(option.name.startswith(name) for name in passed.options):
            problem = f"{script} needs --{option.name}"
            yield Finding(problem, "set it in trainer.args, or after --", Area.SETTINGS)


def pair_findings(effective: Arguments) -> Iterator[Finding]:
    """Yield a finding for each word of ``KEY=VALUE`` lists that the trainer could not take apart:
    for some, it does so only after the base model is loaded."""
    for name in ("network_args", "optimizer_args", "lr_scheduler_args"):
        for word in effective.options.get(name, ()):
            signs = word.count("=")
            if not signs or (signs > 1 and name != "network_args"):
                problem = f"--{name} {word!r} is not in the form KEY=VALUE"
                yield Finding(problem, "correct it in the arguments", Area.SETTINGS)


def unread_warning(script: str, filed: Arguments, takes: ScriptOptions) -> str | None:
    """Return a warning of keys in a ``--config_file`` that are no options: the trainer keeps
    them, and looks at none."""
    known = takes.by_name().keys() | _OF_DATASETS
    unread = [name for name in filed.options if name not in known]
    if not unread or not takes.complete:
        return None
    verb = "is not an option" if len(unread) == 1 else "are no options"
    near = get_close_matches(unread[0], known, 1, 0.8) if len(unread) == 1 else []
    return (
        f"{count(len(unread), 'key')} in the config file {verb} of {script}, which does not read "
        f"{'it' if len(unread) == 1 else 'them'}: {listed(unread, _NAMED)}"
        + (f" (is {near[0]} meant?)" if near else "")
    )


def _abbreviated(name: str, known: Mapping[str, Option]) -> Option | None:
    """argparse takes any beginning of an option that no other has."""
    found = {known[each].name: known[each] for each in known if each.startswith(name)}
    return next(iter(found.values())) if len(found) == 1 else None


def _unknown(script: str, name: str, known: Mapping[str, Option], others: OptionsOf) -> Finding:
    near = get_close_matches(name, known, 1, 0.75)
    if near:
        hint = f"is --{near[0]} meant?"
    elif other := next((each for each, takes in others() if name in takes.by_name()), None):
        hint = f"{other} takes it: set trainer.script to that, or take the argument out"
    else:
        hint = "take it out; see what it takes: its --help"
    return Finding(f"{script} takes no --{name}", hint, Area.SETTINGS)


def _value_findings(option: Option, values: tuple[str, ...]) -> Iterator[Finding]:
    wrong = _wrong_number(option, values)
    if wrong is not None:
        yield Finding(f"--{option.name} {wrong}", "correct it in the arguments", Area.SETTINGS)
        return
    for value in values:
        if option.kind and not _is_of_kind(option.kind, value):
            kind = "whole number" if option.kind == "int" else "number"
            problem = f"--{option.name} {value!r} is no {kind}"
            yield Finding(problem, "correct it in the arguments", Area.SETTINGS)
        elif option.kind and option.choices and value not in option.choices:
            near = get_close_matches(value, option.choices, 1)
            choices = ", ".join(choice for choice in option.choices if choice != "None")
            hint = f"is {near[0]} meant? " if near else ""
            problem = f"--{option.name} {value!r} is none of its values"
            yield Finding(problem, f"{hint}it takes {choices}", Area.SETTINGS)


def _wrong_number(option: Option, values: tuple[str, ...]) -> str | None:
    number = len(values)
    if option.values == "0" and number:
        return f"takes no value, and {values[0]!r} is given"
    if option.values == "1" and number != 1:
        return "has no value" if not number else f"takes one value, and {number} are given"
    if option.values == "?" and number > 1:
        return f"takes one value, and {number} are given"
    if option.values == "+" and not number:
        return "has no value"
    if option.values.isdigit() and int(option.values) not in (0, 1, number):
        return f"takes {option.values} values, and {number} are given"
    return None


def _is_of_kind(kind: str, value: str) -> bool:
    try:
        if kind == "int":
            int(value)
        elif kind == "float":
            float(value)
    except ValueError:
        return False
    return True
