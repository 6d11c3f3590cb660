"""The trainer's Python: found where people keep it, never through a symbolic link, and missed with a next step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from loragit import pythons
from loragit.errors import LoragitError
from loragit.names import RunName
from loragit.settings import Flags, PythonMissing, find_python, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset folder."""
    (tmp_path / "gren").mkdir()
    return tmp_path / "gren"


def found(folder: Path, home: Path, line: str, environ: Mapping[str, str] | None = None) -> Path:
    """The Python of a dataset whose ``[trainer]`` holds ``line``."""
    (folder / "loragit.toml").write_text(f"[trainer]\n{line}\n")
    given = {"HOME": str(home), "PATH": "/nowhere", **(environ or {})}
    settings = load(name=RunName.parse("m-gren-v1s1"), flags=Flags(), environ=given, cwd=folder)
    return find_python(settings.trainer, given)


def python(prefix: Path) -> Path:
    """An executable that stands where an environment keeps its Python."""
    file = prefix / "bin/python"
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_by_default_python3_is_taken_from_path_else_python(folder: Path, home: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    plain = python(first)
    path = {"PATH": f":relative:{first}/bin:{second}/bin"}
    assert found(folder, home, "", path) == plain
    named = python(second).rename(second / "bin/python3")
    assert found(folder, home, "", path) == named
    assert found(folder, home, 'python = "python"', path) == plain
    with pytest.raises(PythonMissing) as caught:
        found(folder, home, 'python = "python3.99"', path)
    assert caught.value.message == "there is no python3.99 on PATH"
    assert 'env = "conda:NAME"' in (caught.value.hint or "")
    with pytest.raises(PythonMissing, match="there is no python3 or python on PATH"):
        found(folder, home, "")
    assert caught.value.exit_status == 1


def test_what_cannot_be_executed_is_no_python(folder: Path, home: Path, tmp_path: Path) -> None:
    plain = python(tmp_path / "first")
    plain.chmod(0o644)
    with pytest.raises(PythonMissing):
        found(folder, home, "", {"PATH": str(plain.parent)})
    with pytest.raises(PythonMissing, match=f"{plain} is no Python that can be run"):
        found(folder, home, f'python = "{plain}"')
    with pytest.raises(PythonMissing):
        found(folder, home, f'env = "{"x" * 5000}"')


@pytest.mark.parametrize("key", ["env", "python"])
def test_a_path_is_taken_as_it_is_and_its_links_are_kept(folder: Path, home: Path, key: str) -> None:
    real = python(folder / "real")
    link = folder / "v/bin/python"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    assert found(folder, home, f'{key} = "v/bin/python"') == link
    with pytest.raises(PythonMissing) as caught:
        found(folder, home, f'{key} = "./v"')
    assert caught.value.message == f"{folder}/v is no Python but an environment"
    assert caught.value.hint == f'write it as env = "venv:{folder}/v"'
    with pytest.raises(PythonMissing, match=f"{folder}/sdscripts is no Python that can be run"):
        found(folder, home, f'{key} = "./sdscripts"')


def test_a_virtual_environments_python_stays_inside_it(folder: Path, home: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    file = found(folder, home, 'env = "venv:.venv"')
    assert file == folder / ".venv/bin/python"
    asked = subprocess.run([file, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == str(folder / ".venv")


def test_a_missing_virtual_environment_is_told_with_the_command_that_makes_it(folder: Path, home: Path) -> None:
    with pytest.raises(PythonMissing) as caught:
        found(folder, home, 'env = "venv:~/v"')
    assert caught.value.message == f"there is no environment with a Python in {home}/v"
    assert caught.value.hint == f"name another with trainer.env, or make it: python3 -m venv {home}/v"


def refused(folder: Path, home: Path, line: str, variables: dict[str, str] | None = None) -> tuple[str, str]:
    with pytest.raises(PythonMissing) as caught:
        found(folder, home, line, variables or {})
    return caught.value.message, caught.value.hint or ""


def test_a_missing_virtual_environment_is_told_with_those_that_exist(folder: Path, home: Path) -> None:
    for place in (home / "source/repos/sd-scripts/venv", folder / ".venv"):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (folder / "img").mkdir()
    message, _ = refused(folder, home, 'env = "venv:./enw"')
    there = ", ".join(sorted((f"{folder}/.venv", f"{home}/source/repos/sd-scripts/venv")))
    assert message == f"there is no environment with a Python in {folder}/enw; there are: {there}"


def test_a_virtual_environment_whose_python_was_upgraded_away_is_told(folder: Path, home: Path) -> None:
    (folder / "v/bin").mkdir(parents=True)
    (folder / "v/bin/python").symlink_to("/usr/bin/python3.5")
    message, hint = refused(folder, home, 'env = "venv:v"')
    assert message == f"the environment {folder}/v is broken: its Python was /usr/bin/python3.5, which is gone"
    assert hint == f"make it again, with the same packages: python3 -m venv --clear {folder}/v"


def test_a_python_that_may_not_be_executed_is_told_with_what_allows_it(folder: Path, home: Path) -> None:
    file = python(folder / "v")
    file.chmod(0o644)
    assert refused(folder, home, 'env = "venv:v"') == (f"{file} may not be executed", f"allow it: chmod +x {file}")


def test_a_conda_environment_without_a_python_is_told(folder: Path, home: Path) -> None:
    python(home / "miniconda3/envs/other")
    (home / "miniconda3/envs/sd/conda-meta").mkdir(parents=True)
    message, hint = refused(folder, home, 'env = "conda:sd"')
    assert message == f"the conda environment {home}/miniconda3/envs/sd has no Python; there are: other"
    assert hint.startswith("install one: conda install -n sd python; or name its folder")


@pytest.mark.parametrize("variable", ["CONDA_ENVS_PATH", "CONDA_ENVS_DIRS"])
def test_conda_environments_are_found_where_condas_variables_say(
    folder: Path, home: Path, tmp_path: Path, variable: str
) -> None:
    file = python(tmp_path / "two/sd")
    value = f"{tmp_path}/one:{tmp_path}/two"
    assert found(folder, home, 'env = "conda:sd"', {variable: value}) == file


@pytest.mark.parametrize("block", ["envs_dirs:\n  - ~/one\n  - '{0}/two'\n", "x: 1\nenvs_dirs:\n- {0}/two\nlast: y"])
def test_conda_environments_are_found_where_its_condarc_says(
    folder: Path, home: Path, tmp_path: Path, block: str
) -> None:
    (home / ".condarc").write_text(block.format(tmp_path))
    file = python(tmp_path / "two/sd")
    assert found(folder, home, 'env = "conda:sd"') == file


def test_all_conda_environments_are_listed_by_name(home: Path, tmp_path: Path) -> None:
    for place in (home / "miniconda3", home / "miniconda3/envs/sd", tmp_path / "envs/sd", home / "micromamba/envs/a"):
        python(place)
    (home / "miniconda3/envs/empty").mkdir()
    listed = pythons.environments({"CONDA_ENVS_DIRS": str(tmp_path / "envs")}, home)
    assert [(each.name, each.prefix) for each in listed] == [
        ("a", home / "micromamba/envs/a"),
        ("base", home / "miniconda3"),
        *sorted([("sd", home / "miniconda3/envs/sd"), ("sd", tmp_path / "envs/sd")]),
    ]


@pytest.mark.parametrize(
    "root", ["miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".local/share/mamba", ".conda"]
)
def test_conda_environments_are_found_where_installers_put_them(folder: Path, home: Path, root: str) -> None:
    file = python(home / root / "envs/sd")
    assert found(folder, home, 'env = "conda:sd"') == file
    base = python(home / root)
    assert found(folder, home, 'env = "conda:base"') == base


def test_conda_environments_are_found_from_its_variables_first(folder: Path, home: Path, tmp_path: Path) -> None:
    at_home = python(home / "miniconda3/envs/sd")
    mamba = python(tmp_path / "mamba/envs/sd")
    conda = python(tmp_path / "conda/envs/sd")
    variables = {"MAMBA_ROOT_PREFIX": str(tmp_path / "mamba"), "CONDA_EXE": str(tmp_path / "conda/bin/conda")}
    assert found(folder, home, 'env = "conda:sd"', variables) == conda
    del variables["CONDA_EXE"]
    assert found(folder, home, 'env = "conda:sd"', variables) == mamba
    assert found(folder, home, 'env = "conda:sd"', {"MAMBA_ROOT_PREFIX": "relative"}) == at_home


def test_conda_environments_are_found_from_condas_own_list(folder: Path, home: Path, tmp_path: Path) -> None:
    root, apart = tmp_path / "opt/conda", tmp_path / "big/envs/sd"
    base, inner, listed = python(root), python(root / "envs/in"), python(apart)
    unnamed = python(tmp_path / "project/env")
    (root / "condabin").mkdir()
    (root / "condabin/conda").touch()
    (home / ".conda").mkdir()
    lines = [root, "", apart, unnamed.parent.parent, tmp_path / "gone/envs/old", "relative/envs/odd", "\udcff"]
    text = "\n".join(map(str, lines))
    (home / ".conda/environments.txt").write_text(text, "utf-8", "surrogateescape")
    assert found(folder, home, 'env = "conda:base"') == base
    assert found(folder, home, 'env = "conda:in"') == inner
    assert found(folder, home, 'env = "conda:sd"') == listed
    assert found(folder, home, f'env = "conda:{unnamed.parent.parent}"') == unnamed
    (tmp_path / "big/envs/empty").mkdir()
    with pytest.raises(PythonMissing) as caught:
        found(folder, home, 'env = "conda:old"')
    assert caught.value.message == "no conda environment with a Python is called old; there are: base, in, sd"
    assert "conda create -n old python" in (caught.value.hint or "")


def test_without_any_conda_that_is_said(folder: Path, home: Path) -> None:
    with pytest.raises(LoragitError, match="is called sd; no conda environment was found at all"):
        found(folder, home, 'env = "conda:sd"')
