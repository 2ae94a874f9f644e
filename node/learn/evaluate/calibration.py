"""What a probability is worth: how it is fitted to be one, and how well it holds what it says.

The number that is calibrated is the node's own: z is the logit of a class's share (`imaging.tasks.numbers.number_of`),
the share is the softmax over all classes (`imaging.tasks.classification.scores_of`, or the logistic function of
`imaging.bundle.logits.against_the_rest`, which is the same), and the probability is 1 / (1 + exp(-(z / T + b))).

The expected calibration error (Naeini et al., AAAI 2015) is the mean distance of what bins say from what was found in
them. Of a sample it is never 0, though every probability held: `by_chance` says what it would be on average then.
Resamples add to it once more; its interval is moved back by as much (`bootstrap.Method.CENTRED`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from node.learn.evaluate.figures import Bin, Scaling
from node.learn.evaluate.metrics import Numbers, ratio
from node.learn.evaluate.operating import wilson

Positive = NDArray[np.bool_]
BINS = 10
#: Parts of the cases that are calibrated by the others, where there are no folds.
PARTS = 10
#: Fewer cases on a side than these fit nothing.
LEAST = 5
#: As `imaging.tasks.numbers`: shares closer to 0 or 1 have no logit that means anything.
_NEAREST = 1e-9
#: Slopes (1 / T) beyond which nothing is fitted.
_SLOPES = (1e-3, 1e3)
#: Steps of the fit at most, the slope of the loss that is none, and the shortest part of a step that is taken.
_STEPS, _FLAT, _SHORT = 100, 1e-11, 1e-9
#: Samples of which the ECE by chance is the mean.
_CHANCES = 200


def logit(shares: Numbers) -> Numbers:
    """Logits of shares, as the node takes them: finite for all from 0 to 1."""
    within = np.clip(shares, _NEAREST, 1 - _NEAREST)
    return np.asarray(np.log(within / (1 - within)), np.float64)


def fit(shares: Numbers, positive: Positive) -> Scaling | None:
    """Fit temperature and bias by maximum likelihood (Newton's method, float64); `None` with too few cases on a side.

    Cases that can be parted without error would drive the temperature to 0: what is aimed at is not 1 and 0 but what
    so many cases can show (Platt, Advances in Large Margin Classifiers (1999) 61). An order that is worse than chance
    is not turned round: the temperature is so high then that every case is told the same.
    """
    count, of_positive = len(shares), int(positive.sum())
    if min(of_positive, count - of_positive) < LEAST:
        return None
    z = logit(shares)
    wanted = np.where(positive, (of_positive + 1) / (of_positive + 2), 1 / (count - of_positive + 2))
    slope, bias = _most_likely(z, wanted)
    if slope < _SLOPES[0]:
        slope = _SLOPES[0]
        bias = _most_likely(np.zeros(count), wanted)[1] - slope * float(z.mean())
    return Scaling(temperature=1 / min(slope, _SLOPES[1]), bias=bias, cases=count, positives=of_positive)


def _most_likely(z: Numbers, wanted: Numbers) -> tuple[float, float]:
    """Slope and bias with the least mean loss: Newton's steps, halved until the loss falls, lead there.

    They begin where every case is told the same: there the loss is curved, however sure the network is of itself.
    """
    mean = float(wanted.mean())
    slope, bias = 0.0, float(np.log(mean / (1 - mean)))
    loss = _loss(slope * z + bias, wanted)
    for _ in range(_STEPS):
        share = expit(slope * z + bias)
        off, curve = share - wanted, share * (1 - share)
        a, b = float((off * z).mean()), float(off.mean())
        if max(abs(a), abs(b)) < _FLAT:
            break
        zz, zc, cc = float((curve * z * z).mean()) + _FLAT, float((curve * z).mean()), float(curve.mean()) + _FLAT
        size = zz * cc - zc * zc
        step = (cc * a - zc * b) / size, (zz * b - zc * a) / size
        part = 1.0
        while (less := _loss((slope - part * step[0]) * z + bias - part * step[1], wanted)) > loss and part > _SHORT:
            part /= 2
        if less > loss:
            break
        slope, bias, loss = slope - part * step[0], bias - part * step[1], less
    return slope, bias


def _loss(u: Numbers, wanted: Numbers) -> float:
    return float((np.logaddexp(0, u) - wanted * u).mean())


def probability(shares: Numbers, scaling: Scaling) -> Numbers:
    """What the node tells in place of the shares."""
    return np.asarray(expit(logit(shares) / scaling.temperature + scaling.bias), np.float64)


def crossed(shares: Numbers, positive: Positive, parts: Sequence[Hashable]) -> Numbers | None:
    """Each case's probability by a calibration fitted on the cases of the other parts; `None`: too few to fit one."""
    names = np.array([str(part) for part in parts])
    given = np.full(len(shares), np.nan)
    for part in sorted(set(names.tolist())):
        mine = names == part
        scaling = fit(shares[~mine], positive[~mine])
        if scaling is None:
            return None
        given[mine] = probability(shares[mine], scaling)
    return given


def parted(groups: Sequence[str], positive: Positive, parts: int = PARTS, seed: int = 0) -> list[int]:
    """Part the cases for `crossed` where there are no folds: no group is torn apart, each part has its positives."""
    names = sorted(set(groups))
    has = dict.fromkeys(names, False)
    for group, is_positive in zip(groups, positive.tolist(), strict=True):
        has[group] |= is_positive
    mixed = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    ordered = sorted(mixed, key=lambda name: has[name])
    part_of = {name: place % parts for place, name in enumerate(ordered)}
    return [part_of[group] for group in groups]


def equal_width(bins: int = BINS) -> Numbers:
    """Edges of bins of equal width, from 0 to 1."""
    return np.linspace(0, 1, bins + 1)


def equal_mass(said: Numbers, bins: int = BINS) -> Numbers:
    """Edges of bins that hold equally many cases, but for equal probabilities, which stay together."""
    inner = np.quantile(said, np.linspace(0, 1, bins + 1)[1:-1]) if len(said) else np.zeros(0)
    return np.concatenate([[0.0], np.unique(inner[(inner > 0) & (inner < 1)]), [1.0]])


def ece(said: Numbers, positive: Positive, weights: Numbers, edges: Numbers) -> Numbers:
    """Expected calibration error for each row of weights. A bin holds its lower edge; the last one 1, too."""
    off = _sums(said, edges, weights * (said - positive))
    return ratio(np.abs(off).sum(axis=1), weights.sum(axis=1))


def by_chance(said: Numbers, edges: Numbers, seed: int = 0) -> float:
    """The ECE that so many cases have on average though every probability holds."""
    drawn = np.random.default_rng(seed).random((_CHANCES, len(said))) < said
    return float(np.abs(_sums(said, edges, said - drawn)).sum(axis=1).mean() / len(said))


def reliability(said: Numbers, positive: Positive, edges: Numbers) -> tuple[Bin, ...]:
    """The bins that hold a case, with what was said and found in them."""
    places = _places(said, edges)
    found = []
    for place in np.unique(places).tolist():
        mine = places == place
        count, of_positive = int(mine.sum()), int(positive[mine].sum())
        low, high = wilson(of_positive, count)
        found.append(
            Bin(
                low=float(edges[place]),
                high=float(edges[place + 1]),
                cases=count,
                said=float(said[mine].mean()),
                found=of_positive / count,
                found_low=low,
                found_high=high,
            )
        )
    return tuple(found)


def decomposed(bins: Sequence[Bin]) -> tuple[float, float, float] | None:
    """Reliability, resolution and uncertainty of the Brier score (Murphy, J. Appl. Meteorology 12 (1973) 595)."""
    count = sum(each.cases for each in bins)
    if not count:
        return None
    base = sum(each.found * each.cases for each in bins) / count
    off = sum(each.cases * (each.said - each.found) ** 2 for each in bins) / count
    resolved = sum(each.cases * (each.found - base) ** 2 for each in bins) / count
    return off, resolved, base * (1 - base)


def _sums(said: Numbers, edges: Numbers, values: Numbers) -> Numbers:
    """(row, bin) sums of (row, case) values."""
    places = _places(said, edges)
    each = np.zeros((len(said), len(edges) - 1))
    each[np.arange(len(said)), places] = 1
    return np.asarray(values @ each)


def _places(said: Numbers, edges: Numbers) -> NDArray[np.intp]:
    return np.clip(np.searchsorted(edges, said, side="right") - 1, 0, len(edges) - 2)
