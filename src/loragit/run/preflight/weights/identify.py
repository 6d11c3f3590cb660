"""What each of the weights is that a run starts from: checked to be there, and hashed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.dataset import not_there
from loragit.dataset.hashes import HashCache, hash_file
from loragit.errors import Area, Findings, LoragitError, shell_word
from loragit.record.values import Weights
from loragit.run.preflight.weights import folders, hub_cache
from loragit.store.journal import HubRef
from loragit.trainers.trainer import HubName, NamedWeights, Plan

_MEND = "mend the path in the settings or the arguments"


class UnusableWeights(LoragitError):
    """Weights that the trainer could not load."""


class Identified(NamedTuple):
    """What is known of a plan's weights."""

    weights: tuple[Weights, ...]
    """Each of those that can be loaded, in the plan's order."""
    warnings: tuple[str, ...]
    hub_refs: tuple[HubRef, ...] = ()
    """Of those on a hub: where to see later which revision the trainer took."""


def identify_weights(
    plan: Plan,
    workdir: Path,
    environ: Mapping[str, str],
    cache: HashCache,
    findings: Findings,
) -> Identified:
    """Return what ``plan.weights`` are for a trainer that runs in ``workdir`` with ``environ``;
    ``findings`` tell which it could not load."""
    search = _Identifier(workdir, environ, cache, [], [])
    found = [
        findings.ask(lambda named=named: search.identify(named), Area.SETTINGS)  # type: ignore[misc]
        for named in plan.weights
    ]
    return Identified(tuple(filter(None, found)), tuple(search.warnings), tuple(search.hub_refs))


class _Identifier(NamedTuple):
    workdir: Path
    environ: Mapping[str, str]
    cache: HashCache
    warnings: list[str]
    hub_refs: list[HubRef]

    def identify(self, named: NamedWeights) -> Weights:
        """Raises :class:`UnusableWeights`, or :class:`~loragit.dataset.files.CannotRead`."""
        path = self.workdir / named.value
        if named.reads_link and path.is_symlink():
            path = self._target(named, path)
        if named.file and os.path.isfile(path):
            return self._file(named, path)
        if named.folder and os.path.isdir(path):
            return self._folder(named, path)
        if named.hub and not ((named.file or named.folder) and os.path.lexists(path)):
            return self._on_hub(named, named.hub)
        raise _unusable(named, path)

    def _target(self, named: NamedWeights, link: Path) -> Path:
        """What the trainer will open for a link whose target it reads."""
        target = link.readlink()
        path = self.workdir / target
        if os.path.exists(link) and not os.path.exists(path):
            raise UnusableWeights(
                f"--{named.argument}: {link} is a link to {target}, which the trainer takes as "
                f"relative to {self.workdir} and will not find there",
                hint=f"name the file itself: {shell_word(os.path.realpath(link))}",
            )
        return path if os.path.exists(path) else link

    def _file(self, named: NamedWeights, path: Path) -> Weights:
        if why := not_there.why_not_there(path):
            raise UnusableWeights(f"--{named.argument}: {path} is {why.what}", hint=why.hint)
        if not named.shards:
            return Weights(named.role, path.name, hash_file(path, self.cache).sha256)
        for each in named.shards:
            shard = self.workdir / each
            if not os.path.isfile(shard):
                raise UnusableWeights(
                    f"--{named.argument}: there is no file {shard}, and {path.name} is one of "
                    f"{len(named.shards)} that belong together",
                    hint="put all of them into one folder",
                )
            if why := not_there.why_not_there(shard):
                raise UnusableWeights(f"--{named.argument}: {shard} is {why.what}", hint=why.hint)
        names = [Path(each).name for each in named.shards]
        digest = folders.files_hash(path.parent, names, self.cache)
        return Weights(named.role, path.name, None, files_sha256=digest)

    def _folder(self, named: NamedWeights, path: Path) -> Weights:
        if not any(os.path.lexists(path / each) for each in named.folder):
            raise UnusableWeights(
                f"--{named.argument}: {path} is a folder without {' or '.join(named.folder)}",
                hint="name the folder of the model itself" + (", or a file" if named.file else ""),
            )
        digest = folders.files_hash(path, self._model_files(named, path), self.cache)
        return Weights(named.role, path.name, None, files_sha256=digest)

    def _model_files(self, named: NamedWeights, folder: Path) -> list[str]:
        try:
            return folders.model_files(folder)
        except folders.NoModelFolder as error:
            raise UnusableWeights(f"--{named.argument}: {error.message}", hint=error.hint) from None

    def _on_hub(self, named: NamedWeights, name: HubName) -> Weights:
        path = self.workdir / named.value
        cache = hub_cache.cache_folder(self.environ, self.workdir)
        snapshot = hub_cache.cached_snapshot(name, cache)
        if ref := hub_cache.ref_file(name, cache.absolute()):
            self.hub_refs.append(HubRef(named.role, named.value, str(ref)))
        offline = not name.downloads or hub_cache.is_offline(self.environ)
        if snapshot is not None:
            if offline:  # else what is missing is downloaded
                self._model_files(named, snapshot)
            return Weights(named.role, named.value, None, revision=snapshot.name)
        if offline:
            raise UnusableWeights(
                f"--{named.argument}: there is no file or folder {path}, and "
                f"the hub's cache {cache} has no {name.id}",
                hint=f"mend the path, or fetch it: {_download(name)}",
            )
        self.warnings.append(
            f"--{named.argument}: there is no file or folder {path}, and the hub's cache {cache} "
            f"has no {name.id}: it will be downloaded, and only the end of the run can tell which "
            "revision it was"
        )
        return Weights(named.role, named.value, None)


def _download(name: HubName) -> str:
    words = ["hf", "download", name.id]
    words += ["--repo-type", name.kind] if name.kind != "model" else []
    words += ["--revision", name.revision] if name.revision != "main" else []
    return " ".join(words)


def _unusable(named: NamedWeights, path: Path) -> UnusableWeights:
    """Why ``path``, which is nothing that the argument may name, cannot be loaded."""
    about, wanted = f"--{named.argument}:", _wanted(named)
    if not named.file and not named.folder:
        return UnusableWeights(
            f"{about} {named.value!r} does not name a folder on a hub",
            hint="write OWNER/NAME/PATH, or OWNER/NAME/PATH:REVISION",
        )
    if os.path.isdir(path):
        return UnusableWeights(
            f"{about} {path} is a folder, and the trainer loads {wanted}", hint="name the file"
        )
    if os.path.exists(path):
        what = "a file" if os.path.isfile(path) else "neither a file nor a folder"
        return UnusableWeights(f"{about} {path} is {what}; the trainer loads {wanted}", hint=_MEND)
    if why := not_there.missing_target(path):
        return UnusableWeights(f"{about} {path} is {why.what}", hint=why.hint)
    return UnusableWeights(f"{about} there is no {wanted.removeprefix('a ')} {path}", hint=_MEND)


def _wanted(named: NamedWeights) -> str:
    kinds = (("a file", named.file), ("a folder", bool(named.folder)))
    return " or ".join(what for what, may_be in kinds if may_be).replace("or a ", "or ")
