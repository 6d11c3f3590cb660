"""What differs from trainer to trainer: how one names what it writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.trainers.arguments import Arguments


class Naming(NamedTuple):
    """How a trainer names what it writes.

    The patterns match all of a file name that follows the output name (see :func:`matched`): only
    from a known output name can it be told whether ``foo-000010`` is a name or the tenth epoch of
    ``foo``.
    """

    model: re.Pattern[str]
    """Groups ``epoch`` and ``step``, both absent for the final model, and ``ext``."""
    state: re.Pattern[str]
    """Folders of training state; groups ``epoch`` and ``step``, both absent for the final state."""
    sample: re.Pattern[str]
    """Groups ``epoch`` or ``step``, ``prompt``, ``time`` and, where the prompt fixed one,
    ``seed``."""
    sample_dir: str
    """Folder of the samples, relative to the output folder."""
    log: re.Pattern[str]
    """What follows the chosen prefix in the name of a TensorBoard folder."""


def matched(
    pattern: re.Pattern[str], file_name: str, output_name: str | None
) -> re.Match[str] | None:
    """Match ``file_name`` as one that the training called ``output_name`` wrote; ``None`` where it
    is not.

    Where no output name is known, any will do: the shortest, so that ``foo-000010`` is the tenth
    epoch of ``foo``.
    """
    if output_name is None:
        return re.compile(f".+?{pattern.pattern}", pattern.flags).fullmatch(file_name)
    return (
        pattern.fullmatch(file_name, len(output_name))
        if file_name.startswith(output_name)
        else None
    )


class Plan(NamedTuple):
    """What the user asked of the trainer, with the paths resolved that loragit answers for."""

    arguments: Arguments
    """What is passed on as it is."""
    output_name: str
    config: Path
    prompts: Path | None
    output: Path | None
    """From ``--output_dir``, where it was given."""
    steps: int | None
    """From ``--max_train_steps``, where it was given."""
    epochs: str | None
    """``--max_train_epochs``, which decides the length in sd-scripts where it is given."""
    caption_suffix: str | None
    """``--caption_extension``, for subsets that name none."""
    comment: str | None
    network_module: str | None
    logging_dir: Path | None
    log_prefix: str
    weights: tuple[tuple[str, str], ...]
    """(trailer, value as given), in order."""
    inputs: tuple[tuple[str, Path], ...]
    """(option, file); ``network_args`` for a LyCORIS preset."""


class Defaults(NamedTuple):
    """Where a run's inputs lie unless an argument says otherwise."""

    name: str
    config: Path
    prompts: Path | None
    workdir: Path
    """What relative paths in arguments are relative to."""


class Copies(NamedTuple):
    """The recorded copies that the trainer is pointed at."""

    config: str
    prompts: str | None
    output: str
    inputs: Mapping[Path, str]
    """Copy of each input, by the file it was made of."""
