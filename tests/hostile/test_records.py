"""Records that somebody else wrote: what they name elsewhere is not waited for, obeyed or
written."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from loragit import console
from loragit.commands import import_, show
from loragit.errors import LoragitError
from loragit.history import losses
from loragit.history.history import History
from loragit.history.verify.verify import VerifyOptions, verify
from loragit.record.values import Entry, ModelFile, Outcome
from loragit.run.importing.plan import ImportRequest
from loragit.run.preflight.weights import ancestors
from loragit.run.preflight.weights.ancestors import StartingWeights
from loragit.trainers.sd_scripts.trainer import SdScripts
from tests.support.made_up_runs import MOMENT, NAME, a_run, open_store
from tests.support.processes import git as run_git

SHA256 = "b" * 64


@pytest.fixture
def pipes(tmp_path: Path) -> Path:
    """A folder where reading would never end."""
    folder = tmp_path / "pipes"
    folder.mkdir()
    os.mkfifo(folder / "a.safetensors")
    os.mkfifo(folder / "a.png")
    (folder / "link.safetensors").symlink_to("/dev/zero")
    (folder / "dangling.safetensors").symlink_to("/nowhere")
    return folder


def on_record(
    dataset: Path, output: str, *models: str, entries: tuple[Entry, ...] = (), **changes: object
) -> History:
    """The history of a dataset whose one run says these things."""
    store = open_store(dataset)
    run = a_run(name=NAME, **changes)
    opened = store.open(run._replace(entries=(*run.entries, *entries)))
    made = tuple(ModelFile(name, 10, SHA256, None, 4, 1) for name in models)
    store.seal(
        opened, Outcome(0, MOMENT, MOMENT + timedelta(minutes=1), output, models=made, samples=0)
    )
    return History.of(dataset)


def told(history: History, home: Path, *, quick: bool = False) -> str:
    return "\n".join(
        verdict.message for verdict in verify(history, VerifyOptions((), home, quick)).verdicts
    )


@pytest.mark.parametrize("quick", [False, True])
def test_verify_waits_for_no_pipe_and_reads_no_device(
    dataset: Path, pipes: Path, home: Path, quick: bool
) -> None:
    names = ("a.safetensors", "link.safetensors", "dangling.safetensors")
    found = told(on_record(dataset, str(pipes), *names), home, quick=quick)
    for name in names:
        assert name in found


def test_verify_looks_at_nothing_outside_of_the_output_folder(
    dataset: Path, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "out").mkdir()
    names = (
        "../secret.safetensors",
        str(tmp_path / "secret.safetensors"),
        "sub/../../secret.safetensors",
    )
    (tmp_path / "secret.safetensors").write_bytes(b"0123456789")
    found = told(on_record(dataset, str(tmp_path / "out"), *names), home)
    assert found.count("lies outside of the output folder: it was not looked at") == 3
    assert "was changed" not in found


@pytest.mark.parametrize(
    "output", ["/dev/zero", "~nobody-of-this-name/out", "relative", "/proc/self/mem", "/\0", ""]
)
def test_verify_takes_any_text_for_an_output_folder(dataset: Path, home: Path, output: str) -> None:
    assert "output folder" in told(on_record(dataset, output, "a.safetensors"), home)


def test_a_list_of_hashes_may_name_pipes_and_places_elsewhere(
    dataset: Path, pipes: Path, home: Path
) -> None:
    lines = f"{SHA256}  ../pipes/a.png\n{SHA256}  /dev/zero\n{SHA256}  {'../' * 40}etc/passwd\n"
    found = told(
        on_record(dataset, "/gone", entries=(Entry("dataset.sha256", lines.encode()),)), home
    )
    assert "the dataset has gone on since" in found


def test_a_dataset_path_that_leads_elsewhere_leads_nowhere(
    dataset: Path, tmp_path: Path, home: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    message = f"{NAME}: x\n\nRun: {NAME}\nDataset: gren\nDataset-Path: ../other\nLoragit-Format: 1"
    tree = run_git(dataset, "rev-parse", "HEAD^{tree}")
    commit = run_git(dataset, "commit-tree", tree, "-m", message)
    run_git(dataset, "update-ref", "refs/heads/runs", commit)
    history = History.of(dataset)
    assert told(history, home)
    with pytest.raises(LoragitError):
        history.run(NAME).read("run.toml")
    assert list(other.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "..", ".git/config", "-x", "captions/../../a.txt"]
)
def test_a_file_of_a_record_is_one_of_its_tree(
    dataset: Path, path: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    on_record(dataset, "/gone")
    with pytest.raises(LoragitError):
        show.show(dataset, f"{NAME}:{path}", str(home))
    console.finish()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name", ["--output=ran", "-p", "--help", "runs~0^{/x}", "@{upstream}", "a..b"]
)
def test_a_name_is_no_option_of_gits(dataset: Path, name: str, home: Path) -> None:
    on_record(dataset, "/gone")
    with pytest.raises(LoragitError):
        show.show(dataset, name, str(home))
    assert not (dataset / "ran").exists()


def test_a_chart_of_losses_goes_no_deeper_than_a_trainer_writes(
    dataset: Path, tmp_path: Path, home: Path
) -> None:
    deep = tmp_path / "logs" / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "events.out.tfevents.1").touch()
    (deep.parent.parent / "events.out.tfevents.1").touch()
    (deep.parent.parent / "events.out.tfevents.2").symlink_to("/dev/zero")
    found = [
        path.relative_to(tmp_path / "logs").as_posix()
        for path in losses.loss_files(tmp_path / "logs", "", SdScripts.losses)
    ]
    assert found == ["a/b/events.out.tfevents.1", "a/b/events.out.tfevents.2"]
    argv = ("python", "train.py", "--logging_dir", "/", "--log_prefix", "")
    assert losses.read_curve(on_record(dataset, "/gone", argv=argv).run(NAME), str(home)) is None


def test_a_record_elsewhere_with_an_output_that_is_no_path_stops_no_training(
    dataset: Path, tmp_path: Path
) -> None:
    store = open_store(dataset)
    opened = store.open(a_run(name=NAME))
    output = "~nobody-of-this-name/out"
    store.seal(
        opened, Outcome(0, MOMENT, MOMENT, output, models=(), samples=0, states=("last-state",))
    )
    (tmp_path / "last-state").mkdir()
    start = StartingWeights(ancestors.RESUME, tmp_path / "last-state", None)
    assert ancestors.ancestors([start], tmp_path, dataset, dict(os.environ)) == ()


def test_an_import_waits_for_no_pipe_among_the_files_of_a_run(
    dataset: Path, pipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.sh", "config.toml", "repos.git", "sample-prompts.txt"):
        os.mkfifo(pipes / name)
    request = ImportRequest(
        (str(pipes),), str(dataset), NAME, dict(os.environ), dataset, pipes / "cache"
    )
    import_.import_(request, dry_run=True)
    console.finish()
    assert "made nothing" in capsys.readouterr().out
