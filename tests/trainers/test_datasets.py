"""Which images and captions sd-scripts reads, however the dataset is named. The expected values are
those of its own dataset classes; ``make test-torch`` compares with these themselves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit.dataset import inputs
from loragit.dataset.hashes import HashCache
from loragit.dataset.inputs import CannotReadInput
from loragit.dataset.snapshot import RecordedDataset, read_dataset
from loragit.dataset.used_files import ConfigFile, UsedFiles
from loragit.errors import LoragitError
from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.sd_scripts.datasets import reading
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import DatasetPlace

NO_DATA = "the trainer would say 'No data found' and stop"
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def files(place: Path, *names: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).write_text(name)
    return place


def of_config(
    root: Path,
    text: str,
    *words: str,
    name: str = "config.toml",
    can_import: Callable[[str], bool] = lambda module: False,
) -> UsedFiles:
    """What a training with this dataset config and these arguments reads, started in ``root``."""
    config = ConfigFile(root / name, Path(name).suffix.lower(), text.encode())
    return reading.used_files(config, from_words(words), DatasetPlace(root, root, None, can_import))


def of_arguments(root: Path, *words: str) -> UsedFiles:
    place = DatasetPlace(root, root, None, lambda module: False)
    return reading.used_files(None, from_words(words), place)


def config(*subsets: str, general: str = "", dataset: str = "") -> str:
    text = f"[general]\nresolution = 64\n{general}\n[[datasets]]\n{dataset}\n"
    return text + "".join(f"[[datasets.subsets]]\n{lines}\n" for lines in subsets)


def images(used: UsedFiles) -> list[str]:
    return [f"{each.path.name}/{name}" for each in used.folders for name in each.images]


def captions(used: UsedFiles) -> list[str]:
    return [f"{each.path.name}/{name}" for each in used.folders for name in each.captions]


def uncaptioned(used: UsedFiles) -> list[str]:
    return [name for each in used.folders for name in each.uncaptioned]


def problems(used: UsedFiles) -> list[str]:
    return [finding.problem for finding in used.findings]


TXT = 'caption_extension = ".txt"'
IMG = f'image_dir = "img"\n{TXT}'


# ---- images ----


def test_images_are_told_by_their_suffix_in_one_case(tmp_path: Path) -> None:
    files(
        tmp_path / "img", "a.png", "b.PNG", "c.Png", "d.jpeg", "e.WEBP", "f.bmp", "g.gif", "h.tif"
    )
    used = of_config(tmp_path, config(IMG))
    assert images(used) == ["img/a.png", "img/b.PNG", "img/d.jpeg", "img/e.WEBP", "img/f.bmp"]
    assert [each for each in used.warnings if "not read" in each] == [
        f"3 images in {tmp_path}/img are not read by the trainer: c.Png, g.gif, h.tif"
    ]


def test_hidden_files_are_neither_images_nor_captions(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png", "0.txt", "._0.png", "._0.txt", ".hidden.gif")
    used = of_config(tmp_path, config(IMG))
    assert (images(used), captions(used)) == (["img/0.png"], ["img/0.txt"])
    assert used.warnings == ()
    assert used.folders[0].unused_captions == ()


@pytest.mark.parametrize(
    ("name", "modules"),
    [("0.avif", ["pillow_avif"]), ("0.JXL", ["jxlpy"]), ("0.jxl", ["pillow_jxl"])],
)
def test_suffixes_that_need_a_plugin_count_where_the_trainers_python_has_it(
    tmp_path: Path, name: str, modules: list[str]
) -> None:
    files(tmp_path / "img", "1.png", name)
    with_plugin = of_config(tmp_path, config(IMG), can_import=modules.__contains__)
    assert len(images(with_plugin)) == 2
    without = of_config(tmp_path, config(IMG))
    assert images(without) == ["img/1.png"]
    assert name in without.warnings[0]


def test_plugins_are_asked_for_only_where_a_name_needs_one(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png", "0.avif.txt", "0.Avif")
    asked: list[str] = []

    def can_import(module: str) -> bool:
        asked.append(module)
        return True

    assert images(of_config(tmp_path, config(IMG), can_import=can_import)) == ["img/0.png"]
    assert asked == []
    files(tmp_path / "img", "1.avif", "2.avif")
    of_config(tmp_path, config(IMG), can_import=can_import)
    assert asked == ["pillow_avif"]


def test_links_to_nothing_count_as_what_they_are_called(tmp_path: Path) -> None:
    img = files(tmp_path / "img", "0.png", "link.txt")
    (img / "1.png").symlink_to("nowhere")
    (img / "0.txt").symlink_to("nowhere")
    (img / "2.png").symlink_to("0.png")
    (img / "dir").symlink_to(tmp_path)
    (folder,) = of_config(tmp_path, config(IMG)).folders
    assert folder.images == ("0.png", "1.png", "2.png")
    assert folder.captions == ("0.txt",)
    assert folder.dangling == {"1.png", "0.txt"}


def test_a_folder_that_is_named_by_two_subsets_counts_once(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png", "0.txt", "0.tags")
    text = (
        config(IMG)
        + config('image_dir = "./img/"\ncaption_extension = "tags"').partition("64\n")[2]
    )
    used = of_config(tmp_path, text)
    assert images(used) == ["img/0.png"]
    assert captions(used) == ["img/0.tags", "img/0.txt"]
    assert used.folders[0].caption_ends == (".txt", ".tags")
    # In one dataset, sd-scripts passes over the second of the same name.
    twice = of_config(tmp_path, config(IMG, 'image_dir = "img"\ncaption_extension = ".tags"'))
    assert captions(twice) == ["img/0.txt"]
    assert twice.warnings == (
        "'img' is named twice in one dataset: the trainer passes over the second",
    )


# ---- captions ----


def test_the_nearest_caption_extension_counts(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        files(tmp_path / name, "0.png", *(f"0.{end}" for end in ("own", "set", "all", "caption")))
    used = of_config(
        tmp_path,
        config(
            'image_dir = "a"\ncaption_extension = "own"',
            'image_dir = "b"',
            general='caption_extension = ".all"',
            dataset='caption_extension = ".set"',
        )
        + '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "c"\n',
    )
    assert captions(used) == ["a/0.own", "b/0.set", "c/0.all"]
    assert [each.partition(";")[0] for each in used.warnings] == [
        'caption_extension has no dot: write ".own"'
    ]


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ((), ["img/0.caption"]),
        (("--caption_extension", ".txt"), ["img/0.txt"]),
        (("--caption_extention", "txt"), ["img/0.txt"]),
        # The older spelling wins.
        (("--caption_extention", ".txt", "--caption_extension", ".tags"), ["img/0.txt"]),
    ],
)
def test_without_one_the_arguments_caption_extension_counts(
    tmp_path: Path, words: tuple[str, ...], read: list[str]
) -> None:
    files(tmp_path / "img", "0.png", "0.txt", "0.caption", "0.tags")
    assert captions(of_config(tmp_path, config('image_dir = "img"'), *words)) == read


def test_crops_of_faces_share_a_caption(tmp_path: Path) -> None:
    files(
        tmp_path / "img",
        *("cat_1_2_3_4.png", "cat_5_6_7_8.png", "cat.txt", "a_b_1_2_3_4.png", "a_b.txt"),
        *("dog_1_2_3_4.png", "dog_1_2_3_4.txt", "dog.txt", "_1_2_3_4.png", "x_1_2_3.png", "x.txt"),
    )
    (folder,) = of_config(tmp_path, config(IMG)).folders
    assert folder.captions == ("a_b.txt", "cat.txt", "dog_1_2_3_4.txt")
    assert folder.unused_captions == ("dog.txt", "x.txt")
    assert folder.uncaptioned == ("_1_2_3_4.png", "x_1_2_3.png")


def test_parts_are_taken_off_the_whole_path_as_it_is_written(tmp_path: Path) -> None:
    files(tmp_path / "10_a_b", "cat_1_2.png")
    files(tmp_path, "10.txt", "10_a_b.txt")
    used = of_config(tmp_path, config(f'image_dir = "10_a_b"\n{TXT}'))
    assert [(each.path, each.captions) for each in used.folders] == [
        (tmp_path / "10_a_b", ()),
        (tmp_path, ("10.txt",)),
    ]
    assert images(used) == ["10_a_b/cat_1_2.png"]
    assert uncaptioned(used) == []


def test_an_empty_caption_extension_is_the_name_without_a_suffix(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png", "0", "1.png")
    used = of_config(tmp_path, config('image_dir = "img"\ncaption_extension = ""'))
    assert (captions(used), uncaptioned(used)) == (["img/0"], ["1.png"])


@pytest.mark.parametrize(
    ("subset", "general", "dataset", "words", "missing"),
    [
        ("", "", "", (), ["0.png"]),
        ('class_tokens = "zqx"', "", "", (), []),
        ("", 'class_tokens = "zqx"', "", (), []),
        ("", "", 'class_tokens = "zqx"', (), []),
        ("is_reg = true", "", "", (), []),
        ('class_tokens = ""', 'class_tokens = "zqx"', "", (), ["0.png"]),
        # A key in a --config_file that is no argument counts as well.
        ("", "", "", ("--class_tokens", "zqx"), []),
    ],
)
def test_class_tokens_stand_for_missing_captions_wherever_they_are_set(
    tmp_path: Path,
    subset: str,
    general: str,
    dataset: str,
    words: tuple[str, ...],
    missing: list[str],
) -> None:
    files(tmp_path / "img", "0.png", "1.png", "1.txt")
    files(tmp_path / "more", "m.png", "m.txt")
    text = config(
        f"{IMG}\n{subset}", f'image_dir = "more"\n{TXT}', general=general, dataset=dataset
    )
    assert uncaptioned(of_config(tmp_path, text, *words)) == missing


@pytest.mark.parametrize(
    ("names", "ends", "warned"),
    [
        (
            ("0.png", "0.txt"),
            (".caption",),
            "has 1 .txt files, but the trainer will look for .caption and",
        ),
        (("0.png", "0.txt", "1.png", "1.caption"), (".caption",), None),
        (("0.png", "0.txt"), (".txt",), None),
        (("0.png", "notes.txt"), (".caption",), None),
        (("0.png",), (".caption",), None),
    ],
)
def test_text_files_that_are_no_captions_to_the_trainer_are_warned_of(
    tmp_path: Path, names: tuple[str, ...], ends: tuple[str, ...], warned: str | None
) -> None:
    files(tmp_path / "img", *names)
    used = of_config(tmp_path, config(f'image_dir = "img"\ncaption_extension = "{ends[0]}"'))
    assert len(used.warnings) == (warned is not None)
    assert (warned or "") in "".join(used.warnings)


# ---- subsets that are passed over ----


def test_a_subset_without_repeats_is_passed_over(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png")
    files(tmp_path / "off", "1.png", "1.txt")
    used = of_config(tmp_path, config(IMG, f'image_dir = "off"\n{TXT}\nnum_repeats = 0'))
    assert (images(used), captions(used)) == (["img/0.png"], [])
    # Nor does it need to be there.
    shutil.rmtree(tmp_path / "off")
    gone = of_config(tmp_path, config(IMG, f'image_dir = "off"\n{TXT}\nnum_repeats = 0'))
    assert (gone.findings, gone.warnings) == ((), ())


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_images_beside_others_is_passed_over(tmp_path: Path, there: bool) -> None:
    files(tmp_path / "img", "0.png")
    if there:
        files(tmp_path / "reg", "notes.txt", "._0.png")
    used = of_config(tmp_path, config(IMG, 'image_dir = "reg"\nis_reg = true'))
    assert (images(used), used.findings) == (["img/0.png"], ())
    why = f"({tmp_path}/reg) holds no images" if there else f"cannot read {tmp_path}/reg"
    (warning,) = used.warnings
    assert why in warning
    assert warning.endswith(": the trainer passes over it")


def test_a_dataset_without_any_image_is_refused(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.txt", "._0.png")
    used = of_config(tmp_path, config(IMG, 'image_dir = "none"'))
    assert problems(used) == [
        f"the image folder 'img' ({tmp_path}/img) holds no images",
        f"the image folder 'none': cannot read {tmp_path}/none (No such file or directory)",
    ]
    assert used.findings[0].hint == NO_DATA
    off = of_config(tmp_path, config(f"{IMG}\nnum_repeats = 0"))
    assert problems(off) == ["every subset is switched off (num_repeats = 0)"]


def test_a_folder_that_is_missing_is_told_with_what_may_be_meant(tmp_path: Path) -> None:
    def hint(workdir: Path) -> str | None:
        file = ConfigFile(tmp_path / "c.toml", ".toml", config(IMG).encode())
        place = DatasetPlace(workdir, tmp_path, None, lambda module: False)
        (finding,) = reading.used_files(file, Arguments({}), place).findings
        return finding.hint

    (tmp_path / "trainer").mkdir()
    assert hint(tmp_path / "trainer") == "correct image_dir in the dataset config"
    files(tmp_path / "img")
    found = hint(tmp_path / "trainer")
    assert found is not None
    assert f"write {tmp_path}/img in" in found
    assert 'trainer.workdir = "dataset"' in found


def test_an_empty_folder_stops_a_training_that_keeps_images_for_validation(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png")
    files(tmp_path / "more")
    text = config(IMG, 'image_dir = "more"', dataset="validation_split = 0.2")
    assert problems(of_config(tmp_path, text)) == [
        "the image folder 'more' is empty, and with validation_split the trainer stops at it"
    ]
    # Images for validation are read too, those of a subset without repeats among them.
    files(tmp_path / "more", "1.png", "2.png")
    subsets = (f"{IMG}\nnum_repeats = 0", 'image_dir = "more"')
    used = of_config(tmp_path, config(*subsets, dataset="validation_split = 0.5"))
    assert images(used) == ["img/0.png", "more/1.png", "more/2.png"]
    assert used.findings == ()


def test_a_training_without_a_resolution_is_refused(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png")
    text = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "img"\n'
    (problem,) = problems(of_config(tmp_path, text))
    assert "resolution" in problem
    assert problems(of_config(tmp_path, text, "--resolution", "64")) == []


# ---- regularisation images ----


def test_no_more_regularisation_images_are_read_than_images_to_train_on(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png", "1.png")
    files(tmp_path / "reg", *(f"r{number}.png" for number in range(7)), "r6.txt")
    used = of_config(
        tmp_path, config(f"{IMG}\nnum_repeats = 2", f'image_dir = "reg"\n{TXT}\nis_reg = true')
    )
    assert images(used) == ["img/0.png", "img/1.png", *(f"reg/r{n}.png" for n in range(4))]
    # The captions are read before.
    assert captions(used) == ["reg/r6.txt"]
    assert "3 regularisation images are not used" in "".join(used.warnings)
    assert [share.images for share in used.epoch] == [8]
    fewer = of_config(
        tmp_path, config(f"{IMG}\nnum_repeats = 9", 'image_dir = "reg"\nis_reg = true')
    )
    assert len(images(fewer)) == 9
    assert [share.images for share in fewer.epoch] == [36]


def test_images_that_are_not_trained_on_train_nothing(tmp_path: Path) -> None:
    files(tmp_path / "reg", "r.png", "r.txt")
    used = of_config(tmp_path, config(f'image_dir = "reg"\nis_reg = true\n{TXT}'))
    assert images(used) == []
    (problem,) = problems(used)
    assert problem.startswith("no image is left to train on")
    all_kept = config(f'image_dir = "reg"\n{TXT}', dataset="validation_split = 1.0")
    assert problems(of_config(tmp_path, all_kept)) == [problem]


def test_a_folder_that_is_called_like_an_image_is_told(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png")
    (tmp_path / "img" / "x.png").mkdir()
    (tmp_path / "img" / "x.Png").mkdir()
    (problem,) = problems(of_config(tmp_path, config(IMG)))
    assert problem.startswith(f"{tmp_path}/img/x.png is a folder that is called like an image")


# ---- steps of an epoch ----


def test_the_images_of_an_epoch_are_counted_by_dataset(tmp_path: Path) -> None:
    files(tmp_path / "a", *(f"{n}.png" for n in range(5)))
    files(tmp_path / "b", *(f"{n}.png" for n in range(6)))
    text = (
        config('image_dir = "a"\nnum_repeats = 3', 'image_dir = "b"', general="batch_size = 2")
        + '[[datasets]]\nbatch_size = 4\nnum_repeats = 2\n[[datasets.subsets]]\nimage_dir = "b"\n'
    )
    assert of_config(tmp_path, text).epoch == ((21, 2), (12, 4))
    bare = config('image_dir = "a"')
    assert of_config(tmp_path, bare, "--train_batch_size", "5").epoch == ((5, 5),)
    assert of_config(tmp_path, bare, "--dataset_repeats", "3").epoch == ((15, 1),)
    split = config('image_dir = "a"', general="validation_split = 0.5")
    assert of_config(tmp_path, split).epoch == ((3, 1),)


# ---- metadata files ----


def metadata(path: Path, rows: object) -> None:
    path.write_text(json.dumps(rows))


def test_a_metadata_file_names_the_images(tmp_path: Path) -> None:
    files(tmp_path / "img", "top.png", "not.png", "top.txt")
    files(tmp_path / "img" / "deep", "0.png")
    rows = {
        "deep/0.png": {"caption": "zqx"},
        "top.png": {"tags": "zqx"},
        f"{tmp_path}/img/not.png": {"caption": ""},
    }
    metadata(tmp_path / "meta.json", rows)
    used = of_config(tmp_path, config('image_dir = "img"\nmetadata_file = "meta.json"'))
    assert images(used) == ["deep/0.png", "img/not.png", "img/top.png"]
    assert (captions(used), used.captions_inside) == ([], 2)
    assert uncaptioned(used) == ["not.png"]
    assert list(used.files) == [tmp_path / "meta.json"]
    assert used.files[tmp_path / "meta.json"] == (tmp_path / "meta.json").read_bytes()
    assert (used.findings, used.warnings) == ((), ())
    assert not any(folder.every_image for folder in used.folders)


def test_a_metadata_file_may_have_a_line_for_each_image(tmp_path: Path) -> None:
    img = files(tmp_path / "img", "0.png", "1.png")
    lines = [
        {"image_path": str(img / "0.png"), "caption": "zqx", "image_size": [8, 8]},
        {"image_path": str(img / "1.png")},
    ]
    (tmp_path / "m.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    used = of_config(tmp_path, config('metadata_file = "m.jsonl"'))
    assert images(used) == ["img/0.png", "img/1.png"]
    assert (used.captions_inside, uncaptioned(used)) == (1, ["1.png"])


def test_images_that_a_metadata_file_names_must_be_there(tmp_path: Path) -> None:
    img = files(tmp_path / "img", "1_0064x0064_sd.npz", "2.png", "3_te_outputs.npz")
    rows = {f"{img}/{n}.png": {"caption": "x"} for n in range(4)}
    metadata(tmp_path / "m.json", rows)
    used = of_config(tmp_path, config('metadata_file = "m.json"'))
    # Cached latents stand for an image that is not there, outputs of text encoders do not.
    assert images(used) == ["img/1_0064x0064_sd.npz", "img/2.png"]
    assert problems(used) == [
        f"2 images that {tmp_path}/m.json names are not there: {img}/0.png, {img}/3.png"
    ]
    metadata(tmp_path / "m.json", {"1.png": {"caption": "x"}, "2.png": {"caption": "x"}})
    used = of_config(tmp_path, config('image_dir = "img"\nmetadata_file = "m.json"'))
    assert problems(used) == [f"1 image that {tmp_path}/m.json names is not there: 1.png"]


def test_relative_keys_need_a_folder(tmp_path: Path) -> None:
    metadata(tmp_path / "m.json", {"0.png": {"caption": "x"}})
    (problem,) = problems(of_config(tmp_path, config('metadata_file = "m.json"')))
    assert "by relative paths, as 0.png" in problem


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("m.json", b"{", "does not parse"),
        ("m.json", b'{"a.png": 7}', "does not say what 'a.png' is"),
        ("m.json", b'{"a.png": {"tags": ["a"]}}', "a caption of 'a.png' that is no text"),
        ("m.json", b'{"a.png": {"image_size": 8}}', "a size of 'a.png' that is none"),
        ("m.json", "{}".encode("utf-16"), "is UTF-16"),
        ("m.json", b"\xef\xbb\xbf{}", "byte order mark"),
        ("m.jsonl", b"[]\n", "names no image in line 1"),
        ("m.jsonl", b'{"image_path": "a"}\n\n{}', "line 2"),
    ],
)
def test_a_metadata_file_that_the_trainer_cannot_read_is_refused(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(data)
    (problem,) = problems(
        of_config(tmp_path, config(f'image_dir = "img"\nmetadata_file = "{name}"'))
    )
    assert told in problem


def test_a_metadata_file_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png")
    (problem,) = problems(of_config(tmp_path, config('metadata_file = "none.json"')))
    assert problem.startswith(f"the metadata file {tmp_path}/none.json cannot be read")
    metadata(tmp_path / "m.json", {})
    text = config('metadata_file = "m.json"') + config(IMG).partition("64\n")[2]
    used = of_config(tmp_path, text)
    assert (images(used), used.findings) == (["img/0.png"], ())
    assert used.warnings == (
        f"the metadata file {tmp_path}/m.json names no image: the trainer passes over it",
    )


def test_subsets_with_and_without_metadata_are_refused_in_one_dataset(tmp_path: Path) -> None:
    with pytest.raises(CannotReadInput, match="with and without metadata_file"):
        of_config(tmp_path, config(IMG, 'metadata_file = "m.json"'))


def test_a_frozen_list_of_images_is_read_where_cache_info_says_so(tmp_path: Path) -> None:
    img = files(tmp_path / "img", "0.png", "0.txt", "1.png", "2.png")
    cached = config(f"{IMG}\ncache_info = true")
    assert images(of_config(tmp_path, cached)) == ["img/0.png", "img/1.png", "img/2.png"]
    rows = {f"img/{n}.png": {"caption": "zqx" * n, "resolution": [8, 8]} for n in range(2)}
    metadata(img / "metadata_cache.json", rows)
    used = of_config(tmp_path, cached)
    assert images(used) == ["img/0.png", "img/1.png"]
    assert (captions(used), used.captions_inside) == ([], 1)
    assert list(used.files) == [img / "metadata_cache.json"]
    assert not used.folders[0].every_image
    assert images(of_config(tmp_path, config(IMG)))[2:] == ["img/2.png"]
    (img / "1.png").unlink()
    (problem,) = problems(of_config(tmp_path, cached))
    assert "img/1.png" in problem
    metadata(img / "metadata_cache.json", {"img/0.png": {"caption": "c"}})
    (problem,) = problems(of_config(tmp_path, cached))
    assert "has no resolution of 'img/0.png'" in problem


# ---- conditioning images ----


def test_each_image_has_a_conditioning_image(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png", "1.png", "0.txt")
    files(tmp_path / "masks", "0.jpg", "1.png", "0.txt")
    text = config(f'{IMG}\nconditioning_data_dir = "masks"')
    used = of_config(tmp_path, text)
    assert [(each.path.name, each.images, each.further) for each in used.folders] == [
        ("img", ("0.png", "1.png"), ()),
        ("masks", (), ("0.jpg", "1.png")),
    ]
    assert used.findings == ()
    os.rename(tmp_path / "masks" / "1.png", tmp_path / "masks" / "2.png")
    assert problems(of_config(tmp_path, text)) == [
        "masks: 1 conditioning images missing, and the trainer stops at that: 1",
        "masks: 1 without an image, and the trainer stops at that: 2.png",
    ]


# ---- arguments alone ----


def test_folders_are_named_by_repeats_and_words(tmp_path: Path) -> None:
    files(tmp_path / "train" / "10_zqx thing", "0.png", "0.caption", "1.png")
    files(tmp_path / "train" / "2", "2.png")
    files(tmp_path / "train" / "0_off", "3.png")
    files(tmp_path / "train" / "notes", "4.png")
    files(tmp_path / "train", "beside.png", "readme.txt")
    files(tmp_path / "reg" / "1_thing", "r.png")
    words = ("--train_data_dir", "train", "--reg_data_dir", "reg", "--resolution", "64")
    used = of_arguments(tmp_path, *words)
    assert images(used) == ["10_zqx thing/0.png", "10_zqx thing/1.png", "2/2.png", "1_thing/r.png"]
    assert captions(used) == ["10_zqx thing/0.caption"]
    # A folder of no words stands for no words.
    assert uncaptioned(used) == ["2.png"]
    assert used.epoch == ((44, 1),)
    told = "\n".join(used.warnings)
    assert f"2 folders in train_data_dir {tmp_path}/train are not read: 0_off, notes" in told
    assert f"1 image directly in train_data_dir {tmp_path}/train is not read" in told
    assert used.findings == ()


def test_folders_of_arguments_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    words = ("--train_data_dir", "train", "--resolution", "64")
    assert problems(of_arguments(tmp_path, *words)) == [
        f"there is no folder {tmp_path}/train, which train_data_dir names"
    ]
    files(tmp_path / "train", "0.png")
    (finding,) = of_arguments(tmp_path, *words).findings
    assert finding.problem == f"train_data_dir {tmp_path}/train holds no folder to train on"
    assert finding.hint is not None
    assert "10_zqx" in finding.hint


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, modes_count: None) -> None:
    files(tmp_path / "train" / "1_a", "0.png")
    (tmp_path / "train").chmod(0o100)
    try:
        words = ("--train_data_dir", "train", "--resolution", "64")
        assert problems(of_arguments(tmp_path, *words)) == [
            f"the folder {tmp_path}/train of train_data_dir cannot be read: Permission denied"
        ]
    finally:
        (tmp_path / "train").chmod(0o700)


def test_regularisation_images_may_be_missing(tmp_path: Path) -> None:
    files(tmp_path / "train" / "1_a", "0.png")
    files(tmp_path / "empty")
    words = ("--train_data_dir", "train", "--resolution", "64")
    used = of_arguments(tmp_path, *words, "--reg_data_dir", "none")
    assert (images(used), used.findings) == (["1_a/0.png"], ())
    assert used.warnings == (
        f"there is no folder {tmp_path}/none (reg_data_dir): the trainer goes on without it",
    )
    used = of_arguments(tmp_path, *words, "--reg_data_dir", "empty")
    assert (images(used), used.findings) == (["1_a/0.png"], ())


def test_a_metadata_file_of_arguments_names_the_images(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png")
    metadata(tmp_path / "m.json", {"0.png": {"caption": "zqx"}})
    words = ("--train_data_dir", "img", "--in_json", "m.json", "--resolution", "64,64")
    used = of_arguments(tmp_path, *words, "--dataset_repeats", "3", "--train_batch_size", "2")
    assert (images(used), used.captions_inside) == (["img/0.png"], 1)
    assert used.epoch == ((3, 2),)
    assert problems(of_arguments(tmp_path, *words[:4])) != []


def test_conditioning_images_of_arguments_belong_to_the_images(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png", "0.txt")
    files(tmp_path / "masks", "0.png")
    used = of_arguments(
        tmp_path,
        *("--train_data_dir", "img", "--conditioning_data_dir", "masks", "--resolution", "64"),
        *("--caption_extension", ".txt"),
    )
    assert images(used) == ["img/0.png"]
    assert captions(used) == ["img/0.txt"]
    assert used.folders[1].further == ("0.png",)


def test_what_a_dataset_class_of_ones_own_reads_is_not_known(tmp_path: Path) -> None:
    used = of_arguments(tmp_path, "--dataset_class", "mine.Own")
    assert (used.folders, used.findings) == ((), ())
    assert used.warnings == ("dataset_class is mine.Own: what it reads is not on record",)


# ---- configs of any kind ----


def test_a_config_may_be_json(tmp_path: Path) -> None:
    files(tmp_path / "img", "0.png")
    text = json.dumps({"datasets": [{"resolution": 8, "subsets": [{"image_dir": "img"}, 7]}, 7]})
    assert images(of_config(tmp_path, text, name="c.JSON")) == ["img/0.png"]


def test_behind_a_link_two_dots_lead_up_from_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    files(tmp_path / "real" / "img", "0.png")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    (folder,) = of_config(tmp_path, config('image_dir = "link/../img"')).folders
    assert folder.path == tmp_path / "real" / "img"


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("", "c.toml", "names no image folder"),
        ("datasets = 7", "c.toml", "names no image folder"),
        ("[[datasets]]\n", "c.toml", "names no image folder"),
        ("[[datasets]]\nsubsets = 7", "c.toml", "names no image folder"),
        ("[[datasets]]\n[[datasets.subsets]]\nnum_repeats = 2", "c.toml", "names no image folder"),
        ("[[datasets]\n", "c.toml", r"does not parse: .*line 1, column 11"),
        ("\ufeff[[datasets]]\n", "c.toml", r"begins with a byte order mark \(BOM\)"),
        ("{", "c.json", "does not parse: "),
        ("[" * 100_000, "c.json", "does not parse: "),
        ("[]", "c.json", "holds no table"),
    ],
)
def test_a_config_that_tells_nothing_is_refused(
    tmp_path: Path, text: str, name: str, told: str
) -> None:
    with pytest.raises(CannotReadInput, match=told):
        of_config(tmp_path, text, name=name)


@pytest.mark.parametrize("path", ["a\0b", "../a\0b", "\ud800", "../\ud800"])
def test_a_path_that_no_folder_can_have_is_refused(tmp_path: Path, path: str) -> None:
    table = {"datasets": [{"resolution": 8, "subsets": [{"image_dir": path}]}]}
    with pytest.raises(CannotReadInput, match="is no path"):
        of_config(tmp_path, json.dumps(table), name="c.json")


PATHS = st.sampled_from(
    ["img", "../img", "a\0b", "\ud800", "\udcff", "~/x", "/", ".", "x" * 300, "config.json"]
)
KEYS = st.sampled_from(
    [
        *("datasets", "subsets", "general", "image_dir", "metadata_file", "caption_extension"),
        *("num_repeats", "class_tokens", "is_reg", "cache_info", "conditioning_data_dir"),
        *("validation_split", "batch_size", "resolution"),
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | PATHS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@few
@given(st.dictionaries(st.sampled_from(["datasets", "general"]), JUNK) | JUNK)
def test_whatever_a_config_holds_is_read_or_refused(tmp_path: Path, table: object) -> None:
    files(tmp_path / "img", "00.png")
    text = json.dumps(table)
    (tmp_path / "config.json").write_text(text)
    try:
        used = of_config(tmp_path, text, name="config.json")
        nothing = RecordedDataset(None, None, frozenset())
        read_dataset(used, SdScripts(), nothing, tmp_path, HashCache(tmp_path / "cache"))
        for path in used.files:
            inputs.read_input(path, "input")
    except LoragitError as error:
        assert error.message


# ---- keys that the trainer refuses ----

PAIRED = f"{IMG}\nconditioning_data_dir = 'img'"
CONFIG_UTIL = """
class ConfigSanitizer:
    SUBSET_ASCENDABLE_SCHEMA = {"num_repeats": int, "flip_aug": bool, "caption_prefix": str}
    DO_SUBSET_ASCENDABLE_SCHEMA = {"caption_dropout_rate": Any(float, int)}
    DB_SUBSET_ASCENDABLE_SCHEMA = {"caption_extension": str, "class_tokens": str}
    DB_SUBSET_DISTINCT_SCHEMA = {Required("image_dir"): str, "is_reg": bool}
    FT_SUBSET_DISTINCT_SCHEMA = {Required("metadata_file"): str, "image_dir": str}
    CN_SUBSET_ASCENDABLE_SCHEMA = {"caption_extension": str}
    CN_SUBSET_DISTINCT_SCHEMA = {Required("image_dir"): str, Required("conditioning_data_dir"): str}
    DATASET_ASCENDABLE_SCHEMA = {
        "batch_size": int, "validation_split": float, "resolution": partial(twodim, int),
    }
"""


def refused_keys(root: Path, text: str, source: str = CONFIG_UTIL) -> list[tuple[str, str | None]]:
    files(root / "img", "0.png")
    (root / "trainer" / "library").mkdir(parents=True)
    (root / "trainer" / "library" / "config_util.py").write_text(source)
    place = DatasetPlace(root, root, root / "trainer")
    file = ConfigFile(root / "config.toml", ".toml", text.encode())
    return [found[:2] for found in reading.used_files(file, Arguments({}), place).findings]


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        (
            config(f"{IMG}\nnum_repeat = 2"),
            "num_repeat is no key of [[datasets.subsets]]",
            "is num_repeats meant?",
        ),
        (
            config(IMG, dataset="metadata_file = 'x'"),
            "metadata_file is no key of [[datasets]]",
            "move it where it belongs",
        ),
        (config(IMG, general="image_dir = 'x'"), "image_dir is no key of [general]", "move it"),
        (
            config(IMG) + "[training]\nseed = 1\n",
            "training is no key of the dataset config",
            "take it out",
        ),
        (
            config(f'{IMG}\nnum_repeats = "2"'),
            "num_repeats in [[datasets.subsets]] must be a whole number, not '2'",
            "correct it",
        ),
        (
            config(IMG, dataset="validation_split = 0"),
            "validation_split in [[datasets]] must be a number with a point, as 0.5, not 0",
            "correct",
        ),
    ],
)
def test_keys_that_the_trainer_refuses_are_told(
    tmp_path: Path, text: str, problem: str, hint: str
) -> None:
    ((found, step),) = refused_keys(tmp_path, text)
    assert found == f"{problem}: the trainer refuses it"
    assert hint in (step or "")


def test_keys_belong_to_the_method_of_their_dataset(tmp_path: Path) -> None:
    metadata(tmp_path / "m.json", {f"{tmp_path}/img/0.png": {"caption": "x"}})
    text = config(
        "metadata_file = 'm.json'\ncaption_dropout_rate = 1", dataset="class_tokens = 'x'"
    )
    ((problem, _),) = refused_keys(tmp_path, text)
    assert problem.startswith("class_tokens is no key of [[datasets]]")


@pytest.mark.parametrize(
    ("script", "words", "subset", "told"),
    [
        ("fine_tune.py", (), IMG, "fine_tune.py takes no dataset in the form of DreamBooth"),
        (
            "train_db.py",
            (),
            "metadata_file = 'm.json'",
            "train_db.py takes no dataset",
        ),
        (
            "train_control_net.py",
            (),
            IMG,
            "in the form of DreamBooth",
        ),
        (
            "train_network.py",
            (),
            f"{IMG}\nconditioning_data_dir = 'img'",
            "in the form of ControlNet",
        ),
        ("train_network.py", ("--masked_loss",), PAIRED, None),
        ("train_network.py", (), IMG, None),
    ],
)
def test_a_script_takes_datasets_of_its_own_forms(
    tmp_path: Path, script: str, words: tuple[str, ...], subset: str, told: str | None
) -> None:
    files(tmp_path / "img", "0.png")
    metadata(tmp_path / "m.json", {f"{tmp_path}/img/0.png": {"caption": "x"}})
    (tmp_path / "trainer" / "library").mkdir(parents=True)
    (tmp_path / "trainer" / "library" / "config_util.py").write_text(CONFIG_UTIL)
    place = DatasetPlace(tmp_path, tmp_path, tmp_path / "trainer", script=script)
    file = ConfigFile(tmp_path / "config.toml", ".toml", config(subset).encode())
    found = problems(reading.used_files(file, from_words(words), place))
    assert len(found) == (told is not None)
    assert (told or "") in "".join(found)


@pytest.mark.parametrize("source", ["", "class X:\n    pass\n", "def (", "\0"])
def test_without_the_trainers_list_of_keys_none_is_refused(tmp_path: Path, source: str) -> None:
    assert refused_keys(tmp_path, config(f"{IMG}\nnum_repeat = 2"), source) == []
