"""Trees of the record: built from files, grafted into the tree of ``runs``, and notes among them.

Only ids and names are handled here; :class:`~loragit.git.objects.Objects` reads and writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from loragit.errors import LoragitError
from loragit.git.objects import EXECUTABLE, FILE, FOLDER, Item, Items, Objects
from loragit.record import attributes, notes
from loragit.record.values import Entry

_PARTS = (b"captions", b"inputs", b"patches")
"""Folders of a record itself."""


class CannotRecord(LoragitError):
    """git would refuse a path of this name."""


class _File(NamedTuple):
    id: str
    entry: Entry


class _TreeFolder(NamedTuple):
    files: dict[str, _File]
    folders: dict[str, _TreeFolder]


def write(
    objects: Objects,
    entries: Iterable[Entry],
    kept: Iterable[tuple[str, str]] = (),
    like: str | None = None,
) -> str:
    """Write a tree of all ``entries``, with the trees ``kept`` (name, id). Its id depends on
    nothing but them.

    ``like`` is the id of a tree that a ref leads to: what it holds is not written again, which
    spares ten thousand captions that did not change since the run before. In a partial clone it is
    written all the same where the clone lacks it.
    """
    root = _TreeFolder({}, {})
    for entry in entries:
        folder = root
        *parents, name = entry.path.split("/")
        if parents and any(each.lower() == attributes.NAME for each in (*parents, name)):
            raise CannotRecord(
                f"{entry.path} would be read by git as attributes of the record", hint="rename it"
            )
        for parent in parents:
            folder = folder.folders.setdefault(parent, _TreeFolder({}, {}))
        folder.files[name] = _File(objects.blob_id(entry.data), entry)
    objects.write_blobs(list(_new_blobs(objects, root, like)))
    rules = root.files.get(attributes.NAME)
    known = _items_if_here(objects, like).get(_raw_name(attributes.NAME))
    if rules is not None and (known is None or known.id != rules.id):
        # Unlike other blobs, git fsck misses one of attributes even where no ref leads to its tree:
        # after a power cut the tree must not be there alone.
        objects.sync((rules.id,))
    return _write_folder(objects, root, like, dict(kept))


def _new_blobs(objects: Objects, folder: _TreeFolder, like: str | None) -> Iterator[bytes]:
    """Contents of the files in ``folder`` that ``like`` does not hold under the same paths."""
    known = _items_if_here(objects, like)
    for name, file in folder.files.items():
        old = known.get(_raw_name(name))
        if old is None or old.id != file.id or not objects.is_here(old.id):
            yield file.entry.data
    for name, child in folder.folders.items():
        yield from _new_blobs(objects, child, _folder_in(known, _raw_name(name)))


def _write_folder(
    objects: Objects, folder: _TreeFolder, like: str | None, kept: Mapping[str, str]
) -> str:
    """Write the trees of ``folder``, whose blobs are written."""
    known = _items_if_here(objects, like)
    items = {_raw_name(name): Item(FOLDER, tree) for name, tree in kept.items()}
    for name, file in folder.files.items():
        items[_raw_name(name)] = Item(EXECUTABLE if file.entry.executable else FILE, file.id)
    for name, child in folder.folders.items():
        raw = _raw_name(name)
        items[raw] = Item(FOLDER, _write_folder(objects, child, _folder_in(known, raw), {}))
    if like is not None and items == known:
        return like
    return objects.write_tree(items)


def _items_if_here(objects: Objects, tree: str | None) -> Items:
    """What ``tree`` holds; nothing where a partial clone lacks it."""
    return objects.items(tree) if tree is not None and objects.is_here(tree) else {}


def graft(objects: Objects, base: str | None, path: str, subtree: str | None) -> str:
    """The tree ``base`` (``None``: empty) with ``subtree`` in place of whatever is at ``path``.

    ``path`` has ``/`` between parts; if empty, all of ``base`` is replaced. If ``subtree`` is
    ``None``, what is there goes. A folder that is left empty goes too, as in git. Records of other
    datasets below ``path`` stay::

        base                  graft(base, "gren", new)
        gren/run.toml         gren/run.toml            new's
        gren/captions/…       gren/captions/…          new's
        gren/inner/run.toml   gren/inner/run.toml      base's: another dataset
        mark/run.toml         mark/run.toml            base's
    """
    if not path:
        items = objects.items(subtree)
        others = _other_datasets(objects, objects.items(base), items)
        if subtree is not None and not others:
            return subtree
        return objects.write_tree({**others, **items})
    name, _, rest = path.partition("/")
    raw = _raw_name(name)
    items = objects.items(base)
    below = graft(objects, _folder_in(items, raw), rest, subtree)
    items.pop(raw, None)
    if objects.items(below):
        items[raw] = Item(FOLDER, below)
    return objects.write_tree(items)


def _other_datasets(objects: Objects, old: Items, new: Items) -> Items:
    """Folders of ``old`` that hold the record of another dataset, and are not in ``new``."""
    return {
        raw: item
        for raw, item in old.items()
        if raw not in new
        and raw not in _PARTS
        and item.mode == FOLDER
        and _holds_record(objects, item.id)
    }


def _holds_record(objects: Objects, tree: str) -> bool:
    items = objects.items(tree)
    return b"run.toml" in items or any(
        item.mode == FOLDER and _holds_record(objects, item.id)
        for raw, item in items.items()
        if raw not in _PARTS
    )


def subtree(objects: Objects, commit: str, path: str) -> str | None:
    """Id of the tree at ``path`` in ``commit``, if there is one; empty is the top."""
    tree: str | None = objects.tree_of(commit)
    for name in path.split("/") if path else ():
        tree = _folder_in(objects.items(tree), os.fsencode(name)) if tree else None
    return tree


def note(objects: Objects, tree: str | None, commit: str) -> bytes:
    """The note on ``commit`` in the tree ``tree`` of a notes ref (``None``: there is none); empty
    if there is no note."""
    for path in notes.note_paths(commit):
        *parents, name = path.encode().split(b"/")
        folder = tree
        for parent in parents:
            folder = _folder_in(objects.items(folder), parent)
        item = objects.items(folder).get(name)
        if item is not None and item.mode in (FILE, EXECUTABLE):
            return objects.read_blob(item.id)
    return b""


def with_note(objects: Objects, tree: str | None, commit: str, data: bytes) -> str:
    """The tree ``tree`` with ``data`` as the note on ``commit``, where git would look for it.

    An existing note is replaced in its place; a new one follows the fan-out that the tree has
    already, so that git finds both and a merge of two notes branches finds them in one place::

        3f2a9c…        no fan-out
        3f/2a9c…       folders of two hex digits
    """
    items = objects.items(tree)
    raw, folder = commit.encode(), commit[:2].encode()
    fanned = raw not in items and any(
        item.mode == FOLDER and len(each) == 2 for each, item in items.items()
    )
    if fanned:
        below = with_note(objects, _folder_in(items, folder), commit[2:], data)
        items[folder] = Item(FOLDER, below)
    else:
        items[raw] = Item(FILE, objects.write_blob(data))
    return objects.write_tree(items)


def _folder_in(items: Items, raw: bytes) -> str | None:
    """Id of the folder ``raw`` in a tree of ``items``; ``None`` if that is a file or not there."""
    item = items.get(raw)
    return item.id if item is not None and item.mode == FOLDER else None


def _raw_name(name: str) -> bytes:
    """``name`` as git stores it. Raises :class:`CannotRecord` if git would refuse the tree."""
    raw = os.fsencode(name)
    if raw.lower() in (b"", b".", b"..", b".git", b"git~1"):
        raise CannotRecord(
            f"git takes no folder called {name!r} into a tree", hint="rename the folder of images"
        )
    return raw
