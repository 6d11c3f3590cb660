"""The plan of an import: everything is read and all problems are known before anything is
written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from loragit import text
from loragit.dataset.hashes import HashCache
from loragit.errors import Area, Finding, Findings, LoragitError, UsageError
from loragit.git.repository import Repository
from loragit.record import imported, message
from loragit.record.name import InvalidName, RunName
from loragit.record.values import Imported, ImportedCode, Outcome, Weights
from loragit.run.importing import names, search, text_files, training, zsh_helpers
from loragit.run.importing.models import Models
from loragit.run.importing.targets import Confirm, Target, Targets, TrainingMarks, marks_of
from loragit.run.importing.training import PastTraining, TrainingTimes
from loragit.secrets import find, redact
from loragit.settings import load, paths
from loragit.settings.values import Flags, Settings

_LONG = 2_000_000_000
"""Size in bytes from which reading takes seconds."""

NEW = "new"
ON_RECORD = "on record"
EMPTY = "empty"
LEFT_OUT = "left out"
STATES = (NEW, ON_RECORD, EMPTY, LEFT_OUT)


class ImportRequest(NamedTuple):
    """The arguments of ``import``."""

    paths: tuple[str, ...]
    dataset: str | None
    name: str | None
    environ: Mapping[str, str]
    cwd: Path
    cache: Path
    """Folder of the cache of known file hashes."""
    confirm: Confirm | None = None
    """Asks whether the repository around a dataset is meant; ``None`` where nobody can be asked."""


class ImportItem(NamedTuple):
    """One training that was found."""

    name: str
    source: str
    """Its location, with the home folder written as ``~``."""
    dataset: str | None
    """Name of the dataset; ``None`` if unknown."""
    started: datetime | None
    state: str
    """:data:`NEW`; :data:`ON_RECORD`; :data:`EMPTY` (it made nothing); or :data:`LEFT_OUT` because
    of a problem."""
    note: str
    """Its products, or why it is not imported."""
    run: Imported | None = None
    """Set for a new training only."""
    target: Target | None = None


class ImportPlan(NamedTuple):
    """What an import would do."""

    items: tuple[ImportItem, ...]
    """Sorted by time, items without a time last."""
    warnings: tuple[str, ...]
    problems: tuple[Finding, ...]


class _LeftOut(Exception):
    """This training is not imported. Never leaves this module."""

    def __init__(self, state: str, note: str, hint: str | None = None) -> None:
        super().__init__(note)
        self.state = state
        self.note = note
        self.hint = hint


def plan_import(request: ImportRequest, say: Callable[[str], None]) -> ImportPlan:
    """Read everything and return the plan. Writes nothing but caches. Raises :class:`LoragitError`
    if no plan can be made at all.

    ``say`` is called with a line about each step that takes long.
    """
    findings = Findings()
    models = Models(HashCache(request.cache))
    home = request.environ.get("HOME", "")
    written_paths = [
        _plain(paths.expand_path(written, request.cwd, request.environ))
        for written in request.paths
    ]
    there = search.find_sources(written_paths, findings)
    if (size := search.model_bytes(there)) >= _LONG:
        say(f"reading {size / 1e9:.1f} GB of models in {text.count(len(there), 'folder')}")
    found = [each for place in there for each in training.past_trainings(place, models, findings)]
    models.keep()
    found.sort(
        key=lambda each: (
            each.span is None,
            each.span.started.timestamp() if each.span else 0,
            each.name,
        )
    )
    judge = _Planner(request, home, findings)
    items = tuple(judge.item(each) for each in found)
    _refuse_one_name_for_several(request.name, found, items)
    return ImportPlan(items, (*judge.renamed, *_warnings(found, home)), findings.all())


def _refuse_one_name_for_several(
    name: str | None, found: Sequence[PastTraining], items: Iterable[ImportItem]
) -> None:
    """Those that made nothing or are on record already need no name."""
    unnamed = [
        each for each, item in zip(found, items, strict=True) if item.state in (NEW, LEFT_OUT)
    ]
    if name is not None and len(unnamed) > 1:
        called = text.listed([each.name for each in unnamed], 3)
        raise UsageError(
            f"--name {name} cannot name {len(unnamed)} trainings: {called}",
            hint="name the folder of the one that is meant, or one of its models",
        )


def _warnings(found: Iterable[PastTraining], home: str) -> Iterator[str]:
    for each in found:
        if each.others and each.made_something:
            where = text.home_as_tilde(str(each.folder), home)
            yield (
                f"{where} also holds models of another training, left out: "
                f"{text.listed(each.others, 3)}"
            )


def _plain(path: Path) -> Path:
    """Return ``path`` without ``..``, so that it ends with its target's name."""
    return path.resolve() if ".." in path.parts else path


class _Planner:
    """Decides about each training, the oldest first; later decisions take earlier ones into
    account."""

    def __init__(self, request: ImportRequest, home: str, findings: Findings) -> None:
        self._request = request
        self._home = home
        self._findings = findings
        self._hide = redact.Redactor(())
        self._targets = Targets(paths.home_of(request.environ), request.confirm)
        self._chosen: dict[tuple[Path, str], str] = {}
        """Source of each new run, keyed by repository and name."""
        self._marks: list[tuple[Path, TrainingMarks]] = []
        self.renamed: list[str] = []
        """A warning for each new run that is not called as its training was."""

    def item(self, left: PastTraining) -> ImportItem:
        source = self._hide(text.home_as_tilde(str(left.source), self._home))
        name = self._request.name or left.name
        item = ImportItem(name, source, None, left.span.started if left.span else None, NEW, "")
        try:
            self._products(left)
            run_name = self._name(name)
            chosen = self._settings(run_name, left)
            item = item._replace(name=run_name.text, dataset=chosen.dataset_dir.name)
            item = self._new(left, run_name, self._targets.of(chosen), item)
            if run_name.text != name:
                self.renamed.append(f"{name!r} cannot name a run: it becomes {run_name}")
            return item
        except _LeftOut as reason:
            note, hint = reason.note, reason.hint
            item = item._replace(state=reason.state, note=note)
        except LoragitError as error:
            note, hint = error.message, error.hint
            item = item._replace(state=LEFT_OUT, note=note)
        if item.state == LEFT_OUT:
            self._findings.add(f"{source}: {note}", hint, Area.OUTPUT)
        return item

    def _new(
        self, left: PastTraining, name: RunName, target: Target, item: ImportItem
    ) -> ImportItem:
        """Return ``item`` as it would be imported. Raises :class:`_LeftOut` or
        :class:`LoragitError`."""
        marks = marks_of(left, name, item.source)
        self._not_on_record(target, marks)
        span = left.span
        if span is None:
            raise _LeftOut(
                LEFT_OUT,
                "its header tells nothing of a training",
                "put beside it what else is left of the training (repos.git, config.toml), and "
                "import the folder",
            )
        run = self._run(left, name, target.repository, item, span)
        self._free(target, name)
        self._no_secrets(run)
        top = target.repository.common_dir
        self._chosen[top, name.text] = item.source
        self._marks.append((top, marks))
        return item._replace(note=message.outcome_subject(run.outcome), run=run, target=target)

    def _products(self, left: PastTraining) -> None:
        if not left.trainer.importable:
            raise _LeftOut(
                LEFT_OUT,
                f"{left.trainer.kind} made it, whose earlier trainings cannot be imported",
                f"only what loragit trains with {left.trainer.kind} is recorded",
            )
        if left.made_something:
            return
        if left.judged.truncated:
            cut = ", ".join(left.judged.truncated[:3])
            raise _LeftOut(
                LEFT_OUT, f"nothing in it is whole: {cut}", "see whether another copy is"
            )
        raise _LeftOut(EMPTY, "made nothing: neither a model nor a state nor a sample is in it")

    def _name(self, written: str) -> RunName:
        try:
            return RunName.parse(written) if self._request.name else names.as_run_name(written)
        except LoragitError as error:
            raise _LeftOut(
                LEFT_OUT, error.message, "import it alone, with a name: --name NAME"
            ) from error

    def _settings(self, name: RunName, left: PastTraining) -> Settings:
        """Return the settings of the dataset: that of the flag or variable, else that of the old
        record, else the one that ``train`` would find."""
        flag = self._request.dataset
        environ = self._request.environ
        if flag is None and not environ.get("TRAINING_DIR"):
            named = zsh_helpers.dataset_folders(
                left.text_files.repos, left.text_files.script, self._home
            )
            flag = next(
                (str(place) for place in named if place != left.folder and os.path.isdir(place)),
                None,
            )
        try:
            # Some old names give no steps, and nothing here depends on them.
            flags = Flags(dataset=flag, steps=1)
            return load.load_settings(
                name=name, flags=flags, environ=environ, cwd=self._request.cwd
            )
        except (paths.DatasetNotFound, paths.DatasetAmbiguous, InvalidName) as error:
            raise _LeftOut(
                LEFT_OUT,
                f"its dataset is not known: {error.message}",
                "say which it is with --dataset",
            ) from error

    def _not_on_record(self, target: Target, marks: TrainingMarks) -> None:
        top = target.repository.common_dir
        known = target.recorded.find(marks)
        if known is not None:
            what = "on record" if known.name == marks.name else f"on record as {known.name}"
            gone = "" if known.has_tag else "; its tag is gone, and it is left as it is"
            raise _LeftOut(ON_RECORD, what + gone)
        for place, other in self._marks:
            if place == top and marks.same(other):
                raise _LeftOut(ON_RECORD, f"the same training as {other.source}")

    def _free(self, target: Target, name: RunName) -> None:
        top = target.repository.common_dir
        place = target.names.of(name)
        if place.blocked:
            raise _LeftOut(LEFT_OUT, place.blocked, place.unblock)
        taken = place.taken
        if (top, name.text) in self._chosen:
            taken = f"{name} is also what {self._chosen[top, name.text]} is called"
        if taken:
            raise _LeftOut(
                LEFT_OUT,
                f"{taken}, and that is another training",
                "import it alone, with another name: --name NAME",
            )

    def _run(
        self,
        left: PastTraining,
        name: RunName,
        repository: Repository,
        item: ImportItem,
        span: TrainingTimes,
    ) -> Imported:
        codes = _codes(left)
        entries, redacted = list(left.text_files.entries), list(left.text_files.redacted)
        missing = [*training.missing(left), *_missing_codes(left, codes)]
        kept = training.metadata_file(left)
        if kept is not None:
            entry, had_secrets = text_files.redacted_entry(kept.entry)
            assert entry is not None
            entries.append(entry)
            redacted += [entry.path] if had_secrets else []
            missing += [f"{cut} of the header" for cut in kept.cut]
        last = left.trainings[-1] if left.trainings else None
        steps = name.steps or next((each.steps for each in left.trainings if each.steps), None)
        return Imported(
            name=name,
            dataset=item.dataset or "",
            prefix=repository.prefix,
            steps=steps,
            kind=left.trainer.kind,
            trainer=codes.trainer,
            lycoris=codes.lycoris,
            others=codes.others,
            weights=self._shown_weights(last.weights) if last else (),
            network=self._hide(last.network) if last and last.network else None,
            arguments=self._shown_arguments(last.arguments.options) if last else {},
            sessions=left.sessions,
            sha1s=left.text_files.sha1s,
            entries=tuple(entries),
            source=item.source,
            missing=tuple(missing),
            redacted=tuple(redacted),
            outcome=self._outcome(left, span),
        )

    def _shown_arguments(
        self, found: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, tuple[str, ...]]:
        return {name: tuple(map(self._hide, values)) for name, values in found.items()}

    def _shown_weights(self, found: Iterable[Weights]) -> tuple[Weights, ...]:
        return tuple(Weights(each.role, self._hide(each.name), each.sha256) for each in found)

    def _outcome(self, left: PastTraining, span: TrainingTimes) -> Outcome:
        return Outcome(
            exit_status=None,
            started=span.started,
            finished=span.finished,
            output=self._hide(text.home_as_tilde(str(left.folder), self._home)),
            **left.judged._asdict(),
            states=left.states,
            state_weights=left.state_weights,
            samples=left.samples,
            sample_files=left.sample_files,
            final_loss=left.final_loss,
        )

    def _no_secrets(self, run: Imported) -> None:
        """Names of files and folders are not redacted: the record would no longer lead to them."""
        now = datetime.now(UTC)
        texts = (
            imported.imported_message(run, now),
            message.outcome_message(run.name.text, run.outcome),
        )
        found = find.find_secrets("\n".join(texts).encode("utf-8", "surrogateescape"))
        if found:
            raise _LeftOut(
                LEFT_OUT,
                "the name of a file or folder in it holds what looks like a secret "
                f"({found[0].kind})",
                "rename it",
            )


def _codes(left: PastTraining) -> zsh_helpers.Codes:
    """Return the repositories listed in ``repos.git``; if it has no trainer commit, take that of
    the models' headers."""
    codes = zsh_helpers.sorted_codes(left.text_files.repos.repositories)
    commit = next((each.commit for each in reversed(left.trainings) if each.commit), None)
    if codes.trainer is None and commit is not None:
        codes = codes._replace(trainer=ImportedCode(left.trainer.kind, commit, None))
    return codes


def _missing_codes(left: PastTraining, codes: zsh_helpers.Codes) -> list[str]:
    module = next((each.network for each in left.trainings if each.network), "")
    lost = [] if codes.trainer else ["trainer commit"]
    return lost + (
        ["LyCORIS commit"] if module.startswith("lycoris") and codes.lycoris is None else []
    )
