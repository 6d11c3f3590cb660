"""Files that are only named here while their content is somewhere else, and how to fetch it.

- git-lfs: a pointer of three lines (:mod:`loragit.dataset.lfs`);
- git-annex: a link into ``.git/annex/objects``, or a small text file that begins
  ``/annex/objects/`` (git-annex, "pointer file format"; where the file system knows no links, git
  writes the link's target into a file);
- a hub's cache: a link at ``models--OWNER--NAME/snapshots/REVISION/FILE`` whose blob is gone
  (huggingface_hub, "Understand caching");
- any other link that leads nowhere.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from loragit.dataset import lfs
from loragit.errors import shell_word

MAX_POINTER = lfs.MAX_BYTES
"""Only a file of fewer bytes can be a pointer."""

_MAX_LINKS = 40
"""How many links Linux follows, one after the other."""

_ANNEX_TARGET = re.compile(r"(?:^|/)\.git/(?:[^/]+/)*annex/objects/")
_ANNEX_POINTER = re.compile(
    rb"(?:/annex/objects/|(?:\.\./)*\.git/(?:[^/\n]+/)*annex/objects/)[^\n]"
)
_IN_CACHE = re.compile(
    r"(?P<cache>.*)/(?P<kind>model|dataset|space)s--(?P<id>[^/]+)/"
    r"(?:snapshots/(?P<revision>[^/]+)/(?P<file>.+)|blobs/[^/]+)"
)
_USUAL_CACHE = ".cache/huggingface/hub"


class NotThere(NamedTuple):
    """Why a file's content is not here."""

    what: str
    """What is in the file's place: ``a git-lfs pointer``, ``a link to …, which is not there``."""
    fetch: str | None
    """The command that fetches the content; ``None`` where nothing tells where it is."""
    fetch_all: str | None
    """The command that fetches whatever is missing for the same reason in the file's folder."""

    @property
    def hint(self) -> str:
        """The next step, for this file alone."""
        return f"fetch it: {self.fetch}" if self.fetch else "mend the link, or copy the file there"


def why_not_there(path: Path) -> NotThere | None:
    """Return why ``path``, absolute, cannot be read as the file that it stands for; ``None`` where
    it can, or where there is no such path at all.

    One stat(2) for a file of :data:`MAX_POINTER` bytes or more. Who has listed a folder already
    asks only for its links that lead nowhere (:func:`missing_target`) and for its small files
    (:func:`pointer`).
    """
    try:
        status = path.stat()
    except ValueError:
        return None
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        return missing_target(path) if gone else None
    if not stat.S_ISREG(status.st_mode) or status.st_size >= MAX_POINTER:
        return None
    try:
        with path.open("rb") as file:
            head = file.read(MAX_POINTER)
    except OSError:
        return None
    return pointer(path, head)


def pointer(path: Path, data: bytes) -> NotThere | None:
    """Return what ``data``, all of the small file ``path``, is a pointer to; else ``None``.

    Opens nothing, and costs no more than a comparison where it is none.
    """
    if lfs.is_pointer_prefix(data):
        if lfs.parse_pointer(data) is None:
            return None
        pull = f"git -C {shell_word(Path(os.path.realpath(path)).parent)} lfs pull"
        return NotThere("a git-lfs pointer", pull, pull)
    if data.startswith((b"/annex/", b"../", b".git/")) and _ANNEX_POINTER.match(data):
        return _in_annex("a git-annex pointer", Path(os.path.realpath(path)))
    return None


def missing_target(path: Path) -> NotThere | None:
    """Return why ``path``, absolute, leads nowhere: it is a link, or lies in a folder that is one,
    to something that is not there, or it lies in a hub's cache; ``None`` for any other path that
    does not exist.

    Only for paths that do not exist.
    """
    hops = list(_hops(path))
    for link, target in reversed(hops):
        if _ANNEX_TARGET.search(str(target)):
            return _in_annex("a link of git-annex, whose content is not here", link)
    if match := _in_hub_cache([path, *(target for _, target in hops)]):
        what = "a link into a hub's cache, whose file is gone"
        if not hops:
            what = "a file of a hub's cache, which is gone"
        return NotThere(what, _download(match, alone=True), _download(match, alone=False))
    if not hops:
        return _behind_missing_folder(path)
    if len(hops) == _MAX_LINKS:
        return NotThere("a link that leads to itself", None, None)
    return NotThere(f"a link to {hops[-1][1]}, which is not there", None, None)


def _hops(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (link, its absolute target) for each link on the way from ``path``."""
    here = path
    for _ in range(_MAX_LINKS):
        try:
            # Not normalised: `..` behind a link to a folder is the parent of where it leads.
            target = here.parent / here.readlink()
        except (OSError, ValueError):
            return
        yield here, target
        here = target


def _behind_missing_folder(path: Path) -> NotThere | None:
    for folder in path.parents:
        if os.path.exists(folder):
            return None
        if hops := list(_hops(folder)):
            what = f"in {folder}, which is a link to {hops[-1][1]}, which is not there"
            return NotThere(what, None, None)
    return None


def _in_hub_cache(paths: Iterable[Path]) -> re.Match[str] | None:
    """The first of ``paths`` in a hub's cache, which names a file there, while the next one names
    its blob."""
    return next(filter(None, (_IN_CACHE.fullmatch(os.path.normpath(each)) for each in paths)), None)


def _in_annex(what: str, file: Path) -> NotThere:
    get = f"git -C {shell_word(file.parent)} annex get"
    return NotThere(what, f"{get} {shell_word(file.name)}", f"{get} .")


def _download(match: re.Match[str], *, alone: bool) -> str:
    """The command that fetches a file of a hub's cache, or all of its repository."""
    words = ["hf", "download", shell_word(match["id"].replace("--", "/"))]
    if alone and match["file"]:
        words.append(shell_word(match["file"]))
    if match["kind"] != "model":
        words += ["--repo-type", match["kind"]]
    if match["revision"]:
        words += ["--revision", shell_word(match["revision"])]
    if not match["cache"].endswith(_USUAL_CACHE):
        words += ["--cache-dir", shell_word(match["cache"])]
    return " ".join(words)
