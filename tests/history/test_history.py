"""The reading API: what is on record is told as values, and what cannot be read is told as a
fact."""

from __future__ import annotations

import gc
import math
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loragit
import loragit.history
from loragit import History, LoragitError, RecordedRun
from loragit.git.catfile import Reader, rows
from loragit.git.command import GitFailed, NotARepository
from loragit.history import as_json, branch, record_reader
from loragit.history import history as readers
from loragit.history.compare import cached
from loragit.history.history import REVERTED, SEALED, NoSuchFile, NoSuchRun
from loragit.history.query import where
from loragit.history.record_parser import (
    CannotReadRecord,
    finite_number,
    parse_outcome,
    parse_record,
    parse_revert,
    parse_trailers,
    whole_number,
)
from loragit.history.record_reader import TooManyFiles
from loragit.record import trailers
from loragit.record.values import Entry, Weights
from loragit.settings.paths import cache_folder
from tests.support.made_up_runs import (
    MOMENT,
    NAME,
    a_run,
    an_outcome,
    open_store,
    reverted,
    sealed,
    untagged,
)
from tests.support.paths import ROOT
from tests.support.processes import git

ENVIRONMENT = (
    b"Python: 3.11.7\nPlatform: Linux\nGPU: one\nGPU: two\n\n"
    b"lycoris_lora @ 0123abcd\ntorch==2.6.0+cu124\ntools==1 (editable)\n"
)
ARGV = (
    "accelerate",
    "launch",
    "--num_processes",
    "1",
    "~/sd/sdxl_train_network.py",
    "--network_dim",
    "8",
    "--xformers",
)


def entries(*more: Entry) -> tuple[Entry, ...]:
    return (*a_run().entries, *more)


def append_commit(folder: Path, message: str, *parents: str, tree: str = "runs^{tree}") -> str:
    """A commit of somebody else's on ``runs``."""
    found = git(folder, "rev-parse", tree)
    args = [arg for parent in parents or ("runs",) for arg in ("-p", parent)]
    made = git(folder, "commit-tree", *args, found, text_input=message)
    git(folder, "update-ref", "refs/heads/runs", made)
    return made


# ---- what the list tells ----


def test_public_names_are_those_of_docs_python_and_cost_nothing_until_they_are_used() -> None:
    """docs/python.md promises them; ``loragit --version`` and hooks must not wait for them."""
    documented = (ROOT / "docs" / "python.md").read_text()
    promised = set(re.findall(r"`loragit\.((?:history|git)\.\w+)", documented))
    assert promised == {
        "git.NotARepository",
        "history.CannotReadRecord",
        "history.NoSuchRun",
        "history.compare_in_full",
    }
    for name in [*promised, *(f"history.{each}" for each in loragit.history.__all__)]:
        room, _, what = name.partition(".")
        assert getattr(getattr(loragit, room), what).__name__ == what, name
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        loragit.history.nonsense  # noqa: B018
    code = "import sys, loragit.history; print(*(m for m in sys.modules if m[:7] == 'loragit'))"
    loaded = subprocess.run([sys.executable, "-c", code], stdout=-1, text=True, check=True).stdout
    assert set(loaded.split()) == {"loragit", "loragit.version", "loragit.history"}


def test_a_sealed_run_is_told_as_values(dataset: Path) -> None:
    opened = sealed(open_store(dataset), NAME)
    (run,) = History.of(str(dataset)).runs
    assert isinstance(run, RecordedRun)
    assert (run.name, run.commit, run.dataset, run.path, run.state) == (
        NAME,
        opened.commit,
        "gren",
        "",
        SEALED,
    )
    assert run.subject == "noob on gren, version 1, 4 steps"
    assert run.opened.isoformat() == git(dataset, "log", "-1", "--format=%aI", "runs")
    assert run.opened.utcoffset() in (timedelta(hours=12), timedelta(hours=13)), (
        "as it was in Auckland"
    )
    assert run.trailers["Trainer-Commit"] == ("a" * 40,)
    assert (run.trailer("Trainer-Branch"), run.trailer("VAE")) == ("sd3", None)
    assert (run.format, run.imported, run.resumed_from, run.derived_from) == (1, False, (), ())
    assert run.revert is None
    outcome = run.outcome
    assert outcome is not None
    assert (outcome.exit_status, outcome.started, outcome.seconds) == (0, MOMENT, 2520)
    assert outcome.finished == MOMENT + timedelta(minutes=42)
    assert outcome.models == an_outcome().models
    assert (outcome.samples, outcome.final_loss, outcome.output) == (
        2,
        None,
        f"~/output_dir/{NAME}",
    )
    assert outcome.subject == "1 model, 2 samples, 42 min"
    assert repr(run) == f"<sealed run {NAME}, commit {opened.commit[:8]}>"


def test_a_reverted_run_tells_why(dataset: Path) -> None:
    opened = reverted(open_store(dataset), NAME, "CUDA out of memory", "", "  at the end")
    run = History.of(dataset).run(NAME)
    assert (run.state, run.outcome) == (REVERTED, None)
    assert run.revert is not None
    assert run.revert.commit == git(dataset, "rev-parse", "runs")
    assert run.revert.exit_status == 1
    assert run.revert.reason == "The trainer ended with exit status 1 and made nothing."
    assert run.revert.log_tail[0] == "CUDA out of memory"
    assert run.revert.log_tail[-1] == "  at the end"
    assert run.commit == opened.commit


def test_lineage_and_imports_are_told_by_their_trailers(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    message = (
        "old: a run\n\nRun: old\nDataset: gren\nImported: 2026-01-01\nResumed-From: other\n"
        "Derived-From: one\nDerived-From: two\n  and more\nLoragit-Format: 2\n"
    )
    append_commit(dataset, message)
    run = History.of(dataset).run("old")
    assert (run.imported, run.resumed_from, run.derived_from) == (
        True,
        ("other",),
        ("one", "two and more"),
    )
    assert run.format == 2


def test_notes_are_read_whether_git_has_spread_them_or_not(dataset: Path) -> None:
    store = open_store(dataset)
    first, second = sealed(store, NAME), sealed(store, "noob-gren-v2s4")
    assert History.of(dataset).run(NAME).notes == ()
    git(dataset, "notes", "add", "-m", "2026-11-24T08:00:00Z too dark\n\nlate", first.commit)
    assert History.of(dataset).run(NAME).notes == ("2026-11-24T08:00:00Z too dark", "late")
    blob = git(dataset, "hash-object", "-w", "--stdin", text_input="spread\n")
    path = f"{second.commit[:2]}/{second.commit[2:]}"
    git(dataset, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    tree = git(dataset, "write-tree", f"--prefix={second.commit[:2]}/")
    folder = git(dataset, "mktree", text_input=f"040000 tree {tree}\t{second.commit[:2]}\n")
    git(
        dataset,
        "update-ref",
        "refs/notes/commits",
        git(dataset, "commit-tree", "-m", "notes", folder),
    )
    assert History.of(dataset).run("noob-gren-v2s4").notes == ("spread",)


# ---- which run is meant ----


def test_a_run_is_found_by_name_by_its_beginning_and_by_commit(dataset: Path) -> None:
    store = open_store(dataset)
    again = [reverted(store, NAME), sealed(store, NAME)]
    sealed(store, "noob-gren-v12s4")
    history = History.of(dataset)
    assert [run.commit for run in history.find(NAME)] == [again[1].commit, again[0].commit]
    assert history.run(NAME).state == SEALED
    assert history.run("noob-gren-v1s").commit == again[1].commit
    assert history.run(again[0].commit[:12].upper()).state == REVERTED
    with pytest.raises(
        NoSuchRun, match="noob-gren-v1 means several runs: noob-gren-v12s4, noob-gren-v1s4"
    ) as failure:
        history.run("noob-gren-v1")
    assert failure.value.hint == "write more of it"
    with pytest.raises(NoSuchRun, match="there is no run noob-gren-v13s4 on record") as failure:
        history.run("noob-gren-v13s4")
    assert failure.value.hint == "did you mean noob-gren-v1s4 or noob-gren-v12s4?"
    with pytest.raises(NoSuchRun):
        history.run("")


def test_a_beginning_that_means_many_names_a_few(dataset: Path) -> None:
    store = open_store(dataset)
    for number in range(7):
        untagged(store, f"noob-gren-v{number}s4")
    with pytest.raises(NoSuchRun, match=r"noob-gren-v2s4 and 2 more$"):
        History.of(dataset).run("noob")


def test_several_commits_of_one_beginning_are_told(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(dataset)
    untagged(store, NAME), untagged(store, NAME)
    history = History.of(dataset)
    alike = tuple(
        run._replace(commit=f"abcd{number}" * 8) for number, run in enumerate(history.runs)
    )
    monkeypatch.setattr(history, "_runs", alike)
    with pytest.raises(NoSuchRun, match="abcd means several runs: abcd0"):
        history.run("abcd")


def test_the_run_before_is_the_newest_sealed_one_of_the_dataset(dataset: Path) -> None:
    store = open_store(dataset)
    names = ("noob-gren-v1s4", "noob-gren-v2s4", "noob-mark-v1s4", "noob-gren-v3s4")
    sealed(store, names[0])
    reverted(store, names[1])
    sealed(store, names[2], dataset="mark", prefix="mark")
    sealed(store, names[3])
    history = History.of(dataset)
    before = {run.name: history.previous(run) for run in history.runs}
    assert before[names[0]] is None
    assert before[names[2]] is None
    for name in (names[1], names[3]):
        assert before[name] == history.run(names[0])


# ---- what a record holds ----


def test_the_record_is_told_as_values(dataset: Path) -> None:
    weights = (
        Weights("Base-Model", "noob.safetensors", "d" * 64),
        Weights("VAE", "madebyollin/sdxl-vae", None),
    )
    digests = Entry("dataset.sha256", f"{'e' * 64}  img/00.png\n{'f' * 64}  img/00.txt\n".encode())
    environment = Entry("environment.txt", ENVIRONMENT)
    sealed(
        open_store(dataset), NAME, weights=weights, argv=ARGV, entries=entries(environment, digests)
    )
    run = History.of(dataset).run(NAME)
    record = run.record
    assert record is run.record, "read once"
    assert (record.name, record.model, record.version, record.steps, record.epochs) == (
        NAME,
        "noob",
        1,
        4,
        None,
    )
    assert record.args == {"network_dim": ("8",), "xformers": ()}, "not the launcher's"
    assert record.argv == ARGV
    assert record.weights == weights
    assert (record.trainer.label, record.trainer.commit, record.trainer.branch) == (
        "sd-scripts",
        "a" * 40,
        "sd3",
    )
    assert record.lycoris is None
    assert record.files["config.toml"].size == 6
    assert record.table["format"] == 1
    assert run.read("./config.toml") == b"a = 1\n"
    assert run.captions == {"img/00.txt": run.tree["captions/img/00.txt"].id}
    assert [file.path for file in run.dataset_files] == ["img/00.png", "img/00.txt"]
    assert run.environment.about["GPU"] == ("one", "two")
    assert run.packages == {
        "lycoris_lora": "@ 0123abcd",
        "torch": "2.6.0+cu124",
        "tools": "1 (editable)",
    }
    with pytest.raises(
        NoSuchFile, match="the record of noob-gren-v1s4 holds no file captions"
    ) as failure:
        run.read("captions")
    assert failure.value.hint == f"see what it holds: loragit show {NAME}"
    for path in ("", "nothing", "../a.txt", "a\nb"):
        with pytest.raises(NoSuchFile):
            run.read(path)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            b"format = 2\n[run]\nname = 'later'\n",
            "is recorded in format 2, and this loragit reads format 1",
        ),
        (b"format = = 1", "run.toml of noob-gren-v1s4 is damaged"),
        (b"a = " + b"[" * 5000, "run.toml of noob-gren-v1s4 is damaged"),
        (b"\xff", "run.toml of noob-gren-v1s4 is damaged"),
        (b"#" * 2**21, "run.toml of noob-gren-v1s4 is 2097152 bytes long"),
        (None, "run.toml of noob-gren-v1s4 is missing"),
    ],
    ids=["newer", "damaged", "nested", "no text", "huge", "missing"],
)
def test_a_record_that_cannot_be_read_is_told_and_the_run_is_listed(
    dataset: Path, toml: bytes | None, message: str
) -> None:
    sealed(open_store(dataset), NAME)
    gc.collect()  # what an earlier test left is not to be cleared away in the deepest recursion
    if toml is None:
        tree = git(dataset, "mktree", text_input="")
    else:
        (dataset / "toml").write_bytes(toml)
        blob = git(dataset, "hash-object", "-w", "toml")
        tree = git(dataset, "mktree", text_input=f"100644 blob {blob}\trun.toml\n")
    text = git(dataset, "log", "-1", "--format=%B", "runs")
    made = git(dataset, "commit-tree", tree, text_input=text)
    git(dataset, "update-ref", "refs/heads/runs", made)
    history = History.of(dataset)
    (run,) = history.runs
    assert run.trailer("Trainer-Branch") == "sd3"
    with pytest.raises(CannotReadRecord, match=message) as failure:
        assert run.record
    assert failure.value.hint


def test_a_whole_record_is_read(dataset: Path) -> None:
    sealed(open_store(dataset), NAME, dataset_dirty=3, epochs="8")
    record = History.of(dataset).run(NAME).record
    assert (record.format, record.name, record.model, record.version) == (1, NAME, "noob", 1)
    assert (record.steps, record.epochs, record.dataset) == (4, "8", "gren")
    assert (record.dataset_commit, record.dataset_dirty) == (None, 3)
    assert (record.images, record.captions) == (1, 1)
    assert (record.trainer_kind, record.trainer_script) == ("sd-scripts", "sdxl_train_network.py")
    assert (record.trainer.commit, record.trainer.branch) == ("a" * 40, "sd3")
    assert (record.trainer.url, record.trainer.dirty) == ("https://example.org/sd-scripts", ())
    assert (record.lycoris, record.repositories, record.weights) == (None, (), ())
    assert (record.workdir, record.argv) == ("~/sd-scripts", ("python", "sdxl_train_network.py"))
    assert {path: file.size for path, file in record.files.items()} == {
        "config.toml": 6,
        "train.sh": 10,
    }


def test_a_record_of_other_types_is_read_as_far_as_it_goes() -> None:
    record = parse_record(
        b"format = 1\nrun = 3\nfiles = {a = 1}\nweights = 4\n[command]\nargv = [1, 'x']\n", "r"
    )
    assert (record.name, record.steps, record.weights, record.argv) == ("r", None, (), ("x",))
    assert record.files["a"].size == 0
    assert (record.trainer.label, record.trainer.commit) == ("trainer", None)


def test_two_runs_are_compared_by_what_differs(dataset: Path) -> None:
    store = open_store(dataset)
    base = ("python", "sdxl_train_network.py", "--network_dim", "8", "--learning_rate", "1e-4")
    sealed(store, NAME, argv=base, entries=entries(Entry("environment.txt", ENVIRONMENT)))
    newer = Entry("environment.txt", ENVIRONMENT.replace(b"2.6.0", b"2.7.0"))
    run = a_run().entries
    others = (*run[:2], Entry("captions/img/00.txt", b"other"), newer)
    sealed(
        store, "noob-gren-v2s4", argv=(*base[:3], "16", "--learning_rate", "0.0001"), entries=others
    )
    after, before = History.of(dataset).runs
    found = History.of(dataset).compare(before, after)
    assert found.phrases() == ("network_dim 8 → 16", "1 caption", "torch 2.6.0+cu124 → 2.7.0+cu124")


# ---- repositories that are not as they should be ----


def test_without_runs_a_history_is_empty(dataset: Path, tmp_path: Path) -> None:
    assert History.of(dataset).runs == ()
    assert History.of(dataset).newest(3) == ()
    with pytest.raises(NotARepository):
        History.of(tmp_path)
    with pytest.raises(NoSuchRun, match="there is no run x") as failure:
        History.of(dataset).run("x")
    assert failure.value.hint == "see all with: loragit log"


def test_a_shallow_clone_says_so_and_is_read(dataset: Path, tmp_path: Path) -> None:
    store = open_store(dataset)
    sealed(store, NAME)
    sealed(store, "noob-gren-v2s4")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth=1", "--branch=runs", f"file://{dataset}", str(clone))
    history = History.of(clone)
    assert history.shallow
    assert not History.of(dataset).shallow
    assert [(run.name, run.state) for run in history.runs] == [("noob-gren-v2s4", "sealed")]
    with pytest.raises(NoSuchRun, match="a shallow clone: git fetch --unshallow brings the rest"):
        history.run(NAME)


def test_a_broken_tag_hides_no_run(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    (dataset / ".git" / "refs" / "tags" / "broken").write_text("0" * 39 + "1\n")
    assert [run.state for run in History.of(dataset).runs] == ["sealed"]


def test_a_tag_object_that_is_gone_is_told(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    run = History.of(dataset).run(NAME)
    with pytest.raises(GitFailed, match="the tag object 1111"):
        assert run._replace(tag="1" * 40).outcome


def test_a_signature_that_git_would_check_runs_no_program(dataset: Path, tmp_path: Path) -> None:
    sealed(open_store(dataset), NAME)
    witness = tmp_path / "witness"
    program = tmp_path / "gpg"
    program.write_text(f"#!/bin/sh\ntouch {witness}\n")
    program.chmod(0o755)
    raw = git(dataset, "cat-file", "commit", "runs").split("\n\n", 1)
    signed = (
        f"{raw[0]}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n AAAA\n -----END PGP "
        f"SIGNATURE-----\n\n{raw[1]}\n"
    )
    commit = git(dataset, "hash-object", "-t", "commit", "-w", "--stdin", text_input=signed)
    git(dataset, "update-ref", "refs/heads/runs", commit)
    git(dataset, "config", "log.showSignature", "true")
    git(dataset, "config", "gpg.program", str(program))
    git(dataset, "log", "-1", "runs")
    assert witness.exists(), "as git itself would"
    witness.unlink()
    assert [run.name for run in History.of(dataset).runs] == [NAME]
    assert not witness.exists()


def test_a_message_without_end_is_read_up_to_a_point(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    append_commit(dataset, "long\n\n" + "x" * 3_000_000 + "\n\nRun: long\n")
    append_commit(dataset, "next\n\nRun: next\nDataset: \x1b[31m\n")
    assert [run.name for run in History.of(dataset).runs] == ["next", NAME]


@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("0 +0000", (0, 0)),
        ("60 -1130", (60, -690)),
        ("60 +9999", (60, 0)),
        ("x", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_whatever_date_a_commit_has_is_some_date(
    dataset: Path, date: str, told: tuple[int, int]
) -> None:
    sealed(open_store(dataset), NAME)
    raw = re.sub(
        r"(?m)^author .*$", f"author A <a> {date}", git(dataset, "cat-file", "commit", "runs")
    )
    commit = git(
        dataset,
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--literally",
        "--stdin",
        text_input=raw + "\n",
    )
    git(dataset, "update-ref", "refs/heads/runs", commit)
    (run,) = History.of(dataset).runs
    assert (run.time, run.offset) == told
    assert run.opened.timestamp() == run.time


@pytest.mark.parametrize(
    ("date", "parsed"),
    [
        ("60 +0130", (60, 90)),
        ("60 -2359", (60, -1439)),
        ("60 +2400", (60, 0)),
        ("60 +130", (60, 0)),
        ("60 +013", (60, 0)),
        ("60 ", (60, 0)),
        ("99999999999 +0000", (99999999999, 0)),
        ("999999999999 +0000", (0, 0)),
        ("-60 +0000", (0, 0)),
        ("60 +01x0", (60, 0)),
        ("60 +x130", (60, 0)),
        ("60 +0\uff1130", (60, 0)),
        ("\uff16\uff10 +0000", (0, 0)),
        ("\u00b2 +0000", (0, 0)),
        ("60 -0100", (60, -60)),
        ("60 +2300", (60, 1380)),
        ("60 +0060", (60, 0)),
    ],
)
def test_a_date_is_seconds_and_a_zone_of_four_digits(date: str, parsed: tuple[int, int]) -> None:
    assert branch._parse_date(date) == parsed


# ---- several datasets ----


def test_every_repository_below_the_datasets_folder_is_read_once(tmp_path: Path) -> None:
    datasets = tmp_path / "datasets"
    for name in ("b", "a"):
        (datasets / name).mkdir(parents=True)
        git(datasets / name, "init", "-q")
        sealed(open_store(datasets / name), f"noob-{name}-v1s4", dataset=name)
    (datasets / "plain").mkdir()
    (datasets / "broken" / ".git").mkdir(parents=True)
    (datasets / "link").symlink_to("a")
    assert [run.name for each in History.all(datasets) for run in each.runs] == [
        "noob-a-v1s4",
        "noob-b-v1s4",
    ]
    git(datasets, "init", "-q")
    assert [each.repository.top.name for each in History.all(str(datasets))] == [
        "datasets",
        "a",
        "b",
    ]
    assert History.all(datasets / "plain")[0].repository.top == datasets
    with pytest.raises(NotARepository, match="there is no folder"):
        History.all(tmp_path / "nowhere")


# ---- the package itself ----


def test_the_api_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, loragit; before = set(sys.modules); loragit.History; "
        "print('subprocess' in before, 'subprocess' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
    assert loragit.History is readers.History
    assert issubclass(NoSuchRun, LoragitError)
    with pytest.raises(AttributeError, match="has no attribute 'Histories'"):
        loragit.Histories  # noqa: B018


# ---- messages ----

WORDS = (
    st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1)
    .map(str.strip)
    .filter(bool)
)
PAIRS = st.lists(
    st.tuples(st.from_regex(r"[A-Z][A-Za-z]*(-[A-Z][a-z]+)*", fullmatch=True), WORDS), min_size=1
)


@given(PAIRS)
def test_trailers_are_read_as_dulwich_reads_them(pairs: list[tuple[str, str]]) -> None:
    message = trailers.append("subject\n\nbody: not one\n    Quoted: line", pairs)
    assert dict(parse_trailers(message)) == trailers.parse(message)


def test_what_is_no_trailer_is_passed_over() -> None:
    assert dict(parse_trailers("a\n\n  x\nNo key here\n and on\nKey: value\nhttp: //x\n")) == {
        "Key": ("value",),
        "http": ("//x",),
    }
    assert dict(parse_trailers("")) == {}


@pytest.mark.parametrize("written", [None, "", "x", "nan", "inf", "1e999"])
def test_what_is_no_finite_number_is_none(written: str | None) -> None:
    assert finite_number(written) is None
    assert whole_number(written) is None


def test_numbers_and_moments_are_read_carefully() -> None:
    assert (
        finite_number("1e-4"),
        whole_number("12"),
        whole_number("-1"),
        whole_number("9" * 19),
    ) == (0.0001, 12, None, None)
    outcome = parse_outcome(
        "x: y\n\nStarted: 2026-11-23T17:20:30\nFinished: never\nSamples: many\nModel: odd\n", "x"
    )
    assert outcome.started == MOMENT
    assert (outcome.finished, outcome.samples, outcome.models, outcome.exit_status) == (
        None,
        0,
        (),
        None,
    )
    assert outcome.subject == "y"
    east = parse_outcome("x: y\n\nStarted: 2026-11-23T18:20:30+01:00\nModel: odd\n", "x")
    assert east.started == MOMENT
    assert as_json._finite(0.5) == 0.5
    assert [as_json._finite(each) for each in (None, math.inf, math.nan)] == [None] * 3


def test_a_revert_by_hand_may_say_anything() -> None:
    revert = parse_revert(
        "a" * 40, "Revert it\n\nIt was\nof no use.\n\nReverts: b\nExit-Status: 3\n"
    )
    assert (revert.reason, revert.exit_status, revert.log_tail) == ("It was of no use.", 3, ())


# ---- repositories that somebody made to do harm ----


def test_a_hundred_thousand_tags_of_others_are_passed_over(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    head = git(dataset, "rev-parse", "HEAD")
    tags = [f"{head} refs/tags/t{number}" for number in range(100_000)]
    packed = dataset / ".git" / "packed-refs"
    packed.write_text(
        "# pack-refs with: peeled fully-peeled sorted \n" + "\n".join(sorted(tags)) + "\n"
    )
    assert [(run.name, run.state) for run in History.of(dataset).runs] == [(NAME, SEALED)]


def test_trees_that_stand_for_more_files_than_there_is_room_for_are_refused(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_reader, "_MOST_PATHS", 1000)
    sealed(open_store(dataset), NAME)
    blob = git(dataset, "hash-object", "-w", "a.txt")
    tree = git(dataset, "mktree", text_input=f"100644 blob {blob}\tcaption.txt\n")
    for _ in range(12):
        listed = "".join(f"040000 tree {tree}\t{letter}\n" for letter in "abcdefghij")
        tree = git(dataset, "mktree", text_input=listed)
    bomb = git(dataset, "mktree", text_input=f"040000 tree {tree}\tcaptions\n")
    message = git(dataset, "log", "-1", "--format=%B", "runs")
    git(
        dataset,
        "update-ref",
        "refs/heads/runs",
        git(dataset, "commit-tree", bomb, text_input=message),
    )
    (run,) = History.of(dataset).runs
    with pytest.raises(
        TooManyFiles, match="the record of noob-gren-v1s4 holds more than 1,000 files"
    ) as failure:
        _ = run.files
    assert failure.value.hint == f"see: git show {run.commit[:8]}:"


def test_a_record_may_hold_as_many_files_as_there_is_room_for(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = [Entry(f"captions/{number}.txt", b"zqx") for number in range(12)]
    sealed(open_store(dataset), NAME, entries=entries(*captions))
    number = len(History.of(dataset).run(NAME).tree)
    monkeypatch.setattr(record_reader, "_MOST_PATHS", number)
    assert len(History.of(dataset).run(NAME).tree) == number
    monkeypatch.setattr(record_reader, "_MOST_PATHS", number - 1)
    with pytest.raises(record_reader.TooManyFiles):
        len(History.of(dataset).run(NAME).tree)


def test_a_file_that_is_too_long_is_not_read(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = Entry("inputs/long", b"x" * 5000)
    sealed(open_store(dataset), NAME, entries=entries(long))
    run = History.of(dataset).run(NAME)
    monkeypatch.setattr(record_reader, "_MOST_FILE", 4096)
    with pytest.raises(
        NoSuchFile, match="inputs/long of noob-gren-v1s4 is 5000 bytes long"
    ) as failure:
        run.read("inputs/long")
    assert failure.value.hint == f"git -C {dataset} show {run.commit}:inputs/long"
    assert run.read("config.toml") == b"a = 1\n", "and what comes after it is"


def test_a_partial_clone_fetches_nothing(dataset: Path, tmp_path: Path) -> None:
    sealed(open_store(dataset), NAME)
    git(dataset, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git(
        tmp_path,
        "clone",
        "-q",
        "--no-checkout",
        "--filter=blob:none",
        f"file://{dataset}",
        str(clone),
    )
    git(clone, "branch", "-q", "runs", "origin/runs")
    (run,) = History.of(clone).runs
    assert run.outcome is not None
    with pytest.raises(LoragitError, match=f"run.toml of {NAME} is not here"):
        _ = run.record


def test_a_dataset_in_anothers_folder_is_no_part_of_its_record(dataset: Path) -> None:
    store = open_store(dataset)
    sealed(store, NAME)
    sealed(store, "noob-mark-v1s4", prefix="sub/mark", dataset="mark")
    sealed(store, "noob-gren-v2s4", entries=entries(Entry("notes/a.md", b"x")))
    history = History.of(dataset)
    assert "sub/mark/run.toml" in git(dataset, "ls-tree", "-r", "--name-only", "noob-gren-v2s4")
    assert not [path for path in history.run("noob-gren-v2s4").files if path.startswith("sub")]
    assert "notes/a.md" in history.run("noob-gren-v2s4").files
    found = history.compare(history.run(NAME), history.run("noob-gren-v2s4"))
    assert [(change.kind, change.key) for change in found.changes] == [("file", "notes/a.md")]


def test_what_git_cannot_read_is_told(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    with Reader(dataset) as reader:
        assert reader.read("HEAD:a.txt") is not None
        assert reader._child is not None
        reader._child.kill()
        reader._child.wait()
        with pytest.raises(GitFailed):
            reader.read("HEAD:a.txt")
        assert reader.read("HEAD:a.txt") is not None, "asked anew"
        assert [found is None for found in reader.read_all(["HEAD:a.txt"] * 200 + ["no"])] == [
            False
        ] * 200 + [True]
    with pytest.raises(GitFailed, match="git log failed"):
        list(rows("log", "-z", "nothing", cwd=dataset))
    some = rows("log", "-z", "--format=%H", "HEAD", "--", cwd=dataset)
    assert len(next(some)) == 40
    some.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", [b"100644 a", b"100644 a\0short", b"100644"])
def test_a_damaged_tree_is_told(dataset: Path, damage: bytes) -> None:
    sealed(open_store(dataset), NAME)
    (dataset / "damage").write_bytes(damage)
    tree = git(dataset, "hash-object", "-t", "tree", "-w", "--literally", "damage")
    raw = re.sub("(?m)^tree .*$", f"tree {tree}", git(dataset, "cat-file", "commit", "runs")) + "\n"
    commit = git(dataset, "hash-object", "-t", "commit", "-w", "--stdin", text_input=raw)
    git(dataset, "update-ref", "refs/heads/runs", commit)
    with pytest.raises(GitFailed, match="damaged") as failure:
        _ = History.of(dataset).runs[0].files
    assert failure.value.hint == "git fsck tells more"


def test_a_tag_without_end_is_not_read_and_the_run_is_listed(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = sealed(open_store(dataset), NAME)
    git(dataset, "tag", "-d", NAME)
    (dataset / "long").write_text("x" * 2**21)
    git(dataset, "tag", "-a", "-F", "long", NAME, opened.commit)
    (run,) = History.of(dataset).runs
    assert run.state == SEALED
    assert cached.outcome_counts([run]) == {}
    assert (as_json.outcome_line(run), "outcome.models" in where.recorded_values(run)) == (
        "",
        False,
    )
    monkeypatch.setattr(record_reader, "_MOST_TAGS", 100)
    for name in ("noob-gren-v2s4", "noob-gren-v3s4"):
        sealed(open_store(dataset), name)
    assert len(cached.outcome_counts(History.of(dataset).runs)) == 2


def test_changes_that_cannot_be_told_are_left_out(dataset: Path) -> None:
    store = open_store(dataset)
    for number, data in enumerate((b"no digests", b"other", b"%s  a\n" % (b"e" * 64))):
        sealed(store, f"noob-gren-v{number}s4", entries=entries(Entry("dataset.sha256", data)))
    history = History.of(dataset)
    assert cached.changes_in_brief(history.runs, history.bases()) == {}
    with pytest.raises(LoragitError):
        history.compare(history.runs[1], history.runs[0])
    history.close()
    assert history.runs[0].files


def test_a_record_of_lists_and_tables_has_facts(dataset: Path) -> None:
    sealed(open_store(dataset), NAME)
    toml = "format = 1\nday = 2026-01-01\n[a]\nb = [1, 'x']\nc = []\nd = [[1]]\n[a.e]\nf = true\n"
    blob = git(dataset, "hash-object", "-w", "--stdin", text_input=toml)
    tree = git(dataset, "mktree", text_input=f"100644 blob {blob}\trun.toml\n")
    message = git(dataset, "log", "-1", "--format=%B", "runs")
    git(
        dataset,
        "update-ref",
        "refs/heads/runs",
        git(dataset, "commit-tree", tree, text_input=message),
    )
    facts = where.recorded_values(History.of(dataset).runs[0])
    assert (facts["a.b"], facts["a.c"], facts["a.e.f"]) == ((1, "x"), (), (True,))
    assert not {"day", "a.d"} & facts.keys()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/loragit"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/loragit"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, None),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs is asked at once")
def test_the_cache_folder_is_the_one_that_platformdirs_names(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str | None
) -> None:
    import platformdirs

    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    assert cache_folder() == platformdirs.user_cache_path("loragit")
    assert told is None or cache_folder() == Path(told)


def test_whoever_reads_a_second_outcome_has_read_all_of_them(dataset: Path) -> None:
    store = open_store(dataset)
    for version in (1, 2, 3):
        sealed(store, f"noob-gren-v{version}s4")
    third = git(dataset, "rev-parse", "noob-gren-v3s4")
    history = History.of(dataset)
    runs = [history.run(f"noob-gren-v{version}s4") for version in (1, 2, 3)]
    assert [run.outcome is not None for run in runs[:2]] == [True, True]
    (dataset / ".git" / "objects" / third[:2] / third[2:]).unlink()
    assert runs[2].outcome is not None, "it was read with the second"
    history.close()
