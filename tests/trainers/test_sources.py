"""Where sd-scripts' arguments come from, and which of them count."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from loragit.dataset.inputs import CannotReadInput
from loragit.trainers.arguments import Arguments, BadArgument, from_words
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import Copies, Defaults, Job, Plan


def plan(
    folder: Path,
    settings: str = "",
    command: str = "",
    *,
    config_set: bool = False,
    preset: str | None = None,
) -> Plan:
    defaults = Defaults(
        "noob-gren-v1s4",
        folder / "config.toml",
        config_set,
        None,
        folder,
        folder / preset if preset else None,
    )
    first, second = from_words(settings.split()), from_words(command.split())
    return SdScripts().plan(first, second, defaults, own_script=False)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def words(made: Plan) -> dict[str, tuple[str, ...]]:
    """What stands on the trainer's command line."""
    inputs = {path: f"/out/{path.name}" for _, path in made.inputs}
    copies = Copies("/out/config.toml" if made.config else None, None, "/out", inputs)
    given = SdScripts().words(made, Path("/work"), Job(copies, 4, "stamp"))
    return dict(from_words(given).options)


# ---- strength ----


def test_a_config_file_of_the_command_line_is_stronger_than_the_settings(tmp_path: Path) -> None:
    write(tmp_path, "gui.toml", "network_dim = 4\nnetwork_alpha = 2\n[more]\nseed = 7\n")
    settings = "--network_dim 16 --seed 1 --vae v.pt"
    made = plan(tmp_path, settings, "--config_file gui --network_alpha 8")
    assert {
        name: made.effective.one(name) for name in ("network_dim", "network_alpha", "seed")
    } == {
        "network_dim": "4",
        "network_alpha": "8",
        "seed": "7",
    }
    # What the trainer takes from the file must not stand on its command line.
    given = words(made)
    assert given.keys().isdisjoint({"network_dim", "seed"})
    assert (given["network_alpha"], given["vae"]) == (("8",), ("v.pt",))
    assert given["config_file"] == ("/out/gui.toml",)


def test_a_config_file_of_the_settings_is_the_weakest_of_all(tmp_path: Path) -> None:
    write(tmp_path, "base.toml", "network_dim = 4\nseed = 7\nunet_lr = 1e-4\n")
    made = plan(tmp_path, "--config_file base.toml --network_dim 16", "--seed 9")
    effective = {name: made.effective.one(name) for name in ("network_dim", "seed", "unet_lr")}
    assert effective == {"network_dim": "16", "seed": "9", "unet_lr": "1e-4"}
    assert words(made)["network_dim"] == ("16",)
    # Another file in its place is read alone.
    write(tmp_path, "other.toml", "seed = 3\n")
    made = plan(tmp_path, "--config_file base.toml --network_dim 16", "--config_file other.toml")
    assert (made.effective.one("seed"), made.effective.one("unet_lr")) == ("3", None)
    assert made.inputs == (("config_file", tmp_path / "other.toml"),)


def test_sections_of_a_config_file_are_flattened_one_level_deep(tmp_path: Path) -> None:
    write(tmp_path, "c.toml", "[a]\nseed = 1\nflag = true\noff = false\n[a.b]\nnetwork_dim = 4\n")
    made = plan(tmp_path, "", "--config_file c.toml")
    assert dict(made.effective.options) == {"config_file": ("c.toml",), "seed": ("1",), "flag": ()}


def test_a_flag_that_a_file_of_this_run_switches_off_is_off(tmp_path: Path) -> None:
    write(tmp_path, "g.toml", "cache_latents = false\n[more]\nlowram = false\n")
    made = plan(tmp_path, "--cache_latents --lowram --xformers", "--config_file g --lowram")
    assert words(made).keys() & {"cache_latents", "lowram", "xformers"} == {"lowram", "xformers"}
    assert "cache_latents" not in made.effective.options


def test_a_blank_folder_is_none(tmp_path: Path) -> None:
    none = Arguments({})
    defaults = Defaults("n", tmp_path / "config.toml", False, None, tmp_path)
    given = from_words(["--train_data_dir", "train", "--reg_data_dir", ""])
    made = SdScripts().plan(none, given, defaults, own_script=False)
    assert "reg_data_dir" not in words(made)
    assert "reg_data_dir" not in made.effective.options


def test_what_would_win_in_the_trainer_gives_way_to_what_is_stronger(tmp_path: Path) -> None:
    made = plan(tmp_path, "--caption_extention .txt", "--caption_extension .tags")
    assert "caption_extention" not in words(made)
    made = plan(tmp_path, "--max_train_epochs 10", "--max_train_steps 100")
    assert (made.epochs, made.steps) == (None, 100)
    assert words(made)["max_train_steps"] == ("4",)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xef\xbb\xbfseed = 1\n", "byte order mark"),
        ("seed = 1\n".encode("utf-16"), "UTF-16"),
        (b"seed = \xff\n", "is not UTF-8 text: byte 0xff in line 1"),
        (b"seed = \n", "does not parse"),
    ],
)
def test_a_config_file_that_the_trainer_cannot_read_is_refused(
    tmp_path: Path, data: bytes, told: str
) -> None:
    (tmp_path / "c.toml").write_bytes(data)
    with pytest.raises(CannotReadInput, match=told) as refused:
        plan(tmp_path, "", "--config_file c.toml")
    assert refused.value.hint


def test_a_file_that_holds_what_is_loragits_own_is_warned_of(tmp_path: Path) -> None:
    write(tmp_path, "c.toml", 'output_dir = "/x"\nmax_train_steps = 9\noutput_name = "mine"\n')
    made = plan(tmp_path, "", "--config_file c.toml")
    assert made.output_name == "mine"
    assert (made.output, made.steps) == (None, None)
    assert [warning.split(" ")[0] for warning in made.warnings] == ["output_dir", "max_train_steps"]
    assert plan(tmp_path, "", "--config_file c.toml --max_train_steps 5").warnings == (
        made.warnings[0],
    )


def test_writing_the_arguments_to_a_file_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="--output_config"):
        plan(tmp_path, "", "--output_config")


# ---- what names the dataset ----


def test_without_any_name_the_usual_config_counts(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert (made.config, made.warnings) == (tmp_path / "config.toml", ())


def test_arguments_name_the_dataset_where_no_config_does(tmp_path: Path) -> None:
    made = plan(tmp_path, "--train_data_dir train --reg_data_dir reg")
    assert (made.config, made.warnings) == (None, ())
    given = words(made)
    assert "dataset_config" not in given
    assert (given["train_data_dir"], given["reg_data_dir"]) == (("train",), ("reg",))
    write(tmp_path, "m.json", "{}")
    made = plan(tmp_path, "", "--in_json m.json --train_data_dir train")
    assert made.inputs == (("in_json", tmp_path / "m.json"),)
    assert words(made)["in_json"] == ("/out/m.json",)


def test_a_usual_config_that_arguments_put_aside_is_told(tmp_path: Path) -> None:
    write(tmp_path, "config.toml", "")
    made = plan(tmp_path, "", "--train_data_dir train")
    assert made.config is None
    assert made.warnings == (
        f"{tmp_path}/config.toml is not used: train_data_dir names the dataset",
    )


@pytest.mark.parametrize(
    ("settings", "command", "config_set"),
    [
        ("", "--dataset_config c.toml --train_data_dir t --in_json m.json", False),
        ("--train_data_dir t --in_json m.json", "--dataset_config c.toml", False),
        ("--train_data_dir t --in_json m.json --dataset_config c.toml", "", False),
    ],
)
def test_what_the_trainer_would_not_read_is_told_and_not_on_record(
    tmp_path: Path, settings: str, command: str, config_set: bool
) -> None:
    made = plan(tmp_path, settings, command, config_set=config_set)
    assert made.config == tmp_path / "c.toml"
    assert {"train_data_dir", "in_json"}.isdisjoint(made.effective.options)
    assert {"train_data_dir", "in_json"}.isdisjoint(words(made))
    assert made.inputs == ()
    told = [
        f"{n} is not used: {made.config} names the dataset" for n in ("train_data_dir", "in_json")
    ]
    assert [warning for warning in made.warnings if "is not used" in warning] == told


def test_a_config_of_the_settings_gives_way_to_arguments_of_this_run_alone(tmp_path: Path) -> None:
    assert plan(tmp_path, "--train_data_dir t", config_set=True).config == tmp_path / "config.toml"
    assert plan(tmp_path, "", "--train_data_dir t", config_set=True).config is None
    assert plan(tmp_path, "--dataset_config c.toml", "--train_data_dir t").config is None
    write(tmp_path, "base.toml", 'dataset_config = "c.toml"\n')
    assert plan(tmp_path, "--config_file base.toml").config == tmp_path / "c.toml"
    with pytest.raises(BadArgument, match="wins over --train_data_dir"):
        plan(tmp_path, "--config_file base.toml", "--train_data_dir t")


# ---- a file for this run alone ----


def test_a_preset_in_toml_is_a_config_file(tmp_path: Path) -> None:
    write(tmp_path, "gui.toml", "network_dim = 4\n")
    made = plan(tmp_path, "--network_dim 16", "--seed 3", preset="gui.toml")
    assert (made.effective.one("network_dim"), made.effective.one("seed")) == ("4", "3")
    assert words(made)["config_file"] == ("/out/gui.toml",)
    with pytest.raises(BadArgument, match="name two files"):
        plan(tmp_path, "", "--config_file other.toml", preset="gui.toml")


def test_a_preset_of_the_gui_is_given_as_the_config_file_that_it_writes(tmp_path: Path) -> None:
    preset = {"network_dim": 4, "network_alpha": 2, "train_data_dir": str(tmp_path / "train")}
    write(tmp_path, "gui.json", json.dumps({**preset, "additional_parameters": "--lowram"}))
    made = plan(tmp_path, "--network_dim 16 --seed 1", "--network_alpha 8", preset="gui.json")
    names = ("network_dim", "network_alpha", "seed")
    assert [made.effective.one(name) for name in names] == ["4", "8", "1"]
    given = words(made)
    assert given["config_file"] == ("/out/gui.toml",)
    assert (given["network_alpha"], given["seed"], given["lowram"]) == (("8",), ("1",), ())
    assert "network_dim" not in given
    assert made.config is None
    assert made.inputs == (
        ("config", tmp_path / "gui.json"),
        ("config_file", tmp_path / "gui.toml"),
    )
    write(
        tmp_path, "more.json", '{"output_dir": "/x", "max_train_steps": 9, "sample_prompts": "a"}'
    )
    (warning,) = plan(tmp_path, preset="more.json").warnings
    assert warning.startswith("max_train_steps, output_dir, sample_prompts of the preset: not used")
    (text,) = made.written.values()
    assert tomllib.loads(text.decode()).items() >= preset.items()
    write(tmp_path, "gui.json", "[]")
    with pytest.raises(CannotReadInput, match="holds no table"):
        plan(tmp_path, preset="gui.json")


def test_no_word_is_lost_without_any_file(tmp_path: Path) -> None:
    none = Arguments({})
    defaults = Defaults("n", tmp_path / "config.toml", False, None, tmp_path)
    with pytest.raises(BadArgument, match="is not an option"):
        SdScripts().plan(none, from_words(["stray"]), defaults, own_script=False)
    assert SdScripts().plan(
        none, from_words(["x"]), defaults, own_script=True
    ).arguments.leading == ("x",)


def test_numbers_of_a_file_stay_as_they_are_written(tmp_path: Path) -> None:
    write(tmp_path, "a.toml", "unet_lr = 1e-4\nmax_grad_norm = 1.00\nbetas = [5e-5, 1]\n")
    options = plan(tmp_path, command="--config_file a").effective.options
    assert {name: options[name] for name in ("unet_lr", "max_grad_norm", "betas")} == {
        "unet_lr": ("1e-4",),
        "max_grad_norm": ("1.00",),
        "betas": ("5e-5", "1"),
    }
