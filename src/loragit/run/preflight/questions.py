"""The questions to other processes before a run: to git and the trainer's Python, all at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.dataset.snapshot import RecordedDataset
from loragit.errors import Area, Findings
from loragit.git import checkout, objects
from loragit.git.checkout import StateQuestion
from loragit.git.identity import IdentityQuestion
from loragit.git.reflog import read_reflog
from loragit.git.repository import Repository
from loragit.record.name import RUNS, RunName
from loragit.record.values import Environment, Identity, LyCORIS, RepoState
from loragit.secrets import find
from loragit.settings.values import Settings
from loragit.store.enclosing import EnclosingQuestion
from loragit.store.free_name import NameQuestion, NameState
from loragit.system import signals
from loragit.trainers import kinds
from loragit.trainers.environment import code
from loragit.trainers.environment.activation import Activation
from loragit.trainers.environment.packages import EnvironmentQuestion

_MOST_RECORD = 1 << 20
"""Bytes of a ``run.toml`` that are read: a ``runs`` that was fetched holds what others wrote."""


class Answers(NamedTuple):
    """The answers; ``None`` where a finding says why there is none."""

    repository: Repository | None
    identities: tuple[Identity, Identity] | None
    """Author and committer."""
    trainer: RepoState | None
    lycoris: LyCORIS | None
    environment: Environment | None
    repositories: tuple[RepoState, ...]
    """Further repositories to record: each once, none that is on record in any case, no two of one
    label."""
    dataset_commit: str | None
    script_tracked: bool | None
    """Whether the trainer's repository tracks the script; ``None`` where there is no repository or
    no script."""
    dataset_branch: str | None
    place: NameState | None
    """What the repository holds where the run would go."""
    unrecorded: tuple[code.UnrecordedCode, ...]
    """Code that will be imported and that no repository holds."""
    missing_modules: tuple[str, ...]
    """Modules that arguments name and that the trainer's Python does not find."""
    enclosing: str | None
    """Why the dataset's repository may not be meant to hold its record."""
    dataset_dirty: int
    """Files below the dataset's folder, tracked or not, that differ from ``dataset_commit``."""
    warnings: tuple[str, ...]

    @property
    def code(self) -> tuple[RepoState, ...]:
        """The repositories of code, each once."""
        states = [self.trainer] if self.trainer else []
        of_lycoris = self.lycoris.repo if self.lycoris else None
        if of_lycoris and of_lycoris.path not in {state.path for state in states}:
            states.append(of_lycoris)
        return (*states, *self.repositories)


class _Code(NamedTuple):
    """The repositories of all code that will be imported."""

    trainer: RepoState | None
    lycoris: LyCORIS | None
    further: tuple[RepoState, ...]
    unrecorded: tuple[code.UnrecordedCode, ...]


class Questions:
    """The questions; they are under way as soon as this is made."""

    def __init__(
        self,
        chosen: Settings,
        findings: Findings,
        name: RunName,
        *,
        script: Path,
        workdir: Path,
        python: Path | None,
        activation: Activation,
        cache: Path,
        home: Path,
    ) -> None:
        self._ask = findings.ask
        self._home = home
        self._activation = activation
        self._trainer_kind = chosen.trainer.kind
        self._lycoris = chosen.trainer.lycoris_repo
        self._named: tuple[str, ...] = ()
        self._environment_asked = False
        self._found: tuple[Environment, LyCORIS] | None = None
        of_environment = partial(
            self._environment_question, python, workdir, script_folder=script.parent, cache=cache
        )
        self._start_code(chosen, script)
        # This takes longest of all to be answered, but a shell that sources scripts need not be
        # waited for yet.
        self._environment = None if activation.waits else of_environment()
        self._start_dataset(chosen, name)
        if activation.waits:
            self._environment = of_environment()

    def _start_code(self, chosen: Settings, script: Path) -> None:
        """The questions about the trainer's repository and the further ones."""
        ask, folder = self._ask, script.parent
        self._trainer = (
            ask(lambda: StateQuestion(folder, chosen.trainer.kind), Area.CODE)
            if folder.is_dir()
            else None
        )
        self._script = script
        further = [
            ask(partial(StateQuestion, folder, folder.name), Area.CODE)
            for folder in chosen.record.repos
        ]
        self._further = [question for question in further if question is not None]

    def _start_dataset(self, chosen: Settings, name: RunName) -> None:
        """The questions about the dataset's repository, its record, and who the user is."""
        found = self._ask(lambda: git.discover(chosen.dataset_dir), Area.REPOSITORY)
        self._repository = found
        self._dirty = checkout.start_dirty(found) if found else None
        self._place = NameQuestion(found, name) if found else None
        self._tree = git.start_tree(RUNS, found) if found else None
        self._table = git.start_file(RUNS, "run.toml", found) if found else None
        self._enclosing = EnclosingQuestion(found) if found else None
        self._identities = IdentityQuestion(chosen.dataset_dir)

    def _environment_question(
        self, python: Path | None, workdir: Path, *, script_folder: Path, cache: Path
    ) -> EnvironmentQuestion | None:
        if python is None or not workdir.is_dir():
            return None
        env = self._activation.environ()
        return self._ask(
            lambda: EnvironmentQuestion(
                python, cwd=workdir, script_folder=script_folder, env=env, cache=cache, modules=True
            ),
            Area.ENVIRONMENT,
        )

    def ask_modules(self, named: Iterable[str], plugins: Iterable[str]) -> None:
        """Ask where the trainer's Python would import modules from: those that arguments name, and
        those that it can do without."""
        self._named = tuple(named)
        if self._environment is not None:
            self._environment.ask_modules((*self._named, *plugins))

    def _missing_modules(self) -> tuple[str, ...]:
        if self._environment is None or self._found is None:
            return ()
        found = {each.module for each in self._environment.imports.named}
        return tuple(name for name in self._named if name not in found)

    def can_import(self, module: str) -> bool:
        """Whether the trainer's Python finds a module that :meth:`ask_modules` asked for. Waits for
        the answer; without one, it is taken to."""
        if self._environment is None or self._environment_answer() is None:
            return True
        return any(each.module == module for each in self._environment.imports.named)

    def _environment_answer(self) -> tuple[Environment, LyCORIS] | None:
        if self._environment is not None and not self._environment_asked:
            self._environment_asked = True
            self._found = self._ask(self._environment.answer, Area.ENVIRONMENT)
        return self._found

    @property
    def environ(self) -> Mapping[str, str]:
        """The trainer's environment."""
        return self._activation.environ()

    def recorded(self, secrets_known: Iterable[str]) -> RecordedDataset:
        """What ``runs`` holds of this dataset already.

        No captions that have to be read again: some are redacted there, nobody looked for
        ``secrets_known`` in them, or somebody else put them there, who may have put others than
        those of which the hashes are.
        """
        items = git.read_tree(self._tree) if self._tree else {}
        digest, captions = items.get("dataset.sha256"), items.get("captions")
        table = self._table.beginning(_MOST_RECORD) if self._table else b""
        masked = b'"captions/' in table or len(table) == _MOST_RECORD
        if (
            masked
            or find.distinctive(secrets_known)
            or not (self._repository and _made_here(self._repository))
            # A tree that is here may name captions that are not.
            or git.is_partial(self._repository.common_dir)
        ):
            captions = None
        return RecordedDataset(
            digest.id if digest else None,
            captions.id if captions else None,
            frozenset(
                path
                for path, item in items.items()
                if path.startswith("captions/") and not item.folder
            ),
        )

    def answers(self) -> Answers:
        """Wait for all of them. What went wrong becomes a finding."""
        ask, dirty = self._ask, self._dirty
        # pygit2 takes longest to import of all, and from here on this process mostly waits. Not
        # earlier: an import and ten thousand system calls take the interpreter's lock from each
        # other, and both lose. Signals wait for its end: an interruption while two threads import
        # leaves a lock that nobody opens again.
        with signals.postponed():
            loading = threading.Thread(target=objects.load)
            loading.start()
            report = ask(lambda: checkout.read_dirty(dirty), Area.REPOSITORY) if dirty else None
            trainer = ask(self._trainer_state, Area.CODE)
            place = ask(self._place.answer, Area.REPOSITORY) if self._place else None
            identities = ask(self._identities.answer, Area.REPOSITORY)
            further = [ask(question.answer, Area.CODE) for question in self._further]
            loading.join()
        found = self._environment_answer()
        held = self._held_code(trainer, found[1] if found else None, further)
        trainer, lycoris = held.trainer, held.lycoris
        known = [trainer, lycoris.repo if lycoris else None]
        recorded = [state.path for state in known if state] + (
            [self._repository.top] if self._repository else []
        )
        return Answers(
            repository=self._repository,
            identities=identities,
            trainer=trainer,
            lycoris=lycoris,
            environment=found[0] if found else None,
            repositories=tuple(_distinct(held.further, recorded, trainer)),
            place=place,
            enclosing=self._not_meant(trainer),
            script_tracked=self._script_tracked(trainer),
            unrecorded=held.unrecorded,
            missing_modules=self._missing_modules(),
            dataset_branch=report.branch if report else None,
            dataset_commit=report.commit if report else None,
            dataset_dirty=len(report.changed) + len(report.untracked) if report else 0,
            warnings=(*self._activation.warnings, *self._misnamed(lycoris)),
        )

    def _trainer_state(self) -> RepoState | None:
        if self._trainer is None:
            return None
        state = self._trainer.answer()
        label = kinds.repository_label(self._trainer_kind, state.path, self._trainer.folder)
        # The record has a patch for each label, and LyCORIS has its own.
        return state._replace(label=f"{label}-2" if label.casefold() == "lycoris" else label)

    def _not_meant(self, trainer: RepoState | None) -> str | None:
        if self._enclosing is None or self._repository is None:
            return None
        top = self._repository.top
        trainers = [trainer.path] if trainer else []
        if any(each.checkout.recognises(top) for each in kinds.all_trainers()):
            trainers.append(top)
        return self._enclosing.answer(self._home, trainers)

    def _script_tracked(self, trainer: RepoState | None) -> bool | None:
        """Not by the file's full path, which may go through a link."""
        if trainer is None or self._trainer is None or not os.path.isfile(self._script):
            return None
        path = os.path.relpath(self._script.parent.resolve() / self._script.name, trainer.path)
        return self._trainer.tracks(path)

    def _held_code(
        self,
        trainer: RepoState | None,
        lycoris: LyCORIS | None,
        further: Iterable[RepoState | None],
    ) -> _Code:
        others = tuple(state for state in further if state is not None)
        plain = _Code(trainer, lycoris, others, ())
        if trainer is None or self._environment is None:
            return plain
        imported = partial(self._imported, trainer, lycoris, others)
        return self._ask(imported, Area.CODE) or plain

    def _imported(
        self, trainer: RepoState, lycoris: LyCORIS | None, others: tuple[RepoState, ...]
    ) -> _Code:
        """With what the trainer's Python says."""
        assert self._environment is not None
        assert self._trainer is not None
        repo = lycoris.repo if lycoris else None
        states = [trainer, *([repo] if repo else []), *others]
        signs = kinds.trainer_of(self._trainer_kind).checkout.landmarks
        held = code.imported_code(
            self._environment.imports,
            states,
            self._trainer.tracks,
            [path.partition("/")[0] for path in signs if "/" in path],
        )
        first, *rest = held.states
        if lycoris is not None and repo is not None:
            lycoris = lycoris._replace(repo=rest.pop(0))
        return _Code(first, lycoris, (*rest, *held.further), held.unrecorded)

    def _misnamed(self, lycoris: LyCORIS | None) -> Iterator[str]:
        """What is recorded is what the trainer's Python imports, whatever the settings say of
        LyCORIS."""
        if self._lycoris is None or lycoris is None:
            return
        if lycoris.repo is None or lycoris.repo.path != self._lycoris.resolve():
            found = (
                f"from {lycoris.repo.path}"
                if lycoris.repo
                else "as a package"
                if lycoris.installed
                else "nowhere"
            )
            yield (
                f"{self._lycoris} is named as LyCORIS, but the trainer's Python finds it "
                f"{found}: that is recorded"
            )


def _made_here(repository: Repository) -> bool:
    """Whether a run that was opened here is the tip of ``runs``; with several datasets, all that
    led there too."""
    moves = read_reflog(repository.common_dir, RUNS)
    ours = not repository.prefix or all(move.why.startswith("loragit: ") for move in moves)
    return ours and bool(moves) and moves[-1].why.startswith("loragit: open ")


def _distinct(
    states: Iterable[RepoState], recorded: Iterable[Path], trainer: RepoState | None
) -> Iterator[RepoState]:
    """``states`` without those that are ``recorded``, each labelled by its folder's name, with a
    number if it must be.

    File names are made of labels, and not every file system tells capitals from small letters.
    """
    seen, labels = set(recorded), {"lycoris", *([trainer.label.casefold()] if trainer else [])}
    for state in states:
        if state.path in seen:
            continue
        seen.add(state.path)
        name = label = state.path.name or "repository"
        number = 1
        while label.casefold() in labels:
            number += 1
            label = f"{name}-{number}"
        labels.add(label.casefold())
        yield state._replace(label=label)
