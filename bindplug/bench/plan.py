"""What to measure: dtypes by their short names, towers one at a time, every dtype against float32."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator

import torch

from bindplug.bench.machine import PeakMemory
from bindplug.bench.synthetic import clips_of, synthetic
from bindplug.bench.throughput import Measurement, measure, reference_rows
from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.modality import Modality

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}
"""Short names -> dtype of the weights when loaded; int8 weights are made of float32."""

COMPARED_ITEMS = 4
"""Items whose rows are compared with the reference; embedding them one by one takes time."""

Load = Callable[[str, torch.dtype], Encoder]
"""``load(modality, dtype)``: the model with that modality's tower only."""


def parse_dtypes(text: str) -> list[str]:
    """``"fp32,bf16"`` -> ``["fp32", "bf16"]``; torch's names are understood too.

    Raises:
        InputError: a name is unknown, or there is none.
    """
    aliases = {str(dtype).removeprefix("torch."): name for name, dtype in DTYPES.items() if name != "int8"}
    words = [aliases.get(word, word) for word in (w.strip().lower() for w in text.split(",")) if word]
    unknown = [name for name in words if name not in DTYPES]
    if unknown or not words:
        raise InputError(
            "--dtype", found=repr(text), expected=f"some of {', '.join(DTYPES)}, separated by commas"
        )
    return list(dict.fromkeys(words))


def default_modalities(known: Collection[str]) -> list[str]:
    """All but videos where there are images: a video is the image tower fifteen times."""
    return [name for name in known if name != "video" or "image" not in known]


def prepared(model: Encoder, dtype: str, *, packed: bool = False, compiled: bool = False) -> Encoder:
    """The model changed in place: its weights in int8, or packed, and its blocks compiled, as asked for.

    Raises:
        InputError: this model or this machine cannot be changed so.
    """
    import bindplug

    if dtype == "int8":
        model = bindplug.quantize(model)
    elif packed:
        model = bindplug.pack(model)
    return bindplug.compile(model) if compiled else model


def run(
    load: Load,
    modalities: Collection[str],
    dtypes: Collection[str],
    *,
    batch: int,
    repeats: int,
    packed: bool = False,
    compiled: bool = False,
) -> Iterator[Measurement]:
    """Measure every modality in every dtype, in that order.

    Args:
        load: gives the model, as often as it is asked.
        modalities: which, by name.
        dtypes: short names, keys of :data:`DTYPES`.
        batch: clips in a pass: an image or text counts as one, a sound as 3, a video as 15, but at least one item.
        repeats: measurements of each.
        packed, compiled: whether to pack or compile the model; the reference never is, and int8 is not packed.

    Yields:
        One measurement for each modality and dtype.
    """
    for modality in modalities:
        items = max(1, batch // clips_of(modality))
        model = load(modality, torch.float32)
        x = synthetic(model, modality, items)
        reference = reference_rows(model, modality, x[:COMPARED_ITEMS])
        del model
        for dtype in dtypes:
            gc.collect()
            peak = PeakMemory(x.device)
            model = prepared(load(modality, DTYPES[dtype]), dtype, packed=packed, compiled=compiled)
            batch_input = x.to(model.dtype) if x.is_floating_point() else x
            measurement = measure(model, modality, batch_input, reference, dtype=dtype, repeats=repeats)
            measurement.peak_bytes = peak.bytes()
            del model
            yield measurement


def modality_names(text: str | None, known: Collection[str]) -> list[str]:
    """``"image,audio"`` -> the names, checked; the default ones for None.

    Raises:
        UnknownModality: a name is none of the seven.
        InputError: the model has no such modality.
    """
    if text is None:
        return default_modalities(known)
    names = [Modality.parse(word.strip()).value for word in text.split(",") if word.strip()]
    absent = [name for name in names if name not in known]
    if absent or not names:
        raise InputError("--modalities", found=repr(text), expected=f"some of {', '.join(known)}")
    return list(dict.fromkeys(names))
