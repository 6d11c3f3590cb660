"""Records, outcomes, reverts and environments as values, whatever somebody wrote in them."""

from __future__ import annotations

import pytest

from loragit.history.record_parser import (
    CannotReadRecord,
    finite_number,
    parse_environment,
    parse_outcome,
    parse_record,
    parse_revert,
    parse_trailers,
    script_arguments,
    whole_number,
)
from loragit.record.message import without_signature
from loragit.record.values import Weights

WHOLE = b"""
format = 1
weights = [
    {role = "VAE", name = "vae.pt", sha256 = "aa"}, {files_sha256 = "bb", revision = "cc"}, 3,
]

[run]
name = "b"
version = true
steps = 8

[dataset]
name = 3
dirty = 2
images = "many"

[trainer]
kind = "sd-scripts"
commit = "cc"
version = "v1"
dirty = ["x.py", 4]

[lycoris]
installed = "yes"
version = "3"

[repositories.code]
commit = "dd"

[files."a.toml"]
sha1 = "ee"
size = 7

[files]
b = 1

[command]
argv = "python"
"""


def test_a_value_of_another_type_counts_as_missing() -> None:
    record = parse_record(WHOLE, "a")
    assert (record.format, record.name, record.version, record.steps) == (1, "b", None, 8)
    assert (record.dataset, record.dataset_dirty, record.images) == ("", 2, None)
    assert record.weights == (Weights("VAE", "vae.pt", "aa"), Weights("", "", None, "bb", "cc"))
    assert record.trainer == ("sd-scripts", "cc", None, None, ("x.py",), "v1")
    assert record.lycoris is None
    assert [(code.label, code.commit) for code in record.repositories] == [("code", "dd")]
    assert {path: tuple(file) for path, file in record.files.items()} == {
        "a.toml": ("ee", 7),
        "b": ("", 0),
    }
    assert (record.argv, record.workdir) == ((), None)
    assert record.table["format"] == 1


def test_lycoris_is_there_if_it_was_installed() -> None:
    record = parse_record(b'[lycoris]\ninstalled = true\nversion = "3"\n', "a")
    assert record.format == 0
    assert record.lycoris is not None
    assert (record.lycoris.label, record.lycoris.version) == ("LyCORIS", "3")


def test_a_record_of_a_later_format_and_one_that_is_damaged() -> None:
    with pytest.raises(CannotReadRecord, match="a is recorded in format 2"):
        parse_record(b"format = 2\n", "a")
    with pytest.raises(CannotReadRecord, match=r"run\.toml of a is damaged"):
        parse_record(b"\xff\n", "a")


@pytest.mark.parametrize(
    ("argv", "script", "found"),
    [
        ("accelerate launch --n 1 /x/train.py --seed 7", "train.py", {"seed": ("7",)}),
        ("python y/train.py --seed 7", "x/train.py", {"seed": ("7",)}),
        ("python --seed 7", "train.py", {"seed": ("7",)}),
        ("--seed 7 --flag", None, {"seed": ("7",), "flag": ()}),
        ("a/ --seed 7", "", {"seed": ("7",)}),
    ],
)
def test_the_arguments_are_those_after_the_script(
    argv: str, script: str | None, found: dict[str, tuple[str, ...]]
) -> None:
    assert dict(script_arguments(argv.split(), script)) == found


def test_the_arguments_that_a_record_lists_count_before_those_of_the_command() -> None:
    command = b'[trainer]\nscript = "t.py"\n[command]\nargv = ["t.py", "--seed", "7"]\n'
    assert dict(parse_record(command, "a").args) == {"seed": ("7",)}
    listed = (
        b'[arguments]\nseed = "8"\nnetwork_args = ["algo=lokr", "factor=4"]\nlowram = true\n'
        b"number = 3\nempty = []\nno = false\n"
    )
    assert dict(parse_record(command + listed, "a").args) == {
        "seed": ("8",),
        "network_args": ("algo=lokr", "factor=4"),
        "lowram": (),
    }


def test_lines_of_an_environment_that_are_none_are_passed_over() -> None:
    found = parse_environment(
        b"Python: 3.11\nGPU: one\nGPU: two: three\nodd\n\n"
        b"torch==2.6\nlycoris @ 0123\nodd\n==1\na==b==c\nd @e\n"
    )
    assert dict(found.about) == {"Python": ("3.11",), "GPU": ("one", "two: three")}
    assert dict(found.packages) == {"torch": "2.6", "lycoris": "@ 0123", "a": "b==c"}


def test_what_an_outcome_says() -> None:
    message = (
        "b: 1 model\n\nRun: b\nExit-Status: 130\nDuration: 7\nSamples: 3\nFinal-Loss: 0.25\n"
        "Started: 2026-11-23T17:20:30Z\nOutput: ~/x\nState: s\nInterrupted-By: SIGINT\n"
    )
    found = parse_outcome(message, "b")
    assert (found.exit_status, found.seconds, found.samples, found.final_loss) == (130, 7, 3, 0.25)
    assert (found.subject, found.output, found.interrupted_by) == ("1 model", "~/x", "SIGINT")
    assert (found.states, found.models) == (("s",), ())
    assert found.started is not None and found.started.isoformat() == "2026-11-23T17:20:30+00:00"
    nothing = parse_outcome("b: 1 model\n", "b")
    assert (nothing.exit_status, nothing.samples, nothing.started) == (None, 0, None)
    zero = parse_outcome("b: x\n\nSamples: 0\nFinished: 9999-12-31T23:59:59-23:59\n", "b")
    assert (zero.samples, zero.finished) == (0, None)


def test_the_reason_of_a_revert_is_its_first_prose() -> None:
    paragraphs = (
        "Revert it",
        "This reverts commit 0123.",
        "Key: value\nOther: value",
        "It made\nnothing.",
        "The last lines of its log:",
        "    Error:\n      twice",
        "Run: b\nReverts: 0123\nExit-Status: 1",
    )
    revert = parse_revert("a" * 40, "\n\n".join(paragraphs) + "\n")
    assert (revert.reason, revert.exit_status) == ("It made nothing.", 1)
    assert revert.log_tail == ("Error:", "  twice")
    quoted = parse_revert("a" * 40, "Revert it\n\n    Error\n\nReverts: 0123\n")
    assert (quoted.reason, quoted.log_tail) == ("", ("Error",))


def test_trailers_go_on_where_a_line_begins_with_a_blank() -> None:
    found = parse_trailers("a\n\nKey: one\n two\n\tthree\nno trailer\n four\n: five\nKey: six\n")
    assert dict(found) == {"Key": ("one two three", "six")}


def test_numbers_are_of_plain_digits() -> None:
    assert whole_number("9" * 18) == 10**18 - 1
    assert whole_number("0") == 0
    for odd in ("9" * 19, "\uff11", "\u00b2", "1_0", "+1", " 1", ""):
        assert whole_number(odd) is None
    assert finite_number("0") == 0.0
    assert finite_number("-1e3") == -1000.0


@pytest.mark.parametrize("kind", ["PGP SIGNATURE", "SSH SIGNATURE", "SIGNED MESSAGE"])
def test_a_signature_is_no_part_of_a_message(kind: str) -> None:
    assert without_signature(f"a\n\nRun: b\n-----BEGIN {kind}-----\nx\n") == "a\n\nRun: b"
    assert without_signature("a\n\n") == "a"
