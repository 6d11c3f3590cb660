"""Which arguments of sd-scripts name weights, and what each of them may name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.trainers.arguments import Arguments
from loragit.trainers.sd_scripts.reach import reaches
from loragit.trainers.sd_scripts.weights import WEIGHTS, named_weights
from loragit.trainers.trainer import HubName, NamedWeights


def named(name: str, *values: str, **others: tuple[str, ...]) -> list[NamedWeights]:
    return list(named_weights(Arguments({name: values, **others})))


def one(name: str, value: str) -> NamedWeights:
    (found,) = named(name, value)
    return found


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_argument_that_names_weights_has_a_role_and_reaches_files(name: str) -> None:
    found = one(name, "x.ckpt")
    assert (found.argument, found.role, found.value) == (name, WEIGHTS[name], "x.ckpt")
    assert found.hub is None
    assert reaches(name, "x.ckpt")
    assert not reaches(name, "x.safetensors")


def test_an_argument_without_a_value_names_nothing() -> None:
    assert named("vae", "") == named("vae") == []


def test_several_weights_of_one_argument_are_in_its_order() -> None:
    both = named("base_weights", "b.pt", "a.pt", ae=("ae.sft",))
    assert [(each.role, each.value) for each in both] == [
        ("VAE", "ae.sft"),
        ("Base-Weights", "b.pt"),
        ("Base-Weights", "a.pt"),
    ]


@pytest.mark.parametrize("value", ["owner/name", "o-w.n_er/name-1.0", "1/2"])
def test_a_name_on_a_hub_has_an_owner(value: str) -> None:
    assert one("vae", value).hub == HubName(value)
    assert one("vae", value.partition("/")[2]).hub == HubName(
        value.partition("/")[2], downloads=False
    )


@pytest.mark.parametrize(
    "value",
    [
        *("/owner/name", "./name", "../name", "~/name", "a/b/c", "owner/", "owner/na me"),
        *("owner/x.safetensors", "owner/x.sft", "x.ckpt", "-x/y", "owner/.x", "owner/" + "x" * 97),
    ],
)
def test_anything_else_is_a_path(value: str) -> None:
    assert one("pretrained_model_name_or_path", value).hub is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("u/r/state", HubName("u/r")),
        ("u/r/a/b:v1", HubName("u/r", "v1")),
        ("u/r/a:v1:dataset", HubName("u/r", "v1", "dataset")),
        ("state", None),
    ],
)
def test_a_state_on_a_hub_has_a_revision_and_a_kind(value: str, expected: HubName | None) -> None:
    (found,) = named("resume", value, resume_from_huggingface=())
    assert (found.file, found.folder, found.hub) == (False, (), expected)
    assert one("resume", value).hub is None


def test_a_first_part_stands_for_all_parts() -> None:
    name = "pretrained_model_name_or_path"
    assert one(name, "dit/m-00001-of-00002.safetensors").shards == (
        "dit/m-00001-of-00002.safetensors",
        "dit/m-00002-of-00002.safetensors",
    )
    for value in ("m-00001-of-00001.safetensors", "m-1-of-99999.safetensors", "m-of-2.safetensors"):
        assert one(name, value).shards == ()
    assert one("vae", "m-00001-of-00002.safetensors").shards == ()


@given(st.text(max_size=30))
def test_any_text_is_a_value(value: str) -> None:
    for name in ("pretrained_model_name_or_path", "resume"):
        assert all(each.value == value for each in named(name, value))
        assert all(each.value == value for each in named(name, value, resume_from_huggingface=()))
