"""Hashing many files once, and sha256sum's format."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loragit.dataset.digests import BadDigests, digest_lines, parse_digest_lines
from loragit.dataset.files import CannotRead, list_files, read_files
from loragit.dataset.hashes import HashCache, HashedFile, hash_file, hash_files
from loragit.record.values import DatasetFile

pytestmark = pytest.mark.every_python

ODD_NAMES = [
    b"with space",
    b"line\nfeed",
    b"carriage\rreturn",
    b"back\\slash",
    b"\\",
    b"*star",
    b" lead",
    b"\xff\xfe",
]
MiB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "img"
    made.mkdir()
    return made


@pytest.fixture
def cache(tmp_path: Path) -> HashCache:
    return HashCache(tmp_path / "cache" / "hashes")


def write(folder: Path, name: str, data: bytes) -> str:
    """Make a file whose times are old enough to be trusted, as far as a program may set them (not
    its ctime)."""
    path = folder / name
    path.write_bytes(data)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let an hour pass, so that the change times of files, which nobody can set, are old."""

    def pass_an_hour() -> None:
        now = time.time_ns() + 3_600_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda: now)

    return pass_an_hour


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Grows by one entry at each read of a file's content."""
    seen: list[int] = []
    readv = os.readv

    def counted(handle: int, buffers: list[bytearray]) -> int:
        seen.append(handle)
        return readv(handle, buffers)

    monkeypatch.setattr(os, "readv", counted)
    yield seen


def test_files_come_back_in_the_order_they_were_asked_for(folder: Path, cache: HashCache) -> None:
    digests = {
        name: write(folder, name, name.encode() * 1000) for name in ("b.png", "a.png", "c.txt")
    }
    found = hash_files(folder, ["c.txt", "a.png", "b.png", "a.png"], cache)
    assert found == tuple(
        HashedFile(name, 5000, digests[name]) for name in ("c.txt", "a.png", "b.png", "a.png")
    )


@pytest.mark.parametrize("size", [0, 1, MiB - 1, MiB, MiB + 1, 3 * MiB])
def test_every_size_around_the_buffer_is_hashed_whole(
    folder: Path, cache: HashCache, size: int
) -> None:
    digest = write(folder, "model", os.urandom(size))
    assert hash_files(folder, ["model"], cache) == (HashedFile("model", size, digest),)


def test_files_of_many_buffers_are_hashed_whole_by_every_thread(
    folder: Path, cache: HashCache
) -> None:
    sizes = [40 * MiB, 9 * MiB, 8 * MiB, 8 * MiB, MiB, 17, 0, 33 * MiB]
    digests = [
        write(folder, str(number), bytes([number]) * size) for number, size in enumerate(sizes)
    ]
    found = hash_files(folder, [str(number) for number in range(len(sizes))], cache)
    assert [one.sha256 for one in found] == digests
    assert [one.size for one in found] == sizes


def test_the_second_look_reads_nothing(
    folder: Path, cache: HashCache, later: Callable[[], None], reads: list[int]
) -> None:
    names = [f"{number}.png" for number in range(20)]
    for name in names:
        write(folder, name, os.urandom(3000))
    later()
    first = hash_files(folder, names, cache)
    assert len(reads) == 20
    assert hash_files(folder, names, cache) == first
    assert len(reads) == 20


def test_a_file_as_young_as_the_look_at_it_is_read_again(
    folder: Path, cache: HashCache, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "a.png", b"x" * 10)
    now = (folder / "a.png").stat().st_ctime_ns  # however slow the machine is
    monkeypatch.setattr(time, "time_ns", lambda: now)
    hash_files(folder, ["a.png"], cache)
    hash_files(folder, ["a.png"], cache)
    assert len(reads) == 2


def test_a_file_modified_in_the_future_is_read_again(
    folder: Path, cache: HashCache, later: Callable[[], None], reads: list[int]
) -> None:
    write(folder, "a.png", b"x")
    os.utime(folder / "a.png", (4_000_000_000, 4_000_000_000))
    later()
    hash_files(folder, ["a.png"], cache)
    hash_files(folder, ["a.png"], cache)
    assert len(reads) == 2


def overwritten(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"2" * 10)
    # Many file systems tell times in ticks of some milliseconds, and an hour is said to have
    # passed.
    while (
        path.stat().st_mtime_ns != before.st_mtime_ns
        or path.stat().st_ctime_ns == before.st_ctime_ns
    ):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    fresh = path.with_name("fresh")
    shutil.copy2(path, fresh)
    overwritten(fresh)
    fresh.replace(path)


def grown(path: Path) -> None:
    path.write_bytes(b"2" * 11)


@pytest.mark.parametrize("change", [overwritten, replaced, grown])
def test_a_changed_file_is_seen_even_with_its_old_time(
    folder: Path, cache: HashCache, later: Callable[[], None], change: Callable[[Path], None]
) -> None:
    write(folder, "a.png", b"1" * 10)
    later()
    (before,) = hash_files(folder, ["a.png"], cache)
    change(folder / "a.png")
    (after,) = hash_files(folder, ["a.png"], cache)
    assert (
        after.sha256 == hashlib.sha256((folder / "a.png").read_bytes()).hexdigest() != before.sha256
    )


def test_links_are_followed_and_a_new_target_is_seen(
    folder: Path, cache: HashCache, later: Callable[[], None], tmp_path: Path
) -> None:
    one, two = write(tmp_path, "one", b"1"), write(tmp_path, "two", b"2")
    (folder / "a.png").symlink_to(tmp_path / "one")
    later()
    assert [found.sha256 for found in hash_files(folder, ["a.png"], cache)] == [one]
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(tmp_path / "two")
    assert [found.sha256 for found in hash_files(folder, ["a.png"], cache)] == [two]


def test_a_file_that_changes_while_it_is_read_is_read_once_more_and_not_cached(
    folder: Path, cache: HashCache, later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "a.png", b"1" * 10)
    later()
    readv = os.readv
    looks: list[int] = []

    def growing(handle: int, buffers: list[bytearray]) -> int:
        count = readv(handle, buffers)
        if not looks:
            (folder / "a.png").write_bytes(b"2" * 20)
        looks.append(count)
        return count

    monkeypatch.setattr(os, "readv", growing)
    settled = HashedFile("a.png", 20, hashlib.sha256(b"2" * 20).hexdigest())
    assert hash_files(folder, ["a.png"], cache) == (settled,)
    assert looks == [10, 20]
    assert hash_files(folder, ["a.png"], cache) == (settled,)
    assert looks == [10, 20, 20]


@pytest.mark.parametrize("size", [0, 5])
def test_a_file_that_shrinks_while_it_is_read_is_hashed_as_it_then_is(
    folder: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    write(folder, "a.bin", b"1" * (2 * MiB))
    readv, looks = os.readv, []

    def shrinking(handle: int, buffers: list[bytearray]) -> int:
        looks.append(handle)
        count = readv(handle, buffers)
        if len(looks) == 1:
            os.truncate(folder / "a.bin", size)
        return count

    monkeypatch.setattr(os, "readv", shrinking)
    assert hash_files(folder, ["a.bin"], cache) == (
        HashedFile("a.bin", size, hashlib.sha256(b"1" * size).hexdigest()),
    )


def test_names_of_any_bytes_are_cached(
    folder: Path, cache: HashCache, later: Callable[[], None], reads: list[int]
) -> None:
    names = [os.fsdecode(name) for name in ODD_NAMES]
    digests = [write(folder, name, os.fsencode(name)) for name in names]
    later()
    for _ in range(2):
        assert [found.sha256 for found in hash_files(folder, names, cache)] == digests
    assert len(reads) == len(names)


def test_what_is_known_of_other_files_stays_until_they_are_gone(
    folder: Path, cache: HashCache, later: Callable[[], None], reads: list[int]
) -> None:
    for name in ("a", "b", "c"):
        write(folder, name, name.encode())
    later()
    hash_files(folder, ["a", "b"], cache)
    (folder / "b").unlink()
    hash_files(folder, ["c"], cache)
    assert sorted(cache.load(str(folder))) == ["a", "c"]
    assert len(reads) == 3
    hash_files(folder, ["a", "c"], cache)
    assert len(reads) == 3


def test_two_folders_do_not_share_what_is_known(
    tmp_path: Path, cache: HashCache, later: Callable[[], None]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "a", name.encode())
    later()
    assert hash_files(tmp_path / "one", ["a"], cache) != hash_files(tmp_path / "two", ["a"], cache)
    assert hash_files(tmp_path / "one", ["a"], cache) != hash_files(tmp_path / "two", ["a"], cache)


def test_a_single_file_is_cached_under_its_own_name(
    tmp_path: Path,
    cache: HashCache,
    later: Callable[[], None],
    reads: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest = write(tmp_path, "noob.safetensors", b"weights")
    later()
    expected = HashedFile("noob.safetensors", 7, digest)
    assert hash_file(tmp_path / "noob.safetensors", cache) == expected
    monkeypatch.chdir(tmp_path)
    assert hash_file(Path("noob.safetensors"), cache) == expected
    assert len(reads) == 1


@pytest.mark.parametrize("place", ["file", "below a file", "dangling"])
def test_a_cache_that_cannot_be_written_only_costs_time(
    folder: Path, tmp_path: Path, later: Callable[[], None], place: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at" / "all")
    cache = HashCache(
        {"file": tmp_path / "file", "below a file": tmp_path / "file" / "x"}.get(
            place, tmp_path / place
        )
    )
    digest = write(folder, "a", b"a")
    later()
    for _ in range(2):
        assert [found.sha256 for found in hash_files(folder, ["a"], cache)] == [digest]


FULL_DISK = """
import resource, sys
from pathlib import Path
from loragit.dataset.hashes import HashCache
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
HashCache(Path(sys.argv[1])).store("/img", {"a.png": ("1 2 3 4 5", "0" * 64)})
"""


def test_a_full_disk_leaves_no_half_written_cache(tmp_path: Path) -> None:
    # Coverage's own data would not fit on a full disk either.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "hashes")], check=True, env=environ
    )
    assert list((tmp_path / "hashes").iterdir()) == []


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def damage_bit(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def damage_other_format(path: Path) -> None:
    body = b"a\0b"
    path.write_bytes(
        b"loragit-hashes 1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    )


def damage_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [damage_empty, damage_cut, damage_bit, damage_other_format, damage_folder],
    ids=lambda f: f.__name__,
)
def test_a_damaged_cache_is_not_believed(
    folder: Path,
    cache: HashCache,
    later: Callable[[], None],
    tmp_path: Path,
    damage: Callable[[Path], None],
) -> None:
    digest = write(folder, "a", b"a")
    later()
    hash_files(folder, ["a"], cache)
    (stored,) = (tmp_path / "cache" / "hashes").iterdir()
    damage(stored)
    assert cache.load(str(folder)) == {}
    assert [found.sha256 for found in hash_files(folder, ["a"], cache)] == [digest]


def test_the_cache_is_for_its_owner_alone(
    folder: Path, cache: HashCache, later: Callable[[], None], tmp_path: Path
) -> None:
    write(folder, "a", b"a")
    later()
    hash_files(folder, ["a"], cache)
    assert (tmp_path / "cache" / "hashes").stat().st_mode & 0o077 == 0


def test_nothing_to_cache_makes_no_cache(folder: Path, cache: HashCache, tmp_path: Path) -> None:
    write(folder, "a", b"young")
    hash_files(folder, ["a"], cache)
    assert hash_files(folder, [], cache) == ()
    assert not (tmp_path / "cache").exists()


WRITER = """
import sys
from pathlib import Path
from loragit.dataset.hashes import HashCache
cache, mark = HashCache(Path(sys.argv[1])), sys.argv[2]
for _ in range(60):
    cache.store("/img", {f"{n}.png": (mark, mark * 64) for n in range(300)})
"""


def test_several_writers_never_leave_a_torn_cache(tmp_path: Path) -> None:
    cache = HashCache(tmp_path / "hashes")
    cache.store("/img", {f"{n}.png": ("0", "0" * 64) for n in range(300)})
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "hashes"), mark])
        for mark in "123"
    ]
    while any(writer.poll() is None for writer in writers):
        entries = cache.load("/img")
        assert len(entries) == 300
        assert len(set(entries.values())) == 1
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(list((tmp_path / "hashes").iterdir())) == 1


def test_unreadable_files_are_all_named_in_order(folder: Path, cache: HashCache) -> None:
    write(folder, "good.png", b"x")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to(os.devnull)
    (folder / "dangling.png").symlink_to("nowhere")
    names = [
        "pipe.png",
        "good.png",
        "gone.png",
        "folder.png",
        "dangling.png",
        "nul\0.png",
        "device.png",
    ]
    with pytest.raises(CannotRead) as caught:
        hash_files(folder, names, cache)
    assert caught.value.message == (
        f"cannot read 6 files of {folder}: pipe.png (not a file), gone.png (No such file or "
        "directory), "
        "folder.png (not a file), dangling.png (No such file or directory), "
        "'nul\\x00.png' (embedded null byte), device.png (not a file)"
    )
    assert caught.value.hint is not None


def test_a_file_that_vanishes_between_look_and_read_is_named(
    folder: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "a.png", b"x")
    opened = os.open

    def too_late(path: str | Path, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "a.png":
            (folder / "a.png").unlink()
        return opened(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", too_late)
    with pytest.raises(
        CannotRead, match=r"cannot read .*/img/a\.png \(No such file or directory\)"
    ):
        hash_files(folder, ["a.png"], cache)


def test_an_error_names_a_few_files_and_counts_the_rest(folder: Path, cache: HashCache) -> None:
    with pytest.raises(CannotRead) as caught:
        hash_files(folder, [f"{number:03}.png" for number in range(500)], cache)
    assert "009.png (No such file or directory) and 490 more" in caught.value.message
    assert "010.png" not in caught.value.message


@pytest.mark.parametrize("ask", [list_files, lambda folder: read_files(folder, ["a"])])
def test_a_missing_folder_is_named(tmp_path: Path, ask: Callable[[Path], object]) -> None:
    with pytest.raises(CannotRead, match=r"cannot read .*/nowhere/? \(No such file or directory\)"):
        ask(tmp_path / "nowhere")


def test_an_interrupted_hashing_ends_at_once_and_leaves_no_thread(
    folder: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        with (folder / name).open("wb") as file:
            file.truncate(1 << 36)  # 64 GiB of nothing: whoever reads on, reads for a minute
    readv, busy = os.readv, threading.Event()
    threads = threading.active_count()

    def interrupted(handle: int, buffers: list[bytearray]) -> int:
        if threading.current_thread() is not threading.main_thread():
            busy.set()
        elif busy.wait(timeout=1):
            raise KeyboardInterrupt
        return readv(handle, buffers)

    monkeypatch.setattr(os, "readv", interrupted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        hash_files(folder, list("abc"), cache)
    assert threading.active_count() == threads
    assert time.monotonic() - began < 30


def test_files_are_hashed_where_the_system_tells_no_affinity(
    folder: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    digests = [write(folder, name, name.encode() * MiB) for name in "abcd"]
    assert [found.sha256 for found in hash_files(folder, list("abcd"), cache)] == digests


def test_memory_does_not_grow_with_the_size_of_a_file(tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from loragit.dataset.hashes import HashCache, hash_file\n"
        "cache = HashCache(Path(sys.argv[1]) / 'cache')\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "hash_file(Path(sys.argv[1]) / 'small', cache)\n"
        "before = peak()\n"
        "hash_file(Path(sys.argv[1]) / 'big', cache)\n"
        "assert peak() - before < 8 << 10, peak() - before\n"
    )
    for name, size in (("small", 2 * MiB), ("big", 64 * MiB)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_the_listing_holds_files_and_links_to_files_sorted_by_bytes(folder: Path) -> None:
    for name in ["b", "a", "B", "é", "z"]:
        write(folder, name, b"")
    # U+10000 comes after U+FFxx in bytes, and a lone byte 0xFF after both, but not among Python's
    # strings.
    for raw in (b"\xef\xbc\xa1", b"\xf0\x90\x80\x80", b"\xff"):
        (folder / os.fsdecode(raw)).write_bytes(b"")
    (folder / "link").symlink_to("a")
    (folder / "folder").mkdir()
    (folder / "link to folder").symlink_to("folder")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    found = list_files(folder)
    assert [os.fsencode(name) for name in found] == sorted(
        [
            b"B",
            b"a",
            b"b",
            b"link",
            b"z",
            "é".encode(),
            b"\xef\xbc\xa1",
            b"\xf0\x90\x80\x80",
            b"\xff",
        ]
    )


def test_captions_are_read_in_order(folder: Path) -> None:
    write(folder, "a.txt", b"1girl\n")
    write(folder, "b.txt", b"")
    write(folder, "c.txt", b"x" * 200_000)
    assert read_files(folder, iter(["c.txt", "a.txt", "b.txt"])) == [
        b"x" * 200_000,
        b"1girl\n",
        b"",
    ]


def test_captions_that_cannot_be_read_are_all_named(folder: Path) -> None:
    write(folder, "a.txt", b"1girl\n")
    with pytest.raises(
        CannotRead, match=r"cannot read 2 files of .*: b\.txt \(No such.*\), c\.txt \(No such"
    ):
        read_files(folder, ["b.txt", "a.txt", "c.txt"])


def test_the_error_for_a_name_of_odd_bytes_can_be_printed(folder: Path) -> None:
    with pytest.raises(CannotRead) as caught:
        read_files(folder, [os.fsdecode(b"\xff\n.txt")])
    assert caught.value.message.encode().count(b"\n") == 0


@pytest.mark.usefixtures("modes_count")
def test_a_file_without_permission_is_named(folder: Path, cache: HashCache) -> None:
    write(folder, "a.png", b"x")
    (folder / "a.png").chmod(0)
    with pytest.raises(CannotRead, match="Permission denied"):
        hash_files(folder, ["a.png"], cache)


needs_sha256sum = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")


@needs_sha256sum
def test_sha256sum_accepts_the_lines_and_writes_the_same(folder: Path, cache: HashCache) -> None:
    names = sorted([*ODD_NAMES, b"plain.png", b"both\\\n\r\\n"])
    decoded = [os.fsdecode(name) for name in names]
    for name in decoded:
        write(folder, name, os.fsencode(name))
    found = hash_files(folder, decoded, cache)
    lines = digest_lines(DatasetFile(one.name, one.sha256) for one in reversed(found))
    sums = subprocess.run(
        [b"sha256sum", b"--", *names], cwd=folder, capture_output=True, check=True
    )
    assert lines == sums.stdout
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet"], cwd=folder, input=lines, check=True
    )
    (folder / "plain.png").write_bytes(b"changed")
    check = subprocess.run(
        ["sha256sum", "--check", "--quiet"],
        cwd=folder,
        input=lines,
        capture_output=True,
        check=False,
    )
    assert check.returncode == 1


@settings(max_examples=80)
@given(st.lists(st.binary(min_size=1).filter(lambda path: b"\0" not in path), unique=True))
@example([b"\\n", b"\n", b"\\\n", b" ", b"*", b"\r"])
def test_lines_read_back_are_the_files_sorted_by_bytes(paths: list[bytes]) -> None:
    files = [DatasetFile(os.fsdecode(path), hashlib.sha256(path).hexdigest()) for path in paths]
    lines = digest_lines(files)
    assert parse_digest_lines(lines) == tuple(
        sorted(files, key=lambda file: os.fsencode(file.path))
    )
    assert lines.count(b"\n") == len(files)


def test_only_a_line_that_says_so_has_an_escaped_name() -> None:
    digest = "0" * 64
    lines = rf"{digest}  a\nb" + "\n" + rf"\{digest}  a\nb" + "\n"
    assert [file.path for file in parse_digest_lines(lines.encode())] == [r"a\nb", "a\nb"]


def test_lines_in_binary_mode_and_without_a_last_line_feed_are_read() -> None:
    digest = "0" * 64
    assert parse_digest_lines(f"{digest} *a.png\n{digest}  b.png".encode()) == (
        DatasetFile("a.png", digest),
        DatasetFile("b.png", digest),
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"a.png",
        b"0" * 64 + b"  ",
        b"0" * 63 + b"  a",
        b"0" * 64 + b" a",
        b"g" * 64 + b"  a",
    ],
)
def test_a_line_that_is_not_sha256sums_is_refused_with_its_number(line: bytes) -> None:
    good = b"0" * 64 + b"  a.png\n"
    with pytest.raises(BadDigests, match="line 2 of the list of hashes"):
        parse_digest_lines(good + line + b"\n" + good)


def test_threads_are_gone_when_the_hashes_are_there(folder: Path, cache: HashCache) -> None:
    for name in "abcd":
        write(folder, name, bytes(4 * MiB))
    before = threading.active_count()
    hash_files(folder, list("abcd"), cache)
    assert threading.active_count() == before
