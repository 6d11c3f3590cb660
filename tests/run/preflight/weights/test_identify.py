"""The weights that a run starts from: which of them must be there, and what is known of each."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from loragit.dataset.hashes import HashCache
from loragit.errors import Findings
from loragit.record.values import Weights
from loragit.run.preflight.weights import identify
from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import Defaults


def read(folder: Path, *words: str) -> tuple[tuple[Weights, ...], dict[str, str | None]]:
    """What is known of the weights, and each problem with its hint."""
    defaults = Defaults("noob-gren-v1s4", folder / "config.toml", False, None, folder)
    plan = SdScripts().plan(Arguments({}), from_words(words), defaults, own_script=False)
    findings = Findings()
    found = identify.identify_weights(plan, folder, HashCache(folder.parent / "cache"), findings)
    return found, {finding.problem: finding.hint for finding in findings.all()}


def known(folder: Path, *words: str) -> tuple[Weights, ...]:
    found, problems = read(folder, *words)
    assert problems == {}
    return found


def refused(folder: Path, *words: str) -> tuple[str, str | None]:
    """The one problem and its hint."""
    ((problem, hint),) = read(folder, *words)[1].items()
    return problem, hint


def test_weights_are_files_folders_or_names_of_a_hub(tmp_path: Path) -> None:
    (tmp_path / "noob.safetensors").write_bytes(b"weights")
    (tmp_path / "diffusers").mkdir()
    (tmp_path / "state").mkdir()
    words = (
        *("--pretrained_model_name_or_path", "noob.safetensors", "--vae", "owner/vae"),
        *("--network_weights", "diffusers", "--resume", str(tmp_path / "state")),
    )
    assert known(tmp_path, *words) == (
        Weights("Base-Model", "noob.safetensors", hashlib.sha256(b"weights").hexdigest()),
        Weights("VAE", "owner/vae", None),
        Weights("Network-Weights", "diffusers", None),
        Weights("Resume", "state", None),
    )


@pytest.mark.parametrize(
    "value", ["/none", "./none", "../none", "~/none", "none.safetensors", "owner/x.ckpt", "x.pt"]
)
def test_weights_that_can_only_be_a_file_must_be_there(tmp_path: Path, value: str) -> None:
    problem, hint = refused(tmp_path, "--vae", value)
    assert problem.startswith("VAE: there is no file ")
    assert hint == "mend the path in the settings or the arguments"


@pytest.mark.parametrize("value", ["none", "owner/none", "owner/none-1.0", "x" * 300])
def test_what_may_be_a_name_of_a_hub_is_left_to_the_trainer(tmp_path: Path, value: str) -> None:
    assert known(tmp_path, "--vae", value) == (Weights("VAE", value, None),)


def test_weights_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    weights = tmp_path / "gone.safetensors"
    os.mkfifo(weights)
    assert "VAE: there is no file" in refused(tmp_path, "--vae", "gone.safetensors")[0]
