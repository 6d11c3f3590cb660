"""How one run's trainer is started, told three ways: the real command, the recorded one, and
``train.sh``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from loragit import text
from loragit.secrets import find, redact
from loragit.trainers import kinds
from loragit.trainers.train_sh import HERE, OUTPUT, train_script
from loragit.trainers.trainer import Copies, Job, Plan, Trainer


class Start(NamedTuple):
    """The same words every time, but for where the copies lie and how the comment ends."""

    name: str
    """The run's."""
    program: tuple[str, ...]
    """Launcher or Python, and the trainer's script."""
    trainer: Trainer
    plan: Plan
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
    held: Mapping[str, str] = MappingProxyType({})
    """The variable that holds it, by each secret of the trainer's environment."""
    own: tuple[str, ...] | None = None
    """Arguments of the user's own script, which is ``program`` then; ``None`` where the trainer's
    script runs."""
    hidden: tuple[str, ...] = ()
    """Further secrets, which no argument may give away: those of a file that the trainer reads."""

    @property
    def output_name(self) -> str | None:
        """What the models will be called; ``None`` where only the user's own script knows."""
        return self.plan.output_name if self.own is None else None

    def variables(self, commit: str) -> dict[str, str]:
        """What is added to the environment of the run whose commit is ``commit``."""
        # Whoever starts loragit again in there, and the shell functions, must know that a run is
        # under way.
        marks = {"LORAGIT_RUN": self.name, "LORAGIT_RUN_OUTPUT": str(self.output)}
        if self.own is None:
            return marks
        prompts = str(self.output / self.prompts) if self.prompts else ""
        return {
            **marks,
            "DATASET_CONFIG": str(self.output / self.config),
            "SAMPLE_PROMPTS": prompts,
            "TRAINING_COMMENT": f"loragit: {self.name} {commit}",
        }

    def _words(self, folder: str, output: str, stamp: str) -> tuple[str, ...]:
        if self.own is not None:
            return self.program + self.own
        return self.program + self.trainer.words(
            self.plan, self.workdir, self._job(folder, output, stamp)
        )

    def _job(self, folder: str, output: str, stamp: str) -> Job:
        copies = Copies(
            config=f"{folder}/{self.config}",
            prompts=f"{folder}/{self.prompts}" if self.prompts else None,
            output=output,
            inputs={path: f"{folder}/{place}" for path, place in self.inputs.items()},
        )
        return Job(copies, self.steps, stamp)

    def config_copy(self, data: bytes) -> bytes:
        """What the trainer gets in place of ``data``, the bytes of the config. It is on record
        itself, and so names no commit. The user's own script gets them as they are."""
        if self.own is not None:
            return data
        job = self._job(str(self.output), str(self.output), f"loragit: {self.name}")
        return self.trainer.config_copy(self.plan, data, job)

    def words(self, commit: str) -> tuple[str, ...]:
        """What is started for the run whose commit is ``commit``. May hold secrets."""
        return self._words(str(self.output), str(self.output), f"loragit: {self.name} {commit}")

    def recorded(self) -> tuple[str, ...]:
        """The command for the record: secrets ``***``, the home folder ``~``, no commit (it would
        hold its own id)."""
        words = self._words(str(self.output), str(self.output), f"loragit: {self.name}")
        return tuple(text.home_as_tilde(word, self.home) for word in self._redacted(words))

    def script(self) -> bytes:
        """``train.sh``: secrets are read from the environment."""
        words = self._words(HERE, OUTPUT, f"loragit: {self.name}")
        return train_script(
            self.name, str(self.workdir), words, self.home, self._variables(words).get
        )

    def _redacted(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return redact.redact_argv(words, kinds.secret_arguments(), (*self.held, *self.hidden))

    def _variables(self, words: tuple[str, ...]) -> dict[int, str]:
        """The environment variable for each word that must not be recorded, by the word's place.

        Equal values may share a variable, others never do.
        """
        hidden = self._redacted(words)
        given = find.secret_arguments(words, kinds.secret_arguments())
        others = [at for at, word in enumerate(words) if word != hidden[at] and at not in given]
        variables: dict[int, str] = {}
        holders = {value: _as_variable(name) for value, name in self.held.items()}
        values: dict[str, str] = {}
        for at, value in given.items():
            variables[at] = _free(_as_variable(_option(hidden, at).upper()), value, values)
        holders |= {given[at]: variables[at] for at in reversed(variables)}
        for at in others:
            value = _value(words[at])
            # With a prefix, for a shell has variables of its own: --path must not ask for PATH.
            name = holders.get(value) or _as_variable(
                f"SECRET_{_option(hidden, at)}".upper()
            ).rstrip("_")
            variables[at] = _free(name, value, values)
        return variables


def _value(word: str) -> str:
    """What stands for an argument's value: all of a word, or what ``--option=`` is followed by."""
    return word.partition("=")[2] if word.startswith("--") and "=" in word else word


def _option(hidden: tuple[str, ...], at: int) -> str:
    """The option that the word at ``at`` belongs to, without its dashes; empty before the first."""
    options = (word for word in reversed(hidden[: at + 1]) if word.startswith("--"))
    return next(options, "").partition("=")[0].removeprefix("--")


def _as_variable(name: str) -> str:
    """``name``, or what is nearest to it that a shell takes for a variable's name."""
    return re.sub(r"[^A-Za-z0-9_]|^(?=[0-9])", "_", name)


def _free(name: str, value: str, values: dict[str, str]) -> str:
    """``name``, with a number where another value has it already."""
    free, number = name, 1
    while values.setdefault(free, value) != value:
        number += 1
        free = f"{name}_{number}"
    return free
