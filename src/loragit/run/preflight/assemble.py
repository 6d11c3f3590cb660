"""The last phase of a preflight: the record that the run will have, and the copies that its trainer
gets.

Both are made of the same bytes, but for secrets: the record has ``***`` where the copy has one.
"""

from __future__ import annotations

from pathlib import Path

from loragit import text
from loragit.errors import Area, Finding, Findings
from loragit.git import checkout
from loragit.record import run_toml
from loragit.record.values import Ancestor, Entry, LyCORIS, RepoState, Run
from loragit.run.preflight import disclosure, launch
from loragit.run.preflight.phases import PreflightFailed, Ready, Startable
from loragit.run.preflight.weights import ancestors
from loragit.secrets import find, redact
from loragit.secrets.files import secrets_of_files
from loragit.secrets.redact import Redactor
from loragit.trainers import kinds
from loragit.trainers.environment import packages
from loragit.trainers.start import Start

SCRIPT = "train.sh"


def assemble_run(startable: Startable, findings: Findings) -> Ready:
    """Make the record. Raises :class:`PreflightFailed` where it would give a secret away."""
    settings, request = startable.launch.settings, startable.launch.request
    secrets = _secrets(startable)
    start = _start(startable, secrets)
    mask = redact.Redactor(secrets)
    given = _run(startable, start, mask)
    disclosed = disclosure.check_secrets(
        given,
        secrets,
        _sources(startable),
        allow=settings.record.allow_secrets,
        findings=findings,
    )
    if findings.all():
        raise PreflightFailed(request.name, findings.all())
    repository, identities = startable.answers.repository, startable.answers.identities
    assert repository and identities
    return Ready(
        run=disclosed.run,
        start=start,
        settings=settings,
        repository=repository,
        author=identities[0],
        committer=identities[1],
        environ=_environ(startable),
        warnings=(
            *startable.warnings,
            *(Finding(problem, None, Area.SECRETS) for problem in disclosed.warnings),
        ),
        secrets=secrets,
        copies=_copies(given),
        inputs=startable.inputs,
        hub_refs=tuple(ref._replace(name=mask(ref.name)) for ref in startable.weights.hub_refs),
    )


def _secrets(startable: Startable) -> tuple[str, ...]:
    """Where files with secrets are recorded all the same, theirs must stand in no argument and no
    log either."""
    if not startable.launch.settings.record.allow_secrets:
        return startable.secrets
    own_script = startable.launch.own_script
    files = (*startable.inputs.entries, *([own_script] if own_script else []))
    return tuple(
        dict.fromkeys((*startable.secrets, *secrets_of_files(file.data for file in files)))
    )


def _start(startable: Startable, secrets: tuple[str, ...]) -> Start:
    launched, inputs = startable.launch, startable.inputs
    request = launched.request
    return Start(
        name=request.name.text,
        program=startable.program,
        trainer=kinds.trainer_of(launched.settings.trainer.kind),
        plan=startable.plan,
        workdir=launched.workdir,
        output=startable.output,
        steps=startable.plan.steps or launched.settings.steps or 0,
        config=inputs.config.path if inputs.config else None,
        prompts=inputs.prompts.path if inputs.prompts else None,
        inputs={path: entry.path for path, entry in inputs.further},
        home=request.home,
        held=find.secret_variables(startable.environ),
        own=None if request.script is None else request.extra,
        hidden=secrets,
    )


def _environ(startable: Startable) -> dict[str, str]:
    """The trainer's environment, with what the user's own script finds in it."""
    launched, lycoris = startable.launch, startable.answers.lycoris
    if launched.request.script is None:
        return dict(startable.environ)
    own = launch.own_variables(
        launched.request.name.text,
        launched.settings,
        startable.output,
        lycoris.repo.path if lycoris and lycoris.repo else None,
    )
    return {**startable.environ, **own}


def _run(startable: Startable, start: Start, redact: Redactor) -> Run:
    """The run as it would be recorded if no file of it held a secret."""
    launched, answers, inputs = startable.launch, startable.answers, startable.inputs
    request, settings, home = launched.request, launched.settings, launched.request.home
    assert answers.trainer and answers.environment and answers.lycoris and answers.repository
    script = settings.trainer.repo / settings.trainer.script
    if request.script is not None:
        script = Path(start.program[0])
    recorded = launched.own_script or Entry(SCRIPT, start.script(), executable=True)
    return Run(
        name=request.name,
        dataset=settings.dataset,
        prefix=answers.repository.prefix,
        steps=start.steps,
        epochs=start.plan.epochs,
        trainer=_portable(answers.trainer, redact, home),
        trainer_kind=settings.trainer.kind,
        trainer_script=launch.path_in_record(script, answers.trainer.path, home),
        lycoris=_portable_lycoris(answers.lycoris, redact, home),
        dataset_commit=answers.dataset_commit,
        dataset_dirty=answers.dataset_dirty,
        images=inputs.dataset.images,
        captions=inputs.dataset.captions,
        argv=start.recorded(),
        workdir=text.home_as_tilde(str(start.workdir), home),
        weights=tuple(
            weights._replace(name=redact(weights.name)) for weights in startable.weights.weights
        ),
        config=start.config,
        prompts=start.prompts,
        script=recorded.path,
        entries=_entries(startable, start, recorded),
        repositories=tuple(_portable(state, redact, home) for state in answers.repositories),
        ancestors=_ancestors(startable, start),
        reused_trees=(("captions", inputs.dataset.captions_tree),)
        if inputs.dataset.captions_tree
        else (),
        arguments=start.arguments(),
        defaults=start.plan.defaults if start.own is None else {},
    )


def _entries(startable: Startable, start: Start, script: Entry) -> tuple[Entry, ...]:
    """The files of the record."""
    answers, inputs = startable.answers, startable.inputs
    assert answers.environment
    config = inputs.config
    return (
        *([config._replace(data=start.config_copy(config.data))] if config else []),
        *(entry for entry in inputs.entries if entry is not config),
        script,
        Entry("environment.txt", packages.environment_text(answers.environment)),
        Entry("dataset.sha256", inputs.dataset.digest),
        *(Entry(checkout.patch_path(s), checkout.patch(s)) for s in answers.code if s.dirty),
        *inputs.dataset.entries,
    )


def _copies(given: Run) -> tuple[Entry, ...]:
    """What loragit puts into the output folder: config, prompts, script and inputs as the trainer
    gets them, and ``repos.git``."""
    named = {given.config, given.prompts, given.script}
    files = [e for e in given.entries if e.path in named or e.path.startswith("inputs/")]
    return (*files, Entry("repos.git", run_toml.repos_git(given)))


def _ancestors(startable: Startable, start: Start) -> tuple[Ancestor, ...]:
    """The runs that this one goes on from."""
    settings = startable.launch.settings
    weights = ancestors.starting_weights(
        start.plan.weights, startable.weights.weights, start.workdir
    )
    return ancestors.ancestors(
        weights,
        settings.paths.datasets,
        settings.dataset_dir,
        startable.launch.request.environ,
    )


def _sources(startable: Startable) -> disclosure.Sources:
    """The user's own files that the record is made of."""
    inputs, launched = startable.inputs, startable.launch
    files = dict(inputs.sources)
    path = launched.request.own_script
    if launched.own_script and path is not None:
        files[launched.own_script.path] = path
    patched = tuple((checkout.patch_path(each), each.path) for each in startable.answers.code)
    return disclosure.Sources(files, inputs.dataset.folders, patched)


def _portable(state: RepoState, redact: Redactor, home: str) -> RepoState:
    """A remote may be a folder of the user's."""
    if state.url is None:
        return state
    return state._replace(url=text.home_as_tilde(redact(state.url), home))


def _portable_lycoris(lycoris: LyCORIS, redact: Redactor, home: str) -> LyCORIS:
    url = None if lycoris.url is None else text.home_as_tilde(redact(lycoris.url), home)
    repo = _portable(lycoris.repo, redact, home) if lycoris.repo else None
    return lycoris._replace(url=url, repo=repo)
