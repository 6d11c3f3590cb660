"""How kohya-ss/sd-scripts names what it writes (read from its source at 48d368fa, and seen in its
runs)."""

from __future__ import annotations

import re

from loragit.trainers.trainer import Naming

_PLACE = r"(?:-(?P<epoch>[0-9]{6,})|-step(?P<step>[0-9]{8,}))?"
_TIME = r"[0-9]{14}"

NAMING = Naming(
    # NAME.safetensors, NAME-000002.safetensors (epoch), NAME-step00000002.safetensors
    model=re.compile(_PLACE + r"\.(?P<ext>safetensors|ckpt|pt)"),
    state=re.compile(_PLACE + r"-state"),
    # NAME_e000002_00_20261123164834_42.png (epoch), NAME_000004_01_20261123164834.png (step, no
    # seed)
    sample=re.compile(
        r"_(?:e(?P<epoch>[0-9]{6,})|(?P<step>[0-9]{6,}))"
        rf"_(?P<prompt>[0-9]{{2,}})_(?P<time>{_TIME})(?:_(?P<seed>[0-9]+))?\.png"
    ),
    sample_dir="sample",
    # {log_prefix}{YYYYmmddHHMMSS}, in local time
    log=re.compile(_TIME),
)
"""``networks`` and LyCORIS trainings of every sd-scripts entry point."""
