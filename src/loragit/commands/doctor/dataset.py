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
from pathlib import Path
from typing import NamedTuple

from loragit.commands.doctor.check import DATASET, Check, Checks
from loragit.dataset import hashes, lfs, snapshot
from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.files import CannotRead
from loragit.dataset.hashes import HashCache
from loragit.dataset.snapshot import Subset
from loragit.errors import LoragitError
from loragit.text import count

_SHOWN = 5
"""Files that are named; the rest are counted."""

_LISTED = 20
"""Most stale caches that the suggested command deletes by name; of more, it deletes all caches of
the folder."""

_HEAD = 64
"""First bytes of a file that tell whether it is an image: the formats' signatures, and the first
line of a git-lfs pointer."""

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
    """A folder of images when it was listed: file names with their times and sizes."""

    folder: Subset
    images: Mapping[str, os.stat_result]
    captions: Mapping[str, os.stat_result]
    """Files with one of the caption suffixes that the dataset config names, whether or not there
    is an image of that name."""
    caches: Mapping[str, os.stat_result]
    broken: tuple[str, ...]
    """Images that are symbolic links to nothing."""


def list_folders(folders: Iterable[Subset], apart: frozenset[Path]) -> tuple[Listing, ...]:
    """Every folder that can be listed. ``apart`` are files among the captions that are none."""
    found = []
    for folder in folders:
        try:
            found.append(_list_folder(folder, apart))
        except OSError:  # the check of the dataset config reports it
            continue
    return tuple(found)


def _list_folder(folder: Subset, apart: frozenset[Path]) -> Listing:
    images: dict[str, os.stat_result] = {}
    captions: dict[str, os.stat_result] = {}
    caches: dict[str, os.stat_result] = {}
    broken = []
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = entry.name
            if folder.files.is_image(name):
                kind = images
            elif folder.files.is_cache(name):
                kind = caches
            elif name.endswith(folder.caption_suffixes) and folder.path / name not in apart:
                kind = captions
            else:
                continue
            try:
                status = entry.stat()
            except OSError:
                broken += [name] if kind is images else []
                continue
            if stat.S_ISREG(status.st_mode):
                kind[name] = status
    return Listing(
        folder, _sorted(images), _sorted(captions), _sorted(caches), tuple(sorted(broken))
    )


def _sorted(files: Mapping[str, os.stat_result]) -> dict[str, os.stat_result]:
    return dict(sorted(files.items()))


def dataset_checks(listings: Sequence[Listing], cache: HashCache) -> tuple[Check, ...]:
    """Everything that is wrong, folder by folder, then across folders. Writes nothing but
    ``cache``."""
    found = Checks(DATASET)
    for one in listings:
        _check_images(found, one)
        _check_captions(found, one)
        _check_caches(found, one)
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
    small: list[str]
    """Names of files that may be git-lfs pointers."""


def _read_heads(one: Listing) -> _Heads:
    heads = _Heads([], [], [], [])
    for name, status in one.images.items():
        if not status.st_size:
            continue
        try:
            head = _read_head(one.folder.path, name)
        except OSError as error:
            heads.unreadable.append((name, error.strerror or str(error)))
            continue
        if lfs.is_pointer_prefix(head):
            heads.small.append(
                name
            ) if status.st_size < snapshot.MAX_POINTER else heads.strange.append(name)
            continue
        kind, suffixes = next(((k, s) for k, begins, s in _FORMATS if begins.match(head)), ("", ()))
        if not kind:
            heads.strange.append(name)
        elif not name.lower().endswith(suffixes or "/"):
            heads.misnamed.append((name, kind))
    return heads


def _check_images(found: Checks, one: Listing) -> None:
    place, heads = one.folder.path, _read_heads(one)
    empty = [name for name, status in one.images.items() if status.st_size == 0]
    if empty:
        every = f"find {shlex.quote(str(place))} -maxdepth 1 -type f -empty"
        again = f"copy them again, or take them out; {every} shows all that are empty"
        found.fail("empty images", f"{_images_are(place, empty)} empty", again)
    if one.broken:
        problem = (
            f"{count(len(one.broken), 'link')} in {place} to an image that is not there: "
            f"{_first_names(one.broken)}"
        )
        found.fail("unreadable images", problem, "mend the links, or take them out")
    if heads.unreadable:
        error = CannotRead(str(place), heads.unreadable)
        found.fail("unreadable images", error.message, error.hint)
    try:
        snapshot.refuse_pointers(one.folder, heads.small)
    except LoragitError as error:
        found.fail("git-lfs pointers", error.message, error.hint)
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
    if one.images and not (empty or one.broken or any(heads)):
        found.ok(
            "images", f"{count(len(one.images), 'image')} in {place}, each begins as its kind does"
        )


def _read_head(folder: Path, name: str) -> bytes:
    handle = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(handle, _HEAD)
    finally:
        os.close(handle)


def _check_captions(found: Checks, one: Listing) -> None:
    folder = one.folder
    keys = " or ".join(filter(None, (folder.files.caption_key, folder.files.words_key)))
    ends = " or ".join(folder.caption_suffixes)
    stems = {_stem(name): name for name in one.images}
    captioned = {name: _caption_stem(name, folder) for name in one.captions}
    matched = set(captioned.values())
    without = [name for stem, name in stems.items() if stem not in matched]
    orphans = [name for name, stem in captioned.items() if stem not in stems]
    if folder.captioned and without:
        found.warn(
            "captions",
            f"{count(len(without), 'image')} of {len(one.images)} in {folder.path} without a "
            f"caption ({ends}): " + _first_names(without),
            f"write them, or say {keys} in the dataset config: it trains on no words else",
        )
    if orphans:
        found.warn(
            "captions",
            f"{count(len(orphans), 'caption')} in {folder.path} without an image: "
            f"{_first_names(orphans)}",
            "see whether an image is missing, or whether its name differs",
        )
    if one.images and not orphans and not (folder.captioned and without):
        number = len(stems) - len(without)
        found.ok(
            "captions",
            f"{count(number, 'caption')} ({ends}) for {count(len(stems), 'image')} in "
            f"{folder.path}",
        )


def _caption_stem(name: str, folder: Subset) -> str:
    end = next(end for end in folder.caption_suffixes if name.endswith(end))
    return name.removesuffix(end)


def _check_caches(found: Checks, one: Listing) -> None:
    """Warn of caches that are older than what they were made from: the trainer uses them as they
    are."""
    folder = one.folder
    images: dict[str, int] = {}
    for name, status in one.images.items():
        images[_stem(name)] = max(status.st_mtime_ns, images.get(_stem(name), 0))
    texts: dict[str, int] = {}
    for name, status in one.captions.items():
        stem = _caption_stem(name, folder)
        texts[stem] = max(status.st_mtime_ns, texts.get(stem, 0))
    stale = [
        name
        for name, status in one.caches.items()
        if status.st_mtime_ns < _source_changed(_stem(name), folder.files, images, texts)
    ]
    if stale:
        place = folder.path
        fix = f"they are made again: rm {_quoted(place, stale)}"
        if len(stale) > _LISTED:
            # Caches that are still right are made again too, which costs nothing but time.
            names = " -o ".join(f"-name '{pattern}'" for pattern in folder.files.caches)
            names = names if len(folder.files.caches) == 1 else f"\\( {names} \\)"
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
            "keep one of each" + _repeats_hint(listings),
        )
    elif sizes:
        found.ok("duplicates", "no two images are the same")


def _repeats_hint(listings: Iterable[Listing]) -> str:
    key = next((one.folder.files.repeats_key for one in listings), None)
    return f"; {key} in the dataset config says that images count more" if key else ""


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
