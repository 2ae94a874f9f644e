"""The sanity check: a model whose weights are shuffled must give another map (Adebayo et al., 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from node.imaging.explain.cells import cells
from node.imaging.explain.subject import Subject

#: Above this rank correlation the map is taken for one that hardly looks at the model.
BOUND = 0.5
#: Name of the figure.
FIGURE = "randomisation_rank_correlation"
#: Maps are compared by the means of so many cells: what is finer is noise, or made by enlarging.
_CELLS = 512


def forwards(method_forwards: float) -> float:
    """One more map."""
    return method_forwards


def figures(
    subject: Subject, weights: torch.Tensor, again: Callable[[Subject], torch.Tensor], seed: int
) -> Mapping[str, float]:
    """Return |rank correlation| of the map and that of the shuffled model; nothing where no weight can be shuffled."""
    other = subject.shuffled(seed)
    if other is None:
        return {}
    return {FIGURE: abs(rank_correlation(weights, again(other)))}


def rank_correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Spearman's correlation of two maps of one shape, in cells; 0 where one of them is the same everywhere."""
    ranks = [rankdata(_in_cells(each)) for each in (one, other)]
    deviations = [each - each.mean() for each in ranks]
    lengths = [float(np.linalg.norm(each)) for each in deviations]
    if min(lengths) == 0:
        return 0.0
    return float(deviations[0] @ deviations[1]) / (lengths[0] * lengths[1])


def _in_cells(weights: torch.Tensor) -> NDArray[np.float64]:
    numbers = cells(tuple(weights.shape), _CELLS, weights.device).flatten()
    sums = torch.bincount(numbers, weights.detach().flatten().double())
    means: NDArray[np.float64] = (sums / torch.bincount(numbers)).cpu().numpy()
    # Rounding must not rank what is equal.
    return np.round(means, 9 - int(np.floor(np.log10(np.abs(means).max() or 1.0))))
