"""The script of a run: POSIX sh that starts the trainer as loragit started it, wherever the script
lies."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable

from loragit.text import home_folder

HERE = "\0here"
"""Placeholder in a word for the folder of the script, with the recorded config and prompts beside
it."""
OUTPUT = "\0output"
"""Placeholder in a word for the output folder: ``$OUTPUT_DIR`` if set, else the script's own
folder."""


def train_script(
    name: str, workdir: str, words: Iterable[str], home: str, secret: Callable[[int], str | None]
) -> bytes:
    """Return the text of ``train.sh``.

    ``words`` are the program and its arguments, with :data:`HERE` and :data:`OUTPUT` for the
    folders. ``secret`` takes a word's index and returns the environment variable that holds its
    value if the word must not be recorded: the value is the part after ``--option=``, or else the
    whole word. Paths under ``home`` are written with ``$HOME``.
    """
    lines: list[str] = []
    for place, word in enumerate(words):
        shown = _word(word, home, secret(place))
        # An option and its values share a line; the command that starts the trainer is on the
        # first.
        if lines and not word.startswith("--"):
            lines[-1] += f" {shown}"
        else:
            lines.append(shown)
    return (
        "#!/bin/sh\n"
        f"# {name}, as loragit started it. Runs as it stands: reads the config and prompts beside "
        "it,\n"
        "# and writes to $OUTPUT_DIR, or else beside itself.\n"
        'here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 1\n'
        f"cd -- {_word(workdir, home, None)} || exit 1\n"
        "exec " + " \\\n  ".join(lines) + "\n"
    ).encode("utf-8", "surrogateescape")


def _word(word: str, home: str, variable: str | None) -> str:
    if variable is not None:
        option, equals, _ = word.partition("=") if word.startswith("--") else ("", "", "")
        return (shlex.quote(option + equals) if equals else "") + f'"${{{variable}:?}}"'
    pieces = re.split(f"({HERE}|{OUTPUT})", word)
    shown = {HERE: '"$here"', OUTPUT: '"${OUTPUT_DIR:-$here}"'}
    return "".join(shown.get(piece) or _plain(piece, home) for piece in pieces if piece) or "''"


def _plain(text: str, home: str) -> str:
    parts = home_folder(home).split(text)
    return '"$HOME"'.join(shlex.quote(part) if part else "" for part in parts) or "''"
