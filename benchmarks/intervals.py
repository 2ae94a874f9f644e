"""How often 95 % intervals hold the true figure: of AUC, accuracy and a mean of patients, of one and of three seeds.

    .venv/bin/python benchmarks/intervals.py [TRIALS]

Scores are normal, d apart, so that the true AUC is Φ(d / √2) and the true accuracy at the middle Φ(d / 2). Patients
have two cases each, whose scores share most of their noise: intervals that took cases for patients would be too narrow.
"""

from __future__ import annotations

import sys
from math import sqrt

import numpy as np
from scipy.special import ndtr

from node.learn.evaluate import metrics, ranking
from node.learn.evaluate.bootstrap import Method, Statistic, draw, intervals
from node.learn.evaluate.metrics import Numbers

APART = 1.2
TRUE = {"auc": float(ndtr(APART / sqrt(2))), "accuracy": float(ndtr(APART / 2))}


def statistic_of(scores: Numbers, positive: np.ndarray) -> Statistic:
    """Return what is told of one seed's scores."""

    def statistic(weights: Numbers) -> dict[str, Numbers]:
        right = ((scores > APART / 2) == positive).astype(float)
        return {
            "auc": ranking.area_and_precision(scores, positive, weights)[0],
            "accuracy": metrics.mean(right, weights),
        }

    return statistic


def trial(seed: int, patients: int, seeds: int, method: Method, *, torn: bool) -> dict[str, bool]:
    """Return whether the interval of each figure holds the true one, in one draw of patients."""
    random = np.random.default_rng(seed)
    positive = np.repeat(np.arange(patients) % 3 == 0, 2)
    groups = [f"{place if torn else place // 2}" for place in range(2 * patients)]
    patient = np.repeat(random.normal(size=patients), 2)
    statistics = []
    for _ in range(seeds):
        noise = sqrt(0.8) * patient + sqrt(0.2) * random.normal(size=2 * patients)
        statistics.append((groups, statistic_of(noise + APART * positive, positive)))
    found = intervals(draw(groups, positive.tolist(), replicates=600, seed=seed), statistics, method)
    return {
        name: each.low is not None and each.high is not None and each.low <= TRUE[name] <= each.high
        for name, each in found.items()
    }


def main() -> None:
    """Print a line a setting."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print("patients seeds method      drawn by   AUC    accuracy")
    for patients, seeds, method, torn in (
        (60, 1, Method.PERCENTILE, False),
        (60, 1, Method.BCA, False),
        (60, 1, Method.BCA, True),
        (200, 1, Method.BCA, False),
        (60, 3, Method.BCA, False),
    ):
        held = [trial(seed, patients, seeds, method, torn=torn) for seed in range(trials)]
        shares = [sum(each[name] for each in held) / trials for name in ("auc", "accuracy")]
        drawn_by = "case" if torn else "patient"
        print(f"{patients:8} {seeds:5} {method.value:11} {drawn_by:8} {shares[0]:6.3f} {shares[1]:8.3f}")


if __name__ == "__main__":
    main()
