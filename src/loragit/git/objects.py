"""Objects of the dataset's repository: blobs, trees, commits and tags, read and written in process.

The only importer of pygit2. Nothing here moves a ref, or reads or writes the user's index, HEAD or
work tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha1
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.git import packs
from loragit.git.command import PARTIAL_CLONE
from loragit.git.repository import is_partial
from loragit.record.values import Identity
from loragit.system import durable

if TYPE_CHECKING:
    import pygit2

FILE, EXECUTABLE, FOLDER = 0o100644, 0o100755, 0o040000
"""Modes of a tree's items."""
_LOST = "git fsck tells more; fetch it from a clone"
_TRIES = 20
"""How often an object is written again whose folder was taken away."""
_MANY = 64
"""New blobs from which on they are one pack. Each by itself is two waits for the disk, one after
the other."""


class CannotOpen(LoragitError):
    """libgit2 cannot open this repository."""


class CannotWriteObjects(LoragitError):
    """The repository's object store cannot be written."""


class CannotReadObjects(LoragitError, KeyError):
    """The repository lacks an object that the record stands on."""


class Item(NamedTuple):
    """What a tree holds under a name."""

    mode: int
    id: str


Items = dict[bytes, Item]
"""A tree's items by name, as git stores it."""


class Commit(NamedTuple):
    """A commit as it was read."""

    id: str
    tree: str
    message: str
    parents: tuple[str, ...]


def load() -> None:
    """Import pygit2 now, on the calling thread: it takes longer than all else, and can overlap with
    waiting."""
    import pygit2  # noqa: F401


class Objects:
    """The object store of one repository.

    An object gets its name when its bytes are on the disk; libgit2 does so if told to. Half of one
    under the name of the whole would keep it from ever being written again.
    """

    def __init__(self, git_dir: Path) -> None:
        """Open the repository at ``git_dir`` (of any work tree). Raises :class:`CannotOpen`."""
        import pygit2

        self._git2 = pygit2
        self._present: set[str] = set()
        """Objects that were there already: whoever wrote them may not have waited for the disk."""
        pygit2.settings.enable_fsync_gitdir(True)
        try:
            self._repo = pygit2.Repository(str(git_dir))
        except pygit2.GitError as error:
            raise CannotOpen(
                f"{git_dir} cannot be opened: {error}",
                hint="loragit needs a repository with SHA-1 objects and file refs (git init makes "
                "one)",
            ) from error
        except KeyError as error:
            raise CannotReadObjects(
                f"the repository lacks the object {error.args[0]}", hint=_LOST
            ) from error
        shared = _shared(Path(self._repo.path))
        self._store = shared / "objects"
        self.partial = is_partial(shared)
        """Whether objects may be missing by design."""

    def sync(self, named: Iterable[str]) -> None:
        """Return when all objects written so far are on the disk, and those that are ``named``;
        refs may then move.

        What is in the store of another repository (alternates) is left to that repository.
        """
        loose = [self._store / name[:2] / name[2:] for name in (*self._present, *named)]
        with self._errors():
            # libgit2 writes a fan-out folder through, but not that there is a new one.
            durable.sync_all((*loose, *(path.parent for path in loose), self._store))
        self._present.clear()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn libgit2's errors into ours, with a next step."""
        try:
            yield
        except (self._git2.GitError, OSError) as error:
            raise CannotWriteObjects(
                f"the record cannot be written: {error}",
                hint=f"see that there is room, and that you may write {self._repo.path}",
            ) from error
        except CannotReadObjects:
            raise
        except KeyError as error:
            hint = PARTIAL_CLONE if self.partial else _LOST
            raise CannotReadObjects(
                f"the repository lacks the object {error.args[0]}", hint=hint
            ) from error

    def blob_id(self, data: bytes) -> str:
        """The id that ``data`` has as a blob."""
        return str(self._git2.hash(data))

    def is_here(self, name: str) -> bool:
        """Whether the object ``name`` is in this repository; that of a tree or commit which is here
        may be elsewhere only in a partial clone."""
        return not self.partial or name in self._repo

    def write_blobs(self, blobs: list[bytes]) -> None:
        """Write ``blobs``, as one pack if they are many, or if a remote may have promised them."""
        if self.partial:
            blobs = [data for data in blobs if not self.is_here(self.blob_id(data))]
        least = 1 if self.partial else _MANY
        if len(blobs) >= least and sum(map(len, blobs)) <= packs.LARGEST:
            with self._errors():
                packs.write(self._store, blobs, promised=self.partial)
            return
        for data in blobs:
            self.write_blob(data)

    def write_blob(self, data: bytes) -> str:
        """Its id."""
        with self._errors():
            self._remember(self._git2.hash(data))
            return str(self._written(lambda: self._repo.create_blob(data)))

    def _written(self, write: Callable[[], pygit2.Oid]) -> pygit2.Oid:
        """The object that ``write`` writes, when it is there.

        It is written again where a folder of objects was gone: git's housekeeping takes empty ones
        away, also between libgit2's making one and naming an object in it.
        """
        for number in range(1, _TRIES + 1):
            try:
                made = write()
                # libgit2 1.9 ends well for a commit that it could not write (git_commit_create goes
                # on to its end).
                if made in self._repo:
                    return made
            except (self._git2.GitError, OSError) as error:
                if number == _TRIES or "No such file or directory" not in str(error):
                    raise
        raise OSError("an object was not written")

    def _remember(self, oid: pygit2.Oid) -> None:
        """Remember an object that is there before it is written: libgit2 then only makes its file
        young, which keeps gc away from it."""
        if oid in self._repo:
            self._present.add(str(oid))

    def write_tree(self, items: Items) -> str:
        """Write a tree in git's own order; pygit2's TreeBuilder takes no names that are not
        UTF-8. Its id."""
        rows = sorted(
            (raw + b"/" if mode == FOLDER else raw, raw, mode, bytes.fromhex(name))
            for raw, (mode, name) in items.items()
        )
        data = b"".join(b"%o %s\0%s" % (mode, raw, name) for _, raw, mode, name in rows)
        named = sha1(b"tree %d\0" % len(data) + data, usedforsecurity=False)
        with self._errors():
            self._remember(self._git2.Oid(raw=named.digest()))
            kind = self._git2.enums.ObjectType.TREE
            return str(self._written(lambda: self._repo.write(kind, data)))

    def items(self, name: str | None) -> Items:
        """What the tree ``name``, or that of the commit ``name``, holds; nothing for ``None``."""
        if name is None:
            return {}
        with self._errors():
            tree = self._tree(name)
            return {item.raw_name or b"": Item(int(item.filemode), str(item.id)) for item in tree}

    def tree_of(self, commit: str) -> str:
        """Id of the tree of ``commit``."""
        with self._errors():
            return str(self._tree(commit).id)

    def read_blob(self, name: str) -> bytes:
        with self._errors():
            return self._read(name).read_raw()

    def _read(self, name: str) -> pygit2.Object:
        """The object ``name`` (40 hex digits). Raises KeyError, :class:`CannotReadObjects`."""
        if packs.cut_short(self._store / name[:2] / name[2:]):
            raise CannotReadObjects(
                f"the object {name} is damaged: its file was cut short", hint=_LOST
            )
        try:
            return self._repo[name]
        except self._git2.GitError as error:
            raise CannotReadObjects(
                f"the object {name} cannot be read: {error}", hint=_LOST
            ) from error

    def _tree(self, name: str) -> pygit2.Tree:
        """The tree ``name``, or that of the commit ``name``."""
        found = self._read(name)
        if isinstance(found, self._git2.Commit):
            found = self._read(str(found.tree_id))
        if not isinstance(found, self._git2.Tree):
            raise CannotReadObjects(f"the object {name} is no tree", hint=_LOST)
        return found

    def commit(
        self, tree: str, parents: Iterable[str], message: str, author: Identity, committer: Identity
    ) -> str:
        """Write a commit that no ref names yet."""
        who = self._signature(author), self._signature(committer)
        with self._errors():
            return str(
                self._written(
                    lambda: self._repo.create_commit(None, *who, message, tree, list(parents))
                )
            )

    def tag(self, name: str, commit: str, message: str, tagger: Identity) -> str:
        """Write an annotated tag's object that no ref names yet. ``name`` is without
        ``refs/tags/``."""
        sign = "-" if tagger.offset < 0 else "+"
        hours, minutes = divmod(abs(tagger.offset), 60)
        raw = (
            f"object {commit}\ntype commit\ntag {name}\n"
            f"tagger {tagger.name} <{tagger.email}> {tagger.time} "
            f"{sign}{hours:02}{minutes:02}\n\n{message}"
        )
        with self._errors():
            data = raw.encode()
            return str(
                self._written(lambda: self._repo.write(self._git2.enums.ObjectType.TAG, data))
            )

    def history(self, tip: str) -> Iterator[Commit]:
        """Commits from ``tip`` back, newest first, read as they are asked for.

        By date where several lines meet; in one line each comes before its parent, whatever the
        dates.
        """
        seen = {tip}
        waiting = [(0, tip)]
        while waiting:
            commit = self.read_commit(heappop(waiting)[1])
            yield commit
            fresh = [parent for parent in dict.fromkeys(commit.parents) if parent not in seen]
            seen.update(fresh)
            alone = not waiting and len(fresh) == 1
            for parent in fresh:
                heappush(waiting, (0 if alone else -self._commit(parent).commit_time, parent))

    def read_commit(self, commit: str) -> Commit:
        """Raises :class:`CannotReadObjects` where there is none."""
        found = self._commit(commit)
        return Commit(
            str(found.id),
            str(found.tree_id),
            found.message,
            tuple(str(p) for p in found.parent_ids),
        )

    def _commit(self, name: str) -> pygit2.Commit:
        with self._errors():
            found = self._read(name)
        if not isinstance(found, self._git2.Commit):
            raise CannotReadObjects(f"the object {name} is no commit", hint=_LOST)
        return found

    def tag_commit(self, ref: str) -> str | None:
        """Commit that the tag ``ref`` (full name) leads to, or ``None`` where there is no such
        tag."""
        try:
            found = self._read(str(self._repo.lookup_reference(ref).resolve().target))
            while isinstance(found, self._git2.Tag):
                found = self._read(str(found.target))
        except (
            KeyError,
            self._git2.InvalidSpecError,
        ):  # there is none, or what it leads to is lost
            return None
        return str(found.id) if isinstance(found, self._git2.Commit) else None

    def _signature(self, who: Identity) -> pygit2.Signature:
        return self._git2.Signature(who.name, who.email, who.time, who.offset)


def _shared(git_dir: Path) -> Path:
    """The folder that a linked work tree's ``git_dir`` shares with all others; itself for the main
    one."""
    try:
        return git_dir / (git_dir / "commondir").read_text("utf-8", "surrogateescape").rstrip("\n")
    except OSError:
        return git_dir
