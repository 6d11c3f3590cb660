"""Runs and outcomes made up for tests, and records of them that take milliseconds instead of a
training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from loragit.git import repository
from loragit.git.identity import IdentityQuestion
from loragit.record import message
from loragit.record.name import RunName
from loragit.record.values import Entry, LyCORIS, ModelFile, Opened, Outcome, RepoState, Run
from loragit.store.store import Store

NAME = "noob-gren-v1s4"
MOMENT = datetime(2026, 11, 23, 17, 20, 30, tzinfo=UTC)
CODE = RepoState(
    "sd-scripts", Path("/code/sd-scripts"), "a" * 40, "sd3", "https://example.org/sd-scripts"
)

_RUN = Run(
    name=RunName.parse(NAME),
    dataset="gren",
    prefix="",
    steps=4,
    epochs=None,
    trainer=CODE,
    trainer_kind="sd-scripts",
    trainer_script="sdxl_train_network.py",
    lycoris=LyCORIS(),
    dataset_commit=None,
    dataset_dirty=0,
    images=1,
    captions=1,
    argv=("python", "sdxl_train_network.py"),
    workdir="~/sd-scripts",
    weights=(),
    config="config.toml",
    prompts=None,
    script="train.sh",
    entries=(
        Entry("config.toml", b"a = 1\n"),
        Entry("train.sh", b"#!/bin/sh\n", executable=True),
        Entry("captions/img/00.txt", b"zqx"),
    ),
)
_MODEL = ModelFile(f"{NAME}.safetensors", 1024, "b" * 64, "c" * 64, 4, 1)
_OUTCOME = Outcome(
    0, MOMENT, MOMENT + timedelta(minutes=42), f"~/output_dir/{NAME}", models=(_MODEL,), samples=2
)


def a_run(**changes: object) -> Run:
    """``name`` may be a text."""
    if isinstance(name := changes.get("name"), str):
        changes["name"] = RunName.parse(name)
    return _RUN._replace(**changes)  # type: ignore[arg-type]


def an_outcome(**changes: object) -> Outcome:
    return _OUTCOME._replace(**changes)  # type: ignore[arg-type]


def opened(run: Run, commit: str) -> Opened:
    """``run`` as the store has it once it is on record as ``commit``."""
    return Opened(run.name, message.run_subject(run), run.dataset, run.prefix, commit)


def open_store(folder: Path) -> Store:
    return Store(repository.discover(folder), *IdentityQuestion(folder).answer())


def sealed(store: Store, name: str, **changes: object) -> Opened:
    """A run on record with its outcome."""
    run = store.open(a_run(name=name, **changes))
    store.seal(run, an_outcome())
    return run


def reverted(store: Store, name: str, *log_tail: str) -> Opened:
    run = store.open(a_run(name=name))
    store.revert(run, 1, "The trainer ended with exit status 1 and made nothing.", log_tail)
    return run


def untagged(store: Store, name: str) -> Opened:
    run = store.open(a_run(name=name))
    store.delete_tag(run)
    return run
