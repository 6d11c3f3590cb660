"""The list of runs, read from the branch ``runs`` and the tags by two git children in all.

Commits are walked from the tip to the root, and a revert is met before the run that it reverts::

    runs ──► R3    "Run: c"                          tag c -> tag object: sealed
             │                                       tag c -> R3 itself: running or interrupted
             X1    "Run: b", "Reverts: R2"           remembered as {R2: X1}
             │
             R2    "Run: b"                          R2 was remembered: reverted by X1
             │
             R1    "Run: a"                          no tag a, no revert: untagged

``--date-order`` shows no parent before all its children, so the order holds in merges too. A name
may be used again after its revert: the tag ``b`` of a later run is not on R2, and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loragit import git
from loragit.errors import LoragitError
from loragit.git import catfile
from loragit.git.command import GitFailed
from loragit.git.repository import Repository
from loragit.history.record_reader import RecordReader
from loragit.history.runs import INTERRUPTED, REVERTED, RUNNING, SEALED, UNTAGGED, RecordedRun
from loragit.record.name import RUNS
from loragit.record.trailers import first

if TYPE_CHECKING:
    from loragit.store.journal import JournalEntry

_TAGS = "refs/tags/"
_FIELDS = ("%H", "%P", "%ad", "%B")
_ID = re.compile(r"[0-9a-f]{4,64}")


class Tag(NamedTuple):
    """A tag of the repository."""

    object: str
    """Id of what the ref holds: the tag object if it is annotated."""
    commit: str
    """Id of the commit that it leads to."""

    @property
    def annotated(self) -> bool:
        return self.object != self.commit


class Refs(NamedTuple):
    """The refs from which a history is read. All tags are in it, also the user's own, by short
    name."""

    runs: str | None
    """Commit of ``runs``; ``None`` before the first run."""
    objects: dict[str, str]
    """Id of what each tag holds: the tag object if it is annotated."""
    commits: dict[str, str]
    """Id of the commit that each tag leads to."""

    def tags(self) -> Iterator[tuple[str, Tag]]:
        """Yield each tag with its short name."""
        return ((name, Tag(target, self.commits[name])) for name, target in self.objects.items())


def current_refs(repository: Repository) -> Refs:
    """Return the refs as they are now, never from a cache: tags tell the state of a run."""
    return finish_refs(repository, start_refs(repository))


def start_refs(repository: Repository) -> git.Question:
    """Ask for all refs and return at once; :func:`finish_refs` reads the reply."""
    # for-each-ref would open every tag to peel it; show-ref takes that from the packed refs.
    return git.start("show-ref", "--dereference", "--heads", "--tags", cwd=repository.top)


def finish_refs(repository: Repository, question: git.Question) -> Refs:
    reply = question.reply()
    if reply.err:  # git gives up at the first broken ref
        return _refs_one_by_one(repository)
    found = Refs(None, {}, {})
    objects, commits = found.objects, found.commits
    for row in reply.out.decode("utf-8", "surrogateescape").split("\n"):
        target, _, name = row.partition(" ")
        if name.startswith(_TAGS):
            if name.endswith("^{}"):  # the commit of the tag on the line before
                commits[name[len(_TAGS) : -3]] = target
            else:
                objects[name[len(_TAGS) :]] = commits[name[len(_TAGS) :]] = target
        elif name == RUNS:
            found = found._replace(runs=target)
    return found


def _refs_one_by_one(repository: Repository) -> Refs:
    """Return the same if a ref leads nowhere: it is no tag of a run, and the others are read."""
    reply = git.call(
        "for-each-ref", "--format=%(refname)%00%(objectname)", _TAGS, RUNS, cwd=repository.top
    )
    rows = [
        row.split("\0") for row in reply.out.decode("utf-8", "surrogateescape").split("\n") if row
    ]
    peeled = {}
    with catfile.Reader(repository.top) as reader:
        for _, target in rows:
            with suppress(GitFailed):  # a damaged object ends the git child that reads it
                if found := reader.read(f"{target}^{{commit}}"):
                    peeled[target] = found.id
    held = dict(row for row in rows if len(row) == 2)
    objects = {name.removeprefix(_TAGS): target for name, target in held.items() if name != RUNS}
    return Refs(
        held.get(RUNS),
        objects,
        {name: peeled.get(target, target) for name, target in objects.items()},
    )


def read_runs(reader: RecordReader, known: Refs) -> list[RecordedRun]:
    """Return the runs that ``known`` leads to, newest first."""
    return (
        [] if known.runs is None else _runs_of_rows(reader, known, _cached_rows(reader, known.runs))
    )


def read_runs_uncached(
    reader: RecordReader, known: Refs
) -> tuple[list[RecordedRun], LoragitError | None]:
    """Return the same without the cache. If git gives up, return all that can still be reached, and
    git's error."""
    if known.runs is None:
        return [], None
    try:
        return _runs_of_rows(
            reader, known, list(_rows_from_git(reader.repository, known.runs, []))
        ), None
    except GitFailed as error:
        starts = [known.runs, *known.commits.values()]
        # Their order is unknown, and a revert must come before the run that it reverts.
        rows = sorted(
            _rows_past_damage(reader.repository, starts),
            key=lambda row: not row.split("\x1f", 8)[7],
        )
        return _runs_of_rows(reader, known, rows), error


def _runs_of_rows(reader: RecordReader, known: Refs, rows: Iterable[str]) -> list[RecordedRun]:
    reader.tags = tuple(
        known.objects[name]
        for name, commit in known.commits.items()
        if known.objects[name] != commit
    )
    live = _alive_by_name(reader.repository)
    reverts: dict[str, tuple[str, str]] = {}
    found = []
    for row in rows:
        commit, time, offset, name, dataset, path, trainer, reverted, message = row.split("\x1f", 8)
        if reverted:
            reverts[reverted] = (commit, message)
            continue
        by = reverts.get(commit)
        tag = None
        if by is not None:
            state = REVERTED
        elif known.commits.get(name) != commit:
            state = UNTAGGED
        elif known.objects[name] == commit:
            state = RUNNING if live.get(name) else INTERRUPTED
        else:
            state, tag = SEALED, known.objects[name]
        at = int(time), int(offset)
        found.append(
            RecordedRun(name, commit, dataset, path, *at, state, trainer, message, tag, by, reader)
        )
    return _newest_first(found)


def _newest_first(found: list[RecordedRun]) -> list[RecordedRun]:
    """Sort ``found``, which is in the order of the branch, by time; within a second that order
    stays.

    An imported run lies on top of runs that are newer than it. Any other run was opened after those
    below it, whatever the clock said: it may have been set back. So such a run counts as opened no
    earlier than the runs below it::

        branch, newest first     clock      counts as
        d                        10:05      11:00     the clock was set back
        c  (imported)            08:00      08:00
        b                        11:00      11:00
        a                        10:00      10:00     shown: d, b, a, c
    """
    latest = 0
    order = []
    for run in reversed(found):
        imported = run.imported
        order.append(run.time if imported else max(run.time, latest))
        if run.time > latest and not imported:
            latest = run.time
    order.reverse()
    return [
        run for _, run in sorted(zip(order, found, strict=True), key=itemgetter(0), reverse=True)
    ]


def _cached_rows(reader: RecordReader, tip: str) -> list[str]:
    """Return a row for each run and revert that ``tip`` leads to, children before their parents.

    Rows of the cached tip are reused if it is an ancestor of ``tip`` on a single line of commits.
    """
    cache, repository = reader.cache, reader.repository
    if cache.tip == tip:
        return cache.rows
    if (repository.common_dir / "shallow").exists():
        # What the tip leads to may change: the clone may be deepened.
        return list(_rows_from_git(repository, tip, []))
    parents: list[str] = []
    rows: list[str] | None = None
    if cache.tip and _is_commit_of(repository, cache.tip):
        newer = list(_rows_from_git(repository, tip, parents, f"^{cache.tip}"))
        # A single line from the cached tip: a merge may bring older commits.
        if parents and parents[-1] == cache.tip and not any(" " in parent for parent in parents):
            rows = newer + cache.rows
    if rows is None:
        rows = list(_rows_from_git(repository, tip, []))
    cache.set_rows(tip, rows)
    return rows


def _is_commit_of(repository: Repository, commit: str) -> bool:
    return git.call("cat-file", "-e", f"{commit}^{{commit}}", cwd=repository.top).status == 0


def _rows_from_git(
    repository: Repository, tip: str, parents: list[str], *but: str
) -> Iterator[str]:
    """Yield the rows of ``tip``'s history, and append the parents of every commit to ``parents``.

    A row is commit, seconds since 1970, minutes east of UTC, name, dataset, its path, the trainer's
    commit, the commit that is reverted, message; separated by ``\\x1f``.
    """
    for raw in _log_commits(repository, tip, *but):
        commit, above, date, message = raw.decode("utf-8", "replace").split("\x1f", 3)
        parents.append(above)
        if row := _row_of_commit(commit, date, message):
            yield row


def _row_of_commit(commit: str, date: str, message: str) -> str:
    """Return the row of a commit; empty if it is neither a run nor a revert."""
    reverted, name = first(message, "Reverts"), first(message, "Run")
    if not (reverted or name):
        return ""
    time, offset = _parse_date(date)
    values = (
        *(first(message, key) for key in ("Dataset", "Dataset-Path", "Trainer-Commit")),
        reverted,
    )
    joined = "\x1f".join(value.replace("\x1f", " ") for value in (name, *values))
    return f"{commit}\x1f{time}\x1f{offset}\x1f{joined}\x1f{message}"


def _rows_past_damage(repository: Repository, starts: Iterable[str]) -> Iterator[str]:
    """Yield the rows of every commit that ``starts`` lead to, passing over unreadable ones."""
    waiting = list(dict.fromkeys(starts))
    seen = set(waiting)
    with catfile.Reader(repository.top) as reader:
        while waiting:
            commit = waiting.pop()
            try:
                found = reader.read(commit)
            except GitFailed:
                continue
            if found is None or found.kind != "commit" or found.data is None:
                continue
            head, _, message = found.data.decode("utf-8", "replace").partition("\n\n")
            lines = [line.partition(" ") for line in head.split("\n")]
            above = {value for key, _, value in lines if key == "parent"} - seen
            seen |= above
            waiting += sorted(above)
            date = next(
                (value.rpartition("> ")[2] for key, _, value in lines if key == "author"), ""
            )
            if row := _row_of_commit(commit, date, message):
                yield row


def _log_commits(repository: Repository, *revisions: str) -> Iterator[bytes]:
    """Yield a row for each commit, children before their parents: id, parents, date, message,
    separated by ``\\x1f``."""
    return catfile.rows(
        "log",
        "-z",
        # A revert must come before the run that it reverts.
        "--date-order",
        "--date=raw",
        "--encoding=UTF-8",
        "--format=" + "%x1f".join(_FIELDS),
        *revisions,
        "--",
        cwd=repository.top,
    )


def _parse_date(date: str) -> tuple[int, int]:
    """Return seconds since 1970 and minutes east of UTC; 0 if the date makes no sense."""
    time, _, zone = date.partition(" ")
    if not (time.isascii() and time.isdigit() and len(time) < 12):
        return 0, 0
    if len(zone) != 5 or not (zone.isascii() and zone[1:].isdigit()) or int(zone[1:3]) > 23:
        return int(time), 0
    minutes = int(zone[1:3]) * 60 + int(zone[3:]) % 60
    return int(time), -minutes if zone[0] == "-" else minutes


def _alive_by_name(repository: Repository) -> dict[str, bool]:
    """Return, for each run in the journal, whether the process that opened it may be alive."""
    if not any((repository.private / "open").glob("*.toml")):
        return {}
    from loragit.store import journal

    live: dict[str, bool] = {}
    for entry in journal.read(repository.private):
        live[entry.run] = live.get(entry.run, False) or may_be_alive(entry)
    return live


def is_alive(entry: JournalEntry) -> bool | None:
    """Whether the process that opened the run is alive; ``None`` if this machine cannot tell."""
    from loragit.system import alive

    return alive.lives(entry.pid, entry.pid_started, entry.boot, entry.host, entry.space)


def may_be_alive(entry: JournalEntry) -> bool:
    """Whether the process that opened the run is alive, or nobody here can tell."""
    return is_alive(entry) is not False


def bases(runs: Sequence[RecordedRun]) -> dict[str, RecordedRun]:
    """Return, for each of ``runs`` (newest first) by commit, the next older sealed run of its
    dataset."""
    found: dict[str, RecordedRun] = {}
    standing: dict[tuple[str, str], RecordedRun] = {}
    for run in reversed(runs):
        place = (run.dataset, run.path)
        if place in standing:
            found[run.commit] = standing[place]
        if run.state == SEALED:
            standing[place] = run
    return found


def may_be_commit_id(text: str) -> bool:
    """Whether ``text`` may be the beginning of a commit's id."""
    return _ID.fullmatch(text.lower()) is not None


def repositories_under(datasets: Path) -> Iterator[Repository]:
    """Yield the repository that ``datasets`` lies in, then those of its subfolders by name, each
    once."""
    seen = set[Path]()
    for folder in (datasets, *_folders_with_git(datasets)):
        try:
            repository = git.discover(folder)
        except LoragitError:
            if folder == datasets and not datasets.is_dir():
                raise
            continue
        if repository.common_dir not in seen:
            seen.add(repository.common_dir)
            yield repository


def _folders_with_git(datasets: Path) -> list[Path]:
    """Return the subfolders that are the top of a repository: asking git about every folder would
    take long."""
    try:
        return sorted(folder for folder in datasets.iterdir() if (folder / ".git").exists())
    except OSError:
        return []
