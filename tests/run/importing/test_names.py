"""What past trainings are called as runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit.record.name import InvalidName
from loragit.run.importing.names import as_run_name, training_name


@pytest.mark.parametrize(
    ("output_name", "folder", "name"),
    [
        ("zqx", "/home/ada/zqx-v1", "zqx"),
        ("last", "/home/ada/zqx-v1", "zqx-v1"),
        ("pytorch_lora_weights", "/home/ada/zqx-v1/checkpoint-500", "zqx-v1"),
        ("adapter_model", "/home/ada/zqx-v1/20240506_10-00-00/epoch10", "20240506_10-00-00"),
        ("model", "/home/ada/zqx-v1/model", "zqx-v1"),
        ("last", "/", "last"),
    ],
)
def test_models_without_a_name_have_that_of_their_folder(
    output_name: str, folder: str, name: str
) -> None:
    assert training_name(output_name, Path(folder)) == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("noob-gren-v1s400", "noob-gren-v1s400"),
        ("my style v1.5", "my-style-v1.5"),
        ("first try (good)", "first-try-good"),
        ("\u72d0\u5a18 [v2]", "\u72d0\u5a18-v2"),
        ("e\u0301mile", "\xe9mile"),
        ("(a)", "a"),
    ],
)
def test_a_name_is_brought_into_the_form_of_a_runs(written: str, name: str) -> None:
    assert as_run_name(written).text == name


@pytest.mark.parametrize("written", ["../x", "a\\b", "a\x1b[31m", "\U0001f98a", "", " ", "x" * 300])
def test_what_gives_no_name_is_refused_as_it_was_written(written: str) -> None:
    with pytest.raises(InvalidName) as refusal:
        as_run_name(written)
    assert repr(written[:50])[:-1] in refusal.value.message
