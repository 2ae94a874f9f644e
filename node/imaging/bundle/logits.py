"""From a classification network's numbers to one logit a target, so that 1 / (1 + exp(-z)) is the target's share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Of outputs with such a head one is true: their shares sum to 1.
SOFTMAX = "softmax"


def against_the_rest(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (target,) logits of (target,) numbers whose softmax is meant.

    A target's logit is its number less the logarithm of the sum of the others' exponentials: its logistic function is
    the softmax.
    """
    if row.size == 1:
        return row
    wide = row.astype(np.float64)
    others = [np.logaddexp.reduce(np.delete(wide, place)) for place in range(wide.size)]
    return np.asarray(wide - others, dtype=np.float32)
