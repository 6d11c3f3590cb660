"""The command that starts a run's trainer, in three forms: the real one, the recorded one, and
``train.sh``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from loragit import text
from loragit.secrets import find, redact
from loragit.trainers import arguments, kinds
from loragit.trainers.train_sh import HERE, OUTPUT, train_script
from loragit.trainers.trainer import Copies, Job, Plan, Trainer


class Start(NamedTuple):
    """One command in all its forms: only the location of the copies and the end of the comment
    differ."""

    name: str
    """Name of the run."""
    program: tuple[str, ...]
    """Launcher or Python, and the trainer's script."""
    trainer: Trainer
    plan: Plan
    workdir: Path
    output: Path
    steps: int
    config: str | None
    """Path of the config in the record; ``None`` where arguments name the dataset."""
    prompts: str | None
    """Path of the prompts in the record."""
    inputs: Mapping[Path, str]
    """Path in the record of each further input, by the file it was read from."""
    home: str
    held: Mapping[str, str] = MappingProxyType({})
    """The secrets in the trainer's environment: variable name by secret."""
    own: tuple[str, ...] | None = None
    """Arguments of the user's own script, in which case ``program`` is that script; ``None`` if the
    trainer's script runs."""
    hidden: tuple[str, ...] = ()
    """Further secrets that no argument may disclose, from a file that the trainer reads."""

    @property
    def output_name(self) -> str | None:
        """Output name of the models; ``None`` if only the user's own script knows it."""
        return self.plan.output_name if self.own is None else None

    def variables(self, commit: str) -> dict[str, str]:
        """Return the variables added to the environment of the run with commit ``commit``."""
        # A loragit started again in there, and the shell functions, must know that a run is under
        # way.
        marks = {"LORAGIT_RUN": self.name, "LORAGIT_RUN_OUTPUT": str(self.output)}
        if self.own is None:
            return marks
        prompts = str(self.output / self.prompts) if self.prompts else ""
        return {
            **marks,
            "DATASET_CONFIG": str(self.output / self.config) if self.config else "",
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
            config=f"{folder}/{self.config}" if self.config else None,
            prompts=f"{folder}/{self.prompts}" if self.prompts else None,
            output=output,
            inputs={path: f"{folder}/{place}" for path, place in self.inputs.items()},
        )
        return Job(copies, self.steps, stamp)

    def config_copy(self, data: bytes) -> bytes:
        """Return the config that the trainer gets in place of ``data``, the config's own bytes. It
        is recorded itself, so it names no commit. The user's own script gets ``data`` unchanged."""
        if self.own is not None:
            return data
        job = self._job(str(self.output), str(self.output), f"loragit: {self.name}")
        return self.trainer.config_copy(self.plan, data, job)

    def words(self, commit: str) -> tuple[str, ...]:
        """Return the real command of the run with commit ``commit``. May contain secrets."""
        return self._words(str(self.output), str(self.output), f"loragit: {self.name} {commit}")

    def recorded(self) -> tuple[str, ...]:
        """Return the command for the record: secrets as ``***``, the home folder as ``~``, no
        commit (a commit cannot contain its own id)."""
        words = self._words(str(self.output), str(self.output), f"loragit: {self.name}")
        return tuple(text.home_as_tilde(word, self.home) for word in self._redacted(words))

    def arguments(self) -> Mapping[str, tuple[str, ...]]:
        """Return the arguments that count, for the record: those of settings, command line and
        files, and how long the run trains; a flag has no value.

        Those that differ from run to run are left out, and the file whose arguments these are. A
        file that is on record goes by its path there; the rest is written as in :meth:`recorded`.
        The user's own script has its own arguments, of which nothing is known.
        """
        if self.own is not None:
            return MappingProxyType({})
        plan, trainer = self.plan, self.trainer
        filed = {name for name, _ in plan.inputs}
        words = self._words(str(self.output), str(self.output), f"loragit: {self.name}")
        given = arguments.from_words(words[len(self.program) :]).without(*filed)
        counting = plan.effective.updated(given).without(
            *trainer.per_run, *filter(None, (trainer.arguments_file,))
        )
        values = [
            (name, self._path_in_record(value) if name in filed else value)
            for name, several in counting.options.items()
            for value in several
        ]
        # Each value in a word with its name: whatever it looks like, it is taken for a value.
        hidden = self._redacted(tuple(f"--{name}={value}" for name, value in values))
        found: dict[str, tuple[str, ...]] = dict.fromkeys(counting.options, ())
        for (name, _), word in zip(values, hidden, strict=True):
            value = text.home_as_tilde(word, self.home).removeprefix(f"--{name}=")
            found[name] = (*found[name], value)
        return MappingProxyType(found)

    def _path_in_record(self, value: str) -> str:
        """Return ``value``, an argument's or one of its ``key=value`` pairs, with the path in the
        record of a file that is on record."""
        known = self.inputs.get(self.workdir / value)
        if known is not None:
            return known
        key, sign, path = value.partition("=")
        return f"{key}{sign}{self.inputs.get(self.workdir / path, path)}"

    def script(self) -> bytes:
        """Return ``train.sh``, which reads secrets from the environment."""
        words = self._words(HERE, OUTPUT, f"loragit: {self.name}")
        return train_script(
            self.name, str(self.workdir), words, self.home, self._variables(words).get
        )

    def _redacted(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return redact.redact_argv(words, kinds.secret_arguments(), (*self.held, *self.hidden))

    def _variables(self, words: tuple[str, ...]) -> dict[int, str]:
        """Return the environment variable for each word that must not be recorded, keyed by the
        word's index.

        Equal values may share a variable; others never do.
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
            # The prefix keeps it apart from a shell's own variables: --path must not ask for PATH.
            name = holders.get(value) or _as_variable(
                f"SECRET_{_option(hidden, at)}".upper()
            ).rstrip("_")
            variables[at] = _free(name, value, values)
        return variables


def _value(word: str) -> str:
    """Return the value in an argument: the part after ``--option=``, or else the whole word."""
    return word.partition("=")[2] if word.startswith("--") and "=" in word else word


def _option(hidden: tuple[str, ...], at: int) -> str:
    """Return the option that the word at ``at`` belongs to, without its dashes; empty before the
    first."""
    options = (word for word in reversed(hidden[: at + 1]) if word.startswith("--"))
    return next(options, "").partition("=")[0].removeprefix("--")


def _as_variable(name: str) -> str:
    """Return ``name``, or the closest name that a shell accepts for a variable."""
    return re.sub(r"[^A-Za-z0-9_]|^(?=[0-9])", "_", name)


def _free(name: str, value: str, values: dict[str, str]) -> str:
    """Return ``name``, with a number added if another value has it already."""
    free, number = name, 1
    while values.setdefault(free, value) != value:
        number += 1
        free = f"{name}_{number}"
    return free
