"""Paths as people write them, and which folder the name of a run means."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from loragit.errors import UsageError
from loragit.record.name import CONVENTION, InvalidName, RunName


class NoSuchPath(UsageError):
    """A text that cannot be a path: it names an unknown user's home folder, or holds a NUL."""


class DatasetNotFound(UsageError):
    """No folder is the dataset that was asked for."""


class DatasetAmbiguous(UsageError):
    """A run's name means several folders that exist."""


def home_of(environ: Mapping[str, str], user: str = "") -> Path:
    """Return the home folder of ``user``; without a user ``$HOME``, or else that of whoever runs
    this process."""
    if not user and environ.get("HOME"):
        return Path(environ["HOME"])
    import pwd

    try:
        return Path((pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_dir)
    except (KeyError, ValueError) as error:
        raise NoSuchPath(
            f"there is no home folder for ~{user}", hint="set HOME, or write the path in full"
        ) from error


def expand_path(text: str, base: Path, environ: Mapping[str, str]) -> Path:
    """Return ``text`` as a path below ``base``; ``~`` and ``~user`` at its beginning are read as a
    shell reads them.

    Symbolic links and ``..`` stay: what ``..`` means is known only once the links before it are
    followed.
    """
    if "\0" in text:
        raise NoSuchPath("a path holds a NUL character, which no file's name can")
    if not text.startswith("~"):
        return base / text
    user, _, rest = text[1:].partition("/")
    return base / home_of(environ, user) / rest.lstrip("/")


def cache_folder() -> Path:
    """The user's cache folder for loragit, as platformdirs has it; nothing there is ever needed.

    On Linux without the 10 ms that importing platformdirs takes.
    """
    if sys.platform == "linux":
        named, own = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
        if named.startswith("/"):
            return Path(named, "loragit")
        if not named and own.startswith("/"):
            return Path(own, ".cache", "loragit")
    import platformdirs

    return platformdirs.user_cache_path("loragit")


def root_above(folder: Path, marker: str) -> Path | None:
    """Return the nearest of ``folder`` and its parents that holds a file called ``marker``."""
    return next(
        (each for each in (folder, *folder.parents) if _status_of(each / marker, stat.S_ISREG)),
        None,
    )


def first_folder(candidates: Sequence[Path], option: str) -> Path:
    """Return the first of ``candidates`` that is a folder; one called ``..`` by its real name.

    Raises :class:`DatasetNotFound`, whose message begins with ``option``.
    """
    for place in candidates:
        if _status_of(place, stat.S_ISDIR):
            # The folder's name is the dataset's, and only the file system knows the name of "..".
            return place.resolve() if place.name == ".." else place
    raise DatasetNotFound(
        f"{option}: there is no folder {' or '.join(map(str, candidates))}",
        hint="give the path of the dataset's folder with --dataset",
    )


def dataset_folder_of(name: RunName, datasets: Path, here: Iterable[Path]) -> tuple[Path, bool]:
    """Return the folder that ``name`` means, under ``datasets`` or among ``here``, and whether it
    is only among ``here``.

    A folder of ``here`` counts if it is called like one of the name's readings. Several paths to
    one folder count once. Raises :class:`DatasetNotFound`, :class:`DatasetAmbiguous`, or
    :class:`~loragit.record.name.InvalidName` if the name says no dataset.
    """
    readings = name.dataset_candidates()
    if not readings:
        raise InvalidName(
            f"{name} names no dataset",
            hint=f"a name reads {CONVENTION}; or give --dataset and --steps",
        )
    places = [datasets / reading for reading in readings]
    local = [place for place in here if place.name in readings]
    found: dict[object, Path] = {}
    for place in (*places, *local):
        status = _status_of(place, stat.S_ISDIR)
        if status is not None:
            found.setdefault((status.st_dev, status.st_ino), place)
    if not found:
        raise DatasetNotFound(
            f"no dataset for {name}: there is no folder "
            f"{' or '.join(map(str, dict.fromkeys((*places, *local))))}",
            hint="name the dataset's folder with --dataset",
        )
    if len(found) > 1:
        raise DatasetAmbiguous(
            f"{name} means several datasets: {' and '.join(map(str, found.values()))}",
            hint="say which one it is with --dataset",
        )
    folder = next(iter(found.values()))
    return folder, folder not in places


def _status_of(path: Path, wanted: Callable[[int], bool]) -> os.stat_result | None:
    """Return the status of what ``path`` leads to; ``None`` if it is missing, or not of the
    ``wanted`` kind."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status if wanted(status.st_mode) else None
