"""Images that occur twice, or nearly: they and all images of one patient form groups that no split tears apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from node.errors import Misconfigured
from node.learn.dataset.survey import Survey

#: Rows of the product of thumbnails that are held at once, and columns: 16 MiB.
_BLOCK = 2048
#: A group with more than this share of all cases says that the threshold is too low ...
LARGEST = 1 / 3
#: ... where there are at least so many cases.
_ENOUGH = 12
#: Thresholds that are tried for a suggestion, which leaves no group larger than this share.
_STEPS = (0.96, 0.97, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9975, 0.999, 0.9995)
_SMALL = 0.02
#: Thumbnails that a suggestion is made from.
_TRIED = 6000


def close_pairs(thumbnails: NDArray[np.float32], above: float) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the indices (low, high) of pairs that correlate by more than `above`, block by block.

    The product is never held as a whole: 100 000 cases take some 20 MiB beside their thumbnails.
    """
    count = len(thumbnails)
    for top in range(0, count, _BLOCK):
        rows = thumbnails[top : top + _BLOCK]
        for left in range(top, count, _BLOCK):
            product = rows @ thumbnails[left : left + _BLOCK].T
            low, high = np.nonzero(product > above)
            low, high = low + top, high + left
            yield low[low < high], high[low < high]


def components(count: int, pairs: Iterable[tuple[NDArray[np.intp], NDArray[np.intp]]]) -> NDArray[np.int32]:
    """Return the number of the component of each of `count` cases, that pairs connect."""
    found = np.arange(count, dtype=np.int32)
    for low, high in pairs:
        ends = np.unique(np.stack([found[low], found[high]]), axis=1)
        ends = ends[:, ends[0] != ends[1]]
        if ends.size:
            links = coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=(count, count))
            _, merged = connected_components(links, directed=False)
            found = merged[found].astype(np.int32)
    return found


def same(names: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return pairs of indices that connect all cases of one name; empty names connect nothing."""
    first: dict[str, int] = {}
    pairs = [(first[name], place) for place, name in enumerate(names) if name and first.setdefault(name, place) < place]
    low, high = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    return low, high


def similarity_groups(survey: Survey, near_duplicate: float) -> dict[str, str]:
    """Return key → group: exact duplicates, and what correlates by more than `near_duplicate`, put together.

    A group is named by the first of its keys, in their order; alone, a case is its own group.

    Raises:
        Misconfigured: one group holds more than a third of all cases; suggests a threshold.
    """
    equal = same([each.digest for each in survey.sights])
    near = close_pairs(survey.thumbnails, near_duplicate) if near_duplicate < 1 else ()
    found = components(len(survey.cases), chain([equal], near))
    if _too_large(found):
        better = suggestion(survey.thumbnails)
        remedy = f"Set it to {better}" if better < 1 else "Set it to 1, which turns it off"
        problem = f"at {near_duplicate} {_held(found)}: images of this kind are more alike than that"
        raise Misconfigured(survey.source, "split.near_duplicate", problem, remedy)
    return _named(survey, found)


def with_patients(survey: Survey, groups: Mapping[str, str]) -> dict[str, str]:
    """Return the groups with all cases of one patient put together besides.

    Raises:
        Misconfigured: one group holds more than a third of all cases.
    """
    alike = same([groups[case.key] for case in survey.cases])
    found = components(len(survey.cases), [alike, same([case.group for case in survey.cases])])
    if _too_large(found):
        remedy = "Say which column or folder tells patients apart, or leave it out"
        raise Misconfigured(survey.source, "", f"{_held(found)}, connected by their patients", remedy)
    return _named(survey, found)


def grouped(survey: Survey, near_duplicate: float) -> dict[str, str]:
    """Return key → group: patients, exact duplicates and near-duplicates, put together.

    Raises:
        Misconfigured: one group holds more than a third of all cases.
    """
    return with_patients(survey, similarity_groups(survey, near_duplicate))


def certain_groups(survey: Survey) -> dict[str, str]:
    """Return key → group: patients and equal images alone, however many there are of one."""
    equal, patients = same([each.digest for each in survey.sights]), same([case.group for case in survey.cases])
    return _named(survey, components(len(survey.cases), [equal, patients]))


def _named(survey: Survey, found: NDArray[np.int32]) -> dict[str, str]:
    first: dict[int, str] = {}
    keys = [case.key for case in survey.cases]
    for key, number in sorted(zip(keys, found.tolist(), strict=True)):
        first.setdefault(number, key)
    return {key: first[number] for key, number in zip(keys, found.tolist(), strict=True)}


def _too_large(found: NDArray[np.int32]) -> bool:
    return len(found) >= _ENOUGH and int(np.bincount(found).max()) > LARGEST * len(found)


def _held(found: NDArray[np.int32]) -> str:
    return f"one group holds {int(np.bincount(found).max())} of {len(found)} cases"


def suggestion(thumbnails: NDArray[np.float32]) -> float:
    """Return the lowest threshold that leaves no group with more than 2 % of the cases (or 3 cases); 1: none does."""
    tried = thumbnails[:: -(-len(thumbnails) // _TRIED)] if len(thumbnails) else thumbnails
    for threshold in _STEPS:
        sizes = np.bincount(components(len(tried), close_pairs(tried, threshold)), minlength=1)
        if int(sizes.max()) <= max(3, _SMALL * len(tried)):
            return threshold
    return 1.0


def members(groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return group → its cases in order, of the groups with more than one."""
    found: dict[str, list[str]] = {}
    for key in sorted(groups):
        found.setdefault(groups[key], []).append(key)
    return {group: tuple(keys) for group, keys in found.items() if len(keys) > 1}
