"""Checks of the trainer: its repository, its Python, the packages it needs, the graphics card."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from loragit.commands.doctor.check import TRAINER, Check, Checks
from loragit.errors import Area, LoragitError
from loragit.git import checkout
from loragit.git.checkout import StateQuestion
from loragit.record.message import lycoris_line, repository_line
from loragit.record.values import Environment, LyCORIS
from loragit.run.preflight import launch
from loragit.settings.values import Settings
from loragit.trainers import kinds
from loragit.trainers.environment import pythons
from loragit.trainers.environment.packages import EnvironmentQuestion


class TrainerQuestion:
    """The questions about the trainer, under way from the start.

    ``workdir`` is where the trainer will run, ``python`` its Python or why there is none, ``env``
    its environment. What a run is refused for is worded as in the preflight.
    """

    def __init__(
        self,
        chosen: Settings,
        python: Path | LoragitError,
        *,
        workdir: Path,
        env: Mapping[str, str],
        cache: Path,
    ) -> None:
        self._found = Checks(TRAINER)
        self._chosen = chosen
        self._python = python
        self._script = chosen.trainer.repo / chosen.trainer.script
        self._environment: EnvironmentQuestion | None = None
        self._state: StateQuestion | None = None
        folder = self._script.parent
        # A missing trainer is no reason not to check its Python.
        cwd = workdir if workdir.is_dir() else Path("/")
        try:
            if isinstance(python, Path):
                self._environment = EnvironmentQuestion(
                    python, cwd=cwd, script_folder=folder, env=env, cache=cache
                )
            self._state = StateQuestion(folder, "") if folder.is_dir() else None
        except LoragitError as error:
            self._found.fail("python", error.message, error.hint)

    def answer(self) -> tuple[Check, ...]:
        """Wait for all answers."""
        self._ask_code()
        self._ask_environment()
        return self._found.all()

    def _ask_code(self) -> None:
        script = self._script
        if os.path.isfile(script):
            self._found.ok("script", f"the trainer's script is {script}")
        else:
            self._found.fail(
                "script",
                f"there is no trainer script {script}",
                launch.missing_script_hint(self._chosen, script),
            )
        if self._state is None:
            return
        try:
            state = self._state.answer()
            kind, folder = self._chosen.trainer.kind, self._script.parent
            state = state._replace(label=kinds.repository_label(kind, state.path, folder))
        except LoragitError as error:
            self._found.fail("repository", error.message, error.hint)
            return
        if not state.dirty:
            self._found.ok("repository", f"{repository_line(state)} at {state.path}, clean")
            return
        problem, hint, _ = checkout.dirty(state, Area.TRAINER)
        if self._chosen.record.allow_dirty:
            hint = "its changes are recorded with every run; commit them there"
        self._found.warn("repository", problem, hint)

    def _ask_environment(self) -> None:
        if isinstance(self._python, LoragitError):
            self._found.fail("python", self._python.message, self._python.hint)
        if self._environment is None:
            return
        try:
            environment, lycoris = self._environment.answer()
        except LoragitError as error:
            self._found.fail("python", error.message, error.hint)
            return
        self._found.ok("python", f"the trainer's Python is {environment.python} at {self._python}")
        self._packages(environment)
        self._lycoris(lycoris)
        self._card(environment)

    def _packages(self, environment: Environment) -> None:
        """torch is never imported: unless it is from the default index, its version says how it
        was built."""
        lines = {re.split(r"==| @ ", line)[0]: line for line in environment.packages}
        trainer = kinds.trainer_of(self._chosen.trainer.kind)
        for name in trainer.needs:
            if name not in lines:
                self._found.warn(
                    name,
                    f"the trainer's Python has no {name}, which {trainer.kind} cannot do without",
                    f"install what {trainer.kind} needs into {self._python}, or name another "
                    "Python: trainer.env",
                )
            elif name == "torch" and "+cpu" in lines[name]:
                self._found.warn(
                    name,
                    f"{lines[name]} is a build without CUDA: it would train on the processor",
                    f"{self._python} -m pip install --force-reinstall torch, with the index that "
                    "pytorch.org names",
                )
            else:
                self._found.ok(name, lines[name] + (_build(lines) if name == "torch" else ""))

    def _lycoris(self, lycoris: LyCORIS) -> None:
        expected = self._chosen.trainer.lycoris_repo
        if expected is not None and not expected.is_dir():
            self._found.warn(
                "LyCORIS",
                f"trainer.lycoris_repo names {expected}, where no folder is",
                "mend or remove that setting",
            )
        else:
            self._found.ok("LyCORIS", lycoris_line(lycoris))

    def _card(self, environment: Environment) -> None:
        if environment.gpus:
            driver = f", driver {environment.driver}" if environment.driver else ""
            self._found.ok("graphics card", f"{', '.join(environment.gpus)}{driver}")
        else:
            self._found.warn(
                "graphics card", "no NVIDIA graphics card was found", "see what nvidia-smi says"
            )


def python_or_error(chosen: Settings, environ: Mapping[str, str]) -> Path | LoragitError:
    """The trainer's Python, or why there is none."""
    try:
        return pythons.find_python(chosen.trainer, environ)
    except LoragitError as error:
        return error


def _build(lines: Mapping[str, str]) -> str:
    """How torch was built, if its version does not say so: by the CUDA packages that its wheel
    depends on."""
    local = re.search(r"\+(\w+)", lines["torch"])
    if local:
        return ""  # the version itself says so: 2.4.0+cu121
    runtime = next(
        (line for name, line in lines.items() if name.startswith("nvidia-cuda-runtime")), None
    )
    return f", with {runtime}" if runtime else ", which does not say whether it is built for CUDA"
