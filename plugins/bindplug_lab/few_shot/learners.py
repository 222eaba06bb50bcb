"""Classifiers that learn from a few rows a class, with the encoder frozen.

- ``logistic``: logistic regression (scikit-learn), its regularization chosen by cross-validation on the support.
- ``prototypes``: the class whose mean support row is nearest.
- ``cache``: zero-shot cosines plus the affinity with the support rows of each class, weighted as in Tip-Adapter.

Each gives scores (N, C), of which the highest is the class.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import log_softmax

from bindplug.lazy import require

__all__ = ["LEARNERS", "cache_scores", "logistic_scores", "prototype_scores"]

INVERSE_STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Inverse regularization strengths that cross-validation chooses from, for unit rows."""

DEFAULT_INVERSE_STRENGTH = 10.0
"""For one example a class, of which none can be held out."""

MOST_FOLDS = 3

ITERATIONS = 2000
"""Steps of the solver at most."""

BLENDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
SHARPNESSES = (1.0, 3.0, 5.5, 10.0, 20.0)
"""Weights of the cache beside zero-shot logits, and how fast an affinity falls with the distance, to choose from."""

DEFAULT_BLEND, DEFAULT_SHARPNESS = 1.0, 5.5
"""For one example a class. Source: Tip-Adapter (arXiv 2111.03930), alpha and beta for ImageNet."""


def logistic_scores(
    support: np.ndarray, labels: np.ndarray, rows: np.ndarray, zero_shot: np.ndarray | None, scale: float
) -> np.ndarray:
    """Scores of a logistic regression.

    Args:
        support: (S, D) unit rows to learn from, equally many of each class.
        labels: (S,) their classes, each of 0 to C - 1.
        rows: (N, D) unit rows to classify.
        zero_shot: not used.
        scale: not used.

    Returns:
        (N, C) float64 decision values.

    Raises:
        MissingDependency: scikit-learn is not installed.

    Warns:
        UserWarning: the solver did not converge.
    """
    require("sklearn", owner="logistic regression on few examples", extra="lab")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    fewest = int(np.bincount(labels).min())
    classifier = LogisticRegression(C=DEFAULT_INVERSE_STRENGTH, max_iter=ITERATIONS)
    with warnings.catch_warnings(record=True) as log:
        warnings.simplefilter("always", ConvergenceWarning)
        if fewest >= 2:
            folds = StratifiedKFold(min(fewest, MOST_FOLDS), shuffle=True, random_state=0)
            grid = {"C": list(INVERSE_STRENGTHS)}
            search = GridSearchCV(classifier, grid, cv=folds, scoring="neg_log_loss", refit=False)
            classifier.set_params(C=search.fit(support, labels).best_params_["C"])
        log.clear()  # of candidates that were not chosen
        classifier.fit(support, labels)
    if any(issubclass(item.category, ConvergenceWarning) for item in log):
        warnings.warn(f"logistic regression did not converge in {ITERATIONS} steps", stacklevel=2)
    values = np.asarray(classifier.decision_function(rows))
    return values if values.ndim == 2 else np.stack([-values, values], axis=1)


def prototype_scores(
    support: np.ndarray, labels: np.ndarray, rows: np.ndarray, zero_shot: np.ndarray | None, scale: float
) -> np.ndarray:
    """Cosines with the normalized mean support row of each class; arguments as of :func:`logistic_scores`."""
    one_hot = _one_hot(labels)
    means = one_hot.T @ support  # (S, C), (S, D) -> (C, D)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    result: np.ndarray = rows @ (means / np.maximum(lengths, 1e-12)).T
    return result


def cache_scores(
    support: np.ndarray, labels: np.ndarray, rows: np.ndarray, zero_shot: np.ndarray | None, scale: float
) -> np.ndarray:
    """Zero-shot logits plus affinities with the support, as Tip-Adapter without training.

    ``scale * cosine + blend * sum exp(-sharpness * (1 - cosine with a support row))``. Blend and sharpness are
    chosen by leaving out each support row in turn, where a class has two; the defaults are Tip-Adapter's.

    Args:
        support, labels, rows: as of :func:`logistic_scores`.
        zero_shot: (C, D) unit rows of the classes' texts.
        scale: factor on cosines that zero-shot probabilities use.

    Returns:
        (N, C) float64 logits.
    """
    if zero_shot is None:
        raise ValueError("a cache blends with zero-shot rows; the model has no text")
    one_hot = _one_hot(labels)
    blend, sharpness = DEFAULT_BLEND, DEFAULT_SHARPNESS
    if np.bincount(labels).min() >= 2:
        blend, sharpness = _best_pair(support, labels, one_hot, scale * support @ zero_shot.T)
    result: np.ndarray = scale * rows @ zero_shot.T + blend * _affinity(rows @ support.T, sharpness) @ one_hot
    return result


def _best_pair(
    support: np.ndarray, labels: np.ndarray, one_hot: np.ndarray, logits: np.ndarray
) -> tuple[float, float]:
    """Blend and sharpness under which left-out support rows are most often right, then most likely."""
    cosines = support @ support.T
    best: tuple[float, float] = (-1.0, -np.inf)
    best_pair = (DEFAULT_BLEND, DEFAULT_SHARPNESS)
    places = np.arange(len(labels))
    for sharpness in SHARPNESSES:
        affinity = _affinity(cosines, sharpness)
        np.fill_diagonal(affinity, 0.0)  # a row must not vote for itself
        votes = affinity @ one_hot
        for blend in BLENDS:
            scores = logits + blend * votes
            right = float((scores.argmax(1) == labels).mean())
            likelihood = float(log_softmax(scores, axis=1)[places, labels].mean())
            if (right, likelihood) > best:
                best, best_pair = (right, likelihood), (blend, sharpness)
    return best_pair


def _affinity(cosines: np.ndarray, sharpness: float) -> np.ndarray:
    result: np.ndarray = np.exp(-sharpness * (1.0 - cosines))
    return result


def _one_hot(labels: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.eye(int(labels.max()) + 1)[labels]
    return result


Learner = Callable[[np.ndarray, np.ndarray, np.ndarray, "np.ndarray | None", float], np.ndarray]

LEARNERS: Mapping[str, Learner] = {
    "logistic": logistic_scores,
    "prototypes": prototype_scores,
    "cache": cache_scores,
}
"""Learners by name."""
