"""What is read of a script's source is what its parser takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.sd_scripts.scripts.parser import read_options
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import Copies, Defaults, Job

HERE = Path(__file__).parent


def test_the_options_of_every_script_are_those_of_its_parser(
    sd_scripts: Path, torch_python: Path
) -> None:
    names = [*sorted(path.name for path in sd_scripts.glob("*train*.py")), "fine_tune.py"]
    done = subprocess.run(
        [torch_python, HERE / "trainer_parsers.py", sd_scripts, *names],
        capture_output=True,
        text=True,
        check=True,
    )
    parsers = json.loads(done.stdout.splitlines()[-1])
    assert len(parsers) > 10
    for name, actions in parsers.items():
        found = read_options(sd_scripts / name, sd_scripts)
        if found is None or not found.complete:
            pytest.fail(f"{name} is not understood")
        assert {
            option.name: [
                *(option.kind, option.values, list(option.choices), option.default),
                option.required,
            ]
            for option in found.options
        } == actions, name


def test_every_script_takes_what_it_is_given(
    sd_scripts: Path, torch_python: Path, tmp_path: Path
) -> None:
    names = [*sorted(path.name for path in sd_scripts.glob("*train*.py")), "fine_tune.py"]
    given = from_words(["--logging_dir", "logs", "--seed", "3"])
    commands = {}
    for name in names:
        # fmt: off
        defaults = Defaults(
            "noob-gren-v1s4", tmp_path / "config.toml", False, tmp_path / "p.txt", tmp_path, None,
            name, sd_scripts,
        )
        # fmt: on
        plan = SdScripts().plan(Arguments({}), given, defaults, own_script=False)
        assert plan.findings == (), name
        job = Job(Copies("/out/config.toml", "/out/p.txt", "/out", {}), 4, "stamp")
        commands[name] = SdScripts().words(plan, tmp_path, job)
        assert {"--dataset_config", "--output_dir", "--sample_prompts"} <= set(commands[name])
    subprocess.run(
        [torch_python, HERE / "trainer_parsers.py", sd_scripts, "--parse", json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
    )
