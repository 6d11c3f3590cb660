"""How kohya-ss/sd-scripts names what it writes (read from its source at 48d368fa, and seen in its
runs)."""

from __future__ import annotations

import re

from loragit.trainers.products import Naming, Products

_WHEN = r"(?:-(?P<epoch>[0-9]{6,})|-step(?P<step>[0-9]{8,}))?"
_SAMPLE = (
    r"(?:e(?P<epoch>[0-9]{6,})|(?P<step>[0-9]{6,}))"
    r"_(?P<prompt>[0-9]{2,})_(?P<time>[0-9]{14})(?:_(?P<seed>[0-9]+))?\.png"
)

LOSSES = ("loss/average", "loss/current")
"""Tags of a final loss, the better one first: the moving average, then the last step's own."""
EVENTS = re.compile(r"events\.out\.tfevents\..*", re.DOTALL)
LOG_FOLDER = re.compile(r"[0-9]{14}")
"""``{log_prefix}{YYYYmmddHHMMSS}``, in local time."""
BAR = re.compile(
    r"[Ss]teps: [^\n]*[ ,](?:avr_)?loss=(?P<loss>nan|-?(?:inf|[0-9.]+(?:e[+-]?[0-9]+)?))[],]"
)
"""``steps: 100%|████| 512/512 [05:12<00:00, 1.64it/s, avr_loss=0.0912]``: the moving average. tqdm
cuts the line off at the terminal's width, so a number must be followed by something. Trainings of
embeddings, and all of old versions, print ``loss``; so do diffusers' examples, after ``Steps``,
which a script of the user's own may start."""

_ENCODER = r"(?:_(?P<part>clip_l|clip_g|t5xxl))?"
"""Text encoders, which sd3_train.py saves beside a model (``library/sd3_train_utils.py``)."""
_PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "vae")
"""Folders of weights in a model in diffusers' form."""
_IN_FOLDER = (
    rf"(?:{'|'.join(_PARTS)})/(?:diffusion_pytorch_|pytorch_)?model[^/\n]*\.(?:safetensors|bin)"
)

NAMING = Naming(
    # NAME.safetensors, NAME-000002.safetensors (epoch), NAME-step00000002.safetensors; with
    # save_model_as=diffusers, folders of weights of such names. Not in other folders: those of
    # training state hold a model.safetensors of their own.
    model=Products(
        (".", *(f"*/{part}" for part in _PARTS)),
        "{name}" + _WHEN + rf"(?:{_ENCODER}\.safetensors|\.(?:ckpt|pt)|/{_IN_FOLDER})",
    ),
    state=Products((".",), "{name}" + _WHEN + "-state"),
    # NAME_e000002_00_20261123164834_42.png (epoch), NAME_000004_01_20261123164834.png (step, no
    # seed)
    sample=Products(("sample",), "sample/{name}_" + _SAMPLE, "sample/" + _SAMPLE),
    # As accelerate's checkpointing.py and its constants.
    state_weights=re.compile(
        r"(?:pytorch_)?model(?:_[0-9]+)?(?:-[0-9]{5}-of-[0-9]{5})?\.(?:safetensors|bin)"
    ),
    # As library/train_util.py: DEFAULT_LAST_OUTPUT_NAME, DEFAULT_EPOCH_NAME, DEFAULT_STEP_NAME.
    default_names=("last", "epoch", "at"),
)
"""``networks`` and LyCORIS trainings of every sd-scripts entry point."""
