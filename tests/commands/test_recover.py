"""``loragit recover``: whose runs it finishes, whose it leaves alone, and what it says of what is
left over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loragit.commands import interrupted
from loragit.commands import recover as command
from loragit.errors import UsageError
from loragit.git import command as ours
from loragit.git.refs import RefUpdate
from loragit.history import history
from loragit.run import ending, output
from loragit.run.recovery import leftovers
from loragit.run.recovery.recover import RecoverOptions, Recovery
from loragit.run.recovery.still_running import trainers_left
from loragit.settings.load import load_settings
from loragit.settings.values import Flags
from loragit.store import journal, ref_moves
from loragit.store.journal import End, JournalEntry, TrainerProcess
from loragit.system import durable
from loragit.system.alive import pid_space, start_time
from tests.support.crashed_run import COPIES, GONE, Crashed
from tests.support.made_up_runs import NAME, a_run, an_outcome, open_store, reverted, sealed
from tests.support.processes import git
from tests.support.user_home import parsed_trailers


def recover(
    dataset: Path, *names: str, gone: bool = False, dry_run: bool = False, **environ: str
) -> int:
    variables = {**os.environ, **environ}
    chosen = load_settings(
        name=None, flags=Flags(dataset=str(dataset)), environ=variables, cwd=dataset
    )
    return command.recover(chosen, RecoverOptions(names, gone, dry_run, variables))


def tagged(dataset: Path, name: str = NAME) -> dict[str, str]:
    """Trailers of a sealed tag; empty where there is none."""
    message = git(dataset, "for-each-ref", "--format=%(contents)", f"refs/tags/{name}")
    return parsed_trailers(dataset, message) if message else {}


def subjects(dataset: Path) -> list[str]:
    return git(dataset, "log", "--format=%s", "runs").splitlines()


def test_what_was_made_is_sealed_as_far_as_files_tell(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    crashed.log("steps: 2")
    crashed.model()
    last = datetime(2026, 11, 23, 18, 20, 30, tzinfo=UTC)
    for path in crashed.folder.iterdir():
        os.utime(path, (last.timestamp(), last.timestamp()))
    assert recover(dataset) == 0
    outcome = tagged(dataset)
    assert "Exit-Status" not in outcome
    assert outcome["Interrupted-By"] == "crash"
    assert outcome["Started"] == "2026-11-23T17:20:30Z"
    assert (outcome["Finished"], outcome["Duration"]) == ("2026-11-23T18:20:30Z", "3600")
    assert outcome["Model"].startswith(f"{NAME}.safetensors ")
    assert outcome["Recovered"].endswith("Z")
    assert f"sealed {NAME}: 1 model, 0 samples, 1 h 0 min, interrupted" in capsys.readouterr().err
    run = history.History.of(dataset).run(NAME)
    assert run.outcome is not None and run.outcome.recovered is not None and run.state == "sealed"
    assert recover(dataset) == 0
    assert capsys.readouterr().err == "loragit: nothing to recover\n"


def test_an_end_that_was_noted_is_the_outcomes(dataset: Path) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    crashed.model()
    end = End("2026-11-23T17:20:31.5+00:00", "2026-11-23T17:30:31.5+00:00", 143, "SIGTERM")
    crashed.noted(end=end, trainer=TrainerProcess(GONE, "1"))
    assert recover(dataset) == 0
    outcome = tagged(dataset)
    assert [outcome[key] for key in ("Exit-Status", "Interrupted-By", "Duration")] == [
        "143",
        "SIGTERM",
        "600",
    ]


def test_what_made_nothing_is_reverted_with_its_log(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    opened = crashed.opened()
    crashed.log("loading", "token hf-abcdefghijklmnop")
    assert recover(dataset, HF_TOKEN="hf-abcdefghijklmnop") == 0
    message = git(dataset, "log", "-1", "--format=%B", "runs")
    assert "The run was cut off with its loragit and made nothing." in message
    assert "    loading\n    token ***" in message
    assert "Exit-Status" not in parsed_trailers(dataset, message)
    assert (
        git(dataset, "tag", "--list") == "" and git(dataset, "for-each-ref", "refs/loragit") == ""
    )
    assert not crashed.folder.exists()
    assert (
        (crashed.private / "logs" / f"{NAME}-{opened.commit[:8]}.log")
        .read_text()
        .startswith("loading")
    )
    assert git(dataset, "fsck", "--strict", "--no-dangling") == ""


def test_a_run_that_was_killed_before_its_trainer_says_so(dataset: Path) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    assert recover(dataset) == 0
    told = "The trainer was not started: loragit was ended before the trainer began."
    assert told in git(dataset, "log", "-1", "--format=%B", "runs")


def test_what_was_never_opened_leaves_nothing(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made().noted(inode=(0, 0))
    (crashed.folder / "mine.txt").write_text("mine")
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert f"warning: {crashed.folder} stays: it holds mine.txt" in said
    assert f"{NAME} was never opened: nothing was trained, its name is free" in said
    (crashed.folder / "mine.txt").unlink()
    crashed.noted()
    assert recover(dataset) == 0
    assert not crashed.folder.exists()
    assert git(dataset, "for-each-ref", "refs/heads/runs") == ""


def test_a_folder_that_is_another_one_by_now_is_left_alone(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made().noted()
    crashed.folder.rename(crashed.folder.with_name("moved"))
    shutil.copytree(crashed.folder.with_name("moved"), crashed.folder)
    assert recover(dataset) == 1
    assert (
        f"{crashed.folder} stays: it is not the folder that this run made"
        in capsys.readouterr().err
    )
    assert (crashed.folder / "config.toml").exists()


def test_a_folder_that_another_run_uses_is_left_alone(dataset: Path) -> None:
    crashed = Crashed(dataset).folder_made().noted()
    me = os.getpid()
    alive = crashed.note._replace(pid=me, pid_started=start_time(me) or "")
    journal.write(crashed.private, alive)
    assert recover(dataset) == 0
    assert (crashed.folder / "config.toml").exists()
    assert list(journal.read(crashed.private)) == [alive]


def test_a_run_that_lives_is_not_touched_and_a_number_alone_shows_no_life(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me = os.getpid()
    crashed = Crashed(dataset, pid=me, pid_started=start_time(me) or "").folder_made()
    opened = crashed.opened()
    before = git(dataset, "for-each-ref")
    assert recover(dataset) == 0
    assert f"{NAME} runs, process {me}" in capsys.readouterr().err
    assert git(dataset, "for-each-ref") == before
    for changes in ({"pid_started": "1"}, {"boot": "another"}):
        journal.write(crashed.private, crashed.note._replace(**changes))  # type: ignore[arg-type]
        assert recover(dataset, dry_run=True) == 0
        assert f"{NAME} would be finished: process {me}, since" in capsys.readouterr().err
        assert git(dataset, "for-each-ref") == before
    assert recover(dataset) == 0
    assert (
        git(dataset, "log", "-1", "--format=%B", "runs").count(
            f"This reverts commit {opened.commit}."
        )
        == 1
    )


def test_a_run_of_another_machine_is_recovered_there_or_where_somebody_says_that_it_is_gone(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset, host="elsewhere").folder_made()
    crashed.opened()
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert f"warning: {NAME} runs on elsewhere, process {GONE}" in said
    assert (
        "hint: recover it there; or, if that machine is gone for good: loragit recover --gone "
        f"{NAME}" in said
    )
    assert recover(dataset, NAME, gone=True) == 0
    assert git(dataset, "tag", "--list") == ""


def test_a_trainer_that_outlived_its_loragit_is_waited_for(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    variables = {**os.environ, "LORAGIT_RUN_OUTPUT": str(crashed.folder)}
    trainer = subprocess.Popen(sleeper, stdin=subprocess.PIPE, start_new_session=True)
    assert trainer.stdin is not None
    with trainer:
        crashed.noted(trainer=TrainerProcess(trainer.pid, start_time(trainer.pid) or ""))
        assert recover(dataset) == 1
        said = capsys.readouterr().err
        assert f"{NAME} still trains, process {trainer.pid}, though its loragit is gone" in said
        assert f"kill -- -{trainer.pid}" in said
    # One that nobody could note is known by its environment.
    crashed.noted(trainer=None)
    unnoted = subprocess.Popen(
        sleeper, stdin=subprocess.PIPE, start_new_session=True, env=variables
    )
    assert unnoted.stdin is not None
    with unnoted:
        while trainers_left(crashed.note) != (unnoted.pid,):  # until it has become the program
            pass
        assert recover(dataset) == 1
    assert trainers_left(crashed.note._replace(boot="another")) == ()
    assert recover(dataset) == 0
    assert git(dataset, "tag", "--list") == ""


def test_what_is_left_of_a_training_whose_first_process_is_gone_is_waited_for(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    code = (
        "echo x; read x; exec 3<&0; cat <&3 & echo $!"  # a script whose trainer goes on without it
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ["sh", "-c", code], stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as script:
        assert script.stdin and script.stdout
        script.stdout.readline()
        crashed.noted(trainer=TrainerProcess(script.pid, start_time(script.pid) or ""))
        script.stdin.write("go on\n")
        script.stdin.flush()
        trainer = int(script.stdout.readline())
        script.wait()
        assert recover(dataset) == 1
        said = capsys.readouterr().err
        assert (
            f"{NAME} still trains, process {trainer}, though its loragit is gone\nhint: wait until"
            in said
        )
        assert f"kill -- -{script.pid}; then recover again" in said
    assert git(dataset, "tag", "--list") == NAME


def test_a_run_that_went_on_while_others_were_recovered_is_looked_at_anew(
    dataset: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Crashed(dataset).folder_made()
    first.opened()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as loragit:
        began = start_time(loragit.pid) or ""
        fails, ends = (
            Crashed(
                dataset, f"noob-gren-v{version}s4", pid=loragit.pid, pid_started=began
            ).folder_made()
            for version in (2, 3)
        )
        for each in (fails, ends):
            each.noted()

        def meanwhile(*asked: Any) -> bool:
            if loragit.poll() is None:
                fails.opened()
                fails.noted(trainer=TrainerProcess(GONE, "1")).log("it trained")
                ends.model()
                ends.store.seal(ends.opened(), an_outcome())
                journal.remove(ends.private, ends.note)
                loragit.communicate()
            return end(*asked)

        end = ending.seal_or_revert
        monkeypatch.setattr(ending, "seal_or_revert", meanwhile)
        assert recover(dataset) == 0
    said = capsys.readouterr().err
    assert [line.split(" as ")[0] for line in said.splitlines() if "log is" not in line] == [
        "loragit: reverted noob-gren-v1s4",
        "loragit: reverted noob-gren-v2s4",
    ]
    assert "    it trained" in git(dataset, "log", "-1", "--format=%B", "runs")
    assert [path.read_text() for path in (first.private / "logs").iterdir()] == ["it trained\n"]
    assert git(dataset, "tag", "--list") == "noob-gren-v3s4"
    assert list(ends.folder.glob("*.safetensors")) != []


def test_a_run_that_begins_in_the_place_of_one_that_is_recovered_keeps_its_folder(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = Crashed(dataset).noted()
    me = os.getpid()
    begun = crashed.note._replace(pid=me, pid_started=start_time(me) or "")

    def begin(self: Recovery, note: JournalEntry) -> None:
        journal.write(crashed.private, begun)
        output.make(crashed.folder, COPIES, ending.LOG)

    monkeypatch.setattr(Recovery, "_run_of", begin)
    assert recover(dataset) == 0
    assert (crashed.folder / "config.toml").exists()
    assert list(journal.read(crashed.private)) == [begun]


def test_a_container_that_counts_its_processes_apart_is_another_place(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset, space="pid:[1]").folder_made()
    crashed.opened()
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert (
        f"warning: {NAME} may run in another container, or as another user: process {GONE} cannot "
        "be seen" in said
    )
    assert (
        f"hint: recover it there; or, if it runs nowhere any more: loragit recover --gone {NAME}"
        in said
    )
    assert git(dataset, "tag", "--list") == NAME
    # After another start of the machine nothing of it runs.
    crashed.noted(boot="another")
    assert recover(dataset) == 0
    assert git(dataset, "tag", "--list") == ""


def test_a_machine_that_has_another_name_now_is_still_the_same(dataset: Path) -> None:
    crashed = Crashed(dataset, host="elsewhere", space=pid_space()).folder_made()
    crashed.opened()
    assert recover(dataset) == 0
    assert git(dataset, "tag", "--list") == ""


def test_a_time_that_no_calendar_has_is_no_end(dataset: Path) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    crashed.model()
    os.utime(crashed.folder / f"{NAME}.safetensors", (1e12, 1e12))
    assert recover(dataset) == 0
    assert tagged(dataset)["Finished"][:2] == "20"


def test_the_copy_of_a_log_is_on_the_disk_before_the_log_goes(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = Crashed(dataset).folder_made()
    opened = crashed.opened()
    crashed.log("it failed")
    waited: dict[Path, bool] = {}

    def sync(path: Path) -> None:
        write_through(path)
        waited[path] = (crashed.folder / ending.LOG).exists()

    write_through = durable.sync
    monkeypatch.setattr(durable, "sync", sync)
    assert recover(dataset) == 0
    logs = crashed.private / "logs"
    assert [
        waited.get(path)
        for path in (logs / f"{NAME}-{opened.commit[:8]}.log", logs, crashed.private)
    ] == [True] * 3
    assert not crashed.folder.exists()


def test_what_is_done_already_is_only_forgotten(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = ("seal", "revert", "delete")
    for number, how in enumerate(ends, 1):
        crashed = Crashed(dataset, f"noob-gren-v{number}s4").folder_made()
        opened = crashed.opened()
        if how == "seal":
            crashed.model()
            crashed.store.seal(opened, an_outcome(output=str(crashed.folder)))
        elif how == "revert":
            crashed.log("failed")
            crashed.store.revert(opened, 1, "Nothing.", ())
        else:
            git(dataset, "tag", "-d", crashed.note.run)
    before = git(dataset, "rev-parse", "runs")
    assert recover(dataset) == 0
    said = capsys.readouterr().err
    assert "noob-gren-v1s4 was sealed already" in said
    assert "noob-gren-v2s4 was reverted already" in said
    assert "noob-gren-v3s4 has no tag any more" in said
    assert git(dataset, "rev-parse", "runs") == before
    assert (
        git(dataset, "for-each-ref", "--format=%(refname)", "refs/loragit")
        == "refs/loragit/keep/noob-gren-v1s4"
    )
    assert sorted(path.name for path in crashed.folder.parent.iterdir()) == ["noob-gren-v1s4"]
    assert list((crashed.private / "logs").iterdir()) != []


@pytest.mark.parametrize("moved", [False, True])
def test_a_trained_run_whose_tag_somebody_took_is_not_forgotten(
    dataset: Path, moved: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    opened = crashed.opened()
    crashed.model()
    git(dataset, "tag", *(("-f", NAME, "main") if moved else ("-d", NAME)))
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert f"{NAME} made something, and somebody deleted or moved its tag" in said
    assert "no tag any more" not in said
    assert git(dataset, "for-each-ref", "refs/loragit") != ""
    (again,) = [line for line in said.splitlines() if "restore the tag: " in line]
    git(dataset, *again.partition("restore the tag: git ")[2].partition(";")[0].split())
    assert recover(dataset) == 0
    assert tagged(dataset)["Model"].startswith(f"{NAME}.safetensors ")
    assert git(dataset, "rev-parse", f"{NAME}^{{commit}}") == opened.commit


def test_a_run_whose_tag_somebody_deleted_may_be_given_up(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    crashed.model()
    git(dataset, "tag", "-d", NAME)
    assert recover(dataset, NAME, gone=True) == 0
    assert f"{NAME} has no tag any more" in capsys.readouterr().err
    assert list(journal.read(crashed.private)) == []
    assert (crashed.folder / f"{NAME}.safetensors").exists()


def test_edited_prompts_and_the_keep_setting_are_heeded(dataset: Path) -> None:
    crashed = Crashed(dataset).folder_made()
    assert crashed.note.work is not None
    crashed.note = crashed.note._replace(work=crashed.note.work._replace(on_empty="keep"))
    crashed.opened()
    (crashed.folder / "sample-prompts.txt").write_text("a blue thing\n")
    assert recover(dataset) == 0
    assert "Edited-Prompts-SHA1" in tagged(dataset)
    assert "    a blue thing" in git(
        dataset, "for-each-ref", "--format=%(contents)", f"refs/tags/{NAME}"
    )


def test_a_note_of_an_older_loragit_is_enough(dataset: Path) -> None:
    crashed = Crashed(dataset, work=None).folder_made()
    crashed.opened()
    crashed.model()
    crashed.noted(commit="")
    assert recover(dataset) == 0
    assert tagged(dataset)["Model"].startswith(f"{NAME}.safetensors ")


def test_a_run_that_nobody_here_notes_is_named_and_finished_only_if_it_is_told_to_be_gone(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    journal.remove(crashed.private, crashed.note)
    assert recover(dataset) == 1
    assert f"{NAME} is open on record, and nothing here says who runs it" in capsys.readouterr().err
    assert recover(dataset, NAME) == 1
    assert recover(dataset, NAME, gone=True, dry_run=True) == 0
    assert git(dataset, "tag", "--list") == NAME
    assert recover(dataset, NAME, gone=True) == 0
    assert git(dataset, "tag", "--list") == ""
    # What of the output folder is loragit's nobody knows any more.
    assert crashed.folder.exists()


def test_a_run_without_a_note_is_looked_for_where_its_record_says(dataset: Path) -> None:
    crashed = Crashed(dataset)
    crashed.folder = Path(os.environ["HOME"], "big", "disk")
    crashed.folder_made().model()
    argv = ("python", "sdxl_train_network.py", "--output_dir", "~/big/disk", "--output_name", NAME)
    crashed.store.open(a_run(argv=argv))
    assert recover(dataset, NAME, gone=True) == 0
    assert tagged(dataset)["Model"].startswith(f"{NAME}.safetensors ")


def test_that_a_run_is_gone_is_said_of_single_runs(dataset: Path) -> None:
    with pytest.raises(UsageError, match="--gone is said of single runs"):
        recover(dataset, gone=True)


def test_a_name_that_no_run_has_is_refused(dataset: Path) -> None:
    Crashed(dataset).folder_made().opened()
    with pytest.raises(history.NoSuchRun, match="there is no run noob-gren-v9s4"):
        recover(dataset, "noob-gren-v9s4")
    with pytest.raises(ours.NotARepository):
        recover(Path(os.environ["HOME"]))


def test_runs_grows_again_to_what_it_lost_and_what_went_apart_is_named(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(dataset)
    first, second = sealed(store, "noob-gren-v1s4"), sealed(store, "noob-gren-v2s4")
    git(dataset, "tag", "mine", "main")
    git(dataset, "update-ref", "refs/heads/runs", first.commit)
    assert recover(dataset, dry_run=True) == 0
    assert git(dataset, "rev-parse", "runs") == first.commit
    assert recover(dataset) == 0
    assert git(dataset, "rev-parse", "runs") == second.commit
    git(dataset, "update-ref", "-d", "refs/heads/runs")
    assert recover(dataset) == 0
    assert git(dataset, "rev-parse", "runs") == second.commit
    git(dataset, "update-ref", "refs/heads/runs", first.commit)
    third = sealed(store, "noob-gren-v3s4")
    capsys.readouterr()
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert f"the tag noob-gren-v2s4 is on {second.commit[:8]}, which runs does not lead to" in said
    assert git(dataset, "rev-parse", "runs") == third.commit


def test_runs_grows_to_tags_that_came_along_once_and_what_was_opened_meanwhile_stays(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = open_store(dataset)
    first, *_ = (sealed(store, f"noob-gren-v{version}s4") for version in (1, 2, 10))
    last = store.open(a_run(name="noob-gren-v3s4"))
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(dataset), "other")
    git(
        other, "remote", "remove", "origin"
    )  # while its runs leads to them, they are another machine's affair
    git(other, "update-ref", "refs/heads/runs", first.commit)

    def race(*asked: Any) -> bool:
        if not raced:
            raced.append(sealed(open_store(other), "noob-gren-v7s4").commit)
            return True
        return judge(*asked)

    raced: list[str] = []
    judge = leftovers.continues
    monkeypatch.setattr(leftovers, "continues", race)
    assert recover(other) == 1
    said = capsys.readouterr().err
    assert "warning: runs went on meanwhile\nhint: look again: loragit recover\n" in said
    assert [git(other, "rev-parse", "runs")] == raced
    git(other, "tag", "-d", "noob-gren-v7s4")
    git(other, "update-ref", "refs/heads/runs", first.commit)
    assert recover(other) == 1
    # v10 comes before v2 in the order of names, and brings it along.
    said = capsys.readouterr().err
    assert said.splitlines()[:2] == [
        (
            f"loragit: runs goes on to {git(other, 'rev-parse', 'noob-gren-v10s4^0')[:8]}, the "
            "commit "
            "of noob-gren-v10s4"
        ),
        f"loragit: runs goes on to {last.commit[:8]}, the commit of noob-gren-v3s4",
    ]
    assert f"warning: {last.name} is open on record, and nothing here says who runs it" in said
    assert "which runs does not lead to" not in said


def test_runs_does_not_grow_under_a_checkout_of_it(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(dataset)
    first = sealed(store, "noob-gren-v1s4")
    sealed(store, "noob-gren-v2s4")
    git(dataset, "update-ref", "refs/heads/runs", first.commit)
    git(dataset, "worktree", "add", "-q", str(tmp_path / "seen"), "runs")
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert (
        f"noob-gren-v2s4 is not on runs: the branch runs is checked out in {tmp_path / 'seen'}"
        in said
    )
    assert git(tmp_path / "seen", "status", "--porcelain") == ""


def test_a_tag_that_came_back_to_a_run_that_was_taken_back_is_named(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = reverted(open_store(dataset), NAME)
    assert recover(dataset) == 0
    git(dataset, "tag", NAME, run.commit)
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert (
        f"warning: the tag {NAME} stands, though its run was taken back: it keeps the name from use"
        in said
    )
    assert (
        f"hint: delete it: git tag -d {NAME}; and where it was pushed to: git push REMOTE "
        f":refs/tags/{NAME}" in said
    )


def test_a_trained_run_whose_commit_was_taken_from_runs_is_not_forgotten(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    opened = crashed.opened()
    crashed.noted(trainer=TrainerProcess(GONE, "1"))
    git(dataset, "tag", "-d", NAME)
    git(dataset, "update-ref", "-d", "refs/heads/runs")
    assert recover(dataset) == 1
    assert f"git branch runs-before {opened.commit[:12]}" in capsys.readouterr().err
    assert list(journal.read(crashed.private)) == [crashed.note]


def test_a_run_that_is_half_opened_is_not_forgotten(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    opened = crashed.opened()
    note = crashed.private / "moves" / "x.1.toml"
    steps = [
        RefUpdate(f"refs/{name}", opened.commit, None) for name in ("heads/runs", f"tags/{NAME}")
    ]
    ref_moves._note(note, tuple(steps), f"loragit: open {NAME}", GONE)
    git(dataset, "tag", "-d", NAME)
    hook = dataset / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert recover(dataset) == 1
    assert (
        f"warning: {NAME} was being opened, and its tag could not be made yet\n"
        in capsys.readouterr().err
    )
    assert crashed.folder.exists() and list(journal.read(crashed.private)) == [crashed.note]
    hook.unlink()
    assert recover(dataset) == 0
    assert len(subjects(dataset)) == 2 and not crashed.folder.exists()
    assert recover(dataset) == 0
    assert "nothing to recover" in capsys.readouterr().err


def test_a_run_that_is_open_and_not_on_runs_is_not_taken_back(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    opened = crashed.opened()
    git(dataset, "update-ref", "-d", "refs/heads/runs")
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert (
        f"warning: {NAME} is open, and runs does not lead to its commit {opened.commit[:8]}\n"
        in said
    )
    assert f"loragit: runs goes on to {opened.commit[:8]}, the commit of {NAME}\n" in said
    assert crashed.folder.exists()
    assert recover(dataset) == 0
    assert git(dataset, "tag", "--list") == "" and len(subjects(dataset)) == 2


def test_a_ref_that_a_power_cut_emptied_is_told_of_with_what_it_held(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    crashed.noted(trainer=TrainerProcess(GONE, "1")).model()
    for name in ("heads/runs", f"tags/{NAME}"):
        ref = dataset / ".git" / "refs" / name
        held = ref.read_text().strip()
        ref.write_bytes(b"")
        try:
            assert recover(dataset) == 1
            said = capsys.readouterr().err
        except command.RunsBroken as error:
            said = f"warning: {error}\nhint: {error.hint}\n"
        problem, hint = said.splitlines()
        assert problem == f"warning: {ref} is empty, as a power cut may leave it"
        assert hint == f"hint: rm {ref} && git update-ref refs/{name} {held}; then: loragit recover"
        assert list(journal.read(crashed.private)) == [crashed.note]
        subprocess.run(
            hint.removeprefix("hint: ").partition(";")[0], shell=True, check=True, cwd=dataset
        )
    assert recover(dataset) == 0
    assert tagged(dataset)["Model"].startswith(NAME)


def test_what_cannot_be_mended_here_is_named(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset)
    private = crashed.private
    (private / "open").mkdir(parents=True)
    (private / "open" / "x.1.toml").write_text("run =")
    (private / "open" / f"x.1.toml.{GONE}.new").write_text("")
    (private / "open" / f"x.1.toml.{os.getpid()}.new").write_text("")
    (private / "moves").mkdir()
    (private / "moves" / "elsewhere.1.toml").write_text(
        'reason = "loragit: open x"\npid = 1\npid_started = ""\nboot = ""\nhost = '
        '"elsewhere"\ntime = 1.0\nsteps = []\n'
    )
    output.make(crashed.folder, COPIES, ending.LOG)
    for other in ("noob-other-v1s4", "gren", "notes"):
        output.make(crashed.folder.with_name(other), COPIES if other != "notes" else (), ending.LOG)
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert said.count("warning: ") == 3
    assert f"the note {private / 'open' / 'x.1.toml'} cannot be read" in said
    assert "a move of refs (loragit: open x) was begun on elsewhere" in said
    assert (
        f"no run on record has made the output folder {crashed.folder}\nhint: put it on record: "
        "loragit import" in said
    )
    assert [path.name for path in (private / "open").glob("*.new")] == [
        f"x.1.toml.{os.getpid()}.new"
    ]


def test_an_output_folder_that_is_not_there_makes_no_run_one_that_made_nothing(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashed = Crashed(dataset).folder_made()
    crashed.opened()
    crashed.model()
    elsewhere = crashed.folder.rename(crashed.folder.with_name("unmounted"))
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert (
        f"the output folder {crashed.folder} is gone (No such file or directory): nobody can tell"
        in said
    )
    assert f"if it is gone for good: loragit recover --gone {NAME}" in said
    crashed.folder.mkdir()  # a mount point with nothing on it
    assert recover(dataset) == 1
    crashed.folder.rmdir()
    elsewhere.rename(crashed.folder)
    assert recover(dataset) == 0
    assert tagged(dataset)["Model"].startswith(NAME)
    other = Crashed(dataset, "noob-gren-v2s4").folder_made()
    other.opened()
    shutil.rmtree(other.folder)
    assert recover(dataset, "noob-gren-v2s4", gone=True) == 0
    assert git(dataset, "tag", "--list") == NAME


def test_one_that_fails_does_not_keep_the_others_from_being_finished(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, fine = Crashed(dataset), Crashed(dataset, "noob-gren-v2s4")
    for each in (broken, fine):
        each.folder_made().opened()
    hook = dataset / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nif grep -q {NAME}; then exit 1; fi\n")
    hook.chmod(0o755)
    assert recover(dataset) == 1
    said = capsys.readouterr().err
    assert f"warning: {NAME} could not be finished\nerror: git " in said
    assert f"reverted {fine.note.run}" in said
    assert git(dataset, "tag", "--list") == NAME
    hook.unlink()
    assert recover(dataset) == 0
    assert git(dataset, "tag", "--list") == ""


def test_every_command_that_looks_at_runs_says_that_some_were_interrupted(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = open_store(dataset).repository
    interrupted.warn_if_interrupted(repository)
    assert capsys.readouterr().err == ""
    Crashed(dataset).folder_made().opened()
    interrupted.warn_if_interrupted(repository)
    assert capsys.readouterr().err == (
        f"warning: {NAME} was interrupted: no loragit works on it any more\nhint: finish it with: "
        "loragit recover\n"
    )
    for number in range(2, 6):
        Crashed(dataset, f"noob-gren-v{number}s4").noted()
    interrupted.warn_if_interrupted(repository)
    told = (
        "noob-gren-v2s4, noob-gren-v3s4 and 2 more were interrupted: no loragit works on them "
        "any more"
    )
    assert told in capsys.readouterr().err
    assert history.is_interrupted(repository, NAME)
    assert not history.is_interrupted(repository, "noob-gren-v9s4")
