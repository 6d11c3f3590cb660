"""Files that hold the captions of many images: ``metadata_file`` (``in_json``), and the list that
``cache_info`` leaves in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from loragit import parse
from loragit.dataset.inputs import CannotReadInput, parse_json, read_text

INFO_CACHE = "metadata_cache.json"
"""``IMAGE_INFO_CACHE_FILE`` of ``library/train_util.py``."""


class NamedImage(NamedTuple):
    """An image that such a file names."""

    key: str
    """Its path, as it is written."""
    captioned: bool
    """Whether there is any word for it."""


def parse_metadata(path: Path, data: bytes) -> tuple[NamedImage, ...]:
    """Read a metadata file, JSON or a JSON object a line (``.jsonl``). Raises
    :class:`CannotReadInput`."""
    if path.name.endswith(".jsonl"):
        rows = dict(_lines(path, data))
    else:
        rows = dict(parse_json(path, data, "metadata file"))
    return tuple(_named_images(path, rows))


def parse_info_cache(path: Path, data: bytes) -> tuple[NamedImage, ...]:
    """Read the list that ``cache_info`` left. Raises :class:`CannotReadInput`."""
    rows = dict(parse_json(path, data, "cached list of images"))
    for key, row in rows.items():
        if not isinstance(row, dict) or not _is_size(row.get("resolution")):
            raise CannotReadInput(
                f"the cached list of images {path} has no resolution of {key!r}",
                hint="remove the file: the trainer makes it again",
            )
    return tuple(_named_images(path, rows))


def _named_images(path: Path, rows: dict[str, object]) -> Iterator[NamedImage]:
    for key, row in rows.items():
        if not isinstance(row, dict):
            raise CannotReadInput(
                f"the metadata file {path} does not say what {key!r} is",
                hint='it must read {"IMAGE": {"caption": "WORDS"}, …}',
            )
        texts = (row.get("caption"), row.get("tags"))
        if any(text is not None and not isinstance(text, str) for text in texts):
            raise CannotReadInput(
                f"the metadata file {path} has a caption of {key!r} that is no text",
                hint='captions and tags are texts: {"caption": "WORDS", "tags": "a, b"}',
            )
        if row.get("image_size") is not None and not _is_size(row["image_size"]):
            raise CannotReadInput(
                f"the metadata file {path} has a size of {key!r} that is none",
                hint='a size is a pair: {"image_size": [1024, 768]}',
            )
        yield NamedImage(key, any(texts))


def _is_size(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2


def _lines(path: Path, data: bytes) -> Iterator[tuple[str, object]]:
    text = read_text(path, data, "metadata file").removesuffix("\n")
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            row = parse.read_json(line)
        except ValueError as error:
            raise CannotReadInput(
                f"the metadata file {path} does not parse: line {number}: {error}",
                hint="correct it and start again",
            ) from error
        if not isinstance(row, dict) or not isinstance(key := row.get("image_path"), str):
            raise CannotReadInput(
                f"the metadata file {path} names no image in line {number}",
                hint='each line must read {"image_path": "IMAGE", "caption": "WORDS"}',
            )
        yield key, row


def image_path(image_dir: str | None, key: str) -> str | None:
    """Return the path that the trainer opens; ``None`` where a relative ``key`` has no
    ``image_dir`` to be relative to."""
    if os.path.isabs(key):  # noqa: PTH117 - as it is written
        return key
    return None if image_dir is None else os.path.join(image_dir, key)  # noqa: PTH118
