"""Experiments of a TOML file: a base recipe for each sense, variants of it, and the direction that a paper found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bindplug.errors import InputError
from bindplug_lab.ablations.settings import KEYS, SENSES, RunSettings, check_values
from bindplug_lab.toml_files import read_toml

METRICS = ("accuracy", "accuracy_top5")
"""What variants are compared by."""
_SMOKE = {
    "scenes": 20, "views": 2, "epochs": 2.0, "batch_size": 16, "width": 32, "evaluation_scenes": 20,
    "encoder_scenes": 128, "encoder_steps": 1,
}  # fmt: skip
_VARIANT_KEYS = ("name", "set", "published")
_DIRECTION_KEYS = ("sense", "higher", "lower")
_EXPERIMENT_KEYS = (
    "name",
    "title",
    "axis",
    "source",
    "notes",
    "metric",
    "senses",
    "base",
    "variants",
    "directions",
)


@dataclass(frozen=True)
class Variant:
    """One column of an experiment.

    Attributes:
        name: of the variant, for instance the value that is varied.
        changes: settings in which it differs from the base.
        published: the paper's figure in percent by sense, where it has one.
    """

    name: str
    changes: Mapping[str, Any]
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Direction:
    """What the paper found: of one sense, the variant ``higher`` is better than ``lower``."""

    sense: str
    higher: str
    lower: str


@dataclass(frozen=True)
class Experiment:
    """Variants of one base recipe a sense.

    Attributes:
        name: short, without blanks.
        title: what is varied, for people.
        axis: label of the variants in tables and figures.
        source: where the published figures stand.
        notes: why it is set up as it is, and what came of it.
        metric: what variants are compared by.
        bases: the base settings by sense.
        variants: in order.
        directions: what the paper found.
    """

    name: str
    title: str
    axis: str
    source: str
    notes: str
    metric: str
    bases: Mapping[str, RunSettings]
    variants: tuple[Variant, ...]
    directions: tuple[Direction, ...]

    def settings(self, sense: str, variant: Variant, seed: int) -> RunSettings:
        """The settings of one run."""
        return self.bases[sense].but(**variant.changes, seed=seed)

    def runs(self, seeds: Iterable[int]) -> list[RunSettings]:
        """All runs, seeds last: an experiment that ends early has whole variants."""
        return [
            self.settings(sense, variant, seed)
            for seed in seeds
            for sense in self.bases
            for variant in self.variants
        ]


@dataclass(frozen=True)
class Grid:
    """All experiments of a file.

    Attributes:
        title: of the report.
        seeds: that each variant is run with.
        experiments: in order.
    """

    title: str
    seeds: tuple[int, ...]
    experiments: tuple[Experiment, ...]

    def runs(self) -> list[RunSettings]:
        """Every distinct run, once: experiments share those of equal settings."""
        runs = [settings for experiment in self.experiments for settings in experiment.runs(self.seeds)]
        return list({settings.key: settings for settings in runs}.values())

    def only(self, names: Collection[str]) -> Grid:
        """The experiments of these names.

        Raises:
            InputError: there is none of that name.
        """
        known_names = [experiment.name for experiment in self.experiments]
        for name in names:
            if name not in known_names:
                raise _unknown("--only", "experiment", name, known_names)
        experiments = tuple(experiment for experiment in self.experiments if experiment.name in names)
        return Grid(self.title, self.seeds, experiments)

    def with_seeds(self, seeds: Sequence[int]) -> Grid:
        """The same experiments with other seeds."""
        return Grid(self.title, tuple(seeds), self.experiments)

    def smoke(self) -> Grid:
        """The same variants at the smallest sizes, which shows that they run, and nothing else."""
        experiments = []
        for experiment in self.experiments:
            bases = {sense: base.but(**_SMOKE) for sense, base in experiment.bases.items()}
            variants = tuple(
                Variant(
                    v.name, {name: _SMOKE.get(name, value) for name, value in v.changes.items()}, v.published
                )
                for v in experiment.variants
            )
            experiments.append(Experiment(**{**vars(experiment), "bases": bases, "variants": variants}))
        return Grid(
            f"{self.title} (smoke: sizes at which no figure means anything)", self.seeds, tuple(experiments)
        )


def read_grid(path: str | Path) -> Grid:
    """The experiments of a TOML file.

    Raises:
        InputError: the file is missing or damaged, a key, sense, variant or setting is unknown, or a value is not
            allowed; says where, and what there is.
    """
    path = Path(path)
    table = read_toml(path, "a TOML file of experiments")
    where = str(path)
    _check_keys(where, table, ("title", "seeds", "base", "experiments"), ("seeds", "base", "experiments"))
    seeds = table["seeds"]
    if not _is_list_of(seeds, int) or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"{where}: seeds", found=repr(seeds), expected="distinct whole numbers of 0 or more")
    bases = _tables(where, "base", table["base"])
    _check_keys(f"{where}: base", bases, SENSES)
    base_settings = {
        sense: _read_settings(f"{where}: base.{sense}", values) | {"sense": sense}
        for sense, values in bases.items()
    }
    entries = table["experiments"]
    if not _is_list_of(entries, dict):
        raise InputError(
            f"{where}: experiments", found=repr(entries)[:80], expected="tables, [[experiments]]"
        )
    experiments = tuple(_experiment(where, entry, base_settings) for entry in entries)
    names = [experiment.name for experiment in experiments]
    if len(set(names)) < len(names):
        raise InputError(
            f"{where}: experiments", found=f"a name twice in {', '.join(names)}", expected="each name once"
        )
    return Grid(str(table.get("title", path.stem)), tuple(seeds), experiments)


def _experiment(where: str, entry: dict[str, Any], shared: Mapping[str, dict[str, Any]]) -> Experiment:
    where = f"{where}: experiment {entry.get('name', '?')!r}"
    _check_keys(where, entry, _EXPERIMENT_KEYS, ("name", "title", "senses", "variants"))
    for name in ("name", "title", "axis", "source", "notes", "metric"):
        if not isinstance(entry.get(name, ""), str):
            raise InputError(f"{where}: {name}", found=repr(entry[name]), expected="text")
    if not entry["name"].replace("-", "").replace("_", "").isalnum() or not entry["name"].isascii():
        raise InputError(f"{where}: name", found=repr(entry["name"]), expected="letters, digits, '-' and '_'")
    metric = entry.get("metric", "accuracy")
    if metric not in METRICS:
        raise _unknown(where, "metric", metric, METRICS)
    senses = entry["senses"]
    if not _is_list_of(senses, str):
        raise InputError(f"{where}: senses", found=repr(senses), expected=f"a list of {', '.join(shared)}")
    for sense in senses:
        if sense not in shared:
            raise _unknown(where, "sense", sense, shared)
    changes = _tables(where, "base", entry.get("base", {}))
    _check_keys(f"{where}: base", changes, senses)
    bases = {
        sense: RunSettings.from_mapping(
            shared[sense] | _read_settings(f"{where}: base.{sense}", changes.get(sense, {})),
            f"{where}: {sense}",
        )
        for sense in senses
    }
    variants = _variants(where, entry["variants"], senses)
    for sense in senses:
        for variant in variants:
            try:
                bases[sense].but(**variant.changes)
            except InputError as error:
                raise InputError(
                    f"{where}: variant {variant.name!r} of {sense}: {error.source}",
                    found=error.found,
                    expected=error.expected,
                ) from None
    directions = _directions(
        where, entry.get("directions", []), senses, [variant.name for variant in variants]
    )
    title, axis = entry["title"], entry.get("axis", entry["name"])
    texts = (entry["name"], title, axis, entry.get("source", ""), entry.get("notes", "").strip())
    return Experiment(*texts, metric, bases, variants, directions)


def _variants(where: str, entries: object, senses: Sequence[str]) -> tuple[Variant, ...]:
    if not isinstance(entries, list) or not _is_list_of(entries, dict) or len(entries) < 2:
        raise InputError(f"{where}: variants", found=repr(entries)[:80], expected="two tables or more")
    variants = []
    for number, entry in enumerate(entries, start=1):
        here = f"{where}: variant {entry.get('name', number)!r}"
        _check_keys(here, entry, _VARIANT_KEYS, ("name", "set"))
        if not isinstance(entry["set"], dict):
            raise InputError(f"{here}: set", found=repr(entry["set"]), expected="a table of settings")
        changes = _read_settings(here, entry["set"])
        for reserved in ("seed", "sense"):
            if reserved in changes:
                raise InputError(f"{here}: set", found=repr(reserved), expected="a setting that a recipe has")
        published = entry.get("published", {})
        is_figures = isinstance(published, dict) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in published.values()
        )
        if not is_figures:
            raise InputError(f"{here}: published", found=repr(published), expected="a number a sense")
        _check_keys(f"{here}: published", published, senses)
        variants.append(
            Variant(str(entry["name"]), changes, {name: float(v) for name, v in published.items()})
        )
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        raise InputError(
            f"{where}: variants", found=f"a name twice in {', '.join(names)}", expected="each name once"
        )
    return tuple(variants)


def _directions(
    where: str, entries: object, senses: Sequence[str], names: Sequence[str]
) -> tuple[Direction, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            f"{where}: directions", found=repr(entries)[:80], expected="tables, [[...directions]]"
        )
    directions = []
    for entry in entries:
        _check_keys(f"{where}: directions", entry, _DIRECTION_KEYS, _DIRECTION_KEYS)
        if entry["sense"] not in senses:
            raise _unknown(f"{where}: directions", "sense", entry["sense"], senses)
        for end in ("higher", "lower"):
            if entry[end] not in names:
                raise _unknown(f"{where}: directions: {end}", "variant", entry[end], names)
        if entry["higher"] == entry["lower"]:
            raise InputError(f"{where}: directions", found=repr(entry), expected="two variants")
        directions.append(Direction(entry["sense"], entry["higher"], entry["lower"]))
    return tuple(directions)


def _read_settings(where: str, values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise InputError(where, found=repr(values)[:80], expected="a table of settings")
    for name in values:
        if name not in KEYS:
            raise _unknown(where, "setting", name, KEYS)
    return check_values(values, where)


def _tables(where: str, name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: {name}", found=repr(value)[:80], expected="a table a sense")
    return value


def _check_keys(
    where: str, table: Mapping[str, Any], allowed: Collection[str], required: Collection[str] = ()
) -> None:
    for name in table:
        if name not in allowed:
            raise _unknown(where, "key", name, allowed)
    for name in required:
        if name not in table:
            raise InputError(where, found=f"no key {name!r}", expected=f"the keys {', '.join(required)}")


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is kind for item in value)


def _unknown(where: str, what: str, name: object, names: Collection[str]) -> InputError:
    close = get_close_matches(str(name), names, 1)
    return InputError(
        where,
        found=f"an unknown {what} {name!r}",
        expected=f"one of {', '.join(names)}",
        remedy=f"Did you mean {close[0]!r}?" if close else "",
    )
