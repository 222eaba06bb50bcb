"""Evaluation mode for the time of a block, when several threads use one model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn


@dataclass
class _Use:
    """Who is inside :func:`evaluating` with one model, and which of its modules to set back."""

    threads: int = 0
    switched: list[nn.Module] = field(default_factory=list)


_uses: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode for the time of the block: drop path and dropout would make embeddings random.

    The first thread to enter switches the modules that are in training mode, the last one to leave switches them
    back, so that no thread computes in training mode while another leaves. A module that someone sets back to
    training mode meanwhile is switched again by the next thread that enters. What is no :class:`torch.nn.Module` is
    left alone.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    with _lock:
        use = _uses.setdefault(model, _Use())
        use.threads += 1
        for module in model.modules():
            if module.training:
                module.training = False
                use.switched.append(module)
    try:
        yield
    finally:
        with _lock:
            use.threads -= 1
            if use.threads == 0:
                for module in use.switched:
                    module.training = True
                use.switched.clear()
