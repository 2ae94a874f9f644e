"""From a classification network's numbers to one logit a target, so that 1 / (1 + exp(-z)) is the target's share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from node.errors import Misconfigured
from node.imaging.bundle.configuration import Configuration


class Kind(StrEnum):
    """How the outputs of a classifier relate."""

    #: One of them is true: shares sum to 1.
    SOFTMAX = "softmax"
    #: Each is true or not.
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class Head:
    """The last layer of a classifier."""

    kind: Kind

    def logits(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (target,) logits of the network's (target,) numbers.

        Of outputs of which one is true, a target's logit is its number less the logarithm of the sum of the others'
        exponentials: its logistic function is the softmax.
        """
        if self.kind is Kind.SIGMOID or row.size == 1:
            return row
        wide = row.astype(np.float64)
        others = [np.logaddexp.reduce(np.delete(wide, place)) for place in range(wide.size)]
        return np.asarray(wide - others, dtype=np.float32)


def head_of(bundle: Configuration, said: str) -> Head:
    """Say how a bundle's outputs relate: as the card says, else as its post-processing treats them.

    Raises:
        Misconfigured: neither of them says softmax or sigmoid.
    """
    said = said or bundle.head
    if said not in set(Kind):
        problem = f'is "{said}"' if said else "is missing, and the bundle does not say"
        raise Misconfigured("model.toml", "parameters.head", problem, f"Choose one of {', '.join(Kind)}")
    return Head(Kind(said))
