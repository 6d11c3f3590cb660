"""What has been found in one folder of a dataset, while all of it is listed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from loragit.dataset.used_files import UsedFolder
from loragit.trainers.sd_scripts.datasets.images import FolderNames

_WRITE_CAPTIONS = (
    "write them, or say caption_extension or class_tokens in the dataset config: it trains on no "
    "words else"
)
_WRITE_METADATA = "write captions into the metadata file: it trains on no words else"


class FilesOfFolder:
    """What has been found in one folder so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listing = FolderNames(frozenset(), frozenset(), frozenset())
        self.images: set[str] = set()
        self.captions: set[str] = set()
        self.further: set[str] = set()
        self.uncaptioned: set[str] = set()
        self.caption_ends: dict[str, None] = {}
        self.every_image = False

    def used(self) -> UsedFolder:
        ends = tuple(end for end in self.caption_ends if end)
        unused = (
            name
            for name in self.listing.names
            if ends and name.endswith(ends) and not name.startswith(".")
        )
        files = self.images | self.captions | self.further
        return UsedFolder(
            path=self.path,
            images=_sorted(self.images),
            captions=_sorted(self.captions),
            further=_sorted(self.further - self.images),
            dangling=self.listing.dangling & files,
            uncaptioned=_sorted(self.uncaptioned),
            unused_captions=_sorted(set(unused) - files),
            uncaptioned_hint=_WRITE_CAPTIONS if ends else _WRITE_METADATA,
            caption_ends=ends,
            every_image=self.every_image,
        )

    def no_captions_warning(self) -> str | None:
        """Return a warning if no caption was found though there are text files of the images."""
        ends = [end for end in self.caption_ends if end]
        if self.captions or not ends or not self.images:
            return None
        stems = {stem_of(name) for name in self.images}
        texts = sum(
            n.endswith(".txt") and n.removesuffix(".txt") in stems for n in self.listing.names
        )
        if not texts:
            return None
        return (
            f"{self.path} has {texts} .txt files, but the trainer will look for "
            f"{' and '.join(ends)} and train without captions: "
            'set caption_extension = ".txt" in the dataset config'
        )


def stem_of(name: str) -> str:
    """Return a file's name without its suffix."""
    return os.path.splitext(name)[0]  # noqa: PTH122 - a name, not a file


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=os.fsencode))
