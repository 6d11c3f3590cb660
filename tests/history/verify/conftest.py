"""A repository with one sealed run, to be checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.store.store import Store
from tests.support.made_up_runs import open_store, sealed
from tests.support.verdicts import ONE


@pytest.fixture
def store(dataset: Path) -> Store:
    made = open_store(dataset)
    sealed(made, ONE)
    return made


@pytest.fixture
def record(store: Store) -> Path:
    return store.repository.top
