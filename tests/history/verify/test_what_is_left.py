"""What a run left, and what it was trained on, against its record: as values, without a command."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from loragit import History
from loragit.history.verify.verdict import utc_timestamp
from loragit.history.verify.verify import NOTE, WRONG, Report, VerifyOptions, verify
from loragit.record.values import DatasetFile, Entry, ModelFile, Weights
from loragit.store.store import Store
from tests.support.made_up_runs import MOMENT, a_run, an_outcome, open_store, sealed
from tests.support.processes import git
from tests.support.trainer_files import payload_sha256, safetensors

ONE, TWO, THREE = "noob-gren-v1s4", "noob-gren-v2s4", "noob-gren-v3s4"
MODEL = safetensors({"w": b"weights"}, {"ss_steps": "4"})
SAMPLE = b"a picture"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def changed(name: str, before: bytes, after: bytes) -> str:
    digests = f"sha256 {sha256(after)[:12]} instead of {sha256(before)[:12]}"
    return f"{name}: it was changed: {digests}"


@pytest.fixture
def store(dataset: Path) -> Store:
    return open_store(dataset)


@pytest.fixture
def output(tmp_path: Path, store: Store) -> Path:
    """The output folder of a sealed run: a model, a sample and a training state."""
    folder = tmp_path / "home" / "output_dir" / ONE
    (folder / "state").mkdir(parents=True)
    (folder / "m.safetensors").write_bytes(MODEL)
    (folder / "s.png").write_bytes(SAMPLE)
    model = ModelFile(
        "m.safetensors", len(MODEL), sha256(MODEL), payload_sha256({"w": b"weights"}), 4, 1
    )
    run = store.open(a_run(name=ONE))
    outcome = an_outcome(
        output=f"~/output_dir/{ONE}",
        models=(model,),
        states=("state",),
        samples=1,
        sample_files=(DatasetFile("s.png", sha256(SAMPLE)),),
    )
    store.seal(run, outcome)
    return folder


def report(store: Store, home: Path, *names: str, quick: bool = False) -> Report:
    history = History.of(store.repository.top)
    try:
        return verify(history, VerifyOptions(names, home, quick=quick))
    finally:
        history.close()


def told(store: Store, home: Path, *names: str, quick: bool = False) -> list[tuple[str, ...]]:
    """(status, check, run, message) of each verdict, without when it happened."""
    return [
        (each.status, each.check, each.run or "", each.message.partition(" (between ")[0])
        for each in report(store, home, *names, quick=quick).verdicts
    ]


def test_everything_as_recorded_is_no_verdict(store: Store, output: Path) -> None:
    for quick in (False, True):
        found = report(store, output.parents[1], quick=quick)
        assert (found.verdicts, found.models, found.samples) == ((), 1, 1)
        assert (found.of(WRONG), found.shallow, found.partial) == ([], False, False)


@pytest.mark.parametrize(
    ("name", "data", "whole", "quick"),
    [
        ("m.safetensors", None, "m.safetensors: it is gone", "m.safetensors: it is gone"),
        ("s.png", None, "s.png: it is gone", "s.png: it is gone"),
        (
            "m.safetensors",
            MODEL[:-1],
            f"m.safetensors: it is truncated: {len(MODEL) - 1} bytes of {len(MODEL)}",
            f"m.safetensors: it is truncated: {len(MODEL) - 1} bytes of {len(MODEL)}",
        ),
        (
            "m.safetensors",
            MODEL.replace(b"weights", b"WEIGHTS"),
            changed("m.safetensors", MODEL, MODEL.replace(b"weights", b"WEIGHTS")),
            None,
        ),
        (
            "m.safetensors",
            MODEL.replace(b'"4"', b'"5"'),
            "m.safetensors: its header was edited; its weights are those on record",
            None,
        ),
        (
            "m.safetensors",
            MODEL + b"more",
            changed("m.safetensors", MODEL, MODEL + b"more"),
            f"m.safetensors: it was changed: {len(MODEL) + 4} bytes instead of {len(MODEL)}",
        ),
        (
            "m.safetensors",
            b"no model",
            "m.safetensors: it is damaged (it ends within its header, after 8 bytes)",
            "m.safetensors: it is damaged (it ends within its header, after 8 bytes)",
        ),
        (
            "s.png",
            b"another",
            changed("s.png", SAMPLE, b"another"),
            None,
        ),
    ],
    ids=[
        "model gone",
        "sample gone",
        "truncated",
        "weights",
        "header",
        "longer",
        "damaged",
        "sample",
    ],
)
def test_a_product_that_is_not_as_recorded(
    store: Store, output: Path, name: str, data: bytes | None, whole: str, quick: str | None
) -> None:
    if data is None:
        (output / name).unlink()
    else:
        (output / name).write_bytes(data)
    check = "sample" if name == "s.png" else "model"
    home = output.parents[1]
    assert told(store, home) == [("wrong", check, ONE, whole)]
    expected = [] if quick is None else [("wrong", check, ONE, quick)]
    assert told(store, home, quick=True) == expected
    (verdict,) = report(store, home).of(WRONG)
    assert verdict.path == str(output / name)
    assert verdict.since is not None
    assert verdict.since.earliest == "2026-11-23T18:02:30Z"


def test_when_a_file_can_have_been_changed(store: Store, output: Path) -> None:
    """Not before the run was sealed, and not after the file was modified; where that time makes no
    sense, not after the inode changed, which nobody can set back."""
    file = output / "s.png"
    file.write_bytes(b"another")
    os.utime(file, (0, 0))
    (verdict,) = report(store, output.parents[1]).verdicts
    assert verdict.since == ("2026-11-23T18:02:30Z", utc_timestamp(file.stat().st_ctime))
    late = MOMENT.timestamp() + 86400
    os.utime(file, (late, late))
    if file.stat().st_ctime >= late:
        (verdict,) = report(store, output.parents[1]).verdicts
        assert str(verdict.since) == "between 2026-11-23T18:02:30Z and 2026-11-24T17:20:30Z"


def test_a_training_state_and_an_output_folder_that_are_gone(store: Store, output: Path) -> None:
    home = output.parents[1]
    (output / "state").rmdir()
    gone = ("note", "state", ONE, "the training state state is gone")
    assert told(store, home) == [gone]
    assert report(store, home).of(NOTE)[0].path == str(output / "state")
    output.rename(output.with_name("elsewhere"))
    folder = f"its output folder {output} is gone: 1 model not looked at"
    assert told(store, home) == [("note", "output", ONE, folder)]
    assert report(store, home).models == 0


# ---- the dataset ----


def listing(**files: bytes) -> Entry:
    rows = [f"{sha256(data)}  img/{name}.png\n" for name, data in sorted(files.items())]
    return Entry("dataset.sha256", "".join(rows).encode())


def test_a_dataset_that_went_on_is_noted_once_for_every_run_that_had_it(
    store: Store, dataset: Path, tmp_path: Path
) -> None:
    entries = (*a_run().entries, listing(a=b"1", b=b"2", c=b"3"))
    sealed(store, ONE, entries=entries)
    store.open(a_run(name=TWO, entries=entries))
    store.delete_tag(store.open(a_run(name=THREE, entries=entries)))
    (dataset / "img").mkdir(exist_ok=True)
    for name, data in (("a", b"1"), ("b", b"2"), ("c", b"3")):
        (dataset / "img" / f"{name}.png").write_bytes(data)

    def noted(**options: bool) -> list[tuple[str, ...]]:
        return [row[1:] for row in told(store, tmp_path, **options) if row[1] == "dataset"]

    known = {path.name for path in (dataset / "img").iterdir()} - {"a.png", "b.png", "c.png"}
    for name in known:
        (dataset / "img" / name).unlink()
    assert noted() == []
    (dataset / "img" / "a.png").write_bytes(b"another")
    (dataset / "img" / "b.png").unlink()
    (dataset / "img" / "new.png").write_bytes(b"4")
    (dataset / "img" / "a_sdxl.npz").write_bytes(b"what the trainer caches")
    said = "1 file changed (img/a.png), 1 file gone (img/b.png), 1 file new (img/new.png)"
    # A run that made nothing has nothing that its dataset could have to do with.
    assert noted() == [
        ("dataset", name, f"the dataset has gone on since: {said}") for name in (TWO, ONE)
    ]
    quick = "1 file gone (img/b.png), 1 file new (img/new.png)"
    assert noted(quick=True)[0][2] == f"the dataset has gone on since: {quick}"
    for number in range(4):
        (dataset / "img" / f"new{number}.png").write_bytes(b"")
    assert "5 files new (img/new.png, img/new0.png, img/new1.png, …)" in noted()[0][2]


# ---- the record against itself ----


def test_weights_are_in_the_message_too(store: Store, tmp_path: Path) -> None:
    sealed(store, ONE, weights=(Weights("VAE", "vae.pt", "a" * 64), Weights("Resume", "s", None)))
    assert [row for row in told(store, tmp_path) if row[1] == "record"] == []


def rewritten(store: Store, old: str, new: str) -> None:
    """The newest commit with another message."""
    top = store.repository.top
    message = git(top, "log", "-1", "--format=%B", "runs")
    assert old in message
    commit = git(
        top, "commit-tree", "runs^{tree}", text_input=message.replace(old, new).strip() + "\n"
    )
    git(top, "update-ref", "refs/heads/runs", commit)


def test_hashes_of_an_imported_run_are_of_what_ran_and_may_lie_nowhere(
    store: Store, tmp_path: Path
) -> None:
    store.open(a_run(name=ONE))
    digest = git(store.repository.top, "log", "-1", "--format=%(trailers:key=Config-SHA1)", "runs")
    rewritten(store, digest, f"Config-SHA1: {'1' * 40}")
    message = f"Config-SHA1 of the message is {'1' * 12}, and config.toml has another"
    rows = [row[3] for row in told(store, tmp_path) if row[1] == "record"]
    assert rows == [message]
    rewritten(store, "Config-SHA1: ", "Imported: by hand\nConfig-SHA1: ")
    assert [row[3] for row in told(store, tmp_path) if row[1] == "record"] == []


def test_named_runs_are_looked_at_alone(store: Store, output: Path) -> None:
    sealed(store, TWO)
    (output / "m.safetensors").unlink()
    home = output.parents[1]
    assert [row[2] for row in told(store, home, ONE)] == [ONE]
    assert {row[2] for row in told(store, home, TWO)} == {TWO}
    assert [run.name for run in report(store, home, TWO).runs] == [TWO]


def with_config(store: Store, data: bytes) -> str:
    """The newest commit with another ``config.toml``; the id of that blob."""
    top = store.repository.top
    blob = git(top, "hash-object", "-w", "--stdin", text_input=data.decode())
    rows = git(top, "ls-tree", "runs").splitlines()
    rows = [row for row in rows if not row.endswith("\tconfig.toml")]
    tree = git(top, "mktree", text_input="\n".join([*rows, f"100644 blob {blob}\tconfig.toml\n"]))
    message = git(top, "log", "-1", "--format=%B", "runs")
    git(top, "update-ref", "refs/heads/runs", git(top, "commit-tree", tree, text_input=message))
    return blob


def test_files_are_what_run_toml_says_of_them(store: Store, tmp_path: Path) -> None:
    store.open(a_run(name=ONE))

    def wrongs(*, quick: bool = False) -> list[str]:
        return [row[3] for row in told(store, tmp_path, quick=quick) if row[1] == "record"]

    with_config(store, b"a = 22\n")
    first, second = wrongs()
    assert first == "config.toml is not what run.toml says of it: 7 bytes instead of 6"
    assert second.startswith("Config-SHA1 of the message is ")
    blob = with_config(store, b"a = 2\n")
    assert wrongs()[0].startswith("config.toml is not what run.toml says of it: sha1 ")
    assert wrongs(quick=True) == []
    path = store.repository.common_dir / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"no object")
    assert wrongs()[0].startswith("config.toml cannot be read: ")
    path.unlink()
    missing = f"config.toml cannot be read: git does not have it ({blob[:12]})"
    assert wrongs()[0] == missing
