"""What a hostile document, message or file may cost: time in proportion to its size, and memory
within bounds.

Each took the square of the time, or gigabytes, before; processor time is what counts, for machines
are busy.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from loragit import parse
from loragit.dataset.inputs import CannotReadInput, parse_input, read_input
from loragit.git import catfile
from loragit.git.command import GitFailed
from loragit.git.repository import discover, read_tree, start_file, start_tree
from loragit.history import branch, losses, plain_toml, record_parser
from loragit.history.compare import lines, tables
from loragit.record import message, trailers
from loragit.record.name import RUNS
from loragit.run.importing import zsh_helpers
from loragit.run.importing.targets import RecordedTrainings
from loragit.secrets import tables as secret_tables
from loragit.settings.document import UnreadableSettings, read_settings_file
from loragit.store import products
from loragit.trainers import losses as logged_losses
from loragit.trainers import tensorboard
from loragit.trainers.safetensors import NotSafetensors, read_header
from loragit.trainers.sd_scripts.trainer import SdScripts
from tests.support.growth import within
from tests.support.made_up_runs import NAME, open_store, sealed
from tests.support.paths import SD_SCRIPTS
from tests.support.processes import commit_all, git

pytestmark = pytest.mark.every_python

SECONDS = 6.0
"""Ten times what the largest of these takes; in the square of its size each took tens of seconds or
more."""


def soon() -> AbstractContextManager[None]:
    return within(SECONDS)


# ---- as long as it is large ----


def refused(source: str) -> None:
    with pytest.raises(ValueError, match="key"):
        plain_toml.parse_document(source)


SQUARES: dict[str, tuple[Callable[[str], object], str]] = {
    "trailers of one key": (record_parser.parse_trailers, "s\n\n" + "A: b\n" * 100_000),
    "a trailer that goes on": (record_parser.parse_trailers, "s\n\nA: b\n" + " b\n" * 200_000),
    "trailers as git has them": (trailers.parse, "s\n\n" + "A: b\n" * 50_000),
    "an environment of one key": (
        lambda told: record_parser.parse_environment(told.encode()),
        "A: b\n" * 100_000,
    ),
    "repositories of code": (
        lambda told: zsh_helpers.sorted_codes(
            zsh_helpers.parse_repos_git(told.encode()).repositories
        ),
        "".join(f"/x{number}: (b) {'a' * 40}\n" for number in range(10_000)),
    ),
    "a script of blank lines": (
        lambda told: list(zsh_helpers.dataset_folders(zsh_helpers.ReposGit(), told.encode(), "/h")),
        "\n" * 100_000,
    ),
    "lines that repeat": (lambda told: lines.compare_lines(told, "b\n" + told), "a\n" * 1_900),
    "tables with names": (
        lambda told: tables.compare_tables(
            *(({"a": json.loads(told)}, {"a": [{**t, "n": 1} for t in json.loads(told)]}))
        ),
        json.dumps([{"name": str(number)} for number in range(10_000)]),
    ),
    "equal tables": (
        lambda told: tables.compare_tables(
            {"a": json.loads(told)}, {"a": json.loads(told), "b": 1}
        ),
        json.dumps([{"n": 1}] * 20_000),
    ),
    "secrets of many names": (
        lambda told: list(secret_tables.find_table_secrets(told.encode())),
        "".join(f'token{number} = "aaaaaaaa1bbbbB{number}"\n' for number in range(5_000)),
    ),
    "secrets of one name": (
        lambda told: list(secret_tables.find_table_secrets(told.encode())),
        "".join(f'[[a]]\ntoken = "aaaaaaaa1bbbbB{number}"\n' for number in range(5_000)),
    ),
    "a key of many parts": (refused, "a." * 100_000 + "a = 1"),
    "a table of many parts": (refused, f"[{'a.' * 100_000}a]"),
    "quotes that do not end": (refused, '"\\".' * 100_000),
    "keys of almost too many parts": (parse._has_long_key, ("a." * 99 + "! ") * 5_000),
    "a text of escapes": (parse._has_long_key, 'a = """' + "\\a" * 500_000 + "." * 100),
    "a script of blanks": (
        lambda told: list(zsh_helpers.dataset_folders(zsh_helpers.ReposGit(), told.encode(), "/h")),
        "\n".join([" " * 200_000 + "export" + " " * 200_000] * 5),
    ),
}


@pytest.mark.parametrize("what", SQUARES)
def test_reading_takes_as_long_as_the_text_is(what: str) -> None:
    read, given = SQUARES[what]
    with soon():
        read(given)


def test_what_is_found_is_still_told_by_its_line() -> None:
    data = b"a = 1\ntoken = 'aaaaaaaa1bbbbB'\n[b]\ntoken = 'aaaaaaaa1bbbbC' # loragit: no secret\n"
    assert [found.line for found in secret_tables.find_table_secrets(data)] == [2]


def test_values_go_on_in_the_next_lines_of_a_trailer() -> None:
    said = "s\n\n stray\nA: b\n c\n\td\nno trailer\n more of it\nA: e\nB:\n"
    assert dict(record_parser.parse_trailers(said)) == {"A": ("b c d", "e"), "B": ("",)}


# ---- documents ----


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("a = " + "[" * 101 + "]" * 101, "nested deeper than 100"),
        ("a = " + "[" * 90_000, "nested too deep"),
        ("a = 0x" + "f" * 5_000, "an integer is too large"),
        ("a." * 101 + "a = 1", "a key has more than 100 parts"),
        ("a = { " + "'x' . " * 101 + "a = 1 }", "a key has more than 100 parts"),
        ('"\\"".' * 101 + "a = 1", "a key has more than 100 parts"),
        ("#" * (parse.MAX_TOML + 1), "longer than 4 MiB"),
    ],
)
def test_too_much_of_a_toml_document_is_refused(source: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(parse.BeyondBounds, match=problem):
        parse.read_toml(source)
    (tmp_path / "loragit.toml").write_text(source)
    with pytest.raises(UnreadableSettings, match=problem if len(source) < 200_000 else "256 KiB"):
        read_settings_file(tmp_path / "loragit.toml")
    with pytest.raises(CannotReadInput, match=problem):
        parse_input(Path("config.toml"), source.encode(), "config")
    with pytest.raises(record_parser.CannotReadRecord, match=problem):
        record_parser.parse_record(source.encode(), "x")


@pytest.mark.parametrize(
    "dots",
    [
        "'" + "a." * 500 + "'",
        '"""\n' + "a." * 500 + '"""',
        "1 # " + "a." * 500,
        "[" + "1.5, " * 500 + "]",
    ],
)
def test_dots_in_texts_comments_and_numbers_are_no_parts_of_a_key(dots: str) -> None:
    assert parse.read_toml(f"a = {dots}").keys() == {"a"}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("[" * 101 + "]" * 101, "nested deeper"),
        ("[" * 90_000, "too deep"),
        ("[" + "1" * 400 + "]", "too large"),
    ],
)
def test_too_much_of_a_json_document_is_refused(source: str, problem: str) -> None:
    with pytest.raises(parse.BeyondBounds, match=problem):
        parse.read_json(source)


def test_a_json_document_of_too_many_values_is_refused_unread() -> None:
    with soon(), pytest.raises(parse.BeyondBounds, match="4,000,000 values"):
        parse.read_json(b"[" + b"[]," * parse.MAX_VALUES + b"1]")
    with pytest.raises(parse.BeyondBounds):
        parse.check_values("," * (parse.MAX_VALUES + 1))


def test_numbers_of_many_digits_are_no_numbers_of_a_model() -> None:
    line = f"a 5 bytes sha256:{'0' * 64}"
    assert message.parse_model_line(line.replace("5", "5" * 5_000)) is None
    assert message.parse_model_line(f"{line} step:{'1' * 5_000}") is None
    assert message.parse_model_line(line.replace("5", "\N{ARABIC-INDIC DIGIT FIVE}")) is None


def test_a_date_with_odd_digits_is_none() -> None:
    assert branch._parse_date("123 +\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT TWO}00") == (123, 0)


# ---- files ----


def test_a_header_of_countless_values_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    entries = b'{"a":[' + b"[]," * (parse.MAX_VALUES + 1) + b"1]}"
    path.write_bytes(len(entries).to_bytes(8, "little") + entries)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with soon(), pytest.raises(NotSafetensors, match="more than 4,000,000 values"):
        read_header(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KiB"


@pytest.mark.parametrize("claimed", [2**63, 2**64 - 1, 10**9])
def test_a_length_that_is_only_claimed_takes_no_memory(claimed: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(claimed.to_bytes(8, "little") + b"{}")
    with pytest.raises(NotSafetensors, match="ends within its header"):
        read_header(path)
    length = claimed.to_bytes(8, "little")
    path.write_bytes(length + tensorboard._masked_crc(length).to_bytes(4, "little") + bytes(100))
    with soon():
        assert list(tensorboard.scalars(path)) == []


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "events.out.tfevents.1"
    os.mkfifo(pipe)
    assert logged_losses.final_loss([pipe], SdScripts.losses) is None
    with pytest.raises(CannotReadInput, match="not a plain file"):
        read_input(pipe, "input")


def test_a_device_without_an_end_is_not_read(tmp_path: Path) -> None:
    link = tmp_path / "config.toml"
    link.symlink_to("/dev/zero")
    with soon(), pytest.raises(CannotReadInput, match="not a plain file"):
        read_input(link, "dataset config")


def test_all_events_of_a_run_together_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = SD_SCRIPTS / "logs"
    file = next(fixture.rglob("events.out.tfevents.*"))
    once = list(losses._read_losses([file], SdScripts.losses))
    assert once
    monkeypatch.setattr(losses, "_MOST_BYTES", file.stat().st_size)
    assert list(losses._read_losses([file, file], SdScripts.losses)) == once


# ---- what git says ----


def test_of_a_long_answer_only_the_beginning_is_held(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dataset / "run.toml").write_text("a" * 1_000_000)
    commit_all(dataset, "a record of somebody's")
    repository = discover(dataset)
    assert start_file("HEAD", "run.toml", repository).beginning(10) == b"a" * 10
    assert start_file("HEAD", "nothing", repository).beginning(10) == b""
    assert "run.toml" in read_tree(start_tree("HEAD", repository))
    monkeypatch.setattr("loragit.git.repository._MOST_TREE", 50)
    assert read_tree(start_tree("HEAD", repository)) == {}


def test_a_record_or_a_tree_without_an_end_is_not_read_before_a_run(dataset: Path) -> None:
    tree = git(dataset, "rev-parse", "HEAD^{tree}")
    for _ in range(8):
        listed = "".join(f"040000 tree {tree}\td{number}\n" for number in range(16))
        tree = git(dataset, "mktree", text_input=listed)
    git(dataset, "update-ref", "refs/heads/runs", git(dataset, "commit-tree", tree, "-m", "x"))
    with soon():
        assert read_tree(start_tree(RUNS, discover(dataset))) == {}


def test_a_commit_of_another_repository_is_no_object_here(dataset: Path) -> None:
    git(dataset, "update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},sub")
    git(dataset, "commit", "-q", "-m", "a submodule")
    with catfile.Reader(discover(dataset).top) as reader:
        assert reader.read("HEAD:sub") is None


@pytest.mark.parametrize(
    "head", [b"\n", b"a\n", b"a blob \xc2\xb2\n", b"a blob -1\n", b"a blob 5 x\n", b"a blob 5"]
)
def test_an_answer_that_is_none_is_a_failure(head: bytes) -> None:
    import io

    with pytest.raises(GitFailed, match="cannot read x"):
        catfile._answer(io.BytesIO(head), b"x\n", 10)


def test_a_record_that_is_nested_deep_is_no_estimate_of_room(dataset: Path) -> None:
    from loragit.commands.doctor import disk as checkpoints

    (dataset / "run.toml").write_text("a = " + "[" * 50_000)
    commit_all(dataset, "a record of somebody's")
    git(dataset, "tag", "-a", "-m", "x", "mine")
    assert checkpoints.past_runs(discover(dataset)) == ()


def test_deep_documents_end_no_comparison() -> None:
    code = (
        "from loragit.history.compare.details import _parse_document; "
        "print(_parse_document('a.json', '[' * 900 + ']' * 900))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        == b"None\n"
    )


def test_a_tag_that_is_longer_than_any_of_ours_hides_no_run_and_takes_no_room(
    dataset: Path,
) -> None:
    opened = sealed(open_store(dataset), NAME)
    subprocess.run(
        ["git", "tag", "-a", "-F", "-", "aaa"], input=b"b" * (5 << 20), cwd=dataset, check=True
    )
    records = products.Records([dataset])
    assert [each.commit for each in records.holding(f"sha256:{'b' * 64}")] == [opened.commit]
    assert sum(len(told) for _, told in records._texts()) < 2 << 20
    assert records.repository_of(NAME, opened.commit) == dataset
    assert records.repository_of(NAME, "a" * 40) is None
    known = RecordedTrainings(discover(dataset))
    assert known._tags.keys() == {"aaa", NAME}
    assert known._runs.keys() == {opened.commit}
