"""``loragit log``, ``show``, ``status`` and ``settings`` from the outside, over every state a run
may be in."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from loragit.system import alive
from tests.support.made_up_runs import a_run, open_store, reverted, sealed, untagged
from tests.support.processes import LORAGIT, commit_all, git
from tests.support.user_home import Scene, make_scene

NAME = "noob-gren-v1s4"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


@contextmanager
def in_progress(scene: Scene, tmp_path: Path, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """A training that has saved a checkpoint and waits; afterwards nothing of it is left."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    fifo = os.open(ready, os.O_RDWR)
    child = subprocess.Popen(
        [*LORAGIT, "train", NAME, *args],
        cwd=scene.dataset,
        env={**os.environ, "STUB": "wait", "STUB_READY": str(ready)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert select.select([fifo], [], [], 60)[0], "the trainer never began"
        trainer = int(os.read(fifo, 64))
        yield child
    finally:
        os.close(fifo)
        if child.poll() is None:
            child.terminate()
        child.wait()
        if alive.exists(trainer):
            os.killpg(trainer, signal.SIGKILL)


def states(scene: Scene) -> dict[str, str]:
    return {run["run"]: run["state"] for run in json.loads(scene.loragit("log", "--json").out)}


# ---- log ----


def test_the_log_tells_a_line_a_run_newest_first(scene: Scene) -> None:
    store = open_store(scene.dataset)
    opened = [
        sealed(store, NAME),
        reverted(store, "noob-gren-v2s4"),
        untagged(store, "noob-gren-v10s4"),
    ]
    done = scene.loragit("log")
    assert done.err == ""
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    lines = done.out.splitlines()
    code, same = "a" * 8, "as before"
    assert re.fullmatch(
        rf"noob-gren-v10s4  {when}  untagged  -       -              -          -  {code}  {same}",
        lines[0],
    )
    assert re.fullmatch(
        rf"noob-gren-v2s4   {when}  reverted  -       exit status 1  -          -  {code}  {same}",
        lines[1],
    )
    assert re.fullmatch(
        rf"noob-gren-v1s4   {when}  sealed    42 min  1 model        2 samples  -  {code}  -",
        lines[2],
    )
    assert [line.split() for line in scene.loragit("log", "-n", "2").out.splitlines()] == [
        line.split() for line in lines[:2]
    ]
    table = json.loads(scene.loragit("log", "--json", "-n", "2").out)
    assert [run["opened"] for run in table] == [line[17:33] for line in lines[:2]]
    kept = (
        "run",
        "commit",
        "dataset",
        "state",
        "subject",
        "outcome",
        "reverted_by",
        "exit_status",
        "changed_since",
    )
    assert [{key: run[key] for key in kept} for run in table] == [
        {
            "run": "noob-gren-v10s4",
            "commit": opened[2].commit,
            "dataset": "gren",
            "state": "untagged",
            "subject": "noob on gren, version 10, 4 steps",
            "outcome": "",
            "reverted_by": None,
            "exit_status": None,
            "changed_since": NAME,
        },
        {
            "run": "noob-gren-v2s4",
            "commit": opened[1].commit,
            "dataset": "gren",
            "state": "reverted",
            "subject": "noob on gren, version 2, 4 steps",
            "outcome": "exit status 1, made nothing",
            "reverted_by": scene.git("rev-parse", "runs~1"),
            "exit_status": 1,
            "changed_since": NAME,
        },
    ]
    assert (
        datetime.fromisoformat(table[0]["opened_at"]).strftime("%Y-%m-%d %H:%M")
        == table[0]["opened"]
    )


def test_a_name_that_was_freed_and_used_again_is_two_runs(scene: Scene) -> None:
    store = open_store(scene.dataset)
    for again in (reverted, untagged, sealed):
        again(store, NAME)
    listed = json.loads(scene.loragit("log", "--json").out)
    assert [(run["run"], run["state"]) for run in listed] == [
        (NAME, "sealed"),
        (NAME, "untagged"),
        (NAME, "reverted"),
    ]


def test_without_runs_the_log_says_how_to_make_one(scene: Scene) -> None:
    done = scene.loragit("log")
    assert (done.status, done.out) == (0, "")
    assert done.err == "loragit: no runs on record here yet; the first: loragit train NAME\n"
    assert json.loads(scene.loragit("log", "--json").out) == []


def test_outside_any_repository_the_log_says_what_to_do(scene: Scene) -> None:
    done = scene.loragit("log", cwd=scene.home)
    assert (done.status, done.out) == (1, "")
    assert "is in no git repository" in done.err
    assert f"hint: make it one: git init {scene.home}" in done.err


def test_the_log_of_another_dataset_can_be_asked_for(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    assert scene.loragit("log", "--dataset", "gren", cwd=scene.home).out.startswith(NAME)
    assert scene.loragit(
        "show", NAME, "--dataset", str(scene.dataset), cwd=scene.home
    ).out.startswith(NAME)
    done = scene.loragit("log", "--dataset", "grem", cwd=scene.home)
    assert (done.status, done.out) == (2, "")
    assert "there is no folder" in done.err


def test_runs_of_others_on_the_branch_are_passed_over(scene: Scene) -> None:
    """A merge by hand has no trailers; a tag of somebody's that is called like a run is no
    outcome."""
    store = open_store(scene.dataset)
    untagged(store, NAME)
    scene.git("tag", "-a", "-m", "mine", NAME, "main")
    tree = scene.git("rev-parse", "runs^{tree}")
    scene.git(
        "update-ref",
        "refs/heads/runs",
        scene.git("commit-tree", "-p", "runs", "-m", "a merge", tree),
    )
    assert states(scene) == {NAME: "untagged"}


def test_a_run_in_progress_is_running_and_one_whose_loragit_was_killed_is_interrupted(
    scene: Scene, tmp_path: Path
) -> None:
    with in_progress(scene, tmp_path) as child:
        assert states(scene) == {NAME: "running"}
        done = scene.loragit("show", NAME)
        assert done.out.startswith(f"{NAME}: running, opened ")
        document = json.loads(scene.loragit("show", NAME, "--json").out)
        assert document["state"] == "running"
        assert document["outcome_record"] == {}
        report = json.loads(scene.loragit("status", "--json").out)["runs"]
        assert [(run["run"], run["pid"], run["alive"]) for run in report] == [
            (NAME, child.pid, True)
        ]
        assert report[0]["output"] == str(scene.output / NAME)
        lines = scene.loragit("status").out.splitlines()
        assert re.fullmatch(
            rf"running  {NAME}: since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ, process {child.pid}, "
            rf"writes .*/{NAME}",
            lines[0],
        )
        child.kill()
        child.wait()
        assert states(scene) == {NAME: "interrupted"}
        assert scene.loragit("status").out.startswith(f"interrupted  {NAME}: since ")
    scene.git("fsck", "--strict", "--full")
    assert scene.tags() == [NAME]
    taken = scene.train()
    assert taken.status == 1
    assert f"run {NAME} already exists" in taken.err


COMMANDS = (
    ("log",),
    ("log", "--json"),
    ("log", "--limit", "30"),
    ("show", NAME),
    ("settings",),
    ("status", "--json"),
)


def test_output_that_nobody_reads_to_its_end_ends_quietly(scene: Scene) -> None:
    store = open_store(scene.dataset)
    for number in range(1, 31):  # more than a buffer full
        store.open(a_run(name=f"noob-gren-v{number}s4"))
    for args in COMMANDS:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [*LORAGIT, *args], cwd=scene.dataset, stdout=writer, stderr=subprocess.PIPE, check=False
        )
        os.close(writer)
        assert done.returncode == 0, args
        assert not re.search(rb"error|Exception|Traceback", done.stderr), args


def test_output_that_was_closed_from_the_start_is_nobodys_loss(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    for args in COMMANDS:
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *LORAGIT, *args]
        done = subprocess.run(command, cwd=scene.dataset, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 0, args
        assert not re.search(rb"error|Exception|Traceback", done.stderr), args


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_to_a_full_disk_is_an_error(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    for args in (("log",), ("log", "--json"), ("show", NAME, "--json")):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*LORAGIT, *args],
                cwd=scene.dataset,
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert (done.returncode, done.stderr) == (
            1,
            b"error: the output cannot be written: No space left on device\n",
        ), args


def test_where_nobody_reads_the_trainers_output_its_exit_status_is_kept(scene: Scene) -> None:
    command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *LORAGIT, "train", NAME]
    assert (
        subprocess.run(
            command, cwd=scene.dataset, env={**os.environ, "STUB": "kill"}, check=False
        ).returncode
        == 137
    )
    assert subprocess.run(command, cwd=scene.dataset, check=False).returncode == 0
    assert scene.tags() == [NAME]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(("how", "status"), [("ok", 0), ("kill", 137)])
def test_where_the_disk_of_the_output_is_full_the_trainers_exit_status_is_kept(
    scene: Scene, how: str, status: int
) -> None:
    command = ["sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh", *LORAGIT, "train", NAME]
    assert (
        subprocess.run(
            command, cwd=scene.dataset, env={**os.environ, "STUB": how}, check=False
        ).returncode
        == status
    )
    command = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh", *LORAGIT, "show", "nothing"]
    assert subprocess.run(command, cwd=scene.dataset, check=False).returncode == 1


def test_head_reads_the_first_line_of_a_log(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    command = f"set -o pipefail; {' '.join(LORAGIT)} log | head -1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=scene.dataset, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{NAME}  ")


# ---- show ----


def test_a_sealed_run_is_shown_with_what_it_was_made_of_and_what_came_out(scene: Scene) -> None:
    opened = sealed(open_store(scene.dataset), NAME)
    done = scene.loragit("show", NAME)
    lines = done.out.splitlines()
    assert re.fullmatch(rf"{NAME}: sealed, opened \S+ \S+ as {opened.commit[:8]}", lines[0])
    assert lines[1:3] == ["noob on gren, version 1, 4 steps", "1 model, 2 samples, 42 min"]
    assert f"  sd-scripts {'a' * 40} (sd3) of https://example.org/sd-scripts" in lines
    assert f"  {NAME}.safetensors  1.0 KiB, step 4, epoch 1" in lines
    assert f"    sha256   {'b' * 64}  AutoV2 BBBBBBBBBB" in lines
    assert f"    payload  {'c' * 64}  AutoV3 CCCCCCCCCCCC" in lines
    assert f"  in ~/output_dir/{NAME}" in lines
    assert "  exit status 0, from 2026-11-23T17:20:30Z to 2026-11-23T18:02:30Z" in lines
    assert lines[-4:] == ["  config.toml", "  run.toml", "  train.sh", "  captions/ (1)"]
    assert done.err == f"loragit: a file of it: loragit show {NAME}:run.toml\n"
    assert (
        scene.loragit("show", f"{NAME}:run.toml").out
        == scene.git("show", f"{NAME}:run.toml") + "\n"
    )
    assert scene.git("show", f"{NAME}:./run.toml").startswith("format = 1")
    document = json.loads(scene.loragit("show", NAME, "--json").out)
    assert document["record"]["Run"] == [NAME]
    assert document["outcome_record"]["Samples"] == ["2"]
    assert document["files"] == [
        ".gitattributes",
        "captions/img/00.txt",
        "config.toml",
        "run.toml",
        "train.sh",
    ]
    assert document["commit"] == opened.commit


def test_a_reverted_run_is_shown_with_why(scene: Scene) -> None:
    opened = reverted(open_store(scene.dataset), NAME, "CUDA out of memory")
    done = scene.loragit("show", NAME)
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].startswith(f"{NAME}: reverted, ")
    assert lines[2] == "exit status 1, made nothing"
    why = lines.index("Why it was taken back")
    assert lines[why + 1 : why + 3] == [
        "  The trainer ended with exit status 1 and made nothing.",
        "    CUDA out of memory",
    ]
    again = scene.loragit("show", opened.commit[:9])
    assert again.out == done.out


def test_a_run_without_captions_is_shown_without_them(scene: Scene) -> None:
    run = a_run()
    open_store(scene.dataset).open(a_run(entries=run.entries[:2], captions=0))
    assert "captions/" not in scene.loragit("show", NAME).out


def test_a_run_that_is_not_there_is_told_with_the_nearest(scene: Scene) -> None:
    empty = scene.loragit("show", NAME)
    assert empty.status == 1
    assert "hint: see all with: loragit log" in empty.err
    sealed(open_store(scene.dataset), NAME)
    done = scene.loragit("show", "noob-gren-v1s5")
    assert (done.status, done.out) == (1, "")
    assert f"error: there is no run noob-gren-v1s5 on record in {scene.dataset}" in done.err
    assert f"hint: did you mean {NAME}?" in done.err


def test_a_signature_is_no_part_of_the_outcome(scene: Scene) -> None:
    """As somebody who signs tags by hand leaves it."""
    sealed(open_store(scene.dataset), NAME)
    raw = (
        scene.git("cat-file", "tag", NAME)
        + "\n-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
    )
    tag = git(
        scene.dataset, "hash-object", "-t", "tag", "-w", "--literally", "--stdin", text_input=raw
    )
    scene.git("update-ref", f"refs/tags/{NAME}", tag)
    assert "SIGNATURE" not in scene.loragit("show", NAME).out
    assert json.loads(scene.loragit("show", NAME, "--json").out)["outcome_record"][
        "Exit-Status"
    ] == ["0"]


# ---- status ----


def test_the_status_names_the_trainer_and_says_that_it_is_clean(scene: Scene) -> None:
    head = git(scene.trainer, "rev-parse", "HEAD")
    assert scene.loragit("status").out.splitlines() == [
        "no run in progress",
        f"sd-scripts {head[:8]} (sd3), clean, at {scene.trainer}",
    ]


def test_the_status_names_what_is_dirty_and_the_lycoris_of_the_settings(scene: Scene) -> None:
    lycoris = scene.home / "LyCORIS"
    lycoris.mkdir()
    git(lycoris, "init", "-q")
    (lycoris / "setup.py").write_text("")
    head = commit_all(lycoris, "first")
    (scene.trainer / "trainer_files.py").write_text("# edited\n")
    scene.settings(f'[trainer]\nlycoris_repo = "{lycoris}"\n')
    lines = scene.loragit("status").out.splitlines()
    assert lines[1].endswith(f" (sd3, 1 file changed) at {scene.trainer}: trainer_files.py")
    assert lines[2] == f"LyCORIS {head[:8]} (main), clean, at {lycoris}"
    repositories = json.loads(scene.loragit("status", "--json").out)["repositories"]
    assert [(r["label"], r["dirty"]) for r in repositories] == [
        ("sd-scripts", ["trainer_files.py"]),
        ("LyCORIS", []),
    ]
    assert repositories[1] == {
        "label": "LyCORIS",
        "path": str(lycoris),
        "commit": head,
        "branch": "main",
        "url": None,
        "dirty": [],
        "on_remote": False,
    }


def test_a_trainer_that_is_missing_is_a_line_of_the_status(scene: Scene) -> None:
    nowhere = scene.home / "nowhere"
    done = scene.loragit("status", SD_REPO=str(nowhere))
    assert done.status == 0, done.err
    assert done.out.splitlines()[1].startswith("sd-scripts: ")
    assert str(nowhere) in done.out
    assert (
        "error"
        in json.loads(scene.loragit("status", "--json", SD_REPO=str(nowhere)).out)["repositories"][
            0
        ]
    )


def test_the_status_outside_any_repository_is_an_error(scene: Scene) -> None:
    assert scene.loragit("status", cwd=scene.home).status != 0


# ---- settings ----


def test_every_setting_is_told_with_its_source(scene: Scene) -> None:
    scene.settings(
        "[trainer.args]\nnetwork_dim = 8\nwandb_api_key = "
        '"0123456789"\n[models.noob.args]\nnetwork_dim = 16\n'
    )
    toml = scene.dataset / "loragit.toml"
    plain = scene.loragit("settings")
    assert plain.status == 0, plain.err
    assert tomllib.loads(plain.out)["trainer"]["args"] == {"network_dim": 8, "wandb_api_key": "***"}
    named = scene.loragit("settings", NAME, cwd=scene.home, STEPS="7").out
    rows = {line.split(" = ")[0]: line for line in named.splitlines()}
    assert re.fullmatch(
        rf"trainer\.args\.network_dim = 16 +# {toml}.*", rows["trainer.args.network_dim"]
    )
    assert re.fullmatch(r"steps = 7 +# STEPS", rows["steps"])
    document = json.loads(scene.loragit("settings", NAME, "--json").out)
    assert document["dataset_dir"]["value"] == str(scene.dataset)
    assert document["steps"] == {"value": 4, "source": "name"}
    assert "0123456789" not in named + plain.out + json.dumps(document)


def test_settings_for_a_name_that_cannot_be_are_refused(scene: Scene) -> None:
    done = scene.loragit("settings", "a b")
    assert (done.status, done.out) == (2, "")
    assert "cannot name a run" in done.err


# ---- what a terminal is given ----


def test_control_characters_never_reach_the_terminal_raw(scene: Scene, tmp_path: Path) -> None:
    branch, log = "sd3\u009b31m", "\x1b]0;title\x07 done\r"
    store = open_store(scene.dataset)
    code = a_run().trainer._replace(branch=branch, dirty=("\x1b[2J.py",))
    sealed(store, NAME, trainer=code, dataset="gr\x1b[31men", argv=("python", "\x1b[1m"))
    reverted(store, "noob-gren-v2s4", log)
    git(scene.trainer, "checkout", "-q", "-b", branch)
    (scene.trainer / "\x1b[2J.py").write_text("")
    scene.settings('[trainer.args]\ntraining_comment = "\\u001b[31m"\n')
    told = ""
    for args in (
        ("log",),
        ("show", NAME),
        ("show", "noob-gren-v2s4"),
        ("show", "\x1b[31mred"),
        ("status",),
        ("settings", NAME),
        ("train", NAME + "0", "--dry-run", "--allow-dirty"),
        ("train", NAME),
        ("train", "\x1b[31m-v1s4"),
        ("log", "--json"),
        ("show", NAME, "--json"),
    ):
        done = scene.loragit(*args)
        assert CONTROL.search(done.out + done.err) is None, (args, done)
        told += done.out + done.err
    assert "sd3\\x9b31m" in told
    assert "\\x1b]0;title\\x07 done\\x0d" in told
    assert "\\x1b[2J.py" in told
