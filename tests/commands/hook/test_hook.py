"""The pre-commit hook: real commits through the installed script, and what it asks."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from loragit.commands import hook
from loragit.commands.hook import files
from loragit.commands.hook.trainer_clean import SHOWN, CommitCheck, check
from loragit.errors import LoragitError, UsageError
from loragit.git.command import NotARepository

pytestmark = pytest.mark.measures_children

OURS = files.hook_source().read_bytes()
FOREIGN = b"#!/bin/sh\necho theirs >> ran.log\n"


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def repository(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def commit(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Change something in ``folder`` and commit it as a user would."""
    with (folder / "notes.txt").open("a") as notes:
        notes.write("more\n")
    git(folder, "add", "notes.txt")
    return subprocess.run(
        ["git", "commit", "-m", "more", *args], cwd=folder, capture_output=True, text=True
    )


def count(folder: Path) -> int:
    return int(git(folder, "rev-list", "--count", "HEAD"))


def executable(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def hooks_of(folder: Path) -> Path:
    return folder / git(folder, "rev-parse", "--git-path", "hooks")


def text(result: files.Status | files.Installed | files.Uninstalled) -> str:
    return "\n".join(hook.lines(result))


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    return repository(tmp_path / "sd-scripts", train__py="print()\n")


@pytest.fixture
def dataset(tmp_path: Path, trainer: Path) -> Path:
    return repository(
        tmp_path / "data sets" / "gren", loragit__toml=f'[trainer]\nrepo = "{trainer}"\n'
    )


@pytest.fixture
def loragit(tmp_path: Path) -> Path:
    """A ``loragit`` that is not on PATH, in a folder with a space and a quote in its name."""
    start = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m loragit "$@"\n'
    return executable(tmp_path / "bob's tools" / "loragit", start.encode())


@pytest.fixture(autouse=True)
def path_without_loragit(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = os.environ["PATH"].split(":")
    monkeypatch.setenv(
        "PATH", ":".join(folder for folder in folders if not Path(folder, "loragit").exists())
    )


@pytest.fixture
def on_path(loragit: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{loragit.parent}:{os.environ['PATH']}")
    return loragit


@pytest.fixture
def installed(dataset: Path, on_path: Path) -> Path:
    files.install(dataset, "loragit")
    return dataset


def looked_at(folder: Path) -> CommitCheck:
    return check(folder, os.environ)


def named(refusal: LoragitError) -> list[str]:
    return [finding.problem for finding in refusal.findings]


# --- commits ---


def test_a_commit_passes_while_the_trainer_is_clean(installed: Path) -> None:
    done = commit(installed)
    assert done.returncode == 0
    assert "loragit" not in done.stderr
    assert count(installed) == 2


def test_a_commit_is_refused_while_the_trainer_is_dirty_and_the_files_are_named(
    installed: Path, trainer: Path
) -> None:
    (trainer / "train.py").write_text("changed\n")
    (trainer / "new one.py").write_text("new\n")
    done = commit(installed)
    assert done.returncode == 1
    assert count(installed) == 1
    assert f"error: sd-scripts has 2 uncommitted changes in {trainer}" in done.stderr
    assert "train.py" in done.stderr
    assert "git commit --no-verify" in done.stderr


def test_changes_that_git_status_hides_are_refused_and_named(dataset: Path, trainer: Path) -> None:
    git(trainer, "update-index", "--assume-unchanged", "train.py")
    (trainer / "train.py").write_text("print('edited')\n")
    (refusal,) = looked_at(dataset).refusals
    assert named(refusal) == ["train.py (assume-unchanged)"]
    assert refusal.hint is not None
    assert "update-index --no-assume-unchanged --no-skip-worktree -- train.py" in refusal.hint


def test_an_ignored_module_that_the_settings_name_is_refused(dataset: Path, trainer: Path) -> None:
    (trainer / ".git/info/exclude").write_text("/mine\n/lycoris\n")
    (trainer / "mine").mkdir()
    for name in ("__init__", "opt", "other"):
        (trainer / "mine" / f"{name}.py").write_text("")
    repository(trainer / "lycoris", kohya__py="")
    with (dataset / "loragit.toml").open("a") as settings:
        settings.write("[trainer.args]\nnetwork_module = 'lycoris.kohya'\n")
        settings.write("optimizer_type = 'mine.opt.Lion'\n")
    (refusal,) = looked_at(dataset).refusals
    why = "(ignored, mine.opt is imported from it)"
    assert named(refusal) == [f"mine/opt.py {why}", f"mine/__init__.py {why}"]


def test_what_a_refusal_says_to_do_makes_the_commit_pass(installed: Path, trainer: Path) -> None:
    (trainer / "train.py").write_text("changed\n")
    (trainer / "new one.py").write_text("new\n")
    (trainer / "notes.md").write_text("mine\n")
    told = commit(installed).stderr
    command = told[told.index("git -C ") :].splitlines()[0]
    assert subprocess.run(command, shell=True, capture_output=True).returncode == 0
    assert commit(installed).returncode == 0
    assert (trainer / "notes.md").exists()
    git(trainer, "stash", "pop")
    assert (trainer / "new one.py").read_text() == "new\n"


def test_no_verify_passes_a_dirty_trainer(installed: Path, trainer: Path) -> None:
    (trainer / "train.py").write_text("changed\n")
    assert commit(installed, "--no-verify").returncode == 0


def test_an_untracked_module_in_the_trainer_is_refused_and_untracked_notes_are_not(
    installed: Path, trainer: Path
) -> None:
    (trainer / "notes.md").write_text("mine\n")
    assert commit(installed).returncode == 0
    (trainer / "patched.py").write_text("x = 1\n")
    done = commit(installed)
    assert done.returncode == 1
    assert "patched.py" in done.stderr
    assert "notes.md" not in done.stderr


def test_a_commit_of_named_paths_judges_the_trainer_by_its_own_index(
    installed: Path, trainer: Path
) -> None:
    # git gives such a commit's hook a GIT_INDEX_FILE of its own.
    (installed / "loragit.toml").write_text((installed / "loragit.toml").read_text() + "# more\n")
    assert commit(installed, "loragit.toml").returncode == 0
    (trainer / "train.py").write_text("changed\n")
    (installed / "loragit.toml").write_text((installed / "loragit.toml").read_text() + "# more\n")
    assert commit(installed, "loragit.toml").returncode == 1


def test_a_commit_in_a_subfolder_runs_the_hook(installed: Path, trainer: Path) -> None:
    (trainer / "train.py").write_text("changed\n")
    (installed / "images").mkdir()
    assert commit(installed / "images").returncode == 1


# --- a hook that was there ---


def test_a_kept_hook_runs_first_with_the_commit_going_on(dataset: Path, on_path: Path) -> None:
    theirs = executable(hooks_of(dataset) / "pre-commit", FOREIGN)
    done = files.install(dataset, "loragit")
    assert done.kept == theirs.with_name("pre-commit.chained")
    assert "pre-commit.chained was there before, and runs first" in text(done)
    assert commit(dataset).returncode == 0
    assert (dataset / "ran.log").read_text() == "theirs\n"


def test_a_kept_hook_that_fails_stops_the_commit_before_the_trainer_is_looked_at(
    dataset: Path, trainer: Path, on_path: Path
) -> None:
    executable(hooks_of(dataset) / "pre-commit", b"#!/bin/sh\necho no from theirs >&2\nexit 7\n")
    files.install(dataset, "loragit")
    (trainer / "train.py").write_text("changed\n")
    done = commit(dataset)
    assert done.returncode == 1
    assert "no from theirs" in done.stderr
    assert "sd-scripts" not in done.stderr
    script = subprocess.run([hooks_of(dataset) / "pre-commit"], cwd=dataset, capture_output=True)
    assert script.returncode == 7


def test_a_kept_hook_that_passes_does_not_hide_a_dirty_trainer(
    dataset: Path, trainer: Path, on_path: Path
) -> None:
    executable(hooks_of(dataset) / "pre-commit", FOREIGN)
    files.install(dataset, "loragit")
    (trainer / "train.py").write_text("changed\n")
    assert commit(dataset).returncode == 1
    assert (dataset / "ran.log").exists()


def test_uninstall_puts_the_kept_hook_back_byte_for_byte(dataset: Path, loragit: Path) -> None:
    theirs = executable(hooks_of(dataset) / "pre-commit", b"#!/bin/sh\r\n\xff\n")
    theirs.chmod(0o750)
    files.install(dataset, shlex.quote(str(loragit)))
    done = files.uninstall(dataset)
    assert (done.removed, done.restored) == (True, True)
    assert text(done) == f"removed {theirs}\nthe hook that was there before is back"
    assert theirs.read_bytes() == b"#!/bin/sh\r\n\xff\n"
    assert theirs.stat().st_mode & 0o777 == 0o750
    assert {p.name for p in theirs.parent.iterdir() if p.suffix != ".sample"} == {"pre-commit"}
    assert subprocess.run(["git", "config", "loragit.command"], cwd=dataset).returncode == 1


def test_a_hook_that_is_a_symbolic_link_is_kept_as_one_and_its_target_untouched(
    dataset: Path, on_path: Path, tmp_path: Path
) -> None:
    target = executable(tmp_path / "dotfiles" / "hook", FOREIGN)
    link = hooks_of(dataset) / "pre-commit"
    link.symlink_to(target)
    files.install(dataset, "loragit")
    assert link.with_name("pre-commit.chained").readlink() == target
    assert target.read_bytes() == FOREIGN
    assert not link.is_symlink()
    assert commit(dataset).returncode == 0
    assert (dataset / "ran.log").exists()
    files.uninstall(dataset)
    assert link.readlink() == target


def test_a_dangling_link_is_kept_too(dataset: Path) -> None:
    link = hooks_of(dataset) / "pre-commit"
    link.symlink_to("nowhere")
    files.install(dataset, "loragit")
    assert files.uninstall(dataset).restored
    assert os.readlink(link) == "nowhere"


def test_a_hook_of_another_kind_beside_a_kept_one_is_refused_and_both_stay(dataset: Path) -> None:
    theirs = executable(hooks_of(dataset) / "pre-commit", FOREIGN)
    kept = executable(theirs.with_name("pre-commit.chained"), b"older")
    with pytest.raises(files.HookInTheWay) as caught:
        files.install(dataset, "loragit")
    assert str(theirs) in caught.value.message
    assert shlex.quote(str(kept)) in str(caught.value.hint)
    assert (theirs.read_bytes(), kept.read_bytes()) == (FOREIGN, b"older")


MANAGER = b"""#!/bin/sh
[ -z "$PRE_COMMIT_RUNNING_LEGACY" ] || exit 5
echo manager >> ran.log
legacy=$(dirname "$0")/pre-commit.legacy
[ ! -x "$legacy" ] || PRE_COMMIT_RUNNING_LEGACY=1 exec "$legacy"
"""
"""What pre-commit does: it calls the hook that it moved aside, and gives up where it finds itself
called by itself."""


def install_manager(folder: Path) -> Path:
    path = hooks_of(folder) / "pre-commit"
    if path.exists() and path.read_bytes() != MANAGER:
        path.rename(path.with_name("pre-commit.legacy"))
    return executable(path, MANAGER)


def test_a_hook_manager_that_calls_the_hook_it_found_does_not_go_round_in_circles(
    dataset: Path, trainer: Path, on_path: Path
) -> None:
    install_manager(dataset)
    files.install(dataset, "loragit")
    theirs = install_manager(dataset)
    assert commit(dataset).returncode == 0
    assert (dataset / "ran.log").read_text() == "manager\nmanager\n"
    (trainer / "train.py").write_text("changed\n")
    done = commit(dataset)
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    files.uninstall(dataset)
    assert {p.name for p in theirs.parent.iterdir() if p.suffix != ".sample"} == {"pre-commit"}
    assert commit(dataset).returncode == 0


def test_a_hook_that_a_manager_moved_aside_is_known_where_it_lies(
    dataset: Path, trainer: Path, on_path: Path
) -> None:
    executable(hooks_of(dataset) / "pre-commit", FOREIGN)
    files.install(dataset, "loragit")
    moved = install_manager(dataset).with_name("pre-commit.legacy")
    assert commit(dataset).returncode == 0
    assert (dataset / "ran.log").read_text() == "manager\ntheirs\n"
    (trainer / "train.py").write_text("changed\n")
    assert commit(dataset).returncode == 1
    assert files.status(dataset).path == moved
    assert not files.install(dataset, "loragit").changed
    files.uninstall(dataset)
    assert moved.read_bytes() == FOREIGN
    assert commit(dataset).returncode == 0


# --- install, uninstall, status ---


def test_a_second_install_changes_nothing(dataset: Path) -> None:
    first = files.install(dataset, "loragit")
    before = first.status.path.stat()
    second = files.install(dataset, "loragit")
    assert (first.changed, second.changed) == (True, False)
    after = first.status.path.stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert text(first) == f"installed {first.status.path}"
    assert text(second) == f"{first.status.path} is installed already"


def test_the_installed_hook_is_the_shipped_one_and_nothing_else_is_left(dataset: Path) -> None:
    path = files.install(dataset, "loragit").status.path
    assert path.read_bytes() == OURS
    assert os.access(path, os.X_OK)
    assert {p.name for p in path.parent.iterdir() if p.suffix != ".sample"} == {"pre-commit"}
    assert git(dataset, "status", "--porcelain") == ""


def test_the_shipped_hook_carries_its_checksum_and_is_short() -> None:
    _, mark, body = OURS.split(b"\n", 2)
    assert mark == files.mark("pre-commit") + hashlib.sha256(body).hexdigest().encode()
    assert OURS.count(b"\n") < 45
    assert subprocess.run(["sh", "-n", files.hook_source()]).returncode == 0


def test_an_untouched_hook_of_another_version_is_updated(dataset: Path) -> None:
    path = files.install(dataset, "loragit").status.path
    body = b"exit 0\n"
    path.write_bytes(
        b"#!/bin/sh\n"
        + files.mark("pre-commit")
        + hashlib.sha256(body).hexdigest().encode()
        + b"\n"
        + body
    )
    assert "update it with: loragit hook install" in text(files.status(dataset))
    done = files.install(dataset, "loragit")
    assert text(done) == f"updated {path}"
    assert path.read_bytes() == OURS


def test_an_edited_hook_is_neither_overwritten_nor_removed(dataset: Path, on_path: Path) -> None:
    path = files.install(dataset, "loragit").status.path
    path.write_bytes(OURS + b"# mine\n")
    assert text(files.status(dataset)).startswith(f"installed, and edited since: {path}\n")
    for verb in (
        lambda: files.install(dataset, "loragit"),
        lambda: files.uninstall(dataset),
    ):
        with pytest.raises(files.HookEdited) as caught:
            verb()
        assert path.read_bytes() == OURS + b"# mine\n"
    command = str(caught.value.hint).partition(": ")[2]
    assert subprocess.run(command, shell=True).returncode == 0
    assert files.install(dataset, "loragit").changed


def test_a_hook_that_lost_its_mode_is_reported_and_mended(dataset: Path) -> None:
    path = files.install(dataset, "loragit").status.path
    path.chmod(0o644)
    assert not files.status(dataset).installed
    assert "git ignores it" in text(files.status(dataset))
    assert files.install(dataset, "loragit").changed
    assert files.status(dataset).installed


def test_status_tells_what_is_there(dataset: Path, on_path: Path) -> None:
    path = hooks_of(dataset) / "pre-commit"
    assert text(files.status(dataset)) == f"not installed: there is no {path}"
    executable(path, FOREIGN)
    assert "is another hook; loragit hook install keeps it" in text(files.status(dataset))
    files.install(dataset, "loragit")
    told = text(files.status(dataset)).splitlines()
    assert (told[0], told[-1]) == (
        f"installed: {path}",
        f"{path}.chained was there before, and runs first",
    )


def test_status_tells_that_loragit_is_gone(dataset: Path, loragit: Path) -> None:
    files.install(dataset, shlex.quote(str(loragit)))
    assert files.status(dataset).startable
    assert files.status(dataset).command == shlex.quote(str(loragit))
    loragit.unlink()
    assert "it will not find loragit" in text(files.status(dataset))


def test_uninstall_without_a_hook_of_ours_leaves_what_is_there(dataset: Path) -> None:
    path = hooks_of(dataset) / "pre-commit"
    assert text(files.uninstall(dataset)) == f"there was no loragit hook at {path}"
    executable(path, FOREIGN)
    assert not files.uninstall(dataset).removed
    assert path.read_bytes() == FOREIGN


def test_uninstall_brings_a_kept_hook_back_where_ours_was_removed_by_hand(dataset: Path) -> None:
    path = executable(hooks_of(dataset) / "pre-commit", FOREIGN)
    files.install(dataset, "loragit")
    path.unlink()
    assert text(files.status(dataset)).endswith(f"{path}.chained was kept by an earlier install")
    done = files.uninstall(dataset)
    assert (
        text(done) == f"there was no loragit hook at {path}\nthe hook that was there before is back"
    )
    assert path.read_bytes() == FOREIGN


def test_install_makes_a_folder_for_hooks_that_is_missing(
    dataset: Path, on_path: Path, trainer: Path
) -> None:
    folder = hooks_of(dataset)
    for sample in folder.iterdir():
        sample.unlink()
    folder.rmdir()
    files.install(dataset, "loragit")
    (trainer / "train.py").write_text("changed\n")
    assert commit(dataset).returncode == 1


def test_no_repository_and_a_bare_one_are_errors(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    for folder in ("plain", "bare.git"):
        for verb in (
            files.status,
            files.uninstall,
            lambda cwd: files.install(cwd, "loragit"),
        ):
            with pytest.raises(NotARepository):
                verb(tmp_path / folder)


def test_hooks_that_cannot_be_written_are_an_error_that_says_where(dataset: Path) -> None:
    folder = hooks_of(dataset)
    (folder / f"pre-commit.{os.getpid()}.new").mkdir()
    with pytest.raises(files.HooksUnusable) as caught:
        files.install(dataset, "loragit")
    assert str(folder) in caught.value.message


def test_a_hooks_path_that_is_no_folder_is_an_error_that_says_how_to_unset_it(
    dataset: Path,
) -> None:
    git(dataset, "config", "core.hooksPath", "/dev/null")
    with pytest.raises(files.HooksUnusable) as caught:
        files.install(dataset, "loragit")
    assert "git config --local --unset core.hooksPath" in str(caught.value.hint)


def test_a_package_without_its_hook_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        files,
        "__file__",
        str(tmp_path / "src" / "loragit" / "commands" / "hook" / "files.py"),
    )
    with pytest.raises(files.HookMissing):
        files.hook_source()
    inside = executable(tmp_path / "src" / "loragit" / "hooks" / "pre-commit", OURS)
    assert files.hook_source() == inside


# --- where git looks for hooks ---


@pytest.mark.parametrize("where", ["relative", "absolute"])
def test_core_hooks_path_is_obeyed(
    dataset: Path, trainer: Path, on_path: Path, tmp_path: Path, where: str
) -> None:
    value = "my hooks" if where == "relative" else str(tmp_path / "my hooks")
    git(dataset, "config", "core.hooksPath", value)
    (dataset / "images").mkdir()
    done = files.install(dataset / "images", "loragit")
    assert done.status.path == dataset / value / "pre-commit"
    assert not done.status.shared
    assert commit(dataset).returncode == 0
    (trainer / "train.py").write_text("changed\n")
    assert commit(dataset).returncode == 1


def test_a_folder_of_hooks_for_all_repositories_leaves_those_without_datasets_alone(
    dataset: Path, trainer: Path, loragit: Path, tmp_path: Path, home: Path
) -> None:
    git(dataset, "config", "--global", "core.hooksPath", "~/hooks")
    done = files.install(dataset, shlex.quote(str(loragit)))
    assert done.status.path == home / "hooks" / "pre-commit"
    assert done.status.shared
    assert "core.hooksPath sets that folder for every repository" in text(done)
    (trainer / "train.py").write_text("changed\n")
    assert commit(dataset).returncode == 1
    # loragit is found neither on PATH nor in the settings of this one, nor need it be.
    other = repository(tmp_path / "other")
    assert commit(other).returncode == 0
    # One with runs, or another dataset, is held up, and says how to go on.
    git(other, "branch", "runs")
    assert "could not run loragit" in commit(other).stderr
    nested = repository(tmp_path / "nested")
    (nested / "gren").mkdir()
    (nested / "gren" / "loragit.toml").touch()
    assert commit(nested).returncode == 1
    assert "gone from all of them" in text(files.uninstall(dataset))


def test_a_linked_worktree_has_the_hook(
    dataset: Path, trainer: Path, on_path: Path, tmp_path: Path
) -> None:
    git(dataset, "worktree", "add", "-q", str(tmp_path / "linked"))
    done = files.install(tmp_path / "linked", "loragit")
    assert done.status.path == dataset / ".git" / "hooks" / "pre-commit"
    (trainer / "train.py").write_text("changed\n")
    assert commit(tmp_path / "linked").returncode == 1
    assert commit(dataset).returncode == 1
    git(trainer, "checkout", "train.py")
    assert commit(tmp_path / "linked").returncode == 0


def test_a_submodule_has_a_hook_of_its_own(
    dataset: Path, trainer: Path, on_path: Path, tmp_path: Path
) -> None:
    parent = repository(tmp_path / "parent")
    git(parent, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(dataset), "gren")
    done = files.install(parent / "gren", "loragit")
    assert done.status.path == parent / ".git" / "modules" / "gren" / "hooks" / "pre-commit"
    (trainer / "train.py").write_text("changed\n")
    assert commit(parent / "gren").returncode == 1
    assert commit(parent).returncode == 0
    git(trainer, "checkout", "train.py")
    assert commit(parent / "gren").returncode == 0


# --- finding loragit ---


def test_loragit_is_found_where_it_was_when_it_is_not_on_path(
    dataset: Path, trainer: Path, loragit: Path
) -> None:
    files.install(dataset, shlex.quote(str(loragit)))
    assert commit(dataset).returncode == 0
    (trainer / "train.py").write_text("changed\n")
    done = commit(dataset)
    assert done.returncode == 1
    assert "train.py" in done.stderr


def test_a_command_of_several_words_starts_loragit(dataset: Path, trainer: Path) -> None:
    files.install(dataset, shlex.join([sys.executable, "-m", "loragit"]))
    assert commit(dataset).returncode == 0
    (trainer / "train.py").write_text("changed\n")
    assert "sd-scripts has an uncommitted change" in commit(dataset).stderr


def test_a_loragit_that_is_gone_stops_the_commit_and_says_how_to_go_on(
    dataset: Path, loragit: Path
) -> None:
    files.install(dataset, shlex.quote(str(loragit)))
    loragit.unlink()
    done = commit(dataset)
    assert done.returncode == 1
    assert "could not run loragit" in done.stderr
    assert "pipx install loragit && loragit hook install" in done.stderr
    assert "git commit --no-verify" in done.stderr
    remove = next(line for line in done.stderr.splitlines() if "rm " in line).partition("rm ")
    assert subprocess.run(remove[1] + remove[2], shell=True).returncode == 0
    assert commit(dataset).returncode == 0


def test_a_loragit_that_is_gone_says_how_to_get_the_kept_hook_back(tmp_path: Path) -> None:
    dataset = repository(tmp_path / "bob's data", loragit__toml="")
    path = executable(hooks_of(dataset) / "pre-commit", FOREIGN)
    files.install(dataset, "/nowhere/loragit")
    done = commit(dataset)
    command = next(line for line in done.stderr.splitlines() if "mv " in line).partition("mv ")
    assert subprocess.run(command[1] + command[2], shell=True).returncode == 0
    assert path.read_bytes() == FOREIGN


def test_a_broken_loragit_on_path_gives_way_to_the_one_that_is_recorded(
    dataset: Path, loragit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = executable(tmp_path / "broken" / "loragit", b"#!/nowhere/python\n")
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    files.install(dataset, shlex.quote(str(loragit)))
    assert commit(dataset).returncode == 0
    git(dataset, "config", "loragit.command", shlex.join([sys.executable, "-m", "no_such_module"]))
    assert "could not run loragit" in commit(dataset).stderr


# --- what is looked at ---


def test_a_repository_without_settings_and_runs_is_nobodys_dataset(
    tmp_path: Path, home: Path
) -> None:
    dirty = repository(home / "source" / "repos" / "sd-scripts", train__py="")
    (dirty / "train.py").write_text("changed\n")
    other = repository(tmp_path / "other")
    assert looked_at(other) == CommitCheck()
    git(other, "branch", "runs")
    assert [named(refusal) for refusal in looked_at(other).refusals] == [["train.py"]]


def test_a_default_trainer_that_is_not_there_is_not_mentioned(tmp_path: Path) -> None:
    assert looked_at(repository(tmp_path / "other", loragit__toml="")) == CommitCheck()


@pytest.mark.parametrize("ignored", [False, True])
def test_every_dataset_of_a_repository_is_looked_at(
    tmp_path: Path, trainer: Path, ignored: bool
) -> None:
    forked = repository(tmp_path / "forked", train__py="")
    many = repository(tmp_path / "many", **({"__gitignore": "loragit.toml\n"} if ignored else {}))
    for name, repo in (("gren", trainer), ("deep/noob", forked), ("third", trainer)):
        (many / name).mkdir(parents=True)
        (many / name / "loragit.toml").write_text(f'[trainer]\nrepo = "{repo}"\n')
        (many / name / "caption.txt").touch()
    git(many, "add", "-A")
    for repo in (trainer, forked):
        (repo / "train.py").write_text("changed\n")
    facts = {refusal.message for refusal in looked_at(many).refusals}
    assert facts == {
        f"{repo.name} has an uncommitted change in {repo}" for repo in (trainer, forked)
    }


def test_a_settings_file_that_was_deleted_names_nothing(dataset: Path, trainer: Path) -> None:
    (trainer / "train.py").write_text("changed\n")
    (dataset / "loragit.toml").unlink()
    assert looked_at(dataset) == CommitCheck()


def test_lycoris_is_looked_at_and_one_repository_is_told_of_once(
    dataset: Path, trainer: Path, tmp_path: Path
) -> None:
    lycoris = repository(tmp_path / "lycoris", setup__py="")
    (lycoris / "setup.py").write_text("changed\n")
    (lycoris / "lycoris").mkdir()
    settings = dataset / "loragit.toml"
    settings.write_text(f'[trainer]\nrepo = "{trainer}"\nlycoris_repo = "{lycoris}"\n')
    assert [refusal.message for refusal in looked_at(dataset).refusals] == [
        f"LyCORIS has an uncommitted change in {lycoris}"
    ]
    (tmp_path / "link").symlink_to(lycoris)
    settings.write_text(f'[trainer]\nrepo = "{lycoris}/lycoris"\nlycoris_repo = "../../link"\n')
    assert len(looked_at(dataset).refusals) == 1


def test_a_trainer_that_only_one_model_uses_is_looked_at(
    dataset: Path, trainer: Path, tmp_path: Path
) -> None:
    flux = repository(tmp_path / "flux", train__py="")
    (flux / "train.py").write_text("changed\n")
    with (dataset / "loragit.toml").open("a") as settings:
        settings.write(f'[models.flux]\nrepo = "{flux}"\n[models.noob]\nscript = "x.py"\n')
    assert [named(refusal) for refusal in looked_at(dataset).refusals] == [["train.py"]]


def test_the_environment_names_the_trainer_as_it_does_for_a_run(
    dataset: Path, tmp_path: Path
) -> None:
    other = repository(tmp_path / "other", train__py="")
    (other / "train.py").write_text("changed\n")
    assert check(dataset, {**os.environ, "SD_REPO": str(other)}).refusals
    assert not looked_at(dataset).refusals


def test_a_dirty_trainer_that_the_settings_allow_is_a_note(dataset: Path, trainer: Path) -> None:
    (trainer / "train.py").write_text("changed\n")
    with (dataset / "loragit.toml").open("a") as settings:
        settings.write("[record]\nallow_dirty = true\n")
    assert looked_at(dataset) == CommitCheck(
        notes=(f"sd-scripts has an uncommitted change in {trainer}, which the settings allow",)
    )


def test_a_dirty_trainer_that_only_one_of_two_datasets_allows_is_refused(
    dataset: Path, trainer: Path
) -> None:
    (trainer / "train.py").write_text("changed\n")
    for name in ("a", "z"):
        (dataset / name).mkdir()
        (dataset / name / "loragit.toml").write_text(
            f'[trainer]\nrepo = "{trainer}"\n[record]\nallow_dirty = true\n'
        )
    assert len(looked_at(dataset).refusals) == 1


def test_a_dataset_inside_its_trainers_repository_can_be_committed(trainer: Path) -> None:
    (trainer / "loragit.toml").write_text('[trainer]\nrepo = "."\n')
    (trainer / "train.py").write_text("changed\n")
    assert looked_at(trainer) == CommitCheck()


def test_a_trainer_that_is_missing_or_no_repository_is_a_note(
    dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").touch()
    git(tmp_path, "init", "-q", "unborn")
    for name in ("missing", "plain", "file", "unborn"):
        (dataset / "loragit.toml").write_text(f'[trainer]\nrepo = "{tmp_path / name}"\n')
        verdict = looked_at(dataset)
        assert verdict.refusals == ()
        assert len(verdict.notes) == 1
        assert str(tmp_path / name) in verdict.notes[0]


def test_a_long_list_of_files_is_cut_and_counted(dataset: Path, trainer: Path) -> None:
    for number in range(SHOWN + 12):
        (trainer / f"new{number:02}.py").touch()
    (refusal,) = looked_at(dataset).refusals
    assert named(refusal) == [*(f"new{number:02}.py" for number in range(SHOWN)), "and 12 more"]
    assert refusal.hint == f"commit or stash them; see: git -C {trainer} status"


def test_file_names_cannot_speak_to_the_terminal(installed: Path, trainer: Path) -> None:
    (trainer / "a\x1b[2Jb\n.py").touch()
    (trainer / os.fsdecode(b"\xff.py")).touch()
    done = commit(installed)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert r"a\x1b[2Jb\x0a.py" in done.stderr


def test_settings_that_do_not_parse_are_refused_with_the_error(installed: Path) -> None:
    (installed / "loragit.toml").write_text("[trainer\n")
    done = commit(installed)
    assert done.returncode == 1
    assert f"error: {installed / 'loragit.toml'} is not valid TOML" in done.stderr
    assert "git commit --no-verify" in done.stderr


def test_one_broken_settings_file_does_not_hide_a_dirty_trainer_of_another(
    dataset: Path, trainer: Path
) -> None:
    (trainer / "train.py").write_text("changed\n")
    (dataset / "broken").mkdir()
    (dataset / "broken" / "loragit.toml").write_text("[trainer]\nrepos = 1\n")
    messages = [refusal.message for refusal in looked_at(dataset).refusals]
    assert len(messages) == 2
    assert "unknown key trainer.repos" in messages[0]
    assert "sd-scripts has an uncommitted change" in messages[1]


def test_settings_that_came_with_a_clone_cannot_make_git_run_a_program(tmp_path: Path) -> None:
    made = repository(tmp_path / "made", loragit__toml='[trainer]\nrepo = "trainer/sub"\n')
    (made / "trainer" / "sub").mkdir(parents=True)
    (made / "trainer" / "sub" / "train.py").touch()
    git(made / "trainer", "init", "-q", "--bare", "inner")
    for path in (made / "trainer" / "inner").iterdir():
        path.rename(made / "trainer" / path.name)
    for empty in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (made / "trainer" / empty / "kept").touch()
    program = executable(made / "program", f"#!/bin/sh\ntouch {tmp_path}/ran\n".encode())
    git(made / "trainer", "config", "--file", "config", "core.fsmonitor", str(program))
    git(made / "trainer", "config", "--file", "config", "core.worktree", ".")
    git(made / "trainer", "config", "--file", "config", "core.bare", "false")
    git(made, "add", "-A")
    git(made, "commit", "-q", "-m", "bad")
    git(tmp_path, "clone", "-q", str(made), "cloned")
    subprocess.run(
        ["git", "status"], cwd=tmp_path / "cloned" / "trainer" / "sub", capture_output=True
    )
    assert (tmp_path / "ran").exists(), "git would run it"
    (tmp_path / "ran").unlink()
    verdict = looked_at(tmp_path / "cloned")
    assert not (tmp_path / "ran").exists()
    assert "is a repository without a work tree" in verdict.notes[0]


def test_a_work_tree_that_only_variables_know_of_is_a_note(tmp_path: Path) -> None:
    verdict = looked_at(tmp_path)
    assert verdict.refusals == ()
    assert "were not looked at" in verdict.notes[0]


# --- run_hook ---


def test_run_hook_answers_with_its_own_status(
    dataset: Path, trainer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hook.run_hook("pre-commit", (), os.environ, dataset) == 0
    assert capsys.readouterr() == ("", "")
    (trainer / "train.py").write_text("changed\n")
    assert hook.run_hook("pre-commit", (), os.environ, dataset) == hook.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "train.py" in err


@pytest.mark.parametrize(("name", "args"), [("post-commit", ()), ("pre-commit", ("x",)), ("", ())])
def test_run_hook_refuses_what_it_does_not_know(
    dataset: Path, capsys: pytest.CaptureFixture[str], name: str, args: tuple[str, ...]
) -> None:
    assert hook.run_hook(name, args, os.environ, dataset) == hook.REFUSED
    assert "error:" in capsys.readouterr().err


def test_run_hook_notes_what_it_could_not_look_at_and_passes(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "loragit.toml").write_text(f'[trainer]\nrepo = "{tmp_path / "missing"}"\n')
    assert hook.run_hook("pre-commit", (), os.environ, dataset) == 0
    assert "sd-scripts was not looked at" in capsys.readouterr().err


def test_the_hook_imports_nothing_heavy() -> None:
    code = (
        "import sys, loragit.commands.hook; print([m for m in sys.modules if m in ('typer', "
        "'pygit2', 'dulwich')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"


# --- the hooks that keep the record ---


@pytest.mark.parametrize("name", files.GUARDS)
def test_each_guard_is_installed_beside_a_kept_one_and_taken_out(dataset: Path, name: str) -> None:
    theirs = executable(hooks_of(dataset) / name, FOREIGN)
    done = files.install(dataset, "loragit", name)
    assert text(done) == f"installed {theirs}\n{theirs}.chained was there before, and runs first"
    assert theirs.read_bytes() == files.hook_source(name).read_bytes()
    assert subprocess.run(["git", "config", "loragit.command"], cwd=dataset).returncode == 1
    assert (
        text(files.status(dataset, name))
        == f"installed: {theirs}\n{theirs}.chained was there before, and runs first"
    )
    assert not files.install(dataset, "loragit", name).changed
    theirs.write_bytes(theirs.read_bytes() + b"# mine\n")
    with pytest.raises(files.HookEdited) as caught:
        files.uninstall(dataset, name)
    assert f"{name}.edited" in str(caught.value.hint)
    theirs.write_bytes(files.hook_source(name).read_bytes())
    assert (
        text(files.uninstall(dataset, name))
        == f"removed {theirs}\nthe hook that was there before is back"
    )
    assert theirs.read_bytes() == FOREIGN
    assert f"loragit hook install {name} keeps it" in text(files.status(dataset, name))


@pytest.mark.parametrize("name", files.GUARDS)
def test_the_shipped_guards_carry_their_checksums(name: str) -> None:
    _, second, body = files.hook_source(name).read_bytes().split(b"\n", 2)
    assert second == files.mark(name) + hashlib.sha256(body).hexdigest().encode()
    assert hook.hook_text(name) == files.hook_source(name).read_text()
    assert os.access(files.hook_source(name), os.X_OK)


def test_a_guard_that_two_keep_asks_for_one_to_be_taken_away(dataset: Path) -> None:
    executable(hooks_of(dataset) / "update", FOREIGN)
    executable(hooks_of(dataset) / "update.chained", FOREIGN)
    with pytest.raises(files.HookInTheWay) as caught:
        files.install(dataset, "loragit", "update")
    assert "then: loragit hook install update;" in str(caught.value.hint)


def test_a_bare_repository_gets_the_guards_and_no_hook_for_commits(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "shared.git")
    git(tmp_path, "config", "--global", "safe.bareRepository", "explicit")
    bare = tmp_path / "shared.git"
    told = list(hook.install_lines(bare, "loragit", files.GUARDS, secrets=None))
    assert told == [f"installed {bare}/hooks/{name}" for name in files.GUARDS]
    assert list(hook.status_lines(bare, ())) == [
        f"installed: {bare}/hooks/{name}" for name in files.GUARDS
    ]
    assert list(hook.uninstall_lines(bare, ())) == [
        f"removed {bare}/hooks/{name}" for name in files.GUARDS
    ]
    with pytest.raises(NotARepository):
        list(hook.install_lines(bare, "loragit", (), secrets=None))
    with pytest.raises(
        NotARepository
    ):  # what lies around a folder is not taken for the one that is meant
        files.status(bare / "objects", "update")


def test_without_a_name_one_is_installed_all_are_told_of_and_all_are_taken_out(
    dataset: Path, on_path: Path
) -> None:
    folder = hooks_of(dataset)
    assert list(hook.install_lines(dataset, "loragit", (), secrets=None)) == [
        f"installed {folder}/pre-commit"
    ]
    assert [line for line in hook.status_lines(dataset, ()) if "secrets" not in line] == [
        f"installed: {folder}/pre-commit",
        f"not installed: there is no {folder}/reference-transaction",
        f"not installed: there is no {folder}/update",
    ]
    list(hook.install_lines(dataset, "loragit", ("update", "update"), secrets=None))
    assert list(hook.uninstall_lines(dataset, ())) == [
        f"removed {folder}/pre-commit",
        f"removed {folder}/update",
    ]
    assert list(hook.uninstall_lines(dataset, ("update",))) == [
        f"there was no loragit hook at {folder}/update"
    ]


def test_a_hook_that_loragit_does_not_have_and_secrets_elsewhere_are_refused(dataset: Path) -> None:
    for verb in (
        lambda: list(hook.status_lines(dataset, ("post-commit",))),
        lambda: list(hook.install_lines(dataset, "loragit", ("update",), secrets=True)),
        lambda: hook.hook_text("secrets"),
    ):
        with pytest.raises(UsageError):
            verb()


def test_a_folder_for_all_repositories_says_what_a_guard_does_there(
    dataset: Path, home: Path
) -> None:
    git(dataset, "config", "--global", "core.hooksPath", str(home / "hooks"))
    assert "those without runs of loragit's are left alone" in text(
        files.install(dataset, "loragit", files.GUARDS[0])
    )
    assert "takes nothing but runs" in text(files.install(dataset, "loragit", "update"))


def test_a_hook_manager_may_ask_loragit_to_be_a_guard(dataset: Path, loragit: Path) -> None:
    zeros, commit_ = "0" * 40, git(dataset, "rev-parse", "HEAD")
    words = [str(loragit), "hook", "run", "update", "refs/heads/runs", zeros, commit_]
    done = subprocess.run(words, cwd=dataset, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"error: {commit_} is no run, no revert and no merge" in done.stderr
    words[4] = "refs/heads/other"
    assert subprocess.run(words, cwd=dataset, capture_output=True).returncode == 0
    code = "import os; from pathlib import Path; from loragit.commands.hook import run_hook; "
    code += f"run_hook('update', {[*words[4:]]!r}, os.environ, Path.cwd())"
    assert subprocess.run([sys.executable, "-c", code], cwd=dataset).returncode == 0
