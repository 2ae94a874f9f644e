"""From the network's numbers on its own grid to labels on the source's.

It is what `Activationsd`, `Invertd` and `AsDiscreted` give, without all classes ever being at the source's resolution.
The numbers may come in pieces, as an engine finishes them: of each piece only its last plane and row are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from node.errors import Failed
from node.imaging.bundle.plan import Inversion, Largest, Plan, Returned
from node.imaging.components import bounds
from node.imaging.cores import undivided
from node.imaging.decision import Rule, decide, rule_of
from node.imaging.preparation import Prepared
from node.imaging.preparation.halfway import is_halfway, laid_halfway
from node.imaging.preparation.taps import Taps, along, linear, nearest

#: Numbers of the network that are turned into activations at once.
_PIECE_VALUES = 1 << 23


class Piece(Protocol):
    """A part of the network's answer, with all there is along its last axis (`engines.windows.Block` is one)."""

    @property
    def start(self) -> tuple[int, int]:
        """First index along the first and the second axis."""
        ...

    @property
    def scores(self) -> torch.Tensor:
        """(class, …) numbers; may be overwritten when the next piece is asked for."""
        ...


def restore(scores: torch.Tensor | Iterable[Piece], prepared: Prepared, plan: Plan) -> NDArray[np.uint8]:
    """Return (region, slice, row, column) on the source grid.

    One region holds labels; channels that are cut at a threshold and not merged are a region each, 0 or 1.

    scores: (class, …) or (1, class, …) on the network's grid, or pieces of it in ascending order of their start.

    Raises:
        Failed: the pieces do not make up the network's grid.
        NotUnderstood: the plan asks for what can only be done to all classes at once; or what is nearest is not
            clear, and was turned, cropped or padded (see `preparation.halfway`).
    """
    restoration = Restoration(prepared, plan)
    if isinstance(scores, torch.Tensor):
        restoration.add((0, 0), scores[0] if scores.ndim == 5 else scores)
    else:
        for piece in scores:
            restoration.add(piece.start, piece.scores)
    return restoration.finished()


class Restoration:
    """Labels at the source, as far as the network's numbers are known."""

    def __init__(self, prepared: Prepared, plan: Plan) -> None:
        self._plan, self._lattice = plan, prepared.lattice
        self._linear = plan.inversion is Inversion.LINEAR and not self._lattice.moves_nothing
        self._linear = self._linear and plan.returned is not Returned.LABELS and not self._lattice.nearest
        self._halfway = not self._linear and is_halfway(self._lattice)
        sample = linear if self._linear else nearest
        self._taps = []
        for axis in self._lattice.axes:
            back = np.clip(axis.back(), 0, axis.size - 1) if self._lattice.border else axis.back()
            # Of what was cropped away the network says nothing, which is zero.
            first, behind = axis.kept
            self._taps.append(sample(back - first, behind - first, border=False).moved(first - axis.start))
        self._rule: Rule | None = None
        self._labels = torch.empty(0)
        self._layer = 0
        self._below = self._next = self._beside = torch.empty(0)
        self._voxels = 0

    def add(self, start: tuple[int, int], scores: torch.Tensor) -> None:
        """Take the numbers (class, …) of a part that begins at `start` along the first two axes."""
        with undivided() as cores:
            self._add(start, scores, cores if scores.device.type == "cpu" else 1)

    def _add(self, start: tuple[int, int], scores: torch.Tensor, cores: int) -> None:
        rule = self._rule or self._begin(scores)
        if start[0] != self._layer:
            self._layer, self._below, self._next = start[0], self._next, self._below
        self._voxels += scores[0].numel()
        depth = max(1, _PIECE_VALUES // max(1, scores[:, 0].numel()))
        under: torch.Tensor | None = None
        rows_beside = []
        for first in range(0, scores.shape[1], depth):
            field = rule.field(scores[:, first : first + depth])
            if not self._linear:
                self._put((start[0] + first, start[1]), rule.labels(field))
                continue
            end = first + field.shape[1]
            last_row = field[:, :, -1:].clone()
            if start[1]:
                field = torch.cat((self._beside[:, first:end], field), dim=2)
            if start[0] and not first:
                under = self._below[:, start[1] - bool(start[1]) : start[1] + scores.shape[2]][:, None]
            whole = field if under is None else torch.cat((under, field), dim=1)
            under = field[:, -1:].clone()
            rows_beside.append(last_row)
            self._spread((start[0] + first, start[1]), whole, (field.shape[1], scores.shape[2]), cores)
        if self._linear and under is not None:
            self._beside = torch.cat(rows_beside, dim=1)
            if start[0] + scores.shape[1] < self._lattice.shape[0]:
                self._keep(under[:, 0, bool(start[1]) :], start[1])

    def finished(self) -> NDArray[np.uint8]:
        """Return the labels (see `restore`)."""
        if self._voxels != np.prod(self._lattice.shape):
            raise Failed(f"the network answered for {self._voxels} of {np.prod(self._lattice.shape)} voxels")
        with undivided():
            return self._finished()

    def _finished(self) -> NDArray[np.uint8]:
        keep, labels = self._plan.largest, self._labels
        if keep is not None and not keep.at_source:
            labels = torch.from_numpy(largest(labels.cpu().numpy(), keep)).to(labels.device)
        if not self._linear:
            labels = self._laid(labels)
        found: NDArray[np.uint8] = labels.cpu().numpy()
        return largest(found, keep) if keep is not None and keep.at_source else found

    def _begin(self, scores: torch.Tensor) -> Rule:
        self._rule = rule_of(self._plan, scores.shape[0])
        shape = self._lattice.source.shape if self._linear else self._lattice.shape
        regions = self._rule.regions(scores.shape[0])
        self._labels = torch.zeros((regions, *shape), dtype=torch.uint8, device=scores.device)
        return self._rule

    def _put(self, start: tuple[int, int], labels: torch.Tensor) -> None:
        (first, row), (_, depth, rows, _) = start, labels.shape
        self._labels[:, first : first + depth, row : row + rows] = labels

    def _keep(self, plane: torch.Tensor, row: int) -> None:
        """Remember the last plane of this part for the layer above it."""
        if not self._next.numel():
            shape = (plane.shape[0], *self._lattice.shape[1:])
            self._next = torch.empty(shape, device=plane.device)
        self._next[:, row : row + plane.shape[1]] = plane

    def _spread(self, start: tuple[int, int], field: torch.Tensor, size: tuple[int, int], cores: int) -> None:
        """Decide all source voxels of which the last neighbour is now known; `field` begins one before where it can."""
        chosen: list[slice] = []
        taps: list[Taps] = []
        for axis, along_axis in enumerate(self._taps):
            here = (start[axis], start[axis] + size[axis]) if axis < 2 else (0, self._lattice.shape[2])
            useful = (along_axis.high >= here[0]) & (along_axis.high < here[1]) & (along_axis.factor > 0)
            places = np.flatnonzero(useful)
            if not len(places):
                return
            chosen.append(slice(int(places[0]), int(places[-1]) + 1))
            before = field.shape[axis + 1] - size[axis] if axis < 2 else 0
            taps.append(along_axis.part(chosen[-1], here[0] - before))
        slices, rows, columns = self._lattice.order
        into = self._labels[:, chosen[slices], chosen[rows], chosen[columns]]
        ordered = field.permute(0, slices + 1, rows + 1, columns + 1).contiguous()
        assert self._rule is not None
        decide(ordered, (taps[slices], taps[rows], taps[columns]), self._rule, into, cores)

    def _laid(self, labels: torch.Tensor) -> torch.Tensor:
        """Lay labels of the network's grid on the source's, each voxel that of the nearest."""
        if self._halfway:
            # On the host, whose last bits are those by which MONAI decides.
            return laid_halfway(labels.cpu(), self._lattice)
        order = self._lattice.order
        laid = labels.permute(0, *(axis + 1 for axis in order))
        for place in (2, 1, 0):
            taps = self._taps[order[place]]
            laid = along(laid, place + 1, taps)
        return laid.contiguous()


def largest(labels: NDArray[np.uint8], keep: Largest) -> NDArray[np.uint8]:
    """Keep only the largest connected group of the chosen labels in (1, …); `labels` is changed."""
    present = [int(label) for label in np.unique(labels) if label]
    chosen = [label for label in present if label in keep.labels] if keep.labels else present
    for group in [[label] for label in chosen] if keep.independent else [chosen]:
        mask = np.isin(labels[0], group)
        box = bounds(mask)
        if box is None:
            continue
        where = tuple(slice(start, stop) for start, stop in box)
        inner = mask[where]
        parts, count = ndimage.label(inner, ndimage.generate_binary_structure(3, keep.connectivity))
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            labels[0][where][inner & (parts != sizes.argmax())] = 0
    return labels
