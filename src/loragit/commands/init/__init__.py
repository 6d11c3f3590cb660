"""``loragit init [FOLDER]``: a dataset's first files and its repository, from what is found around
it.

Everything is examined and asked before the first write. No existing file is overwritten; lines
are added to ``.gitignore`` and ``.gitattributes``.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragit import console, git, text
from loragit.commands import hook
from loragit.commands.hook import files
from loragit.commands.init import base_models, discover, first_files, siblings
from loragit.commands.init import plan as setup
from loragit.commands.init.discover import Surroundings
from loragit.commands.init.plan import Changes, Choices, RepositoryState
from loragit.errors import LoragitError, UsageError
from loragit.git import identity
from loragit.run.preflight import trust
from loragit.settings import paths as places
from loragit.settings import schema
from loragit.store.enclosing import EnclosingQuestion

_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""The name of a model on a hub: ``owner/name``."""


class NoDataset(UsageError):
    """The folder cannot be a dataset."""


class NobodyToAnswer(LoragitError):
    """There are questions and no terminal, and ``--yes`` was not given."""


class NoCommit(LoragitError):
    """Everything is written, but not committed."""


class InitOptions(NamedTuple):
    """What the command line asks of ``init``."""

    folder: str
    """The dataset's, relative to ``cwd``."""
    cwd: Path
    environ: Mapping[str, str]
    command: str
    """How a hook starts loragit if it is not on PATH: words for a shell."""
    yes: bool = False
    dry_run: bool = False


def init(request: InitOptions) -> int:
    """Set the dataset up. Returns the exit status. Raises :class:`LoragitError` before anything
    is written."""
    seen = discover.surroundings(_dataset_folder(request), request.environ)
    asks = not request.yes and not request.dry_run and console.can_ask()
    seen = _with_repository(seen, asks=asks)
    state = _repository_state(seen)
    _report_found(seen)
    wanted = usual = Choices(hook=not state.begun and not state.shared)
    if asks:
        seen, wanted = _ask_user(seen, state, wanted, request)
    plan = setup.plan_changes(seen, state, wanted)
    for warning in plan.warnings:
        console.warn(warning)
    if os.path.lexists(seen.settings_file):
        _report_differences(seen, request.environ)
    failed = False
    if plan.empty:
        nothing_missing = setup.plan_changes(seen, state, usual).empty
        console.info(
            "everything is there; nothing was written" if nothing_missing else "nothing was written"
        )
    elif request.dry_run:
        _show_changes(plan)
    elif not request.yes and not asks:
        _show_changes(plan)
        raise NobodyToAnswer(
            "nothing was written: there is no terminal to ask on",
            hint="loragit init --yes does all this",
        )
    else:
        failed = not _carry_out(plan, seen.folder, request.command)
    _report_next_steps(seen, plan, request)
    return 1 if failed else 0


def _dataset_folder(request: InitOptions) -> Path:
    """The dataset's folder, absolute. Raises :class:`NoDataset`."""
    folder = places.expand_path(request.folder, request.cwd, request.environ)
    if ".." in folder.parts:
        folder = folder.resolve()
    if not folder.is_dir():
        raise NoDataset(
            f"there is no folder {folder}", hint="create it, put the images in it, and try again"
        )
    if folder == folder.parent or folder.samefile(places.home_of(request.environ)):
        raise NoDataset(
            f"{folder} is not the folder of a dataset",
            hint="name one: loragit init ~/datasets/NAME",
        )
    if discover.is_trainer(folder):
        raise NoDataset(
            f"{folder} is a trainer's folder",
            hint="name the dataset's: loragit init ~/datasets/NAME",
        )
    return folder


def _not_meant(seen: Surroundings) -> str | None:
    """Why the repository around the dataset may be there by chance."""
    if seen.repository is None or seen.chosen.record.enclosing:
        return None
    top = seen.repository.top
    tops = [each.repository for each in seen.trainers if each.repository is not None]
    tops += [top] if discover.is_trainer(top) else []
    return EnclosingQuestion(seen.repository).answer(seen.home, tops)


def _with_repository(seen: Surroundings, *, asks: bool) -> Surroundings:
    """``seen`` with the repository that is meant: where the one around the dataset is there by
    chance, the dataset gets one of its own, unless the user says otherwise."""
    seen = seen._replace(not_meant=_not_meant(seen))
    if seen.not_meant is None:
        return seen
    own = "a repository of its own"
    if asks and not console.confirm(f"{seen.not_meant}. Make the dataset {own}?", default=True):
        if os.path.lexists(seen.settings_file):
            console.info(f"put record.enclosing = true in {schema.FILE}: runs are recorded there")
        return seen
    if not asks:
        console.info(f"{seen.not_meant}: the dataset gets {own}")
    return seen._replace(repository=None)


def _repository_state(seen: Surroundings) -> RepositoryState:
    lfs = git.call("lfs", "version", cwd=seen.folder).status == 0
    if seen.repository is None:
        shared = git.call("config", "--get", "core.hooksPath", cwd=seen.folder).status == 0
        return RepositoryState(
            begun=False, hook=False, shared=shared, caches_ignored=False, lfs=lfs
        )
    now = files.status(seen.folder)
    ignored = git.call(
        "check-ignore", "--quiet", "--no-index", "--", "img/cache.npz", cwd=seen.folder
    )
    return RepositoryState(
        begun=git.call("rev-parse", "--verify", "--quiet", "HEAD", cwd=seen.folder).status == 0,
        hook=now.installed,
        shared=now.shared,
        caches_ignored=ignored.status == 0,
        lfs=lfs,
    )


def _report_found(seen: Surroundings) -> None:
    home = str(seen.home)
    if seen.trainer is not None:
        console.info(
            f"found {seen.kind.kind} in {text.home_as_tilde(str(seen.trainer), home)}, its script "
            f"{seen.script}"
        )
    if seen.env is not None:
        console.info(f"found the trainer's Python: {text.home_as_tilde(seen.env, home)}")
    if seen.base_model is not None:
        console.info(f"found the base model {text.home_as_tilde(seen.base_model, home)}")
    for each in seen.images:
        captions = (
            f"{text.count(len(each.captions), 'caption')} ({each.suffix})"
            if each.suffix
            else "no captions"
        )
        console.info(f"found {text.count(len(each.images), 'image')} in {each.place}, {captions}")


# ---- questions ----


def _ask_user(
    seen: Surroundings, state: RepositoryState, wanted: Choices, request: InitOptions
) -> tuple[Surroundings, Choices]:
    """The user's answers. Asks only what is still undecided."""
    if _lacks_model(seen) and not os.path.lexists(seen.settings_file):
        seen = discover.with_base_model(seen, _ask_model(seen, request))
    files = frozenset(
        name
        for name in sorted(setup.missing_files(seen))
        if console.confirm(f"Write {seen.folder / name}?", default=True)
    )
    known = seen.repository is not None or seen.not_meant is not None
    repository = known or console.confirm(
        f"Make {seen.folder} a git repository? Runs are recorded in it.", default=True
    )
    images, commit = wanted.images, wanted.commit
    if repository and not state.begun:
        if seen.images:
            options = {
                key: about for key, about in setup.IMAGES.items() if key != "lfs" or state.lfs
            }
            images = console.choose("What should git do with the images?", options, default=images)
        commit = console.confirm(
            "Commit settings, config, prompts and captions as the first commit?", default=True
        )
    put = False
    if repository and not state.hook:
        where = ", for all of your repositories (core.hooksPath)" if state.shared else ""
        question = (
            "Install the hook that refuses a commit while the trainer's code is not "
            f"committed{where}?"
        )
        put = console.confirm(question, default=wanted.hook)
    return seen, Choices(files=files, repository=repository, images=images, commit=commit, hook=put)


def _is_unset(seen: Surroundings, key: str) -> bool:
    """Whether no settings set ``key``."""
    return all(each.source == "default" for each in seen.chosen.origins if each.key == key)


def _lacks_model(seen: Surroundings) -> bool:
    return (
        seen.kind.takes_first_files
        and seen.base_model is None
        and _is_unset(seen, first_files.BASE_MODEL_KEY)
    )


def _ask_model(seen: Surroundings, request: InitOptions) -> str | None:
    """A path that exists, one of the models found, or the name of a model on a hub; ``None`` for
    later."""
    for number, each in enumerate(seen.other_models, 1):
        console.info(f"{number}: {text.home_as_tilde(each, str(seen.home))}")
    which = "its number, its path" if seen.other_models else "its path"
    while True:
        answer = console.ask(f"Which base model ({which}, or later)?", "later")
        if answer == "later":
            return None
        if answer.isascii() and answer.isdigit() and 0 < int(answer) <= len(seen.other_models):
            return seen.other_models[int(answer) - 1]
        try:
            path = places.expand_path(answer, request.cwd, request.environ)
        except LoragitError as failure:
            console.error(failure)
            continue
        if os.path.exists(path):
            return str(path.resolve() if ".." in path.parts else path)
        if _HUB.fullmatch(answer) and not answer.endswith(base_models.MODEL_SUFFIXES):
            return answer
        console.warn(f"there is no file {path}")


def _show_changes(plan: Changes) -> None:
    """Print what would be done; the texts of the files go to stdout."""
    for entry in (*plan.new, *plan.added):
        console.info(f"would {'write' if entry in plan.new else 'add to'} {entry.path}")
        console.out(f"# ---- {entry.path}")
        for line in entry.data.decode().splitlines():
            console.out(line)
    if plan.repository:
        console.info("would make the folder a git repository")
    if plan.commit:
        console.info(f"would commit {text.count(len(plan.commit), 'file')}")
    if plan.hook:
        console.info("would install the pre-commit hook")


# ---- doing it ----


def _carry_out(plan: Changes, folder: Path, command: str) -> bool:
    """Make the changes; what fails is reported. Returns whether nothing failed."""
    for entry in plan.new:
        # Somebody may have made it meanwhile: "x" refuses to overwrite it.
        with (folder / entry.path).open("xb") as file:
            file.write(entry.data)
        console.info(f"wrote {folder / entry.path}")
    for entry in plan.added:
        with (folder / entry.path).open("ab") as file:
            file.write(entry.data)
        console.info(f"added to {folder / entry.path}")
    if plan.repository:
        git.run("init", "--quiet", cwd=folder)
        console.info(f"made {folder} a git repository")
    done = True
    for wanted, step in (
        (plan.lfs, lambda: git.run("lfs", "install", "--local", cwd=folder)),
        (bool(plan.commit), lambda: _commit(plan, folder)),
        (plan.hook, lambda: _install_hook(folder, command)),
    ):
        try:
            if wanted:
                step()
        except LoragitError as failure:
            console.error(failure)
            done = False
    if any(entry.path == schema.FILE for entry in plan.new):
        # What was found on this machine is trusted, even if the repository has a remote now or
        # later.
        trust.store_consent(trust.subject_of_file(folder))
    return done


def _commit(plan: Changes, folder: Path) -> None:
    """Make the first commit, of exactly the planned files; whatever else is staged stays staged."""
    try:
        identity.IdentityQuestion(folder).answer()
        paths = b"\0".join(map(os.fsencode, plan.commit))
        listed = ("--pathspec-from-file=-", "--pathspec-file-nul")
        own = ("GIT_LITERAL_PATHSPECS=1",)
        git.run("add", "--force", *listed, cwd=folder, data=paths, variables=own)
        message = f"{text.shown(folder.name)}: settings of the dataset"
        git.run(
            "commit",
            "--quiet",
            "--only",
            "--message",
            message,
            *listed,
            cwd=folder,
            data=paths,
            variables=own,
        )
    except LoragitError as failure:
        hint = (
            f"{failure.hint}; then: loragit init"
            if failure.hint
            else "see: git status; then: loragit init"
        )
        raise NoCommit(
            f"the files are written, but not committed: {failure.message}", hint=hint
        ) from failure
    console.info(f"committed {text.count(len(plan.commit), 'file')}")


def _install_hook(folder: Path, command: str) -> None:
    for line in hook.lines(files.install(folder, command)):
        console.info(line)


# ---- what comes next ----


def _report_differences(seen: Surroundings, environ: Mapping[str, str]) -> None:
    for key, now, other in first_files.differences(seen, environ):
        console.info(
            f"{seen.settings_file} is left as it is: {key} is {now} there, and {other} was found"
        )


def _report_next_steps(seen: Surroundings, plan: Changes, request: InitOptions) -> None:
    """Print what is still missing, and the first command to type."""
    if not seen.images and seen.config is None:
        console.warn("there are no images: put a folder of them here, then: loragit init")
    if seen.trainer is None and _is_unset(seen, "trainer.repo"):
        signs = seen.kind.checkout
        console.warn(
            f"{seen.kind.kind} was not found; get it: git clone {signs.url} "
            f"~/source/repos/{signs.names[0]}, or name it in {schema.FILE}"
        )
    if _lacks_model(seen):
        console.warn(f"no base model was found: fill in {siblings.BASE_MODEL} in {schema.FILE}")
    if seen.repository is None and not plan.repository:
        console.warn("runs are recorded in a git repository, and there is none yet: git init")
    stays = seen.repository is not None and plan.new and not plan.commit
    if stays and not request.dry_run:
        names = shlex.join([*(entry.path for entry in (*plan.new, *plan.added))])
        console.info(f"commit what was written: git add {names} && git commit")
    console.info("first, check a run with:")
    console.out(first_files.first_run(seen, request.cwd))
