"""Every parser of outside bytes keeps its word, whatever it is given.

In the gate a few examples, always the same; ``HYPOTHESIS_PROFILE=thorough`` tries others, and a
hundred times as many. ``fuzz/README.md`` tells how atheris tries millions.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fuzz_targets import TARGETS, THOROUGH
from tests.support.paths import FIXTURES

FOUND = FIXTURES / "fuzz"
SLOW = frozenset({"header", "event_file", "settings", "documents", "hook", "message"})
"""These open files or do several things at once."""

WORDS: dict[str, list[bytes]] = {
    "name": [
        b"noob-gren",
        b"-v2s512",
        b"-",
        b".",
        b"..",
        b"\xc3\xa9",
        b"@",
        b".lock",
        b"\x00",
        b"v",
        b"s",
        b"9" * 12,
    ],
    "settings": [
        b"[trainer]\n",
        b"[trainer.args]\n",
        b"[models.a]\n",
        b"[paths]\n",
        b"output = ",
        b"seed = ",
        b"'x'\n",
    ],
    "message": [
        *(
            b"Run: x\n",
            b"\n\n",
            b"\n",
            b" more\n",
            b"Model: a 5 bytes sha256:" + b"a" * 64 + b"\n",
            b"Reverts: ",
        ),
        *(
            b"Exit-Status: 1\n",
            b"Started: 2026-11-23T17:20:30Z\n",
            b"Final-Loss: nan\n",
            b"    log\n",
            b"\x1f",
            b"---\n",
        ),
        *(
            b"-----BEGIN SSH SIGNATURE-----\n",
            b'Revert "x"\n',
            "123 +²²²²\n".encode(),
            b"\xe2\x80\xae",
            b"\x1b[31m",
        ),
    ],
    "record": [
        *(
            b"format = 1\n",
            b"[run]\n",
            b"[dataset]\n",
            b"[trainer]\n",
            b"[lycoris]\ninstalled = true\n",
            b"[command]\n",
        ),
        *(
            b"[[weights]]\n",
            b'[files."a"]\n',
            b"argv = [\n",
            b'    "--seed",\n',
            b"]\n",
            b"steps = 1\n",
            b'name = "x"\n',
        ),
        *(
            b"[repositories.a]\n",
            b"commit = ",
            b"1e999\n",
            b"0x" + b"f" * 300 + b"\n",
            b'"\\u202e"\n',
            b"2026-11-23\n",
        ),
    ],
    "environment": [
        b"Python: 3.11\n",
        b"\n\n",
        b"torch==2.6\n",
        b"x @ a\n",
        b"==",
        b" @ ",
        b": ",
        b"\x85",
    ],
    "toml": [
        *(
            b"[a]\n",
            b"[a.b]\n",
            b"[[a]]\n",
            b"a = 1\n",
            b'a = "x"\n',
            b"a = [\n",
            b'    "y",\n',
            b"]\n",
            b"a.b = 1\n",
        ),
        *(
            b"a.b.c.",
            b"'x'",
            b'"""',
            b"'''",
            b"\\",
            b"{",
            b"}",
            b"#",
            b"\r\n",
            b"= nan\n",
            b'"a\\"b".',
            b"[" * 60,
        ),
    ],
    "documents": [
        *(
            b"\x00",
            b"[[datasets]]\n",
            b"[[datasets.subsets]]\n",
            b'image_dir = "a"\n',
            b"n = 1\n",
            b"n = 1.0\n",
            b'{"a":',
        ),
        *(
            b"[1,",
            b"]",
            b"}",
            b'"\\ud800"',
            b"NaN",
            b"true",
            b"a, b\n",
            b"\xe2\x80\xae",
            b"prompt = 'x'\n",
            b"[[prompt]]\n",
        ),
    ],
    "digests": [b"a" * 64, b"  ", b" *", b"\\", b"\n", b"a/b", b"\\n", b"\xff", b"..", b"\x00"],
    "note": [
        b"2026-11-24T19:30:00.000Z ",
        b"Starred: yes\n",
        b"Rating: 5\n",
        b"Rating: x\n",
        b"Best: a\n",
        b"\n",
        b"text",
    ],
    "old_run": [
        *(
            b"/a: (b) " + b"a" * 40,
            b"\n",
            b": ",
            b" (Failed to get branch)",
            b"a" * 40 + b"  x",
            b"Git command failed",
        ),
        *(
            b"export TRAINING_DIR=",
            b"$HOME/a",
            b'"',
            b"'",
            b"~",
            b"--dataset_config ",
            b"\r",
            b"\x00",
            b"(detached)",
        ),
    ],
    "header": [
        *(
            b"\x02\x00\x00\x00\x00\x00\x00\x00",
            b"{}",
            b'{"a":{"data_offsets":[0,1]}}',
            b'{"__metadata__":{"a":"b"}}',
        ),
        *(
            b"ss_x\n",
            b"modelspec.date\n",
            b"(loragit: a ",
            b"a" * 40,
            b"2026-01-01T00:00:00",
            b"[[",
            b"{",
            b'"',
            b"1e999",
        ),
    ],
    "event_file": [
        *(
            b"\x18" + bytes(7),
            b"\xa3\x7f\x4b\x22",
            b"\x0a",
            b"\x12",
            b"\x2a",
            b"\x15",
            b"\xff" * 9,
            b"loss/average",
        ),
        *(
            b"\x09" + bytes(8),
            b"\x10\x01",
            b"\x2a\x0c\x0a\x0a\x0a\x01a\x15\x00\x00\x80?",
            b"\x0a\x03a\x1bb",
        ),
    ],
    "terminal": [
        *(
            b"\x1b[",
            b"\x1b]",
            b"A",
            b"K",
            b"J",
            b"H",
            b"\r",
            b"\n",
            b"\t",
            b"\b",
            b"99999",
            b";",
            b"\x9b",
            b"\xe7\x94\xbb",
        ),
        *(
            b"\xcc\x81",
            b"\xe2\x80\xae",
            b"\xd8\x9c",
            b"text",
            b"\x1b",
            b"\x07",
            b"\xf0\x9f",
            b"\xe2\x81\xa6",
        ),
    ],
    "pointer": [
        b"version https://git-lfs.github.com/spec/v1\n",
        b"oid sha256:" + b"a" * 64 + b"\n",
        b"size ",
        b"1\n",
        b"-",
    ],
    "git_rows": [
        *(
            b"\x00",
            b"\x1f",
            b"\n",
            b" missing\n",
            b" submodule\n",
            b"a" * 40 + b" blob 3\n",
            b"40000 a\x00" + bytes(20),
        ),
        *(
            b"A <a> 1 +0000",
            b"fatal: \x1b]0;x\x07",
            b"error: ",
            "²".encode(),
            b" blob -1\n",
            b"a" * 70,
        ),
    ],
    "hook": [
        *(
            b"token",
            b" = ",
            b'"',
            b"hf_",
            b"a1B" * 12,
            b"\n",
            b"{",
            b"}",
            b":",
            b"'",
            b"# loragit: no secret",
            b"://",
        ),
        *(
            b"@",
            b"-----BEGIN PRIVATE KEY-----",
            b"[wandb]\n",
            b"login",
            b"s3cret-value",
            b"\\",
            b"machine a password b",
        ),
    ],
    "open_run": [
        b'run = "x"\n',
        b"pid = 1\n",
        b'started = "a"\n',
        b'pid_started = ""\nboot = ""\nhost = ""\noutput = ""\n',
    ],
    "one_line": [
        b"/home/ada",
        b"\xe2\x80\xae",
        b"\xed\xa0\x80",
        b"\xc2\x9b",
        b"https://a:b@c",
        b"\x7f",
        b"\xff",
        b"\xe2\x80\xa8",
    ],
    "file_name": [
        b"name",
        b"-000001",
        b"-step00000001",
        b".safetensors",
        b"_e000001_00_20261123164834_1.png",
        b"10_a",
        b"-state",
    ],
}
"""What each parser looks for, to get further into it than chance would."""


def test_every_parser_has_words_to_begin_with() -> None:
    assert WORDS.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_whatever_bytes_come_a_parser_keeps_its_word(name: str) -> None:
    pieces = st.lists(st.sampled_from(WORDS[name]) | st.binary(max_size=4), max_size=12).map(
        b"".join
    )
    most = (3_000 if name in SLOW else 10_000) if THOROUGH else (40 if name in SLOW else 100)

    @settings(
        max_examples=most,
        derandomize=not THOROUGH,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(pieces)
    def tried(data: bytes) -> None:
        TARGETS[name](data)

    tried()


@pytest.mark.parametrize(
    "path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_what_was_found_once_is_not_found_again(path: Path) -> None:
    """A file a failure, in the folder of its parser."""
    TARGETS[path.parent.name](path.read_bytes())
