"""The user's git, its repositories and refs, and objects that are written in process.

What a run's commit holds is ``record``; which refs move, and when, is ``store``. What is asked of
git itself is handed on here (``git.run``, ``git.discover``); the rest is in its module.
"""

from loragit.git.command import (
    DURABLE,
    LOCAL_VARIABLES,
    GitFailed,
    GitKilled,
    GitMissing,
    NotARepository,
    Question,
    Reply,
    call,
    failure,
    is_bare,
    last_words,
    pager,
    run,
    show,
    start,
    start_child,
)
from loragit.git.refs import (
    NotDurable,
    Ref,
    RefsQuestion,
    RefUpdate,
    read_refs,
    sync_refs,
    update_refs,
)
from loragit.git.repository import (
    Repository,
    TreeItem,
    discover,
    not_found,
    read_tree,
    start_file,
    start_tree,
)

__all__ = [
    "DURABLE",
    "LOCAL_VARIABLES",
    "GitFailed",
    "GitKilled",
    "GitMissing",
    "NotARepository",
    "NotDurable",
    "Question",
    "Ref",
    "RefUpdate",
    "RefsQuestion",
    "Reply",
    "Repository",
    "TreeItem",
    "call",
    "discover",
    "failure",
    "is_bare",
    "last_words",
    "not_found",
    "pager",
    "read_refs",
    "read_tree",
    "run",
    "show",
    "start",
    "start_child",
    "start_file",
    "start_tree",
    "sync_refs",
    "update_refs",
]
