"""Which of the cases that judge a classifier are explained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from node.learn.case import Dataset
from node.learn.prediction import Prediction


def chosen(predictions: Sequence[Prediction], dataset: Dataset, count: int, seed: int = 0) -> tuple[Prediction, ...]:
    """Return at most `count` predictions of the first seed, the classes in turn; the same ones each time.

    Of each class those with masks come first: only there is it known where a map should point.
    """
    masks = {case.key: case.masks for case in dataset.cases}
    first = min((each.seed for each in predictions), default=0)
    known = {each.key: each for each in predictions if each.seed == first and each.truth is not None}
    random = np.random.default_rng(seed)
    by_class: dict[int, list[Prediction]] = {}
    for key in sorted(known.keys() & masks.keys()):
        by_class.setdefault(known[key].truth or 0, []).append(known[key])
    drawn = []
    for label in sorted(by_class):
        mine = by_class[label]
        order = [mine[place] for place in random.permutation(len(mine))]
        drawn.append(sorted(order, key=lambda each: not masks[each.key]))
    in_turn = (each for turn in zip_longest(*drawn) for each in turn if each is not None)
    return tuple(in_turn)[:count]


def answer_of(prediction: Prediction) -> int:
    """The class that was answered."""
    return int(np.argmax(prediction.logits))
