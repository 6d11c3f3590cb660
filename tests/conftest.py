"""Every test has a home, a configuration, an identity and a clock zone of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import forked
from tests.support.forked import ForkServer
from tests.support.processes import commit_all, git
from tests.support.rights import CannotGiveUp, bound_by_modes

KEPT = {"PATH", "LANG", "TERM", "TMPDIR"}
LOCALE = {"LC_ALL": "C.UTF-8"}
COVERAGE = {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE"}
"""What has a child that sees it measure its own coverage. That takes longer to import than most
commands run: forked children have it from their server, others where a test is so marked."""

# How long an example takes tells of the machine and what else it does, not of this project: no
# deadline by the clock.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")

# A shell's background jobs ignore these, and children inherit that: loragit would, rightly, ignore
# them too.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at how many points runs were killed."""
    stats = terminalreporter.stats.values()
    reports = [each for found in stats for each in found if getattr(each, "when", "") == "call"]
    points = [
        number
        for each in reports
        for name, number in each.user_properties
        if name == "crash points"
    ]
    if points:
        terminalreporter.write_line(f"killed at {sum(points)} points, in {len(points)} tests")


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``python`` and ``python3``, the interpreter itself.

    What PATH has may be a version manager's shim: a shell script that takes ten times as long to
    start, and the trainer's Python is started twice a training.
    """
    folder = tmp_path_factory.mktemp("pythons")
    for name in ("python", "python3"):
        (folder / name).symlink_to(Path(sys.executable).resolve())
    return folder


@pytest.fixture(autouse=True)
def home(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    pythons: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Path]:
    """An empty HOME with a git identity; nothing of the developer's own environment is left."""
    folder = tmp_path_factory.mktemp("home")
    measured = request.node.get_closest_marker("measures_children")
    kept = KEPT | COVERAGE if measured else KEPT
    for name in list(os.environ):
        if name not in kept and not name.startswith(("PYTEST", "HYPOTHESIS")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", f"{pythons}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    for name, value in LOCALE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    (folder / ".gitconfig").write_text(
        "[user]\n\tname = Ada Trainer\n\temail = ada@example.org\n"
        "[init]\n\tdefaultBranch = main\n[maintenance]\n\tauto = false\n[gc]\n\tauto = 0\n"
    )
    yield folder


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[ForkServer]:
    """Where tests get processes from that have imported everything."""
    environ = {name: os.environ[name] for name in KEPT | COVERAGE if name in os.environ}
    with forked.sharing(**environ | LOCALE) as server:
        yield server


@pytest.fixture
def modes_count() -> Iterator[None]:
    """Files are closed by their modes to this test and what it starts, even if root runs it."""
    try:
        with bound_by_modes(), forked.shared().paused():
            yield
    except CannotGiveUp as error:
        pytest.skip(str(error))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset of one file and one commit, for tests that need no trainer."""
    folder = tmp_path / "gren"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("a\n")
    commit_all(folder, "first")
    return folder
