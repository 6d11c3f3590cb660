"""What the trainer's own Python says: real virtual environments, laid out as pip, setuptools and uv
leave them."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import runpy
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from loragit import text
from loragit.record.values import Environment, LyCORIS
from loragit.trainers.environment import graphics, probe
from loragit.trainers.environment import packages as environment
from loragit.trainers.environment.graphics import Host
from loragit.trainers.environment.packages import EnvironmentQuestion, ProbeFailed, environment_text
from tests.support.environments import FINDER, make_venv

pytestmark = pytest.mark.every_python

VERSION = "3.2.0.post2"
COMMIT = "f49d30d3c1b0f7b1e6ab0f4a3f0d1a2b3c4d5e6f"
NEVER_RUN = "raise SystemExit('lycoris was imported')\n"
PROBE = Path(probe.__file__).read_text()


def run_git(cwd: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def write(file: Path, content: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def program(file: Path, script: str) -> Path:
    write(file, script).chmod(0o755)
    return file


def repository(folder: Path) -> str:
    """Make ``folder`` a repository of all that it holds; its commit."""
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", "--all")
    run_git(folder, "commit", "--quiet", "--allow-empty", "-m", "first")
    return run_git(folder, "rev-parse", "HEAD")


@dataclass(frozen=True)
class Trainer:
    """A trainer's repository with a virtual environment beside it."""

    repo: Path
    python: Path
    site: Path
    cache: Path
    host: Host

    def ask(
        self, script_folder: Path | None = None, /, **variables: str
    ) -> tuple[Environment, LyCORIS]:
        question = EnvironmentQuestion(
            self.python,
            cwd=self.repo,
            env={**os.environ, **variables},
            cache=self.cache,
            script_folder=script_folder,
            host=self.host,
        )
        return question.answer()

    def packages(self, **variables: str) -> tuple[str, ...]:
        return self.ask(None, **variables)[0].packages

    def lycoris(self, **variables: str) -> LyCORIS:
        return self.ask(None, **variables)[1]

    def memory(self) -> Path | None:
        """The file in the cache, which holds one at most."""
        files = list(self.cache.iterdir()) if self.cache.exists() else []
        assert len(files) < 2
        return files[0] if files else None


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    repo = tmp_path / "sd-scripts"
    write(repo / "sdxl_train_network.py", "")
    write(repo / ".gitignore", "/venv/\n")
    repository(repo)
    python, site = make_venv(tmp_path / "venv")
    nowhere = tmp_path / "nowhere"
    return Trainer(
        repo, python, site, tmp_path / "cache/environments", Host(proc=nowhere, wsl=nowhere)
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of LyCORIS on branch dev, whose commit is on its remote."""
    folder = tmp_path / "LyCORIS"
    write(folder / "lycoris/__init__.py", NEVER_RUN)
    write(folder / "lycoris/kohya/__init__.py", NEVER_RUN)
    write(folder / "setup.py", "")
    commit = repository(folder)
    run_git(folder, "checkout", "--quiet", "-b", "dev")
    run_git(
        folder, "remote", "add", "origin", "https://ada:hunter2@github.com/KohakuBlueleaf/LyCORIS"
    )
    run_git(folder, "update-ref", "refs/remotes/origin/dev", commit)
    return folder


def dist_info(
    site: Path,
    name: str = "lycoris_lora",
    version: str = VERSION,
    direct_url: Mapping[str, object] | None = None,
) -> Path:
    """What pip leaves about a wheel."""
    folder = site / f"{name}-{version}.dist-info"
    write(folder / "INSTALLER", "pip\n")
    write(
        folder / "METADATA",
        f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n\ntext\n",
    )
    write(folder / "RECORD", "")
    write(folder / "REQUESTED", "")
    write(
        folder / "WHEEL",
        "Wheel-Version: 1.0\nGenerator: bdist_wheel (0.48.0)\nRoot-Is-Purelib: true\nTag: "
        "py3-none-any\n",
    )
    write(folder / "top_level.txt", "lycoris\n")
    if direct_url is not None:
        write(folder / "direct_url.json", json.dumps(direct_url))
    return folder


def modules(site: Path) -> None:
    write(site / "lycoris/__init__.py", NEVER_RUN)
    write(site / "lycoris/kohya/__init__.py", NEVER_RUN)


def editable(folder: Path) -> dict[str, object]:
    return {"dir_info": {"editable": True}, "url": folder.as_uri()}


def install_editable(site: Path, source: Path) -> None:
    """As hatchling, and setuptools for a flat tree, do it: a path."""
    dist_info(site, direct_url=editable(source))
    write(site / f"__editable__.lycoris_lora-{VERSION}.pth", f"{source}\n")


def install_with_finder(site: Path, source: Path) -> None:
    """As setuptools does it where a path would show too much: a finder."""
    dist_info(site, direct_url=editable(source))
    finder = "__editable___lycoris_lora_3_2_0_post2_finder"
    write(site / f"{finder}.py", FINDER % str(source / "lycoris"))
    write(site / f"__editable__.lycoris_lora-{VERSION}.pth", f"import {finder}; {finder}.install()")


def egg_info(folder: Path, version: str = VERSION) -> Path:
    return write(
        folder / "PKG-INFO", f"Metadata-Version: 2.1\nName: lycoris-lora\nVersion: {version}\n"
    ).parent


def install_with_egg_link(site: Path, source: Path) -> None:
    """As ``setup.py develop`` and the pip of its time do it."""
    egg_info(source / "lycoris_lora.egg-info")
    write(site / "lycoris-lora.egg-link", f"{source}\n.")
    write(site / "easy-install.pth", f"{source}\n")


def settle(*folders: Path) -> None:
    """Make all files older than the cache distrusts."""
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (1_700_000_000, 1_700_000_000))


class TestPython:
    def test_it_says_what_it_is_and_where_it_runs(self, trainer: Trainer) -> None:
        found, _ = trainer.ask()
        assert found == Environment(
            python=sys.version.split()[0],
            executable=str(trainer.python),
            packages=(),
            platform=found.platform,
            gpus=(),
            driver=None,
        )
        system = os.uname()
        assert found.platform.startswith(f"{system.sysname} {system.release} {system.machine}")

    def test_it_is_asked_in_the_trainers_environment_and_folder(
        self, trainer: Trainer, tmp_path: Path
    ) -> None:
        dist_info(trainer.repo / "vendor", "one", "1")
        dist_info(tmp_path / "two", "two", "2")
        path = os.pathsep.join(("vendor", str(tmp_path / "two")))
        assert trainer.packages(PYTHONPATH=path) == ("one==1", "two==2")

    def test_the_scripts_folder_comes_first_as_when_it_runs(self, trainer: Trainer) -> None:
        dist_info(trainer.repo, "torch", "1")
        dist_info(trainer.repo / "scripts", "torch", "2")
        dist_info(trainer.site, "torch", "3")
        assert trainer.packages() == ("torch==1",)
        assert trainer.ask(trainer.repo / "scripts")[0].packages == ("torch==2",)

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="PYTHONSAFEPATH is of Python 3.11")
    def test_a_safe_path_has_no_scripts_folder(self, trainer: Trainer) -> None:
        dist_info(trainer.repo, "torch", "1")
        dist_info(trainer.site, "torch", "3")
        assert trainer.packages(PYTHONSAFEPATH="1") == ("torch==3",)

    def test_what_the_site_prints_is_skipped(self, trainer: Trainer) -> None:
        write(
            trainer.site / "sitecustomize.py",
            "import atexit, sys\nprint('hello\\0', flush=True)\n"
            "atexit.register(print, 'bye', file=sys.stdout)\nsys.stdout = None\n",
        )
        write(trainer.site / "a.pth", "import sys; sys.stdout.write('again')\n")
        assert trainer.ask()[0].python == sys.version.split()[0]

    def test_a_pth_file_that_fails_is_no_obstacle(self, trainer: Trainer) -> None:
        write(trainer.site / "broken.pth", "import not_there_at_all\n")
        dist_info(trainer.site, "torch", "2.1.0+cu121")
        assert trainer.packages() == ("torch==2.1.0+cu121",)

    def test_the_probe_is_plain_ascii_that_python_3_8_understands(self) -> None:
        assert PROBE.isascii()
        ast.parse(PROBE, feature_version=(3, 8))


class TestFailing:
    def test_a_python_that_is_missing(self, trainer: Trainer, tmp_path: Path) -> None:
        with pytest.raises(
            ProbeFailed, match=r"the trainer's Python .*/gone cannot be started"
        ) as caught:
            EnvironmentQuestion(
                tmp_path / "gone", cwd=trainer.repo, env={}, cache=trainer.cache, host=trainer.host
            )
        assert caught.value.hint == "see trainer.python and trainer.env in: loragit settings"

    def fails(self, trainer: Trainer, tmp_path: Path, script: str) -> ProbeFailed:
        fake = program(tmp_path / "fake python", script)
        question = EnvironmentQuestion(
            fake,
            cwd=trainer.repo,
            env=os.environ,
            cache=trainer.cache,
            host=cards_by_smi(tmp_path, "sleep 60"),
        )
        with pytest.raises(ProbeFailed) as caught:
            question.answer()
        assert caught.value.hint is not None
        assert "trainer.python" in caught.value.hint
        assert trainer.memory() is None
        return caught.value

    def test_one_that_crashes_has_the_last_word(self, trainer: Trainer, tmp_path: Path) -> None:
        error = self.fails(
            trainer,
            tmp_path,
            "#!/bin/sh\necho a >&2\necho 'Fatal Python error: init_fs' >&2\nexit 1\n",
        )
        assert error.message.endswith("fake python did not answer: Fatal Python error: init_fs")
        assert "3.8 or newer" in str(error.hint)

    def test_one_that_is_killed_without_a_word(self, trainer: Trainer, tmp_path: Path) -> None:
        error = self.fails(trainer, tmp_path, "#!/bin/sh\nkill -SEGV $$\n")
        assert error.message.endswith("did not answer: exit status 139")

    def test_one_that_answers_something_else(self, trainer: Trainer, tmp_path: Path) -> None:
        error = self.fails(trainer, tmp_path, "#!/bin/sh\necho Python 3.11.7\n")
        assert error.message.endswith("did not answer: exit status 0")

    def test_one_that_does_not_answer_in_time(
        self, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "TIMEOUT", 0.2)
        started = time.monotonic()
        error = self.fails(trainer, tmp_path, "#!/bin/sh\nsleep 60\n")
        assert error.message.endswith("did not answer within 0.2 s")
        assert time.monotonic() - started < 30

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"3.11.7\0/usr/bin/python\0",
            b"3.11.7\0/usr/bin/python\0Linux\0\0\0key\0yes\0{\0",
            b"3.11.7\0/usr/bin/python\0Linux\0\0\0key\0yes\0{}\0",
            b"3.11.7\0/usr/bin/python\0Linux\0\0\0key\0yes\0[1]\0",
            b'3.11.7\0/usr/bin/python\0Linux\0\0\0key\0yes\0[["torch", 2, "/", null, false]]\0',
            b"3.11.7\0/usr/bin/python\0Linux\0\0\0key\0yes\0\0one too many\0",
        ],
    )
    def test_a_garbled_answer_is_none(self, said: bytes) -> None:
        assert environment._parse_report(probe.MARKER + said + probe.MARKER) is None

    def test_an_answer_that_breaks_off_is_none(self) -> None:
        whole = b"3.11.7\0/usr/bin/python\0Linux\0\0\0key\0yes\0[]\0"
        assert environment._parse_report(probe.MARKER + whole + probe.MARKER) is not None
        assert environment._parse_report(probe.MARKER + whole) is None


class TestPackages:
    def test_they_are_sorted_and_written_in_one_way(self, trainer: Trainer) -> None:
        dist_info(trainer.site, "zipp", "3.0")
        dist_info(trainer.site, "Hugging_Face.Hub", "0.24.0")
        dist_info(trainer.site, "torch", "2.1.0+cu121")
        assert trainer.packages() == ("hugging-face-hub==0.24.0", "torch==2.1.0+cu121", "zipp==3.0")

    def test_one_from_a_repository_is_named_by_its_commit(self, trainer: Trainer) -> None:
        source = {"url": "https://github.com/a/b", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
        dist_info(trainer.site, "b", "1", direct_url=source)
        assert trainer.packages() == (f"b @ {COMMIT}",)

    def test_an_editable_one_says_so(self, trainer: Trainer, tmp_path: Path) -> None:
        dist_info(trainer.site, "b", "1", direct_url=editable(tmp_path))
        dist_info(trainer.site, "c", "1", direct_url={"url": tmp_path.as_uri(), "dir_info": {}})
        assert trainer.packages() == ("b==1 (editable)", "c==1")

    def test_the_first_on_the_path_is_the_one_that_counts(
        self, trainer: Trainer, tmp_path: Path
    ) -> None:
        dist_info(trainer.site, "torch", "2.0")
        dist_info(tmp_path / "other", "Torch", "2.1")
        assert trainer.packages(PYTHONPATH=str(tmp_path / "other")) == ("torch==2.1",)

    def test_old_forms_are_read(self, trainer: Trainer) -> None:
        egg_info(trainer.site / "lycoris_lora-1.9.egg-info", "1.9")
        write(
            trainer.site / "distro_pkg-3.egg-info",
            "Metadata-Version: 1.1\nName: distro-pkg\nVersion: 3\n",
        )
        egg = trainer.site / "old-2-py3.11.egg"
        write(egg / "EGG-INFO/PKG-INFO", "Metadata-Version: 1.1\nName: old\nVersion: 2\n")
        write(trainer.site / "easy-install.pth", f"./{egg.name}\n")
        assert trainer.packages() == ("distro-pkg==3", "lycoris-lora==1.9", "old==2")

    def test_a_zip_on_the_path_is_read(self, trainer: Trainer, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
            packed.writestr(
                "packed-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: packed\nVersion: 1\n"
            )
        assert trainer.packages(PYTHONPATH=str(tmp_path / "packed.zip")) == ("packed==1",)

    def test_a_damaged_one_is_left_out(self, trainer: Trainer) -> None:
        dist_info(trainer.site, "good", "1")
        (trainer.site / "empty-1.dist-info").mkdir()
        write(trainer.site / "nameless-1.dist-info/METADATA", "Metadata-Version: 2.1\n\n")
        dist_info(trainer.site, "latin", "1")
        write(
            trainer.site / "latin-1.dist-info/METADATA", b"Name: latin\nVersion: 1\nAuthor: \xe9\n"
        )
        write(dist_info(trainer.site, "strange", "1") / "direct_url.json", "{not json")
        assert [line for line in trainer.packages() if not line.startswith("latin")] == [
            "good==1",
            "strange==1",
        ]


def changed(site: Path, source: Path, change: str) -> None:
    """One of the ways in which what is installed changes."""
    match change:
        case "another package":
            dist_info(site, "other", "1")
        case "another commit, written in place":
            (url,) = site.glob("b-1.dist-info/direct_url.json")
            url.write_text(url.read_text().replace("aaaa", "bbbb"))
        case "another version of an editable one, written in place":
            info = source / "lycoris_lora.egg-info/PKG-INFO"
            info.write_text(info.read_text().replace(VERSION, "3.3.0.post2"))
        case "one removed":
            for file in sorted(site.glob("b-1.dist-info/*")):
                file.unlink()
            (site / "b-1.dist-info").rmdir()
        case "a path file":
            dist_info(source / "more", "more", "1")
            write(site / "more.pth", f"{source / 'more'}\n")
        case "a path file's content":
            dist_info(source / "more", "more", "1")
            write(site / "easy-install.pth", f"{source}\n{source / 'more'}\n")
        case (
            "code that adds to the path"
        ):  # no sitecustomize: Debian's Python has one, which hides any other
            dist_info(source / "more", "more", "1")
            write(site / "more.pth", f"import sys; sys.path.append({str(source / 'more')!r})\n")
        case "an egg-link":
            (site / "lycoris-lora.egg-link").unlink()


CHANGES = [
    "another package",
    "another commit, written in place",
    "another version of an editable one, written in place",
    "one removed",
    "a path file",
    "a path file's content",
    "code that adds to the path",
    "an egg-link",
]


class TestMemory:
    @pytest.fixture
    def known(self, trainer: Trainer, clone: Path) -> Trainer:
        """A trainer whose packages were read before; the memory of it was tampered with, which
        shows its use."""
        source = {"url": "https://github.com/a/b", "vcs_info": {"vcs": "git", "commit_id": "aaaa"}}
        dist_info(trainer.site, "b", "1", direct_url=source)
        install_with_egg_link(trainer.site, clone)
        settle(trainer.site, clone)
        assert trainer.packages() == ("b @ aaaa", f"lycoris-lora=={VERSION} (editable)")
        file = trainer.memory()
        assert file is not None
        file.write_text(file.read_text().replace("aaaa", "remembered"))
        return trainer

    def test_what_did_not_change_is_not_read_again(self, known: Trainer) -> None:
        assert known.packages() == ("b @ remembered", f"lycoris-lora=={VERSION} (editable)")

    def test_lycoris_is_asked_for_anew(self, known: Trainer, clone: Path) -> None:
        write(clone / "lycoris/__init__.py", "edited")
        found = known.lycoris()
        assert found.repo is not None
        assert found.repo.dirty == ("lycoris/__init__.py",)
        assert (found.version, found.editable) == (VERSION, True)

    def test_files_that_a_trainer_writes_change_no_package(self, known: Trainer) -> None:
        write(known.repo / "library/__pycache__/x.pyc", b"")
        write(known.repo / "new.py", "")
        write(known.site / "sitecustomize.py", "")
        write(known.site / "__pycache__/x.pyc", b"")
        assert "b @ remembered" in known.packages()

    def test_another_script_folder_without_packages_changes_nothing(
        self, known: Trainer, tmp_path: Path
    ) -> None:
        assert "b @ remembered" in known.ask(tmp_path / "elsewhere")[0].packages

    @pytest.mark.parametrize("change", CHANGES)
    def test_whatever_changes_is_seen(self, known: Trainer, clone: Path, change: str) -> None:
        changed(known.site, clone, change)
        seen = known.packages()
        assert "b @ remembered" not in seen
        fresh = Trainer(
            known.repo, known.python, known.site, known.cache.parent / "fresh", known.host
        )
        assert seen == fresh.packages()

    def test_a_change_that_takes_back_every_time_is_seen(self, known: Trainer) -> None:
        url = known.site / "b-1.dist-info/direct_url.json"
        before = url.stat()
        url.write_text(url.read_text().replace("aaaa", "cccc"))
        os.utime(url, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert "b @ cccc" in known.packages()

    def test_what_was_installed_this_very_moment_is_read_again_the_next_time(
        self, trainer: Trainer
    ) -> None:
        info = dist_info(trainer.site, "b", "1")
        settle(trainer.site)
        moment = time.time() + 1  # in reach however slow the machine is
        os.utime(info, (moment, moment))
        assert trainer.packages() == ("b==1",)
        assert trainer.memory() is None

    def test_a_time_in_the_future_is_remembered(self, trainer: Trainer) -> None:
        info = dist_info(trainer.site, "b", "1")
        settle(trainer.site)
        os.utime(info, (2_100_000_000, 2_100_000_000))
        assert trainer.packages() == ("b==1",)
        assert trainer.memory() is not None

    @pytest.mark.parametrize(
        "content",
        [b"", b"\xff\xfe", b"[]", b"{}", "cut", "other probe", "wrong row", "row of wrong types"],
    )
    def test_a_damaged_memory_is_ignored_and_mended(
        self, known: Trainer, content: bytes | str
    ) -> None:
        file = known.memory()
        assert file is not None
        whole = file.read_text()
        memory = json.loads(whole)
        match content:
            case "cut":
                file.write_text(whole[:-20])
            case "other probe":
                file.write_text(json.dumps({**memory, "probe": "0" * 64}))
            case "wrong row":
                file.write_text(json.dumps({**memory, "packages": [["b"]]}))
            case "row of wrong types":
                file.write_text(
                    json.dumps({**memory, "packages": [["b", 1, "", None, None, False]]})
                )
            case bytes():
                file.write_bytes(content)
        for _ in range(2):
            assert known.packages() == ("b @ aaaa", f"lycoris-lora=={VERSION} (editable)")
        assert json.loads(file.read_text()) == json.loads(whole.replace("remembered", "aaaa"))

    def test_a_cache_that_cannot_be_written_is_no_error(self, trainer: Trainer) -> None:
        dist_info(trainer.site, "b", "1")
        settle(trainer.site)
        write(trainer.cache, "a file where the folder should be")
        assert trainer.packages() == ("b==1",)
        assert trainer.cache.read_text() == "a file where the folder should be"

    def test_a_draft_that_cannot_take_its_place_is_removed(self, trainer: Trainer) -> None:
        dist_info(trainer.site, "b", "1")
        settle(trainer.site)
        trainer.packages()
        file = trainer.memory()
        assert file is not None
        file.unlink()
        write(file / "in the way", "")
        assert trainer.packages() == ("b==1",)
        assert trainer.memory() == file

    def test_each_python_has_a_memory_of_its_own(self, trainer: Trainer, tmp_path: Path) -> None:
        python, site = make_venv(tmp_path / "other")
        other = Trainer(trainer.repo, python, site, trainer.cache, trainer.host)
        dist_info(trainer.site, "b", "1")
        dist_info(site, "b", "2")
        settle(trainer.site, site)
        for _ in range(2):
            assert (trainer.packages(), other.packages()) == (("b==1",), ("b==2",))
        assert len(list(trainer.cache.iterdir())) == 2

    def test_no_credentials_are_remembered(self, trainer: Trainer) -> None:
        dist_info(
            trainer.site,
            "b",
            "1",
            direct_url={"url": "https://ada:hunter2@example.org/b.zip", "archive_info": {}},
        )
        settle(trainer.site)
        trainer.packages()
        file = trainer.memory()
        assert file is not None
        assert "https://example.org/b.zip" in file.read_text()
        assert "hunter2" not in file.read_text()


class TestLyCORIS:
    def test_it_is_not_installed(self, trainer: Trainer) -> None:
        assert trainer.lycoris() == LyCORIS()

    @pytest.mark.parametrize(
        "install", [install_editable, install_with_finder, install_with_egg_link]
    )
    def test_an_editable_clone_is_found_as_a_repository(
        self, trainer: Trainer, clone: Path, install: object
    ) -> None:
        assert callable(install)
        install(trainer.site, clone)
        write(clone / "lycoris/new.py", "")
        write(clone / "notes.md", "")
        found = trainer.lycoris()
        assert found.repo is not None
        assert (found.repo.label, found.repo.path, found.repo.branch) == ("LyCORIS", clone, "dev")
        assert found.repo.dirty == ("lycoris/new.py",)
        assert found.repo.on_remote
        assert found == LyCORIS(
            repo=found.repo,
            commit=run_git(clone, "rev-parse", "HEAD"),
            url="https://github.com/KohakuBlueleaf/LyCORIS",
            version=VERSION,
            editable=True,
        )

    def test_a_commit_that_was_not_pushed_is_on_no_remote(
        self, trainer: Trainer, clone: Path
    ) -> None:
        install_editable(trainer.site, clone)
        run_git(clone, "commit", "--quiet", "--allow-empty", "-m", "mine")
        found = trainer.lycoris()
        assert found.repo is not None
        assert not found.repo.on_remote

    def test_pip_install_from_git_names_the_commit(self, trainer: Trainer) -> None:
        modules(trainer.site)
        url = "https://ada:hunter2@github.com/KohakuBlueleaf/LyCORIS"
        vcs = {"vcs": "git", "commit_id": COMMIT, "requested_revision": "dev"}
        dist_info(trainer.site, direct_url={"url": url, "vcs_info": vcs})
        assert trainer.lycoris() == LyCORIS(
            commit=COMMIT, url="https://github.com/KohakuBlueleaf/LyCORIS", version=VERSION
        )

    def test_a_release_has_its_version(self, trainer: Trainer) -> None:
        modules(trainer.site)
        dist_info(trainer.site)
        assert trainer.lycoris() == LyCORIS(version=VERSION)

    def test_an_archive_has_its_url(self, trainer: Trainer) -> None:
        modules(trainer.site)
        dist_info(
            trainer.site,
            direct_url={"url": "https://token@example.org/lycoris.zip", "archive_info": {}},
        )
        assert trainer.lycoris() == LyCORIS(version=VERSION, url="https://example.org/lycoris.zip")

    def test_a_folder_that_was_installed_and_not_linked_has_its_version(
        self, trainer: Trainer, clone: Path
    ) -> None:
        modules(trainer.site)
        dist_info(trainer.site, direct_url={"url": clone.as_uri(), "dir_info": {}})
        assert trainer.lycoris() == LyCORIS(version=VERSION)

    def test_a_clone_on_the_path_wins_over_a_release_and_has_no_version_of_it(
        self, trainer: Trainer, clone: Path
    ) -> None:
        modules(trainer.site)
        dist_info(trainer.site, version="1.0")
        found = trainer.lycoris(PYTHONPATH=str(clone))
        assert found.repo is not None
        assert (found.repo.path, found.version, found.editable) == (clone, None, False)

    def test_a_clone_on_the_path_that_was_once_built_has_a_version(
        self, trainer: Trainer, clone: Path
    ) -> None:
        egg_info(clone / "lycoris_lora.egg-info")
        found = trainer.lycoris(PYTHONPATH=str(clone))
        assert (found.commit, found.version, found.editable) == (
            run_git(clone, "rev-parse", "HEAD"),
            VERSION,
            False,
        )

    def test_the_installation_knows_more_than_what_a_build_left(
        self, trainer: Trainer, clone: Path
    ) -> None:
        install_editable(trainer.site, clone)
        egg_info(clone / "lycoris_lora.egg-info", "0.1")
        found = trainer.lycoris(PYTHONPATH=str(clone))
        assert (found.version, found.editable) == (VERSION, True)

    def test_a_folder_in_the_trainers_repository_is_the_trainers(self, trainer: Trainer) -> None:
        modules(trainer.repo)
        commit = repository(trainer.repo)
        found = trainer.lycoris()
        assert found.repo is not None
        assert (found.repo.path, found.commit, found.version, found.editable) == (
            trainer.repo,
            commit,
            None,
            False,
        )

    def test_a_release_in_a_venv_that_the_trainers_repository_ignores_is_a_release(
        self, trainer: Trainer
    ) -> None:
        python, site = make_venv(trainer.repo / "venv")
        modules(site)
        dist_info(site)
        inside = Trainer(trainer.repo, python, site, trainer.cache, trainer.host)
        assert inside.lycoris() == LyCORIS(version=VERSION)

    @pytest.mark.parametrize(
        "install", [install_editable, install_with_finder, install_with_egg_link]
    )
    def test_installed_from_a_folder_that_is_gone_it_cannot_be_imported(
        self, trainer: Trainer, clone: Path, install: object
    ) -> None:
        assert callable(install)
        install(trainer.site, clone)
        clone.rename(clone.with_name("moved"))
        assert trainer.lycoris() == LyCORIS()

    def test_an_editable_folder_that_is_no_repository_has_its_version(
        self, trainer: Trainer, clone: Path
    ) -> None:
        install_editable(trainer.site, clone)
        (clone / ".git").rename(clone / "was.git")
        assert trainer.lycoris() == LyCORIS(version=VERSION, editable=True)

    def test_a_source_folder_with_an_odd_name_is_known_for_its_own(
        self, trainer: Trainer, tmp_path: Path
    ) -> None:
        source = tmp_path / "my 100% LyCORIS ü"
        modules(source / "src")
        write(trainer.site / "lycoris.pth", f"{source / 'src'}\n")
        dist_info(trainer.site, direct_url=editable(source))
        assert trainer.lycoris() == LyCORIS(version=VERSION, editable=True)

    def test_a_repository_without_a_commit_is_none(self, trainer: Trainer, tmp_path: Path) -> None:
        source = tmp_path / "fresh"
        modules(source)
        run_git(source, "init", "--quiet")
        run_git(source, "add", ".")
        install_editable(trainer.site, source)
        assert trainer.lycoris() == LyCORIS(version=VERSION, editable=True)

    def test_a_link_in_site_packages_leads_to_the_clone(
        self, trainer: Trainer, clone: Path
    ) -> None:
        (trainer.site / "lycoris").symlink_to(clone / "lycoris")
        dist_info(trainer.site, version="0.1")
        found = trainer.lycoris()
        assert found.repo is not None
        assert (found.repo.path, found.version) == (clone, None)

    def test_files_that_are_links_into_a_cache_are_still_the_release(
        self, trainer: Trainer, tmp_path: Path
    ) -> None:
        modules(tmp_path / "archive")
        (trainer.site / "lycoris").mkdir()
        (trainer.site / "lycoris/__init__.py").symlink_to(tmp_path / "archive/lycoris/__init__.py")
        dist_info(trainer.site)
        assert trainer.lycoris() == LyCORIS(version=VERSION)

    def test_a_copied_folder_is_there_and_of_unknown_version(self, trainer: Trainer) -> None:
        modules(trainer.site)
        found = trainer.lycoris()
        assert found == LyCORIS(version="unknown")
        assert found.installed

    def test_a_folder_that_merely_has_the_name_is_not_lycoris(
        self, trainer: Trainer, clone: Path
    ) -> None:
        clone.rename(trainer.repo / "lycoris")
        assert trainer.lycoris() == LyCORIS()
        modules(trainer.site)
        dist_info(trainer.site)
        assert trainer.lycoris() == LyCORIS(version=VERSION)

    @pytest.mark.parametrize("module", ["kohya/__init__.py", "kohya.py"])
    def test_without_an_init_file_it_is_found_by_what_the_trainer_imports(
        self, trainer: Trainer, clone: Path, module: str
    ) -> None:
        for file in list((clone / "lycoris").rglob("*.py")):
            file.unlink()
        write(clone / "lycoris" / module, NEVER_RUN)
        run_git(clone, "add", "--all")
        run_git(clone, "commit", "--quiet", "-m", "a namespace")
        found = trainer.lycoris(PYTHONPATH=str(clone))
        assert found.repo is not None
        assert (found.repo.path, found.repo.dirty) == (clone, ())

    def test_a_single_module_is_found(self, trainer: Trainer) -> None:
        write(trainer.site / "lycoris.py", NEVER_RUN)
        dist_info(trainer.site)
        assert trainer.lycoris() == LyCORIS(version=VERSION)

    def test_a_finder_that_raises_is_passed_over(self, trainer: Trainer) -> None:
        write(
            trainer.site / "sitecustomize.py",
            "import sys\nclass Broken:\n"
            "    def find_spec(self, name, path, target=None):\n"
            "        if name == 'lycoris': raise RuntimeError('no')\n"
            "sys.meta_path.insert(0, Broken())\n",
        )
        modules(trainer.site)
        dist_info(trainer.site)
        assert trainer.lycoris() == LyCORIS(version=VERSION)

    def test_one_that_the_site_imported_is_found_where_it_is(
        self, trainer: Trainer, clone: Path
    ) -> None:
        for file in (clone / "lycoris").rglob("*.py"):
            write(file, "")
        preload = (
            f"import sys; sys.path.insert(0, {str(clone)!r}); import lycoris; sys.path.pop(0)\n"
        )
        write(trainer.site / "preload.pth", preload)
        found = trainer.lycoris()
        assert found.repo is not None
        assert found.repo.path == clone

    def test_other_packages_of_the_name_are_not_mistaken_for_it(self, trainer: Trainer) -> None:
        modules(trainer.site)
        dist_info(trainer.site, "lycoris_extras", "9")
        assert trainer.lycoris() == LyCORIS(version="unknown")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://ada:p@ss/w@example.org/a",
            "https://ss/w@example.org/a",
        ),  # no URL: a slash ends the host
        ("https://ada:p@ss@example.org/a", "https://example.org/a"),
        ("https://${USER}:${PASSWORD}@example.org/a", "https://example.org/a"),
        ("ssh://git@example.org/a", "ssh://git@example.org/a"),
        ("ssh://git:hunter2@example.org/a", "ssh://git@example.org/a"),
        ("https://example.org/@scope/a", "https://example.org/@scope/a"),
        ("file:///home/ada/LyCORIS", "file:///home/ada/LyCORIS"),
    ],
)
def test_a_url_is_recorded_without_credentials(url: str, shown: str) -> None:
    assert text.without_credentials(url) == shown


def cards_by_smi(folder: Path, script: str) -> Host:
    """A machine as WSL is: no files of the driver's, an nvidia-smi."""
    program(folder / "wsl/nvidia-smi", f"#!/bin/sh\n{script}\n")
    return Host(proc=folder / "proc", wsl=folder / "wsl")


def cards_by_proc(folder: Path, version: str, *models: str) -> Host:
    """The files of NVIDIA's driver for Linux."""
    driver = folder / "proc/driver/nvidia"
    write(driver / "version", f"{version}\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n")
    for number, model in enumerate(models):
        write(
            driver / f"gpus/0000:{number:02x}:00.0/information",
            f"Model: \t\t {model}\nIRQ:   \t\t 142\nGPU UUID: \t "
            "GPU-80ded6bd-1a89-2628-3d94-902187dbab1d\n"
            f"Video BIOS: \t 94.02.42.00.a9\nBus Type: \t PCIe\nGPU Excluded:\t No\n",
        )
    return Host(proc=folder / "proc", wsl=folder / "wsl")


CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023"
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.77  Release Build  (root@x) "
    " Sun Feb  9 2025"
)


class TestCards:
    def cards(
        self, host: Host, tmp_path: Path, path: str = ""
    ) -> tuple[tuple[str, ...], str | None]:
        return graphics.GraphicsQuestion(host, tmp_path, {"PATH": path}).answer()

    @pytest.mark.parametrize(("version", "driver"), [(CLOSED, "535.129.03"), (OPEN, "565.77")])
    def test_the_drivers_own_files_are_read(
        self, tmp_path: Path, version: str, driver: str
    ) -> None:
        host = cards_by_proc(
            tmp_path, version, "NVIDIA GeForce RTX 3090", "NVIDIA RTX 5000 Ada Generation"
        )
        program(tmp_path / "wsl/nvidia-smi", f"#!/bin/sh\n: > '{tmp_path}/asked'\n")
        assert self.cards(host, tmp_path) == (
            ("NVIDIA GeForce RTX 3090", "NVIDIA RTX 5000 Ada Generation"),
            driver,
        )
        assert not (tmp_path / "asked").exists()

    def test_they_reach_the_environment(self, trainer: Trainer, tmp_path: Path) -> None:
        host = cards_by_proc(tmp_path, CLOSED, "NVIDIA GeForce RTX 3090")
        found, _ = Trainer(trainer.repo, trainer.python, trainer.site, trainer.cache, host).ask()
        assert (found.gpus, found.driver) == (("NVIDIA GeForce RTX 3090",), "535.129.03")

    def test_nvidia_smi_is_asked_where_there_are_no_such_files(self, tmp_path: Path) -> None:
        script = 'test "$*" = "--query-gpu=name,driver_version --format=csv,noheader" || exit 2\n'
        script += "echo 'NVIDIA GeForce RTX 3090, 546.17'\necho 'Tesla, the old one, 546.17'"
        host = cards_by_smi(tmp_path, script)
        assert self.cards(host, tmp_path) == (
            ("NVIDIA GeForce RTX 3090", "Tesla, the old one"),
            "546.17",
        )

    def test_nvidia_smi_on_path_comes_first(self, tmp_path: Path) -> None:
        host = cards_by_smi(tmp_path, "echo 'wrong, 1'")
        program(tmp_path / "bin/nvidia-smi", "#!/bin/sh\necho 'right, 2.0'\n")
        write(tmp_path / "not/nvidia-smi", "cannot be executed")
        path = os.pathsep.join(("", str(tmp_path / "not"), str(tmp_path / "bin")))
        assert self.cards(host, tmp_path, path) == (("right",), "2.0")

    def test_files_without_a_card_leave_the_question_to_nvidia_smi(self, tmp_path: Path) -> None:
        cards_by_proc(tmp_path, CLOSED)
        host = cards_by_smi(tmp_path, "true")
        assert self.cards(host, tmp_path) == ((), "535.129.03")

    def test_an_nvidia_smi_that_fails_knows_no_card(self, tmp_path: Path) -> None:
        host = cards_by_smi(
            tmp_path, "echo 'NVIDIA-SMI has failed, because it cannot talk to the driver'; exit 9"
        )
        assert self.cards(host, tmp_path) == ((), None)

    def test_an_nvidia_smi_that_hangs_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(graphics, "SMI_TIMEOUT", 0.1)
        started = time.monotonic()
        assert self.cards(cards_by_smi(tmp_path, "exec /bin/sleep 60"), tmp_path) == ((), None)
        assert time.monotonic() - started < 30

    def test_an_nvidia_smi_that_cannot_be_started_knows_no_card(self, tmp_path: Path) -> None:
        host = cards_by_smi(tmp_path, "")
        program(tmp_path / "wsl/nvidia-smi", "#!/no/such/interpreter\n")
        assert self.cards(host, tmp_path) == ((), None)

    def test_a_machine_with_neither_has_no_card(self, tmp_path: Path) -> None:
        host = Host(proc=tmp_path, wsl=tmp_path)
        assert self.cards(host, tmp_path) == ((), None)
        graphics.GraphicsQuestion(host, tmp_path, {}).cancel()


class TestText:
    def test_it_is_the_machine_then_a_package_a_line(self) -> None:
        found = Environment(
            python="3.10.6",
            executable="/home/ada/venv/bin/python",
            packages=("accelerate==0.30.0", f"lycoris-lora @ {COMMIT}", "torch==2.1.0+cu121"),
            platform="Linux 6.1.0-18-amd64 x86_64, glibc 2.36",
            gpus=("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090"),
            driver="535.129.03",
        )
        assert environment_text(found).decode() == (
            "Python: 3.10.6\n"
            "Platform: Linux 6.1.0-18-amd64 x86_64, glibc 2.36\n"
            "GPU: NVIDIA GeForce RTX 3090\n"
            "GPU: NVIDIA GeForce RTX 3090\n"
            "Driver: 535.129.03\n"
            "\n"
            "accelerate==0.30.0\n"
            f"lycoris-lora @ {COMMIT}\n"
            "torch==2.1.0+cu121\n"
        )

    def test_a_bare_machine_says_so(self) -> None:
        found = Environment("3.11.7", "/usr/bin/python3", (), "Darwin 23.1.0 arm64", (), None)
        assert (
            environment_text(found)
            == b"Python: 3.11.7\nPlatform: Darwin 23.1.0 arm64\nGPU: none found\n\n"
        )

    def test_two_questions_have_one_answer(self, trainer: Trainer, tmp_path: Path) -> None:
        for name in ("b", "a", "C"):
            dist_info(trainer.site, name, "1")
        first = environment_text(trainer.ask()[0])
        assert environment_text(trainer.ask(LC_ALL="C", PYTHONHASHSEED="7")[0]) == first
        assert first.endswith(b"\n\na==1\nb==1\nc==1\n")


def test_no_module_of_the_folders_that_it_is_asked_in_is_run(
    trainer: Trainer, tmp_path: Path
) -> None:
    """Somebody else's dataset may lie there: ``workdir = "dataset"``, ``get_lycoris_repo``."""
    for name in (
        "__future__",
        "_blake2",
        "hashlib",
        "json",
        "contextlib",
        "csv",
        "email",
        "importlib",
        "lycoris",
    ):
        write(
            trainer.repo / f"{name}.py",
            f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\nannotations = None\n",
        )
    dist_info(trainer.repo)
    _, lycoris = trainer.ask()
    assert not (tmp_path / "ran").exists()
    assert lycoris.installed, "it is still found where the trainer would find it"


class TestProbe:
    """The probe in this process, where it can be watched; everything above ran it in the trainer's
    own."""

    @pytest.fixture
    def path(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        path: list[str] = []
        monkeypatch.setattr(sys, "path", path)
        return path

    def fields(self, out: bytes) -> list[bytes]:
        return out.split(probe.MARKER)[1].split(b"\0")

    def test_it_lists_the_packages_unless_the_key_is_known(
        self,
        path: list[str],
        tmp_path: Path,
        clone: Path,
        capfdbinary: pytest.CaptureFixture[bytes],
    ) -> None:
        install_with_egg_link(tmp_path / "site", clone)
        write(tmp_path / "site/nameless-1.dist-info/METADATA", "Metadata-Version: 2.1\n\n")
        write(tmp_path / "packed.zip", b"")
        path += [
            str(tmp_path / "site"),
            str(clone),
            str(tmp_path / "gone"),
            str(tmp_path / "packed.zip"),
        ]
        settle(tmp_path / "site", clone)
        os.utime(tmp_path / "packed.zip", (1, 1))
        probe.main(str(tmp_path), "")
        *_, origin, folder, key, settled, rows, end = self.fields(capfdbinary.readouterr().out)
        assert origin == bytes(clone / "lycoris/__init__.py")
        assert folder == bytes(clone / "lycoris")
        assert settled == b"yes"
        assert json.loads(rows) == [["lycoris-lora", VERSION, str(clone), None, True]]
        assert end == b""
        probe.main(str(tmp_path), key.decode())
        assert self.fields(capfdbinary.readouterr().out)[-4:] == [key, b"yes", b"", b""]

    def test_it_runs_as_a_script(
        self, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(sys, "argv", ["-c", "/nowhere", ""])
        runpy.run_path(probe.__file__, run_name="__main__")
        assert self.fields(capfdbinary.readouterr().out)[0] == sys.version.split()[0].encode()
        assert sys.path[0] == "/nowhere"

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="needs safe_path")
    def test_a_safe_path_is_left_alone(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-c",
                PROBE + "\nsys.stderr.write(sys.path[0])",
                str(tmp_path),
                "",
            ],
            capture_output=True,
            check=True,
        )
        assert done.stderr.decode() != str(tmp_path)

    def test_the_digest_needs_no_particular_module(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        found = [str(dist_info(tmp_path))]
        moment = time.time_ns()
        expected = probe.key_of(found, moment)
        monkeypatch.setitem(sys.modules, "_blake2", None)
        assert probe.key_of(found, moment) == expected
        assert re.fullmatch("[0-9a-f]{40}", expected[0])

    def test_a_system_without_a_glibc_has_no_word_of_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(name: str | int) -> str | None:
            raise ValueError("unrecognized configuration name")

        monkeypatch.setattr(os, "confstr", unknown)
        system = os.uname()
        assert probe.platform() == f"{system.sysname} {system.release} {system.machine}"

    @pytest.fixture
    def broken_finder(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        class Broken:
            def find_spec(self, name: str, path: object) -> None:
                raise RuntimeError("no")

        monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
        yield

    def test_a_namespace_has_a_folder_and_no_file(
        self, path: list[str], tmp_path: Path, broken_finder: None
    ) -> None:
        (tmp_path / "lycoris").mkdir()
        path.append(str(tmp_path))
        assert probe.find("lycoris") == ("", str(tmp_path / "lycoris"))
        write(tmp_path / "lycoris.py", "")
        importlib.invalidate_caches()  # the folder may have the same time as when it was listed
        assert probe.find("lycoris") == (str(tmp_path / "lycoris.py"), "")

    def test_what_was_imported_before_is_where_it_is(self) -> None:
        assert probe.find("pytest") == (pytest.__file__, str(Path(pytest.__file__).parent))
