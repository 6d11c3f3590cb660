"""Reading the scalars of TensorBoard event files, whole or damaged."""

from __future__ import annotations

import math
import os
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit.trainers import losses
from loragit.trainers.losses import Scalar
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.tensorboard import scalars
from tests.support import trainer_files
from tests.support.paths import SD_SCRIPTS
from tests.support.trainer_files import event_record, first_record, record, varint

LOGS = SD_SCRIPTS / "logs"
FIXTURES = sorted(LOGS.rglob("events.out.tfevents.*"))

EVENTS = b"".join(
    [
        first_record(1000.0),
        event_record(1, "loss/current", 0.5, 1001.0),
        event_record(1, "loss/average", 0.25, 1001.0),
    ]
)
READ = [Scalar(1001.0, 1, "loss/current", 0.5), Scalar(1001.0, 1, "loss/average", 0.25)]


def final_loss(paths: list[Path]) -> float | None:
    return losses.final_loss(paths, SdScripts.losses)


def written(folder: Path, data: bytes, name: str = "events.out.tfevents.1.host") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.parts[-3])
def test_an_event_file_of_sd_scripts_is_read_to_its_end(path: Path) -> None:
    found = list(scalars(path))
    tags = ["loss/current", "loss/average", "lr/textencoder", "lr/unet", "lr/group1"]
    assert [(s.step, s.tag) for s in found] == [
        (step, tag) for step in (1, 2, 3, 4) for tag in tags
    ] + [(1, "loss/epoch_average")]
    assert [s.wall_time for s in found] == sorted(s.wall_time for s in found)
    assert {s.value for s in found if s.tag.startswith("lr/")} == {
        struct.unpack("<f", b"\x6f\x12\x83\x3a")[0]
    }


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.parts[-3])
def test_the_writer_of_the_tests_writes_what_torch_writes(path: Path, tmp_path: Path) -> None:
    original = path.read_bytes()
    started = struct.unpack_from("<d", original, 13)[0]
    again = first_record(started) + b"".join(
        event_record(s.step, s.tag, s.value, s.wall_time) for s in scalars(path)
    )
    assert again == original
    trainer_files.write_events(tmp_path / "logs" / "e", [(1, "a", 0.5, started)])
    assert (tmp_path / "logs" / "e").read_bytes() == original[:88] + event_record(
        1, "a", 0.5, started
    )


@pytest.mark.parametrize(
    ("run", "four_bytes"),
    [("base-tiny-v1s4_20261123172030", "2daf903f"), ("tiny_lora_20261123164829", "1ebc8a3f")],
)
def test_the_final_loss_is_the_last_average(run: str, four_bytes: str) -> None:
    (path,) = (LOGS / run).rglob("events.*")
    # The number follows its tag and a key byte; found by searching, without reading the format.
    at = path.read_bytes().rindex(b"loss/average") + len(b"loss/average") + 1
    assert path.read_bytes()[at : at + 4].hex() == four_bytes
    assert final_loss([path]) == struct.unpack("<f", bytes.fromhex(four_bytes))[0]


def test_the_final_loss_of_several_files_is_the_latest_in_time_then_step_then_place(
    tmp_path: Path,
) -> None:
    late = written(tmp_path, event_record(1, "loss/average", 1.0, 2000.0), "a")
    early = written(tmp_path, event_record(9, "loss/average", 2.0, 1000.0), "b")
    assert final_loss([late, early]) == final_loss([early, late]) == 1.0
    same_time = event_record(3, "loss/average", 3.0, 5.0) + event_record(
        2, "loss/average", 2.0, 5.0
    )
    assert final_loss([written(tmp_path, same_time)]) == 3.0
    same_step = event_record(2, "loss/average", 2.0, 5.0) + event_record(
        2, "loss/average", 1.5, 5.0
    )
    assert final_loss([written(tmp_path, same_step)]) == 1.5


def test_without_an_average_the_last_current_loss_counts(tmp_path: Path) -> None:
    data = event_record(1, "loss/current", 0.5, 1.0) + event_record(2, "loss/current", 0.75, 2.0)
    assert final_loss([written(tmp_path, data + event_record(2, "lr/unet", 1.0, 3.0))]) == 0.75
    average = event_record(1, "loss/average", 0.25, 1.0)
    assert final_loss([written(tmp_path, average + data)]) == 0.25


def test_a_training_without_a_logged_loss_has_none(tmp_path: Path) -> None:
    assert final_loss([]) is None
    assert final_loss([written(tmp_path, first_record(1.0))]) is None
    assert final_loss([tmp_path / "gone"]) is None


def test_an_event_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    assert final_loss([tmp_path / "gone", written(tmp_path, EVENTS)]) == 0.25
    with pytest.raises(FileNotFoundError):
        list(scalars(tmp_path / "gone"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_went_off_the_rails_is_told(tmp_path: Path, value: float) -> None:
    loss = final_loss([written(tmp_path, EVENTS + event_record(2, "loss/average", value, 1002.0))])
    assert loss is not None
    assert not math.isfinite(loss)


def test_a_time_that_is_not_a_number_is_older_than_any_other(tmp_path: Path) -> None:
    odd = event_record(9, "loss/average", 9.0, math.nan)
    assert final_loss([written(tmp_path, odd + EVENTS)]) == 0.25
    assert final_loss([written(tmp_path, EVENTS + odd)]) == 0.25


def test_a_number_logged_as_a_tensor_is_read(tmp_path: Path) -> None:
    data = event_record(0, "loss/average", 0.5, 1.0, as_tensor=True)
    assert list(scalars(written(tmp_path, data))) == [Scalar(1.0, 0, "loss/average", 0.5)]


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A protocol buffer of integers and byte strings."""
    return b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


def value(*fields: tuple[int, int | bytes], number: float | None = None) -> bytes:
    """An event with one value of these fields."""
    tail = b"" if number is None else b"\x15" + struct.pack("<f", number)
    return message((5, message((1, message(*fields) + tail))))


def test_fields_that_are_not_known_are_stepped_over(tmp_path: Path) -> None:
    known = value((7, b"node"), (1, b"a"), (9, b"metadata"), (3, 5), number=2.0)
    unknown = message((12, 1), (13, b"x")) + b"\x71" + b"\0" * 8 + b"\x75" + b"\0" * 4
    data = record(unknown + known + message((2, -3 & (1 << 64) - 1)))
    assert list(scalars(written(tmp_path, data))) == [Scalar(0.0, -3, "a", 2.0)]


@pytest.mark.parametrize(
    "event",
    [
        message((5, b"")),
        value((1, b"picture"), (4, b"png")),
        value((1, b"two floats"), (8, message((5, b"\0" * 8)))),
        value((1, b"text"), (8, message((8, b"text")))),
        value((1, b"odd"), (8, message((5, 3)))),
        message((5, 7), (2, b"seven")),
        message((5, message((1, 7)))),
    ],
)
def test_an_event_that_holds_no_number_is_stepped_over(tmp_path: Path, event: bytes) -> None:
    assert list(scalars(written(tmp_path, record(event) + EVENTS))) == READ


@pytest.mark.parametrize(
    "event",
    [
        b"\x80",  # an integer that ends early
        b"\x08" + b"\xff" * 10,  # one that does not end
        b"\x2a\x7f",  # a length beyond the record
        b"\x2a" + b"\xff" * 9 + b"\x01",
        b"\x09\0\0",  # a double cut short
        b"\x0d\0\0\0\0",  # a float where the time's double belongs
        b"\x08\x01",  # an integer there
        b"\x0b",  # a group
        value((1, b"a"), (2, b"abc")),
    ],
)
def test_an_event_that_is_no_event_ends_the_reading_with_what_came_before(
    tmp_path: Path, event: bytes
) -> None:
    assert list(scalars(written(tmp_path, EVENTS + record(event) + EVENTS))) == READ


@pytest.mark.parametrize("kept", [1, 11, 12, 20, 40, 49])
def test_a_record_cut_short_ends_the_reading_quietly(tmp_path: Path, kept: int) -> None:
    last = event_record(2, "loss/average", 0.125, 1002.0)
    assert kept < len(last)
    assert list(scalars(written(tmp_path, EVENTS + last[:kept]))) == READ


def test_a_file_cut_while_it_is_read_ends_the_reading_quietly(tmp_path: Path) -> None:
    path = written(tmp_path, EVENTS + record(message((9, b"\0" * 100_000))))
    reading = scalars(path)
    assert next(reading) == READ[0]
    os.truncate(path, len(EVENTS) + 20_000)
    assert list(reading) == READ[1:]


@pytest.mark.parametrize("byte", [0, 8], ids=["length", "its checksum"])
def test_a_damaged_length_ends_the_reading_with_what_came_before(tmp_path: Path, byte: int) -> None:
    damaged = bytearray(event_record(2, "loss/average", 0.125, 1002.0))
    damaged[byte] ^= 1
    assert list(scalars(written(tmp_path, EVENTS + damaged + EVENTS))) == READ


def test_a_record_too_long_for_scalars_is_stepped_over_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "e"
    length = struct.pack("<Q", 32 << 20)
    with path.open("wb") as file:
        file.write(record_head(length))
        file.seek(32 << 20, os.SEEK_CUR)
        file.write(b"\0\0\0\0" + EVENTS)
    tracemalloc.start()
    try:
        assert list(scalars(path)) == READ
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [1 << 40, (1 << 64) - 1])
def test_a_length_beyond_the_end_of_the_file_ends_the_reading(tmp_path: Path, length: int) -> None:
    path = written(tmp_path, EVENTS + record_head(struct.pack("<Q", length)) + b"\0" * 50)
    assert list(scalars(path)) == READ


def record_head(length: bytes) -> bytes:
    """The first 12 bytes of a record whose length is ``length``: the writer's own, taken from a
    record of 8 bytes."""
    return length + record(length)[-4:]


@st.composite
def damaged_events(draw: st.DrawFn) -> bytes:
    data = bytearray(EVENTS)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


FIELDS = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(
        st.tuples(st.integers(1, 9), inner | st.integers(0, 2**64 - 1)), max_size=4
    ).map(lambda fields: message(*fields)),
    max_leaves=6,
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.binary(max_size=120),
        damaged_events(),
        st.lists(FIELDS.map(record), max_size=3).map(b"".join),
    )
)
def test_no_bytes_raise_or_keep_the_reader_busy(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path, data)
    assert len(list(scalars(path))) <= len(data)
    final_loss([path])
