"""The models of transformers are recorded with a batch of two and run with others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import bindplug_transformers as bt
from tests.transformers.tiny import SIDE

pytestmark = pytest.mark.filterwarnings("ignore")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class Call(nn.Module):
    """A model called with tensors only, and one tensor of its output."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], field: str, **options: bool) -> None:
        super().__init__()
        self.model, self.names, self.field, self.options = model, names, field, options

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        output = self.model(**dict(zip(self.names, tensors, strict=True)), **self.options)
        for part in self.field.split("."):
            output = output[int(part)] if part.isdigit() else output[part]
        return output


def ids(*lengths: int) -> torch.Tensor:
    rows = torch.full((len(lengths), 77), 49407)
    for row, length in zip(rows, lengths, strict=True):
        row[0] = 49406
        row[1 : length + 1] = torch.arange(320, 320 + length)
    return rows


def batch(name: str, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    if name == "input_ids":
        return ids(*range(count, 2 * count))
    if name == "attention_mask":
        return torch.ones(count, 77, dtype=torch.long)
    shape = (3, SIDE, SIDE) if name == "pixel_values" else (3, 1, 128, 204)
    return torch.randn(count, *shape, generator=generator)


CALLS = {
    "text": (bt.ImageBindTextModelWithProjection, ("input_ids", "attention_mask"), "text_embeds", {}),
    "vision": (bt.ImageBindVisionModelWithProjection, ("pixel_values",), "image_embeds", {}),
    "whole": (bt.ImageBindModel, ("input_ids", "pixel_values", "input_features"), "logits_per_audio", {}),
    "attentions": (
        bt.ImageBindModel,
        ("input_ids", "pixel_values"),
        "vision_model_output.attentions.0",
        {"output_attentions": True},
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("way", ["trace", "export", "onnx"])
@pytest.mark.parametrize("kind", CALLS)
def test_recorded_models_take_other_batches(network, kind: str, way: str, tmp_path) -> None:
    model, names, field, options = CALLS[kind]
    call = Call(model.from_bindplug(network), names, field, **options).eval()
    first = tuple(batch(name, 2) for name in names)
    size = torch.export.Dim("batch", min=1, max=512)
    shapes = {"tensors": tuple({0: size} for _ in names)}
    if way == "trace":
        recorded = torch.jit.trace(call, first, check_trace=False)
    elif way == "export":
        recorded = torch.export.export(call, first, dynamic_shapes=shapes).module()
    else:
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        path = tmp_path / "model.onnx"
        torch.onnx.export(call, first, path, dynamo=True, dynamic_shapes=shapes, verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def recorded(*tensors):
            values = {entry.name: t.numpy() for entry, t in zip(session.get_inputs(), tensors, strict=True)}
            return torch.from_numpy(session.run(None, values)[0])

    for count in (1, 3, 8):
        others = tuple(batch(name, count) for name in names)
        torch.testing.assert_close(recorded(*others), call(*others), **CLOSE)
