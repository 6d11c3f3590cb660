"""What a record counts of a dataset is what sd-scripts itself loads: images, the caption of each,
and how often each is shown."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit.dataset.used_files import UsedFiles
from loragit.errors import LoragitError
from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import DatasetPlace, Defaults
from tests.support.trainer_files import png
from tests.torch.conftest import SD_SCRIPTS, Asker

few = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

IMAGES = ("00.png", "01.PNG", "a b.jpg", "c.d.webp", "cat_1_2_3_4.png", "cat_5_6_7_8.png")
OTHERS = ("._00.png", "x.gif", "y.Png", ".hidden.txt", "notes.txt")
TEXTS = ("00", "01", "a b", "c.d", "cat", "cat_1_2_3_4", "spare")
SUFFIXES = st.sampled_from([None, ".txt", "caption", ".tags"])
"""``caption_extension`` of a table; ``None`` where it has none."""

FOLDERS = st.lists(
    st.sets(
        st.sampled_from(
            (
                *IMAGES,
                *OTHERS,
                *(f"{stem}.{end}" for stem in TEXTS for end in ("txt", "caption", "tags")),
            )
        )
    ),
    min_size=3,
    max_size=3,
)
"""File names of the folders ``a``, ``b_c`` and ``10_x_y``."""
NAMES = ("a", "b_c", "10_x_y")
WORDS = st.sampled_from([None, "", "zqx thing"])


def table(**values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({}, optional=values).map(
        lambda found: {key: value for key, value in found.items() if value is not None}
    )


WEAKER = {
    "caption_extension": SUFFIXES,
    "class_tokens": WORDS,
    "num_repeats": st.integers(0, 3),
    "batch_size": st.integers(1, 3),
}
SUBSET = st.builds(
    lambda folder, more: {"image_dir": folder, **more},
    st.sampled_from([*NAMES, "./a", "none"]),
    table(
        caption_extension=SUFFIXES,
        class_tokens=WORDS,
        num_repeats=st.integers(0, 3),
        is_reg=st.booleans(),
        cache_info=st.booleans(),
        metadata=st.none() | st.none() | st.just("misplaced"),
    ),
)
METADATA = st.builds(
    lambda number, folder, more: {"metadata_file": f"m{number}.json", "image_dir": folder, **more},
    st.integers(0, 1),
    st.sampled_from(NAMES),
    table(num_repeats=st.integers(0, 3)),
)
DATASET = st.builds(
    lambda more, subsets: {**more, "subsets": subsets},
    table(**WEAKER),
    st.lists(SUBSET, min_size=1, max_size=3),
) | st.builds(
    lambda more, subsets: {**more, "subsets": subsets},
    table(**WEAKER),
    st.lists(METADATA, min_size=1, max_size=2),
)
CONFIG = st.fixed_dictionaries(
    {
        "general": table(**WEAKER).map(lambda found: {"resolution": 64, **found}),
        "datasets": st.lists(DATASET, min_size=1, max_size=2),
    }
)
ROWS = st.dictionaries(
    st.sampled_from(IMAGES),
    st.sampled_from([{}, {"caption": "in a file"}, {"tags": "t"}]),
    max_size=4,
)


class Loaded(NamedTuple):
    """What is trained on."""

    images: list[str]
    """Each once, sorted."""
    captions: set[str]
    """Texts, but for ``class_tokens`` and those of metadata files."""
    shown: int
    """Images in an epoch."""


def lay_out(folder: Path, names: list[set[str]], rows: list[Mapping[str, object]]) -> None:
    """Write the files; a caption's text is its path."""
    for place, held in zip(NAMES, names, strict=True):
        (folder / place).mkdir(parents=True)
        for name in held:
            path = folder / place / name
            if name in IMAGES or name in OTHERS[:3]:
                path.write_bytes(png(8, 8, (len(name), 0, 0)))
            else:
                path.write_text(f"{place}/{name}")
    for number, each in enumerate(rows):
        # Those that are not there stop the trainer only later, when it opens them.
        there = {key: row for key, row in each.items() if all(key in held for held in names)}
        (folder / f"m{number}.json").write_text(json.dumps(there))


def by_loragit(folder: Path, words: list[str]) -> UsedFiles | str:
    """Or the reason why there will be no training."""
    trainer, none = SdScripts(), Arguments({})
    defaults = Defaults("run", folder / "config.toml", False, None, folder)
    try:
        plan = trainer.plan(none, from_words(words), defaults, own_script=False)
        used = trainer.dataset(
            plan, DatasetPlace(folder, folder, Path(SD_SCRIPTS), lambda module: False)
        )
    except LoragitError as error:
        return error.message
    return "; ".join(finding.problem for finding in used.findings) or used


def loaded_by_loragit(folder: Path, used: UsedFiles) -> Loaded:
    images = [str(each.path / name) for each in used.folders for name in each.images]
    texts = {(each.path / name).read_text() for each in used.folders for name in each.captions}
    return Loaded(sorted(images), texts, sum(share.images for share in used.epoch))


def loaded_by_trainer(answer: Mapping[str, object]) -> Loaded:
    rows = answer["images"]
    assert isinstance(rows, list)
    captions = {caption for _, caption, _ in rows if caption and "/" in caption}
    return Loaded(sorted({path for path, _, _ in rows}), captions, sum(row[2] for row in rows))


def compare(folder: Path, words: list[str], ask_trainer: Asker, texts: str = "all") -> None:
    """``texts``: all captions are equal; ``some`` of ours are not used; ``none`` is compared."""
    used = by_loragit(folder, words)
    ours = None if isinstance(used, str) else loaded_by_loragit(folder, used)
    answer = ask_trainer(folder, words)
    if ours is None:
        assert not answer.get("images"), (used, answer)
        return
    assert "images" in answer, (answer, ours)
    theirs = loaded_by_trainer(answer)
    assert ours.images == theirs.images
    if texts == "all":
        assert ours.captions == theirs.captions
    elif texts == "some":
        assert theirs.captions <= ours.captions
    assert ours.shown >= theirs.shown  # more, where one image is named twice


def fresh(tmp_path: Path) -> Path:
    return next(each for n in itertools.count() if not (each := tmp_path / str(n)).exists())


@few
@given(names=FOLDERS, rows=st.lists(ROWS, min_size=2, max_size=2), config=CONFIG)
def test_a_dataset_config_names_what_the_trainer_loads(
    tmp_path: Path,
    ask_trainer: Asker,
    names: list[set[str]],
    rows: list[Mapping[str, object]],
    config: dict[str, object],
) -> None:
    folder = fresh(tmp_path)
    lay_out(folder, names, rows)
    (folder / "config.json").write_text(json.dumps(config))
    words, text = ["--dataset_config", "config.json"], json.dumps(config)
    # Captions of regularisation images that are not used are read as well.
    compare(folder, words, ask_trainer, "some" if '"is_reg": true' in text else "all")
    if '"cache_info": true' in text:
        compare(folder, words, ask_trainer, "none")  # captions are in the frozen list


REPEATED = st.sampled_from(["3_zqx thing", "2", "0_off", "notes", "1_a_b", "-1_x", ".4_hidden"])


@few
@given(
    names=FOLDERS,
    train=st.lists(REPEATED, min_size=3, max_size=3, unique=True),
    reg=st.none() | st.sampled_from(["1_thing", "2_thing"]),
    more=st.sampled_from([[], ["--caption_extension", ".txt"], ["--caption_extention", "tags"]]),
)
def test_arguments_name_what_the_trainer_loads(
    tmp_path: Path,
    ask_trainer: Asker,
    names: list[set[str]],
    train: list[str],
    reg: str | None,
    more: list[str],
) -> None:
    folder = fresh(tmp_path)
    lay_out(folder, names, [])
    (folder / "train").mkdir()
    for place, name in zip(NAMES, train, strict=True):
        (folder / place).rename(folder / "train" / name)
    words = ["--train_data_dir", "train", "--resolution", "64", *more]
    if reg is not None:
        (folder / "reg").mkdir()
        (folder / "train" / train[0]).rename(folder / "reg" / reg)
        words += ["--reg_data_dir", "reg"]
    compare(folder, words, ask_trainer, "all" if reg is None else "some")


@few
@given(names=FOLDERS, rows=ROWS, repeats=st.integers(1, 3))
def test_a_metadata_file_of_arguments_names_what_the_trainer_loads(
    tmp_path: Path,
    ask_trainer: Asker,
    names: list[set[str]],
    rows: Mapping[str, object],
    repeats: int,
) -> None:
    folder = fresh(tmp_path)
    lay_out(folder, names, [rows])
    words = ["--train_data_dir", "a", "--in_json", "m0.json", "--resolution", "64"]
    compare(folder, [*words, "--dataset_repeats", str(repeats)], ask_trainer)


@few
@given(names=FOLDERS, masks=st.sets(st.sampled_from(IMAGES)), suffix=SUFFIXES)
def test_conditioning_images_are_those_that_the_trainer_pairs(
    tmp_path: Path,
    ask_trainer: Asker,
    names: list[set[str]],
    masks: set[str],
    suffix: str | None,
) -> None:
    folder = fresh(tmp_path)
    lay_out(folder, names, [])
    (folder / "masks").mkdir()
    for name in masks:
        (folder / "masks" / name).write_bytes(png(8, 8, (1, 2, 3)))
    subset = {"image_dir": "a", "conditioning_data_dir": "masks", "caption_extension": suffix}
    subset = {key: value for key, value in subset.items() if value is not None}
    config = {"datasets": [{"resolution": 64, "subsets": [subset]}]}
    (folder / "config.json").write_text(json.dumps(config))
    compare(folder, ["--dataset_config", "config.json", "--masked_loss"], ask_trainer)
