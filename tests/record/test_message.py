"""What is written about a run: git reads the trailers, tomllib the table, and no character breaks a
line."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from unicodedata import bidirectional

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loragit import text
from loragit.record import run_toml, trailers
from loragit.record.message import (
    model_line,
    outcome_message,
    outcome_subject,
    parse_model_line,
    revert_message,
    run_message,
    run_subject,
)
from loragit.record.values import Entry, LyCORIS, ModelFile, RepoState, Weights
from tests.support.made_up_runs import CODE, MOMENT, NAME, a_run, an_outcome, opened

pytestmark = pytest.mark.every_python

ANY = st.text(max_size=12) | st.binary(max_size=8).map(os.fsdecode)
"""What a name on disk or an answer of git's may be: control characters, bytes that are no UTF-8,
everything."""
LINE = ANY.filter(lambda t: bool(t.split()))
CONFIG, SCRIPT = (hashlib.sha1(data).hexdigest() for data in (b"a = 1\n", b"#!/bin/sh\n"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"

DIRECTING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")

few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
many = settings(max_examples=200, deadline=None)


def as_written(value: str) -> str:
    return text.shown(value).strip()


def by_git(message: str) -> list[tuple[str, str]]:
    """The trailers, as git reads them."""
    done = subprocess.run(
        ["git", "interpret-trailers", "--parse"],
        input=message.encode(),
        capture_output=True,
        check=True,
    )
    rows = (line.partition(":") for line in done.stdout.decode().split("\n") if line)
    return [(key, value.removeprefix(" ")) for key, _, value in rows]


def by_us(message: str) -> list[tuple[str, str]]:
    return sorted(
        (key, value) for key, values in trailers.parse(message).items() for value in values
    )


# ---- any text on one line ----


@many
@given(ANY)
@example("a\nb\r\x1b[31m\x7f\x85\u2028\u2029\x9b")
@example("invoice\u202egnp.exe\u2066\u2069\u061c\u200f")
@example("\ud800\udc9b\udcc2\udc9b")
def test_what_is_shown_is_one_line_that_no_terminal_obeys(given: str) -> None:
    told = text.shown(given)
    assert len(told.splitlines()) <= 1
    assert not any(
        ord(c) < 32 or 127 <= ord(c) < 160 or bidirectional(c) in DIRECTING for c in told
    )
    told.encode()  # no half of a pair is left
    assert text.shown(told) == told


def test_what_can_be_shown_stays_as_it_is() -> None:
    for same in (
        "",
        "noob-gren-v2s512",
        "été 画 \N{WHITE HEAVY CHECK MARK}",
        r"C:\new",
        "a\N{NO-BREAK SPACE}b",
    ):
        assert text.shown(same) == same
    assert text.shown("\x1b[31m\n\udcff\x9b\u2028") == "\\x1b[31m\\x0a\\xff\\x9b\\x2028"
    assert text.shown("\ud800 \u202eab") == "\\xd800 \\x202eab", (
        "half a pair as JSON can have it; another direction"
    )
    assert text.shown("a\u200bb\ufeff\U000e0041") == "a\\x200bb\\xfeff\\xe0041", (
        "what takes no room"
    )


def test_a_record_holds_no_letter_that_directs_writing() -> None:
    run = a_run(workdir="~/a\u202eb\u2067", dataset="g\u200fren")
    source = run_toml.run_toml(run).data.decode()
    assert not any(bidirectional(letter) in DIRECTING for letter in source)
    assert tomllib.loads(source)["command"]["workdir"] == run.workdir


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/ada", "~"),
        ("/home/ada/x", "~/x"),
        ("--a=/home/ada/x:/home/ada/y", "--a=~/x:~/y"),
        ("'/home/ada/it''s'", "'~/it''s'"),
        ("file:///home/ada/x", "file://~/x"),
        ("/home/adam/x", "/home/adam/x"),
        ("/mnt/home/ada/x", "/mnt/home/ada/x"),
        ("./home/ada", "./home/ada"),
        ("~/home/ada", "~/home/ada"),
        ("a-/home/ada", "a-/home/ada"),
    ],
)
def test_the_home_folder_is_a_tilde_where_a_path_under_it_begins(given: str, shown: str) -> None:
    assert text.home_as_tilde(given, "/home/ada") == shown
    assert text.home_as_tilde(given, "/home/ada/") == shown
    assert text.home_as_tilde(given, "") == given
    assert text.home_as_tilde(given, "/") == given


@many
@given(st.text(min_size=1, max_size=8).filter(lambda t: "/" not in t), ANY)
@example("a+(b", "x")
@example("\\1", "")
def test_a_home_folder_of_any_name_is_a_tilde(name: str, below: str) -> None:
    assert text.home_as_tilde(f"/home/{name}/{below}", f"/home/{name}").startswith("~/")
    told = text.home_as_tilde(below, f"/home/{name}")
    assert told == below or f"/home/{name}" in below


# ---- trailers ----


@few
@given(ANY, LINE, LINE, LINE, LINE, ANY)
@example("", "---", "# a", "Signed-off-by: x", "a: b", "\n\nRun: other\n")
def test_git_and_loragit_read_the_same_trailers_whatever_the_names_are(
    prefix: str, dataset: str, branch: str, url: str, weights: str, lycoris: str
) -> None:
    code = CODE._replace(branch=branch, url=url)
    run = a_run(
        dataset=dataset,
        prefix=prefix,
        trainer=code,
        lycoris=LyCORIS(repo=code, commit=COMMIT, version=lycoris, editable=True),
        weights=(Weights("VAE", weights, None),),
    )
    message = run_message(run)
    expected = [
        ("Run", NAME),
        ("Dataset", as_written(dataset)),
        *([("Dataset-Path", as_written(prefix))] if prefix else []),
        ("Trainer-Commit", "a" * 40),
        ("Trainer-Branch", as_written(branch)),
        ("Trainer-URL", as_written(url)),
        ("LyCORIS-Commit", COMMIT),
        ("LyCORIS-URL", as_written(url)),
        ("Config-SHA1", CONFIG),
        ("Script-SHA1", SCRIPT),
        ("VAE", as_written(weights)),
        ("Loragit-Format", "1"),
    ]
    assert by_git(message) == expected
    assert by_us(message) == sorted(expected)
    assert message.endswith("\n")
    assert message.splitlines()[1] == ""


@few
@given(st.lists(ANY, max_size=4), LINE)
@example(["Run: other", "", "---", "Reverts: nothing"], "x")
def test_a_reverts_trailers_are_told_from_the_log_that_it_quotes(
    tail: list[str], dataset: str
) -> None:
    message = revert_message(
        opened(a_run(dataset=dataset, prefix="gren"), COMMIT), 137, "It made\nnothing.", tuple(tail)
    )
    expected = [
        ("Run", NAME),
        ("Dataset", as_written(dataset)),
        ("Dataset-Path", "gren"),
        ("Exit-Status", "137"),
        ("Reverts", COMMIT),
        ("Loragit-Format", "1"),
    ]
    assert by_git(message) == expected
    if not any(line.lstrip().startswith("---") for line in tail):  # see the next test
        assert by_us(message) == sorted(expected)
    lines = message.split("\n")
    assert lines[0].startswith(f'Revert "{NAME}: noob on ')
    assert lines[2:5] == [f"This reverts commit {COMMIT}.", "", "It made\\x0anothing."]
    if tail:
        assert [line[4:] for line in lines[8 : 8 + len(tail)]] == [
            text.shown(line) for line in tail
        ]


def test_a_ruler_in_a_quoted_log_does_not_end_the_message() -> None:
    message = revert_message(opened(a_run(), COMMIT), 1, "It made nothing.", ("-----------",))
    assert by_us(message) == sorted(by_git(message))


def paths(more: st.SearchStrategy[str]) -> st.SearchStrategy[ModelFile]:
    digest = st.sampled_from(["0" * 64, "af" * 32])
    number = st.none() | st.integers(0, 10**9)
    return st.builds(
        ModelFile, more, st.integers(0, 2**60), digest, st.none() | digest, number, number
    )


@many
@given(paths(LINE.map(as_written)))
@example(ModelFile(f"a 5 bytes sha256:{'0' * 64} step:1", 1, "0" * 64, None, None, 2))
def test_a_models_line_is_read_back(model: ModelFile) -> None:
    assert parse_model_line(model_line(model)) == model


@pytest.mark.parametrize(
    "line", ["", "a.safetensors", "a.safetensors 5 bytes", f"a 5 bytes sha256:{'0' * 63}"]
)
def test_what_is_no_models_line_is_not_read(line: str) -> None:
    assert parse_model_line(line) is None


@few
@given(st.lists(paths(LINE), max_size=3), st.lists(LINE, max_size=2), LINE)
def test_git_reads_every_line_of_an_outcome(
    models: list[ModelFile], others: list[str], output: str
) -> None:
    outcome = an_outcome(
        models=tuple(models),
        truncated=tuple(others),
        states=tuple(others),
        state_weights=tuple(models),
        unreadable=tuple(others),
        output=output,
    )
    found = by_git(outcome_message(NAME, outcome))
    for trailer in ("Model", "State-Weights"):
        read = [parse_model_line(value) for key, value in found if key == trailer]
        assert read == [model._replace(path=text.shown(model.path).lstrip()) for model in models]
    for key in ("Truncated", "State", "Unreadable"):
        assert [value for at, value in found if at == key] == [
            as_written(other) for other in others
        ]
    assert ("Output", as_written(output)) in found


# ---- messages in words ----


def test_a_message_reads_as_people_write() -> None:
    code = CODE._replace(
        path=Path("/code/LyCORIS"), label="LyCORIS", branch="dev", url=None, dirty=("a.py", "b.py")
    )
    run = a_run(
        dataset_commit=COMMIT,
        dataset_dirty=3,
        images=214,
        captions=214,
        trainer=CODE._replace(branch=None, dirty=("x.py",)),
        lycoris=LyCORIS(repo=code, commit=code.commit, editable=True),
        weights=(
            Weights("Base-Model", "noob.safetensors", "d" * 64),
            Weights("VAE", "owner/vae", None, revision="e" * 40),
            Weights("T5-Tokenizer", "owner/t5", None),
            Weights("Resume", "gren-state", None, files_sha256="f" * 64),
        ),
        prompts="sample-prompts.txt",
        entries=(*a_run().entries, Entry("sample-prompts.txt", b"x")),
    )
    assert (
        run_message(run)
        == f"""{NAME}: noob on gren, version 1, 4 steps

sd-scripts aaaaaaaa (detached, 1 file changed) of https://example.org/sd-scripts
LyCORIS aaaaaaaa (dev, 2 files changed, editable)
214 images, 214 captions; dataset at 01234567

Run: {NAME}
Dataset: gren
Trainer-Commit: {"a" * 40}
Trainer-URL: https://example.org/sd-scripts
Trainer-Dirty: 1 file
LyCORIS-Commit: {"a" * 40}
LyCORIS-Dirty: 2 files
Dataset-Commit: {COMMIT}
Dataset-Dirty: 3 files
Config-SHA1: {CONFIG}
Prompts-SHA1: {hashlib.sha1(b"x").hexdigest()}
Script-SHA1: {SCRIPT}
Base-Model: noob.safetensors sha256:{"d" * 64}
VAE: owner/vae revision:{"e" * 40}
T5-Tokenizer: owner/t5
Resume: gren-state files-sha256:{"f" * 64}
Loragit-Format: 1
"""
    )


def test_what_a_name_does_not_tell_is_left_out() -> None:
    assert run_subject(a_run(name="gren-4")) == "gren-4: gren, 4 steps"
    told = run_message(a_run(trainer=CODE._replace(url=None, branch=None)))
    assert "dataset not committed yet" in told
    assert "Trainer-URL" not in told
    assert "Trainer-Branch" not in told


@pytest.mark.parametrize(
    ("lycoris", "line", "found"),
    [
        (LyCORIS(), "LyCORIS not installed", {"LyCORIS": "not installed"}),
        (LyCORIS(version="3.2.0"), "LyCORIS 3.2.0 (release)", {"LyCORIS-Version": "3.2.0"}),
        (
            LyCORIS(version="3.2.0", editable=True),
            "LyCORIS 3.2.0 (editable, of no commit)",
            {"LyCORIS-Version": "3.2.0"},
        ),
        (
            LyCORIS(commit=COMMIT, url="https://example.org/l", version="3.2.0"),
            "LyCORIS 01234567",
            {"LyCORIS-Commit": COMMIT, "LyCORIS-URL": "https://example.org/l"},
        ),
    ],
)
def test_lycoris_is_told_in_every_form(lycoris: LyCORIS, line: str, found: dict[str, str]) -> None:
    message = run_message(a_run(lycoris=lycoris))
    assert line in message.splitlines()
    assert {key: value for key, value in by_git(message) if key.startswith("LyCORIS")} == found


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "1 model, 2 samples, 42 min"),
        ({"models": (), "samples": 0}, "0 models, 0 samples, 42 min"),
        ({"models": (), "samples": 1}, "1 sample, 42 min"),
        ({"states": ("a-state",)}, "1 model, 1 state, 2 samples, 42 min"),
        (
            {"truncated": ("a", "b"), "exit_status": 1},
            "1 model, 2 cut short, 2 samples, 42 min, exit status 1",
        ),
        ({"models": (), "unreadable": ("a",), "samples": 0}, "1 unreadable, 0 samples, 42 min"),
        ({"finished": MOMENT + timedelta(seconds=59.4)}, "1 model, 2 samples, 59 s"),
        ({"finished": MOMENT + timedelta(hours=3, minutes=5)}, "1 model, 2 samples, 3 h 5 min"),
    ],
)
def test_an_outcomes_subject_says_what_came_out(changes: dict[str, object], told: str) -> None:
    assert outcome_subject(an_outcome(**changes)) == told


def test_an_outcome_tells_times_signals_and_losses() -> None:
    outcome = an_outcome(interrupted_by="SIGINT", final_loss=0.1234567, exit_status=130)
    found = dict(by_git(outcome_message(NAME, outcome)))
    assert found["Started"] == "2026-11-23T17:20:30Z"
    assert found["Finished"] == "2026-11-23T18:02:30Z"
    assert found["Duration"] == "2520"
    assert found["Interrupted-By"] == "SIGINT"
    assert found["Final-Loss"] == "0.123457"
    assert "Final-Loss" not in outcome_message(NAME, an_outcome())


@pytest.mark.parametrize(
    ("outcome", "subject"),
    [
        ({"others": 2}, "2 other files, 2 samples"),
        ({"others": 1, "samples": 0, "truncated": ("a",)}, "1 cut short, 1 other file, 0 samples"),
        ({"others": 0, "samples": 0}, "0 models, 0 samples"),
    ],
)
def test_files_that_are_no_products_are_counted_where_there_is_no_model(
    outcome: dict[str, object], subject: str
) -> None:
    found = outcome_subject(an_outcome(models=(), states=(), **outcome))
    assert found.startswith(f"{subject}, ")
    assert "other" not in outcome_subject(an_outcome(others=2))


def test_a_moment_is_told_in_utc() -> None:
    east = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=13)))
    assert text.timestamp(east) == "2025-12-31T11:30:00Z"
    assert text.timestamp(MOMENT.astimezone(UTC)) == "2026-11-23T17:20:30Z"


# ---- run.toml and repos.git ----


def every_text(value: str) -> dict[str, object]:
    """Changes that put ``value`` wherever a run holds free text."""
    code = RepoState(
        value, Path("/x") / value.replace("\0", ""), COMMIT, value, value, (value,), on_remote=False
    )
    return {
        "dataset": value,
        "prefix": value,
        "trainer": code,
        "trainer_kind": "sd-scripts",
        "trainer_script": value,
        "lycoris": LyCORIS(repo=code, commit=COMMIT, url=value, version=value),
        "argv": (value, value),
        "workdir": value,
        "weights": (Weights("VAE", value, "d" * 64),),
        "dataset_commit": COMMIT,
    }


@many
@given(ANY)
@example("\udcff")
@example("\"\"\"\n'''\\\x00\x7f\x85")
def test_the_table_of_a_run_is_toml_and_holds_every_text(value: str) -> None:
    table = tomllib.loads(run_toml.run_toml(a_run(**every_text(value))).data.decode())
    held = re.sub("[\udc80-\udcff]", lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", value)
    assert table["dataset"]["name"] == held
    assert table["trainer"]["branch"] == table["trainer"]["url"] == held
    assert table["trainer"]["dirty"] == [held]
    assert table["lycoris"]["version"] == held
    assert table["command"] == {"workdir": held, "argv": [held, held]}
    assert table["weights"] == [{"role": "VAE", "name": held, "sha256": "d" * 64}]
    bare = tomllib.loads(
        run_toml.run_toml(a_run(lycoris=LyCORIS(commit=COMMIT, url=value))).data.decode()
    )
    assert bare["lycoris"] == {"installed": True, "editable": False, "commit": COMMIT, "url": held}


def test_the_table_lists_files_with_their_sha1_and_leaves_captions_to_the_tree() -> None:
    table = tomllib.loads(run_toml.run_toml(a_run(name="gren-4")).data.decode())
    assert table["files"] == {
        "config.toml": {"sha1": CONFIG, "size": 6},
        "train.sh": {"sha1": SCRIPT, "size": 10},
    }
    assert table["format"] == 1
    assert table["run"] == {"name": "gren-4", "steps": 4}
    assert table["dataset"]["path"] == "."
    assert table["lycoris"] == {"installed": False}
    assert "weights" not in table


def test_the_order_of_a_runs_files_does_not_matter() -> None:
    run = a_run()
    assert run_toml.run_toml(run) == run_toml.run_toml(run._replace(entries=run.entries[::-1]))


def test_repos_git_tells_both_repositories() -> None:
    lycoris = LyCORIS(repo=CODE._replace(path=Path("/code/LyCORIS"), branch=None), commit="a" * 40)
    assert run_toml.repos_git(a_run(lycoris=lycoris)).decode() == (
        f"/code/sd-scripts: (sd3) {'a' * 40}\n/code/LyCORIS: (detached) {'a' * 40}\n"
        f"{SCRIPT}  train.sh\n{CONFIG}  config.toml\n"
    )


@many
@given(ANY.filter(lambda t: "\0" not in t))
def test_repos_git_is_a_line_a_repository_whatever_it_is_called(value: str) -> None:
    data = run_toml.repos_git(
        a_run(trainer=CODE._replace(path=Path("/code") / value, branch=value))
    )
    assert len(data.decode("utf-8", "surrogateescape").splitlines()) == 3


def test_the_same_run_is_told_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Callable[[], object]] = [
        lambda: run_message(a_run()),
        lambda: run_toml.run_toml(a_run()),
        lambda: run_toml.repos_git(a_run()),
        lambda: outcome_message(NAME, an_outcome()),
    ]
    before = [tell() for tell in told]
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert [tell() for tell in told] == before
