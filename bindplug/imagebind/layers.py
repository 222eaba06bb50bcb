"""Transformer blocks. Shapes: B batch, L positions, D width, H heads."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK_EPS = 1e-6
"""LayerNorm epsilon in blocks, before them, and in heads. Source: ImageBind's published network."""

STEM_EPS = 1e-5
"""LayerNorm epsilon after a patch projection: PyTorch's default. Source: ImageBind's published network."""

MLP_RATIO = 4

HALF_DTYPES = (torch.bfloat16, torch.float16)


def is_tracing() -> bool:
    """Whether torch records this call into a graph, so that values cannot decide what is computed."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


class Attention(nn.Module):
    """Multi-head self-attention with separate linear layers for query, key, value and output.

    The official checkpoint stores the first three as one matrix; :mod:`bindplug.imagebind.official_names` splits
    and joins it.

    Args:
        width: D.
        heads: H.
        extra_key: whether a learned key and value follow the sequence's own.
    """

    def __init__(self, width: int, heads: int, *, extra_key: bool) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.bias_k = nn.Parameter(torch.empty(1, 1, width)) if extra_key else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, width)) if extra_key else None
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """(B, L, D) attends to itself -> (B, L, D)."""
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        return self.out_proj(attend(q, k, v, self.heads, extra=self.extra, causal=causal))

    def forward_one(self, query: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """One query a row, (B, 1, D), attends to (B, L, D) where ``mask`` (B, 1, 1, L) is true -> (B, 1, D)."""
        q, k, v = self.q_proj(query), self.k_proj(x), self.v_proj(x)
        return self.out_proj(attend(q, k, v, self.heads, extra=self.extra, mask=mask))

    def forward_with_weights(self, x: Tensor, *, causal: bool = False) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` gives, and the attention weights (B, H, L, K).

        K counts the keys: L, or L + 1 where there is a learned extra key.
        """
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        k, v = append_extra(k, v, self.extra)
        q, k, v = (split_heads(t, self.heads) for t in (q, k, v))
        weights = attention_weights(q, k, causal=causal)
        return self.out_proj(merge_heads(weights @ v)), weights

    def __getstate__(self) -> dict[str, Any]:
        """With projections that own their numbers: a view would be pickled with the whole tensor it is part of."""
        modules = {name: _owning(layer) for name, layer in self._modules.items()}
        return self.__dict__ | {"_modules": modules}

    @property
    def extra(self) -> tuple[Tensor, Tensor] | None:
        """The learned key and value, each (1, 1, D)."""
        if self.bias_k is None or self.bias_v is None:
            return None
        return self.bias_k, self.bias_v


def _owning(layer: nn.Module | None) -> nn.Module | None:
    """The layer, or a copy of it whose parameters are no views of larger tensors."""
    if layer is None or all(
        p.untyped_storage().nbytes() == p.nbytes for p in layer._parameters.values() if p is not None
    ):
        return layer
    twin = copy.copy(layer)
    twin._parameters = {
        name: None if p is None else nn.Parameter(p.detach().clone(), p.requires_grad)
        for name, p in layer._parameters.items()
    }
    return twin


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    *,
    extra: tuple[Tensor, Tensor] | None = None,
    mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Scaled dot-product attention over heads, before the output projection.

    Args:
        q: queries, (B, Q, D).
        k: keys, (B, L, D).
        v: values, (B, L, D).
        heads: H.
        extra: one more key and value after the sequence's own, each (1, 1, D).
        mask: (B, 1, Q, L), true where a query may look.
        causal: whether position q sees positions up to q only.

    Returns:
        (B, Q, D).
    """
    k, v = append_extra(k, v, extra)
    q, k, v = (split_heads(t, heads) for t in (q, k, v))
    if q.device.type == "cpu" and q.dtype in HALF_DTYPES:
        # Two products and a softmax take less than half the fused kernel's time here.
        out = attention_weights(q, k, mask=mask, causal=causal) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return merge_heads(out)


def append_extra(k: Tensor, v: Tensor, extra: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Keys and values with one more of each at the end: (B, L, D) -> (B, L + 1, D)."""
    if extra is None:
        return k, v
    # (1, 1, D) -> (B, 1, D)
    more_k, more_v = (t.to(k.dtype).expand(k.shape[0], -1, -1) for t in extra)
    return torch.cat((k, more_k), dim=1), torch.cat((v, more_v), dim=1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, D) -> (B, H, L, D / H)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, L, D / H) -> (B, L, D)."""
    return x.transpose(1, 2).flatten(2)


def attention_weights(q: Tensor, k: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Softmax over keys of scaled products: (B, H, Q, D / H), (B, H, L, D / H) -> (B, H, Q, L)."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1)


class MLP(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(F.gelu(self.fc1(x)))


CLIP_NAMES = {"layer_norm1": "norm_1", "self_attn": "attn", "layer_norm2": "norm_2"}
"""Names of a block's parts in transformers' CLIP -> their own."""


class Block(nn.Module):
    """Pre-norm transformer block with stochastic depth in training.

    Its parts can be read and replaced under the names that transformers' CLIP gives them, too.

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
        x = x + self._drop_path(self.attn(self.norm_1(x), causal=causal))
        return x + self._drop_path(self.mlp(self.norm_2(x)))

    def forward_with_weights(self, x: Tensor, *, causal: bool = False) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` gives, and the attention weights (B, H, L, K)."""
        out, weights = self.attn.forward_with_weights(self.norm_1(x), causal=causal)
        x = x + self._drop_path(out)
        return x + self._drop_path(self.mlp(self.norm_2(x))), weights

    def forward_one(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """What :meth:`forward` gives at one position a row, without computing the others.

        Args:
            x: (B, L, D).
            position: (B,) positions under a causal mask; ``None`` for position 0 without a mask.

        Returns:
            (B, D).
        """
        normed = self.norm_1(x)
        token, query, mask = select_position(x, normed, position)
        token = token + self._drop_path(self.attn.forward_one(query, normed, mask))
        token = token + self._drop_path(self.mlp(self.norm_2(token)))
        return token[:, 0]  # (B, 1, D) -> (B, D)

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(CLIP_NAMES.get(name, name))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(CLIP_NAMES.get(name, name), value)

    def _drop_path(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        rate = 1.0 - self.drop_path
        # One draw a sample, the same for all its positions: (B, 1, 1).
        mask = branch.new_empty((branch.shape[0], 1, 1)).bernoulli_(rate)
        return branch * (mask / rate)


def select_position(
    x: Tensor, normed: Tensor, position: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One position a row of two tensors (B, L, D), and where it may look, for :meth:`Block.forward_one`.

    Returns:
        The position of ``x`` and of ``normed``, each (B, 1, D), and the mask (B, 1, 1, L) or None.
    """
    if position is None:
        return x[:, :1], normed[:, :1], None
    index = position[:, None, None].expand(-1, 1, x.shape[-1])  # (B,) -> (B, 1, D)
    mask = (torch.arange(x.shape[1], device=x.device) <= position[:, None])[:, None, None]  # (B, 1, 1, L)
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
        return self.proj(self.pool(token))

    def pool(self, token: Tensor) -> Tensor:
        """Everything before the projection: (B, D) -> (B, D)."""
        token = F.dropout(self.norm(token), self.dropout, self.training)
        return token if self.hidden is None else F.gelu(self.hidden(token))
