"""How trainers name what they write, and what a training left, found by those names; where a script
of the user's own may have started any trainer, by what they all have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Products(NamedTuple):
    """What a trainer writes of one sort: where it lies, and how it is called."""

    folders: tuple[str, ...]
    """Folders that hold it, relative to the output folder, ``.`` for that itself; a part may be a
    pattern of the shell's: ``checkpoint-*``. Nothing is looked for below them."""
    path: str
    """A regular expression of the whole path, relative to the output folder, with ``{name}`` where
    the output name stands: only from a known output name can it be told whether ``foo-000010`` is a
    name or the tenth epoch of ``foo``. Groups ``step`` and ``epoch``, each optional: a product
    without either is the final one."""
    unnamed: str | None = None
    """The same for a training without an output name, where that is called otherwise."""


class Naming(NamedTuple):
    """How a trainer names what it writes."""

    model: Products
    state: Products
    """Folders of training state."""
    sample: Products
    state_weights: re.Pattern[str] | None = None
    """All of the name of a file of weights in a state's folder; ``None`` where no name tells
    them."""
    default_names: tuple[str, ...] = ()
    """What stands for the output name in the models of a training that was given none; all of them
    may be of one training."""


class Product(NamedTuple):
    """A file or folder called like a product."""

    path: str
    """Relative to the output folder, with ``/``."""
    entry: os.DirEntry[str]


def find_products(output: Path, products: Products, output_name: str | None) -> Iterator[Product]:
    """What lies in ``output`` and is called as the training ``output_name`` calls such products; of
    any name where that is ``None``. Folders that are missing or cannot be listed hold none."""
    for pattern in products.folders:
        for folder in _folders(output, pattern):
            for entry in entries(output / folder):
                path = f"{folder}/{entry.name}" if folder else entry.name
                if match_product(products, path, output_name):
                    yield Product(path, entry)


def match_product(products: Products, path: str, output_name: str | None) -> re.Match[str] | None:
    """Match all of ``path`` as a product of the training ``output_name``, of any where that is
    ``None``.

    Where no output name is known, the shortest counts, so that ``foo-000010`` is the tenth epoch of
    ``foo``.
    """
    found = _compiled(products.path, output_name).fullmatch(path)
    if found is None and output_name is None and products.unnamed is not None:
        return _compiled(products.unnamed, None).fullmatch(path)
    return found


@lru_cache(maxsize=256)
def _compiled(path: str, output_name: str | None) -> re.Pattern[str]:
    name = "(?P<name>[^/\\n]+?)" if output_name is None else re.escape(output_name)
    return re.compile(path.replace("{name}", name), re.DOTALL)


def number(found: re.Match[str] | None, group: str) -> int | None:
    """What a name says of ``step`` or ``epoch``."""
    text = found.groupdict().get(group) if found else None
    return int(text) if text and len(text) <= 18 else None


def _folders(output: Path, pattern: str) -> Iterator[str]:
    """The folders of ``output`` that ``pattern`` means, relative to it, in order of their names;
    empty for ``output`` itself."""
    if pattern == ".":
        yield ""
        return
    found = [""]
    for part in pattern.split("/"):
        if not re.search(r"[*?[]", part):
            found = [f"{folder}/{part}".lstrip("/") for folder in found]
            continue
        found = [
            f"{folder}/{name}".lstrip("/")
            for folder in found
            for name in sorted(entry.name for entry in entries(output / folder))
            if fnmatchcase(name, part)
        ]
    yield from found


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Entries of ``folder``; none where it is missing or cannot be listed."""
    try:
        with os.scandir(folder) as found:
            yield from found
    except OSError:
        return


# ---- whatever the trainer was ----

_WEIGHTS = re.compile(
    r".+\.(?:safetensors|ckpt|pt)|(?:pytorch_lora_weights|adapter_model|learned_embeds)\.bin",
    re.DOTALL,
)
"""A file of weights. ``.bin`` may be anything, but for the names that diffusers and PEFT give."""
_NO_WEIGHTS = re.compile(
    r"(?:optimizer|scheduler|random_states|rng_state|training_args|tokenizer).*"
    # musubi-tuner's latents and outputs of text encoders.
    r"|.+_(?:[0-9]{4,}x[0-9]{4,}_\w+|te|te_outputs)\.safetensors",
    re.DOTALL,
)
"""A file that is called like weights, and is none."""
_SAMPLE = re.compile(
    r"(?:.+/)?(?:samples?|validation(?:_images)?)/.+\.(?:png|jpe?g|webp|mp4|gif)",
    re.DOTALL | re.IGNORECASE,
)
_STATE = re.compile(r"(?:.+/)?(?:[^/]+-state|global_step[0-9]+|backup/[^/]+)", re.DOTALL)
"""Folders of training state, with nothing in them that is a product by itself: sd-scripts',
DeepSpeed's, OneTrainer's."""
_RESUMABLE = re.compile(r"optimizer\.bin|scheduler\.(?:bin|pt)|random_states_[0-9]+\.pkl")
"""What makes any other folder one that a training can be resumed from: accelerate's and
transformers' ``checkpoint-500``, which hold models as well. (ai-toolkit has its ``optimizer.pt``
beside all its models.)"""
_SAVED = tuple(
    re.compile(each, re.DOTALL)
    for each in (
        r".+-step(?P<step>[0-9]{8,})(?:\.\w+|-state)",
        r".+-(?P<epoch>[0-9]{6,})(?:\.\w+|-state)",
        r".+_(?P<step>[0-9]{9})\.\w+",
        r".+-save-(?P<step>[0-9]+)-(?P<epoch>[0-9]+)-[0-9]+\.\w+",
        r"(?:.+/)?(?:checkpoint-|(?:global_)?step)(?P<step>[0-9]+)(?:-rolling)?(?:/.+)?",
        r"(?:.+/)?epoch(?P<epoch>[0-9]+)(?:/.+)?",
    )
)
"""How a path says when it was saved: sd-scripts and musubi-tuner, ai-toolkit, OneTrainer, and those
that make a folder for each save."""


class AnyProducts(NamedTuple):
    """What lies in an output folder: paths relative to it, sorted."""

    models: tuple[str, ...]
    states: tuple[str, ...]
    """Folders that are not empty."""
    samples: tuple[str, ...]
    others: tuple[str, ...]
    """All other files."""


def find_any_products(output: Path, naming: Naming, ours: Container[str]) -> AnyProducts:
    """Sort all files below ``output`` but ``ours``, as any trainer names them or ``naming`` does.

    Links to folders are files here: they are not followed. What is in a folder of training state is
    part of that.
    """
    models, states, samples, others = list[str](), list[str](), list[str](), list[str]()
    for root, folders, names in os.walk(output):
        place = os.path.relpath(root, output)
        prefix = "" if place == os.curdir else f"{place}/"
        if prefix and any(map(_RESUMABLE.fullmatch, names)):
            states.append(place)
        links = [name for name in folders if os.path.islink(f"{root}/{name}")]  # noqa: PTH114
        whole = [name for name in folders if _is_state(naming, prefix + name)]
        states += [prefix + name for name in whole if holds_something(output / prefix / name)]
        folders[:] = [name for name in folders if name not in whole]
        for path in (prefix + name for name in (*names, *links)):
            if path in ours:
                continue
            if _is_model(naming, path):
                models.append(path)
            elif _SAMPLE.fullmatch(path) or match_product(naming.sample, path, None):
                samples.append(path)
            else:
                others.append(path)
    return AnyProducts(*(tuple(sorted(paths)) for paths in (models, states, samples, others)))


def saved_when(path: str) -> re.Match[str] | None:
    """Match a path by what it says of ``step`` and ``epoch``; ``None`` for a final product."""
    return next((match for each in _SAVED if (match := each.fullmatch(path))), None)


def _is_state(naming: Naming, path: str) -> bool:
    return bool(_STATE.fullmatch(path) or match_product(naming.state, path, None))


def _is_model(naming: Naming, path: str) -> bool:
    """Neither a trainer's cache, nor a save that is still under way."""
    *folders, name = path.split("/")
    if _NO_WEIGHTS.fullmatch(name) or any(map(_is_scratch, folders)):
        return False
    return bool(_WEIGHTS.fullmatch(name) or match_product(naming.model, path, None))


def _is_scratch(folder: str) -> bool:
    return folder.startswith(".") or folder == "tmp" or "cache" in folder.casefold()


def holds_something(folder: Path) -> bool:
    """Whether a folder is not empty; one that may not be listed is taken not to be."""
    try:
        with os.scandir(folder) as found:
            return next(found, None) is not None
    except FileNotFoundError:
        return False
    except OSError:
        return True
