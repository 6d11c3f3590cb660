"""Settings: which layer counts, what a path is relative to, which folder a name means, and every
refusal."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from platformdirs import user_config_dir

from loragit.commands.settings import effective, json_value, show
from loragit.errors import LoragitError, UsageError
from loragit.record.name import InvalidName, RunName
from loragit.secrets.rules import is_secret_name
from loragit.settings.document import MAX_BYTES, UnreadableSettings
from loragit.settings.load import load_settings
from loragit.settings.paths import DatasetAmbiguous, DatasetNotFound
from loragit.settings.schema import SCHEMA, VARIABLES, UnknownSetting, WrongSetting
from loragit.settings.toml_text import toml_literal
from loragit.settings.values import Flags, SettingOrigin, Settings

NAME = "noob-gren-v2s512"


@dataclass(frozen=True)
class Ground:
    """A home folder with a dataset ``gren`` in it, and a current folder elsewhere."""

    home: Path
    dataset: Path
    cwd: Path

    def load(
        self,
        name: str | None = NAME,
        flags: Flags = Flags(),  # noqa: B008 - frozen
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        **variables: str,
    ) -> Settings:
        asked = None if name is None else RunName.parse(name)
        given = {"HOME": str(self.home), **(environ or {}), **variables}
        return load_settings(name=asked, flags=flags, environ=given, cwd=cwd or self.cwd)

    def write(self, text: str) -> Path:
        """The dataset's own settings."""
        (self.dataset / "loragit.toml").write_text(text)
        return self.dataset / "loragit.toml"

    def write_user(self, text: str) -> Path:
        """The user's settings."""
        file = Path(user_config_dir("loragit"), "loragit.toml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file


@pytest.fixture
def ground(home: Path, tmp_path: Path) -> Ground:
    dataset = home / "datasets/gren"
    dataset.mkdir(parents=True)
    return Ground(home, dataset, tmp_path)


def origin(settings: Settings, key: str) -> SettingOrigin:
    (found,) = [each for each in settings.origins if each.key == key]
    return found


def source(settings: Settings, key: str) -> str:
    return origin(settings, key).source


# Defaults and precedence


def test_without_any_settings_the_helpers_defaults_hold(ground: Ground) -> None:
    settings = ground.load()
    trainer = settings.trainer
    assert trainer.kind == "sd-scripts"
    assert trainer.repo == ground.home / "source/repos/sd-scripts"
    assert trainer.script == "sdxl_train_network.py"
    assert (trainer.python, trainer.env, trainer.launcher, trainer.lycoris_repo) == (
        None,
        None,
        (),
        None,
    )
    assert (trainer.workdir, trainer.stop_timeout, trainer.args) == ("trainer", 30.0, ())
    assert settings.paths.datasets == ground.home / "datasets"
    assert settings.paths.output == ground.home / "output_dir"
    assert settings.paths.config == ground.dataset / "config.toml"
    assert settings.paths.prompts == ground.dataset / "sample-prompts.txt"
    assert (settings.record.on_empty, settings.record.allow_dirty, settings.record.inputs) == (
        "revert",
        False,
        (),
    )
    assert (settings.dataset_dir, settings.dataset) == (ground.dataset, "gren")
    assert settings.output_dir == ground.home / "output_dir" / NAME
    assert (settings.steps, settings.debug) == (512, False)
    assert {each.source for each in settings.origins} == {"default", "name"}
    assert settings.from_dataset == ()


def test_flags_beat_the_environment_beats_the_dataset_beats_the_user(ground: Ground) -> None:
    user = ground.write_user('[record]\non_empty = "delete-tag"\n')
    assert source(ground.load(), "record.on_empty") == str(user)
    assert ground.load().record.on_empty == "delete-tag"
    own = ground.write('[record]\non_empty = "revert"\n')
    assert source(ground.load(), "record.on_empty") == str(own)
    settings = ground.load(NO_CLEAN="1")
    assert (settings.record.on_empty, source(settings, "record.on_empty")) == ("keep", "NO_CLEAN")
    settings = ground.load(NO_CLEAN="1", LORAGIT_RECORD_ON_EMPTY="delete-tag")
    assert source(settings, "record.on_empty") == "LORAGIT_RECORD_ON_EMPTY"
    settings = ground.load(
        flags=Flags(on_empty="revert"), NO_CLEAN="1", LORAGIT_RECORD_ON_EMPTY="keep"
    )
    assert (settings.record.on_empty, source(settings, "record.on_empty")) == (
        "revert",
        "--on-empty",
    )


def test_a_models_table_overrides_its_own_file_and_lower_files_only(ground: Ground) -> None:
    ground.write_user(
        '[trainer]\nscript = "a.py"\nstop_timeout = 1\n[models.noob]\nscript = '
        '"b.py"\nstop_timeout = 2\n'
    )
    assert ground.load().trainer.script == "b.py"
    ground.write('[trainer]\nscript = "c.py"\n[models.other]\nscript = "d.py"\n')
    trainer = ground.load().trainer
    assert (trainer.script, trainer.stop_timeout) == ("c.py", 2.0)
    assert ground.load("other-gren-v1s1").trainer.script == "d.py"
    assert ground.load(None, cwd=ground.dataset).trainer.stop_timeout == 1.0


def test_arguments_merge_key_by_key_and_keep_the_order_in_which_they_came(ground: Ground) -> None:
    ground.write_user("[trainer.args]\nzeta = 1\nalpha = true\nmid = [1, 2.5, 'x']\n")
    ground.write(
        "[trainer.args]\nnew = 'n'\nzeta = 9\n[models.noob.args]\nalpha = false\nlast = 1e-4\n"
    )
    settings = ground.load()
    assert settings.trainer.args == (
        ("zeta", 9),
        ("alpha", False),
        ("mid", (1, 2.5, "x")),
        ("new", "n"),
        ("last", 0.0001),
    )
    assert [type(value) for _, value in settings.trainer.args] == [int, bool, tuple, str, float]
    keys = [each.key for each in settings.origins]
    assert keys[keys.index("trainer.args.zeta") :][:5] == [
        f"trainer.args.{name}" for name, _ in settings.trainer.args
    ]
    assert (
        keys.index("trainer.stop_timeout")
        < keys.index("trainer.args.zeta")
        < keys.index("paths.datasets")
    )


def test_what_the_dataset_itself_decided_is_told_apart(ground: Ground) -> None:
    ground.write_user('[trainer]\nrepo = "/mine"\n')
    ground.write(
        '[trainer]\npython = "/evil/python"\nargs = { seed = 1 }\n[paths]\noutput = "../out"\n'
    )
    settings = ground.load()
    decided = {each.key for each in settings.from_dataset}
    assert decided == {"trainer.python", "trainer.args.seed", "paths.output", "output_dir"}
    assert settings.output_dir == ground.dataset / "../out" / NAME


# Paths


def test_relative_paths_are_relative_to_the_file_that_holds_them(ground: Ground) -> None:
    user = ground.write_user(
        '[trainer]\nrepo = "trainer"\nlycoris_repo = "ly"\n[record]\ninputs = ["u.toml"]\n'
    )
    settings = ground.load()
    assert settings.trainer.repo == user.parent / "trainer"
    assert settings.trainer.lycoris_repo == user.parent / "ly"
    assert settings.record.inputs == (user.parent / "u.toml",)
    ground.write(
        '[trainer]\nrepo = "../sd"\n[paths]\nconfig = "c/x.toml"\nprompts = "/p.txt"\noutput = '
        '"out"\n'
        '[record]\ninputs = ["more.toml", "~/z"]\n'
    )
    settings = ground.load()
    assert settings.trainer.repo == ground.dataset / "../sd"
    assert settings.paths.config == ground.dataset / "c/x.toml"
    assert settings.paths.prompts == Path("/p.txt")
    assert settings.output_dir == ground.dataset / "out" / NAME
    assert settings.record.inputs == (ground.dataset / "more.toml", ground.home / "z")


def test_the_users_own_file_names_the_config_within_each_dataset(ground: Ground) -> None:
    ground.write_user('[paths]\nconfig = "train.toml"\nprompts = "p.txt"\n')
    paths = ground.load().paths
    assert (paths.config, paths.prompts) == (
        ground.dataset / "train.toml",
        ground.dataset / "p.txt",
    )


def test_variables_and_flags_are_relative_to_the_current_folder(ground: Ground) -> None:
    settings = ground.load(
        SD_REPO="sd",
        LYCORIS_REPO="ly",
        LORAGIT_PATHS_CONFIG="c.toml",
        LORAGIT_PATHS_OUTPUT="o",
        SD_SCRIPT="flux.py",
    )
    assert settings.trainer.repo == ground.cwd / "sd"
    assert settings.trainer.lycoris_repo == ground.cwd / "ly"
    assert settings.paths.config == ground.cwd / "c.toml"
    assert settings.output_dir == ground.cwd / "o" / NAME
    assert settings.trainer.script == "flux.py", "a script is relative to the trainer's repository"
    assert ground.load(flags=Flags(trainer_script="mine.py")).trainer.script == str(
        ground.cwd / "mine.py"
    )
    assert ground.load(flags=Flags(output="here")).output_dir == ground.cwd / "here"


def test_a_tilde_is_the_given_home_and_a_tilde_with_a_name_that_users(ground: Ground) -> None:
    ground.write('[trainer]\nrepo = "~root/sd"\nscript = "~/x.py"\nlycoris_repo = "~"\n')
    trainer = ground.load().trainer
    assert trainer.repo == Path("~root").expanduser() / "sd"
    assert (trainer.script, trainer.lycoris_repo) == (f"{ground.home}/x.py", ground.home)
    ground.write('[trainer]\nrepo = "~//sd"\n')
    assert ground.load().trainer.repo == ground.home / "sd"


def test_without_home_the_password_database_tells_the_home_folder(ground: Ground) -> None:
    settings = load_settings(name=None, flags=Flags(), environ={}, cwd=ground.cwd)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HOME")
        assert settings.paths.datasets == Path("~/datasets").expanduser()


def test_an_unknown_user_is_told_with_the_key_and_the_file(ground: Ground) -> None:
    own = ground.write('[trainer]\nrepo = "~no-such-user-here/x"\n')
    with pytest.raises(WrongSetting) as caught:
        ground.load()
    assert (
        caught.value.message
        == f"trainer.repo ({own}): there is no home folder for ~no-such-user-here"
    )
    assert caught.value.hint == "set HOME, or write the path in full"


def test_prompts_and_optional_keys_can_be_none(ground: Ground) -> None:
    ground.write_user(
        '[trainer]\nlycoris_repo = "/ly"\nlauncher = "accelerate launch"\nenv = "conda:x"\n'
    )
    ground.write('[trainer]\nlycoris_repo = ""\nlauncher = ""\nenv = ""\n[paths]\nprompts = ""\n')
    settings = ground.load()
    assert (settings.trainer.lycoris_repo, settings.trainer.launcher, settings.trainer.env) == (
        None,
        (),
        None,
    )
    assert settings.paths.prompts is None
    assert ground.load(LORAGIT_PATHS_PROMPTS="").paths.prompts is None


def test_an_empty_variable_says_none_where_its_key_can_be_none(ground: Ground) -> None:
    ground.write('[paths]\nprompts = "mine.txt"\nconfig = "mine.toml"\n')
    settings = ground.load(LORAGIT_PATHS_PROMPTS="", LORAGIT_PATHS_CONFIG="")
    assert settings.paths.prompts is None
    assert source(settings, "paths.prompts") == "LORAGIT_PATHS_PROMPTS"
    assert settings.paths.config == ground.dataset / "mine.toml"


def test_a_letter_that_shows_nothing_is_escaped() -> None:
    assert "\u3164".isprintable()
    assert toml_literal("a\u3164b") == '"a\\u3164b"'


def test_a_launcher_is_split_as_a_shell_does_and_its_program_found_from_the_file(
    ground: Ground,
) -> None:
    ground.write("[trainer]\nlauncher = 'accelerate launch --config \"a b.yaml\"'\n")
    assert ground.load().trainer.launcher == ("accelerate", "launch", "--config", "a b.yaml")
    ground.write('[trainer]\nlauncher = ["./bin/launch", "a/b", "c d", ""]\n')
    assert ground.load().trainer.launcher == (str(ground.dataset / "bin/launch"), "a/b", "c d", "")
    assert ground.load(LORAGIT_TRAINER_LAUNCHER="nice -n 5").trainer.launcher == ("nice", "-n", "5")


# The trainer's Python: two ways to say one thing


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("conda:sd", "conda:sd"),
        ("conda:~/envs/sd", "conda:{home}/envs/sd"),
        ("venv:.venv", "venv:{dataset}/.venv"),
        ("venv:/v", "venv:/v"),
        ("bin/python", "{dataset}/bin/python"),
        ("~/v/bin/python3", "{home}/v/bin/python3"),
        ("/a:b/python", "/a:b/python"),
    ],
)
def test_an_environment_is_a_conda_name_a_venv_or_a_path(
    ground: Ground, written: str, expected: str
) -> None:
    ground.write(f'[trainer]\nenv = "{written}"\n')
    assert ground.load().trainer.env == expected.format(home=ground.home, dataset=ground.dataset)


def test_a_python_is_a_command_or_a_path(ground: Ground) -> None:
    ground.write('[trainer]\npython = "python3.11"\n')
    assert ground.load().trainer.python == "python3.11"
    ground.write('[trainer]\npython = "v/bin/python"\n')
    assert ground.load().trainer.python == str(ground.dataset / "v/bin/python")


def test_of_env_and_python_the_later_layer_wins(ground: Ground) -> None:
    user = ground.write_user('[trainer]\nenv = "conda:a"\n')
    own = ground.write('[trainer]\npython = "py"\n')
    settings = ground.load()
    assert (settings.trainer.env, settings.trainer.python) == (None, "py")
    assert source(settings, "trainer.env") == str(own)
    settings = ground.load(LORAGIT_TRAINER_ENV="conda:b")
    assert (settings.trainer.env, settings.trainer.python) == ("conda:b", None)
    ground.write('[models.noob]\nenv = "conda:c"\n[trainer]\npython = "py"\n')
    assert ground.load().trainer.env == "conda:c"
    user.write_text('[trainer]\nenv = "conda:a"\npython = "py"\n')
    assert ground.load().trainer.env == "conda:c", "a lower layer that says both is overridden"
    ground.write('[trainer]\nenv = ""\npython = "py"\n')
    assert ground.load().trainer.python == "py"


def test_env_and_python_in_one_layer_are_refused(ground: Ground) -> None:
    own = ground.write('[trainer]\nenv = "conda:a"\npython = "py"\n')
    with pytest.raises(WrongSetting, match="are both given") as caught:
        ground.load()
    assert str(own) in caught.value.message
    own.unlink()
    with pytest.raises(WrongSetting, match=r"trainer.env \(LORAGIT_TRAINER_ENV\) and"):
        ground.load(LORAGIT_TRAINER_ENV="conda:a", LORAGIT_TRAINER_PYTHON="py")


# The environment


def test_the_helpers_variables_are_honoured(ground: Ground) -> None:
    (ground.cwd / "elsewhere").mkdir()
    settings = ground.load(
        TRAINING_DIR=str(ground.cwd / "elsewhere"),
        OUTPUT_DIR=str(ground.cwd / "exactly-this"),
        STEPS="77",
        SD_REPO="/sd",
        SD_SCRIPT="train.py",
        LYCORIS_REPO="/ly",
        NO_CLEAN="true",
        DEBUG="1",
    )
    assert (settings.dataset_dir, settings.dataset) == (ground.cwd / "elsewhere", "elsewhere")
    assert settings.output_dir == ground.cwd / "exactly-this", (
        "the run's folder itself, nothing appended"
    )
    assert (settings.steps, settings.debug, settings.record.on_empty) == (77, True, "keep")
    assert (settings.trainer.repo, settings.trainer.script) == (Path("/sd"), "train.py")
    assert settings.trainer.lycoris_repo == Path("/ly")
    sources = {each.source for each in settings.origins} - {"default"}
    helpers = {
        "TRAINING_DIR",
        "OUTPUT_DIR",
        "STEPS",
        "SD_REPO",
        "SD_SCRIPT",
        "LYCORIS_REPO",
        "NO_CLEAN",
        "DEBUG",
    }
    assert sources == helpers


def test_empty_variables_count_as_not_set(ground: Ground) -> None:
    names = [
        "TRAINING_DIR",
        "OUTPUT_DIR",
        "STEPS",
        "SD_REPO",
        "SD_SCRIPT",
        "LYCORIS_REPO",
        "NO_CLEAN",
        "DEBUG",
    ]
    names += ["LORAGIT_TRAINER_REPO", "LORAGIT_RECORD_ON_EMPTY", "LORAGIT_RECORD_ALLOW_DIRTY"]
    names += ["LORAGIT_TRAINER_STOP_TIMEOUT"]
    assert ground.load(environ=dict.fromkeys(names, "")) == ground.load()


@pytest.mark.parametrize("text", ["0", "false", "No", "off"])
def test_a_false_no_clean_changes_nothing(ground: Ground, text: str) -> None:
    assert ground.load(NO_CLEAN=text).record.on_empty == "revert"
    settings = ground.load(DEBUG=text)
    assert (settings.debug, source(settings, "debug")) == (False, "DEBUG")


def test_a_debug_that_is_meant_for_another_program_is_ignored(ground: Ground) -> None:
    settings = ground.load(DEBUG="app:*")
    assert (settings.debug, source(settings, "debug")) == (False, "default")
    assert ground.load(flags=Flags(debug=True), DEBUG="0").debug


def test_every_scalar_key_has_a_variable_and_lists_have_none(ground: Ground) -> None:
    assert len(VARIABLES) == len(SCHEMA) - 2
    assert "LORAGIT_RECORD_INPUTS" not in VARIABLES
    settings = ground.load(
        LORAGIT_TRAINER_KIND="sd-scripts",
        LORAGIT_TRAINER_REPO="/r",
        LORAGIT_TRAINER_SCRIPT="s.py",
        LORAGIT_TRAINER_PYTHON="py",
        LORAGIT_TRAINER_LAUNCHER="l",
        LORAGIT_TRAINER_WORKDIR="dataset",
        LORAGIT_TRAINER_LYCORIS_REPO="/l",
        LORAGIT_TRAINER_STOP_TIMEOUT="2.5",
        LORAGIT_PATHS_DATASETS=str(ground.home / "datasets"),
        LORAGIT_PATHS_OUTPUT="/o",
        LORAGIT_PATHS_CONFIG="/c",
        LORAGIT_PATHS_PROMPTS="/p",
        LORAGIT_RECORD_ON_EMPTY="keep",
        LORAGIT_RECORD_ALLOW_DIRTY="yes",
        LORAGIT_RECORD_SIGN="on",
        LORAGIT_RECORD_ALLOW_SECRETS="on",
        LORAGIT_RECORD_ENCLOSING="on",
    )
    assert settings.record.enclosing
    assert (settings.trainer.stop_timeout, settings.trainer.workdir) == (2.5, "dataset")
    assert (settings.record.allow_dirty, settings.record.allow_secrets) == (True, True)
    assert (settings.paths.prompts, settings.trainer.python) == (Path("/p"), "py")
    set_by_variables = {each.key for each in settings.origins if each.source.startswith("LORAGIT_")}
    assert set_by_variables == set(SCHEMA) - {"record.inputs", "record.repos", "trainer.env"} | {
        "output_dir"
    }


def test_an_unknown_loragit_variable_names_the_nearest(ground: Ground) -> None:
    with pytest.raises(UnknownSetting) as caught:
        ground.load(LORAGIT_TRAINER_SCIRPT="x")
    assert caught.value.message == (
        "unknown variable LORAGIT_TRAINER_SCIRPT in the environment; did you mean "
        "LORAGIT_TRAINER_SCRIPT?"
    )
    assert caught.value.hint == "remove it with: unset LORAGIT_TRAINER_SCIRPT"


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("NO_CLEAN", "perhaps", 'NO_CLEAN must be 1 or 0; it is "perhaps"'),
        ("STEPS", "many", 'STEPS must be a number from 1 to 999999999; it is "many"'),
        ("STEPS", "0", 'STEPS must be a number from 1 to 999999999; it is "0"'),
        ("STEPS", "1" * 10, 'STEPS must be a number from 1 to 999999999; it is "1111111111"'),
        (
            "LORAGIT_RECORD_ON_EMPTY",
            "undo",
            (
                "LORAGIT_RECORD_ON_EMPTY in the environment must be one of revert, delete-tag, "
                "keep; "
                'it is "undo"'
            ),
        ),
        (
            "LORAGIT_RECORD_ALLOW_DIRTY",
            "maybe",
            'LORAGIT_RECORD_ALLOW_DIRTY in the environment must be true or false; it is "maybe"',
        ),
        (
            "LORAGIT_TRAINER_STOP_TIMEOUT",
            "soon",
            (
                "LORAGIT_TRAINER_STOP_TIMEOUT in the environment must be a number of seconds, 0 or "
                'more; it is "soon"'
            ),
        ),
    ],
)
def test_a_wrong_variable_is_told_with_what_was_expected(
    ground: Ground, variable: str, text: str, message: str
) -> None:
    with pytest.raises(WrongSetting) as caught:
        ground.load(environ={variable: text})
    assert caught.value.message == message
    assert caught.value.exit_status == 2


# Flags


def test_flags_say_dataset_steps_output_script_and_dirty(ground: Ground) -> None:
    other = ground.home / "datasets/other"
    other.mkdir()
    flags = Flags(
        "other", 9, "~/o", allow_dirty=True, allow_secrets=True, trainer_script="/t.py", debug=True
    )
    settings = ground.load(flags=flags, TRAINING_DIR="/nowhere", STEPS="no number", OUTPUT_DIR="/o")
    assert (settings.dataset_dir, settings.steps, settings.output_dir) == (
        other,
        9,
        ground.home / "o",
    )
    assert (settings.record.allow_dirty, settings.record.allow_secrets, settings.debug) == (
        True,
        True,
        True,
    )
    assert settings.trainer.script == "/t.py"
    told = {
        "--dataset",
        "--steps",
        "--output",
        "--allow-dirty",
        "--allow-secrets",
        "--trainer-script",
        "--debug",
    }
    assert {each.source for each in settings.origins} == {"default"} | told


@pytest.mark.parametrize("flags", [Flags(dataset=""), Flags(output=""), Flags(trainer_script="")])
def test_an_empty_flag_is_refused(ground: Ground, flags: Flags) -> None:
    with pytest.raises(WrongSetting, match=r"^--[a-z-]+ is empty$"):
        ground.load(flags=flags)


@pytest.mark.parametrize("steps", [0, -1, 10**9])
def test_steps_out_of_range_are_refused(ground: Ground, steps: int) -> None:
    with pytest.raises(WrongSetting, match="--steps must be a number from 1 to 999999999"):
        ground.load(flags=Flags(steps=steps))


def test_an_unknown_way_to_deal_with_empty_runs_is_refused(ground: Ground) -> None:
    with pytest.raises(
        WrongSetting, match='--on-empty must be one of revert, delete-tag, keep; it is "undo"'
    ):
        ground.load(flags=Flags(on_empty="undo"))


# Which folder is the dataset


def test_both_readings_of_a_name_find_their_folder(ground: Ground) -> None:
    assert ground.load("noob-gren-v2s512").dataset == "gren"
    whole = ground.home / "datasets/noob-gren"
    whole.mkdir()
    ground.dataset.rmdir()
    assert ground.load("noob-gren-v2s512").dataset_dir == whole


def test_two_folders_that_a_name_means_are_both_named(ground: Ground) -> None:
    whole = ground.home / "datasets/noob-gren"
    whole.mkdir()
    with pytest.raises(DatasetAmbiguous) as caught:
        ground.load()
    assert caught.value.message == f"{NAME} means several datasets: {whole} and {ground.dataset}"
    assert "--dataset" in (caught.value.hint or "")
    assert ground.load(flags=Flags(dataset="noob-gren")).dataset_dir == whole


def test_two_paths_to_one_folder_are_one_dataset(ground: Ground) -> None:
    link = ground.home / "datasets/noob-gren"
    link.symlink_to(ground.dataset)
    assert ground.load().dataset_dir == link
    assert ground.load(cwd=ground.dataset).dataset == "noob-gren"


def test_the_current_folder_counts_where_its_name_fits(ground: Ground) -> None:
    here = ground.cwd / "gren"
    (here / "img").mkdir(parents=True)
    with pytest.raises(DatasetAmbiguous) as caught:
        ground.load(cwd=here)
    assert str(here) in caught.value.message
    assert str(ground.dataset) in caught.value.message
    ground.dataset.rmdir()
    settings = ground.load(cwd=here)
    assert (settings.dataset_dir, source(settings, "dataset_dir")) == (here, "current folder")
    with pytest.raises(DatasetNotFound):
        ground.load(cwd=here / "img")
    (here / "loragit.toml").touch()
    assert ground.load(cwd=here / "img").dataset_dir == here


def test_a_missing_dataset_lists_what_was_looked_for(ground: Ground) -> None:
    ground.dataset.rmdir()
    (ground.home / "datasets/noob-gren").write_text("a file is no dataset")
    with pytest.raises(DatasetNotFound) as caught:
        ground.load()
    folders = [str(ground.home / "datasets" / name) for name in ("noob-gren", "gren")]
    assert (
        caught.value.message
        == f"no dataset for {NAME}: there is no folder {folders[0]} or {folders[1]}"
    )
    assert "--dataset" in (caught.value.hint or "")


def test_the_dataset_flag_takes_a_path_or_a_name(ground: Ground) -> None:
    local = ground.cwd / "local"
    (local / "deep").mkdir(parents=True)

    def found(text: str, cwd: Path = ground.cwd) -> Path:
        return ground.load(flags=Flags(dataset=text), cwd=cwd).dataset_dir

    assert found("gren") == ground.dataset
    assert found("local") == local, "a folder in the current one comes first"
    assert found("local/deep") == local / "deep"
    assert found("./local") == local
    assert found("~/datasets/gren") == ground.dataset
    assert found(".", cwd=local) == local
    assert found("..", cwd=local / "deep") == local.resolve()
    with pytest.raises(DatasetNotFound) as caught:
        found("nowhere")
    assert str(ground.cwd / "nowhere") in caught.value.message
    assert str(ground.home / "datasets/nowhere") in caught.value.message
    with pytest.raises(DatasetNotFound):
        found("x" * 5000)
    with pytest.raises(LoragitError):
        found("nul\0")
    with pytest.raises(DatasetNotFound, match=r"^TRAINING_DIR: there is no folder /nowhere$"):
        ground.load(TRAINING_DIR="/nowhere")


def test_where_datasets_are_is_said_outside_of_them(ground: Ground) -> None:
    (ground.cwd / "d/gren").mkdir(parents=True)
    user = ground.write_user('[paths]\ndatasets = "d"\n')
    with pytest.raises(DatasetNotFound, match=f"{user.parent}/d/gren"):
        ground.load()
    settings = ground.load(LORAGIT_PATHS_DATASETS="d")
    assert settings.dataset_dir == ground.cwd / "d/gren"


def test_a_name_outside_the_convention_needs_dataset_and_steps(ground: Ground) -> None:
    few: list[dict[str, str]] = [{}, {"STEPS": "5"}, {"TRAINING_DIR": str(ground.dataset)}]
    for environ in few:
        with pytest.raises(InvalidName) as caught:
            ground.load("freestyle", environ=environ)
        assert "{model}-{dataset}" in (caught.value.hint or "")
    settings = ground.load("freestyle", TRAINING_DIR=str(ground.dataset), STEPS="5")
    assert (settings.dataset, settings.steps) == ("gren", 5)
    assert settings.output_dir == ground.home / "output_dir/freestyle"


def test_a_name_that_says_0_steps_needs_the_flag(ground: Ground) -> None:
    with pytest.raises(InvalidName, match="noob-gren-v2s0 has 0 steps"):
        ground.load("noob-gren-v2s0")
    assert ground.load("noob-gren-v2s0", Flags(steps=3)).steps == 3


def test_without_a_name_the_dataset_is_the_marked_folder_above(ground: Ground) -> None:
    deep = ground.dataset / "img/10_x"
    deep.mkdir(parents=True)
    settings = ground.load(None, cwd=deep, STEPS="nonsense")
    assert (settings.dataset_dir, settings.dataset) == (deep, "10_x")
    assert (settings.output_dir, settings.steps) == (None, None)
    ground.write("")
    assert ground.load(None, cwd=deep).dataset_dir == ground.dataset
    assert ground.load(None, Flags(dataset="gren")).dataset_dir == ground.dataset
    assert ground.load(None, TRAINING_DIR=str(deep)).dataset_dir == deep
    assert {"output_dir", "steps"}.isdisjoint(each.key for each in settings.origins)


# Files that are wrong

SECONDS = "trainer.stop_timeout in {} must be a number of seconds, 0 or more; it is "


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ('[trainer]\nscirpt = "x"', "trainer.scirpt", "trainer.script"),
        ('[trainer]\nscript = "x"\non_emtpy = "keep"', "trainer.on_emtpy", "record.on_empty"),
        ("[trainer.arg]\nseed = 1", "trainer.arg", "trainer.args"),
        ("[paths]\nout = 1", "paths.out", "paths.output"),
        ("[trainers]\nkind = 1", "trainers", "trainer"),
        ("[model.noob]\nkind = 1", "model", "models"),
        ('scirpt = "x"', "scirpt", "trainer.script"),
        ('["trainer.args"]\nseed = 1', '"trainer.args"', "trainer.args"),
        ("[models.noob]\nscirpt = 1", "models.noob.scirpt", "models.noob.script"),
        ('[models."a b"]\nargz = 1', 'models."a b".argz', 'models."a b".args'),
        ('[trainer]\n"a\\nb" = 1', 'trainer."a\\nb"', None),
    ],
)
def test_an_unknown_key_is_told_with_its_file_and_the_nearest(
    ground: Ground, text: str, key: str, nearest: str | None
) -> None:
    own = ground.write(text)
    with pytest.raises(UnknownSetting) as caught:
        ground.load()
    assert caught.value.message.startswith(f"unknown key {key} in {own}; did you mean ")
    if nearest is not None:
        assert caught.value.message.endswith(f" {nearest}?")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer = 5", "trainer in {} must be a table; it is 5"),
        ("[[trainer]]\nkind = 1", "trainer in {} must be a table; it is a list"),
        ("models = true", "models in {} must be a table; it is true"),
        ("[models]\nnoob = 2000-01-01", "models.noob in {} must be a table; it is a date or time"),
        ("[trainer]\nargs = 'x'", 'trainer.args in {} must be a table; it is "x"'),
        (
            "[trainer]\nkind = 'kohya'",
            'trainer.kind in {} must be one of sd-scripts; it is "kohya"',
        ),
        ("[trainer]\nkind = []", "trainer.kind in {} must be one of sd-scripts; it is a list"),
        ("[models.x]\nkind = {}", "models.x.kind in {} must be one of sd-scripts; it is a table"),
        (
            "[trainer]\nrepo = ''",
            'trainer.repo in {} must be the path of a file or folder; it is ""',
        ),
        (
            "[trainer]\nworkdir = 'home'",
            'trainer.workdir in {} must be one of trainer, dataset; it is "home"',
        ),
        ("[trainer]\nstop_timeout = true", SECONDS + "true"),
        ("[trainer]\nstop_timeout = -1", SECONDS + "-1"),
        ("[trainer]\nstop_timeout = nan", SECONDS + "nan"),
        (
            f"[trainer]\nstop_timeout = 0x{'f' * 200}",
            SECONDS + "a very large number",
        ),
        (
            "[trainer]\nlauncher = 'it\"s'",
            (
                "trainer.launcher in {} must be a command line (its quotes closed) or a list of "
                'texts; it is "it\\"s"'
            ),
        ),
        (
            "[trainer]\nlauncher = ['', 'x']",
            (
                "trainer.launcher in {} must be a command line (its quotes closed) or a list of "
                "texts; it is a list"
            ),
        ),
        (
            "[trainer]\nlauncher = ['x', 1]",
            (
                "trainer.launcher in {} must be a command line (its quotes closed) or a list of "
                "texts; it is a list"
            ),
        ),
        ("[record]\nallow_dirty = 1", "record.allow_dirty in {} must be true or false; it is 1"),
        ("[record]\ninputs = 'x'", 'record.inputs in {} must be a list of paths; it is "x"'),
        ("[record]\ninputs = ['']", "record.inputs in {} must be a list of paths; it is a list"),
        (
            f'[paths]\nprompts = "{"a" * 99}\\u0000"',
            (
                f'paths.prompts in {{}} must be the path of a file, or "" for none; it is '
                f'"{"a" * 57}..."'
            ),
        ),
    ],
)
def test_a_wrong_value_is_told_with_file_key_and_what_was_expected(
    ground: Ground, text: str, message: str
) -> None:
    own = ground.write(text)
    with pytest.raises(WrongSetting) as caught:
        ground.load()
    assert caught.value.message == message.replace("{}", str(own), 1)


@pytest.mark.parametrize("env", ["poetry:x", "conda:", "venv:", "C:python"])
def test_an_environment_of_no_known_kind_is_refused(ground: Ground, env: str) -> None:
    own = ground.write(f'[trainer]\nenv = "{env}"\n')
    with pytest.raises(WrongSetting) as caught:
        ground.load()
    expected = '"conda:NAME", "venv:PATH", the path of a Python, or ""'
    assert caught.value.message == f'trainer.env in {own} must be {expected}; it is "{env}"'


@pytest.mark.parametrize(
    "value",
    ["{ x = 1 }", "[[1]]", "[true]", "1979-05-27", f"0x{'f' * 17}", '"a\\u0000"', '["secret", {}]'],
)
def test_an_argument_of_a_wrong_type_is_refused_without_showing_it(
    ground: Ground, value: str
) -> None:
    own = ground.write(f"[models.m.args]\na-b = {value}\n")
    with pytest.raises(WrongSetting) as caught:
        ground.load()
    expected = "a text, a number, true, false, or a list of texts and numbers"
    assert caught.value.message == f"models.m.args.a-b in {own} must be {expected}"


@pytest.mark.parametrize("name", ["a\\u0000", "--seed", "a b", "", "é"])
def test_what_cannot_name_an_argument_is_refused(ground: Ground, name: str) -> None:
    ground.write(f'[trainer.args]\n"{name}" = 1\n')
    with pytest.raises(WrongSetting, match="is not the name of an argument: write it without --"):
        ground.load()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[trainer]\nrepo = x\n", "is not valid TOML: Invalid value (at line 2, column 8)"),
        (b"[trainer]\nrepo = '\xff'\n", "is not UTF-8 text (at line 2)"),
        (b"a = " + b"[" * 100_000, "is not valid TOML: "),
        (b"a = " + b"9" * 5_000, "is not valid TOML: "),
        (b"#" * (MAX_BYTES + 1), "is not a plain file of at most 256 KiB"),
    ],
)
def test_a_file_that_does_not_parse_is_told_with_its_line(
    ground: Ground, content: bytes, said: str
) -> None:
    own = ground.dataset / "loragit.toml"
    own.write_bytes(content)
    with pytest.raises(UnreadableSettings) as caught:
        ground.load()
    assert caught.value.message.startswith(f"{own} {said}")


def test_a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_not(ground: Ground) -> None:
    own = ground.dataset / "loragit.toml"
    own.mkdir()
    with pytest.raises(UnreadableSettings, match="is not a plain file"):
        ground.load()
    own.rmdir()
    own.symlink_to("loragit.toml")
    with pytest.raises(
        UnreadableSettings, match="cannot be read: Too many levels of symbolic links"
    ):
        ground.load()
    own.unlink()
    os.mkfifo(own)
    with pytest.raises(UnreadableSettings, match="is not a plain file"):
        ground.load()
    own.unlink()
    own.symlink_to("nowhere")
    assert ground.load().from_dataset == ()


# What is shown


def lines(settings: Settings) -> Iterator[str]:
    return (f"{each.key} = {each.value}  # {each.source}" for each in effective(settings))


def test_what_is_shown_is_a_toml_document_that_says_the_same_again(ground: Ground) -> None:
    ground.write(
        "[trainer]\nlauncher = ['a', 'b \"c\"']\n[trainer.args]\nlearning_rate = 1e-05\nshuffle = "
        "true\n"
        'odd-key = "tab\\t, \\u007f, \\\\ and \\u00e9"\nloss = inf\nbetas = [0.9, "x", 3]\n'
    )
    settings = ground.load()
    shown = tomllib.loads("\n".join(lines(settings)))
    assert shown["trainer"]["repo"] == str(settings.trainer.repo)
    assert tuple(shown["trainer"]["launcher"]) == settings.trainer.launcher
    args = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in settings.trainer.args
    }
    assert shown["trainer"]["args"] == args
    assert (shown["steps"], shown["debug"]) == (512, False)
    assert shown["output_dir"] == str(settings.output_dir)
    values = {each.key: json_value(each) for each in effective(settings)}
    assert values["trainer.args.betas"] == [0.9, "x", 3]
    assert values["trainer.args.loss"] == "inf"
    assert values["trainer.lycoris_repo"] == ""


def test_the_command_prints_toml_or_json(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    ground.write('[trainer.args]\nseed = 1\nodd = "\\u2028\\u0085\\u001b"\n')
    settings = ground.load()
    show(settings, {})
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["trainer"]["args"] == {"seed": 1, "odd": "\u2028\x85\x1b"}
    (line,) = [line for line in printed.splitlines() if line.startswith("trainer.args.seed ")]
    assert line.split() == [
        "trainer.args.seed",
        "=",
        "1",
        "#",
        str(ground.dataset / "loragit.toml"),
    ]
    show(settings, {}, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["steps"] == {"value": 512, "source": "name"}
    assert set(document) == {each.key for each in settings.origins} | {"python"}


@pytest.mark.parametrize(
    "key", ["wandb_api_key", "huggingface_token", "my_secret", "db-password", "TOKEN"]
)
def test_secret_arguments_are_never_shown(ground: Ground, key: str) -> None:
    ground.write(f'[trainer.args]\n"{key}" = "hunter2"\nkeep_tokens = 1\nmax_token_length = 225\n')
    settings = ground.load()
    assert dict(settings.trainer.args)[key] == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "keep_tokens = 1  # " in "\n".join(lines(settings))
    assert origin(settings, "trainer.args.max_token_length").value == "225"
    assert origin(settings, f"trainer.args.{key}").value == '"***"'


def test_secrets_inside_of_values_are_not_shown_either(ground: Ground) -> None:
    token = "hf_" + "aB3dE6gH9j" * 4
    ground.write(
        "[trainer]\nlauncher = ['env', 'WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567', "
        "'run']\n"
        f'[trainer.args]\nnetwork_args = ["dim=4", "where={token}"]\npassphrase = "correct horse"\n'
    )
    shown = "\n".join(lines(ground.load()))
    assert token not in shown
    assert "0123456789abcdef" not in shown
    assert "correct horse" not in shown
    document = tomllib.loads(shown)["trainer"]
    assert document["launcher"] == ["env", "WANDB_API_KEY=***", "run"]
    assert document["args"] == {"network_args": ["dim=4", "where=***"], "passphrase": "***"}


def test_a_hostile_folder_name_stays_on_one_line(ground: Ground) -> None:
    odd = ground.cwd / "a\nb\x1b[31m\udcff"
    odd.mkdir()
    (odd / "loragit.toml").write_text("[trainer]\nrepo = 'sd'\n")
    settings = ground.load(flags=Flags(dataset=str(odd)))
    text = "\n".join(lines(settings))
    assert len(text.splitlines()) == len(settings.origins)
    assert text.isascii()
    assert tomllib.loads(text)["dataset_dir"].startswith(str(ground.cwd / "a\nb"))


# Properties

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
RELATIVE = TEXT.filter(lambda text: text != "" and text[0] not in "~")
SCALAR = st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
ARG = st.one_of(SCALAR, st.booleans(), st.lists(SCALAR, max_size=3))
TRAINER = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.just("sd-scripts"),
        "repo": RELATIVE,
        "script": RELATIVE,
        "python": st.from_regex(r"[a-z0-9.]{1,9}", fullmatch=True),
        "launcher": st.lists(TEXT.filter(lambda text: text != "" and "/" not in text), max_size=3),
        "workdir": st.sampled_from(["trainer", "dataset"]),
        "lycoris_repo": RELATIVE,
        "stop_timeout": st.one_of(st.integers(0, 10**9), st.floats(0, 1e9)),
        "args": st.dictionaries(
            st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,11}", fullmatch=True), ARG, max_size=4
        ),
    },
)
RECORD = st.fixed_dictionaries(
    {},
    optional={
        "on_empty": st.sampled_from(["revert", "delete-tag", "keep"]),
        "allow_dirty": st.booleans(),
        "allow_secrets": st.booleans(),
        "inputs": st.lists(RELATIVE, max_size=3),
    },
)
PATHS = st.fixed_dictionaries(
    {},
    optional={"output": RELATIVE, "config": RELATIVE, "prompts": st.one_of(st.just(""), RELATIVE)},
)


def loaded(content: bytes, environ: Mapping[str, str] | None = None) -> tuple[Settings, Path]:
    """Settings of a dataset folder with this ``loragit.toml``, and the folder."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "loragit.toml").write_bytes(content)
        flags = Flags(dataset=folder)
        given = {"HOME": folder} | dict(environ or {})
        return load_settings(
            name=RunName.parse("noob-x-v1s1"), flags=flags, environ=given, cwd=Path(folder)
        ), Path(folder)


@examples(max_examples=60, deadline=None)
@given(trainer=TRAINER, paths=PATHS, record=RECORD, model=st.booleans())
def test_every_known_key_keeps_its_value_and_type(
    trainer: dict[str, object], paths: dict[str, object], record: dict[str, object], model: bool
) -> None:
    table = {"models": {"noob": trainer}} if model else {"trainer": trainer}
    settings, folder = loaded(tomli_w.dumps({**table, "paths": paths, "record": record}).encode())
    got = settings.trainer
    assert got.repo == folder / str(trainer.get("repo", "source/repos/sd-scripts"))
    assert got.script == trainer.get("script", "sdxl_train_network.py")
    assert got.python == trainer.get("python")
    assert got.launcher == tuple(str(word) for word in as_list(trainer.get("launcher", [])))
    assert got.workdir == trainer.get("workdir", "trainer")
    assert got.lycoris_repo == (
        folder / str(trainer["lycoris_repo"]) if "lycoris_repo" in trainer else None
    )
    assert got.stop_timeout == trainer.get("stop_timeout", 30.0)
    assert type(got.stop_timeout) is float
    args = trainer.get("args", {})
    assert isinstance(args, dict)
    expected = [
        (key, tuple(value) if isinstance(value, list) else value) for key, value in args.items()
    ]
    assert repr(list(got.args)) == repr(expected), "repr tells types apart, and -0.0 from 0.0"
    assert settings.output_dir == folder / str(paths.get("output", "output_dir")) / "noob-x-v1s1"
    assert settings.paths.config == folder / str(paths.get("config", "config.toml"))
    prompts = str(paths.get("prompts", "sample-prompts.txt"))
    assert settings.paths.prompts == (folder / prompts if prompts else None)
    assert settings.record.on_empty == record.get("on_empty", "revert")
    assert settings.record.allow_dirty is record.get("allow_dirty", False)
    assert settings.record.inputs == tuple(
        folder / str(each) for each in as_list(record.get("inputs", []))
    )
    again = tomllib.loads("\n".join(lines(settings)))
    secret = {key for key in args if is_secret_name(key)}
    assert again["trainer"].get("args", {}) == {
        k: "***" if k in secret else v for k, v in args.items()
    }


def as_list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


@examples(max_examples=60, deadline=None)
@given(key=TEXT, table=st.sampled_from(["", "trainer", "paths", "record", "models.noob"]))
def test_an_unknown_key_always_names_a_known_one(key: str, table: str) -> None:
    prefix = "trainer" if table == "models.noob" else table
    tables = {"trainer", "paths", "record", "models", "trainer.args"}
    known = {*SCHEMA, *tables} | {name.replace("trainer", "models.noob", 1) for name in SCHEMA}
    if key in tables or f"{prefix}.{key}" in known:
        return
    tree: dict[str, object] = {key: 1}
    for part in reversed(table.split(".") if table else []):
        tree = {part: tree}
    with pytest.raises(UnknownSetting) as caught:
        loaded(tomli_w.dumps(tree).encode())
    assert caught.value.message.rpartition("did you mean ")[2].removesuffix("?") in known | {
        "models.noob.args"
    }


WORDS = sorted({part for key in SCHEMA for part in key.split(".")} | {"models", "args", "noob"})
KEYS = st.one_of(
    st.sampled_from(WORDS), st.text(max_size=5).filter(lambda text: text.isprintable())
)
LEAVES = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(
        ["~", "~x/", "/", "..", "conda:a", "venv:~", "keep", "a 'b", "sd-scripts", "trainer"]
    ),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.dates(),
    st.times(),
)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def told(content: bytes, environ: Mapping[str, str] | None = None) -> None:
    """Loads, or is refused with a message that names the file or the variable."""
    try:
        settings, _ = loaded(content, environ)
    except LoragitError as error:
        assert isinstance(error, UsageError)
        assert "loragit.toml" in error.message or any(
            name in error.message for name in environ or ()
        )
    else:
        assert tomllib.loads("\n".join(lines(settings)))


@examples(max_examples=80, deadline=None)
@given(tree=TREES)
def test_any_toml_document_loads_or_is_refused(
    tree: dict[str, str | int | date | time | datetime],
) -> None:
    told(tomli_w.dumps(tree).encode())


@examples(max_examples=60, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=40), st.text("[]{}=.\"'#\n\\ua1 ", max_size=20).map(str.encode)
    )
)
def test_any_bytes_load_or_are_refused(content: bytes) -> None:
    told(content)


HELPERS = [
    "SD_REPO",
    "SD_SCRIPT",
    "LYCORIS_REPO",
    "NO_CLEAN",
    "DEBUG",
    "STEPS",
    "OUTPUT_DIR",
    "TRAINING_DIR",
]
TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["~", "~x", "1", "true", "keep", "conda:x", "\udcff", "9" * 5000]),
)


@examples(max_examples=60, deadline=None)
@given(environ=st.dictionaries(st.sampled_from([*VARIABLES, *HELPERS]), TEXTS, max_size=3))
def test_any_variables_load_or_are_refused(environ: dict[str, str]) -> None:
    told(b"", environ)
