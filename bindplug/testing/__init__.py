"""What a plugin's tests need: a small encoder that reads no files, and the contracts of adapters and encoders.

class TestMyAdapter(AdapterContract):
    def make_target(self): return my_tool.Tool(seed=0)
    def use_original(self, target): return target("a dog")
    def use_upgraded(self, upgraded, weight): return upgraded("a dog", weight * audio("bark.wav"))

class TestMyEncoder(EncoderContract):
    def make_encoder(self): return bindplug.load("my_encoder")
    def make_queries(self): return {"text": [text("a dog"), text("rain")], "audio": [audio("a.wav"), audio("b.wav")]}
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bindplug.adapters import upgrade
from bindplug.encoder import Encoder
from bindplug.errors import ModalityNotLoaded
from bindplug.inputs.base import Preprocess
from bindplug.lazy import lazy_names
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.testing.encoders import EncoderContract

__all__ = [
    "FAKE_SPACE",
    "AdapterContract",
    "EncoderContract",
    "FakeEncoder",
    "FakePreprocess",
    "difference",
    "public_attributes",
    "same",
    "snapshot",
]

FAKE_SPACE = EmbeddingSpace("bindplug:fake", 16)
"""The space of :class:`FakeEncoder`."""

_FAKE_SCALES = {"text": 100.0, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}


class FakePreprocess(Preprocess):
    """Turns a source into numbers drawn from a generator that its name or content seeds; reads no file."""

    modality: ClassVar[Modality] = Modality.IMAGE

    def __init__(self, modality: Modality, width: int) -> None:
        self.kind, self.width = modality, width

    def read(self, source: object, **options: Any) -> Tensor:
        """(D,) standard normal numbers, the same for the same source and options."""
        content = np.asarray(source).tobytes() if hasattr(source, "shape") else repr(source).encode()
        seed = zlib.crc32(self.kind.value.encode() + content + repr(sorted(options.items())).encode())
        return torch.randn(self.width, generator=torch.Generator().manual_seed(seed))

    def finish(self, readings: Sequence[Tensor], device: torch.device | str | None = None) -> list[Tensor]:
        """The readings as they are."""
        return [reading.to(device) for reading in readings]


class FakeEncoder(Encoder):
    """An encoder for tests: deterministic, instant, and with a face like a real one's.

    Args:
        modalities: what it embeds; all seven by default.
        space: where it says its vectors live; the width is the space's.
    """

    def __init__(self, modalities: Sequence[str] | None = None, space: EmbeddingSpace = FAKE_SPACE) -> None:
        self.embedding_space = space
        self.modalities = tuple(modalities or (modality.value for modality in Modality))
        self.preprocess: Mapping[str, Preprocess] = {
            name: FakePreprocess(Modality.parse(name), space.width) for name in self.modalities
        }
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def tokenizer(self, sentences: str | Sequence[str]) -> Tensor:
        """(B, D) numbers in place of token ids."""
        sentence_list = [sentences] if isinstance(sentences, str) else sentences
        return torch.stack([self.preprocess["text"](sentence) for sentence in sentence_list])

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """(B, D) -> (B, D): the input itself, or its unit rows."""
        if modality not in self.modalities:
            raise ModalityNotLoaded(modality, self.modalities)
        return torch.nn.functional.normalize(x, dim=-1) if normalize else 3.0 * x

    def scale_of(self, modality: str) -> float:
        """ImageBind's own scales. Source: arXiv 2305.05665, table of training settings."""
        return _FAKE_SCALES.get(modality, 1.0)


class AdapterContract:
    """The suite an adapter passes. Subclass it as ``Test…`` and supply the first three methods.

    The tool must be deterministic: ``make_target`` seeds it, ``use_*`` seed each call.
    """

    upgrade_options: ClassVar[Mapping[str, Any]] = {}
    """Keyword options for ``upgrade``."""

    def make_target(self) -> Any:
        """A fresh tool, always in the same state."""
        raise NotImplementedError("an AdapterContract must define make_target()")

    def use_original(self, target: Any) -> Any:
        """What the tool makes on its own: tensors, arrays, pictures, numbers, or containers of these."""
        raise NotImplementedError("an AdapterContract must define use_original()")

    def use_upgraded(self, upgraded: Any, weight: float) -> Any:
        """What the upgraded tool makes of the same input with a query of this weight."""
        raise NotImplementedError("an AdapterContract must define use_upgraded()")

    def make_model(self) -> Encoder:
        """The encoder to upgrade with."""
        return FakeEncoder()

    def upgraded(self, target: Any) -> Any:
        """``target`` upgraded through the registered adapters."""
        return upgrade(target, self.make_model(), **self.upgrade_options)

    def test_weight_0_equals_the_untouched_tool(self) -> None:
        """A query of no weight changes nothing."""
        expected = self.use_original(self.make_target())
        result = self.use_upgraded(self.upgraded(self.make_target()), 0.0)
        assert same(result, expected), "with weight 0 the upgraded tool differs from the untouched one"

    def test_weight_1_differs(self) -> None:
        """A query with weight changes something; else the adapter does nothing."""
        target = self.make_target()
        upgraded = self.upgraded(target)
        weightless, weighted = self.use_upgraded(upgraded, 0.0), self.use_upgraded(upgraded, 1.0)
        assert not same(weighted, weightless), "a query of weight 1 changes nothing"

    def test_the_original_is_never_mutated(self) -> None:
        """Neither wrapping nor use leaves a trace on the tool, its weights or its class."""
        target = self.make_target()
        expected = self.use_original(self.make_target())
        before = snapshot(target)
        self.use_upgraded(self.upgraded(target), 1.0)
        changes = sorted(difference(before, snapshot(target)))
        assert not changes, f"upgrading or using the upgraded tool changed the original: {', '.join(changes)}"
        assert same(self.use_original(target), expected), "the original behaves differently after its upgrade"

    def test_forwarded_attributes_are_the_originals(self) -> None:
        """What the adapter does not define itself is the original's own."""
        target = self.make_target()
        upgraded = self.upgraded(target)
        own = {*vars(type(upgraded)), *vars(upgraded)}
        own |= {name for base in type(upgraded).__mro__[1:-1] for name in vars(base)}
        for name in sorted(public_attributes(target) - own):
            theirs, ours = getattr(target, name), getattr(upgraded, name)
            assert ours is theirs or same(ours, theirs), f"the upgraded tool's {name!r} is not the original's"

    def test_the_original_is_not_returned(self) -> None:
        """An upgrade wraps."""
        target = self.make_target()
        assert self.upgraded(target) is not target


def same(first: Any, second: Any) -> bool:
    """Whether two results are equal bit for bit, inside containers too."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    if hasattr(first, "__array_interface__") or hasattr(first, "__array__"):
        return type(first) is type(second) and np.array_equal(np.asarray(first), np.asarray(second))
    if hasattr(first, "__dict__") and type(first) is type(second) and not callable(first):
        return same(vars(first), vars(second))
    return bool(first == second)


def snapshot(target: Any) -> dict[str, Any]:
    """What of an object, its weights and its classes must still be so after an upgrade."""
    state = {f"attribute {name}": _trace(value) for name, value in vars(target).items()}
    for base in type(target).__mro__[:-1]:
        state |= {f"class {base.__name__}.{name}": id(value) for name, value in vars(base).items()}
    for path, module in _modules(target):
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            state[f"weights {path}.{name}"] = (
                tensor.data_ptr(),
                tensor.detach().clone(),
                tensor.requires_grad,
            )
        hooks = [v for n, v in vars(module).items() if n.endswith("_hooks") and isinstance(v, dict)]
        state[f"hooks {path}"] = sum(len(hook) for hook in hooks)
        state[f"mode {path}"] = module.training
        state[f"methods {path}"] = sorted(name for name in vars(module) if not name.startswith("_"))
    return state


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Names whose entries differ between two snapshots."""
    missing = object()
    names = {*before, *after}
    return {name for name in names if not same(before.get(name, missing), after.get(name, missing))}


def public_attributes(target: Any) -> set[str]:
    """Names of an object's attributes without a leading underscore that can be read."""
    return {name for name in dir(target) if not name.startswith("_") and hasattr(target, name)}


def _modules(target: Any) -> list[tuple[str, torch.nn.Module]]:
    """Every network inside ``target``: itself, or held in its attributes."""
    attributes = {"": target} if isinstance(target, torch.nn.Module) else dict(vars(target))
    roots = {name: value for name, value in attributes.items() if isinstance(value, torch.nn.Module)}
    return [
        (f"{root}.{path}".strip("."), m) for root, value in roots.items() for path, m in value.named_modules()
    ]


def _trace(value: Any) -> Any:
    """The object's identity, and its content where it is small and can change."""
    if isinstance(value, (Tensor, np.ndarray)):
        return (id(value), value.clone() if isinstance(value, Tensor) else value.copy())
    if isinstance(value, dict):
        return (id(value), [(id(key), id(item)) for key, item in value.items()])
    if isinstance(value, (list, set)):
        return (id(value), [id(item) for item in value])
    return (id(value),)


# The suite of encoders needs pytest, which using the rest of this module does not.
__getattr__, __dir__ = lazy_names(__name__, {"EncoderContract": "encoders"}, __all__)
