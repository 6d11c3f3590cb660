"""What a run left, and what it was trained on, against its record: as values, without a command."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from loragit import History
from loragit.history.verify import files
from loragit.history.verify.verdict import utc_timestamp
from loragit.history.verify.verify import NOTE, WRONG, VerifyOptions, VerifyReport, verify
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


def report(store: Store, home: Path, *names: str, quick: bool = False) -> VerifyReport:
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


# ---- what an outcome lists, as values ----


def listed(
    store: Store, home: Path, **changes: object
) -> tuple[list[files.RecordedFile], list[str]]:
    """What is to be checked if the outcome of the run is ``changes``; the messages before that."""
    history = History.of(store.repository.top)
    (run,) = history.runs
    outcome = run.outcome
    assert outcome is not None
    edited = outcome._replace(**changes)  # type: ignore[arg-type]
    products, verdicts = files.products_to_check(run, edited, home)
    history.close()
    return products, [each.message for each in verdicts]


@pytest.mark.parametrize("name", ["../m.safetensors", "/etc/passwd", "a/../../m", "m\0", "."])
def test_names_that_lead_out_of_the_output_folder(store: Store, output: Path, name: str) -> None:
    home = output.parents[1]
    history = History.of(store.repository.top)
    outcome = history.runs[0].outcome
    history.close()
    assert outcome is not None
    model = outcome.models[0]._replace(path=name)
    outside = f"{name} is listed, and lies outside of the output folder: it was not looked at"
    states = {} if name == "." else {"states": (name,)}
    assert listed(store, home, models=(model,), trailers={}, **states) == ([], [outside])


@pytest.mark.parametrize("written", ["output_dir", "~/x\0", None, "", "~"])
def test_an_output_folder_that_is_none(store: Store, output: Path, written: str | None) -> None:
    products, messages = listed(store, output.parents[1], output=written)
    assert (products, messages) == ([], ["its output folder is not on record"])


def test_an_output_folder_that_cannot_be_read(store: Store, output: Path) -> None:
    moved = output.rename(output.with_name("elsewhere"))
    output.symlink_to(output)
    cannot = f"its output folder {output} cannot be read (Too many levels of symbolic links)"
    found = told(store, output.parents[1])
    assert found == [("wrong", "output", ONE, f"{cannot}: 1 model not looked at")]
    output.unlink()
    output.symlink_to(moved)
    assert told(store, output.parents[1]) == []
    output.unlink()
    output.write_bytes(b"")
    gone = f"its output folder {output} is gone: 1 model not looked at"
    assert told(store, output.parents[1]) == [("note", "output", ONE, gone)]


@pytest.mark.parametrize("what", ["models", "sample", "states"])
def test_one_product_of_a_kind_is_enough_to_be_looked_at(
    store: Store, output: Path, what: str
) -> None:
    home = output.parents[1]
    nothing: dict[str, object] = {"models": (), "states": (), "trailers": {}}
    assert listed(store, home / "nowhere", **nothing) == ([], [])
    line = f"s.png sha256:{sha256(SAMPLE)}"
    trailers = {"Sample": (line, " sha256:1"), "Run": (ONE,)}
    del nothing[{"models": "models", "sample": "trailers", "states": "states"}[what]]
    if what == "sample":
        nothing["trailers"] = trailers
    products, messages = listed(store, home, **nothing)
    assert [each.name for each in products] == {
        "models": ["m.safetensors"],
        "sample": ["s.png"],
        "states": [],
    }[what]
    assert messages == []
    (output / "state").rmdir()
    gone = ["the training state state is gone"] if what == "states" else []
    assert listed(store, home, **nothing)[1] == gone


def test_where_the_end_is_not_on_record_nothing_is_said_of_the_earliest_moment(
    store: Store, output: Path
) -> None:
    home = output.parents[1]
    (output / "m.safetensors").write_bytes(b"no model")
    products, _ = listed(store, home, finished=None)
    model, sample = files.check_products(
        [*products, products[1]._replace(path=output / "no" / "s.png")], quick=False
    )
    modified = utc_timestamp((output / "m.safetensors").stat().st_mtime)
    assert model.since == (None, modified)
    assert model.message.endswith(f" (by {modified})")
    assert (sample.since, sample.message) == ((None, None), "s.png: it is gone")


@pytest.mark.parametrize("quick", [False, True])
def test_a_folder_in_the_place_of_a_file(store: Store, output: Path, quick: bool) -> None:
    for name in ("m.safetensors", "s.png"):
        (output / name).unlink()
        (output / name).mkdir()
    messages = [row[3] for row in told(store, output.parents[1], quick=quick)]
    assert len(messages) == 2
    assert all(": it cannot be read (" in message for message in messages)
    assert not any("None" in message for message in messages)


def test_a_model_that_is_no_safetensors_has_no_header(store: Store, output: Path) -> None:
    (output / "m.ckpt").write_bytes(b"another")
    products, _ = listed(store, output.parents[1])
    model = products[0]._replace(name="m.ckpt", path=output / "m.ckpt", payload_sha256=None)
    (verdict,) = files.check_products([model], quick=False)
    assert verdict.message.startswith(changed("m.ckpt", MODEL, b"another"))
    (verdict,) = files.check_products([model], quick=True)
    assert verdict.message.startswith(f"m.ckpt: it was changed: 7 bytes instead of {len(MODEL)}")


def test_a_name_with_control_characters_is_that_of_a_file_or_is_shown(
    store: Store, output: Path
) -> None:
    """The record shows them; a file that is really called so comes first."""
    home = output.parents[1]
    names = [f"{number}\x1b.png" for number in range(8)]
    shown = [name.replace("\x1b", r"\x1b") for name in names]
    for name, written in zip(names, shown, strict=True):
        (output / name).write_bytes(SAMPLE)
        (output / written).write_bytes(SAMPLE)
    lines = tuple(f"{written} sha256:{sha256(SAMPLE)}" for written in shown)
    products, _ = listed(store, home, trailers={"Sample": lines})
    assert [each.path.name for each in products[1:]] == shown
    for written in shown:
        (output / written).unlink()
    products, _ = listed(store, home, trailers={"Sample": (*lines, r"no/\x1b.png sha256:1")})
    assert [each.path.name for each in products[1:]] == [*names, r"\x1b.png"]


# ---- the dataset ----


def test_a_dataset_whose_folder_is_gone(store: Store, dataset: Path, tmp_path: Path) -> None:
    (dataset / "sub").mkdir()
    sealed(store, ONE, prefix="sub", entries=(*a_run().entries, listing(a=b"1")))
    (dataset / "sub").rmdir()
    message = f"the dataset's folder {dataset / 'sub'} is gone"
    assert ("note", "dataset", ONE, message) in told(store, tmp_path)


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
    for number in range(2):
        (dataset / "img" / f"new{number}.png").write_bytes(b"")
    assert "3 files new (img/new.png, img/new0.png, img/new1.png)" in noted()[0][2]
    for number in range(4):
        (dataset / "img" / f"new{number}.png").write_bytes(b"")
    assert "5 files new (img/new.png, img/new0.png, img/new1.png, …)" in noted()[0][2]


# ---- the record against itself ----


def test_weights_are_in_the_message_too(store: Store, tmp_path: Path) -> None:
    weights = (
        Weights("VAE", "vae.pt", "a" * 64),
        Weights("Base-Model", "owner/m", None, revision="b" * 40),
        Weights("Qwen3", "qwen", None, files_sha256="c" * 64),
        Weights("Resume", "s", None),
    )
    sealed(store, ONE, weights=weights)
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


def test_what_is_wrong_is_told_run_by_run_newest_first(store: Store, output: Path) -> None:
    store.open(a_run(name=TWO))
    with_config(store, b"a = 22\n")
    (output / "m.safetensors").unlink()
    rows = [row[1:3] for row in told(store, output.parents[1]) if row[1] not in ("runs", "tag")]
    assert list(dict.fromkeys(rows)) == [("record", TWO), ("model", ONE)]


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
    above = [f"-p{each}" for each in git(top, "log", "-1", "--format=%P", "runs").split()]
    commit = git(top, "commit-tree", *above, tree, text_input=message)
    git(top, "update-ref", "refs/heads/runs", commit)
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


def test_a_record_without_run_toml(store: Store, tmp_path: Path) -> None:
    store.open(a_run(name=ONE))
    top = store.repository.top
    rows = [row for row in git(top, "ls-tree", "runs").splitlines() if "run.toml" not in row]
    tree = git(top, "mktree", text_input="\n".join(rows) + "\n")
    message = git(top, "log", "-1", "--format=%B", "runs")
    git(top, "update-ref", "refs/heads/runs", git(top, "commit-tree", tree, text_input=message))
    found = [row for row in told(store, tmp_path) if row[1] == "record"]
    assert found == [("wrong", "record", ONE, f"run.toml of {ONE} is missing")]


def test_a_list_of_hashes_that_git_does_not_have_is_told_once(store: Store, tmp_path: Path) -> None:
    store.open(a_run(name=ONE, entries=(*a_run().entries, listing(a=b"1"))))
    top = store.repository.top
    blob = git(top, "rev-parse", "runs:dataset.sha256")
    (top / ".git/objects" / blob[:2] / blob[2:]).unlink()
    found = [row[3] for row in told(store, tmp_path) if row[1] == "record"]
    assert found == [f"dataset.sha256 cannot be read: git does not have it ({blob[:12]})"]


def test_a_dataset_below_the_top_is_in_the_message_and_in_run_toml(
    store: Store, tmp_path: Path
) -> None:
    store.open(a_run(name=ONE, prefix="sub"))
    assert "Dataset-Path: sub" in git(store.repository.top, "log", "-1", "--format=%B", "runs")
    assert [row for row in told(store, tmp_path) if row[1] == "record"] == []


def test_what_a_partial_clone_lacks_beside_run_toml_is_noted(
    store: Store, dataset: Path, tmp_path: Path
) -> None:
    sealed(store, ONE)
    for name in ("allowFilter", "allowAnySHA1InWant"):
        git(dataset, "config", f"uploadpack.{name}", "true")
    words = ("clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{dataset}", "clone")
    git(tmp_path, *words)
    clone = tmp_path / "clone"
    git(clone, "update-ref", "refs/heads/runs", "refs/remotes/origin/runs")
    git(clone, "cat-file", "blob", "runs:run.toml")  # fetches it
    rows = [row for row in told(open_store(clone), tmp_path) if row[1] == "record"]
    missing = "4 files of its record not here (.gitattributes): this is a partial clone"
    assert rows == [("note", "record", ONE, missing)]
