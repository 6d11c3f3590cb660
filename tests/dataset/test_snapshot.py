"""What goes into a run: a dataset config read as the trainer reads it, and every file of every
folder it names."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loragit.dataset import inputs
from loragit.dataset.hashes import HashCache
from loragit.dataset.inputs import CannotReadInput, parse_input
from loragit.dataset.snapshot import (
    Dataset,
    DatasetConfig,
    NothingToTrainOn,
    RecordedDataset,
    Subset,
    caption_warning,
    read_dataset,
    subset_files,
)
from loragit.errors import LoragitError
from loragit.trainers.sd_scripts.dataset_config import read_config
from loragit.trainers.sd_scripts.trainer import FILES

NOTHING = RecordedDataset(None, None, frozenset())
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def config(folder: Path, text: str, name: str = "config.toml", **more: str) -> DatasetConfig:
    (folder / name).write_text(text)
    return read_config(folder / name, folder, **more)


def subsets(*lines: str) -> str:
    return "[[datasets]]\n" + "".join(f"[[datasets.subsets]]\n{line}\n" for line in lines)


def image_folder(place: Path, *names: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).write_text(name)
    return place


# ---- dataset configs ----


def test_folders_and_files_are_taken_from_the_trainers_working_folder(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        subsets(
            'image_dir = "img"\nmetadata_file = "meta.json"',
            'image_dir = "/abs/./img//"\nconditioning_data_dir = "cond"\nin_json = "/in.json"',
            'image_dir = ""\nmetadata_file = ""\ncaption_extension = ""',
            "image_dir = 7\nmetadata_file = []",
        ),
    )
    assert found.path == tmp_path / "config.toml"
    assert found.data == found.path.read_bytes()
    assert [(f.written, f.path) for f in found.folders] == [
        ("img", tmp_path / "img"),
        ("/abs/./img//", Path("/abs/img")),
        ("cond", tmp_path / "cond"),
    ]
    assert found.files == (tmp_path / "meta.json", Path("/in.json"))


def test_the_nearest_caption_extension_holds(tmp_path: Path) -> None:
    text = """
[general]
caption_extension = ".general"
[[datasets]]
caption_extension = ".dataset"
[[datasets.subsets]]
image_dir = "a"
caption_extension = ".own"
[[datasets.subsets]]
image_dir = "b"
[[datasets]]
[[datasets.subsets]]
image_dir = "c"
[[datasets.subsets]]
image_dir = "a"
"""
    ends = {f.written: f.caption_suffixes for f in config(tmp_path, text).folders}
    assert ends == {"a": (".own", ".general"), "b": (".dataset",), "c": (".general",)}
    bare = subsets('image_dir = "a"')
    assert config(tmp_path, bare).folders[0].caption_suffixes == (".caption",)
    assert config(tmp_path, bare, caption_suffix=".txt").folders[0].caption_suffixes == (".txt",)


@pytest.mark.parametrize(
    ("lines", "captioned"),
    [
        ('image_dir = "img"', {"img": True}),
        ('image_dir = "img"\nis_reg = true', {"img": False}),
        ('image_dir = "img"\nclass_tokens = "girl"', {"img": False}),
        (
            'image_dir = "img"\nconditioning_data_dir = "masks"',
            {"img": True, "masks": False},
        ),
    ],
)
def test_captions_are_expected_of_images_that_the_trainer_captions_no_other_way(
    tmp_path: Path, lines: str, captioned: dict[str, bool]
) -> None:
    folders = config(tmp_path, subsets(lines)).folders
    assert {folder.path.name: folder.captioned for folder in folders} == captioned


def test_a_folder_of_two_subsets_needs_captions_where_one_of_them_does(tmp_path: Path) -> None:
    two = ('image_dir = "a"\nis_reg = true', 'image_dir = "a"')
    for lines in (two, two[::-1]):
        found = config(tmp_path, subsets(*lines))
        assert [folder.captioned for folder in found.folders] == [True]


def test_a_config_may_be_json(tmp_path: Path) -> None:
    text = json.dumps({"datasets": [{"subsets": [{"image_dir": "img"}, 7]}, 7]})
    assert [f.path for f in config(tmp_path, text, "c.JSON").folders] == [tmp_path / "img"]


def test_behind_a_link_two_dots_lead_up_from_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "img").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    assert (
        config(tmp_path, subsets('image_dir = "link/../img"')).folders[0].path
        == tmp_path / "real" / "img"
    )


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("", "c.toml", "names no image folder"),
        ("datasets = 7", "c.toml", "names no image folder"),
        ("[[datasets]]\n", "c.toml", "names no image folder"),
        ("[[datasets]]\nsubsets = 7", "c.toml", "names no image folder"),
        ("[[datasets]\n", "c.toml", r"does not parse: .*line 1, column 11"),
        ("{", "c.json", "does not parse: "),
        ("[" * 100_000, "c.json", "does not parse: "),
        ("[]", "c.json", "holds no table"),
    ],
)
def test_a_config_that_tells_nothing_is_refused(
    tmp_path: Path, text: str, name: str, told: str
) -> None:
    with pytest.raises(CannotReadInput, match=told):
        config(tmp_path, text, name)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotReadInput, match="does not parse"):
        parse_input(tmp_path / "c.toml", b"\xff", "dataset config")


def test_a_file_that_cannot_be_read_is_told_with_why(tmp_path: Path) -> None:
    with pytest.raises(CannotReadInput, match=r"the input .*nothing cannot be read: No such file"):
        inputs.read_input(tmp_path / "nothing", "input")
    with pytest.raises(CannotReadInput, match="Is a directory"):
        inputs.read_input(tmp_path, "input")
    with pytest.raises(CannotReadInput, match="cannot be read"):
        inputs.read_input(tmp_path / "a\0b", "input")


PATHS = st.sampled_from(
    [
        "img",
        "../img",
        "a\0b",
        "../a\0b",
        "\ud800",
        "../\ud800",
        "\udcff",
        "~/x",
        "/",
        ".",
        "x" * 300,
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | PATHS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "datasets",
                    "subsets",
                    "general",
                    "image_dir",
                    "metadata_file",
                    "caption_extension",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@few
@given(st.dictionaries(st.sampled_from(["datasets", "general"]), JUNK) | JUNK)
def test_whatever_a_config_holds_is_read_or_refused(tmp_path: Path, table: object) -> None:
    image_folder(tmp_path / "img", "00.png")
    (tmp_path / "config.json").write_text(json.dumps(table))
    try:
        found = read_config(tmp_path / "config.json", tmp_path)
        listed = [(folder, subset_files(folder, tmp_path)) for folder in found.folders]
        read_dataset(listed, NOTHING, tmp_path, HashCache(tmp_path / "cache"))
        for path in found.files:
            inputs.read_input(path, "input")
    except LoragitError as error:
        assert error.message


@pytest.mark.parametrize("path", ["a\0b", "../a\0b", "\ud800", "../\ud800"])
def test_a_path_that_no_folder_can_have_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(LoragitError):
        for folder in config(
            tmp_path, json.dumps({"datasets": [{"subsets": [{"image_dir": path}]}]}), "c.json"
        ).folders:
            subset_files(folder, tmp_path)


# ---- folders ----


def test_a_folders_files_are_listed_where_an_image_is_among_them(tmp_path: Path) -> None:
    place = image_folder(tmp_path / "img", "b.PNG", "a.txt", "notes")
    (place / "sub.png").mkdir()
    (place / "link.webp").symlink_to("b.PNG")
    (place / "broken.png").symlink_to("nowhere")
    assert subset_files(Subset("img", place, (".txt",), FILES), tmp_path) == (
        "a.txt",
        "b.PNG",
        "link.webp",
        "notes",
    )


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    place = image_folder(tmp_path / "img", "a.txt", "b.gif", "c.Png")
    with pytest.raises(NothingToTrainOn, match=r"'img' \(.*\) holds no images") as refused:
        subset_files(Subset("img", place, (), FILES), tmp_path)
    assert "No data found" in str(refused.value.hint)


def test_a_folder_that_is_missing_is_told_with_what_may_be_meant(tmp_path: Path) -> None:
    missing = Subset("img", Path("/nowhere/img"), (), FILES)
    with pytest.raises(NothingToTrainOn, match="the image folder 'img'") as refused:
        subset_files(missing, tmp_path)
    assert refused.value.hint == "correct image_dir in the dataset config"
    image_folder(tmp_path / "img")
    with pytest.raises(NothingToTrainOn) as refused:
        subset_files(missing, tmp_path)
    assert str(tmp_path / "img") in str(refused.value.hint)
    assert 'trainer.workdir = "dataset"' in str(refused.value.hint)


# ---- datasets ----


def dataset(root: Path, *folders: Subset, recorded: RecordedDataset = NOTHING) -> Dataset:
    listed = [(folder, subset_files(folder, root)) for folder in folders]
    cache = HashCache(root.parent / "cache")
    return read_dataset(listed, recorded, root, cache)


def checked(root: Path, digest: bytes) -> list[str]:
    """Paths that ``sha256sum -c``, started in ``root``, finds as they were."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict"], cwd=root, input=digest, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removesuffix(": OK") for line in os.fsdecode(done.stdout).split("\n")[:-1]]


def test_every_file_is_fingerprinted_and_every_images_caption_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    names = (
        "00.png",
        "00.txt",
        "00.caption",
        "01.jpg",
        "01_sdxl.npz",
        "02.txt",
        "00.txt.bak",
        "notes.txt",
    )
    img = image_folder(root / "img", *names)
    found = dataset(root, Subset("img", img, (".txt",), FILES))
    assert checked(root, found.digest) == sorted(
        f"img/{name}" for name in names if not name.endswith(".npz")
    )
    assert (found.images, found.captions, found.captions_tree) == (2, 1, None)
    assert [(e.path, e.data) for e in found.entries] == [("captions/img/00.txt", b"00.txt")]
    both = dataset(root, Subset("img", img, (".txt", ".caption"), FILES))
    assert [e.path for e in both.entries] == ["captions/img/00.caption", "captions/img/00.txt"]


def test_captions_have_a_place_for_each_folder(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    inside, top = (
        image_folder(root / "a" / "img", "0.png", "0.txt"),
        image_folder(root, "1.png", "1.txt"),
    )
    outside = [image_folder(tmp_path / name / "img", "2.png", "2.txt") for name in ("reg", "more")]
    places = [Subset(str(path), path, (".txt",), FILES) for path in (inside, top, *outside)]
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
    found = dataset(root, Subset("img", other / "img", (".txt",), FILES))
    assert checked(root, found.digest) == checked(real, found.digest) == ["img/0.png", "img/0.txt"]
    assert [e.path for e in found.entries] == ["captions/img/0.txt"]


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def test_captions_that_are_on_record_are_not_read_again(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    folder = Subset("img", image_folder(root / "img", "0.png", "0.txt"), (".txt",), FILES)
    first = dataset(root, folder)
    recorded = RecordedDataset(blob(first.digest), "c" * 40, frozenset({"captions/img/0.txt"}))
    again = dataset(root, folder, recorded=recorded)
    assert (again.captions_tree, again.entries, again.captions, again.digest) == (
        "c" * 40,
        (),
        1,
        first.digest,
    )
    assert (
        dataset(root, folder._replace(caption_suffixes=(".tags",)), recorded=recorded).captions_tree
        is None
    )
    assert dataset(root, folder, recorded=recorded._replace(captions=None)).captions_tree is None
    (root / "img" / "0.txt").write_text("edited")
    changed = dataset(root, folder, recorded=recorded)
    assert changed.captions_tree is None
    assert [e.data for e in changed.entries] == [b"edited"]


def test_images_that_git_lfs_has_not_fetched_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "gren"
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
    img = image_folder(root / "img", "0.png", "1.png", "1.txt")
    for name in ("0.png", "1.txt"):
        (img / name).write_text(pointer)
    with pytest.raises(
        NothingToTrainOn, match=r"1 images of .* are git-lfs pointers, as 0\.png"
    ) as refused:
        dataset(root, Subset("img", img, (".txt",), FILES))
    assert f"git -C {img} lfs pull" in str(refused.value.hint)
    (img / "0.png").write_text("version https://git-lfs.github.com/spec/v1\nnothing more")
    assert dataset(root, Subset("img", img, (".txt",), FILES)).captions == 1


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
    assert len(
        checked(root, dataset(root, Subset("img", img, (".txt",), FILES)).digest)
    ) == 1 + len(names)


# ---- captions that the trainer will not find ----


@pytest.mark.parametrize(
    ("names", "ends", "warned"),
    [
        (
            ("0.png", "0.txt"),
            (".caption",),
            "has 1 .txt files, but the trainer will look for .caption and",
        ),
        (("0.png", "0.txt"), (".caption", ".tags"), "look for .caption and .tags and"),
        (("0.png", "0.txt", "1.png", "1.caption"), (".caption",), None),
        (("0.png", "0.txt"), (".txt",), None),
        (("0.png", "notes.txt"), (".caption",), None),
        (("0.png",), (".caption",), None),
    ],
)
def test_text_files_that_are_no_captions_to_the_trainer_are_warned_of(
    names: tuple[str, ...], ends: tuple[str, ...], warned: str | None
) -> None:
    told = caption_warning(Subset("img", Path("/img"), ends, FILES), names)
    assert (told is None) == (warned is None)
    assert (warned or "") in (told or "")
