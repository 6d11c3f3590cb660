"""``loragit train`` from the outside: a child process, a stub trainer that does as sd-scripts does,
git as witness."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from loragit.system import alive
from tests.support.processes import LORAGIT, commit_all, git
from tests.support.user_home import (
    Scene,
    gone,
    make_scene,
    make_trainer,
    refused,
    sha1,
    sound,
    write_dataset,
)

NAME = "noob-gren-v1s4"


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


# ---- what a run that made something leaves ----


def test_a_run_is_recorded_trained_and_sealed(scene: Scene) -> None:
    done = scene.train()
    assert done.status == 0, done.err
    assert scene.tags() == [NAME]
    assert scene.git("cat-file", "-t", NAME) == "tag"
    assert scene.git("log", "--format=%s", "runs") == f"{NAME}: noob on gren, version 1, 4 steps"
    assert scene.git("rev-parse", "runs") == scene.git("rev-parse", f"{NAME}^{{commit}}")
    assert sorted(p.name for p in (scene.output / NAME).iterdir()) == [
        "config.toml",
        f"{NAME}-step00000002.safetensors",
        f"{NAME}.safetensors",
        "repos.git",
        "sample",
        "sample-prompts.txt",
        "sdscripts.log",
        "train.sh",
    ]
    assert f"sealed {NAME}: 2 models, 3 samples" in done.err
    sound(scene)


def test_the_trailers_tell_what_made_the_run(scene: Scene) -> None:
    git(
        scene.trainer,
        "remote",
        "add",
        "origin",
        "https://me:secret@example.org/kohya-ss/sd-scripts",
    )
    assert scene.train().status == 0
    head = git(scene.trainer, "rev-parse", "HEAD")
    folder = scene.output / NAME
    assert scene.trailers(NAME) == {
        "Run": NAME,
        "Dataset": "gren",
        "Trainer-Commit": head,
        "Trainer-Branch": "sd3",
        "Trainer-URL": "https://example.org/kohya-ss/sd-scripts",
        "LyCORIS": "not installed",
        "Dataset-Commit": scene.git("rev-parse", "HEAD"),
        "Config-SHA1": sha1(scene.dataset / "config.toml"),
        "Prompts-SHA1": sha1(scene.dataset / "sample-prompts.txt"),
        "Script-SHA1": sha1(folder / "train.sh"),
        "Loragit-Format": "1",
    }


def test_a_commit_that_is_on_no_remote_is_warned_of(scene: Scene) -> None:
    git(scene.trainer, "remote", "add", "origin", "https://example.org/sd-scripts")
    assert "is on no remote: nobody else can fetch it until it is pushed" in scene.train().err


def test_the_outcome_is_in_the_sealed_tag(scene: Scene) -> None:
    scene.settings('[trainer.args]\nlogging_dir = "~/logs"\nlog_prefix = "noob_"\n')
    commit_all(scene.dataset, "settings")
    assert scene.train().status == 0
    outcome = scene.outcome(NAME)
    assert outcome["Exit-Status"] == "0"
    assert outcome["Samples"] == "3"
    assert outcome["Final-Loss"] == "0.125"
    assert outcome["Output"] == f"~/output_dir/{NAME}"
    model = scene.output / NAME / f"{NAME}.safetensors"
    data = model.read_bytes()
    payload = data[8 + int.from_bytes(data[:8], "little") :]
    assert outcome["Model"] == (
        f"{NAME}.safetensors {len(data)} bytes sha256:{hashlib.sha256(data).hexdigest()} "
        f"payload:{hashlib.sha256(payload).hexdigest()} step:4 epoch:1"
    )


def test_the_trainer_is_pointed_at_the_recorded_copies(scene: Scene) -> None:
    assert scene.train().status == 0
    folder = scene.output / NAME
    for name in ("config.toml", "sample-prompts.txt"):
        recorded = subprocess.run(
            ["git", "show", f"{NAME}:{name}"], cwd=scene.dataset, capture_output=True, check=True
        )
        assert (
            recorded.stdout == (folder / name).read_bytes() == (scene.dataset / name).read_bytes()
        )
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    pairs = dict(itertools.pairwise(argv))
    assert pairs["--dataset_config"] == f"~/output_dir/{NAME}/config.toml"
    assert pairs["--sample_prompts"] == f"~/output_dir/{NAME}/sample-prompts.txt"
    assert pairs["--output_dir"] == f"~/output_dir/{NAME}"
    assert str(scene.home) not in scene.git("show", f"{NAME}:run.toml")


def test_every_model_names_its_run_and_commit(scene: Scene) -> None:
    assert scene.train().status == 0
    data = (scene.output / NAME / f"{NAME}.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    commit = scene.git("rev-parse", f"{NAME}^{{commit}}")
    assert header["__metadata__"]["ss_training_comment"] == f"loragit: {NAME} {commit}"


def test_the_users_own_training_comment_is_kept(scene: Scene) -> None:
    assert scene.train(NAME, "--", "--training_comment", "by moonlight").status == 0
    data = (scene.output / NAME / f"{NAME}.safetensors").read_bytes()
    assert f"by moonlight (loragit: {NAME} ".encode() in data


def test_the_fingerprints_of_the_dataset_are_checked_by_sha256sum(scene: Scene) -> None:
    outside = scene.home / "reg images"
    shutil.copytree(scene.dataset / "img", outside)
    config = scene.dataset / "config.toml"
    config.write_text(
        config.read_text()
        + f'\n  [[datasets.subsets]]\n  image_dir = "{outside}"\n  is_reg = true\n'
    )
    commit_all(scene.dataset, "regularisation images")
    assert scene.train().status == 0
    listed = scene.git("show", f"{NAME}:dataset.sha256")
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "-"],
        cwd=scene.dataset,
        input=listed,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 16
    captions = scene.git("ls-tree", "-r", "--name-only", NAME, "captions/").splitlines()
    assert captions == [
        f"captions/{f}/{n:02d}.txt" for f in ("img", "outside/reg images") for n in range(4)
    ]


def test_prompts_that_were_edited_while_it_trained_are_in_the_sealed_tag(scene: Scene) -> None:
    script = scene.trainer / "sdxl_train_network.py"
    token = "hf_" + "a1B2" * 9
    words = f"zqx, a square\\n---\\n{token} \\x1b[31m"
    script.write_text(script.read_text().replace('write_text("edited")', f'write_text("{words}")'))
    commit_all(scene.trainer, "edits")
    assert scene.train(STUB="edit").status == 0
    message = scene.git("for-each-ref", "--format=%(contents)", f"refs/tags/{NAME}")
    shown = "    zqx, a square\n    ---\n    *** \\x1b[31m"
    assert (
        "\n\nThe sample prompts were edited while it trained. At the end they "
        f"were:\n\n{shown}\n\nRun: " in message
    )
    assert "Exit-Status" in scene.outcome(NAME)
    at_the_end = b"zqx, a square\n---\n*** \x1b[31m"
    assert scene.outcome(NAME)["Edited-Prompts-SHA1"] == hashlib.sha1(at_the_end).hexdigest()
    # On record is what the trainer was given; the outcome is read as any other.
    assert scene.git("show", f"{NAME}:sample-prompts.txt") != "edited"
    assert "2 models" in scene.loragit("log").out
    assert json.loads(scene.loragit("show", NAME, "--json").out)["outcome_record"][
        "Exit-Status"
    ] == ["0"]
    assert scene.train("noob-gren-v2s4").status == 0
    assert "Edited-Prompts-SHA1" not in scene.outcome("noob-gren-v2s4")


def test_uncommitted_edits_are_recorded_as_they_stand(scene: Scene) -> None:
    (scene.dataset / "img" / "00.txt").write_text("edited, not committed")
    (scene.dataset / "img" / "new.txt").write_text("new")
    shutil.copy(scene.dataset / "img" / "00.png", scene.dataset / "img" / "new.png")
    assert scene.train().status == 0
    assert scene.git("show", f"{NAME}:captions/img/00.txt") == "edited, not committed"
    assert scene.git("show", f"{NAME}:captions/img/new.txt") == "new"
    assert scene.trailers(NAME)["Dataset-Dirty"] == "3 files"


def test_the_trainers_own_caches_are_no_part_of_the_dataset(scene: Scene) -> None:
    (scene.dataset / ".gitignore").write_text("*.npz\n")
    commit_all(scene.dataset, "ignore caches")
    assert scene.train("noob-gren-v1s4").status == 0
    (scene.dataset / "img" / "00_0064x0064_sdxl.npz").write_bytes(b"cache")
    assert scene.train("noob-gren-v2s4").status == 0
    first, second = (scene.git("rev-parse", f"noob-gren-v{n}s4:dataset.sha256") for n in (1, 2))
    assert first == second


def test_the_same_inputs_give_the_same_tree_but_for_the_name(scene: Scene) -> None:
    for name in ("noob-gren-v1s4", "noob-gren-v2s4"):
        assert scene.train(name).status == 0
    changed = scene.git("diff", "--name-only", "noob-gren-v1s4", "noob-gren-v2s4").splitlines()
    assert changed == ["run.toml", "train.sh"]


def test_two_runs_are_compared_by_plain_git(scene: Scene) -> None:
    assert scene.train("noob-gren-v1s4").status == 0
    assert scene.train("noob-gren-v2s4", "--", "--learning_rate", "5e-5").status == 0
    diff = scene.git("diff", "-U0", "noob-gren-v1s4", "noob-gren-v2s4", "--", "run.toml")
    assert '+    "--learning_rate",\n+    "5e-5",' in diff


def test_the_committed_script_runs_as_it_stands(scene: Scene, tmp_path: Path) -> None:
    assert scene.train(NAME, "--", "--network_args", "algo=lokr", "it's=$HOME").status == 0
    copy = tmp_path / "a copy"
    git(scene.dataset, "worktree", "add", "-q", "--detach", str(copy), NAME)
    done = subprocess.run(
        [str(copy / "train.sh")], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (copy / f"{NAME}.safetensors").is_file()


def test_repos_git_is_as_the_helpers_wrote_it(scene: Scene) -> None:
    assert scene.train().status == 0
    folder = scene.output / NAME
    head = git(scene.trainer, "rev-parse", "HEAD")
    assert (folder / "repos.git").read_text() == (
        f"{scene.trainer}: (sd3) {head}\n"
        f"{sha1(folder / 'train.sh')}  train.sh\n"
        f"{sha1(folder / 'config.toml')}  config.toml\n"
        f"{sha1(folder / 'sample-prompts.txt')}  sample-prompts.txt\n"
    )


def test_the_trainer_gets_no_git_variables_and_works_in_its_repository(scene: Scene) -> None:
    # As inside a hook or an alias of git's.
    outside = {
        "GIT_DIR": str(scene.dataset / ".git"),
        "GIT_AUTHOR_NAME": "Nobody",
        "STUB": "environment",
    }
    assert scene.train(NAME, **outside).status == 0
    environ = json.loads((scene.output / NAME / "environ.json").read_text())
    assert [name for name in environ if name.startswith("GIT_")] == []
    assert (scene.output / NAME / "cwd.txt").read_text() == str(scene.trainer)


def test_the_log_folds_what_was_redrawn(scene: Scene) -> None:
    assert scene.train().status == 0
    lines = (scene.output / NAME / "sdscripts.log").read_text().splitlines()
    assert [line for line in lines if line.startswith("steps:")] == [
        "steps: 100%|##########| 4/4 [00:00<00:00, 12.50it/s, avr_loss=0.125]"
    ]


def test_where_nothing_is_logged_the_progress_bar_tells_the_final_loss(scene: Scene) -> None:
    assert scene.train().status == 0
    assert scene.outcome(NAME)["Final-Loss"] == "0.125"


def test_stdout_and_stderr_of_the_trainer_stay_apart_and_plain(scene: Scene) -> None:
    done = scene.train()
    assert "saving checkpoint" in done.out
    assert "loragit" not in done.out
    assert "| 4/4 [" in done.err
    assert "\x1b" not in done.out + done.err


# ---- runs that made nothing ----


@pytest.mark.parametrize(
    ("how", "status", "returned"),
    [("nothing", 0, 1), ("fail", 1, 1), ("kill", 128 + signal.SIGKILL, 137)],
)
def test_a_run_that_made_nothing_is_reverted_and_frees_its_name(
    scene: Scene, how: str, status: int, returned: int
) -> None:
    done = scene.train(STUB=how)
    assert done.status == returned
    gone(scene, status, f"The trainer ended with exit status {status} and made nothing.")
    assert scene.train().status == 0
    assert scene.tags() == [NAME]


def test_a_revert_quotes_the_end_of_the_log_and_the_whole_log_is_kept(scene: Scene) -> None:
    assert scene.train(STUB="fail").status == 1
    message = gone(scene, 1, "made nothing")
    assert "    RuntimeError: the stub was told to fail" in message
    logs = list((scene.dataset / ".git" / "loragit" / "logs").iterdir())
    commit = scene.git("rev-parse", "--short=8", "runs~1")
    assert [log.name for log in logs] == [f"{NAME}-{commit}.log"]
    assert "prepare images." in logs[0].read_text()


def test_only_the_tag_goes_where_that_is_asked_for(scene: Scene) -> None:
    assert scene.train(NAME, "--on-empty", "delete-tag", STUB="fail").status == 1
    assert scene.tags() == []
    assert scene.git("rev-list", "--count", "runs") == "1"
    assert not (scene.output / NAME).exists()
    sound(scene)


@pytest.mark.parametrize("how", [{"NO_CLEAN": "1"}, {"LORAGIT_RECORD_ON_EMPTY": "keep"}])
def test_nothing_is_undone_where_that_is_asked_for(scene: Scene, how: dict[str, str]) -> None:
    assert scene.train(NAME, STUB="fail", **how).status == 1
    assert scene.outcome(NAME)["Exit-Status"] == "1"
    assert (scene.output / NAME / "sdscripts.log").exists()
    sound(scene)


def test_an_output_folder_with_one_foreign_file_stays(scene: Scene) -> None:
    done = scene.train(STUB="foreign")
    assert done.status == 1
    assert scene.tags() == []
    assert (scene.output / NAME / "notes.txt").read_text() == "mine"
    assert (scene.output / NAME / "config.toml").exists()
    assert "stays: it holds notes.txt; move it away" in done.err


def test_a_model_that_was_cut_short_is_told_apart_and_kept(scene: Scene) -> None:
    done = scene.train(STUB="truncated")
    assert done.status == 1
    assert (scene.output / NAME / f"{NAME}.safetensors").exists()
    message = scene.git("log", "-1", "--format=%B", "runs")
    assert f"left nothing whole: {NAME}.safetensors was cut short" in message
    assert scene.tags() == []


def test_a_crash_after_the_first_checkpoint_is_sealed(scene: Scene) -> None:
    done = scene.train(STUB="late-fail")
    assert done.status == 1
    outcome = scene.outcome(NAME)
    assert outcome["Exit-Status"] == "1"
    assert outcome["Model"].startswith(f"{NAME}-step00000002.safetensors ")
    assert "exit status 1" in scene.git(
        "for-each-ref", "--format=%(contents:subject)", f"refs/tags/{NAME}"
    )


def test_samples_alone_are_a_product(scene: Scene) -> None:
    assert scene.train(STUB="samples").status == 0
    assert scene.outcome(NAME)["Samples"] == "3"


# ---- signals ----


def interrupted(scene: Scene, tmp_path: Path, number: int, how: str) -> tuple[int, str]:
    """Start a run, send ``number`` to loragit when the trainer waits; exit status and stderr."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    fifo = os.open(ready, os.O_RDWR)  # opened for writing too, so that opening waits for nobody
    child = subprocess.Popen(
        [*LORAGIT, "train", NAME],
        cwd=scene.dataset,
        env={**os.environ, "STUB": how, "STUB_READY": str(ready)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert select.select([fifo], [], [], 60)[0], "the trainer never began"
    trainer = int(os.read(fifo, 64))
    os.close(fifo)
    child.send_signal(number)
    _, err = child.communicate()
    assert not alive.exists(trainer)
    return child.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_with_a_checkpoint_is_sealed_with_its_status(
    scene: Scene, tmp_path: Path, number: signal.Signals
) -> None:
    status, err = interrupted(scene, tmp_path, number, "wait")
    assert status == 128 + number, err
    outcome = scene.outcome(NAME)
    assert outcome["Interrupted-By"] == number.name
    assert outcome["Exit-Status"] == str(status)
    assert "Model" in outcome
    sound(scene)


def test_an_interrupted_run_without_a_checkpoint_is_reverted(scene: Scene, tmp_path: Path) -> None:
    status, _ = interrupted(scene, tmp_path, signal.SIGINT, "wait-empty")
    assert status == 130
    gone(scene, 130, "exit status 130 and made nothing")


def launcher(scene: Scene) -> str:
    """A stand-in for ``accelerate launch``: starts the trainer as its own child, and waits."""
    path = scene.home / "accelerate"
    path.write_text(
        f"#!{sys.executable}\nimport subprocess, sys\n"
        "assert sys.argv[1:3] == ['launch', '--num_cpu_threads_per_process=1'], sys.argv\n"
        "child = subprocess.Popen([sys.executable, *sys.argv[3:]])\n"
        "sys.exit(1 if child.wait() else 0)\n"
    )
    path.chmod(0o755)
    scene.settings(f'[trainer]\nlauncher = "{path} launch --num_cpu_threads_per_process=1"\n')
    commit_all(scene.dataset, "settings")
    return str(path)


def test_nothing_is_orphaned_under_a_launcher(scene: Scene, tmp_path: Path) -> None:
    launcher(scene)
    status, _ = interrupted(
        scene, tmp_path, signal.SIGTERM, "wait"
    )  # the helper checks that the trainer is gone
    assert status in (1, 128 + signal.SIGTERM)
    assert scene.outcome(NAME)["Interrupted-By"] == "SIGTERM"


def test_a_launcher_stands_before_the_script(scene: Scene) -> None:
    path = launcher(scene)
    assert scene.train().status == 0
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    assert argv[:4] == [
        path.replace(str(scene.home), "~"),
        "launch",
        "--num_cpu_threads_per_process=1",
        "~/source/repos/sd-scripts/sdxl_train_network.py",
    ]


# ---- refusals: everything at once, before anything is written ----


def test_all_problems_are_told_at_once(scene: Scene) -> None:
    (scene.dataset / "config.toml").write_text("[[datasets]\n")
    (scene.dataset / "sample-prompts.txt").unlink()
    (scene.trainer / "trainer_files.py").write_text("# edited\n")
    err = refused(
        scene,
        f"{NAME} was not started, nothing was written: 3 problems found",
        "does not parse: Expected ']]' at the end of an array declaration (at line 1, column 11)",
        "there are no sample prompts",
        "is dirty: trainer_files.py",
        "or record it: --allow-dirty",
    )
    assert 'set paths.prompts = ""' in err


def test_a_missing_config_is_told(scene: Scene) -> None:
    (scene.dataset / "config.toml").unlink()
    refused(scene, "there is no dataset config", "-- --dataset_config PATH")


def test_an_image_folder_that_is_missing_is_told_with_what_may_be_meant(scene: Scene) -> None:
    config = scene.dataset / "config.toml"
    config.write_text(config.read_text().replace(str(scene.dataset / "img"), "img"))
    refused(scene, "the image folder 'img': cannot read", 'trainer.workdir = "dataset"')


def test_an_image_folder_without_images_is_told(scene: Scene) -> None:
    for image in (scene.dataset / "img").glob("*.png"):
        image.unlink()
    refused(scene, "holds no images", "No data found")


def test_an_image_that_git_lfs_has_not_fetched_is_told(scene: Scene) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
    (scene.dataset / "img" / "00.png").write_text(pointer)
    refused(scene, "00.png is not really there: it is a git-lfs pointer", "lfs pull")


def test_a_trainer_that_is_missing_is_told(scene: Scene) -> None:
    shutil.rmtree(scene.trainer)
    refused(scene, "there is no trainer script", "SD_REPO")


def test_a_script_that_is_misnamed_is_told(scene: Scene) -> None:
    told = ("there is no trainer script", "is sdxl_train_network.py meant?")
    refused(scene, *told, SD_SCRIPT="sdxl_train_netwrok.py")


def test_a_trainer_outside_any_repository_is_told(scene: Scene) -> None:
    shutil.rmtree(scene.trainer / ".git")
    refused(scene, "is in no git repository")


def test_a_python_that_is_missing_is_told(scene: Scene) -> None:
    refused(scene, "/nowhere/python", LORAGIT_TRAINER_PYTHON="/nowhere/python")


def test_a_launcher_that_is_missing_is_told(scene: Scene) -> None:
    scene.settings('[trainer]\nlauncher = "accelerate launch"\n')
    refused(scene, "the launcher accelerate is not in")


def test_lycoris_that_is_missing_where_it_is_needed_is_told(scene: Scene) -> None:
    refused(
        scene,
        "network_module is lycoris.kohya, but the trainer's Python finds no LyCORIS",
        "pip install lycoris-lora",
        args=("--", "--network_module", "lycoris.kohya"),
    )


def test_a_missing_identity_is_told(scene: Scene) -> None:
    (scene.home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    refused(scene, "git does not know who you are", "git config --global user.name")


def test_a_base_model_that_is_missing_is_told(scene: Scene) -> None:
    refused(
        scene,
        "--pretrained_model_name_or_path: there is no file",
        args=("--", "--pretrained_model_name_or_path", "/models/none.safetensors"),
    )


def test_an_output_folder_that_exists_is_told(scene: Scene) -> None:
    mine = scene.home / "mine"
    mine.mkdir()
    refused(scene, f"the output folder {mine} exists already", "--bump", OUTPUT_DIR=str(mine))
    assert list(mine.iterdir()) == []


@pytest.mark.skipif(
    sys.platform != "linux", reason="needs a file system without room that everybody has"
)
def test_a_disk_without_room_is_told(scene: Scene) -> None:
    refused(
        scene, "too little for the models", "make room", args=("--output", "/sys/fs/loragit/run")
    )


def test_a_dataset_outside_any_repository_is_told(scene: Scene) -> None:
    shutil.rmtree(scene.dataset / ".git")
    refused(scene, "is in no git repository", "git init")


@pytest.mark.parametrize("name", ["../x", "-x", "", "x" * 300, "x.lock", "runs", "a b"])
def test_a_name_that_cannot_be_is_refused_with_the_convention(scene: Scene, name: str) -> None:
    done = (
        scene.loragit("train", "--", name) if name.startswith("-") else scene.loragit("train", name)
    )
    assert done.status == 2
    assert "cannot name a run" in done.err
    assert "noob-gren-v2s512" in done.err


def test_a_name_that_fits_nothing_is_refused_with_the_convention(scene: Scene) -> None:
    done = scene.loragit("train", "evening")
    assert done.status == 2
    assert "{model}-{dataset}" in done.err


def test_a_name_that_is_taken_is_refused(scene: Scene) -> None:
    assert scene.train().status == 0
    shutil.rmtree(scene.output)
    done = scene.train()
    assert done.status == 1
    assert f"run {NAME} already exists" in done.err
    assert f"loragit show {NAME}" in done.err


def test_bad_settings_name_the_nearest_key(scene: Scene) -> None:
    scene.settings('[trainer]\nscirpt = "x.py"\n')
    refused(scene, "trainer.scirpt", "trainer.script")


def test_an_argument_that_is_cut_short_is_not_missed(scene: Scene) -> None:
    refused(
        scene,
        "--dataset_conf is short for --dataset_config",
        args=("--", "--dataset_conf", "other.toml"),
        STUB="nothing",
    )


def test_a_word_that_is_no_option_is_refused(scene: Scene) -> None:
    refused(
        scene,
        "'learning_rate' is not an option of the trainer",
        args=("--", "learning_rate", "1e-4"),
    )


# ---- dirty repositories on purpose ----


def test_changes_are_recorded_where_that_is_asked_for(scene: Scene, tmp_path: Path) -> None:
    stub = scene.trainer / "sdxl_train_network.py"
    stub.write_text("# a change\n" + stub.read_text())
    (scene.trainer / "extra.py").write_text("x = 1\n")
    done = scene.train(NAME, "--allow-dirty")
    assert done.status == 0, done.err
    assert scene.trailers(NAME)["Trainer-Dirty"] == "2 files"
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(scene.trainer), str(clone))
    patch = subprocess.run(
        ["git", "show", f"{NAME}:patches/sd-scripts.patch"],
        cwd=scene.dataset,
        capture_output=True,
        check=True,
    )
    subprocess.run(["git", "apply"], cwd=clone, input=patch.stdout, check=True)
    assert (clone / "sdxl_train_network.py").read_bytes() == stub.read_bytes()
    assert (clone / "extra.py").read_text() == "x = 1\n"
    assert git(scene.trainer, "status", "--porcelain").split() == [
        "M",
        "sdxl_train_network.py",
        "??",
        "extra.py",
    ]


def test_notes_and_configs_in_the_trainers_folder_are_not_dirt(scene: Scene) -> None:
    (scene.trainer / "my-config.toml").write_text("x = 1\n")
    assert scene.train().status == 0


# ---- arguments ----


def test_arguments_that_name_managed_paths_are_understood_not_doubled(scene: Scene) -> None:
    other = scene.home / "other.toml"
    other.write_bytes((scene.dataset / "config.toml").read_bytes() + b"# other\n")
    out = scene.home / "elsewhere" / "run"
    done = scene.train(
        NAME,
        "--",
        "--dataset_config",
        str(other),
        f"--output_dir={out}",
        "--output_name=lamp",
        "--seed=7",
        "--max_train_steps",
        "2",
    )
    assert done.status == 0, done.err
    assert (out / "lamp.safetensors").exists()
    assert scene.git("show", f"{NAME}:config.toml").endswith("# other")
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    for option in (
        "--dataset_config",
        "--output_dir",
        "--output_name",
        "--max_train_steps",
        "--seed",
    ):
        assert sum(word.split("=")[0] == option for word in argv) == 1
    assert argv[argv.index("--max_train_steps") + 1] == "2"
    assert scene.outcome(NAME)["Model"].startswith("lamp.safetensors ")


def test_settings_become_arguments_and_the_models_table_overrides(scene: Scene) -> None:
    scene.settings(
        "[trainer.args]\nlearning_rate = 1e-4\nnetwork_dim = 8\ngradient_checkpointing = true\n"
        'network_args = ["algo=lokr", "factor=4"]\n[models.noob.args]\nnetwork_dim = 16\n'
    )
    commit_all(scene.dataset, "settings")
    assert scene.train(NAME, "--", "--learning_rate", "5e-5").status == 0
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    words = " ".join(argv[2:])
    assert words.startswith(
        "--learning_rate 5e-5 --network_dim 16 --gradient_checkpointing --network_args algo=lokr "
        "factor=4 "
    )


def test_secret_arguments_reach_the_trainer_and_nothing_else(scene: Scene) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    done = scene.train(NAME, "--", "--wandb_api_key", key, STUB="late-fail")
    assert f"wandb key {key}" in done.out
    assert "wandb key ***" in (scene.output / NAME / "sdscripts.log").read_text()
    everything = scene.git("log", "-p", "--format=%B", "runs") + scene.git("show", NAME)
    assert key not in everything
    assert '"${WANDB_API_KEY:?}"' in scene.git("show", f"{NAME}:train.sh")


def test_secrets_do_not_reach_a_reverts_message(scene: Scene) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    assert scene.train(NAME, "--", f"--wandb_api_key={key}", STUB="fail").status == 1
    message = gone(scene, 1, "wandb key ***")
    assert key not in message
    log = next((scene.dataset / ".git" / "loragit" / "logs").iterdir())
    assert key not in log.read_text()


def test_a_secret_in_what_would_be_committed_is_refused(scene: Scene) -> None:
    config = scene.home / "args.toml"
    config.write_text('[general]\nhuggingface_token = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"\n')
    err = refused(
        scene,
        "/args.toml, line 2, holds what looks like a secret",
        args=("--", "--config_file", str(config)),
    )
    assert "hf_abc" not in err


def test_a_config_file_is_read_recorded_and_passed_as_a_copy(scene: Scene) -> None:
    other = scene.home / "other.toml"
    other.write_bytes((scene.dataset / "config.toml").read_bytes() + b"# other\n")
    (scene.home / "args.toml").write_text(
        f'[data]\ndataset_config = "{other}"\n[out]\noutput_name = "lamp"\nlogging_dir = '
        f'"{scene.home}/logs"\n'
    )
    done = scene.train(NAME, "--", "--config_file", str(scene.home / "args"))
    assert done.status == 0, done.err
    assert scene.git("show", f"{NAME}:config.toml").endswith("# other")
    assert "output_name" in scene.git("show", f"{NAME}:inputs/args.toml")
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    assert argv[argv.index("--config_file") + 1] == f"~/output_dir/{NAME}/inputs/args.toml"
    assert scene.outcome(NAME)["Model"].startswith("lamp.safetensors ")


def test_a_lycoris_preset_and_further_inputs_are_recorded(scene: Scene) -> None:
    (scene.home / "preset.toml").write_text("enable_conv = true\n")
    (scene.dataset / "notes.md").write_text("why\n")
    scene.settings('[record]\ninputs = ["notes.md"]\n')
    commit_all(scene.dataset, "notes")
    assert (
        scene.train(
            NAME, "--", "--network_args", f"preset={scene.home}/preset.toml", "algo=lokr"
        ).status
        == 0
    )
    assert scene.git("show", f"{NAME}:inputs/preset.toml") == "enable_conv = true"
    assert scene.git("show", f"{NAME}:inputs/notes.md") == "why"
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    assert f"preset=~/output_dir/{NAME}/inputs/preset.toml" in argv


def test_weights_are_recorded_by_their_hash(scene: Scene) -> None:
    (scene.home / "noobaiXL.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    args = (
        "--pretrained_model_name_or_path",
        str(scene.home / "noobaiXL.safetensors"),
        "--vae",
        "stabilityai/sdxl-vae",
    )
    assert scene.train(NAME, "--", *args).status == 0
    assert scene.trailers(NAME)["Base-Model"] == f"noobaiXL.safetensors sha256:{digest}"
    assert scene.trailers(NAME)["VAE"] == "stabilityai/sdxl-vae"


def test_a_script_of_ones_own_takes_its_arguments_and_no_others(scene: Scene) -> None:
    mine = make_trainer(scene.home / "mine") / "sdxl_train_network.py"
    scene.settings("[trainer.args]\nnetwork_dim = 8\n")
    commit_all(scene.dataset, "settings")
    done = scene.train(NAME, "--trainer-script", str(mine), "--", "--seed", "7")
    assert done.status == 0, done.err
    table = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))
    assert table["trainer"]["commit"] == git(mine.parent, "rev-parse", "HEAD")
    assert "--network_dim" not in table["command"]["argv"]
    assert table["command"]["argv"][2:4] == ["--seed", "7"]


# ---- names and folders ----


def test_both_readings_of_a_name_existing_is_an_error_that_names_both(scene: Scene) -> None:
    other = write_dataset(scene.home / "datasets" / "noob-gren")
    err = refused(scene, str(scene.dataset), str(other), "--dataset")
    assert "Traceback" not in err
    assert scene.train(NAME, "--dataset", "gren").status == 0


def test_the_helpers_reading_finds_its_folder(scene: Scene) -> None:
    scene.dataset.rename(scene.home / "datasets" / "noob-gren")
    moved = Scene(scene.home, scene.home / "datasets" / "noob-gren", scene.trainer)
    config = moved.dataset / "config.toml"
    config.write_text(config.read_text().replace(str(scene.dataset), str(moved.dataset)))
    done = moved.loragit("train", NAME, cwd=scene.home)
    assert done.status == 0, done.err
    assert moved.trailers(NAME)["Dataset"] == "noob-gren"


def test_bump_takes_the_next_free_version(scene: Scene) -> None:
    assert scene.train(NAME).status == 0
    (scene.output / "noob-gren-v3s9").mkdir()
    assert scene.train(NAME, "--bump").status == 0
    assert scene.tags() == [NAME, "noob-gren-v4s4"]


def test_given_folders_and_steps_are_used_as_they_are(scene: Scene) -> None:
    out = scene.home / "exactly here"
    done = scene.loragit(
        "train",
        "evening",
        cwd=scene.home,
        TRAINING_DIR=str(scene.dataset),
        OUTPUT_DIR=str(out),
        STEPS="3",
    )
    assert done.status == 0, done.err
    assert (out / "evening.safetensors").exists()
    assert scene.git("log", "-1", "--format=%s", "runs") == "evening: gren, 3 steps"


def test_a_dry_run_shows_the_record_and_writes_nothing(scene: Scene) -> None:
    done = scene.train(NAME, "--dry-run")
    assert done.status == 0, done.err
    assert done.out.startswith(f"{NAME}: noob on gren, version 1, 4 steps\n")
    assert "--dataset_config" in done.out
    assert "nothing was written" in done.err
    assert scene.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not (scene.dataset / ".git" / "loragit").exists()
    assert not scene.output.exists()


def test_debug_tells_the_command_without_its_secrets(scene: Scene) -> None:
    done = scene.train(NAME, "--", "--wandb_api_key", "secret-value-1", DEBUG="1")
    assert "loragit: started " in done.err
    assert "--wandb_api_key ***" in done.err


# ---- captions that did not change are not read again ----


def test_captions_of_an_unchanged_dataset_are_the_same_tree(scene: Scene) -> None:
    for name in ("noob-gren-v1s4", "noob-gren-v2s4"):
        assert scene.train(name).status == 0
    trees = {scene.git("rev-parse", f"noob-gren-v{n}s4:captions") for n in (1, 2)}
    assert len(trees) == 1
    sound(scene)


def test_captions_that_somebody_else_put_on_runs_are_not_taken_for_those_that_are_here(
    scene: Scene,
) -> None:
    assert scene.train("noob-gren-v1s4").status == 0
    other = scene.home / "other"
    git(scene.home, "clone", "-q", "--branch", "runs", str(scene.dataset), "other")
    (other / "captions" / "img" / "00.txt").write_text("of somebody else")
    commit_all(other, "noob-gren-v2s4: x\n\nRun: noob-gren-v2s4\nDataset: gren\nLoragit-Format: 1")
    scene.git("fetch", "-q", str(other), "runs:runs")
    assert scene.train("noob-gren-v3s4").status == 0
    caption = (scene.dataset / "img" / "00.txt").read_text()
    assert scene.git("show", "noob-gren-v3s4:captions/img/00.txt") == caption


def test_an_edited_caption_is_recorded_though_its_size_and_time_stayed(scene: Scene) -> None:
    assert scene.train("noob-gren-v1s4").status == 0
    caption = scene.dataset / "img" / "00.txt"
    before = caption.stat()
    caption.write_text(caption.read_text().swapcase())
    os.utime(caption, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert scene.train("noob-gren-v2s4").status == 0
    assert scene.git("show", "noob-gren-v2s4:captions/img/00.txt") == caption.read_text()


def test_another_caption_extension_brings_other_captions(scene: Scene) -> None:
    (scene.dataset / "img" / "00.tags").write_text("tags")
    assert scene.train("noob-gren-v1s4").status == 0
    config = scene.dataset / "config.toml"
    config.write_text(config.read_text().replace('".txt"', '".tags"'))
    assert scene.train("noob-gren-v2s4").status == 0
    assert (
        scene.git("ls-tree", "-r", "--name-only", "noob-gren-v2s4", "captions/")
        == "captions/img/00.tags"
    )


# ---- found by trying to break it ----


def test_nohup_protects_a_training(scene: Scene, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    fifo = os.open(ready, os.O_RDWR)
    child = subprocess.Popen(
        ["nohup", *LORAGIT, "train", NAME],
        cwd=scene.dataset,
        env={**os.environ, "STUB": "wait", "STUB_READY": str(ready)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert select.select([fifo], [], [], 60)[0], "the trainer never began"
    trainer = int(os.read(fifo, 64))
    os.close(fifo)
    child.send_signal(signal.SIGHUP)
    child.send_signal(signal.SIGCONT)  # comes after the other: once it is heard, the other was
    assert alive.exists(trainer)
    os.kill(trainer, signal.SIGUSR1)  # ends the wait
    assert child.wait() == 0
    assert "Interrupted-By" not in scene.outcome(NAME)


def test_the_only_copy_of_a_log_is_not_thrown_away(scene: Scene) -> None:
    private = scene.dataset / ".git" / "loragit"
    private.mkdir()
    (private / "logs").write_text("in the way")
    done = scene.train(STUB="fail")
    assert done.status == 1
    assert "could not be copied" in done.err
    assert "told to fail" in (scene.output / NAME / "sdscripts.log").read_text()
    assert scene.tags() == []


def test_a_lock_of_somebody_elses_is_told_and_hides_no_exit_status(scene: Scene) -> None:
    private = scene.dataset / ".git" / "loragit"
    (private / "lock").mkdir(parents=True)
    done = scene.train()
    assert done.status == 1
    assert "lock cannot be opened: Is a directory" in done.err
    assert "Traceback" not in done.err
    assert list(private.glob("open/*")) == []
    assert not (scene.output / NAME).exists()


def test_a_repository_on_an_unborn_branch_runs_is_not_written(scene: Scene) -> None:
    scene.git("symbolic-ref", "HEAD", "refs/heads/runs")
    refused(scene, "the dataset's repository is on the branch runs", "git switch -c main")


def test_steps_of_the_command_line_stand_above_all(scene: Scene) -> None:
    assert scene.train(NAME, "--steps", "9").status == 0
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    assert argv[argv.index("--max_train_steps") + 1] == "9"
    assert scene.git("log", "-1", "--format=%s", "runs").endswith(", 9 steps")


@pytest.mark.parametrize("key", ["output_dir", "output_name", "max_train_steps"])
def test_settings_that_would_be_the_same_for_every_run_are_refused(scene: Scene, key: str) -> None:
    scene.settings(f'[trainer.args]\n{key} = "7"\n')
    refused(scene, f"trainer.args.{key} would be the same for every run")


def test_epochs_decide_where_they_are_given(scene: Scene) -> None:
    assert scene.train(NAME, "--dry-run", "--", "--max_train_epochs", "3").out.startswith(
        f"{NAME}: noob on gren, version 1, 3 epochs\n"
    )
    assert (
        "max_train_steps" not in scene.train(NAME, "--dry-run", "--", "--max_train_epochs", "3").out
    )


def test_a_script_that_its_repository_ignores_is_refused(scene: Scene) -> None:
    (scene.trainer / "mine").mkdir()
    script = scene.trainer / "mine" / "train.py"
    shutil.copy(scene.trainer / "sdxl_train_network.py", script)
    (scene.trainer / ".gitignore").write_text("__pycache__\nmine\n")
    commit_all(scene.trainer, "ignore mine")
    refused(
        scene,
        "no commit would tell what ran",
        "git add --force",
        args=("--trainer-script", str(script)),
    )


def test_lycoris_is_recorded_as_the_trainers_python_finds_it(scene: Scene) -> None:
    done = scene.train(NAME, LYCORIS_REPO=str(scene.trainer))
    assert done.status == 0, done.err
    assert (
        "is named as LyCORIS, but the trainer's Python finds it nowhere: that is recorded"
        in done.err
    )
    assert scene.trailers(NAME)["LyCORIS"] == "not installed"


def test_an_output_name_that_leads_elsewhere_is_refused(scene: Scene) -> None:
    refused(scene, "--output_name '../x' holds a '/'", args=("--", "--output_name", "../x"))


def test_captions_that_the_trainer_will_not_read_are_warned_of(scene: Scene) -> None:
    config = scene.dataset / "config.toml"
    config.write_text(config.read_text().replace('caption_extension = ".txt"\n', ""))
    done = scene.train()
    assert done.status == 0, done.err
    assert (
        "has 4 .txt files, but the trainer will look for .caption and train without captions"
        in done.err
    )
    assert "4 images, 0 captions" in scene.git("log", "-1", "--format=%B", "runs")
    assert (
        scene.train("noob-gren-v2s4", "--", "--caption_extension", ".txt").err.count(
            "without captions"
        )
        == 0
    )
    assert "4 images, 4 captions" in scene.git("log", "-1", "--format=%B", "runs")
    assert scene.train("noob-gren-v3s4").status == 0
    assert scene.git("ls-tree", "noob-gren-v3s4", "captions") == ""


def test_a_folder_that_two_datasets_read_differently_is_recorded_for_both(scene: Scene) -> None:
    (scene.dataset / "img" / "00.tags").write_text("tags")
    (scene.dataset / "img" / "notes.txt").write_text("of no image")
    config = scene.dataset / "config.toml"
    subset = (
        "\n[[datasets]]\n  resolution = 64\n  [[datasets.subsets]]\n"
        f'  image_dir = "{scene.dataset}/img"\n  caption_extension = ".tags"\n'
    )
    config.write_text(config.read_text() + subset)
    assert scene.train().status == 0
    captions = scene.git("ls-tree", "-r", "--name-only", NAME, "captions/").splitlines()
    assert captions == ["captions/img/00.tags", *(f"captions/img/{n:02d}.txt" for n in range(4))]


def test_the_way_up_from_a_link_is_the_trainers(scene: Scene) -> None:
    real = scene.home / "elsewhere" / "deep" / "gren"
    real.parent.mkdir(parents=True)
    scene.dataset.rename(real)
    scene.dataset.symlink_to(real)
    (real / "img").rename(real.parent / "img")
    config = real / "config.toml"
    config.write_text(config.read_text().replace(str(scene.dataset / "img"), "../img"))
    commit_all(real, "images beside the dataset")
    done = scene.train(LORAGIT_TRAINER_WORKDIR="dataset")
    assert done.status == 0, done.err
    listed = scene.git("show", f"{NAME}:dataset.sha256")
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet", "-"], cwd=scene.dataset, input=listed, text=True
    )
    assert checked.returncode == 0
    assert "  ../img/00.png" in listed


def test_weights_in_an_abbreviated_option_are_not_missed(scene: Scene) -> None:
    refused(
        scene,
        "--pretrained is short for --pretrained_model_name_or_path",
        args=("--", "--pretrained", "x"),
    )


def test_weights_from_a_hub_are_recorded_as_the_cache_held_them_then_and_in_the_end(
    scene: Scene,
) -> None:
    folder = scene.home / ".cache" / "huggingface" / "hub" / "models--owner--vae"
    ref = folder / "refs" / "main"
    (folder / "snapshots" / ("c" * 40)).mkdir(parents=True)
    ref.parent.mkdir()
    ref.write_text("c" * 40)
    done = scene.train(NAME, "--", "--vae", "owner/vae", STUB="fetch", STUB_REF=str(ref))
    assert done.status == 0, done.err
    assert "the hub's cache held cccccccccc of owner/vae at the start and dddddddddd at" in done.err
    assert scene.trailers(NAME)["VAE"] == f"owner/vae revision:{'c' * 40}"
    assert scene.outcome(NAME)["VAE"] == f"owner/vae revision:{'d' * 40}"
    record = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))
    rows = {row.pop("role"): row for row in record["weights"]}
    assert rows["VAE"] == {"name": "owner/vae", "revision": "c" * 40}


def test_weights_that_are_downloaded_only_now_are_recorded_in_the_end(scene: Scene) -> None:
    ref = scene.home / "hub" / "models--owner--vae" / "refs" / "main"
    ref.parent.mkdir(parents=True)
    words = ("--vae", "owner/vae")
    done = scene.train(
        NAME, "--", *words, STUB="fetch", STUB_REF=str(ref), HF_HUB_CACHE=str(scene.home / "hub")
    )
    assert done.status == 0, done.err
    assert "has no owner/vae: it will be downloaded" in done.err
    assert scene.trailers(NAME)["VAE"] == "owner/vae"
    assert scene.outcome(NAME)["VAE"] == f"owner/vae revision:{'d' * 40}"
