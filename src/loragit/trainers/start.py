"""How one run's trainer is started, told three ways: the real command, the recorded one, and ``train.sh``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import secrets, text
from loragit.trainers import sd_scripts
from loragit.trainers.script import HERE, OUTPUT, train_script


class Start(NamedTuple):
    """The same words every time, but for where the copies lie and how the comment ends."""

    name: str
    """The run's."""
    program: tuple[str, ...]
    """Launcher or Python, and the trainer's script."""
    plan: sd_scripts.Plan
    workdir: Path
    output: Path
    steps: int
    config: str
    """Path of the config in the record."""
    prompts: str | None
    """Path of the prompts in the record."""
    inputs: Mapping[Path, str]
    """Path in the record of each further input, by the file it was read from."""
    home: str

    def _words(self, folder: str, output: str, comment: str) -> tuple[str, ...]:
        copies = sd_scripts.Copies(
            config=f"{folder}/{self.config}",
            prompts=f"{folder}/{self.prompts}" if self.prompts else None,
            output=output,
            inputs={path: f"{folder}/{place}" for path, place in self.inputs.items()},
        )
        return self.program + sd_scripts.words(self.plan, self.workdir, copies, self.steps, comment)

    def words(self, commit: str) -> tuple[str, ...]:
        """What is started for the run whose commit is ``commit``. May hold secrets."""
        return self._words(str(self.output), str(self.output), f"loragit: {self.name} {commit}")

    def recorded(self) -> tuple[str, ...]:
        """The command for the record: secrets ``***``, the home folder ``~``, no commit (it would hold its own id)."""
        words = self._words(str(self.output), str(self.output), f"loragit: {self.name}")
        return tuple(text.home_as_tilde(word, self.home) for word in secrets.redact_argv(words))

    def script(self) -> bytes:
        """``train.sh``: secrets are read from the environment."""
        words = self._words(HERE, OUTPUT, f"loragit: {self.name}")
        hidden = {
            word: _variable(words[: index + 1])
            for index, (word, kept) in enumerate(zip(words, secrets.redact_argv(words), strict=True))
            if word != kept
        }
        return train_script(self.name, str(self.workdir), words, self.home, hidden.get)


def _variable(words: tuple[str, ...]) -> str:
    """The environment variable that stands for a secret argument: its name in capitals."""
    word = words[-1]
    if word.startswith("--"):
        option = word[2:].partition("=")[0]
    else:
        option = next((w[2:] for w in reversed(words) if w.startswith("--")), "secret")
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in option).upper()
    return f"_{name}" if name[:1].isdigit() else name
