from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.record.name import MAX_BYTES, InvalidName, RunName

pytestmark = pytest.mark.every_python


def test_the_convention_is_read_into_its_parts() -> None:
    name = RunName.parse("noob-gren-v2s512")
    assert (name.model, name.version, name.steps, name.stem) == ("noob", 2, 512, "noob-gren")


def test_both_readings_of_the_dataset_are_offered_the_helpers_first() -> None:
    assert RunName.parse("noob-gren-v2s512").dataset_candidates() == ("noob-gren", "gren")


def test_a_variant_may_belong_to_the_dataset_or_not() -> None:
    candidates = RunName.parse("noob-gren-lokr-v2s512").dataset_candidates()
    assert candidates == ("noob-gren-lokr", "gren-lokr", "gren")


def test_a_name_without_a_model_still_names_its_dataset_and_steps() -> None:
    name = RunName.parse("gren-v2s512")
    assert (name.model, name.dataset_candidates(), name.version, name.steps) == (
        None,
        ("gren",),
        2,
        512,
    )


def test_the_helpers_took_the_trailing_digits_as_steps() -> None:
    name = RunName.parse("noob-gren-lokr1200")
    assert (name.version, name.steps, name.stem) == (None, 1200, "noob-gren")


def test_a_name_that_fits_no_convention_has_no_parts() -> None:
    name = RunName.parse("evening")
    assert (name.model, name.version, name.steps, name.stem, name.dataset_candidates()) == (
        None,
        None,
        None,
        None,
        (),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("../x", "'/'"),
        ("-x", "begins with '-'"),
        (".hidden-v1s1", "begins with '.'"),
        ("x.lock", "'.lock'"),
        ("x.", "ends with '.'"),
        ("a..b", "git does not take it"),
        ("runs", "something else to git"),
        ("HEAD", "something else to git"),
        ("refs-v1s1", "something else to git"),
        ("a b", "' '"),
        ("a\nb", r"'\n'"),
        ("a\x1b[0m", r"'\x1b'"),
        ("a~1", "'~'"),
        ("a:b", "':'"),
        ("a" * 300, "longer than 150 bytes"),
        ("e\u0301-v1s1", "\u0301"),
        ("@", "git does not take it"),
        ("a" * 40, "commit's id"),
        ("\u202egnp-v1s1", r"'\u202e'"),
    ],
)
def test_what_cannot_name_a_run_is_refused_with_the_reason_and_the_convention(
    text: str, reason: str
) -> None:
    with pytest.raises(InvalidName) as caught:
        RunName.parse(text)
    assert reason in caught.value.message
    assert "{model}-{dataset}" in str(caught.value.hint)
    assert len(caught.value.message) < 200


def test_decomposed_letters_are_refused_where_a_composed_form_exists() -> None:
    # Hangul has letters that are letters in both forms, so this is no matter of combining marks.
    with pytest.raises(InvalidName, match="composed form"):
        RunName.parse("\u1100\u1161-v1s1")
    assert RunName.parse("\uac00-v1s1").stem == "\uac00"


@given(st.text(max_size=60))
def test_what_is_accepted_is_a_tag_to_git_and_a_plain_folder_name(text: str) -> None:
    try:
        name = RunName.parse(text)
    except InvalidName:
        return
    assert Path(name.text).name == name.text
    assert len(name.text.encode()) <= MAX_BYTES
    assert not name.text.startswith(("-", "."))
    subprocess.run(["git", "check-ref-format", name.tag], check=True)


_word = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)


@given(_word, st.lists(_word, min_size=1, max_size=3), st.integers(0, 99), st.integers(1, 99999))
def test_every_name_of_the_convention_gives_its_parts_back(
    model: str, dataset: list[str], version: int, steps: int
) -> None:
    name = RunName.parse(f"{model}-{'-'.join(dataset)}-v{version}s{steps}")
    assert (name.model, name.version, name.steps) == (model, version, steps)
    assert "-".join(dataset) in name.dataset_candidates()
    assert f"{model}-{'-'.join(dataset)}" in name.dataset_candidates()


def test_a_bump_goes_one_above_the_highest_version_that_is_taken() -> None:
    taken = frozenset({"noob-gren-v2s512", "noob-gren-v7s100", "noob-other-v9s512", "unrelated"})
    assert RunName.parse("noob-gren-v2s512").bumped(taken).text == "noob-gren-v8s512"


def test_a_bump_of_a_name_above_all_taken_ones_leaves_it() -> None:
    assert (
        RunName.parse("noob-gren-v9s512").bumped(frozenset({"noob-gren-v2s512"})).text
        == "noob-gren-v9s512"
    )


def test_a_name_without_a_version_cannot_be_bumped() -> None:
    with pytest.raises(InvalidName, match="no version to bump"):
        RunName.parse("noob-gren-x512").bumped(frozenset())


def test_a_name_knows_its_refs() -> None:
    name = RunName.parse("noob-gren-v2s512")
    assert (name.tag, name.keep_ref, str(name)) == (
        "refs/tags/noob-gren-v2s512",
        "refs/loragit/keep/noob-gren-v2s512",
        "noob-gren-v2s512",
    )
