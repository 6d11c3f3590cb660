"""What is odd about the files of a dataset: each oddity once there, once not; a fix that is a
command is run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from loragit.commands.doctor import dataset
from loragit.commands.doctor.check import DATASET, FAILED, OK, WARNING, Check
from loragit.dataset.hashes import HashCache
from loragit.dataset.used_files import ConfigFile, UsedFolder
from loragit.trainers.arguments import Arguments
from loragit.trainers.sd_scripts.datasets import reading
from loragit.trainers.sd_scripts.trainer import FILES
from loragit.trainers.trainer import DatasetPlace
from tests.support.trainer_files import png

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
HOUR = 3600


def make(folder: Path, *stems: str) -> Path:
    """Images of different bytes with captions; the folder's name holds what a shell would take
    apart."""
    folder.mkdir(parents=True)
    for number, stem in enumerate(stems):
        (folder / f"{stem}.png").write_bytes(png(2, 2, (number, 0, 0)))
        (folder / f"{stem}.txt").write_text("zqx")
    return folder


def used(*folders: Path, captioned: bool = True) -> tuple[UsedFolder, ...]:
    """What the trainer reads of ``folders``; without captions, as regularisation images."""
    lines = "" if captioned else "is_reg = true\n"
    text = "[[datasets]]\nresolution = 64\n" + "".join(
        f"[[datasets.subsets]]\nimage_dir = {json.dumps(str(each))}\n"
        f'caption_extension = ".txt"\n{lines}'
        for each in folders
    )
    config = ConfigFile(Path("config.toml"), ".toml", text.encode())
    place = DatasetPlace(folders[0], folders[0])
    return reading.used_files(config, Arguments({}), place).folders


def look(
    *folders: Path, captioned: bool = True, apart: frozenset[Path] = frozenset()
) -> list[Check]:
    cache = HashCache(folders[0].parent / "cache")
    named = used(*folders, captioned=captioned)
    found = dataset.dataset_checks(dataset.list_folders(named, FILES, apart), FILES, cache)
    assert {check.area for check in found} <= {DATASET}
    return list(found)


def odd(*folders: Path, captioned: bool = True) -> list[Check]:
    return [check for check in look(*folders, captioned=captioned) if check.status != OK]


def one(*folders: Path, captioned: bool = True) -> Check:
    (check,) = odd(*folders, captioned=captioned)
    return check


@pytest.fixture
def img(tmp_path: Path) -> Path:
    return make(tmp_path / "it's img", "00", "01", "02")


def aged(path: Path, seconds: float) -> Path:
    """``path``, there and changed so many seconds ago."""
    if not path.exists():
        path.write_bytes(b"cache")
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))
    return path


def shell(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)


def test_nothing_is_odd_about_a_sound_folder(img: Path) -> None:
    (img / "00_0002x0002_sdxl.npz").write_bytes(b"cache")
    (img / "notes.md").write_text("mine")
    assert [(check.check, check.status, check.message, check.fix) for check in look(img)] == [
        ("images", OK, f"3 images in {img}, each begins as its kind does", None),
        ("captions", OK, f"3 captions (.txt) for 3 images in {img}", None),
        ("stale caches", OK, f"1 cache in {img}, none older than its image", None),
        ("duplicates", OK, "no two images are the same", None),
    ]


def test_a_folder_that_is_not_there_is_left_to_those_who_tell_of_it(tmp_path: Path) -> None:
    assert look(tmp_path / "nowhere") == []


@pytest.mark.parametrize("suffix", ["", "_0064x0128_sdxl", "_1024x1024_flux"])
def test_latents_older_than_their_image_are_stale_and_the_fix_removes_them(
    img: Path, suffix: str
) -> None:
    stale = aged(img / f"01{suffix}.npz", HOUR)
    young = img / f"00{suffix}.npz"
    young.write_bytes(b"cache")
    check = one(img)
    assert (check.check, check.status) == ("stale caches", WARNING)
    assert check.message == f"1 cache in {img} older than the image or caption: {stale.name}"
    assert check.fix
    note, _, command = check.fix.partition(": ")
    assert note == "they are made again"
    assert command.startswith("rm '")
    shell(command)
    assert not stale.exists()
    assert young.exists()
    assert odd(img) == []


def test_latents_do_not_mind_a_caption_that_changed(img: Path) -> None:
    aged(img / "00.png", 3 * HOUR)
    aged(img / "00_0064x0064_sdxl.npz", HOUR)
    assert odd(img) == []


@pytest.mark.parametrize("suffix", ["_te_outputs", "_sd3_te", "_flux_te"])
def test_text_encoder_caches_older_than_their_caption_are_stale(img: Path, suffix: str) -> None:
    aged(img / "02.png", 3 * HOUR)
    stale = aged(img / f"02{suffix}.npz", HOUR)
    assert one(img).message.endswith(f": {stale.name}")
    aged(img / "02.txt", 2 * HOUR)
    assert odd(img) == []


def test_caches_of_no_image_are_not_judged(img: Path) -> None:
    aged(img / "gone_te_outputs.npz", HOUR)
    aged(img / "gone_0064x0064_sdxl.npz", HOUR)
    aged(img / "weights.npz", HOUR)
    assert odd(img) == []


def test_many_stale_caches_are_removed_with_one_short_command(tmp_path: Path) -> None:
    img = make(tmp_path / "i mg", *(f"{number:02d}" for number in range(25)))
    for number in range(25):
        aged(img / f"{number:02d}.npz", HOUR)
    check = one(img)
    assert check.message.endswith("00.npz, 01.npz, 02.npz, 03.npz, 04.npz and 20 more")
    assert check.fix
    assert len(check.fix) < 200
    shell(check.fix.partition(": ")[2])
    assert [path.suffix for path in img.iterdir() if path.suffix == ".npz"] == []
    assert len(list(img.iterdir())) == 50


def test_images_without_captions_are_counted_and_named(img: Path) -> None:
    (img / "01.txt").unlink()
    check = one(img)
    assert (check.check, check.status) == ("captions", WARNING)
    assert check.message == f"1 image of 3 in {img} without a caption (.txt): 01.png"
    assert check.fix
    assert "caption_extension" in check.fix
    # Regularisation and conditioning images need none.
    assert odd(img, captioned=False) == []


def test_captions_without_images_are_counted_and_named(img: Path) -> None:
    for number in range(10, 17):
        (img / f"{number}.txt").write_text("zqx")
    check = one(img)
    assert (
        check.message
        == f"7 captions in {img} without an image: 10.txt, 11.txt, 12.txt, 13.txt, 14.txt and 2 "
        "more"
    )
    assert check.fix == "see whether an image is missing, or whether its name differs"


def test_prompts_beside_the_images_are_no_caption(img: Path) -> None:
    (img / "sample-prompts.txt").write_text("zqx")
    assert odd(img) != []
    assert [
        check
        for check in look(img, apart=frozenset({img / "sample-prompts.txt"}))
        if check.status != OK
    ] == []


def test_images_of_the_same_bytes_are_found_across_folders(tmp_path: Path) -> None:
    img, more = make(tmp_path / "img", "00", "01", "02"), make(tmp_path / "more")
    (img / "09.png").write_bytes((img / "00.png").read_bytes())
    (img / "09.txt").write_text("zqx")
    (more / "aa.png").write_bytes((img / "00.png").read_bytes())
    (more / "aa.txt").write_text("zqx")
    check = one(img, more)
    assert (check.check, check.status) == ("duplicates", WARNING)
    shown = f"{img}/00.png = 09.png = {more}/aa.png"
    assert check.message == f"1 image there more than once, with the same bytes: {shown}"
    assert check.fix == "keep one of each, unless it is meant to count more"


def test_many_of_the_same_bytes_are_not_all_named(tmp_path: Path) -> None:
    img = make(tmp_path / "img", *(f"{number:02d}" for number in range(8)))
    for path in img.glob("*.png"):
        path.write_bytes(png(2, 2, (0, 0, 0)))
    assert one(img).message.endswith(f"{img}/00.png = 01.png = 02.png = 03.png = 04.png = …")


def test_only_images_of_equal_size_are_hashed(img: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(img.glob("*.png"))):
        path.write_bytes(path.read_bytes() + b"x" * number)
        aged(path, HOUR)
        aged(path.with_suffix(".txt"), HOUR)
    assert odd(img) == []
    assert not (tmp_path / "cache").exists()


def test_an_empty_image_is_a_failure(img: Path) -> None:
    (img / "01.png").write_bytes(b"")
    check = one(img)
    assert (check.check, check.status) == ("empty images", FAILED)
    assert check.message == f"1 image in {img} (01.png) is empty"
    assert check.fix
    assert check.fix.startswith("copy them again, or take them out; find '")


def test_what_is_not_really_there_is_left_to_the_check_of_the_run(img: Path) -> None:
    (img / "05.png").symlink_to("gone.png")
    (img / "05.txt").write_text("zqx")
    (img / "01.png").write_bytes(POINTER)
    (img / "02.png").write_bytes(b"/annex/objects/MD5E-s1--0.png\n")
    assert odd(img) == []


@pytest.mark.usefixtures("modes_count")
def test_an_image_that_may_not_be_read_is_a_failure(img: Path) -> None:
    (img / "01.png").chmod(0)
    found = odd(img)
    assert found[0].check == "unreadable images"
    assert found[0].message == f"cannot read {img}/01.png (Permission denied)"


def test_an_image_that_goes_away_meanwhile_is_unreadable(img: Path) -> None:
    listings = dataset.list_folders(used(img), FILES, frozenset())
    (img / "01.png").unlink()
    found = dataset.dataset_checks(listings, FILES, HashCache(img.parent / "cache"))
    assert [(c.status, c.message) for c in found if c.check == "unreadable images"] == [
        (FAILED, f"cannot read {img}/01.png (No such file or directory)")
    ]


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.jpg", png(1, 1, (0, 0, 0)), "PNG"),
        ("a.png", b"\xff\xd8\xff\xe0rest", "JPEG"),
        ("a.png", b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        ("a.WEBP", b"GIF89a", "GIF"),
        ("a.jpeg", b"II*\0rest", "TIFF"),
    ],
)
def test_a_suffix_that_the_bytes_belie_is_a_warning(
    img: Path, name: str, head: bytes, kind: str
) -> None:
    (img / name).write_bytes(head)
    (img / "a.txt").write_text("zqx")
    check = one(img)
    assert (check.check, check.status) == ("suffixes", WARNING)
    assert check.message == f"1 image in {img} not what the suffix says: {name} is {kind}"
    assert check.fix == "name them after what they are, or save them again"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.JPG", b"\xff\xd8\xff\xe0rest"),
        ("a.jpeg", b"\xff\xd8\xff\xe1rest"),
        ("a.webp", b"RIFF\n\n\n\nWEBPVP8 "),
        ("a.bmp", b"BM123"),
        ("a.avif", b"\0\0\0\x20ftypavif"),
        ("a.jxl", b"\0\0\0\x0cJXL \r\n"),
    ],
)
def test_a_suffix_that_the_bytes_bear_out_is_right(img: Path, name: str, head: bytes) -> None:
    (img / name).write_bytes(head)
    (img / "a.txt").write_text("zqx")
    assert odd(img) == []


@pytest.mark.parametrize("head", [b"<html>not found</html>", POINTER + b"x" * 2000])
def test_what_is_no_image_is_a_failure(img: Path, head: bytes) -> None:
    (img / "01.png").write_bytes(head)
    check = one(img)
    assert (check.check, check.status) == ("strange images", FAILED)
    assert check.message == f"1 image in {img} (01.png) is not one by its bytes"
    assert check.fix
    assert check.fix.startswith("see what they are: file '")
