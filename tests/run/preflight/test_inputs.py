"""The files a run is made of: read once, each at its place in the record, and all that is wrong
told at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.dataset.hashes import HashCache
from loragit.dataset.snapshot import RecordedDataset
from loragit.errors import Findings
from loragit.run.preflight import inputs
from loragit.run.preflight.inputs import Inputs
from loragit.settings import load
from loragit.settings.values import Flags
from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import DatasetPlace, Defaults

NOTHING = RecordedDataset(None, None, frozenset())


@pytest.fixture
def gren(tmp_path: Path) -> Path:
    """A dataset of one image, with config and prompts."""
    root = tmp_path / "gren"
    (root / "img").mkdir(parents=True)
    (root / "img" / "0.png").write_text("image")
    (root / "img" / "0.txt").write_text("caption")
    (root / "config.toml").write_text(
        f'[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "{root}/img"\n'
        'caption_extension = ".txt"\n'
    )
    (root / "prompts.txt").write_text("a thing --d 1\n")
    return root


def read(
    root: Path, *words: str, prompts: str | None = "prompts.txt", known_script: bool = False
) -> tuple[Inputs | None, dict[str, str | None]]:
    """What was read, and each problem with its hint. ``known_script``: its options are known."""
    chosen = load.load_settings(
        name=None, flags=Flags(dataset=str(root)), environ=os.environ, cwd=root
    )
    defaults = Defaults(
        "noob-gren-v1s4", root / "config.toml", False, root / prompts if prompts else None, root
    )
    plan = SdScripts().plan(Arguments({}), from_words(words), defaults, own_script=False)
    if known_script:
        plan = plan._replace(takes=frozenset())
    findings = Findings()
    found = inputs.read_inputs(
        plan,
        chosen,
        DatasetPlace(root, root),
        NOTHING,
        HashCache(root.parent / "cache"),
        findings,
    )
    return found, {finding.problem: finding.hint for finding in findings.all()}


def whole(root: Path, *words: str, prompts: str | None = "prompts.txt") -> Inputs:
    found, problems = read(root, *words, prompts=prompts)
    assert problems == {}
    assert found is not None
    return found


def refused(root: Path, *words: str, prompts: str | None = "prompts.txt") -> tuple[str, str | None]:
    """The one problem and its hint."""
    _, problems = read(root, *words, prompts=prompts)
    ((problem, hint),) = problems.items()
    return problem, hint


def test_config_prompts_and_dataset_are_read(gren: Path) -> None:
    found = whole(gren)
    assert found.config is not None
    assert (found.config.path, found.config.data) == (
        "config.toml",
        (gren / "config.toml").read_bytes(),
    )
    assert found.prompts is not None
    assert (found.prompts.path, found.prompts.data) == ("sample-prompts.txt", b"a thing --d 1\n")
    assert (found.dataset.images, found.dataset.captions, found.further) == (1, 1, ())
    assert found.warnings == ()
    assert whole(gren, prompts=None).prompts is None


def test_captions_that_the_trainer_will_not_find_are_warned_of(gren: Path) -> None:
    config = gren / "config.toml"
    config.write_text(config.read_text().replace('caption_extension = ".txt"\n', ""))
    (warning,) = whole(gren).warnings
    assert ".caption" in warning
    assert whole(gren, "--caption_extension", ".txt").warnings == ()


def test_the_suffix_of_config_and_prompts_is_kept_where_it_tells_the_format(gren: Path) -> None:
    table = {"datasets": [{"resolution": 64, "subsets": [{"image_dir": str(gren / "img")}]}]}
    (gren / "c.JSON").write_text(json.dumps(table))
    config = whole(gren, "--dataset_config", "c.JSON").config
    assert config is not None
    assert config.path == "config.json"
    for name, data, place in (
        ("p.json", "[]", "sample-prompts.json"),
        ("p.toml", "a = 1", "sample-prompts.toml"),
        ("p", "x", "sample-prompts.txt"),
        ("p.md", "x", "sample-prompts.txt"),
    ):
        (gren / name).write_text(data)
        prompts = whole(gren, prompts=name).prompts
        assert prompts is not None
        assert prompts.path == place


def test_config_and_prompts_that_are_missing_are_told_with_the_next_step(gren: Path) -> None:
    assert refused(gren, "--dataset_config", "none.toml") == (
        f"there is no dataset config {gren}/none.toml",
        "write one there, or name another: -- --dataset_config PATH",
    )
    problem, hint = refused(gren, prompts="none.txt")
    assert problem == f"there are no sample prompts {gren}/none.txt"
    assert 'paths.prompts = ""' in str(hint)


@pytest.mark.parametrize(
    ("name", "data"), [("p.toml", "a ="), ("p.json", "{"), ("p.json", "[" * 100_000)]
)
def test_prompts_that_do_not_parse_are_told(gren: Path, name: str, data: str) -> None:
    (gren / name).write_text(data)
    assert f"the sample prompts {gren / name} do" in refused(gren, prompts=name)[0]


@pytest.mark.parametrize(
    ("name", "what", "words"),
    [
        ("config.toml", "dataset config", ()),
        ("prompts.txt", "sample prompts", ()),
        ("wandb.toml", "input", ("--log_tracker_config", "wandb.toml")),
    ],
)
def test_a_file_that_was_never_fetched_is_told_with_what_fetches_it(
    gren: Path, name: str, what: str, words: tuple[str, ...]
) -> None:
    (gren / name).unlink(missing_ok=True)
    (gren / name).symlink_to(".git/annex/objects/x/y/KEY/KEY")
    fetch = f"fetch it: git -C {gren} annex get {name}"
    assert refused(gren, *words) == (
        f"the {what} {gren}/{name} is a link of git-annex, whose content is not here",
        fetch,
    )
    (gren / name).unlink()
    (gren / name).write_text("/annex/objects/KEY\n")
    assert refused(gren, *words) == (f"the {what} {gren}/{name} is a git-annex pointer", fetch)


def test_prompts_that_would_stop_the_trainer_at_its_first_sample_are_told(gren: Path) -> None:
    (gren / "p.json").write_text('{"prompt": 1}')
    ((problem, hint),) = read(gren, prompts="p.json", known_script=True)[1].items()
    assert problem.startswith(f"the sample prompts {gren}/p.json are no list of prompts")
    assert "first sample" in str(hint)
    (gren / "p.json").write_text('["a thing"]')
    assert read(gren, prompts="p.json", known_script=True)[1] == {}
    # Another script may read them in its own way.
    (gren / "p.toml").write_text("a = 1\n")
    assert read(gren, prompts="p.toml")[1] == {}


def test_everything_that_is_wrong_is_told_at_once(gren: Path) -> None:
    config = gren / "config.toml"
    config.write_text(config.read_text().replace("/img", "/none"))
    found, problems = read(gren, "--log_tracker_config", "none.json", prompts="none.txt")
    assert found is None or problems
    assert [problem.split(str(gren))[0] for problem in problems] == [
        "there are no sample prompts ",
        "the input ",
        "the image folder '",
    ]
    config.unlink()
    found, problems = read(gren, prompts="none.txt")
    assert found is None
    assert len(problems) == 2


def test_further_inputs_have_places_of_their_own(gren: Path) -> None:
    names = ("a b/meta.json", "c/meta.json", ".hidden.toml", "é'\".toml")
    for name in names:
        (gren / name).parent.mkdir(exist_ok=True)
        (gren / name).write_text(name)
    rows = json.dumps({f"{gren}/img/0.png": {"caption": "c/meta.json"}})
    (gren / "c/meta.json").write_text(rows)
    config = gren / "config.toml"
    config.write_text(
        "[[datasets]]\nresolution = 8\n"
        f'[[datasets.subsets]]\nmetadata_file = "{gren}/c/meta.json"\n'
    )
    (gren / "loragit.toml").write_text(
        '[record]\ninputs = ["c/meta.json", ".hidden.toml", "é\'\\".toml"]\n'
    )
    found = whole(
        gren, "--log_tracker_config", "a b/meta.json", "--network_args", "preset=c/meta.json"
    )
    assert [
        (str(path.relative_to(gren)), entry.path, entry.data.decode())
        for path, entry in found.further
    ] == [
        ("a b/meta.json", "inputs/meta.json", "a b/meta.json"),
        ("c/meta.json", "inputs/2-meta.json", rows),
        (".hidden.toml", "inputs/hidden.toml", ".hidden.toml"),
        ("é'\".toml", "inputs/é__.toml", "é'\".toml"),
    ]


@given(
    st.lists(
        st.binary(min_size=1, max_size=4).map(os.fsdecode) | st.text(min_size=1, max_size=4),
        max_size=6,
    )
)
def test_a_place_is_a_plain_name_that_nothing_else_has(names: list[str]) -> None:
    taken: set[str] = set()
    for name in names:
        place = inputs._free_place(name, taken)
        assert place not in taken
        folder, _, plain = place.partition("/")
        assert folder == "inputs"
        assert plain
        assert plain[0] != "."
        assert all(c.isalnum() or c in "._-+=@" for c in plain)
        plain.encode()
        taken.add(place)
