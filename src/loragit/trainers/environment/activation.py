"""The trainer's environment, as in a shell in which its conda or virtual environment was activated.

The effect of activation is computed here, by the rules of conda's own ``conda activate``. Scripts
that take part in it (``activate.d``, ``bin/activate``) are sourced by a shell that reports the
resulting environment and exits: no shell stays between loragit and the trainer, and without scripts
no shell is started.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.settings.values import TrainerSettings
from loragit.system import child
from loragit.trainers.environment import activation_rules, pythons
from loragit.trainers.environment.activation_rules import ActivationPlan, entries, less
from loragit.trainers.environment.pythons import CONDA, Prefix

TIMEOUT = 10.0
"""Seconds that the scripts of an environment have in total."""

_OF_SHELLS = frozenset(
    {
        "_",
        "SHLVL",
        "PWD",
        "OLDPWD",
        "PS1",
        "VIRTUAL_ENV_PROMPT",
        "BASH_ENV",
        "ENV",
        "SHELLOPTS",
        "BASHOPTS",
    }
)
"""Variables that describe a shell rather than an environment: the caller's values are kept. Some of
them would make a shell run the user's files before it sources anything."""
_WORDS = 200
"""Most characters quoted of a script's last line."""
_TAIL = 64 * 1024
"""Bytes examined at the end of the scripts' output."""


def activate(
    trainer: TrainerSettings, python: Path | None, environ: Mapping[str, str]
) -> Activation:
    """Start activating the environment that ``python`` is in, for a trainer with these settings.

    If the settings name none, the caller's environment is left as it is.
    """
    named = trainer.env is not None or (trainer.python is not None and "/" in trainer.python)
    clean = child.clean_environment(environ)
    if python is None or not named:
        return Activation(ActivationPlan({}, None), clean, None, ())
    prefix = pythons.environment_prefix(python)
    if prefix is None:
        return Activation(ActivationPlan({}, python.parent), clean, None, ())
    if prefix.kind == CONDA:
        plan, damaged = activation_rules.conda(prefix.folder, clean)
        return Activation(plan, clean, prefix, damaged)
    return Activation(activation_rules.virtual(prefix.folder, clean), clean, prefix, ())


class Activation:
    """An environment being activated. A script that fails adds to ``warnings`` and stops
    nothing."""

    def __init__(
        self,
        plan: ActivationPlan,
        environ: Mapping[str, str],
        prefix: Prefix | None,
        warnings: Iterable[str],
    ) -> None:
        self._plan = plan
        self._environ = environ
        self._prefix = prefix
        self._result: dict[str, str] | None = None
        self.warnings = list(warnings)
        """Complete once :meth:`environ` has returned."""
        self._shell = _Shell(plan, environ) if plan.scripts else None

    @property
    def waits(self) -> bool:
        """Whether the result of a shell is still awaited."""
        return self._result is None and self._shell is not None

    def environ(self) -> dict[str, str]:
        """Return the trainer's whole environment: no ``GIT_*``, output unbuffered."""
        if self._result is None:
            result = child.clean_environment(self._sourced())
            self._ensure_programs(result)
            result["PYTHONUNBUFFERED"] = "1"
            self._result = result
        return self._result

    def _sourced(self) -> dict[str, str]:
        """Return the environment after the scripts. A script that does not return is left out, and
        the others are run again."""
        while self._shell is not None:
            said = self._shell.answer()
            self.warnings += said.warnings
            if said.environ is not None:
                return said.environ
            self._plan = self._plan.without(said.culprit)
            self._shell = _Shell(self._plan, self._environ) if self._plan.scripts else None
        return self._plan.changed(self._environ)

    def _ensure_programs(self, result: dict[str, str]) -> None:
        """Ensure that the Python's own programs are found, whatever the scripts did."""
        folder = self._plan.folder
        if folder is None:
            return
        if self._prefix is not None and self._prefix.kind != CONDA:
            self._correct_virtual_env(result, self._prefix.folder)
        path = entries(result)
        if str(folder) not in path:
            result["PATH"] = os.pathsep.join((str(folder), *path))

    def _correct_virtual_env(self, result: dict[str, str], folder: Path) -> None:
        """Correct the path in a virtual environment's script: it is the one where the environment
        was made, and the environment may have been moved since."""
        said = result.get("VIRTUAL_ENV", "")
        if said != str(folder) and not _same(said, folder):
            self.warnings.append(
                f"{folder}/bin/activate activates {text.shown(said) or 'nothing'}: {folder} was "
                "moved or copied from "
                "there, and its launchers may start another Python"
            )
            result["PATH"] = os.pathsep.join(less(entries(result), f"{said}/bin"))
            result["VIRTUAL_ENV"] = str(folder)


def _same(one: str, other: Path) -> bool:
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):
        return False


class _ShellOutput(NamedTuple):
    """The result of sourcing the scripts in a shell."""

    environ: dict[str, str] | None
    """``None`` if the shell did not get to its end."""
    culprit: int | None
    """Index of the script that did not return; ``None`` if no script is to blame."""
    warnings: tuple[str, ...]


class _Shell:
    """A shell that sources the scripts of a plan, started at once: bash if there is one, else
    sh."""

    def __init__(self, plan: ActivationPlan, environ: Mapping[str, str]) -> None:
        self._scripts = plan.scripts
        own = {
            name: value
            for name, value in environ.items()
            if name in _OF_SHELLS or not _exportable(name)
        }
        self._kept = {name: value for name, value in own.items() if name not in plan.changes}
        self._printed = _scratch()
        self._question: child.ChildQuestion | None = None
        shell = pythons.find_program("bash", environ) or Path("/bin/bash")
        argv = [str(shell), "--noprofile", "--norc", "-c"] if shell.is_file() else ["/bin/sh", "-c"]
        given = {name: value for name, value in environ.items() if name not in _OF_SHELLS}
        try:
            self._question = child.ask(
                [*argv, _program(plan)], cwd=Path("/"), env=given, stderr=self._printed
            )
        except child.CannotStart as error:
            self._trouble = error.message

    def __del__(self) -> None:
        os.close(self._printed)

    def answer(self) -> _ShellOutput:
        """Wait for the shell and return its result."""
        if self._question is None:
            return _ShellOutput(None, None, (self._unread(self._trouble),))
        late = False
        try:
            answer = self._question.answer(TIMEOUT)
            out, status = answer.out, answer.status
        except child.TimedOut as error:
            out, status, late = error.out, 1, True
        count = len(self._scripts)
        # One exit status per script, then the environment; the last field's terminator is followed
        # by nothing.
        fields = out.split(b"\0")[:-1]
        statuses, words = fields[:count], self._words(min(len(fields), count))
        warnings = [
            self._failed(at, int(each), words) for at, each in enumerate(statuses) if int(each)
        ]
        if len(statuses) < count:
            why = (
                f"it did not end within {TIMEOUT:g} s"
                if late
                else "it ended the shell that sourced it"
            )
            script, last = self._scripts[len(statuses)], _quoted(words[len(statuses)])
            return _ShellOutput(
                None, len(statuses), (f"{script} is left out of the environment: {why}{last}",)
            )
        if status:
            return _ShellOutput(
                None, None, (self._unread(f"exit status {status}{_quoted(words[count])}"),)
            )
        return _ShellOutput(self._kept | _parsed(fields[count:], self._kept), None, tuple(warnings))

    def _failed(self, at: int, status: int, words: Sequence[str]) -> str:
        return (
            f"{self._scripts[at]} failed with status {status}, and what it exported "
            f"counts{_quoted(words[at])}"
        )

    def _unread(self, why: str) -> str:
        scripts = text.count(len(self._scripts), "script")
        return f"{scripts} of the environment could not be sourced: {why}"

    def _words(self, run: int) -> list[str]:
        """Return the last line that each script printed, and the last line printed after the
        scripts that returned."""
        size = os.fstat(self._printed).st_size
        tail = os.pread(self._printed, _TAIL, max(0, size - _TAIL)).decode("utf-8", "replace")
        pieces = tail.split("\0")[-run - 1 :]
        lines = [piece.strip().rpartition("\n")[2][:_WORDS] for piece in pieces]
        return [""] * (run + 1 - len(lines)) + lines


def _quoted(words: str) -> str:
    return f": {text.shown(words)}" if words else ""


def _exportable(name: str) -> bool:
    """Whether a shell accepts ``name`` as a variable's name; others it may pass on or drop."""
    return name.isascii() and name.isidentifier()


def _program(plan: ActivationPlan) -> str:
    """Return the shell's program: source the scripts, set the variables, and report the result on
    stdout.

    Output of the scripts goes to stderr. They do not get the pipe, so processes they leave in the
    background are not waited for.
    """
    from shlex import quote

    def source(script: Path) -> str:
        return f". {quote(str(script))} 3>&-\nprintf '%s\\0' \"$?\" >&3\nprintf '\\0' >&2"

    def change(name: str, value: str | None) -> str:
        return f"unset {name}" if value is None else f"export {name}={quote(value)}"

    lines = ["exec 3>&1 >&2", *map(source, plan.before)]
    lines += [change(name, value) for name, value in plan.changes.items()]
    return "\n".join([*lines, *map(source, plan.after), "exec /usr/bin/env -0 >&3 3>&-"])


def _parsed(fields: Iterable[bytes], kept: Mapping[str, str]) -> dict[str, str]:
    """Parse the output of ``env -0``, without a shell's own variables and those in ``kept``."""
    pairs = (os.fsdecode(field).partition("=") for field in fields)
    return {name: value for name, _, value in pairs if name not in _OF_SHELLS and name not in kept}


def _scratch() -> int:
    """Return a nameless file whose writers append to it."""
    import fcntl

    try:
        file = os.memfd_create("activation")
    except (AttributeError, OSError):  # not Linux, or not allowed
        import tempfile  # late, because it is slow to import

        with tempfile.TemporaryFile() as named:
            file = os.dup(named.fileno())
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    return file
