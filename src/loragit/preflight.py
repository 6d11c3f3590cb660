"""Everything that can be known before a run begins: all findings together, or a run that is ready to go.

Nothing is written here but caches. Questions to git, to the trainer's Python and to the disk are under way at the
same time: together they cost what the slowest costs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from loragit import checkout, environment, git, inputs, process, repo, secrets, settings, snapshot, store, text
from loragit.activation import activate
from loragit.errors import Finding, Findings, LoragitError
from loragit.fingerprint import Cache
from loragit.git import Repository
from loragit.inputs import Inputs
from loragit.inquiry import Answers, Inquiry
from loragit.names import RUNS, RunName
from loragit.record import Entry, Identity, LyCORIS, RepoState, Run
from loragit.settings import Flags, Settings
from loragit.trainers import arguments, sd_scripts
from loragit.trainers.start import Start

MIN_FREE = 256 * 1024 * 1024
"""Bytes that must be free where the models will be written: one small adapter with its samples and log."""
MIN_FREE_RECORD = 16 * 1024 * 1024
"""Bytes that must be free where the record will be written."""
SCRIPT = "train.sh"
_SHOWN_DIRTY = 5
_SHOWN_SECRETS = 3


class Request(NamedTuple):
    """What the command line asks of ``train``."""

    name: str
    flags: Flags
    environ: Mapping[str, str]
    cwd: Path
    extra: tuple[str, ...] = ()
    """Arguments after ``--``, for the trainer."""
    bump: bool = False


class PreflightFailed(LoragitError):
    """There are reasons not to start. All of them are told at once."""

    def __init__(self, name: str, findings: tuple[Finding, ...]) -> None:
        problems = text.count(len(findings), "problem")
        super().__init__(f"{name} was not started, nothing was written: {problems} found", findings=findings)


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
    warnings: tuple[str, ...]
    secret_values: tuple[str, ...]
    """What must not reach the log or the record."""

    def __repr__(self) -> str:
        """The name alone, for a traceback must not show a secret."""
        return f"Ready({self.run.name!r})"

    @property
    def output(self) -> Path:
        return self.start.output

    @property
    def output_files(self) -> tuple[Entry, ...]:
        """What loragit itself puts into the output folder."""
        kept = {self.run.config, self.run.prompts, self.run.script}
        files = [e for e in self.run.entries if e.path in kept or e.path.startswith("inputs/")]
        return (*files, Entry("repos.git", text.repos_git(self.run)))


def prepare(request: Request) -> Ready:
    """Look at everything. Raises :class:`PreflightFailed`, or what is wrong with the name or the settings."""
    name = RunName.parse(request.name)
    chosen = settings.load(name=name, flags=request.flags, environ=request.environ, cwd=request.cwd)
    if request.bump:
        name = _bumped(name, chosen)
        chosen = settings.load(name=name, flags=request.flags, environ=request.environ, cwd=request.cwd)
    return _Preflight(request, name, chosen).ready()


def _bumped(name: RunName, chosen: Settings) -> RunName:
    """The next version that neither a tag nor an output folder has."""
    repository = git.discover(chosen.dataset_dir)
    try:
        folders = {folder.name for folder in chosen.paths.output.iterdir()}
    except OSError:  # not there yet, or not ours to list
        folders = set()
    return name.bumped(store.names_taken(repository) | folders)


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
        self.warnings: list[str] = []
        self.hide = secrets.Redactor(())

    def ready(self) -> Ready:
        """The run, ready to start. Raises :class:`PreflightFailed`."""
        chosen, findings = self.settings, self.findings
        script = self._script()
        workdir = self._workdir(script)
        python = findings.ask(lambda: settings.find_python(chosen.trainer, self.request.environ))
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
        environ = asked.environ
        plan = findings.ask(lambda: self._plan(workdir))
        output = self._output(plan)
        program = findings.ask(lambda: _program(chosen, python, script, environ)) if python else None
        hashes = Cache(caches() / "hashes")
        read = inputs.read(plan, chosen, workdir, asked.recorded(), hashes, findings) if plan else None
        answers = asked.answers()
        self._judge(answers, plan)
        if plan is None or read is None or program is None or findings.all():
            raise PreflightFailed(self.name, findings.all())
        self.warnings += (*read.warnings, *answers.warnings)
        known = secrets.secret_values(plan.arguments.words(), environ)
        self.hide = secrets.Redactor(known)
        start = self._start(plan, read, program, workdir, output)._replace(held=secrets.variables(environ))
        run = self._run(start, read, answers)
        self._secrets(run, known)
        if findings.all():
            raise PreflightFailed(self.name, findings.all())
        assert answers.repository and answers.identities
        return Ready(
            run=run,
            start=start,
            settings=chosen,
            repository=answers.repository,
            author=answers.identities[0],
            committer=answers.identities[1],
            environ=environ,
            warnings=tuple(self.warnings),
            secret_values=known,
        )

    def _script(self) -> Path:
        trainer = self.settings.trainer
        script = _plain(trainer.repo / trainer.script)
        if not os.path.isfile(script):
            self.findings.add(
                f"there is no trainer script {script}",
                "set trainer.repo and trainer.script in loragit.toml (or SD_REPO and SD_SCRIPT)",
            )
        return script

    def _workdir(self, script: Path) -> Path:
        """Where the trainer runs: the dataset's folder, or the trainer's repository."""
        if self.settings.trainer.workdir == "dataset":
            return self.settings.dataset_dir
        trainer = _plain(self.settings.trainer.repo)
        return trainer if script.is_relative_to(trainer) else script.parent

    def _plan(self, workdir: Path) -> sd_scripts.Plan:
        """What the arguments of settings, ``--config_file`` and command line say together."""
        given = arguments.from_words(self.request.extra)
        if self.request.flags.trainer_script is None:
            arguments.refuse_leading(given)
            given = self._settings_arguments().updated(given)
        filed = arguments.Arguments({})
        path = sd_scripts.config_file(given, workdir)
        if path is not None:
            data = snapshot.read_bytes(path, "config file")
            filed = sd_scripts.flatten(snapshot.read_table(path, data, "config file"))
        paths = self.settings.paths
        return sd_scripts.plan(given, filed, sd_scripts.Defaults(self.name, paths.config, paths.prompts, workdir))

    def _settings_arguments(self) -> arguments.Arguments:
        given = arguments.from_settings(self.settings.trainer.args, self.home)
        for key, hint in (
            ("output_dir", "set paths.output: the run's folder is made in it"),
            ("output_name", "leave it out: the run's name is used"),
            ("max_train_steps", "leave it out: the run's name or --steps tells"),
        ):
            if key in given.options:
                raise arguments.BadArgument(f"trainer.args.{key} would be the same for every run", hint=hint)
        return given

    def _output(self, plan: sd_scripts.Plan | None) -> Path:
        """The run's output folder: it must not exist yet, and there must be room for it."""
        output = self.settings.output_dir
        if plan is not None and plan.output is not None and self.request.flags.output is None:
            output = plan.output
        assert output is not None
        output = _plain(output)
        if os.path.lexists(output):
            self.findings.add(
                f"the output folder {output} exists already",
                "take another version (--bump takes the next), or move the folder away",
            )
        self._room(output, MIN_FREE, "models")
        return output

    def _room(self, path: Path, least: int, what: str) -> None:
        """A finding where the file system that ``path`` will be on cannot be written or is full."""
        existing = path
        while not os.path.exists(existing) and existing != existing.parent:
            existing = existing.parent
        if not os.path.isdir(existing) or not os.access(existing, os.W_OK | os.X_OK):
            hint = "choose another with --output" if what == "models" else "see whom it belongs to"
            self.findings.add(f"{existing} cannot be written, and the {what} must be", hint)
            return
        status = os.statvfs(existing)
        free = status.f_bavail * status.f_frsize
        if free < least:
            self.findings.add(
                f"{existing} has {free // 2**20} MiB free, too little for the {what} ({least // 2**20} MiB at least)",
                "make room, or choose another disk with --output or paths.output",
            )

    def _judge(self, answers: Answers, plan: sd_scripts.Plan | None) -> None:
        """What the answers of git and of the trainer's Python mean for the run."""
        for state in answers.code:
            self._judge_code(state)
        module = plan.network_module if plan else None
        wants_lycoris = module is not None and module.split(".")[0] == "lycoris"
        if wants_lycoris and answers.lycoris is not None and not answers.lycoris.installed:
            self.findings.add(
                f"network_module is {module}, but the trainer's Python finds no LyCORIS",
                "install it in that environment: pip install lycoris-lora",
            )
        if plan is not None and "no_metadata" in plan.arguments.options:
            self.warnings.append("--no_metadata: the models will not name their run")
        if answers.script_tracked is False:
            self.findings.add(
                f"the trainer's repository does not hold {self.settings.trainer.script}: no commit would tell what ran",
                "commit it there (git add --force where it is ignored)",
            )
        repository = answers.repository
        if repository is not None:
            self._room(repository.common_dir, MIN_FREE_RECORD, "record")
            self.findings.ask(lambda: repo.Objects(repository.git_dir))
        if answers.dataset_branch == RUNS.removeprefix("refs/heads/"):
            self.findings.add("the dataset's repository is on the branch runs", "check out another: git switch -c main")
        place = answers.place
        if place is not None and place.taken:
            self.findings.add(place.taken, f"see it with: loragit show {self.name}; --bump takes the next version")
        if place is not None and place.blocked:
            self.findings.add(place.blocked, place.unblock)

    def _judge_code(self, state: RepoState) -> None:
        if state.dirty and not self.settings.record.allow_dirty:
            more = len(state.dirty) - _SHOWN_DIRTY
            files = ", ".join(state.dirty[:_SHOWN_DIRTY]) + (f" and {more} more" if more > 0 else "")
            self.findings.add(
                f"{state.label} at {state.path} is dirty: {files}",
                f"commit or stash there (git -C {state.path} stash --include-untracked), or record it: --allow-dirty",
            )
        if not state.on_remote and state.url:
            self.warnings.append(
                f"{state.label} commit {state.commit[:8]} is on no remote: nobody else can fetch it until it is pushed"
            )

    def _start(
        self, plan: sd_scripts.Plan, read: Inputs, program: tuple[str, ...], workdir: Path, output: Path
    ) -> Start:
        return Start(
            name=self.name,
            program=program,
            plan=plan,
            workdir=workdir,
            output=output,
            steps=plan.steps or self.settings.steps or 0,
            config=read.config.path,
            prompts=read.prompts.path if read.prompts else None,
            inputs={path: entry.path for path, entry in read.further},
            home=self.home,
        )

    def _run(self, start: Start, read: Inputs, answers: Answers) -> Run:
        """The run as it will be recorded."""
        assert answers.trainer and answers.environment and answers.lycoris and answers.repository
        script = self.settings.trainer.repo / self.settings.trainer.script
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
            trainer_script=_relative(script, answers.trainer.path, self.home),
            lycoris=self._portable_lycoris(answers.lycoris),
            dataset_commit=answers.dataset_commit,
            dataset_dirty=answers.dataset_dirty,
            images=read.dataset.images,
            captions=read.dataset.captions,
            argv=start.recorded(),
            workdir=text.home_as_tilde(str(start.workdir), self.home),
            weights=tuple(weights._replace(name=self.hide(weights.name)) for weights in read.weights),
            config=start.config,
            prompts=start.prompts,
            script=SCRIPT,
            entries=(),
        )
        entries = [read.config, *([read.prompts] if read.prompts else []), *(entry for _, entry in read.further)]
        entries.append(Entry(SCRIPT, start.script(), executable=True))
        entries.append(Entry("environment.txt", environment.environment_text(answers.environment)))
        entries.append(Entry("dataset.sha256", read.dataset.digest))
        entries += [Entry(f"patches/{s.label}.patch", checkout.patch(s)) for s in answers.code if s.dirty]
        kept = (("captions", read.dataset.kept),) if read.dataset.kept else ()
        return run._replace(entries=(*entries, *read.dataset.entries), kept=kept)

    def _portable(self, state: RepoState) -> RepoState:
        """A remote may be a folder of the user's."""
        return state if state.url is None else state._replace(url=text.home_as_tilde(self.hide(state.url), self.home))

    def _portable_lycoris(self, lycoris: LyCORIS) -> LyCORIS:
        url = None if lycoris.url is None else text.home_as_tilde(self.hide(lycoris.url), self.home)
        return lycoris._replace(url=url, repo=self._portable(lycoris.repo) if lycoris.repo else None)

    def _secrets(self, run: Run, known: tuple[str, ...]) -> None:
        """A finding for each text of the record that holds what looks like a secret, or one of ``known``."""
        captions = [e for e in run.entries if e.path.startswith("captions/")]
        suspects = [e for e in run.entries if not e.path.startswith("captions/") and e.path != "dataset.sha256"]
        together = b"\n".join(e.data for e in captions)
        if secrets.find(together) or secrets.find_known(together, known):
            suspects += captions
        suspects += [text.run_toml(run), Entry("the message", text.message(run).encode())]
        for entry in suspects:
            found = [*secrets.find(entry.data), *secrets.find_known(entry.data, known)]
            if entry.path.startswith(("config.", "sample-prompts.", "inputs/")):
                found += islice(secrets.find_values(entry.data), _SHOWN_SECRETS)
            by_line = {each.line: each for each in reversed(found)}
            for each in sorted(by_line.values(), key=lambda each: each.line or 0)[:_SHOWN_SECRETS]:
                line = f", line {each.line}," if each.line else ""
                self.findings.add(
                    f"{entry.path}{line} holds what looks like a secret ({each.kind})",
                    "take it out: give it in the environment or as an argument, which are not recorded",
                )


def _program(chosen: Settings, python: Path, script: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What starts the trainer's script: the launcher, found on the trainer's PATH, or the Python itself."""
    import shutil

    launcher = chosen.trainer.launcher
    if not launcher:
        return (str(python), str(script))
    found = shutil.which(launcher[0], path=environ.get("PATH"))
    if found is None:
        raise process.ProgramMissing(
            f"the launcher {launcher[0]} is not in {python.parent} and not on PATH",
            hint="install it in the trainer's environment, or mend trainer.launcher",
        )
    return (found, *launcher[1:], str(script))


def _plain(path: Path) -> Path:
    """Without ``..``: through the links that it really goes through, and only where it must be."""
    return path.parent.resolve() / path.name if ".." in path.parts else path


def _relative(path: Path, top: Path, home: str) -> str:
    resolved = path.resolve()
    if resolved.is_relative_to(top):
        return resolved.relative_to(top).as_posix()
    return text.home_as_tilde(str(path), home)
