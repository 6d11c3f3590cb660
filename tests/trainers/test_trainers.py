"""A trainer's arguments: read, merged, written out again, and a script that gives them to it word
for word."""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loragit.trainers.arguments import (
    Arguments,
    BadArgument,
    Value,
    from_settings,
    from_words,
    option,
    refuse_leading,
    refuse_short_forms,
)
from loragit.trainers.losses import LogFolders
from loragit.trainers.sd_scripts import arguments
from loragit.trainers.sd_scripts.arguments import plan, words
from loragit.trainers.sd_scripts.sources import Given, config_file, flattened
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.start import Start
from loragit.trainers.train_sh import HERE, OUTPUT, train_script
from loragit.trainers.trainer import Copies, Defaults, Job, Plan

WORK = Path("/srv/sd-scripts")
DEFAULTS = Defaults(
    "noob-gren-v1s4", Path("/data/config.toml"), False, Path("/data/prompts.txt"), WORK
)
NONE = Arguments({})

WORD = st.text(max_size=10).filter(lambda t: "\0" not in t) | st.binary(max_size=6).map(
    os.fsdecode
).filter(lambda t: "\0" not in t)


# ---- arguments ----


@pytest.mark.parametrize(
    ("given", "options", "leading"),
    [
        ("", {}, ()),
        ("--a 1 --b", {"a": ("1",), "b": ()}, ()),
        ("--a=1 --b x y", {"a": ("1",), "b": ("x", "y")}, ()),
        ("--a=x=y", {"a": ("x=y",)}, ()),
        ("--a=", {"a": ("",)}, ()),
        ("--a -1 -- -2", {"a": ("-1", "--", "-2")}, ()),
        ("x y --a", {"a": ()}, ("x", "y")),
        ("--a 1 --b --a 2", {"b": (), "a": ("2",)}, ()),
    ],
)
def test_a_command_line_is_read_as_argparse_does(
    given: str, options: dict[str, tuple[str, ...]], leading: tuple[str, ...]
) -> None:
    read = from_words(given.split())
    assert (dict(read.options), read.leading) == (options, leading)
    assert list(read.options) == list(options)


@given(st.lists(WORD | st.sampled_from(["--a", "--b=", "--a=1", "--c=-x", "-1", "--"]), max_size=8))
def test_what_was_read_is_written_so_that_it_reads_the_same(given: list[str]) -> None:
    read = from_words(word for word in given if not word.startswith("--="))
    assert from_words(read.words()) == read


@given(
    st.text(max_size=6),
    st.lists(st.text(max_size=4).filter(lambda t: not t.startswith("-")), min_size=2),
)
@example("-1e-4", ["a", "b"])
@example("--b", ["", ""])
def test_argparse_reads_what_is_written(one: str, several: list[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    for name, count in (("one", None), ("several", "*")):
        parser.add_argument(f"--{name}", nargs=count)
    parser.add_argument("--flag", action="store_true")
    written = Arguments({"one": (one,), "flag": (), "several": tuple(several)}).words()
    assert vars(parser.parse_args(written)) == {"one": one, "flag": True, "several": several}


def test_arguments_are_merged_without_giving_any_twice() -> None:
    base = Arguments({"a": ("1",), "b": ("2",), "c": ()}, ("x",))
    merged = base.updated(Arguments({"b": ("3", "4"), "d": ("5",)}, ("y",)))
    assert merged.words() == ("x", "y", "--a", "1", "--b", "3", "4", "--c", "--d", "5")
    assert merged.without("a", "c", "nothing").words() == ("x", "y", "--b", "3", "4", "--d", "5")
    assert (merged.one("a"), merged.one("b"), merged.one("c"), merged.one("nothing")) == (
        "1",
        "4",
        None,
        None,
    )


def test_a_value_that_begins_with_a_dash_stays_a_value() -> None:
    assert option("a") == ("--a",)
    assert option("a", "-1") == ("--a=-1",)
    assert option("a", "-1", "2") == ("--a", "-1", "2")
    assert option("a", "x") == ("--a", "x")


def test_settings_become_arguments() -> None:
    table: tuple[tuple[str, Value], ...] = (
        ("learning_rate", 1e-05),
        ("network_dim", 8),
        ("gradient_checkpointing", True),
        ("cache_latents", False),
        ("network_args", ("algo=lokr", "preset=~/p.toml", "~/x", 4, 0.5)),
        ("vae", "~/vae.safetensors"),
        ("tilde", "~ada/x"),
    )
    assert from_settings(table, "/home/ada").words() == (
        *("--learning_rate", "1e-05", "--network_dim", "8", "--gradient_checkpointing"),
        *("--network_args", "algo=lokr", "preset=~/p.toml", "/home/ada/x", "4", "0.5"),
        *("--vae", "/home/ada/vae.safetensors", "--tilde", "~ada/x"),
    )
    assert from_settings((("vae", "~/x"),), "").words() == ("--vae", "~/x")


def test_a_beginning_of_a_managed_option_is_not_missed() -> None:
    with pytest.raises(BadArgument, match="--output_di is short for --output_dir") as refused:
        refuse_short_forms(from_words(["--output_di", "x"]), arguments.MANAGED)
    assert refused.value.hint == "write --output_dir out"
    assert refused.value.exit_status == 2
    refuse_short_forms(
        from_words(["--output_dir", "x", "--seed", "1", "--max_train_epochs", "2"]),
        arguments.MANAGED,
    )


def test_words_before_the_first_option_are_refused() -> None:
    with pytest.raises(BadArgument, match="'seed' is not an option"):
        refuse_leading(from_words(["seed", "7"]))
    refuse_leading(from_words(["--seed", "7"]))


# ---- what sd-scripts means by them ----


def read(*given: str, filed: Arguments = NONE, defaults: Defaults = DEFAULTS) -> Plan:
    passed = from_words(given)
    return plan(Given(passed, filed, filed.updated(passed), frozenset(passed.options)), defaults)


def test_without_arguments_the_defaults_hold() -> None:
    told = read()
    assert told.arguments.words() == ()
    assert told.output_name == "noob-gren-v1s4"
    assert (told.config, told.prompts) == (Path("/data/config.toml"), Path("/data/prompts.txt"))
    assert (told.output, told.steps, told.epochs, told.logs, told.network_module) == (None,) * 5
    assert (told.weights, told.inputs, told.warnings) == ((), (), ())


def test_an_output_name_is_a_files_name() -> None:
    with pytest.raises(BadArgument, match="holds a '/'"):
        read("--output_name", "a/b")


def test_arguments_that_name_managed_things_are_understood() -> None:
    told = read(
        *(
            "--dataset_config",
            "c.toml",
            "--sample_prompts=/p.txt",
            "--output_dir",
            "out",
            "--output_name",
            "lamp",
        ),
        *(
            "--max_train_steps",
            "7",
            "--training_comment",
            "by moonlight",
            "--seed",
            "1",
            "--logging_dir",
            "logs",
        ),
        *("--log_prefix", "x_", "--network_module", "lycoris.kohya", "--max_train_epochs", "3"),
    )
    assert told.config == WORK / "c.toml"
    assert told.prompts == Path("/p.txt")
    assert told.output == WORK / "out"
    assert (told.output_name, told.steps, told.epochs) == ("lamp", 7, "3")
    assert told.logs == LogFolders(WORK / "logs", "x_")
    assert told.network_module == "lycoris.kohya"
    assert list(told.arguments.options) == [
        "seed",
        "logging_dir",
        "log_prefix",
        "network_module",
        "max_train_epochs",
    ]


@pytest.mark.parametrize("steps", ["0", "-1", "1.5", "many", "", "٣"])
def test_steps_that_are_none_are_refused(steps: str) -> None:
    with pytest.raises(BadArgument, match="is no number of steps") as refused:
        read(f"--max_train_steps={steps}")
    assert refused.value.hint == "for example --max_train_steps 512"


def test_a_config_file_is_found_as_sd_scripts_finds_it() -> None:
    assert config_file(NONE, WORK) is None
    assert config_file(from_words(["--config_file"]), WORK) is None
    assert config_file(from_words(["--config_file", "a"]), WORK) == WORK / "a.toml"
    assert config_file(from_words(["--config_file", "a.v2"]), WORK) == WORK / "a.v2.toml"
    assert config_file(from_words(["--config_file=/x/a.toml"]), WORK) == Path("/x/a.toml")


def test_a_config_files_values_are_arguments_whatever_their_section() -> None:
    filed = flattened(
        {
            "seed": 7,
            "training": {
                "learning_rate": 1e-4,
                "cache_latents": True,
                "lowram": False,
                "deep": {"x": "y"},
            },
            "network": {"network_args": ["algo=lokr", 4]},
        }
    )
    assert filed.words() == (
        *("--seed", "7", "--learning_rate", "0.0001", "--cache_latents"),
        *("--network_args", "algo=lokr", "4"),
    )


def test_the_command_line_overrides_a_config_file_and_is_all_that_is_passed_on() -> None:
    filed = flattened(
        {
            "output_name": "lamp",
            "logging_dir": "logs",
            "vae": "a.pt",
            "max_train_epochs": 2,
            "seed": 1,
        }
    )
    told = read("--config_file", "args", "--vae", "b.pt", filed=filed)
    assert (told.output_name, told.epochs) == ("lamp", "2")
    assert told.logs == LogFolders(WORK / "logs", "noob-gren-v1s4_")
    assert [(each.role, each.value) for each in told.weights] == [("VAE", "b.pt")]
    assert told.arguments.words() == ("--config_file", "args", "--vae", "b.pt")
    assert told.inputs == (("config_file", WORK / "args.toml"),)
    # Neither folder nor steps of a file for many runs are this run's.
    assert read(filed=flattened({"output_dir": "/x", "max_train_steps": 9})).output is None
    assert read(filed=flattened({"output_dir": "/x", "max_train_steps": 9})).steps is None


def test_weights_are_told_by_role_each_of_several() -> None:
    told = read(
        "--base_weights",
        "a.pt",
        "b.pt",
        "--pretrained_model_name_or_path",
        "owner/m",
        "--resume",
        "--ae=",
    )
    assert [(each.role, each.value) for each in told.weights] == [
        ("Base-Model", "owner/m"),
        ("Base-Weights", "a.pt"),
        ("Base-Weights", "b.pt"),
    ]


def test_further_inputs_are_the_files_that_arguments_name() -> None:
    told = read(
        *("--in_json", "meta.json", "--log_tracker_config", "/t.toml"),
        *("--network_args", "algo=lokr", "preset=full", "preset=p.toml", "x"),
    )
    assert told.inputs == (
        ("log_tracker_config", Path("/t.toml")),
        ("in_json", WORK / "meta.json"),
        ("network_args", WORK / "p.toml"),
    )


# ---- the words that start it ----


def job(told: Plan, steps: int, stamp: str, folder: str = "/out") -> Job:
    inputs = {path: f"{folder}/inputs/{path.name}" for _, path in told.inputs}
    made = Copies(f"{folder}/config.toml", f"{folder}/prompts.txt", folder, inputs)
    return Job(made, steps, stamp)


def test_the_trainer_is_given_the_users_arguments_and_then_ours() -> None:
    told = read("--seed", "7", "--max_train_steps", "9")
    assert words(told, WORK, job(told, 9, "loragit: x")) == (
        *("--seed", "7", "--dataset_config", "/out/config.toml", "--output_dir", "/out"),
        *(
            "--output_name",
            "noob-gren-v1s4",
            "--sample_prompts",
            "/out/prompts.txt",
            "--max_train_steps",
            "9",
        ),
        *("--training_comment", "loragit: x"),
    )


def test_what_is_not_there_is_not_given() -> None:
    told = read("--max_train_epochs", "3")
    wanted = job(told, 9, "c")
    wanted = wanted._replace(copies=wanted.copies._replace(prompts=None))
    given = words(told, WORK, wanted)
    assert "--sample_prompts" not in given
    assert "--max_train_steps" not in given
    assert "--log_prefix" not in given


def test_logs_get_a_prefix_of_their_own_unless_one_is_given() -> None:
    told = read("--logging_dir", "logs")
    assert ("--log_prefix", "noob-gren-v1s4_") in pairs(words(told, WORK, job(told, 9, "c")))
    told = read("--logging_dir", "logs", "--log_prefix", "mine")
    assert [
        pair for pair in pairs(words(told, WORK, job(told, 9, "c"))) if pair[0] == "--log_prefix"
    ] == [("--log_prefix", "mine")]


def pairs(given: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(given))


def test_inputs_are_given_as_their_copies() -> None:
    told = read(
        *("--config_file", "args", "--in_json", "m.json", "--training_comment", "mine"),
        *("--network_args", "algo=lokr", "preset=p.toml", "preset=full", "preset=/else/p.toml"),
        filed=flattened({"log_tracker_config": "n.toml"}),
    )
    given = words(told, WORK, job(told, 9, "loragit: x"))
    assert ("--config_file", "/out/inputs/args.toml") in pairs(given)
    assert ("--in_json", "/out/inputs/m.json") in pairs(given)
    assert ("--training_comment", "mine (loragit: x)") in pairs(given)
    at = given.index("--network_args")
    assert given[at + 1 : at + 5] == (
        *("algo=lokr", "preset=/out/inputs/p.toml", "preset=full", "preset=/out/inputs/p.toml"),
    )
    assert ("--log_tracker_config", "/out/inputs/n.toml") in pairs(given)


def test_files_that_a_config_file_names_are_given_as_their_copies_too() -> None:
    told = read(
        filed=flattened({"network_args": ["preset=p.toml", "x=1"], "log_tracker_config": "t"})
    )
    assert told.inputs == (("log_tracker_config", WORK / "t"), ("network_args", WORK / "p.toml"))
    given = words(told, WORK, job(told, 9, "c"))
    assert ("--log_tracker_config", "/out/inputs/t") in pairs(given)
    at = given.index("--network_args")
    assert given[at + 1 : at + 3] == ("preset=/out/inputs/p.toml", "x=1")


# ---- the script ----

ECHO = ("sh", "-c", 'printf \'%s\\0\' "$PWD" "$@"', "sh")


def run_script(script: bytes, folder: Path, **environ: str) -> list[str]:
    """The folder it works in and the words that the script gives the program, which prints them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.sh"
    path.write_bytes(script)
    done = subprocess.run(
        ["sh", path], cwd="/", env={**os.environ, **environ}, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stderr, script)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(WORD, max_size=12), st.text("/ab ~.-$'\n", max_size=6))
@example(
    [
        "it's=$HOME",
        "$(x)",
        "`x`",
        "a\\",
        "\n",
        "",
        "~",
        "--",
        "-n",
        "*",
        "{HOME}/x",
        "x{HOME}",
        "a:{HOME}",
    ],
    " h'o",
)
def test_words_of_any_kind_reach_the_trainer_as_they_are(
    tmp_path: Path, given: list[str], name: str
) -> None:
    home = f"{tmp_path}/ho me{name.rstrip('/')}"
    Path(home).mkdir(parents=True, exist_ok=True)
    given = [word.replace("{HOME}", home) for word in given]
    script = train_script("noob-gren-v1s4", home, (*ECHO, *given), home, lambda _: None)
    # "$PWD" is the folder as cd was given it, but for what cd itself puts in order.
    workdir, *got = run_script(script, tmp_path / "s", HOME=home)
    assert os.path.samefile(workdir, home)
    assert got == given


def test_the_folders_of_a_script_are_its_own_wherever_it_lies(tmp_path: Path) -> None:
    given = (f"{HERE}/config.toml", OUTPUT, f"preset={HERE}/inputs/p.toml", f"--x={OUTPUT}/y")
    script = train_script(
        "noob-gren-v1s4", str(tmp_path), (*ECHO, *given), "/home/ada", lambda _: None
    )
    here = tmp_path / 'it\'s a "copy" $HOME'
    assert run_script(script, here) == [
        *(
            str(tmp_path),
            f"{here}/config.toml",
            str(here),
            f"preset={here}/inputs/p.toml",
            f"--x={here}/y",
        ),
    ]
    assert run_script(script, here, OUTPUT_DIR="/else where")[2] == "/else where"
    assert run_script(script, here, CDPATH="/")[1] == f"{here}/config.toml"


def test_paths_in_the_home_folder_are_those_of_whoever_runs_the_script(tmp_path: Path) -> None:
    words_given = ("/home/ada/x", "a=/home/ada", "/home/adam", "/mnt/home/ada")
    script = train_script("noob-gren-v1s4", "/", (*ECHO, *words_given), "/home/ada", lambda _: None)
    assert run_script(script, tmp_path / "s", HOME="/users/b b")[1:] == [
        *("/users/b b/x", "a=/users/b b", "/home/adam", "/mnt/home/ada"),
    ]
    assert b"/home/ada/" not in script
    assert train_script("n", "/", ("/home/ada",), "", lambda _: None).endswith(b"exec /home/ada\n")


def test_an_option_and_its_values_stand_on_one_line() -> None:
    script = train_script(
        "n", "/", ("python", "t.py", "--a", "1", "2", "--b", "--c=3"), "", lambda _: None
    )
    assert script.decode().split("exec ")[1] == "python t.py \\\n  --a 1 2 \\\n  --b \\\n  --c=3\n"


def test_a_secret_is_read_from_the_environment_and_asked_for_where_it_is_missing(
    tmp_path: Path,
) -> None:
    given = (*ECHO, "--key", "s3cret", "--token=s3cret")
    script = train_script("n", "/", given, "", lambda at: "MY_KEY" if at in (5, 6) else None)
    assert b"s3cret" not in script
    assert run_script(script, tmp_path, MY_KEY="a b")[1:] == ["--key", "a b", "--token=a b"]
    done = subprocess.run(
        ["sh", tmp_path / "train.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "MY_KEY" in done.stderr


# ---- a start, told three ways ----


def a_start(*given: str, filed: Arguments = NONE) -> Start:
    told = read(*given, filed=filed)
    return Start(
        name="noob-gren-v1s4",
        program=("/home/ada/venv/bin/python", str(WORK / "train.py")),
        trainer=SdScripts(),
        plan=told,
        workdir=Path("/home/ada/sd-scripts"),
        output=Path("/home/ada/out"),
        steps=4,
        config="config.toml",
        prompts=None,
        inputs={path: f"inputs/{path.name}" for _, path in told.inputs},
        home="/home/ada",
    )


def test_the_real_command_names_the_commit_and_the_recorded_one_does_not() -> None:
    start = a_start("--in_json", "m.json")
    assert start.words("abc") == (
        *(
            "/home/ada/venv/bin/python",
            "/srv/sd-scripts/train.py",
            "--in_json",
            "/home/ada/out/inputs/m.json",
        ),
        *("--dataset_config", "/home/ada/out/config.toml", "--output_dir", "/home/ada/out"),
        *("--output_name", "noob-gren-v1s4", "--max_train_steps", "4"),
        *("--training_comment", "loragit: noob-gren-v1s4 abc"),
    )
    assert start.recorded() == (
        *("~/venv/bin/python", "/srv/sd-scripts/train.py", "--in_json", "~/out/inputs/m.json"),
        *("--dataset_config", "~/out/config.toml", "--output_dir", "~/out"),
        *("--output_name", "noob-gren-v1s4", "--max_train_steps", "4"),
        *("--training_comment", "loragit: noob-gren-v1s4"),
    )


def test_the_arguments_for_the_record_are_those_that_count_wherever_they_come_from() -> None:
    filed = Arguments(
        {
            "learning_rate": ("5e-5",),
            "network_dim": ("4",),
            "max_train_steps": ("512",),
            "output_name": ("gui",),
            "in_json": ("m.json",),
            "vae": ("/home/ada/v.pt",),
            "wandb_api_key": ("--odd",),
            "xformers": (),
        }
    )
    start = a_start(
        *("--config_file", "gui", "--network_dim", "8", "--log_prefix", "x", "--seed=-1"),
        *("--network_args", "algo=lokr", "preset=p.toml", "--text_encoder_lr", "1e-4", "2e-5"),
        filed=filed,
    )._replace(workdir=WORK)
    assert dict(start.arguments()) == {
        "learning_rate": ("5e-5",),
        "network_dim": ("8",),
        "max_train_steps": ("4",),
        "in_json": ("inputs/m.json",),
        "vae": ("~/v.pt",),
        "wandb_api_key": ("***",),
        "xformers": (),
        "seed": ("-1",),
        "network_args": ("algo=lokr", "preset=inputs/p.toml"),
        "text_encoder_lr": ("1e-4", "2e-5"),
    }
    assert not start._replace(own=("--seed", "1")).arguments()


def test_steps_that_epochs_beat_are_no_arguments_of_the_record() -> None:
    filed = Arguments({"max_train_epochs": ("3",), "max_train_steps": ("1600",)})
    assert dict(a_start(filed=filed).arguments()) == {"max_train_epochs": ("3",)}


def test_a_secret_is_in_the_real_command_alone() -> None:
    for secret in (
        ("--wandb_api_key", "0123456789"),
        ("--wandb_api_key=0123456789",),
        ("--wandb_api_key=-123456789",),
    ):
        start = a_start(*secret, "--log_config", "x 0123456789 -123456789")
        value = secret[-1].partition("=")[2] or secret[-1]
        assert any(word.endswith(value) for word in start.words("abc"))
        assert not any(value in word for word in start.recorded())
        script = start.script().decode()
        assert value not in script
        assert '"${WANDB_API_KEY:?}"' in script


@pytest.mark.parametrize(
    "name", ["wandb_api_key", "2nd_api_key", "été_api_key", "my-api-key", "api_key"]
)
def test_a_secret_of_any_name_has_a_variable_that_a_shell_takes(name: str, tmp_path: Path) -> None:
    script = a_start(f"--{name}", "0123456789abcdef").script()
    assert b"0123456789abcdef" not in script
    (tmp_path / "train.sh").write_bytes(
        script.replace(b"\ncd -- ", b"\n: ").replace(b"\nexec ", b"\nexec echo ")
    )
    done = subprocess.run(
        ["sh", tmp_path / "train.sh"], capture_output=True, text=True, check=False
    )
    assert "not set" in done.stderr, done.stderr


def test_a_secret_program_word_has_a_variable_too() -> None:
    """As in a launcher that is given a token."""
    start = a_start()._replace(program=("launch", "hf_" + "a" * 34, "train.py"))
    assert b"hf_a" not in start.script()
    assert b'"${SECRET:?}"' in start.script()
