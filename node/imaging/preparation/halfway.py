"""Labels brought back where voxels of the source lie halfway between two of the network's.

Which of the two is nearer is then decided by the last bit of their positions. MONAI computes these in Torch, and the
same operations in the same order give the same bits; positions along each axis by itself would not.
"""

from __future__ import annotations

import numpy as np
import torch

from node.imaging.bundle.plan import NotUnderstood
from node.imaging.preparation.lattice import Lattice, ties

#: Voxels of the source whose positions are held at once.
_VOXELS = 1 << 21
#: Torch reads coordinates as (column, row, slice) of what it calls depth, height and width.
_REVERSED = [2, 1, 0]


def is_halfway(lattice: Lattice) -> bool:
    """Whether the nearest voxel is not always one voxel.

    Raises:
        NotUnderstood: it is not, and since the spacing was changed the array was turned, cropped or padded.
    """
    if lattice.moves_nothing or not any(ties(axis.back()) for axis in lattice.axes):
        return False
    if lattice.respaced is None:
        raise NotUnderstood("voxels of the source lie halfway between two of the network's")
    return True


def laid_halfway(labels: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """Lay (region, …) uint8 labels of the network's grid on the source's, (region, slice, row, column)."""
    shape = [axis.source_size for axis in lattice.axes]
    theta = _theta(lattice, shape).to(labels.device)
    lines = [_line(size, labels.device) for size in shape]
    laid = torch.empty((len(labels), *shape), dtype=torch.uint8, device=labels.device)
    depth = max(1, _VOXELS // (shape[1] * shape[2]))
    padding = "border" if lattice.border else "zeros"
    for values, into in zip(labels, laid, strict=True):
        whole = values.double()[None, None]
        for first in range(0, shape[0], depth):
            grid = _places([lines[0][first : first + depth], *lines[1:]], theta)
            found = torch.nn.functional.grid_sample(whole, grid, "nearest", padding, align_corners=False)
            into[first : first + depth] = found[0, 0].to(torch.uint8)
    turned = [place + 1 for place, axis in enumerate(lattice.axes) if axis.scale < 0]
    return laid.flip(turned).permute(0, *(place + 1 for place in lattice.order)).contiguous()


def _theta(lattice: Lattice, shape: list[int]) -> torch.Tensor:
    """Source position → network position as Torch wants it, (1, 4, 3): both from −1 to 1, outer face to outer face."""
    assert lattice.respaced is not None
    before, after = (np.array(rows, dtype=np.float64) for rows in lattice.respaced)
    # What MONAI keeps as the affine of the result is the product, which is not to the last bit what was asked for.
    kept = torch.from_numpy(before) @ torch.from_numpy(np.linalg.solve(before, after))
    to_network = torch.from_numpy(np.linalg.solve(kept.numpy(), before))[None]
    unit = _to_unit([axis.size for axis in lattice.axes])[None]
    theta = unit @ to_network @ torch.from_numpy(np.linalg.inv(_to_unit(shape)[None].numpy()))
    theta[:, :3] = theta[:, _REVERSED]
    theta[:, :, :3] = theta[:, :, _REVERSED]
    return theta[:, :3].transpose(1, 2)


def _to_unit(shape: list[int]) -> torch.Tensor:
    """Index → −1 to 1, outer face to outer face."""
    sizes = torch.tensor(shape, dtype=torch.float64)
    matrix = torch.diag(torch.cat((2.0 / sizes, torch.ones(1, dtype=torch.float64))))
    matrix[:-1, -1] = 1.0 / sizes - 1.0
    return matrix


def _line(size: int, device: torch.device) -> torch.Tensor:
    """Middles of the voxels along an axis from −1 to 1."""
    if size == 1:
        return torch.zeros(1, dtype=torch.float64, device=device)
    return torch.linspace(-1, 1, size, dtype=torch.float64, device=device) * (size - 1) / size


def _places(lines: list[torch.Tensor], theta: torch.Tensor) -> torch.Tensor:
    """(1, slice, row, column, 3) positions in the network's array."""
    shape = [len(line) for line in lines]
    base = torch.ones((*shape, 4), dtype=torch.float64, device=theta.device)
    for axis, line in enumerate(reversed(lines)):
        base[..., axis] = line.view([-1] + [1] * axis)
    return base.view(1, -1, 4).bmm(theta).view(1, *shape, 3)
