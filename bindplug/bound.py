"""A tower that was bound to another model's space, as a directory: the new sense, and the anchor for the rest.

model = bindplug.load("my-ear")                             # sounds by the new tower, pictures and text by the anchor
model = bindplug.load("my-ear", modalities={"audio"})       # the tower alone; the anchor's library is not needed
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bindplug.array_tower import ArrayTower
from bindplug.directories import Manifest, damage_named, verified, write_tensors
from bindplug.encoder import Encoder
from bindplug.errors import (
    BindplugError,
    CheckpointError,
    InputError,
    ModalityNotLoaded,
    NoTrainedScale,
    SpaceMismatch,
)
from bindplug.fingerprint import Fingerprint, same_fingerprints
from bindplug.imagebind import ImageBind, load_directory, save_directory
from bindplug.imagebind.checkpoint_files import open_safetensors
from bindplug.inputs import describe_source
from bindplug.inputs.arrayfiles import read_arrays
from bindplug.inputs.base import ModelInput, Preprocess
from bindplug.inputs.notes import outer_level
from bindplug.inputs.source import is_file_like
from bindplug.modality import Modality
from bindplug.query import Query, embedding
from bindplug.space import EmbeddingSpace

__all__ = ["BOUND", "ArrayTower", "BoundEncoder", "is_bound", "load_bound", "write_bound"]

BOUND = Manifest(
    "bindplug-bound",
    version=1,
    holds="bound tower",
    fields={"sense": str, "embedding_space": dict, "anchor": dict, "tower": dict},
)
"""``config.json`` of a bound tower's directory."""

TOWER = "tower"
"""Sub-directory with an ImageBind tower, or stem of the file with any other."""

Load = Callable[..., Encoder]


class BoundEncoder(nn.Module, Encoder):
    """A bound tower for its sense, and the anchor for everything else.

    The anchor is loaded when it is first needed, and must be the one that the tower was bound to.

    Args:
        sense: that the tower embeds: a modality's name, or a name of one's own.
        tower: an :class:`ImageBind` with the tower of the sense; for a sense of one's own any network from (B, ...)
            to (B, D).
        space: of the anchor, with its fingerprint.
        modalities: names to offer, without a sense of one's own.
        load_anchor: loads the anchor, with these modalities.
        scale: factor on cosines of the sense, at which it was trained.
        similarity_scale: factor that was fitted on held-out pairs; None without.
        fingerprint: of the anchor's weights.

    Attributes:
        sense: as given.
        tower: as given.
        card: what is known of the run: recipe, data, losses, figures.
    """

    def __init__(
        self,
        sense: str,
        tower: nn.Module,
        space: EmbeddingSpace,
        *,
        modalities: Sequence[str],
        load_anchor: Callable[[], Encoder],
        scale: float,
        similarity_scale: float | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> None:
        super().__init__()
        self.sense, self.tower, self.embedding_space = sense, tower, space
        self.modalities = tuple(modalities)
        self.fingerprint = fingerprint
        self.card: Mapping[str, Any] = {}
        self._scale, self._fitted_scale = scale, similarity_scale
        self._load_anchor = load_anchor
        self._anchor: Encoder | None = None
        self.anchor_network: nn.Module | None = None
        self.similarity_scales = {} if similarity_scale is None else {sense: similarity_scale}
        self.preprocess = _Readers(self)
        self.eval()

    @property
    def is_own_sense(self) -> bool:
        """Whether the sense is none of bindplug's modalities."""
        return self.sense not in {modality.value for modality in Modality}

    @property
    def anchor(self) -> Encoder:
        """The model that embeds the other modalities; loaded on first use.

        Raises:
            SpaceMismatch: what its id stands for now is not what the tower was bound to.
            ModalityNotLoaded: this model was loaded with the sense alone.
        """
        if self._anchor is None:
            if not set(self.modalities) - {self.sense}:
                raise ModalityNotLoaded("the anchor", self.modalities)
            anchor = self._load_anchor()
            if isinstance(anchor, nn.Module):
                anchor.to(self.device)
                self.anchor_network = anchor.eval()
            self._anchor = anchor
        return self._anchor

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the tower's weights are."""
        return next(self.tower.parameters()).device

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """Of the tower's weights."""
        return next((p.dtype for p in self.tower.parameters() if p.is_floating_point()), torch.float32)

    def tokenizer(self, texts: str | Sequence[str]) -> Any:
        """The anchor's tokenizer.

        Raises:
            ModalityNotLoaded: this model was loaded without text.
        """
        if "text" not in self.modalities:
            raise ModalityNotLoaded("text", self.modalities)
        return self.anchor.tokenizer(texts)

    def encode(self, modality: str, x: ModelInput, normalize: bool = False) -> Tensor:
        """Embed a batch of preprocessed input, by the tower or by the anchor.

        Returns:
            (B, D) rows; of unit length if ``normalize``.

        Raises:
            ModalityNotLoaded: neither embeds the modality, or this model was loaded without it.
        """
        if modality == self.sense:
            if isinstance(self.tower, ImageBind):
                assert isinstance(x, Tensor)
                return self.tower.encode(modality, x, normalize)
            rows: Tensor = self.tower(x)
            return nn.functional.normalize(rows, dim=-1) if normalize else rows
        if modality not in self.modalities:
            raise ModalityNotLoaded(modality, self.modalities)
        return self.anchor.encode(modality, _moved(x, self.anchor), normalize).to(self.device)

    def unknown_tokens(self, ids: Any) -> frozenset[int]:
        """Those of the token ids that carry no meaning to the anchor."""
        return self.anchor.unknown_tokens(ids)

    def scale_of(self, modality: str) -> float:
        """The factor on cosines that the sense was trained with; of other modalities the anchor's."""
        return self._scale if modality == self.sense else self.anchor.scale_of(modality)

    def _similarity_scale(self, modality: str) -> float:
        if modality != self.sense:
            return self.anchor._similarity_scale(modality)
        if self._fitted_scale is None:
            warnings.warn(
                f"no scale was fitted on held-out pairs of {modality}; probabilities use the one of training",
                NoTrainedScale,
                stacklevel=outer_level(),
            )
        return self._scale if self._fitted_scale is None else self._fitted_scale

    @torch.inference_mode()
    def sense_queries(self, sources: Sequence[object], *, batch_size: int = 32) -> list[Query]:
        """Queries for samples of a sense of one's own, to be compared with any others.

        Args:
            sources: ``.npy`` files, arrays or tensors, each of the shape that the tower takes.
            batch_size: samples in one pass.

        Raises:
            InputError: a source cannot be read, or holds NaN; or the sense is one of bindplug's, which has a
                query of its own.
        """
        if not self.is_own_sense:
            problem = f"the sense {self.sense}"
            raise InputError("sense_queries()", found=problem, expected=f"bindplug.{self.sense}(source)")
        samples = [read_array(source) for source in sources]
        queries: list[Query] = []
        for start in range(0, len(samples), batch_size):
            batch = torch.stack(samples[start : start + batch_size]).to(self.device, self.dtype)
            rows = self.encode(self.sense, batch, normalize=True).float().cpu()
            queries += [embedding(row, self.embedding_space) for row in rows]
        return queries


class _Readers(Mapping[str, Any]):
    """Readers by modality, the anchor's being asked for when they are used."""

    def __init__(self, owner: BoundEncoder) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Preprocess:
        owner = self._owner
        if name not in owner.modalities:
            raise KeyError(name)
        if name == owner.sense:
            assert isinstance(owner.tower, ImageBind)
            return owner.tower.preprocess[name]
        return owner.anchor.preprocess[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._owner.modalities)

    def __len__(self) -> int:
        return len(self._owner.modalities)


def read_array(source: object) -> Tensor:
    """The sample of a sense of one's own: float32, finite.

    Raises:
        InputError: it is no array of numbers.
    """
    name = describe_source(source)
    if is_file_like(source):
        arrays = read_arrays(source, "an array in an .npy file")
        if len(arrays) != 1:
            raise InputError(name, found=f"arrays {', '.join(arrays)}", expected="one array")
        source = next(iter(arrays.values()))
    if not isinstance(source, (np.ndarray, Tensor)):
        raise InputError(name, found=f"a {type(source).__name__}", expected="an array or an .npy file")
    try:
        sample = torch.as_tensor(source).detach().cpu().to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(name, found=f"no numbers ({error})", expected="an array of numbers") from None
    if not sample.numel() or not bool(sample.isfinite().all()):
        problem = "NaN or infinity" if sample.numel() else "an empty array"
        raise InputError(name, found=problem, expected="finite numbers")
    return sample


def write_bound(
    directory: Path,
    *,
    sense: str,
    tower: nn.Module,
    anchor: Encoder,
    anchor_id: str,
    scale: float,
    anchor_modalities: Sequence[str] = (),
    similarity_scale: float | None = None,
    license: str = "",
    source: str = "bindplug bind",
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a bound tower's files and manifest into a directory that is there, such as a staged one.

    Args:
        directory: to write into.
        sense: that the tower embeds.
        tower: an :class:`ImageBind` with that tower, an :class:`ArrayTower`, or any network of a sense of one's own, of
            which only the weights are written.
        anchor: that it was bound to.
        anchor_id: by which :func:`bindplug.load` finds the anchor; a directory's path is kept absolute.
        scale: factor on cosines of training.
        anchor_modalities: what the anchor embeds when it is loaded whole; by default what ``anchor`` was loaded with.
        similarity_scale: fitted on held-out pairs.
        license: of the tower's weights.
        source: what made them.
        extra: further JSON-ready fields of the manifest.
    """
    fingerprint = anchor.fingerprint
    if isinstance(tower, ImageBind):
        save_directory(tower, directory / TOWER, license=license, source=source)
        entry: dict[str, Any] = {"kind": "imagebind", "directory": TOWER}
    else:
        state = {name: value.detach().cpu().contiguous() for name, value in tower.state_dict().items()}
        entry = (
            {"kind": "array", "config": tower.to_dict()} if isinstance(tower, ArrayTower) else {"kind": "own"}
        )
        entry |= {"weights": write_tensors(state, directory / f"{TOWER}.safetensors")}
    manifest = {
        "sense": sense,
        "embedding_space": asdict(anchor.embedding_space),
        "anchor": {
            "id": absolute_id(anchor_id),
            "modalities": list(anchor_modalities or anchor.modalities),
            "fingerprint": None if fingerprint is None else str(fingerprint),
        },
        "tower": entry,
        "scale": scale,
        "similarity_scale": similarity_scale,
        "license": license,
        "source": source,
        **(extra or {}),
    }
    BOUND.write(directory, manifest)


def absolute_id(model: str) -> str:
    """A model's id that still holds from another working directory: paths become absolute."""
    for prefix, place in _splits(model):
        looks_like_path = place.startswith((".", "~")) or os.sep in place
        if looks_like_path and Path(place).expanduser().exists():
            return prefix + str(Path(place).expanduser().absolute())
    return model


def _splits(model: str) -> list[tuple[str, str]]:
    """What may stand before a path in an id, and the path: none, a scheme, or a scheme and an architecture."""
    ends = [0, *(place + 1 for place, character in enumerate(model) if character == ":")]
    return [(model[:end], model[end:]) for end in ends]


def is_bound(directory: Path) -> bool:
    """Whether a directory holds a bound tower; False for any other, damaged ones included."""
    try:
        BOUND.read(directory)
    except BindplugError as error:
        return isinstance(error, CheckpointError) and "format version" in str(error)
    return True


def load_bound(
    directory: str | Path,
    modalities: Collection[str] | None = None,
    *,
    load: Load,
    tower: nn.Module | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> BoundEncoder:
    """The encoder of a bound tower's directory.

    Args:
        directory: what ``bindplug bind`` wrote.
        modalities: those to offer; all of the anchor's and the sense for None.
        load: loads the anchor, as :func:`bindplug.load` does.
        tower: the network of a sense of one's own that was built by the user's code, which is never run from a
            directory; its weights are replaced by the stored ones.
        device: where the tower goes, and the anchor once it is needed.
        dtype: of the weights.

    Raises:
        CheckpointError: the directory is damaged, or holds a tower whose code is not known and ``tower`` is None.
        InputError: ``modalities`` names one that neither the tower nor the anchor embeds.
    """
    path = Path(directory)
    manifest = BOUND.read(path)
    with damage_named(path / BOUND.file):
        sense, anchor = manifest["sense"], manifest["anchor"]
        space = EmbeddingSpace.from_dict(manifest["embedding_space"])
        scale: Any = manifest.get("scale")
        fitted: Any = manifest.get("similarity_scale")
        if not _is_scale(scale) or not (fitted is None or _is_scale(fitted)):
            raise ValueError(f"scale {scale!r} and similarity_scale {fitted!r}")
        if not isinstance(anchor.get("id"), str) or not isinstance(anchor.get("modalities"), list):
            raise ValueError("the anchor has no id or no modalities")
        text = anchor.get("fingerprint")
        fingerprint = Fingerprint.parse(text) if isinstance(text, str) else None
        known = {modality.value for modality in Modality}
        available = {name for name in anchor["modalities"] if name in known} | ({sense} & known)
    names = available if modalities is None else {Modality.parse(name).value for name in modalities}
    if names - available:
        raise InputError(
            f"load({str(path)!r})",
            found=f"modalities {sorted(names - available)}",
            expected=f"some of {sorted(available)}",
        )
    network = _read_tower(path, manifest, sense, tower, device, dtype)

    def load_anchor() -> Encoder:
        others = names - {sense} or None
        loaded = load(_anchor_id(path, anchor["id"]), modalities=others, device=device, dtype=dtype)
        _ensure_same(loaded, space, text if isinstance(text, str) else None, path, anchor["id"])
        return loaded

    return BoundEncoder(
        sense,
        network,
        space,
        modalities=[modality.value for modality in Modality if modality.value in names],
        load_anchor=load_anchor,
        scale=float(scale),
        similarity_scale=None if fitted is None else float(fitted),
        fingerprint=fingerprint,
    )


def _is_scale(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def _anchor_id(path: Path, anchor: str) -> str:
    """The anchor's id; that of a directory that moved together with the tower's."""
    for prefix, place in _splits(anchor):
        beside = path.absolute().parent / Path(place).name
        if Path(place).is_absolute() and not Path(place).exists() and beside.exists():
            return f"{prefix}{beside}"
    return anchor


def _ensure_same(
    anchor: Encoder, space: EmbeddingSpace, fingerprint: str | None, path: Path, anchor_id: str
) -> None:
    doing = f"{path}, which was bound to {anchor_id},"
    same = anchor.embedding_space
    if (space.name, space.width) != (same.name, same.width) and anchor.fingerprint is None:
        space.ensure(same, doing=doing)
    if space.width != same.width:
        space.ensure(same, doing=doing)
    if fingerprint is None or anchor.fingerprint is None:
        if not space.matches(same):
            space.ensure(same, doing=doing)
        return
    if not same_fingerprints(fingerprint, str(anchor.fingerprint)):
        raise SpaceMismatch(
            f"{doing} needs the weights {fingerprint[:8]}, but {anchor_id} now has {str(anchor.fingerprint)[:8]}: rows "
            f"of the two cannot be compared. Restore that version of the anchor, or bind again; "
            f"load({str(path)!r}, modalities=...) with the sense alone still embeds"
        )


def _read_tower(
    path: Path,
    manifest: Mapping[str, Any],
    sense: str,
    tower: nn.Module | None,
    device: str | torch.device,
    dtype: torch.dtype | None,
) -> nn.Module:
    entry = manifest["tower"]
    if entry.get("kind") == "imagebind":
        return load_directory(path / TOWER, {sense}, device=device, dtype=dtype).eval()
    file = verified(path / f"{TOWER}.safetensors", entry.get("weights"), what="the tower")
    state = open_safetensors(file)
    network: nn.Module
    with damage_named(path):
        if entry.get("kind") == "array":
            network = ArrayTower.from_dict(entry["config"])
        elif tower is not None:
            network = tower
        else:
            raise CheckpointError(
                f"{path} holds the weights of a tower that was built by your own code, which is never run from a "
                f"directory. Build it, then: bindplug.bound.load_bound({str(path)!r}, load=bindplug.load, tower=...)"
            )
        network.load_state_dict(state)
    return network.to(device, dtype).eval()


def _moved(x: ModelInput, model: Encoder) -> Any:
    if isinstance(x, Tensor):
        return x.to(model.device, model.dtype) if x.is_floating_point() else x.to(model.device)
    return {name: _moved(part, model) for name, part in x.items()}
