"""``python -m benchmarks.training_memory``: memory of a training step, computed at any size and measured here.

Prints two Markdown tables: what a step of the published network's towers takes by batch, precision and gradient
checkpointing, with LoRA and without; and how near the computation comes to what a real step on this machine's CPU
allocates.
"""

from __future__ import annotations

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from bindplug.imagebind import ImageBind, ImageBindConfig, Tower
from bindplug.modality import Modality
from bindplug.training import LoraRecipe, StepMemory, add_adapters, estimate_memory, symmetric_info_nce

GIB = 2**30
CARD_BYTES = 24 * GIB
"""Memory of the GPU that the table looks at."""

RESERVED_BYTES = 2 * GIB
"""Of it that a step should leave: CUDA's own, and what the allocator cannot reuse."""

BATCHES = (32, 64, 128, 256, 512)
COMPUTED = (64, 128)
"""Batches that are computed; the others lie on the line through them, since activations grow with the batch."""

KINDS = {
    "LoRA, rank 16": LoraRecipe(rank=16),
    "DoRA, rank 16": LoraRecipe(rank=16, dora=True),
    "whole tower": None,
}
INPUTS = {"audio": (1, 128, 204), "depth": (1, 224, 224), "thermal": (1, 224, 224), "imu": (6, 2000)}


def image_tower_bytes(config: ImageBindConfig) -> int:
    """Bytes of the frozen image tower in float32, which embeds the anchors."""
    model = ImageBind(config, {"image"}, device="meta")
    return sum(parameter.nbytes for parameter in model.parameters())


def computed_table(modality: str, config: ImageBindConfig) -> str:
    """The table of the published network's tower."""
    image = image_tower_bytes(config)
    header = [f"batch {batch}" for batch in BATCHES]
    lines = [
        f"| {modality} | precision | checkpointing | weights | trained, with optimizer | {' | '.join(header)} | fits |",
        "|---|---|---|---|---|" + "---|" * (len(header) + 1),
    ]
    for kind, lora in KINDS.items():
        for precision in ("no", "bf16"):
            for checkpointing in (False, True):
                low, high = (
                    estimate_memory(
                        config,
                        modality,
                        batch,
                        lora=lora,
                        precision=precision,
                        gradient_checkpointing=checkpointing,
                    )
                    for batch in COMPUTED
                )
                line = _line(kind, precision, checkpointing, low, high, image)
                lines.append(line)
    return "\n".join(lines)


def _line(
    kind: str, precision: str, checkpointing: bool, low: StepMemory, high: StepMemory, image: int
) -> str:
    trained = low.gradients + low.optimizer + low.adapters
    by_pair = (high.total - low.total) / (high.batch_size - low.batch_size)
    fixed = low.total - by_pair * low.batch_size
    room = CARD_BYTES - RESERVED_BYTES - image - fixed
    totals = [f"{(fixed + by_pair * batch) / GIB:.1f}" for batch in BATCHES]
    name = "float32" if precision == "no" else precision
    return (
        f"| {kind} | {name} | {'yes' if checkpointing else 'no'} | {low.weights / GIB:.2f} | {trained / GIB:.2f} | "
        f"{' | '.join(totals)} | {int(room / by_pair)} |"
    )


def measured_bytes(
    config: ImageBindConfig,
    modality: str,
    batch: int,
    lora: LoraRecipe | None,
    precision: str,
    checkpointing: bool,
) -> int:
    """Bytes that a real step on the CPU held at its fullest moment, weights and optimizer's averages included."""
    torch.manual_seed(0)
    model = ImageBind(config, {modality})
    if lora is not None:
        add_adapters(model, modality, lora)
    tower = model.towers[Modality.parse(modality).tower]
    assert isinstance(tower, Tower)
    tower.gradient_checkpointing = checkpointing
    tower.train()
    inputs = torch.randn(batch, *INPUTS[modality])

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "no"):
            rows = tower(inputs)
        loss = symmetric_info_nce(torch.randn(rows.shape), rows, 1.0)
        del rows
        loss.backward()

    step()
    trained = [parameter for parameter in tower.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    held = sum(parameter.nbytes for parameter in tower.parameters())
    return held + 2 * sum(parameter.nbytes for parameter in trained) + peak


def measured_table(modality: str, config: ImageBindConfig, batch: int) -> str:
    """Measured beside computed, with and without LoRA, mixed precision and checkpointing."""
    lines = [
        f"| {modality}, batch {batch} | precision | checkpointing | measured, MB | computed, MB | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for kind, lora in KINDS.items():
        for precision in ("no", "bf16"):
            for checkpointing in (False, True):
                measured = measured_bytes(config, modality, batch, lora, precision, checkpointing)
                step = estimate_memory(
                    config,
                    modality,
                    batch,
                    lora=lora,
                    precision=precision,
                    gradient_checkpointing=checkpointing,
                    on_cpu=True,
                )
                lines.append(
                    f"| {kind} | {'float32' if precision == 'no' else precision} | "
                    f"{'yes' if checkpointing else 'no'} | {measured / 2**20:.0f} | {step.total / 2**20:.0f} | "
                    f"{step.total / measured:.3f} |"
                )
    return "\n".join(lines)


def tiny_config() -> ImageBindConfig:
    """The shape of imagebind_tiny."""
    import bindplug

    model = bindplug.load("imagebind_tiny", modalities={"audio"})
    assert isinstance(model, ImageBind)
    return model.config


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_memory", description=__doc__)
    parser.add_argument("--modality", choices=sorted(INPUTS), default="audio")
    parser.add_argument(
        "--measure", choices=["tiny", "huge", "none"], default="tiny", help="size of the real steps"
    )
    parser.add_argument("--batch", type=int, default=32, help="of the real steps")
    options = parser.parse_args(arguments)
    print(computed_table(options.modality, ImageBindConfig.huge()), flush=True)
    if options.measure != "none":
        config = tiny_config() if options.measure == "tiny" else ImageBindConfig.huge()
        print(f"\n{measured_table(options.modality, config, options.batch)}")


if __name__ == "__main__":
    main()
