"""The command line: words that make no command, help, completion, interruption, and the quick ways
past its library."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from loragit import cli, cli_help
from loragit.__main__ import guarded
from loragit.version import __version__
from tests.support.made_up_runs import open_store, sealed
from tests.support.processes import LORAGIT, Result
from tests.support.user_home import Scene, make_scene

NAME = "noob-gren-v1s4"
COMMANDS = tuple(verb for verbs in cli_help.GROUPS.values() for verb in verbs)


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


@pytest.fixture
def nowhere(home: Path) -> Scene:
    """No dataset, no trainer: what is asked needs neither."""
    return Scene(home, home, home)


# ---- words ----


def test_the_version_is_told(nowhere: Scene) -> None:
    for words in (("--version",), ("--version", "log")):
        assert nowhere.loragit(*words) == Result(0, f"loragit {__version__}\n", "")


def every_command(
    group: TyperGroup, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command with the words after ``loragit`` that name it; groups too."""
    yield words, group
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from every_command(command, (*words, name))
        else:
            yield (*words, name), command


ROOT = get_command(cli._app)
assert isinstance(ROOT, TyperGroup)
EVERY = dict(every_command(ROOT))
USAGE_ERROR = typer.BadParameter.__mro__[1]


def parse(words: list[str]) -> None:
    """Parse a command line as ``loragit`` would, without running it."""
    assert isinstance(ROOT, TyperGroup)
    command: Any = ROOT
    context = ROOT.make_context("loragit", words[1:])
    while isinstance(command, TyperGroup):
        rest = [*context._protected_args, *context.args]
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        context, command = found.make_context(name, rest, parent=context), found


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_has_narrow_lines_and_two_examples_that_parse(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["loragit", *words, "--help"])
    assert cli.app() == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"Usage: {' '.join(('loragit', *words))} ")
    assert max(map(len, out.splitlines())) <= 80
    command = EVERY[words]
    for name, each in command.commands.items() if isinstance(command, TyperGroup) else ():
        line = " ".join(str(each.help).partition("\n\n")[0].split())
        assert re.search(rf"^  {name} +{re.escape(line)}$", out, re.MULTILINE), name
    examples = [line.strip() for line in out.splitlines() if line.startswith("    loragit ")]
    assert len(examples) >= 2
    for line in examples:
        assert line.startswith(" ".join(("loragit", *words))), line
        parse(shlex.split(re.split(" [|>] ", line)[0]))


def test_an_example_with_an_option_that_is_not_there_would_not_parse() -> None:
    for line in ("loragit log --nope", "loragit nope", "loragit hook show", "loragit log -n 0"):
        with pytest.raises(USAGE_ERROR):
            parse(line.split())


def test_every_verb_is_shown_in_one_group_and_has_one_line(nowhere: Scene) -> None:
    done = nowhere.loragit("--help")
    assert (done.status, done.err) == (0, "")
    assert done.out == nowhere.loragit("-h").out
    shown = {
        section.splitlines()[0].removesuffix(":"): [
            line.split()[0] for line in section.splitlines()[1:] if line.startswith("  ")
        ]
        for section in done.out.split("\n\n")
    }
    groups = {name: tuple(shown[name]) for name in cli_help.GROUPS}
    assert groups == cli_help.GROUPS
    assert isinstance(ROOT, TyperGroup)
    assert sorted(COMMANDS) == sorted(ROOT.commands)
    assert len(set(COMMANDS)) == len(COMMANDS)


def test_a_hook_is_run_by_its_name_and_its_help_is_not_a_hook(nowhere: Scene) -> None:
    assert nowhere.loragit("hook", "run", "--help").out.startswith("Usage: loragit hook run ")
    assert "no nope hook" in nowhere.loragit("hook", "run", "nope").err


@pytest.mark.parametrize("words", [(), ("hook",)])
def test_without_a_command_the_help_is_shown_as_a_usage_error(
    nowhere: Scene, words: tuple[str, ...]
) -> None:
    done = nowhere.loragit(*words)
    assert done.status == 2
    assert "Usage: loragit" in done.out + done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nope",), "No such command 'nope'"),
        (("hook", "nope"), "No such command 'nope'"),
        (("hook", "run"), "Missing argument"),
        (("log", "--nope"), "No such option: --nope"),
        (("log", "-n", "0"), "0 is not in the range"),
        (("log", "-n", "-1"), "-1 is not in the range"),
        (("log", "-n", "x"), "'x' is not a valid int"),
        (("log", "-n", "٣x"), "is not a valid int"),
        (("show",), "Missing argument 'NAME[:FILE]'"),
        (("diff",), "Missing argument"),
        (("status", "extra"), "unexpected extra argument"),
        (("train",), "Missing argument 'name'"),
        (("train", NAME, "--network_dim", "8"), "No such option: --network_dim"),
        (("train", NAME, "--steps", "0"), "0 is not in the range"),
    ],
)
def test_words_that_make_no_command_are_a_usage_error(
    nowhere: Scene, words: tuple[str, ...], told: str
) -> None:
    done = nowhere.loragit(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("Usage: loragit ")
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_trainers_argument_without_its_dashes_gets_the_next_step(nowhere: Scene) -> None:
    hint = (
        "hint: the trainer's own arguments follow --, as in: loragit train NAME -- "
        "--network_dim 8\n"
    )
    assert nowhere.loragit("train", NAME, "--network_dim", "8").err.endswith(hint)
    assert "hint" not in nowhere.loragit("log", "--network_dim", "8").err


def test_a_wrong_value_of_an_option_is_refused_by_the_settings(scene: Scene) -> None:
    done = scene.train(NAME, "--on-empty", "burn")
    assert (done.status, done.out) == (2, "")
    assert "burn" in done.err
    assert "delete-tag" in done.err


# ---- the quick ways ----


def test_the_quick_ways_say_what_the_library_says(scene: Scene) -> None:
    store = open_store(scene.dataset)
    for number in (1, 2, 3):
        sealed(store, f"noob-gren-v{number}s4")
    for quick, slow in (
        (("log",), ("log", "--limit", "1000")),
        (("log", "-n", "2"), ("log", "--limit", "2")),
        (("log", "-n", "2"), ("log", "-n2")),
        (("zsh",), ("zsh", "--")),
        (("bash",), ("bash", "--")),
        (("train", NAME), ("train", NAME, "--steps", "4")),
        (("train", "a b"), ("train", "a b", "--steps", "4")),
        (("train", NAME, "--", "seed"), ("train", "--steps", "4", NAME, "--", "seed")),
    ):
        assert scene.loragit(*quick) == scene.loragit(*slow), quick
    assert len(scene.loragit("log", "-n", "2").out.splitlines()) == 2


def test_a_run_with_flags_and_arguments_goes_through_the_library(scene: Scene) -> None:
    out = scene.home / "out"
    done = scene.train(
        NAME,
        "--dataset",
        "gren",
        "--output",
        str(out),
        "--steps",
        "3",
        "--debug",
        "--",
        "--seed",
        "7",
    )
    assert done.status == 0, done.err
    assert "--max_train_steps 3" in done.err
    assert "--seed 7" in done.err
    assert scene.outcome(NAME)["Output"] == "~/out"
    assert scene.train(NAME, "--bump", STUB="late-fail").status == 1  # the trainer's
    assert scene.tags() == [NAME, "noob-gren-v2s4"]


IMPORTED = """
import sys
from loragit.__main__ import main
sys.argv = ["loragit", *sys.argv[1:]]
status = main()
print(status, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported(folder: Path, *words: str) -> set[str]:
    """Top-level modules that a command has imported."""
    measured = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words],
        cwd=folder,
        env=measured,
        capture_output=True,
        text=True,
        check=True,
    )
    status, *names = done.stderr.splitlines()[-1].split(" ")
    assert status == "0", done.stderr
    return set(names)


def test_what_is_asked_often_waits_for_no_import_that_it_does_not_need(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    slow = {
        "typer",
        "pygit2",
        "dulwich",
        "rich",
        "numpy",
        "asyncio",
        "inspect",
        "logging",
        "dataclasses",
    }
    assert imported(scene.dataset, "--version") & {*slow, "subprocess", "json", "pathlib"} == set()
    assert imported(scene.dataset, "log") & slow == set()
    assert imported(scene.dataset, "log", "-n", "1") & slow == set()
    assert (
        imported(scene.dataset, "hook", "run", "pre-commit") & {"typer", "pygit2", "dulwich"}
        == set()
    )
    assert "typer" in imported(
        scene.dataset, "log", "--limit", "1"
    )  # the sight of it is what tells


def test_the_library_too_runs_the_hook(scene: Scene) -> None:
    code = (
        "import sys; from loragit.cli import app; sys.argv = ['loragit', *sys.argv[1:]]; "
        "sys.exit(app())"
    )
    scene.settings(f'[trainer]\nrepo = "{scene.trainer}"\n')
    (scene.trainer / "trainer_files.py").write_text("# edited\n")
    words = ("hook", "run", "pre-commit")
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=scene.dataset,
        capture_output=True,
        text=True,
        check=False,
    )
    assert Result(done.returncode, done.stdout, done.stderr) == scene.loragit(*words)
    assert done.returncode != 0
    version = [sys.executable, "-c", code, "--version"]
    assert (
        subprocess.run(version, capture_output=True, text=True, check=True).stdout
        == f"loragit {__version__}\n"
    )


def test_the_hook_is_installed_told_and_taken_out(scene: Scene) -> None:
    assert scene.loragit("hook", "install").status == 0
    assert (scene.dataset / ".git" / "hooks" / "pre-commit").exists()
    assert str(scene.dataset) in scene.loragit("hook", "status").out
    assert scene.loragit("hook", "uninstall").status == 0
    assert not (scene.dataset / ".git" / "hooks" / "pre-commit").exists()


# ---- failures ----


def test_debug_shows_where_an_error_comes_from(scene: Scene) -> None:
    plain = scene.loragit("show", NAME)
    assert "Traceback" not in plain.err
    assert scene.loragit("show", NAME, DEBUG="0").err == plain.err
    debug = scene.loragit("show", NAME, DEBUG="1")
    assert debug.status == 1
    assert debug.err.startswith("Traceback (most recent call last):\n")
    assert "NoSuchRun" in debug.err
    assert debug.err.endswith(plain.err)


@pytest.mark.parametrize(
    "words", [("log",), ("log", "--limit", "1"), ("train", NAME), ("train", NAME, "--dry-run")]
)
def test_an_interruption_before_anything_is_opened_ends_quietly(
    scene: Scene, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """As Ctrl-C while git is asked."""
    real = subprocess.run(
        ["sh", "-c", "command -v git"], capture_output=True, text=True, check=True
    ).stdout.strip()
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(
        f'#!/bin/sh\nmkdir "{tmp_path}/once" 2>/dev/null && kill -INT $PPID\nexec {real} "$@"\n'
    )
    git.chmod(0o755)
    done = scene.loragit(*words, PATH=f"{git.parent}:{os.environ['PATH']}")
    assert (tmp_path / "once").exists()
    assert done == Result(130, "", "")
    assert scene.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not scene.output.exists()


def test_the_repository_of_a_hook_that_calls_is_not_taken_for_the_datasets(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    assert scene.loragit(
        "log", GIT_DIR=str(scene.trainer / ".git"), GIT_WORK_TREE="/"
    ).out.startswith(NAME)


def test_no_text_is_written_or_read_in_the_locales_own_encoding(scene: Scene) -> None:
    """Such a place would fail, or write other bytes, on a machine whose locale is not UTF-8."""
    measured = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")
    }
    strict = (
        sys.executable,
        "-X",
        "warn_default_encoding",
        "-W",
        "error::EncodingWarning",
        "-m",
        "loragit",
    )
    for words in (
        ("train", NAME),
        ("log", "--json"),
        ("show", NAME),
        ("status",),
        ("settings",),
        ("hook", "install"),
    ):
        done = subprocess.run(
            [*strict, *words], cwd=scene.dataset, env=measured, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_letters_that_the_locale_lacks_are_no_error(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME, dataset="画")
    for words in (("show", NAME), ("show", NAME, "--json")):
        done = scene.loragit(*words, PYTHONIOENCODING="latin-1")
        assert done.status == 0, done.err
        assert "\\u753b" in done.out


def test_a_folder_that_is_gone_is_no_reason_for_a_traceback(nowhere: Scene) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    for words in (("log",), ("log", "--limit", "1")):
        command = ["sh", "-c", script, "sh", *LORAGIT, *words]
        done = subprocess.run(
            command, cwd=nowhere.home, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: No such file or directory\nhint: DEBUG=1 ")


def test_a_failure_of_the_system_that_nobody_thought_of_is_told_with_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert guarded(lambda: len((tmp_path / "nothing").read_bytes())) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/nothing: No such file or directory\nhint: DEBUG=1 shows where this "
        "happened\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_version_that_cannot_be_told_is_a_failure() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*LORAGIT, "--version"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")


# ---- completion ----


def complete_bash(scene: Scene, *words: str) -> list[str]:
    done = scene.loragit(
        _LORAGIT_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(("loragit", *words)),
        COMP_CWORD=str(len(words)),
    )
    assert (done.status, done.err) == (0, "")
    return done.out.split()


def test_the_shell_completes_commands_options_and_names_of_runs(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    sealed(open_store(scene.dataset), "noob-mark-v2s8")
    assert complete_bash(scene, "") == list(COMMANDS)
    assert complete_bash(scene, "s") == ["status", "show", "settings"]
    assert complete_bash(scene, "log", "--j") == ["--json"]
    assert complete_bash(scene, "hook", "") == ["install", "uninstall", "status", "show", "run"]
    assert complete_bash(scene, "show", "") == [NAME, "noob-mark-v2s8"]
    assert complete_bash(scene, "show", "noob-g") == [NAME]
    zsh = scene.loragit(
        _LORAGIT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="loragit show noob-m"
    )
    assert "noob-mark-v2s8" in zsh.out
    assert NAME not in zsh.out


def test_outside_any_repository_no_names_are_completed_and_nothing_is_complained_about(
    nowhere: Scene,
) -> None:
    assert complete_bash(nowhere, "show", "") == []


def test_bash_itself_completes(scene: Scene, tmp_path: Path) -> None:
    """With the script that ``loragit --show-completion`` prints, as a user has it in their
    shell."""
    sealed(open_store(scene.dataset), NAME)
    script = scene.loragit(_LORAGIT_COMPLETE="source_bash").out
    command = tmp_path / "loragit"
    command.write_text(f'#!/bin/sh\nexec {" ".join(LORAGIT)} "$@"\n')
    command.chmod(0o755)
    asked = (
        "COMP_WORDS=(loragit show noob) COMP_CWORD=2; _loragit_completion loragit noob show; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}\ncomplete -p loragit"],
        cwd=scene.dataset,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        NAME,
        "complete -o default -F _loragit_completion loragit",
    ], done.stderr


def test_the_module_and_the_command_are_the_same(nowhere: Scene) -> None:
    command = Path(sys.executable).with_name("loragit")
    if not command.exists():
        pytest.skip("not installed with its command")
    done = subprocess.run(
        [command, "settings", "--json"],
        cwd=nowhere.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout) == json.loads(nowhere.loragit("settings", "--json").out)
