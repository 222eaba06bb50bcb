"""The card of a bound tower: what is known of it, as JSON and as text."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bindplug.cards import allows_commercial_use
from bindplug.training import PairProblem
from bindplug_lab.binding.figures import CHANCE_NOTE

SKIPPED_CSV, SKIPPED_JSON = "skipped.csv", "skipped.json"


def license_note(license: str, anchor: str) -> str:
    """What the anchor's license implies for a tower that learned from its rows."""
    if not license:
        return (
            f"The license of {anchor} is not known here: read it before you pass the tower on, since the tower was "
            f"trained on what {anchor} computes."
        )
    allowed = allows_commercial_use(license)
    if allowed:
        return f"{anchor} is {license}, which allows commercial use; check your own pairs' terms too."
    if allowed is False:
        return (
            f"{anchor} is {license}: no commercial use. The tower was trained on what it computes and is meant to be "
            f"used with it; treat the tower as under the same terms."
        )
    return f"{anchor} is {license}; read its terms before you pass the tower on, since the tower was trained by it."


def write_skipped(directory: Path, problems: Sequence[PairProblem]) -> None:
    """Write all unpaired and unreadable items as CSV and JSON; nothing without any."""
    if not problems:
        return
    with (directory / SKIPPED_CSV).open(
        "w", encoding="utf-8", errors="backslashreplace", newline=""
    ) as stream:
        writer = csv.writer(stream)
        writer.writerow(["source", "kind", "reason"])
        writer.writerows([problem.source, problem.kind, problem.reason] for problem in problems)
    text = json.dumps([asdict(problem) for problem in problems], indent=1)
    (directory / SKIPPED_JSON).write_text(text + "\n", encoding="utf-8")


def environment() -> dict[str, str]:
    """Versions that figures depend on."""
    return {"bindplug": version("bindplug"), "torch": torch.__version__, "python": platform.python_version()}


def write_card(directory: Path, card: Mapping[str, Any], *, has_curve: bool) -> None:
    """Write ``card.json`` and ``README.md``."""
    text = json.dumps(card, indent=2, ensure_ascii=False, default=str)
    (directory / "card.json").write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    (directory / "README.md").write_text(
        _readme(card, has_curve), encoding="utf-8", errors="backslashreplace"
    )


def _readme(card: Mapping[str, Any], has_curve: bool) -> str:
    sense, anchor, data, training = card["sense"], card["anchor"], card["data"], card["training"]
    name = card["name"]
    lines = [
        f"# {name}",
        "",
        f"A tower for {sense}, bound to the space of `{anchor['id']}` on {data['trained']} pairs of a picture and "
        f"{sense}. Text was never paired with it.",
        "",
        "```python",
        "import bindplug",
        "",
        f'model = bindplug.load("{name}")',
        *_use(sense),
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| anchor | `{anchor['id']}`, weights {anchor['fingerprint_digest'] or 'unknown'} |",
        f"| tower | {card['tower']} |",
        f"| recipe | {card['recipe_name']} |",
        f"| pairs | {data['listed']} listed, {data['trained']} trained on, {data['held_out']} held out, "
        f"{data['unpaired']} unpaired, {data['bad']} unreadable |",
        f"| training | {training['steps']} steps in {training['seconds']:.0f} s on {training['device']}, "
        f"seed {card['recipe']['seed']}; loss {training['losses'][0]:.3f} to {training['losses'][-1]:.3f} |",
    ]
    if card["base"]:
        lines.insert(
            -3, f"| base | `{card['base']}`, which these adapters are nothing without: keep it where it is |"
        )
    if card["held_out"] is not None:
        lines.append(
            f"| similarity scale | {card['held_out']['similarity_scale']:.2f}, fitted on the held-out pairs |"
        )
    if card["settings"]["reader"]:
        options = ", ".join(f"{name}={value!r}" for name, value in card["settings"]["reader"].items())
        lines += ["", f"Samples were read with {options}; read new ones with the same options."]
    lines += ["", "## Held-out retrieval", ""]
    lines += _figures(card["held_out"], sense, training["is_selected"])
    if card["held_out"] is not None and card["settings"]["windows_s"]:
        lines += ["", "Windows of one recording resemble each other, so the intervals are too narrow."]
    if has_curve:
        lines += ["", "![loss and held-out figures](curve.png)"]
    lines += ["", "## License", "", card["license_note"]]
    skipped = data["unpaired"] + data["bad"]
    if skipped:
        lines += ["", f"The {skipped} items that were left out are listed in `{SKIPPED_CSV}`."]
    if card["notes"]:
        lines += ["", "## Remarks", "", *(f"- {note}" for note in card["notes"])]
    return "\n".join(lines) + "\n"


def _use(sense: str) -> list[str]:
    if sense in ("audio", "depth", "thermal", "imu"):
        return [
            f'bindplug.classify(model, [bindplug.{sense}("file")], ["one class", "another"])',
            f'bindplug.load(..., modalities={{"{sense}"}})  # the tower alone, without the anchor\'s library',
        ]
    return ['bindplug.classify(model, model.sense_queries(["sample.npy"]), ["one class", "another"])']


def _figures(figures: Mapping[str, Any] | None, sense: str, is_selected: bool) -> list[str]:
    if figures is None:
        return ["No pairs were held out, so nothing is known of how well it works."]
    lines = [
        f"Of {figures['pairs']} held-out pairs, with 95 % intervals:",
        "",
        "| | recall | interval | chance |",
    ]
    lines.append("|---|---|---|---|")
    for title, key in (
        (f"{sense} to picture", "sample_to_picture"),
        (f"picture to {sense}", "picture_to_sample"),
    ):
        lines += [
            f"| {title}, R@{recall['k']} | {recall['share']:.1%} | {recall['low']:.1%} to {recall['high']:.1%} | "
            f"{recall['chance']:.1%} |"
            for recall in figures[key]
        ]
    if figures["is_chance"]:
        lines += ["", f"**Note:** {CHANCE_NOTE}."]
    if is_selected:
        lines += [
            "",
            "The same pairs decided which step's weights were kept, so the figures are a little too good.",
        ]
    return lines
