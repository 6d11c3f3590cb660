"""Which code the trainer's Python imports, and which repositories hold it.

The Python of a real virtual environment is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from loragit.git.checkout import StateQuestion, patch
from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.environment import code
from loragit.trainers.environment.code import ImportedRepositories
from loragit.trainers.environment.graphics import Host
from loragit.trainers.environment.packages import EnvironmentQuestion
from loragit.trainers.sd_scripts.imports import named_modules
from tests.support.environments import FINDER, make_venv
from tests.support.processes import commit_all, git

NEVER_RUN = "raise SystemExit('a module was imported')\n"


def write(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


class Lab(NamedTuple):
    """A trainer with a virtual environment, and a folder for other code."""

    repo: Path
    python: Path
    site: Path
    other: Path

    def code(self, *names: str, **variables: str) -> ImportedRepositories:
        """What is found where the run names the modules ``names``."""
        state = StateQuestion(self.repo, "sd-scripts")
        question = EnvironmentQuestion(
            self.python,
            cwd=self.other.parent,
            env={**os.environ, **variables},
            cache=self.other.parent / "cache",
            script_folder=self.repo,
            host=Host(proc=self.other, wsl=self.other),
            modules=True,
        )
        question.ask_modules(names)
        question.answer()
        known = [state.answer()]
        return code.imported_code(question.imports, known, state.tracks, ["library"])

    def dirty(self, *names: str, **variables: str) -> dict[str, str]:
        """What is dirt of the trainer's, each with the reason."""
        found = self.code(*names, **variables)
        assert not found.further
        assert not found.unrecorded
        (trainer,) = found.states
        assert trainer.dirty == tuple(each.path for each in trainer.hidden)
        return {each.path: each.why for each in trainer.hidden}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    repo = tmp_path / "sd-scripts"
    for name in ("train.py", "library/__init__.py", "networks/__init__.py", "networks/lora.py"):
        write(repo / name, NEVER_RUN)
    write(repo / ".gitignore", "venv\nmine*\n/torch*\n")
    git(repo, "init", "-q")
    commit_all(repo, "trainer")
    python, site = make_venv(repo / "venv")
    other = tmp_path / "other"
    other.mkdir()
    return Lab(repo, python, site, other)


def a_repository(folder: Path, *files: str) -> Path:
    for name in files:
        write(folder / name, NEVER_RUN)
    git(folder, "init", "-q")
    commit_all(folder, "code")
    return folder


def by_path(lab: Lab, folder: Path, package: str) -> None:
    write(lab.site / f"__editable__.{package}.pth", f"{folder}\n")


def by_finder(lab: Lab, folder: Path, package: str) -> None:
    text = FINDER.replace("'lycoris'", repr(package)) % str(folder / package)
    write(lab.site / "the_finder.py", text)
    write(lab.site / "a.pth", "import the_finder; the_finder.install()")


def by_link(lab: Lab, folder: Path, package: str) -> None:
    (lab.site / package).symlink_to(folder / package)


def by_variable(lab: Lab, folder: Path, package: str) -> None:
    # Not sitecustomize: some systems' Pythons have one of their own, which comes before.
    write(lab.site / "first.pth", f"import sys; sys.path.insert(0, {str(folder)!r})\n")


INSTALLED: list[Callable[[Lab, Path, str], None]] = [by_path, by_finder, by_link, by_variable]


def test_what_the_trainer_tracks_is_no_news(lab: Lab) -> None:
    assert lab.dirty("networks.lora", "networks.gone", "gone.lora", "torch") == {}


def test_an_ignored_module_that_an_argument_names_is_dirt(lab: Lab) -> None:
    write(lab.repo / "networks/mine.py", NEVER_RUN)
    why = "ignored, networks.mine is imported from it"
    assert lab.dirty("networks.mine") == {"networks/mine.py": why}
    assert lab.dirty("networks.lora") == {}, "nothing names it"


def test_the_packages_that_hold_it_are_imported_too(lab: Lab) -> None:
    write(lab.repo / "mine/__init__.py", NEVER_RUN)
    write(lab.repo / "mine/opt/__init__.py", NEVER_RUN)
    write(lab.repo / "mine/opt/lion.py", NEVER_RUN)
    assert list(lab.dirty("mine.opt.lion")) == [
        "mine/__init__.py",
        "mine/opt/__init__.py",
        "mine/opt/lion.py",
    ]


def test_a_module_in_a_folder_without_init_is_found(lab: Lab) -> None:
    write(lab.repo / "mine/opt/lion.py", NEVER_RUN)
    assert list(lab.dirty("mine.opt.lion")) == ["mine/opt/lion.py"]


def test_an_untracked_module_that_git_shows_is_named_once(lab: Lab) -> None:
    write(lab.repo / "networks/new.py", NEVER_RUN)
    (trainer,) = lab.code("networks.new").states
    assert (trainer.dirty, trainer.hidden) == (("networks/new.py",), ())


def test_a_link_out_of_the_repository_is_what_it_leads_to(lab: Lab) -> None:
    (lab.repo / "networks/linked.py").symlink_to(write(lab.other / "linked.py", NEVER_RUN))
    commit_all(lab.repo, "a link")
    (found,) = lab.code("networks.linked").unrecorded
    assert f"networks.linked is imported from {lab.repo}/networks/linked.py" in found.problem


@pytest.mark.parametrize("install", INSTALLED, ids=lambda each: each.__name__)
def test_an_editable_package_is_a_repository_with_its_changes(
    lab: Lab, tmp_path: Path, install: Callable[[Lab, Path, str], None]
) -> None:
    source = a_repository(lab.other / "prodigy", "prodigyopt/__init__.py")
    install(lab, source, "prodigyopt")
    (clean,) = lab.code("prodigyopt").further
    assert (clean.path, clean.label, clean.dirty) == (source, "prodigy", ())
    write(source / "prodigyopt/__init__.py", "# faster\n")
    (found,) = lab.code("prodigyopt").further
    assert found.dirty == ("prodigyopt/__init__.py",)
    assert b"+# faster" in patch(found)
    assert lab.code("networks.lora").further == (), "nothing names it"


def test_an_installed_package_is_in_the_list_of_packages(lab: Lab) -> None:
    write(lab.site / "lion_pytorch/__init__.py", NEVER_RUN)
    assert lab.dirty("lion_pytorch") == {}


@pytest.mark.parametrize("install", INSTALLED, ids=lambda each: each.__name__)
def test_code_that_no_repository_holds_is_named(
    lab: Lab, install: Callable[[Lab, Path, str], None]
) -> None:
    write(lab.other / "hacks/fastopt/__init__.py", NEVER_RUN)
    install(lab, lab.other / "hacks", "fastopt")
    (found,) = lab.code("fastopt").unrecorded
    assert found.problem.startswith("fastopt is imported from ")
    assert "no commit would tell what ran" in found.problem


def test_an_ignored_module_that_hides_an_installed_one_is_dirt(lab: Lab) -> None:
    write(lab.site / "torch/__init__.py", NEVER_RUN)
    assert lab.dirty() == {}
    write(lab.repo / "torch.py", NEVER_RUN)
    assert lab.dirty() == {"torch.py": "ignored, hides another torch"}
    (lab.repo / "torch.py").unlink()
    (lab.repo / "torch_notes.py").write_text("")
    (lab.repo / "torch").mkdir()
    write(lab.repo / "torch/cache.py", "")
    assert lab.dirty() == {}, "a package comes before a folder"


def test_one_that_leads_to_another_repository_is_that_repositorys(lab: Lab) -> None:
    write(lab.site / "torch/__init__.py", NEVER_RUN)
    source = a_repository(lab.other / "fork", "torch/__init__.py")
    (lab.repo / "torch").symlink_to(source / "torch")
    found = lab.code()
    assert [state.path for state in found.further] == [source]
    assert found.unrecorded == ()


def test_one_that_hides_a_module_of_python_itself_is_dirt(lab: Lab) -> None:
    (lab.repo / ".git/info/exclude").write_text("csv.py\n")
    write(lab.repo / "csv.py", NEVER_RUN)
    assert list(lab.dirty()) == ["csv.py"]


def test_a_tracked_one_that_hides_another_is_the_trainers(lab: Lab) -> None:
    write(lab.site / "networks/__init__.py", NEVER_RUN)
    assert lab.dirty("networks.lora") == {}


def test_what_comes_before_the_trainers_own_package_is_named(lab: Lab) -> None:
    before = a_repository(lab.other / "old", "library/__init__.py")
    write(
        lab.site / "first_finder.py",
        FINDER.replace("'lycoris'", "'library'").replace("append(", "insert(0, ")
        % str(before / "library")
        + "install()\n",
    )
    write(lab.site / "first.pth", "import first_finder\n")
    (found,) = lab.code().unrecorded
    assert found.problem == (
        f"library is imported from {before}/library/__init__.py, and not from the trainer's folder"
    )


def test_a_finder_that_raises_is_passed_over(lab: Lab) -> None:
    broken = (
        "import sys\nclass F:\n def find_spec(self, n, p=None, t=None):\n"
        "  if n.startswith('networks'): raise OSError\nsys.meta_path.insert(0, F())\n"
    )
    write(lab.site / "first_finder.py", broken)
    write(lab.site / "first.pth", "import first_finder\n")
    write(lab.repo / "networks/mine.py", NEVER_RUN)
    assert list(lab.dirty("networks.mine")) == ["networks/mine.py"]


def test_names_that_are_no_modules_are_not_asked_for(lab: Lab) -> None:
    assert lab.dirty("", "..", "a/b", "two words", "x\ny", "networks..lora") == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--network_module lycoris.kohya", ["lycoris.kohya"]),
        ("--optimizer_type my.module.Opt", ["my.module"]),
        ("--lr_scheduler_type my.sched.Cosine", ["my.sched"]),
        ("--lr_scheduler_type CosineAnnealingLR", []),
        ("--optimizer_type Prodigy", ["prodigyopt"]),
        ("--optimizer_type prodigyplus.ProdigyPlusScheduleFree", ["prodigyplus", "schedulefree"]),
        ("--optimizer_type AdamW8bit", ["bitsandbytes"]),
        ("--optimizer_type PagedAdamW", ["bitsandbytes"]),
        ("--optimizer_type DAdaptLion", ["dadaptation"]),
        ("--optimizer_type Lion", ["lion_pytorch"]),
        ("--optimizer_type AdamWScheduleFree", ["schedulefree"]),
        ("--optimizer_type Adafactor", ["transformers"]),
        ("--optimizer_type AdamW", []),
        ("--use_8bit_adam --xformers", ["bitsandbytes", "xformers"]),
        ("", []),
    ],
)
def test_the_modules_of_sd_scripts_are_those_that_it_imports(
    words: str, expected: list[str]
) -> None:
    given: Arguments = from_words(tuple(words.split()))
    assert list(named_modules(given)) == expected
