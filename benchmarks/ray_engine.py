"""What the engine ray costs over the local path, and what an item costs: ``python -m benchmarks.ray_engine``.

Prints JSON. Each path embeds few and many pictures; the difference of the two is what the items cost, the rest is what
starting costs. Processor time is counted, which another program's load hardly changes: of the local path in its
process; of the engine in its actor while it embeds, and in the driver and Ray's own processes meanwhile. Both read with
one thread, compute with one thread, and take turns. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch counts the cores

import numpy as np
import torch
from PIL import Image

import bindplug
from bindplug.cli.app import run
from bindplug_search import embed_with_ray
from bindplug_search.engine import cluster
from bindplug_search.engine.plan import Partition

FEW = 64
MODEL = "imagebind_tiny"
TIMES = "BINDPLUG_BENCHMARK_TIMES"
"""Environment variable with the file to which actors add the processor time of each partition."""


class TimedPartitions(cluster.EmbedPartitions):
    """An actor that writes down the processor time of each partition."""

    def embed(self, partition: Partition) -> dict[str, Any]:
        start = time.process_time()
        report = super().embed(partition)
        with Path(os.environ[TIMES]).open("a") as file:
            file.write(f"{time.process_time() - start}\n")
        return report


def write_pictures(directory: Path, count: int, side: int) -> None:
    """JPEG pictures of blurred noise."""
    directory.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8))
        small.resize((side, side), Image.Resampling.BICUBIC).save(directory / f"p{index:06d}.jpg", quality=90)


def seconds(work: Callable[[], Any]) -> dict[str, float]:
    """What work takes on the clock, and of processors in those of our processes that live before and after."""
    start, before = time.perf_counter(), cpu_by_process()
    work()
    clock_s, after = time.perf_counter() - start, cpu_by_process()
    return {
        "clock_s": clock_s,
        "cpu_s": sum(after[pid] - before[pid] for pid in after.keys() & before.keys()),
    }


def cpu_by_process() -> dict[int, float]:
    """Processor time of this process and of its descendants."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(place.name))
        ticks[int(place.name)] = int(fields[11]) + int(fields[12])  # user and system time
    waiting, family = [os.getpid()], {}
    while waiting:
        pid = waiting.pop()
        family[pid] = ticks.get(pid, 0) / os.sysconf("SC_CLK_TCK")
        waiting += children.get(pid, [])
    return family


def parts_of_an_item(directory: Path) -> dict[str, float]:
    """Processor seconds of reading and of the model for a picture, each alone, on one thread."""
    model = bindplug.load(MODEL, modalities={"image"})
    paths = [str(path) for path in sorted(directory.glob("*.jpg"))[:256]]
    reader = model.preprocess["image"]
    read_s = median(seconds(lambda: reader.batch(paths))["cpu_s"] for _ in range(3))
    x = torch.stack(reader.batch(paths).items)  # (B, 3, 224, 224)
    with torch.inference_mode():
        model_s = median(
            seconds(lambda: [model.encode("image", part, normalize=True) for part in x.split(32)])["cpu_s"]
            for _ in range(3)
        )
    return {"read_s": read_s / len(paths), "model_s": model_s / len(x)}


def measure(root: Path, count: int) -> dict[str, float]:
    """Processor seconds of both paths for few and for many pictures."""
    results: dict[str, float] = {}
    for kind, items in (("few", FEW), ("many", count)):
        output = root / "local.parquet"
        output.unlink(missing_ok=True)
        arguments = ["embed", str(root / kind), "--modality", "image", "-o", str(output), "--quiet"]
        local = seconds(lambda arguments=arguments: run([*arguments, "--model", MODEL, "--workers", "1"]))
        times = Path(os.environ[TIMES])
        times.unlink(missing_ok=True)
        engine = seconds(
            lambda kind=kind: embed_with_ray(
                [str(root / kind)],
                root / "rows",
                modality="image",
                model=MODEL,
                overwrite=True,
                quiet=True,
                actors=1,
                cpus=1,
                workers=1,
                save_every=256,
            )
        )
        actor_s = sum(map(float, times.read_text().split()))
        results |= {f"local_{kind}_cpu_s": local["cpu_s"], f"local_{kind}_clock_s": local["clock_s"]}
        results |= {f"actor_{kind}_cpu_s": actor_s, f"around_{kind}_cpu_s": engine["cpu_s"]}
        results[f"engine_{kind}_clock_s"] = engine["clock_s"]
        results[f"{kind}_items"] = items
    more = results["many_items"] - results["few_items"]
    for path in ("local", "actor", "around"):
        results[f"{path}_item_cpu_s"] = (results[f"{path}_many_cpu_s"] - results[f"{path}_few_cpu_s"]) / more
    results["ratio"] = (results["actor_item_cpu_s"] + results["around_item_cpu_s"]) / results[
        "local_item_cpu_s"
    ]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="pictures of the long run")
    parser.add_argument("--side", type=int, default=256, help="their width and height in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.update(cluster.ENVIRONMENT)
    import ray

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ[TIMES] = str(root / "times.txt")
        cluster.EmbedPartitions = TimedPartitions  # type: ignore[misc]
        write_pictures(root / "few", FEW, options.side)
        write_pictures(root / "many", options.count, options.side)
        item = parts_of_an_item(root / "many")
        start = time.perf_counter()
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=100 * 1024**2,
            log_to_driver=False,
            logging_level="critical",
        )
        started_s = time.perf_counter() - start
        runs = [measure(root, options.count) for _ in range(options.repeats)]
        ray.shutdown()
    result = {
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "load_1_min": os.getloadavg()[0],
            "torch": torch.__version__,
            "ray": ray.__version__,
        },
        "pictures": options.count,
        "side": options.side,
        "item_cpu_s": item,
        "ray_starts_clock_s": started_s,
        "medians": {key: median(values[key] for values in runs) for key in runs[0]},
        "runs": runs,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
