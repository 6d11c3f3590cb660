"""What lies around a dataset: trainers, their environments, LyCORIS, base models, and what sibling
datasets use.

Writes nothing, and starts nothing but git. Searches a short list of folders and what is directly
in them; never walks the home folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.commands.init import image_folders
from loragit.commands.init.base_models import find_models
from loragit.commands.init.image_folders import ImageFolder, entries
from loragit.commands.init.siblings import (
    BASE_MODEL,
    Sibling,
    launcher,
    sibling_datasets,
    weights,
)
from loragit.errors import LoragitError
from loragit.git import checkout
from loragit.git.repository import Repository
from loragit.history import history
from loragit.record.name import RunName
from loragit.run.preflight import trust
from loragit.settings import load
from loragit.settings import paths as places
from loragit.settings.schema import ARGS, FILE
from loragit.settings.values import Flags, Settings
from loragit.trainers import kinds
from loragit.trainers.arguments import Arguments
from loragit.trainers.environment import pythons
from loragit.trainers.environment.conda import conda_environments
from loragit.trainers.trainer import CheckoutSigns, DatasetPlace, Defaults, ModelFamily, Trainer

_CODE = ("src", "git", "projects", "repos", "ai")

_ENVIRONMENTS = ("venv", ".venv", "env")
_CONFIGS = (
    "config.toml",
    "config.json",
    "dataset.toml",
    "dataset_config.toml",
    "dataset-config.toml",
)
_PROMPTS = (
    "sample-prompts.txt",
    "sample_prompts.txt",
    "prompts.txt",
    "sample-prompts.toml",
    "sample-prompts.json",
)
_SCRIPT = "trainer.script"
_MOST_HISTORIES = 5
_IMPROBABLE = sys.maxsize


class Checkout(NamedTuple):
    """A folder that holds the trainer."""

    path: Path
    repository: Path | None
    """The top of the one that tracks it."""


class Surroundings(NamedTuple):
    """Everything found, in absolute paths. What was not found is ``None`` or empty."""

    folder: Path
    """The dataset's."""
    home: Path
    chosen: Settings
    """The settings without a new ``loragit.toml``."""
    repository: Repository | None
    """The one that holds the dataset."""
    kind: Trainer
    """The trainer that the settings name; unless they say otherwise, the first of all."""
    trainers: tuple[Checkout, ...]
    """The one to use first."""
    script: str | None
    env: str | None
    """As ``trainer.env`` has it."""
    other_envs: tuple[str, ...]
    launcher: tuple[str, ...]
    lycoris: tuple[Path, ...]
    base_model: str | None
    """An absolute path, or a hub's id."""
    other_models: tuple[str, ...]
    weights: tuple[tuple[str, str], ...]
    """Further arguments that name weights, from the sibling that uses ``base_model``."""
    network_module: str | None
    siblings: tuple[Sibling, ...]
    """The one whose settings changed last comes first."""
    config: Path | None
    """A dataset config that exists."""
    prompts: Path | None
    """Sample prompts that exist."""
    workdir: str
    """What the dataset config's folders are relative to, as in ``trainer.workdir``."""
    images: tuple[ImageFolder, ...]
    model: str | None
    """The base model's name in names of runs, of this dataset or of siblings that use the same
    one."""
    runs: frozenset[str]
    """Names that are taken: by runs in this repository, and by output folders."""
    family: ModelFamily | None = None
    """What kind of base model ``base_model`` is, where its file tells."""
    not_meant: str | None = None
    """Why ``repository``, or the one around the dataset, may not be meant to hold the record."""

    @property
    def settings_file(self) -> Path:
        return self.folder / FILE

    @property
    def trainer(self) -> Path | None:
        """The checkout to use."""
        return self.trainers[0].path if self.trainers else None


def surroundings(folder: Path, environ: Mapping[str, str]) -> Surroundings:
    """What is around the dataset in ``folder``, which is absolute and exists.

    Raises :class:`LoragitError` if existing settings are wrong, or git does not work in the
    repository.
    """
    home = places.home_of(environ)
    chosen = load.load_settings(
        name=None, flags=Flags(dataset=str(folder)), environ=environ, cwd=folder
    )
    kind = kinds.trainer_of(chosen.trainer.kind)
    siblings = tuple(_siblings_of_kind(kind, folder, chosen, environ))
    trainers = _trainers(chosen, kind, siblings, home)
    trainer = trainers[0].path if trainers else None
    script = _script(chosen, kind, trainer, siblings)
    alike = [each for each in siblings if script in (each.script, None)]
    env, other_envs = _environments(chosen, kind, trainer, siblings, environ, home)
    models, sure = find_models(alike, home)
    model = models[0] if sure else None
    config = _first_existing(folder, _CONFIGS, chosen.paths.config)
    seen = Surroundings(
        folder=folder,
        home=home,
        chosen=chosen,
        repository=_repository(folder),
        kind=kind,
        trainers=trainers,
        script=script,
        env=env,
        other_envs=other_envs,
        launcher=launcher(siblings),
        lycoris=tuple(_lycoris(trainer)),
        base_model=model,
        other_models=tuple(each for each in models if each != model),
        weights=tuple(weights(alike, model)),
        network_module=_network_module(alike),
        siblings=siblings,
        config=config,
        prompts=_first_existing(folder, _PROMPTS, chosen.paths.prompts),
        workdir=_workdir(config, folder, kind, trainer),
        images=image_folders.find_image_folders(folder, kind.files),
        model=_model_in_names(folder, model, alike),
        runs=_names_taken(folder, chosen),
    )
    return with_base_model(seen, model)


def with_base_model(seen: Surroundings, model: str | None) -> Surroundings:
    """Return ``seen`` with the base model ``model``, and with the script for its kind unless the
    settings name one."""
    path = Path(model) if model is not None and os.path.isfile(model) else None
    family = seen.kind.family(path) if path is not None else None
    script = seen.script
    if family is not None and seen.trainer is not None and not _is_set(seen.chosen, _SCRIPT):
        script = family.script if os.path.isfile(seen.trainer / family.script) else script
    return seen._replace(base_model=model, family=family, script=script)


def _network_module(siblings: Iterable[Sibling]) -> str | None:
    """The first one that a sibling names."""
    return next(filter(None, (each.text(ARGS + "network_module") for each in siblings)), None)


def _siblings_of_kind(
    kind: Trainer, folder: Path, chosen: Settings, environ: Mapping[str, str]
) -> Iterator[Sibling]:
    """Siblings that do not name another kind of trainer."""
    for each in sibling_datasets(folder, chosen.paths.datasets, environ):
        if each.text("trainer.kind") in (None, kind.kind):
            yield each


def _model_in_names(folder: Path, model: str | None, siblings: Iterable[Sibling]) -> str | None:
    same = [
        each.folder
        for each in siblings
        if model is not None and each.text(ARGS + BASE_MODEL) == model
    ]
    for place in (folder, *same[:_MOST_HISTORIES]):
        for name in history.standing_names(place):
            read = RunName.parse(name)
            if read.model is not None and place.name in read.dataset_candidates():
                return read.model
    return None


def _names_taken(folder: Path, chosen: Settings) -> frozenset[str]:
    return frozenset(
        (*history.standing_names(folder), *(entry.name for entry in entries(chosen.paths.output)))
    )


def is_trainer(folder: Path) -> bool:
    """Whether ``folder`` holds a trainer of any kind."""
    return any(each.checkout.recognises(folder) for each in kinds.all_trainers())


def _repository(folder: Path) -> Repository | None:
    reply = git.call("rev-parse", "--git-dir", cwd=folder)
    if reply.status != 0 and b"not a git repository" in reply.err and not git.is_bare(folder):
        return None
    return git.discover(folder)


def _trainers(
    chosen: Settings, kind: Trainer, siblings: Iterable[Sibling], home: Path
) -> tuple[Checkout, ...]:
    """Every checkout once, from the settings, siblings and usual places; repositories first."""
    said = chosen.trainer.repo
    is_said = _is_set(chosen, "trainer.repo")
    paths = [
        said,
        *(Path(text) for each in siblings if (text := each.text("trainer.repo"))),
        *_usual_trainers(chosen, kind.checkout, home),
    ]
    found: dict[tuple[int, int], Checkout] = {}
    for path in paths:
        if kind.checkout.recognises(path):
            status = path.stat()
            found.setdefault(
                (status.st_dev, status.st_ino),
                Checkout(path, _tracking(path / kind.checkout.landmarks[0])),
            )

    def rank(each: Checkout) -> tuple[bool, bool]:
        return not (is_said and each.path == said), each.repository is None

    return tuple(sorted(found.values(), key=rank))


def _is_set(chosen: Settings, key: str) -> bool:
    return any(each.key == key and each.source != "default" for each in chosen.origins)


def _usual_trainers(chosen: Settings, signs: CheckoutSigns, home: Path) -> Iterator[Path]:
    dataset = chosen.dataset_dir

    def named(folder: Path) -> Iterator[Path]:
        return (folder / each.name for each in entries(folder) if each.name.startswith(signs.names))

    yield from named(home / "source/repos")
    yield from named(home)
    yield from (home / each for each in signs.folders)
    # What came with a dataset does not count: what is found is written into trusted settings.
    own = trust.work_tree_top(dataset) if trust.foreign_origin(dataset) else None
    for folder in (*(home / each for each in _CODE), dataset.parent, dataset.parent.parent):
        yield from (
            each for each in named(folder) if own is None or not each.resolve().is_relative_to(own)
        )


def _tracking(file: Path) -> Path | None:
    """The top of the repository that tracks ``file``."""
    try:
        return checkout.tracking(file.resolve())
    except git.NotARepository:
        return None


def _script(
    chosen: Settings, kind: Trainer, trainer: Path | None, siblings: Iterable[Sibling]
) -> str | None:
    """The script that the settings name, else that siblings used last, else the first of
    the trainer's own; in any case one that the trainer has."""
    said = (chosen.trainer.script,) if _is_set(chosen, _SCRIPT) else ()
    wanted = (*said, *(each.script for each in siblings), *kind.scripts)
    return next(
        (each for each in wanted if trainer is not None and os.path.isfile(trainer / each)), None
    )


def _environments(
    chosen: Settings,
    kind: Trainer,
    trainer: Path | None,
    siblings: Sequence[Sibling],
    environ: Mapping[str, str],
    home: Path,
) -> tuple[str | None, tuple[str, ...]]:
    """The environment to use, and others: those of siblings, those in the trainer's repository,
    conda's by name."""
    used = [text for each in siblings if (text := each.text("trainer.env"))]
    within = [f"venv:{trainer / each}" for each in _ENVIRONMENTS] if trainer else []
    names = {each.name for each in conda_environments(environ, home)}
    rank = {name: _improbability(name, kind.checkout) for name in names}
    by_rank = sorted(names, key=lambda name: (rank[name], name))
    conda = [f"conda:{name}" for name in by_rank]
    probable = [f"conda:{name}" for name in by_rank if rank[name] < _IMPROBABLE]
    usable = [
        each
        for each in dict.fromkeys((*used, *within, *probable))
        if _usable(each, chosen, environ)
    ]
    env = usable[0] if usable else None
    return env, tuple(each for each in dict.fromkeys((*usable, *conda)) if each != env)


def _improbability(name: str, signs: CheckoutSigns) -> int:
    """A rank: the smaller, the more probable that a conda environment of this name is the
    trainer's."""
    exact, lower = signs.environments, name.lower()
    if lower in exact:
        return exact.index(lower)
    beginnings = enumerate(signs.environment_names, len(exact))
    return next((rank for rank, each in beginnings if lower.startswith(each)), _IMPROBABLE)


def _usable(env: str, chosen: Settings, environ: Mapping[str, str]) -> bool:
    try:
        pythons.find_python(chosen.trainer._replace(env=env, python=None), environ)
    except LoragitError:
        return False
    return True


def _lycoris(trainer: Path | None) -> Iterator[Path]:
    """Checkouts of LyCORIS beside the trainer and in it."""
    for folder in (trainer.parent, trainer) if trainer else ():
        for entry in entries(folder):
            if entry.name.lower().startswith("lycoris") and os.path.isfile(
                folder / entry.name / "lycoris/kohya.py"
            ):
                yield folder / entry.name


def _first_existing(folder: Path, names: Iterable[str], said: Path | None) -> Path | None:
    """The file that the settings name, or one of the usual ``names``; ``None`` if none exists."""
    places = (*((said,) if said else ()), *(folder / name for name in names))
    return next((each for each in places if os.path.isfile(each)), None)


def _workdir(config: Path | None, folder: Path, kind: Trainer, trainer: Path | None) -> str:
    """``trainer`` if the config's relative folders hold images only there, else ``dataset``."""
    if config is None or trainer is None or _images_from(config, folder, folder, kind):
        return "dataset"
    return "trainer" if _images_from(config, folder, trainer, kind) else "dataset"


def _images_from(config: Path, folder: Path, workdir: Path, kind: Trainer) -> int:
    """Number of images that ``config`` names if its relative paths are relative to ``workdir``."""
    none = Arguments({})
    try:
        plan = kind.plan(none, none, Defaults("", config, True, None, workdir), own_script=False)
        return kind.dataset(plan, DatasetPlace(workdir, folder)).images
    except LoragitError:
        return 0
