"""``bindplug ablate``: a grid of binding experiments, with a table and a figure of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bindplug.cli.building import OK, SKIPPED, output_options, say

if TYPE_CHECKING:
    from bindplug_lab.ablations.grid import Grid
    from bindplug_lab.ablations.results import RunResult


@click.command()
@click.argument("grid_file", metavar="GRID.toml")
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    help="Directory for results, tables and figures; runs that it holds are not done again.",
)
@click.option("--only", multiple=True, metavar="NAMES", help="Experiments joined by commas. Repeatable.")
@click.option("--seeds", metavar="NUMBERS", help="Instead of the file's, as 0,1,2.")
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), metavar="N", help="Processes; one a core by default."
)
@click.option(
    "--cache", metavar="DIR", help="Rendered scenes and embedded pictures; OUTPUT/cache by default."
)
@click.option("--smoke", is_flag=True, help="Every run at the smallest sizes, to see that all of them work.")
@click.option(
    "--dry-run", is_flag=True, help="Only say how many runs there are, and about how long they take."
)
@output_options
def ablate(
    grid_file: str,
    output: str | None,
    only: tuple[str, ...],
    seeds: str | None,
    jobs: int | None,
    cache: str | None,
    smoke: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the experiments of GRID.toml and compare their variants over seeds.

    Each run trains a small tower on the toy world and measures it zero-shot. Runs go in parallel processes; each
    result is kept as it comes, and the same command goes on after an interruption. A run that fails is kept with its
    error, the others go on, and the next command tries it again. Exit status 3 says that some failed.

    \b
    bindplug ablate recipes/ablations/paper.toml -o ablations/
    bindplug ablate recipes/ablations/paper.toml --dry-run
    bindplug ablate recipes/ablations/paper.toml -o ablations/ --only temperature,head --seeds 0,1,2,3,4
    """
    from bindplug_lab.ablations.grid import read_grid

    grid = read_grid(grid_file)
    names = [name for value in only for name in (part.strip() for part in value.split(",")) if name]
    if names:
        grid = grid.only(names)
    if seeds is not None:
        grid = grid.with_seeds(_seeds(seeds))
    if smoke:
        grid = grid.smoke()
    if dry_run:
        return _plan(grid, output, jobs, as_json)
    if output is None:
        raise click.UsageError("say where results go with --output DIR, or --dry-run")
    from bindplug_lab.ablations.runner import run_grid

    directory = Path(output)
    results: dict[str, RunResult] = {}

    def on_result(result: RunResult) -> None:
        if result.failed and not quiet:
            say(
                f"failed: {result.settings.sense}, seed {result.settings.seed}: {' '.join(result.error.split())[:300]}"
            )

    try:
        results = run_grid(grid, directory, cache=cache, jobs=jobs, quiet=quiet or None, on_result=on_result)
    finally:  # an interrupted grid has tables of what there is
        write_report(grid, directory)
    if as_json:
        from bindplug.cli.building import print_json
        from bindplug_lab.ablations.report import grid_record

        print_json(grid_record(grid, results))
    else:
        _print_tables(grid, results)
        if not quiet:
            say(f"report: {directory / 'README.md'}")
    return SKIPPED if any(result.failed for result in results.values()) else OK


def write_report(grid: Grid, directory: Path) -> None:
    """Write ``README.md``, ``summary.json``, and a page and a figure of each experiment, of the results there are."""
    from bindplug.errors import MissingDependency
    from bindplug_lab.ablations.figures import figure
    from bindplug_lab.ablations.report import experiment_markdown, grid_markdown, grid_record
    from bindplug_lab.ablations.results import ResultStore
    from bindplug_lab.ablations.runner import RESULTS
    from bindplug_lab.ablations.verdicts import cells
    from bindplug_lab.output import write_whole

    results = ResultStore(directory / RESULTS).read_all(grid.runs())
    for experiment in grid.experiments:
        text = experiment_markdown(experiment, grid, results)
        write_whole(directory / f"{experiment.name}.md", text.encode())
        try:
            picture = figure(experiment, cells(experiment, results, grid.seeds))
        except MissingDependency as error:
            say(f"no figures: {error}")
            continue
        write_whole(directory / f"{experiment.name}.png", picture)
    write_whole(directory / "README.md", grid_markdown(grid, results).encode())
    record = json.dumps(grid_record(grid, results), indent=1, ensure_ascii=False) + "\n"
    write_whole(directory / "summary.json", record.encode())


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise click.BadParameter(f"{text!r} is no list of whole numbers such as 0,1,2", param_hint="--seeds")
    numbers = list(dict.fromkeys(int(part) for part in parts))
    if len(numbers) < len(parts):
        raise click.BadParameter(f"{text!r} has a seed twice", param_hint="--seeds")
    return numbers


def _plan(grid: Grid, output: str | None, jobs: int | None, as_json: bool) -> int:
    from bindplug_lab.ablations.estimate import estimated_seconds
    from bindplug_lab.ablations.results import ResultStore
    from bindplug_lab.ablations.runner import RESULTS, default_jobs

    runs = grid.runs()
    store = ResultStore(Path(output) / RESULTS) if output is not None else None
    results = {} if store is None else {k: r for k, r in store.read_all(runs).items() if not r.failed}
    pending = [settings for settings in runs if settings.key not in results]
    processes = jobs or default_jobs()
    seconds = estimated_seconds(pending, list(results.values())) / max(1, min(processes, len(pending)))
    if as_json:
        from bindplug.cli.building import print_json

        experiments = [experiment.name for experiment in grid.experiments]
        plan = {
            "experiments": experiments,
            "seeds": list(grid.seeds),
            "runs": len(runs),
            "pending": len(pending),
        }
        print_json(plan | {"jobs": processes, "estimated_seconds": round(seconds)})
        return OK
    click.echo(f"{len(grid.experiments)} experiments, {len(grid.seeds)} seeds: {len(runs)} distinct runs")
    click.echo(f"{len(runs) - len(pending)} have results, {len(pending)} are to be done")
    click.echo(
        f"about {max(1, round(seconds / 60))} min in {processes} processes, and the rendering of their scenes"
    )
    return OK


def _print_tables(grid: Grid, results: dict[str, RunResult]) -> None:
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.building import console
    from bindplug_lab.ablations.verdicts import cells, experiment_outcomes, verdicts

    out = console()
    grid_verdicts = verdicts(grid, results)
    outcomes = experiment_outcomes(grid_verdicts)
    for experiment in grid.experiments:
        outcome = outcomes.get(experiment.name)
        title = experiment.title + (f": {outcome}" if outcome else "")
        table = Table(title=title, title_justify="left", box=None, title_style="bold")
        table.add_column(Text(experiment.axis))
        for variant in experiment.variants:
            table.add_column(Text(variant.name), justify="right")
        values = cells(experiment, results, grid.seeds)
        for sense in experiment.bases:
            row = [values[sense, variant.name] for variant in experiment.variants]
            texts = [
                cell.interval.text() if cell.interval is not None else "failed" if cell.failures else "-"
                for cell in row
            ]
            table.add_row(Text(sense), *texts)
            published = [variant.published.get(sense) for variant in experiment.variants]
            if any(figure is not None for figure in published):
                figures = ["" if figure is None else f"{figure:.1f}" for figure in published]
                table.add_row(Text(f"{sense}, the paper", style="dim"), *figures)
        out.print(table)
        for verdict in grid_verdicts:
            if verdict.experiment == experiment.name:
                direction = verdict.direction
                line = f"{direction.sense}: {direction.higher} above {direction.lower}: {verdict.outcome}"
                out.print(Text(line, style="dim"))
        out.print()
