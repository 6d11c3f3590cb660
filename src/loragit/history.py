"""Runs as they stand on record, read through git alone: two children, whatever their number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loragit import git
from loragit.errors import LoragitError
from loragit.git import Repository
from loragit.names import RUNS

if TYPE_CHECKING:
    from loragit.journal import Open

RUNNING = "running"
INTERRUPTED = "interrupted"
SEALED = "sealed"
REVERTED = "reverted"
UNTAGGED = "untagged"
STATES = (RUNNING, INTERRUPTED, SEALED, REVERTED, UNTAGGED)
"""``interrupted``: open on record, but its loragit is gone. ``untagged``: only its tag was deleted
(``on_empty = "delete-tag"``)."""

_FIELDS = ("%H", "%ad", "%B")
_TAG_FIELDS = ("%(refname)", "%(*objectname)", "%(objectname)", "%(contents:subject)")


class NoSuchRun(LoragitError):
    """The record holds no run of that name."""


class Listed(NamedTuple):
    """One run, as a line of the log."""

    name: str
    commit: str
    dataset: str
    opened: str
    """When, in the time zone in which it was: ``2026-11-23 17:20``."""
    state: str
    """One of :data:`STATES`."""
    subject: str
    """What the run is."""
    outcome: str
    """What came out: of the sealed tag, or why it was reverted; empty while it is open."""
    reverted_by: str | None
    """The commit that takes it back."""
    exit_status: int | None
    """Of a reverted run; a sealed one's is in its tag."""


class _Tag(NamedTuple):
    commit: str
    sealed: bool
    subject: str


def runs(repository: Repository, limit: int | None = None) -> tuple[Listed, ...]:
    """Runs on record, newest first; all of them, or the newest ``limit``."""
    log = git.start(
        "log", "-z", "--date=format:%Y-%m-%d %H:%M", "--format=" + "%x1f".join(_FIELDS), RUNS, "--", cwd=repository.top
    )
    tags = _tags(repository)
    reply = log.reply()
    if reply.status != 0:
        return ()
    live = _live(repository)
    reverts: dict[str, tuple[str, int | None]] = {}
    listed: list[Listed] = []
    for row in reply.out.decode("utf-8", "replace").split("\0"):
        commit, opened, message = (*row.split("\x1f", 2), "", "")[:3]
        found = _trailers(message)
        name = found.get("Run", "")
        if "Reverts" in found:
            status = found.get("Exit-Status", "")
            reverts[found["Reverts"]] = (commit, int(status) if status.isdigit() else None)
        elif name:
            by = reverts.get(commit)
            state, outcome = _standing(commit, name, tags.get(name), by, live)
            what = message.partition("\n")[0].removeprefix(f"{name}: ")
            dataset = found.get("Dataset", "")
            listed.append(Listed(name, commit, dataset, opened, state, what, outcome, *(by or (None, None))))
        if limit is not None and len(listed) == limit:
            break
    return tuple(listed)


def _trailers(message: str) -> dict[str, str]:
    """The trailers of a message that loragit wrote: its last paragraph, a line each.

    git's own ``%(trailers)`` reads every message again for every key, which takes longer than all the rest of a log.
    """
    lines = message.rstrip("\n").rpartition("\n\n")[2].split("\n")
    return {key: value for key, colon, value in (line.partition(": ") for line in lines) if colon}


def _tags(repository: Repository) -> dict[str, _Tag]:
    rows = git.run("for-each-ref", "--format=" + "%1f".join(_TAG_FIELDS), "refs/tags", cwd=repository.top)
    found = {}
    for row in rows.split("\n") if rows else ():
        name, peeled, target, subject = row.split("\x1f", 3)
        found[name.removeprefix("refs/tags/")] = _Tag(peeled or target, bool(peeled), subject)
    return found


def _standing(
    commit: str, name: str, tag: _Tag | None, reverted: tuple[str, int | None] | None, live: dict[str, bool]
) -> tuple[str, str]:
    """State and outcome."""
    if reverted is not None:
        status = "" if reverted[1] is None else f"exit status {reverted[1]}, "
        return REVERTED, f"{status}made nothing"
    if tag is None or tag.commit != commit:
        return UNTAGGED, ""
    if tag.sealed:
        return SEALED, tag.subject.removeprefix(f"{name}: ")
    return (RUNNING if live.get(name) else INTERRUPTED), ""


def _live(repository: Repository) -> dict[str, bool]:
    """Whether the process that opened a run lives, for each that is noted as open."""
    if not (repository.private / "open").exists():
        return {}
    from loragit import journal

    live: dict[str, bool] = {}
    for note in journal.read(repository.private):
        live[note.run] = live.get(note.run, False) or alive(note)
    return live


def alive(note: Open) -> bool:
    """Whether the process that opened the run still lives. On another machine that cannot be told: taken as yes."""
    from loragit import journal, process

    if note.host != journal.host():
        return True
    if note.boot and note.boot != process.boot_id():
        return False
    return process.exists(note.pid) and process.start_time(note.pid) == (note.pid_started or None)


class Shown(NamedTuple):
    """One run in full."""

    listed: Listed
    message: str
    """Of its commit."""
    tag_message: str
    """Of its sealed tag; empty while it is open, and after a revert."""
    revert_message: str
    files: tuple[str, ...]
    """Paths of its record, relative to the dataset's folder in the repository."""


def show(repository: Repository, name: str) -> Shown:
    """The newest run called ``name``, standing or reverted. Raises :class:`NoSuchRun`."""
    known = runs(repository)
    listed = next((run for run in known if run.name == name), None)
    if listed is None:
        import difflib

        close = difflib.get_close_matches(name, {run.name for run in known}, n=1)
        raise NoSuchRun(
            f"there is no run {name} on record in {repository.top}",
            hint=f"did you mean {close[0]}?" if close else "see all with: loragit log",
        )
    top = repository.top
    tag = f"refs/tags/{name}"
    message = git.run("log", "-1", "--format=%B", listed.commit, cwd=top).rstrip("\n")
    return Shown(
        listed=listed,
        message=message,
        tag_message=_without_signature(git.run("for-each-ref", "--format=%(contents)", tag, cwd=top))
        if listed.state == SEALED
        else "",
        revert_message=git.run("log", "-1", "--format=%B", listed.reverted_by, cwd=top).rstrip("\n")
        if listed.reverted_by
        else "",
        files=_files(repository, listed.commit, _trailers(message).get("Dataset-Path", "")),
    )


def _without_signature(message: str) -> str:
    for start in ("-----BEGIN PGP SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----"):
        message = message.partition(start)[0]
    return message.rstrip("\n")


def _files(repository: Repository, commit: str, place: str) -> tuple[str, ...]:
    """Every path of the run's tree below its dataset's folder, which is told as a trailer tells it."""
    from loragit import text

    if place == text.dataset_path(repository.prefix):
        place = repository.prefix
    tree = f"{commit}:{place}"
    reply = git.call("ls-tree", "-r", "-z", "--name-only", tree, cwd=repository.top)
    names = reply.out.decode("utf-8", "surrogateescape").split("\0") if reply.status == 0 else []
    return tuple(name for name in names if name)


def names(folder: Path) -> tuple[str, ...]:
    """Names of the standing runs of the repository around ``folder``, for a shell's completion; never raises."""
    try:
        return tuple(sorted(_tags(git.discover(folder))))
    except LoragitError:
        return ()
