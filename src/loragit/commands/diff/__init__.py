"""``loragit diff A [B]``: what differs between two runs in meaning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from loragit import console, git
from loragit.commands.diff.lines import difference_lines
from loragit.commands.diff.stat import stat_rows
from loragit.commands.diff.titles import CODE, trainer_label
from loragit.errors import LoragitError, UsageError, shell_word
from loragit.history.as_json import CodeChange, compared_runs
from loragit.history.compare import changes
from loragit.history.compare.commits import commits_between, is_commit
from loragit.history.compare.details import Difference, compare_in_full
from loragit.history.history import RecordedRun
from loragit.history.query.find import RunFinder
from loragit.settings.values import Settings

_GIT = ("diff", "--no-ext-diff", "--no-textconv")
"""The configuration of a repository may name programs for both; a user can allow them after
``--``."""


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
        rows = list(stat_rows(difference, codes)) if options.stat else []
        lines = list(difference_lines(difference, codes, console.width(), brief=options.stat))
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
    places: dict[str, Path | None] = {folder.name: folder for folder in chosen.record.repos}
    for change in difference.of(*CODE):
        label, _, what = change.key.rpartition(".")
        if what != "commit" or change.before is None or change.after is None:
            continue
        label = {changes.TRAINER: trainer_label(difference), changes.LYCORIS: "LyCORIS"}.get(
            change.kind, label
        )
        place = {
            changes.TRAINER: chosen.trainer.repo,
            changes.LYCORIS: chosen.trainer.lycoris_repo,
        }.get(change.kind, places.get(label))
        known = place is not None and is_commit(change.before) and is_commit(change.after)
        between = commits_between(place, change.before, change.after) if place and known else None
        yield CodeChange(change.kind, label, change.before, change.after, between)
