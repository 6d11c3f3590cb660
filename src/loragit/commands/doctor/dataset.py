"""What is wrong with the files of a dataset: images, captions, and the trainer's caches beside
them.

Each folder is listed once, the first bytes of each image are read, and only images of equal size
are hashed.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit.commands.doctor.check import DATASET, Check, Checks
from loragit.dataset import hashes, not_there
from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.files import CannotRead
from loragit.dataset.hashes import HashCache
from loragit.dataset.used_files import UsedFolder
from loragit.text import count

_SHOWN = 5
"""Files that are named; the rest are counted."""

_LISTED = 20
"""Most stale caches that the suggested command deletes by name; of more, it deletes all caches of
the folder."""

_HEAD = 64
"""First bytes of a file that tell whether it is an image: longer than every signature."""

_FORMATS = (
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), (".png",)),
    ("JPEG", re.compile(rb"\xff\xd8\xff"), (".jpg", ".jpeg")),
    ("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL), (".webp",)),
    ("BMP", re.compile(rb"BM"), (".bmp",)),
    ("AVIF", re.compile(rb"....ftyp", re.DOTALL), (".avif",)),
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), (".jxl",)),
    ("GIF", re.compile(rb"GIF8"), ()),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*"), ()),
)
"""Formats, how their files begin, and their suffixes among those that trainers read."""


class Listing(NamedTuple):
    """The files of a folder when it was listed: file names with their times and sizes."""

    folder: UsedFolder
    images: Mapping[str, os.stat_result]
    """Images, and conditioning images."""
    captions: Mapping[str, os.stat_result]
    """Files called like captions, whether or not there is an image of that name."""
    caches: Mapping[str, os.stat_result]


def list_folders(
    folders: Iterable[UsedFolder], kinds: FileKinds, apart: frozenset[Path]
) -> tuple[Listing, ...]:
    """Every folder that can be listed. ``apart`` are files among the captions that are none."""
    found = []
    for folder in folders:
        try:
            found.append(_list_folder(folder, kinds, apart))
        except OSError:  # the check of the dataset config reports it
            continue
    return tuple(found)


def _list_folder(folder: UsedFolder, kinds: FileKinds, apart: frozenset[Path]) -> Listing:
    images: dict[str, os.stat_result] = {}
    captions: dict[str, os.stat_result] = {}
    caches: dict[str, os.stat_result] = {}
    of_images = {*folder.images, *folder.further}
    of_captions = {*folder.captions, *folder.unused_captions}
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = entry.name
            if name in of_images:
                kind = images
            elif name in of_captions and folder.path / name not in apart:
                kind = captions
            elif kinds.is_cache(name):
                kind = caches
            else:
                continue
            with suppress(OSError):
                status = entry.stat()
                if stat.S_ISREG(status.st_mode):
                    kind[name] = status
    return Listing(folder, _sorted(images), _sorted(captions), _sorted(caches))


def _sorted(files: Mapping[str, os.stat_result]) -> dict[str, os.stat_result]:
    return dict(sorted(files.items()))


def dataset_checks(
    listings: Sequence[Listing], kinds: FileKinds, cache: HashCache
) -> tuple[Check, ...]:
    """Everything that is wrong, folder by folder, then across folders. Writes nothing but
    ``cache``."""
    found = Checks(DATASET)
    for one in listings:
        _check_images(found, one)
        _check_captions(found, one)
        _check_caches(found, one, kinds)
    _check_duplicates(found, listings, cache)
    return found.all()


class _Heads(NamedTuple):
    """What the first bytes of a folder's images say."""

    unreadable: list[tuple[str, str]]
    """Name and reason."""
    strange: list[str]
    """Names of files that begin like no image."""
    misnamed: list[tuple[str, str]]
    """Name, and the format of the file, which is not that of its suffix."""


def _read_heads(one: Listing) -> _Heads:
    heads = _Heads([], [], [])
    for name, status in one.images.items():
        if not status.st_size:
            continue
        try:
            head = _read_head(one.folder.path, name)
        except OSError as error:
            heads.unreadable.append((name, error.strerror or str(error)))
            continue
        kind, suffixes = next(((k, s) for k, begins, s in _FORMATS if begins.match(head)), ("", ()))
        if not kind and not _is_pointer(one.folder.path / name, status.st_size):
            heads.strange.append(name)
        elif kind and not name.lower().endswith(suffixes or "/"):
            heads.misnamed.append((name, kind))
    return heads


def _check_images(found: Checks, one: Listing) -> None:
    place, heads = one.folder.path, _read_heads(one)
    empty = [name for name, status in one.images.items() if status.st_size == 0]
    if empty:
        every = f"find {shlex.quote(str(place))} -maxdepth 1 -type f -empty"
        again = f"copy them again, or take them out; {every} shows all that are empty"
        found.fail("empty images", f"{_images_are(place, empty)} empty", again)
    if heads.unreadable:
        error = CannotRead(str(place), heads.unreadable)
        found.fail("unreadable images", error.message, error.hint)
    if heads.strange:
        found.fail(
            "strange images",
            f"{_images_are(place, heads.strange)} not one by its bytes",
            f"see what they are: file {_quoted(place, heads.strange[:_SHOWN])}",
        )
    if heads.misnamed:
        shown = ", ".join(f"{name} is {kind}" for name, kind in heads.misnamed[:_SHOWN])
        problem = (
            f"{count(len(heads.misnamed), 'image')} in {place} not what the suffix says: {shown}"
        )
        found.warn(
            "suffixes",
            problem + _and_more(heads.misnamed),
            "name them after what they are, or save them again",
        )
    if one.images and not (empty or any(heads)):
        found.ok(
            "images", f"{count(len(one.images), 'image')} in {place}, each begins as its kind does"
        )


def _is_pointer(path: Path, size: int) -> bool:
    """Whether it only stands for an image; then the check of the run reports it."""
    return size < not_there.MAX_POINTER and not_there.why_not_there(path) is not None


def _read_head(folder: Path, name: str) -> bytes:
    handle = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(handle, _HEAD)
    finally:
        os.close(handle)


def _check_captions(found: Checks, one: Listing) -> None:
    folder = one.folder
    ends = " or ".join(folder.caption_ends)
    orphans = [name for name in folder.unused_captions if name in one.captions]
    if folder.uncaptioned:
        missing = f" without a caption ({ends})" if ends else " without a caption"
        found.warn(
            "captions",
            f"{count(len(folder.uncaptioned), 'image')} of {len(folder.images)} in {folder.path}"
            f"{missing}: " + _first_names(folder.uncaptioned),
            folder.uncaptioned_hint,
        )
    if orphans:
        found.warn(
            "captions",
            f"{count(len(orphans), 'caption')} in {folder.path} without an image: "
            f"{_first_names(orphans)}",
            "see whether an image is missing, or whether its name differs",
        )
    if folder.images and ends and not orphans and not folder.uncaptioned:
        found.ok(
            "captions",
            f"{count(len(folder.captions), 'caption')} ({ends}) for "
            f"{count(len(folder.images), 'image')} in {folder.path}",
        )


def _check_caches(found: Checks, one: Listing, kinds: FileKinds) -> None:
    """Warn of caches that are older than what they were made from: the trainer uses them as they
    are."""
    folder = one.folder
    images: dict[str, int] = {}
    for name, status in one.images.items():
        images[_stem(name)] = max(status.st_mtime_ns, images.get(_stem(name), 0))
    texts: dict[str, int] = {}
    for name, status in one.captions.items():
        stem = name.removesuffix(next(filter(name.endswith, folder.caption_ends), ""))
        texts[stem] = max(status.st_mtime_ns, texts.get(stem, 0))
    stale = [
        name
        for name, status in one.caches.items()
        if status.st_mtime_ns < _source_changed(_stem(name), kinds, images, texts)
    ]
    if stale:
        place = folder.path
        fix = f"they are made again: rm {_quoted(place, stale)}"
        if len(stale) > _LISTED:
            # Caches that are still right are made again too, which costs nothing but time.
            names = " -o ".join(f"-name '{pattern}'" for pattern in kinds.caches)
            names = names if len(kinds.caches) == 1 else f"\\( {names} \\)"
            every = f"find {shlex.quote(str(place))} -maxdepth 1 {names} -exec rm {{}} +"
            fix = f"all caches there are made again: {every}"
        problem = (
            f"{count(len(stale), 'cache')} in {place} older than the image or caption: "
            f"{_first_names(stale)}"
        )
        found.warn("stale caches", problem, fix)
    elif one.caches:
        found.ok(
            "stale caches",
            f"{count(len(one.caches), 'cache')} in {folder.path}, none older than its image",
        )


def _source_changed(
    cache: str, files: FileKinds, images: Mapping[str, int], texts: Mapping[str, int]
) -> int:
    """When the image or caption from which ``cache`` (without suffix) is made was last changed, in
    ns; 0 for none."""
    if cache in images:
        return images[cache]
    if (match := files.of_image.fullmatch(cache)) and match["stem"] in images:
        return images[match["stem"]]
    match = files.of_caption.fullmatch(cache)
    return texts.get(match["stem"], 0) if match else 0


def _check_duplicates(found: Checks, listings: Sequence[Listing], cache: HashCache) -> None:
    """Warn of images with the same bytes: the dataset config says how often one counts."""
    sizes: dict[int, int] = {}
    for one in listings:
        for status in one.images.values():
            sizes[status.st_size] = sizes.get(status.st_size, 0) + 1
    same: dict[str, list[Path]] = {}
    for one in listings:
        names = [
            name
            for name, status in one.images.items()
            if status.st_size and sizes[status.st_size] > 1
        ]
        try:
            prints = hashes.hash_files(one.folder.path, names, cache) if names else ()
        except CannotRead:  # reported already, by whatever read them first
            continue
        for each in prints:
            same.setdefault(each.sha256, []).append(one.folder.path / each.name)
    groups = [paths for paths in same.values() if len(paths) > 1]
    if groups:
        shown = "; ".join(" = ".join(_shortened(paths)) for paths in groups[:_SHOWN])
        found.warn(
            "duplicates",
            f"{count(len(groups), 'image')} there more than once, with the same bytes: "
            f"{shown}{_and_more(groups)}",
            "keep one of each, unless it is meant to count more",
        )
    elif sizes:
        found.ok("duplicates", "no two images are the same")


def _shortened(paths: list[Path]) -> Iterator[str]:
    """The first path in full, the others without their folder if it is the same."""
    first = paths[0]
    yield str(first)
    for path in paths[1:_SHOWN]:
        yield path.name if path.parent == first.parent else str(path)
    if len(paths) > _SHOWN:
        yield "…"


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + _and_more(names)


def _and_more(names: Sequence[object]) -> str:
    return f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""


def _images_are(folder: Path, names: Sequence[str]) -> str:
    verb = "is" if len(names) == 1 else "are"
    return f"{count(len(names), 'image')} in {folder} ({_first_names(names)}) {verb}"


def _quoted(folder: Path, names: Sequence[str]) -> str:
    return " ".join(shlex.quote(f"{folder}/{name}") for name in names)
