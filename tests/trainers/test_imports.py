"""Modules that arguments name and that the trainer's Python does not find."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.trainers.arguments import from_words
from loragit.trainers.sd_scripts.imports import missing_findings, named_modules

TORCH = ("accelerate==1.0", "torch==2.5.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "networks").mkdir()
    for name in ("lora", "lora_flux", "oft"):
        (tmp_path / "networks" / f"{name}.py").write_text("")
    return tmp_path


def told(
    folder: Path, words: str, *, packages: tuple[str, ...] = TORCH
) -> list[tuple[str, str | None]]:
    """What is said if none of the modules is found."""
    known = from_words(words.split())
    found = missing_findings(known, tuple(named_modules(known)), folder, packages)
    return [finding[:2] for finding in found]


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (
            "--network_module networks.lroa",
            "network_module is networks.lroa: there is no",
            "is networks.lora meant?",
        ),
        (
            "--network_module networks.zzz",
            "network_module is networks.zzz: there is no",
            "see what is in",
        ),
        ("--network_module mine.net", "network_module is mine.net, which the", "install it"),
        (
            "--optimizer_type AdamW8bit",
            "optimizer_type AdamW8bit needs the module bitsandbytes",
            "pip install bitsandbytes",
        ),
        (
            "--optimizer_type Lion",
            "optimizer_type Lion needs the module lion_pytorch",
            "pip install lion-pytorch",
        ),
        (
            "--optimizer_type mine.opt.Fast",
            "optimizer_type mine.opt.Fast needs the module mine.opt",
            "pip install mine",
        ),
        ("--xformers", "--xformers needs the module xformers", "pip install xformers"),
    ],
)
def test_a_module_that_is_not_found_is_told(
    folder: Path, words: str, problem: str, hint: str
) -> None:
    ((found, step),) = told(folder, words)
    assert found.startswith(problem)
    assert hint in (step or "")


def test_lycoris_is_told_elsewhere_and_so_is_a_python_without_torch(folder: Path) -> None:
    assert told(folder, "--network_module lycoris.kohya") == []
    assert told(folder, "--optimizer_type AdamW8bit", packages=("pip==24",)) == []


def test_a_trainer_that_keeps_its_networks_elsewhere_is_left_alone(tmp_path: Path) -> None:
    assert told(tmp_path, "--network_module networks.lora") == []
