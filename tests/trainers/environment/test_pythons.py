"""The trainer's Python: found where people keep it, never through a symbolic link, and missed with
a next step."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.errors import LoragitError
from loragit.record.name import RunName
from loragit.settings.load import load_settings
from loragit.settings.values import Flags
from loragit.trainers.environment import conda as conda_module
from loragit.trainers.environment import pythons
from loragit.trainers.environment.conda import (
    _ROOTS,
    CondaEnvironment,
    _envs_dirs,
    conda_environments,
)
from loragit.trainers.environment.pythons import PythonMissing, find_python

pytestmark = pytest.mark.every_python


@pytest.fixture(autouse=True)
def _nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever conda this machine has for everybody."""
    monkeypatch.setattr(conda_module, "_SHARED_ROOTS", ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset folder."""
    (tmp_path / "gren").mkdir()
    return tmp_path / "gren"


def found(folder: Path, home: Path, line: str, environ: Mapping[str, str] | None = None) -> Path:
    """The Python of a dataset whose ``[trainer]`` holds ``line``."""
    (folder / "loragit.toml").write_text(f"[trainer]\n{line}\n")
    given = {"HOME": str(home), "PATH": "/nowhere", **(environ or {})}
    settings = load_settings(
        name=RunName.parse("m-gren-v1s1"), flags=Flags(), environ=given, cwd=folder
    )
    return find_python(settings.trainer, given)


def missed(
    folder: Path, home: Path, line: str, environ: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """What is said, and the next step, where there is no Python."""
    with pytest.raises(PythonMissing) as caught:
        found(folder, home, line, environ)
    return caught.value.message, caught.value.hint or ""


def python(prefix: Path) -> Path:
    """An executable that stands where an environment keeps its Python."""
    file = prefix / "bin/python"
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def conda(prefix: Path) -> Path:
    """The same in a conda environment."""
    (prefix / "conda-meta").mkdir(parents=True)
    return python(prefix)


def venv(prefix: Path) -> Path:
    """The same in a virtual environment."""
    file = python(prefix)
    (prefix / "pyvenv.cfg").touch()
    return file


# ---- PATH, and a path ----


def test_by_default_python3_is_taken_from_path_else_python(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    plain = python(first)
    path = {"PATH": f":relative:{first}/bin:{second}/bin"}
    assert found(folder, home, "", path) == plain
    named = python(second).rename(second / "bin/python3")
    assert found(folder, home, "", path) == named
    assert found(folder, home, 'python = "python"', path) == plain
    message, hint = missed(folder, home, 'python = "python3.99"', path)
    assert message == "there is no python3.99 on PATH"
    assert 'env = "conda:NAME"' in hint
    with pytest.raises(PythonMissing, match="there is no python3 or python on PATH") as caught:
        found(folder, home, "")
    assert caught.value.exit_status == 1


def test_what_cannot_be_executed_is_no_python(folder: Path, home: Path, tmp_path: Path) -> None:
    plain = python(tmp_path / "first")
    plain.chmod(0o644)
    with pytest.raises(PythonMissing):
        found(folder, home, "", {"PATH": str(plain.parent)})
    message, hint = missed(folder, home, f'python = "{plain}"')
    assert message == f"{plain} may not be executed"
    assert hint == f"allow it with: chmod +x {plain}"
    with pytest.raises(PythonMissing):
        found(folder, home, f'env = "{"x" * 5000}"')


@pytest.mark.parametrize("key", ["env", "python"])
def test_a_path_is_taken_as_it_is_and_its_links_are_kept(
    folder: Path, home: Path, key: str
) -> None:
    real = python(folder / "real")
    link = folder / "v/bin/python"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    assert found(folder, home, f'{key} = "v/bin/python"') == link
    environment = f"{folder}/v is an environment, not a Python"
    assert missed(folder, home, f'{key} = "./v"') == (
        environment,
        f'write it as env = "venv:{folder}/v"',
    )
    (folder / "v/conda-meta").mkdir()
    assert missed(folder, home, f'{key} = "./v"') == (
        environment,
        f'write it as env = "conda:{folder}/v"',
    )
    with pytest.raises(PythonMissing, match=f"{folder}/sdscripts is not a Python that can be run"):
        found(folder, home, f'{key} = "./sdscripts"')
    real.unlink()
    message, hint = missed(folder, home, f'{key} = "v/bin/python"')
    assert message == f"{link} leads to {real}, which is gone"
    assert hint == "mend the link, or name another Python"


def test_a_link_to_itself_is_no_python(folder: Path, home: Path) -> None:
    (folder / "loop").symlink_to("loop")
    with pytest.raises(PythonMissing, match=r"loop (is no Python|leads to)"):
        found(folder, home, 'env = "./loop"')


# ---- virtual environments ----


def test_a_virtual_environments_python_stays_inside_it(folder: Path, home: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    file = found(folder, home, 'env = "venv:.venv"')
    assert file == folder / ".venv/bin/python"
    asked = subprocess.run(
        [file, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == str(folder / ".venv")
    assert str(pythons.environment_prefix(file)) == f"the virtual environment {folder}/.venv"


def test_a_missing_virtual_environment_is_told_with_the_command_that_makes_it(
    folder: Path, home: Path
) -> None:
    message, hint = missed(folder, home, 'env = "venv:~/v"')
    assert message == f"there is no environment with a Python in {home}/v"
    assert hint == f"{home}/v/bin/python would have to be; make it with: python3 -m venv {home}/v"


def test_a_missing_virtual_environment_is_told_with_those_that_there_are(
    folder: Path, home: Path
) -> None:
    trainer = home / "source/repos/sd-scripts"
    venv(home / "envs/torch")
    python(home / "envs/plain")
    for name in (".venv", "env", "other"):
        venv(trainer / name)
    message, hint = missed(folder, home, 'env = "venv:~/envs/v"')
    there_are = f"{home}/envs/torch, {trainer}/.venv, {trainer}/env"
    assert (
        message == f"there is no environment with a Python in {home}/envs/v; there are: {there_are}"
    )
    assert (
        hint == f'write it as env = "venv:{home}/envs/torch", or make it with: python3 -m venv '
        f"{home}/envs/v"
    )
    message, _ = missed(folder, home, 'env = "venv:~/source/repos/sd-scripts/v"')
    assert message.endswith(f"there are: {trainer}/.venv, {trainer}/env, {trainer}/other")


def test_each_way_in_which_a_virtual_environment_is_broken_is_told_apart(
    folder: Path, home: Path
) -> None:
    file = venv(folder / "v")
    line = 'env = "venv:v"'
    file.chmod(0o644)
    broken = f"the environment {folder}/v is broken: {file}"
    assert missed(folder, home, line) == (
        f"{broken} may not be executed",
        f"allow it with: chmod +x {file}",
    )
    file.unlink()
    none = f"the environment {folder}/v has no Python: {file} is not there"
    assert missed(folder, home, line) == (none, "make it anew")
    file.symlink_to("python3.9")
    message, hint = missed(folder, home, line)
    file.unlink()
    file.mkdir()
    assert missed(folder, home, line)[0] == none
    (folder / "v/pyvenv.cfg").unlink()
    assert missed(folder, home, line)[0] == f"there is no environment with a Python in {folder}/v"
    assert message == f"{broken} leads to {folder}/v/bin/python3.9, which is gone"
    assert hint == 'make it anew, or install that Python again; or name another: env = "venv:PATH"'


# ---- conda ----


@pytest.mark.parametrize("root", _ROOTS)
def test_conda_environments_are_found_where_installers_put_them(
    folder: Path, home: Path, root: str
) -> None:
    file = conda(home / root / "envs/sd")
    assert found(folder, home, 'env = "conda:sd"') == file
    base = conda(home / root)
    assert found(folder, home, 'env = "conda:base"') == base


def test_conda_environments_are_found_where_it_is_for_everybody(
    folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conda_module, "_SHARED_ROOTS", (str(tmp_path / "opt"),))
    file = conda(tmp_path / "opt/envs/sd")
    assert found(folder, home, 'env = "conda:sd"') == file


def test_conda_environments_are_found_from_its_variables_first(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    at_home = conda(home / "miniconda3/envs/sd")
    places = {
        "CONDA_ENVS_DIRS": "envs",
        "CONDA_ENVS_PATH": "more",
        "CONDA_EXE": "conda/envs",
        "MAMBA_EXE": "mamba/envs",
        "MAMBA_ROOT_PREFIX": "micro/envs",
        "CONDA_PREFIX": "active/envs",
    }
    files = {variable: conda(tmp_path / place / "sd") for variable, place in places.items()}
    variables = {
        "CONDA_ENVS_DIRS": f"relative:{tmp_path}/nothing:{tmp_path}/envs",
        "CONDA_ENVS_PATH": str(tmp_path / "more"),
        "CONDA_EXE": str(tmp_path / "conda/bin/conda"),
        "MAMBA_EXE": str(tmp_path / "mamba/bin/mamba"),
        "MAMBA_ROOT_PREFIX": str(tmp_path / "micro"),
        "CONDA_PREFIX": str(tmp_path / "active/envs/sd"),
    }
    for variable, file in files.items():
        assert found(folder, home, 'env = "conda:sd"', variables) == file
        del variables[variable]
    assert found(folder, home, 'env = "conda:sd"', {"MAMBA_ROOT_PREFIX": "relative"}) == at_home


@pytest.mark.parametrize(
    "file", [".condarc", ".conda/.condarc", ".config/conda/.condarc", ".mambarc", "CONDARC", "root"]
)
def test_a_plain_list_of_folders_in_condas_settings_is_read(
    folder: Path, home: Path, tmp_path: Path, file: str
) -> None:
    (home / "miniconda3").mkdir()
    where = {"CONDARC": tmp_path / "rc", "root": home / "miniconda3/.condarc"}.get(
        file, home / file
    )
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(
        "channels:\n  - defaults\nenvs_dirs:  # mine\n\n  # big disk\n"
        f"  - {tmp_path}/one  # comment\n  - '~/two'\n"
        '- "$BIG/three"\n  - ${BIG}\n  - relative\n  - $NONE/x\n  - *anchor\n'
        f"pkgs_dirs:\n  - {tmp_path}/packages\n"
    )
    files = {
        conda(tmp_path / "one/a"),
        conda(home / "two/b"),
        conda(tmp_path / "big/three/c"),
        conda(tmp_path / "big/d"),
    }
    conda(tmp_path / "packages/e")
    environ = {"CONDARC": str(tmp_path / "rc"), "BIG": str(tmp_path / "big")}
    assert {found(folder, home, f'env = "conda:{name}"', environ) for name in "abcd"} == files
    message, _ = missed(folder, home, 'env = "conda:e"', environ)
    assert message == "no conda environment is called e; there are: a, b, c, d"


def test_condas_settings_that_are_no_text_are_left_alone(folder: Path, home: Path) -> None:
    os.mkfifo(home / ".condarc")
    (home / ".conda").mkdir()
    (home / ".conda/.condarc").symlink_to("/proc/self/mem")  # it can be opened, and not be read
    (home / ".mambarc").write_bytes(b"\xff\xfe\0envs_dirs: [/a]\n- \0\n")
    file = conda(home / "miniconda3/envs/sd")
    assert found(folder, home, 'env = "conda:sd"') == file


def test_conda_environments_are_found_from_condas_own_list(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    root, apart = tmp_path / "opt/conda", tmp_path / "big/envs/sd"
    base, inner, listed = conda(root), conda(root / "envs/in"), conda(apart)
    unnamed = conda(tmp_path / "project/env")
    (root / "condabin").mkdir()
    (root / "condabin/conda").touch()
    (home / ".conda").mkdir()
    lines = [
        root,
        "",
        apart,
        unnamed.parent.parent,
        tmp_path / "gone/envs/old",
        "relative/envs/odd",
        "\udcff",
    ]
    text = "\n".join(map(str, lines))
    (home / ".conda/environments.txt").write_text(text, "utf-8", "surrogateescape")
    assert found(folder, home, 'env = "conda:base"') == base
    assert found(folder, home, 'env = "conda:in"') == inner
    assert found(folder, home, 'env = "conda:sd"') == listed
    assert found(folder, home, f'env = "conda:{unnamed.parent.parent}"') == unnamed
    assert (
        str(pythons.environment_prefix(unnamed)) == f"the conda environment {tmp_path}/project/env"
    )
    (tmp_path / "big/envs/empty").mkdir()
    message, hint = missed(folder, home, 'env = "conda:old"')
    assert (
        message
        == f"no conda environment is called old; there are: {tmp_path}/project/env, base, in, sd"
    )
    assert hint.startswith("make it with: conda create -n old python, or name another: ")


def test_all_of_them_are_listed_by_name_each_folder_once(home: Path, tmp_path: Path) -> None:
    root = home / "miniforge3"
    conda(root)
    conda(root / "envs/sd")
    (root / "envs/no-python/conda-meta").mkdir(parents=True)
    (root / "envs/.cache").mkdir()
    (root / "envs/again").symlink_to(root / "envs/sd")
    conda(home / ".conda/envs/sd")
    (home / ".conda/environments.txt").write_text(f"{root}/envs/sd\n")
    listed = conda_environments({"CONDA_EXE": f"{root}/bin/conda"}, home)
    assert listed == (
        CondaEnvironment("again", root / "envs/again"),
        CondaEnvironment("base", root),
        CondaEnvironment("no-python", root / "envs/no-python"),
        CondaEnvironment("sd", home / ".conda/envs/sd"),
    )
    (root / "envs/again").unlink()
    assert [each.prefix for each in conda_environments({}, home) if each.name == "sd"] == [
        root / "envs/sd",
        home / ".conda/envs/sd",
    ]


def test_of_several_of_one_name_the_folders_are_told_and_the_first_with_a_python_is_taken(
    folder: Path, home: Path
) -> None:
    second = conda(home / "miniforge3/envs/sd")
    (home / "miniconda3/envs/sd/conda-meta").mkdir(parents=True)
    assert found(folder, home, 'env = "conda:sd"') == second
    message, _ = missed(folder, home, 'env = "conda:x"')
    both = f"sd ({home}/miniconda3/envs/sd), sd ({home}/miniforge3/envs/sd)"
    assert message == f"no conda environment is called x; there are: {both}"


def test_many_environments_are_not_all_told(folder: Path, home: Path) -> None:
    for number in range(15):
        conda(home / f"miniconda3/envs/e{number:02d}")
    message, _ = missed(folder, home, 'env = "conda:x"')
    assert message.endswith("e10, e11 and 3 more")


def test_each_way_in_which_a_conda_environment_is_broken_is_told_apart(
    folder: Path, home: Path
) -> None:
    file = conda(home / "miniconda3/envs/sd")
    prefix, line = file.parent.parent, 'env = "conda:sd"'
    file.chmod(0o644)
    broken = f"the conda environment {prefix} is broken: {file}"
    assert missed(folder, home, line) == (
        f"{broken} may not be executed",
        f"allow it with: chmod +x {file}",
    )
    file.unlink()
    none = f"the conda environment {prefix} has no Python"
    assert missed(folder, home, line) == (
        none,
        "put one into it with: conda install --name sd python",
    )
    hint = f"put one into it with: conda install --prefix {prefix} python"
    assert missed(folder, home, f'env = "conda:{prefix}"') == (none, hint)
    file.symlink_to("python3.9")
    message, hint = missed(folder, home, line)
    assert message == f"{broken} leads to {prefix}/bin/python3.9, which is gone"
    assert hint == "mend it with: conda install --name sd --force-reinstall python"


def test_a_missing_prefix_is_told_with_the_command_that_makes_it(folder: Path, home: Path) -> None:
    message, hint = missed(folder, home, 'env = "conda:~/p"')
    assert (
        message
        == f"there is no conda environment in {home}/p; no conda environment was found at all"
    )
    assert hint.startswith(f"make it with: conda create -p {home}/p python, or name another: ")


def test_without_any_conda_that_is_said(folder: Path, home: Path) -> None:
    with pytest.raises(LoragitError, match="is called sd; no conda environment was found at all"):
        found(folder, home, 'env = "conda:sd"')


def test_a_python_belongs_to_the_environment_that_it_lies_in(tmp_path: Path) -> None:
    assert pythons.environment_prefix(python(tmp_path / "plain")) is None
    (tmp_path / "plain/conda-meta").mkdir()
    assert pythons.environment_prefix(tmp_path / "plain/shims/python") is None
    both = venv(tmp_path / "both")
    (tmp_path / "both/conda-meta").mkdir()
    assert pythons.environment_prefix(both) == (pythons.VENV, tmp_path / "both")


@pytest.mark.parametrize("scheme", ["conda", "venv"])
def test_a_path_that_no_file_can_have_is_no_environment(
    folder: Path, home: Path, scheme: str
) -> None:
    message, _ = missed(folder, home, f'env = "{scheme}:/{"x" * 5000}"')
    assert message.startswith(
        ("there is no conda environment in /xxx", "there is no environment with a Python in /xxx")
    )


@given(text=st.text())
def test_any_text_in_condas_settings_is_survived(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.mktemp("rc") / ".condarc"
    file.write_text(f"envs_dirs:\n  - {text}\n", "utf-8", "replace")
    found = list(_envs_dirs(file, {"X": "/x"}, Path("/home/ada")))
    assert all(each.is_absolute() for each in found)
