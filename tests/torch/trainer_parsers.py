"""``trainer_parsers.py SD_SCRIPTS SCRIPT…``: what the parsers of sd-scripts take, as JSON;
``trainer_parsers.py SD_SCRIPTS --parse COMMANDS`` fails where one does not take its command.
Scripts whose modules are missing here are left out."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys


def _row(action: argparse.Action) -> list[object]:
    flag = action.nargs == 0
    kinds: dict[object, str] = {int: "int", float: "float", str: "str", None: "str"}
    return [
        kinds.get(action.type, ""),
        "0" if flag else str(action.nargs or "1"),
        [str(each) for each in action.choices or ()],
        None if action.default is None or flag else str(action.default),
        action.required,
    ]


def main(trainer: str, scripts: list[str]) -> None:
    """Print the parsers of ``scripts``."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path.insert(0, trainer)
    found: dict[str, dict[str, list[object]]] = {}
    for script in scripts:
        try:
            parser = importlib.import_module(script.removesuffix(".py")).setup_parser()
        except ImportError:
            continue
        found[script] = {
            names[0]: _row(action)
            for action in parser._actions
            if (names := [each[2:] for each in action.option_strings if each.startswith("--")])
            and names[0] != "help"
        }
    answers.write(json.dumps(found) + "\n")


def parse(trainer: str, commands: dict[str, list[str]]) -> None:
    """Have each script's parser read the words of its command."""
    sys.path.insert(0, trainer)
    for script, words in commands.items():
        try:
            parser = importlib.import_module(script.removesuffix(".py")).setup_parser()
        except ImportError:
            continue
        parser.parse_args(words)


if __name__ == "__main__":
    if sys.argv[2] == "--parse":
        parse(sys.argv[1], json.loads(sys.argv[3]))
    else:
        main(sys.argv[1], sys.argv[2:])
