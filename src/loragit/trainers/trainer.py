"""What differs from trainer to trainer: how one names what it writes."""

from __future__ import annotations

import re
from typing import NamedTuple


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
