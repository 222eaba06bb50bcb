"""Evaluation mode for the time of a block, when several threads use one model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn


@dataclass
class _Use:
    """How many blocks of :func:`evaluating` hold a module, and whether one of them switched it."""

    blocks: int = 0
    is_switched: bool = False


_uses: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode for the time of the block: drop path and dropout would make embeddings random.

    The first thread to enter switches the modules that are in training mode, the last one to leave switches them
    back, so that no thread computes in training mode while another leaves. Modules are counted one by one, as two
    models may share towers. A module that someone sets back to training mode meanwhile is switched again by the next
    thread that enters. What is no :class:`torch.nn.Module` is left alone.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    modules = list(model.modules())
    with _lock:
        for module in modules:
            use = _uses.setdefault(module, _Use())
            use.blocks += 1
            if module.training:
                module.training, use.is_switched = False, True
    try:
        yield
    finally:
        with _lock:
            for module in modules:
                use = _uses[module]
                use.blocks -= 1
                if use.blocks == 0:
                    if use.is_switched:
                        module.training = True
                    del _uses[module]
