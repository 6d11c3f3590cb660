"""Models are read once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from loragit.dataset.hashes import HashCache
from loragit.run.importing import models as remembered
from loragit.run.importing.models import Models
from loragit.trainers.safetensors import hash_file
from tests.support.helpers_folder import write_model


@pytest.fixture
def cache(tmp_path: Path) -> HashCache:
    return HashCache(tmp_path / "cache")


def aged(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``path`` as if it had been written a while ago (a time of change cannot be set)."""
    monkeypatch.setattr(remembered, "MARGIN_NS", -(10**12))
    return path


def no_reading(path: Path) -> None:
    raise AssertionError(f"{path} is read again")


def test_a_hash_is_remembered_from_one_process_to_the_next(
    tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = aged(write_model(tmp_path / "a.safetensors"), monkeypatch)
    other = tmp_path / "b.ckpt"
    other.write_bytes(b"no header")
    first = Models(cache)
    told = [first.hashes(model), first.hashes(other)]
    assert told == [hash_file(model), hash_file(other)]
    first.keep()
    monkeypatch.setattr(remembered, "hash_file", no_reading)
    assert [Models(cache).hashes(model), Models(cache).hashes(other)] == told


def test_a_changed_file_is_read_again_and_one_that_is_gone_forgotten(
    tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = aged(write_model(tmp_path / "a.safetensors"), monkeypatch)
    gone = write_model(tmp_path / "gone.safetensors")
    first = Models(cache)
    first.hashes(model)
    first.hashes(gone)
    first.keep()
    gone.unlink()
    write_model(model, weights=b"other")
    os.utime(model, ns=(1, 1))
    second = Models(cache)
    assert second.hashes(model) == hash_file(model)
    second.keep()
    assert list(cache.load("\0models")) == [str(model)]


def test_a_young_file_is_not_remembered(
    tmp_path: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(cache)
    model = write_model(tmp_path / "a.safetensors")
    now = model.stat().st_ctime_ns  # however slow the machine is
    monkeypatch.setattr(time, "time_ns", lambda: now)
    models.hashes(model)
    models.keep()
    assert not (tmp_path / "cache").exists()


def test_a_header_is_read_once(tmp_path: Path, cache: HashCache) -> None:
    models = Models(cache)
    model = write_model(tmp_path / "a.safetensors", {"a": "b"})
    assert models.header(model) is models.header(model)
