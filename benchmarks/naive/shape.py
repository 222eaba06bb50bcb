"""Sizes of the baseline's network."""

from __future__ import annotations

from dataclasses import dataclass

TOWERS = ("vision", "text", "audio", "depth", "thermal", "imu")


@dataclass(frozen=True)
class Shape:
    """Widths, depths and heads of the six towers; patches and inputs are always the published ones.

    Args:
        embed_dim: length of an embedding.
        towers: tower name -> (width, blocks, heads).
    """

    embed_dim: int
    towers: dict[str, tuple[int, int, int]]

    def official_keywords(self) -> dict[str, int]:
        """The original constructor's keywords for this shape."""
        keywords = {"out_embed_dim": self.embed_dim}
        for tower, (width, blocks, heads) in self.towers.items():
            keywords |= {
                f"{tower}_embed_dim": width,
                f"{tower}_num_blocks": blocks,
                f"{tower}_num_heads": heads,
            }
        return keywords


HUGE = Shape(
    1024,
    {
        "vision": (1280, 32, 16),
        "text": (1024, 24, 16),
        "audio": (768, 12, 12),
        "depth": (384, 12, 8),
        "thermal": (768, 12, 12),
        "imu": (512, 6, 8),
    },
)
"""The published network, 1,200.8 M parameters. Source: arXiv 2305.05665, section 4 and appendix B."""

SMOKE = Shape(
    32,
    {
        "vision": (64, 2, 4),
        "text": (48, 2, 4),
        "audio": (48, 2, 4),
        "depth": (32, 2, 4),
        "thermal": (48, 2, 4),
        "imu": (32, 2, 4),
    },
)
"""A network of the same build, small enough to run everywhere in a second."""
