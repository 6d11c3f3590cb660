"""Collects every image and caption of a training, as sd-scripts' dataset classes load them
(``library/train_util.py``)."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from loragit.dataset.inputs import CannotReadInput, read_input
from loragit.dataset.used_files import ConfigFile, EpochShare, UsedFiles
from loragit.errors import Area, Finding
from loragit.text import count, listed
from loragit.trainers.sd_scripts.datasets import images, metadata
from loragit.trainers.sd_scripts.datasets.folder_files import FilesOfFolder, stem_of
from loragit.trainers.sd_scripts.datasets.images import CaptionFinder, FolderNames, list_folder
from loragit.trainers.sd_scripts.datasets.metadata import NamedImage
from loragit.trainers.sd_scripts.datasets.subsets import Method, Subset, TrainingSet, absolute
from loragit.trainers.trainer import DatasetPlace

_NAMED = 5
"""Files that a message names; the rest are counted."""
_NO_DATA = "the trainer would say 'No data found' and stop"


class DatasetCollector:
    """Collects the files of all datasets of a training."""

    def __init__(self, place: DatasetPlace) -> None:
        self._place = place
        self._is_image = images.image_suffixes(place.can_import)
        self._folders: dict[Path, FilesOfFolder] = {}
        self._files: dict[Path, bytes] = {}
        self._captions_inside = 0
        self._epoch: list[EpochShare] = []
        self._findings: list[Finding] = []
        self._warnings: list[str] = []
        self._skipped: list[Finding] = []

    def used(self, config: ConfigFile | None) -> UsedFiles:
        folders = tuple(folder.used() for folder in self._folders.values())
        skipped = self._skipped
        if not any(share.images for share in self._epoch) and not self._findings:
            read = any(folder.images or folder.captions for folder in folders)
            problem = (
                "no image is left to train on: there are only regularisation images, or images for "
                "validation"
                if read
                else "every subset is switched off (num_repeats = 0)"
            )
            self._findings += skipped or [Finding(problem, _NO_DATA, Area.DATASET)]
            skipped = []
        warnings = (
            *(f"{each.problem}: the trainer passes over it" for each in skipped),
            *filter(None, (folder.no_captions_warning() for folder in self._folders.values())),
            *filter(None, map(self._unread_warning, self._folders.values())),
            *self._warnings,
        )
        return UsedFiles(
            config=config,
            folders=tuple(each for each in folders if each.images or each.captions or each.further),
            files=self._files,
            captions_inside=self._captions_inside,
            epoch=tuple(self._epoch),
            findings=tuple(dict.fromkeys(self._findings)),
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _unread_warning(self, folder: FilesOfFolder) -> str | None:
        unread = folder.listing.unread_images(self._is_image) if folder.every_image else ()
        if not unread:
            return None
        return (
            f"{count(len(unread), 'image')} in {folder.path} {_are(unread)} not read by the "
            f"trainer: {listed(unread, _NAMED)}"
        )

    def warn(self, warning: str) -> None:
        self._warnings.append(warning)

    def used_by_own_class(self, config: ConfigFile | None) -> UsedFiles:
        """Return nothing but the warnings."""
        return UsedFiles(config, (), {}, warnings=tuple(self._warnings))

    def refuse(self, problem: str, hint: str) -> None:
        self._findings.append(Finding(problem, hint, Area.DATASET))

    def add(self, training_set: TrainingSet) -> None:
        """List all files of one dataset. Raises :class:`CannotReadInput`."""
        if not training_set.has_resolution and training_set.subsets:
            self.refuse(
                "nothing says at which resolution to train, and the trainer stops without",
                "set resolution in the dataset config, or --resolution 1024,1024",
            )
        if training_set.method is Method.FINE_TUNING:
            shown = sum(self._add_metadata(each) for each in self._distinct(training_set))
        else:
            shown = self._add_folders(training_set)
        if training_set.method is Method.CONTROLNET:
            self._add_conditions(training_set)
        self._epoch.append(EpochShare(shown, training_set.batch_size))

    def _distinct(self, training_set: TrainingSet) -> Iterable[Subset]:
        """Yield the subsets that are not switched off; of equal ones the first."""
        seen: set[str | None] = set()
        for subset in training_set.subsets:
            by_file = training_set.method is Method.FINE_TUNING
            key = subset.metadata_file if by_file else subset.image_dir
            if subset.repeats < 1 and not (training_set.validation_split and not by_file):
                continue
            if key in seen:
                self._warnings.append(
                    f"{key!r} is named twice in one dataset: the trainer passes over the second"
                )
                continue
            seen.add(key)
            yield subset

    # ---- folders ----

    def _add_folders(self, training_set: TrainingSet) -> int:
        """List DreamBooth subsets. Return how often images are shown in an epoch."""
        training, regular, spare = 0, 0, 0
        distinct = list(self._distinct(training_set))
        for subset in (each for each in distinct if not each.is_reg):
            number = len(self._add_folder(subset, None, training_set))
            if training_set.validation_split:
                number = math.ceil(number * (1 - training_set.validation_split))
            training += number * max(subset.repeats, 0)
        # Regularisation images are taken until there are as many as images to train on.
        for subset in (each for each in distinct if each.is_reg and each.repeats > 0):
            wanted = max(0, -(-(training - regular) // subset.repeats))
            names = self._add_folder(subset, wanted, training_set)
            regular += min(len(names), wanted) * subset.repeats
            spare += max(0, len(names) - wanted)
        if spare and training:
            self._warnings.append(
                f"{count(spare, 'regularisation image')} {'is' if spare == 1 else 'are'} not used: "
                "there are more than images to train on"
            )
        return training + (max(training, regular) if regular else 0)

    def _add_folder(
        self, subset: Subset, at_most: int | None, training_set: TrainingSet
    ) -> list[str]:
        """List the images and captions of one subset; of more than ``at_most`` images only the
        captions are read. Return the names of all images."""
        written = subset.image_dir
        assert written is not None  # subsets.of_config refuses it
        folder = self._listed(written)
        if folder is None:
            return []
        frozen = folder.path / metadata.INFO_CACHE
        if subset.cache_info and frozen.is_file():
            return self._add_info_cache(subset, folder, frozen, at_most)
        folder.every_image = True
        self._refuse_folders(folder)
        names = list(images.sorted_images(folder.listing, self._is_image))
        if not names:
            self._skip_empty(written, folder.path)
            if training_set.validation_split and not subset.is_reg:
                self.refuse(
                    f"the image folder {written!r} is empty, and with validation_split the trainer "
                    "stops at it",
                    "put images there, or take it out of the dataset config",
                )
            return []
        if subset.dot_added:
            self.warn(
                f'caption_extension has no dot: write "{subset.caption_suffix}"; sd-scripts adds '
                "it, and tools that do not would train without captions"
            )
        folder.images.update(names[:at_most])
        folder.caption_ends[subset.caption_suffix] = None
        finder = CaptionFinder(written, subset.caption_suffix, folder.listing, self._place.workdir)
        for name in names:
            caption = finder.caption(name)
            if caption is not None:
                self._add_caption(folder, caption)
            elif not subset.is_reg and not subset.class_tokens:
                folder.uncaptioned.add(name)
        return names

    def _refuse_folders(self, folder: FilesOfFolder) -> None:
        called = sorted(filter(self._is_image, folder.listing.folders))
        if called:
            self.refuse(
                f"{folder.path / called[0]} is a folder that is called like an image, and the "
                "trainer stops at it",
                "call it otherwise, or move it away",
            )

    def _listed(self, written: str) -> FilesOfFolder | None:
        """Return the folder ``written``, listed; ``None`` where the trainer would pass over it."""
        folder = self._folder(absolute(self._place.workdir, written))
        if not folder.listing.names:
            try:
                folder.listing = list_folder(folder.path)
            except OSError as error:
                self._skip_missing(written, folder.path, error.strerror or str(error))
                return None
        return folder

    def _folder(self, path: Path) -> FilesOfFolder:
        return self._folders.setdefault(path, FilesOfFolder(path))

    def _skip_missing(self, written: str, path: Path, reason: str) -> None:
        beside = self._place.root / written
        hint = "correct image_dir in the dataset config"
        if beside.is_dir() and beside != path:
            hint = (
                f'write {beside} in the dataset config, or set trainer.workdir = "dataset" in '
                "loragit.toml"
            )
        problem = f"the image folder {written!r}: cannot read {path} ({reason})"
        self._skipped.append(Finding(problem, hint, Area.DATASET))

    def _skip_empty(self, written: str, path: Path) -> None:
        problem = f"the image folder {written!r} ({path}) holds no images"
        self._skipped.append(Finding(problem, _NO_DATA, Area.DATASET))

    def _add_caption(self, folder: FilesOfFolder, caption: str) -> None:
        """``caption`` is a name in ``folder``, or a path."""
        if "/" in caption:
            path = absolute(self._place.workdir, caption)
            self._folder(path.parent).captions.add(path.name)
        else:
            folder.captions.add(caption)

    def _add_conditions(self, training_set: TrainingSet) -> None:
        """List the conditioning images: one for each image, called as that is, and no others."""
        for subset in training_set.subsets:
            assert subset.image_dir is not None
            assert subset.conditioning_dir is not None
            folder = self._listed(subset.conditioning_dir)
            of_images = self._folder(absolute(self._place.workdir, subset.image_dir)).images
            if folder is None or not of_images:
                continue
            names = list(images.sorted_images(folder.listing, self._is_image))
            stems = set(map(stem_of, of_images))
            folder.further.update(name for name in names if stem_of(name) in stems)
            missing = sorted(stems - set(map(stem_of, names)))
            extra = [name for name in names if stem_of(name) not in stems]
            for some, what in (
                (missing, "conditioning images missing"),
                (extra, "without an image"),
            ):
                if some:
                    self.refuse(
                        f"{subset.conditioning_dir}: {len(some)} {what}, and the trainer stops at "
                        f"that: {listed(some, _NAMED)}",
                        "each image must have one conditioning image of its name",
                    )

    # ---- metadata ----

    def _add_metadata(self, subset: Subset) -> int:
        """List the images that a metadata file names. Return how often they are shown."""
        assert subset.metadata_file is not None
        path = absolute(self._place.workdir, subset.metadata_file)
        try:
            data = self._files.get(path) or read_input(path, "metadata file")
            self._files[path] = data
            named = metadata.parse_metadata(path, data)
        except CannotReadInput as error:
            self._findings.append(Finding(error.message, error.hint, Area.DATASET))
            return 0
        if not named:
            self._skipped.append(
                Finding(f"the metadata file {path} names no image", _NO_DATA, Area.DATASET)
            )
        homeless = [
            each.key for each in named if metadata.image_path(subset.image_dir, each.key) is None
        ]
        if homeless:
            self.refuse(
                f"the metadata file {path} names images by relative paths, as {homeless[0]}",
                "set image_dir, which they are relative to (as an argument: train_data_dir)",
            )
            return 0
        self._add_named(path, subset, named)
        return len(named) * subset.repeats

    def _add_info_cache(
        self, subset: Subset, folder: FilesOfFolder, frozen: Path, at_most: int | None
    ) -> list[str]:
        """List the images of a subset that ``cache_info`` froze."""
        try:
            data = read_input(frozen, "cached list of images")
            self._files[frozen] = data
            named = metadata.parse_info_cache(frozen, data)
        except CannotReadInput as error:
            self._findings.append(Finding(error.message, error.hint, Area.DATASET))
            return []
        if not named:
            self._skip_empty(str(subset.image_dir), folder.path)
        self._add_named(frozen, subset._replace(image_dir=""), named[:at_most])
        return [each.key for each in named]

    def _add_named(self, file: Path, subset: Subset, named: Iterable[NamedImage]) -> None:
        """List images by their paths; of two in one folder, that is listed once."""
        missing: list[str] = []
        folders: dict[str, FilesOfFolder] = {}
        for each in named:
            written = metadata.image_path(subset.image_dir, each.key)
            assert written is not None
            above, name = os.path.split(written)
            if above not in folders:
                folders[above] = self._listed_quietly(above)
            folder = folders[above]
            if name not in folder.listing.names:
                cached = _latents_of(each.key, name, folder.listing)
                if cached is None:
                    missing.append(each.key)
                    continue
                name = cached
            folder.images.add(name)
            self._captions_inside += each.captioned
            if not each.captioned:
                folder.uncaptioned.add(name)
        if missing:
            self.refuse(
                f"{count(len(missing), 'image')} that {file} names {_are(missing)} not there: "
                f"{listed(missing, _NAMED)}",
                "put them there, or write the file again",
            )

    def _listed_quietly(self, written: str) -> FilesOfFolder:
        """Return a folder, listed; an empty one where that is impossible."""
        folder = self._folder(absolute(self._place.workdir, written))
        if not folder.listing.names:
            with suppress(OSError):
                folder.listing = list_folder(folder.path)
        return folder


def _latents_of(key: str, image: str, listing: FolderNames) -> str | None:
    """Return the file of cached latents that stands in for an image that is not there; the trainer
    looks for one only where its path is named in full."""
    if not os.path.isabs(key):  # noqa: PTH117 - as it is written
        return None
    latents = re.compile(re.escape(stem_of(image)) + r"_[0-9]{4,}x[0-9]{4,}_\w+\.npz")
    return min(filter(latents.fullmatch, listing.names), default=None)


def _are(names: Iterable[object]) -> str:
    return "is" if len(list(names)) == 1 else "are"
