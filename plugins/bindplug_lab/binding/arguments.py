"""What the options of ``bindplug bind`` stand for, and which contradict each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import ModelChoice, check_option_values, check_windows, parse_reader_options

if TYPE_CHECKING:
    from bindplug_lab.binding.machine import Machine
    from bindplug_lab.binding.settings import BindSettings


def settings_of(options: dict[str, Any]) -> BindSettings:
    """The settings that options of the command stand for.

    Raises:
        click.UsageError: options contradict each other.
    """
    from bindplug.bound import is_bound
    from bindplug.training import anchor_of, is_own_sense
    from bindplug_lab.binding.settings import BindSettings

    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):  # which ranges let through
            raise click.BadParameter(f"{value} is no number", param_hint=f"--{name.replace('_', '-')}")
    check_windows(options["windows"], options["hop"])
    init = options["init"] or ""
    anchor = options["anchor"] or (anchor_of(init) if init else "")
    if not anchor:
        raise click.UsageError(
            "say what to bind to: --anchor ID, or --init ID to go on with a model's own tower"
        )
    shape = {name: options[name] for name in ("width", "blocks", "heads") if options[name] is not None}
    sense = options["sense"].lower()
    has_own_code = options["tower"] not in (None, "small", "base")
    if init and (shape or (options["tower"] and not (has_own_code and is_bound(Path(init).expanduser())))):
        raise click.UsageError(
            "--init brings the tower's shape with it; leave out --tower, --width, --blocks, --heads"
        )
    if init and is_own_sense(sense) and not Path(init).expanduser().is_dir():
        raise click.UsageError(
            f"{init} has no tower for {sense}; leave out --init, or give a directory that was bound for {sense}"
        )
    if has_own_code and shape:
        raise click.UsageError("your own tower has its own shape; leave out --width, --blocks and --heads")
    reader = parse_reader_options(options["reader"])
    strangers = sorted(set(reader) - {sense})
    if strangers:
        raise click.BadParameter(
            f"options of {', '.join(strangers)} while the sense is {sense}", param_hint="-O"
        )
    check_option_values(reader)
    names = {"epochs": "epochs", "batch": "batch_size", "lr": "learning_rate", "weight_decay": "weight_decay"}
    names |= {"temperature": "temperature", "head": "head", "drop_path": "drop_path"}
    changes = {field: options[name] for name, field in names.items() if options[name] is not None}
    if is_own_sense(sense) and {"head", "drop_path"} & set(changes):
        raise click.UsageError("--head and --drop-path are of ImageBind's towers; build them into your own")
    lora = _lora(options, init)
    return BindSettings(
        pairs=options["pairs"],
        sense=sense,
        output=Path(options["output"]).expanduser(),
        anchor=anchor,
        init=init,
        format=options["format"],
        columns=_columns(options["column"]),
        split=options["split"],
        reader=reader.get(sense, {}),
        windows_s=options["windows"],
        hop_s=options["hop"],
        tower=options["tower"],
        shape=shape,
        recipe=options["recipe"],
        changes={**changes, "learn_temperature": options["learn_temperature"], "seed": options["seed"]},
        augment=options["augment"],
        validation=options["validation"],
        patience=options["patience"],
        lora=lora,
        merge=options["merge"],
    )


def _lora(options: dict[str, Any], init: str) -> dict[str, Any] | None:
    """The fields of the LoRA recipe that are stated; None without ``--lora``."""
    from bindplug.training import LoraRecipe

    if options["lora"] is None:
        flags = {"lora_alpha": "--lora-alpha", "lora_targets": "--lora-targets", "dora": "--dora"}
        stray = [flag for name, flag in (flags | {"merge": "--merge"}).items() if options[name]]
        if stray:
            raise click.UsageError(f"{', '.join(stray)} needs --lora RANK")
        return None
    if not init:
        raise click.UsageError("--lora adapts a trained tower: say which model's with --init ID")
    if options["head"] is not None:
        raise click.UsageError(
            "--head builds a new projection, which --lora does not train; leave out one of them"
        )
    fields: dict[str, Any] = {"rank": options["lora"], "seed": options["seed"]}
    if options["lora_alpha"] is not None:
        fields["alpha"] = options["lora_alpha"]
    if options["dora"]:
        fields["dora"] = True
    if options["lora_targets"] is not None:
        fields["targets"] = [name.strip() for name in options["lora_targets"].split(",")]
    LoraRecipe(**fields)  # raises where a value is out of its range
    return fields


def _columns(assignments: Sequence[str]) -> dict[str, str]:
    columns = {}
    for assignment in assignments:
        role, equals, name = assignment.partition("=")
        if not (equals and role and name):
            raise click.BadParameter(
                f"{assignment!r} is not ROLE=NAME, as image=photo", param_hint="--column"
            )
        columns[role.lower()] = name
    return columns


def machine_of(options: dict[str, Any], choice: ModelChoice) -> Machine:
    from bindplug_lab.binding.machine import Machine, process_device

    return Machine(
        device=process_device(choice.torch_device, options["device"]),
        workers=options["workers"],
        precision=options["precision"],
        accumulation=options["accumulate"],
        gradient_checkpointing=options["gradient_checkpointing"],
        cache_bytes=int(options["cache_gb"] * 2**30),
        checkpoint_steps=options["checkpoint_every"],
        resume=options["resume"],
        overwrite=options["overwrite"],
        keep_run=options["keep_run"],
        trackers=tuple(options["tracker"]),
        strict=options["strict"],
        quiet=True if options["quiet"] else None,
    )
