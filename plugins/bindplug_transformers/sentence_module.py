"""ImageBind as a module of sentence-transformers: ``SentenceTransformer(modules=[ImageBindModule(model)])``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from bindplug.errors import InputError, MissingDependency, ModalityNotLoaded, NoDirection
from bindplug.modality import Modality
from bindplug.query import CANCELLED, AnyLeaf, Leaf, Query, VectorLeaf
from bindplug_transformers.modeling import ImageBindModel
from bindplug_transformers.tokenization import ImageBindTokenizer

try:
    from sentence_transformers.base.modality import infer_modality
    from sentence_transformers.base.modules import InputModule
except ImportError as error:
    raise MissingDependency(
        "bindplug_transformers.ImageBindModule",
        "sentence-transformers",
        "",
        "absent"
        if isinstance(error, ModuleNotFoundError) and error.name == "sentence_transformers"
        else str(error),
    ) from error

PREFIX = "bindplug"
WEIGHTS = f"{PREFIX}.weights"
SHORTEST = 1e-6
"""A weighted sum of unit rows shorter than this, relative to its weights, is noise and no direction."""


class ImageBindModule(InputModule):
    """The first and only module a ``SentenceTransformer`` needs: reads inputs and embeds them.

    Inputs are what sentence-transformers defines: texts, images, sounds (``{"array", "sampling_rate"}`` or a
    path), videos (``{"array", "video_metadata"}`` or a path), dicts ``{"image": ..., "text": ...}``, whose parts'
    unit embeddings are summed; and bindplug queries, which bring depth, thermal and motion and arithmetic:
    ``model.encode([bindplug.depth("sofa.png"), bindplug.audio("rain.wav") - bindplug.text("wind")])``. The dicts
    may also hold ``"depth"``, ``"thermal"`` and ``"imu"``. A batch may mix them all.

    Args:
        model: an :class:`ImageBindModel`, or what :meth:`ImageBindModel.from_bindplug` takes.
    """

    config_keys = []  # noqa: RUF012 - as its base declares it
    save_in_root = True

    def __init__(self, model: Any) -> None:
        super().__init__()
        if not isinstance(model, ImageBindModel):
            model = ImageBindModel.from_bindplug(model)
        self.model = model
        self.tokenizer: ImageBindTokenizer = ImageBindTokenizer()

    @property
    def modalities(self) -> list[Any]:
        """Those of sentence-transformers' modalities that the model embeds, and ``"message"``.

        By the last it means mixed batches and dicts too, which are taken; chat messages are refused.
        """
        return [m for m in ("text", "image", "audio", "video") if m in self.model.network.modalities] + [
            "message"
        ]

    @property
    def max_seq_length(self) -> int:
        """Tokens of a text at most; longer ones are cut."""
        return self.tokenizer.model_max_length

    def get_embedding_dimension(self) -> int:
        """Length of an embedding."""
        return self.model.network.config.embed_dim

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Read inputs into tensors that :meth:`forward` embeds.

        Args:
            inputs: see the class.
            prompt: put before every text.
            kwargs: none are known.

        Raises:
            InputError: an input cannot be read, or an argument is unknown.
            ModalityNotLoaded: the model cannot embed an input's modality.
        """
        unknown = sorted(name for name, value in kwargs.items() if value is not None and name != "task")
        if unknown:
            remedy = "Reader options go with a query, as bindplug.depth(path, unit='mm')."
            raise InputError("encode()", found=f"arguments {unknown}", expected="none", remedy=remedy)
        queries = [self._query(sample, prompt or "") for sample in inputs]
        # Each source is read once, however many queries name it.
        leaves = list({leaf: None for query in queries for _, leaf in query.terms})
        order, features = self._read(leaves)
        places = {leaf: place for place, leaf in enumerate(order)}
        # (B, L): how much each leaf counts in each query
        weights = torch.zeros(len(queries), len(order))
        for row, query in zip(weights, queries, strict=True):
            for weight, leaf in query.terms:
                row[places[leaf]] = weight
        return {WEIGHTS: weights, **features}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add ``sentence_embedding``, unit rows (B, D), to the features.

        Raises:
            NoDirection: the terms of a query cancel.
        """
        rows = []
        for name, x in features.items():
            if name.startswith(f"{PREFIX}.") and name != WEIGHTS:
                modality = name.split(".")[1]
                if modality == "embedding":
                    rows.append(nn.functional.normalize(x.to(self.model.network.dtype), dim=-1))
                else:
                    rows.append(self.model.network.encode(modality, x, normalize=True))
        weights = features[WEIGHTS].to(rows[0])
        sums = weights @ torch.cat(rows)  # (B, L) @ (L, D) -> (B, D)
        heaviest = weights.abs().amax(-1)  # (B,)
        if bool((sums.norm(dim=-1) <= SHORTEST * heaviest).any()):
            raise NoDirection(f"encode(): {CANCELLED}")
        features["sentence_embedding"] = nn.functional.normalize(sums, dim=-1)
        return features

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write the model and its tokenizer's settings.

        Raises:
            InputError: pickled weights are asked for.
        """
        if not safe_serialization:
            expected = "True: only safetensors are written"
            raise InputError("save()", found="safe_serialization=False", expected=expected)
        self.model.save_pretrained(output_path)
        self.tokenizer.save_pretrained(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", *args: Any, **kwargs: Any) -> Self:
        """The module of a directory that :meth:`save` wrote, or of the same on the hub.

        Args:
            model_name_or_path: as in ``PreTrainedModel.from_pretrained``.
            subfolder: where in it.
            kwargs: sentence-transformers'; ``model_kwargs`` reach ``from_pretrained``.
        """
        model_options = dict(kwargs.get("model_kwargs") or {})
        model_options |= {
            name: kwargs[name] for name in ("token", "revision", "local_files_only") if kwargs.get(name)
        }
        if kwargs.get("cache_folder"):
            model_options["cache_dir"] = kwargs["cache_folder"]
        return cls(ImageBindModel.from_pretrained(model_name_or_path, subfolder=subfolder, **model_options))

    def _query(self, sample: Any, prompt: str) -> Query:
        if isinstance(sample, Query):
            return sample
        if isinstance(sample, Mapping) and sample and set(sample) <= {m.value for m in Modality}:
            parts = [_leaf(name, source, prompt) for name, source in sample.items()]
            return Query((1.0, leaf) for leaf in parts)
        modality = infer_modality(sample, supported_modalities=self.modalities)
        if modality == "message" or isinstance(modality, tuple) or isinstance(sample, (tuple, list)):
            remedy = "ImageBind is no chat model; give texts, images, sounds, videos or bindplug queries."
            raise InputError("encode()", found=f"a {modality}", expected="one input", remedy=remedy)
        return Query([(1.0, _leaf(modality, sample, prompt))])

    def _read(self, leaves: Iterable[AnyLeaf]) -> tuple[list[AnyLeaf], dict[str, Tensor]]:
        """Leaves in the order of the rows that their tensors give, and the tensors, one a modality and shape."""
        network = self.model.network
        groups: dict[str, list[tuple[AnyLeaf, Tensor]]] = {}
        for leaf in leaves:
            if isinstance(leaf, VectorLeaf):
                network.embedding_space.ensure(leaf.space, doing=f"using {leaf!r} in this model")
                groups.setdefault(f"{PREFIX}.embedding", []).append((leaf, torch.tensor(leaf.vector)))
                continue
            name = leaf.modality.value
            if name not in network.modalities:
                raise ModalityNotLoaded(name, network.modalities)
            x = network.preprocess[name](leaf.source, **leaf.options)
            shape = "x".join(str(size) for size in x.shape)
            groups.setdefault(f"{PREFIX}.{name}.{shape}", []).append((leaf, x))
        order = [leaf for group in groups.values() for leaf, _ in group]
        return order, {name: torch.stack([x for _, x in group]) for name, group in groups.items()}


def _leaf(name: str, source: Any, prompt: str) -> Leaf:
    """A leaf of a source in sentence-transformers' form."""
    modality, options = Modality(name), {}
    if modality is Modality.TEXT and isinstance(source, str):
        source = prompt + source
    elif modality is Modality.AUDIO and isinstance(source, Mapping):
        source, options = source["array"], {"sample_rate": source["sampling_rate"]}
    elif modality is Modality.VIDEO and isinstance(source, Mapping):
        metadata = source.get("video_metadata") or {}
        source, options = source["array"], {"fps": metadata["fps"]} if metadata.get("fps") else {}
    return Leaf(modality, source, options)
