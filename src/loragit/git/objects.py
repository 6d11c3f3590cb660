"""Objects of the dataset's repository: blobs, trees, commits and tags, built and read in process.

The only importer of pygit2. Nothing here moves a ref or looks at the user's index, HEAD or work
tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loragit.errors import LoragitError
from loragit.git import packs
from loragit.record import notes
from loragit.record.values import Entry, Identity
from loragit.system import durable

if TYPE_CHECKING:
    import pygit2

    _Items = dict[bytes, tuple[int, pygit2.Oid]]


class CannotOpen(LoragitError):
    """libgit2 does not read this repository."""


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

    An object gets its name when its bytes are on the disk, as libgit2 does it where it is asked:
    half of one under the name of the whole would keep it from ever being written again.
    """

    def __init__(self, git_dir: Path) -> None:
        """Open the repository at ``git_dir`` (of any work tree). Raises :class:`CannotOpen`."""
        import pygit2

        self._git2 = pygit2
        self._found: set[str] = set()
        """Objects that were there already, and may be of somebody who did not wait for the disk."""
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
        self._store = _shared(Path(self._repo.path)) / "objects"

    def tree(
        self,
        entries: Iterable[Entry],
        kept: Iterable[tuple[str, str]] = (),
        like: str | None = None,
    ) -> str:
        """Write a tree of all ``entries``, with the trees ``kept`` (name, id). Its id depends on
        nothing but them.

        ``like`` is the id of a tree that is reachable: what it holds already is not written again,
        which spares ten thousand captions that did not change since the run before.
        """
        root = _Folder({}, {})
        for entry in entries:
            folder = root
            *parents, name = entry.path.split("/")
            for parent in parents:
                folder = folder.folders.setdefault(parent, _Folder({}, {}))
            folder.files[name] = _Leaf(self._git2.hash(entry.data), entry)
        with self._told():
            known = self._tree(like)
            self._write_blobs(list(self._fresh(root, known)))
            return str(self._write(root, known, dict(kept)))

    def settle(self, named: Iterable[str]) -> None:
        """Return when all objects written so far are on the disk, and those that are ``named``;
        refs may then move.

        What the store of another repository holds (alternates) is left to it.
        """
        loose = [self._store / name[:2] / name[2:] for name in (*self._found, *named)]
        with self._told():
            # libgit2 writes a fan-out folder through, but not that there is a new one.
            durable.sync_all((*loose, *(path.parent for path in loose), self._store))
        self._found.clear()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What libgit2 says when it cannot write, or lacks what it needs for that, as an error with
        a next step."""
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
            raise CannotReadObjects(
                f"the repository lacks the object {error.args[0]}", hint=_LOST
            ) from error

    def _fresh(self, folder: _Folder, like: pygit2.Tree | None) -> Iterator[bytes]:
        """Contents of the files in ``folder`` that ``like`` does not hold at their places."""
        known = _items(like)
        for name, leaf in folder.files.items():
            old = known.get(_checked(name))
            if old is None or old[1] != leaf.id:
                yield leaf.entry.data
        for name, child in folder.folders.items():
            yield from self._fresh(child, self._below(known, _checked(name)))

    def _write_blobs(self, blobs: list[bytes]) -> None:
        if len(blobs) >= _MANY and sum(map(len, blobs)) <= packs.LARGEST:
            packs.write(self._store, blobs)
            return
        for data in blobs:
            self._blob(data)

    def _blob(self, data: bytes) -> pygit2.Oid:
        self._look_for(self._git2.hash(data))
        return self._written(lambda: self._repo.create_blob(data))

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

    def _look_for(self, oid: pygit2.Oid) -> None:
        """Remember what is there before it is written: libgit2 then only makes its file young,
        which keeps gc away."""
        if oid in self._repo:
            self._found.add(str(oid))

    def _write(
        self, folder: _Folder, like: pygit2.Tree | None, kept: Mapping[str, str]
    ) -> pygit2.Oid:
        """Write the trees of ``folder``, whose blobs are written."""
        known = _items(like)
        items: _Items = {
            _checked(name): (_TREE, self._git2.Oid(hex=tree)) for name, tree in kept.items()
        }
        for name, leaf in folder.files.items():
            items[_checked(name)] = (_EXECUTABLE if leaf.entry.executable else _FILE, leaf.id)
        for name, child in folder.folders.items():
            raw = _checked(name)
            items[raw] = (_TREE, self._write(child, self._below(known, raw), {}))
        return self._write_items(items, like)

    def _below(self, known: _Items, raw: bytes) -> pygit2.Tree | None:
        old = known.get(raw)
        return self._tree(str(old[1])) if old is not None and old[0] == _TREE else None

    def _write_items(self, items: _Items, like: pygit2.Tree | None) -> pygit2.Oid:
        """Write a tree in git's own order. pygit2's TreeBuilder takes no names that are not
        UTF-8."""
        if like is not None and items == _items(like):
            return like.id
        rows = sorted(
            (raw + b"/" if mode == _TREE else raw, raw, mode, oid)
            for raw, (mode, oid) in items.items()
        )
        data = b"".join(b"%o %s\0%s" % (mode, raw, oid.raw) for _, raw, mode, oid in rows)
        self._look_for(
            self._git2.Oid(
                raw=sha1(b"tree %d\0" % len(data) + data, usedforsecurity=False).digest()
            )
        )
        return self._written(lambda: self._repo.write(self._git2.enums.ObjectType.TREE, data))

    def graft(self, base: str | None, path: str, subtree: str | None) -> str:
        """The tree ``base`` (``None``: empty) with ``subtree`` in place of whatever is at ``path``.

        ``path`` has ``/`` between parts; empty replaces all of ``base``. ``subtree`` ``None``
        removes. A folder that is left empty goes too, as git has it. Records of datasets below
        ``path`` are carried forward.
        """
        with self._told():
            return self._graft(base, path, subtree)

    def _graft(self, base: str | None, path: str, subtree: str | None) -> str:
        if not path:
            items = _items(self._tree(subtree))
            nested = self._nested(self._tree(base), items)
            return (
                str(self._write_items({**nested, **items}, None))
                if nested or subtree is None
                else subtree
            )
        name, _, rest = path.partition("/")
        raw = _checked(name)
        items = _items(self._tree(base))
        old = items.get(raw)
        below = self._graft(
            str(old[1]) if old is not None and old[0] == _TREE else None, rest, subtree
        )
        items.pop(raw, None)
        if _items(self._tree(below)):
            items[raw] = (_TREE, self._git2.Oid(hex=below))
        return str(self._write_items(items, None))

    def _nested(self, old: pygit2.Tree | None, new: _Items) -> _Items:
        """Folders of ``old`` that hold the record of another dataset."""
        return {
            raw: item
            for raw, item in _items(old).items()
            if raw not in new
            and raw not in _OWN
            and item[0] == _TREE
            and self._holds_record(str(item[1]))
        }

    def _holds_record(self, tree: str) -> bool:
        items = _items(self._tree(tree))
        return b"run.toml" in items or any(
            mode == _TREE and self._holds_record(str(oid))
            for raw, (mode, oid) in items.items()
            if raw not in _OWN
        )

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

    def _tree(self, name: str | None) -> pygit2.Tree | None:
        """The tree ``name``, or that of the commit ``name``."""
        if name is None:
            return None
        found = self._read(name)
        if isinstance(found, self._git2.Commit):
            found = self._read(str(found.tree_id))
        if not isinstance(found, self._git2.Tree):
            raise CannotReadObjects(f"the object {name} is no tree", hint=_LOST)
        return found

    def _entry(self, tree: pygit2.Tree | None, path: str) -> pygit2.Object | None:
        """What ``tree`` holds at ``path``, as far as it was read; ``None`` where there is
        nothing."""
        name, _, rest = path.partition("/")
        if tree is None or name not in tree:
            return None
        if not rest:
            return tree[name]
        return (
            self._entry(self._tree(str(tree[name].id)), rest)
            if tree[name].type_str == "tree"
            else None
        )

    def subtree(self, commit: str, path: str) -> str | None:
        """Id of the tree at ``path`` in ``commit`` (the whole tree where ``path`` is empty), if
        there is one."""
        with self._told():
            tree = self._tree(commit)
            found = self._entry(tree, path) if path else tree
        return str(found.id) if found is not None and found.type_str == "tree" else None

    def note(self, tree: str | None, commit: str) -> bytes:
        """The note on ``commit`` in the tree ``tree`` of a notes ref (``None``: there is none);
        empty without one."""
        with self._told():
            top = self._tree(tree)
            for path in notes.note_paths(commit):
                entry = self._entry(top, path)
                if entry is not None and entry.type_str == "blob":
                    return self._read(str(entry.id)).read_raw()
        return b""

    def with_note(self, tree: str | None, commit: str, data: bytes) -> str:
        """The tree ``tree`` with ``data`` as the note on ``commit``, where git would look for it.

        An existing note is replaced in its place; a new one follows the fan-out (folders of two hex
        digits) that the tree has already, so that git finds both and a merge of two notes branches
        meets them in one place.
        """
        with self._told():
            return str(self._with_note(self._tree(tree), commit, data))

    def _with_note(self, tree: pygit2.Tree | None, name: str, data: bytes) -> pygit2.Oid:
        items = _items(tree)
        raw, folder = name.encode(), name[:2].encode()
        fanned = raw not in items and any(
            mode == _TREE and len(each) == 2 for each, (mode, _) in items.items()
        )
        if fanned:
            mode, old = items.get(folder, (_TREE, None))
            below = self._tree(str(old)) if old is not None and mode == _TREE else None
            items[folder] = (_TREE, self._with_note(below, name[2:], data))
        else:
            items[raw] = (_FILE, self._blob(data))
        return self._write_items(items, None)

    def commit(
        self, tree: str, parents: Iterable[str], message: str, author: Identity, committer: Identity
    ) -> str:
        """Write a commit that no ref names yet."""
        who = self._signature(author), self._signature(committer)
        with self._told():
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
        with self._told():
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
        with self._told():
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


_LOST = "git fsck tells more; fetch it from a clone"
_FILE, _EXECUTABLE, _TREE = 0o100644, 0o100755, 0o040000
"""Modes of a tree's items."""
_TRIES = 20
"""How often an object is written again whose folder was taken away."""
_MANY = 64
"""New blobs from which on they are one pack. Each by itself is two waits for the disk, one after
the other."""
_OWN = (b"captions", b"inputs", b"patches")
"""Folders of a record itself."""


class CannotWriteObjects(LoragitError):
    """The repository's object store cannot be written."""


class CannotReadObjects(LoragitError, KeyError):
    """The repository lacks an object that the record stands on."""


class CannotRecord(LoragitError):
    """A path that git takes for its own."""


def _checked(name: str) -> bytes:
    """``name`` as git stores it. Raises :class:`CannotRecord` where git would refuse the tree."""
    raw = os.fsencode(name)
    if raw.lower() in (b"", b".", b"..", b".git", b"git~1"):
        raise CannotRecord(
            f"git takes no folder called {name!r} into a tree", hint="rename the folder of images"
        )
    return raw


def _items(tree: pygit2.Tree | None) -> _Items:
    return (
        {}
        if tree is None
        else {item.raw_name or b"": (int(item.filemode), item.id) for item in tree}
    )


def _shared(git_dir: Path) -> Path:
    """The folder that a linked work tree's ``git_dir`` shares with all others; itself for the main
    one."""
    try:
        return git_dir / (git_dir / "commondir").read_text("utf-8", "surrogateescape").rstrip("\n")
    except OSError:
        return git_dir


class _Leaf(NamedTuple):
    id: pygit2.Oid
    entry: Entry


class _Folder(NamedTuple):
    files: dict[str, _Leaf]
    folders: dict[str, _Folder]
