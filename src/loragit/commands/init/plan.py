"""What ``loragit init`` will do to a dataset's folder, decided before the first write. Writes
nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.commands.init import first_files
from loragit.commands.init.discover import Surroundings
from loragit.commands.init.image_folders import ImageFolder, is_unicode
from loragit.record.values import Entry
from loragit.secrets import find
from loragit.settings import schema

IMAGES = {
    "ignored": "git leaves the images out: the repository stays small, and the hash of each is on "
    "record in any case",
    "kept": "the images are in the repository too: it is a whole copy of the dataset, and grows "
    "with every change",
    "lfs": "the images are in git-lfs: the repository holds a pointer to each",
}
"""What git does with the images, the default first."""


class Choices(NamedTuple):
    """What the user chose; the defaults are those of ``--yes``."""

    files: frozenset[str] = frozenset({schema.FILE, first_files.CONFIG, first_files.PROMPTS})
    repository: bool = True
    images: str = "ignored"
    commit: bool = True
    hook: bool = True


class RepositoryState(NamedTuple):
    """The state of the dataset's repository."""

    begun: bool
    """Whether it has a commit."""
    hook: bool
    """Whether loragit's hook is installed."""
    shared: bool
    """Whether a hook would serve other repositories too."""
    caches_ignored: bool
    lfs: bool
    """Whether git-lfs is installed."""


class Changes(NamedTuple):
    """What will be done."""

    new: tuple[Entry, ...] = ()
    added: tuple[Entry, ...] = ()
    """Lines to append to files."""
    repository: bool = False
    lfs: bool = False
    commit: tuple[str, ...] = ()
    """Paths in the dataset's folder."""
    hook: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.new or self.added or self.repository or self.commit or self.hook)


def missing_files(seen: Surroundings) -> frozenset[str]:
    """Names of the files to make."""
    named = _nameable_folders(seen)
    absent = {
        schema.FILE: not os.path.lexists(seen.settings_file),
        first_files.CONFIG: seen.kind.takes_first_files
        and seen.config is None
        and bool(named)
        and _is_missing(seen.chosen.paths.config, first_files.CONFIG, seen),
        first_files.PROMPTS: seen.kind.takes_first_files
        and seen.prompts is None
        and _is_missing(seen.chosen.paths.prompts, first_files.PROMPTS, seen),
    }
    return frozenset(name for name, is_absent in absent.items() if is_absent)


def _is_missing(said: Path | None, name: str, seen: Surroundings) -> bool:
    """Whether the settings mean the dataset's file ``name``, and it does not exist."""
    return said == seen.folder / name and not os.path.lexists(said)


def _config_base(seen: Surroundings) -> Path | None:
    """The folder that goes before the image folders in a new config; ``None`` if the trainer runs
    in the dataset, and they can be relative."""
    if not os.path.lexists(seen.settings_file) or seen.chosen.trainer.workdir == "dataset":
        return None
    return seen.folder


def _nameable_folders(seen: Surroundings) -> tuple[ImageFolder, ...]:
    """Image folders that a dataset config can name."""
    base = _config_base(seen)
    return tuple(
        each for each in seen.images if each.nameable and (base is None or is_unicode(str(base)))
    )


def plan_changes(seen: Surroundings, state: RepositoryState, wanted: Choices) -> Changes:
    """The changes that lead from ``state`` to ``wanted``; empty if nothing is left to do."""
    names = missing_files(seen) & wanted.files
    texts = {}
    if first_files.CONFIG in names:
        texts[first_files.CONFIG] = first_files.config_text(
            _nameable_folders(seen), base=_config_base(seen), side=first_files.resolution(seen)
        )
    if schema.FILE in names:
        prompts = seen.prompts is not None or first_files.PROMPTS in names
        texts[schema.FILE] = first_files.settings_text(seen, prompts=prompts)
    if first_files.PROMPTS in names:
        texts[first_files.PROMPTS] = first_files.prompts_text(seen)
    new = tuple(Entry(name, content.encode()) for name, content in texts.items())
    warnings = [
        f"{text.shown(each.place)} is left out of {first_files.CONFIG}: its name is not UTF-8, and "
        "must be; rename it"
        for each in seen.images
        if first_files.CONFIG in names and not each.nameable
    ]
    if not wanted.repository and seen.repository is None:
        return Changes(new, hook=False, warnings=tuple(warnings))
    added = _appended_lines(seen, state, wanted, warnings)
    first = wanted.commit and not state.begun
    return Changes(
        new=new,
        added=added,
        repository=seen.repository is None,
        lfs=not state.begun and wanted.images == "lfs",
        commit=_first_commit_paths(seen, wanted, (*new, *added), warnings) if first else (),
        hook=wanted.hook and not state.hook,
        warnings=tuple(warnings),
    )


def _appended_lines(
    seen: Surroundings, state: RepositoryState, wanted: Choices, warnings: list[str]
) -> tuple[Entry, ...]:
    """Lines that the dataset's ``.gitignore`` and ``.gitattributes`` lack."""
    wants: list[tuple[str, tuple[str, ...], str]] = []
    if not state.caches_ignored:
        wants.append(
            (
                ".gitignore",
                seen.kind.files.caches,
                f"what {seen.kind.kind} caches beside the images",
            )
        )
    if not state.begun and seen.images:
        patterns = first_files.image_patterns(seen.images, seen.kind.files)
        if wanted.images == "ignored":
            wants.append((".gitignore", patterns, "the images; loragit records the hash of each"))
        elif wanted.images == "lfs":
            lines = tuple(f"{each} filter=lfs diff=lfs merge=lfs -text" for each in patterns)
            wants.append((".gitattributes", lines, "the images"))
    found: dict[str, bytes] = {}
    for name, lines, about in wants:
        path = seen.folder / name
        if path.is_symlink():
            warnings.append(
                f"{path} is a symbolic link and is left as it is; git does not follow it"
            )
            continue
        before = path.read_bytes() if path.exists() else b""
        data = found.get(name, b"")
        found[name] = data + first_files.extended(before + data, lines, about)
    return tuple(Entry(name, data) for name, data in found.items() if data)


def _first_commit_paths(
    seen: Surroundings, wanted: Choices, written: tuple[Entry, ...], warnings: list[str]
) -> tuple[str, ...]:
    """The files of the first commit: what was written, config and prompts, captions, and images
    unless they are ignored."""
    paths = {entry.path: None for entry in written}
    there = (seen.config, seen.prompts, seen.settings_file)
    for path in there:
        if path is None or not path.is_relative_to(seen.folder) or not path.is_file():
            continue
        if find.find_secrets(path.read_bytes()):
            warnings.append(f"{path} is left out of the commit: it holds what looks like a secret")
        else:
            paths[str(path.relative_to(seen.folder))] = None
    for name in (".gitignore", ".gitattributes"):
        if (seen.folder / name).is_file():
            paths[name] = None
    for each in seen.images:
        names = each.captions if wanted.images == "ignored" else (*each.captions, *each.images)
        paths |= dict.fromkeys(
            name if each.place == "." else f"{each.place}/{name}" for name in names
        )
    return tuple(paths)
