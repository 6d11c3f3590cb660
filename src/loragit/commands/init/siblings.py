"""Other datasets beside a new one: their settings are the best guess at what it needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from loragit.commands.init.image_folders import entries
from loragit.errors import Findings, LoragitError
from loragit.run.preflight import trust
from loragit.secrets import find
from loragit.settings import layers
from loragit.settings import paths as places
from loragit.settings.document import read_settings_file
from loragit.settings.schema import ARGS, FILE
from loragit.settings.toml_text import Value
from loragit.trainers import kinds

BASE_MODEL = "pretrained_model_name_or_path"
_WITH_MODEL = (
    *("vae", "ae", "clip_l", "clip_g", "t5xxl", "gemma2", "text_encoder", "byt5", "qwen3"),
    *("llm_adapter_path", "t5_tokenizer_path"),
)
"""Arguments that go together with a base model."""
MOST_ENTRIES = 500
"""Most siblings that are read in one folder."""


class Sibling(NamedTuple):
    """Another dataset with a ``loragit.toml``."""

    folder: Path
    values: Mapping[str, Value]
    """By dotted key, its paths made absolute."""

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) and value else None

    @property
    def script(self) -> str:
        return self.text("trainer.script") or kinds.trainer_of(self.text("trainer.kind")).scripts[0]


def sibling_datasets(folder: Path, datasets: Path, environ: Mapping[str, str]) -> Iterator[Sibling]:
    """Datasets beside ``folder`` and under ``datasets`` whose settings can be read, the one changed
    last first.

    Somebody else's datasets count only if the user has agreed to them: what they say is written
    into settings that are trusted.
    """
    files: dict[Path, float] = {}
    for parent in dict.fromkeys((folder.parent, datasets)):
        for entry in entries(parent)[:MOST_ENTRIES]:
            path = parent / entry.name / FILE
            if os.path.isfile(path) and not path.parent.samefile(folder):
                files[path] = path.stat().st_mtime
    for path in sorted(files, key=lambda each: -files[each]):
        try:
            if trust.require_consent(trust.subject_of_file(path.parent), None, Findings()):
                yield Sibling(path.parent, _absolute_values(path, environ))
        except LoragitError:
            continue


def _absolute_values(path: Path, environ: Mapping[str, str]) -> dict[str, Value]:
    folder, values = path.parent, dict(read_settings_file(path).values)
    for key, value in values.items():
        values[key] = layers.resolve_paths(
            key, layers.SourcedValue(value, str(path)), folder, environ
        ).value
    repo = values.get("trainer.repo")
    workdir = (
        folder if values.get("trainer.workdir") == "dataset" else Path(str(repo)) if repo else None
    )
    for name in (BASE_MODEL, *_WITH_MODEL):
        written = values.get(ARGS + name)
        if isinstance(written, str) and written.startswith("~/"):
            values[ARGS + name] = str(places.expand_path(written, folder, environ))
        elif isinstance(written, str) and workdir is not None and os.path.exists(workdir / written):
            values[ARGS + name] = os.path.normpath(workdir / written)
    return values


def launcher(siblings: Iterable[Sibling]) -> tuple[str, ...]:
    """What siblings start the script with, unless a word of it looks like a secret."""
    for each in siblings:
        value = each.values.get("trainer.launcher")
        if (
            isinstance(value, tuple)
            and value
            and not find.find_secrets(" ".join(map(str, value)).encode(errors="replace"))
        ):
            return tuple(map(str, value))
    return ()


def weights(siblings: Iterable[Sibling], model: str | None) -> Iterator[tuple[str, str]]:
    for each in siblings:
        if model is not None and each.text(ARGS + BASE_MODEL) == model:
            yield from ((name, text) for name in _WITH_MODEL if (text := each.text(ARGS + name)))
            return
