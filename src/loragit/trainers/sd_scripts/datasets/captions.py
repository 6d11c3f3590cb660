"""What sd-scripts makes of a caption file (``read_caption`` of ``library/train_util.py``)."""

from __future__ import annotations

import codecs

from loragit.dataset.inputs import encoding_problem
from loragit.dataset.used_files import CaptionProblem

_EMPTY = CaptionProblem(
    "is empty, and the trainer stops at it",
    "are empty, and the trainer stops at them",
    "write words into them, or remove them: an image without a caption file stops nothing",
    stops=True,
)
_NOT_UTF8 = CaptionProblem(
    "is not UTF-8, and the trainer stops at it",
    "are not UTF-8, and the trainer stops at them",
    "save them as UTF-8, as with: iconv -f GBK -t UTF-8 OLD > NEW",
    stops=True,
)
_UTF16 = _NOT_UTF8._replace(
    hint="they are UTF-16; save them as UTF-8, as with: iconv -f UTF-16 -t UTF-8 OLD > NEW"
)
_BOM = CaptionProblem(
    "begins with a byte order mark (BOM), which becomes part of its first word",
    "begin with a byte order mark (BOM), which becomes part of their first word",
    "save them as UTF-8 without BOM",
    stops=False,
)


def caption_problem(data: bytes) -> CaptionProblem | None:
    """What is wrong with a caption file; ``None`` for nothing."""
    if not data:
        return _EMPTY
    if data.isascii():
        return None
    if data.startswith(codecs.BOM_UTF8):
        return _BOM
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _UTF16
    return _NOT_UTF8 if encoding_problem(data, "") is not None else None
