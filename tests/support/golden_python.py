"""The trainer's Python of a scene: ``golden_python.py ARGUMENTS…``, as ``python ARGUMENTS…`` would
be started.

It answers the questions about its packages the same on every machine. In place of any script it is
the trainer: it tells in ``~/seen`` what it was given, takes 754 s by the scene's clock, and writes
what ``GOLDEN`` names, words joined with ``+``: ``models``, ``samples``, ``events``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parent))
import trainer_files  # type: ignore[import-not-found]  # beside it

HOME = Path(os.environ["HOME"])
LYCORIS = HOME / "source/repos/LyCORIS"
SITE = "/opt/env/lib/python3.11/site-packages"
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000d494441"
    "547801010200fdff0000000200017e050dd20000000049454e44ae426082"
)
"""One black point."""


def answer(probe: str) -> None:
    """What the probe would print in an environment of four packages."""
    names: dict[str, object] = {"__name__": "probe"}
    exec(probe, names)
    editable = json.dumps({"url": f"file://{quote(str(LYCORIS))}", "dir_info": {"editable": True}})
    commit = {"vcs": "git", "commit_id": "5c" * 20}
    fetched = json.dumps({"url": "https://me:pw@example.org/b", "vcs_info": commit})
    packages = [
        ["torch", "2.4.0+cu121", SITE, None, False],
        ["accelerate", "0.33.0", SITE, None, False],
        ["lycoris_lora", "3.1.0", SITE, editable, False],
        ["bitsandbytes", "0.44.0", SITE, fetched, False],
    ]
    origin = LYCORIS / "lycoris/__init__.py"
    fields = (
        "3.11.9",
        "/opt/env/bin/python",
        "Linux 6.1.0 x86_64, glibc 2.36",
        str(origin),
        str(origin.parent),
    )
    said = b"".join(
        os.fsencode(field) + b"\0" for field in (*fields, "key", "no", json.dumps(packages))
    )
    marker = names["MARKER"]
    assert isinstance(marker, bytes)
    os.write(1, marker + said + marker)


def tell() -> None:
    """Leave argv, folder and environment for the test to read."""
    folder = HOME / "seen"
    folder.mkdir(exist_ok=True)
    seen = {"argv": sys.argv[1:], "cwd": os.getcwd(), "environ": dict(os.environ)}
    (folder / f"{len(list(folder.iterdir())):02d}.json").write_text(json.dumps(seen))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in (
        "output_dir",
        "output_name",
        "logging_dir",
        "log_prefix",
        "training_comment",
        "wandb_api_key",
    ):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--max_train_steps", type=int, default=1600)
    return parser.parse_known_args(sys.argv[2:])[0]


def save(args: argparse.Namespace, name: str, step: int) -> None:
    metadata = {
        "ss_output_name": args.output_name,
        "ss_training_comment": args.training_comment,
        "ss_session_id": "1234567890",
        "ss_training_started_at": "1760000000.5",
        "ss_steps": str(step),
        "ss_epoch": "1",
    }
    tensors = {"lora.weight": f"{step:04d}".encode() * 16}
    trainer_files.write_safetensors(Path(args.output_dir, name), tensors, metadata)
    print(f"saving checkpoint: {Path(args.output_dir, name)}", flush=True)


def train(made: list[str]) -> int:
    args = arguments()
    if not made:
        # One of the two, for which of them is read first is left to chance.
        os.dup2(2, 1)
    clock = Path(os.environ["GOLDEN_CLOCK"])
    clock.write_text(str(int(clock.read_text()) + 754))
    for step in (1, args.max_train_steps):
        print(f"\rsteps: {step}/{args.max_train_steps}", end="", flush=True)
    print(flush=True)
    print(
        f"wandb key {args.wandb_api_key}, token {os.environ.get('HF_TOKEN')}, below {HOME}",
        flush=True,
    )
    if "models" in made:
        save(args, f"{args.output_name}-step00000002.safetensors", 2)
        save(args, f"{args.output_name}.safetensors", args.max_train_steps)
    if "samples" in made:
        folder = Path(args.output_dir, "sample")
        folder.mkdir()
        for number in range(2):
            name = f"{args.output_name}_000004_{number:02d}_20251009085320.png"
            (folder / name).write_bytes(PICTURE + b"%d" % number)
    if "events" in made and args.logging_dir:
        begun = time.strftime("%Y%m%d%H%M%S", time.localtime())
        file = Path(
            args.logging_dir,
            f"{args.log_prefix}{begun}",
            "network_train",
            "events.out.tfevents.1.host.1.0",
        )
        losses = [
            (1, "loss/average", 0.5, 1.76e9),
            (args.max_train_steps, "loss/average", 0.125, 1.76e9),
        ]
        trainer_files.write_events(file, losses)
    print("done" if made else "RuntimeError: the card is full", flush=True)
    return 0 if made else 1


if sys.argv[1] == "-c":
    answer(sys.argv[3])
else:
    tell()
    sys.exit(train(os.environ.get("GOLDEN", "").split("+") if os.environ.get("GOLDEN") else []))
