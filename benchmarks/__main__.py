"""``python -m benchmarks``: the table, or JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness import Comparison, Skipped, UnequalNumbers, say
from benchmarks.options import DIRECTORY_VARIABLE, Options

BENCHMARKS = {
    "cold-start": "benchmarks.cold_start",
    "import": "benchmarks.imports",
    "prompts": "benchmarks.prompts",
    "filter-banks": "benchmarks.filter_banks",
    "stills": "benchmarks.stills",
    "detector": "benchmarks.detector",
}
"""In this order: those in processes of their own come before this one holds weights."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 if all numbers were equal and no forbidden module was imported, else 1."""
    given = _parser().parse_args(arguments)
    options = Options(given.smoke, given.repeats, given.quiet, given.cache)
    from benchmarks.machine import describe

    machine = describe()
    compared: list[Comparison] = []
    skipped: dict[str, str] = {}
    unequal: dict[str, str] = {}
    start = time.perf_counter()
    for name in given.only or BENCHMARKS:
        try:
            compared += import_module(BENCHMARKS[name]).run(options)
        except Skipped as reason:
            skipped[name] = str(reason)
            say(f"{name}: skipped, {reason}", quiet=given.quiet)
        except UnequalNumbers as reason:
            unequal[name] = str(reason)
            print(f"UNEQUAL NUMBERS: {reason}", file=sys.stderr)
    document = _document(compared, skipped, unequal, machine, options, time.perf_counter() - start)
    _show(document, compared, given)
    heavy = any(one.details.get("heavy") for one in compared)
    return 1 if unequal or heavy else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this one; may be repeated")
    parser.add_argument("--repeats", type=_positive, help="measurements of each side, for every benchmark")
    parser.add_argument("--cache", choices=("warm", "cold"), default="warm",
                        help="whether the page cache holds the checkpoint at a cold start")  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything run and agree?")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write JSON here as well")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr, and no table")
    parser.epilog = f"Files of several GB are kept in ${DIRECTORY_VARIABLE}, by default runs/benchmarks."
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} repeats; expected at least 1")
    return number


def _document(
    compared: list[Comparison],
    skipped: dict[str, str],
    unequal: dict[str, str],
    machine: dict[str, Any],
    options: Options,
    took_s: float,
) -> dict[str, Any]:
    return {
        "format": 1,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "took_s": took_s,
        "smoke": options.smoke,
        "machine": machine,
        "results": [one.to_dict() for one in compared],
        "skipped": skipped,
        "unequal": unequal,
    }


def _show(document: dict[str, Any], compared: list[Comparison], given: argparse.Namespace) -> None:
    text = json.dumps(document, indent=1)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text + "\n")
    if given.json:
        print(text)
    elif not given.quiet:
        from benchmarks.report import table

        if given.smoke:
            print("smoke run: tiny sizes, the figures mean nothing\n")
        print(table(compared, document["skipped"], document["machine"]))


if __name__ == "__main__":
    sys.exit(main())
