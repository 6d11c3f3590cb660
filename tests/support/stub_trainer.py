"""A trainer for tests: sd-scripts' arguments, files and exit statuses (as ../docs tells), with
nothing learnt.

``STUB`` in the environment says how it goes; several words may be joined with ``+``: ``ok``
(default), ``nothing`` (exit 0, "No data found"), ``fail`` (exit 1 before the first save),
``late-fail`` (exit 1 after a checkpoint), ``truncated`` (a cut model, exit 1), ``kill`` (SIGKILL to
itself), ``samples`` (samples only), ``accelerate`` (fails as under accelerate, which prints the
whole command), ``rich`` (prints its secrets in columns, as rich does at 60, then fails), ``wait``
(a checkpoint, then wait for a signal; ``STUB_READY`` names a FIFO or file to announce it in),
``wait-empty`` (the same without a checkpoint), ``foreign`` (leaves notes.txt in the output folder,
then fails), ``state`` (a folder of training state), ``environment`` (writes its environment as JSON
beside the model), ``edit`` (changes the recorded prompts), ``fetch`` (a hub's cache gets another
revision, in the file that ``STUB_REF`` names).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import trainer_files  # type: ignore[import-not-found]  # copied beside it


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    names = (
        "dataset_config output_dir output_name sample_prompts training_comment logging_dir "
        "log_prefix config_file "
        "pretrained_model_name_or_path vae network_module network_dim learning_rate wandb_api_key "
        "network_weights resume seed "
        "train_data_dir reg_data_dir in_json resolution unet_lr "
        "caption_extension network_alpha mixed_precision save_every_n_steps sample_every_n_steps"
    )
    for name in names.split():
        parser.add_argument(f"--{name}")
    parser.add_argument("--max_train_steps", type=int, default=1600)
    parser.add_argument("--network_args", nargs="*")
    parser.add_argument("--gradient_checkpointing", action="store_true")
    args = parser.parse_args()
    if not args.config_file:
        return args
    # As read_config_from_file of library/train_util.py: the command line is stronger.
    filed: dict[str, object] = {}
    for key, value in tomllib.loads(Path(args.config_file).read_text()).items():
        filed |= value if isinstance(value, dict) else {key: value}
    return parser.parse_args(namespace=argparse.Namespace(**filed))


def save(args: argparse.Namespace, name: str, step: int, epoch: int, cut: int = 0) -> None:
    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    metadata = {
        "ss_output_name": str(args.output_name),
        "ss_training_comment": str(args.training_comment),
        "ss_sd_scripts_commit_hash": commit,
        "ss_steps": str(step),
        "ss_epoch": str(epoch),
    }
    print(f"\nsaving checkpoint: {output / name}", flush=True)
    trainer_files.write_safetensors(
        output / name, {"lora.weight": b"\x01\x02\x03\x04" * 64}, metadata
    )
    if cut:
        data = (output / name).read_bytes()
        (output / name).write_bytes(data[:-cut])


def sample(args: argparse.Namespace) -> None:
    folder = Path(args.output_dir) / "sample"
    folder.mkdir(parents=True, exist_ok=True)
    for index, line in enumerate(Path(args.sample_prompts).read_text().splitlines()):
        seed = "_1" if "--d 1" in line else ""
        name = f"{args.output_name}_{args.max_train_steps:06d}_{index:02d}_20261123164834{seed}.png"
        (folder / name).write_bytes(trainer_files.png(2, 2, (0, 0, 0)))


def events(args: argparse.Namespace) -> None:
    if args.logging_dir is None:
        return
    folder = (
        Path(args.logging_dir)
        / f"{args.log_prefix or ''}{time.strftime('%Y%m%d%H%M%S')}"
        / "network_train"
    )
    folder.mkdir(parents=True)
    values = [
        (1, "loss/average", 0.5, time.time()),
        (args.max_train_steps, "loss/average", 0.125, time.time()),
    ]
    trainer_files.write_events(
        folder / f"events.out.tfevents.{int(time.time())}.host.{os.getpid()}.0", values
    )


def wait() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # A signal that comes just before the read would leave it waiting; the number in the pipe does
    # not.
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    ready = os.environ.get("STUB_READY")
    if ready:
        Path(ready).write_text(str(os.getpid()))
    while signal.SIGUSR1 not in os.read(reader, 64):
        pass


def main() -> int:
    args = arguments()
    how = set(os.environ.get("STUB", "ok").split("+"))
    for step, loss in ((1, 0.5), (args.max_train_steps, 0.125)):
        bar = "#" * (10 * step // args.max_train_steps)
        sys.stderr.write(
            f"\rsteps: {100 * step // args.max_train_steps:3}%|{bar:10}| "
            f"{step}/{args.max_train_steps} [00:00<00:00, 12.50it/s, avr_loss={loss}]"
        )
    sys.stderr.write("\n")
    names = (args.dataset_config, args.in_json, args.train_data_dir)
    print(f"prepare images. {Path(next(filter(None, names))).name}", flush=True)
    if args.wandb_api_key:
        print(f"wandb key {args.wandb_api_key}", flush=True)
    if "rich" in how:
        told = f"{' '.join(sys.argv)} {os.environ.get('HF_TOKEN', '')}"
        for at in range(0, len(told), 30):
            print(
                f"{'INFO     ' if not at else ' ' * 9}{told[at : at + 30]:30} "
                f"{'' if at else 'train_util.py:17'}"
            )
        print(
            "│ "
            + os.environ.get("HF_TOKEN", "")[:9]
            + "   │\n│ "
            + os.environ.get("HF_TOKEN", "")[9:]
            + " │"
        )
        return 1
    if "accelerate" in how:
        print(f"HF_TOKEN is {os.environ.get('HF_TOKEN')}", file=sys.stderr)
        raise subprocess.CalledProcessError(1, [sys.executable, *sys.argv])
    if "nothing" in how:
        print("No data found. Please verify arguments", flush=True)
        return 0
    if "foreign" in how:
        (Path(args.output_dir) / "notes.txt").write_text("mine")
    if how & {"fail", "foreign"}:
        raise RuntimeError("the stub was told to fail")
    if "kill" in how:
        os.kill(os.getpid(), signal.SIGKILL)
    if "wait-empty" in how:
        wait()
    if "truncated" in how:
        save(args, f"{args.output_name}.safetensors", args.max_train_steps, 1, cut=100)
        return 1
    if "samples" in how:
        sample(args)
        return 0
    if "environment" in how:
        Path(args.output_dir, "environ.json").write_text(json.dumps(dict(os.environ)))
        Path(args.output_dir, "cwd.txt").write_text(os.getcwd())
    if "edit" in how:
        Path(args.sample_prompts).write_text("edited")
    save(args, f"{args.output_name}-step00000002.safetensors", 2, 0)
    if "late-fail" in how:
        raise RuntimeError("CUDA out of memory")
    if "wait" in how:
        wait()
    if "fetch" in how:
        Path(os.environ["STUB_REF"]).write_text("d" * 40)
    if "state" in how:
        folder = Path(args.output_dir) / f"{args.output_name}-step00000002-state"
        folder.mkdir()
        (folder / "optimizer.bin").write_bytes(b"state")
    if args.sample_prompts:
        sample(args)
    events(args)
    save(args, f"{args.output_name}.safetensors", args.max_train_steps, 1)
    return 0


sys.exit(main())
