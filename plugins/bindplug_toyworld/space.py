"""The spaces of the toy world's two CLIPs and of its CLAP."""

from bindplug.space import EmbeddingSpace

TOY_SPACE = EmbeddingSpace("bindplug:toy_clip", 128)
"""The embedding space of the bundled toy CLIP; no vector of another CLIP means anything in it."""

FOREIGN_SPACE = EmbeddingSpace("bindplug:toy_foreign_clip", 64)
"""The space of the other toy CLIP, of another seed, shape and width: what ViT-B/32 is to ImageBind's ViT-H/14."""

CLAP_SPACE = EmbeddingSpace("transformers:toy_clap", 96)
"""The space of the toy CLAP, of sounds and captions alone; its name is that of its directory."""
