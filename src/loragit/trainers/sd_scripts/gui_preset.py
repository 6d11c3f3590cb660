"""Presets of the kohya_ss GUI (its JSON of "Save configuration"), as the arguments that it gives
sd-scripts for them.

Read in the GUI's ``kohya_gui/lora_gui.py``, ``train_model``. As there, what is empty, false or zero
is not given, and neither is a key that a preset lacks: the trainer's own default counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from loragit.trainers.arguments import Arguments, from_words

_SAME = (
    *("adaptive_noise_scale", "async_upload", "bucket_no_upscale", "bucket_reso_steps"),
    *("cache_latents", "cache_latents_to_disk", "caption_dropout_every_n_epochs"),
    *("caption_dropout_rate", "caption_extension", "clip_skip", "color_aug", "dataset_config"),
    *("debiased_estimation_loss", "dim_from_weights", "enable_bucket", "flip_aug", "fp8_base"),
    *("full_bf16", "full_fp16", "gradient_accumulation_steps", "gradient_checkpointing"),
    *("highvram", "huber_c", "huber_scale", "huber_schedule", "huggingface_path_in_repo"),
    *("huggingface_repo_id", "huggingface_repo_type", "huggingface_repo_visibility"),
    *("huggingface_token", "ip_noise_gamma", "ip_noise_gamma_random_strength", "keep_tokens"),
    *("learning_rate", "log_config", "log_tracker_config", "log_tracker_name", "log_with"),
    *("logging_dir", "loss_type", "lr_scheduler", "lr_scheduler_power", "lr_scheduler_type"),
    *("masked_loss", "max_bucket_reso", "max_grad_norm", "max_timestep", "max_token_length"),
    *("max_train_epochs", "mem_eff_attn", "metadata_author", "metadata_description"),
    *("metadata_license", "metadata_tags", "metadata_title", "min_bucket_reso", "min_snr_gamma"),
    *("min_timestep", "mixed_precision", "multires_noise_discount", "multires_noise_iterations"),
    *("network_alpha", "network_dim", "network_dropout", "network_weights", "noise_offset"),
    *("noise_offset_random_strength", "output_name", "persistent_data_loader_workers"),
    *("pretrained_model_name_or_path", "prior_loss_weight", "random_crop", "reg_data_dir"),
    *("resume", "resume_from_huggingface", "sample_every_n_epochs", "sample_every_n_steps"),
    *("sample_sampler", "save_every_n_epochs", "save_every_n_steps", "save_last_n_epochs"),
    *("save_last_n_epochs_state", "save_last_n_steps", "save_last_n_steps_state"),
    *("save_model_as", "save_precision", "save_state", "save_state_on_train_end"),
    *("save_state_to_huggingface", "scale_v_pred_loss_like_noise_pred", "scale_weight_norms"),
    *("seed", "shuffle_caption", "skip_cache_check", "train_batch_size", "train_data_dir"),
    *("training_comment", "unet_lr", "v2", "v_parameterization", "v_pred_like_loss", "vae"),
    *("vae_batch_size", "wandb_api_key", "wandb_run_name", "weighted_captions"),
)
"""Keys that are arguments of the same name. ``output_dir`` is the run's own, and ``sample_prompts``
holds text, which belongs into a file."""

_RENAMED = MappingProxyType(
    {
        "max_resolution": "resolution",
        "optimizer": "optimizer_type",
        "lora_network_weights": "network_weights",
    }
)

_FAMILIES = MappingProxyType(
    {
        "sdxl": "sdxl_train_network.py",
        "flux1_checkbox": "flux_train_network.py",
        "sd3_checkbox": "sd3_train_network.py",
        "hunyuan_image_checkbox": "hunyuan_image_train_network.py",
        "anima_checkbox": "anima_train_network.py",
        "lumina_checkbox": "lumina_train_network.py",
    }
)
"""Checkbox, and the script that it starts; the first that is set counts."""
_PREFIX = MappingProxyType(
    {
        "sdxl": ("sdxl_",),
        "flux1_checkbox": ("flux1_", ""),
        "sd3_checkbox": ("sd3_", ""),
        "hunyuan_image_checkbox": ("hunyuan_image_", "hunyuan_"),
        "anima_checkbox": ("anima_",),
        "lumina_checkbox": ("lumina_",),
    }
)
"""How the keys begin that belong to one family of models alone."""
_OF_FAMILY = MappingProxyType(
    {
        "sdxl": ("cache_text_encoder_outputs", "no_half_vae"),
        "flux1_checkbox": (
            *("ae", "apply_t5_attn_mask", "blocks_to_swap", "cache_text_encoder_outputs"),
            *("cache_text_encoder_outputs_to_disk", "clip_l", "cpu_offload_checkpointing"),
            *("discrete_flow_shift", "fp8_base_unet", "guidance_scale", "mem_eff_save"),
            *("model_prediction_type", "split_mode", "t5xxl", "t5xxl_max_token_length"),
            "timestep_sampling",
        ),
        "sd3_checkbox": (
            *("blocks_to_swap", "cache_text_encoder_outputs", "clip_g", "clip_g_dropout_rate"),
            *("cache_text_encoder_outputs_to_disk", "clip_l", "clip_l_dropout_rate"),
            *("disable_mmap_load_safetensors", "enable_scaled_pos_embed", "fused_backward_pass"),
            *("logit_mean", "logit_std", "mode_scale", "pos_emb_random_crop_rate", "save_clip"),
            *("save_t5xxl", "t5_dropout_rate", "t5xxl", "t5xxl_device", "t5xxl_dtype"),
            *("text_encoder_batch_size", "weighting_scheme"),
        ),
        "hunyuan_image_checkbox": (
            *("attn_mode", "blocks_to_swap", "byt5", "cache_text_encoder_outputs"),
            *("cache_text_encoder_outputs_to_disk", "discrete_flow_shift", "fp8_scaled", "fp8_vl"),
            *("model_prediction_type", "sigmoid_scale", "split_attn", "text_encoder"),
            *("text_encoder_cpu", "timestep_sampling", "vae", "vae_chunk_size"),
        ),
        "anima_checkbox": (
            *("attn_mode", "blocks_to_swap", "cache_text_encoder_outputs", "discrete_flow_shift"),
            *("cache_text_encoder_outputs_to_disk", "llm_adapter_path", "qwen3", "sigmoid_scale"),
            *("qwen3_max_token_length", "split_attn", "t5_max_token_length", "t5_tokenizer_path"),
            *("timestep_sampling", "unsloth_offload_checkpointing", "vae", "vae_chunk_size"),
            "vae_disable_cache",
        ),
        "lumina_checkbox": (
            *("ae", "blocks_to_swap", "cache_text_encoder_outputs", "discrete_flow_shift"),
            *("cache_text_encoder_outputs_to_disk", "gemma2", "gemma2_max_token_length"),
            *("model_prediction_type", "sigmoid_scale", "system_prompt", "timestep_sampling"),
            *("use_flash_attn", "use_sage_attn"),
        ),
    }
)
"""Arguments of one family alone."""

_BLOCKS = (
    *("down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold", "block_dims"),
    *("block_alphas", "conv_block_dims", "conv_block_alphas"),
)
_DROPOUTS = ("rank_dropout", "module_dropout")
_FLUX = (
    *("img_attn_dim", "img_mlp_dim", "img_mod_dim", "single_dim", "txt_attn_dim", "txt_mlp_dim"),
    *("txt_mod_dim", "single_mod_dim", "in_dims", "train_double_block_indices"),
    *("train_single_block_indices", "split_qkv", "train_t5xxl"),
)
_GGPO = ("ggpo_beta", "ggpo_sigma")
_CONV = ("conv_dim", "conv_alpha")
_NATIVE = MappingProxyType(
    {
        "Standard": ("networks.lora", (*_BLOCKS, *_DROPOUTS)),
        "Kohya LoCon": ("networks.lora", (*_CONV, *_BLOCKS, *_DROPOUTS)),
        "LoRA-FA": ("networks.lora_fa", (*_BLOCKS, *_DROPOUTS)),
        "Kohya DyLoRA": ("networks.dylora", (*_CONV, *_BLOCKS, *_DROPOUTS, "unit")),
        "Kohya LoHa": ("networks.loha", (*_CONV, "use_tucker", *_DROPOUTS)),
        "Kohya LoKr": ("networks.lokr", (*_CONV, "use_tucker", "factor", *_DROPOUTS)),
        "Flux1": ("networks.lora_flux", (*_FLUX, *_DROPOUTS)),
        "Flux1 OFT": ("networks.oft_flux", ("enable_all_linear",)),
        "HunyuanImage-2.1": ("networks.lora_hunyuan_image", _DROPOUTS),
        "Anima": ("networks.lora_anima", _DROPOUTS),
        "Lumina": ("networks.lora_lumina", _DROPOUTS),
    }
)
"""``LoRA_type``: network module, and the keys that become ``network_args`` where they are set."""
_LYCORIS_COMMON = (*_CONV, "use_tucker", "rank_dropout", "module_dropout", "train_norm")
_LYCORIS_MORE = ("bypass_mode", "dora_wd", "use_scalar", "rank_dropout_scale")
_LYCORIS = MappingProxyType(
    {
        "LyCORIS/BOFT": ("boft", (*_LYCORIS_COMMON, "rank_dropout_scale")),
        "LyCORIS/Diag-OFT": (
            "diag-oft",
            (*_LYCORIS_COMMON, "rank_dropout_scale", "constrain", "rescaled"),
        ),
        "LyCORIS/DyLoRA": ("dylora", (*_LYCORIS_COMMON, "unit")),
        "LyCORIS/GLoRA": ("glora", (*_LYCORIS_COMMON, "rank_dropout_scale")),
        "LyCORIS/iA3": ("ia3", (*_CONV, "train_on_input")),
        "LoCon": ("locon", (*_LYCORIS_COMMON, *_LYCORIS_MORE)),
        "LyCORIS/LoCon": ("locon", (*_LYCORIS_COMMON, *_LYCORIS_MORE)),
        "LyCORIS/LoHa": ("loha", (*_LYCORIS_COMMON, *_LYCORIS_MORE)),
        "LyCORIS/LoKr": (
            "lokr",
            (*_LYCORIS_COMMON, *_LYCORIS_MORE, "factor", "use_cp", "decompose_both"),
        ),
        "LyCORIS/Native Fine-Tuning": ("full", (*_DROPOUTS, "rank_dropout_scale", "train_norm")),
    }
)
"""``LoRA_type``: algorithm, and the keys that become ``network_args``."""
_NETWORK_NAMES = MappingProxyType({"constrain": "constraint", "unit": "block_size"})
"""Keys that LyCORIS calls otherwise."""
_TEXTS = frozenset(
    (
        *("attn_mode", "caption_extension", "dataset_config", "huber_schedule", "log_tracker_name"),
        *("huggingface_path_in_repo", "huggingface_repo_id", "huggingface_token", "logging_dir"),
        *("log_tracker_config", "metadata_author", "metadata_description", "metadata_license"),
        *("metadata_tags", "metadata_title", "network_weights", "output_name", "reg_data_dir"),
        *("pretrained_model_name_or_path", "resolution", "resume", "system_prompt", "vae"),
        *("train_data_dir", "training_comment", "wandb_api_key", "wandb_run_name"),
    )
)
"""Arguments that are text, whatever it looks like."""
_FRACTIONS = frozenset({"learning_rate", "unet_lr", "guidance_scale", "discrete_flow_shift"})
_WORKERS = "max_data_loader_n_workers"
_ENCODER_RATES = ("learning_rate_te", "learning_rate_te1", "learning_rate_te2")
"""Of whole models."""
_LORAPLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")

_Preset = Mapping[str, object]


def script(preset: _Preset) -> str | None:
    """Return the trainer's script that the GUI starts for ``preset``; ``None`` where no checkbox is
    set: the GUI takes that for SD 1 or 2, but an older preset may have none for its kind. Nor is
    one named for presets of whole models and embeddings."""
    return _FAMILIES.get(_family(preset)) if _is_adapter(preset) else None


def config_file(preset: _Preset) -> dict[str, object]:
    """Return the ``--config_file`` that the GUI writes for ``preset``: sd-scripts takes its values
    as they are, so that each has the type of its argument."""
    table: dict[str, object] = {}
    for name, value in _values(preset):
        if name in ("optimizer_args", "lr_scheduler_args"):
            words = str(value or "").replace('"', "").split()
            table |= {name: words} if words else {}
        elif (typed := _typed(name, value)) is not None:
            table[name] = typed
    if _is_chroma(preset):
        table.pop("clip_l", None)
        # 0 is what Chroma needs, and not what no value stands for.
        table["guidance_scale"] = _number(preset, "guidance_scale")
    if _is_adapter(preset):
        table |= _network(preset) | _learning_rates(preset)
    else:
        table |= {key: _number(preset, key) for key in _ENCODER_RATES if _number(preset, key)}
    table |= _schedule(preset)
    if preset.get(_WORKERS) not in (None, ""):  # 0 is a value of its own here
        table[_WORKERS] = int(_number(preset, _WORKERS))
    return dict(sorted(table.items()))


def left_out(preset: _Preset) -> tuple[str, ...]:
    """Return the keys that are set and that a run does not go by: its folder, its steps and its
    prompts are loragit's own."""
    numbers = [key for key in ("max_train_steps",) if _number(preset, key)]
    texts = [key for key in ("output_dir", "sample_prompts") if str(preset.get(key) or "").strip()]
    return (*numbers, *texts)


def further_arguments(preset: _Preset) -> Arguments:
    """Return what the GUI adds to the command line."""
    further = preset.get("additional_parameters")
    return from_words(str(further).replace('"', "").split() if further else ())


def _is_adapter(preset: _Preset) -> bool:
    """Whether a preset is one of the GUI's tab for LoRA: those for whole models and embeddings have
    no network."""
    return any(key in preset for key in ("LoRA_type", "network_dim", "network_alpha"))


def _is_chroma(preset: _Preset) -> bool:
    return _family(preset) == "flux1_checkbox" and str(preset.get("model_type")).lower() == "chroma"


def _family(preset: _Preset) -> str:
    if preset.get("sdxl_checkbox") is True:  # as the tab for fine-tuning calls it
        return "sdxl"
    return next((checkbox for checkbox in _FAMILIES if preset.get(checkbox) is True), "")


def _values(preset: _Preset) -> Iterator[tuple[str, object]]:
    family = _family(preset)
    left_out = _left_out(preset, family)
    yield from ((name, preset[name]) for name in _SAME if name in preset and name not in left_out)
    yield from ((name, preset[key]) for key, name in _RENAMED.items() if preset.get(key))
    yield from ((name, preset.get(name)) for name in ("optimizer_args", "lr_scheduler_args"))
    for name in _OF_FAMILY.get(family, ()):
        plain = ("",) if name == "blocks_to_swap" else ()
        keys = (f"{prefix}{name}" for prefix in (*_PREFIX[family], *plain))
        yield name, next((preset[key] for key in keys if key in preset), None)
    attention = preset.get("xformers")
    if attention in (True, "xformers", "sdpa"):
        yield ("sdpa" if attention == "sdpa" else "xformers"), True
    if _is_chroma(preset):
        yield from (("model_type", "chroma"), ("apply_t5_attn_mask", True))


def _left_out(preset: _Preset, family: str) -> frozenset[str]:
    """Return the arguments that are not given for this kind of model or noise."""
    found = set()
    if family in ("hunyuan_image_checkbox", "anima_checkbox", "lumina_checkbox"):
        found |= {"clip_skip", "max_token_length", "vae"}
    if family == "flux1_checkbox":
        found.add("max_token_length")
    if preset.get("noise_offset_type") == "Multires":
        found |= {"adaptive_noise_scale", "noise_offset", "noise_offset_random_strength"}
    else:
        found |= {"multires_noise_discount", "multires_noise_iterations"}
    return frozenset(found)


def _network(preset: _Preset) -> dict[str, object]:
    kind = str(preset.get("LoRA_type") or "Standard")
    if kind in _LYCORIS:
        module, (algorithm, keys) = "lycoris.kohya", _LYCORIS[kind]
        words = [f"preset={preset.get('LyCORIS_preset') or 'full'}"]
        words += [f"{_NETWORK_NAMES.get(key, key)}={preset[key]}" for key in keys if key in preset]
        words.append(f"algo={algorithm}")
    else:
        module, keys = _NATIVE.get(kind, _NATIVE["Standard"])
        if module == "networks.lora" and preset.get("sd3_checkbox") is True:
            module = "networks.lora_sd3"
        flux = kind == "Flux1"
        more = _GGPO if flux and preset.get("train_lora_ggpo") is True else ()
        words = [
            f"{key}={preset[key]}"
            for key in (*keys, *more)
            if _typed(key, preset.get(key)) is not None
        ]
        words += ["train_blocks=single"] if flux and preset.get("split_mode") is True else []
    words += [f"{key}={preset[key]}" for key in _LORAPLUS if _number(preset, key)]
    words = [word.replace('"', "") for word in words]
    return {"network_module": module, **({"network_args": words} if words else {})}


def _learning_rates(preset: _Preset) -> dict[str, object]:
    encoder, t5xxl, unet = (_number(preset, k) for k in ("text_encoder_lr", "t5xxl_lr", "unet_lr"))
    found: dict[str, object] = {}
    if encoder > 0:
        found["text_encoder_lr"] = [encoder, t5xxl if t5xxl > 0 else encoder]
    if preset.get("hunyuan_image_checkbox") is True or (encoder == 0 and unet != 0):
        found["network_train_unet_only"] = True
    elif encoder != 0 and unet == 0:
        found["network_train_text_encoder_only"] = True
    return found


def _schedule(preset: _Preset) -> dict[str, object]:
    found: dict[str, object] = {}
    cycles = _number(preset, "lr_scheduler_num_cycles") or _number(preset, "epoch")
    if cycles:
        found["lr_scheduler_num_cycles"] = int(cycles)
    steps, share = _number(preset, "lr_warmup_steps"), _number(preset, "lr_warmup")
    if steps or share:
        # Below 1, sd-scripts takes it as a share of all steps.
        found["lr_warmup_steps"] = _plain(steps or share / 100)
    return found


def _typed(name: str, value: object) -> object | None:
    """Return a value as the argument ``name`` has it; ``None`` where it is empty, false or zero."""
    if isinstance(value, str):
        text = value.strip()
        number = _as_number(text)
        if name in _TEXTS or number is None:
            return text or None
        value = number
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True if value is True else None
    if value == 0 or not math.isfinite(value):
        return None
    return float(value) if name in _FRACTIONS else _plain(value)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _number(preset: _Preset, key: str) -> float:
    value = preset.get(key)
    if isinstance(value, str):
        value = _as_number(value)
    usable = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if usable and value is not None else 0.0  # type: ignore[arg-type]


def _plain(number: float) -> int | float:
    """Return a number without a fraction as a whole one: a preset holds ``1.0`` for 1 step."""
    return int(number) if float(number).is_integer() else number
