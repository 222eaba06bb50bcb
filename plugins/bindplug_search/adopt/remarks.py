"""What a person should know of rows that were identified: how they are stored, and what was done to them."""

from __future__ import annotations

from bindplug_search.adopt.survey import Survey
from bindplug_search.adopt.trials import Trial


def remarks_on(trial: Trial, survey: Survey, sampled: int, codec: str = "") -> list[str]:
    """Remarks on rows, one sentence each.

    Args:
        trial: of the encoder that they are compared with.
        survey: of all rows.
        sampled: items that the encoder embedded.
        codec: name of a lossy index that the rows are reconstructed from.
    """
    lossy = [f"the rows are reconstructed from a lossy index ({codec})"]
    remarks = [*(lossy if codec else _storage_remarks(trial, survey)), *_transform_remarks(trial)]
    if trial.squashed:
        remarks.append(
            "the rows are of whole pictures, squashed to a square; this encoder crops them by default"
        )
    unusable = len(survey.usable) - int(survey.usable.sum())
    if unusable:
        reasons = f"{survey.missing} null, {survey.not_finite} with NaN or infinity, {survey.zero} of zeros"
        remarks.append(f"{unusable} rows have no direction and are left out: {reasons}")
    if survey.identical:
        remarks.append(f"{survey.identical} rows equal an earlier row exactly")
    alike = sampled - trial.agreement.items
    if alike > 0 and not trial.fitted_items:
        remarks.append(f"{alike} of the sampled items are near-duplicates of others and were not counted")
    return remarks


def _storage_remarks(trial: Trial, survey: Survey) -> list[str]:
    kind = trial.number_format.name
    remarks = [] if kind == "float" else [f"the rows are quantized: {trial.number_format}"]
    if kind not in ("float", "float16"):
        return remarks
    if survey.lengths == "scaled":
        remarks.append(f"the rows are scaled: all have length {survey.length:.4g}")
    if survey.lengths == "unnormalized":
        spread = f"{survey.length_spread:.0%}"
        remarks.append(f"the rows are unnormalized: median length {survey.length:.4g}, spread {spread}")
    return remarks


def _transform_remarks(trial: Trial) -> list[str]:
    kind, tensors = trial.transform.kind, trial.transform.tensors
    fitted = f"fitted on {trial.fitted_items} items, after half of them had predicted the other half"
    if kind == "truncated":
        return [
            f"the rows are truncated: the first {len(tensors['columns'])} of {trial.space.width} dimensions"
        ]
    if kind == "padded":
        return [f"the rows are padded with zeros from {trial.space.width} dimensions"]
    if kind == "selected":
        columns, flipped = tensors["columns"], int((tensors["signs"] < 0).sum())
        signs = f", {flipped} of them with the sign changed" if flipped else ""
        return [f"the dimensions are permuted: {len(columns)} of {trial.space.width} in another order{signs}"]
    if kind == "stretched":
        return [f"every dimension has a scale and an offset of its own ({fitted})"]
    if kind == "rotated":
        return [f"the rows are rotated by a fixed orthogonal matrix ({fitted})"]
    return []
