"""The trainer's environment: what an activated shell has, whatever the scripts of an environment
do.

``fixtures/conda-activate.json`` is what conda 26.7 itself made of the prefixes that :func:`lay_out`
makes: the exported variables before and after ``conda activate`` in bash, with ``{root}`` for the
installation's folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit.settings.values import TrainerSettings
from loragit.system import alive
from loragit.system import child as process
from loragit.trainers.environment import activation, pythons
from loragit.trainers.environment.activation import Activation, activate
from tests.support.paths import FIXTURES
from tests.support.processes import LORAGIT, commit_all, git
from tests.support.user_home import Scene, make_scene

pytestmark = pytest.mark.every_python

GOLDEN = json.loads((FIXTURES / "conda-activate.json").read_text())
CONDAS_OWN = {"_CE_M", "_CE_CONDA", "_CONDA_EXE", "_CONDA_ROOT"}
"""For conda's shell function alone; some versions set them and some do not."""
PATH = "/usr/local/bin:/usr/bin:/bin"
NAME = "noob-gren-v1s4"


def settings_of(env: str | None, python: str | None = None) -> TrainerSettings:
    return TrainerSettings(
        kind="sd-scripts",
        repo=Path("/nowhere"),
        script="train.py",
        python=python,
        env=env,
        launcher=(),
        workdir="trainer",
        lycoris_repo=None,
        stop_timeout=1.0,
        args=(),
    )


def activated(prefix: Path, environ: Mapping[str, str] | None = None) -> Activation:
    """The activation of the environment in ``prefix``, under way."""
    return activate(settings_of("named"), prefix / "bin/python", {"PATH": PATH, **(environ or {})})


def result(prefix: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that it comes to, without a warning."""
    found = activated(prefix, environ)
    environment = found.environ()
    assert found.warnings == []
    return environment


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def make_prefix(folder: Path) -> Path:
    """A conda environment as conda lays it out, with a real Python."""
    write(folder / "conda-meta/history", "")
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(Path(sys.executable).resolve())
    return folder


def make_virtual(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


def script(prefix: Path, text: str, name: str = "it.sh", folder: str = "activate.d") -> Path:
    return write(prefix / "etc/conda" / folder / name, text)


def variables(prefix: Path, **values: str) -> None:
    write(prefix / "conda-meta/state", json.dumps({"env_vars": values}))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return make_prefix(tmp_path / "root/envs/sd")


# ---- conda's own answers ----


def lay_out(root: Path) -> None:
    """The prefixes that conda was asked about."""
    for folder in (root, *(root / "envs" / name for name in "abc")):
        make_prefix(folder)
    write(root / "bin/conda", "")
    (root / "condabin").mkdir()
    a, b = root / "envs/a", root / "envs/b"
    variables(a, SHARED="of a", ONLY_A="1", lower="up", DROPPED="***unset***", PATH="/no")
    variables(b, SHARED="of b", QUOTE="two words")
    write(
        b / "etc/conda/env_vars.d/pkg.json",
        json.dumps({"FROM_PACKAGE": "p", "SHARED": "of package"}),
    )
    for each in (a, b):
        n, seen = each.name, f"SEEN_{each.name.upper()}"
        begins = (
            f'export ORDER="$ORDER +{n}1"\nexport {seen}="$CONDA_PREFIX"\nexport '
            f'PATH="/tool-{n}:$PATH"\nLOCAL=1\n'
        )
        script(each, begins, "10-first.sh")
        script(each, f'export ORDER="$ORDER +{n}2"\n', "20-second.sh")
        script(each, "exit 1\n", "ignored.csh")
        ends = f'export ORDER="$ORDER -{n}1($CONDA_DEFAULT_ENV)"\nunset {seen}\n'
        script(each, ends, "10-first.sh", "deactivate.d")
        script(
            each,
            f'export ORDER="$ORDER -{n}2"\nexport PATH="/gone:$PATH"\n',
            "20-second.sh",
            "deactivate.d",
        )


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["when"]))
def test_a_conda_environment_is_activated_as_conda_does_it(
    tmp_path: Path, case: dict[str, str]
) -> None:
    lay_out(tmp_path)
    told = json.loads(json.dumps(case).replace("{root}", str(tmp_path)))
    which, before, after = told["activates"], told["before"], told["after"]
    chosen = tmp_path if which == "base" else tmp_path / "envs" / which
    ours = result(chosen, before)
    assert ours.pop("PYTHONUNBUFFERED") == "1"
    paths = [each.pop("PATH").split(":") for each in (ours, after)]
    for each in (ours, after):
        for name in CONDAS_OWN:
            each.pop(name, None)
    assert ours == after
    # conda puts the environment where the one before it was. Here only its own scripts stand before
    # it.
    assert paths[0].index(f"{chosen}/bin") == (1 if which == "b" else 0)
    for path in paths:
        path.remove(f"{chosen}/bin")
    assert paths[0] == paths[1]


# ---- conda, beside what it was asked about ----


def test_without_scripts_no_child_is_started(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ask", None)
    variables(prefix, ONE="1")
    found = activated(prefix)
    assert not found.waits
    environ = found.environ()
    assert environ["ONE"] == "1"
    assert environ["CONDA_PREFIX"] == str(prefix)
    assert environ["PATH"] == f"{prefix}/bin:{PATH}"
    assert "CONDA_EXE" not in environ


def test_the_shell_is_asked_once(prefix: Path) -> None:
    counter = prefix / "count"
    script(prefix, f"echo once >> {counter}\nexport IT=1\n")
    found = activated(prefix)
    assert found.waits
    assert found.environ() is found.environ()
    assert not found.waits
    assert counter.read_text() == "once\n"


def test_an_environment_that_conda_has_no_name_for_is_called_by_its_folder(tmp_path: Path) -> None:
    folder = make_prefix(tmp_path / "project/env")
    assert result(folder)["CONDA_DEFAULT_ENV"] == str(folder)
    assert result(folder, {"MAMBA_ROOT_PREFIX": str(folder)})["CONDA_DEFAULT_ENV"] == "base"


@pytest.mark.parametrize("level", ["", "x", "0", "-1"])
def test_without_a_level_nothing_is_active(prefix: Path, level: str) -> None:
    environ = result(prefix, {"CONDA_PREFIX": "/gone", "CONDA_SHLVL": level})
    assert environ["CONDA_SHLVL"] == "1"
    assert "CONDA_PREFIX_0" not in environ


def test_a_level_without_a_prefix_is_survived(prefix: Path) -> None:
    assert result(prefix, {"CONDA_SHLVL": "1"})["CONDA_SHLVL"] == "2"


def test_an_active_virtual_environment_is_left_for_conda(prefix: Path) -> None:
    before = {"VIRTUAL_ENV": "/v", "VIRTUAL_ENV_PROMPT": "(v) ", "PATH": f"/first:/v/bin/:{PATH}"}
    environ = result(prefix, before)
    assert environ["PATH"] == f"{prefix}/bin:/first:{PATH}"
    assert not {"VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT"} & set(environ)


def test_variables_that_no_shell_could_export_are_not_set(prefix: Path) -> None:
    state = {
        "env_vars": {
            "no-name": "x",
            "x; touch it": "y",
            "N": 1,
            "NUL": "a\0b",
            "path": "/no",
            "GIT_DIR": "/g",
        }
    }
    write(prefix / "conda-meta/state", json.dumps(state))
    script(prefix, ":")
    assert set(result(prefix)) == {
        *("CONDA_PREFIX", "CONDA_SHLVL", "CONDA_DEFAULT_ENV", "CONDA_PROMPT_MODIFIER"),
        *("PATH", "PYTHONUNBUFFERED"),
    }


@pytest.mark.parametrize("content", ["{", "[]", '{"env_vars": 3, '])
def test_damaged_files_of_condas_are_told_and_survived(prefix: Path, content: str) -> None:
    file = write(prefix / "conda-meta/state", content)
    write(prefix / "etc/conda/env_vars.d/a.json", '{"A": "1"}')
    found = activated(prefix)
    assert found.environ()["A"] == "1"
    (warning,) = found.warnings
    assert warning.startswith(f"{file} cannot be read, and its variables are not set: ")


def test_a_state_without_variables_sets_none(prefix: Path) -> None:
    write(prefix / "conda-meta/state", '{"env_vars": [], "other": 1}')
    assert "other" not in result(prefix)


# ---- scripts ----


def test_what_scripts_export_unset_and_define_is_taken_over_exactly(prefix: Path) -> None:
    hard = "two\nlines, 'quotes' \"too\", $HOME, `x`, \\ and ü\n"
    variables(prefix, HARD=hard)
    script(
        prefix,
        'export AGAIN="$HARD"; unset GONE; f() { echo; }; export -f f; export GIT_SSL_CAINFO=x; '
        "HERE=no\n",
    )
    before = {
        "GONE": "1",
        "ODD-name": "kept",
        "BASH_FUNC_theirs%%": "() { :; }",
        "BYTES": "\udcff",
        "EMPTY": "",
    }
    environ = result(prefix, before)
    assert environ["HARD"] == environ["AGAIN"] == hard
    assert environ["BASH_FUNC_f%%"].startswith("() {")
    assert {name: environ.get(name) for name in before} == before | {"GONE": None}
    assert not {"GIT_SSL_CAINFO", "HERE"} & set(environ)


def test_what_says_something_about_a_shell_is_the_callers(prefix: Path, tmp_path: Path) -> None:
    trap = write(tmp_path / "trap", f"touch {tmp_path}/sprung\n")
    script(prefix, f"cd {tmp_path}; export PS1=x ENV=y\n")
    before = {
        "PWD": "/w",
        "SHLVL": "3",
        "_": "/u",
        "BASH_ENV": str(trap),
        "SHELLOPTS": "errexit",
        "PS1": "$ ",
    }
    environ = result(prefix, before)
    assert {name: environ.get(name) for name in before} == before
    assert "ENV" not in environ
    assert not (tmp_path / "sprung").exists()


def test_what_scripts_print_is_seen_by_nobody_unless_they_fail(prefix: Path) -> None:
    script(
        prefix,
        "echo welcome; echo here >&2; printf 'A=1\\0'; head -c 300000 /dev/zero | tr '\\0' x\n",
        "a.sh",
    )
    script(prefix, "export IT=1\necho the reason is a\a bell >&2\nfalse\n", "b.sh")
    script(prefix, "return 3\n", "c.sh")
    found = activated(prefix)
    environ = found.environ()
    assert (environ["IT"], environ.get("A")) == ("1", None)
    folder = prefix / "etc/conda/activate.d"
    assert found.warnings == [
        (
            f"{folder}/b.sh failed with status 1, and what it exported counts: the reason is "
            "a\\x07 "
            "bell"
        ),
        f"{folder}/c.sh failed with status 3, and what it exported counts",
    ]


@pytest.mark.parametrize(
    "text",
    ["exit 0", "exec true", "kill -9 $$", "set -e; false", "exec 3>&-; echo 'syntax (' ; exit 9"],
)
def test_a_script_that_ends_the_shell_is_left_out_and_told(prefix: Path, text: str) -> None:
    script(prefix, "export A=1\n", "a.sh")
    bad = script(prefix, f"export BAD=1\necho last words\n{text}\n", "b.sh")
    script(prefix, "export C=1\n", "c.sh")
    found = activated(prefix)
    environ = found.environ()
    assert [environ.get(name) for name in ("A", "BAD", "C", "CONDA_PREFIX")] == [
        "1",
        None,
        "1",
        str(prefix),
    ]
    (warning,) = found.warnings
    why = "it ended the shell that sourced it: "
    assert warning.startswith(f"{bad} is left out of the environment: {why}")


def test_a_script_that_hangs_is_ended_with_what_it_started(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "TIMEOUT", 1.0)
    script(prefix, "export A=1\n", "a.sh")
    bad = script(prefix, "echo waiting for you\nsleep 600\n", "b.sh")
    found = activated(prefix)
    environ = found.environ()
    assert (environ["A"], environ["CONDA_PREFIX"]) == ("1", str(prefix))
    assert found.warnings == [
        f"{bad} is left out of the environment: it did not end within 1 s: waiting for you"
    ]


def test_a_script_of_the_environment_before_may_end_the_shell_too(
    prefix: Path, tmp_path: Path
) -> None:
    old = make_prefix(tmp_path / "old")
    bad = script(old, "exit 1\n", folder="deactivate.d")
    found = activated(prefix, {"CONDA_PREFIX": str(old), "CONDA_SHLVL": "1"})
    assert found.environ()["CONDA_PREFIX_1"] == str(old)
    assert found.warnings == [
        f"{bad} is left out of the environment: it ended the shell that sourced it"
    ]


def test_what_a_script_leaves_running_is_not_waited_for(prefix: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    script(prefix, f"cat {tmp_path}/fifo &\nexport IT=$!\n")
    environ = result(prefix)  # it would warn of the time limit
    assert alive.exists(int(environ["IT"]))
    (tmp_path / "fifo").write_text("")


def test_scripts_that_take_path_away_do_not_hide_the_pythons_programs(prefix: Path) -> None:
    script(prefix, "unset PATH\n")
    assert result(prefix)["PATH"].startswith(f"{prefix}/bin:")


def test_a_folder_with_spaces_and_quotes_is_sourced_too(tmp_path: Path) -> None:
    prefix = make_prefix(tmp_path / 'it\'s a "folder" $HOME')
    script(prefix, 'export IT="$CONDA_PREFIX"\n', "a b'.sh")
    assert result(prefix)["IT"] == str(prefix)


def test_what_a_script_prints_to_dev_stderr_is_quoted_as_well(prefix: Path) -> None:
    script(prefix, "echo first\n", "a.sh")
    script(prefix, "echo second > /dev/stderr\nreturn 1\n", "b.sh")
    script(prefix, "echo third\n", "c.sh")
    found = activated(prefix)
    found.environ()
    assert [each.rpartition(": ")[2] for each in found.warnings] == ["second"]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    raw=st.binary().filter(lambda raw: b"\0" not in raw),
)
def test_any_value_comes_through_a_shell_as_it_is(prefix: Path, value: str, raw: bytes) -> None:
    variables(prefix, VALUE=value)
    script(prefix, 'export COPY="$VALUE"\n')
    environ = result(prefix, {"RAW": os.fsdecode(raw)})
    assert (environ["VALUE"], environ["COPY"], os.fsencode(environ["RAW"])) == (value, value, raw)


def test_without_bash_sh_sources(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "find_program", lambda _name, _environ: Path("/nowhere/bash"))
    script(prefix, 'export IT="${BASH_VERSION:-no bash}"\n')
    assert result(prefix)["IT"] in (
        "no bash",
        os.environ.get("BASH_VERSION", "no bash"),
    ) or os.path.samefile("/bin/sh", "/bin/bash")


def test_a_shell_that_cannot_be_started_is_told(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = write(tmp_path / "bash", "#!/nowhere/sh\n")
    broken.chmod(0o755)
    monkeypatch.setattr(pythons, "find_program", lambda _name, _environ: broken)
    script(prefix, ":")
    found = activated(prefix)
    assert found.environ()["CONDA_PREFIX"] == str(prefix)
    (warning,) = found.warnings
    assert warning.startswith("1 script of the environment could not be sourced: ")


def test_a_shell_that_does_not_tell_the_environment_is_told(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = activation._program
    monkeypatch.setattr(
        activation, "_program", lambda plan: told(plan).replace("/usr/bin/env", "/nowhere/env")
    )
    script(prefix, "export IT=1\n")
    found = activated(prefix)
    assert "IT" not in found.environ()
    (warning,) = found.warnings
    assert warning.startswith("1 script of the environment could not be sourced: exit status 12")


def test_where_no_file_can_be_nameless_in_memory_it_is_one_on_disk(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    script(prefix, "echo why\nreturn 1\n")
    found = activated(prefix)
    found.environ()
    assert [each.endswith(": why") for each in found.warnings] == [True]


# ---- virtual environments, and no environment ----


def test_a_virtual_environment_is_activated_with_what_people_added(tmp_path: Path) -> None:
    folder = make_virtual(tmp_path / "v")
    with (folder / "bin/activate").open("a") as file:
        file.write('export HF_HOME="$VIRTUAL_ENV/hf"\nexport PATH="/added:$PATH"\n')
    before = {"PYTHONHOME": "/p", "VIRTUAL_ENV": "/other", "PATH": f"/other/bin:{PATH}"}
    environ = result(folder, before)
    assert environ["VIRTUAL_ENV"] == str(folder)
    assert environ["PATH"] == f"/added:{folder}/bin:{PATH}"
    assert environ["HF_HOME"] == f"{folder}/hf"
    assert not {"PYTHONHOME", "PS1"} & set(environ)


def test_for_a_virtual_environment_as_python_made_it_no_child_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_virtual(tmp_path / "a v")
    by_bash = subprocess.run(
        ["bash", "-c", '. "$0/bin/activate"; exec env -0', folder],
        env={"PATH": PATH, "PYTHONHOME": "/p"},
        capture_output=True,
        text=True,
        check=True,
    )
    sourced = dict(line.split("=", 1) for line in by_bash.stdout.split("\0")[:-1])
    monkeypatch.setattr(process, "ask", None)
    environ = result(folder, {"PYTHONHOME": "/p"})
    shells = {"_", "PWD", "SHLVL", "PS1", "VIRTUAL_ENV_PROMPT"}
    assert environ == {name: value for name, value in sourced.items() if name not in shells} | {
        "PYTHONUNBUFFERED": "1"
    }


# What Python writes differs: in 3.11, in Debian's 3.11, which quotes otherwise, in 3.12 and in
# 3.13.


def middle(text: str) -> str:
    return text.replace("\nexport PATH\n", "\nexport PATH\nexport IT=1\n", 1)


def same_line(text: str) -> str:
    return text.replace('\nPATH="', '\nexport IT=1; PATH="', 1)


def within(text: str) -> str:
    """After the folder's name, where something was filled in."""
    return re.sub(r"""(?m)^(.*VIRTUAL_ENV=(["']?)/.*/v\2)$""", r'\1; export IT="1"', text)


def front(text: str) -> str:
    return f"export IT=1\n{text}"


def end(text: str) -> str:
    return f"{text}export IT=1"


def another(_text: str) -> str:
    return "export IT=1\n"


def cut(text: str) -> str:
    return text[: text.rindex("\n#")] + "\nexport IT=1\n"


@pytest.mark.parametrize("edit", [middle, same_line, within, front, end, another, cut])
def test_a_virtual_environments_script_that_was_changed_anywhere_is_sourced(
    tmp_path: Path, edit: Callable[[str], str]
) -> None:
    folder = make_virtual(tmp_path / "v")
    activate_script = folder / "bin/activate"
    written = activate_script.read_text()
    assert edit(written) != written
    activate_script.write_text(edit(written))
    found = activated(folder)
    assert found.waits
    assert found.environ()["IT"] == "1"


@pytest.mark.parametrize("config", ["", "home = /nowhere\nversion = 3.11.1\n", "home\nversion\n"])
def test_where_nobody_knows_what_python_made_the_script_is_sourced(
    tmp_path: Path, config: str
) -> None:
    folder = make_virtual(tmp_path / "v")
    (folder / "pyvenv.cfg").write_text(config)
    assert activated(folder).waits


def test_a_virtual_environment_without_a_script_is_activated_as_well(tmp_path: Path) -> None:
    folder = make_virtual(tmp_path / "v")
    (folder / "bin/activate").unlink()
    found = activated(folder, {"PYTHONHOME": "/p"})
    assert not found.waits
    environ = {"VIRTUAL_ENV": str(folder), "PATH": f"{folder}/bin:{PATH}", "PYTHONUNBUFFERED": "1"}
    assert found.environ() == environ


def test_a_virtual_environment_that_was_moved_is_told_and_used_where_it_is(tmp_path: Path) -> None:
    old, folder = make_virtual(tmp_path / "old"), tmp_path / "new"
    old.rename(folder)
    found = activated(folder)
    environ = found.environ()
    assert environ["VIRTUAL_ENV"] == str(folder)
    assert environ["PATH"] == f"{folder}/bin:{PATH}"
    (warning,) = found.warnings
    assert warning.startswith(
        f"{folder}/bin/activate activates {old}: {folder} was moved or copied from there"
    )


def test_a_virtual_environment_may_be_named_through_a_link(tmp_path: Path) -> None:
    folder = make_virtual(tmp_path / "real")
    (tmp_path / "link").symlink_to(folder)
    environ = result(tmp_path / "link")
    assert environ["VIRTUAL_ENV"] == str(folder)
    assert environ["PATH"] == f"{tmp_path}/link/bin:{folder}/bin:{PATH}"


def test_a_plain_python_has_its_own_programs_first(tmp_path: Path) -> None:
    environ = result(tmp_path)
    assert environ == {"PATH": f"{tmp_path}/bin:{PATH}", "PYTHONUNBUFFERED": "1"}
    assert (
        result(tmp_path / "usr", {"PATH": f"{tmp_path}/usr/bin"})["PATH"] == f"{tmp_path}/usr/bin"
    )


@pytest.mark.parametrize("command", [None, "python3"])
def test_where_no_environment_is_named_the_callers_is_left_as_it_is(
    prefix: Path, command: str | None
) -> None:
    script(prefix, "export IT=1\n")
    before = {
        "PATH": f"/first:{prefix}/bin",
        "CONDA_PREFIX": str(prefix),
        "CONDA_SHLVL": "1",
        "GIT_DIR": "/g",
    }
    found = activate(settings_of(None, command), prefix / "bin/python", before)
    del before["GIT_DIR"]
    assert found.environ() == before | {"PYTHONUNBUFFERED": "1"}
    assert activate(settings_of("named"), None, before).environ() == before | {
        "PYTHONUNBUFFERED": "1"
    }
    assert (
        activate(
            settings_of(None, str(prefix / "bin/python")), prefix / "bin/python", before
        ).environ()["IT"]
        == "1"
    )


# ---- whole runs ----


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def choose(scene: Scene, line: str) -> None:
    scene.settings(f"[trainer]\n{line}\n")
    commit_all(scene.dataset, "settings")


def test_a_run_has_the_environment_of_an_activated_shell_and_no_shell(scene: Scene) -> None:
    prefix = make_prefix(scene.home / "miniconda3/envs/sd")
    variables(prefix, FROM_STATE="1")
    seen = scene.home / "seen"
    (prefix / "bin/python").unlink()
    python = write(
        prefix / "bin/python",
        f'#!/bin/sh\necho "$PPID $FROM_SCRIPT" >> {seen}\nexec {sys.executable} "$@"\n',
    )
    python.chmod(0o755)
    script(prefix, "export FROM_SCRIPT=yes\n")
    choose(scene, 'env = "conda:sd"')
    environ = {**os.environ, "STUB": "ok+environment"}
    with subprocess.Popen(
        [*LORAGIT, "train", NAME], cwd=scene.dataset, env=environ, stderr=subprocess.PIPE
    ) as child:
        _, told = child.communicate()
    assert child.returncode == 0, told
    # The probe and the trainer, both children of loragit itself.
    assert seen.read_text().splitlines() == [f"{child.pid} yes"] * 2
    trained = json.loads((scene.output / NAME / "environ.json").read_text())
    assert (trained["FROM_STATE"], trained["FROM_SCRIPT"], trained["CONDA_DEFAULT_ENV"]) == (
        "1",
        "yes",
        "sd",
    )


def test_the_launcher_is_the_environments_own(scene: Scene) -> None:
    prefix = make_prefix(scene.home / "miniconda3/envs/sd")
    for folder in (prefix / "bin", scene.home / "other"):
        accelerate = write(folder / "accelerate", f'#!/bin/sh\nshift\nexec {sys.executable} "$@"\n')
        accelerate.chmod(0o755)
    choose(scene, 'env = "conda:sd"\nlauncher = "accelerate launch"')
    active = {
        "CONDA_PREFIX": "/gone",
        "CONDA_SHLVL": "1",
        "PATH": f"{scene.home}/other:/gone/bin:{os.environ['PATH']}",
    }
    done = scene.train(**active)
    assert done.status == 0, done.err
    argv = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]
    assert argv[:2] == ["~/miniconda3/envs/sd/bin/accelerate", "launch"]


def test_a_script_that_fails_is_told_and_the_run_goes_on(scene: Scene) -> None:
    prefix = make_prefix(scene.home / "miniconda3/envs/sd")
    bad = script(prefix, "echo no driver here >&2\nreturn 1\n")
    choose(scene, 'env = "conda:sd"')
    done = scene.train()
    assert done.status == 0
    assert (
        f"warning: {bad} failed with status 1, and what it exported counts: no driver here"
        in done.err
    )


def test_a_missing_environment_is_refused_with_those_that_exist(scene: Scene) -> None:
    make_prefix(scene.home / "miniconda3/envs/other")
    choose(scene, 'env = "conda:sd"')
    done = scene.train()
    assert done.status == 1
    assert "no conda environment is called sd; there are: other" in done.err
    assert "make it with: conda create -n sd python" in done.err
    assert (scene.tags(), scene.output.exists()) == ([], False)


def test_settings_and_a_dry_run_show_the_environment_and_settings_source_nothing(
    scene: Scene,
) -> None:
    prefix = make_prefix(scene.home / "miniconda3/envs/sd")
    sourced = scene.home / "sourced"
    script(prefix, f"echo it >> {sourced}\n")
    choose(scene, 'env = "conda:sd"')
    shown = scene.loragit("settings").out
    assert tomllib.loads(shown)["python"] == f"{prefix}/bin/python"
    assert shown.splitlines()[-1].endswith(f"# the conda environment {prefix}")
    for command in ("log", "status"):
        assert scene.loragit(command).status == 0
    assert not sourced.exists()
    dry = scene.train(NAME, "--dry-run")
    assert (
        f"the trainer's Python is {prefix}/bin/python, in the conda environment {prefix}" in dry.err
    )
    assert sourced.read_text() == "it\n"
    shutil.rmtree(prefix)
    missing = json.loads(scene.loragit("settings", "--json").out)["python"]
    assert missing["value"] == ""
    assert missing["source"].startswith("no conda environment is called sd; ")
    assert git(scene.dataset, "tag", "--list") == ""
