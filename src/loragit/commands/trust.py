"""``loragit trust``, and the question that ``train`` asks: whether what the dataset's own files
name may be started and read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from loragit import console, text
from loragit.errors import LoragitError
from loragit.run.preflight import launch, trust
from loragit.run.preflight.trust import Agree, Subject
from loragit.secrets import rules
from loragit.settings.schema import FILE
from loragit.settings.values import Settings
from loragit.trainers import kinds
from loragit.trainers.trainer import DatasetPlace

_QUESTION = "Run and read what these name?"


class NobodyToAsk(LoragitError):
    """There is a question and no terminal, and ``--yes`` was not given."""


class NotRemembered(LoragitError):
    """The user's consent could not be saved."""


def agreement(*, trusted: bool) -> Agree | None:
    """Asks the user where there is a terminal, and nobody where there is none; ``--trust``
    (``trusted``) is the answer itself."""
    if trusted:
        return _agree_by_option
    return _agree_at_terminal if console.can_ask() else None


def remember_settings(chosen: Settings) -> None:
    """Remember consent to the settings of a run that starts: what ran before the repository had a
    remote needs no question once it has one."""
    subject = trust.subject_of_settings(chosen)
    if subject.values and not trust.is_agreed(subject):
        trust.store_consent(subject)


def _agree_by_option(subject: Subject, origin: str) -> bool:
    _print_claims(subject, origin)
    console.info("agreed to: --trust")
    return True


def _agree_at_terminal(subject: Subject, origin: str) -> bool:
    _print_claims(subject, origin)
    return console.confirm(_QUESTION, default=False)


def _print_claims(subject: Subject, origin: str) -> None:
    console.info(f"these come from the dataset {subject.folder} ({origin}):")
    for value in subject.values:
        console.info(f"  {value.to_show}  # {value.effect}")
    if any(rules.MASK in value.to_show for value in subject.values):
        console.info(
            f"{rules.MASK} stands for what looks like a secret: {subject.folder / FILE} shows it"
        )


def trust_(chosen: Settings, home: str, *, yes: bool) -> int:
    """Show what the dataset's own files start and read, and ask whether they may. Returns 1 if
    not, else 0. ``home`` is the home folder.

    Raises :class:`NobodyToAsk`, :class:`NotRemembered`.
    """
    agreed = True
    subjects = [subject for subject in _subjects(chosen, home) if subject.values]
    for subject in subjects:
        if trust.is_agreed(subject):
            console.info(
                f"already agreed to: {text.count(len(subject.values), 'value')} of {subject.folder}"
            )
            continue
        _print_claims(
            subject, trust.foreign_origin(subject.folder) or "its repository has no remote"
        )
        if not yes and not console.can_ask():
            raise NobodyToAsk(
                "nothing was agreed to: there is no terminal to ask on", hint="loragit trust --yes"
            )
        if not yes and not console.confirm(_QUESTION, default=False):
            agreed = False
        elif not trust.store_consent(subject):
            raise NotRemembered(
                f"{trust.consent_folder()} cannot be written", hint="see who owns it"
            )
    if not subjects:
        console.info(
            f"{chosen.dataset_dir} names no program and no file of its own choice: there is "
            "nothing to agree to"
        )
    elif agreed:
        console.info(
            f"{chosen.dataset_dir} may be trained on; if it names another program, you will be "
            "asked again"
        )
    return 0 if agreed else 1


def _subjects(chosen: Settings, home: str) -> Iterator[Subject]:
    folder = chosen.dataset_dir
    if chosen.written is not None:
        yield trust.subject_of_document(folder, chosen.written, chosen.trainer.repo)
    if trust.foreign_origin(folder) is not None:
        paths = chosen.paths
        workdir = launch.find_workdir(
            chosen, launch.without_dots(chosen.trainer.repo / chosen.trainer.script)
        )
        try:
            trainer = kinds.trainer_of(chosen.trainer.kind)
            plan = launch.trainer_plan("", chosen, (), workdir, home, own_script=False)
            place = DatasetPlace(workdir, folder)
            used = trainer.dataset(plan, place)
        except LoragitError:  # told when it is needed
            return
        read: list[Path] = [
            *([plan.config] if plan.config else []),
            *([paths.prompts] if paths.prompts else []),
            *chosen.record.inputs,
        ]
        there = [path for path in read if os.path.exists(path)]
        naming = plan.config or next(iter(used.files), None)
        if naming is not None:
            folders = [each.path for each in used.folders]
            yield trust.subject_of_inputs(folder, naming, used.files, folders, there)
