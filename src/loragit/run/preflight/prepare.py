"""Everything that can be known before a run begins: all findings together, or a run that is ready
to go.

Nothing is written here but caches, and what the user agreed to. Questions to git, to the trainer's
Python and to the disk are under way at the same time: together they cost what the slowest costs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import git, text
from loragit.dataset.hashes import Cache
from loragit.errors import Area, Finding, Findings, LoragitError, UsageError
from loragit.git import checkout, objects
from loragit.git.repository import Repository
from loragit.record import run_toml
from loragit.record.name import RUNS, RunName
from loragit.record.values import Ancestor, Entry, Identity, LyCORIS, RepoState, Run
from loragit.run.preflight import ancestors, disclosure, inputs, launch, trust
from loragit.run.preflight.inputs import Inputs
from loragit.run.preflight.questions import Answers, Inquiry
from loragit.run.preflight.trust import Agree
from loragit.secrets import find
from loragit.settings import load, paths
from loragit.settings.load import Flags, Settings
from loragit.store import free_name
from loragit.trainers import kinds, trainer
from loragit.trainers.environment import packages, pythons
from loragit.trainers.environment.activation import activate
from loragit.trainers.start import Start

MIN_FREE = 256 * 1024 * 1024
"""Bytes that must be free where the models will be written: one small adapter with its samples and
log."""
MIN_FREE_RECORD = 16 * 1024 * 1024
"""Bytes that must be free where the record will be written."""
SCRIPT = "train.sh"


class Request(NamedTuple):
    """What the command line asks of ``train``."""

    name: str
    flags: Flags
    environ: Mapping[str, str]
    cwd: Path
    extra: tuple[str, ...] = ()
    """Arguments after ``--``, for the trainer."""
    bump: bool = False
    script: str | None = None
    """The user's own script, which runs in place of the trainer's; relative to ``cwd``."""
    from_script: str | None = None
    """The user's own script that stands behind this run, to be recorded in place of
    ``train.sh``."""
    trusted: bool = False
    """Whether the user agrees to what the dataset's own files start and read."""
    agree: Agree | None = None
    """Asks the user for that; ``None`` where there is nobody to ask."""


class OptionsConflict(UsageError):
    """Options that say different things of what is to run."""


class InsideRun(LoragitError):
    """loragit was started by a run of its own."""


class PreflightFailed(LoragitError):
    """There are reasons not to start. All of them are told at once."""

    def __init__(self, name: str, findings: tuple[Finding, ...]) -> None:
        problems = text.count(len(findings), "problem")
        super().__init__(
            f"{name} was not started, nothing was written: {problems} found", findings=findings
        )


class Ready(NamedTuple):
    """A run that may start."""

    run: Run
    start: Start
    settings: Settings
    repository: Repository
    author: Identity
    committer: Identity
    environ: Mapping[str, str]
    """The trainer's environment."""
    warnings: tuple[Finding, ...]
    secret_values: tuple[str, ...]
    """What must not reach the log or the record."""
    given: Run
    """As ``run``, but with the bytes that the trainer gets, where the record has ``***`` for a
    secret."""
    read: Inputs
    """The user's files as they were read."""

    def __repr__(self) -> str:
        """The name alone, for a traceback must not show a secret."""
        return f"Ready({self.run.name!r})"

    @property
    def output(self) -> Path:
        return self.start.output

    @property
    def copies(self) -> tuple[Entry, ...]:
        """What loragit itself puts into the output folder."""
        kept = {self.given.config, self.given.prompts, self.given.script}
        files = [e for e in self.given.entries if e.path in kept or e.path.startswith("inputs/")]
        return (*files, Entry("repos.git", run_toml.repos_git(self.given)))


def prepare(request: Request) -> Ready:
    """Look at everything. Raises :class:`PreflightFailed`, or what is wrong with the name or the
    settings."""
    _refuse_conflicts(request)
    name = RunName.parse(request.name)
    chosen = load.load(name=name, flags=request.flags, environ=request.environ, cwd=request.cwd)
    if request.bump:
        name = _bumped(name, chosen)
        chosen = load.load(name=name, flags=request.flags, environ=request.environ, cwd=request.cwd)
    return _Preflight(request, name, chosen).ready()


def _refuse_conflicts(request: Request) -> None:
    """Raises :class:`OptionsConflict`, :class:`InsideRun`."""
    other = "--trainer-script" if request.flags.trainer_script is not None else "--from-script"
    if request.script is not None and (
        request.from_script is not None or other == "--trainer-script"
    ):
        raise OptionsConflict(
            f"--script and {other} cannot both be given", hint="--script says all of what runs"
        )
    if running := request.environ.get("LORAGIT_RUN"):
        raise InsideRun(
            f"this is started by the run {text.shown(running)}, and would record it twice",
            hint="let the script start the trainer itself, or start the script without loragit "
            "train --script",
        )


def _bumped(name: RunName, chosen: Settings) -> RunName:
    """The next version that neither a tag nor an output folder has."""
    repository = git.discover(chosen.dataset_dir)
    try:
        folders = {folder.name for folder in chosen.paths.output.iterdir()}
    except OSError:  # not there yet, or not ours to list
        folders = set()
    return name.bumped(free_name.names_taken(repository) | folders)


def caches() -> Path:
    """Where fingerprints and package lists are kept between runs; nothing there is ever needed."""
    import platformdirs

    return platformdirs.user_cache_path("loragit")


class _Preflight:
    """One look at everything that one run needs."""

    def __init__(self, request: Request, name: RunName, chosen: Settings) -> None:
        self.request = request
        self.name = name.text
        self.model = name
        self.settings = chosen
        self.home = request.environ.get("HOME", "")
        self.findings = Findings()
        self.warnings: list[Finding] = []
        self.hide = find.Redactor(())

    def ready(self) -> Ready:
        """The run, ready to start. Raises :class:`PreflightFailed`."""
        chosen, findings = self.settings, self.findings
        trusted = trust.settle(trust.of_settings(chosen), self.request.agree, findings)
        own = findings.ask(self._own_script, Area.TRAINER)
        if self.request.script is None:
            script = launch.find_script(chosen, findings)
            workdir = launch.find_workdir(chosen, script)
        else:
            script, workdir = launch.find_repo(chosen, findings), self.request.cwd
        found = findings.ask(
            lambda: pythons.find_python(chosen.trainer, self.request.environ), Area.ENVIRONMENT
        )
        python = found if trusted else None
        activation = activate(chosen.trainer, python, self.request.environ)
        asked = Inquiry(
            chosen,
            findings,
            self.model,
            script=script,
            workdir=workdir,
            python=python,
            activation=activation,
            cache=caches() / "environments",
        )
        environ = dict(asked.environ)
        plan = findings.ask(lambda: self._plan(workdir), Area.SETTINGS)
        output = self._output(plan)
        program = None
        if python:
            program = findings.ask(lambda: self._program(python, script, environ), Area.TRAINER)
        hashes = Cache(caches() / "hashes")
        words = (*plan.arguments.words(), *self.request.extra) if plan else ()
        known = find.secret_values(words, environ)
        read = (
            inputs.read(plan, chosen, workdir, asked.recorded(known), hashes, findings)
            if plan
            else None
        )
        if plan and read:
            trust.settle(read.outside(plan, chosen.dataset_dir), self.request.agree, findings)
        answers = asked.answers()
        self._judge(answers, plan)
        if plan is None or read is None or program is None or findings.all():
            raise PreflightFailed(self.name, findings.all())
        self._warn(read.warnings, Area.DATASET)
        self._warn(answers.warnings, Area.SETTINGS)
        if chosen.record.allow_secrets:
            files = (*read.entries, *([own] if own else []))
            known = tuple(dict.fromkeys((*known, *disclosure.values(files))))
        self.hide = find.Redactor(known)
        start = self._start(plan, read, program, workdir, output)
        start = start._replace(held=find.variables(environ), hidden=known)
        if self.request.script is not None:
            lycoris = (
                answers.lycoris.repo.path if answers.lycoris and answers.lycoris.repo else None
            )
            environ |= launch.own_variables(self.name, chosen, output, lycoris)
        given = self._run(start, read, answers, own)
        sources = self._sources(read, answers, own)
        disclosed = disclosure.look(
            given, known, sources, allow=chosen.record.allow_secrets, findings=findings
        )
        self._warn(disclosed.warnings, Area.SECRETS)
        if findings.all():
            raise PreflightFailed(self.name, findings.all())
        assert answers.repository and answers.identities
        return Ready(
            run=disclosed.run,
            start=start,
            settings=chosen,
            repository=answers.repository,
            author=answers.identities[0],
            committer=answers.identities[1],
            environ=environ,
            warnings=tuple(self.warnings),
            secret_values=known,
            given=given,
            read=read,
        )

    def _warn(self, problems: Iterable[str], area: Area) -> None:
        self.warnings += (Finding(problem, None, area) for problem in problems)

    def _own_script(self) -> Entry | None:
        """The user's own script as it will be recorded. Raises
        :class:`~loragit.run.preflight.launch.UnusableScript`."""
        request = self.request
        written = request.script if request.script is not None else request.from_script
        if written is None:
            return None
        path = self._written(written)
        entry = launch.read_script(path)
        if request.script is not None:
            launch.check_program(path, entry.data, request.environ)
        return entry

    def _written(self, path: str) -> Path:
        return launch.plain(paths.expanded(path, self.request.cwd, self.request.environ))

    def _program(self, python: Path, script: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
        if self.request.script is not None:
            return (str(self._written(self.request.script)),)
        return launch.program(self.settings, python, script, environ)

    def _plan(self, workdir: Path) -> trainer.Plan:
        request = self.request
        own_script = request.flags.trainer_script is not None or request.script is not None
        extra = request.extra if request.script is None else ()
        return launch.plan(
            self.name, self.settings, extra, workdir, self.home, own_script=own_script
        )

    def _output(self, plan: trainer.Plan | None) -> Path:
        """The run's output folder: it must not exist yet, and there must be room for it."""
        output = self.settings.output_dir
        if plan is not None and plan.output is not None and self.request.flags.output is None:
            output = plan.output
        assert output is not None
        output = launch.plain(output)
        if os.path.lexists(output):
            self.findings.add(
                f"the output folder {output} exists already",
                "take another version (--bump takes the next), or move the folder away",
                Area.OUTPUT,
            )
        launch.check_room(output, MIN_FREE, "models", self.findings)
        return output

    def _judge(self, answers: Answers, plan: trainer.Plan | None) -> None:
        """What the answers of git and of the trainer's Python mean for the run."""
        for state in answers.code:
            area = Area.TRAINER if state is answers.trainer else Area.CODE
            self.warnings += launch.judge_code(
                state, area, self.findings, allow_dirty=self.settings.record.allow_dirty
            )
        module = plan.network_module if plan else None
        wants_lycoris = module is not None and module.split(".")[0] == "lycoris"
        if wants_lycoris and answers.lycoris is not None and not answers.lycoris.installed:
            self.findings.add(
                f"network_module is {module}, but the trainer's Python finds no LyCORIS",
                "install it in that environment: pip install lycoris-lora",
                Area.SETTINGS,
            )
        if plan is not None:
            self._warn(list(plan.warnings), Area.SETTINGS)
        if answers.script_tracked is False and self.request.script is None:
            self.findings.add(
                f"the trainer's repository does not hold {self.settings.trainer.script}: no "
                "commit would tell what ran",
                "commit it there (git add --force where it is ignored)",
                Area.TRAINER,
            )
        repository = answers.repository
        if repository is not None:
            launch.check_room(repository.common_dir, MIN_FREE_RECORD, "record", self.findings)
            self.findings.ask(lambda: objects.Objects(repository.git_dir), Area.REPOSITORY)
        if answers.dataset_branch == RUNS.removeprefix("refs/heads/"):
            self.findings.add(
                "the dataset's repository is on the branch runs",
                "check out another: git switch -c main",
                Area.RECORD,
            )
        place = answers.place
        if place is not None and place.taken:
            from loragit.history import history

            see = f"see it with: loragit show {self.name}"
            if repository is not None and history.interrupted(repository, self.name):
                see = "its loragit is gone; finish it with: loragit recover"
            self.findings.add(place.taken, f"{see}; --bump takes the next version", Area.NAME)
        if place is not None and place.blocked:
            self.findings.add(place.blocked, place.unblock, Area.RECORD)

    def _start(
        self,
        plan: trainer.Plan,
        read: Inputs,
        program: tuple[str, ...],
        workdir: Path,
        output: Path,
    ) -> Start:
        return Start(
            name=self.name,
            program=program,
            trainer=kinds.of(self.settings.trainer.kind),
            plan=plan,
            workdir=workdir,
            output=output,
            steps=plan.steps or self.settings.steps or 0,
            config=read.config.path,
            prompts=read.prompts.path if read.prompts else None,
            inputs={path: entry.path for path, entry in read.further},
            home=self.home,
            own=None if self.request.script is None else self.request.extra,
        )

    def _run(self, start: Start, read: Inputs, answers: Answers, own: Entry | None) -> Run:
        """The run as it will be recorded."""
        assert answers.trainer and answers.environment and answers.lycoris and answers.repository
        script = self.settings.trainer.repo / self.settings.trainer.script
        if self.request.script is not None:
            script = Path(start.program[0])
        recorded = own or Entry(SCRIPT, start.script(), executable=True)
        run = Run(
            name=self.name,
            model=self.model.model,
            dataset=self.settings.dataset,
            prefix=answers.repository.prefix,
            version=self.model.version,
            steps=start.steps,
            epochs=start.plan.epochs,
            trainer=self._portable(answers.trainer),
            trainer_kind=self.settings.trainer.kind,
            trainer_script=launch.relative(script, answers.trainer.path, self.home),
            lycoris=self._portable_lycoris(answers.lycoris),
            dataset_commit=answers.dataset_commit,
            dataset_dirty=answers.dataset_dirty,
            images=read.dataset.images,
            captions=read.dataset.captions,
            argv=start.recorded(),
            workdir=text.home_as_tilde(str(start.workdir), self.home),
            weights=tuple(
                weights._replace(name=self.hide(weights.name)) for weights in read.weights
            ),
            config=start.config,
            prompts=start.prompts,
            script=recorded.path,
            entries=(),
            repositories=tuple(self._portable(state) for state in answers.repositories),
            ancestors=self._ancestors(start, read),
        )
        config = read.config._replace(data=start.config_copy(read.config.data))
        entries = [config, *read.entries[1:], recorded]
        entries.append(Entry("environment.txt", packages.environment_text(answers.environment)))
        entries.append(Entry("dataset.sha256", read.dataset.digest))
        entries += [
            Entry(checkout.patch_path(s), checkout.patch(s)) for s in answers.code if s.dirty
        ]
        kept = (("captions", read.dataset.kept),) if read.dataset.kept else ()
        return run._replace(entries=(*entries, *read.dataset.entries), kept=kept)

    def _ancestors(self, start: Start, read: Inputs) -> tuple[Ancestor, ...]:
        """The runs that this one goes on from."""
        found = ancestors.starts(start.plan.weights, read.weights, start.workdir)
        return ancestors.ancestors(
            found, self.settings.paths.datasets, self.settings.dataset_dir, self.request.environ
        )

    def _sources(self, read: Inputs, answers: Answers, own: Entry | None) -> disclosure.Sources:
        """The user's own files that the record is made of."""
        written = (
            self.request.script if self.request.script is not None else self.request.from_script
        )
        scripts = {own.path: self._written(written)} if own and written is not None else {}
        patched = tuple((checkout.patch_path(state), state.path) for state in answers.code)
        return disclosure.Sources({**read.sources, **scripts}, read.dataset.folders, patched)

    def _portable(self, state: RepoState) -> RepoState:
        """A remote may be a folder of the user's."""
        return (
            state
            if state.url is None
            else state._replace(url=text.home_as_tilde(self.hide(state.url), self.home))
        )

    def _portable_lycoris(self, lycoris: LyCORIS) -> LyCORIS:
        url = None if lycoris.url is None else text.home_as_tilde(self.hide(lycoris.url), self.home)
        return lycoris._replace(
            url=url, repo=self._portable(lycoris.repo) if lycoris.repo else None
        )
