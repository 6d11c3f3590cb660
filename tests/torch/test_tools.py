"""Models that sd-scripts' own tools made of others: they lead back to the runs of those."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support import paths
from tests.support.user_home import Scene, make_scene

MODEL = paths.SD_SCRIPTS / "output_dir" / "tiny_lora" / "tiny_lora.safetensors"
NAME = "tiny_lora"


@pytest.fixture
def scene(home: Path) -> Scene:
    made = make_scene(home)
    done = made.loragit("import", str(MODEL), "--dataset", ".")
    assert done.status == 0, done.err
    assert made.tags() == [NAME]
    return made


@pytest.mark.parametrize(
    ("tool", "words", "relation"),
    [
        ("resize_lora.py", ["--new_rank", "2", "--model"], "resized"),
        (
            "resize_lora.py",
            ["--dynamic_method", "sv_ratio", "--dynamic_param", "2", "--model"],
            "resized",
        ),
        ("merge_lora.py", ["--ratios", "0.5", "--precision", "float", "--models"], "merged"),
        ("svd_merge_lora.py", ["--ratios", "0.5", "--new_rank", "2", "--models"], "merged"),
    ],
)
def test_what_a_tool_made_leads_back_to_the_run(
    scene: Scene,
    sd_scripts: Path,
    torch_python: Path,
    tmp_path: Path,
    tool: str,
    words: list[str],
    relation: str,
) -> None:
    made = tmp_path / "made.safetensors"
    subprocess.run(
        [torch_python, f"networks/{tool}", *words, MODEL, "--save_to", made],
        cwd=sd_scripts,
        env={**os.environ, "PYTHONPATH": str(sd_scripts)},
        check=True,
        capture_output=True,
    )
    done = scene.loragit("whence", "--json", str(made))
    assert done.status == 0, done.err
    (origin,) = json.loads(done.out)
    (match,) = origin["matches"]
    assert (match["run"], match["relation"]) == (NAME, relation)
    assert origin["warnings"] == []
