"""The wheel: it builds, holds what it must, and works where it is installed alone."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from loragit.version import __version__
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(folder),
            str(ROOT),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_hook_the_types_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        hook = archive.getinfo("loragit/hooks/pre-commit")
        assert archive.read(hook) == (ROOT / "hooks" / "pre-commit").read_bytes()
    assert {
        "loragit/py.typed",
        "loragit/trainers/environment/probe.py",
        "loragit/commands/demo/trainer.py",
    } <= names
    assert {
        f"loragit/commands/shell/{name}" for name in ("helpers.sh", "begin.zsh", "begin.bash")
    } <= names
    assert f"loragit-{__version__}.dist-info/licenses/LICENSE" in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_the_wheel_installs_and_answers(wheel: Path, tmp_path: Path) -> None:
    # The dependencies are those of the environment that runs the tests; the package is the wheel's.
    venv.create(tmp_path / "env", system_site_packages=False, with_pip=False, symlinks=True)
    target = next((tmp_path / "env" / "lib").glob("python3*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    python = tmp_path / "env" / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "loragit", "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == (f"loragit {__version__}\n", "")
    where = subprocess.run(
        [
            str(python),
            "-c",
            "from loragit.commands.hook.files import hook_source; print(hook_source())",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert where.stdout == f"{target / 'loragit' / 'hooks' / 'pre-commit'}\n", where.stderr
