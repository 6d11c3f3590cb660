"""A run from its first note to its end, in this process: what is there at each step, and what is
left where one fails."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loragit import crash_points
from loragit import git as ours
from loragit.crash_points import CrashPoint
from loragit.errors import LoragitError
from loragit.git.refs import NotDurable
from loragit.run import ending, train
from loragit.run.ending import OpenRun
from loragit.run.output import OutputExists, OutputFolder
from loragit.run.preflight import prepare
from loragit.run.preflight.phases import Ready, Request
from loragit.secrets.redact import Redactor
from loragit.settings.values import Flags
from loragit.store import journal
from loragit.store.journal import JournalEntry, JournalFailed
from loragit.store.ref_moves import MoveStuck
from loragit.store.store import RunExists, Store
from loragit.system import alive, supervise
from tests.support.crashed_run import Crashed
from tests.support.reports import Lines
from tests.support.user_home import Scene, make_scene

NAME = "noob-gren-v1s4"


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


@pytest.fixture
def report() -> Lines:
    return Lines()


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    crash_points.listener = None
    gc.unfreeze()
    gc.enable()


def ready(
    scene: Scene,
    *extra: str,
    name: str = NAME,
    flags: Flags | None = None,
    script: str | None = None,
    **environ: str,
) -> Ready:
    variables = {**os.environ, **environ}
    given = flags or Flags()
    request = Request.parse(name, given, variables, scene.dataset, extra, script=script)
    return prepare.prepare(request)


def own_script(scene: Scene) -> Path:
    """One that leaves a picture."""
    script = scene.dataset / "mine.sh"
    script.write_text(
        '#!/bin/sh\nmkdir "$LORAGIT_RUN_OUTPUT/sample"\n'
        'echo x >"$LORAGIT_RUN_OUTPUT/sample/x_000004_00_20261123164834.png"\n'
    )
    script.chmod(0o755)
    scene.git("add", "mine.sh")
    scene.git("commit", "-q", "-m", "mine")
    return script


def entries(scene: Scene) -> list[JournalEntry]:
    return list(journal.read(scene.dataset / ".git" / "loragit"))


def at(point: CrashPoint, do: Callable[[], object]) -> None:
    """Do something when a run first comes to ``point``."""

    def listen(reached: CrashPoint) -> None:
        if reached is point:
            crash_points.listener = None
            do()

    crash_points.listener = listen


# ---- what is there at each step ----


def test_a_run_passes_the_points_at_which_it_may_be_killed_in_this_order(
    scene: Scene, report: Lines
) -> None:
    passed: list[str] = []

    def listen(point: CrashPoint) -> None:
        if point.name not in passed[-1:]:
            passed.append(point.name)

    run = ready(scene)
    crash_points.listener = listen
    assert train.train(run, report) == 0
    assert passed == [
        "ENTRY_WRITTEN",
        "FOLDER_MADE",
        "COPY_WRITTEN",
        "COMMIT_IN_ENTRY",
        "OBJECTS_WRITTEN",
        "MOVE_WRITTEN",
        "REFS_MOVED",
        "MOVE_REMOVED",
        "TRAINER_STARTED",
        "TRAINER_IN_ENTRY",
        "TRAINER_ENDED",
        "END_IN_ENTRY",
        "COLLECTED",
        "OBJECTS_WRITTEN",
        "MOVE_WRITTEN",
        "REFS_MOVED",
        "MOVE_REMOVED",
        "ENTRY_REMOVED",
    ]
    assert entries(scene) == []
    commit = scene.git("rev-parse", "runs")
    assert (
        report.said
        == [
            f"opened {NAME} as {commit[:8]} on runs",
            f"sealed {NAME}: 2 models, 2 samples, 0 min",
        ]
        or report.said[0] == f"opened {NAME} as {commit[:8]} on runs"
    )


def test_the_entry_says_at_each_step_what_recovery_needs(scene: Scene, report: Lines) -> None:
    seen: dict[str, JournalEntry] = {}

    def listen(point: CrashPoint) -> None:
        for entry in entries(scene):
            seen.setdefault(point.name, entry)

    logs = scene.home / "logs"
    (logs / "x_20261123164829").mkdir(parents=True)
    run = ready(
        scene, "--logging_dir", str(logs), "--log_prefix", "x_", flags=Flags(on_empty="keep")
    )
    crash_points.listener = listen
    assert train.train(run, report) == 0
    first = seen["ENTRY_WRITTEN"]
    assert (first.run, first.pid, first.host) == (NAME, os.getpid(), journal.host())
    assert first.pid_started == alive.start_time(os.getpid())
    assert (first.boot, first.space) == (alive.boot_id(), alive.pid_space())
    assert (first.commit, first.inode, first.trainer, first.end) == ("", (0, 0), None, None)
    output = scene.output / NAME
    assert first.output == str(output)
    work = first.work
    assert work is not None
    assert sorted(path for path, _ in work.files) == sorted(
        ["config.toml", "repos.git", "sample-prompts.txt", "train.sh"]
    )
    assert (work.output_name, work.prompts) == (NAME, "sample-prompts.txt")
    assert (work.log_folder, work.log_prefix) == (str(logs), "x_")
    assert work.log_before == ("x_20261123164829",)
    assert (work.on_empty, work.sign, work.home) == ("keep", None, str(scene.home))
    assert work.trainer_kind == "sd-scripts"
    opened = seen["COMMIT_IN_ENTRY"]
    assert opened.commit == scene.git("rev-parse", "runs")
    status = output.lstat()
    assert opened.inode == (status.st_dev, status.st_ino)
    assert seen["TRAINER_STARTED"].trainer is None
    trainer = seen["TRAINER_IN_ENTRY"].trainer
    assert trainer is not None
    assert trainer.pid != os.getpid()
    assert trainer.pid_started != ""
    assert seen["TRAINER_ENDED"].end is None
    end = seen["END_IN_ENTRY"].end
    assert end is not None
    assert (end.exit_status, end.interrupted_by, end.not_started) == (0, "", "")
    assert end.started <= end.finished
    assert scene.outcome(NAME)["Final-Loss"] != ""


def test_a_script_of_ones_own_has_neither_log_folder_nor_prompts_nor_a_name_for_models(
    scene: Scene, report: Lines
) -> None:
    noted: list[JournalEntry] = []
    at(CrashPoint.TRAINER_IN_ENTRY, lambda: noted.extend(entries(scene)))
    own_script(scene)
    scene.settings('[paths]\nprompts = ""\n')
    assert train.train(ready(scene, script="mine.sh"), report) == 0
    work = noted[0].work
    assert work is not None
    assert (work.log_folder, work.log_prefix, work.log_before) == ("", "", ())
    assert (work.output_name, work.prompts) == ("", "")


def test_garbage_is_collected_while_the_trainer_runs_and_not_at_the_end(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    enabled: dict[str, bool] = {}
    frozen: dict[str, int] = {}
    note = train._note_trainer

    def noted(run: OpenRun, pid: int) -> None:
        note(run, pid)
        enabled["trains"] = gc.isenabled()

    monkeypatch.setattr(train, "_note_trainer", noted)

    def listen(point: CrashPoint) -> None:
        enabled[point.name] = gc.isenabled()
        frozen[point.name] = gc.get_freeze_count()

    crash_points.listener = listen
    run = ready(scene)
    gc.disable()
    before = gc.get_freeze_count()
    train.train(run, report)
    assert not enabled["TRAINER_IN_ENTRY"]
    assert enabled["trains"]
    assert not enabled["TRAINER_ENDED"]
    assert frozen["TRAINER_ENDED"] > before


def test_a_system_that_tells_neither_boots_nor_starts_of_processes_is_no_hindrance(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ready(scene)
    for name in ("boot_id", "start_time"):
        monkeypatch.setattr(alive, name, lambda *_: None)
    seen: list[JournalEntry] = []
    at(CrashPoint.TRAINER_IN_ENTRY, lambda: seen.extend(entries(scene)))
    assert train.train(run, report) == 0
    (entry,) = seen
    assert (entry.pid_started, entry.boot) == ("", "")
    assert entry.trainer is not None
    assert entry.trainer.pid_started == ""


# ---- how it ends ----


@pytest.mark.parametrize(
    ("how", "status", "tags"),
    [
        ("ok", 0, [NAME]),
        ("late-fail", 1, [NAME]),
        ("fail", 1, []),
        ("nothing", 1, []),
    ],
)
def test_the_status_is_the_trainers_or_1_where_it_made_nothing(
    scene: Scene, report: Lines, how: str, status: int, tags: list[str]
) -> None:
    assert train.train(ready(scene, STUB=how), report) == status
    assert scene.tags() == tags
    assert entries(scene) == []


def test_a_failure_of_loragits_own_leaves_the_run_open_and_says_so(
    scene: Scene, report: Lines
) -> None:
    run = ready(scene)
    at(CrashPoint.TRAINER_ENDED, lambda: scene.git("tag", "-f", NAME, "main"))
    assert train.train(run, report) == 1
    assert report.said[1].startswith("the run's tag was moved while it ran")
    assert report.said[2:] == [
        f"{NAME} stays open on record; what the trainer wrote is in {scene.output / NAME}",
        "once that is mended, finish it with: loragit recover",
    ]
    assert [entry.run for entry in entries(scene)] == [NAME]


def test_a_failure_of_loragits_own_hides_no_status_of_the_trainer(
    scene: Scene, report: Lines
) -> None:
    run = ready(scene, STUB="kill")
    at(CrashPoint.TRAINER_ENDED, lambda: scene.git("tag", "-f", NAME, "main"))
    assert train.train(run, report) == 137


def test_an_output_folder_that_is_gone_has_its_own_next_step(scene: Scene, report: Lines) -> None:
    run = ready(scene, STUB="fail")
    output = scene.output / NAME
    at(CrashPoint.TRAINER_ENDED, lambda: output.rename(scene.home / "away"))
    assert train.train(run, report) == 1
    assert report.said[-1] == (
        f"{NAME} stays open on record; what the trainer wrote is in {output}"
    )


def test_an_end_that_cannot_be_noted_is_on_record_all_the_same(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = journal.write

    def full(folder: Path, entry: JournalEntry) -> None:
        if entry.end is not None:
            raise JournalFailed("no room")
        write(folder, entry)

    monkeypatch.setattr(journal, "write", full)
    assert train.train(ready(scene), report) == 0
    assert scene.git("cat-file", "-t", NAME) == "tag"


def test_what_was_edited_while_it_trained_is_warned_of(scene: Scene, report: Lines) -> None:
    run = ready(scene)
    config = scene.dataset / "config.toml"
    at(CrashPoint.TRAINER_STARTED, lambda: config.write_text(config.read_text() + "\n# x\n"))
    assert train.train(run, report) == 0
    assert any(str(config) in line or "config.toml" in line for line in report.said[1:-1])


def test_a_script_of_ones_own_that_was_edited_while_it_ran_is_warned_of(
    scene: Scene, report: Lines
) -> None:
    script = own_script(scene)
    run = ready(scene, script="mine.sh")
    at(CrashPoint.TRAINER_STARTED, lambda: script.write_text("#!/bin/sh\n# other\n"))
    train.train(run, report)
    assert any("mine.sh" in line for line in report.said[1:-1])
    again = ready(scene, script="mine.sh", name="noob-gren-v2s4", flags=Flags(allow_dirty=True))
    report.said.clear()
    train.train(again, report)
    assert not any("mine.sh" in line for line in report.said[1:-1])


def test_debug_shows_the_command_without_its_secrets(scene: Scene, report: Lines) -> None:
    run = ready(scene, "--wandb_api_key", "abcdefghij1234567890", flags=Flags(debug=True))
    train.train(run, report)
    assert f"working directory: {scene.trainer}" in report.said
    (started,) = [line for line in report.said if line.startswith("started ")]
    assert "--wandb_api_key ***" in started.replace("=", " ")
    assert "abcdefghij1234567890" not in "".join(report.said)
    report.said.clear()
    train.train(ready(scene, name="noob-gren-v2s4"), report)
    assert not any(line.startswith(("started", "working")) for line in report.said)


# ---- a trainer that never began ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_before_the_trainer_takes_the_run_back(
    scene: Scene, report: Lines, number: signal.Signals
) -> None:
    run = ready(scene)
    at(CrashPoint.MOVE_REMOVED, lambda: signal.pthread_kill(threading.get_ident(), number))
    assert train.train(run, report) == 128 + number
    message = scene.git("log", "-1", "--format=%B", "runs")
    assert "The trainer was not started: it was interrupted before the trainer began." in message
    assert scene.trailers("runs")["Exit-Status"] == str(128 + number)
    assert scene.tags() == []
    assert not (scene.output / NAME).exists()
    # It had not begun: there is no log.
    assert list((scene.dataset / ".git" / "loragit" / "logs").iterdir()) == []


def test_a_trainer_that_cannot_be_started_takes_the_run_back(scene: Scene, report: Lines) -> None:
    launcher = scene.home / "accelerate"
    launcher.write_text("#!/nowhere/python\n")
    launcher.chmod(0o755)
    assert train.train(ready(scene, LORAGIT_TRAINER_LAUNCHER=str(launcher)), report) == 127
    assert scene.trailers("runs")["Exit-Status"] == "127"
    assert report.said[-1].startswith(f"reverted {NAME} as ")
    assert "The trainer was not started: " in report.said[-1]
    assert scene.tags() == []


def test_an_end_is_never_before_its_beginning(dataset: Path) -> None:
    """The clock may be set back between the two."""
    crashed = Crashed(dataset)
    assert crashed.note.work is not None
    folder = OutputFolder(crashed.folder, (0, 0), {}, ending.LOG)
    run = OpenRun(crashed.store, crashed.opened(), crashed.note, folder, Redactor(()))
    ahead = datetime.now(UTC) + timedelta(hours=1)
    end = train._not_started(run, ahead, "why", 127).end
    assert (end.started, end.finished) == (ahead.isoformat(), ahead.isoformat())
    assert (end.exit_status, end.interrupted_by, end.not_started) == (127, "", "why")


# ---- a run that could not be opened ----


def nothing_left(scene: Scene) -> None:
    assert scene.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert entries(scene) == []
    assert not (scene.output / NAME).exists()


def unreadable(self: Store, *args: object) -> bool:
    raise LoragitError("git cannot say")


def test_a_folder_that_came_meanwhile_is_not_touched(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, output = ready(scene), scene.output / NAME
    # Nothing was to be opened yet, so git need not be asked.
    monkeypatch.setattr(Store, "holds", unreadable)

    def make() -> None:
        output.mkdir(parents=True)
        (output / "config.toml").write_text("mine")

    at(CrashPoint.ENTRY_WRITTEN, make)
    with pytest.raises(OutputExists):
        train.train(run, report)
    assert (output / "config.toml").read_text() == "mine"
    assert entries(scene) == []
    assert report.said == []


def test_a_name_that_was_taken_meanwhile_leaves_nothing(scene: Scene, report: Lines) -> None:
    run = ready(scene)
    at(CrashPoint.ENTRY_WRITTEN, lambda: scene.git("tag", NAME))
    with pytest.raises(RunExists):
        train.train(run, report)
    scene.git("tag", "-d", NAME)
    nothing_left(scene)
    assert report.said == []


def test_whatever_ends_an_opening_leaves_nothing(scene: Scene, report: Lines) -> None:
    run = ready(scene)

    def interrupt() -> None:
        raise KeyboardInterrupt

    at(CrashPoint.MOVE_WRITTEN, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train.train(run, report)
    nothing_left(scene)


def test_a_run_that_is_on_record_in_part_is_left_to_recovery(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ready(scene)

    def stuck(self: Store, *args: object) -> None:
        raise MoveStuck("it was made in part")

    monkeypatch.setattr(Store, "open", stuck)
    with pytest.raises(MoveStuck):
        train.train(run, report)
    assert [entry.run for entry in entries(scene)] == [NAME]
    assert (scene.output / NAME / "config.toml").exists()
    assert report.said == []


@pytest.mark.parametrize("reverts", [True, False])
def test_a_run_that_may_not_outlast_a_power_cut_is_left_only_if_it_could_not_be_reverted(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch, reverts: bool
) -> None:
    run = ready(scene)

    def fails(names: object, repository: object) -> None:
        raise NotDurable("the disk says no")

    def refuses(self: Store, *args: object) -> None:
        raise LoragitError("no revert")

    monkeypatch.setattr(ours, "sync_refs", fails)
    if not reverts:
        monkeypatch.setattr(Store, "revert", refuses)
    with pytest.raises(NotDurable):
        train.train(run, report)
    assert (scene.output / NAME).exists() is not reverts
    assert [entry.run for entry in entries(scene)] == ([] if reverts else [NAME])
    assert report.said == (
        [] if reverts else [f"{NAME} may still be open on record; finish it with: loragit recover"]
    )


def test_where_nobody_can_tell_whether_a_run_is_open_it_is_left(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ready(scene)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "holds", unreadable)
    at(CrashPoint.MOVE_WRITTEN, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train.train(run, report)
    assert [entry.run for entry in entries(scene)] == [NAME]
    assert (scene.output / NAME).exists()


def test_a_signal_counts_once_for_a_shell_function_that_passes_it_on(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    once: list[object] = []
    begin = supervise.train

    def supervised(*args: object, **kinds: object) -> object:
        once.append(kinds["once"])
        return begin(*args, **kinds)  # type: ignore[arg-type]

    monkeypatch.setattr(supervise, "train", supervised)
    train.train(ready(scene), report)
    train.train(ready(scene, name="noob-gren-v2s4", LORAGIT_SHELL="zsh"), report)
    assert once == [0.0, train.ONCE]


def test_what_the_end_needs_is_imported_while_the_trainer_runs(
    scene: Scene, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ready(scene)
    monkeypatch.delitem(sys.modules, "loragit.run.results", raising=False)
    there: dict[str, bool] = {}

    def listen(point: CrashPoint) -> None:
        there[point.name] = "loragit.run.results" in sys.modules

    crash_points.listener = listen
    train.train(run, report)
    assert (there["TRAINER_IN_ENTRY"], there["TRAINER_ENDED"]) == (False, True)
