"""Transformer blocks. Shapes: B batch, L positions, D width, H heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK_EPS = 1e-6
"""LayerNorm epsilon in blocks, before them, and in heads. Source: ImageBind's published network."""

STEM_EPS = 1e-5
"""LayerNorm epsilon after a patch projection: PyTorch's default. Source: ImageBind's published network."""

MLP_RATIO = 4


class Attention(nn.Module):
    """Multi-head self-attention with packed projections, named as the official checkpoint names them.

    Args:
        width: D.
        heads: H.
        extra_key: whether a learned key and value follow the sequence's own.
    """

    def __init__(self, width: int, heads: int, *, extra_key: bool) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.bias_k = nn.Parameter(torch.empty(1, 1, width)) if extra_key else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, width)) if extra_key else None
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """(B, L, D) attends to itself -> (B, L, D)."""
        width = x.shape[-1]
        query, keyed = F.linear(x, self.in_proj_weight, self.in_proj_bias).split((width, 2 * width), dim=-1)
        return self._attend(query, keyed, None, causal)

    def for_one(self, query: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """A query a row, (B, 1, D), attends to (B, L, D) where ``mask`` (B, 1, 1, L) is true -> (B, 1, D)."""
        width = x.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        keyed = F.linear(x, weight[width:], bias[width:])
        return self._attend(F.linear(query, weight[:width], bias[:width]), keyed, mask, False)

    def _attend(self, query: Tensor, keyed: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        if self.bias_k is not None and self.bias_v is not None:
            extra = torch.cat((self.bias_k, self.bias_v), dim=-1).to(keyed.dtype)
            keyed = torch.cat((keyed, extra.expand(len(keyed), -1, -1)), dim=1)
        key, value = keyed.chunk(2, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block with stochastic depth in training.

    Args:
        width: D.
        heads: H.
        extra_key: whether attention has a learned extra key and value.
        drop_path: probability that a sample skips a branch in training.
    """

    def __init__(self, width: int, heads: int, *, extra_key: bool = False, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=BLOCK_EPS)
        self.attn = Attention(width, heads, extra_key=extra_key)
        self.norm_2 = nn.LayerNorm(width, eps=BLOCK_EPS)
        self.mlp = MLP(width)
        self.drop_path = drop_path

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = x + self._dropped(self.attn(self.norm_1(x), causal=causal))
        return x + self._dropped(self.mlp(self.norm_2(x)))

    def for_one(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """What :meth:`forward` gives at one position a row, without computing the others.

        Args:
            x: (B, L, D).
            position: (B,) positions under a causal mask; ``None`` for position 0 under no mask.

        Returns:
            (B, D).
        """
        normed = self.norm_1(x)
        if position is None:
            one, query, mask = x[:, :1], normed[:, :1], None
        else:
            index = position[:, None, None].expand(-1, 1, x.shape[-1])
            one, query = x.gather(1, index), normed.gather(1, index)
            mask = (torch.arange(x.shape[1], device=x.device) <= position[:, None])[:, None, None]
        one = one + self._dropped(self.attn.for_one(query, normed, mask))
        one = one + self._dropped(self.mlp(self.norm_2(one)))
        return one[:, 0]

    def _dropped(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        kept = branch.new_empty((len(branch), 1, 1)).bernoulli_(keep)
        return branch * (kept / keep)


class Head(nn.Module):
    """From one token to an embedding: LayerNorm, dropout, projection.

    Args:
        width: D.
        embed_dim: length of the embedding.
        kind: ``"linear"``, or ``"mlp"``: Linear, GELU, Linear with a hidden layer of ``width``.
        dropout: rate of the dropout before the projection, in training.
    """

    def __init__(self, width: int, embed_dim: int, *, kind: str = "linear", dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=BLOCK_EPS)
        self.dropout = dropout
        self.hidden = nn.Linear(width, width) if kind == "mlp" else None
        self.proj = nn.Linear(width, embed_dim, bias=False)

    def forward(self, token: Tensor) -> Tensor:
        """(B, D) -> (B, embed_dim), not normalised."""
        token = F.dropout(self.norm(token), self.dropout, self.training)
        if self.hidden is not None:
            token = F.gelu(self.hidden(token))
        return self.proj(token)
