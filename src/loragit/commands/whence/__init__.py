"""``loragit whence FILE…``: which run made a model or sample image, whatever its name is now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from loragit import console, text
from loragit.commands.whence.origins import STRENGTH, Origin, Unreadable, origin_of
from loragit.errors import UsageError
from loragit.store import products
from loragit.store.products import Records
from loragit.trainers import kinds

MODELS = (".safetensors", ".ckpt", ".pt")
IMAGES = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of the files for which folders are searched."""

_MATCHES = 10
"""Runs that are shown for one file at most."""
_KEYS = 30
"""Keys of other trainers that are shown of a header."""
_WIDTH = 200
"""Characters of a header's value that are shown."""


class NothingToLookAt(UsageError):
    """There is no such file, or the folder holds no model and no image."""


def whence(paths: Sequence[Path], datasets: Path, here: Path, *, as_json: bool = False) -> int:
    """Print which run made each file. Return 0, or 1 if the origin of any is not on record.

    ``datasets`` is the folder of all datasets, ``here`` the current one. Raises
    :class:`NothingToLookAt`.
    """
    files = tuple(_files_named(paths))
    records = Records(products.datasets(datasets, here))
    found = [origin_of(path, records) for path in files]
    if as_json:
        import json

        console.write(json.dumps([_origin_as_json(origin) for origin in found], indent=2) + "\n")
    else:
        for number, origin in enumerate(found):
            if number:
                console.out()
            _print_origin(origin)
    return 0 if all(isinstance(origin, Origin) and origin.matches for origin in found) else 1


def _files_named(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            below = sorted(_models_and_images(path))
            if not below:
                raise NothingToLookAt(
                    f"{path} holds no model and no image", hint="name a .safetensors file"
                )
            yield from below
        elif path.exists():
            yield path
        else:
            raise NothingToLookAt(
                f"there is no file {path}", hint="name a .safetensors file, or a folder of them"
            )


def _models_and_images(folder: Path) -> Iterator[Path]:
    """Yield models and images in ``folder``, at any depth; not those in linked or hidden
    folders."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in names if name.lower().endswith(MODELS + IMAGES))


def _header_lines(header: Mapping[str, str]) -> Iterator[str]:
    """Yield what the header of an unknown model says: the values that its trainer is known for by
    their names, and those that no trainer here writes by their keys."""
    known = {label: key for each in kinds.all_trainers() for label, key in each.header_keys}
    foreign = {
        key: key
        for key in sorted(header)
        if key not in known.values() and not key.startswith(("ss_", "sshs_", "modelspec."))
    }
    listed = dict(list(foreign.items())[:_KEYS])
    for label, key in {**known, **listed}.items():
        value = header.get(key)
        if value and value != "None":
            yield f"{label}: {value if len(value) <= _WIDTH else value[:_WIDTH] + '…'}"
    rest = len(header.keys() - known.values() - listed.keys())
    if rest:
        yield f"{text.count(rest, 'other value')} of its header: --json lists them"


def _print_origin(origin: Origin | Unreadable) -> None:
    console.out(str(origin.path))
    if isinstance(origin, Unreadable):
        console.warn(origin.problem)
        return
    for match in origin.matches[:_MATCHES]:
        console.out(f"  {match.run} ({match.commit[:8]}) in {match.repository}")
        if match.product:
            where = f"{match.output}/{match.product}" if match.output else match.product
            console.out(f"    as {where}")
        if match.relation.sentence:
            console.out(f"    {match.relation.sentence}")
        for kind in match.evidence:
            console.out(f"    {STRENGTH[kind]}")
    if rest := text.more(len(origin.matches), _MATCHES):
        console.out(f"  {rest} runs; --json lists them")
    if not origin.matches:
        console.out("  no run on record made it")
        for line in _header_lines(origin.header):
            console.out(f"    {line}")
    for warning in origin.warnings:
        console.warn(f"{origin.path.name}: {warning}")


def _origin_as_json(origin: Origin | Unreadable) -> dict[str, object]:
    if isinstance(origin, Unreadable):
        return {"path": str(origin.path), "error": origin.problem}
    return {
        "path": str(origin.path),
        "sha256": origin.sha256,
        "payload_sha256": origin.payload_sha256,
        "matches": [
            {
                **match._asdict(),
                "repository": str(match.repository),
                "evidence": list(match.evidence),
                "relation": match.relation.kind,
                "step": match.relation.step,
            }
            for match in origin.matches
        ],
        "warnings": list(origin.warnings),
        "header": dict(origin.header),
    }
