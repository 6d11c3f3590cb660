"""What of the dataset goes on record: a hash of every file that is read, and the captions."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loragit.dataset import inputs
from loragit.dataset.hashes import HashCache
from loragit.dataset.inputs import CannotReadInput, parse_input
from loragit.dataset.snapshot import Dataset, RecordedDataset, read_dataset
from loragit.dataset.used_files import UsedFiles, UsedFolder
from loragit.trainers.sd_scripts.trainer import SdScripts

NOTHING = RecordedDataset(None, None, frozenset())
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def image_folder(place: Path, *names: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).write_text(name)
    return place


def used(place: Path, *caption_ends: str) -> UsedFolder:
    """All images of a folder, and all files with these ends."""
    names = sorted(os.listdir(place), key=os.fsencode)
    images = tuple(name for name in names if name.endswith((".png", ".jpg")))
    captions = tuple(name for name in names if name.endswith(caption_ends or ".txt"))
    return UsedFolder(place, images, captions)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotReadInput, match="is not UTF-8 text: byte 0xff in line 1"):
        parse_input(tmp_path / "c.toml", b"\xff", "dataset config")


def test_a_file_that_cannot_be_read_is_told_with_why(tmp_path: Path) -> None:
    with pytest.raises(CannotReadInput, match=r"the input .*nothing cannot be read: No such file"):
        inputs.read_input(tmp_path / "nothing", "input")
    with pytest.raises(CannotReadInput, match="Is a directory"):
        inputs.read_input(tmp_path, "input")
    with pytest.raises(CannotReadInput, match="cannot be read"):
        inputs.read_input(tmp_path / "a\0b", "input")


# ---- datasets ----


def dataset(root: Path, *folders: UsedFolder, recorded: RecordedDataset = NOTHING) -> Dataset:
    cache = HashCache(root.parent / "cache")
    return read_dataset(UsedFiles(None, folders, {}), SdScripts(), recorded, root, cache)


def checked(root: Path, digest: bytes) -> list[str]:
    """Paths that ``sha256sum -c``, started in ``root``, finds as they were."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict"], cwd=root, input=digest, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removesuffix(": OK") for line in os.fsdecode(done.stdout).split("\n")[:-1]]


def test_every_file_that_is_read_is_hashed_and_every_caption_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    img = image_folder(root / "img", "00.png", "00.txt", "01.jpg", "01_sdxl.npz", "02.txt", "c.png")
    found = dataset(root, UsedFolder(img, ("00.png", "01.jpg"), ("00.txt",), ("c.png",)))
    read = ["img/00.png", "img/00.txt", "img/01.jpg", "img/c.png"]
    assert checked(root, found.digest) == read
    assert (found.images, found.captions, found.captions_tree) == (2, 1, None)
    assert [(e.path, e.data) for e in found.entries] == [("captions/img/00.txt", b"00.txt")]


def test_captions_in_a_metadata_file_count_as_captions(tmp_path: Path) -> None:
    img = image_folder(tmp_path / "gren" / "img", "00.png")
    files = UsedFiles(None, (UsedFolder(img, ("00.png",)),), {}, captions_inside=1)
    cache = HashCache(tmp_path / "cache")
    found = read_dataset(files, SdScripts(), NOTHING, tmp_path / "gren", cache)
    assert (found.images, found.captions, found.entries) == (1, 1, ())


@pytest.mark.parametrize(
    ("data", "problem", "stops"),
    [
        (b"", "1 caption in {img} is empty, and the trainer stops at it: 0.txt", True),
        ("红色".encode("gbk"), "1 caption in {img} is not UTF-8, and the trainer stops", True),
        ("zqx".encode("utf-16"), "1 caption in {img} is not UTF-8, and the trainer stops", True),
        (b"\xef\xbb\xbfzqx", "1 caption in {img} begins with a byte order mark (BOM)", False),
        ("röt 红色".encode(), None, False),
        (b"\n", None, False),
    ],
)
def test_captions_that_the_trainer_cannot_read_are_named(
    tmp_path: Path, data: bytes, problem: str | None, stops: bool
) -> None:
    img = image_folder(tmp_path / "gren" / "img", "0.png", "1.png", "1.txt")
    (img / "0.txt").write_bytes(data)
    found = dataset(tmp_path / "gren", used(img))
    told = [*(each.problem for each in found.findings), *found.warnings]
    assert len(told) == (problem is not None)
    assert all(each.startswith((problem or "").format(img=img)) for each in told)
    assert bool(found.findings) == stops


def test_of_many_captions_with_one_problem_the_first_are_named(tmp_path: Path) -> None:
    img = image_folder(tmp_path / "gren" / "img")
    for number in range(9):
        (img / f"{number}.png").write_text("x")
        (img / f"{number}.txt").write_text("")
    (finding,) = dataset(tmp_path / "gren", used(img)).findings
    assert finding.problem == (
        f"9 captions in {img} are empty, and the trainer stops at them: "
        "0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more"
    )


def test_captions_have_a_place_for_each_folder(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    inside, top = (
        image_folder(root / "a" / "img", "0.png", "0.txt"),
        image_folder(root, "1.png", "1.txt"),
    )
    outside = [image_folder(tmp_path / name / "img", "2.png", "2.txt") for name in ("reg", "more")]
    places = [used(path) for path in (inside, top, *outside)]
    found = dataset(root, *places)
    assert [e.path for e in found.entries] == [
        "captions/a/img/0.txt",
        "captions/1.txt",
        "captions/outside/img/2.txt",
        "captions/outside/img-2/2.txt",
    ]
    assert checked(root, found.digest) == [
        *("../more/img/2.png", "../more/img/2.txt", "../reg/img/2.png", "../reg/img/2.txt"),
        *("1.png", "1.txt", "a/img/0.png", "a/img/0.txt"),
    ]


@pytest.mark.parametrize(
    "names", [("root", "disk"), ("disk", "root"), ("root", "root"), ("disk", "disk")]
)
def test_a_dataset_known_by_a_link_is_the_same_dataset(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    real = tmp_path / "disk" / "deep" / "gren"
    image_folder(real / "img", "0.png", "0.txt")
    (tmp_path / "root").symlink_to(real)
    known = {"root": tmp_path / "root", "disk": real}
    root, other = (known[name] for name in names)
    found = dataset(root, used(other / "img"))
    assert checked(root, found.digest) == checked(real, found.digest) == ["img/0.png", "img/0.txt"]
    assert [e.path for e in found.entries] == ["captions/img/0.txt"]


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def test_captions_that_are_on_record_are_not_read_again(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    folder = used(image_folder(root / "img", "0.png", "0.txt"))
    first = dataset(root, folder)
    recorded = RecordedDataset(blob(first.digest), "c" * 40, frozenset({"captions/img/0.txt"}))
    again = dataset(root, folder, recorded=recorded)
    assert (again.captions_tree, again.entries, again.captions, again.digest) == (
        "c" * 40,
        (),
        1,
        first.digest,
    )
    other = dataset(root, folder._replace(captions=()), recorded=recorded)
    assert other.captions_tree is None
    assert dataset(root, folder, recorded=recorded._replace(captions=None)).captions_tree is None
    (root / "img" / "0.txt").write_text("edited")
    changed = dataset(root, folder, recorded=recorded)
    assert changed.captions_tree is None
    assert [e.data for e in changed.entries] == [b"edited"]


def not_there(root: Path, folder: UsedFolder) -> tuple[str, str | None]:
    """The one finding."""
    (finding,) = dataset(root, folder).findings
    return finding[:2]


def test_images_that_git_lfs_has_not_fetched_are_told(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
    img = image_folder(root / "img", "0.png", "1.png", "1.txt")
    (img / "0.png").write_text(text)
    problem, hint = not_there(root, used(img))
    assert problem == f"{img}/0.png is not really there: it is a git-lfs pointer"
    assert f"git -C {img} lfs pull" in str(hint)
    (img / "1.txt").write_text(text)
    problem, hint = not_there(root, used(img))
    assert problem == f"2 files of {img} are not really there: 0.png is a git-lfs pointer"
    (img / "0.png").write_text("version https://git-lfs.github.com/spec/v1\nnothing more")
    (img / "1.txt").write_text("zqx")
    assert dataset(root, used(img)).findings == ()


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    img = image_folder(tmp_path / "gren" / "img", "0.png", "0.txt")
    for name in ("1.png", "2.txt"):
        (img / name).symlink_to(f"../.git/annex/objects/X/{name}")
    one = UsedFolder(img, ("0.png", "1.png"), dangling=frozenset({"1.png"}))
    problem, hint = not_there(tmp_path / "gren", one)
    assert problem.startswith(f"{img}/1.png is not really there: it is a link of git-annex")
    assert str(hint).endswith("annex get 1.png")
    both = one._replace(captions=("0.txt", "2.txt"), dangling=frozenset({"1.png", "2.txt"}))
    problem, hint = not_there(tmp_path / "gren", both)
    assert problem.startswith(
        f"2 files of {img} are not really there: 1.png is a link of git-annex"
    )
    # What else is wrong is told with it.
    (img / "0.txt").write_text("")
    found = dataset(tmp_path / "gren", both)
    assert len(found.findings) == 2
    assert [entry.path for entry in found.entries] == ["captions/img/0.txt"]


def test_empty_images_are_told(tmp_path: Path) -> None:
    img = image_folder(tmp_path / "gren" / "img", "0.png", "1.png", "1.txt")
    (img / "1.png").write_bytes(b"")
    (finding,) = dataset(tmp_path / "gren", used(img)).findings
    assert finding.problem == f"1 image in {img} is empty: 1.png"


NAMES = st.binary(min_size=1, max_size=6).filter(
    lambda n: b"/" not in n and b"\0" not in n and n.strip(b".")
)


@few
@given(st.lists(NAMES, max_size=5, unique=True))
@example([b"new\nline", b"back\\slash", b"cr\r", b"\xff", b" ", b"-x"])
def test_files_of_any_name_are_checked_by_sha256sum(
    tmp_path_factory: pytest.TempPathFactory, names: list[bytes]
) -> None:
    root = tmp_path_factory.mktemp("gren") / "root"
    img = image_folder(root / "img", "0.png")
    for name in names:
        Path(os.fsdecode(os.fsencode(img) + b"/" + name + b".txt")).write_bytes(name)
    assert len(checked(root, dataset(root, used(img)).digest)) == 1 + len(names)
