"""Whether a process is still there, after a crash or a reboot too: /proc on Linux, ps and sysctl on
macOS."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from loragit.system.child import ProgramMissing, ask

ENDED = "ZX"
"""States of proc_pid_stat(5) in which a process only waits to be reaped."""

PROC = Path("/proc")

_TOOLS = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
"""Environment in which the system's own tools are found and print the same everywhere."""


def exists(pid: int) -> bool:
    """Whether there is a process ``pid``. One that has ended and only waits to be reaped does not
    count."""
    try:
        if pid <= 0:
            return False
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    stat = proc_stat(pid)
    return stat is None or stat[0] not in ENDED


def start_time(pid: int) -> str | None:
    """When process ``pid`` began, to be compared for equality only; ``None`` if there is no such
    process.

    With :func:`boot_id` it tells a process from a later one with the same number::

        pid 4711, start 8123, boot 6f1c…   noted
        pid 4711, start 9977, boot 6f1c…   another process, which was given the number since
    """
    if has_proc():
        stat = proc_stat(pid)
        # Field 22 of proc_pid_stat(5): clock ticks since boot.
        return None if stat is None else stat[19]
    return _output_of(["ps", "-o", "lstart=", "-p", str(pid)])


def lives(pid: int, started: str, boot: str, host: str, space: str = "") -> bool | None:
    """Whether the process that was ``pid`` on ``host``, begun at ``started`` in ``boot``, is still
    there; ``None`` if that cannot be told from here: it is on another machine, or in a container
    with process ids of its own.

    ``started``, ``boot`` and ``space`` are as :func:`start_time`, :func:`boot_id` and
    :func:`pid_space` return them, and empty where the system did not say.
    """
    if _is_elsewhere(boot, host, space):
        return None
    if rebooted_since(boot) or not exists(pid):
        return False
    now = start_time(pid)
    if now and started:
        return now == started
    # One that the system shows to its owner alone (hidepid of /proc) may be a later one of the same
    # number.
    return None if exists(pid) else False


def rebooted_since(boot: str) -> bool:
    """Whether the machine was restarted since ``boot``, as far as can be told."""
    now = boot_id()
    return bool(boot and now and boot != now)


def _is_elsewhere(boot: str, host: str, space: str) -> bool:
    """Whether process ids from there mean nothing here."""
    ours = pid_space()
    if boot and space and ours and boot == boot_id():
        return space != ours  # the same machine, whatever it is called by now
    return host != os.uname().nodename


def pid_space() -> str:
    """The pid namespace of this process (pid_namespaces(7)); empty if the system does not say."""
    try:
        return str(PROC.joinpath("self", "ns", "pid").readlink())
    except OSError:
        return ""


def group_left(leader: int, started: str) -> tuple[int, ...]:
    """Processes that are left of the group that process ``leader``, begun at ``started``, led.

    If the number is another process's by now, none are: the system gives nobody a number that a
    group still uses.
    """
    now = start_time(leader)
    return members(leader) if now is None or now == started else ()


def started_with(variable: str, value: str) -> tuple[int, ...]:
    """Our own processes that were started with ``variable=value`` in their environment; none if
    the system does not show it (macOS)."""
    wanted = os.fsencode(f"{variable}={value}")
    found = []
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            variables = folder.joinpath("environ").read_bytes().split(b"\0")
            if wanted in variables and exists(int(folder.name)):
                found.append(int(folder.name))
    return tuple(sorted(found))


def boot_id() -> str | None:
    """A text that changes with every start of the machine; ``None`` if the system has none."""
    try:
        return PROC.joinpath("sys", "kernel", "random", "boot_id").read_text("ascii").strip()
    except OSError:
        return _output_of(["sysctl", "-n", "kern.bootsessionuuid"])


def _output_of(argv: Sequence[str]) -> str | None:
    """What a small tool of the system prints; ``None`` if it prints nothing or is missing."""
    try:
        answer = ask(argv, env=_TOOLS).answer()
    except ProgramMissing:
        return None
    return answer.out.decode().strip() or None


def group_of(pid: int) -> int:
    """The group that process ``pid`` is in; its own number where it has just ended."""
    try:
        return os.getpgid(pid)
    except OSError:
        return pid


def any_left(group: int) -> bool:
    """Whether a process of ``group`` runs. Zombies do not count: somebody else may never reap
    them."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # as in signal_group
        return False
    return not has_proc() or bool(members(group))  # macOS finds no zombies


def members(group: int) -> tuple[int, ...]:
    """Processes of ``group`` that run, whoever's they are; where the system lists none (macOS), the
    group's number."""
    if not has_proc():
        return (group,) if any_left(group) else ()
    stats = {
        int(entry.name): proc_stat(int(entry.name))
        for entry in PROC.iterdir()
        if entry.name.isdecimal()
    }
    return tuple(
        pid
        for pid, stat in stats.items()
        if stat and int(stat[2]) == group and stat[0] not in ENDED
    )


def has_proc() -> bool:
    """Whether the system tells about processes in proc_pid_stat(5), as Linux does."""
    return PROC.joinpath("self", "stat").exists()


def proc_stat(pid: int) -> list[str] | None:
    """Fields of proc_pid_stat(5) from the third, the state, on; ``None`` where there is none."""
    try:
        text = PROC.joinpath(str(pid), "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text[text.rindex(")") + 1 :].split()
