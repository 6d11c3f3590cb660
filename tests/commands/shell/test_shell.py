"""The functions of ``loragit zsh`` and ``loragit bash``, in whole training scripts under the real
shells."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.processes import LORAGIT, commit_all, git
from tests.support.shell_scripts import (
    BODY,
    HEAD,
    NAME,
    SCRIPT,
    SHELLS,
    SOURCE,
    need,
    on_path,
    run,
    run_code,
    write,
)
from tests.support.user_home import Scene, make_scene, make_trainer, sound, write_dataset

pytestmark = pytest.mark.measures_children

TRAIN = 'run_training_script "$HOME/source/repos/sd-scripts/sdxl_train_network.py"'
FUNCTIONS = {
    "setup_training_vars",
    "setup_conda_env",
    "get_lycoris_repo",
    "store_commits_hashes",
    "run_training_script",
    "cleanup_empty_output",
}


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    need(name)
    return name


def argv_of(scene: Scene, name: str = NAME) -> list[str]:
    argv = tomllib.loads(scene.git("show", f"{name}:run.toml"))["command"]["argv"]
    return [str(word) for word in argv]


def nothing_written(scene: Scene) -> None:
    assert scene.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not scene.output.exists()


# ---- whole scripts ----


def test_a_script_trains_on_record_and_is_its_own_record(scene: Scene, shell: str) -> None:
    script = write(scene, shell)
    done = run(scene, str(script), "--learning_rate", "5e-5")
    assert done.status == 0, done.err
    head = git(scene.trainer, "rev-parse", "--short=8", "HEAD")
    told = done.out.splitlines()
    assert told[:2] == [
        (
            f"output_name: {NAME}, steps: 4, training_dir: {scene.dataset}, output_dir: "
            f"{scene.output / NAME}"
        ),
        f"sd-scripts: {scene.trainer} {head} (sd3)",
    ]
    assert told[-1] == "after: 0"
    assert f"sealed {NAME}: 2 models, 3 samples" in done.err
    shown = subprocess.run(
        ["git", "show", f"{NAME}:night.sh"], cwd=scene.dataset, capture_output=True, check=True
    )
    assert shown.stdout == script.read_bytes()
    assert scene.git("ls-tree", NAME, "night.sh").startswith("100755 ")
    assert scene.git("ls-tree", NAME, "train.sh") == ""
    argv = argv_of(scene)
    assert argv[1] == "~/source/repos/sd-scripts/sdxl_train_network.py"
    assert argv[argv.index("--learning_rate") + 1] == "5e-5"
    assert argv[argv.index("--dataset_config") + 1] == f"~/output_dir/{NAME}/config.toml"
    assert scene.git("log", "-1", "--format=%(trailers:key=Repository,valueonly)", NAME) == ""
    assert scene.outcome(NAME)["Final-Loss"] == "0.125"
    sound(scene)


def test_what_is_set_already_stays(scene: Scene, shell: str) -> None:
    other = write_dataset(scene.home / "my pictures")
    git(other, "init", "-q")
    commit_all(other, "four drawings")
    own = "TRAINING_DIR='my pictures'\nOUTPUT_DIR=\"$HOME/my runs\"\nSTEPS=3\n"
    script = write(scene, shell, HEAD + own + SOURCE + BODY, name="evening")
    done = run(scene, str(script))
    assert done.status == 0, done.err
    output = scene.home / "my runs" / "evening"
    assert done.out.startswith(
        f"output_name: evening, steps: 3, training_dir: {other}, output_dir: {output}\n"
    )
    assert (output / "evening.safetensors").is_file()
    assert git(other, "log", "-1", "--format=%s", "runs") == "evening: my pictures, 3 steps"


def test_a_folder_that_the_dataset_chose_is_shown_and_not_obeyed(scene: Scene, shell: str) -> None:
    scene.settings('[paths]\noutput = "/nowhere\\u001b[31m"\n')
    said = scene.loragit("shell", "variables", NAME).out
    done = subprocess.run(
        [shell, "-c", f'{said}printf %s "$OUTPUT_DIR"'], capture_output=True, text=True, check=True
    )
    told, folder = done.stdout.splitlines()
    assert told.endswith(f"output_dir: /nowhere\\x1b[31m/{NAME}")
    assert folder == "/nowhere\x1b[31m"


def test_variables_of_the_environment_count_as_well(scene: Scene, shell: str) -> None:
    done = run(
        scene,
        str(write(scene, shell)),
        STEPS="2",
        OUTPUT_DIR=str(scene.home / "runs"),
        DATASET_NAME="gren",
    )
    assert done.status == 0, done.err
    assert argv_of(scene)[-3] == "2"
    assert (scene.home / "runs" / NAME / f"{NAME}.safetensors").is_file()


def test_settings_say_where_datasets_and_outputs_are(scene: Scene, shell: str) -> None:
    scene.settings('[paths]\noutput = "~/from settings"\n[record]\non_empty = "keep"\n')
    commit_all(scene.dataset, "settings")
    scene.dataset.parent.rename(scene.home / "sets")
    config = scene.home / "sets" / "gren" / "config.toml"
    config.write_text(config.read_text().replace("/datasets/", "/sets/"))
    done = run(
        scene,
        str(write(scene, shell)),
        LORAGIT_PATHS_DATASETS=str(scene.home / "sets"),
        STUB="nothing",
    )
    assert (scene.home / "from settings" / NAME / "sdscripts.log").is_file(), done.err


@pytest.mark.parametrize("how", ["fail", "late-fail", "nothing", "kill"])
def test_the_trainers_status_is_the_scripts(scene: Scene, shell: str, how: str) -> None:
    done = run(scene, str(write(scene, shell)), STUB=how)
    assert done.status == {"kill": 137}.get(how, 1), done.err
    assert "after:" not in done.out
    assert scene.tags() == ([NAME] if how == "late-fail" else [])
    assert (scene.output / NAME).exists() == (how == "late-fail")
    sound(scene)


def test_the_status_is_returned_to_a_script_that_asks(scene: Scene, shell: str) -> None:
    text = SCRIPT.replace('"${args[@]}"\n', '"${args[@]}" || echo "failed: $?"\n')
    done = run(scene, str(write(scene, shell, text)), STUB="kill")
    assert done.status == 0
    assert done.out.splitlines()[-2:] == ["failed: 137", "after: 0"]


def test_no_clean_undoes_nothing(scene: Scene, shell: str) -> None:
    script = write(scene, shell, HEAD + "NO_CLEAN=1\n" + SOURCE + BODY)
    assert run(scene, str(script), STUB="fail").status == 1
    assert scene.outcome(NAME)["Exit-Status"] == "1"
    assert (scene.output / NAME / "sdscripts.log").is_file()


def test_debug_tells_more_and_trains_all_the_same(scene: Scene, shell: str) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    script = write(scene, shell, HEAD + "DEBUG=1\n" + SOURCE + BODY)
    done = run(scene, str(script), "--wandb_api_key", key)
    assert done.status == 0, done.err
    assert f"loragit: working directory: {scene.trainer}\n" in done.err
    assert "--wandb_api_key ***" in done.err
    assert key not in done.err
    assert f"loragit: cleanup: {scene.output / NAME} stays\n" in done.err
    assert "cleanup" not in run(scene, str(script), DEBUG="").err


# ---- whatever the shell is like ----

ODD = {
    "bash": "set -u -f\nIFS=e\nshopt -s expand_aliases nullglob failglob extglob\nset -o posix +o "
    "posix\n",
    "zsh": "setopt no_unset sh_word_split ksh_arrays warn_create_global glob_subst "
    "no_function_argzero posix_builtins\n"
    "chpwd() { echo went; }\n",
}
ALIASES = "".join(
    f"alias {word}='echo aliased'\n"
    for word in (
        "cd",
        "local",
        "printf",
        "trap",
        "wait",
        "kill",
        "exec",
        "export",
        "python",
        "git",
        "case",
        "shift",
        "return",
    )
)


def test_odd_options_and_aliases_change_nothing(scene: Scene, shell: str) -> None:
    unalias = "unalias -a\n" if shell == "bash" else "unalias -m '*'\n"
    odd = ODD[shell] + "CDPATH=/:/tmp\nexport CDPATH\n" + ALIASES + SOURCE + unalias
    done = run(scene, str(write(scene, shell, HEAD + odd + BODY.replace("$STEPS", '"$STEPS"'))))
    assert done.status == 0, done.err
    assert "aliased" not in done.out + done.err
    assert "went" not in done.out
    assert scene.tags() == [NAME]


def test_aliases_and_options_are_as_before_afterwards(scene: Scene, shell: str) -> None:
    setup = "shopt -s expand_aliases\n" if shell == "bash" else ""
    code = f"#!/usr/bin/env {shell}\n{setup}before=$-\nalias yes='echo still'\n{SOURCE}yes\n"
    code += '[ "$before" = "$-" ] && echo same\n'
    assert run(scene, str(write(scene, shell, code))).out == "still\nsame\n"


def test_the_functions_are_all_that_a_script_gets(scene: Scene, shell: str) -> None:
    listing = {
        "bash": "compgen -A function; compgen -v",
        "zsh": "print -l ${(k)functions} ${(k)parameters}",
    }[shell]
    listing = listing.replace("{", "{{").replace("}", "}}")
    code = (
        f"#!/usr/bin/env {shell}\nset -euo pipefail\nbefore=$({listing})\n{SOURCE}echo "
        f'"$before"\necho =\n{listing}\n'
    )
    before, after = run(scene, str(write(scene, shell, code))).out.split("\n=\n")
    new = set(after.split()) - set(before.split())
    own = {name for name in new if name.startswith("_loragit")}
    # What shells set themselves as they go.
    assert (
        new - own - FUNCTIONS - {"before", "_", "BASH_REMATCH", "?", "!", "LINENO", "PIPESTATUS"}
        == set()
    )
    assert new >= FUNCTIONS


@pytest.mark.parametrize(
    "line", ['eval "$(loragit {shell})"\n', 'source /dev/stdin <<<"$(loragit {shell})"\n']
)
def test_the_functions_can_be_read_in_other_ways(scene: Scene, shell: str, line: str) -> None:
    done = run(scene, str(write(scene, shell, HEAD + line + BODY)))
    assert done.status == 0, done.err
    assert "night.sh" in scene.git("ls-tree", "--name-only", NAME).splitlines()


def test_loragit_is_found_whatever_becomes_of_path(scene: Scene, shell: str) -> None:
    bare = scene.home / "bare"
    bare.mkdir()
    (bare / "git").symlink_to(shutil.which("git") or "")
    (bare / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (bare / "python3").chmod(0o755)
    done = run(scene, str(write(scene, shell, HEAD + SOURCE + f'PATH="{bare}"\n' + BODY)))
    assert done.status == 0, done.err


# ---- which file the script is ----


def recorded_script(scene: Scene, *names: str) -> None:
    """Exactly one of the run's files is ``names``' first, and its text is a script's."""
    files = scene.git("ls-tree", "--name-only", NAME).splitlines()
    assert names[0] in files, files
    assert ("train.sh" in files) == (names[0] == "train.sh")


@pytest.mark.parametrize("place", ["scripts/night.sh", "my scripts/for the night.sh"])
def test_a_script_is_found_by_a_relative_path(scene: Scene, shell: str, place: str) -> None:
    write(scene, shell, place=place)
    done = run(scene, f"./{place}")
    assert done.status == 0, done.err
    recorded_script(scene, Path(place).name)


def test_a_script_is_found_when_its_shell_is_called(scene: Scene, shell: str) -> None:
    write(scene, shell)
    assert scene.run((shell, "night.sh"), scene.home / "scripts", on_path(scene)).status == 0
    recorded_script(scene, "night.sh")


@pytest.mark.parametrize("before", [True, False])
def test_a_script_is_found_though_it_has_gone_elsewhere(
    scene: Scene, shell: str, before: bool
) -> None:
    go = 'cd /\ncd "$HOME/datasets"\n'
    decoy = scene.home / "datasets" / "scripts" / "night.sh"
    decoy.parent.mkdir()
    decoy.write_text("another\n")
    write(scene, shell, HEAD + (go + SOURCE if before else SOURCE + go) + BODY)
    done = run(scene, "scripts/night.sh")
    assert done.status == 0, done.err
    recorded_script(scene, "night.sh")
    assert "run_training_script" in scene.git("show", f"{NAME}:night.sh")


def test_a_script_is_found_through_a_link(scene: Scene, shell: str) -> None:
    script = write(scene, shell)
    (scene.home / "current").symlink_to(script)
    done = run(scene, "./current")
    assert done.status == 0, done.err
    recorded_script(scene, "night.sh")


def test_a_script_whose_file_is_gone_is_told_and_trains(scene: Scene, shell: str) -> None:
    script = write(scene, shell, HEAD + 'rm "$0"\n' + SOURCE + BODY)
    done = run(scene, str(script))
    assert done.status == 0, done.err
    assert (
        f"warning: the script {script} was not found, and train.sh is recorded in its place"
        in done.err
    )
    recorded_script(scene, "train.sh")


def test_without_a_file_there_is_our_own_script(scene: Scene, shell: str) -> None:
    text = write(scene, shell).read_text()
    done = run(scene, shell, "-c", text)
    assert done.status == 0, done.err
    recorded_script(scene, "train.sh")
    scene.git("tag", "-d", NAME)
    shutil.rmtree(scene.output)
    done_by_stdin = subprocess.run(
        [shell],
        input=text,
        cwd=scene.home,
        env={**os.environ, **on_path(scene)},
        capture_output=True,
        text=True,
    )
    assert done_by_stdin.returncode == 0, done_by_stdin.stderr
    recorded_script(scene, "train.sh")


# ---- each function alone ----


def test_a_name_that_cannot_be_ends_a_script(scene: Scene, shell: str) -> None:
    for name, told in (("", "it is empty"), ("../x", "it holds '/'"), ("evening", "no dataset")):
        done = run_code(scene, shell, f"setup_training_vars '{name}'\necho went on\n")
        assert (done.status, done.out) == (1, "")
        assert (
            told in done.err
            or "names no dataset" in done.err
            or "has no number of steps" in done.err
        )
        assert "hint: " in done.err
    nothing_written(scene)


def test_an_interactive_shell_stays_open(scene: Scene, shell: str) -> None:
    plain = ("-f",) if shell == "zsh" else ("--norc",)
    code = f'eval "$(loragit {shell})"; setup_training_vars ""; echo "alive $?"; '
    code += 'NAME=; run_training_script x; echo "and $?"'
    done = run(scene, shell, *plain, "-i", "-c", code)
    assert done.out == "alive 1\nand 1\n"
    assert "it is empty" in done.err


def test_an_interactive_shell_trains_in_the_foreground(scene: Scene, shell: str) -> None:
    plain = ("-f",) if shell == "zsh" else ("--norc",)
    code = f'eval "$(loragit {shell})"; setup_training_vars {NAME}; {TRAIN}; echo "status $?"'
    done = run(scene, shell, *plain, "-i", "-c", code)
    assert done.out.endswith("status 0\n"), done.err
    recorded_script(scene, "train.sh")


def test_a_dataset_that_is_missing_ends_a_script(scene: Scene, shell: str) -> None:
    done = run_code(
        scene, shell, f"TRAINING_DIR=/nowhere\nsetup_training_vars {NAME}\necho went on\n"
    )
    assert (done.status, done.out) == (1, "")
    assert "TRAINING_DIR: there is no folder /nowhere" in done.err
    assert "set TRAINING_DIR in the script: the dataset's folder" in done.err
    done = run_code(scene, shell, "setup_training_vars noob-nobody-v1s4\n")
    assert "no dataset for noob-nobody-v1s4" in done.err
    (scene.home / "datasets" / "noob-gren").mkdir()
    assert "means several datasets" in run_code(scene, shell, f"setup_training_vars {NAME}\n").err
    done = run_code(
        scene, shell, f'DATASET_NAME=gren\nsetup_training_vars {NAME}\necho "$TRAINING_DIR"\n'
    )
    assert done.out.endswith(f"{scene.dataset}\n")


def test_an_output_folder_that_exists_ends_a_script_and_stays(scene: Scene, shell: str) -> None:
    (scene.output / NAME).mkdir(parents=True)
    done = run(
        scene,
        str(
            write(
                scene,
                shell,
                SCRIPT.replace("trap", "#").replace(
                    "setup_tr", "trap cleanup_empty_output EXIT\nsetup_tr", 1
                ),
            )
        ),
    )
    assert (done.status, done.out) == (1, "")
    assert f"the output folder {scene.output / NAME} exists already" in done.err
    assert "give the run another version" in done.err
    assert list((scene.output / NAME).iterdir()) == []


def test_the_helpers_reading_of_a_name_is_tried_first(scene: Scene, shell: str) -> None:
    (scene.home / "datasets" / "gren").rename(scene.home / "datasets" / "noob-gren")
    done = run_code(scene, shell, f'setup_training_vars {NAME}\necho "$DATASET_NAME $NAME"\n')
    assert done.out.endswith(f"noob-gren {NAME}\n")


def test_nothing_is_exported_and_a_name_of_the_machine_is_replaced(
    scene: Scene, shell: str
) -> None:
    # WSL puts the machine's name into NAME.
    code = f'setup_training_vars {NAME}\necho "$NAME"\nsh -c \'echo "${{STEPS-unset}}"\'\n'
    assert run_code(scene, shell, code, NAME="MACHINE").out.splitlines()[1:] == [NAME, "unset"]


def test_training_needs_a_name_and_a_script(scene: Scene, shell: str) -> None:
    trainer = f"{scene.trainer}/sdxl_train_network.py"
    for code, told in (
        (f"run_training_script {trainer}", "NAME holds no run's name: ''"),
        (f"NAME=--help\nrun_training_script {trainer}", "NAME holds no run's name: '--help'"),
        (f"NAME={NAME}\nrun_training_script", "run_training_script was given no script"),
        (f"NAME={NAME}\nrun_training_script /nowhere.py", "there is no trainer script /nowhere.py"),
    ):
        done = run_code(scene, shell, f"set -u\n{code} || echo $?\n")
        assert done.out == "1\n"
        assert told in done.err
        nothing_written(scene)


def test_a_trainer_may_be_named_by_a_relative_path_and_runs_in_its_folder(
    scene: Scene, shell: str
) -> None:
    mine = make_trainer(scene.home / "my trainers")
    scene.settings('[trainer]\nworkdir = "dataset"\n')
    commit_all(scene.dataset, "settings")
    code = (
        f'cd "$HOME"\nsetup_training_vars {NAME}\nrun_training_script "my '
        'trainers/sdxl_train_network.py" --seed 7\n'
    )
    done = run_code(scene, shell, code, STUB="environment")
    assert done.status == 0, done.err
    assert (scene.output / NAME / "cwd.txt").read_text() == str(mine)
    assert scene.trailers(NAME)["Trainer-Commit"] == git(mine, "rev-parse", "HEAD")


def test_an_output_folder_among_the_arguments_counts(scene: Scene, shell: str) -> None:
    out = scene.home / "exactly here"
    code = f'setup_training_vars {NAME}\n{TRAIN} --output_dir="{out}"\n'
    assert run_code(scene, shell, code).status == 0
    assert (out / f"{NAME}.safetensors").is_file()
    assert not scene.output.exists()


def test_repositories_are_listed_and_recorded(scene: Scene, shell: str) -> None:
    mine = make_trainer(scene.home / "my losses")
    linked = scene.home / "linked"
    git(mine, "worktree", "add", "-q", "--detach", str(linked))
    lycoris = make_trainer(scene.home / "LyCORIS")
    (scene.home / "plain").mkdir()
    code = (
        f'LYCORIS_REPO="{lycoris}"\nSD_REPO="{scene.trainer}"\nsetup_training_vars {NAME}\n'
        f'store_commits_hashes "{scene.trainer}" "my losses" "{scene.home}/plain" "" linked '
        '"$LYCORIS_REPO" ||'
        ' echo "status $?"\n'
        f"{TRAIN}\n"
    )
    done = run_code(scene, shell, code)
    assert done.status == 0, done.err
    head = git(mine, "rev-parse", "--short=8", "HEAD")
    lines = done.out.splitlines()
    assert lines[2:4] == [f"my losses: {mine} {head} (sd3)", f"linked: {linked} {head} (detached)"]
    assert lines[5] == "status 1"
    assert f"{scene.home}/plain is in no git repository" in done.err
    assert "a repository's path is empty" in done.err
    recorded = scene.git("log", "-1", "--format=%(trailers:key=Repository,valueonly)", NAME).split(
        "\n"
    )
    assert [line.rsplit(" ", 2)[0] for line in recorded if line] == ["my losses", "linked"]
    assert f"{lycoris} is named as LyCORIS, but the trainer's Python finds it nowhere" in done.err


STORE = 'store_commits_hashes "${SD_REPO-}" "${LYCORIS_REPO-}" || echo "status $?"\n'


def test_repositories_that_the_script_leaves_empty_are_found(scene: Scene, shell: str) -> None:
    lycoris = make_lycoris(scene.home / "LyCORIS")
    git(lycoris, "init", "-q")
    commit_all(lycoris, "a package")
    head = git(scene.trainer, "rev-parse", "--short=8", "HEAD")
    code = f"SD_REPO=\nsetup_training_vars {NAME}\n{STORE}{TRAIN}\n"
    done = run_code(scene, shell, f"set -eu\n{code}", PYTHONPATH=str(lycoris))
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[1] == f"sd-scripts: {scene.trainer} {head} (sd3)"
    assert lines[2].startswith(f"LyCORIS: {lycoris} ")
    assert lines[3].startswith("prepare images")
    assert scene.trailers(NAME)["LyCORIS-Commit"] == git(lycoris, "rev-parse", "HEAD")
    scene.git("tag", "-d", NAME)
    shutil.rmtree(scene.output)
    shutil.rmtree(lycoris / ".git")
    done = run_code(scene, shell, f"NAME={NAME}\n{STORE}", PYTHONPATH=str(lycoris))
    assert re.search(r"^LyCORIS: unknown, a package of /.*python", done.out, re.MULTILINE)


def test_settings_say_where_repositories_are_that_the_script_leaves_empty(
    scene: Scene, shell: str
) -> None:
    mine, other = make_trainer(scene.home / "mine"), make_trainer(scene.home / "other")
    settings = f'[trainer]\nrepo = "{mine}"\nlycoris_repo = "{other}"\n'
    scene.settings(settings)
    done = run_code(scene, shell, f"NAME={NAME}\n{STORE}")
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["mine:", str(mine)],
        ["other:", str(other)],
    ], done.err
    # What a dataset names is not started for this.
    scene.settings('[trainer]\nenv = "venv:/nowhere"\n')
    done = run_code(scene, shell, f"NAME={NAME}\n{STORE}")
    assert done.out.splitlines()[1] == "LyCORIS: as venv:/nowhere finds it"


def test_repositories_that_nothing_finds_are_told(scene: Scene, shell: str) -> None:
    done = run_code(scene, shell, f'NAME={NAME}\n{STORE}store_commits_hashes "" "" ""\necho $?\n')
    assert "LyCORIS is not installed for " in done.err
    assert "status 1" in done.out
    assert done.err.count("a repository's path is empty") == 1
    scene.trainer.rename(scene.home / "moved")
    done = run_code(scene, shell, f"NAME={NAME}\nstore_commits_hashes ''\necho $?\n")
    assert done.out == "1\n"
    assert str(scene.trainer) in done.err


def test_a_repository_with_changes_is_told_and_refused(scene: Scene, shell: str) -> None:
    mine = make_trainer(scene.home / "mine")
    (mine / "trainer_files.py").write_text("# edited\n")
    code = f"setup_training_vars {NAME}\nstore_commits_hashes mine\n{TRAIN}\n"
    done = run_code(scene, shell, code)
    assert done.status == 1
    assert "(sd3, 1 file changed)" in done.out
    assert f"mine at {mine} is dirty: trainer_files.py" in done.err
    nothing_written(scene)


def make_lycoris(folder: Path) -> Path:
    (folder / "lycoris" / "kohya").mkdir(parents=True)
    for file in ("lycoris/__init__.py", "lycoris/kohya/__init__.py"):
        (folder / file).write_text("raise SystemExit('nobody may import this')\n")
    return folder


def test_lycoris_is_found_as_python_finds_it(scene: Scene, shell: str) -> None:
    repository = make_lycoris(scene.home / "LyCORIS")
    git(repository, "init", "-q")
    commit_all(repository, "a package")
    code = 'LYCORIS_REPO=$(get_lycoris_repo)\necho "<$LYCORIS_REPO>"\n'
    assert run_code(scene, shell, code, PYTHONPATH=str(repository)).out == f"<{repository}>\n"
    shutil.rmtree(repository / ".git")
    done = run_code(scene, shell, f"set -e\n{code}", PYTHONPATH=str(repository))
    assert (done.status, done.out) == (1, "")
    assert "has LyCORIS unknown as a package, from no repository" in done.err
    assert "leave get_lycoris_repo out" in done.err
    done = run_code(scene, shell, f"set -e\n{code}")
    assert (done.status, done.out) == (1, "")
    assert "LyCORIS is not installed for " in done.err
    assert "pip install lycoris-lora" in done.err
    bare = scene.home / "bare"
    bare.mkdir()
    assert "there is no python3 on PATH" in run_code(scene, shell, f"PATH={bare}\n{code}").err


def test_cleaning_up_removes_nothing_and_keeps_the_status(scene: Scene, shell: str) -> None:
    folder = scene.output / NAME
    folder.mkdir(parents=True)
    code = f'OUTPUT_DIR="{scene.output}"\nNAME={NAME}\ntrap cleanup_empty_output EXIT\n'
    code += "(exit 5)\ncleanup_empty_output\necho $?\nexit 6\n"
    done = run_code(scene, shell, code, DEBUG="1")
    assert (done.status, done.out) == (6, "5\n")
    assert done.err.count(f"cleanup: {folder} stays") == 2
    assert folder.is_dir()
    done = run_code(
        scene, shell, "set -eu\ntrap cleanup_empty_output EXIT TERM\nfalse\n", DEBUG="yes"
    )
    assert done.status == 1
    assert "cleanup: no run was set up" in done.err
    done = run_code(
        scene, shell, f"OUTPUT_DIR={scene.output}\nNAME=x\ncleanup_empty_output\n", DEBUG="1"
    )
    assert f"cleanup: there is no {scene.output}/x" in done.err
    assert "cleanup" not in run_code(scene, shell, "cleanup_empty_output\n", DEBUG="0").err


def test_what_the_functions_ask_can_be_asked_wrongly(scene: Scene) -> None:
    done = scene.loragit("shell", "nonsense")
    assert (done.status, done.out) == (2, "")
    assert "the shell functions take other arguments" in done.err


# ---- which Python ----


def a_python(folder: Path) -> Path:
    """Something that is a Python in ``folder``, and says so to the trainer."""
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexport RAN_BY="{folder}"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def ran_by(scene: Scene, shell: str, setup: str, **environ: str) -> str:
    code = f"{setup}\nsetup_training_vars {NAME}\n{TRAIN}\n"
    done = run_code(scene, shell, code, STUB="environment", **environ)
    assert done.status == 0, done.err
    found = json.loads((scene.output / NAME / "environ.json").read_text()).get("RAN_BY", "nobody")
    scene.git("tag", "-d", NAME)
    shutil.rmtree(scene.output)
    return Path(found).name


def active_python(scene: Scene, shell: str, setups: list[str]) -> list[str]:
    """Whose Python the functions take after each of ``setups``, all asked of one shell; empty for
    none, where settings tell."""
    asked = [f"( {setup}; _loragit_environments_python ); echo\n" for setup in setups]
    done = run_code(scene, shell, "".join(asked))
    assert done.status == 0, done.err
    return [line.removesuffix("/bin/python").rpartition("/")[2] for line in done.out.splitlines()]


def test_an_environment_that_is_active_counts_above_settings(scene: Scene, shell: str) -> None:
    for name in ("venv", "conda", "set", "asked"):
        a_python(scene.home / name)
    home = scene.home
    (home / "base" / "condabin").mkdir(parents=True)
    a_python(home / "base")
    scene.settings('[trainer]\nenv = "venv:~/set"\n')
    commit_all(scene.dataset, "settings")
    both = f"VIRTUAL_ENV={home}/venv; CONDA_PREFIX={home}/conda; PATH={home}"
    expected = {
        f"VIRTUAL_ENV={home}/gone; CONDA_PREFIX={home}/conda": "conda",
        f"{both}/venv/bin:{home}/conda/bin:$PATH": "venv",
        f"{both}/conda/bin:{home}/venv/bin:$PATH": "conda",
        f"CONDA_PREFIX={home}/base": "",
        f"CONDA_PREFIX={home}/conda; CONDA_DEFAULT_ENV=base": "",
        f"VIRTUAL_ENV={home}/venv; LORAGIT_TRAINER_ENV=venv:{home}/asked": "",
    }
    assert active_python(scene, shell, list(expected)) == list(expected.values())
    assert ran_by(scene, shell, "") == "set"
    assert ran_by(scene, shell, f"VIRTUAL_ENV={home}/venv") == "venv"
    asked = {"LORAGIT_TRAINER_PYTHON": f"{home}/asked/bin/python"}
    assert ran_by(scene, shell, f"VIRTUAL_ENV={home}/venv", **asked) == "asked"
    asked = {"LORAGIT_TRAINER_ENV": f"venv:{home}/asked"}
    assert ran_by(scene, shell, f"VIRTUAL_ENV={home}/venv", **asked) == "asked"


def test_training_is_not_made_nicer(scene: Scene, shell: str) -> None:
    nice = scene.home / "nice"
    (nice / "bin").mkdir(parents=True)
    python = nice / "bin" / "python"
    python.write_text(f'#!/bin/sh\nnice > "$HOME/nice.txt"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    ran_by(scene, shell, f"VIRTUAL_ENV={nice}")
    own = subprocess.run(["nice"], capture_output=True, text=True, check=True).stdout
    assert (scene.home / "nice.txt").read_text() == own


# ---- inside a run of loragit's ----


def test_a_script_that_loragit_runs_is_recorded_once(scene: Scene, shell: str) -> None:
    text = SCRIPT.replace("NAME={name}\n", "").replace("set -e", "OUTPUT_DIR=/elsewhere\nset -eu")
    script = write(scene, shell, text)
    argv = (*LORAGIT, "train", NAME, "--script", str(script), "--", "--learning_rate", "5e-5")
    done = scene.run(argv, scene.home, {**on_path(scene), "DEBUG": "1"})
    assert done.status == 0, done.err
    assert scene.git("rev-list", "--count", "runs") == "1"
    assert (scene.output / NAME / f"{NAME}.safetensors").is_file()
    assert "2 models, 3 samples" in done.err
    assert f"part of the run {NAME}; working directory: {scene.trainer}" in done.err
    assert "after: 0" in done.out
    assert "cleanup" not in done.err
    assert re.search(
        rf"output_name: {NAME}, steps: 4, .* output_dir: {scene.output / NAME}\n", done.out
    )
    scene.git("tag", "-d", NAME)
    shutil.rmtree(scene.output)
    failed = scene.run(argv, scene.home, {**on_path(scene), "STUB": "fail"})
    assert failed.status == 1
    assert "after:" not in failed.out


def test_a_script_that_sets_up_another_run_than_it_is_is_refused(scene: Scene, shell: str) -> None:
    script = write(scene, shell, name="noob-gren-v7s4")
    done = scene.run((*LORAGIT, "train", NAME, "--script", str(script)), scene.home, on_path(scene))
    assert done.status == 1
    assert f"this script is the run {NAME}, and sets up noob-gren-v7s4" in done.err
    script = write(scene, shell)
    words = (*LORAGIT, "train", NAME, "--script", str(script), "--output", str(scene.home / "out"))
    done = scene.run(words, scene.home, on_path(scene))
    assert done.status == 1
    assert f"the output folder {scene.home}/out is not called {NAME}" in done.err
