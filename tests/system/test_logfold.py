"""The log of a training holds what a terminal would show, a line each."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loragit.system.logfold import LIMIT, WINDOW, Folder
from tests.support.paths import FIXTURES

pytestmark = pytest.mark.every_python

TERMINAL = FIXTURES / "terminal"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

UP = "\x1b[A"


def fold(*pieces: bytes | str) -> list[str]:
    folder = Folder()
    lines: list[str] = []
    for piece in pieces:
        lines += folder.feed(piece.encode() if isinstance(piece, str) else piece)
    return lines + folder.close()


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


# What sd-scripts and tqdm wrote


def test_a_run_of_sd_scripts_reads_as_on_the_terminal() -> None:
    data = (TERMINAL / "ok.log").read_bytes()
    lines = fold(data)
    assert len(lines) == data.count(b"\n")
    assert lines[1] == (
        "2026-11-23 17:20:30 INFO     Using v1 tokenizer                strategy_sd.py:26"
    )
    assert "2026-11-23 17:20:31|[LyCORIS]-INFO: Using rank adaptation algo: lokr" in lines
    assert "running training / 学習開始" in lines
    assert "saving checkpoint: ~/output_dir/base-tiny-v1s4/base-tiny-v1s4.safetensors" in lines
    assert not any(CONTROL.search(line) for line in lines)


def test_a_failed_run_of_sd_scripts_keeps_its_traceback() -> None:
    lines = fold((TERMINAL / "badmodule.log").read_bytes())
    at = lines.index("Traceback (most recent call last):")
    assert lines[at + 1] == '  File "~/src/sd-scripts/train_network.py", line 1913, in <module>'
    assert "ModuleNotFoundError: No module named 'lycoris.nothing'" in lines
    assert not any(CONTROL.search(line) for line in lines)


def test_a_progress_bar_of_tqdm_leaves_its_last_state() -> None:
    lines = fold((TERMINAL / "tqdm-steps.log").read_bytes())
    assert [line.partition("|")[0] for line in lines] == [
        "plain line before",
        "steps:  50%",  # where the trainer printed in the middle of it
        "saving checkpoint: out/tiny-step00000020.safetensors",
        "steps: 100%",
        "plain line after",
    ]
    assert lines[3].endswith("avr_loss=0.025]")


def test_nested_bars_of_tqdm_leave_a_line_each() -> None:
    lines = fold((TERMINAL / "tqdm-nested.log").read_bytes())
    assert [line.partition("|")[0] for line in lines] == [
        "plain line before",
        "epoch:   0%",  # told before anything had moved up
        "epoch 1 done",
        "epoch 2 done",
        "epoch 3 done",
        "epoch: 100%",
        "plain line after",
    ]


def test_three_bars_side_by_side_leave_a_line_each() -> None:
    lines = fold((TERMINAL / "tqdm-three.log").read_bytes())
    assert [line.partition("|")[0] for line in lines] == [
        "plain line before",
        "worker 0:   0%",
        "worker 0: 100%",
        "worker 1: 100%",
        "worker 2: 100%",
        "plain line after",
    ]


# Line ends and redraws


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_every_line_end_is_one(end: str) -> None:
    assert fold(f"one{end}{end}two{end}") == ["one", "", "two"]


def test_lines_are_told_as_soon_as_they_end() -> None:
    folder = Folder()
    assert folder.feed(b"one\ntw") == ["one"]
    assert folder.current == "tw"
    assert folder.feed(b"o\r") == []
    assert folder.feed(b"\n") == ["two"]
    assert folder.current == ""
    assert folder.close() == []
    assert folder.close() == []


def test_what_is_only_overwritten_leaves_its_tail() -> None:
    assert fold("loading\rdone\n") == ["doneing"]


def test_what_is_erased_leaves_none() -> None:
    assert (
        fold("loading\r\x1b[Kdone\n", "loading\rdone\x1b[K\n", "loading\x1b[2K\rdone\n")
        == ["done"] * 3
    )


def test_padding_that_hid_a_longer_text_is_no_text() -> None:
    assert fold("loading\rdone   \n") == ["done"]


def test_blanks_that_were_printed_stay() -> None:
    assert fold("  a line   \n") == ["  a line   "]


def test_a_bar_that_was_erased_leaves_no_line() -> None:
    assert fold("before\n", "50%|#####     |\r               \r", "\nafter\n") == [
        "before",
        "after",
    ]
    assert fold("before\n", "50%|#####     |\r\x1b[K", "\nafter\n") == ["before", "after"]


def test_erasing_up_to_the_cursor_blanks_what_stood_there() -> None:
    assert fold("12345\b\b\x1b[1Kx\n") == ["   x5"]
    assert fold("12345\x1b[1K\rx\n") == ["x"]
    assert fold("12345\x1b[7Kx\n") == ["12345x"]


def test_a_backspace_moves_and_does_not_erase() -> None:
    assert fold("12%\b\b\b13%\n", "\b\bx\n") == ["13%", "x"]


def test_the_cursor_moves_within_a_line() -> None:
    assert fold("abc\x1b[2Dx\x1b[Cy\x1b[5Gz\x1b[3C!\n") == ["axcyz   !"]


def test_tabs_become_blanks() -> None:
    assert fold("a\tb\t\tc\n") == ["a       b               c"]
    assert fold("abcdefghij\ra\tx\n") == ["abcdefghxj"]


# Wide characters


def test_a_wide_character_hides_two_columns() -> None:
    assert fold("aaaaaaaaaa\r学習中    \n") == ["学習中"]


def test_half_a_wide_character_does_not_stay() -> None:
    assert fold("学習\rx\n") == ["x 習"]
    assert fold("学習\x1b[2Gx\n") == [" x習"]
    assert fold("学習\x1b[4G\x1b[K\n") == ["学"]


@pytest.mark.parametrize("text", ["e\u0301te\u0301", "学\u3099習", "\u0301alone", "👩\u200d💻 !"])
def test_combining_marks_stay_with_their_base(text: str) -> None:
    assert fold(text + "\n") == [text]
    assert fold(*text, "\n") == [text]
    assert fold(text + "\r" + "x" * 12 + "\n") == ["x" * 12]


def test_a_mark_beyond_the_end_of_the_line_stands_alone() -> None:
    assert fold("a\x1b[5G\u0301\n") == ["a   \u0301"]


# Moves between lines


def test_a_bar_below_a_bar_costs_no_lines() -> None:
    redraws = "".join(f"\n\rinner {i:4d}\x1b[A\router {i:4d}" for i in range(5000))
    assert fold("outer\n", UP, redraws, "\n\n") == ["outer", "outer 4999", "inner 4999"]


def test_a_table_that_is_drawn_again_leaves_its_last_state() -> None:
    table = "".join(f"\r\x1b[2K\x1b[1A\x1b[2Kloss {i}\nstep {i}" for i in range(1, 500))
    assert fold("loss 0\nstep 0", table, "\ndone\n") == ["loss 0", "loss 499", "step 499", "done"]


def test_what_an_upward_move_leaves_as_it_was_is_not_told_again() -> None:
    assert fold("one\ntwo\n\x1b[2A\x1b[2Bthree\n") == ["one", "two", "three"]


def test_a_line_that_is_told_again_keeps_what_was_not_overwritten() -> None:
    assert fold("step 1 of 9\n\x1b[F\x1b[6G2\x1b[Eend\n") == ["step 1 of 9", "step 2 of 9", "end"]


def test_lines_are_held_only_while_a_program_moves_upwards() -> None:
    folder = Folder()
    assert folder.feed(b"outer\ninner\x1b[A\router 2\n") == ["outer"]
    assert folder.feed(b"inner 2\nplain\n") == ["outer 2", "inner 2"]
    told = [line for i in range(40) for line in folder.feed(f"line {i}\n".encode())]
    assert told == ["plain", *(f"line {i}" for i in range(40))]


def test_moves_stop_at_the_first_and_at_the_last_row() -> None:
    assert fold("a\n\x1b[999Ab\x1b[999Bc\n") == ["a", "b", " c"]
    many = "".join(f"{i}\n" for i in range(200))
    lines = fold(many, "\x1b[999AX\n")
    assert len(lines) == 201
    assert lines[-1] == f"X{200 - WINDOW}"[:1] + str(200 - WINDOW)[1:]


def test_erasing_downwards_takes_the_rows_below() -> None:
    assert fold("a\nb\nc\x1b[2A\r\x1b[Jx\n") == ["a", "b", "x"]
    assert fold("a\nb\x1b[A\x1b[1Jx\n") == ["a", "ax", "b"]


def test_a_cleared_screen_loses_nothing() -> None:
    assert fold("one\ntwo\x1b[H\x1b[2Jthree\n") == ["one", "two", "three"]


# Escape sequences and control characters


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[1;31m",
        "\x1b[38:2:1:2:3m",
        "\x1b[?25l",
        "\x1b[0 q",
        "\x1b[5S",
        "\x1b7",
        "\x1b(B",
        "\x1b=",
        "\x1b]0;a title\x07",
        "\x1b]8;id=1;file://host/a%20b\x1b\\",
        "\x1b]8;;\x9c",
        "\x1bP+q544e\x1b\\",
        "\x1b_Gi=1;AAAA\x1b\\",
        "\x1b[" + "1;" * 400 + "m",
        "\x1b\x1b[0m",
        "\x1b]cut off\x1b[0m",
    ],
)
def test_escape_sequences_are_removed(sequence: str) -> None:
    assert fold(f"a{sequence}b\n") == ["ab"]
    assert fold(*f"a{sequence}b\n") == ["ab"]


def test_a_hyperlink_keeps_its_text() -> None:
    assert fold("see \x1b]8;id=7;file://x/y.py#26\x1b\\y.py\x1b]8;;\x1b\\:26\r\n") == [
        "see y.py:26"
    ]


def test_an_unfinished_sequence_hides_no_line() -> None:
    assert fold("a\x1b]0;title\nb\x1b[1;3\nc\x1b\nd\x1b[3ée\x1bé\n") == ["a", "b", "c", "dée" + "é"]
    assert fold("a\x1b[1") == ["a"]


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x07", "^G"),
        ("\x00", "^@"),
        ("\x0b", "^K"),
        ("\x7f", "^?"),
        ("\x9b", "<U+009B>"),
        ("\u202e", "<U+202E>"),
    ],
)
def test_other_control_characters_are_shown(character: str, shown: str) -> None:
    assert fold(f"a{character}b\n") == [f"a{shown}b"]


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert fold(b"a\xffb\n", b"\xe5\xad") == ["a\ufffdb", "\ufffd"]


# Bounds


@pytest.mark.parametrize("text", ["x" * (2 * LIMIT + 5), "x" + "学" * LIMIT, "a\t" * LIMIT])
def test_a_line_without_an_end_is_broken(text: str) -> None:
    lines = fold(text)
    assert "".join(lines).split() == text.split()
    assert len(lines) >= 2
    assert max(map(len, lines)) <= LIMIT + 1


def test_a_line_as_long_as_the_limit_is_whole() -> None:
    assert fold("x" * LIMIT + "\nend\n") == ["x" * LIMIT, "end"]
    assert fold("x" * LIMIT + "\b\by\n") == ["x" * (LIMIT - 2) + "yx"]


def test_memory_is_bounded_however_long_the_output() -> None:
    folder = Folder()
    line = b"x" * 1000 + b"\n"
    endless = b"y" * 100_000
    marks = "e\u0301".encode() + "\u0301".encode() * 5000
    tracemalloc.start()
    for piece in (line, endless, marks, b"\x1b[" + b"1;" * 5000, b"\x1b]" + b"t" * 5000):
        for _ in range(100):
            folder.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


# Whatever comes

OUTPUT = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *("\n", "\r\n", "\r", "\b", "\t", "\x07", "\x1b", "\x9b", "\x18"),
                *(
                    "\x1b[A",
                    "\x1b[2A",
                    "\x1b[B",
                    "\x1b[C",
                    "\x1b[3D",
                    "\x1b[2G",
                    "\x1b[K",
                    "\x1b[1K",
                    "\x1b[2K",
                ),
                *(
                    "\x1b[J",
                    "\x1b[2J",
                    "\x1b[H",
                    "\x1b[1;31m",
                    "\x1b[",
                    "\x1b]0;t\x07",
                    "\x1b]8;;\x1b\\",
                    "\x1b]",
                ),
                *(
                    "学",
                    "\u0301",
                    "text",
                    " ",
                    "\x1b[F",
                    "\x1b[E",
                    "one\ntwo\r\nthree\n",
                    "x" * 40_000,
                ),
            ]
        ),
        st.text(max_size=6),
        st.binary(max_size=4),
    ),
    max_size=30,
).map(
    lambda parts: b"".join(
        p if isinstance(p, bytes) else p.encode("utf-8", "replace") for p in parts
    )
)


@settings(max_examples=300, deadline=None)
@given(data=OUTPUT, places=st.lists(st.integers(0, 400), max_size=12))
@example(data=b"a\r\x1b[K\n  b  \n", places=[5, 6])
@example(data=b"ab\x1b[A\r\nc \n", places=[0, 1, 2, 3, 4, 5, 6, 7, 8])
def test_the_same_bytes_give_the_same_lines_however_they_are_cut(
    data: bytes, places: list[int]
) -> None:
    assert fold(*cut(data, places)) == fold(data)


@settings(max_examples=100, deadline=None)
@given(data=OUTPUT)
def test_byte_by_byte_gives_the_same_lines(data: bytes) -> None:
    data = data[:500]
    assert fold(*cut(data, range(len(data)))) == fold(data)


@settings(max_examples=200, deadline=None)
@given(data=st.one_of(OUTPUT, st.binary(max_size=200)))
def test_no_line_holds_a_control_character(data: bytes) -> None:
    assert not any(CONTROL.search(line) for line in fold(data))


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(
        st.text(
            st.characters(
                exclude_categories=["Cc", "Cs", "Zl", "Zp"],
                exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
            ),
            max_size=30,
        ),
        max_size=8,
    )
)
def test_plain_lines_come_through_as_they_are(lines: list[str]) -> None:
    assert fold("".join(f"{line}\n" for line in lines)) == lines
    assert fold(*(f"\x1b[1m{line}\x1b[0m\r\n" for line in lines)) == lines
