"""The loss of a run, read from what its trainer logged, and drawn in a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loragit import History, RecordedRun
from loragit.history.losses import Curve, chart, loss_files, read_curve
from loragit.trainers.sd_scripts.trainer import SdScripts
from tests.support.made_up_runs import MOMENT, NAME, a_run, an_outcome, open_store
from tests.support.trainer_files import event_record, first_record

START = MOMENT.timestamp()
EVENTS = "events.out.tfevents.1.host"


def on_record(dataset: Path, *words: str, workdir: str = "~/sd", **changes: object) -> RecordedRun:
    """A run that trained for a minute with the arguments ``words``."""
    store = open_store(dataset)
    argv = ("python", "sdxl_train_network.py", *words)
    run = store.open(a_run(argv=argv, workdir=workdir, **changes))
    store.seal(run, an_outcome(finished=MOMENT.replace(second=59)))
    return History.of(dataset).run(NAME)


def logged(folder: Path, *values: tuple[int, str, float, float], name: str = EVENTS) -> Path:
    """Each (step, tag, value, seconds since the start)."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [event_record(step, tag, value, START + at) for step, tag, value, at in values]
    (folder / name).write_bytes(first_record(START) + b"".join(rows))
    return folder / name


AVERAGE, CURRENT = "loss/average", "loss/current"


def test_the_average_of_the_time_of_the_run_is_read_in_order_of_steps(
    dataset: Path, tmp_path: Path
) -> None:
    run = on_record(dataset, "--logging_dir", "other", "logs")
    folder = tmp_path / "sd" / "logs" / f"{NAME}_2026" / "network_train"
    logged(
        folder,
        (2, AVERAGE, 0.5, 5),
        (1, AVERAGE, 0.75, 3),
        (3, AVERAGE, 0.25, -120),
        (4, AVERAGE, 0.125, 29 + 120),
        (5, AVERAGE, 9.0, -121),
        (6, AVERAGE, 9.0, 29 + 121),
        (1, CURRENT, 9.0, 3),
    )
    logged(tmp_path / "sd" / "logs" / "other_2026", (7, AVERAGE, 9.0, 5))
    assert read_curve(run, str(tmp_path)) == Curve((1, 2, 3, 4), (0.75, 0.5, 0.25, 0.125))
    assert read_curve(run, str(tmp_path / "nowhere")) is None


def test_without_an_average_the_current_loss_is_read(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "logs"
    run = on_record(
        dataset, "--logging_dir", "~/logs", "--log_prefix", "mine", "--log_prefix", "x", workdir="~"
    )
    logged(folder / "x1", (1, CURRENT, 0.5, 1))
    logged(folder / "x2", (2, CURRENT, 0.25, 1), name="notes.txt")
    assert read_curve(run, str(tmp_path / "home")) == Curve((1,), (0.5,))


def test_a_log_folder_that_a_file_of_arguments_names_is_searched(
    dataset: Path, tmp_path: Path
) -> None:
    words = ("--config_file", "~/out/inputs/gui.toml", "--log_prefix", "mine")
    run = on_record(dataset, *words, arguments={"logging_dir": ("~/logs",)})
    logged(tmp_path / "logs" / "mine1", (1, AVERAGE, 0.5, 1))
    assert read_curve(run, str(tmp_path)) == Curve((1,), (0.5,))


@pytest.mark.parametrize("workdir", ["~", "~name", "{home}"])
def test_a_log_folder_lies_in_the_folder_in_which_the_trainer_ran(
    dataset: Path, tmp_path: Path, workdir: str
) -> None:
    home = tmp_path / "home"
    written = workdir.replace("{home}", str(home))
    run = on_record(dataset, "--logging_dir", "logs", workdir=written)
    logged(home / "logs" / f"{NAME}_1", (1, AVERAGE, 0.5, 1))
    there = workdir != "~name"
    assert (read_curve(run, str(home)) is not None) == there


def test_a_run_without_logs_has_no_curve(dataset: Path, tmp_path: Path) -> None:
    logged(tmp_path / "sd" / f"{NAME}_1", (1, AVERAGE, 0.5, 1))
    assert read_curve(on_record(dataset), str(tmp_path)) is None


def test_a_trainer_that_logs_into_the_output_folder(dataset: Path, tmp_path: Path) -> None:
    source = SdScripts.losses._replace(folder=None)
    from loragit.history import losses

    logged(tmp_path / "out", (1, AVERAGE, 0.5, 1))
    found = [each.name for each in losses._paths(NAME, {}, "", "~/out", source, str(tmp_path))]
    assert found == [EVENTS]
    assert list(losses._paths(NAME, {}, "", "", source, str(tmp_path))) == []


def test_files_lie_in_a_log_folder_or_directly_below_and_links_are_not_followed(
    tmp_path: Path,
) -> None:
    for place in ("a1", "a1/one", "a1/one/two", "b1"):
        logged(tmp_path / "logs" / place)
    (tmp_path / "logs" / "a1" / "link").symlink_to(tmp_path / "logs" / "b1")
    (tmp_path / "logs" / "a2").write_text("no folder")
    found = loss_files(tmp_path / "logs", "a", SdScripts.losses)
    assert [str(path.parent.relative_to(tmp_path)) for path in found] == ["logs/a1", "logs/a1/one"]


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sd" / "logs" / f"{NAME}_1"
    folder.mkdir(parents=True)
    os.mkfifo(folder / EVENTS)
    logged(folder, (1, AVERAGE, 0.5, 1), name="events.out.tfevents.2.host")
    run = on_record(dataset, "--logging_dir", "logs")
    assert read_curve(run, str(tmp_path)) == Curve((1,), (0.5,))


@pytest.mark.parametrize(
    ("values", "columns", "drawn"),
    [
        ((), 8, ""),
        ((float("nan"), float("inf")), 8, ""),
        ((1.0,), 8, "_"),
        ((2.0, 2.0), 8, "__"),
        ((8.0, 1.0), 8, "#_"),
        (tuple(map(float, range(8))), 8, "_.-:=+*#"),
        (tuple(map(float, range(16))), 8, "_.-:=+*#"),
        ((0.0, 2.0, 0.0, 16.0), 2, "_#"),
        ((0.0, float("nan"), 1.0), 8, "_#"),
    ],
)
def test_a_curve_is_drawn_in_so_many_columns(
    values: tuple[float, ...], columns: int, drawn: str
) -> None:
    curve = Curve(tuple(range(len(values))), values)
    assert chart(curve, columns, plain=True) == drawn
    assert len(chart(curve, columns, plain=False)) == len(drawn)
