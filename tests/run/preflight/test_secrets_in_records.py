"""No secret that loragit knows of reaches a record: not by an odd value, another argument, an
address or a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from loragit.secrets import find
from loragit.secrets.find import find_known_secrets, secret_variables
from loragit.secrets.redact import redact_argv
from loragit.secrets.rules import FoundSecret
from loragit.secrets.tables import find_table_secrets
from loragit.trainers import kinds, trainer
from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.start import Start
from tests.support.processes import Result, commit_all, git
from tests.support.user_home import Scene, make_scene

NAME = "noob-gren-v1s4"
HELD = {"correct-horse": "WANDB_API_KEY", "-horse-1": "MY_TOKEN"}
ECHO = ("sh", "-c", "printf '%s\\0' \"$@\"", "sh")


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def a_start(*words: str, held: dict[str, str] | None = None, home: str = "/home/ada") -> Start:
    """Of a program that prints its arguments."""
    defaults = trainer.Defaults(
        NAME, Path("/data/config.toml"), False, Path("/data/prompts.txt"), Path("/")
    )
    told = SdScripts().plan(Arguments({}), from_words(words), defaults, own_script=False)
    return Start(
        name=NAME,
        program=ECHO,
        trainer=SdScripts(),
        plan=told,
        workdir=Path("/"),
        output=Path("/out"),
        steps=4,
        config="config.toml",
        prompts=None,
        inputs={},
        home=home,
        held=held or {},
    )


def given_by(script: bytes, folder: Path, **environ: str) -> list[str]:
    """The words that the script gives its program."""
    folder.mkdir(exist_ok=True)
    (folder / "train.sh").write_bytes(script)
    done = subprocess.run(
        ["sh", folder / "train.sh"],
        env={**os.environ, "OUTPUT_DIR": "/out", **environ},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (done.stderr, script)
    return [
        word.replace(str(folder), "/out")
        for word in map(os.fsdecode, done.stdout.split(b"\0")[:-1])
    ]


def real(start: Start) -> list[str]:
    """The words that the trainer is given, without the commit."""
    *words, comment = start.words("")[len(ECHO) :]
    return [*words, comment.removesuffix(" ")]


# ---- train.sh and the recorded command ----


@pytest.mark.parametrize(
    "value", ["abcDEF=123ghiJKL456", "abcdef123456=", "=abcdef123456", "a=b=c", "==", "-a=b1c2d3"]
)
@pytest.mark.parametrize("joined", [False, True])
def test_a_secret_with_an_equals_sign_is_hidden_whole(
    tmp_path: Path, value: str, joined: bool
) -> None:
    start = a_start(
        *([f"--wandb_api_key={value}"] if joined else ["--wandb_api_key", value]), "--seed", "1"
    )
    script = start.script()
    line = next(line for line in script.decode().splitlines() if "wandb" in line)
    assert line.strip() in (
        '--wandb_api_key "${WANDB_API_KEY:?}" \\',
        '--wandb_api_key="${WANDB_API_KEY:?}" \\',
    )
    assert find.find_secrets(script) == ()
    assert given_by(script, tmp_path, WANDB_API_KEY=value) == real(start)


def test_a_secret_that_is_given_twice_is_read_from_one_variable(tmp_path: Path) -> None:
    key = "correct-horse"
    for words in (
        ("--wandb_api_key", key, "--note", key),
        ("--note", key, "--tag", key, "--wandb_api_key", key),
    ):
        start = a_start(*words)
        script = start.script()
        assert script.count(b'"${WANDB_API_KEY:?}"') == len(words) // 2
        assert key.encode() not in script
        assert given_by(script, tmp_path, WANDB_API_KEY=key) == real(start)


def test_two_secrets_never_share_a_variable(tmp_path: Path) -> None:
    start = a_start(
        "--network_args",
        "api_key=a1b2c3d4e5",
        "x=1",
        "api_key=f6a7b8c9d0",
        "--note",
        "z-held-1",
        "-x",
    )
    start = start._replace(
        program=(*ECHO, "--wandb_api_key", "first-1"), held={"z-held-1": "WANDB_API_KEY"}
    )
    script = start.script()
    variables = {"WANDB_API_KEY": "first-1", "WANDB_API_KEY_2": "z-held-1"}
    variables |= {
        "SECRET_NETWORK_ARGS": "api_key=a1b2c3d4e5",
        "SECRET_NETWORK_ARGS_2": "api_key=f6a7b8c9d0",
    }
    assert all(f'"${{{name}:?}}"'.encode() in script for name in variables)
    assert given_by(script, tmp_path, **variables) == real(start)


def test_no_variable_is_one_that_every_shell_has(tmp_path: Path) -> None:
    start = a_start(
        "--path",
        "https://ada:sekret9Pw@example.org",
        "--output-dir=https://ada:sekret9Pw@example.com",
    )
    script = start.script()
    assert b"sekret9Pw" not in script
    assert b'"${SECRET_PATH:?}"' in script
    assert b'"${SECRET_OUTPUT_DIR:?}"' in script


def test_no_variable_is_called_like_a_secret() -> None:
    start = a_start(
        "--wandb_api_key=correct-horse", "xyzzy hf_" + "aB3" * 12, "--hf_" + "aB3" * 12, "y"
    )
    script = start.script().upper()
    assert b"HORSE" not in script
    assert b"AB3AB3" not in script


def test_a_secret_of_the_environment_is_read_from_there_wherever_it_is_given(
    tmp_path: Path,
) -> None:
    start = a_start("--run_name", "correct-horse", "--note=-horse-1", held=HELD)
    assert [word for word in start.recorded() if "***" in word] == ["***", "--note=***"]
    assert [start.arguments()[name] for name in ("run_name", "note")] == [("***",)] * 2
    script = start.script()
    assert b"horse" not in script
    assert given_by(script, tmp_path, WANDB_API_KEY="correct-horse", MY_TOKEN="-horse-1") == real(
        start
    )


def test_a_word_that_holds_a_secret_of_the_environment_is_hidden_whole(tmp_path: Path) -> None:
    start = a_start(
        "--run_name", "run correct-horse, the first", held={"correct-horse": "WANDB_API_KEY"}
    )
    assert "run ***, the first" in start.recorded()
    script = start.script()
    assert b"horse" not in script
    assert b'--run_name "${SECRET_RUN_NAME:?}"' in script
    assert given_by(script, tmp_path, SECRET_RUN_NAME="run correct-horse, the first") == real(start)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.text("ab=-/$'\" \n*", max_size=8), max_size=4),
    st.text("abc=-+/'\"$ \n", min_size=6, max_size=12),
    st.sampled_from(["{}", "x{}", "{}=y", "{}{}", "a={}"]),
)
@example([], "abcdef=", "x{}")
@example(["--b=-abcdef", "-abcdef"], "-abcdef", "{}")
def test_whatever_the_secret_is_the_script_gives_what_was_given(
    tmp_path: Path, words: list[str], secret: str, form: str
) -> None:
    assume(not any(word.startswith("--") and not word.startswith("--b") for word in words))
    assume(not secret.startswith("--"))
    start = a_start("--wandb_api_key", secret, "--note", form.format(secret, secret), *words)
    given = start.words("")
    redacted = redact_argv(given, kinds.secret_arguments())
    hidden = [word for word, kept in zip(given, redacted, strict=True) if word != kept]
    script = start.script()
    asked = re.findall(r'"\$\{(\w+):\?\}"', script.decode())
    values = [
        word.partition("=")[2] if word.startswith("--") and "=" in word else word for word in hidden
    ]
    pairs = set(zip(asked, values, strict=True))
    assert len(dict(pairs)) == len(pairs), "two values of one variable"
    assert given_by(script, tmp_path / "s", **dict(pairs)) == real(start)
    assert not any(secret in word for word in start.recorded())


def test_a_file_address_in_the_home_folder_is_that_of_whoever_runs_the_script(
    tmp_path: Path,
) -> None:
    start = a_start(
        "--url", "file:///home/ada/x y", "--at", "x=/home/ada", "--not", "file:///mnt/home/ada"
    )
    assert "file://~/x y" in start.recorded()
    script = start.script()
    assert b"/home/ada/x" not in script
    words = given_by(script, tmp_path, HOME="/users/bo")
    assert words[:6] == [
        "--url",
        "file:///users/bo/x y",
        "--at",
        "x=/users/bo",
        "--not",
        "file:///mnt/home/ada",
    ]


def test_each_secret_of_the_environment_has_one_variable() -> None:
    environ = {
        "HUGGING_FACE_HUB_TOKEN": "hf-value",
        "HF_TOKEN": "hf-value",
        "A_TOKEN": "tiny",
        "PATH": "/usr/bin:/bin",
    }
    assert secret_variables(environ) == {"hf-value": "HF_TOKEN"}


def test_a_variable_of_an_odd_name_is_asked_for_by_one_that_a_shell_takes() -> None:
    script = a_start("--note", "correct-horse", held={"correct-horse": "2nd.app_token"}).script()
    assert b'"${_2nd_app_token:?}"' in script


# ---- values by their key, known values ----


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ('seed = 1\nwandb_api_key = "correct-horse"\n', (2, "W&B API key")),
        ("[a]\n[a.b]\nhuggingface_token='x'", (3, "Hugging Face token")),
        ('nested.api_key = """\nseveral\nlines"""', (1, "API key")),
        ("'my password' = 'hunter'", (1, "password")),
        ('x = [{ seed = 1 }, { api_key = ["", "one"] }]', (1, "API key")),
        ('\ufefftoken = "a"', (1, "token")),
        ('{"a": 1,\n "wandb_api_key": "correct-horse"}', (2, "W&B API key")),
        ('[[1], {"token": "a\\u0062c"}]', (1, "token")),
        ('\n{"a": "wandb_api_key",\n"wandb\\u005fapi_key": "correct"}', (None, "W&B API key")),
        ('x_token = "no"\ntoken = "two"\n[b]\ntoken = "three"', (1, "token")),
        ('token = ""\n[b]\ntoken = "three"', (3, "token")),
    ],
)
def test_a_literal_value_of_a_secrets_key_is_found_however_it_looks(
    data: str, found: tuple[int | None, str]
) -> None:
    assert next(find_table_secrets(data.encode())) == FoundSecret(*found)


@pytest.mark.parametrize(
    "data",
    [
        'wandb_api_key = ""\ntoken = "***"\nhf_token = "$HF_TOKEN"\npassword = "${PW}"\n',
        "keep_tokens = 2\ntoken = 1\npassword = true\napi_key = [1, 2]\n",
        'class_tokens = "zqx girl"\nplaceholder_token = "zqx"\n',
        '{"/data/secret": "1girl", "img/secret": {"caption": "token"}, "token": null}',
        'wandb_api_key = "x"\n= broken\n',
        'wandb_api_key = "x"\n\udcff\n',
        "a token, a key: in a prompt --n low quality\n",
        '{"token": "x"',
        "[" * 100_000 + '"token"',
        "",
    ],
)
def test_what_is_no_literal_value_of_a_secrets_key_is_left_alone(data: str) -> None:
    assert list(find_table_secrets(data.encode("utf-8", "surrogateescape"))) == []


PLAIN = st.one_of(st.booleans(), st.integers(-99, 99), st.text("'\"\\\n#=,[]{} ab\x1f", max_size=8))
KEYS = st.sampled_from(["seed", "a b", "keep_tokens", "x.y", 'q"', "wandb_run_name"])


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        st.dictionaries(KEYS, PLAIN, max_size=3),
        lambda inner: st.dictionaries(
            KEYS, st.one_of(PLAIN, inner, st.lists(inner, max_size=2)), max_size=3
        ),
        max_leaves=6,
    ),
    st.text("abc-'\"\\\n", min_size=1, max_size=9),
    st.sampled_from(["wandb_api_key", "huggingface_token", "my token"]),
    st.sampled_from(["toml", "multiline toml", "json"]),
)
def test_a_secrets_key_is_found_at_any_depth_and_nothing_else(
    tree: dict[str, object], secret: str, name: str, form: str
) -> None:
    def written(table: dict[str, object]) -> bytes:
        if form == "json":
            return json.dumps(table, indent=1).encode()
        return tomli_w.dumps(table, multiline_strings=form != "toml").encode()

    assert list(find_table_secrets(written({"note": "the token", **tree}))) == []
    data = written({**tree, "section": {"deep": [{**tree, name: secret}]}})
    (found,) = find_table_secrets(data)
    assert found.line is not None
    assert name.encode() in data.splitlines()[found.line - 1]


def test_known_values_are_found_however_they_are_quoted() -> None:
    for written in ("correct-horse", "x-correct-horse!", json.dumps("correct-horse")):
        assert (
            find_known_secrets(f"a\nb {written}".encode(), ["tiny", "correct-horse"])[0].line == 2
        )
    assert find_known_secrets(json.dumps({"a": 'quo"te\n1'}).encode(), ['quo"te\n1'])[0].line == 1
    assert (
        find_known_secrets(
            b"postgres, 12345678, tiny-1 password", ["postgres", "12345678", "tiny", "password"]
        )
        == ()
    )
    assert find_known_secrets(b"nothing", ["correct-horse"]) == ()
    assert find_known_secrets(b"correcthorsebatterystaple", ["correcthorsebatterystaple"]) != ()


# ---- whole runs ----


def record(scene: Scene) -> str:
    """All that is committed and tagged."""
    return scene.git("log", "-p", "--format=%B", "runs") + scene.git("show", NAME)


def refused(scene: Scene, told: str, secret: str, *args: str, **environ: str) -> Result:
    done = scene.train(NAME, *args, **environ)
    assert done.status == 1, done
    assert told in done.err
    assert secret not in done.err
    assert scene.tags() == []
    assert not (scene.output / NAME).exists()
    return done


@pytest.mark.parametrize("key", ["abcDEF=123ghiJKL456", "abcdef0123456789abc="])
def test_a_key_with_an_equals_sign_does_not_stop_a_run_and_is_not_in_its_record(
    scene: Scene, key: str
) -> None:
    done = scene.train(NAME, "--", "--wandb_api_key", key)
    assert done.status == 0, done.err
    assert f"wandb key {key}" in done.out
    assert key.strip("=").split("=")[0] not in record(scene)


def test_a_secret_of_the_environment_in_another_argument_is_not_in_the_record(scene: Scene) -> None:
    done = scene.train(
        NAME, "--", "--learning_rate", "correct-horse", WANDB_API_KEY="correct-horse"
    )
    assert done.status == 0, done.err
    assert "correct-horse" not in record(scene)
    assert '--learning_rate "${WANDB_API_KEY:?}"' in scene.git("show", f"{NAME}:train.sh")
    assert "***" in tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["command"]["argv"]


def test_secrets_in_the_name_of_weights_are_not_in_the_record(scene: Scene) -> None:
    token = "glpat-" + "aB3-" * 6
    done = scene.train(NAME, "--", "--pretrained_model_name_or_path", f"ada/{token}")
    assert done.status == 0, done.err
    assert token not in record(scene)
    assert scene.trailers(NAME)["Base-Model"] == "ada/***"


def test_tokens_in_the_address_of_a_remote_are_not_in_the_record(scene: Scene) -> None:
    token = "glpat-" + "aB3-" * 6
    git(
        scene.trainer,
        "remote",
        "add",
        "origin",
        f"https://example.org/sd?private_token={token}&own=correct-horse",
    )
    done = scene.train(NAME, GITLAB_TOKEN="correct-horse")
    assert done.status == 0, done.err
    assert token not in record(scene)
    assert "correct-horse" not in record(scene)


@pytest.mark.parametrize("line", ['wandb_api_key = "correct-horse"', "huggingface_token = 'x'"])
def test_a_secret_that_looks_like_a_word_is_refused_in_a_config_file(
    scene: Scene, line: str
) -> None:
    (scene.home / "args.toml").write_text(f"[general]\nseed = 1\n{line}\n")
    refused(
        scene,
        "/args.toml, line 3, holds",
        "horse",
        "--",
        "--config_file",
        str(scene.home / "args.toml"),
    )


def test_a_secret_that_looks_like_a_word_is_refused_in_json(scene: Scene) -> None:
    (scene.home / "meta.json").write_text('{"a": 1,\n"wandb\\u005fapi_key": "correct-horse"}')
    told = "/meta.json holds what looks like a secret (W&B API key)"
    refused(scene, told, "horse", "--", "--log_tracker_config", str(scene.home / "meta.json"))


def test_a_line_with_a_secret_is_told_once(scene: Scene) -> None:
    token = "hf_" + "aB3" * 12
    config = scene.dataset / "config.toml"
    config.write_text(config.read_text() + f'\n[x]\nwandb_api_key = "{token}"\n')
    commit_all(scene.dataset, "a token")
    done = refused(
        scene, "holds what looks like a secret (Hugging Face token)", token, HF_TOKEN=token
    )
    assert "1 problem found" in done.err


def test_a_known_secret_in_a_file_or_a_caption_is_refused(scene: Scene) -> None:
    with (scene.dataset / "sample-prompts.txt").open("a") as prompts:
        prompts.write("\nby correct-horse\n")
    (scene.dataset / "img" / "02.txt").write_text("zqx, correct-horse")
    commit_all(scene.dataset, "words")
    assert scene.train(NAME, "--dry-run").status == 0
    done = refused(scene, "sample-prompts.txt, line", "horse", MY_TOKEN="correct-horse")
    assert "/gren/img/02.txt, line 1, holds what looks like a secret" in done.err


def test_what_only_the_message_and_the_table_would_tell_is_refused_too(scene: Scene) -> None:
    token = "hf_" + "aB3" * 12
    git(scene.trainer, "switch", "-q", "-c", token)
    done = refused(scene, "run.toml, line", token)
    assert "the message, line" in done.err


# ---- the log, and what is quoted of it ----

LOG_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"
LOG_TOKEN = "hf_" + "aB3dE6gH9j" * 4
LOG_CONFIG = "Correct/horse=battery+staple'9"


def everything(scene: Scene) -> str:
    """All that a failed run leaves where others may see it, without line breaks and what stands
    around them."""
    logs = [path.read_text() for path in (scene.dataset / ".git" / "loragit" / "logs").iterdir()]
    shown = scene.loragit("show", NAME)
    told = [
        record_of_all(scene),
        shown.out,
        shown.err,
        scene.loragit("show", NAME, "--json").out,
        *logs,
    ]
    return re.sub(r"\s*train_util.py:17|[\s│]+", "", "\n".join(told))


def record_of_all(scene: Scene) -> str:
    return scene.git("log", "-p", "--format=%B", "--all")


def fail(scene: Scene, how: str, *args: str) -> Result:
    (scene.home / "args.toml").write_text(f'huggingface_token = "{LOG_CONFIG}"\n')
    words = (
        "--allow-secrets",
        "--",
        *args,
        "--learning_rate",
        LOG_CONFIG,
        "--config_file",
        f"{scene.home}/args.toml",
    )
    done = scene.train(NAME, *words, STUB=how, HF_TOKEN=LOG_TOKEN, DEBUG="1")
    assert done.status == 1, done.err
    assert "reverted" in done.err
    return done


@pytest.mark.parametrize("how", ["accelerate", "rich", "accelerate+rich"])
@pytest.mark.parametrize(
    "args", [("--wandb_api_key", LOG_KEY), (f"--wandb_api_key={LOG_KEY}",)], ids=["two", "one"]
)
def test_a_trainer_that_fails_as_accelerate_does_gives_nothing_away(
    scene: Scene, how: str, args: tuple[str, ...]
) -> None:
    done = fail(scene, how, *args)
    assert LOG_KEY in re.sub(r"\s*train_util.py:17|\s+", "", done.out + done.err), (
        "the trainer was not given it"
    )
    told = everything(scene)
    assert "--wandb_api_key***" in re.sub("[',]", "", told) or "--wandb_api_key=***" in told
    for secret in (LOG_KEY, LOG_TOKEN, LOG_CONFIG, *(repr(LOG_CONFIG)[1:-1],)):
        for start in range(len(secret) - 9):
            assert secret[start : start + 10] not in told, secret
    own = [line for line in done.err.splitlines() if line.startswith(("loragit:", "warning:"))]
    assert any("started " in line and "***" in line for line in own)
    assert not any(secret in line for line in own for secret in (LOG_KEY, LOG_TOKEN, LOG_CONFIG))
    if how == "accelerate":
        assert "CalledProcessError: Command" in scene.git("log", "-1", "--format=%B", "runs")


def test_the_log_of_a_run_that_made_something_is_redacted_across_its_lines(scene: Scene) -> None:
    done = scene.train(
        NAME, "--", "--wandb_api_key", LOG_KEY, STUB="rich+late-fail", HF_TOKEN=LOG_TOKEN
    )
    assert done.status == 1
    (log,) = (scene.dataset / ".git" / "loragit" / "logs").iterdir()
    lines = log.read_text().splitlines()
    assert not any(
        part in line
        for line in lines
        for part in (LOG_KEY[:6], LOG_KEY[-6:], LOG_TOKEN[:6], LOG_TOKEN[-6:])
    )
    assert any(line.startswith("│ ***") for line in lines)
