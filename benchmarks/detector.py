"""Detic: a whole call against its own backbone, and what one more prompt costs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Comparison, in_turns, seconds
from benchmarks.options import Options
from bindplug_detic import DeticConfig
from bindplug_detic.network import DeticNetwork

USUAL_REPEATS = 5
EDGE = 640
WIDTH = 512
CLASSES, MANY_CLASSES = 6, 1203

PUBLISHED = {
    "resnet, 6 classes, 7 boxes": (0.78 / 0.35, CLASSES, 7),
    "swin, 6 classes, 110 boxes": (2.98 / 1.80, CLASSES, 110),
    "resnet, 1203 classes, 300 boxes": (3.34 / 0.35, MANY_CLASSES, 300),
}
"""Seconds of the original's whole call over those of its own backbone and pyramid, on 2 cores at 640 x 640."""

PROMPT_SHARE = 0.05
"""Most that one more prompt may add, as a share of a call."""


def run(options: Options) -> list[Comparison]:
    """The published networks' calls, with random weights; smoke size takes small ones and small pictures."""
    generator = torch.Generator().manual_seed(0)
    edge = 64 if options.smoke else EDGE
    image = torch.randint(0, 256, (3, edge, edge), generator=generator, dtype=torch.uint8)
    rows = torch.randn(MANY_CLASSES, WIDTH, generator=generator)
    compared = []
    for backbone in ("resnet", "swin"):
        network = _network(backbone, smoke=options.smoke)
        for name, (share, classes, boxes) in PUBLISHED.items():
            if name.startswith(backbone):
                compared.append(_whole_call(name, network, image, rows[:classes], boxes, share, options))
        if backbone == "resnet":
            compared.append(_one_more_prompt(network, image, rows, options))
    return compared


def _network(backbone: str, *, smoke: bool) -> DeticNetwork:
    torch.manual_seed(0)
    small = {
        "resnet_blocks": (1, 1, 1, 1),
        "swin_width": 16,
        "swin_depths": (1, 1, 1, 1),
        "swin_heads": (1, 1, 1, 1),
    }
    config = DeticConfig(backbone=backbone, **(small if smoke else {}))  # type: ignore[arg-type]
    return DeticNetwork(config).eval()


def _call(network: DeticNetwork, image: Tensor, rows: Tensor, boxes: int) -> Callable[[], object]:
    # no threshold but a number of boxes: random weights give scores of no meaning
    return lambda: network([image], rows, score_threshold=0.0, top_k=boxes)


def _whole_call(
    name: str, network: DeticNetwork, image: Tensor, rows: Tensor, boxes: int, share: float, options: Options
) -> Comparison:
    with torch.inference_mode():
        x, _ = network.batch([image])
        backbone_s, call_s = in_turns(
            seconds(lambda: network.features(x)),
            seconds(_call(network, image, rows, boxes)),
            options.count(USUAL_REPEATS),
            label=name,
            quiet=options.quiet,
        )
    return Comparison(
        f"Detic, {name}", "s", [share * s for s in backbone_s], call_s, least_ratio=1.0,
        notes=[f"baseline: {share:.2f} times the backbone and pyramid alone, which is the original's share"],
        details={"backbone_s": backbone_s},
    )  # fmt: skip


def _one_more_prompt(network: DeticNetwork, image: Tensor, rows: Tensor, options: Options) -> Comparison:
    with torch.inference_mode():
        without_s, with_s = in_turns(
            seconds(_call(network, image, rows[:CLASSES], 7)),
            seconds(_call(network, image, rows[: CLASSES + 1], 7)),
            options.count(USUAL_REPEATS),
            label="one more prompt",
            quiet=options.quiet,
        )
    return Comparison(
        "Detic, one more prompt in a running detector", "s", without_s, with_s, least_ratio=1 / (1 + PROMPT_SHARE),
        notes=["the prompt is embedded and mapped beforehand, as detector.prepare() does"],
    )  # fmt: skip
