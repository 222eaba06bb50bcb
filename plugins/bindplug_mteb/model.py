"""bindplug's encoders as models of mteb."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import warnings
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
from bindplug_lab import digest_of_model
from bindplug_mteb.carrying import CARRIERS, unpack
from bindplug_mteb.tasks import sensors_of

MODALITIES: tuple[Modalities, ...] = ("text", "image", "audio")
"""mteb's modalities that a model may read. Its videos are decoders of torchcodec, and are not read."""
TOKENS = 77
NAME = re.compile(r"[^/\s]+/[^/\s]+")


class BindplugModel(AbsEncoder):
    """A model of mteb that embeds with an encoder of bindplug.

    Args:
        encoder: any encoder.
        name: what results call it, ``"organization/model"``.
        revision: of the weights; see :func:`revision_of` for None.
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
                picture and its caption, the embeddings are added; columns that are None in an item are left out of it.
            task_metadata: of the task; its name tells which sensor an image or sound comes from.
            hf_split, hf_subset: of the data set; not used.
            prompt_type: whether queries or documents are given.
            batch_size: items in one pass.
            options: further options of mteb's; not used.

        Returns:
            (N, D) float32 unit rows.

        Raises:
            InputError: a batch has no column that the encoder reads.

        Warns:
            UserWarning: items have further columns, which the encoder cannot read.
        """
        name = task_metadata.name
        sensors = sensors_of(name, prompt_type)
        rows = []
        for place, batch in enumerate(inputs):
            unread = [
                sensors[m] for m in MODALITIES if m in batch and sensors[m] not in self.model.modalities
            ]
            queries = list(queries_of(batch, sensors, self.model, name))
            if unread and place == 0:
                warnings.warn(
                    f"mteb task {name}: {', '.join(unread)} left out of its items, since the model has none",
                    stacklevel=2,
                )
            rows.append(self.model.embed(queries, batch_size=batch_size, progress=False))
        if not rows:
            return np.zeros((0, self.model.embedding_space.width), dtype=np.float32)
        return np.asarray(torch.cat(rows).float().cpu().numpy())


def queries_of(
    batch: Mapping[str, Any], sensors: Mapping[str, str], encoder: Encoder, task: str
) -> Iterator[Query]:
    """A query for each item of a batch.

    Args:
        batch: columns of one length.
        sensors: for each of mteb's modalities the sensor that it carries.
        encoder: that is to read them.
        task: name of the task, for errors.

    Raises:
        InputError: the encoder reads no column, or nothing of an item.
    """
    columns = [name for name in MODALITIES if name in batch and sensors[name] in encoder.modalities]
    if not columns:
        modalities = [sensors.get(name, name) for name in batch if name in (*MODALITIES, "video")]
        raise InputError(
            f"mteb task {task}",
            found=f"items of {' and '.join(modalities) or ', '.join(batch) or 'nothing'}",
            expected=f"what the model reads, and mteb can give it: {', '.join(_readable(encoder)) or 'nothing'}",
        )
    for items in zip(*(batch[name] for name in columns), strict=True):
        terms = [
            bindplug.text(item) if name == "text" else unpack(sensors[name], item)
            for name, item in zip(columns, items, strict=True)
            if item is not None
        ]
        if not terms:
            raise InputError(
                f"mteb task {task}",
                found="an item that is empty as far as the model reads it",
                expected=" or ".join(sensors[name] for name in columns),
            )
        first, *others = terms
        yield sum(others, start=first)


def _readable(encoder: Encoder) -> list[str]:
    return [name for name in dict.fromkeys(("text", *CARRIERS)) if name in encoder.modalities]


def revision_of(encoder: Encoder) -> str:
    """The version of bindplug and a digest of the weights, so that mteb finds results of these weights alone again.

    Of a model whose weights cannot be read, such as a packed one, it is another each time.
    """
    digests = [digest_of_model(encoder, modality) or secrets.token_hex() for modality in encoder.modalities]
    digest = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:12]
    return f"bindplug-{version('bindplug')}-{digest}"


def describe(encoder: Encoder, name: str, revision: str | None = None, license: str = "") -> ModelMeta:
    """The metadata of an encoder.

    Args:
        encoder: any encoder.
        name: what results call it.
        revision: of the weights; see :func:`revision_of` for None.
        license: of the weights, as an SPDX identifier; left out where mteb has no such license.

    Raises:
        InputError: the name has no organization.
    """
    if not NAME.fullmatch(name):
        raise InputError("name of an mteb model", found=repr(name), expected="'organization/model'")
    licenses = get_args(Licenses)
    carried = {carrier for sensor, carrier in CARRIERS.items() if sensor in encoder.modalities}
    parameters = getattr(encoder, "parameters", None)
    return ModelMeta(
        loader=None,
        name=name,
        revision=revision or revision_of(encoder),
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=sum(p.numel() for p in parameters()) if callable(parameters) else None,
        memory_usage_mb=None,
        max_tokens=TOKENS if "text" in encoder.modalities else None,
        embed_dim=encoder.embedding_space.width,
        license=license.lower() if license.lower() in licenses else None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction("cosine"),
        use_instructions=False,
        training_datasets=None,
        modalities=[name for name in MODALITIES if name in encoder.modalities or name in carried],
    )


def wrap(
    encoder: Encoder | str | os.PathLike[str], *, name: str | None = None, revision: str | None = None
) -> BindplugModel:
    """An encoder of bindplug as a model of mteb.

    Args:
        encoder: an encoder, or what :func:`bindplug.load` takes.
        name: what results call it; ``"bindplug/"`` and the id of what was loaded, or of the space, for None.
        revision: of the weights, by which mteb's cache knows results; see :func:`revision_of` for None.

    Returns:
        A model for ``mteb.evaluate(model, tasks)``.

    Raises:
        InputError: the name has no organization.
    """
    source = None if isinstance(encoder, Encoder) else os.fspath(encoder)
    model = encoder if isinstance(encoder, Encoder) else bindplug.load(os.fspath(encoder))
    if name is None:
        plain = source or model.embedding_space.name
        name = "bindplug/" + (re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-.") or "model")
    license = next((card.license for card in bindplug.list_models() if card.name == source), "")
    return BindplugModel(model, name, revision, license or getattr(model, "license", ""))
