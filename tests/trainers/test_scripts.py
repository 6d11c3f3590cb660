"""What a script of the trainer takes, read from its source, and what follows for a run.
``make test-torch`` compares with the parsers of sd-scripts itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.sd_scripts.scripts import cache, check, parser
from loragit.trainers.sd_scripts.scripts.parser import Option, ScriptOptions
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import Copies, Defaults, Job, Plan

TRAIN_UTIL = """
import argparse, pathlib
from library.logs import add_logging_arguments


def add_training_arguments(parser: argparse.ArgumentParser, support_dreambooth: bool):
    parser.add_argument("--output_dir", type=str, default=None, help="folder")
    parser.add_argument("--output_name")
    parser.add_argument("--max_train_steps", type=int, default=1600)
    parser.add_argument("--max_train_epochs", type=int, default=None)
    parser.add_argument("--learning_rate", type=float, default=2.0e-6)
    parser.add_argument("--lowram", action="store_true")
    parser.add_argument("--mixed_precision", type=str, default="no", choices=["no", "fp16", "bf16"])
    parser.add_argument("--optimizer_args", type=str, default=None, nargs="*")
    parser.add_argument("--dataset_config", type=pathlib.Path)
    parser.add_argument("--config_file", type=str)
    parser.add_argument("--caption_extension", "--caption_extention", type=str)
    if support_dreambooth:
        parser.add_argument("--prior_loss_weight", type=float, default=1.0)
    else:
        parser.add_argument("--in_json")
    group = parser.add_argument_group("samples")
    group.add_argument("--sample_prompts", type=str)
    add_logging_arguments(parser)
    return parser
"""
NETWORK = """
import argparse
import library.train_util as train_util
from library import train_util as util


def helper(value):
    return value


def setup_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    train_util.add_training_arguments(parser, True)
    parser.add_argument("--network_module", type=str)
    parser.add_argument("--network_dim", type=int, default=None)
    parser.add_argument("--network_args", nargs="*")
    parser.add_argument("--training_comment", "-c", type=str)
    parser.add_argument("--size", nargs=2, type=int)
    parser.add_argument("--level", type=helper)
    return parser


if __name__ == "__main__":
    parser = setup_parser()
    args = parser.parse_args()
"""
FILES = {
    "library/__init__.py": "",
    "library/train_util.py": TRAIN_UTIL,
    "library/logs.py": """
def add_logging_arguments(parser):
    parser.add_argument("--logging_dir", type=str)
    parser.add_argument("--log_prefix", type=str)
""",
    "train_network.py": NETWORK,
    "sdxl_train_network.py": """
import train_network
def setup_parser():
    parser = train_network.setup_parser()
    parser.add_argument("--no_half_vae", action="store_true")
    return parser
""",
    "fine_tune.py": """
import argparse
from library import train_util
def setup_parser():
    parser = argparse.ArgumentParser()
    train_util.add_training_arguments(parser, False)
    parser.add_argument("--train_text_encoder", action="store_true")
    return parser
""",
    "networks/resize_lora.py": """
import argparse
def setup_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--save_to", type=str, required=True)
    return parser
""",
    "odd.py": """
import argparse
parser = argparse.ArgumentParser()
for name in ("a", "b"):
    parser.add_argument("--" + name)
parser.parse_args()
""",
    "main_train.py": """
import argparse
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir")
    parser.add_argument("--max_train_steps", type=int)
    for name in ("a", "b"):
        parser.add_argument("--" + name)
    parser.parse_args()
""",
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "trainer"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def options(repo: Path, script: str) -> ScriptOptions:
    found = parser.read_options(repo / script, repo)
    assert found is not None
    return found


# ---- parsers ----


def test_options_are_collected_through_functions_and_modules(repo: Path) -> None:
    found = options(repo, "sdxl_train_network.py")
    assert found.complete
    named = found.by_name()
    assert named["learning_rate"] == Option("learning_rate", "float", "1", (), "2e-06", False)
    assert named["lowram"].values == "0"
    assert named["mixed_precision"].choices == ("no", "fp16", "bf16")
    assert named["optimizer_args"].values == "*"
    assert named["size"].values == "2"
    assert (named["level"].kind, named["dataset_config"].kind) == ("", "")
    assert named["caption_extention"].name == "caption_extension"
    assert {"network_dim", "no_half_vae", "logging_dir", "sample_prompts"} <= named.keys()
    assert "c" not in named


def test_a_branch_is_taken_by_the_argument_of_the_call(repo: Path) -> None:
    assert "prior_loss_weight" in options(repo, "train_network.py").by_name()
    fine_tuning = options(repo, "fine_tune.py").by_name()
    assert "in_json" in fine_tuning
    assert fine_tuning.keys().isdisjoint({"prior_loss_weight", "training_comment"})


def test_a_branch_that_nobody_can_tell_counts_both_ways(repo: Path) -> None:
    text = (repo / "fine_tune.py").read_text()
    (repo / "fine_tune.py").write_text(
        text.replace("    return parser", "    if unknown():\n        parser.add_argument('--x')\n"
        "    else:\n        parser.add_argument('--y')\n    return parser")
    )  # fmt: skip
    assert {"x", "y"} <= options(repo, "fine_tune.py").by_name().keys()


@pytest.mark.parametrize(
    "line",
    [
        "    for name in ('a', 'b'):\n        parser.add_argument(f'--{name}')\n",
        "    deepspeed.add_config_arguments(parser)\n",
        "    parser.add_argument(NAME)\n",
    ],
)
def test_what_cannot_be_followed_leaves_room_for_further_options(repo: Path, line: str) -> None:
    path = repo / "fine_tune.py"
    path.write_text(path.read_text().replace("    return parser", f"{line}    return parser"))
    found = options(repo, "fine_tune.py")
    assert not found.complete
    assert "train_text_encoder" in found.by_name()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def setup_parser(:\n",
        "def setup_parser():\n    return 7\n",
        "def setup_parser():\n    return setup_parser()\n",
        "import argparse\ndef setup_parser():\n    return argparse.ArgumentParser()\n",
        (
            "import argparse\ndef setup_parser():\n    parser = argparse.ArgumentParser()\n"
            "    parser.add_argument('--x')\n    parser.add_subparsers()\n    return parser\n"
        ),
        FILES["odd.py"],
        "\0",
    ],
)
def test_of_a_script_that_is_not_understood_nothing_is_known(repo: Path, text: str) -> None:
    (repo / "own.py").write_text(text)
    assert parser.read_options(repo / "own.py", repo) is None
    assert parser.read_options(repo / "none.py", repo) is None


SOURCE = st.text("abcdefghij ():,.='\"\n\t_-[]{}#@", max_size=60)


@given(st.lists(SOURCE | st.sampled_from(NETWORK.splitlines()), max_size=12))
def test_whatever_a_source_holds_it_is_read_or_not(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("trainer")
    (folder / "own.py").write_text("\n".join(lines))
    found = parser.read_options(folder / "own.py", folder)
    assert found is None or found.options


def test_options_are_kept_until_a_file_changes(repo: Path, tmp_path: Path) -> None:
    script, folder = repo / "sdxl_train_network.py", tmp_path / "cache"
    for path in repo.rglob("*.py"):
        os.utime(path, (1000, 1000))
    first = cache.script_options(script, repo, folder)
    (file,) = folder.iterdir()
    assert cache.script_options(script, repo, folder) == first
    # It is the file that answers.
    file.write_text(file.read_text().replace("no_half_vae", "half_vae"))
    kept = cache.script_options(script, repo, folder)
    assert kept is not None
    assert "half_vae" in kept.by_name()
    (repo / "library" / "logs.py").write_text("def add_logging_arguments(parser): pass\n")
    changed = cache.script_options(script, repo, folder)
    assert changed is not None
    assert changed.by_name().keys().isdisjoint({"half_vae", "logging_dir"})


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"version": 1, "files": 7}'])
def test_a_damaged_cache_is_none(repo: Path, tmp_path: Path, damage: str) -> None:
    script, folder = repo / "train_network.py", tmp_path / "cache"
    for path in repo.rglob("*.py"):
        os.utime(path, (1000, 1000))
    first = cache.script_options(script, repo, folder)
    (file,) = folder.iterdir()
    file.write_text(damage)
    assert cache.script_options(script, repo, folder) == first
    # Files that were written just now may change within one tick of the clock.
    script.touch()
    file.unlink()
    assert cache.script_options(script, repo, folder) == first
    assert list(folder.iterdir()) == []


# ---- what a script would refuse ----


def told(repo: Path, words: str, script: str = "train_network.py") -> list[tuple[str, str | None]]:
    takes = options(repo, script)

    def others() -> list[tuple[str, ScriptOptions]]:
        names = ("fine_tune.py", "sdxl_train_network.py", "train_network.py")
        return [(name, options(repo, name)) for name in names]

    given = from_words(words.split())
    return [f[:2] for f in check.findings(script, given, takes, lambda: iter(others()))]


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (
            "--learing_rate 1e-4",
            "train_network.py takes no --learing_rate",
            "is --learning_rate meant?",
        ),
        (
            "--no_half_vae",
            "train_network.py takes no --no_half_vae",
            "sdxl_train_network.py takes it",
        ),
        (
            "--train_text_encoder",
            "train_network.py takes no --train_text_encoder",
            "fine_tune.py takes it",
        ),
        ("--qqqq", "train_network.py takes no --qqqq", "take it out"),
        ("--network_dim abc", "--network_dim 'abc' is no whole number", "correct it"),
        ("--network_dim 4.5", "--network_dim '4.5' is no whole number", "correct it"),
        ("--learning_rate fast", "--learning_rate 'fast' is no number", "correct it"),
        (
            "--mixed_precision fp61",
            "--mixed_precision 'fp61' is none of its values",
            "is fp16 meant? it takes no, fp16, bf16",
        ),
        ("--lowram true", "--lowram takes no value, and 'true' is given", "correct it"),
        ("--network_dim", "--network_dim has no value", "correct it"),
        ("--network_dim 4 8", "--network_dim takes one value, and 2 are given", "correct it"),
        ("--size 4", "--size takes 2 values, and 1 are given", "correct it"),
    ],
)
def test_what_the_parser_would_refuse_is_told(
    repo: Path, words: str, problem: str, hint: str
) -> None:
    ((found, step),) = told(repo, words)
    assert found == problem
    assert hint in (step or "")


@pytest.mark.parametrize(
    "words",
    [
        "--learning_rate 1e-4 --network_dim 4 --lowram --optimizer_args --size 1 2",
        "--optimizer_args a=1 b=2 --mixed_precision bf16",
        "--learning 1e-4",  # the beginning of one option alone
        "--level anything --caption_extention .txt",
    ],
)
def test_what_the_parser_takes_is_not_told(repo: Path, words: str) -> None:
    assert told(repo, words) == []


def test_an_argument_that_a_script_needs_is_told(repo: Path) -> None:
    script = "networks/resize_lora.py"
    assert told(repo, "", script)[0][0] == f"{script} needs --save_to"
    assert told(repo, "--save x", script) == []


# ---- plans ----


def plan(
    repo: Path, script: str, command: str = "", preset: Path | None = None, *, network: bool = True
) -> Plan:
    """``network``: whether a script for adapters is told which."""
    if network and "train_network" in script:
        command += " --network_module networks.lora"
    workdir = repo.parent
    defaults = Defaults(
        "noob-gren-v1s4",
        workdir / "config.toml",
        False,
        workdir / "prompts.txt",
        workdir,
        preset,
        script,
        repo,
    )
    none = Arguments({})
    return SdScripts().plan(none, from_words(command.split()), defaults, own_script=False)


def given_names(made: Plan) -> list[str]:
    copies = Copies("/out/config.toml", "/out/p.txt" if made.prompts else None, "/out", {})
    words = SdScripts().words(made, Path("/work"), Job(copies, 4, "stamp"))
    return list(from_words(words).options)


def test_a_script_gets_what_it_takes(repo: Path) -> None:
    assert given_names(plan(repo, "train_network.py")) == [
        *(
            "network_module",
            "dataset_config",
            "output_dir",
            "output_name",
            "sample_prompts",
            "max_train_steps",
        ),
        "training_comment",
    ]
    made = plan(repo, "fine_tune.py")
    assert given_names(made)[-1] == "max_train_steps"
    (warning,) = made.warnings
    assert warning.startswith("fine_tune.py takes no --training_comment")


def test_a_script_that_takes_no_prompts_has_none_on_record(repo: Path) -> None:
    path = repo / "library" / "train_util.py"
    path.write_text(path.read_text().replace("sample_prompts", "samples"))
    made = plan(repo, "train_network.py")
    assert made.prompts is None
    assert "sample_prompts" not in given_names(made)


def test_a_script_that_is_not_understood_gets_everything(repo: Path) -> None:
    for script in ("odd.py", "main_train.py"):
        made = plan(repo, script, "--learing_rate 1")
        assert (made.findings, made.takes) == ((), None)
        assert "training_comment" in given_names(made)
        assert made.prompts is not None


def test_a_tool_trains_nothing(repo: Path) -> None:
    (finding,) = plan(repo, "networks/resize_lora.py", "--save_to x").findings
    assert finding.problem.startswith("networks/resize_lora.py trains nothing")
    (finding,) = plan(repo, "library/train_util.py").findings
    assert finding.problem == "library/train_util.py trains nothing: it is a module of the trainer"
    (repo / "gen_img.py").write_text(
        FILES["fine_tune.py"].replace("train_util.add_training_arguments(parser, False)", "pass")
    )
    (finding,) = plan(repo, "gen_img.py").findings
    assert finding.problem.startswith("gen_img.py trains nothing")


def test_a_script_in_a_folder_of_tools_that_saves_models_trains(repo: Path) -> None:
    (repo / "tools").mkdir()
    script = repo / "tools" / "mine.py"
    script.write_text(FILES["fine_tune.py"])
    (finding,) = plan(repo, "tools/mine.py").findings  # as cache_latents.py
    assert finding.problem.startswith("tools/mine.py trains nothing")
    saving = '    parser.add_argument("--save_model_as")\n    return parser'
    script.write_text(FILES["fine_tune.py"].replace("    return parser", saving))
    assert plan(repo, "tools/mine.py").findings == ()


def test_the_script_that_takes_an_option_is_found_in_the_repository(repo: Path) -> None:
    (finding,) = plan(repo, "train_network.py", "--train_text_encoder").findings
    assert (finding.hint or "").startswith("fine_tune.py takes it")
    # The one for the same kind of base model first.
    (repo / "anima_train_network.py").write_text(FILES["sdxl_train_network.py"])
    (finding,) = plan(repo, "fine_tune.py", "--network_dim 4").findings
    assert (finding.hint or "").startswith("train_network.py takes it")


@pytest.mark.parametrize("function", ["parse_args", "main"])
def test_a_tool_that_parses_in_a_function_of_its_own_trains_nothing(
    repo: Path, function: str
) -> None:
    (repo / "minimal_inference.py").write_text(
        f"import argparse\ndef {function}():\n    parser = argparse.ArgumentParser()\n"
        "    parser.add_argument('--prompt')\n    return parser.parse_args()\n"
        f"if __name__ == '__main__':\n    args = {function}()\n"
    )
    (finding,) = plan(repo, "minimal_inference.py").findings
    assert finding.problem.startswith("minimal_inference.py trains nothing")


def test_a_script_for_adapters_that_is_not_told_which_is_warned_of(repo: Path) -> None:
    (warning,) = plan(repo, "train_network.py", network=False).warnings
    assert warning == (
        "train_network.py is given no --network_module, which tells it what to train"
    )
    (repo.parent / "gui.toml").write_text('network_module = "networks.lora"\n')
    filed = plan(repo, "train_network.py", "--config_file gui.toml", network=False)
    assert filed.warnings == ()


def test_keys_of_a_config_file_that_are_no_options_are_warned_of(repo: Path) -> None:
    (repo.parent / "gui.toml").write_text('learing_rate = 1e-4\nclass_tokens = "zqx"\n')
    made = plan(repo, "train_network.py", "--config_file gui.toml")
    assert made.findings == ()
    (warning,) = made.warnings
    assert warning == (
        "1 key in the config file is not an option of train_network.py, which does not read it: "
        "learing_rate (is learning_rate meant?)"
    )
    (repo.parent / "gui.toml").write_text("epoch = 1\nnoise_offset_type = 'x'\n")
    made = plan(repo, "train_network.py", "--config_file gui.toml")
    assert made.warnings[0].startswith("2 keys in the config file are no options of")


def test_telling_values_that_nobody_gave_are_the_scripts_own(repo: Path) -> None:
    assert plan(repo, "train_network.py").defaults == {"learning_rate": ("2e-06",)}
    assert plan(repo, "train_network.py", "--learning_rate 1").defaults == {}


def test_a_preset_for_another_kind_of_model_is_told(repo: Path) -> None:
    preset = repo.parent / "p.json"
    preset.write_text('{"sdxl": true, "network_dim": 4}')
    (finding,) = plan(repo, "train_network.py", preset=preset).findings
    assert finding.problem == (
        "the preset is for sdxl_train_network.py, and trainer.script is train_network.py"
    )
    assert plan(repo, "sdxl_train_network.py", preset=preset).findings == ()
    preset.write_text('{"network_dim": 4}')
    assert plan(repo, "sdxl_train_network.py", preset=preset).findings == ()


# ---- what kind of model a script is for ----


def weights(path: Path, *tensors: str) -> Path:
    """A safetensors file with tensors of these names, which hold nothing."""
    table = {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in tensors}
    header = json.dumps(table).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


@pytest.mark.parametrize(
    ("tensor", "name", "script", "side"),
    [
        ("conditioner.embedders.1.model.ln_final.bias", "SDXL", "sdxl_train_network.py", 1024),
        ("cond_stage_model.transformer.x", "SD 1", "train_network.py", 512),
        ("cond_stage_model.model.ln_final.bias", "SD 2", "train_network.py", 512),
        ("double_blocks.0.img_attn.qkv.weight", "FLUX", "flux_train_network.py", 1024),
        ("model.diffusion_model.joint_blocks.0.x", "SD3", "sd3_train_network.py", 1024),
        ("context_refiner.0.x", "Lumina", "lumina_train_network.py", 1024),
    ],
)
def test_a_base_model_is_known_by_its_tensors(
    tmp_path: Path, tensor: str, name: str, script: str, side: int
) -> None:
    file = weights(tmp_path / "m.safetensors", "first_stage_model.x", tensor)
    assert SdScripts().family(file) == (name, script, side)


def test_other_files_are_of_no_known_kind(tmp_path: Path) -> None:
    hunyuan = weights(tmp_path / "h.safetensors", "double_blocks.0.x", "byt5_in.layernorm.bias")
    family = SdScripts().family(hunyuan)
    assert family is not None
    assert family.name == "HunyuanImage"
    assert SdScripts().family(weights(tmp_path / "l.safetensors", "lora_unet_x.alpha")) is None
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 99)
    assert SdScripts().family(tmp_path / "broken.safetensors") is None
    assert SdScripts().family(weights(tmp_path / "m.ckpt", "double_blocks.0")) is None
    assert SdScripts().family(tmp_path / "none.safetensors") is None


def test_a_base_model_of_another_kind_than_the_script_is_told(repo: Path) -> None:
    weights(repo.parent / "sd15.safetensors", "cond_stage_model.transformer.x")
    words = "--pretrained_model_name_or_path sd15.safetensors"
    (finding,) = plan(repo, "sdxl_train_network.py", words).findings
    assert finding.problem == (
        "the base model sd15.safetensors is of the kind SD 1, and sdxl_train_network.py trains "
        "another"
    )
    for script in ("train_network.py", "fine_tune.py"):
        assert [f for f in plan(repo, script, words).findings if "kind" in f.problem] == []


def test_pairs_that_the_trainer_cannot_take_apart_are_told(repo: Path) -> None:
    words = "--network_args conv_dim=4 preset=a=b conv_alpha --optimizer_args x=1 y=2=3"
    found = plan(repo, "train_network.py", words).findings
    assert [finding.problem for finding in found] == [
        "--network_args 'conv_alpha' is not in the form KEY=VALUE",
        "--optimizer_args 'y=2=3' is not in the form KEY=VALUE",
    ]


@pytest.mark.parametrize(
    ("suffix", "content", "told"),
    [
        (".json", ["a", {"prompt": "b"}], None),
        (".json", {"prompt": 1}, "are no list of prompts"),
        (".json", [1], "are no list of prompts"),
        (".toml", {"prompt": {"width": 64, "subset": [{"prompt": "a"}]}}, None),
        (".toml", {"promp": {}}, "have no prompt.subset"),
        (".toml", {"prompt": {"subset": [1]}}, "have a prompt.subset that is no table"),
        (".toml", {"prompt": {"seed": 1, "subset": [{"seed": 2}]}}, "say seed in [prompt] and in"),
    ],
)
def test_sample_prompts_that_would_stop_the_trainer_are_told(
    suffix: str, content: object, told: str | None
) -> None:
    problem = SdScripts().prompts_problem(suffix, content)
    assert (problem is None) == (told is None)
    assert (problem or "").startswith(told or "")
