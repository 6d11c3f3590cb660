"""What tests of the shell functions need: a scene, and training scripts that real shells run."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from loragit.commands.shell import functions_source, own_words
from loragit.system import alive
from loragit.system.alive import any_left
from tests.support.processes import Result
from tests.support.user_home import Scene

NAME = "noob-gren-v1s4"
SHELLS = ("bash", "zsh")
IN_CI = bool(os.environ.get("CI"))

HEAD = """#!/usr/bin/env {shell}
set -e -o pipefail
NAME={name}
SD_SCRIPT="${{SD_SCRIPT:-sdxl_train_network.py}}"
SD_REPO="${{SD_REPO:-$HOME/source/repos/sd-scripts}}"
args=(--network_dim=16 --seed=7)
"""
SOURCE = "source <(loragit {shell})\n"
BODY = """
setup_training_vars "$NAME"
args+=(--output_dir="$OUTPUT_DIR/$NAME" --output_name="$NAME" --log_prefix="$NAME-" --logging_dir="$OUTPUT_DIR/logs"
       --max_train_steps=$STEPS --dataset_config="$TRAINING_DIR/config.toml"
       --sample_prompts="$TRAINING_DIR/sample-prompts.txt" "$@")
trap cleanup_empty_output EXIT TERM
store_commits_hashes "$SD_REPO"
run_training_script "$SD_REPO/$SD_SCRIPT" "${args[@]}"
echo "after: $?"
"""  # noqa: E501
SCRIPT = HEAD + SOURCE + BODY


def need(shell: str) -> None:
    """Skip where ``shell`` is missing; CI has to have it."""
    if shutil.which(shell) is None:
        assert not IN_CI, f"CI needs {shell}"
        pytest.skip(f"{shell} is not installed")


def on_path(scene: Scene) -> dict[str, str]:
    """An environment in which a script finds ``loragit``."""
    shims = scene.home / "shims"
    if not shims.is_dir():
        shims.mkdir()
        shim = shims / "loragit"
        shim.write_text(f'#!/bin/sh\nexec {" ".join(own_words())} "$@"\n')
        shim.chmod(0o755)
    return {"PATH": f"{shims}{os.pathsep}{os.environ['PATH']}"}


def write(
    scene: Scene, shell: str, text: str = SCRIPT, place: str = "scripts/night.sh", name: str = NAME
) -> Path:
    path = scene.home / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        text.replace("{shell}", shell).replace("{name}", name).replace("{{", "{").replace("}}", "}")
    )
    path.chmod(0o755)
    return path


def run(scene: Scene, *words: str, **environ: str) -> Result:
    """Run a program in the home folder."""
    return scene.run(words, scene.home, {**on_path(scene), **environ})


def run_code(scene: Scene, shell: str, code: str, **environ: str) -> Result:
    """Run ``code`` in a script that has read the functions, from a file: how they are read from
    ``loragit`` itself is seen in the whole scripts."""
    functions = scene.home / f"functions.{shell}"
    functions.write_text(functions_source(shell))
    script = write(
        scene,
        shell,
        f"#!/usr/bin/env {shell}\nsource {functions}\n"
        + code.replace("{", "{{").replace("}", "}}"),
    )
    return run(scene, str(script), **environ)


class Waiting:
    """A script whose trainer waits for a signal."""

    def __init__(
        self,
        scene: Scene,
        script: Path,
        folder: Path,
        how: str = "wait",
        prefix: tuple[str, ...] = (),
    ) -> None:
        ready = folder / "ready"
        os.mkfifo(ready)
        fifo = os.open(ready, os.O_RDWR)  # opened for writing too, so that opening waits for nobody
        self.child = subprocess.Popen(
            [*prefix, str(script)],
            cwd=scene.home,
            env={**os.environ, **on_path(scene), "STUB": how, "STUB_READY": str(ready)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert select.select([fifo], [], [], 60)[0], "the trainer never began"
        self.trainer = int(os.read(fifo, 64))
        os.close(fifo)

    def tell(self, number: int) -> None:
        """The shell alone."""
        self.child.send_signal(number)

    def tell_all(self, number: int) -> None:
        """The whole process group, as a terminal does."""
        os.killpg(self.child.pid, number)

    def end(self) -> Result:
        """Wait; nothing of it may be left."""
        out, err = self.child.communicate(timeout=60)
        assert not alive.exists(self.trainer)
        late = time.monotonic() + 60
        while any_left(self.child.pid):  # what has closed its output is about to end
            assert time.monotonic() < late
            os.sched_yield()
        return Result(self.child.returncode, out, err)


def ended_by(number: int) -> tuple[int, int]:
    """What a script that a signal ended returns: the signal itself, or as a shell says it."""
    return (-number, 128 + number)


__all__ = [
    "NAME",
    "SCRIPT",
    "SHELLS",
    "Waiting",
    "ended_by",
    "need",
    "on_path",
    "run",
    "run_code",
    "signal",
    "write",
]
