"""Names for past trainings: what their files and folders are called, as a run can be called."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from pathlib import Path

from loragit.record.name import InvalidName, RunName

_NAMELESS = frozenset(
    {"last", "epoch", "at", "model", "lora", "adapter_model", "pytorch_lora_weights"}
)
"""What trainers call the models of every training that was not given a name."""
_SUBFOLDER = re.compile(r"(?:checkpoint-|(?:global_)?step|epoch)[0-9]+|models?|loras?|save")
"""Folders that trainers make in that of a training."""


def training_name(output_name: str, folder: Path) -> str:
    """Return what the training in ``folder`` is called: ``output_name``, unless every training's
    models are called that; then the name of its folder."""
    if output_name not in _NAMELESS:
        return output_name
    above = (each.name for each in (folder, *folder.parents))
    return next((name for name in above if name and not _SUBFOLDER.fullmatch(name)), output_name)


def as_run_name(written: str) -> RunName:
    """Return ``written`` as the name of a run: ``my style (v2)`` becomes ``my-style-v2``.

    Raises :class:`InvalidName` where that gives no name, and for what looks like a path.
    """
    try:
        return RunName.parse(written)
    except InvalidName:
        if re.search(r"[/\\]", written) or not written.isprintable():
            raise
        changed = re.sub(r"[^\w.+=@-]+", "-", unicodedata.normalize("NFC", written)).strip("-.")
        # The refusal names what was written, not what was made of it.
        with suppress(InvalidName):
            return RunName.parse(changed)
        raise
