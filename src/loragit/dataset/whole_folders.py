"""What is recorded of folders that the user names, where a script of their own starts a trainer of
which nobody knows what it reads: every file but caches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.files import CannotRead, failure_reason
from loragit.dataset.used_files import UsedFiles, UsedFolder
from loragit.errors import Area, Finding

CAPTION_ENDS = (".txt", ".caption")
_VIDEOS = (".mp4", ".webm", ".avi", ".mkv", ".mov", ".gif")
_TENSORS = (".safetensors", ".npz", ".npy", ".pt")
"""What trainers cache beside the images."""


def used_files(folders: Iterable[Path], kinds: FileKinds) -> UsedFiles:
    """Return all files of ``folders`` (absolute) and of the folders below them, but for hidden ones
    and caches.

    ``kinds`` tells images; videos are some as well. A folder that cannot be listed, or that holds
    no file, is a finding.
    """
    found: dict[Path, UsedFolder] = {}
    findings = []
    for folder in folders:
        try:
            below = {each.path: each for each in _folders_below(folder, kinds, set())}
        except CannotRead as error:
            findings.append(Finding(error.message, "mend --dataset-folder", Area.DATASET))
            continue
        if not below:
            findings.append(
                Finding(f"{folder} holds no files", "mend --dataset-folder", Area.DATASET)
            )
        found |= below
    files: Mapping[Path, bytes] = MappingProxyType({})
    return UsedFiles(None, tuple(found.values()), files, findings=tuple(findings))


def _folders_below(folder: Path, kinds: FileKinds, seen: set[str]) -> Iterator[UsedFolder]:
    """Yield ``folder`` and those below it that hold files; through links, but each once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise CannotRead(str(folder), [("", failure_reason(error))]) from error
    shown = [entry for entry in listed if not entry.name.startswith(".")]
    dangling = frozenset(entry.name for entry in shown if _leads_nowhere(entry))
    inner = [e.name for e in shown if e.name not in dangling and e.is_dir()]
    names = [e.name for e in shown if e.name in dangling or e.is_file()]
    names = [name for name in names if not name.endswith(_TENSORS) and not kinds.is_cache(name)]
    if names:
        yield _used_folder(folder, names, kinds)._replace(dangling=dangling.intersection(names))
    for name in inner:
        if "cache" not in name.casefold() and not name.startswith("_"):
            yield from _folders_below(folder / name, kinds, seen)


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _used_folder(folder: Path, names: list[str], kinds: FileKinds) -> UsedFolder:
    images = [n for n in names if kinds.is_image(n) or n.casefold().endswith(_VIDEOS)]
    stems = {name.rpartition(".")[0] for name in images}
    captions = [n for n in names if n.endswith(CAPTION_ENDS) and n.rpartition(".")[0] in stems]
    return UsedFolder(
        path=folder,
        images=tuple(images),
        captions=tuple(captions),
        further=tuple(sorted({*names} - {*images, *captions}, key=os.fsencode)),
        caption_ends=CAPTION_ENDS,
    )
