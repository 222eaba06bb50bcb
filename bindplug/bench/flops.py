"""The matrix products of a tower, counted from its config.

A product of (M, K) with (K, N) takes 2 M K N floating-point operations. Per clip, with L positions of width D in H
heads and E the embedding's width:

==================  ===================================================================================
stem                patches x (channels x kernel) x D; a still image's kernel counts one frame
block               L x D x 3D (query, key, value), L x D x D, L x D x 4D and L x 4D x D
attention           H times L x D/H x L' and L x L' x D/H, where L' = L + 1 with a learned extra key
last block          keys and values L x D x 2D; the rest for one token: 1 x D x D twice, 1 x D x 4D,
                    1 x 4D x D, H times 1 x D/H x L' and 1 x L' x D/H
head                1 x D x E, after 1 x D x D where it is an MLP
==================  ===================================================================================

Attention counts in full under a causal mask. Norms, activations, softmax and additions are left out: they are under
1 % of the work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bindplug.imagebind.config import ImageBindConfig
from bindplug.imagebind.layers import MLP_RATIO
from bindplug.imagebind.towers import TRAITS


@dataclass(frozen=True)
class Product:
    """``count`` products of (rows, inner) with (inner, columns).

    Args:
        part: ``"stem"``, ``"block"`` (a block's four linear layers), ``"attention"``, ``"last"`` or ``"head"``.
        rows, inner, columns: M, K and N.
        count: how many of them.
    """

    part: str
    rows: int
    inner: int
    columns: int
    count: int = 1

    @property
    def flops(self) -> int:
        """Floating-point operations of all ``count`` products."""
        return 2 * self.rows * self.inner * self.columns * self.count


def tower_flops(
    config: ImageBindConfig, tower: str, *, clips: int = 1, length: int | None = None, still: bool = True
) -> int:
    """Floating-point operations of a pass through a tower; arguments as for :func:`tower_products`."""
    return sum(
        product.flops for product in tower_products(config, tower, clips=clips, length=length, still=still)
    )


def tower_products(
    config: ImageBindConfig, tower: str, *, clips: int = 1, length: int | None = None, still: bool = True
) -> list[Product]:
    """The matrix products of a pass through a tower.

    Args:
        config: the network.
        tower: ``"vision"``, ``"text"``, ``"audio"``, ``"depth"``, ``"thermal"`` or ``"imu"``.
        clips: clips (images, texts) in the batch.
        length: positions of a text, up to the batch's last end token; all of the context for None. Other towers'
            lengths follow from their config.
        still: whether vision's input is still images, and not clips of several frames.

    Raises:
        ValueError: there is no such tower, or a length beyond the context or for a tower other than text.
    """
    shape, traits = config.tower(tower), TRAITS[tower]
    positions = config.positions(tower) if length is None else length
    if not 1 <= positions <= config.positions(tower) or (length is not None and tower != "text"):
        raise ValueError(f"no {tower} input has {length} positions; texts have 1 to {config.context_length}")
    width, keys = shape.width, positions + traits.extra_key
    rows, heads, channels = clips * positions, clips * shape.heads, width // shape.heads
    many, hidden = shape.blocks - 1, MLP_RATIO * width
    products = [] if tower == "text" else [_stem(config, tower, clips, still)]
    products += [
        Product("block", rows, width, 3 * width, many),
        Product("block", rows, width, width, many),
        Product("block", rows, width, hidden, many),
        Product("block", rows, hidden, width, many),
        Product("attention", positions, channels, keys, heads * many),
        Product("attention", positions, keys, channels, heads * many),
        Product("last", rows, width, 2 * width),
        Product("last", clips, width, width, 2),
        Product("last", clips, width, hidden),
        Product("last", clips, hidden, width),
        Product("last", 1, channels, keys, heads),
        Product("last", 1, keys, channels, heads),
        Product("head", clips, width, width, int(shape.head == "mlp")),
        Product("head", clips, width, config.embed_dim),
    ]
    return [product for product in products if product.count]


def _stem(config: ImageBindConfig, tower: str, clips: int, still: bool) -> Product:
    kernel = config.tower(tower).kernel
    extent = math.prod(kernel[1:] if tower == "vision" and still else kernel)
    patches = config.positions(tower) - 1
    return Product("stem", clips * patches, TRAITS[tower].channels * extent, config.tower(tower).width)
