"""How well rows tell classes apart: by a linear probe, by neighbors, by the means of labeled pictures.

Each measure classifies (N, D) unit rows with the labeled pictures of a support set, (M, D) unit rows of one anchor, and
says of which rows the answer is right.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

NEIGHBORS = 20
"""Neighbors that vote. Source: k-NN evaluation of DINO (arXiv 2104.14294), section 4.1."""
PROBE_ITERATIONS = 500


def prototypes(rows: Tensor, labels: Tensor) -> Tensor:
    """(M, D) unit rows with labels (M,) -> (C, D) unit rows, the normalized mean of each class."""
    classes = int(labels.max()) + 1
    sums = torch.zeros(classes, rows.shape[1]).index_add_(0, labels, rows)
    return F.normalize(sums, dim=-1)


def by_prototypes(rows: Tensor, labels: Tensor, support: Tensor, support_labels: Tensor) -> NDArray[np.bool_]:
    """(N,) whether the nearest class mean is the right one."""
    answers = (rows @ prototypes(support, support_labels).T).argmax(1)
    return np.asarray((answers == labels).numpy())


def by_neighbors(rows: Tensor, labels: Tensor, support: Tensor, support_labels: Tensor) -> NDArray[np.bool_]:
    """(N,) whether most of the nearest pictures are of the right class."""
    nearest = (rows @ support.T).topk(min(NEIGHBORS, len(support)), dim=1)
    votes = torch.zeros(len(rows), int(support_labels.max()) + 1)
    # neighbors vote with their cosines, so that ties between classes hardly occur
    votes.scatter_add_(1, support_labels[nearest.indices], 1 + nearest.values)
    return np.asarray((votes.argmax(1) == labels).numpy())


def by_linear_probe(
    rows: Tensor, labels: Tensor, support: Tensor, support_labels: Tensor
) -> NDArray[np.bool_]:
    """(N,) whether logistic regression on standardized rows gives the right class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=PROBE_ITERATIONS))
    probe.fit(support.numpy(), support_labels.numpy())
    return np.asarray(probe.predict(rows.numpy()) == labels.numpy())


MEASURES = {"linear probe": by_linear_probe, "nearest neighbors": by_neighbors, "class means": by_prototypes}
"""Ways to measure an anchor's own accuracy. The last one also measures the senses that are bound to it."""
