"""The space that the toy CLIP and imagebind_tiny share."""

from bindplug.space import EmbeddingSpace

TOY_SPACE = EmbeddingSpace("bindplug:toy_clip", 128)
"""The embedding space of the bundled toy CLIP; no vector of another CLIP means anything in it."""
