"""Towers recorded at one batch size run at others: torch.jit.trace, torch.export and ONNX."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bindplug
from bindplug.imagebind import ImageBind
from bindplug.imagebind.inference_linear import packing_obstacle

MODALITIES = ("image", "video", "text", "audio", "depth", "thermal", "imu")
SHAPES = {
    "image": (3, 224, 224),
    "video": (2, 3, 2, 224, 224),
    "audio": (3, 1, 128, 204),
    "depth": (1, 224, 224),
    "thermal": (1, 224, 224),
    "imu": (6, 2000),
}
START, END = 49406, 49407
CLOSE = {"rtol": 0, "atol": 1e-5}

# Exporters warn about their own innards.
pytestmark = pytest.mark.filterwarnings("ignore")


class Encode(nn.Module):
    """One modality of a model as a module of its own."""

    def __init__(self, model: ImageBind, modality: str) -> None:
        super().__init__()
        self.model, self.modality = model, modality

    def forward(self, x: Tensor) -> Tensor:
        return self.model.encode(self.modality, x)


def texts(*lengths: int, positions: int = 77) -> Tensor:
    """Token ids (B, positions) of texts of so many words."""
    ids = torch.zeros(len(lengths), positions, dtype=torch.long)
    for row, length in zip(ids, lengths, strict=True):
        row[0], row[length + 1] = START, END
        row[1 : length + 1] = torch.arange(320, 320 + length)
    return ids


def example(modality: str) -> Tensor:
    """A batch of two to record with: short texts, and equal clips, which are embedded once where that is allowed."""
    if modality == "text":
        return texts(1, 2, positions=20)
    x = torch.randn(2, *SHAPES[modality], generator=torch.Generator().manual_seed(1))
    return x[:, :1].expand_as(x).contiguous() if modality in ("audio", "video") else x


def batches(modality: str) -> list[Tensor]:
    """Batches of 1, 3 and 8; longer texts, also of all 77 positions, and clips that differ."""
    if modality == "text":
        return [texts(70), texts(1, 9, 30, positions=40), texts(*range(8)), texts(3, 8, positions=12)]
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(count, *SHAPES[modality], generator=generator) for count in (1, 3, 8)]


def dynamic_shapes(modality: str) -> tuple[dict[int, torch.export.Dim]]:
    axes = {0: torch.export.Dim("batch", min=1, max=1024)}
    return (axes | {1: torch.export.Dim("length", min=2, max=77)} if modality == "text" else axes,)


@pytest.fixture(scope="module", params=MODALITIES)
def modality(request: pytest.FixtureRequest) -> str:
    return request.param


def check(recorded: Callable[[Tensor], Tensor], model: ImageBind, modality: str) -> None:
    for x in batches(modality):
        with torch.inference_mode():
            expected = model.encode(modality, x)
        torch.testing.assert_close(recorded(x), expected, **CLOSE)


def test_a_traced_tower_takes_other_batches(tiny: ImageBind, modality: str) -> None:
    tiny.requires_grad_(False)
    check(torch.jit.trace(Encode(tiny, modality), example(modality), check_trace=False), tiny, modality)


def test_an_exported_tower_takes_other_batches(tiny: ImageBind, modality: str) -> None:
    tiny.requires_grad_(False)
    program = torch.export.export(
        Encode(tiny, modality), (example(modality),), dynamic_shapes=dynamic_shapes(modality)
    )
    check(program.module(), tiny, modality)


def test_an_onnx_tower_takes_other_batches(tiny: ImageBind, modality: str, tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    tiny.requires_grad_(False)
    path = tmp_path / "tower.onnx"
    torch.onnx.export(
        Encode(tiny, modality),
        (example(modality),),
        path,
        dynamo=True,
        dynamic_shapes=dynamic_shapes(modality),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())

    def run(x: Tensor) -> Tensor:
        rows: np.ndarray = session.run(None, {name: x.numpy()})[0]
        return torch.from_numpy(rows)

    check(run, tiny, modality)


@pytest.mark.skipif(bool(packing_obstacle(torch.float32)), reason="no oneDNN here")
def test_a_packed_tower_is_refused_and_a_quantized_one_exported(tiny: ImageBind) -> None:
    import copy

    x = example("depth")
    packed = Encode(bindplug.pack(copy.deepcopy(tiny)), "depth")
    for record in (torch.export.export, lambda m, args: torch.jit.trace(m, args, check_trace=False)):
        with pytest.raises(Exception, match="export that"):
            record(packed, (x,))
    quantized = bindplug.quantize(tiny)
    program = torch.export.export(Encode(quantized, "depth"), (x,), dynamic_shapes=dynamic_shapes("depth"))
    check(program.module(), quantized, "depth")
