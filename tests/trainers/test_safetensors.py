"""Reading headers of model files that nobody vouches for, and hashing them."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit.trainers import safetensors
from loragit.trainers.safetensors import Header, NotSafetensors, hash_file, read_header
from tests.support import trainer_files
from tests.support.paths import SD_SCRIPTS

OUTPUT = SD_SCRIPTS / "output_dir"
TINY_LORA = OUTPUT / "tiny_lora" / "tiny_lora.safetensors"

WEIGHTS = {"a.lora_down.weight": b"\x01" * 40, "a.lora_up.weight": b"\x02" * 24}
MODEL = trainer_files.safetensors(WEIGHTS, {"ss_steps": "4", "ss_training_comment": "zqx \u00e9"})


def with_header(text: str | bytes, payload: bytes = b"") -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw + payload


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "m.safetensors"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("path", sorted(OUTPUT.glob("*/*.safetensors")), ids=lambda path: path.name)
def test_a_model_of_sd_scripts_is_whole_and_tells_of_its_run(path: Path) -> None:
    header = read_header(path)
    assert header.whole
    assert header.metadata["ss_output_name"] == path.parent.name
    assert 8 + header.header_length + header.data_length == path.stat().st_size


def test_the_payload_of_a_networks_lora_model_hashes_to_what_sd_scripts_wrote_into_it() -> None:
    hashes = hash_file(TINY_LORA)
    assert hashes.payload_sha256 == read_header(TINY_LORA).metadata["sshs_model_hash"]
    assert hashes.sha256 == hashlib.sha256(TINY_LORA.read_bytes()).hexdigest()
    assert hashes.size == TINY_LORA.stat().st_size


def test_two_saves_of_the_same_weights_differ_as_files_and_agree_in_payload() -> None:
    folder = OUTPUT / "base-tiny-v1s4"
    step, final = (
        hash_file(folder / name)
        for name in ("base-tiny-v1s4-step00000004.safetensors", "base-tiny-v1s4.safetensors")
    )
    assert step.sha256 != final.sha256
    assert step.payload_sha256 == final.payload_sha256


@pytest.mark.parametrize("length", [len(MODEL) - 1, len(MODEL) - 64, len(MODEL) + 1])
def test_a_file_of_another_length_than_its_header_says_is_not_whole(
    file: Callable[[bytes], Path], length: int
) -> None:
    header = read_header(file((MODEL + b"\0")[:length]))
    assert (header.whole, header.data_length) == (False, 64)


def test_a_model_without_metadata_or_tensors_is_read(file: Callable[[bytes], Path]) -> None:
    assert read_header(file(with_header("{}"))) == Header({}, 2, 0, True)


@pytest.mark.parametrize(
    ("text", "payload", "metadata"),
    [
        ('{"__metadata__":null,"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}', 4, {}),
        ('{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}' + " " * 37, 4, {}),
        (' \t\r\n{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}', 4, {}),
        ('{"__metadata__":{"a":"1","a":"2"}}', 0, {"a": "2"}),
        ('{"a":{"data_offsets":[0,9]},"a":{"data_offsets":[0,4]}}', 4, {}),
        ('{"a":{"data_offsets":[4,6]},"b":{"data_offsets":[0,4]}}', 6, {}),
        (
            '{"a":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"b":{"data_offsets":[0,4]}}',
            4,
            {},
        ),
        ('{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4, {}),
        ('{"a":{"dtype":"F8_E8M0","shape":[3],"data_offsets":[0,3]}}', 3, {}),
    ],
)
def test_what_the_safetensors_crate_loads_is_sound(
    file: Callable[[bytes], Path], text: str, payload: int, metadata: dict[str, str]
) -> None:
    path = file(with_header(text, b"x" * payload))
    names = tuple(name for name in json.loads(text) if name != "__metadata__")
    assert read_header(path) == Header(metadata, len(text), payload, True, names)
    assert hash_file(path).payload_sha256 == hashlib.sha256(b"x" * payload).hexdigest()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "ends within its header, after 0 bytes"),
        (MODEL[:7], "ends within its header, after 7 bytes"),
        (MODEL[:100], "ends within its header, after 100 bytes"),
        (with_header("{}      ")[:-1], "ends within its header, after 15 bytes"),
        (b"\xff" * 64, "ends within its header"),
        (b"\0" * 64, "it is not an object"),
        (with_header("[]"), "it is not an object"),
        (with_header("null"), "it is not an object"),
        (with_header("{"), "does not parse"),
        (with_header("{} {}"), "does not parse"),
        (with_header(b'{"\xff": {}}'), "does not parse"),
        (with_header('{"a": {}}'.encode("utf-16")), "it is not an object"),
        (with_header('{"a": ' + "[" * 100_000), "nested too deep"),
        (with_header('{"a": ' + "9" * 5000 + "}"), "does not parse"),
        (with_header('{"a": NaN}'), "NaN is not JSON"),
        (with_header('{"__metadata__": {}, "__metadata__": {}}'), "__metadata__ occurs twice"),
        (with_header('{"__metadata__": []}'), "__metadata__ is not an object"),
        (with_header('{"__metadata__": {"ss_steps": 4}}'), "not text"),
        (with_header('{"__metadata__": {"a": "\\ud800"}}'), "does not parse"),
        (with_header('{"a": 1}'), "no data_offsets"),
        (with_header('{"a": {}}'), "no data_offsets"),
        (with_header('{"a": {"data_offsets": 4}}'), "no data_offsets"),
        (with_header('{"a": {"data_offsets": [0, 1, 2]}}'), "no data_offsets"),
        (with_header('{"a": {"data_offsets": [-1, 4]}}'), "not two ascending offsets"),
        (with_header('{"a": {"data_offsets": [4, 0]}}'), "not two ascending offsets"),
        (with_header('{"a": {"data_offsets": [0, 4.0]}}'), "not two ascending offsets"),
        (with_header('{"a": {"data_offsets": [false, 4]}}'), "not two ascending offsets"),
        (with_header('{"a": {"data_offsets": [0, true]}}'), "not two ascending offsets"),
        (with_header('{"a": {"data_offsets": ["0", "4"]}}'), "not two ascending offsets"),
        (
            with_header('{"a": {"data_offsets": [0, 9223372036854775808]}}'),
            "not two ascending offsets",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsound_header_is_refused_with_its_reason(
    file: Callable[[bytes], Path], data: bytes, problem: str
) -> None:
    with pytest.raises(NotSafetensors, match=problem) as refusal:
        read_header(file(data))
    assert refusal.value.message.startswith("m.safetensors is not a sound safetensors file: ")
    assert refusal.value.hint


def test_a_header_beyond_the_limit_of_the_format_is_refused_before_it_is_read(
    file: Callable[[bytes], Path],
) -> None:
    path = file(struct.pack("<Q", safetensors.HEADER_LIMIT + 1) + b"{")
    os.truncate(path, safetensors.HEADER_LIMIT + 100)  # sparse: takes no room on the disk
    assert peak_memory(lambda: refuse(path)) < 1 << 20
    assert hash_file(path).payload_sha256 is None


def test_nothing_is_allocated_because_a_header_claims_it(file: Callable[[bytes], Path]) -> None:
    path = file(struct.pack("<Q", safetensors.HEADER_LIMIT) + b'{"__metadata__":{}}')
    assert peak_memory(lambda: refuse(path)) < 1 << 20


def test_memory_stays_flat_while_a_large_file_is_hashed(file: Callable[[bytes], Path]) -> None:
    path = file(MODEL)
    os.truncate(path, 48 << 20)
    assert peak_memory(lambda: hash_file(path)) < 6 << 20
    data = path.read_bytes()
    start = 8 + read_header(path).header_length
    assert hash_file(path) == safetensors.Hashes(
        hashlib.sha256(data).hexdigest(), hashlib.sha256(data[start:]).hexdigest(), len(data)
    )


def test_a_header_longer_than_one_reading_is_left_out_of_the_payload(
    file: Callable[[bytes], Path],
) -> None:
    path = file(trainer_files.safetensors(WEIGHTS, {"ss_tag_frequency": "zqx " * (2 << 20)}))
    assert path.stat().st_size > 8 << 20
    assert hash_file(path).payload_sha256 == trainer_files.payload_sha256(WEIGHTS)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 64, b"PK\x03\x04" + b"\0" * 60, b"\x80\x02}q\0." + b"\0" * 60, MODEL[:50]]
)
def test_a_file_that_is_not_safetensors_has_no_payload(
    file: Callable[[bytes], Path], data: bytes
) -> None:
    hashes = hash_file(file(data))
    assert hashes == safetensors.Hashes(hashlib.sha256(data).hexdigest(), None, len(data))


@pytest.mark.parametrize("read", [read_header, hash_file])
def test_what_is_not_a_regular_file_is_not_waited_on(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(OSError, match="not a regular file"):
        read(tmp_path / "pipe.safetensors")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.safetensors")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["__metadata__", "data_offsets", "a", "b"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A model with some bytes overwritten, then cut or grown."""
    data = bytearray(MODEL)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) + draw(st.binary(max_size=8))


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.binary(max_size=200), damaged(), JSON.map(lambda value: with_header(json.dumps(value)))
    )
)
def test_no_bytes_raise_anything_but_a_refusal(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    assert hash_file(path).sha256 == hashlib.sha256(data).hexdigest()
    try:
        header = read_header(path)
    except NotSafetensors:
        return
    assert header.whole == (8 + header.header_length + header.data_length == len(data))
    assert all(isinstance(value, str) for value in header.metadata.values())


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.binary(max_size=64),
    ),
    st.dictionaries(st.text(max_size=8), st.text(max_size=20)),
)
def test_what_was_written_is_read_back(
    tmp_path: Path, weights: dict[str, bytes], metadata: dict[str, str]
) -> None:
    path = tmp_path / "m.safetensors"
    trainer_files.write_safetensors(path, weights, metadata)
    header = read_header(path)
    assert (header.whole, header.metadata) == (True, metadata)
    assert header.data_length == sum(map(len, weights.values()))
    assert hash_file(path).payload_sha256 == trainer_files.payload_sha256(weights)


def refuse(path: Path) -> None:
    with pytest.raises(NotSafetensors):
        read_header(path)


def peak_memory(act: Callable[[], object]) -> int:
    """Bytes of Python memory in use at most while ``act`` runs."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
