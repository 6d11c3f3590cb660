"""Presets of the kohya_ss GUI, as the arguments that it gives sd-scripts for them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.record.run_toml import to_toml
from loragit.trainers.sd_scripts import gui_preset
from loragit.trainers.sd_scripts.gui_preset import script

OLD: Mapping[str, object] = {
    "LoRA_type": "LyCORIS/LoHa",
    "additional_parameters": "",
    "caption_extension": ".txt",
    "clip_skip": "1",
    "conv_alpha": 16,
    "conv_dim": 16,
    "enable_bucket": True,
    "epoch": 1,
    "flip_aug": False,
    "gradient_accumulation_steps": 1.0,
    "keep_tokens": "0",
    "learning_rate": 0.001,
    "lr_scheduler": "constant",
    "lr_scheduler_num_cycles": "1",
    "lr_warmup": 10,
    "max_data_loader_n_workers": "0",
    "max_resolution": "1024,1024",
    "max_token_length": "75",
    "module_dropout": 0,
    "network_alpha": 32,
    "network_dim": 32,
    "no_token_padding": False,
    "optimizer": "AdamW8bit",
    "optimizer_args": "weight_decay=0.1 betas=0.9,0.99",
    "output_dir": "/somewhere",
    "rank_dropout": 0,
    "sample_prompts": "a thing --w 64",
    "sdxl": True,
    "sdxl_no_half_vae": True,
    "seed": "",
    "text_encoder_lr": 0.0005,
    "unet_lr": "0.001",
    "v2": False,
    "xformers": True,
}
"""As such a preset of 2023 reads."""


def table(preset: Mapping[str, object]) -> dict[str, object]:
    return gui_preset.config_file(preset)


def test_an_old_preset_is_understood() -> None:
    assert script(OLD) == "sdxl_train_network.py"
    assert table(OLD) == {
        "caption_extension": ".txt",
        "clip_skip": 1,
        "enable_bucket": True,
        "gradient_accumulation_steps": 1,
        "learning_rate": 0.001,
        "lr_scheduler": "constant",
        "lr_scheduler_num_cycles": 1,
        "lr_warmup_steps": 0.1,
        "max_data_loader_n_workers": 0,
        "max_token_length": 75,
        "resolution": "1024,1024",
        "network_alpha": 32,
        "network_dim": 32,
        "optimizer_type": "AdamW8bit",
        "optimizer_args": ["weight_decay=0.1", "betas=0.9,0.99"],
        "no_half_vae": True,
        "text_encoder_lr": [0.0005, 0.0005],
        "unet_lr": 0.001,
        "xformers": True,
        "network_module": "lycoris.kohya",
        "network_args": [
            *("preset=full", "conv_dim=16", "conv_alpha=16", "rank_dropout=0"),
            *("module_dropout=0", "algo=loha"),
        ],
    }


def test_text_stays_text_and_numbers_are_numbers() -> None:
    preset = {"max_resolution": "512", "metadata_title": "2024", "seed": "7", "learning_rate": 1}
    found = table(preset)
    assert (found["resolution"], found["metadata_title"], found["seed"]) == ("512", "2024", 7)
    assert isinstance(found["learning_rate"], float)


@pytest.mark.parametrize(
    ("kind", "module", "words"),
    [
        ("Standard", "networks.lora", ("block_dims=1,2", "rank_dropout=0.1")),
        ("Kohya LoCon", "networks.lora", ("conv_dim=4", "block_dims=1,2", "rank_dropout=0.1")),
        (
            "LyCORIS/DyLoRA",
            "lycoris.kohya",
            ("preset=attn", "conv_dim=4", "rank_dropout=0.1", "block_size=8", "algo=dylora"),
        ),
        ("Flux1", "networks.lora_flux", ("split_qkv=True", "rank_dropout=0.1")),
        ("Flux1 OFT", "networks.oft_flux", ()),
        ("Anima", "networks.lora_anima", ("rank_dropout=0.1",)),
    ],
)
def test_the_type_of_lora_names_the_network(kind: str, module: str, words: tuple[str, ...]) -> None:
    preset = {
        "LoRA_type": kind,
        "LyCORIS_preset": "attn",
        "block_dims": "1,2",
        "conv_dim": 4,
        "rank_dropout": 0.1,
        "split_qkv": True,
        "unit": 8,
    }
    found = table(preset)
    assert found["network_module"] == module
    assert found.get("network_args", []) == list(words)


def test_sd3_has_a_network_of_its_own() -> None:
    preset = {"network_dim": 4}
    assert table({**preset, "sd3_checkbox": True})["network_module"] == "networks.lora_sd3"
    assert table(preset)["network_module"] == "networks.lora"


def test_flux_has_arguments_of_its_own() -> None:
    preset = {"LoRA_type": "Flux1", "flux1_checkbox": True, "train_blocks": "double"}
    assert "network_args" not in table(preset)
    more = {"split_mode": True, "train_lora_ggpo": True, "ggpo_beta": 0.01, "ggpo_sigma": 0.03}
    assert table({**preset, **more})["network_args"] == [
        *("ggpo_beta=0.01", "ggpo_sigma=0.03", "train_blocks=single"),
    ]
    assert "network_args" not in table({**preset, "ggpo_beta": 0.01})


def test_a_preset_of_a_whole_model_has_no_network() -> None:
    found = table({"sdxl_checkbox": True, "learning_rate_te1": 1e-5, "unet_lr": 1e-4})
    assert found == {"learning_rate_te1": 1e-5, "unet_lr": 1e-4}
    assert script({"sdxl": True}) is None


@pytest.mark.parametrize(
    ("encoder", "unet", "flag"),
    [
        (0, 1e-4, "network_train_unet_only"),
        (1e-4, 0, "network_train_text_encoder_only"),
        (1e-4, 1e-4, None),
        (0, 0, None),
    ],
)
def test_a_rate_of_zero_leaves_a_part_untrained(
    encoder: float, unet: float, flag: str | None
) -> None:
    found = table({"network_dim": 4, "text_encoder_lr": encoder, "unet_lr": unet})
    assert {name for name in found if name.startswith("network_train")} == ({flag} - {None})


def test_keys_of_one_family_count_for_that_alone() -> None:
    preset = {
        "ae": "/ae.sft",
        "anima_qwen3": "/q.safetensors",
        "anima_vae": "/v.safetensors",
        "clip_skip": 2,
        "flux1_cache_text_encoder_outputs": True,
        "max_token_length": "150",
        "vae": "/plain.pt",
    }
    anima = table({**preset, "anima_checkbox": True, "blocks_to_swap": 8})
    assert anima["blocks_to_swap"] == 8
    assert (anima["qwen3"], anima["vae"]) == ("/q.safetensors", "/v.safetensors")
    assert anima.keys().isdisjoint({"ae", "clip_skip", "max_token_length"})
    chroma = {"flux1_checkbox": True, "model_type": "Chroma", "clip_l": "/c", "guidance_scale": 0.0}
    flux = table({**preset, **chroma})
    assert flux["guidance_scale"] == 0.0
    assert "clip_l" not in flux
    assert (flux["ae"], flux["vae"]) == ("/ae.sft", "/plain.pt")
    assert flux["cache_text_encoder_outputs"] is True
    assert (flux["model_type"], flux["apply_t5_attn_mask"]) == ("chroma", True)
    plain = table(preset)
    assert plain.keys().isdisjoint({"ae", "qwen3"})
    assert plain["max_token_length"] == 150


def test_noise_is_of_one_kind() -> None:
    preset = {"noise_offset": 0.1, "multires_noise_iterations": 6}
    assert "multires_noise_iterations" not in table(preset)
    multires = table({**preset, "noise_offset_type": "Multires"})
    assert multires["multires_noise_iterations"] == 6
    assert "noise_offset" not in multires


def test_further_parameters_are_words_of_the_command_line() -> None:
    found = gui_preset.further_arguments({"additional_parameters": '--lowram --seed "5"'})
    assert found.options == {"lowram": (), "seed": ("5",)}
    assert gui_preset.further_arguments({}).options == {}


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-10, 10)
    | st.floats()
    | st.sampled_from(["", "0", "0.0", "nan", "1e-4", "x y", '"', "--lowram 1"])
    | st.lists(st.integers(), max_size=2)
)


@given(st.dictionaries(st.sampled_from([*OLD, "additional_parameters", "epoch", "unit"]), VALUES))
def test_whatever_a_preset_holds_it_gives_words(preset: dict[str, object]) -> None:
    found = table(preset)
    assert tomllib.loads(to_toml(found).decode()) == found
    assert not {"", False, None}.intersection(
        value for value in found.values() if isinstance(value, (str, bool)) or value is None
    )
    assert gui_preset.further_arguments(preset).words() is not None
    assert (script(preset) or "train_network.py").endswith("train_network.py")
