"""Directories of tiny networks of other libraries, with random weights and processors of their own."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = [
    "a",
    "the",
    "dog",
    "cat",
    "bark",
    "barks",
    "sound",
    "of",
    "rain",
    "photo",
    "red",
    "sofa",
    "wave",
    "long",
    "text",
    "and",
]


def tokenizer(size: int = 64, limit: int = 16) -> transformers.PreTrainedTokenizerFast:
    """Words to ids, with a start and an end mark; unknown words share one id."""
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    entries = [*marks, *" ".join(WORDS).split()]
    entries += [f"w{i}" for i in range(size - len(entries))]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(entries)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=limit,
    )


TRUNK = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def clip(directory: Path, *, side: int = 32, seed: int = 0) -> Path:
    """A CLIPModel and its processor."""
    torch.manual_seed(seed)
    text = TRUNK | {
        "vocab_size": 64,
        "max_position_embeddings": 16,
        "eos_token_id": 2,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    vision = TRUNK | {"image_size": side, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    return _saved(
        directory, transformers.CLIPModel(config), transformers.CLIPProcessor(pictures, tokenizer())
    )


def clap(directory: Path, *, fusion: bool = False, seed: int = 0, mels: int = 16) -> Path:
    """A ClapModel of half-second windows at 4 kHz, and its processor."""
    torch.manual_seed(seed)
    text = TRUNK | {
        "vocab_size": 64,
        "max_position_embeddings": 18,
        "pad_token_id": 1,
        "projection_dim": 24,
    }
    audio = {
        "window_size": 4,
        "spec_size": 64,
        "num_mel_bins": mels,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "hidden_size": 32,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 4],
        "num_hidden_layers": 2,
        "projection_dim": 24,
        "enable_fusion": fusion,
        "enable_patch_layer_norm": True,
        "mlp_ratio": 2.0,
        "num_classes": 4,
        "hop_size": 40,
    }
    audio["hidden_size"] = 16
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=24)
    sounds = transformers.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=4000,
        hop_length=16,
        max_length_s=1,
        fft_window_size=64,
        frequency_max=2000,
        truncation="fusion" if fusion else "rand_trunc",
    )
    return _saved(directory, transformers.ClapModel(config), transformers.ClapProcessor(sounds, tokenizer()))


def _saved(directory: Path, network: transformers.PreTrainedModel, processor: object) -> Path:
    network.eval().save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
