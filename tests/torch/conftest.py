"""Against sd-scripts itself: ``make test-torch SD_SCRIPTS=PATH``. Skipped without it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SD_SCRIPTS = os.environ.get("SD_SCRIPTS", "")
PYTHON = os.environ.get("TORCH_PYTHON", "")
HERE = Path(__file__).parent

Answer = dict[str, object]
Asker = Callable[[Path, list[str]], Answer]


@pytest.fixture(scope="session")
def sd_scripts() -> Path:
    """The checkout of the trainer."""
    if not SD_SCRIPTS or not PYTHON:
        pytest.skip("no checkout of sd-scripts is given: make test-torch SD_SCRIPTS=PATH")
    return Path(SD_SCRIPTS)


@pytest.fixture(scope="session")
def torch_python(sd_scripts: Path) -> Path:
    """A Python that has all that the trainer imports."""
    return Path(PYTHON)


@pytest.fixture(scope="session")
def tiny_model(torch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``model``, a random SD 1.5, and ``tokenizers``."""
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([torch_python, HERE / "tiny_model.py", folder], check=True, capture_output=True)
    yield folder
    (folder / "model/unet/diffusion_pytorch_model.safetensors").unlink()  # 1.4 GB


@pytest.fixture(scope="session")
def ask_trainer(sd_scripts: Path, torch_python: Path) -> Iterator[Asker]:
    """What the trainer loads, started in a folder with these words."""
    with subprocess.Popen(
        [torch_python, HERE / "trainer_datasets.py", sd_scripts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        to_child, from_child = child.stdin, child.stdout

        def ask(folder: Path, words: list[str]) -> Answer:
            to_child.write(json.dumps({"folder": str(folder), "words": words}) + "\n")
            to_child.flush()
            answer: Answer = json.loads(from_child.readline())
            return answer

        yield ask
        to_child.close()
