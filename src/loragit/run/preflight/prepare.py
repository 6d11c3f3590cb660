"""Everything that can be known before a run begins: all findings together, or a run that is ready
to go.

Nothing is written here but caches, and what the user agreed to. Questions to git, to the trainer's
Python and to the disk are under way at the same time: together they cost what the slowest costs.

There are four phases, and each returns a value of :mod:`loragit.run.preflight.phases`:

    ask       find script, folder and Python by the settings; start the questions
    read      read arguments, files and dataset meanwhile; wait for the answers
    judge     refuse with all findings together, or go on with the warnings
    assemble  make the record; refuse where it would give a secret away
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from loragit import git
from loragit.dataset.hashes import HashCache
from loragit.errors import Area, Finding, Findings
from loragit.git import objects, trees
from loragit.git.repository import Repository
from loragit.record.name import RUNS, RunName
from loragit.record.values import Entry
from loragit.run.preflight import assemble, inputs, launch, trust
from loragit.run.preflight.inputs import Inputs
from loragit.run.preflight.phases import (
    Launch,
    Material,
    PreflightFailed,
    Ready,
    Request,
    Startable,
)
from loragit.run.preflight.questions import Answers, Questions
from loragit.run.preflight.weights import identify
from loragit.secrets import find
from loragit.settings import load, paths
from loragit.settings.values import Settings
from loragit.store import enclosing, free_name
from loragit.trainers import kinds
from loragit.trainers.environment import pythons
from loragit.trainers.environment.activation import activate
from loragit.trainers.trainer import DatasetPlace, Plan

MIN_FREE = 256 * 1024 * 1024
"""Bytes that must be free where the models will be written: one small adapter with its samples and
log."""
MIN_FREE_RECORD = 16 * 1024 * 1024
"""Bytes that must be free where the record will be written."""


def prepare(request: Request) -> Ready:
    """Look at everything. Raises :class:`PreflightFailed`, or what is wrong with the settings."""
    chosen = _settings(request)
    if request.bump:
        request = request._replace(name=_bumped(request.name, chosen))
        chosen = _settings(request)
    findings = Findings()
    launched = ask_questions(request, chosen, findings)
    material = read_files(launched, findings)
    startable = judge_material(launched, material, findings)
    return assemble.assemble_run(startable, findings)


def _settings(request: Request) -> Settings:
    return load.load_settings(
        name=request.name, flags=request.flags, environ=request.environ, cwd=request.cwd
    )


def _bumped(name: RunName, chosen: Settings) -> RunName:
    """The next version that neither a tag nor an output folder has."""
    repository = git.discover(chosen.dataset_dir)
    try:
        folders = {folder.name for folder in chosen.paths.output.iterdir()}
    except OSError:  # not there yet, or not ours to list
        folders = set()
    return name.bumped(free_name.names_taken(repository) | folders)


# ---- ask ----


def ask_questions(request: Request, chosen: Settings, findings: Findings) -> Launch:
    """Find what is to be started, and start the questions about it to git and to the trainer's
    Python."""
    trusted = trust.require_consent(trust.subject_of_settings(chosen), request.agree, findings)
    own_script = findings.ask(lambda: _read_own_script(request), Area.TRAINER)
    if request.script is None:
        script = launch.find_script(chosen, findings)
        workdir = launch.find_workdir(chosen, script)
    else:
        script, workdir = launch.find_repo(chosen, findings), request.cwd
    found = findings.ask(
        lambda: pythons.find_python(chosen.trainer, request.environ), Area.ENVIRONMENT
    )
    python = found if trusted else None
    questions = Questions(
        chosen,
        findings,
        request.name,
        script=script,
        workdir=workdir,
        python=python,
        activation=activate(chosen.trainer, python, request.environ),
        cache=paths.cache_folder() / "environments",
        home=paths.home_of(request.environ),
    )
    return Launch(request, chosen, own_script, script, workdir, python, questions)


def _read_own_script(request: Request) -> Entry | None:
    """The user's own script as it will be recorded. Raises
    :class:`~loragit.run.preflight.launch.UnusableScript`."""
    path = request.own_script
    if path is None:
        return None
    entry = launch.read_script(path)
    if request.script is not None:
        launch.check_program(path, entry.data, request.environ)
    return entry


# ---- read ----


def read_files(launched: Launch, findings: Findings) -> Material:
    """Read arguments, files and dataset while the questions are under way, then wait for the
    answers."""
    request, chosen, questions = launched.request, launched.settings, launched.questions
    environ = dict(questions.environ)
    plan = findings.ask(lambda: _plan(launched), Area.SETTINGS)
    trainer = kinds.trainer_of(chosen.trainer.kind)
    named = trainer.modules(plan.effective) if plan and request.script is None else ()
    questions.ask_modules(named, trainer.plugins)
    output = _output_folder(launched, plan, findings)
    program = None
    if launched.python:
        program = findings.ask(lambda: _program(launched, environ), Area.TRAINER)
    hashes = HashCache(paths.cache_folder() / "hashes")
    words = (*plan.arguments.words(), *request.extra) if plan else ()
    secrets = find.trainer_secrets(words, kinds.secret_arguments(), environ)
    read: Inputs | None = None
    found = identify.Identified((), ())
    if plan:
        recorded = questions.recorded(secrets)
        repo = launch.without_dots(chosen.trainer.repo)
        script = chosen.trainer.script
        place = DatasetPlace(
            launched.workdir, chosen.dataset_dir, repo, questions.can_import, script
        )
        place = place._replace(folders=request.named_folders)
        read = inputs.read_inputs(plan, chosen, place, recorded, hashes, findings)
        found = identify.identify_weights(plan, launched.workdir, environ, hashes, findings)
    if plan and read:
        trust.require_consent(read.outside(plan, chosen.dataset_dir), request.agree, findings)
    return Material(environ, plan, output, program, secrets, read, found, questions.answers())


def _plan(launched: Launch) -> Plan:
    request, chosen = launched.request, launched.settings
    plan = launch.trainer_plan(
        request.name.text,
        chosen,
        request.extra if request.script is None else (),
        launched.workdir,
        request.home,
        own_script=request.flags.trainer_script is not None or request.script is not None,
        whole_script=request.script is not None,
        preset=request.preset,
    )
    if request.dataset_folders is None:
        return plan
    # Whoever has no dataset config may well have no prompts either.
    wanted = plan.prompts and (chosen.is_set("paths.prompts") or os.path.lexists(plan.prompts))
    return plan._replace(config=None, prompts=plan.prompts if wanted else None)


def _output_folder(launched: Launch, plan: Plan | None, findings: Findings) -> Path:
    """The run's output folder: it must not exist yet, and there must be room for it."""
    output = launched.settings.output_dir
    if plan is not None and plan.output is not None and launched.request.flags.output is None:
        output = plan.output
    assert output is not None
    output = launch.without_dots(output)
    if os.path.lexists(output):
        findings.add(
            f"the output folder {output} exists already",
            "take another version (--bump takes the next), or move the folder away",
            Area.OUTPUT,
        )
    launch.check_room(output, MIN_FREE, "models", findings)
    return output


def _program(launched: Launch, environ: Mapping[str, str]) -> tuple[str, ...]:
    if launched.request.script is not None:
        return (str(launched.request.own_script),)
    assert launched.python is not None
    return launch.program_words(launched.settings, launched.python, launched.script, environ)


# ---- judge ----


def judge_material(launched: Launch, material: Material, findings: Findings) -> Startable:
    """What answers and files mean for the run. Raises :class:`PreflightFailed` with all that was
    found in this and the earlier phases."""
    plan, read, program = material.plan, material.inputs, material.program
    warnings = [
        *_judge_code(launched, material.answers, findings),
        *_judge_arguments(launched, plan, material.answers, findings),
    ]
    _judge_script(launched, material.answers, findings)
    _judge_repository(launched.request.name, material.answers, findings)
    _judge_enclosing(launched, material.answers, findings)
    if plan is None or read is None or program is None or findings.all():
        raise PreflightFailed(launched.request.name, findings.all())
    warnings += (Finding(problem, None, Area.DATASET) for problem in read.warnings)
    others = (*material.answers.warnings, *material.weights.warnings)
    warnings += (Finding(problem, None, Area.SETTINGS) for problem in others)
    return Startable(
        launch=launched,
        environ=material.environ,
        plan=plan,
        output=material.output,
        program=program,
        secrets=material.secrets,
        inputs=read,
        weights=material.weights,
        answers=material.answers,
        warnings=tuple(warnings),
    )


def _judge_code(launched: Launch, answers: Answers, findings: Findings) -> Iterator[Finding]:
    for state in answers.code:
        area = Area.TRAINER if state is answers.trainer else Area.CODE
        allow_dirty = launched.settings.record.allow_dirty
        yield from launch.code_warnings(state, area, findings, allow_dirty=allow_dirty)
    for each in answers.unrecorded:
        if launched.settings.record.allow_dirty:
            yield Finding(each.problem, None, Area.CODE)
        else:
            findings.add(each.problem, each.hint, Area.CODE)


def _judge_arguments(
    launched: Launch, plan: Plan | None, answers: Answers, findings: Findings
) -> Iterator[Finding]:
    module = plan.network_module if plan else None
    wants_lycoris = module is not None and module.split(".")[0] == "lycoris"
    if wants_lycoris and answers.lycoris is not None and not answers.lycoris.installed:
        findings.add(
            f"network_module is {module}, but the trainer's Python finds no LyCORIS",
            "install it in that environment: pip install lycoris-lora",
            Area.SETTINGS,
        )
    if plan is not None:
        trainer = kinds.trainer_of(launched.settings.trainer.kind)
        packages = frozenset(answers.environment.packages) if answers.environment else frozenset()
        missing = trainer.missing_modules(
            plan.effective, answers.missing_modules, launched.script.parent, packages
        )
        for each in (*plan.findings, *missing):
            findings.add(*each)
        yield from (Finding(problem, None, Area.SETTINGS) for problem in plan.warnings)


def _judge_script(launched: Launch, answers: Answers, findings: Findings) -> None:
    if answers.script_tracked is False and launched.request.script is None:
        findings.add(
            f"the trainer's repository does not hold {launched.settings.trainer.script}: no "
            "commit would tell what ran",
            "commit it there (git add --force where it is ignored)",
            Area.TRAINER,
        )


def _check_objects(repository: Repository, tip: str | None) -> None:
    """Raises what would keep a commit on top of ``tip`` from being made: a repository that libgit2
    cannot open, or a partial clone without the trees of ``runs``."""
    opened = objects.Objects(repository.git_dir)
    if opened.partial and tip is not None:
        opened.items(trees.subtree(opened, tip, repository.prefix))


def _judge_enclosing(launched: Launch, answers: Answers, findings: Findings) -> None:
    """Whether the record goes where the user means it to go. Asked last, once nothing else speaks
    against the run."""
    reason, confirm = answers.enclosing, launched.request.confirm
    if reason is None or launched.settings.record.enclosing:
        return
    if findings.all() or confirm is None or not confirm(f"{reason}. Record the run there?"):
        findings.add(*enclosing.not_meant(reason, launched.settings.dataset_dir))


def _judge_repository(name: RunName, answers: Answers, findings: Findings) -> None:
    """Whether the record can be written, and whether the name is free."""
    repository, place = answers.repository, answers.place
    if repository is not None:
        launch.check_room(repository.common_dir, MIN_FREE_RECORD, "record", findings)
        tip = place.runs if place else None
        findings.ask(lambda: _check_objects(repository, tip), Area.REPOSITORY)
    if answers.dataset_branch == RUNS.removeprefix("refs/heads/"):
        findings.add(
            "the dataset's repository is on the branch runs",
            "check out another: git switch -c main",
            Area.RECORD,
        )
    if place is not None and place.taken:
        from loragit.history import history

        see = f"see it with: loragit show {name}"
        if repository is not None and history.is_interrupted(repository, name.text):
            see = "its loragit is gone; finish it with: loragit recover"
        findings.add(place.taken, f"{see}; --bump takes the next version", Area.NAME)
    if place is not None and place.blocked:
        findings.add(place.blocked, place.unblock, Area.RECORD)
