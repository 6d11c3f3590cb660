"""How trainers name what they write, and what a training left, found by those names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Products(NamedTuple):
    """What a trainer writes of one sort: where it lies, and how it is called."""

    folders: tuple[str, ...]
    """Folders that hold it, relative to the output folder, ``.`` for that itself; a part may be a
    pattern of the shell's: ``checkpoint-*``. Nothing is looked for below them."""
    path: str
    """A regular expression of the whole path, relative to the output folder, with ``{name}`` where
    the output name stands: only from a known output name can it be told whether ``foo-000010`` is a
    name or the tenth epoch of ``foo``. Groups ``step`` and ``epoch``, each optional: a product
    without either is the final one."""
    unnamed: str | None = None
    """The same for a training without an output name, where that is called otherwise."""


class Naming(NamedTuple):
    """How a trainer names what it writes."""

    model: Products
    state: Products
    """Folders of training state."""
    sample: Products
    state_weights: re.Pattern[str] | None = None
    """All of the name of a file of weights in a state's folder; ``None`` where no name tells
    them."""
    default_names: tuple[str, ...] = ()
    """What stands for the output name in the models of a training that was given none; all of them
    may be of one training."""


class Product(NamedTuple):
    """A file or folder called like a product."""

    path: str
    """Relative to the output folder, with ``/``."""
    entry: os.DirEntry[str]


def find_products(output: Path, products: Products, output_name: str | None) -> Iterator[Product]:
    """What lies in ``output`` and is called as the training ``output_name`` calls such products; of
    any name where that is ``None``. Folders that are missing or cannot be listed hold none."""
    for pattern in products.folders:
        for folder in _folders(output, pattern):
            for entry in entries(output / folder):
                path = f"{folder}/{entry.name}" if folder else entry.name
                if match_product(products, path, output_name):
                    yield Product(path, entry)


def match_product(products: Products, path: str, output_name: str | None) -> re.Match[str] | None:
    """Match all of ``path`` as a product of the training ``output_name``, of any where that is
    ``None``.

    Where no output name is known, the shortest counts, so that ``foo-000010`` is the tenth epoch of
    ``foo``.
    """
    found = _compiled(products.path, output_name).fullmatch(path)
    if found is None and output_name is None and products.unnamed is not None:
        return _compiled(products.unnamed, None).fullmatch(path)
    return found


@lru_cache(maxsize=256)
def _compiled(path: str, output_name: str | None) -> re.Pattern[str]:
    name = "(?P<name>[^/\\n]+?)" if output_name is None else re.escape(output_name)
    return re.compile(path.replace("{name}", name), re.DOTALL)


def number(found: re.Match[str] | None, group: str) -> int | None:
    """What a name says of ``step`` or ``epoch``."""
    text = found.groupdict().get(group) if found else None
    return int(text) if text and len(text) <= 18 else None


def _folders(output: Path, pattern: str) -> Iterator[str]:
    """The folders of ``output`` that ``pattern`` means, relative to it, in order of their names;
    empty for ``output`` itself."""
    if pattern == ".":
        yield ""
        return
    found = [""]
    for part in pattern.split("/"):
        if not re.search(r"[*?[]", part):
            found = [f"{folder}/{part}".lstrip("/") for folder in found]
            continue
        found = [
            f"{folder}/{name}".lstrip("/")
            for folder in found
            for name in sorted(entry.name for entry in entries(output / folder))
            if fnmatchcase(name, part)
        ]
    yield from found


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Entries of ``folder``; none where it is missing or cannot be listed."""
    try:
        with os.scandir(folder) as found:
            yield from found
    except OSError:
        return
