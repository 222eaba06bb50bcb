"""bindplug's encoders as models of mteb."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, get_args

import numpy as np
import torch
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from mteb.types import Modalities, PromptType
from mteb.types._metadata import Licenses
from numpy.typing import NDArray

import bindplug
from bindplug import Encoder, Query
from bindplug.errors import InputError
from bindplug_mteb.carrying import unpack
from bindplug_mteb.tasks import sensors_of

MODALITIES: tuple[Modalities, ...] = ("text", "image", "audio")
"""mteb's modalities that a model may read. Its videos are decoders of torchcodec, and are not read."""
TOKENS = 77


class BindplugModel(AbsEncoder):
    """A model of mteb that embeds with an encoder of bindplug.

    Args:
        encoder: any encoder.
        name: what results call it, ``"organization/model"``.
        revision: of the weights.
        license: of the weights, as an SPDX identifier.

    Attributes:
        model: the encoder.
        mteb_model_meta: what mteb's results say about it.
    """

    def __init__(self, encoder: Encoder, name: str, revision: str | None = None, license: str = "") -> None:
        self.model = encoder
        self.mteb_model_meta = describe(encoder, name, revision, license)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        batch_size: int = 32,
        **options: Any,
    ) -> NDArray[np.float32]:
        """Embed what a task gives.

        Args:
            inputs: batches of columns, as mteb's data loaders give them. Of items with several columns, such as a
                picture and its caption, the embeddings are added.
            task_metadata: of the task; its name tells which sensor an image or sound comes from.
            hf_split, hf_subset: of the data set; not used.
            prompt_type: whether queries or documents are given.
            batch_size: items in one pass.
            options: further options of mteb's; not used.

        Returns:
            (N, D) float32 unit rows.

        Raises:
            InputError: a batch has no column that the encoder reads.
        """
        sensors = sensors_of(task_metadata.name, prompt_type)
        rows = [
            self.model.embed(
                list(queries_of(batch, sensors, self.model)), batch_size=batch_size, progress=False
            )
            for batch in inputs
        ]
        if not rows:
            return np.zeros((0, self.model.embedding_space.width), dtype=np.float32)
        return np.asarray(torch.cat(rows).float().cpu().numpy())


def queries_of(batch: Mapping[str, Any], sensors: Mapping[str, str], encoder: Encoder) -> Iterator[Query]:
    """A query for each item of a batch.

    Args:
        batch: columns of one length.
        sensors: for each of mteb's modalities the sensor that it carries.
        encoder: that is to read them.
    """
    columns = [name for name in MODALITIES if name in batch and sensors[name] in encoder.modalities]
    if not columns:
        raise InputError(
            "a batch of an mteb task",
            found=f"columns {', '.join(batch) or 'none'}",
            expected=f"one of {', '.join(MODALITIES)} that the model reads ({', '.join(encoder.modalities)})",
        )
    for items in zip(*(batch[name] for name in columns), strict=True):
        terms = [
            bindplug.text(item) if name == "text" else unpack(sensors[name], item)
            for name, item in zip(columns, items, strict=True)
        ]
        first, *others = terms
        yield sum(others, start=first)


def describe(encoder: Encoder, name: str, revision: str | None = None, license: str = "") -> ModelMeta:
    """The metadata of an encoder.

    Args:
        encoder: any encoder.
        name: what results call it.
        revision: of the weights; bindplug's version for None.
        license: of the weights, as an SPDX identifier; left out where mteb has no such license.
    """
    known = get_args(Licenses)
    parameters = getattr(encoder, "parameters", None)
    return ModelMeta(
        loader=None,
        name=name,
        revision=revision or f"bindplug-{version('bindplug')}",
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=sum(p.numel() for p in parameters()) if callable(parameters) else None,
        memory_usage_mb=None,
        max_tokens=TOKENS if "text" in encoder.modalities else None,
        embed_dim=encoder.embedding_space.width,
        license=license.lower() if license.lower() in known else None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction("cosine"),
        use_instructions=False,
        training_datasets=None,
        modalities=[modality for modality in MODALITIES if modality in encoder.modalities],
    )


def wrap(encoder: Encoder | str, *, name: str | None = None, revision: str | None = None) -> BindplugModel:
    """An encoder of bindplug as a model of mteb.

    Args:
        encoder: an encoder, or what :func:`bindplug.load` takes.
        name: what results call it; ``"bindplug/"`` and the id of what was loaded, or of the space, for None.
        revision: of the weights, for mteb's cache of results; bindplug's version for None.

    Returns:
        A model for ``mteb.evaluate(model, tasks)``.
    """
    model = bindplug.load(encoder) if isinstance(encoder, str) else encoder
    if name is None:
        plain = encoder if isinstance(encoder, str) else model.embedding_space.name
        name = "bindplug/" + plain.replace("/", "-").replace(":", "-")
    licenses = {card.name: card.license for card in bindplug.list_models()}
    license = licenses.get(encoder, "") if isinstance(encoder, str) else ""
    return BindplugModel(model, name, revision, license or getattr(model, "license", ""))
