"""The texts of a dataset's first files: ``loragit.toml``, dataset config, prompts, ``.gitignore``.

Writes nothing. Values are in TOML's form, so that a file reads back as what was found, whatever a
folder is called; what TOML cannot hold (names that are not Unicode) is left out.
"""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from loragit.commands.init import image_folders
from loragit.commands.init.discover import Surroundings
from loragit.commands.init.image_folders import ImageFolder, is_unicode
from loragit.commands.init.siblings import BASE_MODEL
from loragit.dataset.file_kinds import FileKinds
from loragit.errors import LoragitError
from loragit.record.name import RunName
from loragit.settings import layers
from loragit.settings import paths as places
from loragit.settings.schema import ARGS, SCHEMA
from loragit.settings.toml_text import Value, toml_literal

CONFIG, PROMPTS = "config.toml", "sample-prompts.txt"
BASE_MODEL_KEY = ARGS + BASE_MODEL
STEPS = 1000
"""Of the first run."""

_CAPTIONS = 3
"""Captions that become prompts."""
_NETWORKS = {
    "flux_train_network.py": "networks.lora_flux",
    "sd3_train_network.py": "networks.lora_sd3",
    "lumina_train_network.py": "networks.lora_lumina",
    "hunyuan_image_train_network.py": "networks.lora_hunyuan_image",
    "anima_train_network.py": "networks.lora_anima",
}
_ARGUMENTS: Mapping[str, Value] = {
    "network_dim": 16,
    "network_alpha": 8,
    "learning_rate": 1e-4,
    "mixed_precision": "bf16",
    "gradient_checkpointing": True,
    "save_every_n_steps": 250,
    "sample_every_n_steps": 250,
    "logging_dir": "~/logs",
}


def settings_found(seen: Surroundings) -> dict[str, Value]:
    """The settings that the surroundings lead to, by dotted key, as ``loragit.toml`` writes them.

    Without those that the user's own settings file has, and those that no TOML file can hold.
    """
    kind = seen.kind.kind
    values: dict[str, Value | None] = {
        "trainer.kind": None if kind == SCHEMA["trainer.kind"].default else kind,
        "trainer.repo": _portable_path(seen.trainer, seen) if seen.trainer else None,
        "trainer.script": seen.script,
        "trainer.env": seen.env and _portable_env(seen.env, seen),
        "trainer.launcher": seen.launcher or None,
        BASE_MODEL_KEY: seen.base_model and _with_tilde(seen.base_model, seen),
        **{ARGS + name: _with_tilde(text, seen) for name, text in seen.weights},
        ARGS + "network_module": seen.network_module,
        "paths.config": _unusual_file(seen.config, CONFIG, seen),
        "paths.prompts": _unusual_file(seen.prompts, PROMPTS, seen),
    }
    return {
        key: value
        for key, value in values.items()
        if value is not None and is_unicode(str(value)) and user_file_that_sets(key, seen) is None
    }


def user_file_that_sets(key: str, seen: Surroundings) -> str | None:
    """The user's own settings file, if it sets ``key``."""
    source = next((each.source for each in seen.chosen.origins if each.key == key), "")
    return source if source.startswith("/") and source != str(seen.settings_file) else None


def _portable_path(path: Path, seen: Surroundings) -> str:
    """``path`` in a form that is right on other machines too: relative to the home folder, else to
    the dataset if it is near."""
    from_home = _with_tilde(str(path), seen)
    near = seen.folder.parent.parent
    if from_home.startswith("/") and len(near.parts) > 1 and path.is_relative_to(near):
        return os.path.relpath(path, seen.folder)
    return from_home


def _with_tilde(text: str, seen: Surroundings) -> str:
    """The same for an argument of the trainer, which is not relative to the dataset: only the home
    folder is shortened."""
    home = str(seen.home).rstrip("/")
    return f"~{text.removeprefix(home)}" if home and text.startswith(f"{home}/") else text


def _portable_env(env: str, seen: Surroundings) -> str:
    scheme, colon, place = (
        env.partition(":") if env.startswith(("venv:", "conda:")) else ("", "", env)
    )
    return f"{scheme}{colon}{_portable_path(Path(place), seen) if '/' in place else place}"


def _unusual_file(path: Path | None, usual: str, seen: Surroundings) -> str | None:
    """A file in the dataset that does not have its usual name; else ``None``."""
    if path is None or path == seen.folder / usual:
        return None
    return path.name if path.parent == seen.folder else _portable_path(path, seen)


def differences(seen: Surroundings, environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(key, value in force, value found), as TOML, for each key in which they differ."""
    holds = {each.key: each.value for each in seen.chosen.origins}
    for key, value in settings_found(seen).items():
        meant = layers.resolve_paths(
            key, layers.SourcedValue(value, ""), seen.folder, environ
        ).value
        if isinstance(meant, str) and meant.startswith("~/"):
            meant = str(places.expand_path(meant, seen.folder, environ))
        now = holds.get(key)
        if now not in (toml_literal(value), toml_literal(meant)):
            yield key, now or "not set", toml_literal(value)


def settings_text(seen: Surroundings, *, prompts: bool) -> str:
    """``loragit.toml``. ``prompts``: whether there are or will be sample prompts."""
    values = settings_found(seen)
    lines = [
        (
            "# What `loragit train` uses for this dataset. Paths count from this folder; ~ is the "
            "home folder."
        ),
        "# `loragit settings` shows what holds.",
        "",
        "[trainer]",
        *_trainer_lines(values, seen),
        "",
        "[trainer.args]",
        *_argument_lines(values, seen),
    ]
    paths = {
        key.removeprefix("paths."): value
        for key, value in values.items()
        if key.startswith("paths.")
    }
    if not prompts:
        paths["prompts"] = ""
    if seen.not_meant is not None and seen.repository is not None:
        meant = "# Runs are recorded in the repository around this folder."
        lines += ["", "[record]", meant, "enclosing = true"]
    if paths:
        lines += (
            "",
            "[paths]",
            *(f"{key} = {toml_literal(value)}" for key, value in paths.items()),
        )
    return "\n".join(lines) + "\n"


def _trainer_lines(values: Mapping[str, Value], seen: Surroundings) -> Iterator[str]:
    """Yield the table ``[trainer]``, with what else was found in comments."""
    if "trainer.kind" in values:
        yield from _line("trainer.kind", values, seen)
    yield from _line("trainer.repo", values, seen)
    for each in seen.trainers[1:]:
        where = toml_literal(_portable_path(each.path, seen))
        yield f"# also found: {where}{_untracked(each.repository is not None)}"
    yield from _line("trainer.script", values, seen)
    yield from _line("trainer.env", values, seen)
    for env in seen.other_envs:
        yield f"# also found: {toml_literal(_portable_env(env, seen))}"
    yield from _line("trainer.launcher", values, seen)
    for repo in seen.lycoris:
        yield f"# lycoris_repo = {toml_literal(_portable_path(repo, seen))}  # if it is used"
    yield (
        "# The trainer runs in this folder: the image folders of the dataset config count from it."
        if seen.workdir == "dataset"
        else "# The trainer runs in its own folder: the image folders of the dataset config count "
        "from there."
    )
    yield f"workdir = {toml_literal(seen.workdir)}"


def _argument_lines(values: Mapping[str, Value], seen: Surroundings) -> Iterator[str]:
    """Yield the table ``[trainer.args]``: the base model, then what a first run starts from under
    what was found; without what the user's own settings file sets."""
    if not seen.kind.takes_first_files:
        return
    yield from _line(ARGS + BASE_MODEL, values, seen)
    for model in seen.other_models:
        yield f"# also found: {toml_literal(_with_tilde(model, seen))}"
    module = _NETWORKS.get(seen.script or "", "networks.lora")
    begin = {"network_module": module} | dict(_ARGUMENTS)
    given = {key.removeprefix(ARGS): value for key, value in values.items() if key.startswith(ARGS)}
    given.pop(BASE_MODEL, None)
    elsewhere = {key for key in begin if user_file_that_sets(ARGS + key, seen)}
    for key, value in (begin | given).items():
        if key not in elsewhere:
            yield f"{key} = {toml_literal(value)}"


def _untracked(tracked: bool) -> str:
    return "" if tracked else " (in no git repository: no commit would tell what ran)"


def _line(key: str, values: Mapping[str, Value], seen: Surroundings) -> Iterator[str]:
    """The key with its value, or a comment that says what to do about it."""
    name = key.rpartition(".")[2]
    if key in values:
        yield f"{name} = {toml_literal(values[key])}"
    elif elsewhere := user_file_that_sets(key, seen):
        yield f"# {name}: {toml_literal(_with_tilde(elsewhere, seen))} says it"
    else:
        example, about = _missing(key, seen)
        yield f"# {name} = {toml_literal(example)}  # {about}"


def _missing(key: str, seen: Surroundings) -> tuple[str, str]:
    """For a key that has no value: an example, and what it is for."""
    kind, signs = seen.kind, seen.kind.checkout
    return {
        "trainer.repo": (
            f"~/source/repos/{signs.names[0]}",
            f"where {kind.kind} is; it was not found",
        ),
        "trainer.script": (kind.scripts[0], "relative to repo"),
        "trainer.env": (
            f"conda:{signs.environments[0]}",
            'the trainer\'s Python: "conda:NAME" or "venv:PATH"; without, python3 on PATH',
        ),
        "trainer.launcher": (
            "accelerate launch --num_cpu_threads_per_process 1",
            "instead of the plain Python",
        ),
        BASE_MODEL_KEY: ("~/models/BASE.safetensors", "the model to train on: fill it in"),
    }[key]


def config_text(folders: Iterable[ImageFolder], *, base: Path | None, side: int) -> str:
    """A dataset config of ``folders``, all of which can be named.

    ``base`` is the dataset's folder where the trainer runs elsewhere, so that paths must be
    absolute. ``side`` is the resolution in pixels.
    """
    folders = tuple(folders)
    general = image_folders.suffix_of_most(folders)
    lines = [
        "# What sd-scripts trains on; every key is told in its docs/config_README-en.md.",
        "[general]",
        f"caption_extension = {toml_literal(general or '.txt')}"
        + ("" if general else "  # there are no captions yet"),
        "",
        "[[datasets]]",
        f"resolution = {side}",
        "batch_size = 1",
        "enable_bucket = true",
    ]
    for each in folders:
        place = each.place if base is None else str(base / each.place)
        lines += (
            "",
            "  [[datasets.subsets]]",
            f"  image_dir = {toml_literal(place)}",
            f"  num_repeats = {each.repeats}",
        )
        if each.suffix not in (None, general):
            lines.append(f"  caption_extension = {toml_literal(each.suffix or '')}")
        if not each.captions and each.tokens:
            lines.append(f"  class_tokens = {toml_literal(each.tokens)}")
        if each.regularisation:
            lines.append("  is_reg = true")
    return "\n".join(lines) + "\n"


def resolution(seen: Surroundings) -> int:
    """Resolution of the base model, or of those that the script is for, in pixels."""
    if seen.family is not None:
        return seen.family.side
    return 512 if seen.script == "train_network.py" else 1024


def prompts_text(seen: Surroundings) -> str:
    """Sample prompts, from the dataset's own captions."""
    size = f"--w {resolution(seen)} --h {resolution(seen)}"
    folders = [each for each in seen.images if not each.regularisation]
    lines = image_folders.first_captions(seen.folder, folders, _CAPTIONS)
    lines = (
        lines
        or tuple(dict.fromkeys(each.tokens for each in folders if _is_prompt(each.tokens)))[
            :_CAPTIONS
        ]
    )
    origin = "from the dataset's captions" if lines else f"for example: a photograph {size} --d 1"
    head = (
        f"# One line a picture, {origin}; --w and --h are its size in pixels, --d is its seed, "
        "--n what it is not.\n"
    )
    return head + "".join(f"{line} {size} --d {number}\n" for number, line in enumerate(lines, 1))


def _is_prompt(tokens: str) -> bool:
    return (
        tokens != "" and tokens.isprintable() and not tokens.startswith("#") and "--" not in tokens
    )


def image_patterns(folders: Iterable[ImageFolder], files: FileKinds) -> tuple[str, ...]:
    """git's patterns for images: every suffix in lower case, and those in upper case that occur."""
    there = {name[name.rindex(".") :] for each in folders for name in each.images}
    return tuple(f"*{end}" for end in files.images if end.islower() or end in there)


def extended(now: bytes, lines: Iterable[str], about: str) -> bytes:
    """What to append to a file that holds ``now``, so that it has all of ``lines``."""
    held = {line.strip() for line in now.decode("utf-8", "surrogateescape").splitlines()}
    new = [line for line in lines if line not in held]
    if not new:
        return b""
    gap = "" if not now else "\n" if now.endswith(b"\n") else "\n\n"
    return "\n".join((f"{gap}# {about}", *new, "")).encode()


def first_run(seen: Surroundings, cwd: Path) -> str:
    """The command that checks a first run of this dataset, as words for a shell in ``cwd``."""
    model = seen.model or _model_word(seen.base_model)
    name = _run_name(model, _name_characters(seen.folder.name, "-") or "dataset").bumped(seen.runs)
    words = ["loragit", "train", name.text, "--dry-run"]
    here = (cwd, seen.folder) if cwd.is_relative_to(seen.folder) else (cwd,)
    try:
        meant = places.dataset_folder_of(name, seen.chosen.paths.datasets, here)[0].samefile(
            seen.folder
        )
    except LoragitError:
        meant = False
    if not meant:
        words += ("--dataset", "." if cwd == seen.folder else str(seen.folder))
    return shlex.join(words)


def _run_name(model: str, dataset: str) -> RunName:
    for each in (dataset, "dataset"):
        try:
            return RunName.parse(f"{model}-{each}-v1s{STEPS}")
        except LoragitError:
            continue
    return RunName.parse(f"base-dataset-v1s{STEPS}")


def _model_word(model: str | None) -> str:
    """A base model's file name as one word for a run's name, where a dash would end it:
    ``sd_xl_base`` becomes ``sdxl``."""
    word = ""
    for part in re.split(r"[-_\s]+", Path(model or "").stem):
        word += _name_characters(part)
        if len(word) > 2:
            break
    return word or "base"


def _name_characters(text: str, more: str = "") -> str:
    """The characters of ``text`` that a run's name may hold."""
    return "".join(
        c for c in unicodedata.normalize("NFC", text) if c.isalnum() or c in f"._+=@{more}"
    ).strip(".-")
