"""How a trainer tells the files in a folder of images apart, by their names alone."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import NamedTuple


class FileKinds(NamedTuple):
    """How a trainer tells the files in a folder of images apart, by their names."""

    images: tuple[str, ...]
    """How images (or videos) end, in each spelling that the trainer takes."""
    caches: tuple[str, ...]
    """Patterns, as the shell's, of the files that it caches beside the images."""
    of_image: re.Pattern[str]
    """All of a cache's name without its suffix, where that is made from an image of another name;
    group ``stem`` is the image's."""
    of_caption: re.Pattern[str]
    """The same for caches that are made from a caption."""

    def is_image(self, name: str) -> bool:
        """Whether the trainer takes a file called ``name`` for an image. Hidden files are none:
        macOS leaves ``._NAME`` beside each file on a foreign disk."""
        return name.endswith(self.images) and not name.startswith(".")

    def is_cache(self, name: str) -> bool:
        """Whether ``name`` is a cache that the trainer itself writes next to the images."""
        return any(fnmatchcase(name, pattern) for pattern in self.caches)
