"""Whole runs, with trainers of different shape: what loragit promises of a run holds for each of
them."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from loragit.secrets.rules import is_secret_name
from loragit.settings import schema
from loragit.trainers import kinds
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import Trainer
from tests.support import job_file
from tests.support.job_trainer import JobTrainer
from tests.support.processes import LORAGIT, Result, commit_all, git
from tests.support.user_home import HERE, Scene, make_scene, write_dataset

NAME = "noob-gren-v1s4"


class Shape(NamedTuple):
    """A trainer in a home, and what differs from the other ones."""

    trainer: Trainer
    scene: Scene
    command: tuple[str, ...]
    config: str
    """Path of the config in the record and in the output folder."""
    checkpoint: str
    state: str
    """The folder of training state that it makes when it is told ``state``."""
    samples: str
    """Their folder."""
    cache: str
    """What it caches beside the images."""
    interrupted: int
    """Its exit status on Ctrl-C."""
    start_from: Callable[[str, str], None]
    """Have the next run start from a path, by the argument that names it."""

    def loragit(self, *args: str, **environ: str) -> Result:
        return self.scene.run((*self.command, *args), self.scene.dataset, environ)

    def train(self, how: str = "ok", name: str = NAME) -> Result:
        return self.loragit("train", name, STUB=how)

    @property
    def output(self) -> Path:
        return self.scene.output / NAME


def sd_scripts(home: Path) -> Shape:
    scene = make_scene(home)

    def start_from(argument: str, path: str) -> None:
        scene.settings(f'[trainer]\nargs = {{ logging_dir = "logs", {argument} = "{path}" }}\n')

    scene.settings('[trainer]\nargs = { logging_dir = "logs" }\n')
    return Shape(
        trainer=SdScripts(),
        scene=scene,
        command=LORAGIT,
        config="config.toml",
        checkpoint=f"{NAME}-step00000002.safetensors",
        state=f"{NAME}-step00000002-state",
        samples="sample",
        cache="00_0512x0512_sdxl.npz",
        interrupted=130,
        start_from=start_from,
    )


def job_trainer(home: Path) -> Shape:
    dataset = write_dataset(home / "datasets" / "gren")
    (dataset / "config.toml").unlink()
    job = (
        "# what is to be trained\n"
        f"name: anything\ndatasets:\n  - folder: {dataset / 'img'}\n    captions: .txt\n"
        "train:\n  steps: 1\n  rate: 1e-4\n"
    )
    (dataset / "job.yaml").write_text(job)
    git(dataset, "init", "-q")
    commit_all(dataset, "four drawings")
    repository = home / "source" / "repos" / "jobs"
    repository.mkdir(parents=True)
    git(repository, "init", "-q")
    shutil.copy(HERE / "stub_job_trainer.py", repository / "run_job.py")
    for name in ("job_file.py", "trainer_files.py"):
        shutil.copy(HERE / name, repository / name)
    (repository / ".gitignore").write_text("__pycache__\n")
    commit_all(repository, "another trainer")
    scene = Scene(home, dataset, repository)
    scene.settings(
        '[trainer]\nkind = "job-trainer"\nscript = "run_job.py"\nworkdir = "dataset"\n'
        f'repo = "{repository}"\n[paths]\nconfig = "job.yaml"\n'
    )

    def start_from(argument: str, path: str) -> None:
        (dataset / "job.yaml").write_text(f"{job}{argument}: {path}\n")

    return Shape(
        trainer=JobTrainer(),
        scene=scene,
        command=(sys.executable, str(HERE / "job_trainer.py")),
        config="config.yaml",
        checkpoint=f"weights/{NAME}_000000002.safetensors",
        state="resume/000000002",
        samples="samples",
        cache=".sizes.json",
        interrupted=0,
        start_from=start_from,
    )


@pytest.fixture(params=[sd_scripts, job_trainer], ids=lambda make: str(make.__name__))
def shape(request: pytest.FixtureRequest, home: Path) -> Shape:
    make: Callable[[Path], Shape] = request.param
    return make(home)


def recorded(shape: Shape, path: str, name: str = NAME) -> str:
    return shape.scene.git("show", f"{name}:{path}")


def models(shape: Shape) -> list[str]:
    message = shape.scene.git("tag", "-l", "--format=%(contents)", NAME)
    return [line.split()[1] for line in message.splitlines() if line.startswith("Model: ")]


def test_every_kind_that_settings_take_has_a_trainer_of_that_name() -> None:
    assert tuple(kinds.KINDS) == schema.KINDS
    assert [each.kind for each in kinds.all_trainers()] == list(schema.KINDS)
    assert (
        kinds.trainer_of("of a later loragit").kind == kinds.trainer_of(None).kind == "sd-scripts"
    )


def test_secret_arguments_are_hidden_in_settings_and_files_as_well(shape: Shape) -> None:
    for argument in shape.trainer.secret_arguments:
        assert is_secret_name(argument.name)
        assert argument.is_meant_by(f"--{argument.name}")
        assert argument.is_meant_by(f"--{argument.shortest}")


def test_a_run_is_recorded_trained_and_sealed(shape: Shape) -> None:
    done = shape.train()
    assert done.status == 0, done.err
    assert shape.scene.git("cat-file", "-t", f"refs/tags/{NAME}") == "tag"
    commit, outcome = shape.scene.trailers(NAME), shape.scene.outcome(NAME)
    assert commit["Trainer-Commit"] == git(shape.scene.trainer, "rev-parse", "HEAD")
    assert (outcome["Exit-Status"], outcome["Final-Loss"]) == ("0", "0.125")
    assert outcome["Samples"] == str(len(list((shape.output / shape.samples).iterdir()))) != "0"
    run = tomllib.loads(recorded(shape, "run.toml"))
    assert run["trainer"]["kind"] == shape.trainer.kind
    assert run["run"]["steps"] == 4
    assert shape.scene.git("fsck", "--strict") == ""


def test_products_are_found_where_the_trainer_puts_them_and_hashed(shape: Shape) -> None:
    assert shape.train().status == 0
    assert models(shape) == [shape.checkpoint, f"{NAME}.safetensors"]
    message = shape.scene.git("tag", "-l", "--format=%(contents)", NAME)
    for path, step in ((shape.checkpoint, 2), (f"{NAME}.safetensors", 4)):
        (line,) = (each for each in message.splitlines() if each.startswith(f"Model: {path} "))
        digest = subprocess.run(
            ["sha256sum", shape.output / path], capture_output=True, text=True, check=True
        ).stdout.split()[0]
        assert f"sha256:{digest}" in line
        assert f"step {step}" in line.replace(":", " "), line


def test_what_is_on_record_is_what_the_trainer_got(shape: Shape) -> None:
    assert shape.train().status == 0
    for path in (shape.config, "sample-prompts.txt"):
        copy = (shape.output / path).read_text()
        assert copy == recorded(shape, path) + ("\n" if copy.endswith("\n") else "")
    log = (shape.output / "sdscripts.log").read_text()
    assert shape.config in log, "it read the copy"
    if shape.trainer.kind == "job-trainer":
        original = (shape.scene.dataset / "job.yaml").read_text()
        values = job_file.read(recorded(shape, shape.config))
        assert original.startswith("# what is to be trained\nname: anything\n"), "untouched"
        assert values["name",] == NAME
        assert values["output_folder",] == str(shape.output)
        assert values["train", "steps"] == "4"
        assert values["train", "rate"] == "1e-4"
        assert values["prompts",] == str(shape.output / "sample-prompts.txt")
        assert values["comment",] == f"loragit: {NAME}"


def test_prompts_that_somebody_edits_meanwhile_are_noted(shape: Shape) -> None:
    assert shape.train("edit").status == 0
    assert "edited" in shape.scene.git("tag", "-l", "--format=%(contents)", NAME)


def test_the_dataset_is_hashed_without_what_the_trainer_caches_there(shape: Shape) -> None:
    (shape.scene.dataset / "img" / shape.cache).write_bytes(b"a cache")
    assert shape.train().status == 0
    digest = recorded(shape, "dataset.sha256")
    assert [line.split()[1] for line in digest.splitlines()] == [
        f"img/{number:02d}.{end}" for number in range(4) for end in ("png", "txt")
    ]
    assert recorded(shape, "captions/img/02.txt") == "zqx, a round thing, colour 2"


def test_a_run_that_made_nothing_is_reverted_and_frees_its_name(shape: Shape) -> None:
    done = shape.train("nothing")
    assert done.status == 1, done.err
    assert shape.scene.tags() == []
    assert "made nothing" in shape.scene.git("log", "-1", "--format=%B", "runs")
    assert not shape.output.exists()
    assert shape.train().status == 0


@pytest.mark.parametrize("how", ["fail", "truncated"])
def test_a_trainer_that_fails_before_its_first_model_is_reverted(shape: Shape, how: str) -> None:
    assert shape.train(how).status == 1
    assert shape.scene.tags() == []
    assert shape.scene.trailers("runs")["Exit-Status"] == "1"


def test_a_trainer_that_fails_after_a_checkpoint_is_sealed_with_it(shape: Shape) -> None:
    assert shape.train("late-fail").status == 1
    assert models(shape) == [shape.checkpoint]
    assert shape.scene.outcome(NAME)["Exit-Status"] == "1"


def started(shape: Shape, tmp_path: Path, how: str) -> tuple[subprocess.Popen[str], int]:
    """loragit, with a trainer that waits; the trainer's process id."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    fifo = os.open(ready, os.O_RDWR)  # opened for writing too, so that opening waits for nobody
    child = subprocess.Popen(
        [*shape.command, "train", NAME],
        cwd=shape.scene.dataset,
        env={**os.environ, "STUB": how, "STUB_READY": str(ready)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert select.select([fifo], [], [], 60)[0], "the trainer never began"
    trainer = int(os.read(fifo, 64))
    os.close(fifo)
    return child, trainer


def test_an_interrupted_run_says_so_whatever_its_exit_status(shape: Shape, tmp_path: Path) -> None:
    child, _ = started(shape, tmp_path, "wait")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == shape.interrupted, err
    outcome = shape.scene.outcome(NAME)
    assert outcome["Interrupted-By"] == "SIGINT"
    assert outcome["Exit-Status"] == str(shape.interrupted)
    assert models(shape) == [shape.checkpoint]


def test_an_interrupted_run_without_a_checkpoint_is_reverted(shape: Shape, tmp_path: Path) -> None:
    child, _ = started(shape, tmp_path, "wait-empty")
    child.send_signal(signal.SIGINT)
    child.communicate()
    assert child.returncode == (shape.interrupted or 1)
    assert shape.scene.tags() == []


def test_a_run_whose_loragit_was_killed_is_recovered_by_its_trainers_rules(
    shape: Shape, tmp_path: Path
) -> None:
    child, trainer = started(shape, tmp_path, "wait")
    child.kill()
    child.communicate()
    os.kill(trainer, signal.SIGKILL)
    done = shape.loragit("recover")
    assert done.status == 0, done.err
    assert models(shape) == [shape.checkpoint]


def test_it_is_shown_verified_and_found_by_its_model(shape: Shape) -> None:
    assert shape.train().status == 0
    shown = shape.loragit("show", NAME)
    assert shown.status == 0
    assert "0.5 at step 1, 0.125 at step 4" in shown.out, "the curve"
    assert "in the end 0.125" in shown.out
    checked = shape.loragit("verify", "--json")
    assert checked.status == 0, checked.out
    for path in (shape.checkpoint, f"{NAME}.safetensors"):
        origin = shape.loragit("whence", str(shape.output / path), "--json")
        (found,) = json.loads(origin.out)
        assert [match["run"] for match in found["matches"]] == [NAME]
    listed = shape.loragit("log")
    assert NAME in listed.out


def test_a_model_whose_bytes_were_changed_names_its_run_where_an_argument_could_say_it(
    shape: Shape, tmp_path: Path
) -> None:
    assert shape.train().status == 0
    data = (shape.output / f"{NAME}.safetensors").read_bytes()
    (tmp_path / "renamed.safetensors").write_bytes(data[:-1] + b"\xff")
    (origin,) = json.loads(shape.loragit("whence", str(tmp_path), "--json").out)
    # A config that is on record itself cannot name the record's commit.
    evidence = [["stamp"]] if shape.trainer.kind == "sd-scripts" else []
    assert [match["evidence"] for match in origin["matches"]] == evidence


def argument_of(shape: Shape, role: str) -> str:
    """The argument that names weights of that role."""
    return next(name for name, its in shape.trainer.weights.items() if its == role)


def test_a_run_that_starts_from_a_model_of_another_says_so(shape: Shape) -> None:
    assert shape.train().status == 0
    shape.start_from(argument_of(shape, "Network-Weights"), str(shape.output / shape.checkpoint))
    done = shape.train(name="noob-gren-v2s4")
    assert done.status == 0, done.err
    trailers = shape.scene.trailers("noob-gren-v2s4")
    assert trailers["Derived-From"].startswith(NAME)
    assert trailers["Network-Weights"].startswith(f"{Path(shape.checkpoint).name} sha256:")


def test_a_run_that_goes_on_from_the_state_of_another_says_so(shape: Shape) -> None:
    assert shape.train("state").status == 0
    assert shape.scene.outcome(NAME)["State"] == shape.state
    shape.start_from(argument_of(shape, "Resume"), str(shape.output / shape.state))
    done = shape.train(name="noob-gren-v2s4")
    assert done.status == 0, done.err
    resumed = shape.scene.trailers("noob-gren-v2s4")["Resumed-From"]
    assert resumed.startswith(f"{NAME} ")
    assert shape.state in resumed


def test_two_runs_are_compared(shape: Shape) -> None:
    assert shape.train().status == 0
    (shape.scene.dataset / "img" / "01.txt").write_text("zqx, another")
    assert shape.train(name="noob-gren-v2s4").status == 0
    compared = shape.loragit("diff", NAME, "noob-gren-v2s4")
    assert compared.status == 0, compared.err
    assert "01.txt" in compared.out


def test_doctor_knows_what_the_trainer_needs(shape: Shape) -> None:
    done = shape.loragit("doctor", NAME, "--json")
    checks = json.loads(done.out)
    names = {check["check"] for check in checks}
    assert set(shape.trainer.needs) <= names
    assert any(f"which {shape.trainer.kind} cannot do without" in c["message"] for c in checks)
    assert any(f"{NAME} could start: 4 images, 4 captions" in c["message"] for c in checks)
    assert any("4 steps will write about" in c["message"] for c in checks), checks


def test_init_finds_the_trainer_and_its_script_and_does_not_take_it_for_a_dataset(
    shape: Shape,
) -> None:
    scene, trainer = shape.scene, shape.trainer
    scene.settings(f'[trainer]\nkind = "{trainer.kind}"\n')
    before = sorted(scene.dataset.iterdir())
    found = shape.loragit("init", "--dry-run")
    assert found.status == 0, found.err
    place = f"~/{scene.trainer.relative_to(scene.home)}"
    assert f"found {trainer.kind} in {place}, its script " in found.err
    scripts = [scene.trainer / each for each in trainer.scripts]
    assert next(each for each in scripts if each.exists()).name in found.err
    assert sorted(scene.dataset.iterdir()) == before
    refused = shape.loragit("init", str(scene.trainer))
    assert f"{scene.trainer} is a trainer's folder" in refused.err


def test_init_writes_first_files_only_in_the_form_of_the_trainer(shape: Shape) -> None:
    scene = shape.scene
    for name in ("loragit.toml", "config.toml", "sample-prompts.txt"):
        (scene.dataset / name).unlink(missing_ok=True)
    done = shape.loragit("init", "--yes", LORAGIT_TRAINER_KIND=shape.trainer.kind)
    assert done.status == 0, done.err
    assert (scene.dataset / "config.toml").exists() == shape.trainer.takes_first_files
    settings = tomllib.loads((scene.dataset / "loragit.toml").read_text())["trainer"]
    assert bool(settings["args"]) == shape.trainer.takes_first_files
    assert settings["repo"] == f"~/{scene.trainer.relative_to(scene.home)}"
    assert settings["script"] in shape.trainer.scripts
    assert settings.get("kind", "sd-scripts") == shape.trainer.kind


def test_import_takes_models_only_of_trainers_whose_trainings_it_can_read(shape: Shape) -> None:
    assert shape.train().status == 0
    old = shape.scene.home / "old" / f"{NAME}.safetensors"
    old.parent.mkdir()
    shutil.copy(shape.output / shape.checkpoint, old)
    done = shape.loragit("import", str(old), "--name", "noob-gren-v7")
    left_out = f"{shape.trainer.kind} made it, whose earlier trainings cannot be imported"
    assert (left_out in done.err) == (not shape.trainer.importable), done.err
    assert ("on record as" in done.out + done.err) == shape.trainer.importable
    assert shape.scene.tags() == [NAME]


def test_hints_name_the_arguments_and_keys_of_the_trainer(shape: Shape) -> None:
    dataset = shape.scene.dataset
    next((dataset / "img").glob("*.txt")).unlink()
    first, second = sorted((dataset / "img").glob("*.png"))[:2]
    second.write_bytes(first.read_bytes())
    hints = " ".join(
        check["fix"] or "" for check in json.loads(shape.loragit("doctor", "--json").out)
    )
    assert ("say caption_extension or class_tokens" in hints) == (
        shape.trainer.kind == "sd-scripts"
    )
    assert ("say captions in the job" in hints) == (shape.trainer.kind != "sd-scripts")
    for name in ("config.toml", "job.yaml"):
        (dataset / name).unlink(missing_ok=True)
    assert f"name another: -- {shape.trainer.names_config}" in shape.train().err


def test_a_dry_run_writes_nothing(shape: Shape) -> None:
    done = shape.loragit("train", "--dry-run", NAME)
    assert done.status == 0, done.err
    assert shape.config in done.out
    assert shape.scene.tags() == []
    assert not shape.output.exists()


def test_train_sh_starts_the_trainer_again(shape: Shape, tmp_path: Path) -> None:
    assert shape.train().status == 0
    again = shape.scene.run(("sh", str(shape.output / "train.sh")), tmp_path, {"STUB": "nothing"})
    assert again.status == 0, again.err


def test_settings_of_an_unknown_kind_are_refused(home: Path) -> None:
    shape = sd_scripts(home)
    shape.scene.settings('[trainer]\nkind = "job-trainer"\n')
    refused = shape.train()
    assert refused.status == 2
    assert "trainer.kind" in refused.err
