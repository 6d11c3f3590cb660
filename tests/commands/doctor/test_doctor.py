"""``loragit doctor``: each check once right and once not, with its words and its fix; a fix really
repairs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loragit import text
from loragit.commands.doctor import examination, installation
from loragit.commands.doctor.check import (
    AREAS,
    DATASET,
    FAILED,
    INSTALLATION,
    OK,
    RECORD,
    TRAINER,
    WARNING,
    Check,
)
from loragit.errors import LoragitError
from loragit.git import repository
from loragit.run.preflight import prepare
from loragit.run.preflight.phases import Request
from loragit.settings.values import Flags
from loragit.store import journal
from loragit.system import alive
from loragit.trainers.environment import graphics
from loragit.trainers.environment import packages as environment
from tests.support.made_up_runs import a_run, an_outcome, open_store, sealed
from tests.support.paths import ROOT
from tests.support.processes import LORAGIT, commit_all
from tests.support.processes import git as run_git
from tests.support.user_home import Scene, make_scene

NAME = "noob-gren-v1s4"
SETTINGS = '[trainer]\nenv = "venv:~/env"\n'


STARTED = f"""#!{sys.executable}
import sys
from loragit.__main__ import main
sys.exit(main())
"""
"""As pip installs it; ``doctor`` knows it by its first line and need not start it."""


def make_python(folder: Path) -> Path:
    """The folder of packages of an environment in ``folder`` that starts the Python of these
    tests."""
    base = Path(sys._base_executable)  # type: ignore[attr-defined]
    packages = folder / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    packages.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    return packages


def install(packages: Path, name: str, version: str) -> None:
    """A package as pip leaves it, with nothing to import."""
    folder = packages / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body if body.startswith("#!") else f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def scene(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scene]:
    """Where nothing is wrong: a trainer's environment, a graphics card, loragit on PATH, the hook
    in place."""
    made = make_scene(home)
    packages = make_python(home / "env")
    install(packages, "torch", "2.4.0+cu121")
    install(packages, "accelerate", "0.33.0")
    made.settings(SETTINGS)
    commit_all(made.dataset, "settings")
    program(home / "bin/loragit", STARTED)
    program(home / "bin/python3", f'exec {home}/env/bin/python "$@"')  # where no settings name one
    program(home / "bin/nvidia-smi", "echo 'NVIDIA GeForce RTX 3090, 550.54.14'")
    monkeypatch.setenv("PATH", f"{home}/bin{os.pathsep}{os.environ['PATH']}")
    nowhere = graphics.Host(tmp_path / "proc", tmp_path / "wsl")
    defaults = environment.EnvironmentQuestion.__init__.__kwdefaults__
    assert defaults
    monkeypatch.setitem(defaults, "host", nowhere)
    hook = made.dataset / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    program(hook, (ROOT / "hooks/pre-commit").read_text())
    yield made


def look(scene: Scene, name: str | None = None, **changes: str | Path | None) -> list[Check]:
    """Every check of the dataset, without what was left out."""
    cwd = changes.get("cwd") or scene.dataset
    dataset = changes.get("dataset")
    asked = examination.DoctorOptions(
        name, str(dataset) if dataset else None, dict(os.environ), Path(cwd)
    )
    return list(examination.examine(asked)[0])


def wrong(scene: Scene, name: str | None = None, **changes: str | Path | None) -> list[Check]:
    return [check for check in look(scene, name, **changes) if check.status != OK]


def seen(scene: Scene, *args: str) -> list[Check]:
    """Every check, of a child: a preflight that ends early leaves questions that only a process's
    end stops."""
    return [Check(**row) for row in json.loads(scene.loragit("doctor", "--json", *args).out)]


def one(scene: Scene, name: str | None = None) -> Check:
    """The only thing that is wrong."""
    found = wrong(scene, name)
    assert len(found) == 1, found
    return found[0]


def shell(scene: Scene, command: str) -> None:
    done = scene.run(("sh", "-c", command), scene.dataset, {})
    assert done.status == 0, done.err


def same_as(error: LoragitError, found: list[Check]) -> None:
    """What a run is refused for is among ``found`` in the same words, and nothing else has
    failed."""
    refused = [(each.problem, each.hint) for each in error.findings] or [
        (error.message, error.hint)
    ]
    told = {(check.message, check.fix) for check in found if check.status == FAILED}
    assert told == set(refused)


def refusal(scene: Scene, name: str = NAME) -> LoragitError:
    with pytest.raises(LoragitError) as caught:
        prepare.prepare(Request.parse(name, Flags(), dict(os.environ), scene.dataset))
    return caught.value


# ---- how it is shown ----


def test_where_nothing_is_wrong_every_check_is_ok(scene: Scene) -> None:
    found = look(scene)
    assert [check for check in found if check.status != OK] == []
    assert [check.fix for check in found if check.fix] == []
    areas = [check.area for check in found]
    assert areas == sorted(areas, key=AREAS.index)
    assert set(areas) == set(AREAS)
    told = {check.check: check.message for check in found}
    assert re.fullmatch(r"git \d+\.\d+[.\d]* at /.*/git", told["git"])
    assert re.fullmatch(
        r"pygit2 [\d.]+ \(libgit2 [\d.]+\), dulwich [\d.]+, typer [\d.]+", told["libraries"]
    )
    assert told["loragit"].endswith(f" at {sys.executable}")
    assert told["command"] == f"loragit on PATH is {scene.home}/bin/loragit"
    assert told["identity"] == "runs are committed by Ada Trainer <ada@example.org>"
    assert (
        told["hook"] == f"the pre-commit hook is installed: {scene.dataset}/.git/hooks/pre-commit"
    )
    assert told["script"] == f"the trainer's script is {scene.trainer}/sdxl_train_network.py"
    assert re.fullmatch(
        rf"sd-scripts [0-9a-f]{{8}} \(sd3\) at {scene.trainer}, clean", told["repository"]
    )
    assert (
        told["python"]
        == f"the trainer's Python is {sys.version.split()[0]} at {scene.home}/env/bin/python"
    )
    assert (told["torch"], told["accelerate"]) == ("torch==2.4.0+cu121", "accelerate==0.33.0")
    assert told["LyCORIS"] == "LyCORIS not installed"
    assert told["graphics card"] == "NVIDIA GeForce RTX 3090, driver 550.54.14"
    assert told["run"] == "a run could start: 4 images, 4 captions"
    assert told["runs"] == f"no run on record yet in {scene.dataset}"
    assert f"the dataset's settings: {scene.dataset}/loragit.toml" in [
        check.message for check in found
    ]
    assert f"no settings of your own in {scene.home}/.config/loragit/loragit.toml" in [
        c.message for c in found
    ]


def test_a_line_a_check_with_its_fix_below_and_a_summary_at_the_end(scene: Scene) -> None:
    (scene.home / "bin/nvidia-smi").unlink()
    (scene.dataset / "sample-prompts.txt").unlink()
    done = scene.loragit("doctor")
    lines = done.out.splitlines()
    assert re.match(r"ok  git \d", lines[0])
    at = lines.index("warning  no NVIDIA graphics card was found")
    assert lines[at + 1] == "    fix: see what nvidia-smi says"
    at = lines.index(f"failed  there are no sample prompts {scene.dataset}/sample-prompts.txt")
    assert (
        lines[at + 1]
        == '    fix: write them there, or set paths.prompts = "" to train without samples'
    )
    number = sum(not line.startswith("    ") for line in lines) - 1
    assert lines[-1] == f"{number} checks, 1 warning, 1 failed"
    assert (done.status, done.err) == (1, "")


def test_for_a_machine_it_is_a_list_of_the_same(scene: Scene) -> None:
    done = scene.loragit("doctor", NAME, "--json")
    assert (done.status, done.err) == (0, "")
    table = json.loads(done.out)
    assert {tuple(row) for row in table} == {("area", "check", "status", "message", "fix")}
    assert [row["message"] for row in table if row["check"] == "run"] == [
        f"{NAME} could start: 4 images, 4 captions"
    ]
    (scene.dataset / "config.toml").unlink()
    done = scene.loragit("doctor", "--json", "--dataset", "gren", cwd=scene.home)
    assert done.status == 1
    assert [
        (row["area"], row["status"], row["fix"])
        for row in json.loads(done.out)
        if row["status"] == FAILED
    ] == [(DATASET, FAILED, "write one there, or name another: -- --dataset_config PATH")]


def test_it_writes_nothing_but_caches(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)

    def everything() -> dict[Path, tuple[int, int]]:
        files = (
            path
            for path in scene.home.rglob("*")
            if ".cache" not in path.parts and "env" not in path.parts
        )
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in files}

    before = everything()
    assert scene.loragit("doctor").status == 0
    assert everything() == before


def test_outside_a_dataset_it_looks_at_the_installation_and_says_so(scene: Scene) -> None:
    done = scene.loragit("doctor", cwd=scene.home)
    assert done.status == 0
    assert done.err == (
        f"loragit: {scene.home} is not a dataset: only the installation was checked; name a "
        "dataset with --dataset\n"
    )
    assert re.search(rf"^ok  {scene.home} has [\d.]+ [GM]B free$", done.out, re.MULTILINE)
    found = look(scene, cwd=scene.home)
    assert {check.area for check in found} == {INSTALLATION, TRAINER}
    assert [check for check in found if check.status != OK] == []
    assert DATASET in {check.area for check in look(scene, cwd=scene.home, dataset="gren")}


def test_too_little_room_is_told_outside_a_dataset_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "MIN_FREE", 2**62)
    found = [check for check in look(scene, cwd=scene.home) if check.check == "disk"]
    assert [(check.status, check.fix) for check in found] == [
        (FAILED, "make room, or set paths.output")
    ]


# ---- the installation ----


def test_without_git_it_says_so_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in ((scene.dataset, None), (scene.dataset, NAME), (scene.home, None)):
        with monkeypatch.context() as context:
            context.setenv("PATH", str(scene.home / "bin"))
            found = look(scene, name, cwd=folder)
        assert [(check.message, check.fix) for check in found if check.status == FAILED] == [
            ("git was not found on PATH", "install git 2.30 or newer")
        ]
    assert "the trainer's Python is " in " ".join(check.message for check in found)


def test_a_git_that_is_too_old_is_a_failure(scene: Scene) -> None:
    real = subprocess.run(
        ["sh", "-c", "command -v git"], capture_output=True, text=True, check=True
    ).stdout.strip()
    old = program(
        scene.home / "bin/git",
        f'case "$*" in *" version") echo "git version 2.25.1";; *) exec {real} "$@";; esac',
    )
    check = one(scene)
    assert (check.area, check.check, check.status) == (INSTALLATION, "git", FAILED)
    assert check.message == f"git 2.25.1 at {old} is too old"
    assert check.fix == "install git 2.30 or newer"


def test_a_library_that_cannot_be_imported_is_a_failure(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "_LIBRARIES", ("pygit2", "pygit3"))
    check = one(scene)
    assert (check.check, check.status) == ("libraries", FAILED)
    assert check.message == "pygit3 cannot be imported: No module named 'pygit3'"
    assert check.fix == "install loragit again: pipx reinstall loragit"


def test_without_loragit_on_path_scripts_do_not_find_it(scene: Scene) -> None:
    (scene.home / "bin/loragit").unlink()
    os.environ["PATH"] = os.pathsep.join(
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if not Path(folder, "loragit").exists()
    )
    found = {check.check: check for check in wrong(scene)}
    assert found["command"].message == "there is no loragit on PATH"
    assert found["command"].fix == "put it there: pipx ensurepath, then open a new terminal"
    # The hook finds none either.
    assert "it will not find loragit" in found["hook"].message
    assert len(found) == 2


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo loragit 0.0.1", "loragit 0.0.1"),
        ("exit 3", "exit status 3"),
        ("#!/opt/other/bin/python3\n", "of /opt/other/bin/python3"),
    ],
)
def test_another_loragit_on_path_is_a_warning(scene: Scene, body: str, told: str) -> None:
    where = program(scene.home / "bin/loragit", body)
    check = one(scene)
    assert (check.check, check.status) == ("command", WARNING)
    assert check.message.startswith(
        f"the loragit on PATH, {where}, is another one: {told}; this is loragit "
    )
    assert check.fix == "keep one of them; type -a loragit shows where they are"


def test_this_loragit_behind_a_script_is_known_by_its_version(scene: Scene) -> None:
    program(scene.home / "bin/loragit", f'exec {shlex.join(LORAGIT)} "$@"')
    assert wrong(scene) == []


def test_an_installed_loragit_is_known_by_its_python(scene: Scene) -> None:
    program(scene.home / "bin/loragit", f"#!{sys.executable}\n")
    assert wrong(scene) == []


def test_a_loragit_on_path_that_hangs_is_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "ANSWER", 0.2)
    program(scene.home / "bin/loragit", "exec sleep 60")
    assert "did not answer within 0.2 s" in one(scene).message


def test_an_unknown_user_is_told_once_and_as_a_run_is_refused(scene: Scene) -> None:
    (scene.home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    check = one(scene)
    assert (check.area, check.check, check.status) == (INSTALLATION, "identity", FAILED)
    same_as(refusal(scene), [check])
    assert check.fix
    shell(scene, check.fix)
    assert wrong(scene) == []


def test_caches_that_cannot_be_written_are_a_warning(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scene.home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", f"{scene.home}/file/cache")
    check = one(scene)
    assert (check.check, check.status) == ("caches", WARNING)
    assert check.message.startswith(f"{scene.home}/file cannot be written: without caches in ")
    assert check.fix == f"see who owns it (ls -ld {scene.home}/file), or set XDG_CACHE_HOME"


def test_a_hook_that_is_missing_old_or_edited_is_a_warning_whose_fix_puts_it_there(
    scene: Scene,
) -> None:
    hook = scene.dataset / ".git/hooks/pre-commit"
    edited = hook.read_text() + "# mine\n"
    hook.unlink()
    check = one(scene)
    assert (check.area, check.check, check.status) == (INSTALLATION, "hook", WARNING)
    assert check.message.startswith(f"the pre-commit hook is not installed: there is no {hook}")
    assert check.fix == "loragit hook install"
    shell(scene, check.fix)
    assert wrong(scene) == []
    hook.write_text(edited)
    check = one(scene)
    assert check.message.startswith(f"the pre-commit hook is installed, and edited since: {hook}")
    assert check.fix
    shell(scene, check.fix)
    assert wrong(scene) == []
    assert hook.with_name("pre-commit.edited").read_text() == edited


def test_hooks_that_git_cannot_run_are_a_warning(scene: Scene) -> None:
    (scene.home / "nothing").write_text("")
    scene.git("config", "core.hooksPath", str(scene.home / "nothing"))
    check = one(scene)
    assert check.message.startswith(f"git runs no hooks in {scene.dataset}: core.hooksPath is ")
    assert check.fix
    shell(scene, check.fix.partition(": ")[2])
    assert wrong(scene) == []


def test_settings_that_do_not_parse_are_a_failure_and_the_rest_is_said_to_be_left(
    scene: Scene,
) -> None:
    scene.settings("[trainer\n")
    done = scene.loragit("doctor")
    assert done.status == 1
    assert done.err == "loragit: the rest was not checked: it depends on that\n"
    check = one(scene)
    assert (check.area, check.check, check.status) == (INSTALLATION, "settings", FAILED)
    assert check.message.startswith(f"{scene.dataset}/loragit.toml is not valid TOML: ")
    assert check.fix == "texts need quotes; see https://toml.io for the syntax"


def test_the_users_own_settings_are_looked_at_too_and_told_once(scene: Scene) -> None:
    own = scene.home / ".config/loragit/loragit.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[trainer]\nrepoo = 1\n")
    check = one(scene)
    assert check.message == f"unknown key trainer.repoo in {own}; did you mean trainer.repo?"
    assert check.fix == "mend that file"
    own.write_text("[trainer]\nstop_timeout = 3\n")
    assert f"your own settings: {own}" in [check.message for check in look(scene)]
    assert wrong(scene) == []


# ---- the trainer ----


def test_a_trainer_that_is_missing_is_told_once_and_as_a_run_is_refused(scene: Scene) -> None:
    scene.trainer.rename(scene.home / "elsewhere")
    found = wrong(scene)
    same_as(refusal(scene), found)
    assert [(check.area, check.check, check.message) for check in found] == [
        (TRAINER, "script", f"there is no trainer script {scene.trainer}/sdxl_train_network.py")
    ]


def test_a_trainer_in_no_repository_is_told_as_a_run_is_refused(scene: Scene) -> None:
    (scene.trainer / ".git").rename(scene.home / "aside")
    found = wrong(scene)
    same_as(refusal(scene), found)
    assert [(check.area, check.check) for check in found] == [(TRAINER, "repository")]
    assert "is in no git repository" in found[0].message


def test_a_dirty_trainer_is_a_failure_unless_its_changes_are_recorded(scene: Scene) -> None:
    with open(scene.trainer / "sdxl_train_network.py", "a") as script:
        script.write("# mine\n")
    for number in range(6):
        (scene.trainer / f"more{number}.py").write_text("")
    found = wrong(scene)
    same_as(refusal(scene), found)
    assert [(check.area, check.check, check.status) for check in found] == [
        (TRAINER, "repository", FAILED)
    ]
    assert found[0].message.endswith("more0.py, more1.py, more2.py, more3.py and 2 more")
    assert [check.status for check in wrong(scene, cwd=scene.home)] == [WARNING]
    scene.settings(SETTINGS + "[record]\nallow_dirty = true\n")
    check = one(scene)
    assert (check.status, check.fix) == (
        WARNING,
        "its changes are recorded with every run; commit them there",
    )


def test_a_python_that_is_missing_is_told_once_and_as_a_run_is_refused(scene: Scene) -> None:
    scene.settings('[trainer]\nenv = "venv:~/nowhere"\n')
    found = wrong(scene)
    same_as(refusal(scene), found)
    assert [(check.area, check.check, check.status) for check in found] == [
        (TRAINER, "python", FAILED)
    ]


def test_a_python_that_hangs_is_waited_for_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "TIMEOUT", 2.0)
    hanging = program(scene.home / "env/bin/hanging", "exec sleep 600")
    scene.settings(f'[trainer]\npython = "{hanging}"\n')
    started = time.monotonic()
    found = wrong(scene)
    assert time.monotonic() - started < 60
    assert [(check.area, check.check, check.status, check.message) for check in found] == [
        (TRAINER, "python", FAILED, f"the trainer's Python {hanging} did not answer within 2 s")
    ]


def test_a_python_that_cannot_be_started_is_a_failure(scene: Scene) -> None:
    broken = program(scene.home / "env/bin/broken", "#!/nowhere/python\n")
    scene.settings(f'[trainer]\npython = "{broken}"\n')
    found = wrong(scene)
    same_as(refusal(scene), found)
    assert [check.area for check in found] == [TRAINER]


@pytest.mark.parametrize(
    ("package", "version", "message", "status"),
    [
        (
            "torch",
            "2.4.0+cpu",
            "torch==2.4.0+cpu is a build without CUDA: it would train on the processor",
            WARNING,
        ),
        ("torch", "2.4.0", "torch==2.4.0, which does not say whether it is built for CUDA", OK),
        (
            "torch",
            "",
            "the trainer's Python has no torch, which sd-scripts cannot do without",
            WARNING,
        ),
        (
            "accelerate",
            "",
            "the trainer's Python has no accelerate, which sd-scripts cannot do without",
            WARNING,
        ),
    ],
)
def test_packages_are_told_by_what_is_installed(
    scene: Scene, package: str, version: str, message: str, status: str
) -> None:
    (packages,) = (scene.home / "env").glob("lib/*/site-packages")
    (old,) = packages.glob(f"{package}-*")
    (old / "METADATA").unlink()
    old.rmdir()
    if version:
        install(packages, package, version)
    (check,) = (check for check in look(scene) if check.check == package)
    assert (check.area, check.status, check.message) == (TRAINER, status, message)
    assert (check.fix is None) == (status == OK)
    assert [each for each in wrong(scene) if each != check] == []


def test_a_torch_of_the_index_is_told_with_the_cuda_that_came_with_it(scene: Scene) -> None:
    (packages,) = (scene.home / "env").glob("lib/*/site-packages")
    (packages / "torch-2.4.0+cu121.dist-info").rename(packages / "torch-2.5.1.dist-info")
    (packages / "torch-2.5.1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.5.1\n"
    )
    install(packages, "nvidia_cuda_runtime_cu12", "12.4.127")
    told = {check.check: check.message for check in look(scene)}
    assert told["torch"] == "torch==2.5.1, with nvidia-cuda-runtime-cu12==12.4.127"


def test_lycoris_is_told_as_it_is_found_and_a_folder_that_is_not_there_is_a_warning(
    scene: Scene,
) -> None:
    (packages,) = (scene.home / "env").glob("lib/*/site-packages")
    install(packages, "lycoris_lora", "3.1.0")
    (packages / "lycoris").mkdir()
    (packages / "lycoris/__init__.py").write_text("")
    told = {check.check: check.message for check in look(scene)}
    assert told["LyCORIS"] == "LyCORIS 3.1.0 (release)"
    scene.settings(SETTINGS + 'lycoris_repo = "~/lycoris"\n')
    check = next(check for check in wrong(scene) if check.check == "LyCORIS")
    assert check.message == f"trainer.lycoris_repo names {scene.home}/lycoris, where no folder is"
    assert check.fix == "mend or remove that setting"


def test_without_a_card_there_is_a_warning_and_no_more(scene: Scene) -> None:
    program(scene.home / "bin/nvidia-smi", "exit 9")
    check = one(scene)
    assert (check.area, check.check, check.status) == (TRAINER, "graphics card", WARNING)
    assert check.message == "no NVIDIA graphics card was found"
    assert scene.loragit("doctor").status == 0


# ---- what a run would find ----


def break_much(scene: Scene) -> None:
    (scene.dataset / "sample-prompts.txt").unlink()
    (scene.dataset / "img").rename(scene.dataset / "images")
    scene.settings(
        '[trainer]\nlauncher = "no-such-launcher"\n[trainer.args]\nvae = '
        '"/no/vae.safetensors"\noutput_name = "x"\n'
    )
    with open(scene.trainer / "sdxl_train_network.py", "a") as script:
        script.write("# mine\n")


def test_with_a_name_it_finds_what_train_finds_in_the_same_words(scene: Scene) -> None:
    break_much(scene)
    for least in (3, 6):
        lines = scene.train(NAME).err.splitlines()
        told = {tuple(pair) for pair in zip(lines[1::2], lines[2::2], strict=True)}
        assert len(told) >= least
        failed = [check for check in seen(scene, NAME) if check.status == FAILED]
        assert {(f"  - {check.message}", f"    {check.fix}") for check in failed} == told
        # With arguments that are understood, it comes further.
        scene.settings(
            '[trainer]\nlauncher = "no-such-launcher"\n[trainer.args]\nvae = '
            '"/no/vae.safetensors"\n'
        )
        (scene.output / NAME).mkdir(parents=True, exist_ok=True)


def test_a_name_that_is_taken_is_told_as_train_tells_it(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    found = wrong(scene, NAME)
    same_as(refusal(scene), found)
    assert [check.message for check in found] == [f"run {NAME} already exists"]
    assert wrong(scene) == []


@pytest.mark.parametrize("name", ["-x", "noob-grem-v1s4", "gren"])
def test_a_name_that_cannot_be_a_run_here_is_a_failure(scene: Scene, name: str) -> None:
    found = wrong(scene, name)
    same_as(refusal(scene, name), found)
    assert [check.area for check in found] == [INSTALLATION]


def test_without_a_name_nobody_hears_of_the_one_that_is_made_up(scene: Scene) -> None:
    for broken in (False, True):
        if broken:
            break_much(scene)
        for made_up in ("model-dataset-v1s1000", "model-dataset-v2s1000"):
            found = seen(scene)
            assert [
                check for check in found if "-dataset-v" in f"{check.message} {check.fix}"
            ] == []
            assert [check for check in found if "exists already" in check.message] == []
            scene.git("tag", made_up, "HEAD", check=False)
            (scene.output / made_up).mkdir(parents=True, exist_ok=True)
    scene.git("branch", "model-dataset-v3s1000")
    assert "there is a branch called NAME: git would not know which one is meant" in [
        c.message for c in seen(scene)
    ]


def test_a_run_of_the_model_that_the_settings_name_is_looked_at(scene: Scene) -> None:
    scene.settings(
        SETTINGS + '[models."no word"]\n[models.pony.args]\nvae = "/no/pony.safetensors"\n'
    )
    assert one(scene).message == "--vae: there is no file or folder /no/pony.safetensors"
    assert wrong(scene, NAME) == []
    # The model of the newest run goes before.
    sealed(open_store(scene.dataset), NAME)
    assert wrong(scene) == []


def test_folders_are_looked_for_where_the_trainer_will_run(scene: Scene) -> None:
    config = (scene.dataset / "config.toml").read_text()
    (scene.dataset / "config.toml").write_text(config.replace(str(scene.dataset / "img"), "img"))
    assert {check.check for check in look(scene) if check.status == FAILED} == {"run"}
    scene.settings(SETTINGS + 'workdir = "dataset"\n')
    assert wrong(scene) == []
    assert f"4 images in {scene.dataset}/img, each begins as its kind does" in [
        check.message for check in look(scene)
    ]


def test_what_train_warns_of_is_a_warning(scene: Scene) -> None:
    scene.settings(SETTINGS + "[trainer.args]\nno_metadata = true\n")
    check = one(scene)
    assert (check.status, check.message) == (
        WARNING,
        "--no_metadata: the models will not name their run",
    )


def test_steps_that_are_none_are_told_with_and_without_a_name(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPS", "many")
    for name in (None, NAME):
        assert (
            one(scene, name).message == 'STEPS must be a number from 1 to 999999999; it is "many"'
        )


def test_a_folder_in_no_repository_is_a_failure_whose_fix_makes_it_one(scene: Scene) -> None:
    (scene.dataset / ".git").rename(scene.home / "aside")
    found = wrong(scene)
    same_as(refusal(scene), found)
    (check,) = found
    assert check.fix
    assert RECORD not in {each.area for each in look(scene)}
    shell(scene, check.fix.partition(": ")[2])
    assert [each.check for each in wrong(scene)] == ["hook"]


# ---- the dataset's files, and room ----


def test_the_files_of_the_dataset_are_looked_at(scene: Scene) -> None:
    stale = scene.dataset / "img/00_0064x0064_sdxl.npz"
    stale.write_bytes(b"cache")
    os.utime(stale, (1, 1))
    check = one(scene)
    assert (check.area, check.check, check.status) == (DATASET, "stale caches", WARNING)
    assert check.fix
    shell(scene, check.fix.partition(": ")[2])
    assert wrong(scene) == []


def test_a_config_file_says_what_the_settings_do_not(scene: Scene) -> None:
    (scene.trainer / "own.toml").write_text(
        "[saving]\nsave_every_n_steps = 100\nsave_state = true\n"
    )
    commit_all(scene.trainer, "own")
    scene.settings(SETTINGS + '[trainer.args]\nconfig_file = "own"\nnetwork_dim = 8\n')
    told = {check.check: check.message for check in look(scene)}
    assert told["disk"].startswith("1000 steps will write about ")
    assert (
        "for 11 models of 114 MB and 11 training states of 341 MB (an estimate from network_dim 8"
        in told["disk"]
    )
    (scene.trainer / "own.toml").write_text("saving =")
    commit_all(scene.trainer, "broken")
    found = seen(scene)
    (check,) = (check for check in found if check.status == FAILED)
    assert check.message.startswith(f"the config file {scene.trainer}/own.toml does not parse: ")
    assert "disk" not in {check.check for check in found}


def test_models_that_find_no_room_are_a_warning_by_an_estimate_and_a_failure_by_experience(
    scene: Scene,
) -> None:
    scene.settings(SETTINGS + "[trainer.args]\nnetwork_dim = 16\nsave_every_n_steps = 1\n")
    name = "noob-gren-v2s999999999"
    check = one(scene, name)
    assert (check.area, check.check, check.status) == (DATASET, "disk", WARNING)
    assert re.match(
        r"999999999 steps will write about [\d.]+ GB for 1000000000 models of 227 MB \(an est",
        check.message,
    )
    assert (
        check.fix
        == "make room, save less often (save_every_n_steps, save_last_n_steps), or set paths.output"
    )
    store = open_store(scene.dataset)
    opened = store.open(a_run(name=NAME, argv=("python", "x.py", "--network_dim", "16")))
    (model,) = an_outcome().models
    store.seal(opened, an_outcome(models=(model._replace(size=200_000_000),)))
    check = one(scene, name)
    assert check.status == FAILED
    assert f"models of 200 MB (as in {NAME}); " in check.message
    # Without a name, it is asked for as many steps as the newest run had.
    told = {each.check: each.message for each in look(scene)}
    assert told["disk"].startswith(
        f"4 steps will write about 1.0 GB for 5 models of 200 MB (as in {NAME}); "
    )


# ---- the record ----


def test_runs_that_is_checked_out_is_told_as_a_run_is_refused(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    told = {check.check: check.message for check in look(scene)}
    assert re.fullmatch(rf"runs is at [0-9a-f]{{8}}, 1 commit, in {scene.dataset}", told["runs"])
    scene.git("worktree", "add", str(scene.home / "tree"), "runs")
    found = wrong(scene, "noob-gren-v2s4")
    same_as(refusal(scene, "noob-gren-v2s4"), found)
    assert [(check.area, check.check, check.status) for check in found] == [
        (RECORD, "runs", FAILED)
    ]
    assert found[0].message == f"the branch runs is checked out in {scene.home}/tree"


def test_a_branch_runs_of_somebody_elses_is_a_failure_whose_fix_moves_it(scene: Scene) -> None:
    scene.git("branch", "runs")
    check = one(scene)
    assert (check.area, check.message) == (
        RECORD,
        "there is a branch runs that loragit did not make",
    )
    assert check.fix
    shell(scene, check.fix.partition(": ")[2])
    assert wrong(scene) == []


def test_a_run_that_was_interrupted_is_named_and_one_that_goes_on_is_not(scene: Scene) -> None:
    store = open_store(scene.dataset)
    store.open(a_run(name=NAME))
    me, now = os.getpid(), text.timestamp(datetime.now(UTC))
    boot = alive.boot_id() or ""
    note = journal.JournalEntry(
        NAME, now, me, alive.start_time(me) or "", boot, journal.host(), "/o"
    )
    private = repository.discover(scene.dataset).private
    journal.write(private, note)
    assert wrong(scene) == []
    journal.write(private, note._replace(pid_started="once"))
    check = one(scene)
    assert (check.area, check.check, check.status) == (RECORD, "interrupted runs", WARNING)
    assert (
        check.message == f"{NAME} was interrupted: its loragit, process {me} since {now}, is gone"
    )
    assert check.fix == "finish it with: loragit recover"


def test_a_lock_that_a_killed_git_left_is_a_warning_whose_fix_removes_it(scene: Scene) -> None:
    heads = scene.dataset / ".git/refs/heads"
    lock, young = heads / "it's.lock", scene.dataset / ".git/packed-refs.lock"
    lock.touch()
    young.touch()
    assert wrong(scene) == []
    os.utime(lock, (time.time() - 3600,) * 2)
    young.unlink()
    check = one(scene)
    assert (check.area, check.check, check.status) == (RECORD, "locks", WARNING)
    assert (
        check.message
        == f"{lock} is 60 minutes old: a git that was killed left it, and it blocks others"
    )
    assert check.fix
    assert check.fix.startswith("if no git is at work there: rm ")
    shell(scene, check.fix.partition(": ")[2])
    assert not lock.exists()
    fresh = scene.dataset / ".git/packed-refs.new"
    fresh.touch()
    os.utime(fresh, (time.time() - 3600,) * 2)
    assert one(scene).message.startswith(f"{fresh} is 60 minutes old")


def test_runs_beside_its_origin_is_told_with_what_brings_them_together(scene: Scene) -> None:
    store = open_store(scene.dataset)
    sealed(store, NAME)
    run_git(scene.home, "init", "-q", "--bare", "origin.git")
    scene.git("remote", "add", "origin", str(scene.home / "origin.git"))

    def told() -> tuple[str, str | None]:
        (check,) = (check for check in look(scene) if check.check == "origin")
        assert check.area == RECORD
        assert (check.status == WARNING) == (check.fix is not None)
        return check.message, check.fix

    push = "share it: git push --follow-tags origin runs"
    assert told() == ("runs was never pushed to origin", push)
    shell(scene, push.partition(": ")[2])
    assert told() == ("runs is at origin as it is here", None)
    sealed(store, "noob-gren-v2s4")
    assert told() == ("1 commit of runs not pushed to origin", push)
    shell(scene, push.partition(": ")[2])
    scene.git("update-ref", "refs/heads/runs", "runs~1")
    message, fix = told()
    assert message == "origin/runs has 1 commit more"
    sealed(store, "noob-gren-v3s4")
    assert told()[0] == "runs and origin/runs have diverged: 1 commit here, 1 commit there"
    scene.git("update-ref", "refs/heads/runs", "runs~1")
    assert fix
    shell(scene, fix)
    assert told() == ("runs is at origin as it is here", None)


def test_a_repository_that_git_cannot_read_is_a_failure_and_no_traceback(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    (scene.dataset / ".git/refs/heads/broken").write_text("no commit\n")
    (scene.dataset / ".git/refs/heads/runs").write_text("f" * 40 + "\n")
    done = scene.loragit("doctor")
    assert done.status == 1
    assert "Traceback" not in done.err
    assert re.search(r"^failed  .*\n    fix: ", done.out, re.MULTILINE)
