"""Conditions on recorded values, without a run."""

from __future__ import annotations

import pytest

from loragit.history.query.selection import name_matches
from loragit.history.query.where import BadCondition, Condition, as_written, unknown_key

VALUES: dict[str, tuple[str | int | float | bool, ...]] = {
    "rate": ("1e-4",),
    "dim": (16,),
    "flag": (True,),
    "betas": ("0.9", "0.99"),
    "kind": ("lokr",),
    "none": (),
    "args.network_dim": ("4",),
    "args.kind": ("no",),
}


@pytest.mark.parametrize(
    "condition",
    [
        "rate=0.0001",
        "rate == 1e-4",
        "rate!=1e-5",
        "rate<0.001",
        "rate<=0.0001",
        "rate>=0.0001",
        "dim>8",
        "dim>=16",
        " dim <= 16.0 ",
        "flag=true",
        "flag!=false",
        "betas=0.9",
        "betas=0.99",
        "betas>0.95",
        "betas!=0.5",
        "kind=lokr",
        "kind<loom",
        "kind>alpha",
        "kind>=lokr",
        "kind<=lokr",
        "kind~^lo.r$",
        "dim~6",
        "missing!=1",
        "none!=1",
        "network_dim=4.0",
        "args.network_dim=4",
        "args.kind=no",
    ],
)
def test_a_condition_that_holds(condition: str) -> None:
    assert Condition.parse(condition).meets(VALUES)


@pytest.mark.parametrize(
    "condition",
    [
        "rate=1e-5",
        "rate!=0.0001",
        "rate<0.0001",
        "rate>0.0001",
        "dim<16",
        "dim>16",
        "dim<=15",
        "dim>=17",
        "dim>lokr",
        "dim<lokr",
        "kind>7",
        "kind<7",
        "flag=True",
        "betas!=0.9",
        "betas!=0.99",
        "betas=0.95",
        "kind=lok",
        "kind<lokr",
        "kind>lokr",
        "kind~^ok",
        "missing=1",
        "missing~.",
        "missing<1",
        "none=",
    ],
)
def test_a_condition_that_does_not_hold(condition: str) -> None:
    assert not Condition.parse(condition).meets(VALUES)


@pytest.mark.parametrize("text", ["", "dim", "=3", "dim 3", "kind~(", "kind~a{99999999999}"])
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(BadCondition):
        Condition.parse(text)


def test_a_value_may_be_of_several_words() -> None:
    assert Condition.parse(" a.b != x = y ") == ("a.b", "!=", "x = y")
    assert Condition.parse("a=") == ("a", "=", "")
    assert [as_written(each) for each in (True, 1, "True")] == ["true", "1", "True"]


def test_a_key_that_is_not_there_names_one_that_may_be_meant() -> None:
    keys = {"args.network_dim", "trainer.url", "name"}
    listed = "there are: args.network_dim, name, trainer.url"
    assert unknown_key("network_din", keys).hint in (
        f"did you mean args.network_dim? {listed}",
        listed,
    )
    assert unknown_key("url", keys).hint == f"did you mean trainer.url? {listed}"
    assert unknown_key("qqq", keys).hint == listed


@pytest.mark.parametrize(
    ("name", "pattern", "matches"),
    [
        ("noob-gren-v1", "gren", True),
        ("noob-gren-v1", "moss", False),
        ("noob-gren-v1", "gren*", False),
        ("noob-gren-v1", "*gren*", True),
        ("noob-gren-v1", "noob-gren-v?", True),
        ("noob-gren-v1", "*v[12]", True),
        ("noob-gren-v3", "*v[12]", False),
    ],
)
def test_a_pattern_matches_a_whole_name_and_a_word_a_part(
    name: str, pattern: str, matches: bool
) -> None:
    assert name_matches(name, pattern) is matches
