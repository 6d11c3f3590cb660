"""Captions by tag, tables by what they are, texts by line: what a comparison in full is made of."""

from __future__ import annotations

import tomllib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.history.compare import captions, lines, tables
from loragit.history.compare.captions import TagTotal
from loragit.history.compare.tables import ValueChange

# ---- captions ----

TAGS = st.lists(st.text("abc é", min_size=1).map(str.strip).filter(bool), max_size=8)


@given(TAGS, TAGS)
def test_what_is_taken_from_a_caption_and_given_to_it_makes_the_other(
    before: list[str], after: list[str]
) -> None:
    found = captions.caption_change("0.txt", ", ".join(before), " ,\n".join(after))
    assert Counter(before) - Counter(found.removed) + Counter(found.added) == Counter(after)
    assert not set(found.added) & set(found.removed)
    assert found.reordered == (before != after and Counter(before) == Counter(after))
    back = captions.caption_change("0.txt", ", ".join(after), ", ".join(before))
    assert (back.added, back.removed) == (found.removed, found.added)


@given(st.lists(st.tuples(TAGS, TAGS), max_size=6))
def test_totals_count_each_caption_once(pairs: list[tuple[list[str], list[str]]]) -> None:
    changes = [
        captions.caption_change(str(number), ",".join(one), ",".join(other))
        for number, (one, other) in enumerate(pairs)
    ]
    for total in captions.tag_totals(changes):
        assert total.removed == sum(total.tag in each.removed for each in changes)
        assert total.added == sum(total.tag in each.added for each in changes)
        assert total.removed + total.added > 0


def test_tags_stand_between_commas_and_line_ends() -> None:
    assert captions.tags_of("zqx,  a round thing,,\r\n solo ,\n") == (
        "zqx",
        "a round thing",
        "solo",
    )
    assert captions.tags_of("") == ()


def test_totals_leave_captions_out_that_are_on_one_side_only() -> None:
    changes = [
        captions.caption_change("0", "solo, hat", "hat"),
        captions.caption_change("1", "solo", "hat"),
        captions.caption_change("2", None, "hat"),
        captions.caption_change("3", "solo", None),
    ]
    assert captions.tag_totals(changes) == (TagTotal("solo", 2, 0), TagTotal("hat", 0, 1))
    come, gone = changes[2:]
    assert (come.added, come.removed, come.reordered) == (("hat",), (), False)
    assert (gone.added, gone.removed, gone.reordered) == ((), ("solo",), False)
    assert not captions.caption_change("4", None, "").reordered


# ---- tables ----

CONFIG = """
[general]
shuffle_caption = true
keep_tokens = 1

[[datasets]]
resolution = 64
batch_size = 1
  [[datasets.subsets]]
  image_dir = "img"
  num_repeats = 1
  [[datasets.subsets]]
  image_dir = "more"
  num_repeats = 2

[[datasets]]
resolution = 128
batch_size = 1
  [[datasets.subsets]]
  image_dir = "large"
"""

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-9, 9),
    st.floats(allow_nan=True),
    st.text("ab", max_size=2),
    st.just("1e-4"),
)
LEAVES = st.dictionaries(st.sampled_from(["rate", "repeats", "a b"]), SCALARS, max_size=3)
SUBSETS = st.lists(
    st.builds(
        lambda folder, rest: {**rest, **folder},
        st.fixed_dictionaries({"image_dir": st.text("xyz")}),
        LEAVES,
    ),
    max_size=4,
)
DATASETS = st.lists(
    st.builds(lambda rest, subsets: {**rest, "subsets": subsets}, LEAVES, SUBSETS), max_size=4
)
DOCUMENTS = st.builds(
    lambda general, datasets: {"general": general, "datasets": datasets}, LEAVES, DATASETS
)


def changed(source: str) -> list[tuple[str, str | None, str | None]]:
    found = tables.compare_tables(tomllib.loads(CONFIG), tomllib.loads(source))
    return [(each.key, each.before, each.after) for each in found]


@given(DOCUMENTS)
def test_a_document_is_the_same_as_itself_whatever_the_order_of_keys(
    document: dict[str, object],
) -> None:
    turned = {key: document[key] for key in reversed(document)}
    assert tables.compare_tables(document, turned) == ()


@given(DOCUMENTS, DOCUMENTS)
def test_from_the_other_side_the_same_differs(
    one: dict[str, object], other: dict[str, object]
) -> None:
    there = Counter(
        (each.before, each.after)
        for each in tables.compare_tables(one, other)
        if "(order)" not in each.key
    )
    back = Counter(
        (each.after, each.before)
        for each in tables.compare_tables(other, one)
        if "(order)" not in each.key
    )
    assert there == back


@given(DOCUMENTS, st.randoms())
def test_tables_that_changed_places_differ_in_nothing_else(
    document: dict[str, list[object]], random: object
) -> None:
    moved = list(document["datasets"])
    random.shuffle(moved)  # type: ignore[attr-defined]
    found = tables.compare_tables(document, {**document, "datasets": moved})
    assert all(each.key == "datasets (order)" for each in found)
    assert bool(found) <= (moved != document["datasets"])


@given(st.lists(LEAVES, max_size=6), st.lists(LEAVES, max_size=6))
def test_a_table_is_matched_once_at_most(
    old: list[dict[str, object]], new: list[dict[str, object]]
) -> None:
    pairs = tables.match_tables(old, new)
    assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
    assert sorted(pairs) == sorted((one, other) for other, one in tables.match_tables(new, old))


def test_subsets_are_matched_by_their_folder_and_datasets_by_their_subsets() -> None:
    source = """
    [[datasets]]
    resolution = 128.0
    batch_size = 1
      [[datasets.subsets]]
      image_dir = "large"
      num_repeats = 3
    [[datasets]]
    batch_size = 2
    resolution = 64
      [[datasets.subsets]]
      num_repeats = 2
      image_dir = "more"
      [[datasets.subsets]]
      image_dir = "new"
      [[datasets.subsets]]
      image_dir = "img"
      num_repeats = 4
    [general]
    keep_tokens = true
    """
    assert changed(source) == [
        ("general.shuffle_caption", "true", None),
        ("general.keep_tokens", "1", "true"),
        ("datasets[1].batch_size", "1", "2"),
        ("datasets[1].subsets[img].num_repeats", "1", "4"),
        ("datasets[1].subsets[new].image_dir", None, '"new"'),
        ("datasets[1].subsets (order)", "img, more", "more, img"),
        ("datasets[0].subsets[large].num_repeats", None, "3"),
        ("datasets (order)", "1, 0", "0, 1"),
    ]


def test_the_one_table_that_is_left_is_told_value_by_value() -> None:
    assert changed(CONFIG.replace('"large"', '"huge"')) == [
        ("datasets[1].subsets[huge].image_dir", '"large"', '"huge"')
    ]
    assert [key for key, *_ in changed(CONFIG.partition("[[datasets]]\nresolution = 128")[0])] == [
        "datasets[1].resolution",
        "datasets[1].batch_size",
        "datasets[1].subsets[large].image_dir",
    ]


def test_two_subsets_of_one_folder_are_told_apart_by_number() -> None:
    one = {"subsets": [{"image_dir": "img", "flip": True}, {"image_dir": "img", "flip": False}]}
    other = {
        "subsets": [{"image_dir": "img", "flip": True}, {"image_dir": "img", "flip": False, "n": 2}]
    }
    assert tables.compare_tables(one, other) == (ValueChange("subsets[img, 1].n", None, "2"),)


def test_very_many_tables_without_identity_are_taken_in_their_order() -> None:
    old = {"rows": [{"n": number} for number in range(100)]}
    new = {"rows": [{"n": number + 1000} for number in range(100)]}
    found = tables.compare_tables(old, new)
    assert len(found) == 100
    assert found[0] == ValueChange("rows[0].n", "0", "1000")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1e-4, 0.0001, True),
        (1, 1.0, True),
        (1, True, False),
        ("1e-4", "0.0001", False),  # a folder may be called so
        ("1", 1, False),
        (float("nan"), float("nan"), True),
        ([1, 2.0], [1.0, 2], True),
        ([1, 2], [2, 1], False),
        ({}, {}, True),
        ([{"a": 1}], [{"a": 1}, 2], False),
        (None, None, True),
    ],
)
def test_values_are_compared_by_what_they_mean(one: object, other: object, same: bool) -> None:
    assert (tables.compare_tables({"key": one}, {"key": other}) == ()) is same


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('a"b\x1b', '"a\\"b\\u001b"'),
        (True, "true"),
        ([1, "é"], '[1, "é"]'),
        ({"a b": {}}, '{ "a b" = {} }'),
        (None, "null"),
        (0.5, "0.5"),
    ],
)
def test_a_value_is_written_in_a_line(value: object, shown: str) -> None:
    assert tables.as_toml(value) == shown


def test_every_value_of_a_document_has_its_key() -> None:
    assert tables.compare_tables({}, {"a": {"b c": 1, "none": {}}, "rows": [{"x": 1}]}) == (
        ValueChange('a."b c"', None, "1"),
        ValueChange("a.none", None, "{}"),
        ValueChange("rows[0].x", None, "1"),
    )


def test_a_list_of_tables_that_was_empty_is_a_value() -> None:
    assert tables.compare_tables({"rows": []}, {"rows": [{"a": 1}]}) == (
        ValueChange("rows", "[]", "[{ a = 1 }]"),
    )


def matched(old: list[dict[str, object]], new: list[dict[str, object]]) -> list[tuple[int, int]]:
    return sorted(tables.match_tables(old, new))


def test_tables_of_one_name_are_matched_whatever_is_in_them() -> None:
    old: list[dict[str, object]] = [{"name": "x", "rows": [{"name": "a"}]}, {"name": "y"}]
    new: list[dict[str, object]] = [{"name": "z"}, {"name": "x", "rows": [{"name": "b"}]}]
    assert matched(old, new) == [(0, 1), (1, 0)]


def test_of_very_many_tables_those_that_are_equal_are_matched() -> None:
    rows: list[dict[str, object]] = [{"n": number} for number in range(100)]
    assert matched(rows, rows[1:]) == [(number + 1, number) for number in range(99)]


def test_what_is_in_a_dataset_outweighs_its_values() -> None:
    def dataset(number: int, folder: str) -> dict[str, object]:
        values = dict.fromkeys(("resolution", "batch_size", "flip"), number)
        return {**values, "subsets": [{"image_dir": folder, "n": number}]}

    old, new = [dataset(1, "a"), dataset(2, "b")], [dataset(2, "a"), dataset(1, "b")]
    assert matched(old, new) == [(0, 0), (1, 1)]


def test_tables_without_a_name_are_matched_by_what_they_share() -> None:
    old: list[dict[str, object]] = [{"a": 1, "b": 2}, {"a": 5, "b": 6}]
    new: list[dict[str, object]] = [{"a": 5, "b": 7}, {"c": 1}, {"a": 1, "b": 3}]
    assert matched(old, new) == [(0, 2), (1, 0)]
    assert matched(old, [{"c": 1}, {"d": 1}]) == []


# ---- lines ----


def test_the_order_counts_up_to_a_number_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_order(text: str = "a\nb", other: str = "b\na") -> bool:
        return lines.compare_lines(text, other) != ()

    monkeypatch.setattr(lines, "_MOST", 2)
    assert in_order()
    assert not in_order("a\nb\nc", "b\nc\na")
    monkeypatch.setattr(lines, "_MOST_PAIRS", 2)
    assert in_order()
    monkeypatch.setattr(lines, "_MOST_PAIRS", 1)
    assert not in_order()


@given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcd")))
def test_lines_that_go_and_come_make_the_other_text(before: list[str], after: list[str]) -> None:
    found = lines.compare_lines("\n".join(before), "\r\n".join(after))
    gone = Counter(line.text for line in found if line.sign == "-")
    come = Counter(line.text for line in found if line.sign == "+")
    assert Counter(before) - gone + come == Counter(after)


def test_of_very_long_texts_the_order_does_not_count() -> None:
    before = [str(number) for number in range(3000)]
    assert lines.compare_lines("\n".join(before), "\n".join([*before[::-1], "new"])) == (
        ("+", "new"),
    )
    assert lines.compare_lines("\n".join(before), "\n".join(before[1:])) == (("-", "0"),)
