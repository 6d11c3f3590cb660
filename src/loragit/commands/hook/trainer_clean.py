"""What the pre-commit hook checks: whether the repositories of code that the dataset names are
committed.

This runs at every commit, so it needs no typer, pygit2 or dulwich.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import git, text
from loragit.errors import Area, Finding, LoragitError
from loragit.git import checkout
from loragit.record.name import RUNS, RunName
from loragit.record.values import RepoState
from loragit.settings import document, schema
from loragit.settings.load import load_settings
from loragit.settings.values import Flags, Settings
from loragit.trainers.environment import code

_AT_ONCE = 30
"""Repositories that git is asked about at the same time, by four processes each."""
SHOWN = 10
"""Most files that a refusal names."""


class TrainerDirty(LoragitError):
    """A repository of code that the settings name has uncommitted changes: its commit does not say
    what would run."""


class CommitCheck(NamedTuple):
    """What the hook says about a commit."""

    refusals: tuple[LoragitError, ...] = ()
    """Reasons not to commit; of a dirty repository, a finding a file."""
    notes: tuple[str, ...] = ()
    """What could not be checked, and what the settings allow."""


class _CodeRepository(NamedTuple):
    """A repository that settings name."""

    folder: Path
    label: str
    allowed: bool
    """Whether all settings that name it allow changes in it."""
    modules: tuple[tuple[Path, str], ...] = ()
    """Of the trainer: modules that the settings' arguments name, each with the folder that it is
    imported from first."""


def check(cwd: Path, environ: Mapping[str, str]) -> CommitCheck:
    """Whether the repositories of code that the datasets around ``cwd`` name are committed.

    A repository without a ``loragit.toml`` and without runs is no dataset: its verdict is empty. A
    folder that is missing or no repository gets a note, never a refusal. Raises
    :class:`~loragit.git.GitMissing`.
    """
    try:
        repository = git.discover(cwd)
    except git.NotARepository as error:
        return CommitCheck(notes=(f"trainer repositories were not looked at: {error.message}",))
    refusals: list[LoragitError] = []
    named: dict[Path, _CodeRepository] = {}
    for folder in _datasets(repository.top):
        try:
            for settings in _variants(folder, environ):
                _add_repositories(settings, named)
        except LoragitError as error:
            refusals.append(error)
    asked = list(named.values())
    found = [
        _verdict_on(asked[first : first + _AT_ONCE], repository.top)
        for first in range(0, len(asked), _AT_ONCE)
    ]
    dirty = {str(refusal): refusal for verdict in found for refusal in verdict.refusals}
    return CommitCheck(
        (*refusals, *dirty.values()), tuple(note for verdict in found for note in verdict.notes)
    )


def _datasets(top: Path) -> tuple[Path, ...]:
    """Folders of the work tree that hold a ``loragit.toml``; ``top`` if none does but runs were
    recorded."""
    wanted = ("-z", "--", schema.FILE, f"*/{schema.FILE}")
    # The file may name folders of this machine, so some people let git ignore it: the second
    # question finds those too.
    questions = (
        git.start("ls-files", "-c", "-o", "--exclude-standard", *wanted, cwd=top),
        git.start("ls-files", "-o", "-i", "--exclude-standard", "--directory", *wanted, cwd=top),
        git.start("rev-parse", "--quiet", "--verify", RUNS, cwd=top),
    )
    replies = [question.reply() for question in questions]
    names = (replies[0].out + replies[1].out).decode("utf-8", "surrogateescape").split("\0")
    files = {top / name for name in names if Path(name).name == schema.FILE}
    folders = tuple(sorted(file.parent for file in files if file.is_file()))
    return folders or ((top,) if replies[2].status == 0 else ())


def _variants(folder: Path, environ: Mapping[str, str]) -> Iterator[Settings]:
    """The settings of a dataset, and those of each model for which it names other repositories."""
    flags = Flags(dataset=str(folder), steps=1)
    yield load_settings(name=None, flags=flags, environ=environ, cwd=folder)
    for model, values in document.read_settings_file(folder / schema.FILE).models.items():
        if not values.keys().isdisjoint(("trainer.repo", "trainer.lycoris_repo")):
            name = RunName(text=folder.name, model=model, version=None, steps=1, stem=None)
            yield load_settings(name=name, flags=flags, environ=environ, cwd=folder)


def _add_repositories(settings: Settings, named: dict[Path, _CodeRepository]) -> None:
    trainer = settings.trainer
    default = any(
        origin.key == "trainer.repo" and origin.source == "default" for origin in settings.origins
    )
    # Nobody set the default folder, so it is no news at every commit that it is missing.
    repos = []
    if trainer.repo.exists() or not default:
        from loragit.trainers import kinds

        repos.append((trainer.repo, kinds.repository_label(trainer.kind, trainer.repo)))
    if trainer.lycoris_repo is not None:
        repos.append((trainer.lycoris_repo, "LyCORIS"))
    repos += [(each, each.name) for each in settings.record.repos]
    for folder, label in repos:
        resolved = Path(os.path.realpath(folder))
        known = named.get(resolved, _CodeRepository(resolved, label, allowed=True))
        named[resolved] = known._replace(allowed=known.allowed and settings.record.allow_dirty)
    trainers = Path(os.path.realpath(trainer.repo))
    if trainers in named and trainer.args:
        script_folder = (trainers / trainer.script).parent
        modules = tuple((script_folder, each) for each in _modules(settings))
        known = named[trainers]
        named[trainers] = known._replace(modules=known.modules + modules)


def _modules(settings: Settings) -> tuple[str, ...]:
    """The modules that the arguments of ``settings`` name."""
    from loragit.trainers import arguments, kinds

    given = arguments.from_settings(settings.trainer.args, "")
    return kinds.trainer_of(settings.trainer.kind).modules(given)


def _verdict_on(named: Sequence[_CodeRepository], own: Path) -> CommitCheck:
    """Ask about the repositories at the same time. ``own`` is the one that is committed to: it is
    dirty as a matter of course."""
    notes: list[str] = []
    questions: list[tuple[_CodeRepository, checkout.StateQuestion]] = []
    for one in named:
        try:
            questions.append((one, checkout.StateQuestion(one.folder, one.label)))
        except (git.NotARepository, OSError) as error:
            notes.append(f"{one.label} was not looked at: {error}")
    refusals: dict[Path, LoragitError] = {}
    for one, question in questions:
        try:
            state = question.answer()
        except (git.NotARepository, git.GitFailed) as error:
            notes.append(f"{one.label} was not looked at: {error}")
            continue
        for script_folder, module in one.modules:
            state = code.with_named(state, script_folder, (module,), question.tracks)
        if not state.dirty or state.path.samefile(own):
            continue
        if one.allowed:
            notes.append(
                f"{one.label} has {_changes(state.dirty)} in {state.path}, which the settings allow"
            )
        else:
            refusals.setdefault(state.path, _trainer_dirty(state))
    return CommitCheck(tuple(refusals.values()), tuple(notes))


def _changes(dirty: Sequence[str]) -> str:
    return "an uncommitted change" if len(dirty) == 1 else f"{len(dirty)} uncommitted changes"


def _trainer_dirty(state: RepoState) -> TrainerDirty:
    dirty = state.dirty
    there = f"git -C {shlex.quote(str(state.path))}"
    them = "it" if len(dirty) == 1 else "them"
    if state.hidden:
        hint = checkout.way_out(state)
    elif len(dirty) > SHOWN or any(not path.isprintable() for path in dirty):
        hint = f"commit or stash {them}; see: {there} status"
    else:
        aside = " ".join(shlex.quote(path) for path in dirty)
        hint = (
            f"commit {them}, or put {them} aside: {there} stash push --include-untracked -- {aside}"
        )
    rest = text.more(len(dirty), SHOWN)
    more = (rest,) if rest else ()
    lines = checkout.named(state)[:SHOWN] + more
    findings = tuple(Finding(line, None, Area.CODE) for line in lines)
    message = f"{state.label} has {_changes(dirty)} in {state.path}"
    return TrainerDirty(message, hint=hint, findings=findings)
