"""Waiting times by formula: what a simulation must reproduce.

Rates are arrivals a minute by class, the class that is read first on top; times are minutes. "Wait" is all the time
in the room but that of the reading itself, so with interruptions it includes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import factorial, fsum, log


def waiting_probability(offered: float, readers: int) -> float:
    """Erlang's C: how probably a study has to wait, of `offered` = arrival rate · mean reading time < `readers`.

    A. K. Erlang, 1917; L. Kleinrock, Queueing Systems, volume 1, 1975, section 3.5.
    """
    last = offered**readers / factorial(readers) / (1 - offered / readers)
    return last / (fsum(offered**n / factorial(n) for n in range(readers)) + last)


def wait_first_come(rate: float, mean_min: float, readers: int = 1) -> float:
    """M/M/c, first come first read: the mean wait (Kleinrock, volume 1, section 3.5)."""
    offered = rate * mean_min
    return waiting_probability(offered, readers) * mean_min / (readers - offered)


def wait_first_come_quantile(share: float, rate: float, mean_min: float, readers: int = 1) -> float:
    """M/M/c, first come first read: the wait that `share` of the studies do not exceed (it is exponential, if any)."""
    offered = rate * mean_min
    waiting = waiting_probability(offered, readers)
    return 0.0 if share <= 1 - waiting else log(waiting / (1 - share)) * mean_min / (readers - offered)


def waits_uninterrupted(rates: Sequence[float], mean_min: float, readers: int = 1) -> tuple[float, ...]:
    """M/M/c with classes that do not interrupt: the mean wait of each.

    A. Cobham, Priority assignment in waiting line problems, Operations Research 1954;2:70–76.
    """
    total = fsum(rates) * mean_min
    begun = waiting_probability(total, readers) * mean_min / readers
    loads = [rate * mean_min / readers for rate in rates]
    return tuple(begun / ((1 - above) * (1 - upto)) for above, upto in _sums(loads))


def waits_interrupted(rates: Sequence[float], mean_min: float, readers: int = 1) -> tuple[float, ...]:
    """M/M/c with classes that interrupt lower ones, resumed later: the mean wait of each, all read equally fast.

    The classes down to k do not see those below, and are together an M/M/c whose length no order changes:
    J. P. Buzen, A. B. Bondi, Operations Research 1983;31:456–465.
    """
    waits, above_rate, above_length = [], 0.0, 0.0
    for rate in rates:
        upto = above_rate + rate
        length = upto * (wait_first_come(upto, mean_min, readers) + mean_min)
        waits.append((length - above_length) / rate - mean_min)
        above_rate, above_length = upto, length
    return tuple(waits)


def waits_uninterrupted_general(
    rates: Sequence[float], means_min: Sequence[float], second_moments_min2: Sequence[float]
) -> tuple[float, ...]:
    """M/G/1 with classes that do not interrupt (Cobham 1954; Kleinrock, volume 2, 1976, section 3.6)."""
    begun = fsum(rate * square for rate, square in zip(rates, second_moments_min2, strict=True)) / 2
    loads = [rate * mean for rate, mean in zip(rates, means_min, strict=True)]
    return tuple(begun / ((1 - above) * (1 - upto)) for above, upto in _sums(loads))


def waits_interrupted_general(
    rates: Sequence[float], means_min: Sequence[float], second_moments_min2: Sequence[float]
) -> tuple[float, ...]:
    """M/G/1 with classes that interrupt lower ones, resumed later (Kleinrock, volume 2, 1976, section 3.4)."""
    loads = [rate * mean for rate, mean in zip(rates, means_min, strict=True)]
    begun = accumulate(rate * square / 2 for rate, square in zip(rates, second_moments_min2, strict=True))
    return tuple(
        mean / (1 - above) + left / ((1 - above) * (1 - upto)) - mean
        for mean, left, (above, upto) in zip(means_min, begun, _sums(loads), strict=True)
    )


def waits_of_triage(
    rate: float, mean_min: float, prevalence: float, sensitivity: float, specificity: float, *, readers: int = 1
) -> tuple[float, float]:
    """Mean wait of the diseased and of the others where what a model flags interrupts everything else.

    Y. L. E. Thompson et al., arXiv:2303.07050, without studies that interrupt whatever a model says.
    """
    flagged = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    first, last = waits_interrupted((rate * flagged, rate * (1 - flagged)), mean_min, readers)
    return sensitivity * first + (1 - sensitivity) * last, (1 - specificity) * first + specificity * last


def _sums(loads: Sequence[float]) -> list[tuple[float, float]]:
    """The load of the classes above, and with its own, of each class."""
    upto = list(accumulate(loads))
    return list(zip([0.0, *upto[:-1]], upto, strict=True))
