"""The trainer's environment: what an activated shell would have, and no shell between us and the trainer.

``rattler``, which activates environments for pixi, is the witness for conda's rules.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loragit import activation
from loragit.activation import activated
from tests.scene import Scene, commit_all, make_scene

NAME = "noob-gren-v1s4"


def conda_environment(prefix: Path, **scripts: str) -> Path:
    """An environment as conda lays it out, with a real Python; ``scripts`` by ``activate`` or ``deactivate``.

    Returns the Python.
    """
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "conda-meta/history").touch()
    (prefix / "bin").mkdir()
    python = prefix / "bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    for name, text in scripts.items():
        folder = prefix / "etc/conda" / f"{name.partition('_')[0]}.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.sh").write_text(text)
    return python


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.environ["PATH"], "SECRET": "kept", "NEWLINE": "two\nlines"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A conda installation."""
    conda_environment(tmp_path / "conda")
    (tmp_path / "conda/condabin").mkdir()
    return tmp_path / "conda"


def by_rattler(environ: dict[str, str], prefix: Path) -> dict[str, str]:
    """The environment of a shell in which rattler activated ``prefix``."""
    from rattler.shell import ActivationVariables, Shell, activate

    old = environ.get("CONDA_PREFIX")
    path = [Path(entry) for entry in environ["PATH"].split(os.pathsep)]
    script = activate(prefix, ActivationVariables(Path(old) if old else None, path), Shell.bash, "linux-64").script
    code = f"exec 3>&1 >/dev/null\n{script}\nenv -0 >&3"
    done = subprocess.run(["bash", "-c", code], env=environ, capture_output=True, check=True)
    rows = (row.partition("=") for row in os.fsdecode(done.stdout).split("\0") if row)
    return {name: value for name, _, value in rows if name not in ("_", "SHLVL", "PWD", "OLDPWD")}


OTHERWISE = ("CONDA_DEFAULT_ENV", "CONDA_PROMPT_MODIFIER")
"""What conda sets for people to look at, and rattler does not."""


def comparable(environ: dict[str, str]) -> dict[str, str]:
    """Of PATH what was added: rattler drops entries that stand in it twice."""
    same = {name: value for name, value in environ.items() if name not in OTHERWISE}
    return same | {"PATH": ":".join(entry for entry in environ["PATH"].split(":") if "/envs/" in entry)}


def test_a_conda_environment_is_activated_as_an_environment_manager_does(environ: dict[str, str], root: Path) -> None:
    prefix = root / "envs/sd"
    python = conda_environment(
        prefix,
        activate_10='export FIRST="$CONDA_PREFIX/first" ORDER=1\necho noise\nexport LINES_="a\nb"\n',
        activate_20='export ORDER="${ORDER}2" PATH="$CONDA_PREFIX/more:$PATH"\nunset SECRET\nlocal_only=1\n',
    )
    (prefix / "conda-meta/state").write_text(json.dumps({"env_vars": {"MINE": "it's mine", "BOTH": "user"}}))
    (prefix / "etc/conda/env_vars.d").mkdir()
    (prefix / "etc/conda/env_vars.d/pkg.json").write_text(json.dumps({"PACKAGE": "p", "BOTH": "package"}))
    found = activated(environ, python)
    assert found.trouble == ()
    assert comparable(found.environ) == comparable(by_rattler(environ, prefix))
    assert found.environ["ORDER"] == "12"
    assert (found.environ["MINE"], found.environ["BOTH"], found.environ["PACKAGE"]) == ("it's mine", "user", "p")
    assert found.environ["LINES_"] == "a\nb"
    assert "SECRET" not in found.environ
    assert "local_only" not in found.environ
    assert found.environ["CONDA_DEFAULT_ENV"] == "sd"
    assert found.environ["CONDA_SHLVL"] == "1"
    assert found.environ["PATH"] == f"{prefix}/more:{prefix}/bin:{environ['PATH']}"


def test_an_environment_that_was_active_before_is_left_first(environ: dict[str, str], root: Path) -> None:
    old, new = root / "envs/old", root / "envs/new"
    before = conda_environment(old, activate_x="export OLD=1", deactivate_x="unset OLD\nexport LEFT=yes\n")
    (old / "conda-meta/state").write_text(json.dumps({"env_vars": {"MINE": "old", "ONLY_OLD": "1"}}))
    python = conda_environment(new, activate_x='export NEW="after $LEFT"\n')
    (new / "conda-meta/state").write_text(json.dumps({"env_vars": {"MINE": "new"}}))
    active = activated(environ, before).environ
    assert (active["OLD"], active["MINE"]) == ("1", "old")
    found = activated(active, python).environ
    assert "OLD" not in found
    assert "ONLY_OLD" not in found
    assert (found["NEW"], found["MINE"], found["CONDA_SHLVL"]) == ("after yes", "new", "2")
    assert found["CONDA_PREFIX_1"] == str(old)
    assert found["__CONDA_SHLVL_1_MINE"] == "old"
    assert found["PATH"] == f"{new}/bin:{environ['PATH']}"


def test_an_environment_that_is_active_already_is_not_activated_again(environ: dict[str, str], root: Path) -> None:
    python = conda_environment(root / "envs/sd", activate_x='export TIMES="x$TIMES"\n')
    once = activated(environ, python).environ
    again = activated(once, python).environ
    assert again == {**once, "PATH": f"{root}/envs/sd/bin:{once['PATH']}"}
    assert again["TIMES"] == "x"


def test_environments_are_called_as_conda_calls_them(environ: dict[str, str], root: Path, tmp_path: Path) -> None:
    apart = conda_environment(tmp_path / "apart")
    assert activated(environ, apart).environ["CONDA_DEFAULT_ENV"] == str(tmp_path / "apart")
    assert activated(environ, root / "bin/python").environ["CONDA_DEFAULT_ENV"] == "base"
    assert activated(environ, apart).environ["CONDA_PROMPT_MODIFIER"] == f"({tmp_path}/apart) "


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "were not activated"),
        ("kill -9 $$", "were not activated"),
        ("sleep 600", "longer than 2 s"),
        ("exec true", "were not activated"),
        ("return 1", "bad.sh, which the trainer's environment runs when it is activated, failed"),
        ("if then", "failed"),
        ("false", "failed"),
    ],
)
def test_a_script_that_fails_is_survived_and_told(
    environ: dict[str, str], root: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    monkeypatch.setattr(activation, "TIMEOUT", 2.0)
    prefix = root / "envs/sd"
    python = conda_environment(prefix, activate_bad=script)
    found = activated(environ, python)
    (trouble,) = found.trouble
    assert str(prefix / "etc/conda/activate.d") in trouble
    assert told.replace("were not activated", "the environment was not activated by its own scripts") in trouble
    assert found.environ["CONDA_PREFIX"] == str(prefix)
    assert found.environ["PATH"].startswith(f"{prefix}/bin:")
    assert found.environ["SECRET"] == "kept"


def test_scripts_are_read_by_sh_where_there_is_no_bash(environ: dict[str, str], root: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "env").symlink_to(shutil.which("env") or "")
    python = conda_environment(root / "envs/sd", activate_x='export SAID="${BASH_VERSION:-no bash}"\n')
    assert activated({**environ, "PATH": str(tools)}, python).environ["SAID"] == "no bash"


def test_an_env_that_knows_no_zero_is_done_without(environ: dict[str, str], root: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "env").write_text("#!/bin/sh\necho 'env: illegal option -- 0' >&2\nexit 1\n")
    (tools / "env").chmod(0o755)
    python = conda_environment(root / "envs/sd", activate_x='export SAID="two\nlines"\n')
    found = activated({**environ, "PATH": f"{tools}:{environ['PATH']}"}, python)
    assert (found.environ["SAID"], found.environ["NEWLINE"], found.trouble) == ("two\nlines", "two\nlines", ())


def test_damaged_variables_of_an_environment_are_passed_over(environ: dict[str, str], root: Path) -> None:
    prefix = root / "envs/sd"
    python = conda_environment(prefix)
    state = {
        "env_vars": {"GOOD": "it's $HOME", "bad name": "2", "NUMBER": 3, "GONE": "***unset***", "NUL": "\0", "É": "4"}
    }
    (prefix / "conda-meta/state").write_text(json.dumps(state))
    (prefix / "etc/conda/env_vars.d").mkdir(parents=True)
    (prefix / "etc/conda/env_vars.d/a.json").write_text("{not json")
    found = activated(environ, python).environ
    assert found["GOOD"] == "it's $HOME"
    assert not {"bad name", "NUMBER", "GONE", "NUL", "É"} & found.keys()


def test_a_virtual_environment_is_activated_with_what_was_added_to_it(environ: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "a venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    with (place / "bin/activate").open("a") as script:
        script.write('export CUDA_VISIBLE_DEVICES=1\nexport SEEN="$VIRTUAL_ENV"\n')
    found = activated({**environ, "PYTHONHOME": "/nowhere"}, place / "bin/python")
    assert found.trouble == ()
    assert found.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert found.environ["VIRTUAL_ENV"] == found.environ["SEEN"] == str(place)
    assert found.environ["PATH"] == f"{place}/bin:{environ['PATH']}"
    assert "PYTHONHOME" not in found.environ
    assert "PS1" not in found.environ


def test_a_virtual_environment_that_was_moved_comes_first_all_the_same(environ: dict[str, str], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "old"], check=True)
    (tmp_path / "old").rename(tmp_path / "new")
    found = activated(environ, tmp_path / "new/bin/python").environ
    assert found["VIRTUAL_ENV"] == str(tmp_path / "new")
    assert found["PATH"].split(":")[0] == str(tmp_path / "new/bin")


def test_a_virtual_environment_without_scripts_or_with_a_broken_one_is_still_one(
    environ: dict[str, str], tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    plain = {**environ, "VIRTUAL_ENV": f"{tmp_path}/v", "PATH": f"{tmp_path}/v/bin:{environ['PATH']}"}
    (tmp_path / "v/bin/activate").write_text("exit 1\n")
    found = activated(environ, tmp_path / "v/bin/python")
    assert found.environ == plain
    assert f"{tmp_path}/v/bin/activate: a script ended the shell with exit status 1" in found.trouble[0]
    (tmp_path / "v/bin/activate").unlink()
    assert activated(environ, tmp_path / "v/bin/python") == (plain, ())


def test_a_python_in_no_environment_only_comes_first(environ: dict[str, str], tmp_path: Path) -> None:
    found = activated(environ, tmp_path / "opt/bin/python3")
    assert found == ({**environ, "PATH": f"{tmp_path}/opt/bin:{environ['PATH']}"}, ())


# ---- a whole run ----


@pytest.fixture
def scene(home: Path) -> Scene:
    made = make_scene(home)
    conda_environment(
        home / "miniconda3/envs/sdscripts",
        activate_cuda='export CUDA_HOME="$CONDA_PREFIX"\nexport GIT_DIR=/nowhere\nprintf noise\n',
    )
    made.settings('[trainer]\nenv = "conda:sdscripts"\n')
    commit_all(made.dataset, "settings")
    return made


def test_a_trainer_gets_the_activated_environment_and_is_our_own_child(scene: Scene) -> None:
    script = scene.trainer / "sdxl_train_network.py"
    told = 'import os, pathlib\npathlib.Path(os.environ["TOLD"]).write_text(f"{os.getppid()} {os.getpid()}")\n'
    script.write_text(told + script.read_text())
    commit_all(scene.trainer, "tells its parent")
    marker = scene.home / "told"
    wrapper = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'loragit', 'train', sys.argv[1]])\n"
        "child.wait(); print(child.pid)\nsys.exit(child.returncode)\n"
    )
    environ = {"TOLD": str(marker), "STUB": "environment"}
    done = scene.run((sys.executable, "-c", wrapper, NAME), scene.dataset, environ)
    assert done.status == 0, done.err
    # The stand-in for the environment's Python is a shell that becomes Python: the process stays the same.
    assert marker.read_text().split()[0] == done.out.split()[-1]
    got = json.loads((scene.output / NAME / "environ.json").read_text())
    prefix = str(scene.home / "miniconda3/envs/sdscripts")
    assert (got["CONDA_PREFIX"], got["CUDA_HOME"], got["CONDA_DEFAULT_ENV"]) == (prefix, prefix, "sdscripts")
    assert not [name for name in got if name.startswith("GIT_")]


def test_what_an_environment_gets_wrong_is_warned_of_and_the_training_goes_on(scene: Scene) -> None:
    (scene.home / "miniconda3/envs/sdscripts/etc/conda/activate.d/bad.sh").write_text("false\n")
    done = scene.train()
    assert done.status == 0, done.err
    assert "warning: " in done.err
    assert "activate.d/bad.sh, which the trainer's environment runs when it is activated, failed" in done.err


def test_nothing_but_a_training_runs_an_environments_scripts(scene: Scene) -> None:
    ran = scene.home / "ran"
    script = scene.home / "miniconda3/envs/sdscripts/etc/conda/activate.d/mark.sh"
    script.write_text(f"touch {ran}\n")
    for words in (("log",), ("status",), ("settings",), ("hook", "run", "pre-commit")):
        scene.loragit(*words)
    assert not ran.exists()
    assert scene.train(NAME, "--dry-run").status == 0
    assert ran.exists()


def test_a_missing_environment_is_told_before_anything_is_written(scene: Scene) -> None:
    done = scene.train(LORAGIT_TRAINER_ENV="conda:sdscript")
    assert done.status == 1
    assert "no conda environment with a Python is called sdscript; there are: sdscripts" in done.err
    assert scene.tags() == []
    assert not scene.output.exists()
