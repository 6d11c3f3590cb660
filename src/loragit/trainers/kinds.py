"""The trainers that loragit knows, by the ``trainer.kind`` of the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from loragit.secrets.find import SecretArgument
from loragit.trainers.trainer import UNKNOWN, Trainer, TrainingHeader


def _sd_scripts() -> Trainer:
    from loragit.trainers.sd_scripts.trainer import SdScripts

    return SdScripts()


KINDS: dict[str, Callable[[], Trainer]] = {"sd-scripts": _sd_scripts}
"""The same as :data:`loragit.settings.schema.KINDS`, which says what settings may name."""


def trainer_of(kind: str | None) -> Trainer:
    """The trainer of that kind.

    Records may come from a loragit that knows more: what it does not know is taken for the first,
    as is ``None``.
    """
    return KINDS.get(kind or "", _sd_scripts)()


def repository_label(kind: str, top: Path, script_folder: Path | None = None) -> str:
    """What people call the repository at ``top``, which the trainer of that kind is started from:
    the kind itself, or the name of its folder where it is no checkout of that trainer.

    ``script_folder`` holds the script that is started; a trainer may lie in somebody's own
    repository.
    """
    signs = trainer_of(kind).checkout
    theirs = signs.recognises(top) or (script_folder and signs.recognises(script_folder))
    return kind if theirs or not top.is_dir() else top.resolve().name or kind


def all_trainers() -> Iterator[Trainer]:
    """All of them."""
    yield from (trainer() for trainer in KINDS.values())


def secret_arguments() -> tuple[SecretArgument, ...]:
    """The secret arguments of all trainers.

    A word is hidden if any trainer calls it a secret, whichever one it is given to: a record is
    read by people who use other trainers, and hiding too much harms nobody.
    """
    return tuple(
        dict.fromkeys(each for trainer in all_trainers() for each in trainer.secret_arguments)
    )


def training_header(metadata: Mapping[str, str]) -> TrainingHeader:
    """What a model's header tells, by the first trainer that knows it for its own; of another one,
    what it says by the rules of ModelSpec."""
    from loragit.trainers.safetensors import modelspec_date, modelspec_parents

    for trainer in all_trainers():
        header = trainer.training_header(metadata)
        if header is not None:
            return header._replace(kind=trainer.kind)
    return UNKNOWN._replace(
        finished=modelspec_date(metadata), merged_from=modelspec_parents(metadata)
    )
