"""The images in a folder, and the caption file of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

PLAIN = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""``IMAGE_EXTENSIONS`` of ``library/train_util.py``: all lower or all upper case."""
PLUGINS: Mapping[str, tuple[str, ...]] = {
    ".avif": ("pillow_avif",),
    ".jxl": ("jxlpy", "pillow_jxl"),
}
"""Suffixes that count only where the trainer's Python has one of these modules."""
_NEVER = (".gif", ".tif", ".tiff", ".heic", ".heif", ".jfif", ".psd", ".tga")
"""Suffixes of images that are never read."""
_FACE_PARTS = 4
"""Parts that ``tools/detect_face_rotate.py`` adds to a name: centre and size of the face."""

CanImport = Callable[[str], bool]


def both_cases(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """Return each suffix in lower case, then each in upper case."""
    return (*suffixes, *(suffix.upper() for suffix in suffixes))


def image_suffixes(can_import: CanImport) -> Callable[[str], bool]:
    """Return whether the trainer takes a file of a name for an image. ``can_import`` is asked for
    a plugin only where a name needs it."""
    plain = both_cases(PLAIN)

    @cache
    def has_plugin(suffix: str) -> bool:
        return any(map(can_import, PLUGINS[suffix]))

    def is_image(name: str) -> bool:
        if name.startswith("."):  # glob's * passes over them
            return False
        if name.endswith(plain):
            return True
        suffix = os.path.splitext(name)[1]  # noqa: PTH122 - a name, not a file
        plugin = suffix.lower() in PLUGINS and suffix in (suffix.lower(), suffix.upper())
        return plugin and has_plugin(suffix.lower())

    return is_image


class FolderNames(NamedTuple):
    """The files directly in a folder."""

    names: frozenset[str]
    """Links to nothing too."""
    dangling: frozenset[str]
    folders: frozenset[str]

    def unread_images(self, is_image: Callable[[str], bool]) -> tuple[str, ...]:
        """Return the names of images that the trainer does not read, sorted."""
        every = (*PLAIN, *PLUGINS, *_NEVER)
        return tuple(
            sorted(
                name
                for name in self.names
                if name.lower().endswith(every) and not name.startswith(".") and not is_image(name)
            )
        )


def list_folder(folder: Path) -> FolderNames:
    """Raises ``OSError``."""
    names: list[str] = []
    dangling: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                names.append(entry.name)
            elif entry.is_symlink():
                kind = _link_kind(entry)
                names += [] if kind is None else [entry.name]
                dangling += [entry.name] if kind is False else []
                folders += [entry.name] if kind is None else []
            else:
                folders.append(entry.name)
    return FolderNames(frozenset(names), frozenset(dangling), frozenset(folders))


def _link_kind(link: os.DirEntry[str]) -> bool | None:
    """Whether a link leads to a file; ``None`` where it leads to something else."""
    try:
        link.stat()
    except OSError:  # to nothing, to itself, or through a folder that may not be entered
        return False
    return True if link.is_file() else None


class CaptionFinder:
    """Finds caption files as ``read_caption`` does: ``NAME.txt``, then for the crop of a face the
    same without the last four parts of the name."""

    def __init__(self, image_dir: str, suffix: str, listing: FolderNames, workdir: Path) -> None:
        """``image_dir`` is as it is written: the trainer takes parts off the whole path."""
        self._folder = os.path.join(image_dir, "")  # noqa: PTH118 - as it is written
        self._suffix = suffix
        self._listing = listing
        self._workdir = workdir
        self._elsewhere: dict[str, bool] = {}

    def caption(self, image: str) -> str | None:
        """Return the path of the caption file for the file name ``image``: a name in the same
        folder, or elsewhere (with ``/``) relative to the working folder; ``None`` for none."""
        stem = os.path.splitext(image)[0]  # noqa: PTH122 - a name, not a file
        name = stem + self._suffix
        if name in self._listing.names:
            return name
        whole = self._folder + stem
        parts = whole.rsplit("_", _FACE_PARTS)
        if len(parts) <= _FACE_PARTS:
            return None
        shorter = parts[0] + self._suffix
        if shorter.startswith(self._folder) and "/" not in shorter[len(self._folder) :]:
            name = shorter[len(self._folder) :]
            return name if name in self._listing.names else None
        if not self._is_file(shorter):
            return None
        return shorter if "/" in shorter else f"./{shorter}"

    def _is_file(self, path: str) -> bool:
        if path not in self._elsewhere:
            self._elsewhere[path] = os.path.isfile(self._workdir / path)
        return self._elsewhere[path]


def sorted_images(listing: FolderNames, is_image: Callable[[str], bool]) -> Iterator[str]:
    """Yield the images in the trainer's order."""
    yield from sorted(filter(is_image, listing.names))
