"""Folders of images in a dataset that no config names yet.

Only names are read, two levels deep; of files, only the captions that are asked for.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple

from loragit.dataset.file_kinds import FileKinds

CAPTION_SUFFIXES = (".txt", ".caption", ".cap", ".tags")
"""Suffixes of captions; of two that are equally frequent the first wins."""

_OTHER = frozenset(
    {
        "sample",
        "samples",
        "log",
        "logs",
        "model",
        "models",
        "output",
        "outputs",
        "output_dir",
        "venv",
    }
)
"""Folders that trainings leave in a dataset, and whose images are not to be trained on."""
_REGULARISATION = frozenset({"reg", "regularization", "regularisation"})
_REPEATED = re.compile(r"(?P<repeats>\d{1,6})_(?P<tokens>.*)", re.DOTALL)
_DEPTH = 2
_MOST_FOLDERS = 500
_MOST_BYTES = 64 * 1024
"""Of one caption."""


class ImageFolder(NamedTuple):
    """A folder that directly holds images."""

    place: str
    """Relative to the dataset's folder, ``/`` between parts; ``.`` for the folder itself."""
    images: tuple[str, ...]
    """File names, sorted."""
    captions: tuple[str, ...]
    """Names of the files that hold their captions, all with ``suffix``."""
    suffix: str | None
    """Of most captions, with its dot; ``None`` if there are none."""
    repeats: int
    """From a name such as ``10_gren``, as sd-scripts reads it in ``--train_data_dir``; else 1."""
    tokens: str
    """What follows the repeats in such a name (``gren``); else empty."""
    regularisation: bool
    """Whether it lies below a folder called ``reg``."""

    @property
    def nameable(self) -> bool:
        """Whether a dataset config can name it: TOML holds Unicode alone, and a path may be any
        bytes."""
        return is_unicode(self.place)


def find_image_folders(root: Path, files: FileKinds) -> tuple[ImageFolder, ...]:
    """Every folder of images in ``root``, which may be one itself, sorted by place."""
    return tuple(
        found
        for place in sorted(_places(root))
        if (found := _image_folder(root, place, files)) is not None
    )


def suffix_of_most(folders: Iterable[ImageFolder]) -> str | None:
    """The caption suffix that most captions of ``folders`` have."""
    counted: Counter[str] = Counter()
    for folder in folders:
        if folder.suffix is not None:
            counted[folder.suffix] += len(folder.captions)
    return _most(counted)


def first_captions(root: Path, folders: Iterable[ImageFolder], number: int) -> tuple[str, ...]:
    """Up to ``number`` different captions, each as one line, from every folder in turn.

    Without those that sd-scripts would read as options (`` --``) or as a comment, and without what
    is no text.
    """
    in_turn = zip_longest(
        *([root / each.place / name for name in each.captions] for each in folders)
    )
    found: dict[str, None] = {}
    for path in chain.from_iterable(in_turn):
        line = _caption(path) if path is not None else ""
        if line and line.isprintable() and not line.startswith("#") and "--" not in line:
            found[line] = None
        if len(found) == number:
            break
    return tuple(found)


def _caption(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return " ".join(file.read(_MOST_BYTES).decode().split())
    except (OSError, UnicodeDecodeError):
        return ""


def _places(root: Path) -> Iterator[str]:
    """Folders that may hold images to train on, ``root`` first."""
    level, seen = [""], 0
    yield "."
    for _ in range(_DEPTH):
        deeper: list[str] = []
        for place in level:
            for entry in entries(root / place):
                if seen < _MOST_FOLDERS and _is_candidate(entry):
                    seen += 1
                    deeper.append(f"{place}/{entry.name}" if place else entry.name)
        yield from deeper
        level = deeper


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.name.lower() not in _OTHER and _is_folder(entry)


def _image_folder(root: Path, place: str, files: FileKinds) -> ImageFolder | None:
    names = sorted(entry.name for entry in entries(root / place) if not _is_folder(entry))
    images = tuple(name for name in names if files.is_image(name))
    if not images:
        return None
    stems = {name.rpartition(".")[0] for name in images}
    by_suffix = {
        end: [n for n in names if n.endswith(end) and n.removesuffix(end) in stems]
        for end in CAPTION_SUFFIXES
    }
    suffix = _most(Counter({end: len(found) for end, found in by_suffix.items()}))
    repeated = _REPEATED.fullmatch(place.rpartition("/")[2])
    return ImageFolder(
        place=place,
        images=images,
        captions=tuple(by_suffix[suffix]) if suffix else (),
        suffix=suffix,
        repeats=max(1, int(repeated["repeats"])) if repeated else 1,
        tokens=repeated["tokens"].strip() if repeated else "",
        regularisation=place.split("/")[0].lower() in _REGULARISATION,
    )


def _most(counted: Counter[str]) -> str | None:
    best = max(CAPTION_SUFFIXES, key=lambda suffix: counted[suffix])
    return best if counted[best] else None


def is_unicode(text: str) -> bool:
    """Whether TOML can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in ``folder``, sorted by name; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []
