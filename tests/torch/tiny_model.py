"""``tiny_model.py FOLDER``: a random SD 1.5 in diffusers' form, and the tokenizer for it.

Run by the Python of ``make test-torch``. The trainer's U-Net has the widths of SD 1.5 built in
(``library/original_unet.py``); everything else is as small as it gets. Written are ``FOLDER/model``
(1.4 GB) and ``FOLDER/tokenizers/openai_clip-vit-large-patch14``, where ``--tokenizer_cache_dir``
looks for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.models.clip.tokenization_clip import bytes_to_unicode

import torch

WIDTH = 32


def tokenizer(folder: Path) -> int:
    """Write a tokenizer that knows letters alone. Return how many words it has."""
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{each}</w>" for each in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    made = CLIPTokenizer(folder / "vocab.json", folder / "merges.txt", model_max_length=77)
    made.save_pretrained(folder)
    return len(words)


def main(folder: Path) -> None:
    words = tokenizer(folder / "tokenizers" / "openai_clip-vit-large-patch14")
    torch.manual_seed(7)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            norm_num_groups=4,
            latent_channels=4,
            sample_size=64,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=words,
                hidden_size=WIDTH,
                intermediate_size=WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                bos_token_id=words - 2,
                eos_token_id=words - 1,
            )
        ),
        tokenizer=None,
        unet=UNet2DConditionModel(sample_size=8, cross_attention_dim=WIDTH),
        scheduler=DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder / "model")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
