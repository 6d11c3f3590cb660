"""What a record counts of a dataset is what sd-scripts itself loads: images, and the caption of
each."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit.dataset import snapshot
from loragit.trainers import kinds
from loragit.trainers.arguments import Arguments
from tests.support.trainer_files import png
from tests.torch.conftest import Asker

SUFFIXES = st.sampled_from([None, ".txt", ".caption", ".tags"])
"""``caption_extension`` of a table; ``None`` where it has none."""
IMAGES = st.dictionaries(
    st.sampled_from(["00.png", "01.png", "a b.png", "c.d.PNG"]),
    st.lists(st.sampled_from([".txt", ".caption", ".tags"]), unique=True),
    min_size=1,
)
"""Images of a folder, and the suffixes of the text files beside each."""
SUBSETS = st.lists(st.tuples(SUFFIXES, st.integers(1, 3), IMAGES), min_size=1, max_size=3)


def config_text(general: str | None, dataset: str | None, subsets: list[dict[str, object]]) -> str:
    def lines(table: dict[str, object]) -> str:
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items() if value)

    text = f"[general]\n{lines({'caption_extension': general})}"
    text += f"[[datasets]]\nresolution = 64\n{lines({'caption_extension': dataset})}"
    return text + "".join(f"[[datasets.subsets]]\n{lines(each)}" for each in subsets)


def loaded_by_loragit(folder: Path) -> list[tuple[str, str]]:
    """(image, text of its caption, empty for none) of all subsets, sorted."""
    trainer = kinds.trainer_of("sd-scripts")
    found = []
    for subset in trainer.dataset(folder / "config.toml", folder, Arguments({})).folders:
        names = snapshot.subset_files(subset, folder)
        for name in filter(subset.files.is_image, names):
            stem = name.rpartition(".")[0]
            texts = [f"{stem}{end}" for end in subset.caption_suffixes if f"{stem}{end}" in names]
            caption = (subset.path / texts[0]).read_text() if texts else ""
            found.append((str(subset.path / name), caption))
    return sorted(found)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(general=SUFFIXES, dataset=SUFFIXES, subsets=SUBSETS)
def test_images_and_captions_are_those_that_the_trainer_loads(
    tmp_path: Path,
    ask_trainer: Asker,
    general: str | None,
    dataset: str | None,
    subsets: list[tuple[str | None, int, dict[str, list[str]]]],
) -> None:
    folder = next(
        each for number in itertools.count() if not (each := tmp_path / str(number)).exists()
    )
    tables: list[dict[str, object]] = []
    for number, (suffix, repeats, images) in enumerate(subsets):
        place = folder / f"img{number}"
        place.mkdir(parents=True)
        tables.append(
            {"image_dir": place.name, "num_repeats": repeats, "caption_extension": suffix}
        )
        for image, ends in images.items():
            (place / image).write_bytes(png(8, 8, (number, 0, 0)))
            for end in ends:
                (place / image).with_suffix(end).write_text(f"zqx {number} {image} {end}")
    (folder / "config.toml").write_text(config_text(general, dataset, tables))
    answer = ask_trainer(folder, ["--dataset_config", "config.toml"])
    if "images" not in answer:
        pytest.fail(str(answer))
    loaded = answer["images"]
    assert isinstance(loaded, list)
    assert loaded_by_loragit(folder) == [(path, caption or "") for path, caption, _ in loaded]
