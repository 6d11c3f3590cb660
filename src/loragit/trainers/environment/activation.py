"""The trainer's environment: the one of a shell in which its conda or virtual environment was
activated.

What activation sets is worked out here, by the rules of conda's own ``conda activate``. Scripts
that want to have a word in it (``activate.d``, ``bin/activate``) are sourced by a shell that says
which environment it ends up with and is gone: no shell stays between loragit and the trainer, and
where there is no script there is no shell.
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
"""Seconds that the scripts of an environment have together."""

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
"""Variables that say something about a shell and nothing about an environment: the caller's are
kept. With some of them, a shell would run files of the user's before it sources anything."""
_WORDS = 200
"""Characters of a script's last line that are quoted."""
_TAIL = 64 * 1024
"""Bytes of what scripts printed that are looked at."""


def activate(
    trainer: TrainerSettings, python: Path | None, environ: Mapping[str, str]
) -> Activation:
    """Begin to activate the environment that ``python`` is in, for a trainer of these settings.

    Where the settings name none, the caller's is left as it is.
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
    """An environment that is being activated. What scripts do wrong is among the ``warnings``, and
    ends nothing."""

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
        """Complete when :meth:`environ` has returned."""
        self._shell = _Shell(plan, environ) if plan.scripts else None

    @property
    def waits(self) -> bool:
        """Whether a shell is at work."""
        return self._result is None and self._shell is not None

    def environ(self) -> dict[str, str]:
        """The trainer's whole environment: no ``GIT_*``, output unbuffered."""
        if self._result is None:
            result = child.clean_environment(self._sourced())
            self._ensure_programs(result)
            result["PYTHONUNBUFFERED"] = "1"
            self._result = result
        return self._result

    def _sourced(self) -> dict[str, str]:
        """With what the scripts make of it. One that does not come back is left out, and the others
        are asked again."""
        while self._shell is not None:
            said = self._shell.answer()
            self.warnings += said.warnings
            if said.environ is not None:
                return said.environ
            self._plan = self._plan.without(said.culprit)
            self._shell = _Shell(self._plan, self._environ) if self._plan.scripts else None
        return self._plan.changed(self._environ)

    def _ensure_programs(self, result: dict[str, str]) -> None:
        """Make sure that the Python's own programs are found, whatever the scripts did."""
        folder = self._plan.folder
        if folder is None:
            return
        if self._prefix is not None and self._prefix.kind != CONDA:
            self._settle_virtual(result, self._prefix.folder)
        path = entries(result)
        if str(folder) not in path:
            result["PATH"] = os.pathsep.join((str(folder), *path))

    def _settle_virtual(self, result: dict[str, str], folder: Path) -> None:
        """A virtual environment's script holds the path where it was made, and it may have been
        moved since."""
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
    """What a shell made of the scripts."""

    environ: dict[str, str] | None
    """``None`` where it did not get to its end."""
    culprit: int | None
    """The script, by its number, that it did not come back from; ``None`` where that is not to
    blame."""
    warnings: tuple[str, ...]


class _Shell:
    """A shell that sources the scripts of a plan, at work from the start: bash where there is one,
    else sh."""

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
        """Wait for it."""
        if self._question is None:
            return _ShellOutput(None, None, (self._unread(self._trouble),))
        late = False
        try:
            answer = self._question.answer(TIMEOUT)
            out, status = answer.out, answer.status
        except child.TimedOut as error:
            out, status, late = error.out, 1, True
        count = len(self._scripts)
        # A script's status each, then the environment; after the last end there is nothing.
        fields = out.split(b"\0")[:-1]
        told, words = fields[:count], self._words(min(len(fields), count))
        warnings = [self._failed(at, int(each), words) for at, each in enumerate(told) if int(each)]
        if len(told) < count:
            why = (
                f"it did not end within {TIMEOUT:g} s"
                if late
                else "it ended the shell that sourced it"
            )
            script, last = self._scripts[len(told)], _quoted(words[len(told)])
            return _ShellOutput(
                None, len(told), (f"{script} is left out of the environment: {why}{last}",)
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

    def _words(self, told: int) -> list[str]:
        """The last line that each script printed, and what was printed after those that came
        back."""
        size = os.fstat(self._printed).st_size
        tail = os.pread(self._printed, _TAIL, max(0, size - _TAIL)).decode("utf-8", "replace")
        pieces = tail.split("\0")[-told - 1 :]
        lines = [piece.strip().rpartition("\n")[2][:_WORDS] for piece in pieces]
        return [""] * (told + 1 - len(lines)) + lines


def _quoted(words: str) -> str:
    return f": {text.shown(words)}" if words else ""


def _exportable(name: str) -> bool:
    """Whether a shell takes ``name`` for a variable's; others it may pass on or drop."""
    return name.isascii() and name.isidentifier()


def _program(plan: ActivationPlan) -> str:
    """What the shell has to do: source scripts, set what is to be set, and tell on its stdout how
    it went.

    What scripts print goes where errors go. They get no hand on the pipe, so that what they leave
    running in the background is not waited for.
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
    """Variables as ``env -0`` tells them, less those of a shell and those that are ``kept``."""
    pairs = (os.fsdecode(field).partition("=") for field in fields)
    return {name: value for name, _, value in pairs if name not in _OF_SHELLS and name not in kept}


def _scratch() -> int:
    """A file without a name, for whoever writes to append to."""
    import fcntl

    try:
        file = os.memfd_create("activation")
    except (AttributeError, OSError):  # not Linux, or not allowed
        import tempfile  # late, for it takes long to import

        with tempfile.TemporaryFile() as named:
            file = os.dup(named.fileno())
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    return file
