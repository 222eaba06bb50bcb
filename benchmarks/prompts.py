"""Short prompts through the text tower."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.harness import Comparison, Skipped, ensure_equal, in_turns, seconds
from benchmarks.machine import GB, available_bytes
from benchmarks.networks import naive_network, our_network, synthetic_state
from benchmarks.options import Options

GOAL = 4.0
USUAL_REPEATS = 5
NEEDED_MEMORY_BYTES = 4.5 * GB
PROMPTS = (
    "a photo of a dog",
    "a photo of a cat asleep",
    "a red car on a wet road",
    "an ambulance in the rain",
    "a horse running over grass",
    "the sound of church bells",
    "a train leaving the station",
    "two children riding bicycles",
    "a frog in a pond",
    "birds singing at dawn",
    "a helicopter above the city",
    "a boat on a calm lake",
    "someone walking on gravel",
    "a drum being played loudly",
    "an old clock on the wall",
    "a fire burning at night",
)


def run(options: Options) -> list[Comparison]:
    """One comparison: all prompts in one batch, tokenised before the clock starts."""
    from bindplug.inputs import Tokenizer

    available = available_bytes()
    if not options.smoke and available < NEEDED_MEMORY_BYTES:
        raise Skipped(f"{available / GB:.1f} GB of memory available, {NEEDED_MEMORY_BYTES / GB} needed")
    ids = Tokenizer()(list(PROMPTS))
    lengths = (ids.argmax(dim=-1) + 1).tolist()
    state = synthetic_state(options.shape, ["text"])
    naive = naive_network(state, options.shape, ["text"])
    ours = our_network(state, options.shape, ["text"])
    with torch.inference_mode():
        baseline_rows = F.normalize(naive({"text": ids})["text"], dim=-1)
        deviation = ensure_equal("prompts", ours.encode_text(ids, normalize=True), baseline_rows)
        baseline_s, ours_s = in_turns(
            seconds(lambda: naive({"text": ids})),
            seconds(lambda: ours.encode_text(ids)),
            options.count(USUAL_REPEATS),
            label="prompts",
            quiet=options.quiet,
        )
    notes = [f"{len(ids)} prompts of {min(lengths)} to {max(lengths)} tokens, start and end included"]
    return [
        Comparison(
            f"{len(ids)} short prompts through the text tower", "s", baseline_s, ours_s, deviation, GOAL,
            notes=notes, details={"token_counts": lengths},
        )
    ]  # fmt: skip
