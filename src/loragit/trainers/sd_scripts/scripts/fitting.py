"""A plan, fitted to the script that it is for: what that would refuse, and what it is not given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from loragit.errors import Area, Finding
from loragit.trainers.arguments import Arguments
from loragit.trainers.sd_scripts.scripts import check, families
from loragit.trainers.sd_scripts.scripts.cache import script_options
from loragit.trainers.sd_scripts.scripts.parser import ScriptOptions
from loragit.trainers.sd_scripts.sources import Given
from loragit.trainers.trainer import Defaults, Plan

_OF_CONFIG = ("train_batch_size",)
"""Arguments whose default the dataset config may replace by a value of its own."""


def fit_plan(plan: Plan, given: Given, defaults: Defaults, telling: tuple[str, ...]) -> Plan:
    """Return ``plan`` with what the script's parser tells; ``telling`` are the arguments whose
    defaults are worth a record. Where the parser is not understood, everything is passed on."""
    repo = defaults.repo
    path = repo / defaults.script if repo is not None and defaults.script else None
    if repo is None or path is None or not path.is_file():
        return plan
    takes = script_options(path, repo, defaults.cache)
    shown = _shown(path, repo)
    refused = (
        check.trains_nothing(shown, takes),
        _other_script(given, path.name),
        _other_family(plan, path.name, defaults.workdir),
    )
    if any(refused):
        return plan._replace(findings=tuple(filter(None, refused)))
    if takes is None:
        return plan

    def others() -> Iterator[tuple[str, ScriptOptions]]:
        family = families.family_prefix(path.name)
        training = (each for each in repo.glob("*.py") if re.search("train|tune", each.name))
        names = sorted(
            training,
            key=lambda each: (families.family_prefix(each.name) != family, each.name),
        )
        for other in names:
            found = script_options(other, repo, defaults.cache)
            if found is not None:
                yield other.name, found

    names = frozenset(takes.by_name())
    return plan._replace(
        findings=(
            *check.findings(shown, given.passed, takes, others),
            *check.pair_findings(plan.effective),
        ),
        warnings=(*plan.warnings, *_warnings(shown, given, plan, takes)),
        takes=names if takes.complete else None,
        prompts=plan.prompts if "sample_prompts" in names or not takes.complete else None,
        defaults=_defaults(takes, plan.effective, telling, with_config=plan.config is not None),
    )


def _shown(path: Path, repo: Path) -> str:
    resolved, top = path.resolve(), repo.resolve()
    return str(resolved.relative_to(top) if resolved.is_relative_to(top) else path)


def _other_script(given: Given, script: str) -> Finding | None:
    """Return a finding where a preset is for another kind of model."""
    if given.for_script is None or given.for_script == script or "train" not in script:
        return None
    return Finding(
        f"the preset is for {given.for_script}, and trainer.script is {script}",
        f"set trainer.script (or SD_SCRIPT) to {given.for_script}, or name another preset",
        Area.SETTINGS,
    )


def _other_family(plan: Plan, script: str, workdir: Path) -> Finding | None:
    """Return a finding where the base model is of a kind that the script does not train."""
    written = plan.effective.one("pretrained_model_name_or_path")
    family = families.family_of(workdir / written) if written and "train" in script else None
    if family is None or families.fits(script, family):
        return None
    return Finding(
        f"the base model {written} is of the kind {family.name}, and {script} trains another",
        f"set trainer.script to one for {family.name}, such as {family.script}, or name another "
        "base model",
        Area.SETTINGS,
    )


def _warnings(script: str, given: Given, plan: Plan, takes: ScriptOptions) -> Iterator[str]:
    unread = check.unread_warning(script, given.filed, takes)
    if unread:
        yield unread
    names = takes.by_name()
    if takes.complete and "network_module" in names and plan.network_module is None:
        # It imports the module after it has loaded the base model.
        yield f"{script} is given no --network_module, which tells it what to train"
    if takes.complete and "training_comment" not in names:
        yield (
            f"{script} takes no --training_comment: its models will not name their run, and are "
            "known by their hashes alone"
        )


def _defaults(
    takes: ScriptOptions, effective: Arguments, telling: tuple[str, ...], *, with_config: bool
) -> dict[str, tuple[str, ...]]:
    left_out = (*effective.options, *(_OF_CONFIG if with_config else ()))
    options = takes.by_name()
    return {
        name: (default,)
        for name in telling
        if name not in left_out
        and name in options
        and options[name].values != "0"
        and (default := options[name].default)
        and not name.startswith("max_train_")
    }
