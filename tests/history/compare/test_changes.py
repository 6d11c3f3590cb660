"""What differs between two records: by what the values mean, the most telling first."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.history.compare.changes import (
    CAPTION,
    FILE,
    IMAGE,
    KINDS,
    LYCORIS,
    TRAINER,
    Side,
    compare_sides,
    same_value,
)
from loragit.history.compare.runs import lacks
from loragit.history.record_parser import RecordedEnvironment, parse_record
from loragit.record import run_toml
from loragit.record.values import Entry, LyCORIS, RepoState, Run, Weights
from tests.support.made_up_runs import CODE, a_run

NOWHERE = RecordedEnvironment({}, {})


def side(
    *argv: str,
    tree: Mapping[str, str] | None = None,
    dataset: Mapping[str, str] | None = None,
    packages: Mapping[str, str] | None = None,
    about: Mapping[str, tuple[str, ...]] | None = None,
    **changes: object,
) -> Side:
    run: Run = a_run(argv=("python", "sdxl_train_network.py", *argv), **changes)
    record = parse_record(run_toml.run_toml(run).data, run.name.text)
    return Side(record, tree or {}, dataset or {}, RecordedEnvironment(about or {}, packages or {}))


def phrases(before: Side, after: Side) -> tuple[str, ...]:
    return compare_sides(before, after).phrases()


def test_two_runs_of_the_same_inputs_differ_in_nothing() -> None:
    own = (
        "--output_dir",
        "~/out/one",
        "--output_name",
        "one",
        "--training_comment",
        "loragit: one",
        "--seed",
        "1",
    )
    other = [word.replace("one", "two") for word in own]
    assert compare_sides(side(*own, name="one"), side(*other, name="two")).changes == ()


def test_rank_and_rates_come_first_and_numbers_count_by_value() -> None:
    before = side(
        "--seed", "1", "--unet_lr", "1e-4", "--network_dim", "8", "--clip_skip", "2", "--lowram"
    )
    after = side(
        "--seed",
        "1.0",
        "--unet_lr",
        "0.00005",
        "--network_dim",
        "16",
        "--clip_skip",
        "1",
        "--vae_tiling",
    )
    assert phrases(before, after) == (
        "network_dim 8 → 16",
        "unet_lr 1e-4 → 0.00005",
        "clip_skip 2 → 1",
        "-lowram",
        "+vae_tiling",
    )


def test_pairs_of_network_args_go_by_their_own_names() -> None:
    before = side(
        "--network_args", "algo=loha", "conv_dim=4", "--optimizer_args", "weight_decay=0.1", "odd"
    )
    after = side(
        "--network_args",
        "conv_dim=8",
        "algo=loha",
        "seed=3",
        "--seed",
        "2",
        "--optimizer_args",
        "odd",
    )
    assert phrases(before, after) == (
        "conv_dim 4 → 8",
        "optimizer_args weight_decay=0.1 odd → odd",
        "+seed 2",
        "+network_args.seed 3",
    )


def test_weights_are_compared_by_content_and_not_by_path() -> None:
    name = "--pretrained_model_name_or_path"
    base = Weights("Base-Model", "noob.safetensors", "a" * 64)
    same = compare_sides(
        side(name, "~/a.st", weights=(base,)), side(name, "/b/a.st", weights=(base,))
    )
    assert same.changes == ()
    other = Weights("Base-Model", "noob.safetensors", "b" * 64)
    assert phrases(side(weights=(base,)), side(weights=(other,))) == (
        "Base-Model noob.safetensors (aaaaaaaaaa) → noob.safetensors (bbbbbbbbbb)",
    )
    assert phrases(
        side(weights=(base,)), side(weights=(base._replace(name="pony", sha256=None),))
    ) == ("Base-Model noob.safetensors → pony",)
    two = Weights("Base-Weights", "x", None), Weights("Base-Weights", "y", None)
    assert phrases(side(weights=two[:1]), side(weights=two)) == ("+Base-Weights 2 y",)
    assert phrases(side(weights=two), side()) == ("-Base-Weights x", "-Base-Weights 2 y")


def test_weights_are_the_same_by_hash_else_by_name() -> None:
    base = Weights("VAE", "a.pt", "a" * 64)
    assert phrases(side(weights=(base,)), side(weights=(base._replace(name="b.pt"),))) == ()
    unknown = base._replace(sha256=None)
    assert phrases(side(weights=(unknown,)), side(weights=(unknown,))) == ()
    renamed = unknown._replace(name="b.pt")
    assert phrases(side(weights=(unknown,)), side(weights=(renamed,))) == ("VAE a.pt → b.pt",)
    assert phrases(side(weights=(base,)), side(weights=(unknown,))) == (
        "not on record: the hash of VAE",
    )
    assert phrases(side(), side(weights=(base,))) == ("+VAE a.pt",)


def test_folders_are_compared_by_their_files_and_names_on_a_hub_by_revision() -> None:
    folder = Weights("VAE", "vae", None, files_sha256="a" * 64)
    other = folder._replace(files_sha256="b" * 64)
    assert phrases(side(weights=(folder,)), side(weights=(folder._replace(name="x"),))) == ()
    assert phrases(side(weights=(folder,)), side(weights=(other,))) == (
        "VAE vae (aaaaaaaaaa) → vae (bbbbbbbbbb)",
    )
    named = Weights("VAE", "owner/vae", None, revision="c" * 40)
    assert phrases(side(weights=(named,)), side(weights=(named._replace(revision="d" * 40),))) == (
        "VAE owner/vae (cccccccccc) → owner/vae (dddddddddd)",
    )


def test_weights_are_no_arguments_unless_they_are_only_that() -> None:
    weights = Weights("VAE", "a.pt", "a" * 64)
    words = ("--vae", "/x/a.pt")
    assert phrases(side(*words, weights=(weights,)), side(weights=(weights,))) == ()
    assert phrases(side(*words), side()) == ("-vae /x/a.pt",)


def test_a_group_without_pairs_is_an_argument() -> None:
    assert phrases(side(), side("--network_args")) == ("+network_args",)
    assert phrases(side("--network_args"), side("--network_args", "a=1")) == (
        "+a 1",
        "-network_args",
    )


def test_pairs_of_another_argument_are_its_value() -> None:
    assert phrases(side(), side("--model_args", "a=1", "b=2")) == ("+model_args a=1 b=2",)


def test_other_repositories_are_compared_by_their_labels() -> None:
    one, other = CODE._replace(label="one"), CODE._replace(label="an.other")
    moved = other._replace(commit="b" * 40, dirty=("x.py",))
    assert phrases(side(repositories=(other,)), side(repositories=(other,))) == ()
    assert phrases(side(repositories=(one, other)), side(repositories=(moved,))) == (
        "-one aaaaaaaa",
        "an.other aaaaaaaa → bbbbbbbb",
        "an.other uncommitted changes",
    )
    assert phrases(side(), side(repositories=(one,))) == ("+one aaaaaaaa",)


def test_code_is_compared_by_commit_and_by_what_was_not_committed() -> None:
    moved: RepoState = CODE._replace(commit="b" * 40, branch="dev")
    assert phrases(side(), side(trainer=moved)) == ("trainer aaaaaaaa → bbbbbbbb",)
    dirty = CODE._replace(dirty=("a.py", "b.py"))
    assert phrases(side(), side(trainer=dirty)) == ("trainer uncommitted changes",)
    assert phrases(side(trainer=dirty), side()) == ("trainer clean",)
    release = LyCORIS(version="3.1.0")
    assert phrases(side(), side(lycoris=release)) == ("+LyCORIS 3.1.0",)
    found = compare_sides(side(lycoris=release), side(lycoris=LyCORIS(commit="c" * 40)))
    assert found.phrases() == ("LyCORIS 3.1.0 → cccccccc",)
    assert [(change.key, change.before) for change in found.of(LYCORIS)] == [("commit", "3.1.0")]
    script = compare_sides(side(trainer_script="train_network.py"), side())
    assert script.of(TRAINER)[0].key == "script"
    assert script.phrases() == ("trainer script train_network.py → sdxl_train_network.py",)


def test_images_captions_and_files_are_counted() -> None:
    before = side(
        dataset={
            "img/0.png": "a",
            "img/1.png": "b",
            "img/0.txt": "c",
            "notes.txt": "d",
            "../x/i/2.txt": "g",
        },
        tree={
            "captions/img/0.txt": "c",
            "captions/outside/i/2.txt": "g",
            "config.toml": "1",
            "run.toml": "x",
        },
    )
    after = side(
        dataset={
            "img/0.png": "e",
            "img/2.png": "b",
            "img/3.png": "b",
            "img/0.txt": "f",
            "notes.txt": "h",
        },
        tree={
            "captions/img/0.txt": "f",
            "config.toml": "2",
            "sample-prompts.txt": "3",
            "inputs/preset.toml": "4",
        },
    )
    found = compare_sides(before, after)
    assert found.phrases() == (
        "+2 images",
        "-1 image",
        "1 image changed",
        "2 captions",
        "1 other file",
        "1 input",
        "prompts",
        "config",
    )
    assert [change.key for change in found.of(CAPTION)] == ["img/0.txt", "outside/i/2.txt"]
    assert [change.key for change in found.of(FILE)] == ["notes.txt"]
    assert len(found.of(IMAGE)) == 4
    assert [KINDS.index(change.kind) for change in found.changes] == sorted(
        KINDS.index(change.kind) for change in found.changes
    )


def test_packages_that_matter_are_named_and_the_others_counted() -> None:
    before = side(packages={"torch": "2.6", "a": "1", "b": "1"}, about={"GPU": ("one", "two")})
    after = side(
        packages={"torch": "2.7", "a": "2", "c": "1"}, about={"GPU": ("one",), "Driver": ("5",)}
    )
    assert phrases(before, after) == (
        "GPU one, two → one",
        "+Driver 5",
        "torch 2.6 → 2.7",
        "3 other packages",
    )
    assert phrases(side(packages={"a": "1"}), side()) == ("1 package",)


def test_a_patch_is_told_beside_what_it_patches() -> None:
    found = compare_sides(side(), side(tree={"patches/sd-scripts.patch": "1"}))
    assert [(change.kind, change.key) for change in found.changes] == [
        ("patch", "patches/sd-scripts.patch")
    ]
    assert found.phrases() == ("1 patch",)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1e-4", "0.0001", True),
        ("+8", "8", True),
        ("1_0", "10", False),
        ("10", "1_0", False),
        ("nan", "NaN", False),
        ("1e999", "2e999", False),
        ("08", "8.", True),
        ("a", "b", False),
    ],
)
def test_numbers_are_the_same_by_value_and_texts_by_letter(
    one: str, other: str, same: bool
) -> None:
    assert same_value(one, other) is same


@given(st.text(), st.text())
def test_sameness_takes_any_text(one: str, other: str) -> None:
    assert same_value(one, one)
    assert same_value(one, other) == same_value(other, one)


# ---- what a record lacks ----

IMPORTED = b"""
format = 1
[imported]
from = "~/old"
missing = ["command", "captions", "dataset.sha256", "environment.txt"]
[trainer]
kind = "sd-scripts"
commit = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
[arguments]
seed = "42"
network_dim = "4"
network_args = ["algo=lokr"]
"""
"""``run.toml`` of an imported run, with what the header of a model says."""


def imported_side(record: bytes = IMPORTED, **files: str) -> Side:
    parsed = parse_record(record, "old-v1s4")
    missing = ("command", "captions", "dataset.sha256", "environment.txt")
    tree = {path.replace("_toml", ".toml"): blob for path, blob in files.items()}
    return Side(parsed, tree, {}, NOWHERE, lacks(parsed, missing, tree))


def test_what_an_imported_run_lacks_is_no_difference() -> None:
    trained = side(
        *("--seed", "42", "--network_dim", "8", "--save_every_n_steps", "100", "--lowram"),
        tree={"captions/img/00.txt": "a", "config.toml": "b", "train.sh": "c"},
        dataset={"img/00.png": "d", "notes.txt": "e"},
        packages={"torch": "2.6"},
        about={"Python": ("3.11",)},
        weights=(Weights("VAE", "a.pt", "a" * 64),),
    )
    old = imported_side(config_toml="f", metadata_toml="g")
    gone = "not on record: other arguments, captions, images, environment and packages"
    found = compare_sides(old, trained)
    assert found.phrases() == ("network_dim 4 → 8", "-algo lokr", "config", gone)
    assert compare_sides(trained, old).phrases() == (
        "network_dim 8 → 4",
        "+algo lokr",
        "config",
        gone,
    )
    assert {change.kind for change in found.changes} == {"argument", "config"}


def test_without_a_header_no_argument_is_on_record() -> None:
    old = imported_side(IMPORTED.partition(b"[arguments]")[0])
    found = compare_sides(old, side("--seed", "42"))
    assert found.phrases()[-1].startswith("not on record: arguments, ")
    assert found.of("argument") == ()


def test_code_that_an_imported_run_does_not_name_may_have_been_there() -> None:
    trained = side(
        trainer=CODE._replace(dirty=("x.py",)),
        lycoris=LyCORIS(version="3.1.0"),
        repositories=(CODE._replace(label="tools"),),
    )
    other = imported_side(IMPORTED.replace(b"aaaa", b"0000"))
    found = compare_sides(other, trained).of("trainer", "lycoris", "repository")
    assert [(change.kind, change.key) for change in found] == [("trainer", "commit")]


def test_two_imported_runs_differ_in_what_both_have_on_record() -> None:
    other = IMPORTED.replace(b'"42"', b'"43"')
    found = compare_sides(imported_side(metadata_toml="a"), imported_side(other, metadata_toml="b"))
    assert found.phrases() == (
        "seed 42 → 43",
        "not on record: other arguments, captions, images, environment and packages",
    )
    assert [change.key for change in found.of("file")] == ["metadata.toml"]


def test_what_neither_of_two_runs_of_loragits_own_has_is_not_named() -> None:
    bare = parse_record(run_toml.run_toml(a_run()).data, "a")
    both = Side(bare, {}, {}, NOWHERE, lacks(bare, (), {}))
    assert both.lacks.names.keys() >= {"dataset.sha256", "environment.txt"}
    assert compare_sides(both, both).phrases() == ()
    assert compare_sides(both, side()).phrases() == (
        "not on record: images, environment and packages",
    )


def test_a_default_that_a_header_tells_is_the_same_as_none() -> None:
    old = imported_side(
        IMPORTED + b'lr_scheduler = "constant"\nhuber_c = "0.10"\nlr_warmup_steps = "100"\n'
    )
    given = ("--seed", "42", "--network_dim", "4", "--network_args", "algo=lokr")
    found = compare_sides(old, side(*given))
    assert found.phrases()[:-1] == ("-lr_warmup_steps 100",)
    assert compare_sides(side(*given), old).phrases()[:-1] == ("+lr_warmup_steps 100",)
    found = compare_sides(old, side(*given, "--lr_scheduler", "cosine"))
    assert found.phrases()[0] == "lr_scheduler constant → cosine"


# ---- arguments, wherever they come from ----


def listed(
    arguments: dict[str, str],
    *argv: str,
    tree: Mapping[str, str] | None = None,
    defaults: Mapping[str, tuple[str, ...]] | None = None,
) -> Side:
    """A run whose record lists its arguments; ``argv`` is what the command says besides."""
    values = {key: tuple(value.split()) for key, value in arguments.items()}
    found = side(*argv, tree=tree, arguments=values, defaults=defaults or {})
    return found._replace(lacks=lacks(found.record, (), ()))


def unlisted(
    *argv: str, tree: Mapping[str, str] | None = None, entries: tuple[Entry, ...] = ()
) -> Side:
    """A run of an earlier loragit, which records the command alone."""
    found = side(*argv, tree=tree, entries=entries)
    return found._replace(lacks=lacks(found.record, (), ()))


def test_a_value_is_the_same_wherever_it_was_given() -> None:
    file = ("--config_file", "~/out/one/inputs/gui.toml")
    before = listed({"unet_lr": "1e-4", "xformers": "", "seed": "7"}, *file)
    after = listed({"unet_lr": "0.0001", "xformers": "", "seed": "8"}, "--unet_lr", "0.0001")
    assert phrases(before, after) == ("seed 7 → 8",)


def test_the_file_that_arguments_come_from_is_no_change_of_its_own() -> None:
    def of(name: str, rate: str) -> Side:
        found = listed(
            {"unet_lr": rate},
            *("--config_file", f"~/out/{name}/inputs/gui.toml"),
            tree={"inputs/gui.toml": rate, "inputs/notes.md": rate},
        )
        return found._replace(arguments_file="inputs/gui.toml")

    assert phrases(of("one", "1e-4"), of("two", "5e-5")) == ("unet_lr 1e-4 → 5e-5", "1 input")
    without = listed({"unet_lr": "5e-5"}, tree={"inputs/notes.md": "5e-5"})
    assert phrases(of("one", "5e-5"), without) == ()
    assert phrases(without, of("one", "5e-5")) == ()


def test_what_a_file_gave_an_earlier_run_is_not_on_record() -> None:
    earlier = unlisted(
        *("--config_file", "~/out/one/inputs/gui.toml", "--seed", "7", "--lowram"),
        tree={"inputs/gui.toml": "1"},
    )
    later = listed({"unet_lr": "1e-4", "seed": "8"}, tree={"inputs/gui.toml": "2"})
    told = ("1 input", "not on record: what --config_file gave")
    assert phrases(earlier, later) == ("seed 7 → 8", "-lowram", *told)
    assert phrases(later, earlier) == ("seed 8 → 7", "+lowram", *told)


def test_an_earlier_run_without_a_file_has_all_its_arguments_in_the_command() -> None:
    earlier = unlisted("--seed", "7")
    later = listed({"unet_lr": "1e-4", "seed": "7"}, tree={"inputs/gui.toml": "2"})
    later = later._replace(arguments_file="inputs/gui.toml")
    assert phrases(earlier, later) == ("+unet_lr 1e-4",)


def test_two_earlier_runs_with_a_file_are_compared_by_their_commands() -> None:
    before, after = (
        unlisted("--config_file", f"~/out/{name}/inputs/gui.toml", *given, tree={"inputs/a": name})
        for name, given in (("one", ()), ("two", ("--seed", "7")))
    )
    assert phrases(before, after) == ("+seed 7", "1 input")


def test_the_folder_of_a_run_is_no_difference_between_commands() -> None:
    entries = (Entry("inputs/p.toml", b""), Entry("inputs/m.json", b""))

    def command(name: str, *more: str) -> Side:
        folder = f"~/out/{name}/inputs"
        return unlisted(
            *("--network_args", f"preset={folder}/p.toml", *more, "--in_json", f"{folder}/m.json"),
            entries=entries,
        )

    assert phrases(command("one"), command("two")) == ()
    assert phrases(command("one"), command("two", "other=/x/inputs/q.toml")) == (
        "+other /x/inputs/q.toml",
    )
    values = {"in_json": "inputs/m.json", "network_args": "preset=inputs/p.toml"}
    assert phrases(command("one"), listed(values)) == ()


def test_a_default_on_record_counts_as_if_it_was_given() -> None:
    by_default = listed({"seed": "1"}, defaults={"network_dim": ("4",), "xformers": ("4",)})
    assert phrases(by_default, listed({"seed": "1", "network_dim": "4.0"})) == ()
    assert phrases(listed({"seed": "1", "network_dim": "8"}), by_default) == ("network_dim 8 → 4",)
    later = by_default._replace(
        record=listed({"seed": "1"}, defaults={"network_dim": ("8",)}).record
    )
    assert phrases(by_default, later) == ("network_dim 4 → 8",)
