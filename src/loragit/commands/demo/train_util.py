"""What the small trainer reads and writes beside the network, as ``library/train_util.py`` of
sd-scripts does."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import subprocess  # noqa: TID251 - copied into a repository of its own, this file cannot ask loragit
import sys
import time
import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIDE = 32
"""Pixels along each side of what the network learns and draws."""
SUBSET_KEYS = {
    "image_dir",
    "num_repeats",
    "caption_extension",
    "shuffle_caption",
    "keep_tokens",
    "class_tokens",
}
DATASET_KEYS = SUBSET_KEYS | {
    "resolution",
    "batch_size",
    "subsets",
    "enable_bucket",
    "min_bucket_reso",
}
DATASET_KEYS |= {"max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale"}

Picture = tuple[tuple[str, ...], list[float]]
"""Tags of the caption; SIDE * SIDE * 3 values in -1..1, RGB by lines."""


def log(text: str) -> None:
    """A line on standard output, at once: at a pipe too it stands between the redraws of the bar as
    it was said."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# The dataset: images and captions, as the config names them.


@dataclass(frozen=True, slots=True)
class Subset:
    """The images of one folder."""

    folder: Path
    repeats: int
    options: dict[str, Any]
    """Its table of the config, over the dataset's and ``[general]``."""
    pictures: tuple[Picture, ...]

    def frequency(self) -> dict[str, int]:
        """How many captions each tag is in."""
        counts: dict[str, int] = {}
        for tags, _ in self.pictures:
            for tag in tags:
                counts[tag] = counts.get(tag, 0) + 1
        return counts


@dataclass(frozen=True, slots=True)
class Dataset:
    """One ``[[datasets]]`` table."""

    options: dict[str, Any]
    batch_size: int
    subsets: list[Subset]

    def images(self) -> list[Picture]:
        """Every picture, as often as it is repeated."""
        return [picture for s in self.subsets for picture in s.pictures for _ in range(s.repeats)]


def load_datasets(file: Path) -> list[Dataset]:
    """What the dataset config names; folders are relative to the working directory. Strict about
    keys."""
    config = tomllib.loads(file.read_text(encoding="utf-8"))
    general = config.pop("general", {})
    tables = config.pop("datasets", [])
    unknown = [*config, *(k for t in (general, *tables) for k in t if k not in DATASET_KEYS)]
    unknown += [k for t in tables for s in t.get("subsets", []) for k in s if k not in SUBSET_KEYS]
    if unknown:
        raise ValueError(f"extra keys not allowed in {file}: {', '.join(unknown)}")
    datasets = []
    for table in tables:
        options = general | {k: v for k, v in table.items() if k != "subsets"}
        subsets = [load_subset(options | s) for s in table.get("subsets", [])]
        datasets.append(
            Dataset(options, int(options.get("batch_size", 1)), [s for s in subsets if s.pictures])
        )
    return [d for d in datasets if d.subsets]


def load_subset(options: dict[str, Any]) -> Subset:
    folder = Path(options["image_dir"])
    images = sorted(folder.glob("*.png"))
    if folder.is_dir():
        log(f"INFO     found directory {folder} contains {len(images)} image files")
    else:
        log(f"WARNING  not directory: {folder}")
    return Subset(
        folder, int(options.get("num_repeats", 1)), options, tuple(load(i, options) for i in images)
    )


def load(image: Path, options: dict[str, Any]) -> Picture:
    caption = image.with_suffix(options.get("caption_extension", ".caption"))
    text = (
        caption.read_text(encoding="utf-8")
        if caption.is_file()
        else str(options.get("class_tokens", ""))
    )
    return split_tags(text), shrink(*read_png(image.read_bytes()))


def split_tags(text: str) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in text.split(",") if tag.strip())


def read_png(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and RGB bytes. Raises ``ValueError`` for anything but 8-bit RGB that is not
    interlaced."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("not a PNG file")
    width = height = 0
    packed, at = b"", 8
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            if (depth, colour, interlace) != (8, 2, 0):
                raise ValueError("only 8-bit RGB images that are not interlaced can be read")
        elif kind == b"IDAT":
            packed += body
        at += 12 + size
    raw, stride = zlib.decompress(packed), width * 3
    lines, above = [], bytes(stride)
    for y in range(height):
        start = y * (stride + 1)
        above = unfilter(raw[start], raw[start + 1 : start + 1 + stride], above)
        lines.append(above)
    return width, height, b"".join(lines)


def unfilter(kind: int, line: bytes, above: bytes) -> bytes:
    """One line of RGB pixels without its filter (PNG specification, 9.2)."""
    out = bytearray(line)
    for i in range(len(out)):
        left, up, corner = (out[i - 3], above[i], above[i - 3]) if i >= 3 else (0, above[i], 0)
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        elif kind == 4:
            guess = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
        else:
            return bytes(line)
        out[i] = (out[i] + guess) & 255
    return bytes(out)


def shrink(width: int, height: int, rgb: bytes) -> list[float]:
    """The picture on SIDE x SIDE pixels, each the mean of what it covers, as RGB values in
    -1..1."""
    values = []
    for y in range(SIDE):
        rows = range(y * height // SIDE, max((y + 1) * height // SIDE, y * height // SIDE + 1))
        for x in range(SIDE):
            columns = range(x * width // SIDE, max((x + 1) * width // SIDE, x * width // SIDE + 1))
            for channel in range(3):
                covered = [rgb[(r * width + c) * 3 + channel] for r in rows for c in columns]
                values.append(sum(covered) / len(covered) / 127.5 - 1)
    return values


def write_png(file: Path, width: int, height: int, values: list[float]) -> None:
    """SIDE x SIDE pixels of RGB values in -1..1, drawn ``width`` x ``height`` pixels large."""
    pixels = bytes(min(255, max(0, round((v + 1) * 127.5))) for v in values)
    columns = [x * SIDE // width * 3 for x in range(width)]
    rows = [pixels[i : i + SIDE * 3] for i in range(0, len(pixels), SIDE * 3)]
    wide = [b"\0" + b"".join(row[c : c + 3] for c in columns) for row in rows]
    lines = [wide[y * SIDE // height] for y in range(height)]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with file.open("wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(b"".join(lines))),
            (b"IEND", b""),
        ):
            out.write(
                struct.pack(">I", len(body))
                + kind
                + body
                + struct.pack(">I", zlib.crc32(kind + body))
            )


def revision() -> str:
    """The commit of the repository that this file is in."""
    try:
        answer = subprocess.check_output(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).resolve().parent
        )
    except (OSError, subprocess.CalledProcessError):
        return "(unknown)"
    return answer.decode("ascii").strip()


CONSTANT = """
ss_adaptive_noise_scale=None ss_caption_dropout_every_n_epochs=0 ss_caption_dropout_rate=0.0
ss_caption_tag_dropout_rate=0.0 ss_base_model_version=sd_v1 ss_clip_skip=None ss_debiased_estimation=False
ss_face_crop_aug_range=None ss_fp8_base=False ss_fp8_base_unet=False ss_full_fp16=False
ss_gradient_accumulation_steps=1 ss_huber_c=0.1 ss_huber_scale=1.0 ss_huber_schedule=snr ss_ip_noise_gamma=None
ss_ip_noise_gamma_random_strength=False ss_loss_type=l2 ss_lr_warmup_steps=0 ss_max_grad_norm=1.0
ss_max_token_length=None ss_max_validation_steps=None ss_min_snr_gamma=None ss_multires_noise_discount=0.3
ss_multires_noise_iterations=None ss_network_dropout=None ss_noise_offset=None ss_noise_offset_random_strength=False
ss_num_reg_images=0 ss_num_validation_images=0 ss_prior_loss_weight=1.0 ss_resize_interpolation=None
ss_scale_weight_norms=None ss_text_encoder_lr=None ss_v2=False ss_validate_every_n_epochs=None
ss_validate_every_n_steps=None ss_validation_seed=None ss_validation_split=0.0 ss_zero_terminal_snr=False
modelspec.sai_model_spec=1.0.1 modelspec.architecture=stable-diffusion-v1/lora modelspec.implementation=diffusers
modelspec.prediction_type=epsilon
"""  # noqa: E501


def describe(dataset: Dataset) -> dict[str, Any]:
    """An entry of ``ss_datasets``."""
    options, side = dataset.options, dataset.options.get("resolution", SIDE)
    resolution = side if isinstance(side, list) else [side, side]
    images = len(dataset.images())
    subsets = [
        {
            "img_count": len(s.pictures),
            "num_repeats": s.repeats,
            "shuffle_caption": s.options.get("shuffle_caption", False),
            "keep_tokens": s.options.get("keep_tokens", 0),
            "image_dir": s.folder.name,
            "class_tokens": s.options.get("class_tokens"),
            "is_reg": False,
        }
        for s in dataset.subsets
    ]
    return {
        "is_dreambooth": True,
        "batch_size_per_device": dataset.batch_size,
        "num_train_images": images,
        "num_reg_images": 0,
        "resolution": resolution,
        "enable_bucket": options.get("enable_bucket", False),
        "min_bucket_reso": options.get("min_bucket_reso"),
        "max_bucket_reso": options.get("max_bucket_reso"),
        "tag_frequency": {s.folder.name: s.frequency() for s in dataset.subsets},
        "bucket_info": {
            "buckets": {"0": {"resolution": resolution, "count": images}},
            "mean_img_ar_error": 0.0,
        },
        "resize_interpolation": None,
        "subsets": subsets,
    }


def describe_all(datasets: list[Dataset]) -> dict[str, str]:
    """The datasets, as the header of a model names them."""
    frequency = {s.folder.name: s.frequency() for d in datasets for s in d.subsets}
    folders = {
        s.folder.name: {"n_repeats": s.repeats, "img_count": len(s.pictures)}
        for d in datasets
        for s in d.subsets
    }
    return {
        "ss_datasets": json.dumps([describe(d) for d in datasets]),
        "ss_tag_frequency": json.dumps(frequency),
        "ss_dataset_dirs": json.dumps(folders),
    }


def metadata_of(args: Any, datasets: list[Dataset], started: float, batches: int) -> dict[str, str]:
    """What every model of this run carries in its header, but for step, epoch and times."""
    model, commit = Path(args.pretrained_model_name_or_path), revision()
    weights = model.read_bytes()
    values: dict[str, object] = {
        "ss_session_id": random.SystemRandom().getrandbits(32),
        "ss_training_started_at": started,
        "ss_output_name": args.output_name,
        "ss_training_comment": args.training_comment,
        "ss_sd_scripts_commit_hash": commit,
        "ss_seed": args.seed,
        "ss_sd_model_name": model.name,
        "ss_sd_model_hash": hashlib.sha256(weights[0x100000:0x110000]).hexdigest()[:8],
        "ss_new_sd_model_hash": hashlib.sha256(weights).hexdigest(),
        "ss_learning_rate": args.learning_rate,
        "ss_unet_lr": args.unet_lr,
        "ss_lr_scheduler": args.lr_scheduler,
        "ss_optimizer": "networks.lora.AdamW",
        "ss_mixed_precision": args.mixed_precision,
        "ss_cache_latents": args.cache_latents,
        "ss_gradient_checkpointing": args.gradient_checkpointing,
        "ss_lowram": args.lowram,
        "ss_network_module": args.network_module,
        "ss_network_dim": args.network_dim,
        "ss_network_alpha": args.network_alpha,
        "ss_max_train_steps": args.max_train_steps,
        "ss_num_train_images": sum(len(d.images()) for d in datasets),
        "ss_num_batches_per_epoch": batches,
        "ss_num_epochs": -(-args.max_train_steps // batches),
        **describe_all(datasets),
        "modelspec.title": args.output_name,
        "modelspec.resolution": "512x512",
        "modelspec.implementation_version": f"sd-scripts/{commit}",
    }
    if args.network_args:
        values["ss_network_args"] = json.dumps(dict(a.split("=", 1) for a in args.network_args))
    constant = dict(pair.split("=") for pair in CONSTANT.split())
    return constant | {key: str(value) for key, value in values.items()}


def sample_images(args: Any, network: Any, epoch: int | None, step: int) -> None:
    """Draw every prompt, where ``epoch`` (at an epoch's end) or ``step`` (else) is one to draw
    at."""
    every = (
        args.sample_every_n_steps
        if args.sample_every_n_epochs is None
        else args.sample_every_n_epochs
    )
    by_epoch = args.sample_every_n_epochs is not None
    if not every or by_epoch != (epoch is not None) or (step if epoch is None else epoch) % every:
        return
    log(f"\nINFO     generating sample images at step {step}")
    if not args.sample_prompts or not Path(args.sample_prompts).is_file():
        log(f"ERROR    No prompt file: {args.sample_prompts}")
        return
    lines = [
        line.strip() for line in Path(args.sample_prompts).read_text(encoding="utf-8").splitlines()
    ]
    folder = Path(args.output_dir) / "sample"
    folder.mkdir(parents=True, exist_ok=True)
    for i, line in enumerate(line for line in lines if line and not line.startswith("#")):
        prompt, *rest = line.split(" --")
        options = {o[0]: o[2:].strip() for o in rest}
        width, height = (max(64, int(options.get(key, 512)) // 8 * 8) for key in "wh")
        log(f"INFO     prompt: {prompt}")
        number = f"{step:06d}" if epoch is None else f"e{epoch:06d}"
        stamp = time.strftime("%Y%m%d%H%M%S")
        prefix = f"{args.output_name}_" if args.output_name else ""
        seed = f"_{options['d']}" if "d" in options else ""
        file = folder / f"{prefix}{number}_{i:02d}_{stamp}{seed}.png"
        write_png(file, width, height, network.draw(split_tags(prompt)))
