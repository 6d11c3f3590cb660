"""The code that a run imports besides the trainer's own: which repositories hold it, and what none
holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.errors import shell_word
from loragit.git import checkout
from loragit.record.values import HiddenChange, RepoState
from loragit.trainers.environment.imports import ImportedFile, Imports, is_installed


class UnrecordedCode(NamedTuple):
    """Code that no commit tells of."""

    problem: str
    hint: str


class ImportedRepositories(NamedTuple):
    """Where the code lies that a run imports."""

    states: tuple[RepoState, ...]
    """The repositories that were known, in their order, with what they do not track among their
    changes."""
    further: tuple[RepoState, ...]
    """Repositories that were not known."""
    unrecorded: tuple[UnrecordedCode, ...]


def imported_code(
    imports: Imports,
    known: Iterable[RepoState],
    tracks: Callable[[str], bool],
    packages: Iterable[str],
) -> ImportedRepositories:
    """Find the repositories of what is imported.

    ``known`` ones begin with the trainer's, which ``tracks`` a path relative to its top;
    ``packages`` are those of the trainer, which nothing may hide.
    """
    states = list(known)
    further: dict[Path, RepoState] = {}
    unrecorded = list(_hidden_packages(imports, packages))
    reasons = (
        (imports.named, "ignored, {} is imported from it"),
        (imports.over, "ignored, hides another {}"),
    )
    untracked = [
        (each, why.format(each.module))
        for files, why in reasons
        for each in _untracked(files, states[0], tracks, further, states)
    ]
    for each, why in untracked:
        real = each.file.resolve()
        at = next((n for n, state in enumerate(states) if real.is_relative_to(state.path)), None)
        if at is None:
            unrecorded.append(_in_no_repository(each))
        else:
            path = real.relative_to(states[at].path).as_posix()
            states[at] = _with_change(states[at], HiddenChange(path, why))
    return ImportedRepositories(
        tuple(states), tuple(further.values()), tuple(dict.fromkeys(unrecorded))
    )


def with_named(
    trainer: RepoState, script_folder: Path, modules: Iterable[str], tracks: Callable[[str], bool]
) -> RepoState:
    """Return the trainer's state with the ``modules`` of its script's folder that it does not
    track, for whoever has no time to ask the trainer's Python."""
    for module in modules:
        below = script_folder.joinpath(*module.split("."))
        packages = [each for each in below.parents if each.is_relative_to(script_folder)][:-1]
        files = [below.with_name(f"{below.name}.py")]
        files += [folder / "__init__.py" for folder in (below, *packages)]
        for file in files:
            real = file.resolve()
            if not real.is_file() or not real.is_relative_to(trainer.path):
                continue
            if not _is_tracked(file, trainer, tracks) and checkout.tracking(real) is None:
                path = real.relative_to(trainer.path).as_posix()
                change = HiddenChange(path, f"ignored, {module} is imported from it")
                trainer = _with_change(trainer, change)
    return trainer


def _untracked(
    files: Iterable[ImportedFile],
    trainer: RepoState,
    tracks: Callable[[str], bool],
    further: dict[Path, RepoState],
    known: Iterable[RepoState],
) -> Iterator[ImportedFile]:
    """Yield those of ``files`` that no repository tracks, and add unknown repositories of others to
    ``further``."""
    paths = {state.path for state in known}
    for each in files:
        real = each.file.resolve()
        if is_installed(real) or _is_tracked(each.file, trainer, tracks):
            continue
        top = checkout.tracking(real) if _in_a_repository(real) else None
        if top is None:
            yield each
        elif top not in paths and top not in further:
            try:
                further[top] = checkout.repo_state(top, top.name)
            except git.NotARepository:  # it has no commit
                yield each


def _is_tracked(file: Path, trainer: RepoState, tracks: Callable[[str], bool]) -> bool:
    """Whether the trainer's repository tracks ``file`` and, if that is a link, what it leads to."""
    places = {file.parent.resolve() / file.name, file.resolve()}
    return all(
        place.is_relative_to(trainer.path) and tracks(place.relative_to(trainer.path).as_posix())
        for place in places
    )


def _in_a_repository(file: Path) -> bool:
    """Whether git may know ``file``; saves a child process."""
    return any((folder / ".git").exists() for folder in file.parents)


def _with_change(state: RepoState, change: HiddenChange) -> RepoState:
    """``state`` with ``change``, unless that is among its changes already."""
    if any(
        change.path == path or (path.endswith("/") and change.path.startswith(path))
        for path in state.dirty
    ):
        return state
    return state._replace(dirty=(*state.dirty, change.path), hidden=(*state.hidden, change))


def _in_no_repository(each: ImportedFile) -> UnrecordedCode:
    return UnrecordedCode(
        f"{each.module} is imported from {each.file}, which no repository holds: no commit would "
        "tell what ran",
        f"make it one: git init {shell_word(each.file.parent)}, and commit it; or --allow-dirty",
    )


def _hidden_packages(imports: Imports, packages: Iterable[str]) -> Iterator[UnrecordedCode]:
    own = {*packages, *(each.module.partition(".")[0] for each in imports.named)}
    for each in imports.under:
        if each.module in own:
            yield UnrecordedCode(
                f"{each.module} is imported from {each.file}, and not from the trainer's folder",
                "see what puts it there: a .pth file, sitecustomize or PYTHONPATH",
            )
