"""The user's git as a child, tried on real repositories."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from loragit.errors import LoragitError
from loragit.git import checkout, command, identity, refs
from loragit.git.repository import Repository, discover
from loragit.record.values import Identity, RepoState


def run_git(cwd: Path, *args: str, data: bytes | None = None) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().removesuffix("\n")


def write(file: Path, content: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def commit(repository: Path, message: str = "work") -> str:
    run_git(repository, "add", "--all")
    run_git(repository, "commit", "--quiet", "--allow-empty", "-m", message)
    return run_git(repository, "rev-parse", "HEAD")


@pytest.fixture
def sd_scripts(tmp_path: Path) -> Path:
    """A repository as trainers are: scripts, a package, a .gitignore; one commit."""
    folder = tmp_path / "sd-scripts"
    folder.mkdir()
    run_git(folder, "init", "--quiet")
    write(folder / "train_network.py", "print('train')\n")
    write(folder / "library/train_util.py", "def train() -> None: ...\n")
    write(folder / "logo.png", bytes(range(256)))
    write(folder / ".gitignore", "__pycache__/\n/venv/\n*.log\n")
    commit(folder, "first")
    return folder


def state(folder: Path) -> RepoState:
    return checkout.repo_state(folder, "sd-scripts")


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and mtime (ns) of all files below ``folder``. Of objects only the content: git
    freshens their times."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {
        str(f): (f.read_bytes(), 0 if "objects" in f.parts else f.stat().st_mtime_ns) for f in files
    }


class TestDiscover:
    def test_a_repository_is_found_at_its_top(self, sd_scripts: Path) -> None:
        found = discover(sd_scripts)
        assert found == Repository(
            top=sd_scripts,
            git_dir=sd_scripts / ".git",
            common_dir=sd_scripts / ".git",
            prefix="",
            folder=sd_scripts,
        )
        assert found.private == sd_scripts / ".git/loragit"

    def test_a_sub_folder_knows_its_way_from_the_top(self, sd_scripts: Path) -> None:
        folder = sd_scripts / "sets/gren v2"
        folder.mkdir(parents=True)
        found = discover(folder)
        assert (found.top, found.prefix, found.folder) == (sd_scripts, "sets/gren v2", folder)
        assert found.common_dir == sd_scripts / ".git"

    def test_a_linked_worktree_has_its_own_git_dir_and_shares_the_common_one(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        tree = tmp_path / "tree"
        run_git(sd_scripts, "worktree", "add", "--quiet", "-b", "other", str(tree))
        found = discover(tree)
        assert (found.top, found.prefix) == (tree, "")
        assert found.git_dir == sd_scripts / ".git/worktrees/tree"
        assert found.common_dir == sd_scripts / ".git"

    def test_a_submodule_is_a_repository_of_its_own(self, sd_scripts: Path, tmp_path: Path) -> None:
        outer = tmp_path / "outer"
        outer.mkdir()
        run_git(outer, "init", "--quiet")
        add = (
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            str(sd_scripts),
            "sub",
        )
        run_git(outer, *add)
        found = discover(outer / "sub/library")
        assert (found.top, found.prefix) == (outer / "sub", "library")
        assert found.git_dir == found.common_dir == outer / ".git/modules/sub"

    def test_a_repository_without_a_commit_is_found(self, tmp_path: Path) -> None:
        run_git(tmp_path, "init", "--quiet")
        assert discover(tmp_path).top == tmp_path

    def test_a_separate_git_dir_is_found(self, tmp_path: Path) -> None:
        folder = tmp_path / "work"
        folder.mkdir()
        run_git(folder, "init", "--quiet", f"--separate-git-dir={tmp_path / 'elsewhere.git'}")
        assert discover(folder).common_dir == tmp_path / "elsewhere.git"

    def test_a_bare_repository_is_refused(self, tmp_path: Path) -> None:
        run_git(tmp_path, "init", "--quiet", "--bare", "bare.git")
        with pytest.raises(command.NotARepository, match="work tree"):
            discover(tmp_path / "bare.git")

    def test_a_plain_folder_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        with pytest.raises(command.NotARepository, match="is in no git repository") as caught:
            discover(tmp_path)
        assert caught.value.hint is not None
        assert caught.value.hint.startswith("make it one: git init ")

    @pytest.mark.parametrize(
        ("key", "value"), [("extensions.laterThanThis", "x"), ("core.repositoryFormatVersion", "9")]
    )
    def test_a_repository_that_this_git_is_too_old_for_is_not_to_be_made_anew(
        self, tmp_path: Path, key: str, value: str
    ) -> None:
        run_git(tmp_path, "init", "--quiet")
        run_git(tmp_path, "config", "core.repositoryFormatVersion", "1")
        run_git(tmp_path, "config", key, value)
        with pytest.raises(
            command.NotARepository, match=r"git cannot read the repository of .*: fatal: "
        ) as caught:
            discover(tmp_path)
        assert caught.value.hint == "use the git that made it"

    def test_a_folder_that_does_not_exist_is_said_not_to(self, tmp_path: Path) -> None:
        with pytest.raises(command.NotARepository, match=r"there is no folder .*nowhere"):
            discover(tmp_path / "nowhere")

    def test_a_file_is_no_repository(self, sd_scripts: Path) -> None:
        with pytest.raises(command.NotARepository):
            discover(sd_scripts / "train_network.py")

    @pytest.mark.parametrize(
        "name", ["with spaces", 'it\'s "quoted"', "Ünïcode", "line\nbreak", "-dash", "end "]
    )
    def test_any_folder_name_will_do(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / name / "sub"
        folder.mkdir(parents=True)
        run_git(tmp_path / name, "init", "--quiet")
        found = discover(folder)
        assert found.top == tmp_path / name
        assert found.git_dir == found.common_dir == tmp_path / name / ".git"
        assert found.prefix == "sub"

    def test_a_symbolic_link_into_a_repository_leads_to_its_own_common_dir(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        link = tmp_path / "datasets/gren"
        link.parent.mkdir()
        link.symlink_to(sd_scripts / "library")
        found = discover(link)
        assert found.top == sd_scripts
        assert found.common_dir.resolve() == sd_scripts / ".git"

    def test_a_repository_that_git_does_not_trust_is_refused_with_the_way_out(
        self, sd_scripts: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to try this
        with pytest.raises(command.NotARepository, match="another user owns it") as caught:
            discover(sd_scripts)
        assert caught.value.hint is not None
        assert "safe.directory" in caught.value.hint

    def test_without_git_on_path_that_is_what_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(command.GitMissing, match="git was not found") as caught:
            discover(tmp_path)
        assert caught.value.hint == "install git 2.30 or newer"


class TestRunning:
    def test_a_failure_carries_gits_last_words(self, sd_scripts: Path) -> None:
        with pytest.raises(
            command.GitFailed,
            match="git rev-parse --verify nowhere failed: fatal: Needed a single revision",
        ):
            command.run("rev-parse", "--verify", "nowhere", cwd=sd_scripts)

    def test_a_failure_without_words_carries_the_exit_status(self, sd_scripts: Path) -> None:
        write(sd_scripts / "logo.png", b"changed")
        with pytest.raises(command.GitFailed, match="failed: exit status 1"):
            command.run("diff", "--quiet", cwd=sd_scripts)
        assert command.call("diff", "--quiet", cwd=sd_scripts).status == 1

    def test_words_that_are_no_error_are_told_where_there_is_nothing_else(
        self, sd_scripts: Path
    ) -> None:
        with pytest.raises(
            command.GitFailed, match="failed: git: 'no-such-verb' is not a git command"
        ):
            command.run("no-such-verb", cwd=sd_scripts)

    @pytest.mark.parametrize("program", ["git-lfs-gone filter-process", "git-lfs-gone clean"])
    def test_a_filter_that_is_gone_is_named_with_the_next_step(
        self, sd_scripts: Path, program: str
    ) -> None:
        way = "process" if "process" in program else "clean"
        run_git(sd_scripts, "config", f"filter.lfs.{way}", program)
        run_git(sd_scripts, "config", "filter.lfs.required", "true")
        write(sd_scripts / ".gitattributes", "*.py filter=lfs\n")
        write(sd_scripts / "train.py", "print('others')\n")
        for question in (
            lambda: checkout.repo_state(sd_scripts, "sd-scripts"),
            lambda: command.run("add", "train.py", cwd=sd_scripts),
        ):
            with pytest.raises(command.GitFailed) as caught:
                question()
            assert caught.value.hint is not None
            assert "git-lfs filters files there, and does not work: install it" in caught.value.hint

    def test_another_filter_that_is_gone_is_no_git_lfs(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "config", "filter.mine.clean", "/nowhere/mine")
        run_git(sd_scripts, "config", "filter.mine.required", "true")
        write(sd_scripts / ".gitattributes", "*.py filter=mine\n")
        write(sd_scripts / "train.py", "print('others')\n")
        with pytest.raises(command.GitFailed, match="mine") as caught:
            checkout.repo_state(sd_scripts, "sd-scripts")
        assert caught.value.hint is not None
        assert "git config --get-regexp" in caught.value.hint

    @pytest.mark.parametrize(
        "configuration",
        [
            {"gpg.program": "false"},
            {"gpg.program": "/nowhere/gpg"},
            {"gpg.format": "ssh", "user.signingKey": "/nowhere/key"},
            {"gpg.format": "ssh", "gpg.ssh.program": "/nowhere/ssh-keygen"},
            {"gpg.format": "x509", "gpg.x509.program": "false"},
        ],
    )
    def test_a_commit_that_signing_stopped_tells_the_cause(
        self, sd_scripts: Path, configuration: dict[str, str]
    ) -> None:
        for key, value in {"commit.gpgSign": "true", **configuration}.items():
            run_git(sd_scripts, "config", key, value)
        with pytest.raises(command.GitFailed) as caught:
            command.run("commit", "--allow-empty", "-m", "x", cwd=sd_scripts)
        assert caught.value.hint is not None
        assert "commit.gpgSign" in caught.value.hint

    def test_a_commit_that_could_not_be_written_was_not_stopped_by_signing(
        self, sd_scripts: Path
    ) -> None:
        run_git(sd_scripts, "config", "commit.gpgSign", "false")
        with pytest.raises(command.GitFailed) as caught:
            command.run("commit", "-m", "nothing to commit", cwd=sd_scripts)
        assert caught.value.hint is None

    def test_gits_words_are_understood_in_any_language(
        self, sd_scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LANGUAGE", "de")  # shows where git's translations are installed
        with pytest.raises(command.GitFailed, match="failed: fatal: Needed a single revision"):
            command.run("rev-parse", "--verify", "nowhere", cwd=sd_scripts)
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        with pytest.raises(command.NotARepository, match="another user owns it"):
            discover(sd_scripts)

    def test_only_the_last_newline_is_dropped(self, sd_scripts: Path) -> None:
        write(sd_scripts / "two", "a\n\n")
        oid = run_git(sd_scripts, "hash-object", "-w", "two")
        assert command.run("cat-file", "blob", oid, cwd=sd_scripts) == "a\n"

    def test_input_and_variables_reach_git(self, sd_scripts: Path) -> None:
        assert (
            command.run("hash-object", "--stdin", cwd=sd_scripts, data=b"")
            == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        )
        names = ("GIT_AUTHOR_NAME=A B", "GIT_AUTHOR_EMAIL=c@d", "GIT_AUTHOR_DATE=1700000000 +0000")
        assert (
            command.run("var", "GIT_AUTHOR_IDENT", cwd=sd_scripts, variables=names)
            == "A B <c@d> 1700000000 +0000"
        )


class TestState:
    def test_a_clean_repository_on_a_branch(self, sd_scripts: Path) -> None:
        head = run_git(sd_scripts, "rev-parse", "HEAD")
        assert state(sd_scripts / "library") == RepoState(
            label="sd-scripts",
            path=sd_scripts,
            commit=head,
            branch="main",
            url=None,
            dirty=(),
            on_remote=False,
        )

    def test_a_detached_head_is_on_no_branch(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "checkout", "--quiet", "--detach")
        assert state(sd_scripts).branch is None

    def test_a_branch_may_have_slashes(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "checkout", "--quiet", "-b", "feature/lokr")
        assert state(sd_scripts).branch == "feature/lokr"

    def test_a_repository_without_a_commit_is_refused(self, tmp_path: Path) -> None:
        run_git(tmp_path, "init", "--quiet")
        with pytest.raises(command.NotARepository, match="has no commit yet") as caught:
            state(tmp_path)
        assert caught.value.hint == "commit its files first"

    def test_a_plain_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(command.NotARepository, match="is in no git repository"):
            state(tmp_path)

    def test_a_bare_repository_is_refused(self, tmp_path: Path) -> None:
        run_git(tmp_path, "init", "--quiet", "--bare", "bare.git")
        with pytest.raises(command.NotARepository):
            state(tmp_path / "bare.git")

    def test_asking_writes_nothing(self, sd_scripts: Path) -> None:
        os.utime(sd_scripts / "logo.png", (1, 1))  # git status would refresh the index now
        before = everything(sd_scripts)
        assert state(sd_scripts).dirty == ()
        assert everything(sd_scripts) == before


class TestDirty:
    def test_each_way_to_differ_from_head_is_named(self, sd_scripts: Path) -> None:
        for name in ("staged", "edited", "gone", "gone too", "old name"):
            write(sd_scripts / f"{name}.txt", f"{name}\n" * 20)
        commit(sd_scripts)
        write(sd_scripts / "staged.txt", "other\n")
        write(sd_scripts / "added.txt", "new\n")
        run_git(sd_scripts, "add", "staged.txt", "added.txt")
        write(sd_scripts / "edited.txt", "other\n")
        (sd_scripts / "gone.txt").unlink()
        run_git(sd_scripts, "rm", "--quiet", "gone too.txt")
        run_git(sd_scripts, "mv", "old name.txt", "library/new name.txt")
        found = state(sd_scripts / "library").dirty
        assert sorted(found) == [
            "added.txt",
            "edited.txt",
            "gone too.txt",
            "gone.txt",
            "library/new name.txt",
            "staged.txt",
        ]

    def test_a_rename_is_followed_by_what_comes_after_it(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "mv", "library/train_util.py", "a.py")
        write(sd_scripts / "train_network.py", "edited\n")
        assert state(sd_scripts).dirty == ("a.py", "train_network.py")

    def test_a_conflict_is_dirt(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "checkout", "--quiet", "-b", "theirs")
        write(sd_scripts / "train_network.py", "print('theirs')\n")
        commit(sd_scripts)
        run_git(sd_scripts, "checkout", "--quiet", "main")
        write(sd_scripts / "train_network.py", "print('ours')\n")
        commit(sd_scripts)
        assert command.call("merge", "theirs", cwd=sd_scripts).status == 1
        assert state(sd_scripts).dirty == ("train_network.py",)

    def test_a_changed_mode_is_dirt(self, sd_scripts: Path) -> None:
        (sd_scripts / "train_network.py").chmod(0o755)
        assert state(sd_scripts).dirty == ("train_network.py",)

    def test_odd_names_come_as_they_are(self, sd_scripts: Path) -> None:
        names = [
            "two words.py",
            "tab\there.py",
            "line\nbreak.py",
            "Ünï.py",
            '"quoted".py',
            "-> b.py",
            "1 . 2.py",
        ]
        for name in names:
            write(sd_scripts / name, "")
        commit(sd_scripts)
        for name in names:
            write(sd_scripts / name, "x")
        assert sorted(state(sd_scripts).dirty) == sorted(names)

    def test_a_changed_submodule_is_dirt_and_a_clean_one_is_none(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        outer = tmp_path / "outer"
        outer.mkdir()
        run_git(outer, "init", "--quiet")
        add = (
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            str(sd_scripts),
            "sub",
        )
        run_git(outer, *add)
        commit(outer)
        assert state(outer).dirty == ()
        write(outer / "sub/train_network.py", "edited\n")
        assert state(outer).dirty == ("sub/train_network.py",)
        commit(outer / "sub")
        assert state(outer).dirty == ("sub",)

    def test_untracked_python_is_dirt_and_other_files_are_not(self, sd_scripts: Path) -> None:
        write(sd_scripts / "sitecustomize.py", "")
        write(sd_scripts / "notes.md", "")
        write(sd_scripts / "config.toml", "")
        write(sd_scripts / "library/extra.py", "")
        write(sd_scripts / "output/model.safetensors", "")
        write(sd_scripts / "run.log", "")
        assert state(sd_scripts).dirty == ("library/extra.py", "sitecustomize.py")

    def test_an_untracked_package_is_dirt_as_a_folder(self, sd_scripts: Path) -> None:
        write(sd_scripts / "networks/__init__.py", "")
        write(sd_scripts / "networks/lora.py", "")
        assert state(sd_scripts).dirty == ("networks/",)

    def test_a_virtual_environment_is_no_dirt(self, sd_scripts: Path) -> None:
        write(sd_scripts / "env/pyvenv.cfg", "home = /usr/bin\n")
        write(sd_scripts / "env/activate_this.py", "")
        assert state(sd_scripts).dirty == ()

    def test_a_clone_of_something_else_is_no_dirt(self, sd_scripts: Path) -> None:
        inner = sd_scripts / "LyCORIS"
        inner.mkdir()
        run_git(inner, "init", "--quiet")
        write(inner / "setup.py", "")
        commit(inner)
        assert state(sd_scripts).dirty == ()

    def test_ignored_python_is_no_dirt(self, sd_scripts: Path) -> None:
        write(sd_scripts / "venv/lib/x.py", "")
        write(sd_scripts / "library/__pycache__/x.py", "")
        assert state(sd_scripts).dirty == ()

    def test_the_users_settings_for_status_change_nothing(self, sd_scripts: Path) -> None:
        for key, value in (
            ("status.showUntrackedFiles", "no"),
            ("status.relativePaths", "true"),
            ("status.short", "true"),
            ("status.branch", "false"),
            ("status.renames", "copies"),
            ("core.quotePath", "true"),
            ("color.ui", "always"),
        ):
            run_git(sd_scripts, "config", key, value)
        write(sd_scripts / "Ünï.py", "")
        write(sd_scripts / "train_network.py", "edited\n")
        assert state(sd_scripts / "library").dirty == ("train_network.py", "Ünï.py")

    @pytest.mark.parametrize("setting", ["true", "input"])
    def test_line_endings_that_git_converts_are_no_dirt(
        self, sd_scripts: Path, setting: str
    ) -> None:
        run_git(sd_scripts, "config", "core.autocrlf", setting)
        run_git(sd_scripts, "config", "core.safecrlf", "false")
        file = write(sd_scripts / "windows.py", "import os\r\nimport sys\r\n")
        commit(sd_scripts)
        os.utime(file, (1, 1))
        assert state(sd_scripts).dirty == ()

    def test_a_file_that_a_filter_changes_is_no_dirt(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "config", "filter.upper.clean", "tr a-z A-Z")
        run_git(sd_scripts, "config", "filter.upper.smudge", "tr A-Z a-z")
        write(sd_scripts / ".gitattributes", "*.bin filter=upper\n")
        file = write(sd_scripts / "w.bin", "weights")
        commit(sd_scripts)
        assert run_git(sd_scripts, "show", "HEAD:w.bin") == "WEIGHTS"
        os.utime(file, (1, 1))
        assert state(sd_scripts).dirty == ()

    def test_below_a_folder_only_its_own_dirt_counts(self, sd_scripts: Path) -> None:
        write(sd_scripts / "gren/0.txt", "1girl")
        commit(sd_scripts)
        write(sd_scripts / "train_network.py", "edited\n")
        write(sd_scripts / "gren/0.txt", "1boy")
        write(sd_scripts / "gren/1.txt", "new")
        report = checkout.read_dirty(checkout.start_dirty(discover(sd_scripts / "gren")))
        assert report == checkout.StatusReport(
            commit=run_git(sd_scripts, "rev-parse", "HEAD"),
            branch="main",
            upstream=None,
            changed=("gren/0.txt",),
            untracked=("gren/1.txt",),
        )

    def test_before_the_first_commit_all_is_untracked(self, tmp_path: Path) -> None:
        run_git(tmp_path, "init", "--quiet")
        write(tmp_path / "0.txt", "1girl")
        report = checkout.read_dirty(checkout.start_dirty(discover(tmp_path)))
        assert report == checkout.StatusReport(None, "main", None, (), ("0.txt",))

    def test_a_status_that_fails_is_an_error(self, sd_scripts: Path) -> None:
        repository = discover(sd_scripts)
        write(sd_scripts / ".git/index", "not an index")
        with pytest.raises(command.GitFailed, match="git status failed: "):
            checkout.read_dirty(checkout.start_dirty(repository))


def clone(source: Path, to: Path) -> Path:
    run_git(source.parent, "clone", "--quiet", str(source), str(to))
    return to


class TestRemotes:
    def test_a_clone_knows_where_it_is_from_and_that_its_commit_is_there(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        found = state(clone(sd_scripts, tmp_path / "clone"))
        assert (found.url, found.on_remote) == (str(sd_scripts), True)

    def test_a_commit_that_was_not_pushed_is_on_no_remote(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        copy = clone(sd_scripts, tmp_path / "clone")
        commit(copy, "mine")
        assert not state(copy).on_remote

    def test_a_commit_behind_the_remotes_tip_is_on_the_remote(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        commit(sd_scripts, "second")
        copy = clone(sd_scripts, tmp_path / "clone")
        run_git(copy, "checkout", "--quiet", "--detach", "HEAD^")
        assert state(copy).on_remote

    def test_the_upstreams_remote_comes_before_origin(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        copy = clone(sd_scripts, tmp_path / "clone")
        fork = clone(sd_scripts, tmp_path / "fork")
        run_git(copy, "remote", "add", "ada", str(fork))
        assert state(copy).url == str(sd_scripts)
        run_git(copy, "fetch", "--quiet", "ada")
        run_git(copy, "branch", "--quiet", "--set-upstream-to=ada/main")
        assert state(copy).url == str(fork)

    def test_without_an_upstream_origin_comes_first_then_any(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "remote", "add", "ada", "https://example.org/ada")
        assert state(sd_scripts).url == "https://example.org/ada"
        run_git(sd_scripts, "remote", "add", "origin", "https://example.org/origin")
        assert state(sd_scripts).url == "https://example.org/origin"

    def test_of_several_urls_of_a_remote_the_first_is_fetched_from(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "remote", "add", "my.fork", "https://example.org/one")
        run_git(sd_scripts, "remote", "set-url", "--add", "my.fork", "https://example.org/two")
        assert state(sd_scripts).url == "https://example.org/one"

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://github.com/kohya-ss/sd-scripts", "https://github.com/kohya-ss/sd-scripts"),
            ("https://ada:hunter2@example.org/a.git", "https://example.org/a.git"),
            ("https://ghp_0123456789@example.org/a.git", "https://example.org/a.git"),
            ("http://ada:hunter2@example.org:8080/a.git", "http://example.org:8080/a.git"),
            ("https://ada:p@ss@example.org/a.git", "https://example.org/a.git"),
            ("ssh://git@example.org/a.git", "ssh://git@example.org/a.git"),
            ("ssh://ada:hunter2@example.org/a.git", "ssh://ada@example.org/a.git"),
            ("git@github.com:kohya-ss/sd-scripts.git", "git@github.com:kohya-ss/sd-scripts.git"),
            ("https://example.org/@scope/a.git", "https://example.org/@scope/a.git"),
            ("/mnt/repos/sd scripts", "/mnt/repos/sd scripts"),
        ],
    )
    def test_a_url_is_shown_without_credentials(
        self, sd_scripts: Path, url: str, shown: str
    ) -> None:
        run_git(sd_scripts, "remote", "add", "origin", url)
        assert state(sd_scripts).url == shown


def edit_text(folder: Path) -> None:
    write(folder / "train_network.py", "print('edited')\nno newline at the end")


def edit_binary(folder: Path) -> None:
    write(folder / "logo.png", bytes(reversed(range(256))))


def stage(folder: Path) -> None:
    edit_text(folder)
    write(folder / "library/new.py", "staged\n")
    run_git(folder, "add", ".")


def stage_then_edit(folder: Path) -> None:
    stage(folder)
    write(folder / "library/new.py", "edited after staging\n")


def stage_ignored(folder: Path) -> None:
    write(folder / "kept.log", "staged\n")
    run_git(folder, "add", "--force", "kept.log")


def delete(folder: Path) -> None:
    (folder / "logo.png").unlink()
    run_git(folder, "rm", "--quiet", "library/train_util.py")


def rename(folder: Path) -> None:
    run_git(folder, "mv", "train_network.py", "sdxl train.py")


def make_executable(folder: Path) -> None:
    (folder / "train_network.py").chmod(0o755)


def add_untracked(folder: Path) -> None:
    write(folder / "extra.py", "extra\n")
    write(folder / "networks/__init__.py", "")
    write(folder / "networks/weights.bin", bytes(range(256)) * 4)


def add_oddly_named(folder: Path) -> None:
    for name in (
        "two words.py",
        "a[1]*.py",
        "line\nbreak.py",
        "Ünï.py",
        ":(top)x.py",
        '"quoted".py',
    ):
        write(folder / name, f"# {name!r}\n")


def replace_by_link(folder: Path) -> None:
    (folder / "train_network.py").unlink()
    (folder / "train_network.py").symlink_to("library/train_util.py")


def replace_by_folder(folder: Path) -> None:
    (folder / "train_network.py").unlink()
    write(folder / "train_network.py/__init__.py", "")


CHANGES: list[Callable[[Path], None]] = [
    edit_text,
    edit_binary,
    stage,
    stage_then_edit,
    stage_ignored,
    delete,
    rename,
    make_executable,
    add_untracked,
    add_oddly_named,
    replace_by_link,
    replace_by_folder,
]


def work_tree(folder: Path) -> dict[str, tuple[bytes | str, bool]]:
    found: dict[str, tuple[bytes | str, bool]] = {}
    for root, folders, files in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        for name in files:
            file = Path(root, name)
            content = str(file.readlink()) if file.is_symlink() else file.read_bytes()
            found[str(file.relative_to(folder))] = (content, os.access(file, os.X_OK))
    return found


class TestPatch:
    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
    def test_applied_to_a_clean_clone_it_makes_the_same_files(
        self, sd_scripts: Path, tmp_path: Path, change: Callable[[Path], None]
    ) -> None:
        copy = clone(sd_scripts, tmp_path / "clone")
        change(sd_scripts)
        before = everything(sd_scripts)
        found = checkout.patch(state(sd_scripts))
        assert everything(sd_scripts) == before
        run_git(copy, "apply", "--binary", "-", data=found)
        assert work_tree(copy) == work_tree(sd_scripts)

    def test_a_conflict_is_kept_with_its_markers(self, sd_scripts: Path, tmp_path: Path) -> None:
        run_git(sd_scripts, "checkout", "--quiet", "-b", "theirs")
        write(sd_scripts / "train_network.py", "print('theirs')\n")
        commit(sd_scripts)
        run_git(sd_scripts, "checkout", "--quiet", "main")
        write(sd_scripts / "train_network.py", "print('ours')\n")
        commit(sd_scripts)
        copy = clone(sd_scripts, tmp_path / "clone")
        command.call("merge", "theirs", cwd=sd_scripts)
        found = checkout.patch(state(sd_scripts))
        run_git(copy, "apply", "-", data=found)
        assert "<<<<<<< HEAD" in (copy / "train_network.py").read_text()

    def test_what_is_no_dirt_is_not_in_it(self, sd_scripts: Path) -> None:
        edit_text(sd_scripts)
        write(sd_scripts / "notes.md", "mine\n")
        write(sd_scripts / "wandb_key.txt", "secret\n")
        write(sd_scripts / "networks/lora.py", "")
        write(sd_scripts / "networks/__pycache__/lora.cpython-311.pyc", b"\0compiled")
        write(sd_scripts / "networks/train.log", "ignored\n")
        found = checkout.patch(state(sd_scripts)).decode()
        assert re.findall(r"^diff --git a/(\S+)", found, re.M) == [
            "networks/lora.py",
            "train_network.py",
        ]

    def test_a_clean_repository_has_an_empty_one(self, sd_scripts: Path) -> None:
        assert checkout.patch(state(sd_scripts)) == b""

    def test_the_users_settings_for_diffs_change_nothing(self, sd_scripts: Path) -> None:
        edit_text(sd_scripts)
        edit_binary(sd_scripts)
        write(sd_scripts / ".git/info/attributes", "*.py diff=upper\n")
        plain = checkout.patch(state(sd_scripts))
        for key, value in (
            ("diff.noprefix", "true"),
            ("diff.mnemonicPrefix", "true"),
            ("diff.external", "false"),
            ("diff.upper.textconv", "tr a-z A-Z <"),
            ("diff.context", "0"),
            ("diff.renames", "copies"),
            ("diff.wsErrorHighlight", "all"),
            ("color.ui", "always"),
            ("core.pager", "false"),
            ("core.abbrev", "12"),
            ("diff.algorithm", "patience"),
        ):
            run_git(sd_scripts, "config", key, value)
        assert checkout.patch(state(sd_scripts)) == plain

    def test_it_is_the_same_in_a_linked_worktree(self, sd_scripts: Path, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        run_git(sd_scripts, "worktree", "add", "--quiet", "--detach", str(tree))
        for folder in (sd_scripts, tree):
            edit_text(folder)
            add_untracked(folder)
        before = everything(sd_scripts)
        assert checkout.patch(state(tree)) == checkout.patch(state(sd_scripts)) != b""
        assert everything(sd_scripts) == before

    def test_it_works_in_a_clone_that_borrows_objects(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        run_git(tmp_path, "clone", "--quiet", "--shared", str(sd_scripts), "shared")
        edit_binary(sd_scripts)
        edit_binary(tmp_path / "shared")
        assert (
            checkout.patch(state(tmp_path / "shared")) == checkout.patch(state(sd_scripts)) != b""
        )

    def test_an_odd_folder_name_is_no_obstacle(self, tmp_path: Path) -> None:
        folder = tmp_path / 'a:b "c"'
        folder.mkdir()
        run_git(folder, "init", "--quiet")
        write(folder / "a.py", "a\n")
        commit(folder)
        write(folder / "a.py", "b\n")
        assert b"-a\n+b\n" in checkout.patch(state(folder))

    def test_a_diff_that_fails_is_an_error(self, sd_scripts: Path) -> None:
        edit_text(sd_scripts)
        found = state(sd_scripts)
        oid = run_git(sd_scripts, "rev-parse", "HEAD:train_network.py")
        (sd_scripts / ".git/objects" / oid[:2] / oid[2:]).unlink()
        with pytest.raises(command.GitFailed, match="failed"):
            checkout.patch(found)


class TestTracking:
    def test_a_tracked_file_leads_to_its_repository(self, sd_scripts: Path) -> None:
        assert checkout.tracking(sd_scripts / "library/train_util.py") == sd_scripts

    def test_an_untracked_or_ignored_file_leads_nowhere(self, sd_scripts: Path) -> None:
        assert checkout.tracking(write(sd_scripts / "library/other.py", "")) is None
        assert checkout.tracking(write(sd_scripts / "venv/lib/lycoris/__init__.py", "")) is None

    def test_outside_of_a_repository_nothing_is_tracked(self, tmp_path: Path) -> None:
        assert checkout.tracking(write(tmp_path / "lycoris/__init__.py", "")) is None

    def test_an_edited_a_staged_and_a_deleted_file_are_tracked(self, sd_scripts: Path) -> None:
        assert (
            checkout.tracking(write(sd_scripts / "library/train_util.py", "edited")) == sd_scripts
        )
        write(sd_scripts / "library/staged.py", "")
        run_git(sd_scripts, "add", "library/staged.py")
        assert checkout.tracking(sd_scripts / "library/staged.py") == sd_scripts
        (sd_scripts / "library/train_util.py").unlink()
        assert checkout.tracking(sd_scripts / "library/train_util.py") == sd_scripts

    def test_a_file_in_a_submodule_belongs_to_the_submodule(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        outer = tmp_path / "outer"
        outer.mkdir()
        run_git(outer, "init", "--quiet")
        run_git(
            outer,
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            str(sd_scripts),
            "sub",
        )
        assert checkout.tracking(outer / "sub/library/train_util.py") == outer / "sub"

    def test_a_pattern_is_a_name(self, sd_scripts: Path) -> None:
        assert checkout.tracking(write(sd_scripts / "*.py", "")) is None
        assert checkout.tracking(write(sd_scripts / "train_[n]etwork.py", "")) is None
        assert checkout.tracking(write(sd_scripts / ":(top)train_network.py", "")) is None

    def test_a_repository_that_git_does_not_trust_is_no_answer(
        self, sd_scripts: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        with pytest.raises(command.NotARepository, match="another user owns it"):
            checkout.tracking(sd_scripts / "train_network.py")

    def test_a_folder_that_is_gone_tracks_nothing(self, tmp_path: Path) -> None:
        assert checkout.tracking(tmp_path / "gone/lycoris/__init__.py") is None


class TestIdentity:
    def test_author_and_committer_are_as_git_would_write_them(
        self, sd_scripts: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace Höpper")
        monkeypatch.setenv("GIT_AUTHOR_EMAIL", "grace@example.org")
        monkeypatch.setenv("GIT_AUTHOR_DATE", "1700000000 -0330")
        monkeypatch.setenv("GIT_COMMITTER_DATE", "1700000001 +0545")
        author, committer = identity.IdentityQuestion(sd_scripts).answer()
        assert author == Identity("Grace Höpper", "grace@example.org", 1700000000, -210)
        assert committer == Identity("Ada Trainer", "ada@example.org", 1700000001, 345)

    def test_the_repositorys_own_identity_wins(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "config", "user.name", "Someone <Else")
        author, _ = identity.IdentityQuestion(sd_scripts).answer()
        assert run_git(sd_scripts, "var", "GIT_AUTHOR_IDENT").startswith(
            f"{author.name} <{author.email}> "
        )

    @pytest.mark.parametrize("missing", ["user.name", "user.email"])
    def test_half_an_identity_is_none(self, sd_scripts: Path, home: Path, missing: str) -> None:
        run_git(sd_scripts, "config", "--global", "user.useConfigOnly", "true")
        run_git(sd_scripts, "config", "--global", "--unset", missing)
        with pytest.raises(identity.IdentityMissing, match="does not know who you are") as caught:
            identity.IdentityQuestion(sd_scripts).answer()
        assert caught.value.hint is not None
        assert "git config --global user.email" in caught.value.hint

    def test_an_answer_that_is_no_identity_is_an_error(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(command.GitFailed, match="git var answered 'nonsense'"):
            identity._identity(command.Reply(0, b"nonsense\n", b""))


class TestRefs:
    def test_a_branch_a_light_tag_and_an_annotated_one_are_read(self, sd_scripts: Path) -> None:
        head = run_git(sd_scripts, "rev-parse", "HEAD")
        run_git(sd_scripts, "tag", "light")
        run_git(sd_scripts, "tag", "-a", "-m", "sealed", "heavy")
        heavy = run_git(sd_scripts, "rev-parse", "heavy")
        assert heavy != head
        assert refs.read_refs("refs/heads/main", "refs/tags", cwd=sd_scripts) == {
            "refs/heads/main": refs.Ref("refs/heads/main", head, head, str(sd_scripts)),
            "refs/tags/light": refs.Ref("refs/tags/light", head, head, ""),
            "refs/tags/heavy": refs.Ref("refs/tags/heavy", heavy, head, ""),
        }

    def test_nothing_that_matches_is_nothing(self, sd_scripts: Path) -> None:
        assert refs.read_refs("refs/heads/runs", cwd=sd_scripts) == {}

    def test_packed_refs_are_read_and_moved_as_loose_ones_are(self, sd_scripts: Path) -> None:
        first = run_git(sd_scripts, "rev-parse", "HEAD")
        run_git(sd_scripts, "tag", "-a", "-m", "sealed", "heavy")
        run_git(sd_scripts, "branch", "runs")
        loose = refs.read_refs(cwd=sd_scripts)
        run_git(sd_scripts, "pack-refs", "--all", "--prune")
        assert not (sd_scripts / ".git/refs/heads/runs").exists()
        assert refs.read_refs(cwd=sd_scripts) == loose
        second = commit(sd_scripts, "second")
        move = refs.RefUpdate("refs/heads/runs", second, first)
        drop = refs.RefUpdate("refs/tags/heavy", None, loose["refs/tags/heavy"].object)
        refs.update_refs([move, drop], reason="test", cwd=sd_scripts)
        assert refs.read_refs("refs/heads/runs", cwd=sd_scripts)["refs/heads/runs"].commit == second
        assert refs.read_refs("refs/tags", cwd=sd_scripts) == {}

    def test_a_worktree_that_has_a_branch_checked_out_is_named(
        self, sd_scripts: Path, tmp_path: Path
    ) -> None:
        tree = tmp_path / "the runs"
        run_git(sd_scripts, "worktree", "add", "--quiet", "-b", "runs", str(tree))
        assert refs.read_refs("refs/heads/runs", cwd=sd_scripts)["refs/heads/runs"].worktree == str(
            tree
        )

    def test_a_name_with_an_odd_line_separator_is_one_name(self, sd_scripts: Path) -> None:
        run_git(sd_scripts, "tag", "a\u2028b\u0085c")
        assert list(refs.read_refs("refs/tags", cwd=sd_scripts)) == ["refs/tags/a\u2028b\u0085c"]


class TestUpdatingRefs:
    @pytest.fixture
    def commits(self, sd_scripts: Path) -> tuple[str, str]:
        return run_git(sd_scripts, "rev-parse", "HEAD"), commit(sd_scripts, "second")

    def all_refs(self, folder: Path) -> str:
        return run_git(folder, "for-each-ref")

    def test_several_refs_are_made_moved_and_deleted_at_once(
        self, sd_scripts: Path, commits: tuple[str, str]
    ) -> None:
        first, second = commits
        run_git(sd_scripts, "branch", "runs", first)
        run_git(sd_scripts, "tag", "old", first)
        refs.update_refs(
            [
                refs.RefUpdate("refs/heads/runs", second, first),
                refs.RefUpdate("refs/tags/noob-gren-v2s512", second, None),
                refs.RefUpdate("refs/loragit/keep/noob-gren-v2s512", first, None),
                refs.RefUpdate("refs/tags/old", None, first),
            ],
            reason="loragit: open noob-gren-v2s512",
            cwd=sd_scripts,
        )
        found = refs.read_refs("refs/heads/runs", "refs/tags", "refs/loragit", cwd=sd_scripts)
        assert {name: ref.commit for name, ref in found.items()} == {
            "refs/heads/runs": second,
            "refs/tags/noob-gren-v2s512": second,
            "refs/loragit/keep/noob-gren-v2s512": first,
        }
        assert (
            run_git(sd_scripts, "log", "-g", "-1", "--format=%gs", "runs")
            == "loragit: open noob-gren-v2s512"
        )

    @pytest.mark.parametrize(
        "lost",
        ["moved", "exists", "gone", "deleted", "clash", "no such object", "bad name"],
    )
    def test_one_that_cannot_be_leaves_all_as_they_were(
        self, sd_scripts: Path, commits: tuple[str, str], lost: str
    ) -> None:
        first, second = commits
        run_git(sd_scripts, "branch", "runs", first)
        run_git(sd_scripts, "tag", "taken", first)
        wrong = {
            "moved": refs.RefUpdate("refs/heads/runs", first, second),
            "exists": refs.RefUpdate("refs/tags/taken", second, None),
            "gone": refs.RefUpdate("refs/tags/never", second, first),
            "deleted": refs.RefUpdate("refs/tags/taken", None, second),
            "clash": refs.RefUpdate("refs/tags/taken/below", second, None),
            "no such object": refs.RefUpdate("refs/tags/new", "1" * 40, None),
            "bad name": refs.RefUpdate("refs/tags/a..b", second, None),
        }[lost]
        before = self.all_refs(sd_scripts)
        with pytest.raises(command.GitFailed, match="update-ref"):
            refs.update_refs(
                [
                    refs.RefUpdate("refs/tags/first", second, None),
                    wrong,
                    refs.RefUpdate("refs/tags/last", second, None),
                ],
                reason="test",
                cwd=sd_scripts,
            )
        assert self.all_refs(sd_scripts) == before

    def test_a_ref_that_another_holds_is_left_and_named(
        self, sd_scripts: Path, commits: tuple[str, str]
    ) -> None:
        first, second = commits
        run_git(sd_scripts, "branch", "runs", first)
        write(sd_scripts / ".git/refs/heads/runs.lock", "")
        before = self.all_refs(sd_scripts)
        with pytest.raises(command.GitFailed, match=r"runs\.lock"):
            refs.update_refs(
                [
                    refs.RefUpdate("refs/tags/new", second, None),
                    refs.RefUpdate("refs/heads/runs", second, first),
                ],
                reason="test",
                cwd=sd_scripts,
            )
        assert self.all_refs(sd_scripts) == before

    def test_the_checkout_and_the_index_are_not_touched(
        self, sd_scripts: Path, commits: tuple[str, str]
    ) -> None:
        first, second = commits
        index = (sd_scripts / ".git/index").read_bytes()
        refs.update_refs(
            [refs.RefUpdate("refs/heads/runs", second, None)], reason="test", cwd=sd_scripts
        )
        refs.update_refs(
            [refs.RefUpdate("refs/heads/runs", first, second)], reason="test", cwd=sd_scripts
        )
        assert (sd_scripts / ".git/index").read_bytes() == index
        assert run_git(sd_scripts, "status", "--porcelain") == ""
        assert run_git(sd_scripts, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_every_error_is_one_that_is_told_without_a_traceback() -> None:
    for error in (
        command.GitMissing,
        command.GitFailed,
        command.NotARepository,
        identity.IdentityMissing,
    ):
        assert issubclass(error, LoragitError)


def test_the_local_variables_are_gits_own_list(tmp_path: Path) -> None:
    own = set(run_git(tmp_path, "rev-parse", "--local-env-vars").split())
    # GIT_CONFIG_PARAMETERS and GIT_CONFIG_COUNT carry `git -c key=value`, which the user may have
    # meant for us.
    assert own - {"GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"} <= set(command.LOCAL_VARIABLES)


def test_a_file_system_monitor_that_a_datasets_own_configuration_names_is_not_run(
    dataset: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    run_git(dataset, "config", "core.fsmonitor", str(program))
    run_git(dataset, "status")
    (tmp_path / "ran").unlink()  # git itself does
    checkout.repo_state(dataset, "gren")
    checkout.read_dirty(checkout.start_dirty(discover(dataset)))
    assert command.show("status", cwd=dataset) == 0
    assert not (tmp_path / "ran").exists()


class TestABareRepositoryInAWorkTree:
    """What somebody committed to look like a repository: its configuration names programs."""

    @pytest.fixture
    def planted(self, tmp_path: Path) -> Path:
        """A folder below a planted repository; git would run its program there, and leave the file
        ``ran``."""
        planted = tmp_path / "gren" / "trainer"
        run_git(tmp_path, "init", "--quiet", "--bare", "gren/trainer")
        (planted / "sub").mkdir()
        program = planted / "program"
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        program.chmod(0o755)
        run_git(tmp_path / "gren", "init", "--quiet")
        for key, value in (
            ("core.fsmonitor", program),
            ("core.worktree", "."),
            ("core.bare", "false"),
        ):
            run_git(planted, "config", "--file", "config", key, str(value))
        run_git(planted / "sub", "status")
        (tmp_path / "ran").unlink()
        return planted / "sub"

    @pytest.mark.parametrize("new", [True, False], ids=["git that refuses it", "git before 2.38"])
    def test_is_none_for_us_whatever_git_says(
        self, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool
    ) -> None:
        if not new:
            monkeypatch.setattr(command, "_OPTIONS", ("--no-optional-locks",))
        command.is_bare.cache_clear()
        assert command.is_bare(planted)
        for folder in (planted, planted.parent):
            with pytest.raises(command.NotARepository, match="is a repository without a work tree"):
                discover(folder)
        assert command.call("status", cwd=planted).status != 0
        assert command.show("status", cwd=planted) != 0
        assert not (tmp_path / "ran").exists()

    def test_is_none_through_a_link_either(self, planted: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(planted)
        assert command.is_bare(tmp_path / "link")

    def test_is_not_seen_in_a_work_tree_that_has_a_file_called_head(self, dataset: Path) -> None:
        (dataset / "sub").mkdir()
        (dataset / "sub" / "HEAD").touch()
        assert not command.is_bare(dataset / "sub")
        assert discover(dataset / "sub").prefix == "sub"
