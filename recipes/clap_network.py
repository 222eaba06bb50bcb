"""The toy CLAP before training: transformers' own classes at tiny size."""

from __future__ import annotations

import json
from typing import Any, cast

import torch

MOST_TOKENS = 48
SAMPLE_RATE_HZ = 16_000


def build_processor(captions: list[list[str]], vocabulary: int) -> Any:
    """CLAP's processor: its log-mel spectrograms at the toy world's rate, and a byte-level BPE of the captions.

    Args:
        captions: of all scenes; the tokenizer learns from them alone.
        vocabulary: tokens at most.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import ClapProcessor, RobertaTokenizer

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((text for texts in captions for text in texts), trainer)
    state = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in state["merges"]]
    tokenizer = RobertaTokenizer(vocab=state["vocab"], merges=cast(Any, merges), model_max_length=MOST_TOKENS)
    return ClapProcessor(build_feature_extractor(), tokenizer)


def build_feature_extractor() -> Any:
    """Log-mel spectrograms of 4 s: (1, 251, 64); longer sounds are cut, shorter ones repeated."""
    from transformers import ClapFeatureExtractor

    return ClapFeatureExtractor(
        feature_size=64,
        sampling_rate=SAMPLE_RATE_HZ,
        hop_length=256,
        fft_window_size=1024,
        max_length_s=4,
        frequency_min=50,
        frequency_max=8000,
        truncation="rand_trunc",
        padding="repeatpad",
    )


def build_clap(vocabulary: int, seed: int) -> Any:
    """transformers' ``ClapModel``, tiny and with its own random initialization.

    Args:
        vocabulary: tokens of its text side.
        seed: of the initialization.
    """
    from transformers import ClapConfig, ClapModel

    text = {
        "vocab_size": vocabulary,
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 384,
        "max_position_embeddings": MOST_TOKENS + 2,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    audio = {
        "spec_size": 128,
        "num_mel_bins": 64,
        "patch_size": 8,
        "patch_stride": [8, 8],
        "window_size": 4,
        "patch_embeds_hidden_size": 48,
        "depths": [2, 2, 2],
        "num_attention_heads": [2, 4, 8],
        "hidden_size": 192,
        "num_hidden_layers": 3,
        "hidden_dropout_prob": 0.0,
    }
    torch.manual_seed(seed)
    return ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=96))
