"""The entry: a clean environment, shortcuts past the command line's library, and exit statuses.

``--version``, ``log`` and the hooks run often and must not wait for imports that they do not need.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable


def main() -> int:
    """Run ``loragit`` with ``sys.argv``. Returns the exit status."""
    words = sys.argv[1:]
    # Start-up makes many objects that stay and no cycles: collecting garbage costs a tenth of it.
    gc.disable()
    if words == ["--version"]:
        from loragit.version import __version__

        try:
            os.write(1, f"loragit {__version__}\n".encode())
        except OSError:
            return 1
        return 0
    if words[:2] == ["hook", "run"] and words[2:3] in (["reference-transaction"], ["update"]):
        return _exec_guard(words[2], words[3:])
    index = _leave_callers_repository()
    from loragit import console

    console.begin(color="NO_COLOR" not in os.environ, columns=os.environ.get("COLUMNS", ""))
    status = guarded(_shortcut(words, index) or _command_line)
    status = guarded(lambda: _finish(status))
    console.drop_stderr()
    return status


def _finish(status: int) -> int:
    from loragit import console

    console.finish()
    return status


def _leave_callers_repository() -> str | None:
    """Forget the repository that git names in the environment of a hook: loragit finds its own from
    folders alone.

    Returns the index that git named, for the hook that must read it: ``git commit PATH`` has its
    own. ``None`` outside of hooks.
    """
    from loragit import git

    index = os.environ.get("GIT_INDEX_FILE")
    for variable in git.LOCAL_VARIABLES:
        os.environ.pop(variable, None)
    return os.path.abspath(index) if index else None  # noqa: PTH100 - a path that git wrote, links kept


def _shortcut(words: list[str], index: str | None) -> Callable[[], int] | None:
    """The command for ``words`` without the command line's library, for the most frequent forms;
    ``None`` for the others."""
    if "_LORAGIT_COMPLETE" in os.environ:
        return None
    match words:
        case ["train", name, *rest] if name[:1] not in ("", "-") and rest[:1] in ([], ["--"]):
            return lambda: _train(name, rest[1:])
        case ["log"]:
            return lambda: _log(None)
        case ["log", "-n", number] if (
            number.isascii() and number.isdigit() and len(number) < 10 and int(number)
        ):
            return lambda: _log(int(number))
        case ["hook", "run", name, *rest] if not name.startswith("-"):
            return lambda: _hook(name, rest, index)
        case ["zsh" | "bash" as shell]:
            return lambda: _print_functions(shell)
        case ["shell", *rest]:
            return lambda: _shell(rest)
        case _:
            return None


def _train(name: str, extra: list[str]) -> int:
    from pathlib import Path

    from loragit.commands.train import train
    from loragit.run.preflight.phases import Request
    from loragit.settings.values import Flags

    return train(Request.parse(name, Flags(), dict(os.environ), Path.cwd(), tuple(extra)))


def _log(limit: int | None) -> int:
    from pathlib import Path

    from loragit.commands.log import LogOptions, log

    log(Path.cwd(), LogOptions(limit=limit))
    return 0


def _hook(name: str, rest: list[str], index: str | None) -> int:
    from pathlib import Path

    from loragit.commands.hook import run_hook

    return run_hook(name, rest, os.environ, Path.cwd(), index)


def _exec_guard(name: str, rest: list[str]) -> int:
    """Become a hook that is a script of its own and needs what git has set for it."""
    from loragit.commands.hook import exec_guard

    return guarded(lambda: exec_guard(name, rest))


def _print_functions(shell: str) -> int:
    from loragit import console
    from loragit.commands.shell import functions_source

    console.write(functions_source(shell))
    return 0


def _shell(rest: list[str]) -> int:
    """What the functions of ``loragit zsh`` ask for; nobody types it."""
    from pathlib import Path

    from loragit.commands.shell import print_answer

    print_answer(rest, os.environ, Path.cwd())
    return 0


def _command_line() -> int:
    from loragit.cli import app

    return app()


def guarded(command: Callable[[], int]) -> int:
    """Run ``command``. A refusal or failure is reported as fact and next step, with ``DEBUG=1``
    after its traceback."""
    from loragit.errors import LoragitError

    try:
        return command()
    except (LoragitError, OSError) as failure:
        if os.environ.get("DEBUG", "0") not in ("", "0"):
            import traceback

            traceback.print_exc()
        return _report(failure)
    except KeyboardInterrupt:
        return 130


def _report(failure: Exception) -> int:
    """Print fact and next step of what ended the command. Returns the exit status."""
    from loragit import console
    from loragit.errors import LoragitError

    if isinstance(failure, LoragitError):
        console.error(failure)
        return failure.exit_status
    assert isinstance(failure, OSError)
    # An unforeseen failure; still no reason for a traceback.
    where = f"{failure.filename}: " if failure.filename else ""
    console.error(
        LoragitError(f"{where}{failure.strerror}", hint="DEBUG=1 shows where this happened")
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
