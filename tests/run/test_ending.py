"""How a run ends: what is reported, what stays, and what is on record then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loragit import crash_points
from loragit import git as ours
from loragit.crash_points import CrashPoint
from loragit.errors import LoragitError
from loragit.git import signing
from loragit.git.refs import NotDurable
from loragit.run import ending
from loragit.run.ending import LogCopy, OpenRun
from loragit.run.output import OutputFolder, OutputGone
from loragit.secrets.redact import Redactor
from loragit.store import journal
from loragit.store.journal import End
from loragit.system import durable
from tests.support.crashed_run import COPIES, Crashed
from tests.support.made_up_runs import NAME
from tests.support.processes import git
from tests.support.reports import Lines
from tests.support.trainer_files import write_events, write_safetensors

END = End("2026-11-23T17:20:30+00:00", "2026-11-23T17:21:30+00:00", 1)


@pytest.fixture
def crashed(dataset: Path) -> Crashed:
    return Crashed(dataset).folder_made()


@pytest.fixture
def report() -> Lines:
    return Lines()


def open_run(crashed: Crashed, end: End = END, **work: object) -> OpenRun:
    """The run of ``crashed``, opened, with other values of its ``work``."""
    assert crashed.note.work is not None
    crashed.note = crashed.note._replace(work=crashed.note.work._replace(**work))  # type: ignore[arg-type]
    opened = crashed.opened()
    assert crashed.note.work is not None
    folder = OutputFolder(
        crashed.folder, crashed.note.inode, dict(crashed.note.work.files), ending.LOG
    )
    redact = Redactor(("hf-abcdefghijklmnop",))
    return OpenRun(crashed.store, opened, crashed.note, folder, redact).ended(end, ("the end",))


def noted(crashed: Crashed) -> list[str]:
    return [entry.run for entry in journal.read(crashed.private)]


def test_a_run_that_has_ended_knows_how(crashed: Crashed) -> None:
    run = open_run(crashed)
    assert (run.end, run.log_tail, run.entry.end) == (END, ("the end",), END)
    assert run.work == crashed.note.work


def test_what_made_something_is_sealed_and_its_folder_stays(
    crashed: Crashed, report: Lines
) -> None:
    run = open_run(crashed)
    crashed.model()
    passed: list[CrashPoint] = []
    crash_points.listener = passed.append
    try:
        assert ending.seal_or_revert(run, report) is True
    finally:
        crash_points.listener = None
    assert (passed[0], passed[-1]) == (CrashPoint.COLLECTED, CrashPoint.ENTRY_REMOVED)
    assert report.said == [f"sealed {NAME}: 1 model, 0 samples, 1 min, exit status 1"]
    assert noted(crashed) == []
    assert (crashed.folder / "config.toml").exists()


def test_what_made_nothing_is_reverted_and_its_folder_goes(crashed: Crashed, report: Lines) -> None:
    run = open_run(crashed)
    crashed.log("x" * 600)
    passed: list[CrashPoint] = []
    crash_points.listener = passed.append
    try:
        assert ending.seal_or_revert(run, report) is False
    finally:
        crash_points.listener = None
    assert passed[:2] == [CrashPoint.COLLECTED, CrashPoint.LOG_COPIED]
    assert passed[-2:] == [CrashPoint.FOLDER_REMOVED, CrashPoint.ENTRY_REMOVED]
    commit = git(crashed.dataset, "rev-parse", "runs")
    copy = crashed.private / "logs" / f"{NAME}-{run.opened.commit[:8]}.log"
    why = "The trainer ended with exit status 1 and made nothing."
    assert report.said == [f"reverted {NAME} as {commit[:8]}: {why}", f"the log is {copy}"]
    assert copy.read_text() == "x" * 600 + "\n"
    message = git(crashed.dataset, "log", "-1", "--format=%B", "runs")
    assert f"\n{why}\n" in message
    assert "    the end" in message
    assert not crashed.folder.exists()
    assert noted(crashed) == []


def test_a_line_of_the_log_is_quoted_in_part_and_without_the_home(
    crashed: Crashed, report: Lines
) -> None:
    run = open_run(crashed)._replace(log_tail=("y" * 600, f"{os.environ['HOME']}/x: not found"))
    ending.seal_or_revert(run, report)
    message = git(crashed.dataset, "log", "-1", "--format=%B", "runs")
    assert f"    {'y' * 500}\n    ~/x: not found" in message
    # It never wrote a log of its own.
    assert len(report.said) == 1


@pytest.mark.parametrize("way", ["keep", "delete-tag"])
def test_a_run_that_made_nothing_may_be_kept_or_lose_its_tag_alone(
    crashed: Crashed, report: Lines, way: str
) -> None:
    run = open_run(crashed, on_empty=way)
    assert ending.seal_or_revert(run, report) is False
    assert git(crashed.dataset, "rev-parse", "runs") == run.opened.commit
    assert noted(crashed) == []
    if way == "keep":
        assert report.said == [f"sealed {NAME}: 0 models, 0 samples, 1 min, exit status 1"]
        assert git(crashed.dataset, "cat-file", "-t", NAME) == "tag"
        assert crashed.folder.exists()
    else:
        assert report.said == [
            f"deleted the tag {NAME}: The trainer ended with exit status 1 and made nothing."
        ]
        assert git(crashed.dataset, "for-each-ref", "refs/tags", "refs/loragit") == ""
        assert not crashed.folder.exists()


@pytest.mark.parametrize(
    ("end", "truncated", "reason"),
    [
        (END, (), "The trainer ended with exit status 1 and made nothing."),
        (
            END._replace(exit_status=None),
            (),
            "The run was cut off with its loragit and made nothing.",
        ),
        (
            END,
            ("a", "b"),
            "The trainer ended with exit status 1 and left nothing whole: a, b was cut short.",
        ),
        (END._replace(not_started="no room"), (), "The trainer was not started: no room."),
    ],
)
def test_a_reason_says_how_the_trainer_ended(
    crashed: Crashed, end: End, truncated: tuple[str, ...], reason: str
) -> None:
    found = ending.outcome_of(open_run(crashed))._replace(truncated=truncated)
    assert ending.revert_reason(end, found) == reason


# ---- what came out ----


def test_only_models_of_the_runs_own_name_count_where_it_has_one(crashed: Crashed) -> None:
    run = open_run(crashed, output_name="other")
    crashed.model()
    assert ending.outcome_of(run).models == ()
    write_safetensors(crashed.folder / "other.safetensors", {"a": b"x"})
    assert [model.path for model in ending.outcome_of(run).models] == ["other.safetensors"]


def test_any_model_counts_where_the_run_has_no_name_for_them(crashed: Crashed) -> None:
    run = open_run(crashed, output_name="")
    crashed.model()
    assert [model.path for model in ending.outcome_of(run).models] == [f"{NAME}.safetensors"]


@pytest.mark.parametrize("signal", ["", "SIGINT"])
def test_an_outcome_says_when_and_how_it_ended(crashed: Crashed, signal: str) -> None:
    found = ending.outcome_of(open_run(crashed, END._replace(interrupted_by=signal)))
    assert (found.exit_status, found.seconds, found.recovered) == (1, 60, None)
    assert found.interrupted_by == (signal or None)
    assert found.output == f"~/output_dir/{NAME}"


def test_the_loss_is_that_of_the_log_folder_that_is_new(crashed: Crashed, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for folder, loss in (("x_20261123164829", 1.0), ("x_20261123172030", 0.5)):
        write_events(
            logs / folder / "network_train" / "events.out.tfevents.1.h",
            [(4, "loss/average", loss, 9000.0)],
        )
    run = open_run(crashed, log_folder=str(logs), log_prefix="x_", log_before=("x_20261123164829",))
    assert ending.outcome_of(run).final_loss == 0.5
    without = run._replace(entry=run.entry._replace(work=run.work._replace(log_folder="")))
    assert ending.outcome_of(without).final_loss is None


def test_edited_prompts_are_in_the_outcome_without_their_secrets(
    crashed: Crashed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = open_run(crashed), crashed.folder / "sample-prompts.txt"
    assert ending.outcome_of(run).prompts is None
    path.write_text("a blue thing, hf-abcdefghijklmnop\n")
    edited = ending.outcome_of(run).prompts
    assert edited is not None
    assert (edited.path, edited.data) == ("sample-prompts.txt", b"a blue thing, ***\n")
    path.unlink()
    assert ending.outcome_of(run).prompts is None
    path.write_bytes(COPIES[1].data)
    # What goes on behind what is read was edited, whatever the beginning is.
    monkeypatch.setattr(ending, "MAX_PROMPTS", len(COPIES[1].data))
    assert ending.outcome_of(run).prompts is None
    path.write_bytes(COPIES[1].data + b"x")
    edited = ending.outcome_of(run).prompts
    assert edited is not None
    assert edited.data == COPIES[1].data


# ---- what goes wrong ----


def test_a_folder_that_is_not_there_ends_no_run(crashed: Crashed, report: Lines) -> None:
    run = open_run(crashed)
    away = crashed.folder.rename(crashed.folder.with_name("away"))
    with pytest.raises(OutputGone, match="is gone"):
        ending.seal_or_revert(run, report)
    assert git(crashed.dataset, "tag") == NAME
    assert noted(crashed) == [NAME]
    assert ending.seal_or_revert(run._replace(without_output=True), report) is False
    assert git(crashed.dataset, "tag") == ""
    assert away.exists()


def test_a_model_in_another_folder_of_that_name_counts_and_that_is_said(
    crashed: Crashed, report: Lines
) -> None:
    run = open_run(crashed)
    crashed.folder.rename(crashed.folder.with_name("away"))
    crashed.folder.mkdir()
    crashed.model()
    assert ending.seal_or_revert(run, report) is True
    assert report.said[0] == (
        f"{crashed.folder} is not the folder any more that this run made: what it wrote before "
        "is not there"
    )
    assert report.said[1].startswith(f"sealed {NAME}")


def test_products_that_may_not_outlast_a_power_cut_are_warned_of(
    crashed: Crashed, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(crashed)
    crashed.model()
    write = durable.sync

    def fails(path: Path) -> None:
        if path.suffix == ".safetensors":
            raise OSError(5, "Input/output error", str(path))
        write(path)

    monkeypatch.setattr(durable, "sync", fails)
    ending.seal_or_revert(run, report)
    model = crashed.folder / f"{NAME}.safetensors"
    assert report.said[0].startswith(f"{model} may not outlast a power cut")
    assert report.said[1].startswith(f"sealed {NAME}")


def test_an_end_that_may_not_outlast_a_power_cut_is_warned_of(
    crashed: Crashed, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(crashed)

    def fails(names: object, repository: object) -> None:
        raise NotDurable("the disk says no")

    monkeypatch.setattr(ours, "sync_refs", fails)
    ending.seal_or_revert(run, report)
    assert report.said[-1] == (f"the end of {NAME} may not outlast a power cut: the disk says no")
    assert noted(crashed) == []


def test_a_run_that_cannot_be_signed_says_so(crashed: Crashed, report: Lines) -> None:
    git(crashed.dataset, "config", "gpg.format", "ssh")
    git(crashed.dataset, "config", "user.signingKey", "/nowhere")
    run = open_run(crashed, sign=True)
    crashed.model()
    ending.seal_or_revert(run, report)
    assert report.said[0].startswith(f"sealed {NAME}")
    assert report.said[1].startswith(f"{NAME} has no signature: ")
    assert report.said[2:] == [signing._HINT]


def test_a_run_that_cannot_be_signed_may_have_no_next_step(
    crashed: Crashed, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> str:
        raise signing.CannotSign("nobody knows why")

    monkeypatch.setattr(signing, "signed_tag", fails)
    run = open_run(crashed, sign=True)
    crashed.model()
    ending.seal_or_revert(run, report)
    assert report.said[1:] == [f"{NAME} has no signature: nobody knows why"]


def test_what_is_not_loragits_keeps_the_folder_and_is_named(
    crashed: Crashed, report: Lines
) -> None:
    run = open_run(crashed)
    (crashed.folder / "mine.txt").write_text("mine")
    ending.seal_or_revert(run, report)
    assert report.said[-1] == (
        f"{crashed.folder} stays: it holds mine.txt; move it away before {NAME} is used again"
    )
    assert (crashed.folder / "config.toml").exists()


# ---- the log ----


def target(crashed: Crashed, run: OpenRun) -> Path:
    return crashed.private / "logs" / f"{NAME}-{run.opened.commit[:8]}.log"


def test_a_log_is_copied_to_where_it_outlives_the_folder(crashed: Crashed, report: Lines) -> None:
    run = open_run(crashed)
    assert ending.copy_log(run, report) == LogCopy(None, original_may_go=True)
    crashed.log("one")
    copy = target(crashed, run)
    assert ending.copy_log(run, report) == LogCopy(copy, original_may_go=True)
    assert copy.read_text() == "one\n"
    # Whoever was killed after that goes on from there.
    (crashed.folder / ending.LOG).unlink()
    assert ending.copy_log(run, report) == LogCopy(copy, original_may_go=True)
    assert report.said == []


def test_a_copy_is_on_the_disk_before_the_log_may_go(
    crashed: Crashed, report: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(crashed)
    crashed.log("one")
    (crashed.private / "logs").mkdir()
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync", synced.append)
    assert ending.copy_log(run, report).original_may_go
    assert synced == [target(crashed, run), crashed.private / "logs", crashed.private]


def test_a_link_in_the_place_of_the_log_is_not_followed(crashed: Crashed, report: Lines) -> None:
    run = open_run(crashed)
    elsewhere = crashed.dataset.parent / "elsewhere"
    elsewhere.write_text("private")
    (crashed.folder / ending.LOG).symlink_to(elsewhere)
    ending.copy_log(run, report)
    assert target(crashed, run).is_symlink()


def test_a_log_that_cannot_be_copied_stays_where_it_is(crashed: Crashed, report: Lines) -> None:
    run = open_run(crashed)
    crashed.log("the only one")
    (crashed.private / "logs").write_text("in the way")
    assert ending.copy_log(run, report) == LogCopy(None, original_may_go=False)
    source = crashed.folder / ending.LOG
    assert report.said == [
        f"the log {source} could not be copied to {crashed.private / 'logs'}: File exists"
    ]
    ending.remove_output(run, LogCopy(None, original_may_go=False), report)
    assert source.read_text() == "the only one\n"
    assert report.said[-1].startswith(
        f"{crashed.folder} stays: it holds {ending.LOG}; move it away"
    )


def test_what_the_system_refused_is_an_error_of_loragits() -> None:
    ours = LoragitError("x", hint="y")
    assert ending.as_loragit_error(ours) is ours
    named = ending.as_loragit_error(OSError(28, "No space left on device", "/a/b"))
    assert named.message == "/a/b: No space left on device"
    assert ending.as_loragit_error(OSError(28, "No space left")).message == "No space left"
