"""Finding, checking and hashing what a training left."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loragit.record.values import ModelFile, Outcome
from loragit.run import results
from loragit.run.results import Logs, collect
from loragit.system.logfold import Folder
from loragit.trainers.losses import LogFolders, log_folders
from loragit.trainers.products import match_product
from loragit.trainers.safetensors import hash_file
from loragit.trainers.sd_scripts.trainer import SdScripts
from tests.support.paths import FIXTURES as TEST_FILES
from tests.support.paths import SD_SCRIPTS
from tests.support.trainer_files import (
    event_record,
    payload_sha256,
    png,
    safetensors,
    write_events,
    write_safetensors,
)

pytestmark = pytest.mark.every_python

FIXTURES = SD_SCRIPTS
TERMINAL = TEST_FILES / "terminal"
STARTED = datetime(2026, 11, 23, 17, 20, 30, tzinfo=UTC)
FINISHED = STARTED + timedelta(seconds=8)
WEIGHTS = {"a.lora_down.weight": b"\x01" * 40}


@pytest.fixture
def private(modes_count: None, tmp_path: Path) -> Path:
    """A folder in which modes count, even for root."""
    return tmp_path


def found(
    output: Path, name: str = "run", *, logs: Logs | None = None, exit_status: int = 0
) -> Outcome:
    return collect(
        output,
        name,
        SdScripts(),
        exit_status=exit_status,
        started=STARTED,
        finished=FINISHED,
        shown_output=f"~/{name}",
        logs=logs,
        log=output / "sdscripts.log",
    )


def save(path: Path, *, steps: int | None = None, epoch: int | None = None) -> Path:
    """A model as sd-scripts writes it; without ``--no_metadata`` where steps and epoch are
    given."""
    metadata = {"modelspec.title": "run"}
    metadata |= {} if steps is None else {"ss_steps": str(steps)}
    metadata |= {} if epoch is None else {"ss_epoch": str(epoch)}
    write_safetensors(path, WEIGHTS, metadata)
    return path


def test_the_outcome_of_a_real_lycoris_run_is_read_right() -> None:
    name = "base-tiny-v1s4"
    folder = FIXTURES / "output_dir" / name
    logs = Logs(LogFolders(FIXTURES / "logs", f"{name}_"), frozenset())
    result = found(folder, name, logs=logs)
    assert [(model.path, model.step, model.epoch) for model in result.models] == [
        (f"{name}-step00000002.safetensors", 2, 1),
        (f"{name}-step00000004.safetensors", 4, 1),
        (f"{name}.safetensors", 4, 1),
    ]
    assert result == Outcome(
        exit_status=0,
        started=STARTED,
        finished=FINISHED,
        output=f"~/{name}",
        models=result.models,
        samples=4,
        sample_files=result.sample_files,
        session="2966493315 1795454429.9989014",
        final_loss=struct.unpack("<f", bytes.fromhex("2daf903f"))[0],
    )
    assert [(sample.path, sample.sha256) for sample in result.sample_files] == [
        (f"sample/{file.name}", hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted((folder / "sample").iterdir())
    ]
    for model in result.models:
        data = (folder / model.path).read_bytes()
        assert (model.size, model.sha256) == (455620, hashlib.sha256(data).hexdigest())


def test_the_outcome_of_a_real_lora_run_names_its_payload_as_sd_scripts_does() -> None:
    result = found(FIXTURES / "output_dir" / "tiny_lora", "tiny_lora")
    (model,) = result.models
    assert (
        model.payload_sha256 == "55f5da957a7266013945a46ddc8b36db5b16a192b32a28f66270cc6476c75e6f"
    )
    assert (model.step, model.epoch, result.samples, result.final_loss) == (4, 1, 2, None)


def test_samples_of_a_real_run_tell_step_prompt_time_and_seed() -> None:
    name = "base-tiny-v1s4"
    files = sorted(path.name for path in (FIXTURES / "output_dir" / name / "sample").iterdir())
    read = [match_product(SdScripts.naming.sample, f"sample/{file}", name) for file in files]
    assert [each and each.group("epoch", "step", "prompt", "time", "seed") for each in read] == [
        (None, "000002", "00", "20261123172033", "1"),
        (None, "000002", "01", "20261123172033", None),
        (None, "000004", "00", "20261123172035", "1"),
        (None, "000004", "01", "20261123172035", None),
    ]
    one = match_product(
        SdScripts.naming.sample, "sample/a_e000003_12_20261123172033_4294967295.png", "a"
    )
    assert one is not None
    assert one.group("epoch", "step", "prompt", "seed") == ("000003", None, "12", "4294967295")


def test_models_come_in_order_of_saving_and_the_final_one_last(tmp_path: Path) -> None:
    save(tmp_path / "run.safetensors", steps=8, epoch=2)
    save(tmp_path / "run-000001.safetensors", steps=4, epoch=1)
    save(tmp_path / "run-step00000006.safetensors", steps=6, epoch=1)
    save(tmp_path / "run-step00000010.safetensors", steps=10, epoch=2)
    save(tmp_path / "run-step00000002.safetensors", steps=2, epoch=0)
    assert [(model.path, model.step, model.epoch) for model in found(tmp_path).models] == [
        ("run-step00000002.safetensors", 2, 1),
        ("run-000001.safetensors", 4, 1),
        ("run-step00000006.safetensors", 6, 2),
        ("run-step00000010.safetensors", 10, 3),
        ("run.safetensors", 8, 2),
    ]


def test_without_metadata_the_names_tell_step_and_epoch(tmp_path: Path) -> None:
    for place in ("", "-000002", "-000010", "-step00000004", "-step100000000"):
        save(tmp_path / f"run{place}.safetensors")
    assert [(model.path, model.step, model.epoch) for model in found(tmp_path).models] == [
        ("run-000002.safetensors", None, 2),
        ("run-000010.safetensors", None, 10),
        ("run-step00000004.safetensors", 4, None),
        ("run-step100000000.safetensors", 100_000_000, None),
        ("run.safetensors", None, None),
    ]


@pytest.mark.parametrize("text", ["", "-1", "4.0", "None", "9" * 19, "\u0664"])
def test_a_header_that_tells_nonsense_leaves_the_word_to_the_name(
    tmp_path: Path, text: str
) -> None:
    write_safetensors(
        tmp_path / "run-step00000004.safetensors", WEIGHTS, {"ss_steps": text, "ss_epoch": text}
    )
    assert [(model.step, model.epoch) for model in found(tmp_path).models] == [(4, None)]


@pytest.mark.parametrize(
    "other",
    [
        "run2.safetensors",
        "run-v2.safetensors",
        "xrun.safetensors",
        "Run.safetensors",
        "run-00001.safetensors",
        "run-step0000001.ckpt",
        "run-state.safetensors",
        "run.safetensors.part",
        "run.safetensors\n",
        "run.npz",
        "run",
    ],
)
def test_files_of_other_names_are_not_models_of_this_run(tmp_path: Path, other: str) -> None:
    save(tmp_path / other)
    assert not found(tmp_path).made_something


def test_an_output_name_that_looks_like_an_epoch_is_not_taken_for_one(tmp_path: Path) -> None:
    save(tmp_path / "foo-000010.safetensors")
    save(tmp_path / "foo-000010-000002.safetensors")
    assert [model.epoch for model in found(tmp_path, "foo-000010").models] == [2, None]
    assert [(model.path, model.epoch) for model in found(tmp_path, "foo").models] == [
        ("foo-000010.safetensors", 10)
    ]


def test_the_model_inside_a_state_folder_is_not_a_product_of_its_own(tmp_path: Path) -> None:
    for place in ("", "-000001", "-step00000012", "-step00000004"):
        (tmp_path / f"run{place}-state").mkdir()
        save(tmp_path / f"run{place}-state" / "model.safetensors")
        save(tmp_path / f"run{place}-state" / "run.safetensors")
    result = found(tmp_path)
    assert result.models == ()
    assert result.states == (
        "run-000001-state",
        "run-step00000004-state",
        "run-step00000012-state",
        "run-state",
    )
    assert result.made_something
    assert [(each.path, each.step, each.epoch) for each in result.state_weights] == [
        ("run-000001-state/model.safetensors", None, 1),
        ("run-step00000004-state/model.safetensors", 4, None),
        ("run-step00000012-state/model.safetensors", 12, None),
        ("run-state/model.safetensors", None, None),
    ]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("model.safetensors", True),
        ("model_1.safetensors", True),
        ("model-00001-of-00002.safetensors", True),
        ("pytorch_model.bin", True),
        ("optimizer.bin", False),
        ("model.safetensors.tmp", False),
        ("adapter_model.safetensors", False),
    ],
)
def test_the_weights_of_a_state_are_hashed(tmp_path: Path, name: str, counts: bool) -> None:
    state = tmp_path / "run-state"
    state.mkdir()
    save(state / "x.safetensors")
    data = (state / "x.safetensors").read_bytes()
    (state / "x.safetensors").rename(state / name)
    if name.endswith(".bin"):
        data = b"\x80\x02 a pickle"
        (state / name).write_bytes(data)
    payload = payload_sha256(WEIGHTS) if name.endswith(".safetensors") else None
    expected = (hashlib.sha256(data).hexdigest(), payload)
    found_weights = [(each.sha256, each.payload_sha256) for each in found(tmp_path).state_weights]
    assert found_weights == ([expected] if counts else [])


def test_weights_of_a_state_that_were_cut_short_are_not_on_record(tmp_path: Path) -> None:
    (tmp_path / "run-state").mkdir()
    save(tmp_path / "run-state" / "model.safetensors")
    data = (tmp_path / "run-state" / "model.safetensors").read_bytes()
    (tmp_path / "run-state" / "model.safetensors").write_bytes(data[:-1])
    result = found(tmp_path)
    assert (result.states, result.state_weights, result.truncated) == (("run-state",), (), ())


def test_a_model_in_diffusers_form_is_the_weights_in_its_folders(tmp_path: Path) -> None:
    names = (
        "run/unet/diffusion_pytorch_model.safetensors",
        "run/text_encoder/model.safetensors",
        "run-000001/unet/diffusion_pytorch_model.safetensors",
        "other/unet/diffusion_pytorch_model.safetensors",
        "run/scheduler/model.safetensors",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        save(tmp_path / name)
    (tmp_path / "run" / "model_index.json").write_text("{}")
    result = found(tmp_path)
    assert sorted(model.path for model in result.models) == sorted(names[:3])
    assert result.models[0].epoch == 1


def test_text_encoders_that_are_saved_beside_a_model_are_products_and_come_before_it(
    tmp_path: Path,
) -> None:
    # As sd3_train.py names them.
    whens = ("run-step00000002", "run")
    for when in whens:
        for part in ("", "_clip_l", "_t5xxl"):
            save(tmp_path / f"{when}{part}.safetensors")
    save(tmp_path / "run_other.safetensors")
    assert [model.path for model in found(tmp_path).models] == [
        f"{when}{part}.safetensors" for when in whens for part in ("_clip_l", "_t5xxl", "")
    ]


def test_a_state_folder_that_is_empty_or_none_of_ours_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "run-state").mkdir()
    (tmp_path / "other-state").mkdir()
    (tmp_path / "other-state" / "train_state.json").write_text("{}")
    (tmp_path / "run-000001-state").write_text("a file")
    assert found(tmp_path).states == ()


@pytest.mark.parametrize(
    "kept", [0, 5, 50, len(safetensors(WEIGHTS, {"modelspec.title": "run"})) - 1]
)
def test_a_model_that_was_cut_short_is_told_apart_from_whole_ones(
    tmp_path: Path, kept: int
) -> None:
    save(tmp_path / "run-000001.safetensors")
    os.truncate(save(tmp_path / "run-000002.safetensors"), kept)
    result = found(tmp_path, exit_status=137)
    assert [model.path for model in result.models] == ["run-000001.safetensors"]
    assert result.truncated == ("run-000002.safetensors",)
    assert result.exit_status == 137


def test_a_model_of_the_right_length_that_never_reached_the_disk_is_not_whole(
    tmp_path: Path,
) -> None:
    size = save(tmp_path / "run.safetensors").stat().st_size
    (tmp_path / "run.safetensors").write_bytes(b"\0" * size)
    result = found(tmp_path)
    assert (result.truncated, result.made_something) == (("run.safetensors",), False)


def archive() -> bytes:
    """A checkpoint as torch writes it since 1.6."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}q\0.")
        file.writestr("archive/data/0", b"\1" * 400)
    return stream.getvalue()


@pytest.mark.parametrize("ext", ["ckpt", "pt"])
@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (archive(), True),
        (archive()[:-80], False),
        (b"\x80\x02}q\0." + b"\1" * 40, True),
        (b"", False),
    ],
    ids=["zip", "zip cut short", "pickle", "empty"],
)
def test_a_pickled_model_is_judged_by_what_its_format_tells(
    tmp_path: Path, ext: str, data: bytes, whole: bool
) -> None:
    name = f"run-step00000004.{ext}"
    (tmp_path / name).write_bytes(data)
    result = found(tmp_path)
    if whole:
        digest = hashlib.sha256(data).hexdigest()
        assert result.models == (ModelFile(name, len(data), digest, None, step=4, epoch=None),)
    else:
        assert (result.models, result.truncated) == ((), (name,))


def test_a_linked_model_counts_by_what_it_points_at(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    save(tmp_path / "elsewhere.bin")
    (output / "run.safetensors").symlink_to(tmp_path / "elsewhere.bin")
    (output / "run-000001.safetensors").symlink_to(tmp_path / "gone")
    (output / "run-000002.safetensors").symlink_to(tmp_path)
    (output / "run-000003.safetensors").mkdir()
    os.mkfifo(output / "run-000004.safetensors")
    result = found(output)
    assert [(model.path, model.payload_sha256) for model in result.models] == [
        ("run.safetensors", payload_sha256(WEIGHTS))
    ]
    assert result.truncated == ()


def test_a_link_that_leads_nowhere_readable_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.safetensors").symlink_to("run.safetensors")
    (tmp_path / "run-state").symlink_to("run-state")
    result = found(tmp_path)
    assert (result.models, result.unreadable, result.states) == ((), ("run.safetensors",), ())


def test_a_model_that_may_not_be_read_is_never_called_whole(private: Path) -> None:
    save(private / "run-000001.safetensors")
    save(private / "run.safetensors").chmod(0)
    result = found(private)
    assert [model.path for model in result.models] == ["run-000001.safetensors"]
    assert (result.truncated, result.unreadable) == ((), ("run.safetensors",))


def test_folders_that_may_not_be_listed_raise_nothing(private: Path) -> None:
    state = private / "run-state"
    sample = private / "sample"
    state.mkdir(mode=0)
    sample.mkdir(mode=0)
    try:
        assert (found(private).states, found(private).samples) == (("run-state",), 0)
        private.chmod(0)
        assert not found(private).made_something
    finally:
        for folder in (private, state, sample):
            folder.chmod(0o700)


def test_a_model_that_vanishes_while_it_is_looked_at_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "run.safetensors")

    def rotated(path: Path) -> object:
        path.unlink()
        return hash_file(path)

    monkeypatch.setattr(results, "hash_file", rotated)
    result = found(tmp_path)
    assert (result.models, result.truncated) == ((), ())


def test_a_state_folder_that_vanishes_while_it_is_looked_at_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run-state").mkdir()
    mode = results._mode

    def rotated(entry: os.DirEntry[str] | Path) -> int:
        answer = mode(entry)
        shutil.rmtree(entry)
        return answer

    monkeypatch.setattr(results, "_mode", rotated)
    assert found(tmp_path).states == ()


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("")]
)
def test_an_output_folder_that_is_missing_empty_or_a_file_holds_nothing(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "output")
    result = found(tmp_path / "output", exit_status=1)
    assert result == Outcome(exit_status=1, started=STARTED, finished=FINISHED, output="~/run")
    assert not result.made_something


def test_samples_of_this_run_are_counted_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    folder.mkdir()
    ours = ["run_e000001_00_20261123164834_1.png", "run_000004_01_20261123164834.png"]
    others = [
        "run2_000004_01_20261123164834.png",
        "000004_01_20261123164834.png",
        "run_000004_01.png",
        "grid.png",
    ]
    for name in ours + others:
        (folder / name).write_bytes(png(2, 2, (255, 0, 0)))
    (folder / "run_000008_01_20261123164834.png").mkdir()
    result = found(tmp_path)
    assert (result.samples, result.made_something) == (2, True)


def test_only_log_folders_that_are_new_tell_the_final_loss(tmp_path: Path) -> None:
    def log(folder: str, loss: float, time: float) -> None:
        write_events(
            tmp_path / folder / "network_train" / "events.out.tfevents.1.h",
            [(4, "loss/average", loss, time)],
        )

    log("run_20261123164829", 1.0, 9000.0)
    log("run2_20261123172030", 2.0, 9000.0)
    (tmp_path / "run_20261123160000").write_text("a file")
    before = log_folders(LogFolders(tmp_path, "run_"), SdScripts.losses)
    assert before == {"run_20261123164829"}
    logs = Logs(LogFolders(tmp_path, "run_"), before)
    assert found(tmp_path / "output", logs=logs).final_loss is None

    log("run_20261123172030", 0.5, 5000.0)
    log("run_20261123172031", 0.25, 6000.0)
    (tmp_path / "run_20261123172031" / "events.out.tfevents.2.h").write_bytes(
        event_record(5, "loss/average", 0.125, 7000.0)
    )
    (tmp_path / "run_20261123172031" / "notes.txt").write_text("no events")
    os.mkfifo(tmp_path / "run_20261123172031" / "events.out.tfevents.3.h")
    assert found(tmp_path / "output", logs=logs).final_loss == 0.125


def test_a_prefix_may_be_empty_and_the_log_folder_missing(tmp_path: Path) -> None:
    assert log_folders(LogFolders(tmp_path / "none", ""), SdScripts.losses) == frozenset()
    for name in ("20261123172030", "run_20261123172030", "2026112317203"):
        (tmp_path / name).mkdir()
    assert log_folders(LogFolders(tmp_path, ""), SdScripts.losses) == {"20261123172030"}


BAR = "steps: 100%|########| 40/40 [00:04<00:00,  8.51it/s, "


def test_where_no_events_are_the_last_bar_of_a_real_log_tells_the_final_loss(
    tmp_path: Path,
) -> None:
    folder = Folder()
    drawn = (TERMINAL / "tqdm-steps.log").read_bytes()
    lines = [*folder.feed(drawn), *folder.close()]
    (tmp_path / "sdscripts.log").write_text("\n".join(lines))
    assert found(tmp_path).final_loss == 0.025


@pytest.mark.parametrize(
    ("lines", "loss"),
    [
        ([f"{BAR}avr_loss=0.5]", "", "saving checkpoint", f"{BAR}avr_loss=0.25]", "saved"], 0.25),
        ([f"{BAR}avr_loss=0.0912, lr=0.0001]"], 0.0912),
        ([f"{BAR}Average key norm=0.3, Keys Scaled=2, avr_loss=1e-5]"], 1e-5),
        ([f"{BAR}loss=0.25]"], 0.25),
        (["Steps: 100%|##| 500/500 [05:12<00:00, 1.64it/s, loss=0.0912, lr=0.0001]"], 0.0912),
        ([f"{BAR}avr_loss=inf]"], float("inf")),
        ([f"{BAR}avr_loss=-inf]"], float("-inf")),
        ([f"{BAR}avr_loss=0.5]2026-11-23 INFO it goes on"], 0.5),
        # The terminal was too narrow: 0.0912 may have been meant.
        ([f"{BAR}avr_loss=0.5]", f"{BAR}avr_loss=0.09"], 0.5),
        ([f"{BAR}avr_loss=0.5]", f"{BAR}avr_loss=1.2.3]"], 0.5),
        ([f"validation {BAR}avr_loss=0.5]"], None),
        ([f"{BAR}val_avg_loss=0.5]"], None),
        ([f"{BAR}no_avr_loss=0.5]"], None),
        ([f"{BAR}avr_loss=]"], None),
        (["steps: ] avr_loss=0.5"], None),
        ([""], None),
        # All but the last of them is out of sight.
        ([f"{BAR}avr_loss=0.5]", "x" * (1 << 20)], None),
    ],
)
def test_what_a_bar_tells_of_the_loss(tmp_path: Path, lines: list[str], loss: float | None) -> None:
    (tmp_path / "sdscripts.log").write_text("\n".join(lines) + "\n")
    assert found(tmp_path).final_loss == loss


def test_a_bar_that_is_off_the_rails_is_told_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "sdscripts.log").write_text(f"{BAR}avr_loss=0.5]\n{BAR}avr_loss=nan]")
    assert str(found(tmp_path).final_loss) == "nan"


def test_events_tell_the_final_loss_before_a_bar_does(tmp_path: Path) -> None:
    (tmp_path / "sdscripts.log").write_text(f"{BAR}avr_loss=0.13]")
    logs = Logs(LogFolders(tmp_path, ""), frozenset())
    assert found(tmp_path, logs=logs).final_loss == 0.13  # there is no event yet
    write_events(
        tmp_path / "20261123172030" / "network_train" / "events.out.tfevents.1.h",
        [(4, "loss/average", 0.125, 7000.0)],
    )
    assert found(tmp_path, logs=logs).final_loss == 0.125


def test_a_log_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sdscripts.log")
    assert found(tmp_path).final_loss is None


def test_many_models_are_each_hashed_as_what_they_are(tmp_path: Path) -> None:
    weights: dict[int, Mapping[str, bytes]] = {
        step: {"a": bytes([step]) * 5000} for step in range(1, 41)
    }
    for step, tensors in weights.items():
        write_safetensors(
            tmp_path / f"run-step{step:08d}.safetensors", tensors, {"ss_steps": str(step)}
        )
    models = found(tmp_path).models
    assert {model.step: model.payload_sha256 for model in models} == {
        step: payload_sha256(tensors) for step, tensors in weights.items()
    }
    assert [model.step for model in models] == sorted(weights)
