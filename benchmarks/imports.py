"""What ``import bindplug`` adds to ``import torch``, in time and in modules."""

from __future__ import annotations

import statistics

from benchmarks.children import run_child
from benchmarks.harness import Comparison, in_turns
from benchmarks.options import Options

MOST_ADDED_S = 0.4
USUAL_REPEATS = 7
HEAVY = ("torchvision", "transformers", "diffusers", "open_clip", "torchaudio", "timm", "scipy", "pandas")
"""Packages that importing bindplug must not pull in; the first four are the goal's."""

CHILD = """
import json, sys, time
start = time.perf_counter()
import torch
before, torch_s = set(sys.modules), time.perf_counter() - start
start = time.perf_counter()
{statement}
added_s = time.perf_counter() - start
pulled = sorted({{name.partition(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names))
print(json.dumps({{"torch_s": torch_s, "added_s": added_s, "pulled": pulled}}), flush=True)
"""
FIRST_USE = "import bindplug; bindplug.load; import bindplug.imagebind, bindplug.inputs"


def run(options: Options) -> list[Comparison]:
    """Two comparisons of whole processes: ``import bindplug`` alone, and with what its first use imports."""
    return [
        _compare("import torch, then bindplug", "import bindplug", MOST_ADDED_S, options),
        _compare("the same with all that load() needs", FIRST_USE, None, options),
    ]


def heavy_modules(pulled: list[str]) -> list[str]:
    """Those of the packages that should not be there."""
    return [name for name in HEAVY if name in pulled]


def _compare(name: str, statement: str, goal: float | None, options: Options) -> Comparison:
    said = []

    def import_ours() -> float:
        took, found = run_child(["-c", CHILD.format(statement=statement)])
        said.append(found)
        return took

    def import_torch() -> float:
        return run_child(["-c", CHILD.format(statement="pass")])[0]

    if not options.smoke:
        import_torch(), import_ours()  # compile modules, fill the page cache
    said.clear()
    baseline_s, ours_s = in_turns(
        import_torch, import_ours, options.count(USUAL_REPEATS), label=name, quiet=options.quiet
    )
    pulled = said[-1]["pulled"]
    heavy = heavy_modules(pulled)
    inside = statistics.median(found["added_s"] for found in said)
    notes = [
        f"{inside:.3f} s by the process's own clock",
        f"PULLS IN {', '.join(heavy)}" if heavy else f"pulls in none of {', '.join(HEAVY)}",
    ]
    details = {"statement": statement, "added_inside_s": inside, "pulled": pulled, "heavy": heavy}
    return Comparison(name, "s", baseline_s, ours_s, most_added=goal, notes=notes, details=details)
