"""What was read before, kept in a file: it is used only if it is whole and this repository's."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from loragit.history import cache
from loragit.history.cache import HistoryCache


@pytest.fixture
def common(tmp_path: Path) -> Path:
    return tmp_path / "gren" / ".git"


def saved(common: Path) -> HistoryCache:
    found = HistoryCache(common)
    found.set_rows("tip", ["a\x1fb", "c\nd"])
    found.outcomes |= {"t1": "0 1", "t2": ""}
    found.changes |= {"a b": "x\x1fy", "c d": ""}
    found.save()
    return found


def file_of(home: Path) -> Path:
    (found,) = (home / ".cache" / "loragit" / "history").iterdir()
    return found


def contents(found: HistoryCache) -> tuple[object, ...]:
    return found.tip, found.rows, found.outcomes, found.changes


EMPTY: tuple[object, ...] = ("", [], {}, {})


def test_what_was_saved_is_loaded(common: Path) -> None:
    assert contents(HistoryCache(common)) == EMPTY
    found = saved(common)
    assert contents(HistoryCache(common)) == contents(found)
    assert not HistoryCache(common).is_unsaved
    assert contents(HistoryCache(common.parent / "other")) == EMPTY


def test_only_the_user_may_read_it(common: Path, home: Path) -> None:
    saved(common)
    assert stat.S_IMODE(file_of(home).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("what", ["tip", "outcomes", "changes"])
def test_it_is_saved_if_anything_is_new(common: Path, home: Path, what: str) -> None:
    saved(common)
    found = HistoryCache(common)
    before = file_of(home).stat().st_mtime_ns, file_of(home).stat().st_ino
    found.save()
    assert (file_of(home).stat().st_mtime_ns, file_of(home).stat().st_ino) == before
    if what == "tip":
        found.set_rows("other", [])
    else:
        getattr(found, what)["z z"] = "1"
    assert found.is_unsaved
    found.save()
    assert not found.is_unsaved
    assert contents(HistoryCache(common)) == contents(found)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data.replace(b"tip", b"top"),
        lambda data: data.replace(b"loragit-history 3", b"loragit-history 1"),
        lambda data: b"",
    ],
    ids=["cut", "longer", "edited", "version", "empty"],
)
def test_a_damaged_file_counts_as_none(common: Path, home: Path, damage: object) -> None:
    saved(common)
    path = file_of(home)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert contents(HistoryCache(common)) == EMPTY


def test_a_file_of_another_repository_or_of_too_little_is_not_used(
    common: Path, home: Path
) -> None:
    saved(common)
    path = file_of(home)
    body = path.read_bytes().partition(b"\n")[2]
    for other in (body.replace(b"gren", b"moss"), b"\0".join(body.split(b"\0")[:3])):
        path.write_bytes(cache._header(other) + b"\n" + other)
        assert contents(HistoryCache(common)) == EMPTY
    least = b"\0".join([*body.split(b"\0")[:2], b"0", b"0"])
    path.write_bytes(cache._header(least) + b"\n" + least)
    assert contents(HistoryCache(common)) == ("tip", [], {}, {})


def test_where_it_cannot_be_written_nothing_is_left(common: Path, home: Path) -> None:
    found = saved(common)
    path = file_of(home)
    path.unlink()
    path.mkdir()
    found.set_rows("other", [])
    found.save()
    assert list(path.parent.iterdir()) == [path]
    (home / ".cache" / "loragit" / "history").rename(home / "away")
    (home / ".cache" / "loragit").rmdir()
    (home / ".cache" / "loragit").write_text("")
    found.set_rows("another", [])
    found.save()
    assert not found.is_unsaved


@pytest.mark.parametrize(("number", "left"), [(1002, 1002), (1003, 1)])
def test_what_is_not_used_is_dropped_once_it_is_most_of_it(
    common: Path, number: int, left: int
) -> None:
    """One is in use: a thousand more may stay than two."""
    found = HistoryCache(common)
    for known in (found.outcomes, found.changes):
        known |= {str(each): "" for each in range(number)}
    found.drop_unused({"0"}, {"0"})
    assert (len(found.outcomes), len(found.changes)) == (left, left)
    assert "0" in found.outcomes and "0" in found.changes
