"""Finds tags that were replaced or deleted, and notes of which lines were removed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import pairwise

from loragit import git
from loragit.errors import shell_word
from loragit.git import catfile
from loragit.history.history import History, RecordedRun
from loragit.history.runs import UNTAGGED
from loragit.history.verify.branch import read_tag_object
from loragit.history.verify.past import KEEP, moves_of, read_overrides, ref_targets
from loragit.history.verify.verdict import NOTES, TAG, Since, Verdict, note, utc_timestamp, wrong
from loragit.record import notes
from loragit.text import count

_TAGS = "refs/tags/"
_SEALS = re.compile(r"loragit: (seal|import) ")


def check_past_tags(
    history: History, wanted: Collection[str] | None, *, quick: bool
) -> Iterator[Verdict]:
    """Check the tags of ``wanted`` runs, ``None`` for all. With ``quick`` deleted tag objects are
    not searched for."""
    known = {(each.ref, each.old) for each in read_overrides(history)}
    chosen = [run for run in history.runs if wanted is None or run.name in wanted]
    for run in chosen:
        if run.tag is not None:
            yield from _check_replaced(history, run, known)
    deleted = {ref for ref, _ in known}
    gone = (run for run in chosen if run.state == UNTAGGED and run.name not in history.refs.objects)
    missing = {run.name: run for run in gone if _TAGS + run.name not in deleted}
    found = list(_deleted_outcomes(history, missing)) if missing and not quick else []
    yield from found
    reported = {verdict.run for verdict in found}
    for ref, _ in ref_targets(history, KEEP):
        name = ref.removeprefix(KEEP)
        # loragit deletes this ref together with the tag.
        left = (
            name not in history.refs.objects
            and name not in reported
            and _TAGS + name not in deleted
        )
        if left and (wanted is None or name in wanted):
            message = (
                f"the tag {name} is gone, and with it what came out of the run: it was "
                "deleted by hand"
            )
            yield note(TAG, message, "a clone or a remote may still have it")._replace(run=name)


def _check_replaced(
    history: History, run: RecordedRun, known: Collection[tuple[str, str]]
) -> Iterator[Verdict]:
    """Yield that the tag is not what its reflog says it was when the run was sealed."""
    ref = _TAGS + run.name
    moves = moves_of(history, ref)
    sealed = next((move for move in reversed(moves) if _SEALS.match(move.why)), None)
    if sealed is None or sealed.new == run.tag or (ref, sealed.new) in known:
        return
    last = moves[-1]
    message = (
        f"the tag {run.name} is not the one that loragit wrote ({sealed.new[:8]}): it was replaced"
    )
    fix = f"see what it said: git cat-file tag {sealed.new[:12]}"
    latest = utc_timestamp(last.time) if last.new == run.tag else None
    yield wrong(TAG, message, fix)._replace(
        run=run.name, commit=run.commit, since=Since(utc_timestamp(sealed.time), latest)
    )


def _deleted_outcomes(history: History, missing: dict[str, RecordedRun]) -> Iterator[Verdict]:
    """Yield outcomes of ``missing`` runs that are still in the repository, with no ref on them."""
    with catfile.Reader(history.repository.top) as reader:
        for each in _dangling_tags(history):
            seal = read_tag_object(reader, each)
            if seal is None or not seal.tells_outcome:
                continue
            run = missing.get(seal.name)
            if run is not None and seal.object == run.commit:
                message = (
                    f"the tag {run.name} is gone, and with it what came out of the run: it "
                    "was deleted by hand"
                )
                fix = f"restore it: git update-ref {shell_word(f'refs/tags/{run.name}')} {each} ''"
                yield wrong(TAG, message, fix).about(run)


def _dangling_tags(history: History) -> list[str]:
    """Return the ids of the tag objects that no ref leads to."""
    for args in (("--connectivity-only",), ()):
        reply = git.start(
            "fsck",
            "--dangling",
            "--no-progress",
            *args,
            cwd=history.repository.top,
            variables=("GIT_NO_LAZY_FETCH=1",),
        ).reply()
        # The quick way ends at the first damaged object; the other goes on.
        if reply.status != 128:
            break
    return re.findall(r"^dangling tag ([0-9a-f]+)$", reply.out.decode("utf-8", "replace"), re.M)


def check_notes(history: History) -> Iterator[Verdict]:
    """Yield which notes on runs were lost."""
    top = history.repository.top
    reply = git.call("rev-list", notes.REF, "--", cwd=top)
    if reply.status != 0:
        return
    commits = set(reply.out.decode("ascii", "replace").split())
    moves = [move for move in moves_of(history, notes.REF) if move.new not in commits]
    if moves:
        fix = f"join them again: git notes merge -s cat_sort_uniq {moves[-1].new[:12]}"
        message = (
            f"the notes were at {moves[-1].new[:8]}, which is not in their history: they were "
            "rewound or rewritten"
        )
        yield wrong(NOTES, message, fix)._replace(since=Since(utc_timestamp(moves[-1].time), None))
    yield from _check_removed_lines(history)


def _check_removed_lines(history: History) -> Iterator[Verdict]:
    """Yield a note for each run of whose note lines were removed, as ``git notes edit`` may do."""
    runs = {run.commit: run for run in history.runs}
    versions: dict[str, list[str]] = {}
    args = (
        "log",
        "--format=",
        "--raw",
        "-r",
        "-z",
        "--no-abbrev",
        "--no-renames",
        "-m",
        "--first-parent",
        notes.REF,
        "--",
    )
    fields = [
        field.decode("utf-8", "replace")
        for field in catfile.rows(*args, cwd=history.repository.top)
    ]
    for about, path in pairwise(fields):
        match = re.match(r"\s*:\d+ \d+ [0-9a-f]+ ([0-9a-f]+) [AMD]", about)
        if match and (commit := path.replace("/", "")) in runs:
            versions.setdefault(commit, []).append(match[1])
    with catfile.Reader(history.repository.top) as reader:
        for commit, several in versions.items():
            if len(set(several)) > 1:
                texts = [_note_lines(reader, blob) for blob in several]
                lost = set().union(*texts[1:]) - texts[0]
                if lost:
                    message = f"{count(len(lost), 'line')} of the notes on it changed or taken out"
                    yield note(NOTES, message, f"see: git log -p --first-parent {notes.REF}").about(
                        runs[commit]
                    )


def _note_lines(reader: catfile.Reader, blob: str) -> set[str]:
    found = reader.read(blob) if blob.strip("0") else None
    if found is None or found.data is None:
        return set()
    return {line for line in found.data.decode("utf-8", "replace").splitlines() if line.strip()}
