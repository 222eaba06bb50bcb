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


def tokenizer(size: int = 64, limit: int = 16, **options: object) -> transformers.PreTrainedTokenizerFast:
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
        **options,
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


def clap(directory: Path, *, fusion: bool = False, seed: int = 0, mels: int = 16, seconds: int = 1) -> Path:
    """A ClapModel of windows of so many seconds at 4 kHz, and its processor."""
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
        hop_length=16 * seconds,
        max_length_s=seconds,
        fft_window_size=64,
        frequency_max=2000,
        truncation="fusion" if fusion else "rand_trunc",
    )
    return _saved(directory, transformers.ClapModel(config), transformers.ClapProcessor(sounds, tokenizer()))


def _saved(directory: Path, network: transformers.PreTrainedModel, processor: object) -> Path:
    network.eval().save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def siglip(directory: Path, *, seed: int = 0) -> Path:
    """A SiglipModel and its processor."""
    torch.manual_seed(seed)
    text = TRUNK | {"vocab_size": 64, "max_position_embeddings": 16, "projection_size": 32}
    vision = TRUNK | {"image_size": 32, "patch_size": 8}
    config = transformers.SiglipConfig(text_config=text, vision_config=vision)
    pictures = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    return _saved(
        directory, transformers.SiglipModel(config), transformers.SiglipProcessor(pictures, tokenizer())
    )


def siglip2(directory: Path, *, seed: int = 0) -> Path:
    """A Siglip2Model of any aspect ratio and its processor."""
    torch.manual_seed(seed)
    text = TRUNK | {"vocab_size": 80, "max_position_embeddings": 64, "projection_size": 32}
    vision = TRUNK | {"num_patches": 256, "patch_size": 16}
    config = transformers.Siglip2Config(text_config=text, vision_config=vision)
    pictures = transformers.Siglip2ImageProcessor(patch_size=16, max_num_patches=256)
    return _saved(
        directory,
        transformers.Siglip2Model(config),
        transformers.Siglip2Processor(pictures, tokenizer(limit=64)),
    )


PE_TEXT = {
    "model_type": "modernbert",
    "vocab_size": 64,
    "max_position_embeddings": 16,
    "pad_token_id": 1,
    "global_attn_every_n_layers": 1,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
PE_TRUNK = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 8,
    "max_position_embeddings": 1000,
}
PE_SOUND = PE_TRUNK | {
    "dac_config": {
        "model_type": "dac",
        "encoder_hidden_size": 4,
        "downsampling_ratios": [2, 4],
        "codebook_dim": 8,
        "n_codebooks": 1,
        "codebook_size": 4,
        "decoder_hidden_size": 8,
        "sampling_rate": 4000,
    }
}
PE_VIDEO = PE_TRUNK | {
    "vision_config": {
        "model_type": "timm_wrapper",
        "architecture": "vit_pe_core_tiny_patch16_384",
        "do_pooling": True,
        "num_classes": 16,
        "global_pool": "map",
        "model_args": {
            "embed_dim": 32,
            "depth": 1,
            "num_heads": 2,
            "img_size": (32, 32),
            "dynamic_img_size": False,
        },
    }
}


def _pe_sounds() -> object:
    return transformers.PeAudioFeatureExtractor(sampling_rate=4000, hop_length=8)


def _pe_videos(frames: int | None = 4) -> object:
    return transformers.PeVideoVideoProcessor(
        size={"height": 32, "width": 32}, num_frames=frames, do_resize=True, do_sample_frames=True
    )


def pe_audio(directory: Path, *, seed: int = 0) -> Path:
    """A PeAudioModel at 4 kHz and its processor."""
    torch.manual_seed(seed)
    config = transformers.PeAudioConfig(text_config=PE_TEXT, audio_config=PE_SOUND)
    processor = transformers.PeAudioProcessor(_pe_sounds(), tokenizer())
    return _saved(directory, transformers.PeAudioModel(config), processor)


def pe_video(directory: Path, *, seed: int = 0) -> Path:
    """A PeVideoModel of 4 frames and its processor."""
    torch.manual_seed(seed)
    config = transformers.PeVideoConfig(text_config=PE_TEXT, video_config=PE_VIDEO)
    processor = transformers.PeVideoProcessor(_pe_videos(), tokenizer())
    return _saved(directory, transformers.PeVideoModel(config), processor)


def pe_audio_video(directory: Path, *, seed: int = 0) -> Path:
    """A PeAudioVideoModel and its processor."""
    torch.manual_seed(seed)
    both = PE_TRUNK | {
        "audio_config": {"model_type": "pe_audio_encoder"} | PE_SOUND,
        "video_config": {"model_type": "pe_video_encoder"} | PE_VIDEO,
    }
    config = transformers.PeAudioVideoConfig(text_config=PE_TEXT, audio_video_config=both)
    processor = transformers.PeAudioVideoProcessor(_pe_sounds(), _pe_videos(), tokenizer())
    return _saved(directory, transformers.PeAudioVideoModel(config), processor)


GEMMA_MARKS = {
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
}


def embedding_gemma2(directory: Path, *, seed: int = 0) -> Path:
    """An EmbeddingGemma2Model with pictures, videos and sounds, and its processor."""
    torch.manual_seed(seed)
    words = tokenizer(limit=4096, extra_special_tokens=GEMMA_MARKS)
    processor = transformers.EmbeddingGemma2Processor(
        transformers.Gemma4AudioFeatureExtractor(feature_size=16),
        transformers.Gemma4ImageProcessor(patch_size=4, max_soft_tokens=70),
        words,
        transformers.EmbeddingGemma2VideoProcessor(patch_size=4, max_soft_tokens=70),
        audio_seq_length=50,
    )
    text = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 16,
        "max_position_embeddings": 4096,
        "hidden_size_per_layer_input": 8,
        "embedding_dim": 24,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    vision = {
        "model_type": "gemma4_vision",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "patch_size": 4,
        "position_embedding_size": 640,
    }
    sound = {
        "model_type": "gemma4_audio",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "subsampling_conv_channels": [16, 4],
        "output_proj_dims": 32,
    }
    ids = {name: words.convert_tokens_to_ids(mark) for name, mark in GEMMA_MARKS.items()}
    config = transformers.EmbeddingGemma2Config(
        text_config=text,
        vision_config=vision,
        audio_config=sound,
        image_token_id=ids["image_token"],
        boi_token_id=ids["boi_token"],
        eoi_token_id=ids["eoi_token"],
        audio_token_id=ids["audio_token"],
        boa_token_id=ids["boa_token"],
        eoa_token_index=ids["eoa_token"],
        video_token_id=processor.video_token_id,
    )
    return _saved(directory, transformers.EmbeddingGemma2Model(config), processor)


def sentence_model(directory: Path, *, seed: int = 0) -> Path:
    """A SentenceTransformer: a BERT, the mean of its states, unit length; with prompts of its own."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(seed)
    config = transformers.BertConfig(**TRUNK, vocab_size=64, max_position_embeddings=16, pad_token_id=1)
    _saved(directory / "bert", transformers.BertModel(config), tokenizer())
    trunk = modules.Transformer(str(directory / "bert"), max_seq_length=16)
    network = SentenceTransformer(
        modules=[trunk, modules.Pooling(32, "mean"), modules.Normalize()],
        prompts={"query": "the sound of ", "document": ""},
    )
    network.save(str(directory / "tiny-sentence"))
    return directory / "tiny-sentence"
