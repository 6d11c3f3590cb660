"""What a trainer reads of a dataset, as values. Trainers say it
(:meth:`~loragit.trainers.trainer.Trainer.dataset`); :mod:`loragit.dataset.snapshot` records it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.errors import Finding


class UsedFolder(NamedTuple):
    """A folder of which the trainer reads files. Names are those of files directly in it, each
    list sorted."""

    path: Path
    """Absolute."""
    images: tuple[str, ...]
    """What it trains on, and what counts as an image of the dataset."""
    captions: tuple[str, ...] = ()
    """Text files that it reads captions from."""
    further: tuple[str, ...] = ()
    """Other files that it reads: conditioning images."""
    dangling: frozenset[str] = frozenset()
    """Those of all the above that are links to nothing."""
    uncaptioned: tuple[str, ...] = ()
    """Images that it trains on with no words at all."""
    unused_captions: tuple[str, ...] = ()
    """Files called like captions that belong to no image."""
    uncaptioned_hint: str = ""
    """What to do about ``uncaptioned``."""
    caption_ends: tuple[str, ...] = ()
    """How captions end, with their dots."""
    every_image: bool = True
    """Whether it reads every image in the folder, so that a new one would count too."""


class CaptionProblem(NamedTuple):
    """What is wrong with a caption."""

    what: str
    """What it does or is: "is empty"."""
    what_many: str
    """The same of several: "are empty"."""
    hint: str
    stops: bool
    """Whether it stops the trainer; else it only spoils the training."""


class ConfigFile(NamedTuple):
    """The file that names the dataset."""

    path: Path
    suffix: str
    """Of its copy's name, in lower case whatever the file's own is: ``.toml``."""
    data: bytes


class EpochShare(NamedTuple):
    """What one dataset of several adds to an epoch."""

    images: int
    """Counted as often as they are shown."""
    batch_size: int


class UsedFiles(NamedTuple):
    """Everything that a trainer reads of a dataset."""

    config: ConfigFile | None
    """``None`` where arguments alone name the dataset."""
    folders: tuple[UsedFolder, ...]
    """Each once."""
    files: Mapping[Path, bytes]
    """Further inputs and their bytes, by absolute path: ``metadata_file`` and the like."""
    captions_inside: int = 0
    """Captions that stand in ``files``."""
    epoch: tuple[EpochShare, ...] = ()
    """Empty where it cannot be told."""
    findings: tuple[Finding, ...] = ()
    """What would stop the trainer."""
    warnings: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many images it trains on, each once."""
        return sum(len(folder.images) for folder in self.folders)
