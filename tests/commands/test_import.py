"""``loragit import``, with git as the witness: what old trainings left becomes runs, and nothing is
made up."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loragit import crash_points
from loragit.crash_points import CrashPoint
from loragit.dataset.hashes import HashCache
from loragit.errors import Findings
from loragit.run.importing import plan as intake
from loragit.run.importing import text_files, training
from loragit.run.importing.models import Models
from loragit.run.importing.search import Source
from loragit.store.store import RunExists, Store
from tests.support.helpers_folder import (
    BASE,
    COMMIT,
    LYCORIS,
    STARTED,
    header,
    leave,
    sha1,
    write_model,
)
from tests.support.pages import FORMAT, documented, dotted
from tests.support.paths import SD_SCRIPTS
from tests.support.processes import LORAGIT, Result, commit_all, git
from tests.support.user_home import Scene, make_scene, parsed_trailers

NAME = "noob-gren-v1s400"
TOKEN = "hf_" + "a1B2" * 9
ALWAYS = [
    "command",
    "captions",
    "dataset.sha256",
    "dataset commit",
    "environment.txt",
    "exit status",
]


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def old_run(scene: Scene, name: str = NAME, **how: object) -> Path:
    return leave(scene.output, name, scene.dataset, **how)  # type: ignore[arg-type]


def bring(scene: Scene, *words: str, status: int = 0, **environ: str) -> Result:
    done = scene.run((*LORAGIT, "import", *words), scene.dataset, environ)
    assert done.status == status, done.out + done.err
    assert "Traceback" not in done.err
    git(scene.dataset, "fsck", "--strict", "--full")
    return done


def states(scene: Scene, *words: str, status: int = 0) -> dict[str, tuple[str, str]]:
    items = json.loads(bring(scene, *words, "--json", status=status).out)
    return {item["run"]: (item["state"], item["note"]) for item in items}


def missing(scene: Scene, name: str = NAME) -> list[str]:
    return (
        scene.git("log", "-1", "--format=%(trailers:key=Missing,valueonly)", name)
        .strip()
        .splitlines()
    )


def refs(scene: Scene) -> str:
    return scene.git("for-each-ref")


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (STARTED.timestamp(), STARTED.timestamp()))


# ---- what becomes of a folder ----


def test_an_old_run_is_on_record_with_all_that_is_known_of_it(scene: Scene) -> None:
    folder = old_run(scene)
    before = refs(scene)
    done = bring(scene, str(folder))
    assert "imported 1 run" in done.err
    assert set(refs(scene).splitlines()) - set(before.splitlines()) == {
        line
        for line in refs(scene).splitlines()
        if line.endswith((f"refs/tags/{NAME}", "refs/heads/runs"))
    }
    told = scene.trailers(NAME)
    imported = told.pop("Imported")
    assert imported.partition(" from ")[2] == f"~/output_dir/{NAME}"
    assert told == {
        "Run": NAME,
        "Dataset": "gren",
        "Trainer-Commit": COMMIT,
        "Trainer-Branch": "sd3",
        "LyCORIS-Commit": LYCORIS,
        "Config-SHA1": sha1(folder / "config.toml"),
        "Prompts-SHA1": sha1(folder / "sample-prompts.txt"),
        "Script-SHA1": sha1(folder / "train_lokr.zsh"),
        "Base-Model": f"noobaiXL.safetensors sha256:{BASE}",
        "Network": "lycoris.kohya dim=4 alpha=2.0",
        "Session": "7",
        "Missing": ALWAYS[-1],
        "Loragit-Format": "1",
    }
    assert missing(scene) == ALWAYS
    subject = "%s|%an <%ae>|%cn"
    assert scene.git("log", "-1", f"--format={subject}", NAME) == (
        f"{NAME}: noob on gren, version 1, 400 steps|Ada Trainer <ada@example.org>|Ada Trainer"
    )


def test_its_dates_are_those_of_the_training(scene: Scene) -> None:
    old_run(scene)
    bring(scene, str(scene.output))
    # In March the clocks of Auckland are 13 hours ahead, whenever it is imported.
    assert scene.git("log", "-1", "--format=%ai|%ci", NAME) == "|".join(
        ["2024-03-10 07:30:00 +1300"] * 2
    )
    assert (
        scene.git("for-each-ref", "--format=%(taggerdate:iso)", f"refs/tags/{NAME}")
        == "2024-03-10 07:40:00 +1300"
    )


def test_its_tree_holds_the_files_byte_for_byte_with_their_modes(scene: Scene) -> None:
    folder = old_run(scene)
    bring(scene, str(folder))
    rows = scene.git("ls-tree", "-r", NAME).splitlines()
    assert {row.split("\t")[1]: row[:6] for row in rows} == {
        ".gitattributes": "100644",
        "config.toml": "100644",
        "metadata.toml": "100644",
        "run.toml": "100644",
        "sample-prompts.txt": "100644",
        "train_lokr.zsh": "100755",
    }
    for name in ("config.toml", "sample-prompts.txt", "train_lokr.zsh"):
        assert scene.git("show", f"{NAME}:{name}") + "\n" == (folder / name).read_text()
    record = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))
    assert record["imported"] == {"from": f"~/output_dir/{NAME}", "missing": ALWAYS, "redacted": []}
    assert record["run"] == {"name": NAME, "model": "noob", "version": 1, "steps": 400}
    assert record["trainer"] == {"kind": "sd-scripts", "commit": COMMIT, "branch": "sd3"}
    assert record["lycoris"] == {"installed": True, "commit": LYCORIS, "branch": "dev"}
    assert record["arguments"] == {
        "network_module": "lycoris.kohya",
        "network_dim": "4",
        "network_alpha": "2.0",
        "learning_rate": "0.001",
        "max_train_steps": "100",
        "network_args": ["algo=lokr", "factor=4"],
    }
    assert record["files"]["train_lokr.zsh"]["sha1"] == sha1(folder / "train_lokr.zsh")
    assert (
        tomllib.loads(scene.git("show", f"{NAME}:metadata.toml"))["metadata"]["ss_learning_rate"]
        == "0.001"
    )


def test_its_tag_is_sealed_with_what_came_out_and_tells_no_exit_status(scene: Scene) -> None:
    folder = old_run(scene)
    (folder / f"{NAME}-000002.safetensors").write_bytes(b"cut")
    (folder / f"{NAME}-state").mkdir()
    (folder / f"{NAME}-state" / "model.safetensors").write_bytes(b"x")
    bring(scene, str(folder))
    outcome = scene.outcome(NAME)
    assert "Exit-Status" not in outcome
    final = outcome.pop("Model")
    assert final.startswith(f"{NAME}.safetensors ")
    assert final.endswith("step:100 epoch:1")
    assert outcome == {
        "Run": NAME,
        "Started": "2024-03-09T18:30:00Z",
        "Finished": "2024-03-09T18:40:00Z",
        "Duration": "600",
        "Truncated": f"{NAME}-000002.safetensors",
        "State": f"{NAME}-state",
        "Samples": "2",
        "Final-Loss": "0.125",
        "Output": f"~/output_dir/{NAME}",
        "Session": "7 1710009000.0",
        "Sample": outcome["Sample"],
    }
    assert re.fullmatch(rf"sample/{NAME}_\S+\.png sha256:[0-9a-f]{{64}}", outcome["Sample"])
    assert scene.git("tag", "-l", "--format=%(contents:subject)") == (
        f"{NAME}: 2 models, 1 state, 1 cut short, 2 samples, 10 min, imported"
    )


def test_log_show_and_status_take_it_for_a_sealed_run(scene: Scene) -> None:
    bring(scene, str(old_run(scene)))
    assert scene.train("noob-gren-v2s4").status == 0
    lines = scene.loragit("log").out.splitlines()
    assert lines[1].split("  ")[:4] == [NAME, "2024-03-10 07:30", "imported", "10 min"]
    shown = scene.loragit("show", NAME)
    assert "Missing: captions" in shown.out
    assert "  gren: its images, captions and commit are not on record" in shown.out
    assert "  network_dim     4" in shown.out
    document = json.loads(scene.loragit("show", NAME, "--json").out)
    assert (document["images"], document["captions"], document["dataset_dirty"]) == (None,) * 3
    assert document["args"]["network_args"] == ["algo=lokr", "factor=4"]
    found = scene.loragit("log", "--where", "factor=4", "--where", "args.learning_rate=1e-3")
    assert [line.split()[0] for line in found.out.splitlines()] == [NAME]
    gone = "not on record: other arguments, captions, images, environment and packages"
    assert gone in scene.loragit("show", "noob-gren-v2s4").out
    changed = json.loads(scene.loragit("log", "--json").out)[0]["changed"]
    assert changed[-1] == gone
    assert not any("image" in each or "package" in each for each in changed[:-1])
    assert "  metadata.toml" in shown.out
    assert scene.loragit("status").status == 0
    assert git(scene.dataset, "rev-list", "--count", "runs") == "2"


def test_runs_are_written_in_order_of_time_on_top_of_what_is_there(scene: Scene) -> None:
    assert scene.train("noob-gren-v9s4").status == 0
    tip = scene.git("rev-parse", "runs")
    for number, days in ((1, 0), (2, -3), (3, 5)):
        old_run(
            scene,
            f"noob-gren-v{number}s400",
            started=STARTED + timedelta(days=days),
            session=number,
        )
    bring(scene, str(scene.output))
    assert scene.git(
        "log", "--format=%(trailers:key=Run,valueonly,separator=)", "runs"
    ).split() == [
        "noob-gren-v3s400",
        "noob-gren-v1s400",
        "noob-gren-v2s400",
        "noob-gren-v9s4",
    ]
    assert scene.git("rev-parse", "runs~3") == tip
    assert scene.git("log", "--merges", "runs") == ""
    assert scene.train("noob-gren-v10s4").status == 0


def test_a_dry_run_shows_the_plan_and_writes_nothing(scene: Scene) -> None:
    old_run(scene)
    before = refs(scene)
    done = bring(scene, str(scene.output), "--dry-run")
    assert (
        done.out == f"{NAME}  2024-03-09 18:30  gren  new  2 models, 2 samples, 10 min, imported\n"
    )
    assert "dry run: 1 run would be imported; nothing was written" in done.err
    assert refs(scene) == before
    assert not (scene.dataset / ".git" / "loragit").exists()


def test_without_a_repos_git_the_header_tells_the_trainers_commit(scene: Scene) -> None:
    folder = old_run(scene)
    (folder / "repos.git").unlink()
    bring(scene, str(folder))
    told = scene.trailers(NAME)
    assert told["Trainer-Commit"] == COMMIT
    assert "Trainer-Branch" not in told
    assert missing(scene) == [*ALWAYS, "LyCORIS commit"]


def test_what_is_not_there_is_named(scene: Scene) -> None:
    folder = old_run(scene)
    for name in ("config.toml", "sample-prompts.txt", "train_lokr.zsh"):
        (folder / name).unlink()
    for model in folder.glob("*.safetensors"):
        write_model(model)
    rewrite(folder / "repos.git", "/x/sd-scripts: Git command failed\r\nnonsense\r\n")
    bring(scene, str(folder))
    assert missing(scene) == [
        "config.toml",
        "script",
        "1 line of repos.git that cannot be read",
        "sample-prompts",
        "start (told by the times of the files)",
        "end (told by the times of the files)",
        "weights",
        *ALWAYS,
        "trainer commit",
    ]
    assert scene.git("ls-tree", "--name-only", NAME).split() == [".gitattributes", "run.toml"]
    assert scene.git("log", "-1", "--format=%at", NAME) == str(int(STARTED.timestamp()))


def test_hashes_that_repos_git_tells_stand_for_files_that_are_gone_or_differ(scene: Scene) -> None:
    folder = old_run(scene)
    config, script = sha1(folder / "config.toml"), sha1(folder / "train_lokr.zsh")
    (folder / "train_lokr.zsh").unlink()
    rewrite(folder / "config.toml", "edited = true\n")
    bring(scene, str(folder), "--dataset", ".")
    told = scene.trailers(NAME)
    assert (told["Config-SHA1"], told["Script-SHA1"]) == (config, script)
    assert missing(scene)[:2] == [
        "script",
        "config.toml as it was when the run began (repos.git tells another SHA-1)",
    ]


def test_further_repositories_and_scripts_are_kept(scene: Scene) -> None:
    folder = old_run(scene)
    with (folder / "repos.git").open("a") as file:
        file.write(
            f"/x/my tools: (main) {'5f' * 20}\n/x/more: {'6f' * 20} (Failed to get branch)\n"
        )
    (folder / "another.sh").write_text("echo\n")
    bring(scene, str(folder))
    repositories = scene.git(
        "log", "-1", "--format=%(trailers:key=Repository,valueonly)", NAME
    ).split("\n")
    assert repositories[:2] == [f"my tools {'5f' * 20} (main)", f"more {'6f' * 20}"]
    assert scene.git("show", f"{NAME}:inputs/another.sh") == "echo"
    assert (
        tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["repositories"]["my tools"]["branch"]
        == "main"
    )


def test_links_are_not_followed_and_large_files_are_left_out(scene: Scene) -> None:
    folder = old_run(scene)
    (folder / "config.toml").unlink()
    (folder / "config.toml").symlink_to(scene.dataset / "config.toml")
    (folder / "sample-prompts.txt").write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    bring(scene, str(folder))
    assert missing(scene)[:3] == [
        "config.toml",
        "sample-prompts.txt (it cannot be read, or is larger than 4 MiB)",
        *ALWAYS[:1],
    ]


def test_a_folder_in_use_by_a_training_of_another_name_keeps_its_own_models(scene: Scene) -> None:
    folder = old_run(scene, models=False)
    for name, session in (("lora", 7), ("lora-000002", 7), ("other", 9)):
        write_model(folder / f"{name}.safetensors", header(name.partition("-")[0], session))
    done = bring(scene, str(folder))
    assert "also holds models of another training, left out: other.safetensors" in done.err
    models = scene.git("for-each-ref", "--format=%(contents)", f"refs/tags/{NAME}").splitlines()
    assert [line.split()[1] for line in models if line.startswith("Model: ")] == [
        "lora-000002.safetensors",
        "lora.safetensors",
    ]


def test_secrets_in_old_files_are_masked_and_that_is_said(scene: Scene) -> None:
    folder = old_run(scene)
    rewrite(
        folder / "train_lokr.zsh",
        f"TRAINING_DIR={scene.dataset}\npython x.py --huggingface_token {TOKEN}\n",
    )
    rewrite(folder / "config.toml", f'token = "{TOKEN}"\n')
    rewrite(folder / "sample-prompts.txt", "zqx\n")
    write_model(folder / f"{NAME}.safetensors", header(NAME, ss_training_comment=f"by {TOKEN}"))
    bring(scene, str(folder))
    redacted = scene.git("log", "-1", "--format=%(trailers:key=Redacted,valueonly)", NAME).split()
    assert redacted == ["config.toml", "train_lokr.zsh", "metadata.toml"]
    everything = scene.git("cat-file", "--batch-all-objects", "--batch")
    assert TOKEN not in everything
    assert "***" in scene.git("show", f"{NAME}:train_lokr.zsh")


def test_a_file_whose_secret_cannot_be_taken_out_is_left_out(scene: Scene) -> None:
    folder = old_run(scene)
    rewrite(folder / "config.toml", '"\\u0061pi_key" = """"correct horse""""\n')
    bring(scene, str(folder))
    assert "config.toml (it holds what looks like a secret)" in missing(scene)
    assert "config.toml" not in scene.git("ls-tree", "--name-only", NAME).split()


def test_a_path_that_holds_a_secret_is_refused(scene: Scene) -> None:
    folder = old_run(scene)
    (folder / f"{NAME}-state").mkdir()
    shutil.copy(folder / f"{NAME}.safetensors", folder / f"{NAME}-state" / "x")
    models = scene.output.parent / "models"
    write_model(models / f"{TOKEN}.safetensors", header("noob-gren-v7s400", 77))
    write_model(models / f"{TOKEN}2.safetensors", header("noob-gren-v7s400", 77))
    done = bring(scene, str(models), status=1)
    assert (
        "the name of a file or folder in it holds what looks like a secret (Hugging Face token)"
        in done.err
    )
    assert "rename it" in done.err
    assert scene.tags() == []


# ---- the dataset ----


def test_runs_of_several_datasets_go_to_each_datasets_own_repository(scene: Scene) -> None:
    other = scene.home / "datasets" / "mark"
    other.mkdir()
    git(other, "init", "-q")
    old_run(scene)
    leave(scene.output, "noob-mark-v1s400", scene.home / "gone", session=8)
    bring(scene, str(scene.output))
    assert scene.tags() == [NAME]
    assert git(other, "tag", "--list") == "noob-mark-v1s400"
    assert git(other, "fsck", "--strict") == ""


def test_datasets_of_one_repository_keep_their_records_apart(home: Path) -> None:
    scene = make_scene(home)
    shutil.rmtree(scene.dataset / ".git")
    top = home / "datasets"
    (top / "mark").mkdir()
    git(top, "init", "-q")
    commit_all(top, "two datasets")
    old_run(scene)
    leave(
        scene.output,
        "noob-mark-v1s400",
        top / "mark",
        session=8,
        started=STARTED + timedelta(days=1),
    )
    bring(scene, str(scene.output))
    assert scene.trailers("noob-mark-v1s400")["Dataset-Path"] == "mark"
    names = git(top, "ls-tree", "-r", "--name-only", "runs").splitlines()
    assert {name.partition("/")[0] for name in names} == {"gren", "mark"}


def test_the_script_tells_the_dataset_where_the_name_does_not(scene: Scene) -> None:
    old_run(scene, "foobar")
    bring(scene, str(scene.output))
    assert scene.git("log", "-1", "--format=%s", "foobar") == "foobar: gren, 100 steps"


def test_a_dataset_that_cannot_be_told_is_asked_for(scene: Scene) -> None:
    folder = leave(scene.output, "foobar", scene.home / "gone")
    old_run(scene, session=8)
    done = bring(scene, str(scene.output), status=1)
    assert "~/output_dir/foobar: its dataset is not known: foobar names no dataset" in done.err
    assert "say which it is with --dataset" in done.err
    assert scene.tags() == [NAME], "one that cannot be imported stops no other"
    bring(scene, str(folder), "--dataset", "gren")
    assert scene.tags() == ["foobar", NAME]


def test_the_variable_that_names_the_dataset_counts_as_for_a_training(scene: Scene) -> None:
    leave(scene.output, "foobar", scene.home / "gone")
    bring(scene, str(scene.output), TRAINING_DIR=str(scene.dataset))
    assert scene.tags() == ["foobar"]


def test_a_dataset_in_no_repository_is_told(scene: Scene) -> None:
    shutil.rmtree(scene.dataset / ".git")
    old_run(scene)
    done = scene.loragit("import", str(scene.output))
    assert done.status == 1
    assert "is in no git repository" in done.err
    assert "make it one: git init" in done.err


def test_a_repository_whose_runs_is_somebody_elses_is_refused(scene: Scene) -> None:
    scene.git("branch", "runs")
    old_run(scene)
    done = bring(scene, str(scene.output), status=1)
    assert "there is a branch runs that loragit did not make" in done.err
    assert "rename it: git branch -m runs my-runs" in done.err
    assert scene.tags() == []


# ---- again ----


def test_run_twice_it_adds_nothing(scene: Scene) -> None:
    old_run(scene)
    old_run(scene, "noob-gren-v2s400", models=False, session=9)
    bring(scene, str(scene.output))
    before = refs(scene)
    assert states(scene, str(scene.output)) == {
        NAME: ("on record", "on record"),
        "noob-gren-v2s400": ("on record", "on record"),
    }
    assert refs(scene) == before


def moved(scene: Scene) -> Path:
    target = scene.home / "archive" / "2024" / NAME
    target.parent.mkdir(parents=True)
    shutil.move(scene.output / NAME, target)
    return target


def renamed(scene: Scene) -> Path:
    return (scene.output / NAME).rename(scene.output / "noob-gren-v77s400")


def rewritten(scene: Scene) -> Path:
    """As a site does that takes uploads: another header, the same session."""
    folder = moved(scene)
    for model in folder.glob("*.safetensors"):
        write_model(model, header(NAME, **{"modelspec.title": "Pretty"}))
    return folder


def stripped(scene: Scene) -> Path:
    folder = moved(scene)
    for model in folder.glob("*.safetensors"):
        write_model(model)
    return folder


@pytest.mark.parametrize("change", [moved, renamed, rewritten, stripped])
def test_a_training_is_recognised_after(change: Callable[[Scene], Path], scene: Scene) -> None:
    old_run(scene)
    bring(scene, str(scene.output))
    before = refs(scene)
    folder = change(scene)
    what = "on record" if folder.name == NAME else f"on record as {NAME}"
    assert states(scene, str(folder)) == {folder.name: ("on record", what)}
    assert refs(scene) == before


def test_what_a_clone_has_from_its_origin_is_on_record_there_and_gone_on_from(scene: Scene) -> None:
    old_run(scene)
    bring(scene, str(scene.output))
    original = scene.dataset.rename(scene.home / "original")
    git(scene.home, "clone", "-q", "--no-tags", str(original), str(scene.dataset))
    old_run(scene, "noob-gren-v2s400", session=8)
    told = states(scene, str(scene.output))
    assert told[NAME] == ("on record", "on record; its tag is gone, and it is left as it is")
    assert scene.tags() == ["noob-gren-v2s400"]
    assert scene.git("rev-parse", "runs~1") == git(original, "rev-parse", "runs")


@pytest.mark.parametrize("change", [lambda scene: scene.output / NAME, moved, renamed, rewritten])
def test_a_run_whose_tag_was_deleted_is_not_brought_back(
    change: Callable[[Scene], Path], scene: Scene
) -> None:
    old_run(scene)
    bring(scene, str(scene.output))
    scene.git("tag", "-d", NAME)
    before = refs(scene)
    folder = change(scene)
    told = states(scene, str(folder))[folder.name]
    assert told[0] == "on record"
    assert told[1].endswith("; its tag is gone, and it is left as it is")
    assert refs(scene) == before


def test_without_models_the_folder_is_recognised_by_its_place_or_its_name(scene: Scene) -> None:
    old_run(scene, models=False)
    bring(scene, str(scene.output))
    assert states(scene, str(moved(scene)))[NAME] == ("on record", "on record")
    scene.git("tag", "-d", NAME)
    assert "its tag is gone" in states(scene, str(scene.home / "archive"))[NAME][1]


def test_another_training_of_the_same_name_is_refused(scene: Scene) -> None:
    folder = old_run(scene)
    bring(scene, str(folder))
    shutil.rmtree(folder)
    old_run(scene, session=99)
    for model in folder.glob("*.safetensors"):
        write_model(model, header(NAME, 99), weights=b"others")
    before = refs(scene)
    done = bring(scene, str(folder), status=1)
    assert f"run {NAME} already exists, and that is another training" in done.err
    assert "import it alone, with another name: --name NAME" in done.err
    assert refs(scene) == before
    bring(scene, str(folder), "--name", "noob-gren-v5s400")
    assert scene.tags() == [NAME, "noob-gren-v5s400"]


def test_the_same_weights_of_another_session_are_another_training(scene: Scene) -> None:
    old_run(scene)
    folder = old_run(scene, "noob-gren-v2s400", session=8)
    for model in sorted(folder.glob("*.safetensors")):
        twin = scene.output / NAME / model.name.replace("v2", "v1")
        write_model(model, header("noob-gren-v2s400", 8), weights=twin.read_bytes()[-128:])
    bring(scene, str(scene.output))
    assert scene.tags() == [NAME, "noob-gren-v2s400"]


def test_two_folders_of_one_call_are_told_apart(scene: Scene) -> None:
    old_run(scene)
    shutil.copytree(scene.output / NAME, scene.output / "copy" / NAME)
    leave(
        scene.output / "more", NAME, scene.dataset, session=9, started=STARTED + timedelta(days=1)
    )
    items = json.loads(bring(scene, str(scene.output), "--json", status=1).out)
    assert sorted((item["source"], item["state"]) for item in items) == [
        (f"~/output_dir/copy/{NAME}", items[0]["state"]),
        (f"~/output_dir/more/{NAME}", "left out"),
        (f"~/output_dir/{NAME}", items[1]["state"]),
    ]
    assert {items[0]["state"], items[1]["state"]} == {"new", "on record"}
    assert scene.git("rev-list", "--count", "runs") == "1"


# ---- loragit's own output folders ----


def test_loragits_own_runs_are_on_record_already(scene: Scene) -> None:
    assert scene.train("noob-gren-v1s4").status == 0
    assert scene.train("noob-gren-v2s4", STUB="samples").status == 0
    before = refs(scene)
    assert states(scene, str(scene.output)) == {
        "noob-gren-v1s4": ("on record", "on record"),
        "noob-gren-v2s4": ("on record", "on record"),
    }
    scene.git("tag", "-d", "noob-gren-v1s4")
    assert "its tag is gone" in states(scene, str(scene.output))["noob-gren-v1s4"][1]
    scene.git("tag", "noob-gren-v1s4", before.split()[0])


def test_loragits_own_runs_are_imported_where_their_record_is_lost(scene: Scene) -> None:
    assert scene.train("noob-gren-v1s4").status == 0
    script = scene.git("show", "noob-gren-v1s4:train.sh")
    shutil.rmtree(scene.dataset / ".git")
    scene.git("init", "-q")
    bring(scene, str(scene.output))
    told = scene.trailers("noob-gren-v1s4")
    assert told["Trainer-Commit"] == git(scene.trainer, "rev-parse", "HEAD")
    assert told["Trainer-Branch"] == "sd3"
    assert scene.git("show", "noob-gren-v1s4:train.sh") == script
    assert states(scene, str(scene.output)) == {"noob-gren-v1s4": ("on record", "on record")}


# ---- models without a record ----


def test_a_lone_model_is_imported_by_its_header(scene: Scene) -> None:
    model = write_model(scene.home / "models" / "renamed.safetensors", header("foobar", 21))
    bring(scene, str(model), "--dataset", "gren")
    told = scene.trailers("foobar")
    assert told["Imported"].endswith(" from ~/models/renamed.safetensors")
    assert told["Trainer-Commit"] == COMMIT
    assert told["Network"] == "lycoris.kohya dim=4 alpha=2.0"
    assert missing(scene, "foobar") == ["config.toml", "script", *ALWAYS, "LyCORIS commit"]
    names = scene.git("ls-tree", "--name-only", "foobar").split()
    assert names == [".gitattributes", "metadata.toml", "run.toml"]
    assert scene.outcome("foobar")["Model"].startswith("renamed.safetensors ")


def test_models_of_one_session_are_one_run_and_others_others(scene: Scene) -> None:
    models = scene.home / "models"
    for stem, name, session in (
        ("noob-gren-v1s400", "noob-gren-v1s400", 1),
        ("noob-gren-v1s400-step00000050", "noob-gren-v1s400", 1),
        ("something else", "noob-gren-v1s400", 1),
        ("noob-gren-v2s400", "noob-gren-v2s400", 2),
    ):
        write_model(models / f"{stem}.safetensors", header(name, session))
    bring(scene, str(models))
    assert scene.git("tag", "-l", "--format=%(contents:subject)").splitlines() == [
        "noob-gren-v1s400: 3 models, 0 samples, 10 min, imported",
        "noob-gren-v2s400: 1 model, 0 samples, 10 min, imported",
    ]


def test_without_a_session_a_name_tells_what_belongs_together(scene: Scene) -> None:
    models = scene.home / "models"
    dated = {"modelspec.date": "2024-03-09T18:40:00"}
    for stem in (NAME, f"{NAME}-000001"):
        write_model(models / f"{stem}.safetensors", dated)
    bring(scene, str(models))
    assert scene.git("log", "-1", "--format=%ai", NAME) == "2024-03-09 18:40:00 +1300"
    assert missing(scene)[2:3] == ["start (told by the times of the files)"]
    assert (
        scene.git("tag", "-l", "--format=%(contents:subject)")
        == f"{NAME}: 2 models, 0 samples, 0 s, imported"
    )


def test_a_model_that_tells_no_date_or_no_name_is_left_out(scene: Scene) -> None:
    models = scene.home / "models"
    write_model(models / f"{NAME}.safetensors")
    write_model(models / "\U0001f98a.safetensors", {**header("x", 5), "ss_output_name": "None"})
    (models / "broken.safetensors").write_bytes(b"\xff" * 100)
    before = refs(scene)
    done = bring(scene, str(models), "--dataset", ".", status=1)
    assert "its header tells nothing of a training" in done.err
    assert (
        "put beside it what else is left of the training (repos.git, config.toml), and import the "
        "folder" in done.err
    )
    assert "broken.safetensors is not a sound safetensors file" in done.err
    assert "'\U0001f98a' cannot name a run" in done.err
    assert refs(scene) == before
    bring(scene, str(models / "\U0001f98a.safetensors"), "--dataset", ".", "--name", "fox")
    assert scene.tags() == ["fox"]


def test_headers_of_other_trainers_are_kept_and_their_files_tell_the_time(scene: Scene) -> None:
    model = write_model(
        scene.home / "models" / "x.safetensors",
        {"format": "pt", "lora_adapter_metadata": '{"transformer.r": 16}', "ot_branch": "master"},
    )
    os.utime(model, (STARTED.timestamp(), STARTED.timestamp()))
    bring(scene, str(model), "--dataset", ".", "--name", NAME)
    assert scene.git("log", "-1", "--format=%at", NAME) == str(int(STARTED.timestamp()))
    assert missing(scene)[2:4] == [
        "start (told by the times of the files)",
        "end (told by the times of the files)",
    ]
    table = tomllib.loads(scene.git("show", f"{NAME}:metadata.toml"))
    assert table["metadata"] == {
        "format": "pt",
        "lora_adapter_metadata": {"transformer.r": 16},
        "ot_branch": "master",
    }


def test_a_model_beside_its_record_means_the_whole_folder(scene: Scene) -> None:
    folder = old_run(scene)
    bring(scene, str(folder / f"{NAME}.safetensors"))
    assert scene.outcome(NAME)["Samples"] == "2"
    assert "train_lokr.zsh" in scene.git("ls-tree", "--name-only", NAME)


def test_a_hostile_header_is_shown_and_not_obeyed(scene: Scene) -> None:
    model = write_model(
        scene.home / "models" / "x.safetensors",
        header(
            NAME,
            ss_network_module="\x1b[31mred\nRun: other",
            ss_sd_model_name="../../etc/passwd\n\nReverts: " + COMMIT,
            ss_output_name="../../x",
        ),
    )
    done = bring(scene, str(model), status=1)
    assert "'../../x' cannot name a run" in done.err
    bring(scene, str(model), "--name", NAME)
    message = scene.git("log", "-1", "--format=%B", NAME)
    assert "\x1b" not in message
    told = parsed_trailers(scene.dataset, message)
    assert told["Run"] == NAME
    assert "Reverts" not in told
    assert scene.tags() == [NAME]


# ---- what is not imported ----


def test_a_folder_that_made_nothing_is_passed_over(scene: Scene) -> None:
    old_run(scene)
    old_run(scene, "noob-gren-v2s400", models=False, samples=0, session=8)
    done = bring(scene, str(scene.output))
    assert "made nothing: neither a model nor a state nor a sample is in it" in done.out
    assert "imported 1 run; 1 empty" in done.err
    assert scene.tags() == [NAME]


def test_a_folder_with_nothing_whole_is_told(scene: Scene) -> None:
    folder = old_run(scene, models=False, samples=0)
    whole = write_model(folder / f"{NAME}.safetensors", header(NAME)).read_bytes()
    (folder / f"{NAME}.safetensors").write_bytes(whole[:-1])
    done = bring(scene, str(folder), status=1)
    assert f"~/output_dir/{NAME}: nothing in it is whole: {NAME}.safetensors" in done.err
    assert "see whether another copy is" in done.err
    assert scene.tags() == []


def test_what_is_no_training_is_told_for_each_path(scene: Scene) -> None:
    old_run(scene)
    (scene.home / "notes.txt").write_text("x")
    words = [str(scene.home / name) for name in ("notes.txt", "nowhere", "source")]
    done = bring(scene, *words, str(scene.output), status=1)
    assert "not everything was imported: 3 problems found" in done.err
    assert "notes.txt is neither a folder nor a .safetensors file" in done.err
    assert "there is no " in done.err
    assert "source is not the folder of a training" in done.err
    assert scene.tags() == [NAME]


def test_a_name_that_is_none_is_given_by_hand(scene: Scene) -> None:
    folder = old_run(scene, "first try (good)")
    done = bring(scene, str(folder), "--name", "not so (good)", status=1)
    assert "'not so (good)' cannot name a run" in done.err
    assert "import it alone, with a name: --name NAME" in done.err
    assert scene.tags() == []
    bring(scene, str(folder), "--name", NAME)
    assert scene.tags() == [NAME]
    assert scene.outcome(NAME)["Output"] == "~/output_dir/first try (good)"


def test_a_name_that_is_none_becomes_the_next_best_and_that_is_told(scene: Scene) -> None:
    done = bring(scene, str(old_run(scene, "first try (good)")))
    assert "'first try (good)' cannot name a run: it becomes first-try-good" in done.err
    assert scene.tags() == ["first-try-good"]


def test_one_name_is_not_given_to_several(scene: Scene) -> None:
    old_run(scene)
    old_run(scene, "noob-gren-v2s400", session=8)
    done = bring(scene, str(scene.output), "--name", "noob-gren-v3s400", status=2)
    assert "--name noob-gren-v3s400 cannot name 2 trainings" in done.err
    assert scene.tags() == []


def gui_folder(scene: Scene) -> Path:
    """A folder of kohya_ss with two trainings, each with an epoch and its final model."""
    folder = scene.home / "project" / "model"
    starts = {"zqx style v1": STARTED, "zqx_style_v2": STARTED + timedelta(hours=2)}
    for session, (name, started) in enumerate(starts.items(), 21):
        for stem, epoch in ((f"{name}-000001", "1"), (name, "2")):
            write_model(
                folder / f"{stem}.safetensors", header(name, session, started, ss_epoch=epoch)
            )
        stamp = started.astimezone().strftime("%Y%m%d-%H%M%S")
        fields = {"output_name": name, "learning_rate": 1e-4, "wandb_api_key": "0123abcd" * 5}
        (folder / f"{name}_{stamp}.json").write_text(json.dumps(fields, indent=2))
        (folder / f"config_lora-{stamp}.toml").write_text("learning_rate = 0.0001\n")
    (folder / "sample").mkdir()
    (folder / "sample" / "prompt.txt").write_text("zqx, a thing --n bad\n")
    return folder


def test_a_config_of_the_gui_that_nests_without_end_names_no_training(scene: Scene) -> None:
    folder = gui_folder(scene)
    for path in folder.glob("config_lora-*.toml"):
        path.write_text("a = " + "[" * 100_000)
    bring(scene, str(folder), "--dataset", ".")
    assert scene.tags() == ["zqx-style-v1", "zqx_style_v2"]


def test_prompts_behind_a_link_are_not_the_trainings(scene: Scene) -> None:
    folder = gui_folder(scene)
    (folder / "sample").rename(scene.home / "elsewhere")
    (folder / "sample").symlink_to(scene.home / "elsewhere")
    bring(scene, str(folder), "--dataset", ".")
    for name in scene.tags():
        assert "sample-prompts.txt" not in scene.git("ls-tree", "--name-only", name)


def test_a_folder_of_the_gui_is_imported_with_the_files_of_each_training(scene: Scene) -> None:
    folder = gui_folder(scene)
    bring(scene, str(folder), "--dataset", ".")
    assert scene.tags() == ["zqx-style-v1", "zqx_style_v2"]
    for name in scene.tags():
        assert "2 models" in scene.git("tag", "-l", "--format=%(contents:subject)", name)
        inputs = scene.git("ls-tree", "--name-only", name, "inputs/").splitlines()
        assert [each.rpartition(".")[2] for each in inputs] == ["toml", "json"]
        assert "0123abcd" not in scene.git("show", *(f"{name}:{each}" for each in inputs))
    assert "zqx style v1_" in scene.git("ls-tree", "-r", "--name-only", "zqx-style-v1")
    # The GUI writes the prompts anew at each start.
    assert "sample-prompts.txt" in scene.git("ls-tree", "--name-only", "zqx_style_v2")
    assert "sample-prompts.txt" not in scene.git("ls-tree", "--name-only", "zqx-style-v1")


def test_one_model_of_several_trainings_names_the_one_that_is_meant(scene: Scene) -> None:
    folder = gui_folder(scene)
    done = bring(scene, str(folder), "--dataset", ".", "--name", NAME, status=2)
    assert "cannot name 2 trainings: zqx style v1, zqx_style_v2" in done.err
    model = folder / "zqx style v1-000001.safetensors"
    bring(scene, str(model), "--dataset", ".", "--name", NAME)
    assert scene.tags() == [NAME]
    assert "2 models" in scene.git("tag", "-l", "--format=%(contents:subject)", NAME)
    # The other one is the only one left that a name could be for.
    bring(scene, str(folder), "--dataset", ".", "--name", "noob-gren-v2s400")
    assert scene.tags() == [NAME, "noob-gren-v2s400"]


def test_models_that_are_called_as_all_are_have_the_name_of_their_folder(scene: Scene) -> None:
    folder = scene.home / "loras" / NAME
    write_model(folder / "last.safetensors", {**header("x", 5), "ss_output_name": "last"})
    bring(scene, str(folder), "--dataset", ".")
    assert scene.tags() == [NAME]


@pytest.mark.parametrize("session", ["7", None])
def test_a_training_without_a_name_is_one_run_called_as_its_folder(
    scene: Scene, session: str | None
) -> None:
    folder = scene.home / "loras" / "mychar-v3"
    for stem, step in (("at-step00000030", "30"), ("epoch-000010", "50"), ("last", "100")):
        values = header("x", ss_output_name="None", ss_session_id=session, ss_steps=step)
        write_model(folder / f"{stem}.safetensors", values)
    (folder / "last-state").mkdir()
    (folder / "last-state" / "optimizer.bin").write_bytes(b"x")
    (folder / "sample").mkdir()
    (folder / "sample" / "e000010_00_20240309184000_1.png").write_bytes(b"png")
    bring(scene, str(folder), "--dataset", ".")
    assert scene.tags() == ["mychar-v3"]
    subject = scene.git("tag", "-l", "--format=%(contents:subject)")
    assert subject == "mychar-v3: 3 models, 1 state, 1 sample, 10 min, imported"
    again = bring(scene, str(folder / "epoch-000010.safetensors"), "--dataset", ".")
    assert "on record" in again.out


def test_models_of_any_name_beside_those_of_none_are_another_training(scene: Scene) -> None:
    folder = scene.home / "loras" / "mychar-v3"
    for name, output_name in (("epoch-000010", "None"), ("last", "None"), ("other", "other")):
        values = header("x", ss_output_name=output_name, ss_session_id=None)
        write_model(folder / f"{name}.safetensors", values)
    (folder / "other-state").mkdir()
    (folder / "other-state" / "optimizer.bin").write_bytes(b"x")
    bring(scene, str(folder), "--dataset", ".")
    assert scene.tags() == ["mychar-v3", "other"]
    assert scene.outcome("other")["State"] == "other-state"
    assert "State" not in scene.outcome("mychar-v3")


def test_a_tag_of_the_users_own_is_not_taken(scene: Scene) -> None:
    scene.git("tag", NAME)
    old_run(scene)
    done = bring(scene, str(scene.output), status=1)
    assert f"there is a tag {NAME} already, and that is another training" in done.err
    assert scene.git("rev-parse", NAME) == scene.git("rev-parse", "HEAD")


def test_without_an_identity_nothing_is_written(scene: Scene) -> None:
    old_run(scene)
    (scene.home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    before = refs(scene)
    done = bring(scene, str(scene.output), status=1)
    assert "git does not know who you are" in done.err
    assert refs(scene) == before


def test_a_hook_that_refuses_is_told_and_stops_nobody_else(scene: Scene) -> None:
    old_run(scene)
    old_run(scene, "noob-gren-v2s400", session=8, started=STARTED + timedelta(days=1))
    hook = scene.dataset / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\n[ "$1" = prepared ] || exit 0\n! grep -q "{NAME}"\n')
    hook.chmod(0o755)
    items = json.loads(bring(scene, str(scene.output), "--json", status=1).out)
    assert [item["commit"] is None for item in items] == [True, False]
    assert scene.tags() == ["noob-gren-v2s400"]


@pytest.mark.parametrize("place", ["logs", f"output_dir/{NAME}/logs"])
def test_events_are_found_near_the_output_folder(scene: Scene, place: str) -> None:
    old_run(scene)
    shutil.move(scene.output / "logs", scene.home / place)
    bring(scene, str(scene.output))
    assert scene.outcome(NAME)["Final-Loss"] == "0.125"


def test_events_of_another_time_are_not_its_own(scene: Scene) -> None:
    old_run(scene, loss=None)
    write = leave(scene.output / "x", NAME, scene.dataset, started=STARTED + timedelta(days=40))
    shutil.move(scene.output / "x" / "logs", scene.output / "logs")
    shutil.rmtree(write.parent)
    (scene.output / "logs" / f"{NAME}-99999999999999").mkdir()
    bring(scene, str(scene.output))
    assert "Final-Loss" not in scene.outcome(NAME)


def test_real_models_of_sd_scripts_are_imported(scene: Scene) -> None:
    source = SD_SCRIPTS / "output_dir"
    shutil.copytree(source, scene.home / "real")
    bring(scene, str(scene.home / "real"), "--dataset", ".")
    assert scene.tags() == ["base-tiny-v1s4", "tiny_lora"]
    assert scene.trailers("tiny_lora")["Network"] == "networks.lora dim=4 alpha=2.0"
    started = datetime.fromtimestamp(
        int(scene.git("log", "-1", "--format=%at", "base-tiny-v1s4")), UTC
    )
    assert started == datetime(2026, 11, 23, 17, 20, 29, tzinfo=UTC)
    assert scene.outcome("base-tiny-v1s4")["Samples"] == "4"


def test_every_key_and_file_of_an_imported_record_is_in_the_record_format(scene: Scene) -> None:
    folder = old_run(scene)
    with (folder / "repos.git").open("a") as file:
        file.write(f"/x/tools: (main) {'5f' * 20}\n")
    bring(scene, str(folder))
    record = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))
    keys = {re.sub(r"^files\..*", "files.<path>.sha1", key) for key in dotted(record)}
    keys = {re.sub(r"^arguments\..*", "arguments.<name>", key) for key in keys}
    keys = {re.sub(r"^(repositories\.)tools(\.\w+)$", r"\1<name>.commit", key) for key in keys}
    assert {"imported.from", "repositories.<name>.commit", "weights", "lycoris.branch"} <= keys
    assert keys <= documented(FORMAT)
    assert {"metadata.toml", "run.toml"} <= documented(FORMAT)


# ---- what the system refuses ----


def test_what_cannot_be_read_is_told_or_passed_over(scene: Scene) -> None:
    models = scene.home / "models"
    models.mkdir()
    os.mkfifo(models / "pipe.safetensors")
    done = bring(scene, str(models), status=1)
    assert "pipe.safetensors cannot be read: pipe.safetensors is not a regular file" in done.err
    assert text_files._read(models, "gone") is None
    assert text_files._read(models, "pipe.safetensors") is None
    if Path("/proc/self/mem").exists():
        assert text_files._read(Path("/proc/self"), "mem") is None, (
            "it opens, and then cannot be read"
        )


def test_a_folder_that_has_vanished_made_nothing(scene: Scene, tmp_path: Path) -> None:
    models = Models(HashCache(tmp_path / "cache"))
    (left,) = training.past_trainings(Source(scene.output / NAME, None), models, Findings())
    assert not left.made_something


def test_it_is_said_when_reading_takes_long(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_run(scene)
    monkeypatch.setattr(intake, "_LONG", 1)
    told: list[str] = []
    request = intake.ImportRequest(
        ("..",), None, None, os.environ, scene.output / NAME, tmp_path / "cache"
    )
    plan = intake.plan_import(request, told.append)
    assert told == ["reading 0.0 GB of models in 1 folder"]
    assert [item.name for item in plan.items] == [NAME]


def test_a_lost_race_is_run_again_on_the_new_tip(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who holds no lock of ours, as on another machine, appends between our look and our
    move."""
    old_run(scene)
    theirs = scene.git("commit-tree", "HEAD^{tree}", "-m", "theirs\n\nLoragit-Format: 1")
    request = intake.ImportRequest(
        (str(scene.output),), None, None, os.environ, scene.dataset, tmp_path / "cache"
    )
    (item,) = intake.plan_import(request, print).items
    assert item.run
    assert item.target

    def overtaken(reached: CrashPoint) -> None:
        if (
            reached is CrashPoint.OBJECTS_WRITTEN
            and scene.git("for-each-ref", "refs/heads/runs") == ""
        ):
            scene.git("update-ref", "refs/heads/runs", theirs)

    monkeypatch.setattr(crash_points, "listener", overtaken)
    store = Store(item.target.repository, item.target.author, item.target.committer)
    (done,) = store.bring_in([item.run], STARTED)
    assert done.failure is None
    assert scene.git("rev-parse", f"{NAME}^{{commit}}", "runs~1").split() == [done.commit, theirs]
    (again,) = store.bring_in([item.run], STARTED)
    assert isinstance(again.failure, RunExists)
    assert scene.git("rev-parse", "runs") == done.commit
