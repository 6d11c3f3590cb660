"""The kinds of difference that are shown, and what they are called."""

from __future__ import annotations

from loragit.history.compare import changes
from loragit.history.compare.details import Difference

CODE = (changes.TRAINER, changes.LYCORIS, changes.REPOSITORY)
"""Kinds that are about the commits of repositories."""
TITLES = {
    changes.ARGUMENT: "Arguments",
    changes.WEIGHTS: "Base model and other weights",
    "code": "Code",
    changes.CONFIG: "Dataset config",
    changes.INPUT: "Inputs",
    changes.PROMPTS: "Sample prompts",
    changes.CAPTION: "Captions",
    changes.IMAGE: "Images",
    changes.FILE: "Other files",
    changes.ENVIRONMENT: "Environment",
    changes.PACKAGE: "Packages",
    changes.PATCH: "Patches",
}
"""Kinds in the order in which they are shown."""


def trainer_label(difference: Difference) -> str:
    return difference.after.record.trainer.label
