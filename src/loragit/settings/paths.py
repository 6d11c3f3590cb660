"""Paths as people write them, and the folder that a run's name means."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from loragit.errors import UsageError
from loragit.record.name import CONVENTION, InvalidName, RunName


class NoSuchPath(UsageError):
    """A text that cannot be a path: an unknown user's home folder, or a NUL character."""


class DatasetNotFound(UsageError):
    """No folder is the dataset that was asked for."""


class DatasetAmbiguous(UsageError):
    """A run's name means several folders that exist."""


def home_of(environ: Mapping[str, str], user: str = "") -> Path:
    """Home folder of ``user``; without one ``$HOME``, else the home folder of whoever runs this
    process."""
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
    """``text`` as a path below ``base``, with ``~`` and ``~user`` at its beginning read as a shell
    reads them.

    Symbolic links and ``..`` are kept: what ``..`` means is known only when links before it are
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
    """The nearest of ``folder`` and its parents that holds a file called ``marker``."""
    return next(
        (each for each in (folder, *folder.parents) if _status_of(each / marker, stat.S_ISREG)),
        None,
    )


def first_folder(looked: Sequence[Path], asked: str) -> Path:
    """The first of ``looked`` that is a folder, not called ``..``. Raises
    :class:`DatasetNotFound`."""
    for place in looked:
        if _status_of(place, stat.S_ISDIR):
            # Only the file system knows what the folder above is called, and its name is the
            # dataset's.
            return place.resolve() if place.name == ".." else place
    raise DatasetNotFound(
        f"{asked}: there is no folder {' or '.join(map(str, looked))}",
        hint="give the path of the dataset's folder with --dataset",
    )


def dataset_folder_of(name: RunName, datasets: Path, here: Iterable[Path]) -> tuple[Path, bool]:
    """The folder that ``name`` means, under ``datasets`` or among ``here``; and whether it was
    among ``here`` alone.

    Folders ``here`` count where they are called like one of the name's readings. Several paths to
    one folder count once. Raises :class:`DatasetNotFound`, :class:`DatasetAmbiguous`, or
    :class:`~loragit.record.name.InvalidName` where the name tells no dataset.
    """
    readings = name.dataset_candidates()
    if not readings:
        raise InvalidName(
            f"{name} tells no dataset",
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
    """Status of ``path`` where it exists and is of the ``wanted`` kind; links are followed."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status if wanted(status.st_mode) else None
