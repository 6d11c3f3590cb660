"""Notes on runs: what git shows of them, that none is lost, and how they read."""

from __future__ import annotations

import os
import pty
import subprocess
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.record import notes
from tests.support.made_up_runs import NAME, open_store, reverted, sealed
from tests.support.processes import LORAGIT, git
from tests.support.user_home import Scene, make_scene

MOMENT = datetime(2026, 11, 24, 19, 30, 0, 999_000, tzinfo=UTC)


@pytest.fixture
def scene(home: Path) -> Scene:
    """A dataset with a run on record that nobody trained."""
    made = make_scene(home)
    sealed(open_store(made.dataset), NAME)
    return made


def noted(scene: Scene, revision: str = NAME) -> list[str]:
    """The note as git has it, each line without its moment."""
    return [
        line.split(" ", 1)[1]
        for line in scene.git("notes", "show", f"{revision}^{{commit}}").splitlines()
    ]


@pytest.mark.parametrize(
    ("note", "after"),
    [(b"", b"new\n"), (b"old\n", b"old\nnew\n"), (b"old", b"old\nnew\n")],
)
def test_a_line_that_is_added_begins_one(note: bytes, after: bytes) -> None:
    assert notes.append_lines(note, ["new"]) == after


def test_a_note_is_shown_by_plain_git_log_and_what_is_there_is_kept(scene: Scene) -> None:
    assert (
        scene.loragit("note", NAME, "-m", "soft edges", "-m", "try rank 8\nand fewer steps").status
        == 0
    )
    done = scene.loragit("note", NAME, "--star", "--rating", "4", "--best", f"{NAME}")
    assert (done.status, done.out, done.err) == (0, "", f"loragit: noted 3 lines on {NAME}\n")
    assert noted(scene) == [
        "soft edges",
        "try rank 8",
        "and fewer steps",
        "Starred: yes",
        "Rating: 4",
        f"Best: {NAME}.safetensors",
    ]
    assert "soft edges" in scene.git("log", "runs")
    scene.git("fsck", "--strict")
    assert scene.git("status", "--porcelain") == ""


def test_a_run_that_was_reverted_can_be_noted(scene: Scene) -> None:
    opened = reverted(open_store(scene.dataset), "noob-gren-v2s4")
    assert scene.loragit("note", "noob-gren-v2s4", "-m", "lroa, not lora").status == 0
    assert noted(scene, opened.commit) == ["lroa, not lora"]


def test_notes_that_others_wrote_with_git_are_kept_whatever_their_fan_out(scene: Scene) -> None:
    commit = scene.git("rev-parse", f"{NAME}^{{commit}}")
    blob = git(scene.dataset, "hash-object", "-w", "--stdin", text_input="by hand\n")
    for place in (commit, f"{commit[:2]}/{commit[2:]}", f"{commit[:2]}/{commit[2:4]}/{commit[4:]}"):
        index = {"GIT_INDEX_FILE": str(scene.home / "index")}
        (scene.home / "index").unlink(missing_ok=True)
        other = f"{'0' * 2}/{'0' * 38}" if "/" in place else "0" * 40
        for path in (place, other):
            words = ("git", "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
            assert scene.run(words, scene.dataset, index).status == 0
        tree = scene.run(("git", "write-tree"), scene.dataset, index).out.strip()
        scene.git("update-ref", notes.REF, scene.git("commit-tree", "-m", "notes", tree))
        assert scene.loragit("note", NAME, "-m", "by loragit").status == 0
        lines = scene.git("notes", "show", commit).splitlines()
        assert (lines[0], lines[1].split(" ", 1)[1]) == ("by hand", "by loragit")
        assert scene.git("ls-tree", "-r", "--name-only", notes.REF).splitlines().count(place) == 1
    # A new note goes where the tree's own fan-out has it, beside what is there.
    opened = sealed(open_store(scene.dataset), "noob-gren-v2s4")
    assert scene.loragit("note", "noob-gren-v2s4", "-m", "new").status == 0
    assert noted(scene, opened.commit) == ["new"]


def test_of_many_notes_at_once_none_is_lost(scene: Scene) -> None:
    runs = [sealed(open_store(scene.dataset), f"noob-gren-v{n}s4").name.text for n in range(2, 5)]
    words = [
        (*LORAGIT, "note", run, "-m", f"{run} {number}") for number in range(3) for run in runs
    ]
    children = [
        subprocess.Popen(each, cwd=scene.dataset, stderr=subprocess.DEVNULL) for each in words
    ]
    assert [child.wait() for child in children] == [0] * 9
    for run in runs:
        assert sorted(noted(scene, run)) == [f"{run} {number}" for number in range(3)]


def test_notes_of_two_machines_are_joined_by_git_in_their_order(scene: Scene) -> None:
    assert scene.loragit("note", NAME, "-m", "b: first\na: second").status == 0
    scene.git("update-ref", "refs/notes/other", notes.REF)
    assert scene.loragit("note", NAME, "-m", "here").status == 0
    git(scene.dataset, "config", "core.notesRef", "refs/notes/other")
    scene.git("notes", "append", "-m", "2026-01-01T00:00:00.000Z there", f"{NAME}^{{commit}}")
    git(scene.dataset, "config", "--unset", "core.notesRef")
    scene.git("notes", "merge", "--strategy=cat_sort_uniq", "refs/notes/other")
    assert [line for line in noted(scene) if line] == ["there", "b: first", "a: second", "here"]


@pytest.mark.parametrize(
    ("words", "told", "next_step", "status"),
    [
        (
            (NAME, "--best", "x.safetensors"),
            f"{NAME} left no model x.safetensors",
            f"it left: {NAME}.safetensors",
            2,
        ),
        ((NAME, "-m", "  \n "), "nothing was noted: there is no text", "-m TEXT", 1),
        ((NAME,), "nothing was noted: there is no terminal for an editor", "-m TEXT", 1),
        (("noob-gren-v9s4", "-m", "x"), "there is no run noob-gren-v9s4", "did you mean", 1),
        ((NAME, "--rating", "6"), "6 is not in the range", "Usage", 2),
    ],
)
def test_what_cannot_be_noted_is_refused_and_nothing_is_written(
    scene: Scene, words: tuple[str, ...], told: str, next_step: str, status: int
) -> None:
    done = scene.loragit("note", *words)
    assert done.status == status
    assert told in done.err
    assert next_step in done.err
    assert scene.git("for-each-ref", notes.REF) == ""


def test_a_run_without_models_has_no_best(scene: Scene) -> None:
    reverted(open_store(scene.dataset), "noob-gren-v2s4")
    assert "it left no model at all" in scene.loragit("note", "noob-gren-v2s4", "--best", "x").err


def at_a_terminal(scene: Scene, editor: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "GIT_EDITOR": editor, "TERM": "dumb"}
    child = subprocess.Popen(
        [*LORAGIT, "note", NAME],
        cwd=scene.dataset,
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    _, err = child.communicate()
    os.close(ours)
    return child.returncode, err.decode()


def test_without_a_text_the_users_editor_is_asked(scene: Scene) -> None:
    script = scene.home / "my editor"
    script.write_text(
        '#!/bin/sh\ncp "$2" "$1.seen"\nprintf "from the editor\\n# not this\\n" >> "$2"\n'
    )
    script.chmod(0o755)
    status, err = at_a_terminal(scene, f"'{script}' 'an argument'")
    assert (status, err) == (0, f"loragit: noted 1 line on {NAME}\n")
    assert noted(scene) == ["from the editor"]


def test_an_editor_that_fails_or_writes_nothing_notes_nothing(scene: Scene) -> None:
    assert at_a_terminal(scene, "false") == (
        1,
        "error: nothing was noted: the editor ended with exit status 1\nhint: it was: false\n",
    )
    assert at_a_terminal(scene, "true")[1].startswith("error: nothing was noted: there is no text")
    assert scene.git("for-each-ref", notes.REF) == ""


@given(st.lists(st.text(), max_size=20), st.binary(max_size=50))
def test_any_text_becomes_lines_that_sort_and_nothing_is_lost(
    texts: list[str], before: bytes
) -> None:
    lines = notes.stamp_lines(texts, MOMENT)
    assert list(lines) == sorted(lines)
    assert len(lines) == sum(bool(text.strip()) for text in texts)
    after = notes.append_lines(before, lines)
    assert after.startswith(before)
    added = after[len(before) :].decode().removeprefix("\n").split("\n")
    assert [line for line in added if line] == list(lines)
    assert not any(unicodedata.category(letter) == "Cc" for line in added for letter in line)


def test_moments_pass_the_end_of_a_second() -> None:
    first, second = notes.stamp_lines(["a", "b"], MOMENT)
    assert (first, second) == ("2026-11-24T19:30:00.999Z a", "2026-11-24T19:30:01.000Z b")
    assert datetime.fromisoformat(second[:24]) - datetime.fromisoformat(first[:24]) == timedelta(
        milliseconds=1
    )
