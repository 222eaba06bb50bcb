"""``python -m recipes.cutoff_coverage``: whether cut-offs keep their promise on scenes that nobody has seen.

Some things of the toy world are looked for, the others are absent. Cut-offs are made from some absent scenes of each
sensor, and counted on thousands of others: how many score above.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import bindplug
from bindplug.encoder import Encoder
from bindplug.query import embedding
from bindplug.thresholds import exact_interval, most_above
from bindplug.zeroshot import class_queries
from bindplug_toyworld.evaluation import embed_scenes, evaluation_scenes, things_of
from bindplug_toyworld.things import CLASSNAMES, label_of
from recipes.options import begin, shared_options

logger = logging.getLogger("recipes")

SENSORS = ("audio", "imu", "image", "depth", "thermal")
FIRST_SCENE = 30_000_000
"""Seeds of the scenes start here, each sensor's a million further on."""
SAMPLE, UNSEEN = 2000, 5000
PROMISES = (("conformal", 0.01), ("conformal", 0.05), ("binomial", 0.01), ("binomial", 0.05))
PART = 500


def main(arguments: list[str] | None = None) -> None:
    """Embed absent scenes of every sensor, make cut-offs, count, and write the figures."""
    options = _parser().parse_args(arguments)
    run = begin(options, "cutoff_coverage.log")
    sample, unseen = (320, 200) if options.smoke else (SAMPLE, UNSEEN)
    output = options.output or run.workspace / "cutoff_coverage.json"
    model = bindplug.load("imagebind_tiny")
    figures: dict[str, Any] = {
        "model": "imagebind_tiny",
        "command": "python -m recipes.cutoff_coverage",
        "sample": sample,
        "unseen": unseen,
        "sensors": {},
    }
    for number, sensor in enumerate(SENSORS):
        if sensor not in options.sensors:
            continue
        rows = absent_rows(model, sensor, number, sample + unseen, run.workspace, quiet=run.quiet)
        figures["sensors"][sensor] = coverage(model, sensor, rows[:sample], rows[sample:])
        output.write_text(json.dumps(figures, indent=1) + "\n")
        logger.info("%s: %s", sensor, figures["sensors"][sensor]["promises"])
    print(format_coverage(figures))


def parted(sensor: str) -> tuple[list[str], list[str]]:
    """The things that are looked for and the absent ones, each about a third or half of those of a sensor."""
    things = list(things_of(sensor))
    absent = things[1::2] if sensor == "imu" else things[2::3]
    return [thing for thing in things if thing not in absent], absent


def absent_rows(
    model: Encoder, sensor: str, number: int, count: int, workspace: Path, *, quiet: bool | None
) -> Tensor:
    """(count, D) unit rows of scenes of absent things, kept part by part so that a rerun continues."""
    parts = []
    _, absent = parted(sensor)
    for start in range(0, count, PART):
        file = workspace / f"absent_{sensor}_{start}_{min(PART, count - start)}.npy"
        if not file.is_file():
            size = min(PART, count - start)
            # A part starts where the things' turn stands.
            rotation = absent[start % len(absent) :] + absent[: start % len(absent)]
            scenes = evaluation_scenes(rotation, size, FIRST_SCENE + 1_000_000 * number + start)
            np.save(file, embed_scenes(model, sensor, scenes, size, quiet=quiet).numpy())
        parts.append(torch.from_numpy(np.load(file)))
    return torch.cat(parts)


def coverage(model: Encoder, sensor: str, sample: Tensor, unseen: Tensor) -> dict[str, Any]:
    """For every promise the cut-off of the sample and the share of unseen scenes above it."""
    known_rows, absent = parted(sensor)
    classes = class_queries(model, [CLASSNAMES[label_of(thing)] for thing in known_rows])
    queries = [embedding(row, model.embedding_space, modality=sensor) for row in sample]
    best = model.scores(unseen, model.embed(classes)).amax(1).double()
    promises = []
    for bound, fpr in PROMISES:
        (pair,) = bindplug.cutoffs(model, classes, queries, fpr=fpr, bound=bound).pairs
        above = int((best > pair.threshold).sum())
        low, high = exact_interval(above, len(unseen))
        promises.append(
            {
                "bound": bound,
                "fpr": fpr,
                "threshold": round(pair.threshold, 6),
                "expected_low": round(pair.rate_low, 5),
                "expected_high": round(pair.rate_high, 5),
                "above": above,
                "rate": round(above / len(unseen), 5),
                "low": round(low, 5),
                "high": round(high, 5),
            }
        )
    return {
        "known": known_rows,
        "absent": absent,
        "promises": promises,
        "resampled": resampled(best, model.scores(sample, model.embed(classes)).amax(1).double()),
    }


def resampled(unseen: Tensor, sample: Tensor, *, turns: int = 200, seed: int = 0) -> list[dict[str, float]]:
    """The conformal rate on average over samples: all scenes dealt anew into a sample and unseen ones."""
    rows = torch.cat([sample, unseen])
    generator = torch.Generator().manual_seed(seed)
    averages = []
    for bound, fpr in PROMISES:
        above = most_above(len(sample), fpr, bound, 0.95)
        assert above is not None
        rates = []
        for _ in range(turns):
            order = rows[torch.randperm(len(rows), generator=generator)]
            threshold = order[: len(sample)].sort(descending=True).values[above]
            rates.append(float((order[len(sample) :] > threshold).double().mean()))
        broken = float(np.mean(np.array(rates) > fpr))
        low, high = np.quantile(rates, [0.025, 0.975]).tolist()
        averages.append(
            {
                "fpr": fpr,
                "mean_rate": round(float(np.mean(rates)), 5),
                "low": round(low, 5),
                "high": round(high, 5),
                "above_fpr": round(broken, 3),
            }
        )
    return averages


def format_coverage(figures: dict[str, Any]) -> str:
    """A Markdown table, a row a sensor and promise."""
    lines = [
        "| sensor | bound | promised | above, of unseen | rate, 95 % interval | expected | 200 samples |",
        "|---|---|---|---|---|---|---|",
    ]
    for sensor, measured in figures["sensors"].items():
        for promise, average in zip(measured["promises"], measured["resampled"], strict=True):
            lines.append(
                f"| {sensor} | {promise['bound']} | {promise['fpr']:.0%} | {promise['above']} of {figures['unseen']} "
                f"| {promise['rate']:.2%} ({promise['low']:.2%} to {promise['high']:.2%}) "
                f"| {promise['expected_low']:.2%} to {promise['expected_high']:.2%} "
                f"| {average['mean_rate']:.2%} ({average['low']:.2%} to {average['high']:.2%}) |"
            )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    shared = shared_options(holds="rows of absent scenes (20 MB)", output="the JSON file goes")
    parser = argparse.ArgumentParser(
        prog="python -m recipes.cutoff_coverage", description=__doc__, parents=[shared]
    )
    parser.add_argument("--sensors", nargs="+", choices=SENSORS, default=list(SENSORS))
    return parser


if __name__ == "__main__":
    main()
