"""Small classifiers over chosen features: logistic regression of our own, trees with the extra `train`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from node.errors import Failed, Misconfigured
from node.learn.radiomics.table import Radiomics

Numbers = NDArray[np.float64]
#: (case, feature) → (case, class) logits.
Classifier = Callable[[Numbers], Numbers]
_REMEDY = "Take logistic, or install the extra: pip install -c constraints.txt '.[train]'"
_LEAST_SHARE = 1e-4
_TREES = 300


def fitted(values: Numbers, labels: NDArray[np.intp], classes: int, said: Radiomics, seed: int) -> Classifier:
    """Fit the classifier that the recipe names; classes weigh the same.

    Raises:
        Misconfigured: it needs an extra that is not installed.
    """
    if said.classifier == "logistic":
        weights, bias = logistic(values, labels, classes, said.penalty)
        return lambda given: given @ weights.T + bias
    names = {"forest": "RandomForestClassifier", "boosting": "HistGradientBoostingClassifier"}
    try:
        ensemble = importlib.import_module("sklearn.ensemble")
    except ModuleNotFoundError as error:
        problem = f"{said.classifier} needs scikit-learn, which is not installed"
        raise Misconfigured("recipe.toml", "radiomics.classifier", problem, _REMEDY) from error
    more: dict[str, Any] = {"n_estimators": _TREES, "min_samples_leaf": 2} if said.classifier == "forest" else {}
    model = getattr(ensemble, names[said.classifier])(random_state=seed, class_weight="balanced", **more)
    model.fit(values, labels)
    known = [int(each) for each in model.classes_]

    def logits(given: Numbers) -> Numbers:
        shares = np.full((len(given), classes), _LEAST_SHARE)
        shares[:, known] = np.maximum(model.predict_proba(given), _LEAST_SHARE)
        return np.asarray(np.log(shares / shares.sum(axis=1, keepdims=True)), np.float64)

    return logits


def logistic(values: Numbers, labels: NDArray[np.intp], classes: int, penalty: float) -> tuple[Numbers, Numbers]:
    """Return (class, feature) weights and (class,) biases of the multinomial logistic regression, by L-BFGS.

    The loss is the cross-entropy, each class weighing the same, and `penalty` times half the squared weights.

    Raises:
        Failed: the values are not numbers.
    """
    if not np.isfinite(values).all():
        raise Failed("a feature is not a number")
    given, truth = torch.from_numpy(values), torch.from_numpy(labels.astype(np.int64))
    counts = torch.bincount(truth, minlength=classes).double()
    shares = torch.where(counts > 0, len(truth) / (classes * counts.clamp_min(1)), 0.0)
    weights = torch.zeros(classes, values.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    steps = torch.optim.LBFGS([weights, bias], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        steps.zero_grad()
        apart = functional.cross_entropy(given @ weights.T + bias, truth, weight=shares)
        # The biases share a direction that nothing else holds.
        found = apart + penalty / 2 * (weights**2).sum() + 1e-6 * (bias**2).sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    steps.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy(), bias.detach().numpy()
