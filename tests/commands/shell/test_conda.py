"""``setup_conda_env`` with stand-ins for conda, mamba and micromamba that do as those do in a
shell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.shell_scripts import NAME, SHELLS, need, run_code
from tests.support.user_home import Scene, make_scene

CONDA = r"""#!/bin/sh
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
prefix_of() {
    case $1 in
        base) echo "$root" ;;
        */*) echo "$1" ;;
        *) echo "$root/envs/$1" ;;
    esac
}
hook() {
    cat <<END
export CONDA_EXE='$root/bin/conda'
export CONDA_SHLVL="\${CONDA_SHLVL:-0}"
__conda_activate() {
    \local ask_conda
    ask_conda="\$(PS1="\${PS1:-}" '$0' shell.posix "\$@")" || \return
    \eval "\$ask_conda"
}
$1() {
    \local cmd="\${1-__missing__}"
    case "\$cmd" in
        activate|deactivate) __conda_activate "\$@" ;;
        *) '$0' "\$@" ;;
    esac
}
END
}
case "$1 $2" in
    "shell.zsh hook" | "shell.bash hook") [ "${0##*/}" = conda ] && hook conda ;;
    "shell hook") [ "$3 $4" = "--shell zsh" ] || [ "$3 $4" = "--shell bash" ] && hook "${0##*/}" ;;
    "shell.posix activate")
        prefix=$(prefix_of "$3")
        if ! [ -d "$prefix/conda-meta" ] || [ -e "$prefix/conda-meta/unknown" ]; then
            echo "EnvironmentNameNotFound: Could not find conda environment: $3" >&2
            exit 1
        fi
        echo "export PATH='$prefix/bin':\"\$PATH\""
        echo "export CONDA_PREFIX='$prefix'"
        echo "export CONDA_SHLVL=1"
        echo "export CONDA_DEFAULT_ENV='$3'"
        for script in "$prefix"/etc/conda/activate.d/*.sh; do
            [ ! -f "$script" ] || echo ". '$script'"
        done
        ;;
    *) exit 2 ;;
esac
"""


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    need(name)
    return name


def make_prefix(prefix: Path) -> Path:
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "bin").mkdir(exist_ok=True)
    python = prefix / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexport RAN_BY="{prefix}"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return prefix


def make_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONDA)
    path.chmod(0o755)
    return path


def make_conda(root: Path, *names: str) -> Path:
    make_program(root / "bin" / "conda")
    make_prefix(root)
    (root / "condabin").mkdir()
    for name in names:
        make_prefix(root / "envs" / name)
    return root


def test_an_environment_is_activated_and_trains(scene: Scene, shell: str) -> None:
    root = make_conda(scene.home / "miniconda3", "sdscripts", "other")
    hooks = root / "envs" / "sdscripts" / "etc" / "conda" / "activate.d"
    hooks.mkdir(parents=True)
    # Scripts of packages are written for shells that are less strict.
    (hooks / "cuda.sh").write_text('false\nexport CUDA_HOME="cuda$NOBODY_SET_THIS"\n')
    scene.settings('[trainer]\npython = "/nowhere/python"\n')
    scene.git("add", "-A")
    scene.git("commit", "-qm", "settings")
    code = (
        f"set -euo pipefail\nsetup_training_vars {NAME}\nsetup_conda_env sdscripts\necho "
        "$CUDA_HOME\n"
        '(unset NOBODY; echo "$NOBODY") 2>/dev/null || echo "strict again"\n'
        'run_training_script "$HOME/source/repos/sd-scripts/sdxl_train_network.py"\n'
    )
    done = run_code(scene, shell, code, STUB="environment")
    assert done.status == 0, done.err
    prefix = root / "envs" / "sdscripts"
    assert done.out.splitlines()[1:4] == [f"Conda environment: {prefix}", "cuda", "strict again"]
    assert f'"RAN_BY": "{prefix}"' in (scene.output / NAME / "environ.json").read_text()


def test_an_environment_that_is_missing_is_told_with_those_that_there_are(
    scene: Scene, shell: str
) -> None:
    make_conda(scene.home / "miniconda3", "sdscripts", "other")
    done = run_code(scene, shell, 'setup_conda_env sd || echo "$? <${CONDA_PREFIX-none}>"\n')
    assert done.out == "1 <none>\n"
    assert "no conda environment is called sd; there are: base, other, sdscripts" in done.err
    assert "conda create -n sd python" in done.err
    done = run_code(scene, shell, "set -e\nsetup_conda_env sd\necho went on\n")
    assert (done.status, done.out) == (1, "")


def test_no_conda_at_all_is_told(scene: Scene, shell: str) -> None:
    done = run_code(scene, shell, "setup_conda_env sdscripts || echo $?\n")
    assert done.out == "1\n"
    assert "no conda environment was found at all" in done.err
    make_prefix(scene.home / ".conda" / "envs" / "sdscripts")
    done = run_code(scene, shell, "setup_conda_env sdscripts || echo $?\n")
    assert done.out == "1\n"
    assert "but no conda, mamba or micromamba that could activate it" in done.err
    assert "setup_conda_env sdscripts PATH" in done.err


def test_the_folder_of_conda_can_be_given(scene: Scene, shell: str) -> None:
    make_conda(scene.home / "miniconda3", "sdscripts")
    root = make_conda(scene.home / "my conda", "sdscripts")
    done = run_code(
        scene,
        shell,
        'cd "$HOME"\nsetup_conda_env sdscripts "my conda"\nsetup_conda_env base "$HOME/my conda"\n',
    )
    assert done.out == f"Conda environment: {root}/envs/sdscripts\nConda environment: {root}\n", (
        done.err
    )
    done = run_code(scene, shell, "setup_conda_env nobody /nowhere || echo $?\n")
    assert done.out == "1\n"


@pytest.mark.parametrize("variable", ["CONDA_EXE", "PATH"])
def test_conda_is_found_elsewhere(scene: Scene, shell: str, variable: str) -> None:
    root = make_conda(scene.home / "opt" / "conda")
    make_prefix(scene.home / ".conda" / "envs" / "sdscripts")
    value = root / "bin" / "conda" if variable == "CONDA_EXE" else f"{root}/bin:$PATH"
    done = run_code(scene, shell, f'export {variable}="{value}"\nsetup_conda_env sdscripts\n')
    assert done.out == f"Conda environment: {scene.home}/.conda/envs/sdscripts\n", done.err


def test_an_environment_can_be_named_by_its_folder(scene: Scene, shell: str) -> None:
    make_conda(scene.home / "miniconda3")
    prefix = make_prefix(scene.home / "my env")
    done = run_code(scene, shell, 'setup_conda_env "$HOME/my env"\n')
    assert done.out == f"Conda environment: {prefix}\n", done.err
    done = run_code(scene, shell, "setup_conda_env /nowhere/env || echo $?\n")
    assert done.out == "1\n"
    assert "there is no environment with a Python in /nowhere/env" in done.err


@pytest.mark.parametrize("kind", ["micromamba", "mamba"])
def test_micromamba_and_mamba_activate_their_own(scene: Scene, shell: str, kind: str) -> None:
    root = scene.home / "micromamba"
    program = make_program(
        scene.home / ".local" / "bin" / kind if kind == "micromamba" else root / "bin" / kind
    )
    prefix = make_prefix(root / "envs" / "sdscripts")
    if kind == "micromamba":
        # It is told where its environments are, and the stand-in is not.
        program.write_text(CONDA.replace("root=$(", f'root="{root}" # $('))
    code = "set -eu\nsetup_conda_env sdscripts\ncommand -v python\n"
    done = run_code(scene, shell, code)
    assert done.out == f"Conda environment: {prefix}\n{prefix}/bin/python\n", done.err
    done = run_code(scene, shell, code, MAMBA_EXE=str(program))
    assert done.status == 0, done.err


def test_an_activation_that_fails_is_told(scene: Scene, shell: str) -> None:
    root = make_conda(scene.home / "miniconda3", "sdscripts")
    (root / "envs" / "sdscripts" / "conda-meta" / "unknown").touch()
    done = run_code(scene, shell, "setup_conda_env sdscripts || echo $?\n")
    assert done.out == "1\n"
    assert "EnvironmentNameNotFound" in done.err
    assert f"{root}/bin/conda did not activate {root}/envs/sdscripts" in done.err
    assert "conda activate sdscripts" in done.err
    (root / "bin" / "conda").write_text("#!/bin/sh\necho broken >&2\nexit 9\n")
    done = run_code(scene, shell, "set -eu\nif setup_conda_env sdscripts; then echo no; fi\n")
    assert "broken" in done.err
    assert "did not activate" in done.err
    (root / "bin" / "conda").write_text("#!/bin/sh\necho 'conda() { :; }'\n")
    assert "did not activate" in run_code(scene, shell, "setup_conda_env sdscripts\n").err


def test_the_name_of_an_environment_must_be_given(scene: Scene, shell: str) -> None:
    done = run_code(scene, shell, "setup_conda_env || echo $?\n")
    assert done.out == "1\n"
    assert "other arguments" in done.err


TRAIN = 'run_training_script "$HOME/source/repos/sd-scripts/sdxl_train_network.py"'


def test_after_a_failed_setup_nothing_is_trained_in_another_python(
    scene: Scene, shell: str
) -> None:
    make_conda(scene.home / "miniconda3", "sdscripts")
    code = (
        f"setup_training_vars {NAME}\nsetup_conda_env sd-scripts\n"
        'LYCORIS_REPO=$(get_lycoris_repo)\nstore_commits_hashes "$LYCORIS_REPO"\n'
        f'{TRAIN}\necho "status $?"\n'
    )
    done = run_code(scene, shell, code, SD_REPO=str(scene.trainer))
    assert done.out.splitlines()[1:] == ["status 1"]
    said = "setup_conda_env failed (sd-scripts), and nobody asked for another Python"
    assert done.err.count(said) == 3
    assert "mend what it said, or activate an environment in another way" in done.err
    assert not scene.output.exists()
    assert scene.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


@pytest.mark.parametrize(
    "then",
    [
        "setup_conda_env sdscripts",
        'export VIRTUAL_ENV="$HOME/miniconda3/envs/sdscripts"',
        'LORAGIT_TRAINER_PYTHON="$HOME/miniconda3/envs/sdscripts/bin/python"',
        'LORAGIT_TRAINER_ENV="$HOME/miniconda3/envs/sdscripts/bin/python"',
    ],
)
def test_after_a_failed_setup_another_environment_can_be_asked_for(
    scene: Scene, shell: str, then: str
) -> None:
    make_conda(scene.home / "miniconda3", "sdscripts")
    code = f"setup_conda_env sd-scripts\n{then}\n_loragit_require_environment\necho $?\n"
    assert run_code(scene, shell, code).out.splitlines()[-1] == "0"


def test_an_activation_that_fails_half_way_is_no_other_environment(
    scene: Scene, shell: str
) -> None:
    root = make_conda(scene.home / "miniconda3", "sdscripts", "other")
    hooks = root / "envs" / "sdscripts" / "etc" / "conda" / "activate.d"
    hooks.mkdir(parents=True)
    (hooks / "wrong.sh").write_text(f'export CONDA_PREFIX="{root}/envs/other"\n')
    code = "setup_conda_env sdscripts\n_loragit_require_environment\necho $?\n"
    done = run_code(scene, shell, code)
    assert done.out == "1\n"
    assert "did not activate" in done.err


def test_a_failed_setup_counts_in_a_script_that_loragit_started(scene: Scene, shell: str) -> None:
    run = {"LORAGIT_RUN": NAME, "LORAGIT_RUN_OUTPUT": str(scene.output / NAME)}
    done = run_code(scene, shell, f"setup_conda_env sdscripts\n{TRAIN}\n", **run)
    assert done.status == 1
    assert "setup_conda_env failed (sdscripts)" in done.err
