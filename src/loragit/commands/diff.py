"""``loragit diff A [B]``: what differs between two runs in meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import console, git, text
from loragit.errors import LoragitError, UsageError, shell_word
from loragit.history.as_json import CodeChange, compared_runs
from loragit.history.compare import changes
from loragit.history.compare.captions import CaptionChange
from loragit.history.compare.changes import Change
from loragit.history.compare.commits import (
    DIVERGED,
    MISSING,
    REVERSED,
    Commit,
    CommitsBetween,
)
from loragit.history.compare.details import (
    ADDED,
    CHANGED,
    REMOVED,
    Difference,
    DocumentChange,
    compare_in_full,
)
from loragit.history.history import RecordedRun
from loragit.history.query.find import RunFinder
from loragit.settings.values import Settings

_CODE = (changes.TRAINER, changes.LYCORIS, changes.REPOSITORY)
_TITLES = {
    changes.ARGUMENT: "Arguments",
    changes.WEIGHTS: "Base model and other weights",
    "code": "Code",
    changes.CONFIG: "Dataset config",
    changes.INPUT: "Inputs",
    changes.PROMPTS: "Sample prompts",
    changes.CAPTION: "Captions",
    changes.IMAGE: "Images",
    changes.FILE: "Other files",
    changes.ENVIRONMENT: "Environment",
    changes.PACKAGE: "Packages",
    changes.PATCH: "Patches",
}
"""Kinds in the order in which they are shown."""
_DOCUMENTS = (changes.CONFIG, changes.INPUT, changes.PROMPTS, changes.FILE)
_HASHED = (changes.IMAGE, changes.FILE, changes.PATCH)
"""Kinds whose values are hashes."""
_NARROW = 40
"""Columns in which names are aligned; a longer name pushes its value to the right."""
_GIT = ("diff", "--no-ext-diff", "--no-textconv")
"""The configuration of a repository may name programs for both; a user can allow them after
``--``."""

BeforeAndAfter = tuple[str, str | None, str | None]
"""A name, its value before and after."""


class DiffOptions(NamedTuple):
    """The options of the command line."""

    runs: tuple[str, ...]
    extra: tuple[str, ...]
    """For ``git diff``."""
    here: Path
    """The dataset in which runs are looked for first."""
    cwd: Path
    stat: bool = False
    as_json: bool = False
    plain_git: bool = False
    exit_code: bool = False


class NoRunBefore(LoragitError):
    """There is no run to compare one with."""


def diff(options: DiffOptions, chosen: Settings) -> int:
    """Print what differs. Return 0, or with ``exit_code`` 1 if anything does. Raises
    :class:`LoragitError`."""
    _check_options(options)
    before, after = _find_runs(options, RunFinder(options.here, chosen.paths.datasets, options.cwd))
    if options.plain_git:
        return _show_git_diff(before, after, options)
    difference = compare_in_full(before, after)
    codes = tuple(_code_changes(difference, chosen))
    if options.as_json:
        import json

        console.write(json.dumps(compared_runs(difference, codes), indent=2) + "\n")
    else:
        rows = list(_stat_rows(difference, codes)) if options.stat else []
        lines = list(_lines(difference, codes, console.width(), brief=options.stat))
        if console.width() is not None:
            console.start_pager(git.pager())
        if rows:
            console.columns(rows, console.width())
        for line in lines:
            console.out(line)
    return 1 if options.exit_code and not difference.same else 0


def _check_options(options: DiffOptions) -> None:
    if not 1 <= len(options.runs) <= 2:
        raise UsageError("one run or two are compared", hint="as in: loragit diff EARLIER LATER")
    if options.extra and not options.plain_git:
        raise UsageError("what follows -- is for git diff", hint="add --git, or leave it out")
    if options.as_json and (options.plain_git or options.stat):
        raise UsageError(
            "--json tells all, and goes with neither --stat nor --git", hint="give one of them"
        )


def _find_runs(options: DiffOptions, finder: RunFinder) -> tuple[RecordedRun, RecordedRun]:
    """Return the two runs, the earlier one first."""
    found = [finder.find(each) for each in options.runs]
    if len(found) == 2:
        return found[0][1], found[1][1]
    history, run = found[0]
    before = history.previous(run)
    if before is None:
        raise NoRunBefore(
            f"there is no finished run of {run.dataset or 'its dataset'} before {run.name}",
            hint=f"name the run to compare it with: loragit diff EARLIER {shell_word(run.name)}",
        )
    return before, run


def _show_git_diff(before: RecordedRun, after: RecordedRun, options: DiffOptions) -> int:
    """Show ``git diff`` of the two records; paths are relative to the datasets."""
    words = [
        *_GIT,
        *(["--stat"] if options.stat else []),
        *(["--exit-code"] if options.exit_code else []),
    ]
    trees = [run.reader.revision(run) for run in (before, after)]
    one, other = (run.reader.repository for run in (before, after))
    # git also looks for objects in the other dataset's repository.
    beside = str(other.common_dir / "objects").replace("\\", "\\\\").replace('"', '\\"')
    variables = (
        ()
        if one.common_dir == other.common_dir
        else (f'GIT_ALTERNATE_OBJECT_DIRECTORIES="{beside}"',)
    )
    console.finish()
    return git.show(*words, *trees, *options.extra, cwd=one.top, variables=variables)


def _code_changes(difference: Difference, chosen: Settings) -> Iterator[CodeChange]:
    """Yield each repository of code with two different commits, and the commits between them."""
    from loragit.history.compare.commits import commits_between, is_commit

    places: dict[str, Path | None] = {folder.name: folder for folder in chosen.record.repos}
    for change in difference.of(*_CODE):
        label, _, what = change.key.rpartition(".")
        if what != "commit" or change.before is None or change.after is None:
            continue
        label = {changes.TRAINER: _trainer_label(difference), changes.LYCORIS: "LyCORIS"}.get(
            change.kind, label
        )
        place = {
            changes.TRAINER: chosen.trainer.repo,
            changes.LYCORIS: chosen.trainer.lycoris_repo,
        }.get(change.kind, places.get(label))
        known = place is not None and is_commit(change.before) and is_commit(change.after)
        between = commits_between(place, change.before, change.after) if place and known else None
        yield CodeChange(change.kind, label, change.before, change.after, between)


def _trainer_label(difference: Difference) -> str:
    return difference.after.record.trainer.label


# ---- for people ----


def _lines(
    difference: Difference, codes: Sequence[CodeChange], width: int | None, *, brief: bool
) -> Iterator[str]:
    """Yield everything line by line; with ``brief`` only what belongs to no kind."""
    fit = _cut_to(width)
    if difference.same:
        both = " and ".join(map(_name_and_commit, (difference.before, difference.after)))
        yield f"the same inputs: {both}"
    elif not brief:
        several = (difference.before.dataset, difference.before.reader) != (
            difference.after.dataset,
            difference.after.reader,
        )
        yield from (
            fit(f"{sign} {_heading(run, several)}")
            for sign, run in (("-", difference.before), ("+", difference.after))
        )
        for kind, title in _TITLES.items():
            lines = list(_section(kind, difference, codes, width))
            yield from ("", title, *(fit(f"  {line}") for line in lines)) if lines else ()
    written = [document.path for document in difference.documents if not document.changes_meaning]
    if written:
        yield from ("", "Only written otherwise", *(fit(f"  {path}") for path in written))
    if difference.not_compared:
        yield from ("", "Not compared", *(fit(f"  {line}") for line in difference.not_compared))


def _cut_to(width: int | None) -> Callable[[str], str]:
    """Return a function that cuts a line to a terminal's width."""
    return lambda line: (
        text.shown(line).rstrip() if width is None else text.cut(text.shown(line).rstrip(), width)
    )


def _name_and_commit(run: RecordedRun) -> str:
    return f"{run.name} ({run.commit[:8]})"


def _heading(run: RecordedRun, several: bool) -> str:
    where = f"  in {run.reader.repository.top / run.path}" if several else ""
    return (
        f"{run.name}  {run.commit[:8]}  {run.minute}  "
        f"{run.state}{', imported' if run.imported else ''}{where}"
    )


def _section(
    kind: str, difference: Difference, codes: Sequence[CodeChange], width: int | None
) -> Iterator[str]:
    if kind == "code":
        yield from _code_lines(difference, codes, width)
    elif kind == changes.CAPTION:
        yield from _caption_lines(difference)
    else:
        for document in difference.documents:
            if document.kind == kind and document.changes_meaning:
                yield from _document_lines(document, width)
        yield from _pair_lines([_before_and_after(change) for change in difference.of(kind)], width)


def _before_and_after(change: Change) -> BeforeAndAfter:
    before, after = change.before, change.after
    if change.kind in _HASHED:
        # A hash is only needed to distinguish two files of one name.
        short = before is not None and after is not None
        before, after = (
            None if each is None else each[:10] if short else "" for each in (before, after)
        )
    if change.kind == changes.ARGUMENT and (before is None or after is None):  # a flag
        before, after = ("" if each == "true" else each for each in (before, after))
    return change.key, before, after


def _pair_lines(pairs: Sequence[BeforeAndAfter], width: int | None) -> Iterator[str]:
    """Yield a line for each, names aligned. Two values that are too long for one line of a terminal
    get a line each."""
    column = min(max((text.width(name) for name, _, _ in pairs), default=0), _NARROW)
    for name, before, after in pairs:
        padded = name + " " * (column - text.width(name))
        if before is None:
            yield f"+ {padded}  {after}"
        elif after is None:
            yield f"- {padded}  {before}"
        else:
            line = f"  {padded}  {before} → {after}"
            if width is None or text.width(text.shown(line)) + 2 <= width:
                yield line
            else:
                yield from (f"  {name}", f"  - {before}", f"  + {after}")


def _document_lines(document: DocumentChange, width: int | None) -> Iterator[str]:
    sign = {ADDED: "+ ", REMOVED: "- ", CHANGED: "  "}[document.status]
    if document.status != CHANGED:
        number = len(document.values), len(document.lines)
        size = text.count(number[0], "value") if number[0] else text.count(number[1], "line")
        yield f"{sign}{document.path}  {size}"
        return
    yield f"{sign}{document.path}"
    yield from (
        f"  {line}" for line in _pair_lines(document.values, None if width is None else width - 2)
    )
    yield from (f"  {line.sign} {line.text}" for line in document.lines)


def _caption_lines(difference: Difference) -> Iterator[str]:
    for total in difference.tags:
        if total.removed:
            yield f"- tag `{total.tag}` removed from {text.count(total.removed, 'caption')}"
        if total.added:
            yield f"+ tag `{total.tag}` added to {text.count(total.added, 'caption')}"
    column = min(
        max((text.width(caption.path) for caption in difference.captions), default=0), _NARROW
    )
    for caption in difference.captions:
        sign = "+" if caption.before is None else "-" if caption.after is None else " "
        padding = " " * (column - text.width(caption.path))
        yield f"{sign} {caption.path}{padding}  {_caption_text(caption)}"


def _caption_text(caption: CaptionChange) -> str:
    if caption.before is None or caption.after is None:
        return ", ".join(caption.before or caption.after or ())
    if caption.reordered:
        return f"another order: {', '.join(caption.after)}"
    parts = [
        f"{sign} {', '.join(some)}"
        for sign, some in (("-", caption.removed), ("+", caption.added))
        if some
    ]
    return "  ".join(parts) or "other blanks or line ends"


def _code_lines(
    difference: Difference, codes: Sequence[CodeChange], width: int | None
) -> Iterator[str]:
    by_label = {(code.kind, code.label): code for code in codes}
    for change in difference.of(*_CODE):
        label, _, what = change.key.rpartition(".")
        label = {changes.TRAINER: _trainer_label(difference), changes.LYCORIS: "LyCORIS"}.get(
            change.kind, label
        )
        yield from _pair_lines(
            [(f"{label} {what}", _short_commit(change.before), _short_commit(change.after))], width
        )
        code = by_label.get((change.kind, label)) if what == "commit" else None
        if code is not None and code.between is not None:
            yield from (f"    {line}" for line in _between_lines(code.between))


def _short_commit(value: str | None) -> str | None:
    from loragit.history.compare.commits import is_commit

    return value[:8] if value is not None and is_commit(value) else value


def _between_lines(between: CommitsBetween) -> Iterator[str]:
    if between.relation == MISSING:
        yield f"{' and '.join(each[:8] for each in between.missing)} not in {between.repository}"
    elif between.relation == REVERSED:
        yield (
            f"back by {text.count(between.removed_count, 'commit')}: the later run has the "
            "earlier code"
        )
    elif between.relation == DIVERGED:
        counts = (
            text.count(number, "commit") for number in (between.removed_count, between.added_count)
        )
        yield "the history diverged: {} gone, {} new".format(*counts)
    else:
        yield text.count(between.added_count, "commit")
    yield from _commit_lines("-", between.removed, between.removed_count)
    yield from _commit_lines("+", between.added, between.added_count)


def _commit_lines(sign: str, commits: Sequence[Commit], count: int) -> Iterator[str]:
    yield from (f"{sign} {commit.id[:8]} {commit.subject}" for commit in commits)
    if rest := text.more(count, len(commits)):
        yield f"{sign} {rest}"


# ---- --stat ----


def _stat_rows(difference: Difference, codes: Sequence[CodeChange]) -> Iterator[tuple[str, str]]:
    """Yield each kind with how much of it differs."""
    for kind, title in _TITLES.items():
        statuses = Counter(_statuses(kind, difference))
        if not statuses:
            continue
        words = [f"{statuses[each]} {each}" for each in (CHANGED, ADDED, REMOVED) if statuses[each]]
        if kind == changes.CAPTION and difference.tags:
            tags = (
                sum(each.removed for each in difference.tags),
                sum(each.added for each in difference.tags),
            )
            words.append("tags: {} removed, {} added".format(*tags))
        if kind == "code":
            words += [
                f"{code.label}: {_commit_counts(code.between)}"
                for code in codes
                if code.between is not None
            ]
        yield title, "; ".join([", ".join(words[: len(statuses)]), *words[len(statuses) :]])


def _statuses(kind: str, difference: Difference) -> Iterator[str]:
    if kind == changes.CAPTION:
        yield from (_status(each.before, each.after) for each in difference.captions)
        return
    yield from (
        _status(each.before, each.after)
        for each in difference.of(*(_CODE if kind == "code" else (kind,)))
    )
    for document in (
        each for each in difference.documents if each.kind == kind and each.changes_meaning
    ):
        values = [_status(each.before, each.after) for each in document.values]
        yield from values or [document.status]


def _status(before: object, after: object) -> str:
    return ADDED if before is None else REMOVED if after is None else CHANGED


def _commit_counts(between: CommitsBetween) -> str:
    if between.relation == MISSING:
        return "commits not at hand"
    counts = (("-", between.removed_count), ("+", between.added_count))
    noun = "commit" if between.removed_count + between.added_count == 1 else "commits"
    return " ".join([*(f"{sign}{number}" for sign, number in counts if number), noun])
