"""The parts of the demo's trainer, in this process."""

from __future__ import annotations

import importlib
import random
import shutil
import struct
import sys
import types
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragit.commands.demo import dataset, lora
from tests.support.demo_workshop import Workshop, event_file, scalars_of


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.made(tmp_path)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> tuple[types.ModuleType, types.ModuleType]:
    """``train_network.py`` and ``library/train_util.py``, imported from where the package keeps
    them."""
    train_util = importlib.import_module("loragit.commands.demo.train_util")
    library = types.ModuleType("library")
    library.train_util = train_util  # type: ignore[attr-defined]
    for name, module in (
        ("library", library),
        ("networks", types.ModuleType("networks")),
        ("networks.lora", lora),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return importlib.import_module("loragit.commands.demo.trainer"), train_util


def test_its_parts_agree_on_the_size_of_a_picture(
    scripts: tuple[types.ModuleType, types.ModuleType],
) -> None:
    assert scripts[1].SIDE == lora.SIDE == dataset.SIDE
    assert (lora.FEATURES, lora.BASE) == (dataset.FEATURES, dataset.BASE_TENSOR)


def test_a_whole_run_in_this_process(
    workshop: Workshop,
    scripts: tuple[types.ModuleType, types.ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workshop.dataset)
    Path("img/00.txt").unlink()  # no caption: nothing but the picture is known
    Path("train.toml").write_text("[a]\nnetwork_dim = 1\n")
    argv = workshop.argv(
        config_file="train.toml",
        network_dim=None,
        network_args=["a=1"],
        max_train_steps=None,
        max_train_epochs=2,
        save_every_n_steps=5,
        save_every_n_epochs=1,
        sample_every_n_steps=6,
        seed=None,
        logging_dir="../logs",
        output_name=None,
    )
    scripts[0].main(argv)
    assert [f for f in workshop.files() if "/" not in f] == [
        "at-step00000005.safetensors",
        "at-step00000010.safetensors",
        "epoch-000001.safetensors",
        "last.safetensors",
    ]
    assert len([f for f in workshop.files() if f.startswith("sample/")]) == 6
    assert "epoch 2/2" in capsys.readouterr().out
    scripts[0].main(
        workshop.argv(
            sample_every_n_epochs=1, sample_prompts=None, no_metadata=True, output_name="b"
        )
    )
    assert "No prompt file: None" in capsys.readouterr().out


def test_refusals_in_this_process(
    workshop: Workshop,
    scripts: tuple[types.ModuleType, types.ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workshop.dataset)
    with pytest.raises(SystemExit) as end:
        scripts[0].main(workshop.argv(output_dir=None))
    assert end.value.code == 2
    shutil.rmtree("img")
    scripts[0].main(workshop.argv())
    assert "not directory: img" in capsys.readouterr().out
    Path("config.toml").write_text("[nonsense]\n")
    with pytest.raises(ValueError, match=r"extra keys not allowed in config\.toml: nonsense"):
        scripts[0].main(workshop.argv())
    assert not workshop.output.exists()


def test_steps_above_127_are_logged_right(
    workshop: Workshop, scripts: tuple[types.ModuleType, types.ModuleType]
) -> None:
    events = scripts[0].Events(workshop.logs / "20260102030405" / "network_train")
    for step in (1, 127, 128, 16_383):
        events.scalar("loss/current", step / 2, step)
    events.file.close()
    assert scalars_of(event_file(workshop)) == {
        "loss/current": {1: 0.5, 127: 63.5, 128: 64.0, 16_383: 8191.5}
    }


def test_a_slow_step_is_told_in_seconds_a_step(
    scripts: tuple[types.ModuleType, types.ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 100.0
    monkeypatch.setattr(scripts[0].time, "monotonic", lambda: now)
    bar = scripts[0].Bar(4)
    now += 0.05
    bar.step(", avr_loss=0.5")  # too soon after the last redraw
    now += 2.95
    bar.step(", avr_loss=0.5")
    now += 3.0
    bar.step(", avr_loss=0.25")
    assert capsys.readouterr().err.split("\r")[1:] == [
        "steps:   0%|          | 0/4 [00:00<?, ?it/s]",
        "steps:  50%|█████     | 2/4 [00:03<00:03,  1.50s/it, avr_loss=0.5]",
        "steps:  75%|███████▌  | 3/4 [00:06<00:02,  2.00s/it, avr_loss=0.25]",
    ]


def encode_png(width: int, height: int, rgb: bytes, filters: list[int]) -> bytes:
    """A PNG whose line ``y`` is filtered with ``filters[y]``; written from the specification,
    encoder's side."""
    stride, lines = width * 3, []
    for y in range(height):
        line, kind = rgb[y * stride : (y + 1) * stride], filters[y]
        above = rgb[(y - 1) * stride : y * stride] if y else bytes(stride)
        out = bytearray([kind])
        for i, value in enumerate(line):
            a, c = (line[i - 3], above[i - 3]) if i >= 3 else (0, 0)
            b = above[i]
            p = a + b - c
            pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
            paeth = a if pa <= pb and pa <= pc else b if pb <= pc else c
            out.append(value - (0, a, b, (a + b) // 2, paeth)[kind] & 255)
        lines.append(bytes(out))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(lines))
    chunks = (
        (b"IHDR", header),
        (b"IDAT", data[:9]),
        (b"tEXt", b"a\0b"),
        (b"IDAT", data[9:]),
        (b"IEND", b""),
    )
    framed = (
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_line_filter_of_png_is_undone(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    rgb = data.draw(st.binary(min_size=width * height * 3, max_size=width * height * 3))
    filters = data.draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    train_util = importlib.import_module("loragit.commands.demo.train_util")
    assert train_util.read_png(encode_png(width, height, rgb, filters)) == (width, height, rgb)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GIF89a", "not a PNG"),
        (encode_png(1, 1, b"abc", [0]).replace(b"\x08\x02", b"\x08\x06"), "only 8-bit RGB"),
    ],
)
def test_other_images_are_refused(data: bytes, told: str) -> None:
    train_util = importlib.import_module("loragit.commands.demo.train_util")
    with pytest.raises(ValueError, match=told):
        train_util.read_png(data)


def test_a_picture_of_any_size_is_brought_to_32_by_32() -> None:
    train_util = importlib.import_module("loragit.commands.demo.train_util")
    black_and_white = bytes([0] * 3 + [255] * 3)
    assert train_util.shrink(2, 1, black_and_white)[: 32 * 3] == [-1.0] * 48 + [1.0] * 48
    assert train_util.shrink(64, 32, black_and_white * 32 * 32) == pytest.approx([0.0] * 3072)


def test_a_base_model_without_the_layer_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "other.safetensors"
    model.write_bytes(dataset.base_model().replace(b"unet.mid", b"unet.out"))
    with pytest.raises(KeyError, match=lora.BASE.replace(".", r"\.")):
        lora.create_network(model, None, None, 1)


def test_rank_and_alpha_default_to_4_and_1(tmp_path: Path) -> None:
    model = tmp_path / "noob.safetensors"
    model.write_bytes(dataset.base_model())
    network = lora.create_network(model, None, None, 1)
    assert (network.dim, network.alpha) == (4, 1.0)
    # Nothing is added before the first step, whatever the features.
    frozen = network.caption(("gren",))[1]
    assert network.draw(("gren",)) == frozen


def test_gradients_are_those_of_the_loss(tmp_path: Path) -> None:
    """A small step along each gradient changes the loss by what the gradient promises."""
    model = tmp_path / "noob.safetensors"
    model.write_bytes(dataset.base_model())
    network = lora.create_network(model, 2, 1.0, 3)
    rng = random.Random(4)
    network.up[:] = [[rng.uniform(-1, 1) for _ in column] for column in network.up]
    batch = [
        (("a", "b"), [rng.uniform(-1, 1) for _ in range(lora.OUTPUTS)]),
        (("c",), [0.5] * lora.OUTPUTS),
    ]
    told: list[list[float]] = []

    class Listening(lora.AdamW):
        def step(self, gradients: list[list[float]], rate: float) -> None:
            told[:] = gradients

    network.optimizer = Listening([])
    before = network.learn(batch, 0.1)
    assert before > 0
    gradients = [row[:] for row in told]
    for rows, row, column, expected in (
        (network.down, 0, 5, gradients[0][5]),
        (network.down, 1, 31, gradients[1][31]),
        (network.up, 0, 7, gradients[2][7]),
        (network.up, 1, 3000, gradients[3][3000]),
    ):
        rows[row][column] += 1e-4
        more = network.learn(batch, 0.1)
        rows[row][column] -= 2e-4
        less = network.learn(batch, 0.1)
        rows[row][column] += 1e-4
        # The gradients are of the sum over outputs and batch, halved; the loss is the mean over
        # both.
        assert (more - less) / 2e-4 == pytest.approx(
            2 * expected / lora.OUTPUTS / len(batch), rel=1e-4
        )
