"""``python -m benchmarks``: the table, JSON, or a chart."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness import Comparison, Growth, Outcome, Skipped, UnequalNumbers, say
from benchmarks.naive.shape import TOWERS
from benchmarks.options import DIRECTORY_VARIABLE, RESULTS, VARIANTS, Options


@dataclass(frozen=True)
class Benchmark:
    """A module with ``run(options)``, which gives or yields outcomes.

    Args:
        module: its name.
        minutes: what it takes on two idle cores.
        on_cuda: whether it measures a GPU when asked to.
    """

    module: str
    minutes: float
    on_cuda: bool = False


BENCHMARKS = {
    "cold-start": Benchmark("benchmarks.cold_start", 4),
    "import": Benchmark("benchmarks.imports", 0.5),
    "memory": Benchmark("benchmarks.memory", 3),
    "embed-folders": Benchmark("benchmarks.embed_folders", 7.5),
    "filter-banks": Benchmark("benchmarks.filter_banks", 0.5),
    "towers": Benchmark("benchmarks.towers", 10.5, on_cuda=True),
    "limit": Benchmark("benchmarks.limit", 2, on_cuda=True),
    "open-clip": Benchmark("benchmarks.open_clip_towers", 4, on_cuda=True),
    "growth": Benchmark("benchmarks.growth", 1.5, on_cuda=True),
    "detector": Benchmark("benchmarks.detector", 2),
}
"""In this order: those in processes of their own come before this one holds weights."""


@dataclass
class Record:
    """What a run has found so far, written to its file whenever a part is done."""

    options: Options
    machine: dict[str, Any]
    output: Path | None
    start: float = field(default_factory=time.perf_counter)
    results: list[Comparison | Growth] = field(default_factory=list)
    missing: dict[str, dict[str, str]] = field(
        default_factory=lambda: {"skipped": {}, "unequal": {}, "failed": {}}
    )
    took_s: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, outcome: Outcome | Exception) -> None:
        """Keep an outcome of the benchmark of that name."""
        if isinstance(outcome, (Comparison, Growth)):
            self.results.append(outcome)
        else:
            kind = {Skipped: "skipped", UnequalNumbers: "unequal"}.get(type(outcome), "failed")
            reason = str(outcome) if kind != "failed" else f"{type(outcome).__name__}: {outcome}"
            earlier = self.missing[kind].get(name)
            self.missing[kind][name] = f"{earlier}; {reason}" if earlier else reason
            shout = f"{kind.upper()}{' NUMBERS' if kind == 'unequal' else ''}: {name}: {reason}"
            say(shout, quiet=kind == "skipped" and self.options.quiet)
        self.write()

    def write(self) -> None:
        """The document, complete or as it was before."""
        if self.output:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            partial = self.output.with_name(f"{self.output.name}.partial")
            partial.write_text(json.dumps(self.document(), indent=1) + "\n")
            partial.replace(self.output)

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "format": 2,
            "measured_at": self.machine["at"],
            "took_s": time.perf_counter() - self.start,
            "benchmarks_took_s": self.took_s,
            "smoke": self.options.smoke,
            "device": self.options.device,
            "machine": self.machine,
            "results": [one.to_dict() for one in self.results],
            **self.missing,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 if all numbers were equal, all ran and nothing forbidden was imported, else 1."""
    from benchmarks.machine import describe

    given = _parser().parse_args(arguments)
    options = _options(given)
    machine = describe(given.device)
    record = Record(options, machine, _output(given, machine))
    names = given.only or [n for n, b in BENCHMARKS.items() if b.on_cuda or options.on_cpu]
    if not given.smoke:
        minutes = sum(BENCHMARKS[name].minutes for name in names)
        say(f"{', '.join(names)}: about {minutes:g} minutes on two idle cores", quiet=given.quiet)
    shown = not (given.json or given.quiet)
    if shown and given.smoke:
        print("smoke run: tiny sizes, the figures mean nothing")
    for name in names:
        _measure(name, record, shown=shown)
    _finish(record, given, shown=shown)
    heavy = any(one.details.get("heavy") for one in record.results if isinstance(one, Comparison))
    return 1 if record.missing["unequal"] or record.missing["failed"] or heavy else 0


def _measure(name: str, record: Record, *, shown: bool) -> None:
    """Run one benchmark; whatever stops it stops only it."""
    before, start = len(record.results), time.perf_counter()
    try:
        outcomes: Iterable[Outcome] = import_module(BENCHMARKS[name].module).run(record.options)
        for outcome in outcomes:
            record.add(name, outcome)
    except Exception as error:
        record.add(name, error)
    record.took_s[name] = time.perf_counter() - start
    if shown and record.results[before:]:
        from benchmarks.report import table

        print(f"\n{name}, {record.took_s[name]:.0f} s", table(record.results[before:]), sep="\n", flush=True)


def _finish(record: Record, given: argparse.Namespace, *, shown: bool) -> None:
    from benchmarks.report import draw, footer

    record.write()
    charts = [given.plot] if given.plot else []
    if given.record and record.output:
        charts.append(record.output.with_suffix(".png"))
    for chart in charts:
        if draw(chart, record.results, record.machine):
            say(f"chart: {chart}", quiet=given.quiet)
    if given.json:
        print(json.dumps(record.document(), indent=1))
    elif shown:
        print("", footer(record.results, record.missing, record.machine), sep="\n")


def _options(given: argparse.Namespace) -> Options:
    import torch

    device = torch.device(given.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise SystemExit("python -m benchmarks: error: --device cuda: this machine has no CUDA device")
        torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32 in the proofs of equal numbers
    usual = ("compiled",) if device.type == "cuda" else ("packed", "int8")
    return Options(
        given.smoke,
        given.repeats,
        given.quiet,
        given.cache,
        given.device,
        tuple(given.tower or TOWERS),
        tuple(given.also or usual),
    )


def _output(given: argparse.Namespace, machine: dict[str, Any]) -> Path | None:
    if not given.record:
        return given.output
    device = re.sub(r"[^a-z0-9]+", "-", machine["device"].lower()).strip("-")
    return given.output or RESULTS / f"{device}-{machine['at'][:10]}.json"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this one; may be repeated")
    parser.add_argument("--tower", action="append", choices=TOWERS,
                        help="of towers, limit and open-clip measure this one; may be repeated")  # fmt: skip
    parser.add_argument("--also", action="append", choices=VARIANTS,
                        help="of towers also measure this; by default packed and int8, on CUDA compiled")  # fmt: skip
    parser.add_argument("--device", type=_device, default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument("--repeats", type=_positive, help="measurements of each side, for every benchmark")
    parser.add_argument("--cache", choices=("warm", "cold"), default="warm",
                        help="whether the page cache holds the checkpoint at a cold start")  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything run and agree?")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write JSON here, after every result")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios into FILE.png")
    parser.add_argument("--record", action="store_true",
                        help="write JSON and chart to benchmarks/results/, named for device and day")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr, and no table")
    parser.epilog = f"Files of several GB are kept in ${DIRECTORY_VARIABLE}, by default runs/benchmarks."
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} repeats; expected at least 1")
    return number


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r}; expected cpu, cuda or cuda:N")
    return text


if __name__ == "__main__":
    sys.exit(main())
