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

HALF_DTYPES = (torch.bfloat16, torch.float16)


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
        return self.out_proj(attend(query, keyed, self.heads, extra=self.extra, causal=causal))

    def for_one(self, query: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """A query a row, (B, 1, D), attends to (B, L, D) where ``mask`` (B, 1, 1, L) is true -> (B, 1, D)."""
        width = x.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        keyed = F.linear(x, weight[width:], bias[width:])
        query = F.linear(query, weight[:width], bias[:width])
        return self.out_proj(attend(query, keyed, self.heads, extra=self.extra, mask=mask))

    @property
    def extra(self) -> Tensor | None:
        """The learned key and value side by side, (1, 1, 2 D)."""
        if self.bias_k is None or self.bias_v is None:
            return None
        return torch.cat((self.bias_k, self.bias_v), dim=-1)


def attend(
    query: Tensor,
    keyed: Tensor,
    heads: int,
    *,
    extra: Tensor | None = None,
    mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Scaled dot-product attention over heads, before the output projection.

    Args:
        query: (B, Q, D).
        keyed: (B, L, 2 D), keys and values side by side.
        heads: H.
        extra: (1, 1, 2 D), one more key and value behind the sequence's own.
        mask: (B, 1, Q, L), true where a query may look.
        causal: whether position q sees positions up to q alone.

    Returns:
        (B, Q, D).
    """
    if extra is not None:
        keyed = torch.cat((keyed, extra.to(keyed.dtype).expand(len(keyed), -1, -1)), dim=1)
    key, value = keyed.chunk(2, dim=-1)
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value))
    if q.device.type == "cpu" and q.dtype in HALF_DTYPES:
        out = _plain_attention(q, k, v, mask, causal)
    else:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return out.transpose(1, 2).flatten(2)


def _plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Two products and a softmax: in half precision on a CPU less than half the fused kernel's time."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1) @ v


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
        one, query, mask = pick(x, normed, position)
        one = one + self._dropped(self.attn.for_one(query, normed, mask))
        one = one + self._dropped(self.mlp(self.norm_2(one)))
        return one[:, 0]

    def _dropped(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        kept = branch.new_empty((len(branch), 1, 1)).bernoulli_(keep)
        return branch * (kept / keep)


def pick(x: Tensor, normed: Tensor, position: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """One position a row of two tensors (B, L, D), and where it may look, as :meth:`Block.for_one` describes.

    Returns:
        The position of ``x`` and of ``normed``, each (B, 1, D), and the mask (B, 1, 1, L) or None.
    """
    if position is None:
        return x[:, :1], normed[:, :1], None
    index = position[:, None, None].expand(-1, 1, x.shape[-1])
    mask = (torch.arange(x.shape[1], device=x.device) <= position[:, None])[:, None, None]
    return x.gather(1, index), normed.gather(1, index), mask


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
        """(B, D) -> (B, embed_dim), not normalized."""
        token = F.dropout(self.norm(token), self.dropout, self.training)
        if self.hidden is not None:
            token = F.gelu(self.hidden(token))
        return self.proj(token)
