"""``--script`` and ``--from-script``: a script of the user's own as the run, or behind it."""

from __future__ import annotations

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
from tests.support import trainer_files as safetensors
from tests.support.made_up_runs import NAME
from tests.support.processes import LORAGIT, commit_all, git
from tests.support.user_home import Scene, make_scene, refused, sha1, sound

TRAIN = """#!/bin/sh
# rank 8
cd "$SD_REPO" || exit 1
exec python3 ./sdxl_train_network.py --output_dir="$OUTPUT_DIR" --output_name=lamp \\
    --dataset_config="$DATASET_CONFIG" ${SAMPLE_PROMPTS:+--sample_prompts="$SAMPLE_PROMPTS"} \\
    --max_train_steps="$STEPS" --training_comment="$TRAINING_COMMENT" "$@"
"""


@pytest.fixture
def scene(home: Path) -> Scene:
    scene = make_scene(home)
    write_script(scene)
    return scene


def write_script(
    scene: Scene, text: str = TRAIN, name: str = "my lamp.sh", mode: int = 0o755
) -> Path:
    path = scene.home / "scripts" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def script_of(scene: Scene) -> str:
    return str(scene.home / "scripts" / "my lamp.sh")


# ---- --script ----


def test_a_script_of_ones_own_is_the_run(scene: Scene) -> None:
    done = scene.train(NAME, "--script", script_of(scene), "--", "--seed", "7", "a  b")
    assert done.status == 2, done.err  # the stub knows no "a  b"
    done = scene.train(NAME, "--script", script_of(scene), "--", "--seed", "7")
    assert done.status == 0, done.err
    shown = subprocess.run(
        ["git", "show", f"{NAME}:my lamp.sh"], cwd=scene.dataset, capture_output=True, check=True
    )
    assert (
        shown.stdout
        == Path(script_of(scene)).read_bytes()
        == (scene.output / NAME / "my lamp.sh").read_bytes()
    )
    assert scene.git("ls-tree", NAME, "my lamp.sh").startswith("100755 ")
    assert scene.git("ls-tree", NAME, "train.sh") == ""
    assert scene.trailers(NAME)["Script-SHA1"] == sha1(Path(script_of(scene)))
    assert scene.outcome(NAME)["Model"].startswith("lamp.safetensors ")
    assert scene.outcome(NAME)["Samples"] == "3"
    table = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))
    assert table["command"] == {
        "workdir": "~/datasets/gren",
        "argv": ["~/scripts/my lamp.sh", "--seed", "7"],
    }
    assert table["trainer"]["script"] == "~/scripts/my lamp.sh"
    assert (
        f"{sha1(Path(script_of(scene)))}  my lamp.sh\n"
        in (scene.output / NAME / "repos.git").read_text()
    )
    sound(scene)


def test_its_models_name_their_run(scene: Scene) -> None:
    assert scene.train(NAME, "--script", script_of(scene)).status == 0
    data = (scene.output / NAME / "lamp.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    commit = scene.git("rev-parse", f"{NAME}^{{commit}}")
    assert header["__metadata__"]["ss_training_comment"] == f"loragit: {NAME} {commit}"


def test_it_finds_what_it_needs_in_its_environment(scene: Scene) -> None:
    text = (
        '#!/bin/sh\nenv > "$OUTPUT_DIR/env.txt"; pwd > "$OUTPUT_DIR/pwd.txt"; echo "$0" > '
        '"$OUTPUT_DIR/zero.txt"\n'
    )
    path = write_script(scene, text + TRAIN)
    lycoris = {"LYCORIS_REPO": str(scene.trainer), "GIT_DIR": "/nowhere", "PYTHONUNBUFFERED": ""}
    own = {"LORAGIT_PATHS_PROMPTS": "", "LORAGIT_TRAINER_PYTHON": sys.executable}
    argv = (*LORAGIT, "train", NAME, "--script", "../../scripts/my lamp.sh")
    done = scene.run(argv, scene.dataset, lycoris | {"SAMPLE_PROMPTS": "mine", **own})
    assert done.status == 0, done.err
    output = scene.output / NAME
    found = dict(
        line.split("=", 1) for line in (output / "env.txt").read_text().splitlines() if "=" in line
    )
    commit = scene.git("rev-parse", f"{NAME}^{{commit}}")
    expected = {
        "NAME": NAME,
        "STEPS": "4",
        "DATASET_NAME": "gren",
        "TRAINING_DIR": str(scene.dataset),
        "OUTPUT_DIR": str(output),
        "SD_REPO": str(scene.trainer),
        "LYCORIS_REPO": str(scene.trainer),
        "DATASET_CONFIG": str(output / "config.toml"),
        "SAMPLE_PROMPTS": "",
        "TRAINING_COMMENT": f"loragit: {NAME} {commit}",
        "LORAGIT_RUN": NAME,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert not any(key.startswith("GIT_") for key in found)
    assert found["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert (output / "pwd.txt").read_text() == f"{scene.dataset}\n"
    assert (output / "zero.txt").read_text() == f"{path}\n"


def test_no_arguments_of_the_settings_reach_it(scene: Scene) -> None:
    scene.settings(
        '[trainer.args]\nnetwork_dim = 8\noutput_dir = "x"\n[trainer]\nlauncher = "nowhere '
        'launch"\n'
    )
    commit_all(scene.dataset, "settings")
    assert scene.train(NAME, "--script", script_of(scene)).status == 0
    assert tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"] == [
        "~/scripts/my lamp.sh"
    ]


def test_the_trainers_script_need_not_be_the_one_of_the_settings(scene: Scene) -> None:
    git(scene.trainer, "mv", "sdxl_train_network.py", "flux_train_network.py")
    commit_all(scene.trainer, "renamed")
    write_script(scene, TRAIN.replace("sdxl_", "flux_"))
    assert scene.train(NAME, "--script", script_of(scene)).status == 0


def test_a_script_that_makes_nothing_is_reverted_with_its_status(scene: Scene) -> None:
    write_script(scene, "#!/bin/sh\necho why not >&2\nexit 5\n")
    done = scene.train(NAME, "--script", script_of(scene))
    assert done.status == 5
    message = scene.git("log", "-1", "--format=%B", "runs")
    assert "exit status 5 and made nothing" in message
    assert "    why not" in message
    assert not (scene.output / NAME).exists()
    sound(scene)


def test_what_it_makes_counts_whatever_it_is_called(scene: Scene) -> None:
    png = '"$OUTPUT_DIR/sample/e000001_00_20261123164834.png"'
    write_script(
        scene, f'#!/bin/sh\nmkdir "$OUTPUT_DIR/sample" "$OUTPUT_DIR/empty-state"; echo > {png}\n'
    )
    assert scene.train(NAME, "--script", script_of(scene)).status == 0
    assert scene.outcome(NAME)["Samples"] == "1"
    write_script(
        scene,
        '#!/bin/sh\nmkdir "$OUTPUT_DIR/b-000002-state"; echo > "$OUTPUT_DIR/b-000002-state/x"\n',
    )
    assert scene.train("noob-gren-v2s4", "--script", script_of(scene)).status == 0
    assert scene.outcome("noob-gren-v2s4")["State"] == "b-000002-state"


def test_what_any_trainer_makes_is_found(scene: Scene) -> None:
    model = "tests.safetensors"
    safetensors.write_safetensors(scene.home / model, {"a": b"\1\2\3\4"}, {"format": "pt"})
    write_script(
        scene,
        '#!/bin/sh\ncd "$OUTPUT_DIR" && mkdir -p checkpoint-2 checkpoint-4 validation_images\n'
        "for each in checkpoint-2 checkpoint-4 .; do\n"
        f'cp "$HOME/{model}" "$each/pytorch_lora_weights.safetensors"; done\n'
        "touch checkpoint-2/optimizer.bin checkpoint-4/optimizer.bin optimizer.pt\n"
        "touch validation_images/step_4_fox_0_8x8.webp validation_images/fox.mp4 readme.md\n",
    )
    done = scene.train(NAME, "--script", script_of(scene))
    assert done.status == 0, done.err
    assert f"sealed {NAME}: 3 models, 2 states, 2 samples, " in done.err
    lines = scene.git("for-each-ref", "--format=%(contents)", f"refs/tags/{NAME}").splitlines()
    models = [line.split()[1:2] + line.split()[6:] for line in lines if line.startswith("Model: ")]
    assert models == [
        ["checkpoint-2/pytorch_lora_weights.safetensors", "step:2"],
        ["checkpoint-4/pytorch_lora_weights.safetensors", "step:4"],
        ["pytorch_lora_weights.safetensors"],
    ]
    assert [line for line in lines if line.startswith("State: ")] == [
        "State: checkpoint-2",
        "State: checkpoint-4",
    ]
    assert "Other-Files: 4" in lines
    copy = scene.home / "copy.safetensors"
    copy.write_bytes((scene.home / model).read_bytes())
    assert NAME in scene.loragit("whence", str(copy)).out
    assert scene.loragit("verify").status == 0
    sound(scene)


@pytest.mark.parametrize("status", [0, 3])
def test_a_script_that_made_files_is_never_reverted(scene: Scene, status: int) -> None:
    write_script(
        scene,
        '#!/bin/sh\nmkdir -p "$OUTPUT_DIR/a/b" && echo > "$OUTPUT_DIR/a/b/metrics.json"\n'
        f'echo > "$OUTPUT_DIR/chart.png"\nexit {status}\n',
    )
    done = scene.train(NAME, "--script", script_of(scene))
    assert done.status == status
    assert f"sealed {NAME}: 2 other files, 0 samples, " in done.err
    assert scene.outcome(NAME)["Other-Files"] == "2"
    assert (scene.output / NAME / "a" / "b" / "metrics.json").is_file()
    assert "2 other files" in scene.loragit("log").out
    assert json.loads(scene.loragit("log", "--json").out)[0]["other_file_count"] == 2
    assert "2 other files" in scene.loragit("show", NAME).out


def test_a_model_that_a_script_left_cut_short_is_not_nothing(scene: Scene) -> None:
    write_script(scene, '#!/bin/sh\necho > "$OUTPUT_DIR/a.safetensors"\nexit 1\n')
    done = scene.train(NAME, "--script", script_of(scene))
    assert done.status == 1
    assert f"sealed {NAME}: 1 cut short, 0 samples, " in done.err
    assert scene.outcome(NAME)["Truncated"] == "a.safetensors"


def test_events_in_the_output_folder_tell_the_final_loss(scene: Scene) -> None:
    write_script(scene, TRAIN.replace('"$@"', '--logging_dir="$OUTPUT_DIR/logs" "$@" 2>/dev/null'))
    assert scene.train(NAME, "--script", script_of(scene)).status == 0
    assert scene.outcome(NAME)["Final-Loss"] == "0.125"


def test_a_script_that_is_edited_while_it_runs_is_told(scene: Scene) -> None:
    write_script(scene, TRAIN.replace("# rank 8", 'echo "# more" >> "$0"'))
    before = Path(script_of(scene)).read_text()
    done = scene.train(NAME, "--script", script_of(scene))
    assert done.status == 0, done.err
    assert (
        f"{script_of(scene)} was edited while it ran: on record is what it was at the start"
        in done.err
    )
    assert scene.git("show", f"{NAME}:my lamp.sh") + "\n" == before
    write_script(scene, TRAIN.replace("# rank 8", 'rm "$0"'))
    assert (
        "cannot be read any more (No such file"
        in scene.train("noob-gren-v2s4", "--script", script_of(scene)).err
    )


def test_the_file_behind_a_link_gives_its_name(scene: Scene) -> None:
    (scene.home / "current").symlink_to(script_of(scene))
    done = scene.train(NAME, "--script", str(scene.home / "current"))
    assert done.status == 0, done.err
    assert "my lamp.sh" in scene.git("ls-tree", "--name-only", NAME).splitlines()
    assert tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"] == ["~/current"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("config.toml", "script-config.toml"),
        ("Run.toml", "script-Run.toml"),
        ("captions", "script-captions"),
        (".gitignore", "script-.gitignore"),
        ("sdscripts.log", "script-sdscripts.log"),
        ("train.sh", "train.sh"),
        ("two\nlines", "two_lines"),
        (".hidden", ".hidden"),
    ],
)
def test_a_name_that_the_record_uses_gets_another_place(
    scene: Scene, name: str, place: str
) -> None:
    write_script(scene, name=name)
    done = scene.train(NAME, "--script", str(scene.home / "scripts" / name), "--dry-run")
    assert done.status == 0, done.err
    assert any(line.endswith(f" bytes  {place}") for line in done.out.splitlines()), done.out
    assert not scene.output.exists()


def test_a_dry_run_shows_the_script(scene: Scene) -> None:
    done = scene.train(NAME, "--script", script_of(scene), "--dry-run")
    assert done.status == 0, done.err
    assert done.out.endswith(TRAIN)
    assert scene.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        (None, 0, ("there is no script", "mend its path")),
        (TRAIN, 0o644, ("is not executable", "chmod +x '")),
        ("echo hello\n", 0o755, ("does not say what runs it", "#!/usr/bin/env bash")),
        ("#!\n", 0o755, ("names what is not there: nothing", "install that")),
        (
            "#!/nowhere/zsh -f\n",
            0o755,
            ("names what is not there: /nowhere/zsh -f", "install that"),
        ),
        (
            "#!/usr/bin/env -S FOO=1 no-such-shell\n",
            0o755,
            ("names what is not there: /usr/bin/env", "install that"),
        ),
        ("#!/usr/bin/env\n", 0o755, ("names what is not there: /usr/bin/env", "install that")),
        ("#!/bin/sh\r\necho\r\n", 0o755, ("has a Windows line ending", "sed -i")),
    ],
)
def test_a_script_that_cannot_run_is_refused(
    scene: Scene, text: str | None, mode: int, told: tuple[str, ...]
) -> None:
    Path(script_of(scene)).unlink()
    if text is not None:
        write_script(scene, text, mode=mode)
    (scene.dataset / "sample-prompts.txt").unlink()
    refused(scene, "2 problems found", *told, args=("--script", script_of(scene)))


@pytest.mark.usefixtures("modes_count")
def test_a_script_that_may_not_be_read_is_refused(scene: Scene) -> None:
    write_script(scene, mode=0o333)
    refused(scene, "cannot be read: Permission denied", args=("--script", script_of(scene)))


def test_a_program_need_not_be_a_script(scene: Scene) -> None:
    program = scene.home / "true"
    program.symlink_to("/bin/true")
    done = scene.train(NAME, "--script", str(program), "--dry-run")
    assert "  - " not in done.err, done.err


def test_a_trainer_repository_that_is_missing_is_told(scene: Scene) -> None:
    scene.trainer.rename(scene.home / "moved")
    refused(
        scene,
        "there is no trainer repository",
        "set trainer.repo",
        args=("--script", script_of(scene)),
    )


def test_a_repository_of_another_trainer_is_named_by_its_own_name(scene: Scene) -> None:
    toolkit = scene.trainer.rename(scene.home / "ai-toolkit")
    shutil.rmtree(toolkit / "library")
    commit_all(toolkit, "no sd-scripts")
    (toolkit / "notes.py").write_text("# not committed\n")
    scene.settings(f'[trainer]\nrepo = "{toolkit}"\n[record]\nrepos = ["{toolkit}"]\n')
    refused(scene, f"ai-toolkit at {toolkit} is dirty", args=("--script", script_of(scene)))
    done = scene.train(NAME, "--script", script_of(scene), "--allow-dirty")
    assert done.status == 0, done.err
    head = git(toolkit, "rev-parse", "HEAD")
    message = scene.git("log", "-1", "--format=%B", NAME)
    assert f"\nai-toolkit {head[:8]} (sd3, 1 file changed)\n" in message
    assert "sd-scripts" not in message
    assert scene.trailers(NAME)["Trainer-Commit"] == head
    assert "Repository" not in scene.trailers(NAME)
    assert "patches/ai-toolkit.patch" in scene.git("ls-tree", "-r", "--name-only", NAME)
    table = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["trainer"]
    assert (table["name"], table["kind"]) == ("ai-toolkit", "sd-scripts")
    assert f"ai-toolkit {head}" in scene.loragit("show", NAME).out
    assert "ai-toolkit" in scene.loragit("status").out
    assert f"ai-toolkit at {toolkit} is dirty" in scene.loragit("doctor").out


def test_a_trainer_inside_a_repository_of_ones_own_keeps_its_name(
    scene: Scene,
) -> None:
    lab = scene.home / "lab"
    lab.mkdir()
    git(lab, "init", "-q", "-b", "main")
    scene.trainer.rename(lab / "sd-scripts")
    shutil.rmtree(lab / "sd-scripts" / ".git")
    commit_all(lab, "with its trainer")
    scene.settings(f'[trainer]\nrepo = "{lab}/sd-scripts"\n')
    done = scene.train(NAME, "--script", script_of(scene))
    assert done.status == 0, done.err
    assert "\nsd-scripts " in scene.git("log", "-1", "--format=%B", NAME)
    assert "name" not in tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["trainer"]


def test_two_repositories_called_lycoris_have_a_patch_each(scene: Scene) -> None:
    other = scene.trainer.rename(scene.home / "LyCORIS")
    shutil.rmtree(other / "library")
    commit_all(other, "no sd-scripts")
    scene.settings(f'[trainer]\nrepo = "{other}"\n')
    assert scene.train(NAME, "--script", script_of(scene)).status == 0
    assert tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["trainer"]["name"] == "LyCORIS-2"


def test_a_dirty_trainer_is_refused_here_too(scene: Scene) -> None:
    (scene.trainer / "trainer_files.py").write_text("# edited\n")
    refused(scene, "is dirty: trainer_files.py", args=("--script", script_of(scene)))


def test_secrets_in_a_script_are_refused_and_in_its_arguments_masked(scene: Scene) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    done = scene.train(NAME, "--script", script_of(scene), "--", "--wandb_api_key", key)
    assert done.status == 0, done.err
    assert f"wandb key {key}" in done.out
    assert key not in scene.git("log", "-p", "--format=%B", "runs") + scene.git("show", NAME)
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    assert argv[1:] == ["--wandb_api_key", "***"]
    assert "wandb key ***" in (scene.output / NAME / "sdscripts.log").read_text()
    write_script(scene, f"#!/bin/sh\nexport WANDB_API_KEY={key}\n" + TRAIN)
    done = scene.train("noob-gren-v2s4", "--script", script_of(scene))
    assert done.status == 1
    assert "my lamp.sh, line 2, holds what looks like a secret" in done.err
    assert not (scene.output / "noob-gren-v2s4").exists()


@pytest.mark.parametrize("other", ["--trainer-script", "--from-script"])
def test_options_that_say_different_things_are_refused(scene: Scene, other: str) -> None:
    args = ("--script", script_of(scene), other, script_of(scene))
    refused(scene, f"--script and {other} cannot both be given", "says all of what runs", args=args)


def test_a_run_inside_a_run_is_refused(scene: Scene) -> None:
    write_script(scene, f"#!/bin/sh\nexec {sys.executable} -m loragit train noob-gren-v2s4\n")
    done = scene.train(NAME, "--script", script_of(scene))
    assert done.status == 1
    assert f"this is started by the run {NAME}, and would record it twice" in done.err
    assert "let the script start the trainer itself" in done.err
    assert scene.git("rev-list", "--count", "runs") == "2"
    assert scene.tags() == []


def test_an_interrupted_script_leaves_nothing_running_and_is_sealed(
    scene: Scene, tmp_path: Path
) -> None:
    write_script(scene, TRAIN.replace("exec ", ""))
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    fifo = os.open(ready, os.O_RDWR)
    child = subprocess.Popen(
        [*LORAGIT, "train", NAME, "--script", script_of(scene)],
        cwd=scene.dataset,
        env={**os.environ, "STUB": "wait", "STUB_READY": str(ready)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert select.select([fifo], [], [], 60)[0], "the trainer never began"
    trainer = int(os.read(fifo, 64))
    os.close(fifo)
    child.send_signal(signal.SIGTERM)
    assert child.wait() == 143
    assert not alive.exists(trainer)
    assert scene.outcome(NAME)["Interrupted-By"] == "SIGTERM"
    assert scene.outcome(NAME)["Model"].startswith("lamp-step00000002.safetensors ")


# ---- without a dataset config ----

DIFFUSERS = """#!/bin/sh
[ -z "$DATASET_CONFIG" ] && [ -z "$SAMPLE_PROMPTS" ] || exit 9
echo > "$OUTPUT_DIR/pytorch_lora_weights.bin"
"""


def without_config(scene: Scene) -> None:
    write_script(scene, DIFFUSERS)
    (scene.dataset / "config.toml").unlink()
    (scene.dataset / "sample-prompts.txt").unlink()
    commit_all(scene.dataset, "for another trainer")


def test_folders_can_be_named_in_place_of_a_dataset_config(scene: Scene) -> None:
    without_config(scene)
    other = scene.home / "more pictures"
    other.mkdir()
    (other / "fox.mp4").write_text("moves")
    (other / "fox.txt").write_text("a fox")
    folders = ("--dataset-folder", "img", "--dataset-folder", str(other))
    done = scene.train(NAME, "--script", script_of(scene), *folders)
    assert done.status == 0, done.err
    tree = scene.git("ls-tree", "-r", "--name-only", NAME).splitlines()
    assert "captions/img/00.txt" in tree
    assert "captions/outside/more pictures/fox.txt" in tree
    assert not any(path.startswith(("config", "sample-prompts")) for path in tree)
    digest = scene.git("show", f"{NAME}:dataset.sha256")
    assert digest.count("\n") + 1 == 4 + 4 + 2
    assert "../../more pictures/fox.mp4" in digest
    table = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))
    assert (table["dataset"]["images"], table["dataset"]["captions"]) == (5, 5)
    assert "Config-SHA1" not in scene.trailers(NAME)
    assert scene.loragit("show", NAME).status == scene.loragit("verify").status == 0
    # The same folders again are stored once.
    assert scene.train("noob-gren-v2s4", "--script", script_of(scene), *folders).status == 0
    assert scene.git("rev-parse", f"{NAME}:captions") == scene.git(
        "rev-parse", "noob-gren-v2s4:captions"
    )
    sound(scene)


def test_a_caption_that_the_configured_trainer_cannot_read_stops_nobody_else(
    scene: Scene,
) -> None:
    without_config(scene)
    (scene.dataset / "img" / "00.txt").write_bytes("füchsin".encode("latin-1"))
    done = scene.train(NAME, "--script", script_of(scene), "--dataset-folder", "img")
    assert done.status == 0, done.err
    assert "warning: 1 caption in " in done.err


def test_without_any_dataset_what_is_not_on_record_is_told(scene: Scene) -> None:
    without_config(scene)
    (scene.dataset / "list.json").write_text("{}")
    scene.settings('[record]\ninputs = ["list.json"]\n')
    commit_all(scene.dataset, "a list")
    done = scene.train(NAME, "--script", script_of(scene), "--no-dataset-config")
    assert done.status == 0, done.err
    assert "nothing of the dataset is on record but what record.inputs names" in done.err
    tree = scene.git("ls-tree", "-r", "--name-only", NAME).splitlines()
    assert "inputs/list.json" in tree
    assert not any(path.startswith("captions/") for path in tree)
    assert scene.git("show", f"{NAME}:dataset.sha256") == ""
    assert scene.loragit("show", NAME).status == scene.loragit("verify").status == 0
    sound(scene)


def test_a_dataset_config_that_is_there_is_not_read(scene: Scene) -> None:
    write_script(scene, DIFFUSERS.replace(' && [ -z "$SAMPLE_PROMPTS" ]', ""))
    (scene.dataset / "config.toml").write_text("no TOML")
    done = scene.train(NAME, "--script", script_of(scene), "--no-dataset-config")
    assert done.status == 0, done.err
    tree = scene.git("ls-tree", "-r", "--name-only", NAME).splitlines()
    assert "config.toml" not in tree
    assert "sample-prompts.txt" in tree


def test_a_dataset_folder_that_is_missing_is_told(scene: Scene) -> None:
    refused(
        scene,
        "cannot read /nowhere (No such file",
        "mend --dataset-folder",
        args=("--script", script_of(scene), "--dataset-folder", "/nowhere"),
    )


@pytest.mark.parametrize("option", [("--dataset-folder", "img"), ("--no-dataset-config",)])
def test_the_dataset_of_the_trainers_own_script_is_its_arguments(
    scene: Scene, option: tuple[str, ...]
) -> None:
    refused(
        scene,
        f"{option[0]} is only for --script",
        "the trainer's own arguments say what it trains on",
        args=option,
    )


# ---- --from-script ----


def test_the_script_behind_a_run_is_recorded_in_place_of_ours(scene: Scene) -> None:
    write_script(scene, "#!/usr/bin/env zsh\n# mine\n", name="night.zsh", mode=0o644)
    done = scene.train(NAME, "--from-script", "../../scripts/night.zsh", "--", "--seed", "7")
    assert done.status == 0, done.err
    names = scene.git("ls-tree", "--name-only", NAME).splitlines()
    assert "night.zsh" in names
    assert "train.sh" not in names
    assert scene.git("ls-tree", NAME, "night.zsh").startswith("100644 ")
    assert scene.git("show", f"{NAME}:night.zsh") == "#!/usr/bin/env zsh\n# mine"
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    assert argv[2:4] == ["--seed", "7"]
    assert scene.outcome(NAME)["Model"].startswith(f"{NAME}.safetensors ")


def test_the_script_behind_a_run_must_be_there(scene: Scene) -> None:
    refused(scene, "there is no script", "mend its path", args=("--from-script", "/nowhere.sh"))


def test_a_trainer_script_that_is_missing_is_told(scene: Scene) -> None:
    refused(
        scene,
        "there is no trainer script /nowhere.py",
        "mend its path",
        args=("--trainer-script", "/nowhere.py"),
    )
