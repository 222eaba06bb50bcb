"""The picture of a run: loss and held-out figures over its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path


def draw_curve(
    file: Path, losses: Sequence[float], steps: int, validations: Sequence[Mapping[str, float]], title: str
) -> bool:
    """Draw the training loss of each epoch, and loss and recall of each validation.

    Args:
        file: PNG to write.
        losses: of the epochs.
        steps: of the run.
        validations: figures, each with its ``step``.
        title: of the picture.

    Returns:
        Whether it was drawn; False where matplotlib is absent.
    """
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(
        [steps * (index + 1) / len(losses) for index in range(len(losses))], losses, label="training loss"
    )
    at = [int(values["step"]) for values in validations]
    if validations:
        axes.plot(at, [values["loss"] for values in validations], label="held-out loss")
    axes.set(xlabel="step", ylabel="loss", title=title)
    if any("recall@1" in values for values in validations):
        right = axes.twinx()
        right.plot(
            at, [values["recall@1"] for values in validations], color="tab:green", label="held-out recall@1"
        )
        right.set(ylabel="recall@1", ylim=(0, 1))
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(file, dpi=120)
    return True
