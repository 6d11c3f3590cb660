"""Commits of the record: of a run, of a revert, of a note. No ref names them yet."""

from __future__ import annotations

from loragit.git import trees
from loragit.git.objects import Objects
from loragit.record import notes, trailers
from loragit.record.message import dataset_path
from loragit.record.values import Entry, Identity, Opened
from loragit.store.free_name import FORMAT, NameState

Who = tuple[Identity, Identity]
"""Author and committer."""


def run_commit(
    objects: Objects,
    state: NameState,
    prefix: str,
    entries: tuple[Entry, ...],
    kept: tuple[tuple[str, str], ...],
    message: str,
    who: Who,
) -> str:
    """A commit on top of ``runs`` as ``state`` has it, with ``entries`` at ``prefix``."""
    tip = state.runs or _if_ours(objects, state.origin)
    like = trees.subtree(objects, tip, prefix) if tip else None
    record = trees.write(objects, entries, kept, like)
    tree = trees.graft(objects, _tree(objects, tip), prefix, record)
    return objects.commit(tree, [tip] if tip else [], message, *who)


def _if_ours(objects: Objects, commit: str | None) -> str | None:
    """``commit`` if loragit wrote it."""
    return commit if commit and FORMAT in objects.read_commit(commit).message else None


def revert_commit(objects: Objects, tip: str, opened: Opened, message: str, who: Who) -> str:
    """A commit on top of ``tip`` with the tree from before ``opened``: that of the newest run of
    the same dataset that stands."""
    standing = _standing_tree(objects, tip, opened)
    tree = trees.graft(objects, _tree(objects, tip), opened.prefix, standing)
    return objects.commit(tree, [tip], message, *who)


def _standing_tree(objects: Objects, tip: str, opened: Opened) -> str | None:
    """Tree of the newest other run of the dataset whose tag is still there; ``None`` for none."""
    place = dataset_path(opened.prefix)
    for commit in objects.history(tip):
        if commit.id == opened.commit:
            continue
        found = trailers.parse(commit.message)
        name = found.get("Run", ("",))[0]
        if "Reverts" in found or found.get("Dataset-Path", ("",))[0] != place:
            continue
        if objects.tag_commit(f"refs/tags/{name}") == commit.id:
            return trees.subtree(objects, commit.id, opened.prefix)
    return None


def note_commit(
    objects: Objects, tip: str | None, commit: str, lines: tuple[str, ...], who: Who
) -> str:
    """A commit on top of the notes at ``tip``: ``lines`` are appended to the note on ``commit``."""
    old = _tree(objects, tip)
    data = notes.append_lines(trees.note(objects, old, commit), lines)
    tree = trees.with_note(objects, old, commit, data)
    return objects.commit(tree, [tip] if tip else [], "Notes added by loragit\n", *who)


def _tree(objects: Objects, tip: str | None) -> str | None:
    return objects.tree_of(tip) if tip else None
